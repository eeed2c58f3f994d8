"""``ntm report`` and ``ntm watch`` on the command line."""

import http.client
import json
import os
import signal
import subprocess
import sys

import pytensor
import pytest

from ntm.cli import DONE, FAILED, WRONG_USAGE, main
from ntm.reports import PageServer

from ..experiments.data_files import write_classes
from ..reports.folders import make_data_run, make_run, measures, write_result
from ..sweeps.folders import begin_sweep, make_copy_trial, make_sweep


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """The command line sets floatX, and writes into the current folder."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run():
    """A folder of a run that has losses and a checkpoint."""
    make_run("run", "lstm")
    return "run"


@pytest.mark.slow
def test_report(run, capsys):
    write_result(run, measures())
    assert main(["report", run, "--size", "length=2", "--size", "length=4"]) == DONE
    printed = capsys.readouterr()
    assert printed.out.startswith("Page: report.html (")
    assert printed.err.splitlines() == [
        "run: opening the network",
        "run: looking inside, at checkpoint-000000100.safetensors",
    ]
    with open("report.html", encoding="utf-8") as file:
        text = file.read()
    assert '"label": "length 4"' in text
    assert (
        main(["report", run, run, "--quiet", "--output", "two.html", "--size", "length=2"]) == DONE
    )
    printed = capsys.readouterr()
    assert printed.err == ""
    assert os.path.exists("two.html")
    assert main(["report", run, "--quiet", "--size", "length=2"]) == DONE
    assert os.path.exists("report-2.html")


@pytest.mark.slow
def test_report_on_data(capsys):
    write_classes("data.npz")
    make_data_run("run", "data.npz")
    assert main(["report", "run", "--quiet", "--index", "1", "5", "--output", "page.html"]) == DONE
    with open("page.html", encoding="utf-8") as file:
        assert '"label": "sequence 5 (5 steps)"' in file.read()
    assert main(["report", "run", "--size", "length=3"]) == WRONG_USAGE
    assert "--size is for runs on tasks" in capsys.readouterr().err


@pytest.mark.slow
def test_report_of_a_sweep(tmp_path, capsys):
    sweep = make_sweep(tmp_path / "rates")
    trial = make_copy_trial({"learning_rate": "5e-3"}, 7, learning_rate=5e-3)
    folder = trial.write(sweep)
    make_run(folder, "lstm", seed=7)
    write_result(folder, measures(value=0.0001), solved=True)
    words = ["--size", "length=2", "--size", "length=4"]
    assert main(["report", "rates", *words, "--output", "page.html"]) == DONE
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        f"{trial.name}: opening the network",
        f"{trial.name}: looking inside, at checkpoint-000000100.safetensors",
    ]
    with open("page.html", encoding="utf-8") as file:
        text = file.read()
    assert f'"title": "Best trial: {trial.name}"' in text
    assert '"label": "length 4"' in text


def test_errors_with_sweeps(run, tmp_path, capsys):
    begin_sweep(tmp_path / "empty")
    assert main(["report", "empty"]) == FAILED
    assert "the sweep in empty has no trials yet" in capsys.readouterr().err
    make_sweep(tmp_path / "rates")
    assert main(["report", "run", "rates"]) == WRONG_USAGE
    assert (
        "rates is the folder of a sweep, whose page shows nothing else" in capsys.readouterr().err
    )
    assert main(["report", "rates", "--index", "1"]) == WRONG_USAGE
    assert "--index is for runs on data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["report", "nowhere"], FAILED, "there is no run in nowhere"),
        (["watch", "nowhere"], FAILED, "there is no run in nowhere: no settings.json"),
        (["report", "run", "--output", "page.png"], WRONG_USAGE, "must end in .html"),
        (["report", "run", "--output", "no/page.html"], WRONG_USAGE, "there is no folder no"),
        (["report", "run", "--output", "a.html"], WRONG_USAGE, "a.html is a folder"),
        (["report", "run", "--size", "width=3"], WRONG_USAGE, "--size width=3: expected NAME=N"),
        (["report", "run", "--data", "data.npz"], WRONG_USAGE, "--data is for runs on data"),
        (["watch", "run", "--index", "3"], WRONG_USAGE, "--index is for runs on data"),
    ],
)
def test_errors(run, capsys, words, code, message):
    os.mkdir("a.html")
    assert main(words) == code
    assert message in capsys.readouterr().err


def test_wrong_ports(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["watch", run, "--port", "70000"])
    assert "--port: must be an integer from 0 to 65,535" in capsys.readouterr().err
    with PageServer({"title": ""}) as server:
        assert main(["watch", run, "--port", str(server.server_port)]) == FAILED
    assert f"--port {server.server_port} is in use by another program" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "watch"])
def test_help_teaches(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"ntm {command} runs/copy-ntm-1" in capsys.readouterr().out


@pytest.mark.slow
def test_watch_until_ctrl_c(run):
    process = subprocess.Popen(
        [sys.executable, "-m", "ntm", "watch", run, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:")
        assert line.endswith("/ shows run. Ctrl-C ends this.\n")
        address = line.split("/")[2]
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", "/contents.json")
        assert json.loads(connection.getresponse().read())["state"] == "not finished"
        connection.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (DONE, "Ended.\n", "")
