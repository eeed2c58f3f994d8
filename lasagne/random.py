"""The random number generator that the whole package draws from.

Initializers draw their values from it and stochastic layers their seeds, so that one call to
:func:`set_rng` makes a network reproducible.
"""

from types import ModuleType
from typing import TypeAlias

import numpy as np

__all__ = ["get_rng", "set_rng"]

#: A generator with its own state, or NumPy's module with the state of the process
RandomSource: TypeAlias = np.random.RandomState | ModuleType

_rng: RandomSource = np.random


def get_rng() -> RandomSource:
    """Return the generator that initializers and stochastic layers draw from.

    Returns
    -------
    numpy.random module or :class:`numpy.random.RandomState`
        The module-level generator of NumPy, unless :func:`set_rng` gave another.
    """
    return _rng


def set_rng(new_rng: RandomSource) -> None:
    """Set the generator that initializers and stochastic layers draw from.

    Parameters
    ----------
    new_rng : numpy.random module or :class:`numpy.random.RandomState`
        An object with the methods of a ``RandomState`` (``normal``, ``uniform``, ``randint``, ...).
    """
    global _rng
    missing = [each for each in ("normal", "uniform", "randint") if not hasattr(new_rng, each)]
    if missing:
        raise TypeError(
            f"set_rng: expected a numpy.random.RandomState, not {new_rng!r}, which has no {missing[0]}()"
        )
    _rng = new_rng
