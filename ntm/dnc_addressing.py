"""How a DNC finds free slots, and goes on in the order of writing: functions of tensors, without state.

Notation: B batch, N slots, W write heads, R read heads. Equations are those of the Methods of Graves et al. 2016,
Hybrid computing using a neural network with dynamic external memory, Nature 538. Weights by content, reading and
writing are those of an NTM; see `ntm.addressing`.
"""

import pytensor
import pytensor.tensor as pt

from lasagne.gradient import apply_with_gradient

# ---- Dynamic memory allocation


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
    num_writes = _static_length(content)
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


# ---- Temporal memory linkage


def update_precedence(precedence, write_weights):
    r"""How much each slot was the last that was written to.

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


def update_links(links, write_weights, precedence):
    r"""How much each slot was written to just after each other one.

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
    tensor (B, N, N), not negative; rows and columns are at most one in sum
    """
    after, before = write_weights[:, :, None], write_weights[:, None, :]
    links = (1.0 - after - before) * links + after * precedence[:, None, :]
    return links * _get_others(write_weights)


def get_forward_weights(links, read_weights):
    r"""Where the slots were written to that came after those last read, :math:`f_t^i = L_t w_{t-1}^{r,i}`.

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


def get_backward_weights(links, read_weights):
    r"""Where the slots were written to that came before those last read, :math:`b_t^i = L_t^\top w_{t-1}^{r,i}`.

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
    return pt.matmul(read_weights, links)


def follow_links(links, write_weights, precedence, read_weights):
    """Update the links and follow them, for one write head.

    It is :func:`update_links`, :func:`get_backward_weights` and :func:`get_forward_weights`, with a gradient that goes
    over the links less often.

    Parameters
    ----------
    links : tensor (B, N, N)
        Of the step before, as all others but `write_weights`.
    write_weights, precedence : tensor (B, N)
    read_weights : tensor (B, R, N)

    Returns
    -------
    links : tensor (B, N, N)
    backward, forward : tensor (B, R, N)
    """
    return apply_with_gradient(
        _follow_links, _pull_back_links, links, write_weights, precedence, read_weights
    )


def _follow_links(links, write_weights, precedence, read_weights):
    links = update_links(links, write_weights, precedence)
    return [
        links,
        get_backward_weights(links, read_weights),
        get_forward_weights(links, read_weights),
    ]


def _pull_back_links(inputs, outputs, grads):
    old, write_weights, precedence, read_weights = inputs
    links, (links_grad, backward_grad, forward_grad) = outputs[0], grads
    # One product, as each use of the sum would else compute the outer products of all heads again
    outer = pt.matmul(
        pt.concatenate([read_weights, forward_grad], axis=1).transpose(0, 2, 1),
        pt.concatenate([backward_grad, read_weights], axis=1),
    )
    grad = (links_grad + outer) * _get_others(write_weights)
    by_row = (grad * (precedence[:, None, :] - old)).sum(axis=2)
    # A product with ones, as a sum over the rows of a large matrix takes longer
    ones = pt.ones_like(write_weights)[:, None, :]
    by_column = pt.matmul(ones, grad * old)[:, 0]
    return [
        grad * (1.0 - write_weights[:, :, None] - write_weights[:, None, :]),
        by_row - by_column,
        pt.matmul(write_weights[:, None, :], grad)[:, 0],
        _multiply_rows(links, backward_grad) + pt.matmul(forward_grad, links),
    ]


def _multiply_rows(links, weights):
    """``weights @ links.T``, where there are few weights (B, R, N)."""
    return (links[:, None] * weights[:, :, None, :]).sum(axis=3)


def _get_others(weights):
    """Zero for each slot and itself, one for the others, (N, N)."""
    return 1.0 - pt.eye(weights.shape[1], dtype=pytensor.config.floatX)


def get_read_weights(backward, content, forward, modes):
    r"""Where to read: before or after what was read last, or by content.

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


def _multiply(factors):
    """The product over axis 1, of a known length; other than `pt.prod`, its gradient divides by nothing."""
    product = factors[:, 0]
    for k in range(1, _static_length(factors)):
        product = product * factors[:, k]
    return product


def _static_length(x):
    length = x.type.shape[1]
    if length is None:
        raise ValueError("the number of heads (axis 1) must be static")
    return length
