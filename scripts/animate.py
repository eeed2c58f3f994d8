"""Make the animation of the README, docs/copy.gif: a trained network copies a sequence.

python scripts/animate.py
"""

from pathlib import Path

import numpy as np

import ntm
from ntm.tasks import CopyTask
from ntm.visualization import animate_sequence

PATH = Path(__file__).parents[1] / "docs" / "copy.gif"


def main() -> None:
    """Write the animation."""
    l_out = ntm.load_model("copy")
    task = CopyTask()
    batch = task.sample(1, rng=np.random.default_rng(5), length=12)
    inputs, targets, mask = (array[0] for array in batch)
    (trace,) = ntm.look_inside(l_out, inputs)
    predictions = ntm.Predictor(l_out, kind="bits").predict(inputs[None])[0]
    title = "A Neural Turing Machine copies 12 vectors of 8 bits"
    animate_sequence(PATH, trace, inputs, targets, predictions, mask, title=title)


if __name__ == "__main__":
    main()
