"""Layers that add noise, to regularize a network while it is trained."""

from collections.abc import Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from ..tensors import as_axes, like, sizes
from ..typing import Incoming, Scalar, Tensor
from ._random import RandomStream
from .base import Layer

__all__ = [
    "DropoutLayer",
    "GaussianNoiseLayer",
    "dropout",
    "dropout_channels",
    "dropout_locations",
    "spatial_dropout",
]


class DropoutLayer(Layer):
    """A layer that sets values to zero at random.

    With ``get_output(..., deterministic=True)`` the layer passes its input through.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    p : float or scalar PyTensor expression
        The probability of setting a value to zero.
    rescale : bool
        Whether values are divided by ``1 - p``, which preserves their expectation.
    shared_axes : tuple of int
        Axes over which the values are dropped, or kept, together. Negative axes count from the
        last.

    Raises
    ------
    ValueError
        If `p` is a number outside of ``[0, 1]``, or 1 with `rescale`; or if the input does not have
        an axis in `shared_axes`.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov (2014): Dropout: a simple way to
    prevent neural networks from overfitting. JMLR 15.
    """

    def __init__(
        self,
        incoming: Incoming,
        p: Scalar = 0.5,
        rescale: bool = True,
        shared_axes: int | Sequence[int] = (),
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        if not isinstance(p, Variable) and not (0 <= p < 1 or (p == 1 and not rescale)):
            raise ValueError(
                f"{self!r} got a dropout probability p={p}, expected a number in [0, 1), or in "
                "[0, 1] with rescale=False"
            )
        self.p = p
        self.rescale = rescale
        self.shared_axes = as_axes(self, shared_axes)
        self._srng = RandomStream()

    def get_output_for(self, input: Tensor, deterministic: bool = False, **kwargs: Any) -> Tensor:
        if deterministic or (not isinstance(self.p, Variable) and self.p == 0):
            return input
        input = pt.as_tensor_variable(input)
        p: Any = self.p if isinstance(self.p, Variable) else float(self.p)
        shape = [1 if axis in self.shared_axes else n for axis, n in enumerate(sizes(input))]
        mask = pt.cast(self._srng.binomial(shape, p=1 - p), input.dtype)
        if self.rescale:
            mask = mask / like(1 - p, input)
        return input * mask


dropout = DropoutLayer  # shortcut


def dropout_channels(incoming: Incoming, *args: Any, **kwargs: Any) -> DropoutLayer:
    """Drop whole channels: a :class:`DropoutLayer` shared over all axes but the first two.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input ``(B, channels, ...)``.
    *args, **kwargs
        Passed to :class:`DropoutLayer`.

    Returns
    -------
    DropoutLayer
        The layer.
    """
    shape = incoming.output_shape if isinstance(incoming, Layer) else incoming
    kwargs["shared_axes"] = tuple(range(2, len(shape)))
    return DropoutLayer(incoming, *args, **kwargs)


spatial_dropout = dropout_channels  # shortcut


def dropout_locations(incoming: Incoming, *args: Any, **kwargs: Any) -> DropoutLayer:
    """Drop all channels of a location together: a :class:`DropoutLayer` shared over axis 1.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input ``(B, channels, ...)``.
    *args, **kwargs
        Passed to :class:`DropoutLayer`.

    Returns
    -------
    DropoutLayer
        The layer.
    """
    return DropoutLayer(incoming, *args, **{**kwargs, "shared_axes": (1,)})


class GaussianNoiseLayer(Layer):
    """A layer that adds zero-mean Gaussian noise.

    With ``get_output(..., deterministic=True)`` the layer passes its input through.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    sigma : float or scalar PyTensor expression
        Standard deviation of the noise.

    Raises
    ------
    ValueError
        If `sigma` is a negative number.

    References
    ----------
    Jim, Giles and Horne (1996): An analysis of noise in recurrent neural networks: convergence and
    generalization. IEEE Transactions on Neural Networks 7(6).
    """

    def __init__(self, incoming: Incoming, sigma: Scalar = 0.1, **kwargs: Any):
        super().__init__(incoming, **kwargs)
        if not isinstance(sigma, Variable) and sigma < 0:
            raise ValueError(f"{self!r} needs a non-negative sigma, got {sigma}")
        self.sigma = sigma
        self._srng = RandomStream()

    def get_output_for(self, input: Tensor, deterministic: bool = False, **kwargs: Any) -> Tensor:
        if deterministic or (not isinstance(self.sigma, Variable) and self.sigma == 0):
            return input
        input = pt.as_tensor_variable(input)
        return input + like(self._srng.normal(sizes(input), std=self.sigma), input)
