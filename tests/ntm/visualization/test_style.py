import threading

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ntm.visualization import COLUMN_WIDTH, FULL_WIDTH, STYLE
from ntm.visualization.style import (
    COLORS,
    LINES,
    drawing,
    get_bit_colors,
    get_number_scale,
    get_weight_colors,
)


def get_lightness(colors):
    """Return the luminance of colours (n, 3), which grey print shows."""
    return np.asarray(colors)[:, :3] @ [0.2126, 0.7152, 0.0722]


def test_widths():
    assert pytest.approx(8.5) == COLUMN_WIDTH * 2.54
    assert pytest.approx(17) == FULL_WIDTH * 2.54


def test_settings_of_matplotlib_are_as_before():
    before = dict(matplotlib.rcParams)
    with drawing(2.0) as figure:
        assert matplotlib.rcParams["font.size"] == STYLE["font.size"]
        figure.subplots()
    assert dict(matplotlib.rcParams) == before
    with pytest.raises(KeyError), drawing(2.0):
        raise KeyError
    assert dict(matplotlib.rcParams) == before


def test_two_threads_leave_the_settings_as_before():
    before = dict(matplotlib.rcParams)
    entered, threads = threading.Event(), []

    def draw():
        with drawing(2.0):
            entered.set()

    with drawing(2.0):
        threads.append(threading.Thread(target=draw))
        threads[0].start()
        assert not entered.wait(0.1), "the second thread must wait for the first"
    threads[0].join()
    assert dict(matplotlib.rcParams) == before


def test_ticks_keep_the_style_until_the_figure_is_saved(tmp_path):
    with drawing(2.0) as figure:
        axes = figure.subplots()
        axes.tick_params("x", length=0)
    with matplotlib.rc_context(
        {"xtick.labelsize": 30, "ytick.labelsize": 30, "ytick.major.size": 9}
    ):
        figure.savefig(tmp_path / "picture.png")
    for axis in (axes.xaxis, axes.yaxis):
        for tick in axis.get_major_ticks():
            assert tick.label1.get_fontsize() == STYLE["xtick.labelsize"]
    assert axes.xaxis.get_major_ticks()[0].tick1line.get_markersize() == 0, "as it was asked for"
    assert axes.yaxis.get_major_ticks()[0].tick1line.get_markersize() == 2.5


def test_a_given_figure_keeps_its_width():
    figure = matplotlib.figure.Figure((5, 4))
    with drawing(2.0, figure=figure) as same:
        assert same is figure
    assert figure.get_size_inches().tolist() == [5, 2]
    with drawing(2.0, COLUMN_WIDTH, figure):
        pass
    assert figure.get_figwidth() == COLUMN_WIDTH


@pytest.mark.parametrize("get_colors", [get_weight_colors, get_bit_colors])
def test_larger_values_are_darker_in_grey_print(get_colors):
    lightness = get_lightness(get_colors()(np.linspace(0, 1, 101)))
    assert (np.diff(lightness) < 0).all()
    assert lightness[0] > 0.99
    assert lightness[-1] < 0.01


def test_masked_is_no_value_of_the_images():
    for colors in (get_weight_colors(), get_bit_colors()):
        masked = colors.get_bad()
        zero = colors(0.0)
        assert abs(get_lightness([masked])[0] - get_lightness([zero])[0]) > 0.08


def test_lines_differ_in_color_and_form():
    assert len(set(COLORS)) == len(COLORS)
    assert len(set(LINES)) == len(LINES) == len(COLORS)
    assert all(get_lightness([to_rgb(color)])[0] < 0.7 for color in COLORS), "seen on white"


def test_scale_of_numbers():
    colors, limits = get_number_scale(np.array([[1.0, -3.0], [np.nan, 2.0]]))
    assert limits == (-3, 3)
    assert colors(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.05)
    colors, limits = get_number_scale(np.array([1.0, 7.0]))
    assert limits == (0, 7)
    assert get_number_scale(np.array([]))[1] == (0, 1)
