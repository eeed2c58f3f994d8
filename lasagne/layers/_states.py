"""States: what a layer hands from one time step to the next, and how a state enters and leaves a layer."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from ..checks import check_same_size
from ..typing import Tensor, TensorLike
from ..utils import is_float
from .base import MergeLayer


class State:
    """The base class of states: several parts, each a tensor, shared variable or array (B, ...)."""

    __slots__ = ()

    def flatten(self) -> list[Any]:
        """Return the parts in one list."""
        raise NotImplementedError(f"{type(self).__name__} does not define flatten()")

    @classmethod
    def unflatten(cls, parts: Iterable[Any]) -> Any:
        """Return the state from such a list, for example from the results of a compiled function."""
        raise NotImplementedError(f"{cls.__name__} does not define unflatten()")

    def map(self, function: Callable[[Any], Any]) -> Self:
        """Return the state with `function` applied to every part."""
        return self.unflatten([function(part) for part in self.flatten()])

    def updates_to(self, new: Self) -> list[tuple[Any, Any]]:
        """Return updates for a compiled function that store the state `new` in the shared variables of this state."""
        return list(zip(self.flatten(), new.flatten(), strict=True))


class RecurrentState(State, tuple[Any, ...]):
    """The state of a recurrent layer: a tuple of tensors (B, ...), of which the last is the hidden state.

    Of an :class:`LSTMLayer` it has the cell and the hidden state, of the other layers the hidden state alone.
    """

    __slots__ = ()

    @property
    def hidden(self) -> Any:
        """The hidden state, which is the output of the layer, (B, ...)."""
        return self[-1]

    def flatten(self) -> list[Any]:
        """Return the parts in one list."""
        return list(self)

    @classmethod
    def unflatten(cls, parts: Iterable[Any]) -> Self:
        """Return the state from a list of its parts."""
        return cls(parts)


class StatefulLayer(MergeLayer):
    """The base class of layers that carry a state over the time steps of a sequence.

    A subclass defines :meth:`get_initial_state`. Its `get_output_for` takes the state before the first step as `state`,
    and with ``return_state=True`` gives the state after the last step besides the output.
    """

    own_kwargs: tuple[str, ...] = ("state", "step_mask")
    result_kwargs: tuple[str, ...] = ("return_state",)
    backwards: bool
    only_return_final: bool

    def get_initial_state(self, batch_size: TensorLike) -> Any:
        """Return the state before the first step, as expressions of the initial values.

        Parameters
        ----------
        batch_size : int or scalar expression

        Returns
        -------
        State
        """
        raise NotImplementedError(f"{type(self).__name__} does not define get_initial_state()")

    def make_state_variables(self) -> Any:
        """Return a state of new symbolic variables, to be inputs of a compiled function."""
        return self.get_initial_state(1).map(
            lambda part: pt.tensor(dtype=part.dtype, shape=(None, *part.type.shape[1:]))
        )

    def make_shared_state(self, batch_size: TensorLike) -> Any:
        """Return a state of shared variables that hold the present initial state.

        Parameters
        ----------
        batch_size : int
        """
        state = self.get_initial_state(batch_size)
        values = pytensor.function([], state.flatten(), mode="FAST_COMPILE")()
        return state.unflatten(
            [pytensor.shared(np.array(value), shape=value.shape) for value in values]
        )

    def reset(self, state: Any) -> Any:
        """Return the initial state, with the batch size of another state.

        Parameters
        ----------
        state : State

        Returns
        -------
        State of expressions
        """
        part = pt.as_tensor(state.flatten()[0])
        rows = part.type.shape[0]
        return self.get_initial_state(part.shape[0] if rows is None else rows)

    def _connect(self, value: Tensor) -> Tensor:
        """Return a value unchanged, with a gradient of zero by the parameters that it does not depend on.

        Otherwise `pytensor.grad` would refuse these parameters: those of the heads where the memory is not used, and
        the initial values where a state is given.
        """
        if not is_float(value):
            return value
        known = set(ancestors([value]))
        unused = [param for param in self.get_params() if param not in known and is_float(param)]
        if not unused:
            return value
        total = sum(param.sum() for param in unused).astype(value.dtype)
        return pt.switch(np.array(True), value, value + total)


def fit_parts(
    label: str,
    names: Sequence[str],
    parts: Sequence[TensorLike],
    expected: Sequence[Tensor],
    sequence: Tensor,
) -> list[Tensor]:
    """Return the parts of a given state with the dtypes and the shapes of the initial state.

    Parameters
    ----------
    label : str
        The layer, for messages.
    names : list of str
        What messages call the parts.
    parts, expected : lists of tensors (B, ...)
        As many of the one as of the other.
    sequence : tensor (B, ...)
        The input. A part must have its batch size.

    Raises
    ------
    ValueError
        If a part has another shape, or when the function is called, another batch size.
    """
    fitted = []
    for name, part, wanted in zip(names, map(pt.as_tensor, parts), expected, strict=True):
        shape = (None, *wanted.type.shape[1:])
        given = part.type.shape
        if len(given) != len(shape) or any(
            a is not None and b is not None and a != b for a, b in zip(given, shape, strict=True)
        ):
            raise ValueError(f"{label}: state.{name} must be of shape {shape}, not {given}")
        part = check_same_size(
            part.astype(wanted.type.dtype),
            sequence,
            0,
            f"{label}: state.{name} must be of the input's batch size",
        )
        fitted.append(pt.specify_shape(part, shape))
    return fitted
