"""Axes, static sizes, dtypes and updates of tensors.

A graph whose sizes are known compiles on back ends that trace, such as JAX.
"""

import warnings
from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from .typing import Tensor, TensorLike

if TYPE_CHECKING:
    from lasagne.layers.base import Layer

__all__ = [
    "as_axes",
    "as_shared_axes",
    "join_last_axes",
    "like",
    "shape_beyond",
    "sizes",
    "sizes_to_reshape",
    "update_by_default",
    "with_known_sizes",
]


def with_known_sizes(input: Tensor, shape: Sequence[int | None]) -> Tensor:
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
    added: list[Any] = [
        known if static is None and axis > 0 else None
        for axis, (static, known) in enumerate(zip(input.type.shape, shape, strict=True))
    ]
    return input if added.count(None) == len(added) else pt.specify_shape(input, added)


def join_last_axes(input: Tensor, ndim: int) -> Tensor:
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
    if None in input.type.shape[ndim - 1 :]:
        leading = sizes(input)[: ndim - 1]
    else:
        leading = sizes_to_reshape(input, ndim - 1)
    return pt.reshape(input, (*leading, prod(sizes(input)[ndim - 1 :])))


def sizes_to_reshape(input: Tensor, ndim: int) -> list:
    """Return the sizes of the first `ndim` axes for a shape whose other sizes are known.

    The only size that is not static, if there is just one, is left to the reshaping: -1.
    """
    static = input.type.shape[:ndim]
    if static.count(None) == 1:
        return [-1 if size is None else size for size in static]
    return sizes(input)[:ndim]


def sizes(input: Tensor) -> list:
    """Return the sizes of a tensor: integers where they are static, symbolic elsewhere."""
    return [
        input.shape[axis] if size is None else size for axis, size in enumerate(input.type.shape)
    ]


def like(value: TensorLike, input: Tensor) -> Tensor:
    """Return a value in the dtype of a tensor if that is a floating-point dtype."""
    value = pt.as_tensor_variable(value)
    return pt.cast(value, input.dtype) if np.issubdtype(input.dtype, np.floating) else value


def update_by_default(variable: SharedVariable, value: Variable) -> None:
    """Have every function that uses a shared variable update it to a value.

    PyTensor discourages default updates in favour of explicit ones, but whoever calls
    :func:`get_output` gets no list of updates; Lasagne's layers rely on the default.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        variable.default_update = value


def as_axes(layer: "Layer", axes: int | Iterable[int]) -> tuple[int, ...]:
    """Return axes of the input of a layer as a tuple of non-negative integers.

    Parameters
    ----------
    layer : Layer
        The layer.
    axes : int or iterable of int
        One or several axes; negative ones count from the last.

    Returns
    -------
    tuple of int
        The axes in ascending order, each once.

    Raises
    ------
    ValueError
        If the input does not have such an axis.
    """
    ndim = len(layer.input_shape)
    axes = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    if any(not -ndim <= axis < ndim for axis in axes):
        raise ValueError(f"{layer!r} got axes {axes} for an input of shape {layer.input_shape}")
    return tuple(sorted({axis % ndim for axis in axes}))


def as_shared_axes(layer: "Layer", axes: str | int | Iterable[int]) -> tuple[int, ...]:
    """Return the axes over which a parameter is shared, as :func:`as_axes`.

    ``"auto"`` stands for all axes but the second, the units or channels; ``"all"`` for all axes.
    """
    ndim = len(layer.input_shape)
    if isinstance(axes, str):
        if axes == "auto":
            axes = [axis for axis in range(ndim) if axis != 1]
        elif axes == "all":
            axes = range(ndim)
        else:
            raise ValueError(f"{layer!r} got axes {axes!r}, expected 'auto', 'all' or integers")
    return as_axes(layer, axes)


def shape_beyond(layer: "Layer", axes: Sequence[int], purpose: str) -> tuple[Any, ...]:
    """Return the shape of a parameter that has the axes of the input other than `axes`.

    Raises
    ------
    ValueError
        If the size of one of them is ``None``. `purpose` says in the message which they are.
    """
    shape = tuple(size for axis, size in enumerate(layer.input_shape) if axis not in axes)
    if None in shape:
        raise ValueError(
            f"{type(layer).__name__} needs specified input sizes for all axes {purpose}, got an "
            f"input of shape {layer.input_shape}."
        )
    return shape
