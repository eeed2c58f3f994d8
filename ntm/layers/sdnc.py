"""The Sparse Differentiable Neural Computer as a Lasagne layer.

Notation: B batch, T time steps, F input features, N slots, M slot width, R read heads, K slots that each head reads in
each of three ways, L links of each slot, H controller units.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Unpack

import pytensor
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from lasagne.layers import Layer
from lasagne.tensors import join_last_axes
from ntm.addressing import sparse as sparse_addressing
from ntm.addressing import sparse_links
from ntm.addressing.nearest import HyperplaneIndex
from ntm.addressing.rows import read_rows
from ntm.addressing.sparse import to_dense
from ntm.addressing.sparse_links import Sparse
from ntm.arguments import is_integer
from ntm.controllers import Controller
from ntm.heads.sparse import SDNCReadHead, SparseInterface
from ntm.layers.options import LoopOptions, takes_loop_options
from ntm.layers.sam import SparseMemoryLayer
from ntm.layers.state import IndexedSDNCState, SDNCState
from ntm.memory import Memory
from ntm.typing import Incoming, MemoryShape, Tensor, TensorLike

#: What the rows of sparse links are
_LINK_PARTS = ("positions", "links")


class SDNCLayer(SparseMemoryLayer):
    """A Sparse Differentiable Neural Computer.

    This is a :class:`ntm.layers.SAMLayer` whose read heads can also follow the order in which slots were written to,
    from the slots they read last. A step writes to the slots read at the step before, or to the least recently used
    slot, which is erased first. Sparse links store the order of writing. Then each read head reads K slots in each of
    three ways: those most similar to its key, and those with the largest weights among the slots written to before, and
    after, the slots it read last. The read modes weigh the three ways. The layer's output is h and the
    R read vectors side by side, of shape (B, T, H + R * M).

    The gradient passes through read modes, content weights, and the vectors read and written. Links and precedence are
    constants for the gradient, as in the paper, but the read weights with which the links are followed are not.

    Training needs memory for two memories, for the links once, and for the rows that each step reads and writes: about
    N (2 M + 5 L) + T R K (M + 4 L) numbers for each sequence. A step touches only the rows of links of the slots that
    are read, written to, or were last written to. As with SAMLayer, this holds on the JAX back end, unless the traces
    of the memory are asked for (``get_details=True``) or `gradient_steps`, `grad_clipping`, `unroll_scan` or
    `checkpoint_every` is given: then memory and links of every step are stored.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: LSTMController(l, num_units=100)``, becomes a
        :class:`ntm.controllers.StackController` of the right sizes.
    heads : list of SAMWriteHead and SDNCReadHead, optional
        One write head and at least one read head. By default, `num_reads` read heads. With a
        function as controller, the heads are given as classes or as ``functools.partial`` of classes.
    num_reads : int, optional
        R, the number of read heads to make where `heads` is not given. By default, the number that the controller was
        made for, or one if the controller is a function.
    num_read_slots : int
        K, the number of slots that a head reads at a step in each way (by content, backward, forward): at most N.
    num_links : int
        L, the number of slots written to before, and of slots written to after, that are stored for each slot (the
        paper's K_L): at most N.
    usage_threshold : float
        delta: reading or writing a slot with no more weight than this does not count as an access.
    nearest : {"exact", "lsh", "auto"} or HyperplaneIndex
        How the slots most similar to a key are found, as in a :class:`ntm.layers.SAMLayer`.
    **options
        Options of the loop over time, and `name`: see :class:`ntm.layers.LoopOptions`.

    Raises
    ------
    ValueError
        If shapes or numbers of heads, slots, links, memory, controller and input do not fit each other.
    TypeError
        If an argument is not of a kind listed above, or an option is unknown.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 3 and appendix D.

    Examples
    --------
    >>> from lasagne.layers import InputLayer
    >>> from ntm import LSTMController, SDNCLayer
    >>> l_in = InputLayer((None, None, 9))
    >>> l_sdnc = SDNCLayer(l_in, (4096, 20), lambda l: LSTMController(l, num_units=100), num_reads=4)
    >>> l_sdnc.output_shape
    (None, None, 180)
    """

    read_head_type = SDNCReadHead
    kind = "SDNC"
    state_type = SDNCState
    indexed_state_type = IndexedSDNCState
    num_links_stores = 8
    detail_names = (
        *SparseMemoryLayer.detail_names,
        "precedence",
        "backward_links",
        "backward_positions",
        "forward_links",
        "forward_positions",
    )

    @takes_loop_options
    def __init__(
        self,
        incoming: Incoming,
        memory: Memory | MemoryShape,
        controller: Controller | Callable[[Layer], Layer],
        heads: Sequence[Any] | None = None,
        num_reads: int | None = None,
        num_read_slots: int = 4,
        num_links: int = 8,
        usage_threshold: float = 0.005,
        nearest: str | HyperplaneIndex = "exact",
        **options: Unpack[LoopOptions],
    ) -> None:
        self.num_links = num_links
        super().__init__(
            incoming,
            memory,
            controller,
            heads,
            num_reads,
            num_read_slots,
            usage_threshold,
            nearest,
            **options,
        )

    def _check_options(self) -> None:
        super()._check_options()
        num_slots, links = self.memory.memory_shape[0], self.num_links
        if not is_integer(links) or not 1 <= links <= num_slots:
            self._fail(
                f"num_links must be an integer from 1 to the {num_slots} slots of the memory, not "
                f"{links!r}"
            )

    # ---- state

    @property
    def num_places(self) -> int:
        """The number of slots that a head reads at a step, 3 K; a slot read in two ways counts twice."""
        return 3 * int(self.num_read_slots)

    def _make_initial_parts(self, batch_size: TensorLike) -> dict[str, Any]:
        num_slots, count = self.memory.memory_shape[0], int(self.num_links)
        rows = (batch_size, num_slots, count)
        dtype = pytensor.config.floatX
        return super()._make_initial_parts(batch_size) | {
            "precedence": pt.zeros((batch_size, count), dtype),
            "precedence_positions": pt.zeros((batch_size, count), "int32"),
            "backward_links": pt.zeros(rows, dtype),
            "backward_positions": pt.zeros(rows, "int32"),
            "forward_links": pt.zeros(rows, dtype),
            "forward_positions": pt.zeros(rows, "int32"),
        }

    def _pack_links(self, state: Any) -> list[Tensor]:
        """Return the stores: precedence, links, the decay when each forward link was stored, and the decay now."""
        return [
            state.precedence_positions,
            state.precedence,
            state.backward_positions,
            state.backward_links,
            state.forward_positions,
            state.forward_links,
            pt.zeros_like(state.forward_links),
            pt.zeros_like(state.memory[:, :, 0]),
        ]

    def _unpack_links(self, links: Sequence[Tensor]) -> dict[str, Any]:
        precedence_positions, precedence, backward_positions, backward_links = links[:4]
        forward_positions, forward_links, stored, decay = links[4:]
        # The decay is looked up for all slots here; a step looks it up for a few
        places = join_last_axes(forward_positions, decay.ndim)
        now = pt.take_along_axis(decay, places, axis=-1).reshape(forward_positions.shape)
        return {
            "precedence": precedence,
            "precedence_positions": precedence_positions,
            "backward_links": backward_links,
            "backward_positions": backward_positions,
            "forward_links": sparse_links.apply_decay(forward_links, now, stored),
            "forward_positions": forward_positions,
        }

    # ---- a step

    def _update_links(
        self, links: Sequence[Tensor], write_positions: Tensor, write_weights: Tensor, runs: Tensor
    ) -> Sequence[Tensor]:
        positions, precedence, *backward, forward_positions, forward, stored, decay = links
        count = int(self.num_links)
        weights = disconnected_grad(write_weights)
        weights = pt.switch(runs[:, None], weights, pt.zeros_like(weights))
        written, last = Sparse(write_positions, weights), Sparse(positions, precedence)

        def change(
            stores: Sequence[Tensor],
            places: Tensor,
            before: Sequence[Tensor],
            after: Sequence[Tensor],
        ) -> list[Tensor]:
            # Where the mask is zero, even the order of the entries must not change
            return [
                sparse_links.write_store(store, places, pt.switch(runs[:, None, None], new, old))
                for store, old, new in zip(stores, before, after, strict=True)
            ]

        old = Sparse(*(sparse_links.read_store(store, write_positions) for store in backward))
        new = sparse_links.update_backward_links(old, written, last, count)
        backward = change(backward, write_positions, old, new)

        decay = sparse_links.update_decay(decay, written)
        stores = [forward_positions, forward, stored]
        old, then = self._get_forward_rows(stores, decay, positions)
        new = sparse_links.update_forward_links(old, written, last, count)
        now = sparse_links.read_store(decay, new.positions)
        stores = change(stores, positions, then, (*new, now))

        new = sparse_links.update_precedence(last, written, count)
        kept = [pt.switch(runs[:, None], *pair) for pair in zip(new, last, strict=True)]
        return [*kept, *backward, *stores, decay]

    def _get_forward_rows(
        self, stores: Sequence[Tensor], decay: Tensor, positions: Tensor
    ) -> tuple[Sparse, list[Tensor]]:
        """Return rows of the forward links as they are now, and the rows of the stores."""
        then = [sparse_links.read_store(store, positions) for store in stores]
        places, values, stored = then
        now = sparse_links.read_store(decay, places)
        return Sparse(places, sparse_links.apply_decay(values, now, stored)), then

    def _read(
        self,
        interface: SparseInterface,
        memory: Tensor,
        found: Sequence[Tensor],
        links: Sequence[Tensor],
        last_positions: Tensor,
        last_weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = int(self.num_read_slots)
        *backward_stores, forward_positions, forward_links, stored, decay = links[2:]
        backward_rows = Sparse(
            *(sparse_links.read_store(store, last_positions) for store in backward_stores)
        )
        backward = sparse_links.follow_links(last_weights, backward_rows, count)
        stores = [forward_positions, forward_links, stored]
        forward_rows, _ = self._get_forward_rows(stores, decay, last_positions)
        forward = sparse_links.follow_links(last_weights, forward_rows, count)
        similar = self.search.select(interface.key, memory, found, count)

        positions = pt.concatenate([backward.positions, similar, forward.positions], axis=2)
        rows = read_rows(memory, positions)
        content = sparse_addressing.get_read_weights(
            interface.key, interface.beta, rows[:, :, count : 2 * count]
        )
        assert interface.modes is not None  # every SDNCReadHead has modes
        weights = sparse_links.get_read_weights(
            backward.values, content, forward.values, interface.modes
        )
        return positions, weights, rows

    # ---- what a step shows

    def _watch(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> dict[str, Tensor]:
        # The links of the slots that the step wrote to
        _, (_, *stores) = self._split(after)
        positions, precedence, *links, decay = self._split_stores(stores)[3]
        written = after[1]
        rows = [sparse_links.read_store(store, written) for store in links[:2]]
        forward, _ = self._get_forward_rows(links[2:], decay, written)
        return {
            **super()._watch(before, after),
            "precedence": disconnected_grad(precedence),
            "precedence positions": positions,
            "backward positions": rows[0],
            "backward links": rows[1],
            "forward positions": forward.positions,
            "forward links": forward.values,
        }

    def _show_head(
        self, writes: bool, number: int, state: Any, seen: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        shown = super()._show_head(writes, number, state, seen)
        if writes:
            names = [f"{way} {part}" for way in ("backward", "forward") for part in _LINK_PARTS]
            shown["results"] |= {name: seen[name] for name in names}
        return shown

    def _show_states(
        self, state: Any, seen: Mapping[str, Tensor], leave_out: Collection[str]
    ) -> dict[str, Tensor]:
        precedence = {name: seen[name] for name in ("precedence", "precedence positions")}
        return super()._show_states(state, seen, leave_out) | precedence

    # ---- output

    def _get_details(self, traces: Any) -> list[Tensor]:
        """Return the traces as the base class does; precedence is (T, B, 1, N), links are sparse rows."""
        num_slots = self.memory.memory_shape[0]
        precedence = to_dense(traces.precedence_positions, traces.precedence, num_slots)
        return [
            *super()._get_details(traces),
            precedence[:, :, None],
            traces.backward_links,
            traces.backward_positions,
            traces.forward_links,
            traces.forward_positions,
        ]
