"""The upside-down copy task: read a sequence of random bits, then give each vector back upside down."""

import numpy as np

from ntm.tasks.copy import CopyTask


class UpsideDownCopyTask(CopyTask):
    """As the copy task, but each vector of the answer has its channels in reverse order.

    With three vectors a, b, c of `size` bits, a' being a whose last bit comes first::

        step      1   2   3   4   5   6   7   8
        input     a   b   c   .   .   .   .   .     channels 0 ... size - 1
        marker    .   .   .   1   .   .   .   .     channel size
        target    .   .   .   .   a'  b'  c'  .     channels 0 ... size - 1
        marker    .   .   .   .   .   .   .   1     channel size
        mask      .   .   .   .   1   1   1   .

    Parameters and errors as of :class:`CopyTask`.

    References
    ----------
    ntm-lasagne, UpsideDownCopyTask; Graves et al. 2014, Neural Turing Machines, section 4.1, for the task that it is
    made from.
    """

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        return vectors[:, ::-1]
