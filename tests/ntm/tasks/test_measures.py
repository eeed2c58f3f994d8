import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ntm.tasks.measures import (
    MEASURES,
    all_bits_correct,
    all_classes_correct,
    all_digits_correct,
    all_numbers_correct,
    bits_per_sequence,
    class_bits_per_sequence,
    digit_bits_per_sequence,
    error_per_sequence,
    wrong_bits_per_sequence,
    wrong_classes_per_sequence,
    wrong_digits_per_sequence,
    wrong_numbers_per_sequence,
)

TARGETS = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]])
MASK = np.array([[1.0, 1.0], [0.0, 1.0]])
CLASSES = np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
DIGITS = np.eye(10)[[[[1, 2], [0, 9]], [[3, 3], [8, 0]]]].reshape(2, 2, 20)
NUMBERS = np.array([[[3.0, -1.0], [0.0, 7.0]], [[2.0, 2.0], [5.0, 1.0]]])
ALL_MEASURES = [
    bits_per_sequence,
    wrong_bits_per_sequence,
    all_bits_correct,
    class_bits_per_sequence,
    wrong_classes_per_sequence,
    all_classes_correct,
    digit_bits_per_sequence,
    wrong_digits_per_sequence,
    all_digits_correct,
    error_per_sequence,
    wrong_numbers_per_sequence,
    all_numbers_correct,
]


# ---- Bits


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


def test_a_probability_of_a_half_is_no_one():
    halves, weights = np.full((1, 1, 2), 0.5), np.ones((1, 1))
    assert wrong_bits_per_sequence(halves, np.array([[[0.0, 1.0]]]), weights) == [1]
    assert all_bits_correct(halves, np.zeros((1, 1, 2)), weights) == [1]
    above = np.nextafter(halves, 1.0)
    assert all_bits_correct(above, np.ones((1, 1, 2)), weights) == [1]


def test_all_bits_correct():
    p = np.array([[[0.9, 0.6], [0.4, 0.51]], [[0.0, 0.0], [0.4, 0.2]]])
    np.testing.assert_array_equal(all_bits_correct(p, TARGETS, MASK), [0, 1])


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_bits_that_are_no_number(target):
    p, targets = np.full((1, 2, 3), np.nan), np.full((1, 2, 3), target)
    np.testing.assert_array_equal(wrong_bits_per_sequence(p, targets, np.ones((1, 2))), [6])
    np.testing.assert_array_equal(wrong_bits_per_sequence(p, targets, np.zeros((1, 2))), [0])
    np.testing.assert_array_equal(bits_per_sequence(p, targets, np.ones((1, 2))), [np.inf])
    np.testing.assert_array_equal(bits_per_sequence(p, targets, np.zeros((1, 2))), [0])


# ---- Classes


def test_class_bits_by_hand():
    p = np.array([[[0.5, 0.25, 0.25], [0.5, 0.375, 0.125]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    np.testing.assert_allclose(class_bits_per_sequence(p, CLASSES, MASK), [4, 0], atol=1e-9)
    worst = class_bits_per_sequence(1 - CLASSES, CLASSES, MASK)
    np.testing.assert_allclose(worst, [-2 * np.log2(1e-12), -np.log2(1e-12)])
    milder = class_bits_per_sequence(1 - CLASSES, CLASSES, MASK, eps=0.25)
    np.testing.assert_allclose(milder, [4, 2])


def test_wrong_classes():
    p = np.array([[[0.5, 0.25, 0.25], [0.5, 0.4, 0.1]], [[0.0, 0.0, 1.0], [0.4, 0.3, 0.3]]])
    np.testing.assert_array_equal(wrong_classes_per_sequence(p, CLASSES, MASK), [1, 0])
    np.testing.assert_array_equal(all_classes_correct(p, CLASSES, MASK), [0, 1])
    np.testing.assert_array_equal(wrong_classes_per_sequence(p, CLASSES, np.ones((2, 2))), [1, 1])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_classes_that_are_no_number(place):
    """A step with one such probability is lost, whichever class it is of."""
    p = CLASSES.copy()
    p[:, :, place] = np.nan
    np.testing.assert_array_equal(wrong_classes_per_sequence(p, CLASSES, MASK), [2, 1])
    np.testing.assert_array_equal(class_bits_per_sequence(p, CLASSES, MASK), [np.inf, np.inf])
    p[1, 1] = CLASSES[1, 1]
    np.testing.assert_array_equal(all_classes_correct(p, CLASSES, MASK), [0, 1])


# ---- Digits


def test_digit_bits_by_hand():
    p = DIGITS.copy()
    p[0, 0, 1] = 0.25
    p[0, 1, 19] = 0.5
    p[1, 0, :] = 0.0
    np.testing.assert_allclose(digit_bits_per_sequence(p, DIGITS, MASK), [3, 0], atol=1e-9)
    worst = digit_bits_per_sequence(1 - DIGITS, DIGITS, MASK)
    np.testing.assert_allclose(worst, [-4 * np.log2(1e-12), -2 * np.log2(1e-12)])


def test_wrong_digits():
    p = 0.6 * DIGITS + 0.04
    p[0, 0, 5] = 0.7  # the first digit of the first step
    p[0, 1, 12] = p[0, 1, 3] = 0.7  # both digits of a step, which is one that is wrong
    p[1, 1, 9] = 0.63
    np.testing.assert_array_equal(wrong_digits_per_sequence(p, DIGITS, MASK), [2, 0])
    np.testing.assert_array_equal(all_digits_correct(p, DIGITS, MASK), [0, 1])


@pytest.mark.parametrize("place", [0, 7, 13])
def test_digits_that_are_no_number(place):
    p = DIGITS.copy()
    p[:, :, place] = np.nan
    np.testing.assert_array_equal(wrong_digits_per_sequence(p, DIGITS, MASK), [2, 1])
    np.testing.assert_array_equal(digit_bits_per_sequence(p, DIGITS, MASK), np.inf)


@pytest.mark.parametrize("measure", [digit_bits_per_sequence, wrong_digits_per_sequence])
def test_digits_of_other_than_ten(measure):
    values = np.zeros((2, 3, 12))
    with pytest.raises(ValueError, match=f"^{measure.__name__}: .*ten outputs each, not 12 in all"):
        measure(values, values, np.ones((2, 3)))


# ---- Numbers


def test_error_by_hand():
    p = NUMBERS + np.array([[[0.5, -1.0], [2.0, 0.0]], [[9.0, 9.0], [0.25, -0.75]]])
    np.testing.assert_allclose(error_per_sequence(p, NUMBERS, MASK), [3.5 / 4, 0.5])
    np.testing.assert_allclose(error_per_sequence(p, NUMBERS, 2 * MASK), [3.5 / 4, 0.5])
    weights = np.array([[1.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(error_per_sequence(p, NUMBERS, weights), [(0.75 + 3) / 4, 0])


def test_wrong_numbers():
    p = NUMBERS + np.array([[[0.4, -0.4], [-0.6, 0.0]], [[9.0, 9.0], [0.4, -0.4]]])
    np.testing.assert_array_equal(wrong_numbers_per_sequence(p, NUMBERS, MASK), [1, 0])
    np.testing.assert_array_equal(all_numbers_correct(p, NUMBERS, MASK), [0, 1])
    np.testing.assert_array_equal(all_numbers_correct(p, NUMBERS, np.ones((2, 2))), [0, 0])


def test_numbers_are_both_rounded():
    targets, weights = np.array([[[2.4, 2.4, 0.5, 2.0]]]), np.ones((1, 1))
    p = np.array(
        [[[1.6, 2.6, -0.4, 2.5]]]
    )  # Near and right, near and wrong, far and right, a half to the even
    assert wrong_numbers_per_sequence(p, targets, weights) == [1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(value):
    p = NUMBERS.copy()
    p[0, 1, 0] = p[1, 0, 0] = value
    np.testing.assert_array_equal(error_per_sequence(p, NUMBERS, MASK), [np.inf, 0])
    np.testing.assert_array_equal(wrong_numbers_per_sequence(p, NUMBERS, MASK), [1, 0])
    np.testing.assert_array_equal(all_numbers_correct(p, NUMBERS, MASK), [0, 1])


# ---- All of them


def test_every_measure_is_of_some_output():
    assert list(MEASURES) == ["bits", "classes", "digits", "numbers"]
    used = [function for measures in MEASURES.values() for function in measures.values()]
    assert set(used) == set(ALL_MEASURES) - {wrong_numbers_per_sequence}


@pytest.mark.parametrize("measure", ALL_MEASURES)
class TestEveryMeasure:
    @pytest.mark.slow
    @settings(deadline=None)
    @given(
        predictions=arrays(
            np.float32, (2, 3, 10), elements=st.floats(0, 1, width=32) | st.just(np.nan)
        ),
        classes=arrays(np.int64, (2, 3), elements=st.integers(0, 1)),
        mask=arrays(np.float32, (2, 3), elements=st.sampled_from([0, 0.5, 1])),
        other=st.sampled_from([0.0, 0.75, 3.0, np.nan, np.inf]),
    )
    def test_only_steps_that_count_count(self, measure, predictions, classes, mask, other):
        targets = np.eye(10)[classes]
        values = measure(predictions, targets, mask)
        assert values.shape == (2,)
        assert values.dtype == np.float64
        assert not np.isnan(values).any()
        changed = np.where(mask[:, :, None] == 0, other, predictions)
        np.testing.assert_array_equal(measure(changed, targets, mask), values)
        longer = [
            np.pad(array, [(0, 0), (0, 2)] + [(0, 0)] * (array.ndim - 2))
            for array in (predictions, targets, mask)
        ]
        np.testing.assert_allclose(measure(*longer), values, rtol=1e-12)
        np.testing.assert_array_equal(
            measure(predictions[::-1], targets[::-1], mask[::-1]), values[::-1]
        )

    def test_weights(self, measure):
        """They weigh bits; what is counted is counted once."""
        p, targets, mask = np.full((1, 2, 10), 0.4), np.ones((1, 2, 10)), np.array([[1.0, 0.0]])
        targets[0, :, 0] = 0.0
        expected = measure(p, targets, mask)
        if measure in (bits_per_sequence, class_bits_per_sequence, digit_bits_per_sequence):
            expected = expected / 2
        np.testing.assert_allclose(measure(p, targets, mask / 2), expected, rtol=1e-12)
        assert (expected > 0) == (not measure.__name__.startswith("all"))

    @pytest.mark.parametrize(
        "shapes",
        [
            [(2, 3, 1), (2, 3, 4), (2, 3)],
            [(2, 3, 4), (2, 1, 4), (2, 3)],
            [(2, 3, 4), (2, 3, 4), (2, 1)],
            [(2, 3, 4), (2, 3, 4), (2, 3, 1)],
            [(2, 3), (2, 3), (2, 3)],
        ],
    )
    def test_shapes_that_do_not_agree(self, measure, shapes):
        name = measure.__name__.replace("all_", "wrong_").replace("correct", "per_sequence")
        message = f"^{name}: .* not {shapes[0]}, {shapes[1]} and {shapes[2]}$"
        with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
            measure(*(np.zeros(shape) for shape in shapes))
