"""What a node of a Ray cluster does to run a trial: the same process as on this machine, watched by a Ray task.

Trials run in processes of their own, as with :class:`ntm.sweeps.LocalEngine`: a trial that crashes leaves Ray's worker
alive, which says why. The process saves and ends when its standard input ends, so when the worker does.
"""

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ntm
from ntm.files import inside, read_json, write_json
from ntm.interruption import Stop, stop_on_signals
from ntm.sweeps.local import describe_code, make_environment, start_process
from ntm.sweeps.states import read_last_lines
from ntm.sweeps.trials import DONE, INTERRUPTED, TRIALS

#: The file in the folder of a sweep that every node must see
TOKEN = ".cluster.json"
#: The file in the folder of a trial that says where the trial runs
NODE = "node.json"
#: Variables of the environment that begin so are settings of the numerics: all nodes take those of the sweep
SETTINGS = ("XLA_", "JAX_", "PYTENSOR_")
#: Packages whose version changes numbers or files
PACKAGES = ("jax", "jaxlib", "numpy", "pytensor")
#: Seconds until a file that another computer has written must be visible
VISIBLE = 15.0
#: Seconds between looks at the process
INTERVAL = 0.1
#: Seconds to wait after the process was killed: whoever killed it may be about to kill the worker
MOMENT = 2.0


class Outcome(StrEnum):
    """What became of a trial on a node."""

    #: Trained to the end
    DONE = "done"
    #: Told to end, and saved
    STOPPED = "stopped"
    FAILED = "failed"
    #: The node cannot run any trial of the sweep
    UNFIT = "unfit"


def list_versions() -> dict[str, str]:
    """Return the versions of the packages that must be the same on all nodes, by their names."""
    versions = {"ntm-lasagne": ntm.__version__}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def pick_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that all nodes take from the sweep."""
    return {name: value for name, value in environment.items() if name.startswith(SETTINGS)}


def make_node_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that runs a trial on this node, given the settings of the sweep."""
    here = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return make_environment({**here, **settings})


def run_on_node(
    sweep: str, name: str, task: str | None, attempt: str, driver: Mapping[str, Any]
) -> tuple[str, str]:
    """Run a trial on this node of a cluster.

    Parameters
    ----------
    sweep : str
        The folder of the sweep.
    name : str
        That of the trial.
    task : str or None
        The class of the task, as ``module:Class``, if it is of the user's own.
    attempt : str
        Written into the trial's folder, so that the sweep knows which attempt is meant.
    driver : dict
        Of the process that runs the sweep: ``host``, ``folder`` (its current one), ``token``, ``versions`` and
        ``settings`` (variables of the environment).

    Returns
    -------
    outcome : str
        A value of :class:`Outcome`.
    message : str
        Why the trial failed, or the node is unfit.
    """
    with stop_on_signals() as stop:  # Ray tells a task to end by Ctrl-C
        problem = _check_versions(driver) or _check_folder(sweep, driver)
        if problem:
            return Outcome.UNFIT, problem
        folder = Path(sweep) / TRIALS / name
        code = _run_process(folder, task, attempt, driver, stop)
        if code == DONE:
            return Outcome.DONE, ""
        if code == INTERRUPTED:
            return Outcome.STOPPED, ""
        if code < 0:
            time.sleep(MOMENT)
        message = f"On {platform.node()}: {describe_code(code)}\n{read_last_lines(folder)}"
        return Outcome.FAILED, message.strip()


def _check_versions(driver: Mapping[str, Any]) -> str:
    here, there = list_versions(), driver["versions"]
    different = [name for name in there if here.get(name) != there[name]]
    if not different:
        return ""
    words = ", ".join(
        f"{name} {here.get(name, 'missing')} and not {there[name]}" for name in different
    )
    return (
        f"the node {platform.node()} has other packages than {driver['host']}, and would give other numbers: {words}. "
        "Install the same versions on all nodes"
    )


def _check_folder(sweep: str, driver: Mapping[str, Any]) -> str:
    """Check that this node sees the folder of the sweep: the same folder, not one of the same name."""
    latest = time.monotonic() + VISIBLE
    while True:
        try:
            found = read_json(inside(sweep, TOKEN))
        except (OSError, ValueError):
            found = None
        if found == {"token": driver["token"]}:
            return ""
        if time.monotonic() > latest:
            return (
                f"the node {platform.node()} does not see what {driver['host']} writes into {sweep}: the folder of a "
                "sweep on a cluster must be shared by all nodes, under the same path"
            )
        time.sleep(INTERVAL)


def _run_process(
    folder: Path, task: str | None, attempt: str, driver: Mapping[str, Any], stop: Stop
) -> int:
    """Run the process of a trial, and return its exit code. Tell the process to end when this task is told to."""
    # Modules and data may be named relative to the current folder of the sweep
    current = driver["folder"] if Path(driver["folder"]).is_dir() else None
    process = start_process(folder, task, make_node_environment(driver["settings"]), current)
    assert process.stdin is not None
    try:
        where = {"attempt": attempt, "host": platform.node(), "process": process.pid}
        write_json(inside(folder, NODE), where)
        while process.poll() is None:
            if stop.is_set():
                process.stdin.close()
            time.sleep(INTERVAL)
    finally:
        process.stdin.close()
    return process.wait()
