"""How long a training step and an inference take: the rivals in turn, in one process."""

import gc
import time
from statistics import median

from cases import DEFAULT, Case, Network
from check import compare
from ours import initial_parameters
from rivals import COMPILED, JAX, OURS, TORCH, TUNED, import_rival
from workers import answer

COMPILED_SHAPES = [(1, 12), (16, 42)]  # it takes most of a minute to compile one
MIN_ROUNDS = 3
MAX_ROUNDS = 60
SHORT = 0.02  # seconds


def rivals_of(case):
    """The names of those who run a case."""
    compiled = case.network == DEFAULT and (case.batch, case.steps) in COMPILED_SHAPES
    return [OURS, JAX, TUNED, TORCH] + [COMPILED] * compiled


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
    """Median of the seconds, and of each round's ratio to ours, for everyone."""
    ours = seconds[OURS]
    return {
        name: {
            "seconds": median(values),
            "ratio": median(a / b for a, b in zip(values, ours, strict=False)),
            "rounds": len(values),
        }
        for name, values in seconds.items()
    }


def measure(network, batch, steps, threads, budget):
    """Check and time all rivals of a case.

    Parameters
    ----------
    network : dict
        The fields of `cases.Network`.
    batch, steps : int
    threads : int
    budget : float
        Seconds for each rival's training and for its inference.

    Returns
    -------
    dict
        Under ``train`` and ``predict`` a dict from name to what :func:`summarise` gives, with the seconds of the
        first call under ``first``; under ``failed`` a dict from name to message.
    """
    case = Case(Network(**network), batch, steps)
    data, parameters = case.data(), initial_parameters(case.network)
    rivals, first, failed, expected = {}, {}, {}, None
    for name in rivals_of(case):
        if name in (TORCH, COMPILED):
            import torch

            torch.set_num_threads(threads)
        try:
            rival = import_rival(name)(case.network, parameters)
            start = time.perf_counter()
            prediction = rival.predict(data.inputs)
            middle = time.perf_counter()
            loss = rival.train(*data)
            end = time.perf_counter()
        except (RuntimeError, MemoryError) as error:
            failed[name] = "out of memory" if is_lack_of_memory(error) else first_line(error)
            continue
        expected = expected or (loss, prediction)
        compare(name, loss, prediction, *expected)
        rivals[name], first[name] = rival, {"predict": middle - start, "train": end - middle}
    if OURS not in rivals:
        raise RuntimeError(f"ours failed: {failed[OURS]}")
    summaries = {
        "predict": summarise(
            run_rounds(
                {name: lambda r=rival: r.predict(data.inputs) for name, rival in rivals.items()},
                budget,
            )
        ),
        "train": summarise(
            run_rounds(
                {name: lambda r=rival: r.train(*data) for name, rival in rivals.items()}, budget
            )
        ),
    }
    for kind, summary in summaries.items():
        for name, entry in summary.items():
            entry["first"] = first[name][kind]
    return {**summaries, "failed": failed}


def is_lack_of_memory(error):
    """Whether this is how PyTorch, XLA or Python say that memory is short."""
    signs = ("allocate memory", "RESOURCE_EXHAUSTED", "Out of memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def first_line(error):
    """The kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


if __name__ == "__main__":
    answer(measure)
