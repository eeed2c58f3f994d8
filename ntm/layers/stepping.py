"""Networks whose memory layers take a state in and give one out: for parts of a sequence, or step by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.layers import InputLayer, Layer, get_all_layers
from lasagne.layers.helper import build_output
from lasagne.layers.recurrent import RecurrenceLayer
from lasagne.utils import is_float
from ntm.arguments import describe, is_integer
from ntm.layers.base import MemoryLayer
from ntm.layers.state import MemoryState
from ntm.typing import Array, ArrayLike, Layers


def get_output_and_states(
    layer_or_layers: Layers,
    inputs: Any = None,
    states: Mapping[Any, MemoryState] | None = None,
    **kwargs: Any,
) -> tuple[Any, dict[Any, MemoryState]]:
    """Return the output of a network, as `lasagne.layers.get_output` does, and the states of its memory layers.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
    inputs : tensor, array or dict from InputLayer to tensor or array, optional
        As in `lasagne.layers.get_output`.
    states : dict from MemoryLayer to MemoryState, optional
        The state before the first step of each layer that does not start from its initial state.
    **kwargs
        Passed on to the layers.

    Returns
    -------
    output : tensor or list of tensors
    states : dict from MemoryLayer to MemoryState
        The state of each memory layer after the last step.

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
        if layer not in layers or not isinstance(layer, MemoryLayer):
            raise ValueError(f"states: {layer!r} is not a memory layer of this network")
    for name in ("state", "return_state"):
        if name in kwargs:
            raise TypeError(
                f"get_output_and_states() takes the states before the first step as `states`, a dictionary from "
                f"memory layers, and returns those after the last; it does not take {name!r}"
            )
    new_states = {}

    def compute(layer: Layer, layer_input: Any, kwargs: dict[str, Any]) -> Any:
        if not isinstance(layer, MemoryLayer):
            return layer.get_output_for(layer_input, **kwargs)
        output, new_states[layer] = layer.get_output_for(
            layer_input, state=states.get(layer), return_state=True, **kwargs
        )
        return output

    # Each layer is computed once, from the layers below, so that a dropout mask is drawn once
    outputs = build_output(
        layer_or_layers, inputs, kwargs, compute, caller="get_output_and_states()"
    )
    return outputs, new_states


class StepFunction:
    """A network with memory layers, compiled to take one time step at a time and to keep the states in between.

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
    states : dict from MemoryLayer to MemoryState
        Shared variables that hold the states after the last step. The first step, and the first step after a reset,
        starts from the initial values that the parameters have at that time, unless the states were set before.

    Raises
    ------
    ValueError
        If `batch_size` is not a positive integer, or the network does not have one input, has no memory layer, or has a
        layer that cannot continue from the step before: a recurrent layer that is not a memory layer, a mask, or a
        memory layer that runs backwards or returns its last output only. If the input of a step has another shape.

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
        memory_layers = [each for each in layers if isinstance(each, MemoryLayer)]
        if not memory_layers:
            raise ValueError(f"StepFunction: there is no memory layer below {layer!r}")
        for each in layers:
            options = [
                name
                for name in ("backwards", "only_return_final", "has_mask")
                if isinstance(each, MemoryLayer) and getattr(each, name)
            ]
            if isinstance(each, RecurrenceLayer) or options:
                label = describe(type(each).__name__, each.name)
                reason = f" ({', '.join(options)})" if options else ""
                raise ValueError(f"StepFunction: {label} cannot run step by step{reason}")
        shape = inputs[0].output_shape
        self._input_shape = (int(batch_size), *shape[2:])
        self.states = {each: each.make_shared_state(batch_size) for each in memory_layers}
        given: Any = inputs[0].input_var
        self._dtype = pytensor.config.floatX if is_float(given) else given.dtype
        x = pt.tensor(dtype=self._dtype, shape=(None,) * (given.ndim - 1))
        output, new_states = get_output_and_states(
            layer, x[:, None], self.states, **{"deterministic": True, **kwargs}
        )
        updates: list = []
        for each, state in self.states.items():
            updates += state.updates_to(new_states[each])
        self._mode = mode
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

    def _reset(self, layer: MemoryLayer, memory_only: bool) -> None:
        """Store the initial state of a layer in its shared variables, by a function compiled on first use."""
        if (layer, memory_only) not in self._resets:
            state = self.states[layer]
            updates = state.updates_to(layer.reset(state, memory_only))
            changes = [pair for pair in updates if pair[0] is not pair[1]]
            self._resets[layer, memory_only] = pytensor.function(
                [], updates=changes, mode=self._mode
            )
        self._resets[layer, memory_only]()

    def reset(self, memory_only: bool = False) -> None:
        """Go back to the state before the first step.

        Parameters
        ----------
        memory_only : bool
            Whether to keep the states of the controllers; see `ntm.layers.base.MemoryLayer.reset`.
        """
        if memory_only:
            self._start()
        for layer in self.states:
            self._reset(layer, bool(memory_only))
        if not memory_only:
            self._note_states()
