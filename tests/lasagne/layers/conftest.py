"""What the tests of the layers share."""

from unittest.mock import Mock

import numpy as np
import pytest

from lasagne.layers import InputLayer


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def dummy_input_layer():
    """A stand-in that has the attributes of an InputLayer."""
    input_layer = InputLayer((2, 3, 4))
    mock = Mock(input_layer)
    mock.shape = input_layer.shape
    mock.input_var = input_layer.input_var
    mock.output_shape = input_layer.output_shape
    return mock


@pytest.fixture
def unique_values():
    """An initializer of which every value is another."""
    return lambda shape: np.arange(np.prod(shape), dtype=float).reshape(shape)
