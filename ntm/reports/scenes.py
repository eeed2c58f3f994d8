"""A sequence on a page: what the network is given and answers, and what its memory layers do at each step.

Notation: T steps, F inputs, O outputs, N slots of width M, S slots that are shown.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntm.reports.packing import pack
from ntm.traces import HeadTrace, Trace
from ntm.typing import Array

#: Steps and slots that are shown at most
MAX_STEPS, MAX_SLOTS = 1000, 300
#: Outputs that are drawn as lines, and channels of an image, at most
MAX_LINES, MAX_CHANNELS = 6, 200
#: A slot is used by a head that gives it so much weight
USED = 0.02


def make_scene(
    label: str,
    inputs: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
    traces: Sequence[Trace],
    num_steps: int,
    wrong: Sequence[int] = (),
    lines: Sequence[str] = (),
    room: int = 500_000,
) -> dict[str, Any]:
    """Return a sequence as the page takes it.

    Parameters
    ----------
    label : str
        What the sequence is chosen by, such as "length 20".
    inputs, answers : list of dict
        Panels: see :func:`make_image`, :func:`make_lines` and :func:`make_symbols`.
    traces : list of Trace
        One for each memory layer. They may have more steps than the sequence.
    num_steps : int
        T, the steps of the sequence.
    wrong : list of int
        The steps at which the answer is wrong.
    lines : list of str
        What the page says of the sequence.
    room : int
        Bytes of memory that all traces may take.
    """
    steps = min(num_steps, MAX_STEPS)
    lines = list(lines)
    if steps < num_steps:
        lines.append(f"The first {steps:,} of {num_steps:,} steps are shown.")
    return {
        "label": label,
        "steps": steps,
        "inputs": list(inputs),
        "answers": list(answers),
        "wrong": [step for step in wrong if step < steps],
        "lines": lines,
        "memories": [_show_trace(each, steps, room // max(len(traces), 1)) for each in traces],
    }


# ---- Panels over time


def make_image(
    title: str, values: Array, unit: str = "channel", counts: Array | None = None
) -> dict[str, Any]:
    """Return a panel of values (T, C), an image; steps that do not count (T,) are left out."""
    values = np.array(values[:MAX_STEPS], float)
    values = values.reshape(len(values), -1)[:, :MAX_CHANNELS]
    finite = values[np.isfinite(values)]
    is_share = bool(len(finite)) and finite.min() >= 0 and finite.max() <= 1
    if counts is not None:
        values[~np.asarray(counts[:MAX_STEPS], bool)] = np.nan
    return {
        "kind": "image",
        "title": title,
        "unit": unit,
        "signed": not is_share,
        "values": pack(values, "i1"),
    }


def make_lines(
    title: str, series: Sequence[tuple[str, Array]], counts: Array | None = None
) -> dict[str, Any]:
    """Return a panel of lines over time: for each a name and values (T,)."""
    drawn = []
    for name, values in series[: 2 * MAX_LINES]:
        values = np.array(values[:MAX_STEPS], float)
        if counts is not None:
            values[~np.asarray(counts[:MAX_STEPS], bool)] = np.nan
        drawn.append({"name": name, "values": pack(values)})
    return {"kind": "lines", "title": title, "series": drawn}


# ---- Memories


def _show_trace(trace: Trace, steps: int, room: int) -> dict[str, Any]:
    """Return what the page shows of a memory layer: the slots that are used, and what the heads do with them."""
    slots = _choose_slots(trace, steps)
    notes = list(trace.notes)
    if len(slots) < trace.num_slots:
        notes.append(
            f"{len(slots):,} of the {trace.num_slots:,} slots are shown: those that the heads use most."
        )
    memory = None
    if trace.memory is not None:
        if steps * len(slots) * trace.slot_width <= room:
            memory = pack(trace.memory[:steps, slots], "i1")
        else:
            notes.append("The contents of the memory are left out, to keep the page small.")
    panels = []
    if "usage" in trace.states:
        usage = trace.states["usage"][:steps, slots]
        panels.append(make_image("usage", usage, "slot"))
    return {
        "title": f"{trace.name}: {trace.num_slots:,} slots of width {trace.slot_width}",
        "slots": [str(slot) for slot in slots],
        "width": trace.slot_width,
        "memory": memory,
        "heads": [_show_head(head, slots, steps) for head in trace.heads],
        "panels": panels,
        "notes": notes,
    }


def _choose_slots(trace: Trace, steps: int) -> Array:
    """Return the numbers of the slots that are shown: those that a head uses, and the slots beside them."""
    largest: dict[int, float] = {}
    for head in trace.heads:
        weights = np.nan_to_num(np.abs(head.used[:steps]))
        if head.positions is None:
            slots, most = np.arange(trace.num_slots), weights.max(axis=0)
        else:
            slots, most = head.positions[:steps].ravel(), weights.ravel()
        for slot, weight in zip(slots.tolist(), most.tolist(), strict=True):
            largest[slot] = max(largest.get(slot, 0.0), weight)
    if not trace.is_sparse:
        used = [slot for slot, weight in largest.items() if weight > USED]
        near = {slot + k for slot in used for k in (-1, 0, 1)} & largest.keys()
        largest = {slot: largest[slot] for slot in near or largest}
    chosen = sorted(largest, key=lambda slot: -largest[slot])[:MAX_SLOTS]
    return np.array(sorted(chosen), int)


def _show_head(head: HeadTrace, slots: Array, steps: int) -> dict[str, Any]:
    weights = head.spread(slots)[:steps]
    vectors, numbers = [], []
    for name, values in [*head.parameters.items(), *head.results.items()]:
        values = np.asarray(values[:steps], float)
        if name in ("key", "erase", "add", "read vector"):
            vectors.append([name, pack(values, "i1")])
        elif name in head.parameters and values.reshape(len(values), -1).shape[1] <= 9:
            numbers.append([name, pack(values.reshape(len(values), -1))])
    return {
        "name": head.name,
        "writes": head.writes,
        "weights": pack(weights),
        "vectors": vectors,
        "numbers": numbers,
    }
