"""Several controllers with heads of their own, one on another, that share one memory.

Notation: B batch, T time steps, F input features, N slots, M slot width, W write heads, R read heads, H controller
units.
"""

from typing import Unpack

import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from ntm.arguments import describe
from ntm.layers.base import MemoryLayer, keep_where_masked
from ntm.layers.options import LOOP_DEFAULTS, LoopOptions, takes_loop_options
from ntm.layers.sam import SparseMemoryLayer

# Traces of which each level has its own, and along which axis they stand side by side
_JOINED_DETAILS = {
    "hidden": -1,
    "state": -1,
    "write_weights": -2,
    "read_weights": -2,
    "reads": -2,
    "read_positions": -2,
}


class SharedMemoryLayer(MemoryLayer):
    """Memory layers one on another, the levels, that share one memory.

    At each time step the levels run one after another: each takes the output of the level below, and its step goes on
    from the memory as the level below left it. The last level leaves it to the first level's next step. The layer's
    output is that of the last level.

    Each level has its own controller, heads and, in a DNC or SAM, read vectors. The memory's state is one: the memory
    matrix and, in a DNC or SAM, all that tells what was done with it, namely usage, precedence, links, and the weights
    of the last write and the last read, whichever level made them. In an NTM the weights are where each head stands,
    and each level has its own.

    Levels with a memory each are memory layers one on another, and need nothing else.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    levels : list of callable, or of MemoryLayer
        At least one. A function of the incoming layer and the memory to a memory layer, such as
        ``partial(DNCLayer, controller=..., num_reads=2)``, is called with the level below. A layer is to be made on the
        level below, the first on `incoming`, and from `memory`, which is then a :class:`ntm.memory.Memory`. All are of
        one kind: `NTMLayer`, `DNCLayer` or another. But for an NTM, they have the same numbers of heads of each sort,
        and of slots that a head reads.
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
        If there is no level, the levels are of different kinds, have options of the loop, do not stand on each other,
        or do not fit the memory or each other.
    TypeError
        If a level is neither a function to a memory layer nor such a layer.

    Notes
    -----
    The state is that of a level, such as :class:`ntm.layers.DNCState`. In it, all levels' controller states stand one
    after another in `controller`, and all levels' read vectors, (B, L * R, M) for L levels, in `reads`; in an NTM, the
    weights of all levels' heads. :meth:`split_state` gives the state of each level.

    With ``get_details=True``, the traces of hidden, state, weights, read vectors and positions are those of all levels
    side by side: along units, or along heads. The others are what the last level left at each time step.

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
        incoming,
        memory,
        levels,
        **options: Unpack[LoopOptions],
    ):
        self.levels = levels
        super().__init__(
            incoming,
            memory,
            controller=None,
            heads=None,
            **options,
        )

    # ---- construction

    def _make_parts(self, controller, heads):
        """The levels, in place of one controller and its heads."""
        given = self.levels
        if not isinstance(given, list | tuple):
            self._fail(
                f"levels must be a list of functions or memory layers, not {given!r}", TypeError
            )
        if not given:
            self._fail("at least one level is needed, and the list of levels is empty")
        self.levels = []
        for each in given:
            self.levels.append(self._make_level(each))
        self.detail_names = self.levels[0].detail_names
        self.num_large = self.levels[0].num_large
        for level in self.levels:
            self.get_output_kwargs = [*self.get_output_kwargs, *level.get_output_kwargs]
        # Of the parts that a level hands to the loop, which are its own
        self._are_own = [self._find_own(level) for level in self.levels]

    def _make_level(self, level):
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

    def _shape_below(self):
        return self.levels[-1].output_shape if self.levels else self.input_shape

    def _check_state(self, label, level):
        """Raise a `ValueError` if a level cannot go on from the memory's state that the first level left."""
        first, state = (each.make_state_variables() for each in (self.levels[0], level))
        for name in _list_shared(state):
            expected, given = (getattr(each, name).type.shape for each in (first, state))
            if expected != given:
                self._fail(
                    f"{label} has {name} of shape {given}, but level 0 of shape {expected}; levels that share these "
                    "must have the same numbers of heads and of slots read"
                )
        if isinstance(level, SparseMemoryLayer) and not level.search.goes_on_from(
            self.levels[0].search
        ):
            self._fail(
                f"{label} finds slots by an index of its own; give all levels one HyperplaneIndex"
            )

    @staticmethod
    def _find_own(level):
        """For each part that a level hands to the loop, whether it is its own; the memory's parts are the others."""
        state = level.make_state_variables()
        memory_parts = {getattr(state, name) for name in _list_shared(state)}
        return [memory_parts.isdisjoint(ancestors([part])) for part in level._pack(state)]

    def get_params(self, unwrap_shared=True, **tags):
        """Parameters of the levels in their order, those of the memory with the first."""
        params = []
        for level in self.levels:
            params += level.get_params(unwrap_shared=unwrap_shared, **tags)
        return list(dict.fromkeys(params))

    def get_arguments(self):
        """As in `lasagne.layers.Layer`, with the memory and the levels that were made."""
        return super().get_arguments() | {"levels": self.levels}

    # ---- state

    def split_state(self, state):
        """The state of each level.

        Parameters
        ----------
        state : MemoryState
            Of this layer, or traces of it (T, B, ...).

        Returns
        -------
        list of MemoryState, of the level's kind
            The memory's parts are the same in all.
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
    def _count(level, name):
        """How many controller states, write heads or read heads a level has."""
        if name == "controller":
            return len(level.controller.outputs_info(1))
        return level.num_writes if name == "write_weights" else level.num_reads

    @staticmethod
    def _join_states(states):
        """The state of this layer from those of the levels, the memory's parts from the last."""
        own = {}
        for name in set(states[0].own_parts) & set(states[0]._fields):
            parts = [getattr(state, name) for state in states]
            own[name] = sum(parts, ()) if name == "controller" else _join(parts, -2)
        return states[-1]._replace(**own)

    def _make_initial_state(self, batch_size):
        return self._join_states([level._make_initial_state(batch_size) for level in self.levels])

    def _pack(self, state):
        """The levels' own parts, level by level, then the memory's."""
        parts = []
        for level, are_own, each in zip(
            self.levels, self._are_own, self.split_state(state), strict=True
        ):
            own, memory_parts = _divide(level._pack(each), are_own)
            parts += own
        return parts + memory_parts

    def _unpack(self, parts):
        """From parts as from :meth:`_pack`; what follows them is left out."""
        own, memory_parts, _ = self._take_apart(parts)
        return self._join_states(
            [self._unpack_level(k, own[k], memory_parts) for k in range(len(self.levels))]
        )

    def _take_apart(self, parts):
        """The own parts of each level, the memory's, and what follows."""
        parts, own = list(parts), []
        for are_own in self._are_own:
            count = sum(are_own)
            own.append(parts[:count])
            parts = parts[count:]
        count = self._are_own[0].count(False)
        return own, parts[:count], parts[count:]

    def _unpack_level(self, number, own, memory_parts):
        """The state of a level from its own parts and the memory's."""
        return self.levels[number]._unpack(_merge(own, memory_parts, self._are_own[number]))

    # ---- a step

    def _fuse(self):
        return [level._fuse() for level in self.levels]

    def _project(self, x, fused):
        return self.levels[0]._project(x, fused[0])

    def _step(self, projected, before, mask, fused, advance):
        """As in the base class; where the mask is zero, each level leaves alone what it was given."""
        return advance(projected, before, fused, mask=mask)

    def _advance(self, projected, parts, fused, use_memory, kwargs, mask=None):
        """The parts after all levels; where there are more than those of a state, then the memory's after each level.

        These are those after the first, the second, ..., the last but one.
        """
        own, memory_parts, more = self._take_apart(parts)
        between = []
        for k, (level, are_own) in enumerate(zip(self.levels, self._are_own, strict=True)):
            if k:
                below = self.levels[k - 1]
                state = self._unpack_level(k - 1, own[k - 1], memory_parts)
                projected = level._project(below.get_output_of(state), fused[k])
                between += memory_parts

            def advance(*args, level=level, **options):
                return level._advance(*args, use_memory=use_memory, kwargs=kwargs, **options)

            before = _merge(own[k], memory_parts, are_own)
            after = level._step(projected, before, mask, fused[k], advance)
            own[k], memory_parts = _divide(after, are_own)
        after = [part for each in own for part in each] + memory_parts
        if more:
            # For the traces: where the mask is zero, the levels leave what they left before
            after += keep_where_masked(mask, between, more)
        return after

    def _loop(self, step, sequences, parts, keep_all):
        if keep_all:
            # What each level but the last leaves of the memory's state, for the traces
            parts = parts + (len(self.levels) - 1) * self._take_apart(parts)[1]
        return super()._loop(step, sequences, parts, keep_all)

    # ---- output

    @property
    def num_outputs(self):
        """Those of the last level."""
        return self.levels[-1].num_outputs

    def get_output_of(self, state):
        """The last level's output of the step that left a state; of traces (T, B, ...), those of all steps."""
        return self.levels[-1].get_output_of(self.split_state(state)[-1])

    def _list_details(self, parts):
        own, last, between = self._take_apart(parts)
        details = []
        for k, level in enumerate(self.levels):
            memory_parts, between = between[: len(last)] or last, between[len(last) :]
            details.append(level._get_details(self._unpack_level(k, own[k], memory_parts)))
        return [
            _join(traces, _JOINED_DETAILS[name]) if name in _JOINED_DETAILS else traces[-1]
            for name, traces in zip(self.detail_names, zip(*details, strict=True), strict=True)
        ]


def _list_shared(state):
    """The names of the parts of a state that levels share."""
    return [name for name in state._fields if name not in state.own_parts]


def _join(parts, axis):
    return parts[0] if len(parts) == 1 else pt.concatenate(parts, axis=axis)


def _divide(parts, are_own):
    """A level's own parts and the memory's."""
    own = [part for part, is_own in zip(parts, are_own, strict=True) if is_own]
    return own, [part for part, is_own in zip(parts, are_own, strict=True) if not is_own]


def _merge(own, memory_parts, are_own):
    """The parts of a level from its own and the memory's."""
    own, memory_parts = iter(own), iter(memory_parts)
    return [next(own) if is_own else next(memory_parts) for is_own in are_own]
