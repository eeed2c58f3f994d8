"""Signals that ask a process to end: they are noted at once, and heeded where nothing is lost.

A handler that raises, as Python's own for Ctrl-C does, may raise anywhere: half way through a step, or where Python
ignores exceptions, as in JAX's callback of the garbage collection, and then the signal is lost.
"""

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress

#: Ctrl-C, `kill`, and the end of the terminal
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

#: For so many seconds after the first, further signals are taken for the same
MOMENT = 1.0


class Stop:
    """Whether the process has been asked to end; the handler of the signals that ask for it.

    The first signal is noted. One that comes a moment later acts as if there were no handler, and most often ends the
    process at once; but while something is saved, only the next one does.

    Parameters
    ----------
    notice : str, optional
        What is printed when the first Ctrl-C comes.
    """

    def __init__(self, notice=None):
        self._notice = notice
        self._event = threading.Event()
        self._before = {}
        self._latest = 0.0
        self._may_end = True

    def is_set(self):
        """Whether the process has been asked to end."""
        return self._event.is_set()

    def check(self):
        """Raise a `KeyboardInterrupt` if the process has been asked to end."""
        if self.is_set():
            raise KeyboardInterrupt

    @contextmanager
    def saving(self):
        """Something is saved in this context."""
        self._may_end = False
        try:
            yield
        finally:
            self._may_end = True

    def __call__(self, number, frame):
        now = time.monotonic()
        if not self.is_set():
            self._event.set()
            self._latest = now
            if self._notice and number == signal.SIGINT:
                with suppress(OSError):  # Not print: it may have been interrupted itself
                    os.write(2, f"\n{self._notice}\n".encode())
        elif now - self._latest > MOMENT:
            self._latest = now
            if self._may_end:
                self._act_as_before(number, frame)
            self._may_end = True

    def _install(self):
        for number in SIGNALS:
            before = signal.getsignal(number)
            # After nohup, the end of the terminal is nothing to heed; a handler that is None is not Python's
            ignored = number != signal.SIGINT and before == signal.SIG_IGN
            if not ignored and before is not None:
                self._before[number] = before
                signal.signal(number, self)

    def _remove(self):
        for number, before in self._before.items():
            signal.signal(number, before)

    def _act_as_before(self, number, frame):
        self._remove()
        before = self._before[number]
        if callable(before):
            before(number, frame)
        else:
            # On Windows, os.kill() would end the process whatever the number
            signal.raise_signal(number)


@contextmanager
def stop_on_signals(notice=None):
    """Note Ctrl-C, SIGTERM and SIGHUP in this context, instead of ending at once.

    Within another such context, it is the outer one that notes them. Signals come to the main thread; in another one
    nothing is noted.

    Parameters
    ----------
    notice : str, optional
        As of :class:`Stop`.

    Yields
    ------
    Stop
    """
    handlers = [signal.getsignal(number) for number in SIGNALS]
    outer = next((handler for handler in handlers if isinstance(handler, Stop)), None)
    stop = outer or Stop(notice)
    if outer or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    stop._install()
    try:
        yield stop
    finally:
        stop._remove()
