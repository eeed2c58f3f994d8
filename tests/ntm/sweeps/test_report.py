"""The report of a sweep: what its tables, pictures and page say. Folders of sweeps are written by hand."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from ntm.reports import make_html
from ntm.sweeps.report import (
    SweepPage,
    Table,
    describe_number,
    describe_spread,
    rank_result,
    read_sweep,
    write_markdown,
    write_report,
)
from ntm.sweeps.report import files as report_files
from ntm.sweeps.report.documents import (
    make_csv,
    make_latex,
    make_markdown,
    make_tables,
)
from ntm.sweeps.report.pictures import (
    MOST_DRAWN,
    draw_curves,
    draw_generalisation,
    read_curves,
)
from ntm.sweeps.report.tables import escape_latex, escape_markdown, write_csv
from ntm.tasks import TASKS

from ..experiments.data_files import write_classes
from ..reports.folders import HOSTILE, LINK, measures, write_rows
from .folders import (
    begin_sweep,
    make_copy_trial,
    make_data_trial,
    make_sweep,
    put,
)


class OwnCopy(TASKS["copy"]):
    """A task of the user's own."""


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures are drawn, and not written, which takes a second each."""
    monkeypatch.setattr(report_files, "save_figure", lambda figure, path: path.write_bytes(b""))


def get_rows(table):
    """Return the rows of a table as dicts."""
    return [dict(zip(table.head, row, strict=True)) for row in table.rows]


def read_csv(text):
    return list(csv.DictReader(text.splitlines()))


def find(contents, start):
    """Return the sections of a page whose ids begin with a word."""
    return [each for each in contents["sections"] if each["id"].startswith(start)]


# ---- Numbers


def test_median_and_range():
    assert describe_spread([3, 1, 2], "{:.1f}") == "2.0 (1.0 to 3.0)"
    assert describe_spread([1, 2, 4, 100], "{:g}") == "3 (1 to 100)"  # Between the middle two
    assert describe_spread([7], "{:g}") == "7"
    assert describe_spread([], "{:g}") == "–"
    assert describe_spread([1, np.nan, 3, np.inf], "{:g}") == "2 (1 to 3; 2 not finite)"
    assert describe_spread([np.nan], "{:g}") == "1 not finite"
    assert describe_spread([1, np.nan], "{:g}") == "1 (1 not finite)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001234, "0.00123"), (999.4, "999"), (999.6, "1,000"), (123456, "123,456"), (np.nan, "–")],
)
def test_a_number_in_a_table(value, text):
    assert describe_number(value) == text


def test_the_rank_of_a_result():
    better = {"solved": True, "measures": measures(value=0.004)}
    for other in (
        {"solved": False, "measures": measures(value=0.001)},
        {"solved": True, "measures": measures(value=0.005)},
        {"solved": True, "measures": [{"sizes": {}, "bits": None}]},
        {
            "solved": True,
            "measures": [better["measures"][0], {"sizes": {"length": 9}, "correct": 0.5}],
        },
        {
            "solved": True,
            "measures": [better["measures"][0], {"sizes": {"length": 9}, "correct": None}],
        },
    ):
        assert rank_result(better, "bits") < rank_result(other, "bits")


# ---- Configurations


def test_configurations_over_seeds(tmp_path):
    sweep = make_sweep(tmp_path, ("1e-2", "1e-3"))
    rate = {"learning_rate": "1e-3"}
    for seed, status in ((3, "pruned"), (4, "waiting"), (5, "begun")):
        put(sweep, make_copy_trial(rate, seed, learning_rate=1e-3), status)
    put(sweep, make_copy_trial(rate, 6, learning_rate=1e-3), "failed", error="out of memory")
    summary = read_sweep(sweep)
    assert summary.counts == (
        "10 trials: 3 solved, 3 ended, 1 pruned, 1 failed, 1 waiting, 1 begun"
    )
    (subject,) = summary.subjects
    assert (subject.name, subject.threshold) == ("copy", 0.01)
    assert [each.name for each in subject.configurations] == [
        "learning rate 1e-2",
        "learning rate 1e-3",
    ]
    first, sizes, right = make_tables(subject)
    best, other = get_rows(first)
    assert best == {
        "rank": "1",
        "learning rate": "1e-2",
        "seeds": "3",
        "solved": "3 of 3",
        "pruned": "0",
        "failed": "0",
        "not ended": "0",
        "sequences": "100 (100 to 100)",
        "minutes": "1 (0 to 2)",
        "bits (as in training)": "0.002 (0.001 to 0.003)",
    }
    assert first.marked == [0]
    assert (other["seeds"], other["solved"]) == ("7", "0 of 5")
    assert (other["pruned"], other["failed"], other["not ended"]) == ("1", "1", "2")
    assert other["bits (as in training)"] == "0.2 (0.1 to 0.3)"
    assert sizes.title == "Generalisation: bits"
    assert get_rows(sizes)[1]["length 9"] == "0.2 (0.1 to 0.3)"
    assert get_rows(right)[0]["length 6"] == "1 (1 to 1)"
    assert subject.best_trial.name == "learning_rate=1e-2,seed=0"


def test_the_share_of_solved_seeds_counts_before_the_median(tmp_path):
    begin_sweep(tmp_path)
    for name, states in (
        ("few", [("solved", 0.001), ("ended", 0.002)]),
        ("most", [("solved", 0.009), ("solved", 0.009)]),
        ("same", [("solved", 0.008), ("solved", 0.009)]),
        ("worst", [("ended", 0.1), ("ended", 0.1)]),
    ):
        for seed, (status, value) in enumerate(states):
            put(tmp_path, make_copy_trial({"kind": name}, seed), status, value)
    (subject,) = read_sweep(tmp_path).subjects
    assert [each.values["kind"] for each in subject.configurations] == [
        "same",
        "most",
        "few",
        "worst",
    ]
    assert subject.best_trial.name == "kind=few,seed=0"
    assert "largest share of seeds" in subject.rule


def test_seeds_alone_are_one_configuration(tmp_path):
    begin_sweep(tmp_path)
    for seed in (10, 9):
        put(tmp_path, make_copy_trial(seed=seed))
    (subject,) = read_sweep(tmp_path).subjects
    (only,) = subject.configurations
    assert [each.trial.seed for each in only.outcomes] == [9, 10]
    (row,) = get_rows(make_tables(subject)[0])
    assert (row["network"], row["solved"]) == ("ntm dense", "2 of 2")


def test_before_a_trial_has_ended(tmp_path):
    begin_sweep(tmp_path)
    put(tmp_path, make_copy_trial({"a": "1"}), "waiting")
    summary = read_sweep(tmp_path)
    (subject,) = summary.subjects
    assert subject.best is subject.best_trial is None
    assert make_tables(subject)[0].marked == []
    assert draw_curves(subject, read_curves(subject)[0]) is None
    assert draw_generalisation(subject) is None
    assert "1 trial: 1 waiting" in make_markdown(summary)
    assert read_csv(make_csv(summary))[0]["state"] == "waiting"
    assert r"\toprule" in make_latex(summary)


def test_measures_that_are_not_finite(tmp_path):
    begin_sweep(tmp_path)
    for seed in range(3):
        rows = measures()
        if seed == 1:
            rows[0]["bits"] = None
        put(tmp_path, make_copy_trial({"a": "1"}, seed), "ended", rows=rows)
    put(tmp_path, make_copy_trial({"a": "2"}, 0), "ended", 0.5)
    (subject,) = read_sweep(tmp_path).subjects
    row = get_rows(make_tables(subject)[0])[0]
    assert row["bits (as in training)"] == "0.005 (0.005 to 0.005; 1 not finite)"
    # Not finite is the worst: of two seeds the median is infinite
    shutil.rmtree(tmp_path / "trials" / "a=1,seed=2")
    (subject,) = read_sweep(tmp_path).subjects
    assert [each.values["a"] for each in subject.configurations] == ["2", "1"]
    (trial,) = [
        row for row in read_csv(make_csv(read_sweep(tmp_path))) if row["trial"] == "a=1,seed=1"
    ]
    assert (trial["bits (as in training)"], trial["correct (as in training)"]) == ("", "1.0")


def test_several_tasks(tmp_path, no_pictures):
    begin_sweep(tmp_path)
    put(tmp_path, make_copy_trial({"task": "copy"}))
    rows = [{"sizes": {}, "error": 0.05, "correct": 0.5}]
    trial = make_copy_trial({"task": "argmax"}, task="argmax")
    put(tmp_path, trial, rows=rows)
    summary = read_sweep(tmp_path)
    assert [each.name for each in summary.subjects] == ["argmax", "copy"]
    text = make_markdown(summary)
    assert "## Configurations: argmax" in text
    assert "| error (as in training) |" in text
    assert make_latex(summary).count(r"\begin{table}") == 4
    paths = write_report(tmp_path, page=False)
    names = {path.name for path in paths}
    assert {"curves-1-argmax.png", "curves-2-copy.pdf", "generalisation-2-copy.png"} <= names
    assert "generalisation-1-argmax.png" not in names
    contents = SweepPage(tmp_path).make(looks_inside=False)
    ids = [each["id"] for each in contents["sections"]]
    assert {"best-0-settings", "best-1-settings"} <= {*ids}
    assert len({*ids}) == len(ids)


# ---- Damaged files, files of strangers


def test_damaged_files_cost_no_other_trial(tmp_path, no_pictures):
    sweep = make_sweep(tmp_path)
    trials = tmp_path / "trials"
    names = [f"learning_rate=1e-4,seed={seed}" for seed in range(3)]
    (trials / names[0] / "trial.json").write_text("{")
    (trials / names[1] / "result.json").write_text('{"measures": []}')
    (trials / names[2] / "metrics.jsonl").write_text("no json\n")
    told = []
    write_report(sweep, page=False, tell=told.append)
    left_out = [names[0], names[2]]
    assert [re.sub(":.*", "", line.removeprefix("left out: ")) for line in told] == left_out
    text = (sweep / "report.md").read_text()
    for name in left_out:
        assert f"- {escape_markdown(name)}: " in text
    assert "3 solved, 1 ended, 1 failed" in text
    assert (
        f"{escape_markdown(names[1])}:\n\n    result.json is damaged: it holds no measures" in text
    )
    assert str(tmp_path) not in text + "".join(told)
    rows = {row["trial"]: row for row in read_csv((sweep / "report.csv").read_text())}
    assert names[0] not in rows
    assert (rows[names[1]]["state"], rows[names[2]]["state"]) == ("failed", "ended")
    contents = SweepPage(sweep).make()
    assert len(find(contents, "problems")[0]["rows"]) == 2
    assert len(find(contents, "failures")[0]["rows"]) == 1
    assert str(tmp_path) not in make_html(contents)


def test_numbers_of_a_result_that_are_none(tmp_path):
    begin_sweep(tmp_path)
    odd = {"seconds": "x", "steps": [1], "sequences": 10**400, "parameters": None, "solved": True}
    put(tmp_path, make_copy_trial(), rows=[{"sizes": {}, "bits": 10**400}], **odd)
    summary = read_sweep(tmp_path)
    (row,) = get_rows(make_tables(summary.subjects[0])[0])
    assert (row["sequences"], row["minutes"]) == ("–", "–")
    assert row["bits (as in training)"] == "1 not finite"
    (row,) = read_csv(make_csv(summary))
    assert row["sequences"] == row["seconds"] == row["steps"] == ""


def test_no_sweep(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no sweep in .*: no sweep\.json"):
        write_report(tmp_path)
    begin_sweep(tmp_path)
    with pytest.raises(FileNotFoundError, match="has no trials yet"):
        write_report(tmp_path)


def test_a_task_of_the_users_own(tmp_path):
    begin_sweep(tmp_path)
    trial = make_copy_trial()
    put(tmp_path, trial)
    path = trial.find_folder(tmp_path) / "trial.json"
    content = json.loads(path.read_text())
    content["settings"]["task"] = "elsewhere:OwnCopy"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="--task elsewhere:OwnCopy"):
        read_sweep(tmp_path)
    (subject,) = read_sweep(tmp_path, OwnCopy).subjects
    assert (subject.name, subject.configurations[0].num_solved) == ("elsewhere:OwnCopy", 1)


@pytest.mark.parametrize("name", ["report.md", "curves.png"])
def test_no_link_leads_out_of_the_folder(tmp_path, name, no_pictures):
    sweep = make_sweep(tmp_path / "sweep")
    other = tmp_path / "other"
    other.write_text("precious")
    (sweep / name).symlink_to(other)
    with pytest.raises(ValueError, match="is a link"):
        write_report(sweep, page=False)
    assert other.read_text() == "precious"


def make_hostile_sweep(folder):
    begin_sweep(folder, {HOSTILE: LINK})
    names = [HOSTILE, LINK, "=1+1", "$x$", r"\input{/etc/passwd}", "a|b`c`", r"$\frac{$"]
    for name in names:
        for seed in range(2):
            put(folder, make_copy_trial({"name": name, HOSTILE: "1"}, seed), rows=measures())
    put(folder, make_copy_trial({"name": "last"}), "failed", error=f"{HOSTILE}\n```\n# no heading")
    return folder


def test_texts_of_strangers_stay_texts(tmp_path):
    sweep = make_hostile_sweep(tmp_path)
    write_report(sweep, page=False)
    text = (sweep / "report.md").read_text()
    outside = [line for line in text.splitlines() if not line.startswith("    ")]
    for line in outside:
        assert not re.search(r"(?<!\\)[<>]|(?<!\\)`(?!trials/|\.|$)|https?:", line), line
    assert "    # no heading" in text.splitlines()
    assert "# no heading" not in outside
    cells = {row["name"] for row in read_csv((sweep / "report.csv").read_text())}
    assert {"'=1+1", "$x$", "last"} <= cells
    latex = (sweep / "report.tex").read_text()
    assert r"\textbackslash{}input\{/etc/passwd\}" in latex
    assert r"\$x\$" in latex


def test_texts_of_strangers_in_the_page(tmp_path):
    contents = SweepPage(make_hostile_sweep(tmp_path)).make(looks_inside=False)
    page = make_html(contents)
    assert page.count("<script") == 5  # The contents, Plotly and the three of the page
    assert "<img" not in page.split("<body>")[1].split("</script>")[0]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 50% #1 {x} $y$", r"a\_b \& 50\% \#1 \{x\} \$y\$"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("a^b~c", r"a\textasciicircum{}b\textasciitilde{}c"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
        ("-0.5 to 1e-3", r"$-$0.5 to 1e-3"),
        ("--x", r"-{}-x"),
        ("[1]", r"{[}1{]}"),
        ('"x"\n`y`', r"\symbol{34}x\symbol{34} \textasciigrave{}y\textasciigrave{}"),
    ],
)
def test_latex(text, latex):
    assert escape_latex(text) == latex


def test_markdown():
    assert escape_markdown("a|b_c*d*<e>\n# f") == r"a\|b\_c\*d\*\<e\> \# f"
    assert escape_markdown("see http://x.y and www.z") == r"see http\://x.y and www\.z"
    table = Table("", ["a_b", "c"], [["1", ""], ["2", "3"]], marked=[0])
    assert write_markdown(table) == [
        r"| a\_b | c |",
        "| :-- | --: |",
        "| **1** |  |",
        "| 2 | 3 |",
    ]


def test_csv():
    rows = [[0.1 + 0.2, 3, None, np.nan, True], ["=1", "@x", "-1e-4", "- x", "+x\n=2"]]
    assert write_csv(["a", "b", "c", "d", "=e"], rows).splitlines() == [
        "a,b,c,d,'=e",
        "0.30000000000000004,3,,,yes",
        "'=1,'@x,-1e-4,'- x,'+x =2",
    ]


# ---- The files


def test_the_files_of_a_report(tmp_path, monkeypatch):
    sweep = make_sweep(tmp_path)
    pages = []
    monkeypatch.setattr(report_files, "write_page", lambda path, contents: pages.append(contents))
    paths = write_report(sweep)
    assert [path.name for path in paths] == [
        "report.csv",
        "report.tex",
        "report.md",
        "curves.png",
        "curves.pdf",
        "generalisation.png",
        "generalisation.pdf",
        "index.html",
    ]
    assert all(path.exists() for path in paths[:-1])
    text = (sweep / "report.md").read_text()
    assert "- search: grid" in text
    assert "![Learning curves: copy](curves.png)" in text
    assert "Best trial: `trials/learning_rate=1e-3,seed=0`." in text
    assert "| **1** | **1e-3** | **3** | **3 of 3** |" in text
    latex = (sweep / "report.tex").read_text()
    assert (
        r"\caption{copy: configurations. Median (lowest to highest) over the seeds that were trained to the end, 3 for "
        "each configuration. Solved: bits below 0.01 at the sizes of training.}"
    ) in latex
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 3
    rows = read_csv((sweep / "report.csv").read_text())
    assert len(rows) == 6
    assert [row["trial"] for row in rows if row["best"] == "yes"] == ["learning_rate=1e-3,seed=0"]
    last = rows[-1]
    assert (last["learning_rate"], last["seed"], last["state"]) == ("1e-4", "2", "ended")
    assert last["bits (length 9)"] == repr(0.1 * 3)
    assert len(pages) == 1


def test_a_setting_with_the_name_of_a_column(tmp_path):
    begin_sweep(tmp_path)
    put(tmp_path, make_copy_trial({"seed": "x", "rate": "1"}, 7))
    (row,) = read_csv(make_csv(read_sweep(tmp_path)))
    assert (row["seed"], row["setting seed"], row["rate"]) == ("7", "x", "1")


def test_the_report_without_plotly(tmp_path, monkeypatch, no_pictures):
    def import_plotly():
        raise ImportError("pages of runs need Plotly: pip install plotly")

    monkeypatch.setattr(report_files, "import_plotly", import_plotly)
    told = []
    names = [path.name for path in write_report(make_sweep(tmp_path), tell=told.append)]
    assert "report.md" in names
    assert "index.html" not in names
    assert told == ["no index.html: pages of runs need Plotly: pip install plotly"]


def test_nothing_is_left_of_a_file_that_failed(tmp_path, monkeypatch):
    sweep = make_sweep(tmp_path)
    (sweep / "curves.png").write_bytes(b"before")

    def savefig(self, path, **options):
        with open(path, "w") as file:
            file.write("half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    with pytest.raises(OSError, match="disk full"):
        write_report(sweep, page=False)
    assert (sweep / "curves.png").read_bytes() == b"before"
    assert not [each for each in sweep.iterdir() if each.name.startswith(".")]


# ---- Pictures


def test_learning_curves_have_a_band_over_seeds(tmp_path):
    begin_sweep(tmp_path)
    for seed in range(3):
        folder = put(tmp_path, make_copy_trial({"a": "1"}, seed))
        rows = [{"step": k, "sequences": k, "loss": float(k * (1, 2, 6)[seed])} for k in (10, 20)]
        write_rows(folder, rows)
    folder = put(tmp_path, make_copy_trial({"a": "1"}, 3), "pruned")
    (subject,) = read_sweep(tmp_path).subjects
    curves, problems = read_curves(subject)
    assert not problems
    assert [len(each) for each in curves.by_configuration.values()] == [3]  # But the pruned one
    figure = draw_curves(subject, curves)
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), [20, 40])
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (10, 120)
    assert figure.legends[0].get_texts()[0].get_text() == "a 1 (3 runs)"
    (chart,) = find(SweepPage(tmp_path).make(looks_inside=False), "curves-0")[0]["charts"]
    filled, drawn = chart["figure"]["data"]
    assert filled["y"] == [60, 120, 20, 10]
    assert drawn["y"] == [20, 40]


def test_many_configurations(tmp_path):
    begin_sweep(tmp_path)
    for k in range(MOST_DRAWN + 2):
        put(tmp_path, make_copy_trial({"a": f"_{k}", "b": "same"}), value=0.001 * (1 + k))
    (subject,) = read_sweep(tmp_path).subjects
    curves, _ = read_curves(subject)
    assert list(curves.by_configuration) == [f"a _{k}" for k in range(MOST_DRAWN)]
    words = f"best {MOST_DRAWN} of {MOST_DRAWN + 2} configurations"
    assert words in curves.remarks[0]
    for figure in (draw_curves(subject, curves), draw_generalisation(subject)):
        assert words in figure.axes[0].get_title("left")
        assert sum(len(line.get_xdata()) > 0 for line in figure.axes[0].lines) >= MOST_DRAWN
    charts = find(SweepPage(tmp_path).make(looks_inside=False), "sizes-0")[0]["charts"]
    assert all(words in chart["remarks"][0] for chart in charts)


def test_how_networks_generalise(tmp_path):
    begin_sweep(tmp_path)
    for seed, wrong in enumerate([1.0, 2.0, 4.0, None]):
        rows = measures((9, 6))
        rows[1]["wrong_bits"] = wrong
        put(tmp_path, make_copy_trial({"a": "1"}, seed), rows=rows)
    put(tmp_path, make_copy_trial({"a": "2"}, task_options={"max_length": 5}))
    (subject,) = read_sweep(tmp_path).subjects
    figure = draw_generalisation(subject)
    axes = figure.axes[0]
    assert axes.get_ylabel() == "wrong bits per sequence"
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["a 1 (4 runs)"].get_xdata(), [6, 9])
    np.testing.assert_array_equal(lines["a 1 (4 runs)"].get_ydata(), [0, 2])
    texts = [each.get_text() for each in figure.legends[0].get_texts()]
    assert "sizes in training of a 2" in texts
    (section,) = find(SweepPage(tmp_path).make(looks_inside=False), "sizes-0")
    wrong = next(chart for chart in section["charts"] if chart["title"] == "wrong bits")
    band, first, _ = wrong["figure"]["data"]
    assert first["x"] == [6.0, 9.0]
    assert first["y"] == [0.0, 2.0]
    assert band["y"] == [0.0, 4.0, 1.0, 0.0]
    assert "a 1 1 to 3" in wrong["remarks"][0]
    assert "a 2 1 to 5" in wrong["remarks"][0]


# ---- Data


def test_a_sweep_on_data(tmp_path):
    path = tmp_path / "signs.npz"
    write_classes(path)
    sweep = tmp_path / "sweep"
    begin_sweep(sweep)
    for rate in ("1e-2", "1e-3"):
        for seed in range(2):
            loss = (0.2 if rate == "1e-3" else 0.5) + 0.1 * seed
            row = {"data": "validation", "loss": loss, "accuracy": 0.75, "confusion_matrix": [[1]]}
            trial = make_data_trial(path, {"learning_rate": rate}, seed)
            folder = put(sweep, trial, "ended", rows=[row], epochs=3, ended="done")
            rows = [{"step": 1, "sequences": 4, "loss": 9.0}]
            rows += [{"step": 1, "sequences": 4, "validation loss": loss, "training loss": 0.1}]
            write_rows(folder, rows)
    summary = read_sweep(sweep)
    (subject,) = summary.subjects
    assert (subject.name, subject.is_on_data) == ("signs.npz", True)
    (table,) = make_tables(subject)
    first, _ = get_rows(table)
    assert first == {
        "rank": "1",
        "learning rate": "1e-3",
        "seeds": "2",
        "ended": "2",
        "epochs": "3 (3 to 3)",
        "sequences": "100 (100 to 100)",
        "minutes": "0.5 (0 to 1)",
        "loss (validation data)": "0.25 (0.2 to 0.3)",
        "accuracy (validation data)": "0.75 (0.75 to 0.75)",
    }
    assert subject.best_trial.name == "learning_rate=1e-3,seed=0"
    assert "lowest median loss (validation data)" in subject.rule
    curves, _ = read_curves(subject)
    assert curves.label == "validation loss, nats"
    assert curves.by_configuration["learning rate 1e-3"][1].losses == pytest.approx([0.3])
    assert draw_generalisation(subject) is None
    assert "confusion" not in make_csv(summary)
    contents = SweepPage(sweep).make(looks_inside=False)
    assert contents["title"] == "sweep: a sweep on signs.npz"
    assert find(contents, "best-0")


# ---- The page


def test_the_page_of_a_sweep(tmp_path):
    sweep = make_sweep(tmp_path / "rates")
    lost = make_copy_trial({"learning_rate": "9"}, 0)
    put(sweep, lost, "failed", error="The process ended with exit code 1.\nout of memory")
    contents = SweepPage(sweep).make()
    assert contents["title"] == "rates: a sweep on copy"
    assert (contents["state"], contents["lead"]) == (
        "ended",
        "7 trials: 3 solved, 3 ended, 1 failed.",
    )
    titles = [each["title"] for each in contents["sections"]]
    assert titles[:7] == [
        "Configurations",
        "Learning",
        "Generalisation",
        "Generalisation: bits",
        "Generalisation: share of sequences right",
        "Trials",
        "Failures",
    ]
    assert titles[8] == "Best trial: learning_rate=1e-3,seed=0"
    assert "Best trial: learning" in titles
    ids = [each["id"] for each in contents["sections"]]
    charts = [chart["id"] for each in contents["sections"] for chart in each.get("charts", [])]
    assert len({*ids}) == len(ids)
    assert len({*charts}) == len(charts)
    (failures,) = find(contents, "failures")
    assert failures["rows"] == [
        ["learning_rate=9,seed=0", "The process ended with exit code 1.\nout of memory"]
    ]
    (trials,) = find(contents, "trials-0")
    assert trials["marked"] == [0]
    assert len(trials["rows"]) == 7


def test_the_page_follows_the_sweep(tmp_path, monkeypatch):
    sweep = make_sweep(tmp_path, rates=("1e-3",))
    new = make_copy_trial({"learning_rate": "5e-4"}, 0, learning_rate=5e-4)
    put(sweep, new, "waiting")
    page = SweepPage(sweep, may_read_data=False)
    contents = page.make(looks_inside=False)
    assert contents["state"] == "not ended"
    assert len(page.folders) == 4
    read = []
    original = page._reader._read
    monkeypatch.setattr(
        page._reader, "_read", lambda folder: read.append(folder.name) or original(folder)
    )
    put(sweep, new, "solved", 0.0001)
    contents = page.make(looks_inside=False)
    assert read == [new.name]  # The others did not change
    assert contents["state"] == "ended"
    assert f"Best trial: {new.name}" in [each["title"] for each in contents["sections"]]


def test_a_best_trial_that_cannot_be_shown(tmp_path):
    sweep = make_sweep(tmp_path)
    (sweep / "trials" / "learning_rate=1e-3,seed=0" / "settings.json").write_text("{")
    (section,) = find(SweepPage(sweep).make(), "best-0")
    assert "It cannot be shown: learning_rate=1e-3,seed=0: settings.json" in section["remarks"][0]


def test_a_large_sweep_gives_a_page_of_bounded_size(tmp_path, monkeypatch):
    sweep = make_sweep(tmp_path, rates=("1e-3",))
    source = sweep / "trials" / "learning_rate=1e-3,seed=0"
    content = json.loads((source / "trial.json").read_text())
    for k in range(30):
        folder = sweep / "trials" / f"trial-{k}"
        shutil.copytree(source, folder)
        values = {"learning_rate": f"{k}e-5"}
        (folder / "trial.json").write_text(json.dumps(content | {"values": values}))
    for name, most in (("MAX_TRIALS", 20), ("MAX_LATEX", 7)):
        monkeypatch.setattr(f"ntm.sweeps.report.documents.{name}", most)
    monkeypatch.setattr("ntm.sweeps.report.page.MOST_ROWS", 10)
    summary = read_sweep(sweep)
    assert len(read_csv(make_csv(summary))) == 33
    assert "The first 20 of 33 trials are shown; report.csv has all." in make_markdown(summary)
    latex = make_latex(summary)
    assert "The best 7 of 31 configurations." in latex
    assert len([line for line in latex.splitlines() if line.endswith(r"\\")]) == 3 * (1 + 7)
    contents = SweepPage(sweep).make()
    (trials,) = find(contents, "trials-0")
    assert len(trials["rows"]) == 10
    (configurations,) = find(contents, "configurations-0")
    assert configurations["remarks"][-1] == "The first 10 of 31 rows are shown."
    assert configurations["folded"]
    assert not find(contents, "best-configurations-0")[0]["folded"]
    assert len(find(contents, "curves-0")[0]["charts"][0]["figure"]["data"]) == MOST_DRAWN
