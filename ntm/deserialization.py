"""Networks made again from JSON and arrays; `ntm.serialization` says how these describe them."""

import json
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.layers import Layer
from ntm.files import DTYPES
from ntm.registry import find_thing
from ntm.serialization import FORMAT, VERSION, find_holders, find_variables


def decode_network(description, arrays):
    """Make the network again that `ntm.serialization.encode_network` described.

    The layers' constructors run, so that initializers draw numbers as they did the first time; then the parameters get
    their values. Parameters have the dtypes that they had, unless `pytensor.config.floatX` was another: those
    that initializers made are of the present one.

    Parameters
    ----------
    description : dict
    arrays : mapping of str to array
        May hold others, too.

    Returns
    -------
    Layer or list of Layer
        As given to `encode_network`.

    Raises
    ------
    ValueError
        If this is not a description of a network, or a layer cannot be made from it: its class is not registered, its
        arguments are none of its constructor, or the array of a variable is missing or of another shape.
    """
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError("this is not the description of a network")
    if description.get("version") != VERSION:
        raise ValueError(
            f"the description of the network is of version {description.get('version')}, and this "
            f"ntm-lasagne reads version {VERSION}; a later one may read it"
        )
    try:
        return _Decoder(description, arrays).decode_network(description["output"])
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the description of the network is damaged: {error!r}") from error


class _Decoder:
    def __init__(self, description, arrays):
        self.arrays = arrays
        self.layers = []
        self.below = {}  # from layer to those that it was made from
        self.needs = []  # layers among the arguments of the one being made
        self.inputs = description["inputs"]
        self.variables = description["variables"]
        self.descriptions = description["layers"]
        self.made_inputs = {}  # from number to variable
        self.made_variables = {}
        self.made_objects = {}  # from JSON to object
        self.decoders = {
            "float": lambda value: float(value["float"]),
            "tuple": lambda value: tuple(self.decode(value["tuple"])),
            "dict": lambda value: dict(self.decode(value["dict"])),
            "slice": lambda value: slice(*self.decode(value["slice"])),
            "range": lambda value: range(*self.decode(value["range"])),
            "numpy": self.decode_number,
            "array": lambda value: self.find_array(value["array"]),
            "input": self.decode_input,
            "variable": self.decode_variable,
            "layer": self.decode_layer,
            "name": lambda value: find_thing(value["name"]),
            "partial": self.decode_partial,
            "make": self.decode_object,
        }

    def decode_network(self, output):
        for number, description in enumerate(self.descriptions):
            name = description["arguments"].get("name")
            label = f"layer {number}, {description['class']}" + (f" {name!r}" if name else "")
            try:
                self.layers.append(self.make_layer(description))
            except Exception as error:  # whatever a constructor raises
                known = isinstance(error, ValueError | TypeError)
                raise ValueError(f"{label}: {error if known else repr(error)}") from error
        if isinstance(output, list):
            return [_find(self.layers, number, "layer") for number in output]
        return _find(self.layers, output, "layer")

    # ---- layers

    def make_layer(self, description):
        kind = find_thing(description["class"])
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise ValueError(f"{description['class']!r} is no class of layers")
        self.needs = []
        layer = _call(kind, self.decode_arguments(description["arguments"]))
        self.below[layer] = set().union(self.needs, *(self.below[each] for each in self.needs))
        holders = find_holders(layer, self.below[layer])
        self.restore_variables(find_variables(holders), description["variables"])
        self.restore_tags(holders, description["tags"])
        return layer

    def restore_variables(self, variables, numbers):
        """Give the variables of a layer the values that they had."""
        if len(variables) != len(numbers):
            raise ValueError(f"it holds {len(variables)} variables, the file has {len(numbers)}")
        for variable, number in zip(variables, numbers, strict=True):
            description = _find(self.variables, number, "variable")
            if self.made_variables.setdefault(number, variable) is not variable:
                raise ValueError(
                    f"{variable.name!r} is not the variable of the other layer with it"
                )
            value = self.find_array(description["array"])
            shape = np.shape(variable.get_value(borrow=True))
            if value.shape != shape or value.dtype.kind != np.dtype(variable.dtype).kind:
                raise ValueError(
                    f"{variable.name!r} is of shape {shape} and dtype {variable.dtype}, the file has "
                    f"{value.shape} and {value.dtype}"
                )
            variable.set_value(value.astype(variable.dtype))
            variable.name = description["name"]

    def restore_tags(self, holders, tags):
        own = [each for holder in holders for each in holder.params.values()]
        if len(own) != len(tags):
            raise ValueError(f"it has {len(own)} parameters, the file has {len(tags)}")
        for each, names in zip(own, tags, strict=True):
            each.clear()
            each.update(names)

    # ---- arguments

    def decode(self, value):
        """What the encoder's `encode` made JSON of."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        kind = next(iter(value), None)
        if kind not in self.decoders:
            raise ValueError(f"there is no kind of value {kind!r}")
        return self.decoders[kind](value)

    def decode_arguments(self, arguments):
        return {name: self.decode(value) for name, value in arguments.items()}

    def decode_number(self, value):
        return _find_dtype(value["numpy"]).type(self.decode(value["value"]))

    def decode_layer(self, value):
        self.needs.append(_find(self.layers, value["layer"], "layer"))
        return self.needs[-1]

    def decode_input(self, value):
        description = _find(self.inputs, value["input"], "input")
        if value["input"] not in self.made_inputs:
            dtype = _find_dtype(description["dtype"]).name
            self.made_inputs[value["input"]] = pt.tensor(
                name=description["name"], dtype=dtype, shape=tuple(description["shape"])
            )
        return self.made_inputs[value["input"]]

    def decode_variable(self, value):
        """A shared variable: that of the layer that made it, or a new one, which the user had made."""
        description = _find(self.variables, value["variable"], "variable")
        if value["variable"] not in self.made_variables:
            self.made_variables[value["variable"]] = pytensor.shared(
                self.find_array(description["array"]),
                name=description["name"],
                shape=tuple(description["shape"]),
            )
        return self.made_variables[value["variable"]]

    def decode_partial(self, value):
        function = self.decode(value["partial"])
        arguments = self.decode_arguments(value["arguments"])
        return partial(function, *arguments.pop("*", ()), **arguments)

    def decode_object(self, value):
        """An object of a registered class; equal descriptions give one object.

        Heads whose nonlinearities are one object are computed together.
        """
        key = json.dumps(value)
        if key in self.made_objects:
            return self.made_objects[key]
        kind = find_thing(value["make"])
        if not isinstance(kind, type) or issubclass(kind, Layer):
            raise ValueError(f"{value['make']!r} is no class of functions or initializers")
        count = len(self.needs)
        made = _call(kind, self.decode_arguments(value["arguments"]))
        if len(self.needs) == count:  # otherwise the next layer with it needs the layers in it, too
            self.made_objects[key] = made
        return made

    def find_array(self, key):
        if key not in self.arrays:
            raise ValueError(f"there is no array {key!r}")
        return np.asarray(self.arrays[key])


def _call(kind, arguments):
    """Call a class with arguments by name; those without one are under the key ``"*"``."""
    arguments = dict(arguments)
    return kind(*arguments.pop("*", ()), **arguments)


def _find(things, number, kind):
    if type(number) is not int or not 0 <= number < len(things):
        raise ValueError(f"there is no {kind} {number!r} before it")
    return things[number]


def _find_dtype(name):
    if name not in DTYPES:
        raise ValueError(f"there is no dtype {name!r}")
    return np.dtype(name)
