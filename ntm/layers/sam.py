"""The Sparse Access Memory as a Lasagne layer, and what it shares with the sparse DNC.

Notation: B batch, T time steps, F input features, N slots, M slot width, R read heads, K slots that each head reads,
H controller units.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import Any, Unpack

import pytensor
import pytensor.tensor as pt

from lasagne.layers import Layer
from lasagne.tensors import join_last_axes
from lasagne.utils import unique
from ntm.addressing import sparse as sparse_addressing
from ntm.addressing import sparse_links
from ntm.addressing.nearest import HyperplaneIndex, make_search
from ntm.addressing.rows import read_rows, write_rows
from ntm.addressing.sparse import count_minima, get_minima, to_dense, update_minima
from ntm.arguments import is_integer, is_number
from ntm.controllers import Controller
from ntm.heads.sparse import SAMReadHead, SAMWriteHead, SparseHeadCollection, SparseInterface
from ntm.layers.base import ReadVectorsLayer, keep_where_masked
from ntm.layers.options import LoopOptions, takes_loop_options
from ntm.layers.state import IndexedSAMState, SAMState
from ntm.memory import Memory
from ntm.typing import Incoming, MemoryShape, Tensor, TensorLike


class SparseMemoryLayer(ReadVectorsLayer):
    """The base class of memory layers of which a step reads and writes a few slots.

    A step writes to the slots read at the step before and to the least recently used slot, as :class:`SAMLayer` says. A
    subclass sets the kinds of its read heads and of its state (`read_head_type`, `state_type`, and `indexed_state_type`
    for a memory with an index) and defines :meth:`_read`. A subclass may store more for every slot than memory and last
    access: `num_links_stores` tensors, which :meth:`_make_initial_parts` makes, :meth:`_pack_links` and
    :meth:`_unpack_links` take into the loop and out, and :meth:`_update_links` changes.

    Parameters
    ----------
    incoming, memory, controller, heads, num_reads, num_read_slots, usage_threshold, nearest, **options
        As in :class:`SAMLayer`.

    Raises
    ------
    ValueError
        If shapes or numbers of heads, slots, memory, controller and input do not fit each other.
    TypeError
        If an argument is not of a kind that :class:`SAMLayer` lists, or an option is unknown.
    """

    write_head_type = SAMWriteHead
    state_type: Any
    indexed_state_type: Any
    num_links_stores = 0
    detail_names = (*ReadVectorsLayer.detail_names, "reads", "read_positions", "last_access")

    @takes_loop_options
    def __init__(
        self,
        incoming: Incoming,
        memory: Memory | MemoryShape,
        controller: Controller | Callable[[Layer], Layer],
        heads: Sequence[Any] | None = None,
        num_reads: int | None = None,
        num_read_slots: int = 4,
        usage_threshold: float = 0.005,
        nearest: str | HyperplaneIndex = "exact",
        **options: Unpack[LoopOptions],
    ) -> None:
        self.num_read_slots = num_read_slots
        self.usage_threshold = usage_threshold
        self.nearest = nearest
        super().__init__(
            incoming,
            memory,
            controller,
            heads,
            num_reads,
            **options,
        )

    def _check_options(self) -> None:
        super()._check_options()
        slots, threshold = self.num_read_slots, self.usage_threshold
        num_slots = self.memory.memory_shape[0]
        if not is_integer(slots) or not 1 <= slots <= num_slots:
            self._fail(
                f"num_read_slots must be an integer from 1 to the {num_slots} slots of the memory, not "
                f"{slots!r}"
            )
        if not is_number(threshold) or not 0 <= threshold < 1:
            self._fail(f"usage_threshold must be a number from 0 to below 1, not {threshold!r}")
        try:
            self.search = make_search(self.nearest, self.memory.memory_shape)
        except ValueError as error:
            self._fail(str(error))

    def _prepare(self, write_heads: list[Any], read_heads: list[Any]) -> None:
        if len(write_heads) != 1 or not read_heads:
            self._fail(
                f"one {self.write_head_type.__name__} and at least one {self.read_head_type.__name__} are needed, "
                f"but there are {len(write_heads)} and {len(read_heads)}"
            )
        super()._prepare(write_heads, read_heads)
        self.all_heads = SparseHeadCollection(write_heads[0], read_heads)

    # ---- state

    @property
    def num_places(self) -> int:
        """The number of slots that a head reads at a step; a slot read in two ways counts twice."""
        return int(self.num_read_slots)

    def _make_initial_state(self, batch_size: TensorLike) -> Any:
        parts = self._make_initial_parts(batch_size)
        return self._make_state(parts, self.search.make_state(batch_size))

    def _make_state(self, parts: dict[str, Any], index: Sequence[Tensor]) -> Any:
        """Make the state from parts by name, and from the parts of an index if there is one."""
        kind = self.indexed_state_type if index else self.state_type
        return kind(**parts, **dict(zip(kind._fields[len(parts) :], index, strict=True)))

    def _make_initial_parts(self, batch_size: TensorLike) -> dict[str, Any]:
        """Return the parts of the initial state, by name."""
        num_slots, width = self.memory.memory_shape
        dtype = pytensor.config.floatX
        reads, places = self.num_reads, self.num_places
        return {
            "memory": self.memory.get_initial_value(batch_size),
            "controller": tuple(self.controller.outputs_info(batch_size)),
            "write_weights": pt.zeros((batch_size, reads * places + 1), dtype),
            "write_positions": pt.zeros((batch_size, reads * places + 1), "int32"),
            "read_weights": pt.zeros((batch_size, reads, places), dtype),
            "read_positions": pt.zeros((batch_size, reads, places), "int32"),
            "reads": pt.zeros((batch_size, reads, width), dtype),
            "last_access": pt.zeros((batch_size, num_slots), "int32"),
            "time": pt.zeros((batch_size,), "int32"),
        }

    def _pack(self, state: Any) -> list[Tensor]:
        """Return the parts in the loop: the small parts, the controller's state, the memory, then the stores."""
        return [
            state.write_weights,
            state.write_positions,
            state.read_weights,
            state.read_positions,
            self._side_by_side(state.reads),
            state.time,
            *state.controller,
            state.memory,
            *self._join_stores(
                state.last_access,
                get_minima(state.last_access),
                self.search.pack(state.memory, state[len(self.state_type._fields) :]),
                self._pack_links(state),
            ),
        ]

    def _unpack(self, parts: Sequence[Tensor]) -> Any:
        write_weights, write_positions, read_weights, read_positions, reads, time, *rest = parts
        controller, (memory, *stores) = self._split(rest)
        last_access, _, found, links = self._split_stores(stores)
        by_name = {
            "memory": memory,
            "controller": tuple(controller),
            "write_weights": write_weights,
            "write_positions": write_positions,
            "read_weights": read_weights,
            "read_positions": read_positions,
            "reads": self._set_apart(reads),
            "last_access": last_access,
            "time": time,
            **self._unpack_links(links),
        }
        return self._make_state(by_name, self.search.unpack(found))

    def _pack_links(self, state: Any) -> list:
        """Return the stores besides memory and last access, which have no gradient."""
        return []

    def _unpack_links(self, links: Sequence[Tensor]) -> dict:
        """Return the parts of the state that such stores give, by name."""
        return {}

    @property
    def num_large(self) -> int:
        """The number of large parts in the loop, which come last: the memory, then the stores."""
        num_minima = count_minima(self.memory.memory_shape[0])
        return 2 + num_minima + self.search.num_stores + self.num_links_stores

    def _split(self, parts: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Split parts into the small and the large."""
        return parts[: -self.num_large], parts[-self.num_large :]

    def _join_stores(
        self,
        last_access: Tensor,
        minima: Sequence[Tensor],
        found: Sequence[Tensor],
        links: Sequence[Tensor],
    ) -> list[Tensor]:
        """Return the stores in their order: last access, its minima, the stores of the search, the links."""
        return [last_access, *minima, *found, *links]

    def _split_stores(
        self, stores: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """Split the stores that :meth:`_join_stores` joined."""
        first = 1 + count_minima(self.memory.memory_shape[0])
        end = first + self.search.num_stores
        return stores[0], stores[1:first], stores[first:end], stores[end:]

    # ---- a step

    def _step(
        self,
        projected: Tensor,
        before: Sequence[Tensor],
        mask: Tensor | None,
        fused: list[Any],
        advance: Callable[..., list[Tensor]],
    ) -> list[Tensor]:
        """Advance a step; where the mask is zero, the step itself leaves memory and stores alone.

        To switch between two memories would copy a whole one at each step.
        """
        small, large = self._split(advance(projected, before, fused, mask=mask))
        small_before, _ = self._split(before)
        return [*keep_where_masked(mask, small, small_before), *large]

    def _advance(
        self,
        projected: Tensor,
        parts: Sequence[Tensor],
        fused: list[Any],
        use_memory: bool,
        kwargs: dict[str, Any],
        mask: Tensor | None = None,
    ) -> list[Tensor]:
        _, _, last_weights, last_positions, reads, time, *rest = parts
        controller, large = self._split(rest)
        memory, *stores = large
        last_access, minima, found, links = self._split_stores(stores)
        controller = self.controller.advance(projected, reads, controller, fused[0], **kwargs)
        if not use_memory:
            return [*parts[:4], pt.zeros_like(reads), time, *controller, *large]
        interface = self.all_heads.get_interface(controller[0], fused[1])
        # Where the mask is zero, nothing is written: the memory and the stores are not switched, see `_step`
        runs = pt.ones_like(time, dtype="bool") if mask is None else pt.neq(mask, 0)
        time = time + 1

        # Write: to the slots read at the step before, then to the least recently used slot, which is erased first
        least_used = sparse_addressing.find_least_used(last_access, minima)
        write_positions = pt.concatenate(
            [join_last_axes(last_positions, 2), least_used[:, None]], axis=1
        )
        write_weights = sparse_addressing.get_write_weights(
            last_weights, interface.write_gate, interface.interpolation_gate
        )
        added = write_weights[:, :, None] * interface.add[:, None, :]
        added = pt.switch(runs[:, None, None], added, pt.zeros_like(added))
        memory = write_rows(memory, write_positions, added, erases=runs)
        found = self.search.update(found, memory, write_positions, write_weights, runs, time)
        links = self._update_links(links, write_positions, write_weights, runs)

        # Read, then note which slots were written or read with enough weight to count as accessed
        read_positions, read_weights, rows = self._read(
            interface, memory, found, links, last_positions, last_weights
        )
        reads = self._side_by_side(sparse_addressing.read(rows, read_weights))
        weights = pt.concatenate([write_weights, join_last_axes(read_weights, 2)], axis=1)
        accessed = pt.concatenate([write_positions, join_last_axes(read_positions, 2)], axis=1)
        last_access = sparse_addressing.update_last_access(
            last_access,
            time,
            accessed,
            pt.switch(runs[:, None], weights, pt.zeros_like(weights)),
            self.usage_threshold,
        )
        return [
            write_weights,
            write_positions,
            read_weights,
            read_positions,
            reads,
            time,
            *controller,
            memory,
            *self._join_stores(
                last_access, update_minima(minima, last_access, accessed), found, links
            ),
        ]

    def _update_links(
        self, links: Sequence[Tensor], write_positions: Tensor, write_weights: Tensor, runs: Tensor
    ) -> Sequence[Tensor]:
        """Return the links after a write; they do not change where `runs`, (B,), is false."""
        return links

    def _read(
        self,
        interface: SparseInterface,
        memory: Tensor,
        found: Sequence[Tensor],
        links: Sequence[Tensor],
        last_positions: Tensor,
        last_weights: Tensor,
    ) -> Any:
        """Choose the slots to read, and read them.

        Parameters
        ----------
        interface : ntm.heads.sparse.SparseInterface
        memory : tensor (B, N, M)
            After the write, like `found` and `links`.
        found : list of tensors
            The stores of the search.
        links : list of tensors
            From :meth:`_update_links`.
        last_positions, last_weights : tensors (B, R, V)
            Of the read of the step before; V is `num_places`.

        Returns
        -------
        integer tensor (B, R, V), tensor (B, R, V)
            The slots read, and their weights.
        tensor (B, R, V, M)
            The contents of the slots.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define _read()")

    # ---- what a step shows

    @property
    def trace_sizes(self) -> dict[str, int]:
        """How many numbers the memory has at each step, with all that is stored for every slot."""
        large = self._pack(self.get_initial_state(1))[-self.num_large :]
        return {"memory": sum(prod(part.type.shape[1:]) for part in large)}

    def _watch(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> dict[str, Tensor]:
        # How long ago the slots that the step writes and reads were accessed last
        last_access, time = self._split(before)[1][1], after[5]
        ages = {}
        for name, positions in (("written", after[1]), ("read", after[3])):
            now = time.reshape((-1,) + (1,) * (positions.ndim - 1))
            ages[f"age {name}"] = now - sparse_links.read_store(last_access, positions)
        return ages

    def _show_head(
        self, writes: bool, number: int, state: Any, seen: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        if writes:
            weights, positions, age = (
                state.write_weights,
                state.write_positions,
                seen["age written"],
            )
            results = {"age": age}
        else:
            weights, positions, age = (
                each[:, :, number]
                for each in (state.read_weights, state.read_positions, seen["age read"])
            )
            results = {"age": age, "read vector": state.reads[:, :, number]}
        return {"weights": weights, "used": weights, "positions": positions, "results": results}

    def _show_states(
        self, state: Any, seen: Mapping[str, Tensor], leave_out: Collection[str]
    ) -> dict[str, Tensor]:
        return {} if "memory" in leave_out else {"last access": state.last_access}

    # ---- output

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
        """Return the parameters as every memory layer does, then those of the index."""
        params = super().get_params(unwrap_shared=unwrap_shared, **tags)
        return unique([*params, *self.search.get_params(unwrap_shared=unwrap_shared, **tags)])

    def _get_details(self, traces: Any) -> list[Tensor]:
        """Return the traces; the weights are those of all slots, (T, B, 1, N) and (T, B, R, N)."""
        num_slots = self.memory.memory_shape[0]
        written = to_dense(traces.write_positions, traces.write_weights, num_slots)
        traces_of_all = traces._replace(
            write_weights=written[:, :, None],
            read_weights=to_dense(traces.read_positions, traces.read_weights, num_slots),
        )
        return [
            *super()._get_details(traces_of_all),
            traces.reads,
            traces.read_positions,
            traces.last_access,
        ]


class SAMLayer(SparseMemoryLayer):
    """A Sparse Access Memory: a step reads a few slots, and writes to the slots read last and to one unused slot.

    At each step the controller computes its output h(t) from the input and the read vectors of the step before. From
    h(t) the write head writes to the slots read at the step before, or to the least recently used slot, which is erased
    first. Then each read head reads the K slots most similar to its key. The layer's output is h and the R
    read vectors side by side, of shape (B, T, H + R * M).

    For the gradient, training stores the rows of the memory that each step changed, and undoes the writes on the way
    back. So it needs memory for 2 N M + T R K M numbers for each sequence, and not for T N M. This holds on the JAX
    back end, unless the traces of the memory are asked for (``get_details=True``) or `gradient_steps`, `grad_clipping`,
    `unroll_scan` or `checkpoint_every` is given: then the memory of every step is stored.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: LSTMController(l, num_units=100)``, becomes a
        :class:`ntm.controllers.StackController` of the right sizes.
    heads : list of SAMWriteHead and SAMReadHead, optional
        One write head and at least one read head. By default, `num_reads` read heads. With a
        function as controller, the heads are given as classes or as ``functools.partial`` of classes.
    num_reads : int, optional
        R, the number of read heads to make where `heads` is not given. By default, the number that the controller was
        made for, or one if the controller is a function.
    num_read_slots : int
        K, the number of slots that a head reads at a step: at most N.
    usage_threshold : float
        delta: reading or writing a slot with no more weight than this does not count as an access.
    nearest : {"exact", "lsh", "auto"} or HyperplaneIndex
        How the slots most similar to a key are found. ``"exact"`` compares all slots; ``"lsh"`` (locality-sensitive
        hashing) stands for ``HyperplaneIndex((N, M))``, an index that finds most of them in a time that does not depend
        on N; ``"auto"`` takes the index above 16,384 slots. With an index the state is an
        :class:`ntm.layers.IndexedSAMState`.
    **options
        Options of the loop over time, and `name`: see :class:`ntm.layers.LoopOptions`.

    Raises
    ------
    ValueError
        If shapes or numbers of heads, slots, memory, controller and input do not fit each other.
    TypeError
        If an argument is not of a kind listed above, or an option is unknown.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 3.

    Examples
    --------
    >>> from lasagne.layers import InputLayer
    >>> from ntm import LSTMController, SAMLayer
    >>> l_in = InputLayer((None, None, 9))
    >>> l_sam = SAMLayer(l_in, (4096, 20), lambda l: LSTMController(l, num_units=100), num_reads=4)
    >>> l_sam.output_shape
    (None, None, 180)
    """

    kind = "SAM"
    read_head_type = SAMReadHead
    state_type = SAMState
    indexed_state_type = IndexedSAMState

    def _read(
        self,
        interface: SparseInterface,
        memory: Tensor,
        found: Sequence[Tensor],
        links: Sequence[Tensor],
        last_positions: Tensor,
        last_weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        positions = self.search.select(interface.key, memory, found, int(self.num_read_slots))
        rows = read_rows(memory, positions)
        weights = sparse_addressing.get_read_weights(interface.key, interface.beta, rows)
        return positions, weights, rows
