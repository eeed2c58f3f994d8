"""Reading and writing a few rows of a memory: the Ops that a sparse memory is made of."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from lasagne.checks import in_range
from lasagne.tensors import join_last_axes
from ntm.typing import Array, Tensor, TensorLike


def _batch_index(positions: Tensor) -> Tensor:
    """Return the first index of the rows at positions (B, P): the number of the sequence, (B, 1)."""
    return pt.arange(positions.shape[0])[:, None]


class ReadRows(Op):
    """An Op that reads the rows of a memory (B, N, M) at positions (B, P): (B, P, M)."""

    __props__ = ()
    jax_conversions = "ntm.addressing.jax_rows"
    keeps_sequences_apart = True

    def make_node(self, memory: TensorLike, positions: TensorLike) -> Apply:
        memory, positions = pt.as_tensor(memory), pt.as_tensor(positions)
        shape = (memory.type.shape[0], positions.type.shape[1], memory.type.shape[2])
        return Apply(self, [memory, positions], [pt.tensor(dtype=memory.dtype, shape=shape)])

    def perform(
        self, node: Apply, inputs: Sequence[Array], output_storage: list[list[Any]]
    ) -> None:
        memory, positions = inputs
        output_storage[0][0] = memory[np.arange(len(memory))[:, None], positions]

    def infer_shape(self, *args: Any) -> list[tuple]:
        # PyTensor before 3.3 hands over the graph, the node and the shapes; later only the last two
        (batch, _, width), (_, rows) = args[-1]
        return [(batch, rows, width)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def pullback(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_grads: Sequence[Any]
    ) -> list[Any]:
        memory, positions = inputs
        places = pt.zeros_like(memory)[_batch_index(positions), in_range(positions)]
        return [pt.inc_subtensor(places, output_grads[0]), DisconnectedType()()]


class WriteRows(Op):
    """An Op that adds to rows of a memory; to a position that comes twice, it adds twice.

    Inputs are the memory (B, N, M), the positions (B, J), the rows to add (B, J, M), and truth values (B,): whether the
    row at the last position is erased first. Outputs are the new memory and the rows before the write, (B, J, M),
    which have no gradient.
    """

    __props__ = ()
    jax_conversions = "ntm.addressing.jax_rows"
    keeps_sequences_apart = True

    def make_node(
        self, memory: TensorLike, positions: TensorLike, added: TensorLike, erases: TensorLike
    ) -> Apply:
        inputs = [pt.as_tensor(each) for each in (memory, positions, added, erases)]
        old = pt.tensor(dtype=inputs[0].dtype, shape=inputs[2].type.shape)
        return Apply(self, inputs, [inputs[0].type(), old])

    def perform(
        self, node: Apply, inputs: Sequence[Array], output_storage: list[list[Any]]
    ) -> None:
        memory, positions, added, erases = inputs
        batch = np.arange(len(memory))
        output_storage[1][0] = memory[batch[:, None], positions]
        memory = memory.copy()
        memory[batch[erases], positions[erases, -1]] = 0.0
        np.add.at(memory, (batch[:, None], positions), added)
        output_storage[0][0] = memory

    def infer_shape(self, *args: Any) -> list[tuple]:
        shapes = args[-1]  # as of ReadRows
        return [shapes[0], shapes[2]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True, False], [False, False], [True, False], [False, False]]

    def pullback(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_grads: Sequence[Any]
    ) -> list[Any]:
        _, positions, _, erases = inputs
        grad = output_grads[0]
        added_grad = grad[_batch_index(positions), in_range(positions)]
        erased = grad[pt.arange(positions.shape[0]), in_range(positions[:, -1])]
        kept = pt.switch(erases[:, None], pt.zeros_like(erased), erased)
        disconnected = DisconnectedType()
        return [pt.set_subtensor(erased, kept), disconnected(), added_grad, disconnected()]


def read_rows(memory: Tensor, positions: TensorLike) -> Tensor:
    """Read the rows of a memory at some positions.

    Parameters
    ----------
    memory : tensor (B, N, M)
    positions : integer tensor (B, ...)

    Returns
    -------
    tensor (B, ..., M)
    """
    positions = pt.as_tensor(positions)
    rows = cast(Tensor, ReadRows().make_node(memory, join_last_axes(positions, 2)).outputs[0])
    leading = [positions.shape[k] for k in range(positions.ndim)]
    return rows.reshape((*leading, memory.shape[2]))


def write_rows(memory: Tensor, positions: Tensor, added: Tensor, erases: Tensor) -> Tensor:
    """Return the memory after a write to a few of its rows.

    Parameters
    ----------
    memory : tensor (B, N, M)
    positions : integer tensor (B, J)
        A position may come several times.
    added : tensor (B, J, M)
        The row to add at each position.
    erases : truth values (B,)
        Whether the row at the last position is set to zero before the rows are added.

    Returns
    -------
    tensor (B, N, M)
    """
    return cast(Tensor, WriteRows().make_node(memory, positions, added, erases).outputs[0])


class Search(Op):
    """The base class of Ops that find positions along the last axis: 32-bit integers, without a gradient."""

    jax_conversions = "ntm.addressing.jax_rows"
    keeps_sequences_apart = True

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False] for _ in node.inputs]


class CountedSearch(Search):
    """The base class of Ops that find `count` positions: (..., count).

    Parameters
    ----------
    count : int
    """

    __props__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    def make_node(self, *inputs: TensorLike) -> Apply:
        tensors = [pt.as_tensor(each) for each in inputs]
        shape = (*tensors[0].type.shape[:-1], self.count)
        return Apply(self, tensors, [pt.tensor(dtype="int32", shape=shape)])

    def infer_shape(self, *args: Any) -> list[tuple]:
        # PyTensor before 3.3 hands over the graph, the node and the shapes; later only the last two
        shapes = args[-1]
        return [(*shapes[0][:-1], pt.constant(self.count))]


class TopK(CountedSearch):
    """An Op that finds the positions of the `count` largest numbers along the last axis.

    The largest number comes first; equal numbers keep their order. Positions are 32-bit integers and have no gradient.

    Parameters
    ----------
    count : int
    """

    def perform(
        self, node: Apply, inputs: Sequence[Array], output_storage: list[list[Any]]
    ) -> None:
        # NaN comes first, as in JAX, so that it is seen
        x = np.where(np.isnan(inputs[0]), np.inf, inputs[0])
        order = np.argsort(-x, axis=-1, kind="stable")
        output_storage[0][0] = order[..., : self.count].astype("int32")


def top_k(x: Tensor, count: int) -> Tensor:
    """Return the positions of the largest numbers along the last axis, (..., count); see :class:`TopK`."""
    return cast(Tensor, TopK(count)(x))


class FirstLeast(Search):
    """An Op that finds the position of the least number along the last axis; of several, the first.

    Positions are 32-bit integers and have no gradient.
    """

    __props__ = ()

    def make_node(self, x: TensorLike) -> Apply:
        x = pt.as_tensor(x)
        return Apply(self, [x], [pt.tensor(dtype="int32", shape=x.type.shape[:-1])])

    def perform(
        self, node: Apply, inputs: Sequence[Array], output_storage: list[list[Any]]
    ) -> None:
        output_storage[0][0] = np.asarray(inputs[0].argmin(axis=-1), "int32")

    def infer_shape(self, *args: Any) -> list[tuple]:
        return [args[-1][0][:-1]]


def first_least(x: Tensor) -> Tensor:
    """Return the position of the least number along the last axis; see :class:`FirstLeast`."""
    return cast(Tensor, FirstLeast()(x))


class MostSimilar(CountedSearch):
    """An Op that finds the `count` most similar of some candidates, each slot once.

    The most similar comes first; of slots that are equally similar, the lower number. NaN counts as the most similar,
    so that an error shows. Numbers of slots are 32-bit integers and have no gradient.

    Parameters
    ----------
    count : int
    """

    def perform(
        self, node: Apply, inputs: Sequence[Array], output_storage: list[list[Any]]
    ) -> None:
        similarity, candidates = inputs
        order = np.argsort(candidates, axis=-1, kind="stable")
        candidates = np.take_along_axis(candidates, order, axis=-1)
        similarity = np.take_along_axis(similarity, order, axis=-1)
        similarity = np.where(np.isnan(similarity), np.inf, similarity)
        repeats = np.zeros(candidates.shape, bool)
        repeats[..., 1:] = candidates[..., 1:] == candidates[..., :-1]
        # An infinity counts before minus infinity, and a repeated slot after all
        order = np.lexsort((-similarity, repeats))[..., : self.count]
        output_storage[0][0] = np.take_along_axis(candidates, order, axis=-1).astype("int32")


def find_most_similar(similarity: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Return the most similar candidates, each slot once, (..., count); see :class:`MostSimilar`.

    Parameters
    ----------
    similarity : tensor (..., C)
        Minus infinity where there is no candidate.
    candidates : integer tensor (..., C)
        Numbers of slots, of which at least `count` differ.
    count : int
    """
    return cast(Tensor, MostSimilar(count)(similarity, candidates))
