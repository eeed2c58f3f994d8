"""Arguments that can only be mistakes are errors where they are given."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne import objectives, random, updates
from lasagne.layers import (
    BatchNormLayer,
    DenseLayer,
    Gate,
    InputLayer,
    LSTMLayer,
    NonlinearityLayer,
    RecurrentLayer,
)
from lasagne.loop import loop

RULES = [
    "sgd",
    "momentum",
    "nesterov_momentum",
    "adagrad",
    "rmsprop",
    "adadelta",
    "adam",
    "adamax",
    "amsgrad",
]


def update(rule, **options):
    w = pytensor.shared(np.ones(3), name="w")
    if rule.endswith("momentum") or rule == "sgd":
        options = {"learning_rate": 0.1, **options}
    return getattr(updates, rule)((w**2).sum(), [w], **options)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("1e-3", TypeError),
        (None, TypeError),
        (True, TypeError),
        ([0.1], TypeError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        (pt.vector("rates"), TypeError),
    ],
)
def test_learning_rate(rule, value, error):
    with pytest.raises(error, match=f"^{rule}: learning_rate must be a .*, not "):
        update(rule, learning_rate=value)


@pytest.mark.parametrize("rule", RULES)
def test_numbers_that_are_taken(rule):
    for value in (0, 0.1, np.float32(0.1), np.array(0.1), pt.scalar(), pytensor.shared(0.1)):
        assert update(rule, learning_rate=value)


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        ("adam", {"beta1": 1.0}, "adam: beta1 must be at least 0 and less than 1, not 1.0"),
        ("adamax", {"beta2": -0.1}, "adamax: beta2 must be .*, not -0.1"),
        ("rmsprop", {"rho": 2}, "rmsprop: rho must be .*, not 2"),
        ("adadelta", {"epsilon": -1}, "adadelta: epsilon must not be negative, not -1"),
        ("momentum", {"momentum": np.nan}, "momentum: momentum must be a finite number, not nan"),
    ],
)
def test_options_of_update_rules(rule, options, message):
    with pytest.raises(ValueError, match=message):
        update(rule, **options)


@pytest.mark.parametrize("norm", [0, -1, np.nan, "1"])
def test_largest_norms(norm):
    with pytest.raises((TypeError, ValueError), match="total_norm_constraint: max_norm must be"):
        updates.total_norm_constraint([pt.vector()], norm)
    with pytest.raises((TypeError, ValueError), match="norm_constraint: max_norm must be"):
        updates.norm_constraint(pt.matrix(), norm)


def test_a_parameter_that_comes_twice():
    w = pytensor.shared(np.ones(3), name="w")
    with pytest.raises(ValueError, match="each shared variable once"):
        updates.sgd((w**2).sum(), [w, w], 0.1)


@pytest.mark.parametrize("nonlinearity", ["tanh", 3])
def test_nonlinearities(nonlinearity):
    message = f"nonlinearity must be a function of a tensor.* not {nonlinearity!r}"
    for make in (
        lambda: DenseLayer((2, 3), 4, nonlinearity=nonlinearity, name="mine"),
        lambda: NonlinearityLayer((2, 3), nonlinearity),
        lambda: RecurrentLayer((2, 5, 3), 4, nonlinearity=nonlinearity),
        lambda: LSTMLayer((2, 5, 3), 4, nonlinearity=nonlinearity),
        lambda: Gate(nonlinearity=nonlinearity),
    ):
        with pytest.raises(TypeError, match=message):
            make()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gradient_steps": 0}, ValueError, "gradient_steps must be positive, or -1 .* not 0"),
        ({"gradient_steps": -2}, ValueError, "gradient_steps must be positive, or -1 .* not -2"),
        ({"grad_clipping": "1"}, TypeError, "grad_clipping must be a number, not '1'"),
        ({"grad_clipping": -1}, ValueError, "grad_clipping must be positive, or 0 .* not -1"),
        ({"grad_clipping": np.nan}, ValueError, "grad_clipping must be positive, or 0 .* not nan"),
        ({"backwards": "no"}, TypeError, "True or False for backwards, got 'no'"),
        ({"only_return_final": 2}, TypeError, "True or False for only_return_final, got 2"),
        ({"learn_init": None}, TypeError, "True or False for learn_init, got None"),
    ],
)
def test_options_of_recurrent_layers(options, error, message):
    with pytest.raises(error, match=f"LSTMLayer 'mine'.*{message}"):
        LSTMLayer(InputLayer((2, 5, 3)), 4, name="mine", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, "epsilon must be positive, not 0"),
        ({"alpha": 2}, "alpha must be between 0 and 1, not 2"),
        ({"alpha": np.nan}, "alpha must be between 0 and 1, not nan"),
    ],
)
def test_options_of_batch_normalization(options, message):
    with pytest.raises(ValueError, match=f"BatchNormLayer.*{message}"):
        BatchNormLayer((2, 3), **options)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True, 4])
def test_top_k(top_k):
    with pytest.raises(ValueError, match="categorical_accuracy: top_k"):
        objectives.categorical_accuracy(pt.matrix(shape=(None, 3)), pt.ivector(), top_k)


@pytest.mark.parametrize("delta", [0, -1, np.nan])
def test_delta(delta):
    with pytest.raises(ValueError, match="huber_loss: delta must be positive"):
        objectives.huber_loss(pt.matrix(), pt.matrix(), delta)


@pytest.mark.parametrize("option", ["gradient_steps", "checkpoint_every"])
def test_options_of_loops(option):
    with pytest.raises(ValueError, match=f"loop: {option} must be positive.* not 0"):
        loop(lambda x, s: [x + s], [pt.vector()], [pt.scalar()], **{option: 0})


def test_generators():
    with pytest.raises(TypeError, match=r"expected a numpy\.random\.RandomState, not 3"):
        random.set_rng(3)
