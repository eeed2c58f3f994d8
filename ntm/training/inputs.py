"""What a network takes for a batch: its input, and a mask of the steps where layers have one.

Notation: B sequences in a batch, T steps, F input and O output features.
"""

from collections.abc import Iterator
from typing import cast

import numpy as np

from lasagne.layers import InputLayer, Layer, get_all_layers
from ntm.arguments import check_choice
from ntm.layers.base import MemoryLayer
from ntm.tasks import TASKS, Task
from ntm.typing import Array, ArrayLike, Tensor


class NetworkInputs:
    """The variables that a network takes, and the arrays that a batch has for them.

    Parameters
    ----------
    l_out : Layer
        The network's last layer, (B, T, O). The network has one input (B, T, F). An input layer that is the
        `mask_input` of layers gets a mask (B, T): :attr:`ntm.tasks.Batch.step_mask`.
    task : Task
        The network has as many input and output features as the task.
    caller : str
        The class or function that error messages begin with.

    Attributes
    ----------
    inputs : tensor (B, T, F)
    step_masks : list of tensor (B, T)
        The masks that layers take: none, one or several.
    batch_size : int or None
        The batch size that the network was made for; None if it takes batches of any size.

    Raises
    ------
    TypeError
        If `l_out` is no layer or `task` is no task.
    ValueError
        If the network has no or several inputs, or has not the features of the task.
    """

    def __init__(self, l_out: Layer, task: Task, caller: str) -> None:
        _check_types(l_out, task, caller)
        layers = get_all_layers(l_out)
        masks = [layer.input_layers[index] for layer in layers if (index := _mask_index(layer))]
        inputs = [layer for layer in layers if isinstance(layer, InputLayer)]
        variables = dict.fromkeys(layer.input_var for layer in inputs if layer in masks)
        self.step_masks: list[Tensor] = [cast(Tensor, variable) for variable in variables]
        inputs = [layer for layer in inputs if layer not in masks]
        if len(inputs) != 1:
            raise ValueError(
                f"{caller}: the network must have one input besides masks of layers, not {len(inputs)}: "
                f"{', '.join(map(repr, inputs))}"
            )
        shapes = inputs[0].output_shape, l_out.output_shape
        for kind, shape, expected in zip(
            ("takes", "gives"), shapes, (task.num_inputs, task.num_outputs), strict=True
        ):
            if len(shape) != 3 or shape[2] != expected:
                raise ValueError(
                    f"{caller}: the network {kind} {shape}, but {type(task).__name__} has "
                    f"{expected} features: expected (batch, time, {expected})"
                )
        self.inputs = cast(Tensor, inputs[0].input_var)
        self.batch_size: int | None = inputs[0].output_shape[0]

    @property
    def variables(self) -> list[Tensor]:
        """All variables that the network takes: the input, then the masks."""
        return [self.inputs, *self.step_masks]

    def cast_step_mask(self, step_mask: ArrayLike) -> list[Array]:
        """Return the values of the network's masks: a mask (B, T) in the data type of each of them."""
        return [np.asarray(step_mask, mask.dtype) for mask in self.step_masks]


def find_memory_layers(l_out: Layer) -> Iterator[MemoryLayer]:
    """Yield the memory layers of a network, those nearest to the input first."""
    return (layer for layer in get_all_layers(l_out) if isinstance(layer, MemoryLayer))


def _check_types(l_out: Layer, task: Task, caller: str) -> None:
    if not isinstance(l_out, Layer):
        raise TypeError(f"{caller}: l_out must be the last layer of a network, not {l_out!r}")
    if isinstance(task, str):
        check_choice("task", task, TASKS)
        raise TypeError(
            f"{caller}: task must be a task, not its name {task!r}: expected ntm.tasks.{TASKS[task].__name__}()"
        )
    if not isinstance(task, Task):
        raise TypeError(
            f"{caller}: task must be a task, such as ntm.tasks.CopyTask(), not {task!r}"
        )


def _mask_index(layer: Layer) -> int | None:
    """Return which of a layer's inputs is its mask, None if it has no mask; a mask is never the first."""
    if isinstance(layer, MemoryLayer):
        return 1 if layer.has_mask else None
    index = getattr(layer, "mask_incoming_index", -1)
    return index if index > 0 else None
