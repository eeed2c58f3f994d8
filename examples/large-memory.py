"""Train a Sparse Access Memory on short lists, then let it recall from long lists in a memory of 16,384 slots.

python examples/large-memory.py
python examples/large-memory.py --seed 3 --steps 1000
"""

import argparse
from functools import partial

import numpy as np

import lasagne
import ntm
from lasagne.init import Constant
from lasagne.layers import DenseLayer, InputLayer, get_all_param_values, set_all_param_values
from ntm import Memory, SAMLayer, SAMReadHead, SAMWriteHead
from ntm.tasks import Task
from ntm.training import Evaluator, Trainer, make_schedule

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--seed", type=int, default=0, help="of parameters and sequences (default: 0)")
parser.add_argument("--steps", type=int, default=3000, help="of training (default: 3000)")
options = parser.parse_args()

ntm.use_jax()  # compile to JAX, compute in float32
lasagne.random.set_rng(np.random.RandomState(options.seed))

KEY_BITS, VALUE_BITS = 16, 4


class RecallTask(Task):
    """Random keys, each with a random value; then some of the keys again: what were their values?"""

    def __init__(self, min_pairs=1, max_pairs=30, num_queries=4, batch_size=1, seed=None):
        self.num_queries = num_queries
        sizes = {"pairs": (min_pairs, max_pairs)}
        super().__init__(KEY_BITS + VALUE_BITS, VALUE_BITS, sizes, batch_size, seed)

    def num_steps(self, pairs):
        """Return the time steps of a list of so many pairs."""
        return pairs + self.num_queries

    def make(self, rng, pairs):
        """Draw a list of pairs: inputs (T, F), targets (T, O) and the weight of each step (T,)."""
        keys = rng.integers(0, 2, (pairs, KEY_BITS))
        values = rng.integers(0, 2, (pairs, VALUE_BITS))
        asked = rng.integers(0, pairs, self.num_queries)
        # Bits are shown as -1 and 1. A query has zeros for the value
        shown = np.hstack([2 * keys - 1, 2 * values - 1])
        query = np.hstack([2 * keys[asked] - 1, np.zeros((self.num_queries, VALUE_BITS))])
        targets = np.vstack([np.zeros((pairs, VALUE_BITS)), values[asked]])
        weights = np.repeat([0, 1], [pairs, self.num_queries])
        return np.vstack([shown, query]), targets, weights


def build(task, num_slots):
    """Return a network whose memory has this many slots. No parameter to train has their number in its shape."""
    l_in = InputLayer((None, None, task.num_inputs))
    l_sam = SAMLayer(
        l_in,
        # An initial memory that is not trained: its gradient would be as large as the memory
        memory=Memory((num_slots, 32), learn_init=False),
        controller=lambda l: DenseLayer(l, 100),
        # At first the head writes at every step, and to the slot that was not accessed for longest
        heads=[
            partial(
                SAMWriteHead,
                b_hid_to_write_gate=Constant(3.0),
                b_hid_to_interpolation_gate=Constant(-4.0),
            ),
            SAMReadHead,
        ],
        num_read_slots=4,  # at each step, of all the slots in the memory
        nearest="exact",  # compare the key with every slot; "lsh" has an index, for 65,536 slots and more
    )
    return DenseLayer(l_sam, task.num_outputs, num_leading_axes=2, nonlinearity=None)


# ---- Train with few slots: a step reads four slots and writes one, so 30 pairs need some 150

task = RecallTask(batch_size=16, seed=options.seed)
small = build(task, num_slots=256)
trainer = Trainer(
    small,
    task,
    update=lasagne.updates.adam,
    learning_rate=2e-3,
    schedule=make_schedule("cosine", options={"total": options.steps}),
    clip_norm=10.0,
    seed=options.seed,
)
ended = trainer.train(options.steps)
print(f"{ended.capitalize()} after {trainer.step_count:,} steps.")

# ---- Use many slots. The parameters stay as they are; an Evaluator compiles no gradient

large = build(task, num_slots=2**14)
set_all_param_values(large, get_all_param_values(small, trainable=True), trainable=True)
for name, network in (("   256", small), ("16,384", large)):
    evaluator = Evaluator(network, task, seed=options.seed)
    for pairs in (30, 100, 400):
        # Padded to one length, the lists share one compilation
        measures = evaluator.evaluate(
            {"pairs": pairs}, num_sequences=20, num_steps=task.num_steps(400)
        )
        wrong = measures["wrong_bits"] / (task.num_queries * VALUE_BITS)
        print(f"{name} slots, {pairs:3d} pairs: {wrong:.1%} of bits wrong")
