from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import (
    DimshuffleLayer,
    ExpressionLayer,
    FlattenLayer,
    InputLayer,
    PadLayer,
    ReshapeLayer,
    SliceLayer,
    dimshuffle,
    flatten,
    get_output,
    get_output_shape,
    pad,
    reshape,
)

X = np.random.RandomState(4).normal(size=(2, 3, 4)).astype("float32")

# Layers that need none of the sizes that they were made for, and what they compute
RESHAPING = {
    "flatten to one": (lambda l: FlattenLayer(l, 1), lambda x: x.reshape(x.size)),
    "flatten": (FlattenLayer, lambda x: x.reshape(len(x), x[0].size if len(x) else 12)),
    "flatten nothing": (lambda l: FlattenLayer(l, 3), lambda x: x),
    "[0], -1": (
        lambda l: ReshapeLayer(l, ([0], -1)),
        lambda x: x.reshape(len(x), x.shape[1] * x.shape[2]),
    ),
    "[2], -1, [0]": (
        lambda l: ReshapeLayer(l, ([2], -1, [0])),
        lambda x: x.reshape(x.shape[2], x.shape[1], x.shape[0]),
    ),
    "-1, [2]": (
        lambda l: ReshapeLayer(l, (-1, [2])),
        lambda x: x.reshape(x.shape[0] * x.shape[1], x.shape[2]),
    ),
    "[0], -1, 2": (
        lambda l: ReshapeLayer(l, ([0], -1, 2)),
        lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2] // 2, 2),
    ),
    "[1], [0], [2], 1": (
        lambda l: ReshapeLayer(l, ([1], [0], [2], 1)),
        lambda x: x.reshape(x.shape[1], x.shape[0], x.shape[2], 1),
    ),
    "dimshuffle": (
        lambda l: DimshuffleLayer(l, (2, "x", 0, 1)),
        lambda x: x.transpose(2, 0, 1)[:, None],
    ),
    "pad": (lambda l: PadLayer(l, 1), lambda x: np.pad(x, [(0, 0), (0, 0), (1, 1)])),
    "pad all": (
        lambda l: PadLayer(l, [(1, 2), (0, 3), (1, 0)], val=2, batch_ndim=0),
        lambda x: np.pad(x, [(1, 2), (0, 3), (1, 0)], constant_values=2),
    ),
    "slice": (lambda l: SliceLayer(l, slice(-2, None), axis=1), lambda x: x[:, -2:]),
    "expression": (
        lambda l: ExpressionLayer(l, lambda x: x.mean(-1), "auto"),
        lambda x: x.mean(-1),
    ),
}
GIVEN = [(2, 3, 4), (1, 3, 4), (5, 3, 4), (0, 3, 4), (2, 1, 4), (2, 6, 4), (2, 3, 2), (2, 3, 6)]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")], ids=["python", "jax"])
@pytest.mark.parametrize("declared", [(2, 3, 4), (None, 3, None), (None, None, None)])
@pytest.mark.parametrize("name", RESHAPING)
def test_sizes_unknown_or_other_than_declared(name, declared, mode):
    make, expected = RESHAPING[name]
    x = pt.tensor3(dtype="float32")
    function = pytensor.function([x], get_output(make(InputLayer(declared, x))), mode=mode)
    for shape in GIVEN:
        values = np.resize(X, shape)
        np.testing.assert_allclose(function(values), expected(values), rtol=1e-6)


@pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")], ids=["python", "jax"])
@pytest.mark.parametrize("shape", [([0], 12), (-1, 12, [0]), ([0], [2], 3), (4, 6), (-1, 9)])
def test_sizes_that_do_not_fit(shape, mode):
    """Nothing is moved from one item of the batch to another to make them fit."""
    x = pt.tensor3(dtype="float32")
    layer = ReshapeLayer(InputLayer((None, None, None), x), shape)
    function = pytensor.function([x], get_output(layer), mode=mode)
    with pytest.raises((ValueError, TypeError), match="reshape"):
        function(np.resize(X, (2, 5, 4)))


def test_shortcuts():
    assert flatten is FlattenLayer
    assert reshape is ReshapeLayer
    assert dimshuffle is DimshuffleLayer
    assert pad is PadLayer


class TestFlattenLayer:
    @pytest.mark.parametrize(
        ("outdim", "shape", "expected"),
        [
            (2, (2, 3, 4, 5), (2, 60)),
            (2, (2, 3, None, 5), (2, None)),
            (2, (None, 3, 4, 5), (None, 60)),
            (3, (2, 3, 4, 5), (2, 3, 20)),
            (1, (2, 3, 4, 5), (120,)),
            (4, (2, 3, 4, 5), (2, 3, 4, 5)),
        ],
    )
    def test_output_shape(self, outdim, shape, expected):
        layer = FlattenLayer(Mock(output_shape=(None,)), outdim=outdim)
        assert layer.get_output_shape_for(shape) == expected
        assert FlattenLayer(shape, outdim).output_shape == expected

    @pytest.mark.parametrize("outdim", [1, 2, 3, 4])
    @pytest.mark.parametrize("shape", [(None,), (2, 3, 4, 5), (None, None, None, 5)])
    def test_output(self, outdim, shape, rng):
        x = rng.normal(size=(2, 3, 4, 5))
        layer = FlattenLayer(Mock(output_shape=shape), outdim=outdim)
        result = layer.get_output_for(pytensor.shared(x)).eval()
        np.testing.assert_array_equal(result, x.reshape(*x.shape[: outdim - 1], -1))

    def test_default(self):
        assert FlattenLayer((2, 3, 4)).outdim == 2

    def test_bad_outdim(self):
        with pytest.raises(ValueError, match="positive outdim, got 0"):
            FlattenLayer((2, 3, 4), outdim=0)
        with pytest.raises(ValueError, match=r"'flat'.*\(2, 3\) to 3 dimensions"):
            FlattenLayer((2, 3), outdim=3, name="flat").output_shape  # noqa: B018

    def test_jax(self, rng):
        x = pt.tensor4()
        f = pytensor.function(
            [x], get_output(FlattenLayer(InputLayer((None, 3, 4, 5), x))), mode="JAX"
        )
        xv = rng.normal(size=(2, 3, 4, 5)).astype(pytensor.config.floatX)
        np.testing.assert_array_equal(f(xv), xv.reshape(2, 60))


class TestReshapeLayer:
    @pytest.fixture
    def l_in(self):
        return InputLayer((16, 3, None, None, 10))

    @pytest.mark.parametrize(
        ("shape", "output_shape", "result_shape"),
        [
            ((16, 3, 5, 7, 2, 5), (16, 3, 5, 7, 2, 5), (16, 3, 5, 7, 2, 5)),
            ((-1, [1], [2], [3], 2, 5), (16, 3, None, None, 2, 5), (16, 3, 5, 7, 2, 5)),
            ((-1, [1], [2], 7, 2, 5), (None, 3, None, 7, 2, 5), (16, 3, 5, 7, 2, 5)),
            ((-1, [1], [2], [3], 5, [2]), (None, 3, None, None, 5, None), None),
            (([0], [1], [2], -1), (16, 3, None, None), (16, 3, 5, 70)),
            (([0], [1], -1, [4]), (16, 3, None, 10), (16, 3, 35, 10)),
            ((160, [2], [1], [3]), (160, None, 3, None), (160, 5, 3, 7)),
            ((-1,), (None,), (16 * 3 * 5 * 7 * 10,)),
            (([3], 30, 80), (None, 30, 80), (7, 30, 80)),
        ],
    )
    def test_output(self, l_in, shape, output_shape, result_shape, rng):
        layer = ReshapeLayer(l_in, shape)
        assert layer.output_shape == output_shape
        if result_shape is None:
            return  # 16 * 3 * 5 * 7 * 10 is not divisible by it
        x = rng.normal(size=(16, 3, 5, 7, 10))
        output = layer.get_output_for(pytensor.shared(x))
        np.testing.assert_array_equal(output.eval(), x.reshape(result_shape))

    @pytest.mark.parametrize(
        ("given", "shape", "expected"),
        [
            ((2, 3, 4), (6, -1), (6, 4)),
            ((2, 3, 4), (-1, [0]), (12, 2)),
            ((None, 3, 4), (-1, 12), (None, 12)),
            ((None, 3, 4), ([0], -1), (None, 12)),
            ((None, 3, 4), ([0], 2, 6), (None, 2, 6)),
            ((None, 3, 4), ([2], [0], [1]), (4, None, 3)),
            ((2,), [2, 1], (2, 1)),
        ],
    )
    def test_output_shape(self, given, shape, expected):
        assert ReshapeLayer(given, shape).output_shape == expected

    @pytest.mark.parametrize(
        "shape", [(17, [1], [2], [3], -1), (17, [1], [2], [3], [4]), ([0], [1], [2], [3], 20)]
    )
    def test_size_mismatch(self, l_in, shape):
        with pytest.raises(ValueError, match=r"'r'.*cannot be reshaped.* total sizes do not match"):
            ReshapeLayer(l_in, shape, name="r")

    @pytest.mark.parametrize(
        "shape",
        [
            (-16, 3, 5, 7, 10),
            (0, 3, 5, 7, 10),
            (-1, 3, 5, 7, -1),
            ([-1], 3, 5, 7, 10),
            ([0, 1], 3, 5, 7, 10),
            (["x"], 3),
            (None, 3, 5, 7, 10),
            (16.0, 3, 5, 7, 10),
            (pt.vector(), 3),
        ],
    )
    def test_invalid_item(self, l_in, shape):
        with pytest.raises(ValueError, match="invalid"):
            ReshapeLayer(l_in, shape)

    def test_reference_out_of_range(self, l_in):
        with pytest.raises(ValueError, match=r"\[5\] in shape .* is out of range"):
            ReshapeLayer(l_in, (16, [5]))

    def test_symbolic_sizes(self):
        x = pt.tensor3()
        batch_size, seq_len, _ = x.shape
        layer = ReshapeLayer(InputLayer((None, None, None)), (batch_size * seq_len, [2]))
        assert layer.output_shape == (None, None)
        output = get_output(layer, x)
        assert output.eval({x: np.ones((3, 5, 6))}).shape == (15, 6)
        assert output.eval({x: np.ones((4, 5, 7))}).shape == (20, 7)

    @pytest.mark.parametrize("shape", [(-1, [2]), (-1, 4), ([0], [1], 2, 2), ([0], -1)])
    def test_jax(self, shape, rng):
        x = pt.tensor3()
        layer = ReshapeLayer(InputLayer((None, 3, 4), x), shape)
        f = pytensor.function([x], get_output(layer), mode="JAX")
        for batch in (2, 5):
            xv = rng.normal(size=(batch, 3, 4)).astype(pytensor.config.floatX)
            target = [batch * (size == [0]) or 3 * (size == [1]) or size for size in shape]
            target = [4 if size == [2] else size for size in target]
            np.testing.assert_array_equal(f(xv), xv.reshape(target))

    def test_data_of_wrong_shape_is_not_reshaped(self):
        x = pt.tensor3()
        output = get_output(ReshapeLayer(InputLayer((None, 3, 4), x), ([0], 12)))
        with pytest.raises(ValueError, match="cannot reshape"):
            output.eval({x: np.zeros((2, 6, 4))})


class TestDimshuffleLayer:
    @pytest.fixture(params=[(2, 3, 1, 5, 7), (2, 3, None, 5, 7)])
    def l_in(self, request):
        return InputLayer(request.param, pt.tensor(shape=(None, None, 1, None, None)))

    @pytest.mark.parametrize(
        ("pattern", "shape"),
        [
            ([4, 3, 2, 1, 0], (7, 5, 1, 3, 2)),
            ([0, 1, 2, 3, 4, "x"], (2, 3, 1, 5, 7, 1)),
            (["x", 1, 0, 3, 4], (1, 3, 2, 5, 7)),
            ([0, 1, 3, 4], (2, 3, 5, 7)),
            ((0, 1, 3, 4), (2, 3, 5, 7)),
        ],
    )
    def test_output(self, l_in, pattern, shape, rng):
        layer = DimshuffleLayer(l_in, pattern)
        for size, expected in zip(layer.output_shape, shape, strict=True):
            assert size == expected or (size is None and l_in.shape[2] is None)
        x = rng.normal(size=(2, 3, 1, 5, 7))
        expected = x.transpose([axis for axis in pattern if axis != "x"] + [2] * (2 not in pattern))
        np.testing.assert_array_equal(
            get_output(layer).eval({l_in.input_var: x}), expected.reshape(shape)
        )

    def test_removed_axis_of_size_unknown_to_the_graph(self):
        x = pt.matrix()
        for shape in (None, 3), (1, 3):
            output = get_output(DimshuffleLayer(InputLayer(shape, x), [1]))
            assert output.eval({x: np.ones((1, 3))}).shape == (3,)
            with pytest.raises(AssertionError):
                output.eval({x: np.ones((2, 3))})

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            (["q"], "must be of integers and 'x'"),
            ([0.0], "must be of integers and 'x'"),
            ([0, 0, 1, 3, 4], "contains an axis twice"),
            ([0, 1, 2, 4, 42], "does not have"),
            ([0, 1, 3, 4, -3], "does not have"),
            ([0, 1, 2, 4], "removes an axis of size other than 1"),
        ],
    )
    def test_invalid_pattern(self, l_in, pattern, message):
        with pytest.raises(ValueError, match=f"'shuffle'.*{message}"):
            DimshuffleLayer(l_in, pattern, name="shuffle")


class TestPadLayer:
    @pytest.mark.parametrize(
        ("width", "shape", "expected"),
        [
            (3, (2, 3, 4, 5), (2, 3, 10, 11)),
            ((2, 3), (2, 3, 4, 5), (2, 3, 8, 11)),
            (((1, 2), (3, 4)), (2, 3, 4, 5), (2, 3, 7, 12)),
            ((1, (3, 4)), (2, 3, 4, 5), (2, 3, 6, 12)),
            (3, (2, 3, None, 5), (2, 3, None, 11)),
            (((1, 2), (3, 4)), (None, 3, None, None), (None, 3, None, None)),
            (3, (2, 3), (2, 3)),
        ],
    )
    def test_output_shape(self, width, shape, expected):
        layer = PadLayer(Mock(output_shape=(None,)), width=width)
        assert layer.get_output_shape_for(shape) == expected
        assert PadLayer(shape, width).output_shape == expected

    @pytest.mark.parametrize(
        ("width", "val", "batch_ndim", "expected"),
        [
            (2, 0, 2, [(0, 0), (0, 0), (2, 2)]),
            (2, 1.5, 1, [(0, 0), (2, 2), (2, 2)]),
            ([(1, 0)], -1, 2, [(0, 0), (0, 0), (1, 0)]),
            ([(0, 2), 1, 0], 4, 0, [(0, 2), (1, 1), (0, 0)]),
        ],
    )
    def test_output(self, width, val, batch_ndim, expected, rng):
        x = rng.normal(size=(2, 3, 4))
        layer = PadLayer(Mock(output_shape=(None,)), width, val=val, batch_ndim=batch_ndim)
        np.testing.assert_array_equal(
            layer.get_output_for(pytensor.shared(x)).eval(),
            np.pad(x, expected, constant_values=val),
        )

    def test_dtype(self):
        layer = PadLayer((None, 3, 4), 1, val=0.1)
        assert layer.get_output_for(pt.ftensor3()).dtype == "float32"
        assert PadLayer((None, 3, 4), 1).get_output_for(pt.itensor3()).dtype == "int32"

    def test_bad_width(self):
        with pytest.raises(ValueError, match=r"'p'.* must be of integers >= 0"):
            PadLayer((2, 3, 4), width=-1, name="p")
        with pytest.raises(ValueError, match="must be of integers >= 0"):
            PadLayer((2, 3, 4), width=[(1, 2, 3)])
        for width in [1.5], 1.5, True:
            with pytest.raises(ValueError, match="must be of integers >= 0"):
                PadLayer((2, 3, 4), width)
        with pytest.raises(ValueError, match="an item for each of the 2 axes"):
            PadLayer((2, 3, 4, 5), width=[1]).output_shape  # noqa: B018

    def test_jax(self, rng):
        x = pt.tensor3()
        output = get_output(PadLayer(InputLayer((None, None, 4), x), [(1, 2)], val=3, batch_ndim=2))
        f = pytensor.function([x], [output, pytensor.grad((output**2).sum(), x)], mode="JAX")
        xv = rng.normal(size=(2, 3, 4)).astype(pytensor.config.floatX)
        result, gradient = f(xv)
        np.testing.assert_array_equal(
            result, np.pad(xv, [(0, 0), (0, 0), (1, 2)], constant_values=3)
        )
        np.testing.assert_allclose(gradient, 2 * xv)


class TestSliceLayer:
    @pytest.mark.parametrize(
        ("indices", "axis", "expected"),
        [
            (0, 0, np.s_[0]),
            (slice(3, 5), 1, np.s_[:, 3:5]),
            (-1, -1, np.s_[:, :, -1]),
            (slice(None, None, -2), -2, np.s_[:, ::-2]),
            (slice(-2, None), 1, np.s_[:, -2:]),
        ],
    )
    @pytest.mark.parametrize("known", [True, False])
    def test_output(self, indices, axis, expected, known):
        x = np.arange(30, dtype="float32").reshape(3, 5, 2)
        shape = list(x.shape)
        if not known:
            shape[axis] = None
        layer = SliceLayer(InputLayer(shape), indices=indices, axis=axis)
        wanted = x[expected]
        np.testing.assert_array_equal(get_output(layer, x).eval(), wanted)
        if known or isinstance(indices, int):
            assert get_output_shape(layer) == wanted.shape
        else:
            assert get_output_shape(layer).count(None) == 1

    def test_default_axis(self):
        assert SliceLayer((2, 3, 4), 0).output_shape == (2, 3)

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match=r"'s'.*has no axis 2"):
            SliceLayer((3, 5), 0, axis=2, name="s")
        with pytest.raises(ValueError, match="has no item 5 in axis 1"):
            SliceLayer((3, 5), 5)
        with pytest.raises(ValueError, match="is empty"):
            SliceLayer((3, 5), slice(5, 7))
        with pytest.raises(TypeError, match="must be an int or a slice"):
            SliceLayer((3, 5), [0, 1])

    @pytest.mark.parametrize("indices", [-1, slice(1, 3), slice(None, -1)])
    def test_jax(self, indices, rng):
        l_in = InputLayer((None, 5, 2))
        f = pytensor.function(
            [l_in.input_var], get_output(SliceLayer(l_in, indices, axis=1)), mode="JAX"
        )
        x = rng.normal(size=(3, 5, 2)).astype(pytensor.config.floatX)
        np.testing.assert_array_equal(f(x), x[:, indices])
