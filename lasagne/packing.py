"""Parameters taken together, so that an update rule keeps few and long vectors rather than many small arrays.

A network has dozens of small parameters. With an accumulator or three for each, a training step spends more time on
handing arrays over than on computing with them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable

from .typing import Tensor

__all__ = ["Pack", "pack"]

# A parameter of more numbers than this is left by itself: there a copy costs more than a handover
LARGE = 2**16


class Pack:
    """Parameters of one data type, and something of their sizes for each, as one tensor.

    Parameters
    ----------
    params : list of shared variables
    tensors : list of expressions
        For each parameter one of its shape, such as its gradient.

    Attributes
    ----------
    tensor : expression
        The tensors one after another, a vector; if there is one parameter, its tensor as it is.
    """

    def __init__(self, params: Sequence[TensorSharedVariable], tensors: Sequence[Tensor]):
        self.params = list(params)
        self._shapes = [param.get_value(borrow=True).shape for param in params]
        self.tensor: Tensor = (
            tensors[0]
            if len(self.params) == 1
            else pt.concatenate([tensor.reshape((-1,)) for tensor in tensors])
        )

    def zeros(self) -> TensorSharedVariable:
        """Return a new shared variable of the tensor's shape."""
        first = self.params[0]
        if len(self.params) == 1:
            shape, static = self._shapes[0], first.type.shape
        else:
            shape = static = (sum(map(_size, self._shapes)),)
        zeros = np.zeros(shape, dtype=first.type.dtype)
        return pytensor.shared(zeros, shape=static)  # type: ignore[return-value]

    def split(self, tensor: Tensor) -> list[Tensor]:
        """Return the part of each parameter, in its shape, from an expression like `tensor`."""
        if len(self.params) == 1:
            return [tensor]
        ends = np.cumsum([_size(shape) for shape in self._shapes]).tolist()
        return [
            tensor[end - _size(shape) : end].reshape(shape)
            for shape, end in zip(self._shapes, ends, strict=True)
        ]

    def add(self, step: Tensor) -> Mapping[TensorSharedVariable, Tensor]:
        """Return updates that add a step, an expression like `tensor`, to the parameters."""
        return {
            param: param + part for param, part in zip(self.params, self.split(step), strict=True)
        }


def pack(params: Sequence[SharedVariable], tensors: Sequence[Variable]) -> list[Pack]:
    """Put parameters into packs: small ones together, by data type, large ones each by itself.

    Parameters
    ----------
    params : list of shared variables
    tensors : list of expressions
        For each parameter one of its shape, such as its gradient.

    Returns
    -------
    list of Pack
    """
    together: dict[SharedVariable | str, list] = {}
    for param, tensor in zip(params, tensors, strict=True):
        large = _size(param.get_value(borrow=True).shape) > LARGE
        together.setdefault(param if large else param.type.dtype, []).append((param, tensor))
    return [Pack(*zip(*pairs, strict=True)) for pairs in together.values()]


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape))
