"""The memory of a memory network: its shape, and its value before the first step."""

from typing import Any, cast

import pytensor.tensor as pt

from lasagne.init import Constant
from lasagne.layers import InputLayer
from ntm.arguments import check_flag, check_memory_shape, check_options, describe
from ntm.typing import MemoryShape, ParameterSpec, Tensor, TensorLike

__all__ = ["Memory"]


class Memory(InputLayer):
    """The memory's shape and its value before the first step.

    Parameters
    ----------
    memory_shape : tuple (N, M)
        The number of slots, and their width.
    memory_init : initializer, array, shared variable, expression or callable (N, M)
        The memory before the first step, the same for every sequence of the batch.
    learn_init : bool
        Whether `memory_init` is trained.
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.
    TypeError
        If `learn_init` is neither true nor false.
    """

    def __init__(
        self,
        memory_shape: MemoryShape,
        memory_init: ParameterSpec = Constant(1e-06),
        learn_init: bool = True,
        **kwargs: Any,
    ) -> None:
        check_options(type(self), kwargs)
        check_memory_shape(memory_shape, kwargs.get("name"), type(self).__name__)
        check_flag(describe(type(self).__name__, kwargs.get("name")), "learn_init", learn_init)
        super().__init__(tuple(memory_shape), **kwargs)
        self.memory_shape: MemoryShape = (memory_shape[0], memory_shape[1])
        self.memory_init = self.add_param(
            memory_init,
            self.memory_shape,
            name="memory_init",
            trainable=learn_init,
            regularizable=False,
        )

    def get_initial_value(self, batch_size: TensorLike) -> Tensor:
        """Return the memory before the first step, the same for each sequence of the batch: (B, N, M)."""
        memory = pt.specify_shape(self.memory_init, self.memory_shape)
        return cast(Tensor, pt.alloc(memory, batch_size, *self.memory_shape))
