"""Training: a network, a task and an update rule, step after step, to be stopped and resumed at any step.

The trainer decides which batch comes next and what happens after a step. Around it stand :mod:`ntm.training.step`
(the step itself), :mod:`ntm.training.evaluator` (how good the network is) and :mod:`ntm.training.state` (what a
checkpoint holds).

Notation: B sequences in a batch, T steps, F input and O output features.
"""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from pytensor.compile.mode import Mode, get_mode

from lasagne.layers import Layer
from ntm.arguments import Number
from ntm.interruption import stop_on_signals
from ntm.tasks import Batch, Task
from ntm.training.curricula import make_curriculum
from ntm.training.division import AUTO, check_division
from ntm.training.evaluator import Evaluator
from ntm.training.inputs import NetworkInputs
from ntm.training.losses import check_last_nonlinearity, get_unit
from ntm.training.progress import Progress
from ntm.training.recovery import Restarter, Rewinder, latest_loss
from ntm.training.schedules import Schedule, constant
from ntm.training.state import Description, get_state, set_state
from ntm.training.step import StepResult, TrainingError, TrainingStep, UpdateRule
from ntm.typing import Array, ArrayLike, Tensor
from ntm.updates import centered_rmsprop

__all__ = ["Logger", "Row", "Trainer", "TrainingError"]

#: How many steps in a row may be skipped before training gives up
MAX_SKIPPED_IN_A_ROW = 100

#: What is known after some steps, or after an evaluation: names and values that JSON takes
Row: TypeAlias = dict[str, Any]
#: Takes a row, and writes the row somewhere: see :mod:`ntm.training.loggers`
Logger: TypeAlias = Callable[[Row], object]


class Trainer:
    """Trains a network on a task.

    Parameters
    ----------
    l_out : Layer
        The last layer of the network, (B, T, O): logits where the task's targets are bits, classes or digits, else
        numbers. The network has one input. An input layer that is the `mask_input` of layers gets a mask (B, T), one up
        to the end of a sequence and zero in its padding: :attr:`ntm.tasks.Batch.step_mask`.
    task : Task
    update : callable
        An update rule, such as those of :mod:`lasagne.updates`: ``update(grads, params, learning_rate=...)``.
    learning_rate : float
    schedule : callable, optional
        The learning-rate schedule: from the step to a factor of the learning rate, see :mod:`ntm.training.schedules`.
    clip_value : float, optional
        Clips each element of a gradient to this size.
    clip_norm : float, optional
        Scales all gradients down to this norm of all gradients together, if their norm is larger.
    curriculum : str
        One of :data:`ntm.training.CURRICULA`.
    curriculum_options : dict, optional
        Arguments of that curriculum.
    penalty : scalar expression
        Added to the loss, for example by :mod:`lasagne.regularization`.
    rewind : bool
        Whether to go back to the best parameters when the loss rises again: see :class:`ntm.training.Rewinder`.
    restarter : ntm.training.Restarter, optional
        Re-initialises the network when it has not learnt in time.
    solved_below : float, optional
        The task counts as solved below this value of its measure, instead of below the task's own threshold.
    num_buckets : int
        Batches are padded to one of so many lengths, so that the step is compiled for few lengths. Where a curriculum
        grows, to so many lengths for each power of two of its levels.
    seed : int
        Of the curriculum's choices and of evaluations.
    mode : pytensor Mode or str, optional
        What functions are compiled with, :func:`ntm.get_mode` unless given.
    block_size : int, 'auto' or None
        A batch runs in blocks of so many sequences at most, whose gradients are added up. Results change by rounding;
        dropout draws other numbers. ``'auto'`` chooses blocks that fit the processor's cache; None is the whole batch.
    devices : int, 'auto' or 'all'
        Over how many CPU cores or GPUs a batch is divided. ``'auto'`` takes the CPU cores that this process may use, if
        the batch has a block for each, and one GPU. JAX fixes how many CPU devices there are when it starts: make the
        trainer before anything is compiled, or call :func:`lasagne.devices.start_devices` at the top of the program.

    Attributes
    ----------
    training_step : TrainingStep
        Changes the parameters.
    evaluator : Evaluator
        Measures the network on the task.
    step_count : int
        Training steps done.
    seconds : float
        Time spent in :meth:`train`, in seconds. Set it to go on counting from an earlier session.
    losses : list of float
        Of each step: bits per sequence, or the squared error of numbers; NaN where a step was skipped.
    skipped : list of dict
        Steps whose loss or gradient was not finite: ``step``, ``loss`` (None if not finite), and the names of the
        ``parameters`` whose gradient was not finite.
    evaluations : list of dict
        What was measured in :meth:`train`, and at which step.
    solved_at : int or None
        The step after which the task was found to be solved.

    Raises
    ------
    TypeError, ValueError
        If an argument is none that fits: the message says what was given and what was expected.
    """

    def __init__(
        self,
        l_out: Layer,
        task: Task,
        update: UpdateRule = centered_rmsprop,
        learning_rate: float = 1e-4,
        schedule: Schedule | None = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        curriculum: str = "uniform",
        curriculum_options: Mapping[str, Any] | None = None,
        penalty: Tensor | float = 0,
        rewind: bool = True,
        restarter: Restarter | None = None,
        solved_below: float | None = None,
        num_buckets: int = 1,
        seed: int = 0,
        mode: Mode | str | None = None,
        block_size: int | str | None = AUTO,
        devices: int | str = AUTO,
    ) -> None:
        NetworkInputs(l_out, task, "Trainer")
        check_last_nonlinearity(l_out, task, "Trainer")
        _check_arguments(update, schedule, curriculum_options, penalty, rewind, restarter)
        check_division("Trainer", block_size, devices)
        self.l_out, self.task = l_out, task
        self.seed = Number(int, 0).check("Trainer: seed", seed)
        self.learning_rate = Number(float, 0).check("Trainer: learning_rate", learning_rate)
        self.num_buckets = Number(int, 1).check("Trainer: num_buckets", num_buckets)
        self.schedule = schedule or constant()
        for name, value in (("clip_value", clip_value), ("clip_norm", clip_norm)):
            if value is not None:
                Number(float, above=0).check(f"Trainer: {name}", value)
        if solved_below is not None:
            Number(float).check("Trainer: solved_below", solved_below)
        mode = mode if mode is None else get_mode(mode)
        self.evaluator = Evaluator(l_out, task, mode, self.seed, solved_below)
        self.mode = self.evaluator.mode
        rng = np.random.default_rng([self.seed, 0])
        self.curriculum = make_curriculum(curriculum, task.sizes, rng, curriculum_options)
        self.training_step = TrainingStep(
            l_out,
            task,
            update,
            penalty,
            clip_value,
            clip_norm,
            mode=self.mode,
            block_size=block_size,
            devices=devices,
        )
        self.params = self.training_step.params
        self.rewinder = Rewinder() if rewind else None
        self.restarter = restarter

        self.step_count = 0
        self.losses: list[float] = []
        self.skipped: list[Row] = []
        self.evaluations: list[Row] = []
        self.solved_at: int | None = None
        # The rest of the state that is nothing to users: ntm.training.state saves it
        self.skipped_in_a_row = 0
        self.best_values: dict[str, Array] = {}
        if restarter is not None:
            self._initial_curriculum = copy.deepcopy(self.curriculum.get_state())
            self._initial_optimizer = {
                name: value
                for name, value in self.training_step.get_values().items()
                if name.startswith("optimizer/")
            }
        # The time of earlier calls of train(), and when the present one began
        self._seconds = 0.0
        self._started: float | None = None
        # How long the steps since the last row took, without those that had to be compiled
        self._timed_steps, self._timed_seconds = 0, 0.0
        self._progress: Progress | None = None

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
        return self.step_count * self.task.batch_size

    @property
    def seconds(self) -> float:
        """Time spent in :meth:`train`, in seconds."""
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self._seconds + running

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = seconds

    @property
    def unit(self) -> float:
        """Nats per unit of the reported loss: ln 2 for bits, 1 for squared errors."""
        return get_unit(self.task.output)

    def sample(self) -> Batch:
        """Draw the next batch, of the sizes that the curriculum wants."""
        # The step is compiled for longer batches only when the curriculum reaches the next power of two
        reach = min(2 ** (self.curriculum.reach - 1).bit_length(), self.curriculum.num_levels)
        batch = self.task.sample(**self.curriculum.draw(self.task.batch_size))
        longest = self.task.num_steps(**self.curriculum.sizes_at(reach))
        return batch.pad_to_bucket(longest, self.num_buckets)

    def step(self) -> Row:
        """Train on one batch.

        Returns
        -------
        dict
            ``loss``, in bits per sequence or squared error; ``norm`` of the gradient before clipping; ``rate``, the
            learning rate.

        Raises
        ------
        TrainingError
            If many steps in a row had a loss or a gradient that was not finite.
        ValueError
            If the targets of the batch are not finite where they count.
        """
        if self.restarter is not None and self.restarter.must_restart(self):
            self._restart(self.restarter)
        batch = self.sample()
        rate = self.learning_rate * self.schedule(self.step_count - self.began)
        if self.rewinder is not None:
            rate *= self.rewinder.rate
        before = self.evaluator.compute_loss(batch) if self.curriculum.needs_gain else None
        result = self._run_step(batch, rate)
        self.step_count += 1
        loss = result.loss / self.unit
        self.losses.append(loss if result.is_finite else np.nan)
        if result.is_finite:
            self.skipped_in_a_row = 0
            gain = None
            if before is not None:
                after = self.evaluator.compute_loss(batch)
                gain = (before - after) / self.unit / batch.inputs.shape[1]
            self.curriculum.update(loss, gain)
        else:
            batch.check_targets(type(self.task).__name__)
            self._skip(loss, result.finite_gradients)
        self._rewind()
        return {"loss": loss, "norm": result.norm, "rate": float(np.float32(rate))}

    def _run_step(self, batch: Batch, rate: float) -> StepResult:
        """Call the training step; say so if it has to be compiled, and time it if not."""
        must_compile = self.training_step.must_compile(batch)
        start = time.monotonic()
        if must_compile and self._progress is not None:
            with self._progress.compiling(*batch.inputs.shape[:2]):
                return self.training_step(batch, rate)
        result = self.training_step(batch, rate)
        if not must_compile:
            self._timed_steps += 1
            self._timed_seconds += time.monotonic() - start
        return result

    def _rewind(self) -> None:
        """Keep the parameters and the optimiser's state, or go back to those kept, as the rewinder says."""
        verdict = None if self.rewinder is None else self.rewinder.decide(self)
        if verdict == "keep":
            self.best_values = self.training_step.get_values()
        elif verdict == "back":
            self.training_step.set_values(self.best_values)

    def _restart(self, restarter: Restarter) -> None:
        """Re-initialise the network; the optimiser, the curriculum and the rewinder start afresh, counts go on."""
        restarter.restarts.append(self.step_count)
        values = restarter.redraw(len(restarter.restarts))
        for param, value in zip(self.params, values, strict=True):
            param.set_value(np.asarray(value, param.dtype))
        self.training_step.set_values(self._initial_optimizer)
        self.curriculum.set_state(copy.deepcopy(self._initial_curriculum))
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

    # ---- Measures: see Evaluator, which does the work

    def predict(
        self, inputs: ArrayLike, chunk: int = 100, step_mask: ArrayLike | None = None
    ) -> Array:
        """Predict the targets of sequences: see :meth:`Evaluator.predict`."""
        return self.evaluator.predict(inputs, chunk, step_mask)

    def measure(self, batch: Batch, chunk: int = 100) -> dict[str, float]:
        """Measure a batch: see :meth:`Evaluator.measure`."""
        return self.evaluator.measure(batch, chunk)

    def evaluate(
        self,
        sizes: Mapping[str, int] | None = None,
        num_sequences: int = 100,
        num_steps: int | None = None,
        draw: int = 0,
    ) -> dict[str, float]:
        """Measure new sequences, the same at each call: see :meth:`Evaluator.evaluate`."""
        return self.evaluator.evaluate(sizes, num_sequences, num_steps, draw)

    def count_steps(self, sizes: Iterable[Mapping[str, int]]) -> int | None:
        """Return the steps of the longest of some sizes: see :meth:`Evaluator.count_steps`."""
        return self.evaluator.count_steps(sizes)

    def look_inside(self, inputs: ArrayLike) -> list[dict[str, Array]]:
        """Trace what heads and memories do with sequences: see :meth:`Evaluator.look_inside`."""
        return self.evaluator.look_inside(inputs)

    def is_solved(self, num_sequences: int = 2000) -> bool:
        """Tell whether the task is solved, by sequences that are new at each step: see :meth:`Evaluator.is_solved`."""
        return self.evaluator.is_solved(num_sequences, draw=1 + self.step_count)

    # ---- The loop

    def train(
        self,
        max_steps: int,
        solve_every: int = 200,
        evaluate_every: int = 0,
        evaluate_at: Iterable[Mapping[str, int]] = (),
        log_every: int = 100,
        loggers: Iterable[Logger] = (),
        save_every: int = 1000,
        save: Callable[[], object] | None = None,
        progress: bool = True,
    ) -> str:
        """Train until the task is solved, or `max_steps` are done, or the process is told to stop.

        Ctrl-C, SIGTERM and SIGHUP stop training after the present step, and the state is saved.

        Parameters
        ----------
        max_steps : int
            Counted from the start of the run, a resumed run included, or from the last restart.
        solve_every : int
            After how many steps to find out whether the task is solved, and to stop if so; 0 for never.
        evaluate_every : int
            After how many steps to evaluate; 0 for never.
        evaluate_at : list of dict
            Sizes to evaluate at.
        log_every : int
            After how many steps each logger gets a row; 0 for never.
        loggers : list of callables
            Each takes a dict. A row of training has ``step``, ``sequences``, ``seconds`` (spent in training),
            ``sequences_per_second`` (since the last row, without compilation and evaluations; None if every step was
            compiled), ``loss`` (the mean since the last row), ``norm``, ``rate``, ``level``, ``skipped`` and
            ``restarts``. A row of an evaluation has ``step``, ``sequences``, ``seconds`` and the measures at each of
            the sizes.
        save_every : int
            After how many steps to save; 0 for the end only.
        save : callable, optional
            Called to save, and once more at the end.
        progress : bool
            Whether to show progress on standard error: a bar in a terminal, else a line now and then.

        Returns
        -------
        str
            Why training ended: 'solved', 'done' or 'interrupted'.
        """
        loggers, evaluate_at = list(loggers), list(evaluate_at)
        counts = {
            "max_steps": max_steps,
            "solve_every": solve_every,
            "evaluate_every": evaluate_every,
            "log_every": log_every,
            "save_every": save_every,
        }
        for name, value in counts.items():
            Number(int, 0).check(f"Trainer.train: {name}", value)
        for each in [*loggers, *([] if save is None else [save])]:
            if not callable(each):
                raise TypeError(f"Trainer.train: loggers and save must be callable, not {each!r}")
        self.count_steps(evaluate_at)  # Raises an error for sizes that the task does not have
        ended = "done" if self.solved_at is None else "solved"
        shown = Progress(self.began + max_steps, self.step_count, progress)
        with stop_on_signals() as stop, self._session(shown):
            while (
                ended == "done" and self.step_count < self.began + max_steps and not stop.is_set()
            ):
                latest = self.step()
                shown.advance(self.began + max_steps)
                if self._is_due(log_every):
                    row = self._make_row(latest, log_every)
                    shown.show(row, self.began + max_steps)
                    _hand_to(loggers, row)
                if self._is_due(evaluate_every):
                    row = self._evaluate_all(evaluate_at) | {"seconds": self.seconds}
                    _hand_to(loggers, row)
                if self._is_due(solve_every) and self._looks_solved() and self.is_solved():
                    self.solved_at = self.step_count
                    ended = "solved"
                if save is not None and self._is_due(save_every):
                    with stop.saving():
                        save()
            if save is not None and not self._is_due(save_every):
                with stop.saving():
                    save()
            return "interrupted" if stop.is_set() else ended

    @contextmanager
    def _session(self, progress: Progress) -> Iterator[None]:
        """Count the seconds in this context, and show what steps have to compile."""
        self._progress, self._started = progress, time.monotonic()
        self._timed_steps, self._timed_seconds = 0, 0.0
        try:
            yield
        finally:
            self._seconds, self._started, self._progress = self.seconds, None, None
            progress.close()

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step_count % every == 0

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
        since = np.array(self.losses[-count:])
        skipped = int(np.isnan(since).sum())
        speed = None
        if self._timed_seconds > 0:
            speed = self._timed_steps * self.task.batch_size / self._timed_seconds
        self._timed_steps, self._timed_seconds = 0, 0.0
        return {
            "step": self.step_count,
            "sequences": self.num_sequences,
            "seconds": self.seconds,
            "sequences_per_second": speed,
            "loss": float(np.nanmean(since)) if skipped < len(since) else None,
            "norm": _finite_or_none(latest["norm"]),
            "rate": latest["rate"],
            "level": self.curriculum.level,
            "skipped": skipped,
            "restarts": len(self.restarts),
        }

    def _evaluate_all(self, evaluate_at: Sequence[Mapping[str, int]]) -> Row:
        """Measure at each of some sizes, padded to one length; keep and return the row."""
        longest = self.count_steps(evaluate_at)
        row: Row = {"step": self.step_count, "sequences": self.num_sequences}
        for sizes in evaluate_at:
            where = ", ".join(f"{name} {size}" for name, size in sizes.items())
            measured = self.evaluator.evaluate(sizes, num_steps=longest)
            # Predictions that are not numbers measure infinite
            row |= {
                f"{name} at {where}": _finite_or_none(value) for name, value in measured.items()
            }
        self.evaluations.append(row)
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


def _finite_or_none(value: float) -> float | None:
    """Return a number as JSON takes it: None stands for what is not finite."""
    return value if np.isfinite(value) else None


def _hand_to(loggers: Iterable[Logger], row: Row) -> None:
    for logger in loggers:
        logger(row)
