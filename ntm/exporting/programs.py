"""A network as functions of JAX arrays: which functions it has, and what they take and give.

Notation: B batch, T time steps, F input and O output features.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
from jax import export
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.type import RandomType

from lasagne.backends.jax_functions import PureFunction, make_pure
from lasagne.backends.modes import get_mode
from lasagne.layers import InputLayer, Layer, get_all_layers, get_all_params, get_output
from lasagne.layers._states import StatefulLayer
from lasagne.utils import is_float
from ntm.arguments import describe
from ntm.layers.state import MemoryState
from ntm.layers.stepping import find_stateful_layers, get_output_and_states
from ntm.prediction.steps import find_time_axis
from ntm.serialization.encoding import check_finite
from ntm.typing import Array

__all__ = ["BATCH", "RUN", "TIME", "Entry", "Program", "Programs", "Refusal", "as_list"]

#: The names of the functions
RUN, RUN_FROM, STEP, INITIAL_STATES = "run", "run_from", "step", "initial_states"
#: The names of sizes that stay open
BATCH, TIME = "batch", "time"


class Refusal(ValueError):
    """A network that is not exported, for a reason that needs no search for the layer."""


class Entry(NamedTuple):
    """One array that functions take or give.

    Attributes
    ----------
    name : str
    shape : tuple of int or symbolic size
    dtype : str
    """

    name: str
    shape: tuple[Any, ...]
    dtype: str

    @property
    def spec(self) -> jax.ShapeDtypeStruct:
        """What JAX traces a function with."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)


class NetworkEntry(NamedTuple):
    """An input of a network: the array, the layer and its variable, and whether there is a value for each step."""

    entry: Entry
    layer: InputLayer
    variable: Any
    has_time: bool
    is_mask: bool


class Program(NamedTuple):
    """One function of a network.

    Attributes
    ----------
    function : callable
        From the arguments, dictionaries and arrays of JAX, to the results.
    arguments : tuple
        Of the function, as JAX traces it.
    takes, gives : tuple of str
        What the arguments and the results are.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]


class Programs:
    """The functions of a network.

    Parameters
    ----------
    l_out : Layer or list of Layer
    batch_size, num_steps : int or None
        B and T; None for any.

    Attributes
    ----------
    inputs : list of NetworkEntry
    states : list of Entry
    parameters : list of Entry
        Of all functions that were made.
    left_out : dict from str to str
        Why the network lacks a function.
    """

    def __init__(self, l_out: Any, batch_size: int | None, num_steps: int | None) -> None:
        self.l_out = l_out
        self._sizes = {BATCH: batch_size, TIME: num_steps}
        self._scope = export.SymbolicScope()
        self._time_axes = [find_time_axis(each) for each in as_list(l_out)]
        self._mode = get_mode("jax")
        self.float_type = _find_float_type(l_out)
        self.left_out: dict[str, str] = {}
        self._values: dict[Any, Any] = {}
        self._names: dict[Any, str] = {}
        with pytensor.config.change_flags(floatX=self.float_type):
            self.inputs = self._find_inputs()
            self._states = self._find_states()
        self.states = [entry for _, entries in self._states.values() for entry in entries]

    # ---- Inputs, states and parameters

    def _find_inputs(self) -> list[NetworkEntry]:
        has_time = {k: v for axis in self._time_axes for k, v in axis.inputs.items()}
        masks = {each for axis in self._time_axes for each in axis.masks}
        layers = [each for each in get_all_layers(self.l_out) if isinstance(each, InputLayer)]
        if not layers:
            raise ValueError("export: the network has no input")
        single = len(layers) - len(masks) == 1
        names = make_unique(
            each.name or ("mask" if each in masks else "inputs" if single else "input")
            for each in layers
        )
        for axis, key in ((0, BATCH), (1, TIME)):
            declared: set[Any] = {
                each.output_shape[axis] for each in layers if axis == 0 or has_time[each]
            } - {None}
            self._sizes[key] = _match_size(key, self._sizes[key], sorted(declared))
        if self._sizes[TIME] is not None and not any(has_time.values()):
            raise ValueError(
                "export: num_steps is given, but no input of the network has a time axis"
            )
        return [
            self._make_input(name, layer, has_time[layer], layer in masks)
            for name, layer in zip(names, layers, strict=True)
        ]

    def _make_input(
        self, name: str, layer: InputLayer, has_time: bool, is_mask: bool
    ) -> NetworkEntry:
        own: Any = layer.input_var
        # A network may use its own variable, as for the sizes of a ReshapeLayer
        is_free = own.owner is None and not isinstance(own, Constant | SharedVariable)
        variable = own if is_free else pt.tensor(dtype=own.dtype, shape=layer.output_shape)
        shape = []
        for axis, size in enumerate(layer.output_shape):
            known = BATCH if axis == 0 else TIME if axis == 1 and has_time else None
            shape.append(
                self._get_size(known or f"{name}_{axis}") if known or size is None else size
            )
        return NetworkEntry(
            Entry(name, tuple(shape), _narrow(own.dtype)), layer, variable, has_time, is_mask
        )

    def _get_size(self, name: str) -> Any:
        """Return a size by its name: a number, or a symbol."""
        given = self._sizes.get(name)
        if given is not None:
            return given
        symbol = re.sub(r"\W", "_", name)
        return export.symbolic_shape(symbol, scope=self._scope)[0]

    @property
    def open_sizes(self) -> list[str]:
        """The names of the sizes that no number was given for."""
        found = {
            str(size): None
            for each in self.inputs
            for size in each.entry.shape
            if export.is_symbolic_dim(size)
        }
        return list(found)

    def _find_states(self) -> dict[StatefulLayer, tuple[Any, list[Entry]]]:
        """Return the state of each layer, of symbolic variables, and its entries."""
        layers = find_stateful_layers(self.l_out)
        reason = _find_reason(layers)
        if reason is not None:
            self.left_out = dict.fromkeys((RUN_FROM, STEP, INITIAL_STATES), reason)
            return {}
        labels = make_unique(each.name or type(each).__name__ for each in layers)
        found = {}
        for layer, label in zip(layers, labels, strict=True):
            state = layer.make_state_variables()
            names = make_unique(f"{label}.{part}" for part in _label_parts(state))
            entries = [
                Entry(name, (self._get_size(BATCH), *part.type.shape[1:]), part.dtype)
                for name, part in zip(names, state.flatten(), strict=True)
            ]
            found[layer] = state, entries
        return found

    @property
    def parameters(self) -> list[Entry]:
        """The parameters that the functions made so far take."""
        return [
            Entry(self._names[each], tuple(np.shape(value)), str(value.dtype))
            for each, value in self._values.items()
        ]

    def get_values(self) -> dict[str, Array]:
        """Return the present value of each parameter, by its name."""
        return {self._names[each]: np.array(value) for each, value in self._values.items()}

    def _note_parameters(self, pure: PureFunction) -> None:
        for variable, value in zip(pure.shared, pure.get_values(), strict=True):
            self._values.setdefault(variable, np.asarray(value))
        order = {param: k for k, param in enumerate(get_all_params(self.l_out))}
        ordered = sorted(self._values, key=lambda each: order.get(each, len(order)))
        self._values = {each: self._values[each] for each in ordered}
        names = make_unique(each.name or "parameter" for each in ordered)
        self._names = dict(zip(ordered, names, strict=True))
        for variable, value in self._values.items():
            try:
                check_finite(variable.name, value)
            except ValueError as error:
                raise Refusal(f"export: {error}") from error

    # ---- Functions

    def make(self) -> dict[str, Program]:
        """Make all functions that the network can have, by their names."""
        with pytensor.config.change_flags(floatX=self.float_type):
            makers = {RUN: self._make_run}
            if self._states:
                makers[RUN_FROM] = self._make_run_from
                makers[INITIAL_STATES] = self._make_initial_states
                reason = self._find_reason_against_steps()
                if reason is None:
                    makers[STEP] = self._make_step
                else:
                    self.left_out[STEP] = reason
            pure = {name: self._compile(name) for name in makers if name != STEP}
            if STEP in makers:
                pure[STEP] = pure[RUN_FROM]
            for each in pure.values():
                self._note_parameters(each)
            return {name: make(pure[name]) for name, make in makers.items()}

    def _compile(self, name: str) -> PureFunction:
        given: dict[Any, Any] = {each.layer: each.variable for each in self.inputs}
        variables = list(given.values())
        if name == RUN:
            outputs = as_list(get_output(self.l_out, given, deterministic=True))
            if _draws_noise(outputs):
                raise Refusal(
                    f"export: {_find_noise(self.l_out)!r} draws random numbers with deterministic=True, and an "
                    "exported function draws none"
                )
        elif name == RUN_FROM:
            before = {layer: state for layer, (state, _) in self._states.items()}
            variables += [part for state in before.values() for part in state.flatten()]
            output, after = get_output_and_states(self.l_out, given, before, deterministic=True)
            outputs = as_list(output)
            for layer, (_, entries) in self._states.items():
                parts = zip(after[layer].flatten(), entries, strict=True)
                outputs += [part.astype(entry.dtype) for part, entry in parts]
        else:
            rows = pt.vector(dtype="bool")
            variables, size = [rows], self._sizes[BATCH] or rows.shape[0]
            outputs = [
                part.astype(entry.dtype)
                for layer, (_, entries) in self._states.items()
                for part, entry in zip(
                    layer.get_initial_state(size).flatten(), entries, strict=True
                )
            ]
        pure = make_pure(
            pytensor.function(variables, outputs, mode=self._mode, on_unused_input="ignore")
        )
        if pure.updates:
            changed = ", ".join(str(pure.inputs[k]) for k in pure.updates.values())
            raise Refusal(
                f"export: the network updates shared variables at each call ({changed}), and an exported function "
                "changes nothing"
            )
        return pure

    def _find_reason_against_steps(self) -> str | None:
        for axis in self._time_axes:
            if axis.mixing is not None:
                return f"{axis.mixing!r} may mix the steps of a sequence"
        for layer in self._states:
            if layer.only_return_final:
                return f"{_name(layer)} returns its last output only"
        if not all(axis.in_output for axis in self._time_axes):
            return "the output has no time axis"
        return None

    def _make_run(self, pure: PureFunction) -> Program:
        def run(parameters: Any, inputs: Any) -> Any:
            return self._pack(pure.function(*self._spread(inputs), *self._pick(pure, parameters)))

        arguments = (self._parameter_specs(), self._input_specs())
        return Program(run, arguments, ("parameters", "inputs"), ("outputs",))

    def _make_run_from(self, pure: PureFunction) -> Program:
        def run_from(parameters: Any, inputs: Any, states: Any) -> Any:
            return self._advance(pure, parameters, self._spread(inputs), states)

        arguments = (self._parameter_specs(), self._input_specs(), self._state_specs())
        return Program(
            run_from, arguments, ("parameters", "inputs", "states"), ("outputs", "states")
        )

    def _make_step(self, pure: PureFunction) -> Program:
        def step(parameters: Any, inputs: Any, states: Any) -> Any:
            values = [
                value[:, None] if each.has_time else value
                for each, value in zip(self.inputs, self._spread(inputs), strict=True)
            ]
            outputs, states = self._advance(pure, parameters, values, states)
            return jax.tree.map(lambda x: x[:, 0], outputs), states

        arguments = (self._parameter_specs(), self._input_specs(one_step=True), self._state_specs())
        return Program(step, arguments, ("parameters", "inputs", "states"), ("outputs", "states"))

    def _make_initial_states(self, pure: PureFunction) -> Program:
        def initial_states(parameters: Any, rows: Any) -> dict[str, Any]:
            parts = pure.function(rows, *self._pick(pure, parameters))
            names = (each.name for each in self.states)
            return dict(zip(names, parts, strict=True))

        rows = jax.ShapeDtypeStruct((self._get_size(BATCH),), "bool")
        return Program(
            initial_states,
            (self._parameter_specs(), rows),
            ("parameters", "rows"),
            ("states",),
        )

    def _advance(
        self, pure: PureFunction, parameters: Any, values: Sequence[Any], states: Any
    ) -> tuple[Any, dict[str, Any]]:
        before = [states[each.name] for each in self.states]
        results = pure.function(*values, *before, *self._pick(pure, parameters))
        count = len(results) - len(self.states)
        names = [each.name for each in self.states]
        return self._pack(results[:count]), dict(zip(names, results[count:], strict=True))

    def _pack(self, outputs: Sequence[Any]) -> Any:
        return outputs[0] if isinstance(self.l_out, Layer) else list(outputs)

    def _spread(self, inputs: Any) -> list[Any]:
        """Return the inputs, of the types that the network takes, in the order of its layers."""
        given = {self.inputs[0].entry.name: inputs} if len(self.inputs) == 1 else inputs
        return [given[each.entry.name].astype(each.variable.dtype) for each in self.inputs]

    def _pick(self, pure: PureFunction, parameters: Mapping[str, Any]) -> list[Any]:
        return [parameters[self._names[each]] for each in pure.shared]

    def _parameter_specs(self) -> dict[str, jax.ShapeDtypeStruct]:
        return {each.name: each.spec for each in self.parameters}

    def _state_specs(self) -> dict[str, jax.ShapeDtypeStruct]:
        return {each.name: each.spec for each in self.states}

    def _input_specs(self, one_step: bool = False) -> Any:
        specs = {}
        for each in self.inputs:
            name, shape, dtype = each.entry
            if one_step and each.has_time:
                shape = (shape[0], *shape[2:])
            specs[name] = jax.ShapeDtypeStruct(shape, dtype)
        return specs if len(specs) > 1 else next(iter(specs.values()))


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as the only item of a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def make_unique(names: Iterable[str]) -> list[str]:
    """Return names of letters, digits, '_', '-' and '.', of which no two are the same in any case of letters."""
    unique: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "_"
        number, numbered = 1, plain
        while numbered.lower() in {each.lower() for each in unique}:
            number += 1
            numbered = f"{plain}_{number}"
        unique.append(numbered)
    return unique


def _match_size(key: str, given: int | None, declared: list[int]) -> int | None:
    """Return a size that was given, or that the network was made for; None for any size."""
    argument = "batch_size" if key == BATCH else "num_steps"
    if len(declared) > 1:
        raise ValueError(
            f"export: the input layers disagree about {argument}: {', '.join(map(str, declared))}"
        )
    if given is not None and declared and given != declared[0]:
        raise ValueError(
            f"export: {argument} must be {declared[0]}, which the input layers were made for, not {given}"
        )
    return declared[0] if declared else given


def _narrow(dtype: str) -> str:
    """Return the data type of an input outside: symbols have 32 bits, which JAX's default takes."""
    return "int32" if dtype == "int64" else dtype


def _find_float_type(l_out: Any) -> str:
    """Return the floating-point type that a network was built in."""
    layers = [each for each in get_all_layers(l_out) if isinstance(each, InputLayer)]
    variables = [*(each.input_var for each in layers), *get_all_params(l_out)]
    floats = [each for each in variables if is_float(each)]
    return str(floats[0].dtype) if floats else str(pytensor.config.floatX)


def _name(layer: Any) -> str:
    return describe(type(layer).__name__, layer.name)


def _find_reason(layers: Sequence[StatefulLayer]) -> str | None:
    """Return why the states of a network cannot be arguments, or None."""
    if not layers:
        return "there is no memory layer and no recurrent layer"
    for layer in layers:
        if layer.backwards:
            return f"{_name(layer)} runs backwards"
        try:
            layer.get_initial_state(1)
        except ValueError as error:
            return str(error)
    return None


def _label_parts(state: Any) -> list[str]:
    """Return what the parts of a state are called."""
    count = len(state.flatten())
    if not isinstance(state, MemoryState):
        return ["hidden"] if count == 1 else ["cell", "hidden"] if count == 2 else ["part"] * count
    names = state.label_parts(count)
    return [
        f"{name}.{names[:k].count(name)}" if name == "controller" else name
        for k, name in enumerate(names)
    ]


def _draws_noise(outputs: Any) -> bool:
    """Return whether expressions draw random numbers."""
    return any(isinstance(each.type, RandomType) for each in ancestors(as_list(outputs)))


def _find_noise(l_out: Any) -> Layer:
    """Return the first layer that draws random numbers although it is asked not to."""
    return next(
        layer
        for layer in get_all_layers(l_out)
        if _draws_noise(get_output(layer, deterministic=True))
    )
