import numpy as np
import pytest

from ntm.visualization import COLUMN_WIDTH, FULL_WIDTH, plot_learning
from ntm.visualization.curves import align_curves, smooth

from .figures import check_layout, get_lines

SEQUENCES = np.arange(1, 11) * 100.0
LOSSES = np.array([90, 80, 75, 70, 60, 55, 50, 45, 42, 40.0])


def get_band(axes):
    """Return the lowest and the highest values of a band by place."""
    (band,) = axes.collections
    vertices = band.get_paths()[0].vertices
    places = np.unique(vertices[:, 0])
    values = [vertices[vertices[:, 0] == place, 1] for place in places]
    return {place: (each.min(), each.max()) for place, each in zip(places, values, strict=True)}


def test_losses_over_sequences():
    figure = plot_learning({"ntm": (SEQUENCES, LOSSES)}, smoothing=0, title="copy")
    (axes,) = figure.axes
    np.testing.assert_array_equal(get_lines(axes)["ntm"], np.column_stack([SEQUENCES, LOSSES]))
    assert axes.get_xlabel() == "sequences seen in training"
    assert axes.get_ylabel() == "loss per sequence, bits"
    assert axes.get_title(loc="left") == "copy"
    low, high = axes.get_ylim()
    assert low == 0
    assert high > 90
    assert axes.get_yscale() == "linear"


def test_long_runs_are_in_thousands():
    (axes,) = plot_learning({"ntm": (100 * SEQUENCES, LOSSES)}, smoothing=0).axes
    np.testing.assert_array_equal(get_lines(axes)["ntm"][:, 0], SEQUENCES / 10)
    assert axes.get_xlabel() == "sequences, in thousands"


def test_losses_that_differ_much_have_a_logarithmic_axis():
    losses = LOSSES / np.arange(1, 11) ** 3
    (axes,) = plot_learning({"ntm": (SEQUENCES, losses)}).axes
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert 0 < low < losses.min()
    assert high > losses.max()
    (axes,) = plot_learning({"ntm": (SEQUENCES, losses)}, log=False).axes
    assert axes.get_yscale() == "linear"


def test_several_runs_are_a_median_and_a_band():
    runs = [(SEQUENCES, LOSSES + shift) for shift in (0, 1, 30)]
    (axes,) = plot_learning({"ntm": runs, "lstm": (SEQUENCES, 2 * LOSSES)}, smoothing=0).axes
    lines = get_lines(axes)
    np.testing.assert_array_equal(lines["ntm (3 runs)"], np.column_stack([SEQUENCES, LOSSES + 1]))
    np.testing.assert_array_equal(lines["lstm"][:, 1], 2 * LOSSES)
    band = get_band(axes)
    assert band == {place: (loss, loss + 30) for place, loss in zip(SEQUENCES, LOSSES, strict=True)}
    texts = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert texts == ["ntm (3 runs)", "lstm"]
    first, second = (line for line in axes.lines if line.get_label() in lines)
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle(), "told apart without colours"


def test_a_run_that_ended_keeps_its_last_loss():
    grid, rows = align_curves([(SEQUENCES, LOSSES), (SEQUENCES[:4], LOSSES[:4])])
    np.testing.assert_array_equal(grid, SEQUENCES)
    np.testing.assert_array_equal(rows[0], LOSSES)
    np.testing.assert_array_equal(rows[1], [*LOSSES[:4], *[LOSSES[3]] * 6])


def test_runs_with_other_steps_are_drawn_where_all_have_begun():
    grid, rows = align_curves([(SEQUENCES, LOSSES), (SEQUENCES[1:] + 50, LOSSES[1:])])
    assert grid[0] == 250
    assert rows[0, 0] == (LOSSES[1] + LOSSES[2]) / 2
    assert rows[1, 0] == LOSSES[1]


def test_smoothing_is_a_mean_around():
    losses = np.array([1, 2, 3, np.nan, 5, 6, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(smooth(losses, 2 / 9), [1.5, 2, 2.5, 4, 5.5, 5.5, 6, np.nan, np.nan])
    np.testing.assert_array_equal(smooth(losses, 0), losses)


def test_one_run_is_drawn_pale_behind_its_smoothed_line():
    losses = LOSSES + 10 * (-1.0) ** np.arange(10)
    (axes,) = plot_learning({"ntm": (SEQUENCES, losses)}, smoothing=0.2).axes
    pale, line = axes.lines
    np.testing.assert_array_equal(pale.get_ydata(), losses)
    assert pale.get_alpha() < 0.5
    np.testing.assert_array_equal(line.get_ydata(), smooth(losses, 0.2))


def test_the_best_possible_loss_is_a_line():
    (axes,) = plot_learning({"ntm": (SEQUENCES, 130 + LOSSES / 9)}, best=130, label="nats").axes
    np.testing.assert_array_equal(get_lines(axes)["best possible"][:, 1], 130)
    assert axes.get_ylim()[0] > 100
    assert axes.get_ylabel() == "nats"


def test_losses_that_are_not_finite_leave_a_gap():
    losses = np.where(np.arange(10) == 4, np.nan, LOSSES)
    (axes,) = plot_learning({"ntm": (SEQUENCES, losses)}, smoothing=0).axes
    np.testing.assert_array_equal(get_lines(axes)["ntm"][:, 1], losses)


@pytest.mark.parametrize("width", [COLUMN_WIDTH, FULL_WIDTH])
def test_it_can_be_read(width):
    rng = np.random.default_rng(0)
    runs = [(100 * SEQUENCES, LOSSES * rng.lognormal(size=10)) for _ in range(5)]
    curves = {name: runs for name in ("ntm", "dnc", "sam", "sdnc", "lstm")}
    figure = plot_learning(curves, width=width, best=0.1)
    assert figure.get_figwidth() == width
    check_layout(figure)


@pytest.mark.parametrize(
    ("curves", "options", "message"),
    [
        ({}, {}, "there are no curves"),
        ({"a": (SEQUENCES, LOSSES[1:])}, {}, r"a: sequences and losses must .* \(10,\) and \(9,\)"),
        ({"a": ([], [])}, {}, r"a: .* n being positive, not \(0,\)"),
        (
            {"a": (SEQUENCES, LOSSES)},
            {"smoothing": 2},
            "smoothing must be a share from 0 to 1, not 2",
        ),
    ],
)
def test_what_cannot_be_drawn(curves, options, message):
    with pytest.raises(ValueError, match=message):
        plot_learning(curves, **options)


def test_one_large_loss_changes_only_the_means_around_it():
    losses = np.full(1000, 1e-3)
    losses[0] = 1e17
    np.testing.assert_allclose(smooth(losses, 0.02)[11:], 1e-3)


def test_runs_are_compared_from_the_first_losses_that_are_finite():
    late = np.where(SEQUENCES[2] > SEQUENCES, np.nan, LOSSES)
    grid, rows = align_curves([(SEQUENCES, LOSSES), (SEQUENCES, late)])
    np.testing.assert_array_equal(grid, SEQUENCES[2:])
    np.testing.assert_array_equal(rows, [LOSSES[2:], LOSSES[2:]])


def test_runs_without_a_finite_loss():
    never = SEQUENCES, np.full(len(SEQUENCES), np.nan)
    figure = plot_learning(
        {"none": [never, never], "one": [never, (SEQUENCES, LOSSES)]}, smoothing=0
    )
    none, one = get_lines(figure.axes[0]).values()
    assert np.isnan(none[:, 1]).all()
    np.testing.assert_array_equal(one[:, 1], LOSSES)
