"""The logits behind probabilities: what the sigmoid or the softmax that made them was applied to.

In float32 a sigmoid is 1 from a logit of 17 on, and the logarithm of a probability then says nothing, or
is infinite. The logarithm of a sigmoid or a softmax is exact when it is computed from the logits. So the
losses look for the logits when the graph is built, which helps on every back end.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedGrad, ZeroGrad, disconnected_grad
from pytensor.graph.basic import Variable
from pytensor.graph.op import Op
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import Add, Cast, Exp, Identity, Neg, Sigmoid, Sub, TrueDiv
from pytensor.tensor import subtensor
from pytensor.tensor.basic import Alloc, Join, get_underlying_scalar_constant_value
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.math import Sum
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, SpecifyShape
from pytensor.tensor.special import LogSoftmax, Softmax

from .typing import Tensor

# Operations that move, repeat or leave out the numbers of their first input and compute none
_MOVES = (
    Alloc,
    CheckAndRaise,
    DimShuffle,
    DisconnectedGrad,
    JoinDims,
    Reshape,
    SpecifyShape,
    SplitDims,
    ZeroGrad,
    subtensor.Subtensor,
    subtensor.AdvancedSubtensor,
    *([subtensor.AdvancedSubtensor1] if hasattr(subtensor, "AdvancedSubtensor1") else []),
)


def find_half_minus_log(probability: Variable) -> Tensor | None:
    """Return ``-log(p) / 2`` if `p` is the output of a sigmoid or a softmax, else ``None``.

    Half of the difference of two finite logits is finite, the difference may overflow; see :func:`double`.
    """
    return _replace_source(probability, _half_minus_log_of_source)


def find_log_odds(probability: Variable) -> Tensor | None:
    """Return ``log(p / (1 - p))`` if `p` is the output of a sigmoid or a softmax, else ``None``."""
    return _replace_source(probability, _log_odds_of_source)


def double(half: Tensor) -> Tensor:
    """Return ``2 * half``; where that would overflow the largest number, with the same gradient."""
    excess = disconnected_grad(pt.maximum(half - np.finfo(half.dtype).max / 2, 0))
    return 2 * pt.switch(pt.isinf(half), half, half - excess)


def _replace_source(variable: Variable, convert: Callable) -> Tensor | None:
    """Convert the output of a sigmoid or a softmax, and move the result as the output was moved.

    ``None`` unless `variable` is such an output whose numbers were only moved. `convert` gives ``None``
    for all other variables.
    """
    result = convert(variable)
    if result is not None or variable.owner is None:
        return result
    op: Any = variable.owner.op
    inputs = variable.owner.inputs
    if isinstance(op, _MOVES) or _is_copy(op, inputs):
        moved = _replace_source(inputs[0], convert)
        return None if moved is None else op(moved, *inputs[1:])
    if isinstance(op, Join):
        # The axis is an input in PyTensor 3.0 and belongs to the op in later versions
        axis = [each for each in inputs if each.type.dtype.startswith("int")]
        parts = [_replace_source(each, convert) for each in inputs[len(axis) :]]
        return None if any(part is None for part in parts) else op(*axis, *parts)  # type: ignore[return-value]
    return None


def _half_minus_log_of_source(variable: Variable) -> Tensor | None:
    softmax = _match_softmax(variable)
    if softmax is not None:
        return _along_one_axis(_half_minus_log_softmax, *softmax)
    odds = _log_odds_of_source(variable)
    return None if odds is None else 0.5 * pt.softplus(-odds)


def _log_odds_of_source(variable: Variable) -> Tensor | None:
    softmax = _match_softmax(variable)
    if softmax is not None:
        return _along_one_axis(_log_odds_of_softmax, *softmax)
    complement = match_complement(variable)
    if complement is not None:
        odds = find_log_odds(complement)
        return None if odds is None else -odds
    return _match_sigmoid(variable)


# ---- Where probabilities come from


def match(variable: Variable | None, scalar_op: type) -> list[Any] | None:
    """Return the inputs if the variable was computed elementwise by this kind of operation."""
    node = None if variable is None else variable.owner
    if node is None or not isinstance(node.op, Elemwise):
        return None
    return node.inputs if isinstance(node.op.scalar_op, scalar_op) else None


def _is_copy(op: Op, inputs: list[Variable]) -> bool:
    return (
        isinstance(op, Elemwise)
        and isinstance(op.scalar_op, Cast | Identity)
        and inputs[0].type.dtype.startswith("float")
    )


def _is_one(variable: Variable) -> bool:
    value = get_underlying_scalar_constant_value(variable, raise_not_constant=False)
    return not isinstance(value, Variable) and bool(value == 1)


def match_complement(variable: Variable) -> Tensor | None:
    """Return `p` of ``1 - p`` and ``1 + (-p)``."""
    parts = match(variable, Sub)
    if parts is not None and _is_one(parts[0]):
        return parts[1]
    negated = match(_match_one_plus(variable), Neg)
    return None if negated is None else negated[0]


def match_one_plus_exp(variable: Variable) -> Tensor | None:
    """Return `x` of ``1 + exp(x)``."""
    power = match(_match_one_plus(variable), Exp)
    return None if power is None else power[0]


def _match_one_plus(variable: Variable) -> Tensor | None:
    parts = match(variable, Add) or []
    terms = [each for each in parts if not _is_one(each)]
    return terms[0] if len(parts) == 2 and len(terms) == 1 else None


def _match_sigmoid(variable: Variable) -> Tensor | None:
    """Return `x` of ``sigmoid(x)`` and of ``1 / (1 + exp(-x))``."""
    parts = match(variable, Sigmoid)
    if parts is not None:
        return parts[0]
    parts = match(variable, TrueDiv)
    if parts is None or not _is_one(parts[0]):
        return None
    power = match_one_plus_exp(parts[1])
    negated = match(power, Neg)
    if negated is not None:
        return negated[0]
    return None if power is None else -power


def _match_softmax(variable: Any) -> tuple[Any, tuple[int, ...]] | None:
    """Return `x` and the axes of ``softmax(x)``, also if written by hand, or as ``exp(log_softmax(x))``."""
    node = variable.owner
    power = match(variable, Exp)
    log_softmax = None if power is None else power[0].owner
    if log_softmax is not None and isinstance(log_softmax.op, LogSoftmax):
        return log_softmax.inputs[0], _axes_of(log_softmax.op.axis, variable)
    if node is not None and isinstance(node.op, Softmax):
        return node.inputs[0], _axes_of(node.op.axis, variable)
    parts = match(variable, TrueDiv)
    power = None if parts is None else match(parts[0], Exp)
    if parts is None or power is None:
        return None
    # The sum of the same exponentials, its axes kept
    kept = parts[1].owner
    if kept is None or not isinstance(kept.op, DimShuffle):
        return None
    total = kept.inputs[0].owner
    summed = (
        match(total.inputs[0], Exp) if total is not None and isinstance(total.op, Sum) else None
    )
    if summed is None or summed[0] is not power[0]:
        return None
    axes = _axes_of(total.op.axis, variable)
    places = iter(range(variable.ndim))
    order = tuple("x" if axis in axes else next(places) for axis in range(variable.ndim))
    return (power[0], axes) if kept.op.new_order == order else None


def _axes_of(axis: Sequence[int] | None, variable: Tensor) -> tuple[int, ...]:
    axes = range(variable.ndim) if axis is None else axis
    return tuple(each % variable.ndim for each in axes)


# ---- What they are computed from


def _along_one_axis(function: Callable, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Apply a function over the last axis to all numbers along some axes."""
    if axes == (x.ndim - 1,):
        return function(x)
    others = [axis for axis in range(x.ndim) if axis not in axes]
    order = [*others, *axes]
    last = x.transpose(*order)
    shape = last.shape
    joined = last.reshape((*(shape[k] for k in range(len(others))), -1), ndim=len(others) + 1)
    back = function(joined).reshape(shape, ndim=x.ndim)
    return back.transpose(*np.argsort(order).tolist())


def _half_minus_log_softmax(x: Tensor) -> Tensor:
    """Return ``-log(softmax(x)) / 2`` over the last axis.

    The largest logit is taken out of the sum, where it would hide the others: the logarithm of a
    probability near one is exact, and so is its gradient.
    """
    is_largest = _find_largest(x)
    half_behind = _get_half_behind(x, is_largest)
    return half_behind + 0.5 * pt.log1p(_exp(half_behind, is_largest).sum(axis=-1, keepdims=True))


def _log_odds_of_softmax(x: Tensor) -> Tensor:
    """Return ``log(p / (1 - p))`` of ``p = softmax(x)`` over the last axis: `x` less the others' log-sum-exp."""
    is_largest = _find_largest(x)
    half_behind = _get_half_behind(x, is_largest)
    powers = _exp(half_behind, is_largest)
    of_smaller = double(half_behind) + pt.log1p(powers.sum(axis=-1, keepdims=True) - powers)
    # Whatever number is taken out of this sum, its logarithm is the same
    others = pt.switch(is_largest, np.asarray(-np.inf, x.dtype), x)
    second = disconnected_grad(others.max(axis=-1, keepdims=True))
    below = pt.switch(is_largest, 0, x - second)
    rest = pt.switch(is_largest, 0, pt.exp(below)).sum(axis=-1, keepdims=True)
    ahead = double(0.5 * pt.switch(is_largest, x, second) - 0.5 * second)
    return pt.switch(is_largest, ahead - pt.log(rest), -of_smaller)


def _find_largest(x: Tensor) -> Tensor:
    """Mark the largest number along the last axis, the first of equals."""
    length = x.type.shape[-1]
    places = pt.arange(x.shape[-1] if length is None else length)
    return pt.eq(places, pt.argmax(x, axis=-1)[..., None])


def _get_half_behind(x: Tensor, is_largest: Tensor) -> Tensor:
    """Half of how far each number is below the largest."""
    largest = pt.switch(is_largest, x, 0).sum(axis=-1, keepdims=True)
    return pt.switch(is_largest, 0, 0.5 * largest - 0.5 * x)


def _exp(half_behind: Tensor, is_largest: Tensor) -> Tensor:
    """Return the exponential of each number less the largest; that of the largest itself is zero instead of one."""
    return pt.switch(is_largest, 0, pt.exp(-2 * half_behind))
