"""What targets are taken for, and what batches hold of them."""

import numpy as np
import pytest

import ntm

N, T = 4, 5
X = np.zeros((N, T, 2))
LABELS = np.arange(N * T).reshape(N, T) % 3
ONE_HOT = np.eye(3)[LABELS]
BITS = np.arange(N * T * 3).reshape(N, T, 3) // 2 % 2
NUMBERS = np.linspace(-1, 1, N * T * 3).reshape(N, T, 3)

#: Targets, options, and the kind, the number of outputs, whether they are per step, and the targets of a batch
KINDS = {
    "labels a step": (LABELS, {}, ("classes", 3, True), LABELS),
    "labels a sequence": (LABELS[:, 0], {}, ("classes", 3, False), LABELS[:, 0]),
    "labels of uint8": (LABELS.astype("u1"), {}, ("classes", 3, True), LABELS),
    "labels and num_outputs": (LABELS, {"num_outputs": 7}, ("classes", 7, True), LABELS),
    "labels in a column": (LABELS[:, :1], {}, ("classes", 3, False), LABELS[:, 0]),
    "labels in a column a step": (LABELS[..., None], {}, ("classes", 3, True), LABELS),
    "float labels": (LABELS * 1.0, {"kind": "classes"}, ("classes", 3, True), LABELS),
    "bool labels": (LABELS > 0, {"kind": "classes"}, ("classes", 2, True), LABELS > 0),
    "one-hot a step": (ONE_HOT, {}, ("classes", 3, True), LABELS),
    "one-hot integers": (ONE_HOT.astype(int), {}, ("classes", 3, True), LABELS),
    "one-hot a sequence": (ONE_HOT[:, 0], {}, ("classes", 3, False), LABELS[:, 0]),
    "one-hot as numbers": (ONE_HOT, {"kind": "numbers"}, ("numbers", 3, True), ONE_HOT),
    "one-hot as bits": (ONE_HOT, {"kind": "bits"}, ("bits", 3, True), ONE_HOT),
    "bits": (BITS, {}, ("bits", 3, True), BITS),
    "float bits": (BITS * 1.0, {}, ("bits", 3, True), BITS),
    "bool": (ONE_HOT > 0, {}, ("bits", 3, True), ONE_HOT),
    "bool a sequence": (LABELS[:, 0] > 0, {}, ("bits", 1, False), LABELS[:, :1] > 0),
    "a float bit a step": (BITS[..., 0] * 1.0, {}, ("bits", 1, True), BITS[..., :1]),
    "a bit with an axis": (BITS[..., :1], {}, ("bits", 1, True), BITS[..., :1]),
    "numbers": (NUMBERS, {}, ("numbers", 3, True), NUMBERS),
    "whole numbers": (LABELS * 1.0, {}, ("numbers", 1, True), LABELS[..., None]),
    "integers with an axis": (BITS + 1, {}, ("numbers", 3, True), BITS + 1),
    "a number a step": (NUMBERS[..., 0], {}, ("numbers", 1, True), NUMBERS[..., :1]),
    "T numbers a sequence": (
        NUMBERS[..., 0],
        {"per": "sequence"},
        ("numbers", T, False),
        NUMBERS[..., 0],
    ),
    "numbers a sequence": (NUMBERS[:, 0], {}, ("numbers", 3, False), NUMBERS[:, 0]),
    "a number a sequence": (NUMBERS[:, 0, 0], {}, ("numbers", 1, False), NUMBERS[:, 0, :1]),
    "integers as numbers": (LABELS, {"kind": "numbers"}, ("numbers", 1, True), LABELS[..., None]),
    "own": (LABELS - 1, {"kind": "own"}, ("own", None, True), LABELS - 1),
    "own a sequence": (X[:, :4], {"kind": "own"}, ("own", None, False), X[:, :4]),
    "own of a sequence": (X, {"kind": "own", "per": "sequence"}, ("own", None, False), X),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    targets, options, expected, values = KINDS[name]
    for each in (targets, list(targets), np.asfortranarray(targets)):
        data = ntm.Dataset(X, each, **options)
        layout = data.layout
        assert (layout.kind, layout.num_outputs, layout.per_step) == expected
        assert data.guessed == ("kind" not in options)
        batch = data.take([3, 1])
        np.testing.assert_array_equal(batch.targets, np.asarray(values)[[3, 1]])
        if expected[0] == "classes":
            assert batch.targets.dtype == np.int32
        data.check()


def test_one_hot_where_it_counts():
    """Steps that do not count need not be one-hot."""
    targets, mask = ONE_HOT.copy(), np.ones((N, T))
    targets[1, 2] = np.nan
    mask[1, 2] = 0
    data = ntm.Dataset(X, targets, mask)
    assert data.layout.kind == "classes"
    np.testing.assert_array_equal(data.take([1]).targets, np.where(mask, LABELS, 0)[1:2])


def test_numbers_keep_their_precision():
    for dtype, expected in [("f2", "f2"), ("f4", "f4"), (">f8", "f8"), ("i2", "f4"), ("i8", "f8")]:
        data = ntm.Dataset(X, (LABELS + 1)[..., None].repeat(2, 2).astype(dtype), kind="numbers")
        assert data.take([0]).targets.dtype == expected


def test_own_targets_keep_their_dtype():
    for dtype in (">i2", "?", ">f8"):
        batch = ntm.Dataset(X, LABELS.astype(dtype), kind="own").take([0])
        assert batch.targets.dtype == np.dtype(dtype).newbyteorder("=")


def test_steps_of_ragged_and_padded_arrays():
    lengths = [2, 5, 1, 3]
    inputs = [X[0, :length] for length in lengths]
    for targets in (LABELS, [row[:n] for row, n in zip(LABELS, lengths, strict=True)]):
        for each, options in ((inputs, {}), (X, {"lengths": lengths})):
            data = ntm.Dataset(each, targets, **options)
            assert data.layout.per_step
            expected = np.where(np.arange(T) < np.array(lengths)[:, None], LABELS, 0)
            np.testing.assert_array_equal(data.take(range(N)).targets, expected)
