"""The commands for a user's data: each takes the parsed options and returns an exit code."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from lasagne.processes import Processes
from ntm.cli.data_options import get_data_settings
from ntm.cli.data_output import (
    describe_data_result,
    make_data_board_logger,
    print_data_measures,
    summarise_data,
)
from ntm.cli.data_pictures import check_names, draw_data_learning, draw_data_sequence
from ntm.cli.pictures import choose_picture_path, get_width, name_run, save_picture
from ntm.cli.processes import follow_run, joined, saying_what_is_saved
from ntm.cli.replica_commands import train_replicas
from ntm.cli.usage import DONE, INTERRUPTED, Loggers, UsageError, blaming_usage, writing
from ntm.data import Dataset, write_npz
from ntm.experiments.data_runs import (
    DataRun,
    continue_sequences,
    measure_data,
    open_data_evaluator,
    read_moved_settings,
)
from ntm.experiments.data_settings import DataSettings, open_data, open_files, open_inputs
from ntm.experiments.locking import FolderLock
from ntm.experiments.reading import check_is_trained, read_data_result, read_data_settings
from ntm.experiments.runs import check_no_run
from ntm.files import to_json
from ntm.training.data_evaluator import DataEvaluator
from ntm.training.metrics import make_metrics

#: Options of commands that are for runs on tasks
FOR_TASKS = ("size", "num_sequences", "memory_slots", "task", "measure")
#: Options of predictions that go on with sequences
SAMPLING = ("sample", "temperature", "seed")
#: Options of commands that are for runs on data
FOR_DATA = ("data", "validation", "epochs", "metrics", "index", "names")


def refuse_options(options: Namespace, names: tuple[str, ...], run: str) -> None:
    """Raise a `UsageError` if an option is given that a run of this kind has no use for."""
    for name in names:
        if getattr(options, name, None) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is not for {run}")


# ---- Training


def train_on_data(options: Namespace) -> int:
    """Train a new run on data."""
    is_one = options.replicas is None
    folder = Path(options.folder) if options.folder and is_one else None
    if folder is not None and options.processes is None:
        check_no_run(folder)
    kind, per = (getattr(options, name, None) for name in ("kind", "per"))
    files = open_files(options.data, options.validation, kind, per)
    with blaming_usage():
        settings = get_data_settings(options, files)
    if not is_one:
        print(summarise_data(settings), flush=True)
        return train_replicas(
            settings,
            options,
            get_default_data_folder,
            _make_loggers,
            lambda _, result: describe_data_result(result),
            lambda _, folder: read_data_result(folder),
        )
    with joined(options, settings) as processes:
        if processes is not None and not processes.is_leader:
            return follow_run(settings, processes)
        folder = folder or get_default_data_folder(settings)
        check_no_run(folder)
        print(summarise_data(settings), flush=True)
        with blaming_usage():
            run = DataRun(folder, settings, processes=processes)
        loggers = _make_loggers(run, options)
        run.begin()
        return _train(run, loggers, options)


def get_default_data_folder(settings: DataSettings) -> Path:
    """Return the folder of a run on data unless one is given: runs/NAME-MODEL-SEED, by the name of the data's file."""
    name = Path(settings.data).stem or "data"
    return Path("runs") / f"{name}-{settings.model}-{settings.seed}"


def resume_on_data(options: Namespace) -> int:
    """Go on with a run on data."""
    refuse_options(options, FOR_TASKS, "runs on data")
    settings, _ = read_moved_settings(options.folder, options.data, options.validation)
    if options.devices is not None:
        settings = replace(settings, devices=options.devices)
    with joined(options, settings) as processes:
        if processes is not None and not processes.is_leader:
            return follow_run(settings, processes)
        return _resume(options, processes)


def _resume(options: Namespace, processes: Processes | None) -> int:
    FolderLock(options.folder).check()  # Before the data are read, which takes its time
    run = DataRun.open(
        options.folder,
        options.checkpoint,
        options.devices,
        options.data,
        options.validation,
        processes,
    )
    print(summarise_data(run.settings), flush=True)
    return _train(run, _make_loggers(run, options), options, options.max_steps, options.epochs)


def _make_loggers(run: DataRun, options: Namespace) -> Loggers:
    if not options.tensorboard:
        return []
    return [make_data_board_logger(run, options.tensorboard)]


def _train(
    run: DataRun,
    loggers: Loggers,
    options: Namespace,
    max_steps: int | None = None,
    epochs: int | None = None,
) -> int:
    settings, step = run.settings, run.trainer.step_count
    name = Path(settings.data).name
    print(f"{run.folder}: {settings.model} learns {name}, from step {step:,}", flush=True)
    again = f"To go on: ntm resume {run.folder}"
    try:
        with saying_what_is_saved(run, again):
            result = run.train(loggers, not options.quiet, max_steps, epochs)
    except KeyboardInterrupt:  # While the trained network was measured
        print(f"Interrupted after the last step.\n{again}")
        return INTERRUPTED
    print(describe_data_result(result))
    if result["ended"] == "interrupted":
        print(again)
        return INTERRUPTED
    print_data_measures(result["measures"])
    return DONE


# ---- Measures, predictions and pictures


def evaluate_on_data(options: Namespace) -> int:
    """Measure the network of a run on data."""
    refuse_options(options, FOR_TASKS, "runs on data")
    if options.data is None:
        raise UsageError(
            f"{options.folder} is a run on data: give the data to measure, --data FILE"
        )
    settings = read_data_settings(options.folder)
    with blaming_usage():
        make_metrics(settings.layout, options.metrics, "--metrics")
    dataset = open_targets(options.data, settings)
    evaluator, settings = open_data_evaluator(options.folder, options.checkpoint, options.metrics)
    measured = measure_data(evaluator, settings, dataset)
    if options.json:
        print(to_json(measured, indent=2))
    else:
        print(dataset.describe())
        print_data_measures([{"data": Path(options.data).name, **measured}])
    return DONE


def open_targets(path: str, settings: DataSettings) -> Dataset:
    """Open data for a trained network; raise a `ValueError` if they have no targets."""
    dataset = open_data(path, settings.layout)
    if not dataset.has_targets:
        raise ValueError(
            f"{path} has no targets, so nothing can be measured: expected an array targets or y"
        )
    return dataset


def predict(options: Namespace) -> int:
    """Write what the network of a run predicts for data."""
    settings = read_data_settings(options.folder)
    sampling = {name: getattr(options, name) for name in SAMPLING}
    sampling = {name: value for name, value in sampling.items() if value is not None}
    if options.steps is None and sampling:
        raise UsageError(f"--{next(iter(sampling))} is for --steps")
    output, data = Path(options.output), Path(options.data)
    if output.suffix != ".npz":
        raise UsageError(f"--output {output}: the name of the file must end in .npz")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}")
    if output.is_dir():
        raise UsageError(f"--output {output}: that is a folder")
    if output.exists() and data.exists() and output.samefile(data):
        raise UsageError(f"--output {output}: that is the file of the data")
    if data.is_dir() and output.absolute().parent.samefile(data):
        raise UsageError(f"--output {output}: a file there would be one of the data in {data}")
    dataset = open_inputs(data, settings.layout)
    evaluator, settings = open_data_evaluator(options.folder, options.checkpoint)
    if options.steps is None:
        arrays = _predict(evaluator, dataset)
    else:
        with blaming_usage():
            arrays = {
                "generated": continue_sequences(evaluator, dataset, options.steps, **sampling)
            }
    with writing():
        write_npz(output, **arrays)
    print(dataset.describe().removesuffix("; no targets"))
    print(f"{next(iter(arrays)).capitalize()}: {output}")
    return DONE


def _predict(evaluator: DataEvaluator, dataset: Dataset) -> dict[str, Any]:
    predicted: Any = evaluator.predict(dataset)
    arrays = {"predictions": predicted}
    if evaluator.layout.kind == "classes":
        is_ragged = isinstance(predicted, list)
        arrays["labels"] = (
            [each.argmax(axis=-1) for each in predicted] if is_ragged else predicted.argmax(axis=-1)
        )
    return arrays


def plot_data(options: Namespace) -> int:
    """Draw a sequence of data, or learning curves."""
    refuse_options(options, FOR_TASKS, "runs on data")
    kind = options.kind or ("sequence" if len(options.folders) == 1 else "learning")
    if kind == "generalisation":
        raise UsageError(
            "--kind generalisation is for tasks, whose sequences have sizes; runs on data have --kind learning"
        )
    names = [name_run(folder) for folder in options.folders]
    path = choose_picture_path(options.output, f"{names[0]}-{kind}.png")
    if kind == "learning":
        refuse_options(options, ("data", "index", "names"), "--kind learning")
        settings = [read_data_settings(folder) for folder in options.folders]
        figure = draw_data_learning(options.folders, settings, get_width(options))
    else:
        check_is_trained(options.folders[0])
        evaluator, run_settings = open_data_evaluator(options.folders[0])
        texts = _read_names(options.names, run_settings)
        if options.data is None:
            opened = run_settings.open()
            dataset = opened.validation or opened.training
        else:
            dataset = open_targets(options.data, run_settings)
        index = options.index or 0
        if index >= len(dataset):
            raise UsageError(f"--index {index}: the data have {len(dataset):,} sequences, from 0")
        width = get_width(options)
        figure = draw_data_sequence(evaluator, run_settings, dataset, index, texts, width)
    save_picture(figure, path)
    return DONE


def _read_names(path: str | None, settings: DataSettings) -> list[str]:
    """Return the names in a file, one a line; none if there is no file."""
    if path is None:
        return []
    try:
        names = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error
    check_names(names, settings.layout, path)
    return names
