"""One network in several processes: the results are those of one process; a process ends when another one dies."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytensor
import pytest
from safetensors.numpy import load_file

from lasagne.processes import _find_port
from ntm.cli import main

from .together import describe, run

PROGRAM = Path(__file__).with_name("together.py")
ROOT = Path(__file__).parents[3]
#: The whole batch on one device
WHOLE = {"block_size": None, "devices": 1}
#: Seconds in which processes end when another one has died
SOON = 60
TINY = [
    "copy",
    "--model",
    "dense",
    "--num-units",
    "3",
    "--num-layers",
    "1",
    "--batch-size",
    "5",
    "--max-length",
    "3",
    "--learning-rate",
    "0.01",
]
TRAINING = [
    "--schedule",
    "constant",
    "--solve-every",
    "0",
    "--save-every",
    "10",
    "--log-every",
    "5",
    "--quiet",
    "--devices",
    "2",
]


def start(*words):
    """Start a Python program that may use one core, as each of two processes would on this machine."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": ""}
    del environment["JAX_NUM_CPU_DEVICES"]
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@contextmanager
def together(make_words, count=2):
    """Start processes, each with words of its own, and end them in any case."""
    address = f"127.0.0.1:{_find_port('127.0.0.1')}"
    processes = [start(*make_words(index, address)) for index in range(count)]
    try:
        yield processes
    finally:
        for each in processes:
            each.kill()
            each.communicate()


def finish(process, seconds=300):
    """Wait for a process; return its exit code, and what it has printed on the standard output and error."""
    output, error = process.communicate(timeout=seconds)
    assert "Check failure" not in error
    assert "*** " not in error
    return process.returncode, output, error


def train_together(tmp_path, *cases, count=2):
    """Train in several processes, and return for each case what each process has found."""
    output = tmp_path / "found"

    def words(index, address):
        return [PROGRAM, count, index, address, output, *cases]

    with together(words, count) as processes:
        for each in processes:
            code, _, error = finish(each)
            assert code == 0, error
    return {
        case: [dict(np.load(f"{output}-{case}-{index}.npz")) for index in range(count)]
        for case in cases
    }


def assert_as_one_process(found, monkeypatch, case, **options):
    """Compare what the processes have found with what one process finds."""
    monkeypatch.setattr(pytensor.config, "floatX", "float64")
    trainer, _ = run(case, **options)
    expected = describe(trainer)
    assert len(expected["losses"]) > 15
    leader, *followers = found
    for name, array in expected.items():
        given = leader[name.replace("/", "|")]
        assert given.dtype == array.dtype
        np.testing.assert_allclose(given, array, rtol=1e-9, atol=1e-12, err_msg=name)
    for each in followers:
        for name, array in leader.items():
            np.testing.assert_array_equal(each[name], array, err_msg=name)
    return trainer


@pytest.mark.slow
def test_two_processes_are_as_one(tmp_path, monkeypatch):
    found = train_together(tmp_path, "recovery")["recovery"]
    trainer = assert_as_one_process(found, monkeypatch, "recovery", **WHOLE)
    assert trainer.restarts == [15]
    assert trainer.rewinder.rewound
    assert trainer.curriculum.level > 1
    assert trainer.evaluations


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("data", WHOLE),
        ("stream", WHOLE),
        ("lstm", WHOLE),
        ("ntm", WHOLE),
        ("sam", WHOLE),
        ("dropout", {"block_size": None, "devices": 2}),  # Another division draws other numbers
    ],
)
def test_networks_in_two_processes_are_as_in_one(tmp_path, monkeypatch, case, options):
    found = train_together(tmp_path, case)[case]
    assert_as_one_process(found, monkeypatch, case, **options)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_other_networks_are_refused(tmp_path):
    def words(index, address):
        return [PROGRAM, 2, index, address, tmp_path / "found", ["recovery", "other"][index]]

    with together(words) as processes:
        for each in processes:
            code, _, error = finish(each)
            assert code == 1
            assert "the training step of process 1 of 2" in error
            assert "differs" in error or " is " in error


# ---- Runs of the command line, and processes that die


def train_words(command, folder=None):
    def words(index, address):
        given = ["--processes", 2, "--process", index, "--coordinator", address]
        return ["-m", "ntm", *command, *given, *([] if folder is None else ["--folder", folder])]

    return words


def wait_for_checkpoint(folder, after, processes):
    """Wait until there is a checkpoint of a later step, and return its step."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for path in sorted(folder.glob("checkpoint-*.safetensors"), reverse=True):
            step = int(path.stem.partition("-")[2])
            if step > after:
                return step
        for each in processes:
            assert each.poll() is None, each.communicate()
        time.sleep(0.05)
    raise AssertionError("no checkpoint was written")


def kill(victim, processes, number=signal.SIGKILL):
    """Kill one of two processes, and return exit code and error of the other one."""
    processes[victim].send_signal(number)
    began = time.monotonic()
    code, _, error = finish(processes[1 - victim])
    assert time.monotonic() - began < SOON
    return code, error


@pytest.fixture
def float32_as_found(monkeypatch):
    """The command line sets floatX."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")


@pytest.mark.slow
@pytest.mark.usefixtures("float32_as_found")
def test_a_process_that_dies_and_a_run_that_goes_on(tmp_path):
    folder = tmp_path / "run"
    command = ["train", *TINY, *TRAINING]
    words = train_words([*command, "--max-steps", 1000000], folder)
    with together(words) as processes:
        step = wait_for_checkpoint(folder, 0, processes)
        code, error = kill(1, processes)
    assert code == 1
    assert "process 1 of 2" in error
    assert "has gone" in error
    assert "saved is checkpoint-" in error
    assert f"To go on: ntm resume {folder}" in error
    assert "Traceback" not in error
    # One process goes on, as one that was never interrupted
    goal = str(wait_for_checkpoint(folder, step - 1, []) + 10)
    assert main(["resume", str(folder), "--quiet", "--max-steps", goal]) == 3
    assert_as_straight(folder, command, goal)


def assert_as_straight(folder, command, goal):
    """Compare the last checkpoint of a run with that of a run that one process trains without a stop."""
    straight = folder.with_name("straight")
    assert main([*command, "--max-steps", goal, "--folder", str(straight)]) == 3
    one, other = (
        load_file(each / f"checkpoint-{int(goal):09d}.safetensors") for each in (folder, straight)
    )
    assert one.keys() == other.keys()
    for name, array in other.items():
        np.testing.assert_allclose(one[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.usefixtures("float32_as_found")
def test_a_leader_that_dies_and_a_run_that_two_processes_go_on_with(tmp_path):
    folder = tmp_path / "run"
    command = ["train", *TINY, *TRAINING]
    with together(train_words([*command, "--max-steps", 1000000], folder)) as processes:
        step = wait_for_checkpoint(folder, 0, processes)
        code, error = kill(0, processes)
    assert code == 1
    assert "process 0 of 2" in error
    assert "has gone" in error
    assert "Traceback" not in error
    goal = str(wait_for_checkpoint(folder, step - 1, []) + 10)
    resume = ["resume", folder, "--quiet", "--max-steps", goal]
    with together(train_words(resume)) as processes:
        assert [finish(each)[0] for each in processes] == [3, 0]
    assert_as_straight(folder, command, goal)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_ctrl_c_where_a_process_follows(tmp_path):
    folder = tmp_path / "run"
    command = ["train", *TINY, *TRAINING, "--max-steps", 1000000]
    with together(train_words(command, folder)) as processes:
        wait_for_checkpoint(folder, 0, processes)
        processes[1].send_signal(signal.SIGINT)
        (first, output, _), (second, _, _) = map(finish, processes)
    assert (first, second) == (130, 130)
    assert f"To go on: ntm resume {folder}" in output


@pytest.mark.slow
@pytest.mark.exhaustive
def test_other_settings_are_refused(tmp_path):
    words = train_words(["train", *TINY, "--devices", 2], tmp_path / "run")

    def differ(index, address):
        return [*words(index, address), "--clip-norm", index + 1]

    with together(differ) as processes:
        for each in processes:
            code, _, error = finish(each)
            assert code == 1
            assert "settings of process 1 of 2" in error
            assert "clip_norm is 2.0 here, and 1.0 in process 0 of 2" in error
    assert not (tmp_path / "run").exists()
