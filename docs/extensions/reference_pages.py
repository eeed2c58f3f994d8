"""The pages of the reference, docs/reference/MODULE.md, get the whole documentation of each name from the docstrings.

A name that several modules export, such as ``ntm.NTMLayer`` and ``ntm.layers.NTMLayer``, is documented once, on the
page of the module that it comes from; the other pages and all texts link there.
"""

import importlib
import inspect
import re

from reference import DOORS
from sphinx.addnodes import pending_xref


def find_home(door, name):
    """Return the module on whose page a name is documented."""
    thing = getattr(importlib.import_module(door), name)
    module = getattr(thing, "__module__", None) or door
    homes = [
        other
        for other in DOORS
        if module.startswith(f"{other}.") or module == other
        if getattr(importlib.import_module(other), name, None) is thing
        and name in importlib.import_module(other).__all__
    ]
    return max(homes, key=len, default=door)


def document(door, name):
    """Return the directives that document a name."""
    thing = getattr(importlib.import_module(door), name)
    if inspect.ismodule(thing):
        return [f".. automodule:: {thing.__name__}", "   :members:", ""]
    if inspect.isclass(thing):
        return [f".. autoclass:: {name}", "   :members:", ""]
    if inspect.isroutine(thing):
        return [f".. autofunction:: {name}", ""]
    return [f".. autodata:: {name}", "   :no-value:", ""]


def fill_page(app, docname, source):
    """Append the documentation of the names to the page of a module, and link the names in its table."""
    door = docname.rpartition("/")[2]
    if not docname.startswith("docs/reference/") or door not in DOORS:
        return
    names = sorted(importlib.import_module(door).__all__, key=str.lower)
    homes = {name: find_home(door, name) for name in names}
    source[0] = re.sub(
        r"^\| `(\w+)` \|",
        lambda row: f"| {{py:obj}}`{row[1]} <{homes[row[1]]}.{row[1]}>` |",
        source[0],
        flags=re.MULTILINE,
    )
    lines = ["", "```{eval-rst}", f".. py:module:: {door}", f".. currentmodule:: {door}", ""]
    for name in names:
        if homes[name] == door:
            lines += document(door, name)
    source[0] += "\n".join([*lines, "```", ""])


def find_elsewhere(app, env, node, content):
    """Resolve a reference to a name by way of the module on whose page it is documented."""
    if node["refdomain"] != "py":
        return None
    door, _, name = node["reftarget"].rpartition(".")
    for candidate in [door] if door else DOORS:
        if candidate in DOORS and name in importlib.import_module(candidate).__all__:
            target = f"{find_home(candidate, name)}.{name}"
            if target != node["reftarget"]:
                domain = env.get_domain("py")
                return domain.resolve_xref(
                    env,
                    node["refdoc"],
                    app.builder,
                    node["reftype"],
                    target,
                    pending_xref(**node.attributes),
                    content,
                )
    return None


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", fill_page)
    app.connect("missing-reference", find_elsewhere)
    return {"parallel_read_safe": True}
