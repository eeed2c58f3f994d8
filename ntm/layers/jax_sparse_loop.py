"""How JAX runs and differentiates a `ntm.layers.sparse_loop.SparseLoop`.

The residuals of a step are its small states, the positions of slots, and the rows that the step overwrote. On the way
back, the gradient holds the memory as it was after the step, and the gradient of that memory. It reads the rows of the
step again, puts the old rows back, and takes the gradient of the step. So it needs two memories, whatever the number of
steps, and a few rows for each step, and a step touches only these rows of the memories.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lasagne.backends.jax_dispatch import convert_graph
from lasagne.backends.jax_loop import (
    ForwardLoop,
    choose_backward,
    choose_forward,
    shift_back,
    split_inputs,
)
from lasagne.utils import is_float
from ntm.addressing.jax_rows import (
    add_to_rows,
    gather_rows_at_once,
    let_depend,
    scatter_rows,
    sum_duplicate_rows,
)
from ntm.layers.sparse_loop import SparseLoop


class SparseResiduals(NamedTuple):
    """What the gradient needs of the forward loop.

    Attributes
    ----------
    before : list of arrays (T, ...)
        The small states before each step.
    last : list of arrays
        The small states after the last step.
    old : list of arrays (T, B, J, M)
        For each write of a step, the rows that it overwrote.
    picked : list of arrays (T, ...)
        The values without a gradient that each step took from memory and stores: see
        :class:`ntm.layers.sparse_loop.StepParts`.
    memory : array (B, N, M)
        The memory after the last step.
    """

    before: list
    last: list
    old: list
    picked: list
    memory: Any


class SparseForwardLoop(ForwardLoop):
    """A sparse loop as a function of JAX arrays."""

    def __init__(self, op: SparseLoop, kwargs: dict[str, Any]) -> None:
        super().__init__(op, kwargs)
        parts = op.take_apart()
        self._num_writes = len(parts.writes)
        self._keeping_step = convert_graph(parts.forward, kwargs)

    def run_with_residuals(
        self, inputs: list[Any], needed: Collection[int]
    ) -> tuple[list[Any], SparseResiduals]:
        """Run the loop for its gradient: return the outputs and the residuals."""
        op = self._op
        sequences, carry, constants = split_inputs(op, inputs)
        count, end = op.num_states, op.num_states + op.num_carried

        def one_step(carry: list[Any], slices: list[Any]) -> tuple[Any, Any]:
            results = list(self._keeping_step(*slices, *carry, *constants))
            old, picked = results[end : end + self._num_writes], results[end + self._num_writes :]
            return results[:end], (carry[:count], old, picked)

        carry, (before, old, picked) = jax.lax.scan(one_step, carry, sequences)
        last, memory = carry[:count], carry[count]
        outputs = [*shift_back(before, last), *carry[count:]]
        return outputs, SparseResiduals(before, last, old, picked, memory)


def _pull_back_rows(
    memory_grad: jax.Array,
    places: Sequence[jax.Array],
    row_grads: Sequence[jax.Array],
    positions: jax.Array,
    erases: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return the gradient of the memory before a write from that after it, where rows are read after the write.

    Parameters
    ----------
    memory_grad : array (B, N, M)
    places, row_grads : lists of arrays (B, P) and (B, P, M)
        The positions of the rows read, and the gradients with respect to these rows.
    positions, erases : arrays (B, J) and (B,)
        The positions of the write, and whether the row at the last of them was erased.

    Returns
    -------
    memory_grad : array (B, N, M)
    added_grad : array (B, J, M)
        The gradient with respect to the rows added.
    """
    touched = jnp.concatenate([*places, positions], axis=1)
    unread = jnp.zeros((*positions.shape, memory_grad.shape[2]), memory_grad.dtype)
    (old,) = gather_rows_at_once(memory_grad, [touched])
    rows = old + sum_duplicate_rows(touched, jnp.concatenate([*row_grads, unread], axis=1))
    added_grad = rows[:, rows.shape[1] - positions.shape[1] :]
    erased = erases[:, None] & (touched == positions[:, -1:])
    rows = let_depend(jnp.where(erased[:, :, None], 0, rows), [old])
    return scatter_rows(memory_grad, touched, rows), added_grad


class SparseBackwardLoop:
    """The gradient of a sparse loop as a function of JAX arrays.

    Parameters
    ----------
    op : SparseLoop
    wrt : list of int
        The inputs of the loop that the gradient is taken with respect to.
    connected : list of int
        The outputs of the loop that there are gradients for.
    kwargs : dict
        What PyTensor hands to its conversions.
    """

    def __init__(
        self, op: SparseLoop, wrt: list[int], connected: list[int], kwargs: dict[str, Any]
    ) -> None:
        self._op = op
        self._wrt = wrt
        self._connected = connected
        self._first_state = op.num_sequences
        self._memory = op.num_sequences + op.num_states
        self._first_constant = self._memory + op.num_carried
        parts = op.take_apart()
        variables = op.fgraph.inputs
        self._states = [k for k in range(self._first_state, self._memory) if is_float(variables[k])]
        self._slices = [k for k in wrt if k < self._first_state]
        self._constants = [k for k in wrt if k >= self._first_constant]
        self._reads, self._writes = parts.reads, parts.writes
        self._step = convert_graph(parts.smooth, kwargs)

    def __call__(
        self, inputs: list[Any], residuals: SparseResiduals, output_grads: list[Any]
    ) -> list[Any]:
        """Return the gradients with respect to the inputs `wrt`, a list.

        Parameters
        ----------
        inputs : list
            Of the loop.
        residuals : SparseResiduals
        output_grads : list
            For the outputs `connected`.
        """
        op = self._op
        sequences, carry, constants = split_inputs(op, inputs)
        given = dict(zip(self._connected, output_grads, strict=True))
        memory_grad = given.get(op.num_states, jnp.zeros_like(residuals.memory))
        trace_grads = {
            k: given[k - self._first_state] for k in self._states if k - self._first_state in given
        }
        state_grads = {k: jnp.zeros_like(carry[k - self._first_state]) for k in self._states}
        constant_grads = {k: jnp.zeros_like(inputs[k]) for k in self._constants}

        def step_back(sums: tuple[Any, ...], items: tuple[Any, ...]) -> tuple[Any, Any]:
            memory, memory_grad, state_grads, constant_grads = sums
            slices, before, old, picked, trace_grads = items
            state_grads = {k: v + trace_grads.get(k, 0) for k, v in state_grads.items()}
            values = [*slices, *before, *carry[op.num_states :], *constants]
            rows, memory = self._undo(memory, old, picked)
            varying = {k: values[k] for k in (*self._slices, *self._states, *self._constants)}

            def run(varying: dict[int, Any], rows: list[Any]) -> tuple[Any, Any]:
                arguments = [varying.get(k, value) for k, value in enumerate(values)]
                results = self._step(*arguments, *picked, *rows)
                after, added = results[: len(self._states)], results[len(self._states) :]
                return dict(zip(self._states, after, strict=True)), list(added)

            (_, added), pull_back = jax.vjp(run, varying, rows)
            added_grads = [jnp.zeros_like(each) for each in added]
            for k in range(len(self._writes), -1, -1):
                # Rows read after k writes are in the states and in what later writes add, whose gradients are known
                reads = self._find_reads(k)
                places = [picked[self._reads[number].positions] for number in reads]
                row_grads = pull_back((state_grads, added_grads))[1] if reads else []
                row_grads = [row_grads[number] for number in reads]
                if k:
                    write = self._writes[k - 1]
                    memory_grad, added_grads[k - 1] = _pull_back_rows(
                        memory_grad,
                        places,
                        row_grads,
                        picked[write.positions],
                        picked[write.erases],
                    )
                else:
                    for each, grad in zip(places, row_grads, strict=True):
                        memory_grad, _ = add_to_rows(memory_grad, each, grad)
            grads = pull_back((state_grads, added_grads))[0]
            state_grads = {k: grads[k] for k in self._states}
            constant_grads = {k: v + grads[k] for k, v in constant_grads.items()}
            return (memory, memory_grad, state_grads, constant_grads), {
                k: grads[k] for k in self._slices
            }

        sums = (residuals.memory, memory_grad, state_grads, constant_grads)
        items = (sequences, residuals.before, residuals.old, residuals.picked, trace_grads)
        sums, slice_grads = jax.lax.scan(step_back, sums, items, reverse=True)
        _, memory_grad, state_grads, constant_grads = sums
        if op.backwards:
            slice_grads = {k: grad[::-1] for k, grad in slice_grads.items()}
        grads = {**state_grads, **constant_grads, **slice_grads, self._memory: memory_grad}
        # The stores have no gradient
        return [grads[k] if k in grads else jnp.zeros_like(inputs[k]) for k in self._wrt]

    def _find_reads(self, num_writes: int) -> list[int]:
        """Return the numbers of the reads that come after so many writes."""
        return [k for k, read in enumerate(self._reads) if read.num_writes == num_writes]

    def _undo(
        self, memory: jax.Array, old: list[Any], picked: list[Any]
    ) -> tuple[list[Any], jax.Array]:
        """Return the rows of each read of a step and the memory before the step, from the memory after it."""
        rows: list[Any] = [None] * len(self._reads)
        for k in range(len(self._writes), -1, -1):
            reads = self._find_reads(k)
            places = [picked[self._reads[number].positions] for number in reads]
            found = gather_rows_at_once(memory, places)
            for number, each in zip(reads, found, strict=True):
                rows[number] = each
            if k:
                values = let_depend(old[k - 1], found)
                memory = scatter_rows(memory, picked[self._writes[k - 1].positions], values)
        return rows, memory


@choose_forward.register(SparseLoop)
def _choose_forward(op: SparseLoop) -> type[SparseForwardLoop]:
    return SparseForwardLoop


@choose_backward.register(SparseLoop)
def _choose_backward(op: SparseLoop) -> type[SparseBackwardLoop]:
    return SparseBackwardLoop
