"""The structure of a network as people see it: its layers, what is inside of them, and their sizes."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lasagne.layers import Layer, get_all_layers
from lasagne.layers.base import MissingOutputShapeError
from lasagne.utils import unique
from ntm.typing import Layers

__all__ = ["Node", "get_structure"]


@dataclass(frozen=True, eq=False)
class Node:
    """A layer of a network, or a part inside of a layer.

    Attributes
    ----------
    layer : Layer
    label : str
        Tells the layer from the others beside it: its name, or what it is in a layer around it, or its class. A number
        follows where several have the same.
    role : str
        What a part is in the layer around it, such as ``"controller"`` or ``"read head"``; empty for a layer that
        stands by itself.
    shape : tuple or None
        The shape of the output; None where there is none, as of a head, or where the layer does not tell.
    params : list of shared variables
        The parameters, without those that a layer listed before has too.
    shared : dict from str to list of shared variables
        For layers listed before, by label: the parameters that this layer has in common with them.
    below : list of Node
        The layers that feed into this one, those beside it only.
    parts : list of Node
    """

    layer: Any
    label: str
    role: str
    shape: tuple[int | None, ...] | None
    params: list[Any]
    shared: dict[str, list[Any]]
    below: list["Node"]
    parts: list["Node"]

    @property
    def kind(self) -> str:
        """The class of the layer."""
        return type(self.layer).__name__

    @property
    def title(self) -> str:
        """The label, and the class unless the label is the class."""
        return self.label if self.label.startswith(self.kind) else f"{self.label} ({self.kind})"

    @property
    def is_head(self) -> bool:
        """Whether this is a head of a memory layer."""
        return self.role.endswith("head")

    @property
    def num_params(self) -> int:
        """How many numbers are in `params`."""
        return count_numbers(self.params)

    @property
    def num_trainable(self) -> int:
        """How many of these numbers are trained."""
        trainable = set(self.layer.get_params(trainable=True))
        return count_numbers([param for param in self.params if param in trainable])

    def walk(self) -> Iterator["Node"]:
        """Give this node, and all parts inside of it."""
        yield self
        for part in self.parts:
            yield from part.walk()


def get_structure(layer: Layers) -> list[Node]:
    """Return the layers of a network as nodes, in topological order.

    Parameters
    ----------
    layer : Layer or list of Layer
        The last layer, or several of them.

    Returns
    -------
    list of Node

    Raises
    ------
    TypeError
        If `layer` is neither a layer nor a list of layers.
    """
    return _make_nodes([("", each) for each in get_all_layers(layer)], around=())


def _make_nodes(layers: Sequence[tuple[str, Layer]], around: Sequence[Layer]) -> list[Node]:
    """Return the nodes of layers beside each other, with their roles, inside of the layers `around`."""
    nodes: dict[Layer, Node] = {}
    owners: dict[Any, str] = {}
    for label, (role, layer) in zip(_make_labels(layers), layers, strict=True):
        params = unique(layer.get_params())
        shared: dict[str, list[Any]] = {}
        for param in params:
            if param in owners:
                shared.setdefault(owners[param], []).append(param)
        own = [param for param in params if param not in owners]
        owners.update(dict.fromkeys(own, label))
        inside = [part for part in _get_parts(layer) if part[1] not in around]
        beside = [part for _, part in inside]
        nodes[layer] = Node(
            layer,
            label,
            role,
            None if role.endswith("head") else _get_shape(layer),
            own,
            shared,
            unique(nodes[below] for below in _get_below(layer) if below in nodes),
            _make_nodes(inside, [*around, *beside]),
        )
    return list(nodes.values())


def _make_labels(layers: Sequence[tuple[str, Layer]]) -> list[str]:
    """Return a label for each layer; those that would be the same are numbered."""
    labels = [
        layer.name or (role if role != "layer" else "") or type(layer).__name__
        for role, layer in layers
    ]
    counts, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} {seen[label]}" if counts[label] > 1 else label)
    return numbered


def _get_parts(layer: Any) -> list[tuple[str, Layer]]:
    """Return the parts of a layer; something else that has the methods of a layer may have none."""
    return layer.get_parts() if isinstance(layer, Layer) else []


def _get_below(layer: Any) -> list[Any]:
    """Return the layers that feed into a layer."""
    if hasattr(layer, "input_layers"):
        return list(layer.input_layers)
    return [getattr(layer, "input_layer", None)]


def _get_shape(layer: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a layer's output, or None if the layer does not tell."""
    try:
        return tuple(layer.output_shape)
    except MissingOutputShapeError:
        return None


def count_numbers(params: Sequence[Any]) -> int:
    """Return how many numbers are in shared variables."""
    return sum(math.prod(np.shape(param.get_value(borrow=True))) for param in params)
