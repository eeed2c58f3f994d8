import re

import numpy as np
import pytensor
import pytest

from lasagne.layers import DenseLayer, InputLayer
from ntm.cli import main
from ntm.serialization import save


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The command line sets floatX, and writes into the current folder."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("float_type", ["float32", "float64"])
def test_a_saved_network(float_type, capsys, tmp_path):
    save("network.safetensors", DenseLayer(InputLayer((None, 3), name="x"), 2))
    words = ["--model-file", "network.safetensors", "--output", "new.zip"]
    assert main(["export", *words, "--float-type", float_type]) == 0
    assert re.sub(r"[0-9.]+ MB", "N MB", capsys.readouterr().out).splitlines() == [
        f"Inputs: x (batch, 3) {float_type}",
        f"Outputs: output_0 (batch, 2) {float_type}",
        "Functions: run",
        *(
            f"Without {name}: there is no memory layer and no recurrent layer"
            for name in ("run_from", "step", "initial_states")
        ),
        "Network: new.zip (N MB)",
    ]
    with np.load("new.zip") as file:  # a zip archive of arrays, besides other members
        assert file["parameters/W"].dtype == float_type


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--output", "a.zip"], 2, "expected the FOLDER of a run or --model-file, one of them"),
        (["run", "--model-file", "copy", "--output", "a.zip"], 2, "one of them"),
        (["--model-file", "copy", "--output", "a.onnx"], 2, "must end in .zip"),
        (["--model-file", "copy", "--output", "no/a.zip"], 2, "there is no folder no"),
        (["--model-file", "cop", "--output", "a.zip"], 2, "did you mean copy"),
        (["--model-file", "copy", "--task", "copy", "--output", "a.zip"], 2, "--task is for the"),
        (["run", "--output", "a.zip"], 1, "run has no checkpoint yet"),
    ],
)
def test_wrong_usage(words, code, message, capsys, tmp_path):
    assert main(["export", *words]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
