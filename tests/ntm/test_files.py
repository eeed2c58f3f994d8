import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ntm.files import atomic_write
from ntm.serialization.arrays import read_arrays, write_arrays

ARRAYS = {"a b": np.arange(6, dtype="float32").reshape(2, 3), "µ": np.array([True, False])}
ABOUT = {"steps": 3}
DEAD = 99999999  # no process has such a number


@pytest.fixture
def path(tmp_path):
    """A file that is there already."""
    path = tmp_path / "some.arrays"
    write_arrays(path, ARRAYS, ABOUT)
    return path


def check_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


# ---- writing that fails


def fail(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_untouched(path, others=()):
    check_equal(read_arrays(path)[0], ARRAYS)
    assert sorted(path.parent.iterdir()) == sorted([path, *others])


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failure_leaves_the_old_file(path, monkeypatch, function):
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*/some\.arrays'$") as caught:
        write_arrays(path, {"new": np.zeros(3)}, {})
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    check_untouched(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_full_disk(path):
    def write():
        with atomic_write(path) as temporary:
            os.symlink("/dev/full", temporary)
            with open(temporary, "wb") as file:
                file.write(b"x")

    with pytest.raises(OSError, match=r"No space left on device: '.*/some\.arrays'$"):
        write()
    check_untouched(path)


def test_folder_that_cannot_be_written_to(path, monkeypatch):
    def open_nothing(name, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr("builtins.open", open_nothing)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*/some\.arrays'$"):
        write_arrays(path, {}, {})
    monkeypatch.undo()
    check_untouched(path)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/none/x'$"):
        write_arrays(tmp_path / "none" / "x", {}, {})


def test_path_of_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"'.*/folder'$"):
        write_arrays(tmp_path / "folder", ARRAYS, {})
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_interruption_leaves_the_old_file(path, kind):
    def write():
        with atomic_write(path) as temporary, open(temporary, "w") as file:
            file.write("half")
            raise kind

    with pytest.raises(kind):
        write()
    check_untouched(path)


def test_errors_of_other_files_keep_their_path(path):
    with pytest.raises(FileNotFoundError, match=r"'/none/at/all'"), atomic_write(path):
        os.stat("/none/at/all")
    check_untouched(path)


# ---- what others write, or left


KILLED = """
import os, sys, time
from ntm.files import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    with open(temporary, "w") as file:
        file.write("half")
    print("ready", flush=True)
    time.sleep(100)
"""


def test_a_process_that_is_killed(path):
    """Its temporary file goes with the next write of the same path, not before it is dead."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        (temporary,) = [each for each in path.parent.iterdir() if each != path]
        write_arrays(path, ARRAYS, ABOUT)
        write_arrays(path.with_name("other"), ARRAYS, ABOUT)
        assert temporary.read_text() == "half"
        process.kill()
    check_untouched(path, [temporary, path.with_name("other")])
    write_arrays(path.with_name("other"), ARRAYS, ABOUT)
    assert temporary.exists()
    write_arrays(path, ARRAYS, ABOUT)
    check_untouched(path, [path.with_name("other")])


def test_files_of_other_names_stay(tmp_path):
    path = tmp_path / "net.png"
    with atomic_write(path) as temporary:
        open(temporary, "w").close()
    start, _, end = os.path.basename(temporary).partition(f"-{os.getpid()}-")
    names = [
        f"{start}-{DEAD}-1.jpg",
        f"{start}-x-1.png",
        f".net.png.part-00000000-{DEAD}-1.png",
        f"net.png.part-{DEAD}",
    ]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / f"{start}-{DEAD}-{end}").touch()
    with atomic_write(path) as temporary:
        open(temporary, "w").close()
    assert {each.name for each in tmp_path.iterdir()} == {*names, "net.png"}


def test_threads_write_one_path(path):
    """Each has a temporary file of its own: the last to end wins."""
    started = threading.Barrier(2)

    def write(value):
        with atomic_write(path) as temporary, open(temporary, "w") as file:
            started.wait()
            file.write(value * 1000)
            started.wait()

    threads = [threading.Thread(target=write, args=(value,)) for value in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_one(path):
    link = path.with_name("latest")
    link.symlink_to(path.name)
    write_arrays(link, {"new": np.ones(2)}, {})
    assert link.is_symlink()
    check_equal(read_arrays(path)[0], {"new": np.ones(2)})


def test_the_ending_is_kept(tmp_path):
    with atomic_write(tmp_path / "a.b.png") as temporary:
        assert temporary.endswith(".png")
        open(temporary, "w").close()


def test_a_link_of_the_temporary_name(path, tmp_path):
    """Nothing is written over it to another place."""
    with atomic_write(path) as temporary:
        Path(temporary).write_text("x")
    (tmp_path / "precious").write_text("precious")
    os.symlink(tmp_path / "precious", temporary)
    write_arrays(path, ARRAYS, ABOUT)
    assert (tmp_path / "precious").read_text() == "precious"
    check_equal(read_arrays(path)[0], ARRAYS)
