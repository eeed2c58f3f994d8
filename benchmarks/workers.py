"""Measurements in processes of their own, on a number of cores that is set before anything is imported."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ERROR = re.compile(r"[\w.]*(Error|Exception)\b")


class WorkerError(Exception):
    """A process that measured came to a bad end."""


def call(script, request, threads, environment=None):
    """Run a script that answers a request.

    Parameters
    ----------
    script : str
        A file of this folder that calls :func:`answer`.
    request : dict
        Handed over as JSON.
    threads : int
        The cores that the process is pinned to, the first of those that there are, and the threads that the libraries
        start.
    environment : dict from str to str, optional
        Variables to add.

    Returns
    -------
    What the script answers.

    Raises
    ------
    WorkerError
        If the script fails; with the last error that it wrote.
    """
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        # XLA has a thread for each core that the process may use, and needs no telling. OpenMP's waiting policy is left
        # as users have it: with OMP_WAIT_POLICY=PASSIVE two threads of PyTorch take 1.4 times as long
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script))],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=os.environ | variables | (environment or {}),
        preexec_fn=partial(_confine, threads) if os.name == "posix" else None,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if ERROR.match(line)]
        raise WorkerError(
            f"{script}: {errors[-1] if errors else f'it ended with {done.returncode}'}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def answer(function):
    """Read the request from the standard input, and print what the function makes of it."""
    print("\n" + json.dumps(function(**json.load(sys.stdin))))


def available_cores():
    """Return the numbers of the cores that this process may use: all where the system, as macOS, does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_memory():
    """Return the bytes of memory that are free or can be freed; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((1024 * int(kilobytes) for kilobytes in found), None)


def _confine(threads):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available_cores()[:threads])
    memory = available_memory()
    if memory is not None and resource is not None:
        # A process that needs more than there is gets an error, where the system would end some process or other
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
