"""Conversions of indexing from PyTensor to JAX: indices out of range are seen, and slices may move.

Importing this module registers them, for every function that is compiled to JAX.

**Indices out of range.** JAX clamps them, or drops what is written there, without a word. A compiled JAX function
cannot raise either. So:

- An index that is known while tracing, such as a number in the graph, raises ``IndexError`` when the function is first
  called.
- Any other index out of range gives NaN. Integers, which have no NaN, become the smallest of their dtype, unsigned ones
  the largest. Truth values become True.
- What is written to an index out of range makes a place at the edge NaN (or such an integer), so that a gradient is
  not silently less than it should be. A gradient of zero is not written: an item that a mask hides changes nothing.

Negative indices count from the end, as NumPy's do. :func:`lasagne.checks.in_range` promises that indices are in
range, and saves the look at them.

**Slices.** JAX has to know the length of a slice while tracing. The length of ``x[start:stop]`` is known if both bounds
are, or if their difference is: ``x[i * 4:(i + 1) * 4]``. Items of such a slice before the beginning or beyond the end
are out of range; PyTensor's other back ends give a shorter slice.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.subtensor
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.printing import pp
from pytensor.scalar import Add, Cast, Mul, Neg, ScalarType, Sub
from pytensor.tensor.basic import ScalarFromTensor, TensorFromScalar
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.subtensor import IncSubtensor, indices_from_subtensor
from pytensor.tensor.type import TensorType

from lasagne.backends.jax_registry import Conversion, jax_funcify
from lasagne.backends.jax_symbolic import is_symbolic

__all__ = [
    "Polynomial",
    "is_concrete",
]

#: The factor of each product of variables in a sum
Polynomial: TypeAlias = dict[tuple[Variable, ...], int]


def is_concrete(*values: Any) -> bool:
    """Return whether all values are known, that is, none is traced by JAX."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def _register(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a conversion for those of the classes that the installed PyTensor has."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            if name in vars(pytensor.tensor.subtensor):
                jax_funcify.register(getattr(pytensor.tensor.subtensor, name))(function)
        return function

    return decorate


# ---- reading


@_register("Subtensor", "AdvancedSubtensor", "AdvancedSubtensor1")
def _funcify_subtensor(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    lengths, promised = _look_at(node.inputs[1:], op.idx_list)
    name = node.inputs[0]

    def subtensor(x: jax.Array, *positions: Any) -> jax.Array:
        indices = list(indices_from_subtensor(positions, op.idx_list))
        if not is_concrete(*positions):
            x = jnp.asarray(x)
            for axis, index in enumerate(indices):
                if _moves(index):
                    moving = _resolve_slice(index, lengths[axis], x.shape[axis], node, axis)
                    x = _take(x, (*[slice(None)] * axis, moving), name)
                    indices[axis] = slice(None)
        return _take(x, tuple(indices), name, promised)

    return subtensor


def _take(
    x: jax.Array, indices: tuple[Any, ...], name: Variable, promised: Collection[int] = ()
) -> jax.Array:
    """Return ``x[indices]``. An index out of range gives a mark, or raises an error if the index is known."""
    if _has_masks(indices):
        return x[indices]
    places, ok, where = _find_places(x.shape, indices, name, promised)
    if ok is None:
        return x[indices]
    if 0 in x.shape:  # JAX refuses to read an item where there is none
        taken = range(len(indices))
        empty = [
            k in taken and not isinstance(indices[k], slice) and x.shape[k] == 0
            for k in range(x.ndim)
        ]
        x = jnp.pad(x, [(0, int(each)) for each in empty])
    return _mark(x.at[places].get(mode="promise_in_bounds"), ok.reshape(where))


def _moves(index: Any) -> bool:
    """Return whether an index is a slice with bounds that are not known."""
    return isinstance(index, slice) and not is_concrete(index.start, index.stop, index.step)


def _has_masks(indices: tuple[Any, ...]) -> bool:
    """Return whether some index is a mask, which JAX takes only while the mask is known."""
    return any(getattr(index, "dtype", None) == "bool" for index in indices)


def _find_places(
    shape: tuple[int, ...], indices: tuple[Any, ...], name: Variable, promised: Collection[int]
) -> tuple[tuple[Any, ...], Any, tuple[int, ...]]:
    """Return the indices moved into the array, and which of them were there already.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    indices : tuple of slice, int or array
        The slices are known while tracing.
    name
        The array, for messages.
    promised : collection of int
        Axes whose indices are in range by promise.

    Returns
    -------
    tuple
        The indices, not negative.
    array or None
        Which of them are in range: as long along each axis as the indices are together. None if all are known to be.
    tuple of int
        The shape that makes the latter broadcast with what is read.
    """
    arrays = {k: index for k, index in enumerate(indices) if not isinstance(index, slice)}
    places, ok = list(indices), None
    for axis, index in arrays.items():
        length = shape[axis]
        if is_symbolic(index, length):
            index = jnp.asarray(index)
        if is_concrete(index) and not is_symbolic(length):
            known = np.asarray(index)
            wrong = known[(known < -length) | (known >= length)]
            if wrong.size:
                raise IndexError(
                    f"index {wrong.flat[0]} is out of bounds for axis {axis} of {name}, which has {length} items"
                )
            places[axis] = np.where(known < 0, known + length, known)
        elif axis not in promised:
            index = index.astype(jnp.promote_types(index.dtype, "int32"))
            index = jnp.where(index < 0, index + length, index)
            is_in_range = (index >= 0) & (index < length)
            ok = is_in_range if ok is None else ok & is_in_range
            places[axis] = jnp.clip(index, 0, max(length - 1, 0)).astype(index.dtype)
    if ok is None:
        return tuple(places), None, ()
    read = jnp.broadcast_shapes(*(np.shape(index) for index in arrays.values()))
    first, last = min(arrays), max(arrays)
    before = first if last - first + 1 == len(arrays) else 0
    after = len(shape) - len(arrays) - before
    ok = jnp.broadcast_to(ok, read)
    return tuple(places), ok, (*[1] * before, *read, *[1] * after)


def _marker(dtype: Any) -> np.ndarray:
    """Return the mark for an index out of range: NaN, or the extreme integer of the dtype."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return np.array(np.nan, dtype)
    if dtype == "bool":
        return np.array(True)
    limits = np.iinfo(dtype)
    return np.array(limits.min or limits.max, dtype)


def _mark(value: jax.Array, ok: jax.Array) -> jax.Array:
    if jnp.issubdtype(value.dtype, jnp.inexact):
        return _mark_floats(value, ok)
    return jnp.where(ok, value, _marker(value.dtype))


@jax.custom_vjp
def _mark_floats(value: jax.Array, ok: jax.Array) -> jax.Array:
    return jnp.where(ok, value, _marker(value.dtype))


def _mark_gradient(wrong: jax.Array, grad: jax.Array) -> tuple[jax.Array, None]:
    return jnp.where(wrong & (grad != 0), _marker(grad.dtype), grad), None


# What is kept must not be an argument itself: in a loop that is differentiated twice, JAX (0.10 and 0.12) takes a
# constant of the function for that argument
_mark_floats.defvjp(lambda value, ok: (_mark_floats(value, ok), ~ok), _mark_gradient)


# ---- writing


@_register("IncSubtensor", "AdvancedIncSubtensor", "AdvancedIncSubtensor1")
def _funcify_inc_subtensor(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    lengths, promised = _look_at(node.inputs[2:], op.idx_list)
    name = node.inputs[0]
    # The one is of PyTensor 3.0, the other of later versions
    check = getattr(op, "_check_runtime_broadcasting", None) or getattr(
        op, "_check_runtime_broadcast_of_vector_index", None
    )

    def inc_subtensor(x: jax.Array, y: jax.Array, *positions: Any) -> jax.Array:
        x, y = jnp.asarray(x), jnp.asarray(y)
        indices = indices_from_subtensor(positions, op.idx_list)
        if _is_whole(x.shape, indices):
            y = jnp.broadcast_to(y, x.shape).astype(x.dtype)
            return y if op.set_instead_of_inc else x + y
        if check is not None:
            check(node, x, y, indices[0])
        if not is_concrete(*positions):
            indices = _resolve_slices(x.shape, indices, lengths, node)
        return _write(x, indices, y, op.set_instead_of_inc, name, promised)

    return inc_subtensor


def _is_whole(shape: tuple[int, ...], indices: tuple[Any, ...]) -> bool:
    """Return whether slices cover a whole array; XLA's simplifier aborts the process on a scatter into that."""
    return all(
        isinstance(index, slice)
        and not _moves(index)
        and _get_bounds(index, length) == (0, length, 1)
        for index, length in zip(indices, shape, strict=False)
    )


def _get_bounds(index: slice, length: Any) -> tuple[Any, Any, Any]:
    """Return beginning, end and step of a slice of known bounds."""
    if not is_symbolic(index.start, index.stop, index.step, length):
        return index.indices(length)
    start, stop, step = index.start, index.stop, index.step
    return (
        0 if start is None else start,
        length if stop is None else stop,
        1 if step is None else step,
    )


def _resolve_slices(
    shape: tuple[int, ...], indices: tuple[Any, ...], lengths: Sequence[int | None], node: Apply
) -> tuple[Any, ...]:
    """Indices of which none is a slice with bounds that are not known."""
    moving = {
        axis: _resolve_slice(index, lengths[axis], shape[axis], node, axis)
        for axis, index in enumerate(indices)
        if _moves(index)
    }
    if not moving:
        return indices
    resolved = [moving.get(axis, index) for axis, index in enumerate(indices)]
    if isinstance(node.op, IncSubtensor):
        if sum(not isinstance(index, slice) for index in resolved) > 1:
            # As arrays that broadcast: several arrays would else be taken together
            resolved += [slice(None)] * (len(shape) - len(resolved))
            slices = [axis for axis, index in enumerate(indices) if isinstance(index, slice)]
            slices += range(len(indices), len(shape))
            for count, axis in enumerate(slices):
                array = resolved[axis]
                if isinstance(array, slice):
                    array = np.arange(*array.indices(shape[axis]))
                resolved[axis] = array.reshape((-1, *[1] * (len(slices) - 1 - count)))
    elif len(moving) < len(indices):
        raise NotImplementedError(_explain(node, min(moving)))
    return tuple(resolved)


def _write(
    x: jax.Array,
    indices: tuple[Any, ...],
    y: jax.Array,
    is_set: bool,
    name: Variable,
    promised: Collection[int],
) -> jax.Array:
    """Write ``x[indices] = y`` or ``x[indices] += y``. An index out of range marks a place at the edge."""
    ok = None
    if not _has_masks(indices):
        places, ok, where = _find_places(x.shape, indices, name, promised)
    if ok is None or 0 in x.shape:
        return x.at[indices].set(y) if is_set else x.at[indices].add(y)
    marker, y = _marker(x.dtype), y.astype(x.dtype)
    if not is_set and jnp.issubdtype(x.dtype, jnp.inexact):
        y = jnp.where(ok.reshape(where) | (y == 0), y, marker)
        return x.at[places].add(y, mode="promise_in_bounds")
    if is_set and ok.size == 1:
        return x.at[places].set(jnp.where(ok.reshape(where), y, marker), mode="promise_in_bounds")

    def take_out(wrong: jax.Array) -> tuple[Any, ...]:
        axis = next(axis for axis, place in enumerate(places) if not isinstance(place, slice))
        out = jnp.where(wrong, x.shape[axis], places[axis])
        return (*places[:axis], out, *places[axis + 1 :])

    # In two steps: a place may be written to, and be the edge to which another index is moved
    right = x.at[take_out(~ok)]
    x = right.set(y, mode="drop") if is_set else right.add(y, mode="drop")
    return x.at[take_out(ok)].set(marker, mode="drop")


# ---- slices


def _resolve_slice(index: Any, count: int | None, size: int, node: Apply, axis: int) -> jax.Array:
    """Return the indices that a slice covers, where its bounds are not known and its length is.

    Parameters
    ----------
    index : slice
    count : int or None
        By how much the end is beyond the beginning; None if that is not known.
    size : int
        The length of the axis, which is also the place of an item out of range.
    """
    step = 1 if index.step is None else index.step
    if count is None or not is_concrete(step) or int(step) < 1:
        raise NotImplementedError(_explain(node, axis))
    start, stop = (jnp.asarray(bound).astype("int64") for bound in (index.start, index.stop))
    first = jnp.where(start < 0, start + size, start)
    places = first + int(step) * np.arange(max(-(-count // int(step)), 0))
    # From the last items on to the first is no slice
    ok = (places >= 0) & ((start >= 0) | (stop < 0))
    return jnp.where(ok, places, size)


def _explain(node: Apply, axis: int) -> str:
    """Return the message for a slice of unknown length, with what to write instead."""
    writes = "Inc" in type(node.op).__name__
    index: Any = indices_from_subtensor(node.inputs[2 if writes else 1 :], node.op.idx_list)[axis]
    bounds = (index.start, index.stop, index.step)[: 2 if index.step is None else 3]
    text = ":".join("" if bound is None else _shorten(bound) for bound in bounds)
    return (
        f"the slice {text} of axis {axis} of {node.inputs[0]}: its length depends on values, and JAX has to know "
        "lengths before it sees values. For a slice of `length` items write x[start:start + length] with a length "
        "that is a Python number, or x[start + pt.arange(length)]; for a part whose length varies, keep the whole and "
        "multiply by a mask such as pt.arange(x.shape[0]) < n; or compile with get_mode('numba')"
    )


def _shorten(variable: Any) -> str:
    if variable.owner is not None and isinstance(variable.owner.op, ScalarFromTensor):
        variable = variable.owner.inputs[0]
    text = pp(variable)
    return text if len(text) <= 60 else "..."


def _look_at(variables: Sequence[Variable], idx_list: Any) -> tuple[list[int | None], set[int]]:
    """Return what is known of indices before their values are.

    Returns
    -------
    list of int or None
        For each that is a slice, the end minus the beginning, if that is a number whatever the values are.
    set of int
        The axes whose indices are in range by promise.
    """
    indices: Any = indices_from_subtensor(variables, idx_list)
    lengths = [_find_difference(each) if isinstance(each, slice) else None for each in indices]
    tags = [getattr(each, "tag", None) for each in indices]
    return lengths, {axis for axis, tag in enumerate(tags) if getattr(tag, "in_range", False)}


def _find_difference(index: Any) -> int | None:
    if index.start is None or index.stop is None:
        return None
    difference = _subtract(_expand(index.stop), _expand(index.start))
    return difference.get((), 0) if set(difference) <= {()} else None


def _expand(variable: Any) -> Polynomial:
    """Expand an integer expression to a polynomial: the factor of each product of variables.

    A product is a tuple of variables, in a fixed order; the empty one stands for one.
    """
    if isinstance(variable, Constant):
        return {(): int(variable.data)}
    if not isinstance(variable, Variable):
        return {(): int(variable)}
    if variable.owner is not None and _is_integer(variable):
        op, inputs = variable.owner.op, variable.owner.inputs
        op = op.scalar_op if isinstance(op, Elemwise) else op
        if all(map(_is_integer, inputs)):
            if isinstance(op, ScalarFromTensor | TensorFromScalar | Cast):
                return _expand(inputs[0])
            if isinstance(op, DimShuffle) and op.new_order == ():
                return _expand(inputs[0])
            terms = map(_expand, inputs)
            if isinstance(op, Add):
                return functools.reduce(_add, terms)
            if isinstance(op, Sub):
                return _subtract(*terms)
            if isinstance(op, Neg):
                return _subtract({}, *terms)
            if isinstance(op, Mul):
                return functools.reduce(_multiply, terms)
    return {(variable,): 1}


def _is_integer(variable: Any) -> bool:
    """Return whether a variable is a single integer."""
    return (
        isinstance(variable.type, ScalarType | TensorType)
        and getattr(variable.type, "ndim", 0) == 0
        and variable.type.dtype.startswith(("int", "uint"))
    )


def _add(one: Polynomial, other: Polynomial) -> Polynomial:
    terms = {product: one.get(product, 0) + other.get(product, 0) for product in {**one, **other}}
    return {product: count for product, count in terms.items() if count}


def _subtract(one: Polynomial, other: Polynomial) -> Polynomial:
    return _add(one, _multiply({(): -1}, other))


def _multiply(one: Polynomial, other: Polynomial) -> Polynomial:
    terms: dict = {}
    for product, count in one.items():
        for factor, times in other.items():
            both = tuple(sorted(product + factor, key=id))
            terms[both] = terms.get(both, 0) + count * times
    return terms
