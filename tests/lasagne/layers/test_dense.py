from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import DenseLayer, InputLayer, NINLayer, get_output
from lasagne.nonlinearities import identity, rectify, tanh


class TestDenseLayer:
    @pytest.fixture
    def mocks(self, dummy_input_layer):
        W = Mock(return_value=np.ones((12, 3)))
        b = Mock(return_value=np.ones((3,)) * 3)
        nonlinearity = Mock()
        layer = DenseLayer(dummy_input_layer, num_units=3, W=W, b=b, nonlinearity=nonlinearity)
        return layer, W, b, nonlinearity

    def test_parameters(self, mocks):
        layer, W, b, _ = mocks
        W.assert_called_with((12, 3))
        b.assert_called_with((3,))
        np.testing.assert_array_equal(layer.W.get_value(), np.ones((12, 3)))
        np.testing.assert_array_equal(layer.b.get_value(), np.full(3, 3.0))
        assert layer.get_params() == [layer.W, layer.b]
        assert layer.get_params(regularizable=False) == [layer.b]
        assert layer.get_params(regularizable=True) == [layer.W]
        assert layer.get_params(trainable=True) == [layer.W, layer.b]
        assert layer.get_params(trainable=False) == []

    def test_defaults(self):
        layer = DenseLayer((None, 5), num_units=3, name="foo")
        assert layer.nonlinearity is rectify
        assert layer.num_leading_axes == 1
        assert (layer.W.name, layer.b.name) == ("foo.W", "foo.b")
        assert (layer.b.get_value() == 0).all()
        assert 0 < abs(layer.W.get_value()).max() <= np.sqrt(6 / 8)

    def test_neither_bias_nor_nonlinearity(self, rng):
        layer = DenseLayer((None, 5), num_units=3, b=None, nonlinearity=None)
        x = rng.normal(size=(2, 5))
        assert layer.nonlinearity is identity
        assert layer.b is None
        assert layer.get_params() == [layer.W]
        np.testing.assert_allclose(layer.get_output_for(x).eval(), x @ layer.W.get_value())

    def test_output_shape(self, mocks):
        assert mocks[0].output_shape == (2, 3)
        assert mocks[0].get_output_shape_for((5, 6, 7)) == (5, 3)

    @pytest.mark.parametrize("shape", [(2, 12), (2, 3, 4)])
    def test_input_of_nonlinearity(self, mocks, shape, rng):
        layer, W, b, nonlinearity = mocks
        x = rng.normal(size=shape)
        assert layer.get_output_for(pytensor.shared(x)) is nonlinearity.return_value
        activation = nonlinearity.call_args[0][0]
        np.testing.assert_allclose(activation.eval(), x.reshape(2, 12) @ W() + b())

    @pytest.mark.parametrize(
        ("shape", "leading", "num_inputs", "output_shape"),
        [
            ((None, 4), 1, 4, (None, 3)),
            ((None, 4), -1, 4, (None, 3)),
            ((5, None, 4), 2, 4, (5, None, 3)),
            ((None, None, 4), -1, 4, (None, None, 3)),
            ((None, 2, 4), 1, 8, (None, 3)),
            ((None, 2, 4), -2, 8, (None, 3)),
            ((5, None, 2, 4), 2, 8, (5, None, 3)),
            ((None, None, 2, 4), -2, 8, (None, None, 3)),
            ((5, 2), 0, 10, (3,)),
            ((5, 2), -2, 10, (3,)),
            ((7,), 0, 7, (3,)),
        ],
    )
    @pytest.mark.parametrize("static", [True, False])
    def test_num_leading_axes(self, shape, leading, num_inputs, output_shape, static, rng):
        input_var = None if static else pt.TensorType("float64", (None,) * len(shape))()
        l_in = InputLayer(shape, input_var)
        layer = DenseLayer(l_in, 3, num_leading_axes=leading, nonlinearity=tanh)
        assert layer.output_shape == output_shape
        W = layer.W.get_value()
        assert W.shape == (num_inputs, 3)
        x = rng.normal(size=[size or 6 for size in shape])
        kept = x.shape[: len(output_shape) - 1]
        np.testing.assert_allclose(
            get_output(layer).eval({l_in.input_var: x}),
            np.tanh(x.reshape(*kept, num_inputs) @ W),
            rtol=1e-6,
        )

    @pytest.mark.parametrize("leading", [2, 3])
    def test_no_trailing_axes(self, leading):
        with pytest.raises(ValueError, match="leaving no trailing axes for the dot product"):
            DenseLayer((None, 4), 3, num_leading_axes=leading)

    def test_too_many_trailing_axes(self):
        with pytest.raises(
            ValueError, match="requesting more trailing axes than there are input dimensions"
        ):
            DenseLayer((None, 4), 3, num_leading_axes=-3)

    @pytest.mark.parametrize(
        ("shape", "leading"), [((2, None), 1), ((None, None, 4), 1), ((None, 2, 3), -3)]
    )
    def test_unknown_trailing_axes(self, shape, leading):
        with pytest.raises(ValueError, match="A DenseLayer requires a fixed input shape"):
            DenseLayer(shape, 3, num_leading_axes=leading)

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="positive num_units, got 0"):
            DenseLayer((None, 4), 0)
        with pytest.raises(ValueError, match=r"should be \(4, 3\)"):
            DenseLayer((None, 4), 3, W=np.zeros((3, 4)))
        with pytest.raises(TypeError, match="nonlinarity"):
            DenseLayer((None, 4), 3, nonlinarity=tanh)

    def test_data_of_wrong_shape_is_not_reshaped(self):
        x = pt.tensor3()
        layer = DenseLayer(InputLayer((None, 2, 3), x), 3)
        with pytest.raises(AssertionError, match="SpecifyShape"):
            get_output(layer).eval({x: np.zeros((2, 4, 3))})

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype(self, dtype):
        with pytensor.config.change_flags(floatX=dtype):
            l_in = InputLayer((None, 4))
            assert get_output(DenseLayer(l_in, 3)).dtype == dtype

    def test_shared_weights(self):
        first = DenseLayer((None, 4), 3)
        second = DenseLayer((None, 4), 3, W=first.W, b=first.b)
        assert second.get_params() == first.get_params()

    @pytest.mark.parametrize("leading", [1, 2])
    def test_jax(self, leading, rng):
        x = pt.tensor3()
        l_in = InputLayer((None, 5 if leading == 1 else None, 4), x)
        layer = DenseLayer(l_in, 3, num_leading_axes=leading)
        output = get_output(layer)
        f = pytensor.function([x], [output, pytensor.grad(output.sum(), layer.W)], mode="JAX")
        xv = rng.normal(size=(2, 5, 4)).astype(pytensor.config.floatX)
        flat = xv.reshape(2, 20) if leading == 1 else xv
        expected = np.maximum(flat @ layer.W.get_value(), 0)
        result, gradient = f(xv)
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        inputs, active = flat.reshape(-1, flat.shape[-1]), (expected > 0).reshape(-1, 3)
        np.testing.assert_allclose(gradient, inputs.T @ active, rtol=1e-5)


class TestNINLayer:
    @pytest.fixture
    def x(self, rng):
        return rng.normal(size=(2, 3, 4, 5))

    @pytest.mark.parametrize("untie_biases", [True, False])
    def test_output(self, x, untie_biases, unique_values):
        nonlinearity = Mock()
        b_shape = (6, 4, 5) if untie_biases else (6,)
        layer = NINLayer(
            (None, 3, 4, 5),
            6,
            untie_biases=untie_biases,
            b=unique_values,
            nonlinearity=nonlinearity,
        )
        assert layer.output_shape == (None, 6, 4, 5)
        assert layer.W.get_value().shape == (3, 6)
        assert layer.b.get_value().shape == b_shape
        layer.get_output_for(pytensor.shared(x))
        expected = np.einsum("bc...,cu->bu...", x, layer.W.get_value())
        expected += layer.b.get_value().reshape(6, *b_shape[1:] or (1, 1))
        nonlinearity.return_value.__add__ = None
        layer.nonlinearity = identity
        np.testing.assert_allclose(layer.get_output_for(x).eval(), expected)

    def test_parameters(self):
        layer = NINLayer((None, 3, 4), 6, name="nin")
        assert layer.get_params() == [layer.W, layer.b]
        assert layer.get_params(regularizable=True) == [layer.W]
        assert (layer.W.name, layer.b.name) == ("nin.W", "nin.b")
        assert layer.nonlinearity is rectify

    def test_neither_bias_nor_nonlinearity(self, x):
        layer = NINLayer((2, 3, None, None), 6, b=None, nonlinearity=None)
        assert layer.b is None
        assert layer.nonlinearity is identity
        assert layer.output_shape == (2, 6, None, None)
        np.testing.assert_allclose(
            layer.get_output_for(x).eval(), np.einsum("bcij,cu->buij", x, layer.W.get_value())
        )

    def test_two_dimensions(self, rng):
        x = rng.normal(size=(5, 3))
        layer = NINLayer((None, 3), 6, nonlinearity=None)
        np.testing.assert_allclose(layer.get_output_for(x).eval(), x @ layer.W.get_value())

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="known number of channels"):
            NINLayer((None, None, 4), 6)
        with pytest.raises(ValueError, match="known number of channels"):
            NINLayer((4,), 6)
        with pytest.raises(ValueError, match="untie_biases"):
            NINLayer((None, 3, None), 6, untie_biases=True)
        with pytest.raises(ValueError, match="positive num_units"):
            NINLayer((None, 3, 4), 0)

    def test_jax(self, x):
        variable = pt.tensor4()
        layer = NINLayer(InputLayer((None, 3, None, None), variable), 6)
        f = pytensor.function([variable], get_output(layer), mode="JAX")
        expected = np.maximum(np.einsum("bcij,cu->buij", x, layer.W.get_value()), 0)
        np.testing.assert_allclose(f(x), expected, rtol=1e-5, atol=1e-6)
