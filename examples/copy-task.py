"""Train a Neural Turing Machine to copy sequences of bits, from scratch.

python examples/copy-task.py
python examples/copy-task.py --controller lstm --seed 3 --output lstm.png --save lstm.npz
python examples/copy-task.py --load lstm.npz --controller lstm --max-iter 0
"""

import argparse
from collections import deque
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from tqdm import tqdm

import lasagne
from lasagne.init import Constant
from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.nonlinearities import linear, rectify, sigmoid, softplus, tanh
from lasagne.utils import floatX
from ntm.backends import BACKENDS, get_mode
from ntm.checkpoints import load_parameters, save_parameters
from ntm.controllers import DenseController, GRUController, LSTMController, RecurrentController
from ntm.evaluation import bits_per_sequence, wrong_bits_per_sequence
from ntm.heads import ReadHead, WriteHead
from ntm.layers import NTMLayer
from ntm.memory import Memory
from ntm.nonlinearities import one_plus_softplus
from ntm.tasks import CopyTask
from ntm.updates import centered_rmsprop, graves_rmsprop
from ntm.visualization import plot_sequence, save_figure

# ---- Options

CONTROLLERS = {
    "dense": (DenseController, rectify),
    "recurrent": (RecurrentController, tanh),
    "gru": (GRUController, tanh),
    "lstm": (LSTMController, tanh),
}
OPTIMIZERS = {
    "centered_rmsprop": centered_rmsprop,
    "graves_rmsprop": graves_rmsprop,
    "adam": lasagne.updates.adam,
    "rmsprop": lasagne.updates.rmsprop,
    "sgd": lasagne.updates.sgd,
}
parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--seed", type=int, default=1, help="of parameters and sequences")
parser.add_argument("--size", type=int, default=8, help="bits in a vector")
parser.add_argument("--max-length", type=int, default=20, help="vectors in the longest sequence")
parser.add_argument("--batch-size", type=int, default=1, help="sequences in a training step")
parser.add_argument("--max-iter", type=int, default=20000, help="training steps at most")
parser.add_argument("--controller", choices=CONTROLLERS, default="dense")
parser.add_argument("--num-units", type=int, default=100, help="units of the controller")
parser.add_argument("--memory-slots", type=int, default=128)
parser.add_argument("--memory-width", type=int, default=20)
parser.add_argument("--optimizer", choices=OPTIMIZERS, default="centered_rmsprop")
parser.add_argument("--learning-rate", type=float, default=1e-4)
parser.add_argument("--backend", choices=BACKENDS, default="jax")
parser.add_argument("--device", help="cpu, gpu or gpu:1, ... for jax; by default what JAX finds")
parser.add_argument("--output", default="copy-task.png", help="the picture: .png, .pdf or .svg")
parser.add_argument("--show", action="store_true", help="open the picture in a window")
parser.add_argument("--load", metavar="FILE", help="start from these parameters")
parser.add_argument("--save", metavar="FILE", help="write the parameters, an .npz file")
options = parser.parse_args()
for path in (options.output, options.save):
    if path and not Path(path).absolute().parent.is_dir():
        parser.error(f"there is no folder {Path(path).parent} to write {path} to")
if Path(options.output).suffix not in (".png", ".pdf", ".svg"):
    parser.error(f"--output must end in .png, .pdf or .svg, not {options.output!r}")

pytensor.config.floatX = "float32"
try:
    mode = get_mode(options.backend, options.device)
except ValueError as error:
    parser.error(str(error))
lasagne.random.set_rng(np.random.RandomState(options.seed))
task = CopyTask(
    size=options.size,
    max_length=options.max_length,
    batch_size=options.batch_size,
    seed=options.seed,
)

# ---- The network: an NTM with one write and one read head, and a dense layer that reads off the bits

input_var, target_var, mask_var = pt.tensor3("input"), pt.tensor3("target"), pt.matrix("mask")
memory_shape = (options.memory_slots, options.memory_width)
Controller, controller_nonlinearity = CONTROLLERS[options.controller]

l_input = InputLayer((None, None, task.num_inputs), input_var)
memory = Memory(memory_shape, memory_init=Constant(1e-6), learn_init=False, name="memory")
controller = Controller(
    l_input,
    memory_shape=memory_shape,
    num_units=options.num_units,
    num_reads=1,
    nonlinearity=controller_nonlinearity,
    learn_init=True,
    name="controller",
)
addressing = {
    "memory_shape": memory_shape,
    "num_shifts": 3,
    "shift_mode": "circular",
    "nonlinearity_key": rectify,
    "nonlinearity_beta": softplus,
    "nonlinearity_gate": sigmoid,
    "nonlinearity_gamma": one_plus_softplus,
    # Heads that start by moving forward, and sharply, find the algorithm. Where the two start in different
    # directions training can get stuck; where they start by standing still it learns to blur
    "b_hid_to_shift": floatX(np.array([-1.0, -1.0, 0.0])),
    "b_hid_to_gamma": Constant(1.0),
}
heads = [
    WriteHead(
        controller,
        nonlinearity_erase=sigmoid,
        nonlinearity_add=rectify,
        name="write",
        **addressing,
    ),
    ReadHead(controller, name="read", **addressing),
]
l_ntm = NTMLayer(l_input, memory=memory, controller=controller, heads=heads, name="ntm")
l_output = DenseLayer(
    l_ntm, num_units=task.num_outputs, nonlinearity=linear, num_leading_axes=2, name="dense"
)
if options.load:
    load_parameters(options.load, l_output)

# ---- Training minimises the cross-entropy of a whole sequence's answer, in nats

# From logits, a prediction that is surely wrong still has a gradient; a clipped probability has none
logits = get_output(l_output)
prediction = pt.sigmoid(logits)
errors = (pt.softplus(logits) - target_var * logits) * mask_var[:, :, None]
loss = errors.sum() / input_var.shape[0]

params = get_all_params(l_output, trainable=True)
grads = [pt.clip(grad, -1.0, 1.0) for grad in pytensor.grad(loss, params)]
updates = OPTIMIZERS[options.optimizer](grads, params, learning_rate=options.learning_rate)

train = pytensor.function([input_var, target_var, mask_var], loss, updates=updates, mode=mode)
traces = get_output(l_ntm, get_details=True)  # memory, hidden, state, write and read weights
predict = pytensor.function([input_var], prediction, mode=mode)
look_inside = pytensor.function([input_var], [prediction, traces[3], traces[4]], mode=mode)


def measure(function, batch, batch_size=100):
    """Apply a measure of ntm.evaluation to a batch, `batch_size` sequences at a time."""
    parts = []
    for start in range(0, len(batch.inputs), batch_size):
        part = [array[start : start + batch_size] for array in batch]
        parts.append(function(predict(part[0]), part[1], part[2]))
    return np.concatenate(parts).mean()


# ---- The loop: until 500 new sequences take less than 0.01 bits each, on average

num_steps = task.num_steps(options.max_length)
recent = deque(maxlen=200)
solved = False
check_at = 0
progress = tqdm(range(options.max_iter), unit="seq", unit_scale=options.batch_size)
try:
    for iteration in progress:
        # Padding every batch to one length costs less than compiling for each length
        recent.append(float(train(*task.sample(num_steps=num_steps))) / np.log(2))
        if not np.isfinite(recent[-1]):
            print(f"\nStopped: the loss is {recent[-1]} at step {iteration + 1}.")
            break
        if iteration % 20 == 0:
            progress.set_description(f"{np.mean(recent):.3g} bits/seq", refresh=False)
        if iteration >= check_at and len(recent) == 200 and np.mean(recent) < 0.02:
            bits = measure(bits_per_sequence, task.sample(500, num_steps=num_steps))
            check_at = iteration + 200
            if bits < 0.01:
                solved = True
                break
except KeyboardInterrupt:
    print("\nInterrupted.")
progress.close()
if solved:
    sequences = (iteration + 1) * options.batch_size
    print(f"Solved after {sequences} sequences: {bits:.4f} bits a sequence.")

# ---- The result: how far it generalises, and what it does inside

if options.save:
    save_parameters(options.save, l_output)
    print(f"Parameters: {options.save}")

print("\nlength   wrong bits per sequence")
lengths = [10, 20, 40, 60, 80, 100, 120]
for length in lengths:
    batch = task.sample(100, length=length, num_steps=task.num_steps(max(lengths)))
    print(f"{length:6d}   {measure(wrong_bits_per_sequence, batch):.2f}")

batch = task.sample(1, length=options.max_length)
predicted, write_weights, read_weights = (np.asarray(x[0]) for x in look_inside(batch.inputs))
if options.show:
    import matplotlib.pyplot as plt

    figure = plt.figure()
else:
    figure = None
figure = plot_sequence(
    batch.inputs[0],
    batch.targets[0],
    predicted,
    write_weights,
    read_weights,
    mask=batch.mask[0],
    title=f"NTM, copy task, {options.max_length} vectors of {options.size} bits",
    figure=figure,
)
save_figure(figure, options.output)
print(f"\nPicture: {options.output}")
if options.show:
    plt.show()
