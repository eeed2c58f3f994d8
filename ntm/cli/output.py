"""What the commands print and draw."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ntm.experiments.settings import Settings
from ntm.tasks import Batch, Task
from ntm.tasks.base import describe_sizes
from ntm.traces import Trace
from ntm.training.evaluator import Evaluator
from ntm.training.loggers import TensorBoard
from ntm.typing import PathLike
from ntm.visualization.dashboard import SEQUENCE_PANELS, plot_dashboard

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


def print_words(head: Sequence[str], rows: Sequence[Sequence[str]], num_left: int) -> None:
    """Print a table of words, as wide as its words: the first `num_left` columns begin on the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            f"{cell:<{width}}" if k < num_left else f"{cell:>{width}}"
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def find_too_long(task: Task, sizes: Iterable[Mapping[str, int]], slots: int | None) -> list[str]:
    """Return those of some sizes whose sequences are longer than the memory has slots, in words."""
    too_long = []
    for each in sizes:
        items = task.count_items(**task.largest_sizes | dict(each))
        if slots is not None and items is not None and items > slots:
            too_long.append(describe_sizes(each))
    return too_long


# ---- TensorBoard


def draw_batch(evaluator: Evaluator, sizes: Mapping[str, int]) -> Batch:
    """Draw a batch of one sequence of given sizes, the same at each call."""
    rng = np.random.default_rng([evaluator.seed, 2])
    return evaluator.task.sample(1, rng=rng, **sizes)


def make_board_logger(
    evaluator: Evaluator, folder: PathLike, step: int
) -> Callable[[Mapping[str, Any]], None]:
    """Return a logger for TensorBoard: scalars, and a dashboard of each memory wherever the network is evaluated."""
    board = TensorBoard(folder, step)
    batch = draw_batch(evaluator, evaluator.task.largest_sizes)
    inputs, targets, mask = (array[0] for array in batch)

    def log(row: Mapping[str, Any]) -> None:
        board(row)
        if "loss" in row:
            return
        predictions = evaluator.predict(batch.inputs)[0]
        shown = {"inputs": inputs, "targets": targets, "predictions": predictions, "mask": mask}
        shown["kind"] = evaluator.task.output
        log_memories(board, evaluator.look_inside(inputs), row["step"], **shown)

    return log


def log_memories(board: TensorBoard, traces: Iterable[Trace], step: int, **shown: Any) -> None:
    """Write a dashboard of each memory: the weights of its heads, and the memory after the last step.

    Parameters
    ----------
    board : TensorBoard
    traces : list of Trace
        Of one sequence.
    step : int
        Of the training.
    **shown
        What :func:`ntm.visualization.plot_dashboard` shows of the sequence besides.
    """
    for trace in traces:
        panels = [name for name in SEQUENCE_PANELS if f"{name}s" in shown]
        panels += ["write weights"] * bool(trace.write_heads)
        panels += ["read weights"] * bool(trace.read_heads)
        panels += ["memory at step"] * (trace.memory is not None)
        figure = plot_dashboard(trace, **shown, panels=panels, title=f"step {step:,}")
        board.add_figures({trace.name: figure}, step)
