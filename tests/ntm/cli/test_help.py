"""Every command's help teaches: what the command does, and examples that work when pasted."""

import shlex

import pytest

from ntm.cli.help import HELP
from ntm.cli.parser import make_parser
from ntm.tasks import TASKS

from .test_every_option import get_commands


@pytest.fixture(scope="module")
def parser():
    return make_parser()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def list_parsers(parser):
    """Return each parser of the command line by the name of its help."""
    found = dict(get_commands(parser))
    for name in ("train", "sweep", "compare"):
        found[f"{name} TASK"] = get_commands(found[name])["copy"]
        if hasattr(found[name], "data_parser"):
            found[f"{name} --data"] = found[name].data_parser
    return found


def test_every_command_has_a_help(parser):
    assert list_parsers(parser).keys() == HELP.keys()


@pytest.mark.parametrize("name", HELP)
def test_help_teaches(name, parser):
    text = HELP[name]
    shown = list_parsers(parser)[name].format_help()
    description = " ".join((text.description or HELP[name.split()[0]].description).split())
    assert description in " ".join(shown.split())
    assert 1 <= description.count(". ") + 1 <= 4
    assert 2 <= len(text.examples) <= 4
    assert text.notes in shown
    for command, comment in text.examples:
        assert comment in shown
        assert command.replace("{task}", "copy") in shown.replace("\n", "")
    own = [command for command, _ in text.examples if command.startswith(f"ntm {name.split()[0]}")]
    assert len(own) >= len(text.examples) - 1


@pytest.mark.parametrize(
    ("command", "task"),
    [
        (command, task)
        for text in HELP.values()
        for command, _ in text.examples
        for task in (TASKS if "{task}" in command else [""])
    ],
)
def test_examples_parse(command, task, parser):
    program, *words = shlex.split(command.replace("{task}", task))
    assert program == "ntm"
    if words[-1] == "--help":
        with pytest.raises(SystemExit, match="0"):
            parser.parse_args(words)
    else:
        assert callable(parser.parse_args(words).run)
