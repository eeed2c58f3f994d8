import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytensor
import pytest

from lasagne.layers import get_all_layers, get_all_params
from ntm.cli import (
    DONE,
    FAILED,
    NOT_SOLVED,
    WRONG_USAGE,
    commands,
    get_settings,
    main,
    make_parser,
    output,
)
from ntm.cli.help import OVERVIEW
from ntm.experiments.runs import Run, open_evaluator, was_solved
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


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """The folder of a run of 20 steps."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    with pytensor.config.change_flags(floatX="float32"):
        words = ["train", "copy", "--max-steps", "20", *SMALL, "--folder", str(folder)]
        assert main(words) == NOT_SOLVED
    return folder


@pytest.fixture
def trained(trained_once):
    """A copy of its own of a run of 20 steps, in runs/copy-ntm-1."""
    shutil.copytree(trained_once, "runs/copy-ntm-1")
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
    commands = [line.split("  ")[1] for line in OVERVIEW.splitlines() if line.startswith("  ntm")]
    assert len(commands) == 20
    for command in commands:
        # tests/ntm/cli/test_own_tasks.py trains on such a task
        if not command.endswith("--help") and "my_module" not in command:
            make_parser().parse_args(command.split()[1:])


@pytest.mark.slow
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
    def fail(*args, **options):
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


@pytest.mark.slow
def test_training_that_begins_anew(capsys):
    words = ["--max-steps", "4", "--restart-after", "2", "--restart-above", "0.001", *SMALL]
    assert main(["train", "copy", *words]) == NOT_SOLVED
    assert re.search(
        r"Not solved after 24 steps, .* s; restarts: 10: bits ", capsys.readouterr().out
    )


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "sam",
        pytest.param("dnc", marks=pytest.mark.exhaustive),
        pytest.param("sdnc", marks=pytest.mark.exhaustive),
    ],
)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_no_memory_to_resize(monkeypatch, tmp_path):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    Run.create(tmp_path, make_settings("copy", "lstm", model_options={"num_units": 4}))
    with pytest.raises(ValueError, match="the network lstm has no memory"):
        open_evaluator(tmp_path, memory_slots=11)


@pytest.mark.slow
def test_tensorboard(trained, capsys):
    pytest.importorskip("tensorboardX")
    words = ["train", "copy", "--max-steps", "10", *SMALL, "--evaluate-every", "5"]
    words += ["--folder", "board", "--tensorboard", "events"]
    assert main(words) == NOT_SOLVED
    content = b"".join(path.read_bytes() for path in Path("events").iterdir())
    for name in (b"loss", b"ntm", b"PNG"):
        assert name in content


@pytest.mark.slow
def test_as_a_module():
    command = [sys.executable, "-m", "ntm", "tasks"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "copy" in result.stdout


SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.mark.slow
def test_the_script_of_long_lists_stops_in_time(tmp_path):
    path = SCRIPTS / "long_recall.py"
    command = [sys.executable, str(path), "--minutes", "0.1", "--folder", str(tmp_path / "lists")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    title, row = result.stdout.splitlines()
    assert title.split()[:3] == ["items", "slots", "sequences"]
    assert re.match(r" +6 +512 .* time is up$", row)
    # Nothing was learnt
    assert [path.name for path in (tmp_path / "lists").iterdir()] == [".lock"]


# ---- What a newcomer meets


def test_the_folders_in_the_help_are_those_that_the_commands_make():
    made = set()
    for line in OVERVIEW.splitlines():
        words = line.strip().split("  ")[0].split()[1:]
        if line.startswith("  ntm train") and not {"--help", "my_module:MyTask", "--data"} & {
            *words
        }:
            options = make_parser().parse_args(words)
            made.add(str(commands.get_default_folder(get_settings(options, options.task))))
    named = set(re.findall(r"runs/[\w-]+", OVERVIEW))
    assert named - {"runs/MyTask-ntm-1", "runs/data-dnc-1"} <= made


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["copy"], "copy-ntm-1"),
        (["copy", "--controller", "dense"], "copy-ntm-1"),
        (["copy", "--controller", "gru", "--seed", "4"], "copy-ntm-gru-4"),
        (["associative-recall", "--seed", "3"], "associative-recall-ntm-3"),
        (["associative-recall", "--controller", "lstm"], "associative-recall-ntm-1"),
        (["associative-recall", "--controller", "dense"], "associative-recall-ntm-dense-1"),
        (["sort", "--model", "dnc"], "sort-dnc-1"),
        (["sort", "--model", "dnc", "--controller", "gru"], "sort-dnc-gru-1"),
        (["sort", "--model", "lstm"], "sort-lstm-1"),
    ],
)
def test_default_folders(words, folder):
    options = make_parser().parse_args(["train", *words])
    settings = get_settings(options, options.task)
    assert commands.get_default_folder(settings) == Path("runs", folder)


@pytest.mark.parametrize(
    ("task", "ended", "value", "solved"),
    [
        # Training went on for smaller losses, and came to what counts as solved
        ("associative-recall", "done", 0.003, True),
        ("associative-recall", "done", 0.02, False),
        ("associative-recall", "solved", 0.00005, True),
        ("repeat-copy", "done", 0.003, True),
        ("sort", "done", 0.05, True),
        ("dyck-words", "done", 0.005, True),
        ("argmax", "done", 0.04, True),
        # The look that ended training counts, whatever other sequences then say
        ("copy", "solved", 0.0102, True),
        ("copy", "done", None, False),
    ],
)
def test_a_task_counts_as_solved_by_its_own_threshold(task, ended, value, solved):
    settings = make_settings(task)
    name = settings.make_task().solved[0]
    result = {"ended": ended, "measures": [{"sizes": {}, name: value}]}
    assert was_solved(settings, result) is solved
    result |= {"solved": solved, "steps": 5, "sequences": 6, "seconds": 7.0, "skipped": 0}
    line = output.describe_result(settings, result)
    assert line.startswith("Solved after 5 steps" if solved else "Not solved after 5 steps")


def test_a_threshold_that_ends_training_early_is_not_solved():
    settings = make_settings("copy", stop_below=0.5)
    result = {"ended": "solved", "measures": [{"sizes": {}, "bits": 0.4}]}
    assert not was_solved(settings, result)


@pytest.mark.slow
def test_nothing_is_compiled_for_training_to_evaluate_and_plot(trained, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("a trainer is made")

    monkeypatch.setattr("ntm.experiments.settings.Trainer", fail)
    assert main(["evaluate", trained, "--num-sequences", "3"]) == DONE
    assert main(["plot", trained]) == DONE


@pytest.mark.slow
def test_sequences_longer_than_the_memory(trained, capsys):
    assert main(["evaluate", trained, "--size", "length=6", "--num-sequences", "3"]) == DONE
    assert "Longer than the memory" not in capsys.readouterr().out
    words = [
        "--size",
        "length=7",
        "--size",
        "length=6",
        "--size",
        "length=9",
        "--num-sequences",
        "3",
    ]
    assert main(["evaluate", trained, *words]) == DONE
    note = "\nLonger than the memory has slots (6): length 7; length 9.\n"
    assert note in capsys.readouterr().out
    assert main(["evaluate", trained, *words, "--memory-slots", "8", "--json"]) == DONE
    printed = capsys.readouterr()
    json.loads(printed.out)
    assert "\nLonger than the memory has slots (8): length 9.\n" in printed.err


@pytest.mark.slow
def test_json_of_measures_that_are_not_finite(trained, capsys, monkeypatch):
    rows = [{"sizes": {}, "bits": np.inf, "correct": np.nan}, {"sizes": {"length": 2}, "bits": 1.0}]
    monkeypatch.setattr(commands, "measure", lambda *args: rows)
    assert main(["evaluate", trained, "--json"]) == DONE

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found[0] == {"sizes": {}, "bits": None, "correct": None}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["learning", "generalisation"])
def test_runs_of_different_tasks_are_not_drawn_together(kind, trained, capsys, monkeypatch):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    Run.create("other", make_settings("sort", "dense", model_options={"num_units": 2}))
    assert main(["plot", trained, "other", "--kind", kind]) == WRONG_USAGE
    message = (
        "runs of different tasks cannot be compared in one picture: copy-ntm-1 (copy), other (sort)"
    )
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "length=5", "length=7"], "length is given twice; to measure at several sizes"),
        (["--kind", "learning", "--size", "length=5"], "--size is for --kind sequence"),
        (["--measure", "bits"], "--measure is for --kind generalisation, not for sequence"),
        (
            ["--kind", "generalisation", "--measure", "luck"],
            "copy has the measures bits, wrong_bits",
        ),
        (["--output", "nowhere/a.png"], "No such file or directory"),
        (["--output", "a.txt2"], "the name of a picture must end in one of"),
    ],
)
def test_a_picture_that_cannot_be_drawn(words, message, trained, capsys):
    assert main(["plot", trained, *words]) in (WRONG_USAGE, FAILED)
    assert message in capsys.readouterr().err
    assert not list(Path().glob("*.png"))


def test_a_picture_that_cannot_be_saved_is_found_before_training(capsys):
    words = ["compare", "copy", "--models", "dense", "--output", "nowhere/picture.png"]
    assert main(words) == FAILED
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_start_that_fails_leaves_the_folder_free(capsys, monkeypatch):
    Path("file").touch()
    words = ["train", "copy", *SMALL, "--max-steps", "0", "--folder", "run"]
    assert main([*words, "--tensorboard", "file"]) == FAILED
    assert not Path("run").exists()

    def fail(*args):
        raise ImportError("tensorboardX is missing")

    monkeypatch.setattr(output, "TensorBoard", fail)
    assert main([*words, "--tensorboard", "events"]) == FAILED
    assert not Path("run").exists()
    assert main(words) == NOT_SOLVED


@pytest.mark.slow
@pytest.mark.parametrize(
    # argparse takes no notice of the broken pipe
    ("words", "code"),
    [(["tasks"], 141), (["train", "copy", "--help"], 0)],
)
def test_a_reader_that_goes_away(words, code):
    command = [sys.executable, "-m", "ntm", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == code


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "copy", "--learning-rat", "1"], "did you mean --learning-rate?"),
        (
            ["train", "copy", "--clip-valeu", "None"],
            "unknown option --clip-valeu; did you mean --clip-value?",
        ),
        (
            ["evaluate", "x", "--sise=length=2"],
            "unknown option --sise=length=2; did you mean --size?",
        ),
        (
            ["train", "copy", "--zzz"],
            "ntm train copy: unknown option --zzz\nSee ntm train copy --help",
        ),
    ],
)
def test_options_that_may_be_meant(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == WRONG_USAGE
    assert message in capsys.readouterr().err


def test_the_old_name_of_an_option(capsys):
    assert main(["train", "copy", "--write-gate-bias", "1"]) == WRONG_USAGE
    message = "ntm has no option 'write_gate_bias' any more: it is 'write_interpolation_bias' now"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "cpy"], "did you mean copy?"),
        (["trian", "copy"], "did you mean train?"),
        (["train", "copy", "--model", "ntn"], "did you mean ntm?"),
    ],
)
def test_a_word_that_is_almost_right(words, message, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


def test_an_untrained_network_is_not_drawn(capsys, monkeypatch):
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    Run.create("run", make_settings("copy", "dense", model_options={"num_units": 2}))
    assert main(["plot", "run"]) == FAILED
    assert "run has no checkpoint yet" in capsys.readouterr().err
    assert not list(Path().glob("*.png"))
