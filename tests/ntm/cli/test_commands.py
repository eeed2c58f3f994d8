import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytensor
import pytest

from lasagne.layers import get_all_layers, get_all_params
from ntm.cli import DONE, FAILED, NOT_SOLVED, WRONG_USAGE, get_settings, main, make_parser
from ntm.cli.parser import EXAMPLES
from ntm.experiments.runs import Run, open_evaluator
from ntm.experiments.settings import make_settings
from ntm.layers.base import MemoryLayer
from ntm.tasks import TASKS
from ntm.training.loggers import read_json_lines

SMALL = ["--size", "2", "--max-length", "3", "--num-units", "5", "--memory-slots", "6"]
SMALL += ["--memory-width", "3", "--log-every", "5", "--save-every", "10", "--quiet"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The command line sets floatX, and writes into the current folder."""
    monkeypatch.setattr(pytensor.config, "floatX", pytensor.config.floatX)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(capsys):
    """A run of 20 steps, in runs/copy-ntm-1."""
    assert main(["train", "copy", "--max-steps", "20", *SMALL]) == NOT_SOLVED
    capsys.readouterr()
    return "runs/copy-ntm-1"


def is_picture(path):
    height, width, _ = matplotlib.image.imread(path).shape
    return height > 200 and width > 400


def test_tasks(capsys):
    assert main(["tasks"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(TASKS)
    assert all(len(line.split()) > 4 for line in lines)
    assert "`" not in "".join(lines)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], "ntm resume runs/copy-ntm-1"),
        (["train", "--help"], "associative-recall"),
        (["train", "copy", "--help"], "--max-length N"),
        (["train", "repeat-copy", "--help"], "--unary"),
        (["compare", "copy", "--help"], "--models"),
        (["--version"], "ntm-lasagne"),
    ],
)
def test_help(capsys, words, expected):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    assert expected in capsys.readouterr().out


def test_the_commands_in_the_help_are_right():
    commands = [line.split("  ")[1] for line in EXAMPLES.splitlines() if line.startswith("  ntm")]
    assert len(commands) == 9
    for command in commands:
        if not command.endswith("--help"):
            make_parser().parse_args(command.split()[1:])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["juggle"],
        ["train"],
        ["train", "juggling"],
        ["train", "copy", "--hight", "3"],
        ["train", "copy", "--num-units", "0"],
        ["train", "copy", "--seed", "x"],
        ["train", "copy", "--seed", "-1"],
        ["train", "copy", "--batch-size", "0"],
        ["train", "copy", "--batch-size", "1000000000"],
        ["train", "copy", "--learning-rate", "inf"],
        ["train", "copy", "--clip-norm", "-1"],
        ["train", "copy", "--clip-value", "nan"],
        ["train", "copy", "--warmup", "-5"],
        ["train", "copy", "--memory-std", "nan"],
        ["compare", "copy", "--advance-below", "0"],
        ["resume", "nowhere", "--max-steps", "-1"],
        ["evaluate", "nowhere", "--num-sequences", "0"],
        ["evaluate", "nowhere", "--memory-slots", "0"],
    ],
)
def test_wrong_usage(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    if len(words) == 4 and words[2] != "--hight":
        option, value = words[2:]
        prog = " ".join(["ntm", *words[: 2 if words[1] == "copy" else 1]])
        assert re.search(
            rf"argument {option}: must be .*, not '{value}'\nSee {prog} --help\n$", error
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "copy", "--size", "0"], "CopyTask: size must be positive, not 0"),
        (["train", "copy", "--num-layers", "2"], "ntm has no option 'num_layers'"),
        (["train", "copy", "--device", "tpu"], "JAX finds no device 'tpu'"),
        (["train", "copy", "--restart-after", "5"], "restart_after 5 needs restart_above"),
        (["train", "copy", "--max-length", "1000000000"], "a batch of 1 sequences of up to"),
        (["compare", "copy", "--size", "0"], "CopyTask: size must be positive, not 0"),
        (["plot", "one", "two", "--kind", "sequence"], "--kind sequence draws one run"),
    ],
)
def test_wrong_usage_that_is_found_later(capsys, words, message):
    assert main(words) == WRONG_USAGE
    error = capsys.readouterr().err
    assert error.startswith("ntm: ")
    assert message in error
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["evaluate", "resume", "plot"])
def test_a_file_where_a_folder_is_expected(capsys, command):
    folder = Path("run")
    folder.mkdir()
    for name in ("settings.json", "network.safetensors"):
        (folder / name).touch()
    with pytest.raises(SystemExit) as stop:
        main([command, "run/network.safetensors"])
    assert stop.value.code == WRONG_USAGE
    error = capsys.readouterr().err
    assert "run/network.safetensors is a file; expected the folder of a run: run\n" in error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 2 TiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 2 TiB"),
    ],
)
def test_too_little_memory(capsys, monkeypatch, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(Run, "__init__", fail)
    assert main(["train", "copy"]) == FAILED
    assert re.match(r"ntm: there is not enough memory: .* 2 TiB\n$", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resume", "nowhere"], "there is no run in nowhere"),
        (["evaluate", "nowhere"], "there is no run in nowhere"),
        (["plot", "nowhere"], "there is no run in nowhere"),
    ],
)
def test_errors(capsys, words, message):
    assert main(words) == FAILED
    error = capsys.readouterr().err
    assert error.startswith("ntm: ")
    assert message in error
    assert "Traceback" not in error


def test_training_that_begins_anew(capsys):
    words = ["--max-steps", "4", "--restart-after", "2", "--restart-above", "0.001", *SMALL]
    assert main(["train", "copy", *words]) == NOT_SOLVED
    assert re.search(
        r"Not solved after 24 steps, .* s; restarts: 10: bits ", capsys.readouterr().out
    )


def test_training_whose_numbers_are_never_finite(capsys):
    words = ["--model", "dense", "--num-layers", "1", "--num-units", "8", "--max-length", "5"]
    words += ["--learning-rate", "1e30", "--log-every", "10", "--quiet"]
    assert main(["train", "copy", *words]) == FAILED
    error = capsys.readouterr().err
    assert error.startswith("ntm: the last 100 steps had a loss or a gradient that was not finite")
    assert "Traceback" not in error
    rows = read_json_lines("runs/copy-dense-1/metrics.jsonl")
    assert [row["loss"] for row in rows[1:]] == [None] * 9
    assert main(["plot", "runs/copy-dense-1", "--kind", "learning"]) == DONE
    assert is_picture("copy-dense-1-learning.png")


def test_train_resume_evaluate_plot(trained, capsys):
    assert main(["train", "copy", *SMALL]) == FAILED
    assert "ntm resume runs/copy-ntm-1" in capsys.readouterr().err

    assert main(["resume", trained, "--max-steps", "25", "--quiet"]) == NOT_SOLVED
    output = capsys.readouterr().out
    assert "from step 20" in output
    assert re.search(
        r"Not solved after 25 steps, 25 sequences, \d+ s: bits \d.* \(solved: below 0\.01\)\.",
        output,
    )
    assert "length 120" in output
    assert "Longer than the memory has slots (6): length 10; length 20;" in output

    assert main(["evaluate", trained, "--size", "length=3", "--size", "length=9", "--json"]) == DONE
    rows = json.loads(capsys.readouterr().out)
    assert [row["sizes"] for row in rows] == [{}, {"length": 3}, {"length": 9}]
    assert rows[2]["wrong_bits"] > rows[1]["wrong_bits"] > 0

    assert main(["plot", trained, "--size", "length=4", "--output", "sequence.png"]) == DONE
    assert is_picture("sequence.png")
    assert main(["plot", trained, "--kind", "learning", "--output", "learning.png"]) == DONE
    assert is_picture("learning.png")
    assert main(["plot", trained, trained, "--output", "generalisation.png"]) == DONE
    assert is_picture("generalisation.png")

    assert main(["evaluate", trained, "--size", "width=3"]) == WRONG_USAGE
    assert "--size width=3: expected NAME=N with a name among length" in capsys.readouterr().err


def test_compare(capsys):
    words = ["compare", "copy", "--models", "lstm", "dense", "--max-steps", "10"]
    words += [
        "--size",
        "2",
        "--max-length",
        "3",
        "--num-units",
        "5",
        "--num-layers",
        "1",
        "--quiet",
    ]
    assert main(words) == NOT_SOLVED
    assert is_picture("compare-copy.png")
    first = capsys.readouterr().out
    assert "lstm learns copy" in first
    assert "dense learns copy" in first
    # With other options it is another run
    assert main([*words, "--learning-rate", "0.5"]) == FAILED
    assert "holds a run already" in capsys.readouterr().err
    # A run that has ended is not trained again; the exit code and the verdict are the same
    assert main(words) == NOT_SOLVED
    output = capsys.readouterr().out
    assert "learns" not in output
    assert output.count("ended before. Not solved after 10 steps") == 2
    assert is_picture("compare-copy-2.png")


@pytest.mark.parametrize("model", ["dnc", "sam", "sdnc"])
def test_evaluate_and_plot_another_memory(model, capsys, monkeypatch):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    words = ["train", "copy", *SMALL, "--model", model, "--max-steps", "2"]
    words += ["--num-reads", "2", "--memory-slots", "8"]
    options = make_parser().parse_args(words)
    settings = get_settings(options, "copy")
    settings.evaluate_at = [{"length": 2}]
    Run.create("run", settings).train(progress=False)
    assert main(["evaluate", "run", "--json"]) == DONE
    rows = json.loads(capsys.readouterr().out)
    assert [row["sizes"] for row in rows] == [{}, {"length": 2}]
    assert main(["evaluate", "run", "--json", "--memory-slots", "30", "--size", "length=9"]) == DONE
    assert [row["sizes"] for row in json.loads(capsys.readouterr().out)] == [{}, {"length": 9}]
    assert main(["plot", "run", "--output", "sequence.png"]) == DONE
    assert is_picture("sequence.png")


@pytest.mark.parametrize(
    # The last one then has an index of its slots
    ("model", "num_slots"),
    [("ntm", 11), ("dnc", 11), ("sdnc", 11), ("sam", 20_000)],
)
def test_a_memory_of_another_size(model, num_slots, monkeypatch, tmp_path):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    options = {"num_units": 4, "memory_slots": 9, "memory_width": 3}
    run = Run.create(tmp_path, make_settings("copy", model, max_steps=2, model_options=options))
    learnt = get_all_params(run.trainer.l_out, trainable=True)
    for param in learnt:
        param.set_value(param.get_value() + np.float32(0.5))
    run.save()
    network = open_evaluator(tmp_path, memory_slots=num_slots).l_out
    params = get_all_params(network, trainable=True)
    for old, new in zip(learnt, params, strict=True):
        assert old.name == new.name
        np.testing.assert_array_equal(old.get_value(), new.get_value())
    (layer,) = (each for each in get_all_layers(network) if isinstance(each, MemoryLayer))
    assert layer.memory.memory_shape == (num_slots, 3)


def test_values_learnt_for_each_slot_do_not_fit_other_slots(monkeypatch, tmp_path):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    options = {"num_units": 4, "memory_slots": 6, "memory_width": 3, "memory_std": 0.5}
    Run.create(tmp_path, make_settings("copy", model_options=options))
    with pytest.raises(
        ValueError,
        match=r"memory.* of shape \(6, 3\), .* with 11 slots the shape would be \(11, 3\)",
    ):
        open_evaluator(tmp_path, memory_slots=11)


def test_no_memory_to_resize(monkeypatch, tmp_path):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    Run.create(tmp_path, make_settings("copy", "lstm", model_options={"num_units": 4}))
    with pytest.raises(ValueError, match="the network lstm has no memory"):
        open_evaluator(tmp_path, memory_slots=11)


def test_tensorboard(trained, capsys):
    pytest.importorskip("tensorboardX")
    words = ["train", "copy", "--max-steps", "10", *SMALL, "--evaluate-every", "5"]
    words += ["--folder", "board", "--tensorboard", "events"]
    assert main(words) == NOT_SOLVED
    content = b"".join(path.read_bytes() for path in Path("events").iterdir())
    for name in (b"loss", b"memory", b"write_weights/1", b"read_weights/1"):
        assert name in content


def test_as_a_module():
    command = [sys.executable, "-m", "ntm", "tasks"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "copy" in result.stdout


SCRIPTS = Path(__file__).parents[3] / "scripts"


def test_the_script_of_long_lists_stops_in_time(tmp_path):
    path = SCRIPTS / "long_recall.py"
    command = [sys.executable, str(path), "--minutes", "0.1", "--folder", str(tmp_path / "lists")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    title, row = result.stdout.splitlines()
    assert title.split()[:3] == ["items", "slots", "sequences"]
    assert re.match(r" +6 +512 .* time is up$", row)
    # Nothing was learnt
    assert [path.name for path in (tmp_path / "lists").iterdir()] == [".lock"]
