"""Conversions from PyTensor to JAX that PyTensor's own JAX back end lacks.

Importing this module registers them, for every function that is compiled to JAX. They know nothing of
memories. What they add:

- **Inputs of unknown length.** Under JAX's tracing even arithmetic on known numbers becomes abstract, so a
  shape that PyTensor computes step by step is no longer known where JAX needs it. Arithmetic on shapes
  whose operands are all known is therefore evaluated while tracing.
- **Loops that JAX differentiates** (`lasagne.loop`), without the graph of the gradient in PyTensor.
- **A leaner scan**, for the loops that stay a `pytensor.scan`: a gradient's buffers are read and written as
  sequences of the loop rather than by gathers and scatters on whole buffers, and constants are not carried.
- **Gradients that are changed on purpose** (clipped, scaled, cut) stay so when JAX differentiates.
"""

from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
from lasagne.loop import Loop, LoopGradient
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedGrad, GradClip, GradScale, ZeroGrad
from pytensor.graph.basic import Apply
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import graph_rewriter
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.c.type import generic
from pytensor.link.jax.dispatch.basic import jax_funcify, jax_typify
from pytensor.link.utils import fgraph_to_python
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import ScalarType, Softplus
from pytensor.scan.op import Scan
from pytensor.tensor.basic import ARange
from pytensor.tensor.shape import Reshape
from pytensor.tensor.type import TensorType


def is_concrete(*values):
    """Whether no value is abstract, that is, traced by JAX."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def _could_be_shape(variable):
    """Whether a variable's type is one that shapes and lengths have: few integers or a truth value."""
    if isinstance(variable.type, ScalarType):
        return variable.type.dtype.startswith(("int", "uint", "bool"))
    if isinstance(variable.type, TensorType):
        return variable.type.ndim <= 1 and variable.type.dtype.startswith(("int", "uint", "bool"))
    return False


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
        return jnp.arange(*(np.asarray(bound).item() for bound in (start, stop, step)), dtype=op.dtype)

    return arange


@jax_funcify.register(CheckAndRaise)
def _funcify_check(op, **kwargs):
    """Check what is known while tracing; what depends on values is not checked, as JAX cannot raise."""

    def check(x, *conditions):
        if not all(np.all(c) for c in conditions if is_concrete(c)):
            raise op.exc_type(op.msg)
        return x

    return check


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
    return _with_gradient(
        lambda grad: jnp.clip(grad, op.clip_lower_bound, op.clip_upper_bound)
    )


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

    _, pull_back, outputs = jax.vjp(outputs_of, *(jnp.asarray(inputs[k]) for k in wrt), has_aux=True)
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


@jax_funcify.register(Scan)
def _funcify_scan(op, node, **kwargs):
    """Convert a `Scan` to `jax.lax.scan`.

    PyTensor's outer inputs are buffers that hold initial states and have room for what the loop computes.
    Only the initial states are read from them; JAX stacks the results itself. A gradient's buffer (MIT-MOT)
    that each step reads at t and t + 1 and writes at t + 1 becomes a carried value and a sequence.
    """
    info = op.info
    if info.as_while:
        raise NotImplementedError("a scan that stops on a condition has no conversion to JAX")
    step = jax_funcify(op.fgraph, **kwargs)
    chained = [
        set(taps_in) == {0, 1} and tuple(taps_out) == (1,)
        for taps_in, taps_out in zip(
            info.normalized_mit_mot_in_slices, info.normalized_mit_mot_out_slices, strict=True
        )
    ]

    def split(chained_buffers):
        """Separate the buffers that are carried as a value from the others."""
        pairs = list(zip(chained_buffers, chained, strict=True))
        return [b for b, simple in pairs if simple], [b for b, simple in pairs if not simple]

    def merge(simple_buffers, other_buffers):
        simple_buffers, other_buffers = iter(simple_buffers), iter(other_buffers)
        return [next(simple_buffers if simple else other_buffers) for simple in chained]

    def scan(*outer_inputs):
        outer_inputs = list(outer_inputs)
        n_steps = int(outer_inputs[0])
        non_seqs = op.outer_non_seqs(outer_inputs)
        simple_buffers, other_buffers = split(op.outer_mitmot(outer_inputs))
        mit_sot = [
            buffer[: -min(taps)]
            for buffer, taps in zip(
                op.outer_mitsot(outer_inputs), info.mit_sot_in_slices, strict=True
            )
        ]
        sit_sot = [buffer[0] for buffer in op.outer_sitsot(outer_inputs)]
        carry = (
            np.int32(0),
            [buffer[0] for buffer in simple_buffers],
            other_buffers,
            mit_sot,
            sit_sot,
            op.outer_untraced_sit_sot(outer_inputs),
        )
        xs = (
            [seq[:n_steps] for seq in op.outer_seqs(outer_inputs)],
            [buffer[1 : n_steps + 1] for buffer in simple_buffers],
        )

        def one_step(carry, x):
            t, simple_now, others, mit_sot, sit_sot, untraced = carry
            seqs, simple_next = x
            # A chained buffer's taps stand in the order in which the step takes them
            mit_mot_in = []
            simple_pairs = iter(zip(simple_now, simple_next, strict=True))
            other_iter = iter(others)
            for simple, taps in zip(chained, info.normalized_mit_mot_in_slices, strict=True):
                if simple:
                    pair = next(simple_pairs)
                    mit_mot_in += [pair[tap] for tap in taps]
                else:
                    buffer = next(other_iter)
                    mit_mot_in += [buffer[t + tap] for tap in taps]
            mit_sot_in = chain.from_iterable(
                [buffer[tap] for tap in taps]
                for buffer, taps in zip(mit_sot, info.mit_sot_in_slices, strict=True)
            )
            outs = list(step(*seqs, *mit_mot_in, *mit_sot_in, *sit_sot, *untraced, *non_seqs))

            simple_outs, other_outs = split(op.inner_mitmot_outs_grouped(outs))
            simple_outs = [values[0] for values in simple_outs]
            _, other_taps = split(info.normalized_mit_mot_out_slices)
            new_others = []
            for buffer, values, taps in zip(others, other_outs, other_taps, strict=True):
                for value, tap in zip(values, taps, strict=True):
                    buffer = jax.lax.dynamic_update_index_in_dim(buffer, value, t + tap, 0)
                new_others.append(buffer)
            mit_sot_outs = op.inner_mitsot_outs(outs)
            new_mit_sot = [
                jnp.concatenate([buffer[1:], value[None]])
                for buffer, value in zip(mit_sot, mit_sot_outs, strict=True)
            ]
            sit_sot_outs = op.inner_sitsot_outs(outs)
            carry = (
                t + 1,
                simple_outs,
                new_others,
                new_mit_sot,
                sit_sot_outs,
                op.inner_untraced_sit_sot_outs(outs),
            )
            traced = [*mit_sot_outs, *sit_sot_outs, *op.inner_nitsot_outs(outs)]
            return carry, (simple_outs, traced)

        carry = jax.tree.map(jnp.asarray, carry)
        carry, (simple_traces, traces) = jax.lax.scan(one_step, carry, xs, length=n_steps)

        _, _, others, _, _, untraced = carry
        simple_results = [
            jnp.concatenate([buffer[:1], trace, buffer[n_steps + 1 :]])
            for buffer, trace in zip(simple_buffers, simple_traces, strict=True)
        ]
        initial = [*mit_sot, *(state[None] for state in sit_sot)]
        buffers = [*op.outer_mitsot(outer_inputs), *op.outer_sitsot(outer_inputs)]
        n_recurrent = len(initial)
        lengths = [
            *(buffer.shape[0] for buffer in buffers),
            *(int(length) for length in op.outer_nitsot(outer_inputs)),
        ]
        results = []
        for k, (trace, length) in enumerate(zip(traces, lengths, strict=True)):
            missing = length - trace.shape[0]
            if missing > 0 and k < n_recurrent:
                trace = jnp.concatenate([initial[k][-missing:], trace])
            results.append(trace[trace.shape[0] - length :])
        results = [*merge(simple_results, others), *results, *untraced]
        return results if len(results) > 1 else results[0]

    return scan
