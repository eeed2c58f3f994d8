"""How much memory a training step takes: one rival in a process of its own. Linux only, for its /proc."""

import ctypes
import resource
import time
from pathlib import Path

import numpy as np
from cases import DEFAULT, Case, Network
from rivals import BLOCKS, JAX, OURS, TORCH, import_rival
from workers import answer

from lasagne.devices import start_devices

SMALL, LARGE = Case(DEFAULT, 16, 42), Case(DEFAULT, 4096, 42)
QUICK_CASES = [SMALL, LARGE]
CASES = [SMALL, LARGE, Case(DEFAULT, 1, 802), Case(Network("dense", 1024, 64, 1), 16, 202)]
BLOCK_SIZE = 8  # sequences, of the large batch
NUM_STEPS = 3


def forms_of(case):
    """Who runs a case: pairs of a rival and the size of a block, which is ``None`` for those without blocks."""
    if case == LARGE:  # the others' steps would take 10 GiB and more
        return [(OURS, None), (BLOCKS, BLOCK_SIZE)]
    forms = [(OURS, None), (JAX, None), (TORCH, None)]
    if case.batch > 1:
        forms.insert(1, (BLOCKS, "auto"))
    return forms


def status(field):
    """A field of the process's status, such as ``VmRSS``, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no field {field}")


def temporary_bytes():
    """What XLA says that the largest of the compiled programs needs besides its arguments and results."""
    import jax

    programs = jax.devices()[0].client.live_executables()
    return max(program.get_compiled_memory_stats().temp_size_in_bytes for program in programs)


def measure(rival, block_size, network, batch, steps, parameters, threads):
    """Peaks of resident memory.

    Parameters
    ----------
    rival : str
        One of `rivals.TITLES`.
    block_size : int, 'auto' or None
        For blocks; None for the others.
    network : dict
        The fields of `cases.Network`.
    batch, steps : int
    parameters : str
        An .npz file.
    threads : int
        The cores, which are devices for blocks.

    Returns
    -------
    dict
        Bytes: ``whole``, the peak of building, compiling and the first steps above the state after the imports;
        ``step``, the peak of a later step above the state before it, the largest of some; ``xla``, XLA's own figure for
        the step's temporary memory, ``None`` for PyTorch, and for blocks that of a device.
    """
    options = {} if block_size is None else {"devices": threads, "block_size": block_size}
    build = import_rival(rival, **options)
    if rival == TORCH:
        import torch

        torch.set_num_threads(1)  # the memory is the same, and one is fast on a busy machine, too
    else:
        import jax

        start_devices(threads if rival == BLOCKS else 1)
        jax.devices()
    case = Case(Network(**network), batch, steps)
    data, values = case.data(), dict(np.load(parameters))
    before = status("VmRSS")
    model = build(case.network, values)
    for _ in range(2):
        model.train(*data)
    whole = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = 0
    for _ in range(NUM_STEPS):
        time.sleep(0.5)  # another thread may still be freeing what the step took
        ctypes.CDLL(None).malloc_trim(0)  # gives back what compiling left behind
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        resting = status("VmRSS")
        model.train(*data)
        # A step that finds memory which was not given back takes less
        step = max(step, status("VmHWM") - resting)
    return {
        "whole": whole - before,
        "step": step,
        "xla": None if rival == TORCH else temporary_bytes(),
    }


if __name__ == "__main__":
    answer(measure)
