"""Initial values of the memory networks."""

import numpy as np

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
