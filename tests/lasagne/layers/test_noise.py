import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import lasagne
from lasagne.layers import (
    DropoutLayer,
    GaussianNoiseLayer,
    InputLayer,
    dropout,
    dropout_channels,
    dropout_locations,
    get_output,
    spatial_dropout,
)

JAX_COPIES_GENERATORS = "ignore:The RandomType SharedVariables:UserWarning"


@pytest.fixture(params=[(100, 100), (None, 100)])
def l_in(request):
    return InputLayer(request.param)


@pytest.fixture
def ones():
    return pytensor.shared(np.ones((100, 100)))


class TestDropoutLayer:
    def test_shortcuts(self):
        assert dropout is DropoutLayer
        assert spatial_dropout is dropout_channels

    @pytest.mark.slow
    def test_output(self, l_in, ones):
        result = DropoutLayer(l_in).get_output_for(ones).eval()
        assert 0.9 < result.mean() < 1.1
        np.testing.assert_array_equal(np.unique(result), [0, 2])

    @pytest.mark.parametrize(("p", "kept"), [(0.2, 1.25), (np.float64(0.75), 4.0)])
    def test_probability(self, l_in, ones, p, kept):
        result = DropoutLayer(l_in, p=p).get_output_for(ones).eval()
        assert 0.9 < result.mean() < 1.1
        np.testing.assert_allclose(np.unique(result), [0, kept])

    def test_symbolic_probability(self, l_in, ones):
        p = pytensor.shared(0.0)
        output = DropoutLayer(l_in, p=p).get_output_for(ones)
        f = pytensor.function([], output)
        assert (f() == 1).all()
        p.set_value(0.2)
        np.testing.assert_allclose(np.unique(f()), [0, 1.25])

    def test_no_rescale(self, l_in, ones):
        result = DropoutLayer(l_in, rescale=False).get_output_for(ones).eval()
        assert 0.4 < result.mean() < 0.6
        np.testing.assert_array_equal(np.unique(result), [0, 1])

    def test_identity(self, l_in, ones):
        assert DropoutLayer(l_in).get_output_for(ones, deterministic=True) is ones
        assert DropoutLayer(l_in, p=0).get_output_for(ones) is ones
        assert get_output(DropoutLayer(l_in), deterministic=True) is l_in.input_var

    def test_everything_dropped(self, l_in, ones):
        result = DropoutLayer(l_in, p=1, rescale=False).get_output_for(ones).eval()
        assert not result.any()

    @pytest.mark.parametrize("shared_axes", [(0,), (1,), (-1,), (0, 1), ()])
    def test_shared_axes(self, l_in, ones, shared_axes):
        layer = DropoutLayer(l_in, shared_axes=shared_axes)
        result = layer.get_output_for(ones).eval()
        if shared_axes:
            assert not np.ptp(result, axis=shared_axes).any()
        if len(shared_axes) < 2:
            assert 0.5 < result.mean() < 1.5
            assert result.std() > 0

    @pytest.mark.parametrize("rescale", [True, False])
    @pytest.mark.parametrize("shared_axes", [(0,), (-1,), (0, 1), ()])
    @pytest.mark.parametrize("shape", [(10, 10), (None, 10)])
    def test_values_kept_are_rescaled(self, shape, shared_axes, rescale):
        layer = DropoutLayer(shape, p=0.2, rescale=rescale, shared_axes=shared_axes)
        f = pytensor.function([], layer.get_output_for(pytensor.shared(np.ones((10, 10)))))
        # Where all axes are shared, a call gives one value
        values = np.unique(np.concatenate([np.unique(f()) for _ in range(70)]))
        np.testing.assert_allclose(values, [0, 1.25 if rescale else 1], rtol=1e-6)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("p", [0.5, np.float16(0.5), np.float64(0.5)])
    @pytest.mark.parametrize("floatX", ["float32", "float64"])
    def test_dtype(self, dtype, p, floatX):
        with pytensor.config.change_flags(floatX=floatX):
            x = pytensor.shared(np.ones((10, 10), dtype=dtype))
            output = DropoutLayer((10, 10), p=p).get_output_for(x)
            assert output.dtype == output.eval().dtype == dtype

    def test_dtype_of_integers(self):
        x = pytensor.shared(np.ones((10, 10), dtype="int32"))
        assert DropoutLayer((10, 10), rescale=False).get_output_for(x).dtype == "int32"
        np.testing.assert_array_equal(
            np.unique(DropoutLayer((10, 10)).get_output_for(x).eval()), [0, 2]
        )

    def test_drawn_anew_at_each_call(self, l_in, ones):
        f = pytensor.function([], DropoutLayer(l_in).get_output_for(ones))
        assert (f() != f()).any()

    def test_every_output_is_drawn_on_its_own(self, l_in, ones):
        layer = DropoutLayer(l_in)
        first, second = pytensor.function(
            [], [layer.get_output_for(ones), layer.get_output_for(ones)]
        )()
        assert (first != second).any()

    @pytest.mark.parametrize("make", [DropoutLayer, GaussianNoiseLayer])
    def test_seed(self, l_in, ones, make):
        before = lasagne.random.get_rng()
        results = []
        try:
            for seed in (1, 1, 2):
                lasagne.random.set_rng(np.random.RandomState(seed))
                results.append(make(l_in).get_output_for(ones).eval())
        finally:
            lasagne.random.set_rng(before)
        np.testing.assert_array_equal(results[0], results[1])
        assert (results[0] != results[2]).any()

    def test_gradient_is_that_of_the_kept_values(self):
        x = pytensor.shared(np.ones((5, 6)))
        output = DropoutLayer((5, 6)).get_output_for(x)
        result, gradient = pytensor.function([], [output, pytensor.grad(output.sum(), x)])()
        np.testing.assert_array_equal(result, gradient)

    @pytest.mark.parametrize("p", [-0.1, 1.1, 1])
    def test_bad_probability(self, p):
        with pytest.raises(ValueError, match=f"'drop'.*p={p}"):
            DropoutLayer((None, 3), p=p, name="drop")

    def test_bad_axis(self):
        with pytest.raises(ValueError, match=r"axes \(2,\) for an input of shape \(None, 3\)"):
            DropoutLayer((None, 3), shared_axes=(2,))

    @pytest.mark.slow
    @pytest.mark.filterwarnings(JAX_COPIES_GENERATORS)
    @pytest.mark.parametrize("shared_axes", [(), (1,)])
    def test_jax(self, shared_axes):
        x = pt.tensor3()
        layer = DropoutLayer(InputLayer((None, None, 4), x), p=0.25, shared_axes=shared_axes)
        output = get_output(layer)
        f = pytensor.function([x], [output, pytensor.grad(output.sum(), x)], mode="JAX")
        ones = np.ones((20, 10, 4), dtype=pytensor.config.floatX)
        result, gradient = f(ones)
        np.testing.assert_allclose(np.unique(result), [0, 4 / 3], rtol=1e-6)
        np.testing.assert_array_equal(result, gradient)
        assert 0.7 < result.mean() < 1.3
        assert np.ptp(result, axis=1).any() == (shared_axes == ())
        assert (f(ones)[0] != result).any()
        assert f(ones[:3])[0].shape == (3, 10, 4)


class TestDropoutOfAxes:
    @pytest.mark.parametrize(
        ("make", "axes"), [(dropout_channels, (2, 3)), (dropout_locations, (1,))]
    )
    @pytest.mark.parametrize("shape", [(20, 30, 4, 5), (None, 30, None, None)])
    def test_output(self, make, axes, shape):
        for incoming in shape, InputLayer(shape):
            layer = make(incoming, 0.25, name="drop")
            assert isinstance(layer, DropoutLayer)
            assert (layer.p, layer.name, layer.shared_axes) == (0.25, "drop", axes)
        result = layer.get_output_for(pytensor.shared(np.ones((20, 30, 4, 5)))).eval()
        assert not np.ptp(result, axis=axes).any()
        assert result.mean(axis=axes).std() > 0

    def test_channels_of_two_dimensions(self):
        assert dropout_channels((None, 3)).shared_axes == ()


class TestGaussianNoiseLayer:
    def test_output(self, l_in, ones):
        result = GaussianNoiseLayer(l_in, sigma=0.3).get_output_for(ones).eval()
        assert abs(result.mean() - 1) < 0.02
        assert abs(result.std() - 0.3) < 0.02

    def test_default(self, l_in):
        assert GaussianNoiseLayer(l_in).sigma == 0.1

    def test_identity(self, l_in, ones):
        assert GaussianNoiseLayer(l_in).get_output_for(ones, deterministic=True) is ones
        assert GaussianNoiseLayer(l_in, sigma=0).get_output_for(ones) is ones

    def test_symbolic_sigma(self, l_in, ones):
        sigma = pytensor.shared(0.0)
        f = pytensor.function([], GaussianNoiseLayer(l_in, sigma=sigma).get_output_for(ones))
        assert (f() == 1).all()
        sigma.set_value(0.5)
        assert abs(f().std() - 0.5) < 0.02

    def test_drawn_anew_at_each_call(self, l_in, ones):
        f = pytensor.function([], GaussianNoiseLayer(l_in).get_output_for(ones))
        assert (f() != f()).all()

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype(self, dtype):
        x = pytensor.shared(np.ones((10, 10), dtype=dtype))
        assert GaussianNoiseLayer((10, 10)).get_output_for(x).dtype == dtype

    def test_bad_sigma(self):
        with pytest.raises(ValueError, match="non-negative sigma, got -1"):
            GaussianNoiseLayer((None, 3), sigma=-1)

    @pytest.mark.slow
    @pytest.mark.filterwarnings(JAX_COPIES_GENERATORS)
    def test_jax(self):
        x = pt.matrix()
        layer = GaussianNoiseLayer(InputLayer((None, None), x), sigma=0.3)
        result = pytensor.function([x], get_output(layer), mode="JAX")(
            np.ones((100, 100), dtype=pytensor.config.floatX)
        )
        assert abs(result.std() - 0.3) < 0.02
