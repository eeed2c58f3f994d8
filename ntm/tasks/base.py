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
