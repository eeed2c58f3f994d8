"""Classify sequences of many lengths: which symbol comes twice?

python examples/classify-sequences.py
python examples/classify-sequences.py --seed 3 --steps 500
"""

import argparse

import numpy as np
import pytensor
import pytensor.tensor as pt

import lasagne
import ntm
from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.nonlinearities import softmax
from lasagne.objectives import categorical_crossentropy
from lasagne.updates import adam, total_norm_constraint
from ntm import NTMLayer, ReadHead, WriteHead

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--seed", type=int, default=0, help="of parameters and sequences (default: 0)")
parser.add_argument("--steps", type=int, default=2000, help="of training (default: 2000)")
options = parser.parse_args()

ntm.use_jax()  # compile to JAX, compute in float32
lasagne.random.set_rng(np.random.RandomState(options.seed))
rng = np.random.default_rng(options.seed)

NUM_SYMBOLS, LONGEST = 10, 8


def draw_batch(size):
    """Draw sequences of symbols, one of which comes twice.

    Returns
    -------
    inputs : array (B, T, F) of float32
        One-hot symbols.
    mask : array (B, T) of float32
        One up to the end of a sequence, zero in its padding.
    classes : array (B,) of int32
        The symbol that comes twice.
    """
    inputs = np.zeros((size, LONGEST, NUM_SYMBOLS), "float32")
    mask = np.zeros((size, LONGEST), "float32")
    classes = np.zeros(size, "int32")
    for k in range(size):
        length = rng.integers(3, LONGEST + 1)
        symbols = rng.permutation(NUM_SYMBOLS)[: length - 1]
        classes[k] = symbols[0]
        symbols = rng.permutation(np.append(symbols, symbols[0]))
        inputs[k, np.arange(length), symbols] = 1
        mask[k, :length] = 1
    return inputs, mask, classes


# ---- The network gives one answer for each sequence: `only_return_final` returns the output of the last step

inputs, mask, classes = pt.tensor3("inputs"), pt.matrix("mask"), pt.ivector("classes")
l_in = InputLayer((None, None, NUM_SYMBOLS), inputs)  # (batch, time, features)
l_mask = InputLayer((None, None), mask)  # where it is zero, the layer's state stays as it was
l_ntm = NTMLayer(
    l_in,
    memory=(16, 12),
    controller=lambda l: DenseLayer(l, 64),
    heads=[WriteHead, ReadHead],
    mask_input=l_mask,
    only_return_final=True,
)
l_out = DenseLayer(l_ntm, NUM_SYMBOLS, nonlinearity=softmax)  # (batch, classes)

prediction = get_output(l_out)
loss = categorical_crossentropy(prediction, classes).mean()
params = get_all_params(l_out, trainable=True)
grads = total_norm_constraint(pytensor.grad(loss, params), 10.0)
updates = adam(grads, params, learning_rate=3e-3)

train = pytensor.function([inputs, mask, classes], loss, updates=updates)
predict = pytensor.function([inputs, mask], prediction.argmax(axis=1))

losses = []
for step in range(1, options.steps + 1):
    losses.append(float(train(*draw_batch(32))))
    if step % 200 == 0:
        print(f"{step:6,d} steps: loss {np.mean(losses[-200:]):.3f}")

inputs, mask, classes = draw_batch(1000)
right = np.asarray(predict(inputs, mask)) == classes
print(f"{right.mean():.1%} of 1,000 new sequences right; by chance {1 / NUM_SYMBOLS:.0%}")
