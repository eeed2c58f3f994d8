"""What a user sees while a network is trained: a bar in a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ntm.arguments import is_number

#: At least so many seconds are between two lines in a log file
SECONDS_BETWEEN_LINES = 10.0
#: The line for a group of networks is renewed after so many seconds
SECONDS_BETWEEN_LOOKS = 1.0


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
    def compiling(self, sequences: int, steps: int, networks: str = "") -> Iterator[None]:
        """Say that something is compiled in this context, for batches of so many sequences and steps, and how long."""
        self._describe(f"compiling for {networks}{sequences} × {steps} steps…")
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
        speed = "" if speed is None else f", {speed:,.0f} sequences/s"
        self._print_now_and_then(f"{shown}{speed}", row["step"], total)

    def show_text(self, text: str, step: int, total: int | None) -> None:
        """Show a text after so many steps, of so many in all."""
        self._bar.total = total
        self._bar.set_description(text, refresh=False)
        self._bar.update(step - self._bar.n)
        self._print_now_and_then(text, step, total)

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

    def _print_now_and_then(self, text: str, step: int, total: int | None) -> None:
        """Print a line after so many steps, unless the last line was a moment ago."""
        if self._in_lines and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            of = "" if total is None else f" of {total:,}"
            self._print(f"step {step:,}{of}: {text}")

    def _describe(self, text: str) -> None:
        self._bar.set_description(text)
        if self._in_lines:
            self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class GroupProgress:
    """Shows how far the training of several networks in one program has come, in one line.

    Parameters
    ----------
    count : int
        Networks.
    is_shown : bool
        Nothing is shown if not.
    """

    def __init__(self, count: int, is_shown: bool = True) -> None:
        self._shown = Progress(None, 0, is_shown)
        self._count, self._active, self._solved = count, count, 0
        self._next = 0.0

    def close(self) -> None:
        """Take the bar away."""
        self._shown.close()

    @contextmanager
    def compiling(self, networks: int, sequences: int, steps: int) -> Iterator[None]:
        """Say that something is compiled in this context, and how long that takes."""
        with self._shown.compiling(sequences, steps, f"{networks} networks × "):
            yield

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self._shown.note(text)

    def count_end(self, is_solved: bool, active: int) -> None:
        """Count a network whose training has ended, as so many go on."""
        self._active = active
        self._solved += is_solved

    def advance(self, describe: Callable[[], tuple[str, int, int | None]]) -> None:
        """Show a step of all networks, now and then: `describe` gives text, steps done and steps in all."""
        if not self._active or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SECONDS_BETWEEN_LOOKS
        text, step, total = describe()
        ended = self._count - self._active
        self._shown.show_text(
            f"{self._active} of {self._count} networks, {ended} ended ({self._solved} solved), {text}",
            step,
            total,
        )
