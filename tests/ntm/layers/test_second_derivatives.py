"""Second derivatives, as gradient penalties and meta-learning need them, through every recurrent and memory layer."""

import time

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.fg import FunctionGraph
from pytensor.scan.op import Scan

from lasagne.layers import (
    GRULayer,
    InputLayer,
    LSTMLayer,
    RecurrentLayer,
    get_all_params,
    get_output,
)
from lasagne.loop import Loop, LoopGradient, loop

from ..networks import (
    F,
    assert_gradients_equal_differences,
    data,
    make_dnc,
    make_ntm,
    make_sam,
    make_sdnc,
    randomize,
    to_jax,
    weighted_sum,
)

LENGTH = 2


def make_recurrent(kind, **options):
    layer = kind(InputLayer((None, None, F)), 4, **options)
    randomize(layer)
    return layer


SMOOTH = {
    "recurrent": lambda: make_recurrent(RecurrentLayer, nonlinearity=pt.tanh),
    "lstm": lambda: make_recurrent(LSTMLayer),
    "gru backwards": lambda: make_recurrent(GRULayer, backwards=True),
    "ntm": make_ntm,
    "dnc": make_dnc,
}


def make_penalty(layer, x):
    """The squared norm of the gradient of a cost with respect to the input."""
    return (pytensor.grad(weighted_sum(get_output(layer, x)), x) ** 2).sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_a_penalty_equal_differences(name):
    layer, x = SMOOTH[name](), pt.tensor3("x")
    params = get_all_params(layer, trainable=True)
    assert_gradients_equal_differences([x], [data(2, LENGTH, F)], make_penalty(layer, x), params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "options"),
    [
        pytest.param(make_sam, {"num_read_slots": 2}, id="sam"),
        pytest.param(
            make_sdnc,
            {"num_read_slots": 2, "num_links": 3},
            id="sdnc",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_gradients_of_a_penalty_in_a_loop_equal_those_of_steps_laid_out(make, options):
    # The choice of slots is no smooth function, and links have no gradient: differences say nothing
    x, results = pt.tensor3("x"), []
    for unroll_scan in (False, True):
        layer = make(incoming=InputLayer((None, LENGTH, F)), unroll_scan=unroll_scan, **options)
        penalty = make_penalty(layer, x)
        params = get_all_params(layer, trainable=True)
        grads = pytensor.grad(penalty, [x, *params])
        results.append(to_jax([x], [penalty, *grads])(data(2, LENGTH, F)))
    for value, expected in zip(*results, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-8, atol=1e-12)
    assert all(np.any(grad) for grad in results[0][1:])


@pytest.mark.slow
def test_gradients_of_a_penalty_where_steps_pick_rows():
    x, items = pt.matrix("x"), pt.imatrix("items")
    rows, weights = (
        pytensor.shared(data(*shape, seed=2), name=f"{len(shape)}") for shape in ((5, 3), (3, 3))
    )

    def step(items, state):
        return [pt.tanh(state @ weights + rows[items] * state)]

    (trace,) = loop(step, [items], [x])
    penalty = (pytensor.grad((trace**2).sum(), x) ** 2).sum()
    values = [data(2, 3), np.array([[0, 1], [2, -1], [4, 0]], "int32")]
    assert_gradients_equal_differences([x, items], values, penalty, [rows, weights])


def test_a_second_derivative_is_one_node_until_it_is_compiled():
    # To write the gradient of a gradient of a scan out takes PyTensor minutes
    layer, x = make_ntm(), pt.tensor3("x")
    penalty = make_penalty(layer, x)
    start = time.process_time()
    grads = pytensor.grad(penalty, get_all_params(layer, trainable=True))
    assert time.process_time() - start < 5
    graph = FunctionGraph(outputs=grads, clone=False)
    nodes = [node.op for node in graph.apply_nodes if isinstance(node.op, LoopGradient)]
    assert {type(op.loop) for op in nodes} == {Loop, LoopGradient}
    assert not any(isinstance(node.op, Scan) for node in graph.apply_nodes)
