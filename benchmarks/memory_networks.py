"""Compare DNC, SAM and SDNC with those of the PyTorch package `dnc`.

python benchmarks/memory_networks.py
python benchmarks/memory_networks.py --only dnc-64-1 'sam-*'
"""

import argparse
import fnmatch
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
from rivals import OURS
from workers import WorkerError, available_cores, call

INTRODUCTION = f"""\
# Benchmarks of DNC, SAM and SDNC

A controller of {NUM_UNITS} LSTM units, a memory of N slots of {WIDTH} numbers, R read heads; for the sparse memories
{NUM_READ_SLOTS} slots a head, found by exact search or, where it says so, by our index. A training step on {BATCH}
sequences of {STEPS} steps of {NUM_FEATURES} bits: loss, gradient, clipping and RMSProp, until the loss is a Python
float. On one thread, both in turn in one process. Times are medians; the ratio is the median of each round's, above one
where ours is faster. The peer is the PyTorch package `dnc` 1.1.0, whose sparse memories had to be repaired
(`benchmarks/peer.py`); its models are not the same to the last equation. `python benchmarks/memory_networks.py` writes
this page.
"""

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


def main():
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["*"], help="names, or patterns of them")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for each of the two")
    default = Path(__file__).with_name("results-memory-networks.md")
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    lines = [INTRODUCTION, *report.describe_machine(len(available_cores()))]
    rows, started = [], time.time()
    for network in NETWORKS:
        if not any(fnmatch.fnmatch(str(network), pattern) for pattern in arguments.only):
            continue
        request = {**network._asdict(), "threads": 1, "budget": arguments.budget}
        try:
            result = call("memory_timing.py", request, 1)
        except WorkerError as error:
            rows.append([str(network), "failed", str(error), ""])
        else:
            ours, peer = result[OURS], result.get(PEER)
            rows.append(
                [
                    f"{network.kind}, N = {network.num_slots:,}, R = {network.num_reads}"
                    + (", index" if network.nearest != "exact" else ""),
                    f"{report.milliseconds(ours['seconds'])} ms",
                    f"{report.milliseconds(peer['seconds'])} ms" if peer else result["failed"],
                    f"{peer['ratio']:.1f}" if peer else "",
                ]
            )
        print(f"[{time.time() - started:.0f} s]", *rows[-1], flush=True)
    lines += report.table(["training step", "ours", "`dnc`", "÷ ours"], rows)
    arguments.output.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
