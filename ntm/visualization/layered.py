"""Places of the boxes of a directed graph: in rows from top to bottom, so that arrows go down.

The method is that of K. Sugiyama, S. Tagawa and M. Toda, Methods for visual understanding of hierarchical system
structures, 1981: a row for each box, stand-ins for arrows that pass a row, an order with few crossings, and positions
near to the neighbours. Lengths are in inches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layout", "arrange"]

#: The width that an arrow takes where it passes a row
LANE = 0.1
#: How often rows are put in order, and how often boxes are moved
ORDERS, MOVES = 8, 40


@dataclass(frozen=True)
class Layout:
    """Where boxes are, and which rows arrows pass.

    Attributes
    ----------
    rows : list of list of int
        The boxes in each row, from left to right. Numbers from the number of boxes on are stand-ins.
    centres : list of float
        The middle of each box, then of each stand-in, from left to right.
    routes : list of list of int
        For each arrow: its box, the stand-ins that it passes, and the box that it goes to.
    """

    rows: list[list[int]]
    centres: list[float]
    routes: list[list[int]]


def arrange(
    widths: Sequence[float], arrows: Sequence[tuple[int, int]], width: float, gap: float
) -> Layout:
    """Arrange boxes in rows.

    Parameters
    ----------
    widths : list of float
        Of each box. Boxes are in topological order: arrows go from a box to a later one.
    arrows : list of pairs of int
    width : float
        The width that there is. More than fits goes to a row of its own.
    gap : float
        Between boxes beside each other.

    Returns
    -------
    Layout
    """
    for share in (1.0, 0.8, 0.6, 0.4, 0.2, 0.0):
        rows, routes = _make_rows(_find_rows(widths, arrows, share * width, gap), arrows)
        number = max((box for row in rows for box in row), default=-1) + 1
        sizes = [*widths, *((number - len(widths)) * [LANE])]
        # What passes a row needs room, too
        if max((_add_up(row, sizes, gap) for row in rows), default=0.0) <= width:
            break
    above: list[list[int]] = [[] for _ in sizes]
    below: list[list[int]] = [[] for _ in sizes]
    for route in routes:
        for a, b in pairwise(route):
            below[a].append(b)
            above[b].append(a)
    rows = _order(rows, above, below)
    centres = _find_centres(rows, above, below, sizes, width, gap, len(widths))
    return Layout(rows, centres, routes)


def _make_rows(
    places: Sequence[int], arrows: Sequence[tuple[int, int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the rows with stand-ins for the arrows that pass them, and the routes of the arrows."""
    rows: list[list[int]] = [[] for _ in range(max(places, default=-1) + 1)]
    for box, place in enumerate(places):
        rows[place].append(box)
    routes, number = [], len(places)
    for start, end in arrows:
        route = [start]
        for place in range(places[start] + 1, places[end]):
            rows[place].append(number)
            route.append(number)
            number += 1
        routes.append([*route, end])
    return rows, routes


def _find_gap(first: float, second: float, gap: float) -> float:
    """Return the gap between two neighbours of these widths; between stand-ins there is none."""
    return 0.0 if first == second == LANE else gap


def _add_up(row: Sequence[int], sizes: Sequence[float], gap: float) -> float:
    """Return the width of a row."""
    widths = [sizes[box] for box in row]
    return sum(widths) + sum(_find_gap(a, b, gap) for a, b in pairwise(widths))


def _find_rows(
    widths: Sequence[float], arrows: Sequence[tuple[int, int]], width: float, gap: float
) -> list[int]:
    """Return the row of each box: below all boxes that it follows, and a start just above what follows it."""
    places = [0] * len(widths)
    for start, end in sorted(arrows, key=lambda arrow: arrow[1]):
        places[end] = max(places[end], places[start] + 1)
    targets: dict[int, list[int]] = {}
    for start, end in arrows:
        targets.setdefault(start, []).append(places[end])
    has_incoming = {end for _, end in arrows}
    for box, ends in targets.items():
        if box not in has_incoming:
            places[box] = min(ends) - 1
    # A row that is too wide becomes several
    final, first = [0] * len(widths), 0
    for place in range(max(places, default=-1) + 1):
        used = 0.0
        for box in [k for k, other in enumerate(places) if other == place]:
            if used and used + gap + widths[box] > width:
                first, used = first + 1, 0.0
            used += widths[box] + (gap if used else 0.0)
            final[box] = first
        first += 1
    return final


def _order(
    rows: list[list[int]], above: list[list[int]], below: list[list[int]]
) -> list[list[int]]:
    """Return the rows in an order in which few arrows cross."""
    best, fewest = rows, _count_crossings(rows, below)
    for sweep in range(ORDERS):
        neighbours = above if sweep % 2 == 0 else below
        places = {box: k for row in rows for k, box in enumerate(row)}

        def mean(
            box: int, near: list[list[int]] = neighbours, at: dict[int, int] = places
        ) -> float:
            return sum(at[k] for k in near[box]) / len(near[box]) if near[box] else at[box]

        new = []
        for row in rows if sweep % 2 == 0 else reversed(rows):
            new.append(sorted(row, key=mean))
            places.update({box: k for k, box in enumerate(new[-1])})
        rows = new if sweep % 2 == 0 else new[::-1]
        crossings = _count_crossings(rows, below)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _count_crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    count = 0
    for row, after in pairwise(rows):
        places = {box: k for k, box in enumerate(after)}
        ends = [sorted(places[k] for k in below[box] if k in places) for box in row]
        pairs = [(k, end) for k, each in enumerate(ends) for end in each]
        count += sum(a < c and b > d for a, b in pairs for c, d in pairs)
    return count


def _find_centres(
    rows: list[list[int]],
    above: list[list[int]],
    below: list[list[int]],
    sizes: list[float],
    width: float,
    gap: float,
    num_boxes: int,
) -> list[float]:
    """Return the middle of each box: near to the middle of its neighbours, boxes apart, none outside."""
    centres = [width / 2] * len(sizes)

    def mean(box: int, near: Sequence[int]) -> float:
        if not near:
            return centres[box]
        # An arrow that passes several rows shall be straight
        weights = [8 if min(box, other) >= num_boxes else 1 for other in near]
        return sum(w * centres[k] for w, k in zip(weights, near, strict=True)) / sum(weights)

    for sweep in range(MOVES):
        is_down = sweep % 2 == 0
        for row in rows if is_down else reversed(rows):
            near = [
                # The last sweeps go by the neighbours on both sides
                [*above[box], *below[box]]
                if sweep >= MOVES - 4
                else (above if is_down else below)[box] or [*above[box], *below[box]]
                for box in row
            ]
            wanted = [mean(*each) for each in zip(row, near, strict=True)]
            placed = _keep_apart(wanted, [sizes[box] for box in row], width, gap)
            for box, centre in zip(row, placed, strict=True):
                centres[box] = centre
    return centres


def _keep_apart(
    wanted: Sequence[float], sizes: Sequence[float], width: float, gap: float
) -> list[float]:
    """Return positions near to those wanted, in their order, at which boxes do not overlap."""
    room = width - _add_up(range(len(sizes)), sizes, gap)
    # More than fits is squeezed
    squeeze = min(room, 0.0) / max(len(sizes) - 1, 1)
    steps = [(a + b) / 2 + _find_gap(a, b, gap) + squeeze for a, b in pairwise(sizes)]
    # The left-most places at which all fit, and how far each may go to the right
    first = sizes[0] / 2
    lowest = [first + sum(steps[:k]) for k in range(len(sizes))]
    free = max(room, 0.0)
    # Without the steps, boxes are points in [0, free] that keep their order
    points = [min(max(x - low, 0.0), free) for x, low in zip(wanted, lowest, strict=True)]
    return [x + low for x, low in zip(_keep_order(points), lowest, strict=True)]


def _keep_order(points: Sequence[float]) -> list[float]:
    """Return the numbers nearest to these, by squares, of which none is smaller than the one before."""
    blocks: list[list[float]] = []
    for point in points:
        blocks.append([point, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    return [value for value, count in blocks for _ in range(int(count))]
