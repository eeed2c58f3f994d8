"""The results as a page of tables."""

import os
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import median

from cases import DEFAULT
from floor import floor, num_bytes, num_operations
from rivals import BLOCKS, COMPILED, JAX, OURS, SHARDED, TITLES, TORCH, TUNED
from start import LATER_STAGES, STAGES

from ntm.experiments.hardware import get_processor

PACKAGES = ["ntm-lasagne", "pytensor", "jax", "jaxlib", "numpy", "torch"]
KINDS = {"train": "Training step", "predict": "Inference"}
MIB = 2**20
FIGURES = """\
Times are in milliseconds: the minimum and, in brackets, the median. Ratios are those of the minima and, in brackets,
the median of each round's ratio; above one, ours is faster. Each process is pinned to as many cores as the table says.

Before a measurement the benchmark waits until the load is low and a fixed piece of work takes about as long as it did
at best; the same work runs once more after the measurement. † marks what was measured without such quiet, and the note
below the table says why.
"""


def table(head, rows):
    """Lines of a Markdown table; all columns but the first to the right."""
    rule = [":--"] + ["--:"] * (len(head) - 1)
    return ["| " + " | ".join(row) + " |" for row in [head, rule, *rows]] + [""]


def describe_machine(cores):
    """Lines that say where and when the measurements were made.

    Parameters
    ----------
    cores : int
        How many cores there are to use.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            packages.append(f"{package} not installed")
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"- {get_processor()}, {cores} cores, {memory:.1f} GiB",
        f"- {system}, Linux {platform.release()}",
        f"- {', '.join(packages)}",
        f"- {datetime.now():%Y-%m-%d %H:%M}, load average before the run {load}",
        "",
    ]


def milliseconds(seconds):
    """Three significant digits, for example ``0.532``, ``12.3`` or ``1,240``."""
    value = 1000 * seconds
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def times(entry):
    """Minimum and median of an entry of `timing.summarise`, and PyTorch's number of threads if it is known."""
    text = f"{milliseconds(entry['minimum'])} ({milliseconds(entry['median'])})"
    threads = entry.get("threads")
    return text if threads is None else f"{text}, {plural(threads, 'thread')}"


def ratios(entry):
    """The ratio of the minima, and the median of each round's."""
    return " ".join(
        text.format(f"{value:.2f}" if value < 10 else f"{value:.1f}")
        for text, value in (("{}", entry["ratio"]), ("({})", entry["round_ratio"]))
    )


def plural(count, noun):
    """For example ``1 thread`` or ``2 threads``."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


def mark(notes):
    """A dagger if there is anything to note."""
    return " †" if notes else ""


def footnotes(notes):
    """Lines below a table that say what its daggers mean.

    Parameters
    ----------
    notes : dict from a row's title to a list of texts
    """
    lines = []
    for title, texts in notes.items():
        if texts:
            lines += [f"† {title.removesuffix(' †')}: {'; '.join(texts)}.", ""]
    return lines


def describe_cores(results):
    """A sentence on the cores that the processes were pinned to."""
    cores = {tuple(result["cores"]) for result in results if not isinstance(result, str)}
    return " ".join(
        f"Pinned to {plural(len(each), 'core')}: {', '.join(map(str, each))}."
        for each in sorted(cores)
    )


def timing_tables(results, threads):
    """Both tables of times for a number of threads.

    Parameters
    ----------
    results : dict from (Case, threads) to what `timing.measure` gives, or to a message
    threads : int
    """
    lines = []
    cases = [(case, result) for (case, count), result in results.items() if count == threads]
    done = [result for _, result in cases if not isinstance(result, str)]
    for kind, title in KINDS.items():
        others = [
            name
            for name in (JAX, TUNED, SHARDED, TORCH, COMPILED)
            if any(name in result[kind] or name in result["failed"] for result in done)
        ]
        head = ["network", "batch × steps", "ours"]
        if kind == "train":
            head = [*head[:2], TITLES[OURS], TITLES[BLOCKS], "one block ÷ blocks"]
        width = len(head)
        for name in others:
            head += [TITLES[name], "÷ ours"]
        rows, notes = [], {}
        for case, result in cases:
            row = [case.network.name, f"{case.batch} × {case.steps}"]
            if isinstance(result, str):
                row.append(result)
                rows.append(row + [""] * (len(head) - len(row)))
                continue
            notes[case.name] = result["notes"][kind]
            row[1] += mark(notes[case.name])
            entries, failed = result[kind], result["failed"]
            row.append(times(entries[OURS]))
            if kind == "train":
                row.append(times(entries[BLOCKS]) if BLOCKS in entries else failed.get(BLOCKS, ""))
                row.append(ratios(result["factor"]) if result["factor"] else "")
            assert len(row) == width
            for name in others:
                if name in entries:
                    row += [times(entries[name]), ratios(entries[name])]
                else:
                    row += [failed.get(name, ""), ""]
            rows.append(row)
        lines += [f"## {title}, {plural(threads, 'core')}", "", *table(head, rows)]
        lines += footnotes(notes)
    return [*lines, describe_cores(done), ""] if done else lines


def first_call_table(results):
    """What the first call takes, compiling included, where everyone ran."""
    rows = []
    names = list(TITLES)
    for (case, threads), result in results.items():
        if isinstance(result, str) or COMPILED not in result["train"]:
            continue
        for kind, title in KINDS.items():
            first = [
                f"{result[kind][name]['first']:.1f}" if name in result[kind] else ""
                for name in names
            ]
            rows.append([f"{case.batch} × {case.steps}", title.lower(), str(threads), *first])
    if not rows:
        return []
    head = ["batch × steps", "", "cores", *(f"{TITLES[name]}, s" for name in names)]
    return [
        f"## First call with a shape, {DEFAULT.name}",
        "",
        "With tracing and compiling; of two functions of a rival, the second may find imports done.",
        "",
        *table(head, rows),
    ]


def memory_table(results):
    """Peaks of memory.

    Parameters
    ----------
    results : dict from (Case, (rival, block size)) to what `memory.measure` gives, or to a message
    """

    def who(form):
        name, block_size = form
        return f"{TITLES[name]} of {block_size}" if isinstance(block_size, int) else TITLES[name]

    rows = []
    for (case, name), result in results.items():
        row = [case.network.name, f"{case.batch:,} × {case.steps}", who(name)]
        if isinstance(result, str):
            rows.append([*row, result, "", ""])
            continue
        figures = [result["step"], result["xla"], result["whole"]]
        rows.append(row + ["" if value is None else f"{value / MIB:,.0f}" for value in figures])
    return [
        "## Memory of a training step",
        "",
        "Peak resident memory, MiB: of a step, above the state before it, and XLA's own figure for its temporary "
        "memory, for blocks that of each device; of building, compiling and the first steps together, above the state "
        "after the imports.",
        "",
        *table(["network", "batch × steps", "", "step", "XLA's figure", "with compiling"], rows),
    ]


def start_table(results, notes, case, new_steps):
    """Times of the first step.

    Parameters
    ----------
    results : dict from (rival, 'cold' or 'warm') to a list of what `start.measure` gives, or to a message
    notes : dict from rival to what disturbed it
    case : cases.Case
    new_steps : int
        The other length.
    """
    failed = {
        f"{TITLES[name]}, {caches}": result
        for (name, caches), result in results.items()
        if isinstance(result, str)
    }
    columns = {key: result for key, result in results.items() if not isinstance(result, str)}
    fastest = {key: min(runs, key=lambda run: run["total"]) for key, runs in columns.items()}
    rows = [
        [title, *(f"{run[stage]:.2f}" if stage in run else "" for run in fastest.values())]
        for stage, title in {**STAGES, **LATER_STAGES}.items()
    ]
    totals = [
        "start to first step",
        *(
            f"{fastest[key]['total']:.2f} ({median(run['total'] for run in runs):.2f})"
            for key, runs in columns.items()
        ),
    ]
    rows.insert(len(STAGES), totals)
    head = ["", *(f"{TITLES[name]}, {caches}{mark(notes[name])}" for name, caches in columns)]
    return [
        f"## From starting Python to the first training step, {case.name}",
        "",
        "Seconds; cold with empty caches of PyTensor and JAX, warm with those that a run before left. Each column is "
        "the fastest of some runs, so that its rows add up; in brackets the median of their sums. Two rows stand below "
        f"the sum: the second step, and the first one with another length, {new_steps} steps.",
        "",
        *table(head, rows),
        *(f"{title}: {message}" for title, message in failed.items()),
        *footnotes({TITLES[name]: texts for name, texts in notes.items()}),
    ]


def floor_table(rates, timings, num_parameters):
    """Our training steps beside the least that they can take.

    Parameters
    ----------
    rates : dict from threads to what `floor.measure` gives
    timings : as for `timing_tables`
    num_parameters : int
        Of the default network.
    """
    lines = ["## The floor", ""]
    for threads, rate in rates.items():
        lines.append(
            f"- {plural(threads, 'core')}: {rate['operations'] / 1e9:.0f} Gflop/s, "
            f"{rate['bytes'] / 1e9:.1f} GB/s, {1e6 * rate['call']:.0f} µs a call"
        )
    rows = []
    for (case, threads), result in timings.items():
        if case.network != DEFAULT or isinstance(result, str) or threads not in rates:
            continue
        least = floor(case, num_parameters, rates[threads])
        forms = [result["train"][name] for name in (OURS, BLOCKS) if name in result["train"]]
        ours = min(form["minimum"] for form in forms)
        rows.append(
            [
                f"{case.batch} × {case.steps}",
                str(threads),
                f"{num_operations(case, num_parameters) / 1e6:,.1f}",
                f"{num_bytes(case, num_parameters) / 1e6:,.1f}",
                milliseconds(least),
                milliseconds(ours),
                f"{ours / least:.1f}",
            ]
        )
    head = ["batch × steps", "cores", "Mflop", "MB", "floor, ms", "ours, ms", "ours ÷ floor"]
    return [
        *lines,
        "",
        f"A training step of {DEFAULT.name}; how it is counted stands in `floor.py`. Ours is the minimum of the "
        "faster form.",
        "",
        *table(head, rows),
    ]
