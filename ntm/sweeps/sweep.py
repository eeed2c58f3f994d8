"""A sweep: trials in one folder, run by an engine until all have ended.

====================================  ================================================================
``sweep.json``                        what the sweep varies and how it searches
``trials/NAME/``                      the run of each trial (see :mod:`ntm.experiments.runs`), and
``trials/NAME/trial.json``            its settings, written before it begins
``trials/NAME/trial.log``             what it printed
``trials/NAME/failed.json``           why it failed; the next sweep in the folder tries it again
``trials/NAME/pruned.json``           that the search has ended it before its time
``.lock``                             held while the sweep runs
====================================  ================================================================

Nothing else is kept: a sweep that was stopped or killed reads how far each trial is, and goes on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntm.experiments.locking import FolderLock
from ntm.files import inside, read_json, write_json
from ntm.interruption import Stop, stop_on_signals
from ntm.sweeps.display import Display
from ntm.sweeps.engine import Ended, Engine
from ntm.sweeps.local import LocalEngine
from ntm.sweeps.search import FixedSearch, Search
from ntm.sweeps.states import (
    Status,
    TrialState,
    forget_failure,
    note_failure,
    note_pruned,
    read_state,
)
from ntm.sweeps.trials import Trial, check_trials
from ntm.typing import PathLike

#: The file in the folder of a sweep that says what the sweep is
SWEEP = "sweep.json"
#: Seconds between looks at the trials that run
INTERVAL = 1.0


class Sweep:
    """Runs trials until all have ended; the same sweep in the same folder goes on where it was.

    Parameters
    ----------
    folder : str or path
    search : Search or list of Trial
        The trials.
    engine : Engine, optional
        What runs the trials: a pool of processes on this machine unless given.
    about : dict, optional
        What JSON takes of what the sweep varies. A folder whose sweep says otherwise is refused.
    progress : bool
        Whether to show a table on standard error: in a terminal a live one, else a line now and then.

    Raises
    ------
    ValueError
        If the folder holds another sweep, or a trial of the same configuration with other settings.
    """

    def __init__(
        self,
        folder: PathLike,
        search: Search | Sequence[Trial],
        engine: Engine | None = None,
        about: Mapping[str, Any] | None = None,
        progress: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.search = search if isinstance(search, Search) else FixedSearch(search)
        self.engine = LocalEngine(folder) if engine is None else engine
        self.about = dict(about or {})
        self.progress = progress
        self._running: dict[str, Trial] = {}
        self._again: list[Trial] = []
        self._states: dict[str, TrialState] = {}
        self._pruned: set[str] = set()

    def run(self) -> dict[str, TrialState]:
        """Run all trials.

        A trial that fails costs no other. After Ctrl-C, SIGTERM or SIGHUP the trials that run save and end.

        Returns
        -------
        dict from str to TrialState
            How each trial ended, by its name. Trials that are waiting or begun are left if the process was told to end.

        Raises
        ------
        BlockingIOError
            If another process runs a sweep in the folder.
        ValueError
            If the folder holds another sweep, or a trial with other settings.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FolderLock(self.folder), stop_on_signals() as stop:
            self._write_plan(stop)
            if stop.is_set():
                return dict(self._states)
            with Display(self.folder, self.search, self.progress) as display, self.engine:
                while not stop.is_set():
                    self._start_trials()
                    display.show(self._states, self.engine, self._running.values())
                    if not self._running:
                        break
                    for ended in self.engine.wait(INTERVAL):
                        self._take(ended, display)
                    self._look_at_running()
                if stop.is_set():
                    display.note("Interrupted: the trials that run save and end.")
            for trial in self._running.values():
                self._states[trial.name] = read_state(trial, self.folder)
            self._running.clear()
        return dict(self._states)

    def _write_plan(self, stop: Stop) -> None:
        """Write what the sweep is, and the trials that are known; check that the folder is of this sweep.

        If `stop` is set before the end, the same command writes the rest later.
        """
        path = inside(self.folder, SWEEP)
        if path.exists():
            found = read_json(path)
            if found != self.about:
                raise ValueError(
                    f"{self.folder} holds another sweep: {_describe_difference(found, self.about)}. Choose another "
                    "folder"
                )
        trials = self.search.list_known()
        check_trials(trials, self.folder)
        # From here on nothing is refused: a command that is refused leaves the folder as it was
        if not path.exists():
            write_json(path, self.about)
        for trial in trials:
            if stop.is_set():
                return
            trial.write(self.folder)
            self._states[trial.name] = read_state(trial, self.folder)

    def _start_trials(self) -> None:
        """Start as many trials as the engine has room for."""
        while len(self._running) < self.engine.count_slots():
            trial = self._again.pop(0) if self._again else self.search.next()
            if trial is None:
                return
            folder = trial.write(self.folder)
            state = read_state(trial, self.folder)
            if state.has_ended:
                self._states[trial.name] = state
                self.search.tell(trial, state)
                continue
            if state.status is Status.FAILED:
                forget_failure(folder)
            self.engine.start(trial)
            self._running[trial.name] = trial
            self._states[trial.name] = TrialState(Status.RUNNING, state.step, state.seconds)

    def _take(self, ended: Ended, display: Display) -> None:
        """Take note of a trial that no longer runs."""
        trial = self._running.pop(ended.trial.name)
        folder = trial.find_folder(self.folder)
        state = read_state(trial, self.folder)
        if trial.name in self._pruned and not state.has_ended:
            note_pruned(folder, "the search ended it before its time")
        elif ended.is_lost and not state.has_ended:
            display.note(f"{trial.name}: {ended.error or 'lost'}; it goes on elsewhere")
            self._states[trial.name] = state
            self._again.append(trial)
            return
        elif not state.has_ended:
            error = ended.error or state.error or "it ended before its time"
            note_failure(folder, error)
            display.note(f"{trial.name} failed: {error}")
        self._states[trial.name] = state = read_state(trial, self.folder)
        self.search.tell(trial, state)

    def _look_at_running(self) -> None:
        """Read how far the running trials are, and stop those that are hopeless."""
        for trial in self._running.values():
            found = read_state(trial, self.folder)
            if found.has_ended:  # The process is about to end
                continue
            state = TrialState(Status.RUNNING, found.step, found.seconds, found.loss)
            self._states[trial.name] = state
            if trial.name not in self._pruned and self.search.is_hopeless(trial, state):
                self._pruned.add(trial.name)
                self.engine.stop(trial)


def _describe_difference(found: Any, about: Mapping[str, Any]) -> str:
    """Describe in what a sweep in a folder differs from another."""
    if not isinstance(found, dict):
        return f"{SWEEP} is damaged"
    parts = []
    for name in {**found, **about}:
        before, now = found.get(name), about.get(name)
        if before != now and isinstance(before, dict) and isinstance(now, dict):
            parts.append(f"of {name}, {_describe_difference(before, now)}")
        elif before != now:
            parts.append(f"{name} is {before!r} there, not {now!r}")
    return "; ".join(parts)
