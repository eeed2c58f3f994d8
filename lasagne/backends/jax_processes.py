"""A function that runs on the devices of several processes: see :mod:`lasagne.processes`."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lasagne.backends.jax_devices import jit_everywhere
from lasagne.processes import Processes

__all__ = ["SeveralProcesses"]


class SeveralProcesses:
    """A function that runs on the devices of several processes at once, as process 0 says.

    Every device gets all arguments, runs the whole function and has all results, as in
    :class:`lasagne.backends.jax_linker.SeveralDevices`. Process 0 calls the function; the others call `follow` for each
    call. Shared variables stay on all devices: process 0 sends those that something else than the last call has set.

    Before a function runs with arguments of new shapes, all processes compare what they are about to compile, and wait
    until all have compiled.

    Parameters
    ----------
    fn : callable
    processes : Processes
    shared : list of int
        The arguments that are shared variables.
    updates : dict from int to int
        Which argument of the next call each result becomes.
    options : dict
        For XLA.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        processes: Processes,
        shared: Sequence[int],
        updates: Mapping[int, int],
        options: dict[str, str],
    ) -> None:
        self._processes = processes
        self._jitted, self._everywhere = jit_everywhere(fn, processes.mesh, options)
        self._own_devices = list(processes.mesh.local_devices)
        self._shared, self._updates = shared, updates
        # By argument: the array on the first device of this process, and the same array on all devices
        self._local: dict[int, Any] = {}
        self._kept: dict[int, Any] = {}
        self._compiled: dict[Any, Any] = {}
        self.lower = self._jitted.lower

    def __call__(self, *args: Any) -> list[Any]:
        """Run the function in all processes, in process 0."""
        given = {
            k: jax.tree.map(np.asarray, value)
            for k, value in enumerate(args)
            if k not in self._shared or k not in self._local or value is not self._local[k]
        }
        arrays: list[np.ndarray] = []
        described = [[k, _pack(value, arrays)] for k, value in given.items()]
        self._processes.tell({"do": "run", "given": described}, arrays)
        results = self._run(given)
        for k in given:
            # An array of NumPy may be written to by others
            if k in self._shared and not isinstance(args[k], np.ndarray):
                self._local[k] = args[k]
        handed = [jax.tree.map(lambda x: x.addressable_data(0), result) for result in results]
        for k, argument in self._updates.items():
            self._local[argument] = handed[k]
        return handed

    def forget(self) -> None:
        """Send all shared variables with the next call."""
        self._local = {}

    def follow(self, message: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
        """Run the function as process 0 says.

        Parameters
        ----------
        message, arrays :
            What process 0 has sent for this call.
        """
        self._run({k: _unpack(described, arrays) for k, described in message["given"]})

    def get_values(self) -> dict[int, Any]:
        """Return the latest values of shared variables, by argument, as NumPy arrays."""
        return {
            k: jax.tree.map(lambda x: np.array(x.addressable_data(0)), value)
            for k, value in self._kept.items()
        }

    def _run(self, given: Mapping[int, Any]) -> list[Any]:
        """Return the results on all devices, given the arguments that are not kept."""
        placed = {k: jax.tree.map(self._place, value) for k, value in given.items()}
        arguments = {**self._kept, **placed}
        args = [arguments[k] for k in range(len(arguments))]
        compiled = self._get_compiled(args)
        with self._processes.computing():
            results = compiled(*args)
            jax.block_until_ready(results)
        self._kept |= {k: placed[k] for k in self._shared if k in placed}
        for k, argument in self._updates.items():
            self._kept[argument] = results[k]
        return results

    def _place(self, value: np.ndarray) -> jax.Array:
        """Return an array that all processes have as one array on all devices."""
        copies = [jax.device_put(value, each) for each in self._own_devices]
        return jax.make_array_from_single_device_arrays(value.shape, self._everywhere, copies)

    def _get_compiled(self, args: list[Any]) -> Any:
        """Return the function compiled for arguments of these shapes, when all processes have it."""
        leaves, structure = jax.tree.flatten(args)
        key = (structure, tuple((each.shape, each.dtype) for each in leaves))
        if key not in self._compiled:
            lowered = self._jitted.lower(*args)
            digest = hashlib.sha256(lowered.as_text().encode()).hexdigest()
            self._processes.agree("the training step", digest)
            self._compiled[key] = lowered.compile()
            self._processes.agree("the state", "compiled")
        return self._compiled[key]


def _pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return an argument as JSON takes it, and append its arrays to those to be sent."""
    if isinstance(value, dict):
        return {name: _pack(each, arrays) for name, each in value.items()}
    arrays.append(value)
    return len(arrays) - 1


def _unpack(described: Any, arrays: Sequence[np.ndarray]) -> Any:
    """Return the argument that :func:`_pack` was given."""
    if isinstance(described, dict):
        return {name: _unpack(each, arrays) for name, each in described.items()}
    return arrays[described]
