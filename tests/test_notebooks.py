"""The notebooks run from top to bottom, and what they teach holds."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def execute(name):
    """Run a notebook from top to bottom; return what it printed, and how many pictures it has."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    return printed, sum("image/png" in output.get("data", {}) for output in outputs)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*zmq.*", "ignore::DeprecationWarning:jupyter_client.*"),
]


def test_first_ntm_learns_to_copy():
    printed, num_pictures = execute("1-first-ntm.ipynb")
    wrong = [float(bits) for bits in re.findall(r"length \d+: ([\d.]+) wrong bits", printed)]
    assert len(wrong) == 2
    assert wrong[0] < 0.1
    assert num_pictures == 1


def test_waves_are_told_apart_and_continued():
    printed, num_pictures = execute("7-your-data.ipynb")
    assert "inputs[3, 1, 0] is nan" in printed
    assert float(re.search(r"test accuracy: ([\d.]+)", printed)[1]) > 0.9
    assert float(re.search(r"error of 40 steps: ([\d.]+)", printed)[1]) < 0.4
    assert num_pictures == 3
