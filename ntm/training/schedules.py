"""Learning-rate schedules: functions from the step, counted from zero, to a factor of the learning rate."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ntm.arguments import Number, make_choice

__all__ = [
    "SCHEDULES",
    "Schedule",
    "constant",
    "cosine",
    "exponential",
    "make_schedule",
    "steps",
]

#: From the step to a factor of the learning rate
Schedule: TypeAlias = Callable[[int], float]


def constant() -> Schedule:
    """Return a schedule that is always one."""
    return lambda step: 1.0


def exponential(decay: float = 0.5, every: float = 10_000) -> Schedule:
    """Return ``decay ** (step / every)``: the factor `decay` for each `every` steps, smoothly."""
    _check_positive("exponential", decay=decay, every=every)
    return lambda step: decay ** (step / every)


def steps(decay: float = 0.1, every: float = 10_000) -> Schedule:
    """Return ``decay ** (step // every)``: the factor `decay` after each `every` steps, at once."""
    _check_positive("steps", decay=decay, every=every)
    return lambda step: decay ** (step // every)


def cosine(total: float = 100_000, last: float = 0.0) -> Schedule:
    """Return half a cosine from one down to `last` over `total` steps, then `last`.

    References
    ----------
    Loshchilov & Hutter 2017, SGDR: stochastic gradient descent with warm restarts, equation 5.
    """
    _check_positive("cosine", total=total)
    Number(float, low=0).check("cosine: last", last)
    return lambda step: last + (1 - last) * (1 + math.cos(math.pi * min(step / total, 1.0))) / 2


def _check_positive(schedule: str, **values: float) -> None:
    for name, value in values.items():
        Number(float, above=0).check(f"{schedule}: {name}", value)


#: The schedules by their names on the command line
SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "exponential": exponential,
    "steps": steps,
    "cosine": cosine,
}


def make_schedule(name: str, warmup: int = 0, options: Mapping[str, Any] | None = None) -> Schedule:
    """Make a schedule by its name.

    Parameters
    ----------
    name : str
        One of `SCHEDULES`.
    warmup : int
        Over so many steps at the start, the factor grows linearly from near zero.
    options : dict, optional
        Arguments of that schedule.

    Returns
    -------
    callable
        From the step to a factor.

    Raises
    ------
    ValueError
        If there is no such schedule, the schedule has no such option, or a number is out of its range.
    """
    warmup = Number(int, 0).check("make_schedule: warmup", warmup)
    factor = make_choice("schedule", name, SCHEDULES, options=options)
    return lambda step: factor(step) * min(1.0, (step + 1) / (warmup + 1))
