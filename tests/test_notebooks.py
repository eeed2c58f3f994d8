"""The notebooks run from top to bottom, what they teach holds, and they are stored as they ran."""

import importlib.util
import os
import re
import resource
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("notebooks", ROOT / "scripts" / "notebooks.py")
notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks)

NAMES = sorted(path.name for path in notebooks.FOLDER.glob("*.ipynb"))
#: Bytes of a file; seconds of all cores together: two minutes on two cores
MOST_BYTES, MOST_SECONDS = 300_000, 240
#: Folders that only one machine has
PATHS = re.compile(r"/(home|root|tmp|Users|work|usr|opt|var)/|site-packages|[A-Z]:\\")


def read(name):
    """A notebook as it is stored."""
    return nbformat.read(notebooks.FOLDER / name, as_version=4)


def list_outputs(notebook):
    """The outputs of all cells, in order."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def join_text(notebook):
    """What a notebook prints."""
    return "".join(output.get("text", "") for output in list_outputs(notebook))


def find_form(cell):
    """What a cell gives, without numbers: the lines that it prints, repeated ones once, and its kinds of data."""
    printed = "".join(output.get("text", "") for output in cell.get("outputs", []))
    lines = re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", printed).split("\n")
    lines = [re.sub(r"[ #]+", "#", line) for line in lines]
    kinds = Counter(kind for output in cell.get("outputs", []) for kind in output.get("data", {}))
    return [line for line, _ in groupby(lines)], kinds


# ---- As they are stored


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs(name):
    notebook, size = read(name), (notebooks.FOLDER / name).stat().st_size
    again = f"run python scripts/notebooks.py notebooks/{name}"
    assert notebook.metadata.get("executed_code") == notebooks.get_digest(notebook), again
    assert size < MOST_BYTES
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), again
    for output in list_outputs(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        data = output.get("data", {})
        texts = [output.get("text", ""), *(data[kind] for kind in data if "image" not in kind)]
        assert not PATHS.search(" ".join(texts)), texts


@pytest.mark.parametrize("name", NAMES)
def test_cells_need_nothing_from_outside(name):
    notebook = read(name)
    assert notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            magic = re.findall(r"^\s*[%!].*", cell.source, flags=re.MULTILINE)
            assert magic in ([], ["%matplotlib inline"])
            assert not re.search(r"urllib|requests|https?://", cell.source)


def test_a_change_of_code_changes_the_digest():
    notebook = read(NAMES[0])
    digest = notebooks.get_digest(notebook)
    notebook.cells[0].source += " "
    assert notebooks.get_digest(notebook) == digest  # text, no code
    next(cell for cell in notebook.cells if cell.cell_type == "code").source += " "
    assert notebooks.get_digest(notebook) != digest


# ---- What they teach


def check_first_ntm(printed):
    wrong = [float(bits) for bits in re.findall(r"length \d+: ([\d.]+) wrong bits", printed)]
    assert len(wrong) == 2
    assert wrong[0] < 0.1


def check_addressing(printed):
    assert "The key is like slot 3. The head reads slot 4." in printed


def check_own_network(printed):
    assert "the padding changes them by 0.0" in printed
    right = [float(share) for share in re.findall(r"([\d.]+)% right", printed)]
    assert len(right) == 3
    assert min(right) > 90


def check_associative_recall(printed):
    rows = {
        kind: dict(re.findall(r"(\d+): (\d+)", row))
        for kind, row in re.findall(r"^(NTM|DNC|SAM|LSTM) ({.*})$", printed, flags=re.MULTILINE)
    }
    for kind in ("NTM", "DNC", "SAM"):
        assert int(rows[kind]["6"]) >= 98
        assert int(rows[kind]["12"]) >= 90
    assert int(rows["LSTM"]["6"]) < 20
    few, many = map(int, re.findall(r"slots, 20 items: (\d+)% of lists right", printed))
    assert few < 80
    assert many > 90


def check_ntm_lasagne(printed):
    differences = [float(each) for each in re.findall(r": largest difference (\S+)", printed)]
    assert len(differences) == 3
    assert max(differences) < 1e-3
    losses = re.findall(r"loss ([\d.]+), on Theano ([\d.]+)", printed)
    assert len(losses) == 3
    for ours, theirs in losses:
        assert float(ours) == pytest.approx(float(theirs), abs=2e-5)


def check_million_slots(printed):
    kept = [float(each.replace(",", "")) for each in re.findall(r"([\d.,]+) MB kept", printed)]
    assert kept[0] > 10_000
    assert kept[1] < 1
    assert int(re.findall(r"(\d+)% of lists of 30 pairs right", printed)[-1]) > 80
    assert "memory left out" in printed
    exact, index = (
        [float(each) for each in re.findall(r"([\d.-]+) ms", line)]
        for line in re.findall(r"^(?:exact|lsh): .*", printed, flags=re.MULTILINE)
    )
    assert exact[2] > 5 * index[2]
    near = re.search(r"keys near a slot: recall@1 .* (\d+) %\n", printed)
    assert int(near[1]) > 90
    assert float(re.search(r"peak of memory: ([\d.]+) GB", printed)[1]) < 4


def check_own_data(printed):
    assert "inputs[3, 1, 0] is nan" in printed
    assert float(re.search(r"test accuracy: ([\d.]+)", printed)[1]) > 0.9
    assert float(re.search(r"error of 40 steps: ([\d.]+)", printed)[1]) < 0.4


CHECKS = {
    "1-first-ntm.ipynb": check_first_ntm,
    "2-inside-the-addressing.ipynb": check_addressing,
    "3-own-network.ipynb": check_own_network,
    "4-associative-recall.ipynb": check_associative_recall,
    "5-from-ntm-lasagne.ipynb": check_ntm_lasagne,
    "6-million-slots.ipynb": check_million_slots,
    "7-your-data.ipynb": check_own_data,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook(name, tmp_path):
    # As a reader runs it: without the mode that the tests set, of which `use_jax` would say that it changes it. In a
    # process between: a kernel that these tests start counts their memory as its own
    flags = os.environ["PYTENSOR_FLAGS"].split(",")
    flags = ",".join(flag for flag in flags if not flag.startswith("mode="))
    command = [sys.executable, notebooks.__file__, notebooks.FOLDER / name, "--to", tmp_path]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(
        command, env={**os.environ, "PYTENSOR_FLAGS": flags}, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0, process.stderr
    notebook = nbformat.read(tmp_path / name, as_version=4)
    for output in list_outputs(notebook):
        assert output.get("name") != "stderr", output.text
    CHECKS[name](join_text(notebook))
    for number, (cell, stored) in enumerate(zip(notebook.cells, read(name).cells, strict=True)):
        assert find_form(cell) == find_form(stored), f"cell {number}: {cell.source}"
    # Time of the processor: other programs do not change it
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < MOST_SECONDS
