"""Where the time goes from starting Python to the first training step: one rival in a process of its own."""

import json
import sys
import time

# In order: keys, and what they are called in the table
STAGES = {
    "import": "imports",
    "graph": "layers and graph",
    "gradient": "gradient and update rule",
    "rewriting": "PyTensor's rewrites",
    "tracing": "tracing by JAX",
    "xla": "XLA: compiling, or loading",
    "first step": "first step",
}
# After the first step
LATER_STAGES = {"second step": "second step", "new length": "new length"}
TRACING = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration")
XLA = ("backend_compile_duration",)


class Stopwatch:
    """What JAX says about the time that it takes to trace and to compile."""

    def __init__(self):
        import jax

        self._spans = []
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event, duration, **_):
        now = time.time()
        self._spans.append((event.rsplit("/", 1)[-1], now - duration, now))

    def seconds(self, events, begin):
        """Seconds since a time that are within events of some kinds, which may lie within each other."""
        total, last = 0.0, begin
        for _, start, end in sorted(
            (span for span in self._spans if span[0] in events), key=lambda span: span[1]
        ):
            total += max(end - max(start, last), 0.0)
            last = max(last, end)
        return total


def start_ours(network, clock, devices):
    """Compile our training step, in blocks on some devices or in one block on one; the layers make their parameters."""
    import jax  # noqa: F401  the back end would import it while it rewrites
    import pytensor
    from ours import accumulate_gradients, get_mode, make_graph, make_updates

    clock("import")
    inputs, _, losses, params = make_graph(network)
    clock("graph")
    if devices is None:
        loss = losses.mean()
        grads = pytensor.grad(loss, params)
    else:
        loss, grads, *_ = accumulate_gradients(losses, params, inputs, devices=devices)
    updates = make_updates(grads, params)
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


def measure(rival, network, data, longer, parameters, started, threads):
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
    threads : int
        The cores, which are devices for blocks.

    Returns
    -------
    dict from `STAGES`, ``total``, which is their sum, and `LATER_STAGES` to seconds
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
    if rival in ("ours", "blocks"):
        train = start_ours(network, clock, threads if rival == "blocks" else None)
    else:
        train = start_other(rival, network, parameters, clock)
    stopwatch = None if rival == "torch" else Stopwatch()
    begin = last
    train(*batch)
    clock("first step")
    seconds["total"] = last - started
    if stopwatch:
        # Constants are compiled while JAX traces: that counts as compiling only
        both = stopwatch.seconds(XLA + TRACING, begin)
        seconds["xla"] = stopwatch.seconds(XLA, begin)
        seconds["tracing"] = both - seconds["xla"]
        seconds["first step"] -= both
    train(*batch)
    clock("second step")
    train(*new)
    clock("new length")
    return seconds


if __name__ == "__main__":
    # Not through `workers.answer`, whose imports would come before the first clock
    print("\n" + json.dumps(measure(**json.load(sys.stdin))))
