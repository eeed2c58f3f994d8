"""How a sparse memory finds the slots that it reads and writes: functions of tensors, without state.

Notation: B batch, N slots, M slot width, R read heads, K slots that each reads, J = R K + 1 slots written to.
Equations are those of Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes,
section 3.
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from ntm import addressing

# As in `ntm.similarities`
_EPS = 1e-6


class TopK(Op):
    """The positions of the `count` largest numbers along the last axis, the largest first; equals in their order.

    Positions are 32-bit integers. There is no gradient.

    Parameters
    ----------
    count : int
    """

    __props__ = ("count",)

    def __init__(self, count):
        self.count = count

    def make_node(self, x):
        x = pt.as_tensor(x)
        shape = (*x.type.shape[:-1], self.count)
        return Apply(self, [x], [pt.tensor(dtype="int32", shape=shape)])

    def perform(self, node, inputs, output_storage):
        order = np.argsort(-inputs[0], axis=-1, kind="stable")
        output_storage[0][0] = order[..., : self.count].astype("int32")

    def infer_shape(self, fgraph, node, shapes):
        return [(*shapes[0][:-1], pt.constant(self.count))]

    def connection_pattern(self, node):
        return [[False]]


def select_slots(key, memory, squares, count):
    """The slots most like each head's key, by cosine similarity; there is no gradient.

    Every slot is compared. Whatever else finds such slots, such as an index of them, takes this function's place.

    Parameters
    ----------
    key : tensor (B, R, M)
    memory : tensor (B, N, M)
    squares : tensor (B, N)
        The squared length of each slot.
    count : int
        K.

    Returns
    -------
    integer tensor (B, R, K), the most alike first, and of slots alike the first
    """
    key, memory, squares = (disconnected_grad(each) for each in (key, memory, squares))
    key_squares = pt.maximum((key * key).sum(axis=-1), 1e-18)
    added = pt.maximum(_EPS / key_squares, 1e-24)[:, :, None]
    likeness = pt.matmul(key, memory.transpose(0, 2, 1)) / pt.sqrt(squares[:, None, :] + added)
    return TopK(count)(likeness)


def get_read_weights(key, beta, rows):
    """Weights of the slots read, by likeness to the key: a softmax over these slots alone (section 3.1).

    Parameters
    ----------
    key : tensor (B, R, M)
    beta : tensor (B, R)
        Key strength, not negative.
    rows : tensor (B, R, K, M)

    Returns
    -------
    tensor (B, R, K), positive, in sum one for each head
    """
    batch, reads, count, width = (rows.shape[k] for k in range(4))
    weights = addressing.content_weights(
        key.reshape((batch * reads, 1, width)),
        beta.reshape((batch * reads, 1)),
        rows.reshape((batch * reads, count, width)).transpose(0, 2, 1),
    )
    return weights.reshape((batch, reads, count))


def read(rows, weights):
    """Read vectors (B, R, M), from rows (B, R, K, M) and weights (B, R, K) (equation 1)."""
    return (weights[:, :, :, None] * rows).sum(axis=2)


def find_least_used(usage):
    """The slot that was not accessed for longest, (B,); of several, the first. There is no gradient.

    Parameters
    ----------
    usage : integer tensor (B, N)
        The step of the last access to each slot.
    """
    # PyTensor has no gradient of an argmin of integers, not even that there is none
    usage = disconnected_grad(usage.astype("float64"))
    return usage.argmin(axis=1).astype("int32")


def get_write_weights(read_weights, write_gate, interpolation_gate):
    """Weights of the slots read last, and of the one least used (equation 5).

    Parameters
    ----------
    read_weights : tensor (B, R, K)
        Of the step before; R must be known when the graph is built. The slots read last are those of all heads,
        each head counting alike.
    write_gate : tensor (B,)
        How much is written.
    interpolation_gate : tensor (B,)
        How much of that to the slots read last; the rest to the slot least used.

    Returns
    -------
    tensor (B, J), the slot least used last
    """
    heads = read_weights.type.shape[1]
    last_read = read_weights.flatten(2) * (interpolation_gate / heads)[:, None]
    least_used = (1.0 - interpolation_gate)[:, None]
    return pt.concatenate([last_read, least_used], axis=1) * write_gate[:, None]


def update_usage(usage, time, positions, weights, threshold):
    """The step of the last access to each slot, after this step's accesses.

    Parameters
    ----------
    usage : integer tensor (B, N)
    time : integer tensor (B,)
        The number of this step.
    positions : integer tensor (B, P)
        Of the slots read and written. Some may be the same; their weights are summed.
    weights : tensor (B, P)
    threshold : float
        delta: what is accessed with no more weight counts as not accessed.

    Returns
    -------
    integer tensor (B, N)
    """
    same = pt.eq(positions[:, :, None], positions[:, None, :])
    weights = disconnected_grad(weights)
    total = pt.switch(same, weights[:, None, :], 0.0).sum(axis=2)
    batch = pt.arange(positions.shape[0])[:, None]
    old = usage[batch, positions]
    return pt.set_subtensor(old, pt.switch(total > threshold, time[:, None], old))


def get_squares(memory):
    """The squared length of each slot, (..., N), of a memory (..., N, M)."""
    return (memory * memory).sum(axis=-1)


def spread(positions, weights, num_slots):
    """Weights of all slots (..., N), from the positions (..., P) and the weights (..., P) of a few."""
    places = pt.eq(positions[..., None], pt.arange(num_slots))
    return pt.switch(places, weights[..., None], 0.0).sum(axis=-2).astype(weights.dtype)
