"""What `gpu.py` measures: one section in a process of its own, which writes its rows as it goes.

The request comes from the standard input, as JSON: ``function``, one of `FUNCTIONS`; its ``arguments``; ``output``, the
file of the rows; ``cores``, those that the process may use; ``expected``, the platform that JAX has to have, or none.
Each row is a dict for JSON. A row that could not be measured has a ``failed``, with the reason. Each function imports
what it needs, so that the process is on its cores before any thread starts, and so that a package that is missing costs
one section.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from workers import available_cores

ROOT = Path(__file__).resolve().parents[1]
ORACLES = ROOT / "tests" / "data" / "oracles"
#: More programs at once would only share the cores
MAX_COMPILING = 8
MAX_CALLS = 200

Row = dict[str, Any]
Report = Callable[[Row], None]


# ---- What the sections share


def describe_error(error: BaseException) -> str:
    """Return the kind of an error and the first line of its message, not too long for a table."""
    text = str(error).strip()
    message = text.splitlines()[0] if text else "no message"
    return f"{type(error).__name__}: {message}"[:200].replace("|", "/")


def time_calls(call: Callable[[], Any], budget: float) -> Row:
    """Return median and minimum of the seconds of a call that waits for its result.

    Parameters
    ----------
    call : callable
        It has been called before, so that it is compiled.
    budget : float
        Seconds after which there is no further call. There are at least two; the first only warms up, if it is short.
    """
    seconds: list[float] = []

    def run() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    gc.collect()
    gc.disable()
    try:
        first = run()
        if first > budget:
            seconds.append(first)
        while not seconds or (sum(seconds) < budget and len(seconds) < MAX_CALLS):
            seconds.append(run())
        if len(seconds) < 2:
            seconds.append(run())
    finally:
        gc.enable()
    return {"seconds": median(seconds), "least": min(seconds), "calls": len(seconds)}


def call_at_once(calls: Mapping[Any, Callable[[], Any]]) -> dict[Any, Any]:
    """Call functions in threads, so that XLA compiles several programs at a time.

    Returns
    -------
    dict
        From each name to the result, or to the error that the call raised.
    """

    def attempt(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    workers = min(MAX_COMPILING, len(available_cores()))
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(calls, pool.map(attempt, calls.values()), strict=True))


def build_all(cases: Iterable[Row], build: Callable[..., Any]) -> dict[int, Any]:
    """Build what each case asks for, one after the other: PyTensor builds graphs in one thread.

    Returns
    -------
    dict
        From the number of a case to what `build` gives, or to the error that it raised.
    """
    built: dict[int, Any] = {}
    for number, case in enumerate(cases):
        try:
            built[number] = build(**case)
        except Exception as error:
            built[number] = error
    return built


def time_cases(
    report: Report, cases: Sequence[Row], build: Callable[..., Any], budget: float
) -> None:
    """Time what each case asks for, and report a row for each.

    With several cores all cases are compiled before the first is timed, some at once. With one core that would save
    nothing, and a process that is cut would leave no row.
    """
    size = len(cases) if len(available_cores()) > 1 else 1
    for begin in range(0, len(cases), size):
        part = cases[begin : begin + size]
        built = build_all(part, build)
        calls = {number: call for number, call in built.items() if callable(call)}
        first = call_at_once(calls)
        for number, case in enumerate(part):
            try:
                for result in (built[number], first.get(number)):
                    if isinstance(result, Exception):
                        raise result
                report({**case, **time_calls(calls.pop(number), budget)})
            except Exception as error:
                report({**case, "failed": describe_error(error)})
            built[number] = None  # what has been timed need not stay in memory


# ---- The sections


def device(report: Report) -> None:
    """Report the device and the versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import jax

    found = jax.devices()[0]
    packages = {}
    for name in ("jax", "jaxlib", "pytensor", "numpy", "scipy", "numba", "torch"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    from ntm.experiments.hardware import get_processor

    try:
        driver = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        driver = "no nvidia-smi"
    report(
        {
            "device": found.device_kind,
            "platform": found.platform,
            "backend": getattr(found.client, "platform_version", "").replace("\n", " "),
            "driver": driver,
            "bytes": (found.memory_stats() or {}).get("bytes_limit"),
            "processor": get_processor(),
            "cores": len(available_cores()),
            "python": platform.python_version(),
            "packages": packages,
        }
    )


def losses(
    report: Report, kinds: Sequence[str], batch: int, steps: int, updates: int, float_type: str
) -> None:
    """Report the losses of the first updates of each kind of network."""
    import pytensor

    pytensor.config.floatX = float_type
    from gpu_networks import make_training

    cases = [{"kind": kind, "batch": batch, "steps": steps} for kind in kinds]
    built = build_all(cases, make_training)

    def train(call: Callable[[], float]) -> list[float]:
        return [call() for _ in range(updates)]

    results = built | call_at_once(
        {number: partial(train, call) for number, call in built.items() if callable(call)}
    )
    for number, case in enumerate(cases):
        result = results[number]
        if isinstance(result, Exception):
            report({**case, "failed": describe_error(result)})
        else:
            report({**case, "losses": result})


def oracles(report: Report, models: Sequence[str], float_type: str) -> None:
    """Report how far the published models are from the numbers that Theano computed of them."""
    import numpy as np
    import pytensor
    import pytensor.tensor as pt

    pytensor.config.floatX = float_type
    from gpu_networks import make_published

    from lasagne.backends.modes import get_mode
    from lasagne.layers import get_all_params, set_all_param_values
    from lasagne.objectives import binary_crossentropy

    def load(name: str) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        with np.load(ORACLES / f"{name}.npz") as file:
            arrays = {key: np.asarray(file[key], dtype=float_type) for key in file.files}
        return arrays, [arrays[key] for key in sorted(arrays) if key.startswith("param_")]

    for name in models:
        arrays, values = load(name)
        x, l_output, output = make_published(
            arrays["input_0"].shape[2], arrays["output_0"].shape[2]
        )
        set_all_param_values(l_output, values)
        # Inputs of eight lengths in one batch: padding at the end changes nothing before it
        inputs = [arrays[f"input_{k}"] for k in range(8)]
        longest = max(each.shape[1] for each in inputs)
        padded = [np.pad(x, ((0, 0), (0, longest - x.shape[1]), (0, 0))) for x in inputs]
        outputs = np.asarray(
            pytensor.function([x], output, mode=get_mode("jax"))(np.concatenate(padded))
        )
        errors = [
            np.abs(outputs[k, : inputs[k].shape[1]] - arrays[f"output_{k}"][0]).max()
            for k in range(8)
        ]
        report({"what": f"{name}: outputs", "error": float(max(errors))})

    arrays, values = load("copy_grads")
    x, l_output, output = make_published(9, 9)
    set_all_param_values(l_output, values)
    target = pt.tensor3("target")
    loss = binary_crossentropy(output, target).mean()
    grads = pytensor.grad(loss, get_all_params(l_output))
    found = pytensor.function([x, target], [loss, *grads], mode=get_mode("jax"))(
        arrays["input"], arrays["target"]
    )
    value, *grads = map(np.asarray, found)
    expected = [arrays[key] for key in sorted(arrays) if key.startswith("grad_")]
    report({"what": "loss, relative", "error": float(abs(value / arrays["loss"] - 1.0))})
    worst = max(
        np.abs(grad - each).max() / np.abs(each).max()
        for grad, each in zip(grads, expected, strict=True)
    )
    report({"what": "gradients, relative to the largest entry of each", "error": float(worst)})


def precision(
    report: Report, cases: Sequence[Row], precisions: Sequence[str], budget: float
) -> None:
    """Report time and errors of loss and gradient by the precision of JAX's matrix products, against float64."""
    import jax
    import numpy as np
    import pytensor
    from gpu_networks import make_gradient

    calls: dict[tuple[int, str], Callable[[], Any]] = {}

    def run(function: Callable[[], Any], name: str) -> Any:
        """Call a function with products of a precision, for which JAX compiles anew."""
        with jax.default_matmul_precision(name):
            return function()

    for number, case in enumerate(cases):
        with pytensor.config.change_flags(floatX="float64"):
            calls[number, "exact"] = partial(run, make_gradient(**case), "highest")
        with pytensor.config.change_flags(floatX="float32"):
            # One function each, so that they can be compiled at the same time
            for name in precisions:
                calls[number, name] = partial(run, make_gradient(**case), name)
    first = call_at_once(calls)
    for number, case in enumerate(cases):
        for name in precisions:
            row = {**case, "precision": name}
            exact, found = first[number, "exact"], first[number, name]
            try:
                for result in (exact, found):
                    if isinstance(result, Exception):
                        raise result
                row |= time_calls(calls[number, name], budget)
            except Exception as error:
                report({**row, "failed": describe_error(error)})
                continue
            difference = np.linalg.norm(found[1:] - exact[1:]) / np.linalg.norm(exact[1:])
            errors = {
                "loss_error": float(abs(found[0] / exact[0] - 1.0)),
                "gradient_error": float(difference),
            }
            report({**row, **errors})


def steps(report: Report, cases: Sequence[Row], budget: float) -> None:
    """Report the time of a training step of each case."""
    import pytensor

    pytensor.config.floatX = "float32"
    from gpu_networks import make_training

    time_cases(report, cases, make_training, budget)


def rivals(
    report: Report,
    names: Sequence[str],
    shapes: Sequence[Sequence[int]],
    budget: float,
    torch_device: str,
) -> None:
    """Report the time of the network of `cases.DEFAULT` by some of the rivals.

    Parameters
    ----------
    names : list of {'ours', 'jax', 'tuned', 'torch'}
        PyTorch should be alone: it brings CUDA libraries of its own.
    torch_device : str
        PyTorch's name of the device.
    """
    from cases import DEFAULT, Case
    from ours import initial_parameters
    from rivals import TORCH, import_rival

    parameters = initial_parameters(DEFAULT)
    models = {
        name: make_torch(DEFAULT, parameters, torch_device)
        if name == TORCH
        else import_rival(name)(DEFAULT, parameters)
        for name in names
    }
    batches = [Case(DEFAULT, batch, length).data() for batch, length in shapes]

    def train(model: Any) -> list[float | Exception]:
        """Return the loss of each batch, or the error; all models see the batches in the same order."""
        results: list[float | Exception] = []
        for data in batches:
            try:
                results.append(model.train(*data))
            except Exception as error:
                results.append(error)
        return results

    first = call_at_once({name: partial(train, model) for name, model in models.items()})
    for number, (batch, length) in enumerate(shapes):
        row: Row = {"batch": batch, "steps": length}
        for name, model in models.items():
            loss = first[name][number]
            try:
                if isinstance(loss, Exception):
                    raise loss
                timed = time_calls(partial(model.train, *batches[number]), budget)
            except Exception as error:
                row[name] = describe_error(error)
            else:
                row |= {name: timed["seconds"], f"{name}_loss": loss}
        report(row)


def make_torch(network: Any, parameters: Any, device: str) -> Any:
    """Return the network of `torch_ntm.py` on a device of PyTorch."""
    import torch
    import torch.nn.functional as F
    from cases import CLIP
    from torch_ntm import Torch

    class OnDevice(Torch):
        """The same training step, whose batch and parameters lie on the device."""

        def __init__(self) -> None:
            super().__init__(network, parameters)
            # In place: the optimiser holds these parameters
            self._model.to(device)

        def train(self, x: Any, y: Any, mask: Any) -> float:
            x, y, mask = (torch.from_numpy(each).to(device) for each in (x, y, mask))
            errors = F.binary_cross_entropy_with_logits(self._model(x), y, reduction="none")
            loss = (errors * mask.unsqueeze(2)).sum() / len(x)
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(self._model.parameters(), CLIP)
            self._optimizer.step()
            return loss.item()

    return OnDevice()


def flags(report: Report, cases: Sequence[Row], budget: float) -> None:
    """Report how long it takes to compile a training step, and to run it, under the XLA_FLAGS of the process."""
    import pytensor

    pytensor.config.floatX = "float32"
    from gpu_networks import make_training

    for case in cases:
        call = make_training(**case)
        start = time.perf_counter()
        call()
        compiling = time.perf_counter() - start
        report({**case, "compiling": compiling, **time_calls(call, budget)})


def memory(report: Report, cases: Sequence[Row], budget: float) -> None:
    """Report peaks of the device's memory, in cases from small to large, and times.

    A device tells the peak since the process began. So a case whose peak is not above the peak of the case before has
    none of its own.
    """
    import jax
    import pytensor

    pytensor.config.floatX = "float32"
    from gpu_networks import make_training

    found = jax.devices()[0]

    def peak() -> int | None:
        return (found.memory_stats() or {}).get("peak_bytes_in_use")

    for case in cases:
        before = peak()
        try:
            call = make_training(**case)
            call()
            timed = time_calls(call, budget)
            programs = found.client.live_executables()
            temporary = max(
                each.get_compiled_memory_stats().temp_size_in_bytes for each in programs
            )
        except Exception as error:
            report({**case, "failed": describe_error(error)})
            continue
        after = peak()
        own = after if after is not None and before is not None and after > before else None
        report({**case, "peak": own, "temporary": temporary, **timed})
        # The next case should find neither the parameters nor the program
        del call, programs
        gc.collect()


def profile(report: Report, cases: Sequence[Row], repeats: int) -> None:
    """Report kernel launches and kernel time of a training step, from the profile that XLA writes."""
    import jax
    import pytensor

    pytensor.config.floatX = "float32"
    from gpu_networks import make_training

    for case in cases:
        call = make_training(**case)
        for _ in range(3):
            call()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        seconds = (time.perf_counter() - start) / repeats
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(repeats):
                    call()
            kernels = read_kernels(Path(folder), jax.default_backend() == "gpu")
        totals: dict[str, float] = {}
        for name, duration in kernels:
            totals[name] = totals.get(name, 0.0) + duration
        longest = sorted(totals, key=lambda name: -totals[name])[:5]
        copies = [name for name, _ in kernels if name.lower().startswith(("memcpy", "memset"))]
        report(
            {
                **case,
                "launches": (len(kernels) - len(copies)) / repeats,
                "copies": len(copies) / repeats,
                "kernel_seconds": sum(totals.values()) / repeats,
                "seconds": seconds,
                "longest": {name: totals[name] / repeats for name in longest},
            }
        )


def read_kernels(folder: Path, is_gpu: bool) -> list[tuple[str, float]]:
    """Return name and seconds of everything that ran on the device, from the profile in a folder.

    On a GPU these are the events of its streams; on the CPU, where there are no kernels, the operations of XLA.
    """
    from jax.profiler import ProfileData

    (path,) = folder.rglob("*.xplane.pb")
    plane_name, line_name = ("/device:GPU", "Stream") if is_gpu else ("/host:CPU", "tf_XLA")
    found = [
        (plane.name, line)
        for plane in ProfileData.from_file(str(path)).planes
        for line in plane.lines
    ]
    lines = [
        line
        for name, line in found
        if name.startswith(plane_name) and line.name.startswith(line_name)
    ]
    if not lines:
        names = ", ".join(f"{name} {line.name}" for name, line in found)
        raise RuntimeError(f"no line {line_name} of {plane_name} in the profile, but {names}")
    return [
        (event.name, event.duration_ns / 1e9)
        for line in lines
        for event in line.events
        if not event.name.startswith(("end: ", "ThreadpoolListener", "ThunkExecutor", "while"))
    ]


def copy(report: Report, settings: Mapping[str, Any], limit: float) -> None:
    """Report how long it takes to learn the copy task from nothing, or how far it came within some seconds."""
    from ntm.experiments import Run, make_settings

    start = time.perf_counter()
    # As Ctrl-C does: the run ends after the step at hand, and tells what it took
    timer = threading.Timer(limit, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.daemon = True
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", make_settings("copy", **settings))
        timer.start()
        try:
            result = run.train(progress=False)
        except KeyboardInterrupt:
            result = run.get_result("not measured in time")
        timer.cancel()
    report({**result, "whole": time.perf_counter() - start})


def replicas(report: Report, cases: Sequence[Row], budget: float) -> None:
    """Report the seconds of a training step of several networks in one program, and what the trainer of each adds.

    A row has ``seconds``, of a step of all networks, and ``host``, of what the processor does for each network between
    two steps: drawing its batch, and noting its loss.
    """
    import numpy as np

    from lasagne.backends.jax_stack import Stack
    from ntm.experiments import make_settings
    from ntm.training.step import StepAnswer, StepResult

    trainers: dict[str, Any] = {}
    host: dict[str, float] = {}

    def time_host(kind: str) -> float:
        """Return the seconds of a network between two steps, given the same result each time."""
        trainer = trainers[kind]
        size = len(trainer.training_step.trainable)
        result = StepResult(1.0, np.ones(trainer.task.batch_size), 1.0, True, np.ones(size, bool))
        course = trainer.make_course(10**6, solve_every=0, log_every=0, progress=False)
        next(course)

        def call() -> None:
            request = course.send(True)
            trainer.training_step.make_arguments(*request)
            course.send(StepAnswer(result, None))

        call()
        seconds = time_calls(call, min(budget, 0.2))["seconds"]
        course.close()
        return seconds

    def build(kind: str, replicas: int, batch: int, **options: Any) -> Callable[[], Any]:
        if kind not in trainers:
            settings = make_settings("copy", kind, batch_size=batch, devices=1, **options)
            trainers[kind] = settings.make_trainer()
            host[kind] = time_host(kind)
        trainer = trainers[kind]
        stack = Stack(trainer.training_step.function)
        values = [storage.container.storage[0] for storage in stack.shared]
        stack.fill([[value * (1 + k / replicas) for value in values] for k in range(replicas)])
        arguments = [
            trainer.training_step.make_arguments(trainer.sample(), 1e-4) for _ in range(replicas)
        ]
        return lambda: stack.run(arguments)

    time_cases(lambda row: report(row | {"host": host[row["kind"]]}), cases, build, budget)


FUNCTIONS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        device,
        losses,
        oracles,
        precision,
        steps,
        rivals,
        flags,
        memory,
        profile,
        copy,
        replicas,
    )
}


def check_platform(expected: str) -> None:
    """Raise an error unless JAX runs on a platform: where it cannot, it may take the CPU and say nothing."""
    import jax

    try:
        found = jax.default_backend()
    except (
        Exception
    ) as error:  # an AssertionError without a message where JAX is installed without CUDA
        reason = describe_error(error)
        raise RuntimeError(
            f"JAX cannot use a {expected}. Is it installed for one? {reason}"
        ) from error
    if found != expected:
        raise RuntimeError(f"JAX runs on the {found}, and this section measures a {expected}")


def main() -> None:
    """Answer the request on the standard input."""
    request = json.load(sys.stdin)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request["cores"])
    if request["expected"] is not None:
        check_platform(request["expected"])
    output, rows = Path(request["output"]), []

    def report(row: Row) -> None:
        rows.append(row)
        unfinished = output.with_name(f"{output.name}.unfinished")
        unfinished.write_text(json.dumps(rows), encoding="utf-8")
        unfinished.replace(output)
        print(json.dumps(row), flush=True)

    FUNCTIONS[request["function"]](report, **request["arguments"])


if __name__ == "__main__":
    main()
