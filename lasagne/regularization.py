"""Penalties on the parameters of layers and networks, to be added to a loss."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from .layers import Layer, get_all_params
from .typing import Layers, Scalar, Tensor

__all__ = [
    "apply_penalty",
    "l1",
    "l2",
    "regularize_layer_params",
    "regularize_layer_params_weighted",
    "regularize_network_params",
]

_REGULARIZABLE = {"regularizable": True}


def l1(x: Tensor) -> Tensor:
    r"""L1 norm, :math:`\sum_i |x_i|`.

    Parameters
    ----------
    x : tensor
        Of any shape.

    Returns
    -------
    scalar
        The sum of the absolute values.
    """
    return pt.sum(abs(x))


def l2(x: Tensor) -> Tensor:
    r"""Squared L2 norm, :math:`\sum_i x_i^2`.

    Parameters
    ----------
    x : tensor
        Of any shape.

    Returns
    -------
    scalar
        The sum of the squares.
    """
    return pt.sum(x**2)


def apply_penalty(
    tensor_or_tensors: Variable | Iterable[Variable], penalty: Callable, **kwargs: Any
) -> Tensor:
    """Compute the total penalty of one or several tensors.

    Parameters
    ----------
    tensor_or_tensors : tensor or iterable of tensors
        What the penalty is computed for.
    penalty : callable
        A function of a tensor that returns a scalar, such as :func:`l2`.
    **kwargs
        Passed to `penalty`.

    Returns
    -------
    scalar
        The sum of the penalties, 0 if there are no tensors.
    """
    if isinstance(tensor_or_tensors, Variable) or not isinstance(tensor_or_tensors, Iterable):
        return penalty(tensor_or_tensors, **kwargs)
    return sum(penalty(each, **kwargs) for each in tensor_or_tensors)


def regularize_layer_params(
    layer: Layers,
    penalty: Callable,
    tags: Mapping[str, bool] = _REGULARIZABLE,
    **kwargs: Any,
) -> Tensor:
    """Compute the penalty of the parameters of one or several layers.

    Parameters
    ----------
    layer : :class:`Layer` or iterable of these
        The layers; not those below them.
    penalty : callable
        A function of a tensor that returns a scalar, such as :func:`l2`.
    tags : dict
        The tags of the parameters to penalise, see :meth:`Layer.get_params`.
    **kwargs
        Passed to `penalty`.

    Returns
    -------
    scalar
        The sum of the penalties.
    """
    layers = layer if isinstance(layer, Iterable) else [layer]
    params = [param for each in layers for param in each.get_params(**tags)]  # type: ignore[union-attr]
    return apply_penalty(params, penalty, **kwargs)


def regularize_layer_params_weighted(
    layers: Mapping[Layer, Scalar],
    penalty: Callable,
    tags: Mapping[str, bool] = _REGULARIZABLE,
    **kwargs: Any,
) -> Tensor:
    """Compute the penalty of the parameters of several layers, with a coefficient for each layer.

    Parameters
    ----------
    layers : dict of :class:`Layer` to number or scalar
        The layers and their coefficients.
    penalty : callable
        A function of a tensor that returns a scalar, such as :func:`l2`.
    tags : dict
        The tags of the parameters to penalise, see :meth:`Layer.get_params`.
    **kwargs
        Passed to `penalty`.

    Returns
    -------
    scalar
        The sum of the penalties, each times the coefficient of its layer.
    """
    return sum(
        coefficient * apply_penalty(layer.get_params(**tags), penalty, **kwargs)
        for layer, coefficient in layers.items()
    )


def regularize_network_params(
    layer: Layers,
    penalty: Callable,
    tags: Mapping[str, bool] = _REGULARIZABLE,
    **kwargs: Any,
) -> Tensor:
    """Compute the penalty of the parameters of all layers of a network.

    Parameters
    ----------
    layer : :class:`Layer` or iterable of these
        The top of the network.
    penalty : callable
        A function of a tensor that returns a scalar, such as :func:`l2`.
    tags : dict
        The tags of the parameters to penalise, see :meth:`Layer.get_params`.
    **kwargs
        Passed to `penalty`.

    Returns
    -------
    scalar
        The sum of the penalties.
    """
    return apply_penalty(get_all_params(layer, **tags), penalty, **kwargs)
