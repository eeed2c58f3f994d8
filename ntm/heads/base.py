"""What the heads of all memory networks share."""

from itertools import groupby, pairwise

import pytensor
import pytensor.tensor as pt

from lasagne.layers import DenseLayer, Layer
from lasagne.utils import unique
from ntm.arguments import check_memory_shape, check_nonlinearity, check_options, describe


class MemoryHead(Layer):
    """What the heads of all memory networks share: dense layers on the controller, for a memory of a certain shape.

    Parameters
    ----------
    controller : Controller
        What the layers stand on.
    memory_shape : tuple (N, M)
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers.

    Attributes
    ----------
    layers : list of DenseLayer
    """

    def __init__(self, controller, memory_shape, **kwargs):
        check_options(type(self), kwargs)
        super().__init__(controller, **kwargs)
        check_memory_shape(memory_shape, self.name, type(self).__name__)
        if len(self.input_shape) != 2 or self.input_shape[1] is None:
            raise ValueError(
                f"{describe(type(self).__name__, self.name)}: the controller must give (batch, units), with the number "
                f"of units known, not {self.input_shape}"
            )
        self.controller = controller
        self.memory_shape = (int(memory_shape[0]), int(memory_shape[1]))
        self.layers = []

    def _dense(self, part, num_units, W, b, nonlinearity):
        check_nonlinearity(
            describe(type(self).__name__, self.name), f"nonlinearity_{part}", nonlinearity
        )
        name = part if self.name is None else f"{self.name}.{part}"
        layer = DenseLayer(
            self.controller, num_units=num_units, W=W, b=b, nonlinearity=nonlinearity, name=name
        )
        self.layers.append(layer)
        return layer

    def get_params(self, unwrap_shared=True, **tags):
        """The head's own parameters, then those of its layers (see `lasagne.layers.Layer.get_params`)."""
        params = super().get_params(unwrap_shared=unwrap_shared, **tags)
        for layer in self.layers:
            params += layer.get_params(unwrap_shared=unwrap_shared, **tags)
        return unique(params)


def list_layers(heads, *parts):
    """The layers of these names that heads have, those of one name side by side."""
    layers = [getattr(head, part) for part in parts for head in heads]
    return [layer for layer in layers if layer is not None]


class FusedDense:
    """Dense layers over the same input, computed by one product.

    Parameters
    ----------
    layers : list of DenseLayer
        Of the same number of inputs H.
    """

    def __init__(self, layers):
        self.layers = list(layers)
        # Layers that stand side by side and are alike are activated together: they make a block
        blocks = [
            list(block)
            for _, block in groupby(
                self.layers, lambda layer: (layer.nonlinearity, layer.num_units)
            )
        ]
        self._widths = [sum(layer.num_units for layer in block) for block in blocks]
        self._places = {
            layer: (number, place)
            for number, block in enumerate(blocks)
            for place, layer in enumerate(block)
        }

    def fuse(self):
        """The layers' weights (H, units) and biases (units,), side by side."""
        dtype = pytensor.config.floatX
        biases = [
            pt.zeros(layer.num_units, dtype) if layer.b is None else layer.b
            for layer in self.layers
        ]
        # An array of another precision that was given as a parameter must not spread it
        return (
            pt.concatenate([layer.W.astype(dtype) for layer in self.layers], axis=1),
            pt.concatenate([bias.astype(dtype) for bias in biases], axis=0),
        )

    def get_activations(self, x, fused=None):
        """Sums of products for an input (B, H), as the other methods take them.

        Parameters
        ----------
        x : tensor (B, H)
        fused : pair of tensors, optional
            What :meth:`fuse` gave, where it was computed outside of a loop.
        """
        W, b = fused or self.fuse()
        sums = pt.dot(x, W) + b
        return pt.split(sums, self._widths, n_splits=len(self._widths), axis=1)

    def get_outputs(self, activations, layers):
        """What layers of one width give, (B, K, units), from all layers' activations."""
        width = layers[0].num_units
        numbers, places = zip(*(self._places[layer] for layer in layers), strict=True)
        together = len(set(numbers)) == 1 and all(b - a == 1 for a, b in pairwise(places))
        if not together:
            return pt.stack([self.get_output(activations, layer) for layer in layers], axis=1)
        block = activations[numbers[0]]
        if len(layers) * width < self._widths[numbers[0]]:
            block = block[:, places[0] * width : (places[-1] + 1) * width]
        block = layers[0].nonlinearity(block.reshape((-1, width)))
        return block.reshape((-1, len(layers), width))

    def get_output(self, activations, layer):
        """What one layer gives, (B, units)."""
        return self.get_outputs(activations, [layer])[:, 0]
