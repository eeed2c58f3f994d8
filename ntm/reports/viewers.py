"""What the network of a run does with a few sequences. A viewer compiles once, and takes each new checkpoint."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ntm.data import Dataset
from ntm.data.layout import SINGLE
from ntm.experiments.data_runs import choose_parameters, open_data_evaluator
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.networks import takes_symbols
from ntm.experiments.reading import blaming, list_checkpoints, read_checkpoint, set_parameters
from ntm.experiments.runs import open_evaluator
from ntm.experiments.settings import Settings
from ntm.reports.readings import show
from ntm.reports.scenes import MAX_LINES, MAX_STEPS, make_image, make_lines, make_scene
from ntm.tasks import Batch, Task
from ntm.tasks.base import describe_sizes
from ntm.typing import Array
from ntm.visualization.answers import find_wrong

#: Sequences that a page shows, unless they are named; and the steps of each, at most
MAX_SEQUENCES, MAX_LENGTH = 4, 400
#: Of the sequences of tasks: runs on a task with the same options show the same sequences
SEED = 7


class Viewer(ABC):
    """Base class: the network of a run, and the sequences that are shown.

    Parameters
    ----------
    folder : path
    evaluator : Evaluator or DataEvaluator
    settings : Settings or DataSettings
    """

    def __init__(self, folder: Path, evaluator: Any, settings: Any) -> None:
        self.folder, self.evaluator, self.settings = folder, evaluator, settings

    def load(self) -> tuple[str, int]:
        """Take the parameters of the latest checkpoint, and return its name and when it was written.

        Raises
        ------
        FileNotFoundError
            If there is no checkpoint.
        ValueError
            If the checkpoint is damaged, or of another run.
        """
        while checkpoints := list_checkpoints(self.folder):
            path = checkpoints[-1]
            try:
                written = path.lstat().st_mtime_ns
                found = read_checkpoint(path, self.settings)
            except FileNotFoundError:  # There is a later one by now
                continue
            with blaming(f"{path} is damaged"):
                set_parameters(self.evaluator.l_out, self._choose(found.arrays))
            return path.name, written
        raise FileNotFoundError(f"{self.folder} has no checkpoint yet")

    def _choose(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return arrays

    @abstractmethod
    def make_scenes(self, room: int) -> list[dict[str, Any]]:
        """Return the sequences as the page takes them; their memories take so many bytes in all, at most."""


# ---- Tasks


class TaskViewer(Viewer):
    """The network of a run on a task.

    Parameters
    ----------
    folder : path
    settings : Settings
    sizes : list of dict from str to int
        Of the sequences that are shown.
    """

    def __init__(
        self, folder: Path, settings: Settings, sizes: Sequence[Mapping[str, int]]
    ) -> None:
        super().__init__(folder, open_evaluator(folder, task=settings.own_task), settings)
        task = self.evaluator.task
        self._sizes = [task.complete_sizes(each) for each in sizes]
        self._longest = self.evaluator.count_steps(self._sizes)

    def make_scenes(self, room: int) -> list[dict[str, Any]]:
        return [self._make_scene(each, room // len(self._sizes)) for each in self._sizes]

    def _make_scene(self, sizes: dict[str, int], room: int) -> dict[str, Any]:
        task, steps = self.evaluator.task, self.evaluator.task.num_steps(**sizes)
        # Padded to the longest, so that all sequences share one compilation
        batch = task.sample(1, self._longest, np.random.default_rng(SEED), **sizes)
        predicted = self.evaluator.predict(batch.inputs)[0, :steps]
        traces = self.evaluator.look_inside(batch.inputs[0])
        batch = Batch(*(array[:, :steps] for array in batch))
        counts = batch.mask[0] != 0
        targets = batch.targets[0]
        wrong = list_wrong_steps(task.output, targets, predicted, counts)
        if task.output == "numbers":
            answers = [_draw_numbers(targets, predicted, counts)]
        else:
            answers = [
                make_image("target", targets, counts=counts),
                make_image("prediction", predicted, counts=counts),
            ]
        return make_scene(
            describe_sizes(sizes),
            [make_image("input", batch.inputs[0])],
            answers,
            traces,
            steps,
            wrong,
            [_describe_answers(task.output, wrong, counts)],
            room,
        )


def list_wrong_steps(kind: str, targets: Array, predicted: Array, counts: Array) -> list[int]:
    """Return the steps that count at which a prediction (T, O) of targets (T, O) is wrong."""
    wrong = find_wrong(kind, targets, predicted).any(axis=1)
    return np.flatnonzero(counts & wrong).tolist()


def _describe_answers(kind: str, wrong: Sequence[int], counts: Array) -> str:
    """Return in words at how many of the steps that count the answer is right."""
    counting = int(counts.sum())
    steps = "step" if counting == 1 else "steps"
    grey = " Grey steps do not count." if kind != "numbers" and not counts.all() else ""
    return f"{counting - len(wrong):,} of {counting:,} {steps} that count are right.{grey}"


def choose_sizes(settings: Settings) -> list[dict[str, int]]:
    """Return the sizes that a page shows unless they are named: the largest in training, then some beyond it."""
    task = settings.make_task()
    found: list[dict[str, int]] = []
    for each in [task.largest_sizes, *settings.evaluate_at]:
        sizes = task.complete_sizes(each)
        if sizes not in found and task.num_steps(**sizes) <= MAX_LENGTH:
            found.append(sizes)
    training, others = found[:1], found[1:]
    chosen = np.linspace(0, len(others) - 1, min(len(others), MAX_SEQUENCES - 1))
    return training + [others[int(k)] for k in chosen]


# ---- Data


class DataViewer(Viewer):
    """The network of a run on data.

    Parameters
    ----------
    folder : path
    settings : DataSettings
    dataset : Dataset
        Where the sequences are taken from.
    indices : list of int
    """

    def __init__(
        self, folder: Path, settings: DataSettings, dataset: Dataset, indices: Sequence[int]
    ) -> None:
        super().__init__(folder, open_data_evaluator(folder)[0], settings)
        self._dataset, self._indices = dataset, list(indices)

    def _choose(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return choose_parameters(arrays)

    def make_scenes(self, room: int) -> list[dict[str, Any]]:
        return [self._make_scene(each, room // len(self._indices)) for each in self._indices]

    def _make_scene(self, index: int, room: int) -> dict[str, Any]:
        layout = self.settings.layout
        one: Any = self._dataset.subset([index])
        steps, lines = int(self._dataset.lengths[index]), []
        label = f"sequence {index} ({steps:,} steps)"
        if layout.per_step and steps > MAX_STEPS:
            lines.append(f"The first {MAX_STEPS:,} steps are shown.")
            batch = one.take_windows([0], [0], MAX_STEPS)
            one, steps = Dataset(batch.inputs.get(SINGLE, batch.inputs)), MAX_STEPS
        else:
            batch = one.take([0])
        predicted = np.asarray(self.evaluator.predict(one)[0])
        traces = self.evaluator.look_inside(one)
        answers, wrong = [], []
        if not self._dataset.has_targets:
            lines.append("The data have no targets.")
        elif not layout.per_step:
            lines.append(_describe_answer(layout.kind, batch.targets[0], predicted))
        else:
            counts = batch.mask[0, :steps] != 0
            targets = np.asarray(batch.targets[0])[:steps]
            predicted = predicted[:steps]
            if layout.kind == "classes":
                targets = np.eye(layout.num_outputs)[np.where(counts, targets, 0)]
            if layout.kind == "numbers":
                answers = [_draw_numbers(targets, predicted, counts)]
            else:
                wrong = list_wrong_steps(layout.kind, targets, predicted, counts)
                answers = [
                    make_image("target", targets, counts=counts),
                    make_image("prediction", predicted, counts=counts),
                ]
                lines.append(_describe_answers(layout.kind, wrong, counts))
        return make_scene(
            label,
            [self._draw_input(name, batch.inputs[name][0], steps) for name in layout.inputs],
            answers,
            traces,
            steps,
            wrong,
            lines,
            room,
        )

    def _draw_input(self, name: str, values: Array, steps: int) -> dict[str, Any]:
        each = self.settings.layout.inputs[name]
        title = show(name)
        if not each.has_time:
            values = np.broadcast_to(values, (steps, *values.shape))
        if takes_symbols(each) and np.ndim(values) == 1:
            return make_lines(f"{title} (symbols)", [(title, values[:steps])])
        return make_image(title, np.asarray(values[:steps], float))


def choose_sequences(dataset: Dataset) -> list[int]:
    """Return the sequences that a page shows unless they are named: of different lengths, from the shortest on."""
    order = np.argsort(dataset.lengths, kind="stable")
    _, first = np.unique(np.asarray(dataset.lengths)[order], return_index=True)
    if len(first) < MAX_SEQUENCES:
        rest = [k for k in range(len(order)) if k not in first]
        first = np.sort([*first, *rest[: MAX_SEQUENCES - len(first)]])
    chosen = np.linspace(0, len(first) - 1, min(len(first), MAX_SEQUENCES)).astype(int)
    return [int(order[first[k]]) for k in chosen]


def _describe_answer(kind: str, target: Array, predicted: Array) -> str:
    """Return in a sentence the one target of a sequence, and the prediction."""
    if kind == "classes":
        found = int(predicted.argmax())
        verdict = "right" if found == int(target) else "wrong"
        return f"Class {int(target)}, predicted {found} with probability {predicted.max():.2f}: {verdict}."
    given, answer = (
        ", ".join(f"{each:.4g}" for each in values[:10]) for values in (target, predicted)
    )
    return f"Target {given}; prediction {answer}."


def _draw_numbers(targets: Array, predicted: Array, counts: Array) -> dict[str, Any]:
    series = []
    for k in range(min(targets.shape[1], MAX_LINES)):
        number = f" {k + 1}" if targets.shape[1] > 1 else ""
        series += [(f"target{number}", targets[:, k]), (f"prediction{number}", predicted[:, k])]
    return make_lines("target and prediction", series, counts)


def get_task(settings: Any) -> type[Task] | None:
    """Return the class of a run's task, where that is one of the user's own."""
    return getattr(settings, "own_task", None)
