"""Recurrent layers: they process a sequence of shape ``(batch, time, ...)``, step by step.

Every layer here takes a ``mask_input`` of shape ``(batch, time)``, for batches of sequences of
various lengths: where the mask is zero, the state stays as it was before, and the step is given
zeros in place of the input.
"""

import warnings
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import pytensor.tensor as pt

from .. import init, nonlinearities, utils
from ..typing import Incoming, Nonlinearity, Parameter, ParameterSpec, StateSpec, Tensor
from ._recurrence import RecurrenceLayer, dims_agree
from .base import Layer, MergeLayer, check_positive, incoming_shape
from .dense import DenseLayer
from .helper import get_all_layers, get_all_params, get_output
from .input import InputLayer

__all__ = ["CustomRecurrentLayer", "GRULayer", "Gate", "LSTMLayer", "RecurrentLayer"]


class CustomRecurrentLayer(RecurrenceLayer):
    r"""A layer which implements a recurrent connection of your own.

    .. math:: h_t = \sigma(f_i(x_t) + f_h(h_{t-1}))

    Parameters
    ----------
    incoming : :class:`Layer` or tuple
        The layer that feeds the sequence, of shape ``(batch, time, ...)``, or that shape.
    input_to_hidden : :class:`Layer`
        The top of the network :math:`f_i`, which has exactly one :class:`InputLayer`, of shape
        ``(batch * time, ...)``, or ``(batch, ...)`` with ``precompute_input=False``.
    hidden_to_hidden : :class:`Layer`
        The top of the network :math:`f_h`, which has exactly one :class:`InputLayer`, of shape
        ``(batch, ...)``, and the output shape of `input_to_hidden` but for the first dimension.
    nonlinearity : callable or None
        The function :math:`\sigma`; None is linear.
    hid_init : callable, array, expression or :class:`Layer`
        The initial hidden state :math:`h_0`. An array has shape ``(1, ...)``; an expression
        ``(1, ...)`` or ``(batch, ...)``; a layer feeds ``(batch, ...)``.
    backwards : bool
        Whether to process the sequence from its end; the output is in the order of the input.
    learn_init : bool
        Whether the initial state is trained (not if it comes from a layer).
    gradient_steps : int
        The number of steps that gradients go back in time; -1 for all.
    grad_clipping : float
        If not zero, the gradients with respect to the activation of a step are clipped elementwise
        to ``[-grad_clipping, grad_clipping]``.
    unroll_scan : bool
        Whether to build each step into the graph, in place of a loop. It needs a known length,
        compiles longer, and can run faster.
    precompute_input : bool
        Whether to apply `input_to_hidden` to all time steps at once, before the loop. It is faster
        and needs more memory.
    mask_input : :class:`Layer`, optional
        The layer that feeds the mask, of shape ``(batch, time)``; the state stays where it is zero.
        The input there, which may be NaN or infinite, changes neither output nor gradient. Layers
        below this one do not know the mask: if they have parameters, the gradients of these are NaN
        where what they are fed is.
    only_return_final : bool
        Whether to return the output of the last step processed only, ``(batch, ...)``.
    name : str, optional
        A name for the layer.

    Raises
    ------
    ValueError
        If the shapes do not fit together, if a network does not have exactly one input layer, or
        with `unroll_scan`, if the length is unknown or `gradient_steps` is not -1.

    Examples
    --------
    A vanilla recurrent layer, with two dense layers between the hidden states:

    >>> from lasagne.layers import CustomRecurrentLayer, DenseLayer, InputLayer
    >>> l_in = InputLayer((2, 3, 4))
    >>> l_in_hid = DenseLayer(InputLayer((None, 4)), 5)
    >>> l_hid_hid = DenseLayer(DenseLayer(InputLayer((None, 5)), 6), 5)
    >>> l_rec = CustomRecurrentLayer(l_in, l_in_hid, l_hid_hid)
    >>> l_rec.output_shape
    (2, 3, 5)

    References
    ----------
    .. [1] Graves, A. (2013): Generating sequences with recurrent neural networks,
       https://arxiv.org/abs/1308.0850
    """

    def __init__(
        self,
        incoming: Incoming,
        input_to_hidden: Layer,
        hidden_to_hidden: Layer,
        nonlinearity: Callable | None = nonlinearities.rectify,
        hid_init: StateSpec = init.Constant(0.0),
        backwards: bool = False,
        learn_init: bool = False,
        gradient_steps: int = -1,
        grad_clipping: float = 0,
        unroll_scan: bool = False,
        precompute_input: bool = True,
        mask_input: Incoming | None = None,
        only_return_final: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            incoming,
            {"hid_init": hid_init},
            min_ndim=2,
            backwards=backwards,
            learn_init=learn_init,
            gradient_steps=gradient_steps,
            grad_clipping=grad_clipping,
            unroll_scan=unroll_scan,
            precompute_input=precompute_input,
            mask_input=mask_input,
            only_return_final=only_return_final,
            **kwargs,
        )
        self.input_to_hidden = input_to_hidden
        self.hidden_to_hidden = hidden_to_hidden
        self.nonlinearity = nonlinearities.as_nonlinearity(self, nonlinearity)
        self._check_shapes()
        for network in (input_to_hidden, hidden_to_hidden):
            for layer in get_all_layers(network):
                self.get_output_kwargs += utils.inspect_kwargs(layer.get_output_for)
                self.get_output_kwargs += layer.get_output_kwargs
        self._add_initial_states(hidden_to_hidden.output_shape[1:])

    def _check_shapes(self) -> None:
        batch, time, *features = self.input_shapes[0]
        to_hidden = self.input_to_hidden.output_shape
        hidden = self.hidden_to_hidden.output_shape
        to_hidden_input = self._only_input("input_to_hidden").output_shape
        hidden_input = self._only_input("hidden_to_hidden").output_shape

        if not dims_agree(to_hidden_input[1:], features):
            raise ValueError(
                f"{self!r}: the input shape of input_to_hidden must be {('batch', *features)} for "
                f"the incoming shape {self.input_shapes[0]}, got {to_hidden_input}"
            )
        steps_at_once = None if batch is None or time is None else batch * time
        if self.precompute_input and not dims_agree(to_hidden[:1], [steps_at_once]):
            raise ValueError(
                f"{self!r}: with precompute_input=True, the first dimension of input_to_hidden "
                f"must be None or batch * time = {steps_at_once}, its output shape is {to_hidden}"
            )
        if not self.precompute_input and not dims_agree(to_hidden[:1], hidden[:1]):
            raise ValueError(
                f"{self!r}: with precompute_input=False, the first dimensions of input_to_hidden "
                f"and hidden_to_hidden must be equal, their output shapes are {to_hidden} and "
                f"{hidden}"
            )
        if not dims_agree(to_hidden[1:], hidden[1:]):
            raise ValueError(
                f"{self!r}: the output shapes of input_to_hidden and hidden_to_hidden must be "
                f"equal after the first dimension, got {to_hidden} and {hidden}"
            )
        if not dims_agree(hidden[1:], hidden_input[1:]):
            raise ValueError(
                f"{self!r}: the output shape of hidden_to_hidden must be its input shape after the "
                f"first dimension, got {hidden} and {hidden_input}"
            )

    def _only_input(self, attribute: str) -> Any:
        layers = get_all_layers(getattr(self, attribute))
        inputs = [layer for layer in layers if isinstance(layer, InputLayer)]
        if len(inputs) != 1:
            raise ValueError(
                f"{self!r}: {attribute} must have exactly one InputLayer, got {len(inputs)}"
            )
        return inputs[0]

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list:
        """Return the parameters: those of this layer, `input_to_hidden` and `hidden_to_hidden`.

        Parameters
        ----------
        unwrap_shared : bool
            Whether a parameter that is an expression is replaced by the shared variables in it.
        **tags : bool
            The tags that a parameter must, or must not, have; see :meth:`Layer.get_params`.

        Returns
        -------
        list of PyTensor variables
            The parameters.
        """
        return [
            *super().get_params(unwrap_shared, **tags),
            *get_all_params(self.input_to_hidden, unwrap_shared, **tags),
            *get_all_params(self.hidden_to_hidden, unwrap_shared, **tags),
        ]

    def get_parts(self) -> list[tuple[str, Layer]]:
        """Return the layers of `input_to_hidden` and of `hidden_to_hidden`, without their inputs."""
        return [
            (role, layer)
            for role, network in (
                ("input to hidden", self.input_to_hidden),
                ("hidden to hidden", self.hidden_to_hidden),
            )
            for layer in get_all_layers(network)
            if not isinstance(layer, InputLayer)
        ]

    def _cell(self, **kwargs: Any) -> tuple[Callable, Callable]:
        def project(x: Tensor) -> Tensor:
            return _inner_output(self.input_to_hidden, x, kwargs)

        def step(projected: Tensor, hidden: Tensor) -> list[Tensor]:
            recurrent = _inner_output(self.hidden_to_hidden, hidden, kwargs)
            return [self.nonlinearity(self._clip_gradient(projected + recurrent))]

        return project, step


class RecurrentLayer(CustomRecurrentLayer):
    r"""A layer of vanilla recurrent units.

    .. math:: h_t = \sigma(x_t W_x + h_{t-1} W_h + b)

    Parameters
    ----------
    incoming : :class:`Layer` or tuple
        The layer that feeds the sequence, of shape ``(batch, time, ...)``, or that shape.
    num_units : int
        Number of hidden units H.
    W_in_to_hid : callable, array or expression
        The weights :math:`W_x`, of shape ``(inputs, H)``.
    W_hid_to_hid : callable, array or expression
        The weights :math:`W_h`, of shape ``(H, H)``.
    b : callable, array, expression or None
        The biases, of shape ``(H,)``; None for no biases.
    nonlinearity, hid_init, backwards, learn_init, gradient_steps, grad_clipping
        See :class:`CustomRecurrentLayer`.
    unroll_scan, precompute_input, mask_input, only_return_final, name
        See :class:`CustomRecurrentLayer`.

    Raises
    ------
    ValueError
        As in :class:`CustomRecurrentLayer`, and if the number of inputs is not known.

    Examples
    --------
    >>> from lasagne.layers import InputLayer, RecurrentLayer
    >>> RecurrentLayer(InputLayer((None, None, 4)), num_units=5).output_shape
    (None, None, 5)
    """

    def __init__(
        self,
        incoming: Incoming,
        num_units: int,
        W_in_to_hid: ParameterSpec = init.Uniform(),
        W_hid_to_hid: ParameterSpec = init.Uniform(),
        b: ParameterSpec | None = init.Constant(0.0),
        nonlinearity: Callable | None = nonlinearities.rectify,
        hid_init: StateSpec = init.Constant(0.0),
        backwards: bool = False,
        learn_init: bool = False,
        gradient_steps: int = -1,
        grad_clipping: float = 0,
        unroll_scan: bool = False,
        precompute_input: bool = True,
        mask_input: Incoming | None = None,
        only_return_final: bool = False,
        **kwargs: Any,
    ):
        name = kwargs.get("name")
        self.name = name  # names the layer if its incoming shape is an error
        prefix = f"{name}." if name else ""
        features = _features(self, incoming_shape(self, incoming))
        check_positive(self, num_units=num_units)
        input_to_hidden = DenseLayer(
            InputLayer((None, *features)),
            num_units,
            W=W_in_to_hid,
            b=b,
            nonlinearity=None,
            name=prefix + "input_to_hidden",
        )
        hidden_to_hidden = DenseLayer(
            InputLayer((None, num_units)),
            num_units,
            W=W_hid_to_hid,
            b=None,
            nonlinearity=None,
            name=prefix + "hidden_to_hidden",
        )
        self.num_units = num_units
        self.W_in_to_hid = input_to_hidden.W
        self.W_hid_to_hid = hidden_to_hidden.W
        self.b = input_to_hidden.b
        super().__init__(
            incoming,
            input_to_hidden,
            hidden_to_hidden,
            nonlinearity=nonlinearity,
            hid_init=hid_init,
            backwards=backwards,
            learn_init=learn_init,
            gradient_steps=gradient_steps,
            grad_clipping=grad_clipping,
            unroll_scan=unroll_scan,
            precompute_input=precompute_input,
            mask_input=mask_input,
            only_return_final=only_return_final,
            **kwargs,
        )


class Gate:
    """The parameters of a gate of an :class:`LSTMLayer` or :class:`GRULayer`.

    Parameters
    ----------
    W_in : callable, array or expression
        Weights from the input, of shape ``(inputs, H)``.
    W_hid : callable, array or expression
        Weights from the hidden state, of shape ``(H, H)``.
    W_cell : callable, array, expression or None
        Weights from the cell, of shape ``(H,)``: the peepholes of an LSTM. With None the gate does
        not have the attribute.
    b : callable, array or expression
        Biases, of shape ``(H,)``.
    nonlinearity : callable or None
        The function applied to the activation; None is linear.

    Examples
    --------
    A forget gate that is open in the beginning:

    >>> import lasagne
    >>> forgetgate = lasagne.layers.Gate(b=lasagne.init.Constant(5.0))
    """

    def __init__(
        self,
        W_in: ParameterSpec = init.Normal(0.1),
        W_hid: ParameterSpec = init.Normal(0.1),
        W_cell: ParameterSpec | None = init.Normal(0.1),
        b: ParameterSpec = init.Constant(0.0),
        nonlinearity: Callable | None = nonlinearities.sigmoid,
    ):
        self.W_in = W_in
        self.W_hid = W_hid
        if W_cell is not None:
            self.W_cell = W_cell
        self.b = b
        self.nonlinearity = nonlinearities.as_nonlinearity(self, nonlinearity)

    def get_arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments that make an equal gate, by name."""
        return {"W_cell": None, **vars(self)}


class LSTMLayer(RecurrenceLayer):
    r"""A layer of long short-term memory units, with peepholes.

    .. math ::

        i_t &= \sigma_i(x_t W_{xi} + h_{t-1} W_{hi} + w_{ci} \odot c_{t-1} + b_i) \\
        f_t &= \sigma_f(x_t W_{xf} + h_{t-1} W_{hf} + w_{cf} \odot c_{t-1} + b_f) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \sigma_c(x_t W_{xc} + h_{t-1} W_{hc} + b_c) \\
        o_t &= \sigma_o(x_t W_{xo} + h_{t-1} W_{ho} + w_{co} \odot c_t + b_o) \\
        h_t &= o_t \odot \sigma_h(c_t)

    Parameters
    ----------
    incoming : :class:`Layer` or tuple
        The layer that feeds the sequence, of shape ``(batch, time, ...)``, or that shape.
    num_units : int
        Number of hidden units H.
    ingate, forgetgate, cell, outgate : :class:`Gate`
        The parameters and nonlinearities of :math:`i_t`, :math:`f_t`, of the update of :math:`c_t`,
        and of :math:`o_t`.
    nonlinearity : callable or None
        The function :math:`\sigma_h`; None is linear.
    cell_init, hid_init : callable, array, expression or :class:`Layer`
        The initial :math:`c_0` and :math:`h_0`. An array has shape ``(1, H)``; an expression
        ``(1, H)`` or ``(batch, H)``; a layer feeds ``(batch, H)``.
    peepholes : bool
        Whether the gates see the cell: with False there is no :math:`w_c`.
    backwards, learn_init, gradient_steps, grad_clipping, unroll_scan
        See :class:`CustomRecurrentLayer`.
    precompute_input, mask_input, only_return_final, name
        See :class:`CustomRecurrentLayer`.

    Raises
    ------
    ValueError
        As in :class:`CustomRecurrentLayer`, and if the number of inputs is not known, or with
        `peepholes`, if a gate has ``W_cell=None``.

    Examples
    --------
    >>> from lasagne.layers import InputLayer, LSTMLayer
    >>> LSTMLayer(InputLayer((None, 10, 4)), num_units=5, only_return_final=True).output_shape
    (None, 5)

    References
    ----------
    .. [1] Hochreiter, S., Schmidhuber, J. (1997): Long short-term memory. Neural Computation 9(8).
    .. [2] Gers, F. A., Schraudolph, N. N., Schmidhuber, J. (2002): Learning precise timing with
       LSTM recurrent networks. Journal of Machine Learning Research 3.
    .. [3] Graves, A. (2013): Generating sequences with recurrent neural networks,
       https://arxiv.org/abs/1308.0850
    """

    def __init__(
        self,
        incoming: Incoming,
        num_units: int,
        ingate: Gate = Gate(),
        forgetgate: Gate = Gate(),
        cell: Gate = Gate(W_cell=None, nonlinearity=nonlinearities.tanh),
        outgate: Gate = Gate(),
        nonlinearity: Callable | None = nonlinearities.tanh,
        cell_init: StateSpec = init.Constant(0.0),
        hid_init: StateSpec = init.Constant(0.0),
        backwards: bool = False,
        learn_init: bool = False,
        peepholes: bool = True,
        gradient_steps: int = -1,
        grad_clipping: float = 0,
        unroll_scan: bool = False,
        precompute_input: bool = True,
        mask_input: Incoming | None = None,
        only_return_final: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            incoming,
            {"cell_init": cell_init, "hid_init": hid_init},
            min_ndim=3,
            backwards=backwards,
            learn_init=learn_init,
            gradient_steps=gradient_steps,
            grad_clipping=grad_clipping,
            unroll_scan=unroll_scan,
            precompute_input=precompute_input,
            mask_input=mask_input,
            only_return_final=only_return_final,
            **kwargs,
        )
        check_positive(self, num_units=num_units)
        self.num_units = num_units
        self.peepholes = peepholes
        self.nonlinearity = nonlinearities.as_nonlinearity(self, nonlinearity)
        (
            self.W_in_to_ingate,
            self.W_hid_to_ingate,
            self.b_ingate,
            self.nonlinearity_ingate,
        ) = _add_gate(self, ingate, "ingate")
        (
            self.W_in_to_forgetgate,
            self.W_hid_to_forgetgate,
            self.b_forgetgate,
            self.nonlinearity_forgetgate,
        ) = _add_gate(self, forgetgate, "forgetgate")
        (
            self.W_in_to_cell,
            self.W_hid_to_cell,
            self.b_cell,
            self.nonlinearity_cell,
        ) = _add_gate(self, cell, "cell")
        (
            self.W_in_to_outgate,
            self.W_hid_to_outgate,
            self.b_outgate,
            self.nonlinearity_outgate,
        ) = _add_gate(self, outgate, "outgate")
        if peepholes:
            self.W_cell_to_ingate = self._add_peephole(ingate, "ingate")
            self.W_cell_to_forgetgate = self._add_peephole(forgetgate, "forgetgate")
            self.W_cell_to_outgate = self._add_peephole(outgate, "outgate")
        self._add_initial_states((num_units,))

    def _add_peephole(self, gate: Gate, name: str) -> Parameter:
        if not hasattr(gate, "W_cell"):
            raise ValueError(f"{self!r}: {name} needs a W_cell when peepholes is True, got None")
        return self.add_param(gate.W_cell, (self.num_units,), name=f"W_cell_to_{name}")

    def _cell(self, **kwargs: Any) -> tuple[Callable, Callable]:
        project, W_hid = _stack_gates(self, ["ingate", "forgetgate", "cell", "outgate"])

        def step(projected: Tensor, cell: Tensor, hidden: Tensor) -> list[Tensor]:
            activation = self._clip_gradient(projected + pt.dot(hidden, W_hid))
            ingate, forgetgate, cell_input, outgate = _split(activation, 4, self.num_units)
            if self.peepholes:
                ingate = ingate + cell * self.W_cell_to_ingate
                forgetgate = forgetgate + cell * self.W_cell_to_forgetgate
            kept = self.nonlinearity_forgetgate(forgetgate) * cell
            cell = kept + self.nonlinearity_ingate(ingate) * self.nonlinearity_cell(cell_input)
            if self.peepholes:
                outgate = outgate + cell * self.W_cell_to_outgate
            return [cell, self.nonlinearity_outgate(outgate) * self.nonlinearity(cell)]

        return project, step


class GRULayer(RecurrenceLayer):
    r"""A layer of gated recurrent units.

    .. math ::

        r_t &= \sigma_r(x_t W_{xr} + h_{t-1} W_{hr} + b_r) \\
        u_t &= \sigma_u(x_t W_{xu} + h_{t-1} W_{hu} + b_u) \\
        c_t &= \sigma_c(x_t W_{xc} + r_t \odot (h_{t-1} W_{hc}) + b_c) \\
        h_t &= (1 - u_t) \odot h_{t-1} + u_t \odot c_t

    Parameters
    ----------
    incoming : :class:`Layer` or tuple
        The layer that feeds the sequence, of shape ``(batch, time, ...)``, or that shape.
    num_units : int
        Number of hidden units H.
    resetgate, updategate, hidden_update : :class:`Gate`
        The parameters and nonlinearities of :math:`r_t`, :math:`u_t` and :math:`c_t`.
    hid_init, backwards, learn_init, gradient_steps, grad_clipping, unroll_scan
        See :class:`CustomRecurrentLayer`.
    precompute_input, mask_input, only_return_final, name
        See :class:`CustomRecurrentLayer`.

    Raises
    ------
    ValueError
        As in :class:`CustomRecurrentLayer`, and if the number of inputs is not known.

    Notes
    -----
    In [1]_ the reset gate is applied to :math:`h_{t-1}` before the product with :math:`W_{hc}`;
    here it is applied after it, so that one product per step gives all three gates.

    Examples
    --------
    >>> from lasagne.layers import GRULayer, InputLayer
    >>> GRULayer(InputLayer((None, 10, 4)), num_units=5).output_shape
    (None, 10, 5)

    References
    ----------
    .. [1] Cho, K., et al. (2014): On the properties of neural machine translation: Encoder-decoder
       approaches, https://arxiv.org/abs/1409.1259
    .. [2] Chung, J., et al. (2014): Empirical evaluation of gated recurrent neural networks on
       sequence modeling, https://arxiv.org/abs/1412.3555
    .. [3] Graves, A. (2013): Generating sequences with recurrent neural networks,
       https://arxiv.org/abs/1308.0850
    """

    def __init__(
        self,
        incoming: Incoming,
        num_units: int,
        resetgate: Gate = Gate(W_cell=None),
        updategate: Gate = Gate(W_cell=None),
        hidden_update: Gate = Gate(W_cell=None, nonlinearity=nonlinearities.tanh),
        hid_init: StateSpec = init.Constant(0.0),
        backwards: bool = False,
        learn_init: bool = False,
        gradient_steps: int = -1,
        grad_clipping: float = 0,
        unroll_scan: bool = False,
        precompute_input: bool = True,
        mask_input: Incoming | None = None,
        only_return_final: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            incoming,
            {"hid_init": hid_init},
            min_ndim=3,
            backwards=backwards,
            learn_init=learn_init,
            gradient_steps=gradient_steps,
            grad_clipping=grad_clipping,
            unroll_scan=unroll_scan,
            precompute_input=precompute_input,
            mask_input=mask_input,
            only_return_final=only_return_final,
            **kwargs,
        )
        check_positive(self, num_units=num_units)
        self.num_units = num_units
        (
            self.W_in_to_updategate,
            self.W_hid_to_updategate,
            self.b_updategate,
            self.nonlinearity_updategate,
        ) = _add_gate(self, updategate, "updategate")
        (
            self.W_in_to_resetgate,
            self.W_hid_to_resetgate,
            self.b_resetgate,
            self.nonlinearity_resetgate,
        ) = _add_gate(self, resetgate, "resetgate")
        (
            self.W_in_to_hidden_update,
            self.W_hid_to_hidden_update,
            self.b_hidden_update,
            self.nonlinearity_hid,
        ) = _add_gate(self, hidden_update, "hidden_update")
        self._add_initial_states((num_units,))

    def _cell(self, **kwargs: Any) -> tuple[Callable, Callable]:
        project, W_hid = _stack_gates(self, ["resetgate", "updategate", "hidden_update"])

        def step(projected: Tensor, hidden: Tensor) -> list[Tensor]:
            from_input = _split(self._clip_gradient(projected), 3, self.num_units)
            from_hidden = _split(self._clip_gradient(pt.dot(hidden, W_hid)), 3, self.num_units)
            resetgate = self.nonlinearity_resetgate(from_input[0] + from_hidden[0])
            updategate = self.nonlinearity_updategate(from_input[1] + from_hidden[1])
            activation = self._clip_gradient(from_input[2] + resetgate * from_hidden[2])
            update = self.nonlinearity_hid(activation)
            return [(1 - updategate) * hidden + updategate * update]

        return project, step


def _features(layer: MergeLayer, input_shape: tuple) -> tuple[int, ...]:
    """Return the dimensions of a time step of the input, which must be known."""
    if len(input_shape) < 3 or None in input_shape[2:]:
        raise ValueError(
            f"{layer!r} needs an incoming shape (batch, time, features, ...) with known features, "
            f"got {input_shape}"
        )
    return tuple(input_shape[2:])


def _inner_output(network: Layer, input: Tensor, kwargs: dict) -> Tensor:
    """Return the output of a network inside a layer, which passes its own arguments on."""
    with warnings.catch_warnings():
        # One network may take an argument that the other does not. Whether any does was checked
        # when the layer itself was called.
        warnings.filterwarnings("ignore", message=".*unused kwargs", category=UserWarning)
        return get_output(network, input, **kwargs)


def _add_gate(
    layer: "LSTMLayer | GRULayer", gate: Gate, name: str
) -> tuple[Parameter, Parameter, Parameter, Nonlinearity]:
    """Add the parameters of a gate; return ``W_in``, ``W_hid``, ``b`` and the nonlinearity."""
    num_inputs = prod(_features(layer, layer.input_shapes[0]))
    units = layer.num_units
    return (
        layer.add_param(gate.W_in, (num_inputs, units), name=f"W_in_to_{name}"),
        layer.add_param(gate.W_hid, (units, units), name=f"W_hid_to_{name}"),
        layer.add_param(gate.b, (units,), name=f"b_{name}", regularizable=False),
        gate.nonlinearity,
    )


def _stack_gates(
    layer: "LSTMLayer | GRULayer", gates: Sequence[str]
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Stack the parameters of the gates, so that one product computes all of them.

    Returns
    -------
    project : function
        Maps inputs ``(n, ...)`` to what they contribute to the gates, ``(n, gates * H)``.
    W_hid : tensor
        The weights from the hidden state, ``(H, gates * H)``.
    """
    W_in = pt.concatenate([getattr(layer, f"W_in_to_{gate}") for gate in gates], axis=1)
    W_hid = pt.concatenate([getattr(layer, f"W_hid_to_{gate}") for gate in gates], axis=1)
    b = pt.concatenate([getattr(layer, f"b_{gate}") for gate in gates])

    def project(x: Tensor) -> Tensor:
        return pt.dot(x.flatten(2), W_in) + b

    return project, W_hid


def _split(stacked: Tensor, parts: int, size: int) -> list[Tensor]:
    return [stacked[:, i * size : (i + 1) * size] for i in range(parts)]
