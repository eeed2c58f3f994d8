"""The controllers: what reads the input and the read vectors, and drives the heads.

Notation: B batch, F input features, R read heads, M slot width, H controller units.
"""

from typing import Any

import pytensor
import pytensor.tensor as pt

from lasagne.init import Constant, GlorotUniform
from lasagne.layers import InputLayer, Layer, MergeLayer, get_all_layers
from lasagne.layers.base import known_shape
from lasagne.nonlinearities import linear, rectify, sigmoid, tanh
from lasagne.utils import inspect_kwargs, unique
from ntm.arguments import check_memory_shape, check_options, count_features, describe, is_integer
from ntm.memory import count_rows, fit_rows


class Controller(Layer):
    """What all controllers share. A controller of your own overrides `step` and perhaps `outputs_info`.

    Its state is a list of tensors (B, units); the first is its output h. A controller may also stand, without read
    vectors, in the stack of a :class:`StackController`.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F), or (B, F) inside a stack. In an input (B, T, ...) of more axes, the last ones make up the
        features.
    memory_shape : tuple (N, M), optional
        May be left out where `num_reads` is 0.
    num_units : int
        H, the size of the output.
    num_reads : int
        R, the number of read vectors that it sees at each step.
    hid_init : initializer, array, shared variable, expression or callable (1, H)
        The output before the first step. A shared variable or an expression may have a row for each sequence of the
        batch, (B, H).
    learn_init : bool
        Whether initial states are trained.
    name : str, optional

    Raises
    ------
    ValueError
        If a size is not a positive integer, the input has no known number of features or an initial value has
        another shape.
    """

    def __init__(
        self,
        incoming,
        memory_shape=None,
        num_units=None,
        num_reads=0,
        hid_init=GlorotUniform(),
        learn_init=False,
        **kwargs,
    ):
        check_options(type(self), kwargs)
        super().__init__(incoming, **kwargs)
        label = describe(type(self).__name__, self.name)
        if not is_integer(num_units) or num_units < 1:
            raise ValueError(f"{label}: num_units must be a positive integer, not {num_units!r}")
        if not is_integer(num_reads) or num_reads < 0:
            raise ValueError(f"{label}: num_reads must be zero or more, not {num_reads!r}")
        if memory_shape is not None or num_reads:
            check_memory_shape(memory_shape, self.name, type(self).__name__)
        self.num_inputs = count_features(self.input_shape)
        if self.num_inputs is None:
            raise ValueError(
                f"{label}: the input must be of shape (batch, time, features), with the number of "
                f"features known, not {self.input_shape}"
            )
        self.memory_shape = memory_shape
        self.num_units = num_units
        self.num_reads = num_reads
        self.learn_init = learn_init
        self.hid_init = self._add_initial_state(hid_init, "hid_init")

    def _add_initial_state(self, spec, name):
        return self.add_param(
            spec,
            (count_rows(spec), self.num_units),
            name=name,
            trainable=self.learn_init,
            regularizable=False,
        )

    def get_output_shape_for(self, input_shape):
        return (known_shape(input_shape)[0], self.num_units)

    @property
    def cell_index(self):
        """Which of its states an NTM shows as `state`: the second, an LSTM's cell, or the only one."""
        return min(1, len(self.outputs_info(1)) - 1)

    def outputs_info(self, batch_size):
        """The state before the first step: a list of tensors (B, units), the output first."""
        return [self._fit_initial_state("hid_init", batch_size)]

    def _fit_initial_state(self, name, batch_size):
        label = f"{describe(type(self).__name__, self.name)}: {name}"
        return fit_rows(getattr(self, name), batch_size, self.num_units, label)

    def step(self, input, reads, hidden, *states, **kwargs):
        """One step.

        Parameters
        ----------
        input : tensor (B, F)
        reads : tensor (B, R * M), or None where `num_reads` is 0
            The read vectors side by side.
        hidden, *states : tensor (B, units)
            The state, as `outputs_info` lists it.

        Returns
        -------
        list of tensors (B, units), the new state
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    def fuse(self):
        """What the steps share and can be computed once, outside of the loop: a list of tensors."""
        return []

    def project(self, input, fused):
        """The part of a step that needs the input only; works on (B, F) and on whole sequences."""
        return input

    def advance(self, projected, reads, states, fused, **kwargs):
        """One step from the projected input; `states` and what it returns are as in `step`."""
        return self.step(projected, reads, *states, **kwargs)


class GatedController(Controller):
    """What the built-in controllers share: gates that are sums of products, run together.

    A gate sums ``input W_in + b_in``, ``reads W_reads + b_reads`` and, if recurrent, ``hidden W_hid + b_hid``.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gates = []

    def _add_gate(self, gate, W_in, b_in, W_reads, b_reads, W_hid=None, b_hid=None):
        """Add the parameters of a gate; those of the read vectors only where there are any."""
        self.gates.append(gate)
        sources = [("in", self.num_inputs, W_in, b_in)]
        if self.num_reads:
            sources.append(("reads", self.num_reads * self.memory_shape[1], W_reads, b_reads))
        if W_hid is not None:
            sources.append(("hid", self.num_units, W_hid, b_hid))
        for source, size, W, b in sources:
            weights = self.add_param(W, (size, self.num_units), name=f"W_{source}_to_{gate}")
            setattr(self, f"W_{source}_to_{gate}", weights)
            if b is not None:
                b = self.add_param(b, (self.num_units,), name=f"b_{source}_to_{gate}")
            setattr(self, f"b_{source}_to_{gate}", b)

    def _side_by_side(self, kind, source):
        values: list[Any] = [
            getattr(self, f"{kind}_{source}_to_{gate}", None) for gate in self.gates
        ]
        dtype = pytensor.config.floatX
        values = [pt.zeros(self.num_units, dtype) if value is None else value for value in values]
        # An array of another precision that was given as a parameter must not spread it
        return pt.concatenate([value.astype(dtype) for value in values], axis=-1)

    def step(self, input, reads, hidden, *states, **kwargs):
        fused = self.fuse()
        return self.advance(self.project(input, fused), reads, [hidden, *states], fused)

    def fuse(self):
        weights = [self._side_by_side("W", "in"), self._side_by_side("b", "in")]
        if self.num_reads:
            weights += [self._side_by_side("W", "reads"), self._side_by_side("b", "reads")]
        if hasattr(self, f"W_hid_to_{self.gates[0]}"):
            weights += [self._side_by_side("W", "hid"), self._side_by_side("b", "hid")]
        return weights

    def project(self, input, fused):
        bias = fused[1] + fused[3] if self.num_reads else fused[1]
        return pt.dot(input, fused[0]) + bias

    def _add_reads(self, projected, reads, fused):
        """The gates' sums over input and read vectors, (B, gates * H)."""
        return projected + pt.dot(reads, fused[2]) if self.num_reads else projected

    @staticmethod
    def _from_hidden(hidden, fused):
        """The gates' sums over the hidden state, (B, gates * H)."""
        return pt.dot(hidden, fused[-2]) + fused[-1]

    def _split(self, sums):
        """The gates' sums one by one, each (B, H), in the order in which the gates were added."""
        units = self.num_units
        return [sums[:, k * units : (k + 1) * units] for k in range(len(self.gates))]


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
        incoming,
        memory_shape=None,
        num_units=None,
        num_reads=0,
        W_in_to_hid=GlorotUniform(),
        b_in_to_hid=Constant(0.0),
        W_reads_to_hid=GlorotUniform(),
        b_reads_to_hid=Constant(0.0),
        nonlinearity=rectify,
        hid_init=GlorotUniform(),
        learn_init=False,
        **kwargs,
    ):
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        self.nonlinearity = linear if nonlinearity is None else nonlinearity
        self._add_gate("hid", W_in_to_hid, b_in_to_hid, W_reads_to_hid, b_reads_to_hid)

    def advance(self, projected, reads, states, fused, **kwargs):
        return [self.nonlinearity(self._add_reads(projected, reads, fused))]


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
        incoming,
        memory_shape=None,
        num_units=None,
        num_reads=0,
        W_in_to_hid=GlorotUniform(),
        b_in_to_hid=Constant(0.0),
        W_reads_to_hid=GlorotUniform(),
        b_reads_to_hid=Constant(0.0),
        W_hid_to_hid=GlorotUniform(),
        b_hid_to_hid=Constant(0.0),
        nonlinearity=rectify,
        hid_init=GlorotUniform(),
        learn_init=False,
        **kwargs,
    ):
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        self.nonlinearity = linear if nonlinearity is None else nonlinearity
        self._add_gate(
            "hid",
            W_in_to_hid,
            b_in_to_hid,
            W_reads_to_hid,
            b_reads_to_hid,
            W_hid_to_hid,
            b_hid_to_hid,
        )

    def advance(self, projected, reads, states, fused, **kwargs):
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
        incoming,
        memory_shape=None,
        num_units=None,
        num_reads=0,
        W_in_to_update=GlorotUniform(),
        b_in_to_update=Constant(0.0),
        W_reads_to_update=GlorotUniform(),
        b_reads_to_update=Constant(0.0),
        W_hid_to_update=GlorotUniform(),
        b_hid_to_update=Constant(0.0),
        W_in_to_reset=GlorotUniform(),
        b_in_to_reset=Constant(0.0),
        W_reads_to_reset=GlorotUniform(),
        b_reads_to_reset=Constant(0.0),
        W_hid_to_reset=GlorotUniform(),
        b_hid_to_reset=Constant(0.0),
        W_in_to_hid=GlorotUniform(),
        b_in_to_hid=Constant(0.0),
        W_reads_to_hid=GlorotUniform(),
        b_reads_to_hid=Constant(0.0),
        W_hid_to_hid=GlorotUniform(),
        b_hid_to_hid=Constant(0.0),
        nonlinearity=tanh,
        hid_init=GlorotUniform(),
        learn_init=False,
        equation="lasagne",
        **kwargs,
    ):
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        if equation not in GRU_EQUATIONS:
            raise ValueError(
                f"{describe(type(self).__name__, self.name)}: equation must be one of {GRU_EQUATIONS}, not {equation!r}"
            )
        self.equation = equation
        self.nonlinearity = linear if nonlinearity is None else nonlinearity
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

    def advance(self, projected, reads, states, fused, **kwargs):
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
        inner = self._from_hidden(reset * hidden, [W[:, 2 * units :], b[2 * units :]])
        candidate = self.nonlinearity(outer[2] + inner)
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
        incoming,
        memory_shape=None,
        num_units=None,
        num_reads=0,
        W_in_to_input=GlorotUniform(),
        b_in_to_input=Constant(0.0),
        W_reads_to_input=GlorotUniform(),
        b_reads_to_input=Constant(0.0),
        W_hid_to_input=GlorotUniform(),
        b_hid_to_input=Constant(0.0),
        W_in_to_forget=GlorotUniform(),
        b_in_to_forget=Constant(0.0),
        W_reads_to_forget=GlorotUniform(),
        b_reads_to_forget=Constant(0.0),
        W_hid_to_forget=GlorotUniform(),
        b_hid_to_forget=Constant(0.0),
        W_in_to_output=GlorotUniform(),
        b_in_to_output=Constant(0.0),
        W_reads_to_output=GlorotUniform(),
        b_reads_to_output=Constant(0.0),
        W_hid_to_output=GlorotUniform(),
        b_hid_to_output=Constant(0.0),
        W_in_to_cell=GlorotUniform(),
        b_in_to_cell=Constant(0.0),
        W_reads_to_cell=GlorotUniform(),
        b_reads_to_cell=Constant(0.0),
        W_hid_to_cell=GlorotUniform(),
        b_hid_to_cell=Constant(0.0),
        nonlinearity=tanh,
        hid_init=GlorotUniform(),
        cell_init=Constant(0.0),
        learn_init=False,
        **kwargs,
    ):
        super().__init__(
            incoming, memory_shape, num_units, num_reads, hid_init, learn_init, **kwargs
        )
        self.nonlinearity = linear if nonlinearity is None else nonlinearity
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

    def outputs_info(self, batch_size):
        return [
            *super().outputs_info(batch_size),
            self._fit_initial_state("cell_init", batch_size),
        ]

    def advance(self, projected, reads, states, fused, **kwargs):
        hidden, cell = states
        sums = self._add_reads(projected, reads, fused) + self._from_hidden(hidden, fused)
        input_gate, forget_gate, output_gate, candidate = self._split(sums)
        cell = sigmoid(forget_gate) * cell + sigmoid(input_gate) * self.nonlinearity(candidate)
        return [sigmoid(output_gate) * self.nonlinearity(cell), cell]


class StackController(Controller):
    """Any Lasagne layers as a controller.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F).
    build : callable or Layer
        From an input layer of shape (B, F + R * M), the input and the read vectors side by side, to the top layer of
        the stack, of shape (B, H). Controllers without read vectors may stand in it, so that it has a state:
        ``lambda l: LSTMController(LSTMController(l, num_units=100), num_units=100)``. Or that top layer itself, on an
        input layer of that shape.
    memory_shape : tuple (N, M)
    num_reads : int
    hid_init : initializer, array, ... (1, H)
        The output before the first step; unused where the top layer is a controller, which has its own.
    learn_init : bool
    name : str, optional

    Raises
    ------
    ValueError
        If `build` is or gives no layer of shape (B, H) on one input layer of shape (B, F + R * M).
    """

    def __init__(
        self,
        incoming,
        build,
        memory_shape,
        num_reads,
        hid_init=GlorotUniform(),
        learn_init=False,
        **kwargs,
    ):
        name = kwargs.get("name")
        label = describe(type(self).__name__, name)
        check_memory_shape(memory_shape, name, type(self).__name__)
        if not is_integer(num_reads) or num_reads < 0:
            raise ValueError(f"{label}: num_reads must be zero or more, not {num_reads!r}")
        input_shape = getattr(incoming, "output_shape", incoming)
        if len(input_shape) < 3 or count_features(input_shape) is None:
            raise ValueError(
                f"{label}: the input must be of shape (batch, time, features), with the number of "
                f"features known, not {input_shape}"
            )
        width = count_features(input_shape) + num_reads * memory_shape[1]
        if isinstance(build, Layer):
            self.top = build
            self.stack_input = next(
                (layer for layer in get_all_layers(build) if isinstance(layer, InputLayer)), None
            )
            given = getattr(self.stack_input, "shape", None)
            if given is None or len(given) != 2 or given[1] != width:
                raise ValueError(
                    f"{label}: the stack must stand on an input layer of shape (batch, {width}), "
                    f"not {given}"
                )
        else:
            self.stack_input = InputLayer((input_shape[0], width))
            self.top = build(self.stack_input)
        if not isinstance(self.top, Layer):
            raise ValueError(f"{label}: build must return a layer, not {self.top!r}")
        self.layers = [layer for layer in get_all_layers(self.top) if layer is not self.stack_input]
        strangers = [layer for layer in self.layers if isinstance(layer, InputLayer)]
        if strangers:
            raise ValueError(
                f"{label}: the stack must stand on the one input layer that build is given, but "
                f"there is also {strangers[0]!r} of shape {strangers[0].shape}"
            )
        output_shape = self.top.output_shape
        if len(output_shape) != 2 or output_shape[1] is None:
            raise ValueError(
                f"{label}: the top layer must be of shape (batch, units), not {output_shape}"
            )
        self.cells = [layer for layer in self.layers if isinstance(layer, Controller)]
        for cell in self.cells:
            if cell.num_reads:
                raise ValueError(
                    f"{label}: {describe(type(cell).__name__, cell.name)} asks for "
                    f"{cell.num_reads} read vectors; in a stack they are part of the input, so "
                    f"leave num_reads and memory_shape out"
                )
        if self.top in self.cells:
            hid_init = self.top.hid_init
            # The state of the top layer comes first, as its output is the controller's
            self.cells.insert(0, self.cells.pop(self.cells.index(self.top)))
        super().__init__(
            incoming, memory_shape, output_shape[1], num_reads, hid_init, learn_init, **kwargs
        )

    def get_arguments(self):
        """As in `lasagne.layers.Layer`, with the top layer in place of the function that built it."""
        return super().get_arguments() | {"build": self.top}

    def get_params(self, unwrap_shared=True, **tags):
        """The initial state, then the parameters of the stack's layers from input to top."""
        params = super().get_params(unwrap_shared=unwrap_shared, **tags)
        if self.top in self.cells:
            params = []
        for layer in self.layers:
            params += layer.get_params(unwrap_shared=unwrap_shared, **tags)
        return unique(params)

    @property
    def cell_index(self):
        """That of the top layer, whose states come first; without one, the output."""
        return self.top.cell_index if isinstance(self.top, Controller) else 0

    def get_stack_kwargs(self):
        """Keywords that the layers of the stack take in `get_output`."""
        return [
            name
            for layer in self.layers
            for name in (*layer.get_output_kwargs, *inspect_kwargs(layer.get_output_for))
        ]

    def outputs_info(self, batch_size):
        states = [] if self.top in self.cells else super().outputs_info(batch_size)
        for cell in self.cells:
            states += cell.outputs_info(batch_size)
        return states

    def step(self, input, reads, *states, **kwargs):
        remaining = list(states if self.top in self.cells else states[1:])
        previous = {}
        for cell in self.cells:
            count = len(cell.outputs_info(1))
            previous[cell], remaining = remaining[:count], remaining[count:]
        x = input if reads is None else pt.concatenate([input, reads], axis=1)
        outputs: dict[Layer | None, Any] = {self.stack_input: x}
        after = {}
        for layer in self.layers:
            if isinstance(layer, MergeLayer):
                below = [outputs[incoming] for incoming in layer.input_layers]
            else:
                below = outputs[layer.input_layer]
            if isinstance(layer, Controller):
                after[layer] = layer.step(below, None, *previous[layer], **kwargs)
                outputs[layer] = after[layer][0]
            else:
                outputs[layer] = layer.get_output_for(below, **kwargs)
        own = [] if self.top in self.cells else [outputs[self.top]]
        return [*own, *(state for cell in self.cells for state in after[cell])]
