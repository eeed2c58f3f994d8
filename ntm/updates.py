"""The update rules that Neural Turing Machines are commonly trained with."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from lasagne.packing import pack
from lasagne.updates import get_or_compute_grads
from ntm.arguments import is_number
from ntm.typing import Scalar, Tensor

__all__ = ["centered_rmsprop", "graves_rmsprop"]


def graves_rmsprop(
    loss_or_grads: Tensor | Sequence[Tensor],
    params: Iterable[SharedVariable],
    learning_rate: Scalar = 1e-4,
    chi: Scalar = 0.95,
    alpha: Scalar = 0.9,
    epsilon: Scalar = 1e-4,
) -> OrderedDict:
    r"""Return the updates of RMSProp in Graves' form, with a momentum, as ntm-lasagne computes them.

    .. math::
        n &\leftarrow \chi n + (1 - \chi) g^2 \\
        g' &\leftarrow \chi g' + (1 - \chi) g \\
        \Delta &\leftarrow \alpha \Delta - \eta g / \sqrt{n + g'^2 + \epsilon} \\
        \theta &\leftarrow \theta + \Delta

    Parameters
    ----------
    loss_or_grads : scalar expression, or list of expressions
    params : list of shared variables
    learning_rate : float or scalar expression
        :math:`\eta`.
    chi : float or scalar expression
        Decay of the averages.
    alpha : float or scalar expression
        Momentum.
    epsilon : float or scalar expression

    Returns
    -------
    OrderedDict from shared variable to its new value

    Raises
    ------
    TypeError
        If a setting is neither a number nor an expression.
    ValueError
        If a setting is a number that is not finite.

    Notes
    -----
    Graves divides by :math:`\sqrt{n - g'^2 + \epsilon}`; the sum is what ntm-lasagne 0.3 and the models it published
    were trained with. :func:`centered_rmsprop` is Graves' own.

    References
    ----------
    Graves 2013, Generating sequences with recurrent neural networks, equations 38 to 45.
    """
    return _graves(loss_or_grads, params, learning_rate, chi, alpha, epsilon, sign=1.0)


def centered_rmsprop(
    loss_or_grads: Tensor | Sequence[Tensor],
    params: Iterable[SharedVariable],
    learning_rate: Scalar = 1e-4,
    chi: Scalar = 0.95,
    alpha: Scalar = 0.9,
    epsilon: Scalar = 1e-4,
) -> OrderedDict:
    r"""Return the updates of RMSProp by the gradient's standard deviation, with a momentum, as in Graves' paper.

    It is :func:`graves_rmsprop` with :math:`\sqrt{n - g'^2 + \epsilon}`. Parameters and returned value are the same.

    References
    ----------
    Graves 2013, Generating sequences with recurrent neural networks, equations 38 to 45.
    """
    return _graves(loss_or_grads, params, learning_rate, chi, alpha, epsilon, sign=-1.0)


def _graves(
    loss_or_grads: Tensor | Sequence[Tensor],
    params: Iterable[SharedVariable],
    learning_rate: Scalar,
    chi: Scalar,
    alpha: Scalar,
    epsilon: Scalar,
    sign: float,
) -> OrderedDict:
    """Return the updates of both rules: `sign` is that of the squared mean under the root."""
    settings = {"learning_rate": learning_rate, "chi": chi, "alpha": alpha, "epsilon": epsilon}
    for name, value in settings.items():
        if not (is_number(value) or isinstance(value, Variable | np.ndarray)):
            raise TypeError(f"{name} must be a number or a scalar expression, not {value!r}")
        if isinstance(value, float | np.floating) and not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, not {value!r}")
    updates = OrderedDict()
    params = list(params)
    for part in pack(params, get_or_compute_grads(loss_or_grads, params)):
        grad = part.tensor
        averages: list[Any] = [part.zeros() for _ in range(3)]
        square, mean, delta = averages
        updates[square] = chi * square + (1.0 - chi) * grad**2
        updates[mean] = chi * mean + (1.0 - chi) * grad
        variance = updates[square] + sign * updates[mean] ** 2
        # The difference of two equal squares may round to less than zero
        deviation = pt.sqrt(pt.maximum(variance, 0) + epsilon)
        updates[delta] = alpha * delta - learning_rate * grad / deviation
        updates.update(part.add(updates[delta]))
    return updates
