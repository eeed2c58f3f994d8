"""Memory networks in blocks and over devices: gradients, outputs and states are those of the whole batch."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.accumulation import accumulate_gradients, count_bytes
from lasagne.layers import InputLayer, get_all_params
from ntm import get_output_and_states

from ..gradients import assert_same, make_pair
from .networks import (
    F,
    GRUController,
    LSTMController,
    data,
    make_dnc,
    make_ntm,
    make_sam,
    make_sdnc,
    to_jax,
    to_python,
)

B, T = 5, 3
WEIGHTS = np.array([1.0, 0.0, 0.5, 2.0, 1.0])
MASK = (np.arange(T) < np.array([3, 2, 1, 3, 2])[:, None]).astype(float)

NETWORKS = {
    "NTM": make_ntm,
    "NTM with an LSTM and two heads": partial(
        make_ntm, LSTMController, writes=({}, {}), reads=({}, {})
    ),
    "NTM with a GRU, the last step": partial(make_ntm, GRUController, only_return_final=True),
    "DNC": partial(make_dnc, num_reads=2),
    "DNC with an LSTM": partial(make_dnc, LSTMController),
    "SAM": make_sam,
    "SAM with an index": partial(make_sam, memory_shape=(300, 3), nearest="lsh"),
    "SDNC": partial(make_sdnc, num_links=3),
}


def build(name):
    """A network, its variables, states and losses of a batch."""
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    layer = NETWORKS[name](
        incoming=InputLayer((None, T, F), x), mask_input=InputLayer((None, T), mask)
    )
    state = layer.make_state_variables()
    output, states = get_output_and_states(layer, None, {layer: state})
    losses = (output**2).sum(axis=tuple(range(1, output.ndim))) + mask.sum(axis=1)
    return layer, [x, mask], losses, output, state, states[layer]


#: The other networks are further cases
SLOW = ("NTM", "SAM")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "devices"),
    [
        *(
            pytest.param(name, 2, marks=[pytest.mark.exhaustive] * (name not in SLOW))
            for name in NETWORKS
        ),
        pytest.param("NTM", 1, marks=pytest.mark.exhaustive),
        pytest.param("SDNC", 1, marks=pytest.mark.exhaustive),
    ],
)
def test_networks(name, devices):
    """From the states of other sequences on, with a mask, and with weights of sequences, one of them zero."""
    layer, inputs, losses, output, state, end = build(name)
    weights, parts = pt.vector("weights"), state.flatten()
    params = get_all_params(layer, trainable=True)
    run = make_pair(
        [*inputs, weights, *parts],
        losses,
        # The values before the first step are not reached: the states are given
        [param for param in params if param in get_reached(losses)],
        [*inputs, *parts],
        weights,
        outputs=[output, *end.flatten()],
        block_size=2,
        devices=devices,
    )
    start = to_python([], layer.get_initial_state(B).flatten())()
    values = data(B, T, F)
    whole, divided = run(values, MASK, WEIGHTS, *start)
    assert_same(divided, whole, rtol=1e-9)
    # Goes on from states that differ
    again = run(values, MASK, WEIGHTS, *whole[-len(start) :])
    assert_same(again[1], again[0], rtol=1e-9)
    assert np.abs(again[0][0] - whole[0]) > 1e-6


def get_reached(losses):
    return {*pytensor.graph.traversal.graph_inputs([losses])}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_states_that_are_carried_in_shared_variables():
    """Three calls in a row, each going on from the states that the one before left."""
    results = []
    for size in (None, 2):
        layer, inputs, losses, _, state, end = build("NTM")
        start = to_python([], layer.get_initial_state(B).flatten())()
        shared = [
            pytensor.shared(value, name=part.name, shape=part.type.shape)
            for value, part in zip(start, state.flatten(), strict=True)
        ]
        given = dict(zip(state.flatten(), shared, strict=True))
        losses, *end = pytensor.graph.replace.clone_replace([losses, *end.flatten()], given)
        params = [p for p in get_all_params(layer, trainable=True) if p in get_reached(losses)]
        if size is None:
            loss = losses.mean()
            grads = pytensor.grad(loss, params)
        else:
            result = accumulate_gradients(
                losses, params, [*inputs, *shared], outputs=end, block_size=size
            )
            loss, grads, end = result.loss, result.grads, result.outputs
        train = to_jax(inputs, [loss, *grads], updates=list(zip(shared, end, strict=True)))
        calls = [train(data(B, T, F, seed=k), MASK) for k in range(3)]
        results.append([np.asarray(each) for call in calls for each in call])
        results[-1] += [np.asarray(each.get_value()) for each in shared]
    assert_same(results[1], results[0], rtol=1e-10)


def test_bytes_of_memory_networks():
    """A dense memory is kept at each step; of a sparse one, few rows are, and two memories."""
    counted = {name: count_bytes([build(name)[2]], 100).total for name in ("NTM", "DNC", "SAM")}
    memory = 6 * 3 * 8
    assert counted["NTM"] > 100 * memory
    assert counted["DNC"] > counted["NTM"] + 100 * 6 * 6 * 8  # Temporal links
    assert 2 * memory < counted["SAM"] < counted["NTM"]
    # They grow with the number of steps
    assert count_bytes([build("NTM")[2]], 200).total == 2 * counted["NTM"]
