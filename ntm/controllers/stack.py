"""Lasagne layers as a controller.

Notation: B batch, F input features, R read heads, M slot width, H controller units.
"""

from collections.abc import Callable
from typing import Any

import pytensor.tensor as pt

from lasagne.init import GlorotUniform
from lasagne.layers import InputLayer, Layer, MergeLayer, get_all_layers
from lasagne.utils import inspect_kwargs, unique
from ntm.arguments import check_memory_shape, count_features, describe, is_integer
from ntm.controllers.base import Controller
from ntm.typing import Incoming, MemoryShape, ParameterSpec, Tensor, TensorLike


class StackController(Controller):
    """Any Lasagne layers as a controller.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F).
    build : callable or Layer
        From an input layer of shape (B, F + R * M), the input and the read vectors side by side, to the top layer of
        the stack, of shape (B, H). Controllers without read vectors may stand in it, so that it has a state:
        ``lambda l: LSTMController(LSTMController(l, num_units=100), num_units=100)``. Or that top layer itself, on an
        input layer of that shape.
    memory_shape : tuple (N, M)
    num_reads : int
    hid_init : initializer, array, ... (1, H)
        The output before the first step; unused where the top layer is a controller, which has its own.
    learn_init : bool
    name : str, optional

    Raises
    ------
    ValueError
        If `build` is or gives no layer of shape (B, H) on one input layer of shape (B, F + R * M).
    """

    def __init__(
        self,
        incoming: Incoming,
        build: Callable[[Layer], Layer] | Layer,
        memory_shape: MemoryShape,
        num_reads: int,
        hid_init: ParameterSpec = GlorotUniform(),
        learn_init: bool = False,
        **kwargs: Any,
    ) -> None:
        name = kwargs.get("name")
        # The stack is built before `Controller.__init__` can check the rest: it tells the number of units
        label = describe(type(self).__name__, name)
        check_memory_shape(memory_shape, name, type(self).__name__)
        if not is_integer(num_reads) or num_reads < 0:
            raise ValueError(f"{label}: num_reads must be zero or more, not {num_reads!r}")
        input_shape = incoming.output_shape if isinstance(incoming, Layer) else incoming
        num_inputs = count_features(input_shape)
        if len(input_shape) < 3 or num_inputs is None:
            raise ValueError(
                f"{label}: the input must be of shape (batch, time, features), with the number of "
                f"features known, not {input_shape}"
            )
        width = num_inputs + num_reads * memory_shape[1]
        if isinstance(build, Layer):
            self.top = build
            self.stack_input = next(
                (layer for layer in get_all_layers(build) if isinstance(layer, InputLayer)), None
            )
            given = getattr(self.stack_input, "shape", None)
            if given is None or len(given) != 2 or given[1] != width:
                raise ValueError(
                    f"{label}: the stack must stand on an input layer of shape (batch, {width}), "
                    f"not {given}"
                )
        else:
            self.stack_input = InputLayer((input_shape[0], width))
            self.top = self._build(build, self.stack_input, label)
        if not isinstance(self.top, Layer):
            raise ValueError(f"{label}: build must return a layer, not {self.top!r}")
        self.layers = [layer for layer in get_all_layers(self.top) if layer is not self.stack_input]
        strangers = [layer for layer in self.layers if isinstance(layer, InputLayer)]
        if strangers:
            raise ValueError(
                f"{label}: the stack must stand on the one input layer that build is given, but "
                f"there is also {strangers[0]!r} of shape {strangers[0].shape}"
            )
        output_shape = self.top.output_shape
        if len(output_shape) != 2 or output_shape[1] is None:
            raise ValueError(
                f"{label}: the top layer must be of shape (batch, units), not {output_shape}"
            )
        self.cells = [layer for layer in self.layers if isinstance(layer, Controller)]
        for cell in self.cells:
            if cell.num_reads:
                raise ValueError(
                    f"{label}: {describe(type(cell).__name__, cell.name)} asks for "
                    f"{cell.num_reads} read vectors; in a stack they are part of the input, so "
                    f"leave num_reads and memory_shape out"
                )
        if self.top in self.cells:
            hid_init = self.top.hid_init
            # The state of the top layer comes first, as its output is the controller's
            self.cells.insert(0, self.cells.pop(self.cells.index(self.top)))
        super().__init__(
            incoming, memory_shape, output_shape[1], num_reads, hid_init, learn_init, **kwargs
        )

    @staticmethod
    def _build(build: Callable[[Layer], Layer], stack_input: InputLayer, label: str) -> Layer:
        """Build the stack; an error about the shape of its input tells what that shape stands for."""
        try:
            return build(stack_input)
        except ValueError as error:
            if str(stack_input.output_shape) not in str(error):
                raise
            raise ValueError(
                f"{label}: the layers of a controller take one time step at a time, of shape (batch, features and "
                f"read vectors) = {stack_input.output_shape}. A layer that takes whole sequences, such as LSTMLayer, "
                f"cannot be one of them; LSTMController and its like can. The layer says: {error}"
            ) from error

    def get_arguments(self) -> dict[str, Any]:
        """Return what the controller is made from, with the top layer in place of the function that built it."""
        return super().get_arguments() | {"build": self.top}

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
        """Return the initial state, then the parameters of the stack's layers from input to top."""
        params = super().get_params(unwrap_shared=unwrap_shared, **tags)
        if self.top in self.cells:
            params = []
        for layer in self.layers:
            params += layer.get_params(unwrap_shared=unwrap_shared, **tags)
        return unique(params)

    def get_parts(self) -> list[tuple[str, Layer]]:
        """Return the layers of the stack, from input to top."""
        return [("layer", layer) for layer in self.layers]

    @property
    def cell_index(self) -> int:
        """Which state a memory layer shows as `state`: that of the top layer if it has states, or else the output."""
        return self.top.cell_index if isinstance(self.top, Controller) else 0

    def get_stack_kwargs(self) -> list[str]:
        """List the keywords that the layers of the stack take in `get_output`."""
        return [
            name
            for layer in self.layers
            for name in (*layer.get_output_kwargs, *inspect_kwargs(layer.get_output_for))
        ]

    def outputs_info(self, batch_size: TensorLike) -> list[Tensor]:
        states = [] if self.top in self.cells else super().outputs_info(batch_size)
        for cell in self.cells:
            states += cell.outputs_info(batch_size)
        return states

    def step(
        self,
        input: Tensor,
        reads: Tensor | None,
        *states: Tensor,
        **kwargs: Any,
    ) -> list[Tensor]:
        """Compute one step of all layers of the stack; the parameters are those of :meth:`Controller.step`."""
        remaining = list(states if self.top in self.cells else states[1:])
        previous = {}
        for cell in self.cells:
            count = len(cell.outputs_info(1))
            previous[cell], remaining = remaining[:count], remaining[count:]
        x = input if reads is None else pt.concatenate([input, reads], axis=1)
        outputs: dict[Layer | None, Any] = {self.stack_input: x}
        after: dict[Layer, list[Tensor]] = {}
        below: Any  # a tensor, or several for a layer that merges
        for layer in self.layers:
            if isinstance(layer, MergeLayer):
                below = [outputs[incoming] for incoming in layer.input_layers]
            else:
                below = outputs[layer.input_layer]
            if isinstance(layer, Controller):
                # Its read vectors are part of the stack's input
                after[layer] = layer.step(below, None, *previous[layer], **kwargs)
                outputs[layer] = after[layer][0]
            else:
                outputs[layer] = layer.get_output_for(below, **kwargs)
        # The first state is the output, which is a state of the top layer if that has any
        own = [] if self.top in self.cells else [outputs[self.top]]
        return [*own, *(state for cell in self.cells for state in after[cell])]
