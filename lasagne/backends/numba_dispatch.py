"""Conversions from PyTensor to Numba. Importing this module registers them."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytensor.link.numba.dispatch.subtensor
import pytensor.tensor.subtensor
from pytensor.graph.basic import Apply, Variable
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import (
    numba_funcify_and_cache_key,
    numba_njit,
    register_funcify_and_cache_key,
)
from pytensor.tensor.subtensor import indices_from_subtensor

from lasagne.checks import SizeCheck


@register_funcify_and_cache_key(SizeCheck)
def _funcify_size_check(op: Any, node: Apply, **kwargs: Any) -> tuple[Callable[..., Any], str]:
    """Tell the size in the message, which PyTensor's conversion of the base class cannot."""
    error, message = op.exc_type, op.msg

    @numba_njit
    def check_size(x: Any, condition: bool, size: int) -> Any:
        if not condition:
            raise error(message + ": " + str(~size))
        return x

    @numba_njit
    def check_sizes(x: Any, condition: bool, size: int, other: int) -> Any:
        if not condition:
            raise error(message + ": " + str(~size) + " instead of " + str(~other))
        return x

    @numba_njit
    def check(x: Any, condition: bool) -> Any:
        if not condition:
            raise error(message)
        return x

    function = {2: check, 3: check_size, 4: check_sizes}[len(node.inputs)]
    return function, _make_key(function.__name__, error, message)


def _make_key(*parts: object) -> str:
    """Return a key for Numba's cache on disk, where functions are kept by the name of their module."""
    return sha256(repr((__name__, *parts)).encode()).hexdigest()


@numba_njit
def _check_range(index: Any, length: int) -> None:
    for each in index.flat:
        if each < -length or each >= length:
            raise IndexError("index is out of bounds")


def _check_indices(convert: Callable[..., Any]) -> Callable[..., Any]:
    """Return a conversion that checks arrays of indices; PyTensor's own reads and writes beyond the end of an array."""

    def funcify(op: Any, node: Apply, **kwargs: Any) -> tuple[Callable[..., Any], str | None]:
        function, key = convert(op, node, **kwargs)
        count = len(node.inputs)
        first = 2 if "Inc" in type(op).__name__ else 1
        places: Any = range(first, count)
        indices: Any = indices_from_subtensor(places, op.idx_list)
        names = [f"a{k}" for k in range(count)]
        checks = [
            f"    check_range(a{place}, a0.shape[{axis}])"
            for axis, place in enumerate(indices)
            if not isinstance(place, slice) and _is_array_of_integers(node.inputs[place])
        ]
        takes_masks = any(
            getattr(each.type, "dtype", None) == "bool" for each in node.inputs[first:]
        )
        if not checks or takes_masks:
            return function, key
        arguments = ", ".join(names)
        source = "\n".join(
            [f"def indexing({arguments}):", *checks, f"    return function({arguments})"]
        )
        if key is not None:
            key = _make_key(key, source)
        environment = {"check_range": _check_range, "function": function}
        checked = compile_numba_function_src(source, "indexing", environment, cache_key=key)
        return numba_njit(checked), key

    return funcify


def _is_array_of_integers(variable: Variable) -> bool:
    return getattr(variable.type, "ndim", 0) > 0 and variable.type.dtype.startswith(("int", "uint"))


# PyTensor 3.0 has four classes, later versions two
for _name in ("Subtensor", "IncSubtensor", "Subtensor1", "IncSubtensor1"):
    _class = vars(pytensor.tensor.subtensor).get(f"Advanced{_name}")
    if _class is not None:
        register_funcify_and_cache_key(_class)(
            _check_indices(numba_funcify_and_cache_key.dispatch(_class))
        )
