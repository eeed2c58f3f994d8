"""The results as a page of tables."""

import os
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from cases import DEFAULT
from floor import floor, num_bytes, num_operations
from rivals import COMPILED, JAX, OURS, TITLES, TORCH, TUNED
from start import STAGES

from ntm.experiments.hardware import get_processor

PACKAGES = ["ntm-lasagne", "pytensor", "jax", "jaxlib", "numpy", "torch"]
KINDS = {"train": "Training step", "predict": "Inference"}
MIB = 2**20


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


def timing_tables(results, threads):
    """Both tables of times for a number of threads.

    Parameters
    ----------
    results : dict from (Case, threads) to what `timing.measure` gives, or to a message
    threads : int
    """
    lines = []
    others = [JAX, TUNED, TORCH, COMPILED]
    head = ["network", "batch × steps", "ours, ms"]
    for name in others:
        head += [f"{TITLES[name]}, ms", "÷ ours"]
    cases = [(case, result) for (case, count), result in results.items() if count == threads]
    for kind, title in KINDS.items():
        rows = []
        for case, result in cases:
            row = [case.network.name, f"{case.batch} × {case.steps}"]
            if isinstance(result, str):
                rows.append([*row, result] + [""] * 2 * len(others))
                continue
            row.append(milliseconds(result[kind][OURS]["seconds"]))
            for name in others:
                entry = result[kind].get(name)
                if entry:
                    row += [milliseconds(entry["seconds"]), f"{entry['ratio']:.2f}"]
                else:
                    row += [result["failed"].get(name, ""), ""]
            rows.append(row)
        plural = "s" if threads > 1 else ""
        lines += [f"## {title}, {threads} thread{plural}", "", *table(head, rows)]
    return lines


def first_call_table(results):
    """What the first call takes, compiling included, where everyone ran."""
    names = list(TITLES)
    rows = []
    for (case, threads), result in results.items():
        if isinstance(result, str) or COMPILED not in result["train"]:
            continue
        for kind, title in KINDS.items():
            first = [f"{result[kind][name]['first']:.1f}" for name in names]
            rows.append([f"{case.batch} × {case.steps}", title.lower(), str(threads), *first])
    if not rows:
        return []
    head = ["batch × steps", "", "threads", *(f"{TITLES[name]}, s" for name in names)]
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
    results : dict from (Case, rival) to what `memory.measure` gives, or to a message
    """
    rows = []
    for (case, name), result in results.items():
        row = [case.network.name, f"{case.batch} × {case.steps}", TITLES[name]]
        if isinstance(result, str):
            rows.append([*row, result, "", ""])
            continue
        figures = [result["step"], result["xla"], result["whole"]]
        rows.append(row + ["" if value is None else f"{value / MIB:,.0f}" for value in figures])
    return [
        "## Memory of a training step",
        "",
        "Peak resident memory, MiB: of a step, above the state before it, and XLA's own figure for its temporary "
        "memory; of building, compiling and the first steps together, above the state after the imports.",
        "",
        *table(["network", "batch × steps", "", "step", "XLA's figure", "with compiling"], rows),
    ]


def start_table(results, case, new_steps):
    """Times of the first step.

    Parameters
    ----------
    results : dict from (rival, 'cold' or 'warm') to what `start.measure` gives, or to a message
    case : cases.Case
    new_steps : int
        The other length.
    """
    columns = [*STAGES, "total", "new length"]
    rows = []
    for (name, caches), result in results.items():
        if isinstance(result, str):
            rows.append([TITLES[name], caches, result] + [""] * (len(columns) - 1))
            continue
        figures = [f"{result[stage]:.2f}" if stage in result else "" for stage in columns]
        rows.append([TITLES[name], caches, *figures])
    return [
        f"## From starting Python to the first training step, {case.name}",
        "",
        "Seconds; cold with empty caches of PyTensor and JAX, warm with those that a run before left. Ours: layers and "
        "`get_output`; `pytensor.grad` and the updates; `pytensor.function`; tracing, compiling and running. "
        f"The last column is the first call with another length, {new_steps} steps.",
        "",
        *table(["", "caches", *columns], rows),
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
            f"- {threads} thread{'s' if threads > 1 else ''}: {rate['operations'] / 1e9:.0f} Gflop/s, "
            f"{rate['bytes'] / 1e9:.1f} GB/s, {1e6 * rate['call']:.0f} µs a call"
        )
    rows = []
    for (case, threads), result in timings.items():
        if case.network != DEFAULT or isinstance(result, str) or threads not in rates:
            continue
        least = floor(case, num_parameters, rates[threads])
        ours = result["train"][OURS]["seconds"]
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
    head = ["batch × steps", "threads", "Mflop", "MB", "floor, ms", "ours, ms", "ours ÷ floor"]
    return [
        *lines,
        "",
        f"A training step of {DEFAULT.name}; how it is counted stands in `floor.py`.",
        "",
        *table(head, rows),
    ]
