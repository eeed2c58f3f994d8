"""Batches of a task for the tests: sizes, seeds, batch sizes and padding of all kinds."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from ntm.tasks import Batch, Task

SEEDS = st.integers(0, 2**32)


class Sample(NamedTuple):
    """A batch, the task that gave it and the sizes of each of its sequences, a list of dicts."""

    task: Task
    sizes: list
    batch: Batch


@st.composite
def samples(draw, make_task, options, sizes, num_steps=None):
    """Samples of tasks `make_task(**options)`, given strategies for the options and for each sequence's sizes.

    The number of steps is given by `num_steps(task, **sizes)`, the tests' own idea of it, and some padding.
    """
    task = make_task(**draw(st.fixed_dictionaries(options)), seed=draw(SEEDS))
    each = draw(st.lists(st.fixed_dictionaries(sizes), min_size=1, max_size=4))
    needed = max((num_steps or type(task).num_steps)(task, **size) for size in each)
    steps = needed + draw(st.integers(0, 3))
    columns = {name: [size[name] for size in each] for name in sizes}
    batch = task.sample(len(each), num_steps=steps, **columns)
    assert batch.inputs.shape == (len(each), steps, task.num_inputs)
    assert batch.targets.shape == (len(each), steps, task.num_outputs)
    assert batch.mask.shape == (len(each), steps)
    assert {array.dtype for array in batch} == {np.dtype("float32")}
    return Sample(task, each, batch)


def bits_of(rows):
    """Rows of zeros and ones as lists of int; fails if there is anything else in them."""
    assert np.isin(rows, (0, 1)).all()
    return np.asarray(rows).astype(int).tolist()


def assert_sequence(sequence, inputs, targets, weights):
    """A sequence (inputs, targets, weights) is exactly this, and empty behind it."""
    for array, expected in zip(sequence, (inputs, targets, weights), strict=True):
        expected = np.array(expected, np.float32)
        np.testing.assert_array_equal(array[: len(expected)], expected)
        assert not array[len(expected) :].any()


def in_sequences(batch):
    """The sequences of a batch, one at a time."""
    return zip(*batch, strict=True)
