"""A check that the sequences of a batch do not depend on each other.

The check follows the axis of the batch through a graph. What it knows of an operation is in :func:`_follow`; results of
other operations count as independent. So the check finds the common mistakes, not all.
"""

from collections.abc import Iterable, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import DisconnectedGrad, GradClip, GradScale, ZeroGrad
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.traversal import io_toposort
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import Second
from pytensor.scan.op import Scan
from pytensor.tensor.basic import (
    Alloc,
    ARange,
    Join,
    MakeVector,
    ScalarFromTensor,
    Split,
    TensorFromScalar,
)
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.extra_ops import CumOp
from pytensor.tensor.math import Argmax, Dot
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.sort import ArgSortOp, SortOp
from pytensor.tensor.special import LogSoftmax, Softmax
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
    indices_from_subtensor,
)

from .checks import SizeCheck
from .gradient import OwnGradient
from .loop import Loop

__all__ = ["DependenceError", "check_independence"]


class DependenceError(ValueError):
    """The result of a sequence depends on other sequences of the batch."""


class Mark(NamedTuple):
    """What is known of a variable.

    Attributes
    ----------
    axes : frozenset of int
        The axes along which its items belong to different sequences.
    sizes : frozenset of int
        Of a shape or a size: which of its items are the number of sequences; 0 for a size.
    mixed : str
        What made it depend on several sequences at once, if anything did.
    lost : str
        The operation behind which the axis of the batch is not known any more, if there is one.
    merged : bool
        Whether an axis holds the batch together with others in front of the batch, such as steps and sequences.
    """

    axes: frozenset[int] = frozenset()
    sizes: frozenset[int] = frozenset()
    mixed: str = ""
    lost: str = ""
    merged: bool = False


NOTHING = Mark()
SIZE = "a number computed from the size of the batch"


def check_independence(results: Sequence[Variable], batch: Iterable[Variable]) -> str:
    """Raise a `DependenceError` if results for a sequence depend on other sequences or on how many there are.

    Parameters
    ----------
    results : list of tensors (B, ...)
    batch : list of tensors (B, ...)
        The variables of the graph whose first axis is the batch.

    Returns
    -------
    str
        The operation behind which the axis of the batch is not known any more; empty if the check has seen all.
    """
    marks = {variable: Mark(frozenset([0])) for variable in batch}
    found = _mark(results, marks)
    for result, mark in zip(results, found, strict=True):
        if not mark.lost and mark.axes and 0 not in mark.axes:
            raise DependenceError(
                f"accumulate_gradients: the first axis of {result} must be the batch, and it is axis {min(mark.axes)}"
            )
        if mark.mixed:
            raise DependenceError(
                f"accumulate_gradients: {result} must depend, for each sequence, on this sequence alone, but there is "
                f"{mark.mixed}. Give the loss of each sequence, (B,), without a mean over the batch. Normalise without "
                "the batch, for example by lasagne.layers.layer_norm"
            )
    return next((mark.lost for mark in found if mark.lost), "")


def _mark(results: Sequence[Variable], marks: dict[Any, Mark]) -> list[Mark]:
    """Return what is known of some results, from what is known of some variables."""
    marks = dict(marks)
    for node in io_toposort(list(marks), list(results)):
        inputs = [marks.get(variable, NOTHING) for variable in node.inputs]
        if all(mark == NOTHING for mark in inputs):
            continue
        is_shape = isinstance(node.op, Shape | Shape_i)
        lost = "" if is_shape else _get_lost(inputs)
        merged = not isinstance(node.op, Reshape) and any(mark.merged for mark in inputs)
        for output, mark in zip(node.outputs, _follow(node.op, node, inputs), strict=True):
            mark = mark._replace(lost=mark.lost or lost, merged=mark.merged or merged)
            marks.setdefault(output, mark)
    return [marks.get(result, NOTHING) for result in results]


def _get_mixed(inputs: Iterable[Mark]) -> str:
    return next((mark.mixed for mark in inputs if mark.mixed), "")


def _get_lost(inputs: Iterable[Mark]) -> str:
    return next((mark.lost for mark in inputs if mark.lost), "")


def _lose(node: Apply, inputs: Iterable[Mark]) -> list[Mark]:
    """Return what is known of the outputs of an operation that the check cannot follow."""
    inputs = list(inputs)
    lost = str(node.op) if any(mark.axes or mark.sizes for mark in inputs) else ""
    return [Mark(mixed=_get_mixed(inputs), lost=lost) for _ in node.outputs]


@singledispatch
def _follow(op: Any, node: Apply, inputs: list[Mark]) -> list[Mark]:
    """Return what is known of the outputs of a node.

    An operation outside of this package whose inputs and outputs have the batch in front says so in its class:
    ``keeps_sequences_apart = True``.
    """
    if getattr(op, "keeps_sequences_apart", False):
        return [Mark(frozenset([0]), mixed=_get_mixed(inputs)) for _ in node.outputs]
    return _lose(node, inputs)


@_follow.register
def _(op: Elemwise, node: Apply, inputs: list[Mark]) -> list[Mark]:
    axes = frozenset().union(*(mark.axes for mark in inputs))
    mixed = _get_mixed(inputs[1:] if isinstance(op.scalar_op, Second) else inputs)
    sizes = frozenset().union(*(mark.sizes for mark in inputs))
    # A mean divides by one of the sizes that it has made floats of
    is_shape = len(inputs) == 1 and node.outputs[0].type.ndim == 1 and not axes
    if sizes and not is_shape and _is_float(node.outputs[0]):
        return [Mark(axes, mixed=mixed or SIZE)] * len(node.outputs)
    return [Mark(axes, sizes, mixed) for _ in node.outputs]


def _is_float(variable: Any) -> bool:
    return str(variable.type.dtype).startswith("float")


@_follow.register
def _(op: DimShuffle, node: Apply, inputs: list[Mark]) -> list[Mark]:
    (mark,) = inputs
    axes = frozenset(k for k, axis in enumerate(op.new_order) if axis in mark.axes)
    return [Mark(axes, mark.sizes, mark.mixed)]


@_follow.register(CAReduce)
@_follow.register(Argmax)
def _(op: Any, node: Apply, inputs: list[Mark]) -> list[Mark]:
    (mark,) = inputs
    ndim = node.inputs[0].type.ndim
    reduced = set(range(ndim) if op.axis is None else op.axis)
    if mark.axes & reduced:
        name = type(op).__name__.lower()
        return [Mark(mixed=mark.mixed or f"a {name} over the batch")] * len(node.outputs)
    kept = [axis for axis in range(ndim) if axis not in reduced]
    axes = frozenset(k for k, axis in enumerate(kept) if axis in mark.axes)
    return [Mark(axes, mark.sizes, mark.mixed)] * len(node.outputs)


@_follow.register(Softmax)
@_follow.register(LogSoftmax)
def _(op: Any, node: Apply, inputs: list[Mark]) -> list[Mark]:
    return [_run_along(op.axis, inputs[0], "a softmax")]


@_follow.register
def _(op: CumOp, node: Apply, inputs: list[Mark]) -> list[Mark]:
    return [_run_along(op.axis, inputs[0], "a cumulative sum or product")]


@_follow.register(SortOp)
@_follow.register(ArgSortOp)
def _(op: Any, node: Apply, inputs: list[Mark]) -> list[Mark]:
    return [_run_along(_get_axis(op, node, node.inputs[1:]), inputs[0], "a sort")]


def _run_along(axes: Any, mark: Mark, name: str) -> Mark:
    """Return what is known of a result of the same shape that depends on all items along some axes; None is all."""
    taken = mark.axes if axes is None else mark.axes & set(np.atleast_1d(axes).tolist())
    return mark._replace(mixed=mark.mixed or (f"{name} over the batch" if taken else ""))


def _get_axis(op: Any, node: Apply, inputs: Sequence[Variable]) -> int | None:
    """Return an axis that, by the version of PyTensor, the operation holds or gets as the first of some inputs."""
    axis = op.axis if hasattr(op, "axis") else getattr(inputs[0], "data", None)
    return None if axis is None else int(axis) % node.outputs[0].type.ndim


@_follow.register
def _(op: Dot, node: Apply, inputs: list[Mark]) -> list[Mark]:
    left, right = (variable.type.ndim for variable in node.inputs)
    return [_multiply(inputs, left, right)]


def _multiply(inputs: list[Mark], left: int, right: int) -> Mark:
    """Return what is known of a product of matrices in the last two axes, of so many axes each."""
    first, second = (mark.axes for mark in inputs)
    if left - 1 in first or max(right - 2, 0) in second:
        return Mark(mixed=_get_mixed(inputs) or "a product that sums over the batch")
    axes = {axis for axis in first if axis < left - 1}
    axes |= {left - 1 if axis == right - 1 else axis for axis in second}
    return Mark(frozenset(axes), mixed=_get_mixed(inputs))


@_follow.register
def _(op: Blockwise, node: Apply, inputs: list[Mark]) -> list[Mark]:
    if isinstance(op.core_op, Dot):
        left, right = (variable.type.ndim for variable in node.inputs)
        return [_multiply(inputs, left, right)]
    ndim = op.batch_ndim(node)
    axes = frozenset(axis for mark in inputs for axis in mark.axes if axis < ndim)
    return [Mark(axes, mixed=_get_mixed(inputs)) for _ in node.outputs]


@_follow.register
def _(op: Reshape, node: Apply, inputs: list[Mark]) -> list[Mark]:
    mark, shape = inputs
    if not mark.axes:
        return [Mark(sizes=mark.sizes, mixed=mark.mixed)]
    if shape.sizes:
        return [Mark(shape.sizes, mark.sizes, mark.mixed)]
    joined = node.inputs[0].type.ndim - node.outputs[0].type.ndim
    if mark.axes == {0} and not mark.merged:
        # Joined with the axes after it, or taken apart again, the batch stays in front
        return [Mark(mark.axes, mark.sizes, mark.mixed)]
    if max(mark.axes) <= joined:
        return [Mark(frozenset([0]), mixed=mark.mixed, merged=True)]
    return _lose(node, [mark])


@_follow.register
def _(op: Shape, node: Apply, inputs: list[Mark]) -> list[Mark]:
    return [Mark(sizes=inputs[0].axes)]


@_follow.register
def _(op: Shape_i, node: Apply, inputs: list[Mark]) -> list[Mark]:
    return [Mark(sizes=frozenset([0]) if op.i in inputs[0].axes else frozenset())]


@_follow.register
def _(op: MakeVector, node: Apply, inputs: list[Mark]) -> list[Mark]:
    sizes = frozenset(k for k, mark in enumerate(inputs) if mark.sizes)
    return [Mark(sizes=sizes, mixed=_get_mixed(inputs))]


@_follow.register
def _(op: Alloc, node: Apply, inputs: list[Mark]) -> list[Mark]:
    value, *shape = inputs
    added = len(shape) - node.inputs[0].type.ndim
    axes = {axis + added for axis in value.axes}
    axes |= {k for k, mark in enumerate(shape) if mark.sizes}
    return [Mark(frozenset(axes), mixed=value.mixed)]


@_follow.register
def _(op: Subtensor, node: Apply, inputs: list[Mark]) -> list[Mark]:
    mark = inputs[0]
    if mark.sizes:
        (index,) = indices_from_subtensor(node.inputs[1:], op.idx_list)
        length = node.inputs[0].type.shape[0]
        if not isinstance(index, Constant) or (length is None and int(index.data) < 0):
            return [NOTHING]
        if int(index.data) % (length or int(index.data) + 1) not in mark.sizes:
            return [NOTHING]
        return [Mark(mixed=SIZE) if _is_float(node.outputs[0]) else Mark(sizes=frozenset([0]))]
    axes, kept, mixed = set(), 0, mark.mixed
    for axis in range(node.inputs[0].type.ndim):
        entry = op.idx_list[axis] if axis < len(op.idx_list) else slice(None)
        is_slice = isinstance(entry, slice)
        if axis in mark.axes:
            if entry != slice(None):
                mixed = mixed or "a part of the batch"
            else:
                axes.add(kept)
        kept += is_slice
    return [Mark(frozenset(axes), mixed=mixed)]


@_follow.register
def _(op: IncSubtensor, node: Apply, inputs: list[Mark]) -> list[Mark]:
    mark, mixed = inputs[0], _get_mixed(inputs[:2])
    numbers = {k for k, entry in enumerate(op.idx_list) if not isinstance(entry, slice)}
    if mark.axes & numbers:
        mixed = mixed or "a part of the batch"
    # What is written stands in the last of the axes that have no number
    kept = [axis for axis in range(node.inputs[0].type.ndim) if axis not in numbers]
    first = len(kept) - node.inputs[1].type.ndim
    axes = mark.axes | {kept[first + axis] for axis in inputs[1].axes}
    return [Mark(axes, mixed=mixed)]


@_follow.register
def _(op: AdvancedSubtensor, node: Apply, inputs: list[Mark]) -> list[Mark]:
    entries: Any = op.idx_list
    places = [k for k, entry in enumerate(entries) if not isinstance(entry, slice)]
    mixed = _get_mixed(inputs)
    if not places or entries.count(slice(None)) != len(entries) - len(places):
        return _lose(node, inputs)
    first, marks = places[0], [inputs[1 + entries[k]] for k in places]
    ndims = [node.inputs[1 + entries[k]].type.ndim for k in places]
    if len(places) == 1:
        # The index takes the place of one axis, as in the rows of an embedding
        if first in inputs[0].axes and not marks[0].sizes:
            mixed = mixed or "a choice of sequences by their numbers"
        axes = {axis + first for axis in marks[0].axes}
        axes |= {axis + (ndims[0] - 1) * (axis > first) for axis in inputs[0].axes if axis != first}
        return [Mark(frozenset(axes), mixed=mixed)]
    if places != list(range(len(places))) or not inputs[0].axes <= {0}:
        return _lose(node, inputs)
    # An item of each sequence, by the number of the sequence: x[arange(B), numbers]
    axes = {
        axis + max(ndims) - n for mark, n in zip(marks, ndims, strict=True) for axis in mark.axes
    }
    if inputs[0].axes and not (marks[0].sizes and len(axes) == 1):
        return _lose(node, inputs)
    return [Mark(frozenset(axes), mixed=mixed)]


@_follow.register
def _(op: AdvancedIncSubtensor, node: Apply, inputs: list[Mark]) -> list[Mark]:
    base, _, *others = inputs
    entries: Any = op.idx_list
    places = [k for k, entry in enumerate(entries) if not isinstance(entry, slice)]
    if base.axes & set(places) and not (base.axes == {0} and others[entries[0]].sizes):
        return _lose(node, inputs)
    return [Mark(base.axes, mixed=_get_mixed(inputs))]


@_follow.register
def _(op: ARange, node: Apply, inputs: list[Mark]) -> list[Mark]:
    # The numbers of the sequences: to find what belongs to each, not to compute with
    is_numbers = bool(inputs[1].sizes) and not inputs[0].sizes
    sizes = frozenset([0]) if is_numbers else frozenset()
    return [Mark(frozenset([0]) if is_numbers else frozenset(), sizes, _get_mixed(inputs))]


@_follow.register
def _(op: Join, node: Apply, inputs: list[Mark]) -> list[Mark]:
    axes = frozenset().union(*(mark.axes for mark in inputs))
    mixed = _get_mixed(inputs)
    if _get_axis(op, node, node.inputs) in axes:
        mixed = mixed or "a concatenation along the batch"
    return [Mark(axes, mixed=mixed)]


@_follow.register
def _(op: Split, node: Apply, inputs: list[Mark]) -> list[Mark]:
    mark = inputs[0]
    is_part = _get_axis(op, node, node.inputs[1:]) in mark.axes
    mixed = mark.mixed or ("a part of the batch" if is_part else "")
    return [Mark(mark.axes, mixed=mixed)] * len(node.outputs)


@_follow.register(CheckAndRaise)
@_follow.register(SizeCheck)
@_follow.register(SpecifyShape)
@_follow.register(DisconnectedGrad)
@_follow.register(ZeroGrad)
@_follow.register(GradClip)
@_follow.register(GradScale)
@_follow.register(ScalarFromTensor)
@_follow.register(TensorFromScalar)
def _(op: Any, node: Apply, inputs: list[Mark]) -> list[Mark]:
    return [inputs[0]]


@_follow.register
def _(op: OpFromGraph, node: Apply, inputs: list[Mark]) -> list[Mark]:
    return _mark(op.fgraph.outputs, dict(zip(op.fgraph.inputs, inputs, strict=True)))


@_follow.register
def _(op: OwnGradient, node: Apply, inputs: list[Mark]) -> list[Mark]:
    fgraph, _ = op.make_graphs(node)
    return _mark(fgraph.outputs, dict(zip(fgraph.inputs, inputs, strict=True)))


@_follow.register
def _(op: Loop, node: Apply, inputs: list[Mark]) -> list[Mark]:
    inner = list(inputs)
    for k in range(op.num_sequences):
        inner[k] = _move(inputs[k], -1)
    first, count = op.num_sequences, op.num_states + op.num_carried
    while True:
        given = dict(zip(op.fgraph.inputs, inner, strict=True))
        after = _mark(op.fgraph.outputs, given)
        joined = [_join(*pair) for pair in zip(inner[first : first + count], after, strict=True)]
        if joined == inner[first : first + count]:
            break
        inner[first : first + count] = joined
    traces = [_move(mark, 1) for mark in after[: op.num_states]]
    return [*traces, *after[op.num_states :]]


@_follow.register
def _(op: Scan, node: Apply, inputs: list[Mark]) -> list[Mark]:
    info = op.info
    if info.n_mit_mot:  # Of a gradient
        return _lose(node, inputs)
    outer = iter(inputs[1:])
    # Of each state, of how many steps before it is read. The first ones have an axis of steps
    taps = [len(each) for each in (*info.mit_sot_in_slices, *info.sit_sot_in_slices)]
    sequences = [_move(next(outer), -1) for _ in range(info.n_seqs)]
    states = [_move(next(outer), -1) for _ in taps]
    states += [next(outer) for _ in range(info.n_untraced_sit_sot)]
    taps += [1] * info.n_untraced_sit_sot
    others = list(outer)[info.n_nit_sot :]
    # The outputs of a step are those with an axis of steps, then the others
    traced = len(states) - info.n_untraced_sit_sot + info.n_nit_sot
    while True:
        read = [state for state, count in zip(states, taps, strict=True) for _ in range(count)]
        given = dict(zip(op.fgraph.inputs, [*sequences, *read, *others], strict=True))
        after = _mark(op.fgraph.outputs, given)[: traced + info.n_untraced_sit_sot]
        new = [*after[: traced - info.n_nit_sot], *after[traced:]]
        joined = [_join(*pair) for pair in zip(states, new, strict=True)]
        if joined == states:
            return [*(_move(mark, 1) for mark in after[:traced]), *after[traced:]]
        states = joined


def _move(mark: Mark, by: int) -> Mark:
    """Return a mark for a variable with so many more axes in front."""
    return mark._replace(axes=frozenset(axis + by for axis in mark.axes if axis + by >= 0))


def _join(one: Mark, other: Mark) -> Mark:
    return Mark(
        one.axes | other.axes,
        one.sizes | other.sizes,
        one.mixed or other.mixed,
        one.lost or other.lost,
        one.merged or other.merged,
    )
