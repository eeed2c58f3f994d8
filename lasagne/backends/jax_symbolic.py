"""Arithmetic on sizes that have no number yet: for functions that are exported for a batch of any size.

`jax.export` traces a function with symbols for sizes, such as ``batch`` and ``time``. A graph of PyTensor computes with
sizes as with all other numbers, so an integer in the graph may be such a symbol, or a vector may hold some. Here
expressions of symbols are computed, so that a shape stays known where JAX needs it. Where that is not possible, as in a
comparison whose result depends on the size, the symbol becomes an ordinary traced array.

A size is an expression of JAX (``jax.export.is_symbolic_dim``), a vector of sizes is a NumPy array of objects.
"""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import (
    EQ,
    GE,
    GT,
    LE,
    LT,
    NEQ,
    Add,
    Cast,
    Identity,
    IntDiv,
    Invert,
    Maximum,
    Minimum,
    Mod,
    Mul,
    Neg,
    ScalarOp,
    Sub,
    Switch,
)
from pytensor.tensor.basic import (
    Alloc,
    AllocEmpty,
    ARange,
    Join,
    MakeVector,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.subtensor import BaseSubtensor, Subtensor, indices_from_subtensor

from lasagne.backends.jax_registry import Conversion, JAXShapeTuple

__all__ = ["is_at_most", "is_symbolic", "make_array", "take_symbols"]


def is_symbolic(*values: Any) -> bool:
    """Return whether a value is a size that has no number yet, or holds such a size."""
    return any(
        export.is_symbolic_dim(value) or (isinstance(value, np.ndarray) and value.dtype == object)
        for value in values
    )


def is_at_most(size: Any, bound: int) -> bool:
    """Return whether a size is known to be no larger than a bound."""
    try:
        return bool(size <= bound)
    except jax.errors.InconclusiveDimensionOperation:
        return False


def take_symbols(op: Any, node: Any, convert: Conversion) -> Conversion:
    """Return the conversion of a node that also takes sizes that have no number yet.

    Parameters
    ----------
    op : Op
    node : Apply
    convert : callable
        The conversion for arrays.
    """
    evaluate = _find_evaluation(op, node) if _has_integers(node) else None
    takes_sizes = isinstance(op, _TAKES_SIZES)

    def converted(*args: Any) -> Any:
        if not is_symbolic(*args):
            return convert(*args)
        if evaluate is not None and not _is_traced(*args):
            try:
                return _simplify(evaluate(*args), node.outputs[0].type.dtype)
            except _Undecided:
                pass
        if not takes_sizes:
            args = tuple(
                make_array(value, variable.type.dtype) if is_symbolic(value) else value
                for value, variable in zip(args, node.inputs, strict=True)
            )
        return convert(*args)

    return converted


# Conversions that take a size as it is
_TAKES_SIZES = (
    Alloc,
    AllocEmpty,
    ARange,
    BaseSubtensor,
    CheckAndRaise,
    RandomVariable,
    Reshape,
    SpecifyShape,
)


def _has_integers(node: Any) -> bool:
    """Return whether the one result of a node holds integers or truth values."""
    dtype = getattr(node.outputs[0].type, "dtype", "")
    return len(node.outputs) == 1 and dtype.startswith(("int", "uint", "bool"))


class _Undecided(Exception):
    """The result depends on what number a size will be."""


def _is_traced(*values: Any) -> bool:
    return any(isinstance(value, jax.core.Tracer) for value in values)


def make_array(value: Any, dtype: str) -> jax.Array:
    """Return a size, or an array of sizes, as a traced array."""
    if not isinstance(value, np.ndarray):
        return jnp.asarray(value).astype(dtype)
    flat = [jnp.asarray(each).astype(dtype) for each in value.ravel()]
    return jnp.stack(flat).reshape(value.shape)


def _simplify(value: Any, dtype: str) -> Any:
    """Return numbers as an array of their type, and a single size as it is."""
    array = np.asarray(value)
    if array.dtype == object and any(export.is_symbolic_dim(each) for each in array.ravel()):
        return array if array.ndim else array.item()
    return array.astype(dtype)


# ---- Operations


def _find_evaluation(op: Any, node: Any) -> Callable[..., Any] | None:
    """Return the function that computes a node from sizes, or ``None`` if there is none."""
    scalar_op = op.scalar_op if isinstance(op, Elemwise) else op
    if isinstance(scalar_op, ScalarOp):
        return _find_scalar_evaluation(scalar_op, node.outputs[0].type.dtype)
    if isinstance(op, ScalarFromTensor | TensorFromScalar):
        return lambda x: x
    if isinstance(op, Shape):
        return lambda x: np.asarray(np.shape(x))
    if isinstance(op, Shape_i):
        return lambda x: np.shape(x)[op.i]
    if isinstance(op, MakeVector | JAXShapeTuple):
        return lambda *values: _make_vector(values)
    if isinstance(op, Join):
        return _join
    if isinstance(op, DimShuffle):
        return lambda x: _as_objects(x).reshape(_shuffle_shape(op, np.shape(x)))
    if isinstance(op, Subtensor):
        return lambda x, *index: _as_objects(x)[indices_from_subtensor(index, op.idx_list)]
    if isinstance(op, CAReduce) and type(op.scalar_op) in _FOLDS:
        fold = _FOLDS[type(op.scalar_op)]
        return lambda x: reduce(fold, _as_objects(x).ravel()) if np.ndim(x) == 1 else _give_up()
    return None


def _give_up() -> Any:
    raise _Undecided


def _as_objects(x: Any) -> Any:
    return np.asarray(x, object)


def _make_vector(values: Any) -> Any:
    vector = np.empty(len(values), object)
    vector[:] = [_as_objects(each).item() for each in values]
    return vector


def _join(*args: Any) -> Any:
    # The axis is an input in PyTensor 3.0 and belongs to the op in later versions; vectors have one axis
    tensors = [each for each in args if np.ndim(each) == 1]
    if len(args) - len(tensors) > 1:
        raise _Undecided
    return np.concatenate([_as_objects(each) for each in tensors])


def _shuffle_shape(op: DimShuffle, shape: tuple[int, ...]) -> tuple[int, ...]:
    order: Any = op.new_order
    if list(op.shuffle) != sorted(op.shuffle):
        raise _Undecided
    return tuple(1 if axis == "x" else shape[axis] for axis in order)


def _find_scalar_evaluation(op: ScalarOp, dtype: str) -> Callable[..., Any] | None:
    if isinstance(op, Cast | Identity):
        return None if dtype == "bool" else lambda x: x
    if type(op) in _FOLDS:
        fold = np.frompyfunc(_FOLDS[type(op)], 2, 1)
        return lambda *values: reduce(fold, values)
    if type(op) in _FUNCTIONS:
        function = _FUNCTIONS[type(op)]
        return np.frompyfunc(function, op.nin, 1)
    return None


def _decide(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    """Return a comparison that gives up where the result depends on what number a size will be."""

    def decide(x: Any, y: Any) -> bool:
        try:
            return bool(compare(x, y))
        except jax.errors.InconclusiveDimensionOperation as error:
            raise _Undecided from error

    return decide


def _are_equal(x: Any, y: Any) -> bool:
    # JAX says of a symbol that it is not 1, although it may become 1. Here only what holds for all numbers counts
    difference = x - y
    return not (difference > 0 or difference < 0)


def _choose(condition: Any, x: Any, y: Any) -> Any:
    if is_symbolic(condition):
        raise _Undecided
    return x if condition else y


#: Functions of two numbers, which may be applied to several one after the other
_FOLDS: dict[type, Callable[[Any, Any], Any]] = {
    Add: operator.add,
    Maximum: jax.core.max_dim,
    Minimum: jax.core.min_dim,
    Mul: operator.mul,
}
_FUNCTIONS: dict[type, Callable[..., Any]] = {
    EQ: _decide(_are_equal),
    GE: _decide(operator.ge),
    GT: _decide(operator.gt),
    IntDiv: operator.floordiv,
    Invert: lambda x: -x - 1,
    LE: _decide(operator.le),
    LT: _decide(operator.lt),
    Mod: operator.mod,
    NEQ: _decide(lambda x, y: not _are_equal(x, y)),
    Neg: operator.neg,
    Sub: operator.sub,
    Switch: _choose,
}
