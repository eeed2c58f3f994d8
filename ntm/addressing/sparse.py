"""How a sparse memory finds the slots that it reads and writes: functions of tensors, without state.

Notation: B batch, N slots, M slot width, R read heads, K slots that each reads, J = R K + 1 slots written to.
Equations are those of Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes,
section 3.
"""

from collections.abc import Sequence

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from lasagne.checks import in_range
from lasagne.tensors import join_last_axes
from ntm.addressing.content import content_weights
from ntm.addressing.rows import first_least, top_k
from ntm.addressing.sizes import get_known_size
from ntm.typing import Tensor

# As in `ntm.similarities`
_EPS = 1e-6


def top_k_slots(key: Tensor, memory: Tensor, squares: Tensor, count: int) -> Tensor:
    """Return the K slots most similar to each head's key, by cosine similarity; there is no gradient.

    Every slot is compared. The index in `ntm.addressing.nearest` compares fewer.

    Parameters
    ----------
    key : tensor (B, R, M)
    memory : tensor (B, N, M)
    squares : tensor (B, N)
        The squared length of each slot.
    count : int
        K.

    Returns
    -------
    integer tensor (B, R, K), the most similar slot first; of slots that are equally similar, the lower number first
    """
    key, memory, squares = (disconnected_grad(each) for each in (key, memory, squares))
    products = key @ memory.transpose(0, 2, 1)
    return top_k(scaled_cosine(key, products, squares[:, None, :]), count)


def scaled_cosine(key: Tensor, products: Tensor, squares: Tensor) -> Tensor:
    """Return the cosine similarity of keys and slots, times a factor that is the same for all slots of a key.

    The order of the slots is that of their similarity, which is all that a search needs.

    Parameters
    ----------
    key : tensor (B, R, M)
    products : tensor (B, R, P)
        Dot products of the key with each slot.
    squares : tensor (B, R, P) or (B, 1, P)
        The squared length of each slot.

    Returns
    -------
    tensor (B, R, P)
    """
    key_squares = pt.maximum((key * key).sum(axis=-1), 1e-18)
    added = pt.maximum(_EPS / key_squares, 1e-24)[:, :, None]
    return products / pt.sqrt(squares + added)


def get_read_weights(key: Tensor, beta: Tensor, rows: Tensor) -> Tensor:
    """Return the weights of the slots read, by similarity to the key: a softmax over these slots alone (section 3.1).

    Parameters
    ----------
    key : tensor (B, R, M)
    beta : tensor (B, R)
        Key strength, not negative.
    rows : tensor (B, R, K, M)

    Returns
    -------
    tensor (B, R, K), positive; one in sum for each head
    """
    batch, reads, count, width = (rows.shape[k] for k in range(4))
    weights = content_weights(
        key.reshape((batch * reads, 1, width)),
        beta.reshape((batch * reads, 1)),
        rows.reshape((batch * reads, count, width)).transpose(0, 2, 1),
    )
    return weights.reshape((batch, reads, count))


def read(rows: Tensor, weights: Tensor) -> Tensor:
    """Return the read vectors (B, R, M) of rows (B, R, K, M) with weights (B, R, K) (equation 1)."""
    return (weights[:, :, :, None] * rows).sum(axis=2)


# The least of up to so many numbers is found by looking at all of them. For more numbers, the least of each block is
# stored, and only the block with the least of all is looked at
_MOST_SCANNED = 1024
_MINIMA_BLOCK = 64


def count_minima(num_slots: int) -> int:
    """Return the number of arrays that :func:`get_minima` returns."""
    count = 0
    while num_slots > _MOST_SCANNED:
        num_slots = -(-num_slots // _MINIMA_BLOCK)
        count += 1
    return count


def get_minima(last_access: Tensor) -> list[Tensor]:
    """Return the least number of each block of slots, then of each block of these numbers, until they are few.

    With these minima, the least recently used slot is found without a pass over all slots. The last block may be
    shorter than the others.

    Parameters
    ----------
    last_access : integer tensor (B, N)

    Returns
    -------
    list of integer tensors (B, N / 64), (B, N / 64**2), ...; empty where there are few slots
    """
    levels = [last_access]
    for _ in range(count_minima(last_access.type.shape[1])):
        batch, length = levels[-1].shape[0], levels[-1].type.shape[1]
        blocks = -(-length // _MINIMA_BLOCK)
        end = pt.repeat(levels[-1][:, -1:], blocks * _MINIMA_BLOCK - length, axis=1)
        filled = pt.concatenate([levels[-1], end], axis=1)
        levels.append(filled.reshape((batch, blocks, _MINIMA_BLOCK)).min(axis=2))
    return levels[1:]


def update_minima(minima: Sequence[Tensor], last_access: Tensor, positions: Tensor) -> list[Tensor]:
    """Return the minima after the last accesses at positions (B, P) have changed."""
    batch = pt.arange(positions.shape[0])[:, None]
    updated, below = [], last_access
    for level in minima:
        positions = in_range(positions // _MINIMA_BLOCK)
        inside = in_range(_get_block(positions, below.type.shape[1]))
        least = below[batch[:, :, None], inside].min(axis=2)
        below = pt.set_subtensor(level[batch, positions], least)
        updated.append(below)
    return updated


def _get_block(numbers: Tensor, length: int) -> Tensor:
    """Return the positions in the blocks of these numbers, (..., 64); positions beyond the array repeat its last."""
    inside = numbers[..., None] * np.int32(_MINIMA_BLOCK) + np.arange(_MINIMA_BLOCK, dtype="int32")
    return pt.minimum(inside, np.int32(length - 1))


def find_least_used(last_access: Tensor, minima: Sequence[Tensor] = ()) -> Tensor:
    """Return the least recently used slot, (B,); of several, the first. There is no gradient.

    Parameters
    ----------
    last_access : integer tensor (B, N)
        The step of the last access to each slot.
    minima : list of integer tensors
        From :func:`get_minima`.
    """
    levels = [last_access, *minima]
    found = first_least(levels[-1])
    batch = pt.arange(last_access.shape[0])[:, None]
    for level in reversed(levels[:-1]):
        inside = _get_block(found, level.type.shape[1])
        found = found * np.int32(_MINIMA_BLOCK) + first_least(level[batch, inside])
    return found


def get_write_weights(
    read_weights: Tensor, write_gate: Tensor, interpolation_gate: Tensor
) -> Tensor:
    """Return the weights of a write: of the slots read last, and of the least recently used slot (equation 5).

    Parameters
    ----------
    read_weights : tensor (B, R, K)
        Of the step before. R must be static. The slots read last are those of all heads; each head has the same
        share.
    write_gate : tensor (B,)
        How much is written.
    interpolation_gate : tensor (B,)
        Which part of the write goes to the slots read last; the rest goes to the least recently used slot.

    Returns
    -------
    tensor (B, J), the least recently used slot last
    """
    heads = get_known_size(read_weights, 1, "get_write_weights: the number of read heads")
    last_read = join_last_axes(read_weights, 2) * (interpolation_gate / heads)[:, None]
    least_used = (1.0 - interpolation_gate)[:, None]
    return pt.concatenate([last_read, least_used], axis=1) * write_gate[:, None]


def update_last_access(
    last_access: Tensor, time: Tensor, positions: Tensor, weights: Tensor, threshold: float
) -> Tensor:
    """Return the step of the last access to each slot, after the accesses of this step.

    Parameters
    ----------
    last_access : integer tensor (B, N)
    time : integer tensor (B,)
        The number of this step.
    positions : integer tensor (B, P)
        The slots read and written. Where a slot comes several times, its weights are summed.
    weights : tensor (B, P)
    threshold : float
        delta: an access with no more weight than this does not count.

    Returns
    -------
    integer tensor (B, N)
    """
    same = pt.eq(positions[:, :, None], positions[:, None, :])
    weights = disconnected_grad(weights)
    total = pt.switch(same, weights[:, None, :], 0.0).sum(axis=2)
    batch = pt.arange(positions.shape[0])[:, None]
    old = last_access[batch, in_range(positions)]
    return pt.set_subtensor(old, pt.switch(total > threshold, time[:, None], old))


def get_squares(memory: Tensor) -> Tensor:
    """Return the squared length of each slot, (..., N), of a memory (..., N, M)."""
    return (memory * memory).sum(axis=-1)


def to_dense(positions: Tensor, weights: Tensor, num_slots: int) -> Tensor:
    """Return the weights of all slots (..., N), from the positions (..., P) and the weights (..., P) of a few."""
    places = pt.eq(positions[..., None], pt.arange(num_slots))
    return pt.switch(places, weights[..., None], 0.0).sum(axis=-2).astype(weights.dtype)
