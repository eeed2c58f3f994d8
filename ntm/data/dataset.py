"""Sequences with their targets, from arrays, ragged lists, files or examples: checked once, padded when they are taken.

Notation: N sequences, B of them in a batch, T steps, F input and O output features.
"""

import copy
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from ntm.arguments import is_integer, is_number
from ntm.data.fields import (
    Field,
    describe_rows,
    is_map_style,
    locate,
    make_field,
    read_examples,
)
from ntm.data.files import read_fields
from ntm.data.kinds import (
    TargetShape,
    TargetValues,
    Values,
    arrange_targets,
    check_options,
    convert,
    decide,
    describe_sizes,
    fit_steps,
    refuse_steps,
    to_float,
)
from ntm.data.layout import SINGLE, DataBatch, InputLayout, Layout
from ntm.typing import Array, ArrayLike, PathLike

__all__ = ["Dataset"]

# Bytes that a check reads at once
BLOCK = 16_000_000
# What a fingerprint covers: so many sequences, and so many steps at both ends of each
FINGERPRINT_SEQUENCES = 64
FINGERPRINT_STEPS = 512


class Dataset:
    """Sequences with their targets.

    The data are checked when the data set is made: in blocks, so that arrays in files may be larger than memory. They
    are padded at their ends when they are taken::

        data = ntm.Dataset(x, y)
        train, validation = data.split(0.2)
        batch = train.take([0, 5, 7])

    Parameters
    ----------
    inputs : array (N, T, F) or (N, T), ragged list, object with examples, or dict from str to any of these
        An array with two axes has one number or symbol a step. A ragged list holds an array (T_i, F) or (T_i,) for
        each sequence. The keys of a dict are the names of the network's input layers; in a dict, an array (N, F) whose
        F is not T has no time. An object with ``__len__`` and ``__getitem__``, such as a PyTorch or Hugging Face data
        set, gives examples: arrays, tuples (inputs, targets[, mask[, weights]]) or dicts of the names that
        :meth:`open` describes. The third part of a tuple may be the length, an integer. Examples are read once for
        their shapes, once for the check, and whenever they are taken. Without `targets`, a list of tuples (array,
        target) or of dicts is a list of examples, too.
    targets : array (N, T, O), (N, T), (N, O) or (N,), ragged list, or object with examples; optional
        None for prediction only, or where the examples have targets.
    mask : array (N, T) or ragged list, optional
        The weight of each step in losses and metrics, at least zero. Targets of steps with zero may be anything.
    lengths : array (N,) of int, optional
        Unless given, the lengths of the ragged lists, or the last step whose mask is not zero plus one, or T.
    weights : array (N,), optional
        The weight of each sequence in losses and metrics, at least zero.
    kind : {'bits', 'classes', 'numbers', 'own'}, optional
        What the targets are; ``'own'`` if the loss is a function of the user's. Unless given: truth values are bits;
        integers without an axis O, or with O = 1, are labels of classes; where all values are 0 or 1, targets are
        classes if O > 1 and each target that counts has a single 1, else bits; other values are numbers.
    per : {'step', 'sequence'}, optional
        What there is a target for. Unless given, targets as long as the inputs are one a step.
    num_outputs : int, optional
        O. Unless given, the last axis of the targets; for labels, the largest plus one.

    Attributes
    ----------
    layout : Layout
    lengths : array (N,) of int
    longest : int
        The largest length.
    weights : array (N,)
    has_targets : bool
    guessed : bool
        Whether `kind` was guessed.

    Raises
    ------
    ValueError
        If the data are not as they should be. The message names the array, the first index that is wrong, what is
        there and what was expected.
    """

    layout: Layout
    lengths: Array
    weights: Array
    guessed: bool

    def __init__(
        self,
        inputs: Any,
        targets: Any = None,
        mask: Any = None,
        lengths: Any = None,
        weights: Any = None,
        *,
        kind: str | None = None,
        per: str | None = None,
        num_outputs: int | None = None,
    ) -> None:
        check_options(kind, per, num_outputs)
        self._fields = _collect(
            inputs, {"targets": targets, "mask": mask, "lengths": lengths, "weights": weights}
        )
        self._inputs = {
            SINGLE if name == "inputs" else name.removeprefix("inputs."): field
            for name, field in self._fields.items()
            if name.partition(".")[0] == "inputs"
        }
        self._targets, self._mask = self._fields.get("targets"), self._fields.get("mask")
        if self._targets is None and (kind, per, num_outputs) != (None, None, None):
            raise ValueError(
                "Dataset: kind, per and num_outputs are of targets, and there are none"
            )
        self._num_rows = self._count_rows()
        self._rows: Array | None = None
        self._has_time = _find_time(self._inputs, self._mask)
        self.weights = self._read_weights()
        self.lengths = self._find_lengths()
        self._target_shape = TargetShape(True, None)
        if self._targets is not None:
            self._target_shape = arrange_targets(
                self._targets, self.lengths, self._steps, kind, per
            )
        self.layout, self._reason = self._examine(kind, num_outputs)
        self.guessed = bool(self._reason)

    @classmethod
    def open(cls, path: PathLike, **options: Any) -> Self:
        """Return the data set in a file or folder.

        Parameters
        ----------
        path : str or path
            An .npz file with arrays ``inputs`` or ``x``, ``targets`` or ``y``, ``mask``, ``lengths``, ``weights``;
            several inputs are ``inputs.NAME``. Or a folder of .npy files of these names, or a folder of several .npz
            files whose sequences come one after another in the order of the names of the files. With ``flat_lengths``
            (N,) in place of ``lengths``, arrays hold the steps of all sequences one after another, (sum of lengths,
            ...), as ``numpy.concatenate`` gives.
        **options
            `kind`, `per` and `num_outputs` of the data set.

        Returns
        -------
        Dataset
            Arrays that are not compressed stay in their files, and are read when they are taken.

        Raises
        ------
        FileNotFoundError
            If there is no such file or folder.
        ValueError
            If a file is damaged, holds pickled objects or unknown names, or the data are not as they should be. The
            message names the file.
        """
        return cls.from_file(path, read_fields(path), **options)

    @classmethod
    def from_file(cls, path: PathLike, fields: Mapping[str, Any], **options: Any) -> Self:
        """Return the data set of fields that :func:`ntm.data.files.read_fields` has read; errors name the file."""
        try:
            return cls.from_fields(fields, **options)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], **options: Any) -> Self:
        """Return the data set of arrays by name, such as ``inputs`` (of several, ``inputs.NAME``) and ``targets``."""
        others = dict(fields)
        several = {
            name.removeprefix("inputs."): others.pop(name)
            for name in fields
            if name.startswith("inputs.")
        }
        return cls(several or others.pop("inputs"), **others, **options)

    # ---- What is public

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        return f"<Dataset: {self.describe()}>"

    @property
    def longest(self) -> int:
        """The steps of the longest sequence."""
        return int(self.lengths.max())

    @property
    def num_array_steps(self) -> int:
        """The steps of the longest array of inputs, padding included."""
        return int(self._steps.max())

    @property
    def has_targets(self) -> bool:
        """Whether there are targets; without them the data are for prediction only."""
        return self._targets is not None

    def take(self, indices: ArrayLike, num_steps: int | None = None) -> DataBatch:
        """Return some sequences as a batch.

        Parameters
        ----------
        indices : array (B,) of int
            From 0 to N - 1.
        num_steps : int, optional
            Steps to pad to. Unless given, those of the longest of these sequences.

        Returns
        -------
        DataBatch
            Inputs keep their dtype of floating-point numbers; integers are int32, or int64 where int32 is too small.
            Without targets, `targets` is an array (B, 0).

        Raises
        ------
        ValueError
            If an index is out of range, or a sequence is longer than `num_steps`.
        """
        rows = self._check_indices("take", indices)
        longest = int(self.lengths[rows].max())
        if num_steps is None:
            num_steps = longest
        elif not is_integer(num_steps):
            raise ValueError(f"Dataset.take: num_steps must be an integer, not {num_steps!r}")
        elif num_steps < longest:
            raise ValueError(
                f"Dataset.take: a sequence has {longest} steps, more than num_steps = {num_steps}"
            )
        return self._read(rows, np.zeros_like(rows), num_steps)

    def take_windows(self, indices: ArrayLike, starts: ArrayLike, window: int) -> DataBatch:
        """Return a window of steps of some sequences; only these steps are read.

        Parameters
        ----------
        indices : array (B,) of int
            From 0 to N - 1.
        starts : array (B,) of int
            The first step of each window.
        window : int
            T, the steps of a window. Steps after the end of a sequence are padding.

        Returns
        -------
        DataBatch

        Raises
        ------
        ValueError
            If an index is out of range, a start is negative, or there is one target a sequence.
        """
        rows = self._check_indices("take_windows", indices)
        starts = np.asarray(starts)
        if starts.shape != rows.shape or starts.dtype.kind not in "iu" or starts.min() < 0:
            raise ValueError(
                f"Dataset.take_windows: starts must be {len(rows)} integers from 0, one for each index"
            )
        if not is_integer(window) or window < 1:
            raise ValueError(
                f"Dataset.take_windows: window must be a positive integer, not {window!r}"
            )
        if self.has_targets and not self.layout.per_step:
            raise ValueError(
                "Dataset.take_windows: there is one target a sequence: expected one for each step of a window"
            )
        return self._read(rows, starts.astype(np.int64), window)

    def subset(self, indices: ArrayLike) -> Self:
        """Return a data set of some of the sequences, without a copy of the data.

        Parameters
        ----------
        indices : array of int, or array (N,) of bool
            In the order of the new data set.

        Returns
        -------
        Dataset
            Its layout is that of the whole: all its classes, too.

        Raises
        ------
        ValueError
            If there are no indices, or one is out of range.
        """
        indices = np.asarray(indices)
        if indices.dtype == bool:
            if indices.shape != (len(self),):
                raise ValueError(
                    f"Dataset.subset: truth values must have shape ({len(self)},), not {indices.shape}"
                )
            indices = np.flatnonzero(indices)
        rows = self._check_indices("subset", indices)
        part = copy.copy(self)
        part._rows = rows if self._rows is None else self._rows[rows]
        part.lengths, part.weights = self.lengths[rows], self.weights[rows]
        return part

    def split(self, *sizes: float, seed: int | None = 0) -> tuple[Self, ...]:
        """Divide the sequences at random: ``train, validation, test = data.split(0.1, 0.1)``.

        Parameters
        ----------
        *sizes : float or int
            Of each part but the first: a fraction between 0 and 1, or a number of sequences.
        seed : int, optional
            The same seed gives the same parts. None divides in order: the last part has the last sequences.

        Returns
        -------
        tuple of Dataset
            The rest, then a part for each size.

        Raises
        ------
        ValueError
            If a part would be empty.
        """
        counts = [self._count_part(size) for size in sizes]
        rest = len(self) - sum(counts)
        if rest < 1:
            raise ValueError(
                f"Dataset.split: parts of {', '.join(map(str, counts))} leave none of {len(self)} sequences for the "
                "first part"
            )
        order = (
            np.arange(len(self))
            if seed is None
            else np.random.default_rng(seed).permutation(len(self))
        )
        parts = (
            np.split(order, rest + np.cumsum([0, *counts[:-1]], dtype=int)) if counts else [order]
        )
        return tuple(self.subset(np.sort(part)) for part in parts)

    def check(self) -> None:
        """Read all sequences and check them again, as was done when the data set was made.

        Raises
        ------
        ValueError
            As the constructor does.
        """
        self._examine(self.layout.kind, self.layout.num_outputs)

    def describe(self) -> str:
        """Return what the data are, in one line."""
        low, high = int(self.lengths.min()), self.longest
        steps = f"{high:,}" if low == high else f"{low:,} to {high:,}"
        inputs = self.layout.inputs
        shapes = [
            _describe_input(each) if name == SINGLE else f"{name!r}: {_describe_input(each)}"
            for name, each in inputs.items()
        ]
        text = (
            f"{len(self):,} sequence{'s' * (len(self) > 1)} of {steps} step{'s' * (high > 1)}, "
            f"{', '.join(shapes)}"
        )
        if not self.has_targets:
            return f"{text}; no targets"
        per = "step" if self.layout.per_step else "sequence"
        kind, count = self.layout.kind, self.layout.num_outputs
        if kind == "own":
            targets = f"one a {per} for a loss of your own"
        elif kind == "classes":
            targets = f"{count:,} class{'es' * (count != 1)}, one a {per}"
        else:
            targets = f"{count:,} {kind[:-1] if count == 1 else kind} a {per}"
        return f"{text}; targets: {targets}{f' ({self._reason})' if self._reason else ''}"

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells these data from others, as JSON takes it.

        Returns
        -------
        dict
            Sequences, steps, the layout, and a checksum of lengths, weights and up to 64 evenly chosen sequences (of a
            long one, 512 steps at both ends). Examples that are read when they are needed may differ from time to
            time: their values are left out.
        """
        crc = zlib.crc32(np.ascontiguousarray(self.lengths, "<i8").tobytes())
        crc = zlib.crc32(np.ascontiguousarray(self.weights, "<f8").tobytes(), crc)
        if all(field.is_fixed for field in self._fields.values()):
            count = min(len(self), FINGERPRINT_SEQUENCES)
            for index in np.linspace(0, len(self) - 1, count).astype(np.int64):
                length = int(self.lengths[index])
                steps = min(length, FINGERPRINT_STEPS)
                for start in sorted({0, length - steps}):
                    batch = self._read(np.array([index]), np.array([start]), steps)
                    for array in (*batch.inputs.values(), batch.targets, batch.mask):
                        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
        layout = self.layout._asdict()
        layout["inputs"] = {
            name: {**each._asdict(), "features": list(each.features)}
            for name, each in self.layout.inputs.items()
        }
        own = self.layout.targets
        layout["targets"] = own and {**own._asdict(), "features": list(own.features)}
        return {
            "num_sequences": len(self),
            "num_steps": int(self.lengths.sum()),
            "layout": layout,
            "crc32": crc,
        }

    # ---- Checks

    def _count_rows(self) -> int:
        """Return N; refuse arrays of other numbers of sequences."""
        first, *others = self._fields.values()
        if not len(first):
            raise ValueError(f"Dataset: {first.name} is empty: expected one sequence at least")
        for field in others:
            if len(field) != len(first):
                raise ValueError(
                    f"Dataset: {field.name} has {len(field):,} sequences: expected {len(first):,}, as {first.name}"
                )
        return len(first)

    def _read_weights(self) -> Array:
        field = self._fields.get("weights")
        if field is None:
            return np.ones(self._num_rows, np.float32)
        weights = self._read_column(field)
        wrong = ~(weights >= 0) | ~np.isfinite(weights)
        if wrong.any():
            index = int(wrong.argmax())
            raise ValueError(
                f"Dataset: weights[{index}] is {weights[index]}: expected a finite number of at least 0"
            )
        if not weights.any():
            raise ValueError("Dataset: weights are all 0: no sequence counts")
        return weights.astype(to_float(weights.dtype))

    def _read_column(self, field: Field) -> Array:
        """Return one number for each sequence."""
        if field.row_shape not in ((), (1,)):
            raise ValueError(
                f"Dataset: {field.name} has shape {describe_rows(field.row_shape)}: expected (N,)"
            )
        return field.read(np.arange(len(field))).reshape(-1)

    def _find_lengths(self) -> Array:
        """Return the steps of each sequence; check them, and the mask, against the arrays."""
        timed = [field for name, field in self._inputs.items() if self._has_time[name]]
        self._steps = steps = timed[0].steps
        for field in timed:
            if not np.array_equal(field.steps, steps):
                index = int((field.steps != steps).argmax())
                raise ValueError(
                    f"Dataset: {field.name}[{index}] has {field.steps[index]:,} steps: expected {steps[index]:,}, "
                    f"as {timed[0].name}[{index}]"
                )
        if not steps.all():
            index = int((steps == 0).argmax())
            raise ValueError(
                f"Dataset: {timed[0].name}[{index}] has no steps: expected one at least"
            )
        given = self._fields.get("lengths")
        lengths = steps if given is None else self._read_lengths(given, timed[0])
        mask = self._mask
        if mask is None:
            return lengths
        if len(mask.row_shape) != 1:
            raise ValueError(
                f"Dataset: mask has {len(mask.row_shape) + 1} axes: expected (N, T), a weight for each step; "
                "the lengths (N,) of sequences are given as lengths="
            )
        if not fit_steps(mask, lengths, steps):
            raise refuse_steps(mask, lengths)
        ends = self._examine_mask(mask, lengths)
        may_shorten = given is None and all(field.is_padded for field in timed)
        return ends if may_shorten else lengths

    def _read_lengths(self, field: Field, inputs: Field) -> Array:
        """Return the lengths that were given; refuse those that do not fit the inputs."""
        lengths = self._read_column(field)
        is_whole = np.isfinite(lengths).all() and (lengths == np.rint(lengths)).all()
        if lengths.dtype.kind == "f" and is_whole:
            lengths = lengths.astype(np.int64)
        if lengths.dtype.kind not in "iu":
            raise ValueError(f"Dataset: lengths are of {lengths.dtype}: expected integers")
        wrong = (lengths < 1) | (lengths > inputs.steps)
        if wrong.any():
            index = int(wrong.argmax())
            raise ValueError(
                f"Dataset: lengths[{index}] is {lengths[index]}: expected 1 to {inputs.steps[index]}, "
                f"the steps of {inputs.name}[{index}]"
            )
        return lengths.astype(np.int64)

    def _examine_mask(self, mask: Field, lengths: Array) -> Array:
        """Check the mask; return the last step of each sequence that counts, plus one."""
        ends = np.zeros_like(lengths)
        for rows, start, num_steps in _cut(lengths, mask.dtype.itemsize, 0):
            block = mask.read_steps(rows, np.full(len(rows), start), num_steps)
            valid = start + np.arange(num_steps) < lengths[rows, None]
            wrong = valid & ~((block >= 0) & (block < np.inf))
            if wrong.any():
                row, step = np.argwhere(wrong)[0]
                raise ValueError(
                    f"Dataset: {locate('mask', (rows[row], start + step))} is {block[row, step]}: "
                    "expected a finite number of at least 0"
                )
            counted = valid & (block != 0)
            last = num_steps - counted[:, ::-1].argmax(1)
            ends[rows] = np.where(counted.any(1), start + last, ends[rows])
            mask.release()
        if not ends.all():
            index = int((ends == 0).argmax())
            of_all = " of every sequence" if not ends.any() else ""
            raise ValueError(
                f"Dataset: mask[{index}] is 0 at every step{of_all}: expected a step that counts"
            )
        return ends

    def _examine(self, kind: str | None, num_outputs: int | None) -> tuple[Layout, str]:
        """Read all values and check them; return the layout, and what the kind of targets was guessed from."""
        shape, targets = self._target_shape, self._targets
        found = {name: Values(field.name) for name, field in self._inputs.items()}
        width = shape.num_features or 1
        limit = num_outputs if width == 1 else None
        of_targets = TargetValues("targets", limit, one_hot=width > 1)
        for rows, own_rows, start, num_steps in self._blocks():
            starts = np.full(len(rows), start)
            valid = start + np.arange(num_steps) < self.lengths[own_rows, None]
            for name, field in self._inputs.items():
                if self._has_time[name]:
                    block = field.read_steps(rows, starts, num_steps)
                    found[name].add(block, valid, own_rows, start)
                elif start == 0:
                    found[name].add(field.read(rows), None, own_rows, start)
            if targets is not None and shape.per_step:
                block = targets.read_steps(rows, starts, num_steps)
                if self._mask is not None:
                    valid &= self._mask.read_steps(rows, starts, num_steps) != 0
                of_targets.add(block, valid, own_rows, start)
            elif targets is not None and start == 0:
                of_targets.add(targets.read(rows), None, own_rows, start)
            self._release()
        inputs = {name: self._make_input_layout(name, found[name]) for name in self._inputs}
        if targets is None:
            return Layout(inputs, "own", None, True), ""
        kind, num_outputs, reason = decide(of_targets, targets.dtype, shape, kind, num_outputs)
        own = None
        if kind == "own":
            features = targets.features if shape.per_step else targets.shape
            own = InputLayout(features, targets.dtype.kind in "iu", shape.per_step)
        return Layout(inputs, kind, num_outputs, shape.per_step, own), reason

    def _make_input_layout(self, name: str, values: Values) -> InputLayout:
        values.check_finite()
        field = self._inputs[name]
        if field.dtype.kind == "u" and values.high > np.iinfo(np.int64).max:
            raise ValueError(
                f"Dataset: {field.name} has {values.high}: expected numbers that int64 can hold"
            )
        # Negative integers are numbers, and no symbols
        is_integer = field.dtype.kind in "iu" and bool(values.low >= 0)
        has_time = self._has_time[name]
        features = field.features if has_time else field.shape
        num_symbols = int(values.high) + 1 if is_integer else 0
        return InputLayout(features, is_integer, has_time, num_symbols)

    def _blocks(self) -> Iterator[tuple[Array, Array, int, int]]:
        """Give blocks of all sequences: rows of the fields, indices here, the first step, and the number of steps."""
        per_step = per_row = 0
        for name, field in self._fields.items():
            if self._is_timed(name):
                per_step += math.prod(field.features) * field.dtype.itemsize
            elif field.row_shape[:1] != (None,):
                per_row += math.prod(field.shape) * field.dtype.itemsize
        for indices, start, num_steps in _cut(self.lengths, per_step, per_row):
            yield self._to_rows(indices), indices, start, num_steps

    def _is_timed(self, name: str) -> bool:
        """Return whether a field has a value for each step."""
        if name.partition(".")[0] == "inputs":
            return self._has_time[SINGLE if name == "inputs" else name.removeprefix("inputs.")]
        return name == "mask" or (name == "targets" and self._target_shape.per_step)

    def _to_rows(self, indices: Array) -> Array:
        return indices if self._rows is None else self._rows[indices]

    def _check_indices(self, method: str, indices: ArrayLike) -> Array:
        """Return indices of sequences as int64; refuse those that are none."""
        rows = np.asarray(indices)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows):
            raise ValueError(
                f"Dataset.{method}: expected one index at least, all integers, not an array of shape {rows.shape} "
                f"of {rows.dtype}"
            )
        wrong = (rows < 0) | (rows >= len(self))
        if wrong.any():
            raise ValueError(
                f"Dataset.{method}: index {rows[wrong.argmax()]} is out of range: expected 0 to {len(self) - 1}"
            )
        return rows.astype(np.int64)

    def _count_part(self, size: float) -> int:
        """Return the sequences of a part of a split."""
        if is_integer(size) and size >= 1:
            return int(size)
        if not is_number(size) or is_integer(size) or not 0 < size < 1:
            raise ValueError(
                f"Dataset.split: a size must be a fraction between 0 and 1 or a number of sequences, not {size!r}"
            )
        count = round(size * len(self))
        if not count:
            raise ValueError(f"Dataset.split: {size} of {len(self)} sequences is an empty part")
        return count

    # ---- Reading

    def _read(self, indices: Array, starts: Array, num_steps: int) -> DataBatch:
        """Return steps of some sequences as a batch."""
        try:
            return self._make_batch(indices, starts, num_steps)
        finally:
            self._release()

    def _make_batch(self, indices: Array, starts: Array, num_steps: int) -> DataBatch:
        rows = self._to_rows(indices)
        inside = starts[:, None] + np.arange(num_steps) < self.lengths[indices, None]
        inputs = {}
        for name, field in self._inputs.items():
            layout = self.layout.inputs[name]
            if layout.has_time:
                values = _hide(field.read_steps(rows, starts, num_steps), inside)
            else:
                values = field.read(rows)
            if not field.is_fixed:
                count = layout.num_symbols if layout.is_integer else None
                _check_again(field, indices, values, count)
            inputs[name] = np.array(values, _choose_dtype(values.dtype, layout))
        mask = inside.astype(np.float32)
        if self._mask is not None:
            values = self._mask.read_steps(rows, starts, num_steps)
            mask = np.where(inside, values, 0).astype(to_float(values.dtype))
        targets = np.zeros((len(rows), 0), np.float32)
        if self._targets is not None:
            if self.layout.per_step:
                values = _hide(self._targets.read_steps(rows, starts, num_steps), mask != 0)
            else:
                values = self._targets.read(rows)
            targets = np.array(convert(values, self.layout.kind, self._target_shape))
            if not self._targets.is_fixed:
                count = self.layout.num_outputs if self.layout.kind == "classes" else None
                _check_again(self._targets, indices, targets, count)
        return DataBatch(inputs, targets, mask, inside.astype(np.float32), self.weights[indices])

    def _release(self) -> None:
        for field in self._fields.values():
            field.release()


# ---- Functions


def _collect(inputs: Any, others: Mapping[str, Any]) -> dict[str, Field]:
    """Return the fields that are given, by name."""
    given = {name: value for name, value in others.items() if value is not None}
    if isinstance(inputs, Mapping):
        if not inputs:
            raise ValueError(
                "Dataset: inputs are an empty dict: expected an array for each input layer"
            )
        for name in inputs:
            if not isinstance(name, str) or not name:
                raise ValueError(
                    f"Dataset: inputs have the name {name!r}: expected that of an input layer"
                )
            if name in others:
                raise ValueError(
                    f"Dataset: inputs have the name {name!r}: expected Dataset(inputs, {name}={name})"
                )
        fields = {
            f"inputs.{name}": make_field(f"inputs.{name}", value) for name, value in inputs.items()
        }
    elif is_map_style(inputs) and not (isinstance(inputs, list | tuple) and "targets" in given):
        fields = read_examples(inputs)
        twice = [name for name in given if name in fields]
        if twice:
            raise ValueError(
                f"Dataset: {twice[0]} are given, and the examples have {twice[0]}, too"
            )
    else:
        fields = {"inputs": make_field("inputs", inputs)}
    # Inputs come first: errors compare with them
    fields = dict(sorted(fields.items(), key=lambda each: not each[0].startswith("inputs")))
    return fields | {name: make_field(name, value) for name, value in given.items()}


def _find_time(inputs: Mapping[str, Field], mask: Field | None) -> dict[str, bool]:
    """Return which inputs have a value for each step, by name."""
    for field in inputs.values():
        if 0 in field.row_shape[1:] or field.row_shape == (0,):
            raise ValueError(
                f"Dataset: {field.name} has shape {describe_rows(field.row_shape)}: expected values at each step"
            )
    # Whatever is ragged or has features at each step has time, and so has an input of the mask's length
    certain = [
        field for field in inputs.values() if len(field.row_shape) > 1 or None in field.row_shape
    ]
    possible = [field for field in inputs.values() if field.row_shape]
    if mask is not None and len(mask.row_shape) == 1:
        certain = certain or [
            field for field in possible if np.array_equal(field.steps, mask.steps)
        ]
    timed = (certain or possible)[:1]
    if not timed:
        name = next(iter(inputs.values())).name
        raise ValueError(f"Dataset: {name} has shape (N,): expected (N, T) or (N, T, F)")
    return {
        name: field in certain
        or (bool(field.row_shape) and np.array_equal(field.steps, timed[0].steps))
        for name, field in inputs.items()
    }


def _cut(lengths: Array, per_step: int, per_row: int) -> Iterator[tuple[Array, int, int]]:
    """Cut sequences into blocks that fit in memory: indices of rows, the first step, and the number of steps."""
    first, longest = 0, 0
    ends: list[tuple[int, int, int]] = []
    for row, length in enumerate(lengths.tolist()):
        if row > first and (row + 1 - first) * (max(longest, length) * per_step + per_row) > BLOCK:
            ends.append((first, row, longest))
            first, longest = row, 0
        longest = max(longest, length)
    ends.append((first, len(lengths), longest))
    for first, last, longest in ends:
        rows = np.arange(first, last)
        most = max(1, BLOCK // (len(rows) * max(per_step, 1)))
        for start in range(0, longest, most):
            yield rows, start, min(most, longest - start)


def _hide(values: Array, shown: Array) -> Array:
    """Return values (B, T, ...) with zeros where `shown` (B, T) is false."""
    if shown.all():
        return values
    return np.where(
        shown.reshape(shown.shape + (1,) * (values.ndim - 2)), values, np.zeros((), values.dtype)
    )


def _check_again(field: Field, indices: Array, values: Array, count: int | None) -> None:
    """Refuse examples that are others now than when they were checked, and wrong.

    Parameters
    ----------
    field : Field
    indices : array (B,) of int
        Of the sequences, for errors.
    values : array (B, ...)
    count : int or None
        Labels and symbols must be below; None for numbers.
    """
    right = np.isfinite(values) if count is None else (values >= 0) & (values < count)
    if not right.all():
        index = indices[np.argwhere(~right)[0, 0]]
        expected = "finite numbers" if count is None else f"integers from 0 to {count - 1}"
        raise ValueError(
            f"Dataset: {field.name}[{index}] has changed since it was checked: expected {expected}"
        )


def _choose_dtype(dtype: np.dtype, layout: InputLayout) -> np.dtype:
    """Return the dtype of an input in batches."""
    if layout.is_integer:
        return np.dtype(np.int32 if layout.num_symbols <= 2**31 else np.int64)
    return to_float(dtype)


def _describe_input(layout: InputLayout) -> str:
    """Return what a step of an input holds."""
    per = "step" if layout.has_time else "sequence"
    if not layout.features:
        return (
            f"one of {layout.num_symbols:,} symbols a {per}"
            if layout.is_integer
            else f"a number a {per}"
        )
    noun = "integer" if layout.is_integer else "number"
    plural = "s" if math.prod(layout.features) > 1 else ""
    return f"{describe_sizes(layout.features)} {noun}{plural} a {per}"
