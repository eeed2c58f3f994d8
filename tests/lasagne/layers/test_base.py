from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.init import Constant
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    DimshuffleLayer,
    ElemwiseSumLayer,
    EmbeddingLayer,
    ExpressionLayer,
    FlattenLayer,
    GRULayer,
    InputLayer,
    InverseLayer,
    Layer,
    LSTMLayer,
    MergeLayer,
    NINLayer,
    PadLayer,
    RecurrentLayer,
    RepeatLayer,
    ReshapeLayer,
    SliceLayer,
    get_all_layers,
    get_output_shape,
)
from ntm import NTMLayer, ReadHead, WriteHead

# A layer of each kind on an input of three axes, or of two of such for the layers that merge
KINDS = {
    "Layer": Layer,
    "dense": lambda l: DenseLayer(l, 5, num_leading_axes=2),
    "network in network": lambda l: NINLayer(l, 5),
    "embedding": lambda l: EmbeddingLayer(l, 10, 5),
    "flatten": FlattenLayer,
    "reshape": lambda l: ReshapeLayer(l, ([0], -1)),
    "reshape with copies": lambda l: ReshapeLayer(l, (-1, [1], 2, [0])),
    "dimshuffle": lambda l: DimshuffleLayer(l, (1, "x", 0, 2)),
    "pad": lambda l: PadLayer(l, 1, batch_ndim=0),
    "item": lambda l: SliceLayer(l, 1, axis=0),
    "slice": lambda l: SliceLayer(l, slice(0, 2), axis=0),
    "expression": lambda l: ExpressionLayer(l, lambda x: x.mean(1), output_shape="auto"),
    "inverse": lambda l: InverseLayer(flat := FlattenLayer(l), flat),
    "recurrent": lambda l: RecurrentLayer(l, 5),
    "concat": lambda l: ConcatLayer([l, l], axis=0),
    "cropped concat": lambda l: ConcatLayer([l, l], cropping=["lower"]),
    "sum": lambda l: ElemwiseSumLayer([l, l]),
    "cropped sum": lambda l: ElemwiseSumLayer([l, l], cropping=["center"]),
    "repeated": lambda l: RepeatLayer([l, l]),
    "memory": lambda l: NTMLayer(l, (6, 3), lambda q: DenseLayer(q, 5), [WriteHead, ReadHead]),
}


@pytest.mark.parametrize("name", KINDS)
def test_output_shape_for_symbolic_sizes(name):
    """A symbolic size is as unknown as ``None``."""
    layer = KINDS[name](InputLayer((None, 3, 4)))
    batch = pt.tensor3().shape[0]
    l_in = get_all_layers(layer)[0]
    assert get_output_shape(layer, {l_in: (batch, 3, 4)}) == layer.output_shape
    if not isinstance(layer, MergeLayer):
        assert layer.get_output_shape_for((batch, 3, 4)) == layer.output_shape
    elif len(layer.input_shapes) == 2:
        assert layer.get_output_shape_for([(batch, 3, 4)] * 2) == layer.output_shape


class TestLayer:
    @pytest.fixture
    def layer(self):
        return Layer(Mock(output_shape=(None,)))

    @pytest.fixture
    def named_layer(self):
        return Layer(Mock(output_shape=(None,)), name="layer_name")

    def test_input_layer_and_shape(self, layer):
        assert layer.input_shape == layer.input_layer.output_shape == (None,)

    def test_made_from_a_shape(self):
        layer = Layer((None, 20))
        assert layer.input_layer is None
        assert layer.input_shape == layer.output_shape == (None, 20)

    def test_name(self, layer, named_layer):
        assert layer.name is None
        assert named_layer.name == "layer_name"
        assert repr(layer) == "<Layer>"
        assert repr(named_layer) == "<Layer 'layer_name'>"

    def test_output_shape_is_that_of_the_input(self, layer):
        shape = Mock()
        assert layer.get_output_shape_for(shape) is shape

    def test_no_parameters_at_first(self, layer):
        assert layer.get_params() == []
        assert layer.params == {}
        assert layer.get_output_kwargs == []

    def test_get_params_by_tags(self, layer):
        a = layer.add_param(np.zeros((2, 5)), (2, 5), name="a", tag1=True, tag2=False)
        b = layer.add_param(np.zeros((3, 5)), (3, 5), name="b", tag1=True, tag2=True)
        c = layer.add_param(np.zeros((4, 5)), (4, 5), name="c", tag1=False, tag2=True)
        assert layer.get_params() == [a, b, c]
        assert layer.get_params(tag1=True) == [a, b]
        assert layer.get_params(tag2=True) == [b, c]
        assert layer.get_params(tag1=True, tag2=True) == [b]
        assert layer.get_params(tag1=True, tag2=False) == [a]
        assert layer.get_params(tag2=False) == [a]
        assert layer.get_params(unheard_of=True) == []
        assert layer.get_params(unheard_of=False) == [a, b, c]

    def test_get_params_of_expressions(self, layer):
        x, y, z = (pytensor.shared(0.0, name=name) for name in "xyz")
        w1 = layer.add_param(x**2 + pt.log(y), (), tag1=True)
        w2 = layer.add_param(pt.matrix(), (10, 10), tag1=True)
        w3 = layer.add_param(z * 2, (), tag2=True)
        assert list(layer.params) == [w1, w2, w3]
        assert layer.get_params() == [x, y, z]
        assert layer.get_params(unwrap_shared=False) == [w1, w2, w3]
        assert layer.get_params(tag1=True) == [x, y]
        assert layer.get_params(tag2=True) == [z]

    def test_default_tags(self, layer):
        assert layer.params[layer.add_param(np.zeros(3), (3,))] == {"trainable", "regularizable"}
        assert layer.params[layer.add_param(np.zeros(3), (3,), trainable=False)] == {
            "regularizable"
        }
        assert layer.params[
            layer.add_param(np.zeros(3), (3,), regularizable=False, extra=True)
        ] == {
            "trainable",
            "extra",
        }

    def test_parameter_names(self, layer, named_layer):
        assert layer.add_param(np.zeros(3), (3,), name="A").name == "A"
        assert named_layer.add_param(np.zeros(3), (3,), name="A").name == "layer_name.A"
        assert named_layer.add_param(np.zeros(3), (3,)).name is None

    def test_parameter_specifications(self, layer):
        shared = pytensor.shared(np.ones((2, 3)))
        expression = 2 * shared
        assert layer.add_param(shared, (2, 3)) is shared
        assert layer.add_param(expression, (2, 3)) is expression
        np.testing.assert_array_equal(
            layer.add_param(Constant(4), (2, 3)).get_value(), np.full((2, 3), 4.0)
        )
        initializer = Mock(return_value=np.eye(3))
        np.testing.assert_array_equal(layer.add_param(initializer, (3, 3)).get_value(), np.eye(3))
        initializer.assert_called_once_with((3, 3))

    def test_parameter_of_wrong_shape(self, named_layer):
        with pytest.raises(ValueError, match=r"layer_name\.W.*should be \(3, 2\)"):
            named_layer.add_param(np.zeros((2, 3)), (3, 2), name="W")

    def test_get_output_for_is_abstract(self, layer):
        with pytest.raises(NotImplementedError, match="get_output_for"):
            layer.get_output_for(Mock())

    @pytest.mark.parametrize("shape", [(None, -1, -1), (None, 0, 0)])
    def test_non_positive_dimension(self, shape):
        with pytest.raises(
            ValueError, match=r"Cannot create Layer with a non-positive input_shape dimension.*'l'"
        ):
            Layer(Mock(output_shape=shape), name="l")
        with pytest.raises(ValueError, match="non-positive"):
            Layer(shape)

    @pytest.mark.parametrize("shape", [(None, 2.0), ("x",), (pt.iscalar(),)])
    def test_dimension_of_wrong_type(self, shape):
        with pytest.raises(ValueError, match="neither an integer nor None"):
            Layer(shape)

    def test_numpy_dimensions(self):
        assert Layer(tuple(np.array([2, 3]))).output_shape == (2, 3)

    @pytest.mark.parametrize("incoming", [None, [2, 3], 5])
    def test_incoming_of_wrong_type(self, incoming):
        with pytest.raises(TypeError, match="needs a Layer or a shape tuple"):
            Layer(incoming)

    def test_unknown_keyword(self):
        with pytest.raises(TypeError, match="nmae"):
            Layer((1,), nmae="x")

    def test_symbolic_output_shape(self):
        class WrongLayer(Layer):
            def get_output_shape_for(self, input_shape):
                return pt.vector().shape

        class AlsoWrongLayer(Layer):
            def get_output_shape_for(self, input_shape):
                return (pt.vector().shape[0],)

        for layer in WrongLayer((None,)), AlsoWrongLayer((None,)):
            with pytest.raises(ValueError, match="symbolic output shape"):
                layer.output_shape  # noqa: B018


class TestMergeLayer:
    @pytest.fixture
    def layer(self):
        return MergeLayer([Mock(), Mock()])

    def test_input_shapes(self, layer):
        assert layer.input_shapes == [each.output_shape for each in layer.input_layers]

    def test_made_from_a_shape(self):
        layer = MergeLayer([(None, 20), Mock(InputLayer, output_shape=(None,))])
        assert layer.input_layers[0] is None
        assert layer.input_layers[1] is not None
        assert layer.input_shapes == [(None, 20), (None,)]

    def test_get_params(self, layer):
        assert layer.get_params() == []

    def test_abstract_methods(self, layer):
        with pytest.raises(NotImplementedError, match="get_output_shape_for"):
            layer.get_output_shape_for(Mock())
        with pytest.raises(NotImplementedError, match="get_output_for"):
            layer.get_output_for(Mock())

    def test_output_shape_of_an_abstract_layer(self, layer):
        with pytest.raises(NotImplementedError):
            layer.output_shape  # noqa: B018
        with pytest.raises(NotImplementedError):
            Layer(layer)
        assert not hasattr(layer, "output_shape")

    def test_bad_input_shapes(self):
        with pytest.raises(ValueError, match="non-positive"):
            MergeLayer([(2, 3), (2, 0)])
        with pytest.raises(TypeError, match="needs a Layer or a shape tuple"):
            MergeLayer([(2, 3), [2, 3]])

    def test_symbolic_output_shape(self):
        class WrongLayer(MergeLayer):
            def get_output_shape_for(self, input_shapes):
                return pt.vector().shape

        with pytest.raises(ValueError, match="symbolic output shape"):
            WrongLayer([(None,)]).output_shape  # noqa: B018


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda l: DenseLayer(l, 10 / 2, name="d"), r"<DenseLayer 'd'> .*num_units, got 5.0 .*5\)"),
        (lambda l: DenseLayer(l, "5", name="d"), r"<DenseLayer 'd'> .* num_units, got '5'$"),
        (
            lambda l: DenseLayer(l, 5, num_leading_axes=1.0),
            r"<DenseLayer> .* num_leading_axes, got",
        ),
        (lambda l: NINLayer(l, 10 / 2, name="d"), r"<NINLayer 'd'> .* num_units, got 5.0"),
        (lambda l: EmbeddingLayer(l, 4, 10 / 2, name="d"), r"<EmbeddingLayer 'd'> .* output_size"),
        (lambda l: FlattenLayer(l, 4 / 2, name="d"), r"<FlattenLayer 'd'> .* outdim, got 2.0"),
        (lambda l: ConcatLayer([l, l], 2 / 2, name="d"), r"<ConcatLayer 'd'> .* axis, got 1.0"),
        (lambda l: RecurrentLayer(l, 10 / 2, name="d"), r"<RecurrentLayer 'd'> .* num_units"),
        (lambda l: LSTMLayer(l, 10 / 2, name="d"), r"<LSTMLayer 'd'> .* num_units, got 5.0"),
        (lambda l: GRULayer(l, 10 / 2, name="d"), r"<GRULayer 'd'> .* num_units, got 5.0"),
        (lambda l: GRULayer(l, 5, gradient_steps=4 / 2), r"<GRULayer> .* gradient_steps, got 2.0"),
        (lambda l: Layer(l, "d").add_param(np.ones, (5.0,), "W"), r"<Layer 'd'>: .* parameter d.W"),
    ],
)
def test_sizes_that_are_no_integers(build, message):
    with pytest.raises(ValueError, match=message):
        build(InputLayer((2, 3, 4)))
