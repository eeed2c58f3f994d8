"""A program that trains networks in several processes, or in one: for the tests of training together.

    python together.py COUNT INDEX COORDINATOR OUTPUT CASE [CASE ...]

Each case is trained, and written to OUTPUT-CASE-INDEX.npz.
"""

import sys

import numpy as np
import pytensor

import lasagne
import ntm
from lasagne.layers import (
    DenseLayer,
    DropoutLayer,
    InputLayer,
    LSTMLayer,
    RecurrentLayer,
    get_all_params,
)
from ntm.data import Dataset, Stream
from ntm.experiments.networks import NTM, SAM
from ntm.tasks import CopyTask
from ntm.training import KeepBest, Restarter, Rewinder, Trainer, join_processes


class Alternately(Rewinder):
    """Keeps the parameters and goes back to them, in turn."""

    def decide(self, trainer):
        verdict = {3: "keep", 0: "back"}.get(trainer.step_count % 6)
        if verdict == "back":
            self.rewound.append([trainer.step_count, trainer.step_count - 3])
            self.rate *= 0.9
        return verdict


def make_copy_task(batch_size=5):
    return CopyTask(size=2, max_length=3, batch_size=batch_size, seed=0)


def make_recurrent(num_inputs, num_outputs, dropout=0.0):
    layer = InputLayer((None, None, num_inputs))
    if dropout:
        layer = DropoutLayer(layer, dropout)
    layer = RecurrentLayer(layer, 3)
    return DenseLayer(layer, num_outputs, num_leading_axes=2, nonlinearity=None)


def make_lstm(task):
    layer = LSTMLayer(InputLayer((None, None, task.num_inputs)), 3)
    return DenseLayer(layer, task.num_outputs, num_leading_axes=2, nonlinearity=None)


def train_on_task(l_out, task, steps=30, **options):
    trainer = Trainer(l_out, task, **{"learning_rate": 0.02, "clip_norm": 1.0, **options})
    return trainer, {
        "max_steps": steps,
        "solve_every": 10,
        "evaluate_every": 20,
        "evaluate_at": [{"length": 3}],
    }


def make_recovery(steps=120, **options):
    """A curriculum that grows, a rewinder that goes back often, and a restart."""
    task = make_copy_task()
    l_out = make_recurrent(task.num_inputs, task.num_outputs)

    def redraw(number):
        rng = np.random.RandomState(number)
        return [rng.normal(0, 0.5, param.get_value().shape) for param in get_all_params(l_out)]

    trainer, given = train_on_task(
        l_out,
        task,
        steps,
        curriculum="naive",
        curriculum_options={"advance_below": 50.0},
        restarter=Restarter(redraw, after=15, above=0, max_restarts=1),
        learning_rate=0.3,
        **options,
    )
    trainer.rewinder = Alternately()
    return trainer, given


def make_data(**options):
    """Data with weights, whose batches do not divide over devices; the best parameters are put back at the end."""
    rng = np.random.default_rng(0)
    lengths = [3, 4, 2, 4, 1, 3, 4, 2, 4, 3, 1]
    inputs = [rng.normal(size=(length, 2)) for length in lengths]
    targets = [each.cumsum(axis=0)[:, :1] for each in inputs]
    data = Dataset(inputs, targets, weights=rng.uniform(0.5, 2, len(lengths)))
    trainer = Trainer(
        make_recurrent(2, 1),
        data,
        learning_rate=0.05,
        batch_size=5,
        num_buckets=1,
        validation=0.3,
        callbacks=[KeepBest("loss")],
        **options,
    )
    return trainer, {"epochs": 8}


def make_stream(**options):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(7, 12, 2))
    data = Dataset(inputs, inputs.cumsum(axis=1)[..., :1])
    source = Stream(data, 3, batch_size=3)
    return Trainer(make_recurrent(2, 1), source, learning_rate=0.05, **options), {"epochs": 3}


def make_memory(network, **options):
    task = make_copy_task()
    return train_on_task(network.build(task), task, 20, **options)


CASES = {
    "recovery": make_recovery,
    "data": make_data,
    "stream": make_stream,
    "other": lambda **options: make_recovery(clip_value=0.5, **options),
    "dropout": lambda **options: train_on_task(
        make_recurrent(3, 3, dropout=0.3), make_copy_task(), **options
    ),
    "lstm": lambda **options: train_on_task(
        make_lstm(make_copy_task()), make_copy_task(), **options
    ),
    "ntm": lambda **options: make_memory(
        NTM(num_units=4, memory_slots=5, memory_width=3), **options
    ),
    "sam": lambda **options: make_memory(
        SAM(num_units=4, memory_slots=8, memory_width=3, num_reads=2), **options
    ),
}


def run(case, **options):
    """Return the trainer of a case, after training, and the reason that training ended for."""
    lasagne.random.set_rng(np.random.RandomState(1))
    trainer, given = CASES[case](seed=0, mode=ntm.get_mode("jax"), **options)
    return trainer, trainer.train(progress=False, **given)


def describe(trainer):
    """Return all numbers that training has made, by name."""
    rows = [value for row in trainer.evaluations for value in row.values()]
    return {
        "losses": np.array(trainer.losses),
        "evaluations": np.array(rows, float),
        **trainer.get_values(),
    }


def main(count, index, coordinator, output, *cases):
    pytensor.config.floatX = "float64"
    with join_processes(int(count), int(index), coordinator, devices=2, timeout=60) as processes:
        for case in cases:
            trainer, reason = run(case, processes=processes)
            arrays = {name.replace("/", "|"): each for name, each in describe(trainer).items()}
            np.savez(f"{output}-{case}-{index}.npz", **arrays)
            print(case, reason, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
