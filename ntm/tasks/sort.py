"""The sort task: read numbers in binary, then give them back in ascending order."""

import numpy as np

from ntm.tasks.base import Seed, SequenceArrays, Task
from ntm.tasks.layout import lay_out


class SortTask(Task):
    """Random numbers in binary. The network has to give them back in ascending order, once it has seen the marker.

    With three numbers of `size` = 3 bits, 6, 1 and 3, the most significant bit in channel 0::

        step      1   2   3   4   5   6   7
        input     1   .   .   .   .   .   .     channel 0
                  1   .   1   .   .   .   .     channel 1
                  .   1   1   .   .   .   .     channel 2
        marker    .   .   .   1   .   .   .     channel size
        target    .   .   .   .   .   .   1     channel 0
                  .   .   .   .   .   1   1     channel 1
                  .   .   .   .   1   1   .     channel 2
        mask      .   .   .   .   1   1   1

    Numbers may come up more than once.

    Parameters
    ----------
    size : int
        Bits of a number.
    min_length, max_length : int
        Numbers in a sequence: the range of the size "length".
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer or `min_length` is above `max_length`.

    References
    ----------
    ntm-lasagne, SortTask; compare Graves et al. 2014, Neural Turing Machines, section 4.5.
    """

    #: Some 999 of 1000 bits right; the published network has 983
    solved = ("bits", 0.1)

    def __init__(
        self,
        size: int = 8,
        min_length: int = 1,
        max_length: int = 5,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.size = self.check_integer("size", size)
        sizes = {"length": (min_length, max_length)}
        super().__init__(self.size + 1, self.size, sizes, batch_size, seed)

    def num_steps(self, length: int) -> int:
        """Return the steps that a sequence of `length` numbers takes."""
        return 2 * length + 1

    def count_items(self, length: int) -> int:
        """Return how many numbers the network has to keep: `length`."""
        return length

    @property
    def input_names(self) -> dict[int, str]:
        """The channels that are no bits of a vector."""
        return {self.size: "marker"}

    def make(self, rng: np.random.Generator, length: int) -> SequenceArrays:
        """Draw a sequence of `length` numbers: see :meth:`Task.make`."""
        vectors = rng.integers(0, 2, (length, self.size))
        order = np.lexsort(vectors.T[::-1])  # its last key is the most significant
        return lay_out(vectors, vectors[order])
