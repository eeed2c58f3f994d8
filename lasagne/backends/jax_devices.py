"""Several devices of JAX as one row."""

import numpy as np
from jax.sharding import Mesh

from lasagne.devices import AXIS, get_devices

__all__ = ["AXIS", "make_mesh"]


def make_mesh(count: int) -> Mesh:
    """Return the first devices of the kind of JAX's default device as a mesh of one axis."""
    return Mesh(np.array(get_devices(count)), (AXIS,))
