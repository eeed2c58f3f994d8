"""Many networks in one program: each is equal to its own run."""

import numpy as np
import pytest

import lasagne
from lasagne.layers import DenseLayer, DropoutLayer, InputLayer, LSTMLayer
from lasagne.updates import adam, sgd
from ntm import get_mode
from ntm.data import Dataset, Stream
from ntm.experiments.networks import DNC, GRU, LSTM, NTM, SAM, Dense
from ntm.tasks import CopyTask
from ntm.training import Callback, Trainer, train_replicas
from ntm.training.recovery import Restarter, Rewinder
from ntm.training.replicas import _choose_size
from ntm.training.step import TrainingError

SMALL = {"num_units": 3, "memory_slots": 4, "memory_width": 2}


def make_trainer(seed, network=None, task=None, **options):
    """Return a trainer that a seed alone tells from others."""
    lasagne.random.set_rng(np.random.RandomState(seed))
    task = task or CopyTask(size=2, max_length=3, batch_size=2, seed=seed)
    l_out = (network or Dense(num_units=4, num_layers=1)).build(task)
    options = {"learning_rate": 0.01 * (seed + 1), "seed": seed, "mode": "JAX", **options}
    options["mode"] = get_mode("jax") if options["mode"] == "JAX" else options["mode"]
    return Trainer(l_out, task, devices=1, **options)


def get_values(trainer):
    return trainer.training_step.get_values()


def assert_equal_to_own_runs(make, seeds=(0, 1, 2), steps=20, **options):
    """Train replicas, and each network alone, and compare; return the trainers of the replicas."""
    together = [make(seed) for seed in seeds]
    results = train_replicas(together, max_steps=steps, progress=False, **options)
    assert [result.error for result in results] == [None] * len(together)
    for seed, result, one in zip(seeds, results, together, strict=True):
        trainer = make(seed)
        assert trainer.train(steps, progress=False, **options) == result.ended
        assert_close(one, trainer)
    return together


def assert_close(one, other):
    assert one.step_count == other.step_count
    np.testing.assert_allclose(one.losses, other.losses, rtol=0, atol=1e-9)
    assert_close_values(one, other)
    if one.curriculum is not None:
        states = [each.curriculum.get_state() for each in (one, other)]
        assert states[0].keys() == states[1].keys()
        for name, value in states[0].items():
            np.testing.assert_allclose(value, states[1][name], rtol=0, atol=1e-9, err_msg=name)


def assert_close_values(one, other):
    values = get_values(other)
    for name, value in get_values(one).items():
        np.testing.assert_allclose(value, values[name], rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        NTM(**SMALL),
        pytest.param(NTM(controller="lstm", **SMALL), marks=pytest.mark.exhaustive),
        pytest.param(DNC(**SMALL), marks=pytest.mark.exhaustive),
        pytest.param(LSTM(num_units=3, num_layers=1), marks=pytest.mark.exhaustive),
        pytest.param(GRU(num_units=3, num_layers=1), marks=pytest.mark.exhaustive),
    ],
    ids=["ntm", "ntm-lstm", "dnc", "lstm", "gru"],
)
def test_networks_are_equal_to_their_own_runs(network):
    make = lambda seed: make_trainer(seed, network)  # noqa: E731
    together = assert_equal_to_own_runs(make, seeds=(0, 1), steps=30)
    # Different seeds take different courses
    assert together[0].losses != together[1].losses


class StopAt(Callback):
    """Ends training after a step."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, row):
        if trainer.step_count == self.step:
            trainer.stop("enough")


class GoesBack(Rewinder):
    """Goes back from step 9 to step 4."""

    def decide(self, trainer):
        return {4: "keep", 9: "back"}.get(trainer.step_count)


@pytest.mark.slow
def test_restarts_rewinds_levels_and_ends_of_one_network_alone():
    """Batches differ in length, as curricula are at different levels, and one network ends before the others."""

    def make(seed):
        task = CopyTask(size=2, min_length=1, max_length=4, batch_size=2, seed=seed)
        box = []
        trainer = make_trainer(
            seed,
            task=task,
            update=adam,
            learning_rate=0.02 + seed / 100,
            curriculum="naive",
            restarter=Restarter(
                lambda restart: [np.full(each.get_value().shape, 0.1) for each in box[0].params],
                after=7 if seed == 1 else 1000,
                above=0.0,
                max_restarts=1,
                window=3,
            ),
        )
        box.append(trainer)
        trainer.curriculum.level = 1 + seed
        trainer.rewinder = GoesBack() if seed == 2 else None
        if seed == 0:  # The others move up
            trainer.callbacks.append(StopAt(11))
        return trainer

    together = assert_equal_to_own_runs(make, seeds=(0, 1, 2, 3), steps=30)
    assert [trainer.restarts for trainer in together] == [[], [7], [], []]
    assert [trainer.step_count for trainer in together] == [11, 37, 30, 30]


@pytest.mark.slow
def test_curricula_that_measure_the_network_around_a_step():
    make = lambda seed: make_trainer(seed, curriculum="prediction-gain")  # noqa: E731
    together = assert_equal_to_own_runs(make, seeds=(0, 1), steps=25)
    assert together[0].curriculum.get_state() != together[1].curriculum.get_state()


class NotANumber(CopyTask):
    """A copy task whose inputs are not finite in some batches."""

    bad = ()

    def sample(self, *args, **kwargs):
        batch = super().sample(*args, **kwargs)
        self.count = getattr(self, "count", 0) + 1
        if self.count in self.bad:
            batch.inputs[0, 0, 0] = np.nan
        return batch


@pytest.mark.slow
def test_a_network_whose_numbers_are_not_finite_leaves_others_untouched():
    def make(seed, bad=()):
        task = NotANumber(size=2, max_length=3, batch_size=2, seed=seed)
        task.bad = bad
        trainer = make_trainer(seed, task=task, rewind=False)
        return trainer

    # One step that is not finite; and one network of which no step is
    together = [make(0), make(1, bad=(3,)), make(2, bad=range(1000)), make(3)]
    results = train_replicas(together, max_steps=110, progress=False)
    assert [result.ended for result in results] == ["done", "done", None, "done"]
    assert isinstance(results[2].error, TrainingError)
    assert "the last 100 steps" in str(results[2].error)
    assert together[2].step_count == 100
    assert [[row["step"] for row in each.skipped] for each in together[:2]] == [[], [3]]
    for seed, bad in ((0, ()), (1, (3,))):
        alone = make(seed, bad)
        alone.train(110, progress=False)
        one = together[seed]
        np.testing.assert_allclose(one.losses, alone.losses, rtol=0, atol=1e-9)
        assert_close_values(one, alone)


def make_sequences(seed, lengths):
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(length, 2)) for length in lengths]
    return inputs, [np.cumsum(each, axis=0) for each in inputs]


def make_lstm(num_outputs=2, dropout=0.0, layers=LSTMLayer, **options):
    l_in = InputLayer((None, None, 2))
    layer = layers(DropoutLayer(l_in, dropout) if dropout else l_in, 3, **options)
    return DenseLayer(layer, num_outputs, num_leading_axes=2, nonlinearity=None)


def make_data_trainer(seed, data, l_out=None, **options):
    lasagne.random.set_rng(np.random.RandomState(seed))
    l_out = l_out() if l_out else make_lstm()
    return Trainer(l_out, data(seed), seed=seed, devices=1, mode=get_mode("jax"), **options)


@pytest.mark.slow
def test_data_of_different_lengths_and_validation():
    """Lengths are padded to the longest of the group; sets differ in size, so that epochs end at different steps."""

    def make(seed):
        data = lambda seed: Dataset(*make_sequences(seed, range(2, 8 + 2 * seed)))  # noqa: E731
        # What is read between the steps is the network's own
        held_out = Dataset(*make_sequences(5, (4, 4)))
        return make_data_trainer(seed, data, batch_size=3, num_buckets=2, validation=held_out)

    def train(steps):
        return dict(max_steps=steps, progress=False)

    together = [make(seed) for seed in (0, 1)]
    train_replicas(together, **train(12))
    for seed, one in list(enumerate(together))[1:]:
        alone = make(seed)
        alone.train(**train(12))
        assert_close(one, alone)
        assert len(one.evaluations) == len(alone.evaluations) > 3
        for row, own in zip(one.evaluations, alone.evaluations, strict=True):
            assert row == pytest.approx(own, abs=1e-9)
    assert together[0].epoch > together[1].epoch


@pytest.mark.slow
def test_streams_with_carried_states():
    def make(seed):
        series = make_sequences(seed, (12, 12, 9))
        return make_data_trainer(seed, lambda seed: Stream(Dataset(*series), 3, 2, seed))

    assert_equal_to_own_runs(make, seeds=(0, 1), steps=15)


@pytest.mark.slow
def test_dropout_draws_what_each_network_draws_alone():
    def make(seed):
        data = lambda seed: make_sequences(seed, (4, 4, 4, 4))  # noqa: E731
        l_out = lambda: make_lstm(dropout=0.5)  # noqa: E731
        return make_data_trainer(seed, data, l_out, batch_size=2)

    together = [make(seed) for seed in (0, 1)]
    train_replicas(together, max_steps=8, progress=False)
    assert together[0].losses != together[1].losses
    alone = make(1)
    alone.train(8, progress=False)
    assert_close(together[1], alone)
    states = [each.get_state()[1]["network_rngs"] for each in (alone, make(1), *together)]
    assert states[0] == states[3] != states[1]
    assert states[0] != states[2]


# ---- what is refused


def test_replicas_that_are_refused():
    one = make_trainer(0)
    with pytest.raises(ValueError, match="expected at least one trainer"):
        train_replicas([], max_steps=1)
    with pytest.raises(ValueError, match="a trainer is given twice"):
        train_replicas([one, one], max_steps=1)
    with pytest.raises(ValueError, match="arguments of 1 trainers, not of 2"):
        train_replicas([one], [{}, {}], max_steps=1)
    with pytest.raises(TypeError, match="max_step"):
        train_replicas([one], max_step=1)
    other = make_trainer(1, Dense(num_units=5, num_layers=1))
    with pytest.raises(ValueError, match=r"replica 0 has .*\(3, 4\).*replica 1 .*\(3, 5\)"):
        train_replicas([one, other], max_steps=1)
    for options in ({"clip_norm": 0.5}, {"update": adam}):
        with pytest.raises(ValueError, match=r"replica 0 .*replica 1"):
            train_replicas([one, make_trainer(1, **options)], max_steps=1)
    with pytest.raises(ValueError, match="compute different things"):
        train_replicas(
            [make_trainer(k, update=sgd, clip_value=1.0 + k) for k in (0, 1)], max_steps=1
        )
    shared = Trainer(one.l_out, CopyTask(size=2, max_length=3), devices=1, mode=get_mode("jax"))
    with pytest.raises(ValueError, match="a network of its own for each trainer"):
        train_replicas([one, shared], max_steps=1)
    with pytest.raises(ValueError, match="need the back end jax"):
        train_replicas([make_trainer(0, mode="FAST_COMPILE")], max_steps=1)
    sparse = make_trainer(0, SAM(**SMALL, num_read_slots=2))
    with pytest.raises(ValueError, match=r"would copy the whole memory.*ntm sweep"):
        train_replicas([sparse], max_steps=1)


def test_how_many_places_there_are():
    assert [_choose_size(8, count) for count in (8, 5, 4, 3, 2, 1)] == [8, 8, 4, 4, 2, 1]
    assert [_choose_size(5, count) for count in (5, 4, 3, 2, 1)] == [5, 5, 3, 2, 1]
