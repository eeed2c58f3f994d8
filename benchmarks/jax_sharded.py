"""The tuned network by hand in JAX on all cores: each core has a part of the batch, and goes through it in blocks.

XLA runs the small operations of a loop on one core. So the cores are devices to JAX (``jax_num_cpu_devices``), the
batch is split over them with `jax.shard_map`, and each device adds up the gradients of blocks of its part in a
`jax.lax.scan`: what a block keeps for the way back fits the caches. It compiles with the options for XLA that this
library found to be the fastest for such loops.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax_ntm import fuse, logits, loss, rmsprop

from lasagne.backends.jax_linker import get_compiler_options

WHOLE, SPLIT = PartitionSpec(), PartitionSpec("batch")
# Of 2, 4, 8, 16 and 32, the fastest for 64 sequences on two cores; and for 16 sequences undivided parts of 8 are
BLOCK_SIZE = 16


class Sharded:
    """Two jitted functions; the training step gives its arguments' memory to its results.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array
        From :func:`ours.initial_parameters`.
    devices : int
        How many of JAX's devices share the batch: it must be a multiple.
    block_size : int
        The most sequences in a block.
    """

    def __init__(self, network, parameters, devices, block_size=BLOCK_SIZE):
        trained, fixed = fuse(network, parameters)
        self._mesh = Mesh(np.array(jax.devices()[:devices]), "batch")
        place = partial(jax.device_put, device=NamedSharding(self._mesh, WHOLE))
        self._split = NamedSharding(self._mesh, SPLIT)
        self._parameters = place(trained)
        self._optimizer = [place(jax.tree.map(np.zeros_like, trained)) for _ in range(3)]
        shard = partial(jax.shard_map, mesh=self._mesh, check_vma=False)

        options = get_compiler_options("cpu")

        def of_blocks(p, *batch):
            """The sums over the blocks of a part of the batch: of losses and of gradients."""
            size = len(batch[0])
            length = max(n for n in range(1, block_size + 1) if size % n == 0)

            def summed_loss(p, *block):
                return length * loss(network, True, fixed, p, *block)

            grad = jax.value_and_grad(summed_loss)
            if length == size:
                return grad(p, *batch)
            blocks = [part.reshape(-1, length, *part.shape[1:]) for part in batch]
            start = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), p))
            return jax.lax.scan(
                lambda sums, block: (jax.tree.map(jnp.add, sums, grad(p, *block)), None),
                start,
                blocks,
            )[0]

        @partial(jax.jit, donate_argnums=(0, 1), compiler_options=options)
        @partial(shard, in_specs=(WHOLE, WHOLE, SPLIT, SPLIT, SPLIT), out_specs=WHOLE)
        def train(p, optimizer, x, y, mask):
            sums = jax.lax.psum(of_blocks(p, x, y, mask), "batch")
            value, gradient = jax.tree.map(lambda total: total / (devices * len(x)), sums)
            new = jax.tree.map(rmsprop, p, gradient, *optimizer)
            p, *optimizer = jax.tree.transpose(jax.tree.structure(p), None, new)
            return value, p, optimizer

        @partial(jax.jit, compiler_options=options)
        @partial(shard, in_specs=(WHOLE, SPLIT), out_specs=SPLIT)
        def predict(p, x):
            return sigmoid(logits(network, True, fixed, p, x))

        self._train, self._predict = train, predict

    def train(self, x, y, mask):
        """One training step on inputs and targets (B, T, 9) and mask (B, T): the loss before it, a float."""
        batch = jax.device_put((x, y, mask), self._split)
        value, self._parameters, self._optimizer = self._train(
            self._parameters, self._optimizer, *batch
        )
        return float(value)

    def predict(self, x):
        """Probabilities, an array (B, T, 9)."""
        return np.asarray(self._predict(self._parameters, jax.device_put(x, self._split)))
