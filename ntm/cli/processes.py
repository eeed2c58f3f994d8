"""Commands that train one network in several processes: the options, and what the processes that follow do."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lasagne.processes import AUTO, LostProcessError, Processes, find_place, join_processes
from ntm.arguments import Number
from ntm.cli.usage import DONE, INTERRUPTED, UsageError, blaming_usage
from ntm.experiments.reading import list_checkpoints
from ntm.experiments.runs import TrainingRun
from ntm.experiments.training_settings import TrainingSettings
from ntm.interruption import stop_on_signals
from ntm.training.division import FEWEST
from ntm.training.following import follow

#: Settings that may differ between processes: where files are on a host. Fingerprints tell data from other data
PLACES = ("data", "validation")


def add_processes(parser: Any) -> None:
    """Add the options of a command that may train in several processes."""
    group = parser.add_argument_group(
        "several processes",
        "Give the same command in each process, on one host or on several, each with its own --process. The processes "
        "divide each batch; process 0 writes the run. --devices counts the devices of all processes.",
    )
    group.add_argument(
        "--processes",
        type=_parse_count,
        metavar="N|auto",
        help="how many processes train the network together; auto asks srun or mpirun, which started them",
    )
    group.add_argument(
        "--process",
        type=Number(int, 0),
        metavar="K",
        help="the number of this process, from 0",
    )
    group.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="the address of process 0, in a network that is trusted, and a port that is free there; with "
        "--processes auto under srun it need not be given",
    )


def _parse_count(word: str) -> int | str:
    return word if word == AUTO else int(Number(int, 2)(word))


@contextmanager
def joined(options: Namespace, settings: TrainingSettings) -> Iterator[Processes | None]:
    """Join this process with the others that train a run of these settings, in this context; None for no others."""
    given = {name: getattr(options, name) for name in ("process", "coordinator")}
    count: Any = options.processes
    if count is None:
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"--{name} is for --processes")
        yield None
        return
    if count == AUTO:
        with blaming_usage():
            place = find_place()
        count = place.processes
        given = {
            "process": place.process if given["process"] is None else given["process"],
            "coordinator": given["coordinator"] or place.coordinator,
        }
        if count == 1:
            yield None
            return
    for name, value in given.items():
        if value is None:
            raise UsageError(f"--processes {options.processes} needs --{name}")
    if settings.backend != "jax":
        raise UsageError("--processes is for --backend jax")
    with stop_on_signals() as stop, blaming_usage():
        processes = join_processes(
            count,
            given["process"],
            given["coordinator"],
            settings.devices,
            most=max(settings.batch_size // FEWEST, count),
            platform=settings.device and settings.device.partition(":")[0],
            wait=stop.check,
        )
    with processes:
        compared = {k: value for k, value in settings.to_json().items() if k not in PLACES}
        processes.agree("settings", compared)
        yield processes


def follow_run(settings: TrainingSettings, processes: Processes) -> int:
    """Follow process 0, which trains a run, and return the exit code."""
    trainer = settings.make_trainer(processes)
    print(f"{processes.name} follows {processes.leader}", flush=True)
    reason = follow(trainer)
    print(f"{processes.name} ends with {processes.leader}: {reason}")
    return INTERRUPTED if reason == "interrupted" else DONE


@contextmanager
def saying_what_is_saved(run: TrainingRun, again: str) -> Iterator[None]:
    """Add to the error of a process that has gone what is saved, and how to go on.

    Parameters
    ----------
    run : TrainingRun
    again : str
        How to go on.
    """
    try:
        yield
    except LostProcessError as error:
        step = run.trainer.step_count
        saved = [path.name for path in list_checkpoints(run.folder)]
        kept = f"saved is {saved[-1]}" if saved else "no checkpoint had been saved yet"
        raise LostProcessError(
            f"{error}\nTraining ended at step {step:,}; {kept}. {again}, in all processes"
        ) from error
