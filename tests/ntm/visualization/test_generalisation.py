import numpy as np
import pytest

from ntm.visualization import COLUMN_WIDTH, FULL_WIDTH, plot_generalisation

from .figures import check_layout, get_lines, get_shaded

LENGTHS = (10, 20, 40, 120)


def make_result(values, name="length", sizes=LENGTHS, **others):
    """Return a result with a row at the training sizes, and a value of `wrong_bits` for each size."""
    rows = [
        {"sizes": {name: size, **others}, "bits": 7.0, "wrong_bits": value}
        for size, value in zip(sizes, values, strict=True)
    ]
    return {"measures": [{"sizes": {}, "bits": 99.0, "wrong_bits": 99.0}, *rows]}


def test_a_measure_over_numbers():
    figure = plot_generalisation({"ntm": make_result([0, 1, 2, 3])}, "copy")
    (axes,) = figure.axes
    np.testing.assert_array_equal(get_lines(axes)["ntm"], np.column_stack([LENGTHS, [0, 1, 2, 3]]))
    assert axes.get_xlabel() == "length"
    assert axes.get_ylabel() == "wrong bits per sequence"
    assert axes.get_title(loc="left") == "copy"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "20", "40", "120"]
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 3


def test_sizes_are_in_order_whatever_the_order_of_the_rows():
    result = make_result([3, 0, 2, 1], sizes=(120, 10, 40, 20))
    lines = get_lines(plot_generalisation({"ntm": result}).axes[0])
    np.testing.assert_array_equal(lines["ntm"][:, 1], [0, 1, 2, 3])


def test_several_results_are_a_median_and_a_band():
    results = {
        "ntm": [make_result(np.arange(4) + shift) for shift in (0, 1, 5)],
        "lstm": make_result([9, 8, None, 7]),
    }
    (axes,) = plot_generalisation(results).axes
    lines = get_lines(axes)
    np.testing.assert_array_equal(lines["ntm (3 runs)"][:, 1], [1, 2, 3, 4])
    np.testing.assert_array_equal(lines["lstm"][:, 1], [9, 8, np.nan, 7])
    (band,) = axes.collections
    vertices = band.get_paths()[0].vertices
    for k, length in enumerate(LENGTHS):
        values = vertices[vertices[:, 0] == length, 1]
        assert (values.min(), values.max()) == (k, k + 5)


def test_results_need_not_have_the_same_sizes():
    results = {
        "ntm": make_result([1, 2, 3, 4]),
        "lstm": make_result([5, 6], sizes=(20, 80)),
        "dnc": [make_result([1, 2], sizes=(20, 80)), make_result([3], sizes=(80,))],
    }
    lines = get_lines(plot_generalisation(results).axes[0])
    np.testing.assert_array_equal(lines["lstm"], [[20, 5], [80, 6]])
    np.testing.assert_array_equal(lines["dnc (2 runs)"], [[20, 1], [80, 2.5]])


def test_the_sizes_of_training_are_shaded():
    (axes,) = plot_generalisation(
        {"ntm": make_result([0, 1, 2, 3])}, training={"length": (1, 20), "width": (3, 4)}
    ).axes
    assert get_shaded(axes) == [(1, 20)]
    assert axes.figure.legends[0].get_texts()[0].get_text() == "sizes in training"


def test_baselines_are_grey_and_beside():
    baseline = make_result([40, 80, 160, 480])
    (axes,) = plot_generalisation(
        {"ntm": make_result([0, 1, 2, 3])}, baselines={"guessing": baseline}
    ).axes
    (line,) = (line for line in axes.lines if line.get_label() == "guessing")
    np.testing.assert_array_equal(line.get_ydata(), [40, 80, 160, 480])
    np.testing.assert_array_equal(line.get_xdata(), LENGTHS)
    assert float(line.get_color()) < 1, "a grey"
    assert axes.get_ylim()[1] > 480


def test_two_sizes_have_a_place_for_each_pair():
    sizes = [
        {"length": 10, "repeats": 20},
        {"length": 20, "repeats": 10},
        {"length": 10, "repeats": 10},
    ]
    result = {"measures": [{"sizes": each, "bits": k} for k, each in enumerate(sizes)]}
    (axes,) = plot_generalisation(
        {"ntm": result}, training={"length": (1, 10), "repeats": (1, 10)}
    ).axes
    np.testing.assert_array_equal(get_lines(axes)["ntm"], [[0, 0], [1, 1], [2, 2]])
    assert axes.get_xlabel() == "length × repeats"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["10 × 20", "20 × 10", "10 × 10"]
    assert get_shaded(axes) == [(1.5, 2.5)]


def test_a_size_that_is_the_same_everywhere_is_left_out():
    result = make_result([1, 2, 3, 4], name="items", item_length=3)
    (axes,) = plot_generalisation({"ntm": result}).axes
    assert axes.get_xlabel() == "items"
    np.testing.assert_array_equal(get_lines(axes)["ntm"][:, 0], LENGTHS)


def test_a_single_size():
    (axes,) = plot_generalisation({"ntm": make_result([5], "items", sizes=(20,))}).axes
    np.testing.assert_array_equal(get_lines(axes)["ntm"], [[20, 5]])
    assert axes.get_xlabel() == "items"


def test_values_that_differ_much_have_a_logarithmic_axis_with_a_zero():
    results = {"ntm": make_result([0, 0, 0.02, 0.5]), "lstm": make_result([0.1, 30, 100, 400])}
    (axes,) = plot_generalisation(results).axes
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 400


def test_sizes_that_differ_much_have_a_logarithmic_axis():
    sizes = (10, 100, 1000, 100_000)
    (axes,) = plot_generalisation({"sam": make_result([1, 2, 3, 4], sizes=sizes)}).axes
    assert axes.get_xscale() == "log"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["10", "100", "1,000", "100,000"]


def test_the_measure_is_the_callers():
    (axes,) = plot_generalisation({"ntm": make_result([0, 1, 2, 3])}, measure="bits").axes
    np.testing.assert_array_equal(get_lines(axes)["ntm"][:, 1], 7)
    assert axes.get_ylabel() == "cross-entropy per sequence, bits"


@pytest.mark.parametrize("width", [COLUMN_WIDTH, FULL_WIDTH])
def test_it_can_be_read(width):
    lengths = (2, 5, 10, 11, 12, 20, 40, 60, 80, 100, 120)
    results = {
        name: [make_result(np.arange(11) * k, sizes=lengths) for k in (1, 2)]
        for name in ("ntm", "dnc", "lstm")
    }
    baselines = {"guessing": make_result(np.arange(11) * 9, sizes=lengths)}
    figure = plot_generalisation(
        results, "copy", width=width, training={"length": (1, 20)}, baselines=baselines
    )
    assert figure.get_figwidth() == width
    check_layout(figure)


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ({}, {}, "there are no results"),
        (
            {"a": {"measures": [{"sizes": {}, "bits": 1.0}]}},
            {},
            "a was measured at the training sizes only",
        ),
        ({"a": make_result([1, 2, 3, 4])}, {"measure": "error"}, "a was not measured by error"),
    ],
)
def test_what_cannot_be_drawn(results, options, message):
    with pytest.raises(ValueError, match=message):
        plot_generalisation(results, **options)


def test_a_measure_that_is_not_finite_is_left_out():
    rows = [{"sizes": {"length": k}, "bits": bits} for k, bits in ((10, np.inf), (20, 2.0))]
    (line,) = get_lines(plot_generalisation({"a": {"measures": rows}}).axes[0]).values()
    np.testing.assert_array_equal(line, [[10, np.nan], [20, 2]])


def test_ranges_of_a_network_that_is_not_drawn():
    with pytest.raises(ValueError, match="training: there is no result 'lstm', only ntm"):
        plot_generalisation(
            {"ntm": make_result([0, 1, 2, 3])}, training={"lstm": {"length": (1, 20)}}
        )
