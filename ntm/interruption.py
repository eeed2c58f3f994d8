"""Ctrl-C and other signals that ask a process to end: noted at once, acted upon where no work is lost.

Python's own handler of Ctrl-C raises an exception wherever the program is: half way through a training step, or in a
place where Python ignores exceptions, such as JAX's callback of the garbage collection. There the signal is lost.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["Stop", "stop_on_signals"]

#: Ctrl-C, `kill`, and the end of the terminal
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

#: Seconds after a signal in which further signals count as the same
MOMENT = 1.0


class Stop:
    """A handler of signals that notes the request to end the process.

    The first signal is noted. A second signal, more than a second later, acts as without this handler: most often the
    process ends at once. While something is saved, a third signal is needed for that.

    After `end_at_once` the first signal ends the process.

    Parameters
    ----------
    notice : str, optional
        Text that the first Ctrl-C prints.
    may_exit : bool
        Whether the process is this program's own. In a process of another program, such as a notebook, a
        `KeyboardInterrupt` takes the place of the end.
    """

    def __init__(self, notice: str | None = None, may_exit: bool = False) -> None:
        self.notice, self._may_exit = notice, may_exit
        self._end: tuple[str, int] | None = None
        self._event = threading.Event()
        self._before: dict[int, Any] = {}
        self._latest = 0.0
        self._may_end = True
        #: Whether a second signal has acted as without this handler
        self.has_acted = False

    def is_set(self) -> bool:
        """Return whether the process has been asked to end."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise a `KeyboardInterrupt` if the process has been asked to end."""
        if self.is_set():
            raise KeyboardInterrupt

    def end_at_once(self, message: str, code: int) -> None:
        """Let a signal end the process from now on: no work can be lost any more.

        What is saved is saved to its end.

        Parameters
        ----------
        message : str
            Printed at the end, on the standard error.
        code : int
            The exit code.
        """
        self.notice, self._end = None, (message, code)
        self._leave()

    def _leave(self) -> None:
        """End the process, if it has been asked to and nothing is being saved."""
        if self._end is not None and self.is_set() and self._may_end:
            if not self._may_exit:
                raise KeyboardInterrupt
            # No exception: Python ignores exceptions in some places, and the program would go on
            message, code = self._end
            with suppress(Exception):  # It may have been interrupted itself
                sys.stdout.flush()
            with suppress(OSError):
                os.write(2, f"{message}\n".encode())
            os._exit(code)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Protect what is saved in this context from a second signal."""
        self._may_end = False
        try:
            yield
        finally:
            self._may_end = True
        self._leave()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.is_set():
            self._event.set()
            self._latest = now
            if self.notice and number == signal.SIGINT:
                with suppress(OSError):  # Not print: it may have been interrupted itself
                    os.write(2, f"\n{self.notice}\n".encode())
            self._leave()
        elif now - self._latest > MOMENT:
            self._latest = now
            if self._may_end:
                self._act_as_before(number, frame)
            self._may_end = True

    def _install(self) -> None:
        for number in SIGNALS:
            before = signal.getsignal(number)
            # Under nohup the end of the terminal is ignored; a handler that is None was not set by Python
            ignored = number != signal.SIGINT and before == signal.SIG_IGN
            if not ignored and before is not None:
                self._before[number] = before
                signal.signal(number, self)

    def _remove(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _act_as_before(self, number: int, frame: FrameType | None) -> None:
        self.has_acted = True
        self._remove()
        before = self._before[number]
        if callable(before):
            before(number, frame)
        else:
            # On Windows, os.kill() would end the process whatever the number
            signal.raise_signal(number)


@contextmanager
def stop_on_signals(notice: str | None = None, may_exit: bool = False) -> Iterator[Stop]:
    """Note Ctrl-C, SIGTERM and SIGHUP in this context, instead of ending at once.

    Inside another such context, the outer context notes the signals. Python hands signals to the main thread: in any
    other thread this context does nothing.

    Parameters
    ----------
    notice, may_exit :
        As of :class:`Stop`.

    Yields
    ------
    Stop
    """
    handlers = [signal.getsignal(number) for number in SIGNALS]
    outer = next((handler for handler in handlers if isinstance(handler, Stop)), None)
    stop = outer or Stop(notice, may_exit)
    if outer or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    stop._install()
    try:
        yield stop
    finally:
        stop._remove()
