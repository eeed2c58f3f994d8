"""Data sets of arrays and ragged lists: what is taken, guessed, and refused."""

import numpy as np

import ntm


def test_take_pads_a_ragged_list():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, 50)
    inputs = [rng.normal(size=(length, 3)) for length in lengths]
    targets = [rng.integers(0, 5, length) for length in lengths]
    data = ntm.Dataset(inputs, targets)
    assert data.layout == ntm.data.Layout(
        {"inputs": ntm.data.InputLayout((3,))}, "classes", 5, True
    )
    assert data.lengths.tolist() == lengths.tolist()
    rows = [4, 1, 40]
    batch = data.take(rows, num_steps=35)
    assert batch.shape == (3, 35)
    for k, row in enumerate(rows):
        length = lengths[row]
        np.testing.assert_array_equal(batch.inputs["inputs"][k, :length], inputs[row])
        np.testing.assert_array_equal(batch.targets[k, :length], targets[row])
        assert not batch.inputs["inputs"][k, length:].any()
        assert batch.mask[k].tolist() == [1] * length + [0] * (35 - length)
    assert data.take(rows).shape == (3, max(lengths[rows]))
