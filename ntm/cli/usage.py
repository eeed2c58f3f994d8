"""What all commands share: exit codes, and errors of the command line."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from ntm.interruption import stop_on_signals

DONE, FAILED, WRONG_USAGE, NOT_SOLVED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141
#: What a command that is interrupted prints where nothing is trained, and its exit code
END = ("ntm: interrupted", INTERRUPTED)

Loggers: TypeAlias = list[Callable[[dict], Any]]


class UsageError(ValueError):
    """The command line is wrong."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a question whether another word is meant, empty if none is alike."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


@contextmanager
def blaming_usage() -> Iterator[None]:
    """Turn an error in this context into one of the command line."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


@contextmanager
def writing() -> Iterator[None]:
    """Write a file to its end in this context before a signal ends the command."""
    with stop_on_signals() as stop, stop.saving():
        yield
