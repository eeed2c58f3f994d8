"""The Neural Turing Machine as a Lasagne layer.

Notation: B batch, T time steps, F input features, N slots, M slot width, K heads (W write, R read), H controller units.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytensor.tensor as pt

from ntm.heads.ntm import (
    HeadCollection,
    ReadHead,
    ReadHeadCollection,
    WriteHead,
    WriteHeadCollection,
)
from ntm.layers.base import MemoryLayer
from ntm.layers.state import NTMState
from ntm.typing import Tensor, TensorLike


class NTMLayer(MemoryLayer):
    """A Neural Turing Machine.

    At each step the write heads change the memory, the read heads read it, the controller computes its output
    h(t) from the input and the read vectors, and every head finds its new weights. The layer's output is
    h, of shape (B, T, H).

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F); B and T may be ``None``. In an input (B, T, ...) of more axes, the last ones make up the
        features.
    memory : Memory or tuple (N, M)
        A tuple stands for ``Memory((N, M))``.
    controller : Controller or callable
        A function from a layer to a layer, such as ``lambda l: DenseLayer(l, 100)``, becomes a
        :class:`ntm.controllers.StackController` of the right sizes.
    heads : list of Head
        At least one. With a function as controller, the heads are given as classes or as ``functools.partial`` of
        classes, for example ``[WriteHead, partial(ReadHead, num_shifts=5, name="read")]``.
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
    Graves et al. 2014, Neural Turing Machines.

    Examples
    --------
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> from ntm import NTMLayer, ReadHead, WriteHead
    >>> l_in = InputLayer((None, None, 9))
    >>> l_ntm = NTMLayer(l_in, memory=(128, 20), controller=lambda l: DenseLayer(l, 100), heads=[WriteHead, ReadHead])
    >>> l_ntm.output_shape
    (None, None, 100)
    """

    kind = "NTM"
    write_head_type = WriteHead
    read_head_type = ReadHead

    def _prepare(self, write_heads: list[Any], read_heads: list[Any]) -> None:
        # All heads address the memory together; the write heads come first in whatever they share
        self.all_heads = HeadCollection(write_heads + read_heads)
        self.write_heads = WriteHeadCollection(write_heads) if write_heads else None
        self.read_heads = ReadHeadCollection(read_heads) if read_heads else None

    def _make_initial_state(self, batch_size: TensorLike) -> NTMState:
        weights = self.all_heads.get_initial_weights(batch_size)
        return NTMState(
            self.memory.get_initial_value(batch_size),
            tuple(self.controller.outputs_info(batch_size)),
            weights[:, : self.num_writes],
            weights[:, self.num_writes :],
        )

    def _pack(self, state: Any) -> list[Tensor]:
        """Return the parts in the loop: memory (B, M, N), weights of all heads (B, K, N), the controller's state."""
        weights = pt.concatenate([state.write_weights, state.read_weights], axis=1)
        return [state.memory.swapaxes(-1, -2), weights, *state.controller]

    def _unpack(self, parts: Sequence[Tensor]) -> NTMState:
        memory, weights, *controller = parts
        return NTMState(
            memory.swapaxes(-1, -2),
            tuple(controller),
            weights[..., : self.num_writes, :],
            weights[..., self.num_writes :, :],
        )

    def _watch(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> dict[str, Tensor]:
        # The weights with which the step wrote and read, and what it read
        weights = before[1]
        seen = {"used": weights}
        if self.read_heads:
            reads = self.read_heads.read(weights[:, self.num_writes :], after[0])
            seen["reads"] = reads.reshape((-1, self.num_reads, self.memory.memory_shape[1]))
        return seen

    def _show_head(
        self, writes: bool, number: int, state: Any, seen: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        used = seen["used"][:, :, number if writes else self.num_writes + number]
        results = {} if writes else {"read vector": seen["reads"][:, :, number]}
        shown = super()._show_head(writes, number, state, seen)
        return shown | {"used": used, "results": results}

    def _fuse_heads(self) -> list[Any]:
        """Return the fused weights of addressing, then of writing."""
        writing = self.write_heads.write_layers.fuse() if self.write_heads else ()
        return [self.all_heads.address_layers.fuse(), writing]

    def _advance(
        self,
        projected: Tensor,
        parts: Sequence[Tensor],
        fused: list[Any],
        use_memory: bool,
        kwargs: dict[str, Any],
    ) -> list[Tensor]:
        # Write and read with the weights of the step before; the new weights follow from the new controller output
        for_controller, for_addressing, for_writing = fused
        memory, weights, *controller = parts
        reads = None
        if self.write_heads and use_memory:
            memory = self.write_heads.write(
                controller[0], weights[:, : self.num_writes], memory, for_writing
            )
        if self.read_heads:
            reads = self.read_heads.read(weights[:, self.num_writes :], memory)
            if not use_memory:
                reads = pt.zeros_like(reads)
        controller = self.controller.advance(projected, reads, controller, for_controller, **kwargs)
        if use_memory:
            weights = self.all_heads.get_weights(controller[0], weights, memory, for_addressing)
        return [memory, weights, *controller]
