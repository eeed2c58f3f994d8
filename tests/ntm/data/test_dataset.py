"""Data sets of arrays, ragged lists and examples: what is taken, and what is refused."""

import re

import numpy as np
import pytest

import ntm
from ntm.data import InputLayout, Layout
from ntm.data import dataset as module

N, T, F, O = 6, 5, 3, 4
rng = np.random.default_rng(0)
X = rng.normal(size=(N, T, F)).astype(np.float32)
LABELS = np.array([0, 3, 1, 2, 3, 0])
STEPS = np.array([2, 5, 1, 5, 3, 4])
RAGGED = [x[:length] for x, length in zip(X, STEPS, strict=True)]


def change(array, index, value, dtype=None):
    """Return a copy with another value at an index."""
    array = np.array(array, dtype)
    array[index] = value
    return array


# ---- Taking


def test_take_pads_a_ragged_list():
    lengths = rng.integers(1, 2001, 3000)
    inputs = [rng.normal(size=(length, 2)) for length in lengths]
    targets = [rng.integers(0, 5, length) for length in lengths]
    data = ntm.Dataset(inputs, targets)
    assert data.layout == Layout({"inputs": InputLayout((2,))}, "classes", 5, True)
    assert data.lengths.tolist() == lengths.tolist()
    assert data.longest == lengths.max()
    rows = [4, 1, 2900]
    batch = data.take(rows, num_steps=2100)
    assert batch.shape == (3, 2100)
    for k, row in enumerate(rows):
        length = lengths[row]
        np.testing.assert_array_equal(batch.inputs["inputs"][k, :length], inputs[row])
        np.testing.assert_array_equal(batch.targets[k, :length], targets[row])
        assert not batch.inputs["inputs"][k, length:].any()
        assert not batch.targets[k, length:].any()
        for mask in (batch.mask, batch.step_mask):
            assert mask[k].tolist() == [1] * length + [0] * (2100 - length)
    assert data.take(rows).shape == (3, max(lengths[rows]))
    assert data.take(rows).resets is None


@pytest.mark.parametrize("rows", [[2, 2, 4], [3, 1, 2], [5, 4], [1, 2, 3]])
def test_take_rows_in_any_order(rows):
    for inputs in (X, list(X)):
        np.testing.assert_array_equal(ntm.Dataset(inputs).take(rows).inputs["inputs"], X[rows])


def test_batches_are_copies():
    """A batch may be changed without a change to the data."""
    inputs = X.copy()
    batch = ntm.Dataset(inputs, X.copy(), kind="own").take(range(N))
    batch.inputs["inputs"][:] = 7
    batch.targets[:] = 7
    np.testing.assert_array_equal(inputs, X)


def test_mask_gives_lengths_and_hides_targets():
    mask = np.zeros((N, T))
    mask[:, 1] = 0.5
    mask[2, 3] = 2
    inputs = change(X, (0, 4, 1), np.nan)  # after the last step that counts
    targets = np.full((N, T), -100)
    targets[mask != 0] = 2
    data = ntm.Dataset(inputs, targets, mask)
    assert data.lengths.tolist() == [2, 2, 4, 2, 2, 2]
    batch = data.take([0, 2])
    np.testing.assert_array_equal(batch.mask, [[0, 0.5, 0, 0], [0, 0.5, 0, 2]])
    np.testing.assert_array_equal(batch.step_mask, [[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(batch.targets, [[0, 2, 0, 0], [0, 2, 0, 2]])
    assert np.isfinite(batch.inputs["inputs"]).all()


def test_ragged_lists_win_over_the_mask():
    mask = [np.arange(n) == 0 for n in STEPS]
    assert ntm.Dataset(RAGGED, LABELS, mask).lengths.tolist() == STEPS.tolist()
    assert ntm.Dataset(list(X), LABELS, np.eye(N, T) + 1e-9 * (np.arange(T) < 3)).longest == T


def test_given_lengths_win_over_the_mask():
    mask = np.ones((N, T))
    mask[:, -1] = 0
    data = ntm.Dataset(X, LABELS, mask, lengths=np.full(N, T))
    assert data.lengths.tolist() == [T] * N
    data = ntm.Dataset(X, LABELS, mask, lengths=[2.0] * N)
    np.testing.assert_array_equal(data.take([0], T).mask, [[1, 1, 0, 0, 0]])


@pytest.mark.parametrize(
    "mask", [np.ones((N, T), bool), np.ones((N, T), np.uint8), [np.ones(n) for n in STEPS]]
)
def test_masks_of_several_types(mask):
    batch = ntm.Dataset(RAGGED, LABELS, mask).take(range(N))
    np.testing.assert_array_equal(batch.mask, np.arange(T) < STEPS[:, None])


def test_several_inputs():
    context = rng.normal(size=(N, 7))
    data = ntm.Dataset(
        {"context": context, "sequence": RAGGED, "symbols": [r[:, 0] > 0 for r in RAGGED]}, LABELS
    )
    assert data.layout.inputs == {
        "context": InputLayout((7,), has_time=False),
        "sequence": InputLayout((F,)),
        "symbols": InputLayout(()),
    }
    batch = data.take([4, 0])
    np.testing.assert_array_equal(batch.inputs["context"], context[[4, 0]])
    np.testing.assert_array_equal(
        batch.inputs["symbols"], [X[4, :3, 0] > 0, [*(X[0, :2, 0] > 0), 0]]
    )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (">f4", "float32"),
        (np.float16, "float16"),
        (np.longdouble, "float64"),
        (np.uint8, "int32"),
        (">i8", "int32"),
        (bool, "float32"),
    ],
)
def test_dtypes_of_inputs(dtype, expected):
    inputs = np.asfortranarray((X > 0).astype(dtype))
    data = ntm.Dataset(inputs, LABELS)
    batch = data.take([5, 2])
    assert batch.inputs["inputs"].dtype == expected
    assert type(batch.inputs["inputs"]) is np.ndarray
    np.testing.assert_array_equal(batch.inputs["inputs"], (X > 0)[[5, 2]])
    assert data.layout.inputs["inputs"].num_symbols == (2 if expected == "int32" else 0)


def test_integers_as_numbers():
    """Negative integers are no symbols; large ones need int64."""
    assert ntm.Dataset(-np.ones((N, T), int)).layout.inputs["inputs"] == InputLayout(())
    data = ntm.Dataset(np.full((N, T), 2**40))
    assert data.layout.inputs["inputs"] == InputLayout((), True, True, 2**40 + 1)
    assert data.take([0]).inputs["inputs"].tolist() == [[2**40] * T]


def test_what_reads_as_an_array():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return X

    class Tensor:
        def __dlpack__(self, **options):
            return X.__dlpack__(**options)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    assert ntm.Dataset(X, LABELS.astype(object)).layout.num_outputs == 4
    ragged_objects = np.empty(N, object)
    ragged_objects[:] = RAGGED
    for inputs in (Frame(), Tensor(), X.tolist(), list(X), tuple(X)):
        data = ntm.Dataset(inputs, LABELS.tolist())
        np.testing.assert_allclose(data.take([3]).inputs["inputs"], X[3:4])
        assert data.layout.num_outputs == 4
    data = ntm.Dataset(ragged_objects, LABELS)
    np.testing.assert_array_equal(data.take([2]).inputs["inputs"], X[2:3, :1])


def test_without_targets():
    data = ntm.Dataset(RAGGED)
    assert not data.has_targets
    assert data.take([1, 2]).targets.shape == (2, 0)
    assert "no targets" in data.describe()


def test_take_windows():
    inputs = [np.arange(n * 2).reshape(n, 2) for n in (7, 3, 5)]
    targets = [np.arange(n) for n in (7, 3, 5)]
    data = ntm.Dataset(inputs, targets).subset([2, 0])
    batch = data.take_windows([0, 1, 0], [3, 4, 0], 3)
    np.testing.assert_array_equal(batch.targets, [[3, 4, 0], [4, 5, 6], [0, 1, 2]])
    np.testing.assert_array_equal(batch.step_mask, [[1, 1, 0], [1, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(batch.inputs["inputs"][..., 0], batch.targets * 2)
    dense = ntm.Dataset(np.arange(24).reshape(2, 12), np.arange(24).reshape(2, 12) % 3)
    np.testing.assert_array_equal(
        dense.take_windows([1, 1], [2, 9], 4).inputs["inputs"], [[14, 15, 16, 17], [21, 22, 23, 0]]
    )
    with pytest.raises(ValueError, match="one target a sequence"):
        ntm.Dataset(X, LABELS).take_windows([0], [0], 2)
    with pytest.raises(ValueError, match="starts must be 2 integers from 0"):
        dense.take_windows([0, 1], [0, -1], 2)


# ---- Parts


def test_split_and_subset():
    inputs = np.arange(100).reshape(50, 2)
    data = ntm.Dataset(inputs, inputs[:, 0] % 7, weights=np.arange(1, 51))
    train, validation, test = data.split(0.1, 8, seed=3)
    assert [len(part) for part in (train, validation, test)] == [37, 5, 8]
    found = [part.take(range(len(part))) for part in (train, validation, test)]
    numbers = np.concatenate([batch.inputs["inputs"][:, 0] for batch in found])
    assert sorted(numbers) == list(range(0, 100, 2))
    for part, batch in zip((train, validation, test), found, strict=True):
        np.testing.assert_array_equal(batch.weights, batch.inputs["inputs"][:, 0] / 2 + 1)
        np.testing.assert_array_equal(batch.targets, batch.inputs["inputs"][:, 0] % 7)
        assert part.layout == data.layout
    again = data.split(0.1, 8, seed=3)[1]
    np.testing.assert_array_equal(again.take(range(5)).targets, found[1].targets)
    assert again.fingerprint() == validation.fingerprint() != test.fingerprint()
    ordered = data.split(0.2, seed=None)
    assert ordered[1].take([0, 9]).inputs["inputs"][:, 0].tolist() == [80, 98]
    odd = train.subset(np.arange(37) % 2 == 1).subset([2, 2])
    assert odd.take([1]).inputs["inputs"][0, 0] == found[0].inputs["inputs"][5, 0]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([0.01], "0.01 of 6 sequences is an empty part"),
        ([3, 3], "leave none of 6"),
        ([1.0], "a size must be a fraction between 0 and 1"),
        ([0], "a size must be a fraction"),
        ([True], "a size must be a fraction"),
        ([-1], "a size must be a fraction"),
    ],
)
def test_splits_that_are_refused(sizes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ntm.Dataset(X, LABELS).split(*sizes)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], "one index at least"),
        ([6], "index 6 is out of range: expected 0 to 5"),
        ([0, -1], "index -1"),
        ([0.0], "all integers"),
        ([True] * 5, "truth values must have shape"),
        ([[0]], "shape (1, 1)"),
    ],
)
def test_indices_that_are_refused(indices, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ntm.Dataset(X, LABELS).subset(indices)


def test_num_steps_that_are_refused():
    data = ntm.Dataset(RAGGED, LABELS)
    assert data.take([0], 2).shape == (1, 2)
    with pytest.raises(ValueError, match="has 5 steps, more than num_steps = 4"):
        data.take([0, 1], 4)


# ---- Fingerprints and descriptions


def test_fingerprint_tells_data_apart():
    prints = [
        ntm.Dataset(*arguments, **options).fingerprint()
        for arguments, options in [
            ((X, LABELS), {}),
            ((change(X, (3, 4, 2), 9), LABELS), {}),
            ((X, LABELS[::-1]), {}),
            ((X, LABELS), {"num_outputs": 5}),
            ((X, LABELS), {"weights": [1, 1, 1, 1, 1, 2]}),
            ((RAGGED, LABELS), {}),
            ((X[:5], LABELS[:5]), {}),
        ]
    ]
    assert all(a != b for k, a in enumerate(prints) for b in prints[:k])
    assert ntm.Dataset(list(X), LABELS.astype(">i2")).fingerprint() == prints[0]
    long = np.zeros((1, 3000, 1))
    ends = [change(long, (0, step), 1) for step in (0, 511, 2999)]
    assert len({ntm.Dataset(each).fingerprint()["crc32"] for each in [long, *ends]}) == 4
    assert ntm.data.Dataset(X, LABELS).fingerprint() == ntm.files.from_json(
        ntm.files.to_json(prints[0])
    )


def test_describe():
    assert (
        ntm.Dataset(X, LABELS).describe()
        == "6 sequences of 5 steps, 3 numbers a step; targets: 4 classes, one a sequence "
        "(guessed from int64 values 0 to 3)"
    )
    text = ntm.Dataset({"a": RAGGED, "b": X[:, 0, :2]}, X[:, :, 0], kind="numbers").describe()
    assert text == (
        "6 sequences of 1 to 5 steps, 'a': 3 numbers a step, 'b': 2 numbers a sequence; targets: 1 number a step"
    )


# ---- Examples that are read when they are needed


class Examples:
    """A map-style data set, as of PyTorch."""

    def __init__(self, make, count=N):
        self.make, self.count, self.read = make, count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(index)
        return self.make(index)


@pytest.mark.parametrize(
    "make",
    [
        lambda k: (RAGGED[k], int(LABELS[k])),
        lambda k: (RAGGED[k].tolist(), LABELS[k], np.ones(STEPS[k]), 1.0),
        lambda k: {"x": RAGGED[k], "label": LABELS[k]},
        lambda k: {
            "inputs.inputs": RAGGED[k],
            "targets": LABELS[k],
            "weights": 1,
            "length": STEPS[k],
        },
        lambda k: ({"inputs": RAGGED[k]}, LABELS[k]),
        lambda k: (RAGGED[k], LABELS[k], STEPS[k]),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_examples(make, as_list):
    data = ntm.Dataset([make(k) for k in range(N)] if as_list else Examples(make))
    expected = ntm.Dataset(RAGGED, LABELS)
    assert data.layout == expected.layout
    for array, other in zip(data.take([3, 0])[1:5], expected.take([3, 0])[1:5], strict=True):
        np.testing.assert_array_equal(array, other)
    np.testing.assert_allclose(
        data.take([3, 0]).inputs["inputs"], expected.take([3, 0]).inputs["inputs"]
    )


def test_only_the_examples_taken_are_read():
    source = Examples(lambda k: (RAGGED[k], LABELS[k]))
    data = ntm.Dataset(source)
    assert sorted(source.read) == sorted([*range(N)] * 2)
    source.read.clear()
    data.split(0.5)
    data.fingerprint()
    assert source.read == []
    data.take([4, 1])
    data.take([4, 1])
    assert source.read == [4, 1, 4, 1]


def test_examples_of_a_batch_at_once():
    """An object of PyTorch or Hugging Face may read several examples at once."""

    class Fast(Examples):
        def __getitems__(self, indices):
            return [(RAGGED[k], LABELS[k]) for k in indices]

    source = Fast(lambda k: None)
    assert ntm.Dataset(source).take([3, 1]).targets.tolist() == [2, 3]
    assert source.read == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda k: (RAGGED[k], "cat"), "targets[0] is 'cat', a string: expected numbers as labels"),
        (
            lambda k: (X[k] if k < 4 else X[k, :, :2], 0),
            "inputs[4] has shape (5, 2): expected (T, 3)",
        ),
        (lambda k: {"x": X[k]} if k != 2 else {"x": X[k], "y": 0}, "example 2 has inputs, targets"),
        (lambda k: {"image": X[k], "label": 0}, "example 0: unknown name 'image'"),
        (lambda k: (X[k], 0, np.ones(T), 1, 1), "example 0 is a tuple of 5"),
        (lambda k: (X[k], None), "targets[0] is None, of type NoneType"),
        (lambda k: (X[k] * (np.nan if k == 5 else 1), 0), "inputs[5, 0, 0] is nan"),
    ],
)
def test_examples_that_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ntm.Dataset(Examples(make))


def test_examples_that_change_are_refused():
    now = {"x": 0.0, "y": 0, "T": T}
    data = ntm.Dataset(Examples(lambda k: (X[k, : now["T"]] + now["x"], LABELS[k] + now["y"])))
    for name, value, message in [
        ("x", np.nan, r"inputs\[1\] has changed since it was checked: expected finite"),
        ("y", 3, r"targets\[1\] has changed .* integers from 0 to 3"),
        ("T", 4, re.escape("inputs[1] has shape (4, 3) now: expected (5, 3)")),
    ]:
        before, now[name] = now[name], value
        with pytest.raises(ValueError, match=message):
            data.take([1, 2])
        now[name] = before
        assert data.take([1, 2]).targets.tolist() == [3, 1]


# ---- What is refused

ONES = np.ones((N, T))
BAD = {
    "nan": ((change(X, (3, 4, 1), np.nan), LABELS), {}, "inputs[3, 4, 1] is nan: expected finite"),
    "inf": ((change(X, (0, 1, 2), -np.inf), LABELS), {}, "inputs[0, 1, 2] is -inf"),
    "too large": ((change(X, (2, 0, 0), 1e39, float),), {}, "inputs[2, 0, 0] is 1e+39"),
    "nan in a ragged list": ((change(RAGGED[:1] * 3, (1, 0, 2), np.nan),), {}, "inputs[1, 0, 2]"),
    "nan in half precision": ((change(X, (1, 0, 0), np.nan, "f2"),), {}, "inputs[1, 0, 0] is nan"),
    "nan in a second input": (
        ({"a": X, "b": change(X[:, 0, :2], (4, 1), np.nan)},),
        {},
        "inputs.b[4, 1] is nan",
    ),
    "number of targets": ((X, LABELS[:5]), {}, "targets has 5 sequences: expected 6, as inputs"),
    "more targets": ((X, [*LABELS, 1]), {}, "targets has 7 sequences: expected 6"),
    "number of masks": ((X, LABELS, ONES[:4]), {}, "mask has 4 sequences"),
    "number of lengths": ((X, LABELS, None, [1]), {}, "lengths has 1 sequences"),
    "complex": ((X + 1j,), {}, "inputs has complex numbers (complex64)"),
    "dates": ((np.zeros((N, T), "M8[s]"),), {}, "inputs has dates or times"),
    "time spans": ((X, np.zeros(N, "m8[s]")), {}, "targets has dates or times"),
    "objects": (
        (change(X, (1, 2, 0), None, object),),
        {},
        "inputs[1, 2, 0] is None, of type NoneType",
    ),
    "an object": ((np.array({}),), {}, "inputs is {}, of type dict"),
    "records": ((np.zeros((N, T), "i4,f4"),), {}, "of dtype [('f0'"),
    "strings": (
        (X, np.array(list("abcabc"))),
        {},
        "targets[0] is 'a', a string: expected numbers as labels",
    ),
    "a late string": ((X, [0, 1, 2, "x", 0, 1]), {}, "targets[0] is '0', a string"),
    "a masked array": ((np.ma.array(X, mask=X > 0),), {}, "inputs is a masked array"),
    "no axis": ((np.float32(3.0),), {}, "inputs is a single number"),
    "one axis": ((np.zeros(N),), {}, "inputs has shape (N,): expected (N, T)"),
    "a number": ((3,), {}, "inputs is 3, of type int"),
    "text": (("abc",), {}, "inputs is 'abc', of type str"),
    "a generator": ((iter([X]),), {}, "expected an array, a list of arrays, or an object"),
    "a set": (({1, 2},), {}, "of type set"),
    "none": ((None,), {}, "inputs is None"),
    "empty list": (([],), {}, "inputs is empty"),
    "empty array": ((np.zeros((0, T, F)),), {}, "inputs is empty"),
    "no steps": ((np.zeros((N, 0, F)),), {}, "inputs[0] has no steps"),
    "no features": ((np.zeros((N, T, 0)),), {}, "inputs has shape (N, 5, 0)"),
    "no outputs": ((X, np.zeros((N, 0))), {}, "targets has shape (N, 0)"),
    "empty dict": (({},), {}, "inputs are an empty dict"),
    "dict of fields": (({"x": X, "targets": X},), {}, "expected Dataset(inputs, targets=targets)"),
    "key of a dict": (({3: X},), {}, "inputs have the name 3"),
    "inputs of other steps": (
        ({"a": X, "b": X[:, :4]},),
        {},
        "inputs.b[0] has 4 steps: expected 5",
    ),
    "a sequence without steps": (([*RAGGED[:3], X[0, :0]],), {}, "inputs[3] has no steps"),
    "other features": (
        ([*RAGGED[:3], X[0, :, :2]],),
        {},
        "inputs[3] has shape (5, 2): expected (T, 3)",
    ),
    "other axes": (([*RAGGED[:3], X[0, :, 0]],), {}, "inputs[3] has shape (5,)"),
    "targets of other steps": (
        (RAGGED, [x[:2, 0] for x in RAGGED]),
        {},
        "targets[1] has 2 steps: expected 5, as inputs[1]",
    ),
    "padded targets of other steps": ((X, X[:, :4]), {}, "targets[0] has 4 steps: expected 5"),
    "a ragged list for padded inputs": (
        (X, [[1, 2], [0]] * 3),
        {},
        "targets[0] has 2 steps: expected 5",
    ),
    "targets of 4 axes": ((X, np.zeros((N, T, 2, 2))), {}, "expected (N, T) or (N, T, O)"),
    "per step without time": (
        (X, LABELS),
        {"per": "step"},
        "targets has shape (N,): expected (N, T)",
    ),
    "per step of other steps": (
        (X, X[:, 0]),
        {"per": "step"},
        "targets[0] has 3 steps: expected 5",
    ),
    "per sequence with time": ((X, X), {"per": "sequence"}, "targets has shape (N, 5, 3)"),
    "nan targets": ((X, change(X, (5, 0, 0), np.nan)), {}, "targets[5, 0, 0] is nan"),
    "negative label": (
        (X, change(LABELS, 4, -1)),
        {},
        "targets[4] is -1: expected labels of classes from 0",
    ),
    "a label above num_outputs": (
        (X, change(LABELS, 2, 7)),
        {"num_outputs": 3},
        "targets[1] is 3: expected labels of classes from 0 to 2, one less than num_outputs",
    ),
    "unsigned 64-bit label": (
        (X, change(LABELS, 3, 2**64 - 1, np.uint64)),
        {},
        "targets[3] is 18446744073709551615",
    ),
    "unsigned 64-bit symbol": (
        (np.full((N, T), 2**63, np.uint64),),
        {},
        "expected numbers that int64 can",
    ),
    "half a label": (
        (X, change(LABELS, 5, 1.5, float)),
        {"kind": "classes"},
        "targets[5] is 1.5: expected whole numbers",
    ),
    "not one-hot": (
        (X, change(np.eye(6), (4, 0), 1)),
        {"kind": "classes"},
        "targets[4] is not one-hot: expected a single 1",
    ),
    "probabilities": (
        (X, np.full((N, 2), 0.5)),
        {"kind": "classes"},
        "targets[0] is not one-hot: expected a single 1",
    ),
    "no bits": ((X, LABELS), {"kind": "bits"}, "targets[1] is 3: expected 0 or 1"),
    "num_outputs of numbers": (
        (X, X),
        {"num_outputs": 2},
        "targets have 3 outputs: expected num_outputs = 2",
    ),
    "num_outputs": (
        (X, LABELS),
        {"num_outputs": 0},
        "num_outputs must be a positive integer, not 0",
    ),
    "num_outputs of own": ((X, X), {"num_outputs": 3, "kind": "own"}, "have no num_outputs"),
    "kind": ((X, LABELS), {"kind": "class"}, "unknown kind 'class'"),
    "per": ((X, LABELS), {"per": "steps"}, "unknown per 'steps'"),
    "kind of nothing": ((X,), {"kind": "bits"}, "are of targets, and there are none"),
    "mask of other steps": ((X, LABELS, np.ones((N, 4))), {}, "mask[0] has 4 steps: expected 5"),
    "mask of 3 axes": ((X, LABELS, np.ones((N, T, 1))), {}, "mask has 3 axes"),
    "mask without time": ((X, LABELS, np.ones(N)), {}, "mask has 1 axes"),
    "negative mask": (
        (X, X, change(ONES, (2, 1), -1)),
        {},
        "mask[2, 1] is -1.0: expected a finite",
    ),
    "nan mask": ((X, X, change(ONES, (0, 1), np.nan)), {}, "mask[0, 1] is nan"),
    "mask of one": ((X, X, change(ONES, 3, 0)), {}, "mask[3] is 0 at every step: expected"),
    "mask of all": ((X, X, ONES * 0), {}, "mask[0] is 0 at every step of every sequence"),
    "mask after the end": (
        (X, X, change(ONES, (1, slice(2)), 0), [T, 2, T, T, T, T]),
        {},
        "mask[1] is 0 at every step",
    ),
    "long": (
        (X, LABELS, None, [1, 2, 6, 1, 1, 1]),
        {},
        "lengths[2] is 6: expected 1 to 5, the steps of inputs[2]",
    ),
    "long in a ragged list": (
        (RAGGED, LABELS, None, [3] * N),
        {},
        "lengths[0] is 3: expected 1 to 2",
    ),
    "length zero": ((X, LABELS, None, [1, 0, 6, 1, 1, 1]), {}, "lengths[1] is 0"),
    "lengths of infinity": ((X, LABELS, None, [np.inf] * N), {}, "lengths are of float64"),
    "lengths of truth values": ((X, LABELS, None, [True] * N), {}, "lengths are of bool"),
    "lengths of floats": ((X, LABELS, None, [1.5] * N), {}, "lengths are of float64"),
    "lengths of 2 axes": ((X, LABELS, None, ONES), {}, "lengths has shape (N, 5)"),
    "negative weight": ((X, LABELS, None, None, [1, 1, -1, 1, 1, 1]), {}, "weights[2] is -1"),
    "nan weight": ((X, LABELS, None, None, [np.nan] * N), {}, "weights[0] is nan"),
    "no weight": ((X, LABELS, None, None, [0] * N), {}, "weights are all 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data(name):
    arguments, options, message = BAD[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        ntm.Dataset(*arguments, **options)


@pytest.mark.parametrize("block", [1, 100, 1000])
def test_check_in_blocks(monkeypatch, block):
    """The first wrong value is named wherever blocks end."""
    monkeypatch.setattr(module, "BLOCK", block)
    for wrong in [(0, 0, 0), (1, 4, 2), (5, 3, 1)]:
        message = re.escape(f"inputs[{', '.join(map(str, wrong))}] is nan")
        for inputs in (change(X, wrong, np.nan), [*change(X, wrong, np.nan), X[0, :2]]):
            with pytest.raises(ValueError, match=message):
                ntm.Dataset(inputs)
    mask = change(ONES, (4, slice(2, None)), 0)
    assert ntm.Dataset(X, X, mask).lengths.tolist() == [T, T, T, T, 2, T]
    targets = change(np.zeros((N, T), int), (3, 4), 9)
    assert ntm.Dataset(X, targets).layout.num_outputs == 10
    with pytest.raises(ValueError, match=re.escape("targets[3, 4] is 9")):
        ntm.Dataset(X, targets, num_outputs=9)


def test_check_again():
    inputs = X.copy()
    data = ntm.Dataset(inputs, LABELS)
    part = data.subset([4, 2])
    data.check()
    inputs[2, 1, 0] = np.inf
    with pytest.raises(ValueError, match=re.escape("inputs[1, 1, 0] is inf")):
        part.check()
    data.subset([0, 1]).check()
