"""Encoding a network as JSON and arrays.

The JSON, called the description, lists the layers in an order in which they can be made. For each layer it gives the
class, the arguments of the constructor, the variables that the layer holds, and the tags of its parameters. An argument
is written as plain JSON where JSON has such a value. Any other argument is an object whose first key gives its kind:
``{"tuple": [...]}``, ``{"layer": 3}``, ``{"variable": 5}``, ``{"name": "rectify"}``,
``{"make": "Constant", "arguments": {"val": 0.0}}``.

A file may come from a stranger. So a description has bounds, far beyond what networks need: 5,000 layers; arguments
nested 100 deep; strings of 10,000 characters; names of 1,000 printable characters; ranges, which stand for axes, up to
10,000; shapes of 64 axes, as in NumPy. An array belongs to one variable or one argument.
"""

import heapq
import inspect
import math
from collections.abc import Iterable
from functools import partial
from graphlib import TopologicalSorter
from typing import Any, NoReturn

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable

from lasagne.layers import Layer, get_all_layers, get_all_params
from lasagne.layers._arguments import find_changes
from lasagne.utils import collect_shared_vars
from ntm.files import check_json
from ntm.serialization.arrays import DTYPES, check_name
from ntm.serialization.registry import find_name
from ntm.typing import Array, Layers

__all__ = ["encode_network"]

FORMAT = "network"
VERSION = 1
# Bounds of a description, besides those of ntm.files
MAX_LAYERS = 5_000
MAX_RANGE = 10_000
MAX_AXES = 64


def encode_network(layer_or_layers: Layers) -> tuple[dict[str, Any], dict[str, Array]]:
    """Encode a network, its architecture included, as JSON and arrays.

    The encoding holds the class and the constructor's arguments of each layer; which layers are shared; which
    parameters are one shared variable; and the value, name and tags of each parameter. A stack that a function built,
    for example the controller of an `NTMLayer`, is encoded layer by layer.

    An encoding cannot hold: a parameter, or another argument, that is an expression, such as ``W=other.W.T``; functions
    and classes that are not registered, such as a ``lambda``; an attribute that was changed after the layer was made,
    unless the attribute holds an argument, as ``nonlinearity`` does; and the state of random generators, for example of
    dropout.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
        The output layer or layers of the network.

    Returns
    -------
    description : dict
        Plain JSON.
    arrays : dict of str to array

    Raises
    ------
    ValueError
        If something cannot be encoded, or a parameter holds NaN or infinity. The message names the layer, the argument
        or the parameter, and says what to do.
    """
    return _Encoder().encode_network(layer_or_layers)


class _Node:
    """A layer that is being encoded."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.argument: str | None = None  # the argument that is being encoded, for messages
        self.arguments: dict[str, Any] = {}
        self.needs: list[Layer] = []  # layers among the arguments
        self.below: set[Layer] = set()  # the layers of `needs`, and all layers below those
        self.given: list[Variable] = []  # variables among the arguments
        self.holders: list[Layer] = []  # the layer itself and its parts, which hold its parameters
        self.variables: list[Any] = []  # shared variables in these parameters

    def fail(self, message: str) -> NoReturn:
        raise ValueError(f"{self.layer!r}: argument {self.argument!r} {message}")


class _Encoder:
    def __init__(self) -> None:
        self.nodes: dict[Layer, _Node] = {}  # lower layers first
        self.inputs: dict[Variable, dict[str, Any]] = {}  # from variable to JSON
        self.arrays: dict[str, Array] = {}
        # JSON, and the layer or variable whose number the JSON gets when all are numbered
        self.references: list[tuple[dict[str, Any], Any]] = []

    def encode_network(self, layer_or_layers: Layers) -> tuple[dict[str, Any], dict[str, Array]]:
        single = isinstance(layer_or_layers, Layer)
        outputs = [layer_or_layers] if isinstance(layer_or_layers, Layer) else list(layer_or_layers)
        self.add(outputs)
        if len(self.nodes) > MAX_LAYERS:
            raise ValueError(
                f"the network is of {len(self.nodes)} layers, and {MAX_LAYERS} are the most that a file may hold"
            )
        nodes = self.sort()
        variables = self.number_variables(nodes)
        self.check(outputs, variables)
        layers = {node.layer: number for number, node in enumerate(nodes)}
        for reference, thing in self.references:
            kind = next(iter(reference))
            reference[kind] = (layers if kind == "layer" else variables)[thing]
        numbers = [layers[layer] for layer in outputs]
        description = {
            "format": FORMAT,
            "version": VERSION,
            "floatX": pytensor.config.floatX,
            "output": numbers[0] if single else numbers,
            "inputs": list(self.inputs.values()),
            "variables": [
                self.encode_variable(variable, number) for variable, number in variables.items()
            ],
            "layers": [self.encode_layer(node, variables) for node in nodes],
        }
        return description, self.arrays

    # ---- layers

    def add(self, layer_or_layers: Layers) -> None:
        """Encode the arguments of layers and of all layers below them."""
        for layer in get_all_layers(layer_or_layers):
            if layer in self.nodes:
                continue
            if find_name(type(layer)) is None:
                raise ValueError(f"{layer!r}: {_not_registered(type(layer))}")
            node = _Node(layer)
            for node.argument, value in layer.get_arguments().items():
                node.arguments[node.argument] = self.encode_argument(value, node)
            node.below = set().union(node.needs, *(self.nodes[each].below for each in node.needs))
            node.holders = find_holders(layer, node.below)
            node.variables = find_variables(node.holders)
            self.nodes[layer] = node

    def sort(self) -> list[_Node]:
        """Return the nodes in an order in which they can be made, as close to the present order as possible."""
        nodes = list(self.nodes.values())
        makers: dict[Variable, _Node] = {}
        for node in nodes:
            known = {*node.given, *(v for layer in node.below for v in self.nodes[layer].variables)}
            for variable in node.variables:
                if variable in known:
                    continue
                if variable in makers:
                    raise ValueError(
                        f"{node.layer!r} and {makers[variable].layer!r} share the parameter "
                        f"{variable.name!r}, but neither was made from it or from the other layer; "
                        "give the variable to the constructor of one of them"
                    )
                makers[variable] = node
        numbers = {node: number for number, node in enumerate(nodes)}
        sorter: TopologicalSorter[int] = TopologicalSorter()
        for node in nodes:
            needs = [self.nodes[layer] for layer in node.needs]
            needs += [makers[variable] for variable in node.given if variable in makers]
            sorter.add(numbers[node], *(numbers[each] for each in needs))
        sorter.prepare()
        ready: list[int] = []
        ordered = []
        while sorter.is_active():
            for number in sorter.get_ready():
                heapq.heappush(ready, number)
            number = heapq.heappop(ready)
            ordered.append(nodes[number])
            sorter.done(number)
        return ordered

    def encode_layer(self, node: _Node, variables: dict[Any, int]) -> dict[str, Any]:
        return {
            "class": find_name(type(node.layer)),
            "arguments": node.arguments,
            "variables": [variables[variable] for variable in node.variables],
            "tags": [sorted(tags) for holder in node.holders for tags in holder.params.values()],
        }

    def check(self, outputs: list[Layer], variables: dict[Any, int]) -> None:
        """Raise a `ValueError` if a network that is made from the encoding would differ."""
        for node in self.nodes.values():
            for holder in node.holders:
                _check_name_of(holder, holder.name)
                for name in set().union(*holder.params.values()):
                    _check_name_of(holder, name)
            for variable in node.variables:
                check_finite(variable.name, np.asarray(variable.get_value(borrow=True)))
            # The constructor of a layer of your own may change its parts, as `batch_norm` does
            if type(node.layer).__module__.partition(".")[0] in ("lasagne", "ntm"):
                for part in node.holders[1:]:
                    if changes := find_changes(part):
                        raise ValueError(
                            f"{part!r}, a part of {node.layer!r}: {changes[0]} was changed after it was "
                            "made, which cannot be stored"
                        )
        for param in get_all_params(outputs):
            if param not in variables:
                raise ValueError(
                    f"the parameter {param.name!r} is in no layer's `params`, nor in those of a layer "
                    "that is an attribute of it, and cannot be stored"
                )

    # ---- variables

    def number_variables(self, nodes: list[_Node]) -> dict[Any, int]:
        """Return a dict from shared variable to number, in the order of the layers that hold the variables."""
        found = [variable for node in nodes for variable in node.variables]
        found += [variable for node in nodes for variable in node.given]
        return {variable: number for number, variable in enumerate(dict.fromkeys(found))}

    def encode_variable(self, variable: Any, number: int) -> dict[str, Any]:
        if not isinstance(variable.type, pt.TensorType) or variable.dtype not in DTYPES:
            raise ValueError(f"the shared variable {variable} of {variable.type} cannot be stored")
        try:
            check_name(variable.name)
        except ValueError as error:
            raise ValueError(f"the shared variable cannot be stored: {error}") from error
        key = f"{number:03d} {variable.name or ''}".strip()
        # Functions that JAX compiled leave JAX arrays in shared variables
        self.arrays[key] = np.array(variable.get_value(borrow=True), dtype=variable.dtype)
        return {"name": variable.name, "array": key, "shape": list(variable.type.shape)}

    # ---- arguments

    def encode_argument(self, value: object, node: _Node) -> Any:
        try:
            encoded = self.encode(value, node)
        except RecursionError:
            return node.fail("cannot be stored: it is nested too deeply")
        try:
            check_json(encoded)
            if node.argument == "name":
                check_name(encoded)
        except ValueError as error:
            node.fail(f"cannot be stored: {error}")
        return encoded

    def encode(self, value: Any, node: _Node) -> Any:
        """Return a value as JSON."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if type(value) is list:
            return [self.encode(item, node) for item in value]
        if type(value) is tuple:
            return {"tuple": [self.encode(item, node) for item in value]}
        if type(value) is dict:
            return {"dict": [self.encode(list(item), node) for item in value.items()]}
        if type(value) is range and max(abs(value.start), abs(value.stop)) > MAX_RANGE:
            node.fail(f"cannot be stored: {value} goes beyond {MAX_RANGE}; give a list or an array")
        if type(value) in (slice, range):
            ends = [value.start, value.stop, value.step]
            return {type(value).__name__: [self.encode(end, node) for end in ends]}
        if isinstance(value, np.generic) and value.dtype.name in DTYPES:
            return {"numpy": value.dtype.name, "value": self.encode(value.item(), node)}
        if isinstance(value, np.ndarray):
            return self.encode_array(value, node)
        if isinstance(value, Variable):
            return self.encode_symbol(value, node)
        if isinstance(value, Layer):
            self.add(value)
            node.needs.append(value)
            return self.refer("layer", value)
        return self.encode_object(value, node)

    def encode_array(self, array: Array, node: _Node) -> dict[str, Any]:
        if array.dtype.name not in DTYPES:
            node.fail(f"is an array of dtype {array.dtype}, which cannot be stored")
        key = f"argument {len(self.arrays)}"
        self.arrays[key] = array.copy()
        return {"array": key}

    def encode_symbol(self, variable: Any, node: _Node) -> dict[str, Any]:
        """Encode a shared variable, or the type of an input."""
        if isinstance(variable, SharedVariable):
            node.given.append(variable)
            return self.refer("variable", variable)
        is_input = variable.owner is None and not isinstance(variable, Constant)
        if not is_input or not isinstance(variable.type, pt.TensorType):
            node.fail(
                f"is an expression, {variable}, which cannot be stored; give a shared variable, an "
                "array or an input, or compute it in a layer of your own that is registered"
            )
        number = list(self.inputs).index(variable) if variable in self.inputs else len(self.inputs)
        try:
            check_name(variable.name)
        except ValueError as error:
            node.fail(f"cannot be stored: {error}")
        shape = list(variable.type.shape)
        self.inputs[variable] = {"name": variable.name, "dtype": variable.dtype, "shape": shape}
        return {"input": number}

    def encode_object(self, value: Any, node: _Node) -> dict[str, Any]:
        """Encode a registered class or function, or an object of a registered class."""
        if name := find_name(value):
            return {"name": name}
        if type(value) is partial:
            return {
                "partial": self.encode(value.func, node),
                "arguments": self.encode_arguments({"*": list(value.args), **value.keywords}, node),
            }
        if name := find_name(type(value)):
            arguments = self.encode_arguments(_object_arguments(value, node), node)
            return {"make": name, "arguments": arguments}
        if not callable(value):
            return node.fail(f"cannot be stored: it is {value!r}, of type {type(value).__name__}")
        thing = value if hasattr(value, "__qualname__") else type(value)
        return node.fail(f"cannot be stored: {_not_registered(thing)}")

    def encode_arguments(self, arguments: dict[str, Any], node: _Node) -> dict[str, Any]:
        return {name: self.encode(value, node) for name, value in arguments.items()}

    def refer(self, kind: str, thing: object) -> dict[str, Any]:
        reference: dict[str, Any] = {kind: None}
        self.references.append((reference, thing))
        return reference


def check_finite(name: str | None, array: Array) -> None:
    """Raise a `ValueError` with the name of a parameter if its numbers are not all finite."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"the parameter {name!r} holds numbers that are not finite")


def _check_name_of(layer: Layer, name: object) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise ValueError(f"{layer!r} cannot be stored: {error}") from error


def find_holders(layer: Layer, below: set[Layer]) -> list[Layer]:
    """Return a layer and its parts: layers among its attributes, and among theirs, that are not `below`.

    The layer's constructor made the parts. So a layer made from the same arguments has the same parts.
    """
    found = {layer: None}
    pending = [layer]
    while pending:
        parts = []
        for name, value in vars(pending.pop()).items():
            if name == "_origin":
                continue
            values = value.values() if isinstance(value, dict) else value
            values = values if isinstance(value, list | tuple | dict) else [value]
            parts += [each for each in values if isinstance(each, Layer)]
        for part in parts:
            if part not in found and part not in below:
                found[part] = None
                pending.append(part)
    return list(found)


def find_variables(holders: Iterable[Layer]) -> list[Any]:
    """Return the shared variables in the parameters of layers."""
    return collect_shared_vars([param for holder in holders for param in holder.params])


def _object_arguments(thing: Any, node: _Node) -> dict[str, Any]:
    """Return the arguments that make an equal object, by name."""
    if hasattr(thing, "get_arguments"):
        return thing.get_arguments()
    parameters = inspect.signature(type(thing)).parameters.values()
    missing = [
        each.name
        for each in parameters
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) or not hasattr(thing, each.name)
    ]
    if missing:
        node.fail(
            f"cannot be stored: {thing!r} has no attribute {missing[0]!r} that keeps this argument of its "
            "constructor, nor a method get_arguments() that returns the arguments by name"
        )
    return {each.name: getattr(thing, each.name) for each in parameters}


def _not_registered(thing: object) -> str:
    name = getattr(thing, "__name__", repr(thing))
    if name == "<lambda>":
        return (
            "a lambda has no name that a file could hold; make it a function or class, and register "
            "that: ntm.register(...)"
        )
    return f"{name} is not registered; register it: ntm.register({name})"
