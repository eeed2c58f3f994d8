"""Checks of sizes that are known only when a compiled function is called."""

from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Apply
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import as_scalar


def check_length(x: Any, length: int, message: str, axis: int = 0, longer: bool = False) -> Any:
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
        checked: Any = SizeCheck(ValueError, message)(x, right, given)
        if longer:
            return checked
        return pt.specify_shape(checked, [length if k == axis else None for k in range(x.ndim)])
    if known == length or (longer and known > length):
        return x
    raise ValueError(f"{message}: {known}")


def check_unrolled(label: str, length: int, sequence: Any, mask: Any = None) -> list:
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
    """Return a value; raise an error that tells a size unless a condition holds.

    The inputs are the value, the condition, and the size. A size of zero is taken as wrong by a
    back end that knows :class:`CheckAndRaise` alone, as the size is one more condition there.
    """

    def make_node(self, value: Any, condition: Any, *size: Any) -> Apply:
        # Rewrites leave a size out that is constant
        sizes = [as_scalar(pt.cast(each, "int64")) for each in size]
        checked = super().make_node(value, condition)
        return Apply(self, [*checked.inputs, *sizes], [checked.outputs[0].type()])

    def make_message(self, *size: Any) -> str:
        """Return the message of the error."""
        return ": ".join(map(str, (self.msg, *size)))

    def perform(self, node: Apply, inputs: Any, outputs: Any) -> None:
        value, condition, *size = inputs
        if not condition:
            raise self.exc_type(self.make_message(*size))
        outputs[0][0] = value

    def c_code(self, node: Apply, name: str, inames: Any, onames: Any, props: Any) -> str:
        value, condition, *size = inames
        # Nothing in a message is code
        text = "".join(f"\\{byte:03o}" for byte in self.msg.encode())
        numbers = "".join(f", (long long)({each})" for each in size)
        return f"""
        if (!({condition})) {{
            PyErr_Format({props["params"]}->exc_type, "%s{": %lld" * len(size)}", "{text}"{numbers});
            {props["fail"]}
        }}
        Py_XDECREF({onames[0]});
        {onames[0]} = {value};
        Py_INCREF({value});
        """

    def c_code_cache_version(self) -> tuple:
        return (1,)
