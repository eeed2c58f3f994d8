"""A Differentiable Neural Computer in plain NumPy: one sequence, one step and one head after another.

It reads a DNCLayer's parameters and computes what the layer should, by the equations of the paper's Methods.
"""

import numpy as np

from ntm.heads.dnc import DNCReadHead, DNCWriteHead
from ntm.layers.state import DNCState

from .reference import (
    cosine_similarity,
    dense,
    initial_controller_state,
    softmax,
    step_controller,
    value,
)


def content_weights(key, beta, memory):
    return softmax(beta * np.array([cosine_similarity(key, row) for row in memory]))


def retention(free_gates, read_weights):
    kept = np.ones(read_weights.shape[1])
    for gate, weights in zip(free_gates, read_weights, strict=True):
        kept = kept * (1.0 - gate * weights)
    return kept


def usage_after(usage, write_weights, kept):
    for weights in write_weights:
        usage = usage + weights - usage * weights
    return usage * kept


def allocation(usage, eps=1e-6):
    usage = eps + (1.0 - eps) * usage
    weights, product = np.zeros(len(usage)), 1.0
    for slot in np.argsort(usage, kind="stable"):
        weights[slot] = (1.0 - usage[slot]) * product
        product *= usage[slot]
    return weights


def write_weights(content, usage, allocation_gates, write_gates):
    weights = []
    for c, allocation_gate, write_gate in zip(content, allocation_gates, write_gates, strict=True):
        a = allocation(usage)
        weights.append(write_gate * (allocation_gate * a + (1.0 - allocation_gate) * c))
        usage = usage + (1.0 - usage) * write_gate * allocation_gate * a
    return np.array(weights)


def links_after(links, weights, precedence):
    updated = np.zeros_like(links)
    for i in range(len(links)):
        for j in range(len(links)):
            if i != j:
                kept = (1.0 - weights[i] - weights[j]) * links[i, j]
                updated[i, j] = kept + weights[i] * precedence[j]
    return updated


def precedence_after(precedence, weights):
    return (1.0 - weights.sum()) * precedence + weights


def read_weights(links, content, modes, previous):
    backward = [each.T @ previous for each in links]
    forward = [each @ previous for each in links]
    parts = [*backward, content, *forward]
    return sum(mode * part for mode, part in zip(modes, parts, strict=True))


# ---- The whole layer


def run(layer, x, mask=None, state=None, use_memory=True):
    """A DNCLayer's outputs and traces, in the order of the input, and its state after the last step.

    Parameters
    ----------
    layer : DNCLayer
    x : array (B, T, F)
    mask : array (B, T), optional
    state : DNCState of arrays, optional
    use_memory : bool

    Returns
    -------
    outputs : array (B, T, H + R * M)
    traces : DNCState of arrays (B, T, ...)
    last : DNCState of arrays (B, ...)
    """
    per_sequence = [
        run_sequence(
            layer,
            x[b],
            np.ones(x.shape[1]) if mask is None else mask[b],
            None if state is None else state.map(lambda part, b=b: part[b]),
            use_memory,
        )
        for b in range(len(x))
    ]
    traces, last = (
        DNCState.unflatten([np.stack(parts) for parts in zip(*states, strict=True)])
        for states in zip(*per_sequence, strict=True)
    )
    outputs = np.concatenate([traces.hidden, traces.reads.reshape(*x.shape[:2], -1)], axis=2)
    return outputs if layer.clip is None else limit(layer, outputs), traces, last


def limit(layer, values):
    return values if layer.clip is None else np.clip(values, -layer.clip, layer.clip)


def initial_state(layer):
    num_slots, width = layer.memory.memory_shape
    writes, reads = layer.num_writes, layer.num_reads
    return DNCState(
        value(layer.memory.memory_init),
        tuple(initial_controller_state(layer.controller)),
        np.zeros((writes, num_slots)),
        np.zeros((reads, num_slots)),
        np.zeros((reads, width)),
        np.zeros(num_slots),
        np.zeros((writes, num_slots)),
        np.zeros((writes, num_slots, num_slots)),
    )


def run_sequence(layer, x, mask, state, use_memory):
    state = initial_state(layer) if state is None else state
    traces = [None] * len(x)
    for t in range(len(x))[:: -1 if layer.backwards else 1]:
        if mask[t]:
            state = step(layer, x[t], state, use_memory)
        traces[t] = state.flatten()
    return [np.stack(parts) for parts in zip(*traces, strict=True)], state.flatten()


def step(layer, x, state, use_memory):
    writers = [head for head in layer.heads if isinstance(head, DNCWriteHead)]
    readers = [head for head in layer.heads if isinstance(head, DNCReadHead)]
    controller = step_controller(layer.controller, x, state.reads.ravel(), list(state.controller))
    if not use_memory:
        return state._replace(controller=tuple(controller), reads=np.zeros_like(state.reads))
    h = limit(layer, controller[0])

    free = [dense(head.free_gate, h)[0] for head in readers]
    usage = usage_after(state.usage, state.write_weights, retention(free, state.read_weights))
    content = [
        content_weights(dense(head.key, h), dense(head.beta, h)[0], state.memory)
        for head in writers
    ]
    writes = write_weights(
        content,
        usage,
        [dense(head.allocation_gate, h)[0] for head in writers],
        [dense(head.write_gate, h)[0] for head in writers],
    )
    memory = state.memory.copy()
    for head, weights in zip(writers, writes, strict=True):
        memory *= 1.0 - np.outer(weights, dense(head.erase, h))
    for head, weights in zip(writers, writes, strict=True):
        memory += np.outer(weights, dense(head.add, h))

    links = np.array(
        [links_after(*each) for each in zip(state.links, writes, state.precedence, strict=True)]
    )
    precedence = np.array(
        [precedence_after(*each) for each in zip(state.precedence, writes, strict=True)]
    )
    reads = np.array(
        [
            read_weights(
                links,
                content_weights(dense(head.key, h), dense(head.beta, h)[0], memory),
                dense(head.modes, h),
                previous,
            )
            for head, previous in zip(readers, state.read_weights, strict=True)
        ]
    )
    return DNCState(
        memory, tuple(controller), writes, reads, reads @ memory, usage, precedence, links
    )
