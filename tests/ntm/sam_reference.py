"""A sparse access memory in plain NumPy: one sequence, one step and one slot after another.

It reads a SAMLayer's parameters and computes what the layer should, by the equations of the paper's section 3.
Memory and weights are dense here: the weights of all slots, most of them zero.
"""

from typing import NamedTuple

import numpy as np

from ntm.heads.sparse import SAMReadHead, SAMWriteHead

from .reference import (
    cosine_similarity,
    dense,
    initial_controller_state,
    softmax,
    step_controller,
    value,
)


class State(NamedTuple):
    """Of one sequence; weights (R, N) or (N,)."""

    memory: np.ndarray
    controller: tuple
    write_weights: np.ndarray
    read_weights: np.ndarray
    reads: np.ndarray
    positions: np.ndarray
    last_access: np.ndarray
    time: int


def run(layer, x, mask=None, use_memory=True):
    """A SAMLayer's outputs (B, T, H + R * M) and, by the names of its details, its traces (B, T, ...)."""
    per_sequence = [
        run_sequence(layer, x[b], np.ones(x.shape[1]) if mask is None else mask[b], use_memory)
        for b in range(len(x))
    ]
    traces = {name: np.stack([each[name] for each in per_sequence]) for name in layer.detail_names}
    reads = traces["reads"].reshape(*x.shape[:2], -1)
    return np.concatenate([traces["hidden"], reads], axis=2), traces


def initial_state(layer):
    num_slots, width = layer.memory.memory_shape
    reads, slots = layer.num_reads, layer.num_read_slots
    return State(
        value(layer.memory.memory_init),
        tuple(initial_controller_state(layer.controller)),
        np.zeros(num_slots),
        np.zeros((reads, num_slots)),
        np.zeros((reads, width)),
        np.zeros((reads, slots), dtype=int),
        np.zeros(num_slots, dtype=int),
        0,
    )


def run_sequence(layer, x, mask, use_memory):
    state, states = initial_state(layer), [None] * len(x)
    for t in range(len(x))[:: -1 if layer.backwards else 1]:
        if mask[t]:
            state = step(layer, x[t], state, use_memory)
        states[t] = state
    cell = layer.controller.cell_index
    return {
        "memory": np.stack([each.memory for each in states]),
        "hidden": np.stack([each.controller[0] for each in states]),
        "state": np.stack([each.controller[cell] for each in states]),
        "write_weights": np.stack([each.write_weights for each in states])[:, None],
        "read_weights": np.stack([each.read_weights for each in states]),
        "reads": np.stack([each.reads for each in states]),
        "read_positions": np.stack([each.positions for each in states]),
        "last_access": np.stack([each.last_access for each in states]),
    }


def step(layer, x, state, use_memory):
    (writer,) = (head for head in layer.heads if isinstance(head, SAMWriteHead))
    readers = [head for head in layer.heads if isinstance(head, SAMReadHead)]
    controller = step_controller(layer.controller, x, state.reads.ravel(), list(state.controller))
    if not use_memory:
        return state._replace(controller=tuple(controller), reads=np.zeros_like(state.reads))
    h, time = controller[0], state.time + 1

    oldest = min(range(len(state.last_access)), key=lambda slot: (state.last_access[slot], slot))
    least_used = np.zeros(len(state.last_access))
    least_used[oldest] = 1.0
    alpha, gamma = dense(writer.write_gate, h)[0], dense(writer.interpolation_gate, h)[0]
    writes = alpha * (gamma * state.read_weights.mean(axis=0) + (1.0 - gamma) * least_used)
    memory = (1.0 - least_used)[:, None] * state.memory + np.outer(writes, dense(writer.add, h))

    weights, positions = np.zeros_like(state.read_weights), []
    for r, head in enumerate(readers):
        key, beta = dense(head.key, h), dense(head.beta, h)[0]
        likeness = np.array([cosine_similarity(key, row) for row in memory])
        chosen = np.argsort(-likeness, kind="stable")[: layer.num_read_slots]
        weights[r, chosen] = softmax(beta * likeness[chosen])
        positions.append(chosen)
    accessed = writes + weights.sum(axis=0) > layer.usage_threshold
    return State(
        memory,
        tuple(controller),
        writes,
        weights,
        weights @ memory,
        np.array(positions),
        np.where(accessed, time, state.last_access),
        time,
    )
