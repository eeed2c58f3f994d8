"""Folders of runs that were never trained: their files are written by hand, in no time."""

import json
from pathlib import Path

import numpy as np

from lasagne.layers import get_all_params
from ntm.experiments.data_runs import DataRun
from ntm.experiments.data_settings import make_data_settings
from ntm.experiments.runs import Run
from ntm.experiments.settings import make_settings

#: A text that runs a script where a page takes the text for HTML, and one that Plotly would take for a link
HOSTILE = "<img src=x onerror='window.hacked=1'></script><script>window.hacked=1</script>"
LINK = "<b><a href='http://evil.example'>x</a></b>"
SMALL = {
    "ntm": {"num_units": 5, "memory_slots": 6, "memory_width": 3},
    "dnc": {"num_units": 5, "memory_slots": 6, "memory_width": 3},
    "sam": {"num_units": 5, "memory_slots": 6, "memory_width": 3},
    "lstm": {"num_units": 5, "num_layers": 1},
}
TASK = {"size": 2, "max_length": 3}


def make_run(folder, model="ntm", steps=100, **given):
    """Begin a run on the copy task and write a checkpoint, without training."""
    given.setdefault("task_options", TASK)
    settings = make_settings("copy", model, model_options=SMALL[model], **given)
    run = Run.create(folder, settings)
    save_checkpoint(run, steps)
    write_rows(folder, [row(step, 8.0 / step) for step in range(10, steps + 1, 10)])
    return run


def save_checkpoint(run, steps, factor=1.0):
    """Write a checkpoint of a run as it is after some steps, its parameters multiplied by a factor."""
    for param in get_all_params(run.trainer.l_out):
        param.set_value((param.get_value() * factor).astype(param.dtype))
    run.trainer.step_count = steps
    run.save()


def make_data_run(folder, path, **given):
    """Begin a run on data and write a checkpoint, without training."""
    given.setdefault("model_options", SMALL["ntm"])
    run = DataRun.create(folder, make_data_settings(path, "ntm", **given))
    save_checkpoint(run, 10)
    rows = [{**row(step, 1.0), "epoch": 1} for step in (5, 10)]
    matrix = np.diag([3, 2, 1]).tolist()
    measured = {"validation loss": 0.5, "validation confusion_matrix": matrix, "training loss": 0.4}
    write_rows(folder, [*rows, {"step": 10, "sequences": 10, "epoch": 1, **measured}])
    return run


def row(step, loss, **others):
    """A row of losses."""
    return {"step": step, "sequences": step, "seconds": step / 100, "loss": loss, **others}


def write_rows(folder, rows):
    text = "".join(json.dumps(each) + "\n" for each in rows)
    (Path(folder) / "metrics.jsonl").write_text(text, encoding="utf-8")


def write_result(folder, measures, **others):
    """Write how a run ended."""
    counts = {"steps": 100, "sequences": 100, "seconds": 1.5, "skipped": 0, "parameters": 321}
    result = {"ended": "max_steps", **counts, "measures": measures, **others}
    (Path(folder) / "result.json").write_text(json.dumps(result), encoding="utf-8")


def measures(lengths=(3, 6), value=0.005):
    """Measures of a run on the copy task: in training, and at some lengths."""
    measured = {"bits": value, "wrong_bits": 0.0, "correct": 1.0}
    return [
        {"sizes": {}, **measured},
        *({"sizes": {"length": each}, **measured} for each in lengths),
    ]
