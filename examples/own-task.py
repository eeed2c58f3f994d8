"""Write a task of your own, train a network on it, and measure how it generalises.

python examples/own-task.py
python examples/own-task.py --seed 3 --steps 2000
"""

import argparse

import numpy as np

import lasagne
import ntm
from lasagne.layers import DenseLayer, InputLayer
from ntm import NTMLayer, ReadHead, WriteHead
from ntm.tasks import Task
from ntm.training import Trainer

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--seed", type=int, default=0, help="of parameters and sequences (default: 0)")
parser.add_argument("--steps", type=int, default=5000, help="of training (default: 5000)")
options = parser.parse_args()

ntm.use_jax()  # compile to JAX, compute in float32
lasagne.random.set_rng(np.random.RandomState(options.seed))


class ParityTask(Task):
    """At each step, is the number of ones so far odd?

    A task names its sizes and their ranges, counts the steps of a sequence, and draws one sequence. The base class
    draws the sizes, pads sequences to batches, measures answers and keeps the state of the random generator.
    """

    output = "bits"  # the targets are zeros and ones; the network gives a logit for each
    solved = ("bits", 0.01)  # fewer bits per sequence than this count as solved

    def __init__(self, min_length=1, max_length=8, batch_size=1, seed=None):
        super().__init__(
            num_inputs=1,
            num_outputs=1,
            sizes={"length": (min_length, max_length)},
            batch_size=batch_size,
            seed=seed,
        )

    def num_steps(self, length):
        """Return the time steps of a sequence of this length."""
        return length

    def make(self, rng, length):
        """Draw one sequence: inputs (T, F), targets (T, O) and the weight of each step (T,)."""
        bits = rng.integers(0, 2, (length, 1))
        parity = np.cumsum(bits, axis=0) % 2
        return bits, parity, np.ones(length)


task = ParityTask(batch_size=16, seed=options.seed)
batch = task.sample(batch_size=1, length=8)
print("input ", batch.inputs[0, :, 0].astype(int))
print("target", batch.targets[0, :, 0].astype(int))

# The output layer has no nonlinearity: a Trainer takes logits, and computes the loss that the task's `output` asks for.
l_in = InputLayer((None, None, task.num_inputs))
l_ntm = NTMLayer(l_in, (16, 8), lambda l: DenseLayer(l, 32), [WriteHead, ReadHead])
l_out = DenseLayer(l_ntm, task.num_outputs, num_leading_axes=2, nonlinearity=None)

trainer = Trainer(
    l_out,
    task,
    update=lasagne.updates.adam,
    learning_rate=1e-3,
    clip_norm=10.0,
    seed=options.seed,
)
ended = trainer.train(options.steps)
print(f"{ended.capitalize()} after {trainer.step_count:,} steps.")

for length in (8, 20, 50):
    # Padded to one length, the three share one compilation
    measures = trainer.evaluate({"length": length}, num_sequences=200, num_steps=50)
    print(f"length {length}: {measures['correct']:.0%} of sequences right")
