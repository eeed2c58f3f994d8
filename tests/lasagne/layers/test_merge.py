from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import (
    ConcatLayer,
    ElemwiseMergeLayer,
    ElemwiseSumLayer,
    InputLayer,
    RepeatLayer,
    autocrop,
    autocrop_array_shapes,
    concat,
    get_output,
)

MIXED = [None, "lower", "center", "upper"]


class TestAutocrop:
    shapes = ((1, 2, 3, 4), (5, 6, 7, 8), (5, 4, 3, 2))

    @pytest.mark.parametrize(
        ("cropping", "expected"),
        [
            (None, [(1, 2, 3, 4), (5, 6, 7, 8), (5, 4, 3, 2)]),
            (MIXED, [(1, 2, 3, 2), (5, 2, 3, 2), (5, 2, 3, 2)]),
            (["lower", "upper"], [(1, 2, 3, 4), (1, 2, 7, 8), (1, 2, 3, 2)]),
            (["lower"] * 6, [(1, 2, 3, 2)] * 3),
        ],
    )
    def test_shapes(self, cropping, expected):
        assert autocrop_array_shapes(self.shapes, cropping) == expected

    def test_unknown_sizes(self):
        assert autocrop_array_shapes([(None, 3), (2, 5)], ["lower"] * 2) == [(None, 3)] * 2
        assert autocrop_array_shapes([(None, 3), (2, 5)], None) == [(None, 3), (2, 5)]

    @pytest.mark.parametrize("crop", [autocrop_array_shapes, autocrop])
    def test_errors(self, crop):
        given = self.shapes if crop is autocrop_array_shapes else [pt.tensor4(), pt.tensor4()]
        with pytest.raises(ValueError, match="Unknown crop mode 'bad'"):
            crop(given, ["lower", "upper", "bad", "worse"])
        given = [(1, 2), (1, 2, 3)] if crop is autocrop_array_shapes else [pt.vector(), pt.matrix()]
        with pytest.raises(ValueError, match="same dimensionality"):
            crop(given, MIXED)

    @pytest.mark.parametrize(
        ("cropping", "expected"),
        [
            (None, np.s_[:, :, :, :]),
            (MIXED, np.s_[:, :2, 1:4, 3:]),
            (["lower"] * 4, np.s_[:1, :2, :3, :4]),
            (["center"] * 4, np.s_[:1, :2, 1:4, 1:5]),
            (["upper"] * 4, np.s_[1:, 1:, 2:, 3:]),
            (["lower", "lower"], np.s_[:1, :2, :, :]),
        ],
    )
    @pytest.mark.parametrize("static", [True, False])
    def test_tensors(self, cropping, expected, static, rng):
        large, small = rng.normal(size=(2, 3, 5, 7)), rng.normal(size=(1, 2, 3, 4))
        make = pt.constant if static else pytensor.shared
        results = [each.eval() for each in autocrop([make(large), make(small)], cropping)]
        np.testing.assert_array_equal(results[0], large[expected])
        np.testing.assert_array_equal(results[1], small)


class TestConcatLayer:
    @pytest.fixture
    def layer(self):
        return ConcatLayer([Mock(), Mock()])

    def test_shortcut(self):
        assert concat is ConcatLayer

    @pytest.mark.parametrize(
        ("shapes", "expected"),
        [
            ([(3, 2), (3, 5)], (3, 7)),
            ([(3, 2), (3, None)], (3, None)),
            ([(None, 2), (3, 5)], (3, 7)),
            ([(None, 2), (None, 5)], (None, 7)),
            ([(None, 2), (3, 5), (3, 1)], (3, 8)),
        ],
    )
    def test_output_shape(self, layer, shapes, expected):
        assert layer.get_output_shape_for(shapes) == expected
        assert ConcatLayer(shapes).output_shape == expected
        assert ConcatLayer(shapes, axis=-1).output_shape == expected

    @pytest.mark.parametrize(
        "shapes",
        [[(4, None), (3, 5)], [(3, 2), (4, None)], [(3, 2), (3, 2, 1)], [(3, 2, 4), (3, 5)]],
    )
    def test_mismatch(self, layer, shapes):
        message = "Mismatch: input shapes of .* must be the same except in the concatenation axis"
        with pytest.raises(ValueError, match=message):
            layer.get_output_shape_for(shapes)
        with pytest.raises(ValueError, match=message):
            ConcatLayer(shapes)

    def test_bad_axis(self):
        with pytest.raises(ValueError, match=r"'cat'.* along axis 2"):
            ConcatLayer([(3, 2), (3, 5)], axis=2, name="cat")

    @pytest.mark.parametrize("axis", [0, 1, -1, -2])
    def test_cropped(self, axis, rng):
        x, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 2))
        layer = ConcatLayer([Mock(), Mock()], axis=axis, cropping=["lower"] * 2)
        result = layer.get_output_for([pytensor.shared(x), pytensor.shared(y)]).eval()
        if axis in (0, -2):
            expected = np.concatenate([x[:, :2], y])
        else:
            expected = np.concatenate([x[:4], y], axis=1)
        np.testing.assert_array_equal(result, expected)
        assert layer.get_output_shape_for([(5, 3), (4, 2)]) == expected.shape

    def test_cropping_of_fewer_axes(self):
        assert ConcatLayer([(5, 3), (4, 3)], axis=1, cropping=["upper"]).output_shape == (4, 6)

    def test_output(self, layer, rng):
        x, y = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
        result = layer.get_output_for([pytensor.shared(x), y]).eval()
        np.testing.assert_array_equal(result, np.hstack([x, y]))

    def test_jax(self, rng):
        first, second = InputLayer((None, 3, 4)), InputLayer((None, 2, 4))
        layer = ConcatLayer([first, second], axis=1)
        f = pytensor.function([first.input_var, second.input_var], get_output(layer), mode="JAX")
        x, y = (rng.normal(size=(5, n, 4)).astype(pytensor.config.floatX) for n in (3, 2))
        np.testing.assert_array_equal(f(x, y), np.concatenate([x, y], axis=1))


class TestElemwiseLayers:
    @pytest.fixture
    def layer(self):
        return ElemwiseSumLayer([Mock(), Mock()], coeffs=[2, -1])

    @pytest.mark.parametrize(
        ("shapes", "expected"),
        [
            ([(3, 2), (3, 2)], (3, 2)),
            ([(3, 2), (3, None)], (3, 2)),
            ([(None, 2), (3, 2)], (3, 2)),
            ([(None, 2), (None, 2)], (None, 2)),
        ],
    )
    def test_output_shape(self, layer, shapes, expected):
        assert layer.get_output_shape_for(shapes) == expected
        assert ElemwiseMergeLayer(shapes, pt.mul).output_shape == expected

    @pytest.mark.parametrize("shapes", [[(3, None), (4, 2)], [(3, 2), (4, None)], [(2,), (2, 3)]])
    def test_mismatch(self, layer, shapes):
        with pytest.raises(ValueError, match=r"Mismatch: input shapes of .* must be the same, got"):
            layer.get_output_shape_for(shapes)
        with pytest.raises(ValueError, match=r"Mismatch: .*'sum'"):
            ElemwiseSumLayer(shapes, name="sum")

    def test_sum(self, layer):
        a, b = np.array([[0.0, 1], [2, 3]]), np.array([[1.0, 2], [4, 5]])
        inputs = [pytensor.shared(a), pytensor.shared(b)]
        np.testing.assert_array_equal(layer.get_output_for(inputs).eval(), 2 * a - b)
        np.testing.assert_array_equal(
            ElemwiseSumLayer([(2, 2)] * 2).get_output_for(inputs).eval(), a + b
        )
        layer = ElemwiseSumLayer([(2, 2)] * 3, coeffs=0.5)
        assert layer.coeffs == [0.5] * 3
        np.testing.assert_array_equal(layer.get_output_for([a, b, a]).eval(), a + b / 2)

    def test_dtype(self):
        x = pt.fmatrix()
        with pytensor.config.change_flags(floatX="float32"):
            output = ElemwiseSumLayer([(2, 2)] * 2, coeffs=[1, 0.1]).get_output_for([x, x])
        assert output.dtype == "float32"

    def test_symbolic_coefficient(self):
        weight = pytensor.shared(3.0)
        layer = ElemwiseSumLayer([(2,), (2,)], coeffs=[weight, 1])
        np.testing.assert_array_equal(layer.get_output_for([np.ones(2)] * 2).eval(), [4, 4])

    def test_bad_coefficients(self):
        with pytest.raises(ValueError, match="3 coeffs for 2 incomings"):
            ElemwiseSumLayer([Mock(), Mock()], coeffs=[2, 3, -1])

    @pytest.mark.parametrize(
        ("function", "expected"), [(pt.mul, np.multiply), (pt.maximum, np.maximum)]
    )
    def test_merge_functions(self, function, expected, rng):
        a, b = rng.normal(size=(2, 3, 2))
        layer = ElemwiseMergeLayer([Mock(), Mock()], merge_function=function)
        result = layer.get_output_for([pytensor.shared(a), pytensor.shared(b)]).eval()
        np.testing.assert_array_equal(result, expected(a, b))

    def test_three_inputs(self):
        layer = ElemwiseMergeLayer([(2,)] * 3, pt.sub)
        np.testing.assert_array_equal(
            layer.get_output_for([np.full(2, 5.0), np.ones(2), np.ones(2)]).eval(), [3, 3]
        )

    def test_cropped(self, rng):
        a, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 2))
        layer = ElemwiseSumLayer([(5, 3), (4, 2)], coeffs=[2, -1], cropping=["lower", "upper"])
        assert layer.output_shape == (4, 2)
        np.testing.assert_array_equal(layer.get_output_for([a, b]).eval(), 2 * a[:4, 1:] - b)


class TestRepeatLayer:
    @pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4)])
    def test_values(self, shape, rng):
        value, timed = rng.normal(size=shape), np.zeros((2, 5, 7))
        layer = RepeatLayer([(None, *shape[1:]), (None, None, 7)])
        assert layer.output_shape == (None, None, *shape[1:])
        expected = np.stack([value] * 5, axis=1)
        np.testing.assert_array_equal(layer.get_output_for([value, timed]).eval(), expected)

    @pytest.mark.parametrize("shapes", [[(2, 3), (2,)], [(2, 3), (3, 5)], [(), (3, 5)]])
    def test_shapes_that_do_not_match(self, shapes):
        with pytest.raises(ValueError, match=r"Mismatch: .*'r'.*\(batch, time, \.\.\.\)"):
            RepeatLayer(shapes, name="r")

    def test_another_number_of_inputs(self):
        with pytest.raises(ValueError, match="needs two inputs, got 1"):
            RepeatLayer([(2, 3)])
