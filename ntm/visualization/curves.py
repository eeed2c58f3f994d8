"""Learning curves and generalisation curves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ntm.typing import ArrayLike
from ntm.visualization.style import drawing

__all__ = ["plot_generalisation", "plot_learning"]


def plot_learning(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    figure: Figure | None = None,
    width: float | None = None,
) -> Figure:
    """Draw losses over the sequences seen in training.

    Parameters
    ----------
    curves : dict from name to pair of arrays (sequences, losses)
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.
    width : float, optional
        In inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with drawing(2.6, width, figure) as figure:
        axis = figure.subplots()
        for name, (sequences, losses) in curves.items():
            axis.plot(np.asarray(sequences) / 1000, np.asarray(losses, dtype=float), label=name)
        axis.set_xlabel("sequences, in thousands")
        axis.set_ylabel("loss per sequence")
        axis.set_yscale("symlog", linthresh=0.01)
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False)
    return figure


def plot_generalisation(
    results: Mapping[str, Mapping[str, Any]],
    title: str | None = None,
    measure: str | None = None,
    figure: Figure | None = None,
    width: float | None = None,
) -> Figure:
    """Draw a measure of several networks over the sizes of sequences, inside and beyond the training range.

    Parameters
    ----------
    results : dict from name to dict
        Each with ``measures``, as :meth:`ntm.experiments.Run.measure` gives them.
    title : str, optional
    measure : str, optional
        The measure to draw; by default ``wrong_bits`` where the results have it, else their first.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.
    width : float, optional
        In inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with drawing(2.6, width, figure) as figure:
        axis = figure.subplots()
        for name, result in results.items():
            rows = [row for row in result["measures"] if row["sizes"]]
            if not rows:
                raise ValueError(f"{name} was measured at the training sizes only: nothing to draw")
            names = [key for key in rows[0] if key != "sizes"]
            measure = measure or ("wrong_bits" if "wrong_bits" in names else names[0])
            if any(measure not in row for row in rows):
                raise ValueError(f"{name} was not measured by {measure}")
            labels = [
                ", ".join(f"{key} {size}" for key, size in row["sizes"].items()) for row in rows
            ]
            axis.plot(labels, [row[measure] for row in rows], marker="o", label=name)
        axis.set_ylabel(f"{(measure or '').replace('_', ' ')} per sequence")
        axis.set_ylim(bottom=0)
        axis.tick_params(axis="x", labelrotation=30)
        if title:
            axis.set_title(title, loc="left")
        axis.legend(frameon=False)
    return figure
