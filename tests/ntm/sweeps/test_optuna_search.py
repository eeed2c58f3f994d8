"""Search by Optuna, with an engine that runs nothing."""

import json
import sys
from pathlib import Path

import pytest

from ntm.sweeps import Ended, OptunaSearch, Status, Sweep, make_trial, parse_space
from ntm.sweeps.optuna_search import JOURNAL

from .fakes import FakeEngine, make_settings_of, write_losses, write_result


def make(values, seed, name):
    others = {"batch_size": int(values["batch_size"])} if "batch_size" in values else {}
    settings = make_settings_of(seed, learning_rate=float(values["learning_rate"]), **others)
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
    engine.search = search(folder, **options)
    states = Sweep(folder, engine.search, engine, progress=False).run()
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


def read_study(folder):
    """Return what Optuna knows of each configuration."""
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    study = optuna.load_study(study_name="sweep", storage=optuna.storages.JournalStorage(backend))
    return study.trials


def read_values(folder):
    """Return what Optuna was told of each configuration."""
    return [trial.value for trial in read_study(folder)]


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


# ---- Going on


def test_failed_trials_are_tried_again(tmp_path):
    def fail(trial, folder, count):
        if trial.name in ("000,seed=1", "001,seed=0", "001,seed=1"):
            return Ended(trial, "boom")
        return measure(trial, folder, count)

    run(tmp_path, fail, count=3, seeds=(0, 1))
    engine, states = run(tmp_path, count=3, seeds=(0, 1))
    assert sorted(engine.started) == ["000,seed=1", "001,seed=0", "001,seed=1"]
    assert len(states) == 6
    assert all(each.has_ended for each in states.values())


def test_seeds_that_are_added_are_trained_for_all_configurations(tmp_path):
    run(tmp_path, count=2, seeds=(3,))
    engine, states = run(tmp_path, count=3, seeds=(0, 3))
    assert sorted(engine.started) == ["000,seed=0", "001,seed=0", "002,seed=0", "002,seed=3"]
    assert all(each.has_ended for each in states.values())


@pytest.mark.slow
def test_seeds_that_a_pruned_configuration_never_got_are_not_waited_for(tmp_path):
    def act(trial, folder, count):
        bits = (1.0 if int(trial.name[:3]) < 4 else 9.0) + 0.01 * trial.seed
        write_result(folder, bits, solved=False)
        return Ended(trial)

    options = {"slots": 1, "count": 5, "seeds": tuple(range(8)), "prune": True}
    _, states = run(tmp_path, act, **options)
    assert len(states) < 40
    engine, found = run(tmp_path, act, **options)
    assert engine.started == []
    assert found.keys() == states.keys()
    assert engine.search.count() == len(states)
    assert len(list((tmp_path / "trials").glob("*/trial.json"))) == len(states)


def test_a_configuration_that_was_noted_as_pruned_is_no_result(tmp_path):
    """The sweep was killed after it had noted that a trial is pruned, and before Optuna knew."""
    from ntm.sweeps.states import note_pruned

    def kill(trial, folder, count):
        write_losses(folder, 5.0)
        note_pruned(folder, "hopeless")
        raise RuntimeError("the sweep is killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, kill, count=1, prune=True)
    engine, states = run(tmp_path, count=1, prune=True)
    assert engine.started == []
    assert states["000,seed=0"].status is Status.PRUNED
    assert [each.state.name for each in read_study(tmp_path)] == ["PRUNED"]


def test_a_sweep_killed_while_optuna_suggests_goes_on_to_the_same_configuration(tmp_path):
    words = ("learning_rate=0.1..10", "batch_size=1..90")
    run(tmp_path / "whole", words=words, count=3, slots=1)
    run(tmp_path / "parts", words=words, count=2, slots=1)
    path = tmp_path / "parts" / JOURNAL
    whole = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    begun = [k for k, line in enumerate(whole) if json.loads(line)["op_code"] == 4][2]
    # The third configuration has been begun, and has one of its two values
    path.write_bytes(b"".join(whole[: begun + 2]))
    run(tmp_path / "parts", words=words, count=3, slots=1)
    names = [
        sorted((tmp_path / each / "trials").glob("*/trial.json")) for each in ("whole", "parts")
    ]
    whole, parts = ([json.loads(path.read_text())["values"] for path in each] for each in names)
    assert parts[:2] == whole[:2]
    assert parts[2].keys() == {"learning_rate", "batch_size"}
    assert parts[2]["learning_rate"] == whole[2]["learning_rate"]


def test_a_line_that_was_cut_short_and_a_lock_left_behind_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("s")
    run(folder, count=2)
    path = folder / JOURNAL
    lines = path.read_bytes()
    path.write_bytes(lines + b'{"op_code":4,"worker_id"')
    # As Optuna's lock: its target is found from the folder of the link, and so nowhere
    (folder / f"{JOURNAL}.lock").symlink_to(path)
    engine, _ = run(folder, count=3)
    assert len(engine.started) == 1
    engine, states = run(folder, count=4)
    assert len(engine.started) == 1
    assert len(states) == 4
    assert path.read_bytes().startswith(lines)


def test_a_damaged_journal_is_named(tmp_path):
    run(tmp_path, count=2)
    path = tmp_path / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    for damage in (b"no json\n", b"{}\n", b"3\n"):
        path.write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
        with pytest.raises(ValueError, match=r"optuna\.jsonl is damaged"):
            run(tmp_path, count=2)


# ---- Few values


@pytest.mark.parametrize("prune", [False, True])
def test_each_configuration_is_trained_once(tmp_path, prune):
    words = ("learning_rate=1,3", "batch_size=1..3")
    engine, states = run(tmp_path, words=words, count=20, slots=1, prune=prune)
    paths = (tmp_path / "trials").glob("*/trial.json")
    found = [tuple(json.loads(path.read_text())["values"].values()) for path in paths]
    assert len(found) == len({*found}) == len(states) == 6
    engine, _ = run(tmp_path, words=words, count=20, slots=1, prune=prune)
    assert engine.started == []


# ---- Losses on the way


def test_losses_between_two_looks_count(tmp_path):
    """The hopeless trials are looked at after other steps than those that they are compared to."""
    looks = {}

    def act(trial, folder, count):
        number = int(trial.name[:3])
        looks[trial.name] = looks.get(trial.name, 0) + 1
        steps = 3 * looks[trial.name] + (number >= 6)
        write_losses(folder, *[1.0 if number < 6 else 50.0] * min(steps, 12))
        return measure(trial, folder, count) if steps >= 12 else None

    _, states = run(tmp_path, act, slots=1, count=9, prune=True)
    pruned = sorted(name[:3] for name, each in states.items() if each.status is Status.PRUNED)
    assert pruned == ["006", "007", "008"]
