import re

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.accumulation import accumulate_gradients
from lasagne.backends.jax_functions import make_pure
from lasagne.backends.modes import get_mode
from lasagne.layers import DropoutLayer, InputLayer, get_output


@pytest.fixture
def counter():
    """A function with an input, a shared variable that is updated, and one that is not; both of 64 bits."""
    x = pt.vector("x", dtype="float64")
    total = pytensor.shared(np.array(1, "int64"), "total")
    weights = pytensor.shared(np.array([1.0, 2.0]), "weights")
    function = pytensor.function(
        [x], x @ weights, updates=[(total, total * 3)], mode=get_mode("jax")
    )
    return function, total, weights


def test_what_a_pure_function_says_of_itself(counter):
    function, total, weights = counter
    pure = make_pure(function)
    assert pure.inputs[0].name == "x"
    assert pure.inputs[1:] == pure.shared
    assert pure.num_given == 1
    assert pure.num_outputs == 1
    assert set(pure.shared) == {total, weights}
    assert pure.updates == {1: pure.inputs.index(total)}


def test_a_pure_function_computes_the_same_and_changes_nothing(counter):
    function, total, weights = counter
    pure = make_pure(function)
    x = np.array([2**40 + 0.5, 1e-9])
    with jax.enable_x64(True):
        output, new = jax.jit(pure.function)(x, *pure.get_values())
        assert output.dtype == "float64"
        assert new.dtype == "int64"
        assert np.asarray(output) == x @ weights.get_value()
    assert int(new) == 3
    assert total.get_value() == 1
    function(x)
    assert total.get_value() == 3
    assert int(pure.get_values()[pure.shared.index(total)]) == 3


def test_a_pure_function_can_be_mapped(counter):
    function, *_ = counter
    pure = make_pure(function)
    with jax.enable_x64(True):
        axes = [0 if each.name == "x" else None for each in pure.inputs]
        x = np.arange(6.0).reshape(3, 2)
        outputs, _ = jax.vmap(pure.function, axes)(x, *pure.get_values())
    np.testing.assert_allclose(outputs, x @ [1, 2])


def test_random_generators_are_arguments():
    l_in = InputLayer((None, 8))
    output = get_output(DropoutLayer(l_in), deterministic=False)
    function = pytensor.function([l_in.input_var], output, mode=get_mode("jax"))
    pure = make_pure(function)
    (generator,) = pure.get_values()
    before = np.array(generator["jax_state"])
    x = np.ones((2, 8), l_in.input_var.dtype)
    with jax.enable_x64(True):
        run = jax.jit(pure.function)
        first, after = run(x, generator)
        again, _ = run(x, generator)
        second, _ = run(x, after)
        # Not compiled, conversions write into what they are given
        pure.function(x, generator)
    np.testing.assert_array_equal(generator["jax_state"], before)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    # As the compiled function draws, whose generator goes on
    np.testing.assert_array_equal(function(x), first)
    np.testing.assert_array_equal(function(x), second)
    (generator,) = pure.get_values()
    with jax.enable_x64(True):
        third, _ = run(x, generator)
    np.testing.assert_array_equal(function(x), third)


def test_refuses_to_lose_bits(counter):
    function, *_ = counter
    pure = make_pure(function)
    with pytest.raises(RuntimeError, match="enable_x64"):
        jax.jit(pure.function)(np.ones(2), *pure.get_values())


def test_wrong_functions():
    x = pt.vector("x")
    with pytest.raises(TypeError, match=re.escape("compiled with ntm.get_mode('jax')")):
        make_pure(pytensor.function([x], x * 2))
    with pytest.raises(TypeError, match="expected a function compiled"):
        make_pure(lambda x: x)


def test_refuses_several_devices():
    x = pt.matrix("x")
    weights = pytensor.shared(np.ones(3), "weights")
    result = accumulate_gradients(x @ weights, [weights], batch=[x], devices=2)
    function = pytensor.function([x], [result.loss, *result.grads], mode=get_mode("jax"))
    with pytest.raises(ValueError, match="over 2 devices"):
        make_pure(function)
