"""What a page says, without a browser."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from ntm.experiments.runs import Run
from ntm.reports import Page, make_html, write_page
from ntm.reports.readings import read_run

from ..experiments.data_files import write_classes
from .folders import (
    HOSTILE,
    make_data_run,
    make_run,
    measures,
    row,
    save_checkpoint,
    write_result,
    write_rows,
)


@pytest.fixture(autouse=True)
def small_floats(float32):
    """As `ntm report` does."""


@pytest.fixture
def folder(tmp_path):
    make_run(tmp_path / "run")
    return tmp_path / "run"


def find(contents, kind):
    """Return the sections whose ids begin with a word, by the rest of their ids."""
    return [each for each in contents["sections"] if each["id"].startswith(kind)]


def test_a_run_that_is_not_finished(folder):
    contents = Page([folder]).make(looks_inside=False)
    assert contents["title"] == "ntm on copy"
    assert contents["state"] == "not finished"
    assert "100 sequences (100 steps, 1 s) so far" in contents["lead"]
    (chart,) = find(contents, "learning")[0]["charts"]
    layout = chart["figure"]["layout"]
    assert layout["xaxis"]["title"]["text"] == "sequences seen in training"
    assert layout["yaxis"]["title"]["text"] == "loss (bits per sequence)"
    assert find(contents, "generalisation")[0]["remarks"]
    assert not find(contents, "final")
    (inside,) = find(contents, "inside")
    assert "being prepared" in inside["columns"][0]["remarks"][0]


def test_a_run_that_solved_its_task(folder):
    write_result(folder, measures())
    contents = Page([folder]).make(looks_inside=False)
    assert contents["state"] == "solved"
    assert contents["lead"] == (
        "Solved after 100 sequences (100 steps, 2 s): bits 0.005 per sequence (solved: below 0.01). "
        "The network has 321 parameters."
    )
    generalisation = find(contents, "generalisation")[0]["charts"]
    assert [each["title"] for each in generalisation] == ["bits", "wrong bits", "correct"]
    figure = generalisation[0]["figure"]
    assert figure["data"][0]["x"] == [3.0, 6.0]
    assert figure["data"][0]["y"] == [0.005, 0.005]
    assert [each["name"] for each in figure["data"]] == ["run", "solved: below 0.01 in training"]
    assert figure["data"][1]["y"] == [0.01, 0.01]
    assert len(generalisation[1]["figure"]["data"]) == 1
    assert figure["layout"]["xaxis"]["title"]["text"] == "length"
    assert (figure["layout"]["shapes"][0]["x0"], figure["layout"]["shapes"][0]["x1"]) == (1, 3)
    (table,) = find(contents, "final")
    assert table["head"] == ["run", "measured on", "bits", "wrong bits", "correct"]
    assert table["rows"][2] == ["run", "length 6", "0.005", "0", "1"]


def test_runs_side_by_side(folder, tmp_path):
    os.makedirs(tmp_path / "other")
    make_run(tmp_path / "other" / "run", "lstm", steps=50)
    write_result(folder, measures())
    contents = Page([folder, tmp_path / "other" / "run"]).make(looks_inside=False)
    names = contents["names"]
    assert names == [f"{tmp_path.name}/run", "other/run"]
    (summary,) = find(contents, "summary")
    assert [line[3] for line in summary["rows"]] == ["solved", "not finished"]
    (chart,) = find(contents, "learning")[0]["charts"]
    assert [each["name"] for each in chart["figure"]["data"]] == names
    (settings,) = find(contents, "settings")
    marked = [settings["rows"][k] for k in settings["marked"]]
    assert ["network", "ntm", "lstm"] in marked
    assert all(line[1] != line[2] for line in marked)
    assert len(marked) < len(settings["rows"])
    (inside,) = find(contents, "inside")
    assert [each["name"] for each in inside["columns"]] == names


def test_each_range_of_training_is_shaded(folder, tmp_path):
    make_run(tmp_path / "longer", "lstm", task_options={"size": 2, "max_length": 5})
    for each in (folder, tmp_path / "longer"):
        write_result(each, measures())
    contents = Page([folder, tmp_path / "longer"]).make(looks_inside=False)
    charts = {each["title"]: each for each in find(contents, "generalisation")[0]["charts"]}
    chart = charts["bits"]
    shapes = chart["figure"]["layout"]["shapes"]
    assert [(shape["x0"], shape["x1"]) for shape in shapes] == [(1, 3), (1, 5)]
    assert chart["remarks"] == [
        f"The shaded ranges of the length are those of training: {folder.name} 1 to 3; longer 1 to 5."
    ]
    axis = charts["correct"]["figure"]["layout"]["yaxis"]
    assert axis["title"]["text"] == "sequences without an error, share"


def test_a_run_without_losses_and_checkpoints(folder):
    (folder / "metrics.jsonl").unlink()
    for path in folder.glob("checkpoint-*"):
        path.unlink()
    contents = Page([folder]).make()
    assert contents["state"] == "no losses yet"
    assert find(contents, "learning")[0]["remarks"] == [
        "No losses were written: a run writes them every log_every steps."
    ]
    assert "no checkpoint yet" in find(contents, "inside")[0]["columns"][0]["remarks"][0]


def test_losses_that_are_not_finite_and_a_line_that_is_cut_short(folder):
    write_rows(folder, [row(1, 3.0), row(2, None), row(3, float("nan")), row(4, 1e400)])
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 5, "seq')
    contents = Page([folder]).make(looks_inside=False)
    (chart,) = find(contents, "learning")[0]["charts"]
    assert chart["figure"]["data"][0]["y"] == [3.0, None, None, None]
    assert chart["remarks"] == ["3 values are not finite, and left out."]


def test_one_row(folder):
    write_rows(folder, [row(1, 3.0)])
    (chart,) = find(Page([folder]).make(looks_inside=False), "learning")[0]["charts"]
    assert "markers" in chart["figure"]["data"][0]["mode"]


def test_many_rows_stay_small(folder, tmp_path):
    write_rows(folder, [row(k, 2.0 + k % 2) for k in range(1, 30_001)])
    page = Page([folder])
    contents = page.make(looks_inside=False)
    (chart,) = find(contents, "learning")[0]["charts"]
    assert "a point is the median of 30 rows" in chart["remarks"][0]
    write_page(tmp_path / "page.html", contents)
    assert os.path.getsize(tmp_path / "page.html") < 5_500_000


def test_numbers_of_no_use_are_left_out(folder):
    write_rows(
        folder, [row(1, 10**400), {**row(2, 1.0), "sequences": "two"}, row(3, "x"), row(4, 2.0)]
    )
    write_result(
        folder, measures(), steps="many", sequences=[1], seconds=None, parameters={}, skipped="a"
    )
    contents = Page([folder]).make(looks_inside=False)
    (chart,) = find(contents, "learning")[0]["charts"]
    assert chart["figure"]["data"][0]["y"] == [None, None, 2.0]
    assert contents["lead"].startswith("Solved after 4 sequences (4 steps, 0 s)")


@pytest.mark.slow
def test_data(tmp_path):
    write_classes(tmp_path / "data.npz")
    make_data_run(tmp_path / "run", tmp_path / "data.npz", validation=0.25)
    matrix = [[3, 0, 0], [0, 2, 0], [0, 0, 1]]
    measured = {"data": "validation", "loss": 0.5, "accuracy": 0.75, "confusion_matrix": matrix}
    write_result(tmp_path / "run", [measured], ended="done")
    contents = Page([tmp_path / "run"]).make()
    assert contents["title"] == "ntm on data.npz"
    assert contents["lead"].startswith("Training ended after 100 sequences")
    titles = [each["title"] for each in find(contents, "measures")[0]["charts"]]
    assert titles == ["loss"]
    (confusion,) = find(contents, "confusion")[0]["charts"]
    assert confusion["title"] == "validation data"
    assert confusion["figure"]["layout"]["xaxis"]["title"]["text"] == "predicted class"
    assert find(contents, "final")[0]["rows"] == [["run", "validation data", "0.5", "0.75"]]
    column = find(contents, "inside")[0]["columns"][0]
    assert column["remarks"] == []
    assert len(column["scenes"]) == 4
    assert re.match(r"sequence \d+ \(5 steps\)", column["scenes"][0]["label"])
    assert re.match(r"Class \d, predicted \d", column["scenes"][0]["lines"][0])
    assert str(tmp_path) not in json.dumps(contents, default=str)


@pytest.mark.slow
def test_data_that_are_gone_and_data_that_may_not_be_read(tmp_path):
    write_classes(tmp_path / "data.npz")
    make_data_run(tmp_path / "run", tmp_path / "data.npz")
    contents = Page([tmp_path / "run"], may_read_data=False).make()
    (remark,) = find(contents, "inside")[0]["columns"][0]["remarks"]
    assert "only the folder of the run is read" in remark
    (tmp_path / "data.npz").rename(tmp_path / "moved.npz")
    contents = Page([tmp_path / "run"]).make()
    (remark,) = find(contents, "inside")[0]["columns"][0]["remarks"]
    assert remark.startswith("The network cannot be shown: the data of the run are not at data.npz")
    assert remark.endswith("give the new place, --data FILE")
    contents = Page(
        [tmp_path / "run"], data=tmp_path / "moved.npz", indices=[3], may_read_data=False
    ).make()
    (scene,) = find(contents, "inside")[0]["columns"][0]["scenes"]
    assert scene["label"] == "sequence 3 (5 steps)"


@pytest.mark.slow
def test_what_is_shown_is_what_the_network_does(folder):
    """Read back from the page: predictions, weights and memories of another way to compute them."""
    page = Page([folder], sizes=[{"length": 2}, {"length": 5}])
    (column,) = find(page.make(), "inside")[0]["columns"]
    assert [each["label"] for each in column["scenes"]] == ["length 2", "length 5"]
    assert [each["steps"] for each in column["scenes"]] == [6, 12]
    assert column["checkpoint"] == "checkpoint-000000100.safetensors"
    scene = column["scenes"][0]
    run = Run.open(folder)
    inputs = unpack(scene["inputs"][0]["values"])
    np.testing.assert_array_equal(np.rint(inputs), inputs)
    predicted = run.trainer.evaluator.predict(inputs[None])[0]
    counts = np.isfinite(unpack(scene["answers"][0]["values"])).all(axis=1)
    assert counts.tolist() == [False] * 3 + [True] * 2 + [False]
    np.testing.assert_allclose(
        unpack(scene["answers"][1]["values"])[counts], predicted[counts], atol=0.01
    )
    (trace,) = run.trainer.evaluator.look_inside(inputs)
    (memory,) = scene["memories"]
    assert memory["slots"] == list("012345")
    np.testing.assert_allclose(unpack(memory["memory"]), trace.memory, atol=0.02)
    for shown, head in zip(memory["heads"], trace.heads, strict=True):
        assert shown["name"] == head.name
        np.testing.assert_allclose(unpack(shown["weights"]), head.used, atol=1e-4)
    reading = dict(memory["heads"][-1]["vectors"])["read vector"]
    np.testing.assert_allclose(
        unpack(reading), np.einsum("tn,tnm->tm", trace.heads[-1].used, trace.memory), atol=0.02
    )


def unpack(packed):
    """Unpack an array of a page as `charts.js` does."""
    import base64

    numbers = np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['type']}").astype(float)
    missing = {"i1": -128, "i2": -32768}[packed["type"]]
    return np.where(numbers == missing, np.nan, numbers * packed["scale"]).reshape(packed["shape"])


@pytest.mark.slow
def test_a_new_checkpoint_is_taken(tmp_path):
    run = make_run(tmp_path / "run", "lstm")
    page = Page([tmp_path / "run"], sizes=[{"length": 2}])
    first = page.make()
    assert page.make()["sections"][-2] == first["sections"][-2]
    save_checkpoint(run, 200, factor=3.0)
    second = page.make()
    before, after = (each["sections"][-2]["columns"][0] for each in (first, second))
    assert after["checkpoint"] == "checkpoint-000000200.safetensors"
    assert before["scenes"][0]["inputs"] == after["scenes"][0]["inputs"]
    assert before["scenes"][0]["answers"][1] != after["scenes"][0]["answers"][1]
    damaged = tmp_path / "run" / "checkpoint-000000300.safetensors"
    damaged.write_bytes(b"cut short")
    column = page.make()["sections"][-2]["columns"][0]
    assert "checkpoint-000000300.safetensors" in column["remarks"][0]
    assert column["scenes"] == after["scenes"]


@pytest.mark.slow
def test_a_run_that_takes_the_place_of_another_is_shown(tmp_path):
    run = make_run(tmp_path / "run", "lstm")
    page = Page([tmp_path / "run"], sizes=[{"length": 2}])
    columns = [page.make()["sections"][-2]["columns"][0]]
    shutil.rmtree(tmp_path / "run")
    make_run(tmp_path / "run", "lstm")
    save_checkpoint(run, 100, factor=3.0)
    columns.append(page.make()["sections"][-2]["columns"][0])
    shutil.rmtree(tmp_path / "run")
    make_run(tmp_path / "run", "lstm", task_options={"size": 3, "max_length": 3})
    columns.append(page.make()["sections"][-2]["columns"][0])
    assert {each["checkpoint"] for each in columns} == {"checkpoint-000000100.safetensors"}
    first, second, third = (each["scenes"][0]["answers"][1]["values"] for each in columns)
    assert first["data"] != second["data"]
    assert third["shape"][1] == first["shape"][1] + 1
    assert not columns[2]["remarks"]


@pytest.mark.slow
@pytest.mark.parametrize("model", [pytest.param("dnc", marks=pytest.mark.exhaustive), "sam"])
def test_other_memories(tmp_path, model):
    make_run(tmp_path / "run", model)
    (column,) = find(Page([tmp_path / "run"], sizes=[{"length": 2}]).make(), "inside")[0]["columns"]
    (memory,) = column["scenes"][0]["memories"]
    assert len(memory["heads"]) == 2
    for head in memory["heads"]:
        weights = unpack(head["weights"])
        assert weights.shape == (6, len(memory["slots"]))
        assert (weights.sum(axis=1) <= 1.001).all()


def test_a_stranger_s_files(folder):
    """Texts of files stay in the strings of the page's JSON, and in the escaped title."""
    rows = [row(1, 3.0), {"step": 1, "sequences": 1, f"{HOSTILE} at {HOSTILE}": 2.0}]
    write_rows(folder, rows)
    write_result(folder, [{"sizes": {HOSTILE: 3}, "bits": 1.0, HOSTILE: 2.0}], ended=HOSTILE)
    html = make_html(Page([folder]).make(looks_inside=False))
    assert "hacked" in html
    assert "<img" not in html
    assert html.count("<script") == html.count("</script>") == 5
    start = html.index('id="contents">') + len('id="contents">')
    contents = json.loads(html[start : html.index("</script>", start)])
    assert HOSTILE.split("</script>")[0] in json.dumps(contents).replace("\\", "")


def test_characters_that_deceive(tmp_path):
    name = "a\u202eb\udc80\n\x1b[2J"
    make_run(tmp_path / os.fsencode(name).decode("utf-8", "surrogateescape"), "lstm")
    (folder,) = tmp_path.iterdir()
    html = make_html(Page([folder]).make(looks_inside=False))
    assert read_run(folder).name == "a\\u202eb\\udc80 \\x1b[2J"
    html.encode("utf-8")


@pytest.mark.slow
def test_a_network_whose_numbers_are_too_large(folder):
    save_checkpoint(Run.open(folder), 200, factor=1e30)
    (column,) = find(Page([folder], sizes=[{"length": 2}]).make(), "inside")[0]["columns"]
    (scene,) = column["scenes"]
    weights = unpack(scene["memories"][0]["heads"][0]["weights"])
    assert not np.isfinite(weights).all()
    assert scene["wrong"] == [3, 4]


def test_settings_of_which_no_task_can_be_made(folder):
    settings = json.loads((folder / "settings.json").read_text())
    settings["task_options"]["min_length"] = 7
    (folder / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(
        ValueError, match=r"settings\.json: no run can be made from it: .* above max"
    ):
        Page([folder])


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        Page([tmp_path])


def test_a_link_in_the_folder_is_refused(folder, tmp_path):
    (tmp_path / "secret").write_text('{"step": 1, "loss": 1.0, "sequences": 1}\n')
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="is a link"):
        Page([folder])


def test_one_file_that_needs_no_other(folder, tmp_path):
    write_page(tmp_path / "page.html", Page([folder]).make(looks_inside=False))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    start = html[: html.index("<style>")]
    assert "default-src 'none'; script-src 'sha256-" in start
    assert "unsafe-eval" not in start
    assert not re.search(
        r"<(script|link|img)[^>]*(src|href)=(?!\"data:,\")", html.split("<body>")[0]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "run"]


def test_plotly_is_missing(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    monkeypatch.setitem(__import__("sys").modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"need Plotly: pip install plotly$"):
        Page([folder]).make(looks_inside=False)
