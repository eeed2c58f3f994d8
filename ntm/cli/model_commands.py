"""The commands for trained networks that come with the package: each takes the parsed options, returns an exit code."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from ntm.arguments import shorten
from ntm.cli.output import describe_measure
from ntm.cli.usage import DONE, UsageError
from ntm.files import to_json
from ntm.models import TrainedModel, find_model, list_models, read_model
from ntm.tasks import Task
from ntm.tasks.base import describe_sizes

COLUMNS = ("name", "network", "parameters", "kB", "as in training", "beyond training")


def print_models(options: Namespace) -> int:
    """List the trained networks."""
    models = list_models()
    if options.json:
        print(to_json([_to_json(model) for model in models], indent=2))
        return DONE
    rows = [COLUMNS, *map(_describe, models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            f"{cell:>{width}}" if title in ("parameters", "kB") else f"{cell:{width}}"
            for title, cell, width in zip(COLUMNS, row, widths, strict=True)
        )
        print("  ".join(cells).rstrip())
    folders = sorted({str(model.path.parent) for model in models})
    print(
        f"\nThe files are in {', '.join(folders)}. To measure one: ntm evaluate --model-file copy"
    )
    return DONE


def _describe(model: TrainedModel) -> tuple[str, ...]:
    first, *others = model.result["measures"]
    return (
        model.name,
        model.network,
        f"{model.result['parameters']:,}",
        f"{model.path.stat().st_size / 1000:.0f}",
        _describe_row(model, first),
        f"{_describe_row(model, others[-1])} at {describe_sizes(others[-1]['sizes'])}"
        if others
        else "",
    )


def _describe_row(model: TrainedModel, row: dict[str, Any]) -> str:
    """Return in words what the network does at some sizes: its measure, and where it can be right how often it is."""
    name, _ = model.settings.make_task().solved
    measure = f"{row[name]:.3g} {describe_measure(name)}"
    return measure if "ratio" in row else f"{measure}, {row['correct']:.1%} right"


def _to_json(model: TrainedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "path": str(model.path),
        "network": model.network,
        "bytes": model.path.stat().st_size,
        "seeds": model.seeds,
        "settings": model.settings.to_json(),
        "result": model.result,
    }


def open_model(word: str, task: type[Task] | None) -> TrainedModel:
    """Return what the file of a trained network says.

    Parameters
    ----------
    word : str
        The name of a network that comes with the package, or the path of a file.
    task : type, optional
        As of :func:`ntm.models.read_model`.
    """
    if Path(word).is_file():
        return read_model(word, task)
    try:
        path = find_model(word)
    except ValueError as error:
        raise UsageError(
            f"--model-file: there is no file {shorten(word, 100)}, and {error}"
        ) from error
    return read_model(path, task)
