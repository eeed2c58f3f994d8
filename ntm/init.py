"""Initial values of the memory networks, and their rows: one for all sequences, or one for each."""

from typing import cast

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from lasagne.checks import check_rows
from lasagne.init import Initializer
from lasagne.utils import floatX
from ntm.typing import Array, ParameterSpec, Tensor, TensorLike

__all__ = ["OneHot"]


class OneHot(Initializer):
    """An initializer whose row i is one in column i and zero elsewhere. Rows beyond the last column are zero.

    For weights of shape ``(1, N)``, this is full attention to the first slot.
    """

    def sample(self, shape: tuple[int, ...]) -> Array:
        """Return the array.

        Parameters
        ----------
        shape : tuple (rows, columns)

        Raises
        ------
        ValueError
            If `shape` does not have two axes.
        """
        if len(shape) != 2:
            raise ValueError(f"OneHot needs a shape (rows, columns), not {shape}")
        return floatX(np.eye(*shape))


def count_rows(spec: ParameterSpec) -> int:
    """Return the number of rows of an initial value: one, or one for each sequence if an expression has more.

    Parameters
    ----------
    spec : initializer, array, shared variable, expression or callable (1, units), or expression (B, units)
    """
    if not isinstance(spec, TensorVariable | TensorSharedVariable) or not spec.type.ndim:
        return 1
    return spec.type.shape[0] or 1


def fit_rows(value: Tensor, batch_size: TensorLike, num_units: int, label: str) -> Tensor:
    """Return an initial value with a row for each sequence of the batch, (B, units).

    Parameters
    ----------
    value : tensor (1, units) or (B, units)
    batch_size : int or scalar expression
    num_units : int
    label : str
        The layer and the name of the value, for messages. The compiled function raises a `ValueError` that begins with
        the label if there is another number of rows.
    """
    value = pt.specify_shape(value, (None, num_units))
    if value.type.shape[0] == 1:
        return cast(Tensor, pt.alloc(value[0], batch_size, num_units))
    value = check_rows(value, batch_size, label)
    # The one row, or the row of each sequence
    return value[pt.switch(pt.eq(value.shape[0], 1), 0, pt.arange(batch_size))]
