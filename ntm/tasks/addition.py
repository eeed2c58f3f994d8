"""The addition task: read numbers, then give their sum."""

import numpy as np

from ntm.tasks.base import Seed, SequenceArrays, Task


class AdditionTask(Task):
    """Sequences of numbers, one-hot. At the end of a sequence the network has to give their sum.

    With the numbers 4, 0 and 3, and `size` = 6 channels::

        step      1   2   3   4
        input     .   1   .   .     channel 0
                  .   .   .   .     channel 1
                  .   .   .   .     channel 2
                  .   .   1   .     channel 3
                  1   .   .   .     channel 4
        query     .   .   .   1     channel size - 1
        target    .   .   .   7
        mask      .   .   .   1

    Parameters
    ----------
    size : int
        Channels of the inputs, two at least: the numbers are from 0 to `size` - 2.
    min_length, max_length : int
        Numbers in a sequence: the range of the size "length".
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer, `min_length` is above `max_length` or `size` is one.

    References
    ----------
    pytorch-dnc (https://github.com/ixaxaar/pytorch-dnc), tasks/adding_task.py.
    """

    output = "numbers"
    solved = ("error", 0.1)

    def __init__(
        self,
        size: int = 6,
        min_length: int = 2,
        max_length: int = 10,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.size = self.check_integer("size", size, 2)
        super().__init__(self.size, 1, {"length": (min_length, max_length)}, batch_size, seed)

    def num_steps(self, length: int) -> int:
        """Return the steps that a sequence of `length` numbers takes."""
        return length + 1

    def spell_inputs(self, inputs: np.ndarray) -> list[str]:
        """Return the number that each step shows, and a question mark for the query."""
        shown = [*map(str, range(self.size - 1)), "?"]
        return [shown[step.argmax()] if step.any() else "" for step in inputs]

    def make(self, rng: np.random.Generator, length: int) -> SequenceArrays:
        """Draw a sequence of `length` numbers: see :meth:`Task.make`."""
        numbers = rng.integers(0, self.size - 1, length)
        inputs = np.zeros((length + 1, self.size), np.float32)
        inputs[np.arange(length), numbers] = 1.0
        inputs[-1, -1] = 1.0
        targets = np.zeros((length + 1, 1), np.float32)
        targets[-1] = self.answer(numbers)
        weights = np.zeros(length + 1, np.float32)
        weights[-1] = 1.0
        return inputs, targets, weights

    def answer(self, numbers: np.ndarray) -> int:
        """Return the answer to numbers (length,)."""
        return numbers.sum()
