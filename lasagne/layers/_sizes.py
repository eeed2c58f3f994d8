"""Static sizes of tensors: a graph of known sizes compiles on back ends that trace, such as JAX."""

from collections.abc import Sequence
from math import prod
from typing import Any

import pytensor.tensor as pt


def with_known_sizes(input: Any, shape: Sequence[int | None]) -> Any:
    """Tell the graph the sizes that a layer knows of its input.

    Parameters
    ----------
    input : PyTensor expression
        The input of the layer.
    shape : tuple of int or None
        Shape that the layer was made for. Its first dimension, the batch, is not used.

    Returns
    -------
    PyTensor expression
        `input`, of which the sizes in `shape` are static and are verified when it is computed; or
        `input` itself if that adds nothing, or if the number of dimensions is another.
    """
    if len(shape) != input.type.ndim:
        return input
    added = [
        known if static is None and axis > 0 else None
        for axis, (static, known) in enumerate(zip(input.type.shape, shape, strict=True))
    ]
    return input if added.count(None) == len(added) else pt.specify_shape(input, added)


def join_last_axes(input: Any, ndim: int) -> Any:
    """Reshape a tensor to `ndim` dimensions by joining its last axes.

    Parameters
    ----------
    input : PyTensor expression
        A tensor of at least `ndim` dimensions.
    ndim : int
        Number of dimensions of the result, at least one.

    Returns
    -------
    PyTensor expression
        The reshaped tensor. The shape in the graph is a constant wherever possible: one unknown
        size can be left to the reshaping.
    """
    if input.type.ndim == ndim:
        return input
    leading, trailing = input.type.shape[: ndim - 1], input.type.shape[ndim - 1 :]
    if None in trailing:
        return pt.reshape(input, (*sizes(input)[: ndim - 1], -1))
    if leading.count(None) == 1:
        leading = [-1 if size is None else size for size in leading]
    else:
        leading = sizes(input)[: ndim - 1]
    return pt.reshape(input, (*leading, prod(trailing)))


def sizes(input: Any) -> list:
    """Return the sizes of a tensor: integers where they are static, symbolic elsewhere."""
    return [
        input.shape[axis] if size is None else size for axis, size in enumerate(input.type.shape)
    ]
