"""The commands for pages of runs: each takes the parsed options and returns an exit code."""

import errno
import sys
import time
from argparse import Namespace

from ntm.cli.commands import parse_sizes
from ntm.cli.pictures import choose_path
from ntm.cli.usage import DONE, UsageError, writing
from ntm.experiments.reading import is_data_run, read_settings
from ntm.files import check_folder_of
from ntm.interruption import stop_on_signals
from ntm.reports import Page, PageServer, follow, write_page

#: Seconds after which a wait looks whether the program was told to stop
MOMENT = 0.1


def report(options: Namespace) -> int:
    """Write the page of some runs."""
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
    """Serve the page of some runs, and make it anew as they are trained."""
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


def _make_page(options: Namespace, folders: list[str], may_read_data: bool) -> Page:
    of_data = [is_data_run(folder) for folder in folders]
    for name, is_used, run in (
        ("size", not all(of_data), "tasks"),
        ("data", any(of_data), "data"),
        ("index", any(of_data), "data"),
    ):
        if getattr(options, name) is not None and not is_used:
            raise UsageError(f"--{name} is for runs on {run}")
    sizes = None
    if options.size is not None:
        for folder, on_data in zip(folders, of_data, strict=True):
            if not on_data:
                task = read_settings(folder, options.task).make_task()
                sizes = [parse_sizes(task, words) for words in options.size]
    return Page(
        folders,
        task=options.task,
        sizes=sizes,
        data=options.data,
        indices=options.index,
        may_read_data=may_read_data,
        tell=(lambda line: None) if options.quiet else _tell,
    )
