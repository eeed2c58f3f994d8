"""PyTensor's register of conversions to JAX, imported without a change to JAX for the whole process.

PyTensor sets JAX's option ``jax_enable_x64`` for the whole process when its JAX back end is imported, by floatX. A
program that uses JAX beside this package would then compute with other types than it asked for. So modules that
register conversions import :data:`jax_funcify` and :data:`jax_typify` from here, where the option is put back. Our own
functions switch 64 bits on for the time of a compilation or a call, see :mod:`lasagne.backends.jax_linker`.

PyTensor's own mode ``"JAX"`` relies on the option. It sets the option when it first compiles a function, as it would
do without this package.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
from pytensor.graph.fg import FunctionGraph
from pytensor.link.jax.linker import JAXLinker

__all__ = ["Conversion", "JAXShapeTuple", "convert_as_pytensor", "jax_funcify", "jax_typify"]

#: A function of JAX's arrays that an Op is converted to
Conversion: TypeAlias = Callable[..., Any]


def _get_x64() -> bool:
    return jax.config.values["jax_enable_x64"]


_was_imported = "pytensor.link.jax.dispatch" in sys.modules
_before = _get_x64()
try:
    from pytensor.link.jax.dispatch.basic import jax_funcify, jax_typify
    from pytensor.link.jax.dispatch.shape import JAXShapeTuple

    # What PyTensor's own mode still has to set, if anything
    _due: bool | None = None if _was_imported else _get_x64()
finally:
    jax.config.update("jax_enable_x64", _before)

#: ``JAXLinker.fgraph_convert`` as PyTensor has it
convert_as_pytensor = JAXLinker.fgraph_convert


def _convert(self: JAXLinker, fgraph: FunctionGraph, *args: Any, **kwargs: Any) -> Any:
    """Convert a graph for PyTensor's own mode, and set the option first if PyTensor would have."""
    global _due
    if _due is not None:
        jax.config.update("jax_enable_x64", _due)
        _due = None
    return convert_as_pytensor(self, fgraph, *args, **kwargs)


JAXLinker.fgraph_convert = _convert  # type: ignore[method-assign]
