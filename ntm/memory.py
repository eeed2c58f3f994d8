"""The memory of a Neural Turing Machine."""

import pytensor.tensor as pt

from lasagne.init import Constant
from lasagne.layers import InputLayer
from ntm.arguments import check_flag, check_memory_shape, check_options, describe


class Memory(InputLayer):
    """The memory's shape and its value before the first step.

    Parameters
    ----------
    memory_shape : tuple (N, M)
        Number of slots and their width.
    memory_init : initializer, array, shared variable, expression or callable (N, M)
        The memory before the first step, the same for every batch item.
    learn_init : bool
        Whether `memory_init` is trained.
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.
    """

    def __init__(self, memory_shape, memory_init=Constant(1e-6), learn_init=True, **kwargs):
        check_options(type(self), kwargs)
        check_memory_shape(memory_shape, kwargs.get("name"), type(self).__name__)
        check_flag(describe(type(self).__name__, kwargs.get("name")), "learn_init", learn_init)
        super().__init__(tuple(memory_shape), **kwargs)
        self.memory_shape = tuple(memory_shape)
        self.memory_init = self.add_param(
            memory_init,
            self.memory_shape,
            name="memory_init",
            trainable=learn_init,
            regularizable=False,
        )

    def get_initial_value(self, batch_size):
        """The memory before the first step, (B, N, M)."""
        memory = pt.specify_shape(self.memory_init, self.memory_shape)
        return pt.alloc(memory, batch_size, *self.memory_shape)
