"""Training of several seeds in one program: the part of ``ntm train`` behind ``--replicas``."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ntm.cli.usage import DONE, FAILED, INTERRUPTED, NOT_SOLVED, Loggers, UsageError, blaming_usage
from ntm.experiments.replica_runs import (
    ReplicaRun,
    list_replica_settings,
    open_replicas,
    train_together,
)
from ntm.training.replicas import ReplicaResult

#: Describes in a line how a run ended, from its settings and its result
Describe = Callable[[Any, dict[str, Any]], str]


def train_replicas(
    settings: Any,
    options: Namespace,
    choose_folder: Callable[[Any], Path],
    make_loggers: Callable[[Any, Namespace], Loggers],
    describe: Describe,
    read: Callable[[Any, Path], dict[str, Any]],
) -> int:
    """Train runs of ``--replicas`` seeds, from the settings' seed on, unless they have ended; return the exit code.

    Parameters
    ----------
    settings : Settings or DataSettings
    options : argparse.Namespace
    choose_folder : callable
        From settings to the folder of a run unless one is given.
    make_loggers : callable
        From a run and options.
    describe : callable
    read : callable
        From settings and the folder of a run that has ended to its result.
    """
    for name in ("processes", "process", "coordinator"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for one network, not for --replicas")
    with blaming_usage():
        of_seeds = list_replica_settings(settings, options.replicas)
    parent = Path(options.folder or "runs")
    folders = [parent / choose_folder(each).name for each in of_seeds]
    with blaming_usage():
        replicas = open_replicas(folders, of_seeds)
    for each in replicas:
        if each.run is None:
            result = read(each.settings, each.folder)
            print(f"{each.folder}: ended before. {describe(each.settings, result)}")
        else:
            print(
                f"{each.folder}: seed {each.settings.seed}, from step {each.run.trainer.step_count:,}"
            )
    sys.stdout.flush()
    loggers = [
        [] if each.run is None else _make_own(each, options, make_loggers) for each in replicas
    ]

    def print_end(replica: ReplicaRun, result: ReplicaResult) -> None:
        if result.error is not None:
            print(f"{replica.folder}: failed: {result.error}", file=sys.stderr, flush=True)
        else:
            print(f"{replica.folder}: {describe(replica.settings, result.ended)}", flush=True)

    results = train_together(replicas, loggers, not options.quiet, print_end)
    if any(result is not None and result.error is not None for result in results):
        code = FAILED
    else:
        code = DONE
    ended = [
        read(each.settings, each.folder) if result is None else result.ended
        for each, result in zip(replicas, results, strict=True)
        if result is None or result.error is None
    ]
    if any(result["ended"] == "interrupted" for result in ended):
        print("To go on: the same command again, or ntm resume FOLDER for one run")
        return INTERRUPTED
    if code == DONE and any(result.get("solved") is False for result in ended):
        code = NOT_SOLVED
    print(_summarise(ended, len(replicas)))
    return code


def _make_own(
    replica: ReplicaRun, options: Namespace, make_loggers: Callable[[Any, Namespace], Loggers]
) -> Loggers:
    """Return the loggers of a run; what is for TensorBoard goes into a folder of the run's name."""
    if not options.tensorboard:
        return make_loggers(replica.run, options)
    own = Namespace(**vars(options))
    own.tensorboard = str(Path(options.tensorboard) / replica.folder.name)
    return make_loggers(replica.run, own)


def _summarise(results: Sequence[dict[str, Any]], count: int) -> str:
    """Return in a line how the runs have ended."""
    solved = [result["steps"] for result in results if result.get("solved")]
    if not any("solved" in result for result in results):
        return f"{len(results)} of {count} runs have ended"
    after = f", after {median(solved):,.0f} steps (median)" if solved else ""
    return f"{len(solved)} of {count} seeds solved the task{after}"
