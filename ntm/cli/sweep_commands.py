"""The command `ntm sweep`."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from ntm.cli.output import print_words
from ntm.cli.sweep_options import TrialMaker, check_sweep_options
from ntm.cli.usage import DONE, FAILED, INTERRUPTED, UsageError, blaming_usage
from ntm.experiments.own_tasks import name_own_task, shorten_name
from ntm.sweeps.engine import Engine
from ntm.sweeps.local import LocalEngine
from ntm.sweeps.optuna_search import OptunaSearch
from ntm.sweeps.report import OutcomeReader, make_tables, read_sweep, write_report
from ntm.sweeps.search import FixedSearch, Search
from ntm.sweeps.space import Space, draw_configurations, list_configurations, parse_space
from ntm.sweeps.states import Status
from ntm.sweeps.sweep import Sweep
from ntm.tasks import Task


def sweep(options: Namespace) -> int:
    """Train over seeds and settings, or go on with it."""
    check_sweep_options(options)
    folder = Path(options.folder or get_default_sweep_folder(options))
    task = find_own_task(options)
    if options.report:
        return _write_report(folder, task)
    with blaming_usage():
        space = parse_space([word for words in options.varied or () for word in words])
    make = TrialMaker(options, space)
    search = _make_search(options, folder, space, make)
    runs = Sweep(
        folder,
        search,
        _make_engine(options, folder, task),
        _describe(options, space) | make.describe(),
        not options.quiet,
    )
    states = runs.run()
    failed = sum(each.status is Status.FAILED for each in states.values())
    # A search may have configurations to come that nothing is known of
    left = search.count() - failed - sum(each.has_ended for each in states.values())
    _write_report(folder, task, page=not left)
    if left:
        print(f"{_count(left, 'has', 'have')} not ended. The same command goes on.")
        return INTERRUPTED
    if failed:
        print(
            f"{_count(failed, '', '')}failed: see {folder / 'trials'}. The same command tries again."
        )
        return FAILED
    return DONE


def _count(number: int, one: str, several: str) -> str:
    return f"1 trial {one}" if number == 1 else f"{number:,} trials {several}"


def get_default_sweep_folder(options: Namespace) -> str:
    """Return the folder of a sweep unless one is given: sweeps/TASK, or sweeps/NAME by the name of the data's file."""
    if getattr(options, "data", None) is not None:
        return f"sweeps/{Path(options.data).resolve().stem or 'data'}"
    return f"sweeps/{shorten_name(options.task)}"


def find_own_task(options: Namespace) -> type[Task] | None:
    """Return the class of the task, if it is of the user's own."""
    kind = getattr(options, "task_class", None)
    return None if kind is None or name_own_task(kind) is None else kind


def _make_search(options: Namespace, folder: Path, space: Space, make: TrialMaker) -> Search:
    if options.search == "optuna":
        with blaming_usage():
            return OptunaSearch(
                folder,
                space,
                options.seeds,
                make,
                options.trials,
                options.search_seed,
                options.prune,
                options.minimise,
            )
    with blaming_usage():
        if options.search == "random":
            if not space:
                raise UsageError("--search random needs something to vary: --set NAME=VALUES")
            drawn = draw_configurations(space, options.trials, options.search_seed)
            configurations = [(f"{number:03d}", each) for number, each in enumerate(drawn)]
        else:
            configurations = [(None, each) for each in list_configurations(space)]  # type: ignore[misc]
        return FixedSearch(
            [make(each, seed, name) for name, each in configurations for seed in options.seeds]
        )


def _make_engine(options: Namespace, folder: Path, task: type[Task] | None) -> Engine:
    if options.engine == "ray":
        from ntm.sweeps.ray_engine import RayEngine

        return RayEngine(
            folder, task, address=options.address, jobs=options.jobs, gpus=options.gpus or 0.0
        )
    return LocalEngine(folder, task, options.jobs)


def _describe(options: Namespace, space: Space) -> dict[str, Any]:
    """Return what the sweep is: a folder that says otherwise holds another sweep."""
    varied = (
        sorted(space)
        if options.search == "grid"
        else {name: str(each) for name, each in space.items()}
    )
    about: dict[str, Any] = {"search": options.search, "varies": varied}
    if options.search != "grid":
        about["search_seed"] = options.search_seed
    if options.search == "optuna":
        about |= {"prune": options.prune, "minimise": options.minimise}
    return about


def _write_report(folder: Path, task: type[Task] | None, page: bool = True) -> int:
    """Write the report, and print its first table."""
    reader = OutcomeReader(folder, task)
    summary = read_sweep(folder, task, reader)
    for subject in summary.subjects:
        table = make_tables(subject)[0]
        rows = [[*row, "best" if k in table.marked else ""] for k, row in enumerate(table.rows)]
        print_words([*table.head, ""], rows, table.num_left)
        print(table.remarks[0])
    paths = write_report(folder, task, page=page, tell=_tell, reader=reader)
    print(f"The report: {', '.join(map(str, paths))}")
    return DONE


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
