"""What all memory layers share: parts, state, options and the loop over time.

Notation: B batch, T time steps, F input features, N slots, M slot width, W write heads, R read heads, H controller
units.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, Unpack

import pytensor
import pytensor.tensor as pt

from lasagne.checks import check_length, check_mask, check_unrolled
from lasagne.layers import Layer
from lasagne.layers._states import StatefulLayer, fit_parts
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
from ntm.layers.tracing import TracedLayer
from ntm.memory import Memory
from ntm.traces import Trace
from ntm.typing import Incoming, MemoryShape, Tensor, TensorLike

# A layer makes no more read heads than this by itself: a file from a stranger may ask for any number
_MAX_READS = 10_000


class MemoryLayer(TracedLayer, StatefulLayer):
    """The base class of memory layers: a controller that reads and writes a memory through heads, step by step.

    A subclass sets the kinds of its heads (`write_head_type`, `read_head_type`), and defines :meth:`_prepare`,
    :meth:`_make_initial_state`, :meth:`_pack` and :meth:`_unpack`, :meth:`_fuse_heads` and :meth:`_advance`. A subclass
    with another output or other traces overrides `num_outputs`, :meth:`get_output_of`, `detail_names` and
    :meth:`_get_details`. A subclass that has more to show of a step than what every layer has overrides
    :meth:`_watch`, :meth:`_show_head`, :meth:`_show_states` and `trace_sizes`. A subclass whose steps read and write a
    few rows of the memory only sets `num_large`.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``. In an input (B, T, ...) of more axes, the last ones make up the
        features.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: DenseLayer(l, 100)``, becomes a
        :class:`ntm.controllers.StackController` of the right sizes.
    heads : list of MemoryHead
        With a function as controller, the heads are given as classes or as ``functools.partial`` of classes.
    **options
        Options of the loop over time, and `name`: see :class:`ntm.layers.LoopOptions`.

    Raises
    ------
    ValueError
        If shapes or numbers of heads, memory, controller and input do not fit each other.
    TypeError
        If an argument is not of a kind listed above, or an option is unknown.
    """

    write_head_type: type
    read_head_type: type
    result_kwargs = (*StatefulLayer.result_kwargs, "get_details")
    detail_names: tuple[str, ...] = ("memory", "hidden", "state", "write_weights", "read_weights")
    # What an error about the kind of the heads ends with
    heads_hint = ""
    # How many of the last parts in the loop are a sparse memory and its stores; see `ntm.layers.sparse_loop`
    num_large = 0

    @takes_loop_options
    def __init__(
        self,
        incoming: Incoming,
        memory: Memory | MemoryShape,
        controller: Controller | Callable[[Layer], Layer] | None,
        heads: Sequence[Any] | None,
        **options: Unpack[LoopOptions],
    ) -> None:
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

    def _fail(self, message: str, error: type[Exception] = ValueError) -> NoReturn:
        """Raise an error that names the layer."""
        raise error(f"{self._label}: {message}")

    def _check_inputs(self) -> None:
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

    def _make_parts(self, controller: Any, heads: Any) -> None:
        """Make the controller and the heads, where a function and classes stand for them, and put them together."""
        self.controller, self.heads = self._assemble(controller, heads)
        self._check_parts()
        if isinstance(self.controller, StackController):
            # This layer takes the keywords that the layers of the stack take, such as `deterministic`
            self.get_output_kwargs = [
                *self.get_output_kwargs,
                *self.controller.get_stack_kwargs(),
            ]
        write_heads = [head for head in self.heads if isinstance(head, self.write_head_type)]
        read_heads = [head for head in self.heads if isinstance(head, self.read_head_type)]
        self.num_writes, self.num_reads = len(write_heads), len(read_heads)
        self._prepare(write_heads, read_heads)

    def _assemble(self, controller: Any, heads: Any) -> tuple[Any, list[Any]]:
        """Return the controller and the heads, built where a function and classes stand for them."""
        if isinstance(heads, MemoryHead) or not isinstance(heads, list | tuple):
            self._fail(f"heads must be a list of heads, not {heads!r}{self.heads_hint}", TypeError)
        if not heads:
            self._fail("at least one head is needed, and the list of heads is empty")
        types = (self.read_head_type, self.write_head_type)
        names = [each.__name__ for each in types]
        if isinstance(controller, Controller):
            wrong = [head for head in heads if not isinstance(head, types)]
            if wrong:
                given = (
                    f"the class {wrong[0].__name__}"
                    if isinstance(wrong[0], type)
                    else repr(wrong[0])
                )
                self._fail(
                    f"beside a controller, heads must be {' or '.join(names)} that were made for the controller, "
                    f"such as {names[0]}(controller, memory_shape=...), not {given}{self.heads_hint}",
                    TypeError,
                )
            return controller, list(heads)
        maker: Any = getattr(controller, "func", controller)
        kind: type = maker if isinstance(maker, type) else type(maker)
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
        head_types: list[Any] = [getattr(head, "func", head) for head in heads]
        for head_type in head_types:
            if not (isinstance(head_type, type) and issubclass(head_type, types)):
                self._fail(
                    f"with a function as controller, heads must be classes, {names[1]} for one that writes and "
                    f"{names[0]} for one that reads, or functools.partial of them, not {head_type!r}{self.heads_hint}",
                    TypeError,
                )
        num_reads = sum(issubclass(head_type, self.read_head_type) for head_type in head_types)
        stack = StackController(
            self.input_layer if self.input_layer is not None else self.input_shape,
            controller,
            self.memory.memory_shape,
            num_reads,
            name="controller",
        )
        return stack, self._make_heads(stack, heads, len(heads) - num_reads)

    def _make_heads(
        self, controller: Controller, makers: Sequence[Any], num_writes: int
    ) -> list[Any]:
        """Make heads from classes or partials of them, named ``write`` and ``read``, numbered if there are several."""
        kinds = [getattr(maker, "func", maker) for maker in makers]
        labels = ["write" if issubclass(kind, self.write_head_type) else "read" for kind in kinds]
        heads = []
        for k, (maker, label) in enumerate(zip(makers, labels, strict=True)):
            number = labels[:k].count(label) if labels.count(label) > 1 else ""
            # A partial may have a memory shape of its own; it is checked with those of the other parts
            arguments = {"memory_shape": self.memory.memory_shape, "name": f"{label}{number}"}
            heads.append(maker(controller, **{**arguments, **getattr(maker, "keywords", {})}))
        return heads

    def _check_parts(self) -> None:
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

    def _check_options(self) -> None:
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

    def _prepare(self, write_heads: list[Any], read_heads: list[Any]) -> None:
        """Put the heads together, once, when the layer is made."""
        raise NotImplementedError(f"{type(self).__name__} does not define _prepare()")

    def _make_initial_state(self, batch_size: TensorLike) -> Any:
        """Return the state before the first step, of the kind of the subclass."""
        raise NotImplementedError(f"{type(self).__name__} does not define _make_initial_state()")

    def _pack(self, state: Any) -> list:
        """Return the parts of a state as the loop holds them: a list of tensors (B, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define _pack()")

    def _unpack(self, parts: Sequence[Tensor]) -> Any:
        """Return the state from the parts that the loop holds, or from their traces (T, B, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define _unpack()")

    def _fuse_heads(self) -> list:
        """Return the weights of the heads side by side. All steps share them, so the loop computes them once."""
        raise NotImplementedError(f"{type(self).__name__} does not define _fuse_heads()")

    def _advance(
        self,
        projected: Tensor,
        parts: Sequence[Tensor],
        fused: list[Any],
        use_memory: bool,
        kwargs: dict[str, Any],
    ) -> list:
        """Advance the parts that the loop holds by one step, from the projected input.

        Parameters
        ----------
        projected : tensor (B, ...)
            From the controller's `project`.
        parts : list of tensors
            In the order of :meth:`_pack`.
        fused : list
            The result of the controller's `fuse`, then that of :meth:`_fuse_heads`.
        use_memory : bool
            Whether the memory is read and written.
        kwargs : dict
            For the layers of a stack controller.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define _advance()")

    @property
    def num_outputs(self) -> int:
        """The size of the output of a step."""
        return self.controller.num_units

    def get_output_of(self, state: Any) -> Tensor:
        """Return the output of the step that left a state, (B, outputs); from traces (T, B, ...), that of all steps."""
        return state.hidden

    def _get_details(self, traces: Any) -> list[Tensor]:
        """Return the traces (T, B, ...) that `detail_names` lists, from the traces of the state."""
        return [
            traces.memory,
            traces.hidden,
            traces.controller[self.controller.cell_index],
            traces.write_weights,
            traces.read_weights,
        ]

    def _list_details(self, parts: Sequence[Tensor], seen: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the traces (T, B, ...) that `detail_names` lists, from those of the parts in the loop."""
        return self._get_details(self._unpack(parts))

    # ---- Lasagne's interface

    @property
    def input_layer(self) -> Layer | None:
        """The layer that gives the input (B, T, F); ``None`` if a shape was given instead."""
        return self.input_layers[0]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of the input, (B, T, F)."""
        return self.input_shapes[0]

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
        """Return the parameters of the controller, of the memory, then of each head in the order given."""
        params = []
        for part in (self.controller, self.memory, *self.heads):
            params += part.get_params(unwrap_shared=unwrap_shared, **tags)
        return unique(params)

    def get_parts(self) -> list[tuple[str, Layer]]:
        """Return the controller, the memory and the heads, each with what it is."""
        heads = [
            ("write head" if isinstance(head, self.write_head_type) else "read head", head)
            for head in self.heads
        ]
        return [("controller", self.controller), ("memory", self.memory), *heads]

    def get_arguments(self) -> dict[str, Any]:
        """Return what the layer is made from, with the memory, the controller and the heads that were made."""
        arguments = super().get_arguments()
        made = ("memory", "controller", "heads")
        made_parts = {name: getattr(self, name) for name in made if name in arguments}
        # An option given by its old name comes after the default of its present one, and takes its place
        return rename_options(arguments | made_parts)

    def get_output_shape_for(self, input_shapes: Any) -> tuple[int | None, ...]:
        """Return (B, T, outputs), or (B, outputs) with `only_return_final`, from one input shape or a list of them."""
        shape = input_shapes[0] if isinstance(input_shapes[0], list | tuple) else input_shapes
        batch, time = known_shape(shape)[:2]
        outputs = self.num_outputs
        return (batch, outputs) if self.only_return_final else (batch, time, outputs)

    def get_output_for(
        self,
        inputs: Any,
        get_details: bool = False,
        state: Any = None,
        return_state: bool = False,
        pass_through_memory: bool = True,
        step_mask: TensorLike | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the output of the layer; on request the traces instead of it, and the last state besides.

        Parameters
        ----------
        inputs : tensor (B, T, F), or a list of it and the mask (B, T)
        get_details : bool
            Whether to return, instead of the output, the traces: what each step left. They are memory (B, T, N, M),
            hidden (B, T, H), state (B, T, H) (the cell of an LSTM; for other controllers the hidden state again), write
            weights (B, T, W, N) and read weights (B, T, R, N). `detail_names` names them, and those of a subclass.
        state : MemoryState, optional
            The state before the first step, instead of the initial state.
        return_state : bool
            Whether to return also the state after the last step.
        pass_through_memory : bool
            Whether the memory is used. If not, the memory is neither read nor written: the read vectors are zero, and
            only the state of the controller changes. The gradients of the heads' parameters are then zero.
        step_mask : tensor (B, T), optional
            A mask for a layer that was made without `mask_input`; the layer does with it as with that of `mask_input`.
        **kwargs
            Passed on to the layers of a stack controller, for example ``deterministic=True``.

        Returns
        -------
        tensor (B, T, outputs) or (B, outputs), or the list of traces
            With `return_state`, a pair: this, and the state after the last step.
        """
        x, mask = self._take_inputs(inputs, step_mask)
        advance = partial(self._advance, use_memory=pass_through_memory, kwargs=kwargs)
        before, parts, seen = self._run(x, mask, state, advance, keep_all=get_details)
        last = self._unpack(
            [get_last(trace, part) for trace, part in zip(parts, before, strict=False)]
        )
        result: Any
        if get_details:
            details = self._list_details(parts, seen)
            result = [self._connect(self._batch_first(part)) for part in details]
        elif self.only_return_final:
            result = self._connect(self.get_output_of(last))
        else:
            result = self._connect(self._batch_first(self.get_output_of(self._unpack(parts))))
        return (result, last.map(self._connect)) if return_state else result

    def get_traces_for(
        self,
        inputs: Any,
        leave_out: Collection[str] = (),
        step_mask: TensorLike | None = None,
        **kwargs: Any,
    ) -> list[Trace]:
        """Return what heads and memory do with sequences, as expressions.

        Parameters
        ----------
        inputs : tensor (B, T, F), or a list of it and the mask (B, T)
        leave_out : collection of str
            Arrays that are not to be kept for every step, of those that `trace_sizes` names.
        step_mask : tensor (B, T), optional
            As in :meth:`get_output_for`.
        **kwargs
            Passed on to the layers of a stack controller.

        Returns
        -------
        list of Trace
            Its arrays are tensors, with the batch as a first axis, (B, T, ...). One trace; of a
            :class:`SharedMemoryLayer`, one for each level.
        """
        x, mask = self._take_inputs(inputs, step_mask)
        advance = partial(self._advance, use_memory=True, kwargs=kwargs)
        keep_all = "memory" not in leave_out
        _, parts, seen = self._run(x, mask, None, advance, keep_all=keep_all, watch=True)
        return [
            trace.map(self._batch_first) for trace in self._list_traces(parts, seen, set(leave_out))
        ]

    def _take_inputs(
        self, inputs: Any, step_mask: TensorLike | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the input (B, T, F) and the mask (B, T) from what is given to the layer, after checking it."""
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
        if step_mask is not None:
            if self.has_mask:
                self._fail("step_mask is for layers without mask_input")
            inputs.append(pt.as_tensor(step_mask))
        length = self.input_shape[1]
        if self.unroll_scan and length is not None:
            x, *inputs[1:] = check_unrolled(self._label, length, x, *map(pt.as_tensor, inputs[1:]))
        mask = check_mask(self._label, pt.as_tensor(inputs[1]), x) if inputs[1:] else None
        return x, mask

    def _join_features(self, x: Tensor, first: int) -> Tensor:
        """Check the sizes of an input's features, the axes from `first` on, and join these axes to one."""
        for axis, size in enumerate(self.input_shape[2:], first):
            assert size is not None  # see `_check_inputs`
            x = check_length(
                x,
                size,
                f"{self._label} was made for inputs of shape {self.input_shape}, with {size} features along axis "
                f"{axis - first + 2}; the number of features given is",
                axis,
            )
        return join_last_axes(x, first + 1)

    # ---- state

    def get_initial_state(self, batch_size: TensorLike) -> Any:
        """Return the state before the first step, as expressions of the initial parameters.

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

    def reset(self, state: Any, memory_only: bool = False) -> Any:
        """Return the initial state, with the batch size of another state.

        Parameters
        ----------
        state : MemoryState
        memory_only : bool
            Whether to keep the state of the controller. The memory, and all that records how it was used, are as before
            the first step.

        Returns
        -------
        MemoryState of expressions
        """
        initial = super().reset(state)
        return initial._replace(controller=state.controller) if memory_only else initial

    # ---- the loop

    def step(
        self,
        x: TensorLike,
        state: Any,
        mask: Tensor | None = None,
        pass_through_memory: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Compute one step, as expressions.

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
            Passed on to the layers of a stack controller.

        Returns
        -------
        MemoryState
            The state after step t. :meth:`get_output_of` returns the output of the layer from it.
        """
        fused = self._fuse()
        x = self._join_features(pt.as_tensor(x), 1)
        x = x if mask is None else hide_masked(x, mask)
        projected = self._project(x, fused)
        advance = partial(self._advance, use_memory=pass_through_memory, kwargs=kwargs)
        return self._unpack(self._step(projected, self._pack(state), mask, fused, advance))

    def _fuse(self) -> list[Any]:
        """Return the weights of the controller, then of the heads, side by side."""
        return [self.controller.fuse(), *self._fuse_heads()]

    def _project(self, x: Tensor, fused: list[Any]) -> Tensor:
        """Compute the part of a step that needs the input only, for one step or for all."""
        return self.controller.project(x, fused[0])

    def _step(
        self,
        projected: Tensor,
        before: Sequence[Tensor],
        mask: Tensor | None,
        fused: list[Any],
        advance: Callable[..., list[Tensor]],
    ) -> list[Tensor]:
        """Advance the parts in the loop by one step, from the projected input; not where the mask is zero."""
        return keep_where_masked(mask, advance(projected, before, fused), before)

    def _run(
        self,
        x: Tensor,
        mask: Tensor | None,
        state: Any,
        advance: Callable[..., list[Tensor]],
        keep_all: bool,
        watch: bool = False,
    ) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
        """Return the parts before the first step, their traces (T, B, ...), and the traces of what is watched.

        The traces are in the order in which the steps run. Unless `keep_all`, a part that only the next step needs may
        come as a trace of the last step alone. Steps are watched, see :meth:`_watch`, if `watch` or `keep_all`.
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
        before = self._pack(initial)
        watch = watch or keep_all
        # What is seen of a step before any has run has the shapes of what is seen later
        seen = self._see(self._pair_before(before), keep_all) if watch else {}

        def step(x_t: Tensor, *args: Tensor) -> list[Tensor]:
            mask_t, args = (args[0], args[1:]) if mask is not None else (None, args)
            seen_before, parts = args[: len(seen)], [self._clip(part) for part in args[len(seen) :]]
            if not self.precompute_input:
                x_t = self._project(x_t, fused)
            if not watch:
                return self._step(x_t, parts, mask_t, fused, advance)
            after, pairs = self._step_in_pairs(x_t, parts, mask_t, fused, advance)
            seen_now = list(self._see(pairs, keep_all).values())
            return [*keep_where_masked(mask_t, seen_now, seen_before), *after]

        # The large parts come last
        traces = self._loop(step, sequences, [*seen.values(), *before], keep_all)
        seen_traces = dict(zip(seen, traces, strict=False))
        return before, traces[len(seen) :], seen_traces

    def _loop(
        self,
        step: Callable[..., list[Tensor]],
        sequences: list[Tensor],
        parts: Sequence[Tensor],
        keep_all: bool,
    ) -> list[Tensor]:
        """Return the traces of the parts, or, unless `keep_all`, what is needed of them."""
        backwards = self.backwards
        length = self.input_shape[1]
        if self.unroll_scan and length is not None:
            return unroll_scan(step, sequences, parts, [], length, go_backwards=backwards)
        is_plain = (
            self.gradient_steps == -1 and not self.grad_clipping and self.checkpoint_every == 1
        )
        if self.num_large and is_plain and not keep_all:
            count = len(parts) - self.num_large
            memory, *stores = parts[count:]
            traces, last = sparse_loop(step, sequences, parts[:count], memory, stores, backwards)
            # Of the memory and the stores, only the last value is needed: a trace of one step
            return [*traces, *(part[None] for part in last)]
        return loop(step, sequences, parts, self.gradient_steps, backwards, self.checkpoint_every)

    def _fit_state(self, state: Any, initial: Any, x: Tensor) -> Any:
        """Return a given state with the dtypes and the shapes of the initial state, which the loop relies on."""
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
        return initial.unflatten(fit_parts(self._label, names, parts, expected, x))

    def _clip(self, part: Tensor) -> Tensor:
        if not self.grad_clipping or not is_float(part):
            return part
        return clip_gradient(part, self.grad_clipping)

    def _batch_first(self, trace: Tensor) -> Tensor:
        """Return a trace (T, B, ...) in the order and layout of the input, (B, T, ...)."""
        if self.backwards:
            trace = trace[::-1]
        return trace.dimshuffle(1, 0, *range(2, trace.ndim))


def keep_where_masked(
    mask: Tensor | None, new: Sequence[Tensor], old: Sequence[Tensor]
) -> list[Tensor]:
    """Return the new parts of a state, and the old ones of each sequence whose mask (B,) is zero.

    Parameters
    ----------
    mask : tensor (B,) or None
        Without a mask, all parts are the new ones.
    new, old : lists of tensors (B, ...)
    """
    if mask is None:
        return list(new)
    return [
        pt.switch(mask.reshape((-1,) + (1,) * (after.ndim - 1)), after, before)
        for after, before in zip(new, old, strict=True)
    ]


class ReadVectorsLayer(MemoryLayer):
    """The base class of memory layers whose read vectors are part of state and output: (B, T, H + R * M).

    A subclass sets `all_heads`, whose attribute `layers` holds the fused layers of its heads.

    Parameters
    ----------
    incoming, memory, controller, heads
        As in :class:`MemoryLayer`. By default there are one write head and `num_reads` read heads.
    num_reads : int, optional
        R, the number of read heads to make where `heads` is not given. By default, the number that the controller was
        made for, or one if the controller is a function.
    **options
        As in :class:`MemoryLayer`.

    Raises
    ------
    ValueError
        If `num_reads` is not a positive integer, or differs from the number of read heads given.
    """

    all_heads: Any
    heads_hint = (
        "; heads may be left out: the layer makes its own, and num_reads says how many read"
    )

    @takes_loop_options
    def __init__(
        self,
        incoming: Incoming,
        memory: Memory | MemoryShape,
        controller: Controller | Callable[[Layer], Layer] | None,
        heads: Sequence[Any] | None = None,
        num_reads: int | None = None,
        **options: Unpack[LoopOptions],
    ) -> None:
        self._num_reads_given = num_reads
        super().__init__(incoming, memory, controller, heads, **options)

    def _assemble(self, controller: Any, heads: Any) -> tuple[Any, list[Any]]:
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

    def _prepare(self, write_heads: list[Any], read_heads: list[Any]) -> None:
        if self._num_reads_given not in (None, len(read_heads)):
            self._fail(
                f"num_reads={self._num_reads_given}, but heads has {len(read_heads)} that read"
            )

    def _fuse_heads(self) -> list[Any]:
        return [self.all_heads.layers.fuse()]

    def _show_head(
        self, writes: bool, number: int, state: Any, seen: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        shown = super()._show_head(writes, number, state, seen)
        return shown if writes else shown | {"results": {"read vector": state.reads[:, :, number]}}

    def _side_by_side(self, reads: Tensor) -> Tensor:
        """Join the read vectors (..., R, M) to one vector (..., R * M)."""
        leading = [reads.shape[k] for k in range(reads.ndim - 2)]
        return reads.reshape((*leading, self.num_reads * self.memory.memory_shape[1]))

    def _set_apart(self, reads: Tensor) -> Tensor:
        """Split a vector that :meth:`_side_by_side` joined into the read vectors (..., R, M)."""
        leading = [reads.shape[k] for k in range(reads.ndim - 1)]
        return reads.reshape((*leading, self.num_reads, self.memory.memory_shape[1]))

    @property
    def num_outputs(self) -> int:
        """The size of the output of a step: H + R * M."""
        return self.controller.num_units + self.num_reads * self.memory.memory_shape[1]

    def get_output_of(self, state: Any) -> Tensor:
        """Return the controller's output and the read vectors side by side, (B, H + R * M), or their traces."""
        return pt.concatenate([state.hidden, self._side_by_side(state.reads)], axis=-1)
