"""Runs of several seeds in one program: folders of their own, and nothing is lost when the process is stopped."""

import json
import os
import shutil
import signal

import numpy as np
import pytensor
import pytest

from ntm.data import write_npz
from ntm.experiments.data_settings import make_data_settings
from ntm.experiments.reading import list_checkpoints
from ntm.experiments.replica_runs import (
    _find_common_step,
    list_replica_settings,
    open_replicas,
    train_together,
)
from ntm.experiments.runs import Run
from ntm.experiments.settings import make_settings
from ntm.serialization.arrays import read_arrays
from ntm.training.loggers import read_json_lines

pytestmark = pytest.mark.usefixtures("float32")

NAMES = ("one", "two", "three")
#: Columns of the metrics that depend on the clock
CLOCK = ("seconds", "sequences_per_second")


class Killed(BaseException):
    """The process ends here."""


def list_settings(**given):
    settings = make_settings(
        "copy",
        "dense",
        **{
            "task_options": {"size": 2, "max_length": 3},
            "model_options": {"num_units": 4, "num_layers": 1},
            "max_steps": 30,
            "save_every": 10,
            "log_every": 5,
            "evaluate_at": [],
            **given,
        },
    )
    return list_replica_settings(settings, len(NAMES))


def open_in(folder, **given):
    return open_replicas([folder / name for name in NAMES], list_settings(**given))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of three runs that were never stopped."""
    folder = tmp_path_factory.mktemp("replicas")
    before = pytensor.config.floatX
    pytensor.config.floatX = "float32"
    results = train_together(open_in(folder), progress=False)
    pytensor.config.floatX = before
    assert [result.ended["ended"] for result in results] == ["done"] * 3
    return folder


def read_run(folder):
    """All of a run that does not depend on the clock."""
    arrays, about = read_arrays(list_checkpoints(folder)[-1])
    rows = [
        {name: value for name, value in row.items() if name not in CLOCK}
        for row in read_json_lines(folder / "metrics.jsonl")
    ]
    result = json.loads((folder / "result.json").read_text())
    return arrays, about["trainer"], rows, result["measures"]


def assert_same_runs(folder, other):
    for name in NAMES:
        arrays, *rest = read_run(folder / name)
        others, *rest_of_other = read_run(other / name)
        assert rest == rest_of_other
        assert arrays.keys() == others.keys()
        for each, array in arrays.items():
            np.testing.assert_array_equal(array, others[each], err_msg=each)


@pytest.mark.slow
def test_each_run_is_as_any_other(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    finished = tmp_path
    for k, name in enumerate(NAMES):
        folder = finished / name
        assert {path.name for path in folder.iterdir()} == {
            "settings.json",
            "checkpoint-000000020.safetensors",
            "checkpoint-000000030.safetensors",
            "metrics.jsonl",
            "network.safetensors",
            "result.json",
            ".lock",
        }
        run = Run.open(folder)
        assert run.settings.seed == 1 + k
        assert run.trainer.step_count == 30
        assert [row["step"] for row in read_json_lines(folder / "metrics.jsonl")] == [
            5, 10, 15, 20, 25, 30,
        ]  # fmt: skip
    # A run alone takes the same course, up to rounding
    result = run.train(progress=False, max_steps=35)
    assert result["steps"] == 35
    alone = Run(finished / "alone", list_settings()[0])
    alone.trainer.train(30, progress=False)
    arrays = read_run(finished / "one")[0]
    for name, value in alone.trainer.training_step.get_values().items():
        np.testing.assert_allclose(arrays[name], value, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_killed_while_it_saves(finished, tmp_path):
    """One run has a later checkpoint than the others: all go back to the latest that all have."""
    replicas = open_in(tmp_path)

    def save():
        if replicas[1].run.trainer.step_count == 20:
            raise Killed
        Run.save(replicas[1].run)

    replicas[1].run.save = save
    with pytest.raises(Killed):
        train_together(replicas, progress=False)
    latest = [list_checkpoints(tmp_path / name)[-1].name[-14:-12] for name in NAMES]
    assert latest == ["20", "10", "10"]
    again = open_in(tmp_path)
    assert [each.run.trainer.step_count for each in again] == [10, 10, 10]
    assert not any(each.is_new for each in again)
    train_together(again, progress=False)
    assert_same_runs(tmp_path, finished)
    # Nothing is left to do
    assert train_together(open_in(tmp_path)) == [None, None, None]


@pytest.mark.slow
def test_interrupted_in_the_middle_of_a_step(finished, tmp_path):
    """All stop after the same step, although the signal comes when some of them have drawn the next batch."""
    replicas = open_in(tmp_path)
    trainer = replicas[1].run.trainer
    draw = trainer.sample

    def sample():
        if trainer.step_count == 14:
            os.kill(os.getpid(), signal.SIGINT)
        return draw()

    trainer.sample = sample
    results = train_together(replicas, progress=False)
    assert [result.ended["ended"] for result in results] == ["interrupted"] * 3
    assert [result.ended["steps"] for result in results] == [15] * 3
    assert not (tmp_path / "one" / "result.json").exists()
    again = open_in(tmp_path)
    assert [each.run.trainer.step_count for each in again] == [15] * 3
    train_together(again, progress=False)
    assert_same_runs(tmp_path, finished)


def test_common_steps(tmp_path):
    def make(**steps):
        for name, each in steps.items():
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
            for step in each:
                (folder / f"checkpoint-{step:09d}.safetensors").touch()
        return _find_common_step([tmp_path / name for name in steps])

    assert make(one=[10, 20], two=[10, 20]) is None
    assert make(one=[10, 20], two=[10]) == 10
    assert make(one=[20, 30], two=[10, 20]) == 20
    assert make(one=[10], two=[]) == 0
    # A run that has just been added: the others stay where they are
    assert make(one=[20, 30], two=[]) is None
    assert make(one=[20, 30], two=[50, 60]) is None
    assert _find_common_step([]) is None


@pytest.mark.slow
def test_runs_on_data(tmp_path):
    """Each seed holds out other sequences; the file is read once."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(12, 4, 2)).astype("float32")
    write_npz(tmp_path / "data.npz", inputs=inputs, targets=inputs.sum(axis=2) > 0)
    settings = make_data_settings(
        tmp_path / "data.npz",
        "dense",
        validation=0.25,
        model_options={"num_units": 3, "num_layers": 1},
        epochs=2,
        batch_size=3,
    )
    of_seeds = list_replica_settings(settings, 2)
    assert of_seeds[0].open().whole is of_seeds[1].open().whole
    held_out = [each.open().validation for each in of_seeds]
    assert held_out[0].fingerprint() != held_out[1].fingerprint()
    replicas = open_replicas([tmp_path / "a", tmp_path / "b"], of_seeds)
    results = train_together(replicas, progress=False)
    assert [result.ended["epochs"] for result in results] == [2, 2]
    assert results[0].ended["measures"] != results[1].ended["measures"]


def test_runs_that_are_refused(tmp_path):
    with pytest.raises(ValueError, match="need the back end jax, not c"):
        list_settings(backend="c")
    with pytest.raises(ValueError, match=r"expected devices 1, not 2\. ntm sweep"):
        list_settings(devices=2)
    first = list_settings()[0]
    Run.create(tmp_path / "one", first)
    with pytest.raises(FileExistsError, match="holds a run already"):
        open_in(tmp_path, learning_rate=0.5)
