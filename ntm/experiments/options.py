"""Options, described once: what a setting of a run, an option of a network or of a task is.

Settings and networks are dataclasses, and :func:`option` writes help, range and choices beside each default. A task is
a class of its own: its options are the arguments of the constructor, and their help is the docstring's. The command
line, the checks and the docstrings of the dataclasses are made from these :class:`Option` descriptions.
"""

import difflib
import inspect
import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args

from ntm.arguments import Number, check_choice
from ntm.tasks import TASKS, Task

#: The types of the defaults of a task's options
SIMPLE = (bool, int, float, str)

#: What a word of the command line says for no value
NONE = "none"

Class = TypeVar("Class", bound=type)


@dataclass(frozen=True)
class Option:
    """What is known about one option.

    Attributes
    ----------
    name : str
    kind : type
        bool, int, float, str, dict or list.
    default : object
        `dataclasses.MISSING` if a value must be given.
    help : str
    number : Number or None
        The range of an int or float.
    choices : tuple of str
        The values that a str may have; empty if it may have any.
    optional : bool
        Whether None is a value.
    words : tuple of str
        What a number may be instead, such as 'auto'.
    """

    name: str
    kind: type
    default: Any
    help: str = ""
    number: Number | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    words: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What a value must be, for messages."""
        noun = str(self.number) if self.number else self.kind.__name__
        return " or ".join([noun, *map(repr, self.words)] if self.words else [noun]) + (
            ", or None" if self.optional else ""
        )

    def check(self, value: Any) -> Any:
        """Return a value, a number as Python's own int or float.

        Raises
        ------
        ValueError
            If the value is of another type, outside the range or none of the choices.
        """
        if (value is None and self.optional) or (isinstance(value, str) and value in self.words):
            return value
        try:
            if self.number is not None:
                return self.number.check(self.name, value)
            if not isinstance(value, self.kind):
                raise ValueError
        except ValueError:
            raise ValueError(f"{self.name} must be {self.expected}, not {value!r}") from None
        if self.choices:
            check_choice(self.name, value, self.choices)
        return value

    def parse(self, word: str) -> Any:
        """Return the value that a word of the command line stands for.

        Raises
        ------
        argparse.ArgumentTypeError
            If the option cannot have it.
        """
        if self.optional and word.lower() == NONE:
            return None
        if self.number is None or word in self.words:
            return word
        try:
            return self.number(word)
        except ArgumentTypeError:
            raise ArgumentTypeError(f"must be {self.expected}, not {word!r}") from None


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    factory: type | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Iterable[str] = (),
    words: Iterable[str] = (),
) -> Any:
    """Return the field of a dataclass that is an option.

    Parameters
    ----------
    default : object, optional
    help : str
        What the option is, for the command line and the docstring.
    factory : type, optional
        Its instances are the default, dict or list.
    low, high, above : number, optional
        The range of a number: `low` and `high` are allowed, `above` itself is not.
    choices : iterable of str
    words : iterable of str
        What a number may be instead.
    """
    metadata = {
        "help": help,
        "range": {"low": low, "high": high, "above": above},
        "choices": tuple(choices),
        "words": tuple(words),
    }
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@cache
def get_options(kind: type) -> dict[str, Option]:
    """Return the options of a dataclass, by name: those of the class itself, then those that it shares with others."""
    own = sorted(fields(kind), key=lambda each: bool(each.kw_only))
    return {each.name: _make_option(each) for each in own if each.metadata}


def _make_option(each: Field) -> Option:
    kinds = get_args(each.type) or (each.type,)
    kind = next(one for one in kinds if one is not NoneType)
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return Option(
        each.name,
        kind,
        default,
        each.metadata["help"],
        Number(kind, **each.metadata["range"]) if kind in (int, float) else None,
        each.metadata["choices"],
        NoneType in kinds,
        each.metadata["words"],
    )


def get_task_options(task: str | type[Task]) -> dict[str, Option]:
    """Return the options of a task, by name: the constructor's arguments besides batch size and seed.

    Their ranges are checked by the task. An argument whose default is no number, string or truth value is no option.

    Parameters
    ----------
    task : str or type
        A name in :data:`ntm.tasks.TASKS`, or a class.
    """
    task = TASKS[task] if isinstance(task, str) else task
    parameters = inspect.signature(task).parameters.values()
    helps = _read_parameters(task)
    return {
        each.name: Option(
            each.name,
            kind := type(each.default),
            each.default,
            helps.get(each.name, ""),
            Number(kind) if kind in (int, float) else None,
        )
        for each in parameters
        if each.name not in ("batch_size", "seed") and isinstance(each.default, SIMPLE)
    }


def _read_parameters(kind: type) -> dict[str, str]:
    """Return the help of each parameter from the docstrings of a class and its bases."""
    helps: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        _, _, section = (inspect.getdoc(each) or "").partition("Parameters\n----------\n")
        section = re.split(r"\n\n\S.*\n---", section)[0]
        for names, text in re.findall(r"^(\S[^:\n]*):.*\n((?:    .*\n?)*)", section, re.M):
            text = " ".join(text.split()).rstrip(".")
            text = text[:1].lower() + text[1:]
            helps |= {name: _describe_bound(name, text) for name in names.strip().split(", ")}
    return helps


def _describe_bound(name: str, text: str) -> str:
    """Return the help of one end of a range, given the help that both ends share in a docstring."""
    end = {"min": "smallest", "max": "largest"}.get(name.partition("_")[0])
    if end is None:
        return text
    what, is_size, size = text.partition(": the range of the size ")
    return f"{end} size {size}: {what}" if is_size else f"{end} value: {what}"


def check_options(
    owner: str, given: Mapping[str, Any], known: Mapping[str, Option]
) -> dict[str, Any]:
    """Return options as they are checked, each by its description.

    Parameters
    ----------
    owner : str
        The task or network that they are options of, for the message.
    given : dict from str to object
    known : dict from str to Option

    Raises
    ------
    ValueError
        If there is no such option, or it cannot have the value.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"{owner} has no option {name!r}; {hint}its options are {', '.join(known)}"
            )
    return {name: known[name].check(value) for name, value in given.items()}


def document_options(kind: Class) -> Class:
    """Write the options of a dataclass into its docstring, as a decorator."""
    lines = ["    Parameters", "    ----------"]
    for each in get_options(kind).values():
        known = f"{{{', '.join(map(repr, each.choices))}}}" if each.choices else each.kind.__name__
        optional = "".join(f" or {word!r}" for word in each.words)
        optional += " or None" if each.optional else ""
        default = "" if each.default is MISSING else f", {each.default!r} by default"
        lines += [
            f"    {each.name} : {known}{optional}{default}",
            f"        {each.help[:1].upper()}{each.help[1:]}.",
        ]
    summary, raises, errors = (kind.__doc__ or "").rstrip().partition("\n\n    Raises\n")
    kind.__doc__ = summary + "\n\n" + "\n".join(lines) + raises + errors + "\n"
    return kind
