"""Levels that share a memory against the references in NumPy, finite differences, plain layers, and their options."""

from functools import cache, partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, DropoutLayer, InputLayer, get_all_params, get_output
from lasagne.nonlinearities import tanh
from ntm import (
    DNCLayer,
    HyperplaneIndex,
    NTMLayer,
    SAMLayer,
    SDNCLayer,
    SharedMemoryLayer,
    load,
    save,
)
from ntm.controllers import GRUController, LSTMController
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.memory import Memory

from .. import sdnc_reference, shared_reference
from ..cases import leave_out
from ..contract import (
    assert_close,
    assert_memory_is_left_out,
    assert_two_halves_equal_the_whole,
    reset_memory_after_steps,
)
from ..networks import (
    SMOOTH,
    SMOOTH_WRITE,
    B,
    F,
    assert_gradients_equal_differences,
    data,
    randomize,
    to_jax,
    to_python,
    weighted_sum,
)

MEMORY_SHAPE = N, M = (5, 3)
T = 9  # with several writes a step, slots are written to again
MASK = (np.random.default_rng(0).uniform(size=(B, T)) < 0.7).astype(float)
L_MASK = InputLayer((None, None))


def lstm(layer):
    return LSTMController(layer, num_units=4, nonlinearity=tanh)


def gru(layer):
    return GRUController(layer, num_units=3, nonlinearity=tanh)


def dense(layer):
    return DenseLayer(layer, 4, nonlinearity=tanh)


WRITE, READ = partial(WriteHead, **SMOOTH_WRITE), partial(ReadHead, **SMOOTH)
# Levels of different controllers; of an NTM with different heads, too
LEVELS = {
    "ntm": [
        partial(NTMLayer, controller=lstm, heads=[WRITE, READ]),
        partial(NTMLayer, controller=dense, heads=[READ, WRITE, READ]),
    ],
    "dnc": [partial(DNCLayer, controller=each, num_reads=2) for each in (lstm, gru)],
    "sam": [
        partial(SAMLayer, controller=each, num_reads=2, num_read_slots=3) for each in (gru, lstm)
    ],
    "sdnc": [
        partial(SDNCLayer, controller=each, num_reads=2, num_read_slots=2, num_links=2)
        for each in (gru, lstm)
    ],
}
INDEX = HyperplaneIndex(
    MEMORY_SHAPE, num_tables=2, num_bits=2, bucket_size=2, num_flips=1, num_recent=2
)
LEVELS["indexed sam"] = [partial(level, nearest=INDEX) for level in LEVELS["sam"]]


def make_shared(kind, num_levels=2, seed=0, **options):
    """A SharedMemoryLayer of random parameters; the write heads of a DNC mostly write, and to free slots."""
    levels = (LEVELS[kind] * num_levels)[:num_levels]
    layer = SharedMemoryLayer(InputLayer((None, None, F)), MEMORY_SHAPE, levels, **options)
    randomize(layer, seed)
    for level in layer.levels if kind == "dnc" else []:
        for gate in (level.heads[0].allocation_gate, level.heads[0].write_gate):
            gate.b.set_value(gate.b.get_value() + 3)
    return layer


def make_inputs(layer):
    return [pt.tensor3("x"), *([pt.matrix("mask")] if layer.has_mask else [])]


# ---- Values


def assert_equals_reference(layer, compile=to_jax, steps=T, use_memory=True):
    """Output, details and the state after the last step are those of the reference."""
    inputs, kwargs = make_inputs(layer), {"pass_through_memory": use_memory}
    output, last = layer.get_output_for(inputs, return_state=True, **kwargs)
    details = layer.get_output_for(inputs, get_details=True, **kwargs)
    values = [data(B, steps, F), MASK[:, :steps]][: len(inputs)]
    results = compile(inputs, [output, last.memory, *last.controller, *details])(*values)
    output, memory, *results = results
    expected, states = shared_reference.run(layer, *values, use_memory=use_memory)
    end = 0 if layer.backwards else -1
    assert_close(output, expected[:, end] if layer.only_return_final else expected)
    controllers = [
        np.concatenate([level.controller for level in row[end]], axis=None) for row in states
    ]
    count = len(last.controller)
    assert_close(np.concatenate(results[:count], axis=1), np.array(controllers))
    wanted = shared_reference.list_details(layer, states)
    details = dict(zip(layer.detail_names, results[count:], strict=True))
    if isinstance(layer.levels[0], SDNCLayer):
        details = sdnc_reference.spread_links(details, N)
        del details["read_positions"]
    for name, value in details.items():
        assert_close(value, wanted[name])
    assert_close(memory, wanted["memory"][:, end])
    return details


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ntm", {"num_levels": 3, "backwards": True, "precompute_input": False}),
        ("dnc", {"mask_input": L_MASK, "checkpoint_every": 4}),
        ("sam", {"mask_input": L_MASK, "only_return_final": True}),
        ("sam", {"num_levels": 3, "backwards": True}),
        ("sdnc", {"mask_input": L_MASK}),
    ],
)
def test_layer_equals_the_reference(kind, options):
    details = assert_equals_reference(make_shared(kind, **options))
    if kind == "dnc":
        # Slots are in use, then free, then in use again
        assert details["usage"].max() > 0.6
        assert np.diff(details["usage"], axis=1).min() < -0.05
        assert details["links"].max() > 0.2
    if kind == "sdnc":
        for links in (details["backward_links"], details["forward_links"]):
            assert ((links > 0.01).sum(axis=-1) == 2).any()
    if kind == "sam":
        assert (details["last_access"][:, 0 if options.get("backwards") else -1] > 0).all()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_layer_in_python_equals_the_reference():
    assert_equals_reference(make_shared("sam"), compile=to_python, steps=5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dnc", "sam"])
def test_memory_left_out(kind):
    layer = make_shared(kind)
    details = assert_equals_reference(layer, use_memory=False)
    assert not np.any(details["reads"])
    memory = layer.memory.memory_init.get_value()
    np.testing.assert_array_equal(details["memory"], np.broadcast_to(memory, (B, T, N, M)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEVELS)
def test_memory_left_out_after_steps_with_it(kind):
    assert_memory_is_left_out(make_shared(kind))


@cache
def get_weights_function():
    layer = make_shared("dnc")
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
        param.set_value(rng.normal(size=shape) * scale)
    details = dict(zip(layer.detail_names, function(rng.normal(size=(B, T, F))), strict=True))
    for name, heads in (("write_weights", 2), ("read_weights", 4)):
        assert details[name].shape == (B, T, heads, N)
        assert details[name].min() >= -1e-9
        assert details[name].sum(axis=-1).max() <= 1 + 1e-9
    assert details["usage"].min() >= -1e-9
    assert details["usage"].max() <= 1 + 1e-9
    links = details["links"]
    assert links.min() >= -1e-9
    assert links.sum(axis=-1).max() <= 1 + 1e-9
    assert not np.any(np.diagonal(links, axis1=-2, axis2=-1))


# ---- One level


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ntm", {"grad_clipping": 0.01, "only_return_final": True}),
        ("dnc", {"gradient_steps": 3, "backwards": True}),
        ("sam", {"mask_input": L_MASK}),
    ],
)
def test_one_level_equals_the_plain_layer(kind, options):
    layer = make_shared(kind, num_levels=1, **options)
    (level,) = layer.levels
    plain = type(level)(
        (None, None, F),
        layer.memory,
        level.controller,
        level.heads,
        **options,
        **({"num_read_slots": level.num_read_slots} if kind == "sam" else {}),
    )
    assert get_all_params(plain) == [
        *level.controller.get_params(),
        layer.memory.memory_init,
        *(param for head in level.heads for param in head.get_params()),
    ]
    assert get_all_params(layer) == get_all_params(plain)
    inputs, results = make_inputs(layer), []
    for each in (layer, plain):
        output, last = each.get_output_for(inputs, return_state=True)
        grads = pytensor.grad(weighted_sum(output), [inputs[0], *get_all_params(plain)])
        results.append([output, *last.flatten(), *grads])
    assert len(results[0]) == len(results[1])
    values = to_jax(inputs, [*results[0], *results[1]])(*[data(B, T, F), MASK][: len(inputs)])
    for one, other in zip(values[: len(results[0])], values[len(results[0]) :], strict=True):
        # XLA may add in another order
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)


# ---- Gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [("ntm", {}), ("dnc", {"mask_input": L_MASK}), ("sam", {"mask_input": L_MASK})],
)
def test_gradients_equal_finite_differences(kind, options):
    layer = make_shared(kind, **options)
    inputs = make_inputs(layer)
    values = [data(B, 6, F), MASK[:, :6]][: len(inputs)]
    output, last = layer.get_output_for(inputs, return_state=True)
    cost = weighted_sum(output) + weighted_sum(last.memory)
    assert_gradients_equal_differences(inputs, values, cost, get_all_params(layer))


def get_gradients(layer, x):
    return pytensor.grad(
        weighted_sum(layer.get_output_for(x)), [x, *get_all_params(layer, trainable=True)]
    )


def assert_gradients_close(grads, expected):
    for value, wanted in zip(grads, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-8, atol=1e-10)
        assert np.any(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", leave_out(["sam", "indexed sam", "sdnc"], "indexed sam", "sdnc"))
def test_gradients_where_writes_are_undone_equal_those_of_the_loop_that_keeps_memories(kind):
    x, results = pt.tensor3("x"), []
    for options in ({}, {"checkpoint_every": 2}):
        layer = make_shared(kind, **options)
        results.append([layer.get_output_for(x), *get_gradients(layer, x)])
    count, values = len(results[0]), data(B, 6, F)
    values = to_jax([x], [each for result in results for each in result])(values)
    assert_gradients_close(values[:count], values[count:])


@pytest.mark.slow
def test_steps_one_after_another():
    x, outputs = pt.tensor3("x"), []
    for unroll in (False, True):
        layer = SharedMemoryLayer((None, 3, F), MEMORY_SHAPE, LEVELS["ntm"], unroll_scan=unroll)
        randomize(layer)
        outputs += [layer.get_output_for(x), layer.get_output_for(x, get_details=True)[3]]
    output, weights, *unrolled = to_jax([x], outputs)(data(B, 3, F))
    assert_close(unrolled[0], output)
    assert_close(unrolled[1], weights)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_gradient_of_sparse_levels_keeps_changed_rows_and_not_the_memory():
    slots, width, steps = 4096, 16, 200
    level = partial(SAMLayer, controller=dense, num_reads=2)
    layer = SharedMemoryLayer((None, None, F), (slots, width), [level, level])
    x = pt.tensor3("x")
    grads = pytensor.grad(layer.get_output_for(x).sum(), get_all_params(layer, trainable=True))
    function = pytensor.function([x], grads, mode=get_mode("jax"))
    arguments = [data(1, steps, F), *(storage[0] for storage in function.vm.inputs[1:])]
    compiled = function.vm.jit_fn.lower(*arguments).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes / 4
    memory, rows = slots * width, steps * 2 * (2 * 4 + 1) * width
    assert taken < 6 * memory + 6 * rows
    assert taken < steps * memory / 20


# ---- State


@cache
def get_network():
    layer = make_shared("dnc", name="shared")
    return layer, DenseLayer(layer, 2, num_leading_axes=2)


@pytest.mark.slow
def test_two_halves_equal_the_whole():
    layer, top = get_network()
    assert_two_halves_equal_the_whole(layer, top, data(B, T, F), 4)


@pytest.mark.slow
def test_step_function_and_resets():
    layer, top = get_network()
    before, after = reset_memory_after_steps(layer, top, data(B, 3, F), 1, to_jax)
    assert len(after.controller) == 3  # an LSTM's two, and a GRU's
    for one, other in zip(after.controller, before.controller, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.any(one)
    for name in ("usage", "links", "reads"):
        assert np.any(getattr(before, name))
        assert not np.any(getattr(after, name))


@pytest.mark.slow
def test_states_of_the_levels():
    layer = make_shared("ntm")
    state = layer.get_initial_state(B)
    assert [part.type.shape[1] for part in state.controller] == [4, 4, 4]
    states = layer.split_state(state)
    for level, own in zip(layer.levels, states, strict=True):
        plain = level.get_initial_state(B)
        results = to_python([], [*own.flatten(), *plain.flatten()])()
        count = len(plain.flatten())
        for value, wanted in zip(results[:count], results[count:], strict=True):
            np.testing.assert_array_equal(value, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.005, 0.0])
def test_step_with_mask(threshold):
    layer = make_shared("sam")
    for level in layer.levels:
        level.usage_threshold = threshold
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


# ---- Construction


def test_short_notation():
    l_in = InputLayer((None, 7, 9))
    level = partial(DNCLayer, controller=lambda l: DenseLayer(l, 10), num_reads=3)
    layer = SharedMemoryLayer(l_in, (8, 4), [level, lambda l, memory: level(l, memory)])
    assert layer.output_shape == (None, 7, 22)
    assert layer.levels[1].input_layer is layer.levels[0]
    assert layer.levels[1].input_shape == (None, 7, 22)
    assert layer.input_layer is l_in
    params = get_all_params(layer)
    assert params.count(layer.memory.memory_init) == 1
    assert len(params) == len(set(params))
    # The memory, and the same in each level
    assert len(params) == 2 * (len(layer.levels[0].get_params()) - 1) + 1
    layer = SharedMemoryLayer(l_in, (8, 4), [level], only_return_final=True)
    assert layer.output_shape == (None, 22)


def test_layers_made_on_each_other():
    l_in, memory = InputLayer((None, None, F)), Memory(MEMORY_SHAPE)
    below = LEVELS["dnc"][0](l_in, memory)
    above = LEVELS["dnc"][1](below, memory)
    layer = SharedMemoryLayer(l_in, memory, [below, above])
    assert layer.levels == [below, above]
    assert set(get_all_params(layer)) == {*below.get_params(), *above.get_params()}


@pytest.mark.slow
def test_dropout_in_a_stack():
    def build(layer):
        return DropoutLayer(DenseLayer(layer, 8, nonlinearity=tanh))

    levels = [LEVELS["ntm"][0], partial(NTMLayer, controller=build, heads=[WRITE, READ])]
    layer = SharedMemoryLayer(InputLayer((None, None, F)), MEMORY_SHAPE, levels)
    x = pt.tensor3()
    outputs = [get_output(layer, x, deterministic=each) for each in (True, False)]
    fixed, noisy = to_jax([x], outputs)(data(B, 2, F))
    assert not np.any(fixed == 0)
    assert np.any(noisy == 0)
    assert "deterministic" in layer.get_output_kwargs


@pytest.mark.slow
def test_saving_and_loading(tmp_path):
    path = tmp_path / "some.network"
    l_in = InputLayer((None, None, F))
    memory = Memory(MEMORY_SHAPE, learn_init=False)
    levels = [
        partial(SAMLayer, controller=each, num_reads=2, num_read_slots=3) for each in (gru, dense)
    ]
    layer = SharedMemoryLayer(l_in, memory, levels, backwards=True, name="shared")
    save(path, layer)
    other = load(path)
    assert (other.backwards, other.name, len(other.levels)) == (True, "shared", 2)
    assert [level.num_read_slots for level in other.levels] == [3, 3]
    assert other.levels[1].memory is other.memory
    x = pt.tensor3()
    for a, b in zip(get_all_params(layer), get_all_params(other), strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.get_value(), b.get_value())
    outputs = to_jax([x], [layer.get_output_for(x), other.get_output_for(x)])(data(B, 3, F))
    np.testing.assert_array_equal(*outputs)


L_IN = InputLayer((None, None, F), name="x")
MEMORY = Memory(MEMORY_SHAPE)
DNC, NTM, SAM = (LEVELS[kind][0] for kind in ("dnc", "ntm", "sam"))
ERRORS = {
    "none": ([], ValueError, ["at least one level"]),
    "no list": (DNC, TypeError, ["levels must be a list"]),
    "no function": ([DNC, (5, 3)], TypeError, ["level 1 must be a function or a memory layer"]),
    "no memory layer": (
        [lambda l, memory: DropoutLayer(l)],
        TypeError,
        ["function of level 0", "DropoutLayer"],
    ),
    "levels of levels": (
        [lambda l, memory: SharedMemoryLayer(l, memory, [DNC])],
        ValueError,
        ["level 0, SharedMemoryLayer,"],
    ),
    "kinds": ([DNC, NTM], ValueError, ["level 0 is a DNCLayer", "level 1 a NTMLayer"]),
    "another memory": (
        [DNC, lambda l, memory: DNC(l, (6, 3), name="dnc")],
        ValueError,
        ["level 1, DNCLayer 'dnc',", "(5, 3)", "(6, 3)"],
    ),
    "not on each other": (
        [DNC, lambda l, memory: DNC(L_IN, memory)],
        ValueError,
        ["level 1, DNCLayer,", "must stand on level 0", "'x'"],
    ),
    "not on the input": (
        [DNC(InputLayer((None, None, F)), MEMORY)],
        ValueError,
        ["level 0, DNCLayer,", "the layer's input"],
    ),
    "numbers of heads": (
        [DNC, partial(DNC, num_reads=1)],
        ValueError,
        ["level 1, DNCLayer,", "read_weights", "(None, 1, 5)", "(None, 2, 5)"],
    ),
    "numbers of slots": (
        [SAM, partial(SAM, num_read_slots=4)],
        ValueError,
        ["level 1, SAMLayer,", "write_weights", "(None, 9)", "(None, 7)"],
    ),
    "options of the loop": (
        [DNC, partial(DNC, backwards=True)],
        ValueError,
        ["level 1", "backwards", "to the SharedMemoryLayer"],
    ),
    "indexes": (
        [partial(SAMLayer, controller=dense, nearest="lsh", num_read_slots=2)] * 2,
        ValueError,
        ["level 1", "give all levels one HyperplaneIndex"],
    ),
    "mask": ([partial(DNC, mask_input=L_MASK)], ValueError, ["level 0", "mask_input"]),
    "final": ([partial(DNC, only_return_final=True), DNC], ValueError, ["only_return_final"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_where_what_and_why(case):
    levels, error, parts = ERRORS[case]
    with pytest.raises(error) as caught:
        SharedMemoryLayer(L_IN, MEMORY, levels, name="my levels")
    for part in ["SharedMemoryLayer 'my levels'", *parts]:
        assert part in str(caught.value)


def test_options_and_states_that_do_not_fit():
    with pytest.raises(TypeError, match="unknown option 'level'; did you mean 'levels'"):
        SharedMemoryLayer(L_IN, MEMORY, [DNC], level=3)
    with pytest.raises(ValueError, match="checkpoint_every must be a positive integer"):
        SharedMemoryLayer(L_IN, MEMORY, [DNC], checkpoint_every=0)
    layer = SharedMemoryLayer(L_IN, MEMORY, [DNC, DNC])
    with pytest.raises(TypeError, match="state must be of type DNCState, not NTMState"):
        layer.get_output_for(pt.tensor3(), state=NTM(L_IN, MEMORY).make_state_variables())
    state = layer.make_state_variables()
    state = state._replace(reads=state.reads[:, :2])
    with pytest.raises(ValueError, match=r"state.reads must be of shape \(None, 4, 3\)"):
        layer.get_output_for(pt.tensor3(), state=state)
