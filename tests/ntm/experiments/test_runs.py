"""Runs in folders: what is written, and that nothing is lost when a run is killed.

The environment variable NTM_KILLS says how often `test_killed_runs` kills: three times unless it is set.
"""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytensor
import pytest

import ntm
from lasagne.layers import get_all_param_values
from ntm import files
from ntm.experiments.reading import list_checkpoints, read_settings
from ntm.experiments.runs import Run
from ntm.experiments.settings import make_settings
from ntm.serialization.arrays import read_arrays, write_arrays
from ntm.training.loggers import read_json_lines

KILLS = int(os.environ.get("NTM_KILLS", "3"))


pytestmark = pytest.mark.usefixtures("float32")


def make_small(model="ntm", **given):
    """The settings of a run that is quick."""
    return make_settings(
        "copy",
        model,
        **{
            "task_options": {"size": 2, "max_length": 3},
            "model_options": {"num_units": 5, "memory_slots": 6, "memory_width": 3},
            "max_steps": 30,
            "save_every": 10,
            "log_every": 5,
            "evaluate_at": [{"length": 2}, {"length": 6}],
            **given,
        },
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    with pytensor.config.change_flags(floatX="float32"):
        result = Run.create(folder, make_small()).train(progress=False)
    assert result["ended"] == "done"
    return folder


#: Columns of the metrics that depend on the clock
CLOCK = ("seconds", "sequences_per_second")


def read_state(folder):
    """The latest checkpoint without what depends on the clock."""
    arrays, about = read_arrays(list_checkpoints(folder)[-1])
    return arrays, about["trainer"]


def assert_same_run(folder, other):
    (arrays, about), (others, about_other) = read_state(folder), read_state(other)
    assert about == about_other
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)
    metrics = [
        [
            {name: value for name, value in row.items() if name not in CLOCK}
            for row in read_json_lines(each / "metrics.jsonl")
        ]
        for each in (folder, other)
    ]
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_what_a_run_leaves(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "settings.json",
        "checkpoint-000000020.safetensors",
        "checkpoint-000000030.safetensors",
        "metrics.jsonl",
        "network.safetensors",
        "result.json",
        ".lock",
    }
    # What was chosen for a batch of one is written
    assert read_settings(finished) == make_small(block_size=None, devices=1)
    assert [row["step"] for row in read_json_lines(finished / "metrics.jsonl")] == [
        5,
        10,
        15,
        20,
        25,
        30,
    ]
    result = json.loads((finished / "result.json").read_text())
    assert (result["ended"], result["steps"], result["sequences"]) == ("done", 30, 30)
    assert result["seconds"] > 0
    assert [row["sizes"] for row in result["measures"]] == [{}, {"length": 2}, {"length": 6}]


@pytest.mark.slow
def test_the_network_that_a_run_leaves(finished):
    values = get_all_param_values(ntm.load(finished / "network.safetensors"))
    run = Run.open(finished)
    assert run.trainer.step_count == 30
    for a, b in zip(values, get_all_param_values(run.trainer.l_out), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_resumed_run_is_the_same(finished, tmp_path):
    folder = tmp_path / "run"
    Run.create(folder, make_small()).train(progress=False, max_steps=13)
    Run.open(folder).train(progress=False)
    assert_same_run(folder, finished)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "dnc",
        pytest.param("sam", marks=pytest.mark.exhaustive),
        pytest.param("sdnc", marks=pytest.mark.exhaustive),
    ],
)
def test_a_resumed_run_of_another_memory_is_the_same(model, tmp_path):
    options = {"num_units": 5, "memory_slots": 8, "memory_width": 3}
    settings = make_small(model, model_options=options, max_steps=7, solve_every=0, evaluate_at=[])
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    Run.create(straight, settings).train(progress=False)
    Run.create(resumed, settings).train(progress=False, max_steps=4)
    Run.open(resumed).train(progress=False)
    assert_same_run(resumed, straight)
    values = get_all_param_values(ntm.load(straight / "network.safetensors"))
    for a, b in zip(values, get_all_param_values(Run.open(resumed).trainer.l_out), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_seconds_of_all_sessions_together(tmp_path, monkeypatch):
    now = [1000.0]
    clock = SimpleNamespace(**vars(time) | {"monotonic": lambda: now[0]})
    monkeypatch.setattr("ntm.training.trainer.time", clock)

    def let_pass(row):
        now[0] += 2

    settings = make_small(
        "dense", model_options={"num_units": 4}, log_every=1, save_every=5, evaluate_at=[]
    )
    run = Run.create(tmp_path / "run", settings)
    now[0] += 500  # Before it trains, and after it has
    assert run.train([let_pass], progress=False, max_steps=8)["seconds"] == 16
    now[0] += 500
    run.save()
    seconds = [read_arrays(path)[1]["seconds"] for path in list_checkpoints(run.folder)]
    assert seconds == [10, 16]
    run = Run.open(run.folder)
    assert run.seconds == 16
    now[0] += 500
    assert run.train([let_pass], progress=False)["seconds"] == 60
    assert json.loads((run.folder / "result.json").read_text())["seconds"] == 60
    assert Run.open(run.folder, "checkpoint-000000025.safetensors").seconds == 50


@pytest.mark.slow
def test_another_run_is_not_the_same(finished, tmp_path):
    folder = tmp_path / "run"
    Run.create(folder, make_small(seed=2)).train(progress=False)
    with pytest.raises(AssertionError):
        assert_same_run(folder, finished)


@pytest.mark.slow
def test_a_folder_that_holds_a_run(finished):
    with pytest.raises(FileExistsError, match=r"holds a run already: resume it \(ntm resume"):
        Run.create(finished, make_small())


def test_a_folder_that_holds_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run in .*no settings\.json"):
        Run.open(tmp_path)


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    with pytensor.config.change_flags(floatX="float32"):
        Run.create(folder, make_small()).train(progress=False, max_steps=20)
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """The folder, a copy of its own, of a run with two checkpoints, that has not ended."""
    return shutil.copytree(stopped_once, tmp_path / "stopped")


@pytest.mark.slow
def test_a_damaged_checkpoint(stopped):
    first, last = list_checkpoints(stopped)
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{last.name}.*truncated.*--checkpoint {first.name}"):
        Run.open(stopped)
    assert Run.open(stopped, first.name).trainer.step_count == 10


@pytest.mark.slow
def test_a_checkpoint_of_another_run(stopped, tmp_path):
    other = tmp_path / "other"
    Run.create(other, make_small(seed=5)).train(progress=False, max_steps=2)
    list_checkpoints(other)[0].rename(stopped / "checkpoint-000000099.safetensors")
    with pytest.raises(ValueError, match=r"not a checkpoint of this run"):
        Run.open(stopped)


@pytest.mark.slow
def test_damaged_settings(stopped):
    path = stopped / "settings.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(ValueError, match=r"settings\.json does not hold the settings of a run"):
        Run.open(stopped)


def test_a_device_that_there_is_not(tmp_path):
    settings = make_small(device="tpu:7").to_json()
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"^JAX finds no device 'tpu:7'"):
        Run.open(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_more(stopped, monkeypatch, code):
    """The run fails at its next checkpoint, and the ones before are still there."""
    before = {path.name: path.read_bytes() for path in list_checkpoints(stopped)}
    run = Run.open(stopped)

    def fail(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        run.train(progress=False)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in stopped.glob("checkpoint*")} == before
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    assert Run.open(stopped).trainer.step_count == 20


@pytest.mark.slow
def test_a_run_that_is_not_finite_is_not_saved(stopped):
    run = Run.open(stopped)
    run.trainer.l_out.b.set_value(np.full(3, np.nan, "float32"))
    with pytest.raises(ntm.training.TrainingError, match=r"output\.b is not finite"):
        run.save()
    assert Run.open(stopped).trainer.step_count == 20


@pytest.mark.slow
def test_a_checkpoint_of_when_there_were_fewer_settings(stopped):
    path = list_checkpoints(stopped)[-1]
    arrays, about = read_arrays(path)
    for name in ("restart_after", "restart_above"):
        del about["settings"][name]
    del about["trainer"]["restarts"]
    write_arrays(path, arrays, about)
    assert Run.open(stopped).trainer.step_count == 20
    about["settings"]["colour"] = "blue"
    write_arrays(path, arrays, about)
    with pytest.raises(ValueError, match="is not a checkpoint of this run"):
        Run.open(stopped)


@pytest.mark.slow
def test_a_resumed_run_that_begins_anew(tmp_path):
    settings = make_small(max_steps=20, restart_after=12, restart_above=1e-9, save_every=6)
    calm, resumed = tmp_path / "calm", tmp_path / "resumed"
    result = Run.create(calm, settings).train(progress=False)
    assert (result["restarts"], result["steps"]) == (10, 10 * 12 + 20)
    Run.create(resumed, settings).train(progress=False, max_steps=12)
    Run.open(resumed).train(progress=False)
    assert_same_run(resumed, calm)


# ---- Two at once


def open_in_another_process(folder):
    """A process that opens a run and trains it, and prints "training" at each step that is logged."""
    code = (
        "import sys, pytensor; pytensor.config.floatX = 'float32'\n"
        "from ntm.experiments.runs import Run\n"
        "run = Run.open(sys.argv[1])\n"
        "run.train([lambda row: print('training', flush=True)], progress=False)\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_in_one_folder(stopped):
    mine = Run.open(stopped)
    settings = json.loads((stopped / "settings.json").read_text())
    settings["max_steps"] = 10**6
    (stopped / "settings.json").write_text(json.dumps(settings))
    for path in list_checkpoints(stopped):  # These are of fewer steps
        arrays, about = read_arrays(path)
        about["settings"]["max_steps"] = 10**6
        write_arrays(path, arrays, about)
    with open_in_another_process(stopped) as other:
        try:
            assert other.stdout.readline() == "training\n"
            for act in (
                lambda: mine.train(progress=False),
                mine.save,
                lambda: Run.open(stopped).train(progress=False),
                lambda: Run.create(stopped, make_small()),
            ):
                with pytest.raises(BlockingIOError, match=f"by process {other.pid} on"):
                    act()
            # Reading goes on working
            run = Run.open(stopped)
            assert run.trainer.step_count >= 20
            assert run.trainer.evaluate(num_sequences=2)
            rows = read_json_lines(stopped / "metrics.jsonl")
            assert [row["step"] for row in rows] == list(range(5, 5 * len(rows) + 1, 5))
        finally:
            other.kill()
    # Nothing is left of the lock; but what was opened before the other trained is of yesterday
    with pytest.raises(FileExistsError, match="has been trained by another process since"):
        mine.train(progress=False)
    run = Run.open(stopped)
    run.train(progress=False, max_steps=run.trainer.step_count + 5)
    rows = read_json_lines(stopped / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(5, 5 * len(rows) + 1, 5))


@pytest.mark.slow
def test_a_thread_that_trains_the_same_run(stopped):
    run = Run.open(stopped)
    raised = []

    def train():
        try:
            run.train(progress=False)
        except BlockingIOError as error:
            raised.append(str(error))

    def log(row):
        if not raised:
            thread = threading.Thread(target=train)
            thread.start()
            thread.join()

    assert run.train([log], progress=False)["ended"] == "done"
    assert len(raised) == 1
    assert f"by process {os.getpid()} on" in raised[0]


@pytest.mark.slow
def test_going_on_from_an_earlier_checkpoint(stopped):
    first, last = list_checkpoints(stopped)
    run = Run.open(stopped, first.name)
    run.train(progress=False, max_steps=13)
    # What came after it is no longer of this run
    assert [path.name for path in list_checkpoints(stopped)] == [
        first.name,
        "checkpoint-000000013.safetensors",
    ]
    assert Run.open(stopped).trainer.step_count == 13
    assert not last.exists()


@pytest.mark.slow
def test_a_checkpoint_that_is_removed_while_it_is_opened(stopped, monkeypatch):
    first, last = list_checkpoints(stopped)
    restore = Run.restore

    def remove(run, path):
        if first.exists():  # The process that trains writes one and removes two
            last.rename(stopped / "checkpoint-000000030.safetensors")
            first.unlink()
        restore(run, path)

    monkeypatch.setattr(Run, "restore", remove)
    assert Run.open(stopped).trainer.step_count == 20


# ---- Batches that are divided

DIVIDED = {
    "model_options": {"num_units": 4, "num_layers": 1},
    "task_options": {"size": 2, "max_length": 1},
    "batch_size": 5,
    "evaluate_at": [],
    "solve_every": 0,
}


def make_divided(**given):
    """The settings of a run in blocks of two, on two devices."""
    return make_small("gru", **{**DIVIDED, "block_size": 2, "devices": 2, **given})


def test_what_was_chosen_is_written(tmp_path):
    settings = make_divided(block_size="auto", devices="auto", batch_size=8)
    run = Run.create(tmp_path / "run", settings)
    written = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (written["block_size"], written["devices"]) == run.trainer.training_step.division
    assert written["devices"] == 2
    found = read_settings(tmp_path / "run")
    assert found == run.settings != settings
    assert settings.may_be(found)
    assert settings.may_be(settings)
    assert make_divided(block_size="auto", devices="all", batch_size=8).may_be(found)
    assert not make_divided(block_size="auto", devices=3, batch_size=8).may_be(found)
    assert not make_divided(block_size=7, devices="auto", batch_size=8).may_be(found)
    assert not make_divided(devices="auto", block_size="auto", batch_size=9).may_be(found)
    # Opened again, it is divided as it was when it began
    assert Run.open(tmp_path / "run").trainer.training_step.division == (None, 2)


def test_settings_of_before_there_were_blocks_and_devices(tmp_path):
    settings = make_divided(batch_size=64).to_json()
    del settings["block_size"], settings["devices"]
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    found = read_settings(tmp_path)
    assert (found.block_size, found.devices) == (None, 1)
    assert Run.open(tmp_path).trainer.training_step.division.is_whole


def test_a_run_on_other_devices_keeps_its_settings(tmp_path):
    run = Run.create(tmp_path / "run", make_divided())
    assert run.settings == make_divided()
    other = Run.open(tmp_path / "run", devices=1)
    assert other.settings == make_divided()
    assert other.trainer.training_step.division == (2, 1)


def test_a_strangers_number_of_devices(tmp_path):
    settings = make_divided().to_json() | {"devices": 10**9}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"settings\.json does not hold .* devices must be"):
        read_settings(tmp_path)


ELSEWHERE = """
import sys
from lasagne.devices import get_devices
from ntm.experiments.runs import Run, open_evaluator

if sys.argv[2] == "evaluate":
    open_evaluator(sys.argv[1])
else:
    run = Run.open(sys.argv[1], devices=int(sys.argv[2]))
    print(run.trainer.training_step.division.devices)
print(len(get_devices()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "said"), [("evaluate", None), ("2", "2"), ("40", "40")])
def test_a_run_of_another_machine(tmp_path, words, said):
    """A run on many devices is measured without them, and goes on with fewer or more of them."""
    settings = make_divided(devices=100, device="cpu").to_json()
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path), words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *found, devices = done.stdout.split()
    assert found == ([] if said is None else [said])
    assert int(devices) >= int(said or 1)
    assert int(devices) < 100


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows sends no such signals")
def test_a_divided_run_that_is_interrupted_and_killed(tmp_path):
    """By Ctrl-C, at which it saves, and by a signal at which it cannot: it ends as one that was left alone."""
    settings = make_divided(max_steps=3000, save_every=100, log_every=10)
    calm, folder = tmp_path / "calm", tmp_path / "stopped"
    Run.create(calm, settings).train(progress=False)
    command = [sys.executable, "-c", WORKER, str(folder), json.dumps(settings.to_json())]
    steps = []
    for number in (signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "training\n"
            process.send_signal(number)
            ended = "ended" in process.stdout.read()
        assert ended == (number == signal.SIGINT)
        assert process.returncode == (0 if ended else -signal.SIGKILL)
        steps.append(read_state(folder)[1]["step"])
    assert 0 < steps[0] <= steps[1] < 3000
    Run.open(folder).train(progress=False)
    assert_same_run(folder, calm)


# ---- Kills

WORKER = """
import pathlib, sys, json
import pytensor
pytensor.config.floatX = "float32"
from ntm.experiments.runs import Run, write_json
from ntm.experiments.settings import Settings
folder = pathlib.Path(sys.argv[1])
settings = Settings(**json.loads(sys.argv[2]))
run = Run.open(folder) if (folder / "settings.json").exists() else Run.create(folder, settings)
run.train([lambda row: print("training", flush=True)], progress=False)
print("ended", flush=True)
"""


@pytest.mark.slow
def test_killed_runs(tmp_path):
    """A run that is killed at random moments, also while it writes, ends as one that was left alone."""
    # A checkpoint after every other step: about half of the time goes into writing
    settings = make_small(
        max_steps=250 * KILLS,
        save_every=2,
        solve_every=0,
        restart_after=100,
        restart_above=1e-9,
    )
    calm = tmp_path / "calm"
    Run.create(calm, settings).train(progress=False)
    folder = tmp_path / "killed"
    rng = random.Random(0)
    command = [sys.executable, "-c", WORKER, str(folder), json.dumps(settings.to_json())]
    kills, steps = 0, []
    while kills < KILLS:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # Some are killed while they start, the others once they take steps
        if kills % 5 == 4:
            time.sleep(rng.uniform(0.0, 5.0))
        else:
            assert process.stdout.readline() == "training\n", f"after {kills} kills"
            time.sleep(rng.uniform(0.0, 0.5))
        process.kill()
        process.wait()
        assert "ended" not in process.stdout.read(), "the run ended before it was killed"
        process.stdout.close()
        kills += 1
        if list_checkpoints(folder):
            steps.append(read_state(folder)[1]["step"])
    assert steps == sorted(steps)
    assert steps[-1] > steps[0]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert_same_run(folder, calm)
    assert not list(folder.glob("*.part*"))
