"""The copy task: read a sequence of random bits, then give it back."""

import numpy as np

from ntm.tasks.base import Batch


class CopyTask:
    """Sequences of random bits to be repeated, end marker included, once the marker has been seen.

    With three vectors a, b, c of `size` bits::

        step      1   2   3   4   5   6   7   8
        input     a   b   c   .   .   .   .   .     channels 0 ... size - 1
        marker    .   .   .   1   .   .   .   .     channel size
        target    .   .   .   .   a   b   c   .     channels 0 ... size - 1
        marker    .   .   .   .   .   .   .   1     channel size
        mask      .   .   .   .   1   1   1   .

    This is ntm-lasagne's encoding: inputs and targets both have `size` + 1 channels. The marker at the
    end of the target does not count, as in the paper, whose targets have none: to tell when the answer
    ends, a network may learn to count its steps back along the memory instead of learning to copy.

    Iterating gives batches without end, each sequence of a length of its own.

    Parameters
    ----------
    size : int
        Bits in a vector.
    min_length, max_length : int
        Vectors in a sequence, both included; lengths are drawn uniformly.
    batch_size : int
    seed : int, sequence of int or numpy.random.Generator, optional

    Raises
    ------
    ValueError
        If a size is not positive or `min_length` is above `max_length`.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.1.
    """

    def __init__(self, size=8, min_length=1, max_length=20, batch_size=1, seed=None):
        for name, value in (("size", size), ("min_length", min_length), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"CopyTask: {name} must be positive, not {value}")
        if min_length > max_length:
            raise ValueError(
                f"CopyTask: min_length = {min_length} is above max_length = {max_length}"
            )
        self.size = size
        self.min_length = min_length
        self.max_length = max_length
        self.batch_size = batch_size
        self.rng = np.random.default_rng(seed)

    @property
    def num_features(self):
        """Channels of inputs and of targets."""
        return self.size + 1

    @staticmethod
    def num_steps(length):
        """Steps that a sequence of `length` vectors takes."""
        return 2 * length + 2

    def __iter__(self):
        return self

    def __next__(self):
        return self.sample()

    def sample(self, batch_size=None, length=None, num_steps=None):
        """Draw a batch.

        Parameters
        ----------
        batch_size : int, optional
            Instead of the task's.
        length : int or array of int (B,), optional
            Vectors in each sequence, instead of random lengths.
        num_steps : int, optional
            Steps to pad to, instead of those of the longest sequence.

        Returns
        -------
        Batch of float32 arrays

        Raises
        ------
        ValueError
            If the sequences do not fit into `num_steps`, or a length is not positive.
        """
        batch_size = self.batch_size if batch_size is None else batch_size
        if length is None:
            length = self.rng.integers(self.min_length, self.max_length + 1, batch_size)
        lengths = np.broadcast_to(np.asarray(length), (batch_size,))
        if lengths.min() < 1:
            raise ValueError(f"CopyTask: lengths must be positive, not {lengths.min()}")
        needed = self.num_steps(int(lengths.max()))
        num_steps = needed if num_steps is None else num_steps
        if num_steps < needed:
            raise ValueError(
                f"CopyTask: {lengths.max()} vectors take {needed} steps, more than "
                f"num_steps = {num_steps}"
            )
        inputs = np.zeros((batch_size, num_steps, self.num_features), np.float32)
        targets = np.zeros_like(inputs)
        mask = np.zeros((batch_size, num_steps), np.float32)
        for k, n in enumerate(lengths):
            inputs[k, :n, :-1] = self.rng.integers(0, 2, (n, self.size))
            inputs[k, n, -1] = 1.0
            targets[k, n + 1 : 2 * n + 2] = inputs[k, : n + 1]
            mask[k, n + 1 : 2 * n + 1] = 1.0
        return Batch(inputs, targets, mask)
