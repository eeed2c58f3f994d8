"""Runs on data in folders: what is written, what goes on exactly, and what a stranger's folder cannot do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lasagne.layers import get_all_param_values
from ntm.data import Dataset
from ntm.experiments.data_runs import (
    DataRun,
    continue_sequences,
    measure_data,
    open_data_evaluator,
)
from ntm.experiments.data_settings import DataSettings, make_data_settings, open_data
from ntm.experiments.reading import (
    is_data_run,
    list_checkpoints,
    read_data_settings,
    read_settings,
)
from ntm.serialization.arrays import read_arrays
from ntm.training.loggers import read_json_lines

from .data_files import write_classes, write_ragged, write_symbols

pytestmark = pytest.mark.usefixtures("float32")

#: Columns of the metrics that depend on the clock
CLOCK = ("seconds", "sequences_per_second")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_classes("data.npz")


def make_small(data="data.npz", model="dense", **given):
    """The settings of a run that is quick: three steps an epoch."""
    options = {"num_units": 4, "num_layers": 1}
    defaults = {"batch_size": 8, "epochs": 3, "log_every": 2, "validation": 0.25}
    return make_data_settings(data, model, **{**defaults, "model_options": options, **given})


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
    rows, other_rows = (
        [
            {name: value for name, value in row.items() if name not in CLOCK}
            for row in read_json_lines(Path(each) / "metrics.jsonl")
        ]
        for each in (folder, other)
    )
    assert rows == other_rows


# ---- Settings


def test_settings_in_json():
    settings = make_small(stop_early="error", metrics=["accuracy"])
    read = DataSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert read == settings
    assert read.layout == Dataset.open("data.npz").layout
    assert settings.data == str(Path("data.npz").absolute())
    assert (settings.validation, settings.validation_share) == (None, 0.25)
    assert (settings.optimizer, settings.learning_rate) == ("adam", 1e-3)
    assert settings.list_metrics() == ["accuracy", "error"]
    assert "opened" not in settings.to_json()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "bits"}, r"data\.npz: Dataset: targets\[\d+\] is 2: expected 0 or 1"),
        ({"kind": "colours"}, "kind"),
        ({"validation": None, "stop_early": "loss"}, "stop_early loss needs validation"),
        ({"stop_early": "mse"}, "'mse' is a metric of bits and numbers"),
        ({"metrics": ["luck"]}, "unknown metric 'luck'"),
        ({"window": 2}, "window is for targets at each step"),
        ({"epochs": -1}, "epochs must be an integer of at least 0"),
        ({"model_options": {"num_reads": 2}}, "dense has no option 'num_reads'"),
        ({"data": "nowhere.npz"}, "there is no file or folder of data nowhere.npz"),
        ({"data": os.devnull}, "is no file and no folder"),
        ({"validation": 0.001}, "is an empty part"),
        ({"validation": 1}, "validation_share must be below 1"),
        ({"validation": "new.npz"}, "new.npz has no targets"),
        ({"validation": "wide.npz"}, r"inputs has numbers of shape \(N, T, 4\): the network was"),
    ],
)
def test_settings_that_are_none(given, message):
    np.savez("new.npz", inputs=np.zeros((3, 5, 3)))
    np.savez("wide.npz", inputs=np.zeros((3, 5, 4)), targets=np.zeros(3, int))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make_small(**given)


@pytest.mark.parametrize(
    "targets",
    [
        np.arange(12) % 2 == 0,
        np.arange(24).reshape(12, 2) % 3 == 0,
        np.eye(3)[np.arange(12) % 3],
        np.linspace(-1, 1, 12),
        np.arange(60).reshape(12, 5) % 4,
        np.ones((12, 5, 2), bool),
    ],
)
def test_data_are_known_again(targets):
    """What was guessed when a run began is given when it goes on."""
    np.savez("data.npz", inputs=np.random.default_rng(0).normal(size=(12, 5, 3)), targets=targets)
    settings = make_small()
    guessed = settings.opened
    settings.opened = None
    opened = settings.open()
    assert guessed.whole.guessed
    for a, b in zip(guessed, opened, strict=True):
        assert a.fingerprint() == b.fingerprint()
        assert a.layout == b.layout == settings.layout


# ---- Runs


@pytest.mark.slow
def test_a_run_and_how_it_goes_on():
    settings = make_small()
    result = DataRun.create("straight", settings).train(progress=False)
    assert (result["ended"], result["steps"], result["epochs"]) == ("done", 9, 3)
    (measures,) = result["measures"]
    assert measures["data"] == "validation"
    assert {"loss", "accuracy"} < measures.keys()
    names = {path.name for path in Path("straight").iterdir()}
    assert names == {
        "settings.json",
        "checkpoint-000000006.safetensors",
        "checkpoint-000000009.safetensors",
        "metrics.jsonl",
        "network.safetensors",
        "result.json",
        ".lock",
    }
    assert is_data_run("straight")
    with pytest.raises(ValueError, match="the run is of data, not of a task"):
        read_settings("straight")
    rows = read_json_lines("straight/metrics.jsonl")
    assert [row["step"] for row in rows if "validation loss" in row] == [3, 6, 9]
    assert [row["step"] for row in rows if "loss" in row] == [2, 4, 6, 8]

    # The end of training is the end of an epoch, as it is measured there
    DataRun.create("resumed", make_small()).train(progress=False, max_steps=6)
    DataRun.open("resumed").train(progress=False)
    assert_same_run("resumed", "straight")
    run = DataRun.open("resumed")
    assert run.train(progress=False, epochs=4)["steps"] == 12


@pytest.mark.slow
def test_windows_of_series(tmp_path):
    write_ragged("series.npz")
    options = {"num_units": 3, "num_layers": 1}
    given = {"window": 2, "validation": "series.npz", "model_options": options, "epochs": 2}
    settings = make_small("series.npz", "gru", **given)
    DataRun.create("straight", settings).train(progress=False)
    DataRun.create("resumed", make_small("series.npz", "gru", **given)).train(
        progress=False, epochs=1
    )
    run = DataRun.open("resumed")
    result = run.train(progress=False)
    assert_same_run("resumed", "straight")
    evaluator, settings = open_data_evaluator("resumed")
    measured = measure_data(evaluator, settings, Dataset.open("series.npz"))
    assert measured["loss"] == pytest.approx(result["measures"][0]["loss"], rel=1e-6)


@pytest.mark.slow
def test_the_best_parameters_are_kept():
    settings = make_small(
        stop_early="loss", patience=1, learning_rate=3.0, clip_norm=None, epochs=30
    )
    run = DataRun.create("run", settings)
    result = run.train(progress=False)
    assert result["ended"].startswith("validation loss was no better in 1 evaluations: the best is")
    losses = [
        row["validation loss"]
        for row in read_json_lines("run/metrics.jsonl")
        if "epoch" in row and "validation loss" in row
    ]
    assert min(losses) < losses[-1]
    assert result["measures"][0]["loss"] == pytest.approx(min(losses), rel=1e-6)
    evaluator, settings = open_data_evaluator("run")
    validation = settings.open().validation
    assert measure_data(evaluator, settings, validation)["loss"] == pytest.approx(min(losses))
    for a, b in zip(
        get_all_param_values(evaluator.l_out), get_all_param_values(run.trainer.l_out), strict=True
    ):
        np.testing.assert_array_equal(a, b)


# ---- Runs in processes of their own


def start(*words):
    command = [sys.executable, "-m", "ntm", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


TRAIN = ["train", "--data", "data.npz", "--model", "dense", "--num-units", "4", "--num-layers", "1"]
TRAIN += ["--batch-size", "8", "--validation", "0.25", "--save-every", "5", "--log-every", "50"]


def wait_for_checkpoints(folder, process, count):
    """Wait until a run has written a checkpoint after so many steps."""
    for _ in range(3000):
        found = list_checkpoints(folder)
        if found and int(found[-1].stem.rpartition("-")[2]) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    pytest.fail("there is no checkpoint")


@pytest.mark.slow
def test_a_killed_run():
    """SIGKILL in the middle; a second process is refused meanwhile; then the run goes on, bit for bit."""
    words = [*TRAIN, "--epochs", "150", "--folder", "killed"]
    with start(*words) as process:
        wait_for_checkpoints("killed", process, 30)
        process.send_signal(signal.SIGSTOP)  # It goes on holding the lock
        with start("resume", "killed", "--quiet") as second:
            _, error = second.communicate(timeout=120)
            assert second.returncode == 1
            assert "killed is being trained by process" in error
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert read_state("killed")[1]["step"] < 450
    with start("resume", "killed") as process:
        wait_for_checkpoints("killed", process, read_state("killed")[1]["step"] + 30)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "To go on: ntm resume killed" in output
    with start("resume", "killed", "--quiet") as process:
        output, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        assert "data.npz: 24 sequences of 5 steps" in output.splitlines()[0]
    settings = read_data_settings("killed")
    settings.data = str(Path("data.npz").absolute())
    DataRun.create("straight", settings).train(progress=False)
    assert_same_run("killed", "straight")


# ---- Data that are not where they were, and strangers


@pytest.fixture
def stopped():
    """The folder of a run that has not ended."""
    DataRun.create("run", make_small()).train(progress=False, max_steps=4)
    return "run"


def change_settings(folder, **changes):
    path = Path(folder, "settings.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_sequences_of_several_inputs_cannot_go_on():
    data = Dataset({"a": np.zeros((2, 3, 1)), "b": np.zeros((2, 3, 1))}, np.zeros((2, 3, 1)))
    with pytest.raises(ValueError, match="takes a network of one input, and this one has a, b"):
        continue_sequences(SimpleNamespace(layout=data.layout), data, steps=2)


def test_paths_from_a_file_are_printable_in_messages():
    settings = replace(make_small(), data="\x1b[31m", opened=None)
    with pytest.raises(FileNotFoundError, match=r"are not at \\x1b\[31m any more"):
        settings.open()


@pytest.mark.slow
def test_data_that_were_moved(stopped):
    Path("elsewhere").mkdir()
    shutil.move("data.npz", "elsewhere/moved.npz")
    with pytest.raises(FileNotFoundError, match=r"data\.npz any more: give the new place, --data"):
        DataRun.open(stopped)
    write_classes("data.npz", seed=1)
    for given in ({}, {"data": "data.npz"}):
        with pytest.raises(ValueError, match="holds other data than the run began with"):
            DataRun.open(stopped, **given)
    run = DataRun.open(stopped, data="elsewhere/moved.npz")
    assert run.trainer.step_count == 4
    assert read_data_settings(stopped).data.endswith("data.npz")
    # The new place is kept as soon as training goes on
    run.train(progress=False, max_steps=5)
    assert read_data_settings(stopped).data == str(Path("elsewhere/moved.npz").absolute())
    assert DataRun.open(stopped).trainer.step_count == 5


@pytest.mark.slow
def test_a_stranger_cannot_have_other_files_read(stopped, capsys):
    write_classes("secret.npz", seed=3)
    Path("text").write_text("secret")
    os.mkfifo("pipe")
    for path in ("secret.npz", "text", "pipe", os.devnull, "/dev/zero", "/proc/self/mem", ".", ""):
        change_settings(stopped, data=path)
        with pytest.raises((ValueError, OSError)) as error:
            DataRun.open(stopped)
        assert "secret" not in str(error.value).replace("secret.npz", "")
        # Measuring needs none of the files that the settings name
        evaluator, settings = open_data_evaluator(stopped)
        assert settings.opened is None
        assert evaluator.names == ["loss", "accuracy"]


#: Parts of a layout that are wrong, or too large for a network without a checkpoint
STRANGE = [
    {"inputs": {}},
    {"inputs": []},
    {"inputs": {"inputs": {"features": [3]}, "": 3}},
    {"inputs": {"inputs": {"features": [10**9], "is_integer": False, "has_time": True}}},
    {"inputs": {"inputs": {"features": [-1]}}},
    {"inputs": {"inputs": {"features": ["3"]}}},
    {"inputs": {"inputs": {"features": [3], "has_time": 2}}},
    {"inputs": {"inputs": {"features": [1] * 2000}}},
    {"inputs": {"inputs": {"features": [], "is_integer": True, "num_symbols": 10**9}}},
    {"inputs": {"inputs": {"features": [], "is_integer": True, "num_symbols": -1}}},
    {"kind": "own"},
    {"kind": 3},
    {"num_outputs": None},
    {"num_outputs": 10**9},
    {"num_outputs": True},
    {"per_step": "yes"},
    {"colour": "blue"},
]


@pytest.mark.slow
def test_strange_layouts(stopped):
    fingerprint = json.loads(Path(stopped, "settings.json").read_text())["fingerprint"]
    for _ in range(2):  # With a checkpoint, and without one
        for change in STRANGE:
            layout = {**fingerprint["layout"], **change}
            change_settings(stopped, fingerprint={**fingerprint, "layout": layout})
            with pytest.raises(ValueError, match=r"settings\.json|checkpoint of this run"):
                open_data_evaluator(stopped)
        change_settings(stopped, fingerprint=fingerprint)
        open_data_evaluator(stopped)
        for checkpoint in list_checkpoints(stopped):
            checkpoint.unlink()


def test_symbols_that_the_network_does_not_know():
    write_symbols("text.npz", 5)
    settings = make_small("text.npz")
    np.savez("other.npz", inputs=[[0, 1], [4, 6]])
    with pytest.raises(
        ValueError,
        match=r"other\.npz: inputs\[1, 1\] is 6: the network was made for symbols from 0 to 4",
    ):
        open_data("other.npz", settings.layout)
