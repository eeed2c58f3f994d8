"""A feed-forward controller.

Notation: B batch, F input features, R read heads, M slot width, H controller units.
"""

from collections.abc import Sequence
from typing import Any

from lasagne.init import Constant, GlorotUniform
from lasagne.nonlinearities import rectify
from ntm.controllers.gated import GatedController
from ntm.typing import Incoming, MemoryShape, Nonlinearity, ParameterSpec, Tensor


class DenseController(GatedController):
    r"""A feed-forward controller.

    .. math:: h_t = f(x_t W_{in} + b_{in} + r_t W_{reads} + b_{reads})

    Parameters
    ----------
    incoming, memory_shape, num_units, num_reads, hid_init, learn_init, name
        As in :class:`Controller`.
    W_in_to_hid : initializer, array, shared variable, expression or callable (F, H)
    W_reads_to_hid : the same, (R * M, H)
    b_in_to_hid, b_reads_to_hid : the same, (H,), or None
    nonlinearity : callable or None
        f; ``None`` is linear.
    """

    def __init__(
        self,
        incoming: Incoming,
        memory_shape: MemoryShape | None = None,
        num_units: int | None = None,
        num_reads: int = 0,
        W_in_to_hid: ParameterSpec = GlorotUniform(),
        b_in_to_hid: ParameterSpec | None = Constant(0.0),
        W_reads_to_hid: ParameterSpec = GlorotUniform(),
        b_reads_to_hid: ParameterSpec | None = Constant(0.0),
        nonlinearity: Nonlinearity | None = rectify,
        hid_init: ParameterSpec = GlorotUniform(),
        learn_init: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        self._set_nonlinearity(nonlinearity)
        self._add_gate("hid", W_in_to_hid, b_in_to_hid, W_reads_to_hid, b_reads_to_hid)

    def advance(
        self,
        projected: Tensor,
        reads: Tensor | None,
        states: Sequence[Tensor],
        fused: Sequence[Tensor],
        **kwargs: Any,
    ) -> list[Tensor]:
        return [self.nonlinearity(self._add_reads(projected, reads, fused))]
