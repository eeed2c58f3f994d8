"""How JAX runs and differentiates a `ntm.sparse_loop.SparseLoop`.

The gradient keeps, of each step, the small states, the positions of slots, and what the rows held that the step wrote
to. Going back it holds the memory as it was after the step, and the memory's gradient: it reads the rows again, putting
the old rows back, and takes the gradient of the step. So it takes two memories and a few rows a step, whatever the
number of steps, and no step touches more of them than these rows.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from pytensor.link.jax.dispatch.basic import jax_funcify

from lasagne.utils import is_float
from ntm.jax_dispatch import convert_graph
from ntm.jax_loop import ForwardLoop, make_backward, make_forward, shift_back, split_inputs
from ntm.sparse_addressing import TopK
from ntm.sparse_loop import ReadRows, SparseLoop, WriteRows

# ---- Rows of a memory (B, N, M), at positions (B, P)


def _place(memory, positions):
    """Positions among the rows of all memories side by side, (B, P) or (B,)."""
    first = jnp.arange(memory.shape[0], dtype=positions.dtype) * memory.shape[1]
    return positions + first.reshape(-1, *(1,) * (positions.ndim - 1))


def get_rows(memory, positions):
    rows = memory.reshape(-1, memory.shape[2])
    return rows.at[_place(memory, positions)].get(mode="promise_in_bounds")


def get_rows_at_once(memory, positions):
    """The rows at each of some positions, read where this is called and nowhere else.

    XLA changes an array in its place where it sees that whatever reads the array comes before; else it copies the whole
    of it. So what is written must depend on what is read before. On a CPU that is not enough: XLA reads again wherever
    the rows are used, except if they come from an operation that it does not merge with others, such as a choice.
    """

    def read(memory, *positions):
        return [get_rows(memory, each) for each in positions]

    def read_in_a_choice(memory, *positions):
        def leave_zero(memory, *positions):
            return [jnp.zeros((*each.shape, memory.shape[2]), memory.dtype) for each in positions]

        # It is always so, which XLA does not know
        is_valid = positions[0].ravel()[0] >= 0
        return jax.lax.cond(is_valid, read, leave_zero, memory, *positions)

    if not positions or not positions[0].size:
        return read(memory, *positions)
    return jax.lax.platform_dependent(memory, *positions, cpu=read_in_a_choice, default=read)


def _let_depend(values, rows):
    """Values as they are, that depend on rows in a way that XLA does not see through: they are NaN if a row is."""
    for each in rows:
        if each.size:
            values = jnp.where(jnp.isnan(each.ravel()[0]), jnp.nan, values)
    return values


def set_rows(memory, positions, values):
    """A memory with other rows. Where a position comes twice, its values must be the same."""
    rows = memory.reshape(-1, memory.shape[2])
    rows = rows.at[_place(memory, positions)].set(values, mode="promise_in_bounds")
    return rows.reshape(memory.shape)


def add_to_rows(memory, positions, values):
    """Add to rows; to a position that comes twice, twice. Returns the memory and what the rows held before.

    The sums are made here and not by a scatter that adds: it would take its summands in any order on a GPU.
    """
    old = get_rows(memory, positions)
    return set_rows(memory, positions, old + _sum_alike(positions, values)), old


def _sum_alike(positions, values):
    """At each position (B, P) the sum of the values (B, P, M) at all places with this position."""
    same = (positions[:, :, None] == positions[:, None, :]).astype(values.dtype)
    return jnp.matmul(same, values, precision="highest")


@jax_funcify.register(ReadRows)
def _funcify_read_rows(op, **kwargs):
    return get_rows


@jax.custom_vjp
def write_rows(memory, positions, added, erases):
    """The memory with `added` at `positions`, the row at the last of them erased before; and the old rows."""
    old = get_rows(memory, positions)
    erased = erases[:, None] & (positions == positions[:, -1:])
    kept = jnp.where(erased[:, :, None], 0, old)
    return set_rows(memory, positions, kept + _sum_alike(positions, added)), old


def _write_rows_and_keep(memory, positions, added, erases):
    return write_rows(memory, positions, added, erases), (positions, erases)


def pull_back_write(memory_grad, positions, erases):
    """The gradients before a write, of the memory and of what is added, from the memory's gradient after it."""
    added_grad = get_rows(memory_grad, positions)
    last = positions[:, -1:]
    row = jnp.where(erases[:, None, None], 0, added_grad[:, -1:])
    return set_rows(memory_grad, last, row), added_grad


def _write_rows_gradients(kept, grads):
    positions, erases = kept
    memory_grad, added_grad = pull_back_write(grads[0], positions, erases)
    return memory_grad, None, added_grad, None


write_rows.defvjp(_write_rows_and_keep, _write_rows_gradients)


def write_rows_plainly(memory, positions, added, erases):
    """As `write_rows`, of operations whose gradient, and the gradient of that, is JAX's own."""
    last = positions[:, -1:]
    kept = jnp.where(erases[:, None, None], 0, get_rows(memory, last))
    rows = set_rows(memory, last, kept).reshape(-1, memory.shape[2])
    rows = rows.at[_place(memory, positions)].add(added, mode="promise_in_bounds")
    return rows.reshape(memory.shape), get_rows(jax.lax.stop_gradient(memory), positions)


@jax_funcify.register(WriteRows)
def _funcify_write_rows(op, own_gradients=True, **kwargs):
    return write_rows if own_gradients else write_rows_plainly


@jax_funcify.register(TopK)
def _funcify_top_k(op, **kwargs):
    def largest(x):
        if x.shape[-1] <= _FEW:
            return jax.lax.top_k(x, op.count)[1]
        return jax.lax.platform_dependent(
            x,
            cpu=partial(find_largest, count=op.count),
            default=lambda x: jax.lax.top_k(x, op.count)[1],
        )

    return largest


# Up to so many numbers a CPU sorts in less time
_FEW = 768
_BLOCK = 128


def find_largest(x, count):
    """The positions of the largest numbers along the last axis, as `jax.lax.top_k` gives them.

    On a CPU that sorts all of them. Here one pass finds the largest of each block; of the rest, only the blocks in
    which a number is taken are looked at again. NaN is the largest.
    """
    x = jnp.where(jnp.isnan(x), jnp.inf, x)
    length = x.shape[-1]
    blocks = -(-length // _BLOCK)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, blocks * _BLOCK - length)]
    x = jnp.pad(x, padding, constant_values=-jnp.inf).reshape(*x.shape[:-1], blocks, _BLOCK)
    largest = x.max(axis=-1)
    numbers, places = jnp.arange(blocks, dtype="int32"), jnp.arange(_BLOCK, dtype="int32")
    found: list[Any] = []
    for _ in range(count):
        best = largest.max(axis=-1, keepdims=True)
        block = jnp.where(largest == best, numbers, blocks).min(axis=-1, keepdims=True)
        row = jnp.take_along_axis(x, block[..., None], axis=-2)[..., 0, :]
        for each in found:
            row = jnp.where(block * _BLOCK + places == each, -jnp.inf, row)
        place = jnp.where(row == best, places, _BLOCK).min(axis=-1, keepdims=True)
        found.append(block * _BLOCK + place)
        rest = jnp.where(places == place, -jnp.inf, row).max(axis=-1, keepdims=True)
        largest = jnp.where(numbers == block, rest, largest)
    return jnp.concatenate(found, axis=-1)


# ---- The loop


class Kept(NamedTuple):
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
        """Run the loop for its gradient: the outputs, and what is kept."""
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
        return outputs, Kept(before, last, old, picked, memory)


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
    (old,) = get_rows_at_once(memory_grad, [touched])
    rows = old + _sum_alike(touched, jnp.concatenate([*row_grads, unread], axis=1))
    added_grad = rows[:, rows.shape[1] - positions.shape[1] :]
    erased = erases[:, None] & (touched == positions[:, -1:])
    rows = _let_depend(jnp.where(erased[:, :, None], 0, rows), [old])
    return set_rows(memory_grad, touched, rows), added_grad


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

    def __call__(self, inputs, kept, output_grads):
        """The gradients with respect to the inputs `wrt`, a list.

        Parameters
        ----------
        inputs : list
            Of the loop.
        kept : Kept
        output_grads : list
            For the outputs `connected`.
        """
        op = self._op
        sequences, carry, constants = split_inputs(op, inputs)
        given = dict(zip(self._connected, output_grads, strict=True))
        memory_grad = given.get(op.num_states, jnp.zeros_like(kept.memory))
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

        sums = (kept.memory, memory_grad, state_grads, constant_grads)
        items = (sequences, kept.before, kept.old, kept.picked, trace_grads)
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
            found = get_rows_at_once(memory, places)
            for number, each in zip(reads, found, strict=True):
                rows[number] = each
            if k:
                values = _let_depend(old[k - 1], found)
                memory = set_rows(memory, picked[self._writes[k - 1].positions], values)
        return rows, memory


@make_forward.register(SparseLoop)
def _make_sparse_forward(op, kwargs):
    return SparseForwardLoop(op, kwargs)


@make_backward.register(SparseLoop)
def _make_sparse_backward(op, wrt, connected, kwargs):
    return SparseBackwardLoop(op, wrt, connected, kwargs)
