"""Pictures of a sweep: learning curves with the spread over seeds, and how the networks generalise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ntm.experiments.settings import Settings
from ntm.reports.readings import describe_name, show
from ntm.sweeps.report.outcomes import LearningCurve, Outcome, describe_problem
from ntm.sweeps.report.summary import Configuration, Subject
from ntm.sweeps.states import Status
from ntm.visualization.curves import plot_learning
from ntm.visualization.generalisation import plot_generalisation
from ntm.visualization.style import COLORS

#: Configurations in a picture, at most: there is a colour for each
MOST_DRAWN = len(COLORS)
#: Seeds of a configuration in a picture, at most
MOST_SEEDS = 200
#: The states of trials whose losses are drawn: not those that were pruned, or failed, before their time
DRAWN = (Status.SOLVED, Status.ENDED, Status.BEGUN)


@dataclass(frozen=True)
class Curves:
    """The learning curves of what was learnt.

    Attributes
    ----------
    by_configuration : dict from str to list of LearningCurve
        By the names of configurations, the best first: of each a curve a seed.
    label : str
        What the losses are.
    remarks : list of str
        What a reader has to know.
    """

    by_configuration: Mapping[str, list[LearningCurve]]
    label: str
    remarks: list[str]


def choose_drawn(subject: Subject) -> tuple[list[Configuration], list[str]]:
    """Return the configurations that are drawn, and a remark if these are not all."""
    count = len(subject.configurations)
    if count <= MOST_DRAWN:
        return subject.configurations, []
    return subject.configurations[:MOST_DRAWN], [
        f"The best {MOST_DRAWN} of {count:,} configurations are drawn."
    ]


def name_drawn(configurations: Sequence[Configuration]) -> dict[str, Configuration]:
    """Return configurations by the names that they have in a picture: values that all of them share are left out."""
    names = list(dict.fromkeys(name for each in configurations for name in each.values))
    shared = [
        name for name in names if len({each.values.get(name) for each in configurations}) == 1
    ]
    named: dict[str, Configuration] = {}
    for each in configurations:
        words = [
            f"{describe_name(name)} {show(value)}"
            for name, value in each.values.items()
            if name not in shared or len(configurations) == 1
        ]
        name = ", ".join(words) or each.name
        while name in named:
            name += "'"
        named[name] = each
    return named


def read_curves(subject: Subject) -> tuple[Curves, list[str]]:
    """Read the learning curves of the best configurations, and what is damaged."""
    chosen, remarks = choose_drawn(subject)
    curves: dict[str, list[LearningCurve]] = {}
    problems: list[str] = []
    kinds: dict[str, None] = {}
    for name, each in name_drawn(chosen).items():
        found = []
        for outcome in each.outcomes[:MOST_SEEDS]:
            if outcome.status not in DRAWN:
                continue
            try:
                curve = outcome.read_curve()
            except (OSError, ValueError) as error:
                problems.append(describe_problem(outcome.folder, error))
                continue
            if curve is not None:
                found.append(curve)
                kinds[curve.name] = None
        if len(each.outcomes) > MOST_SEEDS:
            remarks.append(f"{name}: the first {MOST_SEEDS} of {len(each.outcomes):,} seeds.")
        if found:
            curves[name] = found
    if any(len(found) > 1 for found in curves.values()):
        remarks.append(
            "The line is the median over the seeds, and the band goes from the lowest to the highest. A seed that "
            "ended earlier than others keeps its last loss. Pruned and failed trials are left out."
        )
    return Curves(curves, _describe_losses(subject.outcomes[0], list(kinds)), remarks), problems


def _describe_losses(outcome: Outcome, kinds: Sequence[str]) -> str:
    """Return what the losses of trials are, with their unit, for an axis."""
    settings = outcome.trial.settings
    if isinstance(settings, Settings):
        numbers = settings.task_class.output == "numbers"
        return "squared error per sequence" if numbers else "loss per sequence, bits"
    unit = "squared error" if settings.layout.kind == "numbers" else "nats"
    return f"{' or '.join(kinds)}, {unit}"


def draw_curves(subject: Subject, curves: Curves) -> Figure | None:
    """Draw the learning curves; None if there are no losses yet."""
    lines: dict[str, Any] = {}
    for name, found in curves.by_configuration.items():
        pairs = [(each.sequences, each.losses) for each in found]
        lines[_make_plain(name)] = pairs[0] if len(pairs) == 1 else pairs
    if not lines:
        return None
    return plot_learning(lines, title=_make_title(subject), label=curves.label)


def draw_generalisation(subject: Subject) -> Figure | None:
    """Draw how the networks of the best configurations generalise; None if they were measured in training only."""
    chosen, _ = choose_drawn(subject)
    results: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    measure = _choose_measure(subject)
    if measure is None:
        return None
    for name, each in name_drawn(chosen).items():
        found = [
            {"measures": rows} for outcome in each.trained if (rows := list_rows(outcome, measure))
        ]
        if not found:
            continue
        name = _make_plain(name)
        results[name] = found[0] if len(found) == 1 else found
        ranges[name] = get_ranges(each.trained[0])
    if not results:
        return None
    known = [each for each in ranges.values() if each is not None]
    same = len(known) == len(ranges) and all(each == known[0] for each in known)
    return plot_generalisation(
        results,
        _make_title(subject),
        measure,
        training=known[0] if same else {k: v for k, v in ranges.items() if v is not None} or None,
    )


def _choose_measure(subject: Subject) -> str | None:
    """Return the measure that is drawn over the sizes: wrong bits where there are, else the one that counts."""
    if subject.is_on_data or subject.goal is None:
        return None
    names = {column.measure for column in subject.columns}
    return "wrong_bits" if "wrong_bits" in names else subject.goal.measure


def list_rows(outcome: Outcome, measure: str) -> list[dict[str, Any]]:
    """Return the rows of a result with sizes that are numbers, and the measure."""
    return [
        row
        for row in outcome.result.get("measures", [])
        if row.get("sizes") and measure in row and np.isfinite(list(row["sizes"].values())).all()
    ]


def get_ranges(outcome: Outcome) -> dict[str, tuple[int, int]] | None:
    """Return the ranges of the sizes in training; None if no task can be made from the settings."""
    settings = outcome.trial.settings
    assert isinstance(settings, Settings)
    try:
        return settings.make_task().sizes
    except Exception:  # The settings of a stranger, or a task of the user's own
        return None


def _make_title(subject: Subject) -> str:
    title = _make_plain(subject.name)
    count = len(subject.configurations)
    return (
        title
        if count <= MOST_DRAWN
        else f"{title}: the best {MOST_DRAWN} of {count:,} configurations"
    )


def _make_plain(text: str) -> str:
    """Return a text for Matplotlib: no dollar sign begins a formula, no underscore hides it from the legend."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
