"""Names for the types of arguments and results."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

if TYPE_CHECKING:
    from lasagne.init import Initializer
    from lasagne.layers.base import Layer

__all__ = [
    "Array",
    "ArrayLike",
    "Incoming",
    "Inputs",
    "Layers",
    "LossOrGradients",
    "Nonlinearity",
    "Parameter",
    "ParameterSpec",
    "Scalar",
    "Shape",
    "SharedAxes",
    "StateSpec",
    "Tensor",
    "TensorLike",
    "Updates",
]

# `Union` where a class comes as its name: the modules of these classes import this one

#: A symbolic tensor
Tensor: TypeAlias = TensorVariable
#: What PyTensor takes for a tensor: a symbolic tensor, an array or a number
TensorLike: TypeAlias = TensorVariable | SharedVariable | npt.ArrayLike
#: An array of NumPy
Array: TypeAlias = np.ndarray
#: What NumPy takes for an array
ArrayLike: TypeAlias = npt.ArrayLike
#: A number that a user chooses, or a symbolic scalar that may change from call to call
Scalar: TypeAlias = float | np.ndarray | TensorVariable | TensorSharedVariable
#: The shape of a tensor; ``None`` for a size that is not known
Shape: TypeAlias = tuple[int | None, ...]
#: A parameter of a layer: a shared variable, or an expression that a user gave instead
Parameter: TypeAlias = TensorSharedVariable | TensorVariable
#: What a parameter starts from: an initializer, an array or a number, a variable, or a function from shape to array
ParameterSpec: TypeAlias = Union[
    "Initializer", np.ndarray, float, SharedVariable, TensorVariable, Callable[..., Any]
]
#: What a state starts from: as a parameter, or the output of a layer
StateSpec: TypeAlias = Union[ParameterSpec, "Layer"]
#: An elementwise function of tensors
Nonlinearity: TypeAlias = Callable[[Any], Any]
#: The layer below, or its output shape
Incoming: TypeAlias = Union["Layer", Shape]
#: One layer or several
Layers: TypeAlias = Union["Layer", Sequence["Layer"]]
#: Axes along which parameters are shared: ``"auto"``, one axis or several
SharedAxes: TypeAlias = str | int | Sequence[int]
#: A loss to differentiate, or the gradients themselves
LossOrGradients: TypeAlias = Variable | Sequence[Variable]
#: Values for the input layers: for all of them, or by layer
Inputs: TypeAlias = Union[TensorLike, Mapping["Layer", Any], None]  # noqa: UP007
#: The new value of each shared variable
Updates: TypeAlias = Mapping[Any, Any]
