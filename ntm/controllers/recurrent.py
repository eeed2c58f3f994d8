"""Recurrent controllers: simple, gated recurrent units and long short-term memory.

Notation: B batch, F input features, R read heads, M slot width, H controller units.
"""

from collections.abc import Sequence
from typing import Any

from lasagne.init import Constant, GlorotUniform
from lasagne.nonlinearities import rectify, sigmoid, tanh
from ntm.arguments import describe
from ntm.controllers.gated import GatedController
from ntm.typing import Incoming, MemoryShape, Nonlinearity, ParameterSpec, Tensor, TensorLike


class RecurrentController(GatedController):
    r"""A simple recurrent controller.

    .. math:: h_t = f(x_t W_{in} + b_{in} + r_t W_{reads} + b_{reads} + h_{t-1} W_{hid} + b_{hid})

    Parameters
    ----------
    incoming, memory_shape, num_units, num_reads, hid_init, learn_init, name
        As in :class:`Controller`.
    W_in_to_hid : initializer, array, shared variable, expression or callable (F, H)
    W_reads_to_hid, W_hid_to_hid : the same, (R * M, H) and (H, H)
    b_in_to_hid, b_reads_to_hid, b_hid_to_hid : the same, (H,), or None
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
        W_hid_to_hid: ParameterSpec = GlorotUniform(),
        b_hid_to_hid: ParameterSpec | None = Constant(0.0),
        nonlinearity: Nonlinearity | None = rectify,
        hid_init: ParameterSpec = GlorotUniform(),
        learn_init: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        self._set_nonlinearity(nonlinearity)
        self._add_gate(
            "hid",
            W_in_to_hid,
            b_in_to_hid,
            W_reads_to_hid,
            b_reads_to_hid,
            W_hid_to_hid,
            b_hid_to_hid,
        )

    def advance(
        self,
        projected: Tensor,
        reads: Tensor | None,
        states: Sequence[Tensor],
        fused: Sequence[Tensor],
        **kwargs: Any,
    ) -> list[Tensor]:
        sums = self._add_reads(projected, reads, fused) + self._from_hidden(states[0], fused)
        return [self.nonlinearity(sums)]


GRU_EQUATIONS = ("lasagne", "ntm-lasagne")


class GRUController(GatedController):
    r"""A controller of gated recurrent units.

    With :math:`a^g = x_t W_{in}^g + b_{in}^g + r_t W_{reads}^g + b_{reads}^g` for each gate g, the update gate u and
    the reset gate s are

    .. math::
        u &= \sigma(a^u + h_{t-1} W_{hid}^u + b_{hid}^u) \\
        s &= \sigma(a^s + h_{t-1} W_{hid}^s + b_{hid}^s)

    The candidate c and the output h follow one of two equations. ``equation="lasagne"`` is that of
    `lasagne.layers.GRULayer`: the reset gate acts after the product with the hidden weights, and the update gate says
    how much of the output is new.

    .. math::
        c &= f(a^c + s \odot (h_{t-1} W_{hid}^c + b_{hid}^c)) \\
        h_t &= (1 - u) \odot h_{t-1} + u \odot c

    ``equation="ntm-lasagne"`` is that of ntm-lasagne, and of Cho et al.: the reset gate acts before the product, and
    the update gate says how much of the output is old.

    .. math::
        c &= f(a^c + (s \odot h_{t-1}) W_{hid}^c + b_{hid}^c) \\
        h_t &= (1 - u) \odot c + u \odot h_{t-1}

    Parameters that were trained with one equation need the same one. ntm-lasagne's f is always tanh, whatever its
    argument `nonlinearity` says.

    Parameters
    ----------
    incoming, memory_shape, num_units, num_reads, hid_init, learn_init, name
        As in :class:`Controller`.
    W_in_to_update, W_in_to_reset, W_in_to_hid : initializer, array, ... (F, H)
    W_reads_to_update, W_reads_to_reset, W_reads_to_hid : the same, (R * M, H)
    W_hid_to_update, W_hid_to_reset, W_hid_to_hid : the same, (H, H)
    b_in_to_update, ..., b_hid_to_hid : the same, (H,), or None
    nonlinearity : callable or None
        f; ``None`` is linear.
    equation : {"lasagne", "ntm-lasagne"}

    Raises
    ------
    ValueError
        As in :class:`Controller`, or if `equation` is none of the two.

    References
    ----------
    Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; Chung et al. 2014.
    """

    def __init__(
        self,
        incoming: Incoming,
        memory_shape: MemoryShape | None = None,
        num_units: int | None = None,
        num_reads: int = 0,
        W_in_to_update: ParameterSpec = GlorotUniform(),
        b_in_to_update: ParameterSpec | None = Constant(0.0),
        W_reads_to_update: ParameterSpec = GlorotUniform(),
        b_reads_to_update: ParameterSpec | None = Constant(0.0),
        W_hid_to_update: ParameterSpec = GlorotUniform(),
        b_hid_to_update: ParameterSpec | None = Constant(0.0),
        W_in_to_reset: ParameterSpec = GlorotUniform(),
        b_in_to_reset: ParameterSpec | None = Constant(0.0),
        W_reads_to_reset: ParameterSpec = GlorotUniform(),
        b_reads_to_reset: ParameterSpec | None = Constant(0.0),
        W_hid_to_reset: ParameterSpec = GlorotUniform(),
        b_hid_to_reset: ParameterSpec | None = Constant(0.0),
        W_in_to_hid: ParameterSpec = GlorotUniform(),
        b_in_to_hid: ParameterSpec | None = Constant(0.0),
        W_reads_to_hid: ParameterSpec = GlorotUniform(),
        b_reads_to_hid: ParameterSpec | None = Constant(0.0),
        W_hid_to_hid: ParameterSpec = GlorotUniform(),
        b_hid_to_hid: ParameterSpec | None = Constant(0.0),
        nonlinearity: Nonlinearity | None = tanh,
        hid_init: ParameterSpec = GlorotUniform(),
        learn_init: bool = False,
        equation: str = "lasagne",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        if equation not in GRU_EQUATIONS:
            raise ValueError(
                f"{describe(type(self).__name__, self.name)}: equation must be one of {GRU_EQUATIONS}, not {equation!r}"
            )
        self.equation = equation
        self._set_nonlinearity(nonlinearity)
        self._add_gate(
            "update",
            W_in_to_update,
            b_in_to_update,
            W_reads_to_update,
            b_reads_to_update,
            W_hid_to_update,
            b_hid_to_update,
        )
        self._add_gate(
            "reset",
            W_in_to_reset,
            b_in_to_reset,
            W_reads_to_reset,
            b_reads_to_reset,
            W_hid_to_reset,
            b_hid_to_reset,
        )
        self._add_gate(
            "hid",
            W_in_to_hid,
            b_in_to_hid,
            W_reads_to_hid,
            b_reads_to_hid,
            W_hid_to_hid,
            b_hid_to_hid,
        )

    def advance(
        self,
        projected: Tensor,
        reads: Tensor | None,
        states: Sequence[Tensor],
        fused: Sequence[Tensor],
        **kwargs: Any,
    ) -> list[Tensor]:
        hidden = states[0]
        outer = self._split(self._add_reads(projected, reads, fused))
        if self.equation == "lasagne":
            inner = self._split(self._from_hidden(hidden, fused))
            update, reset = sigmoid(outer[0] + inner[0]), sigmoid(outer[1] + inner[1])
            candidate = self.nonlinearity(outer[2] + reset * inner[2])
            return [(1.0 - update) * hidden + update * candidate]
        # The candidate's product with the hidden weights waits for the reset gate
        (W, b), units = fused[-2:], self.num_units
        gates = self._from_hidden(hidden, [W[:, : 2 * units], b[: 2 * units]])
        update, reset = sigmoid(outer[0] + gates[:, :units]), sigmoid(outer[1] + gates[:, units:])
        from_hidden = self._from_hidden(reset * hidden, [W[:, 2 * units :], b[2 * units :]])
        candidate = self.nonlinearity(outer[2] + from_hidden)
        return [(1.0 - update) * candidate + update * hidden]


class LSTMController(GatedController):
    r"""A controller of long short-term memory units, without peepholes.

    With :math:`a^g = x_t W_{in}^g + b_{in}^g + r_t W_{reads}^g + b_{reads}^g + h_{t-1} W_{hid}^g + b_{hid}^g`
    for each gate g,

    .. math::
        c_t &= \sigma(a^{forget}) \odot c_{t-1} + \sigma(a^{input}) \odot f(a^{cell}) \\
        h_t &= \sigma(a^{output}) \odot f(c_t)

    The state is (h, c).

    Parameters
    ----------
    incoming, memory_shape, num_units, num_reads, hid_init, learn_init, name
        As in :class:`Controller`.
    W_in_to_input, ..._forget, ..._output, ..._cell : initializer, array, ... (F, H)
    W_reads_to_input, ... : the same, (R * M, H)
    W_hid_to_input, ... : the same, (H, H)
    b_in_to_input, ..., b_hid_to_cell : the same, (H,), or None
    nonlinearity : callable or None
        f; ``None`` is linear. ntm-lasagne's f is always tanh, whatever its argument says.
    cell_init : initializer, array, ... (1, H)
        The cell before the first step; of the kinds of `hid_init`.

    References
    ----------
    Hochreiter and Schmidhuber 1997; Gers et al. 2000, Learning to forget.
    """

    def __init__(
        self,
        incoming: Incoming,
        memory_shape: MemoryShape | None = None,
        num_units: int | None = None,
        num_reads: int = 0,
        W_in_to_input: ParameterSpec = GlorotUniform(),
        b_in_to_input: ParameterSpec | None = Constant(0.0),
        W_reads_to_input: ParameterSpec = GlorotUniform(),
        b_reads_to_input: ParameterSpec | None = Constant(0.0),
        W_hid_to_input: ParameterSpec = GlorotUniform(),
        b_hid_to_input: ParameterSpec | None = Constant(0.0),
        W_in_to_forget: ParameterSpec = GlorotUniform(),
        b_in_to_forget: ParameterSpec | None = Constant(0.0),
        W_reads_to_forget: ParameterSpec = GlorotUniform(),
        b_reads_to_forget: ParameterSpec | None = Constant(0.0),
        W_hid_to_forget: ParameterSpec = GlorotUniform(),
        b_hid_to_forget: ParameterSpec | None = Constant(0.0),
        W_in_to_output: ParameterSpec = GlorotUniform(),
        b_in_to_output: ParameterSpec | None = Constant(0.0),
        W_reads_to_output: ParameterSpec = GlorotUniform(),
        b_reads_to_output: ParameterSpec | None = Constant(0.0),
        W_hid_to_output: ParameterSpec = GlorotUniform(),
        b_hid_to_output: ParameterSpec | None = Constant(0.0),
        W_in_to_cell: ParameterSpec = GlorotUniform(),
        b_in_to_cell: ParameterSpec | None = Constant(0.0),
        W_reads_to_cell: ParameterSpec = GlorotUniform(),
        b_reads_to_cell: ParameterSpec | None = Constant(0.0),
        W_hid_to_cell: ParameterSpec = GlorotUniform(),
        b_hid_to_cell: ParameterSpec | None = Constant(0.0),
        nonlinearity: Nonlinearity | None = tanh,
        hid_init: ParameterSpec = GlorotUniform(),
        cell_init: ParameterSpec = Constant(0.0),
        learn_init: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        self._set_nonlinearity(nonlinearity)
        self.cell_init = self._add_initial_state(cell_init, "cell_init")
        self._add_gate(
            "input",
            W_in_to_input,
            b_in_to_input,
            W_reads_to_input,
            b_reads_to_input,
            W_hid_to_input,
            b_hid_to_input,
        )
        self._add_gate(
            "forget",
            W_in_to_forget,
            b_in_to_forget,
            W_reads_to_forget,
            b_reads_to_forget,
            W_hid_to_forget,
            b_hid_to_forget,
        )
        self._add_gate(
            "output",
            W_in_to_output,
            b_in_to_output,
            W_reads_to_output,
            b_reads_to_output,
            W_hid_to_output,
            b_hid_to_output,
        )
        self._add_gate(
            "cell",
            W_in_to_cell,
            b_in_to_cell,
            W_reads_to_cell,
            b_reads_to_cell,
            W_hid_to_cell,
            b_hid_to_cell,
        )

    def outputs_info(self, batch_size: TensorLike) -> list[Tensor]:
        return [
            *super().outputs_info(batch_size),
            self._fit_initial_state("cell_init", batch_size),
        ]

    def advance(
        self,
        projected: Tensor,
        reads: Tensor | None,
        states: Sequence[Tensor],
        fused: Sequence[Tensor],
        **kwargs: Any,
    ) -> list[Tensor]:
        hidden, cell = states
        sums = self._add_reads(projected, reads, fused) + self._from_hidden(hidden, fused)
        input_gate, forget_gate, output_gate, candidate = self._split(sums)
        cell = sigmoid(forget_gate) * cell + sigmoid(input_gate) * self.nonlinearity(candidate)
        return [sigmoid(output_gate) * self.nonlinearity(cell), cell]
