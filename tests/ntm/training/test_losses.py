import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy.special import log_softmax

from lasagne.backends.modes import get_mode
from ntm.prediction.probabilities import predictions
from ntm.training.losses import reduce_losses, sequence_loss

pytestmark = pytest.mark.usefixtures("float32")


def evaluate_loss(kind, outputs, targets, mask):
    values = [pt.constant(np.asarray(value, "float64")) for value in (outputs, targets, mask)]
    return sequence_loss(kind, *values).eval()


RNG = np.random.default_rng(0)
OUTPUTS = RNG.normal(size=(3, 4, 5))
MASK = RNG.integers(0, 3, (3, 4)) / 2


def test_loss_of_bits():
    bits = RNG.integers(0, 2, OUTPUTS.shape)
    p = 1 / (1 + np.exp(-OUTPUTS))
    expected = -(MASK[:, :, None] * np.log(np.where(bits, p, 1 - p))).sum(axis=(1, 2))
    np.testing.assert_allclose(evaluate_loss("bits", OUTPUTS, bits, MASK), expected, rtol=1e-12)


def test_loss_of_a_bit_that_is_surely_wrong_has_a_gradient():
    x = pt.tensor3(dtype="float32")
    loss = sequence_loss("bits", x, pt.ones_like(x), pt.ones((1, 1), "float32"))
    function = pytensor.function([x], [loss.sum(), pytensor.grad(loss.sum(), x)])
    loss, grad = function(np.full((1, 1, 1), -500, "float32"))
    assert (float(loss), grad.item()) == (500.0, -1.0)


def test_loss_of_classes():
    classes = np.eye(5)[RNG.integers(0, 5, (3, 4))]
    expected = -(MASK * (classes * log_softmax(OUTPUTS, axis=2)).sum(axis=2)).sum(axis=1)
    np.testing.assert_allclose(evaluate_loss("classes", OUTPUTS, classes, MASK), expected)


def test_loss_of_digits():
    rng = np.random.default_rng(1)
    outputs = rng.normal(size=(3, 4, 30))
    digits = np.eye(10)[rng.integers(0, 10, (3, 4, 3))]
    logs = log_softmax(outputs.reshape(3, 4, 3, 10), axis=3)
    expected = -(MASK * (digits * logs).sum(axis=(2, 3))).sum(axis=1)
    targets = digits.reshape(outputs.shape)
    np.testing.assert_allclose(evaluate_loss("digits", outputs, targets, MASK), expected)
    probabilities = predictions("digits", pt.constant(outputs)).eval()
    np.testing.assert_allclose(probabilities, np.exp(logs).reshape(outputs.shape))


def test_loss_of_numbers():
    numbers = RNG.normal(size=OUTPUTS.shape)
    expected = (MASK * ((OUTPUTS - numbers) ** 2).sum(axis=2)).sum(axis=1)
    np.testing.assert_allclose(evaluate_loss("numbers", OUTPUTS, numbers, MASK), expected)


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["bits", "classes", "digits", "numbers"])
@pytest.mark.parametrize("mode", ["FAST_COMPILE", "jax"])
def test_what_the_mask_hides_is_in_no_loss_and_no_gradient(kind, value, mode):
    x, targets, mask = pt.tensor3(), pt.tensor3(), pt.matrix()
    losses = sequence_loss(kind, x, targets, mask)
    function = pytensor.function(
        [x, targets, mask],
        [losses, pytensor.grad(losses.sum(), x)],
        mode=get_mode() if mode == "jax" else mode,
    )
    rng = np.random.default_rng(2)
    outputs = rng.normal(size=(2, 3, 10)).astype("float32")
    bits = rng.integers(0, 2, outputs.shape).astype("float32")
    weights = np.array([[1, 0, 0.5], [0, 2, 0]], "float32")
    expected = function(outputs, bits, weights)
    hidden = weights == 0
    assert not np.asarray(expected[1])[hidden].any()
    for array in (outputs, bits):
        array[hidden] = value
    for one, other in zip(function(outputs, bits, weights), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_loss_of_another_kind():
    with pytest.raises(ValueError, match=r"'bits', 'classes', 'digits' or 'numbers', not 'words'"):
        evaluate_loss("words", OUTPUTS, OUTPUTS, MASK)


def test_the_mean_of_losses():
    losses, weights = pt.constant([3.0, 1.0, 8.0]), pt.constant([1.0, 0.0, 0.5])
    assert float(reduce_losses(losses).eval()) == 4.0
    assert float(reduce_losses(losses, weights).eval()) == pytest.approx((3 + 4) / 1.5)
