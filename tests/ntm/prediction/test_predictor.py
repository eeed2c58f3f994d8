"""Predictions from arrays: shapes, padding, states, threads, and what is refused."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    ElemwiseSumLayer,
    EmbeddingLayer,
    ExpressionLayer,
    GRULayer,
    InputLayer,
    LSTMLayer,
    RecurrentLayer,
    ReshapeLayer,
    SliceLayer,
    get_all_layers,
    get_output,
)
from lasagne.nonlinearities import softmax, tanh
from ntm import Predictor
from ntm.controllers import LSTMController

from ..networks import F, H, data, make_dnc, make_ntm, make_sam, randomize, to_python

LENGTHS = [5, 1, 3]
SEQUENCES = [data(length, F, seed=length) for length in LENGTHS]
dense = partial(DenseLayer, num_leading_axes=2, nonlinearity=tanh)


def enter(shape=(None, None, F), **options):
    return InputLayer(shape, **options)


def finish(layer, top=dense):
    """A layer of two units above; the network gets random parameters."""
    l_out = top(layer, 2)
    randomize(l_out)
    return l_out


def make_bidirectional(**options):
    l_in = enter()
    layers = [LSTMLayer(l_in, 3, backwards=each, **options) for each in (False, True)]
    return ConcatLayer(layers, axis=-1)


def make_masked():
    """A network with a mask, which looks backwards and gives its last output."""
    l_in, l_mask = enter(), InputLayer((None, None))
    below = make_ntm(LSTMController, incoming=l_in, mask_input=l_mask, backwards=True)
    return GRULayer(ElemwiseSumLayer([dense(below, 3), dense(l_in, 3)]), H, mask_input=l_mask)


def make_reshaping():
    """A dense layer over all steps at once, as Lasagne's users write it."""
    x = pt.tensor3("x")
    top = DenseLayer(ReshapeLayer(LSTMLayer(enter(input_var=x), 3), (-1, 3)), 2)
    top = ReshapeLayer(top, (-1, x.shape[1], 2))
    randomize(top)
    return top


def run_alone(l_out, sequences):
    """The output for each sequence by itself, as get_output has it."""
    layers = [each for each in get_all_layers(l_out) if isinstance(each, InputLayer)]
    run = to_python([each.input_var for each in layers], get_output(l_out, deterministic=True))
    return [run(x[None], *(np.ones((1, len(x))) for _ in layers[1:]))[0] for x in sequences]


def assert_all_close(values, expected):
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected, strict=True):
        assert value.shape == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


# ---- Padding


NETWORKS = {
    "ntm": lambda: finish(make_ntm(LSTMController)),
    "dnc": lambda: finish(make_dnc()),
    "sam": lambda: finish(make_sam()),
    "bidirectional": lambda: finish(make_bidirectional()),
    "last of both": lambda: finish(make_bidirectional(only_return_final=True), DenseLayer),
    "masked": lambda: finish(make_masked()),
    "without states": lambda: finish(enter()),
    "reshape": make_reshaping,
    "last step": lambda: finish(SliceLayer(GRULayer(enter(), H), -1, axis=1), DenseLayer),
    "own": lambda: finish(ExpressionLayer(enter(), lambda x: x - x.mean(axis=1, keepdims=True))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_padding_changes_no_output(name):
    l_out = NETWORKS[name]()
    predictor = Predictor(l_out)
    assert predictor.pads == (name not in ("reshape", "last step", "own"))
    expected = run_alone(l_out, SEQUENCES)
    outputs = predictor.predict(SEQUENCES)
    assert isinstance(outputs, list) == (expected[0].ndim == 2)
    assert_all_close(outputs, expected)
    # In an array, what follows the end of a sequence does not count, whatever it is
    array = np.full((3, 5, F), np.nan)
    for row, sequence in zip(array, SEQUENCES, strict=True):
        row[: len(sequence)] = sequence
    if name in ("reshape", "own"):
        with pytest.raises(ValueError, match=r"mixes steps.*give a list of sequences"):
            predictor.predict(array, LENGTHS)
        return
    outputs = predictor.predict(array, np.array(LENGTHS))
    assert isinstance(outputs, np.ndarray)
    if expected[0].ndim == 2:
        assert not outputs[1, 1:].any()
        assert not outputs[2, 3:].any()
        outputs = [row[:length] for row, length in zip(outputs, LENGTHS, strict=True)]
    assert_all_close(list(outputs), expected)


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_sam, partial(make_ntm, LSTMController), make_bidirectional])
def test_float32(float32, make):
    l_out = finish(make())
    output = Predictor(l_out).predict(data(2, 3, F))
    assert output.dtype == "float32"


def test_built_in_float32_used_in_float64(monkeypatch, float32):
    l_out = finish(make_ntm(LSTMController))
    monkeypatch.undo()
    output = Predictor(l_out, mode="FAST_COMPILE").predict(data(2, 3, F))
    assert output.dtype == "float32"


@pytest.mark.slow
def test_one_compilation_a_bucket():
    compiled = []

    def listen(event, duration, **options):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(options)

    jax.monitoring.register_event_duration_secs_listener(listen)
    predictor = Predictor(finish(GRULayer(enter(), H)))
    predictor.predict(data(4, 5, F))
    count = len(compiled)
    assert count
    for num_steps in (5, 6, 7, 8):
        predictor.predict(data(3, num_steps, F))
    assert len(compiled) == count
    sequences = [data(length, F) for length in (5, 6, 3, 4, 8, 7, 3)]
    predictor.predict(sequences, batch_size=4)
    # The one new shape is that of four steps
    assert len(compiled) == 2 * count
    jax.monitoring.unregister_event_duration_listener(listen)


# ---- Inputs and outputs


def test_without_time():
    l_out = finish(enter((None, F)), DenseLayer)
    values = data(7, F)
    expected = to_python([x := pt.matrix()], get_output(l_out, x))(values)
    predictor = Predictor(l_out, mode="FAST_COMPILE")
    assert_all_close([predictor.predict(values, batch_size=3)], [expected])
    assert_all_close([predictor.predict(values.tolist())], [expected])
    assert_all_close([predictor.predict({"inputs": values})], [expected])


def test_symbols():
    l_in = InputLayer((None, None), pt.lmatrix())
    l_out = finish(GRULayer(EmbeddingLayer(l_in, 5, 4), H))
    symbols = [np.array([0, 4, 2]), np.array([1])]
    expected = run_alone(l_out, symbols)
    predictor = Predictor(l_out, mode="FAST_COMPILE")
    assert_all_close(predictor.predict(symbols), expected)
    assert_all_close(predictor.predict([[0, 4, 2], [1]]), expected)
    with pytest.raises(ValueError, match=r"inputs\[1, 2\] must be a symbol from 0 to 4, not 5"):
        predictor.predict(np.array([[0, 0, 0], [0, 0, 5]]))
    with pytest.raises(TypeError, match="must be integers, not of dtype float64"):
        predictor.predict(np.zeros((2, 3)))


def test_several_inputs():
    l_series, l_static = enter(name="series"), InputLayer((None, 3), name="static")
    last = GRULayer(l_series, H, only_return_final=True)
    l_out = finish(ConcatLayer([last, l_static]), DenseLayer)
    static = data(3, 3)
    x, y = l_series.input_var, l_static.input_var
    run = to_python([x, y], get_output(l_out))
    expected = [run(x[None], y[None])[0] for x, y in zip(SEQUENCES, static, strict=True)]
    predictor = Predictor(l_out, mode="FAST_COMPILE")
    assert_all_close(predictor.predict({"series": SEQUENCES, l_static: static}), expected)
    for given, message in [
        ({"series": SEQUENCES}, "no values are given for the input 'static'"),
        ({"series": SEQUENCES, "static": static, "more": 1}, "has no input 'more'"),
        ({"series": SEQUENCES, "static": static[:2]}, r"as many sequences as .*'series'\], 3, not"),
        (SEQUENCES, "2 inputs; give a dictionary from their names, 'series', 'static'"),
    ]:
        with pytest.raises(ValueError, match=message):
            predictor.predict(given)


def test_declared_sizes():
    l_out = finish(GRULayer(enter((4, 3, F)), H))
    values = data(6, 3, F)
    whole = to_python([x := pt.tensor3()], get_output(l_out, x))
    predictor = Predictor(l_out, mode="FAST_COMPILE")
    expected = np.concatenate([whole(values[:4]), whole(np.repeat(values[4:], 2, axis=0))[::2]])
    assert_all_close([predictor.predict(values)], [expected])
    assert_all_close(predictor.predict([values[0, :2]]), [expected[0, :2]])
    with pytest.raises(ValueError, match=r"inputs\[0\] has 4 steps, .* made for at most 3"):
        predictor.predict(data(1, 4, F))


@pytest.mark.parametrize(
    ("kind", "nonlinearity"), [("classes", None), ("classes", softmax), ("bits", None)]
)
def test_probabilities(kind, nonlinearity):
    l_out = DenseLayer(enter((None, F)), 3, nonlinearity=nonlinearity)
    values = data(2, F)
    logits = values @ l_out.W.get_value() + l_out.b.get_value()
    predictor = Predictor(l_out, mode="FAST_COMPILE", kind=kind)
    powers = np.exp(logits)
    expected = powers / (powers.sum(axis=1, keepdims=True) if kind == "classes" else 1 + powers)
    assert predictor.gives_probabilities
    assert_all_close([predictor.predict(values)], [expected])
    assert not Predictor(dense(enter(), 3)).gives_probabilities


def test_parameters_that_change_are_seen():
    l_out = finish(GRULayer(enter(), H))
    predictor = Predictor(l_out)
    before = predictor.predict(SEQUENCES)
    randomize(l_out, seed=1)
    after = predictor.predict(SEQUENCES)
    assert not np.allclose(before[0], after[0])
    assert_all_close(after, run_alone(l_out, SEQUENCES))


# ---- States


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [partial(make_ntm, LSTMController), make_sam, lambda: LSTMLayer(enter(), H)]
)
def test_states_go_on(make):
    layer = make()
    l_out = finish(layer)
    whole = [data(length, F, seed=length) for length in (7, 2, 5)]
    cuts = [4, 1, 2]
    predictor = Predictor(l_out)
    first, states = predictor.predict(
        [x[:cut] for x, cut in zip(whole, cuts, strict=True)], return_states=True, batch_size=2
    )
    assert [len(part) for part in states[layer].flatten()] == [3] * len(states[layer].flatten())
    second = predictor.predict(
        [x[cut:] for x, cut in zip(whole, cuts, strict=True)], states=states, batch_size=2
    )
    outputs = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    assert_all_close(outputs, run_alone(l_out, whole))
    with pytest.raises(ValueError, match=r"must have parts of shape \[\(2, .* for 2 sequences"):
        predictor.predict(whole[:2], states=states)


@pytest.mark.parametrize(
    ("make", "states", "error", "message"),
    [
        (make_bidirectional, None, ValueError, "LSTMLayer runs backwards"),
        (make_ntm, {}, ValueError, "there is no state of NTMLayer"),
        (make_ntm, {1: 2}, ValueError, "1 is not a memory layer or a recurrent layer"),
        (make_ntm, [1], TypeError, "states must be a dictionary"),
        (
            lambda: GRULayer(enter(), H, hid_init=DenseLayer(SliceLayer(enter(), 0, 1), H)),
            None,
            ValueError,
            "several inputs needs InputLayers with names",
        ),
    ],
)
def test_states_that_are_refused(make, states, error, message):
    with pytest.raises(error, match=message):
        Predictor(finish(make())).predict(data(2, 3, F), states=states, return_states=True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda part: part * np.nan,
            ValueError,
            r"part 0 of the state of LSTMLayer\[0, 0\] must be",
        ),
        (lambda part: part.astype(str), TypeError, "must be of float64, not of <U"),
        (lambda part: part.astype(complex), TypeError, "must be of float64, not of complex128"),
    ],
)
def test_values_of_states_that_are_refused(change, error, message):
    layer = LSTMLayer(enter(), H)
    state = layer.make_state_variables()
    parts = [change(np.zeros((2, H))) for _ in state.flatten()]
    with pytest.raises(error, match=message):
        Predictor(finish(layer)).predict(data(2, 3, F), states={layer: state.unflatten(parts)})


def test_states_of_a_float64_network_used_in_float32(monkeypatch):
    layer = LSTMLayer(enter(), H)
    predictor = Predictor(finish(layer), mode="FAST_COMPILE")
    x = data(2, 5, F)
    whole = predictor.predict(x)
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    _, states = predictor.predict(x[:, :3], return_states=True)
    assert {part.dtype for part in states[layer].flatten()} == {np.dtype("float64")}
    rest = predictor.predict(x[:, 3:], states=states)
    np.testing.assert_allclose(rest, whole[:, 3:], rtol=0, atol=1e-14)


# ---- Threads


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jax", "FAST_COMPILE"])
def test_threads(mode):
    l_out = finish(RecurrentLayer(enter(), H, nonlinearity=tanh))
    predictor = Predictor(l_out, mode=get_mode(mode) if mode == "jax" else mode)
    sequences = [[data(1 + k % 4, F, seed=k), data(2, F, seed=-k % 7)] for k in range(24)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(predictor.predict, sequences))
    for given, outputs in zip(sequences, results, strict=True):
        assert_all_close(outputs, predictor.predict(given))
    assert_all_close(results[3], run_alone(l_out, sequences[3]))


# ---- What is refused

NAN = data(2, 3, F)
NAN[1, 2, 0] = np.nan
NAN[1, 2, 1] = np.inf


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (NAN, ValueError, r"Predictor: inputs\[1, 2, 0\] must be finite in float64, not nan"),
        (list(NAN), ValueError, r"inputs\[1, 2, 0\] must be finite"),
        (data(2, 3, F + 1), ValueError, r"has 3 features where the network takes 2: the shape is"),
        (
            [data(2, F), data(2, 1)],
            ValueError,
            r"inputs\[1\] has 1 features .* expected \(steps, 2",
        ),
        (data(3, F), ValueError, r"\(batch, steps, 2\), not \(3, 2\); .* give x\[None\]"),
        (data(1, 2, 3, F), ValueError, r"must be of shape \(batch, steps, 2\), not \(1, 2, 3, 2\)"),
        ([data(3)], ValueError, r"inputs\[0\] must be of shape \(steps, 2\), not \(3,\)"),
        ([], ValueError, "at least one sequence, and the list is empty"),
        (data(0, 3, F), ValueError, r"at least one sequence, and the shape is \(0, 3, 2\)"),
        (data(2, 0, F), ValueError, "must have at least one step"),
        ([data(2, F), data(0, F)], ValueError, r"inputs\[1\] must have at least one step"),
        (np.array([[["a", "b"]]]), TypeError, "must be numbers, not of dtype <U1"),
        ([["a", "b"]], TypeError, r"inputs\[0\] must be numbers, not of dtype <U1"),
        (np.ones((1, 2, F), complex), TypeError, "not of dtype complex128"),
        (None, TypeError, "must be numbers, not of dtype object"),
        ([[[1, 2], [1]]], ValueError, r"inputs\[0\] is no array"),
    ],
)
def test_inputs_that_are_refused(inputs, error, message):
    predictor = Predictor(dense(enter(), 2), mode="FAST_COMPILE")
    with pytest.raises(error, match=message):
        predictor.predict(inputs)


@pytest.mark.parametrize(
    ("inputs", "lengths", "message"),
    [
        (data(2, 3, F), [3, 4], r"lengths\[1\] must be from 1 to the 3 steps of the array, not 4"),
        (data(2, 3, F), [0, 3], r"lengths\[0\] must be from 1"),
        (data(2, 3, F), [3], r"lengths must be 2 integers"),
        (data(2, 3, F), [1.0, 2.0], r"lengths must be 2 integers, .* float64"),
        ([data(3, F)], [3], r"the sequences of a list have their own"),
    ],
)
def test_lengths_that_are_refused(inputs, lengths, message):
    predictor = Predictor(dense(enter(), 2), mode="FAST_COMPILE")
    with pytest.raises(ValueError, match=message):
        predictor.predict(inputs, lengths)


def test_numbers_too_large_for_float32(float32):
    predictor = Predictor(dense(enter(), 2), mode="FAST_COMPILE")
    with pytest.raises(ValueError, match=r"\[0, 1, 0\] must be finite in float32, not 1e\+300"):
        predictor.predict(np.array([[[1.0, 2.0], [1e300, 0.0]]]))


def test_what_is_no_network():
    with pytest.raises(TypeError, match="l_out must be the last layer of a network"):
        Predictor([dense(enter(), 2)])
    with pytest.raises(ValueError, match="unknown kind of Predictor 'class'"):
        Predictor(dense(enter(), 2), kind="class")
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
        Predictor(dense(enter(), 2)).predict(data(1, 1, F), batch_size=0)
