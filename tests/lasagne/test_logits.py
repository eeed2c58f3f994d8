"""Losses of a sigmoid's or a softmax's output are exact and finite for all finite logits."""

import os
import shutil
import subprocess
import sys
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext
from functools import cache
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.raise_op import Assert

from lasagne import nonlinearities
from lasagne.layers import (
    ConcatLayer,
    DenseLayer,
    DimshuffleLayer,
    FlattenLayer,
    InputLayer,
    NonlinearityLayer,
    ReshapeLayer,
    SliceLayer,
    batch_norm,
    get_output,
)
from lasagne.nonlinearities import sigmoid, softmax
from lasagne.objectives import (
    binary_crossentropy,
    binary_hinge_loss,
    categorical_crossentropy,
    multiclass_hinge_loss,
)
from ntm import NTMLayer, ReadHead, WriteHead, get_mode

SIZES = [1e-30, 1, 17, 40, 88, 104, 1e4, 3e38]
EDGES = np.array([0, *SIZES, *(-size for size in SIZES)])
ROWS = np.array([(a, b, 0) for a in EDGES for b in EDGES])
SOFT_TARGETS = [(1, 0, 0), (0, 1, 0), (0.25, 0.75, 0), (0.5, 0.25, 0.25)]


@cache
def crossentropy(logits, targets):
    """The loss and its gradient, in four hundred digits."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 400, MIN_EMIN, MAX_EMAX
        x, t = (list(map(Decimal, each)) for each in (logits, targets))
        powers = [(each - max(x)).exp() for each in x]
        loss = sum(t) * sum(powers).ln() + sum(
            each * (max(x) - logit) for each, logit in zip(t, x, strict=True)
        )
        grads = [sum(t) * power / sum(powers) - each for power, each in zip(powers, t, strict=True)]
        return float(loss), [float(grad) for grad in grads]


def expect(rows, targets):
    results = [crossentropy(tuple(row), targets) for row in rows.tolist()]
    return [np.array(each) for each in zip(*results, strict=True)]


def assert_exact(result, expected, absolute=0):
    """Up to a few units in the last place; the largest number stands for what is larger."""
    info = np.finfo(result.dtype)
    assert np.isfinite(result).all()
    difference = np.abs(result / 2 - np.clip(expected, -info.max, info.max) / 2)
    bound = 4 * info.eps * np.abs(expected / 2) + info.tiny + absolute * info.eps
    assert (difference <= bound).all()


def with_gradient(loss, x):
    return [loss, pytensor.grad(loss.sum(), x)]


BACKENDS = [("jax", "float32"), ("jax", "float64"), ("numba", "float32")]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
def test_exact_for_every_finite_logit(backend, dtype):
    check_every_finite_logit(backend, dtype)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_exact_for_every_finite_logit_in_c():
    """In a process of its own, as these tests run without a compiler."""
    command = "import test_logits; test_logits.check_every_finite_logit('c', 'float32')"
    folder = Path(__file__).parent
    flags = [flag for flag in os.environ["PYTENSOR_FLAGS"].split(",") if flag != "cxx="]
    subprocess.run(
        [sys.executable, "-c", command],
        env={
            **os.environ,
            "PYTENSOR_FLAGS": ",".join([*flags, "cxx=g++"]),
            "PYTHONPATH": os.pathsep.join(map(str, (folder, folder.parents[1]))),
        },
        check=True,
        timeout=600,
    )


def check_every_finite_logit(backend, dtype):
    x, t = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
    classes = pt.lvector()
    outputs = [
        *with_gradient(binary_crossentropy(sigmoid(x), t), x),
        *with_gradient(categorical_crossentropy(softmax(x), t), x),
        *with_gradient(categorical_crossentropy(softmax(x), classes), x),
    ]
    function = pytensor.function([x, t, classes], outputs, mode=get_mode(backend))
    rows = ROWS.astype(dtype).astype(float)
    for targets in SOFT_TARGETS:
        t_values = np.tile(np.array(targets, dtype), (len(rows), 1))
        class_values = np.full(len(rows), np.argmax(targets))
        results = function(rows.astype(dtype), t_values, class_values)
        assert [result.dtype for result in results] == [dtype] * 6
        binary, binary_grad, soft, soft_grad, hard, hard_grad = map(np.asarray, results)
        for column, target in enumerate(targets):
            pairs = np.stack([rows[:, column], np.zeros(len(rows))], axis=1)
            expected, grads = expect(pairs, (target, 1 - target))
            assert_exact(binary[:, column], expected)
            # A difference of a probability and a target of its size is as exact as the two
            assert_exact(binary_grad[:, column], grads[:, 0], target not in (0, 1))
        expected, grads = expect(rows, targets)
        assert_exact(soft, expected)
        assert_exact(soft_grad, grads, max(targets) < 1)
        if max(targets) == 1:
            assert_exact(hard, expected)
            assert_exact(hard_grad, grads)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
def test_second_derivatives_are_finite(backend, dtype):
    x, t = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
    losses = [binary_crossentropy(sigmoid(x), t), categorical_crossentropy(softmax(x), t)]
    grads = [pytensor.grad(loss.sum(), x) for loss in losses]
    weights = np.array([1, 2, 3], dtype)
    second = [pytensor.grad((grad * weights).sum(), x) for grad in grads]
    function = pytensor.function([x, t], second, mode=get_mode(backend))
    for targets in SOFT_TARGETS:
        values = function(ROWS.astype(dtype), np.tile(np.array(targets, dtype), (len(ROWS), 1)))
        assert all(np.isfinite(value).all() for value in values)
        p = 1 / (1 + np.exp(-np.clip(ROWS, -700, 700)))
        assert np.allclose(values[0], p * (1 - p) * weights, atol=1e-7)
        p = nonlinearities.softmax(pt.constant(ROWS)).eval()
        expected = p * weights - p * (p * weights).sum(axis=1, keepdims=True)
        assert np.allclose(values[1], expected, atol=1e-6)


SHAPE = (2, 2, 3)
LOGITS = np.array([[[20, 0, -3], [50, 2, 1]], [[5, 90, 0], [-2, 0, 1000]]])
ONES = np.zeros(SHAPE)
ONES[..., 0] = 1
CLASSES = np.zeros((2, 2), "int64")


def by_hand(x):
    return 1 / (1 + pt.exp(-x))


def softmax_by_hand(x):
    return pt.exp(x) / pt.exp(x).sum(axis=-1, keepdims=True)


def softmax_less_the_largest(x):
    powers = pt.exp(x - pt.max(x, axis=-1, keepdims=True))
    return powers / powers.sum(axis=2)[:, :, None]


def log_softmax(x):
    return pt.exp(pt.special.log_softmax(x, axis=-1))


def softmax_of_axis_1(x):
    return pt.special.softmax(x.dimshuffle(0, 2, 1), axis=1).dimshuffle(0, 2, 1)


SIGMOIDS = [sigmoid, by_hand, lambda x: 1 - sigmoid(-x), lambda x: sigmoid(x).copy()]
SOFTMAXES = [
    softmax,
    softmax_by_hand,
    softmax_less_the_largest,
    log_softmax,
    softmax_of_axis_1,
]


def compute(predictions, targets, loss, dtype="float32"):
    """The loss and its gradient, on JAX, of predictions from `LOGITS`."""
    x = pt.tensor3(dtype=dtype)
    outputs = with_gradient(loss(predictions(x), targets), x)
    function = pytensor.function([x], outputs, mode=get_mode("jax"))
    return [np.asarray(value) for value in function(LOGITS.astype(dtype))]


def binary_reference(x, t):
    return t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)


def softmax_reference(x, classes):
    right = np.take_along_axis(x, classes[..., None], axis=-1)
    others = np.where(np.arange(x.shape[-1]) == classes[..., None], -np.inf, x - right)
    return np.log1p(np.exp(np.minimum(others, 700)).sum(axis=-1)).clip(others.max(axis=-1))


@pytest.mark.slow
@pytest.mark.parametrize("make", SIGMOIDS)
def test_sigmoid_however_written(make):
    loss, grad = compute(make, ONES, binary_crossentropy)
    assert np.allclose(loss, binary_reference(LOGITS, ONES), rtol=1e-6, atol=0)
    assert np.isfinite(grad).all()


@pytest.mark.slow
@pytest.mark.parametrize("make", SOFTMAXES)
def test_softmax_however_written(make):
    loss, grad = compute(make, CLASSES, categorical_crossentropy)
    assert np.allclose(loss, softmax_reference(LOGITS, CLASSES), rtol=1e-6, atol=0)
    assert np.isfinite(grad).all()


@pytest.mark.slow
def test_softmax_over_all_axes():
    loss, grad = compute(pt.special.softmax, ONES, categorical_crossentropy)
    assert np.allclose(loss, 1000 - LOGITS[..., 0])
    assert np.isfinite(grad).all()


MOVES = {
    "reshape": lambda v: v.reshape((-1, 3)),
    "flatten": lambda v: v.reshape((12,)),
    "slice": lambda v: v[:, -1, :1],
    "indices": lambda v: v[[0, 1], [1, 0]],
    "transpose": lambda v: v.transpose(1, 0, 2),
}


@pytest.mark.parametrize("name", MOVES)
def test_sigmoid_below_a_move(name):
    move = MOVES[name]
    loss, grad = compute(lambda x: move(sigmoid(x)), move(ONES), binary_crossentropy)
    assert np.allclose(loss, binary_reference(move(LOGITS), move(ONES)), rtol=1e-6, atol=0)
    assert np.isfinite(grad).all()


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (lambda p: pt.concatenate([p, p[:, :1]], axis=1), lambda x: x[:, [0, 1, 0]]),
        (lambda p: pt.stack([p, p]), lambda x: np.stack([x, x])),
        (
            lambda p: pt.broadcast_to(p[:, :, 0, None], SHAPE),
            lambda x: np.repeat(x[:, :, :1], 3, 2),
        ),
        (lambda p: pt.specify_shape(p, SHAPE), lambda x: x),
        (lambda p: Assert("of two rows")(p, pt.eq(p.shape[0], 2)), lambda x: x),
        (lambda p: pt.cast(p, "float64"), lambda x: x),
        (lambda p: p[np.array([True, False])], lambda x: x[:1]),
    ],
)
def test_other_moves(move, expected):
    targets = expected(ONES)
    loss, grad = compute(lambda x: move(sigmoid(x)), targets, binary_crossentropy)
    assert np.allclose(loss, binary_reference(expected(LOGITS), targets), rtol=1e-6, atol=0)
    assert np.isfinite(grad).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (lambda p: p.reshape((-1, 3)), lambda x: x.reshape(-1, 3)),
        (lambda p: p[:, -1], lambda x: x[:, -1]),
        (lambda p: p[1, 1], lambda x: x[1, 1]),
    ],
)
def test_softmax_below_a_move(move, expected):
    logits = expected(LOGITS)
    classes = np.zeros(logits.shape[:-1], "int64")
    loss, grad = compute(lambda x: move(softmax(x)), classes, categorical_crossentropy)
    assert np.allclose(loss, softmax_reference(logits, classes), rtol=1e-6, atol=0)
    assert np.isfinite(grad).all()


@pytest.mark.slow
def test_either_loss_of_either_source():
    """One class of a softmax as a probability, and sigmoids as the classes."""
    loss, grad = compute(lambda x: softmax(x)[..., 0], ONES[..., 0], binary_crossentropy)
    assert np.allclose(loss, softmax_reference(LOGITS, CLASSES), rtol=5e-6, atol=0)
    assert np.isfinite(grad).all()
    loss, grad = compute(lambda x: softmax(x)[..., 0], 1 - ONES[..., 0], binary_crossentropy)
    x = LOGITS
    rest = np.logaddexp(x[..., 1], x[..., 2])
    assert np.allclose(loss, np.logaddexp(0, x[..., 0] - rest), rtol=5e-6, atol=0)
    assert np.isfinite(grad).all()
    loss, grad = compute(sigmoid, CLASSES, categorical_crossentropy)
    assert np.allclose(loss, np.logaddexp(0, -x[..., 0]), rtol=5e-6, atol=0)
    assert np.isfinite(grad).all()


def test_hinge_loss_of_probabilities():
    def loss(p, t):
        return binary_hinge_loss(p, t, log_odds=False)

    value, grad = compute(sigmoid, ONES, loss)
    signs = 2 * ONES - 1
    assert np.allclose(value, np.maximum(0, 1 - signs * LOGITS))
    assert np.array_equal(grad, np.where(signs * LOGITS < 1, -signs, 0))


@pytest.mark.slow
@pytest.mark.parametrize("targets", [ONES, CLASSES])
def test_a_class_that_a_logit_of_minus_infinity_rules_out(targets):
    hidden = np.array([False, True, False])
    loss, grad = compute(
        lambda x: softmax(pt.switch(hidden, -np.inf, x)), targets, categorical_crossentropy
    )
    expected = softmax_reference(LOGITS[..., [0, 2]], CLASSES)
    assert np.allclose(loss, expected, rtol=1e-6, atol=0)
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("targets", [ONES[..., :1], CLASSES])
def test_a_single_class(targets):
    results = compute(lambda x: softmax(x[..., :1]), targets, categorical_crossentropy)
    assert all(np.array_equal(result, np.zeros_like(result)) for result in results)


@pytest.mark.slow
def test_equal_logits_share_the_gradient():
    x = pt.matrix(dtype="float64")
    outputs = with_gradient(categorical_crossentropy(softmax(x), np.array([2, 0])), x)
    function = pytensor.function([x], outputs, mode=get_mode("jax"))
    loss, grad = function(np.array([[7.0, 7, 7, 7], [7, 7, 7, 7]]))
    assert np.allclose(loss, np.log(4))
    assert np.allclose(grad, 0.25 - np.eye(4)[[2, 0]])


def build_layers(x):
    identity = np.eye(3, dtype="float32")
    l_in = InputLayer((None, None, 3), x)
    dense = DenseLayer(l_in, 3, W=identity, num_leading_axes=2, nonlinearity=softmax)
    linear = DenseLayer(l_in, 3, W=identity, num_leading_axes=2, nonlinearity=None)
    bits = DenseLayer(l_in, 3, W=identity, num_leading_axes=2, nonlinearity=pt.sigmoid)
    return {
        "dense": (dense, CLASSES),
        "nonlinearity": (NonlinearityLayer(linear, softmax), CLASSES),
        "reshape": (ReshapeLayer(dense, (-1, [2])), CLASSES.ravel()),
        "slice": (SliceLayer(dense, -1, axis=1), CLASSES[:, -1]),
        "concat": (ConcatLayer([dense, dense], axis=1), np.zeros((2, 4), "int64")),
        "dimshuffle": (DimshuffleLayer(dense, (1, 0, 2)), CLASSES),
        "batch_norm": (batch_norm(linear, axes=(0, 1)), None),
        "bits": (bits, ONES),
        "flatten": (FlattenLayer(bits), ONES.reshape(2, 6)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", build_layers(pt.tensor3(dtype="float32")))
def test_through_layers(float32, name):
    x = pt.tensor3()
    layer, targets = build_layers(x)[name]
    if targets is None:
        layer, targets = NonlinearityLayer(layer, softmax), CLASSES
    output = get_output(layer, deterministic=True)
    of_classes = targets.ndim < output.ndim
    loss = (categorical_crossentropy if of_classes else binary_crossentropy)(output, targets)
    function = pytensor.function([x], with_gradient(loss, x), mode=get_mode("jax"))
    value, grad = function(LOGITS.astype("float32"))
    assert np.isfinite(grad).all()
    largest = 998 if of_classes else 1000
    assert value.max() >= largest
    assert 0 < value[value > 0].min() < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("sure", [1.0, -1.0])
def test_inside_a_network(float32, sure):
    """A Neural Turing Machine whose output is as sure as can be."""
    x, y = pt.tensor3(), pt.tensor3()
    l_in = InputLayer((None, None, 3), x)
    l_ntm = NTMLayer(l_in, (8, 4), lambda l: DenseLayer(l, 5), [WriteHead, ReadHead])
    l_out = DenseLayer(
        l_ntm, 3, b=np.full(3, 60, "float32"), num_leading_axes=2, nonlinearity=pt.sigmoid
    )
    loss = binary_crossentropy(get_output(l_out), y).mean()
    grads = pytensor.grad(loss, [l_out.W, l_out.b])
    function = pytensor.function([x, y], [loss, *grads], mode=get_mode("jax"))
    values = function(np.ones((2, 3, 3), "float32"), np.full((2, 3, 3), sure > 0, "float32"))
    assert all(np.isfinite(value).all() for value in values)
    assert 0 < values[0] < 1e-20 if sure > 0 else 50 < values[0] < 70


@pytest.mark.slow
@pytest.mark.parametrize("loss", [categorical_crossentropy, multiclass_hinge_loss])
@pytest.mark.parametrize("wrong", [-1, 3, 2**40])
def test_a_class_that_does_not_exist(loss, wrong):
    x, classes = pt.matrix(dtype="float32"), pt.lvector()
    outputs = with_gradient(loss(softmax(x), classes), x)
    function = pytensor.function([x, classes], outputs, mode=get_mode("jax"))
    value, grad = function(LOGITS[0].astype("float32"), np.array([1, wrong]))
    assert np.isnan(value).tolist() == [False, True]
    assert np.isnan(grad).any(axis=1).tolist() == [False, True]
    function = pytensor.function([x, classes], outputs, mode="FAST_COMPILE")
    with pytest.raises(IndexError, match="a target class is negative or not less than"):
        function(LOGITS[0].astype("float32"), np.array([1, wrong]))


@pytest.mark.slow
def test_a_class_that_does_not_exist_raises_on_numba():
    x, classes = pt.matrix(dtype="float32"), pt.lvector()
    loss = categorical_crossentropy(softmax(x), classes)
    function = pytensor.function([x, classes], loss, mode=get_mode("numba"))
    for wrong in (-1, 3):
        with pytest.raises(IndexError, match="a target class is negative or not less than"):
            function(LOGITS[0].astype("float32"), np.array([1, wrong]))


@pytest.mark.slow
def test_predictions_from_elsewhere_are_used_as_they_are():
    """Clipped ones and probabilities that the user computed; a product keeps the output of a sigmoid."""
    x = pt.vector(dtype="float32")
    for predictions in (pt.clip(sigmoid(x), 1e-3, 1 - 1e-3), 1 * sigmoid(x), pt.tanh(x)):
        loss = binary_crossentropy(predictions, np.float32(0))
        grad = pytensor.grad(loss.sum(), predictions)
        function = pytensor.function([x], [predictions, loss, grad], mode=get_mode("jax"))
        p, value, slope = function(np.array([0.5, 3, 5], "float32"))
        assert np.allclose(value, -np.log1p(-p))
        assert np.allclose(slope, 1 / (1 - p), rtol=1e-4)
