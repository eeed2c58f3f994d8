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
