import copy
import inspect
import pickle
from abc import ABC, abstractmethod

import numpy as np
import pytensor
import pytest

from lasagne.init import Constant, GlorotUniform, Uniform
from lasagne.layers import ConcatLayer, DenseLayer, Gate, InputLayer, Layer, batch_norm
from lasagne.nonlinearities import identity, rectify, tanh


def test_arguments_have_names_and_defaults():
    l_in = InputLayer((2, 3))
    layer = DenseLayer(l_in, 4, name="dense", b=None)
    arguments = layer.get_arguments()
    assert list(arguments) == [
        "incoming",
        "num_units",
        "W",
        "b",
        "nonlinearity",
        "num_leading_axes",
        "name",
    ]
    assert arguments["incoming"] is l_in
    assert (arguments["num_units"], arguments["b"], arguments["name"]) == (4, None, "dense")
    assert isinstance(arguments["W"], GlorotUniform)
    assert arguments["nonlinearity"] is rectify
    again = DenseLayer(**arguments)
    assert again.output_shape == layer.output_shape


def test_arguments_without_names():
    class Sum(Layer):
        def __init__(self, incoming, /, *terms, factor=1, **kwargs):
            super().__init__(incoming, **kwargs)

    assert Sum((2, 3)).get_arguments() == {"*": [(2, 3)], "factor": 1}
    arguments = Sum((2, 3), 4, 5, name="sum").get_arguments()
    assert arguments == {"*": [(2, 3), 4, 5], "factor": 1, "name": "sum"}


def test_changes_are_arguments():
    layer = DenseLayer((2, 3), 4, nonlinearity=tanh)
    layer.name = "new"
    layer.nonlinearity = rectify
    assert layer.get_arguments()["name"] == "new"
    assert layer.get_arguments()["nonlinearity"] is rectify
    layer.remark = "of no meaning to the layer"
    assert "remark" not in layer.get_arguments()


def test_arguments_after_batch_norm():
    layer = DenseLayer((2, 3), 4)
    batch_norm(layer)
    arguments = layer.get_arguments()
    assert arguments["b"] is None
    assert arguments["nonlinearity"] is identity


def test_arguments_that_the_constructor_converts():
    """What `axes` was given as is not known once the attribute it became has changed."""
    layer = batch_norm(DenseLayer((2, 3), 4, nonlinearity=None)).input_layer
    assert layer.get_arguments()["axes"] == "auto"
    layer.axes = (1,)
    with pytest.raises(ValueError, match="axes was changed after the layer was made"):
        layer.get_arguments()


@pytest.mark.parametrize("name", ["input_shape", "input_layer", "W"])
def test_changes_that_are_no_arguments(name):
    layer = DenseLayer((2, 3), 4, name="dense")
    setattr(layer, name, pytensor.shared(np.ones((3, 4))))
    with pytest.raises(ValueError, match=f"'dense'>: {name} was changed"):
        layer.get_arguments()


def test_lists_that_were_given_may_change():
    incomings = [(2, 3), (2, 4)]
    layer = ConcatLayer(incomings)
    incomings.append((2, 5))
    assert layer.get_arguments()["incomings"] == [(2, 3), (2, 4)]
    layer.input_layers[0] = InputLayer((2, 3))
    with pytest.raises(ValueError, match="input_layers was changed"):
        layer.get_arguments()


def test_parameters_that_were_added():
    layer = DenseLayer((2, 3), 4)
    layer.add_param(Constant(0.0), (2,))
    with pytest.raises(ValueError, match="parameters were added or removed"):
        layer.get_arguments()


def test_gates_and_initializers():
    assert Gate(W_cell=None).get_arguments()["W_cell"] is None
    gate = Gate(b=Constant(2.0), nonlinearity=None)
    again = Gate(**gate.get_arguments())
    assert again.b is gate.b
    assert again.W_cell is gate.W_cell
    assert again.nonlinearity is identity
    given = Uniform(std=0.5, mean=2.0)
    assert Uniform(given.range, given.std, given.mean).range == given.range


def test_classes_look_as_without():
    """Their signature is the constructor's, and they may be abstract base classes."""
    assert list(inspect.signature(DenseLayer).parameters)[:3] == ["incoming", "num_units", "W"]

    class Abstract(Layer, ABC):
        @abstractmethod
        def more(self): ...

    assert list(inspect.signature(Abstract).parameters) == ["incoming", "name"]
    with pytest.raises(TypeError, match="abstract"):
        Abstract((2, 3))


def test_copies():
    """A deep copy knows what it was made from; a pickle may not, as a lambda cannot be in it."""
    layer = DenseLayer((2, 3), 4, W=lambda shape: np.ones(shape))
    twin = copy.deepcopy(layer)
    assert twin.get_arguments()["num_units"] == 4
    twin.nonlinearity = tanh
    assert twin.get_arguments()["nonlinearity"] is tanh
    assert layer.get_arguments()["nonlinearity"] is rectify
    again = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(again.W.get_value(), layer.W.get_value())
    with pytest.raises(ValueError, match="comes from a pickle"):
        again.get_arguments()
