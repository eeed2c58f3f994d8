"""Metrics by name: how good predictions are, accumulated batch by batch.

Metrics are plain NumPy, in float64. What a metric holds does not grow with the data.

The weight of a step is the weight of its sequence times the weight of the step in the mask:
``w[b, t] = weights[b] * mask[b, t]``. Steps of weight zero change nothing, whatever stands there. Where there is one
target a sequence, the sequence counts as one step of weight ``weights[b]``. A prediction that is NaN is wrong, and has
an infinite error. A metric without a defined value is NaN: where nothing counts, and R² where targets are constant.

Notation: B sequences in a batch, T steps, O outputs; S steps that count.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from ntm.arguments import check_choice, shorten
from ntm.data import DataBatch, Layout
from ntm.typing import Array

__all__ = ["LOSS", "METRICS", "Metric", "Metrics", "make_metrics"]

#: A metric's value: a number, or a matrix as a list of rows
Value: TypeAlias = float | list[list[float]]
#: A metric of the user's: from predictions, targets and mask of sequences to a number for each, (B,)
MetricFunction: TypeAlias = Callable[[Array, Array, Array], Any]

#: The name of the loss, which every evaluation gives and no metric needs to compute; lower is better
LOSS = "loss"
#: A confusion matrix of more classes would fill the memory and the logs
MAX_CONFUSION = 1000


class Steps:
    """The predictions and targets of a batch, and those of the steps that count.

    Parameters
    ----------
    layout : Layout
    predictions : array (B, T, O) or, for one target a sequence, (B, O)
        Probabilities of bits or classes, or numbers. Of any shape where the kind of the targets is the user's own.
    batch : DataBatch

    Attributes
    ----------
    rows : array (S,) of int
        Which sequence of the batch a step is of.

    Raises
    ------
    ValueError
        If the shapes do not agree, or a label that counts is no class.
    """

    def __init__(self, layout: Layout, predictions: Array, batch: DataBatch) -> None:
        self.layout, self.batch = layout, batch
        self.all_predictions = np.asarray(predictions)
        if layout.kind == "own":
            return
        batch_size, num_steps = batch.shape
        leading = (batch_size, num_steps) if layout.per_step else (batch_size,)
        outputs = (*leading, layout.num_outputs)
        self._check_shape("predictions", self.all_predictions, outputs)
        is_label = layout.kind == "classes"
        self._check_shape("targets", np.asarray(batch.targets), leading if is_label else outputs)
        weights = np.asarray(batch.weights, np.float64)
        step_weights = weights
        if layout.per_step:
            step_weights = weights[:, np.newaxis] * np.asarray(batch.mask, np.float64)
        self._counts = step_weights != 0
        self.rows = np.nonzero(self._counts)[0]
        self._step_weights = step_weights
        if is_label:
            self._check_labels()

    @cached_property
    def predictions(self) -> Array:
        """Predictions (S, O)."""
        return self.all_predictions[self._counts]

    @cached_property
    def targets(self) -> Array:
        """Labels (S,) of classes; bits or numbers (S, O)."""
        return np.asarray(self.batch.targets)[self._counts]

    @cached_property
    def weights(self) -> Array:
        """The weights of the steps (S,), float64."""
        return self._step_weights[self._counts]

    @cached_property
    def right(self) -> Array:
        """Whether predictions are right: bits (S, O), classes (S, 1).

        A bit is one above 0.5. The class is the most probable one, the first of several.
        """
        if self.layout.kind == "bits":
            same = (self.predictions > 0.5) == (self.targets > 0.5)
            return same & ~np.isnan(self.predictions)
        is_number = ~np.isnan(self.predictions).any(axis=1)
        return ((self.predictions.argmax(axis=1) == self.targets) & is_number)[:, np.newaxis]

    @property
    def wrong(self) -> Array:
        """Whether any prediction of a step is wrong, (S,)."""
        return np.logical_not(self.right.all(axis=1))

    @cached_property
    def errors(self) -> Array:
        """Absolute errors (S, O), float64; infinite where a prediction is NaN."""
        errors = np.abs(np.asarray(self.predictions, np.float64) - self.targets)
        return np.where(np.isnan(errors), np.inf, errors)

    @cached_property
    def squared_errors(self) -> Array:
        """Squared errors (S, O), float64; infinite where a prediction is NaN."""
        with np.errstate(over="ignore"):
            return self.errors**2

    def sum_over_steps(self, values: Array) -> Array:
        """Return the weighted sums (O,) of values (S, O)."""
        return np.einsum("s,so->o", self.weights, values)

    def _check_shape(self, name: str, array: Array, expected: tuple[int | None, ...]) -> None:
        if array.shape != expected:
            raise ValueError(f"metrics: {name} must be of shape {expected}, not {array.shape}")

    def _check_labels(self) -> None:
        num_classes = self.layout.num_outputs or 0
        bad = (self.targets < 0) | (self.targets >= num_classes)
        if bad.any():
            where = tuple(int(k) for k in np.argwhere(self._counts)[bad.argmax()])
            raise ValueError(
                f"metrics: labels must be from 0 to {num_classes - 1}, but targets{list(where)} is "
                f"{self.targets[bad.argmax()]}"
            )


class Metric(ABC):
    """Base class: takes batches, and then has a value.

    Parameters
    ----------
    layout : Layout
        Of the data.

    Attributes
    ----------
    kinds : tuple of str
        The kinds of targets that have the metric: see :data:`ntm.data.layout.KINDS`.
    higher_is_better : bool or None
        None where there is no order, or where that is not known.
    is_number : bool
        Whether the value is a number.
    """

    kinds: tuple[str, ...]
    higher_is_better: bool | None
    is_number = True

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @abstractmethod
    def update(self, steps: Steps) -> None:
        """Take a batch."""

    @abstractmethod
    def compute(self) -> Value:
        """Return the value over all batches so far."""


class Mean(Metric):
    """Base class of a mean: ``sum(w * values) / sum(w)``, NaN where the sum of the weights is zero."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.total = self.weight = 0.0

    @abstractmethod
    def measure(self, steps: Steps) -> tuple[Array, Array]:
        """Return values and their weights, two arrays of one shape (S,) or (B,)."""

    def update(self, steps: Steps) -> None:
        values, weights = self.measure(steps)
        # Infinity times zero is NaN
        self.total += float((np.where(weights != 0, values, 0.0) * weights).sum())
        self.weight += float(weights.sum())

    def compute(self) -> float:
        return self.total / self.weight if self.weight > 0 else np.nan


class Accuracy(Mean):
    """The share of bits or classes that are right: ``sum(w * right) / sum(w)``, averaged over the outputs for bits."""

    kinds = ("bits", "classes")
    higher_is_better = True

    def measure(self, steps: Steps) -> tuple[Array, Array]:
        return steps.right.mean(axis=1), steps.weights


class Error(Mean):
    """The share of steps that are wrong: ``sum(w * wrong) / sum(w)``. A step with one wrong bit is wrong."""

    kinds = ("bits", "classes")
    higher_is_better = False

    def measure(self, steps: Steps) -> tuple[Array, Array]:
        return steps.wrong, steps.weights


class SequenceError(Mean):
    """The share of sequences with a wrong step: ``sum(weights * wrong) / sum(weights)``.

    Sequences of which no step counts are left out. Of a stream, each window counts as a sequence.
    """

    kinds = ("bits", "classes")
    higher_is_better = False

    def measure(self, steps: Steps) -> tuple[Array, Array]:
        weights = np.asarray(steps.batch.weights, np.float64)
        counts, wrong = (np.zeros(len(weights), bool) for _ in range(2))
        counts[steps.rows] = True
        wrong[steps.rows[steps.wrong]] = True
        return wrong, np.where(counts, weights, 0.0)


class MeanSquaredError(Mean):
    """The mean squared error: ``sum(w * (y - p)**2) / sum(w)``, averaged over the outputs."""

    kinds = ("bits", "numbers")
    higher_is_better = False

    def measure(self, steps: Steps) -> tuple[Array, Array]:
        return steps.squared_errors.mean(axis=1), steps.weights


class MeanAbsoluteError(Mean):
    """The mean absolute error: ``sum(w * abs(y - p)) / sum(w)``, averaged over the outputs."""

    kinds = ("bits", "numbers")
    higher_is_better = False

    def measure(self, steps: Steps) -> tuple[Array, Array]:
        return steps.errors.mean(axis=1), steps.weights


class R2(Metric):
    """The coefficient of determination: ``1 - sum(w * (y - p)**2) / sum(w * (y - mean)**2)``, averaged over outputs.

    The sums go over all steps that count, and `mean` is the weighted mean of an output's targets. An output whose
    targets are constant has no R² and is left out of the average. R² is NaN if there is no other output.
    """

    kinds = ("numbers",)
    higher_is_better = True

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        zeros = np.zeros(layout.num_outputs or 0)
        self.weight = 0.0
        self.mean, self.deviations, self.residuals = zeros, zeros, zeros
        self.lowest, self.highest = zeros + np.inf, zeros - np.inf

    def update(self, steps: Steps) -> None:
        if len(steps.weights) == 0:
            return
        targets = np.asarray(steps.targets, np.float64)
        # Means and deviations of two samples become those of both (Chan et al. 1979): no difference of large sums
        weight = float(steps.weights.sum())
        mean = steps.sum_over_steps(targets) / weight
        shift, total = mean - self.mean, self.weight + weight
        self.deviations = (
            self.deviations
            + steps.sum_over_steps((targets - mean) ** 2)
            + shift**2 * (self.weight * weight / total)
        )
        self.mean = self.mean + shift * (weight / total)
        self.weight = total
        self.residuals = self.residuals + steps.sum_over_steps(steps.squared_errors)
        # The mean of equal numbers may differ from them in the last bit: compare the numbers themselves
        self.lowest = np.minimum(self.lowest, targets.min(axis=0))
        self.highest = np.maximum(self.highest, targets.max(axis=0))

    def compute(self) -> float:
        varies = (self.highest > self.lowest) & (self.deviations > 0)
        if not varies.any():
            return np.nan
        return float((1 - self.residuals[varies] / self.deviations[varies]).mean())


class Confusion(Metric):
    """The confusion matrix: the sum of the weights of steps, by their true class (rows) and predicted class (columns).

    Of bits, the classes are zero and one, over all outputs. The value is a list of rows, with integers where all sums
    are whole. If a prediction is NaN, rows have one more number at their end, the weight of steps without a predicted
    class.
    """

    kinds = ("bits", "classes")
    higher_is_better = None
    is_number = False

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        num_classes = 2 if layout.kind == "bits" else layout.num_outputs or 0
        if num_classes > MAX_CONFUSION:
            raise ValueError(
                f"confusion: the matrix is for {MAX_CONFUSION} classes at most, not {num_classes}"
            )
        self.sums = np.zeros((num_classes, num_classes + 1))

    def update(self, steps: Steps) -> None:
        num_classes, columns = self.sums.shape
        predictions, targets, weights = steps.predictions, steps.targets, steps.weights
        if self.layout.kind == "bits":
            no_class = np.isnan(predictions)
            predicted, true = predictions > 0.5, targets > 0.5
            weights = np.broadcast_to(weights[:, np.newaxis], targets.shape)
        else:
            no_class = np.isnan(predictions).any(axis=1)
            predicted, true = predictions.argmax(axis=1), targets
        places = np.asarray(true, int) * columns + np.where(no_class, num_classes, predicted)
        self.sums += np.bincount(places.ravel(), weights.ravel(), self.sums.size).reshape(
            self.sums.shape
        )

    def compute(self) -> list[list[float]]:
        sums = self.sums if self.sums[:, -1].any() else self.sums[:, :-1]
        is_whole = (sums == np.rint(sums)).all() and (sums < 2**53).all()
        return (sums.astype(int) if is_whole else sums).tolist()


class Own(Mean):
    """The mean of a user's function over sequences: ``sum(weights * values) / sum(weights)``.

    Parameters
    ----------
    layout : Layout
    function : callable
        From predictions, targets and the mask (B, T) of a batch to a number for each sequence, (B,). Rows that only
        fill the batch are left out.
    """

    higher_is_better = None

    def __init__(self, layout: Layout, function: MetricFunction) -> None:
        super().__init__(layout)
        self.function = function

    def measure(self, steps: Steps) -> tuple[Array, Array]:
        batch = steps.batch
        counts = np.asarray(batch.weights) != 0
        weights = np.asarray(batch.weights, np.float64)[counts]
        if not counts.any():
            return weights, weights
        values = np.asarray(
            self.function(
                steps.all_predictions[counts],
                np.asarray(batch.targets)[counts],
                np.asarray(batch.mask)[counts],
            ),
            np.float64,
        )
        if values.shape != weights.shape:
            raise ValueError(
                f"metric {self.function.__name__}: expected a number for each sequence, of shape "
                f"{weights.shape}, not {values.shape}"
            )
        return values, weights


#: The metrics by their names
METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "error": Error,
    "sequence_error": SequenceError,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "r2": R2,
    "confusion": Confusion,
}

#: What is measured where nothing is asked for
DEFAULTS = {
    "bits": ("accuracy", "sequence_error"),
    "classes": ("accuracy",),
    "numbers": ("mse", "r2"),
    "own": (),
}


class Metrics:
    """Several metrics over the same batches. See :func:`make_metrics`.

    Parameters
    ----------
    layout : Layout
    metrics : dict from str to Metric
    """

    def __init__(self, layout: Layout, metrics: dict[str, Metric]) -> None:
        self.layout, self.metrics = layout, metrics

    @property
    def names(self) -> list[str]:
        """The names, in the order of the values."""
        return list(self.metrics)

    def update(self, predictions: Array, batch: DataBatch) -> None:
        """Take a batch and the predictions of its targets.

        Parameters
        ----------
        predictions : array (B, T, O) or, for one target a sequence, (B, O)
            Probabilities of bits or classes, or numbers.
        batch : DataBatch

        Raises
        ------
        ValueError
            If a shape does not fit, or a label that counts is no class.
        """
        steps = Steps(self.layout, predictions, batch)
        for metric in self.metrics.values():
            metric.update(steps)

    def compute(self) -> dict[str, Value]:
        """Return the values over all batches so far: numbers, and the confusion matrix as a list of rows."""
        return {name: metric.compute() for name, metric in self.metrics.items()}


def make_metrics(
    layout: Layout,
    names: str | MetricFunction | Iterable[str | MetricFunction] | None = None,
    caller: str = "make_metrics",
) -> Metrics:
    """Make metrics for one pass over data.

    Parameters
    ----------
    layout : Layout
        Of the data.
    names : list of str and functions, optional
        Names of :data:`METRICS`. A function takes predictions, targets and the mask (B, T) of sequences, and returns a
        number for each, (B,); its own name is that of the metric. ``"loss"`` is accepted and left out, as evaluations
        always have the loss. Unless given: accuracy and sequence_error of bits, accuracy of classes, mse and r2 of
        numbers.
    caller : str
        What error messages begin with.

    Returns
    -------
    Metrics

    Raises
    ------
    TypeError
        If one is no name and no function with a name.
    ValueError
        If a name is unknown, stands there twice, or is no metric of targets of this kind.
    """
    if names is None:
        names = DEFAULTS[layout.kind]
    metrics: dict[str, Metric] = {}
    for each in [names] if isinstance(names, str) or callable(names) else names:
        if each == LOSS:
            continue
        name, metric = _make_metric(layout, each, caller)
        if name in metrics or name == LOSS:
            raise ValueError(f"{caller}: two metrics are called {name!r}")
        metrics[name] = metric
    return Metrics(layout, metrics)


def _make_metric(layout: Layout, given: Any, caller: str) -> tuple[str, Metric]:
    """Return a metric and its name."""
    if isinstance(given, str):
        check_choice("metric", given, [LOSS, *METRICS])
        kind = METRICS[given]
        if layout.kind not in kind.kinds:
            fitting = [LOSS, *(name for name in METRICS if layout.kind in METRICS[name].kinds)]
            raise ValueError(
                f"{caller}: {given!r} is a metric of {' and '.join(kind.kinds)}, and the targets are "
                f"{layout.kind!r}: expected {', '.join(fitting)}, or a function of your own"
            )
        return given, kind(layout)
    name = getattr(given, "__name__", "<lambda>")
    if not callable(given) or isinstance(given, type) or name == "<lambda>":
        raise TypeError(
            f"{caller}: a metric must be a name or a function with a name (def), not {shorten(repr(given), 100)}"
        )
    return name, Own(layout, given)
