"""How far a trial is, read from the files in its folder."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ntm.experiments.reading import read_data_result, read_result
from ntm.experiments.runs import was_solved
from ntm.experiments.settings import Settings
from ntm.files import inside, read_json, write_json
from ntm.sweeps.trials import LOG, Trial
from ntm.training.loggers import read_json_lines
from ntm.typing import PathLike

#: Files in the folder of a trial: why it failed, why it was ended before its time
FAILED_FILE, PRUNED_FILE = "failed.json", "pruned.json"
#: Lines of a log that are shown of a trial that failed, and bytes of the log that are read for them
NUM_LINES, NUM_BYTES = 8, 4000


class Status(StrEnum):
    """How far a trial is."""

    WAITING = "waiting"
    #: Begun, and not ended: it is running, or goes on when the sweep does
    BEGUN = "begun"
    RUNNING = "running"
    #: The task is solved
    SOLVED = "solved"
    #: Trained to the end: of a task not solved, of data all epochs
    ENDED = "ended"
    #: The search has ended it before its time
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True)
class TrialState:
    """How far a trial is.

    Attributes
    ----------
    status : Status
    step : int
        Training steps done, as far as the trial has written them down.
    seconds : float
        Spent in training.
    loss : float or None
        The latest.
    result : dict or None
        What result.json says, once the trial has ended.
    error : str or None
        Why it failed: the last lines of its log.
    """

    status: Status
    step: int = 0
    seconds: float = 0.0
    loss: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do: the trial is trained to the end, or pruned."""
        return self.status in (Status.SOLVED, Status.ENDED, Status.PRUNED)


def read_state(trial: Trial, sweep: PathLike) -> TrialState:
    """Read how far a trial is. A trial whose files are damaged has failed."""
    try:
        return _read_state(trial, trial.find_folder(sweep))
    except ValueError as error:
        return TrialState(Status.FAILED, error=str(error))


def _read_state(trial: Trial, folder: Path) -> TrialState:
    if inside(folder, "result.json").exists():
        return _read_ended(trial, folder)
    row = read_latest(folder)
    progress: dict[str, Any] = {
        "step": row.get("step", 0),
        "seconds": row.get("seconds") or 0.0,
        "loss": row.get("loss"),
    }
    if inside(folder, PRUNED_FILE).exists():
        return TrialState(Status.PRUNED, **progress)
    if inside(folder, FAILED_FILE).exists():
        found = read_json(inside(folder, FAILED_FILE))
        error = found.get("error") if isinstance(found, dict) else None
        return TrialState(Status.FAILED, **progress, error=str(error))
    begun = inside(folder, "settings.json").exists()
    return TrialState(Status.BEGUN if begun else Status.WAITING, **progress)


def _read_ended(trial: Trial, folder: Path) -> TrialState:
    is_task = isinstance(trial.settings, Settings)
    result = read_result(folder) if is_task else read_data_result(folder)
    solved = isinstance(trial.settings, Settings) and was_solved(trial.settings, result)
    return TrialState(
        Status.SOLVED if solved else Status.ENDED,
        result.get("steps", 0),
        result.get("seconds", 0.0),
        result=result,
    )


def read_latest(folder: PathLike) -> dict[str, Any]:
    """Read the latest row of losses of a run, empty if there is none yet."""
    rows = [row for row in read_json_lines(inside(folder, "metrics.jsonl")) if "loss" in row]
    return rows[-1] if rows else {}


def read_losses(folder: PathLike) -> list[tuple[int, float]]:
    """Read the steps and losses that a run has written down, without those that are not finite.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    rows = read_json_lines(inside(folder, "metrics.jsonl"))
    return [(row["step"], row["loss"]) for row in rows if isinstance(row.get("loss"), int | float)]


def note_failure(folder: PathLike, error: str) -> None:
    """Write down that a trial has failed, and why."""
    write_json(inside(folder, FAILED_FILE), {"error": error})


def forget_failure(folder: PathLike) -> None:
    """Forget that a trial has failed: it is tried again."""
    inside(folder, FAILED_FILE).unlink(missing_ok=True)


def note_pruned(folder: PathLike, reason: str) -> None:
    """Write down that the search has ended a trial before its time."""
    write_json(inside(folder, PRUNED_FILE), {"reason": reason})


def read_last_lines(folder: PathLike) -> str:
    """Return the last lines of a trial's log."""
    try:
        with open(inside(folder, LOG), "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - NUM_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-NUM_LINES:])
