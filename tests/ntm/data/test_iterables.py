"""Batches of iterables: what a batch may be, epochs, few shapes, errors, and a clear word where training resumes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntm.data import Batches, Dataset, Epochs, SourceExhausted
from ntm.data.iterables import round_steps

from .batches import assert_same_batches, damage, draw_epoch


def make_batch(rows=3, steps=4, value=1.0, features=2):
    return np.full((rows, steps, features), value), np.arange(rows) % 2


class Tensor:
    """Follows the protocol of a tensor of PyTorch."""

    def __init__(self, array, requires_grad=False, dtype="torch.float32"):
        self.array, self.requires_grad, self.dtype = np.asarray(array), requires_grad, dtype

    ndim = property(lambda self: self.array.ndim)
    shape = property(lambda self: self.array.shape)

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        return Tensor(self.array[index], self.requires_grad, self.dtype)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array

    def detach(self):
        return Tensor(self.array, False, self.dtype)

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.array, self.requires_grad)


class Loader:
    """Follows the protocol of a DataLoader of PyTorch: a length, batches as lists, no items."""

    def __init__(self, examples, batch_size, collate=None):
        self.examples, self.batch_size = examples, batch_size
        self.collate = collate or (
            lambda batch: [Tensor([x for x, _ in batch]), Tensor([y for _, y in batch])]
        )

    def __len__(self):
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.examples), self.batch_size):
            yield self.collate(self.examples[start : start + self.batch_size])


EXAMPLES = [(np.full((4, 2), float(k)), k % 2) for k in range(10)]
X = np.stack([x for x, _ in EXAMPLES])
Y = np.array([y for _, y in EXAMPLES])


def test_a_loader_gives_the_batches_of_the_arrays():
    source = Batches(Loader(EXAMPLES, 4))
    plain = Epochs(Dataset(X, Y), 4, shuffle=False)
    assert (source.batch_size, source.longest, source.steps_per_epoch) == (4, 4, 3)
    assert source.layout == plain.layout
    for _ in range(7):
        assert_same_batches(source.draw(), plain.draw())
        assert (source.epoch, source.num_sequences) == (plain.epoch, plain.num_sequences)


def pad(batch):
    """What a collate_fn does."""
    lengths = [len(x) for x, _ in batch]
    padded = np.zeros((len(batch), max(lengths), 2), np.float32)
    for row, (x, _) in zip(padded, batch, strict=True):
        row[: len(x)] = x
    return padded, np.array([y for _, y in batch]), np.array(lengths)


RAGGED = [(np.full((1 + 3 * k % 7, 2), float(k), np.float32), k % 2) for k in range(10)]


@pytest.mark.parametrize(
    "collate",
    [
        pad,
        lambda batch: tuple(map(Tensor, pad(batch))),
        lambda batch: dict(zip(("inputs", "targets", "lengths"), pad(batch), strict=True)),
        lambda batch: dict(zip("xy", zip(*batch, strict=True), strict=True)),
        lambda batch: tuple(zip(*batch, strict=True)),
        lambda batch: batch,
        lambda batch: [{"x": x, "y": y} for x, y in batch],
        lambda batch: [[Tensor(x, requires_grad=True) for x, _ in batch], [y for _, y in batch]],
    ],
    ids=["lengths", "tensors", "dict", "x-y", "zip", "examples", "dicts", "list"],
)
def test_what_a_batch_may_be(collate):
    source = Batches(Loader(RAGGED, 5, collate))
    data = Dataset([x for x, _ in RAGGED], [y for _, y in RAGGED])
    for indices in (np.arange(5), np.arange(5, 10)):
        assert_same_batches(source.draw(), data.take(indices, 7))


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (Tensor(X, requires_grad=True), X),
        (Tensor(X.astype(np.float32), dtype="torch.bfloat16"), X.astype(np.float32)),
        (X.astype(np.float16), X.astype(np.float16)),
    ],
)
def test_tensors_with_gradients_and_numbers_of_16_bits(tensor, expected):
    batch = Batches([(tensor, Y)]).draw()
    np.testing.assert_array_equal(batch.inputs["inputs"], expected, strict=True)


def test_masks_weights_and_several_inputs():
    mask = np.array([[1, 1, 0, 0], [0, 2, 1, 0.5], [1, 1, 1, 1]])
    x = np.ones((3, 4, 2))
    y = np.arange(12.0).reshape(3, 4, 1)
    batch = Batches([(x, y, mask, [1, 2, 0])]).draw()
    np.testing.assert_array_equal(batch.mask, mask)
    np.testing.assert_array_equal(batch.weights, [1, 2, 0])
    np.testing.assert_array_equal(batch.step_mask[0], [1, 1, 0, 0])
    several = {"inputs": {"left": x, "right": x[..., 0]}, "targets": y}
    flat = {"inputs.left": x, "inputs.right": x[..., 0], "targets": y}
    assert_same_batches(Batches([several]).draw(), Batches([flat]).draw())
    assert list(Batches([several]).layout.inputs) == ["left", "right"]
    ragged_mask = [np.ones(2), np.ones(3)]
    batch = Batches([([x[0, :2], x[1, :3]], [y[0, :2], y[1, :3]], ragged_mask)]).draw()
    np.testing.assert_array_equal(batch.mask, [[1, 1, 0], [1, 1, 1]])


def test_a_generator_ends_and_a_function_begins_anew():
    def generate():
        for value in (1.0, 2.0):
            yield make_batch(value=value)

    for batches in (generate(), iter([make_batch(), make_batch(value=2.0)])):
        source = Batches(batches)
        assert source.steps_per_epoch is None
        values = [batch.inputs["inputs"][0, 0, 0] for batch in draw_epoch(source)]
        assert values == [1, 2]
        assert source.epoch == 1
        for _ in range(2):
            with pytest.raises(SourceExhausted, match="no more batches after 6 sequences"):
                source.draw()
    source = Batches(generate)
    for epoch in range(3):
        assert len(list(draw_epoch(source))) == 2
        assert source.epoch == epoch + 1


def test_the_exception_of_an_iterable_comes_through_unchanged():
    error = KeyError("mine")

    def generate():
        yield make_batch()
        yield make_batch(value=2.0)
        raise error

    source = Batches(generate())
    assert [source.draw().inputs["inputs"][0, 0, 0] for _ in range(2)] == [1, 2]
    assert source.epoch == 0
    with pytest.raises(KeyError) as raised:
        source.draw()
    assert raised.value is error
    assert raised.traceback[-1].name == "generate"
    with pytest.raises(SourceExhausted):
        source.draw()

    def fail():
        raise error
        yield

    for broken in (fail(), fail):
        with pytest.raises(KeyError) as raised:
            Batches(broken)
        assert raised.value is error


def test_a_generator_may_use_an_array_again():
    def generate():
        x, y = make_batch()
        for value in (1.0, 2.0, 3.0):
            x[...] = value
            yield x, y

    batches = list(draw_epoch(Batches(generate())))
    assert [batch.inputs["inputs"].mean() for batch in batches] == [1, 2, 3]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 700))
def test_steps_are_rounded_to_few_numbers(num_steps, first):
    rounded = round_steps(num_steps, first)
    assert num_steps <= rounded
    assert rounded < 2 * num_steps or rounded == 1 or rounded == -(-first // 2**20)
    doubles = {first * 2**k for k in range(14)}
    halves = {-(-first // 2**k) for k in range(14)}
    assert rounded in doubles | halves
    assert round_steps(first, first) == first


def test_batches_of_changing_shape_are_compiled_for_few_shapes():
    rng = np.random.default_rng(0)
    sizes = np.stack([rng.integers(1, 9, 200), rng.integers(1, 301, 200)], 1).tolist()
    sizes[0] = [4, 100]
    source = Batches([make_batch(rows, steps) for rows, steps in sizes])
    shapes = set()
    for batch, (rows, steps) in zip(draw_epoch(source), sizes, strict=True):
        assert (batch.weights > 0).sum() == rows
        assert batch.step_mask[:rows].sum() == rows * steps
        shapes.add(batch.shape)
    assert {rows for rows, _ in shapes} == {4, 8}
    assert {steps for _, steps in shapes} <= {1, 2, 4, 7, 13, 25, 50, 100, 200, 400}
    # Batches that are padded to one length stay so, whatever the lengths
    lengths = ([3, 1], [9, 2], [5, 5])
    padded = [(np.ones((2, 10, 2)), [0, 1], each) for each in lengths]
    assert {batch.shape for batch in draw_epoch(Batches(padded))} == {(2, 10)}


def test_examples_are_collected():
    source = Batches(lambda: iter(EXAMPLES), batch_size=4)
    plain = Epochs(Dataset(X, Y), 4, shuffle=False)
    for _ in range(4):
        assert_same_batches(source.draw(), plain.draw())

    class Streamed:
        """Follows the protocol of an IterableDataset of Hugging Face."""

        column_names = ("x", "y")

        def __iter__(self):
            yield from ({"x": x.tolist(), "y": y} for x, y in EXAMPLES)

    source = Batches(Streamed())
    assert source.batch_size == 10
    np.testing.assert_array_equal(source.draw().inputs["inputs"], X)
    with pytest.raises(ValueError, match="in batches already, as their batch_size = 4 says"):
        Batches(Loader(EXAMPLES, 4), batch_size=4)


def test_integers_that_are_no_symbols_stay_numbers():
    first, second = np.array([[[-1], [3]]]), np.array([[[0], [3]]])
    source = Batches([(first, [0]), (second, [0])], num_outputs=2)
    assert not source.layout.inputs["inputs"].is_integer
    assert [source.draw().inputs["inputs"].dtype.kind for _ in range(2)] == ["f", "f"]
    with pytest.raises(ValueError, match="negative numbers or fractions: expected symbols"):
        [*draw_epoch(Batches([(second, [0]), (first, [0])], num_outputs=2))]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ((np.full((2, 3, 2), np.nan), [0, 1]), r"batch 1 of epoch 0: inputs\[0, 0, 0\] is nan"),
        ((np.ones((2, 3, 4)), [0, 1]), r"first batch: inputs: inputs: features: \[4\], not \[2\]"),
        ((np.ones((2, 3, 2)), [0, 2]), r"targets\[1\] is 2.* guessed from the first batch"),
        ((np.ones((2, 3, 2)), [0.5, 1]), r"targets\[0\] is 0.5: expected whole numbers"),
        ((np.ones((2, 3, 2)),), "batch 1 of epoch 0: .*no targets"),
        (np.ones((2, 3, 2)), "batch 1 of epoch 0: .*no targets"),
        ({"x": np.ones((2, 3, 2)), "z": 1}, "batch 1 of epoch 0: a dict: unknown name 'z'"),
        ((1, 2, 3, 4, 5), r"batch 1 of epoch 0: a tuple of 5: expected \(inputs, targets"),
        ((), r"batch 1 of epoch 0: a tuple of 0: expected \(inputs, targets"),
        ([], r"batch 1 of epoch 0: a list of 0: expected \(inputs, targets"),
        (None, "batch 1 of epoch 0: there are no targets"),
        (("text", "text"), "batch 1 of epoch 0: inputs is 'text'"),
    ],
)
def test_a_batch_that_is_not_as_it_should_be(second, message):
    source = Batches([make_batch(), second, make_batch(value=3.0)])
    source.draw()
    with pytest.raises(ValueError, match=message):
        source.draw()


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], ValueError, "there are no batches: expected one at least"),
        (iter(()), ValueError, "there are no batches: expected one at least"),
        (lambda: [], ValueError, "there are no batches: expected one at least"),
        (lambda size: [], TypeError, "must be an iterable.*not a function with arguments"),
        (5, TypeError, "must be an iterable.*not 5, of type int"),
        (lambda: None, TypeError, "must be an iterable.*not None, of type NoneType"),
        (EXAMPLES, ValueError, "If the data give examples and not batches, give batch_size"),
    ],
)
def test_what_holds_no_batches(batches, error, message):
    with pytest.raises(error, match=message):
        Batches(batches)


def test_an_epoch_without_batches_ends_the_source():
    batches = [make_batch()]
    source = Batches(lambda: [batches.pop()] if batches else [])
    source.draw()
    with pytest.raises(SourceExhausted):
        source.draw()


def test_resuming_warns_once_in_a_clear_sentence():
    def make():
        return Batches(Loader(EXAMPLES, 4))

    source = make()
    for _ in range(5):
        source.draw()
    state = json.loads(json.dumps(source.get_state()))
    assert (state["epoch"], state["batch"], state["num_sequences"]) == (1, 2, 18)
    source.set_state(state)  # Nothing changes, so there is no warning
    other = make()
    assert not other.can_seek
    other.draw()
    with pytest.warns(UserWarning, match="after batch 2 of epoch 1.*epoch 1 begins anew") as caught:
        other.set_state(state)
    assert len(caught) == 1
    assert (other.epoch, other.num_sequences) == (1, 18)
    assert_same_batches(other.draw(), make().draw())
    assert other.num_sequences == 22
    assert len(list(draw_epoch(other))) == 2

    for one_shot in (Batches(iter(Loader(EXAMPLES, 4))), Batches(iter(EXAMPLES), batch_size=4)):
        one_shot.draw()
        with pytest.warns(UserWarning, match="the iterator goes on where it is"):
            one_shot.set_state(state)
        np.testing.assert_array_equal(one_shot.draw().inputs["inputs"], X[4:8])


def test_states_of_others_are_refused_and_change_nothing():
    source = Batches(Loader(EXAMPLES, 4))
    source.draw()
    state = source.get_state()
    for given_state, message in (
        ([], "must be a dict of source, epoch"),
        (damage(state, source="Epochs"), "of a source 'Epochs', not Batches"),
        (damage(state, batch=-1), "batch must be an integer of at least 0, not -1"),
        (damage(state, num_sequences=1.5), "num_sequences must be an integer of at least 0"),
        (damage(state, data=damage(state["data"], num_outputs=3)), "num outputs: 3, not 2"),
        (damage(state, data=damage(state["data"], inputs={})), "other data: inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            source.set_state(given_state)
        assert source.get_state() == state
