"""Parameters in the layouts of the original ntm-lasagne's files."""

from collections.abc import Sequence

import numpy as np
import pytensor.tensor as pt

from lasagne.layers import get_all_layers, get_all_params, set_all_param_values
from lasagne.nonlinearities import tanh
from ntm.arguments import describe
from ntm.controllers import GRUController, LSTMController
from ntm.layers.ntm import NTMLayer
from ntm.typing import ArrayLike, Layers

__all__ = ["set_first_layout_values", "set_later_layout_values"]


def set_first_layout_values(layer_or_layers: Layers, values: Sequence[ArrayLike]) -> None:
    """Set all parameters from a list in the layout of ntm-lasagne 0.3.

    That layout is the order of `lasagne.layers.get_all_params`. Unlike `lasagne.layers.set_all_param_values`, this
    function checks that each controller computes what the controller of the same class computes in ntm-lasagne.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
        The output layer or layers of the network.
    values : list of arrays
        One for each parameter.

    Raises
    ------
    ValueError
        If the number of values or the shape of a value does not fit the network, or a controller has another equation
        than in ntm-lasagne.
    """
    _check_equations(layer_or_layers)
    set_all_param_values(layer_or_layers, values)


def _check_equations(layer_or_layers: Layers) -> None:
    """Raise a `ValueError` if a controller computes something else than the same class in ntm-lasagne."""
    for layer in get_all_layers(layer_or_layers):
        if not isinstance(layer, NTMLayer):
            continue
        controller = layer.controller
        label = describe(type(controller).__name__, controller.name)
        if isinstance(controller, GRUController) and controller.equation != "ntm-lasagne":
            raise ValueError(
                f"{label}: ntm-lasagne's GRU has another equation; make the controller with "
                f"equation='ntm-lasagne', not {controller.equation!r}"
            )
        has_tanh = isinstance(controller, GRUController | LSTMController)
        if has_tanh and controller.nonlinearity not in (tanh, pt.tanh):
            raise ValueError(
                f"{label}: ntm-lasagne's nonlinearity is always tanh; make the controller with "
                f"nonlinearity=tanh, not {controller.nonlinearity!r}"
            )


def set_later_layout_values(layer_or_layers: Layers, values: Sequence[ArrayLike]) -> None:
    """Set all parameters from a list in the layout of ntm-lasagne's development version.

    In that layout the weights and biases of a head have a leading axis of one, and `weights_init` follows gamma instead
    of preceding the key. Arguments and errors are those of :func:`set_first_layout_values`.
    """
    _check_equations(layer_or_layers)
    params = get_all_params(layer_or_layers)
    heads = [
        head
        for layer in get_all_layers(layer_or_layers)
        if isinstance(layer, NTMLayer)
        for head in layer.heads
    ]
    file_order = list(params)
    for head in heads:
        own = [param for param in params if param in head.get_params()]
        if head.weights_init not in own:  # an expression: no file holds a value for it
            continue
        later = [param for param in own if param is not head.weights_init]
        last_of_gamma = max(later.index(p) for p in head.gamma.get_params())
        later.insert(last_of_gamma + 1, head.weights_init)
        start = file_order.index(own[0])
        file_order[start : start + len(own)] = later
    if len(values) != len(params):
        raise ValueError(f"got {len(values)} values, but the network has {len(params)} parameters")
    dense = {param for head in heads for layer in head.layers for param in layer.get_params()}
    by_param = {}
    for param, value in zip(file_order, values, strict=True):
        value = np.asarray(value)
        shape = param.get_value(borrow=True).shape
        if param in dense and value.shape == (1, *shape):
            value = value[0]
        by_param[param] = value
    set_all_param_values(layer_or_layers, [by_param[param] for param in params])
