"""Layers on JAX beside NumPy, with sizes that are unknown when the function is made, and with a batch of one."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import (
    BatchNormLayer,
    BiasLayer,
    ConcatLayer,
    DenseLayer,
    DropoutLayer,
    ElemwiseMergeLayer,
    ElemwiseSumLayer,
    EmbeddingLayer,
    InverseLayer,
    NINLayer,
    NonlinearityLayer,
    ParametricRectifierLayer,
    RandomizedRectifierLayer,
    RepeatLayer,
    ScaleLayer,
    SliceLayer,
    StandardizationLayer,
    get_output,
)
from lasagne.layers.input import InputLayer
from lasagne.nonlinearities import linear, softmax

RNG = np.random.RandomState(6)
VECTOR, MATRIX, WEIGHTS = RNG.normal(size=3), RNG.normal(size=(4, 5)), RNG.normal(size=(12, 5))
UNITS, CHANNELS, ITEMS = RNG.normal(size=5), RNG.normal(size=(3, 5)), RNG.normal(size=(7, 5))


def normalize(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-4)


def np_softmax(x):
    exp = np.exp(x - x.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def on_channels(function):
    """A function over the last axis, applied over the second."""
    return lambda x: np.moveaxis(function(np.moveaxis(x, 1, -1)), -1, 1)


# The declared shape of the input (None, 3, 4), which is known where the layer has parameters for it;
# the layer; what it computes
LAYERS = {
    "nonlinearity": ((None,) * 3, lambda l: NonlinearityLayer(l, softmax), np_softmax),
    "standardization": ((None,) * 3, StandardizationLayer, lambda x: normalize(x, (2,))),
    "of features": (
        (None,) * 3,
        lambda l: StandardizationLayer(l, "features"),
        lambda x: normalize(x, (1, 2)),
    ),
    "bias": ((None, 3, None), lambda l: BiasLayer(l, VECTOR), lambda x: x + VECTOR[:, None]),
    "scale": ((None, 3, None), lambda l: ScaleLayer(l, VECTOR), lambda x: x * VECTOR[:, None]),
    "scale of the last axis": (
        (None, None, 4),
        lambda l: ScaleLayer(l, MATRIX[:, 0], shared_axes=(0, 1)),
        lambda x: x * MATRIX[:, 0],
    ),
    "prelu": (
        (None, 3, None),
        lambda l: ParametricRectifierLayer(l, VECTOR),
        lambda x: np.where(x > 0, x, x * VECTOR[:, None]),
    ),
    "rrelu": ((None,) * 3, RandomizedRectifierLayer, lambda x: np.where(x > 0, x, x * 0.55)),
    "dropout": ((None,) * 3, DropoutLayer, lambda x: x),
    "batch norm": (
        (None, 3, None),
        lambda l: BatchNormLayer(
            l, gamma=VECTOR, beta=VECTOR + 1, mean=2 * VECTOR, inv_std=VECTOR**2
        ),
        lambda x: (x - 2 * VECTOR[:, None]) * (VECTOR**3)[:, None] + VECTOR[:, None] + 1,
    ),
    "dense": (
        (None, 3, 4),
        lambda l: DenseLayer(l, 5, WEIGHTS, UNITS, linear),
        lambda x: x.reshape(-1, 12) @ WEIGHTS + UNITS,
    ),
    "dense at each step": (
        (None, None, 4),
        lambda l: DenseLayer(l, 5, MATRIX, UNITS, linear, num_leading_axes=2),
        lambda x: x @ MATRIX + UNITS,
    ),
    "network in network": (
        (None, 3, None),
        lambda l: NINLayer(l, 5, W=CHANNELS, b=UNITS, nonlinearity=None),
        on_channels(lambda x: x @ CHANNELS + UNITS),
    ),
    "concatenation": (
        (None,) * 3,
        lambda l: ConcatLayer([l, SliceLayer(l, slice(1, None), axis=1)], cropping=[None, "lower"]),
        lambda x: np.concatenate([x, x[:, 1:]], axis=1),
    ),
    "cropped concatenation": (
        (None,) * 3,
        lambda l: ConcatLayer(
            [l, SliceLayer(l, slice(1, None), axis=1)], axis=2, cropping=[None, "upper"]
        ),
        lambda x: np.concatenate([x[:, 1:], x[:, 1:]], axis=2),
    ),
    "cropped sum": (
        (None,) * 3,
        lambda l: ElemwiseSumLayer(
            [l, SliceLayer(l, slice(3), axis=2)], coeffs=[2, -1], cropping=[None, None, "center"]
        ),
        lambda x: x[:, :, :3],
    ),
    "product": ((None,) * 3, lambda l: ElemwiseMergeLayer([l, l], pt.mul), lambda x: x**2),
    "repeated": (
        (None,) * 3,
        lambda l: RepeatLayer([SliceLayer(l, 1, axis=1), l]),
        lambda x: np.repeat(x[:, 1:2], 3, axis=1),
    ),
    "inverse": (
        (None,) * 3,
        lambda l: InverseLayer(part := SliceLayer(l, slice(1, None), axis=1), part),
        lambda x: np.concatenate([0 * x[:, :1], x[:, 1:]], axis=1),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_sizes_unknown_beforehand(name):
    declared, make, expected = LAYERS[name]
    x = pt.dtensor3()
    output = get_output(make(InputLayer(declared, x)), deterministic=True)
    function = pytensor.function([x], output, mode=get_mode("jax"))
    for batch in (1, 3):
        values = RNG.normal(size=(batch, 3, 4))
        np.testing.assert_allclose(function(values), expected(values), rtol=1e-10, atol=1e-12)


def test_batch_norm_of_unknown_sizes():
    x = pt.dtensor3()
    layer = BatchNormLayer(InputLayer((None, 3, None), x))
    function = pytensor.function([x], get_output(layer), mode=get_mode("jax"))
    for batch in (1, 3):
        values = RNG.normal(size=(batch, 3, 4))
        np.testing.assert_allclose(function(values), normalize(values, (0, 2)), atol=1e-12)


@pytest.mark.parametrize("shape", [(None,), (None, None), (None, 2, None)])
def test_embedding_of_unknown_sizes(shape):
    x = pt.tensor(dtype="int64", shape=(None,) * len(shape))
    layer = EmbeddingLayer(InputLayer(shape, x), 7, 5, W=ITEMS)
    function = pytensor.function([x], get_output(layer), mode=get_mode("jax"))
    for batch in (1, 3):
        indices = RNG.randint(0, 7, size=(batch, 2, 4)[: len(shape)])
        np.testing.assert_array_equal(function(indices), ITEMS[indices])
