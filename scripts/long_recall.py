"""Train a Sparse Access Memory to recall from ever longer lists of items, in an ever larger memory.

python scripts/long_recall.py
python scripts/long_recall.py --minutes 10 --folder runs/long-recall

Training begins with lists of up to six items. Once these are recalled, lists may be twice as long, and so on (Rae et
al. 2016, section 4.3 and figure 3). No parameter depends on the number of memory slots, so each level has as many as it
needs. The network of each level is saved in the folder; where it is there already, training goes on from it.
"""

import argparse
import sys
import time
from pathlib import Path

import ntm.cli  # Ctrl-C while it imports: no traceback

# isort: split
import numpy as np
import pytensor

import ntm
from lasagne.layers import get_all_param_values, set_all_param_values
from ntm.arguments import Number
from ntm.experiments.locking import FolderLock
from ntm.experiments.options import get_options
from ntm.experiments.settings import Settings, make_settings
from ntm.files import write_json
from ntm.tasks import TASKS
from ntm.training.trainer import Trainer

FIRST_ITEMS, MOST_ITEMS = 6, 2**16
#: A level ends when the mean loss of so many steps is below so many bits, of the 18 of an item
WINDOW, RECALLED_BELOW = 50, 0.5
#: Steps of all sequences of a batch together, and sequences, at most
MOST_STEPS, MOST_SEQUENCES = 2**13, 16

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument(
    "--minutes", type=Number(float, above=0), default=30.0, help="no step begins later"
)
parser.add_argument("--folder", type=Path, default=Path("runs/long-recall"))
parser.add_argument("--seed", type=get_options(Settings)["seed"].parse, default=1)
options = parser.parse_args()
pytensor.config.floatX = "float32"
end = time.monotonic() + 60 * options.minutes
options.folder.mkdir(parents=True, exist_ok=True)


def count_steps(items: int) -> int:
    """Count the steps of a list of so many items, the query and the answer."""
    return TASKS["associative-recall"](max_items=items).longest


def count_slots(items: int) -> int:
    """Return a number of slots that suffices: a step writes to one, and spares those that it reads."""
    return max(512, 2 ** int(np.ceil(np.log2(5 * count_steps(items)))))


def make_trainer(items: int) -> Trainer:
    """Return a trainer for lists of up to so many items."""
    return make_settings(
        "associative-recall",
        "sam",
        seed=options.seed,
        batch_size=int(np.clip(MOST_STEPS // count_steps(items), 1, MOST_SEQUENCES)),
        learning_rate=1e-3 if items == FIRST_ITEMS else 3e-4,
        schedule="constant",
        task_options={"max_items": items},
        # One head reads: four are more exact, and take three times as long
        model_options={"memory_slots": count_slots(items), "num_reads": 1},
    ).make_trainer()


def learn() -> None:
    """Train level by level until the time is up. Each level begins with the parameters of the one before."""
    print("items    slots  sequences  minutes  bits  right of the longest lists", flush=True)
    values, items = None, FIRST_ITEMS
    while items <= MOST_ITEMS and time.monotonic() < end:
        network = options.folder / f"seed-{options.seed}-items-{items}.safetensors"
        if network.exists():
            values = get_all_param_values(ntm.load(network), trainable=True)
            items *= 2
            continue
        trainer = make_trainer(items)
        if values is not None:
            set_all_param_values(trainer.l_out, values, trainable=True)
        started, losses = time.monotonic(), []
        recalled = False
        while not recalled and time.monotonic() < end:
            if (
                trainer.train(trainer.step_count + 1, solve_every=0, progress=False)
                == "interrupted"
            ):
                sys.exit(130)
            # Losses of steps that were left out as not finite are NaN
            losses = [loss for loss in trainer.losses if np.isfinite(loss)][-WINDOW:]
            recalled = len(losses) == WINDOW and bool(np.mean(losses) < RECALLED_BELOW)
        measured = (
            trainer.evaluate({"items": items}, num_sequences=20)
            if recalled
            else {"correct": np.nan}
        )
        row = {
            "items": items,
            "slots": count_slots(items),
            "sequences": trainer.num_sequences,
            "minutes": (time.monotonic() - started) / 60,
            "bits": float(np.mean(losses)) if losses else np.nan,
            "correct": float(measured["correct"]),
        }
        print(
            f"{items:5d} {row['slots']:8d} {row['sequences']:10d} {row['minutes']:8.1f} {row['bits']:5.2f}  "
            + (f"{row['correct']:.0%}" if recalled else "time is up"),
            flush=True,
        )
        if recalled:
            write_json(network.with_suffix(".json"), row)
            ntm.save(network, trainer.l_out)
            values = get_all_param_values(trainer.l_out, trainable=True)
        items *= 2


try:
    with FolderLock(options.folder):
        learn()
except BlockingIOError as error:
    parser.exit(1, f"{error}\n")
except KeyboardInterrupt:
    sys.exit(130)
