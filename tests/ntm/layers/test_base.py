"""What all memory layers share: initial values with a row for each sequence, inputs without a step or a sequence."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import InputLayer
from lasagne.loop import get_last, loop
from ntm import HyperplaneIndex, NTMLayer, SAMLayer, SharedMemoryLayer
from ntm.controllers import DenseController, GRUController, LSTMController
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.heads.sparse import SAMReadHead
from ntm.init import fit_rows
from ntm.memory import Memory

from ..cases import leave_out
from ..networks import (
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


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS)
def test_each_row_of_a_controllers_initial_values_is_used(make):
    rows = {"hid_init": share(B, H), "cell_init": share(B, H)}
    layer = make(LSTMController, controller_options=rows)
    assert_each_row_is_used(layer, list(rows.values()))
    message = r"LSTMController 'controller': (hid|cell)_init must have one row, .*; the number of rows is: 3"
    with pytest.raises(ValueError, match=message):
        to_python([], layer.get_initial_state(B + 1).flatten())()


def lstm_with_rows(layer, rows):
    below = LSTMController(layer, num_units=H, hid_init=rows[0])
    return LSTMController(below, num_units=H, hid_init=rows[1], cell_init=rows[2])


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


# ---- Inputs without a step, or without a sequence


def sharing(level, incoming=None, **options):
    """Two levels that share a memory."""
    l_in = InputLayer((None, None, F)) if incoming is None else incoming
    return SharedMemoryLayer(l_in, MEMORY_SHAPE, [level, level], **options)


def lstm(layer):
    return LSTMController(layer, num_units=H)


INDEX = {"num_tables": 2, "num_bits": 2, "bucket_size": 2, "num_flips": 1, "num_recent": 2}
LAYERS = {
    "ntm": make_ntm,
    "ntm of few residuals": partial(make_ntm, checkpoint_every=2),
    "ntm of short gradients": partial(make_ntm, gradient_steps=2),
    "dnc": make_dnc,
    "sam": make_sam,
    "sam with an index": lambda **options: make_sam(
        nearest=HyperplaneIndex(MEMORY_SHAPE, **INDEX), **options
    ),
    "sdnc": KINDS[-1],
    "sharing ntm": partial(
        sharing, partial(NTMLayer, controller=lstm, heads=[WriteHead, ReadHead])
    ),
    "sharing sam": partial(sharing, partial(SAMLayer, controller=lstm, num_reads=1)),
}


def compile_masked(layer, compile):
    """From input and mask to outputs, state, traces and gradients of what the state holds, a list each."""
    x, mask = pt.tensor3("x"), pt.matrix("mask")
    output, state = layer.get_output_for([x, mask], return_state=True)
    details = layer.get_output_for([x, mask], get_details=True)
    cost = weighted_sum(state.memory) + weighted_sum(state.hidden)
    params = layer.get_params()
    gradients = pytensor.grad(cost, params, disconnected_inputs="ignore")
    groups = [[output], state.flatten(), details, gradients]
    function = compile([x, mask], [each for group in groups for each in group])

    def run(*shape, mask=1.0):
        values = iter(function(data(*shape, F), np.full(shape, mask)))
        return [[next(values) for _ in group] for group in groups]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", leave_out(LAYERS, "sam with an index", "sharing sam"))
def test_no_step_and_no_sequence(kind):
    """No step is as a masked sequence. Without a sequence all is empty, and the gradients of parameters are zero."""
    layer = LAYERS[kind](mask_input=InputLayer((None, None)))
    run = compile_masked(layer, to_jax)
    (output,), state, details, gradients = run(B, 0)
    assert output.shape == (B, 0, layer.output_shape[2])
    assert all(each.shape[:2] == (B, 0) for each in details)
    _, expected, _, expected_gradients = run(B, 2, mask=0.0)
    for value, wanted in zip(state, expected, strict=True):
        np.testing.assert_array_equal(value, wanted)
    for value, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)

    (output,), state, details, gradients = run(0, 2)
    assert output.shape == (0, 2, layer.output_shape[2])
    assert all(len(each) == 0 for each in state)
    assert all(each.shape[:2] == (0, 2) for each in details)
    for value, param in zip(gradients, layer.get_params(), strict=True):
        np.testing.assert_array_equal(value, np.zeros(param.get_value().shape))


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS)
def test_last_output_of_no_step(make):
    layer = make(only_return_final=True)
    x = pt.tensor3("x")
    output = layer.get_output_for(x)
    expected = layer.get_output_of(layer.get_initial_state(B))
    values, expected = to_jax([x], [output, expected])(np.zeros((B, 0, F)))
    np.testing.assert_array_equal(values, expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [get_mode("jax"), get_mode("numba"), "FAST_COMPILE"])
def test_last_state_of_a_loop_of_no_step(mode):
    x, start = pt.tensor3("x"), pt.matrix("start")
    last = get_last(loop(lambda x_t, h: [x_t + 2 * h], [x], [start])[0], start)
    function = pytensor.function([x, start], last, mode=mode)
    values = data(B, F)
    np.testing.assert_array_equal(function(np.zeros((0, B, F)), values), values)
    np.testing.assert_array_equal(function(np.ones((1, B, F)), values), 1 + 2 * values)


#: PyTensor 3.3 has no gradient on Numba of a scan of no step
NUMBA_RUNS_NO_STEP = pytensor.__version__.startswith(("3.0.", "3.1.", "3.2."))


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "gradient_steps"), [("jax", -1), ("jax", 2), ("numba", -1)])
def test_gradient_of_a_loop_of_two_steps_and_of_none(backend, gradient_steps):
    """With one compiled function: Numba takes half a minute for it, and for a whole layer minutes."""
    x, start = pt.tensor3("x"), pt.matrix("start")
    trace = loop(lambda x_t, h: [pt.tanh(x_t + h)], [x], [start], gradient_steps)[0]
    last = get_last(trace, start)
    outputs = [trace, last, *pytensor.grad(weighted_sum(last), [x, start])]
    function = pytensor.function([x, start], outputs, mode=get_mode(backend))
    values, weights = data(B, F), np.cos(np.arange(B * F)).reshape(B, F)
    steps = data(2, B, F)
    trace, last, of_x, of_start = map(np.asarray, function(steps, values))
    first = np.tanh(steps[0] + values)
    second = np.tanh(steps[1] + first)
    np.testing.assert_allclose(trace, [first, second])
    np.testing.assert_array_equal(last, trace[1])
    of_second = (1 - second**2) * weights
    of_first = (1 - first**2) * of_second
    np.testing.assert_allclose(of_x, [of_first, of_second])
    np.testing.assert_allclose(of_start, of_first)
    if backend == "numba" and not NUMBA_RUNS_NO_STEP:
        with pytest.raises(ValueError, match=r"."):
            function(np.zeros((0, B, F)), values)
        return
    trace, last, of_x, of_start = map(np.asarray, function(np.zeros((0, B, F)), values))
    assert trace.shape == of_x.shape == (0, B, F)
    np.testing.assert_array_equal(last, values)
    np.testing.assert_allclose(of_start, weights)


# ---- Gradients of what is not used


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS)
def test_parameters_of_heads_have_no_gradient_where_the_memory_is_not_used(make):
    layer = make(GRUController)
    x = pt.tensor3("x")
    output, state = layer.get_output_for(x, return_state=True, pass_through_memory=False)
    params = layer.get_params(trainable=True)
    gradients = pytensor.grad(weighted_sum(output) + weighted_sum(state.hidden), params)
    gradients = dict(zip(params, to_jax([x], gradients)(data(B, 2, F)), strict=True))
    of_controller = layer.controller.get_params(trainable=True)
    for param, gradient in gradients.items():
        assert gradient.shape == param.get_value().shape
        uses_memory = ".W_reads" in param.name or param not in of_controller
        assert np.any(gradient) != uses_memory, param.name


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS)
def test_initial_values_have_no_gradient_where_a_state_is_given(make):
    layer = make(controller_options={"learn_init": True})
    x, state = pt.tensor3("x"), layer.make_state_variables()
    output = layer.get_output_for(x, state=state)
    memory_init = layer.memory.memory_init
    gradient = pytensor.grad(weighted_sum(output), [memory_init, layer.controller.hid_init])
    inputs = [x, *state.flatten()]
    function = to_python(inputs, gradient, on_unused_input="ignore")
    start = to_python([], layer.get_initial_state(B).flatten())()
    for value in function(data(B, 1, F), *start):
        assert not np.any(value)


# ---- Heads given as classes


def test_heads_given_as_classes_have_names():
    """Their parameters and the messages about them tell which head it is."""
    l_in = InputLayer((None, None, F))

    def list_names(*heads):
        return [head.name for head in NTMLayer(l_in, MEMORY_SHAPE, lstm, list(heads)).heads]

    assert list_names(WriteHead, ReadHead) == ["write", "read"]
    three = [ReadHead, WriteHead, ReadHead, partial(ReadHead, name="mine")]
    assert list_names(*three) == ["read0", "write", "read1", "mine"]
    layer = NTMLayer(l_in, MEMORY_SHAPE, lstm, [WriteHead, ReadHead])
    names = [param.name for param in layer.get_params()]
    assert {"write.key.W", "read.key.W"} < set(names)
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="ReadHead 'read': num_shifts must be"):
        NTMLayer(l_in, MEMORY_SHAPE, lstm, [WriteHead, partial(ReadHead, num_shifts=0)])


def test_classes_beside_a_controller_are_refused():
    l_in = InputLayer((None, None, 3))
    controller = DenseController(l_in, memory_shape=(8, 4), num_units=5, num_reads=1)
    with pytest.raises(TypeError, match=r"made for the controller.*not the class WriteHead"):
        NTMLayer(l_in, (8, 4), controller, [WriteHead, ReadHead])


def test_classes_that_are_no_heads():
    message = "WriteHead for one that writes and ReadHead for one that reads, .*, not .*Head'"
    with pytest.raises(TypeError, match=message):
        NTMLayer((None, None, F), MEMORY_SHAPE, lstm, [WriteHead, SAMReadHead])
