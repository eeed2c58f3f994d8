"""JSON as files of this project hold it."""

import json

import numpy as np
import pytest

from ntm.files import MAX_DEPTH, MAX_HEADER, from_json, inside, read_json, to_json, write_json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.arange(4.0).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([1, np.nan, -np.inf]), [1, None, None]),
        (np.float32(np.nan), None),
        (float("inf"), None),
        ((1, "x", None), [1, "x", None]),
        ({"a": {"b": (np.nan, np.int8(1))}}, {"a": {"b": [None, 1]}}),
        ({1: True}, {"1": True}),
    ],
)
def test_to_json(value, expected):
    assert json.loads(to_json(value), parse_constant=pytest.fail) == expected
    assert json.loads(to_json(value, indent=2)) == expected


def test_values_that_are_none_of_json():
    for value in (object(), {1, 2}, b"x", 1j, np.complex64(1)):
        with pytest.raises(TypeError):
            to_json([value])


def test_from_json():
    assert from_json('{"a": [1.5, NaN, Infinity, -Infinity]}') == {"a": [1.5, None, None, None]}
    for text in ("", "{", "nan", "[" * 200 + "]" * 200, "[" * 10**6, '"' + "a" * 10_001 + '"'):
        with pytest.raises(ValueError, match=r"."):
            from_json(text)


def test_files(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError):
        read_json(path)
    write_json(path, {"loss": np.float32(np.nan), "steps": np.int64(3)})
    assert path.read_text() == '{\n  "loss": null,\n  "steps": 3\n}\n'
    assert read_json(path) == {"loss": None, "steps": 3}
    for content in (b"", b"{", b"\xff\xfe", b"[" * 10**5, b"1" * 5000, b" " * (MAX_HEADER + 1)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.json is damaged: ") as caught:
            read_json(path)
        assert len(str(caught.value)) < 400 + len(str(path))
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    assert path.stat().st_size == MAX_HEADER + 1


def test_depth_that_is_written_is_read():
    value = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert from_json(to_json(value)) == value
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        from_json(to_json([value]))


def test_inside(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "file").write_text("x")
    (real / "other").hardlink_to(real / "file")
    (real / "link").symlink_to("file")
    (real / "dangling").symlink_to(tmp_path / "none")
    (real / "folder").mkdir()
    (tmp_path / "over").symlink_to(real)
    for folder in (real, str(real), tmp_path / "over"):
        assert inside(folder, "file").read_text() == "x"
        assert inside(folder, "other").read_text() == "x"
        assert not inside(folder, "new").exists()
        for name in ("link", "dangling"):
            with pytest.raises(ValueError, match=f"{name} is a link, and the folder of a run must"):
                inside(folder, name)
        with pytest.raises(ValueError, match="folder is no file"):
            inside(folder, "folder")
