"""Train a Neural Turing Machine to copy sequences of bits. Read this file from top to bottom.

python examples/copy-task.py
python examples/copy-task.py --seed 3 --output seed-3.png
"""

import argparse
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt

import lasagne
import ntm
from lasagne.init import Constant, Normal
from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.nonlinearities import rectify, sigmoid, softplus
from lasagne.objectives import binary_crossentropy
from ntm import DenseController, Memory, NTMLayer, ReadHead, WriteHead
from ntm.nonlinearities import one_plus_softplus
from ntm.tasks import CopyTask
from ntm.tasks.measures import bits_per_sequence, wrong_bits_per_sequence
from ntm.updates import centered_rmsprop
from ntm.visualization import check_figure_path, plot_sequence, save_figure

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--seed", type=int, default=2, help="of parameters and sequences (default: 2)")
parser.add_argument("--max-steps", type=int, default=20_000, help="(default: 20000)")
parser.add_argument(
    "--output",
    default="copy-task.png",
    help="the picture: .png, .pdf or .svg (default: %(default)s)",
)
options = parser.parse_args()
try:  # A path that cannot be written ends the program now, not after training
    check_figure_path(options.output)
except (OSError, ValueError) as error:
    parser.error(f"--output {options.output}: {error}")

ntm.use_jax()  # compile to JAX, compute in float32
lasagne.random.set_rng(np.random.RandomState(options.seed))

# ---- The task
#
# Up to twenty random vectors of eight bits, then an end marker, then silence in which the network gives the vectors
# back. The mask is one at the steps of the answer and zero elsewhere.

task = CopyTask(size=8, min_length=1, max_length=20, seed=options.seed)
inputs, targets, mask = pt.tensor3("inputs"), pt.tensor3("targets"), pt.matrix("mask")

# ---- The network

memory_shape = (128, 20)  # slots, numbers in a slot
l_in = InputLayer((None, None, task.num_inputs), inputs)  # (batch, time, features)
memory = Memory(memory_shape, learn_init=False, name="memory")
controller = DenseController(
    l_in, memory_shape, num_units=100, num_reads=1, learn_init=True, name="controller"
)
# From the controller's output, each head computes a key, the key's strength (beta), the interpolation gate between
# content and location, the weights of the shifts by -1, 0 and 1, and a sharpening (gamma).
addressing = {
    "memory_shape": memory_shape,
    "shift_mode": "circular",
    "nonlinearity_key": rectify,
    "nonlinearity_beta": softplus,
    "nonlinearity_gate": sigmoid,
    "nonlinearity_gamma": one_plus_softplus,
    # At first both heads move one slot forward at each step, whatever the input. Training then finds the algorithm
    # that generalises. With larger weights, some seeds learn an algorithm that works up to the training lengths only.
    "b_hid_to_shift": np.array([-1, -1, 0], "float32"),
    "b_hid_to_gamma": Constant(1.0),
    "W_hid_to_beta": Normal(0.01),
    "W_hid_to_gate": Normal(0.01),
    "W_hid_to_shift": Normal(0.01),
    "W_hid_to_gamma": Normal(0.01),
}
write = WriteHead(
    controller, nonlinearity_erase=sigmoid, nonlinearity_add=rectify, name="write", **addressing
)
read = ReadHead(controller, name="read", **addressing)
l_ntm = NTMLayer(l_in, memory, controller, heads=[write, read], name="ntm")
l_out = DenseLayer(l_ntm, task.num_outputs, num_leading_axes=2, nonlinearity=sigmoid, name="output")

# ---- The loss: the cross-entropy of the answer, summed over its bits

prediction = get_output(l_out)
loss = (binary_crossentropy(prediction, targets) * mask[:, :, None]).sum() / inputs.shape[0]

# ---- The update. Clipping keeps a rare large gradient from undoing what was learnt

params = get_all_params(l_out, trainable=True)
grads = [pt.clip(grad, -1, 1) for grad in pytensor.grad(loss, params)]
updates = centered_rmsprop(grads, params, learning_rate=5e-5)

train = pytensor.function([inputs, targets, mask], loss, updates=updates)
predict = pytensor.function([inputs], prediction)

# ---- The loop: one sequence a step, until 2,000 new sequences cost less than 0.01 bits each


def is_solved():
    """Return whether new sequences cost less than 0.01 bits each: nearly every bit is right, and surely so."""
    batch = task.sample(2000, num_steps=task.longest)
    predicted = np.asarray(predict(batch.inputs))
    return bits_per_sequence(predicted, batch.targets, batch.mask).mean() < 0.01


solved = False
losses: list[float] = []
print("Compiling takes some seconds.")
while len(losses) < options.max_steps and not solved:
    # The network is causal: padding after the answer changes nothing before it. With all sequences padded to the
    # longest, JAX compiles the step for one shape only.
    batch = task.sample(num_steps=task.longest)
    nats = float(train(batch.inputs, batch.targets, batch.mask))
    losses.append(nats / np.log(2))
    if len(losses) % 200 == 0:
        recent = np.mean(losses[-200:])
        print(f"{len(losses):6,d} sequences: {recent:8.4f} bits a sequence")
        solved = recent < 0.02 and is_solved()
print(f"{'Solved' if solved else 'Not solved'} after {len(losses):,} sequences.")

# ---- Does it generalise? Sequences up to six times as long as any in training

print("\nlength   wrong bits per sequence")
for length in (20, 40, 80, 120):
    batch = task.sample(100, num_steps=task.num_steps(120), length=length)
    predicted = np.asarray(predict(batch.inputs))
    wrong = wrong_bits_per_sequence(predicted, batch.targets, batch.mask).mean()
    print(f"{length:6d}   {wrong:.2f}")

# ---- What does it do inside? `get_details` gives the weights of the heads at every step

details = get_output(l_ntm, get_details=True)
by_name = dict(zip(l_ntm.detail_names, details, strict=True))
look_inside = pytensor.function([inputs], [by_name["write_weights"], by_name["read_weights"]])

batch = task.sample(1, length=20)
write_weights, read_weights = map(np.asarray, look_inside(batch.inputs))
figure = plot_sequence(
    batch.inputs[0],
    batch.targets[0],
    np.asarray(predict(batch.inputs))[0],
    write_weights[0],
    read_weights[0],
    mask=batch.mask[0],
    title="Neural Turing Machine, copy task: 20 vectors of 8 bits",
)
save_figure(figure, options.output)
print(f"\nPicture: {options.output}")
sys.exit(0 if solved else 3)
