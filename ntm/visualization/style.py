"""The style of all pictures: widths, fonts and colours, readable in print and without colour vision.

The colours are those of M. Okabe and K. Ito, Color Universal Design (2008). People with a colour vision deficiency tell
them apart.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from ntm.typing import Array

__all__ = ["COLUMN_WIDTH", "FULL_WIDTH", "STYLE", "drawing"]

#: The width of a column of a paper, 8.5 cm, and of a page, 17 cm, in inches
COLUMN_WIDTH, FULL_WIDTH = 8.5 / 2.54, 17 / 2.54

#: The colours of lines, by Okabe and Ito, those that are told apart most easily first
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (3, 3)), (0, (7, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: A step or symbol that is right, and one that is wrong. Marks of another shape say the same without colour
RIGHT, WRONG = "#009E73", "#D55E00"
#: What the mask leaves out
MASKED = "0.88"
#: Values that are shown beside others: the targets beside predictions, the training range
QUIET = "0.45"

#: Inches of an entry of a legend, at least, and of a line of a legend
LEGEND_ENTRY, LEGEND_LINE = 1.55, 0.15
#: Inches of what stands beside the text of an entry, and of a character of the text
LEGEND_SIGN, LEGEND_CHARACTER = 0.42, 0.052

#: The settings of Matplotlib that make the style: ``matplotlib.pyplot.style.use(STYLE)`` in a program of one's own
STYLE: Mapping[Any, Any] = MappingProxyType(
    {
        "figure.dpi": 150,
        "figure.figsize": (FULL_WIDTH, 0.55 * FULL_WIDTH),
        "figure.facecolor": "white",
        "figure.titlesize": 8.5,
        "font.family": "DejaVu Sans",  # Matplotlib brings this font, so all machines draw the same
        "font.size": 7.5,
        "axes.titlesize": 7.5,
        "axes.titlelocation": "left",
        "axes.titlepad": 3.0,
        "axes.labelsize": 7.5,
        "axes.labelpad": 2.0,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=LINES),
        "xtick.labelsize": 7.0,
        "ytick.labelsize": 7.0,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "xtick.major.pad": 2.0,
        "ytick.major.pad": 2.0,
        "xtick.minor.pad": 2.0,
        "ytick.minor.pad": 2.0,
        "legend.fontsize": 7.0,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.5,
        "hatch.linewidth": 0.5,
        "hatch.color": "0.7",
        "image.interpolation": "nearest",
    }
)

#: Matplotlib's settings are one for all threads
_LOCK = threading.RLock()


@contextmanager
def drawing(
    height: float, width: float | None = None, figure: Figure | None = None
) -> Iterator[Figure]:
    """Give a figure to draw on in the style of the library; the settings of Matplotlib are as before at the end.

    Parameters
    ----------
    height : float
        In inches.
    width : float, optional
        In inches; :data:`FULL_WIDTH`, or the width of `figure`, unless given.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on. A new one, which pyplot knows nothing of, unless given.

    Yields
    ------
    matplotlib.figure.Figure
    """
    if width is not None and not width > 0:
        raise ValueError(f"width must be a positive number of inches, not {width!r}")
    with _LOCK, matplotlib.rc_context(dict(STYLE)):
        if figure is None:
            figure = Figure()
            width = FULL_WIDTH if width is None else width
        figure.set_facecolor(STYLE["figure.facecolor"])
        figure.set_size_inches(figure.get_figwidth() if width is None else width, height)
        figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03)
        yield figure
        for axes in figure.axes:
            _keep_ticks(axes)


def count_legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many entries of a legend fit beside each other into a width, in inches."""
    longest = max(map(len, labels), default=0)
    entry = max(LEGEND_ENTRY, LEGEND_SIGN + LEGEND_CHARACTER * longest)
    return max(1, int(width / entry))


def add_legend(figure: Figure, axes: Axes) -> None:
    """Add a legend below axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), count_legend_columns(labels, figure.get_figwidth()))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, borderaxespad=0.2)


def get_legend_height(labels: Sequence[str], width: float | None, figure: Figure | None) -> float:
    """Return the inches that a legend below takes."""
    if width is None:
        width = FULL_WIDTH if figure is None else figure.get_figwidth()
    return LEGEND_LINE * -(-len(labels) // count_legend_columns(labels, width))


def name_runs(name: str, count: int) -> str:
    """Return what a legend calls a line of one run or of several."""
    return name if count == 1 else f"{name} ({count} runs)"


def get_weight_colors() -> Colormap:
    """Return the colour map of weights in [0, 1]: from white to black, ever darker, so that grey print shows it."""
    magma = matplotlib.colormaps["magma_r"]
    places = np.linspace(0.25, 1.0, 16)
    stops = [(0.0, "white"), *((float(place), magma(place)) for place in places)]
    return LinearSegmentedColormap.from_list("weights", stops).with_extremes(bad=MASKED)


def get_bit_colors() -> Colormap:
    """Return the colour map of bits and of probabilities: zero is white, one is black."""
    return matplotlib.colormaps["gray_r"].with_extremes(bad=MASKED)


def get_signed_colors() -> Colormap:
    """Return the colour map of numbers with a sign: red above zero, blue below, white at zero."""
    return matplotlib.colormaps["RdBu_r"].with_extremes(bad=MASKED)


def get_number_scale(values: Array) -> tuple[Colormap, tuple[float, float]]:
    """Return the colour map of numbers of any size, and the first and the last number of its scale."""
    values = values[np.isfinite(values)]
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    if values.min(initial=0.0) < 0:
        return get_signed_colors(), (-largest, largest)
    return get_bit_colors(), (0.0, largest)


def _keep_ticks(axes: Axes) -> None:
    """Keep the style of ticks: Matplotlib makes them when it saves a figure, with the settings of that moment."""
    for name in ("x", "y"):
        axis = getattr(axes, f"{name}axis")
        for which in ("major", "minor"):
            style = {"labelsize": STYLE[f"{name}tick.labelsize"]} | {
                key: STYLE[f"{name}tick.{which}.{setting}"]
                for key, setting in (("length", "size"), ("width", "width"), ("pad", "pad"))
            }
            given = axis.get_tick_params(which)
            axis.set_tick_params(which, **{k: v for k, v in style.items() if k not in given})
