"""Levels that share a memory in plain NumPy: the steps of the other references, one after another."""

import numpy as np

from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer

from . import dnc_reference, reference, sam_reference, sdnc_reference


def step_ntm(level, x, state, use_memory):
    assert use_memory
    return reference.step(level, x, state)


# From the kind of the levels to the reference's functions, and the parts of a state that each level has for itself
KINDS = {
    NTMLayer: (
        reference.initial_state,
        step_ntm,
        ("controller", "write_weights", "read_weights"),
    ),
    DNCLayer: (dnc_reference.initial_state, dnc_reference.step, ("controller", "reads")),
    SAMLayer: (sam_reference.initial_state, sam_reference.step, ("controller", "reads")),
    SDNCLayer: (sdnc_reference.initial_state, sdnc_reference.step, ("controller", "reads")),
}


def run(layer, x, mask=None, use_memory=True):
    """A SharedMemoryLayer's outputs (B, T, outputs), and its levels' states.

    Parameters
    ----------
    layer : SharedMemoryLayer
    x : array (B, T, F)
    mask : array (B, T), optional
    use_memory : bool

    Returns
    -------
    outputs : array (B, T, outputs)
    states : list (B) of lists (T) of lists (levels)
        What each level left at each step.
    """
    mask = np.ones(x.shape[:2]) if mask is None else mask
    states = [run_sequence(layer, x[b], mask[b], use_memory) for b in range(len(x))]
    top = layer.levels[-1]
    return np.array([[output_of(top, each[-1]) for each in row] for row in states]), states


def run_sequence(layer, x, mask, use_memory):
    initial_state, step, own = KINDS[type(layer.levels[0])]
    states = [initial_state(level) for level in layer.levels]
    traces = [None] * len(x)
    for t in range(len(x))[:: -1 if layer.backwards else 1]:
        if mask[t]:
            memory, below = states[-1], x[t]
            for k, level in enumerate(layer.levels):
                before = memory._replace(**{name: getattr(states[k], name) for name in own})
                states[k] = memory = step(level, below, before, use_memory)
                below = output_of(level, memory)
        traces[t] = list(states)
    return traces


def output_of(level, state):
    if isinstance(level, NTMLayer):
        return state.controller[0]
    output = np.concatenate([state.controller[0], state.reads.ravel()])
    return dnc_reference.limit(level, output) if isinstance(level, DNCLayer) else output


def list_details(layer, states):
    """The traces of a SharedMemoryLayer by name, (B, T, ...), from the states that :func:`run` gives.

    Links are rows of all slots, and there are no positions of what was read in an SDNC, whose weights tell them.
    """

    def join(name):
        return collect(lambda row: np.concatenate([np.atleast_2d(getattr(s, name)) for s in row]))

    def collect(of):
        return np.array([[of(row) for row in sequence] for sequence in states])

    cells = [level.controller.cell_index for level in layer.levels]
    details = {
        "hidden": collect(lambda row: np.concatenate([s.controller[0] for s in row])),
        "state": collect(
            lambda row: np.concatenate([s.controller[k] for s, k in zip(row, cells, strict=True)])
        ),
        "write_weights": join("write_weights"),
        "read_weights": join("read_weights"),
    }
    is_sdnc = isinstance(layer.levels[0], SDNCLayer)
    for name in layer.detail_names:
        if name in ("backward_links", "forward_links"):
            details[name] = collect(lambda row, name=name: getattr(row[-1].choices, name))
        elif is_sdnc and name.endswith("_positions"):
            continue
        elif is_sdnc and name == "precedence":
            details[name] = collect(lambda row: row[-1].precedence[None])
        elif name == "reads":
            details[name] = join(name)
        elif name == "read_positions":
            details[name] = join("positions")
        elif name not in details:
            details[name] = collect(lambda row, name=name: getattr(row[-1], name))
    return details
