"""Loggers: where the numbers of a training run go. Each logger is a callback, and a callable that takes a row, a dict.

A logger of your own is a function of a row: see :meth:`ntm.training.Trainer.train` for what rows hold.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ntm.arguments import Number, is_number, shorten
from ntm.files import atomic_write, from_json, to_json
from ntm.training.callbacks import RowLogger
from ntm.typing import Array, PathLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ntm.training.trainer import Trainer

__all__ = ["JSONLines", "TensorBoard", "read_json_lines"]


class JSONLines(RowLogger):
    """A file with one JSON object per line. ``pandas.read_json(path, lines=True)`` reads it as a table.

    A file that exists is continued. Its rows after the step that training goes on from are removed, as a resumed run
    makes them again.

    Parameters
    ----------
    path : str or path
    step : int, optional
        The step that the run goes on from. The trainer says so when training begins; a logger that is only called with
        rows begins at zero unless `step` is given.
    """

    def __init__(self, path: PathLike, step: int | None = None) -> None:
        if step is not None:
            step = Number(int, 0).check("JSONLines: step", step)
        self.path = os.fspath(path)
        self._has_begun = False
        read_json_lines(path)  # A damaged file is an error now, not when the first row comes
        if step is not None:
            self._begin(step)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        if not self._has_begun:
            self._begin(0)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(to_json(row) + "\n")

    def on_start(self, trainer: "Trainer") -> None:
        """Remove the rows after the trainer's step."""
        self._begin(trainer.step_count)

    def _begin(self, step: int) -> None:
        """Remove the rows after a step, and a line that was cut short."""
        self._has_begun = True
        rows = [row for row in read_json_lines(self.path) if row["step"] <= step]
        with atomic_write(self.path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(to_json(row) + "\n" for row in rows)


def read_json_lines(path: PathLike) -> list[dict[str, Any]]:
    """Read the rows of a file of JSON lines. A last line that was cut short is left out.

    Returns
    -------
    list of dict
        Empty if there is no file.

    Raises
    ------
    ValueError
        If a line is no JSON object with a step. The message names the path and the line.
    """
    try:
        with open(path, "rb") as file:
            return parse_json_lines(file.read(), path)
    except FileNotFoundError:
        return []


def parse_json_lines(text: bytes, path: PathLike, first: int = 1) -> list[dict[str, Any]]:
    """Return the rows in a part of a file of JSON lines, as :func:`read_json_lines`.

    Parameters
    ----------
    text : bytes
        The part, which begins with a line.
    path : str or path
        Of the file, for messages.
    first : int
        The number of the part's first line.
    """
    try:
        lines = text.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    rows = []
    for number, line in enumerate(lines, first):
        if not line.endswith("\n"):
            continue
        try:
            row = from_json(line)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: line {number}: {shorten(error)}") from error
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            raise ValueError(
                f"{path} is damaged: line {number} is no row with a step: {shorten(line, 100)}"
            )
        rows.append(row)
    return rows


class TensorBoard(RowLogger):
    """Scalars for TensorBoard, and images, such as dashboards of what happens inside of a network.

    What is no number, such as a confusion matrix, is left out.

    Parameters
    ----------
    folder : str or path
    step : int, optional
        The step that the run goes on from. TensorBoard drops what an earlier run wrote after this step. The trainer
        says so when training begins; a logger that is only called with rows begins at zero unless `step` is given.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    def __init__(self, folder: PathLike, step: int | None = None) -> None:
        if step is not None:
            step = Number(int, 0).check("TensorBoard: step", step)
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "writing for TensorBoard needs tensorboardX: pip install tensorboardX"
            ) from error
        self.folder = os.fspath(folder)
        self._make_writer = SummaryWriter
        self._writer: Any = None
        if step is not None:
            self._open(step)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Write the scalars of a row."""
        writer = self._open()
        for name, value in row.items():
            if name not in ("step", "sequences") and is_number(value):
                writer.add_scalar(name.replace(" at ", "/"), value, row["step"])
        writer.flush()

    def on_start(self, trainer: "Trainer") -> None:
        """Open a file at the trainer's step, unless one is open."""
        self._open(trainer.step_count)

    def add_images(self, images: Mapping[str, Array], step: int) -> None:
        """Write images: a dict from names to arrays (height, width) with values from 0 to 1."""
        writer = self._open()
        for name, image in images.items():
            writer.add_image(name, image, step, dataformats="HW")
        writer.flush()

    def add_figures(self, figures: Mapping[str, "Figure"], step: int) -> None:
        """Write figures of Matplotlib, as they are saved: a dict from names to figures."""
        from ntm.visualization.figures import render_figure

        writer = self._open()
        for name, figure in figures.items():
            writer.add_image(name, render_figure(figure), step, dataformats="HWC")
        writer.flush()

    def close(self) -> None:
        """Write what is left, and close the files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, step: int = 0) -> Any:
        """Return the writer; the first call opens a file, for a run that goes on from a step."""
        if self._writer is None:
            self._writer = self._make_writer(self.folder, purge_step=step + 1 if step else None)
        return self._writer
