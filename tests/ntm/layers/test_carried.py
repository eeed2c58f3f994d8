"""States carried from window to window, with rows that start anew, for memory layers and recurrent layers."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import (
    CustomRecurrentLayer,
    DenseLayer,
    GRULayer,
    InputLayer,
    LSTMLayer,
    RecurrentLayer,
    get_all_params,
    get_output,
)
from lasagne.utils import is_float
from ntm import HyperplaneIndex, SAMLayer, SharedMemoryLayer
from ntm.controllers import LSTMController
from ntm.layers.stepping import get_output_and_states, make_carried_states, reset_rows

from ..cases import leave_out
from ..networks import (
    MEMORY_SHAPE,
    F,
    H,
    data,
    make_dnc,
    make_ntm,
    make_sam,
    make_sdnc,
    randomize,
    to_jax,
    to_python,
    weighted_sum,
)

WINDOW = 2
INDEX = {"num_tables": 2, "num_bits": 2, "bucket_size": 2, "num_flips": 1, "num_recent": 2}


def lstm(layer):
    return LSTMController(layer, num_units=H)


def make_sharing(level):
    layer = SharedMemoryLayer(InputLayer((None, None, F)), MEMORY_SHAPE, [level, level])
    randomize(layer)
    return layer


def make_recurrent(kind):
    layer = kind(InputLayer((None, None, F)), H, learn_init=True)
    randomize(layer)
    return layer


def make_custom():
    between = [DenseLayer(InputLayer((None, size)), H) for size in (F, H)]
    layer = CustomRecurrentLayer(InputLayer((None, None, F)), *between, learn_init=True)
    randomize(layer)
    return layer


def make_mixture():
    """A recurrent layer, a memory layer and another recurrent layer on each other."""
    below = GRULayer(InputLayer((None, None, F)), 3, learn_init=True)
    middle = make_ntm(LSTMController, incoming=below)
    layer = DenseLayer(LSTMLayer(middle, 4, learn_init=True), 2, num_leading_axes=2)
    randomize(layer)
    return layer


NETWORKS = {
    "ntm": partial(make_ntm, LSTMController),
    "dnc": partial(make_dnc, num_writes=2),
    "sam": make_sam,
    "sdnc": partial(make_sdnc, num_links=2),
    "indexed sdnc": lambda: make_sdnc(nearest=HyperplaneIndex(MEMORY_SHAPE, **INDEX), num_links=2),
    "sharing": partial(make_sharing, partial(SAMLayer, controller=lstm, num_reads=1)),
    "recurrent": partial(make_recurrent, RecurrentLayer),
    "lstm": partial(make_recurrent, LSTMLayer),
    "gru": partial(make_recurrent, GRULayer),
    "custom": make_custom,
    "mixture": make_mixture,
}


def build_windows(l_out, batch_size):
    """Return the inputs, the output and the updates of a network that carries its states, and these states."""
    x, resets = pt.tensor3("x"), pt.vector("resets", dtype="bool")
    carried = make_carried_states(l_out, batch_size)
    before = {layer: reset_rows(layer, state, resets) for layer, state in carried.items()}
    output, after = get_output_and_states(l_out, x, before)
    updates = [pair for layer in carried for pair in carried[layer].updates_to(after[layer])]
    return [x, resets], output, updates, carried


def spoil(carried, row):
    """Set the numbers of a row of each state to NaN, and its integers to zero."""
    for state in carried.values():
        for part in state.flatten():
            value = np.array(part.get_value())
            value[row] = np.nan if is_float(part) else 0
            part.set_value(value)


def get_values(carried, row):
    return [np.array(p.get_value())[row] for state in carried.values() for p in state.flatten()]


@pytest.mark.slow
@pytest.mark.parametrize("name", leave_out(NETWORKS, "indexed sdnc"))
def test_windows_equal_one_long_pass_and_rows_start_anew(name):
    l_out = NETWORKS[name]()
    inputs, output, updates, carried = build_windows(l_out, 2)
    compile = to_python if name in ("recurrent", "gru", "custom") else to_jax
    run = compile(inputs, output, updates=updates)
    series = data(3, 3 * WINDOW, F)
    # The third series begins in the second row, in the third window
    windows = [series[:2, k : k + WINDOW].copy() for k in range(0, 3 * WINDOW, WINDOW)]
    windows[2][1] = series[2, :WINDOW]
    outputs = [run(windows[0], [True, True]), run(windows[1], [False, False])]
    spoil(carried, 1)
    outputs.append(run(windows[2], [False, True]))

    x = pt.tensor3("x")
    expected = compile([x], get_output(l_out, x))(series)
    atol = 1e-12
    np.testing.assert_allclose(np.concatenate(outputs, axis=1)[0], expected[0], rtol=0, atol=atol)
    np.testing.assert_allclose(
        np.concatenate(outputs[:2], axis=1)[1], expected[1, : 2 * WINDOW], rtol=0, atol=atol
    )
    np.testing.assert_allclose(outputs[2][1], expected[2, :WINDOW], rtol=0, atol=atol)
    parts = get_values(carried, 1)
    run(windows[2][::-1], [True, True])
    for part, alone in zip(parts, get_values(carried, 0), strict=True):
        np.testing.assert_allclose(part, alone, rtol=0, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "compile"), [("sam", to_jax), ("lstm", to_python)])
def test_gradient_does_not_see_the_old_state_of_a_row_that_starts_anew(name, compile):
    l_out = NETWORKS[name]()
    params = get_all_params(l_out, trainable=True)
    inputs, output, updates, carried = build_windows(l_out, 2)
    run = compile(inputs, pytensor.grad(weighted_sum(output[:1]), params), updates=updates)
    x = pt.tensor3("x")
    alone = compile([x], pytensor.grad(weighted_sum(get_output(l_out, x)), params))
    values = data(2, WINDOW, F)
    spoil(carried, 0)
    grads = run(values, [True, True])
    for grad, expected in zip(grads, alone(values[:1]), strict=True):
        np.testing.assert_allclose(grad, expected, rtol=1e-9, atol=1e-12)
    initial = [param for param in params if param.name and "init" in param.name]
    assert any(np.any(grad) for grad, p in zip(grads, params, strict=True) if p in initial)
    # Without a reset the initial values have no part in the gradient
    for grad, param in zip(run(values, [False, False]), params, strict=True):
        assert np.isfinite(grad).all()
        assert not (param in initial and np.any(grad))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ntm", "sam", "lstm", "custom"])
def test_step_mask_stands_for_the_ends_of_sequences(name):
    """Sequences of several lengths in one call are as each alone, and so are their states."""
    l_out = NETWORKS[name]()
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    output, states = get_output_and_states(l_out, x, step_mask=mask)
    parts = [part for state in states.values() for part in state.flatten()]
    compile = to_python if name in ("recurrent", "gru", "custom") else to_jax
    run = compile([x, mask], [output, *parts])
    output, states = get_output_and_states(l_out, x)
    alone = compile([x], [output, *(p for state in states.values() for p in state.flatten())])
    values, lengths = data(2, 3, F), [3, 1]
    values[1, 1:] = np.nan
    masks = (np.arange(3) < np.array(lengths)[:, None]).astype(float)
    output, *parts = run(values, masks)
    for row, length in enumerate(lengths):
        wanted, *wanted_parts = alone(values[row : row + 1, :length])
        np.testing.assert_allclose(output[row, :length], wanted[0], rtol=0, atol=1e-12)
        for part, expected in zip(parts, wanted_parts, strict=True):
            np.testing.assert_allclose(part[row], expected[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make_ntm(name="a", backwards=True), r"NTMLayer 'a' cannot go on .*\(backwards\)"),
        (
            lambda: DenseLayer(GRULayer((None, None, F), H, only_return_final=True), 2),
            r"GRULayer cannot go on .*\(only_return_final\)",
        ),
        (
            lambda: LSTMLayer((None, None, F), H, cell_init=InputLayer((None, H)), name="b"),
            r"LSTMLayer 'b'.*cell_init comes from a layer",
        ),
    ],
)
def test_layers_whose_state_cannot_be_carried(build, message):
    with pytest.raises(ValueError, match=message):
        make_carried_states(build(), 2)


@pytest.mark.parametrize("batch_size", [0, 2.0, True, None])
def test_batch_size(batch_size):
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        make_carried_states(make_custom(), batch_size)


def test_layers_with_a_mask_of_their_own_take_no_other():
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    for layer in (
        make_ntm(mask_input=InputLayer((None, None))),
        GRULayer((None, None, F), H, mask_input=InputLayer((None, None))),
    ):
        with pytest.raises(ValueError, match="step_mask is for layers without mask_input"):
            layer.get_output_for([x, mask], step_mask=mask)
