"""Whole networks in files: saved, loaded, and the same."""

import copy
import importlib
import json
import pickle
import pkgutil
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

import lasagne
import ntm
from lasagne import init, nonlinearities
from lasagne.layers import (
    BatchNormLayer,
    BiasLayer,
    ConcatLayer,
    CustomRecurrentLayer,
    DenseLayer,
    DimshuffleLayer,
    DropoutLayer,
    ElemwiseMergeLayer,
    ElemwiseSumLayer,
    EmbeddingLayer,
    ExpressionLayer,
    FlattenLayer,
    Gate,
    GaussianNoiseLayer,
    GRULayer,
    InputLayer,
    InverseLayer,
    Layer,
    LocalResponseNormalization2DLayer,
    LSTMLayer,
    NINLayer,
    NonlinearityLayer,
    PadLayer,
    ParametricRectifierLayer,
    RandomizedRectifierLayer,
    RecurrentLayer,
    RepeatLayer,
    ReshapeLayer,
    ScaleLayer,
    SliceLayer,
    StandardizationLayer,
    batch_norm,
    dropout_channels,
    get_all_layers,
    get_all_param_values,
    get_all_params,
    get_output,
    instance_norm,
    layer_norm,
    prelu,
    rrelu,
    standardize,
)
from ntm.addressing.nearest import HyperplaneIndex
from ntm.controllers import (
    Controller,
    DenseController,
    GRUController,
    LSTMController,
    RecurrentController,
    StackController,
)
from ntm.heads.base import MemoryHead
from ntm.heads.dnc import DNCReadHead, DNCWriteHead
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.heads.sparse import SAMReadHead, SAMWriteHead, SDNCReadHead
from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer
from ntm.layers.shared import SharedMemoryLayer
from ntm.memory import Memory
from ntm.nonlinearities import ClippedLinear, hard_sigmoid
from ntm.serialization import load, register, registry, save
from ntm.serialization.arrays import read_arrays, write_arrays
from ntm.serialization.decoding import decode_network
from ntm.serialization.encoding import encode_network

from ..networks import (
    CONTROLLERS,
    MEMORY_SHAPE,
    B,
    F,
    H,
    T,
    make_dnc,
    make_heads,
    make_ntm,
    make_sam,
    make_sdnc,
    randomize,
)

N, M = MEMORY_SHAPE
# Classes that others are derived from, and that are no layers of a network
BASES = {
    "Layer",
    "MergeLayer",
    "RecurrenceLayer",
    "StatefulLayer",
    "Controller",
    "GatedController",
    "MemoryHead",
    "Head",
    "MemoryLayer",
    "ReadVectorsLayer",
    "ContentReadHead",
    "SparseMemoryLayer",
}


@pytest.fixture(autouse=True)
def names():
    """The registry, which is as before in the end."""
    before = dict(registry._things), dict(registry._names)
    yield
    for now, then in zip((registry._things, registry._names), before, strict=True):
        now.clear()
        now.update(then)


def sequence():
    return InputLayer((None, None, F), name="in")


def rows():
    return InputLayer((B, F))


def mask():
    return InputLayer((None, None), pt.matrix("mask"))


def image():
    return InputLayer((B, 2, 3, 4))


def embedding():
    return EmbeddingLayer(InputLayer((None, 2), pt.imatrix()), 5, 4)


def custom(**options):
    to_hidden = DenseLayer(DropoutLayer(InputLayer((None, F))), H, name="a")
    hidden = DenseLayer(DenseLayer(InputLayer((None, H)), 3, name="b"), H, name="c")
    return CustomRecurrentLayer(sequence(), to_hidden, hidden, **options)


def ntm_of_stack(
    build=lambda l: DenseLayer(l, H, name="dense"), heads=(WriteHead, ReadHead), **rest
):
    return NTMLayer(sequence(), MEMORY_SHAPE, build, list(heads), **rest)


def stack_of_all(layer):
    """A stack with a state, dropout, a recurrent cell beside another and a layer that joins them."""
    layer = DropoutLayer(layer, p=0.3)
    low = GRUController(layer, num_units=3, name="low")
    other = batch_norm(DenseLayer(layer, 4, name="other"), axes=0)
    return LSTMController(ConcatLayer([low, other]), num_units=H, name="top")


def shared_parts():
    """Two layers with one memory, one controller and one of the heads."""
    l_in, memory = sequence(), Memory(MEMORY_SHAPE, name="memory")
    controller = LSTMController(l_in, MEMORY_SHAPE, H, 1, name="controller")
    heads = make_heads(controller, [{}, {}], [{}])
    one = NTMLayer(l_in, memory, controller, heads[::2], name="one")
    two = NTMLayer(l_in, memory, controller, heads[1:], name="two", backwards=True)
    return ElemwiseSumLayer([one, two])


def tied_heads():
    """A head with the weights that another head's layers made."""
    l_in = sequence()
    controller = DenseController(l_in, MEMORY_SHAPE, H, 1, name="controller")
    write = WriteHead(controller, memory_shape=MEMORY_SHAPE, name="write")
    read = ReadHead(controller, memory_shape=MEMORY_SHAPE, W_hid_to_key=write.key.W, name="read")
    # The head that made the weights comes after the one that was given them
    return NTMLayer(l_in, MEMORY_SHAPE, controller, [read, write])


def without_training(layer, tag="trainable"):
    for tags in layer.params.values():
        tags.discard(tag)
    return layer


# For every class of layers one network or more that end in one
CASES = {
    BatchNormLayer: [
        lambda: BatchNormLayer(rows(), name="norm", alpha=0.5),
        lambda: BatchNormLayer(image(), axes=(0, 2), beta=None, gamma=None, epsilon=1e-2),
        lambda: batch_norm(DenseLayer(rows(), 3, name="dense")),
        lambda: batch_norm(DenseLayer(rows(), 3, nonlinearity=None)),
    ],
    BiasLayer: [lambda: BiasLayer(rows()), lambda: BiasLayer(image(), None, shared_axes="all")],
    ConcatLayer: [
        lambda: ConcatLayer([rows(), DenseLayer(rows(), 3)], name="joined"),
        lambda: ConcatLayer([(2, 3), (2, 4)]),
        lambda: ConcatLayer([image(), InputLayer((B, 2, 2, 4))], cropping=[None, None, "lower"]),
    ],
    CustomRecurrentLayer: [
        custom,
        lambda: custom(mask_input=mask(), learn_init=True, name="custom", backwards=True),
        lambda: custom(hid_init=DenseLayer(InputLayer((None, 2)), H), nonlinearity=None),
        lambda: custom(precompute_input=False, grad_clipping=1.5, gradient_steps=2),
    ],
    DenseLayer: [
        lambda: DenseLayer(rows(), 3, name="dense"),
        lambda: DenseLayer(image(), np.int64(3), b=None, num_leading_axes=-1),
        lambda: DenseLayer((None, 4), 3, W=np.ones((4, 3), "float32"), b=init.Constant(1.5)),
        lambda: without_training(DenseLayer(rows(), 3)),
        lambda: DenseLayer(rows(), 3, nonlinearity=pt.tanh),
    ],
    DimshuffleLayer: [lambda: DimshuffleLayer(rows(), (1, "x", 0))],
    DropoutLayer: [
        lambda: DropoutLayer(rows(), 0.3, rescale=False, shared_axes=(1,)),
        lambda: DropoutLayer(rows(), p=pytensor.shared(np.float32(0.25), "p")),
        lambda: dropout_channels(image(), 0.1),
    ],
    ElemwiseMergeLayer: [
        lambda: ElemwiseMergeLayer([rows(), rows()], pt.mul),
        lambda: ElemwiseMergeLayer([rows(), rows(), rows()], merge_function=pt.maximum),
    ],
    ElemwiseSumLayer: [lambda: ElemwiseSumLayer([rows(), rows()], coeffs=[2, -0.5])],
    EmbeddingLayer: [embedding],
    ExpressionLayer: [
        lambda: ExpressionLayer(rows(), pt.exp),
        lambda: ExpressionLayer(rows(), nonlinearities.softmax, output_shape=(B, F)),
    ],
    FlattenLayer: [lambda: FlattenLayer(image(), outdim=3)],
    GaussianNoiseLayer: [lambda: GaussianNoiseLayer(rows(), sigma=0.3)],
    GRULayer: [
        lambda: GRULayer(sequence(), H, name="gru"),
        lambda: GRULayer(
            sequence(),
            H,
            Gate(W_cell=None, b=init.Constant(2.0)),
            hidden_update=Gate(W_in=np.ones((F, H)), nonlinearity=None),
            mask_input=mask(),
            only_return_final=True,
        ),
    ],
    InputLayer: [
        lambda: InputLayer((None, 3), name="x"),
        lambda: InputLayer([2, None], pt.lmatrix("labels")),
    ],
    InverseLayer: [lambda: (lambda l: InverseLayer(DenseLayer(l, 2), l))(DenseLayer(rows(), 2))],
    LocalResponseNormalization2DLayer: [
        lambda: LocalResponseNormalization2DLayer(image(), alpha=0.1, k=1.5, beta=0.5, n=3)
    ],
    LSTMLayer: [
        lambda: LSTMLayer(sequence(), H, name="lstm"),
        lambda: LSTMLayer(
            InputLayer((B, T, F)),
            H,
            forgetgate=Gate(b=init.Constant(5.0)),
            cell=Gate(nonlinearity=ClippedLinear(-1.0, 1.0)),
            cell_init=init.Normal(0.5),
            hid_init=np.full((1, H), 0.5),
            peepholes=False,
            unroll_scan=True,
            learn_init=True,
        ),
    ],
    NINLayer: [lambda: NINLayer(image(), 3, untie_biases=True)],
    NonlinearityLayer: [
        lambda nonlinearity=nonlinearity: NonlinearityLayer(rows(), nonlinearity)
        for nonlinearity in (
            None,
            pt.sigmoid,
            pt.special.softmax,
            nonlinearities.tanh,
            nonlinearities.selu,
            nonlinearities.leaky_rectify,
            nonlinearities.ScaledTanH(2 / 3, scale_out=1.7159),
            nonlinearities.LeakyRectify(0.2),
            nonlinearities.SELU(1.5, 0.5),
            ClippedLinear(-0.5, 0.5),
            hard_sigmoid,
        )
    ],
    PadLayer: [lambda: PadLayer(image(), ((1, 2), 3), val=0.5), lambda: PadLayer(image(), [1, 0])],
    ParametricRectifierLayer: [lambda: prelu(DenseLayer(rows(), 3, name="dense"), name="prelu")],
    RandomizedRectifierLayer: [lambda: rrelu(DenseLayer(rows(), 3), lower=0.1, shared_axes="all")],
    RecurrentLayer: [
        lambda: RecurrentLayer(sequence(), H, name="recurrent"),
        lambda: RecurrentLayer(sequence(), H, b=None, nonlinearity=pt.tanh, backwards=True),
        lambda: without_training(RecurrentLayer(sequence(), H).input_to_hidden),
    ],
    RepeatLayer: [lambda: RepeatLayer([rows(), sequence()], name="repeated")],
    ReshapeLayer: [lambda: ReshapeLayer(image(), ([0], 3, -1))],
    ScaleLayer: [
        lambda: ScaleLayer(image(), init.Normal(), shared_axes=range(1, 3)),
        lambda: standardize(rows(), np.ones(F), np.full(F, 2.0), shared_axes=0),
        lambda: instance_norm(NINLayer(image(), 3, nonlinearity=None), learn_bias=False),
    ],
    SliceLayer: [lambda: SliceLayer(rows(), slice(0, None, 2)), lambda: SliceLayer(image(), -1, 1)],
    StandardizationLayer: [
        lambda: StandardizationLayer(image(), axes="spatial", epsilon=1e-3),
        lambda: layer_norm(DenseLayer(rows(), 3, name="dense")).input_layer.input_layer,
    ],
    Memory: [lambda: Memory((4, 3), init.Uniform((0.0, 1.0)), learn_init=False, name="memory")],
    DenseController: [lambda: DenseController((None, None, F), (4, 3), H, 1, name="c")],
    RecurrentController: [lambda: RecurrentController(rows(), num_units=H, nonlinearity=pt.tanh)],
    GRUController: [lambda: GRUController(rows(), num_units=H, hid_init=init.Constant(0.5))],
    LSTMController: [lambda: LSTMController(rows(), num_units=H, b_in_to_cell=None)],
    StackController: [
        lambda: StackController(sequence(), lambda l: DenseLayer(l, H), (4, 3), 1, name="stack"),
        lambda: StackController(sequence(), stack_of_all, (4, 3), 1),
        lambda: StackController(sequence(), DenseLayer(InputLayer((None, F)), H), (4, 3), 0),
    ],
    ReadHead: [lambda: ReadHead((None, H), memory_shape=(4, 3), shift_mode="circular", name="r")],
    WriteHead: [
        lambda: WriteHead((None, H), 2, (4, 3), W_hid_to_sign=init.Normal(), learn_init=True)
    ],
    NTMLayer: [
        *(partial(make_ntm, controller) for controller in CONTROLLERS),
        partial(make_ntm, writes=[{}, {"num_shifts": 1}], reads=[{}] * 3, name="ntm"),
        partial(make_ntm, writes=[], mask_input=mask(), only_return_final=True, backwards=True),
        partial(make_ntm, reads=[], gradient_steps=2, grad_clipping=1.0, precompute_input=False),
        ntm_of_stack,
        partial(
            ntm_of_stack, stack_of_all, [WriteHead, partial(ReadHead, num_shifts=5, name="r")] * 2
        ),
        shared_parts,
        tied_heads,
    ],
    HyperplaneIndex: [
        lambda: HyperplaneIndex((4, 3), num_tables=2, num_bits=3, num_recent=5, name="index"),
        lambda: HyperplaneIndex((64, 3), hyperplanes=init.Constant(1.0)),
    ],
    SharedMemoryLayer: [
        lambda: SharedMemoryLayer(
            sequence(),
            MEMORY_SHAPE,
            2 * [partial(DNCLayer, controller=lambda l: DenseLayer(l, H), num_reads=2)],
            name="shared",
        ),
        lambda: SharedMemoryLayer(
            sequence(), Memory(MEMORY_SHAPE), [partial(SAMLayer, controller=stack_of_all)]
        ),
    ],
    DNCReadHead: [lambda: DNCReadHead((None, H), (4, 3), 2, b_hid_to_modes=None, name="r")],
    DNCWriteHead: [lambda: DNCWriteHead((None, H), (4, 3), nonlinearity_add=pt.tanh)],
    DNCLayer: [
        partial(make_dnc, LSTMController, 2, 2, clip=3.0, name="dnc"),
        lambda: DNCLayer(sequence(), MEMORY_SHAPE, stack_of_all, num_reads=3),
        lambda: DNCLayer(
            sequence(), MEMORY_SHAPE, lambda l: DenseLayer(l, H), [DNCWriteHead, DNCReadHead]
        ),
    ],
    SAMReadHead: [lambda: SAMReadHead((None, H), (4, 3), nonlinearity_key=pt.tanh, name="r")],
    SAMWriteHead: [lambda: SAMWriteHead((None, H), (4, 3), b_hid_to_write_gate=None)],
    SAMLayer: [
        partial(make_sam, LSTMController, 2, num_read_slots=2, usage_threshold=0.01, name="sam"),
        lambda: SAMLayer(sequence(), MEMORY_SHAPE, stack_of_all, num_reads=3),
    ],
    SDNCReadHead: [lambda: SDNCReadHead((None, H), (4, 3), b_hid_to_modes=None, name="r")],
    SDNCLayer: [
        partial(make_sdnc, LSTMController, 2, num_read_slots=2, num_links=3, name="sdnc"),
        lambda: SDNCLayer(sequence(), MEMORY_SHAPE, stack_of_all, num_reads=3, num_links=2),
    ],
}
ALL = [
    pytest.param(build, id=f"{kind.__name__}-{number}")
    for kind, builds in CASES.items()
    for number, build in enumerate(builds)
]


def all_layer_classes():
    for package in (lasagne, ntm):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, pending = [], [Layer]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.__module__.partition(".")[0] in ("lasagne", "ntm"):
            found.append(kind)
    return [kind for kind in found if kind.__name__ not in BASES and kind.__name__[0] != "_"]


def test_every_class_has_a_case():
    assert {kind.__name__ for kind in all_layer_classes()} == {kind.__name__ for kind in CASES}
    assert all(registry.find_name(kind) == kind.__name__ for kind in all_layer_classes())


# ---- comparison


def store(network):
    """Save and load through text and bytes, as a file does."""
    description, arrays = encode_network(network)
    return decode_network(json.loads(json.dumps(description, allow_nan=False)), arrays)


def evaluate(network, details=False, **kwargs):
    """The outputs for random inputs, which are the same for each network alike."""
    rng = np.random.default_rng(3)
    layers = get_all_layers(network)
    inputs = {None: rng.normal(size=(B, T, F))}
    for layer in layers:
        if isinstance(layer, InputLayer) and not isinstance(layer, Memory):
            sizes = [B, T, F, 4]
            shape = [sizes[k] if size is None else size for k, size in enumerate(layer.shape)]
            values = rng.integers(0, 2, shape) if "mask" in str(layer.input_var) else None
            if values is None:
                values = 2.0 * rng.normal(size=shape)
            inputs[layer] = abs(values) if layer.input_var.dtype[0] == "i" else values
            inputs[layer] = inputs[layer].astype(layer.input_var.dtype)
    outputs = get_output(network, inputs, deterministic=True, **kwargs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    # Not rewritten: it is to be compiled quickly, and runs once
    return pytensor.function([], outputs, mode=Mode("py", None), on_unused_input="ignore")()


def can_run(network):
    layers = get_all_layers(network)
    apart = (Memory, Controller, MemoryHead, HyperplaneIndex)
    free = [l for l in layers if None in getattr(l, "input_layers", [getattr(l, "input_layer", l)])]
    return not free and not any(isinstance(layer, apart) for layer in layers)


def check_same(one, other):
    """Whether two networks are alike: layers, attributes, parameters, outputs; but share nothing."""
    lists = [network if isinstance(network, list) else [network] for network in (one, other)]
    assert isinstance(one, list) == isinstance(other, list)
    layers, others = get_all_layers(lists[0]), get_all_layers(lists[1])
    assert [type(layer) for layer in layers] == [type(layer) for layer in others]
    assert [layer.name for layer in layers] == [layer.name for layer in others]
    assert not set(layers) & set(others)
    for a, b in zip(layers, others, strict=True):
        assert vars(a).keys() == vars(b).keys()
        for name, value in vars(a).items():
            if isinstance(value, bool | int | float | str | None):
                assert vars(b)[name] == value, name
        if not isinstance(a, MemoryHead | Controller) and hasattr(a, "output_shape"):
            assert a.output_shape == b.output_shape
    tags = {tag for l in layers for own in l.params.values() for tag in own}
    for tag in {"trainable", "regularizable", *tags}:
        for wanted in (True, False):
            names = [
                [param.name for param in get_all_params(network, **{tag: wanted})]
                for network in lists
            ]
            assert names[0] == names[1]
    params, other_params = (get_all_params(network) for network in lists)
    assert not set(params) & set(other_params)
    for a, b in zip(params, other_params, strict=True):
        assert a.type == b.type
        np.testing.assert_array_equal(a.get_value(), b.get_value())
    assert encode_network(one)[0] == encode_network(other)[0]
    if can_run(lists[0]):
        for a, b in zip(evaluate(lists[0]), evaluate(lists[1]), strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("build", ALL)
def test_every_layer(build, tmp_path):
    network = build()
    randomize(network)
    path = tmp_path / "some.network"
    save(path, network)
    check_same(network, load(path))


# ---- what is shared


def test_lists(tmp_path):
    first = DenseLayer(rows(), 3, name="first")
    second = DenseLayer(first, 2, name="second")
    save(tmp_path / "x", (second, first, second))
    one, two, three = load(tmp_path / "x")
    assert one is three
    assert one.input_layer is two
    check_same([second, first], [one, two])
    (alone,) = store([first])
    check_same(first, alone)


def test_tied_weights():
    """One variable for two layers, whichever comes first in the network."""
    first = DenseLayer(rows(), F, name="first")
    second = DenseLayer(first, F, W=first.W, b=first.b, name="second")
    again = store(second)
    check_same(second, again)
    assert again.W is again.input_layer.W
    assert again.W.name == "first.W"
    low = DenseLayer(rows(), F, name="low")
    maker = DenseLayer(low, F, name="maker")
    user = DenseLayer(rows(), F, W=maker.W, name="user")
    joined = ConcatLayer([user, maker])
    check_same(joined, store(joined))
    user, maker = store(joined).input_layers
    assert user.W is maker.W


def test_tied_weights_of_inner_layers():
    network = tied_heads()
    randomize(network)
    again = store(network)
    read, write = again.heads
    assert read.key.W is write.key.W
    l_in = sequence()
    gru = GRULayer(l_in, H)
    twin = GRULayer(
        l_in, H, resetgate=Gate(W_in=gru.W_in_to_resetgate, W_cell=None), backwards=True
    )
    again, twin = store([gru, twin])
    assert twin.W_in_to_resetgate is again.W_in_to_resetgate


def test_shared_variables_of_ones_own():
    W = pytensor.shared(np.ones((F, F), "float32"), "mine", shape=(None, F))
    network = DenseLayer(DenseLayer(rows(), F, W=W), F, W=W)
    again = store(network)
    check_same(network, again)
    assert again.W is again.input_layer.W
    assert again.W.name == "mine"
    assert again.W.type == W.type


def test_shared_layers_and_inputs():
    x = pt.matrix("x")
    l_in = InputLayer((None, F), x)
    network = ConcatLayer([DenseLayer(l_in, 2), DenseLayer(l_in, 3), InputLayer((None, 4), x)])
    again = store(network)
    one, two, three = again.input_layers
    assert one.input_layer is two.input_layer
    assert three.input_var is one.input_layer.input_var
    assert three.input_var.name == "x"
    assert three.input_var.type == x.type


def test_shared_memory_and_controller():
    network = shared_parts()
    one, two = store(network).input_layers
    assert one.memory is two.memory
    assert one.controller is two.controller
    assert one.heads[1] is two.heads[1]
    assert one.heads[0] is not two.heads[0]


def test_nonlinearities_that_heads_share():
    """One object stays one, and equal ones become one: then the heads are computed together."""
    network = ntm_of_stack(heads=[ReadHead, ReadHead, WriteHead])
    read, other, write = store(network).heads
    assert read.key.nonlinearity is other.key.nonlinearity is write.add.nonlinearity
    assert read.key.nonlinearity is not network.heads[0].key.nonlinearity


# ---- values, names, tags


def test_values_of_every_kind():
    class Odd(Layer):
        def __init__(self, incoming, *values, flag, **kwargs):
            super().__init__(incoming, **kwargs)
            self.values, self.flag = values, flag

    register(Odd)
    values = (
        (1, 2.5, (True, None), [np.float32(0.1), np.int64(3), np.bool_(True)]),
        {"a": {1: (2,)}, (1, 2): "b"},
        [float("inf"), -0.0, 10**30, "Grüße", ""],
        slice(1, None, 2),
        range(3),
        np.arange(3, dtype="int8"),
        partial(nonlinearities.softmax),
        partial(Gate, b=init.Constant(1.0)),
        ReadHead,
    )
    layer = Odd((2, 3), *values, flag={}, name="odd")
    again = store(layer)
    assert again.name == "odd"
    assert again.flag == {}
    assert again.values[:2] == values[:2]
    assert [type(v) for v in again.values[0][3]] == [np.float32, np.int64, np.bool_]
    assert str(again.values[2]) == str(values[2])
    assert again.values[3:5] == values[3:5]
    np.testing.assert_array_equal(again.values[5], values[5])
    assert again.values[5].dtype == np.int8
    assert again.values[6].func is nonlinearities.softmax
    assert again.values[7].keywords["b"].val == 1.0
    assert again.values[8] is ReadHead
    nan = store(Odd((2, 3), float("nan"), flag=np.float64("nan")))
    assert np.isnan(nan.values[0])
    assert type(nan.flag) is np.float64


@pytest.mark.parametrize(
    "initializer",
    [
        init.Normal(0.5, mean=1.0),
        init.Uniform(0.3),
        init.Uniform((0.5, 1.5)),
        init.Uniform(std=0.1, mean=2.0),
        init.Glorot(init.Normal, gain=2.0),
        init.GlorotNormal("relu"),
        init.GlorotUniform(),
        init.He(init.Uniform),
        init.HeNormal(0.5),
        init.HeUniform(),
        init.Constant(0.5),
        init.Constant(np.arange(3)),
        init.Sparse(0.5),
        init.Orthogonal(1.1),
        ntm.init.OneHot(),
    ],
)
def test_initializers(initializer):
    """They make the same numbers again."""
    layer = without_training(DenseLayer(InputLayer((2, 2)), 3, W=initializer))
    again = store(layer)
    check_same(layer, again)
    made = again.get_arguments()["W"]
    assert type(made) is type(initializer)
    samples = []
    for each in (initializer, made):
        lasagne.random.set_rng(np.random.RandomState(0))
        samples.append(each((2, 3)))
    lasagne.random.set_rng(np.random)
    np.testing.assert_array_equal(*samples)


def test_library_initializers_have_a_test():
    tested = test_initializers.pytestmark[0].args[1]
    kinds = {
        k for k in vars(init).values() if isinstance(k, type) and issubclass(k, init.Initializer)
    }
    assert kinds - {type(each) for each in tested} == {init.Initializer}


@pytest.mark.slow
def test_tags_and_names():
    network = ntm_of_stack(name="ntm")
    network = DenseLayer(network, 2, num_leading_axes=2, name="out")
    head = network.input_layer.heads[0]
    for tags in head.key.params.values():
        tags.discard("trainable")
        tags.add("mine")
    network.params[network.W].clear()
    network.W.name = "renamed"
    network.name = "other"
    again = store(network)
    check_same(network, again)
    assert [param.name for param in get_all_params(again, mine=True)] == [
        "write.key.W",
        "write.key.b",
    ]
    assert again.W.name == "renamed"
    assert again.name == "other"


def test_dtypes():
    """The dtype of a given array is kept, and that of floatX where the file was written as well."""
    network = DenseLayer(rows(), 3, W=np.ones((F, 3), "float16"))
    description, arrays = encode_network(network)
    again = decode_network(description, arrays)
    assert (again.W.dtype, again.b.dtype) == ("float16", pytensor.config.floatX)
    with pytensor.config.change_flags(floatX="float32"):
        again = decode_network(description, arrays)
    assert (again.W.dtype, again.b.dtype) == ("float16", "float32")


def test_values_that_jax_left():
    import jax.numpy as jnp

    network = DenseLayer(rows(), 3)
    value = jnp.ones((F, 3), "float32")
    network.W.container.storage[0] = value
    assert store(network).W.get_value().dtype == network.W.dtype


@pytest.mark.slow
def test_random_numbers_are_new():
    network = DropoutLayer(InputLayer((50,)))
    again = store(network)
    one, two = (get_output(layer, np.ones(50)).eval() for layer in (network, again))
    assert (one != two).any()


def test_the_description_is_as_of_then():
    """What happens to the network later does not change it."""
    W = np.ones((F, 3))
    layer = DenseLayer(rows(), 3, W=W)
    _, arrays = encode_network(layer)
    W[:] = 2.0
    layer.W.set_value(W)
    for array in arrays.values():
        assert (array < 2.0).all()


def test_loading_leaves_the_description_and_the_arrays(tmp_path):
    description, arrays = encode_network(ntm_of_stack())
    before = copy.deepcopy((description, arrays))
    network = decode_network(description, {**arrays, "of the optimiser": np.ones(2)})
    for param in get_all_params(network):
        param.set_value(param.get_value() * 0)
    assert before[0] == description
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[1][name])


def test_the_file_is_to_be_read(tmp_path):
    save(tmp_path / "x", DenseLayer(rows(), 3, name="dense"))
    arrays, about = read_arrays(tmp_path / "x")
    assert list(arrays) == ["000 dense.W", "001 dense.b"]
    assert (about["format"], about["version"]) == ("network", 1)
    assert about["layers"][1]["class"] == "DenseLayer"
    assert about["layers"][1]["arguments"]["nonlinearity"] == {"name": "rectify"}
    assert about["layers"][1]["arguments"]["incoming"] == {"layer": 0}


@pytest.mark.slow
def test_deep_networks():
    network = InputLayer((2, 3))
    for _ in range(600):
        network = DenseLayer(network, 3)
    again = store(network)
    assert len(get_all_layers(again)) == 601


# ---- layers that were changed after they were made


def test_changed_arguments():
    layer = DenseLayer(rows(), 3, nonlinearity=nonlinearities.tanh)
    layer.nonlinearity = nonlinearities.sigmoid
    assert store(layer).nonlinearity is nonlinearities.sigmoid
    check_same(layer, store(layer))
    dropout = DropoutLayer(layer)
    dropout.p = 0.1
    assert store(dropout).p == 0.1
    network = make_ntm(gradient_steps=3)
    network.gradient_steps = -1
    assert store(network).gradient_steps == -1


def test_given_lists_that_are_used_again():
    layers = [rows(), rows()]
    network = ConcatLayer(layers)
    layers.append(network)
    check_same(network, store(network))


def change_weights(layer):
    layer.W = pytensor.shared(np.ones((F, 3)))


def change_input(layer):
    layer.input_layer = rows()


def add_parameter(layer):
    layer.add_param(init.Constant(0.0), (3,), name="more")


def remove_parameter(layer):
    del layer.params[layer.b]


def change_units(layer):
    layer.num_leading_axes = None
    layer.input_shape = (B, 7)


@pytest.mark.parametrize(
    "change", [change_weights, change_input, add_parameter, remove_parameter, change_units]
)
def test_changes_that_no_argument_tells(change):
    layer = DenseLayer(rows(), 3, name="dense")
    change(layer)
    with pytest.raises(
        ValueError, match=r"'dense'.*(changed|added or removed) after the layer was"
    ):
        encode_network(DenseLayer(layer, 2))


def test_changed_part():
    network = ntm_of_stack()
    network.heads[0].key.nonlinearity = nonlinearities.tanh
    with pytest.raises(
        ValueError, match=r"'write.key'>, a part of <WriteHead 'write'>: nonlinearity was changed"
    ):
        encode_network(network)


def test_attributes_that_are_no_settings():
    """What a layer notes about itself is not stored, and does no harm."""

    class Noting(DenseLayer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.seen = self._calls = None

        def get_output_for(self, input, **kwargs):
            self.seen, self._calls = super().get_output_for(input, **kwargs), 1
            return self.seen

    register(Noting)
    layer = Noting(rows(), 3, name="noting")
    get_output(layer)
    layer.note = "mine"
    again = store(layer)
    assert again.seen is None
    np.testing.assert_array_equal(again.W.get_value(), layer.W.get_value())


@pytest.mark.slow
def test_copies(tmp_path):
    """A deep copy can be saved; a pickle does not tell what a layer was made from."""
    network = ntm_of_stack(lambda l: DenseLayer(l, H, nonlinearity=pt.tanh))
    check_same(network, store(copy.deepcopy(network)))
    again = pickle.loads(pickle.dumps(network))
    for one, two in zip(get_all_param_values(network), get_all_param_values(again), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="comes from a pickle"):
        encode_network(again)


# ---- classes and functions of one's own


@register
class Doubling(Layer):
    """A layer as a user writes it, with a parameter and layers of its own."""

    def __init__(self, incoming, factor=2.0, name=None):
        super().__init__(incoming, name=name)
        self.factor = factor
        self.inner = batch_norm(DenseLayer(incoming, 3, name="inner"))
        self.parts = {"more": [], "bias": BiasLayer((None, 3), init.Normal(), name="part")}
        self.scale = self.add_param(init.Normal(), (3,), name="scale", mine=True)

    def get_params(self, unwrap_shared=True, **tags):
        parts = [self.inner, self.parts["bias"]]
        inner = get_all_params(parts, unwrap_shared=unwrap_shared, **tags)
        return super().get_params(unwrap_shared, **tags) + inner

    def get_output_shape_for(self, input_shape):
        return (input_shape[0], 3)

    def get_output_for(self, input, **kwargs):
        inner = get_output(self.inner, input, **kwargs)
        return self.parts["bias"].get_output_for(self.factor * inner * self.scale)


@register
class Swish:
    def __init__(self, beta=1.0):
        self.beta = beta

    def __call__(self, x):
        return x * pt.sigmoid(self.beta * x)


@register
class Ramp(init.Initializer):
    def __init__(self, *, slope):
        self.slope = slope

    def sample(self, shape):
        return self.slope * np.arange(np.prod(shape)).reshape(shape)


@register
def cube(x):
    return x**3


def test_own_classes(tmp_path):
    network = Doubling(rows(), name="own", factor=3.0)
    network = DenseLayer(network, 3, W=Ramp(slope=0.5), nonlinearity=Swish(beta=0.7))
    network = NonlinearityLayer(network, cube)
    beta = pytensor.shared(0.5, "beta")
    network = NonlinearityLayer(network, Swish(beta))
    network = NonlinearityLayer(network, Swish(beta))
    randomize(network)
    save(tmp_path / "x", network)
    again = load(tmp_path / "x")
    check_same(network, again)
    assert again.nonlinearity.beta is again.input_layer.nonlinearity.beta


def test_objects_that_hold_layers():
    """Two layers that were given one object know the layer in it."""

    @register
    class Like(init.Initializer):
        def __init__(self, layer):
            self.layer = layer

        def sample(self, shape):
            return self.layer.W.get_value()

    @register
    class Following(DenseLayer):
        def __init__(self, incoming, like):
            super().__init__(incoming, 3, W=like)
            self.followed = like.layer

    layer = DenseLayer(rows(), 3, name="followed")
    like = Like(layer)
    network = ConcatLayer([Following(rows(), like), Following(rows(), like), layer])
    again = store(network)
    check_same(network, again)
    one, two, three = again.input_layers
    assert one.followed is two.followed is three


@pytest.mark.slow
def test_own_controllers_and_heads():
    @register
    class Sum(Controller):
        def step(self, input, reads, hidden, **kwargs):
            seen = pt.concatenate([input, reads], axis=1).sum(axis=1, keepdims=True)
            return [0.5 * hidden + seen]

    @register
    class Reader(ReadHead):
        pass

    @register
    class OwnNTM(NTMLayer):
        def __init__(self, incoming, slots, **kwargs):
            super().__init__(incoming, memory=(slots, M), **kwargs)

    l_in = sequence()
    controller = Sum(l_in, MEMORY_SHAPE, H, 1)
    network = OwnNTM(
        l_in, N, controller=controller, heads=[Reader(controller, memory_shape=MEMORY_SHAPE)]
    )
    randomize(network)
    check_same(network, store(network))


class Secret(Layer):
    pass


class Odd:
    def __init__(self, first):
        self.other = first

    def __call__(self, x):
        return x


def unknown(x):
    return x


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Secret(rows(), name="mine"),
            r"<Secret 'mine'>: Secret is not .*register\(Secret\)",
        ),
        (
            lambda: DenseLayer(rows(), 3, nonlinearity=unknown, name="mine"),
            r"<DenseLayer 'mine'>: argument 'nonlinearity' .*: unknown is not registered.*\(unknown\)",
        ),
        (
            lambda: DenseLayer(rows(), 3, nonlinearity=Odd(1), name="mine"),
            r"'mine'>: argument 'nonlinearity' .*: Odd is not registered.*register\(Odd\)",
        ),
        (
            lambda: DenseLayer(rows(), 3, W=lambda shape: np.ones(shape), name="mine"),
            r"'mine'>: argument 'W' cannot be stored: a lambda has no name",
        ),
        (
            lambda: ExpressionLayer(rows(), lambda x: x + 1, name="mine"),
            r"'mine'>: argument 'function' cannot be stored: a lambda has no name.*register",
        ),
        (
            lambda: ExpressionLayer(rows(), pt.exp, output_shape=lambda shape: shape, name="mine"),
            r"'mine'>: argument 'output_shape' cannot be stored: a lambda has no name",
        ),
        (
            lambda: DenseLayer(rows(), F, W=DenseLayer(rows(), F).W.T, name="mine"),
            r"'mine'>: argument 'W' is an expression.*cannot be stored; give a shared variable",
        ),
        (
            lambda: InputLayer((None, 3), pt.matrix() / 255, name="mine"),
            r"'mine'>: argument 'input_var' is an expression",
        ),
        (
            lambda: GRULayer(sequence(), 3, Gate(b=lambda s: np.ones(s), W_cell=None), name="mine"),
            r"'mine'>: argument 'resetgate' cannot be stored: a lambda",
        ),
        (
            lambda: ConcatLayer((l for l in [rows(), rows()]), name="mine"),
            r"'mine'>: argument 'incomings' cannot be stored: .*generator",
        ),
        (
            lambda: BatchNormLayer(rows(), epsilon=np.complex128(1), name="mine"),
            r"'mine'>: argument 'epsilon' cannot be stored: .*complex",
        ),
        (
            lambda: DenseLayer(rows(), 3, W=np.ones((F, 3), "complex64"), name="mine"),
            r"'mine'>: argument 'W' is an array of dtype complex64",
        ),
        (
            lambda: ntm_of_stack(lambda l: DenseLayer(l, H, nonlinearity=lambda x: x, name="mine")),
            r"'mine'>: argument 'nonlinearity' cannot be stored: a lambda",
        ),
    ],
)
def test_what_cannot_be_stored(build, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "x", build())
    assert not list(tmp_path.iterdir())


def test_arguments_that_an_object_does_not_keep():
    register(Odd)
    with pytest.raises(ValueError, match=r"'nonlinearity' .*has no attribute 'first' that keeps"):
        encode_network(NonlinearityLayer(rows(), Odd(1)))


def test_parameters_that_no_layer_tells():
    @register
    class Hiding(Layer):
        def __init__(self, incoming):
            super().__init__(incoming)
            self.hidden = (pytensor.shared(np.ones(2), "hidden"),)

        def get_params(self, **tags):
            return list(self.hidden)

    with pytest.raises(ValueError, match=r"the parameter 'hidden' is in no layer's `params`"):
        encode_network(Hiding(rows()))


def test_inner_layers_that_others_were_given():
    recurrent = RecurrentLayer(sequence(), H, name="recurrent")
    twin = CustomRecurrentLayer(
        sequence(), recurrent.input_to_hidden, recurrent.hidden_to_hidden, backwards=True
    )
    for order in ([recurrent, twin], [twin, recurrent]):
        with pytest.raises(ValueError, match=r"share the parameter 'recurrent\.\w+\.W'"):
            encode_network(order)


def test_register():
    function = register(lambda x: x + 1, name="plus one")
    layer = store(NonlinearityLayer(rows(), function))
    assert layer.nonlinearity is function
    with pytest.raises(ValueError, match="has no name; give it one"):
        register(lambda x: x)
    with pytest.raises(ValueError, match=r"the name 'plus one' is taken by .*lambda"):
        register(cube, name="plus one")
    with pytest.raises(ValueError, match="the name 'DenseLayer' is taken by"):
        register(type("DenseLayer", (Layer,), {}))
    with pytest.raises(TypeError, match=r"register\(\) takes classes and functions, not 3"):
        register(3)


def test_a_definition_that_runs_again():
    """As a cell of a notebook: layers of the old class are saved, and loaded as of the new one."""

    def define():
        @register
        class Mine(Layer):
            pass

        return Mine

    old, new = define(), define()
    assert type(store(old(rows()))) is new


def test_unknown_class(tmp_path):
    @register
    class Forgotten(DenseLayer):
        pass

    save(tmp_path / "x", Forgotten(rows(), 3, name="mine"))
    del registry._things["Forgotten"]
    with pytest.raises(ValueError, match=r"x: layer 1, Forgotten 'mine': 'Forgotten' .*register"):
        load(tmp_path / "x")


# ---- files that are something else, or were tampered with


def test_files_that_are_no_networks(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
    write_arrays(tmp_path / "x", {}, {"format": "other"})
    with pytest.raises(ValueError, match="x: this is not the description of a network"):
        load(tmp_path / "x")
    write_arrays(tmp_path / "x", {}, [])
    with pytest.raises(ValueError, match="x: this is not the description of a network"):
        load(tmp_path / "x")
    write_arrays(tmp_path / "x", {}, {"format": "network", "version": 2})
    with pytest.raises(ValueError, match="is of version 2, and this ntm-lasagne reads version 1"):
        load(tmp_path / "x")


def tamper(path, value):
    """A function that changes the description at a path, such as ``layers.1.class``."""

    def change(description):
        *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        for key in keys:
            description = description[key]
        description[last] = value

    return change


MAKE = {"make": "Constant", "arguments": {"val": 0.0}}
ARGUMENT = "layers/1/arguments/"
NO_LAYER = {
    "class": "NonlinearityLayer",
    "arguments": {"incoming": {"name": "DenseLayer"}},
    "variables": [],
    "tags": [],
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "layers/1/class",
            "os.system",
            "layer 1, os.system 'dense': 'os.system' is not known here",
        ),
        ("layers/1/class", "rectify", "'rectify' is not a class of layers"),
        ("layers/1/class", "GlorotUniform", "'GlorotUniform' is not a class of layers"),
        ("layers/1/class", ["DenseLayer"], "is not known here"),
        ("layers/1/class", "BiasLayer", "layer 1, BiasLayer 'dense': .*'num_units'"),
        (ARGUMENT + "units", 3, "layer 1, DenseLayer 'dense': .*'units'"),
        (ARGUMENT + "num_units", -3, "layer 1, DenseLayer 'dense': .*positive num_units"),
        (ARGUMENT + "num_units", 4, "'dense.W' is of shape .*, 4.* the file has .*, 3"),
        (ARGUMENT + "num_units", 10**18, "layer 1, DenseLayer 'dense': "),
        (ARGUMENT + "incoming", {"layer": 1}, "there is no layer 1 before it"),
        (ARGUMENT + "incoming", {"layer": -1}, "there is no layer -1"),
        ("layers/1", NO_LAYER, "it stands on <class '.*DenseLayer'>, which is not a layer"),
        (ARGUMENT + "incoming", {"layer": True}, "there is no layer True"),
        (ARGUMENT + "incoming", {"layer": "0"}, "there is no layer '0'"),
        (ARGUMENT + "nonlinearity", {"name": "eval"}, "'eval' is not known here"),
        (ARGUMENT + "nonlinearity", {"name": ["x"]}, "is not known here"),
        (ARGUMENT + "nonlinearity", {"call": "rectify"}, "there is no kind of value 'call'"),
        (ARGUMENT + "nonlinearity", {}, "there is no kind of value None"),
        (ARGUMENT + "W", {"make": "rectify", "arguments": {}}, "'rectify' is not a class"),
        (ARGUMENT + "W", {"make": "DenseLayer", "arguments": {}}, "'DenseLayer' is not a class of"),
        (ARGUMENT + "W", {"make": "Constant"}, "layer 1, DenseLayer 'dense': KeyError.'arguments'"),
        (ARGUMENT + "W", {"make": "Constant", "arguments": {"v": 1}}, "'dense': .*'v'"),
        (ARGUMENT + "W", {"array": "none"}, "there is no array 'none'"),
        (ARGUMENT + "W", {"variable": 1}, "'dense.*"),
        (ARGUMENT + "W", {"variable": 9}, "there is no variable 9"),
        (ARGUMENT + "W", {"numpy": "object", "value": 1}, "there is no dtype 'object'"),
        (ARGUMENT + "W", {"partial": {"name": "eval"}, "arguments": {}}, "'eval' is not known"),
        (ARGUMENT + "name", {"variable": 0}, "a name must be printable characters"),
        (ARGUMENT + "name", {"tuple": ["x"]}, "a name must be printable characters"),
        (ARGUMENT + "name", 7, "a name must be printable characters"),
        (
            ARGUMENT + "name",
            "a\nb",
            r"a name must be printable characters, 1000 at most, not 'a\\nb'",
        ),
        (ARGUMENT + "name", "a" * 1001, "a name must be printable characters, 1000 at most"),
        ("variables/0/name", "\x1b[31m", "a name must be printable characters"),
        ("variables/0/name", ["x"], "a name must be printable characters"),
        ("inputs/0/name", "\u202e", "a name must be printable characters"),
        ("layers/1/tags", [["\0"], []], "a name must be printable characters"),
        ("layers/1/tags", ["trainable", []], "tags must be a list of names"),
        ("inputs/0/shape", [3, "x"], "this is not a shape"),
        ("inputs/0/shape", [None] * 65, "this is not a shape"),
        ("inputs/0/shape", 3, "this is not a shape: 3"),
        (ARGUMENT + "num_units", {"float": "3.5"}, "there is no number '3.5'"),
        (ARGUMENT + "num_units", {"numpy": "int64", "value": [3]}, r"\[3\] is not a number"),
        (ARGUMENT + "W", {"array": "000 dense.W"}, "the array '000 dense.W' is used twice"),
        ("variables/1/array", "000 dense.W", "the array '000 dense.W' is used twice"),
        (ARGUMENT + "x", "a" * 10_001, "a string of 10001 characters, and 10000 are the most"),
        (ARGUMENT + "b", None, "it holds 1 variables, the file has 2"),
        ("layers/1/variables", [1, 0], "is of shape"),
        ("layers/1/variables", [0, 0], "is not the variable of the other layer"),
        ("layers/1/variables", [0, 2], "there is no variable 2"),
        ("layers/1/tags", [[]], "it has 2 parameters, the file has 1"),
        ("layers/1/tags", 3, "layer 1, DenseLayer 'dense'"),
        ("layers/1/arguments", 3, "is damaged"),
        ("layers/1", None, "is damaged"),
        ("layers", None, "is damaged"),
        ("output", 7, "there is no layer 7"),
        ("output", [0, None], "there is no layer None"),
        ("variables/0/array", "none", "there is no array 'none'"),
        ("variables", {}, "there is no variable 0"),
        ("inputs/0/dtype", "object", "there is no dtype 'object'"),
        ("inputs", [], "layer 0, InputLayer: there is no input 0"),
    ],
)
def test_tampered_descriptions(path, value, message):
    network = DenseLayer(InputLayer((None, F), pt.matrix()), 3, name="dense")
    description, arrays = encode_network(network)
    tamper(path, value)(description)
    with pytest.raises(ValueError, match=message):
        decode_network(json.loads(json.dumps(description)), arrays)


def test_names_that_parts_got_from_a_variable():
    """Heads that a layer makes have names, too, which become part of messages."""
    variable = pytensor.shared(np.zeros(F), name='\\"); abort(); //')
    network = NTMLayer(DropoutLayer(sequence(), p=0.1), MEMORY_SHAPE, lambda l: DenseLayer(l, H), [
        WriteHead, ReadHead,
    ])  # fmt: skip
    description, arrays = encode_network([network, BiasLayer(rows(), variable)])
    layer = description["layers"][description["output"][0]]
    number = next(
        k for k, each in enumerate(description["variables"]) if each["name"] == variable.name
    )
    layer["arguments"]["controller"] = {
        "partial": {"name": "DenseLayer"},
        "arguments": {"num_units": H},
    }
    layer["arguments"]["heads"] = [
        {"partial": {"name": "ReadHead"}, "arguments": {"name": {"variable": number}}}
    ]
    with pytest.raises(ValueError, match="NTMLayer: a name must be printable characters"):
        decode_network(description, arrays)


def deep(value=0):
    for _ in range(101):
        value = (value,)
    return value


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DenseLayer(rows(), 3, name="a\tb"), r"argument 'name' .* printable .* 'a\\tb'"),
        (lambda: DenseLayer(rows(), 3, name=7), "argument 'name' cannot be stored: a name must be"),
        (lambda: BiasLayer(rows(), pytensor.shared(np.zeros(F), "\n")), "a name must be"),
        (lambda: InputLayer((2, 3), pt.matrix("\n")), "argument 'input_var' .* a name must be"),
        (lambda: EveryKind(rows(), deep()), "argument 'value' .* nested more than 100 deep"),
        (lambda: EveryKind(rows(), deep(deep(deep()))), "argument 'value' .* nested more than"),
        (lambda: EveryKind(rows(), "a" * 10_001), "argument 'value' .* string of 10001 characters"),
        (lambda: EveryKind(rows(), range(10_001)), "argument 'value' .* goes beyond 10000"),
    ],
)
def test_what_is_beyond_the_bounds(build, message):
    register(EveryKind)
    with pytest.raises(ValueError, match=message):
        encode_network(build())


class EveryKind(Layer):
    def __init__(self, incoming, value=None, **kwargs):
        super().__init__(incoming, **kwargs)
        self.value = value


def test_initializers_do_not_run():
    """No numbers are drawn, and none is made of a layer's parameters but those in the file."""

    class Costly(init.Initializer):
        def sample(self, shape):
            return costs(shape)

    register(Costly)
    costs = np.ones
    network = DenseLayer(DenseLayer(rows(), 3, W=Costly()), 4, W=init.Orthogonal(), name="dense")
    description, arrays = encode_network(network)
    costs = None
    before = lasagne.random.get_rng().get_state()[2]
    again = decode_network(description, arrays)
    assert lasagne.random.get_rng().get_state()[2] == before
    for one, other in zip(get_all_param_values(network), get_all_param_values(again), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_values_that_are_not_finite():
    description, arrays = encode_network(DenseLayer(rows(), 3, name="dense"))
    arrays["001 dense.b"][1] = np.nan
    with pytest.raises(ValueError, match=r"the parameter 'dense\.b' holds .* not finite"):
        decode_network(description, arrays)


def test_values_of_another_shape_or_kind():
    description, arrays = encode_network(DenseLayer(rows(), 3, name="dense"))
    for wrong in (np.zeros((3, 3)), np.zeros((F, 3), int)):
        with pytest.raises(
            ValueError, match=r"'dense.W' is of shape .* and dtype .*, the file has"
        ):
            decode_network(description, {**arrays, "000 dense.W": wrong})
    del arrays["001 dense.b"]
    with pytest.raises(ValueError, match=r"there is no array '001 dense\.b'"):
        decode_network(description, arrays)


@pytest.mark.slow
def test_nesting_without_end():
    description, arrays = encode_network(DenseLayer(rows(), 3, name="dense"))
    value = []
    for _ in range(100_000):
        value = [value]
    description["layers"][1]["arguments"]["W"] = value
    with pytest.raises(ValueError, match="layer 1, DenseLayer 'dense': it is nested more than 100"):
        decode_network(description, arrays)


def test_missing_parts_of_descriptions():
    description, arrays = encode_network(DenseLayer(rows(), 3))
    for key in ("layers", "variables", "inputs", "output"):
        rest = {name: value for name, value in description.items() if name != key}
        with pytest.raises(ValueError, match=f"the description of the network is damaged: .*{key}"):
            decode_network(rest, arrays)
