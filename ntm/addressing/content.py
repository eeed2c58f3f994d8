"""Content addressing: weights by the similarity of slots to a key.

Every function takes the K heads of a layer at once: B batch, K heads, N slots, M slot width, S shifts.
Equations are those of Graves et al. 2014, Neural Turing Machines, section 3.

The memory comes with its slots last, (B, M, N), as the loop of an NTM holds it. N is mostly a multiple of the length of
the processor's vectors and M is not, so a training step takes a third of the time.
"""

from collections.abc import Callable

import pytensor.tensor as pt

from ntm.similarities import cosine_similarity_to_columns
from ntm.typing import Tensor

# A larger key strength or sharpening changes no result in float32. It makes the softmax take numbers so large that
# their rounding error (64 at 1e9) matters: compiled code may compute such a number twice, once with a fused
# multiplication and once without, and then divides zero by zero
MAX_SHARPNESS = 1e6


def content_weights(
    key: Tensor,
    beta: Tensor,
    memory: Tensor,
    similarity: Callable[[Tensor, Tensor], Tensor] = cosine_similarity_to_columns,
) -> Tensor:
    """Return weights by the similarity of the slots to a key (equation 5).

    Parameters
    ----------
    key : tensor (B, K, M)
    beta : tensor (B, K)
        Key strength, not negative. Larger values count as `MAX_SHARPNESS`.
    memory : tensor (B, M, N)
    similarity : callable
        ``similarity(key, memory)`` gives ``(B, K, N)``.

    Returns
    -------
    tensor (B, K, N), positive, summing to one over the slots
    """
    beta = pt.minimum(beta, MAX_SHARPNESS)[:, :, None]
    return pt.special.softmax(beta * similarity(key, memory), axis=-1)
