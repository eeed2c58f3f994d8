import numpy as np
import pytensor
import pytest

import lasagne
from lasagne.layers import DenseLayer, InputLayer
from lasagne.nonlinearities import sigmoid
from ntm.experiments.networks import NTM, Dense
from ntm.prediction import look_inside
from ntm.tasks import CopyTask
from ntm.training import Evaluator, Trainer

pytestmark = pytest.mark.usefixtures("float32")


def make_task():
    return CopyTask(size=2, max_length=3, batch_size=2, seed=0)


def make_network(task):
    lasagne.random.set_rng(np.random.RandomState(0))
    return NTM(num_units=5, memory_slots=6, memory_width=3).build(task)


@pytest.mark.slow
def test_an_evaluator_alone_measures_as_that_of_a_trainer():
    task = make_task()
    evaluator = Evaluator(make_network(task), task, seed=3)
    trainer = Trainer(make_network(task), make_task(), seed=3)
    for sizes in (None, {"length": 5}):
        measured = evaluator.evaluate(sizes, num_sequences=7)
        assert measured == trainer.evaluate(sizes, num_sequences=7)
    inputs = task.sample().inputs
    np.testing.assert_array_equal(evaluator.predict(inputs), trainer.predict(inputs))
    (one,), (other,) = evaluator.look_inside(inputs[1]), trainer.look_inside(inputs[1])
    np.testing.assert_array_equal(one.memory, other.memory)
    # They are what the network does with this sequence
    (expected,) = look_inside(evaluator.l_out, inputs[1], mode=evaluator.mode)
    np.testing.assert_allclose(one.memory, expected.memory, rtol=1e-6)
    for shown, wanted in zip(one.heads, expected.heads, strict=True):
        np.testing.assert_allclose(shown.weights, wanted.weights, rtol=1e-6)


@pytest.mark.slow
def test_an_evaluator_builds_no_gradient(monkeypatch):
    monkeypatch.setattr(pytensor, "grad", None)
    task = make_task()
    evaluator = Evaluator(make_network(task), task)
    evaluator.evaluate(num_sequences=2)
    evaluator.look_inside(task.sample().inputs[0])


def test_an_evaluation_leaves_the_task_as_it_is():
    task = make_task()
    before = task.get_state()
    evaluator = Evaluator(Dense(num_units=4, num_layers=1).build(task), task)
    evaluator.evaluate(num_sequences=3)
    assert not evaluator.is_solved(num_sequences=3)
    assert task.get_state() == before


def test_the_seed_the_draw_and_the_threshold_have_an_effect(monkeypatch):
    task = make_task()
    l_out = Dense(num_units=4, num_layers=1).build(task)
    one, other = Evaluator(l_out, task), Evaluator(l_out, task, seed=1, solved_below=1e6)
    assert one.evaluate() == one.evaluate()
    assert one.evaluate() != one.evaluate(draw=1)
    assert one.evaluate() != other.evaluate()
    assert (one.solved, other.solved) == (("bits", 0.01), ("bits", 1e6))
    assert not one.is_solved(num_sequences=10)
    assert other.is_solved(num_sequences=10)


@pytest.mark.parametrize("kind", [Evaluator, Trainer])
@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (
            "copy",
            TypeError,
            r"must be a task, not its name 'copy': expected ntm\.tasks\.CopyTask\(\)",
        ),
        ("copie", ValueError, "unknown task 'copie'"),
        (CopyTask, TypeError, r"task must be a task, such as ntm\.tasks\.CopyTask\(\), not <class"),
    ],
)
def test_what_is_no_task(kind, task, error, message):
    network = Dense(num_units=4, num_layers=1).build(make_task())
    with pytest.raises(error, match=message) as caught:
        kind(network, task)
    assert kind is Evaluator or str(caught.value).startswith(("Trainer", "unknown"))


def test_networks_that_cannot_be_evaluated():
    task = make_task()
    with pytest.raises(TypeError, match="Evaluator: l_out must be the last layer of a network"):
        Evaluator([1, 2], task)
    l_in = InputLayer((None, None, 3))
    with pytest.raises(ValueError, match=r"Evaluator: the network gives \(None, None, 4\)"):
        Evaluator(DenseLayer(l_in, 4, num_leading_axes=2), task)
    layer = DenseLayer(l_in, 3, num_leading_axes=2, nonlinearity=sigmoid)
    with pytest.raises(ValueError, match="Evaluator: the network ends in sigmoid"):
        Evaluator(layer, task)
    layer = DenseLayer(l_in, 3, num_leading_axes=2, nonlinearity=None)
    with pytest.raises(
        ValueError, match="Evaluator: seed must be an integer of at least 0, not -1"
    ):
        Evaluator(layer, task, seed=-1)
    with pytest.raises(
        ValueError, match="Evaluator: solved_below must be a finite number, not nan"
    ):
        Evaluator(layer, task, solved_below=float("nan"))


def test_batches_and_draws_that_cannot_be_measured():
    task = make_task()
    evaluator = Evaluator(Dense(num_units=4, num_layers=1).build(task), task)
    batch = task.sample(length=2)
    batch.targets[:, -1] = np.nan  # Does not count
    evaluator.measure(batch)
    batch.targets[1, 3] = np.nan
    message = "targets must be finite where they count, but in sequence 1 at step 3"
    with pytest.raises(ValueError, match=rf"Evaluator\.measure: {message}"):
        evaluator.measure(batch)
    with pytest.raises(ValueError, match="draw must be an integer of at least 0, not -1"):
        evaluator.evaluate(draw=-1)
