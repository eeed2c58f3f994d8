"""Reading and writing with weights over all slots.

Every function takes the K heads of a layer at once: B batch, K heads, N slots, M slot width, S shifts.
Equations are those of Graves et al. 2014, Neural Turing Machines, section 3.

The memory comes with its slots last, (B, M, N), as the loop of an NTM holds it. N is mostly a multiple of the length of
the processor's vectors and M is not, so a training step takes a third of the time.
"""

from ntm.addressing.sizes import get_known_size
from ntm.typing import Tensor


def read(memory: Tensor, weights: Tensor) -> Tensor:
    """Return the read vectors: the slots averaged by the weights (equation 2).

    Parameters
    ----------
    memory : tensor (B, M, N)
    weights : tensor (B, R, N)

    Returns
    -------
    tensor (B, R, M)
    """
    return weights @ memory.transpose(0, 2, 1)


def write(memory: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Return the memory after all heads have erased and then added (equations 3 and 4).

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
    for head in range(get_known_size(weights, 1, "write: the number of heads")):
        # The outer product is written as a product of matrices, so that its gradient is one as well: an elementwise
        # product would have a gradient that multiplies and sums, which takes longer
        erased = erase[:, head, :, None] @ weights[:, head, None, :]
        memory = memory * (1.0 - erased)
    return memory + add.transpose(0, 2, 1) @ weights
