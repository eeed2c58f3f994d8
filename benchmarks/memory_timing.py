"""How long a training step of a DNC, SAM or SDNC takes: our two forms and the peer's in turn, in one process."""

from typing import NamedTuple

import numpy as np
from check import compare
from quiet import Quiet
from rivals import BLOCKS, OURS
from timing import (
    choose_threads,
    first_line,
    is_lack_of_memory,
    run_rounds,
    summarise,
    summarise_factor,
)
from workers import answer, available_cores

from lasagne.devices import start_devices

PEER = "peer"
BATCH, STEPS, NUM_FEATURES, NUM_UNITS, WIDTH, NUM_READ_SLOTS = 16, 40, 8, 100, 20, 4


class Network(NamedTuple):
    """What is timed: a kind of network with N slots and R read heads."""

    kind: str
    num_slots: int
    num_reads: int
    nearest: str = "exact"

    def __str__(self):
        ending = "" if self.nearest == "exact" else f"-{self.nearest}"
        return f"{self.kind}-{self.num_slots}-{self.num_reads}{ending}"


def make_ours(network, devices=None):
    """Our training step: a function from input and target to the loss.

    Parameters
    ----------
    network : Network
    devices : int, optional
        To add up the gradients of blocks on so many of JAX's devices, instead of one block on one device.
    """
    import pytensor
    import pytensor.tensor as pt

    import lasagne
    import ntm
    from lasagne.accumulation import accumulate_gradients
    from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
    from lasagne.nonlinearities import linear, tanh
    from lasagne.updates import rmsprop
    from ntm.controllers import LSTMController

    pytensor.config.floatX = "float32"
    lasagne.random.set_rng(np.random.RandomState(1))  # both forms start from the same parameters
    x, y = pt.tensor3("x"), pt.tensor3("y")
    l_input = InputLayer((None, None, NUM_FEATURES), x)
    memory = (network.num_slots, WIDTH)
    controller = LSTMController(l_input, memory, NUM_UNITS, network.num_reads, nonlinearity=tanh)
    kinds = {"dnc": "DNCLayer", "sam": "SAMLayer", "sdnc": "SDNCLayer"}
    sparse = {"num_read_slots": NUM_READ_SLOTS, "nearest": network.nearest}
    options = {} if network.kind == "dnc" else sparse
    layer = getattr(ntm, kinds[network.kind])(
        l_input, memory, controller, num_reads=network.num_reads, **options
    )
    l_output = DenseLayer(layer, NUM_FEATURES, num_leading_axes=2, nonlinearity=linear)
    logits = get_output(l_output)
    losses = (pt.softplus(logits) - y * logits).mean(axis=(1, 2))
    params = get_all_params(l_output, trainable=True)
    if devices is None:
        loss = losses.mean()
        grads = pytensor.grad(loss, params)
    else:
        loss, grads, *_ = accumulate_gradients(losses, params, [x, y], devices=devices)
    grads = [pt.clip(grad, -10.0, 10.0) for grad in grads]
    train = pytensor.function(
        [x, y], loss, updates=rmsprop(grads, params, 1e-4), mode=ntm.get_mode("jax")
    )
    return lambda x, y: float(train(x, y))


def measure(kind, num_slots, num_reads, nearest, threads, budget, quiet):
    """Time ours in one block and in blocks, and the peer if it is installed, in one process.

    Returns
    -------
    dict
        From name to what `timing.summarise` gives, with the peer's ``threads``; under ``factor`` what
        `timing.summarise_factor` gives; under ``failed`` a dict from name to why it is missing; under ``notes`` what
        disturbed the measurement; under ``quiet`` the fields of `quiet.Quiet` afterwards, and under ``cores`` the
        numbers of the cores.

    Raises
    ------
    ValueError
        If the losses of our two forms differ.
    """
    start_devices(threads)
    quiet = Quiet(**quiet)
    network = Network(kind, num_slots, num_reads, nearest)
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 2, (BATCH, STEPS, NUM_FEATURES)).astype(np.float32) for _ in range(2)]
    one = make_ours(network)
    calls, failed, chosen = {OURS: lambda: one(*data)}, {}, None
    expected = [calls[OURS]() for _ in range(2)]
    try:
        devices = max(count for count in range(1, threads + 1) if BATCH % count == 0)
        blocks = make_ours(network, devices)
        losses = [blocks(*data) for _ in range(2)]
        calls[BLOCKS] = lambda: blocks(*data)
        compare("blocks", losses, None, expected, None)
    except (RuntimeError, MemoryError) as error:
        failed[BLOCKS] = "out of memory" if is_lack_of_memory(error) else first_line(error)
    try:
        from peer import Peer

        peer = Peer(kind, num_slots, WIDTH, num_reads, NUM_READ_SLOTS, NUM_UNITS, NUM_FEATURES, 1)
        peer.train(*data)
        chosen = choose_threads(lambda: peer.train(*data), threads)
        calls[PEER] = lambda: peer.train(*data)
    except (ImportError, RuntimeError) as error:
        failed[PEER] = first_line(error)
    with quiet.watch() as notes:
        seconds = run_rounds(calls, budget)
    results = summarise(seconds)
    if PEER in results:
        results[PEER]["threads"] = chosen
    return {
        **results,
        "factor": summarise_factor(seconds),
        "failed": failed,
        "notes": notes,
        "quiet": {"best": quiet.best, "wait": quiet.wait},
        "cores": available_cores(),
    }


if __name__ == "__main__":
    answer(measure)
