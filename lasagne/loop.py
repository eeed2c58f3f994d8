"""A loop over time whose gradient is left to the back end.

:func:`loop` is what the recurrent layers run on. Its node, :class:`Loop`, holds one step. Where
PyTensor compiles to C or Numba it is expanded into a `pytensor.scan`, and its gradient into the
gradient of that scan, before anything else is rewritten. A back end that differentiates by itself
may keep both nodes and is spared the graph of the gradient, which is much larger than the step and
takes most of the time to build and to compile.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.gradient import DisconnectedType, disconnected_grad, pullback
from pytensor.graph.basic import Apply, Constant, Variable, equal_computations
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.graph.traversal import ancestors, graph_inputs, truncated_graph_inputs
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.type import TensorType

from .tensors import update_by_default
from .typing import Tensor
from .utils import is_float

__all__ = [
    "BuiltStep",
    "Loop",
    "LoopGradient",
    "build_step",
    "expand_loop",
    "expand_node",
    "get_last",
    "loop",
]


def loop(
    step: Callable[..., Sequence[Any]],
    sequences: Sequence[Any],
    states: Sequence[Any],
    gradient_steps: int = -1,
    backwards: bool = False,
    checkpoint_every: int = 1,
) -> list[Any]:
    """Apply a step to every item of the sequences in turn.

    What does not change from step to step is computed once, outside of the loop. Shared variables that the step
    updates by default (random generators, running averages) are carried along, so that each step goes on from the
    step before, and are updated by default from the last step.

    Parameters
    ----------
    step : callable
        From an item of each sequence and the states, a tensor each, to the list of the next states.
    sequences : list of tensors (T, ...)
        At least one.
    states : list of tensors
        Before the first step. A step must keep their data types and numbers of dimensions.
    gradient_steps : int
        Number of steps that the gradient goes back; -1 for all.
    backwards : bool
        Whether to go from the last item to the first.
    checkpoint_every : int
        Gradient checkpointing: store the states every so many steps and run the steps between again; 1 stores all
        states. About the square root of T needs the least memory. A back end may ignore this.

    Returns
    -------
    list of tensors (T, ...)
        Each state after each step, in the order of the steps.
    """
    if gradient_steps != -1 and gradient_steps < 1:
        raise ValueError(f"loop: gradient_steps must be positive, or -1, not {gradient_steps}")
    if checkpoint_every < 1:
        raise ValueError(f"loop: checkpoint_every must be positive, not {checkpoint_every}")
    built = build_step(step, sequences, states)
    op = Loop(
        built.fgraph,
        built.num_sequences,
        len(states),
        len(built.updated),
        backwards,
        checkpoint_every,
    )
    if gradient_steps == -1:
        outputs = op.call(built.inputs)
    else:
        outputs = _truncate(op, built.inputs, gradient_steps)
    built.update_by_default(outputs[len(states) :])
    return outputs[: len(states)]


def get_last(trace: Tensor, initial: Tensor) -> Tensor:
    """Return the state after the last step, from its trace (T, ...), or the initial state if there is no step."""
    if trace.type.shape[0]:
        return trace[-1]
    return pt.concatenate([initial[None], trace[-1:]])[-1]


class BuiltStep(NamedTuple):
    """A step as a graph, and what it is applied to.

    Attributes
    ----------
    fgraph : FunctionGraph
        From an item of each sequence, the states, the values of `updated` and what the steps share to the next states
        and values.
    inputs : list of variables
        The sequences, the states, `updated`, and what the steps share.
    num_sequences : int
    updated : list of shared variables
        What the step updates by default.
    """

    fgraph: FunctionGraph
    inputs: list
    num_sequences: int
    updated: list

    def update_by_default(self, values: Sequence[Variable]) -> None:
        """Let a function that uses the loop store the last values of what the step updates."""
        for variable, last in zip(self.updated, values, strict=True):
            update_by_default(variable, last)


def build_step(
    step: Callable[..., Sequence[Any]], sequences: Sequence[Any], states: Sequence[Any]
) -> BuiltStep:
    """Build a step of a loop; what does not change from step to step is left outside.

    Parameters
    ----------
    step, sequences, states
        As in :func:`loop`.

    Returns
    -------
    BuiltStep
    """
    slices = [sequence[0].type() for sequence in sequences]
    previous = [state.type() for state in states]
    results = [
        state.type.filter_variable(result.astype(state.type.dtype))
        for result, state in zip(step(*slices, *previous), states, strict=True)
    ]
    outside = dict(zip([*slices, *previous], [*(s[0] for s in sequences), *states], strict=True))
    drawn = _draw_beforehand(results, outside, sequences[0].shape[0])
    numbers = [draw.type() for draw in drawn]
    updated = _find_updated(results, drawn)
    results += [variable.type.filter_variable(variable.default_update) for variable in updated]
    # Another variable may hold the same value, as in the update of a running average
    by_container = {id(variable.container): variable.type() for variable in updated}
    carried = list(by_container.values())
    aliases = {
        variable: by_container[id(variable.container)]
        for variable in ancestors(results)
        if isinstance(variable, SharedVariable) and id(variable.container) in by_container
    }
    results = clone_replace(results, {**dict(zip(drawn, numbers, strict=True)), **aliases})

    varying = [*slices, *numbers, *previous, *carried]
    constants = _find_constants(results, varying)
    parameters = [variable.type() for variable in constants]
    fgraph = FunctionGraph(
        [*varying, *parameters],
        clone_replace(results, dict(zip(constants, parameters, strict=True))),
        clone=True,
    )
    inputs = [*sequences, *drawn.values(), *states, *updated, *constants]
    return BuiltStep(fgraph, inputs, len(sequences) + len(drawn), updated)


def _draw_beforehand(
    results: Sequence[Any], outside: dict[Any, Any], time: Variable
) -> dict[Any, Any]:
    """Draw the random numbers of all steps outside of the loop, where that can be done.

    PyTensor has no gradient of a loop that draws, because it does not keep the states of the generator. Numbers whose
    distribution follows from the items or the states stay in the loop.

    Parameters
    ----------
    results : list of variables
        The results of a step.
    outside : dict
        The variables of a step, and variables of the same shapes outside of the loop.
    time : scalar
        The number of steps.

    Returns
    -------
    dict from the draws of a step to tensors (T, ...) of such draws
    """
    drawn = {}
    for generator in _find_updated(results):
        node = generator.default_update.owner
        if (
            node is None
            or not isinstance(node.op, RandomVariable)
            or node.op.ndim_supp
            or node.inputs[0] is not generator
            or not isinstance(node.inputs[1].type, TensorType)
            or outside.keys() & set(ancestors(node.inputs[2:]))
        ):
            continue
        _, size, *parameters = node.inputs
        draw = node.outputs[1]
        size = clone_replace(size, outside)
        shape = [time, *(size[k] if n is None else n for k, n in enumerate(draw.type.shape))]
        update, numbers = node.op.make_node(generator, pt.as_tensor(shape), *parameters).outputs
        update_by_default(generator, update)
        drawn[draw] = numbers
    return drawn


def _truncate(op: "Loop", inputs: Sequence[Variable], gradient_steps: int) -> list[Variable]:
    """Return the outputs of a loop whose gradient goes back through the last steps alone.

    All steps but the last `gradient_steps` run in a loop of their own, which no gradient enters.
    """
    sequences, states, carried, constants = op.split_inputs(inputs)
    length = sequences[0].shape[0]
    steps = pt.maximum(length - gradient_steps, 0)
    if op.backwards:
        early, late = slice(length - steps, None), slice(None, length - steps)
    else:
        early, late = slice(None, steps), slice(steps, None)
    first = op.call(
        [
            *(disconnected_grad(sequence[early]) for sequence in sequences),
            *(disconnected_grad(state) for state in states),
            *carried,
            *(disconnected_grad(constant) for constant in constants),
        ]
    )
    # With no early steps the state before the last steps is the initial one, and it has a gradient
    joined = [
        pt.concatenate([state[None], disconnected_grad(trace)])
        for state, trace in zip(states, first, strict=False)
    ]
    last = op.call(
        [
            *(sequence[late] for sequence in sequences),
            *(trace[-1] for trace in joined),
            *first[op.num_states :],
            *constants,
        ]
    )
    traces = [pt.concatenate([trace[1:], rest]) for trace, rest in zip(joined, last, strict=False)]
    return [*traces, *last[op.num_states :]]


def _find_constants(results: Sequence[Any], varying: Sequence[Variable]) -> list[Variable]:
    """Return what the results need that does not depend on `varying`, as far from the roots as possible.

    Only floating point tensors are taken from between the roots and the results: integers are mostly shapes, which
    a back end may have to know when it compiles.
    """
    invariant = [
        variable
        for variable in truncated_graph_inputs(results, varying)
        if variable not in varying
        and is_float(variable)
        and not all(isinstance(root, Constant) for root in graph_inputs([variable]))
    ]
    roots = truncated_graph_inputs(results, [*varying, *invariant])
    return invariant + [
        variable
        for variable in roots
        if variable.owner is None
        and not isinstance(variable, Constant)
        and variable not in varying
        and variable not in invariant
    ]


def _find_updated(results: Sequence[Any], drawn: Collection[Variable] = ()) -> list[Any]:
    """Return the shared variables with a default update that the results, or such an update, depend on.

    The generators of what is `drawn` beforehand are left out.
    """
    found: list[SharedVariable] = []
    outputs = list(results)
    while outputs:
        new = [
            variable
            for variable in ancestors(outputs, blockers=drawn)
            if isinstance(variable, SharedVariable)
            and variable.default_update is not None
            and not any(variable.container is known.container for known in found)
        ]
        found += new
        outputs = [variable.default_update for variable in new]
    return found


def are_equal_graphs(one: FunctionGraph, other: FunctionGraph) -> bool:
    """Tell whether the graphs inside of two operations compute the same from their inputs."""
    return equal_computations(
        list(one.outputs), list(other.outputs), list(one.inputs), list(other.inputs)
    )


class Loop(Op):
    """The states after each step of a loop.

    Inputs are the sequences (T, ...), the states, what else is carried from step to step, and what all steps share.
    Outputs are each state after each step, (T, ...), and the last value of what else is carried.

    Parameters
    ----------
    fgraph : FunctionGraph
        One step: from an item of each sequence and the other inputs to the next states and carried values.
    num_sequences, num_states, num_carried : int
    backwards : bool
    checkpoint_every : int
        As in :func:`loop`.
    """

    def __init__(
        self,
        fgraph: FunctionGraph,
        num_sequences: int,
        num_states: int,
        num_carried: int,
        backwards: bool,
        checkpoint_every: int = 1,
    ) -> None:
        self.fgraph = fgraph
        self.num_sequences = num_sequences
        self.num_states = num_states
        self.num_carried = num_carried
        self.backwards = backwards
        self.checkpoint_every = checkpoint_every
        self.floating = [is_float(variable) for variable in fgraph.inputs]
        self._settings = (num_sequences, num_states, num_carried, backwards, checkpoint_every)
        self._hash = hash(
            (type(self), self._settings, tuple(v.type for v in [*fgraph.inputs, *fgraph.outputs]))
        )

    def __eq__(self, other: object) -> bool:
        return self is other or (
            type(self) is type(other)
            and self._hash == other._hash
            and self._settings == other._settings
            and are_equal_graphs(self.fgraph, other.fgraph)
        )

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return f"Loop{{{self.num_states} states}}"

    def split_inputs(self, inputs: Sequence[Variable]) -> list[list[Any]]:
        """Split inputs into sequences, states, carried values and constants, a list each."""
        ends = [self.num_sequences, self.num_states, self.num_carried, len(inputs)]
        parts: list[list[Any]] = []
        start = 0
        for count in ends:
            parts.append(list(inputs[start : start + count]))
            start += count
        return parts

    def list_residuals(self) -> tuple[list[Variable], list[Variable]]:
        """Return what the gradient needs of the forward pass, by variables of a step.

        Returns
        -------
        each : list of variables
            What the gradient keeps of each step.
        once : list of variables
            What the gradient holds once, not of each step. A variable that takes its size twice is listed twice.
        """
        return list(self.fgraph.outputs), []

    def make_node(self, *inputs: Variable) -> Apply:
        sequences, *rest = self.split_inputs(inputs)
        flat = [variable for part in rest for variable in part]
        inner = self.fgraph.inputs
        flat = [
            wanted.type.filter_variable(variable)
            for wanted, variable in zip(inner[len(sequences) :], flat, strict=True)
        ]
        lengths = {sequence.type.shape[0] for sequence in sequences} - {None}
        time = lengths.pop() if len(lengths) == 1 else None
        states, carried = (
            self.fgraph.outputs[: self.num_states],
            self.fgraph.outputs[self.num_states :],
        )
        outputs = [TensorType(v.type.dtype, shape=(time, *v.type.shape))() for v in states]
        return Apply(self, [*sequences, *flat], [*outputs, *(v.type() for v in carried)])

    def call(self, inputs: Sequence[Variable]) -> list[Any]:
        """Return the list of outputs for a list of inputs."""
        return list(self.make_node(*inputs).outputs)

    def expand(self, inputs: Sequence[Variable]) -> list[Any]:
        """Return the outputs of the same loop as a `pytensor.scan`."""
        sequences, states, carried, constants = self.split_inputs(inputs)

        def step(*args: Variable) -> list[Variable]:
            return clone_replace(
                self.fgraph.outputs, dict(zip(self.fgraph.inputs, args, strict=True))
            )

        traces = pytensor.scan(
            step,
            sequences=sequences,
            outputs_info=[*states, *carried],
            non_sequences=constants,
            go_backwards=self.backwards,
            return_list=True,
            return_updates=False,
        )
        for k in range(self.num_states, len(traces)):
            if isinstance(traces[k].type, TensorType):
                traces[k] = traces[k][-1]
        return traces

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [
            [is_float(variable) and is_float(output) for output in node.outputs]
            for variable in node.inputs
        ]

    def pullback(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        output_grads: Sequence[Variable],
    ) -> list[Variable]:
        return _make_gradient(self, inputs, output_grads)

    def perform(self, node: Apply, inputs: Sequence[Variable], output_storage: Any) -> None:
        raise NotImplementedError(
            "a Loop must be expanded before it is run: use a mode that rewrites"
        )


def _make_gradient(
    op: "Loop | LoopGradient", inputs: Sequence[Variable], output_grads: Sequence[Variable]
) -> list[Variable]:
    """Return the gradients with respect to the inputs of a loop, or of its gradient, as a node of their own."""
    connected = [
        k for k, grad in enumerate(output_grads) if not isinstance(grad.type, DisconnectedType)
    ]
    gradient = LoopGradient(op, connected)
    grads = iter(gradient.make_node(*inputs, *(output_grads[k] for k in connected)).outputs)
    return [next(grads) if floating else DisconnectedType()() for floating in op.floating]


class LoopGradient(Op):
    """Gradients of a loop with respect to its floating point inputs.

    Inputs are those of the loop, then the gradients with respect to its outputs `connected`. The gradient of this node,
    the second derivative, is another such node, whose `loop` is this one.

    Parameters
    ----------
    loop : Loop or LoopGradient
    connected : sequence of int
        Outputs of the loop that the cost depends on.

    Attributes
    ----------
    wrt : list of int
        Inputs of the loop that there is a gradient for.
    floating : list of bool
        Which inputs of this node are floating point numbers.
    """

    def __init__(self, loop: "Loop | LoopGradient", connected: Sequence[int]) -> None:
        self.loop = loop
        self.connected = tuple(connected)
        self.wrt = [k for k, floating in enumerate(loop.floating) if floating]
        self.floating: list[bool] = [*loop.floating, *(True for _ in self.connected)]

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and self.connected == other.connected
            and self.loop == other.loop
        )

    def __hash__(self) -> int:
        return hash((type(self), self.loop, self.connected))

    def __str__(self) -> str:
        return f"LoopGradient{{{self.loop}}}"

    def split_inputs(self, inputs: Sequence[Variable]) -> tuple[list[Any], list[Any]]:
        """Split inputs into the loop's inputs and the gradients of its outputs."""
        count = len(self.loop.floating)
        return list(inputs[:count]), list(inputs[count:])

    def make_node(self, *inputs: Variable) -> Apply:
        return Apply(self, list(inputs), [inputs[k].type() for k in self.wrt])

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[floating for _ in node.outputs] for floating in self.floating]

    def expand(self, inputs: Sequence[Variable]) -> list[Any]:
        """Return the outputs of the same gradient as that of a `pytensor.scan`."""
        inputs, output_grads = self.split_inputs(inputs)

        def outputs_of(copies: list[Variable]) -> list[Variable]:
            outputs = self.loop.expand(copies)
            return [outputs[k] for k in self.connected]

        return _pull_back(outputs_of, inputs, self.wrt, output_grads)

    def pullback(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        output_grads: Sequence[Variable],
    ) -> list[Variable]:
        return _make_gradient(self, inputs, output_grads)

    def perform(self, node: Apply, inputs: Sequence[Variable], output_storage: Any) -> None:
        raise NotImplementedError("a LoopGradient must be expanded before it is run")


def _pull_back(
    outputs_of: Callable[[list[Variable]], list[Variable]],
    inputs: Sequence[Variable],
    wrt: Sequence[int],
    output_grads: Sequence[Variable],
) -> Any:
    """Differentiate ``outputs_of(inputs)`` with PyTensor's own rules."""
    # New variables keep the gradient from going on into what computes the inputs
    copies = [variable.type() for variable in inputs]
    grads: Any = pullback(
        outputs_of(copies),
        [copies[k] for k in wrt],
        output_grads,
        disconnected_inputs="ignore",
        return_disconnected="zero",
    )
    grads = [grad.astype(copies[k].type.dtype) for k, grad in zip(wrt, grads, strict=True)]
    return clone_replace(grads, dict(zip(copies, inputs, strict=True)), rebuild_strict=False)


def expand_node(node: Apply) -> list[Variable]:
    """Return what takes the place of the outputs of a node, as the Op's `expand` makes it."""
    # To note for each new variable which line made it takes more than half of the time
    with pytensor.config.change_flags(traceback__limit=0):
        outputs = node.op.expand(node.inputs)
    return [
        old.type.filter_variable(new) if new.type != old.type else new
        for old, new in zip(node.outputs, outputs, strict=True)
    ]


@node_rewriter([Loop, LoopGradient])
def expand_loop(fgraph: FunctionGraph, node: Apply) -> list[Variable]:
    """Replace a loop by a `pytensor.scan`, its gradient by the scan's."""
    return expand_node(node)


# Before PyTensor's own rewrites; a back end that knows loops excludes "expand_loops"
optdb.register(
    "expand_loops",
    dfs_rewriter(expand_loop),
    "fast_compile",
    "fast_run",
    "minimum_compile",
    position=-0.02,
)
