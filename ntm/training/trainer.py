"""Training: a network, a task and an update rule, step after step, to be stopped and resumed at any step.

The trainer decides which batch comes next and what happens after a step. Around it stand :mod:`ntm.training.step`
(the step itself), :mod:`ntm.training.evaluator` (how good the network is) and :mod:`ntm.training.state` (what a
checkpoint holds).

Notation: B sequences in a batch, T steps, F input and O output features.
"""

import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from pytensor.compile.mode import Mode, get_mode

from lasagne.layers import Layer
from lasagne.processes import Processes
from lasagne.updates import adam
from ntm.arguments import Number, is_number
from ntm.data import DataBatch, Dataset, Epochs, Layout, Source, SourceExhausted, make_source
from ntm.data.fields import is_map_style
from ntm.files import check_folder_of
from ntm.interruption import Stop, stop_on_signals
from ntm.tasks import Batch, Task
from ntm.traces import Trace
from ntm.training.callbacks import Callback, as_callback, as_logger
from ntm.training.data_evaluator import DataEvaluator, make_validation, to_row
from ntm.training.division import AUTO, check_division
from ntm.training.evaluator import Evaluator
from ntm.training.following import led_by_one
from ntm.training.inputs import NetworkInputs, get_batch_size
from ntm.training.losses import check_last_nonlinearity
from ntm.training.objective import (
    DataObjective,
    LossFunction,
    Objective,
    as_objective,
    fit_layout,
)
from ntm.training.progress import Progress
from ntm.training.recovery import Restarter, Rewinder, latest_loss
from ntm.training.schedules import Schedule, constant
from ntm.training.state import Description, get_state, read_state, set_state, write_state
from ntm.training.step import (
    CARRIED,
    PARAMETER,
    Course,
    StepAnswer,
    StepRequest,
    TrainingError,
    TrainingStep,
    UpdateRule,
)
from ntm.training.task_source import TaskSource
from ntm.typing import Array, ArrayLike, PathLike, Tensor
from ntm.updates import centered_rmsprop

__all__ = ["Logger", "Row", "Trainer", "TrainingError"]

#: How many steps in a row may be skipped before training gives up
MAX_SKIPPED_IN_A_ROW = 100

#: What is known after some steps, or after an evaluation: names and values that JSON takes
Row: TypeAlias = dict[str, Any]
#: Takes a row, and writes the row somewhere: see :mod:`ntm.training.loggers`
Logger: TypeAlias = Callable[[Row], object]


class Trainer:
    """Trains a network on a task, or on a user's data.

    Parameters
    ----------
    l_out : Layer
        The last layer of the network, (B, T, O): logits where the targets are bits, classes or digits, else numbers.
        Where data have one target a sequence, (B, O), or (B, T, O) whose last step of each sequence counts. An input
        layer that is the `mask_input` of layers gets a mask (B, T), one up to the end of a sequence and zero in its
        padding. With data, recurrent and memory layers without `mask_input` that run backwards, or whose last output is
        taken, get this mask, too.
    data : Task, Dataset, Source, tuple, dict or iterable
        What to train on: a task, or data. :func:`ntm.data.make_source` says what data may be: arrays ``(inputs,
        targets)`` or ``(inputs, targets, mask)``, lists of sequences, a :class:`ntm.Dataset`, an iterable of batches, a
        stream.
    update : callable, optional
        An update rule, such as those of :mod:`lasagne.updates`: ``update(grads, params, learning_rate=...)``. Unless
        given, :func:`ntm.updates.centered_rmsprop` for tasks and :func:`lasagne.updates.adam` for data.
    learning_rate : float, optional
        1e-4 for tasks and 1e-3 for data unless given.
    schedule : callable, optional
        The learning-rate schedule: from the step to a factor of the learning rate, see :mod:`ntm.training.schedules`.
    clip_value : float, optional
        Clips each element of a gradient to this size.
    clip_norm : float, optional
        Scales all gradients down to this norm of all gradients together, if their norm is larger.
    curriculum : str
        For tasks: one of :data:`ntm.training.CURRICULA`.
    curriculum_options : dict, optional
        Arguments of that curriculum.
    penalty : scalar expression
        Added to the loss, for example by :mod:`lasagne.regularization`.
    rewind : bool, optional
        Whether to go back to the best parameters when the loss rises again: see :class:`ntm.training.Rewinder`. Unless
        given, yes for tasks and no for data.
    restarter : ntm.training.Restarter, optional
        Re-initialises the network when it has not learnt in time.
    solved_below : float, optional
        For tasks: the task counts as solved below this value of its measure, instead of below its own threshold.
    num_buckets : int, optional
        Batches are padded to one of so many lengths, so that the step is compiled for few lengths. Where a curriculum
        grows, to so many lengths for each power of two of its levels. Unless given, 1 for tasks and 4 for data.
    seed : int
        Of the curriculum's choices, the order of data, splits and evaluations.
    mode : pytensor Mode or str, optional
        What functions are compiled with, :func:`ntm.get_mode` unless given.
    block_size : int, 'auto' or None
        A batch runs in blocks of so many sequences at most, whose gradients are added up. Results change by rounding;
        dropout draws other numbers. ``'auto'`` chooses blocks that fit the processor's cache; None is the whole batch.
    devices : int, 'auto' or 'all'
        Over how many CPU cores or GPUs a batch is divided. ``'auto'`` takes the CPU cores that this process may use, if
        the batch has a block for each, and one GPU. JAX fixes how many CPU devices there are when it starts: make the
        trainer before anything is compiled, or call :func:`lasagne.devices.start_devices` at the top of the program.
    batch_size : int, optional
        For arrays and data sets: sequences in a batch, 32 unless given.
    validation : float, Dataset, tuple or Source, optional
        For data: what to measure the network on after each epoch. A number is the share of the data set that is held
        out, drawn by `seed`.
    loss : callable, optional
        For data, instead of the loss of their kind: ``loss(outputs, targets, mask)`` gives the loss of each sequence,
        (B,), see :class:`ntm.training.objective.DataObjective`.
    class_weights : array (O,), optional
        For targets that are classes: what the loss of each class is multiplied by.
    metrics : list of str or callable, optional
        For data: what to measure, besides the loss, see :data:`ntm.training.METRICS`.
    callbacks : list of Callback or callable
        Called as training goes on, see :class:`ntm.training.Callback`. A function takes the trainer, and is called
        after each evaluation.
    processes : Processes, optional
        The processes over all of whose devices a batch is divided, see :func:`ntm.training.join_processes`. Process 0
        trains and decides. In the others :meth:`train` follows process 0, with the same network and data.

    Attributes
    ----------
    training_step : TrainingStep
        Changes the parameters.
    evaluator : Evaluator or DataEvaluator
        Measures the network on the task, or on data.
    source : TaskSource or Source
        Gives the batches.
    validation : Dataset, Source or None
    step_count : int
        Training steps done.
    seconds : float
        Time spent in :meth:`train`, in seconds. Set it to go on counting from an earlier session.
    losses : list of float
        Of each step: for tasks bits per sequence or the squared error of numbers, for data the mean over sequences and
        steps, in nats or as squared error; NaN where a step was skipped.
    skipped : list of dict
        Steps whose loss or gradient was not finite: ``step``, ``loss`` (None if not finite), and the names of the
        ``parameters`` whose gradient was not finite.
    evaluations : list of dict
        What was measured in :meth:`train`, and at which step.
    learning_rate_factor : float
        What the learning rate is multiplied by, for callbacks; saved in checkpoints.
    solved_at : int or None
        The step after which the task was found to be solved.
    total_steps : int or None
        After how many steps the present training ends at the latest; None where that is not known.

    Raises
    ------
    TypeError, ValueError
        If an argument is none that fits: the message says what was given and what was expected.
    """

    source: TaskSource | Source
    evaluator: Any

    def __init__(
        self,
        l_out: Layer,
        data: Any,
        update: UpdateRule | None = None,
        learning_rate: float | None = None,
        schedule: Schedule | None = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        curriculum: str = "uniform",
        curriculum_options: Mapping[str, Any] | None = None,
        penalty: Tensor | float = 0,
        rewind: bool | None = None,
        restarter: Restarter | None = None,
        solved_below: float | None = None,
        num_buckets: int | None = None,
        seed: int = 0,
        mode: Mode | str | None = None,
        block_size: int | str | None = AUTO,
        devices: int | str = AUTO,
        batch_size: int | None = None,
        validation: Any = None,
        loss: LossFunction | None = None,
        class_weights: ArrayLike | None = None,
        metrics: Sequence[Any] | None = None,
        callbacks: Sequence[Any] = (),
        processes: Processes | None = None,
    ) -> None:
        is_task = _is_task(data)
        if update is None:
            update = centered_rmsprop if is_task else adam
        rewind = is_task if rewind is None else rewind
        learning_rate = (1e-4 if is_task else 1e-3) if learning_rate is None else learning_rate
        num_buckets = (1 if is_task else 4) if num_buckets is None else num_buckets
        _check_arguments(update, schedule, curriculum_options, penalty, rewind, restarter)
        check_division("Trainer", block_size, devices)
        self.l_out = l_out
        self.seed = Number(int, 0).check("Trainer: seed", seed)
        self.learning_rate = Number(float, 0).check("Trainer: learning_rate", learning_rate)
        self.num_buckets = Number(int, 1).check("Trainer: num_buckets", num_buckets)
        self.schedule = schedule or constant()
        for name, value in (("clip_value", clip_value), ("clip_norm", clip_norm)):
            if value is not None:
                Number(float, above=0).check(f"Trainer: {name}", value)
        if solved_below is not None:
            Number(float).check("Trainer: solved_below", solved_below)
        self.callbacks = [as_callback(each) for each in callbacks]
        mode = mode if mode is None else get_mode(mode)
        self.validation: Any = None
        # What is measured after an epoch: a part of the training data, and the validation data
        self._measured: dict[str, Source] = {}
        given_for_data: dict[str, Any] = {
            "batch_size": batch_size,
            "validation": validation,
            "loss": loss,
            "class_weights": class_weights,
            "metrics": metrics,
        }
        given_for_tasks: dict[str, Any] = {
            "curriculum": None if curriculum == "uniform" else curriculum,
            "curriculum_options": curriculum_options,
            "solved_below": solved_below,
        }
        for name, given in (given_for_data if is_task else given_for_tasks).items():
            if given is not None:
                which = "data of your own" if is_task else "tasks"
                raise ValueError(f"Trainer: {name} is for {which}, not for {_describe_data(data)}")
        if is_task:
            objective = as_objective(data, "Trainer")
            self._check_network(objective)
            self.evaluator = Evaluator(l_out, data, mode, self.seed, solved_below)
            self.source = TaskSource(
                data, curriculum, curriculum_options, self.num_buckets, self.seed
            )
        else:
            self._prepare_data(data, batch_size, validation, loss)
            objective = self._make_objective(loss, class_weights)
            network = self._check_network(objective)
            source: Any = self.source
            network.check_source(source)
            network.warn_of_padding(source)
            self.evaluator = DataEvaluator(l_out, objective, mode, metrics)
            self._prepare_validation(validation, objective.data_layout)
        self.mode = self.evaluator.mode
        self.unit = objective.unit
        self.training_step = TrainingStep(
            l_out,
            objective,
            update,
            penalty,
            clip_value,
            clip_norm,
            mode=self.mode,
            block_size=block_size,
            devices=devices,
            carry_states=self.source.is_stream,
            processes=processes,
        )
        self.params = self.training_step.params
        self.rewinder = Rewinder() if rewind else None
        self.restarter = restarter

        self.step_count = 0
        self.losses: list[float] = []
        self.skipped: list[Row] = []
        self.evaluations: list[Row] = []
        self.learning_rate_factor = 1.0
        self.solved_at: int | None = None
        self.total_steps: int | None = None
        # The rest of the state that is nothing to users: ntm.training.state saves it
        self.skipped_in_a_row = 0
        self.best_values: dict[str, Array] = {}
        self._reason: str | None = None
        self._evaluate_at: list[Mapping[str, int]] = []
        if restarter is not None:
            self._initial_optimizer = {
                name: value
                for name, value in self.training_step.get_values().items()
                if not name.startswith(PARAMETER)
            }
        # The time of earlier calls of train(), and when the present one began
        self._seconds = 0.0
        self._started: float | None = None
        # How long the steps since the last row took, without those that had to be compiled
        self._timed_sequences, self._timed_seconds = 0, 0.0
        self._progress: Progress | None = None

    # ---- Data

    def _prepare_data(
        self, data: Any, batch_size: int | None, validation: Any, loss: LossFunction | None
    ) -> None:
        """Set the source of batches, and the data that the network is measured on."""
        # The first batch of an iterable may lack the last classes
        num_outputs = self.l_out.output_shape[-1] if _is_iterable(data) and loss is None else None
        source = make_source(data, batch_size, self.seed, num_outputs=num_outputs)
        dataset = source.dataset if isinstance(source, Epochs) else None
        if is_number(validation):
            share = Number(float, above=0).check("Trainer: validation", float(validation))
            if share >= 1 or not isinstance(source, Epochs) or data is source:
                raise ValueError(
                    f"Trainer: validation {validation} must be a share below 1 of a data set or of arrays; for other "
                    "sources give validation data of their own"
                )
            dataset, self.validation = source.dataset.split(share, seed=self.seed)
        if isinstance(source, Epochs) and dataset is not None and data is not source:
            size = batch_size or get_batch_size(self.l_out) or source.batch_size
            source = Epochs(dataset, size, self.seed, num_buckets=self.num_buckets)
        if isinstance(source, Epochs) and source.batch_size == 1:
            weights = source.dataset.weights
            if (weights != weights[0]).any():
                raise ValueError(
                    "Trainer: the weights of sequences count beside others in a batch, and batches of one sequence "
                    "have no others: expected a batch_size of at least 2"
                )
        self.source = source

    def _prepare_validation(self, validation: Any, layout: Layout) -> None:
        """Set the data that the network is measured on, given the layout of the training data."""
        source = self.source
        caller = "Trainer: validation"
        if self.validation is None and validation is not None:
            self.validation = make_validation(validation, layout, caller)
        if self.validation is None:
            return
        prepared = self.evaluator.prepare(self.validation, caller=caller)
        if isinstance(self.validation, Source):
            if self.validation is source:
                raise ValueError(
                    "Trainer: validation is the source that the network is trained on: expected a source of its own"
                )
            if not self.validation.can_begin_anew:
                raise ValueError(
                    "Trainer: validation is a generator, which gives its batches once: expected a Dataset, or a "
                    "function that returns a new generator each time"
                )
        # As many training sequences are measured as sequences for validation
        if isinstance(source, Epochs) and isinstance(self.validation, Dataset):
            count = min(len(source.dataset), len(self.validation))
            chosen = np.linspace(0, len(source.dataset) - 1, count).astype(int)
            part = source.dataset.subset(chosen)
            self._measured["training"] = self.evaluator.prepare(part, caller=caller)
        self._measured["validation"] = prepared

    def _make_objective(
        self, loss: LossFunction | None, class_weights: ArrayLike | None
    ) -> DataObjective:
        source = self.source
        assert isinstance(source, Source)
        layout = fit_layout(self.l_out, source.layout, loss)
        if isinstance(source, Epochs) and layout.num_outputs != source.layout.num_outputs:
            _warn_of_one_hot(source.dataset, layout.num_outputs)
        return DataObjective(
            layout,
            loss,
            class_weights,
            source.batch_size,
            source.longest,
            "Trainer",
            fit_layout(self.l_out, source.layout),
        )

    def _check_network(self, objective: Objective) -> NetworkInputs:
        layout, owner = objective.layout, objective.name
        network = NetworkInputs(self.l_out, layout, "Trainer", owner)
        check_last_nonlinearity(self.l_out, layout.kind, "Trainer", owner)
        return network

    @property
    def task(self) -> Any:
        """The task, or None where the network is trained on data."""
        return getattr(self.source, "task", None)

    @property
    def curriculum(self) -> Any:
        """The task's curriculum, or None where the network is trained on data."""
        return getattr(self.source, "curriculum", None)

    @property
    def evaluation_names(self) -> list[str]:
        """The names of the numbers in a row of an evaluation."""
        if self.task is not None:
            return [
                f"{name} at {_describe_sizes(sizes)}"
                for sizes in self._evaluate_at
                for name in self.task.measures
            ]
        return [f"{part} {name}" for part in self._measured for name in self.evaluator.number_names]

    @property
    def epoch(self) -> int:
        """Epochs of the data that have ended; zero for a task."""
        return self.source.epoch

    # ---- One step

    @property
    def restarts(self) -> list[int]:
        """The steps after which the network was re-initialised."""
        return [] if self.restarter is None else self.restarter.restarts

    @property
    def began(self) -> int:
        """The step after which training began with the present initialisation: 0, or that of the last restart."""
        return self.restarts[-1] if self.restarts else 0

    @property
    def num_sequences(self) -> int:
        """Sequences seen so far."""
        if isinstance(self.source, TaskSource):
            return self.step_count * self.source.task.batch_size
        return self.source.num_sequences

    @property
    def seconds(self) -> float:
        """Time spent in :meth:`train`, in seconds."""
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self._seconds + running

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = seconds

    def sample(self) -> Batch | DataBatch:
        """Draw the next batch."""
        return self.source.draw()

    def step(self) -> Row:
        """Train on one batch.

        Returns
        -------
        dict
            ``loss``, as in :attr:`losses`; ``norm`` of the gradient before clipping; ``rate``, the
            learning rate.

        Raises
        ------
        TrainingError
            If many steps in a row had a loss or a gradient that was not finite.
        ValueError
            If the targets of the batch are not finite where they count.
        ntm.data.SourceExhausted
            If the data have no more batches.
        """
        return self.run_alone(self._step())

    def _step(self) -> Generator[StepRequest, StepAnswer, Row]:
        """Train on one batch, as a course of one request: see :meth:`step`."""
        if self.restarter is not None and self.restarter.must_restart(self):
            self._restart(self.restarter)
        batch = self.sample()
        rate = self.learning_rate * self.schedule(self.step_count - self.began)
        rate *= self.learning_rate_factor
        if self.rewinder is not None:
            rate *= self.rewinder.rate
        curriculum = self.curriculum
        needs_gain = curriculum is not None and curriculum.needs_gain
        before = self._compute_loss(batch) if needs_gain else None
        result, seconds = yield StepRequest(batch, rate)
        if seconds is not None:
            rows = batch.weights if isinstance(batch, DataBatch) else batch.mask
            self._timed_sequences += len(rows) if rows.ndim == 2 else int(np.count_nonzero(rows))
            self._timed_seconds += seconds
        self.step_count += 1
        loss = result.loss / self.unit
        self.losses.append(loss if result.is_finite else np.nan)
        if result.is_finite:
            self.skipped_in_a_row = 0
            gain = None
            if before is not None:
                after = self._compute_loss(batch)
                gain = (before - after) / self.unit / batch.mask.shape[1]
            if curriculum is not None:
                curriculum.update(loss, gain)
        elif isinstance(batch, Batch) or batch.weights.any():
            if isinstance(batch, Batch):
                batch.check_targets(type(self.task).__name__)
            self._skip(loss, result.finite_gradients)
        self._rewind()
        return {"loss": loss, "norm": result.norm, "rate": float(np.float32(rate))}

    def _compute_loss(self, batch: Any) -> float:
        """Return the mean loss of a batch with the present parameters."""
        self.training_step.settle()
        return self.evaluator.compute_loss(batch)

    def run_alone(self, course: Generator[Any, Any, Any], stop: Stop | None = None) -> Any:
        """Run a course to its end, or until a signal asks to stop, and return what the course returns."""
        try:
            request = next(course)
            while True:
                answer: Any = stop is None or not stop.is_set()
                try:
                    answer = answer if request is None else self._answer(request)
                except BaseException as error:
                    request = course.throw(error)
                else:
                    request = course.send(answer)
        except StopIteration as end:
            return end.value

    def _answer(self, request: StepRequest) -> StepAnswer:
        """Do a training step; say so if it has to be compiled, and time it if not."""
        batch, rate = request
        if not self.training_step.must_compile(batch):
            start = time.monotonic()
            result = self.training_step(batch, rate)
            return StepAnswer(result, time.monotonic() - start)
        if self._progress is None:
            return StepAnswer(self.training_step(batch, rate), None)
        with self._progress.compiling(*batch.mask.shape):
            return StepAnswer(self.training_step(batch, rate), None)

    def _rewind(self) -> None:
        """Keep the parameters and the optimiser's state, or go back to those kept, as the rewinder says."""
        verdict = None if self.rewinder is None else self.rewinder.decide(self)
        if verdict == "keep":
            self.best_values = self.get_values()
        elif verdict == "back":
            self.training_step.set_values(self.best_values)

    def _restart(self, restarter: Restarter) -> None:
        """Re-initialise the network; the optimiser, the curriculum and the rewinder start afresh, counts go on."""
        self.training_step.settle()
        restarter.restarts.append(self.step_count)
        values = restarter.redraw(len(restarter.restarts))
        for param, value in zip(self.params, values, strict=True):
            param.set_value(np.asarray(value, param.dtype))
        self.training_step.set_values(self._initial_optimizer)
        if isinstance(self.source, TaskSource):
            self.source.restart()
        if self.rewinder is not None:
            self.rewinder.reset()
        self.best_values = {}
        self.skipped_in_a_row = 0

    def _skip(self, loss: float, finite_gradients: Array) -> None:
        """Note a step that changed nothing, and the parameters whose gradient was not finite."""
        trainable = self.training_step.trainable
        names = [
            param.name or f"parameter {k}"
            for k, (param, finite) in enumerate(zip(trainable, finite_gradients, strict=True))
            if not finite
        ]
        self.skipped.append(
            {"step": self.step_count, "loss": _finite_or_none(loss), "parameters": names}
        )
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row < MAX_SKIPPED_IN_A_ROW:
            return
        if self.restarter is not None and not self.restarter.is_spent:
            self._restart(self.restarter)
        else:
            where = "all of them" if len(names) == len(trainable) else ", ".join(names) or "none"
            raise TrainingError(
                f"the last {MAX_SKIPPED_IN_A_ROW} steps had a loss or a gradient that was not finite; at step "
                f"{self.step_count} the loss was {loss} and gradients were not finite in: {where}. "
                "A lower learning rate or clip_norm may help."
            )

    # ---- For callbacks

    def stop(self, reason: str) -> None:
        """End training after the present step; :meth:`train` returns the reason."""
        self._reason = reason

    def get_values(self) -> dict[str, Array]:
        """Return copies of the parameters and of the optimiser's state, by name."""
        values = self.training_step.get_values()
        return {name: value for name, value in values.items() if not name.startswith(CARRIED)}

    def set_values(self, values: Mapping[str, Array]) -> None:
        """Set parameters and the optimiser's state to values of :meth:`get_values`."""
        self.training_step.set_values(values)

    # ---- Measures: see Evaluator and DataEvaluator, which do the work

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict the targets of sequences: see :meth:`Evaluator.predict` and :meth:`DataEvaluator.predict`."""
        return self.evaluator.predict(*args, **kwargs)

    def measure(self, batch: Batch, chunk: int = 100) -> dict[str, float]:
        """Measure a batch of a task: see :meth:`Evaluator.measure`."""
        return self.evaluator.measure(batch, chunk)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Measure new sequences of a task, or data.

        See :meth:`Evaluator.evaluate` and :meth:`DataEvaluator.evaluate`.
        """
        return self.evaluator.evaluate(*args, **kwargs)

    def count_steps(self, sizes: Iterable[Mapping[str, int]]) -> int | None:
        """Return the steps of the longest of some sizes of a task: see :meth:`Evaluator.count_steps`."""
        return self.evaluator.count_steps(sizes)

    def look_inside(self, inputs: ArrayLike) -> list[Trace]:
        """Trace what heads and memories do with a sequence of a task: see :meth:`Evaluator.look_inside`."""
        return self.evaluator.look_inside(inputs)

    def is_solved(self, num_sequences: int = 2000) -> bool:
        """Tell whether the task is solved, by sequences that are new at each step: see :meth:`Evaluator.is_solved`."""
        return self.evaluator.is_solved(num_sequences, draw=1 + self.step_count)

    # ---- The loop

    def train(
        self,
        max_steps: int | None = None,
        solve_every: int | None = None,
        evaluate_every: int = 0,
        evaluate_at: Iterable[Mapping[str, int]] = (),
        log_every: int = 100,
        loggers: Iterable[Logger] = (),
        save_every: int = 1000,
        save: Callable[[], object] | None = None,
        progress: bool = True,
        epochs: int | None = None,
        checkpoint: PathLike | None = None,
    ) -> str:
        """Train until the task is solved, or the steps or epochs are done, or the process is told to stop.

        Ctrl-C, SIGTERM and SIGHUP stop training after the present step, and the state is saved.

        Parameters
        ----------
        max_steps : int, optional
            Counted from the start of the run, a resumed run included, or from the last restart. It must be given for
            tasks, and for data if `epochs` is not.
        solve_every : int, optional
            For tasks: after how many steps to find out whether the task is solved, and to stop if so; 0 for never, 200
            unless given.
        evaluate_every : int
            After how many steps to evaluate; 0 for never. Data are evaluated after each epoch, too, and at the end.
        evaluate_at : list of dict
            For tasks: sizes to evaluate at.
        log_every : int
            After how many steps each logger gets a row; 0 for never.
        loggers : list of callables
            Each takes a dict. A row of training has ``step``, ``sequences``, ``seconds`` (spent in training),
            ``sequences_per_second`` (since the last row, without compilation and evaluations; None if every step was
            compiled), ``loss`` (the mean since the last row), ``norm``, ``rate``, ``level`` (of a task's curriculum) or
            ``epoch`` (of data), ``skipped`` and ``restarts``. A row of an evaluation has ``step``, ``sequences``,
            ``seconds`` and the measures: for tasks at each of the sizes, for data such as ``validation loss``.
        save_every : int
            After how many steps to save; 0 for the end only. Data are saved after each epoch, too.
        save : callable, optional
            Called to save, and once more at the end.
        progress : bool
            Whether to show progress on standard error: a bar in a terminal, else a line now and then.
        epochs : int, optional
            For data: how many epochs, counted from the start of the run.
        checkpoint : str or path, optional
            A file to save to. If the file exists and this trainer has not trained yet, training first goes back to it:
            the same program, run again, goes on where it was.

        Returns
        -------
        str
            Why training ended: 'solved', 'done', 'interrupted', or the reason that a callback gave.
        """
        course = self.make_course(
            max_steps,
            solve_every,
            evaluate_every,
            evaluate_at,
            log_every,
            loggers,
            save_every,
            save,
            progress,
            epochs,
            checkpoint,
        )
        with stop_on_signals() as stop:
            return self.run_alone(course, stop)

    @led_by_one
    def make_course(
        self,
        max_steps: int | None = None,
        solve_every: int | None = None,
        evaluate_every: int = 0,
        evaluate_at: Iterable[Mapping[str, int]] = (),
        log_every: int = 100,
        loggers: Iterable[Logger] = (),
        save_every: int = 1000,
        save: Callable[[], object] | None = None,
        progress: bool = True,
        epochs: int | None = None,
        checkpoint: PathLike | None = None,
    ) -> Course:
        """Return training that runs step by step, as whoever runs it likes: :meth:`train` runs it alone.

        Parameters
        ----------
        max_steps, solve_every, evaluate_every, evaluate_at, log_every, loggers, save_every, save, progress, epochs, \
checkpoint
            As of :meth:`train`.

        Returns
        -------
        generator
            It yields a :class:`ntm.training.step.StepRequest` for each step and is sent a
            :class:`ntm.training.step.StepAnswer`. Between two steps it yields None and is sent whether to go on. It
            returns what :meth:`train` returns.
        """
        every = 200 if solve_every is None else solve_every
        settings = _Intervals(max_steps, epochs, every, evaluate_every, log_every, save_every)
        settings.check(self.task is not None, solve_every)
        evaluate_at = self._evaluate_at = list(evaluate_at)
        callbacks = [*self.callbacks, *map(as_logger, loggers)]
        if save is not None and not callable(save):
            raise TypeError(f"Trainer.train: save must be callable, not {save!r}")
        if self.task is not None:
            self.count_steps(evaluate_at)  # Raises an error for sizes that the task does not have
        elif evaluate_at:
            raise ValueError("Trainer.train: evaluate_at is for tasks, not for data of your own")
        elif evaluate_every and self.validation is None:
            raise ValueError(
                f"Trainer.train: evaluate_every is {evaluate_every}, and there is nothing to measure: give the Trainer "
                "validation="
            )
        if epochs is not None and epochs > 1 and not self.source.can_begin_anew:
            raise ValueError(
                f"Trainer.train: epochs is {epochs}, and the data are a generator, which gives its batches once: "
                "expected a function that returns a new generator each time"
            )
        if checkpoint is not None:
            check_folder_of(checkpoint, "Trainer.train: checkpoint")
            if self.step_count == 0 and os.path.exists(checkpoint):
                self.restore(checkpoint)
            save = _join(save, partial(self.save, checkpoint))
        self._reason = None if self.solved_at is None else "solved"
        self.total_steps = self._count_steps(settings)
        shown = Progress(self.total_steps, self.step_count, progress)
        if self.step_count and checkpoint is not None:
            shown.note(f"{checkpoint}: goes on from step {self.step_count:,}")
        with stop_on_signals() as stop, self._session(shown):
            for callback in callbacks:
                callback.on_start(self)
            watchers = [each for each in callbacks if _overrides(each, "on_step")]
            saved_at = None
            is_stopped = False
            while self._goes_on(settings):
                is_stopped = not (yield None)
                if is_stopped:
                    break
                epoch = self.epoch
                try:
                    latest = yield from self._step()
                except SourceExhausted:
                    break
                has_ended = self.epoch > epoch
                self.total_steps = self._count_steps(settings)
                shown.advance(self.total_steps)
                if watchers:
                    self.training_step.settle()
                for callback in watchers:
                    callback.on_step(self, latest)
                if self._is_due(log_every):
                    self.training_step.settle()
                    row = self._make_row(latest, log_every)
                    shown.show(row, self.total_steps)
                    for callback in callbacks:
                        callback.on_log(self, row)
                if self._is_due(evaluate_every) or (has_ended and self._measures_epochs):
                    self._hand_evaluation(callbacks, evaluate_at, shown)
                if has_ended:
                    self.training_step.settle()
                    for callback in callbacks:
                        callback.on_epoch(self, latest | {"epoch": self.epoch})
                if self.task is not None and self._is_due(every) and self._is_found_solved():
                    self.solved_at = self.step_count
                    self._reason = "solved"
                if save is not None and (self._is_due(save_every) or has_ended):
                    self.training_step.settle()
                    with stop.saving():
                        save()
                    saved_at = self.step_count
            self.training_step.settle()
            is_stopped = is_stopped or stop.is_set()
            if not is_stopped and self._measures_epochs and not self._is_measured():
                self._hand_evaluation(callbacks, evaluate_at, shown)
            ended = "interrupted" if is_stopped or stop.is_set() else self._reason or "done"
            if save is not None and saved_at != self.step_count:
                with stop.saving():
                    save()
            # After saving: a callback may put the best parameters back, and training goes on from the latest
            if ended != "interrupted":
                for callback in callbacks:
                    callback.on_end(self, ended)
            return ended

    def _goes_on(self, settings: "_Intervals") -> bool:
        """Tell whether there is another step to do."""
        if self._reason is not None:
            return False
        if settings.epochs is not None and self.epoch >= settings.epochs:
            return False
        return settings.max_steps is None or self.step_count < self.began + settings.max_steps

    def _count_steps(self, settings: "_Intervals") -> int | None:
        """Return after how many steps training ends, None where that is not known."""
        ends = []
        if settings.max_steps is not None:
            ends.append(self.began + settings.max_steps)
        if settings.epochs is not None and self.source.steps_per_epoch is not None:
            ends.append(settings.epochs * self.source.steps_per_epoch)
        return min(ends, default=None)

    @property
    def _measures_epochs(self) -> bool:
        """Whether there is something to measure after an epoch."""
        return self.task is None and self.validation is not None

    def _is_measured(self) -> bool:
        """Whether the network was measured after the latest step."""
        return bool(self.evaluations) and self.evaluations[-1]["step"] == self.step_count

    def _hand_evaluation(
        self,
        callbacks: Sequence[Callback],
        evaluate_at: Sequence[Mapping[str, int]],
        shown: Progress,
    ) -> None:
        """Measure the network, keep the row, and hand it to callbacks."""
        self.training_step.settle()
        row = self._evaluate_data() if self.task is None else self._evaluate_all(evaluate_at)
        self.evaluations.append(row)
        row = row | {"seconds": self.seconds}
        shown.show_evaluation(row)
        for callback in callbacks:
            callback.on_evaluation(self, row)

    # ---- Files

    def save(self, path: PathLike) -> None:
        """Write all that is needed to go on exactly to a file: see :func:`ntm.training.state.write_state`."""
        write_state(self, path)

    def restore(self, path: PathLike) -> None:
        """Go on from a file of :meth:`save`: see :func:`ntm.training.state.read_state`."""
        read_state(self, path)

    # ---- Parts of the loop

    @contextmanager
    def _session(self, progress: Progress) -> Iterator[None]:
        """Count the seconds in this context, and show what steps have to compile."""
        self._progress, self._started = progress, time.monotonic()
        self._timed_sequences, self._timed_seconds = 0, 0.0
        try:
            yield
        finally:
            self._seconds, self._started, self._progress = self.seconds, None, None
            progress.close()

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step_count % every == 0

    def _is_found_solved(self) -> bool:
        """Tell whether the task is solved. It is measured only if the latest losses are low."""
        if not self._looks_solved():
            return False
        self.training_step.settle()
        return self.is_solved()

    def _looks_solved(self) -> bool:
        """Tell whether the latest losses are so low that it is worth to measure.

        Losses are bits, or squared errors. Where the task counts as solved by another measure, it is always worth it.
        """
        name, threshold = self.evaluator.solved
        if name != "bits" or not self.curriculum.at_end:
            return self.curriculum.at_end
        return latest_loss(self, 200) < 2 * threshold

    def _make_row(self, latest: Row, count: int) -> Row:
        """Return what loggers get after `count` steps, the latest of which gave a row."""
        where = {"epoch": self.epoch} if self.task is None else {"level": self.curriculum.level}
        since = np.array(self.losses[-count:])
        skipped = int(np.isnan(since).sum())
        speed = None
        if self._timed_seconds > 0:
            speed = self._timed_sequences / self._timed_seconds
        self._timed_sequences, self._timed_seconds = 0, 0.0
        return {
            "step": self.step_count,
            "sequences": self.num_sequences,
            "seconds": self.seconds,
            "sequences_per_second": speed,
            "loss": float(np.nanmean(since)) if skipped < len(since) else None,
            "norm": _finite_or_none(latest["norm"]),
            "rate": latest["rate"],
            **where,
            "skipped": skipped,
            "restarts": len(self.restarts),
        }

    def _evaluate_all(self, evaluate_at: Sequence[Mapping[str, int]]) -> Row:
        """Measure at each of some sizes, padded to one length, and return the row."""
        longest = self.count_steps(evaluate_at)
        row: Row = {"step": self.step_count, "sequences": self.num_sequences}
        for sizes in evaluate_at:
            where = _describe_sizes(sizes)
            measured = self.evaluator.evaluate(sizes, num_steps=longest)
            # Predictions that are not numbers measure infinite
            row |= {
                f"{name} at {where}": _finite_or_none(value) for name, value in measured.items()
            }
        return row

    def _evaluate_data(self) -> Row:
        """Measure on the validation data, and on a part of the training data."""
        row: Row = {"step": self.step_count, "sequences": self.num_sequences, "epoch": self.epoch}
        for name, source in self._measured.items():
            measured = self.evaluator.measure(source)
            row |= {f"{name} {key}": to_row(value) for key, value in measured.items()}
        return row

    # ---- State: see ntm.training.state, which does the work

    def get_state(self) -> tuple[dict[str, Array], Description]:
        """Return all that is needed to go on exactly: see :func:`ntm.training.state.get_state`."""
        return get_state(self)

    def set_state(self, arrays: Mapping[str, Array], description: Description) -> None:
        """Go on from a state of :meth:`get_state`: see :func:`ntm.training.state.set_state`."""
        set_state(self, arrays, description)


def _check_arguments(
    update: Any,
    schedule: Any,
    curriculum_options: Any,
    penalty: Any,
    rewind: Any,
    restarter: Any,
) -> None:
    """Raise a `TypeError` if one of these arguments of a trainer is of another type than expected."""
    if isinstance(update, np.ndarray | list):
        raise TypeError(
            "Trainer: update must be an update rule, not an array or a list: give inputs and targets as one tuple, "
            "Trainer(l_out, (x, y))"
        )
    expected = {
        "update": (callable(update), update, "an update rule, such as lasagne.updates.sgd"),
        "schedule": (
            schedule is None or callable(schedule),
            schedule,
            "a function from the step to a factor, such as ntm.training.make_schedule('cosine')",
        ),
        "curriculum_options": (
            curriculum_options is None or isinstance(curriculum_options, Mapping),
            curriculum_options,
            "a dict from names of options to values",
        ),
        "penalty": (
            isinstance(penalty, int | float) or getattr(penalty, "ndim", None) == 0,
            penalty,
            "a scalar expression or a number",
        ),
        "rewind": (isinstance(rewind, bool | np.bool_), rewind, "True or False"),
        "restarter": (
            restarter is None or isinstance(restarter, Restarter),
            restarter,
            "an ntm.training.Restarter",
        ),
    }
    for name, (fits, value, words) in expected.items():
        if not fits:
            raise TypeError(f"Trainer: {name} must be {words}, not {value!r}")


def _overrides(callback: Callback, method: str) -> bool:
    """Tell whether a callback does something when a method of callbacks is called."""
    return getattr(getattr(callback, method), "__func__", None) is not getattr(Callback, method)


def _finite_or_none(value: float) -> float | None:
    """Return a number as JSON takes it: None stands for what is not finite."""
    return value if np.isfinite(value) else None


def _join(first: Callable[[], object] | None, second: Callable[[], object]) -> Callable[[], object]:
    """Return a function that calls both."""

    def call() -> None:
        if first is not None:
            first()
        second()

    return call


def _describe_sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def _is_task(data: Any) -> bool:
    """Tell whether a network is to be trained on a task, even if it is given wrongly: by its name or its class."""
    if isinstance(data, str):
        is_path = os.path.exists(data) or os.path.basename(data) != data or "." in data
        return not is_path
    return isinstance(data, Task) or (isinstance(data, type) and issubclass(data, Task))


def _is_iterable(data: Any) -> bool:
    """Tell whether data are batches that come one after another, of which the first does not show all classes."""
    known = str | Path | tuple | list | Mapping | Dataset | Source
    return not isinstance(data, known) and not is_map_style(data)


def _warn_of_one_hot(data: Dataset, num_outputs: int | None) -> None:
    """Warn if targets that are taken as one label a step look like one class a sequence, one-hot."""
    if not data.layout.per_step or data.longest != num_outputs:
        return
    targets = data.take(range(min(len(data), 64))).targets
    if targets.ndim == 2 and (targets.sum(axis=1) == 1).all() and targets.max() == 1:
        warnings.warn(
            f"Trainer: targets (N, {num_outputs}) are taken as a label for each of {num_outputs} steps, and the "
            f"network gives {num_outputs} outputs: if they are one class a sequence, one-hot, give "
            "Dataset(..., per='sequence')",
            stacklevel=4,
        )


def _describe_data(data: Any) -> str:
    """Return what data are, for messages."""
    return type(data).__name__ if isinstance(data, Task) else f"{type(data).__name__} data"


class _Intervals(NamedTuple):
    """How long and how often :meth:`Trainer.train` does what."""

    max_steps: int | None
    epochs: int | None
    solve_every: int
    evaluate_every: int
    log_every: int
    save_every: int

    def check(self, is_task: bool, solve_every: int | None) -> None:
        """Raise a `ValueError` unless these are numbers that fit."""
        for name, value in self._asdict().items():
            if value is not None or name not in ("max_steps", "epochs"):
                Number(int, 0).check(f"Trainer.train: {name}", value)
        if is_task and self.epochs is not None:
            raise ValueError(
                "Trainer.train: epochs are for data; a task has no end: give max_steps"
            )
        if not is_task and solve_every:
            raise ValueError("Trainer.train: solve_every is for tasks, not for data of your own")
        if self.max_steps is None and self.epochs is None:
            expected = "max_steps" if is_task else "max_steps or epochs"
            raise ValueError(f"Trainer.train: give {expected}: when training ends")
