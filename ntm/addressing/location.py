"""Location-based addressing: interpolation, convolutional shift and sharpening.

Every function takes the K heads of a layer at once: B batch, K heads, N slots, M slot width, S shifts.
Equations are those of Graves et al. 2014, Neural Turing Machines, section 3.
"""

import pytensor.tensor as pt

from ntm.addressing.content import MAX_SHARPNESS
from ntm.addressing.sizes import get_known_size

SHIFT_MODES = ("zero-padded", "circular")


def interpolate(content, previous, gate):
    """Mix the content weights with those of the step before (equation 7).

    Parameters
    ----------
    content, previous : tensor (B, K, N)
    gate : tensor (B, K)
        In [0, 1]: one takes the content weights, zero the previous ones.

    Returns
    -------
    tensor (B, K, N)
    """
    gate = gate[:, :, None]
    return gate * content + (1.0 - gate) * previous


def shift_offsets(num_shifts):
    """How far each of S shift weights moves the focus: ``-1, 0, 1`` for three, ``0, 1`` for two."""
    return [index - (num_shifts - 1) // 2 for index in range(num_shifts)]


def convolutional_shift(weights, shift, mode="zero-padded"):
    """Move the weights by a distribution over shifts (equation 8).

    A true convolution: ``out[i] = sum_k shift[k] * weights[i - offset_k]``, with the offsets of
    :func:`shift_offsets`.

    Parameters
    ----------
    weights : tensor (B, K, N)
    shift : tensor (B, K, S)
        Shift weights; S known when the graph is built, at most N.
    mode : {'zero-padded', 'circular'}
        What comes in at the ends: nothing (ntm-lasagne and its published models), or what leaves at the
        other end (the paper).

    Returns
    -------
    tensor (B, K, N)

    Raises
    ------
    ValueError
        If `mode` is none of the two or the number of shifts is not known.
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


def sharpen(weights, gamma, eps=1e-6):
    """Raise the weights to a power and normalise them (equation 9).

    Computed as ``softmax(gamma * log(weights + eps))``, which is ``(weights + eps)**gamma`` normalised but
    does not underflow where `gamma` is large.

    Parameters
    ----------
    weights : tensor (B, K, N)
        Not negative.
    gamma : tensor (B, K)
        At least one; taken as at most `MAX_SHARPNESS`.
    eps : float

    Returns
    -------
    tensor (B, K, N), summing to one over the slots
    """
    gamma = pt.minimum(gamma, MAX_SHARPNESS)[:, :, None]
    return pt.special.softmax(gamma * pt.log(weights + eps), axis=-1)
