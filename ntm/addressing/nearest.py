"""How a sparse memory finds the slots most similar to a key: by comparing all slots, or by an index.

Each step of the loop over time searches once. A search keeps its data in stores: large arrays without a gradient, of
which a step changes a few entries (`ntm.layers.sparse_loop`).

Notation: B batch, N slots, M slot width, R read heads, K slots that each head reads, J slots written to, L tables, b
bits.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from lasagne.checks import in_range
from lasagne.init import Normal
from lasagne.layers import Layer
from lasagne.tensors import join_last_axes
from ntm.addressing.rows import find_most_similar, read_rows
from ntm.addressing.sparse import get_squares, scaled_cosine, top_k_slots
from ntm.arguments import check_memory_shape, check_options, describe, is_integer
from ntm.typing import MemoryShape, ParameterSpec, Tensor, TensorLike

_MAX_BITS = 24
_NUM_FLIPS = 3


class ExactSearch:
    """A search that compares a key with every slot. Its store is the squared length of each slot, (B, N)."""

    num_stores = 1

    def goes_on_from(self, other: Any) -> bool:
        """Return whether this search can continue with the stores of another."""
        return isinstance(other, ExactSearch)

    def get_params(self, **options: bool) -> list[Any]:
        """Return the parameters: there are none."""
        return []

    def make_state(self, batch_size: TensorLike) -> list[Any]:
        """Return the parts of the initial state: none, because all follows from the memory."""
        return []

    def pack(self, memory: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """Return the stores, from the memory and the parts of the state."""
        return [get_squares(memory)]

    def unpack(self, stores: Sequence[Tensor]) -> list[Any]:
        """Return the parts of the state, from the stores or from traces of them."""
        return []

    def update(
        self,
        stores: Sequence[Tensor],
        memory: Tensor,
        positions: Tensor,
        weights: Tensor,
        runs: Tensor,
        time: Tensor,
    ) -> list[Tensor]:
        """Return the stores after a write.

        Parameters
        ----------
        stores : list of tensors
        memory : tensor (B, N, M)
            After the write.
        positions : integer tensor (B, J)
            The slots written to. A slot may come several times. The last is the slot that was erased.
        weights : tensor (B, J)
            Of the write.
        runs : truth values (B,)
            Whether anything was written; false where the mask is zero.
        time : integer tensor (B,)
            The number of this step; the first step is 1.

        Returns
        -------
        list of tensors
        """
        (squares,) = stores
        rows = disconnected_grad(read_rows(memory, positions))
        old = squares[pt.arange(positions.shape[0])[:, None], in_range(positions)]
        return [pt.set_subtensor(old, get_squares(rows))]

    def select(self, key: Tensor, memory: Tensor, stores: Sequence[Tensor], count: int) -> Tensor:
        """Return the slots most similar to each head's key.

        Parameters
        ----------
        key : tensor (B, R, M)
        memory : tensor (B, N, M)
        stores : list of tensors
        count : int
            K.

        Returns
        -------
        integer tensor (B, R, K), without a gradient
            Different slots, the most similar first; of slots that are equally similar, the lower number first.
        """
        return top_k_slots(key, memory, stores[0], count)


class HyperplaneIndex(Layer):
    """An index of the slots by random hyperplanes: slots on the same sides of them are in one bucket.

    This is locality-sensitive hashing. Each of L tables has b random hyperplanes through the origin. The sides on which
    a vector lies are the bits of its bucket. Two vectors at an angle a lie on the same side of a hyperplane with
    probability 1 - a / pi, whatever their length. A slot that is written to is entered in its bucket of each table. A
    full bucket drops the slot that was entered first. A slot whose bucket has changed stays in the old bucket as well:
    there it is one candidate too many, and does no other harm.

    Candidates for a key are the slots in the key's buckets, and in the buckets that differ from them in the bits of the
    hyperplanes nearest to the key (multi-probe). The slots that were erased and written anew at the last `num_recent`
    steps are candidates too, and so are the first K slots, so that there are always K. The candidates are compared with
    the key as the memory holds them now, and the K most similar slots are chosen. A slot that was never written to
    may be missed.

    The cost of a step does not depend on N. Recall is perfect where no bucket overflows and all buckets are looked up
    (``2**num_flips`` of each table), or where no more than `num_recent` slots have been written anew.

    Parameters
    ----------
    memory_shape : tuple (N, M)
    num_tables : int
        L.
    num_bits : int, optional
        b, from 1 to 24: a table has 2**b buckets. By default, N slots fill about half of the places of a table.
    bucket_size : int
        How many slots a bucket holds.
    num_flips : int
        How many bits are looked up both ways, at most b: 2**num_flips buckets of each table. The default, 3, stands for
        b where b is less.
    num_recent : int
        The slots erased and written anew at so many last steps are candidates.
    hyperplanes : initializer, array, shared variable, expression or callable (M, L * b)
        Normal vectors of the hyperplanes. They are not trained.
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers, or a number is not as above.

    References
    ----------
    Charikar 2002, Similarity Estimation Techniques from Rounding Algorithms, section 3.
    Lv et al. 2007, Multi-Probe LSH: Efficient Indexing for High-Dimensional Similarity Search.
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 3.5.
    """

    num_stores = 2

    def __init__(
        self,
        memory_shape: MemoryShape,
        num_tables: int = 8,
        num_bits: int | None = None,
        bucket_size: int = 16,
        num_flips: int = _NUM_FLIPS,
        num_recent: int = 128,
        hyperplanes: ParameterSpec = Normal(1.0),
        **kwargs: Any,
    ) -> None:
        check_options(type(self), kwargs)
        label = describe(type(self).__name__, kwargs.get("name"))
        check_memory_shape(memory_shape, kwargs.get("name"), type(self).__name__)
        super().__init__(tuple(memory_shape), **kwargs)
        self.memory_shape = tuple(memory_shape)
        self.num_tables = _check(label, "num_tables", num_tables, 1)
        self.bucket_size = _check(label, "bucket_size", bucket_size, 1)
        self.num_recent = _check(label, "num_recent", num_recent, 1)
        if num_bits is None:
            half_filled = 2 * self.memory_shape[0] / self.bucket_size
            num_bits = min(max(round(math.log2(half_filled)), 1), _MAX_BITS)
            # The default is for large memories; the few bits of a small one are all looked up both ways
            most_flips = max(num_bits, _NUM_FLIPS)
            num_flips = min(_check(label, "num_flips", num_flips, 0, most_flips), num_bits)
        self.num_bits = _check(label, "num_bits", num_bits, 1, _MAX_BITS)
        self.num_flips = _check(label, "num_flips", num_flips, 0, self.num_bits)
        self.hyperplanes = self.add_param(
            hyperplanes,
            (self.memory_shape[1], self.num_tables * self.num_bits),
            name="hyperplanes",
            trainable=False,
            regularizable=False,
        )

    def goes_on_from(self, other: Any) -> bool:
        """Return whether this index can continue with the stores of another: only with its own."""
        return other is self

    def make_state(self, batch_size: TensorLike) -> list[Tensor]:
        """Return the empty index.

        The buckets (B, L * 2**b, bucket_size + 1) hold the numbers of slots plus one, and zero where there is none; at
        the end of a bucket stands the place that is filled next. The recent slots (B, num_recent) are such numbers too.
        """
        buckets = (batch_size, self.num_tables * 2**self.num_bits, self.bucket_size + 1)
        return [pt.zeros(buckets, "int32"), pt.zeros((batch_size, self.num_recent), "int32")]

    def pack(self, memory: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """Return the stores: they are the parts of the state."""
        return list(state)

    def unpack(self, stores: Sequence[Tensor]) -> list[Tensor]:
        """Return the parts of the state: they are the stores."""
        return list(stores)

    def update(
        self,
        stores: Sequence[Tensor],
        memory: Tensor,
        positions: Tensor,
        weights: Tensor,
        runs: Tensor,
        time: Tensor,
    ) -> list[Tensor]:
        """Return the stores after a write; the parameters are those of :meth:`ExactSearch.update`."""
        buckets, recent = stores
        rows = disconnected_grad(read_rows(memory, positions))
        enters = pt.and_(pt.gt(disconnected_grad(weights), 0.0), runs[:, None])
        buckets = self._enter(buckets, self._get_buckets(self._project(rows)), positions, enters)
        batch = pt.arange(positions.shape[0])
        place = in_range((time - 1) % self.num_recent)
        newest = pt.switch(runs, positions[:, -1] + 1, recent[batch, place])
        return [buckets, pt.set_subtensor(recent[batch, place], newest)]

    def _project(self, vectors: Tensor) -> Tensor:
        """Multiply vectors (B, P, M) with the normal vectors, (B, P, L, b)."""
        batch, count = vectors.shape[0], vectors.shape[1]
        products = vectors.reshape((batch * count, self.memory_shape[1])) @ self.hyperplanes
        products = disconnected_grad(products)
        return products.reshape((batch, count, self.num_tables, self.num_bits))

    def _get_buckets(self, products: Tensor) -> Tensor:
        """Return the bucket in each table, (B, P, L), as a number that counts through all tables."""
        bits = pt.gt(products, 0.0) * (1 << np.arange(self.num_bits, dtype="int32"))
        first = np.arange(self.num_tables, dtype="int32") << self.num_bits
        return bits.sum(axis=-1, dtype="int32") + first

    def _enter(self, buckets: Tensor, numbers: Tensor, positions: Tensor, enters: Tensor) -> Tensor:
        """Enter the slots at positions (B, J) in buckets (B, J, L), unless they are there already.

        All entries of a step are made at once. Entries of the same bucket take one place after another. Entries beyond
        the size of the bucket are left out.
        """
        size, order = self.bucket_size, pt.arange(positions.shape[1])
        batch = pt.arange(positions.shape[0])[:, None, None]
        earlier = pt.lt(order, order[:, None])
        slots = (positions + 1)[:, :, None]
        rows = buckets[batch, in_range(numbers)]
        next_place = rows[..., -1]
        # Sums, because `any` gave wrong results in a loop that PyTensor ran in Python
        is_there = pt.eq(rows[..., :-1], slots[..., None]).sum(axis=-1, dtype="int32") > 0
        again = pt.eq(positions[:, :, None], positions[:, None, :])
        again = (again & enters[:, None, :] & earlier).sum(axis=2, dtype="int32") > 0
        enters = (enters & ~again)[:, :, None] & ~is_there
        # (B, J, J, L): which slot enters the bucket of which
        same = pt.eq(numbers[:, :, None], numbers[:, None]) & enters[:, None]
        rank = (same & earlier[:, :, None]).sum(axis=2, dtype="int32")
        total = same.sum(axis=2, dtype="int32")
        after = (next_place + pt.minimum(total, size)) % size
        enters = enters & pt.lt(rank, size)
        # A slot that is not entered must still write something somewhere: it writes the next place at the end of its
        # bucket, as every entry of this bucket does
        place = pt.switch(enters, (next_place + rank) % size, size)
        entry = pt.switch(enters, slots, after)
        entries = pt.stack([entry, after])
        places = in_range(pt.stack([place, pt.full_like(place, size)]))
        return pt.set_subtensor(buckets[batch, numbers, places], entries)

    def select(self, key: Tensor, memory: Tensor, stores: Sequence[Tensor], count: int) -> Tensor:
        """Return the candidates most similar to each head's key; parameters as of :meth:`ExactSearch.select`."""
        buckets, recent = stores
        key, memory = disconnected_grad(key), disconnected_grad(memory)
        size, reads = key.shape[0], key.shape[1]
        found = buckets[pt.arange(size)[:, None, None, None], self._get_probes(key)][..., :-1]
        first = pt.arange(1, count + 1, dtype="int32")
        candidates = pt.concatenate(
            [
                join_last_axes(found, 3),
                pt.alloc(recent[:, None], size, reads, self.num_recent),
                pt.alloc(first, size, reads, count),
            ],
            axis=2,
        )
        rows = read_rows(memory, pt.maximum(candidates - 1, 0))
        products = (rows * key[:, :, None, :]).sum(axis=-1)
        similarity = scaled_cosine(key, products, get_squares(rows))
        similarity = pt.switch(candidates > 0, similarity, -np.inf)
        return find_most_similar(similarity, candidates, count) - np.int32(1)

    def _get_probes(self, key: Tensor) -> Tensor:
        """Return the buckets to look up for keys (B, R, M): (B, R, L, 2**num_flips)."""
        products = self._project(key)
        margins, flips = abs(products), []
        for _ in range(self.num_flips):
            nearest = pt.eq(pt.arange(self.num_bits), margins.argmin(axis=-1)[..., None])
            margins = pt.switch(nearest, np.inf, margins)
            bits = nearest * (1 << np.arange(self.num_bits, dtype="int32"))
            flips.append(bits.sum(axis=-1, dtype="int32"))
        probes = self._get_buckets(products)[..., None]
        for flip in flips:
            probes = pt.concatenate([probes, pt.bitwise_xor(probes, flip[..., None])], axis=-1)
        return probes


def _check(label: str, name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return an option as an int; raise a `ValueError` unless it is an integer within its bounds."""
    if is_integer(value) and least <= value and (most is None or value <= most):
        return int(value)
    limits = f"at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{label}: {name} must be an integer, {limits}, not {value!r}")


# Up to so many slots an exact search takes less time than an index of the default sizes: measured for a training step
# with one head (benchmarks/sparse.py)
_MOST_COMPARED = 2**14


def make_search(nearest: Any, memory_shape: MemoryShape) -> ExactSearch | HyperplaneIndex:
    """Make the search that finds the slots most similar to a key.

    Parameters
    ----------
    nearest : {"exact", "lsh", "auto"} or HyperplaneIndex
        ``"hashing"`` is an old name of ``"lsh"``.
    memory_shape : tuple (N, M)

    Returns
    -------
    ExactSearch or HyperplaneIndex

    Raises
    ------
    ValueError
        If `nearest` is none of these, or an index for a memory of another shape.
    """
    if isinstance(nearest, HyperplaneIndex):
        if nearest.memory_shape != tuple(memory_shape):
            raise ValueError(
                f"{describe('HyperplaneIndex', nearest.name)} was made for memory_shape="
                f"{nearest.memory_shape}, but the memory is {tuple(memory_shape)}"
            )
        return nearest
    name = nearest if isinstance(nearest, str) else None
    if name == "auto":
        name = "exact" if memory_shape[0] <= _MOST_COMPARED else "lsh"
    if name == "exact":
        return ExactSearch()
    if name in ("lsh", "hashing"):
        return HyperplaneIndex(memory_shape, name="index")
    raise ValueError(
        f"nearest must be 'exact', 'lsh', 'auto' or a HyperplaneIndex, not {nearest!r}"
    )
