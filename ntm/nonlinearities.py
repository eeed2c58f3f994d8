"""Nonlinearities for the parameters of heads."""

import pytensor.tensor as pt

from lasagne.nonlinearities import rectify
from ntm.arguments import is_number
from ntm.typing import Tensor

__all__ = ["ClippedLinear", "hard_sigmoid", "one_plus_rectify", "one_plus_softplus"]


class ClippedLinear:
    """A nonlinearity that clips its input to an interval.

    Parameters
    ----------
    low, high : float
        The smallest and the largest value returned.

    Raises
    ------
    ValueError
        If a bound is no number, or `low` is above `high`.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        for name, value in (("low", low), ("high", high)):
            if not is_number(value) or value != value:
                raise ValueError(f"ClippedLinear: {name} must be a number, not {value!r}")
        if low > high:
            raise ValueError(f"ClippedLinear: low = {low} is above high = {high}")
        self.low = low
        self.high = high

    def __call__(self, x: Tensor) -> Tensor:
        return pt.clip(x, self.low, self.high)

    def __repr__(self) -> str:
        return f"ClippedLinear(low={self.low}, high={self.high})"


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return ``clip(0.2 * x + 0.5, 0, 1)``: a sigmoid of three straight pieces. `x` may have any shape."""
    return pt.clip(0.2 * x + 0.5, 0.0, 1.0)


def one_plus_rectify(x: Tensor) -> Tensor:
    """Return ``1 + max(x, 0)``: the gamma of ntm-lasagne. `x` may have any shape."""
    return 1.0 + rectify(x)


def one_plus_softplus(x: Tensor) -> Tensor:
    """Return ``1 + log(1 + exp(x))``: a gamma that is at least one and has a gradient everywhere."""
    return 1.0 + pt.softplus(x)
