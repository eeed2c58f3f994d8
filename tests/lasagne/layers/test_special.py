from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import (
    BiasLayer,
    DenseLayer,
    ExpressionLayer,
    InputLayer,
    InverseLayer,
    Layer,
    NonlinearityLayer,
    ParametricRectifierLayer,
    RandomizedRectifierLayer,
    ScaleLayer,
    SliceLayer,
    get_output,
    prelu,
    rrelu,
    standardize,
)
from lasagne.nonlinearities import identity, rectify

AXES = [
    # shared_axes, shape of a parameter for an input of (2, 3, 4), and where it is broadcast
    ("auto", (3,), np.s_[None, :, None]),
    (0, (3, 4), np.s_[None, :, :]),
    ((1, 2), (2,), np.s_[:, None, None]),
    ((-1,), (2, 3), np.s_[:, :, None]),
    ("all", (), np.s_[None, None, None]),
    ((), (2, 3, 4), np.s_[:, :, :]),
]


@pytest.fixture
def x(rng):
    return rng.normal(size=(2, 3, 4))


class TestNonlinearityLayer:
    def test_output(self, dummy_input_layer, x):
        nonlinearity = Mock()
        layer = NonlinearityLayer(dummy_input_layer, nonlinearity=nonlinearity)
        assert layer.output_shape == (2, 3, 4)
        assert layer.get_output_for(pytensor.shared(x)) is nonlinearity.return_value
        np.testing.assert_array_equal(nonlinearity.call_args[0][0].eval(), x)

    def test_defaults(self):
        assert NonlinearityLayer((1,)).nonlinearity is rectify
        assert NonlinearityLayer((1,), nonlinearity=None).nonlinearity is identity


class TestBiasLayer:
    @pytest.mark.parametrize(("shared_axes", "shape", "broadcast"), AXES)
    def test_output(self, shared_axes, shape, broadcast, x, unique_values):
        layer = BiasLayer((2, 3, 4), b=unique_values, shared_axes=shared_axes)
        np.testing.assert_array_equal(layer.b.get_value(), unique_values(shape))
        expected = x + unique_values(shape)[broadcast]
        np.testing.assert_allclose(layer.get_output_for(x).eval(), expected)
        np.testing.assert_allclose(layer.get_output_for(pytensor.shared(x)).eval(), expected)

    def test_parameter(self):
        layer = BiasLayer((None, 3), name="bias")
        assert layer.get_params(trainable=True, regularizable=False) == [layer.b]
        assert layer.b.name == "bias.b"
        assert not layer.b.get_value().any()

    def test_no_bias(self, x):
        layer = BiasLayer((None, None), b=None)
        assert layer.get_params() == []
        assert layer.get_output_for(x) is x


class TestScaleLayer:
    @pytest.mark.parametrize(("shared_axes", "shape", "broadcast"), AXES)
    def test_output(self, shared_axes, shape, broadcast, x, unique_values):
        layer = ScaleLayer((2, 3, 4), scales=unique_values, shared_axes=shared_axes)
        np.testing.assert_array_equal(layer.scales.get_value(), unique_values(shape))
        expected = x * unique_values(shape)[broadcast]
        np.testing.assert_allclose(layer.get_output_for(x).eval(), expected)

    def test_parameter(self):
        layer = ScaleLayer((None, 3), name="scale")
        assert layer.get_params(trainable=True, regularizable=False) == [layer.scales]
        assert layer.scales.name == "scale.scales"
        assert (layer.scales.get_value() == 1).all()


@pytest.mark.parametrize("make", [BiasLayer, ScaleLayer, ParametricRectifierLayer])
def test_bad_shared_axes(make):
    make((64, None, 3), shared_axes=(1, 2))
    with pytest.raises(ValueError, match=f"{make.__name__} needs specified input sizes for all"):
        make((64, None, 3), shared_axes=(0, 2))
    with pytest.raises(ValueError, match=r"'l'.*axes \(3,\)"):
        make((64, None, 3), shared_axes=(3,), name="l")
    with pytest.raises(ValueError, match="got axes 'some'"):
        make((64, None, 3), shared_axes="some")


class TestStandardize:
    def test_columns(self, rng):
        X = rng.normal(size=(1000, 20))
        l_in = InputLayer((None, 20))
        layer = standardize(l_in, X.min(axis=0), np.ptp(X, axis=0), shared_axes=0)
        result = get_output(layer, X).eval()
        np.testing.assert_allclose(result.min(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(result.max(axis=0), 1, atol=1e-6)
        assert isinstance(layer, ScaleLayer)
        assert isinstance(layer.input_layer, BiasLayer)
        assert layer.input_layer.input_layer is l_in
        assert layer.get_params(trainable=True) == []
        assert layer.input_layer.get_params(trainable=True) == []

    def test_channels(self, rng):
        X = 3 * rng.normal(size=(50, 3, 10, 10)) + 2
        l_in = InputLayer((None, 3, None, 10))
        layer = standardize(l_in, X.mean(axis=(0, 2)), X.std(axis=(0, 2)), shared_axes=(0, 2))
        result = get_output(layer, X).eval()
        np.testing.assert_allclose(result.mean(axis=(0, 2)), 0, atol=1e-6)
        np.testing.assert_allclose(result.std(axis=(0, 2)), 1, atol=1e-6)

    def test_symbolic(self):
        offset, scale = pytensor.shared(np.ones(3)), pytensor.shared(np.full(3, 2.0))
        layer = standardize(InputLayer((None, 3)), offset, scale)
        assert layer.get_params() == [scale]
        np.testing.assert_array_equal(get_output(layer, np.full((1, 3), 5.0)).eval(), [[2, 2, 2]])

    def test_integers(self):
        layer = standardize(InputLayer((None, 2)), [1, 1], [2, 4])
        np.testing.assert_array_equal(get_output(layer, np.array([[2.0, 2]])).eval(), [[0.5, 0.25]])

    def test_zero_scale(self):
        with pytest.raises(ValueError, match="cannot divide by a zero"):
            standardize(InputLayer((None, 2)), np.zeros(2), np.array([1, 0]))


class TestExpressionLayer:
    functions = pytest.mark.parametrize(
        "function",
        [
            lambda X: X**2,
            lambda X: X.mean(-1),
            lambda X: X.T,
            lambda X: X.sum(),
            lambda X: X[:, 1:],
        ],
    )

    @functions
    def test_given_shape(self, function, rng):
        x = rng.normal(size=(4, 3))
        l_in = InputLayer((4, 3))
        shape = function(x).shape
        for given in shape, list(shape), "auto", lambda input_shape: shape:
            layer = ExpressionLayer(l_in, function, output_shape=given)
            assert layer.output_shape == shape
            np.testing.assert_allclose(get_output(layer, x).eval(), function(x))

    def test_shape_of_the_input(self):
        layer = ExpressionLayer((None, 3), lambda X: X + 1)
        assert layer.output_shape == (None, 3)
        assert layer.get_output_shape_for((5, 6)) == (5, 6)

    def test_callable_is_given_the_input_shape(self):
        layer = ExpressionLayer((4, 3), lambda X: X.sum(1), output_shape=lambda shape: shape[:1])
        assert layer.get_output_shape_for((None, 3)) == (None,)

    @pytest.mark.parametrize(
        ("function", "input_shape", "expected"),
        [
            (lambda X: X**2, (None, 3), (None, 3)),
            (lambda X: X.mean(-1), (None, 3), (None,)),
            (lambda X: X.sum(), (None, 3), ()),
            (lambda X: X.T, (None, 3), (3, None)),
            (lambda X: X.dot(pytensor.shared(np.ones((3, 7)))), (None, 3), (None, 7)),
            (lambda X: pt.concatenate([X, X], axis=1), (None, None), (None, None)),
            (lambda X: X.reshape((-1, 6)), (None, 3), (None, 6)),
            (lambda X: pt.stack([X, X]), (None, 3), (2, None, 3)),
            (lambda X: pt.constant(np.ones(2)), (None, 3), (2,)),
        ],
    )
    def test_inferred_shape(self, function, input_shape, expected):
        assert ExpressionLayer(input_shape, function, output_shape="auto").output_shape == expected

    def test_bad_shape(self):
        with pytest.raises(ValueError, match="output_shape must be None, 'auto'"):
            ExpressionLayer((None, 3), lambda X: X, output_shape="same")


class TestInverseLayer:
    def test_dense(self, rng):
        l_in = InputLayer((10, 12))
        dense = DenseLayer(l_in, num_units=3, b=None, nonlinearity=None)
        layer = InverseLayer(dense, dense)
        assert layer.input_layers == [dense, dense, l_in]
        assert layer.output_shape == (10, 12)
        assert layer.get_output_shape_for([(34, 55), (5, 8, 13), (1, 1, 2, 3)]) == (1, 1, 2, 3)
        x, W = pytensor.shared(rng.normal(size=(10, 12))), dense.W.get_value()
        expected = x.get_value() @ W @ W.T
        np.testing.assert_allclose(get_output(layer, x).eval(), expected)
        output = dense.get_output_for(x)
        np.testing.assert_allclose(layer.get_output_for([output, output, x]).eval(), expected)

    def test_tied_autoencoder_in_jax(self, rng):
        l_in = InputLayer((None, 12))
        dense = DenseLayer(l_in, num_units=3)
        code = DenseLayer(DenseLayer(dense, 2), 3)
        f = pytensor.function([l_in.input_var], get_output(InverseLayer(code, dense)), mode="JAX")
        assert f(rng.normal(size=(5, 12)).astype(pytensor.config.floatX)).shape == (5, 12)

    def test_slice(self):
        l_in = InputLayer((None, 4))
        part = SliceLayer(l_in, slice(1, 3))
        x = np.arange(8.0).reshape(2, 4)
        expected = x * [0, 1, 1, 0]
        np.testing.assert_array_equal(get_output(InverseLayer(part, part), x).eval(), expected)

    def test_bad_arguments(self):
        l_in = InputLayer((None, 4))
        dense = DenseLayer(l_in, 3)
        with pytest.raises(ValueError, match=r"'inv'> got an input of shape \(None, 4\)"):
            InverseLayer(l_in, dense, name="inv")
        with pytest.raises(ValueError, match="layer with one input layer, got <InputLayer>"):
            InverseLayer(dense, l_in)
        with pytest.raises(ValueError, match="layer with one input layer"):
            InverseLayer(dense, DenseLayer((None, 4), 3))


class TestParametricRectifierLayer:
    @pytest.mark.parametrize(("shared_axes", "shape", "broadcast"), AXES)
    def test_output(self, shared_axes, shape, broadcast, x, unique_values):
        layer = ParametricRectifierLayer((2, 3, 4), alpha=unique_values, shared_axes=shared_axes)
        np.testing.assert_array_equal(layer.alpha.get_value(), unique_values(shape))
        expected = np.maximum(x, 0) + np.minimum(x, 0) * unique_values(shape)[broadcast]
        np.testing.assert_allclose(layer.get_output_for(x).eval(), expected)
        np.testing.assert_allclose(layer.get_output_for(pytensor.shared(x)).eval(), expected)

    def test_parameter(self):
        layer = ParametricRectifierLayer((None, 3), name="prelu")
        assert layer.get_params(trainable=True, regularizable=False) == [layer.alpha]
        assert layer.alpha.name == "prelu.alpha"
        assert (layer.alpha.get_value() == 0.25).all()

    def test_prelu(self):
        layer = Mock(Layer, output_shape=(None, 3), nonlinearity=rectify)
        top = prelu(layer, name="prelu", shared_axes="all")
        assert isinstance(top, ParametricRectifierLayer)
        assert top.input_layer is layer
        assert top.shared_axes == (0, 1)
        assert layer.nonlinearity is identity
        assert prelu(Mock(Layer, output_shape=(None, 3))).alpha.get_value().shape == (3,)


class TestRandomizedRectifierLayer:
    shape = (3, 4, 20, 20)

    @pytest.mark.parametrize("input_shape", [(3, 4, 20, 20), (None, 4, None, None)])
    @pytest.mark.parametrize("shared_axes", ["auto", (), (0,), (1, 2), (0, 1, 2, -1), "all"])
    def test_output(self, input_shape, shared_axes, rng):
        x = rng.normal(size=self.shape)
        layer = RandomizedRectifierLayer(input_shape, shared_axes=shared_axes)
        result = layer.get_output_for(pt.constant(x)).eval()
        np.testing.assert_array_equal(result[x > 0], x[x > 0])
        slopes = layer.get_output_for(pt.constant(-np.ones(self.shape))).eval() / -1
        assert 0.3 <= slopes.min() <= slopes.max() <= 0.8
        if layer.shared_axes:
            assert not np.ptp(slopes, axis=layer.shared_axes).any()
        if len(layer.shared_axes) < 4:
            assert slopes.var() > 0

    @pytest.mark.parametrize("deterministic", [True, False])
    def test_fixed_slope(self, deterministic):
        x = -np.ones(self.shape)
        layer = RandomizedRectifierLayer(self.shape, lower=0.5, upper=0.5)
        result = layer.get_output_for(pt.constant(x), deterministic=deterministic).eval()
        np.testing.assert_array_equal(result, x / 2)

    def test_deterministic(self):
        layer = RandomizedRectifierLayer(self.shape, lower=0.4, upper=0.6)
        x = np.array([-2.0, 3.0])
        np.testing.assert_allclose(layer.get_output_for(x, deterministic=True).eval(), [-1, 3])

    def test_symbolic_bounds(self):
        lower = pytensor.shared(0.1)
        layer = RandomizedRectifierLayer((100,), lower=lower, upper=0.2, shared_axes=())
        slopes = -layer.get_output_for(-np.ones(100)).eval()
        assert 0.1 <= slopes.min() < slopes.max() <= 0.2

    def test_dtype(self):
        layer = RandomizedRectifierLayer((None, 3))
        for deterministic in (True, False):
            output = layer.get_output_for(pt.fmatrix(), deterministic=deterministic)
            assert output.dtype == "float32"

    def test_bad_bounds(self):
        with pytest.raises(ValueError, match=r"'r'.*lower=0.9 and upper=0.1"):
            RandomizedRectifierLayer((None, 3), lower=0.9, upper=0.1, name="r")

    def test_rrelu(self):
        layer = Mock(Layer, output_shape=(None, 3), nonlinearity=rectify)
        top = rrelu(layer, lower=0.1, name="rrelu")
        assert isinstance(top, RandomizedRectifierLayer)
        assert (top.input_layer, top.lower, top.upper) == (layer, 0.1, 0.8)
        assert layer.nonlinearity is identity
