from unittest.mock import Mock

import numpy as np
import pytensor.tensor as pt
import pytest
from pytensor.graph.basic import equal_computations

from lasagne.layers import DenseLayer, InputLayer, Layer
from lasagne.regularization import (
    apply_penalty,
    l1,
    l2,
    regularize_layer_params,
    regularize_layer_params_weighted,
    regularize_network_params,
)


def total(layers, penalty=l2, coefficients=(1, 1, 1)):
    value = {l1: lambda x: np.abs(x).sum(), l2: lambda x: (x**2).sum()}[penalty]
    return sum(
        c * value(layer.W.get_value()) for c, layer in zip(coefficients, layers, strict=False)
    )


@pytest.fixture
def layers():
    first = DenseLayer(InputLayer((10, 4)), 5)
    second = DenseLayer(first, 6)
    third = DenseLayer(second, 7)
    for layer in (first, second, third):
        layer.b.set_value(layer.b.get_value() + 100)
    return first, second, third


@pytest.mark.parametrize(
    ("penalty", "expected"), [(l1, lambda x: np.abs(x).sum()), (l2, lambda x: (x**2).sum())]
)
def test_penalty(penalty, expected):
    x = pt.matrix(dtype="float64")
    x0 = np.random.RandomState(1).uniform(-3, 3, (10, 10))
    assert np.allclose(penalty(x).eval({x: x0}), expected(x0))


def test_apply_penalty():
    a, b = pt.vector(), pt.matrix()
    assert apply_penalty([], l2) == 0
    assert equal_computations([apply_penalty(a, l2)], [l2(a)])
    assert equal_computations([apply_penalty([a, b], l2)], [sum([l2(a), l2(b)])])
    # A vector of known length is a tensor, not a sequence of scalars.
    known = pt.vector(shape=(3,))
    assert equal_computations([apply_penalty(known, l2)], [l2(known)])


def test_apply_penalty_passes_arguments():
    penalty = Mock(return_value=1)
    a, b = pt.vector(), pt.matrix()
    assert apply_penalty([a, b], penalty, p=3) == 2
    assert [call.kwargs for call in penalty.call_args_list] == [{"p": 3}, {"p": 3}]


@pytest.mark.parametrize("penalty", [l1, l2])
def test_layer_params(layers, penalty):
    for chosen in ([layers[1]], layers[:2]):
        loss = regularize_layer_params(chosen, penalty)
        assert np.allclose(loss.eval(), total(chosen, penalty))
    loss = regularize_layer_params(layers[1], penalty)
    assert np.allclose(loss.eval(), total([layers[1]], penalty))


def test_layer_params_as_lasagne_sums_them(layers):
    _, second, third = layers
    loss = regularize_layer_params([second, third], l2)
    assert equal_computations([loss], [sum([l2(second.W), l2(third.W)])])


def test_tags(layers):
    bias = layers[0].b.get_value()
    loss = regularize_layer_params(layers[0], l2, tags={"regularizable": False})
    assert np.allclose(loss.eval(), (bias**2).sum())
    layer = Mock(Layer)
    layer.get_params.return_value = []
    assert regularize_layer_params(layer, l2, tags={"special": True}) == 0
    layer.get_params.assert_called_with(special=True)


def test_layer_params_weighted(layers):
    weights = {layers[0]: 0.1, layers[2]: 0.5}
    loss = regularize_layer_params_weighted(weights, l2)
    assert np.allclose(loss.eval(), total([layers[0], layers[2]], l2, [0.1, 0.5]))


@pytest.mark.parametrize("penalty", [l1, l2])
def test_network_params(layers, penalty):
    loss = regularize_network_params(layers[2], penalty)
    assert np.allclose(loss.eval(), total(layers, penalty))
    loss = regularize_network_params(layers[2], penalty, tags={"regularizable": False})
    assert not np.allclose(loss.eval(), total(layers, penalty))
