"""The copy task: read a sequence of random bits, then give it back."""

import numpy as np

from ntm.tasks.base import Seed, SequenceArrays, Task
from ntm.tasks.layout import lay_out


class CopyTask(Task):
    """Sequences of random bits. The network has to repeat a sequence, end marker included, once it has seen the marker.

    With three vectors a, b, c of `size` bits::

        step      1   2   3   4   5   6   7   8
        input     a   b   c   .   .   .   .   .     channels 0 ... size - 1
        marker    .   .   .   1   .   .   .   .     channel size
        target    .   .   .   .   a   b   c   .     channels 0 ... size - 1
        marker    .   .   .   .   .   .   .   1     channel size
        mask      .   .   .   .   1   1   1   .

    This is ntm-lasagne's encoding: inputs and targets both have `size` + 1 channels. The marker at the end of the
    target does not count, as in the paper, whose targets have no marker. If it counted, a network might learn to count
    its steps back along the memory instead of learning to copy.

    Parameters
    ----------
    size : int
        Bits in a vector.
    min_length, max_length : int
        Vectors in a sequence: the range of the size "length".
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer or `min_length` is above `max_length`.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.1.
    """

    def __init__(
        self,
        size: int = 8,
        min_length: int = 1,
        max_length: int = 20,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.size = self.check_integer("size", size)
        sizes = {"length": (min_length, max_length)}
        super().__init__(self.size + 1, self.size + 1, sizes, batch_size, seed)

    def num_steps(self, length: int) -> int:
        """Return the steps that a sequence of `length` vectors takes."""
        return 2 * length + 2

    def count_items(self, length: int) -> int:
        """Return how many vectors the network has to keep: `length`."""
        return length

    @property
    def input_names(self) -> dict[int, str]:
        """The channels that are no bits of a vector."""
        return {self.size: "marker"}

    @property
    def output_names(self) -> dict[int, str]:
        """The channel that is no bit of a vector."""
        return {self.size: "marker"}

    def make(self, rng: np.random.Generator, length: int) -> SequenceArrays:
        """Draw a sequence of `length` vectors: see :meth:`Task.make`."""
        vectors = rng.integers(0, 2, (length, self.size))
        answer = np.zeros((length + 1, self.size + 1))
        answer[:-1, :-1] = self.transform(vectors)
        answer[-1, -1] = 1.0
        inputs, targets, weights = lay_out(vectors, answer)
        weights[-1] = 0.0
        return inputs, targets, weights

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Return the answer to vectors (length, size), of the same shape."""
        return vectors
