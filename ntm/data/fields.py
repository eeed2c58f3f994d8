"""Where the values of a data set are: arrays, ragged lists, files, or examples that are read when they are needed.

A field has one row for each sequence. Notation: N rows, T steps.
"""

import mmap
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ntm.arguments import shorten
from ntm.typing import Array

__all__ = [
    "ArrayField",
    "ArrayFile",
    "Examples",
    "Field",
    "FlatField",
    "JoinedField",
    "ListField",
    "describe_rows",
    "locate",
    "make_field",
    "match_names",
    "read_examples",
    "to_array",
]

#: What each part of the data may be called in files and in examples
NAMES = {
    "inputs": ("inputs", "x"),
    "targets": ("targets", "y", "label", "labels"),
    "mask": ("mask",),
    "lengths": ("lengths", "length"),
    "weights": ("weights", "weight"),
}
#: The parts of an example, or of a batch, that is a tuple
TUPLE = ("inputs", "targets", "mask", "weights")
# The types of plain numbers and truth values
PLAIN = (int, float, np.number, np.bool_)
# How an object says that NumPy can read it as an array
PROTOCOLS = ("__array__", "__array_interface__", "__dlpack__")
#: Numbers of other libraries that NumPy does not know
SMALL_FLOATS = ("bfloat16", "float8")
# Examples that are read together when their shapes are collected
EXAMPLES = 64


# ---- Names and arrays


def locate(name: str, index: Sequence[int]) -> str:
    """Return how errors name one value of an array, such as ``inputs[3, 0]``."""
    return f"{name}[{', '.join(map(str, index))}]"


def describe_rows(row_shape: Sequence[int | None]) -> str:
    """Return the shape of an array with rows of a shape for errors, such as ``(N, T, 3)``; T where steps differ."""
    sizes = ["N", *("T" if size is None else str(size) for size in row_shape)]
    return f"({', '.join(sizes)})"


def match_names(given: Iterable[str], where: str) -> dict[str, str]:
    """Return the name that each array was given, by the name that it has here.

    Parameters
    ----------
    given : iterable of str
        Such as ``x`` and ``y``, or ``inputs.left``, ``inputs.right`` and ``targets``.
    where : str
        The file or example, for errors.

    Returns
    -------
    dict from str to str
        By ``inputs`` or ``inputs.NAME``, ``targets``, ``mask``, ``lengths`` and ``weights``.

    Raises
    ------
    ValueError
        If a name is unknown, two names stand for the same, or there are no inputs.
    """
    known = {alias: name for name, aliases in NAMES.items() for alias in aliases}
    matched: dict[str, str] = {}
    for each in given:
        several = isinstance(each, str) and each.startswith("inputs.") and each != "inputs."
        if not several and each not in known:
            raise ValueError(
                f"{where}: unknown name {each!r}: expected inputs (or x), targets (or y, label, labels), mask, "
                "lengths, weights, or inputs.NAME for each of several inputs"
            )
        name = each if several else known[each]
        if name in matched:
            raise ValueError(
                f"{where}: {matched[name]!r} and {each!r} are two names of the {name}: expected one of them"
            )
        matched[name] = each
    several_inputs = [name for name in matched if name.startswith("inputs.")]
    if several_inputs and "inputs" in matched:
        raise ValueError(
            f"{where}: {matched['inputs']!r} and {several_inputs[0]!r}: expected one input, or inputs.NAME for each"
        )
    if not several_inputs and "inputs" not in matched:
        raise ValueError(
            f"{where}: no inputs: expected an array of the name inputs or x, or inputs.NAME for each of several, "
            f"not only {', '.join(matched.values()) or 'nothing'}"
        )
    return matched


def to_array(name: str, value: Any) -> Array:
    """Return a value as an array of real numbers or truth values, without a copy where that is possible.

    Parameters
    ----------
    name : str
        The name in errors.
    value : array, number, list of numbers, or an object with ``__array__`` or ``__dlpack__``

    Returns
    -------
    array
        Or an array of objects with one axis, if each object is an array or a list: a ragged list.

    Raises
    ------
    ValueError
        If the value cannot be read as an array, or holds anything but real numbers.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(
            f"Dataset: {name} is a masked array: expected a plain array, and its mask as `mask`"
        )
    if isinstance(value, np.ndarray):
        array = value
    else:
        try:
            array = _read_array(value)
        except Exception as error:  # what another library raises
            raise ValueError(
                f"Dataset: {name} cannot be read as an array of numbers: {shorten(error)}"
            ) from error
    if array.dtype == object and array.size and all(isinstance(each, PLAIN) for each in array.flat):
        array = np.array(array.tolist())  # such as a column of pandas that could have gaps
    if array.dtype.kind not in "biuf" and not _is_ragged(array):
        raise ValueError(f"Dataset: {_describe_refused(name, array)}")
    return array


def _read_array(value: Any) -> Array:
    """Return an object of another library as an array: float32 where NumPy does not know the type of the numbers."""
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        # A tensor of PyTorch: it may have a gradient, or be on a GPU
        value = value.detach().cpu()
        if str(value.dtype).removeprefix("torch.").startswith(SMALL_FLOATS):
            value = value.float()
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name.startswith(SMALL_FLOATS) else array


def to_row(name: str, value: Any) -> Array:
    """Return a value as :func:`to_array` does; refuse ragged lists, too."""
    array = to_array(name, value)
    if array.dtype == object:
        raise ValueError(f"Dataset: {name} is a ragged list: expected an array")
    return array


def _is_ragged(array: Array) -> bool:
    """Return whether an array of objects holds an array or a list in each place."""
    return (
        array.dtype == object
        and array.ndim == 1
        and all(isinstance(each, np.ndarray | list | tuple) for each in array)
    )


def _describe_refused(name: str, array: Array) -> str:
    """Return what is wrong with an array that does not hold real numbers."""
    kind = array.dtype.kind
    if kind == "c":
        return f"{name} has complex numbers ({array.dtype}): expected real numbers, such as two features"
    if kind in "mM":
        return f"{name} has dates or times ({array.dtype}): expected numbers, such as seconds"
    index, value = next(
        (
            (index, each)
            for index, each in np.ndenumerate(array)
            if kind != "O" or not isinstance(each, PLAIN)
        ),
        ((), array),
    )
    value = value.item() if isinstance(value, np.generic) else value
    found = f"{locate(name, index) if index else name} is {shorten(repr(value), 60)}"
    if isinstance(value, str | bytes):
        of_targets = name.partition("[")[0] == "targets"
        hint = " as labels; numpy.unique(labels, return_inverse=True) makes them" * of_targets
        return f"{found}, a string: expected numbers{hint}"
    if kind == "O":
        return f"{found}, of type {type(value).__name__}: expected numbers (of a sparse matrix, toarray())"
    return f"{found}, of dtype {array.dtype}: expected integers, floating-point numbers or truth values"


def _combine(
    name: str, shapes: Sequence[tuple[int, ...]], what: str = "row"
) -> tuple[tuple[int | None, ...], Array]:
    """Return the shape that rows have in common, None where their numbers of steps differ, and their steps (N,)."""
    first = shapes[0]
    for index, shape in enumerate(shapes):
        if len(shape) != len(first) or shape[1:] != first[1:]:
            expected = f"(T, {', '.join(map(str, first[1:]))})" if first[1:] else "(T,)"
            raise ValueError(
                f"Dataset: {name}[{index}] has shape {shape}: expected {expected if first else 'a number'}, "
                f"as {name}[0] of shape {first}"
            )
    if not first:
        return (), np.ones(len(shapes), np.int64)
    steps = np.array([shape[0] for shape in shapes], np.int64)
    same = bool((steps == steps[0]).all())
    return (first[0] if same else None, *first[1:]), steps


def _native(dtype: np.dtype) -> np.dtype:
    """Return a dtype in this machine's order of bytes."""
    return dtype.newbyteorder("=")


# ---- Fields


class Field(ABC):
    """Base class: one row for each of N sequences.

    Attributes
    ----------
    name : str
        Such as ``inputs``, for errors.
    dtype : numpy.dtype
        In this machine's order of bytes.
    row_shape : tuple of int or None
        The shape of a row. None as its first number where the steps of the rows differ.
    steps : array (N,) of int
        The length of the first axis of each row.
    is_fixed : bool
        Whether each reading gives the same values.
    is_padded : bool
        Whether the rows may be longer than the sequences.
    """

    is_fixed: bool = True
    is_padded: bool = False
    name: str
    dtype: np.dtype
    row_shape: tuple[int | None, ...]
    steps: Array

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row, without the number of steps where that differs."""
        return tuple(size for size in self.row_shape if size is not None)

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of one step."""
        return self.shape[0 if None in self.row_shape else 1 :]

    @abstractmethod
    def read_steps(self, rows: Array, starts: Array, num_steps: int) -> Array:
        """Read steps of some rows.

        Parameters
        ----------
        rows, starts : array (B,) of int
            Indices of the rows, and the first step of each.
        num_steps : int

        Returns
        -------
        array (B, num_steps, ...)
            Zeros after the end of a row. It may be a view of the data.
        """

    @abstractmethod
    def read(self, rows: Array) -> Array:
        """Read whole rows of the same shape: an array (B, ...) that may be a view of the data."""

    def release(self) -> None:  # noqa: B027
        """Let go of what was read: pages of a file, which stay in the file, or examples."""

    def _fill(self, parts: Iterable[Array], count: int, num_steps: int) -> Array:
        """Return parts of rows as one array (B, T, ...) with zeros after each end."""
        filled = np.zeros((count, num_steps, *self.features), self.dtype)
        for row, part in zip(filled, parts, strict=True):
            row[: len(part)] = part
        return filled


class ArrayFile(NamedTuple):
    """An array in a file that is mapped into memory whenever it is read, so that no file stays open.

    Attributes
    ----------
    path : Path
    dtype : numpy.dtype
    shape : tuple of int
    offset : int
        Where in the file the array begins, in bytes.
    order : {'C', 'F'}
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    order: Literal["C", "F"] = "C"

    def open(self) -> Array:
        """Return the array as a memory map for reading.

        Raises
        ------
        ValueError
            If the file is shorter now.
        """
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
        except ValueError as error:
            raise ValueError(f"{self.path} has changed since it was opened: {error}") from error


class ArrayField(Field):
    """Rows of an array (N, ...) in memory or in a file."""

    is_padded = True

    def __init__(self, name: str, array: Array | ArrayFile) -> None:
        self.name, self.array = name, array
        if not array.shape:
            raise ValueError(
                f"Dataset: {name} is a single number: expected an array with an axis for the sequences"
            )
        self.dtype = _native(array.dtype)
        self.row_shape = array.shape[1:]
        self.steps = np.full(array.shape[0], array.shape[1] if array.shape[1:] else 1)

    def open(self) -> Array:
        """Return the array; one in a file as a memory map."""
        return self.array.open() if isinstance(self.array, ArrayFile) else self.array

    def read_steps(self, rows: Array, starts: Array, num_steps: int) -> Array:
        array = self.open()
        if (starts == starts[0]).all():
            block = array[_to_slice(rows), starts[0] : starts[0] + num_steps]
            if block.shape[1] == num_steps:
                return block
            return self._fill(block, len(rows), num_steps)
        parts = (
            array[row, start : start + num_steps] for row, start in zip(rows, starts, strict=True)
        )
        return self._fill(parts, len(rows), num_steps)

    def read(self, rows: Array) -> Array:
        return self.open()[_to_slice(rows)]

    def release(self) -> None:
        # A map of mode "c" holds changes that are in no file
        if isinstance(self.array, np.memmap) and self.array.mode in ("r", "r+"):
            pages = getattr(self.array, "_mmap", None)
            if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)


def _to_slice(rows: Array) -> Any:
    """Return indices as a slice where they follow each other, which reads without a copy."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows) and (np.diff(rows) == 1).all():
        return slice(first, last + 1)
    return rows


class ListField(Field):
    """A list of arrays, whose numbers of steps may differ."""

    def __init__(self, name: str, rows: Sequence[Array]) -> None:
        self.name, self.rows = name, rows
        self.row_shape, self.steps = _combine(name, [row.shape for row in rows])
        self.is_padded = None not in self.row_shape
        self.dtype = _native(np.result_type(*{row.dtype for row in rows}))

    def read_steps(self, rows: Array, starts: Array, num_steps: int) -> Array:
        parts = (
            self.rows[row][start : start + num_steps]
            for row, start in zip(rows, starts, strict=True)
        )
        return self._fill(parts, len(rows), num_steps)

    def read(self, rows: Array) -> Array:
        return np.stack([self.rows[row] for row in rows]).astype(self.dtype, copy=False)


class FlatField(Field):
    """Sequences one after another in one array (sum of T_i, ...)."""

    def __init__(self, name: str, array: Array | ArrayFile, lengths: Array) -> None:
        self.name, self.array = name, ArrayField(name, array)
        self.dtype = self.array.dtype
        self.row_shape = (None, *self.array.row_shape)
        self.steps = lengths
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])

    def read_steps(self, rows: Array, starts: Array, num_steps: int) -> Array:
        array = self.array.open()
        ends = np.minimum(self.offsets[rows] + starts + num_steps, self.offsets[rows + 1])
        parts = (
            array[min(first, end) : end]
            for first, end in zip(self.offsets[rows] + starts, ends, strict=True)
        )
        return self._fill(parts, len(rows), num_steps)

    def read(self, rows: Array) -> Array:
        return self.read_steps(rows, np.zeros_like(rows), int(self.steps[rows].max()))


class JoinedField(Field):
    """Several fields, joined one after another: the shards of a folder."""

    def __init__(self, name: str, fields: Sequence[Field]) -> None:
        self.name, self.fields = name, fields
        first = fields[0]
        ragged = len({field.row_shape for field in fields}) > 1 and first.row_shape
        self.row_shape = (None, *first.row_shape[1:]) if ragged else first.row_shape
        self.dtype = np.result_type(*(field.dtype for field in fields))
        self.steps = np.concatenate([field.steps for field in fields])
        self.ends = np.cumsum([len(field) for field in fields])
        self.is_padded = all(field.is_padded for field in fields)

    def read_steps(self, rows: Array, starts: Array, num_steps: int) -> Array:
        block = np.zeros((len(rows), num_steps, *self.features), self.dtype)
        for part, field, first in self._divide(rows):
            block[part] = field.read_steps(rows[part] - first, starts[part], num_steps)
        return block

    def read(self, rows: Array) -> Array:
        block = np.zeros((len(rows), *self.shape), self.dtype)
        for part, field, first in self._divide(rows):
            block[part] = field.read(rows[part] - first)
        return block

    def _divide(self, rows: Array) -> Iterable[tuple[Array, Field, int]]:
        """Give, for each field that holds some of these rows, their places, the field, and its first row."""
        homes = np.searchsorted(self.ends, rows, side="right")
        for home in np.unique(homes):
            yield (
                np.flatnonzero(homes == home),
                self.fields[home],
                int(self.ends[home - 1]) if home else 0,
            )


# ---- Examples


class Examples:
    """Examples of an object with ``__len__`` and ``__getitem__``, such as a PyTorch or Hugging Face data set.

    An example is an array (the inputs), a tuple (inputs, targets[, mask[, weights]]) or a dict of them. The third part
    of a tuple may be the length, an integer, and the inputs may be a dict of several inputs. Examples are read when
    they are needed.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        # The rows that were read last, with their examples: each field asks for its own part, then releases them
        self._last: tuple[list[int], list[dict[str, Array]]] = ([], [])

    def read(self, rows: Array) -> list[dict[str, Array]]:
        """Return the parts of some examples: ``inputs`` or ``inputs.NAME``, ``targets`` and so on."""
        indices = rows.tolist()
        last, examples = self._last
        if indices != last:
            if hasattr(self.source, "__getitems__"):
                found = self.source.__getitems__(indices)
            else:
                found = [self.source[index] for index in indices]
            if len(found) != len(indices):
                raise ValueError(
                    f"Dataset: __getitems__ gave {len(found)} examples: expected {len(indices)}"
                )
            examples = [_split_example(*each) for each in zip(indices, found, strict=True)]
            # One assignment: another thread may read, too
            self._last = (indices, examples)
        return examples

    def release(self) -> None:
        """Forget the examples: they may be others the next time."""
        self._last = ([], [])


def _split_example(index: int, example: Any) -> dict[str, Array]:
    """Return the parts of an example as arrays."""
    where = f"Dataset: example {index}"
    if isinstance(example, tuple):
        if not 1 <= len(example) <= len(TUPLE):
            raise ValueError(
                f"{where} is a tuple of {len(example)}: expected (inputs, targets[, mask[, weights]])"
            )
        parts = dict(zip(TUPLE, example, strict=False))
        if "mask" in parts and np.ndim(parts["mask"]) == 0:
            parts["lengths"] = parts.pop("mask")
    else:
        parts = dict(example) if isinstance(example, Mapping) else {"inputs": example}
    inputs = parts.get("inputs")
    if isinstance(inputs, Mapping):
        del parts["inputs"]
        parts = {f"inputs.{name}": value for name, value in inputs.items()} | parts
    matched = match_names(parts, where)
    return {name: to_row(f"{name}[{index}]", parts[given]) for name, given in matched.items()}


class ExamplesField(Field):
    """One part of each example, such as its inputs."""

    is_fixed = False

    def __init__(
        self, name: str, examples: Examples, shapes: Sequence[tuple[int, ...]], dtype: np.dtype
    ) -> None:
        self.name, self.part = name, name
        self.examples, self.shapes = examples, shapes
        self.row_shape, self.steps = _combine(name, shapes)
        self.is_padded = None not in self.row_shape
        self.dtype = _native(dtype)

    def _get(self, rows: Array) -> list[Array]:
        found = []
        for row, example in zip(rows, self.examples.read(rows), strict=True):
            part = example.get(self.part)
            shape = None if part is None else part.shape
            if part is None or shape != self.shapes[row]:
                raise ValueError(
                    f"Dataset: {self.name}[{row}] has shape {shape} now: expected {self.shapes[row]}, "
                    "as when it was first read"
                )
            found.append(part)
        return found

    def read_steps(self, rows: Array, starts: Array, num_steps: int) -> Array:
        parts = (
            part[start : start + num_steps]
            for part, start in zip(self._get(rows), starts, strict=True)
        )
        return self._fill(parts, len(rows), num_steps)

    def read(self, rows: Array) -> Array:
        return np.stack(self._get(rows)).astype(self.dtype, copy=False)

    def release(self) -> None:
        self.examples.release()


def read_examples(source: Any) -> dict[str, Field]:
    """Read each example once for its shapes, and return a field for each of its parts.

    Parameters
    ----------
    source : object with ``__len__`` and ``__getitem__``

    Returns
    -------
    dict from str to Field

    Raises
    ------
    ValueError
        If there are no examples, or they do not fit together.
    """
    examples, count = Examples(source), len(source)
    if not count:
        raise ValueError("Dataset: there are no examples: expected one at least")
    shapes: dict[str, list[tuple[int, ...]]] = {}
    dtypes: dict[str, set[np.dtype]] = {}
    for start in range(0, count, EXAMPLES):
        rows = np.arange(start, min(start + EXAMPLES, count))
        for index, example in zip(rows, examples.read(rows), strict=True):
            if index and example.keys() != shapes.keys():
                raise ValueError(
                    f"Dataset: example {index} has {', '.join(example)}: expected {', '.join(shapes)}, as in example 0"
                )
            for name, part in example.items():
                shapes.setdefault(name, []).append(part.shape)
                dtypes.setdefault(name, set()).add(part.dtype)
    examples.release()
    return {
        name: ExamplesField(name, examples, each, np.result_type(*dtypes[name]))
        for name, each in shapes.items()
    }


# ---- From whatever is given


def is_map_style(value: Any) -> bool:
    """Return whether examples are to be read from a value: it has a length and items, and is no array or list.

    A list is one, too, where its items are dicts, or tuples whose first part is an array or a list.
    """
    if isinstance(value, list | tuple):
        first = value[0] if value else None
        return isinstance(first, Mapping) or (
            isinstance(first, tuple)
            and 2 <= len(first) <= len(TUPLE)
            and (isinstance(first[0], list | Mapping) or np.ndim(first[0]) > 0)
        )
    return (
        not isinstance(value, str | bytes | bytearray | Mapping | Field)
        and not any(hasattr(value, name) for name in PROTOCOLS)
        and hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
    )


def make_field(name: str, value: Any) -> Field:
    """Return the field of an array, a list of arrays, or an object with items.

    Raises
    ------
    ValueError
        If the value is nothing of that, or holds anything but real numbers.
    """
    if isinstance(value, Field):
        return value
    if is_map_style(value) and not isinstance(value, list | tuple):
        fields = read_examples(value)
        if list(fields) != ["inputs"]:
            raise ValueError(
                f"Dataset: {name} has examples of {', '.join(fields)}: expected one array in each"
            )
        fields["inputs"].name = name
        return fields["inputs"]
    if not isinstance(value, list | tuple):
        if not any(hasattr(value, each) for each in PROTOCOLS):
            raise ValueError(
                f"Dataset: {name} is {shorten(repr(value), 60)}, of type {type(value).__name__}: expected an array, "
                "a list of arrays, or an object with a length and items; ntm.data.Batches takes iterables of batches"
            )
        value = to_array(name, value)
        if value.dtype != object:
            return ArrayField(name, value)
    if not len(value):
        raise ValueError(f"Dataset: {name} is empty: expected one sequence at least")
    if all(isinstance(row, numbers.Number | str | None) for row in value):
        return ArrayField(name, to_array(name, list(value)))
    return ListField(name, [to_row(f"{name}[{index}]", row) for index, row in enumerate(value)])
