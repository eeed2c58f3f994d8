"""Files that are written whole or not at all, and arrays together with JSON in one file, never as pickles."""

import json
import math
import os
import platform
import stat
import sys
import threading
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ntm.arguments import shorten

# The longest header, in bytes. One of empty lists takes thirty times as much memory when it is read
MAX_HEADER = 16_000_000
# What JSON from files may be: how deep its lists and objects are nested, and the characters of a string and of a name
MAX_DEPTH = 100
MAX_STRING = 10_000


# ---- replacing files


def inside(folder, name):
    """The path of a file in the folder of a run: a file there, or none yet.

    Folders come from strangers, too, and a link in one may lead anywhere. The folder itself may be reached over links.
    Another name of the same file, a hard link, does no harm: a file is replaced and never written into.

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
        If there is a link of this name, or something else that is no file, such as a folder or a pipe.
    """
    path = Path(folder) / name
    try:
        mode = path.lstat().st_mode
    except OSError:  # none, or not to be looked at; who opens the file says so
        return path
    if stat.S_ISLNK(mode):
        raise ValueError(f"{path} is a link, and the folder of a run must hold none")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is no file")
    return path


@contextmanager
def atomic_write(path):
    """Give a temporary path to write to, whose file takes the place of `path` in the end.

    Whatever happens before, a full disk or the end of the process, the file that was there stays as it was. What
    killed processes have left beside it is removed.

    Parameters
    ----------
    path : str or path
        Where this is a link, the file that it leads to is replaced.

    Yields
    ------
    str
        In the same folder, with the same ending.

    Raises
    ------
    OSError
        As writing raised it, naming `path`.
    """
    target = os.path.realpath(os.fsdecode(path))
    folder, name = os.path.split(target)
    # Hidden; it tells the computer, the process and the thread that write it
    computer = zlib.crc32(platform.node().encode())
    start, ending = f".{name}.part-{computer:08x}-", os.path.splitext(name)[1]
    _remove_abandoned(folder, start, ending)
    temporary = os.path.join(folder, f"{start}{os.getpid()}-{threading.get_native_id()}{ending}")
    try:
        # What has this name, perhaps a link, is none of ours
        with suppress(FileNotFoundError):
            os.remove(temporary)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(folder)
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary):
            # Of the same kind, as the number tells it
            raise OSError(error.errno, error.strerror, os.fsdecode(path)) from error
        raise
    finally:
        with suppress(OSError):
            os.remove(temporary)


def _remove_abandoned(folder, start, ending):
    """Remove the temporary files, named between `start` and `ending`, of processes that live no more."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if not (name.startswith(start) and name.endswith(ending)):
                continue
            process = name.removeprefix(start).partition("-")[0]
            if process.isdecimal() and not _is_alive(int(process)):
                os.remove(os.path.join(folder, name))


def _is_alive(process):
    if sys.platform == "win32":  # there, signal 0 is no mere question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _sync_folder(folder):
    """Have the folder on disk as well, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---- JSON


def to_json(value, indent=None):
    """The JSON of a value: NumPy's numbers and arrays become Python's, and what is not finite becomes null.

    Parameters
    ----------
    value : dict, list, tuple, str, number, array or None
        And these in dicts, lists and tuples.
    indent : int, optional
        Of spaces; else it is one line.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If something else is in it.
    """
    return json.dumps(_make_json(value), indent=indent, allow_nan=False)


def _make_json(value):
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _make_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_make_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(text):
    """The value of a JSON text. Numbers that are not finite, which other programs may write, become None.

    Raises
    ------
    ValueError
        If it is no JSON, or nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=lambda name: None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    check_json(value)
    return value


def read_json(path):
    """The value in a file of JSON.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no JSON, longer than any that is written here, or nested too deeply; the message begins with the path.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_HEADER:
            raise ValueError(f"it is longer than {MAX_HEADER} bytes")
        return from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {shorten(error)}") from error


def write_json(path, value):
    """Write JSON to a file, by :func:`to_json`; the file is complete or as it was."""
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{to_json(value, indent=2)}\n")


# ---- arrays and JSON


def check_json(value):
    """Raise a `ValueError` unless a value is of what JSON holds, within the bounds of depth and of strings."""
    pending = [(value, 0)]
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
