"""The command line: ``ntm train``, ``resume``, ``evaluate``, ``plot``, ``compare``, ``tasks``."""

from ntm.interruption import stop_on_signals

DONE, FAILED, WRONG_USAGE, NOT_SOLVED, INTERRUPTED = 0, 1, 2, 3, 130

with stop_on_signals() as _importing:  # These take seconds
    import argparse
    import inspect
    import sys
    from contextlib import contextmanager
    from pathlib import Path

    import numpy as np
    import pytensor

    import ntm
    from lasagne.backends.modes import BACKENDS
    from ntm.arguments import Number, shorten
    from ntm.experiments.locking import FolderLock
    from ntm.experiments.networks import ADD_NONLINEARITIES, CONTROLLERS, MODELS, get_model_options
    from ntm.experiments.runs import Run, read_settings
    from ntm.experiments.settings import OPTIMIZERS, RANGES, get_task_options, make_settings
    from ntm.files import inside, read_json, to_json
    from ntm.tasks import TASKS
    from ntm.training.curricula import CURRICULA
    from ntm.training.loggers import CSV, TensorBoard, read_json_lines
    from ntm.training.schedules import SCHEDULES
    from ntm.training.trainer import TrainingError
    from ntm.visualization.curves import plot_generalisation, plot_learning
    from ntm.visualization.figures import save_figure
    from ntm.visualization.sequences import plot_sequence
if _importing.is_set():
    raise SystemExit(INTERRUPTED)

EXAMPLES = """\
examples:
  ntm tasks                                   what there is to learn
  ntm train copy                              a Neural Turing Machine, into runs/copy-ntm-1
  ntm train copy --controller lstm --seed 3
  ntm train repeat-copy --max-length 5 --max-repeats 5 --batch-size 16
  ntm train copy --help                       all options, with their defaults for the task
  ntm resume runs/copy-ntm-1                  goes on where it was stopped or killed
  ntm evaluate runs/copy-ntm-1 --size length=200
                                              how far it generalises
  ntm plot runs/copy-ntm-1                    a picture of what it does with a sequence
  ntm compare copy --models ntm lstm          trains both, one figure of how they generalise

exit codes: 0 done; 1 it failed; 2 the command line is wrong; 3 the steps are done, but the task is not solved;
130 interrupted, and saved
"""

NOTICE = "Interrupted: it ends after this step, and saves. Ctrl-C once more ends it at once."

#: Options of models, by name: their help, and what argparse needs besides type and default
MODEL_HELP = {
    "controller": "of a network with a memory",
    "num_units": "units of the controller, or of a layer",
    "num_layers": "layers of lstm, gru and dense",
    "memory_slots": "of a network with a memory",
    "memory_width": "numbers in a slot",
    "num_heads": "read heads of the Neural Turing Machine, and as many write heads",
    "num_reads": "read heads of dnc, sam and sdnc",
    "num_read_slots": "slots that a head of sam or sdnc reads at a step",
    "nearest": "how sam and sdnc find the slots like a key: exact, hashing or auto",
    "num_links": "slots written before, and after, that sdnc keeps for each slot",
    "clip": "largest size of the outputs of dnc and of its controller",
    "num_shifts": "how many shifts a head chooses from",
    "write_gate_bias": "below zero: write heads of ntm move on rather than look for content, those of dnc, "
    "sam and sdnc write less, at first",
    "read_gate_bias": "the same of read heads",
    "write_shift_bias": "by how much write heads prefer to move forward, at first",
    "read_shift_bias": "the same of read heads",
    "allocation_gate_bias": "above zero: the write head of dnc takes free slots rather than look for content, at first",
    "interpolation_gate_bias": "below zero: the write head of sam and sdnc takes slots not used for long, at first",
    "free_gate_bias": "below zero: the read heads of dnc free less of what they read, at first",
    "forward_bias": "by how much the read heads of dnc and sdnc prefer what was written next, at first",
    "nonlinearity_add": "of what is written",
    "memory_std": "standard deviation of what the memory of ntm holds at first, which is learnt; 0: an empty one",
}
SETTINGS_HELP = {
    "seed": "of parameters, sequences and all else that is random",
    "batch_size": "sequences in a training step",
    "max_steps": "training steps at most, from where it last began anew",
    "optimizer": "",
    "learning_rate": "",
    "schedule": "of the learning rate",
    "warmup": "steps over which the learning rate grows at the start",
    "clip_value": "largest element of a gradient",
    "clip_norm": "largest norm of all gradients together",
    "curriculum": "how sizes grow in training",
    "rewind": "go back to where training was best when it falls",
    "restart_after": "steps after which to begin anew, with other parameters, if too little has been learnt, ten times "
    "at most; 0: never",
    "restart_above": "the loss from which on it is too little",
    "num_buckets": "to how many lengths sequences are padded, as far as the curriculum reaches; each is compiled for",
    "solved_below": "what the measure must be for the task to count as solved; None: the task's own",
    "solve_every": "steps between looks whether the task is solved; 0: never",
    "evaluate_every": "steps between evaluations along the way; 0: only at the end",
    "log_every": "steps between lines in metrics.jsonl",
    "save_every": "steps between checkpoints",
    "backend": "",
    "device": "cpu, gpu or gpu:1, ... for jax; by default what JAX finds",
}
CHOICES = {
    "controller": CONTROLLERS,
    "nonlinearity_add": ADD_NONLINEARITIES,
    "optimizer": OPTIMIZERS,
    "curriculum": CURRICULA,
    "schedule": SCHEDULES,
    "backend": BACKENDS,
}


# ---- Options


class UsageError(ValueError):
    """The command line is wrong."""


@contextmanager
def _usage():
    """What is wrong in this context is wrong with the command line."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


def _folder(text):
    """The folder of a run, from a word of the command line."""
    path = Path(text)
    if path.is_file():
        hint = f": {path.parent}" if (path.parent / "settings.json").exists() else ""
        raise argparse.ArgumentTypeError(f"{text} is a file; expected the folder of a run{hint}")
    return text


def _flag(name):
    return "--" + name.replace("_", "-")


def add_settings(parser, task):
    """Add the options of a training run for a task; what is not given is left out of the parsed namespace."""
    settings = {model: make_settings(task, model) for model in MODELS}
    defaults = settings["ntm"]
    group = parser.add_argument_group(f"the task {task}")
    for name, default in get_task_options(task).items():
        default = defaults.task_options.get(name, default)
        _add(group, name, default, "")
    group = parser.add_argument_group("the network")
    group.add_argument("--model", choices=MODELS, default="ntm", help="(default: ntm)")
    for name, text in MODEL_HELP.items():
        found = {
            model: settings[model].model_options.get(name, options[name])
            for model in MODELS
            if name in (options := get_model_options(model))
        }
        _add(group, name, next(iter(found.values())), text, _describe_defaults(found))
    group = parser.add_argument_group("training")
    for name, text in SETTINGS_HELP.items():
        found = {model: getattr(each, name) for model, each in settings.items()}
        _add(group, name, found["ntm"], text, _describe_defaults(found))
    group.add_argument(
        "--advance-below",
        type=Number(float, above=0),
        default=argparse.SUPPRESS,
        metavar="BITS",
        help="loss at which curricula go on that wait for one: naive, both look-backs, exponential, hardest-last "
        f"(default: {defaults.curriculum_options.get('advance_below', 1.0)})",
    )


def _describe_defaults(found):
    """What an option is by default, given what it is for each model: "0.001, but 0.01 for lstm, gru"."""
    models: dict[str, list] = {}
    for model, value in found.items():
        models.setdefault(str(value), []).append(model)
    first, *others = models
    return ", but ".join([first, *(f"{value} for {', '.join(models[value])}" for value in others)])


def _add(group, name, default, text, shown=None):
    shown = default if shown is None else shown
    text = f"{text} (default: {shown})".strip()
    if isinstance(default, bool):
        group.add_argument(
            _flag(name), action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
        return
    kind = str if default is None else type(default)
    number = RANGES.get(name)
    if number is None and kind in (int, float):  # Their ranges are checked where they are used
        number = Number(kind)
    if number is not None:
        kind = number.kind
    choices = CHOICES.get(name)
    group.add_argument(
        _flag(name),
        type=number or kind,
        choices=choices,
        default=argparse.SUPPRESS,
        help=text,
        metavar=None if choices else {int: "N", float: "X"}.get(kind, "NAME"),
    )


def read_settings_from(options, task, model=None):
    """The settings that parsed options ask for.

    Raises
    ------
    ValueError
        If they do not fit the task or the model.
    """
    given = vars(options)
    model = model or given["model"]
    parts = {name: given[name] for name in SETTINGS_HELP if name in given}
    parts["task_options"] = {name: given[name] for name in get_task_options(task) if name in given}
    parts["model_options"] = {name: given[name] for name in MODEL_HELP if name in given}
    if "advance_below" in given:
        parts["curriculum_options"] = {"advance_below": given["advance_below"]}
    return make_settings(task, model, **parts)


def make_parser():
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="ntm",
        description="Train, evaluate and look into neural networks with a memory.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ntm-lasagne {ntm.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("tasks", help="list the tasks")
    command.set_defaults(run=list_tasks)

    for name, function, text in (
        ("train", train, "train a network on a task"),
        ("compare", compare, "train several models on a task, and draw how they generalise"),
    ):
        command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
        tasks = command.add_subparsers(required=True, metavar="TASK", dest="task")
        for task in TASKS:
            each = tasks.add_parser(task, help=_summary(task), description=_summary(task))
            each.set_defaults(run=function)
            if name == "compare":
                each.add_argument("--models", nargs="+", choices=MODELS, default=["ntm", "lstm"])
                _add_output(each)
                _add_train(each, task, "the folder of the runs (default: runs)")
            else:
                _add_train(each, task)

    command = commands.add_parser("resume", help="go on with a run that was stopped or killed")
    command.set_defaults(run=resume)
    command.add_argument("folder", type=_folder)
    command.add_argument("--checkpoint", metavar="NAME", help="another than the latest")
    command.add_argument(
        "--max-steps", type=RANGES["max_steps"], metavar="N", help="instead of the run's"
    )
    _add_logging(command)

    command = commands.add_parser("evaluate", help="measure a trained network")
    command.set_defaults(run=evaluate)
    command.add_argument("folder", type=_folder)
    command.add_argument("--checkpoint", metavar="NAME", help="another than the latest")
    command.add_argument("--num-sequences", type=RANGES["batch_size"], default=100, metavar="N")
    command.add_argument(
        "--memory-slots",
        type=Number(int, 1),
        metavar="N",
        help="measure it in a memory of so many, instead of those in training",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument(
        "--size",
        nargs="+",
        action="append",
        metavar="NAME=N",
        help="sizes to measure at, such as length=40, or repeats=20 length=10; may be given several times",
    )

    command = commands.add_parser(
        "plot", help="draw a sequence, learning curves, or generalisation"
    )
    command.set_defaults(run=plot)
    command.add_argument("folders", nargs="+", type=_folder, metavar="FOLDER")
    command.add_argument(
        "--kind",
        choices=["sequence", "learning", "generalisation"],
        help="(default: sequence for one run, generalisation for several)",
    )
    command.add_argument("--size", nargs="+", metavar="NAME=N", help="of the sequence")
    _add_output(command)
    return parser


def _add_train(parser, task, folder="where the run is kept (default: runs/TASK-MODEL-SEED)"):
    parser.add_argument("--folder", type=_folder, help=folder)
    _add_logging(parser)
    add_settings(parser, task)


def _add_logging(parser):
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--csv", metavar="FILE", help="write losses to a table as well")
    parser.add_argument("--tensorboard", metavar="FOLDER", help="write for TensorBoard as well")


def _add_output(parser, default="ntm.png"):
    parser.add_argument(
        "--output",
        default=default,
        metavar="FILE",
        help=f"the picture, .png, .pdf or .svg (default: {default})",
    )


def _summary(task):
    return (inspect.getdoc(TASKS[task]) or "").splitlines()[0].replace("%", "%%")


def _parse_sizes(task, words):
    """Sizes such as {"length": 40} from words such as "length=40"."""
    sizes = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not value.isdecimal() or name not in task.sizes:
            raise UsageError(
                f"--size {word}: expected NAME=N with a name among {', '.join(task.sizes)}"
            )
        sizes[name] = int(value)
    return sizes


# ---- Commands


def list_tasks(options):
    """Print the tasks."""
    width = max(map(len, TASKS))
    for task in TASKS:
        print(f"{task:{width}}  {_summary(task)}")
    return DONE


def train(options):
    """Train from the beginning."""
    with _usage():
        settings = read_settings_from(options, options.task)
        run = Run.create(options.folder or _default_folder(settings), settings)
    return _go_on(run, options)


def resume(options):
    """Go on with a run."""
    FolderLock(options.folder).check()  # Before the network is built, which takes its time
    return _go_on(Run.open(options.folder, options.checkpoint), options, options.max_steps)


def _default_folder(settings):
    controller = settings.model_options.get("controller")
    model = f"{settings.model}-{controller}" if controller else settings.model
    return Path("runs") / f"{settings.task}-{model}-{settings.seed}"


def _is_run_of(folder, settings):
    return (folder / "settings.json").exists() and read_settings(folder) == settings


def _open_or_create(folder, settings):
    """The run in a folder if it has these settings, so that the same command goes on where it was stopped."""
    if not _is_run_of(folder, settings):
        with _usage():
            return Run.create(folder, settings)
    FolderLock(folder).check()
    return Run.open(folder)


def _go_on(run, options, max_steps=None):
    loggers = []
    step = run.trainer.step_count
    if options.csv:
        loggers.append(CSV(options.csv, step))
    if options.tensorboard:
        loggers.append(_log_to_tensorboard(run, options.tensorboard, step))
    print(f"{run.folder}: {run.settings.model} learns {run.settings.task}, from step {step}")
    try:
        result = run.train(loggers, progress=not options.quiet, max_steps=max_steps)
    except KeyboardInterrupt:  # While the trained network was measured
        print(f"Interrupted after the last step.\nTo go on: ntm resume {run.folder}")
        return INTERRUPTED
    print(describe_result(result))
    if result["ended"] == "interrupted":
        print(f"To go on: ntm resume {run.folder}")
        return INTERRUPTED
    print_measures(result["measures"])
    return DONE if result["ended"] == "solved" else NOT_SOLVED


def describe_result(result):
    """How a run ended, in a line."""
    ended = {"solved": "Solved", "done": "Not solved", "interrupted": "Interrupted"}[
        result["ended"]
    ]
    skipped = f"; {result['skipped']} steps skipped" if result["skipped"] else ""
    restarts = f"; restarts: {result['restarts']}" if result["restarts"] else ""
    return (
        f"{ended} after {result['steps']:,} steps, {result['sequences']:,} sequences, "
        f"{result['seconds']:.0f} s{skipped}{restarts}."
    )


def print_measures(rows):
    """Print measures, as :meth:`ntm.experiments.Run.measure` gives them, as a table."""
    names = [name for name in rows[0] if name != "sizes"]
    labels = [_describe_sizes(row["sizes"]) for row in rows]
    width = max(map(len, labels))
    print(f"\n{'':{width}}" + "".join(f"  {name:>12}" for name in names))
    for label, row in zip(labels, rows, strict=True):
        print(f"{label:{width}}" + "".join(f"  {row[name]:12.4g}" for name in names))


def _describe_sizes(sizes):
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "as in training"


def evaluate(options):
    """Measure a run's network."""
    run = Run.open(options.folder, options.checkpoint)
    if options.memory_slots is not None:
        run.resize_memory(options.memory_slots)
    if options.size:
        task = run.trainer.task
        run.settings.evaluate_at = [_parse_sizes(task, words) for words in options.size]
    rows = run.measure(options.num_sequences)
    if options.json:
        print(to_json(rows, indent=2))
    else:
        print_measures(rows)
    return DONE


def compare(options):
    """Train several models, or take what is there, and draw how they generalise."""
    parent = Path(options.folder or "runs")
    results = {}
    worst = DONE
    for model in options.models:
        with _usage():
            settings = read_settings_from(options, options.task, model)
        folder = parent / _default_folder(settings).name
        if not _is_run_of(folder, settings) or not (folder / "result.json").exists():
            code = _go_on(_open_or_create(folder, settings), options)
            if code == INTERRUPTED:
                return code
            worst = max(worst, code)
        results[model] = _read_result(folder)
    _save(plot_generalisation(results, options.task), options.output)
    return worst


def plot(options):
    """Draw a sequence, learning curves or generalisation."""
    kind = options.kind or ("sequence" if len(options.folders) == 1 else "generalisation")
    names = [Path(folder).name or str(folder) for folder in options.folders]
    if kind == "sequence":
        if len(options.folders) > 1:
            raise UsageError("--kind sequence draws one run, and several folders were given")
        figure = draw_sequence(Run.open(options.folders[0]), options.size)
    elif kind == "learning":
        settings = [read_settings(folder) for folder in options.folders]
        figure = plot_learning(dict(zip(names, map(_read_losses, options.folders), strict=True)))
        figure.axes[0].set_title(settings[0].task, loc="left")
    else:
        results = dict(zip(names, map(_read_result, options.folders), strict=True))
        figure = plot_generalisation(results, read_settings(options.folders[0]).task)
    _save(figure, options.output)
    return DONE


def draw_sequence(run, words=None):
    """A picture of what a run's network does with a sequence of its task."""
    trainer = run.trainer
    task = trainer.task
    sizes = _largest_sizes(task) | _parse_sizes(task, words)
    batch = _sample_one(run, sizes)
    inside = [
        {name: values[0] for name, values in layer.items() if name != "memory"}
        for layer in trainer.look_inside(batch.inputs)
    ]
    return plot_sequence(
        batch.inputs[0],
        batch.targets[0],
        trainer.predict(batch.inputs)[0],
        mask=batch.mask[0],
        title=f"{run.settings.model}, {run.settings.task}: {_describe_sizes(sizes)}",
        **(inside[0] if inside else {}),
    )


def _largest_sizes(task):
    return {name: high for name, (_, high) in task.sizes.items()}


def _sample_one(run, sizes):
    """A sequence of given sizes, the same at each call."""
    task = run.trainer.task
    state = task.get_state()
    task.rng = np.random.default_rng([run.settings.seed, 2])
    batch = task.sample(1, **sizes)
    task.set_state(state)
    return batch


def _log_to_tensorboard(run, folder, step):
    """A logger of scalars, and of weightings and memory wherever the network is evaluated."""
    board = TensorBoard(folder, step)
    batch = _sample_one(run, _largest_sizes(run.trainer.task))

    def log(row):
        board(row)
        if "loss" in row:
            return
        for layer in run.trainer.look_inside(batch.inputs):
            memory = layer.pop("memory")[0].T
            span = max(float(np.abs(memory).max()), 1e-9)
            images = {"memory": (memory / span + 1) / 2}
            for name, weights in layer.items():
                for head in range(weights.shape[2]):
                    images[f"{name}/{head + 1}"] = weights[0, :, head].T
            board.add_images(images, row["step"])

    return log


def _read_result(folder):
    path = inside(folder, "result.json")
    try:
        result = read_json(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} has no result.json: the run has not ended yet"
        ) from error
    rows = result.get("measures") if isinstance(result, dict) else None
    if not isinstance(rows, list) or not all(map(_is_measure, rows)):
        raise ValueError(f"{path} is damaged: it holds no measures: {shorten(result, 100)}")
    return result


def _is_measure(row):
    """Whether this is a row as :meth:`ntm.experiments.Run.measure` gives it."""
    return (
        isinstance(row, dict)
        and isinstance(row.get("sizes"), dict)
        and len(row) > 1
        and all(map(_is_number, row["sizes"].values()))
        and all(
            value is None or _is_number(value) for name, value in row.items() if name != "sizes"
        )
    )


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_losses(folder):
    path = inside(folder, "metrics.jsonl")
    rows = [row for row in read_json_lines(path) if "loss" in row]
    for row in rows:
        if not _is_number(row.get("sequences")) or not (
            row["loss"] is None or _is_number(row["loss"])
        ):
            raise ValueError(f"{path} is damaged: this is no row of losses: {shorten(row, 100)}")
    return [row["sequences"] for row in rows], [row["loss"] for row in rows]


def _save(figure, path):
    save_figure(figure, path)
    print(f"Picture: {path}")


def main(arguments=None):
    """Run the command line; returns the exit code."""
    try:
        with stop_on_signals(NOTICE) as stop:
            options = make_parser().parse_args(arguments)
            stop.check()
            pytensor.config.floatX = "float32"
            return options.run(options)
    except UsageError as error:
        print(f"ntm: {error}", file=sys.stderr)
        return WRONG_USAGE
    except (ValueError, OSError, ImportError, TrainingError) as error:
        print(f"ntm: {error}", file=sys.stderr)
        return FAILED
    except (MemoryError, RuntimeError) as error:
        # JAX has no class of its own for it
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(f"ntm: there is not enough memory: {shorten(error, 200)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("ntm: interrupted; there was nothing new to save", file=sys.stderr)
        return INTERRUPTED
