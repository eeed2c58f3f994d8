"""Traces of made-up memories, in which no two heads, slots or steps are alike."""

import numpy as np

from ntm.traces import HeadTrace, Trace

#: Steps, slots, width, links
T, N, M, L = 7, 9, 4, 2
RNG = np.random.default_rng(0)


def make_weights(*shape):
    """Weights of which each slot of each step and head has more than what counts as used."""
    weights = RNG.uniform(0.1, 0.9, size=shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def make_ntm(mask=None):
    heads = []
    for name in ("write", "read 1", "read 2"):
        parameters = {
            "key": RNG.normal(size=(T, M)),
            "key strength": RNG.uniform(0, 9, T),
            "gate": RNG.uniform(size=T),
            "shift": make_weights(T, 5 if name == "read 2" else 3),
            "sharpness": RNG.uniform(1, 9, T),
        }
        if name == "write":
            parameters |= {"erase": RNG.uniform(size=(T, M)), "add": RNG.uniform(size=(T, M))}
        results = {} if name == "write" else {"read vector": RNG.normal(size=(T, M))}
        weights, used = make_weights(2, T, N)
        heads.append(HeadTrace(name, name == "write", weights, used, None, parameters, results))
    states = {"controller": RNG.normal(size=(T, 3))}
    return Trace("NTM", "NTM", N, M, heads, RNG.normal(size=(T, N, M)), states, mask)


def make_dnc(num_slots=N):
    heads = []
    for name in ("write 1", "write 2", "read 1", "read 2"):
        writes = name.startswith("write")
        gates = ("allocation gate", "write gate") if writes else ("free gate",)
        parameters = {gate: RNG.uniform(size=T) for gate in gates}
        parameters["key strength"] = RNG.uniform(1, 9, T)
        if not writes:
            parameters["read modes"] = make_weights(T, 5)
        weights = make_weights(T, num_slots)
        heads.append(HeadTrace(name, writes, weights, weights, None, parameters))
    states = {
        "usage": RNG.uniform(size=(T, num_slots)),
        "precedence": make_weights(T, 2, num_slots),
        "links": make_weights(T, 2, num_slots, num_slots),
    }
    return Trace("DNC", "DNC", num_slots, M, heads, RNG.normal(size=(T, num_slots, M)), states)


def make_sdnc(num_slots=2**20):
    heads = []
    for name, count in (("write", 5), ("read 1", 3), ("read 2", 3)):
        weights = make_weights(T, count)
        positions = RNG.integers(0, num_slots, (T, count))
        results = {"age": RNG.integers(1, 50, (T, count))}
        if name == "write":
            results |= {
                "backward links": RNG.uniform(0.1, 1, (T, count, L)),
                "backward positions": RNG.integers(0, num_slots, (T, count, L)),
            }
        heads.append(HeadTrace(name, name == "write", weights, weights, positions, {}, results))
    return Trace("SDNC", "SDNC", num_slots, M, heads, notes=("memory left out",))
