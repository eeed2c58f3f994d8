"""The examples run from the first line to the last, and what they teach holds."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *options, folder=None, code=0):
    """Run an example in a process of its own, as a reader does; return what it printed."""
    command = [sys.executable, str(EXAMPLES / name), *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert result.returncode == code, result.stderr
    return result


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_explain_themselves(path):
    shown = run(path.name, "--help").stdout
    assert f"python examples/{path.name}" in shown
    assert ("--seed" in shown) == (path.name != "serve-predictor.py")


@pytest.mark.slow
def test_copy_task_draws_what_it_did(tmp_path):
    shown = run(
        "copy-task.py", "--max-steps", "200", "--output", "copy.png", folder=tmp_path, code=3
    )
    assert "200 sequences:" in shown.stdout
    assert "Not solved after 200 sequences." in shown.stdout
    assert re.search(r"^ +120   \d+\.\d\d$", shown.stdout, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["copy.png"]
    assert matplotlib.image.imread(tmp_path / "copy.png").shape[1] > 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "message"),
    [("nowhere/copy.png", "nowhere"), ("copy.xyz", "must end in one of")],
)
def test_copy_task_checks_the_picture_before_it_trains(tmp_path, output, message):
    shown = run("copy-task.py", "--output", output, folder=tmp_path, code=2)
    assert shown.stdout == ""
    assert f"--output {output}" in shown.stderr
    assert message in shown.stderr


@pytest.mark.slow
def test_a_task_of_your_own():
    shown = run("own-task.py", "--steps", "20").stdout
    assert "Done after 20 steps." in shown
    assert len(re.findall(r"^length \d+: \d+% of sequences right$", shown, re.MULTILINE)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("controller", ["function", "class"])
def test_a_controller_of_your_own(controller):
    shown = run("own-controller.py", "--controller", controller, "--steps", "20").stdout
    assert "Done after 20 steps." in shown
    assert re.search(r"5 vectors of 4 bits: \d+% of sequences right", shown)


@pytest.mark.slow
def test_classification_learns():
    shown = run("classify-sequences.py", "--steps", "1000").stdout
    right = float(re.search(r"([\d.]+)% of 1,000 new sequences right", shown)[1])
    assert right > 90


@pytest.mark.slow
def test_a_large_memory():
    shown = run("large-memory.py", "--steps", "20").stdout
    assert "Done after 20 steps." in shown
    assert len(re.findall(r"slots, +\d+ pairs: [\d.]+% of bits wrong", shown)) == 6


@pytest.mark.slow
def test_digits_are_read_and_a_finished_program_does_not_train_again(tmp_path):
    shown = run("digits.py", "--steps", "400", folder=tmp_path)
    right = float(re.search(r"([\d.]+)% of 450 held-out digits right", shown.stdout)[1])
    assert right > 85
    files = {path.name for path in (tmp_path / "digits").iterdir()}
    assert files == {
        "train.npz",
        "test.npz",
        "ntm-0.checkpoint",
        "ntm-0.safetensors",
        "ntm-0.png",
    }
    assert matplotlib.image.imread(tmp_path / "digits" / "ntm-0.png").shape[1] > 500
    again = run("digits.py", "--steps", "400", folder=tmp_path)
    assert again.stdout == shown.stdout
    assert "compiling" in shown.stderr
    assert "compiling" not in again.stderr


@pytest.mark.slow
def test_a_forecast_is_better_than_the_year_before(tmp_path):
    shown = run("forecast.py", "--model", "lstm", "--steps", "40", folder=tmp_path).stdout
    errors = re.findall(r"^ +[\d. ]+  (\d\.\d\d)  (\w+)", shown, re.MULTILINE)
    (forecast, _), (naive, name), _ = errors
    assert name == "seasonal"
    assert float(naive) == pytest.approx(1.51, abs=0.01)  # with pandas, apart from the example
    assert float(forecast) < 0.8
    assert matplotlib.image.imread(tmp_path / "forecast" / "lstm-0.png").shape[1] > 500
