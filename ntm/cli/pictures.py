"""What the commands draw of runs on tasks."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ntm.cli.output import draw_batch
from ntm.cli.usage import blaming_usage, writing
from ntm.experiments.settings import Settings
from ntm.experiments.training_settings import TrainingSettings
from ntm.tasks import Batch, Task
from ntm.tasks.base import describe_sizes
from ntm.training.evaluator import Evaluator
from ntm.typing import Array, PathLike
from ntm.visualization.curves import plot_learning
from ntm.visualization.figures import check_figure_path, save_figure
from ntm.visualization.generalisation import plot_generalisation
from ntm.visualization.sequences import plot_sequence

#: Sequences on which guesses are measured, and the best possible predictions, which differ more
NUM_SEQUENCES, NUM_SEQUENCES_BEST = 50, 1000

# ---- Files


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


def name_run(folder: PathLike) -> str:
    """Return the name of a run in a picture: that of its folder."""
    return Path(folder).resolve().name


def get_width(options: Namespace) -> float | None:
    """Return the width of a picture in inches, None for the default."""
    return None if options.width is None else options.width / 2.54


def save_picture(figure: Figure, path: Path) -> None:
    """Save a picture, and say where."""
    with writing():
        save_figure(figure, path)
    print(f"Picture: {path}")


# ---- Groups of runs


def group_runs(
    folders: Sequence[PathLike], settings: Sequence[TrainingSettings]
) -> dict[str, list[int]]:
    """Group runs that have the same settings but for the seed.

    Parameters
    ----------
    folders : list of str or path
        A folder that is given twice counts once.
    settings : list of TrainingSettings
        Of the runs.

    Returns
    -------
    dict from str to list of int
        The places of the runs of each group in the lists. A run alone has the name of its folder, a group the names of
        its folders without the numbers at their ends.
    """
    groups: list[list[int]] = []
    seen: set[Path] = set()
    for k, (folder, each) in enumerate(zip(folders, settings, strict=True)):
        path = Path(folder).resolve()
        if path in seen:
            continue
        seen.add(path)
        for group in groups:
            first = settings[group[0]]
            if replace(each, seed=first.seed) == first:
                group.append(k)
                break
        else:
            groups.append([k])
    named: dict[str, list[int]] = {}
    for group in groups:
        names = [name_run(folders[k]) for k in group]
        name = names[0]
        if len(group) > 1:
            starts = {each.rstrip("-_. 0123456789") for each in names}
            name = min(starts) if len(starts) == 1 else f"{name} and others"
        while name in named:
            name += "'"
        named[name] = group
    return named


# ---- Pictures


def draw_sequence(
    evaluator: Evaluator,
    settings: Settings,
    sizes: Mapping[str, int] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw what the network of a run does with a sequence of its task.

    Parameters
    ----------
    evaluator : Evaluator
    settings : Settings
    sizes : dict from str to int, optional
        Sizes instead of the largest in training.
    width : float, optional
        Of the picture, in inches.
    """
    task = evaluator.task
    sizes = {**task.largest_sizes, **(sizes or {})}
    batch = draw_batch(evaluator, sizes)
    optimum = get_optimum(task)
    return plot_sequence(
        batch.inputs[0],
        batch.targets[0],
        evaluator.predict(batch.inputs)[0],
        mask=batch.mask[0],
        title=f"{settings.model}, {settings.task}: {describe_sizes(sizes)}",
        kind=task.output,
        traces=evaluator.look_inside(batch.inputs[0]),
        input_names=task.input_names,
        output_names=task.output_names,
        input_texts=task.spell_inputs(batch.inputs[0]),
        spell=task.spell_outputs,
        best=None if optimum is None else optimum(batch.inputs)[0],
        width=width,
    )


def draw_learning(
    curves: Sequence[tuple[Any, Any]],
    groups: Mapping[str, Sequence[int]],
    settings: Sequence[Settings],
    width: float | None = None,
) -> Figure:
    """Draw the learning curves of runs on one task, by the groups of :func:`group_runs`.

    The best possible loss is drawn where all runs have the same options of the task.
    """
    for name, group in groups.items():
        if not all(curves[k][0] for k in group):
            raise ValueError(f"{name} has no losses yet: train it longer")
    task = settings[0].make_task()
    is_number = task.output == "numbers"
    best = None
    if get_optimum(task) is not None and _have_one_task(settings):
        measured = measure_baselines(task, [{}], NUM_SEQUENCES_BEST)
        best = measured["best possible"]["measures"][0]["bits"]
    return plot_learning(
        _take(curves, groups),
        title=settings[0].task,
        label="squared error per sequence" if is_number else "loss per sequence, bits",
        best=best,
        width=width,
    )


def draw_generalisation(
    results: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Sequence[int]],
    settings: Sequence[Settings],
    measure: str,
    width: float | None = None,
) -> Figure:
    """Draw how runs on one task generalise, and the range of training of each.

    Guesses and the best possible predictions are drawn where all runs have the same options of the task.
    """
    task, is_one = settings[0].make_task(), _have_one_task(settings)
    ranges = {name: settings[group[0]].make_task().sizes for name, group in groups.items()}
    is_same = all(each == task.sizes for each in ranges.values())
    sizes = [row["sizes"] for result in results for row in result["measures"] if row["sizes"]]
    sizes = [dict(each) for each in dict.fromkeys(tuple(each.items()) for each in sizes)]
    return plot_generalisation(
        _take(results, groups),
        settings[0].task,
        measure,
        training=task.sizes if is_same else ranges,
        baselines=measure_baselines(task, sizes) if is_one and measure != "correct" else {},
        width=width,
    )


def _have_one_task(settings: Sequence[Settings]) -> bool:
    return all(each.task_options == settings[0].task_options for each in settings)


def _take(values: Sequence[Any], groups: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return the values of each group: a list, or the value itself of a run alone."""
    taken = {name: [values[k] for k in group] for name, group in groups.items()}
    return {name: group[0] if len(group) == 1 else group for name, group in taken.items()}


# ---- Baselines


def get_optimum(task: Task) -> Callable[[Array], Array] | None:
    """Return the method of a task that gives the best possible predictions (B, T, O), None if the task has none."""
    return getattr(task, "optimal_predictions", None)


def measure_baselines(
    task: Task, sizes: Sequence[Mapping[str, int]], num_sequences: int = NUM_SEQUENCES
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Measure guesses, which do not look at the inputs, and the best possible predictions, where they are known.

    Parameters
    ----------
    task : Task
    sizes : list of dict from str to int
    num_sequences : int
        Of each of the sizes.

    Returns
    -------
    dict from str to dict
        ``"guessing"`` and ``"best possible"``, each with ``measures``, as results have them.
    """
    rng = np.random.default_rng(0)
    batches = [task.sample(num_sequences, rng=rng, **each) for each in sizes]
    predictions = {"guessing": [guess(task, batch) for batch in batches]}
    optimum = get_optimum(task)
    if optimum is not None:
        predictions["best possible"] = [optimum(batch.inputs) for batch in batches]
    return {
        name: {
            "measures": [
                {"sizes": dict(size)}
                | {key: float(np.mean(value)) for key, value in task.measure(each, batch).items()}
                for size, each, batch in zip(sizes, predicted, batches, strict=True)
            ]
        }
        for name, predicted in predictions.items()
    }


def guess(task: Task, batch: Batch) -> Array:
    """Return the predictions (B, T, O) of who knows the kind of the targets only: their mean where they are numbers."""
    chances = {"bits": 0.5, "digits": 0.1, "classes": 1 / task.num_outputs}
    if task.output in chances:
        return np.full(batch.targets.shape, chances[task.output])
    counted = batch.mask != 0
    return np.broadcast_to(batch.targets[counted].mean(axis=0), batch.targets.shape)
