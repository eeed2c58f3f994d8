"""Locks on folders, with real processes."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading

import pytest

from ntm.experiments.locking import FolderLock

HOLD = """
import sys
from ntm.experiments.locking import FolderLock
with FolderLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock on the temporary folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def assert_held(folder, process):
    message = (
        rf"{re.escape(str(folder))} is being trained by process {process} on "
        rf"{re.escape(platform.node())} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d$"
    )
    with pytest.raises(BlockingIOError, match=message):
        FolderLock(folder).__enter__()
    with pytest.raises(BlockingIOError, match=message):
        FolderLock(folder).check()


@pytest.mark.slow
def test_the_second_process_is_told_who_holds_the_lock(holder, tmp_path):
    assert_held(tmp_path, holder.pid)
    holder.communicate("\n")
    assert holder.returncode == 0
    with FolderLock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] != []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, "kill"])
def test_a_process_that_is_killed_leaves_no_lock(holder, tmp_path, end):
    if end == "kill":
        holder.kill()
    else:
        holder.send_signal(end)
    holder.wait(timeout=60)
    FolderLock(tmp_path).check()
    with FolderLock(tmp_path):
        # The note of the killed process is gone
        assert json.loads((tmp_path / ".lock.json").read_text())["process"] == os.getpid()


def test_a_lock_is_of_one_thread(tmp_path):
    raised = []

    def take(lock):
        try:
            with lock:
                pass
        except BlockingIOError as error:
            raised.append(str(error))

    lock = FolderLock(tmp_path)
    with lock:
        with lock:  # The same thread may enter again
            assert_held(tmp_path, os.getpid())
        assert_held(tmp_path, os.getpid())
        for other in (lock, FolderLock(tmp_path)):
            thread = threading.Thread(target=take, args=[other])
            thread.start()
            thread.join()
    assert len(raised) == 2
    assert all(f"process {os.getpid()}" in message for message in raised)
    lock.check()


@pytest.mark.parametrize("note", ["", "[]", "3", '{"process": 1}'])
def test_a_note_that_says_nothing(tmp_path, note):
    with FolderLock(tmp_path):
        (tmp_path / ".lock.json").write_text(note)
        with pytest.raises(BlockingIOError, match=r"is being trained by another process$"):
            FolderLock(tmp_path).check()


def test_a_folder_that_there_is_not(tmp_path):
    FolderLock(tmp_path / "nowhere").check()
    with pytest.raises(FileNotFoundError, match=r"no such folder.*nowhere"):
        FolderLock(tmp_path / "nowhere").__enter__()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "error", [OSError(37, "No locks available"), NotImplementedError("no flock")]
)
def test_a_file_system_without_locks(tmp_path, monkeypatch, error):
    lock = FolderLock(tmp_path)

    def fail(timeout):
        raise error

    monkeypatch.setattr(lock._lock, "acquire", fail)
    with pytest.raises(OSError, match=r"its file system has no locks \(.*another file system"):
        lock.__enter__()


def test_a_lock_that_is_a_link(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "other")
    with pytest.raises(ValueError, match=r"\.lock is a link"):
        FolderLock(tmp_path).__enter__()
    assert (tmp_path / "other").read_text() == "mine"
