"""make_source: which source a user's data become."""

import json

import numpy as np
import pytest

from ntm.data import Batches, Dataset, Epochs, make_source

from .batches import assert_same_batches

X, Y = np.arange(60.0).reshape(10, 3, 2), np.arange(10) % 3


class Examples:
    """Follows the protocol of a map-style data set of PyTorch or Hugging Face."""

    def __init__(self, convert):
        self.convert = convert

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return self.convert(X[index], Y[index])


def as_tuple(x, y):
    return x, y


def as_dict(x, y):
    return {"x": x, "y": y}


def save(folder):
    np.savez(folder / "data.npz", inputs=X, targets=Y)
    return folder / "data.npz"


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (list(X), Y.tolist()),
        (X.tolist(), Y.tolist(), [3] * 10),
        (X, Y, np.ones((10, 3), "f"), np.ones(10, "f")),
        {"inputs": X, "targets": Y},
        {"x": X, "y": Y, "lengths": [3] * 10},
        list(zip(X, Y, strict=True)),
        [{"x": x, "label": y} for x, y in zip(X, Y, strict=True)],
        Examples(as_tuple),
        Examples(as_dict),
        Dataset(X, Y),
        save,
        lambda folder: str(save(folder)),
    ],
)
def test_data_of_known_length_come_in_epochs(data, tmp_path):
    source = make_source(data(tmp_path) if callable(data) else data, batch_size=4, seed=3)
    assert isinstance(source, Epochs)
    assert source.can_seek
    plain = Epochs(Dataset(X, Y), 4, seed=3)
    for _ in range(4):
        assert_same_batches(source.draw(), plain.draw())


def test_a_file_that_is_opened_again_goes_on_exactly(tmp_path):
    source = make_source(save(tmp_path), batch_size=4)
    for _ in range(4):
        source.draw()
    state = json.loads(json.dumps(source.get_state()))
    for data in (tmp_path / "data.npz", (X, Y)):
        again = make_source(data, batch_size=4)
        again.set_state(state)
        twin = make_source((X, Y), batch_size=4)
        for _ in range(4):
            twin.draw()
        for _ in range(5):
            assert_same_batches(again.draw(), twin.draw())
    np.savez(tmp_path / "data.npz", inputs=X + (X == 7), targets=Y)
    with pytest.raises(ValueError, match="the state is of other data: crc32"):
        make_source(tmp_path / "data.npz", batch_size=4).set_state(state)


def test_options_reach_the_data():
    source = make_source((X, Y % 2), kind="bits", per="sequence", num_outputs=1)
    assert source.layout == Dataset(X, Y % 2, kind="bits").layout
    assert source.batch_size == 10
    many = np.ones((100, 2, 1)), np.zeros(100, int)
    assert make_source(many).batch_size == 32
    source = make_source(iter([(X, Y)]), num_outputs=5)
    assert source.layout.num_outputs == 5


@pytest.mark.parametrize(
    "data", [iter([(X, Y)]), lambda: [(X, Y)], ((X, Y) for _ in range(2)), Batches([(X, Y)])]
)
def test_iterables_give_batches(data):
    source = make_source(data)
    assert isinstance(source, Batches)
    assert not source.can_seek
    np.testing.assert_array_equal(source.draw().inputs["inputs"], X)


def test_an_iterable_of_examples():
    source = make_source(zip(X, Y, strict=True), batch_size=4)
    assert source.draw().shape == (4, 3)


def test_a_list_holds_examples_and_batches_of_a_list_are_asked_for():
    batches = [(X, Y[:, None] * np.ones(3)), (X, Y[:, None] * np.ones(3))]
    assert Batches(batches).layout.inputs["inputs"].features == (2,)
    assert make_source(batches).layout.inputs["inputs"].features == (3, 2)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (X, {}, TypeError, r"must be a tuple \(inputs, targets\), not a single ndarray"),
        ((X,), {}, ValueError, "there are no targets"),
        ({"x": X}, {}, ValueError, "there are no targets"),
        (Dataset(X), {}, ValueError, "there are no targets"),
        ([X, Y], {}, ValueError, "there are no targets: data is a list of 2: expected a tuple"),
        (Examples(lambda x, y: x), {}, ValueError, "there are no targets"),
        ((X, Y, None, None, None), {}, ValueError, "a tuple of 5: expected"),
        ({"x": X, "y": Y, "z": Y}, {}, ValueError, "unknown name 'z'"),
        ((X, Y[:9]), {}, ValueError, "targets has 9 sequences: expected 10"),
        ([], {}, ValueError, "empty: expected one sequence at least"),
        (5, {}, TypeError, "must be an iterable"),
        (None, {}, TypeError, "must be an iterable"),
        (Dataset(X, Y), {"kind": "bits"}, ValueError, "kind cannot be given for a Dataset"),
        (
            Batches([(X, Y)]),
            {"batch_size": 4},
            ValueError,
            "batch_size cannot be given for a Batch",
        ),
        ((X, Y), {"batch_size": 0}, ValueError, "batch_size must be a positive integer, not 0"),
        ((X, Y), {"seed": -1}, ValueError, "seed must be an integer of at least 0, not -1"),
    ],
)
def test_what_is_no_data(data, options, error, message):
    with pytest.raises(error, match=message):
        make_source(data, **options)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        make_source(tmp_path / "none")


def test_the_parts_of_a_data_set():
    class Part(Examples):
        column_names = ("x", "y")

    parts = {"train": Part(as_dict), "test": Part(as_dict)}
    with pytest.raises(ValueError, match=r"parts train, test: give one of them, .*data\['train'\]"):
        make_source(parts)
