"""What the commands for a user's data print."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ntm.cli.output import describe_counts, log_memories, print_table
from ntm.experiments.data_runs import DataRun
from ntm.experiments.data_settings import DataSettings
from ntm.training.loggers import TensorBoard
from ntm.typing import PathLike

#: Sequences of more steps are better cut into windows
LONG = 5000

# ---- Lines and tables


def summarise_data(settings: DataSettings) -> str:
    """Return what the data of a run were taken for, in a line, and what is held out of them, in another."""
    data = settings.open()
    lines = [f"{Path(settings.data).name}: {data.whole.describe()}"]
    if settings.validation is not None and data.validation is not None:
        name = Path(settings.validation).name
        lines.append(f"Validation: {name}, {len(data.validation):,} sequences")
    elif data.validation is not None:
        held, all_of_them = len(data.validation), len(data.whole)
        lines.append(f"Validation: {held:,} of the {all_of_them:,} sequences, by the seed")
    longest = data.training.longest
    if longest > LONG and settings.window is None and settings.layout.per_step:
        lines.append(
            f"Sequences have up to {longest:,} steps: --window 100 trains on windows of 100"
        )
    return "\n".join(lines)


def describe_data_result(result: Mapping[str, Any]) -> str:
    """Describe in a line how a run on data ended."""
    counts = describe_counts(result)
    if result["ended"] == "interrupted":
        return f"Interrupted {counts}."
    if result["ended"] == "done":
        return f"Done {counts}."
    return f"Stopped {counts}: {result['ended']}."


def print_data_measures(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what was measured on data as a table, and below it the confusion matrix, if there is one."""
    names = [name for name, value in rows[0].items() if name != "data" and not _is_matrix(value)]
    print_table([row["data"] for row in rows], rows, names, 14)
    for row in rows:
        for name, value in row.items():
            if _is_matrix(value):
                _print_matrix(f"{name}: rows are true classes, columns predicted ones", value)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list)


def _print_matrix(title: str, matrix: Sequence[Sequence[float]]) -> None:
    cells = [[f"{value:.6g}" for value in row] for row in matrix]
    width = max(len(cell) for row in cells for cell in row) + 1
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print(f"{number:4}" + "".join(f"{cell:>{width}}" for cell in row))


# ---- TensorBoard


def make_data_board_logger(run: DataRun, folder: PathLike) -> Callable[[Mapping[str, Any]], None]:
    """Return a logger for TensorBoard: scalars, and a dashboard of each memory wherever the network is evaluated."""
    board = TensorBoard(folder, run.trainer.step_count)
    data = run.settings.open()
    first = (data.validation or data.training).subset([0])

    def log(row: Mapping[str, Any]) -> None:
        board(row)
        if "loss" not in row:
            log_memories(board, run.trainer.evaluator.look_inside(first), row["step"])

    return log
