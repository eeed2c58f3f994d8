"""What targets are: bits, classes or numbers, one for each step or one for each sequence. Guesses and checks.

Notation: N sequences, T steps, O outputs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ntm.arguments import check_choice, is_integer
from ntm.data.fields import Field, describe_rows, locate
from ntm.data.layout import KINDS
from ntm.typing import Array

__all__ = [
    "PER",
    "TargetShape",
    "TargetValues",
    "Values",
    "arrange_targets",
    "check_options",
    "convert",
    "decide",
    "describe_sizes",
    "fit_steps",
    "refuse_steps",
    "to_float",
]

#: What there may be a target for
PER = ("step", "sequence")
#: The largest label: labels are int32
LARGEST_LABEL = 2**31 - 2
#: The largest number of float32
LARGEST_FLOAT = float(np.finfo(np.float32).max)


class TargetShape(NamedTuple):
    """How targets lie in their array.

    Attributes
    ----------
    per_step : bool
        Whether there is a target for each step, or one for each sequence.
    num_features : int or None
        O, the length of the last axis. None where a target is a single value without an axis.
    """

    per_step: bool
    num_features: int | None


class Values:
    """What a scan found in the values that count.

    Parameters
    ----------
    name : str
        Of the array, for errors.

    Attributes
    ----------
    low, high : number or None
        The smallest and the largest value. None before the first value.
    offences : dict from str to tuple of index and value
        The first value that is not ``finite``, and for targets what :class:`TargetValues` adds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.low: Any = None
        self.high: Any = None
        self.offences: dict[str, tuple[tuple[int, ...], Any]] = {}

    def add(self, block: Array, counted: Array | None, rows: Array, start: int) -> None:
        """Look at a block.

        Parameters
        ----------
        block : array (n, t, ...), or (n, ...) of values without time
        counted : array (n, t) of bool, or None
            Which steps count; None if the values have no time.
        rows : array (n,) of int
            The indices of the rows, for errors.
        start : int
            The first step, for errors; zero if the values have no time.
        """
        place = _Place(block, None if counted is None or counted.all() else counted, rows, start)
        values = block if place.counted is None else block[place.counted]
        if not values.size:
            return
        if values.dtype == bool:
            values = values.view(np.uint8)
        low, high = values.min().item(), values.max().item()
        self.low = low if self.low is None else min(low, self.low)
        self.high = high if self.high is None else max(high, self.high)
        if values.dtype.kind == "f" and not (low >= -LARGEST_FLOAT and high <= LARGEST_FLOAT):
            # NaN is neither above nor below; float64 may hold numbers that float32 does not
            wrong = ~np.isfinite(values)
            if values.dtype.itemsize > 4:
                wrong |= np.abs(values) > LARGEST_FLOAT
            self._note("finite", wrong, place)
        if "finite" not in self.offences:
            self._examine(values, low, high, place)

    def _examine(self, values: Array, low: Any, high: Any, place: "_Place") -> None:
        """Look at finite values (M, ...) further."""

    def _note(self, offence: str, wrong: Array, place: "_Place") -> None:
        """Keep the first value that is wrong, if there is one and none was before."""
        if offence in self.offences or not wrong.any():
            return
        first = np.unravel_index(int(wrong.argmax()), wrong.shape)
        self.offences[offence] = place.find([int(each) for each in first])

    def check_finite(self) -> None:
        """Raise a `ValueError` if a value is NaN, infinite, or beyond float32."""
        self.refuse("finite", "finite numbers that float32 can hold")

    def refuse(self, offence: str, expected: str) -> None:
        """Raise a `ValueError` with the place of an offence, if there was one, and what was expected."""
        if offence in self.offences:
            index, value = self.offences[offence]
            given = "is not one-hot" if value is None else f"is {value}"
            raise ValueError(f"Dataset: {locate(self.name, index)} {given}: expected {expected}")


class TargetValues(Values):
    """What a scan found in targets.

    It notes the first value that is no ``bit``, no ``whole`` number, no ``label``, and the first target that is not
    ``one-hot``. The value of the last is None.

    Parameters
    ----------
    name : str
        Of the array, for errors.
    limit : int, optional
        Labels must be below.
    one_hot : bool, optional
        Whether the last axis may be one-hot.
    """

    def __init__(self, name: str, limit: int | None, one_hot: bool) -> None:
        super().__init__(name)
        self.limit = LARGEST_LABEL + 1 if limit is None else limit
        self.one_hot = one_hot

    def _examine(self, values: Array, low: Any, high: Any, place: "_Place") -> None:
        if values.dtype.kind == "f" and "whole" not in self.offences:
            self._note("whole", values != np.rint(values), place)
        if "bit" not in self.offences:
            self._note("bit", (values != 0) & (values != 1), place)
        if low < 0 or high >= self.limit:
            wrong = values < 0
            if high >= self.limit:
                wrong |= values >= self.limit
            self._note("label", wrong, place)
        if self.one_hot and "one-hot" not in self.offences:
            wrong = ((values != 0).sum(-1) != 1) | (values.max(-1) != 1)
            self._note("one-hot", wrong, place)


class _Place(NamedTuple):
    """Where a block lies in the data: see :meth:`Values.add`. `counted` is None if all steps count."""

    block: Array
    counted: Array | None
    rows: Array
    start: int

    def find(self, index: list[int]) -> tuple[tuple[int, ...], Any]:
        """Return the index in the data, and the value, of what is at an index of the values that count."""
        if self.counted is not None:
            index = [*np.argwhere(self.counted)[index[0]].tolist(), *index[1:]]
        value = self.block[tuple(index)]
        row, *others = index
        if others:
            others[0] += self.start
        return (int(self.rows[row]), *others), None if np.ndim(value) else value.item()


def check_options(kind: str | None, per: str | None, num_outputs: int | None) -> None:
    """Raise a `ValueError` if an option of targets is unknown, or `num_outputs` is no positive integer."""
    if kind is not None:
        check_choice("kind", kind, KINDS)
    if per is not None:
        check_choice("per", per, PER)
    if num_outputs is not None and (not is_integer(num_outputs) or num_outputs < 1):
        raise ValueError(f"Dataset: num_outputs must be a positive integer, not {num_outputs!r}")
    if kind == "own" and num_outputs is not None:
        raise ValueError("Dataset: targets of kind 'own' have no num_outputs")


def arrange_targets(
    targets: Field, lengths: Array, steps: Array, kind: str | None, per: str | None
) -> TargetShape:
    """Return whether targets are per step, and their output axis, from their shape.

    Parameters
    ----------
    targets : Field
    lengths : array (N,) of int
        Of the sequences.
    steps : array (N,) of int
        Of the arrays of the inputs, which may be longer.
    kind, per : str or None
        As the user gave them.

    Raises
    ------
    ValueError
        If the shape does not fit; it names the first sequence whose steps do not.
    """
    shape = targets.row_shape
    if 0 in shape:
        raise ValueError(f"Dataset: targets has shape {describe_rows(shape)}: expected values")
    if not shape:
        if per == "step":
            raise ValueError(
                "Dataset: targets has shape (N,): expected (N, T) or (N, T, O) for one a step"
            )
        return TargetShape(False, None)
    fits = fit_steps(targets, lengths, steps)
    # Without time, (N, O) is the only shape, but for targets of the user's own
    can_be_of_sequences = shape[0] is not None and (len(shape) == 1 or kind == "own")
    if per == "sequence" or (per is None and not fits and can_be_of_sequences):
        if not can_be_of_sequences:
            raise ValueError(
                f"Dataset: targets has shape {describe_rows(shape)}: expected (N,) or (N, O) for one a sequence"
            )
        return TargetShape(False, shape[-1])
    if not fits:
        raise refuse_steps(targets, lengths)
    if len(shape) > 2 and kind != "own":
        raise ValueError(
            f"Dataset: targets has shape {describe_rows(shape)}: expected (N, T) or (N, T, O)"
        )
    return TargetShape(True, shape[-1] if len(shape) > 1 else None)


def fit_steps(field: Field, lengths: Array, steps: Array) -> bool:
    """Return whether the rows of a field are as long as the sequences, or as the arrays of the inputs.

    Parameters
    ----------
    field : Field
    lengths : array (N,) of int
        Of the sequences.
    steps : array (N,) of int
        Of the arrays of the inputs, which may be longer. A padded field has as many as the longest.
    """
    return (
        field.row_shape[0] == steps.max()
        or np.array_equal(field.steps, lengths)
        or np.array_equal(field.steps, steps)
    )


def refuse_steps(field: Field, lengths: Array) -> ValueError:
    """Return the error of a field with other numbers of steps."""
    index = int((field.steps != lengths).argmax())
    return ValueError(
        f"Dataset: {field.name}[{index}] has {field.steps[index]:,} steps: expected {lengths[index]:,}, "
        f"as inputs[{index}]"
    )


def decide(
    values: TargetValues,
    dtype: np.dtype,
    shape: TargetShape,
    kind: str | None,
    num_outputs: int | None,
) -> tuple[str, int | None, str]:
    """Return the kind of targets, the number of outputs, and what the kind was guessed from (empty if it was given).

    Raises
    ------
    ValueError
        If a value is none of its kind, or the number of outputs is another than the given one.
    """
    values.check_finite()
    reason = ""
    if kind is None:
        kind, reason = _guess(values, dtype, shape.num_features)
    if kind == "own":
        return kind, None, reason
    width = 1 if shape.num_features is None else shape.num_features
    if kind == "classes" and width == 1:
        hint = "" if not reason else "; if these are numbers, give kind='numbers'"
        values.refuse("whole", "whole numbers as labels of classes" + hint)
        bound = f" to {values.limit - 1:,}" + (
            ", one less than num_outputs" if num_outputs is not None else ""
        )
        values.refuse(
            "label", f"labels of classes from 0{bound}{hint}; a mask of 0 leaves steps out"
        )
        return kind, num_outputs or int(values.high) + 1, reason
    if kind == "classes":
        values.refuse("one-hot", "a single 1 among zeros, as the targets are classes")
    if kind == "bits":
        values.refuse("bit", "0 or 1, as the targets are bits")
    if num_outputs is not None and num_outputs != width:
        raise ValueError(
            f"Dataset: targets have {width} outputs: expected num_outputs = {num_outputs}"
        )
    return kind, width, reason


def _guess(values: TargetValues, dtype: np.dtype, num_features: int | None) -> tuple[str, str]:
    """Return the kind that targets seem to have, and from what that was guessed."""
    if dtype.kind == "b":
        return "bits", "guessed from bool values"
    digits = ".4g" if dtype.kind == "f" else ","
    spread = f"guessed from {dtype} values {values.low:{digits}} to {values.high:{digits}}"
    if dtype.kind in "iu" and (
        num_features is None or (num_features == 1 and "bit" in values.offences)
    ):
        return "classes", spread
    if "bit" in values.offences:
        return "numbers", spread
    if num_features is not None and num_features > 1 and "one-hot" not in values.offences:
        return "classes", f"guessed from one-hot {dtype} values"
    return "bits", f"guessed from {dtype} values 0 and 1"


def convert(targets: Array, kind: str, shape: TargetShape) -> Array:
    """Return targets as batches have them: labels as int32 without an axis, bits and numbers with one.

    Parameters
    ----------
    targets : array (B, T, O), (B, T), (B, O) or (B,)
        Zeros where a step does not count.
    kind : str
    shape : TargetShape

    Returns
    -------
    array
        Bits are float32. Numbers keep their dtype if it is one of floating-point numbers.
    """
    if kind == "own":
        return targets.astype(targets.dtype.newbyteorder("="))
    if kind == "classes":
        if shape.num_features is not None:
            targets = targets.argmax(-1) if shape.num_features > 1 else targets[..., 0]
        return targets.astype(np.int32)
    if shape.num_features is None:
        targets = targets[..., None]
    return targets.astype(np.float32 if kind == "bits" else to_float(targets.dtype))


def to_float(dtype: np.dtype) -> np.dtype:
    """Return the dtype of floating-point numbers that values of a dtype become: float16, float32 or float64."""
    if dtype.kind == "f":
        return dtype.newbyteorder("=") if dtype.itemsize <= 8 else np.dtype(np.float64)
    return np.dtype(np.float32) if dtype.kind == "b" else np.promote_types(dtype, np.float32)


def describe_sizes(sizes: Sequence[int]) -> str:
    """Return numbers with a cross between them, such as ``32 × 3``."""
    return " × ".join(f"{size:,}" for size in sizes)
