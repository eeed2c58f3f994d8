"""How a sparse memory finds the slots most like a key: by comparing all of them, or by an index.

What finds them is asked once in each step of the loop over time. It keeps what it needs in stores, large arrays without
a gradient of which a step changes a few entries (`ntm.layers.sparse_loop`).

Notation: B batch, N slots, M slot width, R read heads, K slots that each reads, J slots written to, L tables, b bits.
"""

import math
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from lasagne.checks import in_range
from lasagne.init import Normal
from lasagne.layers import Layer
from lasagne.tensors import join_last_axes
from ntm.addressing.rows import read_rows
from ntm.addressing.sparse import get_squares, scaled_cosine, top_k_slots
from ntm.arguments import check_memory_shape, check_options, describe, is_integer

_MAX_BITS = 24
_NUM_FLIPS = 3


class ExactSearch:
    """Compares a key with every slot. The store is the squared length of each slot, (B, N)."""

    num_stores = 1

    def goes_on_from(self, other):
        """Whether another's stores will do."""
        return isinstance(other, ExactSearch)

    def get_params(self, **options):
        """None."""
        return []

    def make_state(self, batch_size) -> list[Any]:
        """What belongs to the state before the first step: nothing, as all follows from the memory."""
        return []

    def pack(self, memory, state):
        """The stores, from the memory and what belongs to the state."""
        return [get_squares(memory)]

    def unpack(self, stores) -> list[Any]:
        """What belongs to the state, from the stores or traces of them."""
        return []

    def update(self, stores, memory, positions, weights, runs, time):
        """The stores after a write.

        Parameters
        ----------
        stores : list of tensors
        memory : tensor (B, N, M)
            After the write.
        positions : integer tensor (B, J)
            Where was written; a position may come several times. The last is of the slot that was erased.
        weights : tensor (B, J)
            Of the write.
        runs : truth values (B,)
            Where not, nothing was written.
        time : integer tensor (B,)
            The number of this step, the first being one.

        Returns
        -------
        list of tensors
        """
        (squares,) = stores
        rows = disconnected_grad(read_rows(memory, positions))
        old = squares[pt.arange(positions.shape[0])[:, None], in_range(positions)]
        return [pt.set_subtensor(old, get_squares(rows))]

    def select(self, key, memory, stores, count):
        """The slots most like each head's key.

        Parameters
        ----------
        key : tensor (B, R, M)
        memory : tensor (B, N, M)
        stores : list of tensors
        count : int
            K.

        Returns
        -------
        integer tensor (B, R, K), without a gradient: different slots, the most alike first, and of slots alike the
        first
        """
        return top_k_slots(key, memory, stores[0], count)


class HyperplaneIndex(Layer):
    """An index of the slots by random hyperplanes: slots on the same sides of them are in one bucket.

    Each of L tables has b random hyperplanes through the origin. A vector's bucket is told by the sides that it lies
    on: two vectors at an angle a lie on the same side of one with probability 1 - a / pi, whatever their length. A slot
    that is written to is entered in its bucket of each table; where that is full, in the place of the slot that was
    entered first. A slot whose bucket has become another is not taken from the old one: there it is a candidate too
    many, no more.

    Candidates for a key are the slots in its buckets, and in those that differ from these in the bits whose hyperplanes
    are nearest to the key. Further candidates are the slots that were least used at the last steps, and so were
    erased and written to anew, and the first K slots, so that there are always K. The candidates are compared with the
    key as they are in the memory at present, and the K most alike are chosen. A slot that was never written to need not
    be found.

    What a step costs does not depend on N. All is found where no bucket overflows and all buckets are looked into,
    ``2**num_flips`` each, or where no more slots were begun than `num_recent`.

    Parameters
    ----------
    memory_shape : tuple (N, M)
    num_tables : int
        L.
    num_bits : int, optional
        b, from 1 to 24: a table has 2**b buckets. Unless given, so many that N slots would fill about half of the
        places of a table.
    bucket_size : int
        How many slots a bucket holds.
    num_flips : int
        How many bits are looked up both ways, at most b: 2**num_flips buckets of each table. The default, 3, stands for
        b where b is less.
    num_recent : int
        Of how many steps the slots least used are candidates.
    hyperplanes : initializer, array, shared variable, expression or callable (M, L * b)
        Normals of the hyperplanes. They are not trained.
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
        memory_shape,
        num_tables=8,
        num_bits=None,
        bucket_size=16,
        num_flips=_NUM_FLIPS,
        num_recent=128,
        hyperplanes=Normal(1.0),
        **kwargs,
    ):
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

    def goes_on_from(self, other):
        """Whether another's stores will do: if it is this one."""
        return other is self

    def make_state(self, batch_size):
        """The empty index.

        Buckets (B, L * 2**b, bucket_size + 1) hold numbers of slots plus one, zero for none, and at the end the
        place that is next. The recent slots (B, num_recent) are such numbers, too.
        """
        buckets = (batch_size, self.num_tables * 2**self.num_bits, self.bucket_size + 1)
        return [pt.zeros(buckets, "int32"), pt.zeros((batch_size, self.num_recent), "int32")]

    def pack(self, memory, state):
        """The stores: what belongs to the state."""
        return list(state)

    def unpack(self, stores):
        """What belongs to the state: the stores."""
        return list(stores)

    def update(self, stores, memory, positions, weights, runs, time):
        """The stores after a write; parameters as of :meth:`ExactSearch.update`."""
        buckets, recent = stores
        rows = disconnected_grad(read_rows(memory, positions))
        enters = pt.and_(pt.gt(disconnected_grad(weights), 0.0), runs[:, None])
        buckets = self._enter(buckets, self._get_buckets(self._project(rows)), positions, enters)
        batch = pt.arange(positions.shape[0])
        place = in_range((time - 1) % self.num_recent)
        newest = pt.switch(runs, positions[:, -1] + 1, recent[batch, place])
        return [buckets, pt.set_subtensor(recent[batch, place], newest)]

    def _project(self, vectors):
        """Products of vectors (B, P, M) with the normals, (B, P, L, b)."""
        batch, count = vectors.shape[0], vectors.shape[1]
        products = vectors.reshape((batch * count, self.memory_shape[1])) @ self.hyperplanes
        products = disconnected_grad(products)
        return products.reshape((batch, count, self.num_tables, self.num_bits))

    def _get_buckets(self, products):
        """The bucket of each table (B, P, L), counted through all tables."""
        bits = pt.gt(products, 0.0) * (1 << np.arange(self.num_bits, dtype="int32"))
        first = np.arange(self.num_tables, dtype="int32") << self.num_bits
        return bits.sum(axis=-1, dtype="int32") + first

    def _enter(self, buckets, numbers, positions, enters):
        """Enter slots at positions (B, J) in buckets of these numbers (B, J, L), unless they are there.

        All entries of a step are made at once. Those of one bucket come into places one after another; of more than it
        holds, the last are left out.
        """
        size, order = self.bucket_size, pt.arange(positions.shape[1])
        batch = pt.arange(positions.shape[0])[:, None, None]
        earlier = pt.lt(order, order[:, None])
        slots = (positions + 1)[:, :, None]
        rows = buckets[batch, in_range(numbers)]
        next_place = rows[..., -1]
        # Sums, as `any` was seen to be wrong in a loop that PyTensor ran in Python
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
        # What is not entered has a place to write to all the same: that of the number that all of a bucket write
        place = pt.switch(enters, (next_place + rank) % size, size)
        entry = pt.switch(enters, slots, after)
        entries = pt.stack([entry, after])
        places = in_range(pt.stack([place, pt.full_like(place, size)]))
        return pt.set_subtensor(buckets[batch, numbers, places], entries)

    def select(self, key, memory, stores, count):
        """The slots most like each head's key; as :meth:`ExactSearch.select`, of the candidates."""
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
        likeness = scaled_cosine(key, products, get_squares(rows))
        return _choose(pt.switch(candidates > 0, likeness, -np.inf), candidates, count)

    def _get_probes(self, key):
        """The buckets where slots like the keys (B, R, M) are looked for, (B, R, L, 2**num_flips)."""
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


def _check(label, name, value, least, most=None):
    """An option that is to be an integer between two numbers."""
    if is_integer(value) and least <= value and (most is None or value <= most):
        return int(value)
    limits = f"at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{label}: {name} must be an integer, {limits}, not {value!r}")


def _choose(likeness, candidates, count):
    """The `count` candidates most alike, each slot once: their positions (B, R, K).

    Parameters
    ----------
    likeness : tensor (B, R, C)
        Minus infinity for no candidate.
    candidates : integer tensor (B, R, C)
        Numbers of slots, plus one; of them at least `count` different ones.
    count : int
    """
    # NaN, too, is to be seen
    likeness = pt.switch(pt.isnan(likeness), np.inf, likeness)
    none = np.iinfo("int32").max
    chosen = []
    for _ in range(count):
        best = pt.eq(likeness, likeness.max(axis=-1, keepdims=True))
        slot = pt.switch(best, candidates, np.int32(none)).min(axis=-1, keepdims=True)
        likeness = pt.switch(pt.eq(candidates, slot), -np.inf, likeness)
        chosen.append(slot)
    return (pt.concatenate(chosen, axis=-1) - 1).astype("int32")


# Exact search takes less time up to here, a step of training with one head of the default sizes (benchmarks/sparse.py)
_MOST_COMPARED = 2**14


def make_search(nearest, memory_shape):
    """What finds the slots most like a key.

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
