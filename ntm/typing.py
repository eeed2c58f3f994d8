"""Names for the types of arguments and results: those of `lasagne.typing`, and what memories add.

Shapes stand in docstrings: B batch, T time steps, N memory slots, M slot width, R read heads, W write heads, H units.
"""

from pathlib import Path
from typing import TypeAlias

from lasagne.typing import (
    Array,
    ArrayLike,
    Incoming,
    Layers,
    Nonlinearity,
    ParameterSpec,
    Scalar,
    Tensor,
    TensorLike,
)

__all__ = [
    "Array",
    "ArrayLike",
    "Incoming",
    "Layers",
    "MemoryShape",
    "Nonlinearity",
    "ParameterSpec",
    "PathLike",
    "Scalar",
    "Tensor",
    "TensorLike",
]

#: Number of slots and their width
MemoryShape: TypeAlias = tuple[int, int]
#: A file or folder
PathLike: TypeAlias = str | Path
