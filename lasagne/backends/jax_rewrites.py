"""Logarithms that users write by hand, made exact: for JAX, whose mode leaves out PyTensor's own rewrites for that.

A gradient is taken before they run, and that of a logarithm divides by the probability. Where the probability itself
follows as a factor, the two cancel; where it was moved in between, as by an index, the gradient stays NaN if the
probability is 0 in the numbers at hand. See :func:`ntm.get_mode` for what to write.
"""

from functools import reduce
from typing import Any

import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.scalar import Add, Exp, Maximum, Mul, Neg, Second, Sub, Switch, TrueDiv
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.math import Max, Sum
from pytensor.tensor.rewriting.math import local_log1p_plusminus_exp

from lasagne._logits import (
    double,
    find_half_minus_log,
    find_log_odds,
    match,
    match_complement,
    match_one_plus_exp,
)
from lasagne.typing import Tensor

__all__ = [
    "EXACT_LOGARITHMS",
    "cancel_probability",
    "rewrite_log_of_probability",
    "rewrite_log_of_sum_of_exp",
]

#: The name by which a mode includes them
EXACT_LOGARITHMS = "exact_logarithms"


@node_rewriter([pt.log, pt.log1p])
def rewrite_log_of_probability(fgraph: FunctionGraph, node: Apply) -> list[Variable] | None:
    """Compute ``log(p)``, ``log(1 - p)`` and ``log1p(-p)`` of a sigmoid or a softmax from the logits."""
    (x,) = node.inputs
    if node.op == pt.log:
        half, power = find_half_minus_log(x), match_one_plus_exp(x)
        new = None if half is None else -double(half)
        if power is not None:
            new = pt.softplus(power)
    else:
        negated = match(x, Neg)
        odds = None if negated is None else find_log_odds(negated[0])
        new = None if odds is None else -pt.softplus(odds)
    return _replace(node, new)


@node_rewriter([pt.mul])
def cancel_probability(fgraph: FunctionGraph, node: Apply) -> list[Variable] | None:
    """Compute ``a / p * p`` as `a`, as it stands in the gradient of ``log(p)``, for a `p` that may be zero."""
    factors, divisors, sign = _split(node.outputs[0])
    kept = list(divisors)
    found = _cancel_spread(factors)
    for divisor in divisors:
        for factor in factors:
            new = _cancel(factor, divisor)
            if new is not None:
                factors.remove(factor)
                factors.append(new)
                kept.remove(divisor)
                break
    if len(kept) == len(divisors) and not found:
        return None
    new = pt.mul(*factors) if len(factors) > 1 else factors[0]
    for divisor in kept:
        new = new / divisor
    return _replace(node, -new if sign < 0 else new)


def _split(x: Variable) -> tuple[list[Any], list[Tensor], int]:
    """Split a product into factors, divisors and its sign."""
    factors, divisors, sign = [], [], 1
    pending = [x]
    while pending:
        each = pending.pop()
        if (parts := match(each, Mul)) is not None:
            pending.extend(parts)
        elif (parts := match(each, TrueDiv)) is not None:
            pending.append(parts[0])
            divisors.append(parts[1])
        elif (parts := match(each, Neg)) is not None:
            pending.append(parts[0])
            sign = -sign
        else:
            factors.append(each)
    return factors, divisors, sign


def _cancel(factor: Tensor, divisor: Tensor) -> Tensor | None:
    """Return `factor` divided by `divisor`, if that is known: 1 for equal probabilities, else ``None``."""
    power = match_one_plus_exp(divisor)
    if power is not None:
        exponent = match(factor, Exp)
        return pt.sigmoid(power) if exponent is not None and exponent[0] is power else None
    terms = match(divisor, Add) or []
    powers = [term[0] for term in (match(each, Exp) for each in terms) if term is not None]
    if terms and len(powers) == len(terms):
        return _divide_by_sum_of_exp(factor, powers)
    one, other = match_complement(factor), match_complement(divisor)
    same = factor is divisor if other is None else one is other
    if not same or find_log_odds(divisor) is None:
        return None
    return pt.ones_like(factor)


def _divide_by_sum_of_exp(factor: Tensor, powers: list[Tensor]) -> Tensor | None:
    """Divide ``exp(x)`` by a sum of exponentials, of which it is one; else return ``None``."""
    power = match(factor, Exp)
    if power is None or not any(power[0] is each for each in powers):
        return None
    largest = reduce(pt.maximum, powers)
    return pt.exp(power[0] - largest) / pt.add(*(pt.exp(each - largest) for each in powers))


def _cancel_spread(factors: list[Tensor]) -> bool:
    """Replace ``exp(x)`` and a number divided by its sum along some axes by the softmax, in a list of factors."""
    for spread in factors:
        parts = match(spread, Second)
        moves, quotient = _strip(None if parts is None else parts[1])
        parts = match(quotient, TrueDiv)
        _, total = _strip(None if parts is None else parts[1])
        if parts is None or total is None or total.owner is None:
            continue
        if not isinstance(total.owner.op, Sum):
            continue
        power = match(total.owner.inputs[0], Exp)
        for factor in factors:
            same = match(factor, Exp)
            if power is None or same is None or same[0] is not power[0]:
                continue
            number = reduce(lambda x, move: move(x), reversed(moves), parts[0])
            softmax = pt.special.softmax(power[0], axis=total.owner.op.axis)
            factors[:] = [each for each in factors if each not in (spread, factor)]
            factors.append(softmax * number)
            return True
    return False


def _strip(variable: Variable | None) -> tuple[list[Any], Any]:
    """Return the operations that only move axes, the last one first, and what they are applied to."""
    moves = []
    while variable is not None and variable.owner is not None:
        if not isinstance(variable.owner.op, DimShuffle):
            break
        moves.append(variable.owner.op)
        variable = variable.owner.inputs[0]
    return moves, variable


def _replace(node: Apply, new: Any) -> list[Variable] | None:
    if new is None or new.dtype != node.outputs[0].type.dtype:
        return None
    return [node.outputs[0].type.filter_variable(new)]


@node_rewriter([pt.log])
def rewrite_log_of_sum_of_exp(fgraph: FunctionGraph, node: Apply) -> list[Variable] | None:
    """Take the largest number out of ``log(sum(exp(x)))`` and of ``log(exp(x) + exp(y))``."""
    (x,) = node.inputs
    moves, total = _strip(x)
    if total.owner is not None and isinstance(total.owner.op, Sum):
        power, axis = match(total.owner.inputs[0], Exp), total.owner.op.axis
        if power is None or _is_less_a_largest(power[0]):
            return None
        kept = _make_finite(pt.max(power[0], axis=axis, keepdims=True))
        new = pt.log(pt.exp(power[0] - kept).sum(axis=axis)) + kept.squeeze(axis)
        return _replace(node, reduce(lambda y, move: move(y), reversed(moves), new))
    terms = match(x, Add) or []
    powers = [term[0] for term in (match(each, Exp) for each in terms) if term is not None]
    if not terms or len(powers) < len(terms) or any(map(_is_less_a_largest, powers)):
        return None
    largest = _make_finite(reduce(pt.maximum, powers))
    return _replace(node, pt.log(pt.add(*(pt.exp(each - largest) for each in powers))) + largest)


def _make_finite(largest: Tensor) -> Tensor:
    return pt.switch(pt.isinf(largest), 0, largest)


def _is_less_a_largest(x: Tensor) -> bool:
    """Return whether a maximum has been subtracted already."""
    parts = match(x, Sub)
    if parts is None:
        return False
    choices = match(_strip(parts[1])[1], Switch) or [parts[1]]
    tops = [_strip(each)[1] for each in choices]
    return any(
        match(each, Maximum) is not None
        or (each.owner is not None and isinstance(each.owner.op, Max))
        for each in tops
    )


optdb.register(
    EXACT_LOGARITHMS,
    dfs_rewriter(
        rewrite_log_of_probability,
        cancel_probability,
        rewrite_log_of_sum_of_exp,
        local_log1p_plusminus_exp,
    ),
    position=1.5,
)
