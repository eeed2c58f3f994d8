import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import EmbeddingLayer, InputLayer, get_output, get_output_shape


@pytest.fixture
def W():
    return np.arange(3 * 5, dtype="float32").reshape(3, 5)


@pytest.mark.parametrize("mode", ["FAST_COMPILE", "JAX"])
@pytest.mark.parametrize("indices", [[[0, 1, 2], [0, 0, 2]], [0, 1, 2, 0, 0, 2]])
def test_output(W, indices, mode):
    indices = np.array(indices, dtype="int32")
    x = pt.TensorType("int32", (None,) * indices.ndim)()
    layer = EmbeddingLayer(InputLayer((None, 3)[: indices.ndim]), input_size=3, output_size=5, W=W)
    assert get_output_shape(layer, indices.shape) == (*indices.shape, 5)
    f = pytensor.function([x], get_output(layer, x), mode=mode)
    np.testing.assert_array_equal(f(indices), W[indices])


def test_parameters(W):
    layer = EmbeddingLayer((None,), 3, 5, W=W, name="words")
    assert layer.get_params(trainable=True, regularizable=True) == [layer.W]
    assert layer.W.name == "words.W"
    assert EmbeddingLayer((None,), 3, 5).W.get_value().shape == (3, 5)


def test_gradient_of_a_repeated_index(W):
    layer = EmbeddingLayer((None,), 3, 5, W=W)
    output = layer.get_output_for(np.array([1, 1, 0]))
    gradient = pytensor.grad(output.sum(), layer.W).eval()
    np.testing.assert_array_equal(gradient, np.repeat([[1], [2], [0]], 5, axis=1))


def test_input_of_floats():
    l_in = InputLayer((None, 3))
    with pytest.raises(TypeError, match=r"'words'.*integer dtype, got float"):
        get_output(EmbeddingLayer(l_in, 3, 5, name="words"))


def test_bad_arguments(W):
    with pytest.raises(ValueError, match="positive input_size, got 0"):
        EmbeddingLayer((None,), 0, 5)
    with pytest.raises(ValueError, match=r"should be \(4, 5\)"):
        EmbeddingLayer((None,), 4, 5, W=W)
