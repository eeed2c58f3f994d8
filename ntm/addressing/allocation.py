"""Dynamic memory allocation of a DNC: usage, free slots and write weights; functions of tensors, without state.

Notation: B batch, N slots, W write heads, R read heads. Equations are those of the Methods of Graves et al. 2016,
Hybrid computing using a neural network with dynamic external memory, Nature 538.
"""

import pytensor.tensor as pt

from lasagne.gradient import apply_with_gradient
from ntm.addressing.sizes import get_known_size


def get_retention(free_gates, read_weights):
    r"""How much of each slot is kept after it was read.

    .. math:: \psi_t = \prod_i (1 - f_t^i w_{t-1}^{r,i})

    Parameters
    ----------
    free_gates : tensor (B, R)
        In [0, 1].
    read_weights : tensor (B, R, N)
        Of the step before; R known when the graph is built.

    Returns
    -------
    tensor (B, N), in [0, 1]
    """
    return _multiply(1.0 - free_gates[:, :, None] * read_weights)


def update_usage(usage, write_weights, retention):
    r"""How much each slot is in use, after the last write and what the read heads have freed.

    .. math:: u_t = (u_{t-1} + w_{t-1}^w - u_{t-1} \odot w_{t-1}^w) \odot \psi_t

    Several write heads are taken one after another.

    Parameters
    ----------
    usage : tensor (B, N)
        Of the step before, in [0, 1].
    write_weights : tensor (B, W, N)
        Of the step before; W known when the graph is built.
    retention : tensor (B, N)

    Returns
    -------
    tensor (B, N), in [0, 1]
    """
    return (1.0 - (1.0 - usage) * _multiply(1.0 - write_weights)) * retention


def get_allocation(usage, eps=1e-6):
    r"""Weights of the slots in the order in which they are free.

    .. math:: a_t[\phi_t[j]] = (1 - u_t[\phi_t[j]]) \prod_{i<j} u_t[\phi_t[i]]

    where :math:`\phi_t` are the slots from the least to the most used; of slots used alike, the one of the lower
    number comes first. The order has no gradient. The product is taken over all pairs of slots rather than along the
    sorted ones: to compare N² pairs takes less time than to sort.

    Parameters
    ----------
    usage : tensor (B, N)
        In [0, 1].
    eps : float
        The usage is moved into [eps, 1], so that the gradient is finite where slots are not in use at all.

    Returns
    -------
    tensor (B, N), not negative, at most one in sum
    """
    usage = eps + (1.0 - eps) * usage
    (logarithm,) = apply_with_gradient(_sum_logarithms, _pull_back_logarithms, usage)
    return (1.0 - usage) * pt.exp(logarithm)


def _sum_logarithms(usage):
    """For each slot the sum of the logarithms of the usages (B, N) that come before its own."""
    before = _compare(usage, pt.lt)
    return [pt.switch(before, pt.log(usage)[:, None, :], 0.0).sum(axis=2)]


def _pull_back_logarithms(inputs, outputs, grads):
    (usage,), (grad,) = inputs, grads
    after = _compare(usage, pt.gt)
    return [pt.switch(after, grad[:, None, :], 0.0).sum(axis=2) / usage]


def _compare(usage, is_first):
    """Whether the slot of axis 2 is before (`is_first` is less) or after (greater) that of axis 1."""
    slots = pt.arange(usage.shape[1])
    one, other = usage[:, None, :], usage[:, :, None]
    return is_first(one, other) | (pt.eq(one, other) & is_first(slots, slots[:, None]))


def get_write_weights(content, usage, allocation_gates, write_gates):
    r"""Where to write: to slots like the key, or to free ones, or nowhere.

    .. math:: w_t^w = g_t^w (g_t^a a_t + (1 - g_t^a) c_t^w)

    Of several write heads, each finds those slots in use that the heads before it are about to write to, as far as they
    take free ones.

    Parameters
    ----------
    content : tensor (B, W, N)
        Weights by content; W known when the graph is built.
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


def _multiply(factors):
    """The product over axis 1, of a known length; other than `pt.prod`, its gradient divides by nothing."""
    product = factors[:, 0]
    for k in range(1, get_known_size(factors, 1, "the number of heads")):
        product = product * factors[:, k]
    return product
