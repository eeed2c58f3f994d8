"""What the recurrent layers have in common: the sequence, its mask, the initial state, the loop."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from .. import utils
from ..checks import check_mask, check_rows, check_unrolled
from ..loop import get_last, loop
from ..tensors import sizes, sizes_to_reshape
from ..typing import Incoming, Tensor, TensorLike
from ._states import RecurrentState, StatefulLayer, fit_parts
from .base import Layer, check_flag, check_integer, known_shape


class RecurrenceLayer(StatefulLayer):
    """Base class of the layers that carry a state over the time steps of a sequence.

    A subclass implements :meth:`_cell`. Its state consists of the entries of `initial_states`, in
    that order; the last of them is the hidden state, which is the output of the layer. It adds its
    own parameters, then calls :meth:`_add_initial_states`.

    Parameters
    ----------
    incoming : :class:`Layer` or tuple
        The layer that feeds the sequence, of shape ``(batch, time, ...)``, or that shape.
    initial_states : mapping of str to Initializer, array, expression or :class:`Layer`
        For each part of the state its name and its initial value.
    min_ndim : int
        The number of dimensions that the incoming shape has at least.
    backwards, learn_init, gradient_steps, grad_clipping, unroll_scan, precompute_input
        See :class:`CustomRecurrentLayer`.
    mask_input, only_return_final
        See :class:`CustomRecurrentLayer`.
    """

    def __init__(
        self,
        incoming: Incoming,
        initial_states: Mapping[str, Any],
        *,
        min_ndim: int,
        backwards: bool,
        learn_init: bool,
        gradient_steps: int,
        grad_clipping: float,
        unroll_scan: bool,
        precompute_input: bool,
        mask_input: Incoming | None,
        only_return_final: bool,
        **kwargs: Any,
    ):
        incomings = [incoming]
        self.mask_incoming_index = -1
        if mask_input is not None:
            self.mask_incoming_index = len(incomings)
            incomings.append(mask_input)
        self._state_specs = dict(initial_states)
        for state, spec in reversed(self._state_specs.items()):
            setattr(self, f"{state}_incoming_index", -1)
            if isinstance(spec, Layer):
                setattr(self, f"{state}_incoming_index", len(incomings))
                incomings.append(spec)
        super().__init__(incomings, **kwargs)

        self.backwards = backwards
        self.learn_init = learn_init
        self.gradient_steps = gradient_steps
        self.grad_clipping = grad_clipping
        self.unroll_scan = unroll_scan
        self.precompute_input = precompute_input
        self.only_return_final = only_return_final

        check_integer(self, gradient_steps=gradient_steps)
        if gradient_steps != -1 and gradient_steps < 1:
            raise ValueError(
                f"{self!r}: gradient_steps must be positive, or -1 for all steps, not {gradient_steps}"
            )
        if isinstance(grad_clipping, bool) or not isinstance(grad_clipping, Real):
            raise TypeError(f"{self!r}: grad_clipping must be a number, not {grad_clipping!r}")
        if not grad_clipping >= 0:
            raise ValueError(
                f"{self!r}: grad_clipping must be positive, or 0 for no clipping, not {grad_clipping}"
            )
        check_flag(
            self,
            backwards=backwards,
            learn_init=learn_init,
            unroll_scan=unroll_scan,
            precompute_input=precompute_input,
            only_return_final=only_return_final,
        )
        input_shape = self.input_shapes[0]
        if len(input_shape) < min_ndim:
            raise ValueError(
                f"{self!r} needs an incoming shape of at least {min_ndim} dimensions, "
                f"(batch, time, ...), got {input_shape}"
            )
        if unroll_scan and gradient_steps != -1:
            raise ValueError(
                f"{self!r}: gradient_steps must be -1 when unroll_scan is True, "
                f"got {gradient_steps}"
            )
        if unroll_scan and input_shape[1] is None:
            raise ValueError(
                f"{self!r}: the length of the sequence must be known when unroll_scan is True, "
                f"the incoming shape is {input_shape}"
            )
        if mask_input is not None:
            mask_shape = self.input_shapes[self.mask_incoming_index]
            if not dims_agree(mask_shape, input_shape[:2]):
                raise ValueError(
                    f"{self!r}: mask_input must have shape (batch, time), {input_shape[:2]} "
                    f"for this input, got {mask_shape}"
                )

    def _add_initial_states(self, state_shape: tuple) -> None:
        """Set an attribute for each part of the state: a parameter, or the layer that feeds it.

        Parameters
        ----------
        state_shape : tuple of int
            The shape of the state, without the batch.
        """
        self._state_shape = state_shape
        for state, spec in self._state_specs.items():
            if isinstance(spec, Layer):
                if not dims_agree(spec.output_shape[1:], state_shape):
                    raise ValueError(
                        f"{self!r}: {state} must have shape {('batch', *state_shape)}, "
                        f"got a layer of shape {spec.output_shape}"
                    )
                value = spec
            else:
                if None in state_shape:
                    raise ValueError(
                        f"{self!r}: the shape of the state must be known to create {state}, "
                        f"got {('batch', *state_shape)}"
                    )
                # One row stands for every sequence of the batch; an expression may have a row for
                # each of them.
                is_expression = isinstance(spec, Variable) and spec.type.ndim > 0
                rows = (spec.type.shape[0] if is_expression else None) or 1
                value = self.add_param(
                    spec,
                    (rows, *state_shape),
                    name=state,
                    trainable=self.learn_init,
                    regularizable=False,
                )
            setattr(self, state, value)

    def get_output_shape_for(self, input_shapes: Sequence[tuple]) -> tuple:
        """Return ``(batch, time, ...)``, or ``(batch, ...)`` with `only_return_final`."""
        batch, time = known_shape(input_shapes[0])[:2]
        return (batch, *(() if self.only_return_final else (time,)), *self._state_shape)

    def _cell(self, **kwargs: Any) -> tuple[Callable, Callable]:
        """Return what the layer computes, as two functions.

        Returns
        -------
        project : function of a tensor of shape ``(n, ...)``
            Answers with what the input of a time step contributes, of shape ``(n, ...)``.
        step : function of that contribution and the previous state, a tensor each
            Answers with the next state, a list of tensors.
        """
        raise NotImplementedError

    def get_output_for(
        self,
        inputs: Sequence[Tensor],
        state: Sequence[TensorLike] | None = None,
        return_state: bool = False,
        step_mask: TensorLike | None = None,
        **kwargs: Any,
    ) -> Any:
        """Compute the hidden state at every time step, or at the last with `only_return_final`.

        Parameters
        ----------
        inputs : list of tensors
            The sequence, of shape ``(batch, time, ...)``; then, if the layer has them, the mask, of
            shape ``(batch, time)``, and the initial states, of shape ``(batch, ...)``.
        state : tuple of tensors, optional
            The state before the first step, each part of shape ``(batch, ...)``, in place of the
            initial state.
        return_state : bool
            Whether to return also the state after the last step.
        step_mask : tensor, optional
            A mask of shape ``(batch, time)`` for a layer that was made without `mask_input`; the
            layer does with it as with that of `mask_input`.

        Returns
        -------
        tensor
            Shape ``(batch, time, ...)``, or ``(batch, ...)`` with `only_return_final`. With
            `return_state`, a pair: this, and the state after the last step, a tuple of tensors. It
            is the cell and the hidden state of an :class:`LSTMLayer`, the hidden state alone of the
            other layers.

        Raises
        ------
        ValueError
            If a state is given and an initial state comes from a layer, or if the state has other
            parts or shapes than the initial state.
        """
        inputs = list(inputs)
        mask = inputs[self.mask_incoming_index] if self.mask_incoming_index >= 0 else None
        if step_mask is not None:
            if mask is not None:
                raise ValueError(f"{self!r}: step_mask is for layers without mask_input")
            mask = pt.as_tensor(step_mask)
        sequence = inputs[0]
        if self.unroll_scan:
            given = [sequence] if mask is None else [sequence, mask]
            length: Any = self.input_shapes[0][1]
            sequence, *masks = check_unrolled(repr(self), length, *given)
            mask = masks[0] if masks else None
        project, step = self._cell(**kwargs)
        if mask is not None:
            mask = check_mask(repr(self), mask, sequence, rows=True)
            sequence = utils.hide_masked(sequence, mask)
        time_first = _swap_batch_and_time(sequence)
        _, batch, *features = sizes(time_first)
        if state is None:
            states = [self._initial_state(name, inputs, batch) for name in self._state_specs]
        else:
            states = self._fit_state(state, batch, sequence)
        if self.precompute_input:
            projected = project(time_first.reshape((-1, *features)))
            leading = sizes_to_reshape(time_first, 2)
            time_first = projected.reshape((*leading, *sizes(projected)[1:]))

        def next_states(current: Tensor, *rest: Tensor) -> list:
            mask_t, states = (None, rest) if mask is None else (rest[0], rest[1:])
            values = step(current if self.precompute_input else project(current), *states)
            if mask_t is not None:
                values = [_where(mask_t, *pair) for pair in zip(values, states, strict=True)]
            return [
                self._like_state(value, state) for value, state in zip(values, states, strict=True)
            ]

        sequences = [time_first] if mask is None else [time_first, _swap_batch_and_time(mask)]
        if self.unroll_scan:
            n_steps: Any = self.input_shapes[0][1]
            history = utils.unroll_scan(next_states, sequences, states, [], n_steps, self.backwards)
        else:
            history = loop(next_states, sequences, states, self.gradient_steps, self.backwards)

        hidden = history[-1]
        if self.only_return_final:
            output = get_last(hidden, states[-1])
        else:
            output = _swap_batch_and_time(hidden[::-1] if self.backwards else hidden)
        if state is not None:
            output = self._connect(output)
        if not return_state:
            return output
        return output, RecurrentState(
            self._connect(get_last(trace, initial))
            for trace, initial in zip(history, states, strict=True)
        )

    def get_initial_state(self, batch_size: TensorLike) -> RecurrentState:
        """Return the state before the first step, as expressions of the initial values.

        Parameters
        ----------
        batch_size : int or scalar expression
            The number of sequences.

        Returns
        -------
        tuple of tensors
            Each part of the state, of shape ``(batch, ...)``; the hidden state is the last.

        Raises
        ------
        ValueError
            If an initial state comes from a layer.
        """
        self._check_own_initial_states()
        return RecurrentState(
            self._initial_state(state, (), batch_size) for state in self._state_specs
        )

    def _check_own_initial_states(self) -> None:
        """Raise a `ValueError` if an initial state comes from a layer."""
        for state, spec in self._state_specs.items():
            if isinstance(spec, Layer):
                raise ValueError(
                    f"{self!r}: {state} comes from a layer, {spec!r}; a state that is carried on "
                    "needs an initial state that is a parameter or an expression"
                )

    def _fit_state(
        self, state: Sequence[TensorLike], batch_size: TensorLike, sequence: Tensor
    ) -> list[Tensor]:
        """Return the parts of a given state, with the dtypes and the shapes of the initial state."""
        names = list(self._state_specs)
        expected = self.get_initial_state(batch_size)
        if not isinstance(state, list | tuple):
            raise TypeError(
                f"{self!r}: state must be a tuple of {len(names)} tensors, not {state!r}"
            )
        if len(state) != len(names):
            raise ValueError(
                f"{self!r}: state must have {len(names)} parts ({', '.join(names)}), not {len(state)}"
            )
        labels = [name.removesuffix("_init") for name in names]
        return fit_parts(repr(self), labels, state, expected, sequence)

    def _initial_state(self, state: str, inputs: Sequence[Tensor], batch: TensorLike) -> Tensor:
        """Return the initial value of a part of the state, with a row for each sequence."""
        index = getattr(self, f"{state}_incoming_index")
        value = inputs[index] if index >= 0 else getattr(self, state)
        if value.type.ndim != len(self._state_shape) + 1:
            raise ValueError(
                f"{self!r}: {state} must have shape {('batch', *self._state_shape)}, "
                f"got {value.type.ndim} dimensions"
            )
        # A value of another precision, or of integers, must not make the state such
        value = pt.cast(value, pytensor.config.floatX)
        rows = value.type.shape[0]
        if rows == 1:
            return pt.broadcast_to(value, (batch, *sizes(value)[1:]))
        value = check_rows(value, batch, f"{self!r}: {state}")
        if rows is None:
            return value[pt.switch(pt.eq(value.shape[0], 1), 0, pt.arange(batch))]
        return value

    def _like_state(self, value: Tensor, state: Tensor) -> Tensor:
        """Give the next state the data type and the shape of the previous one."""
        if value.type.ndim != state.type.ndim:
            raise ValueError(
                f"{self!r}: a step must return a state of shape "
                f"{('batch', *self._state_shape)}, got {value.type.ndim} dimensions"
            )
        return state.type.filter_variable(pt.cast(value, state.type.dtype))

    def _clip_gradient(self, value: Tensor) -> Tensor:
        """Return `value`, with its gradient clipped elementwise at `grad_clipping`."""
        if not self.grad_clipping:
            return value
        return utils.clip_gradient(value, self.grad_clipping)


def _swap_batch_and_time(tensor: Tensor) -> Tensor:
    return tensor.dimshuffle(1, 0, *range(2, tensor.type.ndim))


def dims_agree(first: Sequence, second: Sequence) -> bool:
    """Tell whether two shapes are equal in the dimensions that both of them know."""
    return len(first) == len(second) and all(
        None in pair or pair[0] == pair[1] for pair in zip(first, second, strict=True)
    )


def _where(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Choose the new state where the mask of shape ``(batch,)`` is set, the old one elsewhere."""
    return pt.switch(mask.dimshuffle(0, *["x"] * (new.type.ndim - 1)), new, old)
