"""The gallery of docs/gallery/: its page, and that each picture is there at both widths."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

import ntm.visualization
from ntm.visualization import COLUMN_WIDTH, FULL_WIDTH

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "gallery"

spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
gallery = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gallery)


def test_the_page_is_up_to_date():
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == gallery.make_page(), (
        "python scripts/gallery.py"
    )


@pytest.mark.parametrize("picture", gallery.PICTURES, ids=lambda picture: picture.name)
def test_pictures_are_there_at_both_widths(picture):
    for width, ending in ((FULL_WIDTH, ""), (COLUMN_WIDTH, "-column")):
        with Image.open(FOLDER / f"{picture.name}{ending}.png") as image:
            assert image.width == pytest.approx(width * gallery.DPI, abs=1)


def test_nothing_else_is_there_and_it_is_small():
    names = {f"{each.name}{end}.png" for each in gallery.PICTURES for end in ("", "-column")}
    found = {path.name for path in FOLDER.iterdir()}
    assert found == names | {"README.md", "learning-curves.json"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


def test_drawing_a_picture(tmp_path, monkeypatch):
    """The quickest one: all of them take a minute."""
    monkeypatch.setattr(ntm, "use_jax", lambda: None)  # The tests have a mode of their own
    gallery.main(["--only", "series", "--folder", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {
        "README.md",
        "series.png",
        "series-column.png",
    }


def test_every_function_that_draws_is_shown():
    drawing = {name for name in ntm.visualization.__all__ if name.startswith("plot_")}
    text = (ROOT / "scripts" / "gallery.py").read_text(encoding="utf-8")
    assert {name for name in drawing if f"{name}(" not in text} == set()
