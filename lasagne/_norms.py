"""Euclidean norms of numbers whose squares are too large, or too small, for their data type."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from .typing import Array, Tensor


def get_scale(array: Array | Tensor, axes: Sequence[int] | None = None) -> Any:
    """Return a power of two by which numbers may be multiplied before they are squared and summed.

    Parameters
    ----------
    array : numpy array or PyTensor expression
        The numbers.
    axes : sequence of int, optional
        The axes to be summed over, all if omitted.

    Returns
    -------
    numpy array or PyTensor expression
        1 unless the squares would overflow or vanish, so other norms are what they are without it. Over
        the remaining axes, and 1 long in those of `axes`; a scalar if these are omitted.
    """
    if isinstance(array, np.ndarray):
        largest = np.max(np.abs(array), axis=axes, keepdims=axes is not None)
        return _choose(largest, np.where)
    largest = pt.max(abs(disconnected_grad(array)), axis=axes, keepdims=axes is not None)
    return _choose(largest, pt.switch)


def get_total_norm(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor | int]:
    """Return the norm of all tensors together, times a scale, and that scale.

    The norm itself may be larger than the largest number.
    """
    if not tensors:
        return pt.constant(0.0), 1
    scale = _choose(reduce(pt.maximum, [pt.max(abs(tensor)) for tensor in tensors]), pt.switch)
    return pt.sqrt(sum(pt.sum(pt.sqr(tensor * scale)) for tensor in tensors)), scale


def _choose(largest: Any, where: Callable[..., Any]) -> Any:
    """Return the scale for numbers of which this is the largest."""
    if not str(largest.dtype).startswith("float"):
        return 1
    exponent = np.finfo(largest.dtype).maxexp

    def power(share: float) -> np.ndarray:
        return np.asarray(2.0 ** int(share * exponent), largest.dtype)

    scale = where(largest > power(0.45), power(-0.7), power(0))
    return where((largest < power(-0.4)) & (largest > 0), power(0.7), scale)
