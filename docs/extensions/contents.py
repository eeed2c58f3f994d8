"""The contents of the documentation, at its left side, come from its README pages.

Each heading of such a page becomes a part, each link that begins a row of a table or an item of a list an entry.
"""

import posixpath
import re


def make_entry(docname, title, path):
    """Return an entry: the title as the link has it, and the page's name."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), path))
    return f"{title.replace('`', '')} </{posixpath.splitext(path)[0]}>"


def make_contents(app, docname, source):
    """Append hidden tables of contents to a page that is called README, one for each of its headings."""
    if not re.fullmatch(r"docs/(.*/)?README", docname):
        return
    for part in re.split(r"^## ", source[0], flags=re.MULTILINE):
        caption, _, text = part.partition("\n")
        links = re.findall(r"^(?:\| |- )\[([^\]]*)\]\(([^)#:]+)\)", text, flags=re.MULTILINE)
        entries = [make_entry(docname, title, path) for title, path in links]
        if entries:
            options = [":hidden:", f":caption: {caption}" if docname == app.config.root_doc else ""]
            source[0] += "\n".join(
                ["", "```{toctree}", *filter(None, options), "", *entries, "```", ""]
            )


def write_index(app, exception):
    """Write index.html, which leads to the first page."""
    if exception is None and app.builder.name == "html":
        page = app.builder.get_target_uri(app.config.root_doc)
        text = f'<!DOCTYPE html><meta charset="utf-8"><title>{app.config.html_title}</title>'
        text += f'<meta http-equiv="refresh" content="0; url={page}"><a href="{page}">{page}</a>\n'
        (app.outdir / "index.html").write_text(text, encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", make_contents)
    app.connect("build-finished", write_index)
    return {"parallel_read_safe": True}
