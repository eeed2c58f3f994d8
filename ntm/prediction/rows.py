"""A network that runs on a user's arrays: sequences of several lengths, padded to rows of a few shapes.

Notation: N sequences, T steps; B rows that run at a time.
"""

from typing import Any, NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant

from lasagne.backends.modes import get_mode
from lasagne.layers import Layer, get_all_params
from lasagne.utils import is_float
from ntm.layers.stepping import find_stateful_layers, has_mask
from ntm.prediction.arrays import find_inputs, match_inputs
from ntm.prediction.steps import find_time_axis
from ntm.typing import Array, ArrayLike, Tensor


class Rows(NamedTuple):
    """Sequences as the compiled functions take them.

    Attributes
    ----------
    arrays : list of array (B, T, ...) or (B, ...)
        For each input of the network, padded with zeros.
    step_mask : array (B, T)
        One up to the end of a sequence, zero in its padding.
    """

    arrays: list[Array]
    step_mask: Array


class RowNetwork:
    """The base class of what runs a network on a user's arrays.

    Parameters
    ----------
    l_out : Layer
        The output layer of a network with one or several inputs.
    mode : pytensor Mode, optional
        What functions are compiled with, :func:`ntm.get_mode` unless given.

    Attributes
    ----------
    pads : bool
        Whether sequences are padded.

    Raises
    ------
    TypeError
        If `l_out` is no layer.
    ValueError
        If the network has no input, or several inputs without names.
    """

    #: What messages begin with
    caller = "Predictor"

    def __init__(self, l_out: Layer, mode: Mode | None = None) -> None:
        if not isinstance(l_out, Layer):
            raise TypeError(
                f"{self.caller}: l_out must be the last layer of a network, not {l_out!r:.100}"
            )
        self.l_out = l_out
        self.mode = get_mode() if mode is None else mode
        self._time_axis = find_time_axis(l_out)
        self._inputs = find_inputs(l_out, self._time_axis, self.caller)
        self._stateful = find_stateful_layers(l_out)
        self.pads = self._time_axis.mixing is None

    # ---- From a user's arrays to rows

    def read(self, inputs: Any) -> list[Any]:
        """Return what was given for each input: an array (N, ...), or a list of an array for each sequence."""
        given = match_inputs(self._inputs, inputs, self.caller)
        values = [each.read(array) for each, array in zip(self._inputs, given, strict=True)]
        first = self._inputs[0]
        for each, array in zip(self._inputs, values, strict=True):
            if len(array) != len(values[0]):
                raise ValueError(
                    f"{each.label} must hold as many sequences as {first.label}, {len(values[0])}, not {len(array)}"
                )
        return values

    def count_steps(self, values: list[Any], lengths: ArrayLike | None = None) -> Array:
        """Return the number of steps of each sequence, (N,); zeros where the network has no time axis."""
        number = len(values[0])
        timed = [k for k, each in enumerate(self._inputs) if each.has_time]
        if lengths is not None and (not timed or any(isinstance(values[k], list) for k in timed)):
            why = "the sequences of a list have their own" if timed else "the inputs have no steps"
            raise ValueError(f"{self.caller}: lengths are for arrays (N, T, ...); {why}")
        counts = np.zeros(number, int)
        for k in timed:
            own = np.array([len(sequence) for sequence in values[k]])
            wrong = np.flatnonzero(own != counts)
            if len(wrong) and k != timed[0]:
                raise ValueError(
                    f"{self._inputs[k].label}[{wrong[0]}] must have as many steps as "
                    f"{self._inputs[timed[0]].label}[{wrong[0]}], {counts[wrong[0]]}, not {own[wrong[0]]}"
                )
            counts = own
        if lengths is not None:
            counts = _check_lengths(self.caller, lengths, counts)
            if self._time_axis.mixing is not None and self._time_axis.in_output:
                raise ValueError(
                    f"{self.caller}: {self._time_axis.mixing!r} mixes steps, so that sequences are not padded; give a "
                    "list of sequences instead of an array and lengths"
                )
        for k in timed:
            self._check_declared_steps(k, counts)
        return counts

    def _check_declared_steps(self, k: int, counts: Array) -> None:
        """Raise a `ValueError` if a sequence has not the number of steps that an input was made for."""
        declared = self._inputs[k].num_steps
        if declared is None:
            return
        wrong = np.flatnonzero(counts > declared if self.pads else counts != declared)
        if len(wrong):
            bound = f"at most {declared}" if self.pads else f"exactly {declared}"
            raise ValueError(
                f"{self._inputs[k].label}[{wrong[0]}] has {counts[wrong[0]]} steps, but the network was made for "
                f"{bound}: the shape of its InputLayer is {self._inputs[k].shape}"
            )

    def count_rows(self, number: int, largest: int | None = None) -> int:
        """Return how many rows run at a time: the batch size of the network, or a power of two."""
        declared = [each.shape[0] for each in self._inputs if each.shape[0] is not None]
        if declared:
            return declared[0]
        rounded = _round_up(number)
        return rounded if largest is None else min(rounded, largest)

    def count_padded_steps(self, number: int) -> int:
        """Return the number of steps to which a sequence is padded."""
        if not self.pads or not number:
            return number
        declared = [each.num_steps for each in self._inputs if each.num_steps is not None]
        return declared[0] if declared else _round_up(number)

    def pad(
        self, values: list[Any], counts: Array, numbers: Array, num_steps: int, num_rows: int
    ) -> Rows:
        """Return some of the sequences, in the data type of the network, padded with zeros.

        Parameters
        ----------
        values, counts
            All sequences as :meth:`read` returns them, and the steps of each.
        numbers : array of int
            Those that are wanted.
        num_steps, num_rows : int
            T and B.
        """
        arrays = []
        for each, given in zip(self._inputs, values, strict=True):
            shape = (num_steps,) if each.has_time else ()
            features = given[0].shape[1 if each.has_time else 0 :]
            array = np.zeros((num_rows, *shape, *features), each.dtype)
            for row, number in enumerate(numbers):
                sequence = given[number][: counts[number]] if each.has_time else given[number]
                place = array[row, : counts[number]] if each.has_time else array[row]
                place[...] = each.cast(sequence, (int(number),))
            arrays.append(array)
        step_mask = np.zeros((num_rows, num_steps), bool)
        step_mask[: len(numbers)] = np.arange(num_steps) < counts[numbers, None]
        return Rows(arrays, step_mask)

    @property
    def gives_steps(self) -> bool:
        """Whether the network has an output for each step."""
        return self._time_axis.in_output

    # ---- Compiled functions

    def make_variables(self) -> tuple[list[Tensor], dict[Any, Tensor], Tensor | None]:
        """Make the variables of a compiled function, which takes what :meth:`arrange` returns.

        Returns
        -------
        list of tensors
            All variables: the inputs, the masks of layers and, where other layers need one, a mask (B, T).
        dict from InputLayer to tensor
            The values of the network's inputs.
        tensor (B, T) or None
            The mask of the layers without a mask of their own.
        """
        layers = [*(each.layer for each in self._inputs), *self._time_axis.masks]
        given: dict[Any, Any] = {}
        for layer in layers:
            own: Any = layer.input_var
            # A network may use its own variable, as for the sizes of a ReshapeLayer
            is_free = own.owner is None and not isinstance(own, Constant | SharedVariable)
            new = pt.tensor(dtype=own.dtype, shape=layer.output_shape)
            given[layer] = own if is_free else new
        variables = list(given.values())
        step_mask = pt.matrix("step_mask", dtype="bool") if self._masks_layers else None
        if step_mask is not None:
            variables.append(step_mask)
        return variables, given, step_mask

    def arrange(self, rows: Rows, mask: Array | None = None) -> list[Array]:
        """Return the arguments of a compiled function: the inputs, the masks of layers, and a mask for the others.

        Parameters
        ----------
        rows : Rows
        mask : array (B, T), optional
            The mask of layers that have one, instead of that of the rows.
        """
        mask = rows.step_mask if mask is None else mask
        variables: list[Any] = [each.input_var for each in self._time_axis.masks]
        arrays = [*rows.arrays, *(mask.astype(each.dtype) for each in variables)]
        return [*arrays, rows.step_mask] if self._masks_layers else arrays

    @property
    def _masks_layers(self) -> bool:
        """Whether there are layers without a mask of their own that get one."""
        return self.pads and any(not has_mask(layer) for layer in self._stateful)

    @property
    def float_type(self) -> str:
        """The floating-point type that the network was built in."""
        inputs: list[Any] = [each.layer.input_var for each in self._inputs]
        floats = [each for each in [*inputs, *get_all_params(self.l_out)] if is_float(each)]
        return str(floats[0].dtype) if floats else str(pytensor.config.floatX)


def _round_up(number: int) -> int:
    """Return the next power of two."""
    return 1 << (number - 1).bit_length()


def _check_lengths(caller: str, lengths: ArrayLike, counts: Array) -> Array:
    """Return lengths (N,) as integers, after checking them."""
    given = np.asarray(lengths)
    if given.shape != counts.shape or given.dtype.kind not in "iu":
        raise ValueError(
            f"{caller}: lengths must be {len(counts)} integers, one for each sequence, not an array of shape "
            f"{given.shape} and dtype {given.dtype}"
        )
    wrong = np.flatnonzero((given < 1) | (given > counts))
    if len(wrong):
        raise ValueError(
            f"{caller}: lengths[{wrong[0]}] must be from 1 to the {counts[wrong[0]]} steps of the array, not "
            f"{given[wrong[0]]}"
        )
    return given.astype(int)
