"""Tasks of the user's own, by names such as ``my_module:MyTask``.

Importing a module runs its code. So a module is imported only when the user has typed its name: a name in a file, which
may come from a stranger, is compared with what was typed and never imported.
"""

import importlib
import inspect
import os
import re
import sys
import traceback
from difflib import get_close_matches
from types import ModuleType

from ntm.arguments import check_choice, shorten
from ntm.tasks import TASKS, Task

#: What stands between the module and the class
COLON = ":"
#: A module, which may be in packages, and a class
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)


class OwnTaskError(ValueError):
    """A task of the user's own cannot be imported or made."""


def name_task(kind: type[Task]) -> str:
    """Return the name of a class of tasks: that of :data:`ntm.tasks.TASKS`, or ``module:Class``."""
    known = {each: name for name, each in TASKS.items()}
    return known.get(kind) or f"{kind.__module__}{COLON}{kind.__name__}"


def name_own_task(kind: type[Task]) -> str | None:
    """Return the name of a class of tasks, such as ``module:Class``, if it is of the user's own."""
    name = name_task(kind)
    return None if name in TASKS else name


def shorten_name(name: str) -> str:
    """Return the name of a task for files and folders: of a task of the user's own the name of the class."""
    return name.rpartition(COLON)[2]


def check_own_task(name: str, own_task: type[Task] | None) -> None:
    """Check that a class is the task of the user's own that a file names.

    The module may have another name than when the run began: the class must have the name.

    Raises
    ------
    OwnTaskError
        If there is no class, or one of another name.
    ValueError
        If the name is none of a task.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        check_choice("task", shorten(name, 100), TASKS)
    if own_task is None:
        raise OwnTaskError(
            f"the task is {name}, of the user's own, and a name in a file is never imported. If you trust that module, "
            f"type the name: --task {name} (in a program: task={shorten_name(name)})"
        )
    if shorten_name(name) != own_task.__name__:
        raise OwnTaskError(f"the task is {name}, and {name_task(own_task)} was given")


def import_task(name: str) -> type[Task]:
    """Import a task of the user's own, from the current folder or from where Python finds modules.

    Call this with names that the user has typed, never with a name from a file: the module's code runs.

    Parameters
    ----------
    name : str
        Such as ``"my_module:MyTask"``.

    Returns
    -------
    type
        A subclass of :class:`ntm.tasks.Task` that can be made without arguments.

    Raises
    ------
    OwnTaskError
        If there is no such module or class, the class is no task, its constructor needs arguments, or the module's
        code fails. The message says where.
    """
    module_name, _, class_name = name.partition(COLON)
    if not NAME.fullmatch(name) or module_name.endswith(".py"):
        raise OwnTaskError(
            f"{shorten(name, 100)!r} is no name of a task of your own: expected module:Class, such as "
            "my_module:MyTask for the class MyTask in my_module.py"
        )
    kind = _find_class(_import_module(module_name), class_name)
    _check_constructor(name, kind)
    return kind


def _import_module(name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        # As `python -m` does. It stays there: the module may import others later
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise OwnTaskError(
                f"there is no module {missing!r} in the current folder, {folder}, nor where Python finds modules"
            ) from error
        raise OwnTaskError(_describe_failure(name, error)) from error
    except (Exception, SystemExit) as error:
        raise OwnTaskError(_describe_failure(name, error)) from error


def _describe_failure(name: str, error: BaseException) -> str:
    """Describe in a line what went wrong in a module's code, and where: the last line in the current folder."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen")
    ]
    frames = [frame for frame in frames if frame.filename.startswith(os.getcwd())] or frames
    where = ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}: "
    elif frames:
        where = f"{frames[-1].filename}, line {frames[-1].lineno}: "
    message = error.msg if isinstance(error, SyntaxError) else error
    return f"importing {name} failed: {where}{type(error).__name__}: {shorten(message, 200)}"


def _find_class(module: ModuleType, name: str) -> type[Task]:
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, Task) and found is not Task:
        return found
    tasks = [
        each
        for each, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Task)
        and value.__module__ == module.__name__
    ]
    close = get_close_matches(name, tasks, n=1) or tasks[:1]
    hint = f"; did you mean {module.__name__}{COLON}{close[0]}?" if close else ""
    if not hasattr(module, name):
        raise OwnTaskError(f"the module {module.__name__} has no name {name!r}{hint}")
    raise OwnTaskError(
        f"{module.__name__}{COLON}{name} must be a subclass of ntm.tasks.Task, not {shorten(repr(found), 100)}{hint}"
    )


def _check_constructor(name: str, kind: type[Task]) -> None:
    """Raise an `OwnTaskError` unless a task can be made from a batch size and a seed alone."""
    parameters = inspect.signature(kind).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    missing = [each for each in ("batch_size", "seed") if each not in parameters and not takes_any]
    if missing:
        raise OwnTaskError(
            f"{name}: the constructor must take {' and '.join(missing)}, and hand them to Task.__init__: "
            f"{kind.__name__}{inspect.signature(kind)}"
        )
    needed = [
        each.name
        for each in parameters.values()
        if each.default is each.empty
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        and each.name not in ("batch_size", "seed")
    ]
    if needed:
        raise OwnTaskError(
            f"{name}: the constructor needs {', '.join(needed)}: give each argument a default; a default that is a "
            "number, a string, True or False makes the argument an option of the command line"
        )
