"""Train a Neural Turing Machine to copy sequences of bits, from scratch.

python examples/copy-task.py
python examples/copy-task.py --controller lstm --seed 3 --output lstm.png --save lstm.safetensors
python examples/copy-task.py --load lstm.safetensors --controller lstm --max-steps 0
"""

import argparse
import sys

from ntm.cli import add_settings, get_settings  # Ctrl-C while it imports: no traceback

# isort: split
import pytensor

import ntm
from lasagne.layers import get_all_param_values, set_all_param_values
from ntm.training.recovery import latest_loss
from ntm.training.trainer import TrainingError
from ntm.visualization.figures import save_figure
from ntm.visualization.sequences import plot_sequence

# ---- Options: the same as of `ntm train copy`

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--output", default="copy-task.png", help="the picture: .png, .pdf or .svg")
parser.add_argument("--show", action="store_true", help="open the picture in a window")
parser.add_argument("--load", metavar="FILE", help="start from this network's parameters")
parser.add_argument("--save", metavar="FILE", help="write the network, a .safetensors file")
add_settings(parser, "copy")
options = parser.parse_args()
pytensor.config.floatX = "float32"

# ---- The task, a network whose output are logits, and what trains it

try:
    settings = get_settings(options, "copy")
    trainer = settings.make_trainer()
except ValueError as error:
    parser.error(str(error))
except KeyboardInterrupt:
    sys.exit(130)
task, l_out = trainer.task, trainer.l_out
if options.load:
    set_all_param_values(l_out, get_all_param_values(ntm.load(options.load)))

# ---- Training, until 2,000 new sequences take less than 0.01 bits each on average

try:
    ended = trainer.train(settings.max_steps, solve_every=settings.solve_every)
except TrainingError as error:
    sys.exit(f"{parser.prog}: {error}")
bits = latest_loss(trainer, 200)
print(f"{ended.capitalize()} after {trainer.num_sequences} sequences: {bits:.4f} bits a sequence.")
if options.save:
    ntm.save(options.save, l_out)
    print(f"Network: {options.save}")

# ---- How far it generalises: sequences six times as long as any in training

print("\nlength   wrong bits per sequence")
longest = trainer.count_steps(settings.evaluate_at)
for sizes in settings.evaluate_at:
    measured = trainer.evaluate(sizes, num_sequences=100, num_steps=longest)
    print(f"{sizes['length']:6d}   {measured['wrong_bits']:.2f}")

# ---- What it does inside: where the heads write and read

batch = task.sample(1, length=task.sizes["length"][1])
inside = trainer.look_inside(batch.inputs)
if options.show:
    import matplotlib.pyplot as plt

    figure = plt.figure()
else:
    figure = None
figure = plot_sequence(
    batch.inputs[0],
    batch.targets[0],
    trainer.predict(batch.inputs)[0],
    *[inside[0][name][0] for name in ("write_weights", "read_weights") if inside],
    mask=batch.mask[0],
    title=f"{settings.model}, copy task, {task.sizes['length'][1]} vectors of {task.size} bits",
    figure=figure,
)
save_figure(figure, options.output)
print(f"\nPicture: {options.output}")
if options.show:
    plt.show()
