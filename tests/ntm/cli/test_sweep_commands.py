"""The command `ntm sweep`: which trials it asks for, and what runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytensor
import pytest

from ntm.cli import main, sweep_commands
from ntm.experiments import DataSettings, make_settings, read_settings
from ntm.serialization.arrays import read_arrays
from ntm.sweeps import Ended, RayEngine, read_trials
from ntm.sweeps.local import make_environment
from ntm.sweeps.trials import Trial

from ..experiments.data_files import write_classes
from ..sweeps.fakes import FakeEngine, write_result

SMALL = ["--model", "dense", "--num-units", "3", "--num-layers", "1", "--max-length", "2"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The command line sets floatX, and writes into the current folder."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def reports(monkeypatch):
    """The reports that commands write, which take seconds: the folder, and whether there is a page."""
    written = []

    def write(folder, task, page=True):
        written.append((str(folder), page))
        return 0

    monkeypatch.setattr(sweep_commands, "_write_report", write)
    return written


@pytest.fixture
def engines(monkeypatch, reports):
    """The engines that commands make, which run nothing."""
    made = []

    def solve(trial, folder, count):
        write_result(folder, 0.001, True, of_data=isinstance(trial.settings, DataSettings))
        return Ended(trial)

    def make(folder, task=None, jobs=None):
        made.append(FakeEngine(folder, solve, jobs or 2))
        made[-1].task = task
        return made[-1]

    monkeypatch.setattr(sweep_commands, "LocalEngine", make)
    return made


def sweep(*words):
    return main(["sweep", *words])


def test_a_grid_over_settings_and_seeds(engines):
    words = ["--seeds", "0-1,7", "--set", "learning_rate=1e-4,3e-4", "memory-slots=8,16"]
    assert sweep("copy", *words, "--max-steps", "50", "--set", "rewind=true,no", "--quiet") == 0
    trials = read_trials("sweeps/copy")
    assert len(trials) == 3 * 2 * 2 * 2
    found = {
        (
            each.seed,
            each.settings.learning_rate,
            each.settings.model_options["memory_slots"],
            each.settings.rewind,
        )
        for each in trials
    }
    assert len(found) == 24
    assert (7, 3e-4, 16, False) in found
    assert {each.settings.max_steps for each in trials} == {50}
    assert {each.settings.devices for each in trials} == {1}
    assert trials[0].values == {"learning_rate": "1e-4", "memory_slots": "16", "rewind": "no"}
    (engine,) = engines
    assert [engine.slots, engine.task, len(engine.started)] == [2, None, 24]
    # The first setting changes slowest, then the others, then the seeds
    assert engine.started[:4] == [
        "learning_rate=1e-4,memory_slots=8,rewind=true,seed=0",
        "learning_rate=1e-4,memory_slots=8,rewind=true,seed=1",
        "learning_rate=1e-4,memory_slots=8,rewind=true,seed=7",
        "learning_rate=1e-4,memory_slots=8,rewind=no,seed=0",
    ]


def test_ten_seeds_unless_others_are_given(engines):
    assert sweep("copy", *SMALL, "--devices", "2", "--quiet") == 0
    trials = read_trials("sweeps/copy")
    assert sorted(each.seed for each in trials) == [*range(10)]
    assert {each.settings.devices for each in trials} == {2}


def test_a_network_has_its_own_defaults(engines):
    assert sweep("copy", "--seeds", "1", "--set", "model=ntm,lstm", "--quiet") == 0
    rates = {
        each.settings.model: each.settings.learning_rate for each in read_trials("sweeps/copy")
    }
    alone = {model: make_settings("copy", model).learning_rate for model in rates}
    assert rates == alone
    assert len({*rates.values()}) == 2


def test_a_sweep_on_data(engines):
    write_classes("d.npz")
    words = ["--data", "d.npz", "--validation", "0.2", "--model", "dense", "--seeds", "0-1"]
    assert sweep(*words, "--set", "epochs=1,2", "--quiet") == 0
    trials = read_trials("sweeps/d")
    assert sorted((each.seed, each.settings.epochs) for each in trials) == [
        (0, 1), (0, 2), (1, 1), (1, 2),
    ]  # fmt: skip
    assert {each.settings.validation_share for each in trials} == {0.2}
    assert {each.settings.data for each in trials} == {str(Path("d.npz").resolve())}


def test_a_task_of_the_users_own(engines, monkeypatch):
    Path("mine_for_sweeps.py").write_text(
        "from ntm.tasks import CopyTask\n\n\nclass Mine(CopyTask):\n    '''Copy.'''\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    assert sweep("mine_for_sweeps:Mine", "--seeds", "0", "--set", "max_length=2,3", "--quiet") == 0
    assert engines[0].task.__name__ == "Mine"
    trials = read_trials("sweeps/Mine", engines[0].task)
    assert [each.settings.task_options["max_length"] for each in trials] == [2, 3]


@pytest.mark.parametrize("kind", ["random", "optuna"])
@pytest.mark.slow
def test_searches_that_draw(engines, kind):
    words = ["--seeds", "0-1", "--search", kind, "--trials", "3", "--search-seed", "4", "--quiet"]
    words += ["--set", "learning_rate=log:1e-5..1e-2", "num_units=2..9"]
    assert sweep("copy", *SMALL[:2], *words) == 0
    trials = read_trials("sweeps/copy")
    assert [each.name for each in trials] == [f"00{k},seed={s}" for k in range(3) for s in range(2)]
    found = {(each.settings.learning_rate, *each.values.values()) for each in trials}
    assert len(found) == 3
    for rate, word, units in found:
        assert rate == float(word)
        assert 1e-5 <= rate <= 1e-2
        assert 2 <= int(units) <= 9
    assert sweep("copy", *SMALL[:2], *words, "--folder", "again") == 0
    assert {each.settings.learning_rate for each in read_trials("again")} == {
        each[0] for each in found
    }
    words[words.index("4")] = "5"
    assert sweep("copy", *SMALL[:2], *words, "--folder", "other") == 0
    assert {each.settings.learning_rate for each in read_trials("other")} != {
        each[0] for each in found
    }
    assert sweep("copy", *SMALL[:2], *words) == 1, "the folder is of another search"


@pytest.mark.slow
def test_optuna_is_told_what_to_minimise_and_whether_to_prune(monkeypatch):
    given = []

    def search(*arguments):
        given.append(arguments[4:])
        raise ValueError("enough")

    monkeypatch.setattr(sweep_commands, "OptunaSearch", search)
    words = ["copy", "--search", "optuna", "--set", "learning_rate=1e-4..1e-3"]
    assert sweep(*words) == 2
    assert sweep(*words, "--minimise", "sequences", "--prune", "--trials", "7") == 2
    assert given == [(20, 0, False, "measure"), (7, 0, True, "sequences")]


def test_where_trials_run(engines, monkeypatch):
    assert (
        sweep("copy", *SMALL, "--seeds", "0-3", "--jobs", "3", "--folder", "here", "--quiet") == 0
    )
    assert engines[0].slots == engines[0].most == 3
    assert engines[0].folder == Path("here")
    given = []
    monkeypatch.setattr(RayEngine, "__enter__", lambda self: given.append(self) or quit_now())

    def quit_now():
        raise OSError("enough")

    words = ["copy", *SMALL, "--engine", "ray", "--address", "auto", "--jobs", "5"]
    words += ["--gpus", "0.5"]
    assert sweep(*words, "--folder", "there") == 1
    assert [given[0].address, given[0].jobs, given[0].gpus] == ["auto", 5, 0.5]


@pytest.mark.slow
def test_the_report(monkeypatch, capsys):
    def act(trial, folder, count):
        write_result(folder, trial.settings.learning_rate, trial.seed == 1)
        return Ended(trial)

    monkeypatch.setattr(
        sweep_commands, "LocalEngine", lambda folder, *given: FakeEngine(folder, act)
    )
    assert sweep("copy", *SMALL, "--seeds", "0-2", "--set", "learning_rate=0.5,0.1", "--quiet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["rank", "learning", "rate", "seeds", "solved", "sequences"]
    assert lines[1].split()[:6] == ["1", "0.1", "3", "1", "of", "3"]
    assert lines[1].split()[-1] == "best"
    assert lines[2].split()[:6] == ["2", "0.5", "3", "1", "of", "3"]
    report = Path("sweeps/copy/report.md")
    text = report.read_text()
    report.unlink()
    assert sweep("copy", "--report") == 0
    assert report.read_text() == text
    assert lines[:3] == capsys.readouterr().out.splitlines()[:3]
    assert sweep("copy", "--report", "--folder", "nowhere") == 1
    assert "there is no sweep in nowhere" in capsys.readouterr().err


def test_exit_codes(engines, reports, monkeypatch, capsys):
    words = ["copy", *SMALL, "--seeds", "0-2", "--quiet"]

    def act(trial, folder, count):
        if trial.seed == 1:
            return Ended(trial, "ValueError: boom")
        if trial.seed == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        write_result(folder, 5.0, False)
        return Ended(trial)

    monkeypatch.setattr(
        sweep_commands, "LocalEngine", lambda folder, *given: FakeEngine(folder, act, 1)
    )
    words[words.index("0-2")] = "0-1"
    assert sweep(*words) == 1
    said = capsys.readouterr()
    assert "seed=1 failed: ValueError: boom" in said.err
    assert "1 trial failed" in said.out
    words[words.index("0-1")] = "0,2-3"
    assert sweep(*words) == 130
    assert "1 trial has not ended" in capsys.readouterr().out
    # The page takes a while: not after Ctrl-C
    assert reports == [("sweeps/copy", True), ("sweeps/copy", False)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-steps", "70"], "of settings, max_steps is 50 there, not 70. Choose"),
        (
            ["--max-steps", "50", "--controller", "lstm"],
            "of settings, controller is None there, not 'lstm'",
        ),
        (["--max-steps", "50", "--search", "random"], "search is 'grid' there, not 'random'"),
    ],
)
def test_other_settings_are_refused_for_more_seeds_and_values(engines, words, message, capsys):
    words = ["copy", "--quiet", *words]
    assert (
        sweep("copy", "--max-steps", "50", "--quiet", "--seeds", "0", "--set", "batch_size=1") == 0
    )
    more = ["--seeds", "1", "--set", "batch_size=2"]
    assert sweep(*words, *more) == 1
    assert message in capsys.readouterr().err
    assert len(read_trials("sweeps/copy")) == 1
    assert sweep("copy", "--max-steps", "50", "--quiet", *more) == 0
    assert sweep("sort", *words[1:], *more, "--folder", "sweeps/copy") == 1
    assert "task is 'copy' there, not 'sort'" in capsys.readouterr().err


@pytest.mark.slow
def test_data_that_were_moved(engines, capsys):
    write_classes("d.npz")
    words = ["--model", "dense", "--validation", "0.2", "--quiet", "--folder", "s"]
    assert sweep("--data", "d.npz", *words, "--seeds", "0") == 0
    Path("d.npz").rename("e.npz")
    assert sweep("--data", "e.npz", *words, "--seeds", "0-1") == 0
    assert engines[1].started == ["seed=1"]
    assert {each.settings.data for each in read_trials("s")} == {str(Path("e.npz").resolve())}
    write_classes("f.npz", seed=5)
    assert sweep("--data", "f.npz", *words, "--seeds", "2") == 1
    assert "other settings: data" in capsys.readouterr().err
    words[3] = "0.3"
    assert sweep("--data", "e.npz", *words, "--seeds", "2") == 1
    assert "of settings, validation_share is 0.2 there, not 0.3" in capsys.readouterr().err


def test_a_sweep_that_is_interrupted_while_it_is_planned(engines, monkeypatch, capsys):
    write = Trial.write

    def write_and_interrupt(trial, folder):
        os.kill(os.getpid(), signal.SIGINT)
        return write(trial, folder)

    words = ["copy", "--quiet", "--seeds", "0-9", "--max-steps", "50"]
    with monkeypatch.context() as patch:
        patch.setattr(Trial, "write", write_and_interrupt)
        assert sweep(*words) == 130
    assert "10 trials have not ended. The same command goes on." in capsys.readouterr().out
    assert len(read_trials("sweeps/copy")) == 1
    assert sweep(*words) == 0
    assert len(read_trials("sweeps/copy")) == 10


def test_a_value_written_in_another_way_is_no_other_trial(engines, capsys):
    words = ["copy", "--quiet", "--seeds", "0", "--max-steps", "50"]
    assert sweep(*words, "--set", "learning_rate=1e-3", "batch_size=1") == 0
    # The order of the settings makes no difference
    assert sweep(*words, "--set", "batch_size=1", "learning_rate=1e-3") == 0
    capsys.readouterr()
    assert sweep(*words, "--set", "learning_rate=0.001,0.1", "batch_size=1") == 1
    message = "learning_rate=1e-3 and batch_size=1, learning_rate=0.001 give the same settings"
    assert message in capsys.readouterr().err
    assert len(list(Path("sweeps/copy/trials").iterdir())) == 1


@pytest.mark.slow
def test_a_search_that_was_interrupted_between_trials_has_not_ended(engines, reports, monkeypatch):
    def act(trial, folder, count):
        os.kill(os.getpid(), signal.SIGTERM)
        write_result(folder, 5.0, False)
        return Ended(trial)

    monkeypatch.setattr(
        sweep_commands, "LocalEngine", lambda folder, *given: FakeEngine(folder, act, 1)
    )
    words = ["copy", *SMALL, "--search", "optuna", "--trials", "2", "--seeds", "0", "--quiet"]
    words += ["--set", "learning_rate=1e-4..1e-2"]
    assert sweep(*words) == 130
    assert sweep(*words) == 0, "the second trial was the last"
    assert reports == [("sweeps/copy", False), ("sweeps/copy", True)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "learning_rte=1,2"], "no such setting; did you mean learning_rate?"),
        (["--set", "seed=1,2"], "give the seeds by --seeds"),
        (["--seed", "1"], "takes --seeds"),
        (["--seeds", "5-1"], "expected 1-5"),
        (["--set", "learning_rate=abc"], "argument --learning-rate"),
        (["--set", "learning_rate=-1"], "argument --learning-rate"),
        (["--set", "rewind=maybe"], "expected true or false, not 'maybe'"),
        (["--set", "model=ntm,foo"], "argument --model"),
        (["--set", "model=ntm,lstm", "memory_slots=8"], "lstm has no option 'memory_slots'"),
        (["--set", "learning_rate=1e-4", "--learning-rate", "1"], "given, and varied by --set too"),
        (["--set", "model=ntm,dnc", "--model", "lstm"], "--model is given, and varied by --set"),
        (["--set", "learning_rate=1e-3,0.001"], "learning_rate=0.001 give the same settings"),
        (["--set", "learning_rate=1..2"], "a grid needs values"),
        (["--set", "data=x"], "no such setting"),
        (["--set", "folder=x"], "no such setting"),
        (["--trials", "3"], "--trials is for --search random and optuna, not for grid"),
        (["--search-seed", "3"], "--search-seed is for --search random and optuna"),
        (["--search", "random", "--prune"], "--prune is for --search optuna, not for random"),
        (["--minimise", "measure"], "--minimise is for --search optuna"),
        (["--search", "random"], "needs something to vary"),
        (["--search", "optuna"], "needs something to vary"),
        (["--address", "auto"], "--address is for --engine ray"),
        (["--gpus", "1"], "--gpus is for --engine ray"),
        (["--jobs", "0"], "argument --jobs"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(engines, words, message, capsys):
    try:
        code = sweep("copy", *words)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not Path("sweeps").exists()


# ---- Real processes


def start(*words):
    """Start a sweep in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ntm", "sweep", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTENSOR_FLAGS": "cxx="},
    )


def find_step(folder):
    """Return the step of the latest checkpoint of a run."""
    names = sorted(path.stem for path in Path(folder).glob("checkpoint-*"))
    return int(names[-1].removeprefix("checkpoint-")) if names else 0


def read_end(folder):
    """Return the parameters, the optimiser's state and the losses at the end of a run."""
    arrays, _ = read_arrays(max(Path(folder).glob("checkpoint-*")))
    return arrays


def find_processes(folder):
    """Return the numbers of the processes that run trials of a sweep."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"ntm.sweeps.process" in words and any(str(folder).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


def wait_for(condition, process=None, seconds=120):
    """Wait for a condition, as long as a process runs."""
    latest = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < latest
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


CRASH = """
import os
import time
from pathlib import Path
from ntm.tasks import CopyTask


class Crash(CopyTask):
    '''Copy, but with one seed the process dies, and with another one the program is wrong.'''

    def __init__(self, batch_size=1, seed=0):
        super().__init__(batch_size=batch_size, seed=seed, max_length=2)
        self.number = seed

    def sample(self, *given, **sizes):
        if self.number == 1 and "ntm.sweeps.process" in " ".join(os.sys.orig_argv):
            os._exit(77)
        if self.number == 2 and "ntm.sweeps.process" in " ".join(os.sys.orig_argv):
            raise ZeroDivisionError("a wrong program")
        if Path("slow").exists():
            time.sleep(0.05)
        return super().sample(*given, **sizes)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are found in /proc")
def test_a_sweep_that_is_killed_goes_on_to_the_same_numbers(tmp_path):
    """SIGKILL of the sweep, then SIGINT, then crashes: the trial that is well ends as it does alone."""
    Path("crash.py").write_text(CRASH)
    words = ["crash:Crash", *SMALL[:6], "--max-steps", "300", "--save-every", "10"]
    words += ["--solve-every", "0", "--log-every", "10", "--batch-size", "4"]
    sweep_words = [*words, "--seeds", "0-2", "--folder", "s", "--jobs", "3"]
    trial = tmp_path / "s/trials/seed=0"
    # Until it is taken away, a step takes so long that no trial ends before it is killed or interrupted
    slow = Path("slow")
    slow.touch()

    # Killed: its processes save and end
    process = start(*sweep_words)
    wait_for(lambda: find_step(trial), process)
    assert find_processes("s/trials")
    process.kill()
    process.communicate()
    wait_for(lambda: not find_processes("s/trials"))
    step = find_step(trial)
    assert 0 < step < 300

    # Interrupted
    process = start(*sweep_words)
    wait_for(lambda: find_step(trial) > step + 10, process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert not find_processes("s/trials")
    assert not (trial / "result.json").exists()

    # To the end, with two trials that fail
    slow.unlink()
    process = start(*sweep_words)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert "seed=1 failed: The process ended with exit code 77." in said
    assert "ZeroDivisionError: a wrong program" in said
    assert read_settings(trial, import_crash()).seed == 0
    failed = [json.loads((tmp_path / f"s/trials/seed={k}/failed.json").read_text()) for k in (1, 2)]
    assert "77" in failed[0]["error"]
    assert 'raise ZeroDivisionError("a wrong program")' in failed[1]["error"]

    alone = [sys.executable, "-m", "ntm", "train", *words, "--seed", "0", "--folder", "alone"]
    # With one thread, as trials: with several, sums are rounded in another order
    environment = {**make_environment(os.environ), "PYTENSOR_FLAGS": "cxx="}
    subprocess.run([*alone, "--devices", "1", "--quiet"], check=False, env=environment)
    arrays, expected = read_end(trial), read_end("alone")
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def import_crash():
    from ntm.experiments.own_tasks import import_task

    return import_task("crash:Crash")
