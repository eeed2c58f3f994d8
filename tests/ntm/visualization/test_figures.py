import pytest
from matplotlib.figure import Figure

from ntm.visualization import check_figure_path, save_figure


@pytest.fixture
def figure():
    figure = Figure((2, 1))
    figure.subplots().plot([0, 1], [0, 1])
    return figure


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_files(tmp_path, figure, ending, start):
    path = tmp_path / f"picture.{ending}"
    save_figure(figure, path)
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_failed_save_leaves_the_old_file(tmp_path, figure, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

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
