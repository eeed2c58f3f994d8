"""The picture of a network: layers as boxes, what is inside of memory layers, and arrows from layer to layer."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from ntm.structure import get_structure
from ntm.typing import Layers
from ntm.visualization.boxes import LARGE, LINE, PAD, SMALL, Arrow, Box, fold
from ntm.visualization.style import FULL_WIDTH, drawing

__all__ = ["plot_network"]

#: Around the picture, in inches
EDGE = 0.06


def plot_network(l_out: Layers, width: float | None = None, figure: Figure | None = None) -> Figure:
    """Draw a network: a box for each layer, with its name, class, output shape and number of parameters.

    Arrows go from each layer to those that it feeds into. A memory layer shows its controller, its heads and its
    memory: write heads and what they write are orange, read heads and what they read are blue. A network that is higher
    than a page goes on in a column beside, if the width allows. :func:`ntm.summary` gives the numbers as a table.

    Parameters
    ----------
    l_out : Layer or list of Layer
        The last layer of the network, or several.
    width : float, optional
        In inches; 17 cm, or the width of `figure`, unless given.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        :func:`save_figure` writes it, for example to a file ``.svg``.

    Raises
    ------
    TypeError
        If `l_out` is neither a layer nor a list of layers.
    """
    try:
        nodes = get_structure(l_out)
    except TypeError as error:
        raise TypeError(f"plot_network: {error}") from None
    given = FULL_WIDTH if figure is None else figure.get_figwidth()
    whole = fold(nodes, (given if width is None else width) - 2 * EDGE)
    with drawing(whole.height + 2 * EDGE, width, figure) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, figure.get_figwidth()), ylim=(figure.get_figheight(), 0))
        left = (figure.get_figwidth() - whole.width) / 2
        for box in whole.inner:
            _draw_box(axes, box, left, EDGE, "")
        for arrow in whole.arrows:
            _draw_arrow(axes, arrow, left, EDGE, "")
    return figure


def _draw_box(axes: Axes, box: Box, x: float, y: float, around: str) -> None:
    """Draw a box and what is inside, from the corner (x, y) of what is around."""
    x, y = x + box.x, y + box.y
    name = f"{around}/{box.label}" if around else box.label
    patch = FancyBboxPatch(
        (x, y),
        box.width,
        box.height,
        boxstyle="round,pad=0,rounding_size=0.04",
        facecolor=box.face,
        edgecolor=box.edge,
        linewidth=0.7,
        gid=f"box {name}",
    )
    axes.add_patch(patch)
    middle = PAD / 2 if box.inner else (box.height - len(box.texts) * LINE) / 2
    for k, text in enumerate(box.texts):
        axes.text(
            x + box.width / 2,
            y + middle + (k + 0.5) * LINE,
            text,
            ha="center",
            va="center_baseline",
            fontsize=SMALL if k else LARGE,
            fontweight="normal" if k else "bold",
            color="0.25" if k else "black",
            parse_math=False,
            gid=f"text {name}",
        )
    for inner in box.inner:
        _draw_box(axes, inner, x, y, name)
    for arrow in box.arrows:
        _draw_arrow(axes, arrow, x, y, name)


def _draw_arrow(axes: Axes, arrow: Arrow, x: float, y: float, around: str) -> None:
    points = [(a + x, b + y) for a, b in arrow.points]
    vertices, codes = [points[0]], [Path.MOVETO]
    for (a, b), (c, d) in pairwise(points):
        if a != c and b != d and arrow.is_bent:
            vertices += [(a, (b + d) / 2), (c, (b + d) / 2), (c, d)]
            codes += 3 * [Path.CURVE4]
        elif (a, b) != (c, d):
            vertices.append((c, d))
            codes.append(Path.LINETO)
    names = [f"{around}/{each}" if around else each for each in (arrow.start, arrow.end)]
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes),
            arrowstyle="-|>,head_length=3,head_width=1.6",
            mutation_scale=1,
            linewidth=0.8,
            color=arrow.color,
            capstyle="butt",
            gid=f"arrow {names[0]} -> {names[1]}",
        )
    )
