"""A case of `sparse.py`, in a process of its own: a step of training, or what an index of slots finds."""

import ctypes
import resource
import time
from pathlib import Path
from statistics import median

import numpy as np
from memory import status
from quiet import Quiet
from workers import answer

WIDTH, STEPS, NUM_FEATURES, NUM_UNITS, READ_SLOTS = 32, 100, 8, 64, 4
NUM_KEYS, ENTERED, SPREAD, DISTANCE = 256, 512, 0.5, 0.4


def make_training(num_slots, nearest):
    """A training step of one sequence of `STEPS` steps, compiled, as a function without arguments."""
    import pytensor
    import pytensor.tensor as pt

    from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
    from lasagne.updates import adam
    from ntm import Memory, SAMLayer, get_mode

    x, y = pt.tensor3("x"), pt.tensor3("y")
    l_sam = SAMLayer(
        InputLayer((None, None, NUM_FEATURES), x),
        Memory((num_slots, WIDTH), learn_init=False),
        lambda l: DenseLayer(l, NUM_UNITS),
        num_reads=1,
        num_read_slots=READ_SLOTS,
        nearest=nearest,
    )
    l_out = DenseLayer(l_sam, NUM_FEATURES, num_leading_axes=2)
    loss = ((get_output(l_out) - y) ** 2).mean()
    updates = adam(loss, get_all_params(l_out, trainable=True))
    train = pytensor.function([x, y], loss, updates=updates, mode=get_mode("jax"))
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 1, STEPS, NUM_FEATURES)).astype("float32")
    return lambda: float(train(*data))


def measure_training(num_slots, nearest, budget, quiet):
    """Time a step, until the loss is a Python float: minimum and median; and bytes, the peak above the imports.

    ``notes`` are what disturbed the measurement, ``quiet`` the fields of `quiet.Quiet` afterwards.
    """
    import jax

    quiet = Quiet(**quiet)
    jax.devices()
    before = status("VmRSS")
    train = make_training(num_slots, nearest)
    train()
    ctypes.CDLL(None).malloc_trim(0)
    resting = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    train()
    step = status("VmHWM") - resting
    whole = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    seconds = []
    with quiet.watch() as notes:
        while len(seconds) < 3 or (sum(seconds) < budget and len(seconds) < 100):
            start = time.perf_counter()
            train()
            seconds.append(time.perf_counter() - start)
    return {
        "minimum": min(seconds),
        "median": median(seconds),
        "runs": len(seconds),
        "step": step,
        "whole": whole,
        "notes": notes,
        "quiet": {"best": quiet.best, "wait": quiet.wait},
    }


def make_rows(kind, num_slots, rng):
    """Rows of a memory: directions at random, or clusters of 64 rows about such."""
    if kind == "random":
        return rng.normal(size=(num_slots, WIDTH)).astype("float32")
    centres = rng.normal(size=(num_slots // 64, WIDTH))
    noise = SPREAD * rng.normal(size=(num_slots, WIDTH))
    return (centres[rng.integers(len(centres), size=num_slots)] + noise).astype("float32")


def measure_recall(num_slots):
    """Which part of the slots most like a key, and of the one most like it, the index of the default sizes finds.

    All slots are entered once, `ENTERED` at a time.
    """
    import pytensor
    import pytensor.tensor as pt

    from ntm import HyperplaneIndex, get_mode

    index = HyperplaneIndex((num_slots, WIDTH))
    memory, key = pt.tensor3("memory"), pt.tensor3("key")
    positions, time_now = pt.imatrix("positions"), pt.ivector("time")
    state = [pytensor.shared(np.zeros(v.eval().shape, "int32")) for v in index.make_state(1)]
    weights, runs = pt.ones_like(positions, "float32"), pt.ones_like(time_now, "bool")
    updates = zip(
        state, index.update(state, memory, positions, weights, runs, time_now), strict=True
    )
    mode, shared = get_mode("jax"), pytensor.shared(np.zeros((1, num_slots, WIDTH), "float32"))
    enter = pytensor.function(
        [positions, time_now], [], updates=list(updates), givens={memory: shared}, mode=mode
    )
    find = pytensor.function(
        [key], index.select(key, memory, state, READ_SLOTS), givens={memory: shared}, mode=mode
    )
    rng, results = np.random.default_rng(0), {}
    for kind in ("random", "clustered"):
        rows = make_rows(kind, num_slots, rng)
        shared.set_value(rows[None])
        for part in state:
            part.set_value(np.zeros(np.shape(part.get_value()), "int32"))
        order = rng.permutation(num_slots).astype("int32").reshape(-1, 1, ENTERED)
        for step, chosen in enumerate(order):
            enter(chosen, np.array([step + 1], "int32"))
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        own = rows[rng.integers(num_slots, size=NUM_KEYS)]
        near = own + DISTANCE * rng.normal(size=own.shape)
        for name, keys in (("near", near), ("far", rng.normal(size=near.shape))):
            keys = keys.astype("float32")
            found = np.concatenate(
                [np.asarray(find(part[None]))[0] for part in np.split(keys, NUM_KEYS // 8)]
            )
            best = np.stack([np.argsort(-(unit @ each))[:READ_SLOTS] for each in keys])
            hits = (best[:, :, None] == found[:, None]).any(axis=2)
            results[f"{kind}, {name}"] = [float(hits.mean()), float(hits[:, 0].mean())]
    return results


def measure(section, **request):
    """What a process of its own does."""
    import pytensor

    pytensor.config.floatX = "float32"
    return {"training": measure_training, "recall": measure_recall}[section](**request)


if __name__ == "__main__":
    answer(measure)
