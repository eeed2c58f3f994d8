"""What is public: the reference names exactly the names of the doors."""

import importlib
import importlib.util
from pathlib import Path

import pytest

import ntm

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


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
