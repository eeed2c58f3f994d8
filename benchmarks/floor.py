"""The least that a training step can take: its arithmetic and its traffic at the rates of this machine.

With B sequences of T steps, F features, H units, N slots of width M, W write and R read heads, K = W + R, and
A = M + 6 numbers that tell a head where to look, a step forward takes for each sequence

====================== ================================================
controller, dense      2 H (F + R M)
controller, LSTM       8 H (F + R M + H)
heads                  2 H (K A + 2 W M)
erasing, adding        5 N M W
reading                2 N M R
likeness of the slots  2 N M (K + 1), the 1 for the slots' norms
weights                24 N K: two softmaxes, interpolation, shift, power
output                 2 H F
====================== ================================================

floating point operations, a root, an exponential or a logarithm counted as one. Backwards, each product becomes two,
and so, about, does every other operation: in all three times the step forward. The update takes 16 operations for
each parameter: two averages, the deviation, the momentum, the clipping.

The traffic is, for every step and sequence, the memory N M, the weights K N, the controller's state and the heads'
parameters, written on the way forward and read on the way back; and, for each parameter, it and the optimiser's three
averages, read and written. What fits the caches moves faster than that, so for short sequences the traffic is no
bound; it hardly counts there.
"""

import time

import numpy as np
from cases import NUM_FEATURES as F
from cases import NUM_SHIFTS, NUM_UNITS
from workers import answer

H = NUM_UNITS
FLOAT = 4  # bytes
UPDATE = 16  # operations for each parameter
COPY_BYTES = 2**28
PRODUCT_SIZE = 512


def head_parameters(network):
    """What all heads need to know in a step: K A + 2 W M numbers."""
    writes = network.num_heads
    return 2 * writes * (network.width + 3 + NUM_SHIFTS) + 2 * writes * network.width


def num_operations(case, num_parameters):
    """Floating point operations of a training step."""
    net = case.network
    N, M, W, R = net.num_slots, net.width, net.num_heads, net.num_heads
    K = W + R
    controller = 2 * H * (F + R * M) if net.controller == "dense" else 8 * H * (F + R * M + H)
    step = controller + 2 * H * head_parameters(net) + 5 * N * M * W + 2 * N * M * R
    step += 2 * N * M * (K + 1) + 24 * N * K + 2 * H * F
    return 3 * case.batch * case.steps * step + UPDATE * num_parameters


def num_bytes(case, num_parameters):
    """Bytes that a training step moves."""
    net = case.network
    state = H if net.controller == "dense" else 6 * H  # with the LSTM's gates and its cell
    step = net.num_slots * (net.width + 2 * net.num_heads) + state + head_parameters(net)
    return FLOAT * (2 * case.batch * case.steps * step + 8 * num_parameters)


def floor(case, num_parameters, rates):
    """Seconds that a training step takes at least: the longer of arithmetic and traffic, and the call."""
    arithmetic = num_operations(case, num_parameters) / rates["operations"]
    traffic = num_bytes(case, num_parameters) / rates["bytes"]
    return max(arithmetic, traffic) + rates["call"]


def _least_time(function, repeats):
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(sizes):
    """The best rates of this machine, on the cores that the process may use.

    Parameters
    ----------
    sizes : list of int
        Of each parameter.

    Returns
    -------
    dict
        ``operations`` in a second, of a product of matrices that fit the cache; ``bytes`` in a second, read and
        written, of a copy that does not; ``call``, the seconds of a compiled function that does next to nothing, with
        each parameter and its three averages among its arguments and results.
    """
    import jax
    import jax.numpy as jnp

    matrix = jnp.ones((PRODUCT_SIZE, PRODUCT_SIZE))
    product = jax.jit(jnp.dot)
    seconds = _least_time(lambda: product(matrix, matrix).block_until_ready(), 50)
    source = np.ones(COPY_BYTES // FLOAT, np.float32)
    target = np.ones_like(source)
    copying = _least_time(lambda: np.copyto(target, source), 10)
    arguments = [jnp.zeros(size) for size in sizes for _ in range(4)]

    def nothing(values, x):
        return x[0] + 1.0, values

    empty = jax.jit(nothing, donate_argnums=0)
    x = np.zeros(1, np.float32)

    def call():
        nonlocal arguments
        result, arguments = empty(arguments, x)
        float(result)

    return {
        "operations": 2 * PRODUCT_SIZE**3 / seconds,
        "bytes": 2 * COPY_BYTES / copying,
        "call": _least_time(call, 200),
    }


if __name__ == "__main__":
    answer(measure)
