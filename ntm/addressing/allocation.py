"""Dynamic memory allocation of a DNC: usage, free slots and write weights; functions of tensors, without state.

Notation: B batch, N slots, W write heads, R read heads. Equations are those of the Methods of Graves et al. 2016,
Hybrid computing using a neural network with dynamic external memory, Nature 538.
"""

from collections.abc import Callable

import pytensor.tensor as pt

from lasagne.gradient import apply_with_gradient
from ntm.addressing.sizes import get_known_size
from ntm.typing import Tensor


def get_retention(free_gates: Tensor, read_weights: Tensor) -> Tensor:
    r"""Return how much of each slot is kept after the slot was read.

    .. math:: \psi_t = \prod_i (1 - f_t^i w_{t-1}^{r,i})

    Parameters
    ----------
    free_gates : tensor (B, R)
        In [0, 1].
    read_weights : tensor (B, R, N)
        Of the step before. R must be static.

    Returns
    -------
    tensor (B, N), in [0, 1]
    """
    return _multiply(1.0 - free_gates[:, :, None] * read_weights)


def update_usage(usage: Tensor, write_weights: Tensor, retention: Tensor) -> Tensor:
    r"""Return how much each slot is in use, after the last write and after the read heads have freed slots.

    .. math:: u_t = (u_{t-1} + w_{t-1}^w - u_{t-1} \odot w_{t-1}^w) \odot \psi_t

    With several write heads, the writes count one after another.

    Parameters
    ----------
    usage : tensor (B, N)
        Of the step before, in [0, 1].
    write_weights : tensor (B, W, N)
        Of the step before. W must be static.
    retention : tensor (B, N)

    Returns
    -------
    tensor (B, N), in [0, 1]
    """
    return (1.0 - (1.0 - usage) * _multiply(1.0 - write_weights)) * retention


def get_allocation(usage: Tensor, eps: float = 1e-06) -> Tensor:
    r"""Return weights that put the free slots first: the allocation.

    .. math:: a_t[\phi_t[j]] = (1 - u_t[\phi_t[j]]) \prod_{i<j} u_t[\phi_t[i]]

    where :math:`\phi_t` lists the slots from the least to the most used. Of two slots with the same usage, the lower
    number comes first. The order has no gradient. The product is taken over all pairs of slots, not along the sorted
    slots: comparing N² pairs takes less time than sorting.

    Parameters
    ----------
    usage : tensor (B, N)
        In [0, 1].
    eps : float
        The usage is mapped to [eps, 1], so that the gradient is finite where a slot is not in use at all.

    Returns
    -------
    tensor (B, N), not negative, at most one in sum
    """
    usage = eps + (1.0 - eps) * usage
    (logarithm,) = apply_with_gradient(_sum_logarithms, _pull_back_logarithms, usage)
    return (1.0 - usage) * pt.exp(logarithm)


def _sum_logarithms(usage: Tensor) -> list[Tensor]:
    """Return for each slot the sum of the logarithms of the usages (B, N) that come before its own."""
    before = _compare(usage, pt.lt)
    return [pt.switch(before, pt.log(usage)[:, None, :], 0.0).sum(axis=2)]


def _pull_back_logarithms(
    inputs: list[Tensor], outputs: list[Tensor], grads: list[Tensor]
) -> list[Tensor]:
    """Return the gradient of :func:`_sum_logarithms`: each usage has a part in the sums of all slots after it."""
    (usage,), (grad,) = inputs, grads
    after = _compare(usage, pt.gt)
    return [pt.switch(after, grad[:, None, :], 0.0).sum(axis=2) / usage]


def _compare(usage: Tensor, is_first: Callable[..., Tensor]) -> Tensor:
    """Return whether the slot of axis 2 comes before (`is_first` is less) or after (greater) the slot of axis 1."""
    slots = pt.arange(usage.shape[1])
    one, other = usage[:, None, :], usage[:, :, None]
    return is_first(one, other) | (pt.eq(one, other) & is_first(slots, slots[:, None]))


def get_write_weights(
    content: Tensor, usage: Tensor, allocation_gates: Tensor, write_gates: Tensor
) -> Tensor:
    r"""Return where to write: to slots similar to the key, to free slots, or nowhere.

    .. math:: w_t^w = g_t^w (g_t^a a_t + (1 - g_t^a) c_t^w)

    Several write heads do not take the same free slot: the free slots that a head is about to write to count as used
    for the heads after it.

    Parameters
    ----------
    content : tensor (B, W, N)
        Weights by content. W must be static.
    usage : tensor (B, N)
    allocation_gates, write_gates : tensor (B, W)
        In [0, 1].

    Returns
    -------
    tensor (B, W, N), not negative, at most one in sum over the slots
    """
    num_writes = get_known_size(content, 1, "get_write_weights: the number of write heads")
    allocations = []
    for head in range(num_writes):
        allocation = get_allocation(usage)
        allocations.append(allocation)
        if head < num_writes - 1:
            taken = (allocation_gates[:, head] * write_gates[:, head])[:, None] * allocation
            usage = usage + (1.0 - usage) * taken
    allocated = pt.stack(allocations, axis=1) if num_writes > 1 else allocations[0][:, None, :]
    gates, write_gates = allocation_gates[:, :, None], write_gates[:, :, None]
    return write_gates * (gates * allocated + (1.0 - gates) * content)


def _multiply(factors: Tensor) -> Tensor:
    """Multiply along axis 1, whose size must be static. Unlike that of `pt.prod`, the gradient divides by nothing."""
    product = factors[:, 0]
    for k in range(1, get_known_size(factors, 1, "the number of heads")):
        product = product * factors[:, k]
    return product
