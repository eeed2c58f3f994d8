"""What every memory layer is to do, whatever its equations: asked of each kind in the tests of that kind."""

import numpy as np
import pytensor.tensor as pt

from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.objectives import binary_crossentropy
from lasagne.updates import adam
from ntm import StepFunction, get_output_and_states
from ntm.backends import get_mode
from ntm.controllers import LSTMController

from .networks import to_jax, to_python


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
