"""Search by Optuna: each configuration is suggested by the results so far, and hopeless ones end before their time."""

import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ntm.arguments import Number, check_choice, shorten
from ntm.experiments.settings import Settings
from ntm.files import atomic_write, inside
from ntm.sweeps.search import Search
from ntm.sweeps.space import (
    Choices,
    Configuration,
    Range,
    count_configurations,
    draw_configurations,
)
from ntm.sweeps.states import Status, TrialState, read_losses, read_state
from ntm.sweeps.trials import Trial
from ntm.typing import PathLike

#: The file in the folder of a sweep that holds what Optuna knows, lines of JSON
JOURNAL = "optuna.jsonl"
#: The name of the study in that file
STUDY = "sweep"
#: What is made small: what the trained network is measured by, or the sequences until the task is solved
GOALS = ("measure", "sequences")
#: Configurations that are trained to the end before any is pruned
STARTUP = 5
#: Suggestions in a row that were all suggested before, after which a configuration is drawn that was not
REPEATS = 10

#: From a configuration, a seed and a name for the configuration: makes the trial
MakeTrial = Callable[[Configuration, int, str], Trial]


@dataclass
class _Running:
    """A configuration whose trials have not all ended."""

    study_trial: Any
    trials: list[Trial]
    states: dict[str, TrialState] = field(default_factory=dict)
    handed_out: int = 0
    is_pruned: bool = False
    #: The last step whose loss Optuna knows
    reported: int = 0


class OptunaSearch(Search):
    """Asks Optuna for configurations: a tree-structured Parzen estimator (TPE), seeded.

    Each configuration is trained with every seed, and counts by the median over the seeds. What Optuna knows is in the
    folder of the sweep (``optuna.jsonl``), so that a sweep that was stopped goes on. A configuration is trained once: a
    suggestion that was made before is told to have failed, and its number is left out.

    Parameters
    ----------
    folder : str or path
        That of the sweep. It is made if it does not exist.
    space : dict from str to Choices or Range
    seeds : list of int
    make : callable
        From a configuration, a seed and a name to the trial.
    count : int
        How many configurations; where there are fewer in all, each of these.
    seed : int
        Of Optuna's draws.
    prune : bool
        Whether to end configurations before their time: with one seed those whose loss is above the median of the
        others' at the same step (``MedianPruner``), with several seeds those whose first seeds are worse than the
        best configuration's (``WilcoxonPruner``).
    goal : {'measure', 'sequences'}
        What is made small: the measure by which a task counts as solved, or the loss of data; or the sequences until
        the task was solved, where a trial that did not solve it counts as twice its sequences.

    Raises
    ------
    ImportError
        If Optuna is not installed.
    """

    def __init__(
        self,
        folder: PathLike,
        space: Mapping[str, Choices | Range],
        seeds: Sequence[int],
        make: MakeTrial,
        count: int,
        seed: int = 0,
        prune: bool = False,
        goal: str = "measure",
    ) -> None:
        if not space:
            raise ValueError("a search needs something to vary: --set NAME=VALUES")
        self._optuna = import_optuna()
        self._space, self._seeds, self._make = dict(space), list(seeds), make
        count = Number(int, 1).check("OptunaSearch: count", count)
        self._count = int(min(count, count_configurations(space)))
        self._seed, self._prune = seed, prune
        check_choice("goal", goal, GOALS)
        self._goal = goal
        self._folder = Path(folder)
        self._study: Any = None
        self._running: dict[str, _Running] = {}
        #: The trials that have been handed out, or are to be once more
        self._known: list[Trial] = []
        #: Trials of configurations that Optuna has been told of: seeds that failed, or that are new
        self._again: list[Trial] = []
        #: All configurations, by their numbers
        self._configurations: dict[int, Configuration] = {}

    # ---- What the sweep asks

    def list_known(self) -> list[Trial]:
        self._open()
        return list(self._known)

    def count(self) -> int:
        self._open()
        to_come = max(self._count - len(self._configurations), 0) * len(self._seeds)
        waiting = [len(each.trials) - each.handed_out for each in self._list_open()]
        return len(self._known) + sum(waiting) + to_come

    def _list_open(self) -> list[_Running]:
        """Return the configurations whose trials have not all been handed out."""
        return [
            each
            for each in self._running.values()
            if each.handed_out < len(each.trials) and not each.is_pruned
        ]

    def next(self) -> Trial | None:
        self._open()
        if self._again:
            return self._again.pop(0)
        if not self._list_open() and len(self._configurations) < self._count:
            self._ask()
        for each in self._list_open():
            trial = each.trials[each.handed_out]
            each.handed_out += 1
            self._known.append(trial)
            return trial
        return None

    def tell(self, trial: Trial, state: TrialState) -> None:
        running = self._find(trial)
        if running is None:
            return
        running.states[trial.name] = state
        # It may have been noted before the sweep was killed, and not told
        running.is_pruned |= state.status is Status.PRUNED
        self._report(running, trial)
        value = self._score(trial, state)
        if self._prune and len(self._seeds) > 1 and math.isfinite(value):
            # The seed stands for the step: configurations are compared seed by seed
            running.study_trial.report(value, trial.seed)
            running.is_pruned |= running.study_trial.should_prune()
        left = running.trials[: running.handed_out] if running.is_pruned else running.trials
        if all(each.name in running.states for each in left):
            self._close(running)

    def is_hopeless(self, trial: Trial, state: TrialState) -> bool:
        running = self._find(trial)
        if running is None or not self._prune:
            return False
        if self._report(running, trial):
            running.is_pruned |= running.study_trial.should_prune()
        return running.is_pruned

    def _report(self, running: _Running, trial: Trial) -> bool:
        """Tell Optuna the losses of a configuration of one seed that are new, and whether there are any.

        Trials are compared at the same step, so every loss counts, and not only those that a look happens on.
        """
        if not self._prune or len(self._seeds) > 1:
            return False
        try:
            losses = read_losses(trial.find_folder(self._folder))
        except ValueError:  # The trial fails of a damaged file
            return False
        new = [
            (step, loss)
            for k, (step, loss) in enumerate(losses)
            if step > running.reported and _is_compared(k)
        ]
        for step, loss in new:
            running.study_trial.report(loss, step)
            running.reported = step
        return bool(new)

    # ---- What Optuna is asked and told

    def _open(self) -> None:
        """Open the study, and go on with the configurations whose trials have not all ended."""
        if self._study is not None:
            return
        optuna = self._optuna
        self._folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner: Any = optuna.pruners.NopPruner()
        with self._quiet():
            if self._prune and len(self._seeds) == 1:
                pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
            elif self._prune:
                pruner = optuna.pruners.WilcoxonPruner()
            self._study = optuna.create_study(
                storage=self._open_journal(), study_name=STUDY, load_if_exists=True, pruner=pruner
            )
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state == optuna.trial.TrialState.WAITING:  # The next one that is asked for
                continue
            if frozen.state == optuna.trial.TrialState.RUNNING:
                self._set_sampler(frozen.number)
                with self._quiet():
                    study_trial = optuna.trial.Trial(self._study, frozen._trial_id)
                self._hand_out(study_trial, max(frozen.intermediate_values, default=0))
            elif self._is_new(frozen):
                self._reopen(frozen)

    def _open_journal(self) -> Any:
        """Return what keeps the study in a file.

        The lock of the folder is held, so a lock of the file's own was left behind by a process that was killed, and so
        was a line that was cut short: Optuna would wait for the one, and write on after the other.
        """
        journal = self._optuna.storages.journal
        path = inside(self._folder, JOURNAL)
        (self._folder / f"{JOURNAL}.lock").unlink(missing_ok=True)
        if path.exists():
            text = path.read_bytes()
            whole = text[: text.rfind(b"\n") + 1]
            if whole != text:
                with atomic_write(path) as temporary:
                    Path(temporary).write_bytes(whole)
        lock = journal.JournalFileOpenLock(str(path))
        try:
            return self._optuna.storages.JournalStorage(
                journal.JournalFileBackend(str(path), lock_obj=lock)
            )
        except (LookupError, TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"{path} is damaged: {shorten(error)}") from error

    def _set_sampler(self, number: int) -> None:
        """Set what draws a configuration: a new sampler each time.

        So a search that goes on suggests what a search does that was not stopped.
        """
        with self._quiet():
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=self._seed + number, constant_liar=True
            )

    def _ask(self) -> None:
        """Ask for a configuration that is new."""
        for _ in range(REPEATS):
            if self._suggest():
                return
        known = [*self._configurations.values()]
        drawn = draw_configurations(self._space, len(known) + 1, self._seed)
        values = next(each for each in drawn if each not in known)
        self._study.enqueue_trial(
            {name: _read_value(self._space[name], value) for name, value in values.items()}
        )
        self._suggest()

    def _suggest(self) -> bool:
        """Ask for a configuration, and tell whether it is new."""
        self._set_sampler(len(self._study.get_trials(deepcopy=False)))
        with self._quiet():
            return self._hand_out(self._study.ask())

    def _hand_out(self, study_trial: Any, reported: int = 0) -> bool:
        """Suggest the values of a configuration that have not been yet, and hand it out if it is new."""
        with self._quiet():
            for name, each in self._space.items():
                _suggest_value(study_trial, name, each)
        if not self._is_new(study_trial):
            self._study.tell(study_trial, state=self._optuna.trial.TrialState.FAIL)
            return False
        self._configurations[study_trial.number] = self._read_values(study_trial)
        running = _Running(study_trial, self._make_trials(study_trial), reported=reported)
        self._running[_name(study_trial.number)] = running
        return True

    def _reopen(self, frozen: Any) -> None:
        """Find what is left to do of a configuration that Optuna has been told of."""
        self._configurations[frozen.number] = self._read_values(frozen)
        for trial in self._make_trials(frozen):
            state = read_state(trial, self._folder)
            was_pruned = frozen.state == self._optuna.trial.TrialState.PRUNED
            if was_pruned and state.status is Status.WAITING:
                continue
            self._known.append(trial)
            if not state.has_ended:
                self._again.append(trial)

    def _is_new(self, study_trial: Any) -> bool:
        return self._read_values(study_trial) not in self._configurations.values()

    def _read_values(self, study_trial: Any) -> Configuration:
        """Return the values of a configuration in the order of the space, as in a grid."""
        params = study_trial.params
        return {
            name: each.write(params[name]) if isinstance(each, Range) else params[name]
            for name, each in self._space.items()
            if name in params
        }

    def _make_trials(self, study_trial: Any) -> list[Trial]:
        values, name = self._read_values(study_trial), _name(study_trial.number)
        return [self._make(values, seed, name) for seed in self._seeds]

    def _close(self, running: _Running) -> None:
        """Tell Optuna how a configuration did."""
        del self._running[_name(running.study_trial.number)]
        states = self._optuna.trial.TrialState
        scores = [
            self._score(each, running.states[each.name])
            for each in running.trials
            if each.name in running.states
        ]
        if running.is_pruned:
            self._study.tell(running.study_trial, state=states.PRUNED)
        elif all(each.status is Status.FAILED for each in running.states.values()):
            self._study.tell(running.study_trial, state=states.FAIL)
        else:
            self._study.tell(running.study_trial, statistics.median(scores))

    def _find(self, trial: Trial) -> _Running | None:
        for each in self._running.values():
            if any(one.name == trial.name for one in each.trials):
                return each
        return None

    def _score(self, trial: Trial, state: TrialState) -> float:
        """Return what is made small: infinite for a trial that has failed or was pruned."""
        if state.result is None:
            return math.inf
        if self._goal == "sequences":
            factor = 1 if state.status is Status.SOLVED else 2
            return float(factor * state.result["sequences"])
        name = "loss"
        if isinstance(trial.settings, Settings):
            name, _ = trial.settings.make_task().solved
        value = state.result["measures"][0].get(name)
        return math.inf if value is None else float(value)

    def _quiet(self) -> warnings.catch_warnings:
        """Silence what Optuna says of its parts that are new."""
        context = warnings.catch_warnings(
            action="ignore", category=self._optuna.exceptions.ExperimentalWarning
        )
        return context


def _name(number: int) -> str:
    return f"{number:03d}"


def _is_compared(number: int) -> bool:
    """Tell whether trials are compared at a loss: each of the first hundred, then ninety of each decade."""
    return number < 100 or number % 10 ** (len(str(number)) - 2) == 0


def _suggest_value(study_trial: Any, name: str, values: Choices | Range) -> None:
    if isinstance(values, Choices):
        study_trial.suggest_categorical(name, values.values)
    elif values.is_whole:
        study_trial.suggest_int(name, int(values.low), int(values.high), log=values.is_log)
    else:
        study_trial.suggest_float(name, values.low, values.high, log=values.is_log)


def _read_value(values: Choices | Range, word: str) -> str | float:
    """Return what Optuna takes for a value."""
    if isinstance(values, Choices):
        return word
    return int(word) if values.is_whole else float(word)


def import_optuna() -> ModuleType:
    """Return Optuna; raise an `ImportError` that says how to install it."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "this search needs Optuna: pip install 'ntm-lasagne[optuna]', or pip install optuna"
        ) from error
    return optuna
