"""Training in several processes: process 0 leads, the others follow. See :mod:`lasagne.processes`.

Process 0 trains as if it were alone: it draws batches, measures, decides and writes files. Its training step sends each
batch to the processes that follow, and these run the step alone. When training has ended, all processes have the same
network, and the trainers the same losses and evaluations.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import numpy as np

from lasagne.processes import Processes
from ntm.interruption import stop_on_signals
from ntm.training.step import Course
from ntm.typing import Array

if TYPE_CHECKING:
    from ntm.training.trainer import Trainer

__all__ = ["follow", "led_by_one"]

Parameters = ParamSpec("Parameters")
#: What a trainer that follows has as the trainer of process 0 when training has ended
SHARED = ("step_count", "evaluations", "skipped", "solved_at", "seconds", "learning_rate_factor")


def led_by_one(
    make_course: Callable[Concatenate["Trainer", Parameters], Course],
) -> Callable[Concatenate["Trainer", Parameters], Course]:
    """Let process 0 run the course of a trainer, and all others follow, where a trainer has several processes."""

    @wraps(make_course)
    def make(trainer: "Trainer", *args: Parameters.args, **kwargs: Parameters.kwargs) -> Course:
        course = make_course(trainer, *args, **kwargs)
        processes = trainer.training_step.processes
        return course if processes is None else _lead_or_follow(trainer, processes, course)

    return make


def _lead_or_follow(trainer: "Trainer", processes: Processes, course: Course) -> Course:
    if not processes.is_leader:
        return follow(trainer)
    with _leading(trainer, processes):
        reason = yield from course
        names, arrays = _get_values(trainer)
        state = {name: getattr(trainer, name) for name in SHARED}
        processes.tell({"do": "end", "reason": reason, "names": names, **state}, arrays)
    return reason


@contextmanager
def _leading(trainer: "Trainer", processes: Processes) -> Iterator[None]:
    """Lead the other processes in this context. They may ask for an end, as when one of them gets a Ctrl-C."""
    trainer.training_step.send_all()
    processes.on_stop = lambda: trainer.stop("interrupted")
    try:
        yield
    except BaseException as error:
        processes.fail(error)
        if isinstance(error, Exception):
            # An error from inside of a compiled function says more than what is wrong: that a process has gone
            processes.check()
        raise
    finally:
        processes.on_stop = None


def follow(trainer: "Trainer") -> str:
    """Run the training step as process 0 says, until its training ends; return the reason that it ended for.

    Ctrl-C, SIGTERM and SIGHUP are handed on: process 0 ends training after the present step.

    Raises
    ------
    lasagne.processes.LostProcessError
        If process 0, or another process, has gone or failed.
    ValueError
        If the training step is another one than that of process 0.
    """
    processes = trainer.training_step.processes
    assert processes is not None
    try:
        return _follow(trainer, processes)
    except BaseException as error:
        processes.fail(error)
        raise


def _follow(trainer: "Trainer", processes: Processes) -> str:
    with stop_on_signals() as stop:
        has_asked = False

        def ask_once() -> None:
            nonlocal has_asked
            if stop.is_set() and not has_asked:
                has_asked = True
                processes.ask_to_stop()

        while True:
            ask_once()
            message, arrays = processes.receive(ask_once)
            if message["do"] == "run":
                trainer.training_step.follow(message, arrays)
            elif message["do"] == "end":
                values = dict(zip(message["names"], arrays, strict=True))
                trainer.losses = values.pop("losses").tolist()
                trainer.training_step.set_values(values)
                for name in SHARED:
                    setattr(trainer, name, message[name])
                return message["reason"]
            else:
                raise ValueError(
                    f"{processes.leader} is about to {message['do']} {message.get('what', '')}, and {processes.name} "
                    "waits for training: the processes do not run the same program"
                )


def _get_values(trainer: "Trainer") -> tuple[list[str], Sequence[Array]]:
    """Return the names and the values of all that training changes, the losses among them."""
    values = trainer.training_step.get_values() | {"losses": np.array(trainer.losses)}
    return list(values), list(values.values())
