"""The settings of a run as options of the command line."""

import argparse
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from ntm.arguments import Number
from ntm.experiments.defaults import Block, get_blocks
from ntm.experiments.networks import MODELS, get_model_options
from ntm.experiments.options import Option, get_options, get_task_options
from ntm.experiments.own_tasks import name_task
from ntm.experiments.settings import OLD_SETTINGS, Settings, make_settings
from ntm.tasks import Task

#: An option of several curricula, which have no options of their own on the command line else
ADVANCE_BELOW = Option(
    "advance_below",
    float,
    1.0,
    "loss below which a curriculum that waits for it goes on to larger sizes: naive, look-back, look-back-and-forward, "
    "exponential, hardest-last",
    Number(float, above=0),
)

#: Options of networks that have an effect for data only
FOR_DATA = ("embedding_size",)


def get_training_options() -> dict[str, Option]:
    """Return the settings that are options of the command line as they are, by name."""
    return {
        name: each
        for name, each in get_options(Settings).items()
        if each.kind not in (dict, list) and name not in ("task", "model")
    }


def get_network_options(for_data: bool = False) -> dict[str, dict[str, Option]]:
    """Return the options of all networks: by name, and for each by the networks that have it.

    Parameters
    ----------
    for_data : bool
        Whether the options are among them that have an effect for data only.
    """
    found: dict[str, dict[str, Option]] = {}
    for model in MODELS:
        for name, each in get_model_options(model).items():
            if for_data or name not in FOR_DATA:
                found.setdefault(name, {})[model] = each
    return found


def add_settings(
    parser: argparse.ArgumentParser, task: str | type[Task], choose_model: bool = True
) -> None:
    """Add the options of a training run for a task. An option that is not given is left out of the parsed namespace.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    task : str or type
        A name in :data:`ntm.tasks.TASKS`, or a class of the user's own.
    choose_model : bool
        Whether ``--model`` is among them.

    Raises
    ------
    argparse.ArgumentError
        If an option of a task of the user's own has the name of another option.
    """
    settings = {model: make_settings(task, model) for model in MODELS}
    name = task if isinstance(task, str) else name_task(task)
    group = parser.add_argument_group(f"the task {name}")
    task_options = get_task_options(task)
    for each in task_options.values():
        default = settings["ntm"].task_options.get(each.name, each.default)
        add_option(group, each, f"{each.help} (default: {default})".lstrip())

    group = parser.add_argument_group("the network")
    if choose_model:
        group.add_argument(
            "--model", choices=MODELS, default="ntm", help="the network (default: %(default)s)"
        )
    for option, models in get_network_options().items():
        defaults = {
            model: settings[model].model_options.get(option, each.default)
            for model, each in models.items()
        }
        each = next(iter(models.values()))
        add_option(group, each, f"{join_helps(models)} {describe_defaults(defaults)}")

    group = parser.add_argument_group("training", _describe_controllers(name))
    for option, each in get_training_options().items():
        defaults = {model: getattr(settings[model], option) for model in MODELS}
        add_option(group, each, f"{each.help} {describe_defaults(defaults)}")
    for old, new in OLD_SETTINGS.items():
        each = get_training_options()[new]
        add_option(group, each, argparse.SUPPRESS, flag=_make_flag(old))
    default = settings["ntm"].curriculum_options.get(ADVANCE_BELOW.name, ADVANCE_BELOW.default)
    add_option(group, ADVANCE_BELOW, f"{ADVANCE_BELOW.help} (default: {default})")


def _make_flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def join_helps(models: Mapping[str, Option]) -> str:
    """Return the help of an option that networks have, with the networks that have it."""
    helps: dict[str, list[str]] = {}
    for model, each in models.items():
        helps.setdefault(each.help, []).append(model)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in helps.items())


def describe_defaults(defaults: Mapping[str, Any]) -> str:
    """Return the default of an option, given that of each network: "(default: 0.001, but 0.01 for lstm, gru)"."""
    models: dict[str, list[str]] = {}
    for model, value in defaults.items():
        models.setdefault(str(value), []).append(model)
    first, *others = models
    if not others:
        return f"(default: {first})"
    parts = "; ".join(f"{each} for {', '.join(models[each])}" for each in others)
    return f"(default: {first}, but {parts})"


def _describe_controllers(task: str) -> str | None:
    """Return a note on the controllers that have defaults of their own."""
    blocks = get_blocks(task)
    notes = [
        f"With --model {model} --controller {controller} the defaults are {_list_changes(blocks[model], block)}."
        for name, block in blocks.items()
        for model, _, controller in [name.partition("-")]
        if controller
    ]
    return textwrap.fill(" ".join(notes), 100) or None


def _list_changes(block: Block, other: Block) -> str:
    return ", ".join(
        f"{_make_flag(name)} {value}" for name, value in other.items() if value != block.get(name)
    )


def add_option(
    group: argparse._ArgumentGroup, option: Option, help: str, flag: str | None = None
) -> None:
    """Add an option to a group of a parser."""
    if help != argparse.SUPPRESS:
        help = help.replace("%", "%%")
    flag = flag or _make_flag(option.name)
    common: dict[str, Any] = {
        "dest": option.name,
        "default": argparse.SUPPRESS,
        "help": help,
    }
    if option.kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
    elif option.choices:
        group.add_argument(flag, choices=option.choices, **common)
    else:
        metavar = {int: "N", float: "X"}.get(option.kind, "NAME")
        metavar = "|".join([metavar, *option.words, *(["None"] if option.optional else [])])
        group.add_argument(flag, type=option.parse, metavar=metavar, **common)


def get_settings(
    options: argparse.Namespace, task: str | type[Task], model: str | None = None
) -> Settings:
    """Return the settings that parsed options ask for.

    Parameters
    ----------
    options : argparse.Namespace
    task : str or type
    model : str, optional
        Instead of ``--model``.

    Raises
    ------
    ValueError
        If they do not fit the task or the network.
    """
    parts = list_chosen(options, get_training_options())
    parts["task_options"] = list_chosen(options, get_task_options(task))
    parts["model_options"] = list_chosen(options, get_network_options())
    if ADVANCE_BELOW.name in options:
        parts["curriculum_options"] = list_chosen(options, [ADVANCE_BELOW.name])
    settings = make_settings(task, model or options.model, **parts)
    if settings.own_task is not None:
        settings.evaluate_at = [settings.make_task().largest_sizes]
    return settings


def list_chosen(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return those of some options that were given, by name."""
    return {name: getattr(options, name) for name in names if name in options}
