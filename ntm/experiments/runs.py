"""A training run in a folder: settings, checkpoints, metrics and result, so that it survives whatever happens.

====================================  ================================================================
``settings.json``                     everything the run is made from (:class:`ntm.experiments.Settings`)
``checkpoint-000001000.safetensors``  everything after 1,000 steps; the latest two are kept
``metrics.jsonl``                     losses and evaluations during training
``network.safetensors``               the network when training ended, for :func:`ntm.load`
``result.json``                       how it ended
``.lock``                             held while the run is trained, see :mod:`ntm.experiments.locking`
====================================  ================================================================

One process at a time trains a run; others may read it meanwhile.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from lasagne.backends.modes import get_mode
from lasagne.layers import Layer, get_all_params
from lasagne.processes import Processes
from ntm.experiments.hardware import describe_machine
from ntm.experiments.locking import FolderLock
from ntm.experiments.networks import get_model_options
from ntm.experiments.reading import (
    Checkpoint,
    blaming,
    check_network,
    list_checkpoints,
    read_checkpoint,
    read_settings,
    set_parameters,
)
from ntm.experiments.settings import Settings
from ntm.experiments.training_settings import TrainingSettings
from ntm.files import inside, write_json
from ntm.interruption import Stop, stop_on_signals
from ntm.serialization.arrays import write_arrays
from ntm.serialization.networks import save
from ntm.tasks import Task
from ntm.training.evaluator import Evaluator
from ntm.training.loggers import JSONLines
from ntm.training.step import Course
from ntm.training.trainer import Trainer
from ntm.typing import PathLike

#: How many checkpoints are kept
KEPT = 2
#: How many sequences the training sizes are measured with at the end, and every other size
NUM_SEQUENCES, NUM_SEQUENCES_BEYOND = 2000, 100

#: The note in the file of a network that says what the network was made from and trained on
SETTINGS_NOTE = "settings"

Opened = TypeVar("Opened")


class TrainingRun(ABC):
    """Base class: a training run in a folder.

    Parameters
    ----------
    folder : str or path
        Nothing is written there before :meth:`begin` or :meth:`train`.
    settings : TrainingSettings
    devices : int or 'all', optional
        Train on so many devices, instead of those in the settings, which stay as they are.
    processes : Processes, optional
        The processes that train the network together, of which this one leads.

    Attributes
    ----------
    settings : TrainingSettings
        With the block size and the number of devices that were chosen for ``'auto'``.
    trainer : Trainer
    """

    def __init__(
        self,
        folder: PathLike,
        settings: Any,
        devices: int | str | None = None,
        processes: Processes | None = None,
    ) -> None:
        if processes is not None and not processes.is_leader:
            raise ValueError(
                f"{processes.name} follows: process 0 alone has a run. Make the trainer of the settings, and call train"
            )
        self.folder = Path(folder)
        given = settings if devices is None else replace(settings, devices=devices)
        self.trainer: Trainer = given.make_trainer(processes)
        division = self.trainer.training_step.division
        # What was chosen is written down, so that a resumed run goes on bit for bit
        self.settings = settings.divided_as(division) if devices is None else settings
        self._lock = FolderLock(folder)
        #: The checkpoints that were there when the run was opened, and those that it has written
        self._known: set[Path] = set()

    @property
    def seconds(self) -> float:
        """How long the run has been trained, in seconds, all sessions together."""
        return self.trainer.seconds

    @classmethod
    def create(cls, folder: PathLike, settings: Any) -> Self:
        """Make a new run, and write its settings.

        Raises
        ------
        FileExistsError
            If there is a run in the folder.
        BlockingIOError
            If another process trains in the folder.
        """
        check_no_run(folder)
        run = cls(folder, settings)
        run.begin()
        return run

    def begin(self) -> None:
        """Write the settings of a new run; from here on its folder is taken.

        Raises
        ------
        FileExistsError, BlockingIOError
            As of :meth:`create`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            check_no_run(self.folder)  # Another process may have been faster
            write_json(inside(self.folder, "settings.json"), self.settings.to_json())

    @classmethod
    def open_anew(cls, folder: PathLike, settings: TrainingSettings) -> Self:
        """Open a run with settings from its folder as it was at its beginning; its checkpoints are removed later."""
        run = cls(folder, settings)
        run._known = set(list_checkpoints(folder))
        return run

    @classmethod
    def open_with(
        cls,
        folder: PathLike,
        settings: TrainingSettings,
        checkpoint: str | None = None,
        devices: int | str | None = None,
        processes: Processes | None = None,
    ) -> Self:
        """Open a run with settings from its folder: see :meth:`open`."""
        # That this machine has no such device is no fault of the file
        (settings if devices is None else replace(settings, devices=devices)).get_mode(processes)

        def open_at(path: Path | None, known: Sequence[Path]) -> Any:
            found = None if path is None else read_checkpoint(path, settings)
            with making(folder, settings, found):
                run = cls(folder, settings, devices, processes)
            run._known = set(known)
            if path is not None and found is not None:
                run._set_state(path, found)
            return run

        return at_checkpoint(folder, checkpoint, open_at)

    def restore(self, path: PathLike) -> None:
        """Go back to a checkpoint.

        Raises
        ------
        ValueError
            If the file is damaged, or of another run; nothing is changed then.
        """
        self._set_state(path, read_checkpoint(path, self.settings))

    def _set_state(self, path: PathLike, checkpoint: Checkpoint) -> None:
        with blaming(f"{path} is damaged"):
            self.trainer.set_state(checkpoint.arrays, checkpoint.state)
        self.trainer.seconds = checkpoint.seconds

    def save(self) -> None:
        """Write a checkpoint, then remove all but it and the one before.

        Later ones are removed too: they are of a course that was left when training went on from an earlier checkpoint.

        Raises
        ------
        BlockingIOError
            If another process trains the run now.
        FileExistsError
            If another process has trained it since it was opened.
        """
        arrays, state = self.trainer.get_state()
        path = inside(self.folder, f"checkpoint-{self.trainer.step_count:09d}.safetensors")
        with self._take():
            metadata = {
                "format": "run",
                "settings": self.settings.to_json(),
                "seconds": self.seconds,
                "trainer": state,
            }
            write_arrays(path, arrays, metadata)
            self._known.add(path)
            checkpoints = list_checkpoints(self.folder)
            end = checkpoints.index(path) + 1
            for old in checkpoints[: max(end - KEPT, 0)] + checkpoints[end:]:
                old.unlink()

    @contextmanager
    def _take(self) -> Iterator[None]:
        """Hold the folder's lock, if the folder is as this run knows it."""
        with self._lock:
            unknown = [path for path in list_checkpoints(self.folder) if path not in self._known]
            if unknown:
                raise FileExistsError(
                    f"{self.folder} has been trained by another process since it was opened: "
                    f"{unknown[-1].name} is new. Open it again (ntm resume {self.folder})"
                )
            yield

    def train(
        self,
        loggers: Sequence[Callable[[dict], Any]] = (),
        progress: bool = True,
        max_steps: int | None = None,
        epochs: int | None = None,
    ) -> dict[str, Any]:
        """Train, with checkpoints, until the end; write network and result.

        Parameters
        ----------
        loggers : list of callables
            Besides ``metrics.jsonl``: see :meth:`ntm.training.Trainer.train`.
        progress : bool
            Whether to show progress.
        max_steps : int, optional
            Instead of the settings'.
        epochs : int, optional
            For data: instead of the settings'.

        Returns
        -------
        dict
            See :meth:`get_result`. After training that was not interrupted also ``measures``, ``machine``, ``date``,
            and for a task ``solved``.

        Raises
        ------
        BlockingIOError, FileExistsError
            As of :meth:`save`.
        KeyboardInterrupt
            If the process was told to stop after training had ended, while the network was measured.
        """
        course = self.make_course(loggers, progress, max_steps, epochs)
        with stop_on_signals() as stop:
            return self.trainer.run_alone(course, stop)

    def make_course(
        self,
        loggers: Sequence[Callable[[dict], Any]] = (),
        progress: bool = True,
        max_steps: int | None = None,
        epochs: int | None = None,
    ) -> Course:
        """Return training that runs step by step: see :meth:`ntm.training.Trainer.make_course`.

        The course takes the arguments of :meth:`train`, returns what :meth:`train` returns and raises the same errors.
        """
        with self._take(), stop_on_signals() as stop:
            options = self._get_train_options(max_steps, epochs)
            return (yield from self._train(loggers, progress, options, stop))

    def _train(
        self,
        loggers: Sequence[Callable[[dict], Any]],
        progress: bool,
        options: Mapping[str, Any],
        stop: Stop,
    ) -> Course:
        log = JSONLines(inside(self.folder, "metrics.jsonl"), self.trainer.step_count)
        ended = yield from self.trainer.make_course(
            evaluate_every=self.settings.evaluate_every,
            log_every=self.settings.log_every,
            loggers=[log, *loggers],
            save_every=self.settings.save_every,
            save=self.save,
            progress=progress,
            **options,
        )
        with stop.saving():
            path = inside(self.folder, "network.safetensors")
            save(path, self.trainer.l_out, notes=self._make_notes())
        result = self.get_result(ended)
        if ended != "interrupted":
            self._measure_end(result)
            result |= {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d")}
            write_json(inside(self.folder, "result.json"), result)
        return result

    @abstractmethod
    def _get_train_options(self, max_steps: int | None, epochs: int | None) -> dict[str, Any]:
        """Return arguments of :meth:`ntm.training.Trainer.train`."""

    @abstractmethod
    def _measure_end(self, result: dict[str, Any]) -> None:
        """Measure the trained network, and add to the result what was found."""

    def _make_notes(self) -> dict[str, Any] | None:
        """Return what the file of the network says beside the network."""
        return None

    def get_result(self, ended: str) -> dict[str, Any]:
        """Return what is known without measuring: how training ended, and counts of what it took."""
        trainer = self.trainer
        return {
            "ended": ended,
            "solved_at": trainer.solved_at,
            "steps": trainer.step_count,
            "sequences": trainer.num_sequences,
            "seconds": self.seconds,
            "skipped": len(trainer.skipped),
            "restarts": len(trainer.restarts),
            "parameters": int(sum(param.get_value(borrow=True).size for param in trainer.params)),
        }


class Run(TrainingRun):
    """A training run on a task, in a folder.

    Parameters
    ----------
    folder : str or path
        Nothing is written there before :meth:`begin` or :meth:`train`.
    settings : Settings
    devices : int or 'all', optional
        Train on so many devices, instead of those in the settings, which stay as they are.
    processes : Processes, optional
        The processes that train the network together, of which this one leads.
    """

    settings: Settings

    @classmethod
    def open(
        cls,
        folder: PathLike,
        checkpoint: str | None = None,
        devices: int | str | None = None,
        task: type[Task] | None = None,
        processes: Processes | None = None,
    ) -> Self:
        """Open a run as it was at its latest checkpoint.

        Parameters
        ----------
        folder : str or path
        checkpoint : str, optional
            The name of another checkpoint in the folder.
        devices : int or 'all', optional
            Train on so many devices, instead of those that the run began with. The results are equal up to rounding.
        task : type, optional
            The class of the task, if it is of the user's own.
        processes : Processes, optional
            The processes that train the network together, of which this one leads.

        Raises
        ------
        FileNotFoundError
            If there is no run in the folder, or no such checkpoint.
        ValueError
            If a file is damaged; the message says which one, and which checkpoint came before.
        """
        return cls.open_with(folder, read_settings(folder, task), checkpoint, devices, processes)

    def _get_train_options(self, max_steps: int | None, epochs: int | None) -> dict[str, Any]:
        if epochs is not None:
            raise ValueError("epochs are for runs on data, not on tasks")
        settings = self.settings
        return {
            "max_steps": settings.max_steps if max_steps is None else max_steps,
            "solve_every": settings.solve_every,
            "evaluate_at": settings.evaluate_at,
        }

    def _make_notes(self) -> dict[str, Any]:
        return {SETTINGS_NOTE: self.settings.to_json()}

    def _measure_end(self, result: dict[str, Any]) -> None:
        result["measures"] = self.measure()
        result["solved"] = was_solved(self.settings, result)

    def measure(
        self,
        num_sequences: int | None = None,
        sizes: Sequence[Mapping[str, int]] | None = None,
    ) -> list[dict[str, Any]]:
        """Measure the network at the training sizes, and at others: those of the settings unless given.

        Parameters and result as of :func:`measure`.
        """
        sizes = self.settings.evaluate_at if sizes is None else sizes
        return measure(self.trainer.evaluator, sizes, num_sequences)


def check_no_run(folder: PathLike) -> None:
    """Raise a `FileExistsError` if there is a run in a folder, or a `BlockingIOError` if it is being trained."""
    if inside(folder, "settings.json").exists():
        FolderLock(folder).check()
        raise FileExistsError(
            f"{folder} holds a run already: resume it (ntm resume {folder}), or choose another folder"
        )


def was_solved(settings: Settings, result: Mapping[str, Any]) -> bool:
    """Tell whether a run that ended has solved its task.

    A task counts as solved when the mean of its measure over 2,000 new sequences of the training sizes is below the
    threshold of :attr:`ntm.tasks.Task.solved`: when training ended by it, or when the network was measured after the
    last step. The setting `stop_below` is another threshold, at which training ends.
    """
    if isinstance(result.get("solved"), bool):
        return result["solved"]
    name, threshold = settings.make_task().solved
    if result.get("ended") == "solved" and (settings.stop_below or threshold) <= threshold:
        return True
    value = result["measures"][0].get(name)
    return value is not None and value < threshold


def measure(
    evaluator: Evaluator,
    sizes: Sequence[Mapping[str, int]],
    num_sequences: int | None = None,
) -> list[dict[str, Any]]:
    """Measure a network at the training sizes, and at others.

    Parameters
    ----------
    evaluator : Evaluator
    sizes : list of dict from str to int
    num_sequences : int, optional
        At each of the sizes; 2,000 at the training sizes and 100 at each other one unless given.

    Returns
    -------
    list of dict
        For each of the sizes ``sizes``, which is empty for those of training, and the task's measures.

    Raises
    ------
    KeyboardInterrupt
        If the process was told to stop meanwhile.
    """
    steps = evaluator.count_steps(sizes)
    with stop_on_signals() as stop:
        measured = evaluator.evaluate(num_sequences=num_sequences or NUM_SEQUENCES)
        rows = [{"sizes": {}, **measured}]
        stop.check()
        for each in sizes:
            measured = evaluator.evaluate(
                each, num_sequences or NUM_SEQUENCES_BEYOND, num_steps=steps
            )
            rows.append({"sizes": dict(each), **measured})
            stop.check()
    return rows


def open_evaluator(
    folder: PathLike,
    checkpoint: str | None = None,
    memory_slots: int | None = None,
    task: type[Task] | None = None,
) -> Evaluator:
    """Return what measures the network of a run; nothing is compiled for training.

    Parameters
    ----------
    folder : str or path
    checkpoint : str, optional
        The name of a checkpoint in the folder, the latest unless given.
    memory_slots : int, optional
        Give the memory so many slots, instead of those in training.
    task : type, optional
        The class of the task, if it is of the user's own.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder, or no such checkpoint.
    ValueError
        If a file is damaged, the network has no memory to resize, or it has learnt a value for each slot.
    """
    settings = read_settings(folder, task)
    mode = get_mode(settings.backend, settings.device)

    def open_at(path: Path | None, known: Sequence[Path]) -> Evaluator:
        found = None if path is None else read_checkpoint(path, settings)
        with making(folder, settings, found):
            made = settings.make_task()
            network = settings.make_network(made)
        if found is not None:
            with blaming(f"{path} is damaged"):
                set_parameters(network, found.arrays)
        if memory_slots is not None:
            network = resize_memory(network, settings, memory_slots)
        return Evaluator(network, made, mode=mode, seed=settings.seed)

    return at_checkpoint(folder, checkpoint, open_at)


def resize_memory(network: Layer, settings: Settings, num_slots: int) -> Layer:
    """Return a network with another number of memory slots and the parameters that a network has learnt.

    Parameters
    ----------
    network : Layer
        The output layer of a network made from the settings.
    settings : Settings
    num_slots : int

    Raises
    ------
    ValueError
        If the network has no memory, or has learnt a value for each slot.
    """
    if "memory_slots" not in get_model_options(settings.model):
        raise ValueError(f"--memory-slots: the network {settings.model} has no memory")
    resized = replace(settings, model_options={**settings.model_options, "memory_slots": num_slots})
    other = resized.make_network(resized.make_task())
    learnt, params = (get_all_params(each, trainable=True) for each in (network, other))
    for old, new in zip(learnt, params, strict=True):
        value, shape = old.get_value(), new.get_value(borrow=True).shape
        if value.shape != shape:
            raise ValueError(
                f"--memory-slots: the network has learnt {old.name} of shape {value.shape}, a value for each slot; "
                f"with {num_slots} slots the shape would be {shape}"
            )
        new.set_value(value)
    return other


@contextmanager
def making(
    folder: PathLike, settings: TrainingSettings, checkpoint: Checkpoint | None
) -> Iterator[None]:
    """Make a network from a stranger's settings in this context, after it was checked against the checkpoint."""
    with blaming(f"{Path(folder) / 'settings.json'}: no run can be made from it"):
        check_network(settings, None if checkpoint is None else checkpoint.arrays)
        yield


def at_checkpoint(
    folder: PathLike,
    name: str | None,
    open_at: Callable[[Path | None, Sequence[Path]], Opened],
) -> Opened:
    """Return what a function opens at a checkpoint: the one of a name, or the latest, or none if there is none.

    The function takes the path, or None, and the checkpoints that are known.
    """
    if name is not None:
        return open_at(inside(folder, name), list_checkpoints(folder))
    while checkpoints := list_checkpoints(folder):
        try:
            return open_at(checkpoints[-1], checkpoints)
        except FileNotFoundError:  # It is trained meanwhile, and there is a later checkpoint
            continue
        except ValueError as error:
            if len(checkpoints) == 1:
                raise
            raise ValueError(
                f"{error}. The checkpoint before it is still there: --checkpoint {checkpoints[-2].name}"
            ) from error
    return open_at(None, [])
