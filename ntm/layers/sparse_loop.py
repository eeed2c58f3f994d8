"""A loop over time with a large memory of which each step reads and writes a few rows.

:func:`sparse_loop` does for a sparse memory what `lasagne.loop.loop` does for other states. Its node,
:class:`SparseLoop`, is expanded into a `pytensor.scan` where PyTensor compiles to C or Numba. On JAX, the residuals for
the gradient are the rows that each step overwrote, not the memory: on the way back, each step undoes its writes
(`ntm.layers.jax_sparse_loop`).

Notation: B batch, T time steps, N slots, M slot width, J rows written, P rows read.

References
----------
Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 3.4.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pytensor.gradient import DisconnectedGrad
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.tensor.shape import Shape, Shape_i

from lasagne.loop import Loop, build_step, loop
from lasagne.utils import is_float
from ntm.addressing.rows import ReadRows, WriteRows
from ntm.typing import Tensor


def sparse_loop(
    step: Callable[..., Sequence[Variable]],
    sequences: Sequence[Tensor],
    states: Sequence[Tensor],
    memory: Tensor,
    stores: Sequence[Tensor],
    backwards: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Apply a step that reads and writes rows of a memory to every item of the sequences in turn.

    The step is as for `lasagne.loop.loop`, with the memory and the stores last among the states. The step makes the new
    memory from the old one by :func:`ntm.addressing.rows.write_rows`, once or several times, or leaves the old one.
    From the memory before and after each write, the step takes rows by :func:`ntm.addressing.rows.read_rows`, and
    values without a gradient: integers such as the positions of slots, and results of `disconnected_grad`. The stores
    are large as well and have no gradient: the step takes only values without a gradient from them.

    Parameters
    ----------
    step : callable
    sequences : list of tensors (T, ...)
        At least one.
    states : list of tensors (B, ...)
        Before the first step.
    memory : tensor (B, N, M)
    stores : list of tensors (B, ...)
    backwards : bool
        Whether to go from the last item to the first.

    Returns
    -------
    list of tensors (T, ...)
        Each state after each step, in the order of the steps.
    list of tensors
        The memory and the stores after the last step.

    Raises
    ------
    ValueError
        If the step uses the memory or a store in another way.
    """
    states, large = list(states), [memory, *stores]
    count = len(states)
    built = build_step(step, sequences, [*states, *large])
    first = built.num_sequences + count
    before = built.fgraph.inputs[first : first + len(large)]
    if all(a is b for a, b in zip(before, built.fgraph.outputs[count:], strict=False)):
        traces = loop(lambda *args: step(*args, *large)[:count], sequences, states, -1, backwards)
        return traces, large
    if built.updated:
        # Random numbers that are drawn in the loop cannot be drawn again on the way back
        traces = loop(step, sequences, [*states, *large], -1, backwards)
        return traces[:count], [trace[-1] for trace in traces[count:]]
    op = SparseLoop(built.fgraph, built.num_sequences, count, len(large), backwards)
    outputs = op.call(built.inputs)
    return outputs[:count], outputs[count:]


class Read(NamedTuple):
    """A read of the memory within a step: after how many writes, and the number of its positions among `picked`."""

    num_writes: int
    positions: int


class Write(NamedTuple):
    """A write: the numbers, among `picked`, of its positions and of whether the row at the last position is erased."""

    positions: int
    erases: int


class StepParts(NamedTuple):
    """A step taken apart at the memory.

    Attributes
    ----------
    forward : FunctionGraph
        From the inputs of the step to the next states, the next memory and stores, the rows that each write
        overwrites, and `picked`.
    smooth : FunctionGraph
        The part of the step that has a gradient. From the inputs of the step (memory and stores for their shapes
        alone), `picked` and the rows of each read, to the next states of floating point numbers and the rows that each
        write adds.
    reads : list of Read
    writes : list of Write
        In the order in which they are made.

    `picked` are the positions of reads and writes, and all other values without a gradient that the step takes from the
    memory and the stores.
    """

    forward: FunctionGraph
    smooth: FunctionGraph
    reads: list
    writes: list


class SparseLoop(Loop):
    """A loop that carries a memory, of which a step writes a few rows, and stores without a gradient.

    Parameters
    ----------
    fgraph : FunctionGraph
        One step: from an item of each sequence, the states, the memory, the stores and the constants that all steps
        share, to the next states, memory and stores.
    num_sequences, num_states, num_carried : int
    backwards : bool

    Raises
    ------
    ValueError
        If the step uses the memory or a store otherwise than :func:`sparse_loop` allows.
    """

    jax_conversions = "ntm.layers.jax_sparse_loop"

    def __init__(
        self,
        fgraph: FunctionGraph,
        num_sequences: int,
        num_states: int,
        num_carried: int,
        backwards: bool,
    ) -> None:
        super().__init__(fgraph, num_sequences, num_states, num_carried, backwards)
        self.take_apart()

    def __str__(self) -> str:
        return f"SparseLoop{{{self.num_states} states}}"

    def list_residuals(self) -> tuple[list[Variable], list[Variable]]:
        """Return of each step the small states, the rows overwritten and `picked`; and once the memory and stores.

        The memory is listed twice, as the gradient holds the memory and its gradient.
        """
        outputs = self.take_apart().forward.outputs
        end = self.num_states + self.num_carried
        large = outputs[self.num_states : end]
        return outputs[: self.num_states] + outputs[end:], [large[0], *large]

    def take_apart(self) -> StepParts:
        """Take the step apart at the memory, into new graphs each time.

        Returns
        -------
        StepParts
        """
        fgraph = self.fgraph
        large = self.split_inputs(fgraph.inputs)[2]
        writes = _find_writes(fgraph.outputs[self.num_states], large[0])
        memories = [large[0], *(write.outputs[0] for write in writes)]
        results = [v for v in fgraph.outputs[: self.num_states] if is_float(v)]
        results += [write.inputs[2] for write in writes]
        depend = _find_dependents(fgraph, large)
        reads, picked = _cut(results, memories, set(large), depend)
        # Each value once. Positions are picked even where they depend on neither memory nor stores
        for node in (*reads, *writes):
            picked += [node.inputs[1], *node.inputs[3:]]
        picked = list(dict.fromkeys(picked))
        old = [write.outputs[1] for write in writes]
        forward = FunctionGraph(fgraph.inputs, [*fgraph.outputs, *old, *picked], clone=True)
        given = [*picked, *(read.outputs[0] for read in reads)]
        inner = [variable.type() for variable in given]
        outputs = clone_replace(results, dict(zip(given, inner, strict=True)))
        smooth = FunctionGraph([*fgraph.inputs, *inner], outputs, clone=True)
        return StepParts(
            forward,
            smooth,
            [Read(memories.index(r.inputs[0]), picked.index(r.inputs[1])) for r in reads],
            [Write(picked.index(w.inputs[1]), picked.index(w.inputs[3])) for w in writes],
        )


def _find_writes(memory: Variable, before: Variable) -> list[Apply]:
    """Return the writes that made a memory from the memory before the step, the first write first."""
    writes: list[Apply] = []
    while memory is not before:
        if memory.owner is None or memory.owner.op != WriteRows():
            raise ValueError("the step of a sparse loop must make the new memory by write_rows")
        writes.insert(0, memory.owner)
        memory = memory.owner.inputs[0]
    return writes


def _find_dependents(fgraph: FunctionGraph, roots: Sequence[Variable]) -> set[Variable]:
    """Return the variables of a graph that depend on some of its inputs."""
    found = set(roots)
    for node in fgraph.toposort():
        if any(variable in found for variable in node.inputs):
            found.update(node.outputs)
    return found


def _is_shape(variable: Variable) -> bool:
    """Return whether a variable depends on other variables through their shapes only."""
    if isinstance(variable, Constant):
        return True
    node = variable.owner
    if node is None or is_float(variable):
        return False
    return isinstance(node.op, Shape | Shape_i) or all(_is_shape(each) for each in node.inputs)


def _cut(
    results: list[Variable], memories: list[Variable], large: set[Variable], depend: set[Variable]
) -> tuple[list[Apply], list[Variable]]:
    """Find where the gradient of a step's results ends: at reads of the memories, and at values without a gradient."""
    reads: dict[Apply, None] = {}
    picked: dict[Variable, None] = {}
    pending, visited = list(results), set()
    while pending:
        variable = pending.pop()
        if variable in visited or variable not in depend:
            continue
        visited.add(variable)
        node = variable.owner
        if node is not None and node.op == ReadRows() and node.inputs[0] in memories:
            reads[node] = None
        elif _is_shape(variable):
            continue
        elif variable not in large and (
            not is_float(variable) or isinstance(node.op, DisconnectedGrad)
        ):
            picked[variable] = None
        elif variable in large or variable in memories:
            raise ValueError(
                "the step of a sparse loop must read the memory by read_rows, and make nothing else with a gradient "
                "from the memory or the stores"
            )
        else:
            pending += node.inputs
    return list(reads), list(picked)
