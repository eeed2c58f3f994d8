"""Tasks of the user's own on the command line: `ntm train my_module:MyTask`."""

import json
import sys
from pathlib import Path

import numpy as np
import pytensor
import pytest

from ntm.cli import DONE, FAILED, NOT_SOLVED, WRONG_USAGE, get_settings, main, make_parser
from ntm.experiments.own_tasks import OwnTaskError, import_task
from ntm.experiments.reading import list_checkpoints, read_settings
from ntm.experiments.runs import Run
from ntm.experiments.settings import make_settings
from ntm.serialization.arrays import read_arrays

MODULE = '''
import numpy as np

from ntm.tasks import Task


class MyTask(Task):
    """Is the number of ones so far odd?

    Parameters
    ----------
    min_length, max_length : int
        The range of the size "length": bits in a sequence.
    flip : bool
        Whether to ask for even instead.
    """

    def __init__(
        self, min_length=1, max_length=4, flip=False, table=(1, 2), batch_size=1, seed=None
    ):
        super().__init__(1, 1, {"length": (min_length, max_length)}, batch_size, seed)
        self.flip = flip

    def num_steps(self, length):
        return length

    def make(self, rng, length):
        bits = rng.integers(0, 2, (length, 1))
        return bits, (np.cumsum(bits, axis=0) + self.flip) % 2, np.ones(length)


class Other:
    pass


class Needs(Task):
    def __init__(self, table, batch_size=1, seed=None):
        pass


class NoSeed(Task):
    def __init__(self, batch_size=1):
        pass


class Clash(MyTask):
    def __init__(self, num_units=3, batch_size=1, seed=None):
        super().__init__(batch_size=batch_size, seed=seed)
'''
TINY = ["--model", "dense", "--num-units", "4", "--num-layers", "1", "--batch-size", "2"]
TINY += ["--quiet", "--max-steps", "3", "--schedule", "constant"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The current folder has a module of tasks; what is imported from there is forgotten afterwards."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    Path("my_module.py").write_text(MODULE)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def assert_exit(words, capsys, code=WRONG_USAGE):
    """Run a command line that ends in a message, which is returned."""
    try:
        ended = main(words)
    except SystemExit as stop:
        ended = stop.code
    assert ended == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.slow
def test_train_resume_evaluate_plot_compare(capsys):
    train = ["train", "my_module:MyTask", *TINY, "--max-length", "3", "--flip"]
    assert main(train) == NOT_SOLVED
    run, task = "runs/MyTask-dense-1", ["--task", "my_module:MyTask"]
    assert f"{run}: dense learns my_module:MyTask" in capsys.readouterr().out
    saved = json.loads(Path(run, "settings.json").read_text())
    assert saved["task"] == "my_module:MyTask"
    assert saved["task_options"] == {"max_length": 3, "flip": True}
    assert "own_task" not in saved

    for command in ("resume", "evaluate", "plot"):
        error = assert_exit([command, run], capsys, FAILED)
        assert "a name in a file is never imported" in error
        assert "type the name: --task my_module:MyTask" in error
    assert main(["resume", run, *task, "--max-steps", "5", "--quiet"]) == NOT_SOLVED
    assert "from step 3" in capsys.readouterr().out
    assert main(["evaluate", run, *task, "--size", "length=6", "--json"]) == DONE
    sizes = [row["sizes"] for row in json.loads(capsys.readouterr().out)]
    assert sizes == [{}, {"length": 6}]
    assert main(["plot", run, *task, "--output", "picture.png"]) == DONE
    assert Path("picture.png").exists()

    words = ["compare", "my_module:MyTask", "--models", "dense", "gru", *TINY[2:]]
    assert main([*words, "--folder", "compared"]) == NOT_SOLVED
    assert Path("compare-MyTask.png").exists()
    assert {path.name for path in Path("compared").iterdir()} == {"MyTask-dense-1", "MyTask-gru-1"}


@pytest.mark.slow
def test_a_resumed_run_is_the_same(capsys):
    arrays = []
    for folder, stops in (("straight", (6,)), ("resumed", (2, 6))):
        words = ["train", "my_module:MyTask", *TINY, "--folder", folder]
        assert main([*words, "--max-steps", str(stops[0])]) == NOT_SOLVED
        for stop in stops[1:]:
            words = ["resume", folder, "--task", "my_module:MyTask", "--quiet"]
            assert main([*words, "--max-steps", str(stop)]) == NOT_SOLVED
        arrays.append(read_arrays(list_checkpoints(folder)[-1])[0])
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name])


def test_options_of_the_constructor():
    words = ["train", "my_module:MyTask", "--flip", "--max-length", "9", "--model", "dnc"]
    options = make_parser().parse_args(words)
    settings = get_settings(options, options.task_class)
    task = settings.make_task()
    assert type(task).__name__ == "MyTask"
    assert (task.flip, task.sizes) == (True, {"length": (1, 9)})
    assert settings.evaluate_at == [{"length": 9}]
    # Neither a number nor a string nor a truth value
    assert not hasattr(options, "table")


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "my_module:MyTask", "--help"])
    assert stop.value.code == 0
    output = capsys.readouterr().out
    assert "my_module:MyTask: Is the number of ones so far odd?" in output
    assert "whether to ask for even instead (default: False)" in " ".join(output.split())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:MyTask", "there is no module 'nowhere' in the current folder, "),
        ("my_module.part:MyTask", "there is no module 'my_module.part'"),
        (
            "my_module:MyTsak",
            "the module my_module has no name 'MyTsak'; did you mean my_module:MyTask?",
        ),
        ("my_module:Other", "my_module:Other must be a subclass of ntm.tasks.Task, not <class"),
        ("my_module:Task", "my_module:Task must be a subclass of ntm.tasks.Task"),
        ("my_module:np", "my_module:np must be a subclass of ntm.tasks.Task, not <module 'numpy'"),
        ("my_module:Needs", "my_module:Needs: the constructor needs table: give each argument"),
        ("my_module:NoSeed", "my_module:NoSeed: the constructor must take seed, and hand"),
        ("my_module:Clash", "--num-units is an option of ntm train already: give that argument"),
        ("my_module.py:MyTask", "expected module:Class, such as my_module:MyTask for the class"),
        ("../my_module:MyTask", "expected module:Class"),
        (":MyTask", "expected module:Class"),
    ],
)
def test_names_that_are_none(name, message, capsys):
    assert message in assert_exit(["train", name], capsys)
    if name != "my_module:Clash":
        assert message in assert_exit(["resume", "nowhere", "--task", name], capsys)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nowhere", "broken.py, line 1: ModuleNotFoundError: No module named 'nowhere'"),
        (
            "def f():\n    return one\nf()",
            "broken.py, line 2: NameError: name 'one' is not defined",
        ),
        ("x = (", "broken.py, line 1: SyntaxError: '(' was never closed"),
        ("import sys\nsys.exit(0)", "broken.py, line 2: SystemExit: 0"),
        ("raise RuntimeError('a\\nb' * 1000)", "broken.py, line 1: RuntimeError: a ba ba b"),
        ("import json\n\njson.loads('{')", "broken.py, line 3: JSONDecodeError: Expecting"),
    ],
)
def test_a_module_that_fails(code, message, capsys):
    Path("broken.py").write_text(code)
    error = assert_exit(["train", "broken:MyTask"], capsys)
    assert "importing broken failed: " in error
    assert message in error
    assert len(error) < 600


@pytest.mark.parametrize("command", ["resume", "evaluate", "plot"])
@pytest.mark.parametrize("typed", [[], ["--task", "my_module:MyTask"]])
def test_a_name_in_a_file_is_never_imported(command, typed, capsys):
    """A stranger's run, with a module beside it."""
    Path("run").mkdir()
    for folder in (".", "run"):
        Path(folder, "evil.py").write_text("open('harm', 'w').close()\n" + MODULE)
    settings = make_settings("copy", "dense").to_json()
    for task in ("evil:Evil", "evil:MyTask", "evil.part:Evil", "os:system"):
        Path("run", "settings.json").write_text(json.dumps(settings | {"task": task}))
        if task.endswith(":MyTask") and typed:
            continue  # The class that was typed has the name
        error = assert_exit([command, "run", *typed], capsys, FAILED)
        assert f"the run in run: the task is {task}, " in error
        assert ("my_module:MyTask was given" if typed else "never imported") in error
    for task in ("evil:Evil()", "__import__('evil'):x", "evil:MyTask\n", ["evil:MyTask"], {}):
        Path("run", "settings.json").write_text(json.dumps(settings | {"task": task}))
        assert "does not hold the settings" in assert_exit([command, "run", *typed], capsys, FAILED)
    extra = settings | {"task": "evil:MyTask", "own_task": "evil:MyTask"}
    Path("run", "settings.json").write_text(json.dumps(extra))
    assert_exit([command, "run", *typed], capsys, FAILED)
    assert not Path("harm").exists()
    assert "evil" not in sys.modules


def test_a_task_that_is_not_that_of_the_run(capsys):
    Run.create("run", make_settings("copy", "dense", model_options={"num_units": 4}))
    error = assert_exit(["resume", "run", "--task", "my_module:MyTask"], capsys, FAILED)
    assert "the task is copy, not my_module:MyTask" in error


def test_in_a_program():
    task = import_task("my_module:MyTask")
    settings = make_settings(task, "dnc", task_options={"max_length": 3}, learning_rate=0.5)
    assert (settings.task, settings.learning_rate) == ("my_module:MyTask", 0.5)
    assert settings.optimizer == "adam"
    created = Run.create("run", settings)
    with pytest.raises(OwnTaskError, match=r"in a program: task=MyTask\)"):
        read_settings("run")
    # The module may have been moved, but the class has the name
    moved = type("MyTask", (task,), {"__module__": "elsewhere"})
    read = read_settings("run", moved)
    assert (read, type(read.make_task())) == (created.settings, moved)
    assert Run.open("run", task=task).settings == created.settings
