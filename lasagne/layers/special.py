"""Layers of elementwise functions, with and without parameters, and of arbitrary expressions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from .. import init, nonlinearities, utils
from ..tensors import as_shared_axes, like, shape_beyond, sizes
from ..typing import (
    Incoming,
    Nonlinearity,
    ParameterSpec,
    Scalar,
    Shape,
    SharedAxes,
    Tensor,
    TensorLike,
)
from ._random import RandomStream
from .base import Layer, MergeLayer, known_shape

__all__ = [
    "BiasLayer",
    "ExpressionLayer",
    "InverseLayer",
    "NonlinearityLayer",
    "ParametricRectifierLayer",
    "RandomizedRectifierLayer",
    "ScaleLayer",
    "prelu",
    "rrelu",
    "standardize",
]


class NonlinearityLayer(Layer):
    """A layer that applies a nonlinearity.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    nonlinearity : callable or None
        The function; ``None`` for the identity.
    """

    def __init__(
        self,
        incoming: Incoming,
        nonlinearity: Nonlinearity | None = nonlinearities.rectify,
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.nonlinearity = nonlinearities.as_nonlinearity(self, nonlinearity)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        return self.nonlinearity(input)


class BiasLayer(Layer):
    """A layer that adds a bias, :math:`x + b`.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    b : PyTensor variable, numpy array, callable or None
        Biases, of the shape of the input without the shared axes; ``None`` for none, so that the
        layer passes its input through.
    shared_axes : "auto", "all", int or tuple of int
        The axes over which a bias is shared; ``"auto"`` stands for all axes but the second.

    Raises
    ------
    ValueError
        If the size of an axis that is not shared is ``None``, or `shared_axes` does not exist.
    """

    def __init__(
        self,
        incoming: Incoming,
        b: ParameterSpec | None = init.Constant(0),
        shared_axes: SharedAxes = "auto",
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.shared_axes = as_shared_axes(self, shared_axes)
        self.b = None
        if b is not None:
            shape = shape_beyond(self, self.shared_axes, "that biases are not shared over")
            self.b = self.add_param(b, shape, name="b", regularizable=False)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        return input if self.b is None else input + pt.expand_dims(self.b, self.shared_axes)


class ScaleLayer(Layer):
    """A layer that multiplies with a scale, :math:`x s`.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    scales : PyTensor variable, numpy array or callable
        Scales, of the shape of the input without the shared axes.
    shared_axes : "auto", "all", int or tuple of int
        The axes over which a scale is shared; ``"auto"`` stands for all axes but the second.

    Raises
    ------
    ValueError
        If the size of an axis that is not shared is ``None``, or `shared_axes` does not exist.
    """

    def __init__(
        self,
        incoming: Incoming,
        scales: ParameterSpec = init.Constant(1),
        shared_axes: SharedAxes = "auto",
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.shared_axes = as_shared_axes(self, shared_axes)
        shape = shape_beyond(self, self.shared_axes, "that scales are not shared over")
        self.scales = self.add_param(scales, shape, name="scales", regularizable=False)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        return input * pt.expand_dims(self.scales, self.shared_axes)


def standardize(
    layer: Layer, offset: TensorLike, scale: TensorLike, shared_axes: SharedAxes = "auto"
) -> ScaleLayer:
    r"""Standardize the output of a layer by fixed numbers, :math:`(x - offset) / scale`.

    Parameters
    ----------
    layer : Layer or tuple
        The layer, or its output shape.
    offset : PyTensor variable or numpy array
        What to subtract, of the shape of the output without the shared axes.
    scale : PyTensor variable or numpy array
        What to divide by, of the same shape.
    shared_axes : "auto", "all", int or tuple of int
        The axes over which `offset` and `scale` are shared; ``"auto"`` stands for all axes but the
        second.

    Returns
    -------
    ScaleLayer
        A layer on top of a :class:`BiasLayer`. Their parameters are not trainable.

    Raises
    ------
    ValueError
        If there is a zero in `scale`, or if a shape does not match.

    Examples
    --------
    Map the columns of a training set to zero mean and unit variance:

    >>> l_in = InputLayer((None, 20))  # doctest: +SKIP
    >>> l_std = standardize(l_in, X.mean(axis=0), X.std(axis=0), shared_axes=0)  # doctest: +SKIP
    """
    if not isinstance(offset, Variable):
        offset = utils.floatX(offset)
    if not isinstance(scale, Variable):
        scale = utils.floatX(scale)
        if not np.all(scale):
            raise ValueError(f"standardize() cannot divide by a zero in scale={scale}")
    shifted = BiasLayer(layer, -offset, shared_axes)  # type: ignore[operator]
    scaled = ScaleLayer(shifted, 1 / scale, shared_axes)  # type: ignore[operator]
    for each in (shifted, scaled):
        for tags in each.params.values():
            tags.remove("trainable")
    return scaled


class ExpressionLayer(Layer):
    """A layer that applies a function of PyTensor expressions.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    function : callable
        Takes and returns an expression.
    output_shape : None, callable, tuple or "auto"
        The shape of the output: that of the input (``None``), a function of the shape of the input,
        the shape itself, or what PyTensor infers (``"auto"``). A size that it does not infer is
        taken from an input whose unknown sizes are zero, and is unknown if it is zero then.

    Raises
    ------
    ValueError
        If `output_shape` is another string.

    Examples
    --------
    >>> from lasagne.layers import ExpressionLayer, InputLayer
    >>> l_in = InputLayer((32, 100, 20))
    >>> ExpressionLayer(l_in, lambda X: X.mean(-1), output_shape="auto").output_shape
    (32, 100)
    """

    def __init__(
        self,
        incoming: Incoming,
        function: Callable[[Tensor], Tensor],
        output_shape: Shape | Callable[[Shape], Shape] | None = None,
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        if isinstance(output_shape, str) and output_shape != "auto":
            raise ValueError(
                f"{self!r}: output_shape must be None, 'auto', a tuple or a function, got "
                f"{output_shape!r}"
            )
        self.function = function
        self._output_shape = output_shape

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        input_shape = known_shape(input_shape)
        if self._output_shape is None:
            return input_shape
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        if self._output_shape != "auto":
            return tuple(self._output_shape)
        return self._infer_shape(input_shape)

    def _infer_shape(self, input_shape: Shape) -> Shape:
        input = pt.tensor(dtype=pytensor.config.floatX, shape=input_shape)
        output = pt.as_tensor_variable(self.function(input))
        static = output.type.shape
        if None not in static:
            return static
        zeros = np.zeros([size or 0 for size in input_shape], dtype=input.dtype)
        inferred = output.shape.eval({input: zeros}, mode="FAST_COMPILE", on_unused_input="ignore")
        return tuple(
            (int(size) or None) if known is None else known
            for known, size in zip(static, inferred, strict=True)
        )

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        return self.function(input)


class InverseLayer(MergeLayer):
    r"""A layer that applies the transposed Jacobian of another layer.

    For the input `x` it computes :math:`(\partial f(z) / \partial z)^T x`, where `f` is the other
    layer and `z` its input. For a linear layer, that is the product with the transposed weights;
    for a selecting layer, such as :class:`SliceLayer`, the values go back to where they came from.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input, which is the shape of the output
        of `layer`.
    layer : Layer
        The layer to invert, which has one input layer.

    Raises
    ------
    ValueError
        If `layer` has no input layer, or if its output shape is not the shape of the input.

    References
    ----------
    Zeiler and Fergus (2014): Visualizing and understanding convolutional networks. ECCV.

    Examples
    --------
    >>> from lasagne.layers import DenseLayer, InputLayer, InverseLayer
    >>> l_in = InputLayer((100, 20))
    >>> l1 = DenseLayer(l_in, num_units=50)
    >>> InverseLayer(l1, l1).output_shape
    (100, 20)
    """

    def __init__(self, incoming: Incoming, layer: Layer, **kwargs: Any):
        if getattr(layer, "input_layer", None) is None:
            raise ValueError(f"InverseLayer needs a layer with one input layer, got {layer!r}")
        incomings: list = [incoming, layer, layer.input_layer]
        super().__init__(incomings, **kwargs)
        given, expected = self.input_shapes[:2]
        if len(given) != len(expected) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(given, expected, strict=True)
        ):
            raise ValueError(
                f"{self!r} got an input of shape {given}, but the output shape of {layer!r} is "
                f"{expected}"
            )

    def get_output_shape_for(self, input_shapes: Sequence[Shape]) -> Shape:
        return known_shape(input_shapes[2])

    def get_output_for(self, inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
        input, layer_output, layer_input = inputs
        known = {layer_output: input}
        return pytensor.grad(None, wrt=layer_input, known_grads=known)  # type: ignore[arg-type, return-value]


class ParametricRectifierLayer(Layer):
    r"""A layer that applies a rectifier with learnt slopes, :math:`\max(0, x) + \alpha \min(0, x)`.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    alpha : PyTensor variable, numpy array or callable
        Slopes for negative values, of the shape of the input without the shared axes.
    shared_axes : "auto", "all", int or tuple of int
        The axes over which a slope is shared; ``"auto"`` stands for all axes but the second,
        ``"all"`` gives a single slope.

    Raises
    ------
    ValueError
        If the size of an axis that is not shared is ``None``, or `shared_axes` does not exist.

    References
    ----------
    He, Zhang, Ren and Sun (2015): Delving deep into rectifiers: surpassing human-level performance
    on ImageNet classification. arXiv:1502.01852.
    """

    def __init__(
        self,
        incoming: Incoming,
        alpha: ParameterSpec = init.Constant(0.25),
        shared_axes: SharedAxes = "auto",
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.shared_axes = as_shared_axes(self, shared_axes)
        shape = shape_beyond(self, self.shared_axes, "that alpha is not shared over")
        self.alpha = self.add_param(alpha, shape, name="alpha", regularizable=False)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        return _rectify(input, pt.expand_dims(self.alpha, self.shared_axes))


def prelu(layer: Layer, **kwargs: Any) -> ParametricRectifierLayer:
    """Replace the nonlinearity of a layer by a :class:`ParametricRectifierLayer`.

    Parameters
    ----------
    layer : Layer
        The layer. Its nonlinearity, if it has one, becomes the identity.
    **kwargs
        Passed to :class:`ParametricRectifierLayer`.

    Returns
    -------
    ParametricRectifierLayer
        The layer on top of `layer`.
    """
    take_nonlinearity(layer)
    return ParametricRectifierLayer(layer, **kwargs)


class RandomizedRectifierLayer(Layer):
    r"""A layer that applies a leaky rectifier with random slopes for negative values.

    A slope is drawn from the uniform distribution between `lower` and `upper` for each value, or
    for all values along the shared axes, whenever the output is computed. With
    ``get_output(..., deterministic=True)`` it is the mean of both.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    lower : float or scalar PyTensor expression
        The lower bound of the slopes.
    upper : float or scalar PyTensor expression
        The upper bound of the slopes.
    shared_axes : "auto", "all", int or tuple of int
        The axes over which a slope is shared; ``"auto"`` stands for all axes but the second,
        ``"all"`` draws a single slope.

    Raises
    ------
    ValueError
        If `lower` is larger than `upper`, or `shared_axes` does not exist.

    References
    ----------
    Xu, Wang, Chen and Li (2015): Empirical evaluation of rectified activations in convolutional
    network. arXiv:1505.00853.
    """

    def __init__(
        self,
        incoming: Incoming,
        lower: Scalar = 0.3,
        upper: Scalar = 0.8,
        shared_axes: SharedAxes = "auto",
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self._fixed = not (isinstance(lower, Variable) or isinstance(upper, Variable))
        if self._fixed and lower > upper:
            raise ValueError(
                f"{self!r}: the upper bound of the slopes must not be below the lower bound, got "
                f"lower={lower} and upper={upper}"
            )
        self.lower = lower
        self.upper = upper
        self.shared_axes = as_shared_axes(self, shared_axes)
        self._srng = RandomStream()

    def get_output_for(self, input: Tensor, deterministic: bool = False, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        if deterministic or (self._fixed and self.upper == self.lower):
            return _rectify(input, (self.upper + self.lower) / 2.0)
        shape = [1 if axis in self.shared_axes else n for axis, n in enumerate(sizes(input))]
        return _rectify(input, self._srng.uniform(shape, low=self.lower, high=self.upper))


def rrelu(layer: Layer, **kwargs: Any) -> RandomizedRectifierLayer:
    """Replace the nonlinearity of a layer by a :class:`RandomizedRectifierLayer`.

    Parameters
    ----------
    layer : Layer
        The layer. Its nonlinearity, if it has one, becomes the identity.
    **kwargs
        Passed to :class:`RandomizedRectifierLayer`.

    Returns
    -------
    RandomizedRectifierLayer
        The layer on top of `layer`.
    """
    take_nonlinearity(layer)
    return RandomizedRectifierLayer(layer, **kwargs)


def take_nonlinearity(layer: Layer) -> Nonlinearity | None:
    """Set the nonlinearity of a layer to the identity, and return what it was (or ``None``)."""
    nonlinearity = getattr(layer, "nonlinearity", None)
    if nonlinearity is not None:
        layer.nonlinearity = nonlinearities.identity  # type: ignore[attr-defined]
    return nonlinearity


def _rectify(input: Tensor, slope: Scalar) -> Tensor:
    """Return the rectified input, with a slope for negative values, in the dtype of the input."""
    input = pt.as_tensor_variable(input)
    return pt.where(input > 0, input, input * like(slope, input))
