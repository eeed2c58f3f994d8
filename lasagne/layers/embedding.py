"""Vectors that are looked up by an index."""

from typing import Any

import numpy as np
import pytensor.tensor as pt

from .. import init
from ..tensors import join_last_axes, sizes_to_reshape
from ..typing import Incoming, ParameterSpec, Shape, Tensor
from .base import Layer, check_positive, known_shape

__all__ = ["EmbeddingLayer"]


class EmbeddingLayer(Layer):
    """A layer that replaces each integer of its input by a vector of weights.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input, which must be of an integer
        dtype.
    input_size : int
        Number of different integers: the input is in ``0 ... input_size - 1``.
    output_size : int
        Size of the vectors.
    W : PyTensor variable, numpy array or callable
        The vectors, of shape ``(input_size, output_size)``.

    Raises
    ------
    ValueError
        If `input_size` or `output_size` is not positive.
    TypeError
        From :meth:`get_output_for`, if the dtype of the input is not an integer.

    Examples
    --------
    >>> import pytensor.tensor as pt
    >>> from lasagne.layers import EmbeddingLayer, InputLayer
    >>> l_in = InputLayer((None, 3), input_var=pt.imatrix())
    >>> EmbeddingLayer(l_in, input_size=10, output_size=5).output_shape
    (None, 3, 5)
    """

    def __init__(
        self,
        incoming: Incoming,
        input_size: int,
        output_size: int,
        W: ParameterSpec = init.Normal(),
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.input_size = input_size
        self.output_size = output_size
        check_positive(self, input_size=input_size, output_size=output_size)
        self.W = self.add_param(W, (input_size, output_size), name="W")

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        return (*known_shape(input_shape), self.output_size)

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        if not np.issubdtype(input.dtype, np.integer):
            raise TypeError(
                f"{self!r} needs an input of an integer dtype, got {input.dtype}. Give its "
                "InputLayer an input_var such as pytensor.tensor.imatrix()."
            )
        if input.type.ndim < 2:
            return self.W[input]
        # look up a vector of indices, so that the shapes in the graph are constants where possible
        vectors = self.W[join_last_axes(input, 1)]
        return pt.reshape(vectors, (*sizes_to_reshape(input, input.type.ndim), self.output_size))
