"""Following a run: its page is served, and made anew when its files change."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ntm.arguments import shorten
from ntm.reports.server import PageServer

__all__ = ["follow"]

#: Seconds between two looks at the files. A wait is longer than the work before it, so that the processor is there for
#: training, up to a limit
LEAST, REST, MOST = 1.0, 4.0, 5.0
#: The files of a run that its page is made from, and those that a sweep adds
FILES = (
    "settings.json",
    "metrics.jsonl",
    "result.json",
    "trial.json",
    "failed.json",
    "pruned.json",
)


class Followed(Protocol):
    """A page that can be made again and again."""

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs that the page is made from."""

    def make(self) -> dict[str, Any]:
        """Return the contents of the page, by what the files of the runs hold now."""


def follow(page: Followed, server: PageServer, wait: Callable[[float], bool]) -> None:
    """Make a page anew whenever a file of its runs changes, and publish it, until told to stop.

    Parameters
    ----------
    page : Page or SweepPage
    server : PageServer
    wait : callable
        Waits for some seconds, and returns whether to stop. What is made meanwhile is made to its end.
    """
    seen: Any = None
    while True:
        start = time.monotonic()
        found = [_sign(folder) for folder in page.folders]
        if found != seen:
            server.publish(_make(page, server))
            seen = found
        took = time.monotonic() - start
        if wait(min(max(LEAST, REST * took), MOST)):
            return


def _make(page: Followed, server: PageServer) -> dict[str, Any]:
    """Return the contents of the page as they are now; what they were, with the reason, if the files cannot be read."""
    try:
        return page.make()
    except (OSError, ValueError) as error:
        # Half-written by another program, or removed: the next change is another chance
        return server.contents | {"news": f"The run cannot be read now: {shorten(error)}"}


def _sign(folder: Path) -> list[tuple[str, int, int]]:
    """Return what changes when a file of a run does."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in FILES or entry.name.startswith("checkpoint-"):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.name, status.st_mtime_ns, status.st_size))
    except OSError:
        pass
    return sorted(found)
