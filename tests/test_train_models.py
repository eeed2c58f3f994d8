"""The script that trains the networks of models/: which runs it keeps, and that the page is that of the files."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from lasagne.layers import DenseLayer, InputLayer
from ntm.cli import make_parser
from ntm.experiments.settings import make_settings
from ntm.files import write_json
from ntm.models import list_models
from ntm.serialization import load, read_notes, save
from ntm.sweeps.report import rank_result

ROOT = Path(__file__).parents[1]
PATH = ROOT / "scripts" / "train_models.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_models", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_result(right, bits=0.005, solved=True):
    """The result of a run that has shares of the sequences right at sizes beyond training."""
    rows = [{"sizes": {}, "bits": bits, "correct": 1.0}]
    rows += [{"sizes": {"length": k}, "bits": 9.0, "correct": each} for k, each in enumerate(right)]
    return {"measures": rows, "solved": solved}


def put_run(script, folder, model, seed, result):
    run = model.find_run(folder, seed)
    run.mkdir(parents=True)
    write_json(run / "settings.json", make_settings("copy", "dense").to_json())
    write_json(run / "result.json", result)


def test_the_best_run_is_kept(script, tmp_path, capsys):
    model = script.Model("copy", [0, 1, 2, 3])
    assert script.choose(model, tmp_path) is None
    put_run(script, tmp_path, model, 0, make_result([1.0, 1.0], solved=False))
    assert script.choose(model, tmp_path) is None  # It has not solved the task
    assert "copy: no run has solved the task" in capsys.readouterr().out
    put_run(script, tmp_path, model, 3, make_result([1.0, 0.3], bits=0.001))
    assert script.choose(model, tmp_path)[0] == 3
    put_run(script, tmp_path, model, 1, make_result([0.9, 0.8], bits=0.009))
    assert script.choose(model, tmp_path)[0] == 1  # It generalises better
    put_run(script, tmp_path, model, 2, make_result([0.9, 0.8], bits=0.008))
    seed, result = script.choose(model, tmp_path)  # It has fewer bits in training
    assert (seed, result["measures"][0]["bits"]) == (2, 0.008)
    assert list(script.read_results(model, tmp_path)) == [0, 1, 2, 3]


def test_a_network_that_may_be_unsolved(script, tmp_path):
    model = script.Model("copy-lstm", [0], ["--model", "lstm"], may_be_unsolved=True, task="copy")
    put_run(script, tmp_path, model, 0, make_result([0.0], solved=False))
    assert script.choose(model, tmp_path)[0] == 0


def test_a_low_ratio_to_the_optimum_is_better():
    rows = [{"sizes": {}, "excess_bits": 2.0}, {"sizes": {"length": 9}, "correct": 0.0}]
    results = [
        {"measures": [rows[0], rows[1] | {"ratio": ratio}], "solved": True} for ratio in (1.02, 1.3)
    ]
    ranks = [rank_result(each, "excess_bits") for each in results]
    assert ranks[0] < ranks[1]


def test_numbers_in_half_precision(script, tmp_path, float32):
    network = DenseLayer(InputLayer((None, 300)), 100)
    save(tmp_path / "x", network, {"about": 1})
    size = (tmp_path / "x").stat().st_size
    script.store_in_half(tmp_path / "x")
    assert (tmp_path / "x").stat().st_size < 0.55 * size
    assert read_notes(tmp_path / "x") == {"about": 1}
    found, expected = (each.W.get_value() for each in (load(tmp_path / "x"), network))
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, expected.astype("float16"))


def test_the_plan_is_a_sweep(script, tmp_path, monkeypatch):
    given = {}

    def train_all(trials, folder, jobs, plan):
        given.update(names=[each.name for each in trials], folder=folder, jobs=jobs, plan=plan)
        return 130

    monkeypatch.setattr(script, "train_all", train_all)
    monkeypatch.setattr(script, "write_page", lambda models, path: None)
    words = ["--only", "dyck-words", "copy-dnc", "--jobs", "3", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["train_models.py", *words])
    assert script.main() == 130
    assert given == {
        "names": ["dyck-words-0", "dyck-words-1", "copy-model-dnc-0"],
        "folder": tmp_path,
        "jobs": 3,
        "plan": "train_models.py",
    }


@pytest.mark.slow
def test_every_network_is_trained_by_a_command(script):
    assert {model.name for model in list_models()} <= {each.name for each in script.PLAN}
    parser = make_parser()
    for each in script.PLAN:
        words = each.get_command(each.seeds[0]).split()
        options = parser.parse_args(words[1:])
        assert (words[:2], options.seed) == (["ntm", "train"], each.seeds[0])
        assert each.name.startswith(options.task)


def test_the_page_is_that_of_the_files(script, tmp_path):
    script.write_page(list_models(), tmp_path / "page.md")
    written = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    assert written == (tmp_path / "page.md").read_text(encoding="utf-8"), (
        "run python scripts/train_models.py --report --only copy"
    )
