import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.layers import InputLayer


def test_variable_is_created():
    layer = InputLayer((3, None, 1))
    assert layer.shape == layer.output_shape == (3, None, 1)
    assert layer.input_var.type == pt.TensorType(pytensor.config.floatX, (3, None, 1))
    assert layer.input_var.name == "input"
    assert layer.get_params() == []


def test_names():
    layer = InputLayer((3, 2), name="foo")
    assert layer.name == "foo"
    assert layer.input_var.name == "foo.input"


def test_given_variable():
    input_var = pt.imatrix("x")
    assert InputLayer((3, 2), input_var).input_var is input_var
    assert input_var.name == "x"


def test_shape_from_a_list_or_array():
    assert InputLayer([3, None]).shape == (3, None)
    assert InputLayer(np.zeros((3, 2)).shape).shape == (3, 2)


def test_variable_of_other_dimensions():
    with pytest.raises(ValueError, match=r"'l'.*has 2 dimensions, but input_var has 4"):
        InputLayer((3, 2), pt.tensor4(), name="l")


def test_variable_of_other_shape():
    with pytest.raises(ValueError, match="input_var has shape"):
        InputLayer((3, 2), pt.tensor(shape=(3, 4)))
    InputLayer((3, None), pt.tensor(shape=(None, 4)))


@pytest.mark.parametrize("shape", [(None, -1, -1), (None, 0, 0)])
def test_non_positive_dimension(shape):
    with pytest.raises(ValueError, match="Cannot create InputLayer with a non-positive"):
        InputLayer(shape=shape)


def test_unknown_keyword():
    with pytest.raises(TypeError, match="input_variable"):
        InputLayer((3, 2), input_variable=pt.matrix())


def test_data_of_wrong_shape():
    layer = InputLayer((None, 2))
    with pytest.raises(TypeError, match="shape"):
        layer.input_var.eval({layer.input_var: np.zeros((5, 3))})
