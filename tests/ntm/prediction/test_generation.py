"""Sequences that go on from a network's own outputs, against get_output of the whole growing sequence."""

from functools import partial

import numpy as np
import pytensor.tensor as pt
import pytest

from lasagne.layers import (
    DenseLayer,
    EmbeddingLayer,
    GRULayer,
    InputLayer,
    LSTMLayer,
    ReshapeLayer,
    get_output,
)
from lasagne.nonlinearities import softmax, tanh
from ntm import Predictor, StepFunction, generate
from ntm.controllers import LSTMController

from ..networks import F, H, data, make_dnc, make_ntm, make_sam, randomize, to_jax, to_python

STEPS = 4
PREFIX = data(2, 3, F)


def finish(layer, units=F, nonlinearity=tanh):
    l_out = DenseLayer(layer, units, num_leading_axes=2, nonlinearity=nonlinearity)
    randomize(l_out)
    return l_out


def make_symbols(num_symbols=5, nonlinearity=None):
    l_in = InputLayer((None, None), pt.lmatrix("symbols"))
    return finish(LSTMLayer(EmbeddingLayer(l_in, num_symbols, 3), H), num_symbols, nonlinearity)


def grow(l_out, x, prefix, choose, steps=STEPS, compile=to_python):
    """Generate by get_output of the whole sequence, which grows by what `choose` makes of the output at its end.

    Zeros follow its end, so that there is one shape to compile; the networks do not look ahead.
    """
    run = compile([x], get_output(l_out, x, deterministic=True))
    start, end = len(prefix), len(prefix) + steps
    sequence = np.zeros((1, end, *prefix.shape[1:]), prefix.dtype)
    sequence[0, :start] = prefix
    for t in range(start, end):
        sequence[:, t] = choose(run(sequence)[:, t - 1])
    return sequence[0, start:]


def to_one_hot(output):
    return np.eye(output.shape[1])[output.argmax(axis=1)]


NETWORKS = {
    "ntm": partial(make_ntm, LSTMController),
    "dnc": make_dnc,
    "sam": make_sam,
    "lstm": lambda: LSTMLayer(InputLayer((None, None, F)), H),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_forecasts_equal_the_growing_sequence(name):
    """A ragged prefix, as each alone, without and with states that begin anew."""
    l_out = finish(NETWORKS[name]())
    prefix = [PREFIX[0], PREFIX[1, :2]]
    generated = generate(l_out, prefix, STEPS)
    assert generated.shape == (2, STEPS, F)
    for row, sequence in zip(generated, prefix, strict=True):
        expected = grow(l_out, pt.tensor3(), sequence, lambda output: output, compile=to_jax)
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)


def test_one_sequence_and_lists():
    predictor = Predictor(finish(NETWORKS["lstm"]()), mode="FAST_COMPILE")
    batch = generate(predictor, PREFIX, STEPS)
    np.testing.assert_array_equal(generate(predictor, PREFIX.tolist(), STEPS), batch)
    for one in (PREFIX[0], PREFIX[0].tolist()):
        np.testing.assert_allclose(generate(predictor, one, STEPS), batch[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [make_symbols, lambda: finish(NETWORKS["lstm"]())])
def test_most_probable_symbols(make):
    l_out = make()
    takes_symbols = l_out.num_units == 5
    prefix = np.array([3, 0, 4]) if takes_symbols else np.eye(F)[[0, 1, 1]]
    predictor = Predictor(l_out, mode="FAST_COMPILE")
    generated = generate(predictor, prefix, 6, sample="argmax")
    assert generated.dtype.kind == "i"
    x = pt.lmatrix() if takes_symbols else pt.tensor3()
    choose = (lambda output: output.argmax(axis=1)) if takes_symbols else to_one_hot
    expected = grow(l_out, x, prefix, choose, 6)
    np.testing.assert_array_equal(generated, expected if takes_symbols else expected.argmax(1))
    cold = generate(predictor, prefix, 6, sample="sample", temperature=1e-6, seed=0)
    np.testing.assert_array_equal(cold, generated)
    ragged = generate(predictor, [prefix[:1], prefix], 6, sample="argmax")
    np.testing.assert_array_equal(ragged[1], generated)
    one = generate(predictor, prefix[:1], 6, sample="argmax")
    np.testing.assert_array_equal(ragged[0], one)


@pytest.mark.slow
@pytest.mark.parametrize(("nonlinearity", "temperature"), [(None, 1.0), (softmax, 2.0)])
def test_distribution_of_samples(nonlinearity, temperature):
    """The first symbol is drawn from the softmax of the outputs; chi-square with four degrees of freedom."""
    l_out = make_symbols(nonlinearity=nonlinearity)
    predictor = Predictor(l_out)
    count = 4000
    options = {"sample": "sample", "temperature": temperature}
    prefix = np.tile([[1, 2]], (count, 1))
    drawn = generate(predictor, prefix, 1, seed=0, **options)
    output = predictor.predict(prefix[:1])[0, -1]
    logits = (np.log(output) if nonlinearity else output) / temperature
    expected = count * np.exp(logits) / np.exp(logits).sum()
    found = np.bincount(drawn[:, 0], minlength=5)
    assert ((found - expected) ** 2 / expected).sum() < 18.5  # one in a thousand
    np.testing.assert_array_equal(drawn, generate(predictor, prefix, 1, seed=0, **options))
    assert np.any(drawn != generate(predictor, prefix, 1, seed=1, **options))


def test_symbols_after_the_first_are_drawn_given_those_before():
    """What the network makes of the sampled sequence is what the samples were drawn from."""
    predictor = Predictor(make_symbols(), mode="FAST_COMPILE")
    prefix = np.array([[1, 2, 3]])
    drawn = generate(predictor, prefix, 5, sample="sample", seed=3)
    rng = np.random.default_rng(3)
    outputs = predictor.predict(np.concatenate([prefix, drawn], axis=1))[0, 2:-1]
    for output, symbol in zip(outputs, drawn[0], strict=True):
        shares = np.exp(output) / np.exp(output).sum()
        assert symbol == np.searchsorted(shares.cumsum(), rng.random())


def test_a_function_of_the_outputs():
    l_out = finish(NETWORKS["lstm"](), 1)
    predictor = Predictor(l_out, mode="FAST_COMPILE")

    def pair(output):
        return np.concatenate([output, 1 - output], axis=1)

    generated = generate(predictor, PREFIX, STEPS, sample=pair)
    expected = [grow(l_out, pt.tensor3(), sequence, pair) for sequence in PREFIX]
    np.testing.assert_allclose(generated, expected, rtol=0, atol=1e-12)

    def noisy(output, rng):
        return pair(output + rng.normal(size=output.shape))

    one, same, other = (
        generate(predictor, PREFIX, STEPS, sample=noisy, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.all(one != other)
    with pytest.raises(ValueError, match=r"must return the next input, \(2, 2\) .* not \(2, 1\)"):
        generate(predictor, PREFIX, STEPS, sample=lambda output: output)


@pytest.mark.slow
def test_step_function_goes_on_from_its_state():
    l_out = finish(make_ntm(LSTMController))
    step = StepFunction(l_out, batch_size=2)
    first = generate(step, PREFIX, STEPS)
    np.testing.assert_allclose(first, generate(l_out, PREFIX, STEPS), rtol=0, atol=1e-12)
    # The state has seen the prefix and all that was generated but the last
    second = generate(step, first[:, -1:], 2)
    whole = generate(l_out, np.concatenate([PREFIX, first], axis=1), 2)
    np.testing.assert_allclose(second, whole, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"batch_size=2 takes as many .* not 2 of 1 to 3 steps"):
        generate(step, [PREFIX[0], PREFIX[1, :1]], 2)
    with pytest.raises(ValueError, match="mode is for layers"):
        generate(step, PREFIX, 2, mode="FAST_COMPILE")


def test_networks_that_give_their_last_output():
    l_gru = GRULayer(InputLayer((None, None, F)), H, only_return_final=True)
    l_out = DenseLayer(l_gru, F, nonlinearity=tanh)
    randomize(l_out)
    generated = generate(l_out, PREFIX, STEPS, mode="FAST_COMPILE")
    run = to_python([x := pt.tensor3()], get_output(l_out, x))
    sequence = PREFIX
    for _ in range(STEPS):
        sequence = np.concatenate([sequence, run(sequence)[:, None]], axis=1)
    np.testing.assert_allclose(generated, sequence[:, -STEPS:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "options", "error", "message"),
    [
        (None, {"steps": 0}, ValueError, "generate: steps must be an integer of at least 1, not 0"),
        (None, {"temperature": 0}, ValueError, "temperature must be a finite number above 0"),
        (None, {"temperature": 2.0}, ValueError, "temperature is for sample='sample', not for"),
        (None, {"sample": "best"}, ValueError, "must be None, 'argmax', 'sample' or a function"),
        (None, {"seed": -1}, ValueError, "seed must be an integer of at least 0 or a Generator"),
        (None, {"seed": "a"}, TypeError, "seed must be .* not 'a'"),
        (None, {"sample": lambda output: [[1], [2, 3]]}, ValueError, "must return an array"),
        (None, {"prefix": np.ma.masked_array(PREFIX)}, TypeError, "is a masked array"),
        (None, {"prefix": []}, ValueError, "at least one sequence"),
        (None, {"prefix": PREFIX[:, :0]}, ValueError, "at least one step"),
        (None, {"prefix": PREFIX * np.nan}, ValueError, r"\[0, 0, 0\] must be finite"),
        (lambda: 3, {}, TypeError, "network must be the last layer of a network, a Predictor or"),
        (
            lambda: finish(NETWORKS["lstm"](), 3),
            {},
            ValueError,
            r"outputs of a step, \(3,\) numbers, cannot be the inputs of the next, \(2,\) numbers",
        ),
        (
            lambda: finish(NETWORKS["lstm"](), 3),
            {"sample": "argmax"},
            ValueError,
            "gives 3 outputs, and takes 2 symbols",
        ),
        (
            lambda: make_ntm(name="a", backwards=True),
            {},
            ValueError,
            "NTMLayer 'a' runs backwards",
        ),
        (
            lambda: ReshapeLayer(finish(NETWORKS["lstm"]()), ([0], [1], [2])),
            {},
            ValueError,
            "ReshapeLayer.* may mix the steps",
        ),
        (
            lambda: DenseLayer(InputLayer((None, F)), F),
            {},
            ValueError,
            r"must have one input, of steps \(batch, time, ...\)",
        ),
    ],
)
def test_what_is_refused(build, options, error, message):
    network = finish(NETWORKS["lstm"]()) if build is None else build()
    arguments = {"prefix": PREFIX, "steps": 2, "mode": "FAST_COMPILE"} | options
    with pytest.raises(error, match=message):
        generate(network, **arguments)


def test_functions_that_fill_one_array_or_have_options():
    predictor = Predictor(finish(NETWORKS["lstm"]()), mode="FAST_COMPILE")
    expected = generate(predictor, PREFIX, STEPS, sample=lambda output: 2 * output)
    filled = np.zeros((len(PREFIX), F))

    def fill(output):
        return np.multiply(output, 2, out=filled)

    def scale(output, factor=2):
        return factor * output

    for function in (fill, scale):
        generated = generate(predictor, PREFIX, STEPS, sample=function)
        np.testing.assert_array_equal(generated, expected)
    generated = generate(predictor, PREFIX, 1, sample=np.negative)
    np.testing.assert_array_equal(generated, -generate(predictor, PREFIX, 1))


def test_infinite_logits_and_tiny_temperatures():
    l_out = finish(NETWORKS["lstm"](), nonlinearity=None)
    predictor = Predictor(l_out, mode="FAST_COMPILE")
    for logits, symbol in (([0, np.inf], 1), ([-np.inf, 0], 1), ([0, -np.inf], 0)):
        l_out.b.set_value(np.array(logits))
        generated = generate(predictor, PREFIX, STEPS, sample="sample", seed=0)
        np.testing.assert_array_equal(generated, np.full((len(PREFIX), STEPS), symbol))
    l_out.b.set_value(np.array([0.0, 100.0]))
    generated = generate(predictor, PREFIX, 1, sample="sample", temperature=1e-307)
    np.testing.assert_array_equal(generated, np.ones((len(PREFIX), 1)))
    l_out.b.set_value(np.full(2, -np.inf))
    with pytest.raises(ValueError, match="no symbol can be drawn for sequence 0"):
        generate(predictor, PREFIX, STEPS, sample="sample")


def test_outputs_that_are_nan():
    l_out = finish(NETWORKS["lstm"]())
    l_out.b.set_value(l_out.b.get_value() * np.nan)
    with pytest.raises(ValueError, match="the output of sequence 0 at step 0 is NaN"):
        generate(l_out, PREFIX, 2, mode="FAST_COMPILE")
