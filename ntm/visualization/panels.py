"""Panels below each other over the same time steps: what pictures of sequences are made of.

A panel knows its height and how to draw itself. :func:`stack_panels` puts panels below each other. Panels that share
colours have one colour bar, and the time steps are below the last panel.

Notation: T time steps, F features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ntm.typing import Array
from ntm.visualization.style import COLORS, LINES, MARKERS, MASKED, STYLE, drawing

__all__ = [
    "Panel",
    "draw_image",
    "draw_lines",
    "draw_texts",
    "fit_texts",
    "measure_step",
    "shade_masked",
    "stack_panels",
]

#: Inches of a panel's title, of the labels below the last panel, and of the picture's title
TITLE_HEIGHT, LABELS_HEIGHT, HEADING_HEIGHT = 0.17, 0.30, 0.18
#: Inches of the labels on the left, of a colour bar with its labels on the right, and of the bar alone
LEFT, RIGHT_SIDE, COLOR_BAR_WIDTH = 0.42, 0.42, 0.08
#: Inches of a panel of lines, and the most numbers that are drawn as lines; more are drawn as an image
LINES_HEIGHT, MOST_LINES = 0.85, 4
#: The label of the colour bar of bits and probabilities
PROBABILITY = "probability"
#: The mean width of a letter of titles and legends, by points of the font, and the letters of a line in a legend
WIDTH, LEGEND_LINE = 0.58, 5
#: Images of so many rows have a number at the first and the last
FEW_ROWS = 4
#: Points of the names of channels
NAME_SIZE = 5.6
#: Points of the smallest text that is drawn
SMALLEST_TEXT = 5.0
#: The distance of lines of text, and the width of a letter, by points of the font
LINE_SPACING, LETTER = 1.2, 0.602


@dataclass
class Panel:
    """A part of a picture.

    Attributes
    ----------
    title : str
        Above the panel, on the left.
    height : float
        In inches, without the title.
    draw : function of axes
        It may return what a colour bar describes.
    colors : str
        The label of the colour bar. Panels with the same label share the colour bar. No colour bar if empty.
    over_time : bool
        Whether the horizontal axis is that of the time steps.
    """

    title: str
    height: float
    draw: Callable[[Axes], ScalarMappable | None]
    colors: str = ""
    over_time: bool = True


def stack_panels(
    panels: Sequence[Panel],
    num_steps: int,
    title: str | None = None,
    figure: Figure | None = None,
    width: float | None = None,
) -> Figure:
    """Draw panels below each other over the same time steps.

    Parameters
    ----------
    panels : list of Panel
    num_steps : int
        T.
    title : str, optional
        Above all panels.
    figure, width :
        As of :func:`ntm.visualization.style.drawing`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    heights = [panel.height for panel in panels]
    height = sum(heights) + TITLE_HEIGHT * len(panels) + LABELS_HEIGHT
    height += HEADING_HEIGHT if title else 0.0
    with drawing(height, width, figure) as figure:
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        timed: list[Axes] = []
        shared: dict[str, tuple[ScalarMappable, list[Axes]]] = {}
        lengths: dict[str, float] = {}
        for k, panel in enumerate(panels):
            axes = figure.add_subplot(
                grid[k], sharex=timed[0] if panel.over_time and timed else None
            )
            axes.set_title(panel.title)
            if panel.over_time:
                timed.append(axes)
            mappable = panel.draw(axes)
            if mappable is not None and panel.colors:
                shared.setdefault(panel.colors, (mappable, []))[1].append(axes)
                lengths[panel.colors] = lengths.get(panel.colors, 0.0) + panel.height + TITLE_HEIGHT
        _label_time(timed, num_steps)
        for label, (mappable, group) in shared.items():
            _add_color_bar(figure, label, mappable, group, lengths[label])
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return figure


def _label_time(timed: Sequence[Axes], num_steps: int) -> None:
    """Label the time steps below the last of some axes that share them."""
    if not timed:
        return
    timed[0].set_xlim(-0.5, num_steps - 0.5)
    timed[0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in timed[:-1]:
        axes.tick_params("x", labelbottom=False)
    timed[-1].set_xlabel("time step")


def _add_color_bar(
    figure: Figure, label: str, mappable: ScalarMappable, group: Sequence[Axes], height: float
) -> None:
    """Add one colour bar beside all axes of a group."""
    aspect = height / COLOR_BAR_WIDTH
    bar = figure.colorbar(mappable, ax=list(group), pad=0.012, fraction=0.03, aspect=aspect)
    bar.outline.set_linewidth(STYLE["axes.linewidth"])  # type: ignore[operator]
    low, high = mappable.get_clim()
    if (low, high) == (0, 1):
        bar.set_ticks([0, 1])
    else:
        bar.locator = MaxNLocator(4)
        bar.update_ticks()
    if height > 0.09 * len(label):
        bar.set_label(label)


# ---- What panels draw


def draw_image(
    axes: Axes,
    values: Array,
    colors: Colormap,
    limits: tuple[float, float],
    rows: range,
    unit: str,
    names: Mapping[int, str] | None = None,
    margin: float = 0.0,
    modulo: int | None = None,
) -> ScalarMappable:
    """Draw values over time as an image.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    values : array (T, F)
        What is NaN is drawn as masked.
    colors : matplotlib.colors.Colormap
    limits : pair of float
        The values of the first and the last colour.
    rows : range
        The numbers of the features, the first at the top. A step of more than one says how many features share a row.
    unit : str
        What a row is, such as ``"slot"``, where rows have numbers.
    names : dict from int to str, optional
        Names of rows that take the place of numbers.
    margin : float
        Rows that stay empty above and below, so that the first and the last row are not lost in the frame.
    modulo : int, optional
        N where row N is row 0 again: the numbers on the axis are from 0 to N - 1.

    Returns
    -------
    matplotlib.cm.ScalarMappable
    """
    image = axes.imshow(
        values.T,
        aspect="auto",
        cmap=colors,
        vmin=limits[0],
        vmax=limits[1],
        extent=(-0.5, len(values) - 0.5, rows[-1] + rows.step - 0.5, rows[0] - 0.5),
    )
    axes.set_ylim(rows.stop - 0.5 + margin, rows.start - 0.5 - margin)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    if names:
        axes.set_yticks(list(names), list(names.values()), size=NAME_SIZE)
    elif len(rows) == 1:
        axes.set_yticks([])
    else:
        axes.set_ylabel(unit)
        ticks = MaxNLocator(4, integer=True, min_n_ticks=1).tick_values(rows.start, rows.stop - 1)
        shown = [int(tick) for tick in ticks if rows.start <= tick < rows.stop]
        if len(rows) <= FEW_ROWS:
            shown = [rows[0], rows[-1]]
        axes.set_yticks(shown, [str(tick if modulo is None else tick % modulo) for tick in shown])
    return image


def draw_lines(
    axes: Axes, values: Mapping[str, Array], unit: str = "", steps: Array | None = None
) -> None:
    """Draw lines over time, each by its name.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    values : dict from str to array (T,)
        A line is broken where a value is NaN.
    unit : str
        Of the vertical axis.
    steps : array (T,), optional
        The time steps; 0 to T - 1 unless given.
    """
    for k, (name, line) in enumerate(values.items()):
        where = np.arange(len(line)) if steps is None else steps
        few = np.count_nonzero(np.isfinite(line)) <= 40
        axes.plot(
            where,
            line,
            color=COLORS[k % len(COLORS)],
            linestyle=LINES[k % len(LINES)],
            marker=MARKERS[k % len(MARKERS)] if few else None,
            label=name,
        )
    axes.set_ylabel(unit)
    if len(values) > 1:
        add_legend_above(axes)


def add_legend_above(axes: Axes) -> None:
    """Add a legend in a line above axes, on the right of their title; inside of the axes if there is no room."""
    figure: Any = axes.figure
    _, labels = axes.get_legend_handles_labels()
    letters = len(axes.get_title(loc="left")) + sum(len(label) + LEGEND_LINE for label in labels)
    room = 72 * (figure.get_figwidth() - LEFT - RIGHT_SIDE)
    if WIDTH * STYLE["legend.fontsize"] * letters <= room:
        place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98)}
    else:
        place = {"loc": "best"}
    axes.legend(
        **place,
        ncols=MOST_LINES,
        borderaxespad=0,
        borderpad=0.1,
        handlelength=1.8,
        columnspacing=1.0,
    )


def draw_stems(axes: Axes, values: Array, unit: str = "") -> None:
    """Draw numbers (T,) over time, those that are not zero, as points on stems."""
    (steps,) = np.nonzero(values)
    axes.axhline(0, color="black", linewidth=STYLE["axes.linewidth"])
    axes.vlines(steps, 0, values[steps], color=COLORS[0], linewidth=0.8)
    axes.plot(steps, values[steps], "o", color=COLORS[0], markersize=2.5)
    axes.margins(y=0.15)
    axes.set_ylabel(unit)


def draw_texts(
    axes: Axes,
    rows: Mapping[str, Sequence[str]],
    size: float,
    rotated: bool,
    room: float,
    colors: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Draw texts at time steps, in a row for each name.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    rows : dict from str to list of T str
        Nothing is drawn for an empty text.
    size : float
        Points of the font.
    rotated : bool
        Whether the texts go upwards.
    room : float
        Points of a time step.
    colors : dict from str to list of T colours, optional
        Of the texts of a row.
    """
    for k, (name, texts) in enumerate(rows.items()):
        # A text at an end of the sequence may be longer than its step
        ends = {} if rotated else {0: (-0.5, "left"), len(texts) - 1: (len(texts) - 0.5, "right")}
        for step, text in enumerate(texts):
            if text:
                wide = len(text) * LETTER * size > room
                place, align = ends.get(step, (step, "center")) if wide else (step, "center")
                axes.text(
                    place,
                    k,
                    text,
                    size=size,
                    rotation=90 if rotated else 0,
                    ha=align,
                    va="center",
                    color=colors[name][step] if colors and name in colors else "black",
                    family="DejaVu Sans Mono",
                    parse_math=False,
                )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), rows if len(rows) > 1 else [""])
    axes.tick_params("y", length=0)
    axes.spines["left"].set_visible(False)


def shade_masked(axes: Axes, mask: Array | None, where: str = "") -> None:
    """Shade and hatch the time steps that do not count.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    mask : array (T,) or None
        Weights of the steps; where they are zero, a step does not count. All steps count if None.
    where : str
        A text in the largest part that is shaded.
    """
    if mask is None:
        return
    runs = find_runs(np.asarray(mask) == 0)
    for start, stop in runs:
        axes.axvspan(
            start - 0.5, stop - 0.5, facecolor=MASKED, edgecolor="0.75", hatch="////", linewidth=0
        )
    if runs and where:
        start, stop = max(runs, key=lambda run: run[1] - run[0])
        axes.annotate(where, ((start + stop - 1) / 2, 0.5), xycoords=("data", "axes fraction"))


def find_runs(where: Array) -> list[tuple[int, int]]:
    """Return the first step, and the step after the last, of each run of true values (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(where, int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


# ---- Sizes


def get_image_height(features: int, names: Mapping[int, str] | None = None) -> float:
    """Return the inches of an image of so many features, higher if some have names."""
    least = 0.14 if features == 1 else 0.24
    return float(np.clip((0.095 if names else 0.055) * features, least, 1.1))


def fit_label(label: str, height: float) -> str:
    """Return the label of a vertical axis of a height (inches), empty where there is no room."""
    return label if LETTER * STYLE["axes.labelsize"] * len(label) <= 72 * height else ""


def choose_names(names: Mapping[int, str], features: int, height: float) -> dict[int, str]:
    """Return the names of features for which an image of a height (inches) has room, and the first number."""
    room = LINE_SPACING * NAME_SIZE * features / (72 * height)
    chosen: dict[int, str] = {}
    for place in sorted(names):
        if not chosen or place - max(chosen) >= room:
            chosen[place] = names[place]
    if chosen and min(chosen) >= room:
        chosen[0] = "0"
    return chosen


def measure_step(num_steps: int, figure: Figure | None, width: float | None) -> float:
    """Return about how many points of a picture's width a time step takes."""
    if width is None:
        width = STYLE["figure.figsize"][0] if figure is None else figure.get_figwidth()
    return 72 * max(width - LEFT - RIGHT_SIDE, 0.5) / max(num_steps, 1)


def fit_texts(
    texts: Sequence[str], step: float, largest: float = STYLE["font.size"]
) -> tuple[float, bool, float] | None:
    """Find how texts can be drawn at time steps so that they do not overlap and stay readable.

    Parameters
    ----------
    texts : list of T str
    step : float
        Points of a time step.
    largest : float
        Points of the largest font.

    Returns
    -------
    size : float
        Points of the font.
    rotated : bool
        Whether the texts must go upwards.
    height : float
        Points of the highest text.

    Or None, if there is no such way.
    """
    used = [k for k, text in enumerate(texts) if text]
    if not used:
        return largest, False, largest
    longest = LETTER * max(map(len, texts))
    room = step * (np.diff(used).min() if len(used) > 1 else len(texts))
    size = min(largest, room / (longest + LETTER))
    if size >= SMALLEST_TEXT:
        return size, False, LINE_SPACING * size
    size = min(largest, room / LINE_SPACING)
    if size >= SMALLEST_TEXT:
        return size, True, (longest + LETTER) * size
    return None
