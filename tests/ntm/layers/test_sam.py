"""The sparse access memory against the reference in NumPy, finite differences, its dense form, and its options."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytensor.compile.mode import Mode

from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, InputLayer, get_all_params
from lasagne.loop import loop
from lasagne.nonlinearities import tanh
from ntm import SAMLayer, load, save
from ntm.addressing.jax_rows import (
    find_by_sorting,
    find_in_one_pass,
    find_in_two_passes,
    find_one_after_the_other,
    top_k_by_blocks,
)
from ntm.addressing.rows import (
    FirstLeast,
    MostSimilar,
    ReadRows,
    TopK,
    WriteRows,
    read_rows,
    write_rows,
)
from ntm.addressing.sparse import find_least_used, get_write_weights, to_dense, update_last_access
from ntm.controllers import DenseController, GRUController, LSTMController
from ntm.heads.sparse import SAMReadHead, SAMWriteHead
from ntm.layers.sparse_loop import sparse_loop
from ntm.memory import Memory

from .. import sam_reference
from ..contract import (
    assert_close,
    assert_gradients_are_clipped_between_steps,
    assert_learns_from_the_default_initial_values,
    assert_memory_is_left_out,
    assert_two_halves_equal_the_whole,
    reset_memory_after_steps,
)
from ..networks import (
    B,
    F,
    H,
    assert_gradients_equal_differences,
    data,
    make_dnc,
    make_sam,
    to_jax,
    to_python,
    weighted_sum,
)

MEMORY_SHAPE = N, M = (6, 3)
T = 14  # more steps than slots, so that slots are used again
MASK = (np.random.default_rng(0).uniform(size=(B, T)) < 0.7).astype(float)


# ---- Reading and writing rows, and the equations

POSITIONS = np.array([[2, 0, 2], [1, 1, 3]], dtype="int32")
ERASES = np.array([True, False])


@pytest.mark.slow
@pytest.mark.parametrize("compile", [to_jax, to_python])
def test_rows(compile):
    memory, added = data(2, 4, M), data(2, 3, M, seed=2)
    expected = memory.copy()
    expected[0, 2] = 0.0
    for b in range(2):
        for j in range(3):
            expected[b, POSITIONS[b, j]] += added[b, j]

    m, a = pt.tensor3("memory"), pt.tensor3("added")
    written = write_rows(m, POSITIONS, a, ERASES)
    rows = read_rows(written, POSITIONS.reshape(2, 3, 1))
    grads = pytensor.grad(weighted_sum(rows), [m, a])
    value, read, memory_grad, added_grad = compile([m, a], [written, rows, *grads])(memory, added)
    assert_close(value, expected)
    assert_close(read, np.take_along_axis(expected, POSITIONS[:, :, None], axis=1)[:, :, None])
    weights = np.cos(np.arange(18)).reshape(2, 3, M)
    total = np.zeros_like(memory)
    for b in range(2):
        np.add.at(total[b], POSITIONS[b], weights[b])
    assert_close(added_grad, np.take_along_axis(total, POSITIONS[:, :, None], axis=1))
    total[0, 2] = 0.0  # erased
    assert_close(memory_grad, total)


@pytest.mark.parametrize("compile", [to_jax, to_python])
def test_top_k_takes_equals_in_their_order(compile):
    x = pt.matrix()
    values = np.array([[1.0, 3.0, 1.0, 3.0, 2.0, 1.0], [0.0] * 6])
    result = compile([x], TopK(4)(x))(values)
    np.testing.assert_array_equal(result, [[1, 3, 4, 0], [0, 1, 2, 3]])


@pytest.mark.slow
@pytest.mark.parametrize("compile", [to_jax, to_python])
@pytest.mark.parametrize("length", [40, 700, 1000, 5000])
def test_top_k_takes_equals_in_their_order_from_many(compile, length):
    x = pt.tensor3()
    values = np.random.default_rng(0).integers(0, 4, (B, 2, length)).astype(float)
    values[0, 0] = 0.0
    values[0, 1, : length - 3] = -1.0
    values[1, 0, [17, length - 1]] = np.nan
    result = compile([x], TopK(6)(x))(values)
    values[np.isnan(values)] = np.inf  # It comes before all numbers, so that it is seen
    for row, found in zip(values.reshape(-1, length), result.reshape(-1, 6), strict=True):
        expected = sorted(range(length), key=lambda place, row=row: (-row[place], place))[:6]
        assert found.tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("length", [128, 1000, 1024])
def test_largest_of_many_are_those_of_a_sort(length):
    """Also where several are equal, at the end of the last block, and where there is NaN."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(0, length // 8, (B, 2, length)), "float32")
    x = jnp.concatenate([x, -x, jnp.zeros_like(x), x.at[:, :, 5].set(jnp.nan)])
    found = top_k_by_blocks(x, 6)
    assert found.dtype == "int32"
    np.testing.assert_array_equal(found, jax.lax.top_k(x, 6)[1])


@pytest.mark.parametrize("compile", [to_jax, to_python])
def test_first_least_is_the_first_of_equals(compile):
    values = np.array([[3, 1, 1, 5], [0, 0, 0, 0], [4, 3, 2, -1]], "int32")
    result = compile([x := pt.imatrix()], FirstLeast()(x))(values)
    assert result.dtype == "int32"
    assert result.tolist() == [1, 0, 3]


def test_one_pass_finds_what_two_find():
    x = np.random.default_rng(0).integers(0, 3, (B, 5, 300)).astype("int32")
    expected = x.argmin(axis=-1)
    for find in (find_in_one_pass, find_in_two_passes):
        np.testing.assert_array_equal(find(jnp.asarray(x)), expected)


@pytest.mark.parametrize("find", [find_one_after_the_other, find_by_sorting, "python"])
def test_most_similar_candidates_are_found_once(find):
    """Where slots come several times, are equally similar, NaN, or no candidates."""
    rng = np.random.default_rng(0)
    candidates = rng.integers(0, 30, (B, 5, 40)).astype("int32")
    candidates[..., -6:] = np.arange(1, 7)
    of_slots = rng.integers(0, 6, (B, 5, 30)).astype(float)
    of_slots[..., 0] = -np.inf
    similarity = np.take_along_axis(of_slots, candidates, axis=-1)
    if find == "python":
        arguments = [pt.tensor3(), pt.itensor3()]
        function = to_python(arguments, MostSimilar(6)(*arguments))
        found = function(similarity, candidates)
    else:
        found = find(jnp.asarray(similarity), jnp.asarray(candidates), 6)
    for row, slots, each in zip(
        of_slots.reshape(-1, 30),
        candidates.reshape(-1, 40),
        np.asarray(found).reshape(-1, 6),
        strict=True,
    ):
        expected = sorted(set(slots.tolist()), key=lambda slot, row=row: (-row[slot], slot))[:6]
        assert each.tolist() == expected


def test_usage_and_write_weights():
    last_access = pt.constant(np.array([[3, 1, 1, 5]], dtype="int32"))
    assert find_least_used(last_access).eval().tolist() == [1]
    # Each of two weights is below the threshold, and they are together above it
    positions = pt.constant(np.array([[0, 1, 0, 3]], dtype="int32"))
    weights = pt.constant(np.array([[0.3, 0.3, 0.3, 0.7]]))
    time = pt.constant(np.array([6], dtype="int32"))
    assert update_last_access(last_access, time, positions, weights, 0.5).eval().tolist() == [
        [6, 1, 1, 6]
    ]
    # What is no more than the threshold does not count, at a threshold of zero either
    weights = pt.constant(np.array([[0.0, 0.5, 0.0, 0.75]]))
    assert update_last_access(last_access, time, positions, weights, 0.5).eval().tolist() == [
        [3, 1, 1, 6]
    ]
    assert update_last_access(last_access, time, positions, weights, 0.0).eval().tolist() == [
        [3, 6, 1, 6]
    ]
    given = pt.constant(np.array([[[0.75, 0.25], [0.5, 0.5]]]))
    gates = (pt.constant(np.array([gate])) for gate in (0.5, 0.8))
    weights = get_write_weights(given, *gates).eval()
    assert_close(weights, np.array([[0.15, 0.05, 0.1, 0.1, 0.1]]))
    positions = pt.constant(np.array([[1, 3, 1, 3, 0]]))
    assert_close(
        to_dense(positions, pt.constant(weights), 4).eval(), np.array([[0.1, 0.25, 0.0, 0.15]])
    )


# ---- Values


def compile_all(layer, compile=to_jax, **kwargs):
    """A function from input, and mask where there is one, to output, the parts of the last state, and details."""
    inputs = [pt.tensor3("x"), *([pt.matrix("mask")] if layer.has_mask else [])]
    output, last = layer.get_output_for(inputs, return_state=True, **kwargs)
    details = layer.get_output_for(inputs, get_details=True, **kwargs)
    return compile(inputs, [output, last.memory, last.last_access, last.time, *details])


def assert_equals_reference(layer, mask=None, compile=to_jax, steps=T, **kwargs):
    x = data(B, steps, F)
    function = compile_all(layer, compile, **kwargs)
    output, memory, last_access, time, *details = function(*([x] if mask is None else [x, mask]))
    use_memory = kwargs.get("pass_through_memory", True)
    expected, traces = sam_reference.run(layer, x, mask, use_memory)
    end = 0 if layer.backwards else -1
    assert_close(output, expected[:, end] if layer.only_return_final else expected)
    details = dict(zip(layer.detail_names, details, strict=True))
    for name, value in details.items():
        assert_close(value, traces[name])
    assert_close(memory, traces["memory"][:, end])
    assert_close(last_access, traces["last_access"][:, end])
    steps = np.full(B, steps) if mask is None else mask.sum(axis=1)
    np.testing.assert_array_equal(time, steps * use_memory)
    return details


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"controller": LSTMController, "num_reads": 3, "mask_input": InputLayer((None, None))},
        {"num_read_slots": 2, "backwards": True, "precompute_input": False},
        {"controller": GRUController, "num_reads": 2, "only_return_final": True},
    ],
)
def test_layer_equals_the_reference(options):
    layer = make_sam(memory_shape=MEMORY_SHAPE, **options)
    details = assert_equals_reference(layer, MASK if layer.has_mask else None)
    assert len(np.unique(details["last_access"])) > 4
    slots = layer.num_read_slots
    assert ((details["read_weights"] > 0).sum(axis=-1) <= slots).all()


@pytest.mark.slow
def test_layer_in_python_equals_the_reference():
    layer = make_sam(LSTMController, 2, memory_shape=MEMORY_SHAPE)
    assert_equals_reference(layer, compile=to_python, steps=8)


@pytest.mark.slow
def test_memory_left_out():
    layer = make_sam(LSTMController, 2, memory_shape=MEMORY_SHAPE)
    details = assert_equals_reference(layer, pass_through_memory=False)
    assert not np.any(details["reads"])


@pytest.mark.slow
@pytest.mark.parametrize("nearest", ["exact", "lsh"])
def test_memory_left_out_after_steps_with_it(nearest):
    assert_memory_is_left_out(make_sam(LSTMController, 2, memory_shape=(9, M), nearest=nearest))


@cache
def get_weights_function():
    layer = make_sam(num_reads=2, memory_shape=MEMORY_SHAPE)
    return layer, compile_all(layer)


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
    details = dict(zip(layer.detail_names, results[4:], strict=True))
    for name in ("read_weights", "write_weights"):
        assert (details[name] >= 0).all()
        assert details[name].sum(axis=-1).max() <= 1 + 1e-9
    np.testing.assert_allclose(details["read_weights"].sum(axis=-1), 1, atol=1e-9)
    positions = details["read_positions"]
    assert positions.min() >= 0
    assert positions.max() < N
    assert (np.diff(np.sort(positions, axis=-1), axis=-1) > 0).all()
    assert (np.diff(details["last_access"], axis=1) >= 0).all()
    assert (details["last_access"] <= np.arange(1, T + 1)[:, None]).all()


# ---- Gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_reads", "options"), [(2, {"mask_input": InputLayer((None, None))}), (1, {})]
)
def test_gradients_equal_finite_differences(num_reads, options):
    controller = partial(LSTMController if num_reads == 2 else DenseController, nonlinearity=tanh)
    layer = make_sam(
        controller,
        num_reads,
        memory_shape=MEMORY_SHAPE,
        num_read_slots=3,
        **options,
    )
    inputs = [pt.tensor3("x"), pt.matrix("mask")][: 1 + layer.has_mask]
    values = [data(B, 9, F), MASK[:, :9]][: 1 + layer.has_mask]
    output, last = layer.get_output_for(inputs, return_state=True)
    cost = weighted_sum(output) + weighted_sum(last.memory)
    assert_gradients_equal_differences(inputs, values, cost, get_all_params(layer))


def get_gradients(layer, cost_of, compile, values):
    x = pt.tensor3("x")
    grads = pytensor.grad(cost_of(layer.get_output_for(x)), [x, *layer.get_params()])
    return compile([x], grads)(values)


def assert_gradients_close(grads, expected):
    for value, wanted in zip(grads, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-8, atol=1e-10)
        assert np.any(wanted)


@pytest.mark.slow
def test_gradients_where_writes_are_undone_equal_those_of_the_loop_that_keeps_all():
    make = partial(
        make_sam, LSTMController, 2, memory_shape=MEMORY_SHAPE, num_read_slots=3, backwards=True
    )
    x = data(B, T, F)
    grads = get_gradients(make(), weighted_sum, to_jax, x)
    kept = get_gradients(make(gradient_steps=T), weighted_sum, to_jax, x)
    assert_gradients_close(grads, kept)


# In CI, test_several_writes_a_step covers gradients of a sparse loop in Python, and test_sdnc.py those of such a layer
@pytest.mark.slow
@pytest.mark.exhaustive
def test_gradients_in_python():
    layer = make_sam(GRUController, memory_shape=MEMORY_SHAPE, num_read_slots=2, backwards=True)
    x = data(B, N + 2, F)
    grads, expected = (
        get_gradients(layer, weighted_sum, compile, x) for compile in (to_python, to_jax)
    )
    assert_gradients_close(grads, expected)


@pytest.mark.slow
def test_grad_clipping_clips_between_steps():
    make = partial(make_sam, num_reads=2, memory_shape=MEMORY_SHAPE)
    assert_gradients_are_clipped_between_steps(make, 0.01)


def get_dense_output(layer, x):
    """The output where every slot is read: sums over all slots, without positions. Always slot 0 is least used."""
    fused, heads = layer.controller.fuse(), layer.all_heads
    memory = pt.alloc(layer.memory.memory_init, B, N, M)
    states = layer.controller.outputs_info(B)
    reads, weights = pt.zeros((B, layer.num_reads, M)), pt.zeros((B, layer.num_reads, N))
    least_used, outputs = np.eye(N)[:1], []
    for t in range(6):
        projected = layer.controller.project(x[:, t], fused)
        states = layer.controller.advance(projected, reads.flatten(2), states, fused)
        interface = heads.get_interface(states[0])
        gate = interface.interpolation_gate[:, None]
        written = gate * weights.mean(axis=1) + (1 - gate) * least_used
        written *= interface.write_gate[:, None]
        memory = memory * (1 - least_used[:, :, None])
        memory += written[:, :, None] * interface.add[:, None]
        squares = (interface.key**2).sum(axis=2)[:, :, None] * (memory**2).sum(axis=2)[:, None]
        likeness = pt.matmul(interface.key, memory.transpose(0, 2, 1)) / pt.sqrt(squares + 1e-6)
        weights = pt.special.softmax(interface.beta[:, :, None] * likeness, axis=-1)
        reads = pt.matmul(weights, memory)
        outputs.append(pt.concatenate([states[0], reads.flatten(2)], axis=1))
    return pt.stack(outputs, axis=1)


@pytest.mark.slow
def test_all_slots_read_equals_the_dense_form():
    layer = make_sam(num_reads=2, memory_shape=MEMORY_SHAPE, num_read_slots=N, usage_threshold=0.0)
    x = pt.tensor3("x")
    # A dense controller has no use for its output of the step before
    params = [x, *(p for p in layer.get_params() if p is not layer.controller.hid_init)]
    results = []
    for output in (layer.get_output_for(x), get_dense_output(layer, x)):
        cost = weighted_sum(output)
        function = to_jax([x], [output, *pytensor.grad(cost, params)])
        results.append(function(data(B, 6, F)))
    assert_gradients_close(*results)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_training_from_the_default_initial_values():
    assert_learns_from_the_default_initial_values(SAMLayer, 12)


# ---- What the gradient keeps


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_gradient_keeps_changed_rows_and_not_the_memory():
    slots, width, steps = 4096, 16, 200
    layer = make_sam(num_reads=2, memory_shape=(slots, width), num_read_slots=4)
    x = pt.tensor3("x")
    grads = pytensor.grad(layer.get_output_for(x).sum(), layer.get_params(trainable=True))
    function = pytensor.function([x], grads, mode=get_mode("jax"))
    arguments = [data(1, steps, F), *(storage[0] for storage in function.vm.inputs[1:])]
    compiled = function.vm.jit_fn.lower(*arguments).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes / 4
    memory, rows = slots * width, steps * (2 * 4 + 1) * width
    assert taken < 6 * memory + 6 * rows
    assert taken < steps * memory / 20


@pytest.mark.slow
def test_undoing_the_writes_restores_the_memory():
    """Bit for bit, whatever was added: the rows are put back, not subtracted from."""
    from ntm.addressing import jax_rows

    rng = np.random.default_rng(0)
    first = memory = jnp.asarray(rng.normal(size=(B, N, M)), "float32")
    kept = []
    for _ in range(50):
        positions = rng.integers(0, N, (B, 5)).astype("int32")
        added = (rng.normal(size=(B, 5, M)) * 10.0 ** rng.integers(-9, 9)).astype("float32")
        memory, old = jax_rows.write_rows(memory, positions, added, rng.uniform(size=B) < 0.5)
        kept.append((positions, old))
    for positions, old in reversed(kept):
        memory = jax_rows.scatter_rows(memory, positions, old)
    np.testing.assert_array_equal(memory, first)


def test_steps_that_use_the_memory_otherwise():
    x, state, memory = data(T, B, M), pt.zeros((B, M)), pt.tensor3("memory")

    def make(step):
        return lambda: sparse_loop(step, [pt.as_tensor(x)], [state], memory, [])

    positions = np.zeros((B, 1), dtype="int32")
    with pytest.raises(ValueError, match="make the new memory by write_rows"):
        make(lambda x, s, m: [s, m + 1.0])()

    def step(x, s, m):
        written = write_rows(m, positions, x[:, None], np.ones(B, dtype=bool))
        return [s + written.sum(axis=1), written]

    with pytest.raises(ValueError, match="read the memory by read_rows"):
        make(step)()


@pytest.mark.slow
@pytest.mark.parametrize(("compile", "length"), [(to_jax, 1), (to_jax, 12), (to_python, 3)])
def test_several_writes_a_step(compile, length):
    """Reads before, between and after the writes of a step, which depend on each other."""
    x, first, memory = pt.tensor3("x"), pt.matrix("first"), pt.tensor3("memory")
    rng = np.random.default_rng(0)
    places = pt.as_tensor(rng.integers(0, N, (length, 5, B, 2)).astype("int32"))
    erases = pt.as_tensor(rng.uniform(size=(length, 2, B)) < 0.5)

    def step(x, places, erases, state, memory):
        state = pt.tanh(x + state + read_rows(memory, places[0]).sum(axis=1))
        for k in range(2):
            added = pt.stack([pt.sin(state), state * x], axis=1)
            memory = write_rows(memory, places[2 * k + 1], added, erases[k])
            rows = read_rows(memory, places[2 * k + 2])
            state = pt.tanh(state + (k + 2) * rows[:, 0] * rows[:, 1])
        return [state, memory]

    sequences, results = [x, places, erases], []
    (states,), (last,) = sparse_loop(step, sequences, [first], memory, [])
    kept, memories = loop(step, sequences, [first, memory])
    for trace, end in ((states, last), (kept, memories[-1])):
        cost = weighted_sum(trace) + weighted_sum(end)
        results += [cost, *pytensor.grad(cost, [x, first, memory])]
    function = compile([x, first, memory], results)
    values = function(data(length, B, M), data(B, M, seed=2), data(B, N, M))
    assert_gradients_close(values[:4], values[4:])


# ---- State


@cache
def get_network():
    layer = make_sam(LSTMController, 2, memory_shape=MEMORY_SHAPE, name="sam")
    return layer, DenseLayer(layer, 2, num_leading_axes=2)


@pytest.mark.slow
def test_two_halves_equal_the_whole():
    layer, top = get_network()
    assert_two_halves_equal_the_whole(layer, top, data(B, T, F), 4)


@pytest.mark.slow
def test_step_function_and_resets():
    layer, top = get_network()
    before, after = reset_memory_after_steps(layer, top, data(B, 4, F), 1)
    np.testing.assert_array_equal(after.hidden, before.hidden)
    assert not np.any(after.last_access)
    assert np.any(before.last_access)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.005, 0.0])
def test_step_with_mask(threshold):
    layer = make_sam(memory_shape=MEMORY_SHAPE, usage_threshold=threshold)
    state, x, mask = layer.make_state_variables(), pt.matrix("x"), pt.vector("mask")
    new = layer.step(x, state, mask)
    function = to_python([x, mask, *state.flatten()], new.flatten())
    start = to_python([], layer.get_initial_state(B).flatten())()
    middle = function(data(B, F, seed=2), np.ones(B), *start)
    moved = function(data(B, F), np.ones(B), *middle)
    masked = function(data(B, F), np.array([1.0, 0.0, 1.0]), *middle)
    for one, before, after in zip(masked, middle, moved, strict=True):
        np.testing.assert_array_equal(one[[0, 2]], after[[0, 2]])
        np.testing.assert_array_equal(one[1], before[1])


def test_state_of_another_kind():
    layer = make_sam(memory_shape=MEMORY_SHAPE)
    other = make_dnc().make_state_variables()
    with pytest.raises(TypeError, match="SAMLayer: state must be of type SAMState, not DNCState"):
        layer.get_output_for(pt.tensor3(), state=other)


# ---- Construction


def test_short_notation():
    l_in = InputLayer((None, 7, 9))
    layer = SAMLayer(l_in, (8, 4), lambda l: DenseLayer(l, 10), num_reads=3)
    assert layer.output_shape == (None, 7, 22)
    assert [type(head) for head in layer.heads] == [SAMWriteHead] + 3 * [SAMReadHead]
    names = [param.name for param in get_all_params(layer)]
    assert "write.interpolation_gate.W" in names
    assert "read2.beta.b" in names
    assert len(names) == len(set(names))
    heads = [partial(SAMReadHead, name="r"), SAMWriteHead]
    layer = SAMLayer(l_in, (8, 4), lambda l: DenseLayer(l, 10), heads, only_return_final=True)
    assert layer.output_shape == (None, 14)


@pytest.mark.slow
def test_saving_and_loading(tmp_path):
    path = tmp_path / "some.network"
    layer = SAMLayer(
        InputLayer((None, None, F)),
        Memory(MEMORY_SHAPE, learn_init=False),
        lambda l: GRUController(l, num_units=H),
        num_reads=2,
        num_read_slots=3,
        usage_threshold=0.01,
        name="sam",
    )
    save(path, layer)
    other = load(path)
    assert (other.num_read_slots, other.usage_threshold, other.name) == (3, 0.01, "sam")
    x = pt.tensor3()
    outputs = to_jax([x], [layer.get_output_for(x), other.get_output_for(x)])(data(B, 3, F))
    np.testing.assert_array_equal(*outputs)


def build_with(num_reads=None, controller=None, heads=None, memory=MEMORY_SHAPE, **options):
    l_in = InputLayer((None, None, F))
    controller = controller or DenseController(l_in, MEMORY_SHAPE, H, 2, name="dense")
    return SAMLayer(l_in, memory, controller, heads, num_reads, name="my sam", **options)


def stack(layer):
    return DenseLayer(layer, H)


ERRORS = {
    "number of reads": ({"num_reads": 3}, ValueError, ["num_reads=2", "3 read heads"]),
    "no reads": ({"num_reads": 0}, ValueError, ["num_reads", "0"]),
    "no write head": ({"controller": stack, "heads": [SAMReadHead]}, ValueError, ["are 0 and 1"]),
    "two write heads": (
        {"controller": stack, "heads": [SAMReadHead, SAMWriteHead, SAMWriteHead]},
        ValueError,
        ["are 2 and 1"],
    ),
    "reads and heads": (
        {"num_reads": 2, "controller": stack, "heads": [SAMWriteHead, SAMReadHead]},
        ValueError,
        ["num_reads=2", "heads has 1"],
    ),
    "too many slots": ({"num_read_slots": N + 1}, ValueError, ["num_read_slots", "6", "7"]),
    "no slots": ({"num_read_slots": 0}, ValueError, ["num_read_slots", "0"]),
    "threshold": ({"usage_threshold": 1.0}, ValueError, ["usage_threshold", "1.0"]),
    "option": ({"num_read": 2}, TypeError, ["'num_read'", "'num_reads'"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_where_what_and_why(case):
    arguments, error, parts = ERRORS[case]
    with pytest.raises(error) as caught:
        build_with(**arguments)
    for part in ["SAMLayer 'my sam'", *parts]:
        assert part in str(caught.value)


def test_shapes_are_inferred_without_the_arrays():
    memory, positions = pt.tensor3("memory"), pt.imatrix("positions")
    added, erases = pt.tensor3("added"), pt.bvector("erases").astype("bool")
    outputs = [
        TopK(2).make_node(memory).outputs[0],
        read_rows(memory, positions),
        *WriteRows().make_node(memory, positions, added, erases).outputs,
    ]
    shapes = pytensor.function(
        [memory, positions, added, erases.owner.inputs[0]],
        [output.shape for output in outputs],
        mode=Mode("py", "fast_run"),
        on_unused_input="ignore",
    )
    used = {type(node.op) for node in shapes.maker.fgraph.apply_nodes}
    assert not used & {TopK, ReadRows, WriteRows}
    values = shapes(
        np.zeros((3, 5, 4)), np.zeros((3, 2), "int32"), np.zeros((3, 2, 4)), np.zeros(3, "int8")
    )
    expected = [(3, 5, 2), (3, 2, 4), (3, 5, 4), (3, 2, 4)]
    assert [tuple(value) for value in values] == expected
