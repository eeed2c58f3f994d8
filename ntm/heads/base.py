"""What the heads of all memory networks share."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, TypeAlias

import pytensor
import pytensor.tensor as pt

from lasagne.layers import DenseLayer, Layer
from lasagne.utils import unique
from ntm.arguments import check_memory_shape, check_nonlinearity, check_options, describe
from ntm.typing import Incoming, MemoryShape, Nonlinearity, ParameterSpec, Tensor

#: What the field calls the parameters of a head, by the names of its layers
PARAMETER_NAMES = {
    "beta": "key strength",
    "gamma": "sharpness",
    "modes": "read modes",
}
#: The layers that give a vector even where it has one element
_VECTORS = ("key", "erase", "add", "shift", "modes", "sign", "sign_add")


class MemoryHead(Layer):
    """The base class of heads: dense layers on a controller, for a memory of a certain shape.

    Parameters
    ----------
    controller : Controller
        Gives (B, H), the input of the layers.
    memory_shape : tuple (N, M)
    name : str, optional

    Raises
    ------
    ValueError
        If `memory_shape` is not two positive integers, or the controller does not give (B, H) with H known.
    TypeError
        If a nonlinearity is neither a function nor None.

    Attributes
    ----------
    layers : list of DenseLayer
    """

    def __init__(self, controller: Incoming, memory_shape: MemoryShape, **kwargs: Any) -> None:
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
        self.layers: list[DenseLayer] = []
        self._parts: dict[str, DenseLayer] = {}

    def _dense(
        self,
        part: str,
        num_units: int,
        W: ParameterSpec,
        b: ParameterSpec | None,
        nonlinearity: Nonlinearity | None,
    ) -> DenseLayer:
        """Add the layer of a part of the head, such as the key, named ``<name of the head>.<part>``."""
        check_nonlinearity(
            describe(type(self).__name__, self.name), f"nonlinearity_{part}", nonlinearity
        )
        name = part if self.name is None else f"{self.name}.{part}"
        layer = DenseLayer(
            self.controller, num_units=num_units, W=W, b=b, nonlinearity=nonlinearity, name=name
        )
        self.layers.append(layer)
        self._parts[part] = layer
        return layer

    def get_parts(self) -> list[tuple[str, Layer]]:
        """Return the dense layers, such as that of the key."""
        return [("layer", layer) for layer in self.layers]

    def get_parameters(self, h: Tensor) -> dict[str, Tensor]:
        """Return what the head tells the memory, by the field's names.

        Inside the loop the heads run together; this is for looking at a head by itself.

        Parameters
        ----------
        h : tensor (B, H)
            The controller's output.

        Returns
        -------
        dict from str to tensor (B,) or (B, size)
            For example ``key`` (B, M) and ``key strength`` (B,).
        """
        found = {}
        for part, layer in self._parts.items():
            value = layer.get_output_for(h)
            is_number = layer.num_units == 1 and part not in _VECTORS
            found[PARAMETER_NAMES.get(part, part.replace("_", " "))] = (
                value[:, 0] if is_number else value
            )
        return found

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
        """Return the head's own parameters, then those of its layers (see `lasagne.layers.Layer.get_params`)."""
        params = super().get_params(unwrap_shared=unwrap_shared, **tags)
        for layer in self.layers:
            params += layer.get_params(unwrap_shared=unwrap_shared, **tags)
        return unique(params)


def list_layers(heads: Sequence[Any], *parts: str) -> list[DenseLayer]:
    """Return the layers of these names that heads have: those of the first name, then of the second, and so on."""
    layers = [getattr(head, part) for part in parts for head in heads]
    return [layer for layer in layers if layer is not None]


#: Weights (H, units) and biases (units,) of several layers, side by side
FusedWeights: TypeAlias = tuple[Tensor, Tensor]


class FusedDense:
    """Dense layers on the same input, computed by one product.

    Parameters
    ----------
    layers : list of DenseLayer
        All with the same number of inputs, H.
    """

    def __init__(self, layers: Sequence[DenseLayer]) -> None:
        self.layers = list(layers)
        # Neighbours with the same nonlinearity and size make a block, which is activated at once
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

    def fuse(self) -> FusedWeights:
        """Return the layers' weights (H, units) and biases (units,), side by side."""
        dtype = pytensor.config.floatX
        biases = [
            pt.zeros(layer.num_units, dtype) if layer.b is None else layer.b
            for layer in self.layers
        ]
        # A parameter may be an array of another precision, which must not spread to the result
        return (
            pt.concatenate([layer.W.astype(dtype) for layer in self.layers], axis=1),
            pt.concatenate([bias.astype(dtype) for bias in biases], axis=0),
        )

    def get_activations(self, x: Tensor, fused: FusedWeights | None = None) -> list[Tensor]:
        """Compute the sums of products for an input (B, H), in the form that the other methods take.

        Parameters
        ----------
        x : tensor (B, H)
        fused : pair of tensors, optional
            From :meth:`fuse`, where it was computed outside of a loop.
        """
        W, b = fused or self.fuse()
        sums = pt.dot(x, W) + b
        return pt.split(sums, self._widths, n_splits=len(self._widths), axis=1)

    def get_outputs(self, activations: Sequence[Tensor], layers: Sequence[DenseLayer]) -> Tensor:
        """Return the outputs of K layers of the same size, (B, K, units), from all layers' activations."""
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

    def get_output(self, activations: Sequence[Tensor], layer: DenseLayer) -> Tensor:
        """Return the output of one layer, (B, units)."""
        return self.get_outputs(activations, [layer])[:, 0]
