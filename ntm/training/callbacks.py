"""Callbacks: what else happens while a network is trained. Early stopping, the best parameters, learning-rate drops.

:meth:`ntm.training.Trainer.train` calls each method of all callbacks, in the order in which the callbacks were given;
loggers come last:

1. `on_start`, once, after a checkpoint has been read.
2. After each step: `on_step`; `on_log` and `on_evaluation`, if they are due; `on_epoch`, if the epoch has ended. Then
   the checkpoint is written, which holds the callbacks' state.
3. `on_end`, once. It is not called when training is interrupted or ends with an exception, as a resumed run goes on
   then.

An exception of a callback ends training, and comes through unchanged.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ntm.arguments import Number, shorten
from ntm.files import check_folder_of
from ntm.serialization import save
from ntm.training.metrics import LOSS, METRICS
from ntm.training.step import PARAMETER
from ntm.typing import Array, PathLike

if TYPE_CHECKING:
    from ntm.training.trainer import Trainer

__all__ = [
    "Callback",
    "DropLearningRate",
    "EarlyStop",
    "KeepBest",
    "MetricCallback",
    "RowLogger",
    "as_callback",
    "as_logger",
]

#: Names and values that JSON takes
Row: TypeAlias = dict[str, Any]

#: What the names of measures on validation data begin with
VALIDATION = "validation "


class Callback:
    """Base class: its methods are called while a network is trained. Override those that are needed.

    A callback may read what the trainer is (`l_out`, `step_count`, `epoch`, `evaluations`) and act through `stop`,
    `learning_rate_factor`, `get_values`, `set_values` and `save`.
    """

    def on_start(self, trainer: "Trainer") -> None:
        """Training begins, or goes on: this is called at each :meth:`ntm.training.Trainer.train`."""

    def on_step(self, trainer: "Trainer", row: Row) -> None:
        """Take note of a step.

        Parameters
        ----------
        trainer : Trainer
        row : dict
            As :meth:`ntm.training.Trainer.step` returns it: loss, norm of the gradient, and learning rate.
        """

    def on_log(self, trainer: "Trainer", row: Row) -> None:
        """Take note of a row of training, which comes every `log_every` steps."""

    def on_evaluation(self, trainer: "Trainer", row: Row) -> None:
        """Take note of a row of an evaluation, such as ``{"step": 10, "validation accuracy": 0.9}``.

        A number that is not defined or not finite is None.
        """

    def on_epoch(self, trainer: "Trainer", row: Row) -> None:
        """Take note of the end of an epoch of the data.

        Parameters
        ----------
        trainer : Trainer
        row : dict
            As of :meth:`on_step`, for the last step, with ``epoch``: the number of epochs that have ended.
        """

    def on_end(self, trainer: "Trainer", ended: str) -> None:
        """Training is over.

        Parameters
        ----------
        trainer : Trainer
        ended : str
            Why: 'done', 'solved', or the reason that a callback gave to :meth:`ntm.training.Trainer.stop`.
        """

    def get_state(self) -> dict[str, Any]:
        """Return what :meth:`set_state` needs to go on exactly, as JSON takes it: counts and numbers."""
        return {}

    def set_state(self, state: Any) -> None:
        """Go on from a state of :meth:`get_state`, which comes from a file.

        Raises
        ------
        ValueError
            If the state is damaged. Then the callback is as before.
        """
        check_keys(type(self).__name__, state, self.get_state())

    def get_arrays(self) -> dict[str, Array]:
        """Return the arrays of the callback's state."""
        return {}

    def set_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Go on from arrays of :meth:`get_arrays`, which come from a file.

        Raises
        ------
        ValueError
            If the arrays do not fit. Then the callback is as before.
        """
        if arrays:
            raise ValueError(
                f"{type(self).__name__}: the state has arrays, and this callback takes none"
            )


class FunctionCallback(Callback):
    """Calls a function of the trainer at each evaluation.

    Parameters
    ----------
    function : callable
        Takes the trainer. What was measured is ``trainer.evaluations[-1]``.
    """

    def __init__(self, function: Callable[["Trainer"], object]) -> None:
        self.function = function

    def on_evaluation(self, trainer: "Trainer", row: Row) -> None:
        self.function(trainer)


class RowLogger(Callback):
    """Base class of loggers: writes the rows of training and evaluations. A logger may also be called with a row."""

    def __call__(self, row: Row) -> None:
        """Write a row."""
        raise NotImplementedError

    def on_log(self, trainer: "Trainer", row: Row) -> None:
        self(row)

    def on_evaluation(self, trainer: "Trainer", row: Row) -> None:
        self(row)


class FunctionLogger(RowLogger):
    """Hands the rows of training and evaluations to a function.

    Parameters
    ----------
    function : callable
        Takes a row.
    """

    def __init__(self, function: Callable[[Row], object]) -> None:
        self.function = function

    def __call__(self, row: Row) -> None:
        self.function(row)


def as_callback(given: Any) -> Callback:
    """Return a callback; a function of the trainer becomes one that is called at each evaluation.

    Raises
    ------
    TypeError
        If it is neither.
    """
    return _wrap(
        given, FunctionCallback, "a callback must be a Callback or a function of the trainer"
    )


def as_logger(given: Any) -> Callback:
    """Return a callback that logs; a function of a row becomes one that takes rows of training and evaluations.

    Raises
    ------
    TypeError
        If it is neither.
    """
    return _wrap(given, FunctionLogger, "a logger must be a Callback or a function of a row")


def _wrap(given: Any, wrapper: type[Callback], expected: str) -> Callback:
    if isinstance(given, Callback):
        return given
    if isinstance(given, type) and issubclass(given, Callback):
        raise TypeError(f"Trainer: {expected}, not the class {given.__name__}: make one of it")
    if not callable(given):
        raise TypeError(f"Trainer: {expected}, not {shorten(repr(given), 100)}")
    return wrapper(given)  # type: ignore[call-arg]


# ---- Callbacks that follow a metric


class MetricCallback(Callback):
    """Base class: follows a metric, and acts when an evaluation is the best so far, or when it is not.

    Parameters
    ----------
    metric : str
        A number of evaluations, such as ``"validation loss"``. A short name, such as ``"loss"``, means that of the
        validation data.
    higher_is_better : bool, optional
        Must be given for a metric that is not one of :data:`ntm.training.METRICS`, nor the loss.
    min_change : float
        A number is better if it differs from the best by more than this.

    Attributes
    ----------
    best : float or None
        The best number so far; None before there is one.
    best_step : int or None
        The step after which the best number was measured.
    waited : int
        Evaluations in a row that were not better.

    Raises
    ------
    ValueError
        If an argument is out of its range; when training begins, if evaluations do not have the metric.
    """

    def __init__(
        self, metric: str, higher_is_better: bool | None = None, min_change: float = 0.0
    ) -> None:
        label = type(self).__name__
        if not isinstance(metric, str):
            raise TypeError(f"{label}: metric must be the name of a metric, not {metric!r}")
        if higher_is_better is None:
            higher_is_better = _find_direction(metric)
        if higher_is_better is None:
            raise ValueError(
                f"{label}: {metric!r} is none of "
                f"{', '.join(name for name in (LOSS, *METRICS) if _find_direction(name) is not None)}; for another "
                "number that evaluations have, give higher_is_better=True or False"
            )
        self.metric, self.higher_is_better = metric, bool(higher_is_better)
        self.min_change = Number(float, 0).check(f"{label}: min_change", min_change)
        self.best: float | None = None
        self.best_step: int | None = None
        self.waited = 0
        self._has_warned = False

    def on_start(self, trainer: "Trainer") -> None:
        self._find_name(trainer)

    def on_evaluation(self, trainer: "Trainer", row: Row) -> None:
        name = self._find_name(trainer)
        value = row.get(name)
        if value is None or not math.isfinite(value):
            self._warn(f"{name} has no finite value after step {trainer.step_count}")
            is_better = False
        elif self.best is None:
            is_better = True
        else:
            gain = value - self.best if self.higher_is_better else self.best - value
            is_better = gain > self.min_change
        if is_better:
            self.best, self.best_step, self.waited = float(row[name]), trainer.step_count, 0
            self.on_better(trainer)
        else:
            self.waited += 1
            self.on_no_better(trainer)

    def on_better(self, trainer: "Trainer") -> None:
        """Act on an evaluation that is the best so far."""

    def on_no_better(self, trainer: "Trainer") -> None:
        """Act on an evaluation that is not better than the best; `waited` has counted the evaluation."""

    def get_state(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        label = type(self).__name__
        best, best_step = state["best"], state["best_step"]
        if (best is None) != (best_step is None):
            raise ValueError(
                f"{label}: best is {best!r} and best_step {best_step!r}: expected both or none"
            )
        waited = Number(int, 0).check(f"{label}: waited", state["waited"])
        if best is not None:
            best_step = Number(int, 0).check(f"{label}: best_step", best_step)
            best = _check_finite(f"{label}: best", best)
        self.best, self.best_step, self.waited = best, best_step, waited

    def _find_name(self, trainer: "Trainer") -> str:
        """Return the metric's name in the rows of evaluations."""
        known = list(trainer.evaluation_names)
        for name in (self.metric, VALIDATION + self.metric):
            if name in known:
                return name
        has = f"have {', '.join(known)}" if known else "measure nothing: give validation="
        raise ValueError(
            f"{type(self).__name__}: evaluations have no metric {self.metric!r}; those of this training {has}"
        )

    def _warn(self, message: str) -> None:
        """Warn once."""
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{type(self).__name__}: {message}, which counts as not better", stacklevel=3
            )


class EarlyStop(MetricCallback):
    """Stops training when a metric has not become better for some evaluations in a row.

    Training that was stopped, and is begun again from its checkpoint, stops at once; a larger `patience` lets it go on.

    Parameters
    ----------
    metric : str
        As of :class:`MetricCallback`.
    patience : int
        Evaluations.
    higher_is_better, min_change
        As of :class:`MetricCallback`.
    """

    def __init__(
        self,
        metric: str,
        patience: int = 5,
        higher_is_better: bool | None = None,
        min_change: float = 0.0,
    ) -> None:
        super().__init__(metric, higher_is_better, min_change)
        self.patience = Number(int, 1).check("EarlyStop: patience", patience)

    def on_start(self, trainer: "Trainer") -> None:
        super().on_start(trainer)
        self.on_no_better(trainer)

    def on_no_better(self, trainer: "Trainer") -> None:
        if self.waited < self.patience:
            return
        best = "there is no finite value yet"
        if self.best is not None:
            best = f"the best is {self.best:.4g}, after step {self.best_step:,}"
        name = self._find_name(trainer)
        trainer.stop(f"{name} was no better in {self.waited} evaluations: {best}")


class DropLearningRate(MetricCallback):
    """Lowers the learning rate when a metric has not become better for some evaluations in a row.

    The learning rate is multiplied by `factor`, and the count of evaluations begins anew. The learning-rate schedule
    goes on, as the two are multiplied.

    Parameters
    ----------
    metric : str
        As of :class:`MetricCallback`.
    patience : int
        Evaluations.
    factor : float
        Above zero and below one.
    lowest : float
        The learning rate is not lowered below this part of what it was.
    higher_is_better, min_change
        As of :class:`MetricCallback`.
    """

    def __init__(
        self,
        metric: str,
        patience: int = 3,
        factor: float = 0.5,
        lowest: float = 0.001,
        higher_is_better: bool | None = None,
        min_change: float = 0.0,
    ) -> None:
        super().__init__(metric, higher_is_better, min_change)
        self.patience = Number(int, 1).check("DropLearningRate: patience", patience)
        self.factor = Number(float, above=0).check("DropLearningRate: factor", factor)
        if self.factor >= 1:
            raise ValueError(f"DropLearningRate: factor must be a number below 1, not {factor!r}")
        self.lowest = Number(float, 0, 1).check("DropLearningRate: lowest", lowest)

    def on_no_better(self, trainer: "Trainer") -> None:
        if self.waited < self.patience:
            return
        self.waited = 0
        present = trainer.learning_rate_factor
        # A factor that is lower already stays
        trainer.learning_rate_factor = min(present, max(present * self.factor, self.lowest))


class KeepBest(MetricCallback):
    """Keeps the parameters of the best evaluation, and gives them to the network at the end of training.

    Checkpoints hold the best parameters beside the present ones. Where :meth:`ntm.training.Trainer.train` is called
    again, training goes on from the parameters of the last step, unless they were set to others in between.

    Parameters
    ----------
    metric : str
        As of :class:`MetricCallback`.
    path : str or path, optional
        A file that the network is written to each time that it is the best so far: see :func:`ntm.save`.
    higher_is_better, min_change
        As of :class:`MetricCallback`.
    """

    def __init__(
        self,
        metric: str,
        path: PathLike | None = None,
        higher_is_better: bool | None = None,
        min_change: float = 0.0,
    ) -> None:
        super().__init__(metric, higher_is_better, min_change)
        self.path = path
        self._values: dict[str, Array] = {}
        # The parameters of the last step, from the end of training until it goes on
        self._latest: dict[str, Array] = {}

    def on_start(self, trainer: "Trainer") -> None:
        """Check that the file can be written, and that the parameters of a checkpoint fit the network."""
        super().on_start(trainer)
        if self.path is not None:
            check_folder_of(self.path, "KeepBest: path")
        if self.best is None and not self._values:
            return
        own, kept = (
            {name: (array.shape, array.dtype) for name, array in values.items()}
            for values in (_get_parameters(trainer), self._values)
        )
        different = [name for name in {**own, **kept} if own.get(name) != kept.get(name)]
        if different:
            raise ValueError(
                f"KeepBest: the best parameters are not those of this network: different are {', '.join(different[:3])}"
            )
        latest, self._latest = self._latest, {}
        present = _get_parameters(trainer)
        if latest and all(np.array_equal(present[name], self._values[name]) for name in present):
            trainer.set_values(latest)

    def on_better(self, trainer: "Trainer") -> None:
        self._values = _get_parameters(trainer)
        if self.path is not None:
            save(self.path, trainer.l_out)

    def on_end(self, trainer: "Trainer", ended: str) -> None:
        if self._values:
            self._latest = _get_parameters(trainer)
            trainer.set_values(self._values)

    def get_arrays(self) -> dict[str, Array]:
        return dict(self._values)

    def set_arrays(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
                raise ValueError(f"KeepBest: {name} must hold finite numbers")
        self._values, self._latest = dict(arrays), {}


def check_keys(label: str, state: Any, own: Mapping[str, Any]) -> None:
    """Raise a `ValueError` unless a state from a file is a dict with the keys of a callback's own."""
    if not isinstance(state, Mapping) or state.keys() != own.keys():
        expected = f"a dict with {', '.join(own)}" if own else "an empty dict"
        raise ValueError(f"{label}: the state must be {expected}, not {shorten(repr(state), 100)}")


def _check_finite(name: str, value: Any) -> float:
    """Return a number from a file; raise a `ValueError` if the value is none, or not finite."""
    # A JSON integer may be too large for a float, and 1e999 is read as infinity
    if type(value) is int and abs(value) < 2**1000:
        value = float(value)
    if type(value) is not float or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {shorten(repr(value), 100)}")
    return value


def _find_direction(metric: str) -> bool | None:
    """Return whether higher values of a metric are better, None if that is not known."""
    name = metric.removeprefix(VALIDATION).removeprefix("training ")
    if name == LOSS:
        return False
    return METRICS[name].higher_is_better if name in METRICS else None


def _get_parameters(trainer: "Trainer") -> dict[str, Array]:
    """Return copies of a trainer's parameters, without the optimiser's state."""
    values = trainer.get_values()
    return {name: value for name, value in values.items() if name.startswith(PARAMETER)}
