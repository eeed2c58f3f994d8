"""The two sort tasks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import PrioritySortTask, SortTask

from .samples import assert_sequence, bits_of, in_sequences, samples


@given(
    samples(
        SortTask,
        {"size": st.integers(1, 5)},
        {"length": st.integers(1, 9)},
        num_steps=lambda task, length: 2 * length + 1,
    )
)
def test_sorts_numbers(sample):
    task, sizes, batch = sample
    assert (task.num_inputs, task.num_outputs) == (task.size + 1, task.size)
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        n = size["length"]
        read = bits_of(sequence[0][:n, : task.size])
        numbers = [int("".join(map(str, bits)), base=2) for bits in read]
        answer = [[int(bit) for bit in f"{k:0{task.size}b}"] for k in sorted(numbers)]
        zeros = [0] * task.size
        assert_sequence(
            sequence,
            [[*bits, 0] for bits in read] + [[*zeros, 1]] + [[*zeros, 0]] * n,
            [zeros] * (n + 1) + answer,
            [0] * (n + 1) + [1] * n,
        )


def test_sorts_numbers_of_more_bits_than_integers_have():
    inputs, targets, _ = SortTask(size=100, seed=0).sample(length=30)
    rows = sorted(bits_of(inputs[0, :30, :100]))
    assert bits_of(targets[0, 31:]) == rows


def test_all_numbers_come_up():
    inputs, _, _ = SortTask(size=3, seed=0).sample(1600, length=1)
    values, counts = np.unique(inputs[:, 0, :3] @ [4, 2, 1], return_counts=True)
    assert values.tolist() == list(range(8))
    assert counts.min() > 150
    assert counts.max() < 250


def test_sort_defaults():
    task = SortTask()
    assert (task.size, task.sizes, task.longest) == (8, {"length": (1, 5)}, 11)


@given(
    samples(
        PrioritySortTask,
        {"size": st.integers(1, 4), "num_sorted": st.integers(1, 6)},
        {"items": st.integers(1, 9)},
        num_steps=lambda task, items: items + 1 + min(items, task.num_sorted),
    )
)
def test_sorts_by_priority(sample):
    task, sizes, batch = sample
    assert (task.num_inputs, task.num_outputs) == (task.size + 2, task.size)
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        n = size["items"]
        vectors = bits_of(sequence[0][:n, : task.size])
        priorities = sequence[0][:n, task.size].tolist()
        assert all(-1 <= priority <= 1 for priority in priorities)
        ranked = sorted(zip(priorities, vectors, strict=True), key=lambda pair: -pair[0])
        answer = [vector for _, vector in ranked][: task.num_sorted]
        zeros = [0] * task.size
        read = [[*v, p, 0] for v, p in zip(vectors, priorities, strict=True)]
        assert_sequence(
            sequence,
            read + [[*zeros, 0, 1]] + [[*zeros, 0, 0]] * len(answer),
            [zeros] * (n + 1) + answer,
            [0] * (n + 1) + [1] * len(answer),
        )


def test_equal_priorities_keep_their_order():
    class FewPriorities(np.random.Generator):
        def uniform(self, low, high, size):
            return np.arange(size) % 3 / 4

    task = PrioritySortTask(size=20, num_sorted=900, seed=FewPriorities(np.random.PCG64(0)))
    inputs, targets, _ = task.sample(items=900)
    ranked = [inputs[0, first:900:3, :20] for first in (2, 1, 0)]
    np.testing.assert_array_equal(targets[0, 901:], np.concatenate(ranked))


def test_priorities_are_uniform():
    inputs, _, _ = PrioritySortTask(seed=0).sample(200)
    shares, _ = np.histogram(inputs[:, :20, 8], bins=8, range=(-1, 1))
    assert shares.sum() == 4000
    assert np.abs(shares - 500).max() < 75


@pytest.mark.parametrize(("items", "steps"), [(20, 37), (16, 33), (3, 7)])
def test_answers_are_never_longer_than_what_was_read(items, steps):
    task = PrioritySortTask()
    assert task.num_steps(items) == steps
    assert task.sample(items=items).mask.sum() == min(items, 16)


def test_priority_sort_defaults():
    task = PrioritySortTask()
    assert (task.size, task.num_sorted, task.sizes) == (8, 16, {"items": (20, 20)})
    assert task.longest == 37
