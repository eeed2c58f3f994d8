"""Layers that multiply the units, or the channels, of their input with a matrix."""

from math import prod
from typing import Any

import pytensor.tensor as pt

from .. import init, nonlinearities
from ..tensors import join_last_axes, with_known_sizes
from ..typing import Incoming, Nonlinearity, ParameterSpec, Shape, Tensor
from .base import Layer, check_integer, check_positive, known_shape

__all__ = ["DenseLayer", "NINLayer"]


class DenseLayer(Layer):
    r"""A fully connected layer, :math:`\sigma(x W + b)`.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    num_units : int
        Number of units of the layer.
    W : PyTensor variable, numpy array or callable
        Weights, of shape ``(num_inputs, num_units)``, where `num_inputs` is the number of values
        in the trailing axes of the input.
    b : PyTensor variable, numpy array, callable or None
        Biases, of shape ``(num_units,)``; ``None`` for none.
    nonlinearity : callable or None
        Applied to the activations; ``None`` for the identity.
    num_leading_axes : int
        Number of leading axes that are kept; all other (trailing) axes are multiplied with the
        weights together. With the default of 1, every item of a batch is flattened. A negative
        number ``-n`` leaves `n` trailing axes: ``-1`` applies the layer to the last axis.

    Raises
    ------
    ValueError
        If `num_units` is not positive, if `num_leading_axes` does not leave a trailing axis or
        asks for more of them than there are, or if the size of a trailing axis is ``None``.

    Examples
    --------
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> l_in = InputLayer((None, 10, 20))
    >>> DenseLayer(l_in, num_units=5).output_shape
    (None, 5)
    >>> DenseLayer(l_in, num_units=5, num_leading_axes=-1).output_shape
    (None, 10, 5)
    """

    def __init__(
        self,
        incoming: Incoming,
        num_units: int,
        W: ParameterSpec = init.GlorotUniform(),
        b: ParameterSpec | None = init.Constant(0.0),
        nonlinearity: Nonlinearity | None = nonlinearities.rectify,
        num_leading_axes: int = 1,
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.nonlinearity = nonlinearities.as_nonlinearity(self, nonlinearity)
        self.num_units = num_units
        check_positive(self, num_units=num_units)
        check_integer(self, num_leading_axes=num_leading_axes)

        ndim = len(self.input_shape)
        if num_leading_axes >= ndim:
            raise ValueError(
                f"{self!r} got num_leading_axes={num_leading_axes} for a {ndim}-dimensional input, "
                "leaving no trailing axes for the dot product."
            )
        if num_leading_axes < -ndim:
            raise ValueError(
                f"{self!r} got num_leading_axes={num_leading_axes} for a {ndim}-dimensional input, "
                "requesting more trailing axes than there are input dimensions."
            )
        self.num_leading_axes = num_leading_axes

        trailing: Any = self.input_shape[num_leading_axes:]
        if None in trailing:
            raise ValueError(
                f"A DenseLayer requires a fixed input shape (except for the leading axes). {self!r}"
                f" got {self.input_shape} for num_leading_axes={num_leading_axes}."
            )
        self.W = self.add_param(W, (prod(trailing), num_units), name="W")
        self.b = None
        if b is not None:
            self.b = self.add_param(b, (num_units,), name="b", regularizable=False)

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        return (*known_shape(input_shape)[: self.num_leading_axes], self.num_units)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        leading = self.num_leading_axes
        if leading < 0:
            leading += input.type.ndim
        if input.type.ndim > leading + 1:
            input = join_last_axes(with_known_sizes(input, self.input_shape), leading + 1)
        # the product of a matrix is simpler a graph than that of a stack of them
        activation: Tensor = (pt.dot if input.type.ndim <= 2 else pt.matmul)(input, self.W)  # type: ignore[arg-type]
        if self.b is not None:
            activation = activation + self.b
        return self.nonlinearity(activation)


class NINLayer(Layer):
    r"""A network in network layer: a dense layer over the second axis, applied at all locations.

    The output at location `l` is :math:`\sigma(x_l W + b)`, as of a convolution with 1 × 1 filters.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input ``(B, channels, ...)``.
    num_units : int
        Number of units of the layer, the channels of the output.
    untie_biases : bool
        Whether every location has biases of its own.
    W : PyTensor variable, numpy array or callable
        Weights, of shape ``(channels, num_units)``.
    b : PyTensor variable, numpy array, callable or None
        Biases, of shape ``(num_units,)``, or ``(num_units, ...)`` with the sizes of all further
        axes if `untie_biases`; ``None`` for none.
    nonlinearity : callable or None
        Applied to the activations; ``None`` for the identity.

    Raises
    ------
    ValueError
        If `num_units` is not positive, if the input has no second axis or its size is ``None``, or
        if `untie_biases` is set and the size of a further axis is ``None``.

    References
    ----------
    Lin, Chen and Yan (2013): Network in network. arXiv:1312.4400.

    Examples
    --------
    >>> from lasagne.layers import InputLayer, NINLayer
    >>> NINLayer(InputLayer((100, 20, 10, 3)), num_units=5).output_shape
    (100, 5, 10, 3)
    """

    def __init__(
        self,
        incoming: Incoming,
        num_units: int,
        untie_biases: bool = False,
        W: ParameterSpec = init.GlorotUniform(),
        b: ParameterSpec | None = init.Constant(0.0),
        nonlinearity: Nonlinearity | None = nonlinearities.rectify,
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.nonlinearity = nonlinearities.as_nonlinearity(self, nonlinearity)
        self.num_units = num_units
        self.untie_biases = untie_biases
        check_positive(self, num_units=num_units)
        if len(self.input_shape) < 2 or self.input_shape[1] is None:
            raise ValueError(
                f"{self!r} needs an input (B, channels, ...) with a known number of channels, got "
                f"{self.input_shape}"
            )
        locations = self.input_shape[2:]
        if untie_biases and None in locations:
            raise ValueError(
                f"{self!r} needs the sizes of all axes beyond the second for untie_biases=True, "
                f"got {self.input_shape}"
            )
        channels: Any = self.input_shape[1]
        self.W = self.add_param(W, (channels, num_units), name="W")
        self.b = None
        if b is not None:
            shape: tuple[Any, ...] = (num_units, *locations) if untie_biases else (num_units,)
            self.b = self.add_param(b, shape, name="b", regularizable=False)

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        input_shape = known_shape(input_shape)
        return (input_shape[0], self.num_units, *input_shape[2:])

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        channels_last: Tensor = pt.moveaxis(input, 1, -1)
        channels_last = pt.matmul(channels_last, self.W)  # type: ignore[arg-type]
        if self.b is not None:
            channels_last = channels_last + pt.moveaxis(self.b, 0, -1)
        return self.nonlinearity(pt.moveaxis(channels_last, -1, 1))
