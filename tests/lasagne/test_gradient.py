"""Functions with a gradient of their own, in PyTensor and in JAX."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.gradient import OwnGradient, apply_with_gradient
from lasagne.loop import loop

MODES = ["FAST_COMPILE", get_mode("jax")]
X, Y = np.array([0.5, -1.5]), np.array([2.0, 0.25])


def product(x, y):
    return [x * y, x + y]


def odd_gradient(inputs, outputs, grads):
    """Not that of the product, so that it can be told from it."""
    return [3.0 * grads[0] * inputs[1] + grads[1], outputs[0] * grads[0]]


def evaluate(mode, inputs, outputs, *values):
    return [np.asarray(each) for each in pytensor.function(inputs, outputs, mode=mode)(*values)]


@pytest.mark.parametrize("mode", MODES)
def test_values_and_gradient(mode):
    x, y = pt.vectors("xy")
    times, plus = apply_with_gradient(product, odd_gradient, x, y)
    grads = pytensor.grad((times + 5.0 * plus).sum(), [x, y])
    results = evaluate(mode, [x, y], [times, plus, *grads], X, Y)
    for value, expected in zip(results, [X * Y, X + Y, 3.0 * Y + 5.0, X * Y], strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-14)


@pytest.mark.parametrize("mode", MODES)
def test_outputs_that_the_cost_does_not_depend_on(mode):
    x, y = pt.vectors("xy")
    times, _ = apply_with_gradient(product, odd_gradient, x, y)
    grads = evaluate(mode, [x, y], pytensor.grad(times.sum(), [x, y]), X, Y)
    np.testing.assert_allclose(grads, [3.0 * Y, X * Y], rtol=1e-14)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_within_a_loop(mode):
    x, y = pt.matrix("x"), pt.vector("y")

    def step(x_t, state):
        return [apply_with_gradient(product, odd_gradient, x_t, state)[0]]

    (trace,) = loop(step, [x], [y])
    grad = pytensor.grad(trace[-1].sum(), x)
    rows = np.array([[0.5, 2.0], [3.0, 0.1]])
    states, result = evaluate(mode, [x, y], [trace, grad], rows, Y)
    np.testing.assert_allclose(states, [rows[0] * Y, rows[0] * Y * rows[1]], rtol=1e-14)
    back = states[1]  # the state's gradient, which is the output
    np.testing.assert_allclose(result, [3.0 * back * Y, 3.0 * states[0]], rtol=1e-14)


def test_second_derivative():
    x, y = pt.vectors("xy")
    times = apply_with_gradient(product, odd_gradient, x, y)[0]
    grad = pytensor.grad(times.sum(), x)
    (result,) = evaluate(MODES[1], [x, y], [pytensor.grad(grad.sum(), y)], X, Y)
    np.testing.assert_allclose(result, [3.0, 3.0], rtol=1e-14)


def test_equal_nodes_are_one():
    x, y = pt.vectors("xy")
    one, other = (apply_with_gradient(product, odd_gradient, x, y)[0] for _ in range(2))
    assert one.owner.op == other.owner.op
    assert one.owner.op != OwnGradient(odd_gradient, product)
