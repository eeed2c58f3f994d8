"""A Neural Turing Machine in plain NumPy: one sequence, one step and one head after another.

It reads an NTMLayer's parameters and computes what the layer should, by the equations of the paper.
"""

import numpy as np

from lasagne import nonlinearities
from lasagne.layers import ConcatLayer, DenseLayer, ElemwiseSumLayer
from ntm.controllers import (
    DenseController,
    GRUController,
    LSTMController,
    RecurrentController,
    StackController,
)
from ntm.layers.state import NTMState
from ntm.nonlinearities import ClippedLinear, hard_sigmoid, one_plus_rectify, one_plus_softplus


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


NONLINEARITIES = {
    nonlinearities.linear: lambda x: x,
    nonlinearities.rectify: lambda x: np.maximum(x, 0.0),
    nonlinearities.sigmoid: sigmoid,
    nonlinearities.tanh: np.tanh,
    nonlinearities.softmax: softmax,
    nonlinearities.softplus: lambda x: np.log1p(np.exp(x)),
    hard_sigmoid: lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0),
    one_plus_rectify: lambda x: 1.0 + np.maximum(x, 0.0),
    one_plus_softplus: lambda x: 1.0 + np.log1p(np.exp(x)),
}


def activate(nonlinearity, x):
    if isinstance(nonlinearity, ClippedLinear):
        return np.clip(x, nonlinearity.low, nonlinearity.high)
    return NONLINEARITIES[nonlinearity](x)


def value(param):
    return 0.0 if param is None else param.get_value()


def dense(layer, x):
    return activate(layer.nonlinearity, x @ value(layer.W) + value(layer.b))


# ---- Addressing, for one head


def cosine_similarity(key, row, eps=1e-6):
    return key @ row / np.sqrt((key @ key) * (row @ row) + eps)


def shift_weights(weights, shift, mode):
    """out[i] = sum_j w[j] s[i - j], with no shift at index (S - 1) // 2 of s."""
    num_slots = len(weights)
    shifted = np.zeros(num_slots)
    for i in range(num_slots):
        for k in range(len(shift)):
            j = i - (k - (len(shift) - 1) // 2)
            if mode == "circular":
                shifted[i] += weights[j % num_slots] * shift[k]
            elif 0 <= j < num_slots:
                shifted[i] += weights[j] * shift[k]
    return shifted


def sharpen(weights, gamma, eps=1e-6):
    powers = (weights + eps) ** gamma
    return powers / powers.sum()


def address(head, h, previous, memory):
    key = dense(head.key, h)
    if head.sign is not None:
        key = key * dense(head.sign, h)
    beta, gate, gamma = (dense(part, h)[0] for part in (head.beta, head.gate, head.gamma))
    content = softmax(beta * np.array([cosine_similarity(key, row) for row in memory]))
    mixed = gate * content + (1.0 - gate) * previous
    # nonlinearities such as the softmax act on the last axis
    shifted = shift_weights(mixed, dense(head.shift, h), head.shift_mode)
    return sharpen(shifted, gamma)


def write_memory(heads, h, weights, memory):
    memory = memory.copy()
    for head, w in zip(heads, weights, strict=True):
        memory *= 1.0 - np.outer(w, dense(head.erase, h))
    for head, w in zip(heads, weights, strict=True):
        add = dense(head.add, h)
        if head.sign_add is not None:
            add = add * dense(head.sign_add, h)
        memory += np.outer(w, add)
    return memory


# ---- Controllers: from input, read vectors and state to the next state, the output first


def gate_sum(controller, gate, x, reads, hidden=None, reset=1.0):
    def product(source, vector):
        W = getattr(controller, f"W_{source}_to_{gate}")
        return vector @ value(W) + value(getattr(controller, f"b_{source}_to_{gate}"))

    total = product("in", x)
    if controller.num_reads:
        total = total + product("reads", reads)
    return total if hidden is None else total + reset * product("hid", hidden)


def step_controller(controller, x, reads, state):
    def f(values):
        return activate(controller.nonlinearity, values)

    if isinstance(controller, StackController):
        return step_stack(controller, np.concatenate([x, reads]), state)
    if isinstance(controller, DenseController):
        return [f(gate_sum(controller, "hid", x, reads))]
    h = state[0]
    if isinstance(controller, RecurrentController):
        return [f(gate_sum(controller, "hid", x, reads, h))]
    if isinstance(controller, GRUController):
        update = sigmoid(gate_sum(controller, "update", x, reads, h))
        reset = sigmoid(gate_sum(controller, "reset", x, reads, h))
        if controller.equation == "ntm-lasagne":
            return [(1 - update) * f(gate_sum(controller, "hid", x, reads, reset * h)) + update * h]
        return [(1 - update) * h + update * f(gate_sum(controller, "hid", x, reads, h, reset))]
    if isinstance(controller, LSTMController):
        gates = {g: sigmoid(gate_sum(controller, g, x, reads, h)) for g in ("input", "forget")}
        candidate = f(gate_sum(controller, "cell", x, reads, h))
        cell = gates["forget"] * state[1] + gates["input"] * candidate
        return [sigmoid(gate_sum(controller, "output", x, reads, h)) * f(cell), cell]
    raise TypeError(controller)


def step_stack(controller, x, state):
    before, after = split_stack_state(controller, state), {}

    def evaluate(layer):
        if layer is controller.stack_input:
            return x
        if layer in before:
            after[layer] = step_controller(layer, evaluate(layer.input_layer), None, before[layer])
            return after[layer][0]
        if isinstance(layer, DenseLayer):
            return dense(layer, evaluate(layer.input_layer))
        below = [evaluate(incoming) for incoming in layer.input_layers]
        if isinstance(layer, ConcatLayer):
            return np.concatenate(below)
        if isinstance(layer, ElemwiseSumLayer):
            return sum(below)
        raise TypeError(layer)

    output = evaluate(controller.top)
    own = [] if controller.top in before else [output]
    return own + [part for cell in controller.cells for part in after[cell]]


def split_stack_state(controller, state):
    state = list(state if controller.top in controller.cells else state[1:])
    parts = {}
    for cell in controller.cells:
        count = 2 if isinstance(cell, LSTMController) else 1
        parts[cell], state = state[:count], state[count:]
    return parts


def initial_controller_state(controller):
    if isinstance(controller, StackController):
        own = [] if controller.top in controller.cells else [value(controller.hid_init)[0]]
        return own + [s for cell in controller.cells for s in initial_controller_state(cell)]
    state = [value(controller.hid_init)[0]]
    return state + ([value(controller.cell_init)[0]] if hasattr(controller, "cell_init") else [])


# ---- The whole layer


def run(layer, x, mask=None, state=None):
    """An NTMLayer's traces, in the order of the input, and its state after the last step.

    Parameters
    ----------
    layer : NTMLayer
    x : array (B, T, F)
    mask : array (B, T), optional
    state : NTMState of arrays, optional

    Returns
    -------
    traces : NTMState of arrays (B, T, ...)
    last : NTMState of arrays (B, ...)
    """
    per_sequence = [
        run_sequence(
            layer,
            x[b],
            np.ones(x.shape[1]) if mask is None else mask[b],
            None if state is None else state.map(lambda part, b=b: part[b]),
        )
        for b in range(len(x))
    ]
    traces, last = (
        NTMState.unflatten([np.stack(parts) for parts in zip(*states, strict=True)])
        for states in zip(*per_sequence, strict=True)
    )
    return traces, last


def split_heads(layer):
    """The heads that write and those that read."""
    writers = [head for head in layer.heads if hasattr(head, "erase")]
    return writers, [head for head in layer.heads if not hasattr(head, "erase")]


def initial_state(layer):
    num_slots = layer.memory.memory_shape[0]
    return NTMState(
        value(layer.memory.memory_init),
        tuple(initial_controller_state(layer.controller)),
        *(
            np.array([value(head.weights_init)[0] for head in heads]).reshape(-1, num_slots)
            for heads in split_heads(layer)
        ),
    )


def run_sequence(layer, x, mask, state):
    state = initial_state(layer) if state is None else state
    traces = [None] * len(x)
    for t in range(len(x))[:: -1 if layer.backwards else 1]:
        if mask[t]:
            state = step(layer, x[t], state)
        traces[t] = state.flatten()
    return [np.stack(parts) for parts in zip(*traces, strict=True)], state.flatten()


def step(layer, x, state):
    memory, controller, writes, reads = state
    write_heads, read_heads = split_heads(layer)
    num_slots, width = layer.memory.memory_shape
    memory = write_memory(write_heads, controller[0], writes, memory)
    vectors = [sum((w[i] * memory[i] for i in range(num_slots)), np.zeros(width)) for w in reads]
    vectors = np.concatenate([*vectors, np.zeros(0)])
    controller = step_controller(layer.controller, x, vectors, list(controller))
    heads = list(zip(write_heads + read_heads, [*writes, *reads], strict=True))
    weights = np.array([address(head, controller[0], w, memory) for head, w in heads])
    count = len(write_heads)
    return NTMState(memory, tuple(controller), weights[:count], weights[count:])
