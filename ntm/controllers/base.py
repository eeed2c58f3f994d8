"""What all controllers share.

Notation: B batch, F input features, R read heads, M slot width, H controller units.
"""

from collections.abc import Sequence
from typing import Any

from lasagne.init import GlorotUniform
from lasagne.layers import Layer
from lasagne.layers.base import known_shape
from ntm.arguments import (
    check_flag,
    check_memory_shape,
    check_options,
    count_features,
    describe,
    is_integer,
)
from ntm.init import count_rows, fit_rows
from ntm.typing import Incoming, MemoryShape, ParameterSpec, Tensor, TensorLike


class Controller(Layer):
    """The base class of controllers. A controller of your own overrides `step` and perhaps `outputs_info`.

    Its state is a list of tensors (B, units); the first is its output h. A controller may also stand, without read
    vectors, in the stack of a :class:`StackController`.

    Parameters
    ----------
    incoming : Layer or tuple
        Gives (B, T, F), or (B, F) inside a stack. In an input (B, T, ...) of more axes, the last ones make up the
        features.
    memory_shape : tuple (N, M), optional
        May be left out where `num_reads` is 0.
    num_units : int
        H, the size of the output.
    num_reads : int
        R, the number of read vectors that the controller sees at each step.
    hid_init : initializer, array, shared variable, expression or callable (1, H)
        The output before the first step. A shared variable or an expression may have a row for each sequence of the
        batch, (B, H).
    learn_init : bool
        Whether initial states are trained.
    name : str, optional

    Raises
    ------
    ValueError
        If a size is not a positive integer, the input has no known number of features or an initial value has
        another shape.
    """

    def __init__(
        self,
        incoming: Incoming,
        memory_shape: MemoryShape | None = None,
        num_units: int | None = None,
        num_reads: int = 0,
        hid_init: ParameterSpec = GlorotUniform(),
        learn_init: bool = False,
        **kwargs: Any,
    ) -> None:
        check_options(type(self), kwargs)
        super().__init__(incoming, **kwargs)
        label = describe(type(self).__name__, self.name)
        if memory_shape is not None:
            check_memory_shape(memory_shape, self.name, type(self).__name__)
        if num_units is None or not is_integer(num_units) or num_units < 1:
            raise ValueError(f"{label}: num_units must be a positive integer, not {num_units!r}")
        if not is_integer(num_reads) or num_reads < 0:
            raise ValueError(f"{label}: num_reads must be zero or more, not {num_reads!r}")
        if num_reads:
            check_memory_shape(memory_shape, self.name, type(self).__name__)
        num_inputs = count_features(self.input_shape)
        if num_inputs is None:
            raise ValueError(
                f"{label}: the input must be of shape (batch, time, features), with the number of "
                f"features known, not {self.input_shape}"
            )
        check_flag(label, "learn_init", learn_init)
        self.num_inputs = num_inputs
        self.memory_shape = memory_shape
        self.num_units = num_units
        self.num_reads = num_reads
        self.learn_init = learn_init
        self.hid_init = self._add_initial_state(hid_init, "hid_init")

    def _add_initial_state(self, spec: ParameterSpec, name: str) -> Tensor:
        """Add a parameter for a part of the initial state, (1, H), or (B, H) where `spec` has so many rows."""
        return self.add_param(
            spec,
            (count_rows(spec), self.num_units),
            name=name,
            trainable=self.learn_init,
            regularizable=False,
        )

    def get_output_shape_for(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return the shape of the output of a step, (B, H)."""
        return (known_shape(input_shape)[0], self.num_units)

    @property
    def cell_index(self) -> int:
        """Which state a memory layer shows as `state`: the second, an LSTM's cell, or else the only one."""
        return min(1, len(self.outputs_info(1)) - 1)

    def outputs_info(self, batch_size: TensorLike) -> list[Tensor]:
        """Return the state before the first step: a list of tensors (B, units), the output first."""
        return [self._fit_initial_state("hid_init", batch_size)]

    def _fit_initial_state(self, name: str, batch_size: TensorLike) -> Tensor:
        """Return a part of the initial state with a row for each sequence of the batch, (B, H)."""
        label = f"{describe(type(self).__name__, self.name)}: {name}"
        return fit_rows(getattr(self, name), batch_size, self.num_units, label)

    def step(
        self,
        input: Tensor,
        reads: Tensor | None,
        hidden: Tensor,
        *states: Tensor,
        **kwargs: Any,
    ) -> list[Tensor]:
        """Compute one step.

        Parameters
        ----------
        input : tensor (B, F)
        reads : tensor (B, R * M), or None where `num_reads` is 0
            The read vectors side by side.
        hidden, *states : tensor (B, units)
            The state, as `outputs_info` lists it.

        Returns
        -------
        list of tensors (B, units)
            The new state, the output first.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    def fuse(self) -> list[Tensor]:
        """Return tensors that all steps share, for the loop to compute once: weights side by side, for instance."""
        return []

    def project(self, input: Tensor, fused: Sequence[Tensor]) -> Tensor:
        """Compute the part of a step that needs the input only, of one step (B, F) or of a whole sequence."""
        return input

    def advance(
        self,
        projected: Tensor,
        reads: Tensor | None,
        states: Sequence[Tensor],
        fused: Sequence[Tensor],
        **kwargs: Any,
    ) -> list[Tensor]:
        """Compute one step from the projected input; `states` and the result are as in `step`."""
        return self.step(projected, reads, *states, **kwargs)
