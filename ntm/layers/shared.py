"""Memory layers stacked on each other that share one memory.

Notation: B batch, T time steps, F input features, N slots, M slot width, W write heads, R read heads, H controller
units.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from lasagne.layers import Layer
from ntm.arguments import describe
from ntm.layers.base import MemoryLayer
from ntm.layers.options import LOOP_DEFAULTS, LoopOptions, takes_loop_options
from ntm.layers.sam import SparseMemoryLayer
from ntm.layers.tracing import Pair
from ntm.memory import Memory
from ntm.traces import Trace
from ntm.typing import Incoming, MemoryShape, Tensor, TensorLike

# The traces of which each level has its own, and the axis along which those of all levels stand side by side
_JOINED_DETAILS = {
    "hidden": -1,
    "state": -1,
    "write_weights": -2,
    "read_weights": -2,
    "reads": -2,
    "read_positions": -2,
}


class SharedMemoryLayer(MemoryLayer):
    """A stack of memory layers, the levels, that share one memory.

    At each time step the levels run one after another. Each level takes the output of the level below, and its step
    starts from the memory as the level below left it. The first level's next step starts from the memory as the last
    level left it. The output of the layer is the output of the last level.

    Each level has its own controller, heads and, in a DNC or SAM, read vectors. The state of the memory is shared: the
    memory matrix and, in a DNC or SAM, usage or last access, precedence, links, and the weights of the last write and
    the last read, whichever level made them. In an NTM the weights are the positions of the heads, and each level has
    its own.

    For levels with a memory each, stack memory layers as usual; this class is not needed.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    levels : list of callable, or of MemoryLayer
        At least one. A function from the incoming layer and the memory to a memory layer, such as
        ``partial(DNCLayer, controller=..., num_reads=2)``, is called with the level below. A layer must be made on the
        level below (the first level on `incoming`), and from `memory`, which is then a :class:`ntm.memory.Memory`. All
        levels are of one kind, such as `NTMLayer` or `DNCLayer`. Except in an NTM, all levels have the same numbers of
        write heads, of read heads, and of slots that a head reads.
    **options
        Options of the loop over time, and `name`: see :class:`ntm.layers.LoopOptions`. They are given here, not to the
        levels. Levels that are :class:`ntm.layers.SAMLayer` store few rows a step for the gradient, as that layer does,
        unless `gradient_steps`, `grad_clipping`, `unroll_scan` or `checkpoint_every` is given.

    Attributes
    ----------
    levels : list of MemoryLayer

    Raises
    ------
    ValueError
        If there is no level, or the levels are of different kinds, have options of the loop, do not stand on each
        other, or do not fit the memory or each other.
    TypeError
        If a level is neither a memory layer nor a function that returns one.

    Notes
    -----
    The state is of the kind of a level's state, such as :class:`ntm.layers.DNCState`. Its `controller` lists the
    controller states of all levels, and its `reads` holds the read vectors of all L levels, (B, L * R, M); in an NTM,
    its weights are those of the heads of all levels. :meth:`split_state` returns the state of each level.

    With ``get_details=True``, the traces of hidden, state, weights, read vectors and positions of all levels stand side
    by side, along the units or along the heads. All other traces are what the last level left at each time step.

    References
    ----------
    ``DNC(num_layers=..., share_memory=True)`` of https://github.com/ixaxaar/pytorch-dnc.

    Examples
    --------
    >>> from functools import partial
    >>> from lasagne.layers import InputLayer
    >>> from ntm import DNCLayer, LSTMController, SharedMemoryLayer
    >>> l_in = InputLayer((None, None, 9))
    >>> level = partial(DNCLayer, controller=lambda l: LSTMController(l, num_units=100), num_reads=2)
    >>> SharedMemoryLayer(l_in, (64, 20), [level, level]).output_shape
    (None, None, 140)
    """

    @takes_loop_options
    def __init__(
        self,
        incoming: Incoming,
        memory: Memory | MemoryShape,
        levels: Sequence[Callable[..., MemoryLayer] | MemoryLayer],
        **options: Unpack[LoopOptions],
    ) -> None:
        self._levels_given = levels
        self.levels: list[MemoryLayer] = []
        super().__init__(incoming, memory, controller=None, heads=None, **options)

    # ---- construction

    def _make_parts(self, controller: None, heads: None) -> None:
        """Make the levels, in place of one controller and its heads."""
        given = self._levels_given
        if not isinstance(given, list | tuple):
            self._fail(
                f"levels must be a list of functions or memory layers, not {given!r}", TypeError
            )
        if not given:
            self._fail("at least one level is needed, and the list of levels is empty")
        for each in given:
            self.levels.append(self._make_level(each))
        self.detail_names = self.levels[0].detail_names
        self.num_large = self.levels[0].num_large
        for level in self.levels:
            self.get_output_kwargs = [*self.get_output_kwargs, *level.get_output_kwargs]
        # For each part that a level hands to the loop: whether it is the level's own, or the memory's
        self._are_own = [self._find_own(level) for level in self.levels]

    def _make_level(self, level: Any) -> MemoryLayer:
        """Return a level, made where a function stands for it, after checking that it fits the levels below."""
        number, below = len(self.levels), self.levels[-1] if self.levels else self.input_layer
        label = f"level {number}"
        if not isinstance(level, MemoryLayer):
            if not callable(level):
                self._fail(
                    f"{label} must be a function or a memory layer, not {level!r}", TypeError
                )
            level = level(self.input_shape if below is None else below, self.memory)
            if not isinstance(level, MemoryLayer):
                self._fail(
                    f"the function of {label} must give a memory layer, not {level!r}", TypeError
                )
        label = f"{label}, {describe(type(level).__name__, level.name)},"
        if isinstance(level, SharedMemoryLayer):
            self._fail(f"{label} has levels itself; list them one by one")
        if level.input_layer is not below or level.input_shape[1:] != self._shape_below()[1:]:
            wanted = "the layer's input" if number == 0 else f"level {number - 1}"
            self._fail(f"{label} must stand on {wanted}, not on {level.input_layer!r}")
        for name, default in LOOP_DEFAULTS.items():
            is_given = level.has_mask if name == "mask_input" else getattr(level, name) != default
            if is_given:
                self._fail(f"{label} has an option {name}; give it to the {type(self).__name__}")
        if level.memory is not self.memory:
            self._fail(
                f"{label} must be made from this layer's memory, {self.memory.memory_shape}, which is to be a "
                f"Memory that is given to all, not from another, {level.memory.memory_shape}"
            )
        if number and type(level) is not type(self.levels[0]):
            self._fail(
                f"the levels must be of one kind, but level 0 is a {type(self.levels[0]).__name__} and "
                f"level {number} a {type(level).__name__}"
            )
        if number:
            self._check_state(label, level)
        return level

    def _shape_below(self) -> tuple[int | None, ...]:
        """Return the shape of the input of the level that is made next."""
        return self.levels[-1].output_shape if self.levels else self.input_shape

    def _check_state(self, label: str, level: MemoryLayer) -> None:
        """Raise a `ValueError` if a level cannot continue from the state of the memory that the first level left."""
        states = [each.make_state_variables() for each in (self.levels[0], level)]
        for name in _list_shared(states[0]):
            expected, given = (getattr(state, name).type.shape for state in states)
            if expected != given:
                self._fail(
                    f"{label} has {name} of shape {given}, but level 0 of shape {expected}; levels that share these "
                    "must have the same numbers of heads and of slots read"
                )
        first = self.levels[0]
        if (
            isinstance(level, SparseMemoryLayer)
            and isinstance(first, SparseMemoryLayer)
            and not level.search.goes_on_from(first.search)
        ):
            self._fail(
                f"{label} finds slots by an index of its own; give all levels one HyperplaneIndex"
            )

    @staticmethod
    def _find_own(level: MemoryLayer) -> list[bool]:
        """Return, for each part that a level hands to the loop, whether it is the level's own and not the memory's."""
        state = level.make_state_variables()
        memory_parts = {getattr(state, name) for name in _list_shared(state)}
        return [memory_parts.isdisjoint(ancestors([part])) for part in level._pack(state)]

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
        """Return the parameters of the levels in their order; those of the memory come with the first level."""
        params: list[Any] = []
        for level in self.levels:
            params += level.get_params(unwrap_shared=unwrap_shared, **tags)
        return list(dict.fromkeys(params))

    def get_parts(self) -> list[tuple[str, Layer]]:
        """Return the memory and the levels, each with what it is."""
        return [("memory", self.memory), *(("level", level) for level in self.levels)]

    def get_arguments(self) -> dict[str, Any]:
        """Return what the layer is made from, with the memory and the levels that were made."""
        return super().get_arguments() | {"levels": self.levels}

    # ---- state

    def split_state(self, state: Any) -> list[Any]:
        """Return the state of each level.

        Parameters
        ----------
        state : MemoryState
            A state of this layer, or its traces (T, B, ...).

        Returns
        -------
        list of MemoryState, of the kind of the levels
            The parts of the memory are the same in all.
        """
        states: list = []
        starts = dict.fromkeys(state.own_parts, 0)
        for level in self.levels:
            own = {}
            for name in set(state.own_parts) & set(state._fields):
                start = starts[name]
                starts[name] = end = start + self._count(level, name)
                part = getattr(state, name)
                own[name] = part[start:end] if name == "controller" else part[..., start:end, :]
            states.append(state._replace(**own))
        return states

    @staticmethod
    def _count(level: MemoryLayer, name: str) -> int:
        """Return the number of controller states, write heads or read heads of a level."""
        if name == "controller":
            return len(level.controller.outputs_info(1))
        return level.num_writes if name == "write_weights" else level.num_reads

    @staticmethod
    def _join_states(states: list[Any]) -> Any:
        """Return the state of this layer from those of the levels; the memory's parts are those of the last level."""
        own = {}
        for name in set(states[0].own_parts) & set(states[0]._fields):
            parts = [getattr(state, name) for state in states]
            own[name] = sum(parts, ()) if name == "controller" else _join(parts, -2)
        return states[-1]._replace(**own)

    def _make_initial_state(self, batch_size: TensorLike) -> Any:
        return self._join_states([level._make_initial_state(batch_size) for level in self.levels])

    def _pack(self, state: Any) -> list[Tensor]:
        """Return the levels' own parts, level by level, then the parts of the memory."""
        parts = []
        for level, are_own, each in zip(
            self.levels, self._are_own, self.split_state(state), strict=True
        ):
            own, memory_parts = _divide(level._pack(each), are_own)
            parts += own
        return parts + memory_parts

    def _unpack(self, parts: Sequence[Tensor]) -> Any:
        """Return the state from parts as :meth:`_pack` lists them."""
        own, memory_parts = self._take_apart(parts)
        return self._join_states(
            [self._unpack_level(k, own[k], memory_parts) for k in range(len(self.levels))]
        )

    def _take_apart(self, parts: Sequence[Tensor]) -> tuple[list[list[Tensor]], list[Tensor]]:
        """Split parts into the own parts of each level, and the parts of the memory."""
        parts, own = list(parts), []
        for are_own in self._are_own:
            count = sum(are_own)
            own.append(parts[:count])
            parts = parts[count:]
        return own, parts

    def _unpack_level(self, number: int, own: list[Tensor], memory_parts: list[Tensor]) -> Any:
        """Return the state of a level from its own parts and the parts of the memory."""
        return self.levels[number]._unpack(_merge(own, memory_parts, self._are_own[number]))

    # ---- a step

    def _fuse(self) -> list[Any]:
        return [level._fuse() for level in self.levels]

    def _project(self, x: Tensor, fused: list[Any]) -> Tensor:
        return self.levels[0]._project(x, fused[0])

    def _step(
        self,
        projected: Tensor,
        before: Sequence[Tensor],
        mask: Tensor | None,
        fused: list[Any],
        advance: Callable[..., list[Tensor]],
    ) -> list[Tensor]:
        """Advance a step; where the mask is zero, each level itself leaves its parts alone."""
        return advance(projected, before, fused, mask=mask)

    def _advance(
        self,
        projected: Tensor,
        parts: Sequence[Tensor],
        fused: list[Any],
        use_memory: bool,
        kwargs: dict[str, Any],
        mask: Tensor | None = None,
    ) -> list[Tensor]:
        pairs = self._run_levels(projected, parts, fused, use_memory, kwargs, mask)
        return self._join_pairs(pairs)

    def _run_levels(
        self,
        projected: Tensor,
        parts: Sequence[Tensor],
        fused: list[Any],
        use_memory: bool,
        kwargs: dict[str, Any],
        mask: Tensor | None,
    ) -> list[Pair]:
        """Return the parts of each level before its step and after it."""
        own, memory_parts = self._take_apart(parts)
        pairs: list[Pair] = []
        for k, (level, are_own) in enumerate(zip(self.levels, self._are_own, strict=True)):
            if k:
                below = self.levels[k - 1]
                state = self._unpack_level(k - 1, own[k - 1], memory_parts)
                projected = level._project(below.get_output_of(state), fused[k])

            def advance(*args: Any, level: MemoryLayer = level, **options: Any) -> list[Tensor]:
                options |= {"use_memory": use_memory, "kwargs": kwargs}
                return level._advance(*args, **options)

            before = _merge(own[k], memory_parts, are_own)
            after = level._step(projected, before, mask, fused[k], advance)
            own[k], memory_parts = _divide(after, are_own)
            pairs.append((before, after))
        return pairs

    def _join_pairs(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Return the parts after all levels, from those before and after each."""
        divided = [
            _divide(after, are_own)
            for (_, after), are_own in zip(pairs, self._are_own, strict=True)
        ]
        return [part for own, _ in divided for part in own] + divided[-1][1]

    # ---- what a step shows

    @property
    def trace_sizes(self) -> dict[str, int]:
        """How many numbers arrays of all levels have at each step, of those that may be large."""
        sizes = self.levels[0].trace_sizes
        return {name: size * len(self.levels) for name, size in sizes.items()}

    def _step_in_pairs(
        self,
        projected: Tensor,
        before: Sequence[Tensor],
        mask: Tensor | None,
        fused: list[Any],
        advance: Callable[..., list[Tensor]],
    ) -> tuple[list[Tensor], Sequence[Pair]]:
        assert isinstance(advance, partial)  # see `get_output_for`
        pairs = self._run_levels(projected, before, fused, mask=mask, **advance.keywords)
        return self._join_pairs(pairs), pairs

    def _pair_before(self, before: Sequence[Tensor]) -> Sequence[Pair]:
        own, memory_parts = self._take_apart(before)
        merged = [
            _merge(each, memory_parts, are_own)
            for each, are_own in zip(own, self._are_own, strict=True)
        ]
        return [(parts, parts) for parts in merged]

    def _see(self, pairs: Sequence[Pair], keep_all: bool) -> dict[str, Tensor]:
        """Return what each level shows, and the parts of the memory after each level but the last."""
        seen: dict[str, Tensor] = {}
        for k, (level, are_own, pair) in enumerate(
            zip(self.levels, self._are_own, pairs, strict=True)
        ):
            watched = level._watch(*pair)
            seen |= {f"{k} {name}": value for name, value in watched.items()}
            if k < len(self.levels) - 1:
                memory_parts = _divide(pair[1], are_own)[1]
                if not keep_all:
                    memory_parts = memory_parts[: len(memory_parts) - self.num_large]
                seen |= {f"{k} part {n}": part for n, part in enumerate(memory_parts)}
        return seen

    def _list_level_parts(
        self, parts: Sequence[Tensor], seen: Mapping[str, Tensor]
    ) -> list[list[Tensor]]:
        """Return the traces of the parts of each level; where one was not kept, that of the last level."""
        own, last = self._take_apart(parts)
        listed = []
        for k, are_own in enumerate(self._are_own):
            memory_parts = [seen.get(f"{k} part {n}", part) for n, part in enumerate(last)]
            listed.append(_merge(own[k], memory_parts, are_own))
        return listed

    def _list_traces(
        self, parts: Sequence[Tensor], seen: Mapping[str, Tensor], leave_out: Collection[str]
    ) -> list[Trace]:
        traces = []
        for k, level in enumerate(self.levels):
            state = level._unpack(self._list_level_parts(parts, seen)[k])
            start = f"{k} "
            own = {
                name.removeprefix(start): value
                for name, value in seen.items()
                if name.startswith(start)
            }
            trace = level._make_trace(state, own, leave_out)
            name = f"{self.name or level.kind}, level {k + 1}"
            traces.append(replace(trace, name=name, backwards=self.backwards))
        return traces

    # ---- output

    @property
    def num_outputs(self) -> int:
        """The size of the last level's output."""
        return self.levels[-1].num_outputs

    def get_output_of(self, state: Any) -> Tensor:
        """Return the last level's output at the step that left a state; from traces (T, B, ...), that of all steps."""
        return self.levels[-1].get_output_of(self.split_state(state)[-1])

    def _list_details(self, parts: Sequence[Tensor], seen: Mapping[str, Tensor]) -> list[Tensor]:
        details = [
            level._get_details(level._unpack(each))
            for level, each in zip(self.levels, self._list_level_parts(parts, seen), strict=True)
        ]
        return [
            _join(traces, _JOINED_DETAILS[name]) if name in _JOINED_DETAILS else traces[-1]
            for name, traces in zip(self.detail_names, zip(*details, strict=True), strict=True)
        ]


def _list_shared(state: Any) -> list[str]:
    """Return the names of the parts of a state that levels share."""
    return [name for name in state._fields if name not in state.own_parts]


def _join(parts: Sequence[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else pt.concatenate(parts, axis=axis)


def _divide(parts: Sequence[Tensor], are_own: list[bool]) -> tuple[list[Tensor], list[Tensor]]:
    """Split the parts of a level into its own and the memory's."""
    own = [part for part, is_own in zip(parts, are_own, strict=True) if is_own]
    return own, [part for part, is_own in zip(parts, are_own, strict=True) if not is_own]


def _merge(own: list[Tensor], memory_parts: list[Tensor], are_own: list[bool]) -> list[Tensor]:
    """Join the own parts of a level and the memory's, in the order of the level."""
    from_own, from_memory = iter(own), iter(memory_parts)
    return [next(from_own) if is_own else next(from_memory) for is_own in are_own]
