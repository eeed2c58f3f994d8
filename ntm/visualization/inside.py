"""Panels of what happens inside a memory: its heads' parameters, its contents, usage, age and links.

Notation: T time steps, N slots, M slot width, W write heads, K slots of a sparse head, L links of a slot.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.ticker import MaxNLocator

from ntm.traces import HeadTrace, Trace
from ntm.typing import Array
from ntm.visualization.panels import LINES_HEIGHT, Panel, draw_image, draw_lines, get_image_height
from ntm.visualization.style import get_number_scale, get_weight_colors
from ntm.visualization.weights import MARGIN, USED, choose_slots, list_weight_panels

__all__ = ["PANELS", "list_inside_panels"]

#: Inches of a panel of slots or of dots, and of a panel that is not over time
SLOTS_HEIGHT, SQUARE_HEIGHT = 1.0, 1.8
#: A legend of more lines does not fit beside the title in a narrow picture, and lies on the lines
MOST_ABOVE = 2
#: Inches of a panel of numbers from 0 to 1
GATE_HEIGHT = 0.5
#: The parameters that are numbers, and those that are vectors of the memory's width
NUMBERS = (
    "key strength",
    "gate",
    "sharpness",
    "allocation gate",
    "write gate",
    "free gate",
    "interpolation gate",
)
VECTORS = ("key", "erase", "add", "read vector")


def list_inside_panels(
    trace: Trace, names: Sequence[str], step: int, prefix: str = ""
) -> list[Panel]:
    """List panels of a trace by their names.

    Parameters
    ----------
    trace : Trace
    names : list of str
        Of :data:`PANELS`. A panel of which the trace has nothing is left out.
    step : int
        The time step of the panels that are not over time.
    prefix : str
        What titles begin with.
    """
    panels: list[Panel] = []
    for name in names:
        panels += PANELS[name](trace, name, step)
    for panel in panels:
        panel.title = prefix + panel.title
    return panels


def get_slots(trace: Trace) -> range:
    """Return the range of slots that heads use, as the panels of weights show it; below zero, from the last slot on."""
    if not trace.is_sparse:
        return choose_slots([head.used for head in trace.heads])
    used = [head.positions[head.used > USED] for head in trace.heads if head.positions is not None]
    slots = np.concatenate(used)
    if len(slots) == 0:
        return range(trace.num_slots)
    return range(max(int(slots.min()) - 2, 0), min(int(slots.max()) + 3, trace.num_slots))


def _get_values(head: HeadTrace, name: str) -> Array | None:
    return head.parameters.get(name, head.results.get(name))


# ---- Over time


def _list_weights(trace: Trace, name: str, step: int) -> list[Panel]:
    panels = list_weight_panels(trace.heads, trace.num_slots)
    writes = name == "write weights"
    return [panel for panel, head in zip(panels, trace.heads, strict=True) if head.writes == writes]


def _list_numbers(trace: Trace, name: str, step: int) -> list[Panel]:
    """List one panel with a line for each head."""
    lines = {head.name: head.parameters[name] for head in trace.heads if name in head.parameters}
    if not lines:
        return []
    title = name if len(lines) > 1 else f"{next(iter(lines))}: {name}"
    is_gate = name.endswith("gate")
    limits = (-0.05, 1.05) if is_gate else None
    draw = partial(_draw_limited_lines, lines=lines, limits=limits)
    return [Panel(title, GATE_HEIGHT if is_gate else LINES_HEIGHT, draw)]


def _draw_limited_lines(
    axes: Axes, lines: dict[str, Array], limits: tuple[float, float] | None
) -> None:
    draw_lines(axes, lines)
    if len(lines) > MOST_ABOVE:
        axes.legend(
            loc="best" if limits is None else "center left",
            ncols=3,
            columnspacing=1.0,
            handlelength=1.8,
            borderpad=0.1,
            labelspacing=0.2,
            frameon=True,
            framealpha=0.8,
            edgecolor="none",
        )
    if limits is None:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    else:
        axes.set_ylim(limits)
        axes.set_yticks([0, 1])


def _list_vectors(trace: Trace, name: str, step: int) -> list[Panel]:
    """List an image for each head that has such a vector (T, M), all with one scale."""
    found = {head.name: _get_values(head, name) for head in trace.heads}
    vectors = {head: values for head, values in found.items() if values is not None}
    if not vectors:
        return []
    colors, limits = get_number_scale(np.concatenate(list(vectors.values())))
    rows = range(trace.slot_width)
    return [
        Panel(
            f"{head}: {name}",
            max(get_image_height(len(rows)), 0.35),
            partial(
                draw_image,
                values=values,
                colors=colors,
                limits=limits,
                rows=rows,
                unit="component",
            ),
            name,
        )
        for head, values in vectors.items()
    ]


def _list_shifts(trace: Trace, name: str, step: int) -> list[Panel]:
    """List an image for each head: how much of the weights moves by how many slots."""
    panels = []
    for head in trace.heads:
        if name in head.parameters:
            values = head.parameters[name]
            first = -((values.shape[1] - 1) // 2)
            draw = partial(
                draw_image,
                values=values,
                colors=get_weight_colors(),
                limits=(0.0, 1.0),
                rows=range(first, first + values.shape[1]),
                unit="slots",
            )
            panels.append(Panel(f"{head.name}: shift", 0.4, draw, "shift"))
    return panels


def _list_modes(trace: Trace, name: str, step: int) -> list[Panel]:
    """List lines for each read head: backward, content, forward."""
    panels = []
    for head in trace.heads:
        if name in head.parameters:
            modes = head.parameters[name]
            count = (modes.shape[1] - 1) // 2
            names = [
                f"{way} {k + 1}" if count > 1 else way
                for way in ("backward", "forward")
                for k in range(count)
            ]
            names.insert(count, "content")
            lines = {each: modes[:, k] for k, each in enumerate(names)}
            draw = partial(_draw_limited_lines, lines=lines, limits=(-0.05, 1.05))
            panels.append(Panel(f"{head.name}: read modes", GATE_HEIGHT, draw))
    return panels


def _list_slot_states(trace: Trace, name: str, step: int) -> list[Panel]:
    """List images of a number for each slot, such as usage, (T, N), or (T, W, N) for each write head."""
    values = trace.states.get(name)
    if values is None or (name == "precedence" and trace.is_sparse):
        return []
    slots = get_slots(trace)
    if values.ndim == 2:
        images = {name: values}
    else:
        images = {f"{name}, {head.name}": values[:, k] for k, head in enumerate(trace.write_heads)}
    return [
        Panel(title, SLOTS_HEIGHT, partial(_draw_slots, values=image, slots=slots, top=1.0), name)
        for title, image in images.items()
    ]


def _draw_slots(axes: Axes, values: Array, slots: range, top: float) -> ScalarMappable:
    return _draw_rows(axes, values, slots, get_weight_colors(), (0.0, top))


def _draw_rows(
    axes: Axes, values: Array, slots: range, colors: Colormap, limits: tuple[float, float]
) -> ScalarMappable:
    """Draw some of the slots of an array (T, N), as the panels of weights do."""
    shown = values.take(slots, axis=1, mode="wrap")
    margin, modulo = MARGIN * len(slots), values.shape[1]
    return draw_image(axes, shown, colors, limits, slots, "slot", margin=margin, modulo=modulo)


def _list_memory(trace: Trace, name: str, step: int) -> list[Panel]:
    """List an image of how long the vector in each slot is."""
    if trace.memory is None:
        return []
    lengths = np.sqrt((trace.memory.astype(float) ** 2).sum(axis=2))
    _, (_, top) = get_number_scale(lengths)
    draw = partial(_draw_slots, values=lengths, slots=get_slots(trace), top=top)
    return [Panel("memory: length of the vector in each slot", SLOTS_HEIGHT, draw, "length")]


def _list_positions(trace: Trace, name: str, step: int) -> list[Panel]:
    """List dots at the slots that sparse heads use, wherever they lie."""
    return [
        Panel(
            f"{head.name}: slots",
            SLOTS_HEIGHT,
            partial(_draw_slot_dots, positions=head.positions, weights=head.used),
            "weight",
        )
        for head in trace.heads
        if head.positions is not None
    ]


def _draw_slot_dots(axes: Axes, positions: Array, weights: Array) -> ScalarMappable:
    """Draw dots at slots, the first slot at the top, as in images."""
    dots = _draw_dots(axes, positions, weights, "slot")
    axes.invert_yaxis()
    return dots


def _list_ages(trace: Trace, name: str, step: int) -> list[Panel]:
    """List dots at the ages of the slots that sparse heads use."""
    return [
        Panel(
            f"{head.name}: age of the slots",
            SLOTS_HEIGHT,
            partial(_draw_dots, heights=head.results["age"], weights=head.used, unit="steps"),
            "weight",
        )
        for head in trace.heads
        if "age" in head.results
    ]


def _draw_dots(axes: Axes, heights: Array, weights: Array, unit: str) -> ScalarMappable:
    """Draw a dot for each slot (T, K) that a step uses; heavier ones lie above lighter ones."""
    steps = np.broadcast_to(np.arange(len(heights))[:, None], heights.shape)
    order = np.argsort(weights, axis=None)
    dots = axes.scatter(
        steps.ravel()[order],
        heights.ravel()[order],
        c=weights.ravel()[order],
        s=6,
        cmap=get_weight_colors(),
        vmin=0.0,
        vmax=1.0,
        edgecolors="0.6",
        linewidths=0.2,
    )
    axes.set_ylabel(unit)
    axes.margins(y=0.1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    return dots


# ---- At a step


def _list_memory_at_step(trace: Trace, name: str, step: int) -> list[Panel]:
    if trace.memory is None:
        return []
    colors, limits = get_number_scale(trace.memory)
    slots = get_slots(trace)

    def draw(axes: Axes) -> ScalarMappable:
        assert trace.memory is not None
        image = _draw_rows(axes, trace.memory[step].T, slots, colors, limits)
        axes.set_xlabel("component")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return image

    return [Panel(f"memory after step {step}", SQUARE_HEIGHT, draw, "memory", over_time=False)]


def _list_links(trace: Trace, name: str, step: int) -> list[Panel]:
    """List for each write head which slot it wrote to after which, as far as the trace shows it."""
    panels = []
    for k, head in enumerate(trace.write_heads):
        draw: Callable[[Axes], ScalarMappable]
        if "links" in trace.states:
            slots = get_slots(trace)
            draw = partial(_draw_link_matrix, links=trace.states["links"][step, k], slots=slots)
        elif "backward links" in head.results:
            draw = partial(_draw_link_dots, head=head, step=step)
        else:
            continue
        which = f", {head.name}" if len(trace.write_heads) > 1 else ""
        title = f"links after step {step}{which}"
        panels.append(Panel(title, SQUARE_HEIGHT, draw, "link", over_time=False))
    return panels


def _draw_link_matrix(axes: Axes, links: Array, slots: range) -> ScalarMappable:
    """Draw links (N, N): in the row of a slot, the slots that were written to just before."""
    image = axes.imshow(
        links.take(slots, axis=0, mode="wrap").take(slots, axis=1, mode="wrap"),
        aspect="auto",
        cmap=get_weight_colors(),
        vmin=0.0,
        vmax=1.0,
        extent=(slots.start - 0.5, slots.stop - 0.5, slots.stop - 0.5, slots.start - 0.5),
    )
    _label_links(axes)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda place, _: str(round(place) % len(links)))
    return image


def _draw_link_dots(axes: Axes, head: HeadTrace, step: int) -> ScalarMappable:
    """Draw the links of the slots that a sparse write head has written to."""
    assert head.positions is not None
    links = head.results["backward links"][step]
    before = head.results["backward positions"][step]
    written = np.broadcast_to(head.positions[step][:, None], links.shape)
    shown = links > 0
    dots = axes.scatter(
        before[shown],
        written[shown],
        c=links[shown],
        s=10,
        cmap=get_weight_colors(),
        vmin=0,
        vmax=1,
    )
    axes.margins(0.1)
    axes.invert_yaxis()
    _label_links(axes)
    return dots


def _label_links(axes: Axes) -> None:
    axes.set_xlabel("slot written before")
    axes.set_ylabel("slot")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))


#: How each panel is made, in the order in which a dashboard of all shows them
PANELS: dict[str, Callable[[Trace, str, int], list[Panel]]] = {
    "write weights": _list_weights,
    "read weights": _list_weights,
    "slots": _list_positions,
    "age": _list_ages,
    "memory": _list_memory,
    "usage": _list_slot_states,
    "precedence": _list_slot_states,
    **dict.fromkeys(NUMBERS, _list_numbers),
    "shift": _list_shifts,
    "read modes": _list_modes,
    **dict.fromkeys(VECTORS, _list_vectors),
    "memory at step": _list_memory_at_step,
    "links": _list_links,
}
