"""Arrays together with JSON in one safetensors file.

The format holds no pickles. A checksum in the file covers all arrays and the JSON.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy

from ntm.arguments import shorten
from ntm.files import MAX_HEADER, atomic_write, check_json, from_json
from ntm.typing import Array, ArrayLike, PathLike

__all__ = ["DTYPES", "check_name", "read_arrays", "write_arrays"]

FORMAT = "ntm-lasagne arrays"
VERSION = 1
#: Types of numbers that a file can hold
DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
# Characters of a name
MAX_NAME = 1_000


def write_arrays(
    path: PathLike, arrays: Mapping[str, ArrayLike], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and metadata to a safetensors file, all of it or nothing.

    Parameters
    ----------
    path : str or path
    arrays : mapping of str to array
        Of floating-point numbers of 16 to 64 bits, integers or truth values.
    metadata : dict
        Anything that JSON can hold. Tuples come back as lists, and keys as strings.

    Raises
    ------
    ValueError
        If JSON cannot hold `metadata`, for example because of NaN; if a bound of `ntm.files` is exceeded; or if an
        array has another dtype.
    OSError
        If the file cannot be written; the error names `path`. The old file stays as it was.
    """
    try:
        check_json(metadata)
        text = json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the metadata is not JSON: {error}") from error
    try:
        plain = {name: _make_plain(name, array) for name, array in arrays.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "sha256": _digest(plain, text),
        "about": text,
    }
    content = safetensors.numpy.save(plain, header)
    if int.from_bytes(content[:8], "little") > MAX_HEADER:
        raise ValueError(
            f"{path}: the metadata and the names of the arrays are longer than {MAX_HEADER} bytes"
        )
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def read_arrays(path: PathLike) -> tuple[dict[str, Array], Any]:
    """Read a file of :func:`write_arrays`.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    arrays : dict of str to array
        In the order of their names.
    metadata : dict

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is empty, truncated, damaged, of another kind, or of a later version of the format.
    """
    try:
        with open(path, "rb") as file:
            header = _read_header(file)
            file.seek(0)
            content = file.read()
        try:
            found = safetensors.numpy.load(content)
            arrays = {name: np.require(found[name], requirements="W") for name in sorted(found)}
        except Exception as error:
            raise ValueError(f"is damaged: {shorten(error)}") from error
        text = header.get("about", "")
        if header.get("sha256") != _digest(arrays, text):
            raise ValueError("is damaged: its content does not have the checksum noted in it")
        try:
            metadata = from_json(text)
        except ValueError as error:
            raise ValueError(f"is damaged: the metadata cannot be read: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    return arrays, metadata


def check_name(name: Any) -> str | None:
    """Return a name if a file may hold it: ``None``, or up to a thousand printable characters.

    Raises
    ------
    ValueError
        If a file may not hold the name.
    """
    if name is None:
        return name
    if not isinstance(name, str) or not name.isprintable() or len(name) > MAX_NAME:
        raise ValueError(
            f"a name must be printable characters, {MAX_NAME} at most, not {shorten(repr(name), 100)}"
        )
    return name


def _make_plain(name: object, array: Any) -> Array:
    """Return an array as a file lays it out: without gaps, the last axis fastest, little-endian."""
    array = np.asarray(array)
    if not isinstance(name, str) or name == "__metadata__":
        raise ValueError(f"{name!r} cannot be the name of an array")
    if array.dtype.name not in DTYPES:
        raise ValueError(f"array {name!r} is of dtype {array.dtype}, which a file cannot hold")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _digest(arrays: Mapping[str, Array], text: str) -> str:
    """Return the SHA-256 of arrays, with their names, dtypes and shapes, and a text."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _read_header(file: BinaryIO) -> dict[str, str]:
    """Read what the header of a safetensors file says besides its arrays; check the length of the file.

    The file holds the length of the header in 8 bytes, the header in JSON, and the arrays.
    """
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
        entries = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        expected = 8 + length + int(end)
        written_by, version = entries.get("format"), entries.get("version")
        if not all(isinstance(each, str) for each in entries.values()):
            raise ValueError("its metadata are not strings")
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
    return entries
