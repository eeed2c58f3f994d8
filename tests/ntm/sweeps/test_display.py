"""What a sweep shows while it runs."""

import io
import sys

import pytest

from ntm.sweeps import FixedSearch, Status, TrialState
from ntm.sweeps import display as displays
from ntm.sweeps.display import Display, describe_seconds

from .fakes import FakeEngine, make_trials


class Terminal(io.StringIO):
    """A terminal of 100 columns."""

    def isatty(self):
        return True


@pytest.fixture
def sweep(tmp_path):
    """Four trials: one is solved, one has failed, two run."""
    trials = make_trials(range(6))
    kinds = [
        TrialState(Status.SOLVED, 10, 100.0, result={}),
        TrialState(Status.FAILED, 5, 1.0),
        TrialState(Status.RUNNING, 4, 30.0, 2.5),
        TrialState(Status.RUNNING),
    ]
    states = {each.name: state for each, state in zip(trials, kinds, strict=False)}
    return FixedSearch(trials), states, FakeEngine(tmp_path, None), trials[2:4]


LINE = "6 trials: 1 solved, 1 failed, 2 running, 2 waiting, about 3 min left"


def test_a_line_now_and_then_where_there_is_no_terminal(sweep, capsys, monkeypatch):
    search, states, engine, running = sweep
    now = [1000.0]
    monkeypatch.setattr(displays.time, "monotonic", lambda: now[0])
    with Display("s", search, True) as display:
        for _ in range(3):
            display.show(states, engine, running)
        # (100 - 30) + 100 s of the trials that run and 2 x 100 s of those that wait, on two slots
        assert capsys.readouterr().err == f"s: {LINE}\n"
        states[running[0].name] = TrialState(Status.ENDED, 10, 100.0)
        display.show(states, engine, running)
        assert capsys.readouterr().err == ""
        now[0] += 31
        display.show(states, engine, running)
        assert "1 solved, 1 ended, 1 failed, 1 running" in capsys.readouterr().err
        states.clear()
        display.show(states, engine, running)
    assert capsys.readouterr().err == "s: 6 trials: 6 waiting\n"


def test_a_table_in_a_terminal(sweep, monkeypatch):
    search, states, engine, running = sweep
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(engine, "describe", lambda trial: "[b]node 7")
    with Display("[red]s", search, True) as display:
        display.show(states, engine, running)
        display.note("[bold]a note")
    shown = terminal.getvalue()
    assert f"[red]s: {LINE}" in shown
    assert "4 of 10   2.5       30  [b]node 7" in shown
    assert "[bold]a note" in shown


def test_a_quiet_sweep_shows_notes_alone(sweep, capsys):
    search, states, engine, running = sweep
    with Display("s", search, False) as display:
        display.show(states, engine, running)
        display.note("seed=3 failed")
    assert capsys.readouterr().err == "seed=3 failed\n"


def test_before_any_trial_has_ended_the_steps_say_how_long_it_takes(sweep, capsys):
    search, states, engine, running = sweep
    for name in [each for each in states if each not in (running[0].name, running[1].name)]:
        del states[name]
    with Display("s", search, True) as display:
        display.show(states, engine, running)
    # 30 s for 4 of 10 steps: 75 s a trial; 45 + 75 + 4 x 75 s on two slots
    assert "about 4 min left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.2, "7 s"), (99, "99 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_times_in_words(seconds, words):
    assert describe_seconds(seconds) == words
