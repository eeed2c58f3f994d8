"""Compare DNC, SAM and SDNC with those of the PyTorch package `dnc`.

python benchmarks/memory_networks.py
python benchmarks/memory_networks.py --only dnc-64-1 'sam-*'
"""

import argparse
import fnmatch
import sys
import time
from pathlib import Path

import report
from memory_timing import (
    BATCH,
    NUM_FEATURES,
    NUM_READ_SLOTS,
    NUM_UNITS,
    PEER,
    STEPS,
    WIDTH,
    Network,
)
from quiet import WAIT, Guard
from rivals import BLOCKS, OURS
from workers import available_cores

INTRODUCTION = f"""\
# Benchmarks of DNC, SAM and SDNC

A controller of {NUM_UNITS} LSTM units, a memory of N slots of {WIDTH} numbers, R read heads; for the sparse memories
{NUM_READ_SLOTS} slots a head, found by exact search or, where it says so, by our index. A training step on {BATCH}
sequences of {STEPS} steps of {NUM_FEATURES} bits: loss, gradient, clipping and RMSProp, until the loss is a Python
float. "One block" is `pytensor.grad` of the mean loss, on one of JAX's devices; "blocks" is
`lasagne.accumulation.accumulate_gradients`, which chooses the size of a block and uses each core as a device. "÷ ours"
is by the faster of the two. The peer is the PyTorch package `dnc` 1.1.0 with the number of threads that is best for it,
which stands beside its time. Its sparse memories had to be repaired (`benchmarks/peer.py`); its models are not the same
to the last equation. `python benchmarks/memory_networks.py` writes this page.

All run in turn in one process.

{report.FIGURES}"""

NETWORKS = [
    Network("dnc", 64, 1),
    Network("dnc", 64, 4),
    Network("dnc", 128, 1),
    Network("dnc", 128, 4),
    Network("sam", 1000, 1),
    Network("sam", 16384, 1),
    Network("sam", 16384, 1, "lsh"),
    Network("sdnc", 1000, 1),
]


def make_row(network, result):
    """The cells of a network's row, from what `memory_timing.measure` gives or a message."""
    title = f"{network.kind}, N = {network.num_slots:,}, R = {network.num_reads}"
    title += ", index" if network.nearest != "exact" else ""
    if isinstance(result, str):
        return [title, result, "", "", "", ""]
    peer, failed = result.get(PEER), result["failed"]
    return [
        title + report.mark(result["notes"]),
        report.times(result[OURS]),
        report.times(result[BLOCKS]) if BLOCKS in result else failed[BLOCKS],
        report.ratios(result["factor"]) if result["factor"] else "",
        report.times(peer) if peer else failed[PEER],
        report.ratios(peer) if peer else "",
    ]


def main():
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["*"], help="names, or patterns of them")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for each of the three")
    default = Path(__file__).with_name("results-memory-networks.md")
    parser.add_argument("--output", type=Path, default=default)
    cores = len(available_cores())
    parser.add_argument("--threads", type=int, default=cores, help="cores; all unless given")
    parser.add_argument(
        "--wait", type=float, default=WAIT, help="seconds to wait for a quiet machine, in all"
    )
    arguments = parser.parse_args()
    threads = arguments.threads
    if not 1 <= threads <= cores:
        parser.error(f"--threads must be between 1 and {cores}, the cores that there are")
    started = time.time()
    guard = Guard(arguments.wait)
    lines = [INTRODUCTION, *report.describe_machine(cores)]
    results = {}
    for network in NETWORKS:
        if not any(fnmatch.fnmatch(str(network), pattern) for pattern in arguments.only):
            continue
        request = {**network._asdict(), "threads": threads, "budget": arguments.budget}
        results[network] = guard.attempt("memory_timing.py", request, threads)
        print(
            f"[{time.time() - started:.0f} s]",
            *make_row(network, results[network]),
            flush=True,
        )
    rows = [make_row(network, result) for network, result in results.items()]
    head = ["training step", "ours, one block, ms", "ours, blocks, ms", "one block ÷ blocks"]
    lines += report.table([*head, "`dnc`, ms", "÷ ours"], rows)
    notes = {
        rows[index][0]: result["notes"]
        for index, result in enumerate(results.values())
        if not isinstance(result, str)
    }
    lines += [report.describe_cores(results.values()), "", *report.footnotes(notes)]
    arguments.output.write_text("\n".join(lines).rstrip() + "\n")
    problems = [result for result in results.values() if isinstance(result, str)]
    if problems:
        sys.exit(f"{len(problems)} measurements failed; the first: {problems[0]}")


if __name__ == "__main__":
    main()
