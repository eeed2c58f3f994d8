"""Panels of the weights with which heads write and read.

Notation: T time steps, N slots, K slots of a sparse head.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ntm.traces import HeadTrace
from ntm.typing import Array
from ntm.visualization.panels import Panel, draw_image
from ntm.visualization.style import get_weight_colors

__all__ = ["choose_slots", "find_used_slots", "list_weight_panels"]

#: A head uses a slot where its weight is above this
USED = 0.05
#: Slots of a memory with sparse heads that are shown at their places; of more, only those that heads use
MOST_SLOTS = 512
#: Rows of an image, at most; slots beside each other share a row, which shows the largest weight
MOST_ROWS = 160
#: A range from the last slots to the first is shown if it is so much smaller than one from the first to the last
MUCH_SMALLER = 0.6
#: The share of the rows that stays empty above and below
MARGIN = 0.025
#: Inches of a slot, and of the lowest and the highest panel
ROW_HEIGHT, LOWEST, HIGHEST = 0.014, 0.7, 1.4


def list_weight_panels(heads: Sequence[HeadTrace], num_slots: int, prefix: str = "") -> list[Panel]:
    """List panels of the weights of heads, each over time and over the same slots.

    Shown is the range of slots that the heads use; it may go on from the last slot to the first. If heads are sparse
    and the memory is large, only the slots that the heads use are shown, in the order of their first use, wherever they
    lie.

    Parameters
    ----------
    heads : list of HeadTrace
    num_slots : int
        N.
    prefix : str
        What titles begin with.

    Returns
    -------
    list of Panel
    """
    if not heads:
        return []
    modulo = None
    if num_slots > MOST_SLOTS and any(head.positions is not None for head in heads):
        slots, unit = _order_by_use(heads), "used slot"
        images = [head.spread(slots) for head in heads]
        rows = range(len(slots))
    else:
        unit = "slot"
        images = [head.spread(np.arange(num_slots)) for head in heads]
        rows = choose_slots(images)
        images = [image.take(rows, axis=1, mode="wrap") for image in images]
        modulo = num_slots
    height = float(np.clip(ROW_HEIGHT * len(rows), LOWEST, HIGHEST))
    images, rows = _pool(images, rows)
    return [
        Panel(
            f"{prefix}{head.name} weights",
            height,
            partial(
                draw_image,
                values=image,
                colors=get_weight_colors(),
                limits=(0.0, 1.0),
                rows=rows,
                unit=unit,
                margin=MARGIN * (rows.stop - rows.start),
                modulo=modulo,
            ),
            colors="weight",
        )
        for head, image in zip(heads, images, strict=True)
    ]


def find_used_slots(weights: Sequence[Array]) -> range:
    """Return the range of slots that heads use, and two beside it; all slots if no weight stands out.

    Parameters
    ----------
    weights : list of array (T, N)
        Of each head.
    """
    highest = np.max([values.max(axis=0) for values in weights], axis=0)
    used = np.flatnonzero(highest > USED)
    if len(used) == 0:
        return range(len(highest))
    return range(max(used[0] - 2, 0), min(used[-1] + 3, len(highest)))


def choose_slots(weights: Sequence[Array]) -> range:
    """Return the range of slots to show: those that heads use; below zero where it begins before the first slot.

    Parameters
    ----------
    weights : list of array (T, N)
        Of each head.
    """
    return _go_around(find_used_slots(weights), weights)


def _go_around(straight: range, weights: Sequence[Array]) -> range:
    """Return a smaller range that goes on from the last slot to the first, if there is one; else the straight one.

    Such a range begins below zero: -1 is the last slot. A circular shift leads from the last slot to the first.
    """
    highest = np.max([values.max(axis=0) for values in weights], axis=0)
    used = np.flatnonzero(highest > USED)
    if len(used) < 2:
        return straight
    gap = int(np.diff(used).argmax())  # Between this one and the next
    around = range(int(used[gap + 1]) - len(highest) - 2, int(used[gap]) + 3)
    return around if len(around) < MUCH_SMALLER * len(straight) else straight


def _order_by_use(heads: Sequence[HeadTrace]) -> Array:
    """Return the slots that heads use, in the order of their first use; all that they look at if none stands out."""
    positions = np.concatenate([_get_positions(head) for head in heads], axis=1)
    weights = np.concatenate([np.asarray(head.used, float) for head in heads], axis=1)
    used = weights > USED
    if not used.any():
        used[:] = True
    slots, first = np.unique(positions[used], return_index=True)
    return slots[np.argsort(first)]


def _get_positions(head: HeadTrace) -> Array:
    """Return the slots (T, K) of the weights of a head."""
    if head.positions is not None:
        return head.positions
    return np.broadcast_to(np.arange(head.used.shape[1]), head.used.shape)


def _pool(images: list[Array], rows: range) -> tuple[list[Array], range]:
    """Return images (T, n) with rows of several slots, where there are too many rows to be seen."""
    size = -(-len(rows) // MOST_ROWS)
    if size <= 1:
        return images, rows
    starts = np.arange(0, len(rows), size)
    pooled = [np.maximum.reduceat(image, starts, axis=1) for image in images]
    return pooled, range(rows.start, rows.stop, size)
