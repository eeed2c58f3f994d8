"""What a user sees while a network is trained: a bar in a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ntm.arguments import is_number

#: At least so many seconds are between two lines in a log file
SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows how far training has come, on standard error: a progress bar if that is a terminal, else plain lines.

    Parameters
    ----------
    total : int or None
        Steps in all; None where that is not known.
    done : int
        Steps done before.
    is_shown : bool
        Nothing is shown if not.
    """

    def __init__(self, total: int | None, done: int, is_shown: bool = True) -> None:
        self._in_terminal = is_shown and sys.stderr.isatty()
        self._in_lines = is_shown and not self._in_terminal
        self._last_line = -SECONDS_BETWEEN_LINES
        self._bar = tqdm(
            total=total, initial=done, unit="step", disable=not self._in_terminal, leave=False
        )

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    @contextmanager
    def compiling(self, sequences: int, steps: int) -> Iterator[None]:
        """Say that something is compiled in this context, for batches of so many sequences and steps, and how long."""
        self._describe(f"compiling for {sequences} × {steps} steps…")
        start = time.monotonic()
        yield
        self._describe(f"compiled in {time.monotonic() - start:.1f} s")

    def advance(self, total: int | None) -> None:
        """Count a step, of so many in all."""
        self._bar.total = total
        self._bar.update()

    def show(self, row: Mapping[str, Any], total: int | None) -> None:
        """Show a row of :meth:`ntm.training.Trainer.train`, of training with so many steps in all."""
        loss, speed = row["loss"], row["sequences_per_second"]
        shown = "loss not finite" if loss is None else f"loss {loss:.3g}"
        self._bar.set_description(shown, refresh=False)
        if self._in_lines and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            speed = "" if speed is None else f", {speed:,.0f} sequences/s"
            of = "" if total is None else f" of {total:,}"
            self._print(f"step {row['step']:,}{of}: {shown}{speed}")

    def show_evaluation(self, row: Mapping[str, Any]) -> None:
        """Show what was measured on data after an epoch."""
        measured = [
            f"{name} {value:.4g}"
            for name, value in row.items()
            if name.startswith("validation ") and is_number(value)
        ]
        if measured:
            self.note(f"epoch {row['epoch']:,}: {', '.join(measured)}")

    def note(self, text: str) -> None:
        """Show a line that stays, above the bar if there is one."""
        if self._in_terminal:
            self._bar.write(text, file=sys.stderr)
        elif self._in_lines:
            self._print(text)

    def _describe(self, text: str) -> None:
        self._bar.set_description(text)
        if self._in_lines:
            self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
