"""Predictions from arrays.

Notation: N sequences, T steps, F input and O output features; B rows that run at a time.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode

from lasagne.layers import Layer
from lasagne.layers._states import StatefulLayer
from ntm.arguments import Number, check_choice, describe
from ntm.layers.stepping import get_output_and_states, reset_rows
from ntm.prediction.arrays import NetworkInput
from ntm.prediction.probabilities import PROBABILITIES, find_last_layer, predictions
from ntm.prediction.rows import RowNetwork, Rows
from ntm.typing import Array, ArrayLike

__all__ = ["Predictor"]


class Predictor(RowNetwork):
    """Predicts from arrays with a network.

    A Predictor takes one array (N, T, F), or a list of sequences of several lengths, (T, F) each. Parameters that
    change later are seen.

    Functions are compiled when they are first needed. JAX compiles each shape once. So sequences are padded to a power
    of two of steps, and batches to `batch_size` rows, or to a power of two for fewer sequences. What is predicted does
    not depend on the padding: for memory layers and recurrent layers, a sequence ends where its own steps end.

    A network with a layer that mixes steps in another way, such as a `ReshapeLayer` or a `SliceLayer` of the time axis,
    gets sequences of one length at a time, without padding. Each length is then compiled.

    Several threads may use one Predictor.

    Parameters
    ----------
    l_out : Layer
        The output layer of a network with one or several inputs: (B, T, F) or (B, F) of numbers, (B, T) of integers
        for an `EmbeddingLayer`. The output may be (B, T, O) or (B, O). An input layer that is the `mask_input` of
        layers gets the lengths of the sequences.
    mode : pytensor Mode, optional
        What functions are compiled with, :func:`ntm.get_mode` unless given.
    kind : {'classes', 'bits'}, optional
        What the network predicts. The outputs of a network that ends in logits then become probabilities: by a softmax
        for classes, by a sigmoid for bits. Unless given, outputs are as the network gives them.

    Attributes
    ----------
    pads : bool
        Whether sequences are padded.
    gives_probabilities : bool
        Whether the outputs are probabilities, by the network or by `kind`.

    Raises
    ------
    TypeError
        If `l_out` is no layer.
    ValueError
        If the network has no input, or several inputs without names, or `kind` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from lasagne.layers import InputLayer, LSTMLayer
    >>> from ntm import Predictor
    >>> predictor = Predictor(LSTMLayer(InputLayer((None, None, 3)), num_units=4))
    >>> predictor.predict(np.zeros((2, 10, 3))).shape
    (2, 10, 4)
    >>> [each.shape for each in predictor.predict([np.zeros((5, 3)), np.zeros((7, 3))])]
    [(5, 4), (7, 4)]
    """

    def __init__(self, l_out: Layer, mode: Mode | None = None, kind: str | None = None) -> None:
        super().__init__(l_out, mode)
        if kind is not None:
            check_choice("kind of Predictor", kind, ("classes", "bits"))
        self.kind = kind
        last = getattr(find_last_layer(l_out), "nonlinearity", None)
        self._ends_in_probabilities = last in PROBABILITIES
        self.gives_probabilities = self._ends_in_probabilities or kind is not None
        self._functions: dict[bool, Any] = {}
        self._lock = threading.RLock()

    def predict(
        self,
        inputs: Any,
        lengths: ArrayLike | None = None,
        states: Mapping[Any, Any] | None = None,
        return_states: bool = False,
        batch_size: int = 100,
    ) -> Any:
        """Return the outputs of the network.

        Parameters
        ----------
        inputs : array (N, T, F) or (N, T) or (N, F), or list of arrays (T, F) or (T,)
            Of a network with several inputs, a dictionary from the name of each InputLayer to its values.
        lengths : array (N,) of int, optional
            The steps of each sequence of an array; what follows them does not count. By default T.
        states : dict from layer to state, optional
            The states (N, ...) from which the sequences go on, as `return_states` gave them. By default each sequence
            starts from the initial state.
        return_states : bool
            Whether to return the states after the last step as well.
        batch_size : int
            How many sequences run at a time.

        Returns
        -------
        array (N, T, O) or (N, O), or list of arrays (T, O)
            A list where a list was given and the network has an output for each step. In an array, outputs after the
            end of a sequence are zero. With `return_states`, a pair: this, and a dictionary from each memory layer and
            recurrent layer to its state, arrays (N, ...).

        Raises
        ------
        ValueError
            If arrays have other shapes than the network takes, are empty, or hold NaN or infinite numbers or symbols
            that the network does not know; if lengths or states do not fit the inputs; if a layer's state cannot be
            carried on and states are given or asked for. The message names the first offending index.
        TypeError
            If values are no numbers, or no integers where the network takes integers.
        """
        batch_size = Number(int, 1).check("Predictor.predict: batch_size", batch_size)
        values = self.read(inputs)
        counts = self.count_steps(values, lengths)
        carries = return_states or states is not None
        given = None if states is None else self._read_states(states, len(counts))
        outputs: list[Any] = [None] * len(counts)
        after: list[Any] = [None] * len(counts)
        for numbers, rows in self._divide(values, counts, batch_size):
            if carries:
                num_rows = len(rows.step_mask)
                before = given and [_pad_rows(part[numbers], num_rows) for part in given]
                output, new = self.run_carrying(rows, before)
                parts = [np.asarray(part) for part in new]
            else:
                output, parts = self._run(rows), []
            output = np.asarray(output)
            for row, number in enumerate(numbers):
                is_cut = self.pads and self._time_axis.in_output
                outputs[number] = output[row, : counts[number]] if is_cut else output[row]
                after[number] = [part[row] for part in parts]
        is_list = any(isinstance(each, list) for each in values)
        if is_list and self._time_axis.in_output:
            result: Any = outputs
        else:
            result = self._stack(outputs, values)
        if not return_states:
            return result
        return result, self._unflatten([np.stack(part) for part in zip(*after, strict=True)])

    def _stack(self, outputs: list[Array], values: list[Any]) -> Array:
        """Return the outputs of the sequences as one array, with zeros after the end of the shorter ones."""
        if not (self.pads and self._time_axis.in_output):
            return np.stack(outputs)
        (num_steps,) = {
            array.shape[1]
            for each, array in zip(self._inputs, values, strict=True)
            if each.has_time
        }
        result = np.zeros((len(outputs), num_steps, *outputs[0].shape[1:]), outputs[0].dtype)
        for row, output in zip(result, outputs, strict=True):
            row[: len(output)] = output
        return result

    def _divide(
        self, values: list[Any], counts: Array, batch_size: int
    ) -> Iterator[tuple[Array, Rows]]:
        """Yield the numbers of sequences that run together, and their rows."""
        num_rows = self.count_rows(min(len(counts), batch_size), batch_size)
        groups = np.array([self.count_padded_steps(int(count)) for count in counts])
        for num_steps in np.unique(groups):
            numbers = np.flatnonzero(groups == num_steps)
            for start in range(0, len(numbers), num_rows):
                chunk = numbers[start : start + num_rows]
                yield chunk, self.pad(values, counts, chunk, int(num_steps), num_rows)

    # ---- States

    def check_carries(self) -> None:
        """Raise a `ValueError` if a layer cannot go on from the state after the last step."""
        for layer in self._stateful:
            if layer.backwards:
                raise ValueError(
                    f"Predictor: {describe(type(layer).__name__, layer.name)} runs backwards, and no sequence can go "
                    "on from its state; states cannot be given or returned"
                )

    def check_pads(self, caller: str) -> None:
        """Raise a `ValueError` if a layer mixes steps, so that a sequence cannot be taken in parts."""
        if self._time_axis.mixing is not None:
            raise ValueError(
                f"{caller}: {self._time_axis.mixing!r} may mix the steps of a sequence, so that the network cannot "
                "take one step at a time"
            )

    def get_only_input(self, caller: str) -> NetworkInput:
        """Return the input of the network; raise a `ValueError` unless it has one, with steps."""
        if len(self._inputs) != 1 or not self._inputs[0].has_time:
            raise ValueError(
                f"{caller}: the network must have one input, of steps (batch, time, ...), not "
                f"{[each.layer for each in self._inputs]}"
            )
        return self._inputs[0]

    def _read_states(self, states: Mapping[Any, Any], number: int) -> list[Array]:
        """Return the parts of given states, in the order of the layers."""
        if not isinstance(states, Mapping):
            raise TypeError(
                f"Predictor: states must be a dictionary from layers, not {states!r:.100}"
            )
        for layer in states:
            if layer not in self._stateful:
                raise ValueError(
                    f"Predictor: states: {layer!r} is not a memory layer or a recurrent layer of this network"
                )
        parts: list[Array] = []
        for layer in self._stateful:
            label = describe(type(layer).__name__, layer.name)
            if layer not in states:
                raise ValueError(f"Predictor: states: there is no state of {label}")
            expected = self._make_state_variables(layer).flatten()
            given = [np.asarray(part) for part in states[layer].flatten()]
            shapes = [(number, *part.type.shape[1:]) for part in expected]
            if [part.shape for part in given] != shapes:
                raise ValueError(
                    f"Predictor: the state of {label} must have parts of shape {shapes} for {number} sequences, not "
                    f"{[part.shape for part in given]}"
                )
            parts += [
                _cast_state(
                    part, np.dtype(wanted.dtype), f"Predictor: part {k} of the state of {label}"
                )
                for k, (part, wanted) in enumerate(zip(given, expected, strict=True))
            ]
        return parts

    def _unflatten(self, parts: Sequence[Any]) -> dict[StatefulLayer, Any]:
        """Return the state of each layer from the parts of all."""
        states, start = {}, 0
        for layer in self._stateful:
            variables = self._make_state_variables(layer)
            end = start + len(variables.flatten())
            states[layer] = variables.unflatten(parts[start:end])
            start = end
        return states

    # ---- Compiled functions

    def _run(self, rows: Rows) -> Any:
        """Return the output for rows that start from the initial state."""
        with self._lock:
            return self._get_function(False)(*self.arrange(rows))

    def run_carrying(self, rows: Rows, before: Sequence[Any] | None) -> tuple[Any, list[Any]]:
        """Return the output for rows, and the parts of the states after the last step.

        Parameters
        ----------
        rows : Rows
        before : list of arrays (B, ...), optional
            The parts of the states before the first step; the initial states unless given.
        """
        self.check_carries()
        num_rows = len(rows.step_mask)
        with self._lock:
            function = self._get_function(True)
            resets = np.full(num_rows, before is None)
            if before is None:
                before = [
                    np.zeros((num_rows, *part.type.shape[1:]), part.dtype)
                    for layer in self._stateful
                    for part in self._make_state_variables(layer).flatten()
                ]
            output, *parts = function(*self.arrange(rows), resets, *before)
        return output, parts

    def _get_function(self, carries: bool) -> Any:
        """Return a compiled function: of inputs and masks, and where states are carried, of resets and states."""
        if carries not in self._functions:
            with pytensor.config.change_flags(floatX=self.float_type):
                self._functions[carries] = self._compile(carries)
        return self._functions[carries]

    def _compile(self, carries: bool) -> Any:
        variables, given, step_mask = self.make_variables()
        states: dict[Any, Any] = {}
        if carries:
            resets = pt.vector("resets", dtype="bool")
            variables.append(resets)
            for each in self._stateful:
                state = each.make_state_variables()
                variables += state.flatten()
                states[each] = reset_rows(each, state, resets)
        output, after = get_output_and_states(
            self.l_out, given, states, step_mask=step_mask, deterministic=True
        )
        if not self._ends_in_probabilities:
            output = predictions(self.kind, output)
        results = [part for layer in self._stateful for part in after[layer].flatten()]
        return pytensor.function(
            variables,
            [output, *results] if carries else output,
            mode=self.mode,
            on_unused_input="ignore",
        )

    def _make_state_variables(self, layer: StatefulLayer) -> Any:
        """Return variables for the state of a layer, in the floating-point type of the network."""
        with pytensor.config.change_flags(floatX=self.float_type):
            return layer.make_state_variables()


def _pad_rows(array: Array, num_rows: int) -> Array:
    """Return an array with rows of zeros at its end."""
    padded = np.zeros((num_rows, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


def _cast_state(part: Array, dtype: np.dtype, label: str) -> Array:
    """Return a part of a state (N, ...) in the data type of the network, after checking its values."""
    if part.dtype.kind not in ("biuf" if dtype.kind == "f" else "biu"):
        raise TypeError(f"{label} must be of {dtype}, not of {part.dtype}")
    with np.errstate(over="ignore"):
        cast = part.astype(dtype)
    wrong = np.argwhere(~np.isfinite(cast))
    if len(wrong):
        index = tuple(map(int, wrong[0]))
        raise ValueError(f"{label}{list(index)} must be finite in {dtype}, not {part[index]}")
    return cast
