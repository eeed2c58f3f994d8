"""The commands for pages of runs: each takes the parsed options and returns an exit code."""

import errno
import sys
import time
from argparse import Namespace
from typing import Any

from ntm.cli.commands import parse_sizes
from ntm.cli.pictures import choose_path
from ntm.cli.usage import DONE, UsageError, writing
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.reading import is_data_run, read_data_settings, read_settings
from ntm.experiments.settings import Settings
from ntm.files import check_folder_of
from ntm.interruption import stop_on_signals
from ntm.reports import Page, PageServer, follow, write_page
from ntm.sweeps.report import SweepPage, is_sweep, read_sweep

#: Seconds after which a wait looks whether the program was told to stop
MOMENT = 0.1


def report(options: Namespace) -> int:
    """Write the page of some runs, or of a sweep."""
    path = choose_path(options.output, "report.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output {path}: the name of the file must end in .html")
    try:
        check_folder_of(path, "--output")
    except OSError as error:
        raise UsageError(str(error)) from error
    page = _make_page(options, options.folders, may_read_data=True)
    contents = page.make()
    with writing():
        write_page(path, contents)
    print(f"Page: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return DONE


def watch(options: Namespace) -> int:
    """Serve the page of some runs, or of a sweep, and make it anew as they are trained."""
    page = _make_page(options, options.folders, may_read_data=False)
    contents = page.make(looks_inside=False)
    with stop_on_signals() as stop, _open_server(contents, options.port) as server:
        print(f"{server.url} shows {', '.join(options.folders)}. Ctrl-C ends this.", flush=True)

        def wait(seconds: float) -> bool:
            end = time.monotonic() + seconds
            while not stop.is_set() and time.monotonic() < end:
                time.sleep(MOMENT)
            return stop.is_set()

        follow(page, server, wait)
    print("Ended.")
    return DONE


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _open_server(contents: dict, port: int) -> PageServer:
    try:
        return PageServer(contents, port)
    except PermissionError as error:
        raise PermissionError(
            f"--port {port}: only the administrator may use it. Choose another, or 0 for any that is free"
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            f"--port {port} is in use by another program. Choose another, or 0 for any that is free"
        ) from error


def _make_page(options: Namespace, folders: list[str], may_read_data: bool) -> Page | SweepPage:
    """Return the page of runs, or of a sweep."""
    sweeps = [folder for folder in folders if is_sweep(folder)]
    if sweeps and len(folders) > 1:
        raise UsageError(
            f"{sweeps[0]} is the folder of a sweep, whose page shows nothing else: give it alone"
        )
    settings = _list_sweep_settings(options) if sweeps else _list_settings(options, folders)
    of_data = [isinstance(each, DataSettings) for each in settings]
    for name, is_used, run in (
        ("size", not all(of_data), "tasks"),
        ("data", any(of_data), "data"),
        ("index", any(of_data), "data"),
    ):
        if getattr(options, name) is not None and not is_used:
            raise UsageError(f"--{name} is for runs on {run}")
    sizes = None
    if options.size is not None:
        for each in settings:
            if isinstance(each, Settings):
                sizes = [parse_sizes(each.make_task(), words) for words in options.size]
    shown: dict[str, Any] = {
        "task": options.task,
        "sizes": sizes,
        "data": options.data,
        "indices": options.index,
        "may_read_data": may_read_data,
        "tell": (lambda line: None) if options.quiet else _tell,
    }
    return SweepPage(sweeps[0], **shown) if sweeps else Page(folders, **shown)


def _list_settings(options: Namespace, folders: list[str]) -> list[Settings | DataSettings]:
    return [
        read_data_settings(folder) if is_data_run(folder) else read_settings(folder, options.task)
        for folder in folders
    ]


def _list_sweep_settings(options: Namespace) -> list[Settings | DataSettings]:
    """Return settings of trials, one for each task or file of data that the sweep learns."""
    subjects = read_sweep(options.folders[0], options.task).subjects
    return [each.outcomes[0].trial.settings for each in subjects]
