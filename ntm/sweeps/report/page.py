"""The page of a sweep: its configurations with the spread over seeds, its trials, its failures and its best trial."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytensor

import ntm
from ntm.reports import Page
from ntm.reports.curves import Curve, thin
from ntm.reports.figures import SizeLine, draw_curves, draw_sizes, get_colors
from ntm.reports.page import make_chart, make_charts, make_table
from ntm.reports.readings import describe_name, show
from ntm.sweeps.report.documents import (
    MAX_FAILURES,
    Summary,
    list_last_lines,
    make_tables,
    read_sweep,
    tabulate_trials,
)
from ntm.sweeps.report.outcomes import Outcome, OutcomeReader, describe_problem
from ntm.sweeps.report.pictures import choose_drawn, get_ranges, list_rows, name_drawn, read_curves
from ntm.sweeps.report.statistics import summarise
from ntm.sweeps.report.summary import IN_TRAINING, Subject
from ntm.sweeps.report.tables import Table
from ntm.tasks import Task
from ntm.typing import PathLike
from ntm.visualization.curves import reduce_curves, smooth

#: What is learnt whose best trials the page shows from inside, and measures over sizes, at most
MOST_BEST, MOST_MEASURES = 3, 6
#: Configurations in a table of the page, at most; report.md and report.csv have all
MOST_ROWS = 1000
#: Rows of the table of configurations that are seen without a click
MOST_UNFOLDED = 25
#: The share of a curve over which losses are averaged, as in pictures
SMOOTHING = 0.02


class SweepPage:
    """The page of a sweep. It can be made again and again while the sweep runs.

    Parameters
    ----------
    folder : str or path
        Of the sweep.
    task, sizes, data, indices, may_read_data, tell :
        As of :class:`ntm.reports.Page`, for the best trial.
    reader : OutcomeReader, optional
        What has read the sweep before.

    Raises
    ------
    FileNotFoundError
        If the folder holds no sweep, or a sweep without trials.
    OwnTaskError
        If the task is of the user's own, and it was not given.
    """

    def __init__(
        self,
        folder: PathLike,
        task: type[Task] | None = None,
        sizes: Sequence[Mapping[str, int]] | None = None,
        data: PathLike | None = None,
        indices: Sequence[int] | None = None,
        may_read_data: bool = True,
        tell: Callable[[str], object] = lambda line: None,
        reader: OutcomeReader | None = None,
    ) -> None:
        self.folder, self._task = Path(folder), task
        self._reader = reader or OutcomeReader(folder, task)
        self._options: dict[str, Any] = {
            "sizes": sizes,
            "data": data,
            "indices": indices,
            "may_read_data": may_read_data,
            "tell": tell,
        }
        self._pages: dict[Path, Page] = {}
        read_sweep(self.folder, task, self._reader)

    @property
    def folders(self) -> list[Path]:
        """The folders of the trials, in the order of their names."""
        return self._reader.list_folders()

    def make(self, looks_inside: bool = True) -> dict[str, Any]:
        """Return the contents of the page, by what the files of the sweep hold now.

        Parameters
        ----------
        looks_inside : bool
            Whether the networks of the best trials are run, which takes seconds for each.

        Raises
        ------
        FileNotFoundError, OwnTaskError
            As of the class.
        """
        summary = read_sweep(self.folder, self._task, self._reader)
        sections = []
        problems = list(summary.problems)
        for number, subject in enumerate(summary.subjects):
            end = f": {subject.name}" if len(summary.subjects) > 1 else ""
            found, more = _describe_subject(subject, number, end)
            sections += found
            problems += more
        sections += _list_failures(summary)
        if problems:
            rows = [[each] for each in problems[:MAX_FAILURES]]
            remarks = [f"{len(problems) - len(rows):,} more."] if len(problems) > len(rows) else []
            sections.append(
                make_table("problems", "Files that are damaged", ["file"], rows, remarks=remarks)
            )
        if summary.facts:
            facts = [[name, text] for name, text in summary.facts.items()]
            sections.append(
                make_table("facts", "The sweep", ["", "by sweep.json"], facts, folded=True)
            )
        best = [each.best_trial for each in summary.subjects if each.best_trial is not None]
        for number, outcome in enumerate(best[:MOST_BEST]):
            sections += self._show_trial(outcome, number, looks_inside)
        has_ended = not any(
            each.num_open for one in summary.subjects for each in one.configurations
        )
        learnt = ", ".join(each.name for each in summary.subjects)
        return {
            "title": show(f"{summary.name}: a sweep on {learnt}", 200),
            "lead": f"{summary.counts}.",
            "state": "ended" if has_ended else "not ended",
            "names": [f"{len(summary.outcomes):,} trials"],
            "news": "",
            "colors": get_colors(),
            "made": time.strftime("%Y-%m-%d %H:%M:%S"),
            "version": ntm.__version__,
            "sections": sections,
        }

    def _show_trial(
        self, outcome: Outcome, number: int, looks_inside: bool
    ) -> list[dict[str, Any]]:
        """Return the sections of a page of a trial alone."""
        title = f"Best trial: {outcome.name}"
        try:
            # As trials are trained
            with pytensor.config.change_flags(floatX="float32"):
                if outcome.folder not in self._pages:
                    self._pages = {
                        folder: page for folder, page in list(self._pages.items())[-MOST_BEST:]
                    }
                    self._pages[outcome.folder] = Page(
                        [outcome.folder], task=self._task, **self._options
                    )
                contents = self._pages[outcome.folder].make(looks_inside)
        except (OSError, ValueError) as error:
            words = describe_problem(outcome.folder, error)
            return [make_charts(f"best-{number}", title, [], [f"It cannot be shown: {words}"])]
        head = make_charts(f"best-{number}", title, [], [contents["lead"]])
        for each in contents["sections"]:
            each["id"] = f"best-{number}-{each['id']}"
            each["title"] = f"Best trial: {each['title'][0].lower()}{each['title'][1:]}"
            for chart in each.get("charts", []):
                chart["id"] = f"best-{number}-{chart['id']}"
        return [head, *contents["sections"]]


# ---- Sections


def _describe_subject(
    subject: Subject, number: int, end: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the sections of what is learnt, and what is damaged."""
    first, *others = make_tables(subject)
    sections = []
    if len(first.rows) > MOST_UNFOLDED:
        best = replace(first, title="Best configurations", rows=first.rows[:MOST_UNFOLDED])
        sections.append(_make_section(best, f"best-configurations-{number}", end))
    is_long = bool(sections)
    sections.append(_make_section(first, f"configurations-{number}", end, folded=is_long))
    curves, problems = read_curves(subject)
    drawn = {
        name: _reduce([(each.sequences, each.losses) for each in found])
        for name, found in curves.by_configuration.items()
    }
    charts = []
    if drawn:
        chart = draw_curves(drawn, curves.label)
        charts.append(make_chart(f"curves-{number}", curves.label, chart, curves.remarks))
    waiting = [] if charts else ["No losses were written yet."]
    sections.append(make_charts(f"curves-{number}", f"Learning{end}", charts, waiting))
    charts = _draw_generalisation(subject, number)
    if charts:
        sections.append(make_charts(f"sizes-{number}", f"Generalisation{end}", charts))
    sections += [
        _make_section(each, f"measured-{number}-{k}", end, folded=True)
        for k, each in enumerate(others)
    ]
    sections.append(_make_section(tabulate_trials(subject), f"trials-{number}", end, folded=True))
    return sections, problems


def _make_section(table: Table, id: str, end: str, folded: bool = False) -> dict[str, Any]:
    remarks, rows = table.remarks, table.rows
    if len(rows) > MOST_ROWS:
        remarks = [*remarks, f"The first {MOST_ROWS:,} of {len(rows):,} rows are shown."]
        rows = rows[:MOST_ROWS]
    return make_table(id, f"{table.title}{end}", table.head, rows, table.marked, remarks, folded)


def _reduce(curves: Sequence[tuple[list[float], list[float]]]) -> Curve:
    """Return one curve for some runs: the median, and a band from the least to the largest."""
    if len(curves) == 1:
        return thin(*curves[0])
    smoothed = [
        (np.asarray(sequences, float), smooth(np.asarray(losses, float), SMOOTHING))
        for sequences, losses in curves
    ]
    grid, median, low, high = reduce_curves(smoothed)
    return Curve(grid, median, low, high, 1, 0)


def _draw_generalisation(subject: Subject, number: int) -> list[dict[str, Any]]:
    """Return a chart for each measure over the sizes beyond training."""
    if subject.is_on_data or subject.goal is None:
        return []
    beyond = [each.measure for each in subject.columns if each.where != IN_TRAINING]
    chosen, remarks = choose_drawn(subject)
    charts = []
    for place, measure in enumerate(list(dict.fromkeys(beyond))[:MOST_MEASURES]):
        lines: dict[str, SizeLine] = {}
        for name, each in name_drawn(chosen).items():
            rows = [row for outcome in each.trained for row in list_rows(outcome, measure)]
            sizes = {tuple(row["sizes"].items()): dict(row["sizes"]) for row in rows}
            if not sizes:
                continue
            values: dict[tuple, list[float]] = {key: [] for key in sizes}
            for row in rows:
                value = row[measure]
                values[tuple(row["sizes"].items())].append(np.nan if value is None else value)
            spreads = [summarise(values[key]) for key in sizes]
            median, low, high = (
                np.array([getattr(spread, name) for spread in spreads])
                for name in ("median", "low", "high")
            )
            band = (low, high) if len(each.trained) > 1 else (None, None)
            lines[name] = SizeLine(
                list(sizes.values()), median, get_ranges(each.trained[0]) or {}, *band
            )
        if lines:
            goal = subject.threshold if measure == subject.goal.measure else None
            chart, more = draw_sizes(lines, measure, goal)
            title = describe_name(measure)
            charts.append(make_chart(f"sizes-{number}-{place}", title, chart, [*remarks, *more]))
    return charts


def _list_failures(summary: Summary) -> list[dict[str, Any]]:
    if not summary.failed:
        return []
    rows = [[each.name, "\n".join(list_last_lines(each))] for each in summary.failed[:MAX_FAILURES]]
    remarks = ["The next sweep in the folder tries them again."]
    if len(summary.failed) > MAX_FAILURES:
        remarks.append(f"The first {MAX_FAILURES} of {len(summary.failed):,} are shown.")
    head = ["trial", "the last lines of its log"]
    return [make_table("failures", "Failures", head, rows, remarks=remarks)]
