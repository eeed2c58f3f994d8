"""The training step: from parameters, the optimiser's state and a batch to new ones, and to losses.

Where batches come from and what happens after a step is the business of :class:`ntm.training.Trainer`.

Notation: B sequences in a batch, T steps.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
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
from ntm.training.inputs import NetworkInputs, compute_output, pad_steps
from ntm.training.losses import reduce_losses
from ntm.training.objective import Objective, as_objective
from ntm.typing import Array, ArrayLike, Tensor

__all__ = [
    "CARRIED",
    "PARAMETER",
    "CarriedStates",
    "Course",
    "StepAnswer",
    "StepRequest",
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


class StepRequest(NamedTuple):
    """What a trainer that runs step by step asks for: a training step.

    Attributes
    ----------
    batch : Batch or DataBatch
    rate : float
        The learning rate.
    """

    batch: Batch | DataBatch
    rate: float


class StepAnswer(NamedTuple):
    """What a trainer that runs step by step is given for a :class:`StepRequest`.

    Attributes
    ----------
    result : StepResult
    seconds : float or None
        How long the step took; None if something was compiled meanwhile.
    """

    result: StepResult
    seconds: float | None


#: Training that runs step by step, as whoever runs it likes: a generator that yields a :class:`StepRequest` for each
#: step, and is sent a :class:`StepAnswer`. Between two steps it yields None, and is sent whether to go on
Course: TypeAlias = Generator[StepRequest | None, Any, Any]


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
        #: Where many networks train in one program: brings `variables` up to date, see :mod:`ntm.training.replicas`
        self.keeper: Callable[[], None] | None = None

        weights, rate = pt.vector("weights"), pt.scalar("learning_rate")
        batch = [*self._network.variables, *objective.variables]
        carried = CarriedStates(l_out, objective.batch_size) if carry_states else None
        self._carries = carry_states
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
        outputs = self.function(*self.make_arguments(batch, learning_rate, weights))
        self._compiled_shapes.add(self.get_shape(batch))
        return self.make_result(outputs)

    def make_arguments(
        self, batch: Batch | DataBatch, learning_rate: float, weights: ArrayLike | None = None
    ) -> list[Array]:
        """Return what the compiled function takes for a batch; arguments as of a call."""
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
        return [
            *self._network.cast(batch),
            *self._objective.cast(batch),
            *given,
            np.asarray(learning_rate, "float32"),
        ]

    @staticmethod
    def make_result(outputs: Sequence[Any]) -> StepResult:
        """Return the result of a step from the outputs of the compiled function."""
        loss, losses, norm, is_finite, finite_grads = outputs
        return StepResult(
            float(loss), np.asarray(losses), float(norm), bool(is_finite), np.asarray(finite_grads)
        )

    def send_all(self) -> None:
        """Send the values of all `variables` to other processes with the next call."""
        self.function.vm.jit_fn.forget()

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
        self.function.vm.jit_fn.follow(message, arrays)

    def pad(self, batch: Batch | DataBatch, num_steps: int) -> Batch | DataBatch:
        """Return a batch that is padded at its end to a number of steps, as other batches are longer.

        Raises
        ------
        ValueError
            If the network's outputs depend on the padding.
        """
        if num_steps == self.get_shape(batch)[1]:
            return batch
        reason = self._find_need_of_length()
        if reason is not None:
            raise ValueError(
                f"batches of {self.get_shape(batch)[1]} and of {num_steps} steps cannot train in one program, as "
                f"{reason}: give batches of one length, such as by num_buckets=1"
            )
        if isinstance(batch, Batch):
            return batch.pad_to_bucket(num_steps, 1)
        return pad_steps(self._network.fit(batch), num_steps, self._objective.layout)

    def _find_need_of_length(self) -> str | None:
        """Return why batches may not be padded further, None if they may."""
        if self._carries:
            return "states are carried from batch to batch"
        if self.find_generators():
            return "dropout and other noise are drawn by the size of a batch"
        return self._network.find_need_of_length(self._objective.step_mask is not None)

    def must_compile(self, batch: Batch | DataBatch) -> bool:
        """Tell whether a call with this batch compiles something first, which takes seconds."""
        if isinstance(self.mode.linker, JAXLinker):
            return self.get_shape(batch) not in self._compiled_shapes
        return not self._compiled_shapes

    def get_shape(self, batch: Batch | DataBatch) -> tuple[int, ...]:
        """Return the shape (B, T) that a batch is run with."""
        num_rows, num_steps = batch.mask.shape
        return self._network.batch_size or num_rows, self._network.num_steps or num_steps

    def settle(self) -> None:
        """Bring `variables` up to date before they are read or changed: there is nothing to do but in a group.

        Where many networks train in one program, the latest values of all of them are in one place.
        """
        if self.keeper is not None:
            self.keeper()

    def get_values(self) -> dict[str, Array]:
        """Return copies of the values of `variables`."""
        self.settle()
        return {name: np.array(each.get_value()) for name, each in self.variables.items()}

    def set_values(self, values: Mapping[str, Array]) -> None:
        """Set some or all of `variables`."""
        self.settle()
        for name, value in values.items():
            self.variables[name].set_value(value)

    def find_generators(self) -> list[list[Any]]:
        """Return where the compiled function keeps the random generators of layers: lists of one generator each."""
        roots = graph_inputs([*self._outputs, *self.updates.values()])
        if not any(isinstance(root.type, RandomType) for root in roots):
            return []  # Then there is no need to compile
        maker, storage = self.function.maker, self.function.input_storage
        return [
            container.storage
            for each, container in zip(maker.expanded_inputs, storage, strict=True)
            if isinstance(each.variable.type, RandomType)
        ]

    def list_graph(self) -> tuple[list[Any], list[Any], list[SharedVariable]]:
        """Return the inputs of a step, what the step computes, and the shared variables that it reads or changes.

        The steps of two networks that differ in their numbers alone list these in the same order.
        """
        shared: dict[SharedVariable, None] = dict.fromkeys(self.variables.values())
        outputs = [*self._outputs, *self.updates.values()]
        new = [*outputs, *self.updates]
        while new:
            found = [each for each in graph_inputs(new) if isinstance(each, SharedVariable)]
            found = [each for each in dict.fromkeys(found) if each not in shared]
            shared |= dict.fromkeys(found)
            defaults = [each.default_update for each in found if each not in self.updates]
            new = [each for each in defaults if each is not None]
            outputs += new
        return self._inputs, outputs, list(shared)

    @cached_property
    def function(self) -> Any:
        """The compiled function: from :meth:`make_arguments` to what :meth:`make_result` takes."""
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
