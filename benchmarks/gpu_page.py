"""The page of `gpu.py`: tables from the rows of its sections, and the table of break-even for the documentation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from report import milliseconds, table

Row = dict[str, Any]
Results = Mapping[str, Mapping[str, Any]]

BEGIN, END = "<!-- break-even: begin -->", "<!-- break-even: end -->"
GIB = 2**30
TITLES = {
    "ntm": "NTM",
    "ntm-lstm": "NTM with an LSTM controller",
    "dnc": "DNC",
    "sam": "SAM",
    "sdnc": "SDNC",
    "lstm": "LSTM",
    "dense": "dense network",
}
#: What decides whether two timings are of the same case
CASE = ("kind", "batch", "steps", "slots", "nearest")

INTRODUCTION = """\
# On a GPU

`make gpu` writes this page. A training step is loss, gradient, clipping and update, until the loss is a Python float.
Times are medians. "One core" is one core of the same machine's processor, in the same run. Networks are those of
`ntm train copy` unless a table says otherwise: 100 units, slots of 20 numbers, one write and one read head.
"""
REHEARSAL = """\
**This is a rehearsal: every section ran on the CPU, with tiny sizes. No figure here is one of a GPU.**
"""


def format_ratio(ratio: float) -> str:
    """Return a ratio with two digits, and no power of ten."""
    return f"{ratio:.2g}" if ratio < 10 else f"{float(f'{ratio:.2g}'):,.0f}"


def rows_of(results: Results, name: str) -> list[Row]:
    """Return the rows of a section that could be measured; none if the section did not run."""
    return [row for row in results.get(name, {}).get("rows", []) if "failed" not in row]


def title_of(row: Row) -> str:
    """Return what a case is, for example ``SAM, index``."""
    return TITLES[row["kind"]] + (", index" if row.get("nearest") == "lsh" else "")


def sizes_of(row: Row) -> list[str]:
    """Return the cells of slots, batch and steps."""
    slots = "–" if row["kind"] == "lstm" else f"{row.get('slots', 128):,}"
    return [slots, f"{row['batch']:,}", str(row["steps"])]


def number(value: float) -> str:
    """Return a small number, such as an error, for a table."""
    return f"{value:.1e}"


# ---- Break-even


def match_timings(results: Results) -> list[Row]:
    """Return a row for each case that the device timed, with ``core``, the seconds of one CPU core or None."""
    cores = {case_of(row): row["seconds"] for row in timings(results, "on one core")}
    return [{**row, "core": cores.get(case_of(row))} for row in timings(results, "on the device")]


def timings(results: Results, where: str) -> list[Row]:
    """Return the rows of all sections of timings of training steps."""
    names = [name for name in results if name.startswith("Training steps") and name.endswith(where)]
    return [row for name in names for row in rows_of(results, name)]


def case_of(row: Row) -> tuple[Any, ...]:
    """Return what must be equal for two timings to be of one case."""
    defaults = {"slots": 128, "nearest": "exact"}
    return tuple(row.get(name, defaults.get(name)) for name in CASE)


def break_even(timed: Sequence[Row]) -> list[Row]:
    """Return from which batch on the device is faster than one core, for each network, memory and length.

    Parameters
    ----------
    timed : list of rows
        From :func:`match_timings`.

    Returns
    -------
    list of rows
        ``batches``, those that both have run, ascending; ``ratios``, the core's seconds by the device's; and
        ``batch``, the smallest of the batches from which on the device is faster at every one, or None.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in timed:
        if row["core"] is not None:
            kind, _, steps, slots, nearest = case_of(row)
            groups.setdefault((kind, slots, nearest, steps), []).append(row)
    found = []
    for (kind, slots, nearest, steps), rows in groups.items():
        rows = sorted(rows, key=lambda row: row["batch"])
        ratios = [row["core"] / row["seconds"] for row in rows]
        batch = None
        for row, ratio in zip(reversed(rows), reversed(ratios), strict=True):
            if ratio <= 1.0:
                break
            batch = row["batch"]
        batches = [row["batch"] for row in rows]
        case = {"kind": kind, "slots": slots, "nearest": nearest, "steps": steps}
        found.append({**case, "batches": batches, "ratios": ratios, "batch": batch})
    return found


def break_even_table(results: Results) -> list[str]:
    """Return the lines of the table of break-even; a sentence where nothing was measured."""
    rows = []
    for row in break_even(match_timings(results)):
        from_batch = "at none of these" if row["batch"] is None else f"{row['batch']:,}"
        ratios = ", ".join(
            f"{batch:,}: {format_ratio(ratio)}"
            for batch, ratio in zip(row["batches"], row["ratios"], strict=True)
        )
        slots = "–" if row["kind"] == "lstm" else f"{row['slots']:,}"
        rows.append([title_of(row), slots, str(row["steps"]), from_batch, ratios])
    if not rows:
        return ["No case ran both on the device and on one core.", ""]
    head = ["", "slots", "steps", "faster from this batch on", "batch: core's time ÷ device's"]
    return table(head, rows)


def replace_break_even(text: str, results: Results) -> str:
    """Return a page of the documentation with the table of break-even in its place.

    Raises
    ------
    ValueError
        If the page does not have the place.
    """
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise ValueError(f"the page has no {BEGIN} followed by {END}")
    (row,) = rows_of(results, "Device")
    measured = f"Measured on one {row['device']} beside one core of {row['processor']}, JAX {row['packages']['jax']}."
    lines = [BEGIN, "", measured, "", *break_even_table(results), END]
    return before + "\n".join(lines) + after


# ---- The sections of the page


def device_lines(results: Results) -> list[str]:
    """Return where it was measured."""
    lines = []
    for row in rows_of(results, "Device"):
        memory = "" if row["bytes"] is None else f", {row['bytes'] / GIB:.0f} GiB for JAX"
        packages = ", ".join(f"{name} {version}" for name, version in row["packages"].items())
        lines += [
            f"- {row['device']}{memory}; {row['driver']}",
            f"- {row['processor']}, {row['cores']} cores",
            f"- Python {row['python']}, {packages}",
            f"- {row['backend']}",
        ]
    return [*lines, ""]


def losses_lines(results: Results) -> list[str]:
    """Return how far the device's losses are from the CPU's."""
    rows = []
    for name in [name for name in results if name.startswith("Losses") and "CPU" not in name]:
        reference = "Losses on the CPU, float64" if "float64" in name else "Losses on the CPU"
        expected = {row["kind"]: row["losses"] for row in rows_of(results, reference)}
        for row in rows_of(results, name):
            cpu = expected.get(row["kind"])
            if cpu is None:
                continue
            worst = max(abs(a / b - 1.0) for a, b in zip(row["losses"], cpu, strict=True))
            label = name.removeprefix("Losses ")
            cells = [f"{TITLES[row['kind']]} {label}"]
            cells += [f"{last:.6f}" for last in (row["losses"][-1], cpu[-1])]
            cells += [number(abs(row["losses"][0] / cpu[0] - 1.0)), number(worst)]
            rows.append(cells)
    head = ["", "last loss", "on the CPU", "first loss, relative error", "largest relative error"]
    return table(head, rows) if rows else []


def oracles_lines(results: Results) -> list[str]:
    """Return how far the published models are from Theano's numbers."""
    columns = {name: {} for name in ("float64", "float32")}
    for name, found in columns.items():
        for row in rows_of(results, f"Published models, {name}"):
            found[row["what"]] = number(row["error"])
    whats = list(dict.fromkeys(what for found in columns.values() for what in found))
    rows = [[what, *(found.get(what, "") for found in columns.values())] for what in whats]
    return table(["largest error", *columns], rows) if rows else []


def precision_lines(results: Results) -> list[str]:
    """Return what TF32 costs and gains."""
    rows = []
    for row in rows_of(results, "Precision of matrix products"):
        cells = [TITLES[row["kind"]], f"{row['batch']} × {row['steps']}", f"`{row['precision']}`"]
        cells += [number(row["loss_error"]), number(row["gradient_error"])]
        rows.append([*cells, milliseconds(row["seconds"])])
    head = ["", "batch × steps", "precision", "error of loss", "of gradient", "ms"]
    return table(head, rows) if rows else []


def steps_lines(results: Results) -> list[str]:
    """Return milliseconds of training steps."""
    rows = []
    for row in match_timings(results):
        core = row["core"]
        cells = [title_of(row), *sizes_of(row), milliseconds(row["seconds"])]
        cells += [milliseconds(row["least"]), f"{row['batch'] / row['seconds']:,.0f}"]
        cells += (
            ["", ""] if core is None else [milliseconds(core), format_ratio(core / row["seconds"])]
        )
        rows.append(cells)
    head = ["", "slots", "batch", "steps", "ms", "least, ms", "sequences a second"]
    return table([*head, "one core, ms", "core ÷ device"], rows) if rows else []


def rivals_lines(results: Results) -> list[str]:
    """Return our times beside those by hand."""
    names = {"ours": "ours", "jax": "JAX by hand", "tuned": "JAX, tuned", "torch": "PyTorch"}
    merged: dict[tuple[int, int], Row] = {}
    for section in ("By hand in JAX", "By hand in PyTorch"):
        for row in rows_of(results, section):
            merged.setdefault((row["batch"], row["steps"]), {}).update(row)
    rows = []
    for (batch, steps), row in merged.items():
        cells = [f"{batch:,} × {steps}"]
        for name in names:
            value = row.get(name, "")
            cells.append(milliseconds(value) if isinstance(value, float) else str(value))
        losses = [row[f"{name}_loss"] for name in names if f"{name}_loss" in row]
        spread = number(max(losses) / min(losses) - 1.0) if losses else ""
        rows.append([*cells, spread])
    head = ["batch × steps", *(f"{title}, ms" for title in names.values())]
    return table([*head, "losses differ by"], rows) if rows else []


def flags_lines(results: Results) -> list[str]:
    """Return what XLA's flags change."""
    rows = []
    for name in [name for name in results if name.startswith("XLA flags")]:
        for row in rows_of(results, name):
            label = name.removeprefix("XLA flags: ")
            cells = [label, f"{row['batch']} × {row['steps']}", milliseconds(row["seconds"])]
            rows.append([*cells, f"{row['compiling']:.1f}"])
    head = ["", "batch × steps", "ms", "first call, s"]
    return table(head, rows) if rows else []


def memory_lines(results: Results) -> list[str]:
    """Return peaks of memory."""
    rows = []
    sections = [name for name in results if name.startswith("Memory")]
    for row in [row for name in sections for row in rows_of(results, name)]:
        peak, temporary = (
            "" if value is None else f"{value / GIB:.3f}"
            for value in (row["peak"], row["temporary"])
        )
        blocks = f"{row['block_size']:,}" if "block_size" in row else ""
        time = milliseconds(row["seconds"])
        rows.append([title_of(row), *sizes_of(row), blocks, peak, temporary, time])
    head = [
        "",
        "slots",
        "batch",
        "steps",
        "in blocks of",
        "peak, GiB",
        "XLA's temporary, GiB",
        "ms",
    ]
    return table(head, rows) if rows else []


def profile_lines(results: Results) -> list[str]:
    """Return launches and kernel times."""
    rows, longest = [], []
    for row in rows_of(results, "Kernels"):
        case = f"{title_of(row)}, {row['batch']} × {row['steps']}"
        share = row["kernel_seconds"] / row["seconds"]
        cells = [case, f"{row['launches']:,.0f}", f"{row['launches'] / row['steps']:.1f}"]
        cells += [f"{row['copies']:,.0f}", milliseconds(row["kernel_seconds"])]
        rows.append([*cells, milliseconds(row["seconds"]), f"{share:.0%}"])
        names = ", ".join(
            f"`{name}` {milliseconds(seconds)} ms" for name, seconds in row["longest"].items()
        )
        longest.append(f"- {case}: {names}")
    head = [
        "",
        "launches",
        "launches ÷ time steps",
        "copies",
        "in kernels, ms",
        "step, ms",
        "share",
    ]
    return [*table(head, rows), *longest, ""] if rows else []


def copy_lines(results: Results) -> list[str]:
    """Return how long copying took to learn."""
    lines = []
    for row in rows_of(results, "Copy from nothing"):
        lines.append(
            f"The run of `ntm train copy --seed 1` ended after {row['sequences']:,} sequences, {row['restarts']} "
            f"restarts and {row['seconds']:.0f} s of training: {row['ended']}. With compiling and measuring it took "
            f"{row['whole']:.0f} s."
        )
    return [*lines, ""] if lines else []


def replicas_lines(results: Results) -> list[str]:
    """Return how long a step of several networks takes, and how many networks do a step in a second."""
    rows = []
    for row in rows_of(results, "Many networks at once"):
        count, seconds = row["replicas"], row["seconds"]
        whole = seconds + count * row["host"]
        cells = [
            TITLES[row["kind"]],
            f"{count:,}",
            milliseconds(seconds),
            milliseconds(row["host"]),
        ]
        rows.append([*cells, f"{1 / whole:,.1f}", f"{count / whole:,.0f}"])
    head = [
        "",
        "networks",
        "a step of all, ms",
        "a trainer's part, ms",
        "steps/s of each network",
        "steps/s of all together",
    ]
    return table(head, rows) if rows else []


#: Titles of the page, and what makes their lines
PARTS: dict[str, Callable[[Results], list[str]]] = {
    "Faster than one core?": break_even_table,
    "A training step": steps_lines,
    "By hand": rivals_lines,
    "The same losses": losses_lines,
    "The published models": oracles_lines,
    "TF32": precision_lines,
    "Memory": memory_lines,
    "Kernels": profile_lines,
    "XLA's flags": flags_lines,
    "Learning to copy": copy_lines,
    "Many networks at once": replicas_lines,
}
NOTES = {
    "Faster than one core?": "For each network, number of slots and length: the smallest batch measured from which on "
    "the device is faster than one core, at every batch measured.",
    "By hand": "The network of `benchmarks/results.md`, dense-128x20-1, from the same parameters.",
    "The same losses": "Relative errors over the first updates, from the same parameters and batch. Matrix products in "
    "full float32 unless the row names TF32.",
    "The published models": "In float64 and float32, against the numbers that ntm-lasagne computed on Theano.",
    "TF32": "Loss and gradient in float32 by JAX's setting `jax_default_matmul_precision`, against float64. The error "
    "of the gradient is the norm of the difference by the norm of the gradient.",
    "Memory": "The device's own peak, and XLA's figure for the temporary memory of a step. In blocks: the gradient is "
    "accumulated by `lasagne.accumulation.accumulate_gradients`.",
    "Kernels": "From the profile that XLA writes. Launches inside a command buffer count as the profile shows them.",
    "Many networks at once": "`ntm train copy --replicas N`: networks of different seeds in one program. The trainer's "
    "part is what the processor does for each network between two steps, one network after the other: it draws the "
    "batch and notes the loss. Evaluations and checkpoints come on top.",
    "XLA's flags": "The first call traces and compiles, without a cache on disk.",
}


def attempt(make_lines: Callable[[Results], list[str]], results: Results) -> list[str]:
    """Return lines, or the error: a row that is not as expected costs one table."""
    try:
        return make_lines(results)
    except Exception as error:
        return [f"No table: {type(error).__name__}: {error}", ""]


def make_page(results: Results, rehearsal: bool, seconds: float) -> str:
    """Return the whole page.

    Parameters
    ----------
    results : dict
        From the name of a section to ``state``, ``seconds``, ``rows`` and, unless it went well, ``message``.
    rehearsal : bool
        Whether everything ran on the CPU with tiny sizes.
    seconds : float
        Since the start.
    """
    lines = [*INTRODUCTION.splitlines(), ""]
    if rehearsal:
        lines += [*REHEARSAL.splitlines(), ""]
    lines += attempt(device_lines, results)
    for title, make_lines in PARTS.items():
        note = [NOTES[title], ""] if title in NOTES else []
        part = attempt(make_lines, results)
        if part:
            lines += [f"## {title}", "", *note, *part]
    rows = []
    for name, result in results.items():
        failed = [row["failed"] for row in result["rows"] if "failed" in row]
        messages = [result["message"]] if result.get("message") else []
        cells = [name, result["state"], f"{result['seconds']:.0f}", str(len(result["rows"]))]
        rows.append([*cells, "; ".join(dict.fromkeys(messages + failed))])
    lines += [f"## Sections, {seconds:.0f} s in all", ""]
    lines += table(["", "state", "seconds", "rows", "what went wrong"], rows)
    return "\n".join(lines).rstrip() + "\n"
