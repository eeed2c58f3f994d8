"""Curves of learning and of generalisation."""

import numpy as np

from ntm.visualization.figures import _prepare_chart


def plot_learning(curves, figure=None):
    """Draw how losses fell.

    Parameters
    ----------
    curves : dict from name to pair of arrays (sequences, losses)
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = _prepare_chart(figure)
    for name, (sequences, losses) in curves.items():
        axis.plot(np.asarray(sequences) / 1000, np.asarray(losses, dtype=float), label=name)
    axis.set_xlabel("sequences, in thousands")
    axis.set_ylabel("loss per sequence")
    axis.set_yscale("symlog", linthresh=0.01)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    return figure


def plot_generalisation(results, title=None, measure=None, figure=None):
    """Draw a measure of several networks over the sizes of sequences, those beyond training too.

    Parameters
    ----------
    results : dict from name to dict
        Each with ``measures``, as :meth:`ntm.experiments.Run.measure` gives them.
    title : str, optional
    measure : str, optional
        Which measure to draw; ``wrong_bits`` or, where there is none, the first.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = _prepare_chart(figure)
    for name, result in results.items():
        rows = [row for row in result["measures"] if row["sizes"]]
        if not rows:
            raise ValueError(f"{name} was measured at the training sizes only: nothing to draw")
        if measure is None:
            names = [key for key in rows[0] if key != "sizes"]
            measure = "wrong_bits" if "wrong_bits" in names else names[0]
        if any(measure not in row for row in rows):
            raise ValueError(f"{name} was not measured by {measure}")
        labels = [", ".join(f"{key} {size}" for key, size in row["sizes"].items()) for row in rows]
        axis.plot(labels, [row[measure] for row in rows], marker="o", label=name)
    axis.set_ylabel(f"{measure.replace('_', ' ')} per sequence")
    axis.set_ylim(bottom=0)
    axis.tick_params(axis="x", labelrotation=30)
    if title:
        axis.set_title(title, loc="left")
    axis.legend(frameon=False)
    return figure
