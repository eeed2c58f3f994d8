"""Metrics against plain NumPy over whole arrays, whatever batches the data come in."""

import json

import numpy as np
import pytest

from ntm.data import DataBatch, InputLayout, Layout
from ntm.training.metrics import METRICS, make_metrics

N, T, O = 23, 5, 3
RNG = np.random.default_rng(0)
WEIGHTS = RNG.choice([0.0, 0.5, 1.0, 2.0], N)
MASK = RNG.choice([0.0, 1.0, 0.25], (N, T))
MASK[3] = 0  # A sequence of which no step counts


def make_layout(kind, per_step=True, num_outputs=O):
    return Layout({"inputs": InputLayout((2,))}, kind, num_outputs, per_step)


def make_data(kind, per_step=True, seed=0):
    """Predictions and targets of N sequences."""
    rng = np.random.default_rng(seed)
    shape = (N, T, O) if per_step else (N, O)
    predictions = rng.random(shape)
    targets = {
        "bits": (rng.random(shape) > 0.5).astype("float32"),
        "classes": rng.integers(0, O, shape[:-1]),
        "numbers": rng.normal(size=shape),
    }[kind]
    return predictions, targets


def cut(targets, mask=MASK, weights=WEIGHTS, sizes=(4, 1, 10, 8)):
    """The slices and batches of data that come in several batches."""
    for start, stop in zip(np.cumsum((0, *sizes[:-1])), np.cumsum(sizes), strict=True):
        rows = slice(start, stop)
        yield (
            rows,
            DataBatch({}, targets[rows], mask[rows], np.ones_like(mask[rows]), weights[rows], None),
        )


def measure(layout, predictions, targets, names, **how):
    metrics = make_metrics(layout, names)
    for rows, batch in cut(targets, **how):
        metrics.update(predictions[rows], batch)
    return metrics.compute()


def flatten(per_step, predictions, targets, mask=MASK, weights=WEIGHTS):
    """Every step, with its weight, one after the other: predictions, targets, weights."""
    if not per_step:
        return predictions, targets, weights
    w = (weights[:, None] * mask).ravel()
    return predictions.reshape(N * T, O), targets.reshape(N * T, *targets.shape[2:]), w


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("kind", ["bits", "classes"])
def test_shares(kind, per_step):
    predictions, targets = make_data(kind, per_step)
    names = ["accuracy", "error", "sequence_error"]
    found = measure(make_layout(kind, per_step), predictions, targets, names)
    p, y, w = flatten(per_step, predictions, targets)
    right = (p > 0.5) == y if kind == "bits" else (p.argmax(1) == y)[:, None]
    assert found["accuracy"] == pytest.approx(np.average(right.mean(1), weights=w), rel=1e-12)
    assert found["error"] == pytest.approx(np.average(~right.all(1), weights=w), rel=1e-12)
    wrong, sum_of_weights = 0.0, 0.0
    for n in range(N):
        steps = [n] if not per_step else [n * T + t for t in range(T) if MASK[n, t] > 0]
        if steps:
            sum_of_weights += WEIGHTS[n]
            wrong += WEIGHTS[n] * (not all(right[step].all() for step in steps))
    assert found["sequence_error"] == pytest.approx(wrong / sum_of_weights, rel=1e-12)
    assert 0 < found["sequence_error"] <= 1
    if not per_step:
        assert found["sequence_error"] == pytest.approx(found["error"])


@pytest.mark.parametrize("per_step", [True, False])
def test_numbers(per_step):
    predictions, targets = make_data("numbers", per_step)
    found = measure(
        make_layout("numbers", per_step), predictions, targets, ["mse", "mae", "r2", "loss"]
    )
    p, y, w = flatten(per_step, predictions, targets)
    mean = np.average(y, axis=0, weights=w)
    residuals = np.average((y - p) ** 2, axis=0, weights=w)
    r2 = 1 - residuals / np.average((y - mean) ** 2, axis=0, weights=w)
    assert list(found) == ["mse", "mae", "r2"]  # Evaluations have the loss anyway
    assert found["mse"] == pytest.approx(residuals.mean(), rel=1e-12)
    assert found["mae"] == pytest.approx(
        np.average(np.abs(y - p), axis=0, weights=w).mean(), rel=1e-12
    )
    assert found["r2"] == pytest.approx(r2.mean(), rel=1e-12)


def test_r2_by_known_values():
    """The examples of scikit-learn's r2_score."""
    for y, p, expected in [
        ([3, -0.5, 2, 7], [2.5, 0.0, 2, 8], 0.9486081370449679),
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 2, 3], [2, 2, 2], 0.0),
        ([1, 2, 3], [3, 2, 1], -3.0),
    ]:
        targets, predictions = np.array(y, float)[:, None], np.array(p, float)[:, None]
        batch = DataBatch({}, targets, np.ones((len(y), 1)), None, np.ones(len(y)))
        metrics = make_metrics(make_layout("numbers", False, 1), "r2")
        metrics.update(predictions, batch)
        assert metrics.compute()["r2"] == pytest.approx(expected, rel=1e-12)


def test_r2_far_from_zero():
    """No difference of large sums: the deviations are a ten-millionth of the targets."""
    predictions, targets = make_data("numbers")
    near = measure(make_layout("numbers"), predictions, targets, ["r2"])["r2"]
    far = measure(make_layout("numbers"), predictions + 1e7, targets + 1e7, ["r2"])["r2"]
    assert far == pytest.approx(near, rel=1e-7)


def test_r2_of_constant_targets():
    predictions, targets = make_data("numbers")
    two = make_layout("numbers", num_outputs=2)
    expected = measure(two, predictions[..., 1:], targets[..., 1:], ["r2"])
    targets[..., 0] = 0.1  # Whose mean over some steps is another number
    assert measure(make_layout("numbers"), predictions, targets, ["r2"]) == pytest.approx(expected)
    targets[:] = 0.1
    assert np.isnan(measure(make_layout("numbers"), predictions, targets, ["r2"])["r2"])


@pytest.mark.parametrize("per_step", [True, False])
def test_confusion_of_classes(per_step):
    predictions, targets = make_data("classes", per_step)
    layout = make_layout("classes", per_step)
    found = measure(layout, predictions, targets, ["confusion"])["confusion"]
    expected = np.zeros((O, O))
    for p, y, w in zip(*flatten(per_step, predictions, targets), strict=True):
        expected[y, p.argmax()] += w
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert json.loads(json.dumps(found)) == found
    whole = measure(
        layout, predictions, targets, ["confusion"], mask=np.ones((N, T)), weights=np.ones(N)
    )["confusion"]
    assert np.sum(whole) == (N * T if per_step else N)
    assert all(type(each) is int for row in whole for each in row)


def test_confusion_of_bits():
    predictions, targets = make_data("bits")
    found = measure(make_layout("bits"), predictions, targets, ["confusion"])["confusion"]
    p, y, w = flatten(True, predictions, targets)
    expected = [
        [(w[:, None] * ((y == a) & ((p > 0.5) == b))).sum() for b in (0, 1)] for a in (0, 1)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "names", "wrong"),
    [
        ("bits", ["accuracy", "error", "sequence_error", "mse"], [0, 1, 1, np.inf]),
        ("classes", ["accuracy", "error", "sequence_error"], [0, 1, 1]),
        ("numbers", ["mse", "mae", "r2"], [np.inf, np.inf, -np.inf]),
    ],
)
def test_predictions_that_are_all_nan_are_wrong(kind, names, wrong):
    predictions, targets = make_data(kind)
    found = measure(make_layout(kind), np.full_like(predictions, np.nan), targets, names)
    assert list(found.values()) == wrong


@pytest.mark.parametrize(("kind", "share"), [("bits", 1 / (T * O)), ("classes", 1 / T)])
def test_one_nan_is_a_wrong_bit_or_a_wrong_class(kind, share):
    """All else is right: zero bits, or class zero."""
    predictions, targets = np.full((N, T, O), [0.3, 0.1, 0.2]), make_data(kind)[1] * 0
    predictions[:, 0, 2] = np.nan
    found = measure(
        make_layout(kind),
        predictions,
        targets,
        ["accuracy", "error", "sequence_error", "confusion"],
        mask=np.ones((N, T)),
        weights=np.ones(N),
    )
    assert found["accuracy"] == pytest.approx(1 - share)
    assert found["error"] == pytest.approx(1 / T)
    assert found["sequence_error"] == 1
    first, *others = found["confusion"]
    assert first == [round(N / share) - N, *(0 for _ in others), N]


@pytest.mark.parametrize("kind", ["bits", "classes", "numbers"])
def test_what_does_not_count_changes_nothing(kind):
    """Whatever stands in padding and in rows that only fill a batch."""
    names = [name for name in METRICS if kind in METRICS[name].kinds]
    predictions, targets = make_data(kind)
    before = measure(make_layout(kind), predictions, targets, names)
    hidden = WEIGHTS[:, None] * MASK == 0
    predictions[hidden] = np.nan
    targets[hidden] = 99
    after = measure(make_layout(kind), predictions, targets, names)
    assert before == after
    other_cut = measure(make_layout(kind), predictions, targets, names, sizes=(N,))
    for name, value in after.items():
        np.testing.assert_allclose(value, other_cut[name], rtol=1e-12)
    nothing = measure(make_layout(kind), predictions, targets, names, weights=np.zeros(N))
    assert np.sum(nothing.pop("confusion", 0)) == 0
    assert np.isnan(list(nothing.values())).all()


def largest_error(predictions, targets, mask):
    return (np.abs(predictions - targets).max(axis=2) * mask).max(axis=1)


def test_a_function_of_the_user():
    predictions, targets = make_data("numbers")
    values = largest_error(predictions, targets, MASK)
    predictions[WEIGHTS == 0] = np.nan
    found = measure(make_layout("numbers"), predictions, targets, ["mse", largest_error])
    assert list(found) == ["mse", "largest_error"]
    assert found["largest_error"] == pytest.approx(np.average(values, weights=WEIGHTS))
    own = Layout({}, "own", None, True)
    assert measure(own, predictions, targets, [largest_error])["largest_error"] == pytest.approx(
        found["largest_error"]
    )

    def one_number(predictions, targets, mask):
        return 1.0

    with pytest.raises(ValueError, match=r"metric one_number: expected a number for each sequence"):
        measure(make_layout("numbers"), predictions, targets, [one_number])


def test_defaults():
    names = {
        kind: make_metrics(make_layout(kind)).names
        for kind in ("bits", "classes", "numbers", "own")
    }
    assert names == {
        "bits": ["accuracy", "sequence_error"],
        "classes": ["accuracy"],
        "numbers": ["mse", "r2"],
        "own": [],
    }
    assert make_metrics(make_layout("bits"), []).compute() == {}


@pytest.mark.parametrize(
    ("kind", "names", "error", "message"),
    [
        ("classes", ["acuracy"], ValueError, "unknown metric 'acuracy': expected one of loss, acc"),
        (
            "numbers",
            ["accuracy"],
            ValueError,
            "Trainer: 'accuracy' is a metric of bits and classes, and the targets are 'numbers': "
            "expected loss, mse, mae, r2, or a function of your own",
        ),
        ("own", ["mse"], ValueError, "expected loss, or a function"),
        ("numbers", ["mse", "mse"], ValueError, "two metrics are called 'mse'"),
        ("numbers", [lambda p, y, m: 1], TypeError, r"a metric must be a name or a function"),
        ("numbers", [3], TypeError, r"a name or a function with a name \(def\), not 3"),
    ],
)
def test_metrics_that_there_are_not(kind, names, error, message):
    with pytest.raises(error, match=message):
        make_metrics(make_layout(kind), names, "Trainer")


def test_arrays_that_do_not_fit():
    predictions, targets = make_data("classes")
    ((_, batch),) = cut(targets, weights=np.ones(N), sizes=(N,))
    metrics = make_metrics(make_layout("classes"))
    with pytest.raises(ValueError, match=r"predictions must be of shape \(23, 5, 3\), not \(23, 5"):
        metrics.update(predictions[..., :2], batch)
    with pytest.raises(ValueError, match=r"targets must be of shape \(23, 5\), not \(23, 5, 3\)"):
        metrics.update(predictions, batch._replace(targets=predictions))
    targets[7, 2] = targets[8, 0] = 3
    with pytest.raises(ValueError, match=r"labels must be from 0 to 2, but targets\[7, 2\] is 3"):
        metrics.update(predictions, batch._replace(mask=np.ones((N, T))))
    with pytest.raises(ValueError, match="1000 classes at most, not 2000"):
        make_metrics(make_layout("classes", num_outputs=2000), "confusion")
