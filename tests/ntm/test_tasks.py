from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import CopyTask


def assert_is_copy(batch, size, lengths):
    """Every sequence of a batch is a copy problem of the given length, and empty after it."""
    inputs, targets, mask = batch
    assert inputs.shape == targets.shape == (*mask.shape, size + 1)
    assert {array.dtype for array in batch} == {np.dtype("float32")}
    assert set(np.unique(np.concatenate([inputs.ravel(), targets.ravel()]))) <= {0.0, 1.0}
    for x, y, m, n in zip(inputs, targets, mask, lengths, strict=True):
        expected = np.zeros(len(m))
        expected[n + 1 : 2 * n + 1] = 1  # the marker at the end does not count
        np.testing.assert_array_equal(m, expected)
        np.testing.assert_array_equal(np.flatnonzero(x[:, -1]), [n])
        assert not x[n, :-1].any()
        assert not x[n + 1 :].any()
        np.testing.assert_array_equal(y[n + 1 : 2 * n + 2], x[: n + 1])
        assert not y[: n + 1].any()
        assert not y[2 * n + 2 :].any()


@given(st.integers(1, 6), st.lists(st.integers(1, 8), min_size=1, max_size=4), st.integers(0, 5))
def test_given_lengths(size, lengths, padding):
    task = CopyTask(size=size, seed=0)
    num_steps = task.num_steps(max(lengths)) + padding
    batch = task.sample(len(lengths), length=lengths, num_steps=num_steps)
    assert batch.inputs.shape == (len(lengths), num_steps, task.num_features)
    assert_is_copy(batch, size, lengths)


@given(st.integers(1, 5), st.integers(0, 4), st.integers(1, 4), st.integers(0, 2**32))
def test_random_lengths(min_length, more, batch_size, seed):
    task = CopyTask(3, min_length, min_length + more, batch_size, seed)
    batch = next(task)
    lengths = batch.mask.sum(axis=1).astype(int)
    assert lengths.min() >= min_length
    assert lengths.max() <= min_length + more
    assert batch.inputs.shape[1] == task.num_steps(lengths.max())
    assert_is_copy(batch, 3, lengths)


@given(st.integers(0, 2**32))
def test_seeds(seed):
    one, two = (list(islice(CopyTask(batch_size=2, seed=seed), 3)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_other_seeds_give_other_sequences():
    one, two = (CopyTask(seed=seed).sample(4, length=10) for seed in (0, 1))
    assert not np.array_equal(one.inputs, two.inputs)
    task = CopyTask(seed=0)
    assert not np.array_equal(task.sample(length=10).inputs, task.sample(length=10).inputs)
    assert not np.array_equal(*(CopyTask().sample(9, length=9).inputs for _ in range(2)))


def test_generator_as_seed():
    rng = np.random.default_rng(3)
    batch = CopyTask(seed=rng).sample(length=5)
    expected = CopyTask(seed=3).sample(length=5)
    np.testing.assert_array_equal(batch.inputs, expected.inputs)


def test_all_lengths_and_both_bits_come_up():
    task = CopyTask(size=8, min_length=2, max_length=5, batch_size=400, seed=0)
    batch = next(task)
    lengths = batch.mask.sum(axis=1)
    assert set(lengths) == {2, 3, 4, 5}
    bits = np.concatenate([x[: int(n), :-1] for x, n in zip(batch.inputs, lengths, strict=True)])
    assert abs(bits.mean() - 0.5) < 0.02


def test_example():
    """The drawing of the docstring."""
    batch = CopyTask(size=2, seed=0).sample(length=3)
    a, b, c = batch.inputs[0, :3, :2]
    o, end = [0, 0], [[0, 0, 1]]
    np.testing.assert_array_equal(batch.inputs[0, :, :2], [a, b, c, o, o, o, o, o])
    np.testing.assert_array_equal(batch.targets[0, :, :2], [o, o, o, o, a, b, c, o])
    np.testing.assert_array_equal(batch.inputs[0, 3:4], end)
    np.testing.assert_array_equal(batch.targets[0, 7:], end)
    np.testing.assert_array_equal(batch.mask[0], [0, 0, 0, 0, 1, 1, 1, 0])


def test_defaults():
    task = CopyTask()
    assert (task.size, task.min_length, task.max_length, task.batch_size) == (8, 1, 20, 1)
    assert task.num_features == 9
    assert iter(task) is task


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be positive, not 0"),
        ({"batch_size": -1}, "batch_size must be positive, not -1"),
        ({"min_length": 0}, "min_length must be positive, not 0"),
        ({"min_length": 5, "max_length": 4}, "min_length = 5 is above max_length = 4"),
    ],
)
def test_sizes_that_are_none(options, message):
    with pytest.raises(ValueError, match=f"CopyTask: {message}"):
        CopyTask(**options)


def test_samples_that_cannot_be():
    task = CopyTask()
    with pytest.raises(ValueError, match=r"CopyTask: lengths must be positive, not 0"):
        task.sample(2, length=[3, 0])
    with pytest.raises(ValueError, match=r"CopyTask: 3 vectors take 8 steps, more than .* = 7"):
        task.sample(length=3, num_steps=7)


def test_random_lengths_fall_into_four_buckets():
    task = CopyTask(max_length=20, batch_size=2, seed=0)
    longest = task.num_steps(20)
    lengths = set()
    for length in range(1, 21):
        batch = task.sample(length=length)
        padded = batch.pad_to_bucket(longest)
        steps = padded.mask.shape[1]
        lengths.add(steps)
        assert padded.inputs.shape == padded.targets.shape == (2, steps, 9)
        for array, before in zip(padded, batch, strict=True):
            np.testing.assert_array_equal(array[:, : before.shape[1]], before)
            assert not array[:, before.shape[1] :].any()
    assert lengths == {11, 21, 32, 42}
    assert task.sample(length=20).pad_to_bucket(longest, 1).mask.shape == (2, longest)


def test_buckets_that_do_not_fit():
    batch = CopyTask(seed=0).sample(length=5)
    with pytest.raises(ValueError, match="12 steps, more than longest = 11"):
        batch.pad_to_bucket(11)
    with pytest.raises(ValueError, match="num_buckets must be positive, not 0"):
        batch.pad_to_bucket(12, 0)
