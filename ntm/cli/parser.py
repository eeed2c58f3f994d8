"""The parser of the command line: commands, their options and their help."""

import argparse
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import ntm
from ntm.arguments import Number
from ntm.cli.commands import compare, evaluate, list_tasks, plot, resume, summarise_task, train
from ntm.cli.options import add_settings, get_training_options
from ntm.experiments.networks import MODELS
from ntm.tasks import TASKS

EXAMPLES = """\
examples:
  ntm tasks                                   list the tasks
  ntm train copy                              train a Neural Turing Machine, in runs/copy-ntm-1
  ntm train copy --controller lstm --seed 3   in runs/copy-ntm-lstm-3
  ntm train repeat-copy --max-length 5 --max-repeats 5 --batch-size 16
  ntm train copy --help                       all options, with their defaults for the task
  ntm resume runs/copy-ntm-1                  go on where the run was stopped or killed
  ntm evaluate runs/copy-ntm-1 --size length=100
                                              measure how far the network generalises
  ntm plot runs/copy-ntm-1                    draw what the network does with one sequence
  ntm compare copy --models ntm lstm          train both, and draw how they generalise

exit codes: 0 done, or the task is solved; 1 failed; 2 wrong usage; 3 training ended and the task is not solved;
130 interrupted, and saved
"""


class Parser(argparse.ArgumentParser):
    """A parser that says which option may be meant, and whose usage is one line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown option {unknown[0]}{self._guess(unknown[0])}")
        return namespace, unknown

    def _guess(self, word: str) -> str:
        known = [each for each in self._option_string_actions if each.startswith("--")]
        close = difflib.get_close_matches(word.partition("=")[0], known, n=1)
        return f"; did you mean {close[0]}?" if close else ""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nSee {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    parser = Parser(
        prog="ntm",
        description="Train neural networks that have a memory, measure them and look inside.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"ntm-lasagne {ntm.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_command(commands, "tasks", list_tasks, "list the tasks")

    for task, each in _add_tasks(commands, "train", train, "train a network on a task"):
        _add_folder(
            each,
            "folder of the run (default: runs/TASK-MODEL-SEED; with a controller that is not the default, "
            "runs/TASK-MODEL-CONTROLLER-SEED)",
        )
        _add_logging(each)
        add_settings(each, task)

    text = "train several networks on a task, and draw how they generalise"
    for task, each in _add_tasks(commands, "compare", compare, text):
        each.add_argument(
            "--models",
            nargs="+",
            choices=MODELS,
            default=["ntm", "lstm"],
            help="the networks; a run that ended is not trained again (default: ntm lstm)",
        )
        _add_measure(each)
        _add_output(each, f"compare-{task}.png")
        _add_folder(each, "folder that holds the folders of the runs (default: runs)")
        _add_logging(each)
        add_settings(each, task, choose_model=False)

    command = _add_command(
        commands, "resume", resume, "go on with a run that was stopped or killed"
    )
    _add_run(command)
    _add_checkpoint(command)
    command.add_argument(
        "--max-steps",
        type=get_training_options()["max_steps"].parse,
        metavar="N",
        help="training steps at most, instead of the run's setting",
    )
    command.add_argument(
        "--devices",
        type=get_training_options()["devices"].parse,
        metavar="N|all",
        help="CPU cores or GPUs over which a batch is divided (default: as many as the run began with; another number "
        "gives results that are equal up to rounding only)",
    )
    _add_logging(command)

    command = _add_command(commands, "evaluate", evaluate, "measure the network of a run")
    _add_run(command)
    _add_checkpoint(command)
    command.add_argument(
        "--num-sequences",
        type=Number(int, 1),
        metavar="N",
        help="sequences to measure at each size (default: 2000 at the training sizes, 100 at each other one)",
    )
    command.add_argument(
        "--memory-slots",
        type=Number(int, 1),
        metavar="N",
        help="slots of the memory, instead of those in training",
    )
    command.add_argument(
        "--size",
        nargs="+",
        action="append",
        metavar="NAME=N",
        help="sizes to measure at, such as length=40, or repeats=20 length=10; give the option once for each "
        "(default: the sizes in the run's settings)",
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")

    command = _add_command(
        commands, "plot", plot, "draw one sequence, learning curves or generalisation"
    )
    command.add_argument(
        "folders", nargs="+", type=_check_folder, metavar="FOLDER", help="folder of a run"
    )
    command.add_argument(
        "--kind",
        choices=["sequence", "learning", "generalisation"],
        help="what to draw (default: sequence for one run, generalisation for several)",
    )
    command.add_argument(
        "--size",
        nargs="+",
        metavar="NAME=N",
        help="sizes of the sequence, such as length=40 (default: the largest in training)",
    )
    _add_measure(command)
    _add_output(command, "RUN-KIND.png")
    return parser


def _add_command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
    command.set_defaults(run=function)
    return command


def _add_tasks(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> list[tuple[str, argparse.ArgumentParser]]:
    """Add a command that has a command of its own for each task; return these."""
    command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
    tasks = command.add_subparsers(required=True, metavar="TASK", dest="task")
    added = []
    for task in TASKS:
        summary = summarise_task(task).replace("%", "%%")
        each = tasks.add_parser(
            task,
            help=summary,
            description=f"{text.capitalize()}.\n\n{task}: {summary}",
            usage=f"ntm {name} {task} [OPTION ...]",
        )
        each.set_defaults(run=function)
        added.append((task, each))
    return added


def _check_folder(word: str) -> str:
    """Return a word of the command line that is the folder of a run."""
    path = Path(word)
    if path.is_file():
        hint = f": {path.parent}" if (path.parent / "settings.json").exists() else ""
        raise argparse.ArgumentTypeError(f"{word} is a file; expected the folder of a run{hint}")
    return word


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_check_folder, help="folder of the run")


def _add_folder(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--folder", type=_check_folder, help=text)


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", metavar="NAME", help="checkpoint in the folder (default: the latest)"
    )


def _add_logging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument(
        "--tensorboard", metavar="FOLDER", help="write metrics and images for TensorBoard too"
    )


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--measure",
        metavar="NAME",
        help="measure to draw for generalisation (default: the one that says whether the task is solved)",
    )


def _add_output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="file of the picture: .png, .pdf or .svg; an existing file is overwritten "
        f"(default: {default}, with a number if there is such a file)",
    )
