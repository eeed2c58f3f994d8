"""Every option of every command has an effect. A new one without an entry here fails."""

import argparse
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytensor
import pytest

from lasagne.layers import get_all_param_values
from ntm.cli import commands, export_commands, get_settings, main, make_parser, pictures
from ntm.cli.options import get_network_options, get_training_options
from ntm.experiments import runs
from ntm.experiments.options import get_task_options
from ntm.experiments.runs import Run
from ntm.experiments.settings import make_settings
from ntm.serialization import save
from ntm.tasks import TASKS
from ntm.visualization import COLUMN_WIDTH

#: The first checkpoint of the run
FIRST = "checkpoint-000000002.safetensors"
TINY = ["--model", "dense", "--num-units", "3", "--num-layers", "1"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The command line sets floatX, and writes into the current folder."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.chdir(tmp_path)


# ---- Options that are settings

#: A word for each setting on the command line, and the value that it stands for
WORDS = {
    "seed": ("4", 4),
    "batch_size": ("3", 3),
    "max_steps": ("12", 12),
    "optimizer": ("sgd", "sgd"),
    "learning_rate": ("0.5", 0.5),
    "schedule": ("steps", "steps"),
    "warmup": ("7", 7),
    "clip_value": ("None", None),
    "clip_norm": ("2", 2.0),
    "curriculum": ("naive", "naive"),
    "rewind": (None, False),
    "restart_after": ("9", 9),
    "restart_above": ("0.5", 0.5),
    "stop_below": ("0.25", 0.25),
    "num_buckets": ("3", 3),
    "solve_every": ("11", 11),
    "evaluate_every": ("13", 13),
    "log_every": ("17", 17),
    "save_every": ("19", 19),
    "backend": ("c", "c"),
    "device": ("cpu", "cpu"),
    "block_size": ("4", 4),
    "devices": ("2", 2),
}


def read(task, *words):
    return get_settings(make_parser().parse_args(["train", task, *words]), task)


@pytest.mark.slow
def test_every_setting_is_an_option():
    assert WORDS.keys() == get_training_options().keys()
    before = read("copy")
    assert before == make_settings("copy")
    for name, (word, value) in WORDS.items():
        flag = "--" + name.replace("_", "-")
        words = ["--no-rewind"] if word is None else [flag, word]
        if name == "restart_after":
            words += ["--restart-above", "1"]
        assert getattr(before, name) != value
        assert getattr(read("copy", *words), name) == value


@pytest.mark.parametrize(
    "name", [name for name, each in get_training_options().items() if each.optional]
)
def test_none_on_the_command_line(name):
    flag = "--" + name.replace("_", "-")
    assert getattr(read("copy", flag, "None"), name) is None
    assert getattr(read("copy", flag, "none"), name) is None


def test_the_old_name_of_stop_below():
    assert read("copy", "--solved-below", "0.5").stop_below == 0.5
    assert read("copy", "--model", "sam").stop_below == 0.005
    assert read("copy", "--model", "sam", "--solved-below", "None").stop_below is None


def test_advance_below():
    settings = read("copy", "--curriculum", "naive", "--advance-below", "0.25")
    assert settings.curriculum_options == {"advance_below": 0.25}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("auto", "auto")),
        (["--block-size", "auto", "--devices", "auto"], ("auto", "auto")),
        (["--block-size", "none", "--devices", "all"], (None, "all")),
        (["--block-size", "3", "--devices", "1"], (3, 1)),
    ],
)
def test_words_instead_of_numbers(words, expected):
    settings = read("copy", *words)
    assert (settings.block_size, settings.devices) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--block-size", "0"], "--block-size"),
        (["--block-size", "all"], "--block-size"),
        (["--block-size", "1.5"], "'auto'"),
        (["--devices", "0"], "--devices"),
        (["--devices", "many"], "'all'"),
        (["--devices", "none"], "--devices"),
    ],
)
def test_divisions_that_are_none(capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        make_parser().parse_args(["train", "copy", *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_option_of_a_task_is_an_option(task):
    before = make_settings(task).make_task
    for name, each in get_task_options(task).items():
        flag = "--" + name.replace("_", "-")
        if each.kind is bool:
            assert read(task, flag).task_options[name] is True
            assert read(task, "--no" + flag.removeprefix("-")).task_options[name] is False
        else:
            assert read(task, flag, str(each.default + 2)).task_options[name] == each.default + 2
    assert before


@pytest.mark.slow
def test_every_option_of_a_network_is_an_option():
    for name, models in get_network_options().items():
        flag = "--" + name.replace("_", "-")
        for model, each in models.items():
            value = each.choices[-1] if each.choices else each.kind(3)
            settings = read("copy", "--model", model, flag, str(value))
            assert settings.model == model
            assert settings.model_options[name] == value
    assert read("copy", "--model", "dnc", "--clip", "None").model_options["clip"] is None


# ---- Options of the commands


@pytest.fixture
def run(tmp_path):
    """A run of two checkpoints, in the folder run."""
    settings = make_settings(
        "copy",
        "dense",
        task_options={"size": 1, "max_length": 3},
        model_options={"num_units": 3, "num_layers": 1},
        max_steps=4,
        save_every=2,
        evaluate_at=[{"length": 2}],
    )
    Run.create("run", settings).train(progress=False)
    return "run"


@pytest.fixture
def seen(monkeypatch):
    """What runs are trained with, instead of being trained."""
    seen = SimpleNamespace(trained=[], boards=[])

    def train(run, loggers=(), progress=True, max_steps=None):
        given = {"loggers": list(loggers), "progress": progress, "max_steps": max_steps}
        seen.trained.append(SimpleNamespace(run=run, **given))
        result = run.get_result("done")
        rows = [
            {"sizes": sizes, "bits": float(len(seen.trained)), "wrong_bits": 0.5, "correct": 0.5}
            for sizes in ({}, {"length": 2})
        ]
        result |= {"measures": rows, "solved": True}
        Path(run.folder, "result.json").write_text(json.dumps(result))
        return result

    def log(*given):
        seen.boards.append(given)
        return lambda row: None

    monkeypatch.setattr(Run, "train", train)
    monkeypatch.setattr(commands, "make_board_logger", log)
    return seen


def check_training(words, seen):
    """The options of each command that trains."""
    main(words)
    (plain,) = seen.trained
    assert plain.progress
    assert plain.loggers == []
    assert seen.boards == []


@pytest.mark.slow
def test_train(seen):
    check_training(["train", "copy", *TINY], seen)
    assert seen.trained[0].run.folder == Path("runs/copy-dense-1")
    main(["train", "copy", *TINY, "--folder", "here", "--quiet"])
    assert seen.trained[1].run.folder == Path("here")
    assert not seen.trained[1].progress
    main(["train", "copy", *TINY, "--seed", "2", "--tensorboard", "events"])
    assert [each[1] for each in seen.boards] == ["events"]
    assert len(seen.trained[2].loggers) == 1
    assert seen.trained[2].run.settings.model == "dense"


@pytest.mark.slow
def test_resume(run, seen):
    check_training(["resume", run], seen)
    assert seen.trained[0].run.trainer.step_count == 4
    assert seen.trained[0].max_steps is None
    words = ["--checkpoint", FIRST, "--max-steps", "9"]
    main(["resume", run, *words, "--quiet", "--tensorboard", "events"])
    assert seen.trained[1].run.trainer.step_count == 2
    assert seen.trained[1].max_steps == 9
    assert not seen.trained[1].progress
    assert [each[1:] for each in seen.boards] == [("events", 2)]


@pytest.mark.slow
def test_resume_on_other_devices(run, seen, capsys):
    """The settings stay as they are; the output says what that means for results."""
    main(["resume", run])
    assert "up to rounding" not in capsys.readouterr().out
    main(["resume", run, "--devices", "2"])
    said = (
        "The run began with --devices 1 and goes on with 2: results are equal up to rounding only"
    )
    assert said in capsys.readouterr().out
    divisions = [each.run.trainer.training_step.division for each in seen.trained]
    assert [each.devices for each in divisions] == [1, 2]
    assert [each.run.settings.devices for each in seen.trained] == [1, 1]
    assert json.loads(Path(run, "settings.json").read_text())["devices"] == 1


@pytest.mark.slow
def test_compare_goes_on_with_runs_for_which_a_division_was_chosen(seen):
    words = ["compare", "copy", "--num-units", "3", "--num-layers", "1", "--models", "dense"]
    words += ["--batch-size", "16"]
    assert main(words) == 0
    (first,) = seen.trained
    assert first.run.settings.devices > 1
    folder = first.run.folder
    (folder / "result.json").unlink()
    assert main(words) == 0
    assert seen.trained[1].run.folder == folder
    assert seen.trained[1].run.settings == first.run.settings
    # Its run has ended now: another division is another run, whose folder is taken
    assert main([*words, "--devices", "all"]) == 0
    assert len(seen.trained) == 2
    assert main([*words, "--devices", "3"]) == 1


@pytest.mark.slow
def test_evaluate(run, capsys, monkeypatch):
    opened = []

    def open_evaluator(*given):
        opened.append(given)
        return SimpleNamespace(evaluate=evaluate, count_steps=lambda sizes: 8)

    def evaluate(sizes=None, num_sequences=100, num_steps=None):
        return {"bits": float(num_sequences)}

    monkeypatch.setattr(commands, "open_evaluator", open_evaluator)

    def rows(*words):
        assert main(["evaluate", run, "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)

    assert rows() == [{"sizes": {}, "bits": 2000.0}, {"sizes": {"length": 2}, "bits": 100.0}]
    assert [row["bits"] for row in rows("--num-sequences", "7")] == [7.0, 7.0]
    sizes = rows("--size", "length=3", "--size", "length=1")
    assert [row["sizes"] for row in sizes] == [{}, {"length": 3}, {"length": 1}]
    rows("--checkpoint", "one", "--memory-slots", "12")
    assert opened == [(run, None, None, None)] * 3 + [(run, "one", 12, None)]
    main(["evaluate", run])
    assert capsys.readouterr().out.split()[:4] == ["bits", "as", "in", "training"]


@pytest.mark.slow
def test_export(run, monkeypatch, capsys):
    first, last = (runs.open_evaluator(run, name).l_out for name in (FIRST, None))
    seen = []

    def make_members(network, *options):
        seen.append((get_all_param_values(network)[-1], *options))
        about = {"inputs": {"arrays": []}, "outputs": {"arrays": []}, "functions": {"run": {}}}
        return {**about, "left_out": {"step": "there is no state"}}, {"member": b"1"}

    monkeypatch.setattr(export_commands, "make_members", make_members)

    def export(*words):
        assert main(["export", *words, "--output", "new.zip"]) == 0
        with zipfile.ZipFile("new.zip") as file:
            assert file.read("member") == b"1"
        weights, *options = seen.pop()
        return weights, options

    weights, options = export(run)
    assert options == [None, None, ["cpu", "cuda"], False]
    assert "Without step: there is no state" in capsys.readouterr().out
    np.testing.assert_array_equal(weights, get_all_param_values(last)[-1])
    weights, options = export(run, "--checkpoint", FIRST, "--batch-size", "2", "--num-steps", "3")
    assert options[:2] == [2, 3]
    np.testing.assert_array_equal(weights, get_all_param_values(first)[-1])
    assert not np.array_equal(weights, get_all_param_values(last)[-1])
    weights, options = export(run, "--gradients", "--platforms", "tpu", "--task", "copy")
    assert options[2:] == [["tpu"], True]
    assert export(run, "--float-type", "float64")[0].dtype == "float64"
    save("saved.safetensors", first)
    weights, _ = export("--model-file", "saved.safetensors")
    np.testing.assert_array_equal(weights, get_all_param_values(first)[-1])


@pytest.mark.slow
def test_what_a_checkpoint_and_the_number_of_sequences_measure(run, capsys):
    def bits(*words):
        assert main(["evaluate", run, "--json", *words]) == 0
        return [row["bits"] for row in json.loads(capsys.readouterr().out)]

    evaluator = runs.open_evaluator(run, FIRST)
    measured = [evaluator.evaluate(num_sequences=5), evaluator.evaluate({"length": 2}, 5)]
    words = ["--checkpoint", FIRST, "--num-sequences", "5"]
    np.testing.assert_allclose(bits(*words), [row["bits"] for row in measured])
    assert bits(*words) != bits("--num-sequences", "5")
    assert bits("--num-sequences", "5") != bits()


@pytest.mark.slow
def test_plot(run, monkeypatch, capsys):
    drawn = []

    def record(name):
        draw = getattr(commands, name)

        def recorded(*given):
            drawn.append((name, *given))
            return draw(*given)

        monkeypatch.setattr(commands, name, recorded)

    for name in ("draw_sequence", "draw_learning", "draw_generalisation"):
        record(name)
    assert main(["plot", run]) == 0
    assert main(["plot", run, "--size", "length=2", "--output", "two.png"]) == 0
    assert main(["plot", run, "--kind", "learning"]) == 1
    assert "run has no losses yet" in capsys.readouterr().err
    Path(run, "metrics.jsonl").write_text('{"step": 1, "sequences": 1, "loss": 2.0}\n')
    assert main(["plot", run, "--kind", "learning"]) == 0
    assert main(["plot", run, run]) == 0
    assert main(["plot", run, "--kind", "generalisation", "--measure", "wrong_bits"]) == 0
    assert main(["plot", run, "--width", "8.5", "--output", "column.pdf"]) == 0
    names, last = [each[0] for each in drawn], [each[-2:] for each in drawn]
    draws = ["draw_sequence"] * 2 + ["draw_learning"] * 2 + ["draw_generalisation"] * 2
    assert names == [*draws, "draw_sequence"]
    assert last[:2] == [({}, None), ({"length": 2}, None)]
    assert last[4:6] == [("bits", None), ("wrong_bits", None)]
    assert last[6] == ({}, COLUMN_WIDTH)
    pictures = {path.name for path in Path().glob("*.png")}
    assert pictures == {
        "run-sequence.png",
        "two.png",
        "run-learning.png",
        "run-generalisation.png",
        "run-generalisation-2.png",
    }


@pytest.mark.slow
def test_the_sizes_of_a_picture(run, monkeypatch):
    steps = []
    monkeypatch.setattr(
        pictures, "plot_sequence", lambda inputs, *given, **options: steps.append(len(inputs))
    )
    monkeypatch.setattr(commands, "save_picture", lambda figure, path: None)
    main(["plot", run])
    main(["plot", run, "--size", "length=9"])
    assert steps == [8, 20]


@pytest.mark.slow
def test_compare(seen, monkeypatch, capsys):
    drawn = []
    draw = commands.draw_generalisation
    monkeypatch.setattr(
        commands, "draw_generalisation", lambda *given: drawn.append(given) or draw(*given)
    )
    words = ["compare", "copy", "--num-units", "3", "--num-layers", "1"]
    assert main([*words, "--models", "lstm", "dense"]) == 0
    # Both networks are trained and drawn
    assert [each.run.settings.model for each in seen.trained] == ["lstm", "dense"]
    (results, groups, settings, measure, width) = drawn[0]
    assert [result["measures"][0]["bits"] for result in results] == [1.0, 2.0]
    assert {name: list(group) for name, group in groups.items()} == {"lstm": [0], "dense": [1]}
    assert ([each.task for each in settings], measure, width) == (2 * ["copy"], "bits", None)
    assert Path("compare-copy.png").exists()
    assert main([*words, "--models", "dense"]) == 0
    assert len(seen.trained) == 2
    others = ["--folder", "elsewhere", "--measure", "correct", "--output", "other.png", "--quiet"]
    assert main([*words, "--models", "dense", *others, "--tensorboard", "events"]) == 0
    assert seen.trained[2].run.folder == Path("elsewhere/copy-dense-1")
    assert not seen.trained[2].progress
    assert [each[1] for each in seen.boards] == ["events"]
    assert drawn[-1][3] == "correct"
    assert Path("other.png").exists()
    assert main([*words, "--models", "dense", "--seeds", "3", "--width", "8.5"]) == 0
    seeds = [each.run.settings.seed for each in seen.trained[3:]]
    assert seeds == [2, 3], "the first seed was trained before"
    assert [list(group) for group in drawn[-1][1].values()] == [[0, 1, 2]]
    assert drawn[-1][-1] == COLUMN_WIDTH


@pytest.mark.slow
@pytest.mark.parametrize("solved", [[False, True], [True, False], [True, True]])
def test_the_exit_code_of_compare_looks_at_every_network(solved, seen, monkeypatch):
    words = ["compare", "copy", "--models", "gru", "dense", "--num-units", "3", "--num-layers", "1"]
    expected = 0 if all(solved) else 3
    for _ in range(2):  # Trained, and found
        verdicts = iter(solved)
        monkeypatch.setattr(commands, "was_solved", lambda *given, left=verdicts: next(left))
        assert main(words) == expected


#: The options of a command that may train in several processes
PROCESSES = {"--processes", "--process", "--coordinator"}
#: The options that the tests above see the effect of, besides those that are settings. --task: test_own_tasks.py;
#: options for data: test_data_commands.py; several processes: tests/ntm/training/test_following.py
SEEN = {
    "tasks": set(),
    # --replicas: see test_replica_commands.py
    "train": {"--folder", "--quiet", "--tensorboard", "--model", "--replicas", *PROCESSES},
    "compare": {
        "--folder",
        "--quiet",
        "--tensorboard",
        "--models",
        "--measure",
        "--output",
        "--seeds",
        "--width",
    },
    # See test_sweep_commands.py
    "sweep": {
        "--seeds",
        "--set",
        "--search",
        "--trials",
        "--search-seed",
        "--minimise",
        "--prune",
        "--folder",
        "--report",
        "--quiet",
        "--engine",
        "--jobs",
        "--address",
        "--gpus",
        "--model",
    },
    "resume": {
        "--data",
        "--validation",
        "--epochs",
        "--task",
        "--checkpoint",
        "--max-steps",
        "--devices",
        "--quiet",
        "--tensorboard",
        *PROCESSES,
    },
    "predict": {
        "--checkpoint",
        "--data",
        "--output",
        "--steps",
        "--sample",
        "--temperature",
        "--seed",
    },
    "evaluate": {
        "--data",
        "--metrics",
        "--task",
        "--checkpoint",
        "--num-sequences",
        "--memory-slots",
        "--size",
        "--json",
        "--model-file",
    },
    "export": {
        "--model-file",
        "--task",
        "--checkpoint",
        "--output",
        "--batch-size",
        "--num-steps",
        "--platforms",
        "--float-type",
        "--gradients",
    },
    "models": {"--json"},
    # See test_report_commands.py
    "report": {"--output", "--task", "--size", "--data", "--index", "--quiet"},
    "watch": {"--port", "--task", "--size", "--data", "--index", "--quiet"},
    "plot": {
        "--data",
        "--index",
        "--names",
        "--task",
        "--kind",
        "--size",
        "--measure",
        "--output",
        "--width",
    },
}


def list_flags(parser):
    return {
        flag
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for flag in action.option_strings
        if flag.startswith("--") and flag != "--help"
    }


def get_commands(parser):
    (action,) = (each for each in parser._actions if isinstance(each.choices, dict))
    return action.choices


def test_every_option_of_a_command_is_seen():
    found = get_commands(make_parser())
    assert found.keys() == SEEN.keys()
    settings = {*get_training_options(), *get_network_options(), *get_task_options("copy")}
    flags = {"--" + name.replace("_", "-") for name in settings} | {
        "--no-rewind",
        "--advance-below",
    }
    for name, parser in found.items():
        if name in ("train", "compare", "sweep"):
            given = list_flags(get_commands(parser)["copy"])
            assert given - flags == SEEN[name]
            assert flags <= given
        else:
            assert list_flags(parser) == SEEN[name]
