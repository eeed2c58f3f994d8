"""Trained networks: those that come with this package, and files that :func:`ntm.save` wrote.

The file of a network that a run trained says in its notes what the network was made from and trained on. A file from a
stranger runs no code, and its notes are checked before memory is spent on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lasagne.backends.modes import get_mode
from lasagne.layers import Layer, get_all_params
from ntm.arguments import shorten
from ntm.experiments.own_tasks import name_task
from ntm.experiments.reading import blaming, check_network, has_measures
from ntm.experiments.runs import SETTINGS_NOTE, resize_memory
from ntm.experiments.settings import Settings, make_settings
from ntm.serialization.networks import load, read_notes, save
from ntm.tasks import TASKS, Task
from ntm.training.evaluator import Evaluator
from ntm.training.step import PARAMETER
from ntm.typing import PathLike

__all__ = ["TrainedModel", "find_model", "list_models", "load_model", "read_model"]

#: Where the files are: in an installed wheel, and in a checkout
_FOLDERS = (Path(__file__).parent / "trained", Path(__file__).parents[1] / "models")
_ENDING = ".safetensors"
#: What a note says beside the settings: how the run ended, and which seeds were trained
_RESULT, _SEEDS = "result", "seeds"


@dataclass(frozen=True)
class TrainedModel:
    """What the file of a trained network says.

    Attributes
    ----------
    path : Path
    settings : Settings
        What the network was made from and trained on.
    result : dict
        How training ended, and in ``measures`` the network's figures: see :meth:`ntm.experiments.Run.train`. Empty if
        the file does not say.
    seeds : list of int
        The seeds that were trained, of which this network is the best. Empty if the file does not say.
    has_settings : bool
        Whether the settings are the file's. If not, they are the defaults of the task that the user named.
    """

    path: Path
    settings: Settings
    result: dict[str, Any]
    seeds: list[int]
    has_settings: bool = True

    @property
    def name(self) -> str:
        """The name of the file without its ending."""
        return self.path.name.removesuffix(_ENDING)

    @property
    def network(self) -> str:
        """The kind of network, with its controller if there is one, such as "ntm dense"."""
        return self.settings.network_name

    def make_evaluator(self, memory_slots: int | None = None) -> Evaluator:
        """Return what measures the network on its task.

        Parameters
        ----------
        memory_slots : int, optional
            Give the memory so many slots, instead of those in training.

        Raises
        ------
        ValueError
            If the file is damaged, or the network is not one for the task.
        """
        settings = self.settings
        mode = get_mode(settings.backend, settings.device)
        network = load(self.path)
        if isinstance(network, list):
            raise ValueError(
                f"{self.path} holds a network of {len(network)} outputs, and tasks are for one"
            )
        if self.has_settings:
            params = enumerate(get_all_params(network))
            with blaming(f"{self.path}: its settings do not make its network"):
                check_network(settings, {f"{PARAMETER}{k}": p.get_value() for k, p in params})
        if memory_slots is not None:
            if not self.has_settings:
                raise ValueError(
                    f"{self.path} does not say how its network was made, so its memory cannot get other slots"
                )
            network = resize_memory(network, settings, memory_slots)
        with blaming(f"{self.path}: the network does not fit the task {settings.task}"):
            return Evaluator(network, settings.make_task(), mode=mode, seed=settings.seed)


def list_models() -> list[TrainedModel]:
    """List the trained networks that come with this package, by name.

    Returns
    -------
    list of TrainedModel
    """
    return [read_model(path) for _, path in sorted(_list_files().items())]


def load_model(name: str) -> Layer:
    """Load a trained network that comes with this package.

    Parameters
    ----------
    name : str
        Such as ``"copy"``. The command ``ntm models`` lists the names.

    Returns
    -------
    Layer
        The output layer, as :func:`ntm.load` returns it. Its outputs are logits, or numbers.

    Raises
    ------
    ValueError
        If there is no network of this name.

    Examples
    --------
    >>> import ntm
    >>> ntm.load_model("copy").output_shape
    (None, None, 9)
    """
    network = load(find_model(name))
    assert isinstance(network, Layer)
    return network


def find_model(name: str) -> Path:
    """Return the file of a trained network that comes with this package.

    Raises
    ------
    ValueError
        If there is no network of this name.
    """
    files = _list_files()
    if name in files:
        return files[name]
    shown = shorten(repr(name), 100)
    if not files:
        raise ValueError(
            f"there is no trained network {shown}: neither {' nor '.join(map(str, _FOLDERS))} holds any"
        )
    if isinstance(name, str) and Path(name).is_file():
        raise ValueError(f"{shown} is a file: load it with ntm.load")
    close = get_close_matches(str(name), files, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    raise ValueError(
        f"there is no trained network {shown}{hint} The networks are {', '.join(sorted(files))}"
    )


def _list_files() -> dict[str, Path]:
    folder = next((each for each in _FOLDERS if each.is_dir()), None)
    files = () if folder is None else folder.glob(f"*{_ENDING}")
    return {path.name.removesuffix(_ENDING): path for path in files}


def read_model(path: PathLike, task: type[Task] | None = None) -> TrainedModel:
    """Read what the file of a trained network says; the network is not made.

    Parameters
    ----------
    path : str or path
        A file that :func:`ntm.save` wrote.
    task : type, optional
        The class of the task, if it is of the user's own, or if the file does not say the task.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged, is of another task, or does not say its task and none is given.
    """
    notes = read_notes(path)
    found = notes.get(SETTINGS_NOTE)
    if found is None:
        if task is None:
            raise ValueError(
                f"{path} does not say which task its network has learnt: name the task, such as --task copy (in a "
                "program: task=ntm.tasks.CopyTask)"
            )
        return TrainedModel(Path(path), make_settings(task), {}, [], has_settings=False)
    learnt = found.get("task") if isinstance(found, dict) else None
    if task is not None and isinstance(learnt, str) and TASKS.get(learnt, task) is not task:
        raise ValueError(f"{path}: its network has learnt {learnt}, not {name_task(task)}")
    with blaming(f"{path}: its settings are not those of a run on a task"):
        settings = Settings.from_json(found, task)
    result, seeds = notes.get(_RESULT, {}), notes.get(_SEEDS, [])
    if result and not has_measures(result):
        raise ValueError(f"{path} is damaged: it holds no measures: {shorten(result, 100)}")
    return TrainedModel(Path(path), settings, result, seeds)


def save_model(
    path: PathLike, network: Layer, settings: Settings, result: dict, seeds: Sequence[int]
) -> None:
    """Write the file of a trained network, with what :func:`read_model` reads.

    Parameters
    ----------
    path : str or path
    network : Layer
        The output layer.
    settings : Settings
    result : dict
        Of :meth:`ntm.experiments.Run.train`.
    seeds : list of int
        The seeds that were trained, of which this network is the best.
    """
    notes = {SETTINGS_NOTE: settings.to_json(), _RESULT: result, _SEEDS: list(seeds)}
    save(path, network, notes)
