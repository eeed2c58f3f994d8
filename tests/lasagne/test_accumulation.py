"""Gradients in blocks and over devices equal those of the whole batch."""

import os
import shutil
import subprocess
import sys
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.tensor.random.variable import shared_rng

import lasagne
from lasagne.accumulation import Bytes, accumulate_gradients, count_bytes, fit_block_size
from lasagne.backends.modes import get_mode
from lasagne.independence import DependenceError
from lasagne.layers import (
    BatchNormLayer,
    DenseLayer,
    DropoutLayer,
    GaussianNoiseLayer,
    GRULayer,
    InputLayer,
    LSTMLayer,
    RecurrentLayer,
    get_all_params,
    get_output,
)
from lasagne.regularization import l2, regularize_network_params

from ..gradients import assert_same, flatten, make_pair

B, T, F, H = 5, 4, 3, 4
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 0.0])
LENGTHS = np.array([4, 2, 3, 0, 1])
MASK = (np.arange(T) < LENGTHS[:, None]).astype(float)


@pytest.fixture(autouse=True)
def same_numbers(monkeypatch):
    monkeypatch.setattr(lasagne.random, "_rng", np.random.RandomState(0))


def data(*shape, seed=1, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def sum_of_squares(output):
    return (output**2).sum(axis=tuple(range(1, output.ndim)))


# ---- networks


def convolve(x):
    """A convolution over time by hand: PyTensor's own does not go to JAX."""
    kernels = pytensor.shared(data(2, F, H, seed=3), name="kernels")
    return pt.tanh(x[:, :-1] @ kernels[0] + x[:, 1:] @ kernels[1]), [kernels]


NETWORKS = {
    "RecurrentLayer": lambda l, mask: RecurrentLayer(l, H, learn_init=True, backwards=True),
    "RecurrentLayer with a mask": lambda l, mask: RecurrentLayer(l, H, mask_input=mask),
    "LSTMLayer": lambda l, mask: LSTMLayer(l, H, mask_input=mask, learn_init=True),
    "LSTMLayer, last step": lambda l, mask: LSTMLayer(
        l, H, mask_input=mask, only_return_final=True
    ),
    "GRULayer": lambda l, mask: GRULayer(l, H, gradient_steps=2),
    "two layers": lambda l, mask: GRULayer(RecurrentLayer(l, H), H, only_return_final=True),
    "DenseLayer": lambda l, mask: DenseLayer(DenseLayer(l, H, num_leading_axes=2), 2),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "devices"),
    [*((name, 2) for name in [*NETWORKS, "convolution"]), ("LSTMLayer", 1), ("two layers", 1)],
)
def test_networks(name, devices):
    """In blocks of 2, the last of which is padded, with weights, some of them zero."""
    x, mask, weights = pt.tensor3("x"), pt.matrix("mask"), pt.vector("weights")
    if name == "convolution":
        output, params = convolve(x)
    else:
        layer = NETWORKS[name](InputLayer((None, T, F), x), InputLayer((None, T), mask))
        output, params = get_output(layer), get_all_params(layer, trainable=True)
    run = make_pair(
        [x, mask, weights],
        sum_of_squares(output) + mask.sum(axis=1),
        params,
        [x, mask],
        weights,
        outputs=[output],
        block_size=2,
        devices=devices,
    )
    whole, divided = run(data(B, T, F), MASK, WEIGHTS)
    assert_same(divided, whole)
    assert all(np.any(grad) for grad in divided[1 : 1 + len(params)])


# ---- a network of two matrices, in which everything can be asked for at once


class Small:
    """A network whose gradients are known."""

    def __init__(self, dtype="float64"):
        self.dtype = dtype
        self.x = pt.matrix("x", dtype=dtype)
        self.y = pt.vector("y", dtype=dtype)
        self.weights = pt.vector("weights", dtype=dtype)
        self.W = pytensor.shared(data(F, H, dtype=dtype), name="W")
        self.v = pytensor.shared(data(H, seed=2, dtype=dtype), name="v")
        self.params = [self.W, self.v]
        self.hidden = pt.tanh(self.x @ self.W)
        self.losses = (self.hidden @ self.v - self.y) ** 2
        self.batch = [self.x, self.y]

    def accumulate(self, weights=None, **options):
        return accumulate_gradients(self.losses, self.params, self.batch, weights, **options)

    def compile(self, result, inputs=None, **options):
        inputs = self.batch if inputs is None else inputs
        outputs = flatten(result)
        function = pytensor.function(
            inputs, outputs, mode=get_mode("jax"), on_unused_input="ignore", **options
        )
        return lambda *values: [np.asarray(each) for each in function(*values)]

    def data(self, count=B):
        return data(count, F, dtype=self.dtype), data(count, seed=5, dtype=self.dtype)

    def compute(self, x, y, weights=None):
        """The same numbers by NumPy: loss, gradients, losses."""
        W, v = (param.get_value() for param in self.params)
        weights = np.ones(len(x)) if weights is None else weights
        hidden = np.tanh(x @ W)
        error = hidden @ v - y
        share = weights / weights.sum()
        of_error = 2 * error * share
        of_W = x.T @ (of_error[:, None] * v * (1 - hidden**2))
        return [
            np.asarray((error**2 * share).sum()),
            of_W,
            hidden.T @ of_error,
            error**2,
        ]


SIZES = [1, 2, 3, B, B + 2, 1000, "auto", None]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_every_size_of_a_block_on_every_number_of_devices(devices):
    small = Small()
    results = [
        flatten(small.accumulate(small.weights, block_size=size, devices=devices)) for size in SIZES
    ]
    function = pytensor.function(
        [*small.batch, small.weights], [*chain(*results)], mode=get_mode("jax")
    )
    for count in (B, 1, 2, 12):
        x, y = small.data(count)
        weights = np.resize(WEIGHTS, count)
        values = [np.asarray(each) for each in function(x, y, weights)]
        expected = small.compute(x, y, weights)
        for k in range(len(SIZES)):
            assert_same(values[4 * k : 4 * k + 4], expected)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_no_sequences(devices):
    """The mean of nothing is no number; there are no losses; nothing fails."""
    x, w = pt.vector("x"), pytensor.shared(2.0, name="w")
    result = accumulate_gradients(pt.exp(w * x), [w], [x], block_size=2, devices=devices)
    function = pytensor.function([x], flatten(result), mode=get_mode("jax"))
    loss, grad, losses = map(np.asarray, function(np.zeros(0)))
    assert np.isnan(loss)
    assert np.isnan(grad)
    assert losses.shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_float32(devices):
    small = Small("float32")
    run = make_pair(
        [*small.batch, small.weights],
        small.losses,
        small.params,
        small.batch,
        small.weights,
        block_size=2,
        devices=devices,
    )
    whole, divided = run(*small.data(), WEIGHTS.astype("float32"))
    assert all(each.dtype == "float32" for each in divided)
    assert_same(divided, whole, rtol=1e-6)


@pytest.mark.slow
def test_weights_of_another_type():
    """Numbers, integers and float32 are weights too."""
    small = Small()
    x, y = small.data()
    for weights in ([1, 2, 3, 4, 5], np.arange(1, 6), np.arange(1, 6, dtype="float32")):
        run = small.compile(small.accumulate(weights, block_size=2))
        assert_same(run(x, y), small.compute(x, y, np.arange(1.0, 6.0)))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 3])
def test_padding_is_finite_and_does_not_count(devices):
    """Sequences that pad a block are copies of the last one: where zeros would give NaN, they do not."""
    x, w = pt.matrix("x"), pytensor.shared(2.0, name="w")
    losses = pt.log(w * pt.sqrt((x**2).sum(axis=1)))
    run = make_pair([x], losses, [w], [x], block_size=2, devices=devices)
    whole, divided = run(data(B, F))
    assert np.isfinite(divided[0])
    assert_same(divided, whole)


# ---- other back ends


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:np\.dot\(\) is faster on contiguous arrays")
@pytest.mark.parametrize("backend", ["numba", "python"])
@pytest.mark.parametrize("size", [2, "auto", None])
def test_other_back_ends(backend, size):
    small = Small()
    mode = "FAST_COMPILE" if backend == "python" else get_mode(backend)
    result = small.accumulate(small.weights, block_size=size)
    function = pytensor.function([*small.batch, small.weights], flatten(result), mode=mode)
    for count in (B, 4, 1):
        x, y = small.data(count)
        weights = np.resize(WEIGHTS, count)
        assert_same(function(x, y, weights), small.compute(x, y, weights))


@pytest.mark.slow
def test_a_recurrent_network_in_python(monkeypatch):
    """A scan over the blocks, in which there is one over the steps; and the states that are asked for. In float32."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    layer = GRULayer(InputLayer((None, None, F), x), 2, mask_input=InputLayer((None, None), mask))
    output = get_output(layer)
    run = make_pair(
        [x, mask],
        sum_of_squares(output),
        get_all_params(layer, trainable=True),
        [x, mask],
        outputs=[output[:, -1]],
        mode="FAST_COMPILE",
        block_size=2,
    )
    whole, divided = run(data(B, 3, F, dtype="float32"), MASK[:, :3].astype("float32"))
    assert_same(divided, whole, rtol=1e-6)


def run_in_c():
    """What the test of C runs, in a process of its own."""
    small = Small()
    result = small.accumulate(small.weights, block_size=2)
    inputs = [*small.batch, small.weights]
    function = pytensor.function(inputs, flatten(result), mode=get_mode("c"))
    for count in (B, 1):
        x, y = small.data(count)
        weights = np.resize(WEIGHTS, count)
        assert_same(function(x, y, weights), small.compute(x, y, weights))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_c():
    """In a process of its own: PyTensor was imported here without a compiler."""
    code = "from tests.lasagne.test_accumulation import run_in_c; run_in_c()"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTENSOR_FLAGS": "cxx=g++"},
        check=True,
    )


@pytest.mark.parametrize("backend", ["numba", "python"])
def test_several_devices_need_jax(backend):
    small = Small()
    result = small.accumulate(devices=2)
    mode = "FAST_COMPILE" if backend == "python" else get_mode(backend)
    with pytest.raises(ValueError, match="2 devices need the back end jax: compile with get_mode"):
        pytensor.function(small.batch, result.loss, mode=mode)


# ---- penalties and parameters


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_penalty_counts_once(devices):
    x = pt.matrix("x")
    layer = DenseLayer(InputLayer((None, F), x), H)
    params = get_all_params(layer)
    run = make_pair(
        [x],
        sum_of_squares(get_output(layer)),
        params,
        [x],
        penalty=0.7 * regularize_network_params(layer, l2) + params[1][0],
        block_size=1,
        devices=devices,
    )
    whole, divided = run(data(B, F))
    assert_same(divided, whole)


@pytest.mark.slow
def test_a_parameter_that_only_the_penalty_reaches():
    small = Small()
    other = pytensor.shared(data(2, seed=7), name="other")
    small.params.append(other)
    result = small.accumulate(penalty=(other**2).sum() + small.v.sum(), block_size=2)
    x, y = small.data()
    loss, of_W, of_v, of_other, losses = small.compile(result)(x, y)
    small.params.pop()
    expected = small.compute(x, y)
    assert_same([loss, of_W, of_v - 1, losses], expected)
    np.testing.assert_array_equal(of_other, 2 * other.get_value())


def test_a_parameter_that_nothing_reaches():
    small = Small()
    small.params.append(pytensor.shared(1.0, name="other"))
    for penalty in (0, (small.W**2).sum()):
        with pytest.raises(
            pytensor.gradient.DisconnectedInputError,
            match=r"neither the losses nor the penalty depend on the parameter other",
        ):
            small.accumulate(penalty=penalty)


@pytest.mark.slow
def test_params_that_are_not_shared():
    """Inputs and what is computed may be differentiated with respect to."""
    small = Small()
    W = pt.matrix("W")
    scaled = 2 * W
    losses = (pt.tanh(small.x @ scaled) @ small.v - small.y) ** 2
    run = make_pair([*small.batch, W], losses, [scaled, small.v], small.batch, block_size=2)
    values = small.data()
    whole, divided = run(*values, small.W.get_value())
    assert_same(divided, whole)


# ---- what else there is besides the batch


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_inputs_that_each_block_gets_whole(devices):
    """Weights of classes, and a scalar that need not be named; one of them is as long as the batch."""
    small = Small()
    scale, shift, class_weights = pt.scalar("scale"), pt.iscalar("shift"), pt.vector("classes")
    losses = small.losses * scale + shift + class_weights.sum() * small.x[:, 0]
    result = accumulate_gradients(
        losses, small.params, small.batch, whole=[class_weights], block_size=2, devices=devices
    )
    run = small.compile(result, [*small.batch, scale, shift, class_weights])
    (x, y), classes = small.data(), data(B, seed=8)
    loss, *_, values = run(x, y, 3.0, 2, classes)
    expected = small.compute(x, y)[-1] * 3 + 2 + classes.sum() * x[:, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_states_that_are_carried_from_call_to_call(devices):
    """Shared variables in the batch, which the outputs update: two calls are as two of the whole batch."""
    x, y = pt.tensor3("x"), pt.tensor3("y")
    layer = RecurrentLayer(InputLayer((None, T, F), x), H, hid_init=InputLayer((None, H)))
    params = get_all_params(layer, trainable=True)
    results = []
    for divided in (False, True):
        state = pytensor.shared(data(B, H, seed=4), name="state", shape=(None, H))
        output = get_output(layer, {layer.input_layers[0]: x, layer.input_layers[1]: state})
        losses, last = ((output - y) ** 2).sum(axis=(1, 2)), output[:, -1]
        if divided:
            result = accumulate_gradients(
                losses, params, [x, y, state], outputs=[last], block_size=2, devices=devices
            )
            loss, grads, (last,) = result.loss, result.grads, result.outputs
        else:
            loss = losses.mean()
            grads = pytensor.grad(loss, params)
        train = pytensor.function(
            [x, y], [loss, *grads], updates=[(state, last)], mode=get_mode("jax")
        )
        calls = [
            [np.asarray(each) for each in train(data(B, T, F, seed=k), data(B, T, H, seed=9))]
            for k in range(3)
        ]
        results.append([*chain(*calls), state.get_value()])
    assert_same(results[1], results[0])


@pytest.mark.slow
def test_variables_of_the_batch_that_are_computed():
    """Sequences that come time-major, and inputs that are computed before they are divided."""
    z, y = pt.tensor3("z"), pt.vector("y")
    x = 2 * z.dimshuffle(1, 0, 2)
    W = pytensor.shared(data(F, seed=2), name="W")
    losses = (pt.tanh(x @ W).sum(axis=1) - y) ** 2
    run = make_pair([z, y], losses, [W], [x, y], block_size=2, devices=2)
    whole, divided = run(data(T, B, F), data(B))
    assert_same(divided, whole)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, "auto"])
def test_a_batch_size_that_the_network_knows(size):
    x = pt.tensor3("x")
    layer = RecurrentLayer(InputLayer((4, None, F), x), H, learn_init=True)
    params = get_all_params(layer, trainable=True)
    run = make_pair([x], sum_of_squares(get_output(layer)), params, [x], block_size=size)
    whole, divided = run(data(4, T, F))
    assert_same(divided, whole)


def test_variables_of_the_batch_of_a_static_length():
    """Their type names the length of the batch, and a block is shorter."""
    x = pt.tensor("x", shape=(4, F), dtype="float64")
    W = pytensor.shared(data(F), name="W")
    run = make_pair([x], (x @ W) ** 2, [W], [x], block_size=3)
    whole, divided = run(data(4, F))
    assert_same(divided, whole)


# ---- dropout and noise


def make_noisy():
    x = pt.tensor3("x")
    layer = RecurrentLayer(DropoutLayer(InputLayer((None, None, F), x)), H)
    layer = GaussianNoiseLayer(layer, 0.1)
    params = get_all_params(layer, trainable=True)
    return x, sum_of_squares(get_output(layer)), params


@pytest.mark.slow
def test_noise_is_drawn_for_each_block_and_each_call():
    """Another number of devices draws the same; sequences that are alike get other noise."""
    values = np.broadcast_to(data(1, T, F), (8, T, F))
    calls = []
    for devices in (1, 4):
        lasagne.random.set_rng(np.random.RandomState(3))
        x, losses, params = make_noisy()
        result = accumulate_gradients(losses, params, [x], block_size=1, devices=devices)
        function = pytensor.function([x], flatten(result), mode=get_mode("jax"))
        calls.append([[np.asarray(each) for each in function(values)] for _ in range(2)])
    for each in calls:
        first, second = (call[-1] for call in each)
        assert len({*first.tolist(), *second.tolist()}) == 16
    for each in calls[1:]:
        for call, expected in zip(each, calls[0], strict=True):
            assert_same(call, expected)


@pytest.mark.slow
def test_gradients_know_the_noise():
    """The gradient is that of the loss with the noise that was drawn."""
    x, W = pt.matrix("x"), pytensor.shared(np.ones(F), name="W")
    noise = get_output(DropoutLayer(InputLayer((None, F)), p=0.5), pt.ones_like(x) * 1.0)
    losses = (x * noise) @ W
    result = accumulate_gradients(losses, [W], [x], outputs=[noise], block_size=2, devices=2)
    function = pytensor.function([x], flatten(result), mode=get_mode("jax"))
    values = data(B, F)
    for _ in range(2):
        loss, grad, losses, noise = map(np.asarray, function(values))
        assert {*np.unique(noise)} == {0.0, 2.0}
        np.testing.assert_allclose(losses, (values * noise).sum(axis=1))
        np.testing.assert_allclose(grad, (values * noise).mean(axis=0))
        np.testing.assert_allclose(loss, losses.mean())


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, None])
def test_noise_in_python(size):
    x = pt.matrix("x")
    W = pytensor.shared(np.ones(F), name="W")
    noise = get_output(DropoutLayer(InputLayer((None, F)), p=0.5), pt.ones_like(x) * 1.0)
    result = accumulate_gradients((x * noise) @ W, [W], [x], outputs=[noise], block_size=size)
    function = pytensor.function([x], flatten(result), mode="FAST_COMPILE")
    values, draws = data(40, F), []
    for _ in range(2):
        _, grad, _, noise = function(values)
        np.testing.assert_allclose(grad, (values * noise).mean(axis=0))
        draws += [noise[:20], noise[20:]]
    for k, one in enumerate(draws):
        assert all(np.any(one != other) for other in draws[:k])


# ---- what is refused


@pytest.mark.parametrize("options", [{}, {"batch_norm_update_averages": False}])
def test_batch_normalisation(options):
    x = pt.matrix("x")
    layer = DenseLayer(BatchNormLayer(InputLayer((None, F), x)), 2)
    losses = get_output(layer, **options).sum(axis=1)
    params = get_all_params(layer, trainable=True)
    words = (
        "depend on averages over the batch, which update .*mean" if not options else "a sum over"
    )
    with pytest.raises(DependenceError, match=words):
        accumulate_gradients(losses, params, [x])


@pytest.mark.slow
def test_running_averages_are_no_batch_normalisation():
    x = pt.matrix("x")
    layer = DenseLayer(BatchNormLayer(InputLayer((None, F), x)), 2)
    losses = sum_of_squares(get_output(layer, batch_norm_use_averages=True))
    params = get_all_params(layer, trainable=True)
    run = make_pair([x], losses, params, [x], block_size=2)
    whole, divided = run(data(B, F))
    assert_same(divided, whole)


def test_losses_and_outputs_are_checked():
    small = Small()
    with pytest.raises(DependenceError, match="a sum over the batch"):
        accumulate_gradients(small.losses - small.losses.mean(), small.params, small.batch)
    with pytest.raises(DependenceError, match="a sum over the batch"):
        small.accumulate(outputs=[small.hidden - small.hidden.mean(axis=0)])


def test_results_have_no_gradient():
    small = Small()
    result = small.accumulate(outputs=[small.hidden])
    for each in (result.loss, result.grads[0].sum(), result.losses.sum(), result.outputs[0].sum()):
        with pytest.raises(NotImplementedError, match="results of accumulate_gradients have no"):
            pytensor.grad(each, small.W)


def test_an_input_that_is_not_named():
    small = Small()
    with pytest.raises(ValueError, match=r"depend on the input y, .* Name it in batch if"):
        accumulate_gradients(small.losses, small.params, [small.x])
    with pytest.raises(ValueError, match=r"depend on the input x, "):
        accumulate_gradients(small.losses, small.params, [small.y], outputs=[small.hidden])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_lengths_that_disagree(devices):
    small = Small()
    run = small.compile(small.accumulate(block_size=2, devices=devices))
    (x, y), names = small.data(), "x 5, y 4, weight 4|x 5, y 4, weight 5"
    with pytest.raises(ValueError, match=f"the sequences of a batch disagree: ({names})"):
        run(x, y[:4])


def test_losses_of_another_shape():
    small = Small()
    for losses, axes in ((small.losses.sum(), 0), (small.losses[:, None], 2)):
        with pytest.raises(ValueError, match=rf"losses must be a vector, .* with {axes} axes"):
            accumulate_gradients(losses, small.params, small.batch)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"losses": np.ones(3)}, ValueError, "losses must be a vector"),
        ({"losses": None}, ValueError, "losses must be a vector, .* not None"),
        ({"params": [np.ones(3)]}, TypeError, r"params must be symbolic variables, not array"),
        ({"params": ["W"]}, TypeError, "params must be symbolic variables, not 'W'"),
        ({"batch": [np.ones(3)]}, TypeError, "batch must be symbolic variables"),
        ({"batch": []}, ValueError, "batch must name the variables whose first axis"),
        ({"batch": [pt.scalar("s")]}, ValueError, "the first axis of s in batch must be the batch"),
        ({"batch": [pt.row("r")]}, ValueError, "the first axis of r in batch must be the batch"),
        ({"outputs": [3]}, TypeError, "outputs must be symbolic variables, not 3"),
        ({"outputs": [pt.scalar("s")]}, ValueError, "the first axis of s in outputs must be"),
        ({"whole": [3]}, TypeError, "whole must be symbolic variables, not 3"),
        ({"weights": pt.matrix("w")}, ValueError, "weights must be a vector, .* of 2 axes"),
        ({"weights": 2.0}, ValueError, "weights must be a vector, .* of 0 axes"),
        ({"penalty": pt.vector("p")}, ValueError, "penalty must be a scalar"),
        ({"penalty": "l2"}, TypeError, "penalty must be a scalar expression or a number"),
        ({"block_size": 0}, ValueError, "block_size must be positive, 'auto' or None, not 0"),
        ({"block_size": -3}, ValueError, "block_size must be positive"),
        ({"block_size": 2.0}, TypeError, "block_size must be a number of sequences, .* not 2.0"),
        ({"block_size": True}, TypeError, "block_size must be a number of sequences"),
        ({"block_size": "all"}, TypeError, "block_size must be .*, 'auto' or None, not 'all'"),
        ({"devices": 0}, ValueError, "devices must be from 1 to"),
        ({"devices": 2.0}, TypeError, "devices must be a positive integer or 'all', not 2.0"),
        ({"devices": True}, TypeError, "devices must be a positive integer or 'all', not True"),
        ({"devices": None}, TypeError, "devices must be a positive integer or 'all', not None"),
        ({"devices": "auto"}, TypeError, "devices must be a positive integer or 'all', not 'auto'"),
    ],
)
def test_arguments(options, kind, message):
    small = Small()
    given = {"losses": small.losses, "params": small.params, "batch": small.batch, **options}
    with pytest.raises(kind, match=message):
        accumulate_gradients(**given)


def test_variables_that_are_named_twice():
    small = Small()
    with pytest.raises(ValueError, match="batch must contain each variable once"):
        accumulate_gradients(small.losses, small.params, [small.x, small.y, small.x])
    with pytest.raises(ValueError, match="params must contain each variable once"):
        accumulate_gradients(small.losses, [small.W, small.W], small.batch)
    with pytest.raises(ValueError, match="x is in batch and in params: what is divided has no"):
        accumulate_gradients(small.losses, [small.W, small.x], small.batch)
    with pytest.raises(ValueError, match="y is in batch and in whole"):
        small.accumulate(whole=[small.y])


# ---- how large a block is


def test_bytes_of_a_recurrent_network():
    x = pt.tensor3("x")
    layer = LSTMLayer(InputLayer((None, None, F), x), 10)
    # The cell and the output, of 10 numbers of 8 bytes
    assert count_bytes([get_output(layer)], 7) == (2 * 10 * 8, 7 * 2 * 10 * 8)
    above = GRULayer(layer, 5, only_return_final=True)
    assert count_bytes([get_output(above).sum(axis=1)], 7) == (2 * 10 * 8, 7 * (2 * 10 + 5) * 8)
    assert count_bytes([get_output(DenseLayer(InputLayer((None, F), x[:, 0]), 4))], 7) == (0, 0)


def test_blocks_fit_the_cache():
    sizes = [fit_block_size(Bytes(2**k // 50, 2**k), 2**20) for k in range(8, 30)]
    assert all(a >= b for a, b in pairwise(sizes))
    assert sizes[0] > 100
    assert sizes[-1] == fit_block_size(Bytes(0, 2**40), 2**20) > 1
    assert fit_block_size(Bytes(0, 0), 2**20) is None
    # Few steps of large states: what counts is that the states of one step stay in the cache
    assert 2 * 2**17 <= fit_block_size(Bytes(2**17, 2**18), 2**20) * 2**17 < 2**20
    # Sparse memories have small steps, but keep the memory itself
    assert fit_block_size(Bytes(2**8, 2**21), 2**20) < 8


# ---- memory


def temporary_bytes(function, *values):
    """What XLA needs besides arguments and results, as benchmarks/memory.py has it for the largest program."""
    import jax

    before = {id(each) for each in jax.devices()[0].client.live_executables()}
    function(*values)
    programs = [
        each for each in jax.devices()[0].client.live_executables() if id(each) not in before
    ]
    return max(each.get_compiled_memory_stats().temp_size_in_bytes for each in programs)


@pytest.mark.slow
def test_blocks_need_less_memory():
    needed = {}
    for size in (8, None):
        x = pt.tensor3("x")
        layer = LSTMLayer(InputLayer((None, None, F), x), 8)
        params = get_all_params(layer, trainable=True)
        losses = sum_of_squares(get_output(layer))
        result = accumulate_gradients(losses, params, [x], block_size=size)
        train = pytensor.function([x], result.grads, mode=get_mode("jax"))
        needed[size] = temporary_bytes(train, data(512, 20, F))
    assert needed[None] > 512 * 20 * 8 * 8
    assert needed[8] < needed[None] / 5


# ---- what would give wrong numbers


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x, w: {"batch": [x], "weights": pt.sigmoid(x @ w)}, "depends on the parameter w"),
        (lambda x, w: {"batch": [x * w]}, "depends on the parameter w"),
        (lambda x, w: {"batch": [x], "whole": [pt.exp(w)]}, "depends on the parameter w"),
    ],
)
def test_gradients_do_not_go_through_what_is_divided_or_whole(make, name):
    x, w = pt.matrix("x"), pytensor.shared(np.zeros(3), "w")
    given = make(x, w)
    inside = [*given["batch"][:1], *given.get("whole", [])]
    losses = sum_of_squares(inside[0] + (inside[1] if len(inside) > 1 else w))
    with pytest.raises(ValueError, match=name):
        accumulate_gradients(losses, [w], **given)


def test_whole_variables_that_are_parameters_or_come_twice():
    x, w, v = pt.matrix("x"), pytensor.shared(np.ones(3), "w"), pt.vector("v")
    losses = sum_of_squares(x * w + v)
    result = accumulate_gradients(losses, [w], [x], whole=[w, v, v], block_size=2)
    run = pytensor.function([x, v], result.grads, mode="FAST_COMPILE")
    expected = pytensor.function([x, v], pytensor.grad(losses.mean(), w), mode="FAST_COMPILE")
    values = data(5, 3), data(3, seed=2)
    assert_same([run(*values)[0]], [expected(*values)], rtol=1e-12)


def test_a_generator_without_a_default_update():
    x, w = pt.matrix("x"), pytensor.shared(np.ones(3), "w")
    _, noise = shared_rng(seed=0).normal(0, 1, size=x.shape)
    losses = sum_of_squares(x * w + noise)
    with pytest.raises(ValueError, match="which has no default update"):
        accumulate_gradients(losses, [w], [x], block_size=2)


def test_noise_of_the_same_network_outside_of_blocks():
    """The network's own graph, and a second division of it, are as they were."""
    x, w = pt.matrix("x"), pytensor.shared(np.ones(3), "w")
    output = get_output(DropoutLayer(InputLayer((None, 3), x), 0.5)) * w
    losses = sum_of_squares(output)
    weights = pt.vector("weights")
    first = accumulate_gradients(losses, [w], [x], block_size=2)
    second = accumulate_gradients(losses, [w], [x], weights=weights, block_size=2)
    values, mode = data(6, 3), get_mode("jax")
    predict = pytensor.function([x], output, mode=mode)
    assert (predict(values) == 0).any()
    assert not np.array_equal(predict(values), predict(values))
    for result, more in ((first, []), (second, [weights])):
        train = pytensor.function([x, *more], [result.loss, *result.grads], mode=mode)
        one, other = (float(train(values, *[np.ones(6)] * len(more))[0]) for _ in range(2))
        assert one != other


def test_losses_of_another_type_than_floatx():
    x, w = pt.fmatrix("x"), pytensor.shared(np.ones(3, "float32"), "w")
    result = accumulate_gradients(sum_of_squares(x * w), [w], [x], block_size=4)
    run = pytensor.function([x], result.loss, mode="FAST_COMPILE")
    assert float(run(np.ones((6, 3), "float32"))) == 3


def test_an_output_whose_first_axis_is_not_the_batch():
    x, w = pt.tensor3("x"), pytensor.shared(np.ones(3), "w")
    output = x * w
    with pytest.raises(ValueError, match="must be the batch, and it is axis 1"):
        accumulate_gradients(sum_of_squares(output), [w], [x], outputs=[output.swapaxes(0, 1)])


@pytest.mark.slow
def test_a_fixed_batch_size_is_named():
    x, h = pt.matrix("x"), pytensor.shared(data(4, 3), "h")
    w = pytensor.shared(np.ones(3), "w")
    result = accumulate_gradients(sum_of_squares(x * w + h), [w], [x], block_size=2)
    run = pytensor.function([x], result.loss, mode=get_mode("jax"))
    with pytest.raises(ValueError, match=r"in a block of 2 sequences.*\n.*named in batch"):
        run(data(4, 3))
