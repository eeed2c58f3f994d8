"""What the commands draw of runs on a user's data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ntm.cli.pictures import group_runs
from ntm.data import DataBatch, Dataset, Layout
from ntm.data.layout import SINGLE
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.networks import takes_symbols
from ntm.experiments.reading import read_losses
from ntm.training.data_evaluator import DataEvaluator
from ntm.typing import Array, PathLike
from ntm.visualization.curves import plot_learning
from ntm.visualization.sequences import plot_sequence

#: Steps of a sequence that are drawn at most
MAX_STEPS = 500
#: Symbols that are drawn one-hot at most; more are drawn as numbers
MAX_DRAWN = 64
#: What losses are called on an axis, by the kind of the targets
LOSSES = {"bits": "loss, nats", "classes": "loss, nats", "numbers": "squared error"}


def draw_data_learning(
    folders: Sequence[PathLike], settings: Sequence[DataSettings], width: float | None = None
) -> Figure:
    """Draw the losses of runs on data over training: on training data, and on validation data if there are some.

    Runs with the same settings but for the seed are one line with a band: see :func:`ntm.cli.pictures.group_runs`.

    Parameters
    ----------
    folders : list of str or path
    settings : list of DataSettings
        Of the runs.
    width : float, optional
        Of the picture, in inches.
    """
    curves: dict[str, Any] = {}
    groups = group_runs(folders, settings)
    for name, group in groups.items():
        start = f"{name}, " if len(groups) > 1 else ""
        for part in ("training", "validation"):
            found = [_read_part(folders[k], part) for k in group]
            found = [curve for curve in found if curve[0]]
            if found:
                curves[f"{start}{part}"] = found[0] if len(found) == 1 else found
    if not curves:
        raise ValueError(f"{', '.join(groups)} has no losses yet: train it longer")
    label = LOSSES.get(settings[0].layout.kind, "loss")
    return plot_learning(curves, label=label, width=width)


def _read_part(folder: PathLike, part: str) -> tuple[list[float], list[float]]:
    curve = read_losses(folder, f"{part} loss")
    if part == "training" and not curve[0]:  # Nothing but the losses of the steps
        return read_losses(folder)
    return curve


def draw_data_sequence(
    evaluator: DataEvaluator,
    settings: DataSettings,
    dataset: Dataset,
    index: int,
    names: Sequence[str] = (),
    width: float | None = None,
) -> Figure:
    """Draw what the network of a run does with a sequence of data.

    Of a long sequence with a target at each step the first 500 steps are drawn. A target of a whole sequence is drawn
    at its last step.

    Parameters
    ----------
    evaluator : DataEvaluator
    settings : DataSettings
    dataset : Dataset
    index : int
        Of the sequence.
    names : list of str
        Of classes, and of the symbols of inputs that have no more.
    width : float, optional
        Of the picture, in inches.
    """
    batch, layout = dataset.take([index]), settings.layout
    given: Any = dataset.subset([index])
    if layout.per_step and batch.shape[1] > MAX_STEPS:
        batch = dataset.take_windows([index], [0], MAX_STEPS)
        given = batch.inputs.get(SINGLE, batch.inputs)
    predicted = np.asarray(evaluator.predict(given)[0], dtype=float)
    targets, predicted, mask = _show_targets(layout, batch, predicted)
    inputs = {
        "" if name == SINGLE else name: _show_input(layout, batch, name) for name in layout.inputs
    }
    return plot_sequence(
        inputs,
        targets,
        predicted,
        mask=mask,
        title=f"{settings.model}, {Path(settings.data).name}: sequence {index}",
        kind="numbers" if layout.kind == "own" else layout.kind,
        traces=evaluator.look_inside(given),
        input_texts=_spell_input(layout, batch, names),
        output_names=names if layout.kind == "classes" else (),
        width=width,
    )


def _show_input(layout: Layout, batch: DataBatch, name: str) -> Array:
    """Return an input of the first sequence of a batch as channels (T, F)."""
    each, values, steps = layout.inputs[name], batch.inputs[name][0], batch.shape[1]
    if takes_symbols(each) and each.num_symbols <= MAX_DRAWN:
        values = np.eye(each.num_symbols)[values]
    if not each.has_time:
        values = np.broadcast_to(values, (steps, *values.shape))
    return values.reshape(steps, -1).astype(float)


def _spell_input(layout: Layout, batch: DataBatch, names: Sequence[str]) -> list[str] | None:
    """Return the symbols of the only input as texts; None if there are other inputs, or numbers."""
    ((name, each), *others) = layout.inputs.items()
    if others or not takes_symbols(each) or not each.has_time:
        return None
    symbols = batch.inputs[name][0].tolist()
    if len(names) < each.num_symbols:
        return [str(symbol) for symbol in symbols]
    return [names[symbol] for symbol in symbols]


def _show_targets(layout: Layout, batch: DataBatch, predicted: Array) -> tuple[Array, Array, Array]:
    """Return targets and predictions of a sequence (T, O), and the mask (T,)."""
    targets, mask = batch.targets[0], batch.mask[0]
    if layout.kind == "classes":
        targets = np.eye(predicted.shape[-1])[targets]
    if (
        targets.shape != predicted.shape
    ):  # Of the user's own kind, and the loss compares them in another way
        targets = np.full(predicted.shape, np.nan)
    steps = len(mask)
    if layout.per_step:
        return targets.reshape(steps, -1), predicted.reshape(steps, -1), mask
    last = np.eye(steps)[-1]
    return last[:, None] * targets.reshape(1, -1), last[:, None] * predicted.reshape(1, -1), last


def check_names(names: Sequence[str], layout: Layout, path: PathLike) -> None:
    """Raise a `ValueError` if there are too few names for the classes, or nothing that has names."""
    symbols: Mapping[str, int] = {
        name: each.num_symbols for name, each in layout.inputs.items() if takes_symbols(each)
    }
    needed = [layout.num_outputs] if layout.kind == "classes" else list(symbols.values())
    if not needed:
        raise ValueError(f"{path}: the data have neither classes nor symbols that could have names")
    if len(names) < (needed[0] or 0):
        what = "classes" if layout.kind == "classes" else "symbols"
        raise ValueError(
            f"{path} has {len(names)} names, one a line: expected {needed[0]}, as there are {what}"
        )
