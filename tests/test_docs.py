"""Examples in docstrings, and code in README.md and docs/, run as they stand there.

A guide's blocks run one after the other, as a reader types them; only training stops after a few steps. Where a block
is not meant to run, the line before it says so: ``<!-- not run: why -->``. A block that begins with
``# path: function`` quotes the library: the function has these lines.
"""

import ast
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
SLOW_MODULES = {
    "ntm.layers.stepping",
    "ntm.prediction.inspection",
    "ntm.visualization.dashboard",
}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
QUOTATION = re.compile(r"# ((?:lasagne|ntm)/\S+\.py): ([\w.]+)\n")


def find_blocks(path):
    """The blocks of Python in a guide that run, each with the number of its first line."""
    text = path.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        before = text[: match.start()].splitlines()
        is_fragment = before and before[-1].startswith("<!-- not run:")
        if not is_fragment and not QUOTATION.match(match[1]):
            yield len(before) + 2, match[1]


def find_quotations(path):
    """The blocks of a page that quote the library: file, name of the function, lines."""
    for match in BLOCK.finditer(path.read_text(encoding="utf-8")):
        if quotation := QUOTATION.match(match[1]):
            yield quotation[1], quotation[2], match[1][quotation.end() :]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = [path.relative_to(ROOT).as_posix() for path in PAGES if any(find_blocks(path))]
QUOTATIONS = [(path.stem, *quotation) for path in PAGES for quotation in find_quotations(path)]


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


def find_function(file, name):
    """The source of a function or method, by its path in a file, such as ``NTMLayer._advance``."""
    source = (ROOT / file).read_text(encoding="utf-8")
    node = ast.parse(source)
    for part in name.split("."):
        node = next(each for each in node.body if getattr(each, "name", None) == part)
    return ast.get_source_segment(source, node)


@pytest.mark.parametrize(("page", "file", "name", "lines"), QUOTATIONS)
def test_quoted_lines_are_in_the_library(page, file, name, lines):
    def strip(text):
        return "\n".join(line.strip() for line in text.splitlines())

    assert strip(lines) in strip(find_function(file, name))


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
