import json
from types import SimpleNamespace

import numpy as np
import pytest

from ntm.training.recovery import Restarter, Rewinder

# ---- going back


def look_at(rewinder, losses, stage=1, window=10):
    """What the rewinder says after each of some windows of equal losses."""
    curriculum = SimpleNamespace(stage=stage)
    trainer = SimpleNamespace(losses=[], step_count=0, began=0, curriculum=curriculum)
    verdicts = []
    for loss in losses:
        for _ in range(window):
            trainer.losses.append(loss)
            trainer.step_count += 1
            verdict = rewinder.decide(trainer)
            assert verdict is None or trainer.step_count % window == 0
        verdicts.append(verdict)
    return verdicts


def test_going_back_after_a_fall():
    rewinder = Rewinder(window=10, patience=3, tolerance=3.0)
    # At 1 it is below three times the best, so patience starts anew
    verdicts = look_at(rewinder, [8, 6, 3, 8, 0.5, 7, 7, 1, 7, 7, 7])
    assert verdicts == ["keep", "keep", "keep", None, "keep", None, None, None, None, None, "back"]
    assert rewinder.rewound == [[110, 50]]
    assert rewinder.rate == 0.5
    assert look_at(rewinder, [7, 7, 7]) == [None, None, "back"]
    assert rewinder.rate == 0.25


def test_luck_does_not_take_training_back_forever():
    rewinder = Rewinder(window=10, patience=3, tolerance=3.0)
    look_at(rewinder, [8, 0.1, *[1] * 18])
    assert len(rewinder.rewound) == 2


def test_the_learning_rate_has_a_lower_end():
    rewinder = Rewinder(window=10, patience=1, lowest_rate=0.125)
    for k in range(10):
        look_at(rewinder, [8, 0.01, 8], stage=k)
    assert len(rewinder.rewound) == 10
    assert rewinder.rate == 0.125


def test_no_going_back_before_anything_is_learnt():
    assert "back" not in look_at(Rewinder(window=10, tolerance=1.1), [8, 5, 8, 8, 8, 8, 8, 8])


def test_going_back_when_it_gets_no_further():
    rewinder = Rewinder(window=10, stale=4)
    assert look_at(rewinder, [8, 1, 1.5, 1.5, 1.5, 1.5, 1.5])[-2:] == ["back", "keep"]


def test_a_loss_of_nearly_nothing_may_double():
    assert "back" not in look_at(Rewinder(window=10), [8, 1e-6, 1e-2, 1e-2, 1e-2, 1e-2])


@pytest.mark.parametrize(("loss", "end"), [(0.25, "back"), (0.23, None)])
def test_a_fall_from_nearly_nothing_is_one_to_three_hundredths_of_the_start(loss, end):
    assert look_at(Rewinder(window=10), [8, 1e-6, loss, loss, loss])[-1] == end


@pytest.mark.parametrize(("best", "end"), [(3.9, "back"), (4.0, "back"), (4.1, None)])
def test_what_counts_as_learnt_is_half_of_the_first_loss(best, end):
    assert look_at(Rewinder(window=10, tolerance=1.5), [8, best, 7, 7, 7])[-1] == end


def test_after_going_back_less_than_the_best_will_do():
    rewinder = Rewinder(window=10)
    assert look_at(rewinder, [8, 1, 7, 7, 7])[-1] == "back"
    assert look_at(rewinder, [3.1, 2.9]) == [None, "keep"]  # Three times the best
    rewinder = Rewinder(window=10)
    assert look_at(rewinder, [8, 3, 10, 10, 10])[-1] == "back"
    assert look_at(rewinder, [4.1, 3.9]) == [None, "keep"]  # Half of the first


def test_after_going_back_the_windows_are_counted_anew():
    rewinder = Rewinder(window=10, stale=3)
    assert look_at(rewinder, [8, 1, 2, 2, 2])[-1] == "back"
    assert look_at(rewinder, [3.5, 3.5, 3.5]) == [None, None, "back"]


def test_every_stage_is_seen_by_itself():
    rewinder = Rewinder(window=10)
    assert look_at(rewinder, [8, 1], stage=1) == ["keep", "keep"]
    assert look_at(rewinder, [9, 9, 9, 9], stage=2) == ["keep", None, None, None]


def test_windows_of_skipped_steps():
    rewinder = Rewinder(window=10)
    assert look_at(rewinder, [8, 1, np.nan, np.nan, np.nan])[-1] == "back"


def test_no_going_back_where_no_step_was_finite():
    assert look_at(Rewinder(window=10, stale=2), [np.nan] * 5) == [None] * 5


def test_state_of_a_rewinder():
    one, other = Rewinder(window=10), Rewinder(window=10)
    fresh = json.loads(json.dumps(one.get_state(), allow_nan=False))
    look_at(one, [8, 1, 5, 5])
    other.set_state(json.loads(json.dumps(one.get_state(), allow_nan=False)))
    assert look_at(one, [6]) == look_at(other, [6]) == ["back"]
    other.set_state(fresh)
    assert vars(other) == vars(Rewinder(window=10))


# ---- beginning anew


def restart_at(restarter, losses):
    """After which steps the restarter begins anew, if these are the losses."""
    trainer = SimpleNamespace(losses=[], step_count=0, began=0)
    for loss in losses:
        if restarter.must_restart(trainer):
            restarter.restarts.append(trainer.step_count)
            trainer.began = trainer.step_count
        trainer.losses.append(loss)
        trainer.step_count += 1
    return restarter.restarts


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([9] * 40, [10, 20]),
        ([9] * 8 + [0.5] * 32, []),
        ([9] * 9 + [0.5] * 31, [10]),
        ([1.0] * 40, [10, 20]),
        ([9] * 10 + [0.5] * 10 + [9] * 20, [10]),
        ([np.nan] * 10 + [0.5] * 30, [10]),
        ([np.nan] * 9 + [0.5] * 31, []),
        ([0.5] * 10 + [9] * 30, []),
    ],
)
def test_when_to_begin_anew(losses, expected):
    restarter = Restarter(list, after=10, above=1.0, max_restarts=2, window=2)
    assert restart_at(restarter, losses) == expected
    assert restarter.is_spent == (len(expected) == 2)


def test_losses_of_before_training_began_anew_do_not_count():
    restarter = Restarter(list, after=10, above=1.0, window=200)
    assert restart_at(restarter, [9] * 10 + [0.5] * 30) == [10]


def test_a_rewinder_does_not_look_at_losses_of_before_training_began_anew():
    rewinder = Rewinder(window=10)
    trainer = SimpleNamespace(
        losses=[9] * 25, step_count=25, began=25, curriculum=SimpleNamespace(stage=1)
    )
    for _ in range(10):
        assert rewinder.decide(trainer) is None
        trainer.losses.append(2.0)
        trainer.step_count += 1
    assert rewinder.decide(trainer) == "keep"
    assert rewinder.best == 2.0
