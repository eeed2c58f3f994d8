"""Forecast a series of months a year ahead: carbon dioxide in the air of Mauna Loa, 1958 to 2001.

python examples/forecast.py
python examples/forecast.py --seed 3 --model lstm

The same with commands, once this program has written forecast/train.npz and forecast/test.npz
(see docs/how-to/your-data.md).

The package that this example needs: pip install '.[examples]'
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from statsmodels.datasets import co2

import lasagne
import ntm
from lasagne.layers import DenseLayer, InputLayer, LSTMLayer, count_params
from ntm import NTMLayer, ReadHead, WriteHead
from ntm.data import write_npz
from ntm.training import Trainer, make_schedule
from ntm.visualization import FULL_WIDTH, STYLE, save_figure

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--seed", type=int, default=0, help="of parameters and batches (default: 0)")
parser.add_argument("--steps", type=int, help="of training (default: 150, of the LSTM 60)")
parser.add_argument("--model", choices=["ntm", "lstm"], default="ntm", help="(default: ntm)")
parser.add_argument("--folder", type=Path, default="forecast", help="(default: %(default)s)")
parser.add_argument("--only-data", action="store_true", help="write the files of data, and end")
options = parser.parse_args()
num_steps = options.steps or {"ntm": 150, "lstm": 60}[options.model]  # later they overfit

WINDOW, AHEAD = 60, 12  # months that the network reads, and months that it forecasts

# ---- The data: weekly values with gaps become means of months; five months without a value are interpolated

months = co2.load_pandas().data["co2"].resample("MS").mean().interpolate()

# The level rises, and has a season. The network gets neither: it gets the growth since the same month a year before.
# The years from 1990 on are held out: not even the mean and the standard deviation come from them.
growth = months.diff(12).dropna()
mean, std = growth[:"1989"].mean(), growth[:"1989"].std()
scaled = ((growth - mean) / std).to_numpy("float32")
num_training = len(growth[:"1989"])

# Each window of 60 months is a sequence. Its targets are the same months, one month later
windows = np.lib.stride_tricks.sliding_window_view(scaled, WINDOW + 1)[:, :, None]
inputs, targets = windows[:, :-1], windows[:, 1:]
num_windows = num_training - WINDOW  # those whose last target is in 1989 or before
# In training, the first year of a window does not count: the network has seen too little then. Of the held-out windows
# only the last month counts, so that each month from 1990 on counts once
mask = np.ones((len(windows), WINDOW), "float32")
mask[:num_windows, :12] = 0
mask[num_windows:, :-1] = 0
train = {
    "inputs": inputs[:num_windows],
    "targets": targets[:num_windows],
    "mask": mask[:num_windows],
}
test = {
    "inputs": inputs[num_windows:],
    "targets": targets[num_windows:],
    "mask": mask[num_windows:],
}
options.folder.mkdir(parents=True, exist_ok=True)
write_npz(options.folder / "train.npz", **train)
write_npz(options.folder / "test.npz", **test)
print(f"Training: {ntm.Dataset(**train).describe()}.")
if options.only_data:
    raise SystemExit

# ---- The network predicts the next month at each step

ntm.use_jax()  # compile to JAX, compute in float32
lasagne.random.set_rng(np.random.RandomState(options.seed))
l_in = InputLayer((None, None, 1))  # (batch, time, features)
if options.model == "ntm":
    l_hidden = NTMLayer(l_in, (16, 8), lambda l: DenseLayer(l, 32), [WriteHead, ReadHead])
else:
    l_hidden = LSTMLayer(l_in, 20)  # as many parameters
l_out = DenseLayer(l_hidden, 1, num_leading_axes=2, nonlinearity=None)
print(f"{options.model}: {count_params(l_out, trainable=True):,} parameters")

# ---- Training. Stop the program and run it again: training goes on from the checkpoint

trainer = Trainer(
    l_out,
    ntm.Dataset(**train),
    learning_rate=3e-3,
    schedule=make_schedule("cosine", options={"total": num_steps}),
    clip_norm=1.0,
    seed=options.seed,
)
name = f"{options.model}-{options.seed}"
trainer.train(num_steps, checkpoint=options.folder / f"{name}.checkpoint")
ntm.save(options.folder / f"{name}.safetensors", l_out)
error = trainer.evaluate(test)["mse"]
print(f"One month ahead, the squared error is {error:.3f} of the variance of the training years.")

# ---- Twelve months ahead: the network reads 60 months, then its own outputs. From each month of 1990 to 2000

values = months.to_numpy()
start = months.index.get_loc("1990-01-01")
origins = np.arange(start, len(values) - AHEAD + 1)  # the first month of each forecast
horizon = origins[:, None] + np.arange(AHEAD)  # (origins, months ahead)

prefixes = inputs[num_windows : num_windows + len(origins)]
generated = ntm.generate(l_out, prefixes, steps=AHEAD)[:, :, 0]
year_before = values[horizon - 12]
trend = (values[origins - 1] - values[origins - 121]) / 10  # of the last ten years, a year
forecasts = {
    f"{options.model}, seed {options.seed}": year_before + generated * std + mean,
    "seasonal naive: the year before": year_before,
    "seasonal naive and trend": year_before + trend[:, None],
}
errors = {name: abs(each - values[horizon]).mean(axis=0) for name, each in forecasts.items()}
print(
    f"\nMean absolute error in ppm, of {len(origins)} forecasts\nmonths ahead: 1     3     6    12  1-12"
)
for label, each in errors.items():
    row = "  ".join(f"{each[ahead - 1]:.2f}" for ahead in (1, 3, 6, 12))
    print(f"        {row}  {each.mean():.2f}  {label}")

plt.style.use(STYLE)
figure, (above, below) = plt.subplots(2, 1, figsize=(FULL_WIDTH, 4.6), layout="constrained")
above.plot(months["1988":], "k", linewidth=1, label="measured")
for k in range(0, len(origins), 12):  # the forecasts from January on
    forecast = forecasts[f"{options.model}, seed {options.seed}"][k]
    label = f"forecast of the {options.model.upper()}, each January" if k == 0 else None
    above.plot(months.index[horizon[k]], forecast, "C0", linewidth=2, alpha=0.7, label=label)
above.set_ylabel("carbon dioxide in ppm")
above.legend()
for label, each in errors.items():
    below.plot(range(1, AHEAD + 1), each, "o-", label=label)
below.set(xlabel="months ahead", ylabel="mean absolute error in ppm", ylim=(0, None))
below.legend()
save_figure(figure, options.folder / f"{name}.png")
print(f"\nPicture: {options.folder / name}.png")
