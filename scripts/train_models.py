"""Train the networks that come with the package, and write the best of each to models/, with a table of their figures.

python scripts/train_models.py
python scripts/train_models.py --only copy sort
python scripts/train_models.py --report

The runs are the trials of a sweep, which can be stopped and started again, as that of scripts/reproduce.py. With
--report the script writes what has been trained.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import pytensor  # noqa: E402
from reproduce import Entry, Result, show, train_all  # noqa: E402

from ntm.arguments import Number  # noqa: E402
from ntm.cli.parser import make_parser  # noqa: E402
from ntm.cli.usage import DONE  # noqa: E402
from ntm.experiments.reading import read_result, read_settings  # noqa: E402
from ntm.experiments.runs import measure  # noqa: E402
from ntm.experiments.settings import Settings  # noqa: E402
from ntm.files import atomic_write  # noqa: E402
from ntm.models import TrainedModel, list_models, read_model, save_model  # noqa: E402
from ntm.serialization import load  # noqa: E402
from ntm.serialization.arrays import read_arrays, write_arrays  # noqa: E402
from ntm.sweeps.report import rank_result  # noqa: E402

#: Bytes of a file at most
MOST_BYTES = 400_000

INTRODUCTION = """\
# Trained networks

`ntm.load_model("copy")` returns the first of these networks, `ntm evaluate --model-file copy` measures it, and
`ntm models` lists them all. [How to use them](../docs/how-to/models.md). An installed wheel holds them too.

`python scripts/train_models.py` trained them with the defaults of `ntm train`, wrote the files, and wrote this page. Of
several seeds it keeps the one that has most sequences right at the sizes beyond training; of equals, the one with the
lowest measure in training. A file is named after its task, or after its task and its network where another network does
the task as well. *Minutes* are on one thread of a machine that was busy with other work. Numbers are stored as float32,
or as float16 where the file would be larger than 400 kB; then the figures are those of the rounded numbers.
"""

FIGURES = """\
## Figures

"As in training" is on 2,000 new sequences of the training sizes, every other column on 100. In each cell: wrong bits
per sequence; bits right; sequences right (as in training: bits per sequence; wrong bits; sequences right). For addition
and argmax: mean squared error; answers right when rounded. For dynamic-ngrams: bits per sequence, and how many times as
many as the best possible predictions take.
"""


@dataclass
class Model:
    """A trained network: its name, and what is trained for it."""

    name: str
    seeds: list[int]
    options: list[str] = field(default_factory=list)
    note: str = ""
    #: Whether the network is here even if its measure is not below the one that counts as solved
    may_be_unsolved: bool = False
    task: str = ""

    @property
    def entry(self) -> Entry:
        return Entry(self.task or self.name, len(self.seeds), self.options)

    def find_run(self, folder: Path, seed: int) -> Path:
        return self.entry.find_run(folder, seed)

    def get_command(self, seed: int) -> str:
        """Return the command that trains the network with a seed."""
        return shlex.join(["ntm", "train", self.entry.task, *self.options, "--seed", str(seed)])


def compare(task: str, model: str, seeds: list[int], note: str = "", **options: bool) -> Model:
    """Return another network for a task."""
    return Model(f"{task}-{model}", seeds, ["--model", model], note, task=task, **options)


#: The cheap ones first. One seed is enough where docs/results.md says which seed generalises
PLAN = [
    Model("copy", [0, 1, 2]),
    Model("upside-down-copy", [0]),
    Model("addition", [0], note="It fails on lists much longer than in training."),
    Model("argmax", [0], note="It fails on lists much longer than in training."),
    Model("dyck-words", [0, 1]),
    Model("associative-recall", [0]),
    Model("reversed-copy", [1]),
    compare(
        "copy",
        "dnc",
        [0],
        "With `--memory-slots 256` it copies 120 vectors: 50 of 50 sequences right.",
    ),
    compare(
        "copy",
        "sdnc",
        [0],
        "With `--memory-slots 2048` it copies 120 vectors: 50 of 50 sequences right.",
    ),
    compare("copy", "sam", [2], "It fails from length 40 on."),
    compare("associative-recall", "dnc", [0]),
    Model(
        "associative-recall-lstm",
        [0],
        ["--model", "lstm", "--num-layers", "1", "--num-units", "120"],
        "It has no memory. It is here to compare with: about as many parameters as the NTM.",
        may_be_unsolved=True,
        task="associative-recall",
    ),
    Model("repeat-copy", [0]),
    Model(
        "sort",
        [2],
        ["--model", "dnc"],
        "The NTM that sorts has 368,320 parameters, too many for a file of 400 kB.",
    ),
    compare(
        "associative-recall",
        "sam",
        [1],
        "Two of 2,000 sequences are wrong in training.",
        may_be_unsolved=True,
    ),
    Model("dynamic-ngrams", [0]),
]

#: Tasks that no network here has learnt, and how far the best came
NOT_LEARNT = """\
## Not here

No network that we trained has solved priority-sort, graph-traversal or shortest-path: see
[the results](../docs/results.md). A network that did not learn is not in this folder, except
`associative-recall-lstm`, which is here to compare with.
"""


def read_results(model: Model, folder: Path) -> dict[int, Result]:
    """Return how the runs of a network ended that have ended, by seed."""
    runs = {seed: model.find_run(folder, seed) for seed in model.seeds}
    return {seed: read_result(run) for seed, run in runs.items() if (run / "result.json").exists()}


def choose(model: Model, folder: Path) -> tuple[int, Result] | None:
    """Return the seed of the best run of a network and how it ended; None if no run has ended, or none is solved."""
    results = read_results(model, folder)
    if not results:
        return None
    measure, _ = read_settings(model.find_run(folder, min(results))).make_task().solved
    seed = min(results, key=lambda each: rank_result(results[each], measure))
    if not (results[seed]["solved"] or model.may_be_unsolved):
        print(f"{model.name}: no run has solved the task")
        return None
    return seed, results[seed]


def write_model(model: Model, folder: Path, output: Path) -> None:
    """Write the file of the best run of a network, if one has ended and the file is not that of this run already."""
    chosen = choose(model, folder)
    if chosen is None:
        return
    seed, result = chosen
    run, path = model.find_run(folder, seed), output / f"{model.name}.safetensors"
    settings, seeds = read_settings(run), list(read_results(model, folder))
    if path.exists() and is_of_run(read_model(path), settings, result, seeds):
        return
    with pytensor.config.change_flags(floatX="float32"):  # in which it was trained
        network = load(run / "network.safetensors")
        save_model(path, network, settings, result, seeds)
        if path.stat().st_size > MOST_BYTES:
            store_in_half(path)
            rows = measure(read_model(path).make_evaluator(), settings.evaluate_at)
            name, threshold = settings.make_task().solved
            measured = {"measures": rows, "solved": rows[0][name] < threshold, "dtype": "float16"}
            save_model(path, network, settings, result | measured, seeds)
            store_in_half(path)
    if path.stat().st_size > MOST_BYTES:
        path.unlink()
        raise ValueError(f"{path} would be larger than {MOST_BYTES:,} bytes")


def is_of_run(found: TrainedModel, settings: Settings, result: Result, seeds: list[int]) -> bool:
    """Tell whether a file is that of a run, among runs of some seeds."""
    same = all(found.result[name] == result[name] for name in ("steps", "seconds", "date"))
    return same and (found.settings, found.seeds) == (settings, seeds)


def store_in_half(path: Path) -> None:
    """Store the numbers of a file in half precision."""
    arrays, description = read_arrays(path)
    write_arrays(path, {name: each.astype("float16") for name, each in arrays.items()}, description)


def write_page(models: Sequence[TrainedModel], path: Path) -> None:
    """Write the tables of the networks."""
    plan = {each.name: each for each in PLAN}
    lines = [
        INTRODUCTION,
        "| name | network | solved | parameters | kB | seed | seeds tried | sequences | minutes | made by | |",
        "| :-- | :-- | :-- | --: | --: | --: | :-- | --: | --: | :-- | :-- |",
    ]
    order = sorted(models, key=lambda each: [*plan].index(each.name))
    for model in order:
        result, seed = model.result, model.settings.seed
        cells = [
            f"`{model.name}`",
            model.network,
            "yes" if result["solved"] else "no",
            f"{result['parameters']:,}",
            f"{model.path.stat().st_size / 1000:.0f}{' (float16)' if 'dtype' in result else ''}",
            seed,
            ", ".join(map(str, model.seeds)),
            f"{result['sequences']:,}",
            f"{result['seconds'] / 60:.1f}",
            f"`{plan[model.name].get_command(seed)}`",
            plan[model.name].note,
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", FIGURES]
    for model in order:
        task = model.settings.make_task()
        rows = model.result["measures"]
        sizes = [", ".join(f"{name} {size}" for name, size in row["sizes"].items()) for row in rows]
        lines += [
            f"| {model.name} | {' | '.join(each or 'as in training' for each in sizes)} |",
            "| :-- |" + " --: |" * len(rows),
            f"| {model.network} | {' | '.join(show(task, row) for row in rows)} |",
            "",
        ]
    machines = sorted({f"{each.result['machine']}, {each.result['date']}" for each in models})
    lines += [f"Measured on {'; '.join(machines)}.", "", NOT_LEARNT]
    with atomic_write(path) as temporary:
        Path(temporary).write_text("\n".join(lines), encoding="utf-8")


def main() -> int:
    """Train the runs that have not ended, write the files and the page, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    names = [each.name for each in PLAN]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names)
    parser.add_argument("--jobs", type=Number(int, 1), default=1, help="runs at a time")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "models")
    parser.add_argument("--report", action="store_true", help="only write what there is")
    options = parser.parse_args()
    chosen = [each for each in PLAN if each.name in options.only]
    code = DONE
    if not options.report:
        commands = make_parser()
        trials = [
            trial for each in chosen for trial in each.entry.make_trials(each.seeds, commands)
        ]
        code = train_all(trials, options.folder, options.jobs, plan=Path(__file__).name)
    output = ROOT / "models"
    output.mkdir(exist_ok=True)
    for each in chosen:
        write_model(each, options.folder, output)
    write_page(list_models(), output / "README.md")
    print(output)
    return code


if __name__ == "__main__":
    sys.exit(main())
