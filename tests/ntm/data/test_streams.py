"""Streams: windows of long series, rows that stay rows, resets, boundaries, exact resuming."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntm.data import Dataset, Stream

from .batches import assert_same_batches, damage, draw_epoch


def make_dataset(lengths):
    """Step t of series k holds 1000 (k + 1) + t; the target is the next step's."""
    series = [1000.0 * (k + 1) + np.arange(length + 1)[:, None] for k, length in enumerate(lengths)]
    return Dataset([each[:-1] for each in series], [each[1:] for each in series], kind="numbers")


def list_rows(source):
    """The series that each row of an epoch goes through: at each reset a new one, padding left out."""
    rows = [[] for _ in range(source.batch_size)]
    for batch in draw_epoch(source):
        for row, steps in enumerate(batch.step_mask.astype(bool)):
            assert batch.shape == (source.batch_size, source.longest)
            values = batch.inputs["inputs"][row, :, 0]
            assert (values[~steps] == 0).all()
            np.testing.assert_array_equal(batch.targets[row, steps, 0], values[steps] + 1)
            assert (batch.mask[row] == steps).all()
            assert batch.weights[row] == steps.any()
            if batch.resets[row]:
                rows[row].append([])
            if steps.any():
                rows[row][-1] += values[steps].tolist()
    return rows


def simulate(lengths, window, batch_size, order):
    """What the rows go through, and how many batches: each row takes the next series when its own has ended."""
    waiting, rows, left, num_batches = (
        list(order),
        [[] for _ in range(batch_size)],
        [0] * batch_size,
        0,
    )
    while waiting or any(left):
        for row in range(batch_size):
            if not left[row] and waiting:
                rows[row].append(waiting.pop(0))
                left[row] = -(-lengths[rows[row][-1]] // window)
        left = [max(0, each - 1) for each in left]
        num_batches += 1
    return rows, num_batches


SIZES = (
    st.lists(st.integers(1, 12), min_size=1, max_size=12),
    st.integers(1, 6),
    st.integers(1, 5),
)


@settings(max_examples=25, deadline=None)
@given(*SIZES, st.booleans())
def test_rows_go_through_series_one_after_another(lengths, window, batch_size, shuffle):
    dataset = make_dataset(lengths)
    source = Stream(dataset, window, batch_size, seed=1, shuffle=shuffle)
    window, batch_size = min(window, max(lengths)), min(batch_size, len(lengths))
    assert (source.longest, source.batch_size) == (window, batch_size)
    total = sum(-(-length // window) for length in lengths)
    for epoch in range(2):
        rows = list_rows(source)
        assert source.num_sequences == (epoch + 1) * total
        order = [int(series[0] // 1000 - 1) for row in rows for series in row]
        assert sorted(order) == list(range(len(lengths)))
        for row in rows:
            for series in row:
                start = series[0]
                length = lengths[int(start // 1000 - 1)]
                np.testing.assert_array_equal(series, start + np.arange(length))
        if not shuffle:
            expected, num_batches = simulate(lengths, window, batch_size, range(len(lengths)))
            assert [[int(s[0] // 1000 - 1) for s in row] for row in rows] == expected
            assert source.steps_per_epoch == num_batches


@settings(max_examples=25, deadline=None)
@given(*SIZES, st.integers(0, 60))
def test_a_resumed_stream_goes_on_exactly(lengths, window, batch_size, position):
    def make():
        return Stream(make_dataset(lengths), window, batch_size, seed=2)

    source, other = make(), make()
    for _ in range(position):
        source.draw()
    state = json.loads(json.dumps(source.get_state()))
    for _ in range(position % 3):
        other.draw()
    other.set_state(state)
    assert other.get_state() == source.get_state() == state
    for _ in range(20):
        assert_same_batches(source.draw(), other.draw())


def test_the_order_follows_from_seed_and_epoch():
    def list_orders(seed):
        source = Stream(make_dataset([4] * 30), 2, 3, seed=seed)
        return [[s[0] for row in list_rows(source) for s in row] for _ in range(2)]

    first, second = list_orders(0)
    assert list_orders(0) == [first, second]
    assert first != second
    assert list_orders(1)[0] != first


def test_boundaries_cut_series():
    x = np.arange(1.0, 21).reshape(2, 10, 1)
    boundaries = np.zeros((2, 10), bool)
    boundaries[0, [0, 3, 7]] = boundaries[1, 9] = True
    source = Stream(Dataset(x, x + 1, lengths=[8, 10]), 4, boundaries=boundaries, shuffle=False)
    assert (source.num_series, source.batch_size) == (5, 2)
    series = sorted(series for row in list_rows(source) for series in row)
    assert series == [[1, 2, 3], [4, 5, 6, 7], [8], [*range(11, 20)], [20]]
    ragged = [row[:length] for row, length in zip(boundaries, [8, 10], strict=True)]
    twin = Stream(Dataset(x, x + 1, lengths=[8, 10]), 4, boundaries=ragged, shuffle=False)
    twin.set_state(source.get_state())
    other = Stream(Dataset(x, x + 1, lengths=[8, 10]), 4, boundaries=~boundaries, shuffle=False)
    with pytest.raises(ValueError, match="other options: boundaries"):
        other.set_state(source.get_state())


def test_masks_weights_and_inputs_without_time():
    x, context = np.ones((2, 5, 3)), np.array([[1.0, 2], [3, 4]])
    mask = np.array([[1, 0, 1, 1, 1], [1, 1, 0.5, 0, 0]])
    dataset = Dataset({"x": x, "context": context}, np.ones((2, 5, 1)), mask, weights=[2, 3])
    source = Stream(dataset, 2, shuffle=False)
    batches = list(draw_epoch(source))
    np.testing.assert_array_equal(batches[0].mask, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(batches[1].mask, [[1, 1], [0.5, 0]])
    np.testing.assert_array_equal([batch.weights for batch in batches], [[2, 3], [2, 3], [2, 0]])
    np.testing.assert_array_equal(batches[1].inputs["context"], context)
    np.testing.assert_array_equal([batch.resets for batch in batches], [[1, 1], [0, 0], [0, 0]])


def test_only_windows_of_a_long_series_are_read(tmp_path, monkeypatch):
    np.save(tmp_path / "inputs.npy", np.arange(4_000_000, dtype=np.float32).reshape(4, -1, 1))
    x = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    source = Stream(Dataset(x, x, kind="numbers"), 50, seed=1)
    assert source.steps_per_epoch == 20_000
    source.draw()
    sizes = []
    read = type(source.dataset).take_windows

    def note(self, *arguments):
        batch = read(self, *arguments)
        sizes.append(batch.inputs["inputs"].size)
        return batch

    monkeypatch.setattr(type(source.dataset), "take_windows", note)
    state = damage(source.get_state(), epoch=3, batch=19_999, num_sequences=4 * 79_999)
    source.set_state(state)
    last, first = source.draw(), source.draw()
    starts = np.sort(last.inputs["inputs"][:, 0, 0])
    np.testing.assert_array_equal(starts, np.arange(1, 5) * 1_000_000 - 50)
    assert first.resets.all()
    assert not last.resets.any()
    assert sizes == [200, 200]


def test_states_of_others_are_refused_and_change_nothing():
    source = Stream(make_dataset([5, 3, 4]), 2, 2)
    source.draw()
    state = source.get_state()
    options = state["options"]
    for given_state, message in (
        (damage(state, source="Epochs"), "of a source 'Epochs', not Stream"),
        (damage(state, batch=10**9), "batch must be below"),
        (damage(state, num_sequences=0), "num_sequences must be 2 in epoch 0 at batch 1, not 0"),
        (damage(state, options=damage(options, window=3)), "other options: window: 3, not 2"),
        (damage(state, data=damage(state["data"], num_steps=13)), "num steps: 13, not 12"),
    ):
        with pytest.raises(ValueError, match=message):
            source.set_state(given_state)
        assert source.get_state() == state
    with pytest.raises(ValueError, match="other data: num sequences: 3, not 2"):
        Stream(make_dataset([5, 3]), 2, 2).set_state(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "Stream: window must be a positive integer, not 0"),
        ({"batch_size": 1.5}, "Stream: batch_size must be a positive integer, not 1.5"),
        ({"seed": "x"}, "Stream: seed must be an integer of at least 0, not 'x'"),
        ({"shuffle": 2}, "Stream: shuffle must be True or False, not 2"),
        ({"boundaries": np.zeros((1, 5), bool)}, "boundaries must have a row for each of 2 seq"),
        ({"boundaries": np.zeros((2, 4), bool)}, r"boundaries\[0\] must be truth values for each"),
        ({"boundaries": np.zeros((2, 5))}, r"boundaries\[0\] must be.* not an array of float64"),
        ({"boundaries": np.zeros((2, 5, 1), bool)}, r"boundaries\[0\] must be.* shape \(5, 1\)"),
        ({"boundaries": 5}, "boundaries must have a row for each of 2 sequences, not 0"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Stream(make_dataset([5, 3]), **{"window": 2, **options})


def test_what_cannot_be_streamed():
    with pytest.raises(TypeError, match="Stream: dataset must be a Dataset, not ndarray"):
        Stream(np.ones((2, 3, 1)), 2)
    with pytest.raises(ValueError, match="Stream: there is one target for each sequence"):
        Stream(Dataset(np.ones((2, 3, 1)), [0, 1]), 2)
