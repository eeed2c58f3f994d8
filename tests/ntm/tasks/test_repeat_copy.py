import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import RepeatCopyTask

from .samples import assert_sequence, bits_of, in_sequences, samples


def count_steps(task, length, repeats):
    return length + (repeats if task.unary else 1) + 1 + length * repeats + 1


SAMPLES = samples(
    RepeatCopyTask,
    {
        "size": st.integers(1, 4),
        "unary": st.booleans(),
        "min_repeats": st.integers(1, 3),
        "max_repeats": st.integers(3, 5),
    },
    {"length": st.integers(1, 5), "repeats": st.integers(1, 7)},
    count_steps,
)


@given(SAMPLES)
def test_repeats(sample):
    task, sizes, batch = sample
    assert (task.num_inputs, task.num_outputs) == (task.size + 2, task.size + 1)
    low, high = task.sizes["repeats"]
    values = range(low, high + 1)
    mean = sum(values) / len(values)
    std = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5 or 1
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        n, repeats = size["length"], size["repeats"]
        vectors = bits_of(sequence[0][:n, : task.size])
        zeros = [0] * task.size
        if task.unary:
            numbers = [[*zeros, 1, 0]] * repeats
        else:
            numbers = [[*zeros, np.float32((repeats - mean) / std), 0]]
        answer = []
        for _ in range(repeats):
            answer += [[*v, 0] for v in vectors]
        answer += [[*zeros, 1]]
        before = n + len(numbers) + 1
        assert_sequence(
            sequence,
            [[*v, 0, 0] for v in vectors]
            + numbers
            + [[*zeros, 0, 1]]
            + [[*zeros, 0, 0]] * len(answer),
            [[*zeros, 0]] * before + answer,
            [0] * before + [1] * len(answer),  # the end of the answer counts
        )


@given(st.integers(1, 30), st.integers(1, 30))
def test_the_number_has_mean_0_and_variance_1_and_goes_on_linearly(low, more):
    task = RepeatCopyTask(min_repeats=low, max_repeats=low + more)
    numbers = np.array([task.normalise(repeats) for repeats in range(low, low + more + 1)])
    np.testing.assert_allclose(numbers.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(numbers.var(), 1, rtol=1e-12)
    step = numbers[1] - numbers[0]
    assert step > 0
    np.testing.assert_allclose(task.normalise(low + more + 7), numbers[-1] + 7 * step, rtol=1e-12)


def test_the_numbers_that_are_drawn_have_mean_0_and_variance_1():
    task = RepeatCopyTask(size=1, max_length=1, min_repeats=3, max_repeats=9, seed=0)
    inputs, _, _ = task.sample(4000)
    assert abs(inputs[:, 1, 1].mean()) < 0.05
    assert abs(inputs[:, 1, 1].var() - 1) < 0.05


def test_one_number_of_repeats():
    task = RepeatCopyTask(min_repeats=4, max_repeats=4)
    assert [task.normalise(repeats) for repeats in (3, 4, 6)] == [-1, 0, 2]
    assert np.isfinite(next(task).inputs).all()


def test_the_number_stays_when_the_sizes_change():
    task = RepeatCopyTask(max_repeats=9)
    before = task.normalise(3)
    task.sizes["repeats"] = (1, 3)
    assert task.normalise(3) == before


@pytest.mark.parametrize("unary", [False, True])
def test_example(unary):
    """The drawing of the docstring."""
    task = RepeatCopyTask(size=2, max_repeats=3, unary=unary, seed=0)
    inputs, targets, mask = (array[0] for array in task.sample(length=2, repeats=3))
    a, b = inputs[:2, :2]
    o, z = [0, 0], np.float32(1 / np.sqrt(2 / 3))
    numbers = [1, 1, 1] if unary else [z]
    extra = [o] * (len(numbers) - 1)
    zeros = [0] * len(extra)
    np.testing.assert_array_equal(inputs[:, :2], [a, b, o, o, *extra, *[o] * 7])
    np.testing.assert_array_equal(inputs[:, 2], [0, 0, *numbers, 0, *[0] * 7])
    np.testing.assert_array_equal(inputs[:, 3], [0, 0, 0, *zeros, 1, *[0] * 7])
    np.testing.assert_array_equal(targets[:, :2], [o, o, o, o, *extra, a, b, a, b, a, b, o])
    np.testing.assert_array_equal(targets[:, 2], [0, 0, 0, 0, *zeros, 0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(mask, [0, 0, 0, 0, *zeros, 1, 1, 1, 1, 1, 1, 1])


def test_defaults():
    task = RepeatCopyTask()
    assert task.sizes == {"length": (1, 10), "repeats": (1, 10)}
    assert (task.size, task.unary, task.num_inputs, task.num_outputs) == (8, False, 10, 9)
    assert task.num_steps(2, 3) == task.num_steps(repeats=3, length=2) == 11
