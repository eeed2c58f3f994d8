"""Examples in docstrings, and code in README.md and docs/, run as they stand there.

A guide's blocks run one after the other, as a reader types them; only training stops after a few steps. Where a block
is not meant to run, the line before it says so: ``<!-- not run: why -->``.
"""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytensor
import pytest

import lasagne
from ntm.serialization import registry
from ntm.training import Trainer

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("lasagne", "ntm")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
#: Modules whose examples compile a network
SLOW_MODULES = {"ntm.layers.stepping"}
GUIDES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "```python" in path.read_text(encoding="utf-8")
)


@pytest.fixture(autouse=True)
def same_process(monkeypatch):
    """Examples may change the defaults of the process; the next test has them as they were."""
    monkeypatch.setattr(lasagne.random, "_rng", np.random.RandomState(0))
    # The name of an example may have been registered by another test
    things = {name: thing for name, thing in registry._things.items() if name != "Swish"}
    monkeypatch.setattr(registry, "_things", things)
    with pytensor.config.change_flags(floatX=pytensor.config.floatX, mode=pytensor.config.mode):
        yield


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW_MODULES else ())
        for name in MODULES
    ],
)
def test_examples_of_docstrings(name):
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert attempted, "the examples are not in docstrings"
    assert failed == 0, "see the output above"


def find_blocks(path):
    """The blocks of Python in a guide that run, each with the number of its first line."""
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: match.start()].splitlines()
        if not (before and before[-1].startswith("<!-- not run:")):
            yield len(before) + 2, match[1]


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
def test_code_in_guides(guide, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = Trainer.train
    monkeypatch.setattr(
        Trainer,
        "train",
        lambda self, max_steps=None, *args, **kwargs: train(self, 5, *args, **kwargs),
    )
    names = {"__name__": "__main__"}
    for line, code in find_blocks(ROOT / guide):
        # Tracebacks tell the line of the guide
        exec(compile("\n" * (line - 1) + code, ROOT / guide, "exec"), names)
    if guide == "docs/coming-from/ntm-lasagne.md":
        bits = np.random.default_rng(0).integers(0, 2, (1, 5, 9)).astype(pytensor.config.floatX)
        losses = [float(names["train"](bits, bits)) for _ in range(5)]
        assert losses[-1] < losses[0]
        assert capsys.readouterr().out == "(1, 5, 9)\n"
