"""Compare this library with a Neural Turing Machine by hand in JAX and one in PyTorch.

python benchmarks/run.py
python benchmarks/run.py --quick
python benchmarks/run.py --only dense-128x20-1 'lstm-*/16x42' --threads 1 --sections timing
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import memory
import numpy as np
import report
from cases import DEFAULT, Case, all_cases
from ours import initial_parameters, trained_sizes
from rivals import JAX, OURS, TORCH
from workers import WorkerError, available_cores, call

SECTIONS = ["timing", "memory", "start", "floor"]
STARTED = Case(DEFAULT, 1, 42)
NEW_STEPS = 62
STARTS = 3

INTRODUCTION = """\
# Benchmarks

The copy task's network: 9 inputs and outputs, a controller of 100 units, a memory of N × M, as many write as read
heads, circular shift, `centered_rmsprop`. `dense-128x20-1` is a dense controller, 128 slots of 20 numbers, one write
and one read head. All start from the same parameters, and are seen to give the same losses and predictions before
they are timed.

A training step is loss, gradient, clipping and update, until the loss is a Python float; an inference, until the
probabilities are a NumPy array. The rivals run in turn in one process. Times are medians; "÷ ours" is the median of
each round's ratio to ours: above one, ours is faster. `python benchmarks/run.py` writes this page.
"""


def progress(started, message):
    """Say on the standard error what has been done, and when."""
    print(f"[{time.time() - started:6.0f} s] {message}", file=sys.stderr, flush=True)


def attempt(*args):
    """What `workers.call` gives, or the message of its failure."""
    try:
        return call(*args)
    except WorkerError as error:
        return f"failed: {error}"


def run_timing(cases, thread_counts, budget, folder, started):
    """Check all networks, then time all cases.

    Returns a dict from (case, threads) to what `timing.measure` gives, or to a message.
    """
    results = {}
    wrong = {}
    for network in dict.fromkeys(case.network for case in cases):
        wrong[network] = attempt("check.py", {"network": asdict(network)}, max(thread_counts))
        progress(started, f"{network.name}: {wrong[network] or 'all rivals agree'}")
    for threads in thread_counts:
        for case in cases:
            if wrong[case.network]:
                results[case, threads] = wrong[case.network]
                continue
            request = {
                "network": asdict(case.network),
                "batch": case.batch,
                "steps": case.steps,
                "threads": threads,
                "budget": budget,
            }
            with tempfile.TemporaryDirectory(dir=folder) as caches:
                # First calls compile, whatever was compiled before
                environment = {
                    "TORCHINDUCTOR_CACHE_DIR": caches,
                    "JAX_ENABLE_COMPILATION_CACHE": "false",
                }
                results[case, threads] = attempt("timing.py", request, threads, environment)
            progress(started, f"{case.name}, {threads} threads: {brief(results[case, threads])}")
    return results


def brief(result):
    """A timing in a line."""
    if isinstance(result, str):
        return result
    kinds = {
        kind: ", ".join(
            f"{name} {report.milliseconds(entry['seconds'])}"
            for name, entry in result[kind].items()
        )
        for kind in report.KINDS
    }
    return f"train {kinds['train']} ms; predict {kinds['predict']} ms"


def run_memory(threads, folder, started):
    """A dict from (case, rival) to what `memory.measure` gives, or to a message."""
    results = {}
    for case in memory.CASES:
        file = save(folder, f"{case.network.name}.npz", initial_parameters(case.network))
        for rival in memory.RIVALS:
            request = {
                "rival": rival,
                "network": asdict(case.network),
                "batch": case.batch,
                "steps": case.steps,
                "parameters": file,
                "threads": threads,
            }
            results[case, rival] = attempt("memory.py", request, threads)
            progress(started, f"memory, {case.name}, {rival}: {results[case, rival]}")
    return results


def run_start(threads, folder, started):
    """A dict from (rival, 'cold' or 'warm') to the medians of what `start.measure` gives, or to a message."""
    longer = Case(DEFAULT, STARTED.batch, NEW_STEPS)
    request = {
        "network": asdict(DEFAULT),
        "data": save(folder, "data.npz", STARTED.data()._asdict()),
        "longer": save(folder, "longer.npz", longer.data()._asdict()),
        "parameters": save(folder, "parameters.npz", initial_parameters(DEFAULT)),
    }
    results = {}
    for rival in (OURS, JAX, TORCH):
        runs = {"cold": [], "warm": []}
        # The first brings the packages' files into memory and does not count
        for _ in range(1 + STARTS):
            with tempfile.TemporaryDirectory(dir=folder) as caches:
                environment = {
                    "PYTENSOR_FLAGS": f"base_compiledir={caches}/pytensor",
                    "JAX_COMPILATION_CACHE_DIR": f"{caches}/jax",
                }
                for measured in runs.values():
                    now = {"rival": rival, "started": time.time()}
                    measured.append(attempt("start.py", request | now, threads, environment))
        for state, measured in runs.items():
            results[rival, state] = medians(measured[1:])
            progress(started, f"start, {rival}, {state}: {results[rival, state]}")
    return results


def medians(measured):
    """The median of each figure of some dicts, or the message that stands instead of one."""
    messages = [each for each in measured if isinstance(each, str)]
    if messages:
        return messages[0]
    return {stage: median(each[stage] for each in measured) for stage in measured[0]}


def save(folder, name, arrays):
    """Write arrays to an .npz file; its path."""
    path = str(Path(folder) / name)
    np.savez(path, **arrays)
    return path


def failures(results):
    """The messages among results."""
    return [result for result in results.values() if isinstance(result, str)]


def parse_options():
    """The options from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"only the network {DEFAULT.name}")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PATTERN",
        help="networks, or cases: dense-128x20-1/16x42, */1x12",
    )
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--budget", type=float, default=4.0, help="seconds for each rival in each case"
    )
    parser.add_argument("--output", default=str(Path(__file__).with_name("results.md")))
    options = parser.parse_args()
    cores = len(available_cores())
    if not all(1 <= threads <= cores for threads in options.threads):
        parser.error(f"--threads must be between 1 and {cores}, the cores that there are")
    if not Path(options.output).absolute().parent.is_dir():
        parser.error(f"there is no folder to write {options.output} to")
    patterns = options.only or ([DEFAULT.name] if options.quick else ["*"])
    options.cases = [case for case in all_cases() if any(map(case.matches, patterns))]
    if not options.cases:
        parser.error(f"no case matches {' '.join(patterns)}")
    return options


def main():
    """Measure, print the tables and write them."""
    options = parse_options()
    started = time.time()
    lines = [*INTRODUCTION.splitlines(), "", *report.describe_machine(len(available_cores()))]
    problems = []
    timings = {}
    with tempfile.TemporaryDirectory() as folder:
        if "timing" in options.sections:
            timings = run_timing(options.cases, options.threads, options.budget, folder, started)
            problems += failures(timings)
            for threads in options.threads:
                lines += report.timing_tables(timings, threads)
            lines += report.first_call_table(timings)
        if "memory" in options.sections:
            peaks = run_memory(max(options.threads), folder, started)
            problems += failures(peaks)
            lines += report.memory_table(peaks)
        if "start" in options.sections:
            starts = run_start(max(options.threads), folder, started)
            problems += failures(starts)
            lines += report.start_table(starts, STARTED, NEW_STEPS)
        if "floor" in options.sections:
            sizes = trained_sizes(DEFAULT)
            rates = {
                threads: call("floor.py", {"sizes": sizes}, threads) for threads in options.threads
            }
            lines += report.floor_table(rates, timings, sum(sizes))
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    output = Path(options.output)
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(output)
    if problems:
        sys.exit(f"{len(problems)} measurements failed; the first: {problems[0]}")


if __name__ == "__main__":
    main()
