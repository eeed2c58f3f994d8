"""How JAX runs and differentiates a `lasagne.loop.Loop`.

The residuals of a loop are the states before each step, and nothing else. The gradient computes a step again when it
goes back through it: that costs less than to write and read what the step had computed. The gradient of weights is not
summed up step by step either: one product of all steps gives it, after the loop.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedGrad, disconnected_grad
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import graph_rewriter
from pytensor.link.c.type import generic
from pytensor.scalar import Add
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.math import Dot

from lasagne.backends.jax_dispatch import convert_graph, load_conversions
from lasagne.backends.jax_registry import Conversion, jax_funcify
from lasagne.loop import Loop, LoopGradient
from lasagne.utils import is_float

__all__ = [
    "BackwardLoop",
    "DifferentiatedLoop",
    "ForwardLoop",
    "Product",
    "PullBack",
    "Residuals",
    "Segment",
    "choose_backward",
    "choose_forward",
    "cut",
    "make_backward",
    "make_forward",
    "make_plain",
    "pair_loops",
    "shift_back",
    "split_inputs",
    "tap_products",
]

# ---- Products with weights


class Product(NamedTuple):
    """A product in a step with weights that are the same at every step, and with a bias that is added to it.

    `weights` and `bias` tell which of the step's inputs they are; there may be no bias (``None``).
    """

    weights: int
    bias: int | None

    def get_gradients(self, left: jax.Array, output_grad: jax.Array) -> dict[int, jax.Array]:
        """From all steps' left sides (T, B, inputs) and outputs' gradients (T, B, units): a dict by input."""
        left, output_grad = (v.reshape(-1, v.shape[-1]) for v in (left, output_grad))
        grads = {self.weights: left.T @ output_grad}
        if self.bias is not None:
            grads[self.bias] = output_grad.sum(axis=0, keepdims=True)
        return grads


def tap_products(fgraph: FunctionGraph, shared: Collection[int]) -> list[Product]:
    """Open a step's products with weights to the gradient, and close the weights to it.

    To the output of each product a further input is added, the tap: at zero it changes nothing, and its gradient is
    that of the product. The product's left side becomes a further output of the step.

    Parameters
    ----------
    fgraph : FunctionGraph
        A step. It is changed: for each product it gets an input and an output, at the end.
    shared : collection of int
        Inputs that are the same at every step.

    Returns
    -------
    list of Product
    """
    position = {fgraph.inputs[k]: k for k in shared}
    products = []
    for node in fgraph.toposort():
        if not isinstance(node.op, Dot):
            continue
        left: Any
        left, weights = node.inputs
        if left.ndim != 2 or weights not in position or left in position:
            continue
        output = node.outputs[0]
        product = node.op(left, disconnected_grad(weights))
        bias = _get_bias(fgraph, output, position)
        if bias is not None:
            output = fgraph.clients[output][0][0].outputs[0]
            product = product + disconnected_grad(bias)
        tap = output.type()
        fgraph.add_input(tap)
        fgraph.replace(output, output.type.filter_variable(product + tap), import_missing=True)
        fgraph.add_output(left)
        products.append(Product(position[weights], None if bias is None else position[bias]))
    return products


def _get_bias(
    fgraph: FunctionGraph, product: Any, position: Mapping[Variable, int]
) -> Variable | None:
    """Return the bias, a shared row that is added to a product and to nothing else, or ``None``."""
    clients = [client for client, _ in fgraph.clients[product]]
    if len(clients) != 1 or not isinstance(clients[0].op, Elemwise):
        return None
    if not isinstance(clients[0].op.scalar_op, Add) or len(clients[0].inputs) != 2:
        return None
    others = [v for v in clients[0].inputs if v is not product]
    if not others or others[0] not in position or others[0].type.broadcastable != (True, False):
        return None
    return others[0]


def _takes_gradient(fgraph: FunctionGraph, variable: Variable) -> bool:
    """Return whether the gradient goes into a variable of a step whose products are tapped."""
    return any(
        not isinstance(client.op, DisconnectedGrad) for client, _ in fgraph.clients[variable]
    )


# ---- The loop as JAX functions


def split_inputs(op: Any, inputs: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the sequences in the order of the steps, what goes from step to step, and what the steps share."""
    sequences, states, carried, constants = op.split_inputs(inputs)
    if op.backwards:
        sequences = [sequence[::-1] for sequence in sequences]
    return sequences, [*states, *carried], constants


class ForwardLoop:
    """A loop as a function of JAX arrays.

    Parameters
    ----------
    op : Loop
    kwargs : dict
        What PyTensor hands to its conversions.
    own_gradients : bool
        As of `convert_graph`.
    """

    def __init__(self, op: Any, kwargs: dict[str, Any], own_gradients: bool = True) -> None:
        self._op = op
        self._step = convert_graph(op.fgraph.clone(), kwargs, own_gradients)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Run the loop, and return its outputs."""
        sequences, carry, constants = split_inputs(self._op, inputs)
        count = self._op.num_states

        def one_step(carry: list[Any], slices: Sequence[jax.Array]) -> tuple[Any, Any]:
            carry = list(self._step(*slices, *carry, *constants))
            return carry, carry[:count]

        carry, traces = jax.lax.scan(one_step, carry, sequences)
        return [*traces, *carry[count:]]

    def run_with_residuals(
        self, inputs: Sequence[Any], needed: Collection[int]
    ) -> tuple[list[Any], Any]:
        """Run the loop for its gradient.

        Parameters
        ----------
        inputs : list
        needed : collection of int
            The outputs that are wanted; the others may come as ``None``.

        Returns
        -------
        outputs : list
        residuals : list of Residuals
            Of each segment of the loop, the first steps first.
        """
        op = self._op
        sequences, carry, constants = split_inputs(op, inputs)
        segments = cut(sequences, op.checkpoint_every)
        if len(segments) == 1 and not segments[0].is_stacked:
            last, before = self.trace_carry(sequences, carry, constants)
            after = shift_back(before, last)
            outputs = [*after[: op.num_states], *last[op.num_states :]]
            return outputs, [Residuals(before, last)]

        wanted = [k for k in range(op.num_states) if k in needed]

        def one_step(carry: list[Any], slices: Sequence[jax.Array]) -> tuple[Any, Any]:
            carry = list(self._step(*slices, *carry, *constants))
            return carry, [carry[k] for k in wanted]

        def one_segment(carry: list[Any], slices: Sequence[jax.Array]) -> tuple[Any, Any]:
            last, traces = jax.lax.scan(one_step, carry, slices)
            return last, (Residuals(carry, None), traces)

        residuals, parts = [], []
        for segment in segments:
            if segment.is_stacked:
                carry, (saved, traces) = jax.lax.scan(one_segment, carry, segment.sequences)
                traces = [_join_segments(trace) for trace in traces]
            else:
                carry, (saved, traces) = one_segment(carry, segment.sequences)
            residuals.append(saved)
            parts.append(traces)
        outputs = [None] * op.num_states + carry[op.num_states :]
        for k, traces in zip(wanted, zip(*parts, strict=True), strict=True):
            outputs[k] = jnp.concatenate(traces)
        return outputs, residuals

    def trace_carry(
        self, sequences: Sequence[jax.Array], carry: list[Any], constants: Sequence[Any]
    ) -> tuple[Any, Any]:
        """Return the carry after the last step, and the carry before each step."""

        def one_step(carry: list[Any], slices: Sequence[jax.Array]) -> tuple[Any, Any]:
            return list(self._step(*slices, *carry, *constants)), carry

        return jax.lax.scan(one_step, carry, sequences)


class Residuals(NamedTuple):
    """What the gradient of a segment of steps needs.

    Either the states before each step and the states after the last step. Or the states before the first step alone:
    then `last` is ``None``, and the gradient runs the steps again.
    """

    before: list[jax.Array]
    last: list[jax.Array] | None


class Segment(NamedTuple):
    """Steps that follow each other: items of the sequences, or of several segments of equal length stacked."""

    sequences: Sequence[jax.Array]
    is_stacked: bool


def cut(sequences: Sequence[jax.Array], length: int) -> list[Segment]:
    """Cut sequences (T, ...) into segments: one of all steps if `length` is 1, or of so many steps, and of the rest."""
    steps = len(sequences[0])
    count = steps // length
    if length == 1 or count == 0:
        return [Segment(sequences, False)]
    end = count * length
    stacked = [s[:end].reshape(count, length, *s.shape[1:]) for s in sequences]
    segments = [Segment(stacked, True)]
    if end < steps:
        segments.append(Segment([s[end:] for s in sequences], False))
    return segments


def _join_segments(trace: jax.Array) -> jax.Array:
    """Join the results of stacked segments, (segments, steps, ...), to (steps, ...)."""
    return trace.reshape(trace.shape[0] * trace.shape[1], *trace.shape[2:])


class BackwardLoop:
    """The gradient of a loop as a function of JAX arrays.

    Parameters
    ----------
    op : Loop
    wrt : list of int
        The inputs of the loop that the gradient is taken with respect to.
    connected : list of int
        The outputs of the loop that there are gradients for.
    kwargs : dict
        What PyTensor hands to its conversions.
    """

    def __init__(
        self, op: Any, wrt: Sequence[int], connected: Sequence[int], kwargs: dict[str, Any]
    ) -> None:
        self._op = op
        self._wrt = wrt
        self._connected = connected
        self._num_outputs = op.num_states + op.num_carried
        self._first_carry = op.num_sequences
        self._first_constant = self._first_carry + self._num_outputs
        fgraph = op.fgraph.clone()
        variables = fgraph.inputs[:]
        self._products = tap_products(fgraph, [k for k in wrt if k >= self._first_constant])
        self._sources = self._drop_known_lefts(fgraph)
        # What the gradient of a step is taken with respect to: inputs of the step, by number
        self._slices = [k for k in wrt if k < self._first_carry]
        self._carry = [
            k for k in range(self._first_carry, self._first_constant) if is_float(variables[k])
        ]
        self._constants = [
            k for k in wrt if k >= self._first_constant and _takes_gradient(fgraph, variables[k])
        ]
        self._step = convert_graph(fgraph, kwargs)
        self._forward: Any = ForwardLoop(op, kwargs) if op.checkpoint_every > 1 else None

    def _drop_known_lefts(self, fgraph: FunctionGraph) -> list[tuple[str, int]]:
        """Take from a tapped step's outputs the products' left sides that are states.

        Returns
        -------
        list of pairs
            Where each product's left side is found: ``("before", k)`` or ``("after", k)`` the step, where k counts
            what goes from step to step, or ``("step", k)``, the step's k-th further output.
        """
        before = fgraph.inputs[self._first_carry : self._first_constant]
        after = fgraph.outputs[: self._num_outputs]
        lefts = fgraph.outputs[self._num_outputs :]
        for _ in lefts:
            fgraph.remove_output(self._num_outputs)
        sources = []
        for left in lefts:
            if left in before:
                sources.append(("before", before.index(left)))
            elif left in after:
                sources.append(("after", after.index(left)))
            else:
                sources.append(("step", len(fgraph.outputs) - self._num_outputs))
                fgraph.add_output(left)
        return sources

    def __call__(
        self, inputs: Sequence[Any], residuals: Any, output_grads: Sequence[jax.Array]
    ) -> Any:
        """Return the gradients with respect to the inputs `wrt`, a list.

        Parameters
        ----------
        inputs : list
            Of the loop.
        residuals : from `ForwardLoop.run_with_residuals`
        output_grads : list
            For the outputs `connected`.
        """
        op = self._op
        sequences, carry, constants = split_inputs(op, inputs)
        carry_grads = {k: jnp.zeros_like(carry[k - self._first_carry]) for k in self._carry}
        numbers, traces = [], []
        for k, grad in zip(self._connected, output_grads, strict=True):
            if k < op.num_states:
                numbers.append(self._first_carry + k)
                traces.append(grad)
            else:
                carry_grads[self._first_carry + k] = grad
        # Gradients of sequences and of outputs that are traces are cut like the sequences
        segments = cut([*sequences, *traces], op.checkpoint_every)
        constant_grads = {
            k: jnp.zeros_like(inputs[k]) for k in self._wrt if k >= self._first_constant
        }
        sums: Any = (carry_grads, constant_grads)
        parts: list[Any] = []

        def one_segment(sums: Any, items: Any) -> tuple[Any, Any]:
            residuals, pieces = items
            slices = pieces[: len(sequences)]
            trace_grads = dict(zip(numbers, pieces[len(sequences) :], strict=True))
            return self._pull_back_segment(sums, slices, constants, residuals, trace_grads)

        for segment, saved in reversed(list(zip(segments, residuals, strict=True))):
            if segment.is_stacked:
                sums, grads = jax.lax.scan(
                    one_segment, sums, (saved, segment.sequences), reverse=True
                )
                grads = {k: _join_segments(grad) for k, grad in grads.items()}
            else:
                sums, grads = one_segment(sums, (saved, segment.sequences))
            parts.insert(0, grads)
        grads = {**sums[0], **sums[1]}
        for k in self._slices:
            grad = jnp.concatenate([part[k] for part in parts])
            grads[k] = grad[::-1] if op.backwards else grad
        return [grads[k] for k in self._wrt]

    def _pull_back_segment(
        self,
        sums: Any,
        sequences: Sequence[jax.Array],
        constants: Sequence[Any],
        residuals: Any,
        trace_grads: dict[int, jax.Array],
    ) -> tuple[Any, dict[int, jax.Array]]:
        """Go back through a segment of steps.

        Parameters
        ----------
        sums : pair of dicts
            The gradients with respect to what goes on after the last of the steps, and those with respect to what the
            steps share, of the steps after these.
        sequences, constants : list
        residuals : Residuals
        trace_grads : dict
            The gradients of the states after each step.

        Returns
        -------
        sums : pair of dicts
        slice_grads : dict
            The gradients with respect to the sequences.
        """
        before, last = residuals
        if last is None:
            last, before = self._forward.trace_carry(sequences, before, constants)

        def step_back(sums: Any, items: Any) -> tuple[Any, Any]:
            carry_grads, constant_grads = sums
            slices, carry, trace_grads = items
            carry_grads = {k: v + trace_grads.get(k, 0) for k, v in carry_grads.items()}
            values = [*slices, *carry, *constants]
            carry_grads, slice_grads, more, lefts, tap_grads = self._pull_back(values, carry_grads)
            constant_grads = {k: v + more[k] for k, v in constant_grads.items()}
            return (carry_grads, constant_grads), (slice_grads, lefts, tap_grads)

        carry_grads, constant_grads = sums
        entered = {k: constant_grads[k] for k in self._constants}
        (carry_grads, entered), (slice_grads, lefts, tap_grads) = jax.lax.scan(
            step_back, (carry_grads, entered), (sequences, before, trace_grads), reverse=True
        )
        constant_grads = {**constant_grads, **entered}
        found = {"before": before, "after": shift_back(before, last), "step": lefts}
        for product, (where, number), grad in zip(
            self._products, self._sources, tap_grads, strict=True
        ):
            for k, part in product.get_gradients(found[where][number], grad).items():
                constant_grads[k] = constant_grads[k] + part
        return (carry_grads, constant_grads), slice_grads

    def _pull_back(self, values: list[Any], carry_grads: dict[int, jax.Array]) -> Any:
        """Go back through one step.

        Parameters
        ----------
        values : list
            The inputs of the step, without the taps.
        carry_grads : dict
            The gradients with respect to what goes on to the next step, by input of that step.

        Returns
        -------
        carry_grads, slice_grads, constant_grads : dict from input to gradient
        lefts : list
            The step's further outputs.
        tap_grads : list
            The gradient of each product with weights.
        """

        def run(varying: dict[int, Any], taps: list[Any]) -> Any:
            inputs = [varying.get(k, value) for k, value in enumerate(values)]
            results = self._step(*inputs, *taps)
            carry = {k: results[k - self._first_carry] for k in self._carry}
            return carry, results[self._num_outputs :]

        carry, lefts = jax.eval_shape(run, {}, [0.0] * len(self._products))
        before = values[self._first_carry : self._first_constant]
        after = {k - self._first_carry: value for k, value in carry.items()}
        found = {"before": before, "after": after, "step": lefts}
        lefts = [found[where][number] for where, number in self._sources]
        taps = [
            jnp.zeros((len(left), values[product.weights].shape[1]), left.dtype)
            for product, left in zip(self._products, lefts, strict=True)
        ]
        varying = {k: values[k] for k in (*self._slices, *self._carry, *self._constants)}
        _, pull_back, lefts = jax.vjp(run, varying, taps, has_aux=True)
        grads, tap_grads = pull_back(carry_grads)
        by_kind = (
            {k: grads[k] for k in numbers}
            for numbers in (self._carry, self._slices, self._constants)
        )
        return *by_kind, lefts, tap_grads


def shift_back(before: Any, last: Any) -> Any:
    """Return the states after each step, from those before each step and those after the last."""

    def shift(trace: jax.Array, final: jax.Array) -> jax.Array:
        return jnp.concatenate([trace[1:], final[None]]) if len(trace) else trace

    return jax.tree.map(shift, before, last)


# ---- Second derivatives


def make_plain(op: Any, kwargs: dict[str, Any]) -> Callable[..., Any]:
    """Return a loop, or its gradient of any order, as a function of JAX arrays that JAX can differentiate.

    A `BackwardLoop` cannot be differentiated again: its steps hold no gradient with respect to the weights. So the loop
    runs as a plain scan here, of which JAX keeps what it likes.
    """
    if isinstance(op, Loop):
        return ForwardLoop(op, kwargs, own_gradients=False).run
    run = make_plain(op.loop, kwargs)

    def gradient(values: Any) -> tuple[jax.Array, ...]:
        inputs, output_grads = op.split_inputs(values)

        def vary(varying: dict[int, Any]) -> Any:
            replaced = dict(zip(op.wrt, varying, strict=True))
            outputs = run([replaced.get(k, value) for k, value in enumerate(inputs)])
            return [outputs[k] for k in op.connected]

        _, pull_back = jax.vjp(vary, [inputs[k] for k in op.wrt])
        return pull_back(output_grads)[0]

    return gradient


# ---- Conversions


def make_forward(op: Any, kwargs: dict[str, Any]) -> Any:
    """Return what runs a loop: a `ForwardLoop`, or what is registered for another kind of loop."""
    load_conversions(op)
    return choose_forward(op)(op, kwargs)


def make_backward(
    op: Any, wrt: Sequence[int], connected: Sequence[int], kwargs: dict[str, Any]
) -> Any:
    """Return what differentiates a loop: a `BackwardLoop`, or what is registered for another kind of loop."""
    load_conversions(op)
    return choose_backward(op)(op, wrt, connected, kwargs)


@singledispatch
def choose_forward(op: Any) -> Any:
    return ForwardLoop


@singledispatch
def choose_backward(op: Any) -> Any:
    return BackwardLoop


def _unwrap(results: Any) -> Any:
    """Return the results as a converted node does: a single one by itself, or all of them."""
    return results[0] if len(results) == 1 else results


@jax_funcify.register(Loop)
def _funcify_loop(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    forward = make_forward(op, kwargs)
    return lambda *inputs: _unwrap(forward.run(inputs))


@jax_funcify.register(LoopGradient)
def _funcify_loop_gradient(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    """Convert a gradient that stands alone, and so runs the loop first; see `pair_loops`."""
    if isinstance(op.loop, LoopGradient):
        plain = make_plain(op, kwargs)
        return lambda *inputs: _unwrap(plain(inputs))
    forward = make_forward(op.loop, kwargs)
    backward = make_backward(op.loop, op.wrt, op.connected, kwargs)

    def gradient(*args: Any) -> tuple[jax.Array, ...]:
        inputs, output_grads = op.split_inputs(args)
        _, residuals = forward.run_with_residuals(inputs, ())
        return _unwrap(backward(inputs, residuals, output_grads))

    return gradient


class DifferentiatedLoop(Op):
    """A loop whose last output is what its gradient needs. Made by `pair_loops`, for JAX alone.

    Attributes
    ----------
    needed : collection of int
        The outputs that are used.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.needed = ()

    def make_node(self, *inputs: Any) -> Apply:
        outputs = self.loop.make_node(*inputs).outputs
        return Apply(self, list(inputs), [*(v.type() for v in outputs), generic()])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        raise NotImplementedError("only JAX runs a DifferentiatedLoop")


class PullBack(Op):
    """The gradient of a `DifferentiatedLoop`.

    Inputs are those of the loop, its residuals, and the gradients of its outputs `connected`.
    """

    def __init__(self, loop: Loop, wrt: Sequence[int], connected: Sequence[int]) -> None:
        self.loop = loop
        self.wrt = wrt
        self.connected = connected

    def make_node(self, *inputs: Any) -> Apply:
        return Apply(self, list(inputs), [inputs[k].type() for k in self.wrt])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        raise NotImplementedError("only JAX runs a PullBack")


@jax_funcify.register(DifferentiatedLoop)
def _funcify_differentiated_loop(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    forward = make_forward(op.loop, kwargs)

    def differentiated(*inputs: Any) -> Any:
        outputs, residuals = forward.run_with_residuals(inputs, op.needed)
        return [*outputs, residuals]

    return differentiated


@jax_funcify.register(PullBack)
def _funcify_pull_back(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    backward = make_backward(op.loop, op.wrt, op.connected, kwargs)
    count = len(op.loop.fgraph.inputs)

    def pull_back(*args: Any) -> Any:
        return _unwrap(backward(args[:count], args[count], args[count + 1 :]))

    return pull_back


@graph_rewriter
def pair_loops(fgraph: FunctionGraph) -> None:
    """Let a loop and its gradient share one run of the loop, and leave out gradients that nobody asks for."""
    loops = {
        (node.op, tuple(node.inputs)): node
        for node in fgraph.apply_nodes
        if isinstance(node.op, Loop)
    }
    differentiated = {}
    gradients = [n for n in fgraph.toposort() if isinstance(n.op, LoopGradient)]
    for node in [n for n in gradients if isinstance(n.op.loop, Loop)]:
        op = node.op
        inputs, output_grads = op.split_inputs(node.inputs)
        key = (op.loop, tuple(inputs))
        pairs: list[Any] = []
        if key not in differentiated:
            outputs = DifferentiatedLoop(op.loop).make_node(*inputs).outputs
            differentiated[key] = outputs[-1]
            if key in loops:
                pairs += zip(loops[key].outputs, outputs, strict=False)
        asked = [k for k, output in enumerate(node.outputs) if fgraph.clients[output]]
        gradient = PullBack(op.loop, [op.wrt[k] for k in asked], op.connected).make_node(
            *inputs, differentiated[key], *output_grads
        )
        pairs += [(node.outputs[k], grad) for k, grad in zip(asked, gradient.outputs, strict=True)]
        fgraph.replace_all(pairs, import_missing=True, reason="pair_loops")
    for residuals in differentiated.values():
        outputs = residuals.owner.outputs[:-1]
        residuals.owner.op.needed = [k for k, v in enumerate(outputs) if fgraph.clients.get(v)]


# Only a mode that asks for it has it, after all other rewrites
optdb.register("pair_loops", pair_loops, position=1000)
