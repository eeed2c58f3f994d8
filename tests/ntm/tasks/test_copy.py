"""The copy task, the reversed one and the one upside down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import CopyTask, ReversedCopyTask, UpsideDownCopyTask

from .samples import SEEDS, assert_sequence, bits_of, in_sequences, samples

ANSWERS = {
    CopyTask: lambda vectors: vectors,
    ReversedCopyTask: lambda vectors: [vectors[-1 - k] for k in range(len(vectors))],
    UpsideDownCopyTask: lambda vectors: [list(reversed(list(v))) for v in vectors],
}
SAMPLES = st.sampled_from(list(ANSWERS)).flatmap(
    lambda task: samples(
        task,
        {"size": st.integers(1, 6)},
        {"length": st.integers(1, 8)},
        num_steps=lambda task, length: 2 * length + 2,
    )
)


def assert_is_copy(task, sequence, n):
    vectors = bits_of(sequence[0][:n, : task.size])
    nothing, end = [0] * (task.size + 1), [[0] * task.size + [1]]
    with_zero = [[*v, 0] for v in vectors]
    answer = [[*v, 0] for v in ANSWERS[type(task)](vectors)]
    assert_sequence(
        sequence,
        with_zero + end + [nothing] * (n + 1),
        [nothing] * (n + 1) + answer + end,
        [0] * (n + 1) + [1] * n + [0],  # the marker at the end does not count
    )


@given(SAMPLES)
def test_given_lengths(sample):
    task, sizes, batch = sample
    assert task.num_inputs == task.num_outputs == task.size + 1
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        assert_is_copy(task, sequence, size["length"])


@given(
    st.sampled_from(list(ANSWERS)), st.integers(1, 5), st.integers(0, 4), st.integers(1, 4), SEEDS
)
def test_random_lengths(make_task, min_length, more, batch_size, seed):
    task = make_task(3, min_length, min_length + more, batch_size, seed)
    batch = next(task)
    lengths = batch.mask.sum(axis=1).astype(int)
    assert lengths.min() >= min_length
    assert lengths.max() <= min_length + more
    assert batch.mask.shape[1] == 2 * lengths.max() + 2
    for n, sequence in zip(lengths, in_sequences(batch), strict=True):
        assert_is_copy(task, sequence, n)


def test_all_lengths_and_both_bits_come_up():
    task = CopyTask(size=8, min_length=2, max_length=5, batch_size=400, seed=0)
    batch = next(task)
    lengths = batch.mask.sum(axis=1)
    assert set(lengths) == {2, 3, 4, 5}
    bits = np.concatenate([x[: int(n), :-1] for x, n in zip(batch.inputs, lengths, strict=True)])
    assert abs(bits.mean() - 0.5) < 0.02


@pytest.mark.parametrize("make_task", ANSWERS)
def test_example(make_task):
    """The drawings of the docstrings."""
    batch = make_task(size=2, seed=0).sample(length=3)
    a, b, c = batch.inputs[0, :3, :2]
    o, end = [0, 0], [[0, 0, 1]]
    answer = {
        CopyTask: [a, b, c],
        ReversedCopyTask: [c, b, a],
        UpsideDownCopyTask: [a[[1, 0]], b[[1, 0]], c[[1, 0]]],
    }[make_task]
    np.testing.assert_array_equal(batch.inputs[0, :, :2], [a, b, c, o, o, o, o, o])
    np.testing.assert_array_equal(batch.targets[0, :, :2], [o, o, o, o, *answer, o])
    np.testing.assert_array_equal(batch.inputs[0, 3:4], end)
    np.testing.assert_array_equal(batch.targets[0, 7:], end)
    np.testing.assert_array_equal(batch.mask[0], [0, 0, 0, 0, 1, 1, 1, 0])


def test_defaults():
    task = CopyTask()
    assert (task.size, task.sizes, task.batch_size) == (8, {"length": (1, 20)}, 1)
    assert (task.num_inputs, task.num_outputs) == (9, 9)
    assert task.num_steps(20) == task.longest == 42
    assert (task.output, task.solved) == ("bits", ("bits", 0.01))
    assert iter(task) is task
