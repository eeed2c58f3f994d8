"""Sweeps: many runs of one folder, over seeds and settings, on the cores of this machine or on a cluster."""

from ntm.sweeps.engine import Ended, Engine
from ntm.sweeps.local import LocalEngine
from ntm.sweeps.optuna_search import OptunaSearch
from ntm.sweeps.ray_engine import ClusterError, RayEngine
from ntm.sweeps.search import FixedSearch, Search
from ntm.sweeps.space import Choices, Range, draw_configurations, list_configurations, parse_space
from ntm.sweeps.states import Status, TrialState, read_state
from ntm.sweeps.sweep import Sweep
from ntm.sweeps.trials import Trial, make_trial, read_trials, run_trial

__all__ = [
    "Choices",
    "ClusterError",
    "Ended",
    "Engine",
    "FixedSearch",
    "LocalEngine",
    "OptunaSearch",
    "Range",
    "RayEngine",
    "Search",
    "Status",
    "Sweep",
    "Trial",
    "TrialState",
    "draw_configurations",
    "list_configurations",
    "make_trial",
    "parse_space",
    "read_state",
    "read_trials",
    "run_trial",
]
