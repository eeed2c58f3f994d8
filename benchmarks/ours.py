"""The network as users of this library write it."""

import numpy as np
import pytensor
import pytensor.tensor as pt
from cases import CLIP, LEARNING_RATE, NUM_FEATURES, NUM_SHIFTS, NUM_UNITS

import lasagne
from lasagne.accumulation import accumulate_gradients
from lasagne.backends.modes import get_mode
from lasagne.init import Constant
from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.nonlinearities import linear, rectify, sigmoid, softplus, tanh
from ntm.controllers import DenseController, LSTMController
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.layers.ntm import NTMLayer
from ntm.memory import Memory
from ntm.nonlinearities import one_plus_softplus
from ntm.updates import centered_rmsprop

pytensor.config.floatX = "float32"
CONTROLLERS = {"dense": (DenseController, rectify), "lstm": (LSTMController, tanh)}


def make_layers(network, input_var=None):
    """The layers.

    Parameters
    ----------
    network : cases.Network
    input_var : tensor (B, T, 9), optional

    Returns
    -------
    Layer that gives the logits (B, T, 9)
    """
    memory_shape = (network.num_slots, network.width)
    Controller, nonlinearity = CONTROLLERS[network.controller]
    l_input = InputLayer((None, None, NUM_FEATURES), input_var)
    controller = Controller(
        l_input,
        memory_shape=memory_shape,
        num_units=NUM_UNITS,
        num_reads=network.num_heads,
        nonlinearity=nonlinearity,
        learn_init=True,
        name="controller",
    )
    addressing = {
        "memory_shape": memory_shape,
        "num_shifts": NUM_SHIFTS,
        "shift_mode": "circular",
        "nonlinearity_key": tanh,
        "nonlinearity_beta": softplus,
        "nonlinearity_gate": sigmoid,
        "nonlinearity_gamma": one_plus_softplus,
    }
    heads = [
        WriteHead(
            controller,
            nonlinearity_erase=sigmoid,
            nonlinearity_add=tanh,
            name=f"write{k}",
            **addressing,
        )
        for k in range(network.num_heads)
    ]
    heads += [ReadHead(controller, name=f"read{k}", **addressing) for k in range(network.num_heads)]
    l_ntm = NTMLayer(
        l_input,
        memory=Memory(memory_shape, memory_init=Constant(1e-6), learn_init=False, name="memory"),
        controller=controller,
        heads=heads,
        name="ntm",
    )
    return DenseLayer(
        l_ntm, num_units=NUM_FEATURES, nonlinearity=linear, num_leading_axes=2, name="output"
    )


def initial_parameters(network, seed=1):
    """New parameters, as every rival takes them: a dict from name, such as ``write0.key.W``, to array."""
    lasagne.random.set_rng(np.random.RandomState(seed))
    return {param.name: param.get_value() for param in get_all_params(make_layers(network))}


def trained_sizes(network):
    """The number of elements of each parameter that is trained."""
    params = get_all_params(make_layers(network), trainable=True)
    return [param.get_value().size for param in params]


def make_graph(network, parameters=None):
    """The graph of the losses.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array, optional
        Instead of new ones.

    Returns
    -------
    inputs : list of tensors
        Inputs and targets (B, T, 9) and mask (B, T).
    logits : tensor (B, T, 9)
    losses : tensor (B,)
        Cross-entropy over the masked steps, in nats.
    params : list of shared variables
        What is trained.
    """
    x, y, mask = pt.tensor3("input"), pt.tensor3("target"), pt.matrix("mask")
    l_output = make_layers(network, x)
    if parameters is not None:
        for param in get_all_params(l_output):
            param.set_value(parameters[param.name])
    logits = get_output(l_output)
    losses = ((pt.softplus(logits) - y * logits) * mask[:, :, None]).sum(axis=(1, 2))
    return [x, y, mask], logits, losses, get_all_params(l_output, trainable=True)


def make_updates(grads, params):
    """The training step's updates, from the gradients, which it clips."""
    grads = [pt.clip(grad, -CLIP, CLIP) for grad in grads]
    return centered_rmsprop(grads, params, learning_rate=LEARNING_RATE)


class Ours:
    """The training step and the inference, compiled with ``get_mode("jax")``.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array
        From :func:`initial_parameters`.
    """

    def __init__(self, network, parameters):
        inputs, logits, losses, params = make_graph(network, parameters)
        loss, mode = losses.mean(), get_mode("jax")
        updates = make_updates(pytensor.grad(loss, params), params)
        self._train = pytensor.function(inputs, loss, updates=updates, mode=mode)
        self._predict = pytensor.function([inputs[0]], pt.sigmoid(logits), mode=mode)

    def train(self, x, y, mask):
        """One training step on inputs and targets (B, T, 9) and mask (B, T): the loss before it, a float."""
        return float(self._train(x, y, mask))

    def predict(self, x):
        """Probabilities, an array (B, T, 9)."""
        return np.asarray(self._predict(x))


class OursInBlocks:
    """The training step that adds up the gradients of blocks of the batch, on all cores.

    Parameters
    ----------
    network : cases.Network
    parameters : dict from name to array
        From :func:`initial_parameters`.
    devices : int
        How many of JAX's devices share the batch.
    block_size : int or 'auto'
        Sequences in a block.
    """

    def __init__(self, network, parameters, devices, block_size="auto"):
        inputs, _, losses, params = make_graph(network, parameters)
        sums = accumulate_gradients(losses, params, inputs, block_size=block_size, devices=devices)
        updates = make_updates(sums.grads, params)
        self._train = pytensor.function(inputs, sums.loss, updates=updates, mode=get_mode("jax"))

    def train(self, x, y, mask):
        """One training step on inputs and targets (B, T, 9) and mask (B, T): the loss before it, a float."""
        return float(self._train(x, y, mask))
