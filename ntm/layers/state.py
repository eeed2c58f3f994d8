"""The states of memory layers: what one step hands to the next, and what enters and leaves a network.

Notation: B batch, N slots, M slot width, H controller units, W write heads, R read heads.
"""

from collections import namedtuple
from collections.abc import Iterable
from typing import Any, NamedTuple

from lasagne.layers._states import State
from ntm.arguments import warn_deprecated


class MemoryState(State):
    """The base class of states: a named tuple of parts.

    The part `controller` is a tuple of several; every other part is one tensor, shared variable or array. The parts
    that `own_parts` names belong to one controller and its heads. Where several controllers share a memory
    (`ntm.layers.shared`), each has its own. The other parts belong to the memory.
    """

    __slots__ = ()
    own_parts: tuple[str, ...] = ("controller", "reads")
    controller: tuple

    @property
    def hidden(self) -> Any:
        """The controller's output, (B, H)."""
        return self.controller[0]

    @classmethod
    def label_parts(cls: Any, num_parts: int) -> list[str]:
        """Return the name of each of so many parts, in the order of :meth:`flatten`."""
        names: list[str] = []
        for name in cls._fields:
            names += [name] * (1 if name != "controller" else num_parts - len(cls._fields) + 1)
        return names

    def flatten(self: Any) -> list[Any]:
        """Return the parts in one list, in the order of the attributes."""
        parts: list[Any] = []
        for name in self._fields:
            part = getattr(self, name)
            parts += part if name == "controller" else [part]
        return parts

    @classmethod
    def unflatten(cls: Any, parts: Iterable[Any]) -> Any:
        """Return the state from such a list, for example from the results of a compiled function."""
        parts = list(parts)
        start = cls._fields.index("controller")
        end = start + len(parts) - len(cls._fields) + 1
        return cls(*parts[:start], tuple(parts[start:end]), *parts[end:])


class _NTMParts(NamedTuple):
    memory: Any
    controller: tuple
    write_weights: Any
    read_weights: Any


class NTMState(_NTMParts, MemoryState):
    """The state of an NTM after a step.

    Attributes
    ----------
    memory : (B, N, M)
    controller : tuple of (B, units)
        The state of the controller: the output h first, then the cell of an LSTM.
    write_weights : (B, W, N)
    read_weights : (B, R, N)
    """

    __slots__ = ()
    own_parts = ("controller", "write_weights", "read_weights")


class _DNCParts(NamedTuple):
    memory: Any
    controller: tuple
    write_weights: Any
    read_weights: Any
    reads: Any
    usage: Any
    precedence: Any
    links: Any


class DNCState(_DNCParts, MemoryState):
    """The state of a DNC after a step.

    Attributes
    ----------
    memory : (B, N, M)
    controller : tuple of (B, units)
        The state of the controller: the output h first, then the cell of an LSTM.
    write_weights : (B, W, N)
    read_weights : (B, R, N)
    reads : (B, R, M)
        The read vectors.
    usage : (B, N)
        How much of each slot is in use, from 0 to 1.
    precedence : (B, W, N)
        How much each slot was the last slot that a write head wrote to.
    links : (B, W, N, N)
        ``links[b, w, i, j]`` is how much write head w wrote to slot i just after slot j.
    """

    __slots__ = ()


class _SAMParts(NamedTuple):
    memory: Any
    controller: tuple
    write_weights: Any
    write_positions: Any
    read_weights: Any
    read_positions: Any
    reads: Any
    last_access: Any
    time: Any


class _SparseState(MemoryState):
    """The base class of the states of sparse memories."""

    __slots__ = ()
    last_access: Any

    @property
    def usage(self) -> Any:
        """The old name of `last_access`."""
        kind = type(self).__name__
        warn_deprecated(f"{kind}: usage is now called last_access; the old name still works")
        return self.last_access


class SAMState(_SAMParts, _SparseState):
    """The state of a sparse access memory after a step.

    Each head reads K slots; J = R K + 1 slots are written to. Positions, last access and time are integers.

    Attributes
    ----------
    memory : (B, N, M)
    controller : tuple of (B, units)
        The state of the controller: the output h first, then the cell of an LSTM.
    write_weights, write_positions : (B, J)
        Weights and slots of the last write: the slots read at the step before, then the least recently used slot. A
        slot may come several times.
    read_weights, read_positions : (B, R, K)
        Weights and slots of the last read, the slot most similar to the key first.
    reads : (B, R, M)
        The read vectors.
    last_access : (B, N)
        The step at which each slot was last read or written; zero if it never was.
    time : (B,)
        The number of steps so far that used the memory. Where levels share a memory, the step of each level counts.
    """

    __slots__ = ()


def _extend(parts: Any, *names: str) -> Any:
    """Return a class of named tuples with the parts of another class, and more parts after them."""
    return namedtuple("Parts", (*parts._fields, *names))


_SDNCParts: Any = _extend(
    _SAMParts,
    "precedence",
    "precedence_positions",
    "backward_links",
    "backward_positions",
    "forward_links",
    "forward_positions",
)


class SDNCState(_SDNCParts, _SparseState):
    """The state of a sparse DNC after a step.

    Each head reads K slots by content, K backward and K forward; J = 3 R K + 1 slots are written to. Each slot has L
    links. Positions, last access and time are integers. Precedence and links are sparse: a value of zero stands for no
    entry, whatever its position.

    Attributes
    ----------
    memory : (B, N, M)
    controller : tuple of (B, units)
        The state of the controller: the output h first, then the cell of an LSTM.
    write_weights, write_positions : (B, J)
        Weights and slots of the last write: the slots read at the step before, then the least recently used slot. A
        slot may come several times.
    read_weights, read_positions : (B, R, 3 K)
        Weights and slots of the last read: backward, by content, forward. A slot may come several times.
    reads : (B, R, M)
        The read vectors.
    last_access : (B, N)
        The step at which each slot was last read or written; zero if it never was.
    time : (B,)
        The number of steps so far that used the memory. Where levels share a memory, the step of each level counts.
    precedence, precedence_positions : (B, L)
        How much a slot was the last slot written to, and the number of the slot.
    backward_links, backward_positions : (B, N, L)
        ``backward_links[b, i, k]`` is how much slot i was written to just after slot ``backward_positions[b, i, k]``.
    forward_links, forward_positions : (B, N, L)
        ``forward_links[b, i, k]`` is how much slot i was written to just before slot ``forward_positions[b, i, k]``.
    """

    __slots__ = ()


_INDEX = ("buckets", "recent")
_IndexedSAMParts: Any = _extend(_SAMParts, *_INDEX)
_IndexedSDNCParts: Any = _extend(_SDNCParts, *_INDEX)


class IndexedSAMState(_IndexedSAMParts, _SparseState):
    """The state of a sparse access memory with a :class:`ntm.addressing.nearest.HyperplaneIndex`, after a step.

    Attributes
    ----------
    memory, controller, write_weights, write_positions, read_weights, read_positions, reads, last_access, time
        As in a :class:`SAMState`.
    buckets : (B, L * 2**b, bucket_size + 1)
        The buckets of L tables with b bits: numbers of slots plus one, zero where there is none, and at the end the
        place that is filled next.
    recent : (B, num_recent)
        The slots erased and written anew at the last steps: numbers of slots plus one, zero where there is none.
    """

    __slots__ = ()


class IndexedSDNCState(_IndexedSDNCParts, _SparseState):
    """The state of a sparse DNC with an index: the parts of an :class:`SDNCState`, then those of the index.

    `buckets` and `recent` are as in an :class:`IndexedSAMState`.
    """

    __slots__ = ()
