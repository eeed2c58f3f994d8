"""Pictures of a sequence, and of where a memory network reads and writes.

Notation: T steps, F input and O output features, N slots, W write and R read heads.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ntm.typing import Array, ArrayLike
from ntm.visualization.style import drawing, get_bit_colors, get_weight_colors

__all__ = ["plot_sequence"]


def plot_sequence(
    inputs: ArrayLike,
    targets: ArrayLike,
    predictions: ArrayLike,
    write_weights: ArrayLike | None = None,
    read_weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    title: str | None = None,
    figure: Figure | None = None,
    width: float | None = None,
) -> Figure:
    """Draw one sequence over time: input, target, prediction, and the weights of each head.

    Only the range of slots that the heads use is shown.

    Parameters
    ----------
    inputs : array (T, F)
    targets, predictions : arrays (T, O)
        In [0, 1].
    write_weights : array (T, W, N), optional
    read_weights : array (T, R, N), optional
    mask : array (T,), optional
        Weight of each step. Where it is zero the prediction does not count and is drawn grey.
    title : str, optional
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on, for example a figure of pyplot.
    width : float, optional
        In inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the arrays differ in their number of steps, or an array has another number of axes.
    """
    predictions = np.array(predictions, dtype=float)
    if mask is not None:
        predictions[np.asarray(mask) == 0] = np.nan
    features = [
        (name, np.asarray(values, dtype=float))
        for name, values in (("input", inputs), ("target", targets), ("prediction", predictions))
    ]
    weights = _list_heads("write", write_weights) + _list_heads("read", read_weights)
    steps = len(features[0][1])
    for name, values in features + weights:
        if values.ndim != 2 or len(values) != steps:
            raise ValueError(f"{name} must be of shape ({steps}, ...), not {values.shape}")

    heights = [min(0.3 + 0.09 * values.shape[1], 4.0) for _, values in features]
    heights += [1.9] * len(weights)
    with drawing(0.9 + 0.75 * sum(heights), width, figure) as figure:
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        for axis, (name, values) in zip(axes, features, strict=False):
            _draw(figure, axis, name, values.T, "channel", get_bit_colors(), range(values.shape[1]))
        slots = _find_used_slots([values for _, values in weights])
        for axis, (name, values) in zip(axes[len(features) :], weights, strict=True):
            used = values.T[slots.start : slots.stop]
            _draw(figure, axis, name, used, "slot", get_weight_colors(), slots)
            axis.invert_yaxis()
        axes[-1].set_xlabel("time step")
        if title:
            figure.suptitle(title)
    return figure


def _list_heads(kind: str, weights: ArrayLike | None) -> list[tuple[str, Array]]:
    """Return a name and the weights (T, N) of each head."""
    if weights is None:
        return []
    weights = np.asarray(weights, dtype=float)
    if weights.ndim != 3:
        raise ValueError(
            f"{kind} weights must be of shape (time, heads, slots), not {weights.shape}"
        )
    heads = weights.shape[1]
    names = [f"{kind} weights" + (f", head {k + 1}" if heads > 1 else "") for k in range(heads)]
    return [(name, weights[:, k]) for k, name in enumerate(names)]


def _find_used_slots(weights: Sequence[Array], threshold: float = 0.05) -> range:
    """Return the range of slots to which a head gives weight; all slots if no weight is above the threshold."""
    if not weights:
        return range(0)
    highest = np.max([values.max(axis=0) for values in weights], axis=0)
    used = np.flatnonzero(highest > threshold)
    if len(used) == 0:
        return range(len(highest))
    return range(max(used[0] - 2, 0), min(used[-1] + 3, len(highest)))


def _draw(
    figure: Figure, axis: Axes, name: str, values: Array, unit: str, colors: Colormap, rows: range
) -> None:
    """Draw values (rows, T) in [0, 1] as an image; `rows` are the numbers on the vertical axis."""
    image = axis.imshow(
        values,
        aspect="auto",
        cmap=colors,
        vmin=0.0,
        vmax=1.0,
        extent=(-0.5, values.shape[1] - 0.5, rows[-1] + 0.5, rows[0] - 0.5),
    )
    axis.set_title(name)
    axis.set_ylabel(unit)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    figure.colorbar(image, ax=axis, pad=0.01, fraction=0.02, ticks=[0, 1])
