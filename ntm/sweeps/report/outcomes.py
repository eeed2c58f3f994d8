"""What the files of a sweep's trials say. A file that is damaged is noted, and costs no other trial."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ntm.arguments import shorten
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.own_tasks import OwnTaskError
from ntm.experiments.reading import read_losses
from ntm.reports.readings import show, to_float
from ntm.sweeps.states import FAILED_FILE, PRUNED_FILE, Status, TrialState, read_state
from ntm.sweeps.trials import TRIAL, Trial, list_trial_folders, read_trial
from ntm.tasks import Task
from ntm.typing import PathLike

#: The files that a trial's state is read from
FILES = (TRIAL, "settings.json", "metrics.jsonl", "result.json", FAILED_FILE, PRUNED_FILE)
#: The names of losses in the rows of a run on data, those that tell most first
DATA_LOSSES = ("validation loss", "training loss", "loss")

#: The states in which nothing is left to do but to try again, and those in which something is
OVER = (Status.SOLVED, Status.ENDED, Status.PRUNED, Status.FAILED)
OPEN = (Status.WAITING, Status.BEGUN, Status.RUNNING)


class LearningCurve(NamedTuple):
    """The losses of a run over training.

    Attributes
    ----------
    name : str
        Of the losses, such as "validation loss".
    sequences, losses : list of float
        Losses are NaN where they were not finite.
    """

    name: str
    sequences: list[float]
    losses: list[float]


@dataclass(frozen=True)
class Outcome:
    """What the files of a trial say.

    Attributes
    ----------
    trial : Trial
    folder : Path
        Of the trial.
    state : TrialState
        A trial whose files are damaged has failed.
    """

    trial: Trial
    folder: Path
    state: TrialState

    @property
    def name(self) -> str:
        """The name of the trial's folder, as a page or a table takes it."""
        return show(self.trial.name, 120)

    @property
    def values(self) -> Mapping[str, str]:
        """The configuration: what the sweep varies, by the names of settings."""
        return self.trial.values

    @property
    def is_on_data(self) -> bool:
        """Whether the run is on data, not on a task."""
        return isinstance(self.trial.settings, DataSettings)

    @property
    def learnt(self) -> str:
        """The name of the task, or of the file of the data."""
        settings = self.trial.settings
        if isinstance(settings, DataSettings):
            return show(Path(settings.data).name or "data")
        return show(settings.task)

    @property
    def status(self) -> str:
        """How far the trial is, in a word."""
        return str(self.state.status)

    @property
    def is_trained(self) -> bool:
        """Whether the trial was trained to the end and measured."""
        return self.state.result is not None

    @property
    def result(self) -> dict[str, Any]:
        """What result.json says; empty unless the trial was trained to the end."""
        return self.state.result or {}

    @property
    def error(self) -> str:
        """Why the trial failed, without the paths of this machine; empty if it did not."""
        return hide_paths(self.state.error or "", self.folder)

    def get_count(self, name: str) -> float:
        """Return a number of the result, such as ``sequences``; NaN if there is none."""
        return to_float(self.result.get(name))

    @property
    def steps(self) -> float:
        """Training steps so far."""
        return to_float(self.state.step)

    @property
    def seconds(self) -> float:
        """How long the trial was trained so far."""
        return to_float(self.state.seconds)

    def read_curve(self) -> LearningCurve | None:
        """Return the learning curve, None if there are no losses yet.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        for name in DATA_LOSSES if self.is_on_data else ("loss",):
            sequences, losses = read_losses(self.folder, name)
            if sequences:
                return LearningCurve(name, [*map(to_float, sequences)], [*map(to_float, losses)])
        return None


class OutcomeReader:
    """Reads the trials of a sweep, again and again while it runs: files that did not change are not read again.

    No lock is needed: the files of a sweep are written whole.

    Parameters
    ----------
    folder : str or path
        Of the sweep.
    task : type, optional
        The class of the task, if it is of the user's own.
    """

    def __init__(self, folder: PathLike, task: type[Task] | None = None) -> None:
        self.folder, self._task = Path(folder), task
        self._known: dict[Path, tuple[Any, Outcome | None, str]] = {}

    def list_folders(self) -> list[Path]:
        """Return the folders of the trials, in the order of their names."""
        return list_trial_folders(self.folder)

    def read(self) -> tuple[list[Outcome], list[str]]:
        """Return what the files of the trials say, in the order of their names, and what is damaged.

        Raises
        ------
        OwnTaskError
            If the task is of the user's own, and it was not given.
        """
        outcomes, problems, known = [], [], {}
        for folder in self.list_folders():
            signature = _sign(folder)
            if folder in self._known and self._known[folder][0] == signature:
                found = self._known[folder]
            else:
                found = signature, *self._read(folder)
            known[folder] = found
            if found[1] is not None:
                outcomes.append(found[1])
            if found[2]:
                problems.append(found[2])
        self._known = known
        return outcomes, problems

    def _read(self, folder: Path) -> tuple[Outcome | None, str]:
        try:
            trial = read_trial(folder, self._task)
        except OwnTaskError:
            raise
        except (OSError, ValueError) as error:
            return None, describe_problem(folder, error)
        return Outcome(trial, folder, read_state(trial, self.folder)), ""


def describe_problem(folder: Path, error: Exception) -> str:
    """Return in a line what is wrong with the files of a trial."""
    return f"{show(folder.name, 120)}: {shorten(hide_paths(str(error), folder), 300)}"


def hide_paths(text: str, folder: Path) -> str:
    """Return a text without the path to the folder of a trial: a report is sent to others."""
    for path in (folder.resolve(), folder):
        text = text.replace(f"{path}{os.sep}", "").replace(str(path), folder.name)
    return text


def _sign(folder: Path) -> list[tuple[str, int, int]]:
    """Return what changes when a file of a trial does."""
    found = []
    for name in FILES:
        try:
            status = os.lstat(folder / name)
        except OSError:
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return found
