"""Reading and writing with weights over all slots.

Every function takes the K heads of a layer at once: B batch, K heads, N slots, M slot width, S shifts.
Equations are those of Graves et al. 2014, Neural Turing Machines, section 3.

The memory comes with its slots last, (B, M, N), as the loop of an NTM holds it: N is mostly a multiple of the length of
the processor's vectors and M is not, so a training step takes a third of the time.
"""

import pytensor.tensor as pt

from ntm.addressing.sizes import get_known_size


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
    for head in range(get_known_size(weights, 1, "write: the number of heads")):
        # An outer product as a product of matrices: then its gradient is one, too, rather than a sum of products
        erased = pt.matmul(erase[:, head, :, None], weights[:, head, None, :])
        memory = memory * (1.0 - erased)
    return memory + pt.matmul(add.transpose(0, 2, 1), weights)
