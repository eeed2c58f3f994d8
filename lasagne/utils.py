"""Helpers that the whole package shares: conversions, parameters, unrolled loops."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral, Number
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.gradient import GradClip
from pytensor.graph.basic import Variable

from ._norms import get_scale
from .checks import check_length
from .typing import Array, ArrayLike, ParameterSpec, Tensor, TensorLike

__all__ = [
    "as_theano_expression",
    "as_tuple",
    "check_param_value",
    "clip_gradient",
    "collect_shared_vars",
    "compute_norms",
    "create_param",
    "default_norm_axes",
    "floatX",
    "hide_masked",
    "initializing_by",
    "inspect_kwargs",
    "int_types",
    "is_float",
    "one_hot",
    "shared_empty",
    "unique",
    "unroll_scan",
]

# What counts as an integer: for `isinstance`
int_types = (Integral, np.integer)


def floatX(arr: ArrayLike) -> np.ndarray:
    """Convert to a NumPy array of dtype ``pytensor.config.floatX``.

    Parameters
    ----------
    arr : array_like
        The data.

    Returns
    -------
    numpy array
        `arr` itself if it has that dtype already, otherwise a copy in floatX.
    """
    return np.asarray(arr, dtype=pytensor.config.floatX)


def is_float(variable: Variable) -> bool:
    """Return whether a variable is a tensor of floating-point numbers."""
    return isinstance(variable.type, pt.TensorType) and variable.type.dtype.startswith("float")


def shared_empty(dim: int = 2, dtype: str | None = None) -> SharedVariable:
    """Create a shared variable whose value is yet to be set.

    Parameters
    ----------
    dim : int
        Number of dimensions.
    dtype : str, optional
        Data type, floatX if omitted.

    Returns
    -------
    PyTensor shared variable
        It holds one zero; ``set_value`` accepts any array of `dim` dimensions.
    """
    return pytensor.shared(np.zeros((1,) * dim, dtype=dtype or pytensor.config.floatX))


def as_theano_expression(input: TensorLike | Variable) -> Tensor:
    """Wrap a number or an array as a PyTensor constant; pass a PyTensor expression through.

    The name is Lasagne's, from when PyTensor was called Theano.

    Parameters
    ----------
    input : PyTensor expression, number, array_like
        What is to be used in an expression.

    Returns
    -------
    PyTensor expression
        `input` itself, or a constant of its value.

    Raises
    ------
    TypeError
        If `input` cannot be converted.
    """
    if isinstance(input, Variable):
        return input  # type: ignore[return-value]
    try:
        return pt.constant(input)
    except Exception as error:
        raise TypeError(
            f"Input of type {type(input)} is not a PyTensor expression and cannot be wrapped as a "
            f"PyTensor constant: {error}"
        ) from error


def collect_shared_vars(expressions: Variable | Iterable[Variable]) -> list[SharedVariable]:
    """Return the shared variables that expressions depend on.

    Parameters
    ----------
    expressions : PyTensor expression or iterable of these
        The expressions to search.

    Returns
    -------
    list of PyTensor shared variables
        Each variable once, in the order of a depth-first search from left to right.
    """
    pending = [expressions] if isinstance(expressions, Variable) else list(expressions)
    pending.reverse()
    found, visited = [], set()
    while pending:
        variable = pending.pop()
        if variable in visited:
            continue
        visited.add(variable)
        if isinstance(variable, SharedVariable):
            found.append(variable)
        elif variable.owner is not None:
            pending.extend(reversed(variable.owner.inputs))
    return found


def one_hot(x: TensorLike, m: int | None = None) -> Tensor:
    """Return the one-hot rows for class indices.

    Parameters
    ----------
    x : PyTensor expression or array_like of int
        The class indices, of any shape. Other numbers are cast to integers.
    m : int, optional
        Number of classes; if omitted, the largest index plus one. JAX needs to know the number.

    Returns
    -------
    PyTensor expression
        The shape of `x` with a last axis of size `m`, in floatX: a one at the index, and zeros
        elsewhere. An index outside of ``[0, m)`` gives a row of NaN, as JAX cannot raise an error.
    """
    x = pt.cast(as_theano_expression(x), "int64")
    classes = pt.cast(pt.max(x) + 1, "int64") if m is None else m
    rows = pt.cast(pt.eq(x[..., None], pt.arange(classes)), pytensor.config.floatX)
    outside = pt.lt(x, 0) | pt.ge(x, classes)
    return pt.switch(outside[..., None], floatX(np.nan), rows)


def unique(l: Iterable) -> list:
    """Remove the duplicates from an iterable, keeping the order of first occurrences.

    Parameters
    ----------
    l : iterable of hashable
        The items.

    Returns
    -------
    list
        Each item once.
    """
    return list(dict.fromkeys(l))


def as_tuple(x: Any, N: int, t: type | tuple[type, ...] | None = None) -> tuple:
    """Coerce a value to a tuple of given length, and check the types of its items.

    Parameters
    ----------
    x : value or iterable
        A single value stands for `N` times that value.
    N : int
        Length of the tuple.
    t : type or tuple of types, optional
        Type that every item must have.

    Returns
    -------
    tuple
        ``tuple(x)`` if `x` is iterable, otherwise ``(x,) * N``.

    Raises
    ------
    TypeError
        If an item is not of type `t`.
    ValueError
        If the iterable does not have `N` items.
    """
    try:
        result = tuple(x)
    except TypeError:
        result = (x,) * N
    if t is not None and not all(isinstance(value, t) for value in result):
        expected = " or ".join(each.__name__ for each in (t if isinstance(t, tuple) else (t,)))
        raise TypeError(f"expected a single value or an iterable of {expected}, got {x!r} instead")
    if len(result) != N:
        raise ValueError(
            f"expected a single value or an iterable with length {N}, got {x!r} instead"
        )
    return result


def inspect_kwargs(func: Callable) -> list[str]:
    """Return the names of the arguments of a function that have a default value.

    Parameters
    ----------
    func : callable
        The function.

    Returns
    -------
    list of str
        The names, in the order of the signature.
    """
    parameters = inspect.signature(func).parameters.values()
    return [each.name for each in parameters if each.default is not inspect.Parameter.empty]


def compute_norms(array: Array | Tensor, norm_axes: Sequence[int] | None = None) -> Any:
    """Compute the norms of the incoming weight vectors of each unit.

    Parameters
    ----------
    array : numpy array or PyTensor expression
        The weights.
    norm_axes : sequence of int, optional
        The axes to sum over. If omitted: none for a vector (biases), the first for a matrix (as of
        a :class:`DenseLayer`), all but the first for three to five dimensions (filter banks).

    Returns
    -------
    numpy array or PyTensor expression
        The Euclidean norms over `norm_axes`; their shape is that of the remaining axes.

    Raises
    ------
    RuntimeError
        If `array` is neither a NumPy array nor a PyTensor expression.
    ValueError
        If `norm_axes` is omitted and `array` has no dimensions or more than five.
    """
    if not isinstance(array, np.ndarray | Variable):
        raise RuntimeError(
            f"Unsupported type {type(array)}. "
            "Only PyTensor expressions and numpy arrays are supported"
        )
    xp, ndim = (np, array.ndim) if isinstance(array, np.ndarray) else (pt, array.type.ndim)
    axes = default_norm_axes(ndim) if norm_axes is None else tuple(norm_axes)
    if not axes:
        return xp.abs(array)
    scale = get_scale(array, axes)
    total = xp.sum(xp.square(array * scale), axis=axes, keepdims=True)
    if xp is pt:  # the gradient of a root is infinite at zero
        positive = pt.gt(total, 0)
        norms = pt.switch(positive, pt.sqrt(pt.switch(positive, total, 1)), 0)
    else:
        norms = np.sqrt(total)
    return xp.squeeze(norms / scale, axis=axes)


def default_norm_axes(ndim: int) -> tuple[int, ...]:
    """Return the axes that the incoming weights of a unit extend over.

    Parameters
    ----------
    ndim : int
        Number of dimensions of the weights.

    Returns
    -------
    tuple of int
        None for a vector, the first for a matrix, all but the first for three to five dimensions.

    Raises
    ------
    ValueError
        For any other number of dimensions.
    """
    if ndim == 1:
        return ()
    if ndim == 2:
        return (0,)
    if 3 <= ndim <= 5:
        return tuple(range(1, ndim))
    raise ValueError(f"Unsupported tensor dimensionality {ndim}. Must specify `norm_axes`")


class _GradClip(GradClip):
    """PyTensor's clipping of gradients, where clippings with other bounds are not equal.

    Its own all are, and its loops share equal parts: they could take the bounds of another layer.
    """

    __props__ = ("clip_lower_bound", "clip_upper_bound")  # type: ignore[assignment]


def clip_gradient(x: Tensor, bound: float) -> Tensor:
    """Return a tensor as it is, with its gradient clipped elementwise.

    Parameters
    ----------
    x : tensor
        Of any shape.
    bound : float
        The gradient with respect to `x` is clipped to ``[-bound, bound]``.

    Returns
    -------
    tensor
        The value of `x`.

    Raises
    ------
    ValueError
        If `bound` is negative.
    """
    return _GradClip(-bound, bound)(x)  # type: ignore[return-value]


_initialize: ContextVar[Callable] = ContextVar(
    "_initialize", default=lambda spec, shape: spec(shape)
)


@contextmanager
def initializing_by(initialize: Callable) -> Iterator[None]:
    """Have another way in which callables give the initial values of parameters, within a block.

    So a network can be built whose parameters get their values from elsewhere, without drawing
    numbers and without memory for them.

    Parameters
    ----------
    initialize : callable
        Called with the callable that stands for a parameter and the shape, a tuple; returns what
        the callable would return. By default it calls the callable with the shape.
    """
    token = _initialize.set(initialize)
    try:
        yield
    finally:
        _initialize.reset(token)


def hide_masked(x: TensorLike, mask: TensorLike) -> Tensor:
    """Replace a tensor by zeros where a mask is zero.

    Neither the values hidden nor their gradients get into the result, not even if they are NaN or
    infinite, as they would with a product: zero times NaN is NaN.

    Parameters
    ----------
    x : tensor
        The values.
    mask : tensor
        Its axes are the first axes of `x`.

    Returns
    -------
    tensor
        Of the shape and dtype of `x`.
    """
    x, mask = pt.as_tensor_variable(x), pt.as_tensor_variable(mask)
    mask = mask.dimshuffle(*range(mask.ndim), *["x"] * (x.ndim - mask.ndim))
    return pt.switch(mask, x, np.zeros((), x.dtype))


def create_param(spec: ParameterSpec, shape: Iterable[int], name: str | None = None) -> Variable:
    """Create the variable of a layer parameter.

    Parameters
    ----------
    spec : PyTensor expression, numpy array, number or callable
        * a shared variable or an expression is used as it is;
        * an array, or a number for a scalar parameter, gives the initial value of a new shared
          variable; numbers of a higher precision than floatX become floatX;
        * a callable (such as an :class:`lasagne.init.Initializer`) is called with the shape and
          returns one of these.
    shape : iterable of int
        The shape of the parameter.
    name : str, optional
        The name of the variable, given unless it has one.

    Returns
    -------
    PyTensor shared variable or expression
        Of ``len(shape)`` dimensions. A new shared variable has `shape` as its static shape.

    Raises
    ------
    ValueError
        If a dimension of `shape` is not positive, or if the shape of the array, the number of
        dimensions of the expression, or a known dimension of it is different, or if a finite number
        of the array is too large for floatX.
    TypeError
        If `spec`, or what the callable returned, is nothing of the above.
    """
    shape = tuple(shape)
    if any(dim <= 0 for dim in shape):
        raise ValueError(
            "cannot create a parameter with a non-positive dimension: "
            f"tried to create {name!r} with shape {shape}"
        )
    given = "the provided {}"
    if not isinstance(spec, Variable) and callable(spec):
        spec, given = _initialize.get()(spec, shape), "the {} returned by the provided callable"

    if isinstance(spec, Number | np.generic):
        spec = np.asarray(spec)
    if isinstance(spec, np.ndarray) and spec.dtype.kind in "biufc":
        if spec.shape != shape:
            raise ValueError(
                f"cannot initialize parameter {name}: {given.format('numpy array')} has shape "
                f"{spec.shape}, should be {shape}"
            )
        highest = np.dtype(pytensor.config.floatX)
        if spec.dtype.kind == "f" and spec.dtype.itemsize > highest.itemsize:
            # An array of float64 would make the whole network float64
            try:
                spec = _cast(spec, highest)
            except ValueError as error:
                raise ValueError(
                    f"cannot initialize parameter {name}: {given.format('numpy array')} {error}"
                ) from error
        return pytensor.shared(spec, name=name, shape=shape)

    if not (isinstance(spec, Variable) and isinstance(spec.type, pt.TensorType)):
        raise TypeError(
            f"cannot initialize parameter {name}: {given.format('value')} is not a numpy array, "
            f"a number or a PyTensor expression, but {spec!r}"
        )
    if spec.type.ndim != len(shape):
        raise ValueError(
            f"cannot initialize parameter {name}: {given.format('PyTensor variable')} has "
            f"{spec.type.ndim} dimensions, should be {len(shape)}"
        )
    known_dims = zip(spec.type.shape, shape, strict=True)
    if any(known not in (None, dim) for known, dim in known_dims):
        raise ValueError(
            f"cannot initialize parameter {name}: {given.format('PyTensor variable')} has shape "
            f"{spec.type.shape}, should be {shape}"
        )
    if not spec.name:
        spec.name = name
    return spec


# What kinds of numbers a parameter of a kind takes: those that mean the same in it
_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf", "c": "iufc"}


def check_param_value(param: SharedVariable, value: ArrayLike) -> np.ndarray:
    """Return a value as the array to which a parameter is to be set.

    A floating-point parameter takes integers and floating-point numbers of any precision, rounded
    to its own. The parameter itself is left as it is.

    Parameters
    ----------
    param : PyTensor shared variable
        The parameter.
    value : array_like
        Of the parameter's shape.

    Returns
    -------
    numpy array
        In the parameter's dtype; `value` itself if it has that dtype already.

    Raises
    ------
    ValueError
        If `value` is of another shape; if it holds anything but numbers of the parameter's kind,
        such as complex numbers, truth values, dates or strings; or if a finite number of it is too
        large for the parameter's dtype. The message names the parameter.
    """
    expected = np.shape(param.get_value(borrow=True))
    dtype = np.dtype(param.type.dtype)
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the value's own conversion raises
        raise ValueError(f"parameter {param.name}: the value is no array: {error}") from error
    if array.shape != expected:
        raise ValueError(
            f"mismatch: parameter {param.name} has shape {expected}, but the value to set has shape "
            f"{array.shape}"
        )
    if array.dtype.kind not in _KINDS.get(dtype.kind, ""):
        raise ValueError(
            f"mismatch: parameter {param.name} is of dtype {dtype}, but the value to set is of dtype "
            f"{array.dtype}"
        )
    try:
        return _cast(array, dtype)
    except ValueError as error:
        raise ValueError(f"parameter {param.name}: the value {error}") from error


def _cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast numbers, or raise a `ValueError` if finite ones are too large for the dtype."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "iu":
        fits = bool(np.all(cast == array))
    else:
        fits = bool(np.all(np.isfinite(cast) | ~np.isfinite(array)))
    if not fits:
        raise ValueError(f"of dtype {array.dtype} holds numbers that are too large for {dtype}")
    return cast


def unroll_scan(
    fn: Callable,
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any,
    n_steps: int,
    go_backwards: bool = False,
) -> list:
    """Apply a step function repeatedly, as :func:`pytensor.scan` does, without a loop in the graph.

    Parameters
    ----------
    fn : callable
        The step: takes an item of each sequence, the previous outputs and the non-sequences;
        returns the outputs of the step, a tensor or a list of tensors.
    sequences : tensor or list of tensors
        Iterated over in their first dimension.
    outputs_info : list of tensors
        The outputs before the first step.
    non_sequences : tensor or list of tensors
        Passed to every step.
    n_steps : int
        Number of steps. A sequence has at least that many items; what is beyond is not used.
    go_backwards : bool
        Whether to iterate from item ``n_steps - 1`` of the sequences down to item 0.

    Returns
    -------
    list of tensors
        For each output its values at all steps, in the order computed, stacked in a new first
        dimension.

    Raises
    ------
    ValueError
        If `n_steps` is not positive, or a sequence is shorter. If the length of the sequence is not
        known beforehand, the compiled function raises the error.
    """
    if n_steps < 1:
        raise ValueError(f"unroll_scan needs at least one step, got n_steps={n_steps}")
    sequences, outputs, non_sequences = map(_as_list, (sequences, outputs_info, non_sequences))
    short = f"unroll_scan with n_steps={n_steps} needs sequences of that length, one is shorter"
    sequences = [check_length(pt.as_tensor(x), n_steps, short, longer=True) for x in sequences]
    history = []
    for step in reversed(range(n_steps)) if go_backwards else range(n_steps):
        outputs = _as_list(fn(*[each[step] for each in sequences], *outputs, *non_sequences))
        history.append(outputs)
    return [pt.stack(values, axis=0) for values in zip(*history, strict=True)]


def _as_list(value: object) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]
