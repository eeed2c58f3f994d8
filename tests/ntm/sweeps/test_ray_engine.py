"""Sweeps on a Ray cluster of several nodes on this machine, whose nodes are killed at random.

The environment variable NTM_NODE_COURSES says how many random courses of such a cluster are tried, one unless it is
set, and NTM_NODE_KILLS how many nodes die in each, three unless it is set.
"""

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ntm.experiments import make_settings
from ntm.experiments.reading import list_checkpoints
from ntm.files import read_json
from ntm.serialization.arrays import read_arrays
from ntm.sweeps import Ended, RayEngine, make_trial
from ntm.sweeps.ray_engine import _Running
from ntm.training.loggers import read_json_lines

COURSES = int(os.environ.get("NTM_NODE_COURSES", "1"))
KILLS = int(os.environ.get("NTM_NODE_KILLS", "3"))

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

#: Steps of a trial, too many for the time that its nodes live, at the slow pace
STEPS = 250 * KILLS

#: A task of a user's own. While the file SLOW exists, a sequence takes a fifth of a second
TASK = '''
import ctypes, os, time
from ntm.tasks import CopyTask

class OddTask(CopyTask):
    """The copy task, which fails in some way at the twentieth sequence."""

    def __init__(self, how="well", batch_size=1, seed=None):
        super().__init__(2, 1, 3, batch_size=batch_size, seed=seed)
        self.how, self.drawn = how, 0

    def make(self, rng, length):
        self.drawn += 1
        if os.path.exists(os.environ.get("SLOW", "")):
            time.sleep(0.2)
        if self.drawn == 20 and self.how == "exit":
            print("about to exit", flush=True)
            os._exit(7)
        if self.drawn == 20 and self.how == "crash":
            ctypes.string_at(0)
        if self.drawn == 20 and self.how == "raise":
            raise ValueError("the task has an odd day")
        return super().make(rng, length)
'''

#: A program that runs a sweep of such tasks. Its arguments in JSON: folder, engine, options, trials
DRIVER = """
import json, sys
from odd_task import OddTask
from ntm.experiments import make_settings
from ntm.sweeps import LocalEngine, RayEngine, Sweep, make_trial

folder, engine, options, steps, trials = json.loads(sys.argv[1])

def make(seed, how):
    return make_trial(
        make_settings(
            OddTask,
            seed=seed,
            task_options={"how": how},
            model_options={"num_units": 5, "memory_slots": 8, "memory_width": 3},
            max_steps=steps,
            save_every=5,
            log_every=5,
            solve_every=0,
        ),
        {"how": how},
    )

kind = {"local": LocalEngine, "ray": RayEngine}[engine]
try:
    states = Sweep(folder, [make(*each) for each in trials], kind(folder, OddTask, **options), progress=False).run()
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(json.dumps({name: [state.status, state.step, state.error] for name, state in states.items()}))
"""

WELL = [(seed, "well") for seed in range(2)]


# ---- Without a cluster


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "ray://head:10001"}, "address: expected host:port or 'auto'"),
        ({"address": 6379}, "address: expected host:port or 'auto', not 6379"),
        ({"jobs": 0}, "jobs"),
        ({"gpus": -1}, "gpus"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=f"RayEngine: {message}"):
        RayEngine(tmp_path, **options)


def test_without_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'ntm-lasagne\[ray\]'"), RayEngine(tmp_path):
        pass


def test_room_of_nodes(tmp_path):
    """A node has room for as many trials as both its cores and its GPUs."""
    node = {"Resources": {"CPU": 6.0, "GPU": 1.0}}
    for gpus, room in ((0.0, 6), (0.25, 4), (0.1, 6), (1, 1), (2, 0)):
        assert RayEngine(tmp_path, gpus=gpus)._count_room(node) == room
    assert RayEngine(tmp_path)._count_room({"Resources": {"CPU": 0.5}}) == 0
    assert RayEngine(tmp_path, gpus=0.5)._count_room({"Resources": {"CPU": 8.0}}) == 0
    assert RayEngine(tmp_path).count_slots() == 1  # It waits for a node
    assert RayEngine(tmp_path, jobs=7).count_slots() == 7


def test_trial_that_is_lost_again_and_again(tmp_path):
    """A trial that gets no further between losses has failed; with a new checkpoint it counts anew."""
    trial = make_trial(make_settings("copy", "ntm", seed=1))
    folder = trial.write(tmp_path)
    (folder / "trial.log").write_text("the last words\n")
    engine = RayEngine(tmp_path)

    def lose(is_told=False):
        return engine._lose(_Running(trial, None, "attempt", is_told), "its node died")

    assert all(lose().is_lost for _ in range(4))
    (folder / "checkpoint-000000100.safetensors").touch()
    assert all(lose() == Ended(trial, "its node died", is_lost=True) for _ in range(4))
    ended = lose()
    assert not ended.is_lost
    assert "lost 5 times without a new checkpoint" in ended.error
    assert "the last words" in ended.error
    assert lose(is_told=True) == Ended(trial)


# ---- Processes


def read_processes():
    """The processes of this machine: number, parent, session, words of the command."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:  # It has just ended
                continue
            if fields[0] != "Z":
                found.append((int(folder.name), int(fields[1]), int(fields[3]), words))
    return found


def find_trials(folder):
    """The processes that train in the folder of a sweep."""
    return [
        number
        for number, *_, words in read_processes()
        if "ntm.sweeps.process" in words and any(word.startswith(f"{folder}/") for word in words)
    ]


def wait_for(condition, seconds=180.0, what="", nodes=()):
    latest = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < latest, f"not within {seconds} s: {what or condition}"
        for node in nodes:
            node.mend()
        time.sleep(0.1)


class Node:
    """Processes of `ray start`, all in one session."""

    def __init__(self, cluster, *words):
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
        command += ["--object-store-memory=80000000", "--min-worker-port=0"]
        command += ["--max-worker-port=0", "--disable-usage-stats"]
        self._command, self._cluster = command, cluster
        self._start()

    def _start(self):
        self._log = self._cluster.folder / f"start-{secrets.token_hex(4)}.log"
        with open(self._log, "wb") as file:
            self._process = subprocess.Popen(
                self._command,
                env=self._cluster.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def mend(self):
        """Start the node again if Ray has given up, as it does after 30 seconds on a busy machine."""
        if self._process.poll() not in (None, 0):
            print(self._log.read_text())
            self.kill()
            self._start()

    def wait(self):
        """Wait until the node has been started."""

        def has_started():
            self.mend()
            return self._process.poll() == 0

        wait_for(has_started, 150, "a node that starts")
        return self

    def find(self, with_trials=True):
        processes = read_processes()
        found = [number for number, _, session, _ in processes if session == self._process.pid]
        if with_trials:
            found += [number for number, parent, *_ in processes if parent in found]
        return list(dict.fromkeys(found))

    def kill(self, with_trials=True):
        """Kill all processes of the node, or all but those that train, which have to notice by themselves."""
        for number in self.find(with_trials):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Cluster:
    """A Ray cluster on this machine: a head, without cores unless they are given, and nodes with one core each."""

    def __init__(self, modules, cores=0):
        # Not in the folder of the test: the paths of sockets are short
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.slow = self.folder / "slow"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(modules), *sys.path]),
            "PYTHONWARNINGS": "default",
            "SLOW": str(self.slow),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        quick = {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 500,
            "health_check_timeout_ms": 2000,
            "health_check_failure_threshold": 3,
        }
        self.nodes = []
        self.head = Node(
            self,
            *("--head", "--port=0", f"--num-cpus={cores}", "--include-dashboard=false"),
            *(f"--temp-dir={self.folder / 'ray'}", f"--system-config={json.dumps(quick)}"),
        )
        self.head.wait()
        self.address = (self.folder / "ray" / "ray_current_cluster").read_text().strip()

    def add(self):
        node = Node(
            self, f"--address={self.address}", "--num-cpus=1", "--dashboard-agent-listen-port=0"
        )
        self.nodes.append(node)
        return node

    def kill_nodes(self):
        for node in self.nodes:
            node.kill()
        self.nodes.clear()

    def close(self):
        for node in [*self.nodes, self.head]:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """A folder with the module of the task."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "odd_task.py").write_text(TASK)
    return folder


@pytest.fixture(scope="module")
def cluster(modules):
    made = Cluster(modules)
    yield made
    made.close()


class Driver:
    """A process that runs a sweep."""

    def __init__(self, cluster, folder, trials, engine="ray", steps=STEPS, **options):
        if engine == "ray":
            options = {"address": cluster.address, **options}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                DRIVER,
                json.dumps([str(folder), engine, options, steps, trials]),
            ],
            env=cluster.environment,
            cwd=cluster.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.folder = Path(folder)

    def find(self):
        """The processes that the driver has started, and itself."""
        return [
            number for number, _, session, _ in read_processes() if session == self._process.pid
        ]

    def send(self, number):
        self._process.send_signal(number)

    def is_alive(self):
        return self._process.poll() is None

    def wait(self, seconds=300.0):
        """Wait for the end; return how the trials ended, the exit code and what was printed."""
        out, notes = self._process.communicate(timeout=seconds)
        states = json.loads(out) if out else None
        return states, self._process.returncode, notes


# ---- Results


def read_run(folder):
    """All that a run leaves, but what depends on the clock."""
    arrays, about = read_arrays(list_checkpoints(folder)[-1])
    network, _ = read_arrays(folder / "network.safetensors")
    rows = [
        {name: value for name, value in row.items() if "second" not in name}
        for row in read_json_lines(folder / "metrics.jsonl")
    ]
    result = {name: value for name, value in read_json(folder / "result.json").items()}
    del result["seconds"], result["date"]
    return arrays, about["trainer"], network, rows, result


def assert_same_runs(sweep, other, names):
    for name in names:
        found, expected = (read_run(each / "trials" / name) for each in (sweep, other))
        for arrays, others in ((found[0], expected[0]), (found[2], expected[2])):
            assert arrays.keys() == others.keys()
            for key, array in arrays.items():
                np.testing.assert_array_equal(array, others[key], err_msg=f"{name} {key}")
        assert found[1] == expected[1]
        assert found[3] == expected[3]
        assert found[4] == expected[4]


def read_steps(folder):
    """The steps of the latest checkpoints of the trials of a sweep, by their names."""
    return {
        name: max(
            (int(path.stem[-9:]) for path in list_checkpoints(folder / "trials" / name)), default=0
        )
        for name in NAMES
    }


def gets_further(folder, steps):
    return read_steps(folder) != steps


NAMES = [f"how=well,seed={seed}" for seed, _ in WELL]


@pytest.fixture(scope="module")
def calm(cluster, tmp_path_factory):
    """A sweep on this machine, that nothing happened to."""
    folder = tmp_path_factory.mktemp("sweeps") / "calm"
    states, code, notes = Driver(cluster, folder, WELL, "local", jobs=2).wait()
    assert code == 0, notes
    assert {name: state[0] for name, state in states.items()} == dict.fromkeys(NAMES, "ended")
    return folder


# ---- Tests


@pytest.mark.slow
def test_cluster_with_nodes_that_die(cluster, calm, tmp_path, capsys):
    """Nodes die, the driver is told to end, the driver dies: all trials end as those that nothing happened to."""
    for seed in range(COURSES):
        harms = ["node"] * KILLS + [["interrupt", "kill"], ["interrupt"], ["kill"]][seed % 3]
        course = run_course(cluster, tmp_path / f"course-{seed}", random.Random(seed), harms)
        with capsys.disabled():
            print(f"\ncourse {seed}: {'; '.join(course)}", end="", flush=True)
        assert_same_runs(tmp_path / f"course-{seed}", calm, NAMES)


def run_course(cluster, folder, rng, harms):
    """Run a sweep that harm is done to at random times; return what happened when."""
    began = time.monotonic()
    rng.shuffle(harms)
    cluster.slow.touch()
    cluster.kill_nodes()
    nodes = [cluster.add().wait(), cluster.add()]
    driver = Driver(cluster, folder, WELL)
    course, notes, steps = [], "", dict.fromkeys(NAMES, 0)
    for number, harm in enumerate(harms):
        # Some are harmed while they start, the others once they have got further
        if rng.random() < 0.25:
            wait_for(partial(find_trials, folder), what="a trial that runs", nodes=nodes)
        else:
            further = partial(gets_further, folder, steps)
            wait_for(further, what="a trial that gets further", nodes=nodes)
        time.sleep(rng.uniform(0, 4))
        assert driver.is_alive(), (course, driver.wait())
        found = read_steps(folder)
        assert all(found[name] >= steps[name] for name in NAMES), (steps, found)
        steps = found
        course.append(f"{time.monotonic() - began:.0f} s: {harm} at {[*steps.values()]}")
        if harm == "node":
            busy = [node for node in nodes if node.find() != node.find(with_trials=False)]
            node = rng.choice(busy if busy and rng.random() < 0.8 else nodes)
            nodes.remove(node)
            node.kill(with_trials=rng.random() < 0.5)
            nodes.append(cluster.add())
        elif harm == "interrupt":
            driver.send(signal.SIGINT)
            states, code, said = driver.wait(120)
            assert code == 0, said
            assert {state[0] for state in states.values()} <= {"waiting", "begun"}
            assert "Interrupted" in said
            assert not find_trials(folder)
        else:
            driver.send(signal.SIGKILL)
            said = driver.wait()[2]
            wait_for(lambda: not find_trials(folder), 60, "the end of trials without a driver")
        if harm != "node":
            notes += said
            driver = Driver(cluster, folder, WELL)
        if number == 0:  # A node that joins while the sweep runs
            nodes.append(cluster.add())
    cluster.slow.unlink()
    states, code, said = driver.wait()
    notes += said
    course.append(f"{time.monotonic() - began:.0f} s: ended")
    course.append(f"{notes.count('goes on elsewhere')} lost")
    assert code == 0, notes
    assert {name: state[0] for name, state in states.items()} == dict.fromkeys(NAMES, "ended")
    assert "failed" not in notes
    assert not find_trials(folder)
    assert not list(folder.glob("trials/*/*.part*"))
    return course


@pytest.mark.slow
def test_trials_that_fail(cluster, tmp_path):
    """Trials that end their process in whatever way cost no other trial."""
    cluster.kill_nodes()
    cluster.slow.unlink(missing_ok=True)
    cluster.add().wait()
    cluster.add()
    trials = [(0, "exit"), (0, "crash"), (0, "raise"), (0, "well")]
    states, code, notes = Driver(cluster, tmp_path / "sweep", trials, steps=40).wait()
    assert code == 0, notes
    statuses = {name: status for name, (status, *_) in states.items()}
    errors = {name: error for name, (*_, error) in states.items()}
    assert statuses == {
        "how=exit,seed=0": "failed",
        "how=crash,seed=0": "failed",
        "how=raise,seed=0": "failed",
        "how=well,seed=0": "ended",
    }
    assert "exit code 7" in errors["how=exit,seed=0"]
    assert "about to exit" in errors["how=exit,seed=0"]
    assert "signal 11" in errors["how=crash,seed=0"]
    assert "ValueError: the task has an odd day" in errors["how=raise,seed=0"]
    assert "elsewhere" not in notes


@pytest.mark.slow
def test_node_that_sees_another_folder(cluster, tmp_path):
    """A sweep waits for a node; the node sees a folder of the same path in which the sweep does not write."""
    cluster.kill_nodes()
    folder = tmp_path / "sweep"
    driver = Driver(cluster, folder, WELL)
    wait_for((folder / ".cluster.json").exists)
    (folder / ".cluster.json").write_text('{"token": "of another sweep"}')
    assert driver.is_alive()
    cluster.add()
    _, code, notes = driver.wait()
    assert code == 1
    assert "ClusterError: the node" in notes
    assert "must be shared by all nodes, under the same path" in notes


@pytest.mark.slow
def test_head_that_dies(modules, tmp_path):
    cluster = Cluster(modules, cores=1)
    try:
        cluster.slow.touch()
        driver = Driver(cluster, tmp_path / "sweep", WELL[:1])
        wait_for(partial(find_trials, tmp_path / "sweep"), what="a trial that runs")
        (server,) = [
            number
            for number, *_, words in read_processes()
            if number in cluster.head.find() and words[0].endswith("gcs_server")
        ]
        os.kill(server, signal.SIGKILL)
        _, code, notes = driver.wait(60)
        assert code == 1
        assert "ClusterError: the head node of the Ray cluster" in notes
        assert "Start the cluster again" in notes
        cluster.head.kill(with_trials=False)
        wait_for(lambda: not find_trials(tmp_path / "sweep"), what="the end of the trials")
    finally:
        cluster.close()


@pytest.mark.slow
def test_ray_on_this_machine(cluster, calm, tmp_path):
    """Ray is started and ended with the sweep; another engine goes on where the sweep was told to end."""
    folder = tmp_path / "sweep"
    cluster.slow.touch()
    driver = Driver(cluster, folder, WELL, address=None, jobs=1)
    wait_for(partial(gets_further, folder, read_steps(folder)), what="a trial that gets further")
    assert len(driver.find()) > 3
    driver.send(signal.SIGTERM)
    states, code, notes = driver.wait(90)
    assert code == 0, notes
    assert [states[name][0] for name in NAMES] == ["begun", "waiting"], (states, notes)
    assert notes.strip() == "Interrupted: the trials that run save and end."
    assert not find_trials(folder)
    wait_for(lambda: not driver.find(), 20, "the end of Ray")
    cluster.slow.unlink()
    states, code, notes = Driver(cluster, folder, WELL, "local", jobs=2).wait()
    assert code == 0, notes
    assert_same_runs(folder, calm, NAMES)
