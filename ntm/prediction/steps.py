"""Which layers of a network have a time axis, and whether a sequence may be padded at its end.

A network may be padded if the output at a step depends on steps of the sequence alone. Memory layers and recurrent
layers get a mask, so that the end of a sequence is the end for them. Layers that take each step by itself need none. A
layer that mixes steps in another way, such as a :class:`lasagne.layers.ReshapeLayer`, needs the sequence as it is.
"""

from typing import Any, NamedTuple

from lasagne.layers import (
    BatchNormLayer,
    BiasLayer,
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    ElemwiseMergeLayer,
    ElemwiseSumLayer,
    EmbeddingLayer,
    GaussianNoiseLayer,
    InputLayer,
    Layer,
    MergeLayer,
    NonlinearityLayer,
    ParametricRectifierLayer,
    RandomizedRectifierLayer,
    ScaleLayer,
    SliceLayer,
    StandardizationLayer,
    get_all_layers,
)
from lasagne.layers._states import StatefulLayer
from ntm.layers.stepping import has_mask

#: Layers that take each step by itself, and for each what must hold besides
STEPWISE: dict[Any, Any] = {
    BatchNormLayer: lambda layer: True,
    BiasLayer: lambda layer: True,
    ConcatLayer: lambda layer: layer.cropping is None and _axis(layer, layer.axis) > 1,
    DenseLayer: lambda layer: _axis(layer, layer.num_leading_axes) > 1,
    DropoutLayer: lambda layer: True,
    ElemwiseMergeLayer: lambda layer: layer.cropping is None,
    ElemwiseSumLayer: lambda layer: layer.cropping is None,
    EmbeddingLayer: lambda layer: True,
    GaussianNoiseLayer: lambda layer: True,
    NonlinearityLayer: lambda layer: True,
    ParametricRectifierLayer: lambda layer: True,
    RandomizedRectifierLayer: lambda layer: True,
    ScaleLayer: lambda layer: True,
    SliceLayer: lambda layer: _axis(layer, layer.axis) > 1,
    StandardizationLayer: lambda layer: 1 not in layer.axes,
}


class TimeAxis(NamedTuple):
    """Where a network has a time axis.

    Attributes
    ----------
    inputs : dict from InputLayer to bool
        Whether an input has a value for each step, (B, T, ...), or for each sequence, (B, ...).
    masks : list of InputLayer
        The inputs that are the mask of a layer, (B, T).
    in_output : bool
        Whether the output has a value for each step. Where a layer mixes steps, whether it may have.
    mixing : Layer or None
        The first layer that mixes steps, because of which a sequence may not be padded.
    """

    inputs: dict[InputLayer, bool]
    masks: list[InputLayer]
    in_output: bool
    mixing: Layer | None


def find_time_axis(l_out: Layer) -> TimeAxis:
    """Follow the time axis through a network."""
    layers = get_all_layers(l_out)
    masks = {layer.input_layers[_mask_index(layer)] for layer in layers if _takes_mask(layer)}
    sequences = {layer.input_layers[0] for layer in layers if isinstance(layer, StatefulLayer)}
    sequences |= {layer.input_layer for layer in layers if isinstance(layer, EmbeddingLayer)}
    has_time: dict[Layer, bool] = {}
    mixing = None
    for layer in layers:
        if isinstance(layer, InputLayer):
            ndim = len(layer.output_shape)
            has_time[layer] = ndim > 2 or (ndim == 2 and layer in masks | sequences)
            continue
        below = [has_time.get(each, False) for each in _layers_below(layer)]
        if isinstance(layer, StatefulLayer):
            has_time[layer] = not layer.only_return_final
            expected = [k == 0 or (k == 1 and has_mask(layer)) for k in range(len(below))]
            is_mixing = below != expected or (
                has_mask(layer) and not isinstance(layer.input_layers[1], InputLayer)
            )
        else:
            has_time[layer] = any(below)
            is_mixing = any(below) and not (all(below) and _is_stepwise(layer))
        if is_mixing and mixing is None:
            mixing = layer
    inputs = {each: has_time[each] for each in layers if isinstance(each, InputLayer)}
    in_output = has_time[l_out] if mixing is None else len(l_out.output_shape) > 2
    return TimeAxis(inputs, [each for each in inputs if each in masks], in_output, mixing)


def _is_stepwise(layer: Layer) -> bool:
    """Return whether the output of a layer at a step depends on the input at this step alone."""
    for kind, condition in STEPWISE.items():
        # A subclass may compute something else
        if isinstance(layer, kind) and type(layer).get_output_for is kind.get_output_for:
            return bool(condition(layer))
    return False


def _axis(layer: Any, axis: int) -> int:
    """Return the number of an axis of a layer's input, or of its leading axes, that may count from the end."""
    shape = layer.input_shapes[0] if isinstance(layer, MergeLayer) else layer.input_shape
    return axis if axis >= 0 else axis + len(shape)


def _layers_below(layer: Any) -> list[Any]:
    return layer.input_layers if isinstance(layer, MergeLayer) else [layer.input_layer]


def _takes_mask(layer: Layer) -> bool:
    return (
        isinstance(layer, StatefulLayer)
        and has_mask(layer)
        and isinstance(layer.input_layers[_mask_index(layer)], InputLayer)
    )


def _mask_index(layer: Any) -> int:
    """Return which of a layer's inputs is its mask."""
    return getattr(layer, "mask_incoming_index", 1)
