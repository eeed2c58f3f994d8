"""Batches that a program makes itself: a generator, a PyTorch DataLoader, any iterable."""

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from ntm.arguments import shorten
from ntm.data.dataset import Dataset
from ntm.data.fields import TUPLE, is_map_style, match_names
from ntm.data.layout import DataBatch, Layout
from ntm.data.seeking import check_count, check_position, compare, fill_rows
from ntm.data.source import Source, SourceExhausted
from ntm.typing import Array

__all__ = ["Batches", "make_dataset"]

NO_TARGETS = "there are no targets: expected inputs and targets"
#: There is no item
NOTHING: Any = object()
#: Examples in a batch, where an iterable gives examples and the number is not given
BATCH_SIZE = 32


class Batches(Source):
    """Gives the batches of an iterable, such as a PyTorch DataLoader, a generator, or a list of batches.

    A batch is a tuple or list (inputs, targets[, mask[, weights]]), a dict of arrays such as ``inputs``, ``targets``,
    ``mask``, ``lengths`` and ``weights``, or a list of examples, each a tuple (inputs, targets) or a dict. The third
    part of a tuple is a mask (B, T), or lengths: integers (B,). Arrays are NumPy arrays, lists, or whatever NumPy can
    read, such as tensors of PyTorch or JAX. Each batch is checked like a :class:`Dataset`.

    Networks are compiled for each shape of a batch. So batches are padded: rows to the number of the first batch, or
    twice, four times ... as many; steps to the number of the first batch, or twice, four times ... or a half, a quarter
    ... of it. Rows that fill a batch have weight 0.

    An iterable that can begin anew does so in each epoch. A generator cannot: after its last batch :meth:`draw` raises
    :class:`SourceExhausted`. A function that returns a new generator can begin anew. The next batch is fetched when a
    batch is drawn, so that the end of an epoch is known in time. What the iterable raises comes through unchanged, when
    the batch that it concerns is drawn.

    Such data cannot be sought: where training resumes, the batches are not those of an uninterrupted run.

    Parameters
    ----------
    batches : iterable, or function without arguments that returns one
    kind, per, num_outputs : optional
        As of a :class:`Dataset`. By default they are guessed from the first batch. Give `num_outputs` where its labels
        may not hold the largest.
    batch_size : int, optional
        If given, the iterable gives examples, not batches, and so many make a batch. A streamed data set of Hugging
        Face gives examples anyway, by default 32 to a batch.

    Raises
    ------
    TypeError
        If `batches` is neither an iterable nor a function without arguments.
    ValueError
        If there is no batch, or the first one is not as it should be.

    Examples
    --------
    >>> import numpy as np
    >>> from ntm.data import Batches
    >>> def generate():
    ...     rng = np.random.default_rng(0)
    ...     for steps in (10, 9, 4):
    ...         bits = rng.integers(0, 2, (8, steps, 1))
    ...         yield bits, np.cumsum(bits, axis=1) % 2
    >>> source = Batches(generate, kind="bits")
    >>> [source.draw().shape for _ in range(3)], source.epoch
    ([(8, 10), (8, 10), (8, 5)], 1)
    """

    can_seek = False

    def __init__(
        self,
        batches: Iterable[Any] | Callable[[], Iterable[Any]],
        kind: str | None = None,
        per: str | None = None,
        num_outputs: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._batches = batches
        self._num_examples = self._check_batch_size(batch_size)
        self._options: dict[str, Any] = {"kind": kind, "per": per, "num_outputs": num_outputs}
        self._guessed = None in (kind, per, num_outputs)
        self._position = 0
        self._error: Exception | None = None
        self._iterator: Iterator[Any] | None = self._begin()
        self._next = next(self._iterator, NOTHING)
        if self._next is NOTHING:
            raise ValueError("Batches: there are no batches: expected one at least")
        first = self._convert(self._next)
        self.layout = first.layout
        self.batch_size, self.longest = len(first), first.num_array_steps
        self._options = {
            "kind": self.layout.kind,
            "per": "step" if self.layout.per_step else "sequence",
            "num_outputs": self.layout.num_outputs,
        }
        if self._num_examples is None and self.can_begin_anew:
            self.steps_per_epoch = _get_length(batches)

    def draw(self) -> DataBatch:
        dataset = self._convert(self._take())
        num_steps, rows = round_steps(dataset.num_array_steps, self.longest), self.batch_size
        while rows < len(dataset):
            rows *= 2
        batch = dataset.take(np.arange(len(dataset)), num_steps)
        batch = fill_rows(batch._replace(inputs=self._to_floats(batch.inputs)), rows)
        self.num_sequences += len(dataset)
        self._position += 1
        self._look_ahead()
        return batch

    def get_state(self) -> dict[str, Any]:
        return {
            "source": "Batches",
            "epoch": self.epoch,
            "batch": self._position,
            "num_sequences": self.num_sequences,
            "data": _describe(self.layout),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        own = self.get_state()
        epoch, position, num_sequences = check_position(state, own)
        compare(state["data"], own["data"], "the state is of other data")
        if state == own:
            return
        how = (
            f"epoch {epoch} begins anew"
            if self.can_begin_anew
            else "the iterator goes on where it is"
        )
        # First of all: a filter may turn the warning into an error
        warnings.warn(
            f"Batches: training resumes after batch {state['batch']} of epoch {epoch}, but an iterable cannot be "
            f"sought: {how}, and the batches are not those of an uninterrupted run",
            stacklevel=2,
        )
        if self.can_begin_anew:
            if self._position:
                self._iterator, self._next, self._error = None, NOTHING, None
            position = 0
        self.epoch, self._position, self.num_sequences = epoch, position, num_sequences

    # ---- The items of the iterable

    def _check_batch_size(self, batch_size: int | None) -> int | None:
        """Return how many examples make a batch, None where the iterable gives batches."""
        if batch_size is None:
            return BATCH_SIZE if _gives_examples(self._batches) else None
        own = getattr(self._batches, "batch_size", None)
        if own is not None:
            raise ValueError(
                f"Batches: the data come in batches already, as their batch_size = {own!r} says: leave batch_size out"
            )
        return check_count(batch_size, "Batches: batch_size")

    def _begin(self) -> Iterator[Any]:
        """Return an iterator over the batches, from the first one on."""
        batches: Any = self._batches
        if callable(batches) and not hasattr(batches, "__iter__"):
            try:
                inspect.signature(batches).bind()
            except TypeError as error:
                self._refuse(f"a function with arguments ({error})")
            except ValueError:  # it does not tell its arguments
                pass
            batches = batches()
        if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
            self._refuse(f"{shorten(repr(batches), 60)}, of type {type(batches).__name__}")
        iterator = iter(batches)
        self.can_begin_anew = iterator is not self._batches
        return iterator if self._num_examples is None else _collect(iterator, self._num_examples)

    def _refuse(self, given: str) -> NoReturn:
        raise TypeError(
            "Batches: batches must be an iterable, or a function without arguments that returns one, such as a "
            f"generator function, not {given}"
        )

    def _take(self) -> Any:
        """Return the item that comes next, and begin a new epoch where the last one has ended."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        item, self._next = self._next, NOTHING
        if item is NOTHING and self._iterator is not None:
            item = next(self._iterator, NOTHING)
        if item is NOTHING and self.can_begin_anew:
            self._iterator, self._position = self._begin(), 0
            item = next(self._iterator, NOTHING)
        if item is NOTHING:
            raise SourceExhausted(
                f"Batches: there are no more batches after {self.num_sequences:,} sequences. A generator cannot begin "
                "anew: give a function that returns a new generator, a list of batches, or a DataLoader"
            )
        return item

    def _look_ahead(self) -> None:
        """Fetch the next item, or end the epoch."""
        if self._iterator is None:
            return
        try:
            self._next = next(self._iterator)
        except StopIteration:
            self.epoch += 1
            self._position, self._iterator = 0, None
        except Exception as error:
            self._error = error

    def _convert(self, item: Any) -> Dataset:
        """Return a batch as a data set, checked, and of the layout of the first batch."""
        try:
            dataset = make_dataset(item, **self._options)
            if hasattr(self, "layout"):
                self._compare(dataset.layout)
        except ValueError as error:
            message = str(error).removeprefix("Dataset: ")
            raise ValueError(
                f"Batches: batch {self._position} of epoch {self.epoch}: {message}{self._get_hint(message)}"
            ) from error
        return dataset

    def _get_hint(self, message: str) -> str:
        """Return what to do about an error in a batch, for the message."""
        if not hasattr(self, "layout"):
            may_be_example = self._num_examples is None and message.startswith("targets is ")
            return ". If the data give examples and not batches, give batch_size" * may_be_example
        is_guessed = self._guessed and message.startswith("targets")
        return (
            ". Targets were guessed from the first batch: give kind, per and num_outputs"
            * is_guessed
        )

    def _compare(self, layout: Layout) -> None:
        """Raise a `ValueError` if a layout does not fit that of the first batch."""
        compare(_describe(layout), _describe(self.layout), "other than in the first batch")
        for name, own in self.layout.inputs.items():
            if own.is_integer and not layout.inputs[name].is_integer:
                raise ValueError(
                    f"input {name!r} has negative numbers or fractions: expected symbols, integers from 0 as in the "
                    "first batch"
                )

    def _to_floats(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Return inputs with integers as floating-point numbers, where the first batch had no symbols."""
        return {
            name: array
            if self.layout.inputs[name].is_integer or array.dtype.kind == "f"
            else array.astype(np.float32)
            for name, array in inputs.items()
        }


def make_dataset(data: Any, **options: Any) -> Dataset:
    """Return the data set of a tuple or dict of arrays, or of a list of examples.

    Parameters
    ----------
    data : tuple, list or dict
        See :class:`Batches`.
    **options
        Of :class:`Dataset`.

    Raises
    ------
    ValueError
        If there are no targets, or the data are not as they should be.
    """
    if hasattr(data, "_asdict"):
        data = data._asdict()
    if isinstance(data, list) and is_map_style(data):
        dataset = Dataset(data, **options)
        if not dataset.has_targets:
            raise ValueError(NO_TARGETS)
        return dataset
    if isinstance(data, tuple | list):
        if not 1 <= len(data) <= len(TUPLE):
            raise ValueError(
                f"a {type(data).__name__} of {len(data)}: expected (inputs, targets[, mask[, weights]])"
            )
        data = dict(zip(TUPLE, data, strict=False))
        if _has_one_axis(data.get("mask")):
            data["lengths"] = data.pop("mask")
    elif not isinstance(data, Mapping):
        data = {"inputs": data}
    matched = match_names(data, "a dict")
    if "targets" not in matched:
        raise ValueError(NO_TARGETS)
    return Dataset.from_fields({name: data[given] for name, given in matched.items()}, **options)


def _has_one_axis(value: Any) -> bool:
    """Return whether a value is a list or array of numbers, and not of lists or arrays."""
    has_axis = getattr(value, "ndim", 1) == 1 and hasattr(value, "__len__")
    return has_axis and len(value) > 0 and np.ndim(value[0]) == 0


def round_steps(num_steps: int, first: int) -> int:
    """Return the least of `first`, twice, four times, ... and a half, a quarter, ... of it that is enough."""
    rounded = first
    while rounded < num_steps:
        rounded *= 2
    while num_steps <= (half := -(-rounded // 2)) < rounded:
        rounded = half
    return rounded


def _gives_examples(batches: Any) -> bool:
    """Return whether this is a streamed data set of Hugging Face, which tells the names of its columns."""
    return hasattr(batches, "column_names") and hasattr(batches, "__iter__")


def _collect(examples: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Give lists of so many examples. The last may be shorter."""
    while batch := list(itertools.islice(examples, size)):
        yield [tuple(each) if isinstance(each, list) else each for each in batch]


def _get_length(batches: Any) -> int | None:
    """Return how many batches there are, None if they do not tell."""
    try:
        return len(batches)
    except TypeError:
        return None


def _describe(layout: Layout) -> dict[str, Any]:
    """Return what batches of the same data have in common, as JSON takes it."""
    inputs = {
        name: {
            "features": list(each.features),
            "has_time": each.has_time,
        }
        for name, each in layout.inputs.items()
    }
    return {
        "inputs": inputs,
        "kind": layout.kind,
        "num_outputs": layout.num_outputs,
        "per_step": layout.per_step,
    }
