"""Evaluation on a user's data: the loss, metrics and predictions, sequence by sequence or along streams.

Notation: B sequences in a batch, T steps, O output features.
"""

import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pytensor
from pytensor.compile.mode import Mode

from lasagne.backends.modes import get_mode
from lasagne.layers import Layer
from ntm.arguments import Number, is_number
from ntm.data import DataBatch, Dataset, Epochs, Layout, Source, SourceExhausted, make_source
from ntm.data.seeking import SeekableSource
from ntm.prediction.inspection import Inspector
from ntm.prediction.probabilities import predictions
from ntm.traces import Trace
from ntm.training.inputs import NetworkInputs, compute_output
from ntm.training.losses import check_last_nonlinearity
from ntm.training.metrics import LOSS, METRICS, Value, make_metrics
from ntm.training.objective import DataObjective, LossFunction
from ntm.training.step import CarriedStates
from ntm.typing import Array, Tensor

__all__ = ["DataEvaluator", "make_validation", "to_row"]

#: How many sequences are evaluated at a time
BATCH_SIZE = 100


class DataEvaluator:
    """Measures a network on data.

    Functions are compiled when they are first needed, on the JAX back end for each new shape of a batch. No gradient is
    compiled. Several threads may use one evaluator: one of them measures at a time.

    Parameters
    ----------
    l_out : Layer
        As of :class:`ntm.training.Trainer`: (B, T, O) or, for one target a sequence, (B, O) too; logits where targets
        are bits or classes, else numbers.
    layout : Layout or DataObjective
        What the data look like, or the loss that a network was trained with.
    mode : pytensor Mode, optional
        What functions are compiled with, :func:`ntm.get_mode` unless given.
    metrics : list of str and functions, optional
        As of :func:`ntm.training.make_metrics`. The loss is always measured.
    loss : callable, optional
        A loss of your own, as of :class:`ntm.training.Trainer`.

    Attributes
    ----------
    names : list of str
        What :meth:`evaluate` measures: the loss, then the metrics.
    number_names : list of str
        Those that are numbers: all but the confusion matrix.

    Raises
    ------
    TypeError, ValueError
        If the network does not fit the data, or there is no such metric of the data.

    Examples
    --------
    >>> import numpy as np
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> from ntm.data import Dataset
    >>> from ntm.training import DataEvaluator
    >>> data = Dataset(np.zeros((7, 5, 2)), np.arange(7) % 3)
    >>> l_out = DenseLayer(InputLayer((None, None, 2)), 3, nonlinearity=None, num_leading_axes=2)
    >>> DataEvaluator(l_out, data.layout).evaluate(data)["accuracy"]  # Always class 0
    0.42857142857142855
    """

    def __init__(
        self,
        l_out: Layer,
        layout: Layout | DataObjective,
        mode: Mode | None = None,
        metrics: Any = None,
        loss: LossFunction | None = None,
    ) -> None:
        if isinstance(layout, DataObjective):
            self._objective = layout
        else:
            self._objective = DataObjective(layout, loss, caller="DataEvaluator")
        self.l_out, self.layout = l_out, self._objective.layout
        owner = self._objective.name
        self._network = NetworkInputs(l_out, self.layout, "DataEvaluator", owner)
        check_last_nonlinearity(l_out, self.layout.kind, "DataEvaluator", owner)
        self.mode = get_mode() if mode is None else mode
        names = make_metrics(self.layout, metrics, "DataEvaluator").names
        self._metrics = metrics
        self.names = [LOSS, *names]
        self.number_names = [
            name for name in self.names if name not in METRICS or METRICS[name].is_number
        ]
        self._streams: dict[int, Callable[..., Any]] = {}
        self._lock = threading.RLock()

    def evaluate(self, data: Any, batch_size: int = BATCH_SIZE) -> dict[str, Value]:
        """Measure the network on data.

        Parameters
        ----------
        data : Dataset, Source or anything that :func:`ntm.data.make_source` takes
            A source gives the batches of one epoch, and is then set back to where it was, if it can be sought. Along a
            :class:`ntm.data.Stream` the network's states are carried from window to window.
        batch_size : int
            How many sequences are measured at a time. A source has a batch size of its own.

        Returns
        -------
        dict from str to float or list
            ``loss``, as training lowers it: the mean over the sequences, by their weights. Then the metrics. A number
            that is not defined is NaN. The confusion matrix is a list of rows.

        Raises
        ------
        ValueError
            If the data are not as those that the network is made for, or a generator is used up.
        """
        return self.measure(self.prepare(data, batch_size))

    def measure(self, source: Source) -> dict[str, Value]:
        """Measure the network on a source of :meth:`prepare`; the result is that of :meth:`evaluate`."""
        metrics = make_metrics(self.layout, self._metrics, "DataEvaluator")
        total = weight = 0.0
        with self._lock:
            for drawn in _draw_epoch(source):
                batch = self._network.fit(drawn)
                losses, predicted = self._measure(batch, source.is_stream)
                counts = np.asarray(batch.weights) != 0
                weights = np.asarray(batch.weights, np.float64)[counts]
                total += float((weights * losses[counts]).sum())
                weight += float(weights.sum())
                metrics.update(predicted, batch)
        loss = total / weight if weight > 0 else np.nan
        return {LOSS: loss, **metrics.compute()}

    def prepare(
        self, data: Any, batch_size: int = BATCH_SIZE, caller: str = "DataEvaluator.evaluate"
    ) -> Source:
        """Return data as a source that the network can be measured on, as often as wanted: see :meth:`measure`.

        Parameters
        ----------
        data, batch_size
            As of :meth:`evaluate`.
        caller : str
            What error messages begin with.

        Returns
        -------
        Source
            The one that is given; of a data set, the sequences in their order.

        Raises
        ------
        ValueError
            If the data have no targets, are not as those that the network is made for, or the network does not take
            their batches.
        """
        data = make_validation(data, self._objective.data_layout, caller)
        network = self._check_inputs(data.layout, caller)
        source = data if isinstance(data, Source) else self._make_epochs(data, batch_size)
        network.check_source(source)
        return source

    def predict(self, data: Any, batch_size: int = BATCH_SIZE) -> Array | list[Array]:
        """Predict the targets of sequences.

        Parameters
        ----------
        data : Dataset, or the inputs of one
            It need not have targets.
        batch_size : int
            How many sequences are predicted at a time.

        Returns
        -------
        array (N, T, O) or, for one target a sequence, (N, O)
            Probabilities of bits or classes, or numbers; what the network gives if the loss is your own. Where
            sequences differ in length, a list of arrays (T_i, O).
        """
        dataset = data if isinstance(data, Dataset) else Dataset(data)
        network = self._check_inputs(dataset.layout, "DataEvaluator.predict")
        epochs = self._make_epochs(dataset, batch_size)
        network.check_source(epochs)
        found: list[Any] = [None] * len(dataset)
        for batch in _draw_epoch(epochs):
            filled = self._network.fit(batch)
            step_mask = np.asarray(filled.step_mask, self._objective.step_mask.dtype)
            with self._lock:
                predicted = np.asarray(self._predict(*self._network.cast(filled), step_mask))
            has_time = self.layout.per_step and predicted.ndim > 2
            for row, index in enumerate(epochs.indices):
                length = int(dataset.lengths[index])
                found[index] = predicted[row, :length] if has_time else predicted[row]
        return np.stack(found) if len({each.shape for each in found}) == 1 else found

    def look_inside(self, data: Any) -> list[Trace]:
        """Trace what the heads and the memory of each memory layer do with one sequence.

        Parameters
        ----------
        data : Dataset, or the inputs of one
            Of one sequence, such as ``dataset.subset([0])``.

        Returns
        -------
        list of Trace
            As of :func:`ntm.look_inside`.

        Raises
        ------
        ValueError
            If there are several sequences, or the network does not take them.
        """
        dataset = data if isinstance(data, Dataset) else Dataset(data)
        if len(dataset) != 1:
            raise ValueError(
                f"DataEvaluator.look_inside: data must be one sequence, such as dataset.subset([0]), not {len(dataset)}"
            )
        self._check_inputs(dataset.layout, "DataEvaluator.look_inside")
        batch, length = dataset.take([0]), int(dataset.lengths[0])
        arrays = zip(self._network.layers.items(), self._network.cast(batch), strict=False)
        given = {
            layer: array[0, :length] if self.layout.inputs[name].has_time else array[0]
            for (name, layer), array in arrays
        }
        return self._inspector.look_inside(given)

    # ---- Batches

    def _get_batch_size(self, batch_size: int) -> int:
        """Return the batch size that the network was made for, else the one that is asked for."""
        size = Number(int, 1).check("DataEvaluator: batch_size", batch_size)
        return self._network.batch_size or size

    def _check_inputs(self, layout: Layout, caller: str) -> NetworkInputs:
        """Raise a `ValueError` unless the network takes the inputs of a layout: all of its symbols, too."""
        expected = self.layout._replace(inputs=layout.inputs)
        return NetworkInputs(self.l_out, expected, caller, self._objective.name)

    def _make_epochs(self, dataset: Dataset, batch_size: int) -> Epochs:
        return Epochs(dataset, self._get_batch_size(batch_size), shuffle=False)

    def _measure(self, batch: DataBatch, is_stream: bool) -> tuple[Array, Array]:
        """Return the losses (B,) of a batch, and its predictions."""
        given = [*self._network.cast(batch), *self._objective.cast(batch)]
        if is_stream:
            num_rows = batch.shape[0]
            if num_rows not in self._streams:
                self._streams[num_rows] = self._compile_stream(num_rows)
            losses, predicted = self._streams[num_rows](*given, np.asarray(batch.resets, "bool"))
        else:
            losses, predicted = self._run(*given)
        return np.asarray(losses), np.asarray(predicted)

    # ---- Compiled functions

    def _make_predictions(self, outputs: Tensor) -> Tensor:
        if not self.layout.per_step:
            outputs = self._objective.take_last(outputs)
        return predictions(self.layout.kind, outputs)

    def _make_results(self, outputs: Tensor) -> list[Tensor]:
        return [self._objective.compute(outputs), self._make_predictions(outputs)]

    @cached_property
    def _run(self) -> Callable[..., Any]:
        outputs = compute_output(self.l_out, self._objective.step_mask, deterministic=True)
        variables = [*self._network.variables, *self._objective.variables]
        # Not all losses take the mask, nor all predictions the lengths
        return pytensor.function(
            variables, self._make_results(outputs), mode=self.mode, on_unused_input="ignore"
        )

    @cached_property
    def _predict(self) -> Callable[..., Any]:
        outputs = compute_output(self.l_out, self._objective.step_mask, deterministic=True)
        variables = [*self._network.variables, self._objective.step_mask]
        return pytensor.function(
            variables, self._make_predictions(outputs), mode=self.mode, on_unused_input="ignore"
        )

    @cached_property
    def _inspector(self) -> Inspector:
        return Inspector(self.l_out, self.mode)

    def _compile_stream(self, batch_size: int) -> Callable[..., Any]:
        """Return a function that also takes which rows begin anew, and keeps the network's states."""
        carried = CarriedStates(self.l_out, batch_size)
        outputs = carried.compute_output(self.l_out, deterministic=True)
        variables = [*self._network.variables, *self._objective.variables, carried.resets]
        return pytensor.function(
            variables,
            self._make_results(outputs),
            updates=dict(zip(carried.before, carried.after, strict=True)),
            mode=self.mode,
            on_unused_input="ignore",
        )


def make_validation(data: Any, layout: Layout, caller: str = "Trainer") -> Dataset | Source:
    """Return data that a network is measured on, and that are like the training data.

    Parameters
    ----------
    data : Dataset, Source or anything that :func:`ntm.data.make_source` takes
        Where the kind of the targets is not given, it is that of the layout.
    layout : Layout
        Of the training data.
    caller : str
        What error messages begin with.

    Raises
    ------
    ValueError
        If the data have no targets, or other inputs or targets than the layout.
    """
    if not isinstance(data, Dataset | Source):
        per = "step" if layout.per_step else "sequence"
        made = make_source(data, kind=layout.kind, per=per, num_outputs=layout.num_outputs)
        data = getattr(made, "dataset", made)
    if isinstance(data, Dataset) and not data.has_targets:
        raise ValueError(f"{caller}: the data have no targets, so that nothing can be measured")
    given = data.layout
    _compare_inputs(given, layout, caller)
    # Data of a part of the sequences may lack the last classes
    is_part = layout.kind == "classes" and (given.num_outputs or 0) <= (layout.num_outputs or 0)
    if (given.kind, given.per_step) != (layout.kind, layout.per_step) or not (
        is_part or given.num_outputs == layout.num_outputs
    ):
        raise ValueError(
            f"{caller}: the targets are {_describe_targets(given)}, and those that the network is trained for "
            f"{_describe_targets(layout)}"
        )
    return data


def _compare_inputs(given: Layout, expected: Layout, caller: str) -> None:
    """Raise a `ValueError` unless inputs have the names and the shapes of those that a network is trained for."""
    names = {name: (each.features, each.has_time) for name, each in given.inputs.items()}
    own = {name: (each.features, each.has_time) for name, each in expected.inputs.items()}
    for name in {**own, **names}:
        if names.get(name) != own.get(name):
            has = "missing" if name not in names else f"of features {names[name][0]}"
            raise ValueError(
                f"{caller}: input {name!r} is {has}, and the network is trained for "
                + (f"features {own[name][0]}" if name in own else f"inputs {', '.join(own)}")
            )


def _describe_targets(layout: Layout) -> str:
    count = "" if layout.num_outputs is None else f"{layout.num_outputs} "
    return f"{count}{layout.kind} for each {'step' if layout.per_step else 'sequence'}"


def _draw_epoch(source: Source) -> Iterator[DataBatch]:
    """Yield all batches of an epoch, and set the source back to where it was, if it can be sought."""
    state = source.get_state() if source.can_seek else None
    if isinstance(source, SeekableSource):
        source.begin_epoch()
    epoch, count = source.epoch, 0
    try:
        while source.epoch == epoch:
            try:
                batch = source.draw()
            except SourceExhausted:
                break
            count += 1
            yield batch
    finally:
        if state is not None:
            source.set_state(state)
    if count == 0:
        raise ValueError(
            "DataEvaluator: there are no more batches, as a generator gives its batches once: expected a Dataset, or a "
            "function that returns a new generator each time"
        )


def to_row(value: Value) -> float | list[list[float]] | None:
    """Return a value for a row: None stands for a number that is not finite."""
    return None if is_number(value) and not np.isfinite(value) else value
