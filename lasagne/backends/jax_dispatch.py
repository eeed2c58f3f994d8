"""Conversions from PyTensor to JAX that PyTensor's own JAX back end lacks.

Importing this module registers them, for every function that is compiled to JAX. They know nothing of
memories. What they add:

- **Inputs of unknown length.** Under JAX's tracing even arithmetic on known numbers becomes abstract, so a
  shape that PyTensor computes step by step is no longer known where JAX needs it. Arithmetic on shapes
  whose operands are all known is therefore evaluated while tracing.
- **Products of a few rows with a matrix, batched**, by one row at a time, where both lie along what is summed over:
  XLA's own product of the whole takes several times as long on a CPU.
- **Sums over the rows of large matrices, batched**, as a product with a row of ones: XLA's own loop walks down the
  columns, and misses the cache at every number.
- **Indexing** that sees indices out of range, and slices that move: :mod:`lasagne.backends.jax_indexing`.
- **Functions with a gradient of their own** keep it when JAX differentiates.
- **Gradients that are changed on purpose** (clipped, scaled, cut) stay so when JAX differentiates.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedGrad, GradClip, GradScale, ZeroGrad
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.utils import fgraph_to_python
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import ScalarType, Softplus
from pytensor.tensor.basic import Alloc, ARange, Split
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.math import Dot, Sum
from pytensor.tensor.shape import Reshape, Shape
from pytensor.tensor.type import TensorType

from lasagne.backends.jax_indexing import is_concrete
from lasagne.backends.jax_registry import Conversion, jax_funcify, jax_typify
from lasagne.backends.jax_rewrites import EXACT_LOGARITHMS
from lasagne.backends.jax_symbolic import is_at_most, is_symbolic, make_array, take_symbols
from lasagne.checks import SizeCheck
from lasagne.gradient import OwnGradient

__all__ = ["convert_graph", "load_conversions"]

# PyTensor's own conversions, which ours fall back on
_convert_alloc, _convert_blockwise, _convert_sum = map(
    jax_funcify.dispatch, (Alloc, Blockwise, Sum)
)


def _could_be_shape(variable: Any) -> bool:
    """Return whether a variable holds integers or truth values, as shapes, lengths and positions do."""
    dtype = getattr(variable.type, "dtype", "")
    return isinstance(variable.type, ScalarType | TensorType) and dtype.startswith(
        ("int", "uint", "bool")
    )


def _cast(result: Any, variable: Any) -> Any:
    """Cast a result to the dtype that PyTensor relies on; some conversions, such as that of a sum, return int64."""
    if isinstance(result, jax.core.Tracer) and result.dtype != variable.dtype:
        return result.astype(variable.dtype)
    return result


def load_conversions(op: Any) -> None:
    """Import the module that registers an Op's conversion to JAX, where the Op's class names one.

    An Op outside of this package names that module in its class: ``jax_conversions = "package.module"``. So the
    Op's own module imports no JAX.
    """
    module = getattr(type(op), "jax_conversions", None)
    if module is not None:
        import_module(module)


def _funcify_node(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    """Convert one node; what may be arithmetic on shapes is evaluated at once where it can be."""
    load_conversions(op)
    convert = take_symbols(op, node, jax_funcify(op, node=node, **kwargs))
    if all(_could_be_shape(output) for output in node.outputs):

        def evaluate_if_known(*args: Any) -> Any:
            if is_symbolic(*args) or not is_concrete(*args):
                results = convert(*args)
                if len(node.outputs) == 1:
                    return _cast(results, node.outputs[0])
                return [_cast(*each) for each in zip(results, node.outputs, strict=True)]
            with jax.ensure_compile_time_eval():
                return convert(*args)

        return evaluate_if_known

    if len(node.outputs) == 1 and getattr(node.outputs[0], "dtype", None) == "float32":
        # Some conversions, such as that of a sum which accumulates in float64, return float64
        return lambda *args: jnp.asarray(convert(*args), dtype="float32")
    return convert


def _typify(data: Any, **kwargs: Any) -> Any:
    """Convert a constant; a scalar keeps its dtype, which PyTensor's types rely on, unless it is an integer."""
    if isinstance(data, np.ndarray) and data.ndim == 0 and data.dtype.kind == "f":
        return data
    if isinstance(data, np.ndarray) and data.ndim > 0:
        return jax.device_put(data)  # PyTensor's conversion compiles a function for each shape
    return jax_typify(data, **kwargs)


@jax_funcify.register(FunctionGraph)
def _funcify_function_graph(
    fgraph: FunctionGraph,
    node: Any = None,
    fgraph_name: str = "jax_funcified_fgraph",
    **kwargs: Any,
) -> Conversion:
    convert = fgraph_to_python(
        fgraph,
        _funcify_node,
        type_conversion_fn=_typify,
        fgraph_name=fgraph_name,
        **kwargs,
    )

    def converted(*args: Any) -> Any:
        results = convert(*args)
        if results is None or not is_symbolic(*results):  # a function without outputs returns None
            return results
        return [
            make_array(result, output.type.dtype) if is_symbolic(result) else result
            for result, output in zip(results, fgraph.outputs, strict=True)
        ]

    return converted


def convert_graph(
    fgraph: FunctionGraph,
    kwargs: dict[str, Any],
    own_gradients: bool = True,
    pair: bool = False,
) -> Callable[..., Any]:
    """Convert a graph inside a node to a JAX function that returns the list of its outputs; `fgraph` is changed.

    Parameters
    ----------
    fgraph : FunctionGraph
    kwargs : dict
        What PyTensor hands to the conversion of the node.
    own_gradients : bool
        Whether functions with a gradient of their own keep it when JAX differentiates. To differentiate twice they must
        not: where such a function holds constants and keeps an argument for its gradient, JAX (0.10 and 0.12) takes a
        constant for that argument.
    pair : bool
        Whether the graph has loops and their gradients, which are to share one run of the loop.
    """
    query = RewriteDatabaseQuery(
        include=["minimum_compile", "jax", EXACT_LOGARITHMS, *(["merge", "pair_loops"] * pair)],
        exclude=["expand_loops", "expand_own_gradients", *(["local_add_of_sparse_write"] * pair)],
    )
    optdb.query(query)(fgraph)
    kwargs = {k: v for k, v in kwargs.items() if k not in ("storage_map", "own_gradients")}
    return jax_funcify(fgraph, own_gradients=own_gradients, **kwargs)


@jax_funcify.register(Shape)
def _funcify_shape(op: Shape, **kwargs: Any) -> Conversion:
    """Return shapes as arrays, where PyTensor has tuples, so that arithmetic takes them."""
    return lambda x: np.asarray(jnp.shape(x))


@jax_funcify.register(Reshape)
def _funcify_reshape(op: Reshape, **kwargs: Any) -> Conversion:
    def reshape(x: jax.Array, shape: Any) -> jax.Array:
        return jnp.reshape(x, np.asarray(shape).tolist())

    return reshape


@jax_funcify.register(ARange)
def _funcify_arange(op: ARange, **kwargs: Any) -> Conversion:
    def arange(start: Any, stop: Any, step: Any) -> jax.Array:
        first, end, by = (np.asarray(bound).item() for bound in (start, stop, step))
        return jnp.arange(first, end, by, op.dtype)

    return arange


@jax_funcify.register(Alloc)
def _funcify_alloc(op: Alloc, node: Any = None, **kwargs: Any) -> Conversion:
    """PyTensor's conversion makes 64-bit integers of a constant of 32 bits."""
    convert, dtype = _convert_alloc(op, node=node, **kwargs), node.outputs[0].dtype
    return lambda x, *shape: convert(jnp.asarray(x, dtype), *shape)


@jax_funcify.register(Split)
def _funcify_split(op: Any, **kwargs: Any) -> Conversion:
    def split(x: jax.Array, *axis_and_sizes: Any) -> list[jax.Array]:
        # The axis is an input in PyTensor 3.0 and belongs to the op in later versions
        axis = op.axis if len(axis_and_sizes) == 1 else int(axis_and_sizes[0])
        sizes = axis_and_sizes[-1]
        return jnp.split(x, np.cumsum(np.asarray(sizes))[:-1].tolist(), axis=axis)

    return split


@jax_funcify.register(CheckAndRaise)
def _funcify_check(op: CheckAndRaise, **kwargs: Any) -> Conversion:
    """Check what is known while tracing; what depends on values is not checked, as JAX cannot raise."""

    def check(x: jax.Array, *conditions: Any) -> jax.Array:
        if not all(np.all(np.asarray(c)) for c in conditions if is_concrete(c)):
            raise op.exc_type(op.msg)
        return x

    return check


@jax_funcify.register(SizeCheck)
def _funcify_size_check(op: SizeCheck, **kwargs: Any) -> Conversion:
    """Check a size, which is known while tracing."""

    def check(x: jax.Array, condition: Any, *inverted: Any) -> jax.Array:
        if is_concrete(condition) and not condition:
            sizes = (each if is_symbolic(each) else int(each) for each in inverted)
            raise op.exc_type(op.make_message(*sizes))
        return x

    return check


@jax_funcify.register(Blockwise)
def _funcify_blockwise(op: Blockwise, node: Any = None, **kwargs: Any) -> Conversion:
    if not isinstance(op.core_op, Dot) or node.inputs[0].ndim != node.inputs[1].ndim:
        return _convert_blockwise(op, node=node, **kwargs)
    right = node.inputs[1].owner
    axes = range(node.inputs[1].ndim)
    swapped = (*axes[:-2], axes[-1], axes[-2])
    is_transposed = (
        right is not None and isinstance(right.op, DimShuffle) and right.op.new_order == swapped
    )
    if is_transposed:
        return lambda x, y: _times_transposed(x, _transpose(y))
    return _times


# More rows than this make a product worth the library's while
_FEW_ROWS = 8


def _transpose(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, -1, -2)


@jax.custom_vjp
def _times(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return ``x @ y`` for matrices in the last two axes."""
    return jnp.matmul(x, y)


@jax.custom_vjp
def _times_transposed(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return ``x @ y.T`` for matrices in the last two axes."""
    if x.shape[:-2] != y.shape[:-2] or x.shape[-2] == 0 or not is_at_most(x.shape[-2], _FEW_ROWS):
        return jnp.matmul(x, _transpose(y))
    rows = [jnp.einsum("...mn,...n->...m", y, x[..., k, :]) for k in range(x.shape[-2])]
    return jnp.stack(rows, axis=-2)


def _sum_to(x: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Sum over the axes along which an array of this shape was broadcast to that of `x`."""
    axes = [k for k, (a, b) in enumerate(zip(x.shape, shape, strict=True)) if a != b]
    return x.sum(axes, keepdims=True) if axes else x


def _times_gradients(
    inputs: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, y = inputs
    return _sum_to(_times_transposed(grad, y), x.shape), _sum_to(_transpose(x) @ grad, y.shape)


def _times_transposed_gradients(
    inputs: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, y = inputs
    return _sum_to(grad @ y, x.shape), _sum_to(_transpose(grad) @ x, y.shape)


_times.defvjp(lambda x, y: (_times(x, y), (x, y)), _times_gradients)
_times_transposed.defvjp(
    lambda x, y: (_times_transposed(x, y), (x, y)), _times_transposed_gradients
)


# Matrices of no more numbers than this stay in a processor's first cache
_SMALL_MATRIX = 2**13


@jax_funcify.register(Sum)
def _funcify_sum(op: Sum, node: Any = None, **kwargs: Any) -> Conversion:
    convert = _convert_sum(op, node=node, **kwargs)
    x_type, result_type = node.inputs[0].type, node.outputs[0].type
    if op.axis != (1,) or x_type.ndim != 3 or not x_type.dtype.startswith("float"):
        return convert

    def sum_rows(x: jax.Array) -> jax.Array:
        _, rows, columns = x.shape
        if is_symbolic(rows) or rows * columns <= _SMALL_MATRIX:
            return convert(x)
        total = jnp.matmul(jnp.ones((1, 1, rows), x.dtype), x)[:, 0, :]
        return total.astype(result_type.dtype)

    return sum_rows


@jax_funcify.register(Softplus)
def _funcify_softplus(op: Softplus, **kwargs: Any) -> Conversion:
    """PyTensor's conversion chooses between branches of which one overflows, and JAX's gradient of that is NaN."""
    return jax.nn.softplus


@jax_funcify.register(DisconnectedGrad)
@jax_funcify.register(ZeroGrad)
def _funcify_no_gradient(op: Any, **kwargs: Any) -> Conversion:
    return jax.lax.stop_gradient


@jax_funcify.register(GradClip)
def _funcify_grad_clip(op: GradClip, **kwargs: Any) -> Conversion:
    return _with_gradient(lambda grad: jnp.clip(grad, op.clip_lower_bound, op.clip_upper_bound))


@jax_funcify.register(GradScale)
def _funcify_grad_scale(op: GradScale, **kwargs: Any) -> Conversion:
    return _with_gradient(lambda grad: grad * jnp.asarray(op.multiplier, grad.dtype))


def _compute_before(x: jax.Array) -> jax.Array:
    """Return the same array. A small one goes through a product with the identity, so that XLA computes it once.

    XLA computes an array that is broadcast again for every number of the result, unless the array comes from a product.
    """
    if x.ndim not in (2, 3) or (x.ndim == 3 and not is_at_most(x.shape[1], _FEW_ROWS)):
        return x
    return jnp.matmul(x, jnp.eye(x.shape[-1], dtype=x.dtype), precision="highest")


@jax_funcify.register(OwnGradient)
def _funcify_own_gradient(
    op: OwnGradient, node: Any = None, own_gradients: bool = True, **kwargs: Any
) -> Conversion:
    """Convert a function with a gradient of its own; its small inputs are computed before it."""
    run, pull_back = (convert_graph(graph, kwargs, own_gradients) for graph in op.make_graphs(node))
    single = len(node.outputs) == 1
    if not own_gradients:
        return lambda *inputs: run(*inputs)[0] if single else run(*inputs)

    @jax.custom_vjp
    def function(*inputs: jax.Array) -> Any:
        outputs = tuple(run(*map(_compute_before, inputs)))
        return outputs[0] if single else outputs

    def run_with_residuals(*inputs: jax.Array) -> Any:
        outputs = function(*inputs)
        return outputs, (inputs, (outputs,) if single else outputs)

    def gradient(residuals: Any, grads: Any) -> tuple[jax.Array, ...]:
        inputs, outputs = residuals
        values = (*inputs, *outputs, *((grads,) if single else grads))
        grads = pull_back(*map(_compute_before, values))
        return tuple(grad.astype(value.dtype) for grad, value in zip(grads, inputs, strict=True))

    function.defvjp(run_with_residuals, gradient)
    return function


def _with_gradient(change: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Return the identity, with `change` applied to its gradient."""

    @jax.custom_vjp
    def identity(x: jax.Array) -> jax.Array:
        return x

    identity.defvjp(lambda x: (x, None), lambda _, grad: (change(grad),))
    return identity
