"""Nonlinearities of the heads' parameters."""

import pytensor.tensor as pt

from lasagne.nonlinearities import rectify
from ntm.arguments import is_number


class ClippedLinear:
    """The identity, clipped to an interval.

    Parameters
    ----------
    low, high : float
        The smallest and the largest value returned.

    Raises
    ------
    ValueError
        If `low` is above `high`.
    """

    def __init__(self, low=0.0, high=1.0):
        for name, value in (("low", low), ("high", high)):
            if not is_number(value) or value != value:
                raise ValueError(f"ClippedLinear: {name} must be a number, not {value!r}")
        if low > high:
            raise ValueError(f"ClippedLinear: low = {low} is above high = {high}")
        self.low = low
        self.high = high

    def __call__(self, x):
        return pt.clip(x, self.low, self.high)

    def __repr__(self):
        return f"ClippedLinear(low={self.low}, high={self.high})"


def hard_sigmoid(x):
    """A sigmoid of three straight pieces: ``clip(0.2 * x + 0.5, 0, 1)``, of any shape."""
    return pt.clip(0.2 * x + 0.5, 0.0, 1.0)


def one_plus_rectify(x):
    """``1 + max(x, 0)``: ntm-lasagne's gamma, of any shape."""
    return 1.0 + rectify(x)


def one_plus_softplus(x):
    """``1 + log(1 + exp(x))``: a gamma that is at least one and has a gradient everywhere."""
    return 1.0 + pt.softplus(x)
