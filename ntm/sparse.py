"""The Sparse Access Memory as a Lasagne layer.

Notation: B batch, T time steps, F input features, N slots, M slot width, R read heads, K slots that each reads,
H controller units.
"""

import numbers
from functools import partial
from typing import Any

import pytensor
import pytensor.tensor as pt

from ntm import sparse_addressing
from ntm.controllers import Controller
from ntm.memory import is_integer
from ntm.memory_layer import MemoryLayer
from ntm.sparse_addressing import get_squares, spread
from ntm.sparse_heads import SAMHeadCollection, SAMReadHead, SAMWriteHead
from ntm.sparse_loop import read_rows, write_rows
from ntm.state import SAMState


class SAMLayer(MemoryLayer):
    """A Sparse Access Memory: each head reads a few slots, and a step writes to those read last and to an unused one.

    At each step the controller computes its output h(t) from the input and the read vectors of the step before. From
    h(t) the write head writes to the slots read at the step before, or to the one that was not accessed for longest,
    which is erased first. Then each read head reads the K slots most like its key. The layer's output is h and the R
    read vectors side by side, of shape (B, T, H + R * M).

    Training keeps, of each step, the rows of the memory that it changed, and going back undoes the writes: it takes
    memory for 2 N M + T R K M numbers for each batch item, and not for T N M. This holds for the JAX back end, and
    where neither the traces of the memory are asked for (``get_details=True``) nor `gradient_steps`, `grad_clipping` or
    `unroll_scan` given, for which the memory of every step is kept.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: LSTMController(l, num_units=100)``, becomes a
        :class:`ntm.controllers.StackController`, sizes worked out.
    heads : list of SAMWriteHead and SAMReadHead, optional
        One that writes and at least one that reads; unless given, one that writes and `num_reads` that read. With a
        function as controller, the heads are given as classes or ``functools.partial`` of them.
    num_reads : int, optional
        R, the number of read heads that are made where `heads` is not given: by default as many as the controller was
        made for, or one if it is a function.
    num_read_slots : int
        K, how many slots a head reads at a step: at most N.
    usage_threshold : float
        delta: a slot read and written with no more weight than this counts as not accessed.
    only_return_final : bool
        Whether to return the output of the last step only, (B, H + R * M).
    mask_input : Layer or tuple, optional
        Gives (B, T): where it is zero, the step leaves the state as it was.
    backwards : bool
        Whether to run from the last step to the first. The output is in the input's order all the same.
    gradient_steps : int
        How many steps the gradient goes back; -1 for all.
    grad_clipping : float
        If not zero, the gradient that a step hands to the step before is clipped to [-grad_clipping, grad_clipping],
        element by element.
    unroll_scan : bool
        Whether to lay the steps out one after another rather than in a loop; T must be known.
    precompute_input : bool
        Whether to compute the controller's product with the input for all steps at once. For the built-in controllers;
        the others have no such part.
    name : str, optional

    Raises
    ------
    ValueError
        If shapes or numbers of heads, slots, memory, controller and input do not fit each other.
    TypeError
        If something is not of the kind listed above.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 3.

    Examples
    --------
    >>> l_in = InputLayer((None, None, 9))
    >>> l_sam = SAMLayer(l_in, (4096, 20), lambda l: LSTMController(l, num_units=100), num_reads=4)
    >>> l_sam.output_shape
    (None, None, 180)
    """

    write_head_type = SAMWriteHead
    read_head_type = SAMReadHead
    detail_names = (*MemoryLayer.detail_names, "reads", "read_positions", "usage")
    num_large = 3

    def __init__(
        self,
        incoming,
        memory,
        controller,
        heads=None,
        num_reads=None,
        num_read_slots=4,
        usage_threshold=0.005,
        only_return_final=False,
        mask_input=None,
        backwards=False,
        gradient_steps=-1,
        grad_clipping=0,
        unroll_scan=False,
        precompute_input=True,
        **kwargs,
    ):
        self._num_reads_given = num_reads
        self.num_read_slots = num_read_slots
        self.usage_threshold = usage_threshold
        super().__init__(
            incoming,
            memory,
            controller,
            heads,
            only_return_final=only_return_final,
            mask_input=mask_input,
            backwards=backwards,
            gradient_steps=gradient_steps,
            grad_clipping=grad_clipping,
            unroll_scan=unroll_scan,
            precompute_input=precompute_input,
            **kwargs,
        )

    def _assemble(self, controller, heads):
        count = self._num_reads_given
        if count is not None and (not is_integer(count) or count < 1):
            self._fail(f"num_reads must be a positive integer, not {count!r}")
        if heads is not None:
            return super()._assemble(controller, heads)
        if count is None:
            count = max(1, getattr(controller, "num_reads", 1))
        makers: list[Any] = [partial(SAMWriteHead, name="write")]
        makers += [partial(SAMReadHead, name=f"read{k}") for k in range(count)]
        if isinstance(controller, Controller):
            return controller, self._make_heads(controller, makers, 1)
        return super()._assemble(controller, makers)

    def _check_options(self):
        super()._check_options()
        slots, threshold = self.num_read_slots, self.usage_threshold
        num_slots = self.memory.memory_shape[0]
        if not is_integer(slots) or not 1 <= slots <= num_slots:
            self._fail(
                f"num_read_slots must be an integer from 1 to the {num_slots} slots of the memory, not "
                f"{slots!r}"
            )
        is_number = isinstance(threshold, numbers.Real) and not isinstance(threshold, bool)
        if not is_number or not 0 <= threshold < 1:
            self._fail(f"usage_threshold must be a number from 0 to below 1, not {threshold!r}")

    def _prepare(self, write_heads, read_heads):
        if len(write_heads) != 1 or not read_heads:
            self._fail(
                "one SAMWriteHead and at least one SAMReadHead are needed, but there are "
                f"{len(write_heads)} and {len(read_heads)}"
            )
        if self._num_reads_given not in (None, len(read_heads)):
            self._fail(
                f"num_reads={self._num_reads_given}, but heads has {len(read_heads)} that read"
            )
        self.all_heads = SAMHeadCollection(write_heads[0], read_heads)

    # ---- state

    def _make_initial_state(self, batch_size):
        num_slots, width = self.memory.memory_shape
        dtype = pytensor.config.floatX
        reads, slots = self.num_reads, int(self.num_read_slots)
        return SAMState(
            memory=pt.alloc(self.memory.memory_init, batch_size, num_slots, width),
            controller=tuple(self.controller.outputs_info(batch_size)),
            write_weights=pt.zeros((batch_size, reads * slots + 1), dtype),
            write_positions=pt.zeros((batch_size, reads * slots + 1), "int32"),
            read_weights=pt.zeros((batch_size, reads, slots), dtype),
            read_positions=pt.zeros((batch_size, reads, slots), "int32"),
            reads=pt.zeros((batch_size, reads, width), dtype),
            usage=pt.zeros((batch_size, num_slots), "int32"),
            time=pt.zeros((batch_size,), "int32"),
        )

    def _pack(self, state):
        """The small parts, the controller's state, then memory, usage and the squared length of each slot (B, N)."""
        return [
            state.write_weights,
            state.write_positions,
            state.read_weights,
            state.read_positions,
            self._side_by_side(state.reads),
            state.time,
            *state.controller,
            state.memory,
            state.usage,
            get_squares(state.memory),
        ]

    def _unpack(self, parts):
        write_weights, write_positions, read_weights, read_positions, reads, time, *rest = parts
        *controller, memory, usage, _ = rest
        leading = [reads.shape[k] for k in range(reads.ndim - 1)]
        return SAMState(
            memory,
            tuple(controller),
            write_weights,
            write_positions,
            read_weights,
            read_positions,
            reads.reshape((*leading, self.num_reads, self.memory.memory_shape[1])),
            usage,
            time,
        )

    def _side_by_side(self, reads):
        """Read vectors (..., R, M) as one vector (..., R * M)."""
        leading = [reads.shape[k] for k in range(reads.ndim - 2)]
        return reads.reshape((*leading, self.num_reads * self.memory.memory_shape[1]))

    # ---- a step

    def _fuse_heads(self):
        return [self.all_heads.layers.fuse()]

    def _step(self, projected, before, mask, fused, advance):
        """As in the base class; what is large is not copied where the mask is zero, but left alone."""
        after = advance(projected, before, fused, mask=mask)
        if mask is None:
            return after
        small = super()._step(None, before[:-3], mask, None, lambda *_: after[:-3])
        return [*small, *after[-3:]]

    def _advance(self, projected, parts, fused, use_memory, kwargs, mask=None):
        _, _, read_weights, read_positions, reads, time, *rest = parts
        *controller, memory, usage, squares = rest
        controller = self.controller.advance(projected, reads, controller, fused[0], **kwargs)
        if not use_memory:
            return [*parts[:4], pt.zeros_like(reads), time, *controller, memory, usage, squares]
        interface = self.all_heads.get_interface(controller[0], fused[1])
        runs = pt.ones_like(time, dtype="bool") if mask is None else pt.neq(mask, 0)
        time = time + 1

        least_used = sparse_addressing.find_least_used(usage)
        write_positions = pt.concatenate([read_positions.flatten(2), least_used[:, None]], axis=1)
        write_weights = sparse_addressing.get_write_weights(
            read_weights, interface.write_gate, interface.interpolation_gate
        )
        added = write_weights[:, :, None] * interface.add[:, None, :]
        added = pt.switch(runs[:, None, None], added, pt.zeros_like(added))
        memory = write_rows(memory, write_positions, added, erases=runs)
        squares = pt.set_subtensor(
            squares[pt.arange(runs.shape[0])[:, None], write_positions],
            get_squares(read_rows(memory, write_positions)),
        )

        read_positions = sparse_addressing.select_slots(
            interface.key, memory, squares, int(self.num_read_slots)
        )
        rows = read_rows(memory, read_positions)
        read_weights = sparse_addressing.get_read_weights(interface.key, interface.beta, rows)
        reads = self._side_by_side(sparse_addressing.read(rows, read_weights))
        weights = pt.concatenate([write_weights, read_weights.flatten(2)], axis=1)
        usage = sparse_addressing.update_usage(
            usage,
            time,
            pt.concatenate([write_positions, read_positions.flatten(2)], axis=1),
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
            usage,
            squares,
        ]

    # ---- output

    @property
    def num_outputs(self):
        """H + R * M."""
        return self.controller.num_units + self.num_reads * self.memory.memory_shape[1]

    def get_output_of(self, state):
        """The controller's output and the read vectors side by side, (B, H + R * M); of traces, those of all steps."""
        return pt.concatenate([state.hidden, self._side_by_side(state.reads)], axis=-1)

    def _get_details(self, traces):
        """The weights are those of all slots, (T, B, 1, N) and (T, B, R, N)."""
        num_slots = self.memory.memory_shape[0]
        written = spread(traces.write_positions, traces.write_weights, num_slots)
        traces_of_all = traces._replace(
            write_weights=written[:, :, None],
            read_weights=spread(traces.read_positions, traces.read_weights, num_slots),
        )
        return [
            *super()._get_details(traces_of_all),
            traces.reads,
            traces.read_positions,
            traces.usage,
        ]
