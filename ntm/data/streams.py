"""Long series in windows, for truncated backpropagation through time."""

import heapq
import zlib
from typing import Any

import numpy as np

from ntm.data.dataset import Dataset
from ntm.data.layout import DataBatch
from ntm.data.seeking import (
    SeekableSource,
    check_count,
    check_dataset,
    check_flag,
    make_permutation,
)
from ntm.typing import Array

__all__ = ["Stream"]


class Stream(SeekableSource):
    """Gives long series in windows of a few steps, each where the window before ended.

    This is for truncated backpropagation through time: a trainer carries the network's state from window to window, and
    gradients go back to the beginning of a window. A row of a batch stays with a series until the series ends, then
    takes the next one: `resets` says in which rows a series begins. The last window of a series is padded. A window of
    which no step counts has weight 0, and so has a row for which no series is left in the epoch. The epoch ends with
    the last window of the last series.

    Only the windows that are drawn are read, so series may be far larger than memory.

    One very long series fills one row. Cut it in B parts for B rows: ``series.reshape(B, -1, F)``.

    Parameters
    ----------
    dataset : Dataset
        Its sequences are the series, with targets for each step.
    window : int
        Steps of a window. The longest series, where that is shorter.
    batch_size : int, optional
        Rows of a batch. By default, or at most, as many as there are series.
    seed : int
        Not negative. Orders the series anew in each epoch.
    shuffle : bool
        If not, series come in the order of the data set.
    boundaries : array (N, T) of bool, or list of N arrays, optional
        True at the steps at which a new series begins. A sequence is cut there.

    Attributes
    ----------
    num_series : int
    num_sequences : int
        Windows drawn so far.

    Raises
    ------
    TypeError
        If `dataset` is no data set.
    ValueError
        If another argument is of the wrong type or out of range, or there is one target for each sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from ntm.data import Dataset, Stream
    >>> wave = np.sin(np.arange(3001) / 20).reshape(1, -1, 1)
    >>> stream = Stream(Dataset(wave[:, :-1], wave[:, 1:]), window=100)
    >>> [bool(stream.draw().resets[0]) for _ in range(3)], stream.steps_per_epoch
    ([True, False, False], 30)
    """

    is_stream = True

    def __init__(
        self,
        dataset: Dataset,
        window: int,
        batch_size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        boundaries: Any = None,
    ) -> None:
        self.dataset = check_dataset(dataset, "Stream")
        self.layout = dataset.layout
        if not self.layout.per_step:
            raise ValueError(
                "Stream: there is one target for each sequence: expected one for each step, as windows have"
            )
        self.seed = check_count(seed, "Stream: seed", least=0)
        self.shuffle = check_flag(shuffle, "Stream: shuffle")
        self._sequences, self._starts, self._stops = self._cut(boundaries)
        self.num_series = len(self._starts)
        if batch_size is None:
            batch_size = len(dataset)
        self.batch_size = min(check_count(batch_size, "Stream: batch_size"), self.num_series)
        lengths = self._stops - self._starts
        self.longest = min(check_count(window, "Stream: window"), int(lengths.max()))
        self._num_windows = -(-lengths // self.longest)
        self._boundaries = (
            None if boundaries is None else zlib.crc32(self._starts.astype("<i8").tobytes())
        )
        # In any order of the series the epoch takes as many batches
        if (
            not self.shuffle
            or self.num_series == self.batch_size
            or (self._num_windows == self._num_windows[0]).all()
        ):
            self.steps_per_epoch = self._prepare(0)

    def _cut(self, boundaries: Any) -> tuple[Array, Array, Array]:
        """Return the sequence of the data set, the start and the stop of each series."""
        lengths = np.asarray(self.dataset.lengths)
        if boundaries is None:
            return np.arange(len(lengths)), np.zeros_like(lengths), lengths
        num_rows = len(boundaries) if hasattr(boundaries, "__len__") else 0
        if num_rows != len(lengths):
            raise ValueError(
                f"Stream: boundaries must have a row for each of {len(lengths):,} sequences, not {num_rows:,}"
            )
        sequences, starts, stops = [], [], []
        for index, length in enumerate(lengths):
            row = np.asarray(boundaries[index])
            if row.dtype != bool or row.ndim != 1 or len(row) < length:
                raise ValueError(
                    f"Stream: boundaries[{index}] must be truth values for each of {length:,} steps, not an array of "
                    f"{row.dtype}, shape {row.shape}"
                )
            begins = np.flatnonzero(row[1:length]) + 1
            starts.append(np.concatenate([[0], begins]))
            stops.append(np.concatenate([begins, [length]]))
            sequences.append(np.full(len(begins) + 1, index))
        return np.concatenate(sequences), np.concatenate(starts), np.concatenate(stops)

    def _plan(self, epoch: int) -> None:
        order, _ = make_permutation(self.num_series, self.seed, epoch, self.shuffle)
        # Each row takes the next series when its own has ended
        rows, begins = np.zeros_like(order), np.zeros_like(order)
        ends = [(0, row) for row in range(self.batch_size)]
        for number, windows in enumerate(self._num_windows[order].tolist()):
            begins[number], rows[number] = end, row = ends[0]
            heapq.heapreplace(ends, (end + windows, row))
        self._num_batches = max(ends)[0]
        # By row, and in a row by the batch in which a series begins
        places = rows * self._num_batches + begins
        sorted_places = np.argsort(places)
        self._places, self._series = places[sorted_places], order[sorted_places]
        # Series in each batch, and windows before each batch
        active = np.bincount(begins, minlength=self._num_batches + 1)
        active -= np.bincount(begins + self._num_windows[order], minlength=self._num_batches + 1)
        self._drawn = np.concatenate([[0], np.cumsum(np.cumsum(active)[:-1])])

    def _count_batches(self) -> int:
        return self._num_batches

    def _count(self, position: int) -> int:
        return int(self._drawn[position])

    def _read(self, position: int) -> DataBatch:
        wanted = np.arange(self.batch_size) * self._num_batches + position
        found = np.searchsorted(self._places, wanted, side="right") - 1
        series, numbers = self._series[found], wanted - self._places[found]
        goes_on = numbers < self._num_windows[series]
        starts = self._starts[series] + np.where(goes_on, numbers, 0) * self.longest
        counts = np.where(goes_on, np.minimum(self._stops[series] - starts, self.longest), 0)
        read = self.dataset.take_windows(self._sequences[series], starts, self.longest)
        batch = self._cut_batch(read, counts)
        return batch._replace(
            weights=batch.weights * batch.mask.any(axis=1), resets=goes_on & (numbers == 0)
        )

    def _cut_batch(self, batch: DataBatch, counts: Array) -> DataBatch:
        """Return a batch with zeros from a step of each row on."""
        within = np.arange(self.longest) < counts[:, None]

        def cut(array: Array) -> Array:
            return array * within.reshape(*within.shape, *[1] * (array.ndim - 2)).astype(
                array.dtype
            )

        return batch._replace(
            inputs={
                name: cut(array) if self.layout.inputs[name].has_time else array
                for name, array in batch.inputs.items()
            },
            targets=cut(batch.targets) if self.dataset.has_targets else batch.targets,
            mask=cut(batch.mask),
            step_mask=cut(batch.step_mask),
        )

    def _get_options(self) -> dict[str, Any]:
        return {
            "boundaries": self._boundaries,
            "window": self.longest,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shuffle": self.shuffle,
        }
