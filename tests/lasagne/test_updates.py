import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import lasagne
from lasagne import updates as rules
from lasagne.utils import compute_norms, floatX

SCALE = np.array([0.1, 0.2, 0.3])
METHODS = [
    ("sgd", {"learning_rate": 0.1}),
    ("momentum", {"learning_rate": 0.1, "momentum": 0.5}),
    ("nesterov_momentum", {"learning_rate": 0.1, "momentum": 0.5}),
    ("adagrad", {"learning_rate": 0.1}),
    ("adagrad", {"learning_rate": 0.1, "epsilon": 0.01}),
    ("rmsprop", {"learning_rate": 0.01}),
    ("rmsprop", {"learning_rate": 0.01, "rho": 0.7, "epsilon": 0.1}),
    ("adadelta", {}),
    ("adadelta", {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-3}),
    ("adam", {"learning_rate": 0.01}),
    ("adam", {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.6, "epsilon": 1e-2}),
    ("adamax", {"learning_rate": 0.01}),
    ("adamax", {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.6, "epsilon": 1e-2}),
    ("amsgrad", {"learning_rate": 0.01}),
    ("amsgrad", {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.6, "epsilon": 1e-2}),
]


def loss_of(x):
    """A valley that is steeper in some directions, with a bump so that gradients also grow."""
    return (floatX(SCALE) * x**2).sum() + 0.05 * (x**4).sum()


def gradient(x):
    return 2 * SCALE * x + 0.2 * x**3


def reference(method, steps, learning_rate=1.0, momentum=0.9, rho=None, epsilon=None, **betas):
    """The rules as loops over NumPy arrays, from their papers."""
    beta1, beta2 = betas.get("beta1", 0.9), betas.get("beta2", 0.999)
    if epsilon is None:
        epsilon = 1e-8 if method in ("adam", "adamax", "amsgrad") else 1e-6
    if rho is None:
        rho = 0.95 if method == "adadelta" else 0.9
    x = np.ones(3)
    first, second, third = np.zeros((3, 3))
    for t in range(1, steps + 1):
        g = gradient(x)
        if method == "sgd":
            x = x - learning_rate * g
        elif method == "momentum":
            first = momentum * first - learning_rate * g
            x = x + first
        elif method == "nesterov_momentum":
            first = momentum * first - learning_rate * g
            x = x + momentum * first - learning_rate * g
        elif method == "adagrad":
            first = first + g**2
            x = x - learning_rate * g / np.sqrt(first + epsilon)
        elif method == "rmsprop":
            first = rho * first + (1 - rho) * g**2
            x = x - learning_rate * g / np.sqrt(first + epsilon)
        elif method == "adadelta":
            first = rho * first + (1 - rho) * g**2
            step = g * np.sqrt(second + epsilon) / np.sqrt(first + epsilon)
            x = x - learning_rate * step
            second = rho * second + (1 - rho) * step**2
        elif method == "adamax":
            first = beta1 * first + (1 - beta1) * g
            second = np.maximum(beta2 * second, np.abs(g))
            x = x - learning_rate / (1 - beta1**t) * first / (second + epsilon)
        else:
            first = beta1 * first + (1 - beta1) * g
            second = beta2 * second + (1 - beta2) * g**2
            third = np.maximum(third, second) if method == "amsgrad" else second
            rate = learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
            x = x - rate * first / (np.sqrt(third) + epsilon)
    return x


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_against_numpy(method, options):
    a, b = pytensor.shared(floatX(np.ones(3))), pytensor.shared(floatX(np.ones(3)))
    updates = getattr(rules, method)(loss_of(a) + loss_of(b), [a, b], **options)
    train = pytensor.function([], [], updates=updates)
    for _ in range(10):
        train()
    assert np.allclose(a.get_value(), b.get_value())
    assert np.allclose(a.get_value(), reference(method, 10, **options))


def test_known_values():
    # The toy problem on which Lasagne compares its rules to another library.
    a = pytensor.shared(floatX([1, 1, 1]))
    train = pytensor.function([], [], updates=rules.sgd(([0.1, 0.2, 0.3] * a**2).sum(), [a], 0.1))
    for _ in range(10):
        train()
    assert np.allclose(a.get_value(), [0.81707280688755, 0.6648326359915, 0.5386151140949])


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_float32_stays_float32(method, options):
    with pytensor.config.change_flags(floatX="float32"):
        a = pytensor.shared(floatX([1, 1, 1]))
        for number in (float, np.float32, np.float64):
            options = {name: number(value) for name, value in options.items()}
            # A list of numbers is float64 and makes the gradient float64.
            loss = ([0.1, 0.2, 0.3] * a**2).sum()
            updates = getattr(rules, method)(loss, [a], **options)
            assert all(variable.dtype == "float32" for variable in updates)
            assert all(new.dtype == "float32" for new in updates.values())
            pytensor.function([], [], updates=updates)()
            assert a.get_value().dtype == "float32"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_hyperparameters_may_be_expressions(method, options):
    a = pytensor.shared(floatX(np.ones(3)))
    scalars = {name: pytensor.shared(floatX(value)) for name, value in options.items()}
    updates = getattr(rules, method)(loss_of(a), [a], **scalars)
    train = pytensor.function([], [], updates=updates)
    for _ in range(3):
        train()
    assert np.allclose(a.get_value(), reference(method, 3, **options))


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_gradients_in_place_of_a_loss(method, options):
    a, b = pytensor.shared(floatX(np.ones(3))), pytensor.shared(floatX(np.ones((2, 1))))
    grads = [pt.as_tensor(floatX([0.5, 0.5, 0.5])), pt.ones_like(b)]
    updates = getattr(rules, method)(grads, iter([a, b]), **options)
    assert list(updates).index(a) < list(updates).index(b)
    pytensor.function([], [], updates=updates)()
    assert (a.get_value() < 1).all()
    assert (b.get_value() < 1).all()


@pytest.mark.parametrize("method", ["adam", "adamax", "amsgrad"])
def test_one_counter_of_steps(method):
    a, b = pytensor.shared(floatX(np.ones(3))), pytensor.shared(floatX(np.ones(3)))
    updates = getattr(rules, method)(loss_of(a) + loss_of(b), [a, b])
    counters = [variable for variable in updates if variable.ndim == 0]
    assert len(counters) == 1
    train = pytensor.function([], [], updates=updates)
    for _ in range(4):
        train()
    assert counters[0].get_value() == 4


@pytest.mark.parametrize("name", ["momentum", "nesterov_momentum"])
def test_apply_momentum(name):
    apply = getattr(rules, f"apply_{name}")
    a, b = pytensor.shared(floatX(np.ones(3))), pytensor.shared(floatX(np.ones(3)))
    for default in (True, False):
        a.set_value(floatX(np.ones(3)))
        b.set_value(floatX(np.ones(3)))
        plain = rules.sgd(loss_of(a) + loss_of(b), [a, b], 0.1)
        updates = apply(plain, momentum=0.5) if default else apply(plain, [a], momentum=0.5)
        assert list(plain) == [a, b]  # left as it was
        assert len(updates) == 3  # one velocity for all, or for one
        train = pytensor.function([], [], updates=updates)
        for _ in range(5):
            train()
        with_momentum = reference(name, 5, learning_rate=0.1, momentum=0.5)
        assert np.allclose(a.get_value(), with_momentum)
        without = reference("sgd", 5, learning_rate=0.1)
        assert np.allclose(b.get_value(), with_momentum if default else without)


def test_get_or_compute_grads():
    a, b = pytensor.shared(1.0), pytensor.shared(2.0)
    loss = a * b
    grads = rules.get_or_compute_grads(loss, [a, b])
    assert [grad.eval() for grad in grads] == [2.0, 1.0]
    assert rules.get_or_compute_grads(grads, [a, b]) is grads
    with pytest.raises(ValueError, match="2 gradient expressions for 1 param"):
        rules.get_or_compute_grads(grads, [a])
    c = pt.scalar()
    with pytest.raises(ValueError, match="shared variables only"):
        rules.get_or_compute_grads(a + c, [a, c])


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_params_must_be_shared(method, options):
    a = pytensor.shared(floatX(np.ones(3)))
    with pytest.raises(ValueError, match="shared variables only"):
        getattr(rules, method)(loss_of(a), [a**2], **options)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4, 5), (0,)),
        ((4, 5, 6), (1, 2)),
        ((4, 5, 6, 7), (1, 2, 3)),
        ((4, 5, 6, 7, 2), (1, 2, 3, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norm_constraint(shape, axes, dtype):
    value = np.random.RandomState(3).normal(size=shape).astype(dtype)
    value[:1] *= 1e-3
    param = pytensor.shared(value)
    update = lasagne.updates.norm_constraint(param, 0.01)
    assert update.dtype == dtype
    pytensor.function([], [], updates=[(param, update)])()
    result = param.get_value()
    norms = np.sqrt((value**2).sum(axis=axes, keepdims=True))
    assert np.max(compute_norms(result)) <= 0.01 * (1 + 1e-5)
    assert np.allclose(result, value * np.minimum(1, 0.01 / norms), rtol=1e-2, atol=1e-9)


def test_norm_constraint_of_zeros_and_of_the_largest_norm():
    value = floatX([[0, 3, 3], [0, 4, 0]])
    result = rules.norm_constraint(pytensor.shared(value), 3).eval()
    assert np.allclose(result, [[0, 1.8, 3], [0, 2.4, 0]], rtol=1e-6)


def test_norm_constraint_norm_axes():
    value = floatX(np.random.RandomState(3).normal(size=(10, 20, 30, 40)))
    update = rules.norm_constraint(pytensor.shared(value), 0.01, norm_axes=(0, 2)).eval()
    assert np.max(compute_norms(update, norm_axes=(0, 2))) <= 0.01 * (1 + 1e-5)
    assert update.shape == value.shape


@pytest.mark.parametrize("ndim", [0, 1, 6])
def test_norm_constraint_needs_norm_axes(ndim):
    param = pytensor.shared(floatX(np.ones((1,) * ndim)))
    with pytest.raises(ValueError, match="Unsupported tensor dimensionality"):
        rules.norm_constraint(param, 1)


@pytest.mark.parametrize("threshold", [5.0, 1000.0])
def test_total_norm_constraint(threshold):
    x1, x2 = pt.scalar(dtype="float64"), pt.matrix(dtype="float64")
    scaled = rules.total_norm_constraint([x1, x2], threshold)
    again, norm = rules.total_norm_constraint([x1, x2], threshold, return_norm=True)
    function = pytensor.function([x1, x2], [*scaled, *again, norm])
    values = np.arange(10.0)
    out1, out2, again1, again2, norm = function(values[9], values[:9].reshape(3, 3))
    assert np.allclose(norm, np.linalg.norm(values))
    assert out1 == again1
    assert (out2 == again2).all()
    result = np.append(out2.ravel(), out1)
    assert np.allclose(np.linalg.norm(result), min(threshold, np.linalg.norm(values)))
    assert np.allclose(result / np.linalg.norm(result), values / np.linalg.norm(values))


def test_total_norm_constraint_of_zeros():
    scaled = rules.total_norm_constraint([pt.zeros((2, 3), dtype="float32")], 5)
    assert scaled[0].dtype == "float32"
    assert (scaled[0].eval() == 0).all()


@pytest.mark.parametrize("size", [1e-45, 1e-30, 1e-15, 1, 1e15, 1e20, 3e38])
def test_norms_of_very_large_and_very_small_numbers(size):
    """In float32 the square of 1e20 is infinite and that of 1e-30 is zero."""
    value = np.array([[3, 4, 1], [4, 3, 0], [0, 0, 0]], "float32") * np.float32(size / 5)
    exact = value.astype("float64")
    total, columns = np.linalg.norm(exact), np.linalg.norm(exact, axis=0)
    x, y = pt.matrix(dtype="float32"), pt.vector(dtype="float32")
    scaled, norm = rules.total_norm_constraint([x, y], size / 2, return_norm=True)
    outputs = [*scaled, norm, rules.norm_constraint(x, size / 2), compute_norms(x)]
    function = pytensor.function([x, y], outputs)
    first, second, norm, constrained, norms = function(value[:2], value[2])
    most = np.finfo("float32").max
    tolerance = {"rtol": 1e-6 if size > 1e-40 else 1, "atol": 0}
    assert np.isinf(norm) if total > most else np.allclose(norm, total, **tolerance)
    assert np.allclose(compute_norms(value), columns, **tolerance)
    assert np.allclose(norms, columns, **tolerance)
    if size >= 1:  # those below epsilon are scaled down by it
        assert np.allclose(first, exact[:2] * (size / 2 / total), rtol=1e-6)
        expected = exact[:2] * np.minimum(1, size / 2 / np.maximum(columns, 1e-30))
        assert np.allclose(constrained, expected, rtol=1e-6)
    assert not second.any()


def test_gradient_of_the_norm_of_zeros():
    x = pt.matrix(dtype="float32")
    grad = pytensor.grad(compute_norms(x).sum(), x)
    assert np.array_equal(grad.eval({x: np.zeros((2, 3), "float32")}), np.zeros((2, 3)))
