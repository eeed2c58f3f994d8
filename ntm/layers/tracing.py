"""How a memory layer shows what its heads and its memory do: the traces of :func:`ntm.look_inside`, as expressions.

Notation: B batch, T time steps, N slots, M slot width, H controller units.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from ntm.memory import Memory
from ntm.traces import HeadTrace, Trace
from ntm.typing import Tensor

#: The parts in the loop before a step and after it
Pair: TypeAlias = tuple[Sequence[Tensor], Sequence[Tensor]]


class TracedLayer:
    """The part of a memory layer that shows what its steps do.

    What a head told the memory follows from the controller's output, and the state of a step is in the loop. Of what is
    in neither, :meth:`_watch` makes tensors in the step itself.
    """

    #: What a :class:`ntm.traces.Trace` calls layers of this kind
    kind = "memory"
    write_head_type: type
    read_head_type: type
    name: str | None
    memory: Memory
    heads: list[Any]
    num_writes: int
    num_reads: int
    backwards: bool

    def _unpack(self, parts: Sequence[Tensor]) -> Any:
        raise NotImplementedError

    def _step(
        self,
        projected: Tensor,
        before: Sequence[Tensor],
        mask: Tensor | None,
        fused: list[Any],
        advance: Callable[..., list[Tensor]],
    ) -> list[Tensor]:
        raise NotImplementedError

    @property
    def trace_sizes(self) -> dict[str, int]:
        """How many numbers the arrays of a trace that may be large have at each step."""
        num_slots, width = self.memory.memory_shape
        return {"memory": num_slots * width}

    def _watch(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what is seen of a step besides what it leaves: tensors (B, ...) by name.

        Parameters
        ----------
        before, after : lists of tensors
            The parts in the loop before the step and after it, in the order of :meth:`_pack`.
        """
        return {}

    def _list_traces(
        self, parts: Sequence[Tensor], seen: Mapping[str, Tensor], leave_out: Collection[str]
    ) -> list[Trace]:
        """Return the traces of the layer, of tensors (T, B, ...), from those of the parts in the loop and of `seen`."""
        return [self._make_trace(self._unpack(parts), seen, leave_out)]

    def _make_trace(
        self, state: Any, seen: Mapping[str, Tensor], leave_out: Collection[str]
    ) -> Trace:
        """Return a trace of tensors (T, B, ...)."""
        heads: list[Any] = [each for each in self.heads if isinstance(each, self.write_head_type)]
        heads += [each for each in self.heads if isinstance(each, self.read_head_type)]
        names = _name_heads([head.name for head in heads], self.num_writes)
        hidden = self._limit(state.hidden)
        traces = []
        for k, (head, name) in enumerate(zip(heads, names, strict=True)):
            writes = k < self.num_writes
            number = k if writes else k - self.num_writes
            shown = self._show_head(writes, number, state, seen)
            shown["parameters"] = _over_time(head.get_parameters, hidden)
            traces.append(HeadTrace(name, writes, **shown))
        states: Any = {"controller": state.hidden, **self._show_states(state, seen, leave_out)}
        return Trace(
            self.kind,
            self.name or self.kind,
            *self.memory.memory_shape,
            traces,
            memory=None if "memory" in leave_out else state.memory,
            states=states,
            backwards=self.backwards,
        )

    def _show_head(
        self, writes: bool, number: int, state: Any, seen: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """Return the attributes of a :class:`HeadTrace` besides its parameters, from traces (T, B, ...).

        Parameters
        ----------
        writes : bool
            Whether it is a write head or a read head.
        number : int
            Which of the write heads, or which of the read heads.
        state : MemoryState
        seen : dict from str to tensor
            From :meth:`_watch`.
        """
        weights = (state.write_weights if writes else state.read_weights)[:, :, number]
        return {"weights": weights, "used": weights}

    def _show_states(
        self, state: Any, seen: Mapping[str, Tensor], leave_out: Collection[str]
    ) -> dict[str, Tensor]:
        """Return the `states` of a :class:`Trace` besides the controller, traces (T, B, ...) by name."""
        return {}

    def _limit(self, values: Tensor) -> Tensor:
        """Return the controller's output as the heads see it."""
        return values

    def _step_in_pairs(
        self,
        projected: Tensor,
        before: Sequence[Tensor],
        mask: Tensor | None,
        fused: list[Any],
        advance: Callable[..., list[Tensor]],
    ) -> tuple[list[Tensor], Sequence[Pair]]:
        """Return the parts after a step as :meth:`_step` does, and the parts before and after it."""
        after = self._step(projected, before, mask, fused, advance)
        return after, [(before, after)]

    def _pair_before(self, before: Sequence[Tensor]) -> Sequence[Pair]:
        """Return what :meth:`_step_in_pairs` would, for a step that changes nothing."""
        return [(before, before)]

    def _see(self, pairs: Sequence[Pair], keep_all: bool) -> dict[str, Tensor]:
        """Return what is seen of a step, from the parts before and after it.

        Parameters
        ----------
        pairs : list
            From :meth:`_step_in_pairs`.
        keep_all : bool
            Whether tensors of the size of the memory may be kept for every step.
        """
        ((before, after),) = pairs
        return self._watch(before, after)


def _over_time(
    function: Callable[[Tensor], dict[str, Tensor]], values: Tensor
) -> dict[str, Tensor]:
    """Apply a function of tensors (B, ...) to a trace (T, B, ...): all steps at once."""
    steps, batch, size = values.shape[0], values.shape[1], values.shape[2]
    results = function(values.reshape((steps * batch, size)))
    return {
        name: each.reshape((steps, batch, *(each.shape[k] for k in range(1, each.ndim))))
        for name, each in results.items()
    }


def _name_heads(names: Sequence[str | None], num_writes: int) -> list[str]:
    """Return a name for each head, another one for each: its own, or its number among those that write or read."""
    kinds = ["write" if k < num_writes else "read" for k in range(len(names))]
    numbered = [
        f"{kind} {kinds[: k + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for k, kind in enumerate(kinds)
    ]
    is_own = None not in names and len(set(names)) == len(names)
    return [str(name) for name in names] if is_own else numbered
