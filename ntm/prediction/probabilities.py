"""From the outputs of a network to probabilities.

Notation: O output features.
"""

from typing import Any

import pytensor.tensor as pt

from lasagne.layers import (
    DimshuffleLayer,
    FlattenLayer,
    Layer,
    PadLayer,
    ReshapeLayer,
    SliceLayer,
)
from lasagne.nonlinearities import sigmoid, softmax
from ntm.typing import Tensor

__all__ = ["PROBABILITIES", "find_last_layer", "predictions", "split_digits"]

#: Nonlinearities that give probabilities of logits
PROBABILITIES = (sigmoid, softmax, pt.sigmoid, pt.special.softmax)

#: Layers that change no value
REARRANGING = (ReshapeLayer, FlattenLayer, DimshuffleLayer, SliceLayer, PadLayer)


def predictions(kind: str | None, outputs: Tensor) -> Tensor:
    """Return probabilities of ones, classes or digits, or the numbers, from a network's outputs (..., O)."""
    if kind == "bits":
        return pt.sigmoid(outputs)
    if kind == "classes":
        return pt.special.softmax(outputs, axis=-1)
    if kind == "digits":
        return pt.special.softmax(split_digits(outputs), axis=-1).reshape(outputs.shape)
    return outputs


def split_digits(outputs: Tensor) -> Tensor:
    """Return the ten outputs of each digit: (B, T, O / 10, 10) of (B, T, O)."""
    return outputs.reshape((outputs.shape[0], outputs.shape[1], -1, 10))


def find_last_layer(l_out: Layer) -> Any:
    """Return the last layer of a network that does more than rearrange values."""
    layer: Any = l_out
    while isinstance(layer, REARRANGING) and not hasattr(layer, "nonlinearity"):
        layer = layer.input_layer
    return layer
