"""Helpers of the tests: epochs drawn from sources, and comparisons of batches."""

import numpy as np


def draw_epoch(source):
    """Give the batches of a source up to the end of its epoch."""
    epoch = source.epoch
    while source.epoch == epoch:
        yield source.draw()


def assert_same_batches(one, other):
    """All arrays of two batches are the same, in type as well."""
    assert one.inputs.keys() == other.inputs.keys()
    for name in one.inputs:
        np.testing.assert_array_equal(
            one.inputs[name], other.inputs[name], err_msg=name, strict=True
        )
    for name, left, right in zip(one._fields[1:], one[1:], other[1:], strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name, strict=True)


def damage(state, **changes):
    """Return a state with other values."""
    return {**state, **changes}
