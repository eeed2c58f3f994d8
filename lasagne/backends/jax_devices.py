"""Several devices of JAX as one row."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lasagne.devices import AXIS, get_devices

__all__ = ["AXIS", "jit_everywhere", "make_mesh"]


def make_mesh(count: int) -> Mesh:
    """Return the first devices of the kind of JAX's default device as a mesh of one axis."""
    return Mesh(np.array(get_devices(count)), (AXIS,))


def jit_everywhere(
    fn: Callable[..., Any], mesh: Mesh, options: dict[str, str]
) -> tuple[Any, NamedSharding]:
    """Return a function that every device of a mesh runs whole, and how its arguments and results are placed.

    Every device has all arguments and all results; what the devices divide is up to the function.

    Parameters
    ----------
    fn : callable
    mesh : jax.sharding.Mesh
    options : dict
        For XLA.
    """
    whole = PartitionSpec()
    everywhere = NamedSharding(mesh, whole)
    jitted = jax.jit(
        jax.shard_map(fn, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False),
        in_shardings=everywhere,
        out_shardings=everywhere,
        compiler_options=options,
    )
    return jitted, everywhere
