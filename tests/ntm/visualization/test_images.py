"""Pictures as images, compared with those that were looked at. Only on the version of Matplotlib that drew them.

To draw them anew, and then look at each of them: NTM_DRAW=1 python -m pytest tests/ntm/visualization/test_images.py
"""

import io
import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ntm.traces import HeadTrace, Trace
from ntm.visualization import COLUMN_WIDTH, plot_generalisation, plot_learning, plot_sequence

FOLDER = Path(__file__).parents[2] / "data" / "pictures"
#: Matplotlib places texts and lines another way in other versions
VERSION = "3.11"
#: The largest mean difference of pixels, from 0 to 1: anti-aliasing differs on other processors, panels do not
TOLERANCE = 0.004

T, N = 12, 16
RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, 2, (T, 4))
NOISE = RNG.random((T, 4))


def draw_bits():
    write = np.eye(N)[np.arange(T)][:, None]
    read = np.stack([np.eye(N)[(np.arange(T) + 9) % N], np.full((T, N), 1 / N)], axis=1)
    return plot_sequence(
        TARGETS[::-1],
        TARGETS,
        np.abs(TARGETS - 0.6 * NOISE),
        write,
        read,
        mask=np.arange(T) >= 4,
        title="bits",
        width=COLUMN_WIDTH,
        input_names={3: "marker"},
    )


def draw_numbers():
    values = np.cumsum(NOISE, axis=0)[:, :1]
    return plot_sequence(
        5 * NOISE[:, :2], values, values + 0.3 * NOISE[:, 1:2], kind="numbers", width=COLUMN_WIDTH
    )


def draw_classes():
    classes = TARGETS.sum(axis=1) % 3
    return plot_sequence(
        np.zeros((T, 1)),
        np.eye(3)[classes],
        NOISE[:, :3] / NOISE[:, :3].sum(axis=1, keepdims=True),
        kind="classes",
        width=COLUMN_WIDTH,
        input_texts=["word"] * T,
        output_names=["cat", "dog", "cow"],
    )


def draw_sparse():
    positions = RNG.integers(0, 1_000_000, (T, 3))
    weights = np.array([[0.7, 0.2, 0.1]] * T)
    heads = [
        HeadTrace("write", True, weights, weights, positions),
        HeadTrace("read", False, weights, weights, positions[::-1]),
    ]
    traces = [Trace("SAM", "sam", 1_000_000, 8, heads)]
    return plot_sequence(TARGETS, TARGETS, TARGETS, traces=traces, width=COLUMN_WIDTH)


def draw_learning():
    steps = np.arange(1, 101) * 100
    runs = [(steps, 50 / (1 + (steps / 3000) ** k)) for k in (2, 3, 6)]
    return plot_learning({"ntm": runs, "lstm": (steps, 90000 / (1000 + steps))}, width=COLUMN_WIDTH)


def draw_generalisation():
    def make(factor):
        rows = [{"sizes": {"length": k}, "wrong_bits": factor * k} for k in (10, 20, 60, 120)]
        return {"measures": rows}

    return plot_generalisation(
        {"ntm": [make(0), make(0.1), make(0.2)], "lstm": make(0.8)},
        training={"length": (1, 20)},
        baselines={"guessing": make(1)},
        width=COLUMN_WIDTH,
    )


DRAW = {
    "bits": draw_bits,
    "numbers": draw_numbers,
    "classes": draw_classes,
    "sparse": draw_sparse,
    "learning": draw_learning,
    "generalisation": draw_generalisation,
}


def to_pixels(figure):
    """Return the grey values (height, width) of a figure from 0 to 1."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return np.asarray(Image.open(buffer).convert("L"), float) / 255


@pytest.mark.skipif(
    not matplotlib.__version__.startswith(f"{VERSION}."),
    reason=f"the pictures were drawn by Matplotlib {VERSION}, and this is {matplotlib.__version__}",
)
@pytest.mark.parametrize("name", DRAW)
def test_pictures_look_as_they_did(name):
    pixels = to_pixels(DRAW[name]())
    path = FOLDER / f"{name}.png"
    if os.environ.get("NTM_DRAW"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * pixels).astype(np.uint8)).quantize(64).save(path, optimize=True)
    before = np.asarray(Image.open(path).convert("L"), float) / 255
    assert pixels.shape == before.shape
    assert np.abs(pixels - before).mean() < TOLERANCE


def test_another_picture_is_found():
    """The tolerance is smaller than what a picture with another head differs by."""
    before = np.asarray(Image.open(FOLDER / "bits.png").convert("L"), float) / 255
    moved = np.roll(TARGETS, 1, axis=1)
    figure = plot_sequence(TARGETS[::-1], moved, moved, title="bits", width=COLUMN_WIDTH)
    other = to_pixels(figure)
    height = min(len(before), len(other))
    assert np.abs(before[:height] - other[:height]).mean() > 2 * TOLERANCE
