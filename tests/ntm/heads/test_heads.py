import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.init import Constant
from lasagne.layers import DenseLayer, InputLayer, get_all_params
from lasagne.nonlinearities import rectify, sigmoid, softmax, tanh
from ntm.controllers import DenseController
from ntm.heads.base import FusedDense
from ntm.heads.ntm import (
    HeadCollection,
    ReadHead,
    ReadHeadCollection,
    WriteHead,
    WriteHeadCollection,
)
from ntm.nonlinearities import ClippedLinear, hard_sigmoid, one_plus_rectify

from .. import reference
from ..networks import MEMORY_SHAPE, B, F, H, data, make_heads, randomize, to_python

N, M = MEMORY_SHAPE


def make_controller(units=H):
    return DenseController(InputLayer((None, None, F)), MEMORY_SHAPE, units, 1)


def make_random_heads(writes, reads):
    heads = make_heads(make_controller(), writes, reads)
    rng = np.random.default_rng(0)
    for head in heads:
        for param in head.get_params():
            param.set_value(rng.normal(size=param.get_value().shape))
    return heads


def weightings(*shape):
    return np.random.default_rng(1).dirichlet(np.ones(shape[-1]), shape[:-1])


def test_defaults_are_those_of_ntm_lasagne():
    controller = DenseController(InputLayer((None, None, F)), (128, 20), H, 1)
    read, write = ReadHead(controller), WriteHead(controller)
    assert (read.num_shifts, read.memory_shape, read.shift_mode) == (3, (128, 20), "zero-padded")
    for head in (read, write):
        clipped = head.key.nonlinearity
        assert isinstance(clipped, ClippedLinear)
        assert (clipped.low, clipped.high) == (0.0, 1.0)
        assert head.beta.nonlinearity is rectify
        assert head.gate.nonlinearity is hard_sigmoid
        assert head.shift.nonlinearity is softmax
        assert head.gamma.nonlinearity is one_plus_rectify
        assert head.sign is None
        np.testing.assert_array_equal(head.weights_init.get_value(), np.eye(1, 128))
        assert get_all_params(head.key, trainable=True)[-2:] == [head.key.W, head.key.b]
        assert head.weights_init not in head.get_params(trainable=True)
    assert write.erase.nonlinearity is hard_sigmoid
    assert isinstance(write.add.nonlinearity, ClippedLinear)
    assert write.sign_add is None


def test_shapes_and_names_of_parameters():
    options = {"W_hid_to_sign": Constant(0.0), "W_hid_to_sign_add": Constant(0.0)}
    head = WriteHead(
        make_controller(), 4, MEMORY_SHAPE, name="write", b_hid_to_beta=None, **options
    )
    shapes = {param.name: param.get_value().shape for param in head.get_params()}
    assert list(shapes.items()) == [
        ("write.weights_init", (1, N)),
        ("write.key.W", (H, M)),
        ("write.key.b", (M,)),
        ("write.beta.W", (H, 1)),
        ("write.gate.W", (H, 1)),
        ("write.gate.b", (1,)),
        ("write.shift.W", (H, 4)),
        ("write.shift.b", (4,)),
        ("write.gamma.W", (H, 1)),
        ("write.gamma.b", (1,)),
        ("write.sign.W", (H, M)),
        ("write.sign.b", (M,)),
        ("write.erase.W", (H, M)),
        ("write.erase.b", (M,)),
        ("write.add.W", (H, M)),
        ("write.add.b", (M,)),
        ("write.sign_add.W", (H, M)),
        ("write.sign_add.b", (M,)),
    ]
    assert [p.name for p in head.get_params(regularizable=True)] == [
        name for name in shapes if name.endswith(".W")
    ]


def test_heads_without_names():
    head = ReadHead(make_controller(), memory_shape=MEMORY_SHAPE)
    assert [p.name for p in head.get_params()][:3] == ["weights_init", "key.W", "key.b"]


def test_every_option_reaches_its_layer():
    parts = ["key", "beta", "gate", "shift", "gamma", "sign", "erase", "add", "sign_add"]
    widths = dict.fromkeys(parts, M) | {"beta": 1, "gate": 1, "gamma": 1, "shift": 3}
    options = {f"W_hid_to_{part}": Constant(k) for k, part in enumerate(parts)}
    options |= {f"b_hid_to_{part}": Constant(-k) for k, part in enumerate(parts)}
    options |= {f"nonlinearity_{part}": lambda x, k=k: k * x for k, part in enumerate(parts)}
    head = WriteHead(make_controller(), 3, MEMORY_SHAPE, **options)
    for k, part in enumerate(parts):
        layer = getattr(head, part)
        np.testing.assert_array_equal(layer.W.get_value(), np.full((H, widths[part]), k))
        np.testing.assert_array_equal(layer.b.get_value(), np.full(widths[part], -k))
        assert layer.nonlinearity(1) == k


def test_fused_layers_equal_the_layers():
    l_in = InputLayer((None, H))
    layers = [
        DenseLayer(l_in, 3, nonlinearity=tanh),
        DenseLayer(l_in, 3, nonlinearity=tanh, b=None),
        DenseLayer(l_in, 2, nonlinearity=softmax),
        DenseLayer(l_in, 2, nonlinearity=sigmoid),
    ]
    for layer in layers:
        randomize(layer)
    fused = FusedDense(layers)
    h = data(B, H)
    activations = fused.get_activations(pt.as_tensor(h))
    for layer in layers:
        value = fused.get_output(activations, layer).eval()
        np.testing.assert_allclose(value, reference.dense(layer, h), rtol=1e-12)
    for pair in (layers[:2], layers[2:], [layers[1], layers[0]]):
        value = fused.get_outputs(activations, pair).eval()
        expected = np.stack([reference.dense(layer, h) for layer in pair], axis=1)
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        [{}],
        [{}, {}],
        [{"num_shifts": 2}, {"shift_mode": "circular"}],
        [{"W_hid_to_sign": Constant(0.0)}, {}, {"nonlinearity_key": tanh}],
    ],
)
def test_weights_of_a_collection(options):
    heads = make_random_heads([], options)
    h, memory, previous = data(B, H), data(B, N, M), weightings(B, len(heads), N)
    collection = HeadCollection(heads)
    arrays = [pt.as_tensor(array) for array in (h, previous, memory.transpose(0, 2, 1))]
    value = collection.get_weights(*arrays).eval()
    expected = [
        [reference.address(head, h[b], previous[b, k], memory[b]) for k, head in enumerate(heads)]
        for b in range(B)
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    fused = collection.address_layers.fuse()
    again = collection.get_weights(*arrays, fused=fused).eval()
    np.testing.assert_array_equal(again, value)


def test_initial_weights_and_parameters_of_a_collection():
    heads = make_random_heads([{}], [{}])
    collection = HeadCollection(heads)
    value = collection.get_initial_weights(2).eval()
    expected = np.stack([head.weights_init.get_value()[0] for head in heads])
    np.testing.assert_array_equal(value, [expected, expected])
    assert collection.get_params() == heads[0].get_params() + heads[1].get_params()
    assert len(collection.get_params(regularizable=True)) == 12


def test_read_of_a_collection():
    heads = make_random_heads([], [{}, {}])
    memory, weights = data(B, N, M), weightings(B, 2, N)
    arrays = [pt.as_tensor(array) for array in (weights, memory.transpose(0, 2, 1))]
    value = ReadHeadCollection(heads).read(*arrays).eval()
    np.testing.assert_allclose(value, np.matmul(weights, memory).reshape(B, 2 * M), rtol=1e-12)


def test_write_of_a_collection():
    signs = {"W_hid_to_sign_add": Constant(0.0), "nonlinearity_sign_add": tanh}
    heads = make_random_heads([{}, signs], [])
    h, memory, weights = data(B, H), data(B, N, M), weightings(B, 2, N)
    arrays = [pt.as_tensor(array) for array in (h, weights, memory.transpose(0, 2, 1))]
    value = to_python([], WriteHeadCollection(heads).write(*arrays))().transpose(0, 2, 1)
    expected = [reference.write_memory(heads, h[b], weights[b], memory[b]) for b in range(B)]
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_shape": (6,)}, r"'x': memory_shape must be .*\(6,\)"),
        ({"num_shifts": -1}, "'x': num_shifts must be a positive integer, not -1"),
        ({"num_shifts": 8}, "'x': 8 shifts do not fit a memory of 6 slots"),
        ({"shift_mode": "none"}, "'x': shift_mode must be one of .*'none'"),
    ],
)
@pytest.mark.parametrize("kind", [ReadHead, WriteHead])
def test_errors(kind, options, message):
    with pytest.raises(ValueError, match=kind.__name__ + ".*" + message):
        kind(make_controller(), **{"memory_shape": MEMORY_SHAPE, "name": "x", **options})


@pytest.mark.parametrize("kind", [ReadHead, WriteHead])
def test_parameters_of_another_shape(kind):
    with pytest.raises(ValueError, match=r"x.key.W") as error:
        kind(make_controller(), 3, MEMORY_SHAPE, W_hid_to_key=np.ones((2, 2)), name="x")
    assert "(2, 2)" in str(error.value)
    assert f"({H}, {M})" in str(error.value)


def test_reads_take_no_options_of_writes():
    with pytest.raises(TypeError, match="nonlinearity_add"):
        ReadHead(make_controller(), memory_shape=MEMORY_SHAPE, nonlinearity_add=tanh)


def test_shared_variable_as_weight():
    W = pytensor.shared(np.ones((H, M)))
    head = ReadHead(make_controller(), memory_shape=MEMORY_SHAPE, W_hid_to_key=W)
    assert head.key.W is W
