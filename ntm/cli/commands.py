"""The commands: each takes the parsed options and returns an exit code."""

import inspect
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from lasagne.devices import reserve_devices
from lasagne.processes import Processes
from ntm.cli.data_commands import (
    FOR_DATA,
    evaluate_on_data,
    plot_data,
    refuse_options,
    resume_on_data,
)
from ntm.cli.model_commands import open_model
from ntm.cli.options import get_settings
from ntm.cli.output import (
    describe_result,
    find_too_long,
    make_board_logger,
    print_measures,
)
from ntm.cli.pictures import (
    choose_picture_path,
    draw_generalisation,
    draw_learning,
    draw_sequence,
    get_width,
    group_runs,
    name_run,
    save_picture,
)
from ntm.cli.processes import follow_run, joined, saying_what_is_saved
from ntm.cli.replica_commands import train_replicas
from ntm.cli.usage import DONE, END, INTERRUPTED, NOT_SOLVED, Loggers, UsageError, blaming_usage
from ntm.experiments.locking import FolderLock
from ntm.experiments.own_tasks import shorten_name
from ntm.experiments.reading import (
    check_is_trained,
    is_data_run,
    read_losses,
    read_result,
    read_settings,
)
from ntm.experiments.runs import Run, check_no_run, measure, open_evaluator, was_solved
from ntm.experiments.settings import Settings, make_settings
from ntm.files import to_json
from ntm.interruption import stop_on_signals
from ntm.tasks import TASKS, Task

# ---- Tasks


def list_tasks(options: Namespace) -> int:
    """List the tasks."""
    width = max(map(len, TASKS))
    for task, kind in TASKS.items():
        print(f"{task:{width}}  {summarise_task(kind)}")
    return DONE


def summarise_task(task: type[Task]) -> str:
    """Return the first line of a task's docstring."""
    return inspect.cleandoc(task.__doc__ or "A task of your own.").partition("\n")[0]


# ---- Training


def train(options: Namespace) -> int:
    """Train a new run."""
    with blaming_usage():
        settings = get_settings(options, options.task_class)
    if options.replicas is not None:
        return train_replicas(
            settings, options, get_default_folder, _make_loggers, describe_result, _read_result
        )
    with joined(options, settings) as processes:
        if processes is not None and not processes.is_leader:
            return follow_run(settings, processes)
        folder = options.folder or get_default_folder(settings)
        run, loggers = _start(folder, settings, options, processes)
        return _train(run, loggers, options)


def _read_result(settings: Settings, folder: Path) -> dict[str, Any]:
    """Return the result of a run that has ended."""
    result = read_result(folder)
    result["solved"] = was_solved(settings, result)
    return result


def resume(options: Namespace) -> int:
    """Go on with a run."""
    if is_data_run(options.folder):
        return resume_on_data(options)
    refuse_options(options, FOR_DATA, "runs on tasks")
    settings = read_settings(options.folder, options.task)
    if options.devices is not None:
        settings = replace(settings, devices=options.devices)
    with joined(options, settings) as processes:
        if processes is not None and not processes.is_leader:
            return follow_run(settings, processes)
        return _resume(options, processes)


def _resume(options: Namespace, processes: Processes | None) -> int:
    FolderLock(options.folder).check()  # Before the network is built, which takes its time
    run = Run.open(options.folder, options.checkpoint, options.devices, options.task, processes)
    began, now = run.settings.devices, run.trainer.training_step.division.devices
    if began != now:
        print(
            f"The run began with --devices {began} and goes on with {now}: results are equal up to rounding only"
        )
    return _train(run, _make_loggers(run, options), options, options.max_steps)


def get_default_folder(settings: Settings) -> Path:
    """Return the folder of a run unless one is given: the controller is named where it is not the default."""
    usual = make_settings(settings.task_class, settings.model)
    controllers = [getattr(each.get_network(), "controller", "") for each in (settings, usual)]
    names = [shorten_name(settings.task), settings.model]
    if controllers[0] != controllers[1]:
        names.append(controllers[0])
    return Path("runs") / "-".join([*names, str(settings.seed)])


def _start(
    folder: Path, settings: Settings, options: Namespace, processes: Processes | None = None
) -> tuple[Run, Loggers]:
    """Begin a run. Its folder is written last, when nothing is left that can be wrong."""
    check_no_run(folder)
    with blaming_usage():
        run = Run(folder, settings, processes=processes)
    loggers = _make_loggers(run, options)
    run.begin()
    return run, loggers


def _make_loggers(run: Run, options: Namespace) -> Loggers:
    loggers: Loggers = []
    if options.tensorboard:
        evaluator, step = run.trainer.evaluator, run.trainer.step_count
        loggers.append(make_board_logger(evaluator, options.tensorboard, step))
    return loggers


def _train(run: Run, loggers: Loggers, options: Namespace, max_steps: int | None = None) -> int:
    settings, step = run.settings, run.trainer.step_count
    print(f"{run.folder}: {settings.model} learns {settings.task}, from step {step:,}", flush=True)
    try:
        with saying_what_is_saved(run, _describe_resume(run)):
            result = run.train(loggers, progress=not options.quiet, max_steps=max_steps)
    except KeyboardInterrupt:  # While the trained network was measured
        print(f"Interrupted after the last step.\n{_describe_resume(run)}")
        return INTERRUPTED
    print(describe_result(settings, result))
    if result["ended"] == "interrupted":
        print(_describe_resume(run))
        return INTERRUPTED
    print_measures(result["measures"])
    _print_note(settings, settings.evaluate_at)
    return DONE if result["solved"] else NOT_SOLVED


def _describe_resume(run: Run) -> str:
    """Return in a line how to go on with a run that was interrupted."""
    task = f" --task {run.settings.task}" if run.settings.own_task else ""
    return f"To go on: ntm resume {run.folder}{task}"


def _print_note(
    settings: Settings,
    sizes: Sequence[dict[str, int]],
    slots: int | None = None,
    file: TextIO | None = None,
) -> None:
    """Name the sizes whose sequences are longer than the memory has slots: with so many, or with those in training."""
    if slots is None:
        slots = getattr(settings.get_network(), "memory_slots", None)
    too_long = find_too_long(settings.make_task(), sizes, slots)
    if too_long:
        print(
            f"\nLonger than the memory has slots ({slots:,}): {'; '.join(too_long)}.\n"
            "ntm evaluate --memory-slots N measures the network with a larger memory.",
            file=file,
        )


def compare(options: Namespace) -> int:
    """Train several networks, unless their runs have ended, and draw how they generalise."""
    task = make_settings(options.task_class).make_task()
    measure_name = _choose_measure(options.measure, options.task, task)
    path = choose_picture_path(options.output, f"compare-{shorten_name(options.task)}.png")
    parent, models = Path(options.folder or "runs"), list(dict.fromkeys(options.models))
    with blaming_usage():
        of_models = [get_settings(options, options.task_class, model) for model in models]
        settings = [
            replace(each, seed=each.seed + k) for each in of_models for k in range(options.seeds)
        ]
    folders = [parent / get_default_folder(each).name for each in settings]
    _reserve_devices(folders, options.task_class)
    results = []
    for folder, each in zip(folders, settings, strict=True):
        has_ended = _is_run_of(folder, each) and (folder / "result.json").exists()
        if not has_ended:
            code = _train(*_start_or_open(folder, each, options), options)
            if code == INTERRUPTED:
                return code
        result = _read_result(each, folder)
        if has_ended:
            print(f"{folder}: ended before. {describe_result(each, result)}")
        results.append(result)
    groups = {
        model: range(k * options.seeds, (k + 1) * options.seeds) for k, model in enumerate(models)
    }
    with stop_on_signals() as stop:
        stop.end_at_once(*END)  # All runs have been saved
        figure = draw_generalisation(results, groups, settings, measure_name, get_width(options))
        save_picture(figure, path)
    return DONE if all(result["solved"] for result in results) else NOT_SOLVED


def _reserve_devices(folders: Iterable[Path], task: type[Task]) -> None:
    """Let JAX have the devices of all runs in some folders: when the first run is trained, the number is fixed."""
    found = [
        read_settings(folder, task) for folder in folders if (folder / "settings.json").exists()
    ]
    counts = [each.devices for each in found if isinstance(each.devices, int)]
    if max(counts, default=1) > 1:
        reserve_devices(max(counts))


def _is_run_of(folder: Path, settings: Settings) -> bool:
    if not (folder / "settings.json").exists():
        return False
    return settings.may_be(read_settings(folder, settings.task_class))


def _start_or_open(folder: Path, settings: Settings, options: Namespace) -> tuple[Run, Loggers]:
    """Begin a run, or open the one in the folder if it has these settings: the same command goes on."""
    if not _is_run_of(folder, settings):
        return _start(folder, settings, options)
    FolderLock(folder).check()
    run = Run.open(folder, task=settings.task_class)
    return run, _make_loggers(run, options)


# ---- Measures and pictures


def evaluate(options: Namespace) -> int:
    """Measure the network of a run, or of a file."""
    word, folder = options.model_file, options.folder
    if (word is None) == (folder is None):
        raise UsageError("expected the FOLDER of a run or --model-file, one of them")
    if word is None and is_data_run(folder):
        return evaluate_on_data(options)
    kind = "runs on tasks" if word is None else "--model-file"
    refuse_options(options, FOR_DATA if word is None else (*FOR_DATA, "checkpoint"), kind)
    model = None if word is None else open_model(word, options.task)
    settings = read_settings(folder, options.task) if model is None else model.settings
    task = settings.make_task()
    with blaming_usage():
        sizes = [parse_sizes(task, words) for words in options.size or ()]
    sizes = sizes or settings.evaluate_at
    if model is None:
        evaluator = open_evaluator(folder, options.checkpoint, options.memory_slots, options.task)
    else:
        evaluator = model.make_evaluator(options.memory_slots)
    rows = measure(evaluator, sizes, options.num_sequences)
    if options.json:
        print(to_json(rows, indent=2))
    else:
        print_measures(rows)
    file = sys.stderr if options.json else None
    _print_note(settings, sizes, options.memory_slots, file)
    return DONE


def plot(options: Namespace) -> int:
    """Draw a sequence, learning curves or generalisation."""
    if options.kind == "sequence" and len(options.folders) > 1:
        raise UsageError("--kind sequence draws one run, and several folders were given")
    of_data = [is_data_run(folder) for folder in options.folders]
    if any(of_data):
        if not all(of_data):
            raise UsageError("runs on data and runs on tasks cannot be drawn in one picture")
        return plot_data(options)
    refuse_options(options, FOR_DATA, "runs on tasks")
    kind = options.kind or ("sequence" if len(options.folders) == 1 else "generalisation")
    if kind != "sequence" and options.size:
        raise UsageError(f"--size is for --kind sequence, not for {kind}")
    if kind != "generalisation" and options.measure:
        raise UsageError(f"--measure is for --kind generalisation, not for {kind}")
    settings = [read_settings(folder, options.task) for folder in options.folders]
    task = settings[0].task
    names = [name_run(folder) for folder in options.folders]
    if len({each.task for each in settings}) > 1:
        learnt = ", ".join(
            f"{name} ({each.task})" for name, each in zip(names, settings, strict=True)
        )
        raise UsageError(f"runs of different tasks cannot be compared in one picture: {learnt}")
    path = choose_picture_path(options.output, f"{names[0]}-{kind}.png")
    width = get_width(options)
    if kind == "sequence":
        with blaming_usage():
            sizes = parse_sizes(settings[0].make_task(), options.size or ())
        check_is_trained(options.folders[0])
        evaluator = open_evaluator(options.folders[0], task=options.task)
        figure = draw_sequence(evaluator, settings[0], sizes, width)
    elif kind == "learning":
        curves = [read_losses(folder) for folder in options.folders]
        figure = draw_learning(curves, group_runs(options.folders, settings), settings, width)
    else:
        measure_name = _choose_measure(options.measure, task, settings[0].make_task())
        results = [read_result(folder) for folder in options.folders]
        groups = group_runs(options.folders, settings)
        figure = draw_generalisation(results, groups, settings, measure_name, width)
    save_picture(figure, path)
    return DONE


def _choose_measure(given: str | None, name: str, task: Task) -> str:
    """Return the measure to draw: the one given, or the one that says whether the task is solved."""
    if given is not None and given not in task.measures:
        raise UsageError(f"--measure {given}: {name} has the measures {', '.join(task.measures)}")
    return given or task.solved[0]


def parse_sizes(task: Task, words: Sequence[str]) -> dict[str, int]:
    """Return sizes such as {"length": 40} from words such as "length=40"."""
    sizes: dict[str, int] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value.isdecimal() or name not in task.sizes:
            raise UsageError(
                f"--size {word}: expected NAME=N with a name among {', '.join(task.sizes)}"
            )
        if name in sizes:
            raise UsageError(
                f"--size {' '.join(words)}: {name} is given twice; to measure at several sizes, give --size for each"
            )
        sizes[name] = int(value)
    return sizes
