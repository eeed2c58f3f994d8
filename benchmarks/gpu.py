"""Measure the library on an NVIDIA GPU, in less than ten minutes and without a network.

make gpu
python benchmarks/gpu.py --rehearse         every section on the CPU, with tiny sizes
python benchmarks/gpu.py --from FILE.json   write page and documentation from the results of another machine

Each section runs in a process of its own, with a time limit (`gpu_sections.py`). A section that fails costs no other.
Sections that measure no time run beside each other; those that do have the device for themselves. One core of the
processor is kept free of them all: it runs the same training steps, for the table of break-even. Page and JSON are
written whenever a row is there, so a run that is cut keeps what it had.

What the machine lacks comes from the wheels in `.gpu/`, if there are any (`make gpu-pack`).
"""

import argparse
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from workers import ERROR, available_cores

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WHEELS = ROOT / ".gpu"
DOCUMENTATION = ROOT / "docs" / "gpu.md"
PAGE, DATA = "results-gpu.md", "results-gpu.json"

MAX_SECONDS = 570.0  # the goal is ten minutes with everything around it
MIN_SECONDS = 12.0  # a section that has less is not worth starting
MAX_BESIDE = 4  # processes that use the device at once while no time is measured
PATIENCE = 5.0  # so much longer may all of a rehearsal take: it has no machine for itself
POLL = 0.5
STOPPED = "the run was stopped"

COMMAND_BUFFERS = {
    "as XLA chooses": "",
    "no command buffers": "--xla_gpu_enable_command_buffer=",
    "command buffers with loops": "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUDNN,CONDITIONAL,WHILE "
    "--xla_gpu_graph_min_graph_size=1",
    "no autotuning": "--xla_gpu_autotune_level=0",
}

Case = dict[str, Any]


# ---- What is measured


@dataclass(frozen=True)
class Section:
    """A part of the page, measured in a process of its own.

    Attributes
    ----------
    name : str
        As the page has it.
    function : str
        Of `gpu_sections.FUNCTIONS`.
    arguments : dict
        Of the function.
    limit : float
        Seconds.
    lane : {'first', 'beside', 'device', 'core'}
        Before all others; beside others of this lane; with the device for itself; on the core that is kept free.
    on_cpu : bool
        Whether JAX is to run on the CPU.
    uses_jax : bool
        Whether to make sure first that JAX has the device. PyTorch's process leaves the GPU to PyTorch.
    environment : dict from str to str
        Variables to add.
    tell_limit : bool
        Whether the function has an argument ``limit``, the seconds after which it should end by itself.
    """

    name: str
    function: str
    arguments: dict[str, Any]
    limit: float
    lane: str = "device"
    on_cpu: bool = False
    uses_jax: bool = True
    environment: dict[str, str] = field(default_factory=dict)
    tell_limit: bool = False


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    kinds : list of str
        Networks whose losses are compared.
    other_kinds : list of str
        Those that are compared in float64 and with TF32, too.
    losses : tuple
        Batch, time steps and updates.
    models : list of str
        Published models.
    training : dict from str to list of dict
        Cases that are timed on the device and on one core, from cheap to expensive.
    memory : dict from str to list of dict
        Cases of one process each, from small to large.
    precision, profile, flags : list of dict
    rivals : list of (int, int)
        Batch and time steps.
    budget : float
        Seconds for the repetitions of a case.
    copy : dict
        Settings of the run that learns to copy, other than the defaults.
    replicas : list of dict
        Networks that train in one program: how many, of which kind, and the batch of each.
    """

    kinds: list[str]
    other_kinds: list[str]
    losses: tuple[int, int, int]
    models: list[str]
    training: dict[str, list[Case]]
    memory: dict[str, list[Case]]
    precision: list[Case]
    profile: list[Case]
    flags: list[Case]
    rivals: list[tuple[int, int]]
    budget: float
    copy: dict[str, Any]
    replicas: list[Case]


def make_cases(kind: str, *shapes: tuple[int, int], **options: Any) -> list[Case]:
    """Return a case for each (batch, time steps)."""
    return [{"kind": kind, "batch": batch, "steps": steps, **options} for batch, steps in shapes]


MILLION = 2**20
ALL_KINDS = ["ntm", "ntm-lstm", "dnc", "sam", "sdnc", "lstm"]
FULL = Sizes(
    kinds=ALL_KINDS,
    other_kinds=ALL_KINDS,
    losses=(4, 30, 10),
    models=["copy", "dyck-words", "associative-recall"],
    training={
        "NTM": [
            *make_cases("ntm", (1, 42), (1, 202), (16, 42), (16, 202), (64, 42), (64, 202)),
            *make_cases("ntm", (16, 42), slots=1024),
            *make_cases("ntm", (256, 42), (1024, 42)),
            *make_cases("ntm", (16, 42), slots=8192),
            *make_cases("ntm", (1024, 202), (4096, 42)),
        ],
        "DNC": [
            *make_cases("dnc", (1, 42), (16, 42), (1, 202), (64, 42)),
            *make_cases("dnc", (1, 42), (16, 42), slots=512),
            *make_cases("dnc", (256, 42), (1024, 42)),
        ],
        "SAM": [
            *make_cases("sam", (1, 42), (16, 42), (64, 42), slots=4096),
            *make_cases("sam", (1, 42), (16, 42), slots=65536),
            *make_cases("sam", (256, 42), (1024, 42), slots=4096),
            *make_cases("sam", (1, 42), slots=MILLION, nearest="lsh"),
            *make_cases("sam", (1, 42), (16, 42), slots=MILLION),
        ],
    },
    memory={
        "NTM": [
            *make_cases("ntm", (16, 42)),
            *make_cases("ntm", (4096, 42), block_size=512),
            *make_cases("ntm", (1024, 42), (4096, 42)),
        ],
        "DNC": [*make_cases("dnc", (1024, 42), block_size=64), *make_cases("dnc", (1024, 42))],
        "SAM": make_cases("sam", (1, 42), (16, 42), slots=MILLION),
    },
    precision=make_cases("ntm", (64, 42)),
    profile=[*make_cases("ntm", (1, 42), (64, 42)), *make_cases("dnc", (64, 42))],
    flags=make_cases("ntm", (16, 42)),
    rivals=[(1, 42), (16, 42), (64, 42), (1024, 42)],
    budget=1.5,
    copy={"seed": 1},
    replicas=[
        *({"kind": "ntm", "replicas": count, "batch": 1} for count in (1, 8, 64, 256)),
        *({"kind": "dnc", "replicas": count, "batch": 1} for count in (1, 64)),
    ],
)
# The programs of one section are those of another where that tests as much: a rehearsal mostly compiles
SMALL = Sizes(
    kinds=["ntm", "lstm"],
    other_kinds=["lstm"],
    losses=(2, 4, 3),
    models=["copy"],
    training={
        "NTM": make_cases("ntm", (1, 4), (2, 4)),
        "DNC": make_cases("dnc", (2, 4), slots=4),
        "SAM": make_cases("sam", (2, 4), slots=32, nearest="lsh"),
    },
    memory={
        "LSTM": [*make_cases("lstm", (2, 4), block_size=1), *make_cases("lstm", (2, 4))],
    },
    precision=make_cases("lstm", (2, 4)),
    profile=make_cases("ntm", (2, 4)),
    flags=make_cases("lstm", (2, 4)),
    rivals=[(2, 4)],
    budget=0.1,
    copy={"task_options": {"max_length": 2}, "max_steps": 2, "evaluate_at": []},
    replicas=[{"kind": "dense", "replicas": 2, "batch": 1, "task_options": {"max_length": 2}}],
)


def make_plan(sizes: Sizes, expected: str) -> list[Section]:
    """Return all sections, the most important of each lane first.

    Parameters
    ----------
    sizes : Sizes
    expected : {'gpu', 'cpu'}
        The platform that JAX has to find.
    """
    batch, steps, updates = sizes.losses

    def losses(name: str, kinds: Sequence[str], float_type: str, **options: Any) -> Section:
        arguments = {"kinds": kinds, "batch": batch, "steps": steps, "updates": updates}
        arguments["float_type"] = float_type
        return Section(f"Losses {name}", "losses", arguments, 110, "beside", **options)

    def published(float_type: str, **options: Any) -> Section:
        arguments = {"models": sizes.models, "float_type": float_type}
        name = f"Published models, {float_type}"
        return Section(name, "oracles", arguments, 110, "beside", **options)

    def training(name: str, limit: float, where: str, **options: Any) -> Section:
        arguments = {"cases": sizes.training[name], "budget": sizes.budget}
        title = f"Training steps, {name}, on {where}"
        return Section(title, "steps", arguments, limit, **options)

    def by_hand(name: str, names: Sequence[str], limit: float) -> Section:
        torch_device = "cuda" if expected == "gpu" else "cpu"
        arguments = {"names": names, "shapes": sizes.rivals, "torch_device": torch_device}
        uses_jax = name == "JAX"
        title = f"By hand in {name}"
        return Section(title, "rivals", arguments | budget, limit, uses_jax=uses_jax)

    budget = {"budget": sizes.budget}
    # With a second platform JAX would not say why it cannot use the first
    alone = {"JAX_PLATFORMS": "cuda"} if expected == "gpu" else {}
    # XLA may compute products of float32 in TF32 unless it is told not to
    exact = {"environment": {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}}
    tf32 = {"environment": {"JAX_DEFAULT_MATMUL_PRECISION": "tensorfloat32"}}
    return [
        Section("Device", "device", {}, 60, "first", environment=alone),
        losses("on the CPU", sizes.kinds, "float32", on_cpu=True),
        losses("in float32", sizes.kinds, "float32", **exact),
        published("float64"),
        losses("on the CPU, float64", sizes.other_kinds, "float64", on_cpu=True),
        losses("in float64", sizes.other_kinds, "float64"),
        losses("in TF32", sizes.other_kinds, "float32", **tf32),
        published("float32", **exact),
        training("NTM", 90, "the device"),
        by_hand("JAX", ["ours", "jax", "tuned"], 60),
        by_hand("PyTorch", ["torch"], 50),
        training("DNC", 70, "the device"),
        training("SAM", 70, "the device"),
        Section("Copy from nothing", "copy", {"settings": sizes.copy}, 90, tell_limit=True),
        Section("Many networks at once", "replicas", {"cases": sizes.replicas, **budget}, 70),
        Section("Kernels", "profile", {"cases": sizes.profile, "repeats": 5}, 40),
        *(
            Section(f"Memory, {name}", "memory", {"cases": cases, "budget": 0.3}, 60)
            for name, cases in sizes.memory.items()
        ),
        *(
            Section(
                f"XLA flags: {name}",
                "flags",
                {"cases": sizes.flags, **budget},
                40,
                environment={"XLA_FLAGS": flags, "JAX_ENABLE_COMPILATION_CACHE": "false"},
            )
            for name, flags in COMMAND_BUFFERS.items()
        ),
        Section(
            "Precision of matrix products",
            "precision",
            {
                "cases": sizes.precision,
                "precisions": ["default", "tensorfloat32", "highest"],
                **budget,
            },
            120,
        ),
        training("NTM", 160, "one core", lane="core", on_cpu=True),
        training("DNC", 150, "one core", lane="core", on_cpu=True),
        training("SAM", 200, "one core", lane="core", on_cpu=True),
    ]


# ---- How it is run


class Book:
    """The results so far, on disk as page and JSON as soon as the book is open.

    Parameters
    ----------
    folder : Path
    plan : list of Section
        The page has the sections in this order.
    rehearsal : bool
    """

    def __init__(self, folder: Path, plan: Sequence[Section], rehearsal: bool) -> None:
        self.folder, self.rehearsal = folder, rehearsal
        self._order = [section.name for section in plan]
        self._results: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._is_open = False

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def enter(self, name: str, result: dict[str, Any]) -> None:
        """Put the result of a section in place of an earlier one."""
        with self._lock:
            self._results[name] = result
            if self._is_open:
                self._write()

    def open(self) -> None:
        """Write what there is, and from now on every change: a page without a device would replace a better one."""
        with self._lock:
            self._is_open = True
            self._write()

    def _write(self) -> None:
        results = {each: self._results[each] for each in self._order if each in self._results}
        data = {"rehearsal": self.rehearsal, "seconds": self.seconds, "results": results}
        replace_file(self.folder / DATA, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        try:
            write_page(self.folder, data)
        except Exception as error:  # the figures are there, and a later version may write the page
            print(f"no page: {type(error).__name__}: {error}", file=sys.stderr)


def write_page(folder: Path, data: Mapping[str, Any]) -> None:
    """Write the page from the figures."""
    # Not above: what it imports may come from the wheels
    from gpu_page import make_page

    page = make_page(data["results"], data["rehearsal"], data["seconds"])
    replace_file(folder / PAGE, page)


def replace_file(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


class Runner:
    """Runs sections in processes.

    Parameters
    ----------
    book : Book
    folder : Path
        For files that nobody needs afterwards.
    variables : dict from str to str
        The environment of the processes.
    expected : {'gpu', 'cpu'}
        The platform of the device, as JAX names it.
    deadline : float
        As `time.monotonic` counts.
    script : Path
        What a process runs.
    """

    def __init__(
        self,
        book: Book,
        folder: Path,
        variables: Mapping[str, str],
        expected: str,
        deadline: float,
        script: Path = HERE / "gpu_sections.py",
    ) -> None:
        self.book, self.folder, self.variables = book, folder, variables
        self.expected, self.deadline, self.script = expected, deadline, script
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    def run(self, section: Section, cores: Sequence[int]) -> dict[str, Any]:
        """Run a section on some cores, and enter its result in the book."""
        left = self.deadline - time.monotonic()
        if self._is_stopped or left < MIN_SECONDS:
            message = STOPPED if self._is_stopped else "no time left"
            result = {"state": "left out", "seconds": 0.0, "rows": [], "message": message}
            self.book.enter(section.name, result)
            return result
        limit, start = min(section.limit, left), time.monotonic()
        print(f"[{self.book.seconds:5.0f} s] {section.name}", flush=True)
        result = self._wait(section, cores, limit, start)
        print(f"[{self.book.seconds:5.0f} s] {section.name}: {brief(result)}", flush=True)
        return result

    def _wait(
        self, section: Section, cores: Sequence[int], limit: float, start: float
    ) -> dict[str, Any]:
        stem = re.sub(r"\W+", "-", section.name).lower()
        output, log = self.folder / f"{stem}.json", self.folder / f"{stem}.log"
        arguments = dict(section.arguments)
        if section.tell_limit:
            arguments["limit"] = max(limit - 10.0, 1.0)
        expected = "cpu" if section.on_cpu else self.expected
        request = {
            "function": section.function,
            "expected": expected if section.uses_jax else None,
            "arguments": arguments,
            "output": str(output),
            "cores": list(cores),
        }
        # The CPU is the second of the GPU's platforms: what JAX calls back runs there
        platforms = "cpu" if expected == "cpu" else "cuda,cpu"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, str(self.script)],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                env={**self.variables, "JAX_PLATFORMS": platforms, **section.environment},
                start_new_session=True,
            )
            self._running.add(process)
            try:
                assert process.stdin is not None
                # A process that has already ended says why in its log
                with suppress(BrokenPipeError):
                    process.stdin.write(json.dumps(request).encode())
                    process.stdin.close()
                seen = -1
                while process.poll() is None and time.monotonic() - start < limit:
                    rows = read_rows(output)
                    if len(rows) != seen:
                        seen = len(rows)
                        self._enter(section, "running", start, rows)
                    time.sleep(POLL)
                is_cut = process.poll() is None
            finally:
                end(process)
                self._running.discard(process)
        rows = read_rows(output)
        if self._is_stopped:
            return self._enter(section, "cut", start, rows, STOPPED)
        if is_cut:
            return self._enter(section, "cut", start, rows, f"it took more than {limit:.0f} s")
        if process.returncode:
            message = find_error(log.read_text(encoding="utf-8", errors="replace"))
            reason = message or f"it ended with {process.returncode}"
            return self._enter(section, "failed", start, rows, reason)
        return self._enter(section, "done", start, rows)

    def _enter(
        self,
        section: Section,
        state: str,
        start: float,
        rows: list[dict[str, Any]],
        message: str = "",
    ) -> dict[str, Any]:
        seconds = time.monotonic() - start
        result = {"state": state, "seconds": seconds, "rows": rows, "message": message}
        self.book.enter(section.name, result)
        return result

    def stop(self) -> None:
        """End what runs, and start nothing more."""
        self._is_stopped = True
        for process in list(self._running):
            end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows that a section has written so far."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []


def find_error(log: str) -> str:
    """Return the last error in the output of a process, or else its last line; made fit for a table."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    return (errors or lines or [""])[-1][:300].replace("|", "/")


def brief(result: Mapping[str, Any]) -> str:
    """Return the state of a result in a line."""
    failed = sum("failed" in row for row in result["rows"])
    text = f"{result['state']}, {len(result['rows'])} rows"
    text += f", {failed} of them failed" if failed else ""
    return text + (f": {result['message']}" if result["message"] else "")


def run_plan(plan: Sequence[Section], runner: Runner) -> bool:
    """Run all sections; return whether the device is there, without which nothing runs.

    The last core is kept for the sections of one core, if there is more than one.
    """
    cores = available_cores()
    others = cores[:-1] or cores
    lanes = {
        lane: [section for section in plan if section.lane == lane]
        for lane in ("first", "beside", "device", "core")
    }
    for section in lanes["first"]:
        result = runner.run(section, cores)
        if result["state"] != "done":
            print(result["message"], file=sys.stderr)
            return False
    runner.book.open()

    def run_on_core() -> None:
        for section in lanes["core"]:
            runner.run(section, cores[-1:])

    def run_on_device() -> None:
        with ThreadPoolExecutor(min(MAX_BESIDE, len(others))) as beside:
            list(beside.map(lambda section: runner.run(section, others), lanes["beside"]))
        for section in lanes["device"]:
            runner.run(section, others)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run_on_device), pool.submit(run_on_core)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            runner.stop()
            raise
    return True


def unpack_wheels(folder: Path, wheels: Path = WHEELS) -> Iterator[str]:
    """Unpack the wheels of packages that are not installed, and give their names.

    A wheel is a zip file whose top level is what belongs on Python's path. So neither pip nor a network is needed.
    """
    for wheel in sorted(wheels.glob("*.whl")):
        # All of them import as they are called
        if importlib.util.find_spec(wheel.name.partition("-")[0]) is not None:
            continue
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        yield wheel.name


def make_variables(folder: Path, site: Path, rehearsal: bool) -> dict[str, str]:
    """Return the environment of the sections' processes."""
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={folder / 'pytensor'}"]
    variables = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTENSOR_FLAGS": ",".join(flag for flag in flags if flag),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Several processes share the device, and its peak is to be that of a training step
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if not rehearsal:
        # Sections find what others compiled, but nothing of an earlier run
        variables["JAX_COMPILATION_CACHE_DIR"] = str(folder / "jax")
    return {**os.environ, **variables}


def write_documentation(results: Mapping[str, Any]) -> None:
    """Put the table of break-even into the documentation, if it has a row."""
    from gpu_page import break_even, match_timings, replace_break_even

    if not break_even(match_timings(results)):
        print("no case ran both on the device and on one core: the documentation stays as it is")
        return
    text = DOCUMENTATION.read_text(encoding="utf-8")
    replace_file(DOCUMENTATION, replace_break_even(text, results))
    print(f"wrote the break-even table into {DOCUMENTATION}")


def take_over(path: Path) -> None:
    """Write page and documentation from the JSON of a run on another machine."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["rehearsal"]:
        sys.exit(f"{path} is of a rehearsal: its figures are not those of a GPU")
    if path.resolve() != HERE / DATA:
        replace_file(HERE / DATA, path.read_text(encoding="utf-8"))
    write_page(HERE, data)
    write_documentation(data["results"])


def parse_options() -> argparse.Namespace:
    """Return the options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rehearse", action="store_true", help="run every section on the CPU, with tiny sizes"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="TEXT",
        help="only sections whose names begin with one of these",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"time for everything (default: {MAX_SECONDS:.0f}, of a rehearsal {PATIENCE * MAX_SECONDS:.0f})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"folder of {PAGE} and {DATA} (default: $OUT, else benchmarks/, of a rehearsal .gpu/rehearsal)",
    )
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help=f"use a {DATA}; measure nothing"
    )
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = MAX_SECONDS * (PATIENCE if options.rehearse else 1.0)
    if options.output is None:
        default = WHEELS / "rehearsal" if options.rehearse else HERE
        options.output = Path(os.environ.get("OUT") or default)
    return options


def main() -> None:
    """Measure, and write page and JSON."""
    options = parse_options()

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        site = folder / "site"
        deadline = time.monotonic() + options.seconds
        for wheel in unpack_wheels(site):
            print(f"unpacked {wheel}")
        sys.path[:0] = [str(site), str(ROOT)]
        if options.source is not None:
            take_over(options.source)
            return
        expected = "cpu" if options.rehearse else "gpu"
        plan = make_plan(SMALL if options.rehearse else FULL, expected)
        if options.rehearse:
            plan = [replace(section, limit=PATIENCE * section.limit) for section in plan]
        if options.only is not None:
            chosen = ("Device", *options.only)
            plan = [section for section in plan if section.name.startswith(chosen)]
        options.output.mkdir(parents=True, exist_ok=True)
        book = Book(options.output, plan, options.rehearse)
        variables = make_variables(folder, site, options.rehearse)
        has_device = run_plan(plan, Runner(book, folder, variables, expected, deadline))
    if not has_device:
        sys.exit("There is no GPU to measure. `--rehearse` runs every section on the CPU.")
    if (options.output / PAGE).exists():
        print((options.output / PAGE).read_text(encoding="utf-8"))
    results = json.loads((options.output / DATA).read_text(encoding="utf-8"))["results"]
    if not options.rehearse:
        write_documentation(results)
    if any(result["state"] == "failed" for result in results.values()):
        sys.exit("Some sections failed; the page says why.")


if __name__ == "__main__":
    main()
