r"""Losses and accuracies: expressions of predictions and targets, one value per item.

:func:`aggregate` turns the values of the items into a scalar that can be minimised:

>>> import pytensor.tensor as pt
>>> from lasagne.objectives import aggregate, squared_error
>>> predictions, targets, weights = pt.matrix(), pt.matrix(), pt.matrix()
>>> loss = aggregate(squared_error(predictions, targets), weights, mode="normalized_sum")

The losses of probabilities look for the sigmoid or the softmax behind `predictions` when the graph is
built, through reshapes, slices, transpositions, concatenations and casts, and are computed from what the sigmoid or the
softmax was applied to, the logits. Value and gradient are then exact and finite for all finite logits, in
float32 too, on every back end; where a loss would be larger than the largest number, it is the largest
number. A probability that comes from elsewhere (from a product, from :func:`pytensor.tensor.clip`, out
of a loop) is used as it is: if it reaches 0 or 1, the loss may be infinite or NaN.

As the loss is an expression of the logits, it cannot be differentiated with respect to `predictions`
themselves; give ``1 * predictions`` to have them used as they are.
"""

import warnings

import numpy as np
import pytensor.tensor as pt
from pytensor.raise_op import CheckAndRaise

from ._logits import double, find_half_minus_log, find_log_odds
from .nonlinearities import rectify
from .typing import Tensor, TensorLike
from .utils import as_theano_expression

__all__ = [
    "aggregate",
    "align_targets",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_hinge_loss",
    "categorical_accuracy",
    "categorical_crossentropy",
    "huber_loss",
    "multiclass_hinge_loss",
    "squared_error",
]

_check_classes = CheckAndRaise(
    IndexError, "a target class is negative or not less than the number of classes"
)


def binary_crossentropy(predictions: Tensor, targets: Tensor) -> Tensor:
    r"""Binary cross-entropy, :math:`L = -t \log(p) - (1 - t) \log(1 - p)`.

    Parameters
    ----------
    predictions : tensor
        Probabilities in (0, 1), such as the output of a sigmoid.
    targets : tensor
        Probabilities in [0, 1], of the same shape.

    Returns
    -------
    tensor
        The loss, elementwise; exact and finite for the output of a sigmoid or a softmax, even where it is
        0 or 1 in the numbers at hand.
    """
    predictions, targets = align_targets(predictions, targets)
    odds = find_log_odds(predictions)
    if odds is None:
        return -(targets * pt.log(predictions) + (1 - targets) * pt.log1p(-predictions))
    return targets * pt.softplus(-odds) + (1 - targets) * pt.softplus(odds)


def categorical_crossentropy(predictions: Tensor, targets: Tensor) -> Tensor:
    r"""Categorical cross-entropy, :math:`L_i = -\sum_j t_{ij} \log(p_{ij})`.

    Parameters
    ----------
    predictions : matrix
        Probabilities, one row per item, such as the output of a softmax.
    targets : matrix or vector of int
        A row of probabilities, or the index of the correct class, for each item.

    Returns
    -------
    vector
        The loss of each item; exact and finite for the output of a softmax or a sigmoid, even where it is
        0 or 1 in the numbers at hand.

    Raises
    ------
    TypeError
        If the numbers of dimensions do not fit together, or the indices are no integers.

    Notes
    -----
    An index that is negative or too large raises an :class:`IndexError` when the function is called. JAX
    cannot raise one: there the loss of that item, and its gradient, are NaN.
    """
    predictions, targets = map(as_theano_expression, (predictions, targets))
    halves = find_half_minus_log(predictions)
    if targets.ndim != predictions.ndim:
        return (
            -pt.log(_pick(predictions, targets))
            if halves is None
            else double(_pick(halves, targets))
        )
    if halves is None:
        return -pt.sum(targets * pt.log(predictions), axis=-1)
    # A class that is ruled out by a logit of minus infinity
    hidden = pt.eq(targets, 0) & pt.isinf(halves)
    return double(pt.sum(pt.switch(hidden, 0, targets * halves), axis=-1))


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    r"""Squared error, :math:`L = (p - t)^2`.

    Parameters
    ----------
    a, b : tensor
        The predictions and the targets, of the same shape.

    Returns
    -------
    tensor
        The loss, elementwise.
    """
    a, b = align_targets(a, b)
    return (a - b) ** 2


def huber_loss(predictions: Tensor, targets: Tensor, delta: float = 1) -> Tensor:
    r"""Huber loss: quadratic for small errors, linear for large ones.

    :math:`L = \frac{1}{2} (p - t)^2` if :math:`|p - t| \le \delta`, otherwise
    :math:`L = \delta (|p - t| - \frac{\delta}{2})`.

    Parameters
    ----------
    predictions, targets : tensor
        Of the same shape.
    delta : scalar
        The error :math:`\delta` at which the loss becomes linear.

    Returns
    -------
    tensor
        The loss, elementwise.

    References
    ----------
    .. [1] Huber, P. J. (1964): Robust estimation of a location parameter. Annals of Mathematical
       Statistics 35.
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, not {delta}")
    predictions, targets = align_targets(predictions, targets)
    error = abs(predictions - targets)
    return pt.switch(pt.le(error, delta), 0.5 * error**2, delta * (error - 0.5 * delta))


def aggregate(loss: Tensor, weights: TensorLike | None = None, mode: str = "mean") -> Tensor:
    """Aggregate the losses of the items to a scalar.

    Parameters
    ----------
    loss : tensor
        The loss of each item, or elementwise.
    weights : tensor, optional
        A weight for each item, which broadcasts against `loss`; zeros mask items, even those whose
        loss is NaN or infinite.
    mode : {'mean', 'sum', 'normalized_sum'}
        ``'mean'`` divides the weighted sum by the number of items, ``'normalized_sum'`` by the sum
        of the weights, ``'sum'`` does not divide.

    Returns
    -------
    scalar
        The loss.

    Raises
    ------
    ValueError
        For another mode, and for ``'normalized_sum'`` without weights.

    Notes
    -----
    No gradient goes from here into a masked loss that is NaN or infinite. But what computes that
    loss may multiply the gradient of zero by NaN or infinity. Where predictions or targets of
    masked items may be NaN, replace them before the loss is computed:
    ``squared_error(predictions, hide_masked(targets, mask))``, with
    :func:`lasagne.utils.hide_masked`.
    """
    loss = as_theano_expression(loss)
    if weights is not None:
        # A loss that is finite keeps its part in the gradient of the weights
        hidden = pt.eq(weights, 0) & (pt.isnan(loss) | pt.isinf(loss))
        loss = pt.switch(hidden, np.zeros((), loss.dtype), loss) * weights
    if mode == "mean":
        return pt.mean(loss)
    if mode == "sum":
        return pt.sum(loss)
    if mode == "normalized_sum":
        if weights is None:
            raise ValueError("require weights for mode='normalized_sum'")
        return pt.sum(loss) / pt.sum(weights)
    raise ValueError(f"mode must be 'mean', 'sum' or 'normalized_sum', got {mode!r}")


def binary_hinge_loss(
    predictions: Tensor,
    targets: Tensor,
    delta: float = 1,
    log_odds: bool | None = None,
    binary: bool = True,
) -> Tensor:
    r"""Binary hinge loss, :math:`L = \max(0, \delta - t p)` with :math:`t` in {-1, 1}.

    Parameters
    ----------
    predictions : tensor
        Log-odds, or probabilities in (0, 1) with ``log_odds=False``; those of a sigmoid are taken back to
        what it was applied to.
    targets : tensor
        In {0, 1}, or in {-1, 1} with ``binary=False``; of the same shape.
    delta : scalar
        The margin :math:`\delta`.
    log_odds : bool, optional
        Whether `predictions` are log-odds. If omitted they are, with a warning, because Lasagne
        announced another default.
    binary : bool
        Whether `targets` are in {0, 1}.

    Returns
    -------
    tensor
        The loss, elementwise.

    Warns
    -----
    FutureWarning
        If `log_odds` is omitted.
    """
    if log_odds is None:
        warnings.warn(
            "The default of log_odds in binary_hinge_loss will become False. Give log_odds=True if "
            "the predictions are log-odds, log_odds=False if they are probabilities.",
            FutureWarning,
            stacklevel=2,
        )
        log_odds = True
    predictions, targets = align_targets(predictions, targets)
    if not log_odds:
        odds = find_log_odds(predictions)
        predictions = pt.log(predictions / (1 - predictions)) if odds is None else odds
    if binary:
        targets = 2 * targets - 1
    return rectify(delta - predictions * targets)


def multiclass_hinge_loss(predictions: Tensor, targets: Tensor, delta: float = 1) -> Tensor:
    r"""Multi-class hinge loss.

    :math:`L_i = \max(0, \max_{j \not= t_i} p_{ij} - p_{i,t_i} + \delta)`

    Parameters
    ----------
    predictions : matrix
        Scores, one row per item.
    targets : matrix or vector of int
        A one-hot row, or the index of the correct class, for each item.
    delta : scalar
        The margin :math:`\delta`.

    Returns
    -------
    vector
        The loss of each item.

    Raises
    ------
    TypeError
        If the numbers of dimensions do not fit together, or the indices are no integers.

    Notes
    -----
    An index of no class is an error, or NaN, as in :func:`categorical_crossentropy`.
    """
    predictions, targets = map(as_theano_expression, (predictions, targets))
    if targets.ndim == predictions.ndim:
        correct = pt.neq(targets, 0)
        score = pt.sum(pt.switch(correct, predictions, 0), axis=-1)
    else:
        score = _pick(predictions, targets)
        correct = pt.eq(targets[..., None], pt.arange(_number_of_classes(predictions)))
    excluded = np.asarray(-np.inf, dtype=predictions.dtype)
    best_other = pt.max(pt.switch(correct, excluded, predictions), axis=-1)
    return rectify(best_other - score + delta)


def binary_accuracy(predictions: Tensor, targets: Tensor, threshold: float = 0.5) -> Tensor:
    """Binary accuracy: whether a prediction is on the side of the threshold that the target tells.

    Parameters
    ----------
    predictions : tensor
        Probabilities in [0, 1].
    targets : tensor
        In {0, 1}, of the same shape.
    threshold : scalar
        Predictions of at least this are taken as 1.

    Returns
    -------
    tensor
        1 where prediction and target agree, 0 elsewhere.
    """
    predictions, targets = align_targets(predictions, targets)
    return pt.eq(pt.ge(predictions, threshold), targets)


def categorical_accuracy(predictions: Tensor, targets: Tensor, top_k: int = 1) -> Tensor:
    """Categorical accuracy: whether the correct class is among the `top_k` predicted ones.

    Parameters
    ----------
    predictions : matrix
        Scores or probabilities, one row per item.
    targets : matrix or vector of int
        A one-hot row, or the index of the correct class, for each item.
    top_k : int
        How many of the best classes count.

    Returns
    -------
    vector
        1 where the prediction is correct, 0 elsewhere.

    Raises
    ------
    TypeError
        If the numbers of dimensions do not fit together.
    """
    predictions, targets = map(as_theano_expression, (predictions, targets))
    if targets.ndim == predictions.ndim:
        targets = pt.argmax(targets, axis=-1)
    else:
        _check_rank(predictions, targets)
    if not isinstance(top_k, int | np.integer) or isinstance(top_k, bool) or top_k < 1:
        raise ValueError(f"categorical_accuracy: top_k must be a positive integer, not {top_k!r}")
    classes = predictions.type.shape[-1]
    if classes is not None and top_k > classes:
        raise ValueError(f"categorical_accuracy: top_k={top_k}, but there are {classes} classes")
    if top_k == 1:
        return pt.eq(pt.argmax(predictions, axis=-1), targets)
    best = pt.argsort(predictions, axis=-1)[..., -top_k:]
    return pt.any(pt.eq(best, targets[..., None]), axis=-1)


def align_targets(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Make a column of a vector of targets if the predictions are a column.

    A layer of a single unit and a vector of targets then work together as one expects, where the
    vector would broadcast against the column to a matrix.

    Parameters
    ----------
    predictions : tensor
        The predictions. They are a column if their static shape is ``(None, 1)``.
    targets : tensor
        The targets.

    Returns
    -------
    predictions, targets : tensor
        Both as expressions, with targets of shape ``(B,)`` as a column ``(B, 1)`` if the
        predictions are a column.
    """
    predictions, targets = map(as_theano_expression, (predictions, targets))
    if predictions.type.broadcastable == (False, True) and targets.ndim == 1:
        targets = targets.dimshuffle(0, "x")
    return predictions, targets


def _check_rank(predictions: Tensor, targets: Tensor) -> None:
    if targets.ndim != predictions.ndim - 1:
        raise TypeError(
            "rank mismatch between predictions and targets: targets must have as many dimensions "
            f"as predictions or one less, got {targets.ndim} and {predictions.ndim}"
        )


def _pick(values: Tensor, targets: Tensor) -> Tensor:
    """Return for each item the value of its target class.

    A class that does not exist raises an error; on JAX, which cannot raise one, value and gradient are NaN.
    """
    _check_rank(values, targets)
    if not targets.dtype.startswith(("int", "uint")):
        raise TypeError(f"targets must be integers to be indices of classes, got {targets.dtype}")
    index = pt.cast(targets, "int64")
    exists = pt.ge(index, 0) & pt.lt(index, _number_of_classes(values))
    index = pt.switch(exists, _check_classes(index, pt.all(exists)), 0)
    picked = pt.take_along_axis(values, index[..., None], axis=-1)[..., 0]
    return picked * pt.switch(exists, np.asarray(1, values.dtype), np.asarray(np.nan, values.dtype))


def _number_of_classes(predictions: Tensor) -> Tensor:
    classes = predictions.type.shape[-1]
    return predictions.shape[-1] if classes is None else classes
