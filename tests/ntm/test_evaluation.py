import numpy as np
import pytest

from ntm.evaluation import bits_per_sequence, wrong_bits_per_sequence

TARGETS = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]])
MASK = np.array([[1.0, 1.0], [0.0, 1.0]])


def test_bits_by_hand():
    p = np.array([[[0.5, 0.25], [0.5, 1.0]], [[0.0, 0.0], [0.5, 0.75]]])
    expected = [1 - np.log2(0.75) + 1 + 0, 1 + 2]
    np.testing.assert_allclose(bits_per_sequence(p, TARGETS, MASK), expected, atol=1e-9)


def test_bits_at_chance_and_at_best():
    chance = bits_per_sequence(np.full_like(TARGETS, 0.5), TARGETS, MASK)
    np.testing.assert_allclose(chance, [4.0, 2.0])
    np.testing.assert_allclose(bits_per_sequence(TARGETS, TARGETS, MASK), 0.0, atol=1e-9)


def test_bits_of_the_worst_are_finite():
    worst = bits_per_sequence(1 - TARGETS, TARGETS, MASK)
    np.testing.assert_allclose(worst, [4 * -np.log2(1e-12), 2 * -np.log2(1e-12)], rtol=1e-4)
    milder = bits_per_sequence(1 - TARGETS, TARGETS, MASK, eps=1e-3)
    np.testing.assert_allclose(milder, [4 * -np.log2(1e-3), 2 * -np.log2(1e-3)], rtol=1e-4)


def test_bits_of_float32_are_summed_in_float64():
    p = np.full((1, 10_000, 8), 0.9, np.float32)
    expected = -80_000 * np.log2(np.float64(np.float32(0.9)))
    bits = bits_per_sequence(p, np.ones_like(p), np.ones((1, 10_000), np.float32))
    np.testing.assert_allclose(bits, expected, rtol=1e-12)


def test_wrong_bits():
    p = np.array([[[0.9, 0.6], [0.4, 0.51]], [[0.0, 0.0], [0.6, 0.2]]])
    np.testing.assert_array_equal(wrong_bits_per_sequence(p, TARGETS, MASK), [1, 1])
    np.testing.assert_array_equal(wrong_bits_per_sequence(1 - TARGETS, TARGETS, MASK), [4, 2])


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_what_is_no_number_is_wrong(target):
    p, targets = np.full((1, 2, 3), np.nan), np.full((1, 2, 3), target)
    np.testing.assert_array_equal(wrong_bits_per_sequence(p, targets, np.ones((1, 2))), [6])
    np.testing.assert_array_equal(wrong_bits_per_sequence(p, targets, np.zeros((1, 2))), [0])
    assert np.isnan(bits_per_sequence(p, targets, np.ones((1, 2)))).all()
