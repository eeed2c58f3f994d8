"""Experiments: networks for the tasks, the settings of a training run, and runs in folders."""

from ntm.experiments.networks import MODELS
from ntm.experiments.reading import read_settings
from ntm.experiments.runs import Run
from ntm.experiments.settings import OPTIMIZERS, Settings, make_settings

__all__ = ["MODELS", "OPTIMIZERS", "Run", "Settings", "make_settings", "read_settings"]
