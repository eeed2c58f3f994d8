"""The models that ntm-lasagne published, and a training step of it, computed on Theano.

``tests/data/oracles/README.md`` says what the files hold.
"""

import json
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import (
    DenseLayer,
    InputLayer,
    get_all_param_values,
    get_all_params,
    get_output,
    set_all_param_values,
)
from lasagne.nonlinearities import rectify, sigmoid
from lasagne.objectives import binary_crossentropy
from ntm.controllers import DenseController
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.layers.ntm import NTMLayer
from ntm.memory import Memory
from ntm.serialization import set_later_layout_values
from ntm.updates import graves_rmsprop

from . import reference
from .networks import to_jax, to_python

FOLDER = Path(__file__).parents[1] / "data" / "oracles"
MODELS = ["copy", "dyck-words", "associative-recall"]


def load(name):
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads((FOLDER / f"{name}.json").read_text())


def numbered(arrays, name):
    """The arrays name_00, name_01, ..."""
    return [arrays[key] for key in sorted(arrays) if key.startswith(f"{name}_")]


def build(num_inputs=9, num_outputs=9, **options):
    """The published network, as a script of ntm-lasagne 0.3 writes it."""
    x = pt.tensor3("x")
    l_input = InputLayer((None, None, num_inputs), input_var=x)
    memory = Memory((128, 20), name="memory", **options)
    controller = DenseController(
        l_input,
        memory_shape=(128, 20),
        num_units=100,
        num_reads=1,
        nonlinearity=rectify,
        name="controller",
        **options,
    )
    heads = [
        WriteHead(
            controller,
            nonlinearity_key=rectify,
            nonlinearity_add=rectify,
            name="write",
            **options,
        ),
        ReadHead(controller, nonlinearity_key=rectify, name="read", **options),
    ]
    l_ntm = NTMLayer(l_input, memory=memory, controller=controller, heads=heads)
    l_output = DenseLayer(
        l_ntm, num_units=num_outputs, nonlinearity=sigmoid, num_leading_axes=2, name="dense"
    )
    return x, l_ntm, l_output


def output_of(l_output):
    return pt.clip(get_output(l_output), 1e-6, 1.0 - 1e-6)


def load_model(name):
    arrays, description = load(name)
    x, l_ntm, l_output = build(description["input_dim"], description["output_dim"])
    values = numbered(arrays, "param")
    set_all_param_values(l_output, [v.astype(pytensor.config.floatX) for v in values])
    return arrays, x, l_ntm, l_output


@pytest.mark.parametrize("name", [*MODELS, "copy_grads"])
def test_parameters_have_the_names_and_shapes_of_the_files(name):
    _, description = load(name)
    _, _, l_output = build(description.get("input_dim", 9), description.get("output_dim", 9))
    assert [
        {"name": param.name, "shape": list(param.get_value().shape)}
        for param in get_all_params(l_output)
    ] == description["params"]


def batch_of_inputs(arrays):
    """All inputs in one batch: what is padded at the end changes nothing before."""
    inputs = [arrays[f"input_{k}"] for k in range(8)]
    steps = max(x.shape[1] for x in inputs)
    padded = [np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0))) for x in inputs]
    return np.concatenate(padded).astype(pytensor.config.floatX)


def assert_outputs_equal(outputs, arrays):
    for k in range(8):
        expected = arrays[f"output_{k}"][0]
        np.testing.assert_allclose(
            outputs[k, : len(expected)], expected, rtol=0, atol=1e-10, err_msg=f"input {k}"
        )


def assert_traces_equal(traces, arrays, k):
    memory, hidden, state, write_weights, read_weights = traces
    np.testing.assert_array_equal(state, hidden)
    for name, trace in [
        ("memory", memory),
        ("hidden", hidden),
        ("write_weights", write_weights),
        ("read_weights", read_weights),
    ]:
        expected = arrays[f"{name}_{k}"][0]
        np.testing.assert_allclose(trace[: len(expected)], expected, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_traces(name):
    arrays, x, l_ntm, l_output = load_model(name)
    function = to_jax([x], [output_of(l_output), *get_output(l_ntm, get_details=True)])
    outputs, *traces = function(batch_of_inputs(arrays))
    assert_outputs_equal(outputs, arrays)
    for k in (0, 4):
        assert_traces_equal([trace[k] for trace in traces], arrays, k)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_traces_in_python(name):
    arrays, x, l_ntm, l_output = load_model(name)
    function = to_python([x], [output_of(l_output), *get_output(l_ntm, get_details=True)])
    output, *traces = function(arrays["input_0"])
    np.testing.assert_allclose(output, arrays["output_0"], rtol=0, atol=1e-10)
    assert_traces_equal([trace[0] for trace in traces], arrays, 0)


def run_with_rounded_state(l_ntm, l_output, inputs, rng):
    """Outputs (T, O) in float64, where the state between two steps is rounded, one way or the other, to float32."""
    state, outputs = reference.initial_state(l_ntm), []
    weights, bias = l_output.W.get_value(), l_output.b.get_value()
    for x in inputs:
        exact = reference.step(l_ntm, x, state)
        state = exact.map(
            lambda part: np.float32(part * (1 + 6e-8 * rng.uniform(-1, 1, np.shape(part)))).astype(
                "float64"
            )
        )
        outputs.append(reference.sigmoid(state.controller[0] @ weights + bias))
    return np.clip(outputs, 1e-6, 1.0 - 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_outputs_in_float32(name):
    """As exact as float32 can be: a sharpening of 47 makes much of what rounding the state alone changes."""
    with pytensor.config.change_flags(floatX="float32"):
        arrays, x, _, l_output = load_model(name)
        outputs = to_jax([x], output_of(l_output))(batch_of_inputs(arrays))
    assert outputs.dtype == "float32"
    _, _, l_ntm, l_output = load_model(name)
    rng = np.random.default_rng(0)
    for k in range(8):
        expected = arrays[f"output_{k}"][0]
        rounded = [
            run_with_rounded_state(l_ntm, l_output, arrays[f"input_{k}"][0], rng) for _ in range(4)
        ]
        np.testing.assert_allclose(
            outputs[k, : len(expected)],
            expected,
            rtol=0,
            atol=1e-6 + 3 * np.max(np.abs(np.array(rounded) - expected)),
            err_msg=f"input {k}",
        )


def to_later_layout(params, values):
    """ntm-lasagne's later files: a leading axis of one, and weights_init behind gamma."""
    later, held = [], None
    for param, value in zip(params, values, strict=True):
        if param.name.endswith("weights_init"):
            held = value
            continue
        in_head = param.name.startswith(("write.", "read."))
        later.append(value[None] if in_head else value)
        if param.name.endswith("gamma.b"):
            later.append(held)
    return later


def test_later_layout_loads():
    arrays, _ = load("copy")
    values = numbered(arrays, "param")
    _, _, l_output = build()
    set_later_layout_values(l_output, to_later_layout(get_all_params(l_output), values))
    for loaded, expected in zip(get_all_param_values(l_output), values, strict=True):
        np.testing.assert_array_equal(loaded, expected)


def training_problem(**options):
    """Loss and gradients of copy_grads, in the order of all parameters."""
    arrays, _ = load("copy_grads")
    x, _, l_output = build(**options)
    set_all_param_values(l_output, numbered(arrays, "param"))
    target = pt.tensor3("target")
    loss = binary_crossentropy(output_of(l_output), target).mean()
    return arrays, l_output, [x, target], loss


def assert_gradients_equal(grads, arrays):
    for k, (grad, expected) in enumerate(zip(grads, numbered(arrays, "grad"), strict=True)):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(grad, expected, rtol=0, atol=1e-8 * scale, err_msg=str(k))


@pytest.mark.slow
@pytest.mark.parametrize(
    "compile_function", [to_jax, pytest.param(to_python, marks=pytest.mark.exhaustive)]
)
def test_gradients(compile_function):
    arrays, l_output, inputs, loss = training_problem()
    grads = pytensor.grad(loss, get_all_params(l_output))
    function = compile_function(inputs, [loss, *grads])
    loss, *grads = function(arrays["input"], arrays["target"])
    np.testing.assert_allclose(loss, arrays["loss"], rtol=1e-12)
    assert_gradients_equal(grads, arrays)


@pytest.mark.slow
def test_training_steps():
    arrays, l_output, inputs, loss = training_problem(learn_init=False)
    params = get_all_params(l_output, trainable=True)
    updates = graves_rmsprop(loss, params, learning_rate=1e-3)
    train = to_jax(inputs, loss, updates=updates)
    losses = []
    for step in (1, 2, 3):
        losses.append(train(arrays["input"], arrays["target"]))
        if step in (1, 3):
            after = numbered(arrays, f"after{step}")
            for value, expected in zip(get_all_param_values(l_output), after, strict=True):
                np.testing.assert_allclose(value, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(losses, arrays["train_losses"], rtol=1e-10)
