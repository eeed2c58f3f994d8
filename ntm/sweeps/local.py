"""The engine for this machine: a pool of processes, one core each."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lasagne.devices import count_cores
from ntm.arguments import Number
from ntm.files import inside
from ntm.sweeps.engine import Ended, Engine
from ntm.sweeps.states import read_last_lines
from ntm.sweeps.trials import DONE, INTERRUPTED, LOG, Trial
from ntm.tasks import Task

#: Seconds that processes get to save, when the pool is closed
GRACE = 60.0


def make_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that runs one trial on one core, given that of another process."""
    flags = f"{environment.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    return {
        # Several processes share a GPU: none takes all its memory at once
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        **environment,
        "XLA_FLAGS": flags,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def start_process(
    folder: Path,
    own_task: str | None,
    environment: Mapping[str, str],
    current: str | None = None,
) -> "subprocess.Popen[bytes]":
    """Start the process of a trial: :mod:`ntm.sweeps.process`.

    The process saves and ends when its standard input does: with this process, however it ends. Ctrl-C in the terminal
    is for this process alone.

    Parameters
    ----------
    folder : Path
        That of the trial, whose log takes what the process prints.
    own_task : str or None
        The task, as ``module:Class``, if it is of the user's own.
    environment : dict from str to str
    current : str, optional
        The folder that the process runs in, that of this process unless given.
    """
    words = [sys.executable, "-m", "ntm.sweeps.process", str(folder), *filter(None, [own_task])]
    with open(inside(folder, LOG), "ab") as log:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=current,
            start_new_session=True,  # No effect on Windows
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
        )


@dataclass
class _Running:
    trial: Trial
    process: "subprocess.Popen[bytes]"
    is_told: bool = False


class LocalEngine(Engine):
    """Runs each trial in a process of its own, on one core. A process that crashes costs no other trial.

    Parameters
    ----------
    folder : str or path
        That of the sweep.
    task : type, optional
        The class of the task, if it is of the user's own.
    jobs : int, optional
        Trials at a time; as many as there are cores unless given.
    """

    def __init__(
        self, folder: str | Path, task: type[Task] | None = None, jobs: int | None = None
    ) -> None:
        super().__init__(folder, task)
        jobs = count_cores() if jobs is None else jobs
        self.jobs = Number(int, 1).check("LocalEngine: jobs", jobs)
        self._running: dict[str, _Running] = {}

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *exception: object) -> None:
        """Tell all trials to save and end, and wait until they have."""
        for each in self._running.values():
            self._tell(each)
        latest = time.monotonic() + GRACE
        for each in self._running.values():
            try:
                each.process.wait(max(latest - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()
        self._running.clear()

    def count_slots(self) -> int:
        return self.jobs

    def start(self, trial: Trial) -> None:
        folder = trial.find_folder(self.folder)
        process = start_process(folder, self.own_task, make_environment(os.environ))
        self._running[trial.name] = _Running(trial, process)

    def wait(self, seconds: float) -> list[Ended]:
        latest = time.monotonic() + seconds
        while True:
            ended = [each for each in self._running.values() if each.process.poll() is not None]
            if ended or time.monotonic() >= latest:
                break
            time.sleep(min(0.05, max(latest - time.monotonic(), 0)))
        return [self._end(each) for each in ended]

    def _end(self, running: _Running) -> Ended:
        del self._running[running.trial.name]
        code = running.process.returncode
        self._close_input(running)
        if code == DONE or (code == INTERRUPTED and running.is_told):
            return Ended(running.trial)
        lines = read_last_lines(running.trial.find_folder(self.folder))
        return Ended(running.trial, f"{describe_code(code)}\n{lines}".strip())

    def stop(self, trial: Trial) -> None:
        self._tell(self._running[trial.name])

    def describe(self, trial: Trial) -> str:
        running = self._running.get(trial.name)
        return "" if running is None else f"process {running.process.pid}"

    def _tell(self, running: _Running) -> None:
        running.is_told = True
        self._close_input(running)

    def _close_input(self, running: _Running) -> None:
        if running.process.stdin is not None:
            with suppress(OSError):
                running.process.stdin.close()


def describe_code(code: int) -> str:
    """Describe how a process ended, given its exit code."""
    if code >= 0:
        return f"The process ended with exit code {code}."
    if code == -9:
        return "The process was killed (signal 9), perhaps because the machine ran out of memory."
    return f"The process was ended by signal {-code}."
