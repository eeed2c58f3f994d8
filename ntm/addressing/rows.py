"""Reading and writing a few rows of a memory: the Ops that a sparse memory is made of."""

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from lasagne.checks import in_range
from lasagne.tensors import join_last_axes


def _batch_index(positions):
    """The first index of rows at positions (B, P), (B, 1)."""
    return pt.arange(positions.shape[0])[:, None]


class ReadRows(Op):
    """The rows of a memory (B, N, M) at positions (B, P): (B, P, M)."""

    __props__ = ()
    jax_conversions = "ntm.addressing.jax_rows"

    def make_node(self, memory, positions):
        memory, positions = pt.as_tensor(memory), pt.as_tensor(positions)
        shape = (memory.type.shape[0], positions.type.shape[1], memory.type.shape[2])
        return Apply(self, [memory, positions], [pt.tensor(dtype=memory.dtype, shape=shape)])

    def perform(self, node, inputs, output_storage):
        memory, positions = inputs
        output_storage[0][0] = memory[np.arange(len(memory))[:, None], positions]

    def infer_shape(self, *args):
        # PyTensor before 3.3 hands over the graph, the node and the shapes; later only the last two
        (batch, _, width), (_, rows) = args[-1]
        return [(batch, rows, width)]

    def connection_pattern(self, node):
        return [[True], [False]]

    def pullback(self, inputs, outputs, output_grads):
        memory, positions = inputs
        places = pt.zeros_like(memory)[_batch_index(positions), in_range(positions)]
        return [pt.inc_subtensor(places, output_grads[0]), DisconnectedType()()]


class WriteRows(Op):
    """Add to rows of a memory; a position that comes twice is added to twice.

    Inputs are the memory (B, N, M), positions (B, J), what is added there (B, J, M), and, (B,), whether the row at the
    last of the positions is erased before. Outputs are the new memory and what the rows held before, (B, J, M), which
    has no gradient.
    """

    __props__ = ()
    jax_conversions = "ntm.addressing.jax_rows"

    def make_node(self, memory, positions, added, erases):
        inputs = [pt.as_tensor(each) for each in (memory, positions, added, erases)]
        old = pt.tensor(dtype=inputs[0].dtype, shape=inputs[2].type.shape)
        return Apply(self, inputs, [inputs[0].type(), old])

    def perform(self, node, inputs, output_storage):
        memory, positions, added, erases = inputs
        batch = np.arange(len(memory))
        output_storage[1][0] = memory[batch[:, None], positions]
        memory = memory.copy()
        memory[batch[erases], positions[erases, -1]] = 0.0
        np.add.at(memory, (batch[:, None], positions), added)
        output_storage[0][0] = memory

    def infer_shape(self, *args):
        shapes = args[-1]  # as of ReadRows
        return [shapes[0], shapes[2]]

    def connection_pattern(self, node):
        return [[True, False], [False, False], [True, False], [False, False]]

    def pullback(self, inputs, outputs, output_grads):
        _, positions, _, erases = inputs
        grad = output_grads[0]
        added_grad = grad[_batch_index(positions), in_range(positions)]
        erased = grad[pt.arange(positions.shape[0]), in_range(positions[:, -1])]
        kept = pt.switch(erases[:, None], pt.zeros_like(erased), erased)
        disconnected = DisconnectedType()
        return [pt.set_subtensor(erased, kept), disconnected(), added_grad, disconnected()]


def read_rows(memory, positions):
    """The rows at positions of a memory.

    Parameters
    ----------
    memory : tensor (B, N, M)
    positions : integer tensor (B, ...)

    Returns
    -------
    tensor (B, ..., M)
    """
    positions = pt.as_tensor(positions)
    rows = ReadRows().make_node(memory, join_last_axes(positions, 2)).outputs[0]
    leading = [positions.shape[k] for k in range(positions.ndim)]
    return rows.reshape((*leading, memory.shape[2]))


def write_rows(memory, positions, added, erases):
    """The memory after a write to a few of its rows.

    Parameters
    ----------
    memory : tensor (B, N, M)
    positions : integer tensor (B, J)
        A position may come several times.
    added : tensor (B, J, M)
        What is added at each.
    erases : truth values (B,)
        Whether the row at the last of the positions is set to zero before.

    Returns
    -------
    tensor (B, N, M)
    """
    return WriteRows().make_node(memory, positions, added, erases).outputs[0]


class TopK(Op):
    """The positions of the `count` largest numbers along the last axis, the largest first; equals in their order.

    Positions are 32-bit integers. There is no gradient.

    Parameters
    ----------
    count : int
    """

    __props__ = ("count",)
    jax_conversions = "ntm.addressing.jax_rows"

    def __init__(self, count):
        self.count = count

    def make_node(self, x):
        x = pt.as_tensor(x)
        shape = (*x.type.shape[:-1], self.count)
        return Apply(self, [x], [pt.tensor(dtype="int32", shape=shape)])

    def perform(self, node, inputs, output_storage):
        # NaN comes first, as in JAX, so that it is seen
        x = np.where(np.isnan(inputs[0]), np.inf, inputs[0])
        order = np.argsort(-x, axis=-1, kind="stable")
        output_storage[0][0] = order[..., : self.count].astype("int32")

    def infer_shape(self, *args):
        # PyTensor before 3.3 hands over the graph, the node and the shapes; later only the last two
        shapes = args[-1]
        return [(*shapes[0][:-1], pt.constant(self.count))]

    def connection_pattern(self, node):
        return [[False]]
