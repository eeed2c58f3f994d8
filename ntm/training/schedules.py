"""Learning rates over the course of a training run: functions from the step, counted from zero, to a factor."""

import math

from ntm.arguments import Number, make_choice


def constant():
    """Always one."""
    return lambda step: 1.0


def exponential(decay=0.5, every=10_000):
    """``decay ** (step / every)``: by the factor `decay` in so many steps, smoothly."""
    _check_positive(decay=decay, every=every)
    return lambda step: decay ** (step / every)


def steps(decay=0.1, every=10_000):
    """By the factor `decay` after each so many steps, at once."""
    _check_positive(decay=decay, every=every)
    return lambda step: decay ** (step // every)


def cosine(total=100_000, last=0.0):
    """From one down to `last` by half a cosine over `total` steps, then `last`.

    References
    ----------
    Loshchilov & Hutter 2017, SGDR: stochastic gradient descent with warm restarts, equation 5.
    """
    _check_positive(total=total)
    Number(float, low=0).check("last", last)
    return lambda step: last + (1 - last) * (1 + math.cos(math.pi * min(step / total, 1.0))) / 2


def _check_positive(**values):
    for name, value in values.items():
        Number(float, above=0).check(name, value)


SCHEDULES = {"constant": constant, "exponential": exponential, "steps": steps, "cosine": cosine}


def make_schedule(name, warmup=0, options=None):
    """A schedule by its name.

    Parameters
    ----------
    name : str
        One of `SCHEDULES`.
    warmup : int
        Over how many steps at the start the factor grows from near zero, linearly.
    options : dict, optional
        Arguments of that schedule.

    Returns
    -------
    callable from step to factor

    Raises
    ------
    ValueError
        If there is no such schedule, it has no such option, or a number is not of the range that it has to be.
    """
    warmup = Number(int, 0).check("warmup", warmup)
    factor = make_choice("schedule", name, SCHEDULES, options=options)
    return lambda step: factor(step) * min(1.0, (step + 1) / (warmup + 1))
