import numpy as np
import pytensor
import pytest

from lasagne.init import Constant
from lasagne.layers import InputLayer, get_all_params
from ntm.memory import Memory


def test_defaults():
    memory = Memory((4, 3), name="memory")
    assert isinstance(memory, InputLayer)
    assert memory.memory_shape == memory.output_shape == (4, 3)
    assert memory.memory_init.name == "memory.memory_init"
    np.testing.assert_array_equal(memory.memory_init.get_value(), np.full((4, 3), 1e-6))
    assert get_all_params(memory, trainable=True) == [memory.memory_init]
    assert get_all_params(memory, regularizable=True) == []


def test_fixed_initial_value():
    memory = Memory([4, 3], memory_init=Constant(0.5), learn_init=False)
    assert get_all_params(memory, trainable=True) == []
    assert memory.memory_shape == (4, 3)
    assert np.all(memory.memory_init.get_value() == 0.5)


def test_shared_variable_as_initial_value():
    shared = pytensor.shared(np.ones((4, 3)))
    assert Memory((4, 3), memory_init=shared).memory_init is shared


@pytest.mark.parametrize("shape", [(4,), (4, 3, 2), (0, 3), (4, -1), (4, 2.5), 4, None, ("a", 2)])
def test_shapes_that_are_none(shape):
    with pytest.raises(ValueError, match="Memory 'm': memory_shape must be two positive") as error:
        Memory(shape, name="m")
    assert repr(shape) in str(error.value)


def test_initial_value_of_another_shape():
    with pytest.raises(ValueError, match=r"memory_init") as error:
        Memory((4, 3), memory_init=np.ones((3, 4)))
    assert "(3, 4)" in str(error.value)
    assert "(4, 3)" in str(error.value)


def test_unknown_option():
    with pytest.raises(TypeError, match="learn_inits"):
        Memory((4, 3), learn_inits=True)
