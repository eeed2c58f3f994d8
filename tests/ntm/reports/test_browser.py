"""Pages of runs, driven in a real browser."""

import json
import threading
import time

import numpy as np
import pytest

from ntm.reports import Page, PageServer, follow, write_page
from ntm.sweeps.report import SweepPage

from ..experiments.data_files import write_classes
from ..sweeps.folders import begin_sweep, make_copy_trial, put
from .folders import (
    HOSTILE,
    LINK,
    make_data_run,
    make_run,
    measures,
    row,
    save_checkpoint,
    write_result,
    write_rows,
)

pytestmark = pytest.mark.slow

#: What a chart shows: the numbers of a trace by its name, and the step of the cursor
GET_WEIGHTS = """() => document.querySelector('.chart.step').data
    .find((trace) => trace.name === 'weights').z.map((row) => Array.from(row))"""
GET_CURSOR = "() => document.querySelector('.chart.steps').layout?.shapes[0].x0 + 0.5"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of an NTM that has ended, and of an LSTM that has not."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("pytensor.config.floatX", "float32")
        parent = tmp_path_factory.mktemp("runs")
        make_run(parent / "ntm")
        write_result(parent / "ntm", measures())
        make_run(parent / "lstm", "lstm", steps=50)
    return [parent / "ntm", parent / "lstm"]


@pytest.fixture(scope="module")
def written(folders):
    """The page of both runs as a file."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("pytensor.config.floatX", "float32")
        path = folders[0].parent / "page.html"
        write_page(path, Page(folders, sizes=[{"length": 3}, {"length": 6}]).make())
    return path.as_uri()


def wait_for(page, expression, value, seconds=60):
    """Wait until an expression has a value. The page's policy forbids Playwright's own way, which is `eval`."""
    end = time.monotonic() + seconds
    while (found := page.evaluate(expression)) != value:
        assert time.monotonic() < end, f"{expression} stays {found}"
        page.wait_for_timeout(50)


def move_slider(page, step):
    page.locator("input[type=range]").fill(str(step))
    wait_for(page, GET_CURSOR, step)


def test_the_page_opens_from_disk(written, open_page):
    page = open_page(written)
    assert page.title() == "2 runs on copy"
    text = page.inner_text("main")
    for words in ("Solved after 100 sequences", "Not finished: 50 sequences", "no memory"):
        assert words in text
    headings = page.locator("h2").all_inner_texts()
    assert headings[:3] == ["Runs", "Learning", "Generalisation"]
    titles = page.locator(
        "section[data-id=learning-0] .xtitle, section[data-id=learning-0] .ytitle"
    )
    assert titles.all_text_contents() == ["sequences seen in training", "loss (bits per sequence)"]
    page.get_by_text("rows", exact=False).last.click()
    assert page.get_by_role("row", name="learning rate").is_visible()


def test_the_buttons_of_a_chart_lie_on_nothing_and_send_nothing(written, open_page):
    page = open_page(written)
    chart = page.locator(".js-plotly-plot").first
    chart.hover()
    buttons = chart.locator(".modebar-btn")
    titles = [each.get_attribute("data-title") for each in buttons.all()]
    assert "Download plot as a PNG" in titles
    assert not any("Share" in title or "Cloud" in title for title in titles)
    bar, legend, plot = (
        chart.locator(name).first.bounding_box() for name in (".modebar", ".legend", ".bglayer")
    )
    assert bar["x"] >= legend["x"] + legend["width"]
    assert bar["x"] >= plot["x"] + plot["width"]


def test_the_slider_and_the_lengths(written, open_page):
    page = open_page(written)
    steps, step = page.locator(".chart.steps").first, page.locator(".chart.step")
    move_slider(page, 0)
    pictures, weights = [step.screenshot()], [np.array(page.evaluate(GET_WEIGHTS))]
    words = page.inner_text(".words")
    move_slider(page, 5)
    pictures.append(step.screenshot())
    weights.append(np.array(page.evaluate(GET_WEIGHTS)))
    assert pictures[0] != pictures[1]
    assert weights[0].shape == (6, 2)  # Slots and heads
    assert np.abs(weights[0] - weights[1]).max() > 1e-3
    assert page.inner_text(".words") != words
    assert page.inner_text(".controls output") == "step 5 (0 to 7)"

    before = steps.screenshot()
    page.locator(".controls select").select_option("length 6")
    wait_for(
        page, "() => document.querySelector('.controls output').textContent", "step 5 (0 to 13)"
    )
    assert steps.screenshot() != before
    assert page.evaluate("() => document.querySelector('.chart.steps').data[0].z[0].length") == 14
    page.get_by_role("button", name="one step on").click()
    wait_for(page, GET_CURSOR, 6)
    page.get_by_role("button", name="play").click()
    wait_for(page, GET_CURSOR, 8)
    page.get_by_role("button", name="stop").click()


def test_the_axis_of_a_curve(written, open_page):
    page = open_page(written)
    get_type = (
        "() => document.querySelector('section[data-id=learning-0] .chart').layout.yaxis.type"
    )
    box = page.locator("section[data-id=learning-0] input[type=checkbox]")
    before = page.evaluate(get_type)
    box.click()
    wait_for(page, get_type, {"log": "linear", "linear": "log"}[before])


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_narrow_window(written, open_page, color_scheme):
    page = open_page(written, 400, color_scheme)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 400
    colors = page.evaluate(
        "() => [getComputedStyle(document.body).backgroundColor, "
        "document.querySelector('section[data-id=learning-0] .chart').layout.font.color]"
    )
    dark = ["rgb(20, 24, 29)", "#e6e9ed"]
    assert (colors == dark) == (color_scheme == "dark")


def test_a_stranger_s_texts_run_no_script(tmp_path, open_page, float32):
    """Every text of a run's files that a page shows is hostile; the texts are shown as they are."""
    folder = tmp_path / HOSTILE.replace("/", "∕")
    make_run(folder)
    others = {f"{HOSTILE} at {HOSTILE}": 2.0, f"{LINK} at {LINK}": 2.0}
    write_rows(folder, [row(1, 3.0), {"step": 1, "sequences": 1, **others}])
    measured = [{"sizes": {name: 3}, "bits": 1.0, name: 2.0} for name in (HOSTILE, LINK)]
    write_result(folder, [{"sizes": {}, "bits": 1.0}, *measured])
    write_classes(tmp_path / "data.npz")
    on_data = tmp_path / LINK.replace("/", "∕")
    make_data_run(on_data, tmp_path / "data.npz")
    settings = json.loads((on_data / "settings.json").read_text())
    (on_data / "settings.json").write_text(json.dumps({**settings, "device": HOSTILE}))
    write_result(on_data, [{"data": LINK, "loss": 1.0, HOSTILE: [[1]], LINK: 2.0}], ended=HOSTILE)
    path = tmp_path / "page.html"
    write_page(path, Page([folder, on_data], sizes=[{"length": 3}]).make())
    page = open_page(path.as_uri())
    move_slider(page, 2)
    for place in page.locator(".chart").all():
        place.hover(force=True)
    page.wait_for_timeout(200)
    assert page.evaluate("() => window.hacked") is None
    # No element came of a text: not in the page, and not in Plotly's pictures
    assert page.locator("main a[href], main img, main script, .main-svg a").count() == 0
    assert page.locator("main b").count() == 0
    assert "<img src=x onerror='window.hacked=1'>" in page.inner_text("main")
    drawn = "".join(page.locator(".main-svg text").all_text_contents())
    assert "<img src=x onerror='window.hacked=1'>" in drawn
    assert LINK[:30] in drawn
    assert "&lt;" not in drawn


def test_watch_follows_a_run(tmp_path, open_page, float32):
    run = make_run(tmp_path / "run")
    page_of_run = Page([tmp_path / "run"], sizes=[{"length": 3}])
    end = threading.Event()
    with PageServer(page_of_run.make(looks_inside=False)) as server:
        thread = threading.Thread(
            target=follow, args=(page_of_run, server, lambda _: end.wait(0.2))
        )
        thread.start()
        try:
            page = open_page(server.url)
            page.get_by_text("At checkpoint-000000100.safetensors.").wait_for()
            move_slider(page, 4)
            before = page.evaluate(GET_WEIGHTS)
            with open(tmp_path / "run" / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write('{"step": 110, "seq')
            save_checkpoint(run, 200, factor=5.0)
            page.get_by_text("At checkpoint-000000200.safetensors.").wait_for()
            wait_for(page, GET_CURSOR, 4)
            assert page.inner_text(".controls output") == "step 4 (0 to 7)"
            assert page.evaluate(GET_WEIGHTS) != before
            write_result(tmp_path / "run", measures())
            page.get_by_text("Solved after").wait_for()
            (tmp_path / "run" / "result.json").write_text('{"ended": ')
            page.get_by_text("The run cannot be read now").wait_for()
            assert page.get_by_text("Solved after").is_visible()
            write_result(tmp_path / "run", measures(value=9.0))
            page.get_by_text("Not solved after").wait_for()
            assert page.inner_text("#news") == ""
        finally:
            end.set()
            thread.join()
    page.get_by_text("No answer from ntm watch").wait_for()
    assert page.get_by_text("Not solved after").is_visible()


def test_the_page_of_a_sweep_that_grows(tmp_path, open_page, monkeypatch):
    monkeypatch.setattr("pytensor.config.floatX", "float32")
    sweep = tmp_path / "sweep"
    begin_sweep(sweep, {HOSTILE: HOSTILE})
    for name in (HOSTILE, LINK):
        for seed in range(2):
            put(sweep, make_copy_trial({"name": name}, seed), "solved", 0.001 * (1 + seed))
    lost = make_copy_trial({"name": "lost"})
    put(sweep, lost, "begun")
    page = SweepPage(sweep, may_read_data=False)
    stop = threading.Event()
    with PageServer(page.make(looks_inside=False)) as server:
        following = threading.Thread(target=follow, args=(page, server, stop.wait))
        following.start()
        try:
            shown = open_page(server.url)
            assert shown.title() == "sweep: a sweep on copy"
            assert shown.locator("section[data-id=curves-0] .legendtext").count() == 3
            assert "not ended" in shown.inner_text("header")
            put(sweep, lost, "failed", error=f"{HOSTILE}\nout of memory")
            shown.wait_for_selector("section[data-id=failures]")
            assert "out of memory" in shown.inner_text("section[data-id=failures]")
            assert "1 failed" in shown.inner_text("header")
            assert shown.evaluate("() => window.hacked") is None
        finally:
            stop.set()
            following.join()
