"""The base class of what gives batches to a trainer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from ntm.data.layout import DataBatch, Layout

__all__ = ["Source", "SourceExhausted"]


class SourceExhausted(Exception):
    """There are no more batches: a generator has ended, and it cannot begin again."""


class Source(ABC):
    """Base class: gives batches of training data, epoch after epoch.

    Attributes
    ----------
    layout : Layout
    batch_size : int
        Rows of each batch, rows that only fill it included.
    longest : int
        Steps of the longest batch; where that is not known, of the first one.
    epoch : int
        Epochs that have ended. It rises when the last batch of an epoch is drawn.
    steps_per_epoch : int or None
        None where that is not known.
    num_sequences : int
        Sequences drawn so far; rows that only fill a batch do not count.
    can_seek : bool
        Whether :meth:`set_state` brings back exactly the same batches.
    can_begin_anew : bool
        Whether an epoch can follow the first one. A generator ends.
    is_stream : bool
        Whether rows go on from batch to batch: then batches have `resets`.
    """

    layout: Layout
    batch_size: int
    longest: int
    epoch: int = 0
    steps_per_epoch: int | None = None
    num_sequences: int = 0
    can_seek: bool = True
    can_begin_anew: bool = True
    is_stream: bool = False

    @abstractmethod
    def draw(self) -> DataBatch:
        """Return the next batch.

        Raises
        ------
        SourceExhausted
            If there are no more batches.
        ValueError
            If the data are not as they should be; the message names the array and the first offending index.
        """

    @abstractmethod
    def get_state(self) -> dict[str, Any]:
        """Return where the source is, as JSON takes it: epoch, position, and a fingerprint of the data."""

    @abstractmethod
    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of :meth:`get_state`.

        Raises
        ------
        ValueError
            If the state is damaged, or of other data. Then the source is as before.
        """
