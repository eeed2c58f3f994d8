"""What every memory layer is to do, whatever its equations: asked of each kind in the tests of that kind."""

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.objectives import binary_crossentropy
from lasagne.updates import adam
from lasagne.utils import clip_gradient, is_float
from ntm import StepFunction, get_output_and_states
from ntm.controllers import LSTMController

from .networks import B, F, data, to_jax, to_python, weighted_sum
from .reference import step_controller


def assert_close(value, expected, atol=1e-10):
    assert value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=0, atol=atol)


def assert_two_halves_equal_the_whole(layer, top, values, middle):
    """A sequence goes on from the state in which its first `middle` steps left the layer. Returns the last state."""
    x, state = pt.tensor3("x"), layer.make_state_variables()
    output, states = get_output_and_states(top, x, {layer: state})
    function = to_jax([x, *state.flatten()], [output, *states[layer].flatten()])
    start = to_python([], layer.get_initial_state(len(values)).flatten())()
    expected = function(values, *start)
    first, *between = function(values[:, :middle], *start)
    second, *end = function(values[:, middle:], *between)
    for value, wanted in zip(
        [np.concatenate([first, second], axis=1), *end], expected, strict=True
    ):
        assert_close(value, wanted, 1e-12)
    return end


def reset_memory_after_steps(layer, top, values, steps, compile=to_python):
    """Step by step is as all at once, again after a reset; then some steps, and a reset of the memory alone.

    Returns the states before and after that.
    """
    x = pt.tensor3()
    expected = compile([x], get_output(top, x))(values)
    step = StepFunction(top, batch_size=len(values), mode=get_mode("jax"))
    for _ in range(2):
        outputs = [step(values[:, t]) for t in range(values.shape[1])]
        assert_close(np.stack(outputs, axis=1), expected)
        step.reset()
    for t in range(steps):
        step(values[:, t])
    before = step.states[layer].map(lambda part: np.array(part.get_value()))
    step.reset(memory_only=True)
    return before, step.states[layer].map(lambda part: np.array(part.get_value()))


def run_two_steps_without_the_memory(layer):
    """From a state whose numbers are all others than before the first step; the second sequence is masked.

    Returns the states before, after the first and after the second step.
    """
    state, x, mask = layer.make_state_variables(), pt.tensor3("x"), pt.vector("mask")
    one = layer.step(x[:, 0], state, mask, pass_through_memory=False)
    two = layer.step(x[:, 1], one, mask, pass_through_memory=False)
    initial = to_python([], layer.get_initial_state(B).flatten())()
    rng = np.random.default_rng(0)
    start = [
        value + (rng.uniform(size=value.shape) if value.dtype.kind == "f" else 1)
        for value in initial
    ]
    function = to_python(
        [x, mask, *state.flatten()],
        [*one.flatten(), *two.flatten()],
        on_unused_input="ignore",
    )
    values = function(data(B, 2, F), np.array([1.0, 0.0, 1.0]), *start)
    ends = values[: len(start)], values[len(start) :]
    return [state.unflatten(each) for each in (start, *ends)]


def assert_memory_is_left_out(layer):
    """Read vectors become zero, the controller goes on with these, and nothing else changes."""
    start, one, two = run_two_steps_without_the_memory(layer)
    for after in (one, two):
        assert np.any(after.hidden[::2] != start.hidden[::2])
        np.testing.assert_array_equal(after.hidden[1], start.hidden[1])
        for name in set(start._fields) - {"controller"}:
            before, now = getattr(start, name), getattr(after, name)
            np.testing.assert_array_equal(now[1], before[1], err_msg=name)
            expected = np.zeros_like(before) if name == "reads" else before
            np.testing.assert_array_equal(now[::2], expected[::2], err_msg=name)
    if hasattr(layer, "levels"):
        return
    reads = np.zeros(layer.num_reads * layer.memory.memory_shape[1])
    for b in (0, 2):
        states = [part[b] for part in one.controller]
        expected = step_controller(layer.controller, data(B, 2, F)[b, 1], reads, states)
        for part, wanted in zip(two.controller, expected, strict=True):
            assert_close(part[b], wanted)


def assert_gradients_are_clipped_between_steps(make, bound):
    """The gradient of two steps is that of steps by hand, before each of which every part of the state is clipped."""
    layer = make(grad_clipping=bound)
    x, state = pt.tensor3("x"), layer.make_state_variables()
    by_hand, outputs = state, []
    for t in range(2):
        by_hand = by_hand.map(lambda part: clip_gradient(part, bound) if is_float(part) else part)
        by_hand = layer.step(x[:, t], by_hand)
        outputs.append(layer.get_output_of(by_hand))
    parts = [part for part in state.flatten() if is_float(part)]
    wrt = [*parts, *get_all_params(layer, trainable=True)]
    grads = [
        pytensor.grad(weighted_sum(output), wrt, disconnected_inputs="ignore")
        for output in (layer.get_output_for(x, state=state), pt.stack(outputs, axis=1))
    ]
    inputs = [x, *state.flatten()]
    function = to_jax(inputs, grads[0] + grads[1], on_unused_input="ignore")
    start = to_python([x], layer.get_output_for(x, return_state=True)[1].flatten())(data(B, 3, F))
    values = function(data(B, 2, F, seed=2), *start)
    for value, wanted in zip(values[: len(wrt)], values[len(wrt) :], strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)
    of_states = values[: len(parts)]
    assert all(np.abs(grad).max() <= bound for grad in of_states)
    assert sum(np.any(np.abs(grad) == bound) for grad in of_states) > 1


def assert_learns_from_the_default_initial_values(kind, num_slots):
    """In float32, which the test is to set."""
    x, y = pt.tensor3("x"), pt.tensor3("y")
    l_in = InputLayer((None, None, 3), x)
    layer = kind(l_in, (num_slots, 4), lambda l: LSTMController(l, num_units=10), num_reads=2)
    l_out = DenseLayer(layer, 3, num_leading_axes=2, nonlinearity=pt.sigmoid)
    loss = binary_crossentropy(get_output(l_out), y).mean()
    params = get_all_params(l_out, trainable=True)
    train = to_jax([x, y], loss, updates=adam(loss, params, learning_rate=0.01))
    bits = np.random.default_rng(0).integers(0, 2, (4, 8, 3)).astype("float32")
    losses = [train(bits, np.roll(bits, 1, axis=1)) for _ in range(30)]
    assert losses[0].dtype == "float32"
    assert losses[-1] < losses[0] - 0.05
    assert all(np.isfinite(param.get_value()).all() for param in params)
