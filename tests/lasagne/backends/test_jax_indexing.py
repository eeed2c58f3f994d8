"""Indices out of range and slices that move, on JAX; NumPy has the right values."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import EmbeddingLayer, InputLayer, SliceLayer, get_output

X = np.arange(24.0).reshape(4, 6)
NAN = np.nan
SMALLEST = np.iinfo("int64").min


def compute(outputs, inputs, values):
    function = pytensor.function(inputs, outputs, mode=get_mode("jax"), on_unused_input="ignore")
    results = function(*values)
    return [np.asarray(each) for each in results] if isinstance(outputs, list) else results


def index_or_nan(x, *indices):
    """``x[indices]`` for arrays, item by item, with NaN where NumPy raises."""
    indices = np.broadcast_arrays(*indices)
    result = np.full(indices[0].shape + x.shape[len(indices) :], NAN)
    for place in np.ndindex(indices[0].shape):
        one = tuple(int(index[place]) for index in indices)
        if all(-n <= k < n for k, n in zip(one, x.shape, strict=False)):
            result[place] = x[one]
    return result


@pytest.mark.parametrize("number", [-99, -5, -4, -1, 0, 3, 4, 99])
def test_a_number(number):
    x, i = pt.matrix(), pt.lscalar()
    rows, columns, item = compute([x[i], x[:, i], x[i, 2]], [x, i], [X, number])
    np.testing.assert_array_equal(rows, index_or_nan(X, number))
    np.testing.assert_array_equal(columns, index_or_nan(X.T, number))
    np.testing.assert_array_equal(item, index_or_nan(X, number, 2))


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
def test_arrays(dtype):
    x, i, j = pt.matrix(), pt.vector(dtype=dtype), pt.matrix(dtype=dtype)
    first, second = np.array([0, 3, 4, 100]), np.array([[5, 6, 1, 2], [0, 1, 2, 3]])
    if not dtype.startswith("u"):
        first, second = first - 4, second - 6
    first, second = first.astype(dtype), second.astype(dtype)
    rows, both, columns = compute([x[i], x[i, j], x[:, i]], [x, i, j], [X, first, second])
    np.testing.assert_array_equal(rows, index_or_nan(X, first))
    np.testing.assert_array_equal(both, index_or_nan(X, first, second))
    np.testing.assert_array_equal(columns, index_or_nan(X.T, first).T)


def test_arrays_on_both_sides_of_a_slice():
    x, i = pt.tensor3(), pt.lvector()
    value = compute(x[i, :, 1], [x, i], [X.reshape(2, 3, 4), [1, 2, -1]])
    expected = index_or_nan(X.reshape(2, 3, 4)[:, :, 1], np.array([1, 2, -1]))
    np.testing.assert_array_equal(value, expected)


def test_an_empty_array_has_no_items():
    x, i = pt.matrix(), pt.lvector()
    outputs = [x[i], x[:, i], pt.inc_subtensor(x[i], 1)]
    rows, columns, written = compute(outputs, [x, i], [np.zeros((0, 2)), [0, -1]])
    np.testing.assert_array_equal(rows, np.full((2, 2), NAN))
    assert columns.shape == written.shape == (0, 2)


def test_what_is_known_raises():
    x = pt.matrix()
    for expression in (x[:, 6], x[-5], x[[0, 4]]):
        with pytest.raises(IndexError, match=r"index (6|-5|4) is out of bounds for axis"):
            compute(expression, [x], [X])


def test_integers_and_truth_values():
    x, b, i = pt.lvector(), pt.vector(dtype="bool"), pt.lvector()
    u = pt.vector(dtype="uint8")
    integers, truths, bytes_ = compute(
        [x[i], b[i], u[i]], [x, b, u, i], [[5, 6], [False, False], np.uint8([5, 6]), [1, 2]]
    )
    np.testing.assert_array_equal(integers, [6, SMALLEST])
    np.testing.assert_array_equal(truths, [False, True])
    np.testing.assert_array_equal(bytes_, [6, 255])


def test_writing():
    x, y, i = pt.matrix(), pt.matrix(), pt.lvector()
    values = [X, np.ones((3, 6)), [3, -4, 4]]
    outputs = [pt.set_subtensor(x[i], y), pt.inc_subtensor(x[i], y)]
    for result, expected in zip(compute(outputs, [x, y, i], values), [1, X[0] + 1], strict=True):
        np.testing.assert_array_equal(result[0], np.broadcast_to(expected, 6))
        np.testing.assert_array_equal(result[1:3], X[1:3])
        assert np.isnan(result[3]).all()


def test_writing_integers_and_to_one_place():
    x, k = pt.lvector(), pt.lscalar()
    outputs = [pt.set_subtensor(x[k], 7), pt.inc_subtensor(x[k], 7)]
    for number, right in ((1, [[0, 7, 2], [0, 8, 2]]), (-4, [[SMALLEST, 1, 2]] * 2)):
        results = compute(outputs, [x, k], [[0, 1, 2], number])
        np.testing.assert_array_equal(results, right)


def test_the_gradient_of_a_bad_index_is_not_silently_less():
    w, i, g = pt.matrix(), pt.lvector(), pt.vector()
    grad = pytensor.grad((w[i].sum(axis=1) * g).sum(), w)
    value = compute(grad, [w, i, g], [X, [1, 1, 99], [1.0, 2, 3]])
    np.testing.assert_array_equal(value[:3], [[0] * 6, [3] * 6, [0] * 6])
    assert np.isnan(value[3]).all()


def test_a_bad_index_behind_a_mask_changes_nothing():
    w, i, mask = pt.matrix(), pt.lvector(), pt.vector(dtype="bool")
    loss = pt.switch(mask, w[i].sum(axis=1), 0).sum()
    loss, grad = compute([loss, pytensor.grad(loss, w)], [w, i, mask], [X, [1, 99], [True, False]])
    assert loss == X[1].sum()
    np.testing.assert_array_equal(grad, [[0] * 6, [1] * 6, [0] * 6, [0] * 6])


def test_layers():
    items = pt.lmatrix("items")
    layer = EmbeddingLayer(InputLayer((None, None), items), 3, 1, W=np.array([[10.0], [20], [30]]))
    value = compute(get_output(layer), [items], [[[0, 2, -1, 3, 99, -99]]])
    np.testing.assert_array_equal(np.ravel(value), [10, 30, 30, NAN, NAN, NAN])
    x = pt.matrix("x")
    layer = SliceLayer(InputLayer((None, None), x), 6, axis=1)
    with pytest.raises(IndexError, match="index 6 is out of bounds for axis 1 of x, which has 6"):
        compute(get_output(layer), [x], [X])


# ---- slices


def rows_or_nan(x, start, stop, step=1):
    """``x[start:stop:step]``, with NaN for what NumPy leaves out beyond the end."""
    rows = x[start:stop:step]
    missing = len(range(start, stop, step)) - len(rows)
    return np.concatenate([rows, np.full((missing, *x.shape[1:]), NAN)])


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_slices_of_known_length(number):
    data, i = pytensor.shared(np.arange(20.0).reshape(10, 2)), pt.iscalar("i")
    b, n = 4, 4 * number
    x = data.get_value()
    slices = [
        data[i * b : (i + 1) * b],
        data[b * i : i * b + b],
        data[i * 4 : 4 + 4 * i],
        data[i * b : i * b + b : 2],
        data.T[:, i * b : (i + 1) * b].T,
        data[i * b + pt.arange(b)],
    ]
    expected = [rows_or_nan(x, n, n + 4)] * 6
    expected[3] = rows_or_nan(x, n, n + 4, 2)
    for value, right in zip(compute(slices, [i], [number]), expected, strict=True):
        np.testing.assert_array_equal(value, right)


def test_slices_from_the_end():
    x, i = pt.vector(), pt.lscalar()
    for start, right in ((-3, [7, 8]), (-2, [NAN] * 2), (-11, [NAN, 0]), (9, [9, NAN])):
        value = compute(x[i : i + 2], [x, i], [np.arange(10.0), start])
        np.testing.assert_array_equal(value, right)


def test_slices_by_shapes():
    x, y = pt.matrix("x"), pt.vector("y")
    n = y.shape[0]
    values = compute([x[:, :n], x[n:], x[-n:]], [x, y], [X, np.zeros(3)])
    for value, right in zip(values, [X[:, :3], X[3:], X[-3:]], strict=True):
        np.testing.assert_array_equal(value, right)


def test_several_slices_at_once_and_numbers_beside():
    x, i = pt.tensor3(), pt.lscalar()
    values = np.arange(60.0).reshape(3, 4, 5)
    read = x[i, i : i + 2, 1 + i : 4 + i]
    written = pt.inc_subtensor(read, 1)
    expected = values.copy()
    expected[1, 1:3, 2:5] += 1
    read, written = compute([read, written], [x, i], [values, 1])
    np.testing.assert_array_equal(read, values[1, 1:3, 2:5])
    np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize("start", [0, 2, 3])
def test_writing_to_a_slice_and_its_gradient(start):
    x, y, i = pt.matrix(), pt.matrix(), pt.lscalar()
    set_to, added = pt.set_subtensor(x[i : i + 2], y), pt.inc_subtensor(x[i : i + 2], y)
    grad = pytensor.grad((x[i : i + 2] * y).sum(), x)
    values = np.ones((2, 6))
    right = [X.copy(), X.copy(), np.zeros_like(X)]
    right[0][start : start + 2] = 1
    right[1][start : start + 2] += 1
    right[2][start : start + 2] = 1
    if start == 3:
        for each in right:
            each[3] = NAN
    for value, expected in zip(
        compute([set_to, added, grad], [x, y, i], [X, values, start]), right, strict=True
    ):
        np.testing.assert_array_equal(value, expected)


def test_batches_of_a_data_set_on_the_device():
    data, i = pytensor.shared(X), pt.lscalar("i")
    x = pt.matrix("x")
    function = pytensor.function(
        [i], x.sum(), givens={x: data[i * 2 : (i + 1) * 2]}, mode=get_mode("jax")
    )
    assert [float(function(k)) for k in (0, 1)] == [X[:2].sum(), X[2:].sum()]
    assert np.isnan(function(2))


@pytest.mark.parametrize("write", [False, True])
def test_slices_whose_length_depends_on_values(write):
    x, n = pt.matrix("x"), pt.lscalar("n")
    for part, text in ((x[:n], ":n of axis 0"), (x[:, n:], "n: of axis 1"), (x[n : n * n], "n:")):
        part = pt.set_subtensor(part, 0) if write else part
        with pytest.raises(NotImplementedError, match=r"the slice .*pt\.arange") as error:
            compute(part, [x, n], [X, 2])
        assert text in str(error.value)
        assert "of x" in str(error.value)
