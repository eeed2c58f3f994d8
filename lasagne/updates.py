"""Update rules: from a loss, or gradients, to the new values of the parameters.

Each function returns a dictionary from shared variables to expressions, in the order of the
parameters, which is given to ``pytensor.function`` as its ``updates``:

>>> import numpy as np
>>> import pytensor
>>> from lasagne.updates import nesterov_momentum
>>> w = pytensor.shared(np.ones(3))
>>> updates = nesterov_momentum((w**2).sum(), [w], learning_rate=0.1, momentum=0.9)
>>> train = pytensor.function([], [], updates=updates)

The hyperparameters may be numbers or scalar expressions, such as a shared variable for a learning
rate that is to change.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from . import utils
from ._norms import get_scale, get_total_norm
from .packing import Pack, pack
from .typing import LossOrGradients, Scalar, Tensor, Updates

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "amsgrad",
    "apply_momentum",
    "apply_nesterov_momentum",
    "get_or_compute_grads",
    "momentum",
    "nesterov_momentum",
    "norm_constraint",
    "rmsprop",
    "sgd",
    "total_norm_constraint",
]


def get_or_compute_grads(
    loss_or_grads: LossOrGradients, params: Sequence[SharedVariable]
) -> Sequence[Any]:
    """Return the gradients, computed from the loss unless they are given.

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.

    Returns
    -------
    list of expressions
        The gradients; `loss_or_grads` itself if it is a list or tuple.

    Raises
    ------
    ValueError
        If a parameter is not a shared variable, or the number of gradients is different.
    """
    for param in params:
        if not isinstance(param, SharedVariable):
            raise ValueError(
                f"params must contain shared variables only, got {param!r}. If it is an expression "
                "of parameters, give the shared variables in it (get_all_params with "
                "unwrap_shared=True)."
            )
    if len(set(params)) < len(params):
        raise ValueError(f"params must contain each shared variable once, got {list(params)}")
    if isinstance(loss_or_grads, list | tuple):
        if len(loss_or_grads) != len(params):
            raise ValueError(
                f"got {len(loss_or_grads)} gradient expressions for {len(params)} parameters"
            )
        return loss_or_grads
    return pytensor.grad(loss_or_grads, list(params))  # type: ignore[arg-type, return-value]


def sgd(
    loss_or_grads: LossOrGradients, params: Sequence[SharedVariable], learning_rate: Scalar
) -> OrderedDict:
    """Stochastic gradient descent: ``param := param - learning_rate * gradient``.

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size.

    Returns
    -------
    OrderedDict
        The updates.
    """
    _check_numbers("sgd", learning_rate=learning_rate)
    params = list(params)
    updates: OrderedDict = OrderedDict()
    param: Any
    for param, grad in zip(params, get_or_compute_grads(loss_or_grads, params), strict=True):
        updates[param] = param - learning_rate * grad
    return _keep_dtypes(updates)


def apply_momentum(
    updates: Updates, params: Iterable[SharedVariable] | None = None, momentum: Scalar = 0.9
) -> OrderedDict:
    """Add momentum to updates.

    * ``velocity := momentum * velocity + updates[param] - param``
    * ``param := param + velocity``

    Parameters
    ----------
    updates : dict
        The updates to modify; it is left as it is.
    params : iterable of shared variables, optional
        The parameters to apply momentum to, all that are updated if omitted.
    momentum : float or scalar expression
        The share of the velocity that is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        The new updates.
    """
    _check_numbers("apply_momentum", momentum=momentum)
    updates = OrderedDict(updates)
    for part in _pack_steps(updates, params):
        velocity = part.zeros()
        updates[velocity] = new_velocity = momentum * velocity + part.tensor
        updates.update(part.add(new_velocity))
    return _keep_dtypes(updates)


def momentum(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar,
    momentum: Scalar = 0.9,
) -> OrderedDict:
    """Stochastic gradient descent with momentum.

    * ``velocity := momentum * velocity - learning_rate * gradient``
    * ``param := param + velocity``

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size.
    momentum : float or scalar expression
        The share of the velocity that is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        The updates.
    """
    _check_numbers("momentum", learning_rate=learning_rate, momentum=momentum)
    return apply_momentum(sgd(loss_or_grads, params, learning_rate), momentum=momentum)


def apply_nesterov_momentum(
    updates: Updates, params: Iterable[SharedVariable] | None = None, momentum: Scalar = 0.9
) -> OrderedDict:
    """Add Nesterov momentum to updates.

    * ``velocity := momentum * velocity + updates[param] - param``
    * ``param := param + momentum * velocity + updates[param] - param``

    Parameters
    ----------
    updates : dict
        The updates to modify; it is left as it is.
    params : iterable of shared variables, optional
        The parameters to apply momentum to, all that are updated if omitted.
    momentum : float or scalar expression
        The share of the velocity that is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        The new updates.

    Notes
    -----
    The gradient is taken at the parameters, not at the point that the velocity leads to: the
    formulation of https://github.com/lisa-lab/pylearn2/pull/136.
    """
    _check_numbers("apply_nesterov_momentum", momentum=momentum)
    updates = OrderedDict(updates)
    for part in _pack_steps(updates, params):
        velocity = part.zeros()
        updates[velocity] = new_velocity = momentum * velocity + part.tensor
        updates.update(part.add(momentum * new_velocity + part.tensor))
    return _keep_dtypes(updates)


def nesterov_momentum(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar,
    momentum: Scalar = 0.9,
) -> OrderedDict:
    """Stochastic gradient descent with Nesterov momentum.

    * ``velocity := momentum * velocity - learning_rate * gradient``
    * ``param := param + momentum * velocity - learning_rate * gradient``

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size.
    momentum : float or scalar expression
        The share of the velocity that is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        The updates.
    """
    _check_numbers("nesterov_momentum", learning_rate=learning_rate, momentum=momentum)
    return apply_nesterov_momentum(sgd(loss_or_grads, params, learning_rate), momentum=momentum)


def adagrad(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar = 1.0,
    epsilon: Scalar = 1e-6,
) -> OrderedDict:
    r"""Adagrad: learning rates divided by the root of the accumulated squared gradients.

    .. math:: \theta := \theta - \eta \frac{g_t}{\sqrt{\sum_{t'=1}^t g_{t'}^2 + \epsilon}}

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size :math:`\eta`.
    epsilon : float or scalar expression
        A small number for numerical stability.

    Returns
    -------
    OrderedDict
        The updates.

    References
    ----------
    .. [1] Duchi, J., Hazan, E., Singer, Y. (2011): Adaptive subgradient methods for online learning
       and stochastic optimization. Journal of Machine Learning Research 12.
    """
    _check_numbers("adagrad", learning_rate=learning_rate, epsilon=epsilon)
    params = list(params)
    updates: OrderedDict = OrderedDict()
    for part in pack(params, get_or_compute_grads(loss_or_grads, params)):
        accumulated = part.zeros()
        updates[accumulated] = total = accumulated + part.tensor**2
        updates.update(part.add(-learning_rate * part.tensor / pt.sqrt(total + epsilon)))
    return _keep_dtypes(updates)


def rmsprop(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar = 1.0,
    rho: Scalar = 0.9,
    epsilon: Scalar = 1e-6,
) -> OrderedDict:
    r"""RMSProp: learning rates divided by a moving root mean square of the gradients.

    .. math::

        r_t &= \rho r_{t-1} + (1 - \rho) g_t^2 \\
        \theta &:= \theta - \eta \frac{g_t}{\sqrt{r_t + \epsilon}}

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size :math:`\eta`.
    rho : float or scalar expression
        The decay :math:`\rho` of the moving average, in [0, 1).
    epsilon : float or scalar expression
        A small number for numerical stability.

    Returns
    -------
    OrderedDict
        The updates.

    References
    ----------
    .. [1] Tieleman, T., Hinton, G. (2012): Neural Networks for Machine Learning, lecture 6.5.
       Coursera, http://www.youtube.com/watch?v=O3sxAc4hxZU (formula at 5:20)
    """
    _check_numbers("rmsprop", learning_rate=learning_rate, rho=rho, epsilon=epsilon)
    params = list(params)
    updates: OrderedDict = OrderedDict()
    for part in pack(params, get_or_compute_grads(loss_or_grads, params)):
        mean_square = part.zeros()
        updates[mean_square] = new = rho * mean_square + (1 - rho) * part.tensor**2
        updates.update(part.add(-learning_rate * part.tensor / pt.sqrt(new + epsilon)))
    return _keep_dtypes(updates)


def adadelta(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar = 1.0,
    rho: Scalar = 0.95,
    epsilon: Scalar = 1e-6,
) -> OrderedDict:
    r"""Adadelta: steps in the ratio of the moving averages of past steps and of gradients.

    .. math::

        r_t &= \rho r_{t-1} + (1 - \rho) g_t^2 \\
        \Delta_t &= g_t \frac{\sqrt{s_{t-1} + \epsilon}}{\sqrt{r_t + \epsilon}} \\
        \theta &:= \theta - \eta \Delta_t \\
        s_t &= \rho s_{t-1} + (1 - \rho) \Delta_t^2

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size :math:`\eta`, 1 in the paper.
    rho : float or scalar expression
        The decay :math:`\rho` of the moving averages, in [0, 1).
    epsilon : float or scalar expression
        A small number for numerical stability, and to start with.

    Returns
    -------
    OrderedDict
        The updates.

    References
    ----------
    .. [1] Zeiler, M. D. (2012): ADADELTA: An adaptive learning rate method,
       https://arxiv.org/abs/1212.5701
    """
    _check_numbers("adadelta", learning_rate=learning_rate, rho=rho, epsilon=epsilon)
    params = list(params)
    updates: OrderedDict = OrderedDict()
    for part in pack(params, get_or_compute_grads(loss_or_grads, params)):
        mean_square, mean_square_step = part.zeros(), part.zeros()
        updates[mean_square] = new = rho * mean_square + (1 - rho) * part.tensor**2
        step = part.tensor * pt.sqrt(mean_square_step + epsilon) / pt.sqrt(new + epsilon)
        updates.update(part.add(-learning_rate * step))
        updates[mean_square_step] = rho * mean_square_step + (1 - rho) * step**2
    return _keep_dtypes(updates)


def adam(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar = 0.001,
    beta1: Scalar = 0.9,
    beta2: Scalar = 0.999,
    epsilon: Scalar = 1e-8,
) -> OrderedDict:
    r"""Adam: moving averages of the gradient and of its square, corrected for their start at zero.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        \theta &:= \theta - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}
            \frac{m_t}{\sqrt{v_t} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size :math:`\eta`.
    beta1, beta2 : float or scalar expression
        The decays of the moving averages, in [0, 1).
    epsilon : float or scalar expression
        A small number for numerical stability.

    Returns
    -------
    OrderedDict
        The updates.

    References
    ----------
    .. [1] Kingma, D., Ba, J. (2014): Adam: A method for stochastic optimization, section 2,
       https://arxiv.org/abs/1412.6980
    """
    _check_numbers("adam", learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)
    params = list(params)
    grads = get_or_compute_grads(loss_or_grads, params)
    steps, t = _step_counter()
    updates: OrderedDict = OrderedDict()
    rate = learning_rate * pt.sqrt(1 - beta2**t) / (1 - beta1**t)
    for part in pack(params, grads):
        mean, mean_square = _moments(updates, part, beta1, beta2)
        updates.update(part.add(-rate * mean / (pt.sqrt(mean_square) + epsilon)))
    updates[steps] = t
    return _keep_dtypes(updates)


def adamax(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar = 0.002,
    beta1: Scalar = 0.9,
    beta2: Scalar = 0.999,
    epsilon: Scalar = 1e-8,
) -> OrderedDict:
    r"""Adamax: Adam with the infinity norm in place of the root mean square.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t \\
        u_t &= \max(\beta_2 u_{t-1}, |g_t|) \\
        \theta &:= \theta - \frac{\eta}{1 - \beta_1^t} \frac{m_t}{u_t + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size :math:`\eta`.
    beta1, beta2 : float or scalar expression
        The decays of the moving average and of the norm, in [0, 1).
    epsilon : float or scalar expression
        A small number for numerical stability.

    Returns
    -------
    OrderedDict
        The updates.

    References
    ----------
    .. [1] Kingma, D., Ba, J. (2014): Adam: A method for stochastic optimization, section 7,
       https://arxiv.org/abs/1412.6980
    """
    _check_numbers("adamax", learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)
    params = list(params)
    grads = get_or_compute_grads(loss_or_grads, params)
    steps, t = _step_counter()
    updates: OrderedDict = OrderedDict()
    rate = learning_rate / (1 - beta1**t)
    for part in pack(params, grads):
        mean, norm = part.zeros(), part.zeros()
        updates[mean] = new_mean = beta1 * mean + (1 - beta1) * part.tensor
        updates[norm] = new_norm = pt.maximum(beta2 * norm, abs(part.tensor))
        updates.update(part.add(-rate * new_mean / (new_norm + epsilon)))
    updates[steps] = t
    return _keep_dtypes(updates)


def amsgrad(
    loss_or_grads: LossOrGradients,
    params: Sequence[SharedVariable],
    learning_rate: Scalar = 0.001,
    beta1: Scalar = 0.9,
    beta2: Scalar = 0.999,
    epsilon: Scalar = 1e-8,
) -> OrderedDict:
    r"""AMSGrad: Adam with the maximum of all past mean squares, so that step sizes never grow.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        \hat v_t &= \max(\hat v_{t-1}, v_t) \\
        \theta &:= \theta - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}
            \frac{m_t}{\sqrt{\hat v_t} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar expression or list of expressions
        The loss, or the gradient of the loss for each parameter.
    params : list of shared variables
        The parameters.
    learning_rate : float or scalar expression
        The step size :math:`\eta`.
    beta1, beta2 : float or scalar expression
        The decays of the moving averages, in [0, 1).
    epsilon : float or scalar expression
        A small number for numerical stability.

    Returns
    -------
    OrderedDict
        The updates.

    References
    ----------
    .. [1] Reddi, S. J., Kale, S., Kumar, S. (2018): On the convergence of Adam and beyond,
       https://openreview.net/forum?id=ryQu7f-RZ
    """
    _check_numbers(
        "amsgrad", learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    params = list(params)
    grads = get_or_compute_grads(loss_or_grads, params)
    steps, t = _step_counter()
    updates: OrderedDict = OrderedDict()
    rate = learning_rate * pt.sqrt(1 - beta2**t) / (1 - beta1**t)
    for part in pack(params, grads):
        mean, mean_square = _moments(updates, part, beta1, beta2)
        largest = part.zeros()
        updates[largest] = new_largest = pt.maximum(largest, mean_square)
        updates.update(part.add(-rate * mean / (pt.sqrt(new_largest) + epsilon)))
    updates[steps] = t
    return _keep_dtypes(updates)


def norm_constraint(
    tensor_var: Tensor,
    max_norm: Scalar,
    norm_axes: Sequence[int] | None = None,
    epsilon: float = 1e-7,
) -> Tensor:
    """Limit the norms of the weight vectors of all units.

    Parameters
    ----------
    tensor_var : expression
        The weights, such as an update of them.
    max_norm : scalar
        The largest norm that is left as it is.
    norm_axes : sequence of int, optional
        The axes to sum over. If omitted: the first for a matrix (as of a :class:`DenseLayer`), all
        but the first for three to five dimensions (filter banks).
    epsilon : float
        A small number to prevent a division by zero.

    Returns
    -------
    expression
        The weights, scaled where their norm is larger than `max_norm`.

    Raises
    ------
    ValueError
        If `norm_axes` is omitted and `tensor_var` has less than two dimensions or more than five.

    Examples
    --------
    >>> import pytensor.tensor as pt
    >>> from lasagne.updates import norm_constraint
    >>> W = norm_constraint(pt.matrix(), max_norm=10)
    """
    _check_numbers("norm_constraint", max_norm=max_norm, epsilon=epsilon)
    tensor_var = utils.as_theano_expression(tensor_var)
    if norm_axes is None and tensor_var.ndim < 2:
        raise ValueError(
            f"Unsupported tensor dimensionality {tensor_var.ndim}. Must specify `norm_axes`"
        )
    axes = utils.default_norm_axes(tensor_var.ndim) if norm_axes is None else tuple(norm_axes)
    scale = get_scale(tensor_var, axes)
    scaled = tensor_var * scale
    norms = pt.sqrt(pt.sum(pt.sqr(scaled), axis=axes, keepdims=True))
    factor = pt.clip(norms / scale, 0, max_norm) / (norms + epsilon * scale)
    return pt.cast(scaled * factor, tensor_var.dtype)


def total_norm_constraint(
    tensor_vars: Sequence[Tensor],
    max_norm: Scalar,
    epsilon: float = 1e-7,
    return_norm: bool = False,
) -> Any:
    """Scale tensors together if the norm of all of them is too large, such as gradients.

    Parameters
    ----------
    tensor_vars : list of expressions
        The tensors.
    max_norm : scalar
        The largest norm that is left as it is.
    epsilon : float
        A small number to prevent a division by zero.
    return_norm : bool
        Whether to return the norm as well.

    Returns
    -------
    list of expressions
        The scaled tensors.
    scalar
        With `return_norm`, the norm of `tensor_vars`.

    Examples
    --------
    >>> import pytensor.tensor as pt
    >>> from lasagne.updates import total_norm_constraint
    >>> grads, norm = total_norm_constraint([pt.matrix(), pt.vector()], 5, return_norm=True)

    References
    ----------
    .. [1] Sutskever, I., Vinyals, O., Le, Q. V. (2014): Sequence to sequence learning with neural
       networks, section 3.4, https://arxiv.org/abs/1409.3215
    """
    _check_numbers("total_norm_constraint", max_norm=max_norm, epsilon=epsilon)
    tensor_vars = [utils.as_theano_expression(tensor) for tensor in tensor_vars]
    scaled_norm, scale = get_total_norm(tensor_vars)
    norm = scaled_norm / scale
    factor = pt.clip(norm, 0, max_norm) / (scaled_norm + epsilon * scale)
    scaled = [pt.cast(tensor * scale * factor, tensor.dtype) for tensor in tensor_vars]
    return (scaled, norm) if return_norm else scaled


def _pack_steps(updates: Updates, params: Iterable[SharedVariable] | None) -> list[Pack]:
    """Return the steps that updates make from `params`, or from all parameters that they update."""
    params = list(updates if params is None else params)
    return pack(params, [updates[param] - param for param in params])


def _step_counter() -> tuple[SharedVariable, Tensor]:
    """Return a counter of steps, and the number of the current step, from 1."""
    steps = pytensor.shared(utils.floatX(0.0))
    return steps, steps + 1


def _moments(updates: OrderedDict, part: Pack, beta1: Scalar, beta2: Scalar) -> tuple:
    """Update the moving averages of gradients and of their squares, and return them."""
    mean, mean_square = part.zeros(), part.zeros()
    updates[mean] = beta1 * mean + (1 - beta1) * part.tensor
    updates[mean_square] = beta2 * mean_square + (1 - beta2) * part.tensor**2
    return updates[mean], updates[mean_square]


def _check_numbers(rule: str, **numbers: Scalar) -> None:
    """Raise an error that names the update rule unless its options are finite numbers or symbolic scalars."""
    for name, value in numbers.items():
        if isinstance(value, Variable):
            if value.type.ndim != 0:  # type: ignore[attr-defined]
                raise TypeError(
                    f"{rule}: {name} must be a scalar, not {value} of type {value.type}"
                )
            continue
        number = np.asarray(value)
        if number.ndim or number.dtype.kind not in "fiu":
            raise TypeError(f"{rule}: {name} must be a number or a symbolic scalar, not {value!r}")
        if not np.isfinite(number):
            raise ValueError(f"{rule}: {name} must be a finite number, not {value}")
        if name in ("rho", "beta1", "beta2") and not 0 <= number < 1:
            raise ValueError(f"{rule}: {name} must be at least 0 and less than 1, not {value}")
        if name == "epsilon" and number < 0:
            raise ValueError(f"{rule}: epsilon must not be negative, not {value}")
        if name == "max_norm" and number <= 0:
            raise ValueError(f"{rule}: max_norm must be positive, not {value}")


def _keep_dtypes(updates: Updates) -> OrderedDict:
    """Cast the updates of floating point variables, so that float32 is not updated with float64."""
    return OrderedDict(
        (variable, pt.cast(new, variable.dtype) if utils.is_float(variable) else new)
        for variable, new in updates.items()
    )
