"""The report of a sweep as text: Markdown to read, LaTeX for a paper, CSV for other programs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ntm.files import inside, read_json, to_json
from ntm.reports.readings import describe_name, show
from ntm.sweeps.report.outcomes import Outcome, OutcomeReader
from ntm.sweeps.report.statistics import describe_number, describe_spread, summarise
from ntm.sweeps.report.summary import (
    IN_TRAINING,
    Configuration,
    Subject,
    describe_counts,
    list_measures,
    make_subjects,
)
from ntm.sweeps.report.tables import (
    Table,
    escape_markdown,
    write_csv,
    write_latex,
    write_markdown,
)
from ntm.sweeps.states import Status
from ntm.sweeps.sweep import SWEEP
from ntm.tasks import Task
from ntm.typing import PathLike

#: Rows of trials and lines of failures in a report, and rows of a table in LaTeX, at most; report.csv has all trials
MAX_TRIALS, MAX_FAILURES, MAX_LATEX = 1000, 50, 30
#: Facts of sweep.json that are shown, at most
MAX_FACTS = 30
#: Columns of report.csv before and after the settings that vary
CSV_START = ("trial", "learns", "configuration")
CSV_END = (
    "seed",
    "state",
    "best",
    "steps",
    "sequences",
    "epochs",
    "seconds",
    "parameters",
    "skipped",
    "restarts",
)
#: The numbers of a result among them
CSV_COUNTS = ("sequences", "epochs", "parameters", "skipped", "restarts")
#: How a report says what its numbers are
NUMBERS = "median (lowest to highest) over the seeds that were trained to the end"


@dataclass(frozen=True)
class Summary:
    """What the files of a sweep say.

    Attributes
    ----------
    name : str
        Of the sweep's folder.
    facts : dict from str to str
        What the sweep varies and how it searches.
    outcomes : list of Outcome
        Of all trials, in the order of their names.
    subjects : list of Subject
    problems : list of str
        What is damaged.
    """

    name: str
    facts: Mapping[str, str]
    outcomes: list[Outcome]
    subjects: list[Subject]
    problems: list[str] = field(default_factory=list)

    @property
    def counts(self) -> str:
        """How many trials there are in each state, in words."""
        return describe_counts(self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """The trials that failed."""
        return [each for each in self.outcomes if each.status == Status.FAILED]


def is_sweep(folder: PathLike) -> bool:
    """Tell whether a folder is that of a sweep."""
    return inside(folder, SWEEP).exists()


def read_sweep(
    folder: PathLike, task: type[Task] | None = None, reader: OutcomeReader | None = None
) -> Summary:
    """Read what the files of a sweep say; the sweep may be running.

    Parameters
    ----------
    folder : str or path
    task : type, optional
        The class of the task, if it is of the user's own.
    reader : OutcomeReader, optional
        What has read the sweep before.

    Raises
    ------
    FileNotFoundError
        If the folder holds no sweep, or a sweep without trials.
    OwnTaskError
        If the task is of the user's own, and it was not given.
    """
    folder = Path(folder)
    if not is_sweep(folder):
        raise FileNotFoundError(f"there is no sweep in {folder}: no {SWEEP}")
    outcomes, problems = (reader or OutcomeReader(folder, task)).read()
    if not outcomes:
        more = f". {problems[0]}" if problems else ""
        raise FileNotFoundError(f"the sweep in {folder} has no trials yet{more}")
    try:
        facts = _describe_facts(read_json(inside(folder, SWEEP)))
    except ValueError as error:
        facts, problems = {}, [f"{SWEEP}: {show(error, 300)}", *problems]
    name = show(folder.resolve().name or "sweep")
    return Summary(name, facts, outcomes, make_subjects(outcomes), problems)


def _describe_facts(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {
        describe_name(name): show(_describe_fact(value), 300)
        for name, value in list(found.items())[:MAX_FACTS]
    }


def _describe_fact(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_describe_fact(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_describe_fact, value))
    return value if isinstance(value, str) else to_json(value)


# ---- Tables


def make_tables(subject: Subject) -> list[Table]:
    """Return the tables of what was learnt: the configurations, then each measure over the sizes of sequences."""
    return [_tabulate_configurations(subject), *_tabulate_sizes(subject)]


def _name_settings(subject: Subject) -> tuple[list[str], Callable[[Configuration], list[str]]]:
    """Return the titles of the columns that tell configurations apart, and what gives their cells."""
    names = subject.setting_names
    if not names:
        return ["network"], lambda each: [each.name]

    def list_cells(each: Configuration) -> list[str]:
        return [show(each.values[name]) if name in each.values else "–" for name in names]

    return [describe_name(name) for name in names], list_cells


def _tabulate_configurations(subject: Subject) -> Table:
    titles, list_cells = _name_settings(subject)
    columns: dict[str, Callable[[Configuration], str]] = {
        "seeds": lambda each: f"{len(each.outcomes):,}"
    }
    if subject.is_on_data:
        columns["ended"] = lambda each: f"{len(each.trained):,}"
    else:
        columns["solved"] = lambda each: f"{each.num_solved:,} of {each.num_over:,}"
    for status in (Status.PRUNED, Status.FAILED):
        if any(each.counts[status] for each in subject.configurations):
            columns[str(status)] = lambda each, status=status: f"{each.counts[status]:,}"  # type: ignore[misc]
    if any(each.num_open for each in subject.configurations):
        columns["not ended"] = lambda each: f"{each.num_open:,}"
    for name in ("epochs", "sequences") if subject.is_on_data else ("sequences",):
        columns[name] = lambda each, name=name: _describe_counts(each, name)  # type: ignore[misc]
    columns["minutes"] = lambda each: _describe_counts(each, "seconds", 60)
    shown = subject.columns if subject.is_on_data else [subject.goal]
    for column in filter(None, shown):
        columns[column.title] = lambda each, column=column: describe_spread(  # type: ignore[misc]
            each.list_values(column), describe_number
        )
    rows = [
        [f"{rank}", *list_cells(each), *(get(each) for get in columns.values())]
        for rank, each in enumerate(subject.configurations, 1)
    ]
    goal = (
        ""
        if subject.threshold is None
        else f" A trial solves the task with {_describe_goal(subject)}."
    )
    return Table(
        "Configurations",
        ["rank", *titles, *columns],
        rows,
        1 + len(titles),
        [] if subject.best is None else [0],
        [f"Of several seeds: {NUMBERS}.{goal}", *([subject.rule] if subject.best else [])],
    )


def _describe_goal(subject: Subject) -> str:
    assert subject.goal is not None
    return f"{describe_name(subject.goal.measure)} below {subject.threshold:g} at the sizes of training"


def _describe_counts(configuration: Configuration, name: str, unit: float = 1) -> str:
    counts = [each.get_count(name) / unit for each in configuration.trained]
    return describe_spread([value for value in counts if value == value], describe_number)


def _tabulate_sizes(subject: Subject) -> list[Table]:
    """Return a table of each measure over the sizes beyond training: what counts as solved, then what is right."""
    if subject.is_on_data or subject.goal is None:
        return []
    titles, list_cells = _name_settings(subject)
    tables = []
    for measure in dict.fromkeys([subject.goal.measure, "correct"]):
        columns = [
            each
            for each in subject.columns
            if each.measure == measure and each.where != IN_TRAINING
        ]
        if not columns:
            continue
        rows = [
            [
                f"{rank}",
                *list_cells(each),
                *(describe_spread(each.list_values(column), describe_number) for column in columns),
            ]
            for rank, each in enumerate(subject.configurations, 1)
            if each.trained
        ]
        name = "share of sequences right" if measure == "correct" else describe_name(measure)
        tables.append(
            Table(
                f"Generalisation: {name}",
                ["rank", *titles, *(column.where for column in columns)],
                rows,
                1 + len(titles),
                [0] if subject.best else [],
                [f"Of several seeds: {NUMBERS}."],
            )
        )
    return tables


def tabulate_trials(subject: Subject) -> Table:
    """Return a table of the trials, those of the best configuration first."""
    measures = [] if subject.goal is None else [subject.goal]
    if subject.is_on_data:
        measures = subject.columns
    elif subject.goal is not None:
        measures += [
            each
            for each in subject.columns
            if each.measure == subject.goal.measure and each != subject.goal
        ]
    rows = []
    for rank, group in enumerate(subject.configurations, 1):
        for each in group.outcomes:
            found = list_measures(each)
            cells = [each.name, f"{rank}", f"{each.trial.seed}", each.status]
            counts = [each.steps, each.get_count("sequences"), each.seconds / 60]
            cells += [describe_number(value) for value in counts]
            cells += [
                describe_number(found[column]) if column in found else "–" for column in measures
            ]
            rows.append((each, cells))
    best = subject.best_trial
    head = ["trial", "rank", "seed", "state", "steps", "sequences", "minutes"]
    remarks = ["The rank is that of the configuration."]
    if len(rows) > MAX_TRIALS:
        remarks.append(
            f"The first {MAX_TRIALS:,} of {len(rows):,} trials are shown; report.csv has all."
        )
        rows = rows[:MAX_TRIALS]
    return Table(
        "Trials",
        [*head, *(column.title for column in measures)],
        [cells for _, cells in rows],
        4,
        [k for k, (each, _) in enumerate(rows) if each is best],
        remarks,
    )


# ---- Markdown


def make_markdown(
    summary: Summary, pictures: Sequence[tuple[str, str]] = (), remarks: Sequence[str] = ()
) -> str:
    """Return the report in Markdown.

    Parameters
    ----------
    summary : Summary
    pictures : list of pair of str
        The titles and the names of the files of pictures beside the report.
    remarks : list of str
        On the pictures.
    """
    lines = [f"# Sweep {escape_markdown(summary.name)}", "", f"{summary.counts}.", ""]
    for name, text in summary.facts.items():
        lines.append(f"- {escape_markdown(name)}: {escape_markdown(text)}")
    if summary.facts:
        lines.append("")
    lines += _list_problems(summary)
    for title, name in pictures:
        lines += [f"![{escape_markdown(title)}]({name})", ""]
    lines += [line for each in remarks for line in (escape_markdown(each), "")]
    for subject in summary.subjects:
        end = f": {subject.name}" if len(summary.subjects) > 1 else ""
        best = subject.best_trial
        if best is not None:
            where = f"`trials/{best.trial.name}`" if _is_plain(best.trial.name) else best.name
            lines += [f"Best trial{escape_markdown(end)}: {where}.", ""]
        for table in [*make_tables(subject), tabulate_trials(subject)]:
            lines += [f"## {escape_markdown(table.title + end)}", "", *write_markdown(table), ""]
            lines += [line for each in table.remarks for line in (escape_markdown(each), "")]
    lines += _list_failures(summary)
    return "\n".join(lines).rstrip() + "\n"


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[\w.+=,-]+", name, re.ASCII) is not None


def _list_problems(summary: Summary) -> list[str]:
    if not summary.problems:
        return []
    lines = ["Files that are damaged, and left out:", ""]
    lines += [f"- {escape_markdown(each)}" for each in summary.problems[:MAX_FAILURES]]
    if len(summary.problems) > MAX_FAILURES:
        lines.append(f"- and {len(summary.problems) - MAX_FAILURES:,} more")
    return [*lines, ""]


def list_last_lines(outcome: Outcome) -> list[str]:
    """Return the last lines of a trial that failed, each of bounded length."""
    return [show(line, 300) for line in outcome.error.splitlines()[-20:] if line.strip()]


def _list_failures(summary: Summary) -> list[str]:
    if not summary.failed:
        return []
    lines = ["## Failures", "", "The next sweep in the folder tries them again.", ""]
    for each in summary.failed[:MAX_FAILURES]:
        # No text ends an indented block
        lines += [f"{escape_markdown(each.name)}:", ""]
        lines += [*(f"    {line}" for line in list_last_lines(each)), ""]
    if len(summary.failed) > MAX_FAILURES:
        lines += [f"{len(summary.failed) - MAX_FAILURES:,} more trials failed.", ""]
    return lines


# ---- LaTeX


def make_latex(summary: Summary) -> str:
    """Return the tables of the report in LaTeX."""
    lines = [
        f"% The sweep {show(summary.name).replace('%', '')}: {summary.counts}.",
        r"% In the preamble: \usepackage{booktabs,graphicx}",
    ]
    for place, subject in enumerate(summary.subjects, 1):
        seeds = summarise([len(each.trained) for each in subject.configurations])
        low, high = int(seeds.low), int(seeds.high)
        over = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        for number, table in enumerate(make_tables(subject), 1):
            caption = (
                f"{subject.name}: {table.title[0].lower()}{table.title[1:]}. Median (lowest to highest) over the seeds "
                f"that were trained to the end, {over} for each configuration."
            )
            if number == 1 and subject.threshold is not None:
                caption += f" Solved: {_describe_goal(subject)}."
            if len(table.rows) > MAX_LATEX:
                caption += f" The best {MAX_LATEX} of {len(table.rows):,} configurations."
                table = replace(table, rows=table.rows[:MAX_LATEX])
            label = f"tab:sweep-{place}-{number}"
            lines += ["", *write_latex(table, caption, label)]
    return "\n".join(lines) + "\n"


# ---- CSV


def make_csv(summary: Summary) -> str:
    """Return all trials as CSV: a row a trial with its settings that vary, its seed and its numbers."""
    settings = list(dict.fromkeys(name for each in summary.outcomes for name in each.values))
    columns = list(dict.fromkeys(column for each in summary.subjects for column in each.columns))
    known = {*CSV_START, *CSV_END, *(column.title for column in columns)}
    head = [
        *CSV_START,
        *(f"setting {name}" if name in known else name for name in settings),
        *CSV_END,
        *(column.title for column in columns),
    ]
    rows: list[list[Any]] = []
    for subject in summary.subjects:
        for rank, group in enumerate(subject.configurations, 1):
            for each in group.outcomes:
                found = list_measures(each)
                counts = {name: _make_whole(each.get_count(name)) for name in CSV_COUNTS}
                numbers = {
                    "seed": each.trial.seed,
                    "state": each.status,
                    "best": each is subject.best_trial,
                    "steps": _make_whole(each.steps),
                    "seconds": each.seconds,
                    **counts,
                }
                rows.append(
                    [
                        *(each.trial.name, subject.name, rank),
                        *(each.values.get(name) for name in settings),
                        *(numbers[name] for name in CSV_END),
                        *(found.get(column) for column in columns),
                    ]
                )
    return write_csv(head, rows)


def _make_whole(value: float) -> float | int | None:
    """Return a count as an int; None if it is not known."""
    if value != value:
        return None
    return int(value) if value.is_integer() else value
