"""A sweep in short: its trials by configuration, over seeds, and which configuration and which trial is the best."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ntm.experiments.settings import Settings
from ntm.reports.readings import describe_name, show, to_float
from ntm.sweeps.report.outcomes import OPEN, OVER, Outcome
from ntm.sweeps.states import Status
from ntm.tasks import Task
from ntm.tasks.base import describe_sizes

#: Names of measures and of sizes that are told apart, at most: files of strangers may hold any number
MAX_COLUMNS = 200
#: What the measures at the sizes of training are called
IN_TRAINING = "as in training"


@dataclass(frozen=True, order=True)
class Column:
    """What was measured, and on what.

    Attributes
    ----------
    measure : str
    where : str
        The sizes of the sequences of a task in words, or the part of the data.
    """

    measure: str
    where: str

    @property
    def title(self) -> str:
        """The name of the measure and what it was measured on."""
        return f"{describe_name(self.measure)} ({self.where})"


def list_measures(outcome: Outcome) -> dict[Column, float]:
    """Return what a trained network was measured by; NaN where the measure is not finite."""
    found: dict[Column, float] = {}
    for row in outcome.result.get("measures", []):
        where = f"{row['data']} data" if "data" in row else describe_sizes(row["sizes"])
        for name, value in row.items():
            # Confusion matrices are lists
            if name in ("sizes", "data") or isinstance(value, list) or len(found) >= MAX_COLUMNS:
                continue
            found.setdefault(Column(show(name), show(where)), to_float(value))
    return found


def rank_result(result: Mapping[str, Any], measure: str) -> tuple[bool, float, float]:
    """Return what is smaller for a better run on a task: solved, how it generalises, its measure in training.

    Parameters
    ----------
    result : dict
        How the run ended.
    measure : str
        The measure by which the task counts as solved.

    Returns
    -------
    tuple of bool, float and float
        Whether the task is not solved; the sum over the sizes beyond training of the share of sequences that are wrong,
        or of the ratio to the best possible where the task has that; the measure in training. What is not finite is
        infinite.
    """
    first, *beyond = result["measures"]
    wrong = sum(_find_wrong(row) for row in beyond)
    return not result.get("solved"), wrong, _to_loss(first.get(measure))


def _find_wrong(row: Mapping[str, Any]) -> float:
    if "ratio" in row:
        return _to_loss(row["ratio"])
    return 1 - _to_loss(row["correct"], worst=-math.inf) if "correct" in row else 0.0


def _to_loss(value: Any, worst: float = math.inf) -> float:
    number = to_float(value)
    return worst if math.isnan(number) else number


@dataclass(frozen=True)
class Configuration:
    """The trials of a sweep that differ in the seed alone.

    Attributes
    ----------
    values : dict from str to str
        What the sweep varies.
    outcomes : list of Outcome
        By the seeds.
    goal : Column or None
        What the configuration is ranked by, beside the share of seeds that solved the task.
    """

    values: Mapping[str, str]
    outcomes: list[Outcome]
    goal: Column | None

    @cached_property
    def counts(self) -> Counter[str]:
        """How many trials there are in each state."""
        return Counter(each.status for each in self.outcomes)

    @property
    def name(self) -> str:
        """The values in words; the network where nothing varies but the seed."""
        words = [f"{describe_name(name)} {show(value)}" for name, value in self.values.items()]
        return ", ".join(words) or show(self.outcomes[0].trial.settings.network_name)

    @property
    def num_over(self) -> int:
        """Trials with which nothing is left to do but to try again: trained to the end, pruned, failed."""
        return len(self.outcomes) - self.num_open

    @property
    def num_open(self) -> int:
        """Trials that are waiting or begun."""
        return sum(self.counts[each] for each in OPEN)

    @property
    def num_solved(self) -> int:
        """Trials that solved the task."""
        return self.counts[Status.SOLVED]

    @cached_property
    def trained(self) -> list[Outcome]:
        """The trials that were trained to the end."""
        return [each for each in self.outcomes if each.is_trained]

    @cached_property
    def _measures(self) -> list[dict[Column, float]]:
        return [list_measures(each) for each in self.trained]

    def list_values(self, column: Column) -> list[float]:
        """Return a measure of the seeds that were measured by it; NaN where it is not finite."""
        return [each[column] for each in self._measures if column in each]

    def rank(self) -> tuple[float, float, bool]:
        """Return what is smaller for a better configuration: the share of seeds that solved the task, the median."""
        share = self.num_solved / self.num_over if self.num_over else 0.0
        values = self.list_values(self.goal) if self.goal is not None else []
        losses = sorted(_to_loss(value) for value in values) or [math.inf]
        middle = losses[(len(losses) - 1) // 2], losses[len(losses) // 2]
        return -share, sum(middle) / 2, not self.trained


@dataclass(frozen=True)
class Subject:
    """What some trials learn: a task, or a file of data.

    Attributes
    ----------
    name : str
    is_on_data : bool
    goal : Column or None
        What configurations are ranked by; None if no trial was trained to the end.
    threshold : float or None
        Below which a task counts as solved.
    configurations : list of Configuration
        The best first.
    """

    name: str
    is_on_data: bool
    goal: Column | None
    threshold: float | None
    configurations: list[Configuration]

    @property
    def outcomes(self) -> list[Outcome]:
        """All trials, those of the best configuration first."""
        return [each for group in self.configurations for each in group.outcomes]

    @property
    def setting_names(self) -> list[str]:
        """The names of the settings that vary."""
        return list(dict.fromkeys(name for each in self.configurations for name in each.values))

    @cached_property
    def columns(self) -> list[Column]:
        """What was measured, and on what: first what the configurations are ranked by."""
        found = dict.fromkeys([self.goal] if self.goal is not None else [])
        for each in self.outcomes:
            found.update(dict.fromkeys(list_measures(each)))
        return list(found)[:MAX_COLUMNS]

    @property
    def best(self) -> Configuration | None:
        """The best configuration; None as long as no trial was trained to the end."""
        return self.configurations[0] if self.configurations[0].trained else None

    @cached_property
    def best_trial(self) -> Outcome | None:
        """The best trial; None as long as no trial was trained to the end."""
        trained = [each for each in self.outcomes if each.is_trained]
        return min(trained, key=self._rank_trial, default=None)

    def _rank_trial(self, outcome: Outcome) -> tuple[bool, float, float]:
        if self.is_on_data or self.goal is None:
            return False, 0.0, _to_loss(list_measures(outcome).get(self.goal))  # type: ignore[arg-type]
        solved = {"solved": outcome.status == Status.SOLVED}
        return rank_result({**outcome.result, **solved}, self.goal.measure)

    @property
    def rule(self) -> str:
        """What makes a configuration and a trial the best, in words."""
        goal = "" if self.goal is None else self.goal.title
        if self.is_on_data:
            return f"The best configuration has the lowest median {goal}, and the best trial the lowest {goal}."
        return (
            "The best configuration has the largest share of seeds that solved the task, of those that have ended, "
            f"were pruned or failed; of equals, the lowest median {goal}. The best trial has solved the task and has "
            f"most sequences right at the sizes beyond training; of equals, the lowest {goal}."
        )


def make_subjects(outcomes: Sequence[Outcome]) -> list[Subject]:
    """Group trials by what they learn, and by configuration; the best configuration of each is the first."""
    groups: dict[tuple[bool, str], list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault((each.is_on_data, each.learnt), []).append(each)
    return [
        _make_subject(name, on_data, found) for (on_data, name), found in sorted(groups.items())
    ]


def _make_subject(name: str, is_on_data: bool, outcomes: Sequence[Outcome]) -> Subject:
    goal, threshold = _find_data_goal(outcomes), None
    if not is_on_data:
        measure, threshold = _get_task_class(outcomes[0]).solved
        goal = Column(show(measure), IN_TRAINING)
    groups: dict[tuple[tuple[str, str], ...], list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault(tuple(sorted(each.values.items())), []).append(each)
    configurations = [
        Configuration(found[0].values, sorted(found, key=lambda each: each.trial.seed), goal)
        for found in groups.values()
    ]
    configurations.sort(key=Configuration.rank)
    return Subject(name, is_on_data, goal, threshold, configurations)


def _find_data_goal(outcomes: Sequence[Outcome]) -> Column | None:
    """Return the loss on the data that most runs on data are measured on: validation data, where there are some."""
    found = Counter(
        column for each in outcomes for column in list_measures(each) if column.measure == "loss"
    )
    return found.most_common(1)[0][0] if found else None


def _get_task_class(outcome: Outcome) -> type[Task]:
    settings = outcome.trial.settings
    assert isinstance(settings, Settings)
    return settings.task_class


def describe_counts(outcomes: Sequence[Outcome]) -> str:
    """Return in words how many trials there are in each state."""
    counts = Counter(each.status for each in outcomes)
    words = [f"{count:,} {status}" for status, count in counts.items()]
    order = {str(status): k for k, status in enumerate((*OVER, *OPEN))}
    words.sort(key=lambda word: order.get(word.split(" ", 1)[1], len(order)))
    return f"{len(outcomes):,} {'trial' if len(outcomes) == 1 else 'trials'}: {', '.join(words)}"
