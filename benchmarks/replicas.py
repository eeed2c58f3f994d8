"""Many networks in one program against one process for each: how many training steps they do in a second.

python benchmarks/replicas.py               writes benchmarks/results-replicas.md
python benchmarks/replicas.py --only dnc    one network; prints, writes nothing

One program is `ntm train copy --replicas N`, on all cores. Processes are `ntm train copy`, one on each core, as
`ntm sweep` runs them; more networks than cores wait for their turn. Both are started and compiled first, and then run
in turns, some seconds each, so that a change of the machine's load meets both. Steps are of the whole trainer, batches
and losses included. Seconds of the processor tell what the work takes, however busy the machine is.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from report import describe_machine, table
from workers import available_cores

HERE = Path(__file__).resolve().parent
PAGE = HERE / "results-replicas.md"
#: From a name to the model, its batch, and how many networks train in one program
CASES = {
    "NTM": ("ntm", 1, (1, 2, 4, 8, 16)),
    "NTM, batch 16": ("ntm", 16, (1, 4, 8)),
    "DNC": ("dnc", 1, (1, 4, 8)),
    "LSTM": ("lstm", 1, (1, 4, 8)),
}
ROUNDS = 3
WARM_STEPS = 5
TITLE = """\
# Many networks in one program

`python benchmarks/replicas.py` writes this page. `ntm train copy` with the defaults of each network: up to 20 steps of
eight bits. "One program" is `--replicas N` on all cores; "processes" is one process on each core.
"""
NOTE = """\
Steps per second are of all networks together, medians of the rounds. Processor: milliseconds of the processor, all
cores together, for a step of one network. Start: seconds of the processor from Python's start until the program is
compiled, for all networks; each process needs as much as the program for one network that stands in the first row.
"""


# ---- A process that trains


def train(model, batch, count, seconds):
    """Train, and measure for some seconds at each line on the standard input; a row of JSON is the answer."""
    import ntm
    from ntm.experiments import make_settings
    from ntm.training import train_replicas

    ntm.use_jax()
    settings = [
        make_settings("copy", model, seed=seed, batch_size=batch, devices=1)
        for seed in range(1, 1 + max(count, 1))
    ]
    trainers = [each.make_trainer() for each in settings]
    first, draw = trainers[0], trainers[0].sample
    started = None

    def answer(row):
        print(json.dumps(row), flush=True)
        if not sys.stdin.readline():
            os._exit(0)
        return first.step_count, time.perf_counter(), time.process_time()

    def sample():
        nonlocal started
        if first.step_count == WARM_STEPS:
            started = answer({"start": time.process_time()})
        elif started is not None and time.perf_counter() - started[1] > seconds:
            steps = len(trainers) * (first.step_count - started[0])
            wall, used = time.perf_counter() - started[1], time.process_time() - started[2]
            started = answer({"speed": steps / wall, "used": used / steps})
        return draw()

    first.sample = sample
    options = {"max_steps": 10**9, "solve_every": 0, "log_every": 0, "progress": False}
    if count == 0:
        first.train(**options)
    else:
        train_replicas(trainers, **options)


# ---- The measurement


class Worker:
    """A process that trains, on some cores."""

    def __init__(self, model, batch, count, seconds, cores):
        words = [sys.executable, __file__, "--train", model, str(batch), str(count)]
        self._process = subprocess.Popen(
            [*words, "--seconds", str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def read(self):
        """Return the next row."""
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a process that trains has failed")
        return json.loads(line)

    def ask(self):
        """Let the process measure."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self):
        """End the process."""
        self._process.kill()
        self._process.wait()


def measure(model, batch, count, seconds, cores):
    """Return the row of a table: one program for `count` networks, and a process on each core."""
    program = Worker(model, batch, count, seconds, cores)
    start = program.read()["start"]
    alone = [Worker(model, batch, 0, seconds, [core]) for core in cores]
    for each in alone:
        each.read()
    try:
        rounds = []
        for _ in range(ROUNDS):
            program.ask()
            row = program.read()
            for each in alone:
                each.ask()
            rows = [each.read() for each in alone]
            speed = sum(each["speed"] for each in rows)
            used = sum(each["used"] for each in rows) / len(rows)
            rounds.append((row["speed"], speed, row["speed"] / speed, row["used"], used))
    finally:
        for each in [program, *alone]:
            each.end()
    values = [median(each) for each in zip(*rounds, strict=True)]
    speeds = [f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in values[:2]]
    times = [f"{1000 * value:.1f}" for value in values[3:]]
    return [*speeds, f"{values[2]:.2f}", *times, f"{start:.0f}"]


def main():
    """Measure all cases, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="MODEL", help="one network; prints, writes nothing")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round (default: 5)")
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        model, batch, count = options.train
        train(model, int(batch), int(count), options.seconds)
        return
    cores = available_cores()
    machine = describe_machine(len(cores))
    head = [
        "",
        "networks",
        "one program, steps/s",
        f"{len(cores)} processes, steps/s",
        "ratio",
        "one program, ms of the processor",
        "a process, ms of the processor",
        "start, s of the processor",
    ]
    rows = []
    for name, (model, batch, counts) in CASES.items():
        for count in counts if options.only in (None, model) else ():
            row = [name, str(count), *measure(model, batch, count, options.seconds, cores)]
            print(" | ".join(row), flush=True)
            rows.append(row)
            if options.only is None:
                lines = [TITLE, *machine, *table(head, rows), NOTE]
                PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
