"""What the built-in controllers share: gates that are sums of products.

Notation: B batch, F input features, R read heads, M slot width, H controller units.
"""

from collections.abc import Sequence
from typing import Any

import pytensor
import pytensor.tensor as pt

from lasagne.nonlinearities import linear
from ntm.arguments import check_nonlinearity, describe
from ntm.controllers.base import Controller
from ntm.typing import Nonlinearity, ParameterSpec, Tensor


class GatedController(Controller):
    """The base class of the built-in controllers: gates that are sums of products, computed together.

    A gate sums ``input W_in + b_in``, ``reads W_reads + b_reads`` and, if recurrent, ``hidden W_hid + b_hid``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gates: list[str] = []

    def _add_gate(
        self,
        gate: str,
        W_in: ParameterSpec,
        b_in: ParameterSpec | None,
        W_reads: ParameterSpec,
        b_reads: ParameterSpec | None,
        W_hid: ParameterSpec | None = None,
        b_hid: ParameterSpec | None = None,
    ) -> None:
        """Add the parameters of a gate; those of the read vectors only where there are any."""
        self.gates.append(gate)
        sources = [("in", self.num_inputs, W_in, b_in)]
        if self.num_reads and self.memory_shape is not None:
            sources.append(("reads", self.num_reads * self.memory_shape[1], W_reads, b_reads))
        if W_hid is not None:
            sources.append(("hid", self.num_units, W_hid, b_hid))
        for source, size, W, b in sources:
            weights = self.add_param(W, (size, self.num_units), name=f"W_{source}_to_{gate}")
            setattr(self, f"W_{source}_to_{gate}", weights)
            if b is not None:
                b = self.add_param(b, (self.num_units,), name=f"b_{source}_to_{gate}")
            setattr(self, f"b_{source}_to_{gate}", b)

    def _set_nonlinearity(self, nonlinearity: Nonlinearity | None) -> None:
        """Keep the nonlinearity; None stands for the identity."""
        label = describe(type(self).__name__, self.name)
        check_nonlinearity(label, "nonlinearity", nonlinearity)
        self.nonlinearity: Nonlinearity = linear if nonlinearity is None else nonlinearity

    def _side_by_side(self, kind: str, source: str) -> Tensor:
        """Join the weights (``kind="W"``) or biases (``"b"``) of all gates for a source along the units."""
        values: list[Any] = [
            getattr(self, f"{kind}_{source}_to_{gate}", None) for gate in self.gates
        ]
        dtype = pytensor.config.floatX
        values = [pt.zeros(self.num_units, dtype) if value is None else value for value in values]
        # A parameter may be an array of another precision, which must not spread to the result
        return pt.concatenate([value.astype(dtype) for value in values], axis=-1)

    def step(
        self,
        input: Tensor,
        reads: Tensor | None,
        hidden: Tensor,
        *states: Tensor,
        **kwargs: Any,
    ) -> list[Tensor]:
        fused = self.fuse()
        return self.advance(self.project(input, fused), reads, [hidden, *states], fused)

    def fuse(self) -> list[Tensor]:
        weights = [self._side_by_side("W", "in"), self._side_by_side("b", "in")]
        if self.num_reads:
            weights += [self._side_by_side("W", "reads"), self._side_by_side("b", "reads")]
        if hasattr(self, f"W_hid_to_{self.gates[0]}"):
            weights += [self._side_by_side("W", "hid"), self._side_by_side("b", "hid")]
        return weights

    def project(self, input: Tensor, fused: Sequence[Tensor]) -> Tensor:
        bias = fused[1] + fused[3] if self.num_reads else fused[1]
        return pt.dot(input, fused[0]) + bias

    def _add_reads(
        self, projected: Tensor, reads: Tensor | None, fused: Sequence[Tensor]
    ) -> Tensor:
        """Return the gates' sums over input and read vectors, (B, gates * H)."""
        return projected + pt.dot(reads, fused[2]) if self.num_reads else projected

    @staticmethod
    def _from_hidden(hidden: Tensor, fused: Sequence[Tensor]) -> Tensor:
        """Return the gates' sums over the hidden state, (B, gates * H)."""
        return pt.dot(hidden, fused[-2]) + fused[-1]

    def _split(self, sums: Tensor) -> list[Tensor]:
        """Split the gates' sums, (B, gates * H), into one (B, H) for each gate, in the order of `gates`."""
        units = self.num_units
        return [sums[:, k * units : (k + 1) * units] for k in range(len(self.gates))]
