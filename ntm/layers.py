"""The Neural Turing Machine as a Lasagne layer.

Notation: B batch, T time steps, F input features, N slots, M slot width, K heads (W write, R read), H controller units.
"""

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.layers import InputLayer, Layer, MergeLayer, get_all_layers, get_output
from lasagne.layers.recurrent import RecurrenceLayer
from lasagne.loop import loop
from lasagne.utils import clip_gradient, unique, unroll_scan
from ntm.controllers import Controller, StackController
from ntm.heads import (
    Head,
    HeadCollection,
    ReadHead,
    ReadHeadCollection,
    WriteHead,
    WriteHeadCollection,
)
from ntm.memory import Memory, check_options, describe, is_integer
from ntm.state import NTMState


class NTMLayer(MergeLayer):
    """A Neural Turing Machine.

    At each step the write heads change the memory, the read heads read it, the controller computes its output
    h(t) from the input and the read vectors, and every head finds its new weights. The layer's output is
    h, of shape (B, T, H).

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: DenseLayer(l, 100)``, becomes a
        :class:`ntm.controllers.StackController`, sizes worked out.
    heads : list of Head
        At least one. With a function as controller, the heads are given as classes or ``functools.partial`` of
        them, for example ``[WriteHead, partial(ReadHead, num_shifts=5, name="read")]``.
    only_return_final : bool
        Whether to return the output of the last step only, (B, H).
    mask_input : Layer or tuple, optional
        Gives (B, T): where it is zero, the step leaves memory, weights and controller as they were.
    backwards : bool
        Whether to run from the last step to the first. The output is in the input's order all the same.
    gradient_steps : int
        How many steps the gradient goes back; -1 for all.
    grad_clipping : float
        If not zero, the gradient that a step hands to the step before is clipped to [-grad_clipping, grad_clipping],
        element by element.
    unroll_scan : bool
        Whether to lay the steps out one after another rather than in a loop; T must be known.
    precompute_input : bool
        Whether to compute the controller's product with the input for all steps at once. For the built-in controllers;
        the others have no such part.
    keep_every : int
        Of how many steps the gradient keeps the memory once, to run the steps again when it comes to them: less memory,
        more time; the square root of T takes the least. 1 keeps the memory of every step. For the JAX back end.
    name : str, optional

    Raises
    ------
    ValueError
        If shapes or numbers of heads, memory, controller and input do not fit each other.
    TypeError
        If something is not of the kind listed above.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines.

    Examples
    --------
    >>> l_in = InputLayer((None, None, 9))
    >>> l_ntm = NTMLayer(l_in, memory=(128, 20), controller=lambda l: DenseLayer(l, 100), heads=[WriteHead, ReadHead])
    >>> l_ntm.output_shape
    (None, None, 100)
    """

    def __init__(
        self,
        incoming,
        memory,
        controller,
        heads,
        only_return_final=False,
        mask_input=None,
        backwards=False,
        gradient_steps=-1,
        grad_clipping=0,
        unroll_scan=False,
        precompute_input=True,
        keep_every=1,
        **kwargs,
    ):
        check_options(type(self), kwargs)
        super().__init__([incoming] if mask_input is None else [incoming, mask_input], **kwargs)
        self._label = describe(type(self).__name__, self.name)
        self._check_inputs()
        self.memory = memory if isinstance(memory, Memory) else Memory(memory, name="memory")
        self.controller, self.heads = self._assemble(controller, heads)
        self._check_parts()
        if isinstance(self.controller, StackController):
            # Keywords that layers of the stack take are this layer's, too
            self.get_output_kwargs = [
                *self.get_output_kwargs,
                *self.controller.get_stack_kwargs(),
            ]
        self.has_mask = mask_input is not None
        self.only_return_final = only_return_final
        self.backwards = backwards
        self.gradient_steps = gradient_steps
        self.grad_clipping = grad_clipping
        self.unroll_scan = unroll_scan
        self.precompute_input = precompute_input
        self.keep_every = keep_every
        self._check_options()

        write_heads = [head for head in self.heads if isinstance(head, WriteHead)]
        read_heads = [head for head in self.heads if isinstance(head, ReadHead)]
        self.num_writes, self.num_reads = len(write_heads), len(read_heads)
        # All heads address the memory together; the write heads come first in whatever they share
        self.all_heads = HeadCollection(write_heads + read_heads)
        self.write_heads = WriteHeadCollection(write_heads) if write_heads else None
        self.read_heads = ReadHeadCollection(read_heads) if read_heads else None

    # ---- construction

    def _fail(self, message, error=ValueError):
        raise error(f"{self._label}: {message}")

    def _check_inputs(self):
        shape = self.input_shapes[0]
        if len(shape) != 3 or shape[2] is None:
            self._fail(
                "the input must be of shape (batch, time, features), with the number of features "
                f"known, not {shape}"
            )
        if len(self.input_shapes) == 2:
            mask = self.input_shapes[1]
            fits = len(mask) == 2 and all(
                a is None or b is None or a == b for a, b in zip(mask, shape[:2], strict=True)
            )
            if not fits:
                self._fail(f"the mask must be of shape (batch, time) = {shape[:2]}, not {mask}")

    def _assemble(self, controller, heads):
        """The controller and the heads, built where a function and classes stand for them."""
        if isinstance(heads, Head) or not isinstance(heads, list | tuple):
            self._fail(f"heads must be a list of heads, not {heads!r}", TypeError)
        if not heads:
            self._fail("at least one head is needed, and the list of heads is empty")
        if isinstance(controller, Controller):
            wrong = [head for head in heads if not isinstance(head, ReadHead | WriteHead)]
            if wrong:
                self._fail(f"heads must be ReadHead or WriteHead, not {wrong[0]!r}", TypeError)
            return controller, list(heads)
        if isinstance(controller, Layer) or not callable(controller):
            self._fail(
                "controller must be a Controller or a function from layer to layer, not "
                f"{controller!r}",
                TypeError,
            )
        kinds = [getattr(head, "func", head) for head in heads]
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, ReadHead | WriteHead)):
                self._fail(
                    "with a function as controller, heads must be the classes ReadHead and WriteHead or "
                    f"functools.partial of them, not {kind!r}",
                    TypeError,
                )
        memory_shape = self.memory.memory_shape
        stack = StackController(
            self.input_layer if self.input_layer is not None else self.input_shape,
            controller,
            memory_shape,
            sum(issubclass(kind, ReadHead) for kind in kinds),
            name="controller",
        )
        return stack, [
            # A shape that a partial has of its own is kept, to be checked with the others
            head(stack, **{"memory_shape": memory_shape, **getattr(head, "keywords", {})})
            for head in heads
        ]

    def _check_parts(self):
        features = self.input_shapes[0][2]
        controller = self.controller
        label = describe(type(controller).__name__, controller.name)
        if isinstance(controller.input_layer, Controller):
            self._fail(
                f"{label} stands on another controller; give the stack as a function from layer to "
                "layer instead (see StackController)"
            )
        if controller.num_inputs != features:
            self._fail(
                f"{label} was made for {controller.num_inputs} input features, but the input has "
                f"{features}"
            )
        num_reads = sum(isinstance(head, ReadHead) for head in self.heads)
        if controller.num_reads != num_reads:
            self._fail(
                f"{label} was made for num_reads={controller.num_reads}, but there are {num_reads} "
                "read heads"
            )
        expected = self.memory.memory_shape
        parts = [*self.heads, controller] if num_reads else self.heads
        for part in parts:
            if tuple(part.memory_shape) != expected:
                self._fail(
                    f"{describe(type(part).__name__, part.name)} was made for memory_shape="
                    f"{tuple(part.memory_shape)}, but the memory is {expected}"
                )
        for head in self.heads:
            if head.controller is not controller:
                given = head.input_shape
                if given != controller.output_shape:
                    self._fail(
                        f"{describe(type(head).__name__, head.name)} was made for a controller of shape "
                        f"{given}, but the controller gives {controller.output_shape}"
                    )

    def _check_options(self):
        steps = self.gradient_steps
        if not is_integer(steps) or (steps != -1 and steps < 1):
            self._fail(f"gradient_steps must be -1 or positive, not {self.gradient_steps}")
        if not is_integer(self.keep_every) or self.keep_every < 1:
            self._fail(f"keep_every must be a positive integer, not {self.keep_every!r}")
        if self.grad_clipping < 0:
            self._fail(f"grad_clipping must not be negative, not {self.grad_clipping}")
        if self.unroll_scan:
            if self.gradient_steps != -1:
                self._fail("gradient_steps must be -1 when unroll_scan is true")
            if self.input_shapes[0][1] is None:
                self._fail("the number of time steps must be known when unroll_scan is true")

    # ---- Lasagne's interface

    @property
    def input_layer(self):
        """The layer that gives the input (B, T, F), ``None`` if a shape was given instead."""
        return self.input_layers[0]

    @property
    def input_shape(self):
        """The input's shape (B, T, F)."""
        return self.input_shapes[0]

    def get_params(self, unwrap_shared=True, **tags):
        """Parameters of the controller, the memory, then each head in the order given."""
        params = []
        for part in (self.controller, self.memory, *self.heads):
            params += part.get_params(unwrap_shared=unwrap_shared, **tags)
        return unique(params)

    def get_arguments(self):
        """As in `lasagne.layers.Layer`, with the memory, the controller and the heads that were made."""
        arguments = super().get_arguments()
        made = {"memory": self.memory, "controller": self.controller, "heads": self.heads}
        return arguments | {name: made[name] for name in made if name in arguments}

    def get_output_shape_for(self, input_shapes):
        """(B, T, H), or (B, H) with `only_return_final`; takes one shape or a list of them."""
        shape = input_shapes[0] if isinstance(input_shapes[0], list | tuple) else input_shapes
        batch, time = shape[:2]
        units = self.controller.num_units
        return (batch, units) if self.only_return_final else (batch, time, units)

    def get_output_for(self, inputs, get_details=False, state=None, return_state=False, **kwargs):
        """The layer's output, and on request the traces or the last state.

        Parameters
        ----------
        inputs : tensor (B, T, F), or a list of it and the mask (B, T)
        get_details : bool
            Whether to return, instead of the output, the list of what each step left: memory (B, T, N, M), hidden
            (B, T, H), state (B, T, H) (the LSTM's cell; for others the hidden state again), write weights
            (B, T, W, N) and read weights (B, T, R, N).
        state : NTMState, optional
            The state before the first step, instead of the initial one.
        return_state : bool
            Whether to return also the `NTMState` after the last step.
        **kwargs
            Handed to the layers of a stack controller, for example ``deterministic=True``.

        Returns
        -------
        tensor (B, T, H) or (B, H), or the list of traces; with `return_state` a pair of it and the state
        """
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        x = pt.as_tensor(inputs[0]).astype(pytensor.config.floatX)
        if x.ndim != 3:
            self._fail(f"the input must have 3 axes (batch, time, features), not {x.ndim}")
        if self.has_mask != (len(inputs) == 2):
            self._fail(f"{1 + self.has_mask} inputs are needed, not {len(inputs)}")
        traces = self._run(x, inputs[1] if self.has_mask else None, state, kwargs)
        result = self._details(traces) if get_details else self._output(traces)
        return (result, traces.map(lambda trace: trace[-1])) if return_state else result

    # ---- state

    def get_initial_state(self, batch_size):
        """The `NTMState` before the first step, as expressions of the initial parameters.

        Parameters
        ----------
        batch_size : int or scalar expression
        """
        weights = self.all_heads.get_initial_weights(batch_size)
        state = NTMState(
            pt.alloc(self.memory.memory_init, batch_size, *self.memory.memory_shape),
            tuple(self.controller.outputs_info(batch_size)),
            weights[:, : self.num_writes],
            weights[:, self.num_writes :],
        )
        # An array of another precision that was given as a parameter must not spread it
        return state.map(lambda part: part.astype(pytensor.config.floatX))

    def make_state_variables(self):
        """An `NTMState` of new symbolic variables, to be inputs of a compiled function."""
        return self.get_initial_state(1).map(
            lambda part: pt.tensor(dtype=part.dtype, shape=(None, *part.type.shape[1:]))
        )

    def make_shared_state(self, batch_size):
        """An `NTMState` of shared variables that hold the present initial state.

        Parameters
        ----------
        batch_size : int
        """
        state = self.get_initial_state(batch_size)
        values = pytensor.function([], state.flatten(), mode="FAST_COMPILE")()
        return NTMState.unflatten(
            [pytensor.shared(np.array(value), shape=value.shape) for value in values]
        )

    # ---- the loop

    def step(self, x, state, mask=None, **kwargs):
        """One step, as expressions.

        Parameters
        ----------
        x : tensor (B, F)
            The input x(t).
        state : NTMState
            The state after step t - 1.
        mask : tensor (B,), optional
        **kwargs
            Handed to the layers of a stack controller.

        Returns
        -------
        NTMState after step t; its `hidden` (B, H) is the layer's output
        """
        fused = self._fuse()
        projected = self.controller.project(x, fused[0])
        memory, weights, controller = _join(state)
        memory, weights, controller = self._step(
            projected, memory, weights, controller, mask, fused, kwargs
        )
        return self._split_heads(memory, weights, controller)

    def _fuse(self):
        """Weights of the controller, of the addressing and of the writing, each side by side."""
        writing = self.write_heads.write_layers.fuse() if self.write_heads else ()
        return self.controller.fuse(), self.all_heads.address_layers.fuse(), writing

    def _step(self, projected, memory, weights, controller, mask, fused, kwargs):
        """One step from the projected input, memory (B, M, N), all heads' weights (B, K, N) and controller's state."""
        for_controller, for_addressing, for_writing = fused
        before = [memory, weights, *controller]
        reads = None
        if self.write_heads:
            memory = self.write_heads.write(
                controller[0], weights[:, : self.num_writes], memory, for_writing
            )
        if self.read_heads:
            reads = self.read_heads.read(weights[:, self.num_writes :], memory)
        controller = self.controller.advance(projected, reads, controller, for_controller, **kwargs)
        weights = self.all_heads.get_weights(controller[0], weights, memory, for_addressing)
        after = [memory, weights, *controller]
        if mask is not None:
            after = [
                pt.switch(mask.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)
                for new, old in zip(after, before, strict=True)
            ]
        return after[0], after[1], after[2:]

    def _split_heads(self, memory, weights, controller):
        """An `NTMState` from what the loop holds: memory (..., M, N) and the weights of all heads (..., K, N)."""
        return NTMState(
            memory.swapaxes(-1, -2),
            tuple(controller),
            weights[..., : self.num_writes, :],
            weights[..., self.num_writes :, :],
        )

    def _run(self, x, mask, state, kwargs):
        """All steps: the states after each, time first, in the order in which the steps run."""
        batch_size = x.shape[0] if self.input_shape[0] is None else self.input_shape[0]
        fused = self._fuse()
        sequences = [x.dimshuffle(1, 0, 2)]
        if self.precompute_input:
            sequences = [self.controller.project(sequences[0], fused[0])]
        if mask is not None:
            sequences.append(mask.dimshuffle(1, 0))
        initial = self.get_initial_state(batch_size)
        if state is not None:
            initial = self._fit_state(state, initial)
        memory, weights, controller = _join(initial)

        def step(x_t, *args):
            mask_t, args = (args[0], args[1:]) if mask is not None else (None, args)
            memory, weights, *controller = (self._clip(state) for state in args)
            if not self.precompute_input:
                x_t = self.controller.project(x_t, fused[0])
            memory, weights, controller = self._step(
                x_t, memory, weights, controller, mask_t, fused, kwargs
            )
            return [memory, weights, *controller]

        states = [memory, weights, *controller]
        if self.unroll_scan:
            traces = unroll_scan(
                step, sequences, states, [], self.input_shape[1], go_backwards=self.backwards
            )
        else:
            traces = loop(
                step, sequences, states, self.gradient_steps, self.backwards, self.keep_every
            )
        return self._split_heads(traces[0], traces[1], traces[2:])

    def _fit_state(self, state, initial):
        """A given state, with the dtypes and the shapes of the initial one, which the loop relies on."""
        parts, expected = state.flatten(), initial.flatten()
        if len(parts) != len(expected):
            self._fail(
                f"the controller has {len(initial.controller)} states, but the given state has "
                f"{len(state.controller)}"
            )
        names = [
            "memory",
            *["controller"] * len(initial.controller),
            "write_weights",
            "read_weights",
        ]
        fitted = []
        for name, part, wanted in zip(names, map(pt.as_tensor, parts), expected, strict=True):
            shape = (None, *wanted.type.shape[1:])
            given = part.type.shape
            if len(given) != len(shape) or any(
                a is not None and b is not None and a != b
                for a, b in zip(given, shape, strict=True)
            ):
                self._fail(f"state.{name} must be of shape {shape}, not {given}")
            fitted.append(pt.specify_shape(part.astype(wanted.type.dtype), shape))
        return NTMState.unflatten(fitted)

    def _clip(self, state):
        if not self.grad_clipping:
            return state
        return clip_gradient(state, self.grad_clipping)

    def _output(self, traces):
        if self.only_return_final:
            return traces.hidden[-1]
        return self._batch_first(traces.hidden)

    def _details(self, traces):
        parts = [
            traces.memory,
            traces.hidden,
            traces.controller[self.controller.cell_index],
            traces.write_weights,
            traces.read_weights,
        ]
        return [self._batch_first(part) for part in parts]

    def _batch_first(self, trace):
        """A trace (T, B, ...) in the input's order and layout, (B, T, ...)."""
        if self.backwards:
            trace = trace[::-1]
        return trace.dimshuffle(1, 0, *range(2, trace.ndim))


def _join(state):
    """Memory (B, M, N), the weights of all heads (B, K, N) and the controller's state, as the loop holds them."""
    weights = pt.concatenate([state.write_weights, state.read_weights], axis=1)
    return state.memory.swapaxes(-1, -2), weights, list(state.controller)


def get_output_and_states(layer_or_layers, inputs=None, states=None, **kwargs):
    """Like `lasagne.layers.get_output`, with the state of every NTM in the network in and out.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
    inputs : as in `lasagne.layers.get_output`
    states : dict from NTMLayer to NTMState, optional
        Where to start, for the layers that do not start from their initial state.
    **kwargs
        Handed to the layers.

    Returns
    -------
    output : tensor or list of tensors
    states : dict from NTMLayer to NTMState
        The state of each NTMLayer after its last step.

    Raises
    ------
    ValueError
        If `states` names a layer that is not in the network.
    """
    layers = get_all_layers(layer_or_layers)
    states = states or {}
    for layer in states:
        if layer not in layers or not isinstance(layer, NTMLayer):
            raise ValueError(f"states: {layer!r} is not an NTMLayer of this network")
    if isinstance(inputs, dict):
        outputs = dict(inputs)
    elif inputs is not None:
        outputs = {layer: inputs for layer in layers if isinstance(layer, InputLayer)}
    else:
        outputs = {}
    new_states = {}
    # Each layer is computed once, from those below it, so that a dropout mask is drawn once
    for layer in get_all_layers(layer_or_layers, treat_as_input=outputs.keys()):
        if layer in outputs:
            continue
        if isinstance(layer, NTMLayer):
            below = get_output(layer.input_layers, outputs, **kwargs)
            outputs[layer], new_states[layer] = layer.get_output_for(
                below, state=states.get(layer), return_state=True, **kwargs
            )
        else:
            outputs[layer] = get_output(layer, outputs, **kwargs)
    if isinstance(layer_or_layers, Layer):
        return outputs[layer_or_layers], new_states
    return [outputs[layer] for layer in layer_or_layers], new_states


class StepFunction:
    """A network with NTMs in it, compiled to take one time step at a time and to remember the rest.

    Parameters
    ----------
    layer : Layer
        The output, (B, T, O), of a network with one input layer, (B, T, F).
    batch_size : int
        Sequences that run side by side.
    mode : pytensor mode, optional
        For example from `ntm.backends.get_mode`.
    **kwargs
        Handed to the layers; ``deterministic=True`` unless given.

    Attributes
    ----------
    states : dict from NTMLayer to NTMState
        Shared variables that hold the states after the last step.

    Raises
    ------
    ValueError
        If the network has another number of inputs, no NTMLayer, or a layer that cannot go on from a step before:
        a recurrent layer of another kind, a mask, or an NTM that runs backwards or returns its last output only.

    Examples
    --------
    >>> step = StepFunction(l_out, mode=get_mode("jax"))
    >>> y = step(x)  # (B, F) to (B, O)
    >>> step.reset()
    """

    def __init__(self, layer, batch_size=1, mode=None, **kwargs):
        layers = get_all_layers(layer)
        inputs = [each for each in layers if isinstance(each, InputLayer)]
        if len(inputs) != 1:
            raise ValueError(f"StepFunction: the network must have one input, not {len(inputs)}")
        ntm_layers = [each for each in layers if isinstance(each, NTMLayer)]
        if not ntm_layers:
            raise ValueError(f"StepFunction: there is no NTMLayer below {layer!r}")
        for each in layers:
            options = [
                name
                for name in ("backwards", "only_return_final", "has_mask")
                if isinstance(each, NTMLayer) and getattr(each, name)
            ]
            if isinstance(each, RecurrenceLayer) or options:
                label = describe(type(each).__name__, each.name)
                reason = f" ({', '.join(options)})" if options else ""
                raise ValueError(f"StepFunction: {label} cannot run step by step{reason}")
        self.states = {each: each.make_shared_state(batch_size) for each in ntm_layers}
        x = pt.matrix()
        output, new_states = get_output_and_states(
            layer, x[:, None, :], self.states, **{"deterministic": True, **kwargs}
        )
        updates, resets = [], []
        for each, state in self.states.items():
            updates += state.updates_to(new_states[each])
            resets += state.updates_to(each.get_initial_state(batch_size))
        self._step = pytensor.function([x], output[:, 0], updates=updates, mode=mode)
        self._reset = pytensor.function([], updates=resets, mode=mode)

    def __call__(self, x):
        """The output (B, O) for the next time step's input x (B, F)."""
        return np.asarray(self._step(np.asarray(x, dtype=pytensor.config.floatX)))

    def reset(self):
        """Go back to the state before the first step."""
        self._reset()
