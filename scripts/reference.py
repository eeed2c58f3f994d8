"""Write docs/reference.md: the public names of the packages, and the first line of what each says about itself.

python scripts/reference.py
"""

import importlib
import inspect
from pathlib import Path
from types import ModuleType

from ntm.files import atomic_write

PATH = Path(__file__).parents[1] / "docs" / "reference.md"

#: The modules that users import from
DOORS = (
    "ntm",
    "ntm.tasks",
    "ntm.training",
    "ntm.experiments",
    "ntm.visualization",
    "ntm.controllers",
    "ntm.heads",
    "ntm.layers",
    "ntm.addressing",
    "ntm.serialization",
    "ntm.init",
    "ntm.nonlinearities",
    "ntm.similarities",
    "ntm.updates",
    "lasagne.backends",
    "lasagne.init",
    "lasagne.layers",
    "lasagne.nonlinearities",
    "lasagne.objectives",
    "lasagne.random",
    "lasagne.regularization",
    "lasagne.updates",
    "lasagne.utils",
)

START = """# Reference

The public names, by the module to import them from. Everything else may change from version to version.
`help(ntm.NTMLayer)` prints the whole documentation of a name: parameters, shapes, errors and sources.
Run `python scripts/reference.py` to write this page anew.
"""


def describe(module: ModuleType, name: str) -> str:
    """Return the first line of the documentation of a name; for a constant, what it is."""
    thing = getattr(module, name)
    if inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isroutine(thing):
        text = (inspect.getdoc(thing) or "").partition("\n\n")[0]
        return " ".join(text.split())
    if isinstance(thing, dict):
        return f"A dict with the keys {', '.join(f'`{key}`' for key in thing)}."
    if isinstance(thing, tuple):
        return f"`{thing!r}`"
    return f"An instance of `{type(thing).__name__}`."


def make_reference() -> str:
    """Return the text of the page."""
    parts = [START]
    for door in DOORS:
        module = importlib.import_module(door)
        parts.append(
            f"\n## `{door}`\n\n{inspect.getdoc(module).partition(chr(10))[0]}\n\n| name | |\n| --- | --- |\n"
        )
        parts += [
            f"| `{name}` | {describe(module, name).replace('|', chr(92) + '|')} |\n"
            for name in sorted(module.__all__, key=str.lower)
        ]
    return "".join(parts)


if __name__ == "__main__":
    with atomic_write(PATH) as temporary:
        Path(temporary).write_text(make_reference(), encoding="utf-8")
