"""What all memory layers share: initial values with a row for each sequence, inputs without a step or a sequence."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import InputLayer
from ntm import NTMLayer, SharedMemoryLayer
from ntm.backends import get_mode
from ntm.controllers import LSTMController
from ntm.heads import ReadHead, WriteHead
from ntm.memory import Memory, fit_rows

from .networks import (
    MEMORY_SHAPE,
    B,
    F,
    H,
    T,
    data,
    make_dnc,
    make_ntm,
    make_sam,
    make_sdnc,
    to_jax,
    to_python,
    weighted_sum,
)

KINDS = [make_ntm, make_dnc, make_sam, partial(make_sdnc, num_read_slots=2, num_links=2)]


# ---- Initial values with a row for each sequence


def share(rows, units):
    """A shared variable of no fixed shape."""
    return pytensor.shared(data(rows, units, seed=units))


def assert_each_row_is_used(layer, variables, compile=to_jax):
    """A batch gives what each sequence gives alone, with its own rows of the variables."""
    x = pt.tensor3("x")
    output, state = layer.get_output_for(x, return_state=True)
    gradients = pytensor.grad(weighted_sum(output), variables)
    function = compile([x], [output, *state.flatten(), *gradients])
    values = data(B, 2, F)
    together = function(values)
    rows = [variable.get_value() for variable in variables]
    count = len(together) - len(variables)
    for b in range(B):
        # The sequence alone, several times: of the same shapes, so that nothing is compiled anew
        for variable, value in zip(variables, rows, strict=True):
            variable.set_value(np.repeat(value[b : b + 1], B, axis=0))
        alone = function(np.repeat(values[b : b + 1], B, axis=0))
        for one, all_rows in zip(alone[:count], together[:count], strict=True):
            np.testing.assert_allclose(one[b], all_rows[b], rtol=0, atol=1e-12)
    for variable, value in zip(variables, rows, strict=True):
        variable.set_value(value)
    for gradient, value in zip(together[count:], rows, strict=True):
        assert gradient.shape == value.shape
        assert np.abs(gradient).min() > 0
    assert not np.allclose(together[0][0], together[0][1])


@pytest.mark.parametrize("make", KINDS)
def test_each_row_of_a_controllers_initial_values_is_used(make):
    rows = {"hid_init": share(B, H), "cell_init": share(B, H)}
    layer = make(LSTMController, controller_options=rows)
    assert_each_row_is_used(layer, list(rows.values()))
    message = (
        r"LSTMController 'controller': hid_init must have one row, .*; the number of rows is: 3"
    )
    with pytest.raises(ValueError, match=message):
        to_python([], layer.get_initial_state(B + 1).flatten())()


def lstm_with_rows(layer, rows):
    below = LSTMController(layer, num_units=H, hid_init=rows[0])
    return LSTMController(below, num_units=H, hid_init=rows[1], cell_init=rows[2])


@pytest.mark.parametrize("levels", [1, 2])
def test_each_row_of_a_stacks_initial_values_is_used(levels):
    rows = [share(B, H) for _ in range(3)]
    ntm = partial(
        NTMLayer, controller=partial(lstm_with_rows, rows=rows), heads=[WriteHead, ReadHead]
    )
    l_in = InputLayer((None, None, F))
    layer = (
        SharedMemoryLayer(l_in, MEMORY_SHAPE, [ntm] * levels)
        if levels > 1
        else ntm(l_in, MEMORY_SHAPE)
    )
    assert_each_row_is_used(layer, rows)


@pytest.mark.parametrize("learn_init", [False, True])
def test_each_row_of_a_heads_initial_weights_is_used(learn_init):
    rows = [share(B, MEMORY_SHAPE[0]) for _ in range(2)]
    options = [{"weights_init": each, "learn_init": learn_init} for each in rows]
    layer = make_ntm(writes=options[:1], reads=[options[1], {}])
    for each, seed in zip(rows, range(2), strict=True):
        weights = np.random.default_rng(seed).dirichlet(np.ones(MEMORY_SHAPE[0]), size=B)
        each.set_value(weights)
    assert_each_row_is_used(layer, rows)
    assert all((each in layer.get_params(trainable=True)) == learn_init for each in rows)


@pytest.mark.parametrize(
    ("backend", "shape"),
    [("jax", (None, None)), ("jax", (None, 2)), ("jax", (3, 2)), ("numba", (None, None))],
)
def test_rows_of_initial_values(backend, shape):
    """Of one row all sequences start; of several each has its own; other numbers are an error."""
    rows = pt.matrix(shape=shape)
    x = pt.matrix()
    fitted = fit_rows(rows, x.shape[0], 2, "layer: rows")
    mode = get_mode(backend)
    function = pytensor.function(
        [rows, x], [fitted, pytensor.grad(weighted_sum(fitted), rows)], mode=mode
    )
    values, weights = data(3, 2), np.cos(np.arange(6)).reshape(3, 2)
    fitted, gradient = function(values, np.zeros((3, 1)))
    np.testing.assert_array_equal(fitted, values)
    np.testing.assert_allclose(gradient, weights)
    if shape[0] is None:
        fitted, gradient = function(values[:1], np.zeros((3, 1)))
        np.testing.assert_array_equal(fitted, np.repeat(values[:1], 3, axis=0))
        np.testing.assert_allclose(gradient, weights.sum(axis=0, keepdims=True))
    for batch in (1, 2, 4):
        message = r"layer: rows must have one row, or a row for each sequence of the batch"
        with pytest.raises(ValueError, match=message):
            function(values, np.zeros((batch, 1)))


def test_expression_as_initial_value():
    """The state of one network can be computed by another."""
    context = pt.matrix("context")
    layer = make_ntm(LSTMController, controller_options={"hid_init": pt.tanh(context[:, :H])})
    x = pt.tensor3("x")
    function = to_jax([x, context], layer.get_output_for(x))
    values, contexts = data(B, T, F), data(B, H, seed=2)
    together = function(values, contexts)
    for b in range(B):
        alone = function(*(np.repeat(each[b : b + 1], B, axis=0) for each in (values, contexts)))
        np.testing.assert_allclose(alone[b], together[b], rtol=0, atol=1e-12)


def test_memory_of_other_sizes_is_refused():
    """A shared variable of no fixed shape whose one row would be taken for all slots."""
    memory = pytensor.shared(np.zeros((1, MEMORY_SHAPE[1])))
    layer = NTMLayer(
        InputLayer((None, None, F)),
        Memory(MEMORY_SHAPE, memory_init=memory),
        lambda l: LSTMController(l, num_units=H),
        [WriteHead, ReadHead],
    )
    with pytest.raises(AssertionError, match="expected"):
        to_python([], layer.get_initial_state(B).flatten())()
