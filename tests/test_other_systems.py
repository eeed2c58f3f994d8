"""What macOS and Windows lack: the calls are taken away here, and everything goes on without them."""

import errno
import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends import compilation_cache
from ntm import files
from ntm.experiments import hardware

ROOT = Path(__file__).parents[1]


def import_anew(path):
    """A second copy of a module, imported as the system is now."""
    spec = importlib.util.spec_from_file_location("anew", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_proc(monkeypatch):
    """There is no /proc."""
    read_text, exists = Path.read_text, Path.exists

    def read(path, *args, **kwargs):
        if path.is_relative_to("/proc"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(
        Path,
        "exists",
        lambda path, **kwargs: not path.is_relative_to("/proc") and exists(path, **kwargs),
    )


def test_no_fork(monkeypatch):
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    functions = import_anew("lasagne/backends/functions.py")
    x = pt.scalar("x")
    double = pytensor.function([x], 2 * x, mode=functions.LockedMode("py"))
    assert isinstance(double, functions.LockedFunction)
    assert double(3.0) == 6.0


def test_no_end_of_the_terminal(monkeypatch):
    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    interruption = import_anew("ntm/interruption.py")
    assert interruption.SIGNALS == [signal.SIGINT, signal.SIGTERM]
    with interruption.stop_on_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()


def test_a_second_signal_without_kill(monkeypatch):
    """On Windows, os.kill() ends a process, whatever the signal."""
    monkeypatch.delattr(os, "kill")
    interruption = import_anew("ntm/interruption.py")
    monkeypatch.setattr(interruption, "MOMENT", -1.0)
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        stop = interruption.Stop()
        stop._before[signal.SIGTERM] = signal.SIG_IGN
        stop(signal.SIGTERM, None)
        stop(signal.SIGTERM, None)  # acts as before: the signal is ignored
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_processes_that_cannot_be_asked_for(monkeypatch, tmp_path):
    """Where a signal of 0 would end a process, what another process writes is left alone."""
    abandoned = tmp_path / "state.json"
    with files.atomic_write(abandoned) as temporary:
        Path(temporary).write_text("1", encoding="utf-8")
        name = Path(temporary).name
    other = tmp_path / name.replace(f"-{os.getpid()}-", "-999999999-")
    other.write_text("2", encoding="utf-8")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "kill")
    with files.atomic_write(abandoned) as temporary:
        Path(temporary).write_text("3", encoding="utf-8")
    assert other.exists()
    monkeypatch.undo()
    with files.atomic_write(abandoned) as temporary:
        Path(temporary).write_text("4", encoding="utf-8")
    assert not other.exists()


def test_folders_that_cannot_be_opened(monkeypatch, tmp_path):
    opening = os.open

    def refuse(path, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opening(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    files.write_json(tmp_path / "state.json", {"step": 1})
    assert files.read_json(tmp_path / "state.json") == {"step": 1}


@pytest.mark.usefixtures("no_proc")
def test_no_proc(monkeypatch):
    monkeypatch.setattr(hardware.platform, "processor", lambda: "a processor")
    assert hardware.get_processor() == "a processor"
    assert compilation_cache.get_cache_dir().name.startswith("xla-")


@pytest.mark.usefixtures("no_proc")
def test_benchmarks_on_cores_that_cannot_be_chosen(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)
    workers = import_anew("benchmarks/workers.py")
    assert workers.available_cores() == list(range(os.cpu_count()))
    assert workers.available_memory() is None
    workers._confine(1)
