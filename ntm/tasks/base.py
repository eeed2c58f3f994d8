"""The base class of the tasks: batches of sequences, where their answers are, and how good an answer is."""

import numbers
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from ntm.tasks.measures import MEASURES

#: What a generator is made from
Seed: TypeAlias = int | Sequence[int] | np.random.Generator | None
#: Inputs (T, F), targets (T, O) and weights (T,) of one sequence
SequenceArrays: TypeAlias = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]


def describe_sizes(sizes: Mapping[str, Any]) -> str:
    """Return sizes of sequences in words."""
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "as in training"


class Batch(NamedTuple):
    """Sequences of a task: B of them, T steps, F input and O output features.

    Attributes
    ----------
    inputs : array (B, T, F)
    targets : array (B, T, O)
    mask : array (B, T)
        The weight of each step in losses and measures. In most tasks it is one or zero. It is zero in the padding.
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray

    @property
    def step_mask(self) -> np.ndarray:
        """What a network's `mask_input` takes, an array (B, T): one up to the end of a sequence, zero in its padding.

        A sequence ends with its last step that has an input or counts.
        """
        used = (self.mask != 0) | (self.inputs != 0).any(axis=2)
        return np.maximum.accumulate(used[:, ::-1], axis=1)[:, ::-1].astype(np.float32)

    def check_targets(self, name: str) -> None:
        """Raise a `ValueError` that names the task if targets or weights are not finite where they count."""
        for what, array, fits in (
            ("weights", self.mask, np.isfinite(self.mask)),
            ("targets", self.targets, np.isfinite(self.targets).all(axis=2) | (self.mask == 0)),
        ):
            if not fits.all():
                sequence, step = np.argwhere(~fits)[0]
                raise ValueError(
                    f"{name}: {what} must be finite where they count, but in sequence {sequence} at step {step} they "
                    f"are {array[sequence, step]}"
                )

    def pad_to_bucket(self, longest: int, num_buckets: int = 4) -> "Batch":
        """Pad the sequences to one of a few lengths, so that networks are compiled for few lengths.

        An NTM is causal: steps after a sequence's end change nothing before, and the mask leaves them out of the loss.

        Parameters
        ----------
        longest : int
            Steps of the longest batch that can come.
        num_buckets : int
            How many lengths there are: `longest`, and shorter lengths in equal distances.

        Returns
        -------
        Batch

        Raises
        ------
        ValueError
            If the batch is longer than `longest`, or `num_buckets` is not positive.
        """
        steps = self.mask.shape[1]
        if num_buckets < 1:
            raise ValueError(f"pad_to_bucket: num_buckets must be positive, not {num_buckets}")
        if steps > longest:
            raise ValueError(
                f"pad_to_bucket: the batch has {steps} steps, more than longest = {longest}"
            )
        bucket = max(1, -(-steps * num_buckets // longest))  # rounded up
        missing = -(-longest * bucket // num_buckets) - steps
        return Batch(
            *(np.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)) for array in self)
        )


class Task:
    """Base class of the tasks: draws sequences at random, pads them to batches and measures answers.

    A task of your own names the sizes of its sequences, and has two methods: `num_steps` counts the steps of a
    sequence, and `make` draws one. This task asks at each step whether the number of ones so far is odd::

        class ParityTask(Task):
            def __init__(self, min_length=1, max_length=8, batch_size=1, seed=None):
                super().__init__(1, 1, {"length": (min_length, max_length)}, batch_size, seed)

            def num_steps(self, length):
                return length

            def make(self, rng, length):
                bits = rng.integers(0, 2, (length, 1))
                return bits, np.cumsum(bits, axis=0) % 2, np.ones(length)

    Iterating over a task gives batches without end. The sizes of each sequence, such as its length, are drawn uniformly
    and independently of each other. A task may also say how many items a network has to keep: `count_items`.

    Parameters
    ----------
    num_inputs, num_outputs : int
        Channels F of the inputs and O of the targets.
    sizes : dict from str to pair of int
        What varies from one sequence to the next, and its range (lowest, highest), both included. The constructors of
        tasks call the two ends `min_...` and `max_...`, and so do the errors here.
    batch_size : int
        Sequences in a batch.
    seed : int, sequence of int or numpy.random.Generator, optional
        The same seed gives the same batches.
    smallest : dict from str to int, optional
        The smallest value that a size can ever have, where that is not one.

    Attributes
    ----------
    output : str
        Class attribute: "bits" if the targets are zeros and ones, "classes" if the targets of a step are one-hot,
        "digits" if each ten channels of the targets are one-hot, or "numbers".
    solved : pair of str and float
        Class attribute: a measure. The task counts as solved when the mean of the measure is below the number.
    rng : numpy.random.Generator
        Draws everything.

    Raises
    ------
    ValueError
        If a number is no positive integer, the lower end of a range is above the upper end or below `smallest`, the
        seed is none, `output` is unknown, or `solved` does not name a measure of the task.
    """

    output: str = "bits"
    solved: tuple[str, float] = ("bits", 0.01)

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        sizes: Mapping[str, tuple[int, int]],
        batch_size: int = 1,
        seed: Seed = None,
        smallest: Mapping[str, int] | None = None,
    ) -> None:
        if self.output not in MEASURES:
            self._fail(f"output must be one of {', '.join(MEASURES)}, not {self.output!r}")
        if self.solved[0] not in self.measures:
            self._fail(
                f"solved must name one of its measures, {', '.join(self.measures)}, "
                f"not {self.solved[0]!r}"
            )
        self.num_inputs = self.check_integer("num_inputs", num_inputs)
        self.num_outputs = self.check_integer("num_outputs", num_outputs)
        self.batch_size = self.check_integer("batch_size", batch_size)
        self.smallest = {name: 1 for name in sizes} | dict(smallest or {})
        self.sizes: dict[str, tuple[int, int]] = {}
        for name, ends in sizes.items():
            if not isinstance(ends, tuple | list) or len(ends) != 2:
                self._fail(f"{name} must range over a pair (lowest, highest), not {ends!r}")
            low, high = ends
            low = self.check_integer(f"min_{name}", low, self.smallest[name])
            high = self.check_integer(f"max_{name}", high)
            if low > high:
                self._fail(f"min_{name} = {low} is above max_{name} = {high}")
            self.sizes[name] = (low, high)
        self.rng = self._make_generator(seed)

    # ---- What a task has to write

    def num_steps(self, **sizes: int) -> int:
        """Return the steps T that a sequence of these sizes takes."""
        raise NotImplementedError(f"{type(self).__name__} must have a method num_steps")

    def make(self, rng: np.random.Generator, **sizes: int) -> SequenceArrays:
        """Draw one sequence.

        Parameters
        ----------
        rng : numpy.random.Generator
        **sizes : int
            Each of the task's sizes.

        Returns
        -------
        inputs : array (T, F)
        targets : array (T, O)
        weights : array (T,)
            How much each step counts.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method make")

    # ---- What a task may write

    def count_items(self, **sizes: int) -> int | None:
        """Return how many items of such a sequence the network has to keep, None where the task does not know.

        A network that keeps each item in a memory slot of its own needs so many slots at least. A sequence with more
        items is longer than the memory has slots.

        Parameters
        ----------
        **sizes : int
            Each of the task's sizes.

        Returns
        -------
        int or None
        """
        return None

    @property
    def input_names(self) -> dict[int, str]:
        """Names of input channels for pictures, such as ``{8: "marker"}``: a dict from int to str."""
        return {}

    @property
    def output_names(self) -> dict[int, str]:
        """Names of output channels, or of classes, for pictures: a dict from int to str."""
        return {}

    def spell_inputs(self, inputs: np.ndarray) -> list[str] | None:
        """Return what the inputs (T, F) of a sequence stand for: a text for each step, or None for plain bits."""
        return None

    def spell_outputs(self, outputs: np.ndarray) -> list[str] | None:
        """Return what targets or predictions (T, O) of a sequence stand for: a text for each step.

        None leaves it to the kind of the targets: digits are written as digits, classes by their names or numbers.
        """
        return None

    # ---- What a task gets for that

    @property
    def largest_sizes(self) -> dict[str, int]:
        """The largest value of each size in training: a dict from str to int."""
        return {name: high for name, (_, high) in self.sizes.items()}

    @property
    def longest(self) -> int:
        """Steps of a sequence of the largest sizes."""
        return self.num_steps(**self.largest_sizes)

    def complete_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return sizes of a sequence, with the largest in training for each size that is not given.

        Raises
        ------
        TypeError
            If the task has no such size.
        ValueError
            If there are no sequences of such sizes.
        """
        self._check_names(sizes)
        return self.largest_sizes | {
            name: self.check_integer(name, value, self.smallest[name])
            for name, value in sizes.items()
        }

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        return self.sample()

    def sample(
        self,
        batch_size: int | None = None,
        num_steps: int | None = None,
        rng: np.random.Generator | None = None,
        **sizes: npt.ArrayLike,
    ) -> Batch:
        """Draw a batch.

        Parameters
        ----------
        batch_size : int, optional
            Instead of the task's.
        num_steps : int, optional
            Steps to pad to, instead of those of the longest sequence.
        rng : numpy.random.Generator, optional
            Draws the batch instead of the task's own generator, which is then left as it is.
        **sizes : int or array of int (B,)
            Sizes instead of random ones, for all sequences or for each. They may be beyond the task's range.

        Returns
        -------
        Batch of float32 arrays
            Shorter sequences are padded at their end with zeros, which do not count.

        Raises
        ------
        TypeError
            If the task has no such size.
        ValueError
            If the sequences do not fit into `num_steps`, there are none of such sizes, or :meth:`make` gives numbers
            that are not finite.
        """
        if batch_size is None:
            batch_size = self.batch_size
        batch_size = self.check_integer("batch_size", batch_size)
        if rng is None:
            rng = self.rng
        elif not isinstance(rng, np.random.Generator):
            self._fail(f"rng must be a numpy.random.Generator, not {rng!r}")
        drawn = self._draw_sizes(rng, batch_size, sizes)
        steps = [self.check_integer("num_steps(...)", self.num_steps(**each)) for each in drawn]
        if num_steps is None:
            num_steps = max(steps)
        num_steps = self.check_integer("num_steps", num_steps)
        if num_steps < max(steps):
            longest = drawn[steps.index(max(steps))]
            of = (
                " and ".join(f"{name} = {value}" for name, value in longest.items()) or "a sequence"
            )
            self._fail(f"{of} takes {max(steps)} steps, more than num_steps = {num_steps}")
        batch = Batch(
            np.zeros((batch_size, num_steps, self.num_inputs), np.float32),
            np.zeros((batch_size, num_steps, self.num_outputs), np.float32),
            np.zeros((batch_size, num_steps), np.float32),
        )
        for k, (each, length) in enumerate(zip(drawn, steps, strict=True)):
            parts = self.make(rng, **each)
            if not isinstance(parts, tuple | list) or len(parts) != len(batch):
                given = len(parts) if isinstance(parts, tuple | list) else type(parts).__name__
                self._fail(f"make must give three arrays, inputs, targets and weights, not {given}")
            for name, part, array in zip(
                ("inputs", "targets", "weights"), parts, batch, strict=True
            ):
                expected = (length, *array.shape[2:])
                if np.shape(part) != expected:
                    self._fail(f"make gave {name} of shape {np.shape(part)}, not {expected}")
                array[k, :length] = part
        if not np.isfinite(batch.inputs).all():
            self._fail("make gave inputs that are not finite")
        batch.check_targets(f"{type(self).__name__}: make")
        return batch

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures that :meth:`measure` gives."""
        return tuple(MEASURES[self.output])

    def measure(self, predictions: npt.ArrayLike, batch: Batch) -> dict[str, np.ndarray]:
        """Measure how good predictions are.

        Parameters
        ----------
        predictions : array (B, T, O)
        batch : Batch

        Returns
        -------
        dict from str to array (B,)
            For bits "bits", "wrong_bits" and "correct", for classes and digits "bits", "wrong" and "correct", for
            numbers "error" and "correct": see :mod:`ntm.tasks.measures`. "correct" is one where the whole sequence is
            right.
        """
        return {
            name: function(predictions, batch.targets, batch.mask)
            for name, function in MEASURES[self.output].items()
        }

    def get_state(self) -> dict[str, Any]:
        """Return the state of the random generator, a dict that JSON can hold, for :meth:`set_state`."""
        return _to_json(self.rng.bit_generator.state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Draw from now on what was drawn after :meth:`get_state` gave this state.

        Raises
        ------
        ValueError
            If it is no such state.
        """
        try:
            kind = state["bit_generator"]
            if kind != self.rng.bit_generator.state["bit_generator"]:
                self.rng = np.random.Generator(_BIT_GENERATORS[kind]())
            self.rng.bit_generator.state = state  # type: ignore[assignment]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            self._fail(f"{state!r} is not the state of a random generator", error)

    # ---- For the tasks' own checks

    def check_integer(self, name: str, value: Any, least: int = 1) -> int:
        """Return a value as an int; raise a `ValueError` that names the task if it is none, or less than `least`."""
        if not isinstance(value, numbers.Integral) or isinstance(value, bool):
            self._fail(f"{name} must be an integer, not {value!r}")
        if value < least:
            expected = "positive" if least == 1 else f"at least {least}"
            self._fail(f"{name} must be {expected}, not {value}")
        return int(value)

    def check_bool(self, name: str, value: Any) -> bool:
        """Return a value as a bool; raise a `ValueError` that names the task if it is none."""
        if not isinstance(value, bool | np.bool_):
            self._fail(f"{name} must be True or False, not {value!r}")
        return bool(value)

    def _make_generator(self, seed: Seed) -> np.random.Generator:
        try:
            if isinstance(seed, bool):
                raise TypeError
            return np.random.default_rng(seed)
        except (TypeError, ValueError) as error:
            self._fail(
                "seed must be an integer that is not negative, a sequence of such integers, a numpy.random.Generator "
                f"or None, not {seed!r}",
                error,
            )

    def _check_names(self, given: Mapping[str, Any]) -> None:
        """Raise a `TypeError` if there is a size that the task does not have."""
        unknown = [name for name in given if name not in self.sizes]
        if unknown:
            close = get_close_matches(unknown[0], self.sizes, n=1)
            known = ", ".join(self.sizes) or "none"
            hint = f"did you mean {close[0]!r}?" if close else f"the sizes are: {known}"
            raise TypeError(f"{type(self).__name__}: there is no size {unknown[0]!r}; {hint}")

    def _draw_sizes(
        self, rng: np.random.Generator, batch_size: int, given: Mapping[str, npt.ArrayLike]
    ) -> list[dict[str, int]]:
        """Return the sizes of each sequence: those given, the others at random."""
        self._check_names(given)
        drawn: list[dict[str, int]] = [{} for _ in range(batch_size)]
        for name, (low, high) in self.sizes.items():
            if name in given:
                values = self._check_sizes(name, given[name], batch_size)
            else:
                values = rng.integers(low, high + 1, batch_size).tolist()
            for each, value in zip(drawn, values, strict=True):
                each[name] = value
        return drawn

    def _check_sizes(self, name: str, value: npt.ArrayLike, batch_size: int) -> list[int]:
        """Return a size that was given as a list of int, one for each sequence."""
        values = np.asarray(value)
        if values.dtype.kind not in "iu":
            self._fail(f"{name} must be an integer or an array of integers, not {value!r}")
        if values.shape not in ((), (batch_size,)):
            self._fail(
                f"{name} must be an integer or an array of shape ({batch_size},), "
                f"one for each sequence, not of shape {values.shape}"
            )
        self.check_integer(name, values.min(), self.smallest[name])
        return np.broadcast_to(values, (batch_size,)).tolist()

    def _fail(self, message: str, cause: Exception | None = None) -> NoReturn:
        raise ValueError(f"{type(self).__name__}: {message}") from cause


_BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.MT19937,
        np.random.Philox,
        np.random.SFC64,
    )
}


def _to_json(value: Any) -> Any:
    """Return a state of NumPy's generators with lists and Python's numbers in place of NumPy's."""
    if isinstance(value, dict):
        return {key: _to_json(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
