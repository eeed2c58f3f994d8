"""The priority sort task: read vectors with priorities, then give back those of the highest priorities, in order."""

import numpy as np

from ntm.tasks.base import Seed, SequenceArrays, Task
from ntm.tasks.layout import lay_out


class PrioritySortTask(Task):
    """Vectors of random bits, each with a priority. The answer is those of the highest priorities, in order.

    With four vectors a, b, c, d of `size` bits, of which three are asked for::

        step       1     2     3     4    5   6   7   8
        input      a     b     c     d    .   .   .   .     channels 0 ... size - 1
        priority  0.1  -0.7   0.9   0.2   .   .   .   .     channel size
        marker     .     .     .     .    1   .   .   .     channel size + 1
        target     .     .     .     .    .   c   d   a     channels 0 ... size - 1
        mask       .     .     .     .    .   1   1   1

    Priorities are uniform in [-1, 1]. Of two vectors with the same priority, the one read first comes first.

    Parameters
    ----------
    size : int
        Bits in a vector.
    min_items, max_items : int
        Vectors that are read: the range of the size "items".
    num_sorted : int
        Vectors in the answer; all of them where there are fewer.
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer or `min_items` is above `max_items`.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.5.
    """

    #: The best network of the paper, an LSTM with five heads, ends at 17.4 bits after a million sequences (figure 18)
    solved = ("bits", 17.4)

    def __init__(
        self,
        size: int = 8,
        min_items: int = 20,
        max_items: int = 20,
        num_sorted: int = 16,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.size = self.check_integer("size", size)
        self.num_sorted = self.check_integer("num_sorted", num_sorted)
        sizes = {"items": (min_items, max_items)}
        super().__init__(self.size + 2, self.size, sizes, batch_size, seed)

    def num_steps(self, items: int) -> int:
        """Return the steps that a sequence of so many vectors takes."""
        return items + 1 + min(items, self.num_sorted)

    def count_items(self, items: int) -> int:
        """Return how many vectors the network has to keep: those of the answer."""
        return min(items, self.num_sorted)

    @property
    def input_names(self) -> dict[int, str]:
        """The channels that are no bits of a vector."""
        return {self.size: "priority", self.size + 1: "marker"}

    def make(self, rng: np.random.Generator, items: int) -> SequenceArrays:
        """Draw a sequence of `items` vectors: see :meth:`Task.make`."""
        vectors = np.zeros((items, self.size + 1), np.float32)
        vectors[:, :-1] = rng.integers(0, 2, (items, self.size))
        # Compared as rounded to float32, as the network reads them
        vectors[:, -1] = rng.uniform(-1.0, 1.0, items)
        order = np.argsort(-vectors[:, -1], kind="stable")[: self.num_sorted]
        return lay_out(vectors, vectors[order, :-1])
