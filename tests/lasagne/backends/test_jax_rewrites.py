"""Logarithms written by hand are finite on JAX in float32, and so are their gradients."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import InputLayer, RecurrentLayer, get_output
from ntm import get_mode

X = np.array([[0, 17, -17], [60, 0, -60], [200, 0, -200], [1, -2, 3]], "float32")


def lse(x):
    largest = x.max(axis=-1, keepdims=True)
    return largest + np.log(np.exp(x - largest).sum(axis=-1, keepdims=True))


def softplus(x):
    return np.logaddexp(0, x)


def np_sigmoid(x):
    return np.exp(-softplus(-x))


def np_softmax(x):
    return np.exp(x - lse(x))


ONE_MINUS = (lambda x: -softplus(x), lambda x: -np_sigmoid(x))
SUM = (lambda x: lse(x)[..., 0], np_softmax)
SOFTPLUS = (softplus, np_sigmoid)

# What a user writes, its value, and the gradient of its sum
CASES = {
    "log(sigmoid)": (
        lambda x: pt.log(pt.sigmoid(x)),
        lambda x: -softplus(-x),
        lambda x: np_sigmoid(-x),
    ),
    "log(1 - sigmoid)": (lambda x: pt.log(1 - pt.sigmoid(x)), *ONE_MINUS),
    "log1p(-sigmoid)": (lambda x: pt.log1p(-pt.sigmoid(x)), *ONE_MINUS),
    "log(softmax)": (
        lambda x: pt.log(pt.special.softmax(x, axis=-1)),
        lambda x: x - lse(x),
        lambda x: 1 - 3 * np_softmax(x),
    ),
    "log(sum(exp))": (lambda x: pt.log(pt.exp(x).sum(axis=-1)), *SUM),
    "log(sum(exp, keepdims))": (
        lambda x: pt.log(pt.exp(x).sum(axis=-1, keepdims=True)),
        lse,
        np_softmax,
    ),
    "logsumexp": (lambda x: pt.logsumexp(x, axis=-1), *SUM),
    "log1p(exp)": (lambda x: pt.log1p(pt.exp(x)), *SOFTPLUS),
    "log(1 + exp)": (lambda x: pt.log(1 + pt.exp(x)), *SOFTPLUS),
    "logaddexp": (
        lambda x: pt.logaddexp(x, -x),
        lambda x: np.logaddexp(x, -x),
        np.tanh,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    write, value, gradient = CASES[name]
    x = pt.matrix(dtype="float32")
    y = write(x)
    # Each item with a weight, so that no gradient is that of another
    weights = np.arange(1, 5, dtype="float32")[:, None]
    if y.ndim == 1:
        weights = weights[:, 0]
    grad = pytensor.grad((y * weights).sum(), x)
    function = pytensor.function([x], [y, grad], mode=get_mode("jax"))
    exact = X.astype("float64")
    results = function(X)
    np.testing.assert_allclose(results[0], value(exact), rtol=1e-6, atol=1e-20)
    expected = gradient(exact) * np.arange(1, 5)[:, None]
    np.testing.assert_allclose(results[1], expected, rtol=1e-5, atol=1e-6)


def test_factors_that_stay():
    """A sign, further factors, and divisors that are no probabilities."""
    x, y = pt.matrix(dtype="float32"), pt.matrix(dtype="float32")
    p = pt.sigmoid(x)
    outputs = [-(y / p) * p / (1 + y), (y / (1 - p)) * (1 - p) * p, p / y * p, (y / y) * p]
    function = pytensor.function([x, y], outputs, mode=get_mode("jax"))
    y_value = np.full_like(X, 2)
    q = np_sigmoid(X.astype("float64"))
    expected = [-2 / 3 * np.ones(X.shape), 2 * q, q**2 / 2, q]
    for value, each in zip(function(X, y_value), expected, strict=True):
        np.testing.assert_allclose(value, each, rtol=1e-6, atol=1e-30)


def test_in_a_loop(float32):
    x = pt.tensor3()
    layer = RecurrentLayer(
        InputLayer((None, None, 3), x),
        3,
        W_in_to_hid=np.eye(3, dtype="float32"),
        W_hid_to_hid=np.zeros((3, 3), "float32"),
        nonlinearity=lambda v: pt.log(1 + pt.exp(v)),
    )
    output = get_output(layer)
    outputs = [output, pytensor.grad(output.sum(), x)]
    value, grad = pytensor.function([x], outputs, mode=get_mode("jax"))(X[None])
    np.testing.assert_allclose(value[0], softplus(X), rtol=1e-6, atol=1e-20)
    np.testing.assert_allclose(grad[0], np_sigmoid(X), rtol=1e-5, atol=1e-30)
