"""The loop over the trials of a sweep, with an engine that runs nothing."""

import os
import signal

import pytest

from ntm.experiments.locking import FolderLock
from ntm.sweeps import Ended, FixedSearch, Search, Status, Sweep, make_trial, read_trials

from .fakes import FakeEngine, make_settings_of, make_trials, write_losses, write_result


def run(folder, trials, act, slots=2, **options):
    """Run a sweep, and return the engine and how the trials ended."""
    engine = FakeEngine(folder, act, slots)
    return engine, Sweep(folder, trials, engine, progress=False, **options).run()


def solve(trial, folder, count):
    """Solve the task, with odd seeds."""
    write_result(folder, 0.001 if trial.seed % 2 else 3.0, bool(trial.seed % 2))
    return Ended(trial)


def test_all_trials_run_and_no_more_than_there_is_room_for(tmp_path):
    trials = make_trials(range(5))
    engine, states = run(tmp_path, trials, solve)
    assert engine.started == [each.name for each in trials]
    assert engine.most == 2
    assert not engine.is_open
    assert [states[each.name].status for each in trials] == [
        Status.ENDED, Status.SOLVED, Status.ENDED, Status.SOLVED, Status.ENDED,
    ]  # fmt: skip
    assert states[trials[1].name].result["measures"][0]["bits"] == 0.001


def test_what_has_ended_is_not_run_again_and_more_seeds_are_added(tmp_path):
    run(tmp_path, make_trials(range(2)), solve)
    trials = make_trials(range(4), ("0.1", "0.2"))
    engine, states = run(tmp_path, trials, solve)
    assert engine.started == [each.name for each in trials[2:]]
    assert all(each.has_ended for each in states.values())
    assert [each.name for each in read_trials(tmp_path)] == sorted(each.name for each in trials)
    assert read_trials(tmp_path)[0] == trials[0]


def test_a_trial_that_fails_costs_no_other_and_is_tried_again(tmp_path, capsys):
    trials = make_trials(range(3))

    def act(trial, folder, count):
        return (
            Ended(trial, "boom\nthe last line") if trial.seed == 1 else solve(trial, folder, count)
        )

    _, states = run(tmp_path, trials, act)
    assert [states[each.name].status for each in trials] == ["ended", "failed", "ended"]
    assert states[trials[1].name].error == "boom\nthe last line"
    assert f"{trials[1].name} failed: boom\nthe last line" in capsys.readouterr().err
    engine, states = run(tmp_path, trials, solve)
    assert engine.started == [trials[1].name]
    assert states[trials[1].name].status is Status.SOLVED
    assert not (trials[1].find_folder(tmp_path) / "failed.json").exists()


def test_a_trial_whose_process_ends_early_without_an_error_has_failed(tmp_path):
    (trial,) = trials = make_trials([0])
    _, states = run(tmp_path, trials, lambda trial, folder, count: Ended(trial))
    assert states[trial.name].status is Status.FAILED
    assert "before its time" in states[trial.name].error


def test_a_lost_trial_goes_on_elsewhere(tmp_path, capsys):
    trials = make_trials(range(3))

    def act(trial, folder, count):
        if trial.seed == 0 and count < 3:
            write_losses(folder, *[2.0] * count)
            return Ended(trial, "node 7 is gone", is_lost=True)
        return solve(trial, folder, count)

    engine, states = run(tmp_path, trials, act)
    assert engine.started.count(trials[0].name) == 3
    assert all(each.has_ended for each in states.values())
    assert "node 7 is gone; it goes on elsewhere" in capsys.readouterr().err


def test_a_trial_that_ended_before_its_machine_was_lost_is_not_run_again(tmp_path):
    trials = make_trials([0])

    def act(trial, folder, count):
        solve(trial, folder, count)
        return Ended(trial, is_lost=True)

    engine, _ = run(tmp_path, trials, act)
    assert engine.started == [trials[0].name]


def test_a_signal_ends_the_sweep_and_the_same_sweep_goes_on(tmp_path):
    trials = make_trials(range(4))

    def act(trial, folder, count):
        if trial.seed == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            write_losses(folder, 4.0, 3.0)
            return None
        return solve(trial, folder, count)

    engine, states = run(tmp_path, trials, act)
    assert not engine.is_open
    assert [states[each.name].status for each in trials] == ["ended", "begun", "ended", "waiting"]
    assert states[trials[1].name].step == 20
    engine, states = run(tmp_path, trials, solve)
    assert engine.started == [trials[1].name, trials[3].name]
    assert all(each.has_ended for each in states.values())


def test_two_sweeps_in_one_folder_refuse_each_other(tmp_path):
    with FolderLock(tmp_path), pytest.raises(BlockingIOError, match="process"):
        # A lock may be entered again by its thread: ask from another object
        run(tmp_path, make_trials([0]), solve)
    assert not (tmp_path / "trials").exists()


def test_another_sweep_in_the_folder_is_refused(tmp_path):
    run(tmp_path, make_trials([0]), solve, about={"varies": ["a"]})
    with pytest.raises(ValueError, match=r"another sweep: varies is \['a'\] there, not \['b'\]"):
        run(tmp_path, make_trials([1]), solve, about={"varies": ["b"]})


def test_a_trial_with_other_settings_is_refused_before_anything_runs(tmp_path):
    run(tmp_path, make_trials([0]), solve)
    other = make_trial(
        make_settings_of(0, learning_rate=0.1, batch_size=7), {"learning_rate": "0.1"}
    )
    engine = FakeEngine(tmp_path, solve)
    with pytest.raises(ValueError, match="other settings: batch_size 1 and not 7"):
        Sweep(tmp_path, [*make_trials([5]), other], engine, progress=False).run()
    assert engine.started == []
    # A command that is refused leaves nothing that would refuse the right one
    assert [each.name for each in read_trials(tmp_path)] == [make_trials([0])[0].name]


def test_more_seeds_with_other_settings_are_refused(tmp_path):
    """Seeds of one configuration have one row in the report."""
    run(tmp_path, make_trials([0]), solve)
    other = make_trial(
        make_settings_of(1, learning_rate=0.1, batch_size=7), {"learning_rate": "0.1"}
    )
    with pytest.raises(ValueError, match="other settings: batch_size 1 and not 7"):
        run(tmp_path, [other], solve)
    assert len(read_trials(tmp_path)) == 1


def test_trials_have_names_of_folders():
    settings = make_settings_of(3)
    assert make_trial(settings).name == "seed=3"
    assert make_trial(settings, {"a": "1", "b": "x"}).name == "a=1,b=x,seed=3"
    assert make_trial(settings, {"a": "1"}, "007").name == "007,seed=3"
    odd = [
        make_trial(settings, {"a": value}).name for value in ("../x", "_._x", "x" * 500, "x" * 501)
    ]
    assert len({*odd}) == 4
    assert all(len(name) <= 120 and "/" not in name for name in odd)
    with pytest.raises(ValueError, match=r"two trials .* seed=3"):
        FixedSearch([make_trial(settings)] * 2)
    with pytest.raises(ValueError, match="at least one"):
        FixedSearch([])


@pytest.mark.parametrize(
    "content", ["", "3", "{}", '{"settings": {}, "values": {}}', '{"settings": 3, "values": {}}']
)
def test_a_damaged_trial_is_named(tmp_path, content):
    (trial,) = trials = make_trials([0])
    run(tmp_path, trials, solve)
    (trial.find_folder(tmp_path) / "trial.json").write_text(content)
    with pytest.raises(ValueError, match=r"trial\.json is damaged"):
        read_trials(tmp_path)
    with pytest.raises(ValueError, match=r"trial\.json is damaged|other settings"):
        run(tmp_path, trials, solve)


def test_a_hopeless_trial_is_stopped_and_stays_so(tmp_path):
    class Impatient(FixedSearch):
        told = ()

        def is_hopeless(self, trial, state):
            return trial.seed == 0 and state.step >= 20

        def tell(self, trial, state):
            self.told = (*self.told, (trial.seed, str(state.status)))

    trials = make_trials(range(2))

    def act(trial, folder, count):
        if trial.seed == 0:
            write_losses(folder, 4.0, 5.0)
            return None
        return solve(trial, folder, count)

    search = Impatient(trials)
    engine, states = run(tmp_path, search, act, slots=1)
    assert engine.stopped == [trials[0].name]
    assert states[trials[0].name].status is Status.PRUNED
    assert search.told == ((0, "pruned"), (1, "solved"))
    engine, _ = run(tmp_path, Impatient(trials), act, slots=1)
    assert engine.started == []


def test_a_search_may_wait_for_results(tmp_path):
    class OneAfterTheOther(Search):
        def __init__(self, trials):
            self.trials, self.ended, self.handed = trials, 0, 0

        def list_known(self):
            return self.trials[: self.handed]

        def count(self):
            return len(self.trials)

        def next(self):
            if self.handed == len(self.trials) or self.handed > self.ended:
                return None
            self.handed += 1
            return self.trials[self.handed - 1]

        def tell(self, trial, state):
            self.ended += 1

    engine, states = run(tmp_path, OneAfterTheOther(make_trials(range(4))), solve, slots=3)
    assert len(states) == 4
    assert engine.most == 1


def test_a_damaged_file_is_the_failure_of_one_trial(tmp_path):
    trials = make_trials(range(3))

    def act(trial, folder, count):
        if trial.seed == 2:
            return solve(trial, folder, count)
        (folder / "settings.json").write_text("{}")
        name = ("metrics.jsonl", "result.json")[trial.seed]
        (folder / name).write_text("no json\n")
        return Ended(trial)

    _, states = run(tmp_path, trials, act)
    assert [states[each.name].status for each in trials] == ["failed", "failed", "ended"]
    assert "metrics.jsonl is damaged" in states[trials[0].name].error
    assert "result.json is damaged" in states[trials[1].name].error
