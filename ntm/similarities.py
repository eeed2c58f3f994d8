"""Similarities between the key of a head and the slots of a memory."""

import pytensor.tensor as pt

from lasagne._norms import get_scale
from ntm.typing import Tensor

__all__ = ["cosine_similarity", "cosine_similarity_to_columns"]


def cosine_similarity(x: Tensor, y: Tensor, eps: float = 1e-06) -> Tensor:
    r"""Return the cosine similarity of keys with every row of a memory.

    .. math:: K(x, y_i) = \frac{x \cdot y_i}{\sqrt{|x|^2 |y_i|^2 + \epsilon}}

    `eps` keeps the similarity and its gradient finite for a zero key and a zero row. A row whose square overflows (in
    float32, from a length of 1.8e19 on) has similarity 0 to every key.

    Parameters
    ----------
    x : tensor (B, M) or (B, K, M)
        One key, or K keys, for each batch item.
    y : tensor (B, N, M)
        The memory: N rows of width M.
    eps : float
        Added under the root.

    Returns
    -------
    tensor (B, N) or (B, K, N)

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, equation 6.
    """
    if x.ndim == y.ndim - 1:
        return cosine_similarity(x[:, None, :], y, eps)[:, 0, :]
    return cosine_similarity_to_columns(x, y.transpose(0, 2, 1), eps)


def cosine_similarity_to_columns(x: Tensor, y: Tensor, eps: float = 1e-06) -> Tensor:
    """Return :func:`cosine_similarity` with a memory whose slots are its columns.

    Parameters
    ----------
    x : tensor (B, K, M)
    y : tensor (B, M, N)
    eps : float

    Returns
    -------
    tensor (B, K, N)
    """
    # The key is scaled to length one, because the product of two squared norms overflows float32 where each norm is
    # 1e10. A key shorter than 1e-9 is scaled less, because the gradient of its scale would overflow. A key whose square
    # would overflow is shortened first. The memory is not: looking for its largest number takes a third of a training
    # step
    scale = pt.minimum(get_scale(x, (-1,)), 1)
    x = x * scale
    x_squared = pt.maximum((x * x).sum(axis=-1, keepdims=True), 1e-18 * scale**2)
    y_squared = (y * y).sum(axis=1, keepdims=True)
    # The gradient divides by this number to the power 1.5, where one vector is zero and the other longer than 1e9
    added = pt.maximum(eps * scale**2 / x_squared, 1e-24)
    return x @ y / pt.sqrt(x_squared) / pt.sqrt(y_squared + added)
