"""The command that takes a network out of the library."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytensor

from ntm.cli.usage import DONE, UsageError, writing
from ntm.experiments.data_runs import open_data_evaluator
from ntm.experiments.reading import check_is_trained, is_data_run
from ntm.experiments.runs import open_evaluator
from ntm.exporting.files import make_members, write_members
from ntm.files import check_folder_of
from ntm.models import find_model
from ntm.serialization import load


def export_network(options: Namespace) -> int:
    """Write the network of a run, or of a file, to a file that runs with JAX alone."""
    word, folder, path = options.model_file, options.folder, Path(options.output)
    if (word is None) == (folder is None):
        raise UsageError("expected the FOLDER of a run or --model-file, one of them")
    if path.suffix.lower() != ".zip":
        raise UsageError(f"--output {path}: the name of the file must end in .zip")
    try:
        check_folder_of(path, "--output")
    except OSError as error:
        raise UsageError(str(error)) from error
    pytensor.config.floatX = options.float_type
    network = _open_run(options) if word is None else _open_file(options)
    about, members = make_members(
        network, options.batch_size, options.num_steps, options.platforms, options.gradients
    )
    with writing():
        write_members(path, members)
    for kind in ("inputs", "outputs"):
        for each in about[kind]["arrays"]:
            shape = ", ".join(map(str, each["shape"]))
            print(f"{kind.capitalize()}: {each['name']} ({shape}) {each['dtype']}")
    print(f"Functions: {', '.join(about['functions'])}")
    for name, reason in about["left_out"].items():
        print(f"Without {name}: {reason}")
    print(f"Network: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return DONE


def _open_run(options: Namespace) -> Any:
    check_is_trained(options.folder)
    if is_data_run(options.folder):
        if options.task is not None:
            raise UsageError("--task is for runs on tasks")
        return open_data_evaluator(options.folder, options.checkpoint)[0].l_out
    return open_evaluator(options.folder, options.checkpoint, task=options.task).l_out


def _open_file(options: Namespace) -> Any:
    for name in ("task", "checkpoint"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for the folder of a run, not for --model-file")
    word = options.model_file
    if Path(word).is_file():
        return load(word)
    try:
        return load(find_model(word))
    except ValueError as error:
        raise UsageError(f"--model-file: there is no file {word:.100}, and {error}") from error
