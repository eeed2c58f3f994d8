"""The update rule that Neural Turing Machines are commonly trained with."""

from collections import OrderedDict

import pytensor.tensor as pt

from lasagne.packing import pack
from lasagne.updates import get_or_compute_grads


def graves_rmsprop(loss_or_grads, params, learning_rate=1e-4, chi=0.95, alpha=0.9, epsilon=1e-4):
    r"""RMSProp in Graves' form, with a momentum, as ntm-lasagne computes it.

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

    Notes
    -----
    Graves divides by :math:`\sqrt{n - g'^2 + \epsilon}`; the sum is what ntm-lasagne 0.3 and the models it published
    were trained with. :func:`centered_rmsprop` is Graves' own.

    References
    ----------
    Graves 2013, Generating sequences with recurrent neural networks, equations 38 to 45.
    """
    return _graves(loss_or_grads, params, learning_rate, chi, alpha, epsilon, sign=1.0)


def centered_rmsprop(loss_or_grads, params, learning_rate=1e-4, chi=0.95, alpha=0.9, epsilon=1e-4):
    r"""RMSProp by the gradient's standard deviation, with a momentum, as in Graves' paper.

    As :func:`graves_rmsprop`, with :math:`\sqrt{n - g'^2 + \epsilon}`. Parameters and returned value are the same.

    References
    ----------
    Graves 2013, Generating sequences with recurrent neural networks, equations 38 to 45.
    """
    return _graves(loss_or_grads, params, learning_rate, chi, alpha, epsilon, sign=-1.0)


def _graves(loss_or_grads, params, learning_rate, chi, alpha, epsilon, sign):
    updates = OrderedDict()
    params = list(params)
    for part in pack(params, get_or_compute_grads(loss_or_grads, params)):
        grad = part.tensor
        square, mean, delta = (part.zeros() for _ in range(3))
        updates[square] = chi * square + (1.0 - chi) * grad**2
        updates[mean] = chi * mean + (1.0 - chi) * grad
        variance = updates[square] + sign * updates[mean] ** 2
        # The difference of two equal squares may round to less than zero
        deviation = pt.sqrt(pt.maximum(variance, 0) + epsilon)
        updates[delta] = alpha * delta - learning_rate * grad / deviation
        updates.update(part.add(updates[delta]))
    return updates
