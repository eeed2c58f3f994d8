"""Measures: how well a network does on a task.

Every measure takes predictions and targets (B, T, O) and a mask (B, T), the weights of the steps. It returns float64
numbers (B,), one for each sequence. Predictions at steps whose weight is zero change nothing. Elsewhere a prediction
that is NaN is wrong, and costs infinitely many bits.

Notation: B sequences, T steps, O output features.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt


def bits_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike, eps: float = 1e-12
) -> np.ndarray:
    """Return the cross-entropy of each sequence, in bits, over the steps that count.

    Parameters
    ----------
    predictions, targets : arrays (B, T, O)
        Probabilities of a one, and the bits.
    mask : array (B, T)
    eps : float
        Probabilities are clipped this far from zero and one.

    Returns
    -------
    array (B,)

    Raises
    ------
    ValueError
        If the arrays do not have these shapes.
    """
    predictions, targets, mask = _check("bits_per_sequence", predictions, targets, mask)
    p = np.clip(predictions, eps, 1.0 - eps)
    bits = -targets * np.log2(p) - (1.0 - targets) * np.log2(1.0 - p)
    return _sum(np.where(np.isnan(predictions), np.inf, bits).sum(axis=2), mask)


def wrong_bits_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Count the bits of each sequence that are wrong once rounded, over the steps that count.

    Parameters, shape of the result and errors as in :func:`bits_per_sequence`.
    """
    predictions, targets, mask = _check("wrong_bits_per_sequence", predictions, targets, mask)
    right = ((predictions > 0.5) == (targets > 0.5)) & ~np.isnan(predictions)
    return _sum(np.count_nonzero(~right, axis=2), mask != 0)


def all_bits_correct(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Return one for each sequence without a wrong bit, zero for the others.

    Parameters, shape of the result and errors as in :func:`bits_per_sequence`.
    """
    return _is_zero(wrong_bits_per_sequence(predictions, targets, mask))


def class_bits_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike, eps: float = 1e-12
) -> np.ndarray:
    """Return the cross-entropy of each sequence of classes, in bits, over the steps that count.

    Parameters
    ----------
    predictions, targets : arrays (B, T, O)
        Probabilities of the classes, and one for the class that it is, zero for the others.
    mask : array (B, T)
    eps : float
        Probabilities are clipped to at least this.

    Returns
    -------
    array (B,)

    Raises
    ------
    ValueError
        If the arrays do not have these shapes.
    """
    predictions, targets, mask = _check("class_bits_per_sequence", predictions, targets, mask)
    bits = -(targets * np.log2(np.clip(predictions, eps, 1.0))).sum(axis=2)
    # If the probability of one class is NaN, those of the others mean nothing
    return _sum(np.where(np.isnan(predictions).any(axis=2), np.inf, bits), mask)


def wrong_classes_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Count the steps of each sequence at which another class is the most probable, of the steps that count.

    Parameters, shape of the result and errors as in :func:`class_bits_per_sequence`.
    """
    predictions, targets, mask = _check("wrong_classes_per_sequence", predictions, targets, mask)
    right = predictions.argmax(axis=2) == targets.argmax(axis=2)
    return _sum(~right | np.isnan(predictions).any(axis=2), mask != 0)


def all_classes_correct(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Return one for each sequence without a step of the wrong class, zero for the others.

    Parameters, shape of the result and errors as in :func:`class_bits_per_sequence`.
    """
    return _is_zero(wrong_classes_per_sequence(predictions, targets, mask))


def digit_bits_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike, eps: float = 1e-12
) -> np.ndarray:
    """Return the cross-entropy of each sequence of digits, in bits, over the steps that count.

    Parameters
    ----------
    predictions, targets : arrays (B, T, O)
        O is ten times the digits of a step: of each digit the probabilities of 0 to 9, and one for what it is, zero
        for the others.
    mask : array (B, T)
    eps : float
        Probabilities are clipped to at least this.

    Returns
    -------
    array (B,)

    Raises
    ------
    ValueError
        If the arrays do not have these shapes.
    """
    predictions, targets, mask = _check("digit_bits_per_sequence", predictions, targets, mask)
    _split_digits("digit_bits_per_sequence", targets)
    return class_bits_per_sequence(predictions, targets, mask, eps)


def wrong_digits_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Count the steps of each sequence with a digit that is not the most probable one, of the steps that count.

    Parameters, shape of the result and errors as in :func:`digit_bits_per_sequence`.
    """
    predictions, targets, mask = _check("wrong_digits_per_sequence", predictions, targets, mask)
    most_probable, digits = (
        _split_digits("wrong_digits_per_sequence", array).argmax(axis=3)
        for array in (predictions, targets)
    )
    right = (most_probable == digits).all(axis=2) & ~np.isnan(predictions).any(axis=2)
    return _sum(~right, mask != 0)


def all_digits_correct(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Return one for each sequence without a wrong digit, zero for the others.

    Parameters, shape of the result and errors as in :func:`digit_bits_per_sequence`.
    """
    return _is_zero(wrong_digits_per_sequence(predictions, targets, mask))


def error_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Return the mean absolute error of each sequence of numbers, over outputs and steps, by the weights of the steps.

    Parameters
    ----------
    predictions, targets : arrays (B, T, O)
        Real numbers.
    mask : array (B, T)

    Returns
    -------
    array (B,)
        Zero for a sequence of which no step counts.

    Raises
    ------
    ValueError
        If the arrays do not have these shapes.
    """
    predictions, targets, mask = _check("error_per_sequence", predictions, targets, mask)
    errors = np.where(np.isnan(predictions), np.inf, np.abs(predictions - targets)).mean(axis=2)
    weights = mask.sum(axis=1)
    return _sum(errors, mask) / np.where(weights != 0, weights, 1.0)


def wrong_numbers_per_sequence(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Count the numbers of each sequence that are wrong once rounded, over the steps that count.

    Parameters, shape of the result and errors as in :func:`error_per_sequence`.
    """
    predictions, targets, mask = _check("wrong_numbers_per_sequence", predictions, targets, mask)
    right = np.rint(predictions) == np.rint(targets)  # NaN equals no number
    return _sum(np.count_nonzero(~right, axis=2), mask != 0)


def all_numbers_correct(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> np.ndarray:
    """Return one for each sequence without a wrong number, zero for the others.

    Parameters, shape of the result and errors as in :func:`error_per_sequence`.
    """
    return _is_zero(wrong_numbers_per_sequence(predictions, targets, mask))


#: For each kind of output that a task may have, the names and functions of its measures
MEASURES: dict[str, dict[str, Callable[..., np.ndarray]]] = {
    "bits": {
        "bits": bits_per_sequence,
        "wrong_bits": wrong_bits_per_sequence,
        "correct": all_bits_correct,
    },
    "classes": {
        "bits": class_bits_per_sequence,
        "wrong": wrong_classes_per_sequence,
        "correct": all_classes_correct,
    },
    "digits": {
        "bits": digit_bits_per_sequence,
        "wrong": wrong_digits_per_sequence,
        "correct": all_digits_correct,
    },
    "numbers": {
        "error": error_per_sequence,
        "correct": all_numbers_correct,
    },
}


def _check(
    measure: str, predictions: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike
) -> list[np.ndarray]:
    """Return the arguments of a measure as float64 arrays; raise a `ValueError` unless their shapes agree."""
    arrays = [np.asarray(array, dtype=np.float64) for array in (predictions, targets, mask)]
    shapes = [array.shape for array in arrays]
    if len(shapes[0]) != 3 or shapes[1] != shapes[0] or shapes[2] != shapes[0][:2]:
        raise ValueError(
            f"{measure}: predictions and targets must be of one shape (B, T, O) and the mask "
            f"of shape (B, T), not {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    return arrays


def _split_digits(measure: str, array: np.ndarray) -> np.ndarray:
    """Return the digits (B, T, O / 10, 10) of an array (B, T, O)."""
    if array.shape[2] % 10:
        raise ValueError(f"{measure}: digits have ten outputs each, not {array.shape[2]} in all")
    return array.reshape(*array.shape[:2], -1, 10)


def _sum(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted sums (B,) of values (B, T), which may be infinite where a weight is zero."""
    return (np.where(weights != 0, values, 0.0) * weights).sum(axis=1)


def _is_zero(values: np.ndarray) -> np.ndarray:
    return (values == 0).astype(np.float64)
