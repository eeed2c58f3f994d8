"""What every task gives: a batch of sequences and where its answers are."""

from typing import NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Sequences of a task: B of them, T steps, F input and O output features.

    Attributes
    ----------
    inputs : array (B, T, F)
    targets : array (B, T, O)
    mask : array (B, T)
        One at the steps whose targets count, zero elsewhere and in the padding.
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray

    def pad_to_bucket(self, longest, num_buckets=4):
        """Pad the sequences to one of a few lengths, so that few lengths are compiled for.

        An NTM is causal: what comes after a sequence's end changes nothing before, and the mask leaves it out.

        Parameters
        ----------
        longest : int
            Steps of the longest batch there will be.
        num_buckets : int
            How many lengths there are: `longest` and as many shorter ones, equally spaced.

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
