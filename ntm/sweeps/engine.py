"""What runs the trials of a sweep: the interface of engines.

An engine starts trials and says which have ended. A trial writes what it has done into its folder, so an engine hands
over nothing but why a trial did not get to its end.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from ntm.experiments.own_tasks import name_own_task
from ntm.sweeps.trials import Trial
from ntm.tasks import Task


@dataclass(frozen=True)
class Ended:
    """A trial that no longer runs.

    Attributes
    ----------
    trial : Trial
    error : str or None
        Why it failed; None if it ended, or was told to stop and has saved.
    is_lost : bool
        Whether the machine that ran it is gone: the trial goes on elsewhere, from its latest checkpoint.
    """

    trial: Trial
    error: str | None = None
    is_lost: bool = False


class Engine(ABC):
    """Runs trials, several at a time. A context manager: at its end no trial runs any more.

    Parameters
    ----------
    folder : str or path
        That of the sweep.
    task : type, optional
        The class of the task, if it is of the user's own.
    """

    def __init__(self, folder: str | Path, task: type[Task] | None = None) -> None:
        self.folder = Path(folder)
        self.task = task

    @property
    def own_task(self) -> str | None:
        """The name of the task, such as ``module:Class``, if it is of the user's own."""
        return None if self.task is None else name_own_task(self.task)

    @abstractmethod
    def __enter__(self) -> "Engine": ...

    @abstractmethod
    def __exit__(self, *exception: object) -> None: ...

    @abstractmethod
    def count_slots(self) -> int:
        """Return how many trials may run at once at present; a cluster may grow and shrink."""

    @abstractmethod
    def start(self, trial: Trial) -> None:
        """Start a trial, whose folder has been written, or let it go on from its latest checkpoint."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Ended]:
        """Wait for up to so many seconds for trials to end, and return those that have, each once."""

    @abstractmethod
    def stop(self, trial: Trial) -> None:
        """Tell a trial to save and end. It is among those that :meth:`wait` returns later."""

    def describe(self, trial: Trial) -> str:
        """Return where a trial runs, in a word or two; empty if there is nothing to tell."""
        return ""
