"""The options of `ntm sweep`, and the trials that they ask for."""

import argparse
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from ntm.arguments import Number
from ntm.cli.data_options import get_data_settings
from ntm.cli.options import get_settings, list_chosen
from ntm.cli.usage import UsageError, blaming_usage, suggest
from ntm.experiments.data_settings import DataSettings, open_files
from ntm.experiments.own_tasks import name_task
from ntm.experiments.settings import Settings
from ntm.sweeps.optuna_search import GOALS
from ntm.sweeps.space import Configuration, Space, parse_seeds
from ntm.sweeps.trials import Trial, make_trial

SEARCHES = ("grid", "random", "optuna")
ENGINES = ("local", "ray")
#: Words of the command line for the values of a switch
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


def add_sweep_options(parser: argparse.ArgumentParser, folder: str) -> None:
    """Add the options of a sweep, but the settings of the runs.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    folder : str
        The folder of the sweep unless one is given, for the help.
    """
    group = parser.add_argument_group("the sweep")
    group.add_argument(
        "--seeds",
        type=_parse_seeds,
        default=list(range(10)),
        metavar="LIST",
        help="seeds of each configuration, such as 0-9 or 0,3,100-104 (default: 0-9)",
    )
    group.add_argument(
        "--set",
        dest="varied",
        nargs="+",
        action="append",
        metavar="NAME=VALUES",
        help="what to vary: a setting below and its values, such as learning_rate=1e-4,3e-4; random and optuna "
        "searches also take ranges, such as clip_norm=0.1..10, or learning_rate=log:1e-5..1e-3 for draws that are "
        "uniform in the logarithm",
    )
    group.add_argument(
        "--search",
        choices=SEARCHES,
        default="grid",
        help="grid: all combinations of the values; random: draws; optuna: what Optuna suggests by the results so far "
        "(pip install 'ntm-lasagne[optuna]') (default: grid)",
    )
    group.add_argument(
        "--trials",
        type=Number(int, 1),
        metavar="N",
        help="for random and optuna: configurations, each trained with all seeds (default: 20)",
    )
    group.add_argument(
        "--search-seed",
        type=Number(int, 0, 2**32 - 1),
        metavar="N",
        help="for random and optuna: seed of the search (default: 0)",
    )
    group.add_argument(
        "--minimise",
        choices=GOALS,
        help="for optuna: measure is the measure by which the task counts as solved, or the loss of data; sequences is "
        "how many it took to solve the task (default: measure)",
    )
    group.add_argument(
        "--prune",
        action="store_true",
        help="for optuna: end a configuration before its time, with one seed by its loss on the way, with several "
        "seeds by the results of the first ones",
    )
    group.add_argument(
        "--folder", metavar="FOLDER", help=f"folder of the sweep (default: {folder})"
    )
    group.add_argument(
        "--report",
        action="store_true",
        help="train nothing: write the report of what the folder holds",
    )
    group.add_argument("--quiet", action="store_true", help="show no table while the sweep runs")
    group = parser.add_argument_group("where the trials run")
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="local: processes on this machine, one core each; ray: a Ray cluster (pip install 'ntm-lasagne[ray]') "
        "(default: local)",
    )
    group.add_argument(
        "--jobs",
        type=Number(int, 1),
        metavar="N",
        help="trials at a time (default: one for each core, of this machine or of the cluster)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="for ray: the cluster, auto for the one that this machine belongs to (default: a cluster of this machine "
        "alone, for as long as the sweep runs)",
    )
    group.add_argument(
        "--gpus",
        type=Number(float, above=0),
        metavar="X",
        help="for ray: GPUs for each trial, such as 1, or 0.25 for four trials that share one (default: none)",
    )


def _parse_seeds(word: str) -> list[int]:
    try:
        return parse_seeds(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def check_sweep_options(options: Namespace) -> None:
    """Raise a `UsageError` if options of a sweep do not fit each other; fill in defaults."""
    if "seed" in options:
        raise UsageError(f"--seed {options.seed}: a sweep takes --seeds, such as --seeds 0-9")
    for name, default, search in (
        ("trials", 20, ("random", "optuna")),
        ("search_seed", 0, ("random", "optuna")),
        ("minimise", "measure", ("optuna",)),
        ("prune", False, ("optuna",)),
    ):
        given = getattr(options, name)
        if given not in (None, False) and options.search not in search:
            raise UsageError(
                f"--{name.replace('_', '-')} is for --search {' and '.join(search)}, not for {options.search}"
            )
        setattr(options, name, default if given is None else given)
    for name in ("address", "gpus"):
        if getattr(options, name) is not None and options.engine != "ray":
            raise UsageError(f"--{name} is for --engine ray")


class TrialMaker:
    """Makes the trials that a command asks for: each configuration is read as if it stood on the command line.

    Parameters
    ----------
    options : Namespace
        The parsed options.
    space : dict from str to Choices or Range
        What is varied.

    Raises
    ------
    UsageError
        If a varied setting is none, or is given besides.
    """

    def __init__(self, options: Namespace, space: Space) -> None:
        self._options, self._parser, self._space = options, options.settings_parser, space
        self._files: dict[Any, Any] = {}
        flags: Mapping[str, argparse.Action] = options.settings_flags
        for name in space:
            if name == "seed":
                raise UsageError("--set seed=...: give the seeds by --seeds")
            if name not in flags:
                raise UsageError(f"--set {name}: there is no such setting{suggest(name, flags)}")
            if getattr(options, name, flags[name].default) != flags[name].default:
                raise UsageError(f"--{name.replace('_', '-')} is given, and varied by --set too")

    def __call__(self, values: Configuration, seed: int, configuration: str | None = None) -> Trial:
        """Return the trial of a configuration and a seed.

        Raises
        ------
        UsageError
            If the settings do not fit each other. A value that is none ends the command.
        """
        words = ["--seed", str(seed)]
        for name, value in values.items():
            words += self._write_option(name, value)
        parsed = Namespace(**vars(self._options))
        if getattr(parsed, "data", None) is not None:
            words += ["--data", parsed.data]
        parsed = self._parser.parse_args(words, parsed)
        if "devices" not in parsed:
            parsed.devices = 1  # The other cores run other trials
        with blaming_usage():
            settings = self._make_settings(parsed)
        return make_trial(settings, values, configuration)

    def describe(self) -> dict[str, Any]:
        """Return what all trials have in common, as JSON takes it: the task, and the settings that are given."""
        options = self._options
        names = [name for name in options.settings_flags if name not in self._space]
        given = list_chosen(options, names)
        if getattr(options, "data", None) is None:
            return {"task": name_task(options.task_class), "settings": given}
        # Files may be moved: each trial knows by a fingerprint what they hold
        if options.metrics:
            given["metrics"] = options.metrics
        if isinstance(options.validation, float):
            given["validation_share"] = options.validation
        return {"settings": given}

    def _make_settings(self, parsed: Namespace) -> Settings | DataSettings:
        if getattr(parsed, "data", None) is None:
            return get_settings(parsed, parsed.task_class)
        key = (getattr(parsed, "kind", None), getattr(parsed, "per", None))
        if key not in self._files:
            self._files[key] = open_files(parsed.data, parsed.validation, *key)
        return get_data_settings(parsed, self._files[key])

    def _write_option(self, name: str, value: str) -> list[str]:
        action = self._options.settings_flags[name]
        flag = action.option_strings[0]
        if action.nargs == 0:  # A switch
            if value.lower() not in (*YES, *NO):
                raise UsageError(f"--set {name}: expected true or false, not {value!r}")
            return [flag if value.lower() in YES else f"--no-{flag[2:]}"]
        return [f"{flag}={value}"]


def find_flags(parser: argparse.ArgumentParser, before: set[str]) -> dict[str, argparse.Action]:
    """Return the options that were added to a parser, by the names of the settings.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    before : set of str
        The destinations of the options that were there before.
    """
    return {
        action.dest: action
        for action in parser._actions
        if action.dest not in before
        and action.option_strings
        and action.dest not in ("help", "data", "validation", "metrics")
        and action.help != argparse.SUPPRESS
    }
