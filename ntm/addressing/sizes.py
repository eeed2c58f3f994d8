"""Sizes of tensors that must be known when a graph is built."""

from ntm.typing import Tensor


def get_known_size(tensor: Tensor, axis: int, name: str) -> int:
    """Return the size of an axis of a tensor, which a loop in Python over that axis needs.

    Raises
    ------
    ValueError
        If the size is only known when a compiled function is called. The message begins with `name`.
    """
    size = tensor.type.shape[axis]
    if size is None:
        raise ValueError(
            f"{name} (axis {axis % tensor.type.ndim}) must be static, but the tensor is of type {tensor.type}"
        )
    return size
