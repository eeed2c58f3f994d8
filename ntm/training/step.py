"""The training step: from parameters, the optimiser's state and a batch to new ones, and to losses.

Where batches come from and what happens after a step is the business of :class:`ntm.training.Trainer`.

Notation: B sequences in a batch, T steps.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import graph_inputs
from pytensor.link.jax.linker import JAXLinker
from pytensor.tensor.random.type import RandomType

from lasagne._norms import get_total_norm
from lasagne.accumulation import accumulate_gradients
from lasagne.backends.modes import divide_over, get_mode
from lasagne.independence import DependenceError
from lasagne.layers import Layer, get_all_params
from lasagne.processes import Processes
from lasagne.updates import get_or_compute_grads, total_norm_constraint
from ntm.data.layout import DataBatch
from ntm.layers.base import keep_where_masked
from ntm.layers.stepping import get_output_and_states, make_carried_states, reset_rows
from ntm.tasks import Batch, Task
from ntm.training.division import AUTO, WHOLE, choose_division
from ntm.training.inputs import NetworkInputs, compute_output
from ntm.training.losses import reduce_losses
from ntm.training.objective import Objective, as_objective
from ntm.typing import Array, ArrayLike, Tensor

__all__ = [
    "CARRIED",
    "PARAMETER",
    "CarriedStates",
    "StepResult",
    "TrainingError",
    "TrainingStep",
    "UpdateRule",
]

#: What the names of parameters begin with
PARAMETER = "parameter/"
#: What the names of states that are carried from batch to batch begin with
CARRIED = "state/"
#: From gradients, parameters and ``learning_rate=...`` to the new value of each variable that the rule changes
UpdateRule: TypeAlias = Callable[..., Mapping[Any, Any]]


class TrainingError(RuntimeError):
    """Training cannot go on, because numbers are no longer finite."""


class StepResult(NamedTuple):
    """What a training step gives besides new parameters.

    Attributes
    ----------
    loss : float
        The weighted mean of the losses, in nats or as squared error; without the penalty.
    losses : array (B,)
        The loss of each sequence.
    norm : float
        The norm of all gradients together, before they were clipped.
    is_finite : bool
        Whether the loss and all gradients were finite. If not, the step changed nothing.
    finite_gradients : array of bool
        For each trainable parameter, whether its gradient was finite.
    """

    loss: float
    losses: Array
    norm: float
    is_finite: bool
    finite_gradients: Array


class TrainingStep:
    """One step of gradient descent.

    The step is a pure function: the new values of `variables` and the losses depend on nothing but the values of
    `variables`, the batch, the weights and the learning rate (and on the random generators of layers such as dropout).
    The compiled function keeps the values of `variables` where the back end computes, and replaces them.

    The function is compiled at the first call, on the JAX back end for each new shape of a batch.

    Parameters
    ----------
    l_out : Layer
        As of :class:`ntm.training.Trainer`: (B, T, O), logits or numbers.
    task : Task or Objective
        What the network is trained for.
    update : callable
        An update rule: ``update(grads, params, learning_rate=...)``.
    penalty : scalar expression
        Added to the loss before gradients are taken.
    clip_value : float, optional
        Largest size of an element of a gradient.
    clip_norm : float, optional
        Largest norm of all gradients together. The elements are clipped first.
    weighted : bool, optional
        Whether each call is given a weight for each sequence; unless given, as the objective says. If not, the loss is
        the plain mean. That is not the same as weights of one: XLA then sums over sequences and steps at once, and the
        last bit of a loss may differ.
    carry_states : bool
        Whether the states of recurrent and memory layers go on from batch to batch, row by row, but where a batch
        resets a row: truncated backpropagation through time.
    mode : pytensor Mode, optional
        What the step is compiled with, :func:`ntm.get_mode` unless given.
    block_size : int, 'auto' or None
        How many sequences run at once at most, see :mod:`lasagne.accumulation`. ``'auto'`` chooses by the network, the
        task's batches and the processor's cache; None is the whole batch.
    devices : int, 'auto' or 'all'
        Over how many CPU cores or GPUs a batch is divided. ``'auto'`` takes as many CPU cores as the task's batch has
        blocks for.
    processes : Processes, optional
        The processes over all of whose devices a batch is divided, see :func:`ntm.training.join_processes`. Process 0
        calls the step, the others :meth:`follow`.

    Attributes
    ----------
    division : Division
        The block size and the number of devices that were chosen.
    params, trainable : list of shared variable
        All parameters of the network, and those that the step changes.
    variables : dict from str to shared variable
        What training changes, by names such as ``parameter/000 dense1.W``: parameters, the optimiser's state, and
        states that are carried from batch to batch (``state/...``).
    updates : dict from shared variable to expression
        The new value of each variable that a step changes.
    """

    def __init__(
        self,
        l_out: Layer,
        task: Task | Objective,
        update: UpdateRule,
        penalty: Tensor | float = 0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        weighted: bool | None = None,
        mode: Mode | None = None,
        block_size: int | str | None = None,
        devices: int | str = 1,
        carry_states: bool = False,
        processes: Processes | None = None,
    ) -> None:
        self.mode = get_mode() if mode is None else mode
        self.processes = processes
        self.params = get_all_params(l_out)
        self.trainable = get_all_params(l_out, trainable=True)
        self._objective = objective = as_objective(task, "TrainingStep")
        self._network = NetworkInputs(l_out, objective.layout, "TrainingStep", objective.name)
        self._weighted = objective.is_weighted if weighted is None else weighted
        self._compiled_shapes: set[tuple[int, ...]] = set()

        weights, rate = pt.vector("weights"), pt.scalar("learning_rate")
        batch = [*self._network.variables, *objective.variables]
        carried = CarriedStates(l_out, objective.batch_size) if carry_states else None
        if carried is None:
            outputs = compute_output(l_out, objective.step_mask)
        else:
            outputs = carried.compute_output(l_out)
        losses = objective.compute(outputs)
        self.division = choose_division(
            losses, objective, self.mode, block_size, devices, processes
        )
        loss, grads, losses, states = self._differentiate(
            losses,
            batch if carried is None else [*batch, *carried.variables],
            weights if self._weighted else None,
            penalty,
            [] if carried is None else carried.after,
            may_stay_whole=block_size in (AUTO, None)
            and devices in (AUTO, 1)
            and processes is None,
        )
        scaled_norm, scale = get_total_norm(grads)
        finite_grads = pt.stack([pt.isfinite(grad).all() for grad in grads])
        is_finite = pt.isfinite(loss) & finite_grads.all()
        clipped = grads
        if clip_value is not None:
            clipped = [pt.clip(grad, -clip_value, clip_value) for grad in clipped]
        if clip_norm is not None:
            clipped = total_norm_constraint(clipped, clip_norm)
        updates = dict(update(clipped, self.trainable, learning_rate=rate))
        kinds: dict[str, list[Any]] = {
            "parameter": self.params,
            "optimizer": [variable for variable in updates if variable not in self.params],
        }
        if carried is not None:
            kinds["state"] = carried.before
        self.variables: dict[str, SharedVariable] = {
            f"{kind}/{k:03d} {variable.name or ''}".strip(): variable
            for kind, variables in kinds.items()
            for k, variable in enumerate(variables)
        }
        # A step whose loss or gradient is not finite changes nothing
        self.updates: dict[Variable, Variable] = {
            variable: pt.switch(is_finite, new, variable) for variable, new in updates.items()
        }
        if carried is not None:
            self.updates |= carried.make_updates(states)
        self._weights_dtype = weights.dtype
        resets = [] if carried is None else [carried.resets]
        self._inputs = [*batch, *resets, *([weights] if self._weighted else []), rate]
        self._outputs = [loss, losses, scaled_norm / scale, is_finite, finite_grads]

    def _differentiate(
        self,
        losses: Tensor,
        batch: list[Tensor],
        weights: Tensor | None,
        penalty: Tensor | float,
        states: list[Tensor],
        may_stay_whole: bool,
    ) -> tuple[Tensor, list[Any], Tensor, list[Tensor]]:
        """Return the loss, its gradients, the losses of the sequences, and the states after the last step.

        Where nobody has asked for a division, a batch stays whole if the network's sequences depend on each other, or
        if that is not known.
        """
        if may_stay_whole and self._network.batch_size is not None:
            self.division = WHOLE
        if not self.division.is_whole:
            try:
                result = accumulate_gradients(
                    losses,
                    self.trainable,
                    batch,
                    weights,
                    penalty,
                    states,
                    **self.division._asdict(),
                    processes=self.processes,
                )
            except DependenceError:
                if not may_stay_whole:
                    raise
            else:
                if not (may_stay_whole and result.losses.owner.op.unseen):
                    return result.loss, result.grads, result.losses, result.outputs
            self.division = WHOLE
        loss = reduce_losses(losses, weights)
        grads = list(get_or_compute_grads(loss + penalty, self.trainable))
        return loss, grads, losses, states

    def __call__(
        self, batch: Batch | DataBatch, learning_rate: float, weights: ArrayLike | None = None
    ) -> StepResult:
        """Replace the values of `variables` by those after a step.

        Parameters
        ----------
        batch : Batch or DataBatch
        learning_rate : float
        weights : array (B,), optional
            The weight of each sequence in the loss, if the step is `weighted`; those of a batch of data unless given.
        """
        if self.processes is not None and not self.processes.is_leader:
            raise RuntimeError(
                f"TrainingStep: {self.processes.name} follows, and computes what process 0 says: call Trainer.train"
            )
        given: list[Any] = []
        if isinstance(batch, DataBatch):
            batch = self._network.fit(batch)
            weights = batch.weights if weights is None else weights
            given += [] if batch.resets is None else [np.asarray(batch.resets, "bool")]
        if self._weighted != (weights is not None):
            expected = "weights" if self._weighted else "no weights"
            raise ValueError(
                f"TrainingStep: weighted is {self._weighted}: expected {expected}, not {weights!r}"
            )
        given += [] if weights is None else [np.asarray(weights, self._weights_dtype)]
        loss, losses, norm, is_finite, finite_grads = self._function(
            *self._network.cast(batch),
            *self._objective.cast(batch),
            *given,
            np.asarray(learning_rate, "float32"),
        )
        self._compiled_shapes.add(self._get_shape(batch))
        return StepResult(
            float(loss), np.asarray(losses), float(norm), bool(is_finite), np.asarray(finite_grads)
        )

    def send_all(self) -> None:
        """Send the values of all `variables` to other processes with the next call."""
        self._function.vm.jit_fn.forget()

    def follow(self, message: Mapping[str, Any], arrays: Sequence[Array]) -> None:
        """Run the step as process 0 says. The values of `variables` stay behind until they are set.

        Parameters
        ----------
        message, arrays :
            What process 0 has sent for one call.

        Raises
        ------
        ValueError
            If the step is another one than that of process 0.
        """
        self._function.vm.jit_fn.follow(message, arrays)

    def must_compile(self, batch: Batch | DataBatch) -> bool:
        """Tell whether a call with this batch compiles something first, which takes seconds."""
        if isinstance(self.mode.linker, JAXLinker):
            return self._get_shape(batch) not in self._compiled_shapes
        return not self._compiled_shapes

    def _get_shape(self, batch: Batch | DataBatch) -> tuple[int, ...]:
        """Return the shape (B, T) that a batch is run with."""
        num_rows, num_steps = batch.mask.shape
        return self._network.batch_size or num_rows, self._network.num_steps or num_steps

    def get_values(self) -> dict[str, Array]:
        """Return copies of the values of `variables`."""
        return {name: np.array(each.get_value()) for name, each in self.variables.items()}

    def set_values(self, values: Mapping[str, Array]) -> None:
        """Set some or all of `variables`."""
        for name, value in values.items():
            self.variables[name].set_value(value)

    def find_generators(self) -> list[list[Any]]:
        """Return where the compiled function keeps the random generators of layers: lists of one generator each."""
        roots = graph_inputs([*self._outputs, *self.updates.values()])
        if not any(isinstance(root.type, RandomType) for root in roots):
            return []  # Then there is no need to compile
        maker, storage = self._function.maker, self._function.input_storage
        return [
            container.storage
            for each, container in zip(maker.expanded_inputs, storage, strict=True)
            if isinstance(each.variable.type, RandomType)
        ]

    @cached_property
    def _function(self) -> Any:
        # A loss of the user's own may not need the mask, nor that of a sequence the targets of each step
        return pytensor.function(
            self._inputs,
            self._outputs,
            updates=self.updates,
            mode=self.mode if self.processes is None else divide_over(self.mode, self.processes),
            on_unused_input="ignore" if self._objective.is_weighted else "raise",
        )


def _of_any_length(part: Any) -> SharedVariable:
    """Return a shared variable (B, ...) whose type leaves B open: a block of a batch has fewer rows."""
    return pytensor.shared(part.get_value(), shape=(None, *part.type.shape[1:]))


class CarriedStates:
    """The states of a network's layers, carried from batch to batch in shared variables.

    Attributes
    ----------
    resets : vector of bool (B,)
        Whether a row begins anew: then its state is the initial one.
    before, after : list of tensors (B, ...)
        The shared variables, and their values after the last step of a batch.
    variables : list
        What the network's output depends on, besides its inputs: `resets` and `before`.
    """

    def __init__(self, l_out: Layer, batch_size: int) -> None:
        self.resets = pt.vector("resets", dtype="bool")
        self._states = {
            layer: state.map(_of_any_length)
            for layer, state in make_carried_states(l_out, batch_size).items()
        }
        self.before = [part for state in self._states.values() for part in state.flatten()]
        self.after: list[Tensor] = []
        self.variables = [self.resets, *self.before]

    def compute_output(self, l_out: Layer, **kwargs: Any) -> Tensor:
        """Return the network's output, and note the states after its last step; `kwargs` are for the layers."""
        starts = {
            layer: reset_rows(layer, state, self.resets) for layer, state in self._states.items()
        }
        output, states = get_output_and_states(l_out, states=starts, **kwargs)
        self.after = [part for layer in self._states for part in states[layer].flatten()]
        self._starts = [part for layer in self._states for part in starts[layer].flatten()]
        return output

    def make_updates(self, after: list[Tensor]) -> dict[Variable, Variable]:
        """Return the new values of `before`: those after the last step, or before the first where they are not finite.

        A row goes on whether or not the step changed parameters: the next window belongs to the same series.

        Parameters
        ----------
        after : list of tensors (B, ...)
            The values after the last step of a batch.
        """
        finite = [pt.isfinite(part).all(axis=list(range(1, part.ndim))) for part in after]
        goes_on = pt.stack(finite).all(axis=0)
        return dict(zip(self.before, keep_where_masked(goes_on, after, self._starts), strict=True))
