"""Train every task on several seeds, side by side on the cores there are, and write docs/results.md.

python scripts/reproduce.py
python scripts/reproduce.py --only copy repeat-copy --seeds 3
python scripts/reproduce.py --only copy-controller-dense
python scripts/reproduce.py --models dnc sam sdnc
python scripts/reproduce.py --report

The runs are the trials of a sweep (ntm.sweeps). The sweep can be stopped and started again: a run that has ended is not
trained again, one that was stopped goes on, and one that failed is tried again. Where the report has results of more
seeds than were trained here, they stay.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ntm.cli  # noqa: F401  Ctrl-C while it imports: no traceback

# isort: split
from ntm.arguments import Number
from ntm.cli.options import get_settings
from ntm.cli.parser import make_parser
from ntm.cli.usage import DONE, FAILED, INTERRUPTED
from ntm.experiments.networks import MODELS
from ntm.experiments.reading import read_result, read_settings
from ntm.experiments.runs import was_solved
from ntm.experiments.settings import Settings
from ntm.files import atomic_write
from ntm.reports.readings import to_float
from ntm.sweeps import LocalEngine, Status, Sweep, Trial
from ntm.sweeps.report import Table, describe_spread, write_markdown
from ntm.sweeps.trials import TRIALS
from ntm.tasks import Task
from ntm.tasks.base import describe_sizes

#: What a result.json holds
Result = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]


INTRODUCTION = """\
`make reproduce` trains each task from scratch, with the defaults of `ntm train TASK` (`ntm/experiments/defaults.py`),
each run on one thread. `make reproduce ARGS="--models dnc sam sdnc"` trains the other networks with a memory.

*Sequences* and *minutes* count up to the end of training: either the measure that ends training was reached on 2,000
new sequences of the training sizes, or the steps were over. Of several seeds the table shows the median and the
range. The other cores trained at the same time, so minutes are longer than on a quiet machine. Other processors and
other versions of JAX round differently; there the same seed takes another course.

Measured on:
"""


#: How the results of an entry begin
VERDICTS = ("Every seed was solved.", "Seeds that were not solved:")


@dataclass
class Entry:
    """A network that is trained on a task, how many times, and what was published of it."""

    task: str
    seeds: int
    options: list[str] = field(default_factory=list)
    published: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        return "-".join([self.task, *(word.lstrip("-") for word in self.options)])

    @property
    def model(self) -> str:
        return self.values.get("model", "ntm")

    @property
    def values(self) -> dict[str, str]:
        """What tells the entry from others in a sweep."""
        names = [name.removeprefix("--").replace("-", "_") for name in self.options[::2]]
        return {"task": self.task, **dict(zip(names, self.options[1::2], strict=True))}

    def name_trial(self, seed: int) -> str:
        return f"{self.name}-{seed}"

    def find_run(self, folder: Path, seed: int) -> Path:
        """Return the folder of a run, given that of the sweep."""
        return folder / TRIALS / self.name_trial(seed)

    def make_trials(self, seeds: Iterable[int], parser: argparse.ArgumentParser) -> list[Trial]:
        """Return the runs with some seeds: those of `ntm train` with the options of the entry, on one device.

        Parameters
        ----------
        seeds : iterable of int
        parser : argparse.ArgumentParser
            Of the command `ntm`.
        """
        # The other cores train other runs
        words = ["train", self.task, *self.options, "--devices", "1"]
        settings = get_settings(parser.parse_args(words), self.task)
        return [
            Trial(self.name_trial(seed), replace(settings, seed=seed), self.values)
            for seed in seeds
        ]


#: What is trained unless other models are asked for: the others take hours
DEFAULT_MODELS = ["ntm", "lstm"]


def compare(task: str, dnc: str = "", sam: str = "", sdnc: str = "") -> list[Entry]:
    """Return the entries of a task for the other networks with a memory, with a note on each."""
    return [
        Entry(task, 3, ["--model", model], note=note)
        for model, note in (("dnc", dnc), ("sam", sam), ("sdnc", sdnc))
    ]


PLAN = [
    Entry(
        "copy",
        10,
        ["--controller", "dense"],
        "NTM paper: solved; no figure of other seeds",
        "Whether a seed learns depends on rounding. On an Intel Xeon all ten seeds were solved, after 2,600 to 5,400 "
        "sequences. Another time on an AMD EPYC the ten seeds took 2,600 to 8,200 sequences: seed 6 ended at 0.0102 "
        "bits, and seed 3 was wrong in one of 100 sequences at length 120. In a further trial on the EPYC, seeds "
        "0 to 18 trained to 0.001 bits, with a restart if the loss was above 0.05 bits after 4,000 steps. Seventeen "
        "seeds then had no wrong bit in training or at length 120; seeds 6 and 11 were wrong in one or two of 2,000 "
        "sequences.",
    ),
    Entry(
        "copy",
        10,
        ["--controller", "gru"],
        note="These seeds trained to 0.003 bits. With 0.01 bits, one seed of six had a few wrong bits at length 120.",
    ),
    Entry(
        "copy",
        10,
        ["--controller", "lstm"],
        "NTM paper, figure 4: few errors at length 120",
        "These seeds trained to 0.001 bits. With 0.003 bits, two seeds of ten had wrong bits, one of them from length "
        "60 on.",
    ),
    *compare(
        "copy",
        dnc="The 64 slots are full after some 40 vectors. With 256 slots (`ntm evaluate --memory-slots`) all three "
        "seeds copy 120 vectors without a wrong bit in 50 sequences.",
        sdnc="The 512 slots are full after some 100 vectors. With 2,048 slots (`ntm evaluate --memory-slots`) all "
        "three seeds copy 120 vectors without a wrong bit in 50 sequences.",
    ),
    Entry(
        "repeat-copy",
        3,
        [],
        "published model: 0 to 82% of sequences right beyond training",
        "Dense layers keep the count in the memory: a write head goes back over the ones of the count, one for each "
        "repeat. The outcome depends on the initialisation. Runs below 0.1 bits after 8,000 steps generalise. Of two "
        "slower runs one had no sequence right beyond training, the other 16% at 20 repeats. So a slower run "
        "re-initialises its parameters. Half of the last sequences have the largest sizes; trained on all sizes alike, "
        "three seeds had 36, 86 and 100% of sequences right at 20 repeats. Stopped at 0.0005 bits, while the learning "
        "rate was still large, seed 0 was wrong in one of 2,000 sequences. With 128 slots a head that goes on writing "
        "returns to the first slots and overwrites the vectors. An LSTM counts by itself, up to the counts in "
        "training: it has no sequence right beyond them. With 100 units and no restart, two seeds of three were "
        "solved; on another processor, which rounds differently, seed 0 was not. In batches of four with sizes that "
        "double, seed 0 was solved, with 100 and 98% right beyond training; seed 1 had not reached the largest sizes "
        "when the learning rate had become small.",
    ),
    *compare(
        "repeat-copy",
        dnc="In batches of one, two seeds of three are solved, with 100 and 95% of sequences right at 20 repeats. The "
        "third seed stays at chance.",
        sam="With one read head and slots of 20 numbers, training reached sizes of up to 8 repeats of 8 in 30,000 "
        "steps, at some 25 bits. With all sizes from the start, in batches of one or eight, the network is at chance "
        "after 12,600 and 4,700 steps. Stopped at 0.003 bits, one seed of three was wrong in one of 2,000 sequences.",
        sdnc="In batches of one the network stays at chance. Batches of eight from short to long, the size doubling, "
        "ended at 0.5 and 12.7 bits.",
    ),
    Entry(
        "associative-recall",
        3,
        [],
        "published model: 94.7% of bits at 12 items, 90.2% at 20",
        "Seed 3, which the table does not show, has 97.4% of bits right at 20 items. Dense layers see one vector of an "
        "item at a time. With them three seeds had 93.6, 97.4 and 98.3% of bits right at 20 items: the read head went "
        "to the wrong item. The number of steps was chosen on these seeds.",
    ),
    *compare(
        "associative-recall",
        sam="Where the answer is wrong, another item often differs from the queried one in one or two bits. With one "
        "read head and slots of 20 numbers, three seeds had 0.04 to 0.18 bits after 6,000 steps of centered RMSProp. "
        "Slots of 40 numbers, 200 units, or key strengths that start at ten did not help. With four heads and slots of "
        "32, seed 0 had 0.08 bits after 6,000 and 0.04 after 20,000 steps, and with Adam 0.06 after 8,000.",
    ),
    Entry(
        "reversed-copy",
        2,
        note="With a dense or a GRU controller, one seed each, the task is solved too, and length 40 fails. Seed 0 "
        "also fails there with 256 slots and the longest sequences last (10,000 steps). With dense layers and two "
        "heads that write in order the task was not solved in 12,000 steps.",
    ),
    Entry("upside-down-copy", 1),
    Entry(
        "dynamic-ngrams",
        1,
        [],
        "NTM paper, figure 13: 133 bits, optimum 130",
        "The memory starts with random values, which are trained, so each context finds its slot. With an empty memory "
        "the network took 1.32 times the bits of the optimum after 40,000 sequences.",
    ),
    Entry(
        "priority-sort",
        1,
        [],
        "NTM paper, figure 18: 17.4 bits (LSTM) and 19.5 (dense) after a million sequences; 65.9 and 54.1 after "
        "100,000",
        "The goal, below 17.4 bits, is what the best network of the NTM paper reaches after a million sequences "
        "(LSTM controller, five heads); its dense controller with eight heads ends at 19.5 bits. At 100,000 sequences "
        "the paper's networks stand at 65.9 bits (LSTM) and 54.1 bits (dense). All four numbers are read off figure "
        "18. Ours stands at 37.4 bits after 96,000 sequences. Also tried, in trials of three to six minutes, one seed "
        "each: with twenty vectors from the start, dense layers and batches of one, the network learnt nothing in "
        "46,000 sequences. An LSTM with four heads and the linear curriculum reached 74 bits over 2 to 20 vectors, and "
        "120 at 20, after 89,000 sequences. In batches of eight with all sizes alike, an LSTM of 200 units with a "
        "trained initial memory reached 64 bits after 16,000 sequences, and an SDNC 47 bits after 24,000 and 51 after "
        "32,000.",
    ),
    Entry(
        "sort",
        1,
        [],
        "published model: 98.3% of bits",
        "99.95% of bits are right at the training lengths. Also tried, one seed each: dense layers with two heads "
        "reached 0.94 bits, 98.96% of bits right, after as many sequences; with one head 7.3 bits after 339,000.",
    ),
    *compare(
        "sort",
        dnc="With read heads that first follow the order of writing, as for the other tasks, the network ended at 1.53 "
        "bits, 98.1% of bits right. After 25,000 steps three seeds had 0.02 to 0.13 bits.",
        sam="99.98 to 99.99% of bits are right at the training lengths.",
        sdnc="99.97 to 99.99% of bits are right at the training lengths.",
    ),
    Entry(
        "dyck-words",
        2,
        note="Also tried, one seed each: with a GRU or an LSTM the task is solved in 600 to 800 steps, and 14 to 36% "
        "of words of semilength 20 are right; with a recurrent controller 72%. Longer training does not change "
        "this. With 20 units, or the longest words last, 35 to 44% are right, and one seed learns nothing in "
        "8,000 steps. With heads that at first only move (interpolation biases of -3, no preferred shift) and "
        "words up to semilength 10 in training, one seed of four has all words right at 20 and 91% at 40; the "
        "others have 71 to 84% and 48%. With words up to 20, one seed has 99% right at 40 and 49% at 80.",
    ),
    Entry("addition", 1),
    *compare("addition"),
    Entry("argmax", 1),
    *compare("argmax"),
    Entry(
        "graph-traversal",
        1,
        ["--model", "dnc"],
        "DNC paper: 99.0% of traversals right, of up to 20 edges on graphs of up to 40 nodes",
        "With read heads that start at content, batches of eight and centered RMSProp with 2e-4, the loss was 3.1 bits "
        "at the first level after 9,000 steps; with Adam, batches of 16 and 1e-3 it was 3.5 after 7,000. Three bits, "
        "one for each digit, is the loss of a network that knows the two nodes that may be the answer, and not which "
        "of them it is.",
    ),
    Entry(
        "shortest-path",
        1,
        ["--model", "dnc"],
        "DNC paper: 64.0% of shortest paths right, of up to 5 edges on graphs of up to 25 nodes",
    ),
    Entry("copy", 1, ["--model", "lstm"], "NTM paper: fails beyond length 20"),
]


def train_all(trials: Sequence[Trial], folder: Path, jobs: int | None, plan: str) -> int:
    """Train runs as a sweep, several at a time.

    Parameters
    ----------
    trials : list of Trial
    folder : Path
        Of the sweep. A folder of another plan is refused.
    jobs : int or None
        Runs at a time; as many as there are cores if None.
    plan : str
        The name of the script.

    Returns
    -------
    int
        The exit code: 1 if a run failed, 130 if the sweep was interrupted.
    """
    sweep = Sweep(folder, trials, LocalEngine(folder, jobs=jobs), about={"plan": plan})
    states = sweep.run().values()
    has_failed = any(each.status is Status.FAILED for each in states)
    if not all(each.has_ended or each.status is Status.FAILED for each in states):
        return INTERRUPTED
    return FAILED if has_failed else DONE


def read_results(entry: Entry, folder: Path) -> dict[int, Result]:
    """Return the results of an entry's runs that have ended, by seed."""
    results = {}
    for seed in range(entry.seeds):
        try:
            results[seed] = read_result(entry.find_run(folder, seed))
        except FileNotFoundError:
            continue
    return results


def read_report(path: Path) -> tuple[set[str], dict[str, str], dict[str, list[str]]]:
    """Return what a report says: the lines of machines, and by the name of each entry its row and its lines."""
    machines: set[str] = set()
    rows: dict[str, str] = {}
    results: dict[str, list[str]] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        if line.startswith("## "):
            name = line.removeprefix("## ")
        elif not name and line.startswith("- "):
            machines.add(line)
        elif link := re.match(r"\| \[[^]]*\]\(#([^)]*)\)", line):
            rows[link[1]] = line
        elif name in results or line.startswith(VERDICTS):
            results.setdefault(name, []).append(line)
    for lines in results.values():
        while not lines[-1]:
            lines.pop()
    return machines, rows, results


def count_seeds(lines: Iterable[str]) -> int:
    """Count the seeds in lines of results."""
    return sum(bool(re.match(r"\| \d+ \|", line)) for line in lines)


def write_report(entries: Sequence[Entry], folder: Path, path: Path) -> None:
    """Write the tables of all results. Where the report has more seeds of an entry, they stay."""
    machines, rows, tables = read_report(path)
    missing = []
    for entry in entries:
        results = read_results(entry, folder)
        if results and len(results) >= count_seeds(tables.get(entry.name, ())):
            settings = read_settings(entry.find_run(folder, min(results)))
            rows[entry.name] = summarise(entry, results, settings)
            tables[entry.name] = tabulate(results, settings)
            machines |= {f"- {run['machine']}, {run['date']}" for run in results.values()}
        elif entry.name not in rows:
            missing.append(f"- {entry.name}. {entry.note}".strip())
    lines = [
        "# Results",
        "",
        INTRODUCTION,
        *sorted(machines),
        "",
        "| task | network | solved | sequences | minutes | parameters | measure | published |",
        "| :-- | :-- | --: | --: | --: | --: | --: | :-- |",
        *(rows[entry.name] for entry in entries if entry.name in rows),
        "",
    ]
    for entry in entries:
        if entry.name in rows:
            lines += [f"## {entry.name}", "", *([entry.note, ""] if entry.note else [])]
            lines += [*tables[entry.name], ""]
    if missing:
        lines += ["## Not trained to the end", "", *missing]
    with atomic_write(path) as temporary:
        Path(temporary).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def summarise(entry: Entry, results: dict[int, Result], settings: Settings) -> str:
    """Return an entry's row of the first table."""
    name, threshold = settings.make_task().solved
    runs = list(results.values())
    measured = describe_spread([to_float(run["measures"][0][name]) for run in runs], "{:.3g}")
    cells = [
        f"[{entry.task}](#{entry.name})",
        settings.network_name,
        f"{len(runs) - len(find_failed(results, settings))} of {len(runs)}",
        describe_spread([run["sequences"] for run in runs], "{:,.0f}"),
        describe_spread([run["seconds"] / 60 for run in runs], "{:.1f}"),
        f"{runs[0]['parameters']:,}",
        f"{measured} {name.replace('_', ' ')} (solved: below {threshold})",
        entry.published,
    ]
    return f"| {' | '.join(cells)} |"


def find_failed(results: dict[int, Result], settings: Settings) -> list[str]:
    """Return the seeds, as words, that did not solve the task."""
    return [str(seed) for seed, run in results.items() if not was_solved(settings, run)]


def tabulate(results: dict[int, Result], settings: Settings) -> list[str]:
    """Return a table of the runs of an entry at each of the sizes, after a line that says which were solved."""
    task = settings.make_task()
    titles = [describe_sizes(row["sizes"]) for row in next(iter(results.values()))["measures"]]
    failed = find_failed(results, settings)
    every, some = VERDICTS
    verdict = f"{some} {', '.join(failed)}." if failed else every
    rows = [
        [
            str(seed),
            f"{run['sequences']:,}",
            f"{run['seconds'] / 60:.1f}",
            str(run["skipped"]),
            str(run.get("restarts", 0)),
            *(show(task, row) for row in run["measures"]),
        ]
        for seed, run in results.items()
    ]
    head = ["seed", "sequences", "minutes", "skipped steps", "restarts", *titles]
    table = Table("", head, rows, num_left=0)
    return [f"{verdict} In each cell: {describe_cells(task)}.", "", *write_markdown(table)]


def describe_cells(task: Task) -> str:
    """Describe the cells that :func:`show` gives."""
    if "ratio" in task.measures:
        return "bits per sequence, and how many times as many as the best possible predictions take"
    if task.output == "numbers":
        return "mean squared error; answers right when rounded"
    if task.output == "digits":
        return "bits per sequence; triples that are wrong; sequences right"
    return (
        "wrong bits per sequence; bits right; sequences right (as in training: bits per sequence; wrong bits; "
        "sequences right)"
    )


def show(task: Task, row: dict[str, Any]) -> str:
    """Return a run's measures at some sizes, for a cell."""
    correct = f"{row['correct']:.1%}"
    if "ratio" in row:
        return f"{row['bits']:.1f} bits, {row['ratio']:.3f} times the optimum"
    if task.output == "numbers":
        return f"{row['error']:.3g}; {correct}"
    if task.output == "digits":
        return f"{row['bits']:.3g} bits; {row['wrong']:.3g}; {correct}"
    if not row["sizes"]:
        return f"{row['bits']:.3g} bits; {row['wrong_bits']:.3g}; {correct}"
    batch = task.sample(1, **row["sizes"])
    right = 1 - row["wrong_bits"] / (batch.mask.sum() * task.num_outputs)
    return f"{row['wrong_bits']:.3g}; {right:.2%}; {correct}"


def main() -> int:
    """Train the runs that have not ended, write the report, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    known = dict.fromkeys(word for entry in PLAN for word in (entry.task, entry.name))
    parser.add_argument(
        "--only",
        nargs="+",
        choices=known,
        metavar="NAME",
        help="tasks, or entries of the report such as copy-controller-dense",
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=DEFAULT_MODELS)
    parser.add_argument("--seeds", type=Number(int, 1), help="seeds of each entry at most")
    parser.add_argument(
        "--jobs",
        type=Number(int, 1),
        help="runs at a time; as many as there are cores unless given",
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "reproduce")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--report", action="store_true", help="only write what there is")
    options = parser.parse_args()
    only = options.only or []
    chosen = [
        entry
        for entry in PLAN
        if entry.name in only
        or (entry.model in options.models and (not only or entry.task in only))
    ]
    if not chosen:
        parser.error("the plan has no network of these models for these tasks")
    code = DONE
    if not options.report:
        parser, trials = make_parser(), []
        for entry in chosen:
            count = min(entry.seeds, options.seeds or entry.seeds)
            trials += entry.make_trials(range(count), parser)
        code = train_all(trials, options.folder, options.jobs, plan=Path(__file__).name)
    write_report(PLAN, options.folder, options.output)
    print(options.output)
    return code


if __name__ == "__main__":
    sys.exit(main())
