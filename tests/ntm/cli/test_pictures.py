import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ntm.cli.pictures import draw_generalisation, draw_learning, group_runs, measure_baselines
from ntm.experiments.settings import make_settings
from ntm.tasks import TASKS

from ..visualization.figures import get_lines, get_shaded


def test_runs_are_grouped_by_their_settings_but_the_seed():
    ntm = [make_settings("copy", "ntm", seed=seed) for seed in (1, 2, 3)]
    lstm = make_settings("copy", "lstm", seed=1)
    other = make_settings("copy", "ntm", seed=1, learning_rate=1e-3)
    folders = ["runs/copy-ntm-1", "runs/copy-lstm-1", "runs/copy-ntm-2", "x", "runs/copy-ntm-3"]
    settings = [ntm[0], lstm, ntm[1], other, ntm[2]]
    assert group_runs(folders, settings) == {"copy-ntm": [0, 2, 4], "copy-lstm-1": [1], "x": [3]}


def test_names_of_groups():
    a = [make_settings("copy", "ntm", seed=seed) for seed in (1, 2)]
    b = [make_settings("copy", "lstm", seed=seed) for seed in (1, 2)]
    folders = ["one/run-1", "one/run-2", "two/run-1", "two/run-2"]
    assert group_runs(folders, [*a, *b]) == {"run": [0, 1], "run'": [2, 3]}
    assert group_runs(["first", "second"], a) == {"first and others": [0, 1]}
    assert group_runs(["run", "./run", "run"], [a[0]] * 3) == {"run": [0]}


@pytest.mark.parametrize("name", TASKS)
def test_guessing_is_worse_than_the_best_possible(name):
    task = TASKS[name](seed=0)
    baselines = measure_baselines(task, [task.largest_sizes])
    guessing = baselines["guessing"]["measures"][0]
    assert guessing["sizes"] == task.largest_sizes
    measure, threshold = task.solved
    assert guessing[measure] > threshold
    if name == "dynamic-ngrams":
        best = baselines["best possible"]["measures"][0]
        assert best["excess_bits"] == 0
        assert 120 < best["bits"] < 140
    else:
        assert list(baselines) == ["guessing"]


def test_guesses_of_bits_are_wrong_half_the_time():
    (row,) = measure_baselines(TASKS["copy"](), [{"length": 10}])["guessing"]["measures"]
    assert row["bits"] == pytest.approx(90)  # Eight bits and the marker
    assert row["wrong_bits"] == pytest.approx(40, abs=3)


def test_the_best_possible_loss_of_a_task():
    settings = make_settings("dynamic-ngrams")
    curve = [1, 2], [150.0, 140.0]
    (axes,) = draw_learning([curve], {"a": [0]}, [settings]).axes
    lines = get_lines(axes)
    assert 120 < lines["best possible"][0, 1] < 140
    assert axes.get_title(loc="left") == "dynamic-ngrams"
    assert axes.get_ylabel() == "loss per sequence, bits"
    (axes,) = draw_learning([curve], {"a": [0]}, [make_settings("addition")]).axes
    assert list(get_lines(axes)) == ["a"]
    assert axes.get_ylabel() == "squared error per sequence"


def test_generalisation_of_groups_beside_guesses():
    rows = [{"sizes": {}, "bits": 9.0}] + [
        {"sizes": {"length": k}, "bits": 1.0 * k} for k in (10, 80)
    ]
    results = [
        {"measures": [row | {"bits": f * row["bits"]} for row in rows]} for f in (1, 2, 3, 9)
    ]
    groups = {"ntm": [0, 1, 2], "lstm": [3]}
    (axes,) = draw_generalisation(results, groups, 4 * [make_settings("copy")], "bits").axes
    lines = get_lines(axes)
    assert list(lines) == ["ntm (3 runs)", "lstm", "guessing"]
    np.testing.assert_array_equal(lines["ntm (3 runs)"], [[10, 20], [80, 160]])
    np.testing.assert_array_equal(lines["lstm"][:, 1], [90, 720])
    np.testing.assert_allclose(lines["guessing"], [[10, 90], [80, 720]])
    assert get_shaded(axes) == [(1, 20)]
    others = [make_settings("copy", task_options={"max_length": 40}), *3 * [make_settings("copy")]]
    (axes,) = draw_generalisation(results, groups, others, "bits").axes
    assert list(get_lines(axes)) == ["ntm (3 runs)", "lstm"]
    assert get_shaded(axes) == [(1, 40), (1, 20)]


def test_each_range_of_training_is_shaded_where_they_differ():
    settings = [make_settings("copy", task_options={"max_length": k}) for k in (10, 20)]
    results = [{"measures": [{"sizes": {"length": k}, "bits": 1.0} for k in (10, 80)]}] * 2
    (axes,) = draw_generalisation(results, {"a": [0], "b": [1]}, settings, "bits").axes
    assert get_shaded(axes) == [(1, 10), (1, 20)]
    colors = {line.get_label(): to_rgb(line.get_color()) for line in axes.lines}
    for patch, name in zip(axes.patches, ("a", "b"), strict=True):
        assert patch.get_label() == f"sizes in training of {name}"
        assert patch.get_facecolor()[:3] == colors[name]
