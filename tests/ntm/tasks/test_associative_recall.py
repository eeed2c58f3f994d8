from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import AssociativeRecallTask

from .samples import assert_sequence, bits_of, in_sequences, samples

FOLDER = Path(__file__).parents[2] / "data" / "oracles"

SAMPLES = samples(
    AssociativeRecallTask,
    {"size": st.integers(3, 5)},
    {"item_length": st.integers(1, 4), "items": st.integers(2, 8)},
    num_steps=lambda task, item_length, items: (item_length + 1) * (items + 2),
)


def read(inputs, size):
    """The items of a list, the query and the step at which the answer begins, as a reader of the markers finds them."""
    parts, step = [], 0
    for channel in (size, size + 1):
        while step < len(inputs) and inputs[step, channel] == 1:
            part, step = [], step + 1
            while step < len(inputs) and not inputs[step, size:].any():
                part += bits_of(inputs[step : step + 1, :size])
                step += 1
            parts.append((channel, part, step))
    items = [part for channel, part, _ in parts if channel == size]
    (_, query, marker), (_, rest, _) = (part for part in parts if part[0] == size + 1)
    assert not np.any(rest)
    return items, query, marker + 1


def assert_recalls(sequence, size, item_length, items):
    """A sequence is a list, a query and what came after it in the list, and empty behind."""
    given, query, begin = read(sequence[0], size)
    assert len(given) == items
    assert {len(item) for item in given} | {len(query)} == {item_length}
    assert all(item not in given[:k] for k, item in enumerate(given))
    answers = [after for item, after in pairwise(given) if item == query]
    assert len(answers) == 1
    nothing, item_marker, query_marker = ([0] * size + end for end in ([0, 0], [1, 0], [0, 1]))
    inputs = []
    for item in given:
        inputs += [item_marker] + [[*v, 0, 0] for v in item]
    inputs += [query_marker] + [[*v, 0, 0] for v in query] + [query_marker]
    assert len(inputs) == begin
    zeros = [0] * sequence[1].shape[1]
    assert_sequence(
        sequence,
        inputs + [nothing] * item_length,
        [zeros] * begin + [[*v, *zeros[size:]] for v in answers[0]],
        [0] * begin + [1] * item_length,
    )


@pytest.mark.slow
@given(SAMPLES)
def test_recalls(sample):
    task, sizes, batch = sample
    assert (task.num_inputs, task.num_outputs) == (task.size + 2, task.size)
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        assert_recalls(sequence, task.size, **size)


@pytest.mark.parametrize("k", range(8))
def test_layout_of_the_published_model(k):
    with np.load(FOLDER / "associative-recall.npz") as file:
        inputs, targets = file[f"input_{k}"][0], file[f"target_{k}"][0]
    size = inputs.shape[1] - 2
    items, query, begin = read(inputs, size)
    assert_recalls((inputs, targets, np.arange(len(inputs)) >= begin), size, len(query), len(items))
    task = AssociativeRecallTask(size=size)
    assert task.num_steps(len(query), len(items)) == len(inputs)
    ours = task.sample(item_length=len(query), items=len(items)).inputs[0]
    np.testing.assert_array_equal(ours[:, size:], inputs[:, size:])


@pytest.mark.slow
def test_every_item_but_the_last_is_asked_for():
    task = AssociativeRecallTask(size=4, min_items=5, max_items=5, seed=0)
    counts = Counter()
    for inputs in task.sample(2000).inputs:
        items, query, _ = read(inputs, 4)
        counts[items.index(query)] += 1
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 400
    assert max(counts.values()) < 600


@pytest.mark.slow
def test_all_lists_of_different_items_are_equally_probable():
    task = AssociativeRecallTask(2, 1, 1, 3, 3, batch_size=4800, seed=0)
    lists = Counter(str(read(inputs, 2)[0]) for inputs in next(task).inputs)
    assert len(lists) == 4 * 3 * 2
    expected = 4800 / 24
    assert sum((count - expected) ** 2 / expected for count in lists.values()) < 49.7  # 99.9 %


def test_as_many_items_as_there_are():
    task = AssociativeRecallTask(size=6, min_item_length=1, max_item_length=1, seed=0)
    for sequence in in_sequences(task.sample(3, items=64)):
        assert_recalls(sequence, 6, 1, 64)


def test_more_items_than_there_are():
    message = (
        "AssociativeRecallTask: there are 4 different items of 1 vectors of 2 bits, fewer than"
    )
    AssociativeRecallTask(size=2, min_item_length=1, max_items=4)
    with pytest.raises(ValueError, match=f"{message} items = 5"):
        AssociativeRecallTask(size=2, min_item_length=1, max_items=5)
    with pytest.raises(ValueError, match=f"{message} items = 7"):
        AssociativeRecallTask(size=2).sample(item_length=1, items=7)


def test_one_item():
    with pytest.raises(ValueError, match="min_items must be at least 2, not 1"):
        AssociativeRecallTask(min_items=1)
    with pytest.raises(ValueError, match="AssociativeRecallTask: items must be at least 2, not 1"):
        AssociativeRecallTask().sample(2, items=[3, 1])


def test_defaults():
    task = AssociativeRecallTask()
    assert task.sizes == {"item_length": (3, 3), "items": (2, 6)}
    assert (task.size, task.num_inputs, task.num_outputs, task.longest) == (6, 8, 6, 32)
