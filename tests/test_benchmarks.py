"""What the benchmarks make of their measurements, and whether all rivals compute the same."""

import importlib
import sys
from pathlib import Path

import pytensor
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """A function that imports a module of the benchmarks, which forgets it after the test."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(pytensor.config, "floatX", pytensor.config.floatX)  # they set it
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
            del sys.modules[name]


class Clock:
    """A time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def make_quiet(load, monkeypatch):
    """Build a `Quiet` that sees a list of calibrations, seconds and others' cores, of which the last is repeated."""
    quiet = load("quiet")

    def build(looks, **options):
        clock, left = Clock(), list(looks)

        def look(self):
            clock.sleep(0.4)
            return left.pop(0) if len(left) > 1 else left[0]

        monkeypatch.setattr(quiet.Quiet, "look", look)
        monkeypatch.setattr(quiet, "time", clock)
        monkeypatch.setattr(quiet.Meter, "__init__", lambda self: None)
        monkeypatch.setattr(quiet.Meter, "others", lambda self: left[0][1])
        return quiet.Quiet(**options)

    return build


def test_quiet_is_waited_for(make_quiet):
    busy, slow, good = (0.3, 1.5), (0.5, 0.0), (0.305, 0.1)
    quiet = make_quiet([busy, slow, good], best=0.3, wait=60.0)
    assert quiet.settle() == (0.305, [])
    assert 57.0 < quiet.wait < 59.0


def test_a_single_look_is_no_waiting(make_quiet):
    quiet = make_quiet([(0.3, 0.0)], best=0.3, wait=5.0)
    assert quiet.settle() == (0.3, [])
    assert quiet.wait == 5.0


def test_the_limit_of_waiting(make_quiet):
    quiet = make_quiet([(0.6, 1.5)], best=0.3, wait=5.0)
    _, notes = quiet.settle()
    assert notes == [
        "no quiet before the measurement: the calibration took 100% more than its best and "
        "other processes used 1.5 cores"
    ]
    assert quiet.wait == 0.0


@pytest.mark.parametrize(
    ("after", "notes"),
    [
        ((0.31, 0.0), []),
        ((0.36, 0.0), ["the calibration took 20% more after it than before"]),
        ((0.24, 0.0), ["the calibration took 20% less after it than before"]),
        ((0.3, 0.5), ["other processes used 0.5 cores meanwhile"]),
    ],
)
def test_what_disturbs_a_measurement(make_quiet, after, notes):
    with make_quiet([(0.3, 0.0), after], best=0.3).watch() as found:
        assert found == []
    assert found == notes


def test_calibration(load):
    quiet = load("quiet").Quiet()
    seconds, others = quiet.look()
    assert quiet.best == seconds > 0
    assert others >= 0


def test_the_guard_hands_on_what_was_found(load, monkeypatch):
    quiet = load("quiet")
    monkeypatch.setattr(quiet, "wait_for_load", lambda limit, seconds: seconds - 10.0)
    requests = []

    def call(script, request, threads, environment):
        requests.append(request)
        if len(requests) == 2:
            raise quiet.WorkerError("it ended with 1")
        return {"quiet": {"best": 0.3, "wait": 7.0}}

    monkeypatch.setattr(quiet, "call", call)
    guard = quiet.Guard(60.0)
    assert guard.attempt("timing.py", {"batch": 1}, 2) == {"quiet": {"best": 0.3, "wait": 7.0}}
    assert guard.attempt("timing.py", {}, 2) == "failed: it ended with 1"
    guard.attempt("timing.py", {}, 1)
    assert requests == [
        {"batch": 1, "quiet": {"best": None, "wait": 40.0}},
        {"quiet": {"best": 0.3, "wait": 7.0}},
        {"quiet": {"best": None, "wait": 7.0}},
    ]


SECONDS = {
    "ours": [0.030, 0.020, 0.022],
    "blocks": [0.010, 0.012, 0.014],
    "jax": [0.040, 0.060, 0.070],
    "torch": [0.200, 0.100, 0.400],
}


def test_ratios_are_of_minima_to_the_faster_form(load):
    timing = load("timing")
    jax = timing.summarise(SECONDS)["jax"]
    assert jax["minimum"] == 0.040
    assert jax["median"] == 0.060
    assert jax["ratio"] == pytest.approx(4.0)
    assert jax["round_ratio"] == pytest.approx(5.0)
    one_block = {name: values for name, values in SECONDS.items() if name != "blocks"}
    assert timing.summarise(one_block)["jax"]["ratio"] == pytest.approx(2.0)
    assert timing.summarise_factor(one_block) is None
    factor = timing.summarise_factor(SECONDS)
    assert factor["ratio"] == pytest.approx(2.0)
    assert factor["round_ratio"] == pytest.approx(20 / 12)


def test_tables(load):
    timing, report, cases = load("timing"), load("report"), load("cases")
    train = timing.summarise(SECONDS)
    for name, entry in train.items():
        entry["threads"] = 1 if name == "torch" else None
    predict = {name: entry for name, entry in train.items() if name != "blocks"}
    result = {
        "train": train,
        "predict": predict,
        "factor": timing.summarise_factor(SECONDS),
        "notes": {"train": ["other processes used 0.5 cores meanwhile"], "predict": []},
        "failed": {"sharded": "out of memory"},
        "cores": [0, 1],
    }
    timings = {
        (cases.Case(cases.DEFAULT, 16, 42), 2): result,
        (cases.Case(cases.DEFAULT, 1, 42), 2): "failed: no",
    }
    page = "\n".join(report.timing_tables(timings, 2))
    assert "## Training step, 2 cores" in page
    row = (
        "| dense-128x20-1 | 16 × 42 † | 20.0 (22.0) | 10.0 (12.0) | 2.00 (1.67) | 40.0 (60.0) | 4.00 (5.00) "
        "| out of memory |  | 100 (200), 1 thread | 10.0 (20.0) |"
    )
    assert row in page
    assert "| dense-128x20-1 | 16 × 42 | 20.0 (22.0) | 40.0 (60.0) |" in page
    assert "† dense-128x20-1/16x42: other processes used 0.5 cores meanwhile." in page
    assert page.count("†") == 2
    assert "Pinned to 2 cores: 0, 1." in page
    widths = {
        line.count("|")
        for line in page.split("## Inference")[0].splitlines()
        if line.startswith("|")
    }
    assert len(widths) == 1


def test_time_within_events_counts_once(load):
    start = load("start")
    stopwatch = object.__new__(start.Stopwatch)
    stopwatch._spans = [("a", 1.0, 2.0), ("a", 0.5, 3.0), ("b", 2.5, 4.0), ("a", 6.0, 7.0)]
    assert stopwatch.seconds(("a",), 1.0) == pytest.approx(3.0)
    assert stopwatch.seconds(("a", "b"), 0.0) == pytest.approx(4.5)
    assert stopwatch.seconds(("b",), 5.0) == 0.0


@pytest.mark.slow
# JAX warns where another test has started it: the worker runs another program at once
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
@pytest.mark.parametrize(
    "controller", ["dense", pytest.param("lstm", marks=pytest.mark.exhaustive)]
)
def test_all_but_pytorch_compute_the_same(load, controller):
    rivals = ["ours", "blocks", "jax", "tuned", "sharded"]
    request = {"network": {"controller": controller, "num_slots": 16}, "threads": 2}
    workers = load("workers")
    threads = min(2, len(workers.available_cores()))
    workers.call("check.py", request | {"rivals": rivals}, threads)
