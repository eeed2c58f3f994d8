"""Layers that normalize their input by its own statistics."""

from typing import Any

import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable

from .. import init
from ..tensors import as_axes, as_shared_axes, shape_beyond, sizes, update_by_default
from ..typing import Incoming, Nonlinearity, Parameter, ParameterSpec, SharedAxes, Tensor
from .base import Layer
from .special import BiasLayer, NonlinearityLayer, ScaleLayer, take_nonlinearity

__all__ = [
    "BatchNormLayer",
    "LocalResponseNormalization2DLayer",
    "StandardizationLayer",
    "batch_norm",
    "instance_norm",
    "layer_norm",
]


class BatchNormLayer(Layer):
    r"""A layer that normalizes its input by the mean and variance of a batch.

    It computes

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \gamma + \beta

    where the mean :math:`\mu` and the variance :math:`\sigma^2` are, for training, those of the
    batch. The layer keeps running averages of the mean and the inverse standard deviation,
    updated in every function that computes such an output:

    .. math:: \bar\mu \leftarrow (1 - \alpha) \bar\mu + \alpha \mu

    They replace the statistics of the batch with ``get_output(..., deterministic=True)``, which
    does not update them. ``batch_norm_use_averages`` and ``batch_norm_update_averages``, given to
    :func:`get_output`, decide on both separately. The running averages are parameters that have the
    tag ``batch_norm_stat`` and are neither trainable nor regularizable.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    axes : "auto", int or tuple of int
        The axes to normalize over; ``"auto"`` stands for all axes but the second.
    epsilon : float
        What is added to the variance.
    alpha : float
        Weight of a batch in the running averages.
    beta : PyTensor variable, numpy array, callable or None
        The offset :math:`\beta`, of the shape of the input without `axes`; ``None`` for none.
    gamma : PyTensor variable, numpy array, callable or None
        The scale :math:`\gamma`, of the same shape; ``None`` for none.
    mean : PyTensor variable, numpy array or callable
        Running average of the mean, of the same shape. An expression, which is not a shared
        variable, is not updated.
    inv_std : PyTensor variable, numpy array or callable
        Running average of :math:`1 / \sqrt{\sigma^2 + \epsilon}`, of the same shape. An
        expression, which is not a shared variable, is not updated.

    Raises
    ------
    ValueError
        If the size of an axis that is not normalized over is ``None``, or `axes` does not exist.

    See Also
    --------
    batch_norm : Normalizes an existing layer.

    References
    ----------
    Ioffe and Szegedy (2015): Batch normalization: accelerating deep network training by reducing
    internal covariate shift. arXiv:1502.03167.
    """

    def __init__(
        self,
        incoming: Incoming,
        axes: SharedAxes = "auto",
        epsilon: float = 1e-4,
        alpha: float = 0.1,
        beta: ParameterSpec | None = init.Constant(0),
        gamma: ParameterSpec | None = init.Constant(1),
        mean: ParameterSpec = init.Constant(0),
        inv_std: ParameterSpec = init.Constant(1),
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        self.axes = as_shared_axes(self, axes)
        if not epsilon > 0:
            raise ValueError(f"{self!r}: epsilon must be positive, not {epsilon}")
        if not 0 <= alpha <= 1:
            raise ValueError(f"{self!r}: alpha must be between 0 and 1, not {alpha}")
        self.epsilon = epsilon
        self.alpha = alpha
        shape = shape_beyond(self, self.axes, "not normalized over")
        self.beta = self.gamma = None
        if beta is not None:
            self.beta = self.add_param(beta, shape, name="beta", regularizable=False)
        if gamma is not None:
            self.gamma = self.add_param(gamma, shape, name="gamma", regularizable=True)
        tags = {"trainable": False, "regularizable": False, "batch_norm_stat": True}
        self.mean = self.add_param(mean, shape, "mean", **tags)
        self.inv_std = self.add_param(inv_std, shape, "inv_std", **tags)

    def get_output_for(
        self,
        input: Tensor,
        deterministic: bool = False,
        batch_norm_use_averages: bool | None = None,
        batch_norm_update_averages: bool | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Build the expression of the output.

        Parameters
        ----------
        input : PyTensor expression
            The input.
        deterministic : bool
            Whether to use the running averages and leave them as they are.
        batch_norm_use_averages : bool, optional
            Whether to normalize by the running averages; if omitted, `deterministic` decides.
        batch_norm_update_averages : bool, optional
            Whether to update the running averages; if omitted, `deterministic` decides.

        Returns
        -------
        PyTensor expression
            The output, of the shape of `input`.
        """
        use_averages = deterministic if batch_norm_use_averages is None else batch_norm_use_averages
        update_averages = (
            not deterministic if batch_norm_update_averages is None else batch_norm_update_averages
        )
        input = pt.as_tensor_variable(input)
        batch_mean = pt.mean(input, axis=self.axes)
        batch_inv_std = 1 / pt.sqrt(pt.var(input, axis=self.axes) + self.epsilon)

        mean, inv_std = (self.mean, self.inv_std) if use_averages else (batch_mean, batch_inv_std)
        if update_averages:
            mean = mean + self._update(self.mean, batch_mean)
            inv_std = inv_std + self._update(self.inv_std, batch_inv_std)

        scale = inv_std if self.gamma is None else inv_std * self.gamma
        output = (input - pt.expand_dims(mean, self.axes)) * pt.expand_dims(scale, self.axes)
        if self.beta is not None:
            output = output + pt.expand_dims(self.beta, self.axes)
        return output

    def _update(self, average: Parameter, of_batch: Tensor) -> Tensor | int:
        """Return a zero in whose computation PyTensor updates a running average.

        A copy of the variable, which shares its value, carries the update: only the functions that
        compute an output made with this copy apply it. The new value is that of the original plus
        a part of the batch's, since PyTensor may overwrite the value of a variable that it updates
        before an output that uses the same running average is computed.
        """
        updatable = isinstance(average, SharedVariable)
        if not updatable:
            return 0
        running = average.clone()
        new = (1 - self.alpha) * average + self.alpha * of_batch
        update_by_default(running, pt.cast(new, running.dtype))
        return pt.zeros_like(running)  # not a product with zero, which is NaN for an average of NaN


def batch_norm(layer: Layer, **kwargs: Any) -> Layer:
    """Apply batch normalization to an existing layer, before its nonlinearity.

    Parameters
    ----------
    layer : Layer
        The layer. Its nonlinearity moves on top of the normalization, and its bias, which would
        have no effect, is removed.
    **kwargs
        Passed to :class:`BatchNormLayer`. Its name is ``"<layer name>_bn"`` unless given, that of
        the nonlinearity the same with ``"_nonlin"``.

    Returns
    -------
    BatchNormLayer or NonlinearityLayer
        The layer on top of `layer`.

    Examples
    --------
    >>> from lasagne.layers import DenseLayer, InputLayer, batch_norm
    >>> l1 = batch_norm(DenseLayer(InputLayer((64, 768)), num_units=20))
    """
    nonlinearity = take_nonlinearity(layer)
    _remove_bias(layer)
    name = _name(layer, kwargs, "_bn")
    return _add_nonlinearity(BatchNormLayer(layer, name=name, **kwargs), nonlinearity, name)


class LocalResponseNormalization2DLayer(Layer):
    r"""A layer that divides each value by a norm of the values of near channels.

    At each location it computes, for channel `i`,

    .. math:: y_i = \frac{x_i}{\left(k + \alpha \sum_{j=i-\lfloor n/2 \rfloor}^{i+\lfloor n/2
        \rfloor} x_j^2\right)^\beta}

    where channels that do not exist count as zeros.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input ``(B, channels, rows, columns)``.
    alpha : float
        The factor :math:`\alpha`.
    k : float
        The offset :math:`k`.
    beta : float
        The exponent :math:`\beta`.
    n : int
        The number of channels in the sum, which is odd.

    Raises
    ------
    ValueError
        If `n` is not a positive odd number, or the input has other than four dimensions.

    References
    ----------
    Krizhevsky, Sutskever and Hinton (2012): ImageNet classification with deep convolutional neural
    networks. NIPS.
    """

    def __init__(
        self,
        incoming: Incoming,
        alpha: float = 1e-4,
        k: float = 2,
        beta: float = 0.75,
        n: int = 5,
        **kwargs: Any,
    ):
        super().__init__(incoming, **kwargs)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"{self!r} needs a positive odd number n of channels, got {n}")
        if len(self.input_shape) != 4:
            raise ValueError(
                f"{self!r} needs an input (B, channels, rows, columns), got {self.input_shape}"
            )
        self.alpha = alpha
        self.k = k
        self.beta = beta
        self.n = n

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        batch, channels, *locations = sizes(input)
        padded: Any = pt.zeros((batch, channels + self.n - 1, *locations), dtype=input.dtype)
        padded = pt.set_subtensor(padded[:, self.n // 2 : -(self.n // 2) or None], input**2)
        windows = [padded[:, j : j + 1 - self.n or None] for j in range(self.n)]
        scale = self.k + self.alpha * sum(windows[1:], start=windows[0])
        return input / scale**self.beta


class StandardizationLayer(Layer):
    r"""A layer that standardizes its input to zero mean and unit variance.

    It computes :math:`(x - \mu) / \sqrt{\sigma^2 + \epsilon}`, with the mean and variance over some
    of the axes. It has no parameters, and keeps no averages.

    Parameters
    ----------
    incoming : Layer or tuple
        The layer feeding into this one, or the shape of the input.
    axes : "auto", "features", "spatial", int or tuple of int
        The axes to normalize over. ``"features"``: all but the first, that is each item of a batch.
        ``"spatial"``: all but the first two, that is each channel of an item. ``"auto"``:
        ``"features"`` for an input of two dimensions, ``"spatial"`` for more.
    epsilon : float
        What is added to the variance.

    Raises
    ------
    ValueError
        If `axes` is another string, or does not exist.

    References
    ----------
    Ba, Kiros and Hinton (2016): Layer normalization. arXiv:1607.06450.
    Ulyanov, Vedaldi and Lempitsky (2016): Instance normalization: the missing ingredient for fast
    stylization. arXiv:1607.08022.
    """

    def __init__(
        self, incoming: Incoming, axes: SharedAxes = "auto", epsilon: float = 1e-4, **kwargs: Any
    ):
        super().__init__(incoming, **kwargs)
        ndim = len(self.input_shape)
        if axes == "auto":
            axes = "features" if ndim < 3 else "spatial"
        if isinstance(axes, str):
            if axes not in ("features", "spatial"):
                raise ValueError(
                    f"{self!r} got axes {axes!r}, expected 'auto', 'features', 'spatial' or "
                    "integers"
                )
            axes = range(1 if axes == "features" else 2, ndim)
        self.axes = as_axes(self, axes)
        self.epsilon = epsilon

    def get_output_for(self, input: Tensor, **kwargs: Any) -> Tensor:
        input = pt.as_tensor_variable(input)
        mean = pt.mean(input, axis=self.axes, keepdims=True)
        variance = pt.var(input, axis=self.axes, keepdims=True)
        return (input - mean) / pt.sqrt(variance + self.epsilon)


def instance_norm(
    layer: Any, learn_scale: bool = True, learn_bias: bool = True, **kwargs: Any
) -> Layer:
    """Apply instance normalization to an existing layer, before its nonlinearity.

    Each channel of each item of a batch is standardized over its locations, then scaled and shifted
    by learnt numbers for each channel.

    Parameters
    ----------
    layer : Layer
        The layer. Its nonlinearity moves on top of the normalization, and its bias, which would
        have no effect, is removed.
    learn_scale : bool
        Whether to add a :class:`ScaleLayer`.
    learn_bias : bool
        Whether to add a :class:`BiasLayer`.
    **kwargs
        Passed to :class:`StandardizationLayer`. Its name is ``"<layer name>_in"`` unless given,
        those of the layers above the same with ``"_scale"``, ``"_bias"`` and ``"_nonlin"``.

    Returns
    -------
    Layer
        The topmost of the added layers.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky (2016): Instance normalization: the missing ingredient for fast
    stylization. arXiv:1607.08022.
    """
    return _standardized(layer, "spatial", "_in", learn_scale, learn_bias, kwargs)


def layer_norm(layer: Layer, **kwargs: Any) -> Layer:
    """Apply layer normalization to an existing layer, before its nonlinearity.

    Each item of a batch is standardized over all its features and locations, then scaled and
    shifted by learnt numbers for each feature.

    Parameters
    ----------
    layer : Layer
        The layer. Its nonlinearity moves on top of the normalization, and its bias is replaced by
        the one that is learnt there.
    **kwargs
        Passed to :class:`StandardizationLayer`. Its name is ``"<layer name>_ln"`` unless given,
        those of the layers above the same with ``"_scale"``, ``"_bias"`` and ``"_nonlin"``.

    Returns
    -------
    Layer
        The topmost of the added layers.

    References
    ----------
    Ba, Kiros and Hinton (2016): Layer normalization. arXiv:1607.06450.
    """
    return _standardized(layer, "features", "_ln", True, True, kwargs)


def _standardized(
    layer: Layer, axes: str, suffix: str, learn_scale: bool, learn_bias: bool, kwargs: dict
) -> Layer:
    """Stack standardization, scale, bias and the nonlinearity of a layer on top of it."""
    nonlinearity = take_nonlinearity(layer)
    _remove_bias(layer)
    name = _name(layer, kwargs, suffix)
    top: Layer = StandardizationLayer(layer, name=name, **{"axes": axes, **kwargs})
    if learn_scale:
        top = ScaleLayer(top, name=name and f"{name}_scale")
    if learn_bias:
        top = BiasLayer(top, name=name and f"{name}_bias")
    return _add_nonlinearity(top, nonlinearity, name)


def _remove_bias(layer: Layer) -> None:
    if getattr(layer, "b", None) is not None:
        del layer.params[layer.b]  # type: ignore[attr-defined]
        layer.b = None  # type: ignore[attr-defined]


def _name(layer: Layer, kwargs: dict, suffix: str) -> str | None:
    """Take the name out of the arguments, or derive one from that of the layer, if it has one."""
    own = getattr(layer, "name", None)
    return kwargs.pop("name", None) or (own and own + suffix)


def _add_nonlinearity(layer: Layer, nonlinearity: Nonlinearity | None, name: str | None) -> Layer:
    if nonlinearity is None:
        return layer
    return NonlinearityLayer(layer, nonlinearity, name=name and f"{name}_nonlin")
