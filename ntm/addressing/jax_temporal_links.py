"""How JAX follows the temporal links of a DNC, and takes the gradient.

The equations are those of `ntm.addressing.temporal_links`. Left to itself, XLA's CPU back end computes new links again
in each use of them, and runs slow loops of its own for sums along rows and products of transposed matrices. So the new
links are computed once here, matrices are transposed before a product, and each sum over an N × N matrix is a product.
"""

from typing import Any

import jax
import jax.numpy as jnp

from lasagne.backends.jax_registry import Conversion, jax_funcify
from lasagne.gradient import OwnGradient
from ntm.addressing.temporal_links import FollowLinks

_convert_own_gradient = jax_funcify.dispatch(OwnGradient)


@jax_funcify.register(FollowLinks)
def _funcify_follow_links(
    op: FollowLinks, node: Any = None, own_gradients: bool = True, **kwargs: Any
) -> Conversion:
    if own_gradients:
        return follow_links
    return _convert_own_gradient(op, node=node, own_gradients=False, **kwargs)


def _follow_links(
    links: jax.Array, write_weights: jax.Array, precedence: jax.Array, read_weights: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return new links (B, N, N), and backward and forward weights (B, R, N).

    Parameters
    ----------
    links : array (B, N, N)
        Of the step before, like every argument but `write_weights`.
    write_weights, precedence : array (B, N)
    read_weights : array (B, R, N)
    """
    write_weights, precedence, read_weights = _compute_once(
        (write_weights, precedence, read_weights)
    )
    added = write_weights[:, :, None] * precedence[:, None, :]
    links = _compute_once(_cut_diagonal(_get_kept(write_weights) * links + added))
    return links, _multiply(read_weights, links), _multiply_rows(links, read_weights)


#: `_follow_links` with a gradient of its own
follow_links = jax.custom_vjp(_follow_links)


def _run_with_residuals(
    links: jax.Array, write_weights: jax.Array, precedence: jax.Array, read_weights: jax.Array
) -> Any:
    outputs = _follow_links(links, write_weights, precedence, read_weights)
    return outputs, (links, write_weights, precedence, read_weights, outputs[0])


def _pull_back(residuals: Any, grads: Any) -> tuple[jax.Array, ...]:
    """Return the gradients with respect to the arguments of `_follow_links`."""
    old, write_weights, precedence, read_weights, links = residuals
    links_grad, backward_grad, forward_grad = grads
    write_weights, precedence, read_weights, backward_grad, forward_grad = _compute_once(
        (write_weights, precedence, read_weights, backward_grad, forward_grad)
    )
    # The outer products of all heads and both directions are one product
    left = jnp.concatenate([read_weights, forward_grad], axis=1)
    right = jnp.concatenate([backward_grad, read_weights], axis=1)
    outer = _multiply(_compute_once(_transpose(left)), right)
    grad = _compute_once(_cut_diagonal(links_grad + outer))
    # What the loss of old links by writing means for each slot, as the row and as the column
    lost = _compute_once(grad * old)
    ones = jnp.ones_like(precedence)
    by_slot = _sum_rows(grad, precedence) - _sum_rows(lost, ones) - _sum_columns(lost, ones)
    return (
        grad * _get_kept(write_weights),
        by_slot,
        _sum_columns(grad, write_weights),
        _multiply_rows(links, backward_grad) + _multiply(forward_grad, links),
    )


follow_links.defvjp(_run_with_residuals, _pull_back)


def _compute_once(arrays: Any) -> Any:
    """Return the arrays unchanged, behind a barrier across which XLA moves nothing."""
    return jax.lax.optimization_barrier(arrays)


def _transpose(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, 1, 2)


def _multiply(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return ``x @ y``, on a GPU as exactly as the sums that the product stands for."""
    return jnp.matmul(x, y, precision="highest")


def _multiply_rows(links: jax.Array, weights: jax.Array) -> jax.Array:
    """Return ``weights @ links.T`` for weights (B, R, N), by the links times columns: that takes half the time."""
    columns = _compute_once(_transpose(weights))
    return _transpose(_compute_once(_multiply(links, columns)))


def _sum_rows(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the weighted sum (B, N) of each row of matrices (B, N, N)."""
    return _multiply(x, weights[:, :, None])[:, :, 0]


def _sum_columns(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the weighted sum (B, N) of each column of matrices (B, N, N)."""
    return _multiply(weights[:, None, :], x)[:, 0]


def _get_kept(write_weights: jax.Array) -> jax.Array:
    """Return how much of each link (B, N, N) a write leaves."""
    return 1 - write_weights[:, :, None] - write_weights[:, None, :]


def _cut_diagonal(links: jax.Array) -> jax.Array:
    """Return links (B, N, N) without those from a slot to itself."""
    return links * (1 - jnp.eye(links.shape[1], dtype=links.dtype))
