"""What all memory networks share as Lasagne layers.

Notation: B batch, T time steps, F input features, N slots, M slot width, W write heads, R read heads, H controller
units.
"""

from functools import partial
from typing import Any, Unpack

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from lasagne.checks import check_length, check_mask, check_same_size, check_unrolled
from lasagne.layers import Layer, MergeLayer
from lasagne.layers.base import known_shape
from lasagne.layers.recurrent import RecurrenceLayer
from lasagne.loop import get_last, loop
from lasagne.tensors import join_last_axes, with_known_sizes
from lasagne.utils import clip_gradient, hide_masked, is_float, unique, unroll_scan
from ntm.arguments import check_flag, count_features, describe, is_integer, is_number
from ntm.controllers import Controller, StackController
from ntm.heads.base import MemoryHead
from ntm.layers.options import (
    LOOP_DEFAULTS,
    LoopOptions,
    complete_options,
    rename_options,
    takes_loop_options,
)
from ntm.layers.sparse_loop import sparse_loop
from ntm.memory import Memory
from ntm.typing import Tensor

# How many read heads a layer makes by itself; a number from a file may be any
_MAX_READS = 10_000


class MemoryLayer(MergeLayer):
    """A controller that reads and writes a memory through heads, step by step.

    A subclass tells the kinds of its heads (`write_head_type`, `read_head_type`), and defines :meth:`_prepare`,
    :meth:`_make_initial_state`, :meth:`_pack` and :meth:`_unpack`, :meth:`_fuse_heads` and :meth:`_advance`. Where its
    output or its traces are others, it overrides `num_outputs`, :meth:`get_output_of`, `detail_names` and
    :meth:`_get_details`. Where it reads and writes a few rows of the memory only, it tells `num_large`.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``. In an input (B, T, ...) of more axes, the last ones make up the
        features.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: DenseLayer(l, 100)``, becomes a
        :class:`ntm.controllers.StackController`, sizes worked out.
    heads : list of MemoryHead
        With a function as controller, the heads are given as classes or ``functools.partial`` of them.
    **options
        Options of the loop over time, and `name`: see :class:`ntm.layers.LoopOptions`.

    Raises
    ------
    ValueError
        If shapes or numbers of heads, memory, controller and input do not fit each other.
    TypeError
        If something is not of the kind listed above.
    """

    write_head_type: type
    read_head_type: type
    own_kwargs = ("state",)
    result_kwargs = ("get_details", "return_state")
    detail_names: tuple[str, ...] = ("memory", "hidden", "state", "write_weights", "read_weights")
    # How many of the last of what the loop holds are a sparse memory and its stores; see `ntm.layers.sparse_loop`
    num_large = 0

    @takes_loop_options
    def __init__(
        self,
        incoming,
        memory,
        controller,
        heads,
        **options: Unpack[LoopOptions],
    ):
        complete = complete_options(type(self), options)
        mask_input = complete["mask_input"]
        incomings = [incoming] if mask_input is None else [incoming, mask_input]
        super().__init__(incomings, name=complete["name"])
        self._label = describe(type(self).__name__, self.name)
        self._check_inputs()
        self.memory = memory if isinstance(memory, Memory) else Memory(memory, name="memory")
        self._make_parts(controller, heads)
        self.has_mask = mask_input is not None
        self.only_return_final = complete["only_return_final"]
        self.backwards = complete["backwards"]
        self.gradient_steps = complete["gradient_steps"]
        self.grad_clipping = complete["grad_clipping"]
        self.unroll_scan = complete["unroll_scan"]
        self.precompute_input = complete["precompute_input"]
        self.checkpoint_every = complete["checkpoint_every"]
        self._check_options()

    # ---- construction

    def _fail(self, message, error=ValueError):
        raise error(f"{self._label}: {message}")

    def _check_inputs(self):
        shape = self.input_shapes[0]
        if len(shape) < 3 or count_features(shape) is None:
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

    def _make_parts(self, controller, heads):
        """Make the controller and the heads, where that is left to the layer, and put them together."""
        self.controller, self.heads = self._assemble(controller, heads)
        self._check_parts()
        if isinstance(self.controller, StackController):
            # Keywords that layers of the stack take are this layer's, too
            self.get_output_kwargs = [
                *self.get_output_kwargs,
                *self.controller.get_stack_kwargs(),
            ]
        write_heads = [head for head in self.heads if isinstance(head, self.write_head_type)]
        read_heads = [head for head in self.heads if isinstance(head, self.read_head_type)]
        self.num_writes, self.num_reads = len(write_heads), len(read_heads)
        self._prepare(write_heads, read_heads)

    def _assemble(self, controller, heads):
        """The controller and the heads, built where a function and classes stand for them."""
        if isinstance(heads, MemoryHead) or not isinstance(heads, list | tuple):
            self._fail(f"heads must be a list of heads, not {heads!r}", TypeError)
        if not heads:
            self._fail("at least one head is needed, and the list of heads is empty")
        types = (self.read_head_type, self.write_head_type)
        names = [each.__name__ for each in types]
        if isinstance(controller, Controller):
            wrong = [head for head in heads if not isinstance(head, types)]
            if wrong:
                self._fail(f"heads must be {' or '.join(names)}, not {wrong[0]!r}", TypeError)
            return controller, list(heads)
        kind = getattr(controller, "func", controller)
        kind = kind if isinstance(kind, type) else type(kind)
        if issubclass(kind, RecurrenceLayer):
            self._fail(
                f"controller must take one time step at a time, and {kind.__name__} takes whole sequences; give a "
                "controller such as LSTMController instead: lambda l: LSTMController(l, num_units=100)",
                TypeError,
            )
        if isinstance(controller, Layer) or not callable(controller):
            self._fail(
                "controller must be a Controller or a function from layer to layer, not "
                f"{controller!r}",
                TypeError,
            )
        kinds = [getattr(head, "func", head) for head in heads]
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, types)):
                self._fail(
                    f"with a function as controller, heads must be classes, {names[1]} for one that writes and "
                    f"{names[0]} for one that reads, or functools.partial of them, not {kind!r}",
                    TypeError,
                )
        num_reads = sum(issubclass(kind, self.read_head_type) for kind in kinds)
        stack = StackController(
            self.input_layer if self.input_layer is not None else self.input_shape,
            controller,
            self.memory.memory_shape,
            num_reads,
            name="controller",
        )
        return stack, self._make_heads(stack, heads, len(heads) - num_reads)

    def _make_heads(self, controller, makers, num_writes):
        """Heads from classes or partials of them, named ``write`` and ``read``, with numbers if there are several."""
        kinds = [getattr(maker, "func", maker) for maker in makers]
        labels = ["write" if issubclass(kind, self.write_head_type) else "read" for kind in kinds]
        heads = []
        for k, (maker, label) in enumerate(zip(makers, labels, strict=True)):
            number = labels[:k].count(label) if labels.count(label) > 1 else ""
            # A shape that a partial has of its own is kept, to be checked with the others
            arguments = {"memory_shape": self.memory.memory_shape, "name": f"{label}{number}"}
            heads.append(maker(controller, **{**arguments, **getattr(maker, "keywords", {})}))
        return heads

    def _check_parts(self):
        features = count_features(self.input_shapes[0])
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
        num_reads = sum(isinstance(head, self.read_head_type) for head in self.heads)
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
        for name, default in LOOP_DEFAULTS.items():
            if isinstance(default, bool):
                check_flag(self._label, name, getattr(self, name))
        steps = self.gradient_steps
        if not is_integer(steps) or (steps != -1 and steps < 1):
            self._fail(f"gradient_steps must be -1 or positive, not {self.gradient_steps}")
        if not is_integer(self.checkpoint_every) or self.checkpoint_every < 1:
            self._fail(
                f"checkpoint_every must be a positive integer, not {self.checkpoint_every!r}"
            )
        clipping = self.grad_clipping
        if not is_number(clipping) or not clipping >= 0:
            self._fail(f"grad_clipping must be a number that is not negative, not {clipping!r}")
        if self.unroll_scan:
            if self.gradient_steps != -1:
                self._fail("gradient_steps must be -1 when unroll_scan is true")
            if self.input_shapes[0][1] is None:
                self._fail("the number of time steps must be known when unroll_scan is true")

    # ---- what a subclass defines

    def _prepare(self, write_heads, read_heads):
        """Put the heads together, once, when the layer is made."""
        raise NotImplementedError(f"{type(self).__name__} does not define _prepare()")

    def _make_initial_state(self, batch_size) -> Any:
        """The state before the first step, of the subclass's kind."""
        raise NotImplementedError(f"{type(self).__name__} does not define _make_initial_state()")

    def _pack(self, state) -> list:
        """A state as the loop holds it, a list of tensors (B, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define _pack()")

    def _unpack(self, parts) -> Any:
        """The state from what the loop holds, or from traces of it (T, B, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define _unpack()")

    def _fuse_heads(self) -> list:
        """Weights of the heads that all steps share, side by side; the loop computes them once."""
        raise NotImplementedError(f"{type(self).__name__} does not define _fuse_heads()")

    def _advance(self, projected, parts, fused, use_memory, kwargs) -> list:
        """One step from the projected input, of what the loop holds.

        Parameters
        ----------
        projected : tensor (B, ...)
            From the controller's `project`.
        parts : list of tensors
            As from :meth:`_pack`.
        fused : list
            What the controller's `fuse` gave, then what :meth:`_fuse_heads` gave.
        use_memory : bool
            Whether the memory is read and written.
        kwargs : dict
            For the layers of a stack controller.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define _advance()")

    @property
    def num_outputs(self) -> int:
        """Size of the output of a step."""
        return self.controller.num_units

    def get_output_of(self, state):
        """The output of the step that left a state, (B, outputs); of traces (T, B, ...), those of all steps."""
        return state.hidden

    def _get_details(self, traces):
        """The traces (T, B, ...) named by `detail_names`."""
        return [
            traces.memory,
            traces.hidden,
            traces.controller[self.controller.cell_index],
            traces.write_weights,
            traces.read_weights,
        ]

    def _list_details(self, parts):
        """The traces (T, B, ...) named by `detail_names`, from all that the loop held."""
        return self._get_details(self._unpack(parts))

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
        made = ("memory", "controller", "heads")
        made_parts = {name: getattr(self, name) for name in made if name in arguments}
        # An option given by its old name comes after the default of its present one, and takes its place
        return rename_options(arguments | made_parts)

    def get_output_shape_for(self, input_shapes):
        """(B, T, outputs), or (B, outputs) with `only_return_final`; takes one shape or a list of them."""
        shape = input_shapes[0] if isinstance(input_shapes[0], list | tuple) else input_shapes
        batch, time = known_shape(shape)[:2]
        outputs = self.num_outputs
        return (batch, outputs) if self.only_return_final else (batch, time, outputs)

    def get_output_for(
        self,
        inputs,
        get_details=False,
        state=None,
        return_state=False,
        pass_through_memory=True,
        **kwargs,
    ):
        """The layer's output, and on request the traces or the last state.

        Parameters
        ----------
        inputs : tensor (B, T, F), or a list of it and the mask (B, T)
        get_details : bool
            Whether to return, instead of the output, the list of what each step left: memory (B, T, N, M), hidden
            (B, T, H), state (B, T, H) (the LSTM's cell; for others the hidden state again), write weights
            (B, T, W, N) and read weights (B, T, R, N). `detail_names` lists them, and what a subclass has besides.
        state : MemoryState, optional
            The state before the first step, instead of the initial one.
        return_state : bool
            Whether to return also the state after the last step.
        pass_through_memory : bool
            Whether the memory is used. If not, it is neither read nor written: the read vectors are zero, and the
            controller's state alone changes. The gradients of the heads' parameters are then zero.
        **kwargs
            Handed to the layers of a stack controller, for example ``deterministic=True``.

        Returns
        -------
        tensor (B, T, outputs) or (B, outputs), or the list of traces; with `return_state` a pair of it and the state
        """
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        x = pt.as_tensor(inputs[0]).astype(pytensor.config.floatX)
        if x.ndim != len(self.input_shape):
            self._fail(
                f"the input must have {len(self.input_shape)} axes (batch, time, features), not {x.ndim}"
            )
        if x.ndim > 3:
            x = with_known_sizes(x, self.input_shape)
        x = self._join_features(x, 2)
        if self.has_mask != (len(inputs) == 2):
            self._fail(f"{1 + self.has_mask} inputs are needed, not {len(inputs)}")
        if self.unroll_scan:
            x, *inputs[1:] = check_unrolled(
                self._label, self.input_shape[1], x, *map(pt.as_tensor, inputs[1:])
            )
        advance = partial(self._advance, use_memory=pass_through_memory, kwargs=kwargs)
        mask = check_mask(self._label, pt.as_tensor(inputs[1]), x) if self.has_mask else None
        before, parts = self._run(x, mask, state, advance, keep_all=get_details)
        last = self._unpack(
            [get_last(trace, part) for trace, part in zip(parts, before, strict=False)]
        )
        if get_details:
            result = [self._batch_first(part) for part in self._list_details(parts)]
        elif self.only_return_final:
            result = self.get_output_of(last)
        else:
            result = self._batch_first(self.get_output_of(self._unpack(parts)))
        if get_details:
            result = [self._connect(trace) for trace in result]
        else:
            result = self._connect(result)
        return (result, last.map(self._connect)) if return_state else result

    def _join_features(self, x, first):
        """Check the sizes of an input's features, the axes from `first` on, and join these axes to one."""
        for axis, size in enumerate(self.input_shape[2:], first):
            x = check_length(
                x,
                size,
                f"{self._label} was made for inputs of shape {self.input_shape}, with {size} features along axis "
                f"{axis - first + 2}; the number of features given is",
                axis,
            )
        return join_last_axes(x, first + 1)

    def _connect(self, value):
        """A value as it is, that has a gradient of zero by the parameters that it does not depend on.

        Without it, PyTensor's `grad` would refuse these: those of the heads where the memory is passed by, initial
        values where a state is given.
        """
        if not is_float(value):
            return value
        known = set(ancestors([value]))
        unused = [param for param in self.get_params() if param not in known and is_float(param)]
        if not unused:
            return value
        total = sum(param.sum() for param in unused).astype(value.dtype)
        return pt.switch(np.array(True), value, value + total)

    # ---- state

    def get_initial_state(self, batch_size):
        """The state before the first step, as expressions of the initial parameters.

        Parameters
        ----------
        batch_size : int or scalar expression

        Returns
        -------
        MemoryState
        """
        # A parameter may be an array of another precision, which must not spread to the result
        return self._make_initial_state(batch_size).map(
            lambda part: part.astype(pytensor.config.floatX) if is_float(part) else part
        )

    def make_state_variables(self):
        """A state of new symbolic variables, to be inputs of a compiled function."""
        return self.get_initial_state(1).map(
            lambda part: pt.tensor(dtype=part.dtype, shape=(None, *part.type.shape[1:]))
        )

    def make_shared_state(self, batch_size):
        """A state of shared variables that hold the present initial state.

        Parameters
        ----------
        batch_size : int
        """
        state = self.get_initial_state(batch_size)
        values = pytensor.function([], state.flatten(), mode="FAST_COMPILE")()
        return state.unflatten(
            [pytensor.shared(np.array(value), shape=value.shape) for value in values]
        )

    def reset(self, state, memory_only=False):
        """The initial state, of the batch size of another state.

        Parameters
        ----------
        state : MemoryState
        memory_only : bool
            Whether to keep the controller's state: the memory is as before the first step, and all that tells what
            was done with it.

        Returns
        -------
        MemoryState of expressions
        """
        initial = self.get_initial_state(pt.as_tensor(state.memory).shape[0])
        return initial._replace(controller=state.controller) if memory_only else initial

    # ---- the loop

    def step(self, x, state, mask=None, pass_through_memory=True, **kwargs):
        """One step, as expressions.

        Parameters
        ----------
        x : tensor (B, F)
            The input x(t).
        state : MemoryState
            The state after step t - 1.
        mask : tensor (B,), optional
        pass_through_memory : bool
            As in :meth:`get_output_for`.
        **kwargs
            Handed to the layers of a stack controller.

        Returns
        -------
        MemoryState after step t; :meth:`get_output_of` it is the layer's output
        """
        fused = self._fuse()
        x = self._join_features(pt.as_tensor(x), 1)
        x = x if mask is None else hide_masked(x, mask)
        projected = self._project(x, fused)
        advance = partial(self._advance, use_memory=pass_through_memory, kwargs=kwargs)
        return self._unpack(self._step(projected, self._pack(state), mask, fused, advance))

    def _fuse(self):
        """Weights of the controller, then of the heads, side by side."""
        return [self.controller.fuse(), *self._fuse_heads()]

    def _project(self, x, fused):
        """The part of a step that needs the input only, of one step or of all."""
        return self.controller.project(x, fused[0])

    def _step(self, projected, before, mask, fused, advance):
        """One step of what the loop holds, from the projected input; nothing changes where the mask is zero."""
        return keep_where_masked(mask, advance(projected, before, fused), before)

    def _run(self, x, mask, state, advance, keep_all):
        """What the loop holds before the first step, and after each, time first, in the order in which the steps run.

        Unless `keep_all`, parts that only the next step needs may be there after the last step alone.
        """
        batch_size = x.shape[0] if x.type.shape[0] is None else x.type.shape[0]
        fused = self._fuse()
        x = x if mask is None else hide_masked(x, mask)
        sequences = [x.dimshuffle(1, 0, 2)]
        if self.precompute_input:
            sequences = [self._project(sequences[0], fused)]
        if mask is not None:
            sequences.append(mask.dimshuffle(1, 0))
        initial = self.get_initial_state(batch_size)
        if state is not None:
            initial = self._fit_state(state, initial, x)

        def step(x_t, *args):
            mask_t, args = (args[0], args[1:]) if mask is not None else (None, args)
            parts = [self._clip(part) for part in args]
            if not self.precompute_input:
                x_t = self._project(x_t, fused)
            return self._step(x_t, parts, mask_t, fused, advance)

        before = self._pack(initial)
        return before, self._loop(step, sequences, before, keep_all)

    def _loop(self, step, sequences, parts, keep_all):
        """What the loop holds after each step, or, unless `keep_all`, what is needed of it."""
        backwards = self.backwards
        if self.unroll_scan:
            length = self.input_shape[1]
            return unroll_scan(step, sequences, parts, [], length, go_backwards=backwards)
        is_plain = (
            self.gradient_steps == -1 and not self.grad_clipping and self.checkpoint_every == 1
        )
        if self.num_large and is_plain and not keep_all:
            count = len(parts) - self.num_large
            memory, *stores = parts[count:]
            traces, last = sparse_loop(step, sequences, parts[:count], memory, stores, backwards)
            # Of what is large the last is all that is needed: a trace of one step
            return [*traces, *(part[None] for part in last)]
        return loop(step, sequences, parts, self.gradient_steps, backwards, self.checkpoint_every)

    def _fit_state(self, state, initial, x):
        """A given state, with the dtypes and the shapes of the initial one, which the loop relies on."""
        if not isinstance(state, type(initial)):
            self._fail(
                f"state must be of type {type(initial).__name__}, not {type(state).__name__}",
                TypeError,
            )
        parts, expected = state.flatten(), initial.flatten()
        if len(parts) != len(expected):
            self._fail(
                f"the controller has {len(initial.controller)} states, but the given state has "
                f"{len(state.controller)}"
            )
        names = initial.label_parts(len(expected))
        fitted = []
        for name, part, wanted in zip(names, map(pt.as_tensor, parts), expected, strict=True):
            shape = (None, *wanted.type.shape[1:])
            given = part.type.shape
            if len(given) != len(shape) or any(
                a is not None and b is not None and a != b
                for a, b in zip(given, shape, strict=True)
            ):
                self._fail(f"state.{name} must be of shape {shape}, not {given}")
            part = check_same_size(
                part.astype(wanted.type.dtype),
                x,
                0,
                f"{self._label}: state.{name} must be of the input's batch size",
            )
            fitted.append(pt.specify_shape(part, shape))
        return initial.unflatten(fitted)

    def _clip(self, part):
        if not self.grad_clipping or not is_float(part):
            return part
        return clip_gradient(part, self.grad_clipping)

    def _batch_first(self, trace):
        """A trace (T, B, ...) in the input's order and layout, (B, T, ...)."""
        if self.backwards:
            trace = trace[::-1]
        return trace.dimshuffle(1, 0, *range(2, trace.ndim))


def keep_where_masked(mask: Tensor | None, new: list[Tensor], old: list[Tensor]) -> list[Tensor]:
    """Return the new parts of a state, and the old ones of each sequence whose mask (B,) is zero.

    Parameters
    ----------
    mask : tensor (B,) or None
        Without a mask, all parts are the new ones.
    new, old : lists of tensors (B, ...)
    """
    if mask is None:
        return new
    return [
        pt.switch(mask.reshape((-1,) + (1,) * (after.ndim - 1)), after, before)
        for after, before in zip(new, old, strict=True)
    ]


class ReadVectorsLayer(MemoryLayer):
    """A memory layer with read vectors in its state, which are part of its output: (B, T, H + R * M).

    A subclass keeps the fused layers of its heads in `all_heads`.

    Parameters
    ----------
    incoming, memory, controller, heads
        As of :class:`MemoryLayer`. Unless given, there is one head that writes and `num_reads` that read.
    num_reads : int, optional
        R, the number of read heads that are made where `heads` is not given: by default as many as the controller was
        made for, or one if it is a function.
    **options
        As of :class:`MemoryLayer`.

    Raises
    ------
    ValueError
        If `num_reads` is no positive integer, or another number than that of the read heads given.
    """

    all_heads: Any

    @takes_loop_options
    def __init__(
        self,
        incoming,
        memory,
        controller,
        heads=None,
        num_reads=None,
        **options: Unpack[LoopOptions],
    ):
        self._num_reads_given = num_reads
        super().__init__(incoming, memory, controller, heads, **options)

    def _assemble(self, controller, heads):
        count = self._num_reads_given
        if count is not None and (not is_integer(count) or count < 1):
            self._fail(f"num_reads must be a positive integer, not {count!r}")
        if heads is not None:
            return super()._assemble(controller, heads)
        if count is None:
            count = max(1, getattr(controller, "num_reads", 1))
        if count > _MAX_READS:
            self._fail(f"there can be {_MAX_READS} read heads at most, not {count}")
        makers: list[Any] = [partial(self.write_head_type, name="write")]
        makers += [partial(self.read_head_type, name=f"read{k}") for k in range(count)]
        if isinstance(controller, Controller):
            return controller, self._make_heads(controller, makers, 1)
        return super()._assemble(controller, makers)

    def _prepare(self, write_heads, read_heads):
        if self._num_reads_given not in (None, len(read_heads)):
            self._fail(
                f"num_reads={self._num_reads_given}, but heads has {len(read_heads)} that read"
            )

    def _fuse_heads(self):
        return [self.all_heads.layers.fuse()]

    def _side_by_side(self, reads):
        """Read vectors (..., R, M) as one vector (..., R * M)."""
        leading = [reads.shape[k] for k in range(reads.ndim - 2)]
        return reads.reshape((*leading, self.num_reads * self.memory.memory_shape[1]))

    def _set_apart(self, reads):
        """The read vectors that :meth:`_side_by_side` put together."""
        leading = [reads.shape[k] for k in range(reads.ndim - 1)]
        return reads.reshape((*leading, self.num_reads, self.memory.memory_shape[1]))

    @property
    def num_outputs(self):
        """H + R * M."""
        return self.controller.num_units + self.num_reads * self.memory.memory_shape[1]

    def get_output_of(self, state):
        """The controller's output and the read vectors side by side, (B, H + R * M); of traces, those of all steps."""
        return pt.concatenate([state.hidden, self._side_by_side(state.reads)], axis=-1)
