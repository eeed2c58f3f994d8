"""A training run in a folder: settings, checkpoints, metrics and result, so that it survives whatever happens.

====================================  ================================================================
``settings.json``                     all that the run is made from (:class:`ntm.settings.Settings`)
``checkpoint-000001000.safetensors``  everything after 1,000 steps; the latest two are kept
``metrics.jsonl``                     losses and evaluations along the way
``network.safetensors``               the network when training ended, for :func:`ntm.load`
``result.json``                       how it ended
====================================  ================================================================
"""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from lasagne.layers import get_all_params
from ntm.checkpoints import save
from ntm.files import read_arrays, replacing, write_arrays
from ntm.machine import describe_machine
from ntm.metrics import JSONLines
from ntm.models import get_model_options
from ntm.settings import Settings

KEPT = 2


def write_json(path, content):
    """Write JSON to a file; the file is complete or as it was."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


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

    @classmethod
    def create(cls, folder, settings):
        """A new run.

        Raises
        ------
        FileExistsError
            If there is a run in the folder.
        """
        folder = Path(folder)
        if (folder / "settings.json").exists():
            raise FileExistsError(
                f"{folder} holds a run already: resume it (ntm resume {folder}), or choose another folder"
            )
        run = cls(folder, settings)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "settings.json", asdict(settings))
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
        run = cls(folder, read_settings(folder))
        checkpoints = list_checkpoints(folder)
        if checkpoint is not None:
            run.restore(run.folder / checkpoint)
        elif checkpoints:
            try:
                run.restore(checkpoints[-1])
            except ValueError as error:
                if len(checkpoints) == 1:
                    raise
                raise ValueError(
                    f"{error}. The checkpoint before it is still there: --checkpoint {checkpoints[-2].name}"
                ) from error
        return run

    def restore(self, path):
        """Go back to a checkpoint.

        Raises
        ------
        ValueError
            If the file is damaged, or of another run.
        """
        arrays, about = read_arrays(path)
        if about.get("format") != "run" or not self._has_settings(about.get("settings")):
            raise ValueError(f"{path} is not a checkpoint of this run")
        self.trainer.set_state(arrays, about["trainer"])
        self.seconds = about["seconds"]

    def _has_settings(self, settings):
        """Whether these, a dict, are the run's settings; what was no setting then is as by default."""
        try:
            return Settings(**settings) == self.settings
        except (TypeError, ValueError):
            return False

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
        """Write a checkpoint, then remove all but the latest two."""
        arrays, about = self.trainer.get_state()
        path = self.folder / f"checkpoint-{self.trainer.step_count:09d}.safetensors"
        self._count_seconds()
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
        for old in list_checkpoints(self.folder)[:-KEPT]:
            old.unlink()

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
        """
        settings = self.settings
        log = JSONLines(self.folder / "metrics.jsonl", self.trainer.step_count)
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
        save(self.folder / "network.safetensors", self.trainer.l_out)
        result = self.get_result(ended)
        if ended != "interrupted":
            result["measures"] = self.measure()
            result |= {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d")}
            write_json(self.folder / "result.json", result)
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
        rows = [{"sizes": {}, **trainer.evaluate(num_sequences=2000)}]
        for each in sizes:
            rows.append({"sizes": each, **trainer.evaluate(each, num_sequences, num_steps=steps)})
        return rows

    def _count_seconds(self):
        if self._started is not None:
            now = time.monotonic()
            self.seconds += now - self._started
            self._started = now


def read_settings(folder):
    """The settings of a run.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder.
    ValueError
        If the file is damaged.
    """
    path = Path(folder) / "settings.json"
    try:
        return Settings(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no run in {folder}: no settings.json") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold the settings of a run: {error}") from error


def list_checkpoints(folder):
    """The checkpoints in a folder, the latest last."""
    return sorted(Path(folder).glob("checkpoint-*.safetensors"))
