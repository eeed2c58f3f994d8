"""The upside-down copy task: read a sequence of random bits, then give back its complement."""

from ntm.tasks.copy import CopyTask


class UpsideDownCopyTask(CopyTask):
    """As :class:`CopyTask`, but every bit of the answer is the other one: where a one was read it has a zero.

    With three vectors a, b, c of `size` bits, and a' = 1 - a::

        step      1   2   3   4   5   6   7   8
        input     a   b   c   .   .   .   .   .     channels 0 ... size - 1
        marker    .   .   .   1   .   .   .   .     channel size
        target    .   .   .   .   a'  b'  c'  .     channels 0 ... size - 1
        marker    .   .   .   .   .   .   .   1     channel size
        mask      .   .   .   .   1   1   1   .

    Not to be confused with ntm-lasagne's task of this name, whose answer has each vector's channels in reverse
    order, as its picture is when it stands upside down.

    Parameters and errors as of :class:`CopyTask`.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.1, for the task that it is made from.
    """

    def transform(self, vectors):
        return 1 - vectors
