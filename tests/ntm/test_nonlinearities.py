import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.loop import loop
from ntm.nonlinearities import ClippedLinear, hard_sigmoid, one_plus_rectify, one_plus_softplus

from .networks import to_jax, to_python

X = np.array([-1e4, -100.0, -2.5, -1.0, -0.2, 0.0, 0.3, 1.0, 2.5, 3.0, 100.0, 1e4])


@pytest.mark.parametrize(
    ("nonlinearity", "expected"),
    [
        (ClippedLinear(), np.clip(X, 0, 1)),
        (ClippedLinear(-1.0, 2.0), np.clip(X, -1, 2)),
        (hard_sigmoid, np.clip(0.2 * X + 0.5, 0, 1)),
        (one_plus_rectify, 1 + np.maximum(X, 0)),
        (one_plus_softplus, 1 + np.logaddexp(0, X)),
    ],
)
@pytest.mark.parametrize("compile_function", [to_python, to_jax])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_finite_gradients(nonlinearity, expected, compile_function, dtype):
    with pytensor.config.change_flags(floatX=dtype):
        x = pt.vector("x")
        y = nonlinearity(x)
        assert y.dtype == dtype
        values, grad = compile_function([x], [y, pytensor.grad(y.sum(), x)])(X.astype(dtype))
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert np.all(np.isfinite(grad))
    assert np.all(grad >= 0)


def test_clipped_linear_says_what_it_is():
    assert repr(ClippedLinear(-1, 1)) == "ClippedLinear(low=-1, high=1)"


def test_clipped_linear_of_an_empty_interval():
    with pytest.raises(ValueError, match="low = 2 is above high = 1"):
        ClippedLinear(2, 1)


@pytest.mark.parametrize("compile_function", [to_python, to_jax])
def test_gradient_of_one_plus_rectify_at_zero(compile_function):
    """The gradient is the same where a loop leaves it to the back end."""
    x = pt.vector("x")
    (trace,) = loop(lambda x, s: [one_plus_rectify(x) * s], [x], [pt.ones(())])
    gradients = [pytensor.grad(y.sum(), x) for y in (one_plus_rectify(x), trace)]
    for gradient in compile_function([x], gradients)(np.zeros(1)):
        np.testing.assert_array_equal(gradient, [1])
