"""Callbacks: what they do at evaluations and their state, on a stand-in for the trainer; and on trainers."""

import json
from contextlib import nullcontext

import numpy as np
import pytest

import lasagne
from lasagne.layers import DenseLayer, InputLayer, get_all_params
from ntm.data import Dataset
from ntm.serialization import load
from ntm.training import DataEvaluator, JSONLines, Trainer, read_json_lines
from ntm.training.callbacks import (
    Callback,
    DropLearningRate,
    EarlyStop,
    KeepBest,
    RowLogger,
    as_callback,
    as_logger,
)

NAMES = ("training accuracy", "validation loss", "validation accuracy", "validation own")


class StandIn:
    """As much of a trainer as callbacks use; the one parameter is the number of the step."""

    def __init__(self, evaluation_names=NAMES):
        self.evaluation_names = evaluation_names
        self.step_count, self.learning_rate_factor, self.reasons = 0, 1.0, []
        self.l_out = DenseLayer(InputLayer((None, 2)), 3)
        self.kernel, self.optimizer = self.l_out.W, 0.0

    def stop(self, reason):
        self.reasons.append(reason)

    def get_values(self):
        return {"parameter/000 W": self.kernel.get_value(), "optimizer/000": np.zeros(3)}

    def set_values(self, values):
        assert set(values) == {"parameter/000 W"}
        self.kernel.set_value(values["parameter/000 W"])

    def evaluate(self, callback, values, name="validation accuracy"):
        """Hand rows to a callback until it stops training; return the number of steps."""
        for value in values:
            self.step_count += 1
            self.kernel.set_value(np.full((2, 3), self.step_count, self.kernel.dtype))
            callback.on_evaluation(self, {"step": self.step_count, name: value})
            if self.reasons:
                break
        return self.step_count


VALUES = [0.1, 0.5, 0.4, 0.5, 0.6, 0.2, 0.3, 0.6, 0.9]


@pytest.mark.parametrize("metric", ["accuracy", "validation accuracy"])
def test_early_stop(metric):
    trainer, callback = StandIn(), EarlyStop(metric, 3)
    callback.on_start(trainer)
    assert trainer.evaluate(callback, VALUES) == 8
    assert trainer.reasons == [
        "validation accuracy was no better in 3 evaluations: the best is 0.6, after step 5"
    ]
    assert StandIn().evaluate(EarlyStop(metric, 4), VALUES) == 9


def test_the_lower_loss_is_better():
    losses = [-value for value in VALUES]
    assert StandIn().evaluate(EarlyStop("loss", 3), losses, "validation loss") == 8
    own = EarlyStop("own", 3, higher_is_better=True)
    assert StandIn().evaluate(own, VALUES, "validation own") == 8
    # What is better by 0.1 at most does not count
    callback = EarlyStop("accuracy", 4, min_change=0.1)
    assert StandIn().evaluate(callback, VALUES) == 6
    assert callback.best == 0.5


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")])
def test_a_metric_without_a_value_is_not_better(nothing):
    trainer, callback = StandIn(), EarlyStop("accuracy", 3)
    with pytest.warns(UserWarning, match="EarlyStop") as caught:
        assert trainer.evaluate(callback, [nothing, 0.5, nothing, nothing, nothing, 0.6]) == 5
    (warning,) = caught
    assert str(warning.message) == (
        "EarlyStop: validation accuracy has no finite value after step 1, which counts as not better"
    )
    trainer, callback = StandIn(), EarlyStop("accuracy", 2)
    with pytest.warns(UserWarning, match="no finite value after step 1"):
        trainer.evaluate(callback, [nothing] * 5)
    assert trainer.reasons == [
        "validation accuracy was no better in 2 evaluations: there is no finite value yet"
    ]


def test_drop_learning_rate():
    trainer, factors = StandIn(), []
    callback = DropLearningRate("accuracy", patience=2, factor=0.5, lowest=0.2)
    for value in [0.5, 0.4, 0.3, 0.2, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]:
        trainer.evaluate(callback, [value])
        factors.append(trainer.learning_rate_factor)
    assert factors == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]
    trainer.learning_rate_factor = 0.1  # Somebody else's choice: not raised again
    trainer.evaluate(callback, [0.1] * 2)
    assert trainer.learning_rate_factor == 0.1


def test_keep_best(tmp_path):
    path = tmp_path / "best.safetensors"
    trainer, callback = StandIn(), KeepBest("accuracy", path)
    callback.on_start(trainer)
    callback.on_end(trainer, "done")  # Nothing is the best yet
    trainer.evaluate(callback, VALUES[:7])
    assert (callback.best, callback.best_step) == (0.6, 5)
    assert trainer.kernel.get_value()[0, 0] == 7
    assert get_all_params(load(path))[0].get_value()[0, 0] == 5
    callback.on_end(trainer, "done")
    assert (trainer.kernel.get_value() == 5).all()


@pytest.mark.parametrize("cut", range(len(VALUES)))
@pytest.mark.parametrize(
    "make",
    [
        lambda: EarlyStop("accuracy", 3),
        lambda: DropLearningRate("accuracy", 1, 0.9),
        lambda: KeepBest("accuracy"),
    ],
)
def test_a_resumed_callback_goes_on_exactly(make, cut):
    def resume(trainer, callback):
        other, again = StandIn(), make()
        again.set_state(json.loads(json.dumps(callback.get_state())))
        again.set_arrays({name: array.copy() for name, array in callback.get_arrays().items()})
        other.step_count = trainer.step_count
        other.learning_rate_factor = trainer.learning_rate_factor
        other.kernel.set_value(trainer.kernel.get_value())
        again.on_start(other)
        return other, again

    results = []
    for stops in ([], [cut]):
        trainer, callback = StandIn(), make()
        callback.on_start(trainer)
        for k, value in enumerate(VALUES):
            if k in stops:
                trainer, callback = resume(trainer, callback)
            if not trainer.reasons:
                trainer.evaluate(callback, [value])
        callback.on_end(trainer, "done")
        results.append(
            (
                trainer.step_count,
                trainer.learning_rate_factor,
                trainer.reasons,
                trainer.kernel.get_value().tolist(),
                callback.get_state(),
            )
        )
    assert results[0] == results[1]


def test_stopped_training_that_is_resumed_stops_at_once():
    trainer, callback = StandIn(), EarlyStop("accuracy", 3)
    trainer.evaluate(callback, VALUES)
    for patience, count in ((3, 1), (4, 0)):
        other, again = StandIn(), EarlyStop("accuracy", patience)
        again.set_state(callback.get_state())
        again.on_start(other)
        assert len(other.reasons) == count


GOOD = {"best": 0.5, "best_step": 3, "waited": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"best": "x"},
        {"best": 1e999},
        {"best": 10**400},
        {"best": True},
        {"best": None},
        {"best_step": -1},
        {"best_step": 1.5},
        {"waited": -1},
        {"waited": None},
        {"waited": [1]},
        {"more": 1},
    ],
)
def test_damaged_states(change):
    callback = EarlyStop("accuracy")
    callback.set_state(GOOD)
    with pytest.raises(ValueError, match="EarlyStop: "):
        callback.set_state(GOOD | change)
    assert callback.get_state() == GOOD
    for state in (None, [], 3, {}, {"best": 1}):
        with pytest.raises(
            ValueError, match="EarlyStop: the state must be a dict with best, best_"
        ):
            callback.set_state(state)
    with pytest.raises(ValueError, match="Callback: the state must be an empty dict"):
        Callback().set_state({"best": 1})
    with pytest.raises(ValueError, match="the state has arrays, and this callback takes none"):
        callback.set_arrays({"a": np.zeros(3)})


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"parameter/000 W": np.zeros((2, 4), "float32")},
        {"parameter/000 W": np.zeros((2, 3), "int8")},
        {"parameter/001 W": np.zeros((2, 3), "float32")},
        {"parameter/000 W": np.zeros((2, 3), "float32"), "optimizer/000": np.zeros(3)},
        {"parameter/000 W": np.full((2, 3), np.nan, "float32")},
        {"parameter/000 W": np.full((2, 3), "x")},
    ],
)
def test_arrays_of_another_network(arrays):
    callback, trainer = KeepBest("accuracy"), StandIn()
    before = trainer.kernel.get_value()
    with pytest.raises(ValueError, match=r"KeepBest: (the best parameters are not|.*finite)"):  # noqa: PT012
        callback.set_state(GOOD)
        callback.set_arrays(arrays)
        callback.on_start(trainer)
    np.testing.assert_array_equal(trainer.kernel.get_value(), before)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStop("acuracy"), ValueError, "'acuracy' is none of loss, accuracy, error"),
        (lambda: EarlyStop("confusion"), ValueError, "'confusion' is none of loss, accuracy,"),
        (lambda: EarlyStop(3), TypeError, "EarlyStop: metric must be the name of a metric, not 3"),
        (lambda: EarlyStop("loss", 0), ValueError, "EarlyStop: patience must be an integer of at"),
        (lambda: KeepBest("loss", min_change=-1), ValueError, "KeepBest: min_change must be"),
        (lambda: DropLearningRate("loss", factor=0), ValueError, "DropLearningRate: factor must"),
        (lambda: DropLearningRate("loss", factor=1), ValueError, "factor must be .* below 1"),
        (lambda: DropLearningRate("loss", lowest=2), ValueError, "DropLearningRate: lowest must"),
    ],
)
def test_arguments_that_do_not_fit(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_metrics_that_are_not_measured():
    with pytest.raises(
        ValueError,
        match="KeepBest: evaluations have no metric 'mse'; those of this training have training acc",
    ):
        KeepBest("mse").on_start(StandIn())
    with pytest.raises(ValueError, match="measure nothing: give validation="):
        KeepBest("loss").on_start(StandIn(()))


def test_functions_become_callbacks_and_loggers():
    seen, trainer, row = [], StandIn(), {"step": 1}
    callback = as_callback(lambda given: seen.append(given))
    logger = as_logger(seen.append)
    assert isinstance(logger, RowLogger)
    for each in (callback, logger):
        assert as_callback(each) is as_logger(each) is each
        each.on_start(trainer)
        each.on_step(trainer, row)
        each.on_log(trainer, row)
        each.on_evaluation(trainer, row)
        each.on_epoch(trainer, row)
        each.on_end(trainer, "done")
        each.set_state(each.get_state())
        each.set_arrays(each.get_arrays())
    assert seen == [trainer, row, row]
    with pytest.raises(
        TypeError, match="a Callback or a function of the trainer, not the class Ear"
    ):
        as_callback(EarlyStop)
    with pytest.raises(
        TypeError, match="a logger must be a Callback or a function of a row, not 3"
    ):
        as_logger(3)


# ---- With a trainer


def make_trainer(callbacks, **options):
    """A network of one layer that learns three classes from 40 sequences, in batches of 16."""
    lasagne.random.set_rng(np.random.RandomState(0))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 3, 2))
    data = Dataset(inputs, 1 * (inputs.sum(axis=2) > 0) + (inputs[..., 0] > 1))
    l_in = InputLayer((None, None, 2))
    l_out = DenseLayer(l_in, 3, nonlinearity=None, num_leading_axes=2)
    options = {"validation": 0.2, "batch_size": 16, "learning_rate": 0.3, **options}
    return Trainer(l_out, data, callbacks=callbacks, **options)


class Recorder(Callback):
    """Notes which of its methods are called."""

    def __init__(self):
        self.calls = []

    def on_start(self, trainer):
        self.calls.append("start")

    def on_step(self, trainer, row):
        self.calls.append("step")

    def on_log(self, trainer, row):
        self.calls.append("log")

    def on_evaluation(self, trainer, row):
        assert trainer.evaluations[-1]["step"] == row["step"] == trainer.step_count
        self.calls.append("evaluation")

    def on_epoch(self, trainer, row):
        self.calls.append(f"epoch {trainer.epoch}")

    def on_end(self, trainer, ended):
        self.calls.append(ended)

    def get_state(self):
        return {"calls": len(self.calls)}

    def set_state(self, state):
        self.calls += ["resumed"] * state["calls"]


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_when_a_trainer_calls_its_callbacks():
    first, second, seen = Recorder(), Recorder(), []
    trainer = make_trainer([first, lambda each: seen.append(each.step_count), second])
    assert trainer.train(epochs=2, log_every=3, progress=False, loggers=[seen.append]) == "done"
    step, epoch = ["step"], ["evaluation", "epoch 1"]
    calls = [*step * 2, *epoch, *step, "log", *step, "evaluation", "epoch 2", "done"]
    assert first.calls == second.calls == ["start", *calls]
    assert [each if isinstance(each, int) else each["step"] for each in seen] == [2, 2, 3, 4, 4]

    def fail(trainer):
        raise RuntimeError("a mistake of the user's")

    with pytest.raises(RuntimeError, match="a mistake of the user's"):
        make_trainer([fail]).train(epochs=1, progress=False)
    trainer = make_trainer([lambda each: each.stop("enough"), EarlyStop("accuracy")])
    assert trainer.train(epochs=5, progress=False) == "enough"
    assert trainer.epoch == 1


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_callbacks_go_on_where_they_were(tmp_path):
    """Training that is killed twice and goes on from checkpoints ends as training without a break."""

    def make(name):
        best = tmp_path / f"{name}.safetensors"
        return make_trainer(
            [DropLearningRate("accuracy", 1), EarlyStop("accuracy", 4), KeepBest("accuracy", best)],
            metrics=["accuracy", "confusion"],
        )

    whole, log = make("whole"), tmp_path / "whole.jsonl"
    whole_ended = whole.train(epochs=20, log_every=1, progress=False, loggers=[JSONLines(log)])
    assert whole_ended.startswith("validation accuracy was no better in 4 evaluations: the best is")
    assert whole.learning_rate_factor < 1
    parts_log = tmp_path / "parts.jsonl"
    for last in (7, whole.step_count - 1, None, None):  # The last time, nothing is left to do

        def kill(row, last=last):
            if row["step"] == last:
                raise MemoryError

        part = make("parts")  # Another process
        with nullcontext() if last is None else pytest.raises(MemoryError):
            ended = part.train(
                epochs=20,
                log_every=1,
                save_every=1,
                progress=False,
                checkpoint=tmp_path / "checkpoint.safetensors",
                loggers=[JSONLines(parts_log), kill],
            )
    assert (ended, part.step_count) == (whole_ended, whole.step_count)
    assert part.learning_rate_factor == whole.learning_rate_factor
    for one, other in zip(part.callbacks, whole.callbacks, strict=True):
        assert one.get_state() == other.get_state()
    for name, value in whole.get_values().items():
        np.testing.assert_array_equal(part.get_values()[name], value)
    rows = [
        [{k: v for k, v in row.items() if "second" not in k} for row in each]
        for each in (read_json_lines(log), read_json_lines(parts_log))
    ]
    assert rows[0] == rows[1]
    # The network has the best parameters, and so has the file
    losses = {row["step"]: row["validation loss"] for row in whole.evaluations}
    best_loss = losses[whole.callbacks[-1].best_step]
    assert best_loss != losses[whole.step_count]
    evaluator = DataEvaluator(load(tmp_path / "parts.safetensors"), part.source.layout)
    for measured in (part.evaluate(part.validation), evaluator.evaluate(part.validation)):
        assert measured["loss"] == best_loss
