"""The linker that hands PyTensor's graphs to JAX."""

import warnings

import jax
from pytensor.link.jax.linker import JAXLinker

import ntm.jax_dispatch
import ntm.jax_loop  # noqa: F401  (both register conversions)

# PyTensor's integers have 64 bits, and a graph may hold float64 whatever floatX says. JAX would cut both
# to 32 bits. What is float32 in the graph stays float32.
jax.config.update("jax_enable_x64", True)


class FlexibleJAXLinker(JAXLinker):
    """PyTensor's JAX linker, for inputs of any length, with random generators of its own.

    Each compiled function draws from copies of the graph's shared random generators, as JAX's generators
    are of another kind; they start from the state that the shared generators have when it is compiled.
    """

    required_rewrites = (*JAXLinker.required_rewrites, "pair_loops")  # type: ignore[assignment]
    incompatible_rewrites = (*JAXLinker.incompatible_rewrites, "expand_loops")  # type: ignore[assignment]

    def fgraph_convert(self, fgraph, *args, **kwargs):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"The RandomType SharedVariables")
            return super().fgraph_convert(fgraph, *args, **kwargs)
