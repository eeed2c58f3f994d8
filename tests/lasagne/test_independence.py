"""What is refused because sequences of a batch depend on each other, and what is not."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import lasagne
from lasagne.independence import DependenceError, check_independence
from lasagne.layers import (
    BatchNormLayer,
    ConcatLayer,
    DenseLayer,
    DimshuffleLayer,
    DropoutLayer,
    EmbeddingLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    GRULayer,
    InputLayer,
    LSTMLayer,
    PadLayer,
    RecurrentLayer,
    RepeatLayer,
    ReshapeLayer,
    SliceLayer,
    StandardizationLayer,
    batch_norm,
    get_output,
    layer_norm,
)
from lasagne.loop import loop
from lasagne.objectives import (
    binary_crossentropy,
    categorical_crossentropy,
    multiclass_hinge_loss,
    squared_error,
)

T, F = 3, 4
x, y, mask = pt.tensor3("x"), pt.tensor3("y"), pt.matrix("mask")
last, classes = x[:, -1], mask[:, 0].astype("int64")
W = pytensor.shared(np.ones((F, F)), name="W")
softmax, log_softmax = pt.special.softmax, pt.special.log_softmax


def l_in():
    return InputLayer((None, T, F), x)


def output(layer, **options):
    """The sum of a layer's output for each sequence."""
    value = get_output(layer, **options)
    return value.sum(axis=tuple(range(1, value.ndim))) if value.ndim > 1 else value


def own(value):
    """A loss of which the value is a part, of whatever shape it is."""
    return x.sum(axis=(1, 2)) + value.sum()


def run(step):
    """A recurrent network by hand."""
    start = pt.zeros((x.shape[0], F))
    (states,) = loop(lambda *args: [step(*args)], [x.dimshuffle(1, 0, 2)], [start])
    return states[-1].sum(axis=1)


def scan(step, taps=(-1,)):
    """A recurrent network by `pytensor.scan`."""
    start = pt.zeros((len(taps), x.shape[0], F)) if len(taps) > 1 else pt.zeros((x.shape[0], F))
    return pytensor.scan(
        step,
        sequences=[x.dimshuffle(1, 0, 2)],
        outputs_info=[{"initial": start, "taps": list(taps)}],
        return_updates=False,
    )


def own_states():
    """The sum of the states of a recurrent network, for each sequence."""
    return scan(lambda x, h: x + h).sum(axis=(0, 2))


INDEPENDENT = {
    "means over time and features": lambda: x.mean(axis=2).mean(axis=1),
    "mean of a masked sequence": lambda: (x.sum(axis=2) * mask).sum(axis=1) / mask.sum(axis=1),
    "variance of features": lambda: x.var(axis=2).sum(axis=1),
    "norm of a sequence": lambda: pt.sqrt((x**2).sum(axis=(1, 2))),
    "number of steps": lambda: x.sum(axis=(1, 2)) / (x.shape[1] * x.shape[2]),
    "softmax over features": lambda: softmax(x, axis=-1)[:, -1, 0],
    "softmax over time": lambda: softmax(x, axis=1)[:, -1, 0],
    "logsumexp": lambda: pt.logsumexp(x, axis=2).sum(axis=1),
    "largest and smallest": lambda: x.max(axis=(1, 2)) - x.min(axis=1).sum(axis=1),
    "position of the largest": lambda: pt.argmax(x, axis=2).sum(axis=1).astype("float64"),
    "product over time": lambda: x.prod(axis=1).sum(axis=1),
    "cumulative sum over time": lambda: pt.cumsum(x, axis=1).sum(axis=(1, 2)),
    "sorted over time": lambda: pt.sort(x, axis=1)[:, 0, 0],
    "sorted features": lambda: pt.sort(x, axis=-1)[:, 0, 0],
    "all steps as rows": lambda: (
        (x.reshape((-1, F)) @ W).reshape((x.shape[0], x.shape[1], F)).sum(axis=(1, 2))
    ),
    "time major": lambda: (x.dimshuffle(1, 0, 2) @ W).mean(axis=0).sum(axis=1),
    "time major rows": lambda: (
        (x.dimshuffle(1, 0, 2).reshape((-1, F)) @ W).reshape((T, -1, F)).sum(axis=(0, 2))
    ),
    "matrix on the left": lambda: (W @ last.T).sum(axis=0),
    "matrix product of a sequence": lambda: (x @ y.dimshuffle(0, 2, 1)).sum(axis=(1, 2)),
    "tensordot": lambda: pt.tensordot(x, W, axes=[[2], [0]]).sum(axis=(1, 2)),
    "einsum": lambda: pt.einsum("btf,bsf->bts", x, y).sum(axis=(1, 2)),
    "states of zero": lambda: pt.concatenate([pt.zeros((x.shape[0], 1, F)), x], axis=1)[:, 0, 0],
    "reversed time": lambda: x[:, ::-1].sum(axis=(1, 2)),
    "one step": lambda: x[:, 0, 0] + x[..., 1].sum(axis=1),
    "the last step by its number": lambda: x[pt.arange(x.shape[0]), classes].sum(axis=1),
    "a step set to zero": lambda: pt.set_subtensor(x[:, 0], 0).sum(axis=(1, 2)),
    "steps beside each other": lambda: pt.stack([x[:, 0], x[:, 1]], axis=0).sum(axis=(0, 2)),
    "masked by switch": lambda: pt.switch(mask[:, :, None], x, 0).sum(axis=(1, 2)),
    "one-hot": lambda: (pt.eye(F)[mask.astype("int64")] * x).sum(axis=(1, 2)),
    "shape of a sum over the batch": lambda: x.sum(axis=(1, 2)) + pt.zeros_like(x.mean(axis=0))[0, 0],
    "repeated at each step": lambda: output(RepeatLayer([SliceLayer(l_in(), 1, axis=1), l_in()])),
    "squared error": lambda: squared_error(x, y).mean(axis=(1, 2)),
    "binary crossentropy": lambda: binary_crossentropy(pt.sigmoid(x), y).mean(axis=(1, 2)),
    "categorical crossentropy": lambda: categorical_crossentropy(softmax(last, axis=-1), y[:, 0]),
    "categorical crossentropy of classes": lambda: categorical_crossentropy(
        lasagne.nonlinearities.softmax(last), classes
    ),
    "hinge loss": lambda: multiclass_hinge_loss(last, classes),
    "loop": lambda: run(lambda x, h: pt.tanh(x + h @ W)),
    "loop that normalises features": lambda: run(lambda x, h: x + h / h.sum(axis=1, keepdims=True)),
    "scan": lambda: scan(lambda x, h: pt.tanh(x + h @ W))[-1].mean(axis=1),
    "scan of two states": lambda: scan(lambda x, g, h: x + g * h, (-2, -1)).sum(axis=(0, 2)),
    "layer normalisation": lambda: output(layer_norm(DenseLayer(l_in(), 4, num_leading_axes=2))),
    "standardisation": lambda: output(StandardizationLayer(l_in())),
    "dropout": lambda: output(DropoutLayer(l_in())),
    "noise": lambda: output(GaussianNoiseLayer(l_in())),
    "running averages": lambda: output(
        BatchNormLayer(l_in(), axes=(0, 1)), batch_norm_use_averages=True
    ),
    "batch normalisation after training": lambda: output(batch_norm(DenseLayer(l_in(), 3)), deterministic=True),
    "RecurrentLayer": lambda: output(RecurrentLayer(l_in(), 5, backwards=True, learn_init=True)),
    "GRULayer": lambda: output(GRULayer(l_in(), 5, only_return_final=True)),
    "LSTMLayer": lambda: output(
        LSTMLayer(l_in(), 5, mask_input=InputLayer((None, T), mask), unroll_scan=True)
    ),
    "shapes of layers": lambda: output(
        SliceLayer(ConcatLayer([PadLayer(l_in(), 1, batch_ndim=2), l_in()], axis=2), -1, axis=1)
    ),
    "rows of layers": lambda: output(
        ReshapeLayer(DenseLayer(ReshapeLayer(l_in(), (-1, [2])), 4), (-1, T, 4))
    ),
    "axes of layers": lambda: output(FlattenLayer(DimshuffleLayer(l_in(), (0, 2, 1)))),
    "EmbeddingLayer": lambda: output(
        EmbeddingLayer(InputLayer((None, T), mask.astype("int64")), 5, 3)
    ),
}  # fmt: skip

DEPENDENT = {
    "BatchNormLayer": lambda: output(BatchNormLayer(l_in(), axes=(0, 1))),
    "batch normalisation without updates": lambda: output(
        BatchNormLayer(l_in(), axes=(0, 1)), batch_norm_update_averages=False
    ),
    "batch normalisation of a dense layer": lambda: output(
        batch_norm(DenseLayer(l_in(), 3)), batch_norm_update_averages=False
    ),
    "less the mean": lambda: (x - x.mean(axis=0)).sum(axis=(1, 2)),
    "less the mean over batch and time": lambda: (x - x.mean(axis=(0, 1))).sum(axis=(1, 2)),
    "less the mean, time major": lambda: (
        (x.dimshuffle(1, 0, 2) - x.dimshuffle(1, 0, 2).mean(axis=1, keepdims=True)).sum(axis=(0, 2))
    ),
    "by the standard deviation": lambda: (x / x.std(axis=0)).sum(axis=(1, 2)),
    "by the norm of the batch": lambda: own(pt.sqrt((x**2).sum())),
    "mean of all": lambda: own(x.mean()),
    "mean of rows": lambda: own(x.reshape((-1, F)).mean(axis=0)),
    "sum of all as one row": lambda: own(x.flatten().sum()),
    "largest of all": lambda: own(x.max()),
    "largest of the batch": lambda: own(pt.argmax(x, axis=0)),
    "whether any is": lambda: own(mask.any()),
    "product over the batch": lambda: own(x.prod(axis=0)),
    "divided by the number of sequences": lambda: x.sum(axis=(1, 2)) / x.shape[0],
    "divided by the number as a float": lambda: x.sum(axis=(1, 2)) / x.shape.astype("float64")[0],
    "divided by the number of items": lambda: x.sum(axis=(1, 2)) / x.size,
    "times the number of sequences": lambda: x.sum(axis=(1, 2)) * mask.shape[0],
    "a number from the number": lambda: x.sum(axis=(1, 2)) * (12 // (x.shape[0] + 1)),
    "softmax over the batch": lambda: softmax(x, axis=0).sum(axis=(1, 2)),
    "softmax over the batch, time major": lambda: softmax(x.dimshuffle(1, 0, 2), axis=1)[0, :, 0],
    "softmax over all": lambda: softmax(x, axis=None).sum(axis=(1, 2)),
    "log_softmax over the batch": lambda: log_softmax(x, axis=0).sum(axis=(1, 2)),
    "contrastive loss": lambda: pt.diag(-log_softmax(last @ y[:, -1].T, axis=1)),
    "logsumexp over the batch": lambda: own(pt.logsumexp(x.sum(axis=(1, 2)))),
    "cumulative sum over the batch": lambda: pt.cumsum(x, axis=0).sum(axis=(1, 2)),
    "cumulative sum of all": lambda: pt.cumsum(x)[:1],
    "sorted over the batch": lambda: pt.sort(x, axis=0).sum(axis=(1, 2)),
    "ranks": lambda: pt.argsort(x, axis=0).sum(axis=(1, 2)).astype("float64"),
    "the first sequence": lambda: own(x[0]),
    "less the last sequence": lambda: (x - x[-1]).sum(axis=(1, 2)),
    "reversed batch": lambda: x[::-1].sum(axis=(1, 2)),
    "without the first": lambda: x[1:].sum(axis=(1, 2)),
    "the first set to zero": lambda: pt.set_subtensor(x[0], 0).sum(axis=(1, 2)),
    "rotated batch": lambda: pt.roll(x, 1, axis=0).sum(axis=(1, 2)),
    "twice the batch": lambda: pt.concatenate([x, x]).sum(axis=(1, 2)),
    "products of sequences": lambda: (last @ (last.T @ last)).sum(axis=1),
    "dot product over the batch": lambda: own(pt.dot(mask[:, 0], mask[:, 1])),
    "vector times matrix": lambda: own(mask[:, 0] @ mask),
    "einsum over the batch": lambda: pt.einsum("btf,ctf->b", x, y),
    "tensordot over the batch": lambda: own(pt.tensordot(x, y, axes=[[0, 1], [0, 1]])),
    "mean of embeddings": lambda: own(W[classes].mean(axis=0)),
    "scan that mixes": lambda: scan(lambda x, h: x + h - h.mean(axis=0))[-1].sum(axis=1),
    "scan of two states that mixes": lambda: (
        scan(lambda x, g, h: x + h - g.mean(axis=0), (-2, -1))[-1].sum(axis=1)
    ),
    "mean of what a scan gives": lambda: own(scan(lambda x, h: x + h).mean(axis=1)),
    "divided by the number in a scan": lambda: own_states() / own_states().shape[0],
    "loop that mixes": lambda: run(lambda x, h: pt.tanh(x + h - h.mean(axis=0))),
    "loop that mixes inputs": lambda: run(lambda x, h: h + x - x.mean(axis=0)),
    "loop that mixes what it read": lambda: run(lambda x, h: x + h.T @ h @ W),
}  # fmt: skip


@pytest.mark.parametrize("name", INDEPENDENT)
def test_what_is_independent(name):
    losses = INDEPENDENT[name]()
    assert losses.ndim == 1
    check_independence([losses], [x, y, mask])


@pytest.mark.parametrize("name", DEPENDENT)
def test_what_depends_on_other_sequences(name):
    losses = DEPENDENT[name]()
    assert losses.ndim == 1
    with pytest.raises(DependenceError, match=r"must depend, for each sequence, on this sequence"):
        check_independence([losses], [x, y, mask])


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        (lambda: own(x.mean()), "there is a sum over the batch"),
        (lambda: x.sum(axis=(1, 2)) / x.shape[0], "there is a number computed from the size of the batch"),
        (lambda: own(x[0]), "there is a part of the batch"),
        (lambda: softmax(x, axis=0).sum(axis=(1, 2)), "there is a softmax over the batch"),
        (lambda: last @ (last.T @ last)[0], "there is a product that sums over the batch"),
    ],
)  # fmt: skip
def test_the_error_says_what_was_found(losses, found):
    with pytest.raises(DependenceError, match=found):
        check_independence([losses()], [x, y, mask])


def test_every_result_is_checked():
    check_independence([x.sum(axis=(1, 2)), x[:, 0]], [x])
    with pytest.raises(DependenceError, match="a part of the batch"):
        check_independence([x.sum(axis=(1, 2)), x[::-1]], [x])


def test_what_does_not_come_from_the_batch_is_free():
    """Another input may be reduced along any axis: each block gets the whole of it."""
    z = pt.matrix("z")
    check_independence([x.sum(axis=(1, 2)) + z.mean() / z.shape[0] + z[0].sum()], [x])


# ---- what the check sees through, and what it does not


def check(value):
    return check_independence([own_loss(value)], [x, y, mask])


def own_loss(value):
    return value.sum(axis=tuple(range(1, value.ndim))) if value.ndim > 1 else value


TIME_MAJOR = DimshuffleLayer(InputLayer((None, T, F), x), (1, 0, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: (
            get_output(BatchNormLayer(ReshapeLayer(TIME_MAJOR, (-1, F))))
            .reshape((T, -1, F))
            .swapaxes(0, 1)
        ),
        lambda: x[:, 0, 0] * (pt.arange(x.shape[0]) < 3),
        lambda: x[classes],
        lambda: x[:, 0, 0] / x.shape[-3],
        lambda: (lambda p: p / p.mean())(x[pt.arange(x.shape[0]), classes].sum(axis=1)),
    ],
    ids=["batch norm, time-major", "numbers of sequences", "permutation", "negative axis", "items"],
)
def test_other_ways_to_mix_sequences(make):
    with pytest.raises(DependenceError):
        check(make())


@pytest.mark.parametrize(
    "make",
    [
        lambda: x.swapaxes(0, 1).reshape((-1, F)).dot(W).reshape((T, x.shape[0], F)).swapaxes(0, 1),
        lambda: x[pt.arange(x.shape[0]), classes],
        lambda: pt.take_along_axis(x, pt.argsort(x, axis=1), axis=1),
        lambda: pt.concatenate(pt.split(x, [1, 2], n_splits=2, axis=1), axis=1),
    ],
    ids=["time-major", "items", "along axis", "split"],
)
def test_what_the_check_sees_through(make):
    assert check(make()) == ""


def test_what_the_check_cannot_see_through_is_named():
    lost = x.swapaxes(0, 1).reshape((-1, F)).reshape((T, -1, F)).swapaxes(0, 1)
    assert "Reshape" in check(lost)
