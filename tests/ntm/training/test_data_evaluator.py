"""Evaluation of data against plain NumPy."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pytensor.compile.mode import get_mode

import lasagne
from lasagne.layers import DenseLayer, InputLayer, LSTMLayer, RecurrentLayer, SliceLayer
from ntm.data import Batches, Dataset, Epochs, Stream
from ntm.training import METRICS, DataEvaluator
from ntm.training.data_evaluator import make_validation, to_row

N, F, O = 11, 2, 3
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 8, N)
WEIGHTS = RNG.choice([0.5, 1.0, 2.0], N)
INPUTS = [RNG.normal(size=(length, F)) for length in LENGTHS]
TARGETS = {
    ("bits", True): [RNG.random((length, O)) > 0.5 for length in LENGTHS],
    ("classes", True): [RNG.integers(0, O, length) for length in LENGTHS],
    ("numbers", True): [RNG.normal(size=(length, O)) for length in LENGTHS],
    ("bits", False): RNG.random((N, O)) > 0.5,
    ("classes", False): RNG.integers(0, O, N),
    ("numbers", False): RNG.normal(size=(N, O)),
}


def make_data(kind, per_step, mask=None):
    per = "step" if per_step else "sequence"
    targets = TARGETS[kind, per_step]
    return Dataset(INPUTS, targets, mask, weights=WEIGHTS, kind=kind, per=per, num_outputs=O)


def make_network(batch_size=None, size=O):
    lasagne.random.set_rng(np.random.RandomState(0))
    l_in = InputLayer((batch_size, None, F))
    return DenseLayer(l_in, size, nonlinearity=None, num_leading_axes=2)


def apply(l_out, inputs):
    """The network in plain NumPy."""
    return inputs @ l_out.W.get_value() + l_out.b.get_value()


def compute(kind, outputs, targets):
    """The losses of steps, averaged over outputs, and the predictions."""
    if kind == "bits":
        p = 1 / (1 + np.exp(-outputs))
        return -np.where(targets, np.log(p), np.log(1 - p)).mean(axis=1), p
    if kind == "classes":
        p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(p)), targets]), p
    return ((outputs - targets) ** 2).mean(axis=1), outputs


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("kind", ["bits", "classes", "numbers"])
def test_losses_metrics_and_predictions(kind, per_step):
    mask = [RNG.choice([0.5, 1.0], length) for length in LENGTHS] if per_step else None
    data, l_out = make_data(kind, per_step, mask), make_network()
    names = [name for name in METRICS if kind in METRICS[name].kinds]
    evaluator = DataEvaluator(l_out, data.layout, metrics=names)
    found = evaluator.evaluate(data, batch_size=4)
    assert list(found) == evaluator.names == ["loss", *names]
    assert evaluator.number_names == [name for name in found if name != "confusion"]

    losses, predicted, targets, weights = [], [], [], []
    for n in range(N):
        outputs, y = apply(l_out, INPUTS[n]), data.take([n]).targets[0]
        if not per_step:
            outputs, y = outputs[-1:], y[None]
        step_losses, p = compute(kind, outputs, y)
        w = mask[n] if per_step else np.ones(1)
        losses.append((w * step_losses).sum() / w.sum())
        predicted.append(p)
        targets.append(y)
        weights.append(WEIGHTS[n] * w)
    assert found["loss"] == pytest.approx(np.average(losses, weights=WEIGHTS), rel=1e-9)
    p, y, w = (np.concatenate(each) for each in (predicted, targets, weights))
    if kind == "numbers":
        mean = np.average(y, axis=0, weights=w)
        r2 = 1 - np.average((y - p) ** 2, axis=0, weights=w) / np.average(
            (y - mean) ** 2, axis=0, weights=w
        )
        assert found["r2"] == pytest.approx(r2.mean(), rel=1e-9)
    else:
        right = (p.argmax(axis=1) == y)[:, None] if kind == "classes" else (p > 0.5) == y
        assert found["accuracy"] == pytest.approx(np.average(right.mean(axis=1), weights=w))
        assert np.sum(found["confusion"]) == pytest.approx(w.sum() * (O if kind == "bits" else 1))

    for given in (data, INPUTS):
        ps = evaluator.predict(given, batch_size=4)
        assert isinstance(ps, list) == per_step
        for one, other in zip(ps, predicted, strict=True):
            np.testing.assert_allclose(one, other if per_step else other[0], rtol=1e-9)


def test_whatever_the_batches():
    """Other sizes, a source, and a network made for more rows than there are sequences."""
    data, l_out = make_data("classes", True), make_network()
    evaluator = DataEvaluator(l_out, data.layout, metrics=["accuracy", "sequence_error"])
    found, predicted = evaluator.evaluate(data), evaluator.predict(data)
    fixed = DataEvaluator(make_network(N + 2), data.layout, metrics=["accuracy", "sequence_error"])
    for each, given in ((evaluator, Epochs(data, 4)), (fixed, data), (fixed, Epochs(data, 3))):
        assert each.evaluate(given, batch_size=3) == pytest.approx(found, rel=1e-9)
    for one, other in zip(fixed.predict(data, batch_size=2), predicted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_network_that_gives_one_output_a_sequence():
    data, l_out = make_data("classes", False), make_network()
    last = SliceLayer(l_out, -1, axis=1)
    inputs = RNG.normal(size=(5, 4, F))
    one, other = (DataEvaluator(each, data.layout).predict(inputs) for each in (l_out, last))
    np.testing.assert_allclose(one, other)


def test_a_loss_of_the_user():
    data = Dataset(INPUTS, TARGETS["numbers", True], kind="own")

    def loss(outputs, targets, mask):
        return (abs(outputs - targets).max(axis=2) * mask).max(axis=1)

    def largest(predictions, targets, mask):
        return (np.abs(predictions - targets).max(axis=2) * mask).max(axis=1)

    found = DataEvaluator(make_network(), data.layout, metrics=[largest], loss=loss).evaluate(data)
    assert found["loss"] == pytest.approx(found["largest"], rel=1e-9)
    with pytest.raises(
        ValueError, match="DataEvaluator: the data are of the kind 'own': give loss="
    ):
        DataEvaluator(make_network(), data.layout)


def test_predictions_that_are_nan():
    data, l_out = make_data("classes", True), make_network()
    l_out.b.set_value(np.full(O, np.nan))
    found = DataEvaluator(l_out, data.layout, metrics=["accuracy", "error"]).evaluate(data)
    assert np.isnan(found["loss"])
    assert (found["accuracy"], found["error"]) == (0, 1)
    assert [to_row(value) for value in (*found.values(), [[1, 0]])] == [None, 0, 1, [[1, 0]]]


def test_states_are_carried_along_a_stream():
    """Windows of series give what whole series give."""
    lasagne.random.set_rng(np.random.RandomState(0))
    l_out = DenseLayer(
        LSTMLayer(InputLayer((None, None, F)), 4), 1, nonlinearity=None, num_leading_axes=2
    )
    arrays = RNG.normal(size=(3, 12, F)), RNG.normal(size=(3, 12, 1))
    series = Dataset(*arrays)
    evaluator = DataEvaluator(l_out, series.layout, metrics=["mse", "mae", "r2"])
    whole = evaluator.evaluate(series)
    stream = Stream(series, window=4, batch_size=2, seed=1)
    for _ in range(2):
        state = stream.get_state()
        along = evaluator.evaluate(stream)
        assert stream.get_state() == state
        for name, value in whole.items():
            assert along[name] == pytest.approx(value, rel=1e-9)
    x, y = (array.reshape(9, 4, -1) for array in arrays)
    assert evaluator.evaluate(Dataset(x, y))["loss"] != pytest.approx(whole["loss"], rel=1e-5)


def test_iterables():
    evaluator = DataEvaluator(make_network(), make_data("classes", True).layout)
    x, y = np.ones((4, 5, F)), np.ones((4, 5), int)
    batches = Batches(lambda: iter([(x, y), (x, y)]), kind="classes", num_outputs=O)
    assert evaluator.evaluate(batches) == evaluator.evaluate(batches)
    assert evaluator.evaluate((x, y)) == pytest.approx(evaluator.evaluate(batches))
    once = Batches(iter([(x, y), (x, y)]), kind="classes", num_outputs=O)
    assert evaluator.evaluate(once) == pytest.approx(evaluator.evaluate(batches))
    with pytest.raises(ValueError, match="no more batches, as a generator gives its batches once"):
        evaluator.evaluate(once)


def test_data_that_do_not_fit():
    layout = make_data("classes", True).layout
    evaluator = DataEvaluator(make_network(), layout)
    x = np.ones((4, 5, F))
    # The last class does not come: what was guessed from the labels has fewer classes
    evaluator.evaluate(Dataset(x, np.ones((4, 5), int)))
    for data, message in (
        (
            Dataset(x, np.full((4, 5), 3)),
            "the targets are 4 classes for each step, and those that the",
        ),
        (Dataset(x, np.ones((4, 5, 3)) / 3), "the targets are 3 numbers for each step"),
        (
            Dataset(x, np.ones(4, int)),
            "the targets are 2 classes for each sequence, and those .* 3 classes for each",
        ),
        (
            Dataset(x[..., :1], np.ones((4, 5), int)),
            r"input 'inputs' is of features \(1,\), and the",
        ),
        (Dataset({"a": x}, np.ones((4, 5), int)), "input 'inputs' is missing"),
        (Dataset(x), "the data have no targets"),
    ):
        with pytest.raises(ValueError, match=rf"DataEvaluator\.evaluate: {message}"):
            evaluator.evaluate(data)
    with pytest.raises(ValueError, match="Trainer: the data have no targets"):
        make_validation(Dataset(x), layout)
    with pytest.raises(
        ValueError, match=r"DataEvaluator\.predict: the network takes .* but the data has 1 f"
    ):
        evaluator.predict(x[..., :1])
    with pytest.raises(
        ValueError, match="DataEvaluator: batch_size must be an integer of at least"
    ):
        evaluator.predict(x, batch_size=0)
    with pytest.raises(ValueError, match="DataEvaluator: the network gives"):
        DataEvaluator(make_network(size=4), layout)
    with pytest.raises(ValueError, match="DataEvaluator: 'r2' is a metric of numbers"):
        DataEvaluator(make_network(), layout, metrics=["r2"])


@pytest.mark.slow
def test_threads_share_an_evaluator():
    """The states that are carried along a stream are those of one thread at a time."""

    def wait(predictions, targets, mask):
        time.sleep(0.01)
        return np.zeros(len(predictions))

    data = Dataset(RNG.normal(size=(2, 12, F)), RNG.normal(size=(2, 12, O)))
    layer = RecurrentLayer(InputLayer((None, None, F)), 3)
    l_out = DenseLayer(layer, O, nonlinearity=None, num_leading_axes=2)
    evaluator = DataEvaluator(l_out, data.layout, get_mode("FAST_COMPILE"), [wait])
    expected = evaluator.evaluate(Stream(data, 4))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(evaluator.evaluate, [Stream(data, 4) for _ in range(3)]))
    assert found == [expected] * 3
