import warnings
from unittest.mock import Mock, PropertyMock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import (
    DenseLayer,
    ElemwiseSumLayer,
    InputLayer,
    Layer,
    MergeLayer,
    count_params,
    get_all_layers,
    get_all_param_values,
    get_all_params,
    get_output,
    get_output_shape,
    set_all_param_values,
)


def mock_of(layer, *input_layers, **attributes):
    """A stand-in with the attributes of a layer, linked to other stand-ins."""
    mock = Mock(layer, **{"output_shape": (None,), "get_output_kwargs": [], **attributes})
    if isinstance(layer, MergeLayer):
        mock.input_layers = list(input_layers)
    elif input_layers:
        (mock.input_layer,) = input_layers
    return mock


@pytest.fixture
def chain():
    """l1 --> l2 --> l3, where l3 says that it takes an argument `kwarg`."""
    l1 = mock_of(InputLayer((None,)))
    l2 = mock_of(Layer(l1), l1)
    l3 = mock_of(Layer(l2), l2, get_output_kwargs=["kwarg"])
    return l1, l2, l3


@pytest.fixture
def merging():
    """l1[i] --> l2[i] --> l3, for i in 0, 1."""
    l1 = [mock_of(InputLayer((None,))) for _ in range(2)]
    l2 = [mock_of(Layer(each), each) for each in l1]
    l3 = mock_of(MergeLayer(l2), *l2, get_output_kwargs=["kwarg"])
    return l1, l2, l3


@pytest.fixture
def floating():
    """A layer that was made from a shape."""
    layer = Layer((None, 20))
    layer.get_output_for = Mock()
    layer.get_output_shape_for = Mock()
    return layer


@pytest.fixture
def network():
    l1 = InputLayer((10, 20))
    l2 = DenseLayer(l1, 30)
    return l1, l2, DenseLayer(l2, 40)


class TestGetAllLayers:
    def test_stack(self):
        l1 = InputLayer((10, 20))
        l2 = Layer(l1)
        l3 = Layer(l2)
        assert get_all_layers(l3) == [l1, l2, l3]
        assert get_all_layers([l3]) == [l1, l2, l3]
        assert get_all_layers((l3, l1, l2)) == [l1, l2, l3]
        assert get_all_layers(l3, treat_as_input=[l2]) == [l2, l3]
        assert get_all_layers([l1, l3], treat_as_input=[l2]) == [l1, l2, l3]
        assert get_all_layers(l3, treat_as_input=[l3]) == [l3]

    def test_merge(self):
        l1 = InputLayer((10, 20))
        l2 = Layer(l1)
        l3 = Layer(l2)
        l4 = ElemwiseSumLayer([l2, l3])
        l5 = Layer(l4)
        assert get_all_layers(l5) == [l1, l2, l3, l4, l5]
        assert get_all_layers([l4, l3]) == [l1, l2, l3, l4]
        assert get_all_layers(l5, treat_as_input=[l4]) == [l4, l5]
        assert get_all_layers(l5, treat_as_input=[l2]) == [l2, l3, l4, l5]
        assert get_all_layers(l4, treat_as_input=[l3]) == [l1, l2, l3, l4]

    def test_split(self):
        l1 = InputLayer((10, 20))
        l2 = Layer(l1)
        l3 = Layer(l2)
        l4 = Layer(l1)
        assert get_all_layers(l4) == [l1, l4]
        assert get_all_layers([l3, l4]) == [l1, l2, l3, l4]
        assert get_all_layers([l4, l3]) == [l1, l4, l2, l3]
        assert get_all_layers([l3, l4], treat_as_input=[l2]) == [l2, l3, l1, l4]

    def test_order_of_inputs(self):
        a, b = InputLayer((1, 2)), InputLayer((1, 2))
        top = ElemwiseSumLayer([b, Layer(a), b])
        assert get_all_layers(top) == [b, a, top.input_layers[1], top]

    def test_shapes_in_place_of_layers(self):
        layer = ElemwiseSumLayer([(2, 3), InputLayer((2, 3))])
        assert get_all_layers(layer) == [layer.input_layers[1], layer]
        layer = Layer((2, 3))
        assert get_all_layers(layer) == [layer]

    def test_deep_network(self):
        layers = [InputLayer((1,))]
        for _ in range(3000):
            layers.append(Layer(layers[-1]))
        assert get_all_layers(layers[-1]) == layers


class TestGetOutput:
    def test_input_layer(self):
        layer = InputLayer((3, 2))
        x = pt.matrix()
        assert get_output(layer) is layer.input_var
        assert get_output(layer, x) is x
        assert get_output(layer, {layer: x}) is x
        np.testing.assert_array_equal(get_output(layer, [[1, 2, 3]]).eval(), [[1, 2, 3]])
        np.testing.assert_array_equal(get_output(layer, {layer: [[1, 2]]}).eval(), [[1, 2]])

    def test_several_layers(self, chain):
        l1, l2, l3 = chain
        assert get_output([l3, l1]) == [l3.get_output_for.return_value, l1.input_var]
        assert l2.get_output_for.call_count == 1

    @pytest.mark.parametrize("inputs", [None, {}])
    def test_chain(self, chain, inputs):
        l1, l2, l3 = chain
        assert get_output(l3, inputs) is l3.get_output_for.return_value
        l3.get_output_for.assert_called_with(l2.get_output_for.return_value)
        l2.get_output_for.assert_called_with(l1.input_var)

    def test_chain_with_a_single_input(self, chain):
        _, l2, l3 = chain
        x, kwarg = pt.matrix(), object()
        assert get_output(l3, x, kwarg=kwarg) is l3.get_output_for.return_value
        l3.get_output_for.assert_called_with(l2.get_output_for.return_value, kwarg=kwarg)
        l2.get_output_for.assert_called_with(x, kwarg=kwarg)

    @pytest.mark.parametrize("replaced", [0, 1, 2])
    def test_chain_with_a_replaced_layer(self, chain, replaced):
        input_var = PropertyMock()
        type(chain[0]).input_var = input_var
        x = pt.matrix()
        output = get_output(chain[2], {chain[replaced]: x})
        for position in (1, 2):
            layer, below = chain[position], chain[position - 1]
            if position <= replaced:
                layer.get_output_for.assert_not_called()
            else:
                expected = x if position == replaced + 1 else below.get_output_for.return_value
                layer.get_output_for.assert_called_with(expected)
        assert output is (x if replaced == 2 else chain[2].get_output_for.return_value)
        assert input_var.call_count == 0

    def test_merge(self, merging):
        l1, l2, l3 = merging
        assert get_output(l3) is l3.get_output_for.return_value
        l3.get_output_for.assert_called_with([each.get_output_for.return_value for each in l2])
        for below, layer in zip(l1, l2, strict=True):
            layer.get_output_for.assert_called_with(below.input_var)

    def test_merge_with_replaced_layers(self, merging):
        l1, l2, l3 = merging
        x, y = pt.matrix(), pt.matrix()
        get_output(l3, {l1[0]: x, l2[1]: y})
        l2[0].get_output_for.assert_called_with(x)
        l3.get_output_for.assert_called_with([l2[0].get_output_for.return_value, y])

    def test_single_input_for_several_input_layers(self, merging):
        with pytest.raises(ValueError, match="single input for a network with 2 input layers"):
            get_output(merging[2], pt.matrix())

    def test_free_floating_layer(self, floating):
        for inputs in None, [1, 2], {Mock(): [1, 2]}:
            with pytest.raises(
                ValueError,
                match=r"get_output\(\) was called without giving an input expression for the "
                "free-floating layer <Layer>",
            ):
                get_output(floating, inputs)
        x = pt.matrix()
        assert get_output(floating, {floating: x}) is x
        assert get_output(floating, {None: x}) is floating.get_output_for.return_value
        floating.get_output_for.assert_called_with(x)

    def test_free_floating_input_of_a_merge(self):
        layer = ElemwiseSumLayer([(2, 3), InputLayer((2, 3))])
        with pytest.raises(ValueError, match="free-floating layer <ElemwiseSumLayer>"):
            get_output(layer)
        ones = np.ones((2, 3))
        output = get_output(layer, {None: ones, layer.input_layers[1]: ones})
        np.testing.assert_array_equal(output.eval(), 2 * ones)

    @pytest.mark.parametrize("fixture", ["chain", "merging"])
    def test_unused_keyword(self, fixture, request):
        l3 = request.getfixturevalue(fixture)[2]
        with pytest.warns(UserWarning, match="unused kwargs:\n\tkwagg.*perhaps you meant kwarg"):
            get_output(l3, kwagg=object())
        with pytest.warns(UserWarning, match="unused kwargs:\n\tsomething$"):
            get_output(l3, something=object())

    def test_keywords_in_the_signature(self):
        class MyLayer(Layer):
            def get_output_for(self, input, momentum=None, **kwargs):
                return input

        with pytest.warns(UserWarning, match=r"momentun \(perhaps you meant momentum\)"):
            get_output(MyLayer(InputLayer((1, 2))), momentun=1)

    def test_used_keywords(self, chain):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            get_output(chain[2])
            get_output(chain[2], kwarg=1, deterministic=True)
            get_output(InputLayer((1, 2)), deterministic=True)


@pytest.mark.parametrize("key", ["x", 0, pt.matrix("x"), DenseLayer], ids=str)
def test_keys_that_are_no_layers(key, network):
    for function, value in ((get_output, pt.matrix()), (get_output_shape, (3, 20))):
        with pytest.raises(TypeError) as caught:
            function(network[2], {network[0]: value, key: value})
        for part in (f"{function.__name__}()", "keys are layers", f"{key!r}", type(key).__name__):
            assert part in str(caught.value)
    with pytest.raises(TypeError, match=r"get_all_layers\(\)"):
        get_all_layers(network[2], treat_as_input=[key])


def test_layers_that_are_not_needed_may_be_keys(network):
    x, (l1, l2, _) = pt.matrix(), network
    stranger = InputLayer((None, 20))
    assert get_output(l1, {l1: x, l2: pt.matrix(), stranger: pt.matrix(), None: pt.matrix()}) is x
    assert get_output_shape(l2, {l1: (7, 20), stranger: (1, 2)}) == (7, 30)


@pytest.mark.parametrize("given", ["l_out", None, 3, pt.matrix("x"), [None], DenseLayer], ids=str)
def test_what_is_asked_for_is_no_layer(given, network):
    for function in (
        get_all_layers,
        get_output,
        get_output_shape,
        get_all_params,
        get_all_param_values,
        count_params,
        lambda layer: set_all_param_values(layer, []),
    ):
        for each in (given, [network[2], given]):
            with pytest.raises(TypeError, match="expected a layer or a list of layers, got"):
                function(each)


class Traced(Layer):
    """It adds `offset`, which is its own, and may return a list in place of the output."""

    own_kwargs = ("offset",)
    result_kwargs = ("trace",)

    def get_output_for(self, input, offset=0, trace=False, scale=1, **kwargs):
        output = scale * input + offset
        return [input, output] if trace else output


class TestOwnKeywords:
    @pytest.fixture
    def stack(self):
        l_in = InputLayer((None,), pt.constant(np.array([1.0, 2.0])))
        lower = Traced(l_in, name="lower")
        upper = Traced(lower, name="upper")
        return lower, upper, ElemwiseSumLayer([upper, lower])

    def test_they_are_for_the_layer_asked(self, stack):
        _lower, upper, _ = stack
        np.testing.assert_array_equal(get_output(upper, offset=5).eval(), [6, 7])
        np.testing.assert_array_equal(get_output(upper, offset=5, scale=2).eval(), [9, 13])
        below, output = get_output(upper, trace=True)
        np.testing.assert_array_equal(below.eval(), [1, 2])
        np.testing.assert_array_equal(output.eval(), [1, 2])

    def test_they_are_for_each_layer_asked(self, stack):
        (x, low), (below, up) = get_output(stack[:2], offset=5, trace=True)
        for value, expected in ((x, [1, 2]), (low, [6, 7]), (below, [6, 7]), (up, [11, 12])):
            np.testing.assert_array_equal(value.eval(), expected)

    def test_layers_above_get_the_output(self, stack):
        lower, _, top = stack
        (_, low), total = get_output([lower, top], offset=5, trace=True)
        np.testing.assert_array_equal(low.eval(), [6, 7])
        np.testing.assert_array_equal(total.eval(), [12, 14])

    def test_they_are_not_for_layers_below(self, stack):
        for name, value in (("offset", 5), ("trace", True)):
            message = rf"get_output\(\): {name} is for a layer .*ElemwiseSumLayer.*<Traced 'upper'>"
            with pytest.raises(ValueError, match=message):
                get_output(stack[2], **{name: value})
        np.testing.assert_array_equal(get_output(stack[2], trace=False).eval(), [2, 4])
        with pytest.warns(UserWarning, match=r"tracce \(perhaps you meant trace\)"):
            get_output(stack[1], tracce=True)


class TestGetOutputShape:
    def test_input_layer(self):
        layer = InputLayer((3, 2))
        assert get_output_shape(layer) == (3, 2)
        assert get_output_shape(layer, (4, 5, 6)) == (4, 5, 6)
        assert get_output_shape(layer, {layer: (4, 5, 6)}) == (4, 5, 6)

    @pytest.mark.parametrize("input_shapes", [None, {}])
    def test_chain(self, chain, input_shapes):
        l1, l2, l3 = chain
        assert get_output_shape(l3, input_shapes) is l3.output_shape
        assert get_output_shape([l3, l1], input_shapes) == [l3.output_shape, l1.output_shape]
        l3.get_output_shape_for.assert_not_called()
        l2.get_output_shape_for.assert_not_called()

    def test_chain_with_a_single_shape(self, chain):
        _, l2, l3 = chain
        assert get_output_shape(l3, (3, 4)) is l3.get_output_shape_for.return_value
        l3.get_output_shape_for.assert_called_with(l2.get_output_shape_for.return_value)
        l2.get_output_shape_for.assert_called_with((3, 4))

    def test_chain_with_a_replaced_layer(self, chain):
        l1, l2, l3 = chain
        shape = (4, 5, 6)
        assert get_output_shape(l3, {l3: shape}) is shape
        l3.get_output_shape_for.assert_not_called()
        get_output_shape(l3, {l2: shape})
        l3.get_output_shape_for.assert_called_with(shape)
        l2.get_output_shape_for.assert_not_called()
        get_output_shape(l3, {l1: shape})
        l2.get_output_shape_for.assert_called_with(shape)

    def test_merge(self, merging):
        l1, l2, l3 = merging
        get_output_shape(l3, {l1[0]: (1, 2), l2[1]: (3, 4)})
        l2[0].get_output_shape_for.assert_called_with((1, 2))
        l3.get_output_shape_for.assert_called_with(
            [l2[0].get_output_shape_for.return_value, (3, 4)]
        )

    def test_single_shape_for_several_input_layers(self, merging):
        with pytest.raises(ValueError, match="single input for a network with 2 input layers"):
            get_output_shape(merging[2], (3, 4))

    def test_free_floating_layer(self, floating):
        with pytest.raises(ValueError, match=r"get_output_shape\(\) .*free-floating layer"):
            get_output_shape(floating, {Mock(): (1, 2)})
        shape = (4, 5, 6)
        assert get_output_shape(floating, {floating: shape}) is shape
        assert (
            get_output_shape(floating, {None: shape}) is floating.get_output_shape_for.return_value
        )
        floating.get_output_shape_for.assert_called_with(shape)

    def test_agrees_with_the_output(self, network):
        assert get_output_shape(network, {network[0]: (None, 20)}) == [
            (None, 20),
            (None, 30),
            (None, 40),
        ]


class TestParams:
    def test_get_all_params(self, network):
        _, l2, l3 = network
        assert get_all_params(l3) == [l2.W, l2.b, l3.W, l3.b]
        assert get_all_params(l3, regularizable=True) == [l2.W, l3.W]
        assert get_all_params(l3, regularizable=False) == [l2.b, l3.b]
        assert get_all_params(l2) == [l2.W, l2.b]
        assert get_all_params([l2, l3], trainable=True) == [l2.W, l2.b, l3.W, l3.b]

    def test_parameters_of_two_layers_appear_once(self, network):
        _, l2, l3 = network
        l4 = DenseLayer(l3, 40, W=pytensor.shared(np.ones((40, 40))), b=l3.b)
        assert get_all_params(l4) == [l2.W, l2.b, l3.W, l3.b, l4.W]

    def test_expressions(self):
        x, y, z = (pytensor.shared(np.zeros((2, 2)), name=name) for name in "xyz")
        l1 = Layer((1, 2))
        w1 = l1.add_param(x + y, (2, 2))
        l2 = Layer(l1)
        w2 = l2.add_param(z, (2, 2))
        w3 = l2.add_param(y.T, (2, 2))
        assert get_all_params(l2) == [x, y, z]
        assert get_all_params(l2, unwrap_shared=False) == [w1, w2, w3]

    def test_count_params(self, network):
        weights, biases = 20 * 30 + 30 * 40, 30 + 40
        assert count_params(network[2], regularizable=True) == weights
        assert count_params(network[2], regularizable=False) == biases
        assert count_params(network[2]) == weights + biases
        assert type(count_params(network[2])) is int
        assert count_params(network[0]) == 0

    def test_get_all_param_values(self, network):
        _, l2, l3 = network
        values = get_all_param_values(l3)
        for value, param in zip(values, [l2.W, l2.b, l3.W, l3.b], strict=True):
            np.testing.assert_array_equal(value, param.get_value())
        values[0][:] = 0
        assert l2.W.get_value().any()
        assert len(get_all_param_values(l3, regularizable=True)) == 2

    def test_values_that_jax_has_updated(self):
        layer = DenseLayer((None, 2), 2)
        pytensor.function([], updates=[(layer.W, layer.W + 1)], mode="JAX")()
        values = get_all_param_values(layer)
        assert [type(value) for value in values] == [np.ndarray, np.ndarray]
        values[0][:] = 0
        assert layer.W.get_value().all()

    def test_set_all_param_values(self, network, rng):
        l3 = network[2]
        values = [
            rng.normal(size=shape).astype(pytensor.config.floatX)
            for shape in [(20, 30), (30,), (30, 40), (40,)]
        ]
        set_all_param_values(l3, values)
        for value, param in zip(values, get_all_params(l3), strict=True):
            np.testing.assert_array_equal(value, param.get_value())
        set_all_param_values(l3, [values[0] * 2, values[2] * 2], regularizable=True)
        np.testing.assert_array_equal(l3.W.get_value(), values[2] * 2)
        np.testing.assert_array_equal(l3.b.get_value(), values[3])

    def test_set_wrong_values(self, network):
        l3 = network[2]
        before = get_all_param_values(l3)
        zeros = [np.zeros_like(value) for value in before]
        with pytest.raises(ValueError, match="mismatch: got 3 values to set 4 parameters"):
            set_all_param_values(l3, zeros[:3])
        with pytest.raises(ValueError, match=r"mismatch: parameter W has shape \(30, 40\)"):
            set_all_param_values(l3, [*zeros[:2], np.zeros((25, 40)), zeros[3]])
        for value, expected in zip(get_all_param_values(l3), before, strict=True):
            np.testing.assert_array_equal(value, expected)

    def test_values_of_another_precision(self, float32):
        l1 = DenseLayer(InputLayer((None, 2)), 3, name="one")
        l2 = DenseLayer(l1, 1, name="two")
        values = [np.full(np.shape(value), 0.1) for value in get_all_param_values(l2)]
        values[1], values[3] = [1, 2, 3], np.array([np.inf])
        set_all_param_values(l2, values)
        for value, expected in zip(get_all_param_values(l2), values, strict=True):
            assert value.dtype == "float32"
            np.testing.assert_array_equal(value, np.asarray(expected, "float32"))

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (np.full(3, 1e300), "the value of dtype float64 holds numbers that are too large"),
            (np.zeros(4), r"parameter two\.b has shape \(3,\), .* \(4,\)"),
            (np.zeros(3, complex), r"parameter two\.b is of dtype float32, .* complex128"),
            (np.zeros(3, bool), "bool"),
            (["a", "b", "c"], "dtype <U1"),
            ([1, [2], 3], "is no array"),
        ],
    )
    def test_values_that_do_not_fit_change_nothing(self, bad, message, float32):
        l2 = DenseLayer(DenseLayer(InputLayer((None, 2)), 4), 3, name="two")
        before = get_all_param_values(l2)
        values = [value + 1 for value in before]
        values[3] = bad
        with pytest.raises(ValueError, match=f"^<DenseLayer 'two'>: .*{message}.*value number 3"):
            set_all_param_values(l2, values)
        for value, expected in zip(get_all_param_values(l2), before, strict=True):
            np.testing.assert_array_equal(value, expected)
