"""`ntm train --replicas`: folders, exit codes, and the same command again."""

import json

import pytensor
import pytest

from ntm.cli import main

TRAIN = [
    "train",
    "copy",
    "--model",
    "dense",
    "--num-units",
    "3",
    "--num-layers",
    "1",
    "--size",
    "2",
]
TRAIN += ["--max-length", "2", "--max-steps", "4", "--replicas", "2", "--quiet"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The command line sets floatX, and writes into the current folder."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.chdir(tmp_path)


def run(*words):
    return main(list(words))


@pytest.mark.slow
def test_train_replicas(tmp_path, capsys):
    assert run(*TRAIN, "--seed", "5") == 3
    folders = [tmp_path / "runs" / f"copy-dense-{seed}" for seed in (5, 6)]
    seeds = [json.loads((each / "settings.json").read_text())["seed"] for each in folders]
    assert seeds == [5, 6]
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "runs/copy-dense-5: seed 5, from step 0"
    assert output[-1] == "0 of 2 seeds solved the task"
    # The same command, and one more seed
    before = (folders[0] / "result.json").read_bytes()
    more = [
        "3" if word == "2" and TRAIN[k - 1] == "--replicas" else word
        for k, word in enumerate(TRAIN)
    ]
    assert run(*more, "--seed", "5") == 3
    assert (folders[0] / "result.json").read_bytes() == before
    output = capsys.readouterr().out.splitlines()
    assert output[1].startswith("runs/copy-dense-6: ended before. Not solved after 4 steps")
    assert output[2] == "runs/copy-dense-7: seed 7, from step 0"
    assert output[-1] == "0 of 3 seeds solved the task"
    # Other settings are another run
    assert run(*TRAIN, "--seed", "5", "--learning-rate", "0.5") == 1
    assert "holds a run already" in capsys.readouterr().err


def test_wrong_usage(capsys):
    assert run(*TRAIN, "--devices", "2") == 2
    assert "replicas share one device" in capsys.readouterr().err
    sparse = [
        "train",
        "copy",
        "--model",
        "sam",
        "--memory-slots",
        "16",
        "--replicas",
        "2",
        "--max-steps",
        "1",
    ]
    assert run(*sparse) == 2
    assert "would copy the whole memory" in capsys.readouterr().err
