"""Charts of a page: learning curves, measures during training, generalisation, confusion matrices.

A chart is a dict as Plotly takes it: ``data`` and ``layout``. All texts in a chart are plain: `page.js` escapes every
one of them, so that no name of a run becomes markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_hex

from ntm.experiments.data_settings import DataSettings
from ntm.experiments.reading import is_matrix
from ntm.reports.curves import FEW, Curve, thin
from ntm.reports.readings import Reading, describe_name, show, to_float
from ntm.tasks.base import describe_sizes
from ntm.typing import Array
from ntm.visualization.generalisation import label_measure
from ntm.visualization.style import (
    COLORS,
    MASKED,
    WRONG,
    get_bit_colors,
    get_signed_colors,
    get_weight_colors,
)

#: A logarithmic axis where values differ by a larger factor
MAX_LINEAR = 30
#: Measures, and curves in a chart, at most: files of strangers may hold any number
MAX_CHARTS, MAX_CURVES = 12, 60
#: Characters of a label on an axis
MAX_TICK = 40
#: How Plotly draws the lines of several curves of one colour
DASHES = ("solid", "dash", "dashdot", "dot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")


def import_plotly() -> Any:
    """Return the package Plotly.

    Raises
    ------
    ImportError
        If Plotly is not installed.
    """
    try:
        import plotly.graph_objects
        import plotly.offline
    except ImportError as error:
        raise ImportError("pages of runs need Plotly: pip install plotly") from error
    return plotly


def make_figure(data: Sequence[Any], **layout: Any) -> dict[str, Any]:
    """Return a chart as a dict, once Plotly has checked it.

    Raises
    ------
    ImportError
        If Plotly is not installed.
    """
    figure = import_plotly().graph_objects.Figure(data=data, layout=layout)
    figure.layout.template = None
    return figure.to_plotly_json()


def get_colors() -> dict[str, Any]:
    """Return the colours of sequences: those of the library's pictures."""
    maps = {"weights": get_weight_colors(), "bits": get_bit_colors(), "signed": get_signed_colors()}
    shares = np.linspace(0, 1, 17)
    scales = {name: [to_hex(colors(share)) for share in shares] for name, colors in maps.items()}
    return {**scales, "lines": list(COLORS), "wrong": WRONG, "masked": to_hex(MASKED)}


def draw_learning(runs: Mapping[str, Reading]) -> tuple[dict[str, Any] | None, list[str]]:
    """Draw the losses of the training steps of some runs; return the chart, None without losses, and remarks."""
    curves = {name: thin(*each.get_curve("loss")) for name, each in runs.items()}
    curves = {name: curve for name, curve in curves.items() if len(curve.values)}
    if not curves:
        return None, []
    unit = next(iter(runs.values())).loss_unit
    return draw_curves(curves, f"loss ({unit})"), _describe_curves(curves)


def draw_measures(runs: Mapping[str, Reading]) -> list[tuple[str, dict[str, Any], list[str]]]:
    """Draw what was measured during training: for each measure its name, a chart and remarks."""
    by_measure: dict[str, dict[str, Curve]] = {}
    for name, reading in runs.items():
        for key in reading.list_curves():
            measure, part = _split_name(reading, key)
            label = part if len(runs) == 1 else f"{name}, {part}"
            curves = by_measure.setdefault(measure, {})
            if len(curves) < MAX_CURVES:
                curves[label] = thin(*reading.get_curve(key))
    charts = []
    for measure, curves in list(by_measure.items())[:MAX_CHARTS]:
        title = describe_name(measure)
        charts.append((title, draw_curves(curves, title), _describe_curves(curves)))
    return charts


def _split_name(reading: Reading, key: str) -> tuple[str, str]:
    """Return the measure and what it was measured on, of a name in the rows such as "bits at length 20"."""
    if isinstance(reading.settings, DataSettings):
        part, _, measure = key.partition(" ")
        return (measure, show(part)) if measure else (key, "")
    measure, _, part = key.partition(" at ")
    return measure, show(part)


def draw_curves(curves: Mapping[str, Curve], label: str) -> dict[str, Any]:
    """Draw curves over the sequences seen in training, by their names, each with a band if it has one."""
    traces: list[dict[str, Any]] = []
    for number, (name, curve) in enumerate(curves.items()):
        color, dash = COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
        if curve.low is not None and curve.high is not None:
            traces.append(make_band(curve.sequences, curve.low, curve.high, color, name))
        traces.append(
            {
                "type": "scatter",
                "name": name or label,
                "x": curve.sequences,
                "y": _round(curve.values),
                "mode": "lines+markers" if len(curve.values) <= FEW else "lines",
                "line": {"color": color, "dash": dash, "width": 2},
                "marker": {"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 7},
                "legendgroup": name,
            }
        )
    values = np.concatenate([curve.values for curve in curves.values()])
    return make_figure(
        traces,
        xaxis={"title": {"text": "sequences seen in training"}, "rangemode": "tozero"},
        yaxis={"title": {"text": label}, **_choose_axis(values)},
    )


def make_band(
    places: Sequence[Any] | Array, low: Array, high: Array, color: str, name: str
) -> dict[str, Any]:
    """Return the trace of a band (n,) behind the line with a name; the band leaves out what is not finite."""
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high)).tolist()
    there = [places[k] for k in known]
    return {
        "type": "scatter",
        "x": [*there, *there[::-1]],
        "y": _round(np.concatenate([high[known], low[known][::-1]])),
        "fill": "toself",
        "fillcolor": _fade(color),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": name,
    }


def _choose_axis(values: np.ndarray) -> dict[str, Any]:
    """Return a logarithmic axis where values differ much, else one that begins at zero."""
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() > MAX_LINEAR * finite.min():
        return {"type": "log", "exponentformat": "power", "dtick": 1}
    return {"type": "linear", "rangemode": "tozero"}


def _round(values: np.ndarray) -> list[float | None]:
    """Return numbers as JSON takes them, with six digits."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


def _fade(color: str) -> str:
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def _describe_curves(curves: Mapping[str, Curve]) -> list[str]:
    """Return what a reader of the chart has to know: curves that were thinned, values that are missing."""
    remarks = []
    for name, curve in curves.items():
        start = f"{name}: " if name and len(curves) > 1 else ""
        if curve.rows_per_point > 1:
            remarks.append(
                f"{start}the curve is thinned: a point is the median of {curve.rows_per_point:,} rows, and the band "
                "goes from the least to the largest of them."
            )
        if curve.num_missing:
            rows = "1 value is" if curve.num_missing == 1 else f"{curve.num_missing:,} values are"
            remarks.append(f"{start}{rows} not finite, and left out.")
    return remarks


# ---- Generalisation


def draw_generalisation(runs: Mapping[str, Reading]) -> list[tuple[str, dict[str, Any], list[str]]]:
    """Draw the measures of runs on a task that have ended over the sizes of the sequences, a chart for each measure."""
    ended = {
        name: each
        for name, each in runs.items()
        if each.result is not None and any(row["sizes"] for row in each.result["measures"])
    }
    if not ended:
        return []
    first = next(iter(ended.values()))
    solved, threshold = first.make_task().solved
    names = dict.fromkeys([solved])
    for each in ended.values():
        names.update(dict.fromkeys(name for name in _list_rows(each)[0] if name != "sizes"))
    charts = []
    for measure in list(names)[:MAX_CHARTS]:
        if any(measure in row for each in ended.values() for row in _list_rows(each)):
            goal = threshold if measure == solved else None
            chart, remarks = _draw_generalisation(ended, measure, goal)
            charts.append((describe_name(measure), chart, remarks))
    return charts


def _list_rows(reading: Reading) -> list[dict[str, Any]]:
    assert reading.result is not None
    return [row for row in reading.result["measures"] if row["sizes"]]


def _draw_generalisation(
    runs: Mapping[str, Reading], measure: str, goal: float | None
) -> tuple[dict[str, Any], list[str]]:
    lines = {}
    for name, each in runs.items():
        rows = [row for row in _list_rows(each) if measure in row]
        values = np.array([to_float(row[measure]) for row in rows])
        lines[name] = SizeLine([row["sizes"] for row in rows], values, each.make_task().sizes)
    return draw_sizes(lines, measure, goal)


class SizeLine(NamedTuple):
    """A measure over the sizes of sequences, of one network or of several.

    Attributes
    ----------
    sizes : list of dict from str to number
    values : array (n,)
        NaN where the measure is not finite. Of several networks the medians.
    training : dict from str to pair of int
        The ranges of the sizes in training; empty if they are not known.
    low, high : arrays (n,) or None
        The ends of a band.
    """

    sizes: Sequence[Mapping[str, Any]]
    values: Array
    training: Mapping[str, tuple[int, int]]
    low: Array | None = None
    high: Array | None = None


def draw_sizes(
    lines: Mapping[str, SizeLine], measure: str, goal: float | None
) -> tuple[dict[str, Any], list[str]]:
    """Draw a measure over the sizes of sequences; return the chart, and remarks.

    Parameters
    ----------
    lines : dict from str to SizeLine
    measure : str
    goal : float or None
        Below which a task counts as solved, where this is the measure that counts.
    """
    only = _find_only_size([sizes for each in lines.values() for sizes in each.sizes])
    traces: list[dict[str, Any]] = []
    drawn: list[Array] = []
    remarks, bands = [], []
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        if not np.isfinite(line.values).all():
            remarks.append(f"{name}: where a point is missing, the measure is not finite.")
        if only is None:
            places: list[Any] = [show(describe_sizes(each), MAX_TICK) for each in line.sizes]
            order = np.arange(len(places))
        else:
            found = np.array([to_float(each[only]) for each in line.sizes])
            order = np.argsort(found, kind="stable")
            places = found[order].tolist()
        if line.low is not None and line.high is not None:
            drawn += [line.low, line.high]
            bands.append(make_band(places, line.low[order], line.high[order], color, name))
        drawn.append(line.values)
        traces.append(
            {
                "type": "scatter",
                "name": name,
                "x": places,
                "y": _round(line.values[order]),
                "mode": "lines+markers",
                "line": {"color": color, "width": 2},
                "marker": {"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8},
                "legendgroup": name,
            }
        )
    title = show(label_measure(measure))
    axis: dict[str, Any] = {"type": "category", "title": {"text": "sizes of the sequence"}}
    layout: dict[str, Any] = {}
    if only is not None:
        axis = {"type": "linear", "title": {"text": show(only)}, "rangemode": "tozero"}
        ranges = {name: each.training.get(only) for name, each in lines.items()}
        known = dict.fromkeys(each for each in ranges.values() if each is not None)
        layout["shapes"] = [_shade(*each) for each in known]
        if len(known) == 1:
            low, high = next(iter(known))
            remarks.insert(
                0, f"The shaded range is that of training: {show(only)} {low} to {high}."
            )
        elif known:
            texts = [f"{name} {each[0]} to {each[1]}" for name, each in ranges.items() if each]
            remarks.insert(
                0,
                f"The shaded ranges of the {show(only)} are those of training: {'; '.join(texts)}.",
            )
    axis_y = {"title": {"text": title}, **_choose_axis(np.concatenate(drawn))}
    if goal is not None:
        places = [place for trace in traces for place in trace["x"]]
        ends = [places[0], places[-1]] if only is None else [min(places), max(places)]
        traces.append(
            {
                "type": "scatter",
                "name": f"solved: below {goal:g} in training",
                "x": ends,
                "y": [goal, goal],
                "mode": "lines",
                "line": {"color": "gray", "dash": "dot", "width": 1.5},
                "hoverinfo": "name",
            }
        )
    return make_figure([*bands, *traces], xaxis=axis, yaxis=axis_y, **layout), remarks


def _shade(low: int, high: int) -> dict[str, Any]:
    """Return the shape that shades a range of sizes."""
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "layer": "below",
        "x0": low,
        "x1": high,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": "rgba(127,127,127,0.15)",
    }


def _find_only_size(sizes: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the one size that tells sequences apart, None where there are several or its numbers are no places."""
    names = {name for each in sizes for name in each}
    if len(names) == 1 and all(each for each in sizes):
        return names.pop()
    return None


# ---- Data


def draw_confusion(reading: Reading) -> list[tuple[str, dict[str, Any]]]:
    """Draw the confusion matrices of a run on data that has ended, or the latest of those measured in training."""
    found: list[tuple[str, Any]] = []
    for row in (reading.result or {}).get("measures", []):
        found += [
            (f"{row['data']} data", value) for name, value in row.items() if isinstance(value, list)
        ]
    if not found:
        latest: dict[str, Any] = {}
        for row in reading.rows:
            latest |= {name: value for name, value in row.items() if is_matrix(value) and value}
        found = [(describe_name(name), value) for name, value in latest.items()]
    return [(show(name), _draw_matrix(value)) for name, value in found[:MAX_CHARTS] if value]


def _draw_matrix(matrix: Sequence[Sequence[float]]) -> dict[str, Any]:
    counts = np.array([[to_float(value) for value in row] for row in matrix])
    classes = [str(number) for number in range(len(counts))]
    trace = {
        "type": "heatmap",
        "z": counts,
        "x": classes,
        "y": classes,
        "colorscale": "Blues",
        "showscale": True,
        "colorbar": {"title": {"text": "steps or sequences"}, "thickness": 12},
    }
    if len(counts) <= 15:
        trace["texttemplate"] = "%{z:.6~g}"
    return make_figure(
        [trace],
        xaxis={"type": "category", "title": {"text": "predicted class"}},
        yaxis={"type": "category", "title": {"text": "true class"}, "autorange": "reversed"},
    )
