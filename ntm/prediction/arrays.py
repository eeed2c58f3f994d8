"""A user's arrays as a network takes them: checked, in the network's data type.

Notation: N sequences, T steps, F features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lasagne.layers import EmbeddingLayer, InputLayer, Layer, get_all_layers
from ntm.arguments import shorten
from ntm.data.layout import SINGLE
from ntm.prediction.steps import TimeAxis
from ntm.typing import Array


class NetworkInput:
    """One input of a network.

    Parameters
    ----------
    layer : InputLayer
    has_time : bool
        Whether the input has a value for each step.
    num_symbols : int or None
        Where the input is looked up in vectors, how many there are.
    label : str
        What messages call the array.

    Attributes
    ----------
    shape : tuple
        What the network takes, (B, T, ...) or (B, ...); None for a size that may vary.
    dtype : numpy dtype
    """

    def __init__(
        self, layer: InputLayer, has_time: bool, num_symbols: int | None, label: str
    ) -> None:
        self.layer, self.label = layer, label
        self.has_time, self.num_symbols = has_time, num_symbols
        variable: Any = layer.input_var
        self.shape = tuple(layer.output_shape)
        self.dtype = np.dtype(variable.dtype)

    @property
    def features(self) -> tuple[int | None, ...]:
        """The shape of a step, or of a sequence without time."""
        return self.shape[2:] if self.has_time else self.shape[1:]

    @property
    def num_steps(self) -> int | None:
        """The number of steps that the network was made for; None if it takes any."""
        return self.shape[1] if self.has_time else None

    def read(self, values: Any) -> Array | list[Array]:
        """Return an array (N, ...), or a list of one array (T, ...) for each sequence where a list was given.

        Shapes and the kind of the data are checked here, numbers by :meth:`cast`.

        Raises
        ------
        ValueError, TypeError
            If the values are not what the network takes. The message names the first offending index.
        """
        if isinstance(values, list | tuple) or _is_ragged(values):
            if not len(values):
                self._fail("must hold at least one sequence, and the list is empty")
            if self.has_time:
                return [self._read_steps(each, f"[{k}]") for k, each in enumerate(values)]
        array = self._as_array(values, "")
        if array.ndim != len(self.shape):
            hint = ""
            if self.has_time and array.ndim == len(self.shape) - 1:
                hint = "; to predict from one sequence x, give x[None]"
            self._fail(f"must be of shape {self._show_shape()}, not {array.shape}{hint}")
        if self.has_time:
            self._check_num_steps(array.shape[1])
        self._check_features(array.shape[2 if self.has_time else 1 :], array.shape, "")
        if len(array) == 0:
            self._fail(f"must hold at least one sequence, and the shape is {array.shape}")
        return array

    def read_one(self, values: Any) -> Array:
        """Return one sequence (T, ...), or (...) where the input has no steps, checked as by :meth:`read`."""
        if self.has_time:
            return self._read_steps(values, "")
        array = self._as_array(values, "")
        if array.ndim != len(self.features):
            self._fail(f"must be of shape {_show(self.features)}, not {array.shape}")
        self._check_features(array.shape, array.shape, "")
        return array

    def _read_steps(self, values: Any, place: str) -> Array:
        array = self._as_array(values, place)
        expected = tuple(self.shape[1:])
        if array.ndim != len(expected):
            self._fail(
                f"must be of shape {_show((None, *expected[1:]), 'steps')}, not {array.shape}",
                place,
            )
        self._check_num_steps(len(array), place)
        self._check_features(array.shape[1:], array.shape, place)
        return array

    def _as_array(self, values: Any, place: str) -> Array:
        if isinstance(values, np.ma.MaskedArray):
            self._fail("is a masked array; give a plain array, and lengths", place, TypeError)
        try:
            array = np.asarray(values)
        except ValueError as error:
            self._fail(f"is no array: {shorten(error)}", place)
        if self.dtype.kind == "f":
            allowed, what = "biuf", "numbers"
        else:
            allowed, what = "biu", "integers"
        if array.dtype.kind not in allowed:
            self._fail(f"must be {what}, not of dtype {array.dtype}", place, TypeError)
        return array

    def _check_num_steps(self, given: int, place: str = "") -> None:
        if given == 0:
            self._fail("must have at least one step", place)

    def _check_features(self, given: Sequence[int], shape: Sequence[int], place: str) -> None:
        wrong = [
            (a, b) for a, b in zip(given, self.features, strict=True) if b is not None and a != b
        ]
        if wrong:
            self._fail(
                f"has {wrong[0][0]} features where the network takes {wrong[0][1]}: the shape is {tuple(shape)}, "
                f"expected {self._show_shape() if not place else _show((None, *self.features), 'steps')}",
                place,
            )

    def cast(self, values: Array, place: Sequence[Any] = ()) -> Array:
        """Return values in the data type of the network.

        Parameters
        ----------
        values : array
        place : tuple
            Where in the input the values are, for messages.

        Raises
        ------
        ValueError
            If a value is not finite, or no symbol that the network knows. The message names the first index.
        """
        if self.dtype.kind == "f":
            with np.errstate(over="ignore"):
                cast = values.astype(self.dtype)
            self._check(np.isfinite(cast), values, place, f"must be finite in {self.dtype}")
            return cast
        if self.num_symbols is not None:
            good = (values >= 0) & (values < self.num_symbols)
            text = f"must be a symbol from 0 to {self.num_symbols - 1}"
        else:
            limits = np.iinfo(self.dtype)
            good = (values >= limits.min) & (values <= limits.max)
            text = f"must be an integer of {self.dtype}"
        self._check(good, values, place, text)
        return values.astype(self.dtype)

    def _check(self, good: Array, values: Array, place: Sequence[Any], text: str) -> None:
        if not good.all():
            index = tuple(int(k) for k in np.argwhere(~good)[0])
            where = ", ".join(map(str, (*place, *index)))
            self._fail(f"{text}, not {values[index]}", f"[{where}]")

    def _show_shape(self) -> str:
        return _show(self.shape, *(["batch", "steps"] if self.has_time else ["batch"]))

    def _fail(self, message: str, place: str = "", error: type[Exception] = ValueError) -> Any:
        raise error(f"{self.label}{place} {message}")


def find_inputs(l_out: Layer, time_axis: TimeAxis, caller: str) -> list[NetworkInput]:
    """Return the inputs of a network, without the masks of layers.

    Raises
    ------
    ValueError
        If there is none, or if one of several has no name of its own.
    """
    layers = [each for each in time_axis.inputs if each not in time_axis.masks]
    if not layers:
        raise ValueError(f"{caller}: the network has no input")
    names = [each.name for each in layers]
    if len(layers) > 1 and (None in names or len(set(names)) < len(names)):
        raise ValueError(
            f"{caller}: a network of several inputs needs InputLayers with names of their own, not {names}"
        )
    inputs = []
    for layer in layers:
        label = f"{caller}: inputs" + (f"[{layer.name!r}]" if len(layers) > 1 else "")
        num_symbols = count_symbols(l_out, layer)
        inputs.append(NetworkInput(layer, time_axis.inputs[layer], num_symbols, label))
    return inputs


def count_symbols(l_out: Layer, layer: InputLayer) -> int | None:
    """Return how many symbols a network knows at an input that is looked up in vectors; None for any other input."""
    users = [each for each in get_all_layers(l_out) if isinstance(each, EmbeddingLayer)]
    sizes = [each.input_size for each in users if each.input_layer is layer]
    return min(sizes, default=None)


def match_inputs(inputs: Sequence[NetworkInput], given: Any, caller: str) -> list[Any]:
    """Return what was given for each input of a network.

    Parameters
    ----------
    inputs : list of NetworkInput
    given : dict from name or InputLayer to values, or the values of the only input
        The only input may be called `ntm.data.layout.SINGLE`, too.
    caller : str
        What messages begin with.

    Raises
    ------
    ValueError
        If there are values too many or too few.
    """
    if not isinstance(given, Mapping):
        if len(inputs) > 1:
            names = ", ".join(repr(each.layer.name) for each in inputs)
            raise ValueError(
                f"{caller}: the network has {len(inputs)} inputs; give a dictionary from their names, {names}, to "
                "arrays"
            )
        return [given]
    rest, values = dict(given), []
    for each in inputs:
        allowed = [each.layer, each.layer.name, *([SINGLE] if len(inputs) == 1 else [])]
        keys = [key for key in allowed if key is not None and key in rest]
        if not keys:
            raise ValueError(
                f"{caller}: no values are given for the input {each.layer.name or each.layer!r}"
            )
        values.append(rest.pop(keys[0]))
    if rest:
        raise ValueError(f"{caller}: the network has no input {next(iter(rest))!r}")
    return values


def _is_ragged(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1


def _show(shape: Sequence[int | None], *names: str) -> str:
    """Return a shape for messages: names of sizes that may vary, ``*`` where a size has no name."""
    words = [*names, *["*"] * len(shape)]
    parts = [words[k] if size is None else str(size) for k, size in enumerate(shape)]
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
