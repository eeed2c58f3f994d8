"""Tables as Markdown, LaTeX and CSV. Texts of a sweep may come from a stranger: every one of them stays a text."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Table", "escape_latex", "escape_markdown", "write_csv", "write_latex", "write_markdown"]

#: What has a meaning in Markdown, here or there
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~$&!#])")
#: Addresses that Markdown turns into links without brackets
ADDRESSES = re.compile(r"(https?|ftp|mailto|xmpp)(:)|(www)(\.)|(\w)(@)", re.IGNORECASE)
#: What has a meaning in LaTeX, or another shape, by what stands for it
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\textasciigrave{}",
    # A line of a table that begins with a bracket would be an argument of the line's end before
    "[": r"{[}",
    "]": r"{]}",
    "–": r"\textendash{}",
}
#: Rules and columns that a table may have in LaTeX, where no other size is given
LATEX_START = r"""\begin{table}
  \centering
  \caption{%s}
  \label{%s}
  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%%
  \begin{tabular}{%s}
    \toprule"""
LATEX_END = r"""    \bottomrule
  \end{tabular}}
\end{table}"""
#: What makes a spreadsheet take a text for a formula
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes
    ----------
    title : str
    head : list of str
    rows : list of list of str
    num_left : int
        How many columns, from the first on, are texts and stand at the left. The others are numbers.
    marked : list of int
        The places of rows that stand out.
    remarks : list of str
        What a reader has to know, a sentence or more each.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    num_left: int = 1
    marked: list[int] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


# ---- Markdown


def escape_markdown(text: object) -> str:
    """Return a text for Markdown: no character of it has a meaning there."""
    line = MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
    return ADDRESSES.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", line)


def write_markdown(table: Table, is_escaped: bool = False) -> list[str]:
    """Return a table as lines of Markdown.

    Parameters
    ----------
    table : Table
    is_escaped : bool
        Whether the texts are Markdown already.
    """
    take = str if is_escaped else escape_markdown
    others = len(table.head) - table.num_left
    lines = [_join(map(take, table.head)), "|" + " :-- |" * table.num_left + " --: |" * others]
    for k, row in enumerate(table.rows):
        cells = [take(each) for each in row]
        if k in table.marked:
            cells = [f"**{each}**" if each.strip() else each for each in cells]
        lines.append(_join(cells))
    return lines


def _join(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


# ---- LaTeX


def escape_latex(text: object) -> str:
    """Return a text for LaTeX: no character of it is a command."""
    line = " ".join(str(text).split())
    escaped = "".join(LATEX.get(each, each) for each in line)
    # Two hyphens would be a dash; a hyphen before a number is a minus
    escaped = re.sub("-(?=-)", "-{}", escaped)
    return re.sub(r"(?<![\w.}-])-(?=\d)", "$-$", escaped)


def write_latex(table: Table, caption: str, label: str) -> list[str]:
    """Return a table as lines of LaTeX. It needs the packages booktabs, graphicx and textcomp.

    Parameters
    ----------
    table : Table
    caption : str
        Not escaped.
    label : str
        Of letters, digits and hyphens.
    """
    others = len(table.head) - table.num_left
    columns = "l" * table.num_left + "r" * others
    lines = [LATEX_START % (escape_latex(caption), label, columns)]
    lines += [_join_latex(map(escape_latex, table.head)), r"    \midrule"]
    for k, row in enumerate(table.rows):
        cells = [escape_latex(each) for each in row]
        if k in table.marked:
            cells = [rf"\textbf{{{each}}}" if each else each for each in cells]
        lines.append(_join_latex(cells))
    return [*lines, LATEX_END]


def _join_latex(cells: Iterable[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


# ---- CSV


def write_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV. Floats have all their digits; None and what is not finite are empty cells.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_make_cell(each) for each in head])
    writer.writerows([_make_cell(each) for each in row] for row in rows)
    return text.getvalue()


def _make_cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return repr(value)
    text = " ".join(str(value).split())
    return f"'{text}" if str(value).startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.I) is not None
