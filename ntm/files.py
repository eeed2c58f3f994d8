"""Files that are written whole or not at all, and arrays together with JSON in one file, never as pickles."""

import hashlib
import json
import math
import os
import platform
import stat
import threading
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import safetensors.numpy

FORMAT = "ntm-lasagne arrays"
VERSION = 1
DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
# The longest header, in bytes. One of empty lists takes thirty times as much memory when it is read
MAX_HEADER = 16_000_000
# What JSON from files may be: how deep its lists and objects are nested, and the characters of a string and of a name
MAX_DEPTH = 100
MAX_STRING = 10_000
MAX_NAME = 1_000


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
def replacing(path):
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
    if os.name != "posix":  # elsewhere, signal 0 is no mere question
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
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{to_json(value, indent=2)}\n")


# ---- arrays and JSON


def write_arrays(path, arrays, about):
    """Write arrays, and what is to be said about them, to a safetensors file; it is complete or not there.

    Parameters
    ----------
    path : str or path
    arrays : mapping of str to array
        Of floating-point numbers of 16 to 64 bits, integers or truth values.
    about : dict
        Anything that JSON can hold. It comes back as JSON has it: tuples as lists, keys as strings.

    Raises
    ------
    ValueError
        If `about` is nothing for JSON, as NaN is not, or beyond the bounds of what is read; or an array is of another
        dtype.
    OSError
        If the file cannot be written; it names `path`. The file that was there stays as it was.
    """
    try:
        check_json(about)
        text = json.dumps(about, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: what is said about the arrays is not JSON: {error}") from error
    try:
        plain = {name: _make_plain(name, array) for name, array in arrays.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "sha256": _digest(plain, text),
        "about": text,
    }
    content = safetensors.numpy.save(plain, metadata)
    if int.from_bytes(content[:8], "little") > MAX_HEADER:
        raise ValueError(
            f"{path}: what is said about the arrays, and their names, are longer than {MAX_HEADER} bytes"
        )
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def read_arrays(path):
    """Read a file of :func:`write_arrays`.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    arrays : dict of str to array
        In the order of their names.
    about : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, truncated, damaged, another kind of file, or of a later version of the format.
    """
    try:
        with open(path, "rb") as file:
            metadata = _read_metadata(file)
            file.seek(0)
            content = file.read()
        try:
            found = safetensors.numpy.load(content)
            arrays = {name: np.require(found[name], requirements="W") for name in sorted(found)}
        except Exception as error:
            raise ValueError(f"is damaged: {shorten(error)}") from error
        text = metadata.get("about", "")
        if metadata.get("sha256") != _digest(arrays, text):
            raise ValueError("is damaged: its content does not have the checksum noted in it")
        try:
            about = from_json(text)
        except ValueError as error:
            raise ValueError(
                f"is damaged: what is said about the arrays cannot be read: {error}"
            ) from error
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    return arrays, about


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


def check_name(name):
    """Return a name that a file may hold: ``None`` or printable characters, a thousand at most.

    Raises
    ------
    ValueError
        If it is another.
    """
    if name is None:
        return name
    if not isinstance(name, str) or not name.isprintable() or len(name) > MAX_NAME:
        raise ValueError(
            f"a name must be printable characters, {MAX_NAME} at most, not {shorten(repr(name), 100)}"
        )
    return name


def shorten(text, length=400):
    """Text for a message, such as that of an error: one line of printable characters, of bounded length."""
    text = " ".join(str(text).split())
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return text if text.isprintable() else ascii(text)[1:-1]


def _make_plain(name, array):
    """The array as it is laid out in a file: without gaps, the last axis fastest, little-endian."""
    array = np.asarray(array)
    if not isinstance(name, str) or name == "__metadata__":
        raise ValueError(f"{name!r} cannot be the name of an array")
    if array.dtype.name not in DTYPES:
        raise ValueError(f"array {name!r} is of dtype {array.dtype}, which a file cannot hold")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _digest(arrays, text):
    """The SHA-256 of arrays, with their names, dtypes and shapes, and a text."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _read_metadata(file):
    """The metadata of a file: the length of a header, the header in JSON, the arrays."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise ValueError("is empty")
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9:
        raise ValueError(f"is not a file of arrays, or truncated: it has only {size} bytes")
    if start[8:9] != b"{" or length > MAX_HEADER:
        raise ValueError("is not a file of arrays: another program wrote it")
    if size < 8 + length:
        raise ValueError(f"is truncated: expected more than {8 + length} bytes, but it has {size}")
    try:
        header = json.loads(b"{" + file.read(length - 1))
        metadata = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        expected = 8 + length + int(end)
        written_by, version = metadata.get("format"), metadata.get("version")
        if not all(isinstance(each, str) for each in metadata.values()):
            raise ValueError("its metadata are no strings")
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"is damaged: its header cannot be read: {shorten(repr(error))}"
        ) from error
    if written_by != FORMAT:
        raise ValueError("is a safetensors file that another program wrote")
    if version != str(VERSION):
        raise ValueError(
            f"is of version {shorten(version, 50)} of the format, and this ntm-lasagne reads version "
            f"{VERSION}; a later one may read it"
        )
    if size != expected:
        kind = "truncated" if size < expected else "damaged"
        raise ValueError(f"is {kind}: expected {expected} bytes, but it has {size}")
    return metadata
