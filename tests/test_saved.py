"""Files of version 0.4 still work: networks load, runs go on, and training gives the same losses.

``tests/data/saved/float32.tar.xz`` and ``float64.tar.xz`` hold for each kind of network the network after 25 steps, the
folder of its run at that step, the predictions of the network, and the losses of 50 steps.
"""

import importlib.metadata
import json
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytensor
import pytest

import ntm
from lasagne.layers import InputLayer, get_all_layers, get_output
from ntm import get_mode
from ntm.experiments import Run, Settings, read_settings

SAVED = Path(__file__).parent / "data" / "saved"
DTYPES = ("float32", "float64")
RUNS = (
    "dense",
    "dnc",
    "gru",
    "lstm",
    "ntm",
    "ntm-gru",
    "ntm-lstm",
    "ntm-recurrent",
    "sam",
    "sam-hashing",
    "sdnc",
)
#: Networks that no command builds
NETWORKS = ("shared-sam", "stacked-ntm")
#: Runs that `make test` trains as well. It loads the networks of all runs
TRAINED = ("dense", "dnc", "gru", "ntm-lstm", "sam")
#: Runs whose gradient is summed in another order since the version of the files: losses differ in the last digits
REORDERED = ("dnc",)
#: How far losses may be apart on another processor, with other versions, or if reordered, relative
CLOSE = {"float32": 1e-3, "float64": 1e-9}


@pytest.fixture(params=DTYPES)
def dtype(request):
    with pytensor.config.change_flags(floatX=request.param):
        yield request.param


@pytest.fixture(scope="module")
def unpack(tmp_path_factory):
    @cache
    def unpack(dtype):
        folder = tmp_path_factory.mktemp(dtype)
        with tarfile.open(SAVED / f"{dtype}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        return folder

    return unpack


def get_processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), None
    )


def assert_same(actual, expected, saved, dtype, reordered=False):
    """Bit for bit on the processor and with the versions of the file, else or if reordered nearly."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "pytensor")}
    here = {**versions, "processor": get_processor()}
    exact = all(saved[name] == value for name, value in here.items())
    if exact and not reordered:
        np.testing.assert_array_equal(actual, expected)
    else:
        np.testing.assert_allclose(actual, expected, rtol=CLOSE[dtype], atol=CLOSE[dtype])


def read_losses(folder, dtype):
    saved = json.loads((folder / f"losses-{dtype}.json").read_text())
    losses = {
        name: [float.fromhex(each) for each in values.split()]
        for name, values in saved["losses"].items()
    }
    return saved, losses


def train_to_50(trainer):
    while trainer.step_count < 50:
        trainer.step()
    return trainer.losses


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype",
    ["float32", pytest.param("float64", marks=pytest.mark.exhaustive)],
    indirect=True,
)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in TRAINED else pytest.mark.exhaustive) for name in RUNS],
)
def test_a_run(name, dtype, unpack, monkeypatch):
    """It trains from the start, and goes on from its checkpoint, as it did: with one compiled function for both."""
    saved, losses = read_losses(unpack(dtype), dtype)
    folder = unpack(dtype) / f"{name}-{dtype}"
    trainer = read_settings(folder).make_trainer()
    reordered = name in REORDERED
    assert_same(train_to_50(trainer), losses[name], saved, dtype, reordered)
    monkeypatch.setattr(Settings, "make_trainer", lambda self, processes=None: trainer)
    assert Run.open(folder).trainer is trainer
    assert trainer.step_count == 25
    assert_same(train_to_50(trainer), losses[name], saved, dtype, reordered)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS + NETWORKS)
def test_a_network_loads(name, dtype, unpack):
    folder = unpack(dtype)
    l_out = ntm.load(folder / f"{name}-{dtype}" / "network.safetensors")
    l_in = next(layer for layer in get_all_layers(l_out) if isinstance(layer, InputLayer))
    predict = pytensor.function(
        [l_in.input_var], get_output(l_out, deterministic=True), mode=get_mode()
    )
    inputs = np.random.default_rng(0).integers(0, 2, (2, 6, l_in.output_shape[2])).astype(dtype)
    saved, _ = read_losses(folder, dtype)
    with np.load(folder / f"predictions-{dtype}.npz") as predictions:
        assert_same(np.asarray(predict(inputs)), predictions[name], saved, dtype)
