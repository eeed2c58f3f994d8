"""What all commands share: exit codes, and errors of the command line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from ntm.interruption import stop_on_signals

DONE, FAILED, WRONG_USAGE, NOT_SOLVED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141
#: What a command that is interrupted prints where nothing is trained, and its exit code
END = ("ntm: interrupted", INTERRUPTED)

Loggers: TypeAlias = list[Callable[[dict], Any]]


class UsageError(ValueError):
    """The command line is wrong."""


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
