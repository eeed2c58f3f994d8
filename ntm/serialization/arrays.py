"""Arrays together with JSON in one safetensors file, never as pickles."""

import hashlib
import json
import os

import numpy as np
import safetensors.numpy

from ntm.arguments import shorten
from ntm.files import MAX_HEADER, atomic_write, check_json, from_json

FORMAT = "ntm-lasagne arrays"


VERSION = 1


DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


MAX_NAME = 1_000


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
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
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
