"""What the commands for a user's data print and draw."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ntm.cli.output import describe_counts, log_memories, print_table, spread_weights
from ntm.data import DataBatch, Dataset, Layout
from ntm.data.layout import SINGLE
from ntm.experiments.data_runs import DataRun
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.networks import takes_symbols
from ntm.experiments.reading import read_losses
from ntm.training.data_evaluator import DataEvaluator
from ntm.training.loggers import TensorBoard
from ntm.typing import Array, PathLike
from ntm.visualization.curves import plot_learning
from ntm.visualization.sequences import plot_sequence

#: Losses that differ by a smaller factor have a linear axis
MAX_LINEAR = 30
#: Sequences of more steps are better cut into windows
LONG = 5000
#: Steps of a sequence that are drawn at most
MAX_STEPS = 500
#: Curves of at most so many points have markers
FEW = 30
#: Symbols that are drawn one-hot at most; more are drawn as numbers
MAX_DRAWN = 64

# ---- Lines and tables


def summarise_data(settings: DataSettings) -> str:
    """Return what the data of a run were taken for, in a line, and what is held out of them, in another."""
    data = settings.open()
    lines = [f"{Path(settings.data).name}: {data.whole.describe()}"]
    if settings.validation is not None and data.validation is not None:
        name = Path(settings.validation).name
        lines.append(f"Validation: {name}, {len(data.validation):,} sequences")
    elif data.validation is not None:
        held, all_of_them = len(data.validation), len(data.whole)
        lines.append(f"Validation: {held:,} of the {all_of_them:,} sequences, by the seed")
    longest = data.training.longest
    if longest > LONG and settings.window is None and settings.layout.per_step:
        lines.append(
            f"Sequences have up to {longest:,} steps: --window 100 trains on windows of 100"
        )
    return "\n".join(lines)


def describe_data_result(result: Mapping[str, Any]) -> str:
    """Describe in a line how a run on data ended."""
    counts = describe_counts(result)
    if result["ended"] == "interrupted":
        return f"Interrupted {counts}."
    if result["ended"] == "done":
        return f"Done {counts}."
    return f"Stopped {counts}: {result['ended']}."


def print_data_measures(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what was measured on data as a table, and below it the confusion matrix, if there is one."""
    names = [name for name, value in rows[0].items() if name != "data" and not _is_matrix(value)]
    print_table([row["data"] for row in rows], rows, names, 14)
    for row in rows:
        for name, value in row.items():
            if _is_matrix(value):
                _print_matrix(f"{name}: rows are true classes, columns predicted ones", value)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list)


def _print_matrix(title: str, matrix: Sequence[Sequence[float]]) -> None:
    cells = [[f"{value:.6g}" for value in row] for row in matrix]
    width = max(len(cell) for row in cells for cell in row) + 1
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print(f"{number:4}" + "".join(f"{cell:>{width}}" for cell in row))


# ---- Pictures


def draw_learning(folders: Mapping[str, PathLike]) -> Figure:
    """Draw the losses of runs on data over training: on training data, and on validation data if there are some.

    Parameters
    ----------
    folders : dict from str to path
        By the names of the runs.
    """
    curves: dict[str, Any] = {}
    for name, folder in folders.items():
        start = f"{name}, " if len(folders) > 1 else ""
        found = {part: read_losses(folder, f"{part} loss") for part in ("training", "validation")}
        if not found["training"][0]:  # Nothing but the losses of the steps
            found["training"] = read_losses(folder)
        curves |= {f"{start}{part}": curve for part, curve in found.items() if curve[0]}
    figure = plot_learning(curves)
    (axis,) = figure.axes
    losses = np.concatenate([losses for _, losses in curves.values()])
    losses = losses[np.isfinite(losses)]
    if len(losses) and losses.max() < MAX_LINEAR * losses.min():
        axis.set_yscale("linear")
        axis.set_ylim(0, 1.05 * losses.max())
    for line in axis.lines:
        if np.size(line.get_xdata()) <= FEW:
            line.set_marker("o")
    return figure


def draw_data_sequence(
    evaluator: DataEvaluator, settings: DataSettings, dataset: Dataset, index: int
) -> Figure:
    """Draw what the network of a run does with a sequence of data.

    Numbers are scaled to the range from 0 to 1: each input by its own values, targets and predictions together. Of a
    long sequence with a target at each step the first 500 steps are drawn.
    """
    batch, layout = dataset.take([index]), settings.layout
    given: Any = dataset.subset([index])
    if layout.per_step and batch.shape[1] > MAX_STEPS:
        batch = dataset.take_windows([index], [0], MAX_STEPS)
        given = batch.inputs.get(SINGLE, batch.inputs)
    predicted = np.asarray(evaluator.predict(given)[0])
    targets, predicted, mask = _show_targets(layout, batch, predicted)
    return plot_sequence(
        np.concatenate([_show_input(layout, batch, name) for name in layout.inputs], axis=1),
        targets,
        predicted,
        mask=mask,
        title=f"{settings.model}, {Path(settings.data).name}: sequence {index}",
        **spread_weights(evaluator.look_inside(given)),
    )


def _show_input(layout: Layout, batch: DataBatch, name: str) -> Array:
    """Return an input of the first sequence of a batch as channels (T, F) from 0 to 1."""
    each, values, steps = layout.inputs[name], batch.inputs[name][0], batch.shape[1]
    if takes_symbols(each) and each.num_symbols <= MAX_DRAWN:
        values = np.eye(each.num_symbols)[values]
    else:
        values = _scale(values.astype(float), values)
    if not each.has_time:
        values = np.broadcast_to(values, (steps, *values.shape))
    return values.reshape(steps, -1)


def _show_targets(layout: Layout, batch: DataBatch, predicted: Array) -> tuple[Array, Array, Array]:
    """Return targets and predictions of a sequence as channels (T, O) from 0 to 1, and the mask (T,)."""
    targets, mask = batch.targets[0], batch.mask[0]
    num_outputs = layout.num_outputs or 0
    if layout.kind == "classes":
        targets = np.eye(num_outputs)[targets]
    elif layout.kind == "numbers":
        counts = (mask != 0) if layout.per_step and mask.any() else ...
        both = np.stack([targets[counts], predicted[counts]])
        targets, predicted = _scale(targets, both), _scale(predicted, both)
    if not layout.per_step:  # Drawn at the last step
        steps = len(mask)
        mask = np.zeros(steps)
        mask[-1] = 1
        targets, predicted = (
            np.concatenate([np.zeros((steps - 1, num_outputs)), values[None]])
            for values in (targets, predicted)
        )
    return targets * (mask != 0)[:, None], predicted, mask


def _scale(values: Array, whole: Array) -> Array:
    """Return values scaled so that those of `whole` go from 0 to 1."""
    low, high = float(whole.min()), float(whole.max())
    if low >= 0 and high <= 1:
        return values
    return np.clip((values - low) / max(high - low, 1e-12), 0, 1)


def make_data_board_logger(run: DataRun, folder: PathLike) -> Callable[[Mapping[str, Any]], None]:
    """Return a logger for TensorBoard: scalars, and weightings and memory wherever the network is evaluated."""
    board = TensorBoard(folder, run.trainer.step_count)
    data = run.settings.open()
    first = (data.validation or data.training).subset([0])

    def log(row: Mapping[str, Any]) -> None:
        board(row)
        if "loss" not in row:
            log_memories(board, run.trainer.evaluator.look_inside(first), row["step"])

    return log
