"""Which trials a sweep runs, and in which order."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ntm.sweeps.states import TrialState
from ntm.sweeps.trials import Trial, check_written_once


class Search(ABC):
    """Says which trial is next, as the sweep goes on."""

    @abstractmethod
    def list_known(self) -> list[Trial]:
        """Return the trials that are known so far: those to come as far as they are fixed, those handed out, ended."""

    @abstractmethod
    def count(self) -> int:
        """Return how many trials there are to be in all."""

    @abstractmethod
    def next(self) -> Trial | None:
        """Return the next trial; None if there is none, or none before others have ended."""

    def tell(self, trial: Trial, state: TrialState) -> None:  # noqa: B027  Not every search learns from results
        """Take note that a trial has ended, failed, or had ended before."""

    def is_hopeless(self, trial: Trial, state: TrialState) -> bool:
        """Tell whether to stop a running trial early: its results so far are hopeless."""
        return False


class FixedSearch(Search):
    """Trials that are all known before the first begins: a grid, or random draws.

    Parameters
    ----------
    trials : list of Trial

    Raises
    ------
    ValueError
        If there are none, or two have one name, or two configurations have the same settings.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        if not trials:
            raise ValueError("a sweep needs at least one trial")
        names = [each.name for each in trials]
        if len({*names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two trials of the sweep have the name {twice}")
        check_written_once((each.values, each.settings.to_json()) for each in trials)
        self._trials = list(trials)
        self._next = 0

    def list_known(self) -> list[Trial]:
        return list(self._trials)

    def count(self) -> int:
        return len(self._trials)

    def next(self) -> Trial | None:
        if self._next == len(self._trials):
            return None
        self._next += 1
        return self._trials[self._next - 1]
