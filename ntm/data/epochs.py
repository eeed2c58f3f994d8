"""Data in epochs: each sequence once an epoch, in an order by seed, in batches of sequences alike in length."""

from typing import Any

import numpy as np

from ntm.data.dataset import Dataset
from ntm.data.layout import DataBatch
from ntm.data.seeking import (
    SeekableSource,
    check_count,
    check_dataset,
    check_flag,
    fill_rows,
    make_permutation,
)
from ntm.typing import Array

__all__ = ["Epochs"]

#: How many lengths are considered as lengths of a bucket. The time to choose is quadratic in it
MAX_LENGTHS = 256


class Epochs(SeekableSource):
    """Gives the batches of a data set, epoch after epoch. Each sequence comes exactly once an epoch.

    Networks are compiled for each shape of a batch, so there are few shapes: all batches have `batch_size` rows, and at
    most `num_buckets` lengths. The lengths are those with the least padding. A batch holds sequences of one bucket.
    Where a bucket's last batch has fewer sequences, it is filled with repeated ones of weight 0: nothing is dropped.

    The batches follow from `seed` and the number of the epoch, so training resumes with exactly the batches that would
    have come.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        At most: with fewer sequences, a batch has as many rows as there are sequences.
    seed : int
        Not negative. Orders the sequences, and the batches, anew in each epoch.
    shuffle : bool
        If not, sequences come in the order of the data set, the bucket of the shortest sequences first.
    num_buckets : int
        Lengths that batches are padded to, at most. 1 pads all sequences to the longest.

    Attributes
    ----------
    indices : array (n,) of int
        Which sequences the batch drawn last holds, in its first n rows.

    Raises
    ------
    TypeError
        If `dataset` is no data set.
    ValueError
        If another argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from ntm.data import Dataset, Epochs
    >>> sequences = [np.ones((length, 2)) for length in (3, 7, 7, 8, 3)]
    >>> epochs = Epochs(Dataset(sequences, [0, 1, 1, 0, 1]), batch_size=2, num_buckets=2)
    >>> sorted(epochs.draw().shape for _ in range(epochs.steps_per_epoch))
    [(2, 3), (2, 8), (2, 8)]
    """

    steps_per_epoch: int

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        num_buckets: int = 4,
    ) -> None:
        self.dataset = check_dataset(dataset, "Epochs")
        self.layout = dataset.layout
        self.batch_size = min(check_count(batch_size, "Epochs: batch_size"), len(dataset))
        self.seed = check_count(seed, "Epochs: seed", least=0)
        self.shuffle = check_flag(shuffle, "Epochs: shuffle")
        self.num_buckets = check_count(num_buckets, "Epochs: num_buckets")
        self.longest = int(dataset.longest)
        self.indices = np.arange(0)
        lengths = np.asarray(dataset.lengths)
        self._bucket_lengths = choose_lengths(lengths, self.batch_size, self.num_buckets)
        self._buckets = np.searchsorted(self._bucket_lengths, lengths)
        self._batch_buckets, self._starts, self._stops = self._divide()
        self.steps_per_epoch = len(self._starts)

    def find_padded(self) -> int | None:
        """Return the first sequence that is shorter than the batches that hold it; None if no sequence is padded."""
        lengths = self.dataset.lengths
        padded = np.flatnonzero(self._bucket_lengths[self._buckets] != lengths)
        return int(padded[0]) if len(padded) else None

    def _divide(self) -> tuple[Array, Array, Array]:
        """Return the bucket, start and stop of each batch, where sequences are sorted by bucket."""
        ends = np.cumsum(np.bincount(self._buckets, minlength=len(self._bucket_lengths)))
        parts = [
            (bucket, start, min(start + self.batch_size, end))
            for bucket, end in enumerate(ends)
            for start in range(ends[bucket - 1] if bucket else 0, end, self.batch_size)
        ]
        buckets, starts, stops = np.array(parts).T
        return buckets, starts, stops

    def _plan(self, epoch: int) -> None:
        order, rng = make_permutation(len(self.dataset), self.seed, epoch, self.shuffle)
        self._order = order[np.argsort(self._buckets[order], kind="stable")]
        batches = rng.permutation(self.steps_per_epoch) if self.shuffle else slice(None)
        self._batches = np.arange(self.steps_per_epoch)[batches]
        sizes = (self._stops - self._starts)[self._batches]
        self._drawn = np.concatenate([[0], np.cumsum(sizes)])

    def _count_batches(self) -> int:
        return self.steps_per_epoch

    def _count(self, position: int) -> int:
        return int(self._drawn[position])

    def _read(self, position: int) -> DataBatch:
        batch = self._batches[position]
        self.indices = self._order[self._starts[batch] : self._stops[batch]]
        num_steps = int(self._bucket_lengths[self._batch_buckets[batch]])
        return fill_rows(self.dataset.take(self.indices, num_steps), self.batch_size)

    def _get_options(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "num_buckets": self.num_buckets,
        }


def choose_lengths(lengths: Array, batch_size: int, num_buckets: int) -> Array:
    """Return the lengths of the buckets that take the fewest steps in an epoch, padding and filled rows included.

    Parameters
    ----------
    lengths : array (N,) of int
    batch_size : int
    num_buckets : int
        How many lengths at most. There are fewer where more would not take fewer steps.

    Returns
    -------
    array of int
        Ascending. The last is the length of the longest sequence.
    """
    known = np.unique(lengths)
    if len(known) > MAX_LENGTHS:
        known = known[np.linspace(0, len(known) - 1, MAX_LENGTHS).round().astype(int)]
    counts = np.bincount(np.searchsorted(known, lengths), minlength=len(known))
    # A bucket (i, j) holds the known lengths from number i to number j - 1, and is padded to the last of them
    ends = np.concatenate([[0], np.cumsum(counts)])
    num_batches = -(-(ends - ends[:, None]) // batch_size)
    steps = num_batches * batch_size * np.concatenate([[0], known]).astype(float)
    steps[np.tril_indices(len(ends))] = np.inf
    # fewest[j]: steps of the known lengths before number j, in one bucket more in each round
    fewest, cuts = steps[0], []
    for _ in range(min(num_buckets, len(known)) - 1):
        sums = fewest[:, None] + steps
        cut, least = sums.argmin(axis=0), sums.min(axis=0)
        cuts.append(np.where(least < fewest, cut, -1))
        fewest = np.minimum(least, fewest)
    end = len(known)
    chosen = [known[-1]]
    for cut in reversed(cuts):
        if cut[end] >= 0:
            end = cut[end]
            chosen.append(known[end - 1])
    return np.array(chosen[::-1])
