"""Training: a network, a task and an update rule, one step after another, to be stopped and resumed at any of them.

Notation: B sequences in a batch, T steps, F input and O output features.
"""

import copy
from collections.abc import Iterable, Mapping

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.random.type import RandomType
from tqdm import tqdm

from lasagne._norms import get_total_norm
from lasagne.layers import get_all_params, get_output
from lasagne.updates import get_or_compute_grads, total_norm_constraint
from lasagne.utils import check_param_value
from ntm.interruption import stop_on_signals
from ntm.serialization.encoding import check_finite
from ntm.tasks import Batch
from ntm.training.curricula import make_curriculum
from ntm.training.evaluator import Evaluator
from ntm.training.inputs import NetworkInputs
from ntm.training.losses import check_last_nonlinearity, reduce_losses, sequence_loss
from ntm.training.recovery import Rewinder, latest_loss
from ntm.training.schedules import constant
from ntm.training.state_checks import check_state
from ntm.typing import Array, ArrayLike
from ntm.updates import centered_rmsprop

#: How many steps in a row may be skipped before training gives up
MAX_SKIPPED_IN_A_ROW = 100


class TrainingError(RuntimeError):
    """Training cannot go on, because numbers are no longer finite."""


class Trainer:
    """A network that learns a task.

    Parameters
    ----------
    l_out : Layer
        Gives (B, T, O): logits where the task's targets are bits, classes or digits, else numbers. Its network has one
        input; and an input layer that is the `mask_input` of layers gets a mask (B, T) that is one up to the end of a
        sequence, and zero in its padding: :attr:`ntm.tasks.Batch.step_mask`.
    task : Task
    update : callable
        An update rule, such as those of :mod:`lasagne.updates`: ``update(grads, params, learning_rate=...)``.
    learning_rate : float
    schedule : callable, optional
        From the step to a factor of the learning rate, see :mod:`ntm.training.schedules`.
    clip_value : float, optional
        Largest size of an element of a gradient.
    clip_norm : float, optional
        Largest norm of all gradients together.
    curriculum : str
        One of :data:`ntm.training.CURRICULA`.
    curriculum_options : dict, optional
    penalty : scalar expression, optional
        Added to the loss, for example by :mod:`lasagne.regularization`.
    rewind : bool
        Whether training that falls back after it had learnt is taken back to where it was best: see
        :class:`ntm.training.Rewinder`.
    restarter : ntm.training.Restarter, optional
        Begins anew, with other parameters, when nothing has been learnt.
    solved_below : float, optional
        What the measure by which the task counts as solved has to be, instead of the task's own threshold.
    num_buckets : int
        To how many lengths batches are padded; each is compiled for when it first comes. Where a curriculum grows, it
        is so many for each power of two of the levels that it reaches.
    seed : int
        Of the curriculum's choices and of evaluations.
    mode : pytensor Mode, optional

    Attributes
    ----------
    evaluator : Evaluator
        Measures the network on the task.
    step_count : int
        Training steps done.
    losses : list of float
        Of each step: bits a sequence, or the squared error of numbers; NaN where a step was skipped.
    skipped : list of dict
        Steps whose loss or gradient was not finite: step, loss, None if it was not finite, and the parameters
        concerned.
    evaluations : list of dict
        What :meth:`evaluate` measured, and at which step.
    solved_at : int or None
        The step after which the task was found to be solved.
    """

    def __init__(
        self,
        l_out,
        task,
        update=centered_rmsprop,
        learning_rate=1e-4,
        schedule=None,
        clip_value=None,
        clip_norm=None,
        curriculum="uniform",
        curriculum_options=None,
        penalty=0,
        rewind=True,
        restarter=None,
        solved_below=None,
        num_buckets=1,
        seed=0,
        mode=None,
    ):
        if not callable(update):
            raise TypeError(
                f"Trainer: update must be an update rule, such as lasagne.updates.sgd, not {update!r}"
            )
        self._network = NetworkInputs(l_out, task, "Trainer")
        check_last_nonlinearity(l_out, task, "Trainer")
        self.evaluator = Evaluator(l_out, task, mode, seed, solved_below)
        self.mode = self.evaluator.mode
        self.l_out, self.task, self.seed = l_out, task, seed
        self.learning_rate = learning_rate
        self.schedule = schedule or constant()
        self.num_buckets = num_buckets
        self.params = get_all_params(l_out)
        rng = np.random.default_rng([seed, 0])
        self.curriculum = make_curriculum(curriculum, task.sizes, rng, curriculum_options)

        self.step_count = 0
        self.losses: list[float] = []
        self.skipped: list[dict] = []
        self.evaluations: list[dict] = []
        self.solved_at: int | None = None
        self._skipped_in_a_row = 0
        self.rewinder = Rewinder() if rewind else None
        self.restarter = restarter
        self._kept: dict[str, np.ndarray] = {}

        self._make_functions(update, clip_value, clip_norm, penalty)
        if restarter is not None:
            self._initial_curriculum = copy.deepcopy(self.curriculum.get_state())
            self._initial_optimizer = {
                name: np.array(variable.get_value())
                for name, variable in self._variables.items()
                if variable not in self.params
            }

    def _make_functions(self, update, clip_value, clip_norm, penalty):
        x, *step_masks = self._network.variables
        targets, mask = pt.tensor3("targets"), pt.matrix("mask")
        outputs = get_output(self.l_out)
        loss = reduce_losses(sequence_loss(self.task.output, outputs, targets, mask))
        self._inputs = [x, targets, mask, *step_masks]
        trainable = get_all_params(self.l_out, trainable=True)
        grads = list(get_or_compute_grads(loss + penalty, trainable))
        scaled_norm, scale = get_total_norm(grads)
        norm = scaled_norm / scale
        finite_grads = pt.stack([pt.isfinite(grad).all() for grad in grads])
        finite = pt.isfinite(loss) & finite_grads.all()
        clipped = grads
        if clip_value is not None:
            clipped = [pt.clip(grad, -clip_value, clip_value) for grad in clipped]
        if clip_norm is not None:
            clipped = total_norm_constraint(clipped, clip_norm)
        rate = pt.scalar("learning_rate")
        updates = update(clipped, trainable, learning_rate=rate)
        # All that the run's state consists of: parameters, and what the update rule keeps from step to step
        kinds = {
            "parameter": self.params,
            "optimizer": [variable for variable in updates if variable not in self.params],
        }
        self._variables = {
            f"{kind}/{k:03d} {variable.name or ''}".strip(): variable
            for kind, variables in kinds.items()
            for k, variable in enumerate(variables)
        }
        updates = {variable: pt.switch(finite, new, variable) for variable, new in updates.items()}

        self._trainable = trainable
        self._train = pytensor.function(
            [*self._inputs, rate],
            [loss, norm, finite, finite_grads],
            updates=updates,
            mode=self.mode,
        )

    # ---- one step

    @property
    def restarts(self):
        """After which steps training began anew: a list."""
        return [] if self.restarter is None else self.restarter.restarts

    @property
    def began(self):
        """After how many steps training began with the parameters that it has: 0, unless it began anew."""
        return self.restarts[-1] if self.restarts else 0

    @property
    def num_sequences(self):
        """Sequences seen so far."""
        return self.step_count * self.task.batch_size

    @property
    def unit(self):
        """What a loss of one is in: nats of a bit, or one."""
        return 1.0 if self.task.output == "numbers" else float(np.log(2))

    def sample(self):
        """The next batch, of the sizes that the curriculum wants."""
        # Lengths are compiled for again only when the curriculum reaches the next power of two
        reach = min(2 ** (self.curriculum.reach - 1).bit_length(), self.curriculum.num_levels)
        batch = self.task.sample(**self.curriculum.draw(self.task.batch_size))
        longest = self.task.num_steps(**self.curriculum.sizes_at(reach))
        return batch.pad_to_bucket(longest, self.num_buckets)

    def step(self):
        """Train on one batch.

        Returns
        -------
        dict
            ``loss``, in bits a sequence or squared error, and ``norm`` of the gradient before clipping.

        Raises
        ------
        TrainingError
            If many steps in a row had a loss or a gradient that was not finite.
        """
        if self.restarter is not None and self.restarter.look(self):
            self._begin_anew()
        batch = self.sample()
        rate = self.learning_rate * self.schedule(self.step_count - self.began)
        if self.rewinder is not None:
            rate *= self.rewinder.rate
        rate = np.asarray(rate, "float32")
        arrays = [*batch, *self._network.cast_step_mask(batch.step_mask)]
        before = self.evaluator.compute_loss(batch) if self.curriculum.needs_gain else None
        loss, norm, finite, finite_grads = map(np.asarray, self._train(*arrays, rate))
        self.step_count += 1
        loss = float(loss) / self.unit
        self.losses.append(loss if finite else np.nan)
        if finite:
            self._skipped_in_a_row = 0
            gain = None
            if before is not None:
                after = self.evaluator.compute_loss(batch)
                gain = (before - after) / self.unit / batch.inputs.shape[1]
            self.curriculum.update(loss, gain)
        else:
            self._skip(loss, finite_grads)
        self._rewind()
        return {"loss": loss, "norm": float(norm), "rate": float(rate)}

    def _rewind(self):
        """Keep the parameters and the update rule's state, or put them back, as the rewinder says."""
        verdict = None if self.rewinder is None else self.rewinder.look(self)
        if verdict == "keep":
            self._kept = {name: np.array(v.get_value()) for name, v in self._variables.items()}
        elif verdict == "back":
            for name, variable in self._variables.items():
                variable.set_value(self._kept[name])

    def _begin_anew(self):
        """Draw other parameters, and forget what training has come to; what is counted and drawn goes on."""
        self.restarts.append(self.step_count)
        values = self.restarter.redraw(len(self.restarts))
        for param, value in zip(self.params, values, strict=True):
            param.set_value(np.asarray(value, param.dtype))
        for name, value in self._initial_optimizer.items():
            self._variables[name].set_value(value)
        self.curriculum.set_state(copy.deepcopy(self._initial_curriculum))
        if self.rewinder is not None:
            self.rewinder.reset()
        self._kept = {}
        self._skipped_in_a_row = 0

    def _skip(self, loss, finite_grads):
        """Note a step that was not taken, and in which parameters its gradient was not finite."""
        names = [
            param.name or f"parameter {k}"
            for k, (param, finite) in enumerate(zip(self._trainable, finite_grads, strict=True))
            if not finite
        ]
        self.skipped.append(
            {"step": self.step_count, "loss": _finite_or_none(loss), "parameters": names}
        )
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row < MAX_SKIPPED_IN_A_ROW:
            return
        if self.restarter is not None and not self.restarter.is_spent:
            self._begin_anew()
        else:
            where = "all of them" if len(names) == len(finite_grads) else ", ".join(names) or "none"
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

    # ---- the loop

    def train(
        self,
        max_steps,
        solve_every=200,
        evaluate_every=0,
        evaluate_at=(),
        log_every=100,
        loggers=(),
        save_every=1000,
        save=None,
        progress=True,
    ):
        """Train until the task is solved, or `max_steps` are done, or the process is told to stop.

        Ctrl-C, SIGTERM and SIGHUP stop it after the step that it is in, and it saves.

        Parameters
        ----------
        max_steps : int
            Counted from the start of the run, a resumed one included, or from where it last began anew.
        solve_every : int
            After how many steps to look whether the task is solved, and stop if so; 0 for never.
        evaluate_every : int
            After how many steps to evaluate; 0 for never.
        evaluate_at : list of dict
            Sizes to evaluate at.
        log_every : int
            After how many steps each logger is handed a row.
        loggers : list of callables
            Each takes a dict: step, sequences, loss (the mean since the last row), norm, rate, level, skipped,
            restarts; or, where it was evaluated, step, sequences and the measures at each of the sizes.
        save_every : int
        save : callable, optional
            Called after so many steps, and at the end.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        str
            Why it ended: 'solved', 'done' or 'interrupted'.
        """
        bar = tqdm(
            total=self.began + max_steps,
            initial=self.step_count,
            unit="step",
            disable=not progress,
            leave=False,
        )
        ended = "done" if self.solved_at is None else "solved"
        with stop_on_signals() as stop, bar:
            while (
                ended == "done" and self.step_count < self.began + max_steps and not stop.is_set()
            ):
                latest = self.step()
                bar.total = self.began + max_steps
                bar.update()
                if self._is_due(log_every):
                    row = self._make_row(latest, log_every)
                    shown = "not finite" if row["loss"] is None else f"{row['loss']:.3g}"
                    bar.set_description(f"loss {shown}", refresh=False)
                    _hand_to(loggers, row)
                if self._is_due(evaluate_every):
                    _hand_to(loggers, self._evaluate_all(evaluate_at))
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

    def _is_due(self, every):
        return every > 0 and self.step_count % every == 0

    def _looks_solved(self):
        """Whether the latest losses are so low that it is worth a proper look.

        A loss counts in bits, or as a squared error, whereas the task's measure may be another; then it is always worth
        it.
        """
        name, threshold = self.evaluator.solved
        if name != "bits" or not self.curriculum.at_end:
            return self.curriculum.at_end
        return latest_loss(self, 200) < 2 * threshold

    def _make_row(self, latest, count):
        since = np.array(self.losses[-count:])
        skipped = int(np.isnan(since).sum())
        return {
            "step": self.step_count,
            "sequences": self.num_sequences,
            "loss": float(np.nanmean(since)) if skipped < len(since) else None,
            "norm": _finite_or_none(latest["norm"]),
            "rate": latest["rate"],
            "level": self.curriculum.level,
            "skipped": skipped,
            "restarts": len(self.restarts),
        }

    def _evaluate_all(self, evaluate_at):
        """Measure at each of some sizes, padded to one length; keep and return the row."""
        longest = self.count_steps(evaluate_at)
        row = {"step": self.step_count, "sequences": self.num_sequences}
        for sizes in evaluate_at:
            where = ", ".join(f"{name} {size}" for name, size in sizes.items())
            measured = self.evaluator.evaluate(sizes, num_steps=longest)
            # Predictions that are no numbers measure infinite
            row |= {
                f"{name} at {where}": _finite_or_none(value) for name, value in measured.items()
            }
        self.evaluations.append(row)
        return row

    # ---- state

    def get_state(self):
        """All that is needed to go on exactly as if there had been no end.

        Returns
        -------
        arrays : dict from name to array
            Parameters, state of the update rule, losses.
        about : dict
            What JSON takes: counts, curriculum, evaluations, and all random generators, those inside the network too.

        Raises
        ------
        TrainingError
            If a number among the parameters or in the update rule's state is not finite.
        """
        arrays = {}
        for name, variable in self._variables.items():
            arrays[name] = np.asarray(variable.get_value(borrow=True))
            if not np.isfinite(arrays[name]).all():
                raise TrainingError(f"{name} is not finite after step {self.step_count}: not saved")
        arrays |= {f"kept {name}": array for name, array in self._kept.items()}
        arrays["losses"] = np.array(self.losses)
        return arrays, self._describe_state()

    def _describe_state(self):
        """What there is of the state besides arrays."""
        return {
            "step": self.step_count,
            "task": self.task.get_state(),
            "rewinder": None if self.rewinder is None else self.rewinder.get_state(),
            "restarts": self.restarts,
            "curriculum": self.curriculum.get_state(),
            "curriculum_rng": self.curriculum.rng.bit_generator.state,
            "network_rngs": [_encode_rng(storage[0]) for storage in self._find_rngs()],
            "skipped": self.skipped,
            "skipped_in_a_row": self._skipped_in_a_row,
            "evaluations": self.evaluations,
            "solved_at": self.solved_at,
        }

    def set_state(self, arrays, about):
        """Go on from a state of :meth:`get_state`.

        Raises
        ------
        ValueError
            If it is the state of another network, update rule or curriculum; nothing is changed then.
        """
        own = self._describe_state()
        about = {"restarts": [], **about}  # there are none in states of before there were any
        rngs = ("task", "curriculum_rng", "network_rngs")  # checked where they are set
        for name in ("rewinder", *rngs):
            if name not in about:
                raise ValueError(f"the state has no {name}")
        if about["rewinder"] is None or own["rewinder"] is None:
            own["rewinder"] = about["rewinder"]
        one, other = (
            {name: value for name, value in state.items() if name not in rngs}
            for state in (about, own)
        )
        check_state(one, other, "the state")
        level, levels = about["curriculum"]["level"], self.curriculum.num_levels
        if (
            not 1 <= level <= levels
            or len(about["curriculum"].get("log_weights", range(levels))) != levels
        ):
            raise ValueError(f"the state is of another curriculum: {levels} levels, not {level}")
        restarts = list(about["restarts"])
        if restarts and self.restarter is None:
            raise ValueError(
                f"the state is of training that began anew {len(restarts)} times, and this trainer has no restarter"
            )
        losses, kept, values = self._check_arrays(dict(arrays), about["step"])
        if about["rewinder"] is not None and about["rewinder"]["best"] is not None and not kept:
            raise ValueError("the state has nothing of the best step that the rewinder tells")
        storages, network_rngs = self._find_rngs(), self._decode_rngs(about)
        curriculum_rng = copy.deepcopy(self.curriculum.rng)
        try:
            curriculum_rng.bit_generator.state = about["curriculum_rng"]
            self.task.set_state(about["task"])
        except _DAMAGED as error:
            self.task.set_state(own["task"])
            raise ValueError(f"the state of a random generator is damaged: {error}") from error

        for name, value in values.items():
            self._variables[name].set_value(value)
        for storage, rng in zip(storages, network_rngs, strict=True):
            storage[0] = rng
        self._kept = kept
        if self.rewinder is not None and about["rewinder"] is not None:
            self.rewinder.set_state(about["rewinder"])
        if self.restarter is not None:
            self.restarter.restarts = restarts
        self.losses = losses.tolist()
        self.step_count = about["step"]
        self.curriculum.set_state(about["curriculum"])
        self.curriculum.rng = curriculum_rng
        self.skipped = about["skipped"]
        self._skipped_in_a_row = about["skipped_in_a_row"]
        self.evaluations = about["evaluations"]
        self.solved_at = about["solved_at"]

    def _check_arrays(self, arrays, step):
        """The losses, what the rewinder keeps and the values of all variables, from the arrays of a state."""
        losses = arrays.pop("losses", np.zeros(0))
        if losses.ndim != 1 or losses.dtype.kind != "f" or len(losses) not in (0, step):
            raise ValueError(
                f"the state is of {step} steps, and its losses are of shape {losses.shape}"
            )
        kept = {
            name.removeprefix("kept "): arrays.pop(name)
            for name in list(arrays)
            if name.startswith("kept ")
        }
        expected = {
            name: np.shape(variable.get_value(borrow=True))
            for name, variable in self._variables.items()
        }
        for found in (arrays, kept) if kept else (arrays,):
            different = sorted(found.keys() ^ expected.keys())
            different += [
                name for name in expected if name in found and found[name].shape != expected[name]
            ]
            if different:
                raise ValueError(
                    "the state is of another network or update rule: different are "
                    f"{', '.join(different[:3])}"
                )
        kept, values = (
            {name: self._check_value(name, array) for name, array in found.items()}
            for found in (kept, arrays)
        )
        return losses, kept, values

    def _check_value(self, name, array):
        """An array of a state as the value of the variable of this name."""
        value = check_param_value(self._variables[name], array)
        check_finite(name, value)
        return value

    def _decode_rngs(self, about):
        """The network's random generators from what is said of a state."""
        own = [storage[0] for storage in self._find_rngs()]
        try:
            rngs = [_decode_rng(state) for state in about["network_rngs"]]
            fits = len(rngs) == len(own) and all(map(_are_alike, rngs, own))
        except _DAMAGED as error:
            raise ValueError(f"the state of a random generator is damaged: {error!r}") from error
        if not fits:
            raise ValueError("the state is of another network or update rule: random generators")
        return rngs

    def _find_rngs(self):
        """Where the training function keeps its random generators: lists of one item each."""
        inputs = zip(self._train.maker.expanded_inputs, self._train.input_storage, strict=True)
        return [
            container.storage
            for each, container in inputs
            if isinstance(each.variable.type, RandomType)
        ]


#: What reading the state of a random generator raises if it is none
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


def _are_alike(one, other):
    """Whether two random generators, or parts of them, are of one kind and shape."""
    if isinstance(other, dict):
        return (
            isinstance(one, dict)
            and one.keys() == other.keys()
            and all(_are_alike(one[name], each) for name, each in other.items())
        )
    if isinstance(other, np.random.Generator):
        return isinstance(one, np.random.Generator)
    other = np.asarray(other)
    return isinstance(one, np.ndarray) and (one.shape, one.dtype) == (other.shape, other.dtype)


def _encode_rng(rng):
    """A random generator as JSON takes it: NumPy's, or JAX's, which is a dict of arrays and of further such dicts."""
    if isinstance(rng, np.random.Generator):
        return {"numpy": rng.bit_generator.state}
    if isinstance(rng, dict):
        return {"dict": {name: _encode_rng(value) for name, value in rng.items()}}
    array = np.asarray(rng)
    return {"dtype": str(array.dtype), "values": array.tolist()}


def _decode_rng(state):
    """The random generator that :func:`_encode_rng` took."""
    if "numpy" in state:
        rng = np.random.default_rng()
        rng.bit_generator.state = state["numpy"]
        return rng
    if "dict" in state:
        return {name: _decode_rng(value) for name, value in state["dict"].items()}
    return np.array(state["values"], state["dtype"])


def _finite_or_none(value):
    """A number as JSON takes it, which has no word for what is not finite."""
    return value if np.isfinite(value) else None


def _hand_to(loggers, row):
    for logger in loggers:
        logger(row)
