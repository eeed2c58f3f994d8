"""Curves that are thinned: a page takes a thousand points of a curve, not the hundred thousand of a long run."""

from typing import NamedTuple

import numpy as np

from ntm.typing import Array, ArrayLike

#: A curve has at most so many points
MAX_POINTS = 1000
#: Curves of at most so many points have markers
FEW = 30


class Curve(NamedTuple):
    """A curve over the sequences seen in training: P points.

    Attributes
    ----------
    sequences : array (P,)
        Where a point stands for several rows: the number at the last of them.
    values : array (P,)
        Where a point stands for several rows: their median. NaN where no value is finite.
    low, high : arrays (P,) or None
        The least and the largest finite value of the rows that a point stands for; None where that is one row each.
    rows_per_point : int
    num_missing : int
        Values that are not finite.
    """

    sequences: Array
    values: Array
    low: Array | None
    high: Array | None
    rows_per_point: int
    num_missing: int


def thin(sequences: ArrayLike, values: ArrayLike, most: int = MAX_POINTS) -> Curve:
    """Return a curve with at most so many points: each stands for as many rows, one after another.

    Parameters
    ----------
    sequences, values : arrays (L,)
    most : int

    Returns
    -------
    Curve
    """
    x, y = np.asarray(sequences, float), np.asarray(values, float)
    num_missing = int(np.count_nonzero(~np.isfinite(y)))
    size = -(-len(y) // most)
    if size <= 1:
        return Curve(x, y, None, None, 1, num_missing)
    parts = [_summarise(y[start : start + size]) for start in range(0, len(y), size)]
    middle, low, high = (np.array(each) for each in zip(*parts, strict=True))
    ends = np.minimum(np.arange(size, len(y) + size, size), len(y)) - 1
    return Curve(x[ends], middle, low, high, size, num_missing)


def _summarise(values: Array) -> tuple[float, float, float]:
    """Return the median, the least and the largest of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (np.nan,) * 3
    return float(np.median(finite)), float(finite.min()), float(finite.max())
