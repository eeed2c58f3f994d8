"""Write a controller of your own: as a function of Lasagne layers, and as a class with a state of its own.

python examples/own-controller.py
python examples/own-controller.py --controller function --seed 3
"""

import argparse

import numpy as np
import pytensor.tensor as pt

import lasagne
import ntm
from lasagne.init import GlorotUniform
from lasagne.layers import DenseLayer, InputLayer
from ntm import Controller, DNCLayer, LSTMController
from ntm.tasks import CopyTask
from ntm.training import Trainer

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--controller", choices=["function", "class"], default="class")
parser.add_argument("--seed", type=int, default=0, help="of parameters and sequences (default: 0)")
parser.add_argument("--steps", type=int, default=2000, help="of training (default: 2000)")
options = parser.parse_args()

ntm.use_jax()  # compile to JAX, compute in float32
lasagne.random.set_rng(np.random.RandomState(options.seed))


# ---- A function from layer to layer
#
# The argument gives the input and the vectors that the read heads just read, side by side. Dense layers, dropout and
# recurrent cells may be stacked as in any Lasagne network.


def make_controller(l_input):
    """Return an LSTM on top of a dense layer."""
    l_dense = DenseLayer(l_input, 64)
    return LSTMController(l_dense, num_units=64)


# ---- A class


class LeakyController(Controller):
    """A recurrent controller whose units change slowly, each at a rate that it learns.

    The candidate is ``c = tanh(x W_in + r W_reads + h W_hid + b)``, the new output ``h + rate * (c - h)``.
    """

    def __init__(self, incoming, memory_shape, num_units, num_reads, **kwargs):
        super().__init__(incoming, memory_shape, num_units, num_reads, **kwargs)
        width = memory_shape[1]
        self.W_in = self.add_param(GlorotUniform(), (self.num_inputs, num_units), name="W_in")
        self.W_reads = self.add_param(
            GlorotUniform(), (num_reads * width, num_units), name="W_reads"
        )
        self.W_hid = self.add_param(GlorotUniform(), (num_units, num_units), name="W_hid")
        self.b = self.add_param(lasagne.init.Constant(0), (num_units,), name="b")
        self.rate = self.add_param(lasagne.init.Constant(0), (num_units,), name="rate")

    def step(self, input, reads, hidden, **kwargs):
        """Return the new state, a list of tensors (B, H): here the output alone."""
        candidate = pt.tanh(
            pt.dot(input, self.W_in)
            + pt.dot(reads, self.W_reads)
            + pt.dot(hidden, self.W_hid)
            + self.b
        )
        return [hidden + pt.sigmoid(self.rate) * (candidate - hidden)]


# ---- Both drive any memory layer

task = CopyTask(size=4, max_length=5, batch_size=16, seed=options.seed)
memory_shape = (16, 12)
l_in = InputLayer((None, None, task.num_inputs))
if options.controller == "function":
    controller = make_controller
else:
    controller = LeakyController(l_in, memory_shape, num_units=64, num_reads=1, name="controller")
l_dnc = DNCLayer(l_in, memory_shape, controller, num_reads=1)
l_out = DenseLayer(l_dnc, task.num_outputs, num_leading_axes=2, nonlinearity=None)

trainer = Trainer(
    l_out,
    task,
    update=lasagne.updates.adam,
    learning_rate=3e-3,
    clip_norm=10.0,
    seed=options.seed,
)
ended = trainer.train(options.steps)
print(f"{ended.capitalize()} after {trainer.step_count:,} steps.")
measures = trainer.evaluate({"length": 5}, num_sequences=200)
print(f"5 vectors of 4 bits: {measures['correct']:.0%} of sequences right")
