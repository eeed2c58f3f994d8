"""The engine for a cluster: trials as tasks of Ray, checkpoints in a folder that all nodes share."""

import logging
import os
import platform
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagne.devices import count_cores
from ntm.arguments import Number, shorten
from ntm.experiments.reading import list_checkpoints
from ntm.files import inside, read_json, write_json
from ntm.interruption import SIGNALS
from ntm.sweeps.engine import Ended, Engine
from ntm.sweeps.local import GRACE
from ntm.sweeps.ray_node import NODE, TOKEN, Outcome, list_versions, pick_settings, run_on_node
from ntm.sweeps.states import read_last_lines
from ntm.sweeps.trials import Trial
from ntm.tasks import Task

#: The cores that a trial takes
CORES = 1
#: Bytes of Ray's object store where the engine starts Ray: nearly the least it takes, as trials need none
STORE = 80 * 2**20
#: Seconds between looks at the head node and at the list of nodes
LOOK = 2.0
#: Seconds after which a head node that does not answer counts as gone
PATIENCE = 12.0
#: Seconds after which a sweep gives up whose trials no node has room for, whatever else runs there
ROOMLESS = 600.0
#: Times that a trial is lost one after the other without a new checkpoint, before it counts as failed
MOST_LOSSES = 5


class ClusterError(OSError):
    """A cluster is gone, or cannot run the trials of a sweep."""


@dataclass
class _Running:
    trial: Trial
    reference: Any
    attempt: str
    is_told: bool = False


@dataclass
class _Losses:
    """How often a trial was lost since its latest checkpoint."""

    count: int
    checkpoint: str


class RayEngine(Engine):
    """Runs each trial as a task of Ray, on any node of a cluster that has a core free.

    A node that dies costs what its trials have done since their latest checkpoints: they go on elsewhere. The library
    must be installed on all nodes, in the same version, and all nodes must see the folder under the same path.

    Parameters
    ----------
    folder : str or path
        That of the sweep.
    task : type, optional
        The class of the task, if it is of the user's own. Its module must be found on the nodes: in the current folder,
        if the nodes have that folder too, or where Python finds modules.
    address : str, optional
        That of a Ray cluster, such as ``"192.168.0.1:6379"``, or ``"auto"`` for the one that this machine belongs to.
        Unless given, Ray is started on this machine and ended with the sweep. A program that has called ``ray.init``
        keeps its connection.
    jobs : int, optional
        Trials at a time. Unless given, as many as the cluster has room for, whatever else runs there; of a Ray that is
        started here, as many as there are cores. Trials beyond the room wait, and a cluster that scales grows for them.
    gpus : float
        The share of a GPU that a trial takes: 0.25 lets four trials share one. With 0 trials compute on cores.

    Raises
    ------
    ImportError
        On entering, if Ray is not installed.
    ClusterError
        On entering, if the cluster cannot be reached; from :meth:`wait`, if the head node is gone, a node does not see
        the folder, has other versions of packages or no library, or no node has room for a trial for ten minutes.
    """

    def __init__(
        self,
        folder: str | Path,
        task: type[Task] | None = None,
        address: str | None = None,
        jobs: int | None = None,
        gpus: float = 0.0,
    ) -> None:
        super().__init__(os.path.abspath(folder), task)
        if address is not None and (not isinstance(address, str) or "://" in address):
            raise ValueError(
                f"RayEngine: address: expected host:port or 'auto', not {shorten(repr(address), 100)}: a sweep runs on "
                "a node of the cluster, and not through Ray Client"
            )
        self.address = address
        self.jobs = None if jobs is None else Number(int, 1).check("RayEngine: jobs", jobs)
        self.gpus = Number(float, 0).check("RayEngine: gpus", gpus)
        self._ray: Any = None
        self._is_ours = False
        self._output = ExitStack()
        self._running: dict[str, _Running] = {}
        self._losses: dict[str, _Losses] = {}
        self._driver: dict[str, Any] = {}
        self._remote: Any = None
        self._head = ("", 0)
        self._is_gone = False
        self._looked = self._answered = self._had_room = 0.0
        self._slots = 0

    def __enter__(self) -> "RayEngine":
        self._ray = ray = import_ray()
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            self._connect()
            # Ray prints what happens to nodes; the standard output is for results
            self._output.enter_context(redirect_stdout(sys.stderr))
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._head = (host.strip("[]"), int(port))
        token = secrets.token_hex(16)
        self._driver = {
            "host": platform.node(),
            "folder": os.getcwd(),
            "token": token,
            "versions": list_versions(),
            "settings": pick_settings(os.environ),
        }
        write_json(inside(self.folder, TOKEN), {"token": token})
        self._remote = ray.remote(
            num_cpus=CORES, num_gpus=self.gpus, max_retries=0, scheduling_strategy="SPREAD"
        )(run_on_node)
        self._answered = self._had_room = time.monotonic()
        self._look()
        return self

    def _connect(self) -> None:
        """Connect to the cluster, or start Ray here."""
        options: dict[str, Any] = {"address": self.address}
        if self.address is None:
            options = {
                "address": "local",
                "num_cpus": (self.jobs or count_cores()) * CORES,
                "object_store_memory": STORE,
                "include_dashboard": False,
            }
        try:
            with _keep_handlers(), _set_variable("RAY_USAGE_STATS_ENABLED", "0"):
                self._ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:  # Ray's are of many kinds
            what = "Ray does not start" if self.address is None else f"no cluster at {self.address}"
            raise ClusterError(f"{what}: {shorten(error, 500)}") from error

    def __exit__(self, *exception: object) -> None:
        """Tell all trials to save and end, and wait until they have."""
        try:
            self._end_all()
        finally:
            with suppress(OSError):
                inside(self.folder, TOKEN).unlink()
            if self._is_ours:
                self._ray.shutdown()
            self._output.close()

    def _end_all(self) -> None:
        for each in self._running.values():
            self._tell(each)
        references = [each.reference for each in self._running.values()]
        for seconds, is_next in ((GRACE, True), (LOOK, False)):
            if not references or self._is_gone:
                break
            _, references = self._ray.wait(references, num_returns=len(references), timeout=seconds)
            for reference in references if is_next else ():
                self._ray.cancel(reference, force=True)
        self._running.clear()

    def count_slots(self) -> int:
        if self.jobs is not None:
            return self.jobs
        # One trial may wait for a node to come
        return max(self._slots, 1)

    def start(self, trial: Trial) -> None:
        attempt = secrets.token_hex(8)
        reference = self._remote.options(name=f"trial {trial.name}").remote(
            str(self.folder), trial.name, self.own_task, attempt, self._driver
        )
        self._running[trial.name] = _Running(trial, reference, attempt)

    def wait(self, seconds: float) -> list[Ended]:
        self._look()
        references = {each.reference: each for each in self._running.values()}
        if not references:
            time.sleep(seconds)
            return []
        for number, timeout in ((1, seconds), (len(references), 0)):
            ready, _ = self._ray.wait([*references], num_returns=number, timeout=timeout)
        return [self._end(references[reference]) for reference in ready]

    def _end(self, running: _Running) -> Ended:
        from ray import exceptions

        trial = running.trial
        del self._running[trial.name]
        try:
            outcome, message = self._ray.get(running.reference)
        except exceptions.TaskCancelledError:  # It waited for a core
            return Ended(trial)
        except exceptions.OutOfMemoryError as error:
            return Ended(trial, f"Ray ended it, as its node ran out of memory: {_shorten(error)}")
        except exceptions.RayTaskError as error:
            if "failed to import on the worker" in str(error):
                raise ClusterError(
                    "a node of the cluster cannot import the library: install ntm-lasagne, in the same version, on all "
                    f"nodes. {_shorten(error)}"
                ) from error
            return Ended(trial, f"{type(error.cause).__name__}: {error.cause}")
        except exceptions.NodeDiedError:
            return self._lose(running, f"{self._find_node(running) or 'its node'} died")
        except exceptions.RayError as error:  # The worker crashed, and perhaps its node
            where = self._find_node(running)
            return self._lose(
                running, f"its worker{f' on {where}' if where else ''} died ({_shorten(error)})"
            )
        if outcome == Outcome.UNFIT:
            raise ClusterError(message)
        if outcome == Outcome.FAILED:
            return Ended(trial, message)
        if outcome == Outcome.STOPPED:
            return self._lose(running, f"{self._find_node(running) or 'its node'} ended it")
        return Ended(trial)

    def _lose(self, running: _Running, why: str) -> Ended:
        """Take note that a trial was lost; it goes on elsewhere, unless it seems to be the reason itself."""
        trial = running.trial
        if running.is_told:
            return Ended(trial)
        folder = trial.find_folder(self.folder)
        checkpoint = max((path.name for path in list_checkpoints(folder)), default="")
        losses = self._losses.setdefault(trial.name, _Losses(0, checkpoint))
        if losses.checkpoint != checkpoint:
            losses.count, losses.checkpoint = 0, checkpoint
        losses.count += 1
        if losses.count < MOST_LOSSES:
            return Ended(trial, why, is_lost=True)
        lines = read_last_lines(folder)
        text = f"It was lost {MOST_LOSSES} times without a new checkpoint; at last {why}.\n{lines}"
        return Ended(trial, text.strip())

    def stop(self, trial: Trial) -> None:
        self._tell(self._running[trial.name])

    def describe(self, trial: Trial) -> str:
        running = self._running.get(trial.name)
        return "" if running is None else self._find_node(running) or "waits for a core"

    def _find_node(self, running: _Running) -> str:
        """Return where a trial runs; empty if that is not known."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            found = read_json(inside(running.trial.find_folder(self.folder), NODE))
            if found["attempt"] == running.attempt:
                return shorten(f"{found['host']}, process {found['process']}", 100)
        return ""

    def _tell(self, running: _Running) -> None:
        if not running.is_told and not self._is_gone:  # Told twice, a task would end at once
            self._ray.cancel(running.reference)
        running.is_told = True

    def _look(self) -> None:
        """Look at the cluster now and then: whether the head node answers, and how much room the nodes have."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if _answers(self._head):
            self._answered = now
        elif now - self._answered > PATIENCE:
            self._is_gone = True
            raise ClusterError(
                f"the head node of the Ray cluster, {self._head[0]}, does not answer any more at port {self._head[1]}. "
                "Start the cluster again, then the same sweep: it goes on from the latest checkpoints"
            )
        else:
            return  # Ray's own calls would wait
        self._slots = sum(self._count_room(each) for each in self._ray.nodes() if each["Alive"])
        if self._slots:
            self._had_room = now
        elif now - self._had_room > ROOMLESS:
            raise ClusterError(
                f"no node of the cluster has room for a trial, which takes {self._describe_need()}: "
                f"{_describe_nodes(self._ray.nodes())}"
            )

    def _count_room(self, node: dict[str, Any]) -> int:
        """Return how many trials a node may run at once."""
        resources = node["Resources"]
        room = int(resources.get("CPU", 0) // CORES)
        if self.gpus:
            room = min(room, int(resources.get("GPU", 0) / self.gpus + 1e-6))
        return room

    def _describe_need(self) -> str:
        return "a core" + (f" and {self.gpus:g} of a GPU" if self.gpus else "")


def import_ray() -> Any:
    """Return the package Ray.

    Raises
    ------
    ImportError
        If Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("sweeps on a cluster need Ray: pip install 'ntm-lasagne[ray]'") from error
    return ray


def _describe_nodes(nodes: list[dict[str, Any]]) -> str:
    """Describe what the nodes of a cluster have."""
    words = [
        f"{each['NodeManagerHostname']} has {each['Resources'].get('CPU', 0):g} cores and "
        f"{each['Resources'].get('GPU', 0):g} GPUs"
        for each in nodes
        if each["Alive"]
    ]
    return shorten("; ".join(words) or "there is none", 500)


def _shorten(error: Exception) -> str:
    return shorten(" ".join(str(error).split()), 300)


def _answers(address: tuple[str, int]) -> bool:
    """Tell whether something listens at an address."""
    try:
        with socket.create_connection(address, timeout=LOOK):
            return True
    except OSError:
        return False


@contextmanager
def _keep_handlers() -> Iterator[None]:
    """Keep the handlers of signals, of which ``ray.init`` sets one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _set_variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment in this context."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
