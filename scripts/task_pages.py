"""Write the pages of docs/tasks/: for each task its drawing, what a trained network does, and its results.

python scripts/task_pages.py
python scripts/task_pages.py --pictures
python scripts/task_pages.py --pictures copy sort

Texts come from the docstrings of the tasks, results from docs/results.md, pictures from the networks in models/.
"""

import argparse
import inspect
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from ntm.cli.pictures import draw_sequence
from ntm.files import atomic_write
from ntm.models import TrainedModel, list_models
from ntm.tasks import TASKS
from ntm.visualization import plot_sequence, save_figure

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "tasks"
RESULTS = ROOT / "docs" / "results.md"

#: Sizes of the sequences that are drawn: as large as can be read in a picture
SIZES: dict[str, Mapping[str, int]] = {
    "copy": {"length": 15},
    "reversed-copy": {"length": 10},
    "upside-down-copy": {"length": 10},
    "repeat-copy": {"length": 5, "repeats": 4},
    "associative-recall": {"items": 5, "item_length": 3},
    "dynamic-ngrams": {"length": 60},
    "sort": {"length": 6},
}
TITLES = {"dynamic-ngrams": "Dynamic n-grams", "dyck-words": "Dyck words"}

START = """# Tasks

Each task draws its sequences at random, so there are as many as a network can read. `ntm train TASK` trains a network
on a task, `ntm tasks` lists all. A page has the layout of a sequence, a picture of a trained network at work, and
results. For a task of your own see [A task of your own](../how-to/own-task.md). `python scripts/task_pages.py` writes
these pages anew.

## All tasks

| task | what the network has to do | seeds that solve it |
| --- | --- | --- |
"""


def make_title(name: str) -> str:
    """Return the name of a task as a title."""
    return TITLES.get(name, name.replace("-", " ").capitalize())


def to_markdown(text: str) -> str:
    """Return a paragraph of a docstring as Markdown."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))


def describe(name: str) -> tuple[str, str, str]:
    """Return what the docstring of a task says: the first paragraph, all up to the parameters, and the sources."""
    text = inspect.getdoc(TASKS[name]) or ""
    about = re.split(
        r"\n(?:Parameters\n---|Parameters and errors|References\n---|Attributes\n---)", text
    )[0]
    sources = re.search(r"\nReferences\n-+\n(.*?)(?:\n\n\w+\n-+\n|$)", text, re.DOTALL)
    summary, _, rest = about.strip().partition("\n\n")
    blocks = []
    for block in re.split(r"\n\n(?! )", rest):
        lead, _, drawing = block.partition("::\n\n")
        blocks.append(to_markdown(lead) + (":" if drawing else ""))
        if drawing:
            blocks.append(f"```text\n{inspect.cleandoc(drawing)}\n```")
    source = " ".join(sources[1].split()) if sources else ""
    return to_markdown(summary), "\n\n".join(blocks).strip(), source


def find_results(name: str) -> list[list[str]]:
    """Return the rows of a task in the table of results, as lists of cells."""
    rows = re.findall(
        rf"^\| (\[{name}\]\(#.*) \|$", RESULTS.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [[cell.strip() for cell in row.split(" |")] for row in rows]


def make_results(rows: Iterable[list[str]]) -> str:
    """Return the table of the results of a task."""
    lines = [
        "| network | seeds solved | sequences | minutes | measure | published |",
        "| :-- | --: | --: | --: | --: | :-- |",
    ]
    for link, network, solved, sequences, minutes, _, measure, *published in rows:
        anchor = re.sub(r".*\(#(.*)\)", r"\1", link)
        cells = [
            f"[{network}](../results.md#{anchor})",
            *(solved, sequences, minutes, measure.partition(" (solved")[0], *published[:1]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def find_model(name: str) -> TrainedModel | None:
    """Return the trained network of a task that is drawn, if there is one."""
    found = [each for each in list_models() if each.settings.task == name]
    return min(found, key=lambda each: len(each.name), default=None)


def make_page(name: str) -> str:
    """Return the text of the page of a task."""
    summary, about, source = describe(name)
    parts = [f"# {make_title(name)}", summary, f"    ntm train {name}", "## A sequence", about]
    if source:
        parts.append(f"Source: {source}")
    picture = (
        f"![Input, target and prediction of a sequence, and the weights of the heads]({name}.png)"
    )
    if model := find_model(name):
        caption = (
            f"*The network `{model.name}` ({model.network}) of [`models/`](../../models/README.md), which "
            f"`ntm evaluate --model-file {model.name}` measures.*"
        )
        parts += ["## A trained network", picture, caption]
    else:
        caption = "*No trained network comes with the library for this task. The right answer stands as prediction.*"
        parts += [picture, caption]
    rows = find_results(name)
    if rows:
        threshold = re.search(r"\(solved: below ([\d.]+)\)", " ".join(rows[0]))
        parts += [
            "## Results",
            f"A seed counts as solved below {threshold[1]}. " if threshold else "",
        ]
        parts[-1] += "Of several seeds the table shows the median and the range."
        parts.append(make_results(rows))
    parts.append(
        f"[All results](../results.md) · [Settings of the task](../reference/settings.md#task-{name}) · "
        f"[`{TASKS[name].__name__}` in the reference](../reference/ntm.tasks.md)"
    )
    return "\n\n".join(parts) + "\n"


def make_overview() -> str:
    """Return the text of the page that lists the tasks."""
    lines = []
    for name in TASKS:
        solved = ", ".join(f"{row[1]} {row[2]}" for row in find_results(name)) or "–"
        lines.append(f"| [{make_title(name)}]({name}.md) | {describe(name)[0]} | {solved} |\n")
    return START + "".join(lines)


PAGES = {
    "README.md": make_overview,
    **{f"{name}.md": partial(make_page, name) for name in TASKS},
}


def draw_example(name: str) -> Figure:
    """Draw a sequence of a task for which there is no trained network, with the right answer as prediction."""
    task = TASKS[name](seed=0)
    batch = task.sample(1, **SIZES.get(name, {}))
    inputs, targets, mask = (array[0] for array in batch)
    return plot_sequence(
        inputs,
        targets,
        targets,
        mask=mask,
        title=name,
        kind=task.output,
        input_names=task.input_names,
        output_names=task.output_names,
        input_texts=task.spell_inputs(inputs),
        spell=task.spell_outputs,
    )


def draw_picture(name: str) -> None:
    """Draw what the trained network of a task does with a sequence, or the sequence alone."""
    path = FOLDER / f"{name}.png"
    if model := find_model(name):
        figure = draw_sequence(model.make_evaluator(), model.settings, SIZES.get(name))
    else:
        figure = draw_example(name)
    save_figure(figure, path)
    # The pictures have few colours: with a palette they take half the space
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", nargs="*", metavar="TASK", help="draw the pictures, too")
    options = parser.parse_args()
    if options.pictures is not None:
        for name in options.pictures or TASKS:
            draw_picture(name)
    for name, make in PAGES.items():
        with atomic_write(FOLDER / name) as temporary:
            Path(temporary).write_text(make(), encoding="utf-8")
