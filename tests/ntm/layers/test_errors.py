"""What is refused where a memory layer is made or run, and what the message says."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, GRULayer, InputLayer, LSTMLayer, RecurrentLayer
from ntm import (
    DNCLayer,
    HyperplaneIndex,
    Memory,
    NTMLayer,
    ReadHead,
    SAMLayer,
    StepFunction,
    WriteHead,
)
from ntm.controllers import DenseController, LSTMController
from ntm.nonlinearities import ClippedLinear
from ntm.updates import centered_rmsprop, graves_rmsprop

MEMORY_SHAPE = (9, 4)


def make(controller=lambda l: DenseLayer(l, 5), kind=DNCLayer, incoming=None, **options):
    l_in = InputLayer((None, None, 3)) if incoming is None else incoming
    return kind(l_in, MEMORY_SHAPE, controller, name="mine", **options)


def step(shape):
    return StepFunction(make(), batch_size=2, mode="FAST_COMPILE")(np.zeros(shape))


WHOLE = "controller must take one time step at a time, and LSTMLayer takes whole sequences"
ONE_STEP = (
    r"one time step at a time, of shape .* = \(None, 7\)\. .* LSTMController and its like can"
)
FEATURES = r"DNCLayer 'mine' was made for inputs of shape \(None, None, 3\), with 3 features along axis 2; .*: 4"
CASES = {
    "recurrent layer": (
        lambda: make(LSTMLayer(InputLayer((None, None, 3)), 5)),
        TypeError,
        f"DNCLayer 'mine': {WHOLE}",
    ),
    "class of recurrent layers": (lambda: make(LSTMLayer), TypeError, WHOLE),
    "partial of it": (lambda: make(partial(LSTMLayer, num_units=5)), TypeError, WHOLE),
    "function to an LSTM": (lambda: make(lambda l: LSTMLayer(l, 5)), ValueError, ONE_STEP),
    "function to a GRU": (lambda: make(lambda l: GRULayer(l, 5)), ValueError, ONE_STEP),
    "recurrent layer below": (
        lambda: make(lambda l: DenseLayer(RecurrentLayer(l, 4), 5)),
        ValueError,
        ONE_STEP,
    ),
    "flag": (
        lambda: make(backwards="yes"),
        TypeError,
        "DNCLayer 'mine': backwards must be True or False, not 'yes'",
    ),
    "nearest": (
        lambda: make(kind=SAMLayer, nearest=np.zeros(3)),
        ValueError,
        "SAMLayer 'mine': nearest must be 'exact', 'lsh', 'auto' or a HyperplaneIndex, not array",
    ),
    "num_flips": (
        lambda: HyperplaneIndex((64, 4), num_flips=100),
        ValueError,
        "HyperplaneIndex: num_flips must be an integer, from 0 to 3, not 100",
    ),
    "features of an expression": (
        lambda: make().get_output_for(pt.tensor(shape=(None, None, 4))),
        ValueError,
        FEATURES,
    ),
    "features of a step": (
        lambda: make().step(np.zeros((2, 4)), make().get_initial_state(2)),
        ValueError,
        FEATURES,
    ),
    "features of a step function": (
        lambda: step((2, 4)),
        ValueError,
        r"must be of shape \(batch, features\) = \(2, 3\), not \(2, 4\)",
    ),
    "axes of a step": (lambda: step((3,)), ValueError, r"= \(2, 3\), not \(3,\)"),
    "batch of a step": (lambda: step((3, 3)), ValueError, r"= \(2, 3\), not \(3, 3\)"),
    "batch size": (
        lambda: StepFunction(make(), batch_size="2"),
        ValueError,
        "StepFunction: batch_size must be a positive integer, not '2'",
    ),
    "nonlinearity of a head": (
        lambda: WriteHead((None, 5), nonlinearity_key="relu", name="w"),
        TypeError,
        "WriteHead 'w': nonlinearity_key must be a function of a tensor, .*, not 'relu'",
    ),
    "nonlinearity of a controller": (
        lambda: DenseController((None, 5), num_units=2, nonlinearity="relu"),
        TypeError,
        "DenseController: nonlinearity must be a function of a tensor, .*, not 'relu'",
    ),
    "learn_init of a memory": (
        lambda: Memory(MEMORY_SHAPE, learn_init="no"),
        TypeError,
        "Memory: learn_init must be True or False, not 'no'",
    ),
    "learn_init of a head": (
        lambda: ReadHead((None, 5), learn_init="no"),
        TypeError,
        "ReadHead: learn_init must be True or False",
    ),
    "learn_init of a controller": (
        lambda: LSTMController((None, 5), num_units=2, learn_init="no"),
        TypeError,
        "LSTMController: learn_init must be True or False",
    ),
    "head on sequences": (
        lambda: WriteHead((None, None, 5)),
        ValueError,
        r"WriteHead: the controller must give \(batch, units\), .*, not \(None, None, 5\)",
    ),
    "bounds": (lambda: ClippedLinear("a", 1), ValueError, "low must be a number, not 'a'"),
    "bound that is NaN": (
        lambda: ClippedLinear(0, np.nan),
        ValueError,
        "high must be a number, not nan",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_errors_say_what_was_given_and_what_is_expected(case):
    fail, error, message = CASES[case]
    with pytest.raises(error, match=message):
        fail()


@pytest.mark.slow
def test_features_that_only_the_compiled_function_knows():
    x = pt.tensor(shape=(None, None, None))
    layer = NTMLayer(
        (None, None, 3), MEMORY_SHAPE, lambda l: DenseLayer(l, 5), [WriteHead, ReadHead], name="x"
    )
    function = pytensor.function([x], layer.get_output_for(x), mode=get_mode("jax"))
    assert function(np.zeros((2, 4, 3))).shape == (2, 4, 5)
    with pytest.raises(ValueError, match=r"NTMLayer 'x' was made for .* with 3 features .* 4"):
        function(np.zeros((2, 4, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("rule", [graves_rmsprop, centered_rmsprop])
@pytest.mark.parametrize("name", ["learning_rate", "chi", "alpha", "epsilon"])
def test_settings_of_update_rules(rule, name):
    param = pytensor.shared(np.ones(3))
    with pytest.raises(TypeError, match=f"{name} must be a number .*, not '1e-3'"):
        rule((param**2).sum(), [param], **{name: "1e-3"})
    with pytest.raises(ValueError, match=f"{name} must be a finite number, not nan"):
        rule((param**2).sum(), [param], **{name: np.nan})
    rule((param**2).sum(), [param], **{name: np.array(0.1)})
    rule((param**2).sum(), [param], **{name: pytensor.shared(0.1)})
