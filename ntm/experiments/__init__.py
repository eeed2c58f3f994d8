"""Experiments: networks for tasks and data, the settings of a training run, and runs in folders."""

from ntm.experiments.data_runs import DataRun, open_data_evaluator
from ntm.experiments.data_settings import DataSettings, make_data_settings
from ntm.experiments.networks import MODELS
from ntm.experiments.reading import read_settings
from ntm.experiments.runs import Run
from ntm.experiments.settings import OPTIMIZERS, Settings, make_settings

__all__ = [
    "MODELS",
    "OPTIMIZERS",
    "DataRun",
    "DataSettings",
    "Run",
    "Settings",
    "make_data_settings",
    "make_settings",
    "open_data_evaluator",
    "read_settings",
]
