"""Conversions from PyTensor to JAX that PyTensor's own JAX back end lacks.

Importing this module registers them, for every function that is compiled to JAX. They know nothing of
memories. What they add:

- **Inputs of unknown length.** Under JAX's tracing even arithmetic on known numbers becomes abstract, so a
  shape that PyTensor computes step by step is no longer known where JAX needs it. Arithmetic on shapes
  whose operands are all known is therefore evaluated while tracing.
- **Loops that JAX differentiates** (`lasagne.loop`), without the graph of the gradient in PyTensor.
- **Gradients that are changed on purpose** (clipped, scaled, cut) stay so when JAX differentiates.
"""

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedGrad, GradClip, GradScale, ZeroGrad
from pytensor.graph.basic import Apply
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import graph_rewriter
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.c.type import generic
from pytensor.link.jax.dispatch.basic import jax_funcify, jax_typify
from pytensor.link.jax.dispatch.subtensor import jax_funcify_IncSubtensor
from pytensor.link.utils import fgraph_to_python
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import ScalarType, Softplus
from pytensor.tensor.basic import ARange, Split
from pytensor.tensor.shape import Reshape
from pytensor.tensor.subtensor import IncSubtensor, indices_from_subtensor
from pytensor.tensor.type import TensorType

from lasagne.loop import Loop, LoopGradient


def is_concrete(*values):
    """Whether no value is abstract, that is, traced by JAX."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def _could_be_shape(variable):
    """Whether a variable holds integers or truth values, as shapes, lengths and positions do."""
    dtype = getattr(variable.type, "dtype", "")
    return isinstance(variable.type, ScalarType | TensorType) and dtype.startswith(
        ("int", "uint", "bool")
    )


def _funcify_node(op, node=None, **kwargs):
    """Convert one node; what may be arithmetic on shapes is evaluated at once where it can be."""
    convert = jax_funcify(op, node=node, **kwargs)
    if all(_could_be_shape(output) for output in node.outputs):

        def evaluate_if_known(*args):
            if not is_concrete(*args):
                return convert(*args)
            with jax.ensure_compile_time_eval():
                return convert(*args)

        return evaluate_if_known

    if len(node.outputs) == 1 and getattr(node.outputs[0], "dtype", None) == "float32":
        # Some conversions, such as that of a sum which accumulates in float64, return float64
        return lambda *args: jnp.asarray(convert(*args), dtype="float32")
    return convert


def _typify(data, **kwargs):
    """Convert a constant; a scalar keeps its dtype, which PyTensor's types rely on, unless it is an integer."""
    if isinstance(data, np.ndarray) and data.ndim == 0 and data.dtype.kind == "f":
        return data
    return jax_typify(data, **kwargs)


@jax_funcify.register(FunctionGraph)
def _funcify_function_graph(fgraph, node=None, fgraph_name="jax_funcified_fgraph", **kwargs):
    return fgraph_to_python(
        fgraph,
        _funcify_node,
        type_conversion_fn=_typify,
        fgraph_name=fgraph_name,
        **kwargs,
    )


@jax_funcify.register(Reshape)
def _funcify_reshape(op, **kwargs):
    def reshape(x, shape):
        return jnp.reshape(x, np.asarray(shape).tolist())

    return reshape


@jax_funcify.register(ARange)
def _funcify_arange(op, **kwargs):
    def arange(start, stop, step):
        first, end, by = (np.asarray(bound).item() for bound in (start, stop, step))
        return jnp.arange(first, end, by, op.dtype)

    return arange


@jax_funcify.register(Split)
def _funcify_split(op, **kwargs):
    def split(x, *axis_and_sizes):
        # The axis is an input in PyTensor 3.0 and belongs to the op in later versions
        axis = op.axis if len(axis_and_sizes) == 1 else int(axis_and_sizes[0])
        sizes = axis_and_sizes[-1]
        return jnp.split(x, np.cumsum(np.asarray(sizes))[:-1].tolist(), axis=axis)

    return split


@jax_funcify.register(CheckAndRaise)
def _funcify_check(op, **kwargs):
    """Check what is known while tracing; what depends on values is not checked, as JAX cannot raise."""

    def check(x, *conditions):
        if not all(np.all(c) for c in conditions if is_concrete(c)):
            raise op.exc_type(op.msg)
        return x

    return check


@jax_funcify.register(IncSubtensor)
def _funcify_inc_subtensor(op, node=None, **kwargs):
    """XLA's simplifier aborts the process on a scatter into the whole of an array, as second derivatives have it."""
    convert = jax_funcify_IncSubtensor(op, node=node, **kwargs)

    def inc_subtensor(x, y, *positions):
        indices = indices_from_subtensor(positions, op.idx_list)
        whole = is_concrete(*positions) and all(
            isinstance(index, slice) and index.indices(length) == (0, length, 1)
            for index, length in zip(indices, x.shape, strict=False)
        )
        if not whole:
            return convert(x, y, *positions)
        y = jnp.broadcast_to(y, x.shape).astype(x.dtype)
        return y if op.set_instead_of_inc else x + y

    return inc_subtensor


@jax_funcify.register(Softplus)
def _funcify_softplus(op, **kwargs):
    """PyTensor's conversion chooses between branches of which one overflows, and JAX's gradient of that is NaN."""
    return jax.nn.softplus


@jax_funcify.register(DisconnectedGrad)
@jax_funcify.register(ZeroGrad)
def _funcify_no_gradient(op, **kwargs):
    return jax.lax.stop_gradient


@jax_funcify.register(GradClip)
def _funcify_grad_clip(op, **kwargs):
    return _with_gradient(lambda grad: jnp.clip(grad, op.clip_lower_bound, op.clip_upper_bound))


@jax_funcify.register(GradScale)
def _funcify_grad_scale(op, **kwargs):
    return _with_gradient(lambda grad: grad * jnp.asarray(op.multiplier, grad.dtype))


def _with_gradient(change):
    """The identity, whose gradient `change` is applied to."""

    @jax.custom_vjp
    def identity(x):
        return x

    identity.defvjp(lambda x: (x, None), lambda _, grad: (change(grad),))
    return identity


def _loop_function(op, **kwargs):
    """A function from the inputs of a `Loop` to the list of its outputs."""
    fgraph = op.fgraph.clone()
    optdb.query(RewriteDatabaseQuery(include=["minimum_compile", "jax"], exclude=["expand_loops"]))(
        fgraph
    )
    kwargs.pop("storage_map", None)
    step = jax_funcify(fgraph, **kwargs)

    def run(*inputs):
        sequences, states, carried, constants = op.split_inputs(inputs)
        if op.backwards:
            sequences = [sequence[::-1] for sequence in sequences]

        def one_step(carry, slices):
            results = list(step(*slices, *carry, *constants))
            return results, results[: op.num_states]

        carry, traces = jax.lax.scan(one_step, [*states, *carried], sequences)
        return [*traces, *carry[op.num_states :]]

    return run


def _unwrap(results):
    """What a converted node returns: the one output itself, or all of them."""
    return results[0] if len(results) == 1 else results


@jax_funcify.register(Loop)
def _funcify_loop(op, node=None, **kwargs):
    run = _loop_function(op, **kwargs)
    return lambda *inputs: _unwrap(run(*inputs))


def _differentiate(run, inputs, wrt, connected):
    """The outputs of a loop, and a function from the gradients of those `connected` to those of the inputs `wrt`."""

    def outputs_of(*values):
        arguments = list(inputs)
        for k, value in zip(wrt, values, strict=True):
            arguments[k] = value
        outputs = run(*arguments)
        return [outputs[k] for k in connected], outputs

    _, pull_back, outputs = jax.vjp(
        outputs_of, *(jnp.asarray(inputs[k]) for k in wrt), has_aux=True
    )
    return outputs, pull_back


@jax_funcify.register(LoopGradient)
def _funcify_loop_gradient(op, node=None, **kwargs):
    """The gradient by itself, which runs the loop for it; see `pair_loops`."""
    run = _loop_function(op.loop, **kwargs)

    def gradient(*args):
        inputs, output_grads = op.split_inputs(args)
        _, pull_back = _differentiate(run, inputs, op.wrt, op.connected)
        return _unwrap(pull_back(output_grads))

    return gradient


class DifferentiatedLoop(Op):
    """A loop whose last output is what JAX needs for its gradient. Made by `pair_loops`, for JAX alone."""

    def __init__(self, loop, wrt, connected):
        self.loop = loop
        self.wrt = wrt
        self.connected = connected

    def make_node(self, *inputs):
        outputs = self.loop.make_node(*inputs).outputs
        return Apply(self, list(inputs), [*(v.type() for v in outputs), generic()])

    def perform(self, node, inputs, output_storage):
        raise NotImplementedError("only JAX runs a DifferentiatedLoop")


class PullBack(Op):
    """The gradient of a `DifferentiatedLoop`, from its last output and the gradients of its outputs."""

    def make_node(self, differentiated, *output_grads):
        op = differentiated.owner.op
        inputs = [differentiated.owner.inputs[k] for k in op.wrt]
        return Apply(self, [differentiated, *output_grads], [v.type() for v in inputs])

    def perform(self, node, inputs, output_storage):
        raise NotImplementedError("only JAX runs a PullBack")


@jax_funcify.register(DifferentiatedLoop)
def _funcify_differentiated_loop(op, node=None, **kwargs):
    run = _loop_function(op.loop, **kwargs)

    def differentiated(*inputs):
        outputs, pull_back = _differentiate(run, inputs, op.wrt, op.connected)
        return [*outputs, pull_back]

    return differentiated


@jax_funcify.register(PullBack)
def _funcify_pull_back(op, node=None, **kwargs):
    def pull_back(function, *output_grads):
        return _unwrap(function(list(output_grads)))

    return pull_back


@graph_rewriter
def pair_loops(fgraph):
    """Let a loop and its gradient share one run of the loop, and leave out gradients that nobody asks for."""
    loops = {
        (node.op, tuple(node.inputs)): node
        for node in fgraph.apply_nodes
        if isinstance(node.op, Loop)
    }
    for node in [n for n in fgraph.toposort() if isinstance(n.op, LoopGradient)]:
        op = node.op
        inputs, output_grads = op.split_inputs(node.inputs)
        asked = [k for k, output in enumerate(node.outputs) if fgraph.clients[output]]
        wrt = [op.wrt[k] for k in asked]
        differentiated = DifferentiatedLoop(op.loop, wrt, op.connected).make_node(*inputs)
        grads = PullBack().make_node(differentiated.outputs[-1], *output_grads).outputs
        pairs = [(node.outputs[k], grad) for k, grad in zip(asked, grads, strict=True)]
        forward = loops.get((op.loop, tuple(inputs)))
        if forward is not None:
            pairs += zip(forward.outputs, differentiated.outputs[:-1], strict=True)
        fgraph.replace_all(pairs, import_missing=True, reason="pair_loops")


# Only a mode that asks for it has it, after all other rewrites
optdb.register("pair_loops", pair_loops, position=1000)
