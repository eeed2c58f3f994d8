"""The Sparse Differentiable Neural Computer as a Lasagne layer.

Notation: B batch, T time steps, F input features, N slots, M slot width, R read heads, K slots that each reads in each
of three ways, L links of each slot, H controller units.
"""

from typing import Unpack

import pytensor
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from lasagne.tensors import join_last_axes
from ntm.addressing import sparse as sparse_addressing
from ntm.addressing import sparse_links
from ntm.addressing.rows import read_rows
from ntm.addressing.sparse import to_dense
from ntm.addressing.sparse_links import Sparse
from ntm.arguments import is_integer
from ntm.heads.sparse import SDNCReadHead
from ntm.layers.options import LoopOptions, takes_loop_options
from ntm.layers.sam import SparseMemoryLayer
from ntm.layers.state import IndexedSDNCState, SDNCState


class SDNCLayer(SparseMemoryLayer):
    """A Sparse Differentiable Neural Computer.

    It is a :class:`ntm.layers.SAMLayer` whose read heads can also go on from what they read last, in the order in which
    slots were written to. A step writes to the slots read at the step before, or to the one that was not accessed for
    longest, which is erased first, and notes in sparse links which slots were written to before. Then each read head
    reads the K slots most like its key, and, of the slots written to before and after those that it read last, the K
    with the largest weights each; read modes tell how much each of the three counts. The layer's output is h and the
    R read vectors side by side, of shape (B, T, H + R * M).

    The gradient goes through read modes, weights by content, and what was read and written. It takes links and
    precedence as constants, as in the paper, and goes on to the weights of the step before by which the links were
    followed.

    Training takes memory for two memories and the links once, and for what each step reads and writes: N (2 M + 5 L) +
    T R K (M + 4 L) numbers or so for each batch item. No step touches more than the rows of links of the slots that
    were read, written to, and last written to before. As with SAMLayer, this holds for the JAX back end, and where
    neither the traces of the memory are asked for (``get_details=True``) nor `gradient_steps`, `grad_clipping` or
    `unroll_scan` given, for which memory and links of every step are kept.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: LSTMController(l, num_units=100)``, becomes a
        :class:`ntm.controllers.StackController`, sizes worked out.
    heads : list of SAMWriteHead and SDNCReadHead, optional
        One that writes and at least one that reads; unless given, one that writes and `num_reads` that read. With a
        function as controller, the heads are given as classes or ``functools.partial`` of them.
    num_reads : int, optional
        R, the number of read heads that are made where `heads` is not given: by default as many as the controller was
        made for, or one if it is a function.
    num_read_slots : int
        K, how many slots a head reads at a step by content, how many backward and how many forward: at most N.
    num_links : int
        L, how many of the slots written to before, and of those written to after it, are kept for each slot (the
        paper's K_L): at most N.
    usage_threshold : float
        delta: a slot read and written with no more weight than this counts as not accessed.
    nearest : {"exact", "lsh", "auto"} or HyperplaneIndex
        How the slots most like a key are found, as of a :class:`ntm.layers.SAMLayer`.
    **options
        Options of the loop over time, and `name`: see :class:`ntm.layers.LoopOptions`.

    Raises
    ------
    ValueError
        If shapes or numbers of heads, slots, links, memory, controller and input do not fit each other.
    TypeError
        If something is not of the kind listed above.

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
        incoming,
        memory,
        controller,
        heads=None,
        num_reads=None,
        num_read_slots=4,
        num_links=8,
        usage_threshold=0.005,
        nearest="exact",
        **options: Unpack[LoopOptions],
    ):
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

    def _check_options(self):
        super()._check_options()
        num_slots, links = self.memory.memory_shape[0], self.num_links
        if not is_integer(links) or not 1 <= links <= num_slots:
            self._fail(
                f"num_links must be an integer from 1 to the {num_slots} slots of the memory, not "
                f"{links!r}"
            )

    # ---- state

    @property
    def num_places(self):
        """How many slots a head reads at a step, counting twice what it reads in two ways: 3 K."""
        return 3 * int(self.num_read_slots)

    def _make_initial_parts(self, batch_size):
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

    def _pack_links(self, state):
        """Precedence and links, at the end the decay, when a link was stored and now."""
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

    def _unpack_links(self, links):
        precedence_positions, precedence, backward_positions, backward_links = links[:4]
        forward_positions, forward_links, stored, decay = links[4:]
        # Looked up for all slots, which a step does not do
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

    def _update_links(self, links, write_positions, write_weights, runs):
        positions, precedence, *backward, forward_positions, forward, stored, decay = links
        count = int(self.num_links)
        weights = disconnected_grad(write_weights)
        weights = pt.switch(runs[:, None], weights, pt.zeros_like(weights))
        written, last = Sparse(write_positions, weights), Sparse(positions, precedence)

        def change(stores, places, before, after):
            # Where the step does not run, the entries do not change their order either
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
        precedence = [pt.switch(runs[:, None], *pair) for pair in zip(new, last, strict=True)]
        return [*precedence, *backward, *stores, decay]

    def _get_forward_rows(self, stores, decay, positions):
        """Rows of the forward links as they are now, and what the stores hold there."""
        then = [sparse_links.read_store(store, positions) for store in stores]
        places, values, stored = then
        now = sparse_links.read_store(decay, places)
        return Sparse(places, sparse_links.apply_decay(values, now, stored)), then

    def _read(self, interface, memory, found, links, last_positions, last_weights):
        count = int(self.num_read_slots)
        *backward_stores, forward_positions, forward, stored, decay = links[2:]
        backward_rows = Sparse(
            *(sparse_links.read_store(store, last_positions) for store in backward_stores)
        )
        backward = sparse_links.follow_links(last_weights, backward_rows, count)
        stores = [forward_positions, forward, stored]
        forward_rows, _ = self._get_forward_rows(stores, decay, last_positions)
        forward = sparse_links.follow_links(last_weights, forward_rows, count)
        similar = self.search.select(interface.key, memory, found, count)

        positions = pt.concatenate([backward.positions, similar, forward.positions], axis=2)
        rows = read_rows(memory, positions)
        content = sparse_addressing.get_read_weights(
            interface.key, interface.beta, rows[:, :, count : 2 * count]
        )
        weights = sparse_links.get_read_weights(
            backward.values, content, forward.values, interface.modes
        )
        return positions, weights, rows

    # ---- output

    def _get_details(self, traces):
        """As in the base class; the precedence is that of all slots, (T, B, 1, N), the links are sparse rows."""
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
