"""The back ends: how PyTensor compiles a graph to JAX, Numba or C."""

from .modes import BACKENDS, get_mode, use_jax

__all__ = ["BACKENDS", "get_mode", "use_jax"]
