"""Saving figures."""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ntm.files import atomic_write
from ntm.typing import Array, PathLike

__all__ = ["check_figure_path", "save_figure"]


def save_figure(figure: Figure, path: PathLike, dpi: float = 200) -> None:
    """Write a figure to a file, all of it or nothing.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path
        The ending gives the format, for example ``.png`` or ``.pdf``.
    dpi : int
        Dots per inch, for formats of pixels.
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def render_figure(figure: Figure) -> Array:
    """Return a figure as an array of bytes, (height, width, 3), with red, green and blue from 0 to 255."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def check_figure_path(path: PathLike) -> None:
    """Check before a long computation that :func:`save_figure` will be able to write this file.

    Nothing that is there is changed.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    ValueError
        If the ending is none that Matplotlib writes, or `path` is a folder.
    OSError
        If its folder does not exist or may not be written to.
    """
    path = Path(path)
    endings = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in endings:
        known = ", ".join(f".{ending}" for ending in sorted(endings))
        raise ValueError(f"the name of a picture must end in one of {known}, not {path.name!r}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected the name of a picture")
    with tempfile.TemporaryFile(dir=path.parent):
        pass
