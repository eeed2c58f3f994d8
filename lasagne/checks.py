"""Checks of sizes that are known only when a compiled function is called."""

from typing import Any, TypeVar

import pytensor.tensor as pt
from pytensor.graph.basic import Apply
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import ScalarType, as_scalar
from pytensor.tensor.exceptions import ShapeError

from .typing import Tensor, TensorLike

__all__ = [
    "SizeCheck",
    "check_length",
    "check_mask",
    "check_rows",
    "check_same_size",
    "check_size",
    "check_unrolled",
    "in_range",
]

IndexT = TypeVar("IndexT")


def check_length(
    x: Tensor, length: int, message: str, axis: int = 0, longer: bool = False
) -> Tensor:
    """Return a tensor, and raise an error if an axis of it has another length than expected.

    Parameters
    ----------
    x : tensor
        The tensor to check.
    length : int
        The expected length.
    message : str
        The message of the error. The length that was given is appended.
    axis : int
        The axis to check.
    longer : bool
        Whether the axis may also be longer than expected.

    Returns
    -------
    tensor
        `x` itself if the length is known and right. Otherwise an expression of the same value;
        the compiled function that computes the expression raises the error.

    Raises
    ------
    ValueError
        If the length is known when the graph is built, and wrong.
    """
    known = x.type.shape[axis]
    if known is None:
        given = x.shape[axis]
        right = pt.ge(given, length) if longer else pt.eq(given, length)
        checked = check_size(x, message, right, given)
        if longer:
            return checked
        return pt.specify_shape(checked, [length if k == axis else None for k in range(x.ndim)])
    if known == length or (longer and known > length):
        return x
    raise ValueError(f"{message}: {known}")


def check_mask(label: str, mask: Tensor, sequence: Tensor, rows: bool = False) -> Tensor:
    """Check that a mask has the batch size and the number of time steps of the input.

    Parameters
    ----------
    label : str
        The layer, for the message of the error.
    mask : tensor
        Shape ``(batch, time)``.
    sequence : tensor
        The input, of shape ``(batch, time, ...)``.
    rows : bool
        Whether a mask that is known to have one row may stand for all sequences of the batch.

    Returns
    -------
    tensor
        The mask as it is, or checked by the compiled function.

    Raises
    ------
    ValueError
        If the mask does not have two axes, or sizes that are known when the graph is built differ.
    """
    if mask.type.ndim != 2:
        raise ValueError(f"{label}: the mask must have 2 axes (batch, time), not {mask.type.ndim}")
    for axis, what in enumerate(("batch size", "length")):
        if axis == 0 and rows and mask.type.shape[0] == 1:
            continue
        mask = check_same_size(
            mask, sequence, axis, f"{label}: the mask must be of the input's {what}"
        )
    return mask


def check_same_size(x: Tensor, other: Tensor, axis: int, message: str) -> Tensor:
    """Return a tensor, and raise an error if an axis of it is not as long as that of another.

    Parameters
    ----------
    x, other : tensor
        The tensor to check and the tensor to which it is compared.
    axis : int
        The axis of both.
    message : str
        The message of the error: what must be equal. The sizes are appended.

    Returns
    -------
    tensor
        `x` itself if the sizes are known and equal. Otherwise an expression of the same value; the
        compiled function that computes the expression raises the error.

    Raises
    ------
    ValueError
        If the sizes are known when the graph is built, and differ.
    """
    known, expected = x.type.shape[axis], other.type.shape[axis]
    if expected is not None:
        return check_length(x, expected, f"{message}, {expected}, not", axis)
    size = other.shape[axis]
    if known is not None:
        # A constant is left out of the sizes by rewrites
        return check_size(x, f"{message}, not {known}", pt.eq(size, known), size)
    return check_size(x, message, pt.eq(x.shape[axis], size), x.shape[axis], size)


def in_range(index: IndexT) -> IndexT:
    """Promise that every index of a tensor is in the range of each axis that the tensor indexes.

    Functions that JAX runs then do without the check of the range (see :mod:`lasagne.backends.jax_indexing`). The
    result of a broken promise is not defined.

    Parameters
    ----------
    index : integer tensor

    Returns
    -------
    tensor
        `index` itself.
    """
    index.tag.in_range = True  # type: ignore[attr-defined]
    return index


def check_rows(value: Tensor, batch: TensorLike, label: str) -> Tensor:
    """Return an initial value, and raise an error if its rows are neither one nor those of a batch.

    Parameters
    ----------
    value : tensor
        The initial value, of shape ``(1, ...)`` or ``(batch, ...)``.
    batch : int or scalar expression
        The number of sequences in the batch.
    label : str
        The layer and the name of the value, for the message of the error.

    Returns
    -------
    tensor
        An expression of the same value; the compiled function that computes the expression raises
        a `ValueError`.
    """
    rows = value.shape[0]
    message = (
        f"{label} must have one row, or a row for each sequence of the batch; the number of rows is"
    )
    return check_size(value, message, pt.or_(pt.eq(rows, 1), pt.eq(rows, batch)), rows)


def check_size(x: Tensor, message: str, condition: Tensor, *sizes: Tensor) -> Tensor:
    """Return a tensor, and raise an error when a function is called and a condition does not hold.

    Parameters
    ----------
    x : tensor
        The value.
    message : str
        The message of the error, to which the sizes are appended.
    condition : scalar
        What must hold.
    *sizes : scalars
        The size that was given and, if the message does not tell, the size that is expected.

    Returns
    -------
    tensor
        An expression of the value of `x`.
    """
    inverted = (pt.invert(size) for size in sizes)
    return SizeCheck(ValueError, message)(x, condition, *inverted)  # type: ignore[return-value]


def check_unrolled(label: str, length: int, sequence: Tensor, mask: Tensor | None = None) -> list:
    """Check that an unrolled layer gets the number of time steps that the layer was made for.

    Parameters
    ----------
    label : str
        The layer, for the message of the error.
    length : int
        The number of time steps that the layer was made for.
    sequence : tensor
        The input, of shape ``(batch, time, ...)``.
    mask : tensor, optional
        The mask, of shape ``(batch, time)``.

    Returns
    -------
    list of tensors
        The sequence and, if given, the mask: as they are, or checked by the compiled function.

    Raises
    ------
    ValueError
        As :func:`check_length`.
    """
    given = {"sequence": sequence} if mask is None else {"sequence": sequence, "mask": mask}
    return [
        check_length(
            x,
            length,
            f"{label}: unroll_scan takes exactly the {length} time steps that the input is declared "
            f"with; the {name} has another length",
            axis=1,
        )
        for name, x in given.items()
    ]


class SizeCheck(CheckAndRaise):
    """Return a value; raise an error that tells a size, or two, unless a condition holds.

    The inputs are the value, the condition, and the sizes with their bits inverted. A back end that
    knows :class:`CheckAndRaise` alone takes the sizes for conditions: all are integers, as
    conditions have to be of one type, and an inverted size is never zero.
    No text of a message becomes code, as it may with PyTensor's own class, which does not escape
    backslashes for C.
    """

    def make_node(self, value: Any, *conditions: Any) -> Apply:
        # Rewrites leave a condition out that is constant
        scalars = [
            each if isinstance(each.type, ScalarType) else as_scalar(pt.cast(each, "int64"))
            for each in conditions
        ]
        return Apply(self, [value, *scalars], [value.type()])

    def make_message(self, *inverted: Any) -> str:
        """Return the message of the error."""
        sizes = " instead of ".join(str(-each - 1) for each in inverted)
        return f"{self.msg}: {sizes}" if sizes else self.msg

    def infer_shape(self, *args: Any) -> Any:
        """Leave the shape to be that of the checked value, so that no use of a size comes first."""
        raise ShapeError("the shape is known when the value is checked")

    def perform(self, node: Apply, inputs: Any, outputs: Any) -> None:
        value, condition, *inverted = inputs
        if not condition:
            raise self.exc_type(self.make_message(*inverted))
        outputs[0][0] = value

    def c_code(self, node: Apply, name: str, inames: Any, onames: Any, props: Any) -> str:
        value, condition, *size = inames
        # Nothing in a message is code
        text = "".join(f"\\{byte:03o}" for byte in self.msg.encode())
        places = ": " * bool(size) + " instead of ".join(["%lld"] * len(size))
        numbers = "".join(f", ~(long long)({each})" for each in size)
        return f"""
        if (!({condition})) {{
            PyErr_Format({props["params"]}->exc_type, "%s{places}", "{text}"{numbers});
            {props["fail"]}
        }}
        Py_XDECREF({onames[0]});
        {onames[0]} = {value};
        Py_INCREF({value});
        """

    def c_code_cache_version(self) -> tuple:
        return (3,)
