import json

import pytest

from ntm.reports.rows import RowFile


def write(path, *steps, mode="a", end="\n", **others):
    with open(path, mode, encoding="utf-8") as file:
        file.write("\n".join(json.dumps({"step": step, **others}) for step in steps) + end)


def steps(rows):
    return [row["step"] for row in rows]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_a_file_that_grows(path, tmp_path, monkeypatch):
    file = RowFile(tmp_path)
    assert file.read() == []
    write(path, 1, 2)
    write(path, 3, end="")
    first = file.read()
    assert steps(first) == [1, 2]
    parsed = []
    monkeypatch.setattr(
        "ntm.reports.rows.parse_json_lines",
        lambda text, path, first: parsed.append((text, first)) or [{"step": first}],
    )
    write(path, end="\n")
    assert steps(file.read()) == [1, 2, 3]
    assert parsed == [(b'{"step": 3}\n', 3)]
    assert steps(first) == [1, 2]


def test_a_file_that_is_replaced(path, tmp_path):
    file = RowFile(tmp_path)
    write(path, 1, 2, 3)
    file.read()
    write(tmp_path / "other", 1, 2, 7, 8, 9)
    (tmp_path / "other").replace(path)
    assert steps(file.read()) == [1, 2, 7, 8, 9]
    path.unlink()
    assert file.read() == []


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_file_that_is_written_anew(path, tmp_path, count):
    file = RowFile(tmp_path)
    write(path, *range(20), loss=1.0)
    file.read()
    write(path, *range(100, 100 + count), mode="w", loss=2.0)
    assert steps(file.read()) == [*range(100, 100 + count)]


def test_the_damaged_line_is_named(path, tmp_path):
    file = RowFile(tmp_path)
    write(path, 1, 2)
    file.read()
    write(path, 3, end="\nnonsense\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged: line 4"):
        file.read()
