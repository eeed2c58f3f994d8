"""How batches are divided: what is chosen, and that training is the same."""

import numpy as np
import pytensor
import pytest

import lasagne
from lasagne.backends.modes import get_mode
from lasagne.independence import DependenceError
from lasagne.layers import (
    BatchNormLayer,
    DenseLayer,
    DropoutLayer,
    InputLayer,
    LSTMLayer,
    get_output,
)
from lasagne.updates import adam
from ntm.experiments.networks import LSTM
from ntm.tasks import CopyTask
from ntm.training import division
from ntm.training.division import WHOLE, check_division, choose_division
from ntm.training.losses import sequence_loss
from ntm.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("float32")


def make_task(batch_size=5, max_length=2):
    return CopyTask(size=2, max_length=max_length, batch_size=batch_size, seed=0)


def build(task, dropout=False, batch_normalisation=False):
    layer = InputLayer((None, None, task.num_inputs))
    if batch_normalisation:
        layer = BatchNormLayer(layer, axes=(0, 1))
    if dropout:
        layer = DropoutLayer(layer, 0.3)
    layer = LSTMLayer(layer, 4)
    return DenseLayer(layer, task.num_outputs, num_leading_axes=2, nonlinearity=None)


def make_trainer(block_size=None, devices=1, task=None, network=(), **options):
    lasagne.random.set_rng(np.random.RandomState(0))
    task = task or make_task()
    l_out = build(task, **dict(network))
    given = {"update": adam, "learning_rate": 0.01, "seed": 0, **options}
    return Trainer(l_out, task, block_size=block_size, devices=devices, **given)


def arrays_of(trainer):
    return trainer.get_state()[0]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


# ---- what is chosen


def choose(block_size, devices, batch_size=64, length=20, mode=None, units=100):
    task = make_task(batch_size, length)
    l_out = LSTM(num_units=units, num_layers=1).build(task)
    x = pytensor.tensor.tensor3("x")
    targets, mask = pytensor.tensor.tensor3("targets"), pytensor.tensor.matrix("mask")
    losses = sequence_loss("bits", get_output(l_out, x), targets, mask)
    return choose_division(losses, task, mode or get_mode(), block_size, devices)


@pytest.fixture
def machine(monkeypatch):
    """A machine of four devices, and a cache for 16 or so of the sequences of `choose`."""
    longest = make_task(64, 20).longest
    needed = longest * 2 * 100 * 4
    monkeypatch.setattr(division, "get_cache_bytes", lambda: needed)
    monkeypatch.setattr(
        division, "fit_block_size", lambda needed, cache: 16 * cache // needed.total
    )
    monkeypatch.setattr(division, "start_devices", lambda devices, platform: 4)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, 1), WHOLE),
        ((7, 1), (7, 1)),
        (("auto", 1), (16, 1)),
        (("auto", "auto"), (None, 4)),  # 16 each: these fit
        ((None, "auto"), (None, 4)),
        ((7, "auto"), (7, 4)),
        ((40, "auto"), (40, 1)),
        ((None, "all"), (None, 4)),
    ],
)
def test_what_is_chosen(given, expected):
    assert choose(*given) == expected


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("batch_size", "devices"), [(1, 1), (4, 1), (7, 1), (8, 2), (12, 3), (16, 4), (17, 4)]
)
def test_each_device_gets_a_block(batch_size, devices):
    """Of 4 sequences at least, if it is chosen; `all` takes all devices that get a sequence."""
    assert choose("auto", "auto", batch_size).devices == devices
    assert choose(None, "all", batch_size).devices == min(4, batch_size)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", ["numba", "python"])
def test_other_back_ends_have_one_device(name):
    mode = pytensor.compile.mode.get_mode("FAST_COMPILE") if name == "python" else get_mode(name)
    assert choose("auto", "auto", mode=mode) == WHOLE
    assert choose(None, "all", mode=mode) == WHOLE
    assert choose(3, 1, mode=mode) == (3, 1)
    with pytest.raises(ValueError, match="devices is 2, but several devices need the back end jax"):
        choose("auto", 2, mode=mode)


@pytest.mark.usefixtures("machine")
def test_a_mode_for_one_device_of_several():
    assert choose(None, "auto", mode=get_mode("jax", "cpu")).devices == 4
    assert choose(None, "auto", mode=get_mode("jax", "cpu:0")).devices == 4
    assert choose(None, "auto", mode=get_mode("jax", "cpu:1")) == WHOLE
    assert choose(None, "all", mode=get_mode("jax", "cpu:1")) == WHOLE
    with pytest.raises(ValueError, match=r"the mode is for .* alone: name the kind"):
        choose(None, 2, mode=get_mode("jax", "cpu:1"))


def test_numbers_of_numpy():
    chosen = choose(np.int64(3), np.int64(2))
    assert chosen == (3, 2)
    assert all(type(each) is int for each in chosen)  # As a run writes them


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0, 1), "Trainer: block_size .* 0; it may also be 'auto' or None"),
        ((1.5, 1), "Trainer: block_size .* 1.5"),
        ((True, 1), "Trainer: block_size .* True"),
        (("all", 1), "Trainer: block_size .* 'all'"),
        ((None, 0), "Trainer: devices .* 0; it may also be 'auto' or 'all'"),
        ((None, None), "Trainer: devices .* None"),
        ((None, 2.5), "Trainer: devices .* 2.5"),
        ((None, "gpu"), "Trainer: devices .* 'gpu'"),
        ((None, [1]), r"Trainer: devices .* \[1\]"),
    ],
)
def test_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        check_division("Trainer", *given)
    with pytest.raises(ValueError, match=message):
        make_trainer(*given)


# ---- batch normalisation


def test_batch_normalisation_is_not_divided():
    """What chooses for itself takes the whole batch; who asks for blocks or devices gets an error."""
    task, network = make_task(16), {"batch_normalisation": True}
    chosen = make_trainer("auto", "auto", task, network)
    assert chosen.training_step.division == WHOLE
    assert make_trainer(None, "auto", task, network).training_step.division == WHOLE
    for given in ((4, 1), (None, 2), (4, 2)):
        with pytest.raises(DependenceError, match="depend on averages over the batch"):
            make_trainer(*given, task, network)


def test_what_is_given_is_not_dropped():
    """Where one of both is chosen and the other one is not, the network cannot be trained as asked."""
    for given in ((4, "auto"), ("auto", 2), ("auto", "all"), (None, "all")):
        with pytest.raises(DependenceError):
            make_trainer(*given, make_task(16), {"batch_normalisation": True})


# ---- training


@pytest.mark.slow
def test_training_is_as_that_of_the_whole_batch(monkeypatch):
    given = (2, 2)  # And five sequences, so that there is padding
    monkeypatch.setattr(pytensor.config, "floatX", "float64")
    whole, divided = make_trainer(clip_norm=1.0), make_trainer(*given, clip_norm=1.0)
    assert divided.training_step.division == given
    for _ in range(20):
        rows = [trainer.step() for trainer in (whole, divided)]
        assert rows[1]["norm"] == pytest.approx(rows[0]["norm"], rel=1e-9)
    np.testing.assert_allclose(divided.losses, whole.losses, rtol=1e-9)
    for name, array in arrays_of(whole).items():
        np.testing.assert_allclose(arrays_of(divided)[name], array, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_a_state_goes_on_bit_for_bit():
    """With dropout, which is drawn for each block: the generator is part of the state."""
    given, network = (2, 2), {"dropout": True}
    straight = make_trainer(*given, network=network)
    for _ in range(3):
        straight.step()
    arrays, description = straight.get_state()
    arrays = {name: np.array(array) for name, array in arrays.items()}
    before = description["network_rngs"]
    for _ in range(3):
        straight.step()
    end, description_at_end = straight.get_state()
    assert description_at_end["network_rngs"] != before
    resumed = make_trainer(*given, network=network)
    resumed.step()
    resumed.set_state(arrays, description)
    for _ in range(3):
        resumed.step()
    assert_equal(resumed.get_state()[0], end)
    assert resumed.get_state()[1] == description_at_end
    # What measures the network sees the parameters after the last step
    inputs = straight.sample().inputs
    np.testing.assert_array_equal(straight.predict(inputs), resumed.predict(inputs))


# ---- networks and modes that are not divided unless asked for


def make_fixed(task):
    layer = LSTMLayer(InputLayer((task.batch_size, None, task.num_inputs)), 4)
    return DenseLayer(layer, task.num_outputs, num_leading_axes=2, nonlinearity=None)


@pytest.mark.slow
def test_a_network_of_a_fixed_batch_size():
    task = make_task(batch_size=16)
    trainer = Trainer(make_fixed(task), task)
    assert trainer.training_step.division == WHOLE
    assert np.isfinite(trainer.step()["loss"])


@pytest.mark.slow
def test_an_operation_that_hides_the_batch():
    """What cannot be seen to be independent stays whole, unless a division is asked for."""
    task = make_task(batch_size=16)

    class Hiding(lasagne.layers.Layer):
        def get_output_for(self, input, **kwargs):
            steps, features = input.shape[1], self.input_shape[2]
            folded = input.swapaxes(0, 1).reshape((-1, features))
            return folded.reshape((steps, -1, features)).swapaxes(0, 1)

    layer = Hiding(LSTMLayer(InputLayer((None, None, task.num_inputs)), 4))
    l_out = DenseLayer(layer, task.num_outputs, num_leading_axes=2, nonlinearity=None)
    assert Trainer(l_out, task).training_step.division == WHOLE
    assert Trainer(l_out, task, block_size=4, devices=2).training_step.division == (4, 2)


def test_pytensors_own_mode_for_jax_has_one_device():
    task = make_task(batch_size=16)
    assert Trainer(build(task), task, mode="JAX").training_step.division.devices == 1
    with pytest.raises(ValueError, match="get_mode"):
        Trainer(build(task), task, mode="JAX", devices=2)
