"""The reversed copy task: read a sequence of random bits, then give it back from its end to its beginning."""

import numpy as np

from ntm.tasks.copy import CopyTask


class ReversedCopyTask(CopyTask):
    """As the copy task, but the answer begins with the vector that was read last.

    With three vectors a, b, c of `size` bits::

        step      1   2   3   4   5   6   7   8
        input     a   b   c   .   .   .   .   .     channels 0 ... size - 1
        marker    .   .   .   1   .   .   .   .     channel size
        target    .   .   .   .   c   b   a   .     channels 0 ... size - 1
        marker    .   .   .   .   .   .   .   1     channel size
        mask      .   .   .   .   1   1   1   .

    Parameters and errors as of :class:`CopyTask`.

    References
    ----------
    ntm-lasagne, ReversedCopyTask; Grefenstette et al. 2015, Learning to transduce with unbounded memory,
    section 4.1 (sequence reversal).
    """

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        return vectors[::-1]
