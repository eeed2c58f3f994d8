import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from ntm.updates import centered_rmsprop, graves_rmsprop

from .networks import to_jax, to_python

RULES = {graves_rmsprop: 1.0, centered_rmsprop: -1.0}
TARGET = np.array([[1.0, -2.0], [0.5, 3.0]])


def run_by_hand(sign, start, steps, lr=1e-4, chi=0.95, alpha=0.9, eps=1e-4):
    theta, n, g, delta = start.copy(), 0.0, 0.0, 0.0
    for _ in range(steps):
        grad = 2 * (theta - TARGET)
        n = chi * n + (1 - chi) * grad**2
        g = chi * g + (1 - chi) * grad
        delta = alpha * delta - lr * grad / np.sqrt(n + sign * g**2 + eps)
        theta = theta + delta
    return theta


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("options", [{}, {"lr": 0.1, "chi": 0.5, "alpha": 0.2, "eps": 0.01}])
def test_steps_by_hand(rule, options):
    start = np.zeros((2, 2))
    names = {"lr": "learning_rate", "eps": "epsilon"}
    arguments = {names.get(name, name): value for name, value in options.items()}
    for compile_function in (to_python, to_jax):
        theta = pytensor.shared(start, "theta")
        loss = ((theta - TARGET) ** 2).sum()
        train = compile_function([], loss, updates=rule(loss, [theta], **arguments))
        for _ in range(4):
            train()
        expected = run_by_hand(RULES[rule], start, 4, **options)
        np.testing.assert_allclose(theta.get_value(), expected, rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_instead_of_a_loss_and_a_symbolic_rate(rule):
    theta, rate = pytensor.shared(np.zeros((2, 2))), pt.scalar("rate")
    updates = rule([2 * (theta - TARGET)], [theta], learning_rate=rate)
    to_python([rate], [], updates=updates)(0.3)
    expected = run_by_hand(RULES[rule], np.zeros((2, 2)), 1, lr=0.3)
    np.testing.assert_allclose(theta.get_value(), expected, rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_float32_stays_float32(rule):
    with pytensor.config.change_flags(floatX="float32"):
        theta = pytensor.shared(np.zeros(3, "float32"))
        updates = rule((theta**2).sum(), [theta])
        assert {value.dtype for value in updates.values()} == {"float32"}


@pytest.mark.parametrize("rule", RULES)
def test_order_and_number(rule):
    params = [pytensor.shared(np.zeros(3), name) for name in "ab"]
    updates = rule(sum((p**2).sum() for p in params), params)
    assert [v for v in updates if v in params] == params
    with pytest.raises(ValueError, match="1 gradient"):
        rule([pt.zeros(3)], params)


def test_a_constant_gradient_has_no_negative_variance(float32):
    grad = pytensor.shared(np.linspace(1, 1000, 50).astype("float32"))
    param = pytensor.shared(np.zeros(50, "float32"))
    updates = centered_rmsprop([1.0 * grad], [param])
    step = to_python([], [], updates=updates)
    for _ in range(400):
        step()
    assert np.isfinite(param.get_value()).all()
