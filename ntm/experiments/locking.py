"""Locks on folders, so that two processes do not train in the same one.

The operating system keeps the lock and frees it when the process ends, however it ends. A file beside the lock says who
holds it, for the message to other processes.
"""

import errno
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ntm.arguments import shorten
from ntm.files import inside, read_json, write_json
from ntm.typing import PathLike

#: Errors of file systems that have no locks
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class FolderLock:
    """A lock on a folder that one thread of one process holds at a time; reading needs no lock.

    A context manager, which may be entered again by the thread that holds the lock.

    Parameters
    ----------
    folder : str or path

    Raises
    ------
    BlockingIOError
        On entering, if another process or thread holds the lock; the message says which and since when.
    OSError
        On entering, if the folder cannot be written to, or its file system takes no locks.
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        self._path = self.folder / ".lock"
        self._holder = self.folder / ".lock.json"
        self._lock = FileLock(self._path)

    def __enter__(self) -> "FolderLock":
        held = self._lock.is_locked
        self._acquire()
        if not held:
            try:
                self._write_holder()
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(self, *exception: object) -> None:
        # The note goes first: only the process that holds the lock may change it
        if self._lock.lock_counter == 1:
            with suppress(OSError):
                self._holder.unlink()
        self._lock.release()

    def check(self) -> None:
        """Raise as on entering if another process or thread holds the lock now; do not take it."""
        if self._path.exists():
            self._acquire()
            self._lock.release()

    def _acquire(self) -> None:
        inside(self.folder, self._path.name)
        if not self.folder.is_dir():  # filelock would make it
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(self.folder))
        try:
            # A process that has just got the lock needs a moment to write who it is
            self._lock.acquire(timeout=0.2)
        except Timeout:
            raise BlockingIOError(
                f"{self.folder} is being trained by {self._describe_holder()}"
            ) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            raise OSError(
                f"{self.folder}: its file system has no locks ({error}), and without a lock two processes could "
                "train in the folder at once: choose a folder on another file system"
            ) from error

    def _write_holder(self) -> None:
        holder = {
            "process": os.getpid(),
            "host": platform.node(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        write_json(inside(self.folder, self._holder.name), holder)

    def _describe_holder(self) -> str:
        try:
            holder = read_json(inside(self.folder, self._holder.name))
            process, host, since = (holder[name] for name in ("process", "host", "since"))
        except (OSError, ValueError, LookupError, TypeError):
            return "another process"
        return shorten(f"process {process} on {host} since {since}", 200)
