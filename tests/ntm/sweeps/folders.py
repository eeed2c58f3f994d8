"""Folders of sweeps that never ran: their files are written by hand, in no time."""

import json

import numpy as np

from ntm.experiments.data_settings import make_data_settings
from ntm.experiments.settings import make_settings
from ntm.files import write_json
from ntm.sweeps import Trial, make_trial
from ntm.sweeps.states import note_failure, note_pruned
from ntm.sweeps.sweep import SWEEP

from ..reports.folders import SMALL, TASK, measures, row, write_result, write_rows


def make_copy_trial(values=None, seed=1, name=None, model="ntm", task="copy", **given):
    """A trial on the copy task."""
    given.setdefault("task_options", TASK if task == "copy" else {})
    settings = make_settings(
        task, model, seed=seed, model_options=SMALL[model], evaluate_at=[], **given
    )
    if name is None:
        return make_trial(settings, values)
    return Trial(name, settings, values or {})


def begin_sweep(folder, about=None):
    """Write the file that says that the folder holds a sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SWEEP, about or {})


def put(sweep, trial, status="solved", value=0.005, lengths=(6, 9), **others):
    """Write the files of a trial that is in some state; `value` is its bits in training."""
    steps = 100
    folder = trial.write(sweep)
    if status == "waiting":
        return folder
    (folder / "settings.json").write_text(json.dumps(trial.settings.to_json()))
    rng = np.random.default_rng(trial.seed)
    losses = 8 * np.exp(-np.linspace(0, 5, steps // 10)) * rng.uniform(0.7, 1.3, steps // 10)
    write_rows(folder, [row(10 * (k + 1), float(loss)) for k, loss in enumerate(losses)])
    if status in ("solved", "ended"):
        others.setdefault("solved", status == "solved")
        counts = {"steps": steps, "sequences": steps, "seconds": 60.0 * trial.seed}
        rows = others.pop("rows", None) or measures(lengths, value)
        write_result(folder, rows, **{**counts, **others})
    elif status == "pruned":
        note_pruned(folder, "hopeless")
    elif status == "failed":
        note_failure(folder, others["error"])
    return folder


def make_sweep(folder, rates=("1e-3", "1e-4"), seeds=(0, 1, 2), about=None):
    """A sweep over learning rates that has ended: with the first rate all seeds solved the task, with others none."""
    begin_sweep(folder, about or {"search": "grid", "vary": {"learning_rate": list(rates)}})
    for k, rate in enumerate(rates):
        for seed in seeds:
            trial = make_copy_trial({"learning_rate": rate}, seed, learning_rate=float(rate))
            value = (0.001 if k == 0 else 0.1 * k) * (1 + seed)
            put(folder, trial, "solved" if k == 0 else "ended", value)
    return folder


def make_data_trial(path, values, seed, **given):
    """A trial on a file of data."""
    settings = make_data_settings(
        path, "ntm", seed=seed, validation_share=0.25, model_options=SMALL["ntm"], **given
    )
    return make_trial(settings, values)
