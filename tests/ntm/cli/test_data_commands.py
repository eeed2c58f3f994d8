"""The commands for data of the user's own, beside the same in a program."""

import json
from pathlib import Path

import numpy as np
import pytensor
import pytest

import ntm
from ntm.cli import DONE, FAILED, WRONG_USAGE, main, make_parser
from ntm.cli.data_commands import get_default_data_folder
from ntm.cli.data_options import get_data_options, get_data_settings
from ntm.cli.data_output import summarise_data
from ntm.data import Dataset, write_npz
from ntm.experiments.data_runs import DataRun, open_data_evaluator
from ntm.experiments.data_settings import open_files
from ntm.experiments.runs import Run
from ntm.experiments.settings import make_settings
from ntm.training import DataEvaluator
from ntm.visualization import plot_learning

from ..experiments.data_files import write_classes, write_ragged, write_symbols

TINY = ["--model", "dense", "--num-units", "4", "--num-layers", "1", "--batch-size", "8"]
QUICK = [*TINY, "--epochs", "2", "--quiet"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The command line sets floatX, and writes into the current folder."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.chdir(tmp_path)
    write_classes("data.npz")
    write_classes("test.npz", 10, seed=1)


@pytest.fixture
def trained(capsys):
    """A run of two epochs, in runs/data-dense-1."""
    assert main(["train", "--data", "data.npz", "--validation", "0.25", *QUICK]) == DONE
    return "runs/data-dense-1"


def end(words, capsys):
    """Run a command line; return the exit code, the output and the errors."""
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, printed.out, printed.err


@pytest.mark.slow
def test_train_evaluate_predict_resume_plot(trained, capsys):
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "data.npz: 24 sequences of 5 steps, 3 numbers a step; targets: 3 classes, one a sequence (guessed from int64 "
        "values 0 to 2)"
    )
    assert lines[1] == "Validation: 6 of the 24 sequences, by the seed"
    assert lines[2] == f"{trained}: dense learns data.npz, from step 0"
    assert lines[3].startswith("Done after 6 steps, 36 sequences, ")
    assert lines[5].split() == ["loss", "accuracy"]

    # As in a program
    run = DataRun.open(trained)
    evaluator = DataEvaluator(
        run.trainer.l_out, run.settings.layout, metrics=["accuracy", "confusion"]
    )
    test = Dataset.open("test.npz")
    expected = evaluator.evaluate(test)
    words = ["evaluate", trained, "--data", "test.npz", "--metrics", "accuracy", "confusion"]
    assert main([*words, "--json"]) == DONE
    measured = json.loads(capsys.readouterr().out)
    assert measured.pop("confusion") == expected.pop("confusion")
    assert measured == pytest.approx(expected)
    assert main(words) == DONE
    output = capsys.readouterr().out
    assert "10 sequences of 5 steps" in output
    assert f"{expected['accuracy']:.4g}" in output
    assert "rows are true classes" in output

    np.savez("new.npz", x=test.take(np.arange(10)).inputs["inputs"])
    assert main(["predict", trained, "--data", "new.npz", "--output", "out.npz"]) == DONE
    predicted = evaluator.predict(test)
    with np.load("out.npz") as found:
        assert set(found) == {"predictions", "labels"}
        np.testing.assert_array_equal(found["predictions"], predicted)
        np.testing.assert_array_equal(found["labels"], predicted.argmax(axis=1))
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)

    capsys.readouterr()
    assert main(["resume", trained, "--epochs", "3", "--quiet"]) == DONE
    assert "from step 6" in capsys.readouterr().out
    assert main(["resume", trained, "--max-steps", "5", "--quiet"]) == DONE
    for words in (
        ["plot", trained],
        ["plot", trained, "--data", "test.npz", "--index", "3"],
        ["plot", trained, "--kind", "learning"],
        ["plot", trained, trained],
    ):
        assert main(words) == DONE
    assert len(list(Path().glob("data-dense-1-*.png"))) == 4
    assert end(["train", "--data", "data.npz", *QUICK], capsys)[0] == FAILED


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_ragged, write_symbols])
def test_other_kinds_of_data(write, capsys):
    write("data.npz")
    assert main(["train", "--data", "data.npz", *QUICK]) == DONE
    assert main(["evaluate", "runs/data-dense-1", "--data", "data.npz"]) == DONE
    assert main(["plot", "runs/data-dense-1", "--index", "1"]) == DONE
    assert main(["predict", "runs/data-dense-1", "--data", "data.npz", "--output", "o.npz"]) == DONE
    evaluator, _ = open_data_evaluator("runs/data-dense-1")
    predicted = evaluator.predict(Dataset.open("data.npz"))
    with np.load("o.npz") as found:
        if write is write_symbols:
            assert found["labels"].shape == (8, 6)
        else:
            assert list(found["lengths"]) == [3, 6, 4, 5, 6, 3]
        for each, expected in zip(found["predictions"], predicted, strict=True):
            np.testing.assert_array_equal(each[: len(expected)], expected)
            assert not each[len(expected) :].any()


@pytest.mark.slow
def test_a_memory_network_in_a_picture_and_on_tensorboard(monkeypatch):
    boards, drawn = [], []

    class Board:
        def __init__(self, folder, step):
            boards.append(self)
            self.given, self.rows, self.figures = (folder, step), [], []

        def __call__(self, row):
            self.rows.append(row)

        def add_figures(self, figures, step):
            self.figures.append((step, figures))

    monkeypatch.setattr("ntm.cli.data_output.TensorBoard", Board)
    monkeypatch.setattr(
        "ntm.cli.data_pictures.plot_sequence",
        lambda *given, **options: drawn.append(options) or plot_learning({"a": ([1], [1])}),
    )
    monkeypatch.setattr("ntm.cli.data_pictures.MAX_STEPS", 5)
    write_ragged("data.npz")
    words = ["train", "--data", "data.npz", "--model", "ntm", "--memory-slots", "7", "--quiet"]
    words += ["--num-units", "3", "--epochs", "1", "--validation", "data.npz"]
    assert main([*words, "--tensorboard", "events"]) == DONE
    (board,) = boards
    assert board.given == ("events", 0)
    assert "validation loss" in board.rows[0]
    ((step, figures),) = board.figures
    assert step == 1
    shapes = [
        (axes.get_title("left"), axes.get_images()[0].get_array().shape)
        for axes in figures["ntm"].axes[:3]
    ]
    # Slots from top to bottom; 3 steps, 7 slots of width 20
    assert shapes == [
        ("write weights", (7, 3)),
        ("read weights", (7, 3)),
        ("memory after step 2", (7, 20)),
    ]
    assert main(["plot", "runs/data-ntm-1", "--index", "1"]) == DONE
    (trace,) = drawn[0]["traces"]
    assert [(head.name, head.used.shape) for head in trace.heads] == [
        ("write", (5, 7)),
        ("read", (5, 7)),
    ]


@pytest.mark.slow
def test_sequences_that_go_on(capsys):
    write_symbols("data.npz")
    assert main(["train", "--data", "data.npz", *QUICK, "--model", "gru"]) == DONE
    predict = ["predict", "runs/data-gru-1", "--data", "data.npz", "--output", "out.npz"]
    evaluator, _ = open_data_evaluator("runs/data-gru-1")
    prefix = np.load("data.npz")["inputs"]
    for words, given in (
        (["--steps", "4"], {"sample": "argmax"}),
        (
            ["--steps", "3", "--sample", "sample", "--temperature", "2", "--seed", "5"],
            {"sample": "sample", "temperature": 2.0, "seed": 5},
        ),
    ):
        assert main([*predict, *words]) == DONE
        expected = ntm.generate(evaluator.l_out, prefix, int(words[1]), **given)
        with np.load("out.npz") as found:
            assert set(found) == {"generated"}
            np.testing.assert_array_equal(found["generated"], expected)
    for words, message in (
        (["--sample", "argmax"], "--sample is for --steps"),
        (["--seed", "3"], "--seed is for --steps"),
        (["--steps", "2", "--temperature", "3"], "temperature is for sample='sample'"),
    ):
        code, _, error = end([*predict, *words], capsys)
        assert (code, message in error) == (WRONG_USAGE, True), error


@pytest.mark.slow
def test_series_that_go_on(capsys):
    """Numbers and bits are fed back; a network for other outputs than inputs says so."""
    rng = np.random.default_rng(0)
    series = [rng.normal(size=length).astype("float32") for length in (4, 6, 5)]
    write_npz("data.npz", inputs=series, targets=[each[:, None] for each in series])
    bits = rng.integers(0, 2, (3, 6, 2)).astype(bool)
    np.savez("bits.npz", inputs=bits.astype("float32"), targets=bits)
    for name in ("data", "bits"):
        assert main(["train", "--data", f"{name}.npz", *QUICK]) == DONE
        words = ["predict", f"runs/{name}-dense-1", "--data", f"{name}.npz", "--steps", "3"]
        assert main([*words, "--output", f"{name}-out.npz"]) == DONE
        assert end([*words, "--sample", "argmax", "--output", "o.npz"], capsys)[0] == WRONG_USAGE
    evaluator, _ = open_data_evaluator("runs/data-dense-1")
    expected = ntm.generate(evaluator.l_out, [each[:, None] for each in series], 3)
    np.testing.assert_array_equal(np.load("data-out.npz")["generated"], expected)
    generated = np.load("bits-out.npz")["generated"]
    assert generated.shape == (3, 3, 2)
    assert np.isin(generated, (0, 1)).all()
    first = open_data_evaluator("runs/bits-dense-1")[0].predict(Dataset.open("bits.npz"))[:, -1]
    np.testing.assert_array_equal(generated[:, 0], first > 0.5)


# ---- What is wrong


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "--model", "dnc"], WRONG_USAGE, "Data of your own: ntm train --data FILE"),
        (["train"], WRONG_USAGE, "expected a TASK"),
        (["train", "copy", "--data", "data.npz"], WRONG_USAGE, "copy is a task, and --data"),
        (["train", "--data"], WRONG_USAGE, "--data: expected one argument"),
        (["compare", "--data", "data.npz"], WRONG_USAGE, "ntm plot RUN RUN"),
        (["train", "--data", "no.npz"], FAILED, "there is no file or folder of data no.npz"),
        (["train", "--data", "/dev/zero"], FAILED, "/dev/zero is no file and no folder"),
        (["train", "--data", "cut.npz"], FAILED, "cut.npz"),
        (["train", "--data", "objects.npz"], FAILED, "objects.npz"),
        (["train", "--data", "nan.npz"], FAILED, "inputs[2, 1, 0] is nan"),
        (["train", "--data", "new.npz"], FAILED, "new.npz has no targets"),
        (["train", "--data", "data.npz", "--kind", "bits"], FAILED, "expected 0 or 1"),
        (["train", "--data", "data.npz", "--validation", "1.5"], WRONG_USAGE, "a fraction between"),
        (["train", "--data", "data.npz", "--validation", "no.npz"], FAILED, "no file or folder"),
        (["train", "--data", "data.npz", "--validation", "nan.npz"], FAILED, "is nan"),
        (["train", "--data", "data.npz", "--metrics", "mse"], WRONG_USAGE, "of bits and numbers"),
        (["train", "--data", "data.npz", "--stop-early", "loss"], WRONG_USAGE, "needs validation"),
        (["train", "--data", "data.npz", "--window", "2"], WRONG_USAGE, "targets at each step"),
        (["train", "--data", "data.npz", "--num-reads", "2"], WRONG_USAGE, "ntm has no option"),
        (["train", "--data", "data.npz", "--learning-rat", "1"], WRONG_USAGE, "--learning-rate?"),
    ],
)
def test_training_that_cannot_begin(words, code, message, capsys, monkeypatch):
    inputs = np.zeros((4, 5, 3))
    np.savez("new.npz", inputs=inputs)
    inputs[2, 1, 0] = np.nan
    np.savez("nan.npz", inputs=inputs, targets=np.zeros(4, int))
    Path("cut.npz").write_bytes(Path("data.npz").read_bytes()[:-30])
    np.savez("objects.npz", inputs=np.array([{}, {}]), targets=np.zeros(2))
    monkeypatch.setattr("ntm.experiments.training_settings.TrainingSettings.make_network", None)
    found, _, error = end(words, capsys)
    assert found == code
    assert message in error
    assert not Path("runs").exists()


@pytest.mark.slow
def test_commands_that_cannot_be_done(trained, capsys):
    inputs = np.zeros((4, 5, 3))
    np.savez("new.npz", inputs=inputs)
    np.savez("wide.npz", inputs=np.zeros((4, 5, 4)), targets=np.zeros(4, int))
    np.savez("more.npz", inputs=inputs, targets=np.array([0, 1, 2, 3]))
    np.savez("steps.npz", inputs=inputs, targets=np.zeros((4, 5), int))
    write_npz("named.npz", inputs={"a": inputs}, targets=np.zeros(4, int))
    for name in ("parts", "folder.npz"):
        Path(name).mkdir()
    np.savez("parts/a.npz", inputs=inputs)
    Run.create("copy", make_settings("copy", "dense", model_options={"num_units": 3}))
    evaluate, predict = ["evaluate", trained, "--data"], ["predict", trained, "--data"]
    output = ["--output", "out.npz"]
    for words, code, message in (
        (["evaluate", trained], WRONG_USAGE, "give the data to measure, --data FILE"),
        ([*evaluate, "new.npz"], FAILED, "new.npz has no targets, so nothing can be measured"),
        (
            [*evaluate, "wide.npz"],
            FAILED,
            "wide.npz: inputs has numbers of shape (N, T, 4): the network was made for numbers of shape (N, T, 3)",
        ),
        (
            [*evaluate, "more.npz"],
            FAILED,
            "targets[3] is 3: expected labels of classes from 0 to 2",
        ),
        ([*evaluate, "steps.npz"], FAILED, "steps.npz"),
        ([*evaluate, "named.npz"], FAILED, "has the inputs a: the network was made for inputs"),
        ([*evaluate, "test.npz", "--metrics", "mse"], WRONG_USAGE, "of bits and numbers"),
        (
            [*evaluate, "test.npz", "--size", "length=3"],
            WRONG_USAGE,
            "--size is not for runs on data",
        ),
        ([*evaluate, "test.npz", "--memory-slots", "3"], WRONG_USAGE, "--memory-slots is not for"),
        ([*predict, "wide.npz", *output], FAILED, "the network was made for numbers"),
        ([*predict, "new.npz", "--output", "new.npz"], WRONG_USAGE, "is the file of the data"),
        ([*predict, "new.npz", "--output", "out.txt"], WRONG_USAGE, "must end in .npz"),
        ([*predict, "new.npz", "--output", "no/out.npz"], WRONG_USAGE, "there is no folder no"),
        (
            [*predict, "parts", "--output", "parts/a.npz"],
            WRONG_USAGE,
            "would be one of the data in",
        ),
        ([*predict, "new.npz", "--output", "folder.npz"], WRONG_USAGE, "that is a folder"),
        ([*predict, "no.npz", "--output", "new.npz"], FAILED, "no file or folder of data no.npz"),
        (["predict", "copy", "--data", "new.npz", *output], FAILED, "is of a task, not of data"),
        (
            ["evaluate", "copy", "--data", "test.npz"],
            WRONG_USAGE,
            "--data is not for runs on tasks",
        ),
        (["resume", "copy", "--epochs", "3"], WRONG_USAGE, "--epochs is not for runs on tasks"),
        (["resume", trained, "--validation", "test.npz"], FAILED, "no file of validation data"),
        (["resume", trained, "--data", "test.npz"], FAILED, "holds other data than the run began"),
        (["plot", trained, "--kind", "generalisation"], WRONG_USAGE, "have --kind learning"),
        (["plot", trained, "copy"], WRONG_USAGE, "cannot be drawn in one picture"),
        (["plot", trained, "--index", "99"], WRONG_USAGE, "the data have 6 sequences"),
    ):
        found, _, error = end(words, capsys)
        assert (found, message in error) == (code, True), (words, error)
    assert not Path("out.npz").exists()
    assert not list(Path().glob("*.png"))
    with np.load("parts/a.npz") as kept:
        np.testing.assert_array_equal(kept["inputs"], inputs)
    # Predictions take no targets, whatever they are
    for name in ("more.npz", "steps.npz"):
        assert end([*predict, name, *output], capsys)[0] == DONE
        with np.load("out.npz") as found:
            assert found["predictions"].shape == (4, 3)


# ---- Options

#: A word for each setting of data on the command line, and the value that it stands for
WORDS = {
    "kind": ("classes", "classes"),
    "per": ("sequence", "sequence"),
    "epochs": ("7", 7),
    "max_steps": ("12", 12),
    "stop_early": ("accuracy", "accuracy"),
    "patience": ("3", 3),
    "seed": ("4", 4),
    "batch_size": ("3", 3),
    "optimizer": ("sgd", "sgd"),
    "learning_rate": ("0.5", 0.5),
    "schedule": ("cosine", "cosine"),
    "warmup": ("7", 7),
    "clip_value": ("2", 2.0),
    "clip_norm": ("None", None),
    "rewind": (None, True),
    "num_buckets": ("3", 3),
    "evaluate_every": ("13", 13),
    "log_every": ("17", 17),
    "save_every": ("19", 19),
    "backend": ("c", "c"),
    "device": ("cpu", "cpu"),
    "block_size": ("4", 4),
    "devices": ("2", 2),
}


def read(*words, data="data.npz"):
    options = make_parser().parse_args(["train", "--data", data, *words])
    files = open_files(options.data, options.validation, None, None)
    return get_data_settings(options, files)


@pytest.mark.slow
def test_every_setting_is_an_option():
    assert WORDS.keys() | {"window"} == get_data_options().keys()
    before = read("--validation", "0.25")
    assert before.model == "ntm"
    for name, (word, value) in WORDS.items():
        flag = "--" + name.replace("_", "-")
        settings = read("--validation", "0.25", *([flag] if word is None else [flag, word]))
        assert getattr(before, name) != value
        assert getattr(settings, name) == value
    write_symbols("text.npz")
    assert read("--window", "3", data="text.npz").window == 3
    assert read("--metrics", "error", "confusion").metrics == ["error", "confusion"]
    assert read("--model", "gru", "--embedding-size", "9").model_options["embedding_size"] == 9
    settings = read("--validation", "test.npz")
    assert (settings.validation, settings.validation_share) == (
        str(Path("test.npz").absolute()),
        None,
    )
    test = Dataset.open("test.npz", num_outputs=3)
    assert settings.open().validation.fingerprint() == test.fingerprint()


def test_long_series_are_better_cut(monkeypatch):
    monkeypatch.setattr("ntm.cli.data_output.LONG", 5)
    write_ragged("data.npz")
    assert "Sequences have up to 6 steps: --window 100" in summarise_data(read())
    assert "--window" not in summarise_data(read("--window", "3"))


def test_errors_about_data_name_the_help_for_data(capsys):
    code, _, errors = end(["train", "--data", "x", "--metric", "mse"], capsys)
    assert code == 2
    assert "did you mean --metrics?" in errors
    assert "See ntm train --data FILE --help" in errors


def test_help(capsys):
    code, output, _ = end(["train", "--data", "x", "--help"], capsys)
    assert code == 0
    output = " ".join(output.split())
    for words in ("usage: ntm train --data FILE", "(default: 32)", "--validation FILE|FRACTION"):
        assert words in output
    assert "--curriculum" not in output


@pytest.mark.parametrize(("data", "name"), [("data.npz", "data-ntm-1"), ("folder", "folder-ntm-1")])
def test_default_folders(data, name):
    Path("folder").mkdir()
    for field in ("inputs", "targets"):
        np.save(f"folder/{field}.npy", np.load("data.npz")[field])
    assert get_default_data_folder(read(data=data)) == Path("runs", name)
