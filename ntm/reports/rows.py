"""The rows of a run's losses, read again and again while the run is trained: each row is read once."""

import os
from pathlib import Path
from typing import Any

from ntm.files import inside
from ntm.training.loggers import parse_json_lines
from ntm.typing import PathLike

#: Bytes before the end of what was read: other bytes there tell that the file is another one
TAIL = 200


class RowFile:
    """The file ``metrics.jsonl`` of a run, which grows, or is replaced when a run goes on from an earlier step.

    Parameters
    ----------
    folder : str or path
        Of the run.
    """

    def __init__(self, folder: PathLike) -> None:
        self._folder = Path(folder)
        self._forget()

    def _forget(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._file: int | None = None
        self._end, self._tail = 0, b""

    def read(self) -> list[dict[str, Any]]:
        """Return the rows; a last line that was cut short is left out.

        Raises
        ------
        ValueError
            If the file is damaged, or a link.
        """
        path = inside(self._folder, "metrics.jsonl")
        try:
            with open(path, "rb") as file:
                number = os.fstat(file.fileno()).st_ino
                file.seek(max(self._end - TAIL, 0))
                if number != self._file or file.read(len(self._tail)) != self._tail:
                    self._forget()
                    self._file = number
                file.seek(self._end)
                text = file.read()
        except FileNotFoundError:
            self._forget()
            return []
        text = text[: text.rfind(b"\n") + 1]
        self._rows = self._rows + parse_json_lines(text, path, len(self._rows) + 1)
        self._end += len(text)
        self._tail = (self._tail + text)[-TAIL:]
        return self._rows
