"""The DNC layer against the reference in NumPy, finite differences, and its options."""

from functools import cache, partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagne.layers import DenseLayer, DropoutLayer, InputLayer, get_all_params
from lasagne.nonlinearities import tanh
from ntm import load, save
from ntm.controllers import DenseController, GRUController, LSTMController, StackController
from ntm.heads.dnc import DNCReadHead, DNCWriteHead
from ntm.heads.ntm import ReadHead
from ntm.layers.dnc import DNCLayer
from ntm.layers.state import DNCState, NTMState
from ntm.memory import Memory

from .. import dnc_reference
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
    make_ntm,
    to_jax,
    to_python,
    weighted_sum,
)

MEMORY_SHAPE = N, M = (5, 3)
T = 9  # slots are freed and written to again
MASK = (np.random.default_rng(0).uniform(size=(B, T)) < 0.7).astype(float)


def stack_of_gru(incoming, memory_shape, num_units, num_reads, name):
    def build(layer):
        return DenseLayer(GRUController(layer, num_units=4), num_units, nonlinearity=tanh)

    return StackController(incoming, build, memory_shape, num_reads, name=name)


def compile_all(layer, compile=to_jax, **kwargs):
    """A function from input, and mask where there is one, to output, details and the parts of the last state."""
    inputs = [pt.tensor3("x"), *([pt.matrix("mask")] if layer.has_mask else [])]
    output, last = layer.get_output_for(inputs, return_state=True, **kwargs)
    details = layer.get_output_for(inputs, get_details=True, **kwargs)
    return compile(inputs, [output, *details, *last.flatten()])


def split(layer, results):
    """Output, details by name, last state."""
    count = len(layer.detail_names)
    details = dict(zip(layer.detail_names, results[1 : 1 + count], strict=True))
    return results[0], details, DNCState.unflatten(results[1 + count :])


def assert_equals_reference(layer, mask=None, compile=to_jax, steps=T, **kwargs):
    x = data(B, steps, F)
    function = compile_all(layer, compile, **kwargs)
    output, details, last = split(layer, function(*([x] if mask is None else [x, mask])))
    use_memory = kwargs.get("pass_through_memory", True)
    expected, traces, final = dnc_reference.run(layer, x, mask, use_memory=use_memory)
    if layer.only_return_final:
        expected = expected[:, 0 if layer.backwards else -1]
    assert_close(output, expected)
    has_cell = isinstance(layer.controller, LSTMController)
    wanted = traces._asdict() | {
        "hidden": traces.hidden,
        "state": traces.controller[1] if has_cell else traces.hidden,
    }
    for name, value in details.items():
        assert_close(value, wanted[name])
    for value, part in zip(last.flatten(), final.flatten(), strict=True):
        assert_close(value, part)
    return details


# ---- Values


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"controller": LSTMController, "num_reads": 3, "mask_input": InputLayer((None, None))},
        {"num_reads": 1, "backwards": True, "precompute_input": False},
        {
            "controller": stack_of_gru,
            "num_writes": 2,
            "num_reads": 2,
            "clip": 0.5,
            "only_return_final": True,
            "checkpoint_every": 4,
        },
    ],
)
def test_layer_equals_the_reference(options):
    layer = make_dnc(memory_shape=MEMORY_SHAPE, **options)
    details = assert_equals_reference(layer, MASK if layer.has_mask else None)
    # Slots are in use, then free, then in use again
    assert details["usage"].max() > 0.6
    assert np.diff(details["usage"], axis=1).min() < -0.05
    assert details["links"].max() > 0.3


@pytest.mark.slow
def test_layer_in_python_equals_the_reference():
    layer = make_dnc(LSTMController, 1, 2, memory_shape=MEMORY_SHAPE)
    assert_equals_reference(layer, compile=to_python, steps=4)


@pytest.mark.slow
def test_memory_left_out():
    layer = make_dnc(LSTMController, num_reads=2, memory_shape=MEMORY_SHAPE)
    details = assert_equals_reference(layer, pass_through_memory=False)
    assert not np.any(details["reads"])
    assert not np.any(details["links"])
    memory = layer.memory.memory_init.get_value()
    np.testing.assert_array_equal(details["memory"], np.broadcast_to(memory, (B, T, N, M)))


@pytest.mark.slow
def test_memory_left_out_after_steps_with_it():
    assert_memory_is_left_out(make_dnc(LSTMController, 2, 2, memory_shape=MEMORY_SHAPE))


@pytest.mark.slow
def test_clipping():
    layer = make_dnc(num_reads=1, memory_shape=MEMORY_SHAPE, clip=0.3)
    x = pt.tensor3()
    output = to_python([x], layer.get_output_for(x))(data(B, 3, F))
    assert np.abs(output).max() == 0.3
    assert_close(output, dnc_reference.run(layer, data(B, 3, F))[0])


@cache
def get_weights_function():
    layer = make_dnc(num_reads=2, num_writes=2, memory_shape=MEMORY_SHAPE)
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
    _, details, _ = split(layer, function(rng.normal(size=(B, T, F))))
    for name in ("read_weights", "write_weights", "precedence"):
        assert (details[name] >= -1e-12).all()
        assert details[name].sum(axis=-1).max() <= 1 + 1e-6
    assert (details["links"] >= -1e-12).all()
    for axis in (-1, -2):
        assert details["links"].sum(axis=axis).max() <= 1 + 1e-6
    assert details["usage"].min() >= 0
    assert details["usage"].max() <= 1 + 1e-6


# ---- Gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_writes", "options"), [(1, {"mask_input": InputLayer((None, None))}), (2, {"clip": 0.7})]
)
def test_gradients_equal_finite_differences(num_writes, options):
    layer = make_dnc(
        partial(LSTMController, nonlinearity=tanh),
        num_writes,
        2,
        memory_shape=MEMORY_SHAPE,
        **options,
    )
    inputs = [pt.tensor3("x"), pt.matrix("mask")][: 1 + layer.has_mask]
    values = [data(B, 7, F), MASK[:, :7]][: 1 + layer.has_mask]
    cost = weighted_sum(layer.get_output_for(inputs))
    assert_gradients_equal_differences(inputs, values, cost, get_all_params(layer))


@pytest.mark.slow
def test_grad_clipping_clips_between_steps():
    make = partial(make_dnc, num_reads=2, memory_shape=MEMORY_SHAPE)
    assert_gradients_are_clipped_between_steps(make, 0.01)


@pytest.mark.slow
def test_keeping_fewer_states_changes_nothing():
    x, values = pt.tensor3("x"), data(B, 7, F)
    grads = []
    for checkpoint_every in (1, 3):
        layer = make_dnc(num_reads=2, memory_shape=MEMORY_SHAPE, checkpoint_every=checkpoint_every)
        cost = weighted_sum(layer.get_output_for(x))
        grads.append(to_jax([x], pytensor.grad(cost, layer.get_params()))(values))
    for value, expected in zip(*grads, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_training_from_the_default_initial_values():
    assert_learns_from_the_default_initial_values(DNCLayer, 6)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_gradients_are_finite_at_the_edges():
    """Usage all zero, all one and alike, sharp keys, a memory of zeros."""
    layer = make_dnc(num_reads=2, memory_shape=MEMORY_SHAPE)
    x, state = pt.tensor3("x"), layer.make_state_variables()
    params = layer.get_params()
    cost = (layer.get_output_for(x, state=state) ** 2).sum()
    function = to_jax(
        [x, *state.flatten()],
        pytensor.grad(cost, params, disconnected_inputs="ignore"),
        on_unused_input="ignore",
    )
    start = layer.get_initial_state(B)
    parts = DNCState.unflatten(to_python([], start.flatten())())
    for usage in (0.0, 1.0, 0.5):
        for memory in (0.0, 1e10):
            for scale in (0.0, 1.0, 1e4):
                given = parts._replace(
                    usage=np.full_like(parts.usage, usage),
                    memory=np.full_like(parts.memory, memory),
                    write_weights=np.full_like(parts.write_weights, 1 / N),
                )
                values = function(scale * data(B, 4, F), *given.flatten())
                assert all(np.isfinite(value).all() for value in values), (usage, memory, scale)


# ---- State


@cache
def get_network():
    layer = make_dnc(LSTMController, num_reads=2, memory_shape=MEMORY_SHAPE, name="dnc")
    return layer, DenseLayer(layer, 2, num_leading_axes=2)


@pytest.mark.slow
def test_two_halves_equal_the_whole():
    layer, top = get_network()
    values = data(B, T, F)
    end = assert_two_halves_equal_the_whole(layer, top, values, 4)
    reference = dnc_reference.run(layer, values)[2]
    for value, wanted in zip(end, reference.flatten(), strict=True):
        assert_close(value, wanted)


@pytest.mark.slow
def test_step_function_and_resets():
    layer, top = get_network()
    before, after = reset_memory_after_steps(layer, top, data(B, 4, F), 1)
    start = DNCState.unflatten(to_python([], layer.get_initial_state(B).flatten())())
    for value, wanted in zip(
        after.flatten(), start._replace(controller=before.controller).flatten(), strict=True
    ):
        np.testing.assert_array_equal(value, wanted)
    assert not np.allclose(before.memory, after.memory)
    assert not np.allclose(before.hidden, start.hidden)


@pytest.mark.slow
def test_step_with_mask():
    layer = make_dnc(memory_shape=MEMORY_SHAPE)
    state, x, mask = layer.make_state_variables(), pt.matrix("x"), pt.vector("mask")
    new = layer.step(x, state, mask)
    function = to_python([x, mask, *state.flatten()], [layer.get_output_of(new), *new.flatten()])
    start = to_python([], layer.get_initial_state(B).flatten())()
    _, *middle = function(data(B, F, seed=2), np.ones(B), *start)
    output, *moved = function(data(B, F), np.ones(B), *middle)
    _, *masked = function(data(B, F), np.array([1.0, 0.0, 1.0]), *middle)
    assert output.shape == (B, H + M)
    for one, before, after in zip(masked, middle, moved, strict=True):
        np.testing.assert_array_equal(one[[0, 2]], after[[0, 2]])
        np.testing.assert_array_equal(one[1], before[1])


@pytest.mark.slow
def test_reset_of_an_ntm_and_its_memory_left_out():
    layer = make_ntm(LSTMController)
    state, x = layer.make_state_variables(), pt.matrix("x")
    inputs = [x, *state.flatten()]
    new = layer.step(x, state, pass_through_memory=False)
    outputs = [*layer.reset(state, memory_only=True).flatten(), *new.flatten()]
    function = to_python(inputs, outputs, on_unused_input="ignore")
    start = NTMState.unflatten(to_python([], layer.get_initial_state(B).flatten())())
    given = start.map(lambda part: np.abs(part) / (1.0 + np.abs(part).sum(axis=-1, keepdims=True)))
    values = function(data(B, F), *given.flatten())
    reset, new = (
        NTMState.unflatten(each)
        for each in (values[: len(values) // 2], values[len(values) // 2 :])
    )
    np.testing.assert_array_equal(reset.memory, start.memory)
    np.testing.assert_array_equal(reset.read_weights, start.read_weights)
    np.testing.assert_array_equal(reset.hidden, given.hidden)
    np.testing.assert_array_equal(new.memory, given.memory)
    np.testing.assert_array_equal(new.read_weights, given.read_weights)
    assert not np.allclose(new.hidden, given.hidden)
    assert_memory_is_left_out(layer)


def test_state_of_another_kind():
    layer = make_dnc(memory_shape=MEMORY_SHAPE)
    other = make_ntm().make_state_variables()
    with pytest.raises(TypeError, match="DNCLayer: state must be of type DNCState, not NTMState"):
        layer.get_output_for(pt.tensor3(), state=other)
    wrong = layer.make_state_variables()._replace(links=pt.tensor(shape=(None, 1, N, N + 1)))
    with pytest.raises(ValueError, match=r"state\.links must be of shape \(None, 1, 5, 5\)"):
        layer.get_output_for(pt.tensor3(), state=wrong)


# ---- Construction


def test_short_notation():
    l_in = InputLayer((None, 7, 9))
    layer = DNCLayer(l_in, (8, 4), lambda l: DenseLayer(l, 10), num_reads=3)
    assert layer.output_shape == (None, 7, 22)
    assert [type(head) for head in layer.heads] == [DNCWriteHead] + 3 * [DNCReadHead]
    names = [param.name for param in get_all_params(layer)]
    assert "write.allocation_gate.W" in names
    assert "read2.modes.b" in names
    assert len(names) == len(set(names))
    sizes = {param.name: param.get_value().shape for param in get_all_params(layer)}
    assert sizes["read0.modes.W"] == (10, 3)
    assert sizes["write.erase.b"] == (4,)

    heads = [partial(DNCReadHead, name="r"), DNCWriteHead, DNCWriteHead]
    layer = DNCLayer(l_in, (8, 4), lambda l: DenseLayer(l, 10), heads, only_return_final=True)
    assert layer.output_shape == (None, 14)
    assert layer.heads[0].num_writes == 2

    controller = DenseController(l_in, (8, 4), 10, num_reads=2)
    assert DNCLayer(l_in, (8, 4), controller).num_reads == 2


@pytest.mark.slow
def test_dropout_in_a_stack():
    def build(layer):
        return DropoutLayer(DenseLayer(layer, H, nonlinearity=tanh))

    layer = DNCLayer((None, None, F), MEMORY_SHAPE, build, num_reads=1)
    x = pt.tensor3()
    outputs = [layer.get_output_for(x, deterministic=each) for each in (True, False, True)]
    one, noisy, other = to_jax([x], outputs)(data(B, 3, F))
    np.testing.assert_array_equal(one, other)
    assert np.any(noisy[:, :, :H] == 0)


@pytest.mark.slow
def test_saving_and_loading(tmp_path):
    path = tmp_path / "some.network"
    l_in = InputLayer((None, None, F))
    layer = DNCLayer(
        l_in,
        Memory(MEMORY_SHAPE, learn_init=False),
        lambda l: GRUController(l, num_units=H),
        num_reads=2,
        clip=2.0,
        name="dnc",
    )
    save(path, layer)
    other = load(path)
    assert (other.clip, other.num_reads, other.name) == (2.0, 2, "dnc")
    x = pt.tensor3()
    for a, b in zip(get_all_params(layer), get_all_params(other), strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.get_value(), b.get_value())
    outputs = to_jax([x], [layer.get_output_for(x), other.get_output_for(x)])(data(B, 3, F))
    np.testing.assert_array_equal(*outputs)


def build_with(num_reads=None, controller=None, heads=None, memory=MEMORY_SHAPE, **options):
    l_in = InputLayer((None, None, F))
    controller = controller or DenseController(l_in, MEMORY_SHAPE, H, 2, name="dense")
    if callable(heads):
        heads = heads(controller)
    return DNCLayer(l_in, memory, controller, heads, num_reads, name="my dnc", **options)


ERRORS = {
    "number of reads": ({"num_reads": 3}, ValueError, ["num_reads=2", "3 read heads"]),
    "no reads": ({"num_reads": 0}, ValueError, ["num_reads", "0"]),
    "reads and heads": (
        {
            "num_reads": 2,
            "controller": lambda l: DenseLayer(l, H),
            "heads": lambda c: [DNCWriteHead, DNCReadHead],
        },
        ValueError,
        ["num_reads=2", "heads has 1"],
    ),
    "memory": ({"memory": (5, 4)}, ValueError, ["memory_shape", "(5, 3)", "(5, 4)"]),
    "no write head": (
        {"heads": lambda c: [DNCReadHead(c, MEMORY_SHAPE), DNCReadHead(c, MEMORY_SHAPE)]},
        ValueError,
        ["at least one DNCWriteHead", "0 and 2"],
    ),
    "write heads": (
        {
            "heads": lambda c: [
                DNCWriteHead(c, MEMORY_SHAPE),
                *(DNCReadHead(c, MEMORY_SHAPE, 2, name="r") for _ in range(2)),
            ]
        },
        ValueError,
        ["DNCReadHead 'r'", "num_writes=2", "1 write heads"],
    ),
    "heads of an NTM": (
        {"heads": lambda c: [ReadHead(c, memory_shape=MEMORY_SHAPE)]},
        TypeError,
        ["DNCReadHead or DNCWriteHead", "ReadHead", "heads may be left out"],
    ),
    "classes of heads": (
        {"controller": lambda l: DenseLayer(l, H), "heads": lambda c: [DNCWriteHead, ReadHead]},
        TypeError,
        ["DNCWriteHead for one that writes and DNCReadHead for one that reads", "num_reads says"],
    ),
    "clip": ({"clip": 0.0}, ValueError, ["clip", "0.0"]),
    "clip of another kind": ({"clip": True}, ValueError, ["clip", "True"]),
    "option": ({"num_read": 2}, TypeError, ["'num_read'", "'num_reads'"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_where_what_and_why(case):
    arguments, error, parts = ERRORS[case]
    with pytest.raises(error) as caught:
        build_with(**arguments)
    for part in ["DNCLayer 'my dnc'", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize("num_writes", [0, 1.5, True])
def test_number_of_write_heads_of_a_read_head(num_writes):
    with pytest.raises(ValueError, match="DNCReadHead 'r': num_writes must be"):
        DNCReadHead((None, H), MEMORY_SHAPE, num_writes, name="r")
