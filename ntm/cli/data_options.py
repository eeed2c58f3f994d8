"""The settings of a run on data as options of the command line."""

import argparse
from typing import Any

from ntm.cli.options import (
    add_option,
    describe_defaults,
    get_network_options,
    join_helps,
    list_chosen,
)
from ntm.experiments.data_settings import DataSettings, Files, choose_settings
from ntm.experiments.defaults import OWN_DATA
from ntm.experiments.networks import MODELS
from ntm.experiments.options import Option, get_options

#: Settings whose options are about the data
ABOUT_DATA = ("kind", "per", "window")
#: Settings that are no options as they are
OTHERS = ("data", "model", "validation", "validation_share")


def get_data_options() -> dict[str, Option]:
    """Return the settings that are options of the command line as they are, by name."""
    return {
        name: each
        for name, each in get_options(DataSettings).items()
        if each.kind not in (dict, list) and name not in OTHERS
    }


def add_data_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training run on data. An option that is not given is left out of the parsed namespace."""
    group = parser.add_argument_group("the data")
    group.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="an .npz file with arrays inputs (or x) and targets (or y), and perhaps mask, lengths and weights; or a "
        "folder of .npy files of these names, or of .npz files",
    )
    group.add_argument(
        "--validation",
        type=parse_validation,
        metavar="FILE|FRACTION",
        help="what to measure the network on after each epoch: a file or folder of data, or the share of the sequences "
        "that is held out, such as 0.2 (default: nothing)",
    )
    add_metrics(group)
    options = get_data_options()
    for name in ABOUT_DATA:
        add_option(group, options[name], options[name].help)

    group = parser.add_argument_group("the network")
    group.add_argument(
        "--model", choices=MODELS, default="ntm", help="the network (default: %(default)s)"
    )
    for name, models in get_network_options(for_data=True).items():
        defaults = {
            model: OWN_DATA[model]["model_options"].get(name, each.default)
            for model, each in models.items()
        }
        each = next(iter(models.values()))
        add_option(group, each, f"{join_helps(models)} {describe_defaults(defaults)}")

    group = parser.add_argument_group("training")
    for name, each in options.items():
        if name not in ABOUT_DATA:
            defaults = {model: OWN_DATA[model].get(name, each.default) for model in MODELS}
            add_option(group, each, f"{each.help} {describe_defaults(defaults)}")


def add_metrics(parser: Any) -> None:
    """Add the option that says what is measured."""
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="what to measure besides the loss: accuracy, error, sequence_error and confusion of classes and bits; "
        "mse, mae and r2 of numbers (default: what is usual for the kind of targets)",
    )


def parse_validation(word: str) -> str | float:
    """Return the share that a word of the command line stands for, or the word, which is a path."""
    try:
        share = float(word)
    except ValueError:
        return word
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(
            f"must be a file, a folder or a fraction between 0 and 1, not {word!r}"
        )
    return share


def get_data_settings(options: argparse.Namespace, files: Files) -> DataSettings:
    """Return the settings that parsed options ask for, given the data.

    Raises
    ------
    ValueError
        If the options do not fit the data or the network.
    """
    parts = list_chosen(options, get_data_options())
    parts["model_options"] = list_chosen(options, get_network_options(for_data=True))
    if options.metrics:
        parts["metrics"] = options.metrics
    return choose_settings(files, options.model, options.validation, **parts)
