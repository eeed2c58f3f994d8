"""Helpers of the tests: epochs drawn from sources, and comparisons of batches."""

import numpy as np

from ntm.data import DataBatch, InputLayout, Layout


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


class Dataset:
    """Takes the place of the data set until there is one."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, np.asarray(targets)
        self.lengths = np.array([len(each) for each in inputs])
        self.longest = int(self.lengths.max())
        self.layout = Layout({"inputs": InputLayout((1,))}, "classes", 2, False)

    def __len__(self):
        return len(self.inputs)

    def fingerprint(self):
        return {"num_sequences": len(self)}

    def take(self, indices, num_steps):
        inputs, mask = np.zeros((len(indices), num_steps, 1)), np.zeros((len(indices), num_steps))
        for k, index in enumerate(indices):
            inputs[k, : self.lengths[index]] = self.inputs[index]
            mask[k, : self.lengths[index]] = 1
        ones = np.ones(len(indices))
        return DataBatch({"inputs": inputs}, self.targets[indices], mask, mask.copy(), ones)
