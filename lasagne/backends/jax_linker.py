"""The linker that hands PyTensor's graphs to JAX."""

import warnings
from functools import cache

import jax
import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.link.jax.linker import JAXLinker

import lasagne.backends.jax_dispatch
import lasagne.backends.jax_loop  # noqa: F401  (both register conversions)
from lasagne.backends.compilation_cache import use_compilation_cache

# PyTensor's integers have 64 bits, and a graph may hold float64 whatever floatX says. JAX would cut both
# to 32 bits. What is float32 in the graph stays float32.
jax.config.update("jax_enable_x64", True)
use_compilation_cache()


# How XLA compiles for the CPU. A loop's steps are hundreds of small operations: a sum in stages, and sums and
# elementwise functions handed to a library, take longer than the plain loops that XLA writes itself
CPU_OPTIONS = {
    "xla_disable_hlo_passes": "tree_reduction_rewriter",
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}


@cache
def get_compiler_options(platform):
    """The options for XLA on a kind of device; those that the installed JAX does not know are left out."""
    if platform != "cpu":
        return {}
    return {name: value for name, value in CPU_OPTIONS.items() if _is_known(name, value)}


def _is_known(name, value):
    function = jax.jit(lambda x: x, compiler_options={name: value})
    try:
        with jax.default_device(jax.devices("cpu")[0]):
            function.lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class Argument:
    """The storage of an argument, from which JAX gets a copy of the array that the caller gave.

    JAX reads an array in its place, and may do so when the call has returned: what the caller then writes into the
    array, such as the next batch, would enter the result.
    """

    def __init__(self, storage):
        self._storage = storage

    def __getitem__(self, index):
        value = self._storage[index]
        return value.copy() if type(value) is np.ndarray else value


class FlexibleJAXLinker(JAXLinker):
    """PyTensor's JAX linker, for inputs of any length, with random generators of its own.

    Each compiled function draws from copies of the graph's shared random generators, as JAX's generators
    are of another kind; they start from the state that the shared generators have when it is compiled.

    Parameters
    ----------
    device : jax.Device, optional
        Where the functions run, instead of JAX's default device.
    """

    required_rewrites = (*JAXLinker.required_rewrites, "pair_loops")  # type: ignore[assignment]
    incompatible_rewrites = (  # type: ignore[assignment]
        *JAXLinker.incompatible_rewrites,
        "expand_loops",
        "expand_own_gradients",
    )

    def __init__(self, device=None):
        super().__init__()
        self.device = device

    def fgraph_convert(self, fgraph, *args, **kwargs):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"The RandomType SharedVariables")
            return super().fgraph_convert(fgraph, *args, **kwargs)

    def create_thunk_inputs(self, storage_map):
        inputs = super().create_thunk_inputs(storage_map)
        assert self.fgraph is not None
        shared = [isinstance(variable, SharedVariable) for variable in self.fgraph.inputs]
        if self._platform != "cpu":
            # What is not updated would else be sent to the device at every call
            for storage in inputs:
                if isinstance(storage[0], np.ndarray):
                    storage[0] = jax.device_put(storage[0], self.device)
        return [
            storage if is_shared else Argument(storage)
            for storage, is_shared in zip(inputs, shared, strict=True)
        ]

    def jit_compile(self, fn):
        jitted = jax.jit(fn, compiler_options=get_compiler_options(self._platform))
        if self.device is None:
            return jitted

        def run_on_device(*args):
            with jax.default_device(self.device):
                return jitted(*args)

        return run_on_device

    @property
    def _platform(self):
        return jax.default_backend() if self.device is None else self.device.platform
