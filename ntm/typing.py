"""Names for the types of arguments and results.

Shapes stand in docstrings: B batch, T time steps, N memory slots, M slot width, R read heads, W write heads, H units.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from lasagne.init import Initializer
from lasagne.layers import Layer

#: A symbolic tensor
Tensor: TypeAlias = TensorVariable
#: What PyTensor takes for a tensor: a symbolic tensor, an array or a number
TensorLike: TypeAlias = TensorVariable | npt.ArrayLike
#: A number, or an expression of one
Scalar: TypeAlias = float | np.ndarray | TensorVariable | TensorSharedVariable
#: An array of NumPy
Array: TypeAlias = np.ndarray
#: What NumPy takes for an array
ArrayLike: TypeAlias = npt.ArrayLike
#: What a parameter starts from: an initializer, an array or a number, a variable, or a function from shape to array
ParameterSpec: TypeAlias = (
    Initializer | np.ndarray | float | SharedVariable | TensorVariable | Callable[..., Any]
)
#: An elementwise function of tensors; None where a layer has no nonlinearity
Nonlinearity: TypeAlias = Callable[[Any], Any]
#: The layer below, or its output shape
Incoming: TypeAlias = Layer | tuple[int | None, ...]
#: Number of slots and their width
MemoryShape: TypeAlias = tuple[int, int]
#: One layer or several
Layers: TypeAlias = Layer | Sequence[Layer]
#: A file or folder
PathLike: TypeAlias = str | Path
