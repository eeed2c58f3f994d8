"""The Differentiable Neural Computer as a Lasagne layer.

Notation: B batch, T time steps, F input features, N slots, M slot width, W write heads, R read heads, H controller
units.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Unpack

import pytensor
import pytensor.tensor as pt

from lasagne.layers import Layer
from ntm import addressing
from ntm.addressing import allocation, temporal_links
from ntm.arguments import describe, is_number
from ntm.controllers import Controller
from ntm.heads.dnc import DNCHeadCollection, DNCReadHead, DNCWriteHead
from ntm.layers.base import ReadVectorsLayer
from ntm.layers.options import LoopOptions, takes_loop_options
from ntm.layers.state import DNCState
from ntm.memory import Memory
from ntm.typing import Incoming, MemoryShape, Tensor, TensorLike


class DNCLayer(ReadVectorsLayer):
    """A Differentiable Neural Computer.

    At each step the controller computes its output h(t) from the input and the read vectors of the step before. From
    h(t) the write heads write to the memory, to slots similar to a key or to free slots. The read heads read by
    content, or follow the temporal links, forward or backward, from the slots they read last. The layer's output is h
    and the R read vectors side by side, of shape (B, T, H + R * M). The paper's output is a
    `lasagne.layers.DenseLayer` on top of this layer.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: LSTMController(l, num_units=100)``, becomes a
        :class:`ntm.controllers.StackController` of the right sizes.
    heads : list of DNCWriteHead and DNCReadHead, optional
        At least one of each. By default, one write head and `num_reads` read heads. With a function as controller,
        the heads are given as classes or as ``functools.partial`` of classes, for example ``[DNCWriteHead,
        partial(DNCReadHead, b_hid_to_free_gate=Constant(-1.0))]``.
    num_reads : int, optional
        R, the number of read heads to make where `heads` is not given. By default, the number that the controller was
        made for, or one if the controller is a function.
    clip : float, optional
        If given, the controller's output as the heads see it and the layer's output are clipped to [-clip, clip].
    **options
        Options of the loop over time, and `name`: see :class:`ntm.layers.LoopOptions`.

    Raises
    ------
    ValueError
        If shapes or numbers of heads, memory, controller and input do not fit each other.
    TypeError
        If an argument is not of a kind listed above, or an option is unknown.

    References
    ----------
    Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory, Nature 538, Methods.
    Several write heads: https://github.com/google-deepmind/dnc.

    Examples
    --------
    >>> from lasagne.layers import InputLayer
    >>> from ntm import DNCLayer, LSTMController
    >>> l_in = InputLayer((None, None, 9))
    >>> l_dnc = DNCLayer(l_in, (64, 20), lambda l: LSTMController(l, num_units=100), num_reads=4)
    >>> l_dnc.output_shape
    (None, None, 180)
    """

    kind = "DNC"
    write_head_type = DNCWriteHead
    read_head_type = DNCReadHead
    detail_names = (*ReadVectorsLayer.detail_names, "reads", "usage", "precedence", "links")

    @takes_loop_options
    def __init__(
        self,
        incoming: Incoming,
        memory: Memory | MemoryShape,
        controller: Controller | Callable[[Layer], Layer],
        heads: Sequence[Any] | None = None,
        num_reads: int | None = None,
        clip: float | None = None,
        **options: Unpack[LoopOptions],
    ) -> None:
        self.clip = clip
        super().__init__(
            incoming,
            memory,
            controller,
            heads,
            num_reads,
            **options,
        )

    def _make_heads(
        self,
        controller: Controller,
        makers: Sequence[Any],
        num_writes: int,
    ) -> list[Any]:
        modes = {"num_writes": num_writes}
        makers = [
            partial(maker, **{**modes, **getattr(maker, "keywords", {})})
            if issubclass(getattr(maker, "func", maker), DNCReadHead)
            else maker
            for maker in makers
        ]
        return super()._make_heads(controller, makers, num_writes)

    def _check_options(self) -> None:
        super()._check_options()
        clip = self.clip
        if clip is not None and not (is_number(clip) and clip > 0):
            self._fail(f"clip must be a positive number or None, not {clip!r}")

    def _prepare(self, write_heads: list[Any], read_heads: list[Any]) -> None:
        if not write_heads or not read_heads:
            self._fail(
                "at least one DNCWriteHead and one DNCReadHead are needed, but there are "
                f"{len(write_heads)} and {len(read_heads)}"
            )
        super()._prepare(write_heads, read_heads)
        for head in read_heads:
            if head.num_writes != len(write_heads):
                self._fail(
                    f"{describe('DNCReadHead', head.name)} was made for num_writes={head.num_writes}, "
                    f"but there are {len(write_heads)} write heads"
                )
        self.all_heads = DNCHeadCollection(write_heads, read_heads)

    # ---- state

    def _make_initial_state(self, batch_size: TensorLike) -> DNCState:
        num_slots, width = self.memory.memory_shape
        dtype = pytensor.config.floatX
        writes, reads = self.num_writes, self.num_reads
        return DNCState(
            memory=self.memory.get_initial_value(batch_size),
            controller=tuple(self.controller.outputs_info(batch_size)),
            write_weights=pt.zeros((batch_size, writes, num_slots), dtype),
            read_weights=pt.zeros((batch_size, reads, num_slots), dtype),
            reads=pt.zeros((batch_size, reads, width), dtype),
            usage=pt.zeros((batch_size, num_slots), dtype),
            precedence=pt.zeros((batch_size, writes, num_slots), dtype),
            links=pt.zeros((batch_size, writes, num_slots, num_slots), dtype),
        )

    def _pack(self, state: Any) -> list[Tensor]:
        """Return the parts in the loop: slots last, read vectors side by side, the controller's state at the end."""
        return [
            state.memory.swapaxes(-1, -2),
            state.write_weights,
            state.read_weights,
            self._side_by_side(state.reads),
            state.usage,
            state.precedence,
            *(state.links[:, w] for w in range(self.num_writes)),
            *state.controller,
        ]

    def _unpack(self, parts: Sequence[Tensor]) -> DNCState:
        memory, write_weights, read_weights, reads, usage, precedence, *rest = parts
        links, controller = rest[: self.num_writes], rest[self.num_writes :]
        return DNCState(
            memory.swapaxes(-1, -2),
            tuple(controller),
            write_weights,
            read_weights,
            self._set_apart(reads),
            usage,
            precedence,
            pt.stack(links, axis=-3),
        )

    # ---- a step

    def _advance(
        self,
        projected: Tensor,
        parts: Sequence[Tensor],
        fused: list[Any],
        use_memory: bool,
        kwargs: dict[str, Any],
    ) -> list[Tensor]:
        memory, write_weights, read_weights, reads, usage, precedence, *rest = parts
        links, controller = rest[: self.num_writes], rest[self.num_writes :]
        controller = self.controller.advance(projected, reads, controller, fused[0], **kwargs)
        if not use_memory:
            return [*parts[:3], pt.zeros_like(reads), usage, precedence, *links, *controller]
        interface = self.all_heads.get_interface(self._limit(controller[0]), fused[1])

        # Write: to slots similar to the key or to free slots, after the free gates have freed what was read
        retention = allocation.get_retention(interface.free_gate, read_weights)
        usage = allocation.update_usage(usage, write_weights, retention)
        content = addressing.content_weights(interface.write_key, interface.write_beta, memory)
        write_weights = allocation.get_write_weights(
            content, usage, interface.allocation_gate, interface.write_gate
        )
        memory = addressing.write(memory, write_weights, interface.erase, interface.add)

        # Read: by content, or along the links of each write head, which the write has changed
        followed = [
            temporal_links.follow_links(
                links[w], write_weights[:, w], precedence[:, w], read_weights
            )
            for w in range(self.num_writes)
        ]
        links, backward, forward = zip(*followed, strict=True)
        precedence = temporal_links.update_precedence(precedence, write_weights)
        content = addressing.content_weights(interface.read_key, interface.read_beta, memory)
        read_weights = temporal_links.get_read_weights(backward, content, forward, interface.modes)
        reads = self._side_by_side(addressing.read(memory, read_weights))
        return [
            memory,
            write_weights,
            read_weights,
            reads,
            usage,
            precedence,
            *links,
            *controller,
        ]

    def _limit(self, values: Tensor) -> Tensor:
        return values if self.clip is None else pt.clip(values, -self.clip, self.clip)

    # ---- what a step shows

    @property
    def trace_sizes(self) -> dict[str, int]:
        """How many numbers the memory and the links have at each step."""
        num_slots = self.memory.memory_shape[0]
        return super().trace_sizes | {"links": self.num_writes * num_slots * num_slots}

    def _show_states(
        self, state: Any, seen: Mapping[str, Tensor], leave_out: Collection[str]
    ) -> dict[str, Tensor]:
        shown = {"usage": state.usage, "precedence": state.precedence, "links": state.links}
        return {name: value for name, value in shown.items() if name not in leave_out}

    # ---- output

    def get_output_of(self, state: Any) -> Tensor:
        """Return the output as in the base class, clipped."""
        return self._limit(super().get_output_of(state))

    def _get_details(self, traces: Any) -> list[Tensor]:
        return [
            *super()._get_details(traces),
            traces.reads,
            traces.usage,
            traces.precedence,
            traces.links,
        ]
