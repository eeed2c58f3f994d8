"""Functions that run on several devices, beside all else that uses their parameters."""

import pickle
import threading

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.accumulation import accumulate_gradients
from lasagne.backends.modes import get_mode
from lasagne.updates import momentum

F, H = 3, 4
VALUES = np.random.default_rng(0).normal(size=(5, F))


class Training:
    """A function that trains two matrices, on so many devices."""

    def __init__(self, devices, seed=1):
        rng = np.random.default_rng(seed)
        self.x = pt.matrix("x")
        self.W = pytensor.shared(rng.normal(size=(F, H)), name="W")
        self.v = pytensor.shared(rng.normal(size=H), name="v")
        self.losses = ((pt.tanh(self.x @ self.W) * self.v) ** 2).sum(axis=1)
        params = [self.W, self.v]
        if devices == 1:
            loss = self.losses.mean()
            grads = pytensor.grad(loss, params)
        else:
            result = accumulate_gradients(
                self.losses, params, [self.x], block_size=2, devices=devices
            )
            loss, grads = result.loss, result.grads
        updates = momentum(grads, params, learning_rate=0.1)
        self.variables = list(updates)
        self.start = self.get_values()
        self.train = pytensor.function([self.x], loss, updates=updates, mode=get_mode("jax"))

    def compile(self, mode):
        return pytensor.function([self.x], self.losses.mean(), mode=mode)

    def get_values(self):
        return [np.array(each.get_value()) for each in self.variables]


def assert_same(one, other):
    for a, b in zip(one.get_values(), other.get_values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.fixture(scope="module")
def pair():
    """The same training on three devices and on one."""
    return Training(3), Training(1)


@pytest.fixture
def both(pair):
    """The pair as it was when it was made: compiled once for all tests."""
    for training in pair:
        for variable, value in zip(training.variables, training.start, strict=True):
            variable.set_value(value)
    return pair


@pytest.mark.slow
def test_steps_on_several_devices(both):
    for _ in range(4):
        losses = [float(each.train(VALUES)) for each in both]
        np.testing.assert_allclose(*losses, rtol=1e-12)
    assert_same(*both)


@pytest.mark.slow
def test_values_and_results_are_on_the_first_device(both):
    import jax

    several, _ = both
    for _ in range(2):
        loss = several.train(VALUES)
        assert type(loss) is np.ndarray  # Of 64 bits
        for variable in several.variables:
            value = variable.get_value(return_internal_type=True)
            assert value.devices() == {jax.devices()[0]}


@pytest.mark.slow
def test_values_that_are_set_and_read_between_steps(both):
    for k in range(3):
        for each in both:
            each.train(VALUES)
            value = each.W.get_value()
            value[0] = k  # A copy, that nobody else sees
            each.W.set_value(value)
            borrowed = each.v.get_value(borrow=True)
            np.testing.assert_array_equal(borrowed, each.v.get_value())
        assert_same(*both)
        assert (both[0].W.get_value()[0] == k).all()
    # A value of before is set again: what the devices hold is of after
    for each in both:
        before = each.W.get_value(return_internal_type=True)
        each.train(VALUES)
        each.W.set_value(before)
        each.train(VALUES)
    assert_same(*both)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "numba", "python"])
def test_other_functions_between_steps(both, backend):
    """Functions of each back end see the parameters after each step, and a step goes on from what they leave."""
    several, single = both
    mode = "FAST_COMPILE" if backend == "python" else get_mode(backend)
    measure = several.compile(mode)
    halve = pytensor.function([], [], updates=[(several.v, several.v / 2)], mode=mode)
    for _ in range(3):
        for each in both:
            each.train(VALUES)
        expected = (((np.tanh(VALUES @ single.W.get_value())) * single.v.get_value()) ** 2).sum(1)
        np.testing.assert_allclose(measure(VALUES), expected.mean(), rtol=1e-12)
        halve()
        single.v.set_value(single.v.get_value() / 2)
        assert_same(*both)


@pytest.mark.slow
def test_parameters_stay_on_all_devices(both):
    """They are not sent from one device to the others at each step, but when they are set."""
    import jax

    several, single = both
    for each in both:
        each.train(VALUES)
    with jax.transfer_guard_device_to_device("disallow_explicit"):
        several.train(VALUES)
    several.W.set_value(several.W.get_value() + 1)
    single.train(VALUES)
    single.W.set_value(single.W.get_value() + 1)
    for each in both:
        each.train(VALUES)
    assert_same(*both)


@pytest.mark.slow
def test_batches_of_other_lengths(both):
    for count in (5, 1, 8, 5):
        for each in both:
            each.train(np.resize(VALUES, (count, F)))
    assert_same(*both)


@pytest.mark.slow
def test_an_argument_that_changes_after_the_call(both):
    batch = VALUES.copy()
    for each in both:
        batch[:] = VALUES
        each.train(batch)
        batch[:] = np.nan
    assert_same(*both)
    assert np.isfinite(both[0].W.get_value()).all()


@pytest.mark.slow
def test_threads(both):
    """Several threads call the same function: each step is taken, one after the other."""
    several, single = both
    errors = []

    def work():
        try:
            for _ in range(5):
                several.train(VALUES)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for _ in range(20):
        single.train(VALUES)
    assert_same(*both)


@pytest.mark.slow
def test_a_copy_of_a_function_and_a_pickle(both):
    several, single = both
    several.train(VALUES)
    single.train(VALUES)
    copied = pickle.loads(pickle.dumps(several.train))
    loss = float(copied(VALUES))
    np.testing.assert_allclose(loss, float(several.train(VALUES)), rtol=1e-12)
    single.train(VALUES)
    assert_same(*both)
