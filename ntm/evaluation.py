"""How well a network does on a task: measures over batches of sequences.

Notation: B sequences, T steps, O output features.
"""

import numpy as np


def _masked(values, mask):
    values = np.asarray(values, dtype=np.float64)
    return (values * np.asarray(mask)[:, :, None]).sum(axis=(1, 2))


def bits_per_sequence(predictions, targets, mask, eps=1e-12):
    """Cross-entropy of each sequence, in bits, over the steps that count.

    Parameters
    ----------
    predictions, targets : arrays (B, T, O)
        Probabilities of a one, and the bits.
    mask : array (B, T)
    eps : float
        How near to zero and one probabilities are taken.

    Returns
    -------
    array (B,)
    """
    p = np.clip(np.asarray(predictions, dtype=np.float64), eps, 1.0 - eps)
    targets = np.asarray(targets)
    return _masked(-targets * np.log2(p) - (1.0 - targets) * np.log2(1.0 - p), mask)


def wrong_bits_per_sequence(predictions, targets, mask):
    """Number of bits of each sequence that are wrong once rounded, over the steps that count.

    Parameters and shape of the result as in :func:`bits_per_sequence`. A prediction that is not a number is wrong.
    """
    predictions = np.asarray(predictions)
    right = np.where(
        np.isnan(predictions), False, (predictions > 0.5) == (np.asarray(targets) > 0.5)
    )
    return _masked(~right, mask)
