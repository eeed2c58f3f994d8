"""What the files of a run say, for its page. A run may come from a stranger, or be written at this moment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ntm.arguments import is_integer, is_number, shorten
from ntm.experiments.data_settings import DataSettings
from ntm.experiments.reading import (
    blaming,
    is_data_run,
    list_checkpoints,
    read_data_result,
    read_data_settings,
    read_result,
    read_settings,
)
from ntm.experiments.runs import was_solved
from ntm.experiments.settings import Settings
from ntm.files import to_json
from ntm.reports.rows import RowFile
from ntm.tasks import Task
from ntm.tasks.base import describe_sizes
from ntm.typing import PathLike

#: Columns of rows that are no curve of a loss or a measure
COUNTS = {
    "step",
    "sequences",
    "seconds",
    "sequences_per_second",
    "loss",
    "norm",
    "rate",
    "level",
    "epoch",
    "skipped",
    "restarts",
}
#: Settings that the page shows in another way, or not at all
NOT_SHOWN = {"data", "validation", "model_options", "fingerprint", "validation_fingerprint"}
#: The characters of a name and of a value on the page
MAX_NAME, MAX_VALUE = 60, 200
#: The losses of data by the kind of the targets
DATA_LOSSES = {"numbers": "squared error per step"}


@dataclass(frozen=True)
class Reading:
    """What the files of a run say.

    Attributes
    ----------
    name : str
        The name of the run's folder.
    folder : Path
    settings : Settings or DataSettings
    rows : list of dict
        Of ``metrics.jsonl``.
    result : dict or None
        None while the run has not ended.
    checkpoint : str or None
        The name of the latest checkpoint.
    """

    name: str
    folder: Path
    settings: Settings | DataSettings
    rows: list[dict[str, Any]]
    result: dict[str, Any] | None
    checkpoint: str | None

    @property
    def learnt(self) -> str:
        """The name of the task, or of the file of the data."""
        if isinstance(self.settings, DataSettings):
            return show(Path(self.settings.data).name or "data")
        return show(self.settings.task)

    @property
    def group(self) -> str:
        """What tells runs that can be compared in one chart from others."""
        kind = "data" if isinstance(self.settings, DataSettings) else "task"
        return f"{kind} {self.learnt}"

    @property
    def loss_unit(self) -> str:
        """What a loss is in."""
        if isinstance(self.settings, DataSettings):
            kind = self.settings.layout.kind
            return DATA_LOSSES.get(
                kind, "nats per step" if self.settings.layout.per_step else "nats per sequence"
            )
        output = self.settings.task_class.output
        return "squared error per sequence" if output == "numbers" else "bits per sequence"

    @property
    def sequences(self) -> float:
        """How many sequences the network was trained on, as far as the files say."""
        return self._get_count("sequences")

    @property
    def steps(self) -> float:
        """How many training steps there were, as far as the files say."""
        return self._get_count("step", "steps")

    @property
    def seconds(self) -> float:
        """How long the network was trained, as far as the files say."""
        return self._get_count("seconds")

    @property
    def solved(self) -> bool | None:
        """Whether the task is solved; None while that is not known, and for data."""
        if self.result is None or isinstance(self.settings, DataSettings):
            return None
        return was_solved(self.settings, self.result)

    def make_task(self) -> Task:
        """Return the task of a run on a task."""
        assert isinstance(self.settings, Settings)
        return self.settings.make_task()

    def _get_count(self, name: str, in_result: str | None = None) -> float:
        given = [row.get(name) for row in self.rows[-50:]]
        given.append((self.result or {}).get(in_result or name))
        return max((to_float(each) for each in given if is_number(each)), default=0.0)

    def list_curves(self) -> list[str]:
        """Return the names of what was measured during training, besides the losses of the steps."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [
            name
            for name in names
            if name not in COUNTS and any(is_number(row.get(name)) for row in self.rows)
        ]

    def get_curve(self, name: str) -> tuple[list[float], list[float]]:
        """Return the numbers of sequences at which something was measured, and the values; NaN where not finite."""
        found = [row for row in self.rows if name in row and is_number(row.get("sequences"))]
        values = [to_float(row[name]) for row in found]
        return [to_float(row["sequences"]) for row in found], values


def read_run(
    folder: PathLike, task: type[Task] | None = None, rows: RowFile | None = None
) -> Reading:
    """Read the files of a run.

    Parameters
    ----------
    folder : str or path
    task : type, optional
        The class of the task, if it is of the user's own.
    rows : RowFile, optional
        What has read the run's losses before.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder.
    ValueError
        If a file is damaged.
    """
    folder = Path(folder)
    on_data = is_data_run(folder)
    settings: Settings | DataSettings
    settings = read_data_settings(folder) if on_data else read_settings(folder, task)
    if isinstance(settings, Settings):
        with blaming(f"{folder / 'settings.json'}: no run can be made from it"):
            settings.make_task()
    try:
        result = read_data_result(folder) if on_data else read_result(folder)
    except FileNotFoundError:
        result = None
    checkpoints = list_checkpoints(folder)
    return Reading(
        show(folder.resolve().name or "run"),
        folder,
        settings,
        (rows or RowFile(folder)).read(),
        result,
        checkpoints[-1].name if checkpoints else None,
    )


def name_runs(readings: Sequence[Reading]) -> list[str]:
    """Return a name for each run: that of its folder, with the folder above where two are named the same."""
    names = [each.name for each in readings]
    longer = [
        show(f"{each.folder.resolve().parent.name}/{each.name}")
        if names.count(each.name) > 1
        else each.name
        for each in readings
    ]
    seen: dict[str, int] = {}
    unique = []
    for name in longer:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


# ---- In words


def describe_state(reading: Reading) -> tuple[str, str]:
    """Return how far a run has come: a word, and a sentence."""
    counts = (
        f"{reading.sequences:,.0f} sequences ({reading.steps:,.0f} steps, {reading.seconds:,.0f} s)"
    )
    result = reading.result
    if result is None:
        if not reading.steps:
            return "no losses yet", "The run has written no losses yet."
        return "not finished", f"Not finished: {counts} so far. There is no final evaluation yet."
    skipped = result.get("skipped")
    more = (
        f" {skipped:,} steps were skipped: their loss was not finite."
        if is_integer(skipped) and skipped
        else ""
    )
    parameters = to_float(result.get("parameters"))
    if parameters == parameters:
        more += f" The network has {parameters:,.0f} parameters."
    if isinstance(reading.settings, DataSettings):
        ended = result.get("ended")
        word = "done" if ended == "done" else "ended"
        why = "" if ended == "done" else f" ({show(ended)})"
        return word, f"Training ended{why} after {counts}.{more}"
    name, threshold = reading.settings.make_task().solved
    value = result["measures"][0].get(name)
    shown = "not finite" if value is None else f"{to_float(value):.3g}"
    word = "solved" if reading.solved else "not solved"
    return word, (
        f"{word.capitalize()} after {counts}: {describe_name(name)} {shown} per sequence "
        f"(solved: below {threshold:g}).{more}"
    )


def list_settings(reading: Reading) -> dict[str, str]:
    """Return the settings of a run as texts, by name; the options of the network come with their defaults."""
    settings = reading.settings
    shown: dict[str, Any] = {"network": settings.model}
    shown |= {
        name: value
        for name, value in settings.to_json().items()
        if name not in NOT_SHOWN | {"model"}
    }
    shown |= {f"network: {name}": value for name, value in asdict(settings.get_network()).items()}
    if isinstance(settings, DataSettings):
        layout = settings.layout
        per = "one a step" if layout.per_step else "one a sequence"
        inputs = ", ".join(f"{name} {list(each.features)}" for name, each in layout.inputs.items())
        shown = {
            "data": Path(settings.data).name,
            "inputs": inputs,
            "targets": f"{layout.kind}, {layout.num_outputs} outputs, {per}",
            "validation": None if settings.validation is None else Path(settings.validation).name,
            **shown,
        }
    return {describe_name(name): _describe_value(value) for name, value in shown.items()}


def _describe_value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str | int):
        return show(value, MAX_VALUE)
    if isinstance(value, Mapping):
        return show(", ".join(f"{name} {each}" for name, each in value.items()), MAX_VALUE) or "–"
    if isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
        return show("; ".join(describe_sizes(each) for each in value), MAX_VALUE) or "–"
    return show(to_json(value), MAX_VALUE)


def describe_name(name: object) -> str:
    """Return the name of a setting or measure in words."""
    return show(name).replace("_", " ")


def show(text: object, length: int = MAX_NAME) -> str:
    """Return a text of a run's files for the page: one line of printable characters, of bounded length."""
    return shorten(text, length)


def to_float(value: Any) -> float:
    """Return a number of a file as a float; NaN if it is none, or not finite."""
    try:
        number = float(value) if is_number(value) else math.nan
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan
