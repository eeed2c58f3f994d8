"""Pages that scripts write: the reference names exactly the names of the doors, and every task has its page."""

import importlib
import importlib.util
from pathlib import Path

import pytest

import ntm
from ntm.tasks import TASKS

ROOT = Path(__file__).parents[1]


def load_script(name):
    """A program of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference, task_pages = load_script("reference"), load_script("task_pages")


@pytest.mark.parametrize("door", reference.DOORS)
def test_names_of_a_door(door):
    module = importlib.import_module(door)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)
        assert reference.describe(module, name), f"{door}.{name} says nothing about itself"


def test_every_door_is_in_the_reference():
    packages = {path.parent.name for path in (ROOT / "ntm").glob("*/__init__.py")}
    assert {f"ntm.{name}" for name in packages - {"cli"}} < set(reference.DOORS)


def test_names_of_the_package_come_from_their_modules():
    homes = {name: module for module, names in ntm._MODULES.items() for name in names}
    assert sorted(homes) == sorted(ntm.__all__)
    for name, module in homes.items():
        assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", reference.PAGES)
def test_pages_are_up_to_date(name):
    written = (reference.REFERENCE / name).read_text(encoding="utf-8")
    assert written == reference.PAGES[name](), "run python scripts/reference.py"


def test_no_page_is_left_over():
    assert {path.name for path in reference.REFERENCE.iterdir()} == set(reference.PAGES)


@pytest.mark.parametrize("name", task_pages.PAGES)
def test_pages_of_tasks_are_up_to_date(name):
    written = (task_pages.FOLDER / name).read_text(encoding="utf-8")
    assert written == task_pages.PAGES[name](), "run python scripts/task_pages.py"


def test_every_task_has_a_drawing_and_a_picture():
    for name in TASKS:
        assert "\n```text\nstep " in (task_pages.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert (task_pages.FOLDER / f"{name}.png").stat().st_size < 100_000
