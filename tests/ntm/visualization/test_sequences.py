import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from ntm.visualization.figures import check_figure_path, save_figure
from ntm.visualization.sequences import plot_sequence

T, F, OUT, N = 7, 3, 2, 20
SEQUENCE = {
    "inputs": np.random.default_rng(0).integers(0, 2, (T, F)),
    "targets": np.random.default_rng(1).integers(0, 2, (T, OUT)),
    "predictions": np.random.default_rng(2).random((T, OUT)),
}


def one_hot_weights(heads, slots):
    """Weights (T, heads, N) on the given slots."""
    return np.tile(np.eye(N)[slots][:, None], (1, heads, 1))


def images(figure):
    """Titles and images of the panels, colour bars left out."""
    panels = [axis for axis in figure.axes if axis.get_title(loc="left")]
    return {axis.get_title(loc="left"): axis.get_images()[0] for axis in panels}


def test_panels_show_the_arrays():
    shown = images(plot_sequence(**SEQUENCE))
    assert list(shown) == ["input", "target", "prediction"]
    for image, values in zip(shown.values(), SEQUENCE.values(), strict=True):
        np.testing.assert_array_equal(image.get_array(), values.T)
        assert image.get_clim() == (0, 1)


def test_a_panel_for_each_head():
    slots = np.array([5, 6, 7, 8, 8, 8, 8])
    figure = plot_sequence(
        **SEQUENCE,
        write_weights=one_hot_weights(1, slots),
        read_weights=one_hot_weights(2, slots),
        title="a title",
    )
    shown = images(figure)
    assert list(shown)[3:] == ["write weights", "read weights, head 1", "read weights, head 2"]
    image = shown["write weights"]
    values = image.get_array()
    assert values.shape[1] == T
    assert values.shape[0] < N
    assert values.sum() == T
    left, right, bottom, top = image.get_extent()
    assert (left, right) == (-0.5, T - 0.5)
    low, high = sorted((bottom, top))
    assert low < slots.min()
    assert high > slots.max()
    assert figure.get_suptitle() == "a title"


def test_channels_are_whole_numbers():
    figure = plot_sequence(np.zeros((T, 1)), np.zeros((T, 2)), np.zeros((T, 2)))
    for axis in figure.axes[:3]:
        assert all(tick == round(tick) for tick in axis.get_yticks())


def test_all_slots_where_none_stands_out():
    figure = plot_sequence(**SEQUENCE, write_weights=np.full((T, 1, N), 1 / N))
    assert images(figure)["write weights"].get_array().shape == (N, T)


def test_mask_leaves_what_does_not_count_grey():
    mask = np.array([0, 0, 0, 1, 1, 1, 0])
    before = SEQUENCE["predictions"].copy()
    shown = images(plot_sequence(**SEQUENCE, mask=mask))["prediction"].get_array()
    np.testing.assert_array_equal(np.ma.filled(shown, np.nan).T[mask == 0], np.nan)
    np.testing.assert_array_equal(shown.T[mask == 1], before[mask == 1])
    np.testing.assert_array_equal(SEQUENCE["predictions"], before)


def test_given_figure_is_drawn_on():
    figure = plt.figure()
    assert plot_sequence(**SEQUENCE, figure=figure) is figure
    plt.close(figure)


def test_no_figure_of_pyplot_is_left_open():
    before = plt.get_fignums()
    assert isinstance(plot_sequence(**SEQUENCE), Figure)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("targets", np.zeros((T - 1, OUT)), r"target must be of shape \(7, \.\.\.\), not \(6, 2\)"),
        ("predictions", np.zeros(T), r"prediction must be of shape .* not \(7,\)"),
        ("inputs", np.zeros((1, T, F)), r"input must be .* not \(1, 7, 3\)"),
        ("write_weights", np.zeros((T, N)), r"write weights must be .* not \(7, 20\)"),
        ("read_weights", np.zeros((T + 1, 1, N)), r"read weights must be .* not \(8, 20\)"),
    ],
)
def test_arrays_of_another_shape(name, value, message):
    with pytest.raises(ValueError, match=message):
        plot_sequence(**{**SEQUENCE, name: value})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_files(tmp_path, ending, start):
    path = tmp_path / f"picture.{ending}"
    figure = plot_sequence(**SEQUENCE, read_weights=one_hot_weights(1, np.arange(T)))
    save_figure(figure, path)
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    figure = plot_sequence(**SEQUENCE)

    def fail(file, dpi):
        with open(file, "wb") as half:
            half.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("picture.xyz", ValueError, r"must end in one of .*\.png.*, not 'picture.xyz'"),
        ("picture", ValueError, "must end in one of"),
        ("folder.png", ValueError, "is a folder"),
        ("nowhere/picture.png", FileNotFoundError, "nowhere"),
    ],
)
def test_a_path_that_cannot_be_written_is_found_before(tmp_path, name, error, message):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(error, match=message):
        check_figure_path(tmp_path / name)


def test_checking_a_path_changes_nothing(tmp_path):
    (tmp_path / "old.png").write_bytes(b"old")
    for name in ("old.png", "new.pdf", "new.SVG"):
        check_figure_path(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"
