"""The sparse DNC against the reference in NumPy, finite differences, its dense form, and its options."""

from functools import cache, partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, InputLayer, get_all_param_values, get_all_params
from lasagne.nonlinearities import tanh
from ntm import SDNCLayer, load, save
from ntm.addressing import sparse_links
from ntm.addressing.sparse import to_dense
from ntm.addressing.sparse_links import Sparse
from ntm.controllers import DenseController, GRUController, LSTMController
from ntm.heads.sparse import SAMReadHead, SAMWriteHead, SDNCReadHead
from ntm.memory import Memory

from .. import sdnc_reference
from ..contract import (
    assert_close,
    assert_learns_from_the_default_initial_values,
    assert_two_halves_equal_the_whole,
    reset_memory_after_steps,
)
from ..networks import B, F, H, data, make_sam, make_sdnc, to_jax, to_python, weighted_sum

MEMORY_SHAPE = N, M = (6, 3)
T = 14  # more steps than slots, so that slots are used again
MASK = (np.random.default_rng(0).uniform(size=(B, T)) < 0.7).astype(float)
K, L = 2, 3
make = partial(make_sdnc, memory_shape=MEMORY_SHAPE, num_read_slots=K, num_links=L)


# ---- The equations


def test_sparse_vectors():
    positions = np.array([[4, 2, 4, 0, 2, 7], [1, 1, 1, 1, 1, 1]], dtype="int32")
    values = np.array([[0.3, 0.5, 0.1, 0.0, 0.2, 0.4], [0.1, 0.0, 0.2, 0.0, 0.0, 0.3]])
    vector = Sparse(pt.constant(positions), pt.constant(values))
    together, *kept = to_python(
        [], [sparse_links.sum_duplicates(vector), *sparse_links.keep_largest(vector, 3)]
    )()
    assert_close(together[0], np.array([0.4, 0.7, 0.4, 0.0, 0.7, 0.4]))
    assert_close(together[1], np.full(6, 0.6))
    # Of two that are equal the first
    assert kept[0][0].tolist() == [2, 4, 7]
    assert kept[0].dtype == "int32"
    assert_close(kept[1], np.array([[0.7, 0.4, 0.4], [0.6, 0.0, 0.0]]))


@pytest.mark.slow
def test_precedence_and_links():
    """Over many writes, some to a slot twice, one with a weight of one."""
    slots, count, places, steps = 7, 3, 4, 12
    rng = np.random.default_rng(0)
    shapes = [(1, count), (1, places), (1, places, count), (1, count, count)]
    given = [
        Sparse(pt.tensor(dtype="int32", shape=shape), pt.tensor(dtype="float64", shape=shape))
        for shape in shapes
    ]
    last, written, backward, forward = given
    decay = pt.tensor(dtype="float64", shape=(1, slots))
    function = to_python(
        [*last, *written, *backward, *forward, decay],
        [
            *sparse_links.update_precedence(last, written, count),
            *sparse_links.update_backward_links(backward, written, last, count),
            *sparse_links.update_forward_links(forward, written, last, count),
            sparse_links.update_decay(decay, written),
        ],
    )
    last = np.zeros((1, count), dtype="int32"), np.zeros((1, count))
    precedence, decay = np.zeros(slots), np.zeros((1, slots))
    expected = dense = np.zeros((2, slots, slots))
    for t in range(steps):
        positions = rng.integers(0, slots, (1, places)).astype("int32")
        weights = rng.dirichlet(np.ones(places + 1))[None, :-1]
        if t == 5:
            weights = np.eye(places)[None, 0]
        written = np.zeros(slots)
        np.add.at(written, positions[0], weights[0])
        expected = sdnc_reference.links_after(*expected, written, precedence, count)
        expected = np.array(list(expected))
        precedence = sdnc_reference.precedence_after(precedence, written, count)

        rows = [each[None] for each in (dense[0][positions[0]], dense[1][last[0][0]])]
        rows[1] = rows[1] * (1.0 - written)
        rows = [(np.argsort(-row, axis=-1)[..., :count].astype("int32"), row) for row in rows]
        rows = [(order, np.take_along_axis(row, order, axis=-1)) for order, row in rows]
        results = function(*last, positions, weights, *rows[0], *rows[1], decay)
        dense = dense.copy()
        dense[1] *= 1.0 - written
        for k, places_of_rows in ((0, positions[0]), (1, last[0][0])):
            new = to_dense(*map(pt.constant, results[2 + 2 * k : 4 + 2 * k]), slots).eval()[0]
            for place, row in zip(places_of_rows, new, strict=True):
                dense[k][place] = row
        assert_close(np.exp(results[-1] - decay)[0], np.maximum(1.0 - written, 1e-30))
        last, decay = results[:2], results[-1]
        assert_close(to_dense(*map(pt.constant, last), slots).eval()[0], precedence)
        assert_close(dense, expected)
    assert ((expected > 0).sum(axis=-1) == count).any()
    assert sparse_links.apply_decay(2.0, np.log(0.3), np.log(0.6)).eval() == pytest.approx(1.0)


@pytest.mark.slow
def test_rows_that_come_twice_are_the_same():
    """No entry of the precedence, but with the position of one; a slot written to twice."""
    last = Sparse(pt.constant([[3, 0, 3]]), pt.constant([[0.5, 0.2, 0.0]]))
    written = Sparse(pt.constant([[1, 4, 1]]), pt.constant([[0.3, 0.2, 0.1]]))
    old = Sparse(pt.zeros((1, 3, 3), dtype="int64"), pt.zeros((1, 3, 3)))
    forward = sparse_links.update_forward_links(old, written, last, 3).values.eval()
    backward = sparse_links.update_backward_links(old, written, last, 3).values.eval()
    assert_close(forward[0], np.outer([0.5, 0.2, 0.5], [0.4, 0.2, 0.0]))
    assert_close(backward[0], np.outer([0.4, 0.2, 0.4], [0.5, 0.2, 0.0]))


@pytest.mark.slow
def test_following_links():
    rng = np.random.default_rng(0)
    links = np.array([sdnc_reference.keep_largest(row, L) for row in rng.uniform(size=(N, N))])
    links[:2] *= 2.0
    links[2:] *= 0.1
    read = np.array([[[1, 0, 1, 4], [2, 3, 5, 5]]])
    weights = np.array([[[0.3, 0.2, 0.1, 0.4], [0.1, 0.3, 0.2, 0.1]]])
    rows = np.argsort(-links, axis=-1)[:, :L]
    values = np.take_along_axis(links, rows, axis=-1)
    w = pt.tensor3()
    vector = Sparse(pt.constant(rows[read]), pt.constant(values[read]))
    followed = sparse_links.follow_links(w, vector, K)
    function = to_python([w], [*followed, pytensor.grad(weighted_sum(followed.values), w)])
    positions, result, grad = function(weights)
    sums = []
    for head in range(2):
        last = np.zeros(N)
        np.add.at(last, read[0, head], weights[0, head])
        places = sdnc_reference.largest(last @ links, K)
        expected = sdnc_reference.follow(links, last, places)
        np.testing.assert_array_equal(positions[0, head], places)
        assert_close(result[0, head], expected[places])
        sums.append((last @ links)[places].sum())
    # One head's weights are scaled, the other's are not
    assert sums[0] > 1 > sums[1]
    assert_close(grad[0, 1], links[read[0, 1]][:, positions[0, 1]] @ np.cos([2, 3]))
    # Where all lead to one slot, it is read once
    alone = Sparse(pt.full((1, 2, 4, L), 5), pt.full((1, 2, 4, L), 0.25))
    _, result = (each.eval() for each in sparse_links.follow_links(pt.constant(weights), alone, K))
    assert_close(result[0, :, 0], 0.25 * L * weights[0].sum(axis=1))
    assert not np.any(result[:, :, 1])
    none = Sparse(pt.zeros((1, 2, 4, L), dtype="int32"), pt.zeros((1, 2, 4, L)))
    assert not np.any(sparse_links.follow_links(pt.constant(weights), none, K).values.eval())


def test_read_modes():
    parts = np.array([[[0.5, 0.25]], [[1.0, 0.0]], [[0.25, 0.25]]])[:, None]
    modes = np.array([[[0.5, 0.25, 0.25]]])
    result = sparse_links.get_read_weights(*map(pt.constant, parts), pt.constant(modes)).eval()
    assert_close(result, np.array([[[0.25, 0.125, 0.25, 0.0, 0.0625, 0.0625]]]))


# ---- Values


def get_inputs(layer):
    return [pt.tensor3("x"), *([pt.matrix("mask")] if layer.has_mask else [])]


def assert_details_equal(layer, details, traces, chosen):
    """Traces, with those of links and positions as rows of all slots."""
    details = sdnc_reference.spread_links(zip(layer.detail_names, details, strict=True), N)
    positions = details.pop("read_positions")
    assert positions.shape[-1] == 3 * layer.num_read_slots
    for b, steps in enumerate(chosen):
        for t, choices in enumerate(steps):
            for way, slots in enumerate(choices[3:]):
                for r, expected in enumerate(slots):
                    first = way * layer.num_read_slots
                    given = positions[b, t, r, first : first + len(expected)]
                    np.testing.assert_array_equal(given, expected)
    for name, value in details.items():
        assert_close(value, traces[name])


def assert_equals_reference(layer, mask=None, compile=to_jax, steps=T, **kwargs):
    x = data(B, steps, F)
    inputs = get_inputs(layer)
    output, last = layer.get_output_for(inputs, return_state=True, **kwargs)
    details = layer.get_output_for(inputs, get_details=True, **kwargs)
    parts = [last.memory, last.last_access, last.time, *details]
    values = [x] if mask is None else [x, mask[:, :steps]]
    output, memory, last_access, time, *details = compile(inputs, [output, *parts])(*values)
    use_memory = kwargs.get("pass_through_memory", True)
    expected, traces, chosen = sdnc_reference.run(layer, *values, use_memory=use_memory)
    end = 0 if layer.backwards else -1
    assert_close(output, expected[:, end] if layer.only_return_final else expected)
    assert_details_equal(layer, details, traces, chosen)
    assert_close(memory, traces["memory"][:, end])
    assert_close(last_access, traces["last_access"][:, end])
    np.testing.assert_array_equal(time, traces["time"][:, end])
    return traces


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"controller": LSTMController, "num_reads": 2, "mask_input": InputLayer((None, None))},
        {"num_read_slots": 1, "num_links": 2, "backwards": True, "precompute_input": False},
    ],
)
def test_layer_equals_the_reference(options):
    layer = make(**options)
    traces = assert_equals_reference(layer, MASK if layer.has_mask else None)
    assert len(np.unique(traces["last_access"])) > 4
    # Links are left out, and followed
    assert ((traces["backward_links"] > 0).sum(axis=-1) == layer.num_links).any()
    assert ((traces["forward_links"] > 0).sum(axis=-1) == layer.num_links).any()
    places = layer.num_read_slots
    assert ((traces["read_weights"] > 0).sum(axis=-1) > places).any()


@pytest.mark.slow
def test_layer_in_python_equals_the_reference():
    assert_equals_reference(make(GRUController, 2, only_return_final=True), None, to_python, 9)


@pytest.mark.slow
def test_memory_left_out():
    traces = assert_equals_reference(make(), compile=to_python, steps=3, pass_through_memory=False)
    assert not np.any(traces["reads"])


@pytest.mark.slow
def test_all_slots_and_links_equal_the_dense_form():
    layer = make(LSTMController, 2, num_read_slots=N, num_links=N)
    x, values = pt.tensor3("x"), data(B, T, F)
    output = to_jax([x], layer.get_output_for(x))(values)
    assert_close(output, sdnc_reference.run_dense(layer, values))


@cache
def get_weights_function():
    layer = make(num_reads=2)
    x = pt.tensor3("x")
    return layer, to_jax([x], layer.get_output_for(x, get_details=True))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 10.0, 100.0]))
def test_weights_are_weights(seed, scale):
    layer, function = get_weights_function()
    rng = np.random.default_rng(seed)
    for param in get_all_params(layer):
        shape = param.get_value(borrow=True).shape
        param.set_value(rng.normal(size=shape).astype(param.dtype) * scale)
    results = function(rng.normal(size=(B, T, F)))
    details = dict(zip(layer.detail_names, results, strict=True))
    for name in ("read_weights", "write_weights", "precedence", "backward_links"):
        assert (details[name] >= 0).all()
        assert details[name].sum(axis=-1).max() <= 1 + 1e-9
    assert (details["forward_links"] >= 0).all()
    assert details["forward_links"].max() <= 1 + 1e-9
    for name in ("read_positions", "backward_positions", "forward_positions"):
        assert details[name].min() >= 0
        assert details[name].max() < N
    slots = np.arange(N)[:, None]
    for name in ("backward", "forward"):
        links, positions = details[f"{name}_links"], details[f"{name}_positions"]
        assert not np.any(links[positions == slots])


# ---- Gradients


def get_cost(output, memory):
    return weighted_sum(output) + weighted_sum(memory)


def get_numpy_cost(output, memory):
    return sum((each.ravel() * np.cos(np.arange(each.size))).sum() for each in (output, memory))


@cache
def get_gradients():
    """A network with a mask: its gradients by the input and all parameters where writes are undone."""
    controller = partial(LSTMController, nonlinearity=tanh)
    layer = make(controller, 2, mask_input=InputLayer((None, None)))
    inputs = get_inputs(layer)
    output, last = layer.get_output_for(inputs, return_state=True)
    grads = pytensor.grad(get_cost(output, last.memory), [inputs[0], *layer.get_params()])
    return layer, to_jax(inputs, grads)(data(B, T, F), MASK)


@pytest.mark.slow
def test_gradients_equal_differences_where_choices_and_links_stay():
    layer, grads = get_gradients()
    x = data(B, T, F)
    *_, chosen = sdnc_reference.run(layer, x, MASK)

    def move_input(value):
        x[...] = value

    params = layer.get_params()
    places = [(x.copy(), move_input), *((p.get_value(), p.set_value) for p in params)]
    for k, (grad, (value, move_to)) in enumerate(zip(grads, places, strict=True)):
        direction = data(*value.shape, seed=k)
        costs = []
        for size in (1e-5, -1e-5):
            move_to(value + size * direction)
            output, traces, _ = sdnc_reference.run(layer, x, MASK, chosen=chosen)
            costs.append(get_numpy_cost(output, traces["memory"][:, -1]))
        move_to(value)
        difference, slope = (costs[0] - costs[1]) / 2e-5, (grad * direction).sum()
        name = params[k - 1].name if k else "input"
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8, err_msg=name)
        assert np.any(grad)


def assert_gradients_close(grads, expected):
    for value, wanted in zip(grads, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_gradients_where_writes_are_undone_equal_those_of_the_loop_that_keeps_all():
    layer, expected = get_gradients()
    inputs = get_inputs(layer)
    traces = dict(
        zip(layer.detail_names, layer.get_output_for(inputs, get_details=True), strict=True)
    )
    output = pt.concatenate([traces["hidden"], traces["reads"].flatten(3)], axis=2)
    cost = get_cost(output, traces["memory"][:, -1])
    grads = to_jax(inputs, pytensor.grad(cost, [inputs[0], *layer.get_params()]))
    assert_gradients_close(grads(data(B, T, F), MASK), expected)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_gradients_in_python():
    layer = make(num_read_slots=1, num_links=2)
    x = pt.tensor3("x")
    grads = pytensor.grad(weighted_sum(layer.get_output_for(x)), [x, *layer.get_params()])
    grads, expected = (compile([x], grads)(data(B, 9, F)) for compile in (to_python, to_jax))
    assert_gradients_close(grads, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_training_from_the_default_initial_values():
    assert_learns_from_the_default_initial_values(SDNCLayer, 12)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_gradient_keeps_changed_rows_and_neither_memory_nor_links():
    slots, width, steps, reads, count, links = 4096, 16, 200, 2, 4, 8
    layer = make_sdnc(
        num_reads=reads, memory_shape=(slots, width), num_read_slots=count, num_links=links
    )
    x = pt.tensor3("x")
    grads = pytensor.grad(layer.get_output_for(x).sum(), layer.get_params(trainable=True))
    function = pytensor.function([x], grads, mode=get_mode("jax"))
    arguments = [data(1, steps, F), *(storage[0] for storage in function.vm.inputs[1:])]
    compiled = function.vm.jit_fn.lower(*arguments).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes / 4
    large = slots * (width + 5 * links)
    rows = steps * (3 * reads * count + 1) * (width + 4 * links)
    assert taken < 6 * large + 6 * rows
    assert taken < steps * slots * min(width, links) / 5


# ---- State


@cache
def get_network():
    layer = make(num_reads=2, name="sdnc")
    return layer, DenseLayer(layer, 2, num_leading_axes=2)


@pytest.mark.slow
def test_two_halves_equal_the_whole():
    layer, top = get_network()
    assert_two_halves_equal_the_whole(layer, top, data(B, T, F), 6)


@pytest.mark.slow
def test_step_function_and_resets():
    layer, top = get_network()
    before, after = reset_memory_after_steps(layer, top, data(B, 4, F), 3)
    np.testing.assert_array_equal(after.hidden, before.hidden)
    for name in ("last_access", "precedence", "backward_links", "forward_links"):
        assert not np.any(getattr(after, name))
        assert np.any(getattr(before, name))


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.005, 0.0])
def test_step_with_mask(threshold):
    layer = make(num_reads=2, usage_threshold=threshold)
    state, x, mask = layer.make_state_variables(), pt.matrix("x"), pt.vector("mask")
    new = layer.step(x, state, mask)
    function = to_python([x, mask, *state.flatten()], new.flatten())
    middle = to_python([], layer.get_initial_state(B).flatten())()
    for seed in range(2, 8):
        middle = function(data(B, F, seed=seed), np.ones(B), *middle)
    moved = function(data(B, F), np.ones(B), *middle)
    masked = function(data(B, F), np.array([1.0, 0.0, 1.0]), *middle)
    for one, before, after in zip(masked, middle, moved, strict=True):
        np.testing.assert_array_equal(one[[0, 2]], after[[0, 2]])
        np.testing.assert_array_equal(one[1], before[1])


def test_state_of_another_kind():
    layer, _ = get_network()
    other = make_sam(memory_shape=MEMORY_SHAPE).make_state_variables()
    with pytest.raises(TypeError, match="'sdnc': state must be of type SDNCState, not SAMState"):
        layer.get_output_for(pt.tensor3(), state=other)


# ---- Construction


def test_short_notation():
    l_in = InputLayer((None, 7, 9))
    layer = SDNCLayer(l_in, (8, 4), lambda l: DenseLayer(l, 10), num_reads=3)
    assert layer.output_shape == (None, 7, 22)
    assert [type(head) for head in layer.heads] == [SAMWriteHead] + 3 * [SDNCReadHead]
    names = [param.name for param in get_all_params(layer)]
    assert "write.interpolation_gate.W" in names
    assert "read2.modes.b" in names
    assert len(names) == len(set(names))
    heads = [partial(SDNCReadHead, name="r"), SAMWriteHead]
    layer = SDNCLayer(l_in, (8, 4), lambda l: DenseLayer(l, 10), heads, only_return_final=True)
    assert layer.output_shape == (None, 14)


@pytest.mark.slow
def test_saving_and_loading(tmp_path):
    path = tmp_path / "some.network"
    layer = SDNCLayer(
        InputLayer((None, None, F)),
        Memory(MEMORY_SHAPE, learn_init=False),
        lambda l: GRUController(l, num_units=H),
        num_reads=2,
        num_read_slots=3,
        num_links=4,
        name="sdnc",
    )
    save(path, layer)
    other = load(path)
    assert (other.num_read_slots, other.num_links, other.name) == (3, 4, "sdnc")
    for value, expected in zip(
        get_all_param_values(other), get_all_param_values(layer), strict=True
    ):
        np.testing.assert_array_equal(value, expected)


def build_with(num_reads=None, controller=None, heads=None, **options):
    l_in = InputLayer((None, None, F))
    controller = controller or DenseController(l_in, MEMORY_SHAPE, H, 2, name="dense")
    options = {"num_links": L, "name": "my sdnc", **options}
    return SDNCLayer(l_in, MEMORY_SHAPE, controller, heads, num_reads, **options)


def stack(layer):
    return DenseLayer(layer, H)


ERRORS = {
    "no links": ({"num_links": 0}, ValueError, ["num_links", "6 slots", "0"]),
    "too many links": ({"num_links": N + 1}, ValueError, ["num_links", "6 slots", "7"]),
    "half a link": ({"num_links": 1.5}, ValueError, ["num_links", "1.5"]),
    "too many slots": ({"num_read_slots": N + 1}, ValueError, ["num_read_slots", "6", "7"]),
    "no write head": (
        {"controller": stack, "heads": [SDNCReadHead]},
        ValueError,
        ["one SAMWriteHead", "one SDNCReadHead", "are 0 and 1"],
    ),
    "heads of a SAM": (
        {"controller": stack, "heads": [SAMWriteHead, SAMReadHead]},
        TypeError,
        ["SAMWriteHead for one that writes and SDNCReadHead for one that reads", "SAMReadHead"],
    ),
    "number of reads": ({"num_reads": 3}, ValueError, ["num_reads=2", "3 read heads"]),
    "option": ({"num_link": 2}, TypeError, ["'num_link'", "'num_links'"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_where_what_and_why(case):
    arguments, error, parts = ERRORS[case]
    with pytest.raises(error) as caught:
        build_with(**arguments)
    for part in ["SDNCLayer 'my sdnc'", *parts]:
        assert part in str(caught.value)
