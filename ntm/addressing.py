"""How a head finds its place in memory: functions of tensors, without state.

Every function takes the K heads of a layer at once: B batch, K heads, N slots, M slot width, S shifts.
Equations are those of Graves et al. 2014, Neural Turing Machines, section 3.

The memory comes with its slots last, (B, M, N), as the loop of an NTM holds it: N is mostly a multiple of the length of
the processor's vectors and M is not, so a training step takes a third of the time.
"""

import pytensor.tensor as pt

from ntm.similarities import cosine_similarity_to_columns

SHIFT_MODES = ("zero-padded", "circular")

# Key strength and sharpening beyond this change nothing that float32 can tell, but make a softmax of numbers so
# large that their rounding error (64 at 1e9) is no longer small: compiled code that computes them twice, once with
# a fused multiplication and once without, then divides zero by zero
MAX_SHARPNESS = 1e6


def content_weights(key, beta, memory, similarity=cosine_similarity_to_columns):
    """Weights by likeness of the slots to a key (equation 5).

    Parameters
    ----------
    key : tensor (B, K, M)
    beta : tensor (B, K)
        Key strength, not negative; taken as at most `MAX_SHARPNESS`.
    memory : tensor (B, M, N)
    similarity : callable
        ``similarity(key, memory)`` gives ``(B, K, N)``.

    Returns
    -------
    tensor (B, K, N), positive, summing to one over the slots
    """
    beta = pt.minimum(beta, MAX_SHARPNESS)[:, :, None]
    return pt.special.softmax(beta * similarity(key, memory), axis=-1)


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
    num_shifts = shift.type.shape[-1]
    if num_shifts is None:
        raise ValueError("convolutional_shift: the number of shifts (last axis) must be static")
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


def read(memory, weights):
    """Read vectors: the slots averaged by the weights (equation 2).

    Parameters
    ----------
    memory : tensor (B, M, N)
    weights : tensor (B, R, N)

    Returns
    -------
    tensor (B, R, M)
    """
    return pt.matmul(weights, memory.transpose(0, 2, 1))


def write(memory, weights, erase, add):
    """Erase, then add (equations 3 and 4); all heads erase before any adds.

    Parameters
    ----------
    memory : tensor (B, M, N)
    weights : tensor (B, W, N)
    erase : tensor (B, W, M)
        In [0, 1].
    add : tensor (B, W, M)

    Returns
    -------
    tensor (B, M, N)
    """
    for head in range(_static_heads(weights)):
        # An outer product as a product of matrices: then its gradient is one, too, rather than a sum of products
        erased = pt.matmul(erase[:, head, :, None], weights[:, head, None, :])
        memory = memory * (1.0 - erased)
    return memory + pt.matmul(add.transpose(0, 2, 1), weights)


def _static_heads(weights):
    num_heads = weights.type.shape[1]
    if num_heads is None:
        raise ValueError("write: the number of heads (axis 1 of the weights) must be static")
    return num_heads
