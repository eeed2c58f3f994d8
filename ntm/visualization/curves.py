"""Learning curves, of one run or of many."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntm.typing import Array, ArrayLike
from ntm.visualization.style import (
    COLORS,
    LINES,
    MARKERS,
    QUIET,
    add_legend,
    drawing,
    get_legend_height,
    name_runs,
)

__all__ = ["plot_learning"]

#: Sequences seen in training, and losses
Curve: TypeAlias = tuple[ArrayLike, ArrayLike]

#: Inches
HEIGHT = 2.4
#: Numbers whose largest is more than so many times the smallest have a logarithmic axis
MOST_LINEAR = 30
#: Points in which a curve of many runs is drawn
POINTS = 400
#: Curves of at most so many points have markers
FEW = 30


def plot_learning(
    curves: Mapping[str, Curve | Sequence[Curve]],
    figure: Figure | None = None,
    width: float | None = None,
    *,
    title: str | None = None,
    label: str = "loss per sequence, bits",
    best: float | None = None,
    smoothing: float = 0.02,
    log: bool | None = None,
) -> Figure:
    """Draw losses over the sequences seen in training, of one run or of several with the same name.

    Of several runs, such as those of several seeds, the line is the median, and the band goes from the lowest to the
    highest. A run that ended earlier than others keeps its last loss. Of one run, the losses are drawn pale behind the
    smoothed line.

    Parameters
    ----------
    curves : dict from str to pair of arrays (sequences, losses), or to list of such pairs
        A pair (a tuple) is one run, a list of pairs several runs. Losses may be NaN.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.
    width : float, optional
        In inches: :data:`ntm.visualization.COLUMN_WIDTH` or :data:`ntm.visualization.FULL_WIDTH`, the default.
    title : str, optional
    label : str
        Of the axis of losses, with their unit.
    best : float, optional
        The lowest loss that is possible: a line.
    smoothing : float
        The share of a curve over which losses are averaged. Zero does not smooth.
    log : bool, optional
        Whether the axis of losses is logarithmic; by default where losses differ by more than a factor of 30.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no losses, or sequences and losses differ in number.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must be a share from 0 to 1, not {smoothing!r}")
    groups = {
        name: [_check_curve(name, *curve) for curve in _list_curves(group)]
        for name, group in curves.items()
    }
    if not groups:
        raise ValueError("plot_learning: there are no curves to draw")
    furthest = max(sequences[-1] for group in groups.values() for sequences, _ in group)
    scale, of_sequences = (
        (1000, "sequences, in thousands") if furthest >= 5000 else (1, "sequences")
    )
    labels = [name_runs(name, len(group)) for name, group in groups.items()]
    legend = get_legend_height(labels + ["best possible"] * (best is not None), width, figure)
    with drawing(HEIGHT + legend, width, figure) as figure:
        axes = figure.subplots()
        for k, group in enumerate(groups.values()):
            style: dict[str, Any] = {"color": COLORS[k % len(COLORS)]}
            smoothed = [
                (sequences / scale, smooth(losses, smoothing)) for sequences, losses in group
            ]
            if len(group) == 1:
                ((sequences, losses),) = group
                line = smoothed[0]
                if smoothing:
                    axes.plot(sequences / scale, losses, **style, linewidth=0.5, alpha=0.35)
            else:
                grid, median, low, high = reduce_curves(smoothed)
                line = grid, median
                axes.fill_between(grid, low, high, **style, alpha=0.2, linewidth=0)
            marker = MARKERS[k % len(MARKERS)] if len(line[0]) <= FEW else None
            axes.plot(
                *line, **style, linestyle=LINES[k % len(LINES)], marker=marker, label=labels[k]
            )
        losses = np.concatenate([losses for group in groups.values() for _, losses in group])
        _scale_losses(axes, losses, log, best)
        if best is not None:
            axes.axhline(best, color=QUIET, linestyle=":", label="best possible")
        axes.set_xlabel(f"{of_sequences} seen in training" if scale == 1 else of_sequences)
        axes.set_xlim(left=0)
        axes.set_ylabel(label)
        if title:
            axes.set_title(title)
        add_legend(figure, axes)
    return figure


def _list_curves(group: Curve | Sequence[Curve]) -> Sequence[Curve]:
    return [group] if isinstance(group, tuple) else group


def _check_curve(name: str, sequences: ArrayLike, losses: ArrayLike) -> tuple[Array, Array]:
    sequences, losses = np.asarray(sequences, float), np.asarray(losses, float)
    if sequences.ndim != 1 or sequences.shape != losses.shape or not len(losses):
        raise ValueError(
            f"{name}: sequences and losses must be of one shape (n,), n being positive, not {sequences.shape} and "
            f"{losses.shape}"
        )
    return sequences, losses


def smooth(losses: Array, share: float) -> Array:
    """Return the means of losses (n,) over a share of them around each; NaN only where all of these are NaN."""
    reach = int(share * len(losses) / 2)
    if reach == 0:
        return losses
    known = np.isfinite(losses)
    with np.errstate(invalid="ignore"):
        return _sum_around(np.where(known, losses, 0.0), reach) / _sum_around(known, reach)


def _sum_around(values: Array, reach: int) -> Array:
    """Return the sum of each value (n,) and `reach` values on both sides of it; a large value changes no other sum."""
    width, size, start = 2 * reach + 1, 1, 0
    sums, parts = np.zeros(len(values)), np.pad(values.astype(float), reach)
    while size <= width:  # Each of `parts` is the sum of so many values
        if width & size:
            sums += parts[start : start + len(values)]
            start += size
        parts, size = parts[:-size] + parts[size:], 2 * size
    return sums


def reduce_curves(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array, Array, Array]:
    """Return sequences (n,) that span some curves, and the median, the least and the largest loss (n,) there.

    The curves are those of :func:`align_curves`.
    """
    grid, rows = align_curves(curves)
    return grid, np.median(rows, axis=0), np.min(rows, axis=0), np.max(rows, axis=0)


def align_curves(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return sequences (n,) that span some curves, and the losses (runs, n) of each curve there.

    They begin where every curve has had a loss. After its last loss a curve keeps it. Losses that are not finite are
    left out, and so are curves that have no others.
    """
    finite = [
        (sequences[known], losses[known])
        for sequences, losses in curves
        for known in [np.isfinite(losses)]
    ]
    finite = [curve for curve in finite if len(curve[0])]
    if not finite:
        grid = curves[0][0]
        return grid, np.full((1, len(grid)), np.nan)
    grid = np.unique(np.concatenate([sequences for sequences, _ in finite]))
    if len(grid) > POINTS:
        grid = np.linspace(grid[0], grid[-1], POINTS)
    grid = grid[grid >= max(sequences[0] for sequences, _ in finite)]
    return grid, np.array([np.interp(grid, *curve) for curve in finite])


def _scale_losses(axes: Axes, losses: Array, log: bool | None, best: float | None) -> None:
    """Choose a logarithmic axis where losses differ much, else one that begins at zero or at the best loss."""
    positive = losses[np.isfinite(losses) & (losses > 0)]
    if log is None:
        log = len(positive) > 0 and positive.max() > MOST_LINEAR * positive.min()
    if log and len(positive) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    elif best is None and not (losses < 0).any():
        axes.set_ylim(bottom=0)
