"""A trial of a sweep: one run with its settings, in a folder of the sweep, and how a trial is run."""

import json
import re
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ntm.arguments import shorten
from ntm.experiments.data_runs import DataRun
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.own_tasks import OwnTaskError
from ntm.experiments.reading import DATA
from ntm.experiments.runs import Run, TrainingRun
from ntm.experiments.settings import Settings
from ntm.files import inside, read_json, write_json
from ntm.interruption import stop_on_signals
from ntm.tasks import Task
from ntm.typing import PathLike

#: The folder of a sweep that holds the folders of the trials
TRIALS = "trials"
#: The file in the folder of a trial that says what is to be run
TRIAL = "trial.json"
#: The file in the folder of a trial that takes what the trial prints
LOG = "trial.log"
#: Exit codes of the process of a trial: :mod:`ntm.sweeps.process`
DONE, FAILED, INTERRUPTED = 0, 1, 130
#: Characters of the name of a trial, at most
LONGEST = 120
#: Seconds to wait for the lock of a run: a process that was told to end may still be saving
PATIENCE = 120.0


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes
    ----------
    name : str
        The name of its folder.
    settings : Settings or DataSettings
        Of the run, seed included.
    values : dict from str to str
        What the sweep varies: the configuration. Trials with equal values differ in the seed.
    """

    name: str
    settings: Settings | DataSettings
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.settings.seed

    def find_folder(self, sweep: PathLike) -> Path:
        """Return the folder of the trial, given that of the sweep."""
        return Path(sweep) / TRIALS / self.name

    def check(self, sweep: PathLike) -> bool:
        """Tell whether what is to be run is in the trial's folder as it is now; data may have been moved.

        Raises
        ------
        ValueError
            If the folder is of a trial with other settings, or its file is damaged.
        """
        path = inside(self.find_folder(sweep), TRIAL)
        if not path.exists():
            return False
        before = _read_settings(path, read_json(path))
        check_same_settings(path.parent, before, self.settings)
        return before == self.settings.to_json()

    def write(self, sweep: PathLike) -> Path:
        """Write into the trial's folder what is to be run, and return the folder.

        Raises
        ------
        ValueError
            As of :meth:`check`.
        """
        folder = self.find_folder(sweep)
        if not self.check(sweep):
            folder.mkdir(parents=True, exist_ok=True)
            content = {
                "name": self.name,
                "values": dict(self.values),
                "settings": self.settings.to_json(),
            }
            write_json(inside(folder, TRIAL), content)
        return folder


def _read_settings(path: Path, found: Any) -> dict[str, Any]:
    settings = found.get("settings") if isinstance(found, dict) else None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} is damaged: it holds no settings")
    return settings


def check_same_settings(
    folder: PathLike, before: Mapping[str, Any], settings: Settings | DataSettings
) -> None:
    """Raise a `ValueError` if the settings of a trial's folder are others. Data may have been moved.

    Parameters
    ----------
    folder : str or path
        For the message.
    before : dict
        The settings in the folder, as JSON holds them. A missing setting has its default.
    settings : Settings or DataSettings
    """
    now = settings.to_json()
    if before == now:
        return
    try:
        if settings.accepts(before):
            return
    except (AttributeError, TypeError, LookupError, ValueError):
        pass  # They are no settings of this kind, so they are other ones
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    changes = ", ".join(
        f"{name} {before.get(name)!r} and not {now.get(name)!r}" for name in names[:3]
    )
    raise ValueError(
        f"{folder} is of a sweep with other settings: {shorten(changes, 300)}. Give the same settings, or "
        "another folder"
    )


def check_trials(trials: Sequence[Trial], sweep: PathLike) -> None:
    """Check that trials fit what the folder of a sweep holds, before anything is written.

    Raises
    ------
    ValueError
        If a trial's folder, or another trial of the same configuration, has other settings than the seed; or if two
        configurations have the same settings, because a value is written in two ways.
    """
    before: dict[tuple[tuple[str, str], ...], tuple[Path, dict[str, Any]]] = {}
    for folder in list_trial_folders(sweep):
        path = folder / TRIAL
        try:
            found = read_json(inside(folder, TRIAL))
            settings = _read_settings(path, found)
            key = tuple(sorted((str(name), str(value)) for name, value in found["values"].items()))
        except (AttributeError, LookupError, ValueError):
            continue  # A trial that is asked for is checked below, and others are of no account
        before[key] = folder, settings
    configurations = [(dict(key), settings) for key, (_, settings) in before.items()]
    check_written_once(
        [*configurations, *((each.values, each.settings.to_json()) for each in trials)]
    )
    for trial in trials:
        trial.check(sweep)
        same = before.get(tuple(sorted(trial.values.items())))
        if same is not None:
            folder, settings = same
            check_same_settings(folder, {**settings, "seed": trial.seed}, trial.settings)


def check_written_once(
    configurations: Iterable[tuple[Mapping[str, str], Mapping[str, Any]]],
) -> None:
    """Check that no two configurations have the same settings, because a value is written in two ways.

    Parameters
    ----------
    configurations : iterable of (dict, dict)
        What the sweep varies, and the settings as JSON holds them.

    Raises
    ------
    ValueError
        If two have.
    """
    found: dict[str, str] = {}
    for values, settings in configurations:
        words = ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
        rest = {name: value for name, value in settings.items() if name != "seed"}
        other = found.setdefault(json.dumps(rest, sort_keys=True), words)
        if other != words:
            raise ValueError(
                f"{other} and {words} give the same settings: write each value in one way"
            )


def make_trial(
    settings: Settings | DataSettings,
    values: Mapping[str, str] | None = None,
    configuration: str | None = None,
) -> Trial:
    """Make a trial, named after what the sweep varies and the seed.

    Parameters
    ----------
    settings : Settings or DataSettings
    values : dict from str to str, optional
        What the sweep varies.
    configuration : str, optional
        A name for the values, instead of the values themselves.
    """
    # Whatever the order in which they are given, the folder is the same
    words = [f"{name}={value}" for name, value in sorted((values or {}).items())]
    if configuration is not None:
        words = [configuration]
    return Trial(_make_name([*words, f"seed={settings.seed}"]), settings, dict(values or {}))


def _make_name(words: list[str]) -> str:
    """Return words as the name of a folder."""
    full = ",".join(words)
    name = re.sub(r"[^\w.+=,-]", "_", full, flags=re.ASCII)
    if name != full or len(name) > LONGEST:  # Another trial may have the same name else
        name = f"{name[: LONGEST - 9]}-{zlib.crc32(full.encode()):08x}"
    return name


def list_trial_folders(sweep: PathLike) -> list[Path]:
    """Return the folders of the trials of a sweep, in the order of their names."""
    return sorted(path.parent for path in (Path(sweep) / TRIALS).glob(f"*/{TRIAL}"))


def read_trials(sweep: PathLike, task: type[Task] | None = None) -> list[Trial]:
    """Read the trials of a sweep that have been begun, in the order of their names.

    Parameters
    ----------
    sweep : str or path
    task : type, optional
        The class of the task, if it is of the user's own.

    Raises
    ------
    ValueError
        If a file is damaged.
    """
    return [read_trial(folder, task) for folder in list_trial_folders(sweep)]


def read_trial(folder: PathLike, task: type[Task] | None = None) -> Trial:
    """Read what is to be run in the folder of a trial. Arguments and errors as of :func:`read_trials`."""
    path = inside(folder, TRIAL)
    found = read_json(path)
    try:
        settings = found["settings"]
        of_data = DATA in settings
        made = DataSettings.from_json(settings) if of_data else Settings.from_json(settings, task)
        values = {str(name): str(value) for name, value in found["values"].items()}
    except OwnTaskError:
        raise
    except (AttributeError, TypeError, LookupError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {shorten(error)}") from error
    return Trial(Path(folder).name, made, values)


def run_trial(folder: PathLike, task: type[Task] | None = None) -> dict[str, Any]:
    """Run a trial in this process: begin its run, or go on from its latest checkpoint, until the end.

    Where another process holds the folder, the trial waits for up to two minutes: the process may be saving.

    Parameters
    ----------
    folder : str or path
        That of the trial.
    task : type, optional
        The class of the task, if it is of the user's own.

    Returns
    -------
    dict
        The result, as of :meth:`ntm.experiments.Run.train`; ``ended`` is 'interrupted' if the process was told to end.

    Raises
    ------
    BlockingIOError
        If another process still holds the folder after two minutes.
    KeyboardInterrupt
        If the process was told to end before the first step, or after the last.
    """
    trial = read_trial(folder, task)
    latest = time.monotonic() + PATIENCE
    with stop_on_signals() as stop:
        while True:
            stop.check()
            try:
                return _open_run(folder, trial.settings).train(progress=False)
            except BlockingIOError:
                if time.monotonic() > latest:
                    raise
                time.sleep(0.5)


def _open_run(folder: PathLike, settings: Settings | DataSettings) -> TrainingRun:
    begun = inside(folder, "settings.json").exists()
    if isinstance(settings, DataSettings):
        if begun:
            # The data may have been moved since the run began
            return DataRun.open(folder, data=settings.data, validation=settings.validation)
        settings.open()
        return DataRun.create(folder, settings)
    if begun:
        return Run.open(folder, task=settings.task_class)
    return Run.create(folder, settings)
