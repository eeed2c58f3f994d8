"""Training on a user's data: the loss, what a network is given, streams, exact continuation."""

from contextlib import contextmanager

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import get_mode

import lasagne
from lasagne.backends.modes import get_mode as get_jax_mode
from lasagne.init import Constant
from lasagne.layers import (
    BatchNormLayer,
    ConcatLayer,
    DenseLayer,
    EmbeddingLayer,
    ExpressionLayer,
    InputLayer,
    RecurrentLayer,
    ReshapeLayer,
    SliceLayer,
    StandardizationLayer,
    get_output,
)
from lasagne.updates import sgd
from ntm.data import Batches, Dataset, Epochs, Stream
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.layers.ntm import NTMLayer
from ntm.tasks import CopyTask
from ntm.training import Callback, DropLearningRate, EarlyStop, KeepBest, Trainer
from ntm.training.inputs import NetworkInputs
from ntm.training.objective import DataObjective
from ntm.training.step import TrainingStep

rng = np.random.default_rng(0)
X = rng.normal(size=(7, 5, 3))
LENGTHS = np.array([5, 2, 4, 5, 1, 3, 5])
COUNTS = (np.arange(5) < LENGTHS[:, None]).astype(float)
MASK = COUNTS * rng.uniform(0.5, 2, (7, 5))


@contextmanager
def drawn_by(seed):
    """Parameters of layers that are made in this context are the same each time."""
    before = lasagne.random.get_rng()
    lasagne.random.set_rng(np.random.RandomState(seed))
    yield
    lasagne.random.set_rng(before)


@drawn_by(0)
def build(num_outputs=2, features=3, final=False):
    """A network without a memory, whose outputs depend on one step alone, unless it is `final`."""
    layer = InputLayer((None, None, features))
    if final:
        return DenseLayer(SliceLayer(layer, -1, axis=1), num_outputs, nonlinearity=None)
    return DenseLayer(layer, num_outputs, num_leading_axes=2, nonlinearity=None)


@drawn_by(0)
def build_ntm(num_outputs=2, features=3, layer=None):
    layer = InputLayer((None, None, features)) if layer is None else layer
    layer = NTMLayer(layer, (6, 4), lambda each: DenseLayer(each, 5), [WriteHead, ReadHead])
    return DenseLayer(layer, num_outputs, num_leading_axes=2, nonlinearity=None)


def log_softmax(outputs):
    return outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))


def measure_by_hand(kind, outputs, targets, mask, class_weights=None):
    """The loss of each sequence in plain NumPy, from outputs (B, T, O)."""
    if kind == "classes":
        chosen = np.take_along_axis(log_softmax(outputs), targets[..., None], axis=2)[..., 0]
        weights = np.ones(outputs.shape[2]) if class_weights is None else np.array(class_weights)
        errors = -chosen * weights[targets]
    elif kind == "bits":
        p = 1 / (1 + np.exp(-outputs))
        errors = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(2)
    else:
        errors = ((outputs - targets) ** 2).mean(2)
    return (errors * mask).sum(1) / mask.sum(1)


def make_targets(kind, per, num_outputs):
    shape = (7, 5) if per == "step" else (7,)
    if kind == "classes":
        return rng.integers(0, num_outputs, shape)
    if kind == "bits":
        return rng.integers(0, 2, (*shape, num_outputs)).astype(float)
    return rng.normal(size=(*shape, num_outputs))


# ---- The loss


@pytest.mark.parametrize("kind", ["bits", "classes", "numbers"])
@pytest.mark.parametrize("per", ["step", "sequence"])
def test_the_loss_of_a_sequence(kind, per):
    targets, weights = make_targets(kind, per, 2), rng.uniform(1, 3, 7)
    class_weights = [0.5, 3.0] if kind == "classes" else None
    data = Dataset(X, targets, MASK, LENGTHS, weights, kind=kind, per=per, num_outputs=2)
    l_out = build()
    objective = DataObjective(data.layout, class_weights=class_weights)
    step = TrainingStep(l_out, objective, sgd, mode=get_mode("FAST_COMPILE"))
    W, b = (param.get_value() for param in step.params)
    result = step(data.take(range(7)), 0.0)
    outputs = X @ W + b
    mask = MASK
    if per == "sequence":
        outputs, mask = outputs[np.arange(7), LENGTHS - 1][:, None], np.ones((7, 1))
        targets = targets[:, None]
    expected = measure_by_hand(kind, outputs, targets, mask, class_weights)
    np.testing.assert_allclose(result.losses, expected, rtol=1e-10)
    assert result.loss == pytest.approx(np.average(expected, weights=weights), rel=1e-6)


def test_a_network_that_gives_one_output_a_sequence():
    targets = make_targets("classes", "sequence", 2)
    data = Dataset(X, targets, num_outputs=2)
    step = TrainingStep(
        build(final=True), DataObjective(data.layout), sgd, mode=get_mode("FAST_COMPILE")
    )
    W, b = (param.get_value() for param in step.params)
    expected = measure_by_hand("classes", (X @ W + b)[:, -1:], targets[:, None], np.ones((7, 1)))
    np.testing.assert_allclose(step(data.take(range(7)), 0.0).losses, expected, rtol=1e-10)


def test_outputs_in_the_padding_may_be_anything():
    """Neither the loss nor its gradient depends on the outputs after the end of a sequence."""
    data = Dataset(X, make_targets("classes", "sequence", 2), lengths=LENGTHS, num_outputs=2)
    batch = data.take(range(7))
    inputs = np.where(COUNTS[..., None] > 0, batch.inputs["inputs"], np.nan)
    step = TrainingStep(build(), DataObjective(data.layout), sgd, mode=get_mode("FAST_COMPILE"))
    losses = step(batch, 0.0).losses
    hidden = step(batch._replace(inputs={"inputs": inputs}), 0.0)
    np.testing.assert_array_equal(hidden.losses, losses)
    assert np.isfinite(hidden.losses).all()


def test_a_loss_of_your_own():
    targets = rng.normal(size=(7, 5, 2))
    data = Dataset(X, targets, MASK, LENGTHS)

    def loss(outputs, targets, mask):
        return (abs(outputs - targets).sum(axis=2) * mask).sum(axis=1)

    step = TrainingStep(
        build(), DataObjective(data.layout, loss), sgd, mode=get_mode("FAST_COMPILE")
    )
    W, b = (param.get_value() for param in step.params)
    expected = (np.abs(X @ W + b - targets).sum(2) * MASK).sum(1)
    np.testing.assert_allclose(step(data.take(range(7)), 0.0).losses, expected, rtol=1e-10)


def test_targets_for_a_loss_of_your_own():
    """A network may give another number of outputs than the targets have, such as a mean and a variance."""

    def loss(outputs, targets, mask):
        log_variance = outputs[..., 1]
        errors = pt.sqr(outputs[..., 0] - targets[..., 0]) / pt.exp(log_variance) + log_variance
        return (errors * mask).sum(axis=1)

    targets = rng.normal(size=(7, 5, 1))
    losses = []
    for data in (Dataset(X, targets, MASK), Dataset(X, targets, MASK, kind="own")):
        trainer = Trainer(build(2), data, loss=loss, mode="FAST_COMPILE")
        losses.append(trainer.training_step(data.take(range(7)), 0.0).losses)
    W, b = (param.get_value() for param in trainer.params)
    outputs = X @ W + b
    errors = (outputs[..., 0] - targets[..., 0]) ** 2 / np.exp(outputs[..., 1]) + outputs[..., 1]
    np.testing.assert_allclose(losses, [(errors * MASK).sum(1)] * 2, rtol=1e-10)
    # Labels for outputs that are no logits of the classes
    labels = rng.integers(0, 4, 7)
    trainer = Trainer(
        build(1),
        (X, labels),
        loss=lambda outputs, targets, mask: pt.sqr(outputs[:, 0] - targets),
        mode="FAST_COMPILE",
        validation=(X, labels),
    )
    data = Dataset(X, labels)
    W, b = (param.get_value() for param in trainer.params)
    expected = ((X @ W + b)[:, -1, 0] - labels) ** 2
    result = trainer.training_step(data.take(range(7)), 0.0)
    np.testing.assert_allclose(result.losses, expected, rtol=1e-10)


@pytest.mark.parametrize("is_given", [True, False], ids=["given", "share"])
@pytest.mark.parametrize("is_label", [True, False], ids=["labels", "numbers"])
def test_a_loss_of_your_own_is_measured(is_label, is_given):
    """On validation data and training data, where the network gives another number of outputs than the targets have."""
    if is_label:
        data, l_out = (X, rng.integers(0, 4, 7)), build(1)

        def loss(outputs, targets, mask):
            return pt.sqr(outputs[:, 0] - targets)

    else:
        data, l_out = (X, rng.normal(size=(7, 5))), build(2)

        def loss(outputs, targets, mask):
            return (pt.sqr(outputs[..., 0] - targets[..., 0]) * mask).sum(axis=1)

    validation = data if is_given else 0.3
    trainer = Trainer(l_out, data, loss=loss, validation=validation, mode="FAST_COMPILE")
    trainer.train(epochs=1, progress=False)
    W, b = (param.get_value() for param in trainer.params)
    outputs = (X @ W + b)[..., 0]
    errors = (outputs[:, -1] - data[1]) ** 2 if is_label else ((outputs - data[1]) ** 2).sum(axis=1)
    if not is_given:
        held = Dataset(X, np.arange(7), num_outputs=7).split(0.3, seed=0)[1].take([0, 1]).targets
        errors = errors[held]
    assert trainer.evaluations[-1]["validation loss"] == pytest.approx(errors.mean(), rel=1e-9)
    assert trainer.evaluations[-1]["training loss"] > 0


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda outputs, targets, mask: outputs.sum(), "the loss of each sequence, a vector"),
        (lambda outputs, targets, mask: 3.0, "the loss of each sequence, a vector"),
    ],
)
def test_a_loss_that_is_none(loss, message):
    data = Dataset(X, rng.normal(size=(7, 5, 2)))
    with pytest.raises(ValueError, match=message):
        TrainingStep(build(), DataObjective(data.layout, loss), sgd)


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, targets, mask: pt.sqr(outputs - targets).mean(axis=(0, 2)),
        lambda outputs, targets, mask: (
            outputs[:, :, 0].sum(axis=1)[:, None] - targets[:, 0, 0]
        ).sum(axis=1),
    ],
    ids=["wrong axis", "broadcast"],
)
def test_a_loss_that_mixes_sequences(loss):
    """Even where there are as many steps as sequences, so that shapes do not tell."""
    data = Dataset(X[:5], rng.normal(size=(5, 5, 2)))
    with pytest.warns(UserWarning, match="loss must return the loss of each sequence"):
        Trainer(build(), data, loss=loss)


def test_targets_of_a_single_class():
    with pytest.raises(
        ValueError, match=r"Trainer: the targets are of a single class.* two classes"
    ):
        Trainer(build(1), (X, np.zeros(7, int)))
    Trainer(build(2), (X, np.zeros(7, int)))  # The network knows another class


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [np.nan, 1.0], ["a", "b"], [0, 0]])
def test_class_weights_that_are_none(weights):
    data = Dataset(X, make_targets("classes", "step", 2), num_outputs=2)
    with pytest.raises(ValueError, match="class_weights must be"):
        DataObjective(data.layout, class_weights=weights)


# ---- What a network is given


def run_on(l_out, data):
    """The outputs that a training step computes of a data set, and the arrays it is given."""
    objective = DataObjective(
        data.layout, lambda outputs, targets, mask: outputs.sum(axis=(1, 2)) + 0 * mask.sum(axis=1)
    )
    step = TrainingStep(l_out, objective, sgd, mode=get_mode("FAST_COMPILE"))
    return step(data.take(range(len(data))), 0.0).losses


def test_symbols_become_one_hot():
    symbols = rng.integers(0, 3, (7, 5))
    data = Dataset(symbols, np.zeros((7, 5, 2)), kind="numbers")
    l_out = build()
    expected = get_output(l_out, np.eye(3)[symbols]).eval().sum((1, 2))
    np.testing.assert_allclose(run_on(l_out, data), expected, rtol=1e-6)


def test_symbols_go_to_an_embedding_as_they_are():
    symbols = rng.integers(0, 4, (7, 5))
    data = Dataset(symbols, np.zeros((7, 5, 2)), kind="numbers")
    l_in = InputLayer((None, None), input_var=pt.imatrix())
    l_embedding = EmbeddingLayer(l_in, 4, 3)
    l_out = DenseLayer(l_embedding, 2, num_leading_axes=2, nonlinearity=None)
    expected = get_output(l_out, symbols.astype("int32")).eval().sum((1, 2))
    np.testing.assert_allclose(run_on(l_out, data), expected, rtol=1e-6)


def test_several_inputs_by_name():
    other = rng.normal(size=(7, 5, 1))
    data = Dataset({"b": other, "a": X}, np.zeros((7, 5, 2)), kind="numbers")
    l_a, l_b = InputLayer((None, None, 3), name="a"), InputLayer((None, None, 1), name="b")
    l_out = DenseLayer(ConcatLayer([l_a, l_b], axis=2), 2, num_leading_axes=2, nonlinearity=None)
    expected = get_output(l_out, {l_a: X, l_b: other}).eval().sum((1, 2))
    np.testing.assert_allclose(run_on(l_out, data), expected, rtol=1e-6)
    l_b.name = "c"
    with pytest.raises(ValueError, match="named 'a', 'c', and the inputs of the data 'b', 'a'"):
        run_on(l_out, data)


@pytest.mark.parametrize(
    ("l_out", "data", "message"),
    [
        (build(features=4), Dataset(X, np.zeros((7, 5), int), num_outputs=2), "has 3 features"),
        (build(1), Dataset(X, np.zeros((7, 5), int), num_outputs=2), r"gives .* has 2 features"),
        (build(final=True), Dataset(X, np.zeros((7, 5), int), num_outputs=2), r"\(batch, time, 2"),
        (build(), Dataset(np.full((7, 5), 3), np.zeros((7, 5, 2))), "has symbols from 0 to 3"),
    ],
    ids=["inputs", "outputs", "steps", "symbols"],
)
def test_networks_that_do_not_fit(l_out, data, message):
    with pytest.raises(ValueError, match=message):
        Trainer(l_out, data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curriculum": "linear"}, "curriculum is for tasks"),
        ({"solved_below": 0.1}, "solved_below is for tasks"),
        ({"validation": 1.0}, "share below 1"),
        ({"validation": 0}, "above 0"),
        ({"class_weights": [1, 1, 1]}, "2 numbers"),
        ({"metrics": ["wrongness"]}, "wrongness"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_arguments_that_do_not_fit_data(options, message):
    data = X, rng.integers(0, 2, (7, 5))
    with pytest.raises(ValueError, match=message):
        Trainer(build(), data, **options)


@pytest.mark.parametrize("name", ["batch_size", "validation", "loss", "class_weights", "metrics"])
def test_arguments_that_do_not_fit_a_task(name):
    task = CopyTask(size=1, max_length=2)
    with pytest.raises(ValueError, match=f"{name} is for data of your own, not for CopyTask"):
        Trainer(build(1, task.num_inputs), task, **{name: 1})


# ---- Padding, and networks of a fixed size

RAGGED = [X[k, :length] for k, length in enumerate(LENGTHS)]


def build_both(layer, final):
    """A network that runs forward and backwards over sequences, or the last steps of both."""
    layers = [
        RecurrentLayer(layer, 3, backwards=backwards, only_return_final=final, b=Constant(0.5))
        for backwards in (False, True)
    ]
    return ConcatLayer(layers, axis=-1)


def build_last(layer):
    return SliceLayer(RecurrentLayer(layer, 3, b=Constant(0.5)), -1, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build_layer", "per"),
    [
        (lambda layer: build_both(layer, False), "step"),
        (lambda layer: build_both(layer, True), "sequence"),
        (build_last, "sequence"),
    ],
    ids=["backwards", "final", "slice"],
)
def test_sequences_end_where_their_own_steps_end(build_layer, per):
    """In training and evaluation, the loss in a padded batch is the loss of the sequence alone, without padding."""
    lasagne.random.set_rng(np.random.RandomState(0))
    labels = [rng.integers(0, 2, length) for length in LENGTHS]
    targets = labels if per == "step" else [each[0] for each in labels]
    data = Dataset(RAGGED, targets, num_outputs=2)
    layer = build_layer(InputLayer((None, None, 3)))
    l_out = DenseLayer(layer, 2, num_leading_axes=-1, nonlinearity=None)
    trainer = Trainer(l_out, data, sgd, mode="FAST_COMPILE", num_buckets=1)
    whole = trainer.training_step(data.take(range(7)), 0.0).losses
    x = layer_input = pt.tensor3()
    run = pytensor.function([x], get_output(l_out, layer_input), mode="FAST_COMPILE")
    alone = []
    for sequence, target in zip(RAGGED, targets, strict=True):
        found = run(sequence[None])[0]
        chosen = log_softmax(found)[(np.arange(len(sequence)), target) if per == "step" else target]
        alone.append(-chosen.mean())
    np.testing.assert_allclose(whole, alone, rtol=1e-10)
    assert trainer.evaluate(data)["loss"] == pytest.approx(np.mean(alone), rel=1e-10)
    for predicted, sequence in zip(trainer.predict(data), RAGGED, strict=True):
        np.testing.assert_allclose(
            np.log(predicted), log_softmax(run(sequence[None])[0]), rtol=1e-9
        )


@pytest.mark.parametrize(
    "layer",
    [
        SliceLayer(InputLayer((None, None, 3)), -1, axis=1),
        ExpressionLayer(
            InputLayer((None, None, 3)),
            lambda x: x.mean(axis=1),
            lambda shape: (shape[0], shape[2]),
        ),
        StandardizationLayer(InputLayer((None, None, 3)), axes=(1, 2)),
    ],
    ids=["slice", "mean", "standardization"],
)
def test_networks_that_do_not_know_the_padding(layer):
    l_out = DenseLayer(layer, 2, num_leading_axes=-1, nonlinearity=None)
    with pytest.raises(ValueError, match=r"sequence 1 of the data is padded.*tell a sequence from"):
        Trainer(l_out, (RAGGED, LENGTHS % 2))
    # Without padding there is nothing to refuse
    trainer = Trainer(l_out, (X, LENGTHS % 2), mode="FAST_COMPILE", validation=(X, LENGTHS % 2))
    with pytest.raises(ValueError, match="sequence 1 of the data is padded"):
        Trainer(l_out, (X, LENGTHS % 2), validation=(RAGGED, LENGTHS % 2))
    with pytest.raises(ValueError, match="sequence 1 of the data is padded"):
        trainer.evaluate((RAGGED, LENGTHS % 2))
    batches = Trainer(
        l_out, Batches([(X, LENGTHS % 2), (X[:, :4], LENGTHS % 2)]), mode="FAST_COMPILE"
    )
    batches.step()
    with pytest.raises(ValueError, match="sequence 0 of the batch is padded"):
        batches.step()


def test_a_layer_that_may_mix_steps():
    layer = ReshapeLayer(InputLayer((None, None, 3)), (-1, [2]))
    layer = ReshapeLayer(DenseLayer(layer, 2, nonlinearity=None), (7, -1, [1]))
    with pytest.warns(UserWarning, match="<ReshapeLayer> may mix the steps of a sequence"):
        Trainer(layer, (RAGGED, LENGTHS % 2), num_buckets=1)
    Trainer(layer, (X, LENGTHS % 2))


def test_statistics_of_padded_batches():
    layer = BatchNormLayer(InputLayer((None, None, 3)), axes=(0, 1))
    l_out = DenseLayer(layer, 2, num_leading_axes=2, nonlinearity=None)
    for data, batch_size in (((RAGGED, LENGTHS % 2), 7), ((X, LENGTHS % 2), 4)):
        with pytest.warns(UserWarning, match="BatchNormLayer.* takes the mean and variance"):
            Trainer(l_out, data, batch_size=batch_size)
    Trainer(l_out, (X, LENGTHS % 2), batch_size=7)


def test_a_network_of_a_fixed_size():
    """Batches are filled and padded to the size that a network was made for."""
    data = Dataset(RAGGED, LENGTHS % 2)

    def make(shape):
        lasagne.random.set_rng(np.random.RandomState(0))
        l_out = DenseLayer(InputLayer(shape), 2, num_leading_axes=2, nonlinearity=None)
        return Trainer(l_out, data, sgd, mode="FAST_COMPILE", validation=data)

    fixed, free = make((3, 6, 3)), make((None, None, 3))
    assert fixed.source.batch_size == 3
    batch = data.take([1, 2])
    np.testing.assert_allclose(
        fixed.training_step(batch, 0.1).losses[:2], free.training_step(batch, 0.1).losses
    )
    assert fixed.evaluate(data) == pytest.approx(free.evaluate(data))
    for one, other in zip(fixed.predict(data), free.predict(data), strict=True):
        np.testing.assert_allclose(one, other)
    assert fixed.train(epochs=1, progress=False) == "done"
    for shape, message in (((8, None, 3), None), ((None, 4, 3), r"batches of 4 steps.* of 5")):
        if message is None:
            assert make(shape).train(epochs=1, progress=False) == "done"
        else:
            with pytest.raises(ValueError, match=message):
                make(shape)
    with pytest.raises(ValueError, match=r"batches of 2 sequences.* of 3"):
        Trainer(build_fixed(2), data, batch_size=3)


def build_fixed(batch_size):
    return DenseLayer(InputLayer((batch_size, None, 3)), 2, num_leading_axes=2, nonlinearity=None)


def test_one_hot_targets_of_as_many_classes_as_steps():
    one_hot = np.eye(5, dtype=int)[rng.integers(0, 5, 7)]
    with pytest.warns(UserWarning, match="one class a sequence, one-hot, give Dataset"):
        Trainer(build(5), (X, one_hot))
    trainer = Trainer(build(5), Dataset(X, one_hot, per="sequence"))
    assert trainer.source.layout.kind == "classes"
    Trainer(build(5), (X, rng.integers(0, 2, (7, 5))))


# ---- What is refused before anything is compiled


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (lambda: ((np.full((2, 5), 4), [0, 1])), "validation: the data has symbols from 0 to 4"),
        (lambda: ((X[:2, :, 0], [0, 1])), "validation: the network takes integers"),
        (lambda: ((np.zeros((2, 5), int), [0, 1]) for _ in range(2)), "is a generator"),
    ],
    ids=["symbols", "numbers", "generator"],
)
def test_validation_that_does_not_fit(validation, message):
    l_in = InputLayer((None, None), input_var=pt.imatrix())
    l_out = DenseLayer(EmbeddingLayer(l_in, 3, 2), 2, num_leading_axes=2, nonlinearity=None)
    data = rng.integers(0, 3, (7, 5)), LENGTHS % 2
    with pytest.raises(ValueError, match=message):
        Trainer(l_out, data, validation=validation())


def test_validation_by_the_source_of_training():
    source = Batches([(X, LENGTHS % 2)])
    with pytest.raises(ValueError, match="expected a source of its own"):
        Trainer(build(), source, validation=source)


def test_validation_by_a_stream_that_cannot_be_carried():
    data = Dataset(X, rng.normal(size=(7, 5, 2)))
    layer = build_both(InputLayer((None, None, 3)), False)
    l_out = DenseLayer(layer, 2, num_leading_axes=2, nonlinearity=None)
    with pytest.raises(ValueError, match="cannot go on from one window to the next"):
        Trainer(l_out, data, validation=Stream(data, 2))


def test_targets_in_place_of_the_update_rule():
    with pytest.raises(TypeError, match=r"as one tuple, Trainer\(l_out, \(x, y\)\)"):
        Trainer(build(), X, LENGTHS % 2)


def test_a_stream_needs_a_state_to_carry():
    l_out = DenseLayer(InputLayer((None, None, 3)), 2, num_leading_axes=2, nonlinearity=None)
    stream = Stream(Dataset(X, rng.normal(size=(7, 5, 2))), 2)
    with pytest.raises(ValueError, match="no layer of the network has a state to carry"):
        Trainer(l_out, stream)


def test_an_evaluation_covers_the_whole_epoch():
    """Even if a batch of the source was drawn before."""
    data = Dataset(X, rng.normal(size=(7, 5, 2)))
    trainer = Trainer(build(), data, mode="FAST_COMPILE")
    source = Epochs(data, 3)
    source.draw()
    before = source.get_state()
    assert trainer.evaluate(source) == pytest.approx(trainer.evaluate(data))
    assert source.get_state() == before


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ("missing.npz", {}, FileNotFoundError, "missing.npz"),
        (Dataset(X, LENGTHS % 2, weights=LENGTHS), {"batch_size": 1}, ValueError, "batch_size of"),
    ],
)
def test_data_that_cannot_be_trained_on(data, options, error, message):
    with pytest.raises(error, match=message):
        Trainer(build(), data, **options)


def test_a_network_that_gives_no_negative_logits():
    l_out = DenseLayer(InputLayer((None, None, 3)), 2, num_leading_axes=2)
    with pytest.raises(ValueError, match="ends in rectify"):
        Trainer(l_out, (X, LENGTHS % 2))
    Trainer(l_out, (X, rng.uniform(size=(7, 5, 2))))


def test_what_training_cannot_do():
    generator = ((X, LENGTHS % 2) for _ in range(2))
    trainer = Trainer(build(), generator, mode="FAST_COMPILE")
    with pytest.raises(ValueError, match="epochs is 2, and the data are a generator"):
        trainer.train(epochs=2, progress=False)
    with pytest.raises(ValueError, match="nothing to measure: give the Trainer validation="):
        trainer.train(epochs=1, evaluate_every=1, progress=False)
    assert trainer.step_count == 0


def test_the_first_batch_may_lack_classes():
    """Where batches come one after another, the network says how many classes there are."""

    class Loader:
        def __iter__(self):
            return iter([(X, LENGTHS % 2), (X, LENGTHS % 3)])

        def __len__(self):
            return 2

    trainer = Trainer(build(3), Loader(), mode="FAST_COMPILE")
    assert trainer.train(epochs=1, progress=False) == "done"
    assert trainer.step_count == 2


def test_batches_in_which_no_sequence_counts():
    """Nothing is learnt from these batches, and they are no failure."""
    data = Dataset(X, LENGTHS % 2, weights=[1, 0, 0, 0, 0, 0, 0])
    trainer = Trainer(build(), data, mode="FAST_COMPILE", batch_size=2)
    trainer.train(epochs=1, progress=False)
    assert trainer.skipped == []
    assert np.isfinite(trainer.losses).sum() == 1


# ---- Training, and going on


class Noter(Callback):
    """Notes what is called."""

    def __init__(self):
        self.calls = []

    def on_start(self, trainer):
        self.calls.append("start")

    def on_step(self, trainer, row):
        self.calls.append(trainer.step_count)

    def on_evaluation(self, trainer, row):
        self.calls.append("evaluation")

    def on_epoch(self, trainer, row):
        self.calls.append(f"epoch {row['epoch']}")

    def on_end(self, trainer, ended):
        self.calls.append(ended)


def make_trainer(callbacks=(), **options):
    targets = np.array([0, 1, 1, 0, 1, 0, 1] * 3)
    inputs = [np.concatenate([X] * 3)[k, : np.tile(LENGTHS, 3)[k]] for k in range(21)]
    options = {"validation": 0.25, "batch_size": 4, "learning_rate": 0.1, **options}
    return Trainer(
        build(),
        (inputs, targets),
        callbacks=callbacks,
        mode="FAST_COMPILE",
        num_buckets=2,
        **options,
    )


def test_epochs_and_callbacks():
    noter = Noter()
    trainer = make_trainer([noter])
    per_epoch = trainer.source.steps_per_epoch
    assert trainer.train(epochs=2, progress=False) == "done"
    steps = list(range(1, 2 * per_epoch + 1))
    first, second = steps[:per_epoch], steps[per_epoch:]
    assert noter.calls == [
        "start",
        *first,
        "evaluation",
        "epoch 1",
        *second,
        "evaluation",
        "epoch 2",
        "done",
    ]
    assert trainer.epoch == 2
    assert trainer.num_sequences == 2 * (21 - len(trainer.validation))
    assert trainer.evaluations[1]["validation loss"] < trainer.evaluations[0]["training loss"] * 3
    assert {"validation accuracy", "training accuracy"} <= trainer.evaluations[0].keys()
    # Nothing is left to do
    assert trainer.train(epochs=2, progress=False) == "done"
    assert trainer.step_count == 2 * per_epoch


def test_data_are_checked_once_and_not_at_each_epoch(monkeypatch):
    trainer = make_trainer()
    trainer.train(epochs=1, progress=False)
    calls = []
    for kind, name in ((Dataset, "fingerprint"), (NetworkInputs, "__init__"), (Epochs, "__init__")):
        own = getattr(kind, name)

        def count(self, *args, own=own, name=name, **kwargs):
            calls.append(name)
            return own(self, *args, **kwargs)

        monkeypatch.setattr(kind, name, count)
    trainer.train(epochs=3, progress=False)
    assert len(trainer.evaluations) == 3
    assert not calls


def test_the_last_evaluation_is_of_the_last_step():
    trainer = make_trainer()
    trainer.train(max_steps=trainer.source.steps_per_epoch + 1, progress=False)
    assert [row["step"] for row in trainer.evaluations] == [
        trainer.source.steps_per_epoch,
        trainer.source.steps_per_epoch + 1,
    ]


def test_training_ends_when_a_callback_says_so():
    trainer = make_trainer([lambda trainer: trainer.stop("enough")])
    assert trainer.train(epochs=9, progress=False) == "enough"
    assert trainer.epoch == 1


def test_a_program_goes_on_where_it_was(tmp_path, capsys):
    """Bit for bit, callbacks and their counts included."""

    def make():
        callbacks = [
            KeepBest("loss"),
            DropLearningRate("loss", 1, min_change=9),
            EarlyStop("loss", 50),
        ]
        return make_trainer(callbacks)

    whole = make()
    whole.train(max_steps=17, progress=False)
    assert whole.learning_rate_factor < 1
    path = tmp_path / "run.safetensors"
    for steps in (3, 10):

        class Killed(Exception):
            pass

        def kill(row, steps=steps):
            if row["step"] == steps:
                raise Killed

        trainer = make()
        with pytest.raises(Killed):
            trainer.train(
                17, checkpoint=path, save_every=2, log_every=1, loggers=[kill], progress=False
            )
    last = make()
    last.train(17, checkpoint=path)
    assert f"{path}: goes on from step 8\n" in capsys.readouterr().err
    assert last.step_count == 17
    arrays, about = whole.get_state()
    others, other = last.get_state()
    assert about == other
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


def test_training_goes_on_from_the_last_step():
    """Even if the network had the parameters of the best step in between."""
    # Only the first evaluation is the best
    whole, parts = (make_trainer([KeepBest("loss", min_change=9)]) for _ in range(2))
    whole.train(epochs=5, progress=False)
    for epochs in (3, 5):
        parts.train(epochs=epochs, progress=False)
        assert parts.callbacks[0].best_step < parts.step_count
        assert parts.evaluate(parts.validation)["loss"] == parts.callbacks[0].best
    assert parts.losses == whole.losses
    # Parameters that were set in between stay
    parts.params[0].set_value(0 * parts.params[0].get_value())
    parts.callbacks[0].on_start(parts)
    assert not parts.params[0].get_value().any()


def test_files_that_cannot_be_written(tmp_path):
    """Told before the first step."""
    nowhere = tmp_path / "nowhere" / "run.safetensors"
    for callbacks, options, message in (
        ([], {"checkpoint": nowhere}, "Trainer.train: checkpoint: .* there is no folder .*nowhere"),
        ([KeepBest("loss", nowhere)], {}, "KeepBest: path: .* there is no folder .*nowhere"),
        ([], {"checkpoint": tmp_path}, "is a folder: expected the path of a file"),
    ):
        trainer = make_trainer(callbacks)
        with pytest.raises(OSError, match=message):
            trainer.train(epochs=1, **options)
        assert trainer.step_count == 0


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    make_trainer().train(max_steps=2, checkpoint=path, progress=False)
    other = Trainer(build(), (X, [0, 1, 1, 0, 1, 0, 1]), mode="FAST_COMPILE")
    before = other.get_state()[1]
    with pytest.raises(ValueError, match=r"run\.safetensors does not fit"):
        other.restore(path)
    assert other.get_state()[1] == before
    task = CopyTask(size=1, max_length=2)
    trainer = Trainer(build(2, task.num_inputs), task, mode="FAST_COMPILE")
    with pytest.raises(
        ValueError, match="does not fit: the state has no task: it is of other data"
    ):
        trainer.restore(path)


def test_iterables_do_not_resume_exactly(tmp_path):
    """A warning says so; where warnings are errors, nothing has changed."""
    path = tmp_path / "run.safetensors"

    def make():
        return Trainer(build(), Batches([(X, LENGTHS % 2)] * 3), mode="FAST_COMPILE")

    make().train(max_steps=2, checkpoint=path, progress=False)
    trainer = make()
    before = trainer.get_state()[1]
    with pytest.raises(UserWarning, match="not those of an uninterrupted run"):
        trainer.restore(path)
    assert trainer.get_state()[1] == before
    with pytest.warns(UserWarning, match="epoch 0 begins anew"):
        trainer.train(max_steps=4, checkpoint=path, progress=False)
    assert (trainer.step_count, trainer.num_sequences) == (4, 28)


def test_a_generator_ends_training():
    batches = ((X, np.zeros((7, 5), int)) for _ in range(3))
    trainer = Trainer(build(2), batches, mode="FAST_COMPILE")
    assert trainer.train(max_steps=10, progress=False) == "done"
    assert trainer.step_count == 3


# ---- Streams


def make_stream_trainer(series, window=4, **options):
    data = Dataset([each[:-1] for each in series], [each[1:] for each in series])
    stream = Stream(data, window, batch_size=2, seed=0)
    l_out = build_ntm(1, 1)
    return Trainer(l_out, stream, sgd, **options), data


SERIES = [rng.normal(size=(length, 1)) for length in (14, 9, 6)]


@pytest.mark.slow
def test_windows_of_a_stream_equal_one_long_pass():
    """At a learning rate of zero, the windows' losses are those of each series in one pass."""
    trainer, data = make_stream_trainer(SERIES, learning_rate=0.0)
    total = count = 0.0
    while trainer.epoch == 0:
        batch = trainer.sample()
        result = trainer.training_step(batch, 0.0)
        steps = batch.mask.sum(axis=1) * (batch.weights > 0)
        total += (result.losses * steps).sum()
        count += steps.sum()
    errors = []
    x = pt.tensor3()
    run = pytensor.function([x], get_output(trainer.l_out, x), mode=get_jax_mode("jax"))
    for k in range(3):
        batch = data.take([k])
        outputs = np.asarray(run(batch.inputs["inputs"]))
        errors.append((outputs - batch.targets)[0, :, 0] ** 2)
    errors = np.concatenate(errors)
    assert count == len(errors)
    assert total / count == pytest.approx(errors.mean(), rel=1e-9)


@pytest.mark.slow
def test_a_stream_goes_on_with_its_states():
    whole, _ = make_stream_trainer(SERIES, learning_rate=0.1)
    whole.train(max_steps=7, progress=False)
    first, _ = make_stream_trainer(SERIES, learning_rate=0.1)
    first.train(max_steps=2, progress=False)
    arrays, about = first.get_state()
    assert any(name.startswith("state/") for name in arrays)
    second, _ = make_stream_trainer(SERIES, learning_rate=0.1)
    second.set_state(arrays, about)
    second.train(max_steps=7, progress=False)
    for name, array in whole.get_state()[0].items():
        np.testing.assert_array_equal(second.get_state()[0][name], array, err_msg=name)
    # A state that is not carried would give other numbers
    third, _ = make_stream_trainer(SERIES, learning_rate=0.1)
    third.set_state(
        {name: 0 * each if name.startswith("state/") else each for name, each in arrays.items()},
        about,
    )
    third.train(max_steps=7, progress=False)
    assert third.losses[2] != whole.losses[2]


@pytest.mark.slow
@pytest.mark.parametrize("divided", [{"block_size": 1}, {"devices": 2}])
def test_streams_in_blocks_and_on_devices(divided):
    """The states of a stream's rows are carried in blocks, and on several devices, too."""
    trained = []
    for options in ({"block_size": None, "devices": 1}, divided):
        trainer, _ = make_stream_trainer(SERIES, learning_rate=0.1, **options)
        trainer.train(max_steps=5, progress=False)
        trained.append(trainer.get_state()[0])
    for name, array in trained[0].items():
        np.testing.assert_allclose(trained[1][name], array, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_a_stream_goes_on_where_a_step_changes_nothing():
    """Where no step of a window counts, or a gradient is not finite, the states still go on with the series."""
    inputs = rng.normal(size=(2, 12, 1))
    mask = np.repeat([[1.0, 0.0, 1.0]], 4, axis=1).reshape(1, 12)
    data = Dataset(inputs, inputs, np.repeat(mask, 2, axis=0))
    l_out = build_ntm(1, 1)
    trainer = Trainer(l_out, Stream(data, 4), sgd, learning_rate=0.0)
    trainer.train(epochs=1, progress=False)
    assert np.isfinite(trainer.losses).tolist() == [True, False, True]
    assert trainer.skipped == []
    x = pt.tensor3()
    run = pytensor.function([x], get_output(l_out, x), mode=get_jax_mode("jax"))
    outputs = np.asarray(run(inputs))[..., 0]
    errors = (outputs - inputs[..., 0]) ** 2
    assert trainer.losses[2] == pytest.approx(errors[:, 8:].mean(), rel=1e-9)
    assert trainer.evaluate(Stream(data, 4))["loss"] == pytest.approx(
        np.delete(errors, range(4, 8), axis=1).mean(), rel=1e-9
    )
    # A window that begins a series, with a loss that is not finite
    first, second = trainer.sample(), trainer.sample()
    result = trainer.training_step(first._replace(targets=first.targets + np.inf), 0.1)
    assert not result.is_finite
    result = trainer.training_step(second._replace(mask=np.ones((2, 4)), weights=np.ones(2)), 0.0)
    order = [int(np.argmin(abs(inputs[:, 0, 0] - each[0, 0]))) for each in first.inputs["inputs"]]
    np.testing.assert_allclose(result.losses, (outputs[order, 4:8] ** 2).mean(1), rtol=1e-9)
