import itertools
from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import lasagne
from lasagne.backends.modes import get_mode
from lasagne.init import Constant, Normal
from lasagne.layers import (
    BatchNormLayer,
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    InputLayer,
    Layer,
    get_all_layers,
    get_all_params,
    get_output,
    get_output_shape,
)
from lasagne.layers.recurrent import CustomRecurrentLayer, Gate, GRULayer, LSTMLayer, RecurrentLayer
from lasagne.nonlinearities import linear, sigmoid, tanh
from lasagne.utils import floatX

LAYERS = [RecurrentLayer, LSTMLayer, GRULayer]
B, T, F, H = 3, 4, 2, 5


@pytest.fixture(autouse=True)
def rng():
    before = lasagne.random.get_rng()
    lasagne.random.set_rng(np.random.RandomState(1))
    yield
    lasagne.random.set_rng(before)


def data(*shape):
    return floatX(np.random.RandomState(2).normal(size=shape))


def np_sigmoid(x):
    return 1 / (1 + np.exp(-x))


def make(cls, incoming=None, randomize=True, **options):
    """A layer whose parameters, biases and initial state included, are all random and distinct."""
    layer = cls(InputLayer((B, T, F)) if incoming is None else incoming, H, **options)
    if randomize:
        random = np.random.RandomState(3)
        for param in layer.get_params():
            param.set_value(floatX(0.7 * random.normal(size=param.get_value().shape)))
    return layer


def value(parameter):
    return parameter.get_value()


def numpy_step(layer, x, states):
    """One time step of `layer`, as the docstrings have it, on NumPy arrays."""
    if isinstance(layer, RecurrentLayer):
        (h,) = states
        a = x @ value(layer.W_in_to_hid) + h @ value(layer.W_hid_to_hid) + value(layer.b)
        return [np.maximum(a, 0)]

    def part(gate):
        return (
            x @ value(getattr(layer, f"W_in_to_{gate}")) + value(getattr(layer, f"b_{gate}")),
            states[-1] @ value(getattr(layer, f"W_hid_to_{gate}")),
        )

    if isinstance(layer, GRULayer):
        (h,) = states
        r, u = (np_sigmoid(sum(part(gate))) for gate in ("resetgate", "updategate"))
        from_input, from_hidden = part("hidden_update")
        return [(1 - u) * h + u * np.tanh(from_input + r * from_hidden)]

    c, h = states
    i, f, a, o = (sum(part(gate)) for gate in ("ingate", "forgetgate", "cell", "outgate"))
    if layer.peepholes:
        i, f = i + c * value(layer.W_cell_to_ingate), f + c * value(layer.W_cell_to_forgetgate)
    c = np_sigmoid(f) * c + np_sigmoid(i) * np.tanh(a)
    if layer.peepholes:
        o = o + c * value(layer.W_cell_to_outgate)
    return [c, np_sigmoid(o) * np.tanh(c)]


def numpy_loop(layer, x, mask=None):
    """The output at all steps of a layer, from a plain loop."""
    names = ["cell_init", "hid_init"] if isinstance(layer, LSTMLayer) else ["hid_init"]
    states = [np.repeat(value(getattr(layer, name)), len(x), axis=0) for name in names]
    output = np.zeros((*x.shape[:2], H))
    steps = range(x.shape[1])
    for t in reversed(steps) if layer.backwards else steps:
        new = numpy_step(layer, x[:, t].reshape(len(x), np.prod(x.shape[2:])), states)
        if mask is not None:
            new = [np.where(mask[:, t, None], *pair) for pair in zip(new, states, strict=True)]
        states = new
        output[:, t] = states[-1]
    return output


class TestAgainstNumPy:
    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize("masked", [False, True])
    def test_all_ways_to_compute(self, cls, backwards, masked):
        x = data(B, T, F)
        mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], dtype="int8")
        inputs = {"x": x, "mask": mask} if masked else {"x": x}
        x_var, mask_var = pt.tensor3(dtype=x.dtype), pt.bmatrix()
        outputs = []
        for unroll, precompute in itertools.product([False, True], repeat=2):
            l_in, l_mask = InputLayer((B, T, F)), InputLayer((B, T))
            options = {"unroll_scan": unroll, "precompute_input": precompute}
            if masked:
                options["mask_input"] = l_mask
            layer = make(cls, l_in, backwards=backwards, **options)
            outputs.append(get_output(layer, {l_in: x_var, l_mask: mask_var}))
        arguments = [x_var, mask_var][: len(inputs)]
        expected = numpy_loop(layer, x, mask if masked else None)
        for output in pytensor.function(arguments, outputs)(*inputs.values()):
            assert output.shape == layer.output_shape == (B, T, H)
            assert np.allclose(output, expected)

    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("backwards", [False, True])
    def test_only_return_final(self, cls, backwards):
        x, layer = data(B, T, F), make(cls, backwards=backwards, only_return_final=True)
        assert layer.output_shape == (B, H)
        expected = numpy_loop(layer, x)[:, 0 if backwards else -1]
        assert np.allclose(get_output(layer, x).eval(), expected)

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_unknown_batch_and_length(self, cls):
        l_in = InputLayer((None, None, F))
        layer = make(cls, l_in, backwards=True)
        assert layer.output_shape == (None, None, H)
        function = pytensor.function([l_in.input_var], get_output(layer))
        for shape in [(B, T, F), (1, T + 2, F), (2, 1, F)]:
            assert np.allclose(function(data(*shape)), numpy_loop(layer, data(*shape)))

    @pytest.mark.parametrize("cls", LAYERS)
    def test_batch_of_one(self, cls):
        layer = make(cls, InputLayer((1, T, F)))
        x = data(1, T, F)
        assert np.allclose(get_output(layer, x).eval(), numpy_loop(layer, x))

    @pytest.mark.parametrize("cls", LAYERS)
    def test_several_feature_dimensions(self, cls):
        layer = make(cls, InputLayer((B, T, 2, 3)))
        x = data(B, T, 2, 3)
        assert get_output_shape(layer, x.shape) == (B, T, H)
        assert np.allclose(get_output(layer, x).eval(), numpy_loop(layer, x))

    def test_without_peepholes(self):
        layer, x = make(LSTMLayer, peepholes=False), data(B, T, F)
        assert not hasattr(layer, "W_cell_to_ingate")
        assert np.allclose(get_output(layer, x).eval(), numpy_loop(layer, x))

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_float32(self, cls):
        with pytensor.config.change_flags(floatX="float32"):
            layer = make(cls, learn_init=True, grad_clipping=1.5)
            output = get_output(layer)
            params = get_all_params(layer, trainable=True)
            grads = pytensor.grad(output.sum(), params)
            assert output.dtype == "float32"
            assert all(grad.dtype == "float32" for grad in grads)
            x = data(B, T, F)
            assert np.allclose(get_output(layer, x).eval(), numpy_loop(layer, x), atol=1e-5)
            # One-hot input often is of integers.
            integers = (x > 0).astype("int32")
            output = get_output(layer, integers)
            assert output.dtype == "float32"
            assert np.allclose(output.eval(), numpy_loop(layer, integers), atol=1e-5)

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_jax(self, cls):
        layer = make(cls, backwards=True, learn_init=True, grad_clipping=0.1)
        x_var = layer.input_layers[0].input_var
        output = get_output(layer)
        grads = pytensor.grad((output**2).sum(), layer.get_params())
        x = data(B, T, F)
        function = pytensor.function([x_var], [output, *grads], mode="JAX")
        result, *grads_jax = function(x)
        assert np.allclose(result, numpy_loop(layer, x))
        expected = pytensor.function([x_var], grads)(x)
        for one, other in zip(grads_jax, expected, strict=True):
            assert np.allclose(one, other)


class TestNoStep:
    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")])
    def test_gives_the_initial_state(self, cls, mode):
        layer = make(cls, InputLayer((None, None, F)), only_return_final=True, learn_init=True)
        output = get_output(layer)
        gradient = pytensor.grad(output.sum(), layer.hid_init)
        function = pytensor.function(
            [layer.input_layers[0].input_var], [output, gradient], mode=mode
        )
        value, gradient = function(np.zeros((B, 0, F)))
        assert np.array_equal(value, np.repeat(layer.hid_init.get_value(), B, axis=0))
        assert np.array_equal(gradient, np.full((1, H), B))


class TestInitialState:
    @pytest.mark.slow
    @pytest.mark.parametrize("shape", [None, (B, H)])
    @pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")])
    def test_rows_that_are_not_those_of_the_batch(self, shape, mode):
        rows = pytensor.shared(data(B, H), shape=shape or (None, None))
        layer = make(RecurrentLayer, InputLayer((None, None, F)), hid_init=rows, name="r")
        function = pytensor.function(
            [layer.input_layers[0].input_var], get_output(layer), mode=mode
        )
        assert len(function(np.zeros((B, 2, F)))) == B
        for batch in (1, B - 1, B + 1):
            with pytest.raises(ValueError, match=f"'r'.*hid_init must have one row.* is: {B}"):
                function(np.zeros((batch, 2, F)))

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_learned(self, cls):
        assert cls(InputLayer((B, T, F)), H).hid_init not in get_all_params(
            cls(InputLayer((B, T, F)), H), trainable=True
        )
        layer = make(cls, learn_init=True, only_return_final=True)
        inits = [layer.hid_init] + ([layer.cell_init] if cls is LSTMLayer else [])
        assert set(inits) <= set(get_all_params(layer, trainable=True, regularizable=False))
        grads = pytensor.function(
            [], pytensor.grad(get_output(layer, data(B, T, F)).sum(), inits)
        )()
        assert all(grad.shape == (1, H) and (grad != 0).any() for grad in grads)

    @pytest.mark.parametrize(
        "given",
        [
            "array",
            "shared_row",
            "shared_rows",
            "row",
            "rows",
            "unknown_row",
            "unknown_rows",
            "layer_row",
            "layer_rows",
        ],
    )
    def test_given_as(self, given):
        rows = data(B, H)
        if given.endswith("row") or given == "array":
            rows = rows[:1]
        l_in, extra = InputLayer((B, T, F)), {}
        if given == "array":
            hid_init = rows
        elif given.startswith("shared"):
            hid_init = pytensor.shared(rows)
        elif given.startswith("layer"):
            hid_init = InputLayer(rows.shape)
            extra = {hid_init: pt.constant(rows)}
        elif given.startswith("unknown"):
            hid_init = pt.matrix(dtype=rows.dtype)
        else:
            hid_init = pt.constant(rows)
        layer = RecurrentLayer(l_in, H, hid_init=hid_init)
        output = get_output(layer, {l_in: pt.constant(data(B, T, F)), **extra})
        result = output.eval({hid_init: rows} if given.startswith("unknown") else {})

        reference = RecurrentLayer(l_in, H, hid_init=np.zeros((1, H)))
        for name in ("W_in_to_hid", "W_hid_to_hid"):
            getattr(reference, name).set_value(value(getattr(layer, name)))
        states, expected = np.repeat(rows, B // len(rows), axis=0), np.zeros((B, T, H))
        for t in range(T):
            (states,) = numpy_step(reference, data(B, T, F)[:, t], [states])
            expected[:, t] = states
        assert np.allclose(result, expected)

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_layers_with_mask(self, cls):
        # The incoming layers are the sequence, the mask, the hidden state, the cell.
        l_in, l_mask = InputLayer((2, 2, 3)), InputLayer((2, 2))
        l_hid, l_cell = InputLayer((2, H)), InputLayer((2, H))
        cell = {"cell_init": l_cell} if cls is LSTMLayer else {}
        layer = cls(l_in, H, hid_init=l_hid, mask_input=l_mask, **cell)
        expected = [l_in, l_mask, l_hid, l_cell][: 3 + len(cell)]
        assert layer.input_layers == expected
        assert layer.mask_incoming_index == 1
        assert layer.hid_init_incoming_index == 2
        assert layer.hid_init is l_hid
        variables = [pt.tensor3(), pt.matrix(), pt.matrix(), pt.matrix()][: len(expected)]
        output = get_output(layer, dict(zip(expected, variables, strict=True)))
        # With the mask at zero throughout, the initial state is the output.
        arrays = [data(2, 2, 3), np.zeros((2, 2)), data(2, H), data(2, H)][: len(expected)]
        arrays = [floatX(array) for array in arrays]
        function = pytensor.function(variables, output, on_unused_input="ignore")
        assert np.allclose(function(*arrays), arrays[2][:, None])

    @pytest.mark.parametrize("cls", LAYERS)
    def test_parameters_below_the_initial_state(self, cls):
        l_in, l_below = InputLayer((2, 2, 3)), InputLayer((2, 5))
        l_hid = DenseLayer(l_below, 7)
        layers, options = [l_in, l_below, l_hid], {"hid_init": l_hid}
        if cls is LSTMLayer:
            options["cell_init"] = DenseLayer(InputLayer((2, 5)), 7)
            layers += [options["cell_init"].input_layer, options["cell_init"]]
        layer = cls(l_in, 7, **options)
        assert get_all_layers(layer) == [*layers, layer]
        trainable = len(get_all_params(layer, trainable=True))
        assert trainable == {RecurrentLayer: 5, LSTMLayer: 19, GRULayer: 11}[cls]
        biases = len(get_all_params(layer, regularizable=False))
        assert biases == {RecurrentLayer: 2, LSTMLayer: 6, GRULayer: 4}[cls]

    @pytest.mark.parametrize("cls", LAYERS)
    def test_expression_is_not_a_parameter(self, cls):
        hid_init = pt.matrix()
        layer = cls(InputLayer((B, T, F)), H, hid_init=hid_init)
        assert layer.hid_init is hid_init
        before = len(get_all_params(cls(InputLayer((B, T, F)), H), regularizable=False))
        assert len(get_all_params(layer, regularizable=False)) == before - 1

    @pytest.mark.parametrize("cls", LAYERS)
    def test_errors(self, cls):
        l_in = InputLayer((B, T, F))
        for hid_init in (
            pt.vector(),
            np.zeros(H),
            np.zeros((1, H + 1)),
            pt.matrix(shape=(1, H + 1)),
        ):
            with pytest.raises(ValueError, match=r"net\.hid_init|hid_init"):
                cls(l_in, H, hid_init=hid_init, name="net")
        with pytest.raises(ValueError, match=r"'net'.*hid_init.*\('batch', 5\).*\(3, 6\)"):
            cls(l_in, H, hid_init=InputLayer((B, H + 1)), name="net")
        layer = cls(l_in, H, hid_init=pt.matrix())
        function = pytensor.function([layer.hid_init], get_output(layer, data(B, T, F)))
        with pytest.raises(
            ValueError, match=r"hid_init must have one row, .* number of rows is: 2"
        ):
            function(data(2, H))

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("given", ["array", "integers", "shared", "layer"])
    def test_of_another_precision(self, cls, given, float32):
        rows = np.full((1, H), 2)
        hid_init = {
            "array": rows / 4,
            "integers": rows,
            "shared": pytensor.shared(rows / 4),
            "layer": InputLayer((1, H), pt.constant(rows / 4)),
        }[given]
        l_in = InputLayer((B, T, F))
        output = get_output(cls(l_in, H, hid_init=hid_init), {l_in: data(B, T, F)})
        assert output.dtype == "float32"
        assert (output.eval() % 1 != 0).any()

    @pytest.mark.slow
    @pytest.mark.parametrize("given", ["shared", "expression", "layer", "unknown layer"])
    def test_number_of_rows(self, given):
        x, rows = pt.tensor3(), pt.matrix()
        l_in, inputs = InputLayer((4, None, F)), {}
        hid_init = pytensor.shared(data(4, H), shape=(4, H))
        if given == "expression":
            hid_init = rows
        elif given.endswith("layer"):
            hid_init = InputLayer((None if given.startswith("unknown") else 4, H))
            inputs = {hid_init: pt.specify_shape(rows, hid_init.shape)}
        layer = RecurrentLayer(l_in, H, hid_init=hid_init, name="rec")
        output = get_output(layer, {l_in: x, **inputs})
        mode = get_mode("jax")
        function = pytensor.function([x, rows], output, mode=mode, on_unused_input="ignore")
        assert function(data(4, T, F), data(4, H)).shape == (4, T, H)
        message = r"'rec'>: hid_init must have one row, or a row for each .* rows is.* 4"
        for batch in (2, 5):
            with pytest.raises(ValueError, match=message):
                function(data(batch, T, F), data(4, H))

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")])
    def test_no_time_step_leaves_it(self, cls, mode):
        layer = make(cls, InputLayer((None, None, F)), only_return_final=True)
        x = layer.input_layers[0].input_var
        function = pytensor.function([x], get_output(layer), mode=mode)
        assert np.allclose(function(data(B, 0, F)), value(layer.hid_init).repeat(B, axis=0))
        assert np.allclose(function(data(B, T, F)), numpy_loop(layer, data(B, T, F))[:, -1])

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_another_batch_than_the_declared(self, cls):
        x, mask = pt.tensor3(), pt.matrix()
        l_in, l_mask = InputLayer((16, None, F)), InputLayer((16, None))
        layer = make(cls, l_in, mask_input=l_mask)
        output = get_output(layer, {l_in: x, l_mask: mask})
        function = pytensor.function([x, mask], output, mode=get_mode("jax"))
        for batch in (0, 2, 17):
            ones = floatX(np.ones((batch, T)))
            result = function(data(batch, T, F), ones)
            assert np.allclose(result, numpy_loop(layer, data(batch, T, F)))

    @pytest.mark.parametrize("name", ["cell_init", "hid_init"])
    def test_vector_is_an_error_for_both_states(self, name):
        with pytest.raises(ValueError, match=name):
            LSTMLayer(InputLayer((2, 2, 3)), 5, **{name: pt.vector()})


class TestParameters:
    @pytest.mark.parametrize(
        ("cls", "options", "trainable", "not_regularizable"),
        [
            (RecurrentLayer, {}, 3, 2),
            (RecurrentLayer, {"b": None}, 2, 1),
            (RecurrentLayer, {"learn_init": True}, 4, 2),
            (LSTMLayer, {}, 15, 6),
            (LSTMLayer, {"peepholes": False}, 12, 6),
            (LSTMLayer, {"learn_init": True}, 17, 6),
            (GRULayer, {}, 9, 4),
            (GRULayer, {"learn_init": True}, 10, 4),
        ],
    )
    def test_number(self, cls, options, trainable, not_regularizable):
        layer = cls(InputLayer((2, 2, 3)), 5, **options)
        assert len(get_all_params(layer, trainable=True)) == trainable
        assert len(get_all_params(layer, regularizable=False)) == not_regularizable

    def test_names_and_order(self):
        l_in = InputLayer((2, 3, 4))
        layer = RecurrentLayer(l_in, 4, name="net")
        parameters = [layer.hid_init, layer.W_in_to_hid, layer.b, layer.W_hid_to_hid]
        assert layer.get_params() == parameters
        assert [each.name for each in parameters] == [
            "net.hid_init",
            "net.input_to_hidden.W",
            "net.input_to_hidden.b",
            "net.hidden_to_hidden.W",
        ]
        assert RecurrentLayer(l_in, 4).b.name == "input_to_hidden.b"

        gates = ["ingate", "forgetgate", "cell", "outgate"]
        names = [f"net.{kind}_{gate}" for gate in gates for kind in ("W_in_to", "W_hid_to", "b")]
        names += [f"net.W_cell_to_{gate}" for gate in gates if gate != "cell"]
        layer = LSTMLayer(l_in, 4, name="net")
        assert [p.name for p in layer.get_params()] == [*names, "net.cell_init", "net.hid_init"]

        gates = ["updategate", "resetgate", "hidden_update"]
        names = [f"net.{kind}_{gate}" for gate in gates for kind in ("W_in_to", "W_hid_to", "b")]
        layer = GRULayer(l_in, 4, name="net")
        assert [p.name for p in layer.get_params()] == [*names, "net.hid_init"]

    def test_gate(self):
        gate = Gate()
        assert gate.nonlinearity is sigmoid
        assert isinstance(gate.W_cell, Normal)
        gate = Gate(W_cell=None, nonlinearity=None)
        assert not hasattr(gate, "W_cell")
        assert gate.nonlinearity is linear
        gate = LSTMLayer(InputLayer((B, T, F)), H, nonlinearity=None)
        assert gate.nonlinearity is linear
        assert gate.nonlinearity_cell is tanh

    def test_lstm_passes_its_input_through(self):
        zero, one, eye = Constant(0.0), Constant(1.0), floatX(np.eye(6))
        pass_gate = Gate(zero, zero, zero, one, None)
        no_gate = Gate(zero, zero, zero, zero, None)
        in_pass_gate = Gate(eye, zero, zero, zero, None)
        layer = LSTMLayer(
            InputLayer((4, 5, 6)), 6, pass_gate, no_gate, in_pass_gate, pass_gate, None
        )
        x = floatX(np.arange(4 * 5 * 6).reshape(4, 5, 6))
        assert np.allclose(get_output(layer, x).eval(), x)

    def test_gru_passes_its_input_through(self):
        zero, one, eye = Constant(0.0), Constant(1.0), floatX(np.eye(6))
        pass_gate = Gate(zero, zero, None, one, None)
        no_gate = Gate(zero, zero, None, zero, None)
        in_pass_gate = Gate(eye, zero, None, zero, None)
        layer = GRULayer(InputLayer((4, 5, 6)), 6, no_gate, pass_gate, in_pass_gate)
        x = floatX(np.arange(4 * 5 * 6).reshape(4, 5, 6))
        assert np.allclose(get_output(layer, x).eval(), x)

    def test_peephole_without_weights(self):
        with pytest.raises(ValueError, match=r"'net'.*outgate needs a W_cell"):
            LSTMLayer(InputLayer((B, T, F)), H, outgate=Gate(W_cell=None), name="net")


class TestGradient:
    def make_chain(self, **options):
        """h_t = h_{t-1} + x_t, of one unit: the gradient of h_T is 1 for each x_t."""
        one = floatX(np.ones((1, 1)))
        options = {"nonlinearity": None, "W_in_to_hid": one, "W_hid_to_hid": 2 * one, **options}
        layer = RecurrentLayer(InputLayer((1, T, 1)), 1, only_return_final=True, **options)
        x_var = layer.input_layers[0].input_var
        grad = pytensor.grad(get_output(layer).sum(), x_var)
        return grad.eval({x_var: data(1, T, 1)}).ravel().tolist()

    @pytest.mark.slow
    def test_gradient_steps(self):
        assert self.make_chain() == [8, 4, 2, 1]
        assert self.make_chain(gradient_steps=2) == [0, 0, 2, 1]
        assert self.make_chain(gradient_steps=2, backwards=True) == [1, 2, 0, 0]

    @pytest.mark.slow
    @pytest.mark.parametrize("unroll", [False, True])
    def test_grad_clipping(self, unroll):
        # Two bounds, of layers that are equal otherwise.
        assert self.make_chain(grad_clipping=3.0, unroll_scan=unroll) == [3, 3, 2, 1]
        assert self.make_chain(grad_clipping=1.5, unroll_scan=unroll) == [1.5, 1.5, 1.5, 1]

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", [LSTMLayer, GRULayer])
    def test_grad_clipping_of_gates(self, cls):
        grads = []
        for options in ({}, {"unroll_scan": True}, {"grad_clipping": 0, "unroll_scan": True}):
            options = {"grad_clipping": 0.05, "only_return_final": True, **options}
            layer = make(cls, InputLayer((B, 2, F)), **options)
            bias = layer.get_params()[2]
            grads.append(pytensor.grad(get_output(layer, data(B, 2, F)).sum(), bias))
        looped, unrolled, unclipped = pytensor.function([], grads)()
        assert np.allclose(looped, unrolled)
        assert not np.allclose(looped, unclipped)
        assert (np.abs(looped) <= 0.05 * B * 2).all()

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", [LSTMLayer, GRULayer])
    @pytest.mark.parametrize("bound", [0, 0.3])
    def test_grad_clipping_of_a_step_by_hand(self, cls, bound):
        """Clipped are an LSTM's gates, and a GRU's from the input, from the hidden state, and the new state's."""

        def clip(gradient):
            return np.clip(gradient, -bound, bound) if bound else gradient

        options = {"peepholes": False} if cls is LSTMLayer else {}
        layer = make(cls, InputLayer((B, 1, F)), grad_clipping=bound, **options)
        x, factors = data(B, 1, F), np.random.RandomState(5).normal(size=(B, H)) * 3
        gates = (
            ["ingate", "forgetgate", "cell", "outgate"]
            if cls is LSTMLayer
            else ["resetgate", "updategate", "hidden_update"]
        )
        params = [
            getattr(layer, f"{kind}_{gate}")
            for gate in gates
            for kind in ("W_in_to", "W_hid_to", "b")
        ]
        grads = pytensor.grad((get_output(layer, x)[:, 0] * factors).sum(), params)
        results = iter(pytensor.function([], grads)())

        h = np.repeat(value(layer.hid_init), B, axis=0)
        from_input = [
            x[:, 0] @ value(getattr(layer, f"W_in_to_{gate}")) + value(getattr(layer, f"b_{gate}"))
            for gate in gates
        ]
        from_hidden = [h @ value(getattr(layer, f"W_hid_to_{gate}")) for gate in gates]
        sums = [sum(pair) for pair in zip(from_input, from_hidden, strict=True)]
        if cls is LSTMLayer:
            c = np.repeat(value(layer.cell_init), B, axis=0)
            i, f, o = (np_sigmoid(sums[k]) for k in (0, 1, 3))
            a = np.tanh(sums[2])
            new = np.tanh(f * c + i * a)
            to_cell = factors * o * (1 - new**2)
            of_sums = [
                to_cell * a * i * (1 - i),
                to_cell * c * f * (1 - f),
                to_cell * i * (1 - a**2),
                factors * new * o * (1 - o),
            ]
            of_input = of_hidden = [clip(each) for each in of_sums]
        else:
            r, u = (np_sigmoid(sums[k]) for k in (0, 1))
            a = np.tanh(from_input[2] + r * from_hidden[2])
            of_new = clip(factors * u * (1 - a**2))
            of_gates = [
                of_new * from_hidden[2] * r * (1 - r),
                factors * (a - h) * u * (1 - u),
            ]
            of_input = [clip(each) for each in (*of_gates, of_new)]
            of_hidden = [clip(each) for each in (*of_gates, of_new * r)]
        for to_input, to_hidden in zip(of_input, of_hidden, strict=True):
            assert np.allclose(next(results), x[:, 0].T @ to_input)
            assert np.allclose(next(results), h.T @ to_hidden)
            assert np.allclose(next(results), to_input.sum(axis=0))

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_loop_and_unrolled_agree(self, cls):
        grads = []
        for unroll in (False, True):
            layer = make(cls, unroll_scan=unroll, learn_init=True, backwards=True)
            loss = (get_output(layer, data(B, T, F)) ** 2).sum()
            grads.append(pytensor.grad(loss, get_all_params(layer, trainable=True)))
        results = pytensor.function([], grads[0] + grads[1])()
        half = len(results) // 2
        for one, other in zip(results[:half], results[half:], strict=True):
            assert np.allclose(one, other)
            assert (one != 0).any()


def check_lengths(layer, backend):
    """Call an unrolled layer with sequences, and masks if it has one, of other lengths."""
    x, mask = pt.tensor3(), pt.matrix()
    inputs = [x, mask][: len(layer.input_layers)]
    mode = "FAST_COMPILE" if backend is None else get_mode(backend)
    function = pytensor.function(inputs, layer.get_output_for(inputs), mode=mode)
    declared = layer.input_shapes[0][1]
    for length in (0, declared - 1, declared + 1):
        lengths = {"sequence": (length, length), "mask": (declared, length)}
        for name in ["sequence", "mask"][: len(inputs)]:
            message = f"'rec'.* the {declared} time steps .* {name} has another length: {length}"
            of_x, of_mask = lengths[name]
            with pytest.raises(ValueError, match=message):
                function(*[data(B, of_x, F), np.ones((B, of_mask))][: len(inputs)])
    result = function(*[data(B, declared, F), np.ones((B, declared))][: len(inputs)])
    looped = make(type(layer), (B, declared, F), only_return_final=layer.only_return_final)
    expected = looped.get_output_for([pt.constant(data(B, declared, F))]).eval()
    assert np.allclose(result, expected)


class TestMask:
    MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], dtype="int8")

    def assert_hides_the_input(self, layer, x, mode="FAST_COMPILE"):
        """NaN and infinity in masked items change neither output nor gradients."""
        x_var, mask_var = pt.tensor(dtype=x.dtype, shape=(None,) * x.ndim), pt.bmatrix()
        l_in, l_mask = layer.input_layers
        output = get_output(layer, {l_in: x_var, l_mask: mask_var})
        wrt = [x_var, *get_all_params(layer)]
        grads = pytensor.grad((output**2).sum(), wrt, disconnected_inputs="ignore")
        function = pytensor.function([x_var, mask_var], [output, *grads], mode=mode)
        results = []
        for number in (0.0, 0.7, np.nan, np.inf, -np.inf):
            x = x.copy()
            x[self.MASK == 0] = number
            results.append(function(x, self.MASK))
        assert all((results[0][k] != 0).any() for k in range(2))
        for result in results[1:]:
            for one, other in zip(result, results[0], strict=True):
                assert np.isfinite(one).all()
                np.testing.assert_array_equal(one, other)

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize(
        "options",
        [
            {"backwards": True, "precompute_input": False, "gradient_steps": 2},
            {"unroll_scan": True, "only_return_final": True, "grad_clipping": 1.0},
        ],
    )
    def test_hides_the_input(self, cls, options):
        layer = make(cls, mask_input=InputLayer((B, T)), **options)
        self.assert_hides_the_input(layer, data(B, T, F))

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    def test_hides_the_input_in_float32_on_jax(self, cls):
        with pytensor.config.change_flags(floatX="float32"):
            layer = make(cls, InputLayer((None, None, F)), mask_input=InputLayer((None, None)))
            self.assert_hides_the_input(layer, data(B, T, F), get_mode("jax"))

    @pytest.mark.slow
    @pytest.mark.parametrize("precompute", [True, False])
    def test_hides_the_input_of_a_network_of_ones_own(self, precompute):
        l_in_hid = DenseLayer(InputLayer((None, 2, 3)), H, num_leading_axes=2, nonlinearity=tanh)
        l_hid_hid = DenseLayer(InputLayer((None, 2, H)), H, num_leading_axes=2)
        layer = CustomRecurrentLayer(
            InputLayer((B, T, 2, 3)),
            l_in_hid,
            l_hid_hid,
            precompute_input=precompute,
            mask_input=InputLayer((B, T)),
        )
        self.assert_hides_the_input(layer, data(B, T, 2, 3))

    @pytest.mark.parametrize("cls", LAYERS)
    def test_mask_of_other_sizes(self, cls):
        x, mask = pt.tensor3(), pt.matrix()
        l_in, l_mask = InputLayer((None, None, F)), InputLayer((None, None))
        layer = cls(l_in, H, mask_input=l_mask, name="rec")
        output = get_output(layer, {l_in: x, l_mask: mask})
        function = pytensor.function([x, mask], output, mode=get_mode("jax"))
        wrong = {
            (B, T - 1): "length: 3 instead of 4",
            (B, T + 1): "length: 5 instead of 4",
            (B + 1, T): "batch size: 4 instead of 3",
        }
        for shape, message in wrong.items():
            message = f"<{cls.__name__} 'rec'>: the mask must be of the input's {message}"
            with pytest.raises(ValueError, match=message):
                function(data(B, T, F), floatX(np.ones(shape)))
        with pytest.raises(ValueError, match=r"'rec'>: the mask must have 2 axes"):
            get_output(layer, {l_in: x, l_mask: x})

    def test_one_row_stands_for_all_sequences(self):
        l_in, l_mask = InputLayer((B, T, F)), InputLayer((None, T))
        layer = make(RecurrentLayer, l_in, mask_input=l_mask)
        row = np.array([[1, 0, 1, 0]], dtype="int8")
        x = data(B, T, F)
        result = get_output(layer, {l_in: x, l_mask: row}).eval()
        assert np.allclose(result, numpy_loop(layer, x, np.repeat(row, B, axis=0)))

    def test_hides_items_that_are_out_of_range(self):
        l_in, l_mask = InputLayer((None, None), pt.imatrix()), InputLayer((None, None))
        l_embedding = EmbeddingLayer(InputLayer((None,)), 4, H)
        layer = CustomRecurrentLayer(
            l_in, l_embedding, DenseLayer(InputLayer((None, H)), H), mask_input=l_mask
        )
        items = np.array([[0, 1, 2, 3], [1, 3, 0, 0], [0, 2, 0, 1]], "int32")
        mask = self.MASK.astype(pytensor.config.floatX)
        function = pytensor.function([l_in.input_var, l_mask.input_var], get_output(layer))
        expected = function(items, mask)
        items[mask == 0] = 99
        np.testing.assert_array_equal(function(items, mask), expected)


class TestErrors:
    @pytest.mark.parametrize("cls", LAYERS)
    def test_gradient_steps_with_unroll_scan(self, cls):
        with pytest.raises(ValueError, match=f"{cls.__name__}.*gradient_steps must be -1.*got 3"):
            cls(InputLayer((2, 2, 3)), 5, gradient_steps=3, unroll_scan=True)

    @pytest.mark.parametrize("cls", LAYERS)
    def test_unroll_scan_of_unknown_length(self, cls):
        with pytest.raises(ValueError, match=r"length.*must be known.*\(2, None, 3\)"):
            cls(InputLayer((2, None, 3)), 5, unroll_scan=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("backend", [None, "jax"])
    def test_unroll_scan_of_another_length(self, cls, backend):
        check_lengths(make(cls, (B, T, F), unroll_scan=True, name="rec"), backend)

    @pytest.mark.slow
    @pytest.mark.parametrize("backend", [None, "jax"])
    def test_unroll_scan_of_a_mask_of_another_length(self, backend):
        layer = make(GRULayer, (B, T, F), unroll_scan=True, mask_input=(B, None), name="rec")
        check_lengths(layer, backend)

    def test_unroll_scan_of_a_known_other_length(self):
        layer = make(LSTMLayer, (B, T, F), unroll_scan=True, name="rec")
        with pytest.raises(ValueError, match=r"'rec'.* the 4 time steps .* sequence .* length: 3$"):
            get_output(layer, {None: data(B, 3, F)})

    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("shape", [(2, 3), (2, 3, None), (2, 3, 4, None)])
    def test_incoming_shape(self, cls, shape):
        with pytest.raises(ValueError, match=cls.__name__):
            cls(InputLayer(shape), 5)

    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("shape", [(B, T, 1), (B, T + 1), (B + 1, T), (B,)])
    def test_mask_shape(self, cls, shape):
        with pytest.raises(ValueError, match=r"mask_input must have shape \(batch, time\)"):
            cls(InputLayer((B, T, F)), H, mask_input=InputLayer(shape))

    @pytest.mark.parametrize("cls", LAYERS)
    def test_misspelt_option(self, cls):
        with pytest.raises(TypeError):
            cls(InputLayer((B, T, F)), H, backward=True)

    @pytest.mark.parametrize("cls", LAYERS)
    def test_incoming_tuple(self, cls):
        assert cls((B, T, F), H).input_shapes[0] == (B, T, F)
        assert cls((B, T, F), H, mask_input=(B, T)).output_shape == (B, T, H)


class TestCustomRecurrentLayer:
    def test_shapes_of_any_depth(self):
        channels, width = 3, 4
        l_in = InputLayer((B, T, channels, width))
        l_in_hid = DenseLayer(InputLayer((None, channels, width)), 7, num_leading_axes=2)
        l_in_hid = DenseLayer(l_in_hid, 5, num_leading_axes=2)
        l_hid_hid = DenseLayer(InputLayer((None, channels, 5)), 6, num_leading_axes=2)
        l_hid_hid = DenseLayer(l_hid_hid, 5, num_leading_axes=2, nonlinearity=tanh)
        l_mask = InputLayer((B, T))
        layer = CustomRecurrentLayer(l_in, l_in_hid, l_hid_hid, mask_input=l_mask)
        assert layer.output_shape == (B, T, channels, 5)
        assert value(layer.hid_init).shape == (1, channels, 5)
        assert layer.get_params() == [
            layer.hid_init,
            *get_all_params(l_in_hid),
            *get_all_params(l_hid_hid),
        ]

        x, mask = data(B, T, channels, width), np.array([[1] * T, [1, 0] * 2, [0] * T])
        result = get_output(layer, {l_in: pt.constant(x), l_mask: pt.constant(mask)}).eval()

        def dense(x, layer, nonlinearity):
            return nonlinearity(x @ value(layer.W) + value(layer.b))

        def relu(x):
            return np.maximum(x, 0)

        hidden = np.zeros((B, channels, 5))
        for t in range(T):
            to_hidden = dense(dense(x[:, t], l_in_hid.input_layer, relu), l_in_hid, relu)
            recurrent = dense(dense(hidden, l_hid_hid.input_layer, relu), l_hid_hid, np.tanh)
            hidden = np.where(mask[:, t, None, None], relu(to_hidden + recurrent), hidden)
            assert np.allclose(result[:, t], hidden)

    def test_arguments_reach_the_inner_networks(self):
        in_shape, n_hid = (2, 3, 4), 5
        in_to_hid = Mock(
            Layer,
            output_shape=(in_shape[0] * in_shape[1], n_hid),
            input_shape=(in_shape[0] * in_shape[1], in_shape[2]),
            input_layer=InputLayer((in_shape[0] * in_shape[1], in_shape[2])),
            get_output_kwargs=["foo"],
        )
        in_to_hid.get_output_for.return_value = pt.matrix()
        in_to_hid.get_params.return_value = []
        hid_to_hid = Mock(
            Layer,
            output_shape=(in_shape[0], n_hid),
            input_shape=(in_shape[0], n_hid),
            input_layer=InputLayer((in_shape[0], n_hid)),
            get_output_kwargs=[],
        )
        hid_to_hid.get_output_for.return_value = pt.matrix()
        hid_to_hid.get_params.return_value = []
        layer = CustomRecurrentLayer(InputLayer(in_shape), in_to_hid, hid_to_hid)
        get_output(layer, foo="bar")
        for network in (in_to_hid, hid_to_hid):
            args, kwargs = network.get_output_for.call_args
            assert len(args) == 1
            assert kwargs == {"foo": "bar"}

    def test_unknown_argument_warns(self):
        with pytest.warns(UserWarning, match="unused kwargs"):
            get_output(RecurrentLayer(InputLayer((B, T, F)), H), foo="bar")
        get_output(RecurrentLayer(InputLayer((B, T, F)), H), deterministic=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("unroll", [False, True])
    def test_dropout_between_the_hidden_states(self, unroll):
        steps = 20
        l_in = InputLayer((2, steps, 1), pt.constant(floatX(np.zeros((2, steps, 1)))))
        one = Constant(1.0)
        l_in_hid = DenseLayer(InputLayer((None, 1)), 3, W=one)
        l_hid_hid = InputLayer((None, 3))
        l_hid_hid = DenseLayer(DropoutLayer(l_hid_hid, p=0.5), 3, W=np.eye(3), b=None)
        options = {"hid_init": one, "unroll_scan": unroll, "learn_init": True}
        layer = CustomRecurrentLayer(l_in, l_in_hid, l_hid_hid, **options)
        assert (get_output(layer, deterministic=True).eval() == 1).all()

        # A unit doubles at every step until it is dropped, and each on its own.
        output = get_output(layer)
        function = pytensor.function([], [output, pytensor.grad(output.sum(), layer.hid_init)])
        first, grad = function()
        second, _ = function()
        assert ((first[:, 0] == 0) | (first[:, 0] == 2)).all()
        assert np.isin(first[:, 1:] - 2 * first[:, :-1] * (first[:, 1:] > 0), 0).all()
        lives = (first > 0).sum(axis=1).ravel()
        assert lives.max() < steps
        assert len(set(lives)) > 1
        assert np.allclose(grad, first.sum(axis=(0, 1)))
        assert (first != second).any()

    @pytest.mark.slow
    def test_dropout_of_the_input(self):
        l_in = InputLayer((1, 200, 1), pt.constant(floatX(np.ones((1, 200, 1)))))
        l_in_hid = DenseLayer(DropoutLayer(InputLayer((None, 1))), 1, W=Constant(1.0))
        l_hid_hid = DenseLayer(InputLayer((None, 1)), 1, W=Constant(0.0))
        for precompute in (True, False):
            layer = CustomRecurrentLayer(l_in, l_in_hid, l_hid_hid, precompute_input=precompute)
            result = get_output(layer).eval()
            assert 50 < (result == 2).sum() < 150
            assert 50 < (result == 0).sum() < 150

    @pytest.mark.parametrize("precompute", [True, False])
    def test_batch_normalization_of_the_input(self, precompute):
        x = data(B, T, F)
        l_norm = BatchNormLayer(InputLayer((None, F)), alpha=0.5)
        layer = CustomRecurrentLayer(
            InputLayer((B, T, F)),
            l_norm,
            DenseLayer(InputLayer((None, F)), F),
            precompute_input=precompute,
        )
        pytensor.function([], get_output(layer, x))()
        # Within the loop, a running average moves at every step.
        mean = np.zeros(F)
        for batch in [x.reshape(-1, F)] if precompute else x.transpose(1, 0, 2):
            mean = 0.5 * mean + 0.5 * batch.mean(axis=0)
        assert np.allclose(value(l_norm.mean), mean)

    def test_networks_need_one_input(self):
        l_in = InputLayer((B, T, F))
        two = ConcatLayer([InputLayer((None, F)), InputLayer((None, H - F))])
        good = DenseLayer(InputLayer((None, F)), H), DenseLayer(InputLayer((None, H)), H)
        for networks in [(two, good[1]), (good[0], two)]:
            with pytest.raises(ValueError, match="hidden must have exactly one InputLayer, got 2"):
                CustomRecurrentLayer(l_in, *networks)
        with pytest.raises(ValueError, match="exactly one InputLayer, got 0"):
            CustomRecurrentLayer(l_in, DenseLayer((None, F), H), good[1])

    @pytest.mark.parametrize(
        ("in_shape", "in_units", "hid_shape", "hid_units", "precompute", "message"),
        [
            ((None, F + 1), H, (None, H), H, True, "input shape of input_to_hidden must be"),
            ((B, F), H, (None, H), H, True, "must be None or batch \\* time = 12"),
            ((B + 1, F), H, (B, H), H, False, "first dimensions of input_to_hidden"),
            ((None, F), H + 1, (None, H), H, True, "must be equal after the first dimension"),
            ((None, F), H, (None, H + 1), H, True, "output shape of hidden_to_hidden"),
        ],
    )
    def test_shape_errors(self, in_shape, in_units, hid_shape, hid_units, precompute, message):
        networks = (
            DenseLayer(InputLayer(in_shape), in_units),
            DenseLayer(InputLayer(hid_shape), hid_units),
        )
        with pytest.raises(ValueError, match=f"'net'.*{message}"):
            CustomRecurrentLayer(
                InputLayer((B, T, F)), *networks, precompute_input=precompute, name="net"
            )

    def test_shapes_that_fit(self):
        hid = DenseLayer(InputLayer((B, H)), H)
        for rows, precompute in [(B * T, True), (B, False)]:
            to_hidden = DenseLayer(InputLayer((rows, F)), H)
            layer = CustomRecurrentLayer(
                InputLayer((B, T, F)), to_hidden, hid, precompute_input=precompute
            )
            assert get_output(layer, data(B, T, F)).eval().shape == (B, T, H)

    def test_state_of_unknown_shape(self):
        networks = InputLayer((None, None)), InputLayer((None, None))
        with pytest.raises(ValueError, match="must be known to create hid_init"):
            CustomRecurrentLayer(InputLayer((B, T, None)), *networks)

    def test_step_of_another_rank(self):
        networks = DenseLayer(InputLayer((None, F)), H), DenseLayer(InputLayer((None, H)), H)
        layer = CustomRecurrentLayer(
            InputLayer((B, T, F)), *networks, nonlinearity=lambda x: x.sum(axis=1), name="net"
        )
        with pytest.raises(ValueError, match=r"'net'.*got 1 dimensions"):
            get_output(layer)

    def test_bad_initial_layer_output(self):
        l_init = InputLayer((B, H))
        l_in = InputLayer((B, T, F))
        layer = RecurrentLayer(l_in, H, hid_init=l_init)
        with pytest.raises(ValueError, match=r"hid_init must have shape .* got 1 dimensions"):
            get_output(layer, {l_in: data(B, T, F), l_init: data(H)})


@pytest.mark.parametrize("cls", LAYERS)
def test_backwards_on_constant_input_is_the_reverse(cls):
    x = floatX(np.ones((2, 3, 4)))
    outputs = []
    for backwards in (False, True):
        lasagne.random.get_rng().seed(1234)
        layer = cls(InputLayer((2, 3, 4)), 5, backwards=backwards)
        outputs.append(get_output(layer, x).eval())
    assert np.allclose(outputs[0], outputs[1][:, ::-1])


class TestState:
    """A state in and out."""

    @pytest.mark.parametrize("cls", LAYERS)
    def test_two_halves_equal_the_whole(self, cls):
        layer = make(cls, InputLayer((None, None, F)), learn_init=True)
        x, state = pt.tensor3("x"), layer.make_state_variables()
        output, last = layer.get_output_for([x], state=state, return_state=True)
        run = pytensor.function([x, *state], [output, *last])
        values = data(B, T, F)
        start = [part.eval() for part in layer.get_initial_state(B)]
        expected, *end = run(values, *start)
        np.testing.assert_allclose(expected, get_output(layer, values).eval(), atol=1e-12)
        first, *between = run(values[:, :1], *start)
        second, *after = run(values[:, 1:], *between)
        np.testing.assert_allclose(
            np.concatenate([first, second], axis=1), expected, rtol=0, atol=1e-12
        )
        np.testing.assert_allclose(after, end, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(
            last.hidden.eval({x: values, **dict(zip(state, start, strict=True))}), end[-1]
        )

    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize("unroll_scan", [False, True])
    def test_last_state(self, backwards, unroll_scan):
        """It is what numpy steps end in, from any state, whichever way the layer goes."""
        layer = make(LSTMLayer, backwards=backwards, unroll_scan=unroll_scan)
        values, start = data(B, T, F), [data(B, H), data(B, H) + 1]
        _, last = layer.get_output_for([pt.as_tensor(values)], state=start, return_state=True)
        states = start
        for t in reversed(range(T)) if backwards else range(T):
            states = numpy_step(layer, values[:, t], states)
        np.testing.assert_allclose([part.eval() for part in last], states, rtol=0, atol=1e-12)

    def test_gradient_by_an_initial_state_that_is_not_used_is_zero(self):
        layer = make(GRULayer, learn_init=True)
        output = layer.get_output_for([pt.as_tensor(data(B, T, F))], state=(data(B, H),))
        grad = pytensor.grad(output.sum(), layer.hid_init)
        assert not grad.eval().any()

    @pytest.mark.parametrize(
        ("state", "error", "message"),
        [
            (np.zeros((B, H)), TypeError, "state must be a tuple of 2 tensors"),
            ((np.zeros((B, H)),), ValueError, r"2 parts \(cell_init, hid_init\), not 1"),
            (
                (np.zeros((B, H)), np.zeros(H)),
                ValueError,
                r"state.hid must be of shape \(None, 5\)",
            ),
            ((np.zeros((B, H + 1)), np.zeros((B, H))), ValueError, "state.cell must be of shape"),
            ((np.zeros((B + 1, H)), np.zeros((B, H))), ValueError, "input's batch size, 3, not: 4"),
        ],
    )
    def test_states_that_are_refused(self, state, error, message):
        with pytest.raises(error, match=message):
            make(LSTMLayer).get_output_for([pt.as_tensor(data(B, T, F))], state=state)

    def test_initial_state_from_a_layer(self):
        layer = make(LSTMLayer, cell_init=InputLayer((B, H)))
        inputs = [data(B, T, F), data(B, H)]
        inputs = [pt.as_tensor(each) for each in inputs]
        _, last = layer.get_output_for(inputs, return_state=True)
        assert last[0].eval().shape == (B, H)
        for call in (
            lambda: layer.get_output_for(inputs, state=(data(B, H), data(B, H))),
            lambda: layer.make_shared_state(B),
        ):
            with pytest.raises(ValueError, match=r"LSTMLayer.*cell_init comes from a layer"):
                call()
