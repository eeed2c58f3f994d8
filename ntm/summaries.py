"""A table of a network: layers, shapes, parameters, and the memory that a training step needs.

Notation: B sequences in a batch, T time steps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from lasagne.layers import InputLayer, MergeLayer
from lasagne.loop import Loop
from lasagne.residuals import count_loop_bytes, count_tensor_bytes
from lasagne.updates import adam
from ntm.arguments import Number
from ntm.structure import Node, count_numbers, get_structure
from ntm.typing import Layers

__all__ = ["Row", "StepMemory", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """A line of the table: a layer, or a part inside of a layer.

    Attributes
    ----------
    title : str
        Name and class.
    label : str
        The name, or another way to tell the layer from the others.
    depth : int
        0 for a layer, 1 for a part of a layer, and so on.
    shape : tuple or None
        Of the output.
    num_params, num_trainable : int
        Numbers in the parameters that no line before has, and how many of them are trained.
    below : tuple of str
        The labels of the layers that feed into this one.
    kept : int or None
        Bytes that a training step keeps of the layer for the gradient; None where they were not counted.
    """

    title: str
    label: str
    depth: int
    shape: tuple[int | None, ...] | None
    num_params: int
    num_trainable: int
    below: tuple[str, ...]
    kept: int | None


@dataclass(frozen=True)
class StepMemory:
    """The bytes that a training step of the whole batch holds at once, as JAX runs it.

    Attributes
    ----------
    batch_size : int
    num_steps : int or None
    params : int
        The parameters, twice: before and after the update.
    grads : int
        The gradients of the parameters that are trained.
    update : int
        The state of the update rule, twice.
    rule : str
        The name of the update rule.
    inputs : int
        The input of the network.
    kept : int
        From the forward pass to the way back: the states of loops, and the outputs of layers.
    work : int
        What loops hold on the way back besides.
    unrolled : tuple of str
        Layers whose loops are not counted, because they are written out step by step (``unroll_scan=True``).
    """

    batch_size: int
    num_steps: int | None
    params: int
    grads: int
    update: int
    rule: str
    inputs: int
    kept: int
    work: int
    unrolled: tuple[str, ...]

    @property
    def total(self) -> int:
        """All bytes together."""
        return self.params + self.grads + self.update + self.inputs + self.kept + self.work

    def __str__(self) -> str:
        sequences = f"{self.batch_size:,} sequence{'s' * (self.batch_size != 1)}"
        steps = "" if self.num_steps is None else f" of {self.num_steps:,} steps"
        lines = [
            ("parameters, before and after the update", self.params),
            ("gradients of the parameters", self.grads),
            (f"state of the update rule {self.rule}, before and after", self.update),
            ("input", self.inputs),
            ("kept for the gradient", self.kept),
            ("held on the way back", self.work),
            ("together, about", self.total),
        ]
        texts = [(name, format_bytes(size)) for name, size in lines if size]
        texts = [(f"  {name}", size) for name, size in texts]
        table = [f"Memory of a training step, {sequences}{steps}, by JAX:", *_align(texts, "<>")]
        table += [f"  {name} is not counted: its loop is unrolled" for name in self.unrolled]
        return "\n".join(table)


@dataclass(frozen=True)
class Summary:
    """What :func:`summary` gives; printing it shows the table.

    Attributes
    ----------
    rows : list of Row
    num_params, num_trainable : int
        Numbers in all parameters, each parameter once, and how many of these numbers are trained.
    notes : list of str
        Which layers share parameters.
    memory : StepMemory or None
    """

    rows: list[Row]
    num_params: int
    num_trainable: int
    notes: list[str]
    memory: StepMemory | None

    def __str__(self) -> str:
        layers = [row for row in self.rows if not row.depth]
        is_chain = all(row.below == (before.label,) for before, row in pairwise(layers))
        titles = ["Layer", "Output shape", "Parameters", "Trainable"]
        titles += ["Kept"] * (self.memory is not None) + ["Fed by"] * (not is_chain)
        lines = [tuple(titles)]
        for row in self.rows:
            cells = [
                "  " * row.depth + row.title,
                "" if row.shape is None else str(row.shape),
                f"{row.num_params:,}",
                f"{row.num_trainable:,}",
            ]
            if self.memory is not None:
                cells.append("" if row.kept is None else format_bytes(row.kept))
            if not is_chain:
                cells.append(", ".join(row.below))
            lines.append(tuple(cells))
        table = _align(lines, "<<>>" + ">" * (self.memory is not None) + "<")
        rule = "-" * max(map(len, table))
        fixed = self.num_params - self.num_trainable
        text = [table[0], rule, *table[1:], rule, *self.notes]
        text.append(
            f"Parameters: {self.num_params:,}; {self.num_trainable:,} trainable, {fixed:,} not trainable"
        )
        if self.memory is None:
            text.append(
                "summary(l_out, batch_size=..., num_steps=...) counts the memory of training."
            )
        else:
            text.append(str(self.memory))
        return "\n".join(text)

    __repr__ = __str__


def summary(
    l_out: Layers,
    batch_size: int | None = None,
    num_steps: int | None = None,
    update: Callable[..., Any] | None = adam,
    list_head_layers: bool = False,
) -> Summary:
    """Describe a network in a table: its layers, their output shapes and parameters, and what training keeps.

    Memory layers are shown with their controller, memory and heads. Each parameter counts once, in the first line that
    has it. Nothing is compiled, and the network stays as it is.

    Parameters
    ----------
    l_out : Layer or list of Layer
        The last layer of the network, or several.
    batch_size : int, optional
        B, for the memory of a training step. It is the batch size that the network fixes, or one, if only `num_steps`
        is given. Where a trainer divides a batch into blocks, give the size of a block.
    num_steps : int, optional
        T, for the memory of a training step.
    update : callable or None
        The update rule whose state counts, as the trainer takes it: ``update(grads, params, learning_rate=...)``; None
        for no state.
    list_head_layers : bool
        Whether to list the layers of each head: key, key strength, gate and so on.

    Returns
    -------
    Summary
        ``print`` shows the table; its attributes are the numbers.

    Raises
    ------
    TypeError
        If `l_out` is neither a layer nor a list of layers.
    ValueError
        If `batch_size` or `num_steps` do not fit the network.

    Notes
    -----
    The memory is that of the arrays which JAX holds at once for a step of the whole batch. XLA's own count was 0.9 to
    1.3 times as large for an NTM, a DNC, a SAM, an SDNC and an LSTM. The library, compiled programs and the targets of
    the batch come on top.

    Examples
    --------
    >>> import ntm
    >>> from lasagne.layers import DenseLayer, InputLayer
    >>> hidden = DenseLayer(InputLayer((None, 20)), num_units=50)
    >>> ntm.summary(DenseLayer(hidden, num_units=10, name="output"))
    Layer                Output shape  Parameters  Trainable
    --------------------------------------------------------
    InputLayer           (None, 20)             0          0
    DenseLayer           (None, 50)         1,050      1,050
    output (DenseLayer)  (None, 10)           510        510
    --------------------------------------------------------
    Parameters: 1,560; 1,560 trainable, 0 not trainable
    summary(l_out, batch_size=..., num_steps=...) counts the memory of training.
    """
    try:
        nodes = get_structure(l_out)
    except TypeError as error:
        raise TypeError(f"summary: {error}") from None
    counted = (
        _Count(nodes, batch_size, num_steps) if (batch_size, num_steps) != (None, None) else None
    )
    params = [param for node in nodes for param in node.params]
    trained = {param for node in nodes for param in node.layer.get_params(trainable=True)}
    trainable = [param for param in params if param in trained]
    memory = None
    if counted is not None:
        memory = StepMemory(
            counted.batch_size,
            num_steps,
            2 * _count_param_bytes(params),
            _count_param_bytes(trainable),
            2 * _count_update_bytes(update, trainable),
            "" if update is None else _get_name(update),
            counted.inputs,
            sum(counted.kept.values()),
            counted.work,
            tuple(counted.unrolled),
        )
    return Summary(
        list(_list_rows(nodes, counted, list_head_layers)),
        count_numbers(params),
        count_numbers(trainable),
        [
            f"{node.title} has {count_numbers(shared):,} of its numbers in common with {label}; they count once."
            for node in nodes
            for label, shared in node.shared.items()
        ],
        memory,
    )


def _list_rows(
    nodes: Sequence[Node], counted: "_Count | None", list_head_layers: bool, depth: int = 0
) -> Iterator[Row]:
    """Give a row for each node, and for the parts inside of it."""
    for node in nodes:
        kept = counted.kept.get(node.label) if counted is not None and depth == 0 else None
        below = () if node.is_head else tuple(each.label for each in node.below)
        yield Row(
            node.title,
            node.label,
            depth,
            node.shape,
            node.num_params,
            node.num_trainable,
            below,
            kept,
        )
        if list_head_layers or not node.is_head:
            yield from _list_rows(node.parts, counted, list_head_layers, depth + 1)


# ---- The memory of a training step


class _Count:
    """The bytes of a training step, for each layer.

    Attributes
    ----------
    batch_size : int
    inputs : int
    kept : dict from label to int
    work : int
    unrolled : list of str
    """

    def __init__(
        self, nodes: Sequence[Node], batch_size: int | None, num_steps: int | None
    ) -> None:
        for name, value in (("batch_size", batch_size), ("num_steps", num_steps)):
            if value is not None:
                Number(int, 1).check(f"summary: {name}", value)
        self.num_steps = num_steps
        self.batch_size = self._fix_batch_size(nodes, batch_size)
        self.inputs, self.work = 0, 0
        self.kept: dict[str, int] = {}
        self.unrolled: list[str] = []
        values: dict[Any, Any] = {}
        seen: set[Any] = set()
        if num_steps is not None and not any(self._has_steps(node) for node in nodes):
            raise ValueError(
                f"summary: num_steps is {num_steps}, but no input of the network is of shape (batch, time, ...)"
            )
        for node in nodes:
            layer = node.layer
            if isinstance(layer, InputLayer):
                values[layer] = self._make_input(node, layer.shape, node.layer.input_var.dtype)
                self.inputs += count_tensor_bytes(values[layer], self.batch_size)
                continue
            incoming = layer.input_layers if isinstance(layer, MergeLayer) else [layer.input_layer]
            shapes = layer.input_shapes if isinstance(layer, MergeLayer) else [layer.input_shape]
            below = [
                values[each] if each is not None else self._make_input(node, shape)
                for each, shape in zip(incoming, shapes, strict=True)
            ]
            # A draw of dropout would change the numbers that the layer draws later
            values[layer] = layer.get_output_for(
                below if isinstance(layer, MergeLayer) else below[0], deterministic=True
            )
            self._add(node, values[layer], seen)

    def _add(self, node: Node, output: Any, seen: set[Any]) -> None:
        """Count a layer: its output, and the loops that were not seen before."""
        self.kept[node.label] = count_tensor_bytes(output, self.batch_size)
        for variable in ancestors([output], blockers=seen):
            apply = variable.owner
            if variable not in seen and apply is not None and isinstance(apply.op, Loop):
                seen.update(apply.outputs)
                steps = apply.inputs[0].type.shape[0]
                found = count_loop_bytes(apply.op, steps or self.num_steps or 1, self.batch_size)
                self.kept[node.label] += found.kept
                self.work += found.work
        seen.add(output)
        if getattr(node.layer, "unroll_scan", False):
            self.unrolled.append(node.title)

    def _fix_batch_size(self, nodes: Sequence[Node], given: int | None) -> int:
        for node in nodes:
            size = node.layer.shape[0] if isinstance(node.layer, InputLayer) else None
            if size is not None and given not in (None, size):
                raise ValueError(
                    f"summary: batch_size is {given}, but {node.title} is for batches of {size}"
                )
            given = given if size is None else size
        return given or 1

    def _has_steps(self, node: Node) -> bool:
        """Return whether the sequences that enter a layer from outside have or may have `num_steps` steps."""
        layer = node.layer
        shapes = [layer.shape] if isinstance(layer, InputLayer) else []
        if isinstance(layer, MergeLayer):
            pairs = zip(layer.input_layers, layer.input_shapes, strict=True)
            shapes = [shape for below, shape in pairs if below is None]
        elif not shapes and layer.input_layer is None:
            shapes = [layer.input_shape]
        return any(len(shape) > 1 and shape[1] in (None, self.num_steps) for shape in shapes)

    def _make_input(self, node: Node, shape: Sequence[int | None], dtype: str | None = None) -> Any:
        """Return a variable for what enters a layer from outside, with the number of steps known."""
        sizes = list(shape)
        if len(sizes) > 1 and sizes[1] is None:
            if self.num_steps is None:
                raise ValueError(
                    f"summary: num_steps is needed, because {node.title} is of shape {tuple(shape)}"
                )
            sizes[1] = self.num_steps
        elif len(sizes) > 2 and self.num_steps not in (None, sizes[1]):
            raise ValueError(
                f"summary: num_steps is {self.num_steps}, but {node.title} is of shape {tuple(shape)}"
            )
        if None in sizes[2:]:
            raise ValueError(
                f"summary: the memory of a training step follows from known sizes, but {node.title} is of shape "
                f"{tuple(shape)}"
            )
        return pt.tensor(dtype=dtype, shape=tuple(sizes))


def _count_param_bytes(params: Sequence[Any]) -> int:
    return sum(count_numbers([param]) * np.dtype(param.dtype).itemsize for param in params)


def _count_update_bytes(update: Callable[..., Any] | None, params: Sequence[Any]) -> int:
    """Return the bytes of an update rule's own state, such as averages of gradients."""
    if update is None or not params:
        return 0
    grads = [pt.zeros_like(param) for param in params]
    updates = update(grads, list(params), learning_rate=1e-3)
    return _count_param_bytes([variable for variable in updates if variable not in params])


def _get_name(function: Any) -> str:
    """Return the name of a function, also where arguments of it were set by `functools.partial`."""
    return getattr(getattr(function, "func", function), "__name__", type(function).__name__)


# ---- Text


def format_bytes(size: float) -> str:
    """Return a number of bytes in three digits, such as ``14.2 kB``."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        del units[0]
    unit = units[0]
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.95 else f"{size:.3g} {unit}"


def _align(lines: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Return lines of cells as text, the cells of a column below each other: ``<`` to the left, ``>`` to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=False)
        ).rstrip()
        for line in lines
    ]
