"""The entrance of a network."""

from collections.abc import Iterable

import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from ..typing import Shape
from .base import Layer, check_dimensions

__all__ = ["InputLayer"]


class InputLayer(Layer):
    """A layer that stands for the input of a network.

    Parameters
    ----------
    shape : tuple of int or None
        Shape of any data fed to this layer, ``None`` for dimensions that may vary.
    input_var : PyTensor variable, optional
        The variable to feed data in. If omitted, a new variable is created, of dtype floatX, which
        accepts data of the given shape only.
    name : str, optional
        A name for the layer. The variable created is called ``"input"`` or ``"<name>.input"``.

    Attributes
    ----------
    shape : tuple
        The given shape, which is the output shape.
    input_var : PyTensor variable
        The variable to feed data in.

    Raises
    ------
    ValueError
        If a dimension of `shape` is neither ``None`` nor a positive integer, or if `input_var` has
        another number of dimensions, or a dimension known to be different.

    Examples
    --------
    >>> from lasagne.layers import InputLayer
    >>> l_in = InputLayer((100, 20))
    """

    def __init__(
        self,
        shape: Iterable[int | None],
        input_var: Variable | None = None,
        name: str | None = None,
    ):
        self.name = name
        self.params = {}
        self.get_output_kwargs = []
        self.shape = tuple(shape)
        check_dimensions(self, self.shape)
        if input_var is None:
            input_var = pt.tensor(
                name="input" if name is None else f"{name}.input",
                dtype=pytensor.config.floatX,
                shape=self.shape,
            )
        elif input_var.type.ndim != len(self.shape):
            raise ValueError(
                f"{self!r}: shape {self.shape} has {len(self.shape)} dimensions, but input_var has "
                f"{input_var.type.ndim}"
            )
        elif any(
            None not in pair and pair[0] != pair[1]
            for pair in zip(self.shape, input_var.type.shape, strict=True)
        ):
            raise ValueError(
                f"{self!r}: shape is {self.shape}, but input_var has shape {input_var.type.shape}"
            )
        self.input_var = input_var

    @property
    def output_shape(self) -> Shape:
        """Shape of the input."""
        return self.shape
