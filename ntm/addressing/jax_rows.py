"""How JAX runs the Ops of `ntm.addressing.rows`: rows of a memory (B, N, M), at positions (B, P)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lasagne.backends.jax_registry import jax_funcify
from ntm.addressing.rows import ReadRows, TopK, WriteRows


def _place(memory, positions):
    """Positions among the rows of all memories side by side, (B, P) or (B,)."""
    first = jnp.arange(memory.shape[0], dtype=positions.dtype) * memory.shape[1]
    return positions + first.reshape(-1, *(1,) * (positions.ndim - 1))


def gather_rows(memory, positions):
    rows = memory.reshape(-1, memory.shape[2])
    return rows.at[_place(memory, positions)].get(mode="promise_in_bounds")


def gather_rows_at_once(memory, positions):
    """The rows at each of some positions, read where this is called and nowhere else.

    XLA changes an array in its place where it sees that whatever reads the array comes before; else it copies the whole
    of it. So what is written must depend on what is read before. On a CPU that is not enough: XLA reads again wherever
    the rows are used, except if they come from an operation that it does not merge with others, such as a choice.
    """

    def read(memory, *positions):
        return [gather_rows(memory, each) for each in positions]

    def read_in_a_choice(memory, *positions):
        def leave_zero(memory, *positions):
            return [jnp.zeros((*each.shape, memory.shape[2]), memory.dtype) for each in positions]

        # It is always so, which XLA does not know
        is_valid = positions[0].ravel()[0] >= 0
        return jax.lax.cond(is_valid, read, leave_zero, memory, *positions)

    if not positions or not positions[0].size:
        return read(memory, *positions)
    return jax.lax.platform_dependent(memory, *positions, cpu=read_in_a_choice, default=read)


def let_depend(values, rows):
    """Values as they are, that depend on rows in a way that XLA does not see through: they are NaN if a row is."""
    for each in rows:
        if each.size:
            values = jnp.where(jnp.isnan(each.ravel()[0]), jnp.nan, values)
    return values


def scatter_rows(memory, positions, values):
    """A memory with other rows. Where a position comes twice, its values must be the same."""
    rows = memory.reshape(-1, memory.shape[2])
    rows = rows.at[_place(memory, positions)].set(values, mode="promise_in_bounds")
    return rows.reshape(memory.shape)


def add_to_rows(memory, positions, values):
    """Add to rows; to a position that comes twice, twice. Returns the memory and what the rows held before.

    The sums are made here and not by a scatter that adds: it would take its summands in any order on a GPU.
    """
    old = gather_rows(memory, positions)
    return scatter_rows(memory, positions, old + sum_duplicate_rows(positions, values)), old


def sum_duplicate_rows(positions, values):
    """At each position (B, P) the sum of the values (B, P, M) at all places with this position."""
    same = (positions[:, :, None] == positions[:, None, :]).astype(values.dtype)
    return jnp.matmul(same, values, precision="highest")


@jax_funcify.register(ReadRows)
def _funcify_read_rows(op, **kwargs):
    return gather_rows


@jax.custom_vjp
def write_rows(memory, positions, added, erases):
    """The memory with `added` at `positions`, the row at the last of them erased before; and the old rows."""
    old = gather_rows(memory, positions)
    erased = erases[:, None] & (positions == positions[:, -1:])
    kept = jnp.where(erased[:, :, None], 0, old)
    return scatter_rows(memory, positions, kept + sum_duplicate_rows(positions, added)), old


def _write_rows_forward(memory, positions, added, erases):
    return write_rows(memory, positions, added, erases), (positions, erases)


def pull_back_write(memory_grad, positions, erases):
    """The gradients before a write, of the memory and of what is added, from the memory's gradient after it."""
    added_grad = gather_rows(memory_grad, positions)
    last = positions[:, -1:]
    row = jnp.where(erases[:, None, None], 0, added_grad[:, -1:])
    return scatter_rows(memory_grad, last, row), added_grad


def _write_rows_backward(kept, grads):
    positions, erases = kept
    memory_grad, added_grad = pull_back_write(grads[0], positions, erases)
    return memory_grad, None, added_grad, None


write_rows.defvjp(_write_rows_forward, _write_rows_backward)


def write_rows_plainly(memory, positions, added, erases):
    """As `write_rows`, of operations whose gradient, and the gradient of that, is JAX's own."""
    last = positions[:, -1:]
    kept = jnp.where(erases[:, None, None], 0, gather_rows(memory, last))
    rows = scatter_rows(memory, last, kept).reshape(-1, memory.shape[2])
    rows = rows.at[_place(memory, positions)].add(added, mode="promise_in_bounds")
    return rows.reshape(memory.shape), gather_rows(jax.lax.stop_gradient(memory), positions)


@jax_funcify.register(WriteRows)
def _funcify_write_rows(op, own_gradients=True, **kwargs):
    return write_rows if own_gradients else write_rows_plainly


@jax_funcify.register(TopK)
def _funcify_top_k(op, **kwargs):
    def largest(x):
        if x.shape[-1] <= _MOST_SORTED:
            return jax.lax.top_k(x, op.count)[1]
        return jax.lax.platform_dependent(
            x,
            cpu=partial(top_k_by_blocks, count=op.count),
            default=lambda x: jax.lax.top_k(x, op.count)[1],
        )

    return largest


# Up to so many numbers a CPU sorts in less time
_MOST_SORTED = 768


_TOP_K_BLOCK = 128


def top_k_by_blocks(x, count):
    """The positions of the largest numbers along the last axis, as `jax.lax.top_k` gives them.

    On a CPU that sorts all of them. Here one pass finds the largest of each block; of the rest, only the blocks in
    which a number is taken are looked at again. NaN is the largest.
    """
    x = jnp.where(jnp.isnan(x), jnp.inf, x)
    length = x.shape[-1]
    blocks = -(-length // _TOP_K_BLOCK)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, blocks * _TOP_K_BLOCK - length)]
    x = jnp.pad(x, padding, constant_values=-jnp.inf).reshape(*x.shape[:-1], blocks, _TOP_K_BLOCK)
    largest = x.max(axis=-1)
    numbers, places = jnp.arange(blocks, dtype="int32"), jnp.arange(_TOP_K_BLOCK, dtype="int32")
    found: list[Any] = []
    for _ in range(count):
        best = largest.max(axis=-1, keepdims=True)
        block = jnp.where(largest == best, numbers, blocks).min(axis=-1, keepdims=True)
        row = jnp.take_along_axis(x, block[..., None], axis=-2)[..., 0, :]
        for each in found:
            row = jnp.where(block * _TOP_K_BLOCK + places == each, -jnp.inf, row)
        place = jnp.where(row == best, places, _TOP_K_BLOCK).min(axis=-1, keepdims=True)
        found.append(block * _TOP_K_BLOCK + place)
        rest = jnp.where(places == place, -jnp.inf, row).max(axis=-1, keepdims=True)
        largest = jnp.where(numbers == block, rest, largest)
    return jnp.concatenate(found, axis=-1)
