"""Whether the machine is quiet: what a fixed piece of work takes, and what other processes use."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from workers import WorkerError, answer, available_cores, call

NEAR = 0.08  # by how much more than the best a calibration may take before a measurement
CHANGE = 0.1  # by how much a calibration may differ after a measurement from before it
OTHERS = 0.2  # cores that other processes may use
LOAD = 0.25  # load average of the last minute, for each core, that is low
WAIT = 120.0  # seconds for waiting, unless told otherwise
PAUSE = 0.5  # seconds between two looks at the machine
NUM_FIRST = 5  # calibrations that give the first best one
NUM_PASSES = 3
PRODUCT_SIZE, NUM_PRODUCTS = 512, 12
COPY_SIZE, NUM_COPIES = 2**23, 3  # float32
NUM_SUMS = 500_000


def calibrate():
    """Do a fixed piece of work three times, about 0.3 s in all: the seconds of the fastest.

    It is pure Python on one core, products of matrices on all cores, and copies through the machine's memory. The
    fastest pass tells how fast the machine is; what interrupts a pass is seen by a `Meter`.
    """
    matrix = np.ones((PRODUCT_SIZE, PRODUCT_SIZE), np.float32)
    source = np.ones(COPY_SIZE, np.float32)
    target = np.ones_like(source)
    seconds = []
    for _ in range(NUM_PASSES):
        start = time.perf_counter()
        total = 0
        for k in range(NUM_SUMS):
            total += k * k
        for _ in range(NUM_PRODUCTS):
            matrix @ matrix
        for _ in range(NUM_COPIES):
            np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    time.sleep(0.05)  # the threads of NumPy's products wait for work before they sleep
    return min(seconds)


def busy_seconds():
    """CPU time of all processes since the machine was started; ``None`` where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Meter:
    """How many cores other processes use from now on; time that the host of a virtual machine takes counts, too."""

    def __init__(self):
        self._start = self._read()

    def _read(self):
        return time.perf_counter(), time.process_time(), busy_seconds()

    def others(self):
        """Cores in use, on average, by others than this process; 0 where the system does not tell."""
        now, own, busy = self._read()
        start, own_before, busy_before = self._start
        if busy is None or busy_before is None:
            return 0.0
        return max(busy - busy_before - (own - own_before), 0.0) / (now - start)


def wait_for_load(limit, seconds):
    """Wait until the load average of the last minute is below a limit, for some seconds at most; the seconds waited.

    This is for the beginning: later the average holds what the measurements themselves have used.
    """
    start = time.monotonic()
    if hasattr(os, "getloadavg"):
        while os.getloadavg()[0] >= limit and time.monotonic() - start < seconds:
            time.sleep(PAUSE)
    return time.monotonic() - start


def describe_change(change):
    """A list with a text about how much more a calibration took after a measurement; empty if it is not much."""
    if abs(change) <= CHANGE:
        return []
    more = "more" if change > 0 else "less"
    return [f"the calibration took {abs(change):.0%} {more} after it than before"]


@dataclass
class Quiet:
    """Wait for a quiet machine, and note where a measurement had none.

    Attributes
    ----------
    best : float, optional
        Seconds of the fastest calibration so far on these cores.
    wait : float
        Seconds for waiting that are left.
    """

    best: float | None = None
    wait: float = 0.0

    def look(self):
        """Calibrate: the seconds, and the cores that others use meanwhile."""
        meter = Meter()
        seconds = calibrate()
        time.sleep(0.1)
        self.best = seconds if self.best is None else min(self.best, seconds)
        return seconds, meter.others()

    def settle(self):
        """Wait for quiet: the seconds of the last calibration, and what was wrong with it, an empty list if nothing."""
        if self.best is None:
            for _ in range(NUM_FIRST):
                self.look()
        start = time.monotonic()
        while True:
            seconds, others = self.look()
            slower = seconds / self.best - 1.0
            problems = []
            if slower > NEAR:
                problems.append(f"the calibration took {slower:.0%} more than its best")
            if others > OTHERS:
                problems.append(f"other processes used {others:.1f} cores")
            waited = time.monotonic() - start
            if not problems or waited > self.wait:
                break
            time.sleep(PAUSE)
        if waited > 1.0:  # a single look is no waiting
            self.wait = max(self.wait - waited, 0.0)
        if problems:
            return seconds, [f"no quiet before the measurement: {' and '.join(problems)}"]
        return seconds, []

    @contextmanager
    def watch(self):
        """Wait for quiet and give a list, which at the end says what disturbed the measurement inside."""
        before, notes = self.settle()
        meter = Meter()
        yield notes
        others = meter.others()
        after, _ = self.look()
        notes += describe_change(after / before - 1.0)
        if others > OTHERS:
            notes.append(f"other processes used {others:.1f} cores meanwhile")


class Guard:
    """Hand on what a process found out about the machine to those that measure after it.

    Parameters
    ----------
    wait : float
        Seconds for waiting in all. Half of them may pass here, until the load average of the last minute is low.
    """

    def __init__(self, wait):
        self._wait = max(wait - wait_for_load(LOAD * len(available_cores()), wait / 2), 0.0)
        self._best = {}

    def attempt(self, script, request, threads, environment=None):
        """What `workers.call` gives, or the message of its failure.

        The script gets the fields of a `Quiet` as ``quiet`` in its request, and answers with them, as they are
        afterwards, under the same name.
        """
        quiet = {"best": self._best.get(threads), "wait": self._wait}
        try:
            result = call(script, {**request, "quiet": quiet}, threads, environment)
        except WorkerError as error:
            return f"failed: {error}"
        self._best[threads] = result["quiet"]["best"]
        self._wait = result["quiet"]["wait"]
        return result


def measure(quiet):
    """Wait for quiet in a process of its own, before others measure: the fields of `Quiet` afterwards, and ``notes``.

    ``seconds`` are those of the last calibration.
    """
    quiet = Quiet(**quiet)
    seconds, notes = quiet.settle()
    return {
        "quiet": {"best": quiet.best, "wait": quiet.wait},
        "notes": notes,
        "seconds": seconds,
    }


if __name__ == "__main__":
    answer(measure)
