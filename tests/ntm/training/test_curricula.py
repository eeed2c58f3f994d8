import json

import numpy as np
import pytest

from ntm.training.curricula import CURRICULA, WINDOW, PredictionGain, make_curriculum

SIZES = {"length": (2, 6), "repeats": (1, 3)}


def make(name, seed=0, **options):
    return make_curriculum(name, SIZES, np.random.default_rng(seed), options)


def test_levels_grow_together():
    curriculum = make("naive")
    assert curriculum.num_levels == 5
    assert [tuple(curriculum.sizes_at(level).values()) for level in range(1, 6)] == [
        (2, 1),
        (3, 2),
        (4, 3),
        (5, 3),
        (6, 3),
    ]


def test_uniform_leaves_it_to_the_task():
    assert make("uniform").draw(4) == {}


def test_none_is_the_hardest():
    assert make("none").draw(4) == {"length": 6, "repeats": 3}


def test_naive_goes_on_when_the_mean_loss_is_low():
    curriculum = make("naive", advance_below=0.5)
    for _ in range(WINDOW):
        assert curriculum.draw(1) == {"length": 2, "repeats": 1}
        curriculum.update(0.6)
    for _ in range(WINDOW // 4):
        curriculum.update(0.3)
    assert curriculum.level == 1
    while curriculum.level == 1:
        curriculum.update(0.3)
    assert curriculum.draw(1) == {"length": 3, "repeats": 2}
    curriculum.update(0.0)
    assert curriculum.level == 2  # a level needs losses of its own
    for _ in range(100 * WINDOW):
        curriculum.update(0.0)
    assert curriculum.level == 5


@pytest.mark.parametrize("name", ["naive", "look-back", "exponential", "hardest-last"])
def test_it_is_the_mean_loss_that_is_to_be_below(name):
    curriculum = make(name, advance_below=0.5)
    start = curriculum.stage
    # At the end of these the mean of the last hundred is the threshold itself, and half of them are above
    for loss in [0.5] * 100 + [0.75] * 60 + [0.0] * 30:
        curriculum.update(loss)
    assert curriculum.stage == start
    curriculum.update(0.0)
    assert curriculum.stage == start + 1


@pytest.mark.parametrize(
    ("name", "share", "highest"), [("look-back", 0.1, 3), ("look-back-and-forward", 0.2, 5)]
)
def test_looking_back(name, share, highest):
    curriculum = make(name)
    curriculum.level = 3
    drawn = np.array([curriculum.draw(1)["length"] - 1 for _ in range(20_000)])
    # Of the share that is drawn from all, some fall on the level itself
    elsewhere = share * (1 - 1 / highest)
    assert np.mean(drawn != 3) == pytest.approx(elsewhere, abs=0.01)
    assert set(drawn) == set(range(1, highest + 1))


@pytest.mark.parametrize("name", ["naive", "look-back", "exponential", "hardest-last"])
@pytest.mark.parametrize("advance_below", [0.0, -1.0, float("nan")])
def test_a_loss_that_is_never_reached(name, advance_below):
    with pytest.raises(ValueError, match="advance_below must be a finite number above 0"):
        make(name, advance_below=advance_below)


def test_prediction_gain_has_one_stage():
    curriculum = make("prediction-gain")
    assert {(curriculum.draw(1) and curriculum.stage) for _ in range(50)} == {curriculum.stage}
    assert curriculum.at_end


@pytest.mark.parametrize("factor", [1.0, 0.5, float("nan"), float("inf")])
def test_a_level_that_does_not_grow(factor):
    with pytest.raises(
        ValueError, match="Exponential: factor must be a finite number above 1, not"
    ):
        make("exponential", factor=factor)


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        ({}, (1, 2, 4, 5, 5)),
        ({"factor": 1.25}, (1, 2, 3, 4, 5)),
        ({"factor": 3}, (1, 3, 5, 5)),
    ],
)
def test_exponential(options, levels):
    curriculum = make("exponential", advance_below=0.5, **options)
    for level in levels:
        assert curriculum.level == curriculum.reach == level
        drawn = curriculum.draw(1000)
        assert (drawn["length"].min(), drawn["length"].max()) == (2, 1 + level)
        assert (drawn["repeats"].min(), drawn["repeats"].max()) == (1, min(level, 3))
        for loss in (0.6, *[0.3] * (WINDOW - 1)):
            assert curriculum.level == level
            curriculum.update(loss)


def test_hardest_last():
    curriculum = make("hardest-last", advance_below=0.5)
    for loss in (*[0.6] * WINDOW, *[0.3] * (WINDOW // 4)):
        assert curriculum.draw(4) == {}
        curriculum.update(loss)
    before = curriculum.stage
    while curriculum.last_steps is None:
        curriculum.update(0.3)
    assert curriculum.stage != before
    assert curriculum.level == curriculum.reach == 5
    for _ in range(curriculum.least_steps):
        assert not curriculum.at_end
        curriculum.update(9.0)  # It does not go back
    assert curriculum.at_end
    drawn = [curriculum.draw(4) for _ in range(2000)]
    assert all(sizes in ({}, {"length": 6, "repeats": 3}) for sizes in drawn)
    assert np.mean([bool(sizes) for sizes in drawn]) == pytest.approx(0.5, abs=0.05)


def test_linear():
    curriculum = make("linear", add=2, every=10)
    for level in (1, 3, 5, 5):
        assert curriculum.level == level
        drawn = curriculum.draw(1000)
        assert (drawn["length"].min(), drawn["length"].max()) == (2, 1 + level)
        assert drawn["repeats"].max() == min(level, 3)
        for _ in range(10):
            assert curriculum.level == level
            curriculum.update(5.0)


def test_prediction_gain_finds_what_there_is_to_learn():
    curriculum = make("prediction-gain", eta=0.01)
    rng = np.random.default_rng(1)
    for _ in range(3000):
        curriculum.draw(1)
        curriculum.update(1.0, gain=(curriculum.level == 4) + 0.1 * rng.normal())
    assert curriculum.probabilities.argmax() == 3
    assert curriculum.probabilities[3] > 0.5
    assert curriculum.probabilities.sum() == pytest.approx(1)
    assert curriculum.probabilities.min() >= 0.05 / 5


def test_prediction_gain_by_hand():
    """Graves et al. 2017, sections 2.2 and 2.3, but that the share of the first step is not one."""
    curriculum = make("prediction-gain", eta=0.3, epsilon=0.2)
    weights, gains, rewards = np.ones(5), [], set()
    for step, gain in enumerate([1.0, 3.0, -2.0, 0.5, 0.7, 9.0, 0.6, 0.8], start=1):
        chances = 0.8 * weights / weights.sum() + 0.2 / 5
        np.testing.assert_allclose(curriculum.probabilities, chances)
        curriculum.draw(1)
        drawn = np.arange(5) == curriculum.level - 1
        curriculum.update(1.0, gain=gain)
        gains.append(gain)
        low, high = np.quantile(gains, [0.2, 0.8])
        reward = np.clip(2 * (gain - low) / (high - low) - 1, -1, 1) if high > low else 0.0
        rewards.add(reward)
        weights = weights * np.exp(0.3 * np.where(drawn, reward / chances, 0))
        share = 1 / (step + 1)
        weights = (1 - share) * weights + share * (weights.sum() - weights) / 4
    np.testing.assert_allclose(
        curriculum.probabilities, 0.8 * weights / weights.sum() + 0.2 / 5, rtol=1e-9
    )
    assert {-1.0, 1.0} < rewards


@pytest.mark.slow
def test_prediction_gain_follows_when_that_changes():
    curriculum = make("prediction-gain", eta=0.03)
    for best in (1, 5):
        for _ in range(3000):
            curriculum.draw(1)
            curriculum.update(1.0, gain=float(curriculum.level == best))
        assert curriculum.probabilities.argmax() == best - 1


def test_prediction_gain_of_equal_gains_stays_uniform():
    curriculum = make("prediction-gain")
    for _ in range(50):
        curriculum.draw(1)
        curriculum.update(1.0, gain=0.0)
    np.testing.assert_allclose(curriculum.probabilities, 0.2)


def test_a_bounded_number_of_gains_is_kept():
    curriculum = make("prediction-gain")
    for k in range(PredictionGain.kept + 500):
        curriculum.draw(1)
        curriculum.update(1.0, gain=float(k))
    assert len(curriculum.gains) == PredictionGain.kept
    assert max(curriculum.gains) >= PredictionGain.kept  # late ones come in
    assert min(curriculum.gains) < 100  # early ones stay


def test_gains_that_are_kept_are_a_sample_of_all(monkeypatch):
    """Those of the first half are as many as those of the second."""
    monkeypatch.setattr(PredictionGain, "kept", 100)
    early = []
    for seed in range(3):
        curriculum = make("prediction-gain", seed=seed)
        for k in range(1500):
            curriculum.update(1.0, gain=float(k))
        early += [gain < 750 for gain in curriculum.gains]
    assert np.mean(early) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", CURRICULA)
def test_state_continues_exactly(name):
    def go_on(curriculum, steps):
        drawn = []
        for k in range(steps):
            drawn.append({key: np.asarray(v).tolist() for key, v in curriculum.draw(2).items()})
            curriculum.update(0.1 * (k % 7), gain=float(k % 5))
        return drawn

    options = {"every": 90} if name == "linear" else {}
    one = make(name, seed=3, **options)
    go_on(one, 250)
    state = json.loads(json.dumps([one.get_state(), one.rng.bit_generator.state]))
    other = make(name, seed=4, **options)
    other.set_state(state[0])
    other.rng.bit_generator.state = state[1]
    assert go_on(one, 30) == go_on(other, 30)
    assert one.get_state() == other.get_state()
    assert go_on(one, 970) == go_on(other, 970)
    assert one.get_state() == other.get_state()
    assert (one.stage, one.at_end) == (other.stage, other.at_end)


def test_unknown_names():
    with pytest.raises(
        ValueError, match=r"unknown curriculum 'steep': expected one of uniform, none"
    ):
        make("steep")
    with pytest.raises(ValueError, match=r"curriculum 'naive'.*'pace'"):
        make("naive", pace=3)
    with pytest.raises(ValueError, match=r"Linear: every must be an integer of at least 1, not 0"):
        make("linear", every=0)
