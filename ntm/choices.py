"""What options may be: names, such as those of curricula and schedules, and numbers."""

import numbers
from argparse import ArgumentTypeError
from typing import Any

#: The largest number of float32, in which everything is computed
LARGEST = 3.4028234e38


def check_choice(kind, name, known):
    """Raise a `ValueError` unless a name is among those known.

    Parameters
    ----------
    kind : str
        What it is a name of, for the message.
    name : str
    known : iterable of str
    """
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}: expected one of {', '.join(known)}")


def make_choice(kind, name, known, *arguments, options=None):
    """What a class or function that is chosen by name makes of arguments and options.

    Parameters
    ----------
    kind, name : str
    known : dict from str to callable
    *arguments
    options : dict, optional

    Raises
    ------
    ValueError
        If the name is not known, or there is no such option.
    """
    check_choice(kind, name, known)
    try:
        return known[name](*arguments, **(options or {}))
    except TypeError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from error


class Number:
    """What a number may be: a type for options of the command line, and a check of settings.

    Parameters
    ----------
    kind : {int, float}
        A float is finite, in float32 too.
    low, high : number, optional
        Both are allowed.
    above : number, optional
        Not allowed, but what is larger is.
    """

    def __init__(self, kind, low=None, high=None, above=None):
        self.kind, self.low, self.high, self.above = kind, low, high, above

    def __str__(self):
        noun = "an integer" if self.kind is int else "a finite number"
        if self.low is not None and self.high is not None:
            return f"{noun} from {self.low:,} to {self.high:,}"
        bounds = (
            ("of at least", self.low),
            ("above", self.above),
            ("and at most" if self.above is not None else "of at most", self.high),
        )
        return " ".join(
            [noun, *(f"{words} {bound}" for words, bound in bounds if bound is not None)]
        )

    def check(self, name, value):
        """Return a value as an int or a float; raise a `ValueError` that tells its name if it may not be."""
        kind: Any = numbers.Integral if self.kind is int else numbers.Real
        if (
            not isinstance(value, kind)
            or isinstance(value, bool)
            or (self.kind is float and not -LARGEST <= value <= LARGEST)
            or (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
            or (self.above is not None and value <= self.above)
        ):
            raise ValueError(f"{name} must be {self}, not {value!r}")
        return self.kind(value)

    def __call__(self, text):
        """The number that a word of the command line gives; what argparse calls."""
        try:
            return self.check("", self.kind(text))
        except (ValueError, OverflowError):
            raise ArgumentTypeError(f"must be {self}, not {text!r}") from None
