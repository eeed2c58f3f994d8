"""The rules of dependency of docs/architecture.md: what each part of the packages may import."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for name in ("lasagne", "ntm") for path in (ROOT / name).rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}

#: The floors of `ntm`, the lowest first. A part imports from lower floors, and nothing beside it
FLOORS = (
    ("ntm", "ntm.arguments", "ntm.interruption", "ntm.typing"),
    (
        "ntm.files",
        "ntm.init",
        "ntm.nonlinearities",
        "ntm.similarities",
        "ntm.structure",
        "ntm.traces",
        "ntm.updates",
    ),
    ("ntm.memory", "ntm.summaries", "ntm.tasks", "ntm.visualization"),
    ("ntm.addressing", "ntm.controllers", "ntm.data"),
    ("ntm.heads",),
    ("ntm.layers",),
    ("ntm.prediction", "ntm.serialization"),
    ("ntm.exporting", "ntm.training"),
    ("ntm.experiments",),
    ("ntm.models", "ntm.reports"),
    ("ntm.sweeps",),
    ("ntm.cli",),
    ("ntm.__main__",),
)


def find_imports(module):
    """Return the modules of this repository that a module imports, but for type checking alone."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for each in ast.walk(node)
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(base if node.level else []), *filter(None, [node.module])])
            names += [
                full if (full := f"{base}.{alias.name}") in MODULES else base
                for alias in node.names
            ]
    return {name for name in names if name in MODULES and name != module}


def get_part(module):
    """Return the package or module of the first level that a module belongs to."""
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("lasagne")])
def test_lasagne_knows_nothing_of_memories(module):
    assert not [name for name in find_imports(module) if name.split(".")[0] == "ntm"]


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("ntm")])
def test_parts_import_from_lower_floors(module):
    floors = {part: number for number, parts in enumerate(FLOORS) for part in parts}
    part = get_part(module)
    assert part in floors, f"{part} stands on no floor: docs/architecture.md and FLOORS"
    for name in find_imports(module):
        other = get_part(name)
        if name.startswith("ntm") and other != part:
            assert floors[other] < floors[part], f"{module} imports {name}"


def test_no_circles():
    parts = {}
    for module in MODULES:
        others = {get_part(name) for name in find_imports(module)}
        parts.setdefault(get_part(module), set()).update(others - {get_part(module)})
    while parts:
        lowest = [part for part, others in parts.items() if not others & parts.keys()]
        assert lowest, f"these import each other: {', '.join(sorted(parts))}"
        for part in lowest:
            del parts[part]


def test_the_map_shows_every_part():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    parts = {get_part(module).partition(".")[2] for module in MODULES}
    left_out = {"", "__main__", "_logits", "_norms", "packing"}
    missing = [
        part for part in parts - left_out if f"`{part}" not in text and f"/{part}" not in text
    ]
    assert not missing
