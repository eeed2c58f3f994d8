"""Data in files: .npz and .npy of NumPy. Pickled objects are never read, and large arrays stay in their files."""

import math
import os
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ntm.arguments import shorten
from ntm.data.fields import (
    ArrayField,
    ArrayFile,
    Field,
    FlatField,
    JoinedField,
    make_field,
    match_names,
)
from ntm.files import atomic_write
from ntm.typing import Array, PathLike

__all__ = ["read_fields", "write_npz"]

#: The bytes that compressed arrays of one file may have in memory: a few compressed bytes may stand for as many zeros
MAX_COMPRESSED = 4_000_000_000
#: In place of `lengths`, where arrays hold the steps of all sequences one after another
FLAT_LENGTHS = "flat_lengths"


def read_fields(path: PathLike) -> dict[str, Field]:
    """Return the arrays in a file or folder, as :meth:`ntm.data.Dataset.open` describes them.

    Returns
    -------
    dict from str to Field
        By ``inputs`` or ``inputs.NAME``, ``targets``, ``mask``, ``lengths`` and ``weights``.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If a file is damaged or cut short, holds pickled objects, unknown names or no inputs. The message names the
        file.
    """
    path = Path(path).absolute()
    if path.is_dir():
        return _read_folder(path)
    return _make_fields(path, _read_npz(path))


def write_npz(path: PathLike, **arrays: Any) -> None:
    """Write arrays to an .npz file that :meth:`ntm.data.Dataset.open` reads, all of it or nothing.

    Parameters
    ----------
    path : str or path
    **arrays : array, ragged list, or dict from str to any of these
        Such as `inputs`, `targets`, `mask` and `weights`. Ragged lists are padded with zeros, and `lengths` is written
        with them. The arrays of a dict are written as ``inputs.NAME``.

    Raises
    ------
    ValueError
        If a value holds anything but real numbers, or ragged lists have other lengths.
    OSError
        If the file cannot be written. The old file stays as it was.
    """
    fields: dict[str, Field] = {}
    for name, value in arrays.items():
        several = value.items() if isinstance(value, Mapping) else ()
        fields |= {f"{name}.{each}": make_field(f"{name}.{each}", part) for each, part in several}
        if not isinstance(value, Mapping):
            fields[name] = make_field(name, value)
    ragged = [field for field in fields.values() if None in field.row_shape]
    if ragged:
        lengths = fields.setdefault("lengths", ArrayField("lengths", ragged[0].steps))
        given = lengths.read(np.arange(len(lengths)))
        for field in ragged:
            if not np.array_equal(field.steps, given):
                raise ValueError(
                    f"write_npz: {field.name} has other lengths than {ragged[0].name} or lengths"
                )
    written = {}
    for name, field in fields.items():
        rows = np.arange(len(field))
        if field in ragged:
            written[name] = field.read_steps(rows, np.zeros_like(rows), int(field.steps.max()))
        else:
            written[name] = field.read(rows) if len(rows) else np.zeros((0, *field.shape))
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **written)  # type: ignore[arg-type]


# ---- Folders


def _read_folder(folder: Path) -> dict[str, Field]:
    """Return the arrays of a folder of .npy files or of .npz files. Files of other kinds may lie beside them."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    single = [path for path in visible if path.suffix == ".npy"]
    shards = [path for path in visible if path.suffix == ".npz"]
    if single and shards:
        raise ValueError(
            f"{folder} holds {single[0].name} and {shards[0].name}: expected .npy files or .npz files, not both"
        )
    if single:
        return _make_fields(folder, {path.stem: _read_npy(path) for path in single})
    if not shards:
        found = ", ".join(path.name for path in visible[:3]) or "nothing"
        raise ValueError(
            f"{folder} holds {found}: expected inputs.npy, targets.npy, ... or .npz files"
        )
    parts = [_make_fields(path, _read_npz(path)) for path in shards]
    for path, part in zip(shards, parts, strict=True):
        _check_shard(path, part, shards[0], parts[0])
    return {name: JoinedField(name, [part[name] for part in parts]) for name in parts[0]}


def _check_shard(
    path: Path, part: Mapping[str, Field], first_path: Path, first: Mapping[str, Field]
) -> None:
    """Raise a `ValueError` unless a shard has the same arrays as the first, with the same axes."""
    if part.keys() != first.keys():
        raise ValueError(
            f"{path} has {', '.join(part)}: expected {', '.join(first)}, as in {first_path.name}"
        )
    for name, field in part.items():
        expected = first[name]
        if (
            len(field.row_shape) != len(expected.row_shape)
            or field.row_shape[1:] != expected.row_shape[1:]
        ):
            raise ValueError(
                f"{path}: {name} has rows of shape {field.row_shape}: expected {expected.row_shape} but for the "
                f"first number, as in {first_path.name}"
            )
        if len(field) != len(part["inputs" if "inputs" in part else next(iter(part))]):
            raise ValueError(
                f"{path}: {name} has {len(field):,} sequences: expected as many as the inputs"
            )


def _make_fields(path: Path, arrays: dict[str, Array | ArrayFile]) -> dict[str, Field]:
    """Return fields of the arrays in a file or folder."""
    flat = arrays.pop(FLAT_LENGTHS, None)
    matched = match_names(arrays, str(path))
    try:
        if flat is None:
            return {name: ArrayField(name, arrays[given]) for name, given in matched.items()}
        if "lengths" in matched:
            raise ValueError(f"{matched['lengths']} and {FLAT_LENGTHS}: expected one of them")
        lengths = _read_flat_lengths(flat)
        return {
            name: _make_flat_field(name, arrays[given], lengths) for name, given in matched.items()
        }
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_flat_lengths(flat: Array | ArrayFile) -> Array:
    lengths = np.array(flat.open() if isinstance(flat, ArrayFile) else flat)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise ValueError(
            f"{FLAT_LENGTHS} has shape {lengths.shape} and dtype {lengths.dtype}: expected integers (N,)"
        )
    wrong = (lengths < 1) | (lengths > 2**48)
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            f"{FLAT_LENGTHS}[{index}] is {lengths[index]}: expected a positive integer"
        )
    return lengths.astype(np.int64)


def _make_flat_field(name: str, array: Array | ArrayFile, lengths: Array) -> Field:
    size, total = (array.shape or (0,))[0], int(lengths.sum())
    if size == total and name != "weights":
        return FlatField(name, array, lengths)
    if size != len(lengths):
        raise ValueError(
            f"{name} has shape {array.shape}: expected {total:,} rows, the sum of {FLAT_LENGTHS}, "
            f"or {len(lengths):,}, one a sequence"
        )
    return ArrayField(name, array)


# ---- Files


def _open(path: Path) -> IO[bytes]:
    """Open a file for reading; refuse folders, pipes and broken links."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path} is no file")
    return open(path, "rb")


def _read_npy(path: Path) -> ArrayFile:
    """Return the array in an .npy file, which stays there."""
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            dtype, shape, order = _read_header(file)
            _check_size(dtype, shape, size - file.tell())
        except ValueError as error:
            raise ValueError(f"{path} {error}") from error
        return ArrayFile(path, dtype, shape, file.tell(), order)


def _read_npz(path: Path) -> dict[str, Array | ArrayFile]:
    """Return the arrays in an .npz file. Those that are not compressed stay there."""
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(2)
        if start != b"PK":
            reason = "is empty" if not size else "is no .npz file"
            raise ValueError(
                f"{path} {reason}: expected an .npz file, or a folder of .npy or .npz files"
            )
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_members(path, archive, file, size)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
            raise ValueError(f"{path} is damaged or cut short: {shorten(error)}") from error


def _read_members(
    path: Path, archive: zipfile.ZipFile, file: IO[bytes], size: int
) -> dict[str, Array | ArrayFile]:
    """Return the arrays of an open .npz file of `size` bytes."""
    arrays: dict[str, Array | ArrayFile] = {}
    compressed = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        where = f"{path}: {name}"
        if name == member.filename or name in arrays or member.flag_bits & 1:
            raise ValueError(
                f"{where} is no array, encrypted, or there twice: expected arrays of numpy.savez"
            )
        with archive.open(member) as content:
            try:
                dtype, shape, order = _read_header(content)
                header = content.tell()
                _check_size(dtype, shape, member.file_size - header)
            except ValueError as error:
                raise ValueError(f"{where} {error}") from error
            if member.compress_type == zipfile.ZIP_STORED:
                end = _find_content(file, member) + member.file_size
                if end > size or member.compress_size != member.file_size:
                    raise ValueError(f"{where} is cut short: it ends after the end of the file")
                offset = end - member.file_size + header
                arrays[name] = ArrayFile(path, dtype, shape, offset, order)
                continue
            compressed += member.file_size
            if compressed > MAX_COMPRESSED:
                raise ValueError(
                    f"{where} has {compressed:,} bytes when it is no longer compressed, more than "
                    f"{MAX_COMPRESSED:,}: write it with numpy.savez, and it is read from the file piece by piece"
                )
            values = np.frombuffer(content.read(), dtype)
        if values.size != math.prod(shape):
            raise ValueError(f"{where} is cut short")
        arrays[name] = values.reshape(shape, order=order)
    return arrays


def _find_content(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Return where in an .npz file the content of a member begins: after its header, name and extra field."""
    file.seek(member.header_offset + 26)
    sizes = np.frombuffer(file.read(4), "<u2")
    return member.header_offset + 30 + int(sizes.sum())


def _read_header(file: IO[bytes]) -> tuple[np.dtype, tuple[int, ...], Any]:
    """Read the header of an .npy file: its dtype, shape and order, ``'C'`` or ``'F'``."""
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise
    except Exception as error:  # whatever NumPy raises for a damaged header
        raise ValueError(f"is no array of NumPy, damaged or cut short: {shorten(error)}") from error
    if dtype.hasobject:
        raise ValueError(
            "holds pickled objects, which are never read: expected an array of numbers"
        )
    if dtype.kind in "US":
        raise ValueError(
            "holds strings: expected numbers; numpy.unique(labels, return_inverse=True) makes labels"
        )
    if dtype.kind not in "biuf":
        raise ValueError(
            f"is of dtype {dtype}: expected integers, floating-point numbers or truth values"
        )
    if any(size < 0 for size in shape):
        raise ValueError(f"is damaged: it has shape {shape}")
    return dtype, shape, "F" if is_fortran else "C"


def _check_size(dtype: np.dtype, shape: tuple[int, ...], size: int) -> None:
    """Raise a `ValueError` unless an array takes `size` bytes."""
    expected = math.prod(shape) * dtype.itemsize
    if size != expected:
        kind = "cut short" if size < expected else "damaged"
        raise ValueError(
            f"is {kind}: expected {expected:,} bytes of shape {shape} and dtype {dtype}, not {size:,}"
        )
