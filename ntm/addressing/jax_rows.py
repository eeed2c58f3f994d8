"""How JAX runs the Ops of `ntm.addressing.rows`: rows of a memory (B, N, M), at positions (B, P)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lasagne.backends.jax_registry import jax_funcify
from ntm.addressing.rows import FirstLeast, MostSimilar, ReadRows, TopK, WriteRows


def _place(memory: jax.Array, positions: jax.Array) -> jax.Array:
    """Return positions, (B, P) or (B,), among the rows of all memories of the batch, one memory after another."""
    first = jnp.arange(memory.shape[0], dtype=positions.dtype) * memory.shape[1]
    return positions + first.reshape(-1, *(1,) * (positions.ndim - 1))


def gather_rows(memory: jax.Array, positions: jax.Array) -> jax.Array:
    """Return the rows of a memory (B, N, M) at positions (B, P): (B, P, M)."""
    rows = memory.reshape(-1, memory.shape[2])
    return rows.at[_place(memory, positions)].get(mode="promise_in_bounds")


def gather_rows_at_once(memory: jax.Array, positions: Sequence[jax.Array]) -> list[jax.Array]:
    """Return the rows at each of several positions, read here and nowhere later.

    XLA changes an array in place if it sees that every read of the array comes before the write; otherwise it copies
    the whole array. So the values written must depend on the rows read before. On a CPU that is not enough: XLA repeats
    the read wherever the rows are used, unless the rows come from an operation that it does not merge with others, such
    as a conditional.
    """

    def read(memory: jax.Array, *positions: jax.Array) -> list[jax.Array]:
        return [gather_rows(memory, each) for each in positions]

    def read_in_a_choice(memory: jax.Array, *positions: jax.Array) -> list[jax.Array]:
        def leave_zero(memory: jax.Array, *positions: jax.Array) -> list[jax.Array]:
            return [jnp.zeros((*each.shape, memory.shape[2]), memory.dtype) for each in positions]

        # This is always true, but XLA does not know it
        is_valid = positions[0].ravel()[0] >= 0
        return jax.lax.cond(is_valid, read, leave_zero, memory, *positions)

    if not positions or not positions[0].size:
        return read(memory, *positions)
    return jax.lax.platform_dependent(memory, *positions, cpu=read_in_a_choice, default=read)


def let_depend(values: jax.Array, rows: Sequence[jax.Array]) -> jax.Array:
    """Return values unchanged, but dependent on rows in a way that XLA cannot remove: they are NaN if a row is NaN."""
    for each in rows:
        if each.size:
            values = jnp.where(jnp.isnan(each.ravel()[0]), jnp.nan, values)
    return values


def scatter_rows(memory: jax.Array, positions: jax.Array, values: jax.Array) -> jax.Array:
    """Return a memory with new rows at positions. Rows with the same position must be equal."""
    rows = memory.reshape(-1, memory.shape[2])
    rows = rows.at[_place(memory, positions)].set(values, mode="promise_in_bounds")
    return rows.reshape(memory.shape)


def add_to_rows(
    memory: jax.Array, positions: jax.Array, values: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Add to rows; to a position that comes twice, add twice. Return the memory and the rows before.

    The sums are made here, and not by a scatter that adds: on a GPU such a scatter adds in any order, so that results
    would differ from run to run.
    """
    old = gather_rows(memory, positions)
    return scatter_rows(memory, positions, old + sum_duplicate_rows(positions, values)), old


def sum_duplicate_rows(positions: jax.Array, values: jax.Array) -> jax.Array:
    """Return, at each position (B, P), the sum of all values (B, P, M) with the same position."""
    same = (positions[:, :, None] == positions[:, None, :]).astype(values.dtype)
    return jnp.matmul(same, values, precision="highest")


@jax_funcify.register(ReadRows)
def _funcify_read_rows(op: ReadRows, **kwargs: Any) -> Callable[..., Any]:
    return gather_rows


@jax.custom_vjp
def write_rows(
    memory: jax.Array, positions: jax.Array, added: jax.Array, erases: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the memory after `added` was added at `positions`, and the rows before.

    Where `erases` is true, the row at the last position is erased first.
    """
    old = gather_rows(memory, positions)
    erased = erases[:, None] & (positions == positions[:, -1:])
    kept = jnp.where(erased[:, :, None], 0, old)
    return scatter_rows(memory, positions, kept + sum_duplicate_rows(positions, added)), old


def _write_rows_forward(
    memory: jax.Array, positions: jax.Array, added: jax.Array, erases: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    return write_rows(memory, positions, added, erases), (positions, erases)


def pull_back_write(
    memory_grad: jax.Array, positions: jax.Array, erases: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of the memory before a write and of the rows added, from that of the memory after it."""
    added_grad = gather_rows(memory_grad, positions)
    last = positions[:, -1:]
    row = jnp.where(erases[:, None, None], 0, added_grad[:, -1:])
    return scatter_rows(memory_grad, last, row), added_grad


def _write_rows_backward(
    residuals: tuple[jax.Array, jax.Array], grads: Sequence[jax.Array]
) -> tuple[jax.Array, None, jax.Array, None]:
    positions, erases = residuals
    memory_grad, added_grad = pull_back_write(grads[0], positions, erases)
    return memory_grad, None, added_grad, None


write_rows.defvjp(_write_rows_forward, _write_rows_backward)


def write_rows_plainly(
    memory: jax.Array, positions: jax.Array, added: jax.Array, erases: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the same as `write_rows`, by operations that JAX differentiates by itself, any number of times."""
    last = positions[:, -1:]
    kept = jnp.where(erases[:, None, None], 0, gather_rows(memory, last))
    rows = scatter_rows(memory, last, kept).reshape(-1, memory.shape[2])
    rows = rows.at[_place(memory, positions)].add(added, mode="promise_in_bounds")
    return rows.reshape(memory.shape), gather_rows(jax.lax.stop_gradient(memory), positions)


@jax_funcify.register(WriteRows)
def _funcify_write_rows(
    op: WriteRows, own_gradients: bool = True, **kwargs: Any
) -> Callable[..., Any]:
    return write_rows if own_gradients else write_rows_plainly


@jax_funcify.register(TopK)
def _funcify_top_k(op: TopK, **kwargs: Any) -> Callable[..., Any]:
    def largest(x: jax.Array) -> jax.Array:
        if x.shape[-1] <= _MOST_SORTED:
            return jax.lax.top_k(x, op.count)[1]
        return jax.lax.platform_dependent(
            x,
            cpu=partial(top_k_by_blocks, count=op.count),
            default=lambda x: jax.lax.top_k(x, op.count)[1],
        )

    return largest


# Up to so many numbers, a CPU takes less time to sort than to search by blocks
_MOST_SORTED = 768
_TOP_K_BLOCK = 128


def top_k_by_blocks(x: jax.Array, count: int) -> jax.Array:
    """Return the positions of the largest numbers along the last axis, as `jax.lax.top_k` does.

    On a CPU, `jax.lax.top_k` sorts all numbers. Here one pass finds the largest number of each block. Then, for each
    number taken, only its block is looked at again. NaN counts as the largest number.
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


@jax_funcify.register(FirstLeast)
def _funcify_first_least(op: FirstLeast, **kwargs: Any) -> Callable[..., Any]:
    def find(x: jax.Array) -> jax.Array:
        return jax.lax.platform_dependent(x, cpu=find_in_two_passes, default=find_in_one_pass)

    return find


def find_in_two_passes(x: jax.Array) -> jax.Array:
    """Return the position of the least number, and then of the first number that is equal: faster on a CPU.

    Not for a GPU. Inside a loop, an H200 with JAX 0.11.2 found no number equal to the least one, and gave the position
    behind the last number.
    """
    length = x.shape[-1]
    places = jnp.arange(length, dtype="int32")
    is_least = x == x.min(axis=-1, keepdims=True)
    return jnp.where(is_least, places, length).min(axis=-1).astype("int32")


def find_in_one_pass(x: jax.Array) -> jax.Array:
    """Return the same as :func:`find_in_two_passes`, and never a position behind the last number."""
    return jnp.argmin(x, axis=-1).astype("int32")


@jax_funcify.register(MostSimilar)
def _funcify_most_similar(op: MostSimilar, **kwargs: Any) -> Callable[..., Any]:
    def find(similarity: jax.Array, candidates: jax.Array) -> jax.Array:
        return jax.lax.platform_dependent(
            jnp.where(jnp.isnan(similarity), jnp.inf, similarity),
            candidates,
            cpu=partial(find_one_after_the_other, count=op.count),
            default=partial(find_by_sorting, count=op.count),
        ).astype("int32")

    return find


def find_one_after_the_other(similarity: jax.Array, candidates: jax.Array, count: int) -> jax.Array:
    """Return the most similar candidates: faster on a CPU. As :func:`find_in_two_passes`, not for a GPU."""
    none = jnp.iinfo(candidates.dtype).max
    found = []
    for _ in range(count):
        best = similarity == similarity.max(axis=-1, keepdims=True)
        slot = jnp.where(best, candidates, none).min(axis=-1, keepdims=True)
        similarity = jnp.where(candidates == slot, -jnp.inf, similarity)
        found.append(slot)
    return jnp.concatenate(found, axis=-1)


def find_by_sorting(similarity: jax.Array, candidates: jax.Array, count: int) -> jax.Array:
    """Return the same as :func:`find_one_after_the_other`: a sort brings the same slots together."""
    candidates, similarity = jax.lax.sort((candidates, similarity), num_keys=1)
    repeats = candidates[..., 1:] == candidates[..., :-1]
    later = jnp.where(repeats, -jnp.inf, similarity[..., 1:])
    similarity = jnp.concatenate([similarity[..., :1], later], axis=-1)
    return jnp.take_along_axis(candidates, jax.lax.top_k(similarity, count)[1], axis=-1)
