"""Signals that ask a process to end, sent to real processes and to this one."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytensor
import pytest

from ntm import interruption
from ntm.cli import INTERRUPTED, commands, main
from ntm.cli.program import NOTICE
from ntm.interruption import stop_on_signals

NUMBERS = interruption.SIGNALS

needs_signals = pytest.mark.skipif(
    os.name != "posix", reason="Windows sends no such signals to other processes"
)


@pytest.fixture(autouse=True)
def handlers():
    """A test that fails is to leave no handler."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def clock(monkeypatch):
    """The time that the handler sees: a list of one number."""
    now = [100.0]
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now[0])
    return now


def send(number=signal.SIGINT):
    signal.raise_signal(number)
    time.sleep(0)  # The handler runs between two instructions


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_noted(number, handlers):
    with stop_on_signals() as stop:
        assert not stop.is_set()
        stop.check()
        send(number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            stop.check()
    assert {each: signal.getsignal(each) for each in NUMBERS} == handlers
    with stop_on_signals() as stop:
        assert not stop.is_set()


def test_the_outer_context_notes_it_for_the_inner_ones():
    with stop_on_signals() as outer:
        with stop_on_signals() as inner:
            send()
        assert inner is outer
        with stop_on_signals() as inner:
            assert inner.is_set()
    assert outer.is_set()


@pytest.fixture
def ended():
    """What would have ended the process, by a handler that was there before: a list of signals."""
    numbers = []
    signal.signal(signal.SIGINT, lambda number, frame: numbers.append(number))
    return numbers


def test_a_second_signal_ends_it_but_not_within_a_moment(clock, ended):
    with stop_on_signals() as stop:
        send()
        clock[0] += 0.5
        send()
        assert stop.is_set()
        assert ended == []
        clock[0] += 1
        send()
        assert ended == [signal.SIGINT]


def test_while_something_is_saved_only_the_third_ends_it(clock, ended):
    with stop_on_signals() as stop:
        send()
        with stop.saving():
            clock[0] += 60
            send()
            clock[0] += 0.5
            send()
            assert ended == []
            clock[0] += 1
            send()
            assert ended == [signal.SIGINT]


def test_after_saving_the_second_ends_it(clock, ended):
    with stop_on_signals() as stop:
        send()
        with stop.saving():
            clock[0] += 60
            send()
        assert ended == []
        clock[0] += 60
        send()
        assert ended == [signal.SIGINT]


def test_pythons_own_handler_raises(clock):
    with stop_on_signals():
        send()
        clock[0] += 60
        with pytest.raises(KeyboardInterrupt):
            send()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_hangup_that_is_ignored_stays_so():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as stop:
        send(signal.SIGHUP)
        assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_in_another_thread_nothing_is_noted():
    found = []

    def look():
        with stop_on_signals() as stop:
            found.append(stop.is_set())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_notice(capfd):
    with stop_on_signals("It ends soon."):
        send(signal.SIGTERM)
    assert capfd.readouterr().err == ""
    with stop_on_signals("It ends soon."):
        send()
        send()
    assert capfd.readouterr().err == "\nIt ends soon.\n"


def test_a_signal_raises_where_no_work_can_be_lost(capfd):
    with stop_on_signals("It ends soon.") as stop:
        stop.end_at_once("Ended.", 7)
        with pytest.raises(KeyboardInterrupt):
            send()
    assert capfd.readouterr().err == ""
    saved = []

    def save(stop):
        with stop.saving():
            send()
            saved.append(True)

    with stop_on_signals() as stop:
        stop.end_at_once("Ended.", 7)
        with pytest.raises(KeyboardInterrupt):
            save(stop)
    assert saved


# ---- The command line


def test_commands_that_do_not_train_end_at_once(monkeypatch, capfd, tmp_path):
    went_on = []

    def interrupt(*args, **kwargs):
        send()
        went_on.append(True)

    monkeypatch.setattr(pytensor.config, "floatX", pytensor.config.floatX)
    monkeypatch.setattr(commands, "is_data_run", interrupt)
    for command in ("plot", "evaluate"):
        assert main([command, str(tmp_path)]) == INTERRUPTED
        assert capfd.readouterr().err == "ntm: interrupted\n"
    assert not went_on
    assert main(["resume", str(tmp_path)]) != INTERRUPTED
    assert went_on
    assert capfd.readouterr().err.startswith(f"\n{NOTICE}\n")


SMALL = "train copy --quiet --num-units 5 --memory-slots 6 --memory-width 3 --size 2 --max-length 3"


def start(folder, *words):
    command = [sys.executable, "-m", "ntm", *SMALL.split(), "--folder", str(folder), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    output, error = process.communicate(timeout=300)
    assert "Traceback" not in error
    assert "ignored" not in error
    return output, error


def wait_for(path):
    for _ in range(3000):
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.1)
    raise AssertionError(f"there is no {path}")


@pytest.mark.slow
@needs_signals
def test_ctrl_c_before_the_first_step_is_not_lost(tmp_path):
    """At random moments to the first step; an exception would be ignored at some of them."""
    rng = random.Random(0)
    words = ["--max-steps", "1000000", "--log-every", "1"]
    began = time.monotonic()
    process = start(tmp_path / "whole", *words)
    wait_for(tmp_path / "whole" / "metrics.jsonl")
    span = time.monotonic() - began
    process.send_signal(signal.SIGINT)
    output, error = end(process)
    assert process.returncode == 130
    assert "Interrupted after" in output
    assert NOTICE in error
    for k in range(3):
        folder = tmp_path / str(k)
        process = start(folder, *words)
        time.sleep(rng.uniform(0.2, 1.0) * span)
        process.send_signal(signal.SIGINT)
        output, error = end(process)
        assert process.returncode == 130, output + error
        # One that it had time to note before the end of training is resumed from
        assert ("To go on" in output) == (folder / "settings.json").exists()


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("number", [each for each in NUMBERS if each != signal.SIGINT])
def test_a_signal_saves(tmp_path, number):
    process = start(tmp_path / "run", "--max-steps", "1000000", "--log-every", "1")
    wait_for(tmp_path / "run" / "metrics.jsonl")
    process.send_signal(number)
    output, _ = end(process)
    assert process.returncode == 130
    assert "To go on: ntm resume" in output
    assert len(list((tmp_path / "run").glob("checkpoint-*"))) > 0
    assert (tmp_path / "run" / "network.safetensors").exists()


INTERRUPTED_PLOT = """
import os, signal, sys
from ntm.cli import commands, main

class Ignoring:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100): pass

def is_data_run(folder):
    del_me = Ignoring()
    del del_me
    print("It went on.")

commands.is_data_run = is_data_run
print("Before.")
sys.argv = ["ntm", "plot", "."]
sys.exit(main())
"""


@pytest.mark.slow
@needs_signals
def test_ctrl_c_while_nothing_is_trained():
    """Where Python ignores exceptions, too: in a destructor."""
    command = [sys.executable, "-c", INTERRUPTED_PLOT]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 130
    assert (result.stdout, result.stderr) == ("Before.\n", "ntm: interrupted\n")


INTERRUPTED_IMPORT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "pytensor":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from ntm.cli import main
"""


@pytest.mark.slow
@needs_signals
def test_ctrl_c_while_it_is_imported():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_IMPORT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end(process)
    assert process.returncode == 130


@pytest.mark.slow
def test_the_package_imports_what_is_used():
    code = "import sys, ntm; assert 'pytensor' not in sys.modules; print(ntm.NTMLayer, ntm.training.schedules)"
    code += "; print(dir(ntm)); ntm.no_such_thing"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ntm.layers.ntm.NTMLayer" in result.stdout
    assert "'StepFunction'" in result.stdout
    assert result.stderr.endswith("AttributeError: module 'ntm' has no attribute 'no_such_thing'\n")
