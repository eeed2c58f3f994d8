"""What the picture of a network shows, read back from the figure: boxes, texts and arrows."""

import itertools
from functools import partial
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

import ntm
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    InputLayer,
    LSTMLayer,
    count_params,
)
from ntm.structure import get_structure
from ntm.visualization import plot_network, save_figure
from ntm.visualization.boxes import READ, WRITE
from ntm.visualization.layered import LANE, arrange
from ntm.visualization.style import COLUMN_WIDTH, FULL_WIDTH

from ..networks import make_dnc, make_ntm


def make_chain(count):
    layer = InputLayer((None, 20), name="start")
    for _ in range(count):
        layer = DenseLayer(layer, 20)
    return layer


def make_branches(count):
    l_in = InputLayer((None, 4))
    return ConcatLayer([DenseLayer(l_in, 3) for _ in range(count)])


def make_graph():
    """Several inputs, a merge, skip connections, and a memory layer on a stack."""
    words, side = InputLayer((None, None, 9), name="words"), InputLayer((None, None, 2))
    forward, backward = (
        LSTMLayer(words, 6, name="forward"),
        LSTMLayer(words, 6, name="backward", backwards=True),
    )
    both = ConcatLayer([forward, backward], axis=2)
    machine = ntm.NTMLayer(
        both,
        (16, 8),
        lambda l: ntm.LSTMController(DenseLayer(l, 7), num_units=5),
        [ntm.WriteHead, ntm.ReadHead, ntm.ReadHead],
        name="machine",
    )
    merged = ConcatLayer([machine, both, words, side], axis=2)
    return DenseLayer(merged, 5, num_leading_axes=2, name="output")


def make_levels():
    level = partial(
        ntm.DNCLayer, controller=lambda l: ntm.LSTMController(l, num_units=100), num_reads=4
    )
    return ntm.SharedMemoryLayer(InputLayer((None, None, 2)), (6, 3), [level, level])


NETWORKS = {
    "graph": make_graph,
    "levels": make_levels,
    "chain": partial(make_chain, 40),
    "branches": partial(make_branches, 12),
    "many heads": partial(make_dnc, num_reads=9, num_writes=2),
    "one layer": partial(make_chain, 0),
}


def read(figure):
    """The boxes, (left, top, right, bottom) by name; the texts by name; the arrows by names of start and end."""
    (axes,) = figure.axes
    boxes, arrows, texts = {}, {}, {}
    for patch in axes.patches:
        kind, _, name = patch.get_gid().partition(" ")
        if kind == "box":
            assert name not in boxes
            x, y = patch.get_x(), patch.get_y()
            boxes[name] = (x, y, x + patch.get_width(), y + patch.get_height())
        else:
            arrows.setdefault(tuple(name.split(" -> ")), []).append(patch)
    for text in axes.texts:
        texts.setdefault(text.get_gid().removeprefix("text "), []).append(text)
    return boxes, texts, arrows


def get_words(texts, name):
    return [text.get_text() for text in texts[name]]


@pytest.fixture(scope="module")
def drawn():
    """Each network at both widths."""
    return {
        (name, width): plot_network(make(), width=width)
        for name, make in NETWORKS.items()
        for width in (COLUMN_WIDTH, FULL_WIDTH)
    }


BOTH = pytest.mark.parametrize("width", [COLUMN_WIDTH, FULL_WIDTH])
ALL = pytest.mark.parametrize("name", NETWORKS)


def test_a_box_for_each_layer_and_each_part(drawn):
    boxes, texts, arrows = read(drawn["graph", FULL_WIDTH])
    layers = ["words", "InputLayer", "forward", "backward", "machine", "output"]
    layers += ["ConcatLayer 1", "ConcatLayer 2"]
    parts = ["controller", "controller/DenseLayer", "controller/LSTMController", "memory"]
    parts += ["write", "read0", "read1"]
    assert set(boxes) == {*layers, *(f"machine/{part}" for part in parts)}
    output = make_graph()
    machine = output.input_layer.input_layers[0]
    assert get_words(texts, "output") == [
        "output",
        "DenseLayer",
        "(None, None, 5)",
        f"{5 * (5 + 12 + 9 + 2) + 5} parameters",
    ]
    size = count_params(machine) - count_params(machine.input_layers[0])
    assert get_words(texts, "machine") == [
        "machine",
        f"NTMLayer · (None, None, 5) · {size:,} parameters",
    ]
    assert get_words(texts, "machine/memory") == ["memory", "(16, 8)", "128 parameters"]
    head = sum(param.get_value().size for param in machine.heads[0].get_params())
    assert get_words(texts, "machine/write") == ["write", "WriteHead", f"{head} parameters"]
    # A layer without parameters
    assert get_words(texts, "ConcatLayer 1") == ["ConcatLayer 1", "(None, None, 12)"]
    expected = {(below.label, node.label) for node in get_structure(output) for below in node.below}
    inside = {(a, b) for a, b in arrows if a.startswith("machine/")}
    assert set(arrows) - inside == expected
    assert len(expected) == 10


def test_arrows_of_a_memory_layer(drawn):
    _, _, arrows = read(drawn["graph", COLUMN_WIDTH])
    shown = {
        tuple(each.removeprefix("machine/") for each in way): to_hex(patch.get_edgecolor())
        for way, (patch,) in arrows.items()
        if way[0].startswith("machine/")
    }
    stack = ("controller/DenseLayer", "controller/LSTMController")
    plain = shown.pop(stack)
    assert shown == {
        ("controller", "write"): plain,
        ("controller", "read0"): plain,
        ("controller", "read1"): plain,
        ("write", "memory"): WRITE.lower(),
        ("memory", "read0"): READ.lower(),
        ("memory", "read1"): READ.lower(),
        ("read0", "controller"): READ.lower(),
        ("read1", "controller"): READ.lower(),
    }
    assert len({plain, WRITE.lower(), READ.lower()}) == 3


@ALL
@BOTH
def test_boxes_are_apart_and_inside(drawn, name, width):
    figure = drawn[name, width]
    boxes, texts, _ = read(figure)
    assert figure.get_figwidth() == pytest.approx(width)
    page = (0, 0, *figure.get_size_inches())

    def is_inside(inner, outer):
        return (
            outer[0] <= inner[0] < inner[2] <= outer[2]
            and outer[1] <= inner[1] < inner[3] <= outer[3]
        )

    for each, box in boxes.items():
        around, _, _ = each.rpartition("/")
        assert is_inside(box, boxes[around] if around else page), each
    for (a, first), (b, second) in itertools.combinations(boxes.items(), 2):
        if a.rpartition("/")[0] == b.rpartition("/")[0]:
            is_apart = first[0] >= second[2] or second[0] >= first[2]
            assert is_apart or first[1] >= second[3] or second[1] >= first[3], (a, b)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for each, lines in texts.items():
        for text in lines:
            extent = text.get_window_extent(renderer)
            corners = np.array([[extent.x0, extent.y1], [extent.x1, extent.y0]])
            place = figure.axes[0].transData.inverted().transform(corners).ravel()
            assert is_inside(place, boxes[each]), (each, text.get_text())


@ALL
@BOTH
def test_arrows_go_from_box_to_box_and_past_the_others(drawn, name, width):
    figure = drawn[name, width]
    boxes, _, arrows = read(figure)
    end = figure.get_size_inches()
    for (start, target), patches in arrows.items():
        for patch in patches:
            points = patch._path_original.to_polygons(closed_only=False)[0]
            if "level" in start + target and "memory" in start + target:
                continue  # beside each other
            (x, y), (u, v) = points[0], points[-1]
            a, b = boxes[start], boxes[target]
            assert a[0] < x < a[2]
            assert b[0] < u < b[2]
            assert (y, v) == (pytest.approx(a[3]), pytest.approx(b[1])) or (
                (y, v) == (pytest.approx(a[1]), pytest.approx(b[3])) and "read" in start + target
            )
            line = np.concatenate([np.linspace(p, q, 30) for p, q in itertools.pairwise(points)])
            assert ((line >= 0) & (line <= end)).all()
            for other, (left, top, right, bottom) in boxes.items():
                if start.startswith(f"{other}/") or other in (start, target):
                    continue
                inside = (line > (left, top)) & (line < (right, bottom))
                assert not inside.all(axis=1).any(), (start, target, other)


@BOTH
def test_arrows_to_one_box_do_not_cross_above_it(drawn, width):
    boxes, _, arrows = read(drawn["branches", width])
    top = boxes["ConcatLayer"][1]
    ways = []
    for (_, target), (patch,) in arrows.items():
        if target == "ConcatLayer":
            (points,) = patch._path_original.to_polygons(closed_only=False)
            ways.append((points[points[:, 1] < top - 0.23][-1, 0], points[-1, 0]))
    assert len(ways) == 12
    ends = [end for _, end in sorted(ways)]
    assert ends == sorted(ends)


def test_a_long_network_goes_on_in_columns(drawn):
    wide, narrow = (read(drawn["chain", width])[0] for width in (FULL_WIDTH, COLUMN_WIDTH))
    assert drawn["chain", FULL_WIDTH].get_figheight() < 9.5
    assert drawn["chain", COLUMN_WIDTH].get_figheight() > 9.5
    for boxes, columns in ((wide, 4), (narrow, 2)):
        order = ["start", *(f"DenseLayer {k}" for k in range(1, 41))]
        lefts, rights = ([boxes[each][side] for each in order] for side in (0, 2))
        tops = [boxes[each][1] for each in order]
        breaks = [k for k in range(1, 41) if tops[k] < tops[k - 1]]
        assert len(breaks) == columns - 1
        assert all(max(rights[:k]) < min(lefts[k:]) for k in breaks)


def test_many_heads_are_one_box_where_they_do_not_fit(drawn):
    boxes, texts, arrows = read(drawn["many heads", COLUMN_WIDTH])
    assert "DNCLayer/9 read heads" in boxes
    size = sum(
        param.get_value().size
        for head in make_dnc(num_reads=9, num_writes=2).heads[2:]
        for param in head.get_params()
    )
    assert get_words(texts, "DNCLayer/9 read heads")[1:] == ["DNCReadHead", f"{size:,} parameters"]
    assert ("DNCLayer/memory", "DNCLayer/9 read heads") in arrows
    assert ("DNCLayer/2 write heads", "DNCLayer/memory") in arrows
    boxes, _, _ = read(plot_network(make_dnc(num_reads=2)))
    assert {"DNCLayer/read0", "DNCLayer/read1"} < set(boxes)


def test_levels_share_one_memory(drawn):
    boxes, _, arrows = read(drawn["levels", FULL_WIDTH])
    assert [each for each in boxes if each.endswith("memory")] == ["SharedMemoryLayer/memory"]
    for level in ("SharedMemoryLayer/level 1", "SharedMemoryLayer/level 2"):
        (to,), (back,) = (
            arrows[level, f"{level[:-8]}/memory"],
            arrows[f"{level[:-8]}/memory", level],
        )
        assert (to_hex(to.get_edgecolor()), to_hex(back.get_edgecolor())) == (
            WRITE.lower(),
            READ.lower(),
        )
    assert ("SharedMemoryLayer/level 1", "SharedMemoryLayer/level 2") in arrows


@pytest.mark.parametrize("name", ["$x$ <b>&amp;", "two\nlines", "long " * 60, "a" * 300])
def test_names_of_all_kinds(name, tmp_path):
    figure = plot_network(DenseLayer(InputLayer((None, 3)), 2, name=name), width=COLUMN_WIDTH)
    boxes, texts, _ = read(figure)
    first = next(lines for lines in texts.values() if lines[1].get_text() == "DenseLayer")[0]
    shown = first.get_text()
    assert "\n" not in shown
    assert shown == " ".join(name.split()) if len(name) < 50 else "…" in shown
    assert len(boxes) == 2
    save_figure(figure, tmp_path / "network.svg")
    ElementTree.parse(tmp_path / "network.svg")


def test_svg_has_the_names_of_the_boxes(tmp_path, drawn):
    save_figure(drawn["graph", FULL_WIDTH], tmp_path / "network.svg")
    tree = ElementTree.parse(tmp_path / "network.svg")
    ids = {element.get("id") for element in tree.iter()}
    assert {"box machine/memory", "arrow words -> forward"} < ids


def test_a_figure_may_be_given_and_pyplot_has_none():
    before = plt.get_fignums()
    figure = plt.figure(figsize=(5, 1))
    assert plot_network(make_ntm(), figure=figure) is figure
    assert figure.get_figwidth() == 5
    plt.close(figure)
    plot_network(make_ntm())
    assert plt.get_fignums() == before


@pytest.mark.parametrize("thing", [3, None, [InputLayer((2, 3)), "x"]])
def test_what_is_no_network(thing):
    with pytest.raises(TypeError, match="plot_network: expected a layer or a list of layers, got"):
        plot_network(thing)


def test_width_must_be_positive():
    with pytest.raises(ValueError, match="width must be a positive number of inches, not -1"):
        plot_network(make_chain(1), width=-1)


# ---- Places


def test_rows_go_down_and_crossings_are_undone():
    """Two pairs whose arrows would cross in the order given."""
    layout = arrange([1.0] * 4, [(0, 3), (1, 2)], 5.0, 0.2)
    assert [sorted(row) for row in layout.rows] == [[0, 1], [2, 3]]
    above, below = layout.rows
    assert [{0: 3, 1: 2}[box] for box in above] == below
    for box, target in ((0, 3), (1, 2)):
        assert layout.centres[box] == pytest.approx(layout.centres[target])


def test_an_arrow_that_passes_a_row_has_a_place_in_it():
    layout = arrange([1.0, 1.0, 1.0], [(0, 1), (1, 2), (0, 2)], 5.0, 0.2)
    assert layout.routes == [[0, 1], [1, 2], [0, 3, 2]]
    assert sorted(layout.rows[1]) == [1, 3]
    assert abs(layout.centres[1] - layout.centres[3]) >= 0.5 + 0.2


def test_a_second_input_is_just_above_what_it_feeds():
    layout = arrange([1.0] * 4, [(0, 1), (1, 3), (2, 3)], 5.0, 0.2)
    assert [sorted(row) for row in layout.rows] == [[0], [1, 2], [3]]


def test_a_row_that_is_too_wide_becomes_several():
    layout = arrange([1.0] * 6, [(0, k) for k in range(1, 6)], 2.6, 0.2)
    assert max(len([box for box in row if box < 6]) for row in layout.rows) <= 2
    for row in layout.rows:
        for box in (each for each in row if each < 6):
            assert 0.5 <= layout.centres[box] <= 2.6 - 0.5


def test_what_passes_a_row_has_room_beside_the_boxes():
    arrows = [(0, k) for k in range(1, 13)] + [(k, 13) for k in range(1, 13)]
    widths = [0.9] * 14
    layout = arrange(widths, arrows, 6.5, 0.14)
    widths += [LANE] * (len(layout.centres) - 14)
    for row in layout.rows:
        ends = [(layout.centres[k] - widths[k] / 2, layout.centres[k] + widths[k] / 2) for k in row]
        assert all(a[1] <= b[0] + 1e-9 for a, b in itertools.pairwise(ends))
        assert ends[0][0] >= -1e-9
        assert ends[-1][1] <= 6.5 + 1e-9
