"""Where the numbers of a training run go: JSON lines, CSV, TensorBoard. Each is a callable that takes a row, a dict."""

import csv
import io
import os

from ntm.arguments import shorten
from ntm.files import atomic_write, from_json, to_json


class JSONLines:
    """A file of one JSON object a line.

    Parameters
    ----------
    path : str or path
        Continued if it is there; rows after `step` are taken out, as a resumed run makes them once more.
    step : int
        The step that the run goes on from.
    """

    def __init__(self, path, step=0):
        self.path = os.fspath(path)
        rows = [row for row in read_json_lines(path) if row["step"] <= step]
        with atomic_write(self.path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(to_json(row) + "\n" for row in rows)

    def __call__(self, row):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(to_json(row) + "\n")


def read_json_lines(path):
    """The rows of a file of JSON lines; the last line is left out if it was cut short; none if there is no file.

    Raises
    ------
    ValueError
        If a line is no JSON object with a step; the message tells the path and the line.
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


class CSV:
    """A table of rows of training, for spreadsheets. Evaluations, which have other columns, are left out.

    Parameters as of :class:`JSONLines`.
    """

    columns = ("step", "sequences", "loss", "norm", "rate", "level", "skipped")

    def __init__(self, path, step=0):
        self.path = os.fspath(path)
        rows = []
        if os.path.exists(self.path):
            with open(self.path, newline="", encoding="utf-8") as file:
                complete = [line for line in file.readlines() if line.endswith("\n")]
                rows = [row for row in csv.DictReader(complete) if int(row["step"]) <= step]
        with atomic_write(self.path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(self._format(dict(zip(self.columns, self.columns, strict=True))))
            file.writelines(self._format(row) for row in rows)

    def _format(self, row):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow([row[name] for name in self.columns])
        return line.getvalue()

    def __call__(self, row):
        if "loss" in row:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(self._format(row))


class TensorBoard:
    """Scalars for TensorBoard, and on request the weightings and the memory as images.

    Parameters
    ----------
    folder : str or path
    step : int
        The step that the run goes on from; TensorBoard drops what an earlier run wrote after it.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    def __init__(self, folder, step=0):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "writing for TensorBoard needs tensorboardX: pip install tensorboardX"
            ) from error
        self._writer = SummaryWriter(os.fspath(folder), purge_step=step + 1 if step else None)

    def __call__(self, row):
        for name, value in row.items():
            if name not in ("step", "sequences") and value is not None:
                self._writer.add_scalar(name.replace(" at ", "/"), value, row["step"])
        self._writer.flush()

    def add_images(self, images, step):
        """Write images: a dict from name to array (height, width) in [0, 1]."""
        for name, image in images.items():
            self._writer.add_image(name, image, step, dataformats="HW")
        self._writer.flush()

    def close(self):
        """Write what is left."""
        self._writer.close()
