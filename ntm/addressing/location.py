"""Location-based addressing: interpolation, convolutional shift and sharpening.

Every function takes the K heads of a layer at once: B batch, K heads, N slots, M slot width, S shifts.
Equations are those of Graves et al. 2014, Neural Turing Machines, section 3.
"""

import pytensor.tensor as pt

from ntm.addressing.content import MAX_SHARPNESS
from ntm.addressing.sizes import get_known_size
from ntm.typing import Tensor

SHIFT_MODES = ("zero-padded", "circular")


def interpolate(content: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """Mix the content weights with the weights of the step before (equation 7).

    Parameters
    ----------
    content, previous : tensor (B, K, N)
    gate : tensor (B, K)
        In [0, 1]: 1 takes the content weights, 0 the previous weights.

    Returns
    -------
    tensor (B, K, N)
    """
    gate = gate[:, :, None]
    return gate * content + (1.0 - gate) * previous


def shift_offsets(num_shifts: int) -> list[int]:
    """Return how far each of S shift weights moves the focus: ``-1, 0, 1`` for three, ``0, 1`` for two."""
    return [index - (num_shifts - 1) // 2 for index in range(num_shifts)]


def convolutional_shift(weights: Tensor, shift: Tensor, mode: str = "zero-padded") -> Tensor:
    """Move the weights by a distribution over shifts (equation 8).

    A true convolution: ``out[i] = sum_k shift[k] * weights[i - offset_k]``, with the offsets of
    :func:`shift_offsets`.

    Parameters
    ----------
    weights : tensor (B, K, N)
    shift : tensor (B, K, S)
        Shift weights. S is at most N and must be static.
    mode : {'zero-padded', 'circular'}
        Whether zeros come in at an end of the memory, as in ntm-lasagne and its published models, or the weights that
        leave at the other end, as in the paper.

    Returns
    -------
    tensor (B, K, N)

    Raises
    ------
    ValueError
        If `mode` is neither of the two, or the number of shifts is not static.
    """
    if mode not in SHIFT_MODES:
        raise ValueError(f"shift mode must be one of {SHIFT_MODES}, not {mode!r}")
    num_shifts = get_known_size(shift, 2, "convolutional_shift: the number of shifts")
    offsets = shift_offsets(num_shifts)
    after, before = -offsets[0], offsets[-1]
    if mode == "circular":
        head, tail = weights[:, :, weights.shape[2] - before :], weights[:, :, :after]
    else:
        head, tail = pt.zeros_like(weights[:, :, :before]), pt.zeros_like(weights[:, :, :after])
    parts = [part for part, width in ((head, before), (weights, 1), (tail, after)) if width]
    padded = pt.concatenate(parts, axis=2) if len(parts) > 1 else weights
    num_slots = weights.shape[2]
    shifted = [
        shift[:, :, k, None] * padded[:, :, before - offset : before - offset + num_slots]
        for k, offset in enumerate(offsets)
    ]
    return pt.add(*shifted) if num_shifts > 1 else shifted[0]


def sharpen(weights: Tensor, gamma: Tensor, eps: float = 1e-06) -> Tensor:
    """Raise the weights to a power and normalise them (equation 9).

    The weights are computed as ``softmax(gamma * log(weights + eps))``. This is ``(weights + eps)**gamma``, normalised,
    but it does not underflow where `gamma` is large.

    Parameters
    ----------
    weights : tensor (B, K, N)
        Not negative.
    gamma : tensor (B, K)
        At least one. Larger values than `MAX_SHARPNESS` count as `MAX_SHARPNESS`.
    eps : float

    Returns
    -------
    tensor (B, K, N), summing to one over the slots
    """
    gamma = pt.minimum(gamma, MAX_SHARPNESS)[:, :, None]
    return pt.special.softmax(gamma * pt.log(weights + eps), axis=-1)
