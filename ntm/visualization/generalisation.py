"""How networks generalise: a measure over the sizes of sequences."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ntm.typing import Array
from ntm.visualization.style import (
    COLORS,
    LINES,
    MARKERS,
    MASKED,
    QUIET,
    add_legend,
    drawing,
    get_legend_height,
    name_runs,
)

__all__ = ["plot_generalisation"]

#: Sizes and measures, as :meth:`ntm.experiments.Run.measure` gives them
Result: TypeAlias = Mapping[str, Any]
#: The sizes of sequences, such as ``(("length", 20),)``
Sizes: TypeAlias = tuple[tuple[str, int], ...]
#: The least and the largest of each of the sizes in training
Ranges: TypeAlias = Mapping[str, tuple[int, int]]

#: Inches
HEIGHT = 2.4
#: Numbers whose largest is more than so many times the smallest have a logarithmic axis
MOST_LINEAR = 50
#: The most decades of a logarithmic axis above its zero
DECADES = 4
#: What measures of tasks are called on an axis
MEASURES = {
    "bits": "cross-entropy per sequence, bits",
    "excess_bits": "bits per sequence above the best possible",
    "ratio": "bits per sequence, times the best possible",
    "wrong_bits": "wrong bits per sequence",
    "wrong": "wrong steps per sequence",
    "error": "mean absolute error",
    "correct": "sequences without an error, share",
}


def label_measure(measure: str) -> str:
    """Return what a measure of a task is called on an axis."""
    return MEASURES.get(measure, f"{measure.replace('_', ' ')} per sequence")


def plot_generalisation(
    results: Mapping[str, Result | Sequence[Result]],
    title: str | None = None,
    measure: str | None = None,
    figure: Figure | None = None,
    width: float | None = None,
    *,
    training: Ranges | Mapping[str, Ranges] | None = None,
    baselines: Mapping[str, Result] | None = None,
) -> Figure:
    """Draw a measure of networks over the sizes of sequences, inside and beyond the training range.

    Of several results with the same name, such as those of several seeds, the line is the median, and the band goes
    from the lowest to the highest. If one size differs and is a number, the axis has numbers; else a place for each
    combination of sizes.

    Parameters
    ----------
    results : dict from str to dict, or to list of dict
        Each with ``measures``, as :meth:`ntm.experiments.Run.measure` gives them.
    title : str, optional
    measure : str, optional
        The measure to draw; by default ``wrong_bits`` where the results have it, else their first.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.
    width : float, optional
        In inches: :data:`ntm.visualization.COLUMN_WIDTH` or :data:`ntm.visualization.FULL_WIDTH`, the default.
    training : dict from str to pair of int, optional
        The ranges of the sizes in training, as the attribute `sizes` of a task: shaded. Of networks that were trained
        on different ranges a dict from the name of each result to its ranges: each range is shaded in the colour of
        its line.
    baselines : dict from str to dict, optional
        What guessing or the best possible predictions reach, with ``measures``, as results: grey lines.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a result was measured at the training sizes only, or not by this measure.
    """
    groups = {
        name: [group] if isinstance(group, Mapping) else list(group)
        for name, group in results.items()
    }
    if not groups:
        raise ValueError("plot_generalisation: there are no results to draw")
    rows = {name: [_list_rows(name, each) for each in group] for name, group in groups.items()}
    names = [key for key in next(iter(rows.values()))[0][0] if key != "sizes"]
    measure = measure or ("wrong_bits" if "wrong_bits" in names else names[0])
    lines = {
        name: [_get_values(name, each, measure) for each in group] for name, group in rows.items()
    }
    quiet = {
        name: _get_values(name, _list_rows(name, each), measure)
        for name, each in (baselines or {}).items()
    }
    axis = SizeAxis([sizes for group in lines.values() for line in group for sizes in line])
    shaded = _name_ranges(training, list(lines))
    labels = [name_runs(name, len(group)) for name, group in lines.items()]
    legend = get_legend_height([*labels, *quiet, *shaded], width, figure)
    with drawing(HEIGHT + legend, width, figure) as figure:
        axes = figure.subplots()
        for name, (ranges, color) in shaded.items():
            axis.shade(axes, ranges, color, name)
        for k, group in enumerate(lines.values()):
            places, values = axis.place(group)
            style: dict[str, Any] = {
                "color": COLORS[k % len(COLORS)],
                "linestyle": LINES[k % len(LINES)],
            }
            if len(group) > 1:
                band = _reduce(np.nanmin, values), _reduce(np.nanmax, values)
                axes.fill_between(places, *band, color=style["color"], alpha=0.2, linewidth=0)
            median = _reduce(np.nanmedian, values)
            axes.plot(places, median, **style, marker=MARKERS[k % len(MARKERS)], label=labels[k])
        for k, (name, line) in enumerate(quiet.items()):
            places, values = axis.place([line])
            axes.plot(
                places, values[0], color=QUIET, linestyle=(":", "--", "-.")[k % 3], label=name
            )
        axis.label(axes)
        axes.set_ylabel(label_measure(measure))
        _scale_measure(
            axes, np.array([v for group in lines.values() for each in group for v in each.values()])
        )
        if title:
            axes.set_title(title)
        add_legend(figure, axes)
    return figure


class SizeAxis:
    """The horizontal axis of sizes: numbers if one size differs from sequence to sequence, else a place for each.

    Parameters
    ----------
    sizes : list of Sizes
        All that are drawn.
    """

    def __init__(self, sizes: Sequence[Sizes]) -> None:
        self._all = list(dict.fromkeys(sizes))
        names = list(dict.fromkeys(name for each in self._all for name, _ in each))
        varied = [name for name in names if len({dict(each).get(name) for each in self._all}) > 1]
        self.names = varied or names[-1:]
        self.is_number = len(self.names) == 1 and all(
            self.names[0] in dict(each) for each in self._all
        )
        if self.is_number:
            self._all.sort(key=self.find)
        else:
            self.names = names

    def find(self, sizes: Sizes) -> int:
        """Return the place of sizes."""
        return dict(sizes)[self.names[0]] if self.is_number else self._all.index(sizes)

    def place(self, lines: Sequence[Mapping[Sizes, float]]) -> tuple[Array, Array]:
        """Return the places (n,) of some lines, and the values (lines, n) there; NaN where a line has none."""
        known = [sizes for sizes in self._all if any(sizes in line for line in lines)]
        values = [[line.get(sizes, np.nan) for sizes in known] for line in lines]
        return np.array([self.find(sizes) for sizes in known], float), np.array(values)

    def shade(self, axes: Axes, training: Ranges, color: Any, label: str) -> None:
        """Shade the sizes of training in a colour."""
        if self.is_number:
            spans: list[tuple[float, float]] = (
                [training[self.names[0]]] if self.names[0] in training else []
            )
        else:
            inside = [
                k
                for k, each in enumerate(self._all)
                if all(
                    low <= dict(each).get(name, low) <= high
                    for name, (low, high) in training.items()
                )
            ]
            spans = [(k - 0.5, k + 0.5) for k in inside]
        for k, span in enumerate(spans):
            axes.axvspan(
                *span,
                color=color,
                linewidth=0,
                zorder=0,
                label=label if k == 0 else None,
            )

    def label(self, axes: Axes) -> None:
        """Label the axis."""
        axes.set_xlabel(" × ".join(name.replace("_", " ") for name in self.names))
        places = [self.find(each) for each in self._all]
        if not self.is_number:
            texts = [
                " × ".join(str(dict(each).get(name, "")) for name in self.names)
                for each in self._all
            ]
            axes.set_xticks(places, texts)
            axes.set_xlim(-0.5, len(places) - 0.5)
            return
        if places[-1] > MOST_LINEAR * places[0]:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        shown = _thin(np.array(places, float), axes.get_xscale() == "log")
        axes.set_xticks(shown, [f"{place:,.0f}" for place in shown])


def _thin(places: Array, is_log: bool) -> list[float]:
    """Return the places that are far enough from each other for a number at each, the last one included."""
    scaled = np.log(places) if is_log else places
    least = (scaled[-1] - scaled[0]) / 12
    shown = [len(places) - 1]
    for k in range(len(places) - 2, -1, -1):
        if scaled[shown[-1]] - scaled[k] >= least:
            shown.append(k)
    return [float(places[k]) for k in reversed(shown)]


def _name_ranges(
    training: Ranges | Mapping[str, Ranges] | None, names: Sequence[str]
) -> dict[str, tuple[Ranges, Any]]:
    """Return the ranges to shade and their colours, by what the legend calls them."""
    if training is None:
        return {}
    found: dict[str, Any] = dict(training)
    if not all(isinstance(each, Mapping) for each in found.values()):
        return {"sizes in training": (found, MASKED)}
    unknown = [name for name in found if name not in names]
    if unknown:
        raise ValueError(f"training: there is no result {unknown[0]!r}, only {', '.join(names)}")
    return {
        f"sizes in training of {name}": (
            ranges,
            to_rgba(COLORS[names.index(name) % len(COLORS)], 0.15),
        )
        for name, ranges in found.items()
    }


def _list_rows(name: str, result: Result) -> list[Mapping[str, Any]]:
    """Return the rows of a result that have sizes."""
    rows = [row for row in result["measures"] if row["sizes"]]
    if not rows:
        raise ValueError(f"{name} was measured at the training sizes only: nothing to draw")
    return rows


def _get_values(name: str, rows: Sequence[Mapping[str, Any]], measure: str) -> dict[Sizes, float]:
    """Return the values of a measure by the sizes; NaN where they were not finite."""
    if any(measure not in row for row in rows):
        raise ValueError(f"{name} was not measured by {measure}")
    values = [float("nan") if row[measure] is None else float(row[measure]) for row in rows]
    values = [value if np.isfinite(value) else float("nan") for value in values]
    return {tuple(row["sizes"].items()): value for row, value in zip(rows, values, strict=True)}


def _reduce(function: Callable[..., Array], values: Array) -> Array:
    """Return the median or the like (n,) of values (runs, n); NaN where all are NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # All-NaN columns
        return function(values, axis=0)


def _scale_measure(axes: Axes, values: Array) -> None:
    """Begin the axis of a measure at zero; above a least value, a logarithmic axis where values differ much."""
    positive = values[values > 0]
    if len(positive) and positive.max() > MOST_LINEAR * positive.min():
        least = max(positive.min(), positive.max() / 10**DECADES)
        axes.set_yscale("symlog", linthresh=10 ** np.floor(np.log10(least)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(top=2 * positive.max())
    if not (values < 0).any():
        axes.set_ylim(bottom=0)
