import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne import nonlinearities
from lasagne.backends.modes import get_mode
from lasagne.loop import loop
from lasagne.nonlinearities import SELU, LeakyRectify, ScaledTanH, ScaledTanh
from lasagne.utils import floatX


def np_softmax(x):
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def np_selu(x, scale, scale_neg):
    return scale * np.where(x > 0, x, scale_neg * (np.exp(x) - 1))


CASES = {
    "linear": (nonlinearities.linear, lambda x: x),
    "identity": (nonlinearities.identity, lambda x: x),
    "sigmoid": (nonlinearities.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (nonlinearities.tanh, np.tanh),
    "scaled_tanh": (ScaledTanH(), np.tanh),
    "scaled_tanh_p": (ScaledTanH(0.5, 2.27), lambda x: 2.27 * np.tanh(0.5 * x)),
    "rectify": (nonlinearities.rectify, lambda x: np.maximum(x, 0)),
    "leaky_rectify_0": (LeakyRectify(0), lambda x: np.maximum(x, 0)),
    "leaky_rectify": (nonlinearities.leaky_rectify, lambda x: np.where(x > 0, x, 0.01 * x)),
    "very_leaky_rectify": (
        nonlinearities.very_leaky_rectify,
        lambda x: np.where(x > 0, x, x / 3),
    ),
    "elu": (nonlinearities.elu, lambda x: np_selu(x, 1, 1)),
    "selu_1": (SELU(), lambda x: np_selu(x, 1, 1)),
    "selu_rect": (SELU(scale=1, scale_neg=0), lambda x: np.maximum(x, 0)),
    "selu_custom": (SELU(scale=1.2, scale_neg=0.15), lambda x: np_selu(x, 1.2, 0.15)),
    "selu": (nonlinearities.selu, lambda x: np_selu(x, 1.0507009873554805, 1.6732632423543772)),
    "softplus": (nonlinearities.softplus, lambda x: np.log1p(np.exp(x))),
    "softmax": (nonlinearities.softmax, np_softmax),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(7,), (10, 10), (2, 3, 4)])
def test_value(name, shape):
    function, expected = CASES[name]
    x = pt.tensor(shape=(None,) * len(shape), dtype=pytensor.config.floatX)
    x0 = floatX(np.random.RandomState(1).uniform(-3, 3, shape))
    result = function(x).eval({x: x0})
    assert result.shape == shape
    assert np.allclose(result, expected(x0))


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name):
    with pytensor.config.change_flags(floatX="float32"):
        assert CASES[name][0](pt.matrix()).dtype == "float32"


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_finite_far_from_zero(name):
    with pytensor.config.change_flags(floatX="float32"):
        x = pt.vector()
        y = CASES[name][0](x)
        function = pytensor.function([x], [y, pytensor.grad(y.sum(), x)])
        assert all(np.isfinite(out).all() for out in function(floatX([-1e4, -200, 0, 200, 1e4])))


@pytest.mark.parametrize("name", CASES)
def test_can_be_pickled(name):
    function = CASES[name][0]
    copy = pickle.loads(pickle.dumps(function))
    assert vars(copy) == vars(function)


@pytest.mark.parametrize("name", CASES)
def test_of_an_array(name):
    function, expected = CASES[name]
    x = np.random.RandomState(1).normal(size=(4, 5)).astype("float32")
    result = function(x)
    makes_array = name.endswith("rectify") or "rectify_" in name or name in ("linear", "identity")
    assert isinstance(result, np.ndarray) == makes_array
    if makes_array:
        assert result.dtype == "float32"
    else:
        result = result.eval()
    np.testing.assert_allclose(result, expected(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")], ids=["python", "jax"])
@pytest.mark.parametrize(
    ("name", "at_zero"),
    [
        ("rectify", 1),
        ("elu", 1),
        ("leaky_rectify", 0.01),
        ("selu", 1.0507009873554805 * 1.6732632423543772),
    ],
)
def test_gradient_at_zero(name, at_zero, mode):
    """The gradient is the same where a loop leaves it to the back end."""
    x = pt.dvector()
    function = CASES[name][0]
    (trace,) = loop(lambda x, s: [function(x) + 0 * s], [x], [pt.zeros(())])
    gradients = [pytensor.grad(y.sum(), x) for y in (function(x), trace)]
    for gradient in pytensor.function([x], gradients, mode=mode)(np.zeros(1)):
        np.testing.assert_allclose(gradient, [at_zero])


def test_names():
    assert ScaledTanh is ScaledTanH
    assert nonlinearities.leaky_rectify.leakiness == 0.01
    assert nonlinearities.very_leaky_rectify.leakiness == 1 / 3
    x = pt.matrix()
    assert nonlinearities.linear(x) is x
