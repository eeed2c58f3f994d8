"""Sources that can be sought: all batches of an epoch follow from the seed and the number of the epoch."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ntm.arguments import is_integer, shorten
from ntm.data.dataset import Dataset
from ntm.data.layout import DataBatch
from ntm.data.source import Source
from ntm.typing import Array

__all__ = [
    "SeekableSource",
    "check_count",
    "check_dataset",
    "check_flag",
    "check_position",
    "compare",
    "fill_rows",
    "make_permutation",
]


class SeekableSource(Source):
    """Base class of sources whose batches follow from a seed, the epoch and the position in the epoch.

    A subclass plans an epoch, reads a batch of the epoch by its position, and counts the sequences before a position.
    """

    dataset: Dataset
    _position = 0
    _planned: int | None = None

    def draw(self) -> DataBatch:
        num_batches = self._prepare(self.epoch)
        batch = self._read(self._position)
        self.num_sequences += self._count(self._position + 1) - self._count(self._position)
        self._position += 1
        if self._position == num_batches:
            self.epoch += 1
            self._position = 0
        return batch

    def begin_epoch(self) -> None:
        """Go back to the first batch of the present epoch."""
        self._prepare(self.epoch)
        self.num_sequences -= self._count(self._position)
        self._position = 0

    def get_state(self) -> dict[str, Any]:
        return {
            "source": type(self).__name__,
            "epoch": self.epoch,
            "batch": self._position,
            "num_sequences": self.num_sequences,
            "options": self._get_options(),
            "data": self._fingerprint,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        own = self.get_state()
        epoch, position, num_sequences = check_position(state, own)
        compare(state["data"], own["data"], "the state is of other data")
        compare(state["options"], own["options"], "the state is of data with other options")
        num_batches = self._prepare(epoch)
        if position >= num_batches:
            raise ValueError(
                f"the state of the data: batch must be below {num_batches}, the batches of an epoch, not {position}"
            )
        expected = epoch * self._count(num_batches) + self._count(position)
        if num_sequences != expected:
            raise ValueError(
                f"the state of the data: num_sequences must be {expected} in epoch {epoch} at batch {position}, "
                f"not {num_sequences}"
            )
        self.epoch, self._position, self.num_sequences = epoch, position, num_sequences

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return self.dataset.fingerprint()

    def _prepare(self, epoch: int) -> int:
        """Plan an epoch unless that is the epoch planned last, and return its number of batches."""
        if self._planned != epoch:
            self._plan(epoch)
            self._planned = epoch
        return self._count_batches()

    # ---- What a subclass has to write

    @abstractmethod
    def _plan(self, epoch: int) -> None:
        """Lay down the batches of an epoch."""

    @abstractmethod
    def _count_batches(self) -> int:
        """Return the number of batches of the epoch that is planned."""

    @abstractmethod
    def _count(self, position: int) -> int:
        """Return the number of sequences in the batches of the epoch before a position."""

    @abstractmethod
    def _read(self, position: int) -> DataBatch:
        """Return the batch at a position of the epoch that is planned."""

    @abstractmethod
    def _get_options(self) -> dict[str, Any]:
        """Return what the batches depend on besides the data."""


def fill_rows(batch: DataBatch, batch_size: int) -> DataBatch:
    """Fill a batch up to a number of rows. These rows repeat sequences of the batch, with weight 0.

    A row of zeros could make a loss of the user's own divide by zero. A sequence of the batch cannot.
    """
    num_rows = len(batch.weights)
    if num_rows == batch_size:
        return batch
    rows = np.resize(np.arange(num_rows), batch_size)
    weights = batch.weights[rows]
    weights[num_rows:] = 0
    return DataBatch(
        {name: array[rows] for name, array in batch.inputs.items()},
        batch.targets[rows],
        batch.mask[rows],
        batch.step_mask[rows],
        weights,
    )


# ---- Checks of arguments and states


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return a value as an int; raise a `ValueError` with its name if it is no integer or too small."""
    if not is_integer(value) or value < least:
        expected = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"{name} must be {expected}, not {_show(value)}")
    return int(value)


def check_dataset(value: Any, label: str) -> Dataset:
    """Return a value; raise a `TypeError` if it is no data set."""
    if not isinstance(value, Dataset):
        raise TypeError(f"{label}: dataset must be a Dataset, not {type(value).__name__}")
    return value


def check_flag(value: Any, name: str) -> bool:
    """Return a value as a bool; raise a `ValueError` with its name if it is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, not {_show(value)}")
    return bool(value)


def check_position(state: Any, own: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return epoch, batch and number of sequences of a state, if these fit the keys and the class of a source's own."""
    if not isinstance(state, Mapping) or state.keys() != own.keys():
        raise ValueError(
            f"the state of the data must be a dict of {', '.join(own)}, not {_show(state)}"
        )
    if state["source"] != own["source"]:
        raise ValueError(f"the state is of a source {_show(state['source'])}, not {own['source']}")
    epoch, batch, num_sequences = (
        check_count(state[name], f"the state of the data: {name}", least=0)
        for name in ("epoch", "batch", "num_sequences")
    )
    return epoch, batch, num_sequences


def compare(given: Any, own: Any, message: str) -> None:
    """Raise a `ValueError` that says what differs unless two values of JSON are equal."""
    if isinstance(own, Mapping) and isinstance(given, Mapping) and own.keys() == given.keys():
        for name, value in own.items():
            compare(given[name], value, f"{message}: {str(name).replace('_', ' ')}")
    elif type(given) is not type(own) or given != own:
        raise ValueError(f"{message}: {_show(given)}, not {_show(own)}")


def _show(value: Any) -> str:
    """Return a value for a message."""
    return f"{value:,}" if type(value) is int else shorten(repr(value), 100)


def make_permutation(
    size: int, seed: int, epoch: int, shuffle: bool
) -> tuple[Array, np.random.Generator]:
    """Return the order of an epoch, and the generator that drew it."""
    rng = np.random.default_rng([seed, epoch])
    return rng.permutation(size) if shuffle else np.arange(size), rng
