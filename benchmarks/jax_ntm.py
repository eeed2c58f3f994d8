"""The network by hand in JAX: one scan, the batch written out, one product per step for all heads.

Twice: as the papers write it, and tuned. The tuned one differs in three things. The memory lies as (B, M, N), with the
slots last, because N is a multiple of the processor's vectors and M is not. The outer product that erases is a product
of matrices, because the gradient of a product is products; that of a broadcast is sums, which XLA does slowly. And a
step is computed once more on the way back, which is faster than to keep what it computed.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from cases import CLIP, LEARNING_RATE, NUM_SHIFTS
from jax.nn import relu, sigmoid, softmax, softplus

GATES = ["input", "forget", "output", "cell"]


def fuse(network, parameters):
    """Parameters side by side.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array
        From :func:`ours.initial_parameters`.

    Returns
    -------
    trained : dict from name to array
    fixed : tuple of arrays
        The memory (N, M) and the heads' weights (K, N) before the first step.
    """

    def side_by_side(names):
        return np.concatenate([parameters[name] for name in names], axis=-1)

    writes = [f"write{k}" for k in range(network.num_heads)]
    heads = writes + [f"read{k}" for k in range(network.num_heads)]
    layers = [
        f"{head}.{part}" for part in ("key", "shift", "beta", "gate", "gamma") for head in heads
    ]
    layers += [f"{head}.{part}" for part in ("erase", "add") for head in writes]
    gates = ["hid"] if network.controller == "dense" else GATES
    sources = ["in", "reads"] if network.controller == "dense" else ["in", "reads", "hid"]
    trained = {
        f"{kind}_{source}": side_by_side(
            [f"controller.{kind}_{source}_to_{gate}" for gate in gates]
        )
        for kind in "Wb"
        for source in sources
    }
    trained |= {
        f"{kind}_heads": side_by_side([f"{layer}.{kind}" for layer in layers]) for kind in "Wb"
    }
    trained |= {f"{kind}_output": parameters[f"output.{kind}"] for kind in "Wb"}
    trained["hidden"] = parameters["controller.hid_init"]
    if network.controller == "lstm":
        trained["cell"] = parameters["controller.cell_init"]
    weights = np.concatenate([parameters[f"{head}.weights_init"] for head in heads])
    return trained, (parameters["memory.memory_init"], weights)


def dense_controller(p, projected, reads, state):
    """The hidden state (B, H) and the controller's state, from x W + b (B, H) and the reads (B, R * M)."""
    return relu(projected + reads @ p["W_reads"]), state


def lstm_controller(p, projected, reads, state):
    """As :func:`dense_controller`; the state is (h, c)."""
    hidden, cell = state
    sums = projected + reads @ p["W_reads"] + hidden @ p["W_hid"]
    input_gate, forget_gate, output_gate, candidate = jnp.split(sums, 4, axis=1)
    cell = sigmoid(forget_gate) * cell + sigmoid(input_gate) * jnp.tanh(candidate)
    hidden = sigmoid(output_gate) * jnp.tanh(cell)
    return hidden, (hidden, cell)


def head_parameters(network, p, hidden):
    """What the heads make of the hidden state (B, H), of all heads side by side.

    Returns
    -------
    addressing : tuple
        keys (B, K, M), shifts (B, K, 3), betas, gates and gammas (B, K, 1).
    writing : tuple
        erase and add vectors (B, W, M).
    """
    K, M = 2 * network.num_heads, network.width
    ends = np.cumsum([K * M, K * NUM_SHIFTS, K, K, K, K * M // 2]).tolist()
    keys, shifts, betas, gates, gammas, erase, add = (
        part.reshape(len(part), count, -1)
        for part, count in zip(
            jnp.split(hidden @ p["W_heads"] + p["b_heads"], ends, axis=1),
            [K, K, K, K, K, K // 2, K // 2],
            strict=True,
        )
    )
    addressing = (
        jnp.tanh(keys),
        softmax(shifts),
        softplus(betas),
        sigmoid(gates),
        1.0 + softplus(gammas),
    )
    return addressing, (sigmoid(erase), jnp.tanh(add))


class SlotsFirst:
    """What is done with a memory (B, N, M), as the papers write it."""

    @staticmethod
    def lay(memory):
        """The memory (N, M) as it lies here."""
        return memory

    @staticmethod
    def compare(key, memory):
        """Products with keys (B, K, M), (B, K, N), and the slots' squared norms, (B, 1, N)."""
        return jnp.einsum("bkm,bnm->bkn", key, memory), (memory**2).sum(-1)[:, None, :]

    @staticmethod
    def read(memory, weights):
        """Read vectors (B, R, M) from weights (B, R, N)."""
        return jnp.einsum("brn,bnm->brm", weights, memory)

    @staticmethod
    def write(memory, weights, erase, add):
        """The memory after all heads have erased and added, from weights (B, W, N)."""
        for k in range(weights.shape[1]):
            memory = memory * (1.0 - weights[:, k, :, None] * erase[:, k, None, :])
        return memory + jnp.einsum("bwn,bwm->bnm", weights, add)


class SlotsLast:
    """The same with a memory (B, M, N)."""

    @staticmethod
    def lay(memory):
        """The memory (N, M) as it lies here."""
        return memory.T

    @staticmethod
    def compare(key, memory):
        """Products with keys (B, K, M), (B, K, N), and the slots' squared norms, (B, 1, N)."""
        return jnp.einsum("bkm,bmn->bkn", key, memory), (memory**2).sum(1)[:, None, :]

    @staticmethod
    def read(memory, weights):
        """Read vectors (B, R, M) from weights (B, R, N)."""
        return jnp.einsum("brn,bmn->brm", weights, memory)

    @staticmethod
    def write(memory, weights, erase, add):
        """The memory after all heads have erased and added, from weights (B, W, N)."""
        for k in range(weights.shape[1]):
            memory = memory * (1.0 - jnp.einsum("bm,bn->bmn", erase[:, k], weights[:, k]))
        return memory + jnp.einsum("bwm,bwn->bmn", add, weights)


def address(layout, addressing, weights, memory):
    """New weights (B, K, N) from those of the step before and the memory."""
    key, shift, beta, gate, gamma = addressing
    dots, slot_norms = layout.compare(key, memory)
    norms = (key**2).sum(-1)[:, :, None] * slot_norms
    content = softmax(beta * dots / jnp.sqrt(norms + 1e-6))
    mixed = gate * content + (1.0 - gate) * weights
    shifted = (
        shift[:, :, 0:1] * jnp.roll(mixed, -1, axis=-1)
        + shift[:, :, 1:2] * mixed
        + shift[:, :, 2:3] * jnp.roll(mixed, 1, axis=-1)
    )
    return softmax(gamma * jnp.log(shifted + 1e-6))


def logits(network, tuned, fixed, p, x):
    """The network's output (B, T, 9) for an input (B, T, 9)."""
    batch, heads = len(x), network.num_heads
    dense = network.controller == "dense"
    controller = dense_controller if dense else lstm_controller
    layout = SlotsLast if tuned else SlotsFirst

    def each(value):
        return jnp.broadcast_to(value, (batch, *value.shape))

    def step(carry, projected):
        memory, weights, writing, state = carry
        memory = layout.write(memory, weights[:, :heads], *writing)
        reads = layout.read(memory, weights[:, heads:]).reshape(batch, -1)
        hidden, state = controller(p, projected, reads, state)
        addressing, writing = head_parameters(network, p, hidden)
        weights = address(layout, addressing, weights, memory)
        return (memory, weights, writing, state), hidden

    biases = p["b_in"] + p["b_reads"] if dense else p["b_in"] + p["b_reads"] + p["b_hid"]
    projected = jnp.swapaxes(x, 0, 1) @ p["W_in"] + biases
    hidden = each(p["hidden"][0])
    _, writing = head_parameters(network, p, hidden)
    state = () if dense else (hidden, each(p["cell"][0]))
    memory, weights = fixed
    start = each(layout.lay(memory)), each(weights), writing, state
    if tuned:
        step = jax.checkpoint(step, prevent_cse=False)
    _, outputs = jax.lax.scan(step, start, projected)
    return jnp.swapaxes(outputs @ p["W_output"] + p["b_output"], 0, 1)


def loss(network, tuned, fixed, p, x, y, mask):
    """Cross-entropy over the masked steps, in nats a sequence."""
    z = logits(network, tuned, fixed, p, x)
    return ((softplus(z) - y * z) * mask[:, :, None]).sum() / len(x)


def rmsprop(p, gradient, square, mean, delta, chi=0.95, alpha=0.9, epsilon=1e-4):
    """The centred RMSProp with momentum of Graves 2013: the four new arrays."""
    gradient = jnp.clip(gradient, -CLIP, CLIP)
    square = chi * square + (1.0 - chi) * gradient**2
    mean = chi * mean + (1.0 - chi) * gradient
    delta = alpha * delta - LEARNING_RATE * gradient / jnp.sqrt(square - mean**2 + epsilon)
    return p + delta, square, mean, delta


class ByHand:
    """Two jitted functions; the training step gives its arguments' memory to its results.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array
        From :func:`ours.initial_parameters`.
    tuned : bool
    """

    def __init__(self, network, parameters, tuned=False):
        trained, fixed = fuse(network, parameters)
        self._parameters = jax.tree.map(jnp.array, trained)
        self._optimizer = [jax.tree.map(jnp.zeros_like, trained) for _ in range(3)]

        @partial(jax.jit, donate_argnums=(0, 1))
        def train(p, optimizer, x, y, mask):
            value, gradient = jax.value_and_grad(partial(loss, network, tuned, fixed))(
                p, x, y, mask
            )
            new = jax.tree.map(rmsprop, p, gradient, *optimizer)
            p, *optimizer = jax.tree.transpose(jax.tree.structure(p), None, new)
            return value, p, optimizer

        @jax.jit
        def predict(p, x):
            return sigmoid(logits(network, tuned, fixed, p, x))

        self._train, self._predict = train, predict

    def train(self, x, y, mask):
        """One training step on inputs and targets (B, T, 9) and mask (B, T): the loss before it, a float."""
        value, self._parameters, self._optimizer = self._train(
            self._parameters, self._optimizer, x, y, mask
        )
        return float(value)

    def predict(self, x):
        """Probabilities, an array (B, T, 9)."""
        return np.asarray(self._predict(self._parameters, x))
