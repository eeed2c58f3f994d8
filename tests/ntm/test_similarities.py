import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from ntm.similarities import cosine_similarity

from . import reference
from .networks import to_jax, to_python


def rows(key, memory, eps=1e-6):
    return np.array([reference.cosine_similarity(key, row, eps) for row in memory])


def test_one_key_and_several():
    rng = np.random.default_rng(0)
    keys, memory = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4))
    expected = [[rows(key, memory[b]) for key in keys[b]] for b in range(2)]
    value = cosine_similarity(pt.as_tensor(keys), pt.as_tensor(memory)).eval()
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    value = cosine_similarity(pt.as_tensor(keys[:, 0]), pt.as_tensor(memory)).eval()
    np.testing.assert_allclose(value, [e[0] for e in expected], rtol=1e-13)


@pytest.mark.parametrize("key_scale", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_lengths_of_all_orders(key_scale, eps):
    rng = np.random.default_rng(1)
    key = key_scale * rng.normal(size=4)
    memory = rng.normal(size=(6, 4)) * 10.0 ** np.arange(-6, 6, 2)[:, None]
    value = cosine_similarity(pt.as_tensor(key[None]), pt.as_tensor(memory[None]), eps).eval()[0]
    np.testing.assert_allclose(value, rows(key, memory, eps), rtol=1e-12)


def test_zeros_and_parallel_vectors():
    memory = np.array([[[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0], [4.0, -3.0]]])
    value = cosine_similarity(pt.as_tensor(np.array([[6.0, 8.0]])), pt.as_tensor(memory)).eval()
    np.testing.assert_allclose(value, [[0.0, 1.0, -1.0, 0.0]], atol=1e-8)
    value = cosine_similarity(pt.as_tensor(np.zeros((1, 2))), pt.as_tensor(memory)).eval()
    np.testing.assert_array_equal(value, np.zeros((1, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("compile_function", [to_python, to_jax])
def test_gradient_where_lengths_cross_one(compile_function):
    """The scaling of long vectors does not show: the gradient is that of the plain formula, kink or not."""
    key, memory = pt.matrix("key"), pt.tensor3("memory")
    similarity = cosine_similarity(key, memory)
    dots = (key[:, None] * memory).sum(-1)
    norms = (key**2).sum(-1)[:, None] * (memory**2).sum(-1)
    plain = dots / pt.sqrt(norms + 1e-6)
    grads = [
        grad
        for value in (similarity, plain)
        for grad in pytensor.grad((value * np.arange(1.0, 6.0)).sum(), [key, memory])
    ]
    function = compile_function([key, memory], grads)
    directions = np.random.default_rng(2).normal(size=(5, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = directions * np.array([1e-3, 0.5, 0.999, 1.001, 100.0])[:, None]
    for length in (1e-3, 0.9, 1.1, 50.0):
        values = function(length * directions[:1], rows[None])
        for value, expected in zip(values[:2], values[2:], strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("length", [1e18, 1e20, 3e38])
def test_a_key_whose_square_overflows(length, float32):
    key, memory = pt.tensor3("key"), pt.tensor3("memory")
    similarity = cosine_similarity(key, memory)
    outputs = [similarity, *pytensor.grad(similarity.sum(), [key, memory])]
    rows = np.array([[[3, 4], [-3, -4], [0, 0], [4, -3]]], "float32")
    keys = np.array([[[0.6 * length, 0.8 * length]]], "float32")
    value, *grads = to_jax([key, memory], outputs)(keys, rows)
    np.testing.assert_allclose(value, [[[1, -1, 0, 0]]], atol=1e-6)
    assert all(np.isfinite(grad).all() for grad in grads)
