"""Figures: how charts are prepared, and written to files."""

from matplotlib.figure import Figure

from ntm.files import replacing


def _prepare_chart(figure):
    """A figure, a new one unless one is given, and axes on it."""
    figure = Figure() if figure is None else figure
    figure.set_size_inches(7.0, 4.0)
    figure.set_layout_engine("constrained")
    return figure, figure.subplots()


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
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
