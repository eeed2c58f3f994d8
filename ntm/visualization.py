"""Pictures of what a memory network does with a sequence.

Notation: T steps, F input and O output features, N slots, W write and R read heads.
"""

import os

import numpy as np
from matplotlib.figure import Figure


def plot_sequence(inputs, targets, predictions, write_weights=None, read_weights=None, title=None, figure=None):
    """Draw one sequence over time: input, target, prediction, and where each head wrote and read.

    Parameters
    ----------
    inputs : array (T, F)
    targets, predictions : arrays (T, O)
        In [0, 1].
    write_weights : array (T, W, N), optional
    read_weights : array (T, R, N), optional
    title : str, optional
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on, for example one of pyplot's that is to be shown.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the arrays differ in their number of steps, or have another number of axes.
    """
    panels = [("input", inputs), ("target", targets), ("prediction", predictions)]
    for kind, weights in (("write weights", write_weights), ("read weights", read_weights)):
        if weights is None:
            continue
        weights = np.asarray(weights)
        if weights.ndim != 3:
            raise ValueError(f"{kind} must have 3 axes (time, heads, slots), not {weights.ndim}")
        heads = weights.shape[1]
        panels += [
            (kind if heads == 1 else f"{kind}, head {k + 1}", weights[:, k]) for k in range(heads)
        ]
    panels = [(name, np.asarray(values, dtype=float)) for name, values in panels]
    steps = len(panels[0][1])
    for name, values in panels:
        if values.ndim != 2 or len(values) != steps:
            raise ValueError(f"{name} must be of shape ({steps}, ...), not {values.shape}")

    # A panel of features needs little height, one of memory slots more
    heights = [max(1.0, min(4.0, values.shape[1] / 12)) for _, values in panels]
    figure = Figure() if figure is None else figure
    figure.set_size_inches(9.0, 1.2 + 1.15 * sum(heights))
    figure.set_layout_engine("constrained")
    axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True, height_ratios=heights))
    for axis, (name, values) in zip(axes, panels, strict=True):
        weights = "weights" in name
        image = axis.imshow(
            values.T,
            aspect="auto",
            interpolation="nearest",
            origin="lower" if weights else "upper",
            cmap="magma" if weights else "gray_r",
            vmin=0.0,
            vmax=1.0,
        )
        axis.set_title(name, loc="left", fontsize=10)
        axis.set_ylabel("slot" if weights else "channel", fontsize=9)
        axis.tick_params(labelsize=8)
        figure.colorbar(image, ax=axis, pad=0.01, fraction=0.02, ticks=[0, 1])
    axes[-1].set_xlabel("time step", fontsize=9)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def save_figure(figure, path, dpi=120):
    """Write a figure to a file; the file is complete or not there.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path
        The ending gives the format, for example ``.png`` or ``.pdf``.
    dpi : int
        Dots per inch, for formats of dots.
    """
    path = os.fspath(path)
    temporary = f"{path}.part{os.getpid()}{os.path.splitext(path)[1]}"
    try:
        figure.savefig(temporary, dpi=dpi)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
