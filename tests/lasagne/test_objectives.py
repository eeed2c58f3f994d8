import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne import objectives
from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, InputLayer, get_output
from lasagne.nonlinearities import sigmoid, softmax
from lasagne.utils import floatX

RNG = np.random.RandomState(7)


def probabilities(*shape):
    return floatX(RNG.uniform(0.02, 0.98, shape))


def one_hot(indices, classes):
    return np.eye(classes, dtype="int8")[indices]


def evaluate(loss, *arrays):
    """Call `loss` with a variable for each array, and evaluate the result."""
    variables = [pt.tensor(shape=(None,) * each.ndim, dtype=each.dtype) for each in arrays]
    return loss(*variables).eval(dict(zip(variables, arrays, strict=True)))


@pytest.mark.parametrize("shape", [(10,), (10, 20)])
def test_binary_crossentropy(shape):
    p, t = probabilities(*shape), probabilities(*shape)
    expected = -t * np.log(p) - (1 - t) * np.log(1 - p)
    assert np.allclose(evaluate(objectives.binary_crossentropy, p, t), expected)
    t = RNG.randint(0, 2, shape).astype("int8")
    expected = -t * np.log(p) - (1 - t) * np.log(1 - p)
    assert np.allclose(evaluate(objectives.binary_crossentropy, p, t), expected)


@pytest.mark.slow
def test_binary_crossentropy_of_a_sigmoid_is_stable():
    x = pt.vector(dtype="float64")
    loss = objectives.binary_crossentropy(sigmoid(x), floatX([1, 0]))
    function = pytensor.function([x], loss, mode=pytensor.compile.mode.get_mode("FAST_RUN"))
    assert np.allclose(function([-800.0, 800.0]), 800)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_categorical_crossentropy(dtype):
    p = probabilities(10, 20)
    indices = RNG.randint(0, 20, 10).astype(dtype)
    expected = -np.log(p[np.arange(10), indices])
    assert np.allclose(evaluate(objectives.categorical_crossentropy, p, indices), expected)
    targets = floatX(one_hot(indices, 20))
    assert np.allclose(evaluate(objectives.categorical_crossentropy, p, targets), expected)


def test_categorical_crossentropy_soft_targets():
    p, t = probabilities(10, 20), probabilities(10, 20)
    expected = -(t * np.log(p)).sum(axis=1)
    assert np.allclose(evaluate(objectives.categorical_crossentropy, p, t), expected)


def test_categorical_crossentropy_of_arrays():
    p, t = probabilities(3, 4), np.array([0, 1, 3])
    expected = -np.log(p[np.arange(3), t])
    assert np.allclose(objectives.categorical_crossentropy(p, t).eval(), expected)


def test_categorical_crossentropy_gradient():
    x, t = pt.matrix(dtype="float64"), pt.ivector()
    loss = objectives.categorical_crossentropy(softmax(x), t).sum()
    x0, t0 = RNG.normal(size=(6, 4)), RNG.randint(0, 4, 6).astype("int32")
    gradient = pytensor.grad(loss, x).eval({x: x0, t: t0})
    exp = np.exp(x0)
    assert np.allclose(gradient, exp / exp.sum(axis=1, keepdims=True) - one_hot(t0, 4))


def test_squared_error():
    a, b = RNG.normal(size=(2, 10, 20))
    assert np.allclose(evaluate(objectives.squared_error, a, b), (a - b) ** 2)


@pytest.mark.parametrize("delta", [0.5, 1.0])
def test_huber_loss(delta):
    a, b = 2 * RNG.normal(size=(2, 30))
    error = np.abs(a - b)
    expected = np.where(error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta))
    result = evaluate(lambda p, t: objectives.huber_loss(p, t, delta), a, b)
    assert np.allclose(result, expected)


@pytest.mark.parametrize("delta", [0.5, 1.0])
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("log_odds", [False, True])
def test_binary_hinge_loss(delta, column, binary, log_odds):
    p = probabilities(10)
    t = RNG.randint(0, 2, 10).astype("int8")
    signs = 2 * t - 1
    odds = p if log_odds else np.log(p / (1 - p))
    expected = np.maximum(0, delta - odds * signs)

    def loss(p, t):
        p = p.dimshuffle(0, "x") if column else p
        return objectives.binary_hinge_loss(p, t, delta, log_odds=log_odds, binary=binary)

    result = evaluate(loss, p, t if binary else signs)
    assert result.shape == ((10, 1) if column else (10,))
    assert np.allclose(result.ravel(), expected)


def test_binary_hinge_loss_warns_without_log_odds():
    p, t = pt.vector(), pt.ivector()
    with pytest.warns(FutureWarning, match="log_odds"):
        objectives.binary_hinge_loss(p, t)


@pytest.mark.parametrize("delta", [0.5, 1.0])
def test_multiclass_hinge_loss(delta):
    p = probabilities(10, 20)
    t = RNG.randint(0, 20, 10).astype("int8")
    rest = p[one_hot(t, 20) == 0].reshape(10, 19).max(axis=1)
    expected = np.maximum(0, delta + rest - p[np.arange(10), t])
    loss = lambda p, t: objectives.multiclass_hinge_loss(p, t, delta)  # noqa: E731
    assert np.allclose(evaluate(loss, p, t), expected)
    assert np.allclose(evaluate(loss, p, one_hot(t, 20)), expected)


def test_multiclass_hinge_loss_gradient():
    p = pt.matrix(dtype="float64")
    loss = objectives.multiclass_hinge_loss(p, np.array([0, 1])).sum()
    gradient = pytensor.grad(loss, p).eval({p: np.array([[0.5, 0.2, 0.3], [0.0, 9.0, 1.0]])})
    assert np.allclose(gradient, [[-1, 0, 1], [0, 0, 0]])


def test_binary_accuracy():
    p, t = probabilities(50), RNG.randint(0, 2, 50).astype("int8")
    assert (evaluate(objectives.binary_accuracy, p, t) == ((p >= 0.5) == t)).all()
    result = evaluate(lambda p, t: objectives.binary_accuracy(p, t, threshold=0.8), p, t)
    assert (result == ((p >= 0.8) == t)).all()


@pytest.mark.parametrize("threshold", [0.5, 0.25])
def test_binary_accuracy_at_the_threshold(threshold):
    p = floatX([threshold, threshold, np.nextafter(floatX(threshold), floatX(0)), 1, 0])
    t = np.array([1, 0, 0, 1, 0], "int8")
    result = evaluate(lambda p, t: objectives.binary_accuracy(p, t, threshold=threshold), p, t)
    assert result.tolist() == [1, 0, 1, 1, 1]


@pytest.mark.parametrize("top_k", [1, 4, 10])
def test_categorical_accuracy(top_k):
    p = probabilities(100, 10)
    t = RNG.randint(0, 10, 100).astype("int8")
    expected = (np.argsort(p, axis=1)[:, -top_k:] == t[:, None]).any(axis=1)
    accuracy = lambda p, t: objectives.categorical_accuracy(p, t, top_k=top_k)  # noqa: E731
    assert (evaluate(accuracy, p, t) == expected).all()
    assert (evaluate(accuracy, p, one_hot(t, 10)) == expected).all()


@pytest.mark.parametrize(
    "function",
    [
        objectives.categorical_crossentropy,
        objectives.multiclass_hinge_loss,
        objectives.categorical_accuracy,
    ],
)
def test_rank_mismatch(function):
    with pytest.raises(TypeError, match="rank mismatch"):
        function(pt.vector(), pt.matrix())
    with pytest.raises(TypeError, match="rank mismatch"):
        function(pt.tensor3(), pt.ivector())


@pytest.mark.slow
@pytest.mark.parametrize(
    "function", [objectives.categorical_crossentropy, objectives.multiclass_hinge_loss]
)
def test_indices_must_be_integers_in_range(function):
    with pytest.raises(TypeError, match="targets must be integers"):
        function(pt.matrix(), pt.vector())
    with pytest.raises(IndexError):
        evaluate(function, probabilities(2, 3), np.array([0, 3]))


@pytest.mark.parametrize(
    "function",
    [
        objectives.binary_crossentropy,
        objectives.squared_error,
        objectives.huber_loss,
        objectives.binary_accuracy,
        lambda p, t: objectives.binary_hinge_loss(p, t, log_odds=False),
    ],
)
def test_single_unit_and_vector_of_targets(function):
    layer = DenseLayer(InputLayer((None, 3)), 1, nonlinearity=sigmoid)
    x, t = pt.matrix(dtype=pytensor.config.floatX), pt.vector(dtype=pytensor.config.floatX)
    x0, t0 = probabilities(5, 3), floatX([0, 1, 1, 0, 1])
    output = get_output(layer, x)
    result, values = pytensor.function([x, t], [function(output, t), output])(x0, t0)
    assert result.shape == (5, 1)
    assert np.allclose(result, evaluate(function, values, t0[:, None]))


@pytest.mark.parametrize("mode", ["mean", "sum", "normalized_sum"])
@pytest.mark.parametrize("shape", [(10,), (10, 20)])
def test_aggregate(mode, shape):
    loss, weights = RNG.normal(size=shape), RNG.uniform(size=shape)
    expected = (loss * weights).sum()
    expected /= {"mean": loss.size, "sum": 1, "normalized_sum": weights.sum()}[mode]
    result = evaluate(lambda x, w: objectives.aggregate(x, w, mode=mode), loss, weights)
    assert np.allclose(result, expected)


@pytest.mark.parametrize("shape", [(10, 1), (1, 20), (20,), ()])
def test_aggregate_with_weights_that_broadcast(shape):
    """The sum that divides is that of the weights as they are given, as in Lasagne."""
    loss, weights = RNG.normal(size=(10, 20)), RNG.uniform(size=shape)
    total = (loss * np.broadcast_to(weights, loss.shape)).sum()
    for mode, divisor in (("mean", 200), ("sum", 1), ("normalized_sum", weights.sum())):
        result = objectives.aggregate(pt.constant(loss), pt.constant(weights), mode=mode)
        assert np.allclose(result.eval(), total / divisor)


def test_aggregate_without_weights():
    loss = RNG.normal(size=(10, 20))
    assert np.allclose(evaluate(objectives.aggregate, loss), loss.mean())
    result = evaluate(lambda x: objectives.aggregate(x, mode="sum"), loss)
    assert np.allclose(result, loss.sum())


def test_aggregate_errors():
    with pytest.raises(ValueError, match=r"mode must be 'mean'.*'unknown'"):
        objectives.aggregate(pt.matrix(), mode="unknown")
    with pytest.raises(ValueError, match="require weights for mode='normalized_sum'"):
        objectives.aggregate(pt.matrix(), mode="normalized_sum")


def test_float32_stays_float32():
    with pytensor.config.change_flags(floatX="float32"):
        p, q, t = pt.matrix(), pt.matrix(), pt.ivector()
        for function in (
            objectives.binary_crossentropy,
            objectives.squared_error,
            objectives.huber_loss,
        ):
            assert function(p, q).dtype == "float32"
        assert objectives.categorical_crossentropy(p, t).dtype == "float32"
        assert objectives.multiclass_hinge_loss(p, t).dtype == "float32"
        assert objectives.aggregate(p, q, mode="normalized_sum").dtype == "float32"


@pytest.mark.parametrize(
    ("predictions", "aligned"), [((None, 1), (5, 1)), ((None, None), (5,)), ((None,), (5,))]
)
def test_align_targets(predictions, aligned):
    predictions = pt.tensor(shape=predictions)
    targets = np.arange(5)
    same, column = objectives.align_targets(predictions, targets)
    assert same is predictions
    assert np.array_equal(column.eval(), targets.reshape(aligned))


@pytest.mark.parametrize("mode", ["FAST_COMPILE", get_mode("jax")])
def test_aggregate_masks_losses_that_are_not_finite(mode):
    loss, weights = pt.matrix(dtype="float64"), pt.col(dtype="float64")
    losses = np.array([[1.0, 2.0], [np.nan, np.inf], [3.0, 4.0], [-np.inf, 5.0]])
    factors = np.array([[1.0], [0.0], [2.0], [0.0]])
    outputs = []
    for how in ("sum", "mean", "normalized_sum"):
        total = objectives.aggregate(loss, weights, mode=how)
        outputs += [total, pytensor.grad(total, loss)]
    results = pytensor.function([loss, weights], outputs, mode=mode)(losses, factors)
    for k, count in enumerate((1, 8, 3)):
        assert np.allclose(results[2 * k], 17 / count)
        assert np.allclose(results[2 * k + 1], np.repeat(factors, 2, axis=1) / count)


def test_aggregate_does_not_hide_what_counts():
    for weight, value in ((0.5, np.nan), (1.0, np.inf)):
        total = objectives.aggregate(pt.constant([value, 1.0]), pt.constant([weight, 1.0]))
        assert not np.isfinite(total.eval())
    # The derivative with respect to a weight of zero is the loss
    weights = pt.vector(dtype="float64")
    total = objectives.aggregate(pt.constant([3.0, 4.0]), weights, mode="sum")
    assert np.allclose(pytensor.grad(total, weights).eval({weights: np.zeros(2)}), [3, 4])


def test_aggregate_of_accuracies():
    right = pt.constant(np.array([True, False, True]))
    assert objectives.aggregate(right, np.array([1, 1, 0]), mode="sum").eval() == 1
