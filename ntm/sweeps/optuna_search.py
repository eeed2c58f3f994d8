"""Search by Optuna: each configuration is suggested by the results so far, and hopeless ones end before their time."""

import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ntm.arguments import Number, check_choice
from ntm.experiments.settings import Settings
from ntm.sweeps.search import Search
from ntm.sweeps.space import Choices, Configuration, Range
from ntm.sweeps.states import Status, TrialState
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
    folder of the sweep (``optuna.jsonl``), so that a sweep that was stopped goes on.

    Parameters
    ----------
    folder : str or path
        That of the sweep. It is made if it does not exist.
    space : dict from str to Choices or Range
    seeds : list of int
    make : callable
        From a configuration, a seed and a name to the trial.
    count : int
        How many configurations.
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
        self._count = Number(int, 1).check("OptunaSearch: count", count)
        self._seed, self._prune = seed, prune
        check_choice("goal", goal, GOALS)
        self._goal = goal
        self._folder = Path(folder)
        self._study: Any = None
        self._running: dict[str, _Running] = {}
        self._known: list[Trial] = []

    # ---- What the sweep asks

    def list_known(self) -> list[Trial]:
        self._open()
        return list(self._known)

    def count(self) -> int:
        return self._count * len(self._seeds)

    def next(self) -> Trial | None:
        self._open()
        for each in self._running.values():
            if each.handed_out < len(each.trials) and not each.is_pruned:
                each.handed_out += 1
                return each.trials[each.handed_out - 1]
        if len(self._study.get_trials(deepcopy=False)) >= self._count:
            return None
        self._ask()
        return self.next()

    def tell(self, trial: Trial, state: TrialState) -> None:
        running = self._find(trial)
        if running is None:
            return
        running.states[trial.name] = state
        value = self._score(trial, state)
        if self._prune and len(self._seeds) > 1 and math.isfinite(value):
            running.study_trial.report(value, self._seeds.index(trial.seed))
            running.is_pruned |= running.study_trial.should_prune()
        left = running.trials[: running.handed_out] if running.is_pruned else running.trials
        if all(each.name in running.states for each in left):
            self._close(running)

    def is_hopeless(self, trial: Trial, state: TrialState) -> bool:
        running = self._find(trial)
        if running is None or not self._prune:
            return False
        is_new = state.loss is not None and state.step > running.reported
        if len(self._seeds) == 1 and is_new and math.isfinite(state.loss or 0.0):
            running.reported = state.step
            running.study_trial.report(state.loss, state.step)
            running.is_pruned |= running.study_trial.should_prune()
        return running.is_pruned

    # ---- What Optuna is asked and told

    def _open(self) -> None:
        """Open the study, and go on with the configurations whose trials have not all ended."""
        if self._study is not None:
            return
        optuna = self._optuna
        self._folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        backend = optuna.storages.journal.JournalFileBackend(str(self._folder / JOURNAL))
        pruner: Any = optuna.pruners.NopPruner()
        with self._quiet():
            if self._prune and len(self._seeds) == 1:
                pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
            elif self._prune:
                pruner = optuna.pruners.WilcoxonPruner()
            storage = optuna.storages.JournalStorage(backend)
            self._study = optuna.create_study(
                storage=storage, study_name=STUDY, load_if_exists=True, pruner=pruner
            )
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state == optuna.trial.TrialState.RUNNING:
                self._hand_out(optuna.trial.Trial(self._study, frozen._trial_id))
            else:
                self._known += self._make_trials(frozen)

    def _ask(self) -> None:
        """Ask for a new configuration."""
        number = len(self._study.get_trials(deepcopy=False))
        with self._quiet():
            # A new one each time: a search that goes on suggests what an unbroken one would
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=self._seed + number, constant_liar=True
            )
        with self._quiet():
            self._hand_out(self._study.ask(self._make_distributions()))

    def _hand_out(self, study_trial: Any) -> None:
        trials = self._make_trials(study_trial)
        self._known += trials
        self._running[_name(study_trial.number)] = _Running(study_trial, trials)

    def _make_trials(self, study_trial: Any) -> list[Trial]:
        values = {
            name: value if isinstance(value, str) else _write_number(value)
            for name, value in study_trial.params.items()
        }
        # In the order of the space, as in a grid
        values = {name: values[name] for name in self._space if name in values}
        name = _name(study_trial.number)
        return [self._make(values, seed, name) for seed in self._seeds]

    def _make_distributions(self) -> dict[str, Any]:
        kinds = self._optuna.distributions
        found: dict[str, Any] = {}
        for name, each in self._space.items():
            if isinstance(each, Choices):
                found[name] = kinds.CategoricalDistribution(each.values)
            elif each.is_whole:
                found[name] = kinds.IntDistribution(int(each.low), int(each.high), log=each.is_log)
            else:
                found[name] = kinds.FloatDistribution(each.low, each.high, log=each.is_log)
        return found

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


def _write_number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def import_optuna() -> ModuleType:
    """Return Optuna; raise an `ImportError` that says how to install it."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "this search needs Optuna: pip install 'ntm-lasagne[optuna]', or pip install optuna"
        ) from error
    return optuna
