"""Files that are written whole or not at all, and JSON."""

import json
import math
import os
import platform
import stat
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ntm.arguments import shorten
from ntm.typing import PathLike

__all__ = [
    "atomic_write",
    "check_folder_of",
    "check_json",
    "from_json",
    "inside",
    "read_json",
    "to_json",
    "write_json",
]

# The longest JSON that is read, in bytes. JSON of empty lists takes thirty times as much memory when it is read
MAX_HEADER = 16_000_000
# Bounds of JSON from files: how deep lists and objects are nested, and the characters of a string
MAX_DEPTH = 100
MAX_STRING = 10_000


# ---- Writing and finding files


def inside(folder: PathLike, name: str) -> Path:
    """Return the path of a file in the folder of a run; refuse links.

    A folder may come from a stranger, and a link in the folder may lead anywhere. The path of the folder itself may
    contain links. A hard link does no harm: files are replaced, never written into.

    Parameters
    ----------
    folder : str or path
    name : str

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the name is that of a link, a folder, a pipe or anything else but a file.
    """
    path = Path(folder) / name
    try:
        mode = path.lstat().st_mode
    except OSError:  # the file is missing or hidden: whoever opens the file reports that
        return path
    if stat.S_ISLNK(mode):
        raise ValueError(f"{path} is a link, and the folder of a run must hold none")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is no file")
    return path


def check_folder_of(path: PathLike, name: str) -> None:
    """Raise an `OSError` if a file could not be written, for want of its folder or as `path` is a folder itself.

    Parameters
    ----------
    path : str or path
    name : str
        What the path is an argument of, for the message.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{name}: {path} is a folder: expected the path of a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{name}: {path}: there is no folder {target.parent}")


@contextmanager
def atomic_write(path: PathLike) -> Iterator[str]:
    """Give a temporary path to write to; at the end the file there replaces `path`.

    If anything fails before, such as a full disk or the end of the process, the old file stays as it was. Temporary
    files that killed processes left beside `path` are removed.

    Parameters
    ----------
    path : str or path
        Where `path` is a link, the file behind the link is replaced.

    Yields
    ------
    str
        The temporary path: in the same folder, with the same ending.

    Raises
    ------
    OSError
        If writing fails; the error names `path`.
    """
    target = os.path.realpath(os.fsdecode(path))
    folder, name = os.path.split(target)
    # A hidden file, named after the computer, the process and the thread that write it
    computer = zlib.crc32(platform.node().encode())
    start, ending = f".{name}.part-{computer:08x}-", os.path.splitext(name)[1]
    _remove_abandoned(folder, start, ending)
    temporary = os.path.join(folder, f"{start}{os.getpid()}-{threading.get_native_id()}{ending}")
    try:
        # A file or link of this name was not made here
        with suppress(FileNotFoundError):
            os.remove(temporary)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(folder)
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary):
            # OSError chooses its subclass by the number
            raise OSError(error.errno, error.strerror, os.fsdecode(path)) from error
        raise
    finally:
        with suppress(OSError):
            os.remove(temporary)


def _remove_abandoned(folder: str, start: str, ending: str) -> None:
    """Remove the temporary files of processes that have ended, by the start and ending of their names."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if not (name.startswith(start) and name.endswith(ending)):
                continue
            process = name.removeprefix(start).partition("-")[0]
            if process.isdecimal() and not _is_alive(int(process)):
                os.remove(os.path.join(folder, name))


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # there, signal 0 is no mere question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _sync_folder(folder: str) -> None:
    """Write the folder's list of files to disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---- JSON


def to_json(value: Any, indent: int | None = None) -> str:
    """Return the JSON of a value; NumPy numbers and arrays become plain, NaN and infinity become null.

    Parameters
    ----------
    value : dict, list, tuple, str, number, array or None
        Dicts, lists and tuples may be nested.
    indent : int, optional
        Spaces of each level; one line unless given.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If the value holds anything else.
    """
    return json.dumps(_make_json(value), indent=indent, allow_nan=False)


def _make_json(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _make_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_make_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(text: str) -> Any:
    """Return the value of a JSON text; NaN and infinity, which other programs may write, become None.

    Raises
    ------
    ValueError
        If the text is not JSON, or is nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=lambda name: None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    check_json(value)
    return value


def read_json(path: PathLike) -> Any:
    """Read the value in a file of JSON.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not JSON, is longer than 16 MB, or is nested too deeply. The message begins with the path.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_HEADER:
            raise ValueError(f"it is longer than {MAX_HEADER} bytes")
        return from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {shorten(error)}") from error


def write_json(path: PathLike, value: Any) -> None:
    """Write the JSON of a value to a file, all of it or nothing (see :func:`to_json` and :func:`atomic_write`)."""
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{to_json(value, indent=2)}\n")


def check_json(value: Any) -> None:
    """Raise a `ValueError` if JSON cannot hold a value, or a string or the nesting is beyond the bounds."""
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        if isinstance(value, list | tuple | dict):
            pending += [(each, depth + 1) for each in value]
            if isinstance(value, dict):
                pending += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, str):
            if len(value) > MAX_STRING:
                raise ValueError(
                    f"it holds a string of {len(value)} characters, and {MAX_STRING} are the most"
                )
        elif value is not None and not isinstance(value, bool | int | float):
            raise ValueError(f"{value!r} is nothing that JSON holds")
