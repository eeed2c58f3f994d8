"""The memory of a Neural Turing Machine."""

from lasagne.init import Constant
from lasagne.layers import InputLayer


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
        check_memory_shape(memory_shape, kwargs.get("name"), type(self).__name__)
        super().__init__(tuple(memory_shape), **kwargs)
        self.memory_shape = tuple(memory_shape)
        self.memory_init = self.add_param(
            memory_init,
            self.memory_shape,
            name="memory_init",
            trainable=learn_init,
            regularizable=False,
        )


def check_memory_shape(memory_shape, name, kind):
    """Raise a `ValueError` that names the layer unless `memory_shape` is two positive integers."""
    try:
        slots, width = (int(length) for length in memory_shape)
        valid = (slots, width) == tuple(memory_shape) and slots > 0 and width > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            f"{describe(kind, name)}: memory_shape must be two positive integers "
            f"(slots, slot width), not {memory_shape!r}"
        )


def describe(kind, name):
    """How error messages name a layer: its class and, where it has one, its name."""
    return kind if name is None else f"{kind} {name!r}"
