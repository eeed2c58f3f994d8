"""An engine that runs nothing: it writes into the folders of trials what their runs would."""

import json

from ntm.experiments import make_settings
from ntm.sweeps import Ended, Engine, make_trial


def make_settings_of(seed, **given):
    """Return small settings."""
    return make_settings(
        "copy",
        "dense",
        seed=seed,
        max_steps=10,
        task_options={"max_length": 2},
        evaluate_at=[],
        devices=1,
        **given,
    )


def make_trials(seeds, rates=("0.1",)):
    """Return trials over seeds and learning rates."""
    return [
        make_trial(make_settings_of(seed, learning_rate=float(rate)), {"learning_rate": rate})
        for rate in rates
        for seed in seeds
    ]


def write_result(folder, bits, solved, sequences=10, of_data=False):
    """Write how a run ended."""
    row = {"data": "validation", "loss": bits} if of_data else {"sizes": {}, "bits": bits}
    result = {
        "ended": "solved" if solved else "done",
        "solved": solved,
        "steps": sequences,
        "sequences": sequences,
        "seconds": 2.0,
        "measures": [row],
    }
    (folder / "settings.json").write_text("{}")
    (folder / "result.json").write_text(json.dumps(result))


def write_losses(folder, *losses):
    """Write losses, one every ten steps."""
    rows = [
        {"step": 10 * k, "sequences": 10 * k, "seconds": 1.0 * k, "loss": loss}
        for k, loss in enumerate(losses, 1)
    ]
    (folder / "settings.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class FakeEngine(Engine):
    """Ends the trial that began first at each call of `wait`.

    Parameters
    ----------
    folder : path
        Of the sweep.
    act : callable
        From a trial, its folder and how often the trial has been started to None, or what `wait` returns: an `Ended`
        or None for a trial that goes on.
    slots : int
    """

    def __init__(self, folder, act, slots=2):
        super().__init__(folder)
        self.act, self.slots = act, slots
        self.running, self.started, self.stopped, self.most = [], [], [], 0
        self.is_open = False

    def __enter__(self):
        self.is_open = True
        return self

    def __exit__(self, *exception):
        self.is_open = False

    def count_slots(self):
        return self.slots

    def start(self, trial):
        assert self.is_open
        self.running.append(trial)
        self.started.append(trial.name)
        self.most = max(self.most, len(self.running))

    def stop(self, trial):
        self.stopped.append(trial.name)

    def wait(self, seconds):
        for trial in self.running:
            count = self.started.count(trial.name)
            ended = self.act(trial, trial.find_folder(self.folder), count)
            if ended is not None or trial.name in self.stopped:
                self.running.remove(trial)
                return [ended or Ended(trial)]
        return []
