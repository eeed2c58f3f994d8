"""The memory of a Neural Turing Machine."""

import difflib
import inspect
import math
import numbers

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from lasagne.checks import check_rows
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
        check_options(type(self), kwargs)
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

    def get_initial_value(self, batch_size):
        """The memory before the first step, (B, N, M)."""
        memory = pt.specify_shape(self.memory_init, self.memory_shape)
        return pt.alloc(memory, batch_size, *self.memory_shape)


def check_memory_shape(memory_shape, name, kind):
    """Raise a `ValueError` that names the layer unless `memory_shape` is two positive integers."""
    try:
        slots, width = memory_shape
        valid = all(is_integer(length) and length > 0 for length in (slots, width))
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            f"{describe(kind, name)}: memory_shape must be two positive integers "
            f"(slots, slot width), not {memory_shape!r}"
        )


def count_rows(spec):
    """The rows of an initial value (1, units): one, unless it is an expression that has a row for each sequence."""
    is_expression = isinstance(spec, Variable) and len(spec.type.shape)
    return (spec.type.shape[0] if is_expression else None) or 1


def fit_rows(value, batch_size, num_units, label):
    """An initial value (1, units) or (B, units) with a row for each sequence of the batch, (B, units).

    The compiled function raises a `ValueError`, which begins with the label, if there is another number of rows.
    """
    value = pt.specify_shape(value, (None, num_units))
    if value.type.shape[0] == 1:
        return pt.alloc(value[0], batch_size, num_units)
    value = check_rows(value, batch_size, label)
    return value[pt.switch(pt.eq(value.shape[0], 1), 0, pt.arange(batch_size))]


def count_features(input_shape):
    """How many numbers a time step of an input (batch, time, ...) or (batch, features) has; ``None`` if unknown."""
    sizes = input_shape[min(2, len(input_shape) - 1) :]
    return None if len(input_shape) < 2 or None in sizes else math.prod(sizes)


def is_integer(value):
    """Whether a value is an integer, of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)


def is_number(value):
    """Whether a value is a number, of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_options(layer_type, options):
    """Raise a `TypeError` that names the layer if there is an option besides those it lists and `name`."""
    unknown = [option for option in options if option != "name"]
    if not unknown:
        return
    known = [name for name in inspect.signature(layer_type).parameters if name != "kwargs"]
    close = difflib.get_close_matches(unknown[0], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(known)}, name"
    label = describe(layer_type.__name__, options.get("name"))
    raise TypeError(f"{label}: unknown option {unknown[0]!r}; {hint}")


def describe(kind, name):
    """How error messages name a layer: its class and, where it has one, its name."""
    return kind if name is None else f"{kind} {name!r}"
