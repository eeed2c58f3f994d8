"""What tests read back from a figure."""

import re
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

#: What titles say of right and wrong
VERDICT = r": (all .* right|[^:]*wrong.*|right|no step counts)$"


def get_panels(figure):
    """Return the axes by their titles, without what the titles say of right and wrong; colour bars have no title."""
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    return {re.sub(VERDICT, "", title): axes for title, axes in panels.items() if title}


def get_image(axes):
    """Return the values (T, F) of an image, NaN where masked, and the numbers of the first and the last row."""
    (image,) = axes.get_images()
    left, right, bottom, top = image.get_extent()
    values = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
    assert image.origin == "upper"
    assert (left, right) == (-0.5, values.shape[1] - 0.5)
    assert bottom > top, "the first row must be at the top"
    rows = np.linspace(top, bottom, 2 * len(values) + 1)[1::2]
    return values.T, rows


def get_lines(axes):
    """Return the lines of a chart by their labels: arrays (n, 2) of places and values."""
    return {
        line.get_label(): np.column_stack([np.asarray(line.get_xdata(), float), line.get_ydata()])
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def get_marks(axes, marker):
    """Return the places (n, 2) of the marks of a kind that have no line."""
    found = [
        np.column_stack([line.get_xdata(), line.get_ydata()])
        for line in axes.lines
        if line.get_marker() == marker and line.get_linestyle() == "None"
    ]
    return np.concatenate(found) if found else np.zeros((0, 2))


def get_texts(axes, row):
    """Return the texts in a row of a panel by their time steps."""
    return {
        round(text.get_position()[0]): text.get_text()
        for text in axes.texts
        if round(text.get_position()[1]) == row
    }


def get_shaded(axes):
    """Return the spans that are shaded, in the units of the horizontal axis."""
    spans = [patch.get_bbox() for patch in axes.patches if patch.get_height() == 1]
    return [(span.x0, span.x1) for span in spans]


def check_layout(figure, smallest=5.0):
    """Check that all texts of a figure lie inside of it, can be read, and do not overlap."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = {text: text.get_window_extent(renderer) for text in _list_texts(figure)}
    assert boxes
    assert all(text.get_fontsize() >= smallest for text in boxes)
    for text, box in boxes.items():
        inside = figure.bbox.padded(1)
        is_inside = inside.x0 <= box.x0 and box.x1 <= inside.x1
        is_inside &= inside.y0 <= box.y0 and box.y1 <= inside.y1
        assert is_inside, f"{text} is cut off"
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width < 1.5 or height < 1.5, f"{one} overlaps {other}"


def _list_texts(figure):
    """Yield the texts that are seen in a figure; ticks beyond the limits of an axis are not."""
    texts = [*figure.texts, *filter(None, [figure._suptitle])]
    for legend in figure.legends:
        texts += legend.get_texts()
    for axes in figure.axes:
        texts += [axes.title, axes._left_title, *axes.texts]
        if axes.get_legend():
            texts += axes.get_legend().get_texts()
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks() + axis.get_minor_ticks()
            labels = [tick for tick in ticks if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            texts += [axis.label, *(text for tick in labels for text in (tick.label1, tick.label2))]
    return [text for text in texts if text.get_text().strip() and text.get_visible()]
