"""How JAX runs and differentiates a `ntm.layers.sparse_loop.SparseLoop`.

The gradient keeps, of each step, the small states, the positions of slots, and what the rows held that the step wrote
to. Going back it holds the memory as it was after the step, and the memory's gradient: it reads the rows again, putting
the old rows back, and takes the gradient of the step. So it takes two memories and a few rows a step, whatever the
number of steps, and no step touches more of them than these rows.
"""

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
    """What the gradient needs: the states before each step and after the last, the rows that each write of a step
    overwrote, and what is picked.

    And the memory after the last step.
    """

    before: list
    last: list
    old: list
    picked: list
    memory: Any


class SparseForwardLoop(ForwardLoop):
    """A sparse loop as a function of JAX arrays."""

    def __init__(self, op, kwargs):
        super().__init__(op, kwargs)
        parts = op.take_apart()
        self._num_writes = len(parts.writes)
        self._keeping_step = convert_graph(parts.forward, kwargs)

    def run_and_keep(self, inputs, needed):
        """Run the loop for its gradient: the outputs, and what is residuals."""
        op = self._op
        sequences, carry, constants = split_inputs(op, inputs)
        count, end = op.num_states, op.num_states + op.num_carried

        def one_step(carry, slices):
            results = list(self._keeping_step(*slices, *carry, *constants))
            old, picked = results[end : end + self._num_writes], results[end + self._num_writes :]
            return results[:end], (carry[:count], old, picked)

        carry, (before, old, picked) = jax.lax.scan(one_step, carry, sequences)
        last, memory = carry[:count], carry[count]
        outputs = [*shift_back(before, last), *carry[count:]]
        return outputs, SparseResiduals(before, last, old, picked, memory)


def _pull_back_rows(memory_grad, places, row_grads, positions, erases):
    """The gradient before a write from that after it, where rows are read after the write.

    Parameters
    ----------
    memory_grad : array (B, N, M)
    places, row_grads : lists of arrays (B, P) and (B, P, M)
        The positions of the rows read, and the gradients of these rows.
    positions, erases : arrays (B, J) and (B,)
        Of the write.

    Returns
    -------
    memory_grad : array (B, N, M)
    added_grad : array (B, J, M)
        The gradient of what was added.
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

    def __init__(self, op, wrt, connected, kwargs):
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

    def __call__(self, inputs, residuals, output_grads):
        """The gradients with respect to the inputs `wrt`, a list.

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

        def step_back(sums, items):
            memory, memory_grad, state_grads, constant_grads = sums
            slices, before, old, picked, trace_grads = items
            state_grads = {k: v + trace_grads.get(k, 0) for k, v in state_grads.items()}
            values = [*slices, *before, *carry[op.num_states :], *constants]
            rows, memory = self._undo(memory, old, picked)
            varying = {k: values[k] for k in (*self._slices, *self._states, *self._constants)}

            def run(varying, rows):
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
        # The stores have none
        return [grads[k] if k in grads else jnp.zeros_like(inputs[k]) for k in self._wrt]

    def _find_reads(self, num_writes):
        """The numbers of the reads after so many writes."""
        return [k for k, read in enumerate(self._reads) if read.num_writes == num_writes]

    def _undo(self, memory, old, picked):
        """The rows of each read of a step, and the memory before it, from the memory after it."""
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
def _choose_forward(op):
    return SparseForwardLoop


@choose_backward.register(SparseLoop)
def _choose_backward(op):
    return SparseBackwardLoop
