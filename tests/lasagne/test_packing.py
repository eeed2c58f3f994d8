"""Packs of parameters, and update rules on them."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne import packing, updates
from lasagne.packing import pack

SHAPES = [(3,), (2, 4), (), (1, 5)]


def make_params(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [pytensor.shared(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]


def test_small_parameters_go_together_by_type(monkeypatch):
    params = [*make_params(), *make_params("float32")]
    packs = pack(params, params)
    assert [part.params for part in packs] == [params[:4], params[4:]]
    for part, dtype in zip(packs, ("float64", "float32"), strict=True):
        zeros = part.zeros()
        assert zeros.get_value().shape == (17,)
        assert zeros.dtype == dtype
        expected = np.concatenate([param.get_value().ravel() for param in part.params])
        np.testing.assert_array_equal(part.tensor.eval(), expected)
        for param, piece in zip(part.params, part.split(part.tensor), strict=True):
            np.testing.assert_array_equal(piece.eval(), param.get_value())

    monkeypatch.setattr(packing, "LARGE", 7)
    packs = pack(params[:4], params[:4])
    assert [part.params for part in packs] == [[params[0], params[2], params[3]], [params[1]]]
    assert packs[1].tensor is params[1]
    assert packs[1].zeros().get_value().shape == (2, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        updates.sgd,
        updates.momentum,
        updates.nesterov_momentum,
        updates.adagrad,
        updates.rmsprop,
        updates.adadelta,
        updates.adam,
        updates.adamax,
        updates.amsgrad,
    ],
    ids=lambda rule: rule.__name__,
)
def test_rules_treat_parameters_as_if_each_were_alone(rule):
    together, alone = make_params(), make_params()
    costs = [sum((pt.sin(param) ** 2).sum() for param in params) for params in (together, alone)]
    rules = dict(rule(costs[0], together, 0.1))
    # A counter and vectors of all parameters, rather than arrays for each
    assert len(rules) <= len(together) + 4
    train = [pytensor.function([], [], updates=rules)]
    train += [pytensor.function([], [], updates=rule(costs[1], [param], 0.1)) for param in alone]
    for _ in range(4):
        for step in train:
            step()
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.get_value(), other.get_value(), rtol=1e-12)
