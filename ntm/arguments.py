"""Checks of arguments, and how error messages name a layer and what it was given."""

import difflib
import inspect
import math
import numbers
import sys
import warnings
from argparse import ArgumentTypeError
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

#: The largest number of float32, in which everything is computed
LARGEST = 3.4028234e38
#: The packages of this library
OWN_PACKAGES = ("lasagne", "ntm")


def check_choice(kind: str, name: object, known: Collection[str]) -> None:
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


def make_choice(
    kind: str,
    name: str,
    known: Mapping[str, Callable[..., Any]],
    *arguments: Any,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Call the class or function that a name stands for.

    Parameters
    ----------
    kind, name : str
        What the name is a name of, and the name.
    known : dict from str to callable
    *arguments
        Positional arguments of the call.
    options : dict, optional
        Keyword arguments of the call.

    Returns
    -------
    object
        The result of the call.

    Raises
    ------
    ValueError
        If the name is not known, or the class or function has no such option.
    """
    check_choice(kind, name, known)
    options = options or {}
    try:
        inspect.signature(known[name]).bind(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from error
    return known[name](*arguments, **options)


class Number:
    """The range of a number: a type for options of the command line, and a check of settings.

    Parameters
    ----------
    kind : {int, float}
        A float must be finite in float32.
    low, high : number, optional
        Smallest and largest number allowed.
    above : number, optional
        Exclusive lower bound.
    """

    def __init__(
        self,
        kind: type[int] | type[float],
        low: float | None = None,
        high: float | None = None,
        above: float | None = None,
    ) -> None:
        self.kind, self.low, self.high, self.above = kind, low, high, above

    def __str__(self) -> str:
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

    def check(self, name: str, value: Any) -> Any:
        """Return a value as an int or a float; raise a `ValueError` with its name if the value is out of bounds."""
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

    def __call__(self, text: str) -> Any:
        """Return the number that a word of the command line stands for; argparse calls this."""
        try:
            return self.check("", self.kind(text))
        except (ValueError, OverflowError):
            raise ArgumentTypeError(f"must be {self}, not {text!r}") from None


def check_memory_shape(memory_shape: Any, name: str | None, kind: str) -> None:
    """Raise a `ValueError` that names the layer unless `memory_shape` is two positive integers."""
    try:
        slots, width = memory_shape
        valid = all(is_integer(length) and length > 0 for length in (slots, width))
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            f"{describe(kind, name)}: memory_shape must be two positive integers "
            f"(slots, slot width), not {memory_shape!r}"
        )


def count_features(input_shape: Sequence[int | None]) -> Any:
    """Return the numbers in a time step of an input (batch, time, ...) or (batch, features); ``None`` if unknown."""
    sizes = input_shape[min(2, len(input_shape) - 1) :]
    known = [size for size in sizes if size is not None]
    return None if len(input_shape) < 2 or len(known) < len(sizes) else math.prod(known)


def is_integer(value: object) -> bool:
    """Return whether a value is an integer of Python or NumPy, and not a truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)


def is_number(value: object) -> bool:
    """Return whether a value is a real number of Python or NumPy, and not a truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_flag(label: str, name: str, value: object) -> None:
    """Raise a `TypeError` that names the layer unless an option is true or false."""
    if not isinstance(value, bool | np.bool_) and not (is_integer(value) and value in (0, 1)):
        raise TypeError(f"{label}: {name} must be True or False, not {value!r}")


def check_nonlinearity(label: str, name: str, value: object) -> None:
    """Raise a `TypeError` that names the layer unless a nonlinearity is a function, or None for the identity."""
    if value is not None and not callable(value):
        raise TypeError(
            f"{label}: {name} must be a function of a tensor, such as lasagne.nonlinearities.tanh, or None, "
            f"not {value!r}"
        )


def check_options(layer_type: type, options: Mapping[str, Any]) -> None:
    """Raise a `TypeError` that names the layer if an option is neither in its signature nor `name`."""
    unknown = [option for option in options if option != "name"]
    if not unknown:
        return
    parameters = inspect.signature(layer_type).parameters.values()
    known = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    close = difflib.get_close_matches(unknown[0], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(known)}, name"
    label = describe(layer_type.__name__, options.get("name"))
    raise TypeError(f"{label}: unknown option {unknown[0]!r}; {hint}")


def warn_deprecated(message: str) -> None:
    """Warn that an old name is used, at the line of the program outside of this library that uses it.

    Python shows a `DeprecationWarning` only where the warning is about a line of the program itself.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in OWN_PACKAGES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DeprecationWarning, stacklevel=level)


def describe(kind: str, name: str | None) -> str:
    """Return how error messages name a layer: its class and, where it has one, its name."""
    return kind if name is None else f"{kind} {name!r}"


def shorten(text: object, length: int = 400) -> str:
    """Return a text for a message: one line of printable characters, of bounded length."""
    text = " ".join(str(text).split())
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return text if text.isprintable() else ascii(text)[1:-1]
