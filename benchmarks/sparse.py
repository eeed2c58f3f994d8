"""A sparse memory with an index of its slots, against one that compares all: time, memory, and what the index finds.

python benchmarks/sparse.py
python benchmarks/sparse.py --slots 4096 65536 --sections training recall
"""

import argparse
import sys

import report
from quiet import WAIT, Guard
from workers import WorkerError, available_cores, call

SLOTS = [2**12, 2**14, 2**16, 2**18, 2**20]
SECTIONS = {"training": "Seconds of a training step", "recall": "What the index finds"}


def measure_recall(threads, **request):
    """What the case gives, or ``None`` and a message."""
    try:
        return call("sparse_cases.py", {"section": "recall", **request}, threads)
    except WorkerError as error:
        print(f"recall, {request}: failed: {error}", file=sys.stderr)
        return None


def measure_training(guard, threads, **request):
    """What the case gives, or ``None`` and a message."""
    result = guard.attempt("sparse_cases.py", {"section": "training", **request}, threads)
    if isinstance(result, str):
        print(f"training, {request}: {result}", file=sys.stderr)
        return None
    return result


def print_training(slots, threads, budget, wait):
    """Print the minimum and, in brackets, the median of the times; the ratio is that of the minima."""
    guard, notes = Guard(wait), {}
    print("| slots | exact, ms | index, ms | exact ÷ index | exact, MiB | index, MiB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for count in slots:
        exact, index = (
            measure_training(guard, threads, num_slots=count, nearest=nearest, budget=budget)
            for nearest in ("exact", "lsh")
        )
        if exact is None or index is None:
            continue
        cells = [report.times(each) + report.mark(each["notes"]) for each in (exact, index)]
        cells.append(f"{exact['minimum'] / index['minimum']:.2f}")
        for name, each in (("exact", exact), ("index", index)):
            notes[f"{count:,} slots, {name}"] = each["notes"]
        cells += [f"{each['whole'] / 2**20:.0f}" for each in (exact, index)]
        print(f"| {count:,} | " + " | ".join(cells) + " |", flush=True)
    print("", *report.footnotes(notes), sep="\n")


def print_recall(slots, threads):
    names = [f"{kind}, {name}" for kind in ("random", "clustered") for name in ("near", "far")]
    print("| slots | " + " | ".join(names) + " |")
    print("| ---: |" + " ---: |" * len(names))
    for count in slots:
        found = measure_recall(threads, num_slots=count)
        if found is not None:
            cells = [f"{100 * found[k][0]:.0f} % ({100 * found[k][1]:.0f} %)" for k in names]
            print(f"| {count:,} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, nargs="+", default=SLOTS)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--threads", type=int, default=len(available_cores()))
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for each case")
    parser.add_argument(
        "--wait", type=float, default=WAIT, help="seconds to wait for a quiet machine, in all"
    )
    options = parser.parse_args()
    for section in options.sections:
        print(f"\n{SECTIONS[section]}\n")
        if section == "training":
            print_training(options.slots, options.threads, options.budget, options.wait)
        else:
            print_recall(options.slots, options.threads)


if __name__ == "__main__":
    main()
