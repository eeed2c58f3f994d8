"""What targets are: bits, classes or numbers, one for each step or one for each sequence. Guesses and checks.

Notation: N sequences, T steps, O outputs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ntm.arguments import LARGEST, check_choice, is_integer
from ntm.data.fields import Field, locate
from ntm.data.layout import KINDS
from ntm.typing import Array

__all__ = ["PER", "TargetShape", "Values", "arrange_targets", "check_options", "convert", "decide"]

#: What there may be a target for
PER = ("step", "sequence")
#: The largest label: labels are int32
LARGEST_LABEL = 2**31 - 2


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
    limit : int, optional
        Labels must be below.
    one_hot : bool, optional
        Whether to look for steps that are not one-hot, too.

    Attributes
    ----------
    low, high : number or None
        The smallest and the largest value. None before the first value.
    offences : dict from str to tuple of index and value
        The first value that is not ``finite``, no ``bit``, no ``whole`` number, no ``label``, or the first step that is
        not ``one-hot``. The value of a step is None.
    """

    def __init__(self, name: str, limit: int | None = None, one_hot: bool = False) -> None:
        self.name, self.one_hot = name, one_hot
        self.limit = LARGEST_LABEL + 1 if limit is None else limit
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
            The first step, for errors.
        """
        values = block if counted is None else block[counted]
        if not values.size:
            return
        if values.dtype == bool:
            values = values.view(np.uint8)
        elif values.dtype == np.float16:
            values = values.astype(np.float32)  # float16 cannot hold the limit of labels
        low, high = values.min(), values.max()
        self.low = low if self.low is None else min(low, self.low)
        self.high = high if self.high is None else max(high, self.high)
        if values.dtype.kind == "f":
            if not (np.isfinite(low) and np.isfinite(high)) or values.dtype.itemsize > 4:
                # float64 may hold numbers that float32 does not
                wrong = ~np.isfinite(values)
                if values.dtype.itemsize > 4:
                    wrong |= np.abs(values) > LARGEST
                self._note("finite", wrong, block, counted, rows, start)
            if "finite" in self.offences:
                return
            if "whole" not in self.offences:
                self._note("whole", values != np.rint(values), block, counted, rows, start)
        if "bit" not in self.offences:
            self._note("bit", (values != 0) & (values != 1), block, counted, rows, start)
        if low < 0 or high >= self.limit:
            self._note("label", (values < 0) | (values >= self.limit), block, counted, rows, start)
        if self.one_hot and "one-hot" not in self.offences:
            wrong = ((values != 0).sum(-1) != 1) | (values.max(-1) != 1)
            self._note("one-hot", wrong, block, counted, rows, start)

    def _note(
        self,
        offence: str,
        wrong: Array,
        block: Array,
        counted: Array | None,
        rows: Array,
        start: int,
    ) -> None:
        """Keep the first value that is wrong, if there is one and none was before."""
        if offence in self.offences or not wrong.any():
            return
        first = np.unravel_index(int(wrong.argmax()), wrong.shape)
        if counted is not None:
            # The first axis of `wrong` goes through the steps that count
            first = (*np.argwhere(counted)[first[0]], *first[1:])
        place = [int(each) for each in first]
        value = block[tuple(place)]
        index = [int(rows[place[0]]), *place[1:]]
        if counted is not None:
            index[1] += start
        self.offences[offence] = (tuple(index), None if np.ndim(value) else value.item())

    def check_finite(self) -> None:
        """Raise a `ValueError` if a value is NaN, infinite, or beyond float32."""
        self.refuse("finite", "finite numbers that float32 can hold")

    def refuse(self, offence: str, expected: str) -> None:
        """Raise a `ValueError` with the place of an offence, if there was one, and what was expected."""
        if offence in self.offences:
            index, value = self.offences[offence]
            given = "is not one-hot" if value is None else f"is {value}"
            raise ValueError(f"Dataset: {locate(self.name, index)} {given}: expected {expected}")


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
    targets: Field, lengths: Array, num_steps: int | None, kind: str | None, per: str | None
) -> TargetShape:
    """Return whether targets are per step, and their output axis, from their shape.

    Parameters
    ----------
    targets : Field
    lengths : array (N,) of int
        Of the sequences.
    num_steps : int or None
        T of the inputs if they are padded, else of the longest sequence.
    kind, per : str or None
        As the user gave them.

    Raises
    ------
    ValueError
        If the shape does not fit; it names the first sequence whose steps do not.
    """
    shape = targets.row_shape
    if 0 in shape:
        raise ValueError(
            f"Dataset: targets have shape (N, {', '.join(map(str, shape))}): expected values"
        )
    if not shape:
        if per == "step":
            raise ValueError(
                "Dataset: targets have shape (N,): expected (N, T) or (N, T, O) for one a step"
            )
        return TargetShape(False, None)
    fits = shape[0] == num_steps or np.array_equal(targets.steps, lengths)
    # Without time, (N, O) is the only shape, but for targets of the user's own
    can_be_of_sequences = shape[0] is not None and (len(shape) == 1 or kind == "own")
    if per == "sequence" or (per is None and not fits and can_be_of_sequences):
        if not can_be_of_sequences:
            sizes = ", ".join("T" if size is None else str(size) for size in shape)
            raise ValueError(
                f"Dataset: targets have shape (N, {sizes}): expected (N,) or (N, O) for one a sequence"
            )
        return TargetShape(False, shape[-1])
    if not fits:
        wrong = targets.steps != lengths
        index = int(wrong.argmax())
        raise ValueError(
            f"Dataset: targets[{index}] has {targets.steps[index]} steps: expected {lengths[index]}, as in the inputs"
        )
    if len(shape) > 2 and kind != "own":
        sizes = ", ".join("T" if size is None else str(size) for size in shape)
        raise ValueError(f"Dataset: targets have shape (N, {sizes}): expected (N, T) or (N, T, O)")
    return TargetShape(True, shape[-1] if len(shape) > 1 else None)


def decide(
    values: Values,
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


def _guess(values: Values, dtype: np.dtype, num_features: int | None) -> tuple[str, str]:
    """Return the kind that targets seem to have, and from what that was guessed."""
    if dtype.kind == "b":
        return "bits", "guessed from bool values"
    digits = ".4g" if dtype.kind == "f" else ","
    spread = f"guessed from {dtype} values {values.low:{digits}} to {values.high:{digits}}"
    if num_features is None and dtype.kind in "iu":
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
        return targets
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
        return dtype if dtype.itemsize <= 8 else np.dtype(np.float64)
    return np.dtype(np.float32) if dtype.kind == "b" else np.promote_types(dtype, np.float32)


def describe_sizes(sizes: Sequence[int]) -> str:
    """Return numbers with a cross between them, such as ``32 × 3``."""
    return " × ".join(f"{size:,}" for size in sizes)
