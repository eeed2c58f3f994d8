"""The addition task and the argmax task."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import AdditionTask, ArgmaxTask

from .samples import assert_sequence, bits_of, in_sequences, samples


def find_last_maximum(numbers):
    place = 0
    for k, number in enumerate(numbers):
        if number >= numbers[place]:
            place = k
    return place


ANSWERS = {AdditionTask: sum, ArgmaxTask: find_last_maximum}
SAMPLES = st.sampled_from(list(ANSWERS)).flatmap(
    lambda task: samples(
        task,
        {"size": st.integers(2, 7)},
        {"length": st.integers(1, 9)},
        num_steps=lambda task, length: length + 1,
    )
)


@pytest.mark.slow
@given(SAMPLES)
def test_answers(sample):
    task, sizes, batch = sample
    assert (task.num_inputs, task.num_outputs) == (task.size, 1)
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        n = size["length"]
        rows = bits_of(sequence[0][:n])
        numbers = [row.index(1) for row in rows]
        assert max(numbers) <= task.size - 2
        assert_sequence(
            sequence,
            [[int(k == number) for k in range(task.size)] for number in numbers]
            + [[0] * (task.size - 1) + [1]],
            [[0]] * n + [[ANSWERS[type(task)](numbers)]],
            [0] * n + [1],
        )


@pytest.mark.parametrize("make_task", ANSWERS)
def test_all_numbers_come_up(make_task):
    inputs, _, _ = make_task(size=5, seed=0).sample(1000, length=2)
    counts = inputs[:, :2].sum(axis=(0, 1))
    assert counts[-1] == 0
    assert counts.sum() == 2000
    assert np.abs(counts[:-1] - 500).max() < 75


def test_examples():
    """The drawings of the docstrings."""
    assert AdditionTask().answer(np.array([4, 0, 3])) == 7
    assert ArgmaxTask().answer(np.array([4, 0, 4, 3])) == 2


@pytest.mark.parametrize("make_task", ANSWERS)
def test_defaults(make_task):
    task = make_task()
    assert (task.size, task.sizes, task.longest) == (6, {"length": (2, 10)}, 11)
    assert task.output == "numbers"
    assert task.measures == ("error", "correct")
    batch = task.sample(4)
    measured = task.measure(batch.targets + 0.25, batch)
    np.testing.assert_allclose(measured["error"], 0.25)
    np.testing.assert_array_equal(measured["correct"], 1)
    np.testing.assert_array_equal(task.measure(batch.targets - 0.75, batch)["correct"], 0)


def test_a_size_with_no_numbers():
    with pytest.raises(ValueError, match="AdditionTask: size must be at least 2, not 1"):
        AdditionTask(size=1)
