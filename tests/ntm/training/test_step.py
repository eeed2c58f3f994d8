import numpy as np
import pytest
from pytensor.compile.mode import get_mode

import lasagne
from lasagne.layers import get_all_param_values
from lasagne.updates import adam, sgd
from ntm.experiments.networks import Dense
from ntm.tasks import Batch, CopyTask
from ntm.training.step import TrainingStep

pytestmark = pytest.mark.usefixtures("float32")


def make_task():
    return CopyTask(size=2, max_length=3, batch_size=3, seed=0)


def make_step(**options):
    task = make_task()
    lasagne.random.set_rng(np.random.RandomState(0))
    l_out = Dense(num_units=4, num_layers=1).build(task)
    l_out.b.set_value(np.array([0.1, -0.2, 0.3], "float32"))
    return TrainingStep(l_out, task, **{"update": sgd, **options}), l_out


def take(batch, *indices):
    return Batch(*(array[list(indices)] for array in batch))


@pytest.mark.slow
def test_losses_of_sequences_and_their_mean():
    step, _ = make_step()
    batch = make_task().sample(length=[1, 2, 3])
    result = step(batch, 0.0)
    assert result.losses.shape == (3,)
    assert result.loss == pytest.approx(result.losses.mean(), rel=1e-6)
    for k in range(3):
        assert step(take(batch, k), 0.0).loss == pytest.approx(result.losses[k], rel=1e-6)
    assert result.is_finite
    assert result.finite_gradients.all()


@pytest.mark.slow
@pytest.mark.parametrize("division", [{}, {"block_size": 1, "devices": 2}])
def test_weights_of_sequences(division):
    """A sequence of weight zero is as if it were not there; one of weight two as if it were there twice."""
    batch = make_task().sample(length=[1, 2, 3])
    step, l_out = make_step(weighted=True, **division)
    result = step(batch, 0.5, weights=[0.0, 1.0, 2.0])
    other, l_other = make_step()
    expected = other(take(batch, 1, 2, 2), 0.5)
    assert result.loss == pytest.approx(expected.loss, rel=1e-6)
    assert result.norm == pytest.approx(expected.norm, rel=1e-5)
    np.testing.assert_allclose(result.losses[1:], expected.losses[:2], rtol=1e-6)
    for one, two in zip(get_all_param_values(l_out), get_all_param_values(l_other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)


def test_weights_that_were_not_announced():
    batch = make_task().sample()
    with pytest.raises(ValueError, match="weighted is False: expected no weights"):
        make_step()[0](batch, 0.1, weights=[1, 1, 1])
    with pytest.raises(ValueError, match="weighted is True: expected weights, not None"):
        make_step(weighted=True)[0](batch, 0.1)


@pytest.mark.slow
def test_a_step_depends_on_nothing_but_its_variables():
    """Set back, a step gives the same; another step that is given its values goes on as it does."""
    batch = make_task().sample()
    step, _ = make_step(update=adam)
    step(batch, 0.1)
    values = step.get_values()
    results = [step(batch, 0.1) for _ in range(2)]
    end = step.get_values()
    other, _ = make_step(update=adam)
    for each in (step, other):
        each.set_values(values)
        for result in results:
            again = each(batch, 0.1)
            assert (again.loss, again.norm) == (result.loss, result.norm)
            np.testing.assert_array_equal(again.losses, result.losses)
        for name, value in each.get_values().items():
            np.testing.assert_array_equal(value, end[name])
    assert {name.partition("/")[0] for name in values} == {"parameter", "optimizer"}


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "again"), [(None, True), ("FAST_COMPILE", False)])
def test_when_something_is_compiled(mode, again):
    step, _ = make_step(mode=mode if mode is None else get_mode(mode))
    short, long = (make_task().sample(length=length) for length in (1, 2))
    assert step.must_compile(short)
    step(short, 0.1)
    assert not step.must_compile(short)
    assert step.must_compile(long) == again
