"""A sparse Differentiable Neural Computer in plain NumPy: one sequence, one step and one slot after another.

It reads an SDNCLayer's parameters and computes what the layer should, by the equations of the paper's section 3 and
appendix D. Weights and links are dense here: those of all slots, most of them zero.
"""

from typing import NamedTuple

import numpy as np

from ntm.heads.sparse import SAMWriteHead, SDNCReadHead

from .reference import (
    cosine_similarity,
    dense,
    initial_controller_state,
    softmax,
    step_controller,
    value,
)

# ---- The equations; weights (N,), links (N, N)


def largest(weights, count):
    """The positions of the so many largest weights that are not zero, the largest first."""
    order = np.argsort(-weights, kind="stable")[:count]
    return order[weights[order] > 0]


def keep_largest(weights, count):
    """Weights, all but the so many largest zero."""
    kept = np.zeros_like(weights)
    places = largest(weights, count)
    kept[places] = weights[places]
    return kept


def precedence_after(precedence, written, count):
    return keep_largest((1.0 - written.sum()) * precedence + written, count)


def links_after(backward, forward, written, precedence, count):
    """The paper's N_t and P_t, at most `count` entries a row."""
    backward, forward = backward.copy(), forward.copy()
    for i in range(len(written)):
        for j in range(len(written)):
            backward[i, j] = (1.0 - written[i]) * backward[i, j] + written[i] * precedence[j]
            forward[i, j] = (1.0 - written[j]) * forward[i, j] + written[j] * precedence[i]
        backward[i, i] = forward[i, i] = 0.0
    return (np.array([keep_largest(row, count) for row in each]) for each in (backward, forward))


def follow(links, weights, places):
    """Weights at the places that the rows of the links lead to from the slots of the weights."""
    followed = np.zeros_like(weights)
    followed[places] = (weights @ links)[places]
    return followed / max(followed.sum(), 1.0)


def spread_links(details, num_slots):
    """A layer's details by name, but their links as rows (..., N); a position may come twice in a sparse row."""
    details = dict(details)
    for name in ("backward", "forward"):
        positions, links = details.pop(f"{name}_positions"), details[f"{name}_links"]
        dense = np.zeros((*positions.shape[:-1], num_slots))
        for place in np.ndindex(positions.shape[:-1]):
            np.add.at(dense[place], positions[place], links[place])
        details[f"{name}_links"] = dense
    return details


# ---- The whole layer


class Choices(NamedTuple):
    """What a step does without a gradient. The slots read backward, by content and forward are lists, one a head."""

    least_used: int
    backward_links: np.ndarray
    forward_links: np.ndarray
    before: list
    alike: list
    after: list


class State(NamedTuple):
    """Of one sequence; weights (R, N) or (N,)."""

    memory: np.ndarray
    controller: tuple
    write_weights: np.ndarray
    read_weights: np.ndarray
    reads: np.ndarray
    last_access: np.ndarray
    time: int
    precedence: np.ndarray
    choices: Choices


def run(layer, x, mask=None, use_memory=True, chosen=None):
    """An SDNCLayer's outputs, its traces, and what it chose.

    Parameters
    ----------
    layer : SDNCLayer
    x : array (B, T, F)
    mask : array (B, T), optional
    use_memory : bool
    chosen : list, optional
        As returned: what to choose instead of what follows from the input.

    Returns
    -------
    array (B, T, H + R * M)
    dict of arrays (B, T, ...), by the names of the parts of :class:`State` and of :class:`Choices`
    list of lists of Choices, of each sequence and step
    """
    states = [
        run_sequence(
            layer,
            x[b],
            np.ones(x.shape[1]) if mask is None else mask[b],
            use_memory,
            [None] * x.shape[1] if chosen is None else chosen[b],
        )
        for b in range(len(x))
    ]
    names = [name for name in State._fields if name not in ("controller", "choices")]
    traces = {
        name: np.array([[getattr(state, name) for state in sequence] for sequence in states])
        for name in names
    }
    cell = layer.controller.cell_index
    for name, k in (("hidden", 0), ("state", cell)):
        traces[name] = np.array([[state.controller[k] for state in each] for each in states])
    for name in ("backward_links", "forward_links"):
        traces[name] = np.array(
            [[getattr(state.choices, name) for state in sequence] for sequence in states]
        )
    for name in ("write_weights", "precedence"):
        traces[name] = traces[name][:, :, None]
    reads = traces["reads"].reshape(*x.shape[:2], -1)
    outputs = np.concatenate([traces["hidden"], reads], axis=2)
    return outputs, traces, [[state.choices for state in sequence] for sequence in states]


def initial_state(layer):
    num_slots, width = layer.memory.memory_shape
    reads, links = layer.num_reads, np.zeros((num_slots, num_slots))
    return State(
        value(layer.memory.memory_init),
        tuple(initial_controller_state(layer.controller)),
        np.zeros(num_slots),
        np.zeros((reads, num_slots)),
        np.zeros((reads, width)),
        np.zeros(num_slots, dtype=int),
        0,
        np.zeros(num_slots),
        Choices(0, links, links, [], [], []),
    )


def run_sequence(layer, x, mask, use_memory, chosen):
    state, states = initial_state(layer), [None] * len(x)
    for t in range(len(x))[:: -1 if layer.backwards else 1]:
        if mask[t]:
            state = step(layer, x[t], state, use_memory, chosen[t])
        states[t] = state
    return states


def step(layer, x, state, use_memory=True, chosen=None):
    (writer,) = (head for head in layer.heads if isinstance(head, SAMWriteHead))
    readers = [head for head in layer.heads if isinstance(head, SDNCReadHead)]
    controller = step_controller(layer.controller, x, state.reads.ravel(), list(state.controller))
    if not use_memory:
        return state._replace(controller=tuple(controller), reads=np.zeros_like(state.reads))
    h, time = controller[0], state.time + 1
    num_slots, count = len(state.last_access), layer.num_read_slots

    least_used = min(range(num_slots), key=lambda slot: (state.last_access[slot], slot))
    least_used = least_used if chosen is None else chosen.least_used
    is_least_used = np.eye(num_slots)[least_used]
    alpha, gamma = dense(writer.write_gate, h)[0], dense(writer.interpolation_gate, h)[0]
    writes = alpha * (gamma * state.read_weights.mean(axis=0) + (1.0 - gamma) * is_least_used)
    memory = (1.0 - is_least_used)[:, None] * state.memory
    memory = memory + np.outer(writes, dense(writer.add, h))

    backward, forward = links_after(*state.choices[1:3], writes, state.precedence, layer.num_links)
    if chosen is not None:
        backward, forward = chosen.backward_links, chosen.forward_links
    precedence = precedence_after(state.precedence, writes, layer.num_links)

    weights, places = np.zeros_like(state.read_weights), []
    for r, head in enumerate(readers):
        key, beta, modes = (dense(each, h) for each in (head.key, head.beta, head.modes))
        last = state.read_weights[r]
        likeness = np.array([cosine_similarity(key, row) for row in memory])
        if chosen is None:
            before, after = (largest(last @ links, count) for links in (backward, forward))
            alike = np.argsort(-likeness, kind="stable")[:count]
        else:
            before, alike, after = (each[r] for each in chosen[3:])
        content = np.zeros(num_slots)
        content[alike] = softmax(beta[0] * likeness[alike])
        parts = [follow(backward, last, before), content, follow(forward, last, after)]
        weights[r] = modes @ np.array(parts)
        places.append((before, alike, after))
    accessed = writes + weights.sum(axis=0) > layer.usage_threshold
    return State(
        memory,
        tuple(controller),
        writes,
        weights,
        weights @ memory,
        np.where(accessed, time, state.last_access),
        time,
        precedence,
        Choices(least_used, backward, forward, *(list(each) for each in zip(*places, strict=True))),
    )


def run_dense(layer, x):
    """The outputs where every slot is read and every link kept: no slot is chosen, one link matrix has no gaps."""
    outputs = []
    for b in range(len(x)):
        state = initial_state(layer)
        links = np.zeros((len(state.last_access),) * 2)
        for t in range(x.shape[1]):
            after = step(layer, x[b, t], state)
            written, h = after.write_weights, after.controller[0]
            links = (1.0 - written)[:, None] * links + np.outer(written, state.precedence)
            np.fill_diagonal(links, 0.0)
            readers = [head for head in layer.heads if isinstance(head, SDNCReadHead)]
            weights = []
            for head, last in zip(readers, state.read_weights, strict=True):
                likeness = [cosine_similarity(dense(head.key, h), row) for row in after.memory]
                content = softmax(dense(head.beta, h)[0] * np.array(likeness))
                forward = links @ last / max((links @ last).sum(), 1.0)
                weights.append(dense(head.modes, h) @ [links.T @ last, content, forward])
            precedence = (1.0 - written.sum()) * state.precedence + written
            weights = np.array(weights)
            state = after._replace(
                read_weights=weights, reads=weights @ after.memory, precedence=precedence
            )
            outputs.append(np.concatenate([h, state.reads.ravel()]))
    return np.reshape(outputs, (*x.shape[:2], -1))
