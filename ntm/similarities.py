"""Similarities between a head's key and the rows of the memory."""

import pytensor.tensor as pt


def cosine_similarity(x, y, eps=1e-6):
    r"""Cosine similarity of keys with every row of a memory.

    .. math:: K(x, y_i) = \frac{x \cdot y_i}{\sqrt{|x|^2 |y_i|^2 + \epsilon}}

    `eps` keeps the similarity, and its gradient, finite for a zero key and a zero row.

    Parameters
    ----------
    x : tensor (B, M) or (B, K, M)
        One key, or K keys, for each batch item.
    y : tensor (B, N, M)
        The memory: N rows of width M.
    eps : float
        What is added under the root.

    Returns
    -------
    tensor (B, N) or (B, K, N)

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, equation 6.
    """
    if x.ndim == y.ndim - 1:
        return cosine_similarity(x[:, None, :], y, eps)[:, 0, :]
    dots = pt.matmul(x, y.transpose(0, 2, 1))
    x_squared = (x * x).sum(axis=-1)[:, :, None]
    y_squared = (y * y).sum(axis=-1)[:, None, :]
    # Vectors longer than one are scaled to one first: the product of two squared norms would overflow float32
    # where each norm is 1e10. The scaled squared norm is min(squared norm, 1).
    x_scale = 1.0 / pt.sqrt(pt.maximum(x_squared, 1.0))
    y_scale = 1.0 / pt.sqrt(pt.maximum(y_squared, 1.0))
    scale = x_scale * y_scale
    norms = pt.minimum(x_squared, 1.0) * pt.minimum(y_squared, 1.0)
    # Where one vector is zero and the other longer than 1e9, the gradient divides by this to the power 1.5
    added = pt.maximum(eps * scale * scale, 1e-24)
    return dots * scale / pt.sqrt(norms + added)
