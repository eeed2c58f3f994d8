"""Runs of several seeds that train in one program, each in a folder of its own: see :mod:`ntm.training.replicas`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ntm.experiments.data_runs import DataRun
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.locking import FolderLock
from ntm.experiments.reading import (
    is_data_run,
    list_checkpoints,
    read_data_settings,
    read_settings,
)
from ntm.experiments.runs import KEPT, Run, TrainingRun, check_no_run
from ntm.experiments.settings import Settings
from ntm.training.replicas import Replica, ReplicaResult, check_replicas, run_together
from ntm.typing import PathLike

__all__ = ["ReplicaRun", "list_replica_settings", "open_replicas", "train_together"]

AnySettings = TypeVar("AnySettings", Settings, DataSettings)


class ReplicaRun(NamedTuple):
    """The run of one of several seeds.

    Attributes
    ----------
    folder : Path
    settings : Settings or DataSettings
    run : Run, DataRun or None
        None if the run has ended.
    is_new : bool
        Whether the folder is yet to be written.
    """

    folder: Path
    settings: Any
    run: Any
    is_new: bool = False


def list_replica_settings(settings: AnySettings, count: int) -> list[AnySettings]:
    """Return the settings of runs with `count` seeds, from the settings' seed on; each has one device.

    Raises
    ------
    ValueError
        If the settings ask for several devices, or for another back end than JAX.
    """
    if settings.backend != "jax":
        raise ValueError(f"replicas need the back end jax, not {settings.backend}")
    if settings.devices not in (1, "auto"):
        raise ValueError(
            f"replicas share one device: expected devices 1, not {settings.devices}. ntm sweep trains seeds in "
            "processes of their own"
        )
    return [
        replace(settings, seed=settings.seed + k, devices=1).with_own_data() for k in range(count)
    ]


def open_replicas(folders: Sequence[PathLike], settings: Sequence[Any]) -> list[ReplicaRun]:
    """Make the runs of several seeds, or open those whose folders hold a run with these settings.

    Where all runs were saved after the same steps, they go on from there together, bit for bit as if they had not been
    stopped. If a process was killed while it saved, some runs have a later checkpoint than others: then all go back to
    the latest that all have.

    Nothing is written.

    Parameters
    ----------
    folders : list of str or path
    settings : list of Settings or DataSettings
        Of each run.

    Raises
    ------
    FileExistsError
        If a folder holds a run with other settings.
    BlockingIOError
        If another process trains one of the runs.
    ValueError
        If a file is damaged, or the networks cannot train in one program.
    """
    paths = [Path(folder) for folder in folders]
    found = [_find_settings(*pair) for pair in zip(paths, settings, strict=True)]
    has_ended = [(path / "result.json").exists() for path in paths]
    going_on = [
        path
        for path, each, ended in zip(paths, found, has_ended, strict=True)
        if each is not None and not ended
    ]
    for path in going_on:
        FolderLock(path).check()
    step = _find_common_step(going_on)
    replicas = []
    for path, own, each, ended in zip(paths, settings, found, has_ended, strict=True):
        run: TrainingRun | None = None
        if each is None:
            run = _get_kind(own)(path, own)
        elif not ended:
            own = replace(own, block_size=each.block_size, devices=each.devices)
            run = _open_at(path, own, step)
        replicas.append(ReplicaRun(path, own, run, each is None))
    active = [each for each in replicas if each.run is not None]
    if active:
        check_replicas([each.run.trainer for each in active], [str(each.folder) for each in active])
    return replicas


def train_together(
    replicas: Sequence[ReplicaRun],
    loggers: Sequence[Sequence[Callable[[dict], Any]]] | None = None,
    progress: bool = True,
    on_end: Callable[[ReplicaRun, ReplicaResult], None] | None = None,
) -> list[ReplicaResult | None]:
    """Train the runs of :func:`open_replicas` to their ends, in one program.

    Parameters
    ----------
    replicas : list of ReplicaRun
    loggers : list of lists of callables, optional
        Of each run, besides ``metrics.jsonl``: see :meth:`ntm.training.Trainer.train`.
    progress : bool
        Whether to show progress.
    on_end : callable, optional
        Called when a run has ended, with its result.

    Returns
    -------
    list of ReplicaResult or None
        For each run: `ended` is the result, as of :meth:`ntm.experiments.Run.train`, or `error` what ended it. None for
        a run that had ended before.
    """
    chosen = [each for each in replicas if each.run is not None]
    own = [[]] * len(replicas) if loggers is None else loggers
    of_run = {each.folder: list(some) for each, some in zip(replicas, own, strict=True)}
    for each in chosen:
        if each.is_new:
            each.run.begin()
    by_name = {str(each.folder): each for each in chosen}
    courses = [
        Replica(
            str(each.folder),
            each.run.trainer,
            each.run.make_course(of_run[each.folder], progress=False),
        )
        for each in chosen
    ]
    results: dict[Path, ReplicaResult] = {}

    def note(replica: Replica, result: ReplicaResult) -> None:
        each = by_name[replica.name]
        if result.ended == "interrupted":  # While the trained network was measured
            result = ReplicaResult(each.run.get_result("interrupted"))
        results[each.folder] = result
        if on_end is not None:
            on_end(each, result)

    if courses:
        run_together(courses, len(replicas), progress, note)
    return [results.get(each.folder) for each in replicas]


def _get_kind(settings: Any) -> type[TrainingRun]:
    return DataRun if isinstance(settings, DataSettings) else Run


def _find_settings(folder: Path, settings: Any) -> Any:
    """Return the settings of the run in a folder, None if there is no run; raise if the run is another one."""
    if not (folder / "settings.json").exists():
        return None
    is_data = isinstance(settings, DataSettings)
    if is_data_run(folder) == is_data:
        found = (
            read_data_settings(folder) if is_data else read_settings(folder, settings.task_class)
        )
        if settings.may_be(found):
            return found
    check_no_run(folder)
    raise AssertionError("unreachable: there is a run")


def _find_common_step(folders: Sequence[Path]) -> int | None:
    """Return the latest step that all runs have a checkpoint of; None if there is none, or no need to go back."""
    steps = [_list_steps(folder) for folder in folders]
    latest = {max(each, default=0) for each in steps}
    if len(latest) < 2:
        return None
    common = set.intersection(*({0, *each} for each in steps))
    # A run that has just begun sends no other back by more than a checkpoint
    return max(common) if max(common) or all(len(each) < KEPT for each in steps) else None


def _list_steps(folder: Path) -> list[int]:
    names = [path.name for path in list_checkpoints(folder)]
    return [int(name.removeprefix("checkpoint-").partition(".")[0]) for name in names]


def _open_at(folder: Path, settings: Any, step: int | None) -> TrainingRun:
    """Open a run at its checkpoint of a step, the latest unless a step is given; step 0 has none."""
    kind = _get_kind(settings)
    if step == 0:
        return kind.open_anew(folder, settings)
    name = None if step is None else f"checkpoint-{step:09d}.safetensors"
    return kind.open_with(folder, settings, name)
