"""Small networks for the tests, and how they are compiled."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.backends.modes import get_mode
from lasagne.layers import InputLayer, get_all_layers, get_all_params
from lasagne.nonlinearities import sigmoid, softplus, tanh
from ntm.controllers import DenseController, GRUController, LSTMController, RecurrentController
from ntm.heads.dnc import DNCReadHead, DNCWriteHead
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.heads.sparse import SAMReadHead, SAMWriteHead, SDNCReadHead
from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer
from ntm.memory import Memory
from ntm.nonlinearities import one_plus_softplus

B, T, F, H = 3, 4, 2, 5
MEMORY_SHAPE = (6, 3)
CONTROLLERS = [DenseController, RecurrentController, GRUController, LSTMController]
ORIGINAL_GRU = partial(GRUController, equation="ntm-lasagne")
# Without kinks, for finite differences
SMOOTH = {
    "nonlinearity_key": tanh,
    "nonlinearity_beta": softplus,
    "nonlinearity_gate": sigmoid,
    "nonlinearity_gamma": one_plus_softplus,
}
SMOOTH_WRITE = {**SMOOTH, "nonlinearity_erase": sigmoid, "nonlinearity_add": tanh}


def make_heads(controller, writes, reads, memory_shape=MEMORY_SHAPE):
    """Heads from a list of options for each."""
    heads = [
        WriteHead(controller, memory_shape=memory_shape, name=f"write{k}", **options)
        for k, options in enumerate(writes)
    ]
    return heads + [
        ReadHead(controller, memory_shape=memory_shape, name=f"read{k}", **options)
        for k, options in enumerate(reads)
    ]


def make_ntm(
    controller=DenseController,
    writes=({},),
    reads=({},),
    incoming=None,
    memory_shape=MEMORY_SHAPE,
    controller_options=(),
    seed=0,
    **options,
):
    """An NTMLayer of random parameters, biases and initial values."""
    incoming = InputLayer((None, None, F)) if incoming is None else incoming
    memory = Memory(memory_shape, name="memory")
    controller = controller(
        incoming,
        memory_shape=memory_shape,
        num_units=H,
        num_reads=len(reads),
        name="controller",
        **dict(controller_options),
    )
    heads = make_heads(controller, writes, reads, memory_shape)
    layer = NTMLayer(incoming, memory=memory, controller=controller, heads=heads, **options)
    randomize(layer, seed)
    return layer


def make_dnc(
    controller=DenseController,
    num_writes=1,
    num_reads=1,
    incoming=None,
    memory_shape=MEMORY_SHAPE,
    controller_options=(),
    seed=0,
    **options,
):
    """A DNCLayer of random parameters, biases and initial values, that mostly writes to free slots."""
    incoming = InputLayer((None, None, F)) if incoming is None else incoming
    controller = controller(
        incoming,
        memory_shape=memory_shape,
        num_units=H,
        num_reads=num_reads,
        name="controller",
        **dict(controller_options),
    )
    heads = [
        DNCWriteHead(controller, memory_shape, name=f"write{k}") for k in range(num_writes)
    ] + [
        DNCReadHead(controller, memory_shape, num_writes, name=f"read{k}") for k in range(num_reads)
    ]
    memory = Memory(memory_shape, name="memory")
    layer = DNCLayer(incoming, memory, controller, heads, **options)
    randomize(layer, seed)
    for head in heads[:num_writes]:
        for gate in (head.allocation_gate, head.write_gate):
            gate.b.set_value(gate.b.get_value() + 3)
    return layer


def make_sam(
    controller=DenseController,
    num_reads=1,
    incoming=None,
    memory_shape=MEMORY_SHAPE,
    controller_options=(),
    seed=0,
    layer_type=SAMLayer,
    read_head_type=SAMReadHead,
    **options,
):
    """A SAMLayer of random parameters, biases and initial values, or a layer like it."""
    incoming = InputLayer((None, None, F)) if incoming is None else incoming
    controller = controller(
        incoming,
        memory_shape=memory_shape,
        num_units=H,
        num_reads=num_reads,
        name="controller",
        **dict(controller_options),
    )
    heads = [SAMWriteHead(controller, memory_shape, name="write")] + [
        read_head_type(controller, memory_shape, name=f"read{k}") for k in range(num_reads)
    ]
    memory = Memory(memory_shape, name="memory")
    layer = layer_type(incoming, memory, controller, heads, **options)
    randomize(layer, seed)
    return layer


make_sdnc = partial(make_sam, layer_type=SDNCLayer, read_head_type=SDNCReadHead)


def randomize(layer, seed=0, scale=0.6):
    """Give every parameter of a network random values; initial weights sum to less than one."""
    rng = np.random.default_rng(seed)
    weights_init = [
        head.weights_init
        for each in get_all_layers(layer)
        for ntm_layer in getattr(each, "levels", [each])
        if isinstance(ntm_layer, NTMLayer)
        for head in ntm_layer.heads
    ]
    for param in get_all_params(layer):
        shape = param.get_value(borrow=True).shape
        values = rng.normal(size=shape) * scale
        if param in weights_init:
            values = rng.dirichlet(np.ones(shape[1] + 1))[None, :-1]
        param.set_value(values.astype(param.dtype))


def data(*shape, seed=1):
    """Random numbers of mean zero."""
    return np.random.default_rng(seed).normal(size=shape).astype(pytensor.config.floatX)


def to_jax(inputs, outputs, **options):
    """A function compiled to JAX that returns NumPy arrays."""
    compiled = pytensor.function(inputs, outputs, mode=get_mode("jax"), **options)

    def function(*args):
        results = compiled(*args)
        if isinstance(results, list | tuple):
            return [np.asarray(result) for result in results]
        return np.asarray(results)

    return function


def to_python(inputs, outputs, **options):
    """A function that PyTensor runs in Python, node by node."""
    return pytensor.function(inputs, outputs, mode="FAST_COMPILE", **options)


def weighted_sum(output):
    """A cost in which every entry of the output has a weight of its own."""
    return (output * pt.cos(pt.arange(output.size)).reshape(output.shape)).sum()


def assert_gradients_equal_differences(inputs, values, cost, params):
    """Gradients of the first input and all parameters, each along a random direction, are central differences."""
    grads = pytensor.grad(cost, [inputs[0], *params], disconnected_inputs="raise")
    function = to_jax(inputs, [cost, *grads])
    grads = function(*values)[1:]

    def set_input(value):
        values[0] = value

    places = [(values[0], set_input), *((p.get_value(), p.set_value) for p in params)]
    for k, (grad, (value, move_to)) in enumerate(zip(grads, places, strict=True)):
        direction = data(*value.shape, seed=k)
        costs = []
        for step in (1e-5, -1e-5):
            move_to(value + step * direction)
            costs.append(function(*values)[0])
        move_to(value)
        name = params[k - 1].name if k else "input"
        difference = (costs[0] - costs[1]) / 2e-5
        slope = (grad * direction).sum()
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-9, err_msg=name)
