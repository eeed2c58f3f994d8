"""The linker that hands PyTensor's graphs to JAX.

PyTensor's integers have 64 bits, and a graph may hold float64 whatever floatX says. JAX cuts both to 32 bits unless its
option ``jax_enable_x64`` is on. The option stays as the program has set it: the linker switches it on, for its own
thread, while a graph is converted and while a compiled function runs. What is float32 in the graph stays float32.

Outside of a call JAX still holds arrays of 64 bits, but cuts them as soon as it computes with them. So the results of
64 bits that a function returns are NumPy arrays. Shared variables keep JAX arrays of any type on the device; nothing
computes with those but our functions.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.link.jax.linker import JAXLinker

import lasagne.backends.jax_dispatch
import lasagne.backends.jax_loop  # noqa: F401  (both register conversions)
from lasagne.backends.compilation_cache import use_compilation_cache
from lasagne.backends.jax_devices import jit_everywhere, make_mesh
from lasagne.backends.jax_processes import SeveralProcesses
from lasagne.backends.jax_registry import convert_as_pytensor
from lasagne.devices import WITHOUT_LIMIT
from lasagne.processes import Processes

__all__ = ["CPU_OPTIONS", "WIDE_TYPES", "Argument", "FlexibleJAXLinker", "get_compiler_options"]

use_compilation_cache()

# What JAX cuts to 32 bits outside of `jax.enable_x64`
WIDE_TYPES = ("int64", "uint64", "float64", "complex128")

# How XLA compiles for the CPU. A loop's steps are hundreds of small operations: a sum in stages, and sums and
# elementwise functions handed to a library, take longer than the plain loops that XLA writes itself
CPU_OPTIONS = {
    "xla_disable_hlo_passes": "tree_reduction_rewriter",
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}

# The same for several devices. Each core has work of its own: a device does not divide a loop over threads
DIVIDED_CPU_OPTIONS = {
    **CPU_OPTIONS,
    "xla_disable_hlo_passes": "tree_reduction_rewriter,cpu-parallel-task-assigner",
    **WITHOUT_LIMIT,
}


@cache
def get_compiler_options(platform: str, is_divided: bool = False) -> dict[str, str]:
    """Return the options for XLA on a kind of device, without those that the installed JAX does not know.

    Parameters
    ----------
    platform : str
        'cpu', 'gpu' or 'tpu'.
    is_divided : bool
        Whether a function runs on several devices at once.
    """
    if platform != "cpu":
        return {}
    options = DIVIDED_CPU_OPTIONS if is_divided else CPU_OPTIONS
    return {name: value for name, value in options.items() if _is_known(name, value)}


def _is_known(name: str, value: str) -> bool:
    function = jax.jit(lambda x: x, compiler_options={name: value})
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            function.lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class Argument:
    """The storage of an argument, from which JAX gets a copy of the array that the caller gave.

    JAX reads an array in its place, and may do so when the call has returned: what the caller then writes into the
    array, such as the next batch, would enter the result.
    """

    __slots__ = ("_storage",)

    def __init__(self, storage: list[Any]) -> None:
        self._storage = storage

    def __getitem__(self, index: int) -> Any:
        value = self._storage[index]
        return value.copy() if type(value) is np.ndarray else value


class SeveralDevices:
    """A function that runs on several devices, from arrays on the first device to such arrays.

    Every device gets all arguments, runs the whole function and has all results; what the devices divide is up to the
    function (`lasagne.backends.jax_accumulation`). Parameters stay on all devices: an argument that was on the first
    device before, or is a result of the last call, is not sent again. Everything else that uses parameters sees arrays
    on one device.

    Parameters
    ----------
    fn : callable
    mesh : jax.sharding.Mesh
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
        mesh: jax.sharding.Mesh,
        shared: Sequence[int],
        updates: Mapping[int, int],
        options: dict[str, str],
    ) -> None:
        self._jitted, self._everywhere = jit_everywhere(fn, mesh, options)
        self._shared, self._updates = shared, updates
        # By argument: the array on the first device, and the same array on all devices
        self._kept: dict[int, tuple[Any, Any]] = {}
        self.lower = self._jitted.lower

    def __call__(self, *args: Any) -> list[Any]:
        given = list(args)
        for k in self._shared:
            local, everywhere = self._kept.get(k, (None, None))
            if given[k] is not local or local is None:
                local = given[k]
                everywhere = jax.device_put(local, self._everywhere)
                # An array of NumPy may be written to by others
                self._kept[k] = (
                    (None, None) if isinstance(local, np.ndarray) else (local, everywhere)
                )
            given[k] = everywhere
        results = self._jitted(*given)
        handed = [jax.tree.map(lambda x: x.addressable_data(0), result) for result in results]
        for k, argument in self._updates.items():
            self._kept[argument] = handed[k], results[k]
        return handed


class FlexibleJAXLinker(JAXLinker):
    """PyTensor's JAX linker, for inputs of any length, with random generators of its own.

    Each compiled function draws from copies of the graph's shared random generators, as JAX's generators
    are of another kind; they start from the state that the shared generators have when it is compiled.

    Parameters
    ----------
    device : jax.Device, optional
        Where the functions run, instead of JAX's default device.
    processes : Processes, optional
        The processes over whose devices functions divide their work, if they divide any.
    """

    required_rewrites = (*JAXLinker.required_rewrites, "pair_loops")  # type: ignore[assignment]
    incompatible_rewrites = (  # type: ignore[assignment]
        *JAXLinker.incompatible_rewrites,
        "expand_blocks",
        "expand_loops",
        "expand_own_gradients",
    )

    def __init__(
        self, device: jax.Device | None = None, processes: Processes | None = None
    ) -> None:
        super().__init__()
        self.device, self.processes = device, processes

    def create_jitable_thunk(self, *args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(True):
            return super().create_jitable_thunk(*args, **kwargs)

    def fgraph_convert(
        self, fgraph: FunctionGraph, *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"The RandomType SharedVariables")
            return convert_as_pytensor(self, fgraph, *args, **kwargs)

    def create_thunk_inputs(self, storage_map: dict[Variable, list[Any]]) -> list[Any]:
        inputs = super().create_thunk_inputs(storage_map)
        assert self.fgraph is not None
        shared = [isinstance(variable, SharedVariable) for variable in self.fgraph.inputs]
        if self._platform != "cpu" or self.count_devices() > 1:
            # What is not updated would else be sent to the device at every call
            for storage in inputs:
                if isinstance(storage[0], np.ndarray):
                    storage[0] = jax.device_put(storage[0].copy(), self.device)
        return [
            storage if is_shared else Argument(storage)
            for storage, is_shared in zip(inputs, shared, strict=True)
        ]

    def jit_compile(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        num_devices = self.count_devices()
        options = self.get_options()
        jitted: Any
        if num_devices == 1:
            jitted = jax.jit(fn, compiler_options=options)
        else:
            assert self.fgraph is not None
            shared = [
                k
                for k, variable in enumerate(self.fgraph.inputs)
                if isinstance(variable, SharedVariable)
            ]
            updates: Any = self.fgraph.update_mapping or {}
            if self.processes is None:
                with jax.default_device(self.device):
                    mesh = make_mesh(num_devices)
                jitted = SeveralDevices(fn, mesh, shared, updates, options)
            else:
                jitted = SeveralProcesses(fn, self.processes, shared, updates, options)
        wide = self._find_wide_results()
        # Entering it again costs less than making it, and a function runs in one thread at a time
        in_64_bits = jax.enable_x64(True)

        def run(*args: Any) -> Any:
            with in_64_bits:
                return jitted(*args)

        def run_on_device(*args: Any) -> Any:
            with in_64_bits, jax.default_device(self.device):
                return jitted(*args)

        run_anywhere = run if self.device is None else run_on_device

        def run_and_fetch(*args: Any) -> list[Any]:
            outputs = list(run_anywhere(*args))
            for k in wide:
                outputs[k] = np.array(outputs[k])
            return outputs

        function: Any = run_and_fetch if wide else run_anywhere
        function.lower = jax.enable_x64(True)(jitted.lower)
        function.converted = fn  # for lasagne.backends.jax_functions
        if isinstance(jitted, SeveralProcesses):
            function.forget = jitted.forget
            function.follow = jax.enable_x64(True)(jitted.follow)
        return function

    def get_options(self) -> dict[str, str]:
        """Return the options for XLA with which the graph is compiled."""
        return get_compiler_options(self._platform, self.count_devices() > 1)

    def count_devices(self) -> int:
        """Return over how many devices the graph divides its work."""
        assert self.fgraph is not None
        return max(
            (getattr(node.op, "num_devices", 1) for node in self.fgraph.apply_nodes), default=1
        )

    def _find_wide_results(self) -> list[int]:
        """Return the positions of the outputs that go to the caller and have 64 bits."""
        assert self.fgraph is not None
        updates = self.fgraph.update_mapping or {}
        return [
            k
            for k, output in enumerate(self.fgraph.outputs)
            if k not in updates and getattr(output.type, "dtype", None) in WIDE_TYPES
        ]

    @property
    def _platform(self) -> str:
        return jax.default_backend() if self.device is None else self.device.platform
