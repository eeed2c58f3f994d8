"""Initial values of the memory networks."""

import numpy as np

from lasagne.init import Initializer
from lasagne.utils import floatX


class OneHot(Initializer):
    """Rows with a single one: row i has it in column i.

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
            If `shape` has not two axes, or more rows than columns.
        """
        if len(shape) != 2 or shape[0] > shape[1]:
            raise ValueError(f"OneHot needs a shape (rows, columns), rows <= columns, not {shape}")
        return floatX(np.eye(*shape))
