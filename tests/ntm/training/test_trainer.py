import json
import os
import signal
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import lasagne
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    DimshuffleLayer,
    DropoutLayer,
    InputLayer,
    RecurrentLayer,
    get_all_param_values,
    get_output,
)
from lasagne.nonlinearities import sigmoid, softmax
from lasagne.updates import adam, sgd
from ntm import NTMLayer, ReadHead, WriteHead
from ntm.experiments.networks import NTM, Dense
from ntm.tasks import AdditionTask, Batch, CopyTask, GraphTraversalTask, RepeatCopyTask, Task
from ntm.training.losses import sequence_loss
from ntm.training.recovery import Restarter, Rewinder
from ntm.training.schedules import cosine
from ntm.training.step import TrainingStep
from ntm.training.trainer import MAX_SKIPPED_IN_A_ROW, Trainer, TrainingError

pytestmark = pytest.mark.usefixtures("float32")


def make_task(**options):
    return CopyTask(**{"size": 2, "max_length": 3, "batch_size": 2, "seed": 0, **options})


def make_trainer(task=None, **options):
    task = task or make_task()
    lasagne.random.set_rng(np.random.RandomState(0))
    return Trainer(Dense(num_units=4, num_layers=1).build(task), task, **options)


def values_of(trainer):
    return [np.array(variable.get_value()) for variable in trainer.training_step.variables.values()]


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


RNG = np.random.default_rng(0)


# ---- a step


def randomize_biases(trainer):
    """Without biases a network without memory answers nothing but zeros, as its inputs are zeros then."""
    for param in trainer.params:
        value = param.get_value()
        if value.ndim == 1:
            param.set_value(RNG.uniform(-0.5, 1.0, value.shape).astype("float32"))


def gradients_by_hand(trainer, batch):
    """The gradients of the mean loss of a batch, by a function of its own."""
    x, targets, mask = trainer.training_step._inputs[:3]
    loss = sequence_loss("bits", get_output(trainer.l_out), targets, mask).mean()
    grads = pytensor.grad(loss, trainer.params)
    return [np.asarray(g) for g in pytensor.function([x, targets, mask], [loss, *grads])(*batch)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "clipping",
    [{}, {"clip_value": 0.05}, {"clip_norm": 0.1}, {"clip_value": 0.05, "clip_norm": 0.1}],
)
def test_a_step_by_hand(clipping):
    trainer = make_trainer(update=sgd, learning_rate=0.5, **clipping)
    randomize_biases(trainer)
    before = get_all_param_values(trainer.l_out)
    loss, *grads = gradients_by_hand(trainer, make_task().sample().pad_to_bucket(8, 1))
    norm = np.sqrt(sum((grad**2).sum() for grad in grads))
    assert sum(np.any(grad) for grad in grads) == 3  # The inputs are zeros where an answer counts
    if "clip_value" in clipping:
        grads = [np.clip(grad, -clipping["clip_value"], clipping["clip_value"]) for grad in grads]
    if "clip_norm" in clipping:
        size = np.sqrt(sum((grad**2).sum() for grad in grads))
        grads = [grad * min(1, clipping["clip_norm"] / size) for grad in grads]
    row = trainer.step()
    assert row["loss"] == pytest.approx(loss / np.log(2), rel=1e-5)
    assert row["norm"] == pytest.approx(norm, rel=1e-4)
    for value, start, grad in zip(get_all_param_values(trainer.l_out), before, grads, strict=True):
        np.testing.assert_allclose(value, start - 0.5 * grad, rtol=1e-4, atol=1e-6)


class LettersTask(Task):
    """Which of four letters came before."""

    output = "classes"

    def __init__(self, seed=None):
        super().__init__(4, 4, {"length": (2, 5)}, 3, seed)

    def num_steps(self, length):
        return length

    def make(self, rng, length):
        letters = np.eye(4)[rng.integers(0, 4, length)]
        return letters, np.roll(letters, 1, axis=0), rng.integers(0, 2, length)


def measure_by_hand(trainer, batch):
    """The mean loss of a batch: bits a sequence, or the squared error."""
    guess, wanted = trainer.predict(batch.inputs).astype(float), batch.targets
    if trainer.task.output == "numbers":
        errors = (guess - wanted) ** 2
    else:
        errors = -wanted * np.log2(guess)
        if trainer.task.output == "bits":
            errors -= (1 - wanted) * np.log2(1 - guess)
    return (errors.sum(axis=2) * batch.mask).sum(axis=1).mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [make_task, LettersTask, GraphTraversalTask, partial(AdditionTask, batch_size=3)]
)
def test_losses_are_bits_of_a_sequence_or_squared_errors(kind):
    trainer = make_trainer(kind(seed=0))
    randomize_biases(trainer)
    batch = kind(seed=0).sample().pad_to_bucket(trainer.task.longest, 1)
    expected = measure_by_hand(trainer, batch)
    if trainer.task.output != "numbers":
        assert trainer.measure(batch)["bits"] == pytest.approx(expected, rel=1e-5)
    assert trainer.step()["loss"] == pytest.approx(expected, rel=1e-5)
    assert trainer.losses == [pytest.approx(expected, rel=1e-5)]


@pytest.mark.slow
def test_the_gain_of_a_step_is_in_bits_of_a_time_step(monkeypatch):
    trainer = make_trainer(
        make_task(max_length=6),
        curriculum="prediction-gain",
        num_buckets=3,
        update=sgd,
        learning_rate=0.1,
    )
    randomize_biases(trainer)
    told, lengths = [], set()
    monkeypatch.setattr(trainer.curriculum, "update", lambda bits, gain: told.append((bits, gain)))
    sample = trainer.sample
    for _ in range(6):
        batch = sample()
        monkeypatch.setattr(trainer, "sample", lambda batch=batch: batch)
        before = measure_by_hand(trainer, batch)
        trainer.step()
        gain = (before - measure_by_hand(trainer, batch)) / batch.inputs.shape[1]
        assert told.pop() == (pytest.approx(before, rel=1e-5), pytest.approx(gain, rel=1e-3))
        lengths.add(batch.inputs.shape[1])
    assert len(lengths) > 1


def test_batches_are_as_long_as_the_curriculum_reaches():
    trainer = make_trainer(make_task(max_length=12), curriculum="naive")
    # Level 5 is padded as level 8 is, the next power of two, and 9 as the last: 2 * length + 2 steps
    for level, steps in ((1, 4), (2, 6), (4, 10), (5, 18), (8, 18), (9, 26), (12, 26)):
        trainer.curriculum.level = level
        assert trainer.sample().inputs.shape == (2, steps, 3)


def test_the_schedule_scales_the_learning_rate():
    trainer = make_trainer(
        update=sgd, learning_rate=0.5, schedule=lambda step: 0.0 if step else 1.0
    )
    start = values_of(trainer)
    trainer.step()
    after = values_of(trainer)
    assert any(not np.array_equal(a, b) for a, b in zip(start, after, strict=True))
    trainer.step()
    assert_equal(values_of(trainer), after)


@pytest.mark.slow
def test_a_penalty_is_added():
    task = make_task()
    l_out = Dense(num_units=4, num_layers=1).build(task)
    penalty = 10.0 * (l_out.W**2).sum()
    trainer = Trainer(l_out, task, update=sgd, learning_rate=1e-2, penalty=penalty)
    for _ in range(200):
        trainer.step()
    assert np.abs(l_out.W.get_value()).max() < 0.05


# ---- numbers that are not finite


class Poisoned(CopyTask):
    """A copy task, some of whose batches hold a number that is not one."""

    poison: tuple = ()
    count = 0

    def sample(self, *args, **kwargs):
        self.count += 1
        batch = super().sample(*args, **kwargs)
        if self.count in self.poison:
            batch.inputs[0, 0, 0] = np.inf
        return batch


@pytest.mark.slow
def test_a_step_that_is_not_finite_is_skipped():
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = (3, 5)
    trainer = make_trainer(task, update=adam)
    for step in range(1, 7):
        before = values_of(trainer)
        trainer.step()
        unchanged = all(map(np.array_equal, before, values_of(trainer)))
        assert unchanged == (step in task.poison)
    assert [entry["step"] for entry in trainer.skipped] == [3, 5]
    assert trainer.skipped[0]["parameters"][0] == "dense1.W"
    assert np.isnan(trainer.losses).tolist() == [False, False, True, False, True, False]
    assert trainer._make_row(trainer.step(), 7)["skipped"] == 2


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_under_a_finite_loss_is_skipped():
    task = make_task()
    l_out = Dense(num_units=4, num_layers=1).build(task)
    # The norm of zeros has no gradient
    trainer = Trainer(l_out, task, update=adam, penalty=pt.sqrt((l_out.b**2).sum()))
    before = values_of(trainer)
    assert np.isfinite(trainer.step()["loss"])
    assert_equal(values_of(trainer), before)
    assert [entry["parameters"] for entry in trainer.skipped] == [["output.b"]]
    assert np.isnan(trainer.losses).tolist() == [True]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_over_a_finite_gradient_is_skipped():
    trainer = make_trainer()
    # Of such logits the cross-entropy overflows, and the gradient is one
    trainer.l_out.b.set_value(np.full(3, 3e38, "float32"))
    before = values_of(trainer)
    row = trainer.step()
    assert (np.isfinite(row["loss"]), np.isfinite(row["norm"])) == (False, True)
    assert_equal(values_of(trainer), before)
    assert [entry["parameters"] for entry in trainer.skipped] == [[]]


@pytest.mark.slow
def test_a_skipped_step_is_no_news_for_the_curriculum(monkeypatch):
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = (2,)
    trainer = make_trainer(task, curriculum="naive")
    told = []
    monkeypatch.setattr(trainer.curriculum, "update", lambda bits, gain: told.append(bits))
    for _ in range(3):
        trainer.step()
    assert told == [trainer.losses[0], trainer.losses[2]]


@pytest.mark.slow
def test_steps_between_end_the_count_of_skipped_steps_in_a_row(monkeypatch):
    monkeypatch.setattr("ntm.training.trainer.MAX_SKIPPED_IN_A_ROW", 3)
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = (1, 2, 4, 5, 7, 8, 9)
    trainer = make_trainer(task)
    with pytest.raises(TrainingError, match="the last 3 steps"):
        trainer.train(20, progress=False)
    assert trainer.step_count == 9


def test_the_count_of_skipped_steps_in_a_row_goes_on_after_a_resume(monkeypatch):
    monkeypatch.setattr("ntm.training.trainer.MAX_SKIPPED_IN_A_ROW", 3)
    tasks = [Poisoned(size=2, max_length=3, seed=0) for _ in range(2)]
    trainer, other = map(make_trainer, tasks)
    tasks[0].poison, tasks[1].poison = (2, 3), (1, 2)
    for _ in range(3):
        trainer.step()
    arrays, about = trainer.get_state()
    other.set_state(arrays, json.loads(json.dumps(about)))
    assert [entry["step"] for entry in other.skipped] == [2, 3]
    with pytest.raises(TrainingError, match="the last 3 steps"):
        other.step()
    assert other.step_count == 4


class Unknown(CopyTask):
    """A copy task whose targets are NaN where they do not count."""

    def sample(self, *args, **kwargs):
        batch = super().sample(*args, **kwargs)
        batch.targets[batch.mask == 0] = np.nan
        return batch


@pytest.mark.slow
def test_targets_that_do_not_count_skip_no_step():
    one, other = (
        make_trainer(kind(size=2, max_length=3, batch_size=2, seed=0), num_buckets=3)
        for kind in (CopyTask, Unknown)
    )
    for _ in range(5):
        assert one.step() == other.step()
    assert other.skipped == []
    assert one.evaluate() == other.evaluate()
    assert_equal(values_of(one), values_of(other))


def test_a_skipped_step_compiles_nothing(monkeypatch):
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = range(2, 10)
    trainer = make_trainer(task)
    trainer.step()
    monkeypatch.setattr(pytensor, "function", None)
    for _ in range(4):
        trainer.step()
    assert len(trainer.skipped) == 4


@pytest.mark.slow
def test_an_interval_whose_steps_were_all_skipped():
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = range(5, 15)
    trainer = make_trainer(task)
    rows = []
    trainer.train(15, log_every=5, loggers=[rows.append])
    assert [row["skipped"] for row in rows] == [1, 5, 4]
    assert [row["loss"] is None for row in rows] == [False, True, False]
    assert [row["norm"] is None for row in rows] == [True, True, False]
    json.dumps([rows, trainer.get_state()[1]], allow_nan=False)


def test_a_task_is_not_solved_by_steps_that_were_skipped():
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = range(1, 300)
    trainer = make_trainer(task)
    assert trainer.train(4, solve_every=2, progress=False) == "done"


def test_too_many_steps_that_are_not_finite():
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = range(1, 1000)
    trainer = make_trainer(task)
    with pytest.raises(TrainingError, match=rf"last {MAX_SKIPPED_IN_A_ROW} steps.*dense1\.W"):
        trainer.train(1000, progress=False)
    assert trainer.step_count == MAX_SKIPPED_IN_A_ROW


def test_a_state_that_is_not_finite_is_not_given():
    trainer = make_trainer()
    trainer.l_out.b.set_value(np.array([0, np.nan, 0], "float32"))
    with pytest.raises(TrainingError, match=r"output\.b is not finite after step 0: not saved"):
        trainer.get_state()


# ---- state


def make_network_with_dropout(task):
    layer = InputLayer((None, None, task.num_inputs))
    layer = DenseLayer(layer, 5, num_leading_axes=2, name="hidden")
    return DenseLayer(DropoutLayer(layer), task.num_outputs, num_leading_axes=2, nonlinearity=None)


def make_small_ntm(task):
    return NTM(num_units=5, memory_slots=6, memory_width=3).build(task)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "options"),
    [
        (make_network_with_dropout, {"curriculum": "uniform", "update": adam}),
        (make_small_ntm, {"curriculum": "prediction-gain", "num_buckets": 2}),
        (make_small_ntm, {"curriculum": "look-back", "clip_norm": 1.0}),
    ],
)
def test_state_continues_exactly(build, options):
    def make(seed):
        task = make_task(seed=seed)
        lasagne.random.set_rng(np.random.RandomState(seed))
        return Trainer(build(task), task, seed=seed, **options)

    one = make(0)
    for _ in range(4):
        one.step()
    arrays, about = one.get_state()
    arrays = {name: np.array(array) for name, array in arrays.items()}
    about = json.loads(json.dumps(about, allow_nan=False))
    rest = [one.step() for _ in range(5)]
    other = make(1)
    other.step()
    other.set_state(arrays, about)
    assert [other.step() for _ in range(5)] == rest
    assert one.losses == other.losses
    assert len(one.losses) == 9
    assert_equal(values_of(one), values_of(other))
    inputs = make_task().sample(3).inputs
    np.testing.assert_array_equal(one.predict(inputs), other.predict(inputs))


def test_state_of_another_network():
    arrays, about = make_trainer().get_state()
    task = make_task()
    trainer = Trainer(Dense(num_units=5, num_layers=1).build(task), task)
    before = values_of(trainer)
    with pytest.raises(
        ValueError, match=r"another network or update rule: different are .*dense1\.W"
    ):
        trainer.set_state(arrays, about)
    with pytest.raises(ValueError, match=r"optimizer/000"):
        make_trainer(update=sgd).set_state(arrays, about)
    assert_equal(values_of(trainer), before)


# ---- measures


def test_evaluation_leaves_training_as_it_is():
    one, other = make_trainer(), make_trainer()
    for k in range(6):
        one.step()
        other.step()
        if k % 2:
            measured = one.evaluate({"length": 5}, num_sequences=7)
            assert measured == one.evaluate({"length": 5}, num_sequences=7)
            assert measured != one.evaluate({"length": 5}, num_sequences=7, draw=1)
    assert one.losses == other.losses


@pytest.mark.slow
def test_sizes_that_are_not_given_are_drawn():
    task = RepeatCopyTask(size=2, max_length=2, max_repeats=3, seed=0)
    trainer = make_trainer(task)
    assert trainer.count_steps([{"length": 5}, {"repeats": 4}]) == task.num_steps(5, 3)
    assert trainer.count_steps([]) is None
    trainer.train(1, evaluate_every=1, evaluate_at=[{"length": 5}, {"repeats": 4}], progress=False)
    assert "correct at repeats 4" in trainer.evaluations[0]


def test_measures_that_are_infinite_can_be_saved(monkeypatch):
    trainer = make_trainer()
    monkeypatch.setattr(
        trainer.evaluator, "predict", lambda inputs, *rest: np.full((*inputs.shape[:2], 3), np.nan)
    )
    row = trainer._evaluate_all([{"length": 2}])
    assert row["bits at length 2"] is None
    assert row["wrong_bits at length 2"] == 6
    json.dumps(trainer.get_state()[1], allow_nan=False)


def test_a_long_batch_is_predicted_in_parts():
    trainer = make_trainer()
    batch = make_task().sample(5)
    np.testing.assert_allclose(
        trainer.predict(batch.inputs, chunk=2), trainer.predict(batch.inputs), rtol=1e-6
    )


def test_a_prediction_of_no_sequences():
    assert make_trainer().predict(np.zeros((0, 5, 3))).shape == (0, 5, 3)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([], {}, r"inputs must be of shape \(batch, time, 3\), not \(0,\)"),
        (np.zeros((2, 5, 4)), {}, r"must be of shape \(batch, time, 3\), not \(2, 5, 4\)"),
        (np.zeros((5, 3)), {}, r"not \(5, 3\)"),
        (np.zeros((2, 5, 3)), {"chunk": 0}, "chunk must be an integer of at least 1, not 0"),
    ],
)
def test_predictions_that_are_not_possible(inputs, options, message):
    with pytest.raises(ValueError, match=rf"Evaluator\.predict: .*{message}"):
        make_trainer().predict(inputs, **options)


# ---- the loop


class Constant(CopyTask):
    """A task that a dense network learns: every bit of the answer is one."""

    def sample(self, *args, **kwargs):
        batch = super().sample(*args, **kwargs)
        return Batch(batch.inputs, np.ones_like(batch.targets), batch.mask)


@pytest.mark.slow
def test_training_stops_when_solved():
    trainer = make_trainer(
        Constant(size=2, max_length=3, batch_size=4, seed=0), update=adam, learning_rate=0.1
    )
    assert trainer.train(5000, solve_every=50, progress=False) == "solved"
    assert trainer.solved_at == trainer.step_count < 5000
    assert trainer.solved_at % 50 == 0
    assert trainer.evaluate()["bits"] < 0.01
    assert trainer.train(6000, progress=False) == "solved"
    assert trainer.step_count == trainer.solved_at


def test_what_counts_as_solved_can_be_set():
    task = Constant(size=2, max_length=3, batch_size=4, seed=0)
    trainer = make_trainer(task, update=adam, learning_rate=0.02, solved_below=1.0)
    assert trainer.train(5000, solve_every=10, progress=False) == "solved"
    assert 0.01 < trainer.evaluate()["bits"] < 1.0


def test_each_look_whether_the_task_is_solved_takes_other_sequences(monkeypatch):
    trainer = make_trainer()
    seen = []
    monkeypatch.setattr(
        trainer.evaluator, "measure", lambda batch: seen.append(batch.inputs) or {"bits": 0.0}
    )
    for step in (0, 0, 10, 11):
        trainer.step_count = step
        assert trainer.is_solved(num_sequences=50)
    trainer.evaluate(num_sequences=50, num_steps=trainer.task.longest)
    assert {inputs.shape for inputs in seen} == {(50, trainer.task.longest, 3)}
    np.testing.assert_array_equal(seen[0], seen[1])
    different = seen[1:]
    assert not any(
        np.array_equal(one, other) for k, one in enumerate(different) for other in different[:k]
    )
    trainer.is_solved()
    assert len(seen[-1]) == 2000


def test_evaluations_of_another_seed_take_other_sequences(monkeypatch):
    seen = []
    for seed in (0, 0, 1):
        trainer = make_trainer(seed=seed)
        monkeypatch.setattr(trainer.evaluator, "measure", lambda batch: seen.append(batch.inputs))
        trainer.evaluate({"length": 3}, num_sequences=20)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


@pytest.mark.slow
def test_measures_and_gains_are_those_of_the_whole_network():
    """What drops values at random in training is left in when it is measured."""
    task = make_task()
    network = make_network_with_dropout(task)
    trainer = Trainer(network, task, curriculum="prediction-gain")
    randomize_biases(trainer)
    batch = task.sample(20)
    once, again = trainer.predict(batch.inputs), trainer.predict(batch.inputs)
    np.testing.assert_array_equal(once, again)
    loss = trainer.evaluator.compute_loss(batch)
    assert loss == trainer.evaluator.compute_loss(batch)
    assert loss / np.log(2) == pytest.approx(measure_by_hand(trainer, batch), rel=1e-5)


def test_training_goes_on_where_low_losses_were_luck(monkeypatch):
    trainer = make_trainer()
    looks = []
    monkeypatch.setattr(trainer, "_looks_solved", lambda: trainer.step_count > 2)
    monkeypatch.setattr(
        trainer, "is_solved", lambda: looks.append(trainer.step_count) or trainer.step_count > 5
    )
    assert trainer.train(20, solve_every=2, progress=False) == "solved"
    assert looks == [4, 6]
    assert trainer.solved_at == trainer.step_count == 6
    assert trainer.train(20, progress=False) == "solved"
    assert trainer.step_count == 6


@pytest.mark.parametrize(("measured", "solved"), [(0.0099, True), (0.01, False)])
def test_the_threshold_of_a_solved_task_is_itself_too_much(monkeypatch, measured, solved):
    trainer = make_trainer()
    monkeypatch.setattr(trainer.evaluator, "evaluate", lambda **options: {"bits": measured})
    assert trainer.is_solved() == solved


def test_training_that_is_not_solved():
    trainer = make_trainer()
    rows, saved = [], []
    ended = trainer.train(
        25,
        evaluate_every=10,
        evaluate_at=[{"length": 2}, {"length": 4}],
        log_every=10,
        loggers=[rows.append],
        save_every=10,
        save=lambda: saved.append(trainer.step_count),
        progress=False,
    )
    assert ended == "done"
    assert saved == [10, 20, 25]
    losses = [row for row in rows if "loss" in row]
    assert [row["step"] for row in losses] == [10, 20]
    assert losses[1]["loss"] == pytest.approx(np.mean(trainer.losses[10:20]))
    assert losses[1]["sequences"] == 40
    evaluations = [row for row in rows if "loss" not in row]
    assert [row.pop("seconds") > 0 for row in evaluations] == [True, True]
    assert evaluations == trainer.evaluations
    assert {"step", "bits at length 2", "wrong_bits at length 4"} <= set(evaluations[0])
    # Where the last step is one to save after, it is saved once
    trainer.train(40, save_every=10, save=lambda: saved.append(trainer.step_count), progress=False)
    assert saved == [10, 20, 25, 30, 40]
    assert losses[1]["norm"] > 0


@pytest.mark.parametrize(
    ("loss", "end", "measure", "looks"),
    [
        (0.019, True, "bits", True),
        (0.021, True, "bits", False),
        (0.019, False, "bits", False),
        (9.0, True, "wrong_bits", True),
        (0.0, False, "wrong_bits", False),
    ],
)
def test_when_it_is_worth_a_look_whether_the_task_is_solved(loss, end, measure, looks):
    """Below twice the threshold, where losses are what is measured; and not before a curriculum's end."""
    trainer = make_trainer(curriculum="uniform" if end else "naive")
    trainer.evaluator.solved = measure, 0.01
    trainer.losses = [50.0] * 100 + [loss] * 200
    assert trainer._looks_solved() == looks
    trainer.losses[-1] = np.nan
    assert trainer._looks_solved() == looks


def test_what_has_been_seen_goes_on_after_a_resume():
    task = Poisoned(size=2, max_length=3, seed=0)
    task.poison = (2,)
    trainer = make_trainer(task)
    trainer.train(4, evaluate_every=2, evaluate_at=[{"length": 2}], progress=False)
    trainer.solved_at = 3
    arrays, about = trainer.get_state()
    other = make_trainer()
    other.set_state(arrays, json.loads(json.dumps(about)))
    for name in ("step_count", "skipped", "evaluations", "solved_at"):
        assert getattr(other, name) == getattr(trainer, name), name
    np.testing.assert_array_equal(other.losses, trainer.losses)
    assert other.train(20, progress=False) == "solved"
    assert other.step_count == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_after_the_step(number):
    trainer = make_trainer()
    saved = []
    handler = signal.getsignal(number)

    def log(row):
        if row["step"] == 7:
            os.kill(os.getpid(), number)

    ended = trainer.train(
        1000,
        log_every=1,
        loggers=[log],
        save=lambda: saved.append(trainer.step_count),
        progress=False,
    )
    assert ended == "interrupted"
    assert saved == [trainer.step_count] == [7]
    assert signal.getsignal(number) is handler


def test_networks_that_do_not_fit():
    task = make_task()
    with pytest.raises(ValueError, match=r"gives \(None, None, 4\).*expected \(batch, time, 3\)"):
        Trainer(DenseLayer(InputLayer((None, None, 3)), 4, num_leading_axes=2), task)
    with pytest.raises(ValueError, match=r"takes \(None, None, 5\)"):
        Trainer(DenseLayer(InputLayer((None, None, 5)), 3, num_leading_axes=2), task)


@pytest.mark.parametrize("update", ["sgd", 0.1])
def test_an_update_that_is_no_rule(update):
    with pytest.raises(TypeError, match=rf"such as lasagne\.updates\.sgd, not {update!r}"):
        make_trainer(update=update)


@pytest.mark.parametrize("nonlinearity", [sigmoid, softmax, pt.sigmoid, pt.special.softmax])
@pytest.mark.parametrize("rearranged", [False, True])
def test_a_network_that_ends_in_probabilities(nonlinearity, rearranged):
    task = make_task()
    l_in = InputLayer((None, None, 3))
    layer = DenseLayer(l_in, 3, num_leading_axes=2, nonlinearity=nonlinearity, name="last")
    if rearranged:
        layer = DimshuffleLayer(DimshuffleLayer(layer, (1, 0, 2)), (1, 0, 2))
    message = (
        r"(?i)ends in .*(sigmoid|softmax).*, of .*'last'.*CopyTask are bits.*nonlinearity=None"
    )
    with pytest.raises(ValueError, match=message):
        Trainer(layer, task)


@pytest.mark.slow
def test_numbers_may_be_probabilities():
    task = AdditionTask(batch_size=2, seed=0)
    l_in = InputLayer((None, None, task.num_inputs))
    Trainer(
        DenseLayer(l_in, task.num_outputs, num_leading_axes=2, nonlinearity=sigmoid),
        task,
    ).step()


# ---- a network with a mask


def make_masked(task, masked):
    """A network that runs over sequences backwards, so that it sees their padding first."""
    lasagne.random.set_rng(np.random.RandomState(0))
    l_in = InputLayer((None, None, task.num_inputs), name="input")
    l_mask = InputLayer((None, None), name="mask") if masked else None
    b = lasagne.init.Constant(1.0)
    layer = RecurrentLayer(l_in, 4, b=b, backwards=True, mask_input=l_mask)
    return DenseLayer(layer, task.num_outputs, num_leading_axes=2, nonlinearity=None)


def test_the_steps_of_sequences():
    inputs, mask = np.zeros((4, 5, 2)), np.zeros((4, 5))
    mask[0, 2] = 1.0  # The last step that counts
    inputs[1, 3, 1] = -1.0  # An input that is later
    mask[2, 4] = 0.5
    steps = Batch(inputs, np.zeros((4, 5, 3)), mask).step_mask
    assert steps.dtype == np.float32
    np.testing.assert_array_equal(steps.sum(axis=1), [3, 4, 5, 0])
    assert (np.diff(steps, axis=1) <= 0).all()
    batch = make_task(batch_size=3).sample(length=[1, 2, 3]).pad_to_bucket(20, 1)
    np.testing.assert_array_equal(batch.step_mask.sum(axis=1), [3, 5, 7])


@pytest.mark.slow
def test_a_mask_input_gets_the_mask_of_the_steps():
    """With the mask of padding, it does not matter how long the padding is."""
    losses = {}
    for masked in (True, False):
        for buckets in (1, 4):
            task = make_task(seed=3, batch_size=1)
            l_out = make_masked(task, masked)
            trainer = Trainer(l_out, task, update=sgd, num_buckets=buckets)
            losses[masked, buckets] = [trainer.step()["loss"] for _ in range(4)]
    np.testing.assert_allclose(losses[True, 1], losses[True, 4], rtol=1e-6)
    assert not np.allclose(losses[False, 1], losses[False, 4], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("curriculum", ["uniform", "prediction-gain"])
def test_training_with_a_mask(curriculum):
    task = make_task()
    lasagne.random.set_rng(np.random.RandomState(0))
    l_in = InputLayer((None, None, task.num_inputs))
    l_mask = InputLayer((None, None), input_var=pt.imatrix())
    memory = {"memory": (6, 3), "controller": lambda l: DenseLayer(l, 4)}
    layer = NTMLayer(l_in, heads=[WriteHead, ReadHead], mask_input=l_mask, **memory)
    layer = RecurrentLayer(layer, 4, mask_input=l_mask)
    l_out = DenseLayer(layer, task.num_outputs, num_leading_axes=2, nonlinearity=None)
    trainer = Trainer(l_out, task, curriculum=curriculum)
    for _ in range(2):
        assert np.isfinite(trainer.step()["loss"])
    assert trainer.evaluate(num_sequences=3)["bits"] > 0
    inputs = task.sample(length=3).inputs
    (inside,) = trainer.look_inside(inputs[0])
    assert inside.memory.shape == (8, 6, 3)
    assert inside.mask.all()
    predicted = trainer.predict(inputs)
    np.testing.assert_allclose(predicted, trainer.predict(inputs, step_mask=np.ones((2, 8))))
    short = trainer.predict(inputs, step_mask=np.arange(8) < [[8], [4]])
    np.testing.assert_allclose(predicted[0], short[0], rtol=1e-5)
    assert not np.allclose(predicted[1], short[1])
    with pytest.raises(ValueError, match=r"step_mask must be of shape \(2, 8\), not \(2, 7\)"):
        trainer.predict(inputs, step_mask=np.ones((2, 7)))


def test_two_inputs():
    task = make_task()
    l_ins = [InputLayer((None, None, 3), name=name) for name in ("one", "two")]
    layer = DenseLayer(ConcatLayer(l_ins, axis=2), 3, num_leading_axes=2, nonlinearity=None)
    with pytest.raises(ValueError, match=r"one input besides masks of layers, not 2: .*one.*two"):
        Trainer(layer, task)


# ---- going back


def test_training_that_falls_is_taken_back():
    task = Constant(size=2, max_length=3, batch_size=4, seed=0)
    trainer = make_trainer(task, update=adam, learning_rate=0.05)
    trainer.rewinder = Rewinder(window=10, patience=2)
    for _ in range(100):
        trainer.step()
    best = trainer.rewinder.best_step
    kept = [np.array(value) for value in trainer.best_values.values()]
    trainer.l_out.b.set_value(np.full(3, -20, "float32"))
    trainer.learning_rate = 0.0
    while not trainer.rewinder.rewound:
        trainer.step()
        assert trainer.step_count < 200
    assert trainer.rewinder.rewound == [[trainer.step_count, best]]
    assert_equal(values_of(trainer), kept)
    arrays, about = trainer.get_state()
    other = make_trainer(Constant(size=2, max_length=3, batch_size=4, seed=5), update=adam)
    other.rewinder = Rewinder(window=10, patience=2)
    other.set_state(arrays, json.loads(json.dumps(about)))
    assert other.rewinder.rate == 0.5
    assert_equal(other.best_values.values(), kept)


# ---- beginning anew


RESTARTED = {
    "update": adam,
    "learning_rate": 0.01,
    "schedule": cosine(total=40),
    "curriculum": "linear",
    "curriculum_options": {"every": 5},
}


def draw_params(restart):
    """Values for the parameters of :func:`make_trainer`'s network."""
    task = make_task()
    lasagne.random.set_rng(np.random.RandomState([7, restart]))
    return get_all_param_values(Dense(num_units=4, num_layers=1).build(task))


def make_restarted(**options):
    restarter = Restarter(draw_params, **{"after": 15, "above": 1e-6, "max_restarts": 2, **options})
    trainer = make_trainer(restarter=restarter, **RESTARTED)
    trainer.rewinder = Rewinder(window=4, patience=1, tolerance=1.0)
    return trainer


@pytest.mark.slow
def test_training_begun_anew_is_like_training_begun():
    trainer = make_restarted()
    for _ in range(15):
        trainer.step()
    assert trainer.began == 0
    # Nothing of these is to be left
    trainer.rewinder.rate = 0.25
    trainer.skipped_in_a_row = 50
    other = make_trainer(**RESTARTED)
    other.rewinder = Rewinder(window=4, patience=1, tolerance=1.0)
    lasagne.layers.set_all_param_values(other.l_out, draw_params(1))
    other.task.set_state(trainer.task.get_state())
    other.curriculum.rng.bit_generator.state = trainer.curriculum.rng.bit_generator.state
    trainer.l_out.b.set_value(np.full(3, np.inf, "float32"))
    for k in range(15):
        rows = trainer.step(), other.step()
        assert rows[0] == rows[1]
        assert trainer.curriculum.level == other.curriculum.level == min(1 + (k + 1) // 5, 3)
        # What was kept before is gone
        assert (not trainer.best_values) == (not other.best_values) == (k < 3)
    assert trainer.restarter.restarts == [15]
    assert_equal(values_of(trainer), values_of(other))
    assert_equal(trainer.best_values.values(), other.best_values.values())
    assert trainer.skipped_in_a_row == 0
    assert trainer.losses[15:] == other.losses
    one, two = trainer.rewinder, other.rewinder
    assert (one.rate, one.best, one.best_step) == (two.rate, two.best, two.best_step + 15)
    trainer.learning_rate = 0.0
    trainer.step()
    assert trainer.restarter.restarts == [15, 30]
    assert_equal(get_all_param_values(trainer.l_out), draw_params(2))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [7, 15, 16, 22])
def test_resuming_training_that_begins_anew(steps):
    trainer = make_restarted()
    for _ in range(steps):
        trainer.step()
    arrays, about = trainer.get_state()
    arrays = {name: np.array(array) for name, array in arrays.items()}
    about = json.loads(json.dumps(about))
    other = make_restarted()
    other.set_state(arrays, about)
    assert other.train(20, progress=False) == trainer.train(20, progress=False) == "done"
    # So many steps from where it last began
    assert trainer.step_count == other.step_count == 30 + 20
    assert trainer.restarter.restarts == other.restarter.restarts == [15, 30]
    assert trainer.losses == other.losses
    assert_equal(values_of(trainer), values_of(other))


@pytest.mark.slow
def test_restarts_are_counted_and_end_with_the_steps():
    rows = []
    trainer = make_restarted()
    trainer.train(15, log_every=10, loggers=[rows.append], progress=False)
    assert trainer.step_count == 15
    trainer.train(16, log_every=10, loggers=[rows.append], progress=False)
    assert trainer.step_count == 30 + 16
    assert [row["restarts"] for row in rows] == [0, 1, 1, 2]


@pytest.mark.slow
def test_an_evaluation_is_of_what_was_trained():
    trainer = make_restarted()
    trainer.train(17, evaluate_every=15, evaluate_at=[{"length": 2}], progress=False)
    before = trainer.evaluations[0]["bits at length 2"]
    other = make_restarted()
    other.train(15, progress=False)
    assert (
        before
        == other.evaluate({"length": 2}, num_steps=other.count_steps([{"length": 2}]))["bits"]
    )


def test_steps_that_are_not_finite_begin_training_anew():
    trainer = make_restarted(after=10_000, max_restarts=1)
    for _ in range(2):
        trainer.l_out.b.set_value(np.full(3, np.nan, "float32"))
        for _ in range(MAX_SKIPPED_IN_A_ROW - 1):
            trainer.step()
        assert np.isnan(trainer.l_out.b.get_value()).all()
        if not trainer.restarter.restarts:
            trainer.step()
            assert trainer.restarter.restarts == [MAX_SKIPPED_IN_A_ROW]
            assert_equal(get_all_param_values(trainer.l_out), draw_params(1))
            assert np.isfinite(trainer.step()["loss"])
    with pytest.raises(TrainingError, match="the last 100 steps"):
        trainer.step()


def test_training_that_has_learnt_is_not_begun_anew():
    trainer = make_restarted(after=5, above=1e6)
    assert trainer.train(12, progress=False) == "done"
    assert (trainer.step_count, trainer.began) == (12, 0)


@pytest.mark.slow
def test_a_state_of_training_begun_anew_needs_a_restarter():
    trainer = make_restarted()
    trainer.train(16, progress=False)
    with pytest.raises(
        ValueError, match="was restarted 2 times, and this trainer has no restarter"
    ):
        make_trainer(**RESTARTED).set_state(*trainer.get_state())


# ---- arguments


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"update": adam},
        {"learning_rate": 0.25},
        {"schedule": lambda step: 0.5},
        {"clip_value": 1e-4},
        {"clip_norm": 1e-4},
        {"penalty": 1.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_settings_that_change_a_step(options):
    values = []
    for given in ({}, options):
        task = make_task()
        lasagne.random.set_rng(np.random.RandomState(0))
        l_out = Dense(num_units=4, num_layers=1).build(task)
        given = dict(given)
        if "penalty" in given:
            given["penalty"] = (l_out.W**2).sum()
        trainer = Trainer(l_out, task, **{"update": sgd, "learning_rate": 0.5, **given})
        trainer.step()
        values.append(get_all_param_values(l_out))
    assert not all(map(np.array_equal, *values))


@pytest.mark.slow
def test_settings_that_change_the_batches():
    def draw(**options):
        trainer = make_trainer(make_task(max_length=12), **options)
        return [trainer.sample().inputs.shape[1] for _ in range(20)]

    assert set(draw()) == {26}
    assert len(set(draw(num_buckets=4))) > 1
    assert max(draw(curriculum="naive")) == 4
    assert draw(curriculum="look-back-and-forward", num_buckets=12) != draw(
        curriculum="look-back-and-forward", num_buckets=12, seed=1
    )
    trainer = make_trainer(curriculum="linear", curriculum_options={"every": 1})
    trainer.step()
    assert trainer.curriculum.level == 2


@pytest.mark.parametrize("rewind", [True, False])
def test_whether_the_best_parameters_are_kept(rewind):
    trainer = make_trainer(rewind=rewind)
    for _ in range(200):
        trainer.step()
    assert bool(trainer.best_values) == rewind


def test_the_mode_is_that_of_all_functions():
    trainer = make_trainer(mode="FAST_COMPILE")
    trainer.step()
    trainer.evaluate(num_sequences=2)
    for function in (trainer.training_step.function, trainer.evaluator._predict):
        assert function.maker.mode is trainer.mode is pytensor.compile.mode.get_mode("FAST_COMPILE")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": "1e-3"}, ValueError, "learning_rate must be a finite number .*'1e-3'"),
        ({"learning_rate": -1e-3}, ValueError, r"learning_rate .* of at least 0, not -0\.001"),
        ({"learning_rate": np.nan}, ValueError, "learning_rate .* not nan"),
        ({"clip_value": 0}, ValueError, "clip_value must be a finite number above 0, not 0"),
        ({"clip_norm": "10"}, ValueError, "clip_norm must be a finite number above 0, not '10'"),
        ({"num_buckets": 0}, ValueError, "num_buckets must be an integer of at least 1, not 0"),
        ({"num_buckets": 1.5}, ValueError, r"num_buckets must be an integer .*not 1\.5"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0, not -1"),
        ({"seed": None}, ValueError, "seed must be an integer of at least 0, not None"),
        ({"solved_below": "0.1"}, ValueError, r"solved_below must be a finite number, not '0\.1'"),
        ({"schedule": "cosine"}, TypeError, r"schedule must be .*make_schedule.*not 'cosine'"),
        ({"schedule": 0.5}, TypeError, r"schedule must be a function .*not 0\.5"),
        ({"curriculum_options": 3}, TypeError, "curriculum_options must be a dict .*not 3"),
        ({"penalty": "l2"}, TypeError, "penalty must be a scalar expression or a number, not 'l2'"),
        ({"penalty": pt.ones(3)}, TypeError, "penalty must be a scalar expression"),
        ({"rewind": 3}, TypeError, "rewind must be True or False, not 3"),
        ({"restarter": 200}, TypeError, r"restarter must be an ntm\.training\.Restarter, not 200"),
    ],
)
def test_arguments_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=f"Trainer: {message}"):
        make_trainer(**options)


def test_a_curriculum_or_a_mode_that_is_none():
    with pytest.raises(ValueError, match="unknown curriculum 'steep': expected one of uniform"):
        make_trainer(curriculum="steep")
    with pytest.raises(ValueError, match=r"curriculum 'naive': .*'above'"):
        make_trainer(curriculum="naive", curriculum_options={"above": 1})
    with pytest.raises(ValueError, match="FAST_CRAWL"):
        make_trainer(mode="FAST_CRAWL")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_steps": -1}, ValueError, r"Trainer\.train: max_steps .* of at least 0, not -1"),
        ({"max_steps": 10.0}, ValueError, r"Trainer\.train: max_steps must be an integer .*10\.0"),
        ({"solve_every": -1}, ValueError, "solve_every must be an integer of at least 0, not -1"),
        ({"evaluate_every": 0.5}, ValueError, "evaluate_every must be an integer"),
        ({"log_every": "1"}, ValueError, "log_every must be an integer of at least 0, not '1'"),
        ({"save_every": None}, ValueError, "save_every must be an integer of at least 0, not None"),
        ({"evaluate_at": [{"lenght": 3}]}, TypeError, "no size 'lenght'; did you mean 'length'"),
        ({"evaluate_at": [{"length": 0}]}, ValueError, "CopyTask: length must be positive, not 0"),
        ({"loggers": ["log"]}, TypeError, "a logger must be a Callback or a function of a row"),
        ({"save": "run"}, TypeError, "save must be callable, not 'run'"),
    ],
)
def test_ways_to_train_that_do_not_fit(options, error, message):
    trainer = make_trainer()
    with pytest.raises(error, match=message):
        trainer.train(**{"max_steps": 5, "progress": False, **options})
    assert trainer.step_count == 0


class NoAnswers(CopyTask):
    """A copy task whose targets are NaN where they count."""

    def sample(self, *args, **kwargs):
        batch = super().sample(*args, **kwargs)
        batch.targets[1, batch.mask[1] != 0] = np.nan
        return batch


def test_targets_that_are_not_finite_where_they_count():
    trainer = make_trainer(NoAnswers(size=2, max_length=3, batch_size=2, seed=0))
    message = (
        r"NoAnswers: targets must be finite .* in sequence 1 at step \d they are \[nan nan nan\]"
    )
    with pytest.raises(ValueError, match=message):
        trainer.step()


@pytest.mark.slow
def test_rows_tell_the_time(monkeypatch):
    now = [50.0]
    monkeypatch.setattr("ntm.training.trainer.time.monotonic", lambda: now[0])
    trainer = make_trainer(make_task(batch_size=3))
    call = TrainingStep.__call__

    def take_a_while(step, batch, rate):
        now[0] += 10.0 if step.must_compile(batch) else 0.5
        return call(step, batch, rate)

    monkeypatch.setattr(TrainingStep, "__call__", take_a_while)
    trainer.rewinder = None
    rows = []
    trainer.seconds = 100.0  # Of an earlier session
    trainer.train(4, log_every=2, loggers=[rows.append], progress=False)
    assert [row["seconds"] for row in rows] == [110.5, 111.5]
    # Without the step that was compiled
    assert [row["sequences_per_second"] for row in rows] == [6.0, 6.0]
    now[0] += 1000.0
    assert trainer.seconds == 111.5


def test_what_is_shown_of_training(capsys):
    trainer = make_trainer()
    trainer.train(2, log_every=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "compiling for 2 × 8 steps…"
    assert lines[1].startswith("compiled in ")
    assert lines[2].startswith("step 1 of 2: loss ")
    assert len(lines) == 3
    trainer.train(4, log_every=1, progress=False)
    assert capsys.readouterr().err == ""
