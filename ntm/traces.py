"""What a memory layer did with one sequence, step by step.

:func:`ntm.look_inside` makes traces; pictures and pages draw them.

Notation: T time steps, N slots, M slot width, W write and R read heads, S shifts, K slots of a sparse head, L links of
a slot, H controller units.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ntm.typing import Array

__all__ = ["HeadTrace", "Trace"]


@dataclass(frozen=True, repr=False)
class HeadTrace:
    """What one head did with a sequence.

    Attributes
    ----------
    name : str
        Such as ``"write"`` or ``"read 1"``, another one for each head of a layer.
    writes : bool
        Whether the head writes; else the head reads.
    weights : array (T, N) or (T, K)
        The weights that each step computed. Of a head of a SAM or SDNC, the weights of `positions` only.
    used : array (T, N) or (T, K)
        The weights with which each step wrote or read. An NTM uses weights one step after they were computed, so there
        row t is row t - 1 of `weights`. In all other memories both are the same.
    positions : array (T, K) of int, or None
        The slots of the weights of a head of a SAM or SDNC. A slot may come several times.
    parameters : dict from str to array (T, ...)
        What the head told the memory, by the field's names, each (T,) or (T, size).

        - NTM: ``key``, ``key strength``, ``gate``, ``shift`` (T, S), ``sharpness``; a write head also ``erase`` and
          ``add``.
        - DNC: ``key``, ``key strength``; a write head also ``erase``, ``add``, ``allocation gate``, ``write gate``; a
          read head also ``free gate`` and ``read modes`` (T, 1 + 2 W): backward, content, forward.
        - SAM, SDNC: a read head ``key``, ``key strength`` and, in an SDNC, ``read modes`` (T, 3); a write head ``add``,
          ``write gate``, ``interpolation gate``.
    results : dict from str to array (T, ...)
        What came of it, by name.

        - A read head: ``read vector`` (T, M).
        - A head of a SAM or SDNC: ``age`` (T, K), how many steps before each of `positions` was last read or written.
        - The write head of an SDNC: ``backward links``, ``backward positions``, ``forward links`` and
          ``forward positions`` (T, K, L), the links of `positions` after the step.
    """

    name: str
    writes: bool
    weights: Array
    used: Array
    positions: Array | None = None
    parameters: dict[str, Array] = field(default_factory=dict)
    results: dict[str, Array] = field(default_factory=dict)

    def __repr__(self) -> str:
        # While the trace is computed, the weights are expressions
        steps, slots = self.weights.shape[0], self.weights.shape[-1]
        what = "slots" if self.positions is None else "slots at each step"
        return f"<HeadTrace {self.name!r}: {steps} steps, {slots} {what}>"

    def spread(self, slots: Array) -> Array:
        """Return the weights (T, n) with which each step used some slots.

        Parameters
        ----------
        slots : array (n,) of int
            Numbers of slots, in any order, each once.

        Returns
        -------
        array (T, n)
            Where a slot comes several times in `positions`, the sum of its weights.
        """
        weights = np.asarray(self.used, float)
        if self.positions is None:
            return weights[:, slots]
        order = np.argsort(slots)
        places = np.searchsorted(slots, self.positions, sorter=order).clip(max=len(slots) - 1)
        columns = order[places]
        shown = slots[columns] == self.positions
        steps = np.broadcast_to(np.arange(len(weights))[:, None], columns.shape)
        spread = np.zeros((len(weights), len(slots)))
        np.add.at(spread, (steps[shown], columns[shown]), weights[shown])
        return spread

    def map(self, function: Callable[[Any], Any]) -> "HeadTrace":
        """Return the trace with a function applied to each array."""
        return replace(
            self,
            weights=function(self.weights),
            used=function(self.used),
            positions=None if self.positions is None else function(self.positions),
            parameters={name: function(value) for name, value in self.parameters.items()},
            results={name: function(value) for name, value in self.results.items()},
        )


@dataclass(frozen=True, repr=False)
class Trace:
    """What a memory layer did with a sequence.

    Row t of each array is what step t left, in the order of the input. Where `mask` is false, the step left the state
    as it was.

    Attributes
    ----------
    kind : str
        ``"NTM"``, ``"DNC"``, ``"SAM"`` or ``"SDNC"``.
    name : str
        The layer's name for people, another one for each layer of a network.
    num_slots, slot_width : int
        N and M.
    heads : list of HeadTrace
        Those that write, then those that read.
    memory : array (T, N, M) or None
        None where the memories of all steps would be too large.
    states : dict from str to array (T, ...)
        By name.

        - ``controller`` (T, H): the controller's output.
        - DNC: ``usage`` (T, N), ``precedence`` (T, W, N), and ``links`` (T, W, N, N) unless too large; see
          :class:`ntm.layers.DNCState`.
        - SAM, SDNC: ``last access`` (T, N), where `memory` is there: the step at which each slot was last read or
          written, counted from one; zero if it never was.
        - SDNC: ``precedence`` and ``precedence positions`` (T, L), how much a slot was the last slot written to.
    mask : array (T,) of bool, or None
        Which steps a layer with a mask ran.
    backwards : bool
        Whether the steps ran from the last to the first.
    notes : tuple of str
        What was left out, and why.
    """

    kind: str
    name: str
    num_slots: int
    slot_width: int
    heads: list[HeadTrace]
    memory: Array | None = None
    states: dict[str, Array] = field(default_factory=dict)
    mask: Array | None = None
    backwards: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<Trace of {self.kind} {self.name!r}: {self.heads[0].weights.shape[0]} steps, {self.num_slots} slots of "
            f"width {self.slot_width}, heads {', '.join(repr(head.name) for head in self.heads)}>"
        )

    @property
    def num_steps(self) -> int:
        """T, the number of steps."""
        return len(self.heads[0].weights)

    @property
    def write_heads(self) -> list[HeadTrace]:
        """The heads that write."""
        return [head for head in self.heads if head.writes]

    @property
    def read_heads(self) -> list[HeadTrace]:
        """The heads that read."""
        return [head for head in self.heads if not head.writes]

    @property
    def is_sparse(self) -> bool:
        """Whether the heads have weights of a few slots only."""
        return self.heads[0].positions is not None

    def map(self, function: Callable[[Any], Any]) -> "Trace":
        """Return the trace with a function applied to each array."""
        return replace(
            self,
            heads=[head.map(function) for head in self.heads],
            memory=None if self.memory is None else function(self.memory),
            states={name: function(value) for name, value in self.states.items()},
            mask=None if self.mask is None else function(self.mask),
        )
