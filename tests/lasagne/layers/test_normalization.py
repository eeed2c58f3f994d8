from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import (
    BatchNormLayer,
    BiasLayer,
    DenseLayer,
    InputLayer,
    Layer,
    LocalResponseNormalization2DLayer,
    NonlinearityLayer,
    ScaleLayer,
    StandardizationLayer,
    batch_norm,
    get_all_layers,
    get_all_params,
    get_output,
    instance_norm,
    layer_norm,
)
from lasagne.nonlinearities import identity, rectify


def normalized(x, axes, epsilon=1e-4):
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


class TestBatchNormLayer:
    @pytest.mark.parametrize(
        ("axes", "expected", "shape"),
        [
            ("auto", (0, 2), (3,)),
            (0, (0,), (3, 4)),
            ((1, 2), (1, 2), (2,)),
            ((0, -1), (0, 2), (3,)),
            ("all", (0, 1, 2), ()),
        ],
    )
    def test_parameters(self, axes, expected, shape, unique_values):
        layer = BatchNormLayer((2, 3, 4), axes=axes, beta=unique_values, name="bn")
        assert layer.axes == expected
        np.testing.assert_array_equal(layer.beta.get_value(), unique_values(shape))
        params = [layer.beta, layer.gamma, layer.mean, layer.inv_std]
        assert layer.get_params() == params
        assert all(param.get_value().shape == shape for param in params)
        assert [param.name for param in params] == ["bn.beta", "bn.gamma", "bn.mean", "bn.inv_std"]
        assert layer.get_params(trainable=True) == params[:2]
        assert layer.get_params(regularizable=True) == [layer.gamma]
        assert layer.get_params(batch_norm_stat=True) == [layer.mean, layer.inv_std]
        assert layer.get_params(batch_norm_stat=False) == params[:2]

    @pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")], ids=["python", "jax"])
    def test_averages_of_nan_stay_out_of_training(self, mode, rng):
        """The averages keep a NaN, but a batch is normalized by its own statistics."""
        x = pt.dmatrix()
        layer = BatchNormLayer((None, 3))
        f = pytensor.function([x], layer.get_output_for(x), mode=mode)
        values = rng.normal(size=(5, 3))
        f(np.full((5, 3), np.nan))
        assert np.isnan(layer.mean.get_value()).all()
        np.testing.assert_allclose(f(values), normalized(values, 0))

    def test_defaults(self):
        layer = BatchNormLayer((None, 3))
        assert (layer.epsilon, layer.alpha) == (1e-4, 0.1)
        values = [param.get_value().tolist() for param in layer.get_params()]
        assert values == [[0] * 3, [1] * 3, [0] * 3, [1] * 3]

    @pytest.mark.slow
    @pytest.mark.parametrize("update_averages", [None, True, False])
    @pytest.mark.parametrize("use_averages", [None, True, False])
    @pytest.mark.parametrize("deterministic", [True, False])
    def test_output(self, deterministic, use_averages, update_averages, rng):
        x = rng.normal(size=(20, 30, 40)) + rng.normal(size=(1, 30, 1))
        beta, gamma, mean = rng.normal(size=(3, 30))
        inv_std = rng.uniform(0.1, 1, size=30)
        alpha = 0.3
        layer = BatchNormLayer(
            x.shape, beta=beta, gamma=gamma, mean=mean, inv_std=inv_std, alpha=alpha
        )
        kwargs = {"deterministic": deterministic}
        if use_averages is None:
            use_averages = deterministic
        else:
            kwargs["batch_norm_use_averages"] = use_averages
        if update_averages is None:
            update_averages = not deterministic
        else:
            kwargs["batch_norm_update_averages"] = update_averages
        result = layer.get_output_for(pt.constant(x), **kwargs).eval()

        batch_mean = x.mean(axis=(0, 2))
        batch_inv_std = 1 / np.sqrt(x.var(axis=(0, 2)) + layer.epsilon)
        used = (mean, inv_std) if use_averages else (batch_mean, batch_inv_std)
        expected = (x - used[0][:, None]) * used[1][:, None] * gamma[:, None] + beta[:, None]
        np.testing.assert_allclose(result, expected)
        if update_averages:
            mean = (1 - alpha) * mean + alpha * batch_mean
            inv_std = (1 - alpha) * inv_std + alpha * batch_inv_std
        np.testing.assert_allclose(layer.mean.get_value(), mean)
        np.testing.assert_allclose(layer.inv_std.get_value(), inv_std)

    def test_without_beta_or_gamma(self, rng):
        x = rng.normal(size=(20, 3))
        gamma, beta = rng.normal(size=(2, 3))
        layer = BatchNormLayer(x.shape, beta=None, gamma=gamma)
        assert layer.beta is None
        assert layer.get_params() == [layer.gamma, layer.mean, layer.inv_std]
        np.testing.assert_allclose(layer.get_output_for(x).eval(), normalized(x, 0) * gamma)
        layer = BatchNormLayer(x.shape, beta=beta, gamma=None)
        assert layer.gamma is None
        assert layer.get_params() == [layer.beta, layer.mean, layer.inv_std]
        np.testing.assert_allclose(layer.get_output_for(x).eval(), normalized(x, 0) + beta)

    def test_averages_that_are_expressions_stay(self, rng):
        x = rng.normal(size=(20, 3))
        mean = pytensor.shared(np.zeros(3))
        layer = BatchNormLayer(x.shape, mean=mean + 1, inv_std=pt.constant(np.ones(3)))
        np.testing.assert_allclose(layer.get_output_for(x).eval(), normalized(x, 0))
        assert not mean.get_value().any()
        np.testing.assert_allclose(layer.get_output_for(x, deterministic=True).eval(), x - 1)

    def test_unknown_sizes(self):
        BatchNormLayer((64, 2, None), axes=(0, 2))
        with pytest.raises(ValueError, match="BatchNormLayer needs specified input sizes for all"):
            BatchNormLayer((64, None, 3), axes=(0, 2))

    def test_bad_axes(self):
        with pytest.raises(ValueError, match=r"'bn'.*axes \(2,\)"):
            BatchNormLayer((64, 2), axes=2, name="bn")
        with pytest.raises(ValueError, match="got axes 'features'"):
            BatchNormLayer((64, 2), axes="features")

    def test_dtype(self):
        with pytensor.config.change_flags(floatX="float32"):
            l_in = InputLayer((None, 3))
            layer = BatchNormLayer(l_in)
            x = np.ones((5, 3), dtype="float32")
            assert get_output(layer).eval({l_in.input_var: x}).dtype == "float32"
            assert layer.mean.get_value().dtype == "float32"

    def test_gradient(self, rng):
        layer = BatchNormLayer((None, 3))
        x = pt.dmatrix()
        weights = rng.normal(size=(5, 3))
        cost = (layer.get_output_for(x) * weights).sum()
        f = pytensor.function([x], [cost, pytensor.grad(cost, x)])
        values = rng.normal(size=(5, 3))
        _, gradient = f(values)
        for index in np.ndindex(values.shape):
            step = np.zeros_like(values)
            step[index] = 1e-5
            difference = (f(values + step)[0] - f(values - step)[0]) / 2e-5
            np.testing.assert_allclose(gradient[index], difference, rtol=1e-5, atol=1e-8)

    @pytest.mark.parametrize("mode", ["FAST_COMPILE", "CVM", "JAX"])
    def test_all_kinds_of_outputs_in_one_function(self, mode, rng):
        """Updating the averages does not change what other outputs of the same call use."""
        mean, inv_std = np.array([1.0, 2, 3]), np.array([0.5, 0.6, 0.7])
        layer = BatchNormLayer(InputLayer((None, 3)), mean=mean, inv_std=inv_std)
        outputs = [
            get_output(layer, deterministic=True),
            get_output(layer),
            get_output(layer, deterministic=True, batch_norm_update_averages=True),
        ]
        x = rng.normal(size=(50, 3)).astype(pytensor.config.floatX)
        f = pytensor.function([layer.input_layer.input_var], outputs, mode=mode)
        for _ in range(2):
            expected = (x - layer.mean.get_value()) * layer.inv_std.get_value()
            stored, trained, updated = f(x)
            np.testing.assert_allclose(stored, expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(updated, expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(trained, normalized(x, 0), rtol=1e-5, atol=1e-6)
            mean = 0.9 * mean + 0.1 * x.mean(axis=0)
            np.testing.assert_allclose(layer.mean.get_value(), mean, rtol=1e-5)

    def test_training_step_updates_once(self, rng):
        l_in = InputLayer((None, 3))
        network = DenseLayer(batch_norm(DenseLayer(l_in, 4)), 2)
        params = get_all_params(network, trainable=True)
        loss = get_output(network).sum()
        updates = [
            (param, param - 0.1 * gradient)
            for param, gradient in zip(params, pytensor.grad(loss, params), strict=True)
        ]
        f = pytensor.function([l_in.input_var], loss, updates=updates)
        dense, bn = get_all_layers(network)[1:3]
        x = rng.normal(size=(6, 3)).astype(pytensor.config.floatX)
        expected = 0.1 * (x @ dense.W.get_value()).mean(axis=0)
        f(x)
        np.testing.assert_allclose(bn.mean.get_value(), expected, rtol=1e-5, atol=1e-7)


class TestBatchNorm:
    shape = (2, 3)

    def test_takes_the_nonlinearity(self):
        nonlinearity = Mock()
        layer = Mock(Layer, output_shape=self.shape, nonlinearity=nonlinearity)
        stack = batch_norm(layer)
        assert isinstance(stack, NonlinearityLayer)
        assert isinstance(stack.input_layer, BatchNormLayer)
        assert stack.input_layer.input_layer is layer
        assert layer.nonlinearity is identity
        assert stack.nonlinearity is nonlinearity

    def test_removes_the_bias(self):
        bias = object()
        layer = Mock(Layer, output_shape=self.shape, b=bias, params={bias: set()})
        assert isinstance(batch_norm(layer), BatchNormLayer)
        assert layer.b is None
        assert layer.params == {}

    def test_without_bias(self):
        layer = Mock(Layer, output_shape=self.shape, b=None, params={object(): set()})
        assert isinstance(batch_norm(layer), BatchNormLayer)
        assert layer.b is None
        assert len(layer.params) == 1

    def test_arguments_and_names(self):
        stack = batch_norm(Mock(Layer, output_shape=self.shape), name="foo", alpha=0.5)
        assert isinstance(stack, BatchNormLayer)
        assert (stack.name, stack.alpha) == ("foo", 0.5)
        layer = Mock(Layer, output_shape=self.shape, nonlinearity=Mock())
        layer.name = "foo"
        stack = batch_norm(layer, name="foo_bnorm")
        assert (stack.name, stack.input_layer.name) == ("foo_bnorm_nonlin", "foo_bnorm")
        layer.nonlinearity = Mock()
        stack = batch_norm(layer)
        assert (stack.name, stack.input_layer.name) == ("foo_bn_nonlin", "foo_bn")

    def test_no_names(self):
        stack = batch_norm(DenseLayer((None, 3), 4))
        assert stack.name is None
        assert stack.input_layer.name is None

    def test_output(self, rng):
        dense = DenseLayer((None, 3), 4)
        stack = batch_norm(dense)
        x = rng.normal(size=(10, 3))
        np.testing.assert_allclose(
            get_output(stack, {None: x}).eval(),
            np.maximum(normalized(x @ dense.W.get_value(), 0), 0),
        )


class TestLocalResponseNormalization2DLayer:
    @pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")], ids=["python", "jax"])
    @pytest.mark.parametrize("n", [1, 3, 5, 11])
    def test_output(self, n, mode, rng):
        x = pt.dtensor4()
        layer = LocalResponseNormalization2DLayer(
            InputLayer((None, None, None, None), x), alpha=0.3, k=1.5, beta=0.6, n=n
        )
        f = pytensor.function([x], get_output(layer), mode=mode)
        for batch in (1, 3):
            values = rng.normal(size=(batch, 7, 2, 4))
            expected = np.empty_like(values)
            for i in range(7):
                near = values[:, max(i - n // 2, 0) : i + n // 2 + 1]
                expected[:, i] = values[:, i] / (1.5 + 0.3 * (near**2).sum(axis=1)) ** 0.6
            np.testing.assert_allclose(f(values), expected)
        assert layer.output_shape == (None, None, None, None)

    def test_defaults(self):
        layer = LocalResponseNormalization2DLayer((None, 3, 4, 5))
        assert (layer.alpha, layer.k, layer.beta, layer.n) == (1e-4, 2, 0.75, 5)
        assert layer.get_params() == []
        with pytensor.config.change_flags(floatX="float32"):
            assert layer.get_output_for(pt.ftensor4()).dtype == "float32"

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match=r"'lrn'.* needs a positive odd number n .* got 4"):
            LocalResponseNormalization2DLayer((None, 3, 4, 5), n=4, name="lrn")
        with pytest.raises(ValueError, match=r"'lrn'.* needs an input .* got \(None, 3, 4\)"):
            LocalResponseNormalization2DLayer((None, 3, 4), name="lrn")


class TestStandardizationLayer:
    @pytest.mark.parametrize(
        ("shape", "axes", "expected"),
        [
            ((20, 30, 40), "auto", (2,)),
            ((20, 30), "auto", (1,)),
            ((20, 30, 40), "features", (1, 2)),
            ((20, 30, 4, 5), "spatial", (2, 3)),
            ((20, 30, 40), 0, (0,)),
            ((20, 30, 40), -1, (2,)),
            ((20, 30, 40), (0, 2), (0, 2)),
        ],
    )
    def test_output(self, shape, axes, expected, rng):
        x = 3 * rng.normal(size=shape) + 2
        layer = StandardizationLayer((None, *shape[1:]), axes=axes, epsilon=1e-3)
        assert layer.axes == expected
        assert layer.get_params() == []
        np.testing.assert_allclose(
            layer.get_output_for(pt.constant(x)).eval(), normalized(x, expected, 1e-3), atol=1e-12
        )

    def test_default(self):
        layer = StandardizationLayer((None, 3))
        assert layer.epsilon == 1e-4
        assert layer.axes == (1,)

    def test_bad_axes(self):
        with pytest.raises(ValueError, match="'features', 'spatial' or integers"):
            StandardizationLayer((None, 3), axes="all")
        with pytest.raises(ValueError, match=r"'s'.*axes \(2,\)"):
            StandardizationLayer((None, 3), axes=2, name="s")

    def test_jax(self, rng):
        x = pt.tensor3()
        layer = StandardizationLayer(InputLayer((None, None, None), x))
        xv = rng.normal(size=(3, 4, 5)).astype(pytensor.config.floatX)
        result = pytensor.function([x], get_output(layer), mode="JAX")(xv)
        np.testing.assert_allclose(result, normalized(xv, 2), rtol=1e-4, atol=1e-5)


class TestInstanceAndLayerNorm:
    @pytest.mark.parametrize(
        ("macro", "axes", "suffix"), [(instance_norm, (2, 3), "in"), (layer_norm, (1, 2, 3), "ln")]
    )
    def test_stack(self, macro, axes, suffix, rng):
        bias = object()
        layer = Mock(
            Layer, output_shape=(None, 3, 4, 5), nonlinearity=rectify, b=bias, params={bias: set()}
        )
        layer.name = "foo"
        nonlinearity = macro(layer, epsilon=1e-3)
        added_bias = nonlinearity.input_layer
        scale = added_bias.input_layer
        standardization = scale.input_layer
        assert isinstance(nonlinearity, NonlinearityLayer)
        assert isinstance(added_bias, BiasLayer)
        assert isinstance(scale, ScaleLayer)
        assert isinstance(standardization, StandardizationLayer)
        assert standardization.input_layer is layer
        assert layer.nonlinearity is identity
        assert nonlinearity.nonlinearity is rectify
        assert layer.b is None
        assert layer.params == {}
        assert (standardization.axes, standardization.epsilon) == (axes, 1e-3)
        assert scale.scales.get_value().shape == added_bias.b.get_value().shape == (3,)
        names = [each.name for each in (standardization, scale, added_bias, nonlinearity)]
        assert names == [f"foo_{suffix}{end}" for end in ("", "_scale", "_bias", "_nonlin")]

        x = rng.normal(size=(2, 3, 4, 5))
        np.testing.assert_allclose(
            get_output(nonlinearity, {layer: x}).eval(), np.maximum(normalized(x, axes, 1e-3), 0)
        )

    def test_instance_norm_without_learning(self):
        stack = instance_norm((None, 3, 4), learn_scale=False, learn_bias=False, name="foo")
        assert isinstance(stack, StandardizationLayer)
        assert stack.name == "foo"
        assert stack.axes == (2,)
        assert isinstance(instance_norm((None, 3, 4), learn_bias=False), ScaleLayer)
        assert isinstance(instance_norm((None, 3, 4), learn_scale=False), BiasLayer)

    def test_layer_norm_of_dense(self, rng):
        dense = DenseLayer((None, 3), 4)
        x = rng.normal(size=(10, 3))
        np.testing.assert_allclose(
            get_output(layer_norm(dense), {None: x}).eval(),
            np.maximum(normalized(x @ dense.W.get_value(), 1), 0),
        )
