"""The networks that `gpu.py` measures: those of `ntm train copy`, and the network that ntm-lasagne published."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from cases import CLIP, DEFAULT, LEARNING_RATE, TASK_SIZE, Case

import lasagne
from lasagne.accumulation import accumulate_gradients
from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, InputLayer, Layer, get_all_params, get_output
from lasagne.nonlinearities import rectify, sigmoid
from ntm.controllers import DenseController
from ntm.experiments import MODELS
from ntm.heads import ReadHead, WriteHead
from ntm.layers import NTMLayer
from ntm.memory import Memory
from ntm.tasks import CopyTask
from ntm.updates import centered_rmsprop

#: From the name of a kind to the name of the model and its options
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "ntm": ("ntm", {}),
    "ntm-lstm": ("ntm", {"controller": "lstm"}),
    "dnc": ("dnc", {}),
    "sam": ("sam", {}),
    "sdnc": ("sdnc", {}),
    "lstm": ("lstm", {"num_units": 100, "num_layers": 1}),
}


def make_layers(kind: str, slots: int = 128, nearest: str = "exact", seed: int = 1) -> Layer:
    """Return the output layer of a network for the copy task, with initial values from a seed.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    slots : int
        N, slots of the memory; an LSTM has none.
    nearest : {'exact', 'lsh'}
        How a sparse memory finds slots.
    seed : int

    Returns
    -------
    Layer (B, T, 9)
        Its outputs are logits.
    """
    lasagne.random.set_rng(np.random.RandomState(seed))
    model, options = KINDS[kind]
    if kind != "lstm":
        options = {**options, "memory_slots": slots}
    if kind in ("sam", "sdnc"):
        options = {**options, "nearest": nearest}
    return MODELS[model](**options).build(CopyTask(size=TASK_SIZE))


def make_data(batch: int, steps: int) -> list[np.ndarray]:
    """Return a batch of the copy task: inputs (B, T, 9), targets (B, T, 9) and mask (B, T), of type floatX."""
    return [part.astype(pytensor.config.floatX) for part in Case(DEFAULT, batch, steps).data()]


def make_losses(l_output: Layer) -> tuple[list[Any], Any]:
    """Return the inputs of the graph, as of :func:`make_data`, and the cross-entropy of each sequence in nats, (B,)."""
    x, y, mask = pt.tensor3("input"), pt.tensor3("target"), pt.matrix("mask")
    logits = get_output(l_output, x)
    losses = ((pt.softplus(logits) - y * logits).sum(axis=2) * mask).sum(axis=1)
    return [x, y, mask], losses


def make_training(
    kind: str,
    batch: int,
    steps: int,
    slots: int = 128,
    nearest: str = "exact",
    block_size: int | None = None,
) -> Callable[[], float]:
    """Return a training step on one batch; the call waits for the loss.

    Parameters
    ----------
    kind, slots, nearest
        As of :func:`make_layers`.
    batch, steps : int
        B and T.
    block_size : int, optional
        Sequences in a block, if the gradient is to be accumulated in blocks.
    """
    l_output = make_layers(kind, slots, nearest)
    inputs, losses = make_losses(l_output)
    params = get_all_params(l_output, trainable=True)
    if block_size is None:
        loss = losses.mean()
        grads = pytensor.grad(loss, params)
    else:
        accumulated = accumulate_gradients(losses, params, inputs, block_size=block_size)
        loss, grads = accumulated.loss, accumulated.grads
    grads = [pt.clip(grad, -CLIP, CLIP) for grad in grads]
    updates = centered_rmsprop(grads, params, learning_rate=LEARNING_RATE)
    train = pytensor.function(inputs, loss, updates=updates, mode=get_mode("jax"))
    data = make_data(batch, steps)
    return lambda: float(train(*data))


def make_gradient(kind: str, batch: int, steps: int) -> Callable[[], np.ndarray]:
    """Return a function of no arguments that gives the loss, followed by the gradient of all parameters in a row."""
    l_output = make_layers(kind)
    inputs, losses = make_losses(l_output)
    loss = losses.mean()
    grads = pytensor.grad(loss, get_all_params(l_output, trainable=True))
    result = pt.concatenate([pt.stack([loss]), *(grad.flatten() for grad in grads)])
    function = pytensor.function(inputs, result, mode=get_mode("jax"))
    data = make_data(batch, steps)
    return lambda: np.asarray(function(*data))


def make_published(num_inputs: int, num_outputs: int) -> tuple[Any, Layer, Any]:
    """Return the input, the output layer and the output of the network that ntm-lasagne published models of.

    ``tests/data/oracles/README.md`` describes it.
    """
    x, shape = pt.tensor3("input"), (128, 20)
    l_input = InputLayer((None, None, num_inputs), x)
    controller = DenseController(
        l_input, shape, num_units=100, num_reads=1, nonlinearity=rectify, name="controller"
    )
    write = WriteHead(
        controller,
        nonlinearity_key=rectify,
        nonlinearity_add=rectify,
        memory_shape=shape,
        name="write",
    )
    read = ReadHead(controller, nonlinearity_key=rectify, memory_shape=shape, name="read")
    l_ntm = NTMLayer(
        l_input, memory=Memory(shape, name="memory"), controller=controller, heads=[write, read]
    )
    l_output = DenseLayer(
        l_ntm, num_outputs, nonlinearity=sigmoid, num_leading_axes=2, name="dense"
    )
    return x, l_output, pt.clip(get_output(l_output), 1e-6, 1.0 - 1e-6)
