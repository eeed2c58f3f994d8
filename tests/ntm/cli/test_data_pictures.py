"""Pictures of runs on data, of networks that are only told what they predict."""

from types import SimpleNamespace

import numpy as np
import pytest

from ntm.cli.data_pictures import check_names, draw_data_learning, draw_data_sequence
from ntm.data import Dataset
from ntm.experiments.data_settings import make_data_settings
from ntm.files import to_json

from ..visualization.figures import get_image, get_lines, get_marks, get_panels, get_texts

T = 5


def draw(dataset, predictions, **options):
    """Return the panels of the first sequence of a data set."""
    evaluator = SimpleNamespace(
        predict=lambda given: np.asarray(predictions)[None], look_inside=lambda given: []
    )
    settings = SimpleNamespace(layout=dataset.layout, model="lstm", data="folder/data.npz")
    figure = draw_data_sequence(evaluator, settings, dataset, 0, **options)
    assert figure.get_suptitle() == "lstm, data.npz: sequence 0"
    return get_panels(figure)


def test_numbers_have_their_own_scale():
    inputs = np.linspace(-3, 40, T)[None, :, None]
    targets = [[[9.0], [1.5], [3.0], [2.0], [2.0]]]
    panels = draw(Dataset(inputs, targets, mask=[[0, 1, 1, 1, 1]]), [[50], [-1], [0], [1], [2]])
    np.testing.assert_array_equal(get_lines(panels["input"])["channel 0"][:, 1], inputs[0, :, 0])
    lines = get_lines(panels["numbers"])
    np.testing.assert_array_equal(lines["target"][:, 1], [np.nan, 1.5, 3, 2, 2])
    np.testing.assert_array_equal(lines["prediction"][:, 1], [np.nan, -1, 0, 1, 2])
    low, high = panels["numbers"].get_ylim()
    assert -3 < low < -1 < 3 < high < 5, "steps that do not count have no say"


def test_symbols_and_classes_have_names():
    names = ["the", "cat", "sat"]
    symbols, classes = np.array([[0, 1, 2, 0, 1]]), np.array([[1, 2, 0, 1, 2]])
    predictions = np.eye(3)[[1, 2, 0, 2, 2]]
    panels = draw(Dataset(symbols, classes), predictions, names=names)
    assert list(get_texts(panels["input"], 0).values()) == ["the", "cat", "sat", "the", "cat"]
    assert list(get_texts(panels["answer"], 0).values()) == ["cat", "sat", "the", "cat", "sat"]
    assert get_texts(panels["answer"], 1)[3] == "sat"
    panels = draw(Dataset(symbols, classes), predictions)
    assert list(get_texts(panels["input"], 0).values()) == ["0", "1", "2", "0", "1"]


def test_a_class_for_a_sequence():
    dataset = Dataset(np.random.default_rng(0).random((1, T, 3)), np.array([2]), num_outputs=4)
    panels = draw(dataset, [0.1, 0.6, 0.2, 0.1], names=["a", "b", "c", "d"])
    assert get_texts(panels["answer"], 0) == {T - 1: "c"}
    assert get_texts(panels["answer"], 1) == {T - 1: "b"}
    bars = [bar.get_height() for bar in panels["predicted probability of each class"].patches]
    assert bars == [0.1, 0.6, 0.2, 0.1]


def test_numbers_for_a_sequence():
    dataset = Dataset(np.zeros((1, T, 1)), np.array([[1.5, -2.5]]))
    lines = get_lines(draw(dataset, [1.0, -2.0])["answer"])
    np.testing.assert_array_equal(lines["target"], [[0, 1.5], [1, -2.5]])
    np.testing.assert_array_equal(lines["prediction"], [[0, 1], [1, -2]])


def test_bits_and_several_inputs():
    inputs = {"a": np.eye(T)[None], "b": np.ones((1, 2))}
    targets = np.random.default_rng(0).integers(0, 2, (1, T, 3))
    panels = draw(Dataset(inputs, targets, kind="bits"), np.full((T, 3), 0.2))
    np.testing.assert_array_equal(get_image(panels["input a"])[0], np.eye(T))
    np.testing.assert_array_equal(get_image(panels["input b"])[0], np.ones((T, 2)))
    np.testing.assert_array_equal(get_image(panels["target"])[0], targets[0])
    crosses = get_marks(panels["prediction"], "x")
    assert np.count_nonzero(crosses[:, 1] >= 0) == targets.sum()


def test_targets_of_another_form_are_left_out():
    dataset = Dataset(np.zeros((1, T, 1)), np.zeros((1, T), int), kind="own")
    lines = get_lines(draw(dataset, np.arange(T)[:, None])["numbers"])
    np.testing.assert_array_equal(lines["target"][:, 1], np.nan)
    np.testing.assert_array_equal(lines["prediction"][:, 1], range(T))


def test_a_long_sequence_is_cut(monkeypatch):
    monkeypatch.setattr("ntm.cli.data_pictures.MAX_STEPS", 3)
    dataset = Dataset(np.eye(T)[None], np.ones((1, T, 1)), kind="bits")
    panels = draw(dataset, np.zeros((3, 1)))
    np.testing.assert_array_equal(get_image(panels["input"])[0], np.eye(T)[:3])


def test_names_must_be_enough():
    classes = Dataset(np.zeros((1, T, 1)), np.array([3])).layout
    check_names(["a"] * 4, classes, "names.txt")
    with pytest.raises(
        ValueError, match=r"names.txt has 3 names, one a line: expected 4, as there"
    ):
        check_names(["a"] * 3, classes, "names.txt")
    numbers = Dataset(np.zeros((1, T, 1)), np.full((1, T, 1), 0.5)).layout
    with pytest.raises(ValueError, match="neither classes nor symbols"):
        check_names(["a"], numbers, "names.txt")


def test_learning_curves_by_settings_and_part(tmp_path):
    np.savez(tmp_path / "data.npz", inputs=np.zeros((9, T, 1)), targets=np.full((9, T, 1), 0.5))
    folders, settings = [], []
    for model, seed in (("lstm", 1), ("lstm", 2), ("gru", 1)):
        folders.append(tmp_path / f"{model}-{seed}")
        folders[-1].mkdir()
        each = make_data_settings(str(tmp_path / "data.npz"), model, seed=seed, validation=0.2)
        settings.append(each)
        losses = [
            {"step": k, "sequences": 10 * k, "training loss": k + seed, "validation loss": 9 - seed}
            for k in (1, 2)
        ]
        (folders[-1] / "metrics.jsonl").write_text("".join(to_json(row) + "\n" for row in losses))
    (axes,) = draw_data_learning(folders, settings).axes
    lines = get_lines(axes)
    assert list(lines) == [
        "lstm, training (2 runs)",
        "lstm, validation (2 runs)",
        "gru-1, training",
        "gru-1, validation",
    ]
    assert axes.get_ylabel() == "squared error"
    np.testing.assert_array_equal(lines["lstm, training (2 runs)"], [[10, 2.5], [20, 3.5]])
    np.testing.assert_array_equal(lines["gru-1, validation"], [[10, 8], [20, 8]])
