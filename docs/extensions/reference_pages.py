"""The pages of the reference, docs/reference/MODULE.md, get the whole documentation of each name from the docstrings.

A name that several modules export, such as ``ntm.NTMLayer`` and ``ntm.layers.NTMLayer``, is documented once, on the
page of the module that it comes from; the other pages and all texts link there.
"""

import importlib
import inspect
import re
from functools import cache

from reference import DOORS, describe
from sphinx.addnodes import pending_xref

#: Modules of base classes whose members nobody looks for here
STANDARD = ("abc", "builtins", "typing")


@cache
def find_homes():
    """Return a dict from a name with its module, such as ntm.NTMLayer, to the module on whose page it is documented."""
    homes = {}
    for door in DOORS:
        module = importlib.import_module(door)
        for name in module.__all__:
            thing = getattr(module, name)
            origin = getattr(thing, "__module__", door)
            doors = [
                other
                for other in DOORS
                if f"{origin}.".startswith(f"{other}.")
                if getattr(importlib.import_module(other), name, None) is thing
                if name in importlib.import_module(other).__all__
            ]
            homes[f"{door}.{name}"] = max(doors, key=len, default=door)
            homes.setdefault(f"{origin}.{name}", homes[f"{door}.{name}"])
    return homes


def is_public(thing):
    """Return whether a class is documented."""
    return f"{thing.__module__}.{thing.__qualname__}" in find_homes()


def find_bases(thing):
    """Return the public base classes of a class; a base that is not public is replaced by its own bases."""
    bases = []
    for base in thing.__bases__:
        bases += [base] if is_public(base) else find_bases(base)
    return list(dict.fromkeys(bases))


def document(module, name):
    """Return the directives that document a name."""
    thing = getattr(module, name)
    if inspect.ismodule(thing):
        return [f".. automodule:: {thing.__name__}", "   :members:", ""]
    if inspect.isclass(thing):
        # What a class has from public classes stands there; what it has from others stands with it
        ends = [
            base.__name__
            for base in thing.__mro__[1:]
            if is_public(base) or base.__module__ in STANDARD
        ]
        return [
            f".. autoclass:: {name}",
            "   :members:",
            f"   :inherited-members: {', '.join(ends)}",
            *(["   :show-inheritance:"] if find_bases(thing) else []),
            "",
        ]
    if inspect.isroutine(thing):
        return [f".. autofunction:: {name}", ""]
    return [f".. py:data:: {name}", "", f"   {describe(module, name)}", ""]


def fill_page(app, docname, source):
    """Append the documentation of the names to the page of a module, and link the names in its table."""
    door = docname.rpartition("/")[2]
    if not docname.startswith("docs/reference/") or door not in DOORS:
        return
    module, homes = importlib.import_module(door), find_homes()
    names = sorted(module.__all__, key=str.lower)
    source[0] = re.sub(
        r"^\| `(\w+)` \|",
        lambda row: f"| {{py:obj}}`{row[1]} <{homes[f'{door}.{row[1]}']}.{row[1]}>` |",
        source[0],
        flags=re.MULTILINE,
    )
    lines = ["", "```{eval-rst}", f".. py:module:: {door}", f".. currentmodule:: {door}", ""]
    for name in names:
        if homes[f"{door}.{name}"] == door:
            lines += document(module, name)
    source[0] += "\n".join([*lines, "```", ""])


def find_elsewhere(app, env, node, content):
    """Resolve a reference to a name by way of the module on whose page it is documented."""
    if node["refdomain"] != "py":
        return None
    owner, _, member = node["reftarget"].rpartition(".")
    homes = find_homes()
    for prefix, rest in ((node["reftarget"], ""), (owner, f".{member}")):
        doors = [""] if "." in prefix else [f"{door}." for door in DOORS]
        for full in (f"{door}{prefix}" for door in doors):
            if full in homes:
                target = f"{homes[full]}.{full.rpartition('.')[2]}{rest}"
                fresh = pending_xref(**{**node.attributes, "refspecific": False})
                return env.get_domain("py").resolve_xref(
                    env, node["refdoc"], app.builder, "obj", target, fresh, content
                )
    return None


def accept_code(app, domain, node):
    """Say nothing of the types of parameters, which are phrases, and of names that exist and are not public.

    A text may say :func:`draw_graph` of a function that the reference does not list. A name that does not exist at all
    is a mistake.
    """
    if domain.name != "py" or "refwarn" not in node:
        return domain.name == "py" or None
    # Docstrings: /path/layout.py:docstring of ntm.data.layout.Layout
    where = re.search(r"docstring of ([\w.]+)", node.source or "")
    scopes = where[1].split(".") if where else []
    target = node["reftarget"].split(".")
    candidates = [[*scopes[:count], *target] for count in range(len(scopes), -1, -1)]
    return any(exists(path) for path in candidates) or None


def exists(path):
    """Return whether a list of names, the first ones those of modules, leads to something."""
    for count in range(len(path), 0, -1):
        try:
            thing = importlib.import_module(".".join(path[:count]))
        except ImportError:
            continue
        for name in path[count:]:
            if not hasattr(thing, name):
                return False
            thing = getattr(thing, name)
        return True
    return False


def keep_public_bases(app, name, thing, options, bases):
    """Name the base classes that are public only."""
    bases[:] = find_bases(thing)


def list_sources(app, what, name, thing, options, lines):
    """Make the footnotes of a docstring a numbered list: a page holds many docstrings, each with a footnote 1."""
    lines[:] = [
        re.sub(r"^\.\. \[(\d)\] ", r"\1. ", re.sub(r"\[(\d)\]_", r"[\1]", line)) for line in lines
    ]


def skip_fields(app, what, name, thing, skip, options):
    """Leave out the fields of named tuples, which have no docstrings of their own."""
    return (
        True
        if inspect.getdoc(thing) and inspect.getdoc(thing).startswith("Alias for field")
        else None
    )


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", fill_page)
    app.connect("missing-reference", find_elsewhere)
    app.connect("warn-missing-reference", accept_code)
    app.connect("autodoc-process-bases", keep_public_bases)
    app.connect("autodoc-process-docstring", list_sources)
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True}
