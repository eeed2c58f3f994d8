"""What a sweep shows while it runs: a live table in a terminal, else a line now and then."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ntm.experiments.settings import Settings
from ntm.sweeps.engine import Engine
from ntm.sweeps.search import Search
from ntm.sweeps.states import Status, TrialState
from ntm.sweeps.trials import Trial

#: Seconds between lines where there is no terminal
INTERVAL = 30.0
#: Running trials that the table shows at most
MOST_ROWS = 20
#: The kinds of trials that are counted, in this order
COUNTED = (
    Status.SOLVED,
    Status.ENDED,
    Status.PRUNED,
    Status.FAILED,
    Status.RUNNING,
    Status.BEGUN,
    Status.WAITING,
)


class Display:
    """Shows how far a sweep is, on standard error. A context manager.

    Parameters
    ----------
    folder : path
        That of the sweep.
    search : Search
        It says how many trials there are to be.
    is_shown : bool
        Whether anything is shown but notes.
    """

    def __init__(self, folder: Path, search: Search, is_shown: bool) -> None:
        self._folder, self._search, self._is_shown = folder, search, is_shown
        self._live: Any = None
        self._line, self._said, self._said_at = "", "", 0.0

    def __enter__(self) -> "Display":
        if self._is_shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None
        if self._line != self._said:
            print(self._line, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Print a text that stays."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def show(
        self, states: Mapping[str, TrialState], engine: Engine, running: Iterable[Trial]
    ) -> None:
        """Show how far the sweep is.

        Parameters
        ----------
        states : dict from str to TrialState
            By the names of the trials.
        engine : Engine
        running : list of Trial
        """
        if not self._is_shown:
            return
        self._line = line = self._describe(states, engine)
        if self._live is not None:
            self._live.update(self._make_table(line, states, engine, list(running)), refresh=True)
        elif time.monotonic() - self._said_at >= INTERVAL and line != self._said:
            self._said, self._said_at = line, time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def _describe(self, states: Mapping[str, TrialState], engine: Engine) -> str:
        """Describe in a line how far the sweep is."""
        counts = Counter(each.status for each in states.values())
        total = max(self._search.count(), len(states))
        counts[Status.WAITING] += total - len(states)
        parts = [f"{counts[each]:,} {each}" for each in COUNTED if counts[each]]
        left = self._estimate(states, counts, engine.count_slots())
        if left is not None and counts[Status.RUNNING]:
            parts.append(f"about {describe_seconds(left)} left")
        return f"{self._folder}: {total:,} trials: {', '.join(parts)}"

    def _estimate(
        self, states: Mapping[str, TrialState], counts: Mapping[Status, int], slots: int
    ) -> float | None:
        """Return about how many seconds are left, None where nothing is known yet.

        A trial is taken to need as long as those that have ended did on average; before any has, as long as all its
        steps take.
        """
        durations = [each.seconds for each in states.values() if each.has_ended and each.seconds]
        running = [each for each in states.values() if each.status is Status.RUNNING]
        if not durations:
            known = {each.name: each.settings for each in self._search.list_known()}
            for name, state in states.items():
                settings = known.get(name)
                if isinstance(settings, Settings) and state.step and state.seconds:
                    durations.append(state.seconds / state.step * settings.max_steps)
        if not durations or slots < 1:
            return None
        mean = sum(durations) / len(durations)
        waiting = counts[Status.WAITING] + counts[Status.BEGUN]
        left = [max(mean - each.seconds, 0.05 * mean) for each in running]
        return max((sum(left) + waiting * mean) / slots, max(left, default=0.0))

    def _make_table(
        self, line: str, states: Mapping[str, TrialState], engine: Engine, running: list[Trial]
    ) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        table.add_column("running")
        for name in ("step", "loss", "seconds"):
            table.add_column(name, justify="right")
        table.add_column("where")
        for trial in running[:MOST_ROWS]:
            state = states[trial.name]
            table.add_row(
                Text(trial.name),
                _describe_step(trial, state),
                "" if state.loss is None else f"{state.loss:.4g}",
                f"{state.seconds:,.0f}",
                Text(engine.describe(trial)),
            )
        if len(running) > MOST_ROWS:
            table.add_row(f"and {len(running) - MOST_ROWS:,} more")
        return Group(Text(line), table)


def _describe_step(trial: Trial, state: TrialState) -> str:
    """Return the step of a trial, of how many where that is known."""
    settings = trial.settings
    return f"{state.step:,}" + (
        f" of {settings.max_steps:,}" if isinstance(settings, Settings) else ""
    )


def describe_seconds(seconds: float) -> str:
    """Return a time in words: seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
