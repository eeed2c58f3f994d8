"""Draw the pictures of docs/gallery/, each at the width of a page and of a column, and write the page that shows them.

python scripts/gallery.py
python scripts/gallery.py --only copy learning
python scripts/gallery.py --train

The networks are those that come with the package. With --train the learning curves are measured anew before.
"""

import argparse
import io
import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import ntm
from ntm.cli.output import draw_batch
from ntm.cli.pictures import draw_sequence, measure_baselines
from ntm.files import atomic_write
from ntm.models import find_model, read_model
from ntm.tasks import TASKS
from ntm.training import Evaluator
from ntm.visualization import (
    COLUMN_WIDTH,
    FULL_WIDTH,
    plot_dashboard,
    plot_generalisation,
    plot_learning,
    plot_network,
    plot_sequence,
)

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
CURVES = FOLDER / "learning-curves.json"
#: Pixels per inch of the pictures, and their colours
DPI, NUM_COLORS = 160, 256
#: Which learning curves are measured: a task, networks, seeds, training steps
LEARNING = ("dyck-words", ("ntm",), 4, 1500)


class Picture(NamedTuple):
    """A picture: the name of its file, title, text, the code that draws it, and the function that does."""

    name: str
    title: str
    text: str
    code: str
    draw: Callable[[float], Figure]


# ---- Sequences


@cache
def open_model(name: str, slots: int | None = None) -> Evaluator:
    """Return the evaluator of a trained network."""
    return read_model(find_model(name)).make_evaluator(slots)


def draw_model(width: float, name: str, **sizes: int) -> Figure:
    """Draw what a trained network does with a sequence."""
    settings = read_model(find_model(name)).settings
    return draw_sequence(open_model(name), settings, sizes, width)


def draw_inside(width: float, name: str, panels: Sequence[str], step: int = -1) -> Figure:
    """Draw a dashboard of a trained network."""
    evaluator = open_model(name)
    x, y, mask = (array[0] for array in draw_batch(evaluator, {"length": 10}))
    return plot_dashboard(
        evaluator.look_inside(x),
        x,
        y,
        evaluator.predict(x[None])[0],
        panels=panels,
        step=step,
        mask=mask,
        title=f"{name}: inside",
        width=width,
    )


def draw_guesses(width: float, name: str, noise: float, **sizes: int) -> Figure:
    """Draw a sequence of a task, and made-up predictions: the targets with noise."""
    task = TASKS[name](seed=3)
    inputs, targets, mask = (array[0] for array in task.sample(1, **task.largest_sizes | sizes))
    rng = np.random.default_rng(0)
    if task.output == "digits":
        logits = (6 * targets + noise * rng.normal(size=targets.shape)).reshape(
            len(targets), -1, 10
        )
        predictions = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        predictions = predictions.reshape(targets.shape)
    else:
        predictions = np.abs(targets - rng.beta(0.3, 1 / noise, targets.shape))
    return plot_sequence(
        inputs,
        targets,
        predictions,
        mask=mask,
        kind=task.output,
        input_names=task.input_names,
        output_names=task.output_names,
        input_texts=task.spell_inputs(inputs),
        spell=task.spell_outputs,
        title=f"{name}, made-up predictions",
        width=width,
    )


def draw_words(width: float) -> Figure:
    """Draw a sequence of words that are given one of three classes."""
    words = ["Mary", "went", "to", "the", "garden", ".", "John", "took", "the", "milk", "."]
    vocabulary = sorted(set(words))
    symbols = np.array([vocabulary.index(word) for word in words])
    classes = np.array([0, 1, 2, 2, 0, 2, 0, 1, 2, 0, 2])
    rng = np.random.default_rng(2)
    predictions = rng.dirichlet([0.4] * 3, len(words)) + 0.9 * np.eye(3)[classes]
    return plot_sequence(
        np.eye(len(vocabulary))[symbols],
        np.eye(3)[classes],
        predictions / predictions.sum(axis=1, keepdims=True),
        kind="classes",
        output_names=["noun", "verb", "other"],
        input_texts=words,
        title="Classes with names, made-up predictions",
        width=width,
    )


def draw_series(width: float) -> Figure:
    """Draw a series of numbers and its made-up forecast."""
    time = np.arange(120)
    series = 350 + 0.12 * time + 3 * np.sin(time * np.pi / 6)
    forecast = series + np.random.default_rng(0).normal(0, 0.7, len(series))
    return plot_sequence(
        series[:, None],
        np.append(series[1:], series[-1] + 0.2)[:, None],
        forecast[:, None],
        mask=time >= 60,
        kind="numbers",
        title="A series of numbers, made-up predictions",
        width=width,
    )


# ---- Curves


def draw_curves(width: float) -> Figure:
    """Draw the learning curves of several seeds."""
    curves = json.loads(CURVES.read_text(encoding="utf-8"))
    groups = {name: [tuple(curve) for curve in group] for name, group in curves.items()}
    return plot_learning(groups, title=LEARNING[0], width=width)


def draw_optimum(width: float) -> Figure:
    """Draw a made-up curve beside the best possible loss."""
    (row,) = measure_baselines(TASKS["dynamic-ngrams"](), [{}], 1000)["best possible"]["measures"]
    sequences = np.arange(1, 201) * 800
    rng = np.random.default_rng(0)
    losses = row["bits"] + 8 * np.exp(-sequences / 3e4) + rng.normal(1, 1.5, len(sequences))
    return plot_learning(
        {"made up": (sequences, losses)}, title="dynamic-ngrams", best=row["bits"], width=width
    )


def draw_generalisation(width: float, names: Sequence[str]) -> Figure:
    """Draw how trained networks generalise, beside guesses."""
    models = {name: read_model(find_model(name)) for name in names}
    task = next(iter(models.values())).settings.make_task()
    sizes = [row["sizes"] for model in models.values() for row in model.result["measures"]]
    sizes = [dict(each) for each in dict.fromkeys(tuple(each.items()) for each in sizes) if each]
    return plot_generalisation(
        {model.network: model.result for model in models.values()},
        next(iter(models.values())).settings.task,
        width=width,
        training=task.sizes,
        baselines=measure_baselines(task, sizes),
    )


def draw_network(width: float) -> Figure:
    """Draw the layers of a trained network."""
    return plot_network(ntm.load_model("copy"), width=width)


# ---- The gallery

SEQUENCE = "ntm plot RUN"
PICTURES = [
    Picture(
        "copy",
        "Bits",
        "An NTM copies twenty vectors. Above the prediction a dot marks each right step. Hatched steps do not count. "
        "The head writes to one slot after the other and reads them in the same order.",
        SEQUENCE,
        partial(draw_model, name="copy"),
    ),
    Picture(
        "copy-long",
        "A long sequence",
        "The same network copies 60 vectors, three times as many as in training.",
        "ntm plot RUN --size length=60",
        partial(draw_model, name="copy", length=60),
    ),
    Picture(
        "associative-recall",
        "Channels with names",
        "A task names its channels: here the channel that begins an item, and the channel of the query.",
        SEQUENCE,
        partial(draw_model, name="associative-recall"),
    ),
    Picture(
        "copy-dnc",
        "A DNC",
        "The write head takes free slots. The read head then follows the order in which they were written.",
        SEQUENCE,
        partial(draw_model, name="copy-dnc", length=10),
    ),
    Picture(
        "copy-sdnc",
        "A sparse memory",
        "The heads of an SDNC look at a few of its 512 slots. Of a larger memory only the slots in use are shown.",
        SEQUENCE,
        partial(draw_model, name="copy-sdnc", length=10),
    ),
    Picture(
        "addition",
        "Numbers",
        "Numbers are written. The inputs are drawn as the numbers that they stand for.",
        SEQUENCE,
        partial(draw_model, name="addition"),
    ),
    Picture(
        "dyck-words",
        "Texts as inputs",
        "The inputs are parentheses.",
        SEQUENCE,
        partial(draw_model, name="dyck-words", length=10),
    ),
    Picture(
        "repeat-copy",
        "Wrong bits",
        "Crosses mark the wrong bits, and the steps that hold them.",
        SEQUENCE,
        partial(draw_guesses, name="repeat-copy", noise=0.25),
    ),
    Picture(
        "priority-sort",
        "Bits and numbers",
        "A channel of numbers has a panel and a scale of its own.",
        SEQUENCE,
        partial(draw_guesses, name="priority-sort", noise=0.2),
    ),
    Picture(
        "dynamic-ngrams",
        "Beside the best possible predictions",
        "Where the best possible predictions are known, they have a panel.",
        SEQUENCE,
        partial(draw_model, name="dynamic-ngrams"),
    ),
    Picture(
        "graph-traversal",
        "Digits",
        "Digits are written as the triples of labels that they stand for. Where there is no room, the answer is a "
        "table.",
        SEQUENCE,
        partial(draw_guesses, name="graph-traversal", noise=1.8, nodes=8),
    ),
    Picture(
        "words",
        "Classes",
        "Classes are written by name. Below are the probabilities, with the targets as squares.",
        "ntm plot RUN --names names.txt",
        draw_words,
    ),
    Picture(
        "series",
        "A series",
        "Targets and predictions of numbers over many steps are lines.",
        SEQUENCE,
        draw_series,
    ),
    Picture(
        "dashboard",
        "Inside an NTM",
        "The gate, the shift and the strength of the key say how a head found its slot.",
        'plot_dashboard(traces, x, panels=["input", "write weights", ...])',
        partial(
            draw_inside,
            name="copy",
            panels=["input", "write weights", "read weights", "gate", "shift", "key strength"],
        ),
    ),
    Picture(
        "dashboard-dnc",
        "Inside a DNC",
        "A slot in use has a usage of one. The read modes say when the head follows the links from slot to slot.",
        'plot_dashboard(traces, x, panels=["usage", "read modes", "links", ...], step=12)',
        partial(
            draw_inside,
            name="copy-dnc",
            panels=["input", "usage", "read weights", "read modes", "links"],
            step=12,
        ),
    ),
    Picture(
        "learning",
        "Learning curves",
        "The line is the median of four seeds, the band goes from the lowest to the highest.",
        "ntm plot RUN RUN RUN --kind learning",
        draw_curves,
    ),
    Picture(
        "learning-best",
        "Beside the best possible loss",
        "Behind the smoothed line of a single run are its losses. The dotted line is the best possible loss.",
        "ntm plot RUN --kind learning",
        draw_optimum,
    ),
    Picture(
        "generalisation",
        "Generalisation",
        "The sizes in training are shaded. The dotted line is what guessing gives.",
        "ntm plot RUN RUN RUN",
        partial(draw_generalisation, names=("copy", "copy-dnc", "copy-sdnc")),
    ),
    Picture(
        "network",
        "A network",
        "The layers of a network, with a memory layer opened.",
        "plot_network(l_out)",
        draw_network,
    ),
]

HEAD = """# Gallery

Every picture of the library, at the width of a page (17 cm) and of a column (8.5 cm). The fonts are as large in both.
[How to draw them](../how-to/pictures.md). `python scripts/gallery.py` writes this page and its pictures.
"""


def make_page() -> str:
    """Return the page."""
    parts = [HEAD]
    for each in PICTURES:
        parts.append(f"\n## {each.title}\n\n{each.text}\n\n```\n{each.code}\n```\n\n")
        parts.append(f"![{each.title}, 17 cm wide]({each.name}.png)\n\n")
        parts.append(f"![{each.title}, 8.5 cm wide]({each.name}-column.png)\n")
    return "".join(parts)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of few colours, half the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    image = (
        Image.open(buffer)
        .convert("RGB")
        .quantize(NUM_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG", optimize=True)


def train() -> None:
    """Measure the learning curves."""
    from tempfile import TemporaryDirectory

    from ntm.experiments import Run, make_settings
    from ntm.experiments.reading import read_losses

    task, models, seeds, steps = LEARNING
    curves: dict[str, list[object]] = {model: [] for model in models}
    with TemporaryDirectory() as folder:
        for model in models:
            for seed in range(seeds):
                settings = make_settings(task, model, seed=seed, max_steps=steps, evaluate_at=[])
                run = Run.create(Path(folder, f"{model}-{seed}"), settings)
                run.train(progress=False)
                sequences, losses = read_losses(run.folder)
                curves[model].append([sequences, [round(loss, 4) for loss in losses]])
    CURVES.write_text(json.dumps(curves) + "\n", encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [each.name for each in PICTURES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--train", action="store_true", help="measure the learning curves anew")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="(default: docs/gallery)")
    options = parser.parse_args(words)
    ntm.use_jax()
    if options.train:
        train()
    options.folder.mkdir(parents=True, exist_ok=True)
    for each in PICTURES:
        if each.name in options.only:
            for width, ending in ((FULL_WIDTH, ""), (COLUMN_WIDTH, "-column")):
                save(each.draw(width), options.folder / f"{each.name}{ending}.png")
    (options.folder / "README.md").write_text(make_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
