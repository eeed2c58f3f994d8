"""Compiled functions as pure functions of JAX arrays: for what JAX does with functions, such as ``vmap`` and export.

A function that PyTensor compiled keeps its shared variables: it reads their values and leaves its updates in them. The
same graph as JAX sees it has neither: values of shared variables are arguments, and updates are results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import jax
from pytensor.compile.executor import Function
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from lasagne.backends.jax_linker import FlexibleJAXLinker

__all__ = ["PureFunction", "make_pure"]


@dataclass(frozen=True)
class PureFunction:
    """A graph as a pure function of JAX arrays.

    Attributes
    ----------
    function : callable
        From one value for each of `inputs`, as a flat list of arguments, to a list: first the `num_outputs` outputs,
        then the new values of the shared variables that are updated. The argument and the new value of a random
        generator are dictionaries of arrays; all other values are arrays. The function is not compiled: hand it to
        ``jax.jit``, with :attr:`compiler_options`. Both must happen under ``jax.enable_x64(True)``.
    inputs : list of Variable
        The arguments: first the inputs of the compiled function, in their order, then its shared variables.
    num_outputs : int
    updates : dict from int to int
        Which argument of the next call each further result is: positions of results to positions of arguments.
    compiler_options : dict
        For XLA, as the compiled function has them on its device.
    """

    function: Callable[..., list[Any]]
    inputs: list[Variable]
    num_outputs: int
    updates: dict[int, int]
    compiler_options: dict[str, str]
    _compiled: Function

    @property
    def num_given(self) -> int:
        """How many arguments a caller gives: those that are no shared variables."""
        return sum(not isinstance(each, SharedVariable) for each in self.inputs)

    @property
    def shared(self) -> list[SharedVariable]:
        """The shared variables, in the order of the arguments after the first `num_given`."""
        return [each for each in self.inputs if isinstance(each, SharedVariable)]

    def get_values(self) -> list[Any]:
        """Return the present values of the shared variables: NumPy arrays, arrays of JAX, dictionaries of generators.

        A random generator has the state that it has in the compiled function, which draws from a copy of its own.
        """
        return [
            container.storage[0]
            for each, container in zip(self.inputs, self._compiled.input_storage, strict=True)
            if isinstance(each, SharedVariable)
        ]


def make_pure(compiled: Function) -> PureFunction:
    """Return what a compiled function computes as a pure function of JAX arrays.

    Parameters
    ----------
    compiled : pytensor.compile.executor.Function
        Compiled with ``ntm.get_mode("jax")``. Compiling is quick: XLA does its part when a function is first called.

    Returns
    -------
    PureFunction

    Raises
    ------
    TypeError
        If `compiled` is no compiled function, or not of that mode.
    ValueError
        If the function divides a batch over several devices: it is not one program for one device.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> import pytensor, pytensor.tensor as pt
    >>> from ntm import get_mode
    >>> x, total = pt.vector("x", dtype="float32"), pytensor.shared(np.float32(1), "total")
    >>> add = pytensor.function([x], x * 2, updates=[(total, total + x.sum())], mode=get_mode("jax"))
    >>> pure = make_pure(add)
    >>> pure.inputs, pure.updates
    ([x, total], {1: 1})
    >>> with jax.enable_x64(True):
    ...     results = jax.jit(pure.function)(np.ones(3, "float32"), *pure.get_values())
    >>> [np.asarray(each).tolist() for each in results]
    [[2.0, 2.0, 2.0], 4.0]
    """
    linker = getattr(getattr(compiled, "maker", None), "linker", None)
    if not isinstance(linker, FlexibleJAXLinker):
        raise TypeError(
            "make_pure: expected a function compiled with ntm.get_mode('jax'), not "
            f"{compiled!r:.100}"
        )
    if linker.count_devices() > 1:
        raise ValueError(
            f"make_pure: the function divides its batch over {linker.count_devices()} devices; compile it for one"
        )
    fgraph, vm = cast(Any, compiled.maker.fgraph), cast(Any, compiled.vm)
    convert = vm.jit_fn.converted

    def function(*args: Any) -> list[Any]:
        if not jax.config.values["jax_enable_x64"]:
            raise RuntimeError("a pure function must be traced and run under jax.enable_x64(True)")
        # Conversions write into the dictionary of a generator: give them one of their own
        return list(convert(*(jax.tree.map(lambda x: x, each) for each in args)) or ())

    updates = dict(fgraph.update_mapping or {})
    return PureFunction(
        function,
        [each.variable for each in compiled.maker.inputs],
        len(fgraph.outputs) - len(updates),
        updates,
        linker.get_options(),
        compiled,
    )
