"""What the commands print and draw."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ntm.cli.usage import blaming_usage
from ntm.experiments.settings import Settings
from ntm.tasks import Batch, Task
from ntm.traces import Trace
from ntm.training.evaluator import Evaluator
from ntm.training.loggers import TensorBoard
from ntm.typing import PathLike
from ntm.visualization.figures import check_figure_path, save_figure
from ntm.visualization.sequences import plot_sequence

#: The weights of all slots are drawn up to so many slots
MAX_SLOTS = 4096

# ---- Lines and tables


def describe_result(settings: Settings, result: Mapping[str, Any]) -> str:
    """Describe in a line how a run ended."""
    counts = describe_counts(result)
    if result["ended"] == "interrupted":
        return f"Interrupted {counts}."
    name, threshold = settings.make_task().solved
    value = result["measures"][0][name]
    shown = "not finite" if value is None else f"{value:.3g}"
    verdict = "Solved" if result["solved"] else "Not solved"
    return f"{verdict} {counts}: {describe_measure(name)} {shown} (solved: below {threshold:g})."


def describe_counts(result: Mapping[str, Any]) -> str:
    """Describe what the training of a run took."""
    counts = f"after {result['steps']:,} steps, {result['sequences']:,} sequences, {result['seconds']:.0f} s"
    if result["skipped"]:
        counts += f"; {result['skipped']} steps skipped"
    if result.get("restarts"):
        counts += f"; restarts: {result['restarts']}"
    return counts


def describe_measure(name: str) -> str:
    """Return the name of a measure in words."""
    return name.replace("_", " ")


def describe_sizes(sizes: Mapping[str, int]) -> str:
    """Return sizes in words."""
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "as in training"


def print_measures(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print measures, as :func:`ntm.experiments.runs.measure` gives them, as a table."""
    names = [name for name in rows[0] if name != "sizes"]
    print_table([describe_sizes(row["sizes"]) for row in rows], rows, names, 12)


def print_table(
    labels: Sequence[str], rows: Sequence[Mapping[str, Any]], names: Sequence[str], width: int
) -> None:
    """Print the numbers of some names as a table: a label for each row, and columns of a width."""
    first = max(map(len, labels))
    print(f"\n{'':{first}}" + "".join(f"  {name:>{width}}" for name in names))
    for label, row in zip(labels, rows, strict=True):
        cells = ("-" if row[name] is None else f"{row[name]:.4g}" for name in names)
        print(f"{label:{first}}" + "".join(f"  {cell:>{width}}" for cell in cells))


def find_too_long(task: Task, sizes: Iterable[Mapping[str, int]], slots: int | None) -> list[str]:
    """Return those of some sizes whose sequences are longer than the memory has slots, in words."""
    too_long = []
    for each in sizes:
        items = task.count_items(**task.largest_sizes | dict(each))
        if slots is not None and items is not None and items > slots:
            too_long.append(describe_sizes(each))
    return too_long


# ---- Pictures


def choose_path(given: str | None, default: str) -> Path:
    """Return the file of a picture: the one given, or the default with a number if there is such a file."""
    if given is not None:
        return Path(given)
    path = Path(default)
    number = 2
    while path.exists():
        path = Path(default).with_stem(f"{Path(default).stem}-{number}")
        number += 1
    return path


def choose_picture_path(given: str | None, default: str) -> Path:
    """Return the file of a picture, as :func:`choose_path`, once it is sure that it can be written."""
    path = choose_path(given, default)
    with blaming_usage():
        check_figure_path(path)
    return path


def name_run(folder: str) -> str:
    """Return the name of a run in a picture: that of its folder."""
    return Path(folder).resolve().name


def save_picture(figure: Figure, path: Path) -> None:
    """Save a picture, and say where."""
    save_figure(figure, path)
    print(f"Picture: {path}")


def draw_sequence(
    evaluator: Evaluator, settings: Settings, sizes: Mapping[str, int] | None = None
) -> Figure:
    """Draw what the network of a run does with a sequence of its task.

    Parameters
    ----------
    evaluator : Evaluator
    settings : Settings
    sizes : dict from str to int, optional
        Sizes instead of the largest in training.
    """
    sizes = {**evaluator.task.largest_sizes, **(sizes or {})}
    batch = draw_batch(evaluator, sizes)
    return plot_sequence(
        batch.inputs[0],
        batch.targets[0],
        evaluator.predict(batch.inputs)[0],
        mask=batch.mask[0],
        title=f"{settings.model}, {settings.task}: {describe_sizes(sizes)}",
        **spread_weights(evaluator.look_inside(batch.inputs[0])),
    )


def spread_weights(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return the weights (T, heads, N) that :func:`plot_sequence` draws: of the first memory, unless it is large."""
    weights: dict[str, Any] = {}
    for trace in traces[:1]:
        for name, heads in (("write", trace.write_heads), ("read", trace.read_heads)):
            if heads and trace.num_slots <= MAX_SLOTS:
                spread = [head.spread_weights(trace.num_slots) for head in heads]
                weights[f"{name}_weights"] = np.stack(spread, axis=1)
    return weights


def draw_batch(evaluator: Evaluator, sizes: Mapping[str, int]) -> Batch:
    """Draw a batch of one sequence of given sizes, the same at each call."""
    rng = np.random.default_rng([evaluator.seed, 2])
    return evaluator.task.sample(1, rng=rng, **sizes)


def make_board_logger(
    evaluator: Evaluator, folder: PathLike, step: int
) -> Callable[[Mapping[str, Any]], None]:
    """Return a logger for TensorBoard: scalars, and weightings and memory wherever the network is evaluated."""
    board = TensorBoard(folder, step)
    batch = draw_batch(evaluator, evaluator.task.largest_sizes)

    def log(row: Mapping[str, Any]) -> None:
        board(row)
        if "loss" in row:
            return
        log_memories(board, evaluator.look_inside(batch.inputs[0]), row["step"])

    return log


def log_memories(board: TensorBoard, traces: Iterable[Trace], step: int) -> None:
    """Write the memory after the last step and the weightings of a sequence, slots from top to bottom."""
    for trace in traces:
        images = {}
        if trace.memory is not None:
            memory = trace.memory[-1]
            span = max(float(np.abs(memory).max()), 1e-9)
            images[f"{trace.name}/memory"] = (memory / span + 1) / 2
        if trace.num_slots <= MAX_SLOTS:
            for head in trace.heads:
                images[f"{trace.name}/{head.name}"] = head.spread_weights(trace.num_slots).T
        board.add_images(images, step)
