"""The argmax task: read numbers, then tell where the largest of them was."""

import numpy as np

from ntm.tasks.addition import AdditionTask


class ArgmaxTask(AdditionTask):
    """As the addition task, but the answer is the place of the largest number, from 0; the last if there are several.

    With the numbers 4, 0, 4 and 3, and `size` = 6 channels::

        step      1   2   3   4   5
        input     .   1   .   .   .     channel 0
                  .   .   .   .   .     channel 1
                  .   .   .   .   .     channel 2
                  .   .   .   1   .     channel 3
                  1   .   1   .   .     channel 4
        query     .   .   .   .   1     channel size - 1
        target    .   .   .   .   2
        mask      .   .   .   .   1

    Parameters and errors as of :class:`AdditionTask`.

    References
    ----------
    pytorch-dnc (https://github.com/ixaxaar/pytorch-dnc), tasks/argmax_task.py.
    """

    def answer(self, numbers: np.ndarray) -> int:
        return len(numbers) - 1 - int(numbers[::-1].argmax())
