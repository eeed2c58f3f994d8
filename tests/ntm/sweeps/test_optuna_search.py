"""Search by Optuna, with an engine that runs nothing."""

import json
import sys

import pytest

from ntm.sweeps import Ended, OptunaSearch, Status, Sweep, make_trial, parse_space
from ntm.sweeps.optuna_search import JOURNAL

from .fakes import FakeEngine, make_settings_of, write_losses, write_result


def make(values, seed, name):
    settings = make_settings_of(seed, learning_rate=float(values["learning_rate"]))
    return make_trial(settings, values, name)


def search(folder, words=("learning_rate=0.1..10",), seeds=(0,), count=12, **options):
    return OptunaSearch(folder, parse_space(words), seeds, make, count, **options)


def measure(trial, folder, count):
    """The best learning rate is 3."""
    bits = (trial.settings.learning_rate - 3) ** 2 + 0.01 * trial.seed
    write_result(folder, bits, solved=bits < 0.01)
    return Ended(trial)


def run(folder, act=measure, slots=2, **options):
    engine = FakeEngine(folder, act, slots)
    states = Sweep(folder, search(folder, **options), engine, progress=False).run()
    return engine, states


def read_rates(folder):
    paths = sorted((folder / "trials").glob("*/trial.json"))
    return [float(json.loads(path.read_text())["values"]["learning_rate"]) for path in paths]


@pytest.mark.slow
def test_suggestions_come_closer_to_the_best(tmp_path):
    _, states = run(tmp_path, count=40, slots=1)
    rates = read_rates(tmp_path)
    assert len(states) == len({*rates}) == 40
    far = [abs(rate - 3) for rate in rates]
    assert sum(far[-10:]) / 10 < sum(far[:10]) / 10 / 2


@pytest.mark.slow
def test_a_search_goes_on_as_if_it_had_not_stopped(tmp_path):
    run(tmp_path / "whole", count=14, slots=1)

    def stop_at_9(trial, folder, count):
        if trial.name.startswith("009"):
            raise RuntimeError("the sweep is killed")
        return measure(trial, folder, count)

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", stop_at_9, count=14, slots=1)
    engine, _ = run(tmp_path / "parts", count=14, slots=1)
    assert engine.started[0].startswith("009")
    assert len(engine.started) == 5
    assert read_rates(tmp_path / "parts") == read_rates(tmp_path / "whole")
    engine, states = run(tmp_path / "parts", count=15, slots=1)
    assert len(engine.started) == 1
    assert len(states) == 15


def read_values(folder):
    """Return what Optuna was told of each configuration."""
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    study = optuna.load_study(study_name="sweep", storage=optuna.storages.JournalStorage(backend))
    return [trial.value for trial in study.trials]


def test_a_configuration_counts_by_the_median_of_its_seeds(tmp_path):
    run(tmp_path, count=3, seeds=(0, 1, 7))
    rates = read_rates(tmp_path)[::3]
    assert read_values(tmp_path) == pytest.approx([(rate - 3) ** 2 + 0.01 for rate in rates])


def test_a_task_that_is_not_solved_counts_as_twice_its_sequences(tmp_path):
    def act(trial, folder, count):
        solved = int(trial.name[:3]) == 1
        write_result(folder, 0.001 if solved else 9.0, solved, sequences=70)
        return Ended(trial)

    run(tmp_path, act, count=2, goal="sequences")
    assert read_values(tmp_path) == [140, 70]


@pytest.mark.parametrize("prune", [False, True])
def test_a_hopeless_configuration_of_one_seed_ends_before_its_time(tmp_path, prune):
    steps = {}

    def act(trial, folder, count):
        step = steps[trial.name] = steps.get(trial.name, 0) + 1
        number = int(trial.name[:3])
        write_losses(folder, *[1.0 if number < 6 else 50.0] * step)
        return measure(trial, folder, count) if step == 4 else None

    engine, states = run(tmp_path, act, slots=1, count=8, prune=prune)
    pruned = [name for name, each in states.items() if each.status is Status.PRUNED]
    assert sorted(pruned) == (["006,seed=0", "007,seed=0"] if prune else [])
    assert sorted(engine.stopped) == sorted(pruned)
    again, _ = run(tmp_path, act, slots=1, count=8, prune=prune)
    assert again.started == []


@pytest.mark.slow
@pytest.mark.parametrize("prune", [False, True])
def test_a_configuration_worse_with_the_first_seeds_gets_no_more(tmp_path, prune):
    def act(trial, folder, count):
        bits = (1.0 if int(trial.name[:3]) < 4 else 9.0) + 0.01 * trial.seed
        write_result(folder, bits, solved=False)
        return Ended(trial)

    engine, _ = run(tmp_path, act, slots=1, count=5, seeds=tuple(range(8)), prune=prune)
    of_fifth = [name for name in engine.started if name.startswith("004")]
    assert len(of_fifth) < 8 if prune else len(of_fifth) == 8
    assert len([name for name in engine.started if name.startswith("000")]) == 8


@pytest.mark.slow
def test_the_goal_may_be_the_sequences_until_the_task_is_solved(tmp_path):
    def act(trial, folder, count):
        rate = trial.settings.learning_rate
        write_result(folder, 0.001, solved=True, sequences=100 + round(abs(rate - 8) * 100))
        return Ended(trial)

    run(tmp_path, act, slots=1, count=30, goal="sequences")
    rates = read_rates(tmp_path)
    assert sum(abs(rate - 8) for rate in rates[-8:]) < sum(abs(rate - 8) for rate in rates[:8]) / 2


def test_failed_trials_count_as_the_worst_and_do_not_end_the_search(tmp_path):
    def act(trial, folder, count):
        if trial.seed == 0 or int(trial.name[:3]) == 2:
            return Ended(trial, "boom")
        return measure(trial, folder, count)

    _, states = run(tmp_path, act, count=5, seeds=(0, 1, 2))
    assert len(states) == 15
    assert sum(each.status is Status.FAILED for each in states.values()) == 7


def test_wrong_arguments_and_a_missing_optuna(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="something to vary"):
        search(tmp_path, words=())
    with pytest.raises(ValueError, match="goal"):
        search(tmp_path, goal="speed")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'ntm-lasagne\[optuna\]'"):
        search(tmp_path)
