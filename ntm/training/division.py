"""How a batch is divided: into blocks that fit the processor's cache, and over devices.

Notation: B sequences in a batch.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pytensor.compile.mode import Mode
from pytensor.link.jax.linker import JAXLinker

from lasagne.accumulation import AUTO, SMALLEST, count_bytes, fit_block_size
from lasagne.devices import ALL, get_cache_bytes, get_devices, reserve_devices, start_devices
from lasagne.processes import Processes
from ntm.arguments import Number
from ntm.typing import Tensor

if TYPE_CHECKING:
    from ntm.training.objective import Objective

__all__ = ["ALL", "AUTO", "WHOLE", "Division", "check_division", "choose_division"]


class Division(NamedTuple):
    """How a batch is divided.

    Attributes
    ----------
    block_size : int or None
        The largest number of sequences in a block; None for no blocks.
    devices : int
        Over how many CPU cores or GPUs.
    """

    block_size: int | None
    devices: int

    @property
    def is_whole(self) -> bool:
        """Whether the batch is not divided."""
        return self == WHOLE


#: A device gets so many sequences at least, unless their blocks are smaller: with fewer, handing over takes as long
FEWEST = 4
#: The batch in one block on one device
WHOLE = Division(None, 1)


def check_division(caller: str, block_size: Any, devices: Any) -> None:
    """Raise a `ValueError` unless these are a size of a block and a number of devices."""
    for name, value, words in (
        ("block_size", block_size, (AUTO, None)),
        ("devices", devices, (AUTO, ALL)),
    ):
        if isinstance(value, str | None) and value in words:
            continue
        try:
            Number(int, 1).check(f"{caller}: {name}", value)
        except ValueError as error:
            raise ValueError(f"{error}; it may also be {' or '.join(map(repr, words))}") from None


def choose_division(
    losses: Tensor,
    objective: "Objective",
    mode: Mode,
    block_size: int | str | None,
    devices: int | str,
    processes: Processes | None = None,
) -> Division:
    """Return how to divide the batches of an objective.

    Parameters
    ----------
    losses : tensor (B,)
    objective : Objective
        Its batch size and its longest sequence are what is chosen for.
    mode : pytensor Mode
        What the training step is compiled with. All but JAX have one device.
    block_size : int, 'auto' or None
        ``'auto'`` chooses by the bytes that the network keeps for a sequence and the processor's cache.
    devices : int, 'auto' or 'all'
        ``'auto'`` takes as many CPU cores as the batch has blocks for, and one GPU. It takes one core where JAX has
        started without the others.
    processes : Processes, optional
        The processes over all of whose devices to divide the batches.

    Raises
    ------
    ValueError
        If there are fewer devices than asked for, or the back end has one only; if there are several processes, and the
        batch has fewer sequences than the processes have devices.
    """
    # Numbers of NumPy would be taken for none, and could not be written into settings
    block_size = int(block_size) if isinstance(block_size, np.integer) else block_size
    devices = int(devices) if isinstance(devices, np.integer) else devices
    linker = mode.linker
    # PyTensor's own linker for JAX has one device
    if not isinstance(linker, JAXLinker) or not hasattr(linker, "device"):
        if processes is not None:
            raise ValueError(
                f"{processes.count} processes need the back end jax: mode=ntm.get_mode('jax')"
            )
        if devices not in (1, AUTO, ALL):
            raise ValueError(
                f"devices is {devices}, but several devices need the back end jax: mode=ntm.get_mode('jax')"
            )
        return Division(block_size if isinstance(block_size, int) else None, 1)
    if processes is not None:
        return _divide_over(processes, losses, objective, block_size, devices)
    if block_size != AUTO and devices == 1:  # Nothing to choose: JAX need not start for it
        return Division(block_size, 1)  # type: ignore[arg-type]
    device = linker.device
    if objective.batch_size > 1 and devices != 1:
        # Before anything else asks JAX for its devices
        reserve_devices(ALL if devices == AUTO else devices)
    fitting = _fit_block_size(losses, objective, device)
    size = fitting if block_size == AUTO else block_size
    smallest = block_size if isinstance(block_size, int) else min(FEWEST, fitting or FEWEST)
    count = _choose_devices(device, objective.batch_size, smallest, devices)
    return _make_division(size, count, objective, block_size == AUTO)


def _make_division(size: Any, count: int, objective: "Objective", is_chosen: bool) -> Division:
    """Return a division, without blocks where the size of a block was chosen, and all of the batch fits."""
    if is_chosen and size is not None and size * count >= objective.batch_size:
        size = None
    return Division(size, count)


def _fit_block_size(losses: Tensor, objective: "Objective", device: Any) -> int | None:
    """Return how many sequences fit the cache; None where that is of no use."""
    if objective.batch_size <= SMALLEST or _get_platform(device) != "cpu":
        return None
    return fit_block_size(count_bytes([losses], objective.longest), get_cache_bytes())


def _divide_over(
    processes: Processes,
    losses: Tensor,
    objective: "Objective",
    block_size: int | str | None,
    devices: int | str,
) -> Division:
    """Return how to divide batches over the devices of several processes: as process 0 says."""
    count, batch_size = processes.num_devices, objective.batch_size
    if devices not in (AUTO, ALL, count):
        raise ValueError(
            f"devices is {devices}, but the {processes.count} processes were joined with {count} devices in all"
        )
    if batch_size < count:
        raise ValueError(
            f"a batch of {batch_size} sequences cannot be divided over {count} devices: expected a batch_size of at "
            "least as many, or fewer devices"
        )
    size: Any = block_size
    if block_size == AUTO:
        device = processes.mesh.local_devices[0]
        # Another process may have another cache
        size = processes.share("the block size", _fit_block_size(losses, objective, device))
    return _make_division(size, count, objective, block_size == AUTO)


def _get_platform(device: Any) -> str:
    """Return the kind of device that a mode runs on: 'cpu', 'gpu' or 'tpu'."""
    return device.platform if device is not None else get_devices()[0].platform


def _choose_devices(device: Any, batch_size: int, smallest: int, devices: int | str) -> int:
    """Return over how many devices to divide a batch.

    Parameters
    ----------
    device : jax.Device or None
        The one of the mode, if it has one.
    batch_size : int
    smallest : int
        For ``'auto'``: how many sequences a device gets at least.
    devices : int, 'auto' or 'all'
    """
    if devices == 1 or (devices == AUTO and batch_size < 2 * smallest):
        return 1
    platform = _get_platform(device)
    if device is not None and device != get_devices(platform=platform)[0]:
        if devices in (AUTO, ALL):
            return 1
        raise ValueError(
            f"devices is {devices}, but the mode is for {device} alone: name the kind, such as 'gpu', without a number"
        )
    if devices == AUTO:
        return min(start_devices(ALL, platform), batch_size // smallest) if platform == "cpu" else 1
    if devices == ALL:
        return min(start_devices(ALL, platform), max(batch_size, 1))
    return start_devices(devices, platform)
