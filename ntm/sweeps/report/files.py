"""The files of a report, in the folder of the sweep. Each is written whole or not at all."""

import re
from collections.abc import Callable
from pathlib import Path

from ntm.files import atomic_write, inside
from ntm.reports import write_page
from ntm.reports.figures import import_plotly
from ntm.sweeps.report.documents import Summary, make_csv, make_latex, make_markdown, read_sweep
from ntm.sweeps.report.outcomes import OutcomeReader
from ntm.sweeps.report.page import SweepPage
from ntm.sweeps.report.pictures import draw_curves, draw_generalisation, read_curves
from ntm.tasks import Task
from ntm.typing import PathLike
from ntm.visualization.figures import save_figure

#: The files of a report
MARKDOWN, CSV, LATEX, PAGE = "report.md", "report.csv", "report.tex", "index.html"
#: The formats of its pictures
ENDINGS = (".png", ".pdf")


def write_report(
    folder: PathLike,
    task: type[Task] | None = None,
    *,
    page: bool = True,
    tell: Callable[[str], object] = lambda line: None,
    reader: OutcomeReader | None = None,
) -> list[Path]:
    """Write the report of a sweep into its folder, by what its files hold now: the sweep may be running.

    ``report.md``, ``report.csv`` and ``report.tex`` hold tables, ``curves.png`` the learning curves with the spread
    over seeds, ``generalisation.png`` a measure over the sizes of sequences, both also as PDF, and ``index.html`` is a
    page of it all. Earlier reports are overwritten. Files of trials that are damaged are named in the report, and left
    out.

    Parameters
    ----------
    folder : str or path
        Of the sweep.
    task : type, optional
        The class of the task, if it is of the user's own.
    page : bool
        Whether to write the page, which needs Plotly and runs the network of the best trial.
    tell : callable, optional
        Takes a line for each thing that takes time, is damaged or is left out.
    reader : OutcomeReader, optional
        What has read the sweep before: files that did not change since are not read again.

    Returns
    -------
    list of Path
        The files, in the order in which they were written.

    Raises
    ------
    FileNotFoundError
        If the folder holds no sweep, or a sweep without trials.
    OwnTaskError
        If the task is of the user's own, and it was not given.
    ValueError
        If a file of the report is a link: it could lead out of the folder.
    OSError
        If a file cannot be written.
    """
    folder = Path(folder)
    reader = reader or OutcomeReader(folder, task)
    summary = read_sweep(folder, task, reader)
    for each in summary.problems:
        tell(f"left out: {each}")
    written = [
        _write_text(folder, CSV, make_csv(summary)),
        _write_text(folder, LATEX, make_latex(summary)),
    ]
    drawn, pictures, remarks = _write_pictures(folder, summary, tell)
    written += [
        _write_text(folder, MARKDOWN, make_markdown(summary, pictures, remarks)),
        *drawn,
    ]
    if page:
        try:
            import_plotly()
        except ImportError as error:
            tell(f"no {PAGE}: {error}")
        else:
            path = inside(folder, PAGE)
            write_page(path, SweepPage(folder, task, tell=tell, reader=reader).make())
            written.append(path)
    return written


def _write_text(folder: Path, name: str, text: str) -> Path:
    path = inside(folder, name)
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _write_pictures(
    folder: Path, summary: Summary, tell: Callable[[str], object]
) -> tuple[list[Path], list[tuple[str, str]], list[str]]:
    """Write the pictures; return their paths, the title and name of each for the report, and remarks on them."""
    written: list[Path] = []
    pictures: list[tuple[str, str]] = []
    remarks: list[str] = []
    for number, subject in enumerate(summary.subjects, 1):
        end = "" if len(summary.subjects) == 1 else _make_end(subject.name, number)
        curves, problems = read_curves(subject)
        for each in problems:
            tell(f"left out: {each}")
            summary.problems.append(each)
        figures = {
            f"curves{end}": ("Learning curves", draw_curves(subject, curves)),
            f"generalisation{end}": ("Generalisation", draw_generalisation(subject)),
        }
        for name, (title, figure) in figures.items():
            if figure is None:
                continue
            for ending in ENDINGS:
                path = inside(folder, f"{name}{ending}")
                save_figure(figure, path)
                written.append(path)
            pictures.append((f"{title}: {subject.name}", f"{name}{ENDINGS[0]}"))
        remarks += curves.remarks
    return written, pictures, list(dict.fromkeys(remarks))


def _make_end(name: str, number: int) -> str:
    """Return the end of the name of a picture, for one of several tasks."""
    word = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:40]
    return f"-{number}-{word}" if word else f"-{number}"
