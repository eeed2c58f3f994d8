r"""How a sparse memory stores and follows the order of writing: functions of tensors, without state.

Two sparse matrices hold the order, each with at most L entries a row. Row i of the backward links lists the slots that
were written to before slot i; row i of the forward links lists the slots written to after slot i. They are the matrices
:math:`N_t` and :math:`P_t` of Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes,
appendix D, which approximate the DNC's links :math:`L_t` and their transpose. No slot is linked to itself, as in the
DNC. There is no gradient through links and precedence, as in the paper.

Notation: B batch, N slots, R read heads, K slots that each head reads in one way, V slots that each head has read, J
slots written to, L entries of a row (the paper's :math:`K_L`).
"""

from typing import Any, NamedTuple

import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from lasagne.checks import in_range
from lasagne.tensors import join_last_axes
from lasagne.utils import is_float
from ntm.addressing.rows import top_k
from ntm.typing import Tensor

# A write with a weight of one leaves nothing of the links to the slot, and the logarithm of zero is not finite: this
# much is left instead
_LEAST_KEPT = 1e-30


# ---- Sparse vectors


class Sparse(NamedTuple):
    """Vectors of which a few entries are given; all other entries are zero.

    Attributes
    ----------
    positions : integer tensor (..., E)
        Where a position comes several times, the entry is the sum of its values.
    values : tensor (..., E)
        Not negative. A value of zero stands for no entry, whatever its position.
    """

    positions: Any
    values: Any


def sum_duplicates(vector: Sparse) -> Tensor:
    """Return, at each place of a sparse vector, the sum of all values with the same position, (..., E)."""
    positions, values = vector
    same = pt.eq(positions[..., :, None], positions[..., None, :])
    return pt.switch(same, values[..., None, :], 0.0).sum(axis=-1).astype(values.dtype)


def keep_largest(vector: Sparse, count: int) -> Sparse:
    """Keep the largest entries of a sparse vector; there is no gradient.

    Parameters
    ----------
    vector : Sparse (..., E)
    count : int
        At most E.

    Returns
    -------
    Sparse (..., count)
        Of different positions, the largest entry first; equal entries keep their order. Zeros fill the end.
    """
    vector = Sparse(vector.positions, disconnected_grad(vector.values))
    positions, values = vector
    places = pt.arange(positions.shape[-1])
    same = pt.eq(positions[..., :, None], positions[..., None, :])
    # A sum, because `any` gave wrong results in a loop that PyTensor ran in Python
    came_before = (same & (places < places[:, None])).sum(axis=-1, dtype="int32") > 0
    totals = pt.switch(came_before, pt.zeros_like(values), sum_duplicates(vector))
    order = in_range(top_k(totals, count))
    return Sparse(*(pt.take_along_axis(each, order, axis=-1) for each in (positions, totals)))


# ---- Stores: tensors (B, N, ...) that hold something for every slot


def read_store(store: Tensor, positions: Tensor) -> Tensor:
    """Return the rows of a store (B, N, ...) at positions (B, ...), as constants of the gradient."""
    batch = pt.arange(positions.shape[0]).reshape((-1,) + (1,) * (positions.ndim - 1))
    rows = store[batch, in_range(positions)]
    return disconnected_grad(rows) if is_float(rows) else rows


def write_store(store: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
    """Return a store (B, N, ...) with new rows (B, P, ...); rows with the same position must be equal."""
    batch = pt.arange(positions.shape[0])[:, None]
    return pt.set_subtensor(store[batch, in_range(positions)], rows)


# ---- Storing the order of writing


def update_precedence(precedence: Sparse, written: Sparse, count: int) -> Sparse:
    r"""Return how much each slot was the last slot written to (equation 11).

    .. math:: p_t = (1 - \sum_i w_t^W(i)) p_{t-1} + w_t^W

    Parameters
    ----------
    precedence : Sparse (B, L)
        Of the step before.
    written : Sparse (B, J)
        The write weights.
    count : int
        L.

    Returns
    -------
    Sparse (B, L), at most one in sum
    """
    left = (1.0 - written.values.sum(axis=1, keepdims=True)) * precedence.values
    both = Sparse(
        pt.concatenate([precedence.positions, written.positions], axis=1),
        pt.concatenate([left, written.values], axis=1),
    )
    return keep_largest(both, count)


def update_backward_links(rows: Sparse, written: Sparse, precedence: Sparse, count: int) -> Sparse:
    r"""Return the new rows of the backward links at the slots written to (equation 19).

    .. math:: N_t(i, j) = (1 - w_t^W(i)) N_{t-1}(i, j) + w_t^W(i) p_{t-1}(j), \qquad i \neq j

    Parameters
    ----------
    rows : Sparse (B, J, L)
        These rows after the step before.
    written : Sparse (B, J)
        The write weights.
    precedence : Sparse (B, L)
        Of the step before.
    count : int
        L.

    Returns
    -------
    Sparse (B, J, L)
    """
    weights = sum_duplicates(written)[:, :, None]
    added = _link(written.positions, weights, precedence)
    return _add(Sparse(rows.positions, (1.0 - weights) * rows.values), added, count)


def update_forward_links(rows: Sparse, written: Sparse, precedence: Sparse, count: int) -> Sparse:
    r"""Return the new rows of the forward links at the slots that were last written to before this step (equation 20).

    .. math:: P_t(i, j) = (1 - w_t^W(j)) P_{t-1}(i, j) + w_t^W(j) p_{t-1}(i), \qquad i \neq j

    Parameters
    ----------
    rows : Sparse (B, L, L)
        These rows after the step before, their values multiplied by :math:`1 - w_t^W(j)`, as :func:`apply_decay` does.
    written : Sparse (B, J)
        The write weights.
    precedence : Sparse (B, L)
        Of the step before.
    count : int
        L.

    Returns
    -------
    Sparse (B, L, L)
    """
    # A place without an entry may have the position of an entry; both then stand for the same row, which must get the
    # same values: hence the sum of all weights with that position
    weights = sum_duplicates(precedence)[:, :, None]
    return _add(rows, _link(precedence.positions, weights, written), count)


def _link(positions: Tensor, weights: Tensor, others: Sparse) -> Sparse:
    """Return the outer product of weights (B, P, 1) at positions (B, P) and others (B, E): Sparse (B, P, E)."""
    is_other = pt.neq(positions[:, :, None], others.positions[:, None, :])
    spread = pt.zeros_like(positions)[:, :, None] + others.positions[:, None, :]
    return Sparse(spread, weights * others.values[:, None, :] * is_other)


def _add(one: Sparse, other: Sparse, count: int) -> Sparse:
    sides = (pt.concatenate(pair, axis=2) for pair in zip(one, other, strict=True))
    return keep_largest(Sparse(*sides), count)


def update_decay(decay: Tensor, written: Sparse) -> Tensor:
    r"""Return the logarithm of what is left of a link to slot j after all steps: of :math:`\prod_t (1 - w_t^W(j))`.

    A write to slot j makes the entry of j smaller in every row of the forward links that has one (equation 20). Finding
    these rows would take a pass over all rows. Instead, a decay is stored for each slot, and beside each entry the
    decay at the time when the entry was stored: see :func:`apply_decay`.

    Parameters
    ----------
    decay : tensor (B, N)
        After the step before.
    written : Sparse (B, J)
        The write weights.

    Returns
    -------
    tensor (B, N)
    """
    positions = written.positions
    logarithm = pt.log(pt.maximum(1.0 - sum_duplicates(written), _LEAST_KEPT))
    return write_store(decay, positions, read_store(decay, positions) + logarithm)


def apply_decay(links: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """Return what is left of links, from the decay of their slots `now` and `then`, when the links were stored."""
    return links * pt.exp(now - then)


# ---- Following the order of writing


def follow_links(weights: Tensor, rows: Sparse, count: int) -> Sparse:
    r"""Return where to read: at slots linked to the slots last read (equations 21 and 22).

    The forward weights are :math:`f_t = P_t^\top w_{t-1}^r`, the backward weights :math:`b_t = N_t^\top w_{t-1}^r`.
    These are the paper's :math:`N_t w_{t-1}^r` and :math:`P_t w_{t-1}^r`, but for the entries that are dropped; those
    products would take every row instead of the rows of the slots read. The values in a row of the forward links may be
    more than one in sum, because a slot that others follow again and again has links to all of them. The weights are
    then scaled to a sum of one.

    Parameters
    ----------
    weights : tensor (B, R, V)
        Of the slots read at the step before. A slot may come several times.
    rows : Sparse (B, R, V, L)
        The rows of these slots. The links have no gradient; the weights have one.
    count : int
        K: the slots with the largest weights are read.

    Returns
    -------
    Sparse (B, R, K), at most one in sum, with a gradient
    """
    positions = join_last_axes(rows.positions, 3)
    products = join_last_axes(disconnected_grad(rows.values) * weights[:, :, :, None], 3)
    kept = keep_largest(Sparse(positions, products), count)
    here = pt.eq(kept.positions[:, :, :, None], positions[:, :, None, :])
    here = here & (kept.values > 0)[:, :, :, None]
    followed = pt.switch(here, products[:, :, None, :], 0.0).sum(axis=3).astype(weights.dtype)
    sums = followed.sum(axis=2, keepdims=True)
    return Sparse(kept.positions, followed / pt.maximum(sums, 1.0))


def get_read_weights(backward: Tensor, content: Tensor, forward: Tensor, modes: Tensor) -> Tensor:
    """Return the weights of the slots read in each of three ways, side by side.

    Parameters
    ----------
    backward, content, forward : tensors (B, R, K)
    modes : tensor (B, R, 3)
        Not negative, one in sum.

    Returns
    -------
    tensor (B, R, 3 K), not negative, at most one in sum
    """
    parts = [backward, content, forward]
    return pt.concatenate([modes[:, :, k, None] * part for k, part in enumerate(parts)], axis=2)
