import numpy as np
import pytest

from ntm.reports.curves import thin
from ntm.reports.packing import TYPES, pack


def test_a_short_curve_stays_as_it_is():
    curve = thin([1, 2, 3], [3.0, np.nan, 1.0], most=3)
    np.testing.assert_array_equal(curve.sequences, [1, 2, 3])
    np.testing.assert_array_equal(curve.values, [3.0, np.nan, 1.0])
    assert (curve.low, curve.high, curve.rows_per_point, curve.num_missing) == (None, None, 1, 1)


def test_points_of_a_thinned_curve():
    nan, inf = np.nan, np.inf
    curve = thin(range(8), [5.0, 1.0, 3.0, nan, inf, nan, 2.0, 4.0], most=3)
    np.testing.assert_array_equal(curve.sequences, [2, 5, 7])
    np.testing.assert_array_equal(curve.values, [3.0, nan, 3.0])
    np.testing.assert_array_equal(curve.low, [1.0, nan, 2.0])
    np.testing.assert_array_equal(curve.high, [5.0, nan, 4.0])
    assert (curve.rows_per_point, curve.num_missing) == (3, 3)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 12345])
def test_the_number_of_points(count):
    curve = thin(np.arange(count), np.ones(count))
    assert len(curve.values) <= 1000
    assert count == 0 or curve.sequences[-1] == count - 1


@pytest.mark.parametrize("kind", TYPES)
def test_pack(kind):
    import base64

    values = np.array([[0.0, -2.0, 1.0], [np.nan, np.inf, 2.0]])
    packed = pack(values, kind)
    dtype, largest = TYPES[kind]
    numbers = np.frombuffer(base64.b64decode(packed["data"]), dtype).reshape(packed["shape"])
    is_missing = numbers == -largest - 1
    np.testing.assert_array_equal(is_missing, [[False] * 3, [True, True, False]])
    np.testing.assert_allclose(
        (numbers * packed["scale"])[~is_missing], [0, -2, 1, 2], atol=2 / largest
    )


def test_pack_zeros():
    packed = pack(np.zeros((2, 0)))
    assert (packed["data"], packed["shape"], packed["scale"]) == ("", [2, 0], 1.0)
