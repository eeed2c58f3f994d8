import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.init import Constant
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    DimshuffleLayer,
    GRULayer,
    InputLayer,
    LSTMLayer,
    RecurrentLayer,
    get_all_params,
    get_output,
)
from lasagne.loop import loop
from lasagne.nonlinearities import linear, rectify, tanh
from ntm.controllers import (
    Controller,
    DenseController,
    GRUController,
    LSTMController,
    RecurrentController,
    StackController,
)
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.layers.ntm import NTMLayer

from .. import reference
from ..networks import CONTROLLERS, MEMORY_SHAPE, B, F, H, T, data, randomize, to_jax, to_python

M = MEMORY_SHAPE[1]
GATES = {
    DenseController: ["hid"],
    RecurrentController: ["hid"],
    GRUController: ["update", "reset", "hid"],
    LSTMController: ["input", "forget", "output", "cell"],
}


def make(kind, num_reads=2, **options):
    controller = kind(InputLayer((None, None, F)), MEMORY_SHAPE, H, num_reads, name="c", **options)
    randomize(controller)
    return controller


def one_step(controller, x, reads, states):
    inputs = [pt.as_tensor(array) for array in (x, reads, *states) if array is not None]
    x = inputs.pop(0)
    reads = inputs.pop(0) if reads is not None else None
    fused = controller.fuse()
    outputs = controller.advance(controller.project(x, fused), reads, inputs, fused)
    return to_python([], outputs)()


@pytest.mark.parametrize("kind", CONTROLLERS)
@pytest.mark.parametrize("num_reads", [0, 2])
@pytest.mark.parametrize("biases", [True, False])
def test_step_equals_the_reference(kind, num_reads, biases):
    options = {"nonlinearity": tanh}
    if not biases:
        options |= {f"b_in_to_{gate}": None for gate in GATES[kind]}
        options |= {f"b_reads_to_{gate}": None for gate in GATES[kind]}
    controller = make(kind, num_reads, **options)
    x, reads = data(B, F), data(B, num_reads * M) if num_reads else None
    states = [data(B, H, seed=2), data(B, H, seed=3)][: len(controller.outputs_info(B))]
    values = one_step(controller, x, reads, states)
    for b in range(B):
        expected = reference.step_controller(
            controller, x[b], None if reads is None else reads[b], [s[b] for s in states]
        )
        for value, wanted in zip(values, expected, strict=True):
            np.testing.assert_allclose(value[b], wanted, rtol=1e-12)


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_parameters(kind):
    controller = make(kind)
    assert controller.nonlinearity is (tanh if kind in (GRUController, LSTMController) else rectify)
    shapes = {p.name.removeprefix("c."): p.get_value().shape for p in controller.get_params()}
    expected = {"hid_init": (1, H)}
    if kind is LSTMController:
        expected["cell_init"] = (1, H)
    for gate in GATES[kind]:
        sizes = {"in": F, "reads": 2 * M} | ({} if kind is DenseController else {"hid": H})
        for source, size in sizes.items():
            expected[f"W_{source}_to_{gate}"] = (size, H)
            expected[f"b_{source}_to_{gate}"] = (H,)
    assert list(shapes.items()) == list(expected.items())
    assert controller.output_shape == (None, H)
    regularizable = controller.get_params(regularizable=True)
    assert regularizable == [p for p in controller.get_params() if "init" not in p.name]


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_no_parameters_of_reads_where_there_are_none(kind):
    controller = kind(InputLayer((None, None, F)), num_units=H)
    assert not any("reads" in param.name for param in controller.get_params())


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_initial_state(kind):
    controller = make(kind)
    values = to_python([], controller.outputs_info(B))()
    names = ["hid_init", "cell_init"][: len(values)]
    for value, name in zip(values, names, strict=True):
        initial = getattr(controller, name).get_value()
        np.testing.assert_array_equal(value, np.repeat(initial, B, axis=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "layer_kind"),
    [
        (RecurrentController, RecurrentLayer),
        (GRUController, GRULayer),
        (LSTMController, LSTMLayer),
    ],
)
def test_without_a_use_of_memory_equals_the_recurrent_layer(kind, layer_kind):
    """An NTM whose controller sees no read vector is Lasagne's recurrent layer of the same weights."""
    x = pt.tensor3("x")
    l_in = InputLayer((None, None, F), input_var=x)
    controller = kind(l_in, MEMORY_SHAPE, H, 0, nonlinearity=tanh)
    head = WriteHead(controller, memory_shape=MEMORY_SHAPE)
    ntm_layer = NTMLayer(l_in, MEMORY_SHAPE, controller, [head])
    randomize(ntm_layer)
    if kind is RecurrentController:
        layer = RecurrentLayer(l_in, H, nonlinearity=tanh)
        weights = [
            (layer.input_to_hidden.W, controller.W_in_to_hid),
            (layer.hidden_to_hidden.W, controller.W_hid_to_hid),
        ]
        bias = layer.input_to_hidden.b
        bias.set_value(controller.b_in_to_hid.get_value() + controller.b_hid_to_hid.get_value())
    else:
        options = {"peepholes": False} if kind is LSTMController else {}
        layer = layer_kind(l_in, H, grad_clipping=0, **options)
        names = {"update": "updategate", "reset": "resetgate", "hid": "hidden_update"}
        names |= {"input": "ingate", "forget": "forgetgate", "output": "outgate", "cell": "cell"}
        weights = []
        for gate in GATES[kind]:
            for source in ("in", "hid"):
                target = getattr(layer, f"W_{source}_to_{names[gate]}")
                weights.append((target, getattr(controller, f"W_{source}_to_{gate}")))
            if gate == "hid":
                controller.b_hid_to_hid.set_value(np.zeros(H))
            total = sum(getattr(controller, f"b_{s}_to_{gate}").get_value() for s in ("in", "hid"))
            getattr(layer, f"b_{names[gate]}").set_value(total)
    for target, source in weights:
        target.set_value(source.get_value())
    layer.hid_init.set_value(controller.hid_init.get_value())
    if kind is LSTMController:
        layer.cell_init.set_value(controller.cell_init.get_value())
    ours, theirs = to_jax([x], [get_output(ntm_layer), get_output(layer)])(data(B, T, F))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "numba"])
def test_gru_of_ntm_lasagne(backend):
    """Cho's equation, step by step in NumPy: the reset gate before the product, and h = (1 - z) candidate + z h."""
    controller = make(GRUController, 1, equation="ntm-lasagne")
    assert controller.nonlinearity is tanh
    x, reads, h = pt.tensor3("x"), pt.tensor3("reads"), pt.matrix("h")

    def step(x_t, reads_t, h_tm1):
        fused = controller.fuse()
        return controller.advance(controller.project(x_t, fused), reads_t, [h_tm1], fused)

    trace = loop(step, [x, reads], [h])[0]
    function = pytensor.function([x, reads, h], trace, mode=get_mode(backend))
    values = [data(T, B, F), data(T, B, M, seed=2), data(B, H, seed=3)]
    p = {param.name.removeprefix("c."): param.get_value() for param in controller.get_params()}

    def add(gate, x_t, reads_t, hidden):
        total = x_t @ p[f"W_in_to_{gate}"] + p[f"b_in_to_{gate}"]
        total += reads_t @ p[f"W_reads_to_{gate}"] + p[f"b_reads_to_{gate}"]
        return total + hidden @ p[f"W_hid_to_{gate}"] + p[f"b_hid_to_{gate}"]

    expected, hidden = [], values[2]
    for x_t, reads_t in zip(*values[:2], strict=True):
        z, r = (1 / (1 + np.exp(-add(g, x_t, reads_t, hidden))) for g in ("update", "reset"))
        hidden = (1 - z) * np.tanh(add("hid", x_t, reads_t, r * hidden)) + z * hidden
        expected.append(hidden)
    np.testing.assert_allclose(np.asarray(function(*values)), expected, rtol=1e-10)


def test_unknown_equation():
    with pytest.raises(
        ValueError, match=r"GRUController 'c': equation must be one of .*, not 'cho'"
    ):
        make(GRUController, equation="cho")


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_no_nonlinearity_is_linear(kind):
    x, reads = data(B, F), data(B, 2 * M)
    values = []
    for nonlinearity in (None, linear):
        controller = make(kind, nonlinearity=nonlinearity)
        states = [data(B, H, seed=k) for k in range(len(controller.outputs_info(B)))]
        values.append(one_step(controller, x, reads, states))
    np.testing.assert_array_equal(*values)


class Accumulator(Controller):
    """A controller as a user writes it: the output is the mean of all it has seen; the state counts."""

    def outputs_info(self, batch_size):
        return [*super().outputs_info(batch_size), pt.zeros((batch_size, 1))]

    def step(self, input, reads, hidden, count):
        seen = pt.concatenate([input, reads], axis=1).sum(axis=1, keepdims=True)
        return [(hidden * count + seen) / (count + 1.0), count + 1.0]


@pytest.mark.slow
def test_controller_of_ones_own():
    x = pt.tensor3("x")
    l_in = InputLayer((None, None, F), input_var=x)
    controller = Accumulator(l_in, MEMORY_SHAPE, H, 1, hid_init=Constant(0.0))
    heads = [kind(controller, memory_shape=MEMORY_SHAPE) for kind in (WriteHead, ReadHead)]
    layer = NTMLayer(l_in, MEMORY_SHAPE, controller, heads)
    function = to_jax([x], [get_output(layer), *get_output(layer, get_details=True)])
    values = data(B, 1, F)
    hidden, _, _, count, *_ = function(values)
    np.testing.assert_allclose(hidden[:, 0, 0], values.sum(axis=(1, 2)), atol=1e-4)
    np.testing.assert_array_equal(count, np.ones((B, 1, 1)))


def test_controller_without_a_step():
    with pytest.raises(NotImplementedError, match=r"Controller does not define step\(\)"):
        Controller(InputLayer((None, None, F)), num_units=H).step(None, None, None)


# ---- Stacks


def build_lstms(layer):
    return LSTMController(LSTMController(layer, num_units=4, name="low"), num_units=H, name="top")


def make_stack(build, num_reads=1, **options):
    return StackController(
        InputLayer((None, None, F)), build, MEMORY_SHAPE, num_reads, name="stack", **options
    )


def test_stack_of_dense_layers():
    stack = make_stack(lambda layer: DenseLayer(DenseLayer(layer, 4, name="a"), H, name="b"))
    assert stack.num_units == H
    assert stack.stack_input.shape == (None, F + M)
    names = [p.name for p in stack.get_params()]
    assert names == ["stack.hid_init", "a.W", "a.b", "b.W", "b.b"]
    assert len(stack.outputs_info(B)) == 1


def test_stack_of_controllers():
    stack = make_stack(build_lstms)
    assert len(stack.outputs_info(B)) == 4
    names = [p.name for p in stack.get_params()]
    assert "stack.hid_init" not in names
    assert names.index("low.hid_init") < names.index("top.hid_init")
    randomize(stack)
    states = to_python([], stack.outputs_info(B))()
    np.testing.assert_array_equal(states[0][0], stack.top.hid_init.get_value()[0])


def test_stack_that_stands_already():
    """The top layer in place of the function that builds it."""
    bottom = InputLayer((None, F + M))
    top = DenseLayer(bottom, H, name="top")
    stack = make_stack(top)
    assert stack.top is top
    assert stack.stack_input is bottom
    assert stack.layers == [top]


@pytest.mark.parametrize("shape", [(None, F), (None, 1, F + M)])
def test_stack_on_another_input(shape):
    with pytest.raises(ValueError, match=rf"'stack': .* input layer of shape \(batch, {F + M}\)"):
        make_stack(DenseLayer(InputLayer(shape), H))
    with pytest.raises(ValueError, match=r"'stack': .* input layer of shape .*, not None"):
        make_stack(DenseLayer(shape, H))


def test_initial_output_of_a_stack_is_trained_on_request():
    stack = make_stack(lambda layer: DenseLayer(layer, H), learn_init=True)
    assert stack.hid_init in get_all_params(stack, trainable=True)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda layer: 3, "must return a layer, not 3"),
        (
            lambda layer: ConcatLayer([layer, InputLayer((None, 2))]),
            r"one input layer .* also .*\(None, 2\)",
        ),
        (lambda layer: InputLayer((None, 2)), "one input layer"),
        (
            lambda layer: LSTMController(layer, MEMORY_SHAPE, H, 2, name="inner"),
            "LSTMController 'inner' asks for 2 read vectors",
        ),
    ],
)
def test_stacks_that_are_none(build, message):
    with pytest.raises(ValueError, match="StackController 'stack'.*" + message):
        make_stack(build)


def test_stack_of_another_shape():
    with pytest.raises(ValueError, match=r"'stack': the top layer must be of shape .batch, units"):
        make_stack(lambda layer: DimshuffleLayer(layer, (0, 1, "x")))


# ---- Errors


@pytest.mark.parametrize("kind", CONTROLLERS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_units": 0}, "num_units must be a positive integer, not 0"),
        ({"num_units": 2.5}, "num_units must be a positive integer, not 2.5"),
        ({"num_units": None}, "num_units must be a positive integer, not None"),
        ({"num_reads": -1}, "num_reads must be zero or more, not -1"),
        ({"memory_shape": None}, "memory_shape must be two positive integers .*, not None"),
        ({"memory_shape": 32, "num_units": None}, "memory_shape must be .*, not 32"),
        ({"memory_shape": (3, 0)}, r"memory_shape must be two positive .*, not \(3, 0\)"),
        ({"incoming": (None, None, None)}, r"number of features known, not \(None, None, None\)"),
        ({"incoming": (1, 2, 3, None)}, r"\(batch, time, features\).*\(1, 2, 3, None\)"),
        ({"incoming": (F,)}, r"\(batch, time, features\).*\(2,\)"),
    ],
)
def test_errors(kind, arguments, message):
    good = {"incoming": (None, None, F), "memory_shape": MEMORY_SHAPE}
    good |= {"num_units": H, "num_reads": 1, "name": "x"}
    with pytest.raises(ValueError, match=f"{kind.__name__} 'x': .*{message}"):
        kind(**(good | arguments))


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_initial_output_of_another_shape(kind):
    with pytest.raises(ValueError, match="hid_init") as error:
        make(kind, hid_init=np.zeros((1, H + 1)))
    assert f"(1, {H + 1})" in str(error.value)
    assert f"(1, {H})" in str(error.value)


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_unknown_option(kind):
    with pytest.raises(TypeError, match="W_in_to_hidden"):
        make(kind, W_in_to_hidden=Constant(0.0))


def test_shared_variables_as_parameters():
    W = pytensor.shared(np.ones((F, H)))
    controller = DenseController((None, None, F), MEMORY_SHAPE, H, 1, W_in_to_hid=W)
    assert controller.W_in_to_hid is W
