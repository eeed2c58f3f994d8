"""The repeat copy task: read a sequence of random bits and a number, then give it back that many times."""

import math

import numpy as np

from ntm.tasks.base import Seed, SequenceArrays, Task
from ntm.tasks.layout import lay_out


class RepeatCopyTask(Task):
    """Sequences of random bits, then a number. The network has to repeat the bits so often, then mark the end.

    With two vectors a, b of `size` bits and three repeats::

        step      1   2   3   4   5   6   7   8   9  10  11
        input     a   b   .   .   .   .   .   .   .   .   .     channels 0 ... size - 1
        repeats   .   .   z   .   .   .   .   .   .   .   .     channel size
        marker    .   .   .   1   .   .   .   .   .   .   .     channel size + 1
        target    .   .   .   .   a   b   a   b   a   b   .     channels 0 ... size - 1
        marker    .   .   .   .   .   .   .   .   .   .   1     channel size
        mask      .   .   .   .   1   1   1   1   1   1   1

    The marker at the end counts: the network has to know when it is done. Otherwise this is ntm-lasagne's encoding.

    The number z is normalised as in the paper, to have mean 0 and variance 1 where the number of repeats is uniform
    from `min_repeats` = p to `max_repeats` = q::

        z = (repeats - (p + q) / 2) / sqrt(((q - p + 1)**2 - 1) / 12)

    Beyond that range it goes on linearly. If there is but one number of repeats, the difference is not divided.

    With `unary` there are instead as many steps as repeats, with a one in channel `size` at each.

    Parameters
    ----------
    size : int
        Bits in a vector.
    min_length, max_length : int
        Vectors in a sequence: the range of the size "length".
    min_repeats, max_repeats : int
        How often to give it back: the range of the size "repeats".
    unary : bool
        Whether the number of repeats is counted out in ones.
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer or the lower end of a range is above the upper one.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.2.
    """

    def __init__(
        self,
        size: int = 8,
        min_length: int = 1,
        max_length: int = 10,
        min_repeats: int = 1,
        max_repeats: int = 10,
        unary: bool = False,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.size = self.check_integer("size", size)
        self.unary = self.check_bool("unary", unary)
        sizes = {"length": (min_length, max_length), "repeats": (min_repeats, max_repeats)}
        super().__init__(self.size + 2, self.size + 1, sizes, batch_size, seed)
        # Of these bounds for good: what a number stands for must not change when `sizes` does
        self.mean_repeats = (min_repeats + max_repeats) / 2
        variance = ((max_repeats - min_repeats + 1) ** 2 - 1) / 12
        self.std_repeats = math.sqrt(variance) if variance else 1.0

    def num_steps(self, length: int, repeats: int) -> int:
        """Return the steps that `repeats` repeats of `length` vectors take."""
        return length + (repeats if self.unary else 1) + 1 + length * repeats + 1

    def count_items(self, length: int, repeats: int) -> int:
        """Return how many vectors the network has to keep: `length`."""
        return length

    @property
    def input_names(self) -> dict[int, str]:
        """The channels that are no bits of a vector."""
        return {self.size: "repeats", self.size + 1: "marker"}

    @property
    def output_names(self) -> dict[int, str]:
        """The channel that is no bit of a vector."""
        return {self.size: "marker"}

    def make(self, rng: np.random.Generator, length: int, repeats: int) -> SequenceArrays:
        """Draw a sequence of `length` vectors to be repeated `repeats` times: see :meth:`Task.make`."""
        bits = rng.integers(0, 2, (length, self.size))
        vectors = np.zeros((length + (repeats if self.unary else 1), self.size + 1))
        vectors[:length, :-1] = bits
        vectors[length:, -1] = 1.0 if self.unary else self.normalise(repeats)
        answer = np.zeros((length * repeats + 1, self.size + 1))
        answer[:-1, :-1] = np.tile(bits, (repeats, 1))
        answer[-1, -1] = 1.0
        return lay_out(vectors, answer)

    def normalise(self, repeats: float) -> float:
        """Return the number that stands for a number of repeats."""
        return (repeats - self.mean_repeats) / self.std_repeats
