"""Numbers of several seeds in short: the median and the range, and how many numbers are missing."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """The numbers of some seeds in short.

    Attributes
    ----------
    median, low, high : float
        Of the finite numbers; NaN where there is none.
    num_finite : int
        How many numbers are finite.
    num_missing : int
        How many are not finite, or not known.
    """

    median: float
    low: float
    high: float
    num_finite: int
    num_missing: int


def summarise(values: Sequence[float]) -> Spread:
    """Return the median and the range of the finite ones among some numbers."""
    given = np.asarray(list(values), float)
    finite = given[np.isfinite(given)]
    num_missing = len(given) - len(finite)
    if not len(finite):
        return Spread(np.nan, np.nan, np.nan, 0, num_missing)
    ends = float(finite.min()), float(finite.max())
    return Spread(float(np.median(finite)), *ends, len(finite), num_missing)


def describe_spread(values: Sequence[float], form: str | Callable[[float], str]) -> str:
    """Return the median of some numbers, and the range if there are several.

    Numbers that are not finite are left out, and counted in the text.

    Parameters
    ----------
    values : list of float
    form : str or callable
        The format of a number, such as ``"{:.1f}"``, or a function that returns its text.
    """
    write = form.format if isinstance(form, str) else form
    found = summarise(values)
    missing = f"{found.num_missing} not finite" if found.num_missing else ""
    if not found.num_finite:
        return missing or "–"
    spread = f"{write(found.low)} to {write(found.high)}" if found.num_finite > 1 else ""
    notes = "; ".join(filter(None, [spread, missing]))
    return f"{write(found.median)} ({notes})" if notes else write(found.median)


def describe_number(value: float) -> str:
    """Return a number with three digits, or whole from a thousand on; a dash if it is not finite."""
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e12 else f"{value:.3g}"
