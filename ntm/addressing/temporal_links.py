"""Temporal links of a DNC: the order of writing, and how a read head follows it; functions of tensors, without state.

Notation: B batch, N slots, W write heads, R read heads. Equations are those of the Methods of Graves et al. 2016,
Hybrid computing using a neural network with dynamic external memory, Nature 538. Weights by content, reading and
writing are those of an NTM; see `ntm.addressing`.
"""

from collections.abc import Sequence
from typing import Any

import pytensor
import pytensor.tensor as pt

from lasagne.gradient import OwnGradient
from ntm.typing import Tensor


def update_precedence(precedence: Tensor, write_weights: Tensor) -> Tensor:
    r"""Return how much each slot was the last slot written to.

    .. math:: p_t = (1 - \sum_i w_t^w[i]) p_{t-1} + w_t^w

    Parameters
    ----------
    precedence : tensor (B, W, N)
        Of the step before.
    write_weights : tensor (B, W, N)

    Returns
    -------
    tensor (B, W, N), not negative, at most one in sum over the slots
    """
    return (1.0 - write_weights.sum(axis=2, keepdims=True)) * precedence + write_weights


def update_links(links: Tensor, write_weights: Tensor, precedence: Tensor) -> Tensor:
    r"""Return how much each slot was written to just after each other slot.

    .. math:: L_t[i, j] = (1 - w_t^w[i] - w_t^w[j]) L_{t-1}[i, j] + w_t^w[i] p_{t-1}[j], \qquad L_t[i, i] = 0

    Parameters
    ----------
    links : tensor (B, N, N)
        Of the step before.
    write_weights : tensor (B, N)
        Of one write head.
    precedence : tensor (B, N)
        Of the step before.

    Returns
    -------
    tensor (B, N, N), not negative; each row and each column is at most one in sum
    """
    after, before = write_weights[:, :, None], write_weights[:, None, :]
    links = (1.0 - after - before) * links + after * precedence[:, None, :]
    return links * _get_others(write_weights)


def get_forward_weights(links: Tensor, read_weights: Tensor) -> Tensor:
    r"""Return the weights of the slots written to after the slots last read, :math:`f_t^i = L_t w_{t-1}^{r,i}`.

    Parameters
    ----------
    links : tensor (B, N, N)
        Of one write head.
    read_weights : tensor (B, R, N)
        Of the step before.

    Returns
    -------
    tensor (B, R, N)
    """
    return _multiply_rows(links, read_weights)


def get_backward_weights(links: Tensor, read_weights: Tensor) -> Tensor:
    r"""Return the weights of the slots written to before the slots last read, :math:`b_t^i = L_t^\top w_{t-1}^{r,i}`.

    Parameters
    ----------
    links : tensor (B, N, N)
        Of one write head.
    read_weights : tensor (B, R, N)
        Of the step before.

    Returns
    -------
    tensor (B, R, N)
    """
    return read_weights @ links


def follow_links(
    links: Tensor, write_weights: Tensor, precedence: Tensor, read_weights: Tensor
) -> list[Tensor]:
    """Update the links and follow them, for one write head.

    This is :func:`update_links`, :func:`get_backward_weights` and :func:`get_forward_weights` in one, with a gradient
    that passes over the N × N links less often.

    Parameters
    ----------
    links : tensor (B, N, N)
        Of the step before, like every argument but `write_weights`.
    write_weights, precedence : tensor (B, N)
    read_weights : tensor (B, R, N)

    Returns
    -------
    links : tensor (B, N, N)
    backward, forward : tensor (B, R, N)
    """
    inputs = map(pt.as_tensor, (links, write_weights, precedence, read_weights))
    outputs: list[Any] = FollowLinks(_follow_links, _pull_back_links).make_node(*inputs).outputs
    return outputs


class FollowLinks(OwnGradient):
    """:func:`follow_links` as one node; JAX computes and differentiates it by `ntm.addressing.jax_temporal_links`."""

    jax_conversions = "ntm.addressing.jax_temporal_links"


def _follow_links(
    links: Tensor, write_weights: Tensor, precedence: Tensor, read_weights: Tensor
) -> list[Tensor]:
    links = update_links(links, write_weights, precedence)
    return [
        links,
        get_backward_weights(links, read_weights),
        get_forward_weights(links, read_weights),
    ]


def _pull_back_links(
    inputs: list[Tensor], outputs: list[Tensor], grads: list[Tensor]
) -> list[Tensor]:
    """Return the gradients of :func:`_follow_links` with respect to its inputs."""
    old, write_weights, precedence, read_weights = inputs
    links, (links_grad, backward_grad, forward_grad) = outputs[0], grads
    # One product: otherwise each use of the sum would compute the outer products of all heads again
    rows = pt.concatenate([read_weights, forward_grad], axis=1).transpose(0, 2, 1)
    outer = rows @ pt.concatenate([backward_grad, read_weights], axis=1)
    grad = (links_grad + outer) * _get_others(write_weights)
    by_row = (grad * (precedence[:, None, :] - old)).sum(axis=2)
    # A product with ones: a sum over the rows of a large matrix takes longer
    ones = pt.ones_like(write_weights)[:, None, :]
    by_column = (ones @ (grad * old))[:, 0]
    return [
        grad * (1.0 - write_weights[:, :, None] - write_weights[:, None, :]),
        by_row - by_column,
        (write_weights[:, None, :] @ grad)[:, 0],
        _multiply_rows(links, backward_grad) + forward_grad @ links,
    ]


def _multiply_rows(links: Tensor, weights: Tensor) -> Tensor:
    """Return ``weights @ links.T``, in the way that is fastest for the few weights (B, R, N) of the read heads."""
    return (links[:, None] * weights[:, :, None, :]).sum(axis=3)


def _get_others(weights: Tensor) -> Tensor:
    """Return a mask (N, N) that is zero for a slot and itself, and one elsewhere."""
    return 1.0 - pt.eye(weights.shape[1], dtype=pytensor.config.floatX)


def get_read_weights(
    backward: Sequence[Tensor], content: Tensor, forward: Sequence[Tensor], modes: Tensor
) -> Tensor:
    r"""Return where to read: before or after the slots last read, or by content.

    .. math:: w_t^{r,i} = \pi_t^i[1] b_t^i + \pi_t^i[2] c_t^{r,i} + \pi_t^i[3] f_t^i

    Parameters
    ----------
    backward, forward : list of tensors (B, R, N)
        One for each write head.
    content : tensor (B, R, N)
    modes : tensor (B, R, 1 + 2 W)
        Not negative, one in sum: backward in the order of each write head, content, forward in the order of each.

    Returns
    -------
    tensor (B, R, N), not negative, at most one in sum over the slots
    """
    modes = modes[:, :, :, None]
    parts = [*backward, content, *forward]
    return pt.add(*(modes[:, :, k] * part for k, part in enumerate(parts)))
