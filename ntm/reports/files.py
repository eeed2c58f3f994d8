"""The files of a page: its HTML, in one file or in several, and what a browser may do with it."""

import base64
import hashlib
import html
from importlib import resources
from typing import Any

from ntm.files import atomic_write, to_json
from ntm.reports.figures import import_plotly
from ntm.typing import PathLike

__all__ = ["make_html", "write_page"]

#: The element that holds the contents of a page that is one file
START = '<script type="application/json" id="contents">'
#: What a page shows until its program has drawn it, or where none is run
BODY = '<main id="page"><p>loading…</p></main>\n<noscript><p>This page needs JavaScript.</p></noscript>'
#: What a page may do, whatever text is in it. Plotly sets styles, and saves a picture by way of a blob
POLICY = (
    "default-src 'none'; script-src {programs}; style-src {styles}; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
#: The page's own programs, in the order in which they are run
SCRIPTS = ("charts.js", "explorer.js", "page.js")


def get_plotly() -> str:
    """Return Plotly's program for browsers.

    Raises
    ------
    ImportError
        If Plotly is not installed.
    """
    program = import_plotly().offline.get_plotlyjs()
    # A browser reads both ends of lines as one, and the checksum is of what it reads
    return program.replace("\r\n", "\n").replace("\r", "\n")


def read_static(name: str) -> str:
    """Return the text of a file of the page's style or programs."""
    return (resources.files("ntm.reports") / "static" / name).read_text(encoding="utf-8")


def read_scripts() -> list[tuple[str, str]]:
    """Return the names and texts of the page's own programs."""
    return [(name, read_static(name)) for name in SCRIPTS]


def write_page(path: PathLike, contents: dict[str, Any]) -> None:
    """Write a page as one HTML file, all of it or nothing.

    Parameters
    ----------
    path : str or path
    contents : dict
        As of :meth:`ntm.reports.page.Page.make`.
    """
    text = make_html(contents)
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def make_html(contents: dict[str, Any]) -> str:
    """Return a page as one HTML file that needs no other: program, style and contents are in it.

    No other program runs in the page: the policy names the checksums of those that may.
    """
    scripts = [get_plotly(), *(text for _, text in read_scripts())]
    policy = POLICY.format(programs=" ".join(map(_hash, scripts)), styles="'unsafe-inline'")
    return "\n".join(
        [
            *_begin(policy, contents["title"]),
            f"<style>{read_static('page.css')}</style>",
            "</head>",
            "<body>",
            BODY,
            f"{START}{embed(contents)}</script>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>\n",
        ]
    )


def make_shell(title: str) -> str:
    """Return the HTML of a page whose program, style and contents are files of a server."""
    return "\n".join(
        [
            *_begin(None, title),
            '<link rel="stylesheet" href="page.css">',
            "</head>",
            "<body>",
            BODY,
            *(f'<script src="{name}"></script>' for name in ("plotly.js", *SCRIPTS)),
            "</body>",
            "</html>\n",
        ]
    )


def _begin(policy: str | None, title: str) -> list[str]:
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">']
    if policy is not None:
        lines.append(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
    return [
        *lines,
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{html.escape(title)}</title>",
        '<link rel="icon" href="data:,">',
    ]


def embed(value: Any) -> str:
    """Return the JSON of a value for a `script` element: no text in it ends the element or begins another."""
    text = to_json(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"
