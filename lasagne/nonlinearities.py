"""Nonlinearities: functions of a tensor that a layer applies to its activation.

All of them work elementwise, except for :func:`softmax`, which normalises the last axis.
They are functions at module level or instances of classes, so a layer that holds one can be
pickled.

Of a NumPy array :func:`rectify`, :class:`LeakyRectify` and :func:`linear` make an array, as in
Lasagne; the others make an expression of whatever they get.
"""

import numpy as np
import pytensor.tensor as pt

from .typing import Nonlinearity, Tensor

__all__ = [
    "SELU",
    "LeakyRectify",
    "ScaledTanH",
    "ScaledTanh",
    "as_nonlinearity",
    "elu",
    "identity",
    "leaky_rectify",
    "linear",
    "rectify",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
    "very_leaky_rectify",
]


def sigmoid(x: Tensor) -> Tensor:
    r"""Logistic sigmoid, :math:`\varphi(x) = \frac{1}{1 + e^{-x}}`.

    Parameters
    ----------
    x : tensor
        The activation, of any shape.

    Returns
    -------
    tensor
        Values in [0, 1], of the shape of `x`.
    """
    return pt.sigmoid(x)


def softmax(x: Tensor) -> Tensor:
    r"""Softmax over the last axis, :math:`\varphi(x)_j = \frac{e^{x_j}}{\sum_k e^{x_k}}`.

    Parameters
    ----------
    x : tensor
        The activation, of shape ``(..., K)``.

    Returns
    -------
    tensor
        Values in [0, 1] that sum to one over the last axis, of the shape of `x`.
    """
    return pt.special.softmax(x, axis=-1)


def tanh(x: Tensor) -> Tensor:
    r"""Hyperbolic tangent, :math:`\varphi(x) = \tanh(x)`.

    Parameters
    ----------
    x : tensor
        The activation, of any shape.

    Returns
    -------
    tensor
        Values in [-1, 1], of the shape of `x`.
    """
    return pt.tanh(x)


class ScaledTanH:
    r"""Scaled hyperbolic tangent, :math:`\varphi(x) = \beta \tanh(\alpha x)`.

    Parameters
    ----------
    scale_in : float
        The factor :math:`\alpha` of the input.
    scale_out : float
        The factor :math:`\beta` of the output.

    Notes
    -----
    ``ScaledTanH(scale_in=2 / 3, scale_out=1.7159)`` maps unit variance to unit variance [1]_.

    References
    ----------
    .. [1] LeCun, Y., et al. (1998): Efficient BackProp, section 4.4.
    """

    def __init__(self, scale_in: float = 1, scale_out: float = 1):
        self.scale_in = scale_in
        self.scale_out = scale_out

    def __call__(self, x: Tensor) -> Tensor:
        return pt.tanh(x * self.scale_in) * self.scale_out


ScaledTanh = ScaledTanH


def rectify(x: Tensor) -> Tensor:
    r"""Rectifier, :math:`\varphi(x) = \max(0, x)`.

    Parameters
    ----------
    x : tensor or numpy array
        The activation, of any shape.

    Returns
    -------
    tensor or numpy array
        Values of at least 0, of the shape of `x`. The gradient at 0 is 1.
    """
    if isinstance(x, np.ndarray):
        return np.maximum(x, 0)
    # A maximum has another gradient at 0 where JAX differentiates than where PyTensor does
    return pt.switch(pt.lt(x, 0), 0, x)


class LeakyRectify:
    r"""Leaky rectifier, :math:`\varphi(x) = x` for positive `x` and :math:`\alpha x` otherwise.

    Parameters
    ----------
    leakiness : float
        The slope :math:`\alpha` for negative input; 0 gives :func:`rectify`, 1 gives
        :func:`linear`.

    See Also
    --------
    leaky_rectify : instance with a leakiness of 0.01, as in [1]_
    very_leaky_rectify : instance with a leakiness of 1/3, as in [2]_

    References
    ----------
    .. [1] Maas, A. L., Hannun, A. Y., Ng, A. Y. (2013): Rectifier Nonlinearities Improve Neural
       Network Acoustic Models.
    .. [2] Graham, B. (2014): Spatially-sparse convolutional neural networks.
    """

    def __init__(self, leakiness: float = 0.01):
        self.leakiness = leakiness

    def __call__(self, x: Tensor) -> Tensor:
        if isinstance(x, np.ndarray):
            return np.where(x > 0, x, x * self.leakiness)
        return pt.switch(pt.gt(x, 0), x, x * self.leakiness)


leaky_rectify = LeakyRectify()
very_leaky_rectify = LeakyRectify(1 / 3)


def elu(x: Tensor) -> Tensor:
    r"""Exponential linear unit, :math:`\varphi(x) = x` for positive `x`, otherwise :math:`e^x - 1`.

    Parameters
    ----------
    x : tensor
        The activation, of any shape.

    Returns
    -------
    tensor
        Values of at least -1, of the shape of `x`.

    References
    ----------
    .. [1] Clevert, D.-A., Unterthiner, T., Hochreiter, S. (2015): Fast and Accurate Deep Network
       Learning by Exponential Linear Units (ELUs), https://arxiv.org/abs/1511.07289
    """
    return pt.switch(pt.gt(x, 0), x, _expm1_of_negative(x))


class SELU:
    r"""Scaled exponential linear unit.

    :math:`\varphi(x) = \lambda x` for positive `x`, otherwise :math:`\lambda \alpha (e^x - 1)`.

    Parameters
    ----------
    scale : float
        The factor :math:`\lambda` of the output.
    scale_neg : float
        The factor :math:`\alpha` of the output for negative input.

    See Also
    --------
    selu : instance with the constants of [1]_, which keeps zero mean and unit variance

    References
    ----------
    .. [1] Klambauer, G., et al. (2017): Self-Normalizing Neural Networks,
       https://arxiv.org/abs/1706.02515
    """

    def __init__(self, scale: float = 1, scale_neg: float = 1):
        self.scale = scale
        self.scale_neg = scale_neg

    def __call__(self, x: Tensor) -> Tensor:
        return pt.switch(pt.gt(x, 0), x, _expm1_of_negative(x) * self.scale_neg) * self.scale


selu = SELU(scale=1.0507009873554805, scale_neg=1.6732632423543772)


def softplus(x: Tensor) -> Tensor:
    r"""Softplus, :math:`\varphi(x) = \log(1 + e^x)`.

    Parameters
    ----------
    x : tensor
        The activation, of any shape.

    Returns
    -------
    tensor
        Values of at least 0, of the shape of `x`.
    """
    return pt.softplus(x)


def linear(x: Tensor) -> Tensor:
    r"""Identity, :math:`\varphi(x) = x`.

    Parameters
    ----------
    x : tensor
        The activation, of any shape.

    Returns
    -------
    tensor
        `x` itself.
    """
    return x


identity = linear


def as_nonlinearity(owner: object, nonlinearity: Nonlinearity | None) -> Nonlinearity:
    """Return a nonlinearity, the identity for ``None``, or raise an error if it cannot be called.

    Parameters
    ----------
    owner : object
        The layer, for the message of the error.
    nonlinearity : callable or None
    """
    if nonlinearity is None:
        return identity
    if not callable(nonlinearity):
        raise TypeError(
            f"{owner!r}: nonlinearity must be a function of a tensor, such as "
            f"lasagne.nonlinearities.tanh, or None, not {nonlinearity!r}"
        )
    return nonlinearity


def _expm1_of_negative(x: Tensor) -> Tensor:
    # Without the bound a large positive input overflows in the branch that is not taken, and its
    # gradient becomes 0 * inf. At 0 a minimum would have another gradient where JAX differentiates.
    return pt.expm1(pt.switch(pt.gt(x, 0), 0, x))
