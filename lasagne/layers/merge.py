"""Layers that merge several inputs into one output."""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, cast

import pytensor.tensor as pt

from ..tensors import sizes
from ..typing import Incoming, Scalar, Shape, Tensor
from .base import MergeLayer, check_integer, known_shape

__all__ = [
    "ConcatLayer",
    "ElemwiseMergeLayer",
    "ElemwiseSumLayer",
    "RepeatLayer",
    "autocrop",
    "autocrop_array_shapes",
    "concat",
]

Cropping = Sequence[str | None] | None


def autocrop(inputs: Sequence[Tensor], cropping: Cropping) -> list:
    """Crop tensors to the smallest size among them.

    Parameters
    ----------
    inputs : list of PyTensor expressions
        Tensors of the same number of dimensions.
    cropping : list of str or None, or None
        For each axis one of the following; axes beyond the end of the list are not cropped.

        * ``None``: the axis is not cropped.
        * ``"lower"``: the start of the axis is kept.
        * ``"upper"``: the end of the axis is kept.
        * ``"center"``: the centre of the axis is kept; if an odd number of values goes, one more at
          the end.

        ``None`` in place of the list crops nothing.

    Returns
    -------
    list of PyTensor expressions
        The cropped tensors.

    Raises
    ------
    ValueError
        If there is another string in `cropping`, or if the numbers of dimensions differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pytensor
    >>> from lasagne.layers import autocrop
    >>> a = pytensor.shared(np.zeros((2, 3, 5, 7)))
    >>> b = pytensor.shared(np.zeros((5, 4, 3, 4)))
    >>> cropped = autocrop([a, b], [None, "lower", "center", "upper"])
    >>> [each.eval().shape for each in cropped]
    [(2, 3, 3, 4), (5, 3, 3, 4)]
    """
    inputs = [pt.as_tensor_variable(each) for each in inputs]
    if cropping is None:
        return inputs
    shapes = [sizes(each) for each in inputs]
    modes = _modes_by_axis(shapes, cropping)
    kept: list[list[slice]] = [[] for _ in inputs]
    for mode, axis_sizes in zip(modes, zip(*shapes, strict=True), strict=True):
        smallest = _smallest(axis_sizes)
        for slices, size in zip(kept, axis_sizes, strict=True):
            slices.append(_kept_slice(mode, size, smallest))
    return [each[tuple(slices)] for each, slices in zip(inputs, kept, strict=True)]


def autocrop_array_shapes(input_shapes: Sequence[Shape], cropping: Cropping) -> list[Shape]:
    """Compute the shapes that tensors have after :func:`autocrop`.

    Parameters
    ----------
    input_shapes : list of tuple
        Shapes of the tensors, ``None`` for sizes that are not known.
    cropping : list of str or None, or None
        As for :func:`autocrop`.

    Returns
    -------
    list of tuple
        Shapes of the cropped tensors.

    Raises
    ------
    ValueError
        If there is another string in `cropping`, or if the numbers of dimensions differ.
    """
    input_shapes = [known_shape(shape) for shape in input_shapes]
    if cropping is None:
        return input_shapes
    by_axis = []
    modes = _modes_by_axis(input_shapes, cropping)
    for mode, axis_sizes in zip(modes, zip(*input_shapes, strict=True), strict=True):
        if mode is not None:
            smallest = None if None in axis_sizes else min(axis_sizes)
            axis_sizes = (smallest,) * len(axis_sizes)
        by_axis.append(axis_sizes)
    return list(zip(*by_axis, strict=True))


def _modes_by_axis(shapes: Sequence[Sequence], cropping: Iterable[str | None]) -> list[str | None]:
    """Return the cropping mode of each axis, after checking these and the shapes."""
    ndims = [len(shape) for shape in shapes]
    if len(set(ndims)) > 1:
        raise ValueError(
            f"Not all inputs are of the same dimensionality: got {len(ndims)} inputs of "
            f"dimensionalities {ndims}"
        )
    modes = list(cropping)
    for mode in modes:
        if mode not in (None, "lower", "center", "upper"):
            raise ValueError(
                f"Unknown crop mode {mode!r}, expected 'lower', 'center', 'upper' or None"
            )
    return (modes + [None] * ndims[0])[: ndims[0]]


def _smallest(axis_sizes: Sequence[Any]) -> Any:
    if all(isinstance(size, int) for size in axis_sizes):
        return min(axis_sizes)
    return reduce(pt.minimum, axis_sizes)


def _kept_slice(mode: str | None, size: int | Tensor, kept: int | Tensor) -> slice:
    if mode is None:
        return slice(None)
    start = {"lower": 0, "center": (size - kept) // 2, "upper": size - kept}[mode]
    return slice(start, start + kept)


class ConcatLayer(MergeLayer):
    """A layer that concatenates its inputs along one axis.

    Parameters
    ----------
    incomings : list of Layer and tuple
        The layers feeding into this one, or the shapes of the inputs: the same in all axes but
        `axis`, unless they are cropped.
    axis : int
        The axis along which to concatenate.
    cropping : list of str or None, or None
        How to crop each axis, see :func:`autocrop`. The axis along which to concatenate is not
        cropped. ``None`` (the default) crops nothing.

    Raises
    ------
    ValueError
        If the shapes do not match, or `axis` does not exist.
    """

    def __init__(
        self, incomings: Iterable[Incoming], axis: int = 1, cropping: Cropping = None, **kwargs: Any
    ):
        super().__init__(incomings, **kwargs)
        check_integer(self, axis=axis)
        self.axis = axis
        self.cropping = None if cropping is None else list(cropping)
        _check_input_shapes(self)

    def _cropping_for(self, ndim: int) -> list[str | None] | None:
        """Return the crop mode of each axis, ``None`` for the axis of concatenation."""
        if self.cropping is None:
            return None
        modes = (self.cropping + [None] * ndim)[:ndim]
        modes[self.axis] = None
        return modes

    def get_output_shape_for(self, input_shapes: Sequence[Shape]) -> Shape:
        ndim = len(input_shapes[0])
        if not -ndim <= self.axis < ndim:
            raise ValueError(f"{self!r} cannot concatenate {input_shapes} along axis {self.axis}")
        axis = self.axis % ndim
        shapes = autocrop_array_shapes(input_shapes, self._cropping_for(ndim))
        total = None
        if all(len(shape) == ndim for shape in shapes):
            lengths: list[Any] = [shape[axis] for shape in shapes]
            total = None if None in lengths else sum(lengths)
            shapes = [(*shape[:axis], total, *shape[axis + 1 :]) for shape in shapes]
        return _common_shape(
            self, shapes, input_shapes, "the same except in the concatenation axis"
        )

    def get_output_for(self, inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
        inputs = [pt.as_tensor_variable(each) for each in inputs]
        inputs = autocrop(inputs, self._cropping_for(inputs[0].type.ndim))
        return pt.concatenate(inputs, axis=self.axis)


concat = ConcatLayer  # shortcut


class ElemwiseMergeLayer(MergeLayer):
    """A layer that merges its inputs by an elementwise function.

    Parameters
    ----------
    incomings : list of Layer and tuple
        The layers feeding into this one, or the shapes of the inputs: all the same, unless they
        are cropped.
    merge_function : callable
        The function of two tensors, such as ``pytensor.tensor.mul``. For more than two inputs, it
        is applied to the result for the first ones and the next.
    cropping : list of str or None, or None
        How to crop each axis, see :func:`autocrop`. ``None`` (the default) crops nothing.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """

    def __init__(
        self,
        incomings: Iterable[Incoming],
        merge_function: Callable[[Tensor, Tensor], Tensor],
        cropping: Cropping = None,
        **kwargs: Any,
    ):
        super().__init__(incomings, **kwargs)
        self.merge_function = merge_function
        self.cropping = cropping
        _check_input_shapes(self)

    def get_output_shape_for(self, input_shapes: Sequence[Shape]) -> Shape:
        shapes = autocrop_array_shapes(input_shapes, self.cropping)
        return _common_shape(self, shapes, input_shapes, "the same")

    def get_output_for(self, inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
        return reduce(self.merge_function, autocrop(inputs, self.cropping))


class ElemwiseSumLayer(ElemwiseMergeLayer):
    r"""A layer that computes a weighted sum of its inputs, :math:`\sum_i c_i x_i`.

    Parameters
    ----------
    incomings : list of Layer and tuple
        The layers feeding into this one, or the shapes of the inputs: all the same, unless they
        are cropped.
    coeffs : number or list of numbers
        The coefficients :math:`c_i`; a single one holds for all inputs.
    cropping : list of str or None, or None
        How to crop each axis, see :func:`autocrop`. ``None`` (the default) crops nothing.

    Raises
    ------
    ValueError
        If the number of coefficients is not that of the inputs, or if the shapes do not match.
    """

    def __init__(
        self,
        incomings: Iterable[Incoming],
        coeffs: Scalar | Sequence[Scalar] = 1,
        cropping: Cropping = None,
        **kwargs: Any,
    ):
        super().__init__(incomings, pt.add, cropping=cropping, **kwargs)
        if not isinstance(coeffs, list | tuple):
            coeffs = [coeffs] * len(self.input_shapes)  # type: ignore[list-item]
        if len(coeffs) != len(self.input_shapes):
            raise ValueError(
                f"{self!r} got {len(coeffs)} coeffs for {len(self.input_shapes)} incomings"
            )
        self.coeffs = list(coeffs)

    def get_output_for(self, inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
        weighted = [each * coeff for coeff, each in zip(self.coeffs, inputs, strict=True)]
        return super().get_output_for(weighted, **kwargs)


class RepeatLayer(MergeLayer):
    """A layer that repeats its first input along the time axis of its second input.

    The output has the first input's values at each step: an input without time, such as the label
    of a sequence, beside an input with time.

    Parameters
    ----------
    incomings : list of Layer and tuple
        Two layers, or the shapes of two inputs: ``(batch, ...)`` to repeat, and
        ``(batch, time, ...)``, of which the layer takes the number of steps only.

    Raises
    ------
    ValueError
        If there are not two inputs, an input has too few axes, or the batch sizes differ.

    Examples
    --------
    >>> from lasagne.layers import InputLayer, RepeatLayer
    >>> RepeatLayer([InputLayer((10, 3)), InputLayer((10, 50, 7))]).output_shape
    (10, 50, 3)
    """

    def __init__(self, incomings: Iterable[Incoming], **kwargs: Any):
        super().__init__(incomings, **kwargs)
        if len(self.input_shapes) != 2:
            raise ValueError(f"{self!r} needs two inputs, got {len(self.input_shapes)}")
        _check_input_shapes(self)

    def get_output_shape_for(self, input_shapes: Sequence[Shape]) -> Shape:
        repeated, timed = map(known_shape, input_shapes)
        if not repeated or len(timed) < 2 or len({repeated[0], timed[0]} - {None}) > 1:
            raise ValueError(
                f"Mismatch: input shapes of {self!r} must be (batch, ...) and (batch, time, ...), got "
                f"{list(input_shapes)}"
            )
        return (repeated[0], timed[1], *repeated[1:])

    def get_output_for(self, inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
        repeated, timed = map(pt.as_tensor_variable, inputs)
        shape = sizes(repeated)
        each_step = repeated.dimshuffle(0, "x", *range(1, repeated.type.ndim))
        return cast(Tensor, pt.alloc(each_step, shape[0], sizes(timed)[1], *shape[1:]))


def _check_input_shapes(layer: MergeLayer) -> None:
    """Raise a `ValueError` if the input shapes of a layer, where they are known, do not match."""
    if all(isinstance(shape, tuple) for shape in layer.input_shapes):
        layer.get_output_shape_for(layer.input_shapes)


def _common_shape(
    layer: MergeLayer, shapes: Sequence[Shape], input_shapes: Sequence[Shape], expected: str
) -> Shape:
    """Return the one shape that all are, up to unknown sizes, or raise a `ValueError`."""
    if len({len(shape) for shape in shapes}) == 1:
        known = [{size for size in each if size is not None} for each in zip(*shapes, strict=True)]
        if all(len(each) <= 1 for each in known):
            return tuple(each.pop() if each else None for each in known)
    raise ValueError(
        f"Mismatch: input shapes of {layer!r} must be {expected}, got {list(input_shapes)}"
    )
