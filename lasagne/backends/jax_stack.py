"""A compiled function for many sets of values at once: the values of shared variables stacked, one program for all.

``jax.vmap`` makes the program from the function for one set of values.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import jax
import numpy as np
from pytensor.compile.executor import Function

from lasagne.backends.jax_functions import make_pure

__all__ = ["Stack"]


class Stack:
    """The values of a compiled function's shared variables for many networks, and the function for all of them.

    The values of a network are a list with one value for each shared variable, in the order of
    :attr:`lasagne.backends.jax_functions.PureFunction.shared`: an array, or for a random generator a dictionary of
    arrays.

    Parameters
    ----------
    compiled : pytensor.compile.executor.Function
        As of :func:`lasagne.backends.jax_functions.make_pure`.
    device : jax.Device, optional
        Where the function runs, instead of JAX's default device.

    Attributes
    ----------
    size : int
        How many networks there are.
    shared : list of SharedVariable
    """

    def __init__(self, compiled: Function, device: Any = None) -> None:
        pure = make_pure(compiled)
        self.shared = pure.shared
        self.size = 0
        self._device = device
        self._values: list[Any] = []
        self._num_outputs = pure.num_outputs
        self._types = [each.type.dtype for each in pure.inputs[: pure.num_given]]  # type: ignore[attr-defined]
        # By the position of a result: which of the values it replaces
        self._updates = {k: each - pure.num_given for k, each in pure.updates.items()}
        self._call = jax.jit(jax.vmap(pure.function), compiler_options=pure.compiler_options)

    def fill(self, values: Sequence[Sequence[Any]]) -> None:
        """Take over the values of some networks, one after the other."""
        self.size = len(values)
        with self._in_64_bits():
            stacked = [
                jax.tree.map(lambda *each: np.stack([np.asarray(one) for one in each]), *parts)
                for parts in zip(*values, strict=True)
            ]
            self._values = jax.device_put(stacked, self._device)

    def take(self, position: int) -> list[Any]:
        """Return the values of the network at a position."""
        with self._in_64_bits():
            return _take(self._values, np.int32(position))

    def put(self, position: int, values: Sequence[Any]) -> None:
        """Replace the values of the network at a position."""
        with self._in_64_bits():
            self._values = _put(self._values, list(values), np.int32(position))

    def arrange(self, positions: Sequence[int]) -> None:
        """Keep the networks at some positions, in this order; a position may come several times."""
        self.size = len(positions)
        with self._in_64_bits():
            self._values = _take(self._values, np.array(positions, "int32"))

    def run(self, arguments: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        """Run the function for all networks, and replace the values that it updates.

        Parameters
        ----------
        arguments : list of list of array
            For each network what the compiled function takes.

        Returns
        -------
        list of array (N, ...)
            Each output for all networks.
        """
        # Copies, so that nobody writes into an array that JAX may still be reading
        given = [
            np.stack(parts).astype(dtype, copy=False)
            for parts, dtype in zip(zip(*arguments, strict=True), self._types, strict=True)
        ]
        with self._in_64_bits():
            results = self._call(*given, *self._values)
            for k, position in self._updates.items():
                self._values[position] = results[k]
            return [np.asarray(result) for result in results[: self._num_outputs]]

    def _in_64_bits(self) -> Any:
        stack = ExitStack()
        stack.enter_context(jax.enable_x64(True))
        if self._device is not None:
            stack.enter_context(jax.default_device(self._device))
        return stack


@jax.jit
def _take(values: Any, position: Any) -> Any:
    return jax.tree.map(lambda x: x[position], values)


@jax.jit
def _put(values: Any, new: Any, position: Any) -> Any:
    return jax.tree.map(lambda x, value: x.at[position].set(value), values, new)
