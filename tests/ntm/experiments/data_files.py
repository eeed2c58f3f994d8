"""Small files of data for the tests of runs and commands."""

import numpy as np

from ntm.data import write_npz


def make_sequences(count=24, seed=0):
    """Sequences of 5 steps of 3 numbers, and which of three classes each is of."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, 5, 3)).astype("float32")
    return inputs, np.digitize(inputs.sum((1, 2)), [-2, 2])


def write_classes(path, count=24, seed=0):
    """One class a sequence."""
    inputs, targets = make_sequences(count, seed)
    np.savez(path, inputs=inputs, targets=targets)


def write_ragged(path, seed=0):
    """A number at each step of sequences of 3 to 6 steps: the sum so far."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(length, 2)).astype("float32") for length in (3, 6, 4, 5, 6, 3)]
    targets = [each.sum(axis=1, keepdims=True).cumsum(axis=0) for each in inputs]
    write_npz(path, inputs=inputs, targets=targets)


def write_symbols(path, num_symbols=5, seed=0):
    """Texts of 6 symbols, with the next symbol as the target of each step."""
    text = np.random.default_rng(seed).integers(0, num_symbols, (8, 7))
    text[0, 0] = num_symbols - 1
    np.savez(path, inputs=text[:, :-1], targets=text[:, 1:])
