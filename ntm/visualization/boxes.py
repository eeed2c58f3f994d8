"""The boxes of the picture of a network: how large each is, what is inside, and where boxes and arrows are.

Lengths are in inches; a place counts from the upper left corner of what is around, to the right and down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from ntm.arguments import shorten
from ntm.structure import Node
from ntm.visualization.layered import arrange
from ntm.visualization.style import COLORS

__all__ = ["Arrow", "Box", "fold"]

#: Around texts and inner boxes, and between boxes beside and below each other
PAD, ASIDE, BETWEEN = 0.06, 0.14, 0.24
#: Between columns
BESIDE = 0.42
#: A picture that would become higher than a page goes on in a column beside
PAGE_HEIGHT = 9.0
#: Sizes of text in points, and the height of a line in inches
LARGE, SMALL, LINE = 7.0, 6.2, 0.115
WRITE, READ, PLAIN = COLORS[1], COLORS[0], "0.25"
FACES = {"input": "0.92", "memory": "#FFF1D0", "group": "0.97"}

Point = tuple[float, float]


@dataclass
class Arrow:
    """A line from box to box, by labels: its corners, and how often it goes on in the next column."""

    start: str
    end: str
    points: list[Point]
    color: str = PLAIN
    is_bent: bool = False
    turns: int = 0


@dataclass
class Box:
    """A box with texts, and perhaps boxes and arrows inside, whose places count from its upper left corner."""

    label: str
    texts: list[str]
    width: float
    height: float
    face: str = "white"
    edge: str = PLAIN
    x: float = 0.0
    y: float = 0.0
    inner: list["Box"] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)

    @property
    def centre(self) -> float:
        """The middle from left to right."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


def make_box(node: Node, width: float) -> Box:
    """Return the box of a layer, as wide as its content, and `width` at most where that is possible."""
    groups = [part for part in node.parts if not node.is_head]
    roles = {part.role for part in groups}
    if not groups:
        face = FACES.get("input" if node.kind == "InputLayer" else node.role, "white")
        edge = {"write head": WRITE, "read head": READ}.get(node.role, PLAIN)
        return _make_leaf(node.label, _list_texts(node), width, face, edge)
    if "level" in roles:
        inside = _stack_levels(groups, width - 2 * PAD)
    elif "controller" in roles:
        inside = _stack_memory(groups, width - 2 * PAD)
    else:
        inside = _place(groups, width - 2 * PAD)
    return _surround(node, inside, width)


def _list_texts(node: Node) -> list[str]:
    """Return the lines of text of a layer."""
    is_told = node.label.startswith(node.kind) or node.role == "memory"
    texts = [node.label] + [node.kind] * (not is_told)
    if node.shape is not None:
        texts.append(f"({', '.join(map(str, node.shape))}{',' * (len(node.shape) == 1)})")
    if node.num_params:
        texts.append(f"{node.num_params:,} parameters")
    return texts


def _make_leaf(label: str, texts: list[str], width: float, face: str, edge: str) -> Box:
    """Return a box of texts; texts that are too long are shortened."""
    texts = [_fit(text, width - 2 * PAD, k == 0) for k, text in enumerate(texts)]
    own = max(_measure(text, k == 0) for k, text in enumerate(texts)) + 2 * PAD
    return Box(label, texts, own, len(texts) * LINE + PAD, face, edge)


def _surround(node: Node, inside: Box, width: float) -> Box:
    """Return the box of a layer around what is inside of it; the texts are joined where they fit beside each other."""
    name, *texts = _list_texts(node)
    joined = [name, " · ".join(texts)]
    if max(_measure(text, k == 0) for k, text in enumerate(joined)) > width - 2 * PAD:
        joined = [name, *texts]
    header = _make_leaf(node.label, joined, width, FACES["group"], PLAIN)
    header.width = max(header.width, inside.width + 2 * PAD)
    for box in inside.inner:
        box.x += (header.width - inside.width) / 2
        box.y += header.height
    shift = (header.width - inside.width) / 2
    header.inner, header.arrows = (
        inside.inner,
        [_move(arrow, shift, header.height) for arrow in inside.arrows],
    )
    header.height += inside.height + PAD
    return header


def _move(arrow: Arrow, x: float, y: float) -> Arrow:
    arrow.points = [(a + x, b + y) for a, b in arrow.points]
    return arrow


def _stack_memory(parts: Sequence[Node], width: float) -> Box:
    """Return controller, heads and memory of a memory layer, one below the other."""
    controller, *_ = (make_box(part, width) for part in parts if part.role == "controller")
    memories = [make_box(part, width) for part in parts if part.role == "memory"]
    heads = _make_heads([part for part in parts if part.is_head], width)
    total = sum(head.width for head in heads) + ASIDE * (len(heads) - 1)
    total = max([total, controller.width, *(memory.width for memory in memories)])
    whole = Box("", [], total, 0.0, inner=[controller, *heads, *memories])
    _widen(controller, total)
    x = (total - sum(head.width for head in heads) - ASIDE * (len(heads) - 1)) / 2
    for head in heads:
        head.x, head.y = x, controller.height + BETWEEN
        x += head.width + ASIDE
    end = max(head.bottom for head in heads)
    for memory in memories:
        _widen(memory, total)
        memory.y = end + BETWEEN
    whole.height = max(box.bottom for box in whole.inner)
    for head in heads:
        _connect_head(whole, controller, head, memories)
    return whole


def _connect_head(whole: Box, controller: Box, head: Box, memories: Sequence[Box]) -> None:
    """Add the arrows of a head: from the controller; to the memory, or from the memory and to the controller."""
    aside = min(0.1, head.width / 4)
    ways: list[tuple[Box, Box, float, str]]
    if head.edge == WRITE:
        ways = [(controller, head, 0.0, PLAIN), *((head, m, 0.0, WRITE) for m in memories)]
    else:
        ways = [(controller, head, -aside, PLAIN), (head, controller, aside, READ)]
        ways += [(memory, head, 0.0, READ) for memory in memories]
    for start, end, shift, color in ways:
        x = head.centre + shift
        ends = (start.bottom, end.y) if start.y < end.y else (start.y, end.bottom)
        whole.arrows.append(Arrow(start.label, end.label, [(x, ends[0]), (x, ends[1])], color))


def _make_heads(heads: Sequence[Node], width: float) -> list[Box]:
    """Return a box for each head; where they do not fit beside each other, one for all of a kind."""
    boxes = [make_box(head, width) for head in heads]
    if sum(box.width + ASIDE for box in boxes) - ASIDE <= width:
        return boxes
    kinds: dict[str, list[Node]] = {}
    for head in heads:
        kinds.setdefault(head.role, []).append(head)
    boxes = []
    for role, same in kinds.items():
        texts = _list_texts(same[0])
        label = same[0].label
        if len(same) > 1:
            label = f"{len(same)} {role}s"
            kind = same[0].kind if len({head.kind for head in same}) == 1 else "of several kinds"
            texts = [label, kind, f"{sum(head.num_params for head in same):,} parameters"]
        edge = WRITE if role.startswith("write") else READ
        limit = (width - ASIDE * (len(kinds) - 1)) / len(kinds)
        boxes.append(_make_leaf(label, texts, limit, "white", edge))
    return boxes


def _stack_levels(parts: Sequence[Node], width: float) -> Box:
    """Return the levels of a memory layer, one below the other, and beside them the memory that they share."""
    (memory,) = (make_box(part, width / 3) for part in parts if part.role == "memory")
    beside = 2 * ASIDE
    levels = [
        make_box(part, width - memory.width - beside) for part in parts if part.role == "level"
    ]
    widest = max(level.width for level in levels)
    whole = Box("", [], widest + beside + memory.width, 0.0, inner=[*levels, memory])
    y = 0.0
    for level in levels:
        _widen(level, widest)
        level.y = y
        y = level.bottom + BETWEEN
        for shift, color, ends in ((-0.08, WRITE, (0, 1)), (0.08, READ, (1, 0))):
            pair = (level, memory)
            sides = (widest, widest + beside)
            points = [(sides[k], level.y + level.height / 2 + shift) for k in ends]
            start, end = (pair[k].label for k in ends)
            whole.arrows.append(Arrow(start, end, points, color))
    for above, below in pairwise(levels):
        points = [(above.centre, above.bottom), (below.centre, below.y)]
        whole.arrows.append(Arrow(above.label, below.label, points))
    whole.height = memory.height = y - BETWEEN
    memory.x = widest + beside
    return whole


def _widen(box: Box, width: float) -> None:
    """Make a box wider, with what is inside in the middle."""
    shift = (width - box.width) / 2
    for inner in box.inner:
        inner.x += shift
    box.arrows = [_move(arrow, shift, 0.0) for arrow in box.arrows]
    box.width = width


# ---- Rows of boxes


def fold(nodes: Sequence[Node], width: float) -> Box:
    """Return the network in one column, or in as many as make it fit on a page, if that is clear."""
    best = _place(nodes, width)
    widest = max((box.width for box in best.inner), default=0.0)
    count = 1
    while best.height > PAGE_HEIGHT:
        count += 1
        column = (width - (count - 1) * BESIDE) / count
        if column < 0.9 * widest:
            break
        folded = _place(nodes, column, count)
        is_clear = sum(arrow.turns for arrow in folded.arrows) <= 2 * (count - 1)
        if folded.width > width or folded.height >= best.height or not is_clear:
            break
        best = folded
    return best


def _place(nodes: Sequence[Node], width: float, count: int = 1) -> Box:
    """Return the boxes of layers in rows, with arrows, in so many columns of a width."""
    boxes = [make_box(node, width) for node in nodes]
    numbers = {node: k for k, node in enumerate(nodes)}
    ways = [(numbers[below], numbers[node]) for node in nodes for below in node.below]
    layout = arrange([box.width for box in boxes], ways, width, ASIDE)
    heights = [
        max((boxes[k].height for k in row if k < len(boxes)), default=0.0) for row in layout.rows
    ]
    halves = [box.width / 2 for box in boxes] + [0.0] * len(layout.centres)
    lefts = [x - half for x, half in zip(layout.centres, halves, strict=False)]
    rights = [x + half for x, half in zip(layout.centres, halves, strict=False)]
    first, used = min(lefts, default=0.0), max(rights, default=0.0)
    step = used - first + BESIDE
    columns = _cut(heights, count)
    margin = BETWEEN if count > 1 else 0.0
    row_of: dict[int, _Row] = {}
    for column, members in enumerate(columns):
        top = margin
        for k in members:
            row = _Row(column * step - first, top, heights[k])
            row_of |= dict.fromkeys(layout.rows[k], row)
            top = row.bottom + BETWEEN
    bottom = max((row.bottom for row in row_of.values()), default=0.0)
    for number, box in enumerate(boxes):
        row = row_of[number]
        box.x = row.left + lefts[number]
        box.y = row.top + (row.height - box.height) / 2
    whole = Box("", [], len(columns) * step - BESIDE, bottom + margin, inner=boxes)
    centres = [row_of[k].left + x for k, x in enumerate(layout.centres)]
    whole.arrows = _route(boxes, layout.routes, row_of, centres, step, bottom)
    return whole


class _Row(NamedTuple):
    """A row of boxes: where its column begins, its upper edge and its height."""

    left: float
    top: float
    height: float

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height


def _cut(sizes: Sequence[float], count: int) -> list[list[int]]:
    """Return the rows of each column, so that the columns are about as high as each other."""
    total = sum(size + BETWEEN for size in sizes)
    columns: list[list[int]] = [[] for _ in range(count)]
    passed = 0.0
    for row, size in enumerate(sizes):
        middle = passed + (size + BETWEEN) / 2
        columns[min(int(middle / total * count), count - 1)].append(row)
        passed += size + BETWEEN
    return [column for column in columns if column]


def _route(
    boxes: Sequence[Box],
    routes: Sequence[Sequence[int]],
    rows: Mapping[int, _Row],
    centres: Sequence[float],
    step: float,
    bottom: float,
) -> list[Arrow]:
    """Return the arrows: straight past rows, bent between them, and around the lower end of a column to the next.

    Parameters
    ----------
    boxes : list of Box
    routes : list of list of int
        For each arrow the boxes and stand-ins that it passes.
    rows : dict from int to _Row
        The row of each box and stand-in.
    centres : list of float
    step, bottom : float
        From column to column, and the lower end of the columns.
    """
    arrows, lanes = [], 0
    first = min((row.left for row in rows.values()), default=0.0)
    for route in routes:
        start, end = boxes[route[0]], boxes[route[-1]]
        leaving = sorted((r for r in routes if r[0] == route[0]), key=lambda r: centres[r[1]])
        coming = sorted((r for r in routes if r[-1] == route[-1]), key=lambda r: centres[r[-2]])
        x = _spread(start, leaving.index(route), len(leaving))
        points = [(x, start.bottom), (x, rows[route[0]].bottom)]
        for a, b in pairwise(route):
            row, is_end = rows[b], b == route[-1]
            x = _spread(end, coming.index(route), len(coming)) if is_end else centres[b]
            if row.left > rows[a].left:
                # Down to the lower end, between the columns to the upper end, and down
                lanes += 1
                shift = 0.05 * (1 + (lanes - 1) % 4)
                column = round((row.left - first) / step)
                between = column * step - BESIDE / 4 - shift
                corners = [points[-1][0], between, between, x]
                levels = [bottom + shift, bottom + shift, shift, shift]
                points += zip(corners, levels, strict=True)
            points += [(x, row.top), (x, end.y if is_end else row.bottom)]
        turns = round((rows[route[-1]].left - rows[route[0]].left) / step)
        arrows.append(Arrow(start.label, end.label, points, is_bent=True, turns=turns))
    return arrows


def _spread(box: Box, number: int, count: int) -> float:
    """Return where the arrow of a number, of so many, touches the upper or lower edge of a box."""
    width = min(0.6 * box.width, 0.22 * count)
    return box.centre + ((number + 0.5) / count - 0.5) * width


# ---- Text


@lru_cache(maxsize=1024)
def _measure(text: str, is_title: bool) -> float:
    """Return the width of a text, in inches."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if is_title else "normal")
    font.set_size(LARGE if is_title else SMALL)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def _fit(text: str, width: float, is_title: bool) -> str:
    """Return a text in one line, with its middle left out if it is wider than there is room."""
    text = fitted = shorten(text, 80)
    if _measure(text, is_title) > width:
        text = fitted = text.replace(" parameters", " params")
    length = len(text)
    while _measure(fitted, is_title) > width and length > 3:
        length -= 1
        fitted = f"{text[: (length + 1) // 2]}…{text[len(text) - length // 2 :]}"
    return fitted
