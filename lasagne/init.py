"""Initializers: callables that take a shape and return the initial values of a parameter.

The values are NumPy arrays in floatX, drawn from :func:`lasagne.random.get_rng`. The variance of a
scaled initializer follows from the shape of the parameter: ``(fan_in, fan_out)`` for weights,
``(filters, channels, rows, columns)`` for a bank of filters.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .random import get_rng
from .typing import ArrayLike
from .utils import floatX

__all__ = [
    "Constant",
    "Glorot",
    "GlorotNormal",
    "GlorotUniform",
    "He",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "Normal",
    "Orthogonal",
    "Sparse",
    "Uniform",
]


class Initializer:
    """Base class: an initializer is called with a shape and answers with :meth:`sample`.

    Subclasses implement :meth:`sample`.
    """

    def __call__(self, shape: Sequence[int]) -> np.ndarray:
        return self.sample(shape)

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        """Return the initial values of a parameter.

        Parameters
        ----------
        shape : tuple of int
            The shape of the parameter.

        Returns
        -------
        numpy array
            Values of that shape, in floatX.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement sample()")


class Normal(Initializer):
    r"""Values from the normal distribution :math:`N(\mu, \sigma)`.

    Parameters
    ----------
    std : float
        Standard deviation.
    mean : float
        Mean.
    """

    def __init__(self, std: float = 0.01, mean: float = 0.0):
        self.std = std
        self.mean = mean

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        return floatX(get_rng().normal(self.mean, self.std, size=shape))


class Uniform(Initializer):
    r"""Values from a uniform distribution.

    Parameters
    ----------
    range : float or pair of float
        The interval: ``(a, b)``, or a number `r` for ``(-r, r)``. Ignored if `std` is given.
    std : float or None
        Standard deviation. If given, the interval is
        :math:`(\mu - \sqrt{3}\sigma, \mu + \sqrt{3}\sigma)`.
    mean : float
        Mean of the distribution, used with `std` only.
    """

    def __init__(
        self, range: float | tuple[float, float] = 0.01, std: float | None = None, mean: float = 0.0
    ):
        self.std = std
        self.mean = mean
        if std is not None:
            half_width = np.sqrt(3) * std
            self.range = (mean - half_width, mean + half_width)
        elif isinstance(range, tuple | list | np.ndarray) and np.ndim(range):
            low, high = range
            self.range = (low, high)
        else:
            self.range = (-range, range)  # type: ignore[operator]

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        return floatX(get_rng().uniform(low=self.range[0], high=self.range[1], size=shape))


class Glorot(Initializer):
    r"""Values scaled so that the variance of activations and gradients is kept.

    Parameters
    ----------
    initializer : Initializer class
        :class:`Normal` or :class:`Uniform`; called with ``std=``.
    gain : float or 'relu'
        Scaling factor: 1.0 for linear and sigmoid units, ``'relu'`` stands for :math:`\sqrt{2}`,
        :math:`\sqrt{2 / (1 + \alpha^2)}` suits leaky rectifiers.
    c01b : bool
        Whether a filter bank is laid out as ``(channels, rows, columns, filters)``.

    Notes
    -----
    The standard deviation is :math:`\sigma = a \sqrt{\frac{2}{(n_1 + n_2) r}}` for a parameter of
    shape ``(n_1, n_2, ...)`` with :math:`r` the product of the remaining dimensions [1]_.

    Raises
    ------
    RuntimeError
        From :meth:`sample`, for a shape of fewer than two dimensions, or with `c01b` other than
        four.

    References
    ----------
    .. [1] Glorot, X., Bengio, Y. (2010): Understanding the difficulty of training deep feedforward
       neural networks.
    """

    def __init__(
        self, initializer: Callable[..., "Initializer"], gain: float | str = 1.0, c01b: bool = False
    ):
        self.initializer = initializer
        self.gain = _gain_value(gain)
        self.c01b = c01b

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        _check_shape(self, shape)
        if self.c01b:
            channels, rows, columns, filters = shape
            fan_sum, receptive_field = channels + filters, rows * columns
        else:
            fan_sum, receptive_field = shape[0] + shape[1], int(np.prod(shape[2:]))
        std = self.gain * np.sqrt(2.0 / (fan_sum * receptive_field))
        return self.initializer(std=std).sample(shape)


class GlorotNormal(Glorot):
    """:class:`Glorot` with values from a normal distribution.

    Parameters
    ----------
    gain, c01b
        See :class:`Glorot`.
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False):
        super().__init__(Normal, gain, c01b)


class GlorotUniform(Glorot):
    """:class:`Glorot` with values from a uniform distribution.

    Parameters
    ----------
    gain, c01b
        See :class:`Glorot`.
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False):
        super().__init__(Uniform, gain, c01b)


class He(Initializer):
    r"""Values scaled so that the variance of rectified activations is kept.

    Parameters
    ----------
    initializer : Initializer class
        :class:`Normal` or :class:`Uniform`; called with ``std=``.
    gain : float or 'relu'
        Scaling factor: 1.0 for linear and sigmoid units, ``'relu'`` stands for :math:`\sqrt{2}`,
        :math:`\sqrt{2 / (1 + \alpha^2)}` suits leaky rectifiers.
    c01b : bool
        Whether a filter bank is laid out as ``(channels, rows, columns, filters)``.

    Notes
    -----
    The standard deviation is :math:`\sigma = a \sqrt{1 / n_{in}}` [1]_. The fan-in is the first
    dimension of a matrix, and otherwise the product of all dimensions but that of the filters.

    Raises
    ------
    RuntimeError
        From :meth:`sample`, for a shape of fewer than two dimensions, or with `c01b` other than
        four.

    References
    ----------
    .. [1] He, K., et al. (2015): Delving deep into rectifiers: Surpassing human-level performance
       on ImageNet classification, https://arxiv.org/abs/1502.01852
    """

    def __init__(
        self, initializer: Callable[..., "Initializer"], gain: float | str = 1.0, c01b: bool = False
    ):
        self.initializer = initializer
        self.gain = _gain_value(gain)
        self.c01b = c01b

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        _check_shape(self, shape)
        if self.c01b:
            fan_in = int(np.prod(shape[:3]))
        elif len(shape) == 2:
            fan_in = shape[0]
        else:
            fan_in = int(np.prod(shape[1:]))
        return self.initializer(std=self.gain * np.sqrt(1.0 / fan_in)).sample(shape)


class HeNormal(He):
    """:class:`He` with values from a normal distribution.

    Parameters
    ----------
    gain, c01b
        See :class:`He`.
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False):
        super().__init__(Normal, gain, c01b)


class HeUniform(He):
    """:class:`He` with values from a uniform distribution.

    Parameters
    ----------
    gain, c01b
        See :class:`He`.
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False):
        super().__init__(Uniform, gain, c01b)


class Constant(Initializer):
    """One value everywhere.

    Parameters
    ----------
    val : float or numpy array
        The value; an array is broadcast to the shape of the parameter.
    """

    def __init__(self, val: ArrayLike = 0.0):
        self.val = val

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        return floatX(np.ones(shape) * np.asarray(self.val))


class Sparse(Initializer):
    """Each column has the same share of normal values, and zeros elsewhere.

    Parameters
    ----------
    sparsity : float
        The share of values per column that are not zero, in [0, 1].
    std : float
        Standard deviation of these values.

    Raises
    ------
    RuntimeError
        From :meth:`sample`, for a shape of other than two dimensions.
    """

    def __init__(self, sparsity: float = 0.1, std: float = 0.01):
        self.sparsity = sparsity
        self.std = std

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        if len(shape) != 2:
            raise RuntimeError(f"Sparse needs a shape of two dimensions, got {tuple(shape)}")
        rows, columns = shape
        nonzero = int(self.sparsity * rows)
        values = floatX(np.zeros(shape))
        for column in range(columns):
            chosen = get_rng().permutation(rows)[:nonzero]
            values[chosen, column] = get_rng().normal(0.0, self.std, size=nonzero)
        return values


class Orthogonal(Initializer):
    r"""A random orthogonal matrix.

    Parameters
    ----------
    gain : float or 'relu'
        Scaling factor; ``'relu'`` stands for :math:`\sqrt{2}`.

    Notes
    -----
    A shape of more than two dimensions is treated as ``(shape[0], prod(shape[1:]))``. The shorter
    side of the matrix is orthogonal [1]_.

    Raises
    ------
    RuntimeError
        From :meth:`sample`, for a shape of fewer than two dimensions.

    References
    ----------
    .. [1] Saxe, A. M., McClelland, J. L., Ganguli, S. (2013): Exact solutions to the nonlinear
       dynamics of learning in deep linear neural networks, https://arxiv.org/abs/1312.6120
    """

    def __init__(self, gain: float | str = 1.0):
        self.gain = _gain_value(gain)

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        if len(shape) < 2:
            raise RuntimeError(
                f"Orthogonal needs a shape of at least two dimensions, got {tuple(shape)}"
            )
        flat_shape = (shape[0], int(np.prod(shape[1:])))
        normal = get_rng().normal(0.0, 1.0, size=flat_shape)
        left, _, right = np.linalg.svd(normal, full_matrices=False)
        orthogonal = left if left.shape == flat_shape else right
        return floatX(self.gain * orthogonal.reshape(shape))


def _gain_value(gain: float | str) -> float:
    if gain == "relu":
        return np.sqrt(2)
    if isinstance(gain, str):
        raise ValueError(f"gain must be a number or 'relu', got {gain!r}")
    return gain


def _check_shape(initializer: Glorot | He, shape: Sequence[int]) -> None:
    name = type(initializer).__name__
    if initializer.c01b and len(shape) != 4:
        raise RuntimeError(
            f"{name} with c01b=True needs a shape of four dimensions, got {tuple(shape)}"
        )
    if len(shape) < 2:
        raise RuntimeError(f"{name} needs a shape of at least two dimensions, got {tuple(shape)}")
