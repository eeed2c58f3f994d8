"""The notebooks run from top to bottom, and what they teach holds."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*zmq.*", "ignore::DeprecationWarning:jupyter_client.*")
def test_first_ntm_learns_to_copy():
    notebook = nbformat.read(ROOT / "notebooks" / "first-ntm.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    wrong = [float(bits) for bits in re.findall(r"length \d+: ([\d.]+) wrong bits", printed)]
    assert len(wrong) == 2
    assert wrong[0] < 0.1
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1
