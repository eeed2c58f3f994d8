"""The state of an NTM in and out of a network."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    GRULayer,
    InputLayer,
    LSTMLayer,
    get_all_param_values,
    get_all_params,
    get_output,
    set_all_param_values,
)
from lasagne.nonlinearities import tanh
from ntm.controllers import GRUController, LSTMController
from ntm.layers.state import NTMState
from ntm.layers.stepping import StepFunction, get_output_and_states

from .. import reference
from ..networks import CONTROLLERS, B, F, H, data, make_ntm, to_jax, to_python

T = 5


def flatten(states, layers):
    return [part for layer in layers for part in states[layer].flatten()]


def assert_all_close(values, expected):
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


def make_two_layers(**options):
    """Two stacked NTM layers with a dense layer between and above."""
    x = pt.tensor3("x")
    l_in = InputLayer((None, None, F), input_var=x)
    one = make_ntm(LSTMController, incoming=l_in, **options)
    between = DenseLayer(one, 3, num_leading_axes=2, nonlinearity=tanh)
    two = make_ntm(GRUController, reads=[{}, {}], incoming=between, seed=1, **options)
    return x, one, two, DenseLayer(two, 2, num_leading_axes=2)


# ---- The container


def test_parts_and_their_order():
    state = NTMState(1, (2, 3), 4, 5)
    assert state.flatten() == [1, 2, 3, 4, 5]
    assert NTMState.unflatten([1, 2, 3, 4, 5]) == state
    assert state.hidden == 2
    assert state.map(lambda part: -part) == NTMState(-1, (-2, -3), -4, -5)
    assert state.updates_to(state.map(str)) == list(zip([1, 2, 3, 4, 5], "12345", strict=True))


def test_updates_between_states_of_different_kinds():
    with pytest.raises(ValueError, match="zip"):
        NTMState(1, (2, 3), 4, 5).updates_to(NTMState(1, (2,), 4, 5))


# ---- In two halves


@pytest.mark.slow
def test_two_halves_equal_the_whole():
    x, one, two, top = make_two_layers()
    layers = [one, two]
    output, states = get_output_and_states(top)
    assert set(states) == {one, two}
    assert not np.any([part is None for part in flatten(states, layers)])
    given = {layer: layer.make_state_variables() for layer in layers}
    later, last = get_output_and_states(top, states=given)
    whole = to_jax([x], [output, *flatten(states, layers), get_output(top)])
    rest = to_jax([x, *flatten(given, layers)], [later, *flatten(last, layers)])

    values = data(B, T, F)
    expected, *final, as_ever = whole(values)
    np.testing.assert_array_equal(expected, as_ever)
    for length in (2, 4):
        first, *middle = whole(values[:, :length])[:-1]
        second, *end = rest(values[:, length:], *middle)
        assert_all_close([np.concatenate([first, second], axis=1), *end], [expected, *final])


@pytest.mark.slow
def test_shared_state_is_carried_from_call_to_call():
    layer = make_ntm(LSTMController)
    x = pt.tensor3("x")
    shared = layer.make_shared_state(B)
    output, new = layer.get_output_for(x, state=shared, return_state=True)
    function = to_jax([x], output, updates=shared.updates_to(new))
    values = data(B, T, F)
    parts = [function(values[:, t : t + 1]) for t in range(T)]
    traces, last = reference.run(layer, values)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), traces.hidden, atol=1e-12)
    assert_all_close([np.asarray(part.get_value()) for part in shared.flatten()], last.flatten())


def test_shared_state_starts_at_the_initial_state():
    layer = make_ntm(LSTMController)
    shared = layer.make_shared_state(2)
    for part, initial in zip(shared.flatten(), layer.get_initial_state(2).flatten(), strict=True):
        np.testing.assert_array_equal(part.get_value(), initial.eval())
    weights = shared.write_weights.get_value()
    expected = np.repeat(layer.heads[0].weights_init.get_value()[None], 2, axis=0)
    np.testing.assert_array_equal(weights, expected)
    assert len({id(part) for part in shared.flatten()}) == 5


@pytest.mark.slow
def test_mask_keeps_the_state():
    layer = make_ntm(LSTMController, mask_input=InputLayer((None, None)))
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    output, last = layer.get_output_for([x, mask], return_state=True)
    function = to_jax([x, mask], [output, *last.flatten()])
    values = data(B, T, F)
    lengths = np.array([5, 2, 3])
    masks = (np.arange(T) < lengths[:, None]).astype(float)
    _, *masked = function(values, masks)
    for b, length in enumerate(lengths):
        _, *own = function(values[b : b + 1, :length], np.ones((1, length)))
        assert_all_close([part[b] for part in masked], [part[0] for part in own])


@pytest.mark.slow
def test_states_with_masks_in_two_halves():
    l_in, l_mask = InputLayer((None, None, F)), InputLayer((None, None))
    layer = make_ntm(incoming=l_in, mask_input=l_mask)
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    state = layer.make_state_variables()
    inputs = {l_in: x, l_mask: mask}
    output, states = get_output_and_states(layer, inputs, {layer: state})
    function = to_jax([x, mask, *state.flatten()], [output, *states[layer].flatten()])
    values, masks = data(B, T, F), np.random.default_rng(3).integers(0, 2, (B, T)).astype(float)
    start = to_python([], layer.get_initial_state(B).flatten())()
    expected = function(values, masks, *start)
    first, *middle = function(values[:, :2], masks[:, :2], *start)
    second, *end = function(values[:, 2:], masks[:, 2:], *middle)
    assert_all_close([np.concatenate([first, second], axis=1), *end], expected)


# ---- Step by step


@pytest.mark.slow
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_steps_equal_the_sequence(controller):
    layer = make_ntm(controller, reads=[{}, {"num_shifts": 2}])
    state, x = layer.make_state_variables(), pt.matrix("x")
    function = to_jax([x, *state.flatten()], layer.step(x, state).flatten())
    values = data(B, T, F)
    traces, _ = reference.run(layer, values)
    now = to_python([], layer.get_initial_state(B).flatten())()
    for t in range(T):
        now = function(values[:, t], *now)
        assert_all_close(now, [trace[:, t] for trace in traces.flatten()])


@pytest.mark.slow
def test_step_with_mask():
    layer = make_ntm()
    state, x, mask = layer.make_state_variables(), pt.matrix("x"), pt.vector("mask")
    new = layer.step(x, state, mask).flatten()
    function = to_python([x, mask, *state.flatten()], new)
    start = to_python([], layer.get_initial_state(B).flatten())()
    values = data(B, F)
    moved, masked = (function(values, m, *start) for m in (np.ones(B), np.array([1.0, 0.0, 1.0])))
    for one, before, after in zip(masked, start, moved, strict=True):
        np.testing.assert_array_equal(one[[0, 2]], after[[0, 2]])
        np.testing.assert_array_equal(one[1], before[1])


# ---- Gradients and errors


@pytest.mark.slow
def test_gradient_stops_at_a_given_state():
    layer = make_ntm(GRUController, reads=[])
    params = get_all_params(layer)
    x = pt.tensor3("x")
    _, middle = layer.get_output_for(x[:, :3], return_state=True)
    given = layer.make_state_variables()
    cut = middle.map(pytensor.gradient.disconnected_grad)
    costs = [(layer.get_output_for(x[:, 3:], state=state) ** 2).sum() for state in (given, cut)]
    grads = [pytensor.grad(cost, params, disconnected_inputs="ignore") for cost in costs]
    values = to_jax([x, *given.flatten()], [*grads[0], *grads[1]], on_unused_input="ignore")(
        data(B, T, F), *reference.run(layer, data(B, T, F)[:, :3])[1].flatten()
    )
    for value, expected in zip(values[: len(params)], values[len(params) :], strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    assert any(np.any(value) for value in values)


@pytest.mark.slow
def test_outputs_of_several_layers_and_given_inputs():
    _, one, two, top = make_two_layers()
    y = pt.tensor3("y")
    outputs, states = get_output_and_states([top, one], y)
    hidden = pt.tensor3("hidden")
    above, fewer = get_output_and_states(top, {one: hidden})
    assert set(states) == {one, two}
    assert set(fewer) == {two}
    values = to_jax(
        [y, hidden], [*outputs, above, get_output(top, y), get_output(top, {one: hidden})]
    )(data(B, T, F), data(B, T, H))
    np.testing.assert_array_equal(values[0], values[3])
    np.testing.assert_array_equal(values[2], values[4])
    np.testing.assert_allclose(values[1], reference.run(one, data(B, T, F))[0].hidden, atol=1e-12)


@pytest.mark.slow
def test_dropout_below_is_drawn_once():
    x = pt.tensor3("x")
    l_drop = DropoutLayer(InputLayer((None, None, F), input_var=x))
    layer = make_ntm(incoming=l_drop)
    merged = ConcatLayer([l_drop, layer], axis=2)
    (dropped, together), _ = get_output_and_states([l_drop, merged])
    dropped, together = to_jax([x], [dropped, together])(np.ones((B, T, F)))
    np.testing.assert_array_equal(together[:, :, :F], dropped)
    expected = reference.run(layer, dropped)[0].hidden
    np.testing.assert_allclose(together[:, :, F:], expected, atol=1e-12)


@pytest.mark.slow
def test_options_reach_the_layers():
    x = pt.tensor3("x")
    l_drop = DropoutLayer(InputLayer((None, None, F), input_var=x))
    layer = make_ntm(incoming=l_drop)
    output, _ = get_output_and_states(layer, deterministic=True)
    values = data(B, T, F)
    expected = reference.run(layer, values)[0].hidden
    np.testing.assert_allclose(to_jax([x], output)(values), expected, atol=1e-12)


def test_state_of_a_stranger():
    layer, stranger = make_ntm(), make_ntm(name="stranger")
    with pytest.raises(
        ValueError, match=r"states: .* is not a memory layer or a recurrent layer of"
    ):
        get_output_and_states(layer, pt.tensor3("x"), {stranger: stranger.make_state_variables()})


def test_inputs_and_keywords_that_are_refused():
    l_in, l_mask = InputLayer((None, None, F)), InputLayer((None, None))
    layer = make_ntm(incoming=l_in, mask_input=l_mask)
    with pytest.raises(ValueError, match=r"get_output_and_states\(\) .* with 2 input layers"):
        get_output_and_states(layer, pt.tensor3("x"))
    with pytest.raises(TypeError, match=r"get_output_and_states\(\) .* the key 'x' of type str"):
        get_output_and_states(layer, {"x": pt.tensor3("x")})
    for name in ("state", "return_state"):
        with pytest.raises(TypeError, match=f"as `states`.* does not take '{name}'"):
            get_output_and_states(layer, **{name: layer.make_state_variables()})
    with pytest.warns(UserWarning, match=r"get_output_and_states\(\) was called with unused"):
        get_output_and_states(make_ntm(), foo=1)


@pytest.mark.slow
def test_details_are_those_of_the_layer_asked():
    x, one, two, top = make_two_layers()
    details, states = get_output_and_states(two, get_details=True)
    assert set(states) == {one, two}
    of_two = get_output(two, get_details=True)
    hidden, last = get_output(two, return_state=True)
    outputs = [*details, *states[two].flatten(), *of_two, *last.flatten(), hidden]
    alone = two.get_output_for(get_output(two.input_layer), get_details=True)
    both = get_output([one, top], get_details=True)
    values = to_jax([x], [*outputs, *alone, *both[0], both[1], get_output(top)])(data(B, T, F))
    *values, top_of_both, expected_top = values
    count, parts = len(alone), len(last.flatten())
    details, values = values[:count], values[count:]
    state, values = values[:parts], values[parts:]
    of_two, values = values[:count], values[count:]
    last, values = values[:parts], values[parts:]
    hidden, expected, of_one = values[0], values[1 : 1 + count], values[1 + count :]
    assert_all_close(details, expected)
    assert_all_close(of_two, expected)
    assert_all_close(last, state)
    np.testing.assert_array_equal(hidden, expected[1])
    np.testing.assert_allclose(of_one[1], reference.run(one, data(B, T, F))[0].hidden, atol=1e-12)
    np.testing.assert_array_equal(top_of_both, expected_top)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["get_details", "state", "return_state"])
def test_keywords_for_a_layer_below_are_refused(name):
    _, _, two, top = make_two_layers(name="ntm")
    value = two.make_state_variables() if name == "state" else True
    with pytest.raises(ValueError, match=f"{name} is for a layer .*DenseLayer.*NTMLayer 'ntm'"):
        get_output(top, **{name: value})


def test_networks_without_memory():
    top = DenseLayer(InputLayer((None, F)), 2)
    _, states = get_output_and_states(top, pt.matrix("x"))
    assert states == {}


# ---- StepFunction


@pytest.mark.slow
def test_step_function_equals_the_whole_and_starts_anew():
    x, _, _, top = make_two_layers()
    values = data(B, T, F)
    expected = to_jax([x], get_output(top))(values)
    step = StepFunction(top, batch_size=B, mode=get_mode("jax"))
    for _ in range(2):
        outputs = [step(values[:, t]) for t in range(T)]
        np.testing.assert_allclose(np.stack(outputs, axis=1), expected, atol=1e-12)
        step.reset()


@pytest.mark.slow
def test_step_function_starts_from_the_present_initial_values():
    layer, other = make_ntm(LSTMController, seed=0), make_ntm(LSTMController, seed=1)
    values = data(2, B, F)
    step, expected = (StepFunction(each, batch_size=B) for each in (layer, other))
    first, _ = (expected(x) for x in values)
    set_all_param_values(layer, get_all_param_values(other))
    np.testing.assert_allclose(step(values[0]), first, rtol=0, atol=1e-12)
    step(values[1])
    step.reset()
    layer.controller.cell_init.set_value(np.ones((1, H)))
    state = to_python([], layer.step(values[0], layer.get_initial_state(B)).hidden)()
    np.testing.assert_allclose(step(values[0]), state, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_step_function_starts_from_a_state_that_was_set():
    layer = make_ntm(LSTMController)
    values = data(3, B, F)
    step, again = (StepFunction(layer, batch_size=B) for _ in range(2))
    step(values[0])
    for part, value in zip(
        again.states[layer].flatten(), step.states[layer].flatten(), strict=True
    ):
        part.set_value(value.get_value())
    np.testing.assert_array_equal(again(values[1]), step(values[1]))
    step.reset(memory_only=True)
    again.reset(memory_only=True)
    np.testing.assert_array_equal(again(values[2]), step(values[2]))


@pytest.mark.slow
def test_step_function_is_deterministic_unless_told():
    l_drop = DropoutLayer(InputLayer((None, None, F)))
    layer = make_ntm(incoming=l_drop)
    expected = reference.run(layer, np.ones((1, 1, F)))[0].hidden[:, 0]
    np.testing.assert_allclose(StepFunction(layer)(np.ones((1, F))), expected, atol=1e-12)
    noisy = StepFunction(layer, deterministic=False)
    assert not np.allclose(noisy(np.ones((1, F))), expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make_ntm(name="a", backwards=True), "'a' cannot run step by step .backwards"),
        (lambda: make_ntm(only_return_final=True), "only_return_final"),
        (lambda: make_ntm(mask_input=InputLayer((None, None))), "one input, not 2"),
        (
            lambda: LSTMLayer(make_ntm(), 3, name="b", backwards=True, only_return_final=True),
            r"LSTMLayer 'b' cannot run step by step \(backwards, only_return_final\)",
        ),
        (
            lambda: GRULayer((None, None, F), 3, mask_input=InputLayer((None, None))),
            r"GRULayer cannot run step by step \(mask_input\)",
        ),
        (
            lambda: GRULayer(make_ntm(), H, hid_init=DenseLayer((None, F), H), name="c"),
            "GRULayer 'c'.*hid_init comes from a layer",
        ),
        (lambda: DenseLayer(InputLayer((None, F)), 2), "there is no memory layer and no recurrent"),
    ],
)
def test_networks_that_cannot_run_step_by_step(build, message):
    with pytest.raises(ValueError, match=message):
        StepFunction(build())


@pytest.mark.slow
@pytest.mark.parametrize("compile", [to_jax, to_python])
def test_masks_and_states_of_other_sizes(compile):
    layer = make_ntm(mask_input=InputLayer((None, None)), name="a")
    x, mask, state = pt.tensor3("x"), pt.matrix("mask"), layer.make_state_variables()
    output = layer.get_output_for([x, mask], state=state)
    function = compile([x, mask, *state.flatten()], output)
    start = [np.asarray(part) for part in to_python([], layer.get_initial_state(B).flatten())()]
    assert function(data(B, T, F), np.ones((B, T)), *start).shape[:2] == (B, T)
    wrong = {
        (B, T - 1): "length: 4 instead of 5",
        (B, T + 1): "length: 6 instead of 5",
        (B - 1, T): "batch size: 2 instead of 3",
    }
    for shape, message in wrong.items():
        message = f"NTMLayer 'a': the mask must be of the input's {message}"
        with pytest.raises(ValueError, match=message):
            function(data(B, T, F), np.ones(shape), *start)
    with pytest.raises(
        ValueError, match=r"NTMLayer 'a': state\.memory must be .* batch size: 2 instead of 3"
    ):
        function(data(B, T, F), np.ones((B, T)), start[0][:-1], *start[1:])
    with pytest.raises(ValueError, match=r"the mask must have 2 axes .batch, time., not 3"):
        layer.get_output_for([x, pt.tensor3()])
