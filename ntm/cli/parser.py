"""The parser of the command line: commands, their options and their help."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast

import ntm
from lasagne.backends.modes import FLOAT_TYPES
from ntm.arguments import Number
from ntm.cli.commands import compare, evaluate, list_tasks, plot, resume, summarise_task, train
from ntm.cli.data_commands import predict, train_on_data
from ntm.cli.data_options import add_data_settings, add_metrics, get_data_options
from ntm.cli.export_commands import export_network
from ntm.cli.help import HELP, OVERVIEW
from ntm.cli.model_commands import print_models
from ntm.cli.options import add_settings, get_training_options
from ntm.cli.processes import add_processes
from ntm.cli.report_commands import report, watch
from ntm.cli.sweep_commands import sweep
from ntm.cli.sweep_options import add_sweep_options, find_flags
from ntm.cli.usage import suggest
from ntm.experiments.networks import MODELS
from ntm.experiments.own_tasks import COLON, OwnTaskError, import_task, shorten_name
from ntm.exporting.files import PLATFORMS
from ntm.tasks import TASKS, Task


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
        return suggest(word.partition("=")[0], known)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += suggest(str(value), map(str, action.choices or ()))
            raise

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nSee {self.prog} --help\n")


#: Adds the options of a task of some name to a parser
AddTask: TypeAlias = Callable[[Parser, str, type[Task]], None]


class TaskParser(Parser):
    """The parser of a command that has a command of its own for each task.

    A word with a colon, such as ``my_module:MyTask``, is a task of the user's own: it is imported because it was typed.

    Parameters
    ----------
    command : str
        The name of the command.
    add_task : callable
        From the parser of a task, its name and its class: adds the options.
    for_data : str
        What is to be done with data, which are no task.
    epilog : str
        The examples.
    """

    def __init__(
        self, *, command: str, add_task: AddTask, for_data: str, epilog: str, **kwargs: Any
    ) -> None:
        own = (
            f"A task of your own: {kwargs['prog']} my_module:MyTask, a subclass of ntm.tasks.Task."
        )
        super().__init__(epilog=f"{epilog}\n{own}\n{for_data}", **kwargs)
        self._command, self._add_task, self._for_data = command, add_task, for_data
        self._tasks = self.add_subparsers(
            required=True, metavar="TASK", dest="task", parser_class=Parser
        )
        for name, kind in TASKS.items():
            self._make_task(name, kind)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        has_task = bool(args) and not args[0].startswith("-")
        if any(word.partition("=")[0] == "--data" for word in args):
            self.error(
                f"{args[0]} is a task, and --data are none: give one of them"
                if has_task
                else self._for_data
            )
        if not has_task and not {"-h", "--help"} & {*args}:
            self.error(
                f"expected a TASK, or a task of your own such as my_module:MyTask. {self._for_data}"
            )
        if has_task and COLON in args[0]:
            try:
                self._make_task(args[0], import_task(args[0]))
            except OwnTaskError as error:
                self.error(str(error))
            except argparse.ArgumentError as error:
                self.error(
                    f"{args[0]}: {error.argument_name} is an option of {self.prog} already: give that argument of the "
                    "constructor another name"
                )
        return super().parse_known_args(args, namespace)

    def _make_task(self, name: str, kind: type[Task]) -> None:
        summary = summarise_task(kind).replace("%", "%%")
        parser = self._tasks.add_parser(
            name,
            help=summary,
            description=f"{self.description}\n\n{name}: {summary}",
            epilog=HELP[f"{self._command} TASK"].make_epilog(task=name),
            usage=f"{self.prog} {name} [OPTION ...]",
        )
        parser.set_defaults(task_class=kind)
        self._add_task(parser, name, kind)


class TaskOrDataParser(TaskParser):
    """The parser of a command for tasks, and for data with ``--data`` in place of a task.

    Parameters
    ----------
    add_task : callable
        As of :class:`TaskParser`.
    add_data : callable
        From the parser for data: adds the options.
    """

    def __init__(
        self, *, add_task: AddTask, add_data: Callable[[Parser], None], **kwargs: Any
    ) -> None:
        prog = kwargs["prog"]
        super().__init__(
            add_task=add_task, for_data=f"Data of your own: {prog} --data FILE", **kwargs
        )
        text = HELP[f"{self._command} --data"]
        self.data_parser = Parser(
            prog=f"{prog} --data FILE",
            description=text.description,
            epilog=text.make_epilog(),
            usage=f"{prog} --data FILE [OPTION ...]",
        )
        add_data(self.data_parser)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        is_data = any(word.partition("=")[0] == "--data" for word in args)
        if is_data and args[0].startswith("-"):
            return self.data_parser.parse_known_args(args, namespace)
        return super().parse_known_args(args, namespace)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    parser = Parser(
        prog="ntm",
        description="Train neural networks that have a memory, measure them and look inside.",
        epilog=OVERVIEW,
    )
    parser.add_argument("--version", action="version", version=f"ntm-lasagne {ntm.__version__}")
    commands = parser.add_subparsers(
        required=True,
        metavar="COMMAND",
        parser_class=cast(Any, _make_command_parser),
    )

    _add_command(commands, "tasks", list_tasks)
    command = _add_command(commands, "models", print_models)
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")

    _add_command(
        commands,
        "train",
        train,
        command="train",
        kind=TaskOrDataParser,
        add_task=_add_training,
        add_data=_add_data_training,
    )
    _add_command(
        commands,
        "sweep",
        sweep,
        command="sweep",
        kind=TaskOrDataParser,
        add_task=_add_sweep,
        add_data=_add_data_sweep,
    )
    _add_command(
        commands,
        "compare",
        compare,
        command="compare",
        kind=TaskParser,
        add_task=_add_comparison,
        for_data="For data, train each network (ntm train --data FILE --model NETWORK), then draw the learning curves: "
        "ntm plot RUN RUN",
    )

    command = _add_command(commands, "resume", resume)
    _add_run(command)
    _add_own_task(command)
    _add_checkpoint(command)
    command.add_argument(
        "--max-steps",
        type=get_training_options()["max_steps"].parse,
        metavar="N",
        help="training steps at most, instead of the run's setting",
    )
    command.add_argument(
        "--epochs",
        type=get_data_options()["epochs"].parse,
        metavar="N",
        help="for data: epochs in all, instead of the run's setting",
    )
    for name in ("data", "validation"):
        command.add_argument(
            f"--{name}",
            metavar="FILE",
            help=f"where the run's {name} are now, if they have been moved; other data are refused".replace(
                "validation are", "validation data are"
            ),
        )
    command.add_argument(
        "--devices",
        type=get_training_options()["devices"].parse,
        metavar="N|all",
        help="CPU cores or GPUs over which a batch is divided (default: as many as the run began with; another number "
        "gives results that are equal up to rounding only)",
    )
    _add_logging(command)
    add_processes(command)

    command = _add_command(commands, "evaluate", evaluate)
    _add_run(command, nargs="?")
    _add_model_file(command)
    _add_own_task(command)
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
    command.add_argument(
        "--data",
        metavar="FILE",
        help="for a run on data: what to measure on, with targets; no other file of data is read",
    )
    add_metrics(command)
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")

    command = _add_command(commands, "predict", predict)
    _add_run(command)
    _add_checkpoint(command)
    command.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="what to predict for: an .npz file with inputs (or x), or a folder; no other file of data is read",
    )
    command.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="the .npz file to write: predictions, and labels of classes; padded, with lengths, where sequences differ "
        "in length; an existing file is overwritten",
    )
    command.add_argument(
        "--steps",
        type=Number(int, 1),
        metavar="N",
        help="go on with each sequence by N steps, feeding the network its own outputs, and write what was generated",
    )
    command.add_argument(
        "--sample",
        choices=["argmax", "sample"],
        help="for --steps and classes: the next symbol is the most probable one, or is drawn by the probabilities "
        "(default: argmax)",
    )
    command.add_argument(
        "--temperature",
        type=Number(float, above=0),
        metavar="X",
        help="for --sample sample: below 1 draws the most probable symbols more often, above 1 less often (default: 1)",
    )
    command.add_argument(
        "--seed",
        type=Number(int, 0),
        metavar="N",
        help="for --sample sample: of the draws (default: 0)",
    )

    _add_export(commands)
    command = _add_command(commands, "plot", plot)
    command.add_argument(
        "folders", nargs="+", type=_check_folder, metavar="FOLDER", help="folder of a run"
    )
    _add_own_task(command)
    command.add_argument(
        "--kind",
        choices=["sequence", "learning", "generalisation"],
        help="what to draw (default: sequence for one run; for several generalisation, or learning for data)",
    )
    command.add_argument(
        "--size",
        nargs="+",
        metavar="NAME=N",
        help="sizes of the sequence, such as length=40 (default: the largest in training)",
    )
    command.add_argument(
        "--data",
        metavar="FILE",
        help="for a run on data: where the sequence is taken from (default: the run's validation data, else its data)",
    )
    command.add_argument(
        "--index",
        type=Number(int, 0),
        metavar="N",
        help="for a run on data: which sequence to draw (default: 0)",
    )
    command.add_argument(
        "--names",
        metavar="FILE",
        help="for a run on data: a text file with the names of classes or symbols, one a line",
    )
    _add_measure(command)
    _add_output(command, "RUN-KIND.png")

    _add_reports(commands)
    return parser


def _add_export(commands: Any) -> None:
    """Add the command that takes a network out of the library."""
    command = _add_command(commands, "export", export_network)
    _add_run(command, nargs="?")
    _add_model_file(command)
    _add_own_task(command)
    _add_checkpoint(command)
    command.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="the .zip file to write; an existing file is overwritten",
    )
    for name, what in (
        ("batch-size", "batches of N sequences"),
        ("num-steps", "sequences of N steps"),
    ):
        command.add_argument(
            f"--{name}",
            type=Number(int, 1),
            metavar="N",
            help=f"take {what} only (default: any number)",
        )
    command.add_argument(
        "--platforms",
        nargs="+",
        choices=PLATFORMS,
        default=["cpu", "cuda"],
        help="what the file runs on, some of %(choices)s (default: cpu cuda)",
        metavar="NAME",
    )
    command.add_argument(
        "--float-type",
        choices=FLOAT_TYPES,
        default="float32",
        help="type of inputs, parameters and outputs (default: float32)",
    )
    command.add_argument(
        "--gradients",
        action="store_true",
        help="let JAX differentiate the functions; the file is larger",
    )


def _add_model_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model-file",
        metavar="NAME|FILE",
        help="instead of a run: a trained network that comes with this package (ntm models), or a file that ntm.save "
        "wrote, such as a run's network.safetensors",
    )


def _add_reports(commands: Any) -> None:
    """Add the commands for pages of runs."""
    command = _add_command(commands, "report", report)
    command.add_argument(
        "--output",
        metavar="FILE",
        help="the .html file to write; an existing file is overwritten (default: report.html, with a number if there "
        "is such a file)",
    )
    _add_page(command, "the run's validation data, else its data")

    command = _add_command(commands, "watch", watch)
    command.add_argument(
        "--port",
        type=Number(int, 0, 65535),
        default=0,
        metavar="N",
        help="port on this machine, 127.0.0.1; 0 takes any that is free (default: 0)",
    )
    _add_page(command, "none: nothing outside of the run is read")


def _add_page(command: argparse.ArgumentParser, data: str) -> None:
    """Add what the commands for pages have in common."""
    command.add_argument(
        "folders",
        nargs="+",
        type=_check_folder,
        metavar="RUN",
        help="folder of a run, or of a sweep, which is shown alone with its best run",
    )
    _add_own_task(command)
    command.add_argument(
        "--size",
        nargs="+",
        action="append",
        metavar="NAME=N",
        help="sizes of a sequence that is shown step by step, such as length=40; give the option once for each "
        "(default: the largest in training, and some beyond it)",
    )
    command.add_argument(
        "--data",
        metavar="FILE",
        help=f"for runs on data: where the sequences that are shown step by step are taken from (default: {data})",
    )
    command.add_argument(
        "--index",
        nargs="+",
        type=Number(int, 0),
        metavar="N",
        help="for runs on data: which sequences are shown (default: some of different lengths)",
    )
    command.add_argument("--quiet", action="store_true", help="show no progress")


def _make_command_parser(kind: type[Parser] = Parser, **options: Any) -> Parser:
    return kind(**options)


def _add_command(
    commands: Any,
    name: str,
    function: Callable[[argparse.Namespace], int],
    **options: Any,
) -> argparse.ArgumentParser:
    """Add a command, whose parser is a `Parser` unless `kind` is given."""
    text = HELP[name]
    command = commands.add_parser(
        name,
        help=text.summary,
        description=text.description,
        epilog=text.make_epilog(),
        **options,
    )
    command.set_defaults(run=function)
    return command


def _add_training(parser: Parser, name: str, kind: type[Task]) -> None:
    """Add the options of `ntm train` for a task."""
    _add_folder(
        parser,
        "folder of the run (default: runs/TASK-MODEL-SEED; with a controller that is not the default, "
        "runs/TASK-MODEL-CONTROLLER-SEED); with --replicas, the folder that holds the folders of the runs (default: "
        "runs)",
    )
    _add_replicas(parser)
    _add_logging(parser)
    add_processes(parser)
    add_settings(parser, kind)


def _add_data_training(parser: Parser) -> None:
    """Add the options of `ntm train` for data."""
    parser.set_defaults(run=train_on_data)
    _add_replicas(parser)
    _add_folder(
        parser,
        "folder of the run (default: runs/NAME-MODEL-SEED, by the name of the data's file); with --replicas, the "
        "folder that holds the folders of the runs (default: runs)",
    )
    _add_logging(parser)
    add_processes(parser)
    add_data_settings(parser)


def _add_sweep(parser: Parser, name: str, kind: type[Task]) -> None:
    """Add the options of `ntm sweep` for a task."""
    add_sweep_options(parser, f"sweeps/{shorten_name(name)}")
    before = {action.dest for action in parser._actions}
    add_settings(parser, kind)
    parser.set_defaults(settings_parser=parser, settings_flags=find_flags(parser, before))


def _add_data_sweep(parser: Parser) -> None:
    """Add the options of `ntm sweep` for data."""
    parser.set_defaults(run=sweep)
    add_sweep_options(parser, "sweeps/NAME, by the name of the data's file")
    before = {action.dest for action in parser._actions}
    add_data_settings(parser)
    parser.set_defaults(settings_parser=parser, settings_flags=find_flags(parser, before))


def _add_replicas(parser: Parser) -> None:
    parser.add_argument(
        "--replicas",
        type=Number(int, 1),
        metavar="N",
        help="train so many networks in one program, with the seeds from --seed on, each in a folder of its own; the "
        "same command goes on where it was stopped (default: one network; not for sam and sdnc)",
    )


def _add_comparison(parser: Parser, name: str, kind: type[Task]) -> None:
    """Add the options of `ntm compare` for a task."""
    parser.add_argument(
        "--models",
        nargs="+",
        choices=MODELS,
        default=["ntm", "lstm"],
        help="the networks; a run that ended is not trained again (default: ntm lstm)",
    )
    parser.add_argument(
        "--seeds",
        type=Number(int, 1),
        default=1,
        metavar="N",
        help="train each network with so many seeds, from --seed on; the picture shows the median and the spread "
        "(default: 1)",
    )
    _add_measure(parser)
    _add_output(parser, f"compare-{shorten_name(name)}.png")
    _add_folder(parser, "folder that holds the folders of the runs (default: runs)")
    _add_logging(parser)
    add_settings(parser, kind, choose_model=False)


def _check_folder(word: str) -> str:
    """Return a word of the command line that is the folder of a run."""
    path = Path(word)
    if path.is_file():
        hint = f": {path.parent}" if (path.parent / "settings.json").exists() else ""
        raise argparse.ArgumentTypeError(f"{word} is a file; expected the folder of a run{hint}")
    return word


def _add_run(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    parser.add_argument("folder", type=_check_folder, nargs=nargs, help="folder of the run")


def _add_own_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task",
        type=_import_task,
        metavar="MODULE:CLASS",
        help="the task, if it is one of your own: a module is imported only when you type its name, because its code "
        "runs",
    )


def _import_task(word: str) -> type[Task]:
    if word in TASKS:
        return TASKS[word]
    try:
        return import_task(word)
    except OwnTaskError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
    parser.add_argument(
        "--width",
        type=Number(float, above=2),
        metavar="CM",
        help="width of the picture in centimetres, such as 8.5 for a column of a paper (default: 17)",
    )
