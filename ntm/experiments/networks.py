"""Networks for the tasks: those with a memory, and what they are compared with.

Each function takes a task and gives a layer of shape (B, T, O) whose output has no nonlinearity: logits, or numbers.
"""

import inspect
from collections.abc import Callable
from functools import partial

import numpy as np

from lasagne.init import Constant, Normal
from lasagne.layers import DenseLayer, GRULayer, InputLayer, LSTMLayer
from lasagne.nonlinearities import linear, rectify, sigmoid, softplus, tanh
from lasagne.utils import floatX
from ntm.arguments import check_choice
from ntm.controllers import DenseController, GRUController, LSTMController, RecurrentController
from ntm.heads.base import MemoryHead
from ntm.heads.dnc import DNCReadHead, DNCWriteHead
from ntm.heads.ntm import Head, ReadHead, WriteHead
from ntm.heads.sparse import SAMReadHead, SAMWriteHead, SDNCReadHead
from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer
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


def _memory(shape, std=0.0):
    """An empty memory, or one that starts with random values, which are learnt."""
    memory_init = Normal(std) if std else Constant(1e-6)
    return Memory(shape, memory_init=memory_init, learn_init=bool(std), name="memory")


def _controller(controller, l_input, shape, num_units, num_reads):
    check_choice("controller", controller, CONTROLLERS)
    kind, nonlinearity = CONTROLLERS[controller]
    return kind(
        l_input,
        memory_shape=shape,
        num_units=num_units,
        num_reads=num_reads,
        nonlinearity=nonlinearity,
        learn_init=True,
        name="controller",
    )


def _number(count):
    """What the names of so many heads end in: one has no number."""
    return [""] if count == 1 else [str(k + 1) for k in range(count)]


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
    memory_std=0.0,
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
    memory_std : float
        Standard deviation of what is in the memory at first: random values, which are learnt, by which heads can tell
        the slots apart. Keys have both signs then. With 0 the memory starts empty, and keys are not negative.

    Returns
    -------
    Layer (B, T, O)

    Raises
    ------
    ValueError
        If `memory_std` is negative, or there is no such `controller` or `nonlinearity_add`.
    """
    check_choice("nonlinearity_add", nonlinearity_add, ADD_NONLINEARITIES)
    if not memory_std >= 0:
        raise ValueError(f"memory_std must not be negative, not {memory_std!r}")
    l_input = _input(task)
    shape = (memory_slots, memory_width)
    memory = _memory(shape, memory_std)
    l_controller = _controller(controller, l_input, shape, num_units, num_heads)
    addressing = {
        "memory_shape": shape,
        "num_shifts": num_shifts,
        "shift_mode": "circular",
        "nonlinearity_key": tanh if memory_std else rectify,
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
    names = _number(num_heads)
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


def build_dnc(
    task,
    controller="lstm",
    num_units=100,
    memory_slots=128,
    memory_width=20,
    num_reads=1,
    clip=20.0,
    write_gate_bias=0.0,
    allocation_gate_bias=0.0,
    free_gate_bias=0.0,
    forward_bias=0.0,
):
    """A Differentiable Neural Computer with one write head.

    Parameters
    ----------
    task : Task
    controller : {'dense', 'recurrent', 'gru', 'lstm'}
    num_units : int
        Units of the controller.
    memory_slots, memory_width : int
    num_reads : int
        Read heads.
    clip : float or None
        The controller's output and the layer's are clipped to [-clip, clip]; 20 as in DeepMind's DNC.
    write_gate_bias : float
        Where the write gate starts: the larger, the more is written.
    allocation_gate_bias : float
        Where the allocation gate starts: the larger, the more the write head takes free slots, and looks for content
        the less.
    free_gate_bias : float
        Where the free gates start: the smaller, the less is freed once it is read.
    forward_bias : float
        By how much the read heads prefer to go on to what was written next when they start.

    Returns
    -------
    Layer (B, T, O)

    References
    ----------
    Graves et al. 2016, Hybrid computing using a neural network with dynamic external memory;
    https://github.com/google-deepmind/dnc.
    """
    l_input = _input(task)
    shape = (memory_slots, memory_width)
    l_controller = _controller(controller, l_input, shape, num_units, num_reads)
    heads: list[MemoryHead] = [
        DNCWriteHead(
            l_controller,
            shape,
            b_hid_to_write_gate=Constant(write_gate_bias),
            b_hid_to_allocation_gate=Constant(allocation_gate_bias),
            name="write",
        )
    ]
    heads += [
        DNCReadHead(
            l_controller,
            shape,
            b_hid_to_free_gate=Constant(free_gate_bias),
            b_hid_to_modes=floatX(np.array([0.0, 0.0, forward_bias])),
            name=f"read{number}",
        )
        for number in _number(num_reads)
    ]
    l_dnc = DNCLayer(
        l_input, memory=_memory(shape), controller=l_controller, heads=heads, clip=clip, name="dnc"
    )
    return _output(l_dnc, task)


def _build_sparse(kind, name, task, controller, num_units, shape, biases, read_heads, **options):
    """A network of a sparse memory, given where the write head's gates start, and its read heads without controller."""
    l_input = _input(task)
    l_controller = _controller(controller, l_input, shape, num_units, len(read_heads))
    heads: list[MemoryHead] = [
        SAMWriteHead(
            l_controller,
            shape,
            **{f"b_hid_to_{gate}": Constant(bias) for gate, bias in biases.items()},
            name="write",
        )
    ]
    heads += [
        head(l_controller, shape, name=f"read{number}")
        for head, number in zip(read_heads, _number(len(read_heads)), strict=True)
    ]
    l_memory = kind(
        l_input,
        memory=_memory(shape),
        controller=l_controller,
        heads=heads,
        name=name,
        **options,
    )
    return _output(l_memory, task)


def build_sam(
    task,
    controller="lstm",
    num_units=100,
    memory_slots=128,
    memory_width=20,
    num_reads=1,
    num_read_slots=4,
    nearest="auto",
    write_gate_bias=0.0,
    interpolation_gate_bias=0.0,
):
    """A Sparse Access Memory.

    Parameters
    ----------
    task, controller, num_units, memory_slots, memory_width, num_reads, write_gate_bias
        As of :func:`build_dnc`.
    num_read_slots : int
        Slots that each head reads at a step; 4 as in the paper.
    nearest : {'exact', 'hashing', 'auto'}
        How the slots most like a key are found: see :class:`ntm.layers.SAMLayer`.
    interpolation_gate_bias : float
        Where the interpolation gate starts: the smaller, the more is written to a slot not used for long, and the less
        to those read last.

    Returns
    -------
    Layer (B, T, O)

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes.
    """
    write = {"write_gate": write_gate_bias, "interpolation_gate": interpolation_gate_bias}
    return _build_sparse(
        SAMLayer,
        "sam",
        task,
        controller,
        num_units,
        (memory_slots, memory_width),
        write,
        [SAMReadHead] * num_reads,
        num_read_slots=num_read_slots,
        nearest=nearest,
    )


def build_sdnc(
    task,
    controller="lstm",
    num_units=100,
    memory_slots=128,
    memory_width=20,
    num_reads=1,
    num_read_slots=4,
    num_links=8,
    nearest="auto",
    write_gate_bias=0.0,
    interpolation_gate_bias=0.0,
    forward_bias=0.0,
):
    """A Sparse Differentiable Neural Computer.

    Parameters
    ----------
    task, controller, num_units, memory_slots, memory_width, num_reads, nearest, write_gate_bias, \
interpolation_gate_bias
        As of :func:`build_sam`.
    num_read_slots : int
        Slots that each head reads at a step by content, and as many each backward and forward.
    num_links : int
        Of how many slots written to before and after it each slot keeps track; 8 as in the paper.
    forward_bias : float
        As of :func:`build_dnc`.

    Returns
    -------
    Layer (B, T, O)

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, appendix D.
    """
    write = {"write_gate": write_gate_bias, "interpolation_gate": interpolation_gate_bias}
    read = partial(SDNCReadHead, b_hid_to_modes=floatX(np.array([0.0, 0.0, forward_bias])))
    return _build_sparse(
        SDNCLayer,
        "sdnc",
        task,
        controller,
        num_units,
        (memory_slots, memory_width),
        write,
        [read] * num_reads,
        num_read_slots=num_read_slots,
        num_links=num_links,
        nearest=nearest,
    )


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
    "dnc": build_dnc,
    "sam": build_sam,
    "sdnc": build_sdnc,
    "lstm": build_lstm,
    "gru": build_gru,
    "dense": build_dense,
}


def get_model_options(model):
    """The options of a model: a dict from name to default."""
    parameters = inspect.signature(MODELS[model]).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}
