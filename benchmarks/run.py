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

import memory
import numpy as np
import report
from cases import DEFAULT, QUICK_CASES, Case, all_cases
from ours import initial_parameters, trained_sizes
from quiet import WAIT, Guard, describe_change
from rivals import BLOCKS, JAX, OURS, TORCH
from workers import WorkerError, available_cores, call

SECTIONS = ["timing", "memory", "start", "floor"]
STARTED = Case(DEFAULT, 16, 42)
NEW_STEPS = 62
STARTS, QUICK_STARTS = 3, 1
BUDGET, QUICK_BUDGET = 4.0, 1.0  # seconds

INTRODUCTION = """\
# Benchmarks

The copy task's network: 9 inputs and outputs, a controller of 100 units, a memory of N × M, as many write as read
heads, circular shift, `centered_rmsprop`. `dense-128x20-1` is a dense controller, 128 slots of 20 numbers, one write
and one read head. All start from the same parameters, and are seen to give the same losses and predictions before
they are timed.

A training step is loss, gradient, clipping and update, until the loss is a Python float; an inference, until the
probabilities are a NumPy array. The rivals run in turn in one process.

- Ours, one block: `pytensor.grad` of the mean loss, on one of JAX's devices, which uses more than one core for large
  operations only.
- Ours, blocks: `lasagne.accumulation.accumulate_gradients`, which chooses the size of a block; each core is one of
  JAX's devices. "÷ ours" is by the faster of these two.
- JAX by hand: a scan, as one writes it first. JAX, tuned: with another layout of the memory, products of matrices in
  place of broadcasts, and gradient checkpointing. JAX, tuned, all cores: the tuned one in blocks, with its batch split
  over the cores (`jax_sharded.py`). A batch of one sequence has no blocks.
- PyTorch runs with each number of threads from one to the number of cores; the best stands beside its time. Compiled,
  it has the number that is best without.

{figures}
`python benchmarks/run.py` writes this page.
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


def run_timing(cases, thread_counts, budget, compiled, guard, folder, started):
    """Check all networks, then time all cases.

    Returns a dict from (case, threads) to what `timing.measure` gives, or to a message.
    """
    results = {}
    wrong = {}
    for network in dict.fromkeys(case.network for case in cases):
        request = {"network": asdict(network), "threads": max(thread_counts)}
        wrong[network] = attempt("check.py", request, max(thread_counts))
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
                "compiled": compiled,
            }
            with tempfile.TemporaryDirectory(dir=folder) as caches:
                # First calls compile, whatever was compiled before
                environment = {
                    "TORCHINDUCTOR_CACHE_DIR": f"{caches}/torch",
                    "JAX_COMPILATION_CACHE_DIR": f"{caches}/jax",
                }
                results[case, threads] = guard.attempt("timing.py", request, threads, environment)
            progress(
                started,
                f"{case.name}, {report.plural(threads, 'core')}: {brief(results[case, threads])}",
            )
    return results


def brief(result):
    """A timing in a line."""
    if isinstance(result, str):
        return result
    kinds = {
        kind: ", ".join(
            f"{name} {report.milliseconds(entry['minimum'])}"
            for name, entry in result[kind].items()
        )
        for kind in report.KINDS
    }
    notes = [f"{kind}: {text}" for kind, texts in result["notes"].items() for text in texts]
    return "; ".join([f"train {kinds['train']} ms", f"predict {kinds['predict']} ms", *notes])


def run_memory(cases, threads, folder, started):
    """A dict from (case, (rival, block size)) to what `memory.measure` gives, or to a message."""
    results = {}
    for case in cases:
        file = save(folder, f"{case.network.name}.npz", initial_parameters(case.network))
        for form in memory.forms_of(case):
            request = {
                "rival": form[0],
                "block_size": form[1],
                "network": asdict(case.network),
                "batch": case.batch,
                "steps": case.steps,
                "parameters": file,
                "threads": threads,
            }
            results[case, form] = attempt("memory.py", request, threads)
            progress(started, f"memory, {case.name}, {form[0]}: {results[case, form]}")
    return results


def run_start(repeats, threads, guard, folder, started):
    """Measure the start of Python to the first step.

    Returns
    -------
    results : dict from (rival, 'cold' or 'warm') to a list of what `start.measure` gives, or to a message
    notes : dict from rival to a list of what disturbed it
    """
    longer = Case(DEFAULT, STARTED.batch, NEW_STEPS)
    request = {
        "network": asdict(DEFAULT),
        "data": save(folder, "data.npz", STARTED.data()._asdict()),
        "longer": save(folder, "longer.npz", longer.data()._asdict()),
        "parameters": save(folder, "parameters.npz", initial_parameters(DEFAULT)),
        "threads": threads,
    }
    results, notes = {}, {}
    for rival in (OURS, BLOCKS, JAX, TORCH):
        runs = {"cold": [], "warm": []}
        before = guard.attempt("quiet.py", {}, threads)
        for _ in range(repeats):
            with tempfile.TemporaryDirectory(dir=folder) as caches:
                environment = {
                    "PYTENSOR_FLAGS": f"base_compiledir={caches}/pytensor",
                    "JAX_COMPILATION_CACHE_DIR": f"{caches}/jax",
                }
                for measured in runs.values():
                    now = {"rival": rival, "started": time.time()}
                    measured.append(attempt("start.py", request | now, threads, environment))
        notes[rival] = compare_looks(before, guard.attempt("quiet.py", {}, threads))
        for state, measured in runs.items():
            messages = [each for each in measured if isinstance(each, str)]
            results[rival, state] = messages[0] if messages else measured
            totals = [f"{each['total']:.2f}" for each in measured if not isinstance(each, str)]
            progress(started, f"start, {rival}, {state}: {messages or totals}; {notes[rival]}")
    return results, notes


def compare_looks(before, after):
    """What two answers of `quiet.measure` say about the time between them."""
    failed = [look for look in (before, after) if isinstance(look, str)]
    if failed:
        return failed
    change = after["seconds"] / before["seconds"] - 1.0
    return [*before["notes"], *describe_change(change)]


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
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"only the network {DEFAULT.name}, fewer cases, and briefly",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PATTERN",
        help="networks, or cases: dense-128x20-1/16x42, */1x12",
    )
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    cores = len(available_cores())
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[cores], help="cores to measure with"
    )
    parser.add_argument(
        "--budget",
        type=float,
        help=f"seconds for each rival in each case ({BUDGET:g}; with --quick {QUICK_BUDGET:g})",
        default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--wait", type=float, default=WAIT, help="seconds to wait for a quiet machine, in all"
    )
    parser.add_argument("--output", default=str(Path(__file__).with_name("results.md")))
    options = parser.parse_args()
    if "budget" not in options:
        options.budget = QUICK_BUDGET if options.quick else BUDGET
    if not all(1 <= threads <= cores for threads in options.threads):
        parser.error(f"--threads must be between 1 and {cores}, the cores that there are")
    if not Path(options.output).absolute().parent.is_dir():
        parser.error(f"there is no folder to write {options.output} to")
    patterns = options.only or ["*"]
    cases = QUICK_CASES if options.quick and not options.only else all_cases()
    options.cases = [case for case in cases if any(map(case.matches, patterns))]
    if not options.cases:
        parser.error(f"no case matches {' '.join(patterns)}")
    return options


def main():
    """Measure, print the tables and write them."""
    options = parse_options()
    started = time.time()
    guard = Guard(options.wait)
    introduction = INTRODUCTION.format(figures=report.FIGURES)
    lines = [*introduction.splitlines(), "", *report.describe_machine(len(available_cores()))]
    problems = []
    timings = {}
    with tempfile.TemporaryDirectory() as folder:
        if "timing" in options.sections:
            timings = run_timing(
                options.cases,
                options.threads,
                options.budget,
                not options.quick,
                guard,
                folder,
                started,
            )
            problems += failures(timings)
            for threads in options.threads:
                lines += report.timing_tables(timings, threads)
            lines += report.first_call_table(timings)
        if "memory" in options.sections:
            cases = memory.QUICK_CASES if options.quick else memory.CASES
            peaks = run_memory(cases, max(options.threads), folder, started)
            problems += failures(peaks)
            lines += report.memory_table(peaks)
        if "start" in options.sections:
            repeats = QUICK_STARTS if options.quick else STARTS
            starts, notes = run_start(repeats, max(options.threads), guard, folder, started)
            problems += failures(starts)
            lines += report.start_table(starts, notes, STARTED, NEW_STEPS)
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
