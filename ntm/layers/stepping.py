"""Networks whose layers take a state in and give one out: for parts of a sequence, or step by step.

The layers are the memory layers, and Lasagne's recurrent layers. Notation: B batch, T time steps, F input features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.layers import InputLayer, Layer, get_all_layers
from lasagne.layers._states import State, StatefulLayer
from lasagne.layers.helper import build_output
from lasagne.utils import is_float
from ntm.arguments import describe, is_integer
from ntm.layers.base import MemoryLayer, keep_where_masked
from ntm.typing import Array, ArrayLike, Layers, TensorLike


def get_output_and_states(
    layer_or_layers: Layers,
    inputs: Any = None,
    states: Mapping[Any, Any] | None = None,
    step_mask: TensorLike | None = None,
    **kwargs: Any,
) -> tuple[Any, dict[Any, Any]]:
    """Return the output of a network, as `lasagne.layers.get_output` does, and the states of its layers.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
    inputs : tensor, array or dict from InputLayer to tensor or array, optional
        As in `lasagne.layers.get_output`.
    states : dict from layer to state, optional
        The state before the first step of each memory layer and recurrent layer that does not start from its initial
        state: a MemoryState of a memory layer, a tuple of tensors of a recurrent layer.
    step_mask : tensor (B, T), optional
        A mask for all memory layers and recurrent layers that were made without `mask_input`.
    **kwargs
        Passed on to the layers.

    Returns
    -------
    output : tensor or list of tensors
    states : dict from layer to state
        The state of each memory layer and recurrent layer after the last step.

    Raises
    ------
    ValueError
        If `states` names a layer that is not in the network, or where `lasagne.layers.get_output` raises one.
    TypeError
        If `state` or `return_state` is given, or where `lasagne.layers.get_output` raises one.
    """
    layers = get_all_layers(layer_or_layers)
    states = states or {}
    for layer in states:
        if layer not in layers or not isinstance(layer, StatefulLayer):
            raise ValueError(
                f"states: {layer!r} is not a memory layer or a recurrent layer of this network"
            )
    for name in ("state", "return_state"):
        if name in kwargs:
            raise TypeError(
                f"get_output_and_states() takes the states before the first step as `states`, a dictionary from "
                f"layers, and returns those after the last; it does not take {name!r}"
            )
    new_states = {}

    def compute(layer: Layer, layer_input: Any, kwargs: dict[str, Any]) -> Any:
        if not isinstance(layer, StatefulLayer):
            return layer.get_output_for(layer_input, **kwargs)
        output, new_states[layer] = layer.get_output_for(
            layer_input,
            state=states.get(layer),
            return_state=True,
            step_mask=None if has_mask(layer) else step_mask,
            **kwargs,
        )
        return output

    # Each layer is computed once, from the layers below, so that a dropout mask is drawn once
    outputs = build_output(
        layer_or_layers, inputs, kwargs, compute, caller="get_output_and_states()"
    )
    return outputs, new_states


def has_mask(layer: StatefulLayer) -> bool:
    """Return whether a memory layer or recurrent layer was made with `mask_input`."""
    return bool(getattr(layer, "has_mask", False) or getattr(layer, "mask_incoming_index", -1) > 0)


def find_stateful_layers(layer_or_layers: Layers) -> list[StatefulLayer]:
    """Return the memory layers and the recurrent layers of a network, those nearest to the input first."""
    return [each for each in get_all_layers(layer_or_layers) if isinstance(each, StatefulLayer)]


def make_carried_states(layer_or_layers: Layers, batch_size: int) -> dict[StatefulLayer, Any]:
    """Make the states of a network that are carried from one window of a long sequence to the next.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
    batch_size : int
        B, the number of sequences side by side.

    Returns
    -------
    dict from layer to state
        For each memory layer and recurrent layer, a state of shared variables (B, ...) that hold the present initial
        state. ``states[layer].updates_to(new_states[layer])`` gives the updates that carry a state on, with
        `new_states` of :func:`get_output_and_states`.

    Raises
    ------
    ValueError
        If `batch_size` is not a positive integer, or a layer cannot go on from one window to the next: a layer that
        runs backwards, that returns its last output only, or whose initial state comes from a layer.

    Examples
    --------
    Windows of two series, the state carried from call to call. A series begins where `resets` is true:

    >>> import numpy as np
    >>> import pytensor, pytensor.tensor as pt
    >>> from lasagne.layers import InputLayer, LSTMLayer
    >>> from ntm.layers import get_output_and_states, make_carried_states, reset_rows
    >>> l_in = InputLayer((None, None, 3))
    >>> l_out = LSTMLayer(l_in, 4)
    >>> carried = make_carried_states(l_out, batch_size=2)
    >>> resets = pt.vector("resets", dtype="bool")
    >>> before = {layer: reset_rows(layer, state, resets) for layer, state in carried.items()}
    >>> output, after = get_output_and_states(l_out, states=before)
    >>> updates = [pair for layer, state in carried.items() for pair in state.updates_to(after[layer])]
    >>> run = pytensor.function([l_in.input_var, resets], output, updates=updates)
    >>> run(np.zeros((2, 10, 3)), np.array([True, True])).shape
    (2, 10, 4)
    """
    if not is_integer(batch_size) or batch_size < 1:
        raise ValueError(
            f"make_carried_states: batch_size must be a positive integer, not {batch_size!r}"
        )
    layers = find_carrying_layers(layer_or_layers)
    return {layer: layer.make_shared_state(int(batch_size)) for layer in layers}


def find_carrying_layers(layer_or_layers: Layers) -> list[StatefulLayer]:
    """Return the layers whose states are carried from one window of a long sequence to the next.

    Raises
    ------
    ValueError
        If a layer cannot go on from one window to the next: see :func:`make_carried_states`.
    """
    layers = find_stateful_layers(layer_or_layers)
    for layer in layers:
        reasons = [name for name in ("backwards", "only_return_final") if getattr(layer, name)]
        if reasons:
            raise ValueError(
                f"{describe(type(layer).__name__, layer.name)} cannot go on from one window to the next "
                f"({', '.join(reasons)})"
            )
        layer.get_initial_state(1)  # Raises an error where the initial state comes from a layer
    return layers


def reset_rows(layer: StatefulLayer, state: Any, resets: TensorLike) -> Any:
    """Return a state in which some sequences of the batch start anew.

    Parameters
    ----------
    layer : MemoryLayer or recurrent layer
    state : state of the layer
        Each part (B, ...).
    resets : tensor (B,)
        Whether a sequence starts from the layer's initial state. The old state there may be NaN or infinite: neither
        value nor gradient depends on it.

    Returns
    -------
    state of expressions
    """
    old = [pt.as_tensor(part) for part in state.flatten()]
    initial = layer.reset(state).flatten()
    new = [part.astype(each.type.dtype) for part, each in zip(initial, old, strict=True)]
    return state.unflatten(keep_where_masked(pt.neq(pt.as_tensor(resets), 0), new, old))


class StepFunction:
    """A network with memory or recurrent layers, compiled to take one time step at a time and to keep the states.

    Parameters
    ----------
    layer : Layer
        The output layer, (B, T, O), of a network with one input layer, (B, T, F) or with more axes.
    batch_size : int
        The number of sequences that run side by side.
    mode : pytensor mode, optional
        For example from `lasagne.backends.modes.get_mode`.
    **kwargs
        Passed on to the layers; ``deterministic=True`` by default.

    Attributes
    ----------
    layer, batch_size, mode
        As given.
    states : dict from layer to state
        For each memory layer and recurrent layer, shared variables that hold the state after the last step. The first
        step, and the first step after a reset, starts from the initial values that the parameters have at that time,
        unless the states were set before.

    Raises
    ------
    ValueError
        If `batch_size` is not a positive integer, or the network does not have one input, has no memory layer and no
        recurrent layer, or has one that cannot continue from the step before: a layer that takes a mask, runs
        backwards, returns its last output only, or takes its initial state from a layer. If the input of a step has
        another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> from ntm import NTMLayer, ReadHead, StepFunction, WriteHead, get_mode
    >>> l_in = InputLayer((None, None, 3))
    >>> l_ntm = NTMLayer(l_in, (8, 4), lambda l: DenseLayer(l, 5), [WriteHead, ReadHead])
    >>> step = StepFunction(l_ntm, batch_size=2, mode=get_mode("jax"))
    >>> step(np.zeros((2, 3))).shape  # (B, F) to (B, O); the state is remembered
    (2, 5)
    >>> step.reset()  # the next step begins new sequences
    """

    def __init__(self, layer: Layer, batch_size: int = 1, mode: Any = None, **kwargs: Any) -> None:
        if not is_integer(batch_size) or batch_size < 1:
            raise ValueError(
                f"StepFunction: batch_size must be a positive integer, not {batch_size!r}"
            )
        layers = get_all_layers(layer)
        inputs = [each for each in layers if isinstance(each, InputLayer)]
        if len(inputs) != 1:
            raise ValueError(f"StepFunction: the network must have one input, not {len(inputs)}")
        stateful = find_stateful_layers(layer)
        if not stateful:
            raise ValueError(
                f"StepFunction: there is no memory layer and no recurrent layer below {layer!r}"
            )
        for each in stateful:
            options = [name for name in ("backwards", "only_return_final") if getattr(each, name)]
            options += ["mask_input"] if has_mask(each) else []
            if options:
                label = describe(type(each).__name__, each.name)
                raise ValueError(
                    f"StepFunction: {label} cannot run step by step ({', '.join(options)})"
                )
        self.layer, self.batch_size, self.mode = layer, int(batch_size), mode
        shape = inputs[0].output_shape
        self._input_shape = (int(batch_size), *shape[2:])
        self.states: dict[StatefulLayer, State] = {
            each: each.make_shared_state(batch_size) for each in stateful
        }
        given: Any = inputs[0].input_var
        self._dtype = pytensor.config.floatX if is_float(given) else given.dtype
        x = pt.tensor(dtype=self._dtype, shape=(None,) * (given.ndim - 1))
        output, new_states = get_output_and_states(
            layer, x[:, None], self.states, **{"deterministic": True, **kwargs}
        )
        updates: list = []
        for each, state in self.states.items():
            updates += state.updates_to(new_states[each])
        self._step = pytensor.function([x], output[:, 0], updates=updates, mode=mode)
        self._resets: dict = {}
        self._untouched: dict = {}
        self._note_states()

    def __call__(self, x: ArrayLike) -> Array:
        """Return the output (B, O) for the input x (B, F) of the next time step."""
        x = np.asarray(x, dtype=self._dtype)
        if len(x.shape) != len(self._input_shape) or any(
            size not in (None, given)
            for given, size in zip(x.shape, self._input_shape, strict=True)
        ):
            raise ValueError(
                f"StepFunction: the input of a step must be of shape (batch, features) = {self._input_shape}, "
                f"not {x.shape}"
            )
        self._start()
        return np.asarray(self._step(x))

    def _note_states(self) -> None:
        """Note the values of the shared variables, to see before the next step whether a user has set them."""
        self._untouched = {
            layer: [part.container.storage[0] for part in state.flatten()]
            for layer, state in self.states.items()
        }

    def _start(self) -> None:
        """Take the initial values before the first step, as they are now: parameters may have changed since."""
        untouched, self._untouched = self._untouched, {}
        for layer, values in untouched.items():
            parts = self.states[layer].flatten()
            if all(p.container.storage[0] is v for p, v in zip(parts, values, strict=True)):
                self._reset(layer, False)

    def _reset(self, layer: Any, memory_only: bool) -> None:
        """Store the initial state of a layer in its shared variables, by a function compiled on first use."""
        if (layer, memory_only) not in self._resets:
            state = self.states[layer]
            new = layer.reset(state, memory_only=True) if memory_only else layer.reset(state)
            updates = state.updates_to(new)
            changes = [pair for pair in updates if pair[0] is not pair[1]]
            self._resets[layer, memory_only] = pytensor.function(
                [], updates=changes, mode=self.mode
            )
        self._resets[layer, memory_only]()

    def reset(self, memory_only: bool = False) -> None:
        """Go back to the state before the first step.

        Parameters
        ----------
        memory_only : bool
            Whether to keep the states of the controllers and of the recurrent layers; see
            `ntm.layers.base.MemoryLayer.reset`.
        """
        if memory_only:
            self._start()
        for layer in self.states:
            if isinstance(layer, MemoryLayer) or not memory_only:
                self._reset(layer, bool(memory_only))
        if not memory_only:
            self._note_states()
