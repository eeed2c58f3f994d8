"""Training runs on a user's data. A folder of such a run has the files that :mod:`ntm.experiments.runs` lists.

The settings name the file of the data. A run folder may come from a stranger, who could name any file of this machine.
So a file that only the settings name is used if it holds the very data that the run began with, by their fingerprint in
the settings: whoever made the run had the same data. Measuring and predicting read no file but the one that is given.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from os.path import abspath
from pathlib import Path
from typing import Any

import numpy as np

from lasagne.backends.modes import get_mode
from lasagne.layers import Layer
from lasagne.processes import Processes
from ntm.data import Dataset
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.networks import takes_symbols
from ntm.experiments.reading import (
    blaming,
    read_checkpoint,
    read_data_settings,
    set_parameters,
)
from ntm.experiments.runs import TrainingRun, at_checkpoint, making
from ntm.files import inside, write_json
from ntm.interruption import stop_on_signals
from ntm.prediction import Predictor, generate
from ntm.training.data_evaluator import BATCH_SIZE, DataEvaluator, to_row
from ntm.training.step import Course
from ntm.typing import Array, PathLike

#: How many sequences of the training data are measured at the end, where there are no validation data
NUM_SEQUENCES = 2000
#: What the names of the arrays of the best parameters begin with in a checkpoint: those of the first callback
BEST = "callback 0 "


def read_moved_settings(
    folder: PathLike, data: PathLike | None, validation: PathLike | None
) -> tuple[DataSettings, bool]:
    """Return the settings of a run on data, and whether its data are at another place than the folder says.

    Parameters
    ----------
    folder : str or path
    data, validation : str or path, optional
        Where the data are now, if they have been moved.
    """
    settings = read_data_settings(folder)
    given = {"data": data, "validation": validation}
    places: dict[str, Any] = {
        name: abspath(path) for name, path in given.items() if path is not None
    }
    if "validation" in places and settings.validation is None:
        raise ValueError(f"{folder}: the run has no file of validation data")
    return replace(settings, **places), bool(places)


class DataRun(TrainingRun):
    """A training run on a user's data, in a folder.

    Parameters
    ----------
    folder : str or path
        Nothing is written there before :meth:`begin` or :meth:`train`.
    settings : DataSettings
    devices : int or 'all', optional
        Train on so many devices, instead of those in the settings, which stay as they are.
    processes : Processes, optional
        The processes that train the network together, of which this one leads.
    """

    settings: DataSettings
    #: Whether the data are at another place than the settings in the folder say
    _has_moved = False

    @classmethod
    def open(
        cls,
        folder: PathLike,
        checkpoint: str | None = None,
        devices: int | str | None = None,
        data: PathLike | None = None,
        validation: PathLike | None = None,
        processes: Processes | None = None,
    ) -> "DataRun":
        """Open a run as it was at its latest checkpoint.

        Parameters
        ----------
        folder : str or path
        checkpoint : str, optional
            The name of another checkpoint in the folder.
        devices : int or 'all', optional
            Train on so many devices, instead of those that the run began with. The results are equal up to rounding.
        data, validation : str or path, optional
            Where the data are now, if they have been moved. The settings keep the new place once training goes on.
        processes : Processes, optional
            The processes that train the network together, of which this one leads.

        Raises
        ------
        FileNotFoundError
            If there is no run in the folder, no such checkpoint, or the data are not at their place any more.
        ValueError
            If a file is damaged, or the data are not those that the run began with.
        """
        settings, has_moved = read_moved_settings(folder, data, validation)
        # The data are read before a network is built; an error of theirs is no fault of the folder's files
        settings.open()
        run = cls.open_with(folder, settings, checkpoint, devices, processes)
        run._has_moved = has_moved
        return run

    def make_course(
        self,
        loggers: Sequence[Callable[[dict], Any]] = (),
        progress: bool = True,
        max_steps: int | None = None,
        epochs: int | None = None,
    ) -> Course:
        with self._take():
            path = inside(self.folder, "settings.json")
            if self._has_moved:
                write_json(path, self.settings.to_json())
            return (yield from super().make_course(loggers, progress, max_steps, epochs))

    def _get_train_options(self, max_steps: int | None, epochs: int | None) -> dict[str, Any]:
        settings = self.settings
        return {
            "max_steps": settings.max_steps if max_steps is None else max_steps,
            "epochs": settings.epochs if epochs is None else epochs,
        }

    def get_result(self, ended: str) -> dict[str, Any]:
        result = super().get_result(ended)
        del result["solved_at"]
        return result | {"epochs": self.trainer.epoch}

    def _measure_end(self, result: dict[str, Any]) -> None:
        with stop_on_signals() as stop:
            name, data = self._choose_measured()
            measured = self.trainer.evaluator.evaluate(data)
            stop.check()
        result["measures"] = [{"data": name, **_to_json(measured)}]

    def _choose_measured(self) -> tuple[str, Any]:
        """Return what the trained network is measured on, with its name."""
        data = self.settings.open()
        if data.validation is not None:
            return "validation", self.trainer.validation
        part, count = data.training, len(data.training)
        if count > NUM_SEQUENCES:
            part = part.subset(np.linspace(0, count - 1, NUM_SEQUENCES).astype(int))
        return "training", part if self.settings.window is None else self.settings.make_stream(part)


def open_data_evaluator(
    folder: PathLike, checkpoint: str | None = None, metrics: Sequence[str] | None = None
) -> tuple[DataEvaluator, DataSettings]:
    """Return what measures the network of a run on data, and predicts; nothing is compiled for training.

    The data of the run are not read. Where training keeps the best parameters, the network has those.

    Parameters
    ----------
    folder : str or path
    checkpoint : str, optional
        The name of a checkpoint in the folder, the latest unless given.
    metrics : list of str, optional
        What to measure, instead of what the run measures.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder, or no such checkpoint.
    ValueError
        If a file is damaged, or there is no such metric of the data.
    """
    settings = read_data_settings(folder)
    mode = get_mode(settings.backend, settings.device)

    def open_at(path: Path | None, known: Sequence[Path]) -> Layer:
        found = None if path is None else read_checkpoint(path, settings)
        with making(folder, settings, found):
            network = settings.build_network()
        if found is not None:
            with blaming(f"{path} is damaged"):
                set_parameters(network, choose_parameters(found.arrays))
        return network

    network = at_checkpoint(folder, checkpoint, open_at)
    names = metrics or settings.list_metrics()
    return DataEvaluator(network, settings.layout, mode, names), settings


def choose_parameters(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of a checkpoint, with the best parameters in place of the last where these were kept."""
    best = {
        name.removeprefix(BEST): array for name, array in arrays.items() if name.startswith(BEST)
    }
    return {**arrays, **best}


def measure_data(
    evaluator: DataEvaluator, settings: DataSettings, dataset: Dataset
) -> dict[str, Any]:
    """Measure a network on data, along windows if it was trained so.

    Returns
    -------
    dict from str to number, None or list
        The loss and the metrics, as JSON takes them.
    """
    data = dataset if settings.window is None else settings.make_stream(dataset, False)
    return _to_json(evaluator.evaluate(data))


def _to_json(measured: dict[str, Any]) -> dict[str, Any]:
    return {name: to_row(value) for name, value in measured.items()}


def continue_sequences(
    evaluator: DataEvaluator,
    dataset: Dataset,
    steps: int,
    sample: str | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Array:
    """Go on with sequences by feeding a network its own outputs: see :func:`ntm.generate`.

    Parameters
    ----------
    evaluator : DataEvaluator
    dataset : Dataset
        Of one input. Its targets are not read.
    steps : int
    sample : {'argmax', 'sample'}, optional
        For classes, ``'argmax'`` unless given. Numbers are fed back as they are, bits as the more probable value.
    temperature : float
    seed : int

    Returns
    -------
    array (N, steps) of symbols, or (N, steps, O) of bits or numbers

    Raises
    ------
    ValueError
        If the outputs of the network cannot be its inputs, or an option is not for these targets.
    """
    layout = evaluator.layout
    if len(layout.inputs) > 1:
        raise ValueError(
            f"going on with sequences takes a network of one input, and this one has {', '.join(layout.inputs)}"
        )
    if sample is not None and layout.kind != "classes":
        raise ValueError(f"sample is for classes, and the targets are {layout.kind}")
    chosen: Any = {"classes": sample or "argmax", "bits": _round_bits, "numbers": None}[layout.kind]
    predictor = Predictor(evaluator.l_out, evaluator.mode)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, len(dataset), BATCH_SIZE):
        batch = dataset.take(np.arange(start, min(start + BATCH_SIZE, len(dataset))))
        (values,) = batch.inputs.values()
        (given,) = layout.inputs.values()
        if not given.features and not takes_symbols(given):
            values = values[..., None]
        lengths = batch.step_mask.sum(axis=1).astype(int)
        prefix = [row[:length] for row, length in zip(values, lengths, strict=True)]
        parts.append(generate(predictor, prefix, steps, chosen, temperature, rng))
    return np.concatenate(parts)


def _round_bits(outputs: Array) -> Array:
    """Return the more probable bits, given logits."""
    return (outputs > 0).astype(outputs.dtype)
