import numpy as np
import pytensor
import pytest

from ntm.init import OneHot


def test_rows_with_a_single_one():
    np.testing.assert_array_equal(OneHot().sample((1, 4)), [[1, 0, 0, 0]])
    np.testing.assert_array_equal(OneHot()((2, 3)), [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(OneHot()((4, 2)), [[1, 0], [0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision(dtype):
    with pytensor.config.change_flags(floatX=dtype):
        assert OneHot().sample((1, 3)).dtype == dtype


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3)])
def test_shapes_without_such_rows(shape):
    with pytest.raises(ValueError, match=r"OneHot needs a shape \(rows, columns\)") as caught:
        OneHot().sample(shape)
    assert str(shape) in str(caught.value)
