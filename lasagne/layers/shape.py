"""Layers that change the shape of their input, or select a part of it."""

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.scalar import upcast

from ..tensors import join_last_axes, like, sizes
from ..typing import Incoming, Shape, Tensor
from .base import Layer, check_positive, known_shape

__all__ = [
    "DimshuffleLayer",
    "FlattenLayer",
    "PadLayer",
    "ReshapeLayer",
    "SliceLayer",
    "dimshuffle",
    "flatten",
    "pad",
    "reshape",
]


class FlattenLayer(Layer):
    """A layer that joins the last axes of its input into one.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    outdim : int
        Number of dimensions of the output. The first ``outdim - 1`` axes are kept.

    Raises
    ------
    ValueError
        If `outdim` is not positive; from :meth:`get_output_shape_for`, if it is larger than the
        number of dimensions of the input.

    Examples
    --------
    >>> from lasagne.layers import FlattenLayer
    >>> FlattenLayer((None, 3, 4, 5)).output_shape
    (None, 60)
    """

    def __init__(self, incoming: Incoming, outdim: int = 2, **kwargs: Any):
        super().__init__(incoming, **kwargs)
        self.outdim = outdim
        check_positive(self, outdim=outdim)

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        input_shape = known_shape(input_shape)
        if self.outdim > len(input_shape):
            raise ValueError(
                f"{self!r} cannot flatten an input of shape {input_shape} to {self.outdim} "
                "dimensions"
            )
        joined: Any = input_shape[self.outdim - 1 :]
        return (*input_shape[: self.outdim - 1], None if None in joined else prod(joined))

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        return join_last_axes(pt.as_tensor_variable(input), self.outdim)


flatten = FlattenLayer  # shortcut


class ReshapeLayer(Layer):
    """A layer that reshapes its input.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    shape : tuple
        The shape of the output. Each of its items is one of

        * a positive integer: the size of the axis,
        * ``[i]``: the size that axis `i` of the input has,
        * ``-1``, at most once: whatever size remains,
        * a scalar PyTensor expression: the size of the axis, not known beforehand.

    Raises
    ------
    ValueError
        If an item of `shape` is something else, or if the sizes, as far as known, do not match.

    Examples
    --------
    >>> from lasagne.layers import InputLayer, ReshapeLayer
    >>> l_in = InputLayer((32, 100, 20))
    >>> ReshapeLayer(l_in, ((32, 50, 40))).output_shape
    (32, 50, 40)
    >>> ReshapeLayer(l_in, ([0], [1], 5, -1)).output_shape
    (32, 100, 5, 4)
    """

    def __init__(self, incoming: Incoming, shape: Iterable[Any], **kwargs: Any):
        super().__init__(incoming, **kwargs)
        self.shape = tuple(shape)
        for item in self.shape:
            self._check_item(item)
        if sum(_is_int(item) and item == -1 for item in self.shape) > 1:
            raise ValueError(f"{self!r}: shape {self.shape} is invalid, it contains several -1")
        self.get_output_shape_for(self.input_shape)

    def _check_item(self, item: Any) -> None:
        if _is_int(item):
            valid, expected = item > 0 or item == -1, "integers must be positive or -1"
        elif isinstance(item, list):
            valid = len(item) == 1 and _is_int(item[0]) and item[0] >= 0
            expected = "references to the input must be lists of one integer >= 0"
        elif isinstance(item, Variable):
            valid = isinstance(item.type, pt.TensorType) and item.type.ndim == 0
            expected = "symbolic sizes must be scalars"
        else:
            valid, expected = False, "expected int, [int] or a symbolic scalar"
        if not valid:
            raise ValueError(f"{self!r}: {item!r} in shape {self.shape} is invalid, as {expected}")

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        input_shape = known_shape(input_shape)
        ndim = len(input_shape)
        output_shape: list[Any] = []
        # Sizes that are to have the same product. An unknown size that is copied leaves both sides.
        before: list[Any] = list(input_shape)
        after: list[Any] = []
        for item in self.shape:
            size = None if isinstance(item, Variable) else item
            if isinstance(item, list):
                (axis,) = item
                if axis >= ndim:
                    raise ValueError(
                        f"{self!r}: [{axis}] in shape {self.shape} is out of range for an input of "
                        f"{ndim} dimensions, {input_shape}"
                    )
                size = input_shape[axis]
                if size is None and before[axis] is None:
                    before[axis] = 1
                    after.append(1)
                else:
                    after.append(size)
            else:
                after.append(size)
            output_shape.append(size)

        total = None if None in before else prod(before)
        if -1 in after:
            others = [size for size in after if size != -1]
            inferred = None
            if total is not None and None not in others:
                inferred = total // prod(others)
            output_shape[output_shape.index(-1)] = after[after.index(-1)] = inferred
        if None not in after and total not in (None, prod(after)):
            raise ValueError(
                f"{self!r}: an input of shape {input_shape} cannot be reshaped to {self.shape}. "
                "The total sizes do not match."
            )
        return tuple(output_shape)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        static = input.type.shape
        target: list[Any] = list(self.get_output_shape_for(static))
        unknown = [axis for axis, size in enumerate(target) if size is None]
        for axis in unknown:
            item = self.shape[axis]
            target[axis] = input.shape[item[0]] if isinstance(item, list) else item
        # The size of the one axis that is not static needs not be in the graph, if it is sure that
        # all other sizes match.
        if (
            len(unknown) == 1
            and static.count(None) == 1
            and isinstance(self.shape[unknown[0]], list)
        ):
            target[unknown[0]] = -1
        # In an empty tensor any size would do for -1
        elif -1 in target and len(unknown) > 1:
            target[target.index(-1)] = self._find_remaining_size(input)
        return pt.reshape(input, target)

    def _find_remaining_size(self, input: Tensor) -> Tensor | int:
        """Return the size that -1 stands for: of what is not copied, or -1 if that is not sure."""
        copied = [item[0] for item in self.shape if isinstance(item, list)]
        others = [item for item in self.shape if not isinstance(item, list) and item != -1]
        if len(set(copied)) < len(copied) or any(isinstance(item, Variable) for item in others):
            return -1
        rest = [size for axis, size in enumerate(sizes(input)) if axis not in copied]
        return prod(rest) // prod(others)


reshape = ReshapeLayer  # shortcut


class DimshuffleLayer(Layer):
    """A layer that rearranges the axes of its input, and adds or removes axes of size 1.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    pattern : tuple
        For each axis of the output the axis of the input, or ``"x"`` for a new axis of size 1. An
        axis of the input that does not occur is removed; its size must be 1.

    Raises
    ------
    ValueError
        If there is anything else in `pattern`, if an axis of the input occurs twice or does not
        exist, or if the size of an axis to be removed is known and not 1.

    Examples
    --------
    >>> from lasagne.layers import DimshuffleLayer, InputLayer
    >>> l_in = InputLayer((2, 3, 1))
    >>> DimshuffleLayer(l_in, (1, "x", 0)).output_shape
    (3, 1, 2)
    """

    def __init__(self, incoming: Incoming, pattern: Iterable[Any], **kwargs: Any):
        super().__init__(incoming, **kwargs)
        self.pattern = tuple(pattern)
        used = [item for item in self.pattern if _is_int(item)]
        if any(item != "x" for item in self.pattern if not _is_int(item)):
            raise ValueError(f"{self!r}: pattern {self.pattern} must be of integers and 'x'")
        if len(set(used)) != len(used):
            raise ValueError(f"{self!r}: pattern {self.pattern} contains an axis twice")
        self.get_output_shape_for(self.input_shape)

    def _removed_axes(self, ndim: int) -> list[int]:
        return [axis for axis in range(ndim) if axis not in self.pattern]

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        input_shape = known_shape(input_shape)
        ndim = len(input_shape)
        if any(_is_int(item) and not 0 <= item < ndim for item in self.pattern):
            raise ValueError(
                f"{self!r}: pattern {self.pattern} contains an axis that an input of shape "
                f"{input_shape} does not have"
            )
        if any(input_shape[axis] not in (None, 1) for axis in self._removed_axes(ndim)):
            raise ValueError(
                f"{self!r}: pattern {self.pattern} removes an axis of size other than 1 from an "
                f"input of shape {input_shape}"
            )
        return tuple(1 if item == "x" else input_shape[item] for item in self.pattern)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        input = pt.specify_broadcastable(input, *self._removed_axes(input.type.ndim))
        return input.dimshuffle(self.pattern)


dimshuffle = DimshuffleLayer  # shortcut


class PadLayer(Layer):
    """A layer that pads its input with a constant.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    width : int or sequence of int or of pairs of int
        How many values to add at the start and the end of each axis: one number for all axes, a
        number for each axis, or a pair ``(start, end)`` for each axis.
    val : float
        The value to add.
    batch_ndim : int
        Number of leading axes that are not padded, and for which there is no item in `width`.

    Raises
    ------
    ValueError
        If a width is negative or not an integer or a pair of these; from
        :meth:`get_output_shape_for`, if there is not one for each axis beyond `batch_ndim`.

    Examples
    --------
    >>> from lasagne.layers import PadLayer
    >>> PadLayer((None, 3, 10, 10), width=(1, (2, 3))).output_shape
    (None, 3, 12, 15)
    """

    def __init__(
        self, incoming: Incoming, width: Any, val: Any = 0, batch_ndim: int = 2, **kwargs: Any
    ):
        super().__init__(incoming, **kwargs)
        self.width = width
        self.val = val
        self.batch_ndim = batch_ndim
        for item in width if isinstance(width, Iterable) else [width]:
            pair = item if isinstance(item, tuple | list) else (item, item)
            if len(pair) != 2 or not all(_is_int(each) and each >= 0 for each in pair):
                raise ValueError(
                    f"{self!r}: width {width!r} must be of integers >= 0 or of pairs of these"
                )

    def _widths(self, ndim: int) -> list[tuple[int, int]]:
        """Return the padding at the start and the end of each of `ndim` axes."""
        padded = max(ndim - self.batch_ndim, 0)
        items = [self.width] * padded if _is_int(self.width) else list(self.width)
        if len(items) != padded:
            raise ValueError(
                f"{self!r}: width {self.width!r} must have an item for each of the {padded} axes "
                f"beyond the first {self.batch_ndim}"
            )
        pairs = [(item, item) if _is_int(item) else tuple(item) for item in items]
        return [(0, 0)] * (ndim - padded) + pairs

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        return tuple(
            None if size is None else start + size + end
            for size, (start, end) in zip(
                known_shape(input_shape), self._widths(len(input_shape)), strict=True
            )
        )

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        widths = self._widths(input.type.ndim)
        shape = [start + n + end for n, (start, end) in zip(sizes(input), widths, strict=True)]
        fill = like(self.val, input)
        padded: Any = pt.full(shape, fill, dtype=upcast(fill.dtype, input.dtype))
        inside = tuple(slice(start, -end or None) for start, end in widths)
        return pt.set_subtensor(padded[inside], input)


pad = PadLayer  # shortcut


class SliceLayer(Layer):
    """A layer that takes an item or a range of one axis of its input.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    indices : int or slice
        An integer takes one item, and removes the axis; a slice takes a range.
    axis : int
        The axis; negative axes count from the last.

    Raises
    ------
    TypeError
        If `indices` is neither an integer nor a slice.
    ValueError
        If the input does not have this axis or, where its size is known, this item; or if nothing
        is in the range.

    Examples
    --------
    >>> from lasagne.layers import SliceLayer
    >>> SliceLayer((2, 3, 4), indices=0, axis=1).output_shape
    (2, 4)
    >>> SliceLayer((2, 3, 4), indices=slice(1, 3)).output_shape
    (2, 3, 2)
    """

    def __init__(self, incoming: Incoming, indices: int | slice, axis: int = -1, **kwargs: Any):
        super().__init__(incoming, **kwargs)
        if not (_is_int(indices) or isinstance(indices, slice)):
            raise TypeError(f"{self!r}: indices must be an int or a slice, got {indices!r}")
        self.slice = indices
        self.axis = axis
        self.get_output_shape_for(self.input_shape)

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        input_shape = known_shape(input_shape)
        ndim = len(input_shape)
        if not -ndim <= self.axis < ndim:
            raise ValueError(f"{self!r}: an input of shape {input_shape} has no axis {self.axis}")
        axis = self.axis % ndim
        size = input_shape[axis]
        sizes_left: list[int | None] = []
        if isinstance(self.slice, slice):
            sizes_left = [None if size is None else len(range(*self.slice.indices(size)))]
        elif size is not None and not -size <= self.slice < size:
            raise ValueError(
                f"{self!r}: an input of shape {input_shape} has no item {self.slice} in axis {axis}"
            )
        if sizes_left == [0]:
            raise ValueError(
                f"{self!r}: {self.slice} of axis {axis} of an input of shape {input_shape} is empty"
            )
        return (*input_shape[:axis], *sizes_left, *input_shape[axis + 1 :])

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        axis = self.axis % input.type.ndim
        return input[(slice(None),) * axis + (self.slice,)]


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
