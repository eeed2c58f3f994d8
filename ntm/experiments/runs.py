"""A training run in a folder: settings, checkpoints, metrics and result, so that it survives whatever happens.

====================================  ================================================================
``settings.json``                     all that the run is made from (:class:`ntm.experiments.Settings`)
``checkpoint-000001000.safetensors``  everything after 1,000 steps; the latest two are kept
``metrics.jsonl``                     losses and evaluations along the way
``network.safetensors``               the network when training ended, for :func:`ntm.load`
``result.json``                       how it ended
``.lock``                             held while the run is trained, see :mod:`ntm.experiments.locking`
====================================  ================================================================

One process at a time trains a run; others may read it meanwhile.
"""

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytensor

from lasagne.backends.modes import get_mode
from lasagne.layers import get_all_params
from lasagne.utils import initializing_by
from ntm.arguments import shorten
from ntm.experiments.hardware import describe_machine
from ntm.experiments.locking import FolderLock
from ntm.experiments.networks import get_model_options
from ntm.experiments.settings import Settings
from ntm.files import inside, read_json, write_json
from ntm.interruption import stop_on_signals
from ntm.serialization.arrays import read_arrays, write_arrays
from ntm.serialization.networks import save
from ntm.training.loggers import JSONLines

KEPT = 2


# A run without a checkpoint has no arrays to compare with its settings. At most, its network has so many numbers, and
# so many heads, layers or shifts
MAX_NUMBERS = 40_000_000
MAX_PARTS = 1_000
# What a size of a task can be at most, and the steps of a sequence are not fewer
MAX_SIZE = 1_000_000


class Run:
    """A training run in a folder.

    Parameters
    ----------
    folder : str or path
    settings : Settings

    Attributes
    ----------
    trainer : Trainer
    seconds : float
        How long it has trained, all sessions together.
    """

    def __init__(self, folder, settings):
        self.folder = Path(folder)
        self.settings = settings
        self.trainer = settings.make_trainer()
        self.seconds = 0.0
        self._started: float | None = None
        self._lock = FolderLock(folder)
        #: The checkpoints that there were when the run was opened, and those that it has written
        self._known: set[Path] = set()

    @classmethod
    def create(cls, folder, settings):
        """A new run.

        Raises
        ------
        FileExistsError
            If there is a run in the folder.
        BlockingIOError
            If another process trains in the folder.
        """
        folder = Path(folder)
        _check_no_run(folder)
        run = cls(folder, settings)
        folder.mkdir(parents=True, exist_ok=True)
        with run._lock:
            _check_no_run(folder)  # Another process may have been faster
            write_json(inside(folder, "settings.json"), asdict(settings))
        return run

    @classmethod
    def open(cls, folder, checkpoint=None):
        """A run that was begun, as it was at its latest checkpoint.

        Parameters
        ----------
        folder : str or path
        checkpoint : str, optional
            The name of another checkpoint in the folder.

        Raises
        ------
        FileNotFoundError
            If there is no run in the folder, or no such checkpoint.
        ValueError
            If a file is damaged; the message says which one, and which checkpoint came before.
        """
        settings = read_settings(folder)
        if checkpoint is not None:
            known = list_checkpoints(folder)
            return cls._open_at(folder, settings, inside(folder, checkpoint), known)
        while checkpoints := list_checkpoints(folder):
            try:
                return cls._open_at(folder, settings, checkpoints[-1], checkpoints)
            except FileNotFoundError:  # It is trained meanwhile, and there is a later one
                continue
            except ValueError as error:
                if len(checkpoints) == 1:
                    raise
                raise ValueError(
                    f"{error}. The checkpoint before it is still there: --checkpoint {checkpoints[-2].name}"
                ) from error
        return cls._open_at(folder, settings, None, [])

    @classmethod
    def _open_at(cls, folder, settings, path, checkpoints):
        """The run as it was at a checkpoint, or without one; nothing is made that the checkpoint has no arrays for."""
        arrays, about = (None, None) if path is None else _read_checkpoint(path, settings)
        get_mode(
            settings.backend, settings.device
        )  # That there is none here is no fault of the file
        with _naming(f"{Path(folder) / 'settings.json'}: no run can be made from it"):
            check_network(settings, arrays)
            run = cls(folder, settings)
        run._known = set(checkpoints)
        if path is not None:
            run._set_state(path, arrays, about)
        return run

    def restore(self, path):
        """Go back to a checkpoint.

        Raises
        ------
        ValueError
            If the file is damaged, or of another run; nothing is changed then.
        """
        self._set_state(path, *_read_checkpoint(path, self.settings))

    def _set_state(self, path, arrays, about):
        with _naming(f"{path} is damaged"):
            self.trainer.set_state(arrays, about["trainer"])
        self.seconds = about["seconds"]

    def resize_memory(self, num_slots):
        """Give the network a memory with another number of slots, to measure it with the parameters it has learnt.

        Raises
        ------
        ValueError
            If the network has no memory, or has learnt something for each slot.
        """
        options = self.settings.model_options
        if "memory_slots" not in get_model_options(self.settings.model):
            raise ValueError(
                f"{self.folder}: --model {self.settings.model} has no memory whose slots to change"
            )
        settings = replace(self.settings, model_options={**options, "memory_slots": num_slots})
        trainer = settings.make_trainer()
        learnt, params = (
            get_all_params(each.l_out, trainable=True) for each in (self.trainer, trainer)
        )
        for old, new in zip(learnt, params, strict=True):
            value = old.get_value()
            shape = new.get_value(borrow=True).shape
            if value.shape != shape:
                raise ValueError(
                    f"{self.folder}: the network has learnt {old.name} of shape {value.shape} for the slots that it "
                    f"had; with {num_slots} it would be {shape}"
                )
            new.set_value(value)
        self.settings, self.trainer = settings, trainer

    def save(self):
        """Write a checkpoint, then remove all but it and the one before.

        Later ones go too: they are of a course that was left when training went on from an earlier checkpoint.

        Raises
        ------
        BlockingIOError
            If another process trains the run now.
        FileExistsError
            If another has trained it since it was opened.
        """
        arrays, about = self.trainer.get_state()
        path = inside(self.folder, f"checkpoint-{self.trainer.step_count:09d}.safetensors")
        self._count_seconds()
        with self._take():
            write_arrays(
                path,
                arrays,
                {
                    "format": "run",
                    "settings": asdict(self.settings),
                    "seconds": self.seconds,
                    "trainer": about,
                },
            )
            self._known.add(path)
            checkpoints = list_checkpoints(self.folder)
            end = checkpoints.index(path) + 1
            for old in checkpoints[: max(end - KEPT, 0)] + checkpoints[end:]:
                old.unlink()

    @contextmanager
    def _take(self):
        """Hold the folder's lock, if it is as this run knows it."""
        with self._lock:
            unknown = [path for path in list_checkpoints(self.folder) if path not in self._known]
            if unknown:
                raise FileExistsError(
                    f"{self.folder} has been trained by another process since it was opened: "
                    f"{unknown[-1].name} is new. Open it again (ntm resume {self.folder})"
                )
            yield

    def train(self, loggers=(), progress=True, max_steps=None):
        """Train, with checkpoints, until the end; write network and result.

        Parameters
        ----------
        loggers : list of callables
            Besides ``metrics.jsonl``.
        progress : bool
        max_steps : int, optional
            Instead of the settings'.

        Returns
        -------
        dict
            The result, see :meth:`get_result`.

        Raises
        ------
        BlockingIOError, FileExistsError
            As of :meth:`save`.
        KeyboardInterrupt
            If the process was told to stop after training had ended, while the network was measured.
        """
        with self._take(), stop_on_signals() as stop:
            return self._train(loggers, progress, max_steps, stop)

    def _train(self, loggers, progress, max_steps, stop):
        settings = self.settings
        log = JSONLines(inside(self.folder, "metrics.jsonl"), self.trainer.step_count)
        self._started = time.monotonic()
        try:
            ended = self.trainer.train(
                settings.max_steps if max_steps is None else max_steps,
                solve_every=settings.solve_every,
                evaluate_every=settings.evaluate_every,
                evaluate_at=settings.evaluate_at,
                log_every=settings.log_every,
                loggers=[log, *loggers],
                save_every=settings.save_every,
                save=self.save,
                progress=progress,
            )
            self._count_seconds()
        finally:
            self._started = None
        with stop.saving():
            save(inside(self.folder, "network.safetensors"), self.trainer.l_out)
        result = self.get_result(ended)
        if ended != "interrupted":
            result["measures"] = self.measure()
            result |= {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d")}
            write_json(inside(self.folder, "result.json"), result)
        return result

    def get_result(self, ended):
        """What is known without measuring anew: how it ended, and counts of what it took."""
        trainer = self.trainer
        params = trainer.params
        return {
            "ended": ended,
            "solved_at": trainer.solved_at,
            "steps": trainer.step_count,
            "sequences": trainer.num_sequences,
            "seconds": self.seconds,
            "skipped": len(trainer.skipped),
            "restarts": len(trainer.restarts),
            "parameters": int(sum(param.get_value(borrow=True).size for param in params)),
        }

    def measure(self, num_sequences=100):
        """Measures at the training sizes, and at each of the sizes in the settings: a list of dicts."""
        trainer, sizes = self.trainer, self.settings.evaluate_at
        steps = trainer.count_steps(sizes)
        with stop_on_signals() as stop:
            rows = [{"sizes": {}, **trainer.evaluate(num_sequences=2000)}]
            stop.check()
            for each in sizes:
                measured = trainer.evaluate(each, num_sequences, num_steps=steps)
                rows.append({"sizes": each, **measured})
                stop.check()
        return rows

    def _count_seconds(self):
        if self._started is not None:
            now = time.monotonic()
            self.seconds += now - self._started
            self._started = now


def _check_no_run(folder):
    if inside(folder, "settings.json").exists():
        FolderLock(folder).check()
        raise FileExistsError(
            f"{folder} holds a run already: resume it (ntm resume {folder}), or choose another folder"
        )


def read_settings(folder):
    """The settings of a run.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder.
    ValueError
        If the file is damaged.
    """
    path = inside(folder, "settings.json")
    try:
        found = read_json(path)
        if not isinstance(found, dict):
            raise ValueError(f"it holds {found!r}")
        return Settings(**found)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no run in {folder}: no settings.json") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold the settings of a run: {shorten(error)}") from error


def _read_checkpoint(path, settings):
    """The arrays of a checkpoint, and what is said about them, if it is of a run with these settings."""
    arrays, about = read_arrays(inside(Path(path).parent, Path(path).name))
    if not isinstance(about, dict) or about.get("format") != "run":
        raise ValueError(f"{path} is not a checkpoint of a run")
    if not _are_settings(about.get("settings"), settings):
        raise ValueError(f"{path} is not a checkpoint of this run")
    seconds = about.get("seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        raise ValueError(f"{path} is damaged: its seconds are {shorten(repr(seconds), 100)}")
    if not isinstance(about.get("trainer"), dict):
        raise ValueError(f"{path} is damaged: it holds no state of a trainer")
    return arrays, about


def _are_settings(found, settings):
    """Whether a value is these settings as a dict; what was no setting then is as by default."""
    try:
        return Settings(**found) == settings
    except (TypeError, ValueError):
        return False


@contextmanager
def _naming(where):
    """Have whatever goes wrong with what a file says, which may be anything, end in a `ValueError` that begins so."""
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        known = isinstance(error, ValueError | TypeError)
        raise ValueError(f"{where}: {shorten(error if known else repr(error))}") from error


def check_network(settings, arrays=None):
    """Check that settings make the network of a checkpoint, before there is memory for it and time is spent.

    Parameters
    ----------
    settings : Settings
    arrays : dict from name to array, optional
        Of the checkpoint.

    Raises
    ------
    ValueError
        If a parameter would be of a shape for which there is no array, or an option is a larger number than there are
        numbers in all arrays. Without arrays, if the network were of more than 40 million numbers or a thousand heads
        or layers.
    """
    parameters = {
        name: array for name, array in (arrays or {}).items() if name.startswith("parameter/")
    }
    left = Counter(array.shape for array in parameters.values())
    if arrays is None:
        most, most_parts = MAX_NUMBERS, MAX_PARTS
    else:
        most = sum(array.size for array in parameters.values())
        most_parts = len(parameters)
    for name, value in settings.model_options.items():
        is_part = name in ("num_heads", "num_reads", "num_layers", "num_shifts")
        at_most = most_parts if is_part and (arrays is None or name != "num_shifts") else most
        if isinstance(value, int) and value > at_most:
            raise ValueError(
                f"by the settings the network's {name} is {value}, and it can be {at_most} at most"
            )
    sizes = [
        *settings.task_options.items(),
        *(each for one in settings.evaluate_at for each in one.items()),
    ]
    for name, value in sizes:
        if isinstance(value, int) and value > MAX_SIZE:
            raise ValueError(f"{name} is {value} by the settings, and {MAX_SIZE} is the most")
    numbers = 0

    def initialize(spec, shape):
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
                f"by the settings the network is of more than {most} numbers, and there is no checkpoint that "
                "has so many; begin the run anew, in another folder"
            )
        return pytensor.shared(
            np.broadcast_to(np.zeros((), pytensor.config.floatX), shape), shape=shape, borrow=True
        )

    with initializing_by(initialize):
        settings.make_network(settings.make_task())


def list_checkpoints(folder):
    """The checkpoints in a folder, the latest last."""
    return sorted(Path(folder).glob("checkpoint-*.safetensors"))
