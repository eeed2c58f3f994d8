"""How long it takes from starting Python to the first training step: one rival in a process of its own."""

import json
import sys
import time

STAGES = ["import", "graph", "gradient", "rewriting", "first call"]


def start_ours(network, clock):
    """Compile our training step; the layers make their own parameters."""
    import jax  # noqa: F401  the back end would import it while it rewrites
    import pytensor
    from ours import get_mode, make_graph, make_updates

    clock("import")
    inputs, _, loss, params = make_graph(network)
    clock("graph")
    updates = make_updates(loss, params)
    clock("gradient")
    train = pytensor.function(inputs, loss, updates=updates, mode=get_mode("jax"))
    clock("rewriting")
    return lambda *batch: float(train(*batch))


def start_other(name, network, parameters, clock):
    """Build another rival; what it does at this point is called its graph."""
    from rivals import import_rival

    build = import_rival(name)
    clock("import")
    train = build(network, parameters).train
    clock("graph")
    return train


def measure(rival, network, data, longer, parameters, started):
    """Seconds from the process's start to the first step and to the first step of another length.

    Parameters
    ----------
    rival : str
        One of `rivals.TITLES`.
    network : dict
        The fields of `cases.Network`.
    data, longer : str
        .npz files: a batch, and one of more steps.
    parameters : str
        An .npz file.
    started : float
        The time of the call, as `time.time` counts.

    Returns
    -------
    dict from `STAGES`, ``total`` and ``new length`` to seconds
    """
    seconds = {}
    last = started

    def clock(stage):
        nonlocal last
        now = time.time()
        seconds[stage], last = now - last, now

    import numpy as np
    from cases import Network

    batch, new = (list(np.load(file).values()) for file in (data, longer))
    network, parameters = Network(**network), dict(np.load(parameters))
    if rival == "ours":
        train = start_ours(network, clock)
    else:
        train = start_other(rival, network, parameters, clock)
    train(*batch)
    clock("first call")
    seconds["total"] = last - started
    train(*new)
    clock("new length")
    return seconds


if __name__ == "__main__":
    # Not through `workers.answer`, whose imports would come before the first clock
    print("\n" + json.dumps(measure(**json.load(sys.stdin))))
