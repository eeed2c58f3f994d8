import io
import sys

import pytest

from ntm.training import progress
from ntm.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def make_row(step, loss=1.25, speed=1234.5):
    return {"step": step, "loss": loss, "sequences_per_second": speed}


def show(shown, clock):
    with shown.compiling(16, 42):
        clock[0] += 8.0
    for step in range(1000, 1003):
        shown.advance(5000)
        shown.show(make_row(step), 5000)
        clock[0] += 6.0
    shown.show(make_row(1003, loss=None, speed=None), 5000)
    shown.close()


def test_a_log_file_gets_lines_now_and_then(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    show(Progress(5000, 999), clock)
    assert sys.stderr.getvalue().splitlines() == [
        "compiling for 16 × 42 steps…",
        "compiled in 8.0 s",
        "step 1,000 of 5,000: loss 1.25, 1,234 sequences/s",
        "step 1,002 of 5,000: loss 1.25, 1,234 sequences/s",
    ]


def test_a_loss_that_is_not_finite(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    Progress(5000, 999).show(make_row(1003, loss=None, speed=None), 5000)
    assert sys.stderr.getvalue() == "step 1,003 of 5,000: loss not finite\n"


def test_a_terminal_gets_a_bar(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    show(Progress(5000, 999), clock)
    text = sys.stderr.getvalue()
    assert "compiling for 16 × 42 steps…" in text
    assert "compiled in 8.0 s" in text
    assert "/5000" in text
    assert "\n" not in text.strip("\n")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_nothing_is_shown_if_not_asked_for(monkeypatch, clock, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    show(Progress(5000, 999, is_shown=False), clock)
    assert sys.stderr.getvalue() == ""
