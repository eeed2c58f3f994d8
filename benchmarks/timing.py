"""How long a training step and an inference take: the rivals in turn, in one process."""

import gc
import time
from statistics import median

from cases import DEFAULT, Case, Network
from check import compare
from ours import initial_parameters
from quiet import Quiet
from rivals import BLOCKS, COMPILED, JAX, OURS, SHARDED, TORCH, TUNED, import_rival
from workers import answer, available_cores

from lasagne.devices import start_devices

COMPILED_SHAPES = [(16, 42)]  # it takes most of a minute to compile one
MIN_ROUNDS = 3
MAX_ROUNDS = 60
SHORT = 0.02  # seconds
PAUSE = 0.005  # seconds, in which PyTorch's threads go to sleep
TRIAL = 0.3  # seconds for each number of threads
HOPELESS = 3.0  # how many times as long as with fewer threads a step may take


def rivals_of(case):
    """The names of those who run a case."""
    several = case.batch > 1
    compiled = case.network == DEFAULT and (case.batch, case.steps) in COMPILED_SHAPES
    return [
        OURS,
        *[BLOCKS] * several,
        JAX,
        TUNED,
        *[SHARDED] * several,
        TORCH,
        *[COMPILED] * compiled,
    ]


def run_rounds(calls, budget):
    """Let everyone run once in a round, in alternating order.

    A short call is made twice and its second run counts: the first finds the caches as another rival left them.

    Parameters
    ----------
    calls : dict from name to callable
    budget : float
        Seconds after which someone leaves, though not before `MIN_ROUNDS` rounds.

    Returns
    -------
    dict from name to list of seconds, one a round
    """
    seconds = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    gc.collect()
    gc.disable()
    for index in range(MAX_ROUNDS):
        names = [name for name in calls if index < MIN_ROUNDS or spent[name] < budget]
        for name in names if index % 2 else reversed(names):
            time.sleep(PAUSE)
            begin = time.perf_counter()
            if index == 0 or seconds[name][-1] < SHORT:
                calls[name]()
            start = time.perf_counter()
            calls[name]()
            end = time.perf_counter()
            seconds[name].append(end - start)
            spent[name] += end - begin
    gc.enable()
    return seconds


def summarise(seconds):
    """Minimum and median of the seconds, and the ratios to ours, for everyone.

    Ours is the faster of our two forms. ``ratio`` is that of the minima, ``round_ratio`` the median of each round's.
    """
    ours = seconds[min((OURS, BLOCKS), key=lambda name: min(seconds.get(name, [float("inf")])))]
    return {
        name: {
            "minimum": min(values),
            "median": median(values),
            "ratio": min(values) / min(ours),
            "round_ratio": median(a / b for a, b in zip(values, ours, strict=False)),
            "rounds": len(values),
        }
        for name, values in seconds.items()
    }


def summarise_factor(seconds):
    """How many times as long one block takes as blocks, by minima and by rounds; ``None`` without blocks."""
    if BLOCKS not in seconds:
        return None
    one, blocks = seconds[OURS], seconds[BLOCKS]
    return {
        "ratio": min(one) / min(blocks),
        "round_ratio": median(a / b for a, b in zip(one, blocks, strict=False)),
    }


def choose_threads(function, most):
    """The number of PyTorch's threads, from one to the most, with which a function is fastest; it stays set."""
    import torch

    best = {}
    for threads in range(1, most + 1):
        torch.set_num_threads(threads)
        seconds = []
        # The first run starts the threads. Where others use a core it takes many times as long, and so do the next
        while len(seconds) < 2 or sum(seconds) < TRIAL:
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
            if best and seconds[-1] > HOPELESS * min(best.values()):
                break
        best[threads] = min(seconds)
    chosen = min(best, key=best.get)
    torch.set_num_threads(chosen)
    return chosen


def with_threads(function, threads):
    """A function that sets the number of PyTorch's threads, if it is another, before it calls the given one."""
    import torch

    def run():
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return function()

    return run


def measure(network, batch, steps, threads, budget, quiet, compiled=True):
    """Check and time all rivals of a case.

    Parameters
    ----------
    network : dict
        The fields of `cases.Network`.
    batch, steps : int
    threads : int
        The cores. PyTorch tries all numbers of threads up to it, and JAX has so many devices.
    budget : float
        Seconds for each rival's training and for its inference.
    quiet : dict
        The fields of `quiet.Quiet`.
    compiled : bool
        Whether a compiled PyTorch may be among the rivals.

    Returns
    -------
    dict
        Under ``train`` and ``predict`` a dict from name to what :func:`summarise` gives, with the seconds of the
        first call under ``first`` and PyTorch's ``threads``; under ``factor`` what :func:`summarise_factor` gives of
        training; under ``notes`` a dict from ``train`` and ``predict`` to what disturbed the measurement; under
        ``failed`` a dict from name to message; under ``quiet`` the fields of `quiet.Quiet` afterwards, and under
        ``cores`` the numbers of the cores that the process is pinned to.
    """
    start_devices(threads)
    quiet = Quiet(**quiet)
    case = Case(Network(**network), batch, steps)
    data, parameters = case.data(), initial_parameters(case.network)
    devices = max(count for count in range(1, threads + 1) if batch % count == 0)
    calls, first, failed, expected = {"predict": {}, "train": {}}, {}, {}, None
    chosen = {"predict": {}, "train": {}}
    for name in rivals_of(case):
        if name == COMPILED and not compiled:
            continue
        try:
            if name == TORCH:
                import torch

                torch.set_num_threads(1)  # until the best number is known
            rival = import_rival(name, devices)(case.network, parameters)
            ways = {"train": lambda r=rival: r.train(*data)}
            if name != BLOCKS:
                ways = {"predict": lambda r=rival: r.predict(data.inputs), **ways}
            results, first[name] = {}, {}
            for kind, run in ways.items():
                if name == COMPILED:  # each number of threads would be compiled anew
                    run = with_threads(run, chosen[kind].get(TORCH, threads))
                start = time.perf_counter()
                results[kind] = run()
                first[name][kind] = time.perf_counter() - start
        except (RuntimeError, MemoryError) as error:
            failed[name] = "out of memory" if is_lack_of_memory(error) else first_line(error)
            continue
        found = results["train"], results.get("predict")
        expected = expected or found
        compare(name, *found, *expected)
        for kind, run in ways.items():
            run()  # where the first step has moved the parameters, XLA compiles once more
            if name == TORCH:
                chosen[kind][name] = choose_threads(run, threads)
            elif name == COMPILED:
                chosen[kind][name] = chosen[kind].get(TORCH, threads)
            if name in chosen[kind]:
                run = with_threads(run, chosen[kind][name])
            calls[kind][name] = run
    if OURS not in calls["train"]:
        raise RuntimeError(f"ours failed: {failed[OURS]}")
    summaries, notes = {}, {}
    for kind, functions in calls.items():
        with quiet.watch() as notes[kind]:
            seconds = run_rounds(functions, budget)
        summaries[kind] = summarise(seconds)
        for name, entry in summaries[kind].items():
            entry["first"] = first[name][kind]
            entry["threads"] = chosen[kind].get(name)
    return {
        **summaries,
        "factor": summarise_factor(seconds),
        "notes": notes,
        "failed": failed,
        "quiet": {"best": quiet.best, "wait": quiet.wait},
        "cores": available_cores(),
    }


def is_lack_of_memory(error):
    """Whether this is how PyTorch, XLA or Python say that memory is short."""
    signs = ("allocate memory", "RESOURCE_EXHAUSTED", "Out of memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def first_line(error):
    """The kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


if __name__ == "__main__":
    answer(measure)
