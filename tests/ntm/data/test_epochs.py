"""Epochs: each sequence once, few shapes, exact resuming."""

import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntm.data import Dataset
from ntm.data.epochs import Epochs, choose_lengths

from .batches import assert_same_batches, damage, draw_epoch


def make_dataset(lengths):
    """Sequence k holds the number k + 1 in each step."""
    sequences = [np.full((length, 1), k + 1.0) for k, length in enumerate(lengths)]
    return Dataset(sequences, np.arange(len(lengths)) % 2)


def list_sequences(batch):
    """The numbers of a batch's sequences, rows of weight 0 left out."""
    return (batch.inputs["inputs"][batch.weights > 0, 0, 0] - 1).astype(int).tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 50), st.integers(1, 5))
def test_each_sequence_comes_once_an_epoch_in_few_shapes(lengths, batch_size, num_buckets):
    dataset = make_dataset(lengths)
    source = Epochs(dataset, batch_size, num_buckets=num_buckets)
    shapes = set()
    for epoch in range(2):
        seen, num_batches = [], 0
        for batch in draw_epoch(source):
            num_batches += 1
            rows = list_sequences(batch)
            assert rows == source.indices.tolist()
            np.testing.assert_array_equal(
                batch.step_mask.sum(axis=1)[: len(rows)], np.array(lengths)[rows]
            )
            # Rows that fill the batch repeat its sequences, so whatever the loss is, it is finite
            assert (batch.weights[len(rows) :] == 0).all()
            assert batch.mask.any(axis=1).all()
            shapes.add(batch.shape)
            seen += rows
        assert sorted(seen) == list(range(len(lengths)))
        assert num_batches == source.steps_per_epoch
        assert source.epoch == epoch + 1
        assert source.num_sequences == (epoch + 1) * len(lengths)
    assert len(shapes) <= num_buckets
    assert {rows for rows, _ in shapes} == {source.batch_size}
    assert max(steps for _, steps in shapes) == source.longest == max(lengths)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 60),
    st.booleans(),
)
def test_a_resumed_source_goes_on_exactly(lengths, batch_size, num_buckets, position, shuffle):
    def make():
        return Epochs(make_dataset(lengths), batch_size, 7, shuffle, num_buckets)

    source, other = make(), make()
    for _ in range(position):
        source.draw()
    state = json.loads(json.dumps(source.get_state()))
    for _ in range(position % 3):
        other.draw()  # Whatever it has drawn before
    other.set_state(state)
    assert other.get_state() == source.get_state() == state
    for _ in range(source.steps_per_epoch + 2):
        assert_same_batches(source.draw(), other.draw())


def test_the_order_follows_from_seed_and_epoch():
    def draw_orders(seed, shuffle=True):
        source = Epochs(make_dataset([3] * 50), 8, seed, shuffle)
        return [list(itertools.chain(*map(list_sequences, draw_epoch(source)))) for _ in range(2)]

    first, second = draw_orders(0)
    assert draw_orders(0) == [first, second]
    assert first != second
    assert draw_orders(1)[0] not in (first, second)
    assert draw_orders(0, shuffle=False) == [list(range(50))] * 2


def test_batches_of_long_and_short_sequences_are_mixed():
    source = Epochs(make_dataset([2] * 60 + [9] * 60), 4, num_buckets=2)
    steps = [batch.shape[1] for batch in draw_epoch(source)]
    assert 8 < sum(a != b for a, b in itertools.pairwise(steps)) < 22


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 4))
def test_no_other_lengths_take_fewer_steps(lengths, batch_size, num_buckets):
    def count_steps(chosen):
        buckets = np.searchsorted(chosen, lengths)
        counts = np.bincount(buckets, minlength=len(chosen))
        return sum(-(-counts // batch_size) * batch_size * np.array(chosen))

    known = sorted(set(lengths))
    fewest = min(
        count_steps(each)
        for size in range(1, num_buckets + 1)
        for each in itertools.combinations(known, size)
        if each[-1] == known[-1]
    )
    chosen = choose_lengths(np.array(lengths), batch_size, num_buckets)
    assert len(chosen) <= num_buckets
    assert count_steps(chosen) == fewest


def test_few_sequences_share_a_bucket():
    # Four buckets of ten sequences would be four batches, mostly of filled rows
    assert choose_lengths(np.repeat([5, 6, 7, 8], 10), 32, 4).tolist() == [5, 8]
    assert choose_lengths(np.full(100, 5), 32, 4).tolist() == [5]


def test_twenty_thousand_ragged_sequences():
    lengths = np.random.default_rng(0).integers(1, 501, 20_000)
    source = Epochs(make_dataset(lengths), 32)
    batches = [(batch.shape, list_sequences(batch)) for batch in draw_epoch(source)]
    assert sorted(k for _, rows in batches for k in rows) == list(range(20_000))
    assert len({shape for shape, _ in batches}) == 4
    steps = sum(rows * steps for (rows, steps), _ in batches)
    assert steps < 1.27 * lengths.sum()  # One length for all would take 2.0 times as many


def test_a_step_does_not_take_longer_with_more_sequences():
    def measure(num_sequences):
        source = Epochs(Dataset(np.ones((num_sequences, 2, 1)), np.zeros((num_sequences, 1))))
        source.draw()
        times = []
        for _ in range(30):
            start = time.perf_counter()
            source.draw()
            times.append(time.perf_counter() - start)
        return min(times)

    assert measure(200_000) < 5 * measure(200) + 1e-4


def test_states_of_others_are_refused_and_change_nothing():
    source = Epochs(make_dataset([2, 3, 4, 2, 3]), 2)
    source.draw()
    state = source.get_state()
    options = state["options"]
    for given_state, message in (
        (None, "must be a dict of source, epoch, batch"),
        ({}, "must be a dict of source, epoch, batch"),
        (damage(state, more=1), "must be a dict of source, epoch, batch"),
        (damage(state, source="Stream"), "of a source 'Stream', not Epochs"),
        (damage(state, epoch=-1), "epoch must be an integer of at least 0, not -1"),
        (damage(state, epoch=True), "epoch must be an integer of at least 0, not True"),
        (damage(state, epoch=0.0), "epoch must be an integer of at least 0, not 0.0"),
        (damage(state, batch="1"), "batch must be an integer of at least 0, not '1'"),
        (damage(state, batch=3), "batch must be below 3, the batches of an epoch, not 3"),
        (damage(state, batch=None), "batch must be an integer of at least 0, not None"),
        (damage(state, num_sequences=5), r"num_sequences must be \d in epoch 0 at batch 1, not 5"),
        (damage(state, epoch=10**30), "num_sequences must be"),
        (
            damage(state, options=damage(options, batch_size=3)),
            "other options: batch size: 3, not 2",
        ),
        (damage(state, options=damage(options, seed=1)), "other options: seed: 1, not 0"),
        (damage(state, options=damage(options, shuffle=1)), "other options: shuffle: 1, not True"),
        (damage(state, options=[]), r"other options: \[\], not"),
        (damage(state, data="x"), "the state is of other data"),
        (damage(state, data={}), "the state is of other data"),
    ):
        with pytest.raises(ValueError, match=message):
            source.set_state(given_state)
        assert source.get_state() == state
    twin = Epochs(make_dataset([2, 3, 4, 2, 3]), 2)
    twin.draw()
    assert_same_batches(twin.draw(), source.draw())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "Epochs: batch_size must be a positive integer, not 0"),
        ({"batch_size": 2.0}, "Epochs: batch_size must be a positive integer, not 2.0"),
        ({"batch_size": True}, "Epochs: batch_size must be a positive integer, not True"),
        ({"seed": -1}, "Epochs: seed must be an integer of at least 0, not -1"),
        ({"seed": None}, "Epochs: seed must be an integer of at least 0, not None"),
        ({"shuffle": "no"}, "Epochs: shuffle must be True or False, not 'no'"),
        ({"num_buckets": 0}, "Epochs: num_buckets must be a positive integer, not 0"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Epochs(make_dataset([2, 3]), **options)
