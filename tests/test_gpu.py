"""benchmarks/gpu.py waits for a GPU: its plan and its page are tested here, and every section runs on the CPU."""

import importlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
DOCUMENTATION = ROOT / "docs" / "gpu.md"
MACHINE = {
    "device": "a GPU",
    "bytes": 2**30,
    "driver": "a driver",
    "processor": "a processor",
    "cores": 16,
    "python": "3.12",
    "packages": {"jax": "0.11.2"},
    "backend": "CUDA",
}

pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="the sdist has no benchmarks")


@pytest.fixture
def load(monkeypatch):
    """A function that imports a module of benchmarks/; afterwards they are forgotten: their names are common ones."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BENCHMARKS:
            del sys.modules[name]


def timing(batch, seconds, **case):
    return {"kind": "ntm", "batch": batch, "steps": 42, "seconds": seconds, "least": seconds} | case


def section(*rows, state="done", message=""):
    return {"state": state, "seconds": 1.0, "rows": list(rows), "message": message}


def timings(device, core):
    return {
        "Device": section(MACHINE),
        "Training steps, NTM, on the device": section(*device),
        "Training steps, NTM, on one core": section(*core),
    }


# ---- The page


@pytest.mark.parametrize(
    ("core", "expected"),
    [
        ([1.0, 1.0, 1.0], None),  # as fast is not faster
        ([1.0, 3.0, 9.0], 16),
        ([3.0, 3.0, 9.0], 1),
        ([3.0, 1.0, 9.0], 64),  # from there on at every batch
        ([3.0, 3.0, 1.0], None),
    ],
)
def test_break_even(load, core, expected):
    page = load("gpu_page")
    batches = (64, 1, 16)
    by_batch = dict(zip((1, 16, 64), core, strict=True))
    results = timings(
        [timing(batch, 1.0) for batch in batches],
        [timing(batch, by_batch[batch]) for batch in batches],
    )
    (row,) = page.break_even(page.match_timings(results))
    assert row["batch"] == expected
    assert row["batches"] == [1, 16, 64]
    assert row["ratios"] == core


def test_break_even_compares_the_same_case_only(load):
    page = load("gpu_page")
    results = timings(
        [timing(1, 2.0, slots=1024), timing(1, 2.0), timing(16, 2.0)],
        [timing(1, 5.0), {**timing(16, 5.0), "failed": "out of memory"}],
    )
    assert [row["core"] for row in page.match_timings(results)] == [None, 5.0, None]
    (row,) = page.break_even(page.match_timings(results))
    assert (row["slots"], row["batches"], row["batch"]) == (128, [1], 1)


def test_documentation_has_the_place_of_the_table(load):
    page = load("gpu_page")
    text = DOCUMENTATION.read_text(encoding="utf-8")
    results = timings([timing(1, 2.0), timing(16, 2.0)], [timing(1, 1.0), timing(16, 8.0)])
    replaced = page.replace_break_even(text, results)
    assert "| NTM | 128 | 42 | 16 | 1: 0.5, 16: 4 |" in replaced
    assert "Measured on one a GPU beside one core of a processor" in replaced
    begin, end = text.index(page.BEGIN), text.index(page.END)
    assert replaced.startswith(text[:begin])
    assert replaced.endswith(text[end:])
    assert page.replace_break_even(replaced, results) == replaced
    with pytest.raises(ValueError, match="break-even: begin"):
        page.replace_break_even("another page", results)


def test_page_tells_what_went_wrong(load):
    page = load("gpu_page")
    results = {
        **timings([timing(1, 2.0), {**timing(16, 1.0), "failed": "no memory"}], [timing(1, 1.0)]),
        "Kernels": section(state="cut", message="it took more than 40 s"),
        "Memory, NTM": section({"kind": "no kind"}),
        "XLA flags: some": section({**timing(1, 0.003), "compiling": 9.5}),
    }
    text = page.make_page(results, rehearsal=False, seconds=12.0)
    assert "| Training steps, NTM, on the device | done | 1 | 2 | no memory |" in text
    assert "| Kernels | cut | 1 | 0 | it took more than 40 s |" in text
    assert "## Memory" in text
    assert "No table: KeyError" in text  # and the tables after it are there
    assert "| some | 1 × 42 | 3.00 | 9.5 |" in text
    assert "rehearsal" not in text
    assert "This is a rehearsal" in page.make_page(results, rehearsal=True, seconds=12.0)


def test_results_of_another_machine(load, tmp_path, monkeypatch):
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(gpu, "DOCUMENTATION", tmp_path / "gpu.md")
    text = DOCUMENTATION.read_text(encoding="utf-8")
    gpu.DOCUMENTATION.write_text(text, encoding="utf-8")
    source = tmp_path / "results.json"
    data = {"rehearsal": True, "seconds": 9.0, "results": timings([timing(1, 2.0)], [])}
    source.write_text(json.dumps(data))
    with pytest.raises(SystemExit, match="of a rehearsal"):
        gpu.take_over(source)
    source.write_text(json.dumps(data | {"rehearsal": False}))
    gpu.take_over(source)
    assert (
        gpu.DOCUMENTATION.read_text(encoding="utf-8") == text
    )  # there was nothing to compare with
    data["results"] = timings([timing(1, 2.0)], [timing(1, 4.0)])
    source.write_text(json.dumps(data | {"rehearsal": False}))
    gpu.take_over(source)
    assert "| NTM | 128 | 42 | 1 | 1: 2 |" in gpu.DOCUMENTATION.read_text(encoding="utf-8")
    assert "| NTM | 128 | 42 | 1 | 1: 2 |" in (tmp_path / gpu.PAGE).read_text(encoding="utf-8")
    assert json.loads((tmp_path / gpu.DATA).read_text())["results"] == data["results"]


# ---- The plan


def test_plan_fits_the_functions(load):
    gpu, sections = load("gpu"), load("gpu_sections")
    for sizes, platform in ((gpu.FULL, "gpu"), (gpu.SMALL, "cpu")):
        plan = gpu.make_plan(sizes, platform)
        assert len({each.name for each in plan}) == len(plan)
        for each in plan:
            arguments = each.arguments | ({"limit": 1.0} if each.tell_limit else {})
            inspect.signature(sections.FUNCTIONS[each.function]).bind(print, **arguments)
            json.dumps(arguments)


@pytest.mark.slow
def test_xla_knows_the_flags(load):
    flags = " ".join(load("gpu").COMMAND_BUFFERS.values())
    variables = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_all_networks_build(load):
    networks = load("gpu_networks")
    for kind in load("gpu").ALL_KINDS:
        inputs, losses = networks.make_losses(networks.make_layers(kind, slots=8, nearest="lsh"))
        assert [each.ndim for each in inputs] == [3, 3, 2]
        assert losses.ndim == 1
    assert set(load("gpu").ALL_KINDS) == set(networks.KINDS)


# ---- Processes


class Book:
    """Keeps the last result of each section."""

    seconds = 0.0

    def __init__(self):
        self.results = {}

    def enter(self, name, result):
        self.results[name] = result


WRITES_AND = """
import json, subprocess, sys, time
request = json.load(sys.stdin)
open(request["output"], "w").write('[{"row": 1}]')
"""


@pytest.fixture
def run(load, tmp_path):
    """A function that runs a script as a section."""
    gpu = load("gpu")

    def run(code, limit=60.0, left=60.0):
        script = tmp_path / "script.py"
        script.write_text(WRITES_AND + code)
        deadline = time.monotonic() + left
        runner = gpu.Runner(Book(), tmp_path, os.environ, "cpu", deadline, script)
        result = runner.run(gpu.Section("A section", "function", {}, limit), [0])
        assert runner.book.results["A section"] == result
        return result

    return run


def test_section_that_fails(run):
    result = run("print('1/0')\nraise OSError('no device | here')\n")
    assert (result["state"], result["rows"]) == ("failed", [{"row": 1}])
    assert result["message"] == "OSError: no device / here"


@pytest.mark.slow
def test_section_that_takes_too_long(run, tmp_path):
    marker = tmp_path / "marker"
    child = f"import time; time.sleep(4); open({str(marker)!r}, 'w')"
    code = f"subprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)\n"
    result = run(code, limit=3.0)
    assert (result["state"], result["rows"]) == ("cut", [{"row": 1}])
    assert result["message"] == "it took more than 3 s"
    time.sleep(4.0)
    assert not marker.exists()  # what the section started has ended, too


def test_run_that_is_stopped(load, tmp_path):
    gpu = load("gpu")
    script = tmp_path / "script.py"
    script.write_text(WRITES_AND + "time.sleep(60)\n")
    deadline = time.monotonic() + 60.0

    class StopsAtARow(Book):
        def enter(self, name, result):
            if result["rows"]:
                runner.stop()

    runner = gpu.Runner(StopsAtARow(), tmp_path, os.environ, "cpu", deadline, script)
    result = runner.run(gpu.Section("A section", "function", {}, 60.0), [0])
    assert (result["state"], result["rows"]) == ("cut", [{"row": 1}])
    result = runner.run(gpu.Section("Another section", "function", {}, 60.0), [0])
    assert (result["state"], result["message"]) == ("left out", "the run was stopped")
    assert time.monotonic() < deadline - 10.0


def test_section_for_which_no_time_is_left(run):
    result = run("", left=5.0)
    assert (result["state"], result["message"]) == ("left out", "no time left")


def test_book_writes_when_it_is_open(load, tmp_path):
    gpu = load("gpu")
    plan = gpu.make_plan(gpu.SMALL, "cpu")
    book = gpu.Book(tmp_path, plan, rehearsal=True)
    book.enter("Kernels", section(state="failed"))
    assert not list(tmp_path.iterdir())
    book.open()
    book.enter("Device", section(state="running"))
    data = json.loads((tmp_path / gpu.DATA).read_text())
    assert list(data["results"]) == ["Device", "Kernels"]  # in the order of the plan
    assert "| Kernels | failed |" in (tmp_path / gpu.PAGE).read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_page_that_fails_costs_no_figure(load, tmp_path, monkeypatch, capsys):
    gpu = load("gpu")
    book = gpu.Book(tmp_path, gpu.make_plan(gpu.SMALL, "cpu"), rehearsal=True)
    monkeypatch.setattr(load("gpu_page"), "make_page", lambda *args: 1 / 0)
    book.open()
    book.enter("Kernels", section({"launches": 3}))
    data = json.loads((tmp_path / gpu.DATA).read_text())
    assert data["results"]["Kernels"]["rows"] == [{"launches": 3}]
    assert "no page: ZeroDivisionError" in capsys.readouterr().err


def test_wheels_of_missing_packages_are_unpacked(load, tmp_path):
    for name in ("numpy", "no_such_package_here"):
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{name}/__init__.py", "")
    site = tmp_path / "site"
    unpacked = list(load("gpu").unpack_wheels(site, tmp_path))
    assert unpacked == ["no_such_package_here-1.0-py3-none-any.whl"]
    assert [path.name for path in site.iterdir()] == ["no_such_package_here"]


def run_script(*options, **variables):
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *options]
    done = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, timeout=1800
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_without_a_gpu(tmp_path):
    # The documentation and an earlier page stay as they are
    before = DOCUMENTATION.read_text(encoding="utf-8")
    code, _, errors = run_script(OUT=str(tmp_path), CUDA_VISIBLE_DEVICES="-1")
    assert code == 1
    assert "There is no GPU to measure" in errors
    assert "JAX cannot use a gpu" in errors
    assert not list(tmp_path.iterdir())
    assert DOCUMENTATION.read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_rehearsal(tmp_path, load):
    gpu = load("gpu")
    before = DOCUMENTATION.read_text(encoding="utf-8")
    code, output, errors = run_script("--rehearse", OUT=str(tmp_path), JAX_PLATFORMS="cpu")
    has_torch = importlib.util.find_spec("torch") is not None
    assert code == (0 if has_torch else 1), output + errors
    data = json.loads((tmp_path / gpu.DATA).read_text(encoding="utf-8"))
    assert data["rehearsal"] is True
    results = data["results"]
    assert list(results) == [each.name for each in gpu.make_plan(gpu.SMALL, "cpu")]
    if not has_torch:
        without = results.pop("By hand in PyTorch")
        assert without["state"] == "failed"
        assert "No module named 'torch'" in without["message"]
    for name, result in results.items():
        assert result["state"] == "done", (name, result)
        assert result["rows"], name
        assert not any("failed" in row for row in result["rows"]), (name, result)
    # On one processor, what must agree agrees
    losses = {
        name: {row["kind"]: row["losses"] for row in results[f"Losses {name}"]["rows"]}
        for name in ("on the CPU", "in float32")
    }
    for kind in gpu.SMALL.kinds:
        assert losses["in float32"][kind] == pytest.approx(losses["on the CPU"][kind], rel=1e-5)
        assert losses["in float32"][kind][-1] != losses["in float32"][kind][0]  # it has learnt
    assert all(row["error"] < 1e-8 for row in results["Published models, float64"]["rows"])
    rivals = {}
    for name in ("By hand in JAX", "By hand in PyTorch"):
        rivals |= results[name]["rows"][0] if name in results else {}
    for name in ("jax", "tuned", "torch"):
        if f"{name}_loss" in rivals:
            assert rivals[f"{name}_loss"] == pytest.approx(rivals["ours_loss"], rel=1e-4)
    (kernels,) = results["Kernels"]["rows"]
    assert kernels["launches"] > 0
    page = (tmp_path / gpu.PAGE).read_text(encoding="utf-8")
    assert "This is a rehearsal" in page
    assert "No table" not in page
    for title in load("gpu_page").PARTS:
        assert f"## {title}\n" in page
    assert DOCUMENTATION.read_text(encoding="utf-8") == before
    assert not (BENCHMARKS / gpu.PAGE).exists() or "rehearsal" not in (
        BENCHMARKS / gpu.PAGE
    ).read_text(encoding="utf-8")
