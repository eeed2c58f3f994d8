"""Networks for the tasks: the Neural Turing Machine and what it is compared with.

Each function takes a task and gives a layer of shape (B, T, O) whose output has no nonlinearity: logits, or numbers.
"""

import inspect
from collections.abc import Callable

import numpy as np

from lasagne.init import Constant, Normal
from lasagne.layers import DenseLayer, GRULayer, InputLayer, LSTMLayer
from lasagne.nonlinearities import linear, rectify, sigmoid, softplus, tanh
from lasagne.utils import floatX
from ntm.choices import check_choice
from ntm.controllers import DenseController, GRUController, LSTMController, RecurrentController
from ntm.heads import Head, ReadHead, WriteHead
from ntm.layers import NTMLayer
from ntm.memory import Memory
from ntm.nonlinearities import one_plus_softplus

CONTROLLERS = {
    "dense": (DenseController, rectify),
    "recurrent": (RecurrentController, tanh),
    "gru": (GRUController, tanh),
    "lstm": (LSTMController, tanh),
}

ADD_NONLINEARITIES = {"rectify": rectify, "tanh": tanh}


def _input(task):
    return InputLayer((None, None, task.num_inputs), name="input")


def _output(l_hidden, task):
    return DenseLayer(
        l_hidden, task.num_outputs, nonlinearity=linear, num_leading_axes=2, name="output"
    )


def build_ntm(
    task,
    controller="dense",
    num_units=100,
    memory_slots=128,
    memory_width=20,
    num_heads=1,
    num_shifts=3,
    write_gate_bias=0.0,
    read_gate_bias=0.0,
    write_shift_bias=1.0,
    read_shift_bias=1.0,
    nonlinearity_add="rectify",
):
    """A Neural Turing Machine with as many write as read heads.

    Parameters
    ----------
    task : Task
    controller : {'dense', 'recurrent', 'gru', 'lstm'}
    num_units : int
        Units of the controller.
    memory_slots, memory_width : int
    num_heads : int
        Heads of each kind.
    num_shifts : int
    write_gate_bias, read_gate_bias : float
        Where the interpolation gates of the heads start: the smaller, the more a head moves from where it was and the
        less it looks for content.
    write_shift_bias, read_shift_bias : float
        By how much the heads prefer to move forward when they start.
    nonlinearity_add : {'rectify', 'tanh'}
        Of what is written.

    Returns
    -------
    Layer (B, T, O)
    """
    check_choice("controller", controller, CONTROLLERS)
    check_choice("nonlinearity_add", nonlinearity_add, ADD_NONLINEARITIES)
    l_input = _input(task)
    shape = (memory_slots, memory_width)
    kind, nonlinearity = CONTROLLERS[controller]
    memory = Memory(shape, memory_init=Constant(1e-6), learn_init=False, name="memory")
    l_controller = kind(
        l_input,
        memory_shape=shape,
        num_units=num_units,
        num_reads=num_heads,
        nonlinearity=nonlinearity,
        learn_init=True,
        name="controller",
    )
    addressing = {
        "memory_shape": shape,
        "num_shifts": num_shifts,
        "shift_mode": "circular",
        "nonlinearity_key": rectify,
        "nonlinearity_beta": softplus,
        "nonlinearity_gate": sigmoid,
        "nonlinearity_gamma": one_plus_softplus,
        "b_hid_to_gamma": Constant(1.0),
        # How a head moves hardly depends on the input at first. Where it does, some seeds find other algorithms, which
        # work up to the lengths in training only
        "W_hid_to_shift": Normal(0.01),
        "W_hid_to_gate": Normal(0.01),
        "W_hid_to_beta": Normal(0.01),
        "W_hid_to_gamma": Normal(0.01),
    }
    names = [""] if num_heads == 1 else [str(k + 1) for k in range(num_heads)]
    heads: list[Head] = [
        WriteHead(
            l_controller,
            nonlinearity_erase=sigmoid,
            nonlinearity_add=ADD_NONLINEARITIES[nonlinearity_add],
            b_hid_to_gate=Constant(write_gate_bias),
            b_hid_to_shift=_forward(num_shifts, write_shift_bias),
            name=f"write{number}",
            **addressing,
        )
        for number in names
    ]
    heads += [
        ReadHead(
            l_controller,
            b_hid_to_gate=Constant(read_gate_bias),
            b_hid_to_shift=_forward(num_shifts, read_shift_bias),
            name=f"read{number}",
            **addressing,
        )
        for number in names
    ]
    l_ntm = NTMLayer(l_input, memory=memory, controller=l_controller, heads=heads, name="ntm")
    return _output(l_ntm, task)


def _forward(num_shifts, bias):
    """Biases of the shift weights that prefer the step forward.

    Heads that start by moving forward, and sharply, find the algorithms of the copy tasks. Where the two start in
    different directions training can get stuck; where they start by standing still it learns to blur.
    """
    biases = np.full(num_shifts, -float(bias))
    biases[(num_shifts - 1) // 2 + 1 :] = 0.0
    return floatX(biases)


def _build_recurrent(kind, name, task, num_units, num_layers):
    layer = _input(task)
    for k in range(num_layers):
        layer = kind(layer, num_units, learn_init=True, name=f"{name}{k + 1}")
    return _output(layer, task)


def build_lstm(task, num_units=256, num_layers=3):
    """Layers of LSTM units, one on another, as the papers compare with.

    Parameters
    ----------
    task : Task
    num_units, num_layers : int

    Returns
    -------
    Layer (B, T, O)

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.6 and table 3.
    """
    return _build_recurrent(LSTMLayer, "lstm", task, num_units, num_layers)


def build_gru(task, num_units=256, num_layers=3):
    """Layers of gated recurrent units; parameters as of :func:`build_lstm`."""
    return _build_recurrent(GRULayer, "gru", task, num_units, num_layers)


def build_dense(task, num_units=256, num_layers=3):
    """Dense layers that see one step at a time and remember nothing; parameters as of :func:`build_lstm`."""
    layer = _input(task)
    for k in range(num_layers):
        layer = DenseLayer(layer, num_units, num_leading_axes=2, name=f"dense{k + 1}")
    return _output(layer, task)


MODELS: dict[str, Callable] = {
    "ntm": build_ntm,
    "lstm": build_lstm,
    "gru": build_gru,
    "dense": build_dense,
}


def get_model_options(model):
    """The options of a model: a dict from name to default."""
    parameters = inspect.signature(MODELS[model]).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}
