"""Loggers: where the numbers of a training run go. Each logger is a callable that takes a row, a dict.

A logger of your own is a function of a row: see :meth:`ntm.training.Trainer.train` for what rows hold.
"""

import os
from collections.abc import Mapping
from typing import Any

from ntm.arguments import Number, shorten
from ntm.files import atomic_write, from_json, to_json
from ntm.typing import Array, PathLike

__all__ = ["JSONLines", "TensorBoard", "read_json_lines"]


class JSONLines:
    """A file with one JSON object per line. ``pandas.read_json(path, lines=True)`` reads it as a table.

    Parameters
    ----------
    path : str or path
        A file that exists is continued. Its rows after `step` are removed: a resumed run makes them again.
    step : int
        The step that the run goes on from.
    """

    def __init__(self, path: PathLike, step: int = 0) -> None:
        step = Number(int, 0).check("JSONLines: step", step)
        self.path = os.fspath(path)
        rows = [row for row in read_json_lines(path) if row["step"] <= step]
        with atomic_write(self.path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(to_json(row) + "\n" for row in rows)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(to_json(row) + "\n")


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
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
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


class TensorBoard:
    """Scalars for TensorBoard, and images of weightings and of the memory.

    Parameters
    ----------
    folder : str or path
    step : int
        The step that the run goes on from. TensorBoard drops what an earlier run wrote after this step.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    def __init__(self, folder: PathLike, step: int = 0) -> None:
        step = Number(int, 0).check("TensorBoard: step", step)
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "writing for TensorBoard needs tensorboardX: pip install tensorboardX"
            ) from error
        self._writer = SummaryWriter(os.fspath(folder), purge_step=step + 1 if step else None)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Write the scalars of a row."""
        for name, value in row.items():
            if name not in ("step", "sequences") and value is not None:
                self._writer.add_scalar(name.replace(" at ", "/"), value, row["step"])
        self._writer.flush()

    def add_images(self, images: Mapping[str, Array], step: int) -> None:
        """Write images: a dict from names to arrays (height, width) with values from 0 to 1."""
        for name, image in images.items():
            self._writer.add_image(name, image, step, dataformats="HW")
        self._writer.flush()

    def close(self) -> None:
        """Write what is left, and close the files."""
        self._writer.close()
