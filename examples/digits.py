"""Read handwritten digits row by row: data of your own, from arrays to answers.

python examples/digits.py
python examples/digits.py --seed 3 --model lstm

The same with commands, once this program has written digits/train.npz and digits/test.npz
(see docs/how-to/your-data.md).

The package that this example needs: pip install '.[examples]'
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lasagne
import ntm
from lasagne.layers import DenseLayer, InputLayer, LSTMLayer, count_params
from ntm import LSTMController, NTMLayer, ReadHead, WriteHead
from ntm.data import write_npz
from ntm.training import Trainer, make_schedule
from ntm.visualization import FULL_WIDTH, STYLE, save_figure

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--seed", type=int, default=0, help="of parameters and batches (default: 0)")
parser.add_argument("--steps", type=int, default=2000, help="of training (default: 2000)")
parser.add_argument("--model", choices=["ntm", "lstm"], default="ntm", help="(default: ntm)")
parser.add_argument("--folder", type=Path, default="digits", help="(default: %(default)s)")
parser.add_argument("--only-data", action="store_true", help="write the files of data, and end")
options = parser.parse_args()

# ---- The data: 1,797 images of 8 x 8 pixels. Each is a sequence of 8 steps, a row of 8 numbers a step

digits = load_digits()
rows = (digits.images / 16).astype("float32")  # (N, 8, 8), from 0 to 1
# A quarter is held out. The split has a seed of its own, so that all runs are measured on the same digits
x_train, x_test, y_train, y_test = train_test_split(
    rows, digits.target, test_size=0.25, stratify=digits.target, random_state=0
)
options.folder.mkdir(parents=True, exist_ok=True)
write_npz(options.folder / "train.npz", inputs=x_train, targets=y_train)
write_npz(options.folder / "test.npz", inputs=x_test, targets=y_test)
train, test = ntm.Dataset(x_train, y_train), ntm.Dataset(x_test, y_test)
print(f"Training: {train.describe()}.")
if options.only_data:
    raise SystemExit

# ---- The network gives ten logits after each row. The answer is what it gives after the last

ntm.use_jax()  # compile to JAX, compute in float32
lasagne.random.set_rng(np.random.RandomState(options.seed))
l_in = InputLayer((None, None, 8))  # (batch, time, features)
if options.model == "ntm":
    l_hidden = NTMLayer(
        l_in, (16, 12), lambda l: LSTMController(l, num_units=48), [WriteHead, ReadHead]
    )
else:
    l_hidden = LSTMLayer(l_in, 59)  # as many parameters
l_out = DenseLayer(l_hidden, 10, num_leading_axes=2, nonlinearity=None)
print(f"{options.model}: {count_params(l_out, trainable=True):,} parameters")

# ---- Training. Stop the program and run it again: training goes on from the checkpoint

trainer = Trainer(
    l_out,
    train,
    learning_rate=3e-3,
    schedule=make_schedule("cosine", options={"total": options.steps}),
    clip_norm=10.0,
    seed=options.seed,
)
name = f"{options.model}-{options.seed}"
trainer.train(options.steps, checkpoint=options.folder / f"{name}.checkpoint")
ntm.save(options.folder / f"{name}.safetensors", l_out)

# ---- How good is it?

accuracy = trainer.evaluate(test)["accuracy"]
print(f"{accuracy:.1%} of {len(test)} held-out digits right")

# ---- Answers to new images are probabilities (N, T, 10): what the network thinks after each row

probabilities = ntm.Predictor(l_out, kind="classes").predict(x_test)
answers = probabilities[:, -1].argmax(axis=1)
wrong = np.flatnonzero(answers != y_test)
shown = np.append(wrong[:3], np.flatnonzero(answers == y_test)[: 6 - len(wrong[:3])])

plt.style.use(STYLE)
figure, axes = plt.subplots(2, len(shown), figsize=(FULL_WIDTH, 2.8), layout="constrained")
for (image, belief), k in zip(axes.T, shown, strict=True):
    image.imshow(x_test[k], cmap="gray_r")
    image.set(title=f"a {y_test[k]}, read as {answers[k]}", xticks=[], yticks=[])
    belief.imshow(probabilities[k], cmap="Blues", vmin=0, vmax=1)
    belief.set(xlabel="digit", xticks=range(10), yticks=range(8), yticklabels=range(1, 9))
axes[0, 0].set_ylabel("image")
axes[1, 0].set_ylabel("after row")
figure.suptitle("Probability of each digit after each row that was read")
save_figure(figure, options.folder / f"{name}.png")
print(f"Picture: {options.folder / name}.png")
