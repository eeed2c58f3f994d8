import importlib.util
import json
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from ntm.cli import make_parser
from ntm.experiments.settings import make_settings
from ntm.sweeps import Ended, Engine

PATH = Path(__file__).parents[1] / "scripts" / "reproduce.py"


@pytest.fixture(scope="module")
def reproduce():
    spec = importlib.util.spec_from_file_location("reproduce", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put_run(folder, name, settings, ended, measures):
    run = folder / "trials" / name
    run.mkdir(parents=True, exist_ok=True)
    (run / "settings.json").write_text(json.dumps(asdict(settings)))
    result = {
        "ended": ended,
        "sequences": 1200,
        "seconds": 90.0,
        "skipped": 3,
        "restarts": 2,
        "parameters": 34567,
        "measures": measures,
        "machine": "a processor, 2 cores",
        "date": "2026-01-01",
    }
    (run / "result.json").write_text(json.dumps(result))


@pytest.mark.slow
def test_every_entry_is_a_command(reproduce):
    parser = make_parser()
    for entry in reproduce.PLAN:
        make_settings(entry.task, entry.model)
        options = parser.parse_args(["train", entry.task, *entry.options])
        assert options.model == entry.model
        assert entry.seeds > 0
    names = [entry.name for entry in reproduce.PLAN]
    assert len(set(names)) == len(names)


def test_an_entry_as_trials(reproduce):
    entry = reproduce.Entry("copy", 3, ["--controller", "dense", "--clip-norm", "10"])
    first, last = entry.make_trials([0, 2], make_parser())
    assert (first.name, last.name) == (
        "copy-controller-dense-clip-norm-10-0",
        "copy-controller-dense-clip-norm-10-2",
    )
    assert first.values == {"task": "copy", "controller": "dense", "clip_norm": "10"}
    expected = make_settings(
        "copy", seed=2, model_options={"controller": "dense"}, clip_norm=10.0, devices=1
    )
    assert last.settings == expected


class FakeEngine(Engine):
    """Runs trials in no time; those with an odd seed fail. After `most` trials, the sweep is told to end."""

    most = 100

    def __init__(self, folder, task=None, jobs=None):
        super().__init__(folder, task)
        self.jobs, self.started = jobs, []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def count_slots(self):
        return 1

    def start(self, trial):
        self.started.append(trial)

    def wait(self, seconds):
        trial = self.started.pop()
        type(self).most -= 1
        if self.most < 0:
            signal.raise_signal(signal.SIGINT)
            return []
        if trial.seed % 2:
            return [Ended(trial, "out of memory")]
        put_run(self.folder, trial.name, trial.settings, "done", [ROW_OF_COPY])
        return [Ended(trial)]

    def stop(self, trial):
        raise AssertionError


@pytest.fixture
def run_script(reproduce, tmp_path, monkeypatch):
    """Run the script with a plan of two entries."""
    plan = [
        reproduce.Entry("copy", 3, ["--controller", "dense"]),
        reproduce.Entry("sort", 1, ["--model", "lstm"]),
    ]
    monkeypatch.setattr(reproduce, "PLAN", plan)
    monkeypatch.setattr(reproduce, "LocalEngine", FakeEngine)

    def run_script(*words):
        folders = ["--folder", tmp_path / "sweep", "--output", tmp_path / "results.md"]
        monkeypatch.setattr("sys.argv", ["reproduce.py", *words, *map(str, folders)])
        return reproduce.main()

    return run_script


def test_the_plan_is_a_sweep(run_script, tmp_path, capsys):
    assert run_script("--only", "copy") == 1  # A seed failed
    text = (tmp_path / "results.md").read_text()
    assert "ntm dense | 0 of 2 | 1,200 (1,200 to 1,200) |" in text
    assert "- sort-model-lstm." in text
    assert "copy-controller-dense-1 failed: out of memory" in capsys.readouterr().err
    trials = tmp_path / "sweep" / "trials"
    assert sorted(each.name for each in trials.iterdir()) == [
        f"copy-controller-dense-{seed}" for seed in range(3)
    ]
    # The sweep goes on, and takes more of the plan
    (trials / "copy-controller-dense-1" / "failed.json").unlink()
    put_run(
        tmp_path / "sweep", "copy-controller-dense-1", make_settings("copy"), "done", [ROW_OF_COPY]
    )
    assert run_script() == 0
    text = (tmp_path / "results.md").read_text()
    assert "ntm dense | 0 of 3 |" in text
    assert "## sort-model-lstm" in text
    assert run_script("--report") == 0


def test_a_sweep_that_is_interrupted_has_a_report(run_script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FakeEngine, "most", 1)
    assert run_script("--only", "copy", "--seeds", "3") == 130
    assert "Interrupted" in capsys.readouterr().err
    assert "ntm dense | 0 of 1 | 1,200 |" in (tmp_path / "results.md").read_text()


def test_an_entry_of_the_plan_is_asked_for_by_its_name(run_script, tmp_path):
    assert run_script("--only", "sort-model-lstm", "--models", "sdnc") == 0
    assert [each.name for each in (tmp_path / "sweep/trials").iterdir()] == ["sort-model-lstm-0"]


def test_no_network_that_is_asked_for_is_in_the_plan(run_script):
    with pytest.raises(SystemExit):
        run_script("--only", "copy", "--models", "sdnc")


@pytest.mark.slow
def test_a_tiny_plan_is_trained(reproduce, tmp_path, monkeypatch):
    options = ["--model", "lstm", "--num-units", "5", "--num-layers", "1"]
    options += ["--max-steps", "10", "--max-length", "2", "--size", "2"]
    monkeypatch.setattr(reproduce, "PLAN", [reproduce.Entry("copy", 1, options)])
    output = tmp_path / "results.md"
    words = ["--models", "lstm", "--folder", str(tmp_path / "sweep"), "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["reproduce.py", *words])
    assert reproduce.main() == 0
    assert "| lstm | 0 of 1 | " in output.read_text()


def test_other_memories_are_in_the_plan_and_wait_to_be_asked_for(reproduce):
    tasks = {"copy", "repeat-copy", "associative-recall", "sort", "addition", "argmax"}
    for model in ("dnc", "sam", "sdnc"):
        entries = [entry for entry in reproduce.PLAN if entry.model == model]
        assert {entry.task for entry in entries if entry.seeds == 3} == tasks
        assert model not in reproduce.DEFAULT_MODELS


def test_report(reproduce, tmp_path):
    entry = reproduce.Entry("copy", 3, ["--controller", "gru"], "published", "A note.")
    other = reproduce.Entry("argmax", 1)
    settings = make_settings("copy", model_options={"controller": "gru"})
    for seed, bits in enumerate([0.004, 0.02]):
        rows = [
            {"sizes": {}, "bits": bits, "wrong_bits": bits, "correct": 0.995},
            {"sizes": {"length": 20}, "bits": 1.0, "wrong_bits": 1.89, "correct": 0.5},
        ]
        put_run(tmp_path, f"{entry.name}-{seed}", settings, "done", rows)
    rows = [{"sizes": {}, "error": 0.25, "correct": 1.0}]
    put_run(tmp_path, f"{other.name}-0", make_settings("argmax"), "done", rows)
    graphs = reproduce.Entry("graph-traversal", 1, ["--model", "dnc"])
    rows = [{"sizes": {}, "bits": 0.5, "wrong": 0.25, "correct": 0.9}]
    put_run(tmp_path, f"{graphs.name}-0", make_settings("graph-traversal", "dnc"), "done", rows)
    path = tmp_path / "results.md"
    waiting = reproduce.Entry("sort", 1, note="Takes long.")
    reproduce.write_report([entry, other, graphs, waiting], tmp_path, path)
    text = path.read_text()
    assert "- a processor, 2 cores, 2026-01-01\n" in text
    assert "| [copy](#copy-controller-gru) | ntm gru | 1 of 2 | 1,200 (1,200 to 1,200) |" in text
    assert "Seeds that were not solved: 1." in text
    assert "A note." in text
    assert "| 0 | 1,200 | 1.5 | 3 | 2 | 0.004 bits; 0.004; 99.5% |" in text
    # 1.89 of 20 x 9 bits that count are wrong
    assert "| 1.89; 98.95%; 50.0% |" in text
    assert "| 0.25; 100.0% |" in text
    assert "| [graph-traversal](#graph-traversal-model-dnc) | dnc lstm | 0 of 1 |" in text
    assert "| 0.5 bits; 0.25; 90.0% |" in text
    assert "## Not trained to the end\n\n- sort. Takes long.\n" in text


def test_a_report_keeps_what_was_trained_elsewhere(reproduce, tmp_path):
    entries = [reproduce.Entry("argmax", 2, note="A note."), reproduce.Entry("sort", 1)]
    path = tmp_path / "results.md"
    for k, name in enumerate(("argmax", "sort")):
        folder = tmp_path / name
        measure = ({"error": 0.25}, {"bits": 0.5, "wrong_bits": 0.75})[k]
        rows = [{"sizes": {}, "correct": 0.9, **measure}]
        put_run(folder, f"{name}-0", make_settings(name), "done", rows)
    reproduce.write_report(entries, tmp_path / "argmax", path)
    before = path.read_text().splitlines()
    assert "- sort." in before
    reproduce.write_report(entries, tmp_path / "sort", path)
    after = path.read_text().splitlines()
    assert [line for line in before if line not in after] == [
        "## Not trained to the end",
        "- sort.",
    ]
    assert "| 0 | 1,200 | 1.5 | 3 | 2 | 0.5 bits; 0.75; 90.0% |" in after
    # What is trained here takes the place of what was there, and notes are those of the plan
    (row,) = json.loads((tmp_path / "argmax/trials/argmax-0/result.json").read_text())["measures"]
    put_run(tmp_path / "argmax", "argmax-1", make_settings("argmax"), "done", [row | {"error": 2}])
    reproduce.write_report([reproduce.Entry("argmax", 2), entries[1]], tmp_path / "argmax", path)
    lines = path.read_text().splitlines()
    assert "A note." not in lines
    assert "| 1 | 1,200 | 1.5 | 3 | 2 | 2; 90.0% |" in lines
    assert len(lines) == len(after) - 2 + 1
    # A single seed does not take the place of two, and a section that was the last one may become another
    rows = [{"sizes": {}, "correct": 0.5, "error": 9}]
    put_run(tmp_path, "argmax-0", make_settings("argmax"), "done", rows)
    put_run(tmp_path, "copy-0", make_settings("copy"), "done", [ROW_OF_COPY])
    plan = [reproduce.Entry("argmax", 2), entries[1], reproduce.Entry("copy", 1)]
    reproduce.write_report(plan, tmp_path, path)
    more = path.read_text().splitlines()
    assert [line for line in lines if line not in more] == []
    assert more[more.index("## copy") - 1] == more[more.index("## copy") + 1] == ""
    assert "9; 50.0%" not in path.read_text()


ROW_OF_COPY = {"sizes": {}, "bits": 0.5, "wrong_bits": 0.75, "correct": 0.9}


def test_a_result_of_before_restarts_were_counted(reproduce, tmp_path):
    put_run(tmp_path, "copy-0", make_settings("copy"), "done", [ROW_OF_COPY])
    result = tmp_path / "trials" / "copy-0" / "result.json"
    old = {key: value for key, value in json.loads(result.read_text()).items() if key != "restarts"}
    result.write_text(json.dumps(old))
    path = tmp_path / "results.md"
    reproduce.write_report([reproduce.Entry("copy", 1)], tmp_path, path)
    assert "| 0 | 1,200 | 1.5 | 3 | 0 | 0.5 bits; 0.75; 90.0% |" in path.read_text()


def test_a_report_without_results(reproduce, tmp_path):
    path = tmp_path / "results.md"
    reproduce.write_report(reproduce.PLAN, tmp_path, path)
    assert path.read_text().startswith("# Results")
