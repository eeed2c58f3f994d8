"""Initial values of the memory networks, and their rows: one for all sequences, or one for each."""

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from lasagne.checks import check_rows
from lasagne.init import Initializer
from lasagne.utils import floatX


class OneHot(Initializer):
    """Rows with a single one: row i has it in column i. Rows beyond the last column are zero.

    For weights of shape ``(1, N)`` it is full attention to the first slot.
    """

    def sample(self, shape):
        """Sample the array.

        Parameters
        ----------
        shape : tuple (rows, columns)

        Raises
        ------
        ValueError
            If `shape` has not two axes.
        """
        if len(shape) != 2:
            raise ValueError(f"OneHot needs a shape (rows, columns), not {shape}")
        return floatX(np.eye(*shape))


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
