from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import DynamicNGramsTask
from ntm.tasks.measures import bits_per_sequence

from .samples import assert_sequence, bits_of, in_sequences, samples

SAMPLES = samples(
    DynamicNGramsTask,
    {"ngrams": st.integers(1, 5)},
    {"length": st.integers(4, 40)},
    num_steps=lambda task, length: length,
)


def count_posterior_means(bits, ngrams):
    """Probability of a one as each next bit, from all times that its context came up before, as fractions."""
    means = []
    for end in range(1, len(bits) + 1):
        if end < ngrams - 1:
            means.append(Fraction(1, 2))
            continue
        context = bits[end - ngrams + 1 : end]
        followers = [bits[k] for k in range(ngrams - 1, end) if bits[k - ngrams + 1 : k] == context]
        means.append((sum(followers) + Fraction(1, 2)) / (len(followers) + 1))
    return means


@given(SAMPLES)
def test_next_bits(sample):
    task, sizes, batch = sample
    assert (task.num_inputs, task.num_outputs) == (1, 1)
    predictions = task.optimal_predictions(batch.inputs)
    assert predictions.shape == batch.targets.shape
    for size, sequence, optimum in zip(sizes, in_sequences(batch), predictions, strict=True):
        n = size["length"]
        bits = bits_of(sequence[0][:n, 0]) + bits_of(sequence[1][n - 1])
        # Bits 1 ... ngrams - 1 are no step's that counts: the first step is asked for bit 2
        counts = [int(number >= task.ngrams) for number in range(2, n + 2)]
        assert_sequence(sequence, [[bit] for bit in bits[:-1]], [[bit] for bit in bits[1:]], counts)
        expected = count_posterior_means(bits[:-1], task.ngrams)
        np.testing.assert_allclose(optimum[:n, 0], [float(p) for p in expected], rtol=1e-14)


@pytest.mark.parametrize(("zeros", "ones"), [(0, 0), (3, 0), (0, 2), (5, 4)])
def test_estimator_is_the_posterior_mean(zeros, ones):
    """Under Beta(1/2, 1/2) p is cos² of a uniform angle: the mean over the angle of p times the likelihood."""
    p = np.cos((np.arange(64) + 0.5) * np.pi / 128) ** 2  # exact for polynomials of this degree
    likelihood = p**ones * (1 - p) ** zeros
    expected = (p * likelihood).sum() / likelihood.sum()
    bits = np.array([0] * zeros + [1] * ones + [0], float)
    # Unigrams: every bit so far is in the one context that there is; the last prediction but one has seen these
    predictions = DynamicNGramsTask(ngrams=1).optimal_predictions(bits[None, :, None])[0, :, 0]
    before = predictions[zeros + ones - 1] if zeros + ones else 0.5
    np.testing.assert_allclose(before, expected, rtol=1e-12)


def test_optimal_predictions_beat_chance_and_those_of_other_contexts():
    task = DynamicNGramsTask(ngrams=4, batch_size=200, seed=0)
    batch = next(task)
    bits = {
        n: DynamicNGramsTask(ngrams=n)
        .measure(DynamicNGramsTask(ngrams=n).optimal_predictions(batch.inputs), batch)["bits"]
        .mean()
        for n in range(1, 8)
    }
    assert min(bits, key=bits.get) == 4
    assert bits[4] < 0.7 * batch.mask.sum(axis=1).mean()


def test_optimal_predictions_are_calibrated():
    """Of the bits said to be ones with some probability, as many are: the sequences are what the estimator assumes."""
    task = DynamicNGramsTask(batch_size=400, seed=1)
    batch = next(task)
    predictions = task.optimal_predictions(batch.inputs)[batch.mask == 1]
    targets = batch.targets[batch.mask == 1]
    bins = (predictions * 10).astype(int)
    for k in np.unique(bins):
        chosen = bins == k
        assert chosen.sum() > 500
        assert abs(targets[chosen].mean() - predictions[chosen].mean()) < 0.03


def test_probabilities_are_from_the_arcsine_distribution_and_new_in_each_sequence():
    task = DynamicNGramsTask(ngrams=1, min_length=400, max_length=400, seed=0)
    shares = task.sample(1000).inputs.mean(axis=(1, 2))
    quantiles = np.quantile(shares, [0.1, 0.25, 0.5, 0.75, 0.9])
    expected = np.sin(np.pi / 2 * np.array([0.1, 0.25, 0.5, 0.75, 0.9])) ** 2
    np.testing.assert_allclose(quantiles, expected, atol=0.05)


def test_the_first_bits_are_a_context_as_any_other():
    """After two ones, a third is as probable as if one had followed a one before: the mean of p² over that of p."""
    inputs, targets, _ = DynamicNGramsTask(ngrams=2, seed=0).sample(8000, length=2)
    two_ones = inputs.all(axis=(1, 2))
    assert two_ones.sum() > 1800
    assert abs(targets[two_ones, 1, 0].mean() - 3 / 4) < 0.04


def test_first_bits_are_fair():
    inputs, targets, _ = DynamicNGramsTask(ngrams=4, seed=0).sample(3000, length=3)
    first = np.concatenate([inputs[:, :1, 0], targets[:, :2, 0]], axis=1)
    _, counts = np.unique(first, axis=0, return_counts=True)
    assert len(counts) == 8
    assert np.abs(counts / 3000 - 1 / 8).max() < 0.03


def test_measures():
    task = DynamicNGramsTask(batch_size=5, seed=0)
    batch = next(task)
    best = task.optimal_predictions(batch.inputs)
    measured = task.measure(best, batch)
    np.testing.assert_array_equal(measured["excess_bits"], 0)
    np.testing.assert_array_equal(measured["ratio"], 1)
    optimum = bits_per_sequence(best, batch.targets, batch.mask)
    chance = task.measure(np.full_like(batch.targets, 0.5), batch)
    np.testing.assert_allclose(chance["excess_bits"], 196 - optimum)
    np.testing.assert_allclose(chance["ratio"], 196 / optimum)


def test_example():
    """The drawing of the docstring."""
    inputs, targets, mask = DynamicNGramsTask(ngrams=3, seed=0).sample(length=6)
    np.testing.assert_array_equal(inputs[0, 1:], targets[0, :-1])
    np.testing.assert_array_equal(mask, [[0, 1, 1, 1, 1, 1]])


def test_defaults():
    task = DynamicNGramsTask()
    assert (task.ngrams, task.sizes, task.longest) == (6, {"length": (200, 200)}, 200)
    assert next(task).mask.sum() == 196


def test_shorter_than_a_context():
    assert next(DynamicNGramsTask(min_length=5, max_length=5)).mask.sum() == 1
    with pytest.raises(ValueError, match="DynamicNGramsTask: min_length must be at least 5, not 4"):
        DynamicNGramsTask(min_length=4)
    with pytest.raises(ValueError, match="DynamicNGramsTask: length must be at least 5, not 4"):
        DynamicNGramsTask().sample(length=4)
