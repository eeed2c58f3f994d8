"""Reading the folder of a run. It may come from a stranger, so nothing is believed before it is checked."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytensor
from pytensor.compile.sharedvalue import SharedVariable

from lasagne.layers import Layer, get_all_params
from lasagne.utils import check_param_value, initializing_by
from ntm.arguments import is_number, shorten
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.own_tasks import OwnTaskError
from ntm.experiments.settings import Settings
from ntm.experiments.training_settings import TrainingSettings
from ntm.files import inside, read_json
from ntm.serialization.arrays import read_arrays
from ntm.tasks import Task
from ntm.training.loggers import read_json_lines
from ntm.training.step import PARAMETER
from ntm.typing import Array, PathLike

# A run without a checkpoint has no arrays to compare with its settings. Then its network has so many numbers at most,
# and so many heads, layers or shifts
MAX_NUMBERS = 40_000_000
MAX_PARTS = 1_000
# The largest size of a task; a sequence has no fewer steps
MAX_SIZE = 1_000_000

#: The file of the settings, and the setting that runs on data have
SETTINGS, DATA = "settings.json", "data"
NO_SETTINGS = "does not hold the settings of a run"


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes
    ----------
    arrays : dict from str to array
        Parameters, the optimizer's state and losses, as of :meth:`ntm.training.Trainer.get_state`.
    state : dict
        The rest of the trainer's state.
    seconds : float
        How long the run had been trained.
    """

    arrays: dict[str, Array]
    state: dict[str, Any]
    seconds: float


def read_settings(folder: PathLike, task: type[Task] | None = None) -> Settings:
    """Read the settings of a run.

    Parameters
    ----------
    folder : str or path
    task : type, optional
        The class of the task, if it is of the user's own: the file holds its name, which is never imported.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder.
    ValueError
        If the file is damaged, or the run is of another task.
    """
    found = _read_settings(folder)
    with _blaming_settings(folder):
        if DATA in found:
            raise ValueError("the run is of data, not of a task (in a program: DataRun)")
        return Settings.from_json(found, task)


def is_data_run(folder: PathLike) -> bool:
    """Tell whether the run in a folder is of a user's data; raise as :func:`read_settings` if there is no run."""
    return DATA in _read_settings(folder)


def read_data_settings(folder: PathLike) -> DataSettings:
    """Read the settings of a run on data. The data are not read.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder.
    ValueError
        If the file is damaged, or the run is of a task.
    """
    found = _read_settings(folder)
    with _blaming_settings(folder):
        if DATA not in found:
            raise ValueError("the run is of a task, not of data")
        return DataSettings.from_json(found)


def _read_settings(folder: PathLike) -> dict[str, Any]:
    try:
        found = read_json(inside(folder, SETTINGS))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no run in {folder}: no {SETTINGS}") from error
    except ValueError as error:
        raise ValueError(f"{Path(folder) / SETTINGS} {NO_SETTINGS}: {shorten(error)}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{Path(folder) / SETTINGS} {NO_SETTINGS}: it holds {shorten(found, 100)}")
    return found


@contextmanager
def _blaming_settings(folder: PathLike) -> Iterator[None]:
    """Turn an error in this context into one that names the file of settings."""
    try:
        yield
    except OwnTaskError as error:
        raise OwnTaskError(f"the run in {folder}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{Path(folder) / SETTINGS} {NO_SETTINGS}: {shorten(error)}") from error


def list_checkpoints(folder: PathLike) -> list[Path]:
    """List the checkpoints in a folder, the latest last."""
    return sorted(Path(folder).glob("checkpoint-*.safetensors"))


def check_is_trained(folder: PathLike) -> None:
    """Raise a `FileNotFoundError` if a run has no checkpoint: its network has learnt nothing."""
    if not list_checkpoints(folder):
        raise FileNotFoundError(
            f"{folder} has no checkpoint yet, so there is no trained network to look into"
        )


def read_checkpoint(path: PathLike, settings: TrainingSettings) -> Checkpoint:
    """Read a checkpoint of the run with these settings.

    Raises
    ------
    ValueError
        If the file is damaged, or of another run.
    """
    arrays, metadata = read_arrays(inside(Path(path).parent, Path(path).name))
    if not isinstance(metadata, dict) or metadata.get("format") != "run":
        raise ValueError(f"{path} is not a checkpoint of a run")
    if not _are_settings(metadata.get("settings"), settings):
        raise ValueError(f"{path} is not a checkpoint of this run")
    seconds, state = metadata.get("seconds"), metadata.get("trainer")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        raise ValueError(f"{path} is damaged: its seconds are {shorten(repr(seconds), 100)}")
    if not isinstance(state, dict):
        raise ValueError(f"{path} is damaged: it holds no state of a trainer")
    return Checkpoint(arrays, state, seconds)


def _are_settings(found: Any, settings: TrainingSettings) -> bool:
    """Tell whether a value is these settings as a dict; a setting that is missing has its default."""
    try:
        return settings.accepts(found)
    except (AttributeError, TypeError, ValueError):
        return False


@contextmanager
def blaming(where: str) -> Iterator[None]:
    """Turn whatever a file's contents cause in this context into a `ValueError` that begins with `where`."""
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        known = isinstance(error, ValueError | TypeError)
        raise ValueError(f"{where}: {shorten(error if known else repr(error))}") from error


def set_parameters(network: Layer, arrays: Mapping[str, Array]) -> None:
    """Set the parameters of a network from the arrays of a checkpoint.

    Raises
    ------
    ValueError
        If the checkpoint has no array for a parameter, or one of another shape.
    """
    for k, param in enumerate(get_all_params(network)):
        # As Trainer.get_state names them
        name = f"{PARAMETER}{k:03d} {param.name or ''}".strip()
        if name not in arrays:
            raise ValueError(f"there is no array for {name}")
        param.set_value(check_param_value(param, arrays[name]))


def check_network(settings: TrainingSettings, arrays: Mapping[str, Array] | None = None) -> None:
    """Check that settings make the network of a checkpoint, before memory and time are spent on it.

    Parameters
    ----------
    settings : TrainingSettings
    arrays : dict from str to array, optional
        The checkpoint's arrays.

    Raises
    ------
    ValueError
        If the checkpoint has no array for a parameter, or an option is larger than the number of elements in all its
        arrays. Without arrays, if the network would have more than 40 million numbers or a thousand heads or layers.
    """
    parameters = {
        name: array for name, array in (arrays or {}).items() if name.startswith(PARAMETER)
    }
    left = Counter(array.shape for array in parameters.values())
    if arrays is None:
        most, most_parts = MAX_NUMBERS, MAX_PARTS
    else:
        most = sum(array.size for array in parameters.values())
        most_parts = len(parameters)
    for name, value in settings.get_given_options().items():
        is_part = name in ("num_heads", "num_reads", "num_layers", "num_shifts")
        at_most = most_parts if is_part and (arrays is None or name != "num_shifts") else most
        if isinstance(value, int) and value > at_most:
            raise ValueError(
                f"by the settings the network's {name} is {value}, and it can be {at_most} at most"
            )
    for name, value in settings.list_sizes():
        if isinstance(value, int) and value > MAX_SIZE:
            raise ValueError(f"{name} is {value} by the settings, and {MAX_SIZE} is the most")
    numbers = 0

    def initialize(spec: Any, shape: tuple[int, ...]) -> SharedVariable:
        nonlocal numbers
        numbers += int(np.prod([float(size) for size in shape]))
        if arrays is not None:
            left[shape] -= 1
            if left[shape] < 0:
                raise ValueError(
                    f"by the settings the network has a parameter of shape {shape}, and there is no array for it"
                )
        elif numbers > most:
            raise ValueError(
                f"by the settings the network has more than {most} numbers, and no checkpoint has so many; begin the "
                "run anew, in another folder"
            )
        return pytensor.shared(
            np.broadcast_to(np.zeros((), pytensor.config.floatX), shape), shape=shape, borrow=True
        )

    with initializing_by(initialize):
        settings.build_network()


def read_result(folder: PathLike) -> dict[str, Any]:
    """Read how a run on a task ended.

    Raises
    ------
    FileNotFoundError
        If the run has not ended.
    ValueError
        If the file is damaged.
    """
    return _read_result(folder, is_measure)


def read_data_result(folder: PathLike) -> dict[str, Any]:
    """Read how a run on data ended; errors as of :func:`read_result`."""
    return _read_result(folder, is_data_measure)


def _read_result(folder: PathLike, is_row: Callable[[Any], bool]) -> dict[str, Any]:
    path = inside(folder, "result.json")
    try:
        result = read_json(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} has no result.json: the run has not ended yet"
        ) from error
    if not has_measures(result, is_row):
        raise ValueError(f"{path} is damaged: it holds no measures: {shorten(result, 100)}")
    return result


def is_measure(row: Any) -> bool:
    """Tell whether this is a row as :meth:`ntm.experiments.Run.measure` gives it."""
    return (
        isinstance(row, dict)
        and isinstance(row.get("sizes"), dict)
        and len(row) > 1
        and all(map(is_number, row["sizes"].values()))
        and all(value is None or is_number(value) for name, value in row.items() if name != "sizes")
    )


def has_measures(result: Any, is_row: Callable[[Any], bool] = is_measure) -> bool:
    """Tell whether a value is a dict that holds ``measures``: rows of a run on a task, unless said otherwise."""
    rows = result.get("measures") if isinstance(result, dict) else None
    return isinstance(rows, list) and bool(rows) and all(map(is_row, rows))


def is_data_measure(row: Any) -> bool:
    """Tell whether this is a row of what a run on data measures at its end."""
    return (
        isinstance(row, dict)
        and isinstance(row.get("data"), str)
        and all(
            value is None or is_number(value) or is_matrix(value)
            for name, value in row.items()
            if name != "data"
        )
    )


def is_matrix(value: Any) -> bool:
    """Tell whether a value is a list of rows of numbers, as many in each as there are rows."""
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == len(value) and all(map(is_number, row))
        for row in value
    )


def read_losses(folder: PathLike, name: str = "loss") -> tuple[list[float], list[float]]:
    """Read the learning curve of a run: the numbers of sequences, and the losses, NaN where they were not finite.

    Parameters
    ----------
    folder : str or path
    name : str
        Of the losses: of runs on data also "validation loss".

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    path = inside(folder, "metrics.jsonl")
    rows = [row for row in read_json_lines(path) if name in row]
    for row in rows:
        if not is_number(row.get("sequences")) or not (row[name] is None or is_number(row[name])):
            raise ValueError(f"{path} is damaged: this is no row of losses: {shorten(row, 100)}")
    losses = [float("nan") if row[name] is None else row[name] for row in rows]
    return [row["sequences"] for row in rows], losses
