"""Write the pages of docs/reference/: the public names of each module, and the settings of a training run.

python scripts/reference.py

The pages come from the code: from `__all__` and docstrings, and from the descriptions of options. `make docs` adds the
whole documentation of each name to them (docs/extensions/reference_pages.py).
"""

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from ntm.experiments.data_settings import DataSettings
from ntm.experiments.defaults import DATA
from ntm.experiments.networks import MODELS, get_model_options
from ntm.experiments.options import Option, get_options, get_task_options
from ntm.experiments.settings import Settings
from ntm.files import atomic_write
from ntm.tasks import TASKS

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"

#: The modules that users import from
DOORS = (
    "ntm",
    "ntm.tasks",
    "ntm.data",
    "ntm.training",
    "ntm.experiments",
    "ntm.sweeps",
    "ntm.sweeps.report",
    "ntm.models",
    "ntm.reports",
    "ntm.visualization",
    "ntm.controllers",
    "ntm.heads",
    "ntm.layers",
    "ntm.prediction",
    "ntm.exporting",
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
`help(ntm.NTMLayer)` prints the whole documentation of a name: parameters, shapes, errors and sources. The pages that
`make docs` builds have it too, with a search box. [Settings](settings.md) lists the settings of a training run.
Run `python scripts/reference.py` to write these pages anew.
"""


def summarise(module: ModuleType) -> str:
    """Return the first line of the documentation of a module."""
    return (inspect.getdoc(module) or "").partition("\n")[0]


def describe(module: ModuleType, name: str) -> str:
    """Return the first line of the documentation of a name; for a constant, what it is."""
    thing = getattr(module, name)
    if inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isroutine(thing):
        text = (inspect.getdoc(thing) or "").partition("\n\n")[0]
        return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split()))
    if isinstance(thing, dict):
        return f"A dict with the keys {', '.join(f'`{key}`' for key in thing)}."
    if isinstance(thing, tuple):
        return f"`{thing!r}`"
    if isinstance(thing, float):
        return f"`{thing:.4g}`"
    if isinstance(thing, Mapping):
        return f"A mapping of {len(thing)} keys, such as `{next(iter(thing))}`."
    return f"An instance of `{type(thing).__name__}`."


def make_overview() -> str:
    """Return the text of the page that lists the modules."""
    rows = [
        f"| [`{door}`]({door}.md) | {summarise(importlib.import_module(door))} |\n"
        for door in DOORS
    ]
    return "".join([START, "\n## Modules\n\n| module | |\n| --- | --- |\n", *rows])


def make_door(door: str) -> str:
    """Return the text of the page of one module."""
    module = importlib.import_module(door)
    rows = [
        f"| `{name}` | {describe(module, name).replace('|', chr(92) + '|')} |\n"
        for name in sorted(module.__all__, key=str.lower)
    ]
    return "".join([f"# `{door}`\n\n{summarise(module)}\n\n| name | |\n| --- | --- |\n", *rows])


SETTINGS_START = """# Settings of a training run

Each setting is an option of `ntm train` and a field of `ntm.experiments.Settings`: `--batch-size 16` on the command
line is `batch_size=16` in a program. The fields that hold dicts and lists are for programs. The options of the network
and of the task are options of the command line, too; a program gives them in `model_options` and `task_options`.

The tables show the general defaults. A task or network may have others: `ntm/experiments/defaults.py` has a block for
each pair of task and network, and `ntm train copy --help` prints the defaults for copy. Runs on data of your own
(`ntm train --data FILE`) have the settings of `ntm.experiments.DataSettings`: [see below](#data-of-your-own).
Run `python scripts/reference.py` to write this page anew.
"""

DATA_START = """
## Data of your own

The fields of `ntm.experiments.DataSettings`, with the defaults of `make_data_settings` and `ntm train --data FILE`.
On the command line `--validation` takes a file or a share.
"""


def make_table(options: Iterable[Option]) -> str:
    """Return a table of options: name, default, what is allowed, help."""
    rows = ["\n| name | default | allowed | |\n| --- | --- | --- | --- |\n"]
    for each in options:
        default = "" if each.default is MISSING else f"`{each.default!r}`"
        allowed = ", ".join(f"`{choice}`" for choice in each.choices) or each.expected
        help = each.help.replace("|", "\\|")
        rows.append(f"| `{each.name}` | {default} | {allowed} | {help} |\n")
    return "".join(rows)


def make_settings_page() -> str:
    """Return the text of the page of settings."""
    parts = [SETTINGS_START, make_table(get_options(Settings).values())]
    for model in MODELS:
        parts += [f"\n## Network `{model}`\n", make_table(get_model_options(model).values())]
    data_options = [
        replace(each, default=DATA.get(each.name, each.default))
        for each in get_options(DataSettings).values()
    ]
    parts += [DATA_START, make_table(data_options)]
    for task in TASKS:
        parts += [f"\n## Task `{task}`\n", make_table(get_task_options(task).values())]
    return "".join(parts)


PAGES = {
    "README.md": make_overview,
    "settings.md": make_settings_page,
    **{f"{door}.md": partial(make_door, door) for door in DOORS},
}

if __name__ == "__main__":
    for name, make in PAGES.items():
        with atomic_write(REFERENCE / name) as temporary:
            Path(temporary).write_text(make(), encoding="utf-8")
