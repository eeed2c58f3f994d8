"""How long a training step of a DNC, SAM or SDNC takes: ours and the peer's in turn, in one process."""

from typing import NamedTuple

import numpy as np
from rivals import OURS
from timing import first_line, run_rounds, summarise
from workers import answer

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


def make_ours(network):
    """Our training step: a function from input and target to the loss."""
    import pytensor
    import pytensor.tensor as pt

    import ntm
    from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
    from lasagne.nonlinearities import linear, tanh
    from lasagne.updates import rmsprop
    from ntm.controllers import LSTMController

    pytensor.config.floatX = "float32"
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
    loss = (pt.softplus(logits) - y * logits).mean()
    params = get_all_params(l_output, trainable=True)
    grads = [pt.clip(grad, -10.0, 10.0) for grad in pytensor.grad(loss, params)]
    train = pytensor.function(
        [x, y], loss, updates=rmsprop(grads, params, 1e-4), mode=ntm.get_mode("jax")
    )
    return lambda x, y: float(train(x, y))


def measure(kind, num_slots, num_reads, nearest, threads, budget):
    """Time ours, and the peer if it is installed, in one process.

    Returns
    -------
    dict
        From name to what `timing.summarise` gives; under ``failed``, if so, why there is no peer.
    """
    network = Network(kind, num_slots, num_reads, nearest)
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 2, (BATCH, STEPS, NUM_FEATURES)).astype(np.float32) for _ in range(2)]
    train = make_ours(network)
    calls, failed = {OURS: lambda: train(*data)}, None
    try:
        from peer import Peer

        peer = Peer(
            kind, num_slots, WIDTH, num_reads, NUM_READ_SLOTS, NUM_UNITS, NUM_FEATURES, threads
        )
        peer.train(*data)
        calls[PEER] = lambda: peer.train(*data)
    except (ImportError, RuntimeError) as error:
        failed = first_line(error)
    calls[OURS]()
    return {**summarise(run_rounds(calls, budget)), "failed": failed}


if __name__ == "__main__":
    answer(measure)
