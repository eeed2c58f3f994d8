"""Decoding: a network from JSON and arrays. `ntm.serialization.encoding` describes the format."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.init import Initializer
from lasagne.layers import Layer
from lasagne.utils import check_param_value, initializing_by
from ntm.arguments import shorten
from ntm.files import check_json
from ntm.layers.base import MemoryLayer
from ntm.layers.options import rename_options
from ntm.serialization.arrays import DTYPES, check_name
from ntm.serialization.encoding import (
    FORMAT,
    MAX_AXES,
    MAX_LAYERS,
    MAX_RANGE,
    VERSION,
    check_finite,
    find_holders,
    find_variables,
)
from ntm.serialization.registry import find_thing
from ntm.typing import Array

__all__ = ["check_description", "decode_network"]


def decode_network(description: Any, arrays: Mapping[str, Array]) -> Layer | list[Layer]:
    """Make the network that `ntm.serialization.encoding.encode_network` encoded.

    The constructors of the layers run, but initializers do not: a parameter takes no memory until its array is found to
    have the declared shape. Parameters keep their dtypes, with one exception: a parameter that an initializer made has
    the dtype of the present `pytensor.config.floatX`.

    Parameters
    ----------
    description : dict
    arrays : mapping of str to array
        May hold further arrays.

    Returns
    -------
    Layer or list of Layer
        As given to `encode_network`.

    Raises
    ------
    ValueError
        If the description is not that of a network, or exceeds a bound of `ntm.serialization.encoding`; if a class is
        not registered or does not take the arguments; or if the array of a variable is missing, has another shape or is
        not finite.
    """
    check_description(description)
    try:
        return _Decoder(description, arrays).decode_network(description["output"])
    except ValueError as error:
        raise ValueError(shorten(error)) from error
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the description of the network is damaged: {shorten(repr(error))}"
        ) from error


def check_description(description: Any) -> None:
    """Raise a `ValueError` unless this is the description of a network, of a version that is read here."""
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError("this is not the description of a network")
    if description.get("version") != VERSION:
        raise ValueError(
            f"the description of the network is of version {shorten(description.get('version'))}, and "
            f"this ntm-lasagne reads version {VERSION}; a later one may read it"
        )


class _Decoder:
    def __init__(self, description: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        self.layers: list[Layer] = []
        self.made: set[Layer] = set()  # the same layers
        self.needs: list[Layer] = []  # layers among the arguments of the layer that is being made
        self.inputs = description["inputs"]
        self.variables = description["variables"]
        self.descriptions = description["layers"]
        self.users: dict[
            str, int | None
        ] = {}  # from the key of an array to the number of its variable
        self.made_inputs: dict[int, Any] = {}  # from number to variable
        self.made_variables: dict[int, Any] = {}
        self.made_objects: dict[str, Any] = {}  # from JSON to object
        self.decoders: dict[Any, Callable[[dict[str, Any]], Any]] = {
            "float": self.decode_float,
            "tuple": lambda value: tuple(self.decode(value["tuple"])),
            "dict": lambda value: dict(self.decode(value["dict"])),
            "slice": lambda value: slice(*self.decode(value["slice"])),
            "range": self.decode_range,
            "numpy": self.decode_number,
            "array": lambda value: self.take_array(value["array"], None),
            "input": self.decode_input,
            "variable": self.decode_variable,
            "layer": self.decode_layer,
            "name": lambda value: find_thing(value["name"]),
            "partial": self.decode_partial,
            "make": self.decode_object,
        }

    def decode_network(self, output: Any) -> Layer | list[Layer]:
        check_json([self.inputs, self.variables, output])
        if len(self.descriptions) > MAX_LAYERS:
            raise ValueError(
                f"it is of {len(self.descriptions)} layers, and {MAX_LAYERS} are the most that a file may hold"
            )
        for number, description in enumerate(self.descriptions):
            name = description["arguments"].get("name")
            label = f"layer {number}, {shorten(description['class'], 100)}"
            label += f" {shorten(repr(name), 100)}" if name else ""
            try:
                check_json(description)
                layer = self.make_layer(description)
            except Exception as error:  # a constructor may raise anything
                known = isinstance(error, ValueError | TypeError)
                raise ValueError(f"{label}: {error if known else repr(error)}") from error
            self.layers.append(layer)
            self.made.add(layer)
        if isinstance(output, list):
            return [_find(self.layers, number, "layer") for number in output]
        return _find(self.layers, output, "layer")

    # ---- layers

    def make_layer(self, description: Mapping[str, Any]) -> Layer:
        kind = find_thing(description["class"])
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise ValueError(f"{description['class']!r} is not a class of layers")
        self.needs = []
        arguments = _rename(kind, self.decode_arguments(description["arguments"]))
        check_name(arguments.get("name"))
        numbers = description["variables"]
        with initializing_by(self.make_initializer(numbers)):
            layer = _call(kind, arguments)
        for below in getattr(layer, "input_layers", [getattr(layer, "input_layer", None)]):
            if below is not None and not isinstance(below, Layer):
                raise ValueError(f"it stands on {below!r}, which is not a layer")
        holders = find_holders(layer, self.made)
        for holder in holders:
            check_name(holder.name)
        self.restore_variables(find_variables(holders), numbers)
        self.restore_tags(holders, description["tags"])
        return layer

    def make_initializer(self, numbers: Sequence[int]) -> Callable[[Any, tuple[int, ...]], Any]:
        """Return a function that stands in for the initializers of a layer and takes no memory."""
        dtypes: dict[tuple, np.dtype] = {}
        for number in numbers:
            array = self.get_array(number)
            dtypes.setdefault(array.shape, array.dtype)

        calls = itertools.count()
        # A constructor may make parameters and drop them, for example where the layer ends in `batch_norm`
        most = 2 * len(numbers) + 100

        def initialize(spec: Any, shape: tuple[int, ...]) -> Any:
            if next(calls) >= most:
                raise ValueError(
                    f"it makes more than {most} parameters, the file has {len(numbers)}"
                )
            if not isinstance(spec, Initializer):
                return spec(shape)
            dtype = np.dtype(pytensor.config.floatX)
            if type(spec).__module__.partition(".")[0] not in ("lasagne", "ntm"):
                # An initializer of your own may give integers
                found = dtypes.get(shape)
                dtype = dtype if found is None or found.kind == "f" else found
            # One number in memory, whatever the shape
            value = np.broadcast_to(np.zeros((), dtype), shape)
            return pytensor.shared(value, shape=shape, borrow=True)

        return initialize

    def restore_variables(self, variables: list[Any], numbers: Sequence[int]) -> None:
        """Set the variables of a layer to their saved values."""
        if len(variables) != len(numbers):
            raise ValueError(f"it holds {len(variables)} variables, the file has {len(numbers)}")
        for variable, number in zip(variables, numbers, strict=True):
            if self.made_variables.setdefault(number, variable) is not variable:
                raise ValueError(
                    f"{variable.name!r} is not the variable of the other layer with it"
                )
            value = self.get_array(number)
            shape = np.shape(variable.get_value(borrow=True))
            if value.shape != shape or value.dtype.kind != np.dtype(variable.dtype).kind:
                raise ValueError(
                    f"{variable.name!r} is of shape {shape} and dtype {variable.dtype}, the file has "
                    f"{value.shape} and {value.dtype}"
                )
            check_finite(variable.name, value)
            variable.set_value(check_param_value(variable, value))
            variable.name = check_name(self.variables[number]["name"])

    def restore_tags(self, holders: list[Layer], tags: Sequence[Any]) -> None:
        own = [each for holder in holders for each in holder.params.values()]
        if len(own) != len(tags):
            raise ValueError(f"it has {len(own)} parameters, the file has {len(tags)}")
        for each, names in zip(own, tags, strict=True):
            if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
                raise ValueError(f"tags must be a list of names, not {names!r}")
            for name in names:
                check_name(name)
            each.clear()
            each.update(names)

    # ---- arguments

    def decode(self, value: Any) -> Any:
        """Return the value that JSON stands for."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        kind = next(iter(value), None)
        if kind not in self.decoders:
            raise ValueError(f"there is no kind of value {kind!r}")
        return self.decoders[kind](value)

    def decode_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.decode(value) for name, value in arguments.items()}

    def decode_float(self, value: dict[str, Any]) -> float:
        if value["float"] not in ("nan", "inf", "-inf"):
            raise ValueError(f"there is no number {value['float']!r}")
        return float(value["float"])

    def decode_range(self, value: dict[str, Any]) -> range:
        decoded = range(*self.decode(value["range"]))
        if max(abs(decoded.start), abs(decoded.stop)) > MAX_RANGE:
            raise ValueError(f"{decoded} goes beyond {MAX_RANGE}")
        return decoded

    def decode_number(self, value: dict[str, Any]) -> Any:
        number = self.decode(value["value"])
        if not isinstance(number, bool | int | float):
            raise ValueError(f"{number!r} is not a number")
        return _find_dtype(value["numpy"]).type(number)

    def decode_layer(self, value: dict[str, Any]) -> Layer:
        self.needs.append(_find(self.layers, value["layer"], "layer"))
        return self.needs[-1]

    def decode_input(self, value: dict[str, Any]) -> Any:
        description = _find(self.inputs, value["input"], "input")
        if value["input"] not in self.made_inputs:
            self.made_inputs[value["input"]] = pt.tensor(
                name=check_name(description["name"]),
                dtype=_find_dtype(description["dtype"]).name,
                shape=_check_shape(description["shape"]),
            )
        return self.made_inputs[value["input"]]

    def decode_variable(self, value: dict[str, Any]) -> Any:
        """Return a shared variable: a layer's parameter, or a new variable for one that the user had made."""
        number = value["variable"]
        description = _find(self.variables, number, "variable")
        if number not in self.made_variables:
            array = self.get_array(number)
            shape = _check_shape(description["shape"])
            if len(shape) != array.ndim or any(
                known not in (None, size) for known, size in zip(shape, array.shape, strict=True)
            ):
                raise ValueError(
                    f"variable {number} is of shape {array.shape}, which is not of {shape}"
                )
            self.made_variables[number] = pytensor.shared(
                array, name=check_name(description["name"]), shape=shape
            )
        return self.made_variables[number]

    def decode_partial(self, value: dict[str, Any]) -> Any:
        function = self.decode(value["partial"])
        arguments = _rename(function, self.decode_arguments(value["arguments"]))
        return partial(function, *arguments.pop("*", ()), **arguments)

    def decode_object(self, value: dict[str, Any]) -> Any:
        """Return an object of a registered class; equal descriptions give the same object.

        Heads that share a nonlinearity object are computed together.
        """
        key = json.dumps(value)
        if key in self.made_objects:
            return self.made_objects[key]
        kind = find_thing(value["make"])
        if not isinstance(kind, type) or issubclass(kind, Layer):
            raise ValueError(f"{value['make']!r} is not a class of functions or initializers")
        count = len(self.needs)
        made = _call(kind, self.decode_arguments(value["arguments"]))
        if len(self.needs) == count:  # an object that holds layers is made anew for each user
            self.made_objects[key] = made
        return made

    def get_array(self, number: int) -> Array:
        """Return the array of a variable, given the variable's number."""
        return self.take_array(_find(self.variables, number, "variable")["array"], number)

    def take_array(self, key: Any, user: int | None) -> Array:
        """Return an array for a variable, given the variable's number, or for an argument.

        Each array is used once, so that a small file cannot become a large network.
        """
        if key not in self.arrays:
            raise ValueError(f"there is no array {key!r}")
        if key in self.users and (user is None or self.users[key] != user):
            raise ValueError(f"the array {key!r} is used twice")
        self.users[key] = user
        return np.asarray(self.arrays[key])


def _call(kind: Any, arguments: Mapping[str, Any]) -> Any:
    """Call a class with arguments by name; the key ``"*"`` holds positional arguments."""
    arguments = dict(arguments)
    return kind(*arguments.pop("*", ()), **arguments)


def _rename(kind: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments by name, with present names where an older version wrote other names."""
    is_memory_layer = isinstance(kind, type) and issubclass(kind, MemoryLayer)
    return rename_options(arguments) if is_memory_layer else arguments


def _find(things: Sequence[Any], number: Any, kind: str) -> Any:
    if type(number) is not int or not 0 <= number < len(things):
        raise ValueError(f"there is no {kind} {number!r} before it")
    return things[number]


def _check_shape(shape: Any) -> tuple[int | None, ...]:
    """Return a shape from JSON as a tuple."""
    known = isinstance(shape, list) and len(shape) <= MAX_AXES
    if not known or not all(each is None or (type(each) is int and each >= 0) for each in shape):
        raise ValueError(f"this is not a shape: {shape!r}")
    return tuple(shape)


def _find_dtype(name: Any) -> np.dtype:
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"there is no dtype {name!r}")
    return np.dtype(name)
