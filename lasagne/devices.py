"""The processor's cores as devices of JAX, and how many cores and how much cache there are.

JAX takes a CPU for one device, and its operations of small networks use one core of it. More cores are of use as more
devices, each with a part of the batch (:mod:`lasagne.accumulation`). How many devices the CPU has is fixed when JAX
starts: at its first computation, or when it is first asked for its devices.
"""

import os
import sys
from numbers import Integral
from pathlib import Path
from typing import Any

__all__ = [
    "ALL",
    "AXIS",
    "WITHOUT_LIMIT",
    "count_cores",
    "get_cache_bytes",
    "get_devices",
    "has_started",
    "reserve_devices",
    "start_devices",
]

#: As many devices as there are
ALL = "all"
#: The name of the axis of several devices, along which the batch is divided
AXIS = "batch"
#: Options of XLA for the CPU: a device waits for the others as long as it takes. XLA would end the process after 40 s,
#: as when it was suspended, or when another process compiles
WITHOUT_LIMIT = {
    "xla_cpu_collective_call_terminate_timeout_seconds": "1000000000",
    "xla_cpu_collective_timeout_seconds": "1000000000",
}
#: JAX's setting of how many devices it makes of the CPU
NUM_CPU_DEVICES = "jax_num_cpu_devices"
#: What a core's second-level cache is taken to hold where the system does not tell
CACHE_BYTES = 2**20
#: So many CPU devices may be asked for on any machine, be there fewer cores: results depend on the number by rounding
MOST = 1024


def count_cores() -> int:
    """Return how many cores this process may use, by its affinity and the limits of its control group."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # macOS and Windows do not tell
        cores = os.cpu_count() or 1
    limit = _read_limit()
    return cores if limit is None else max(min(cores, int(limit)), 1)


def _read_limit(
    root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")
) -> float | None:
    """Return how many cores' time the control group has, as in a container; None for no limit."""
    limits = []
    for folder in (root, *_find_groups(root, groups)):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = (
                    (folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
                )
            if quota.strip() not in ("max", "-1"):
                limits.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return min(limits, default=None)


def _find_groups(root: Path, groups: Path) -> list[Path]:
    """Return the folders of the control groups that this process is in, those above them too."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        base = (
            root if not controllers else root / "cpu" if "cpu" in controllers.split(",") else None
        )
        if base is None:
            continue
        group = base / path.strip("/")
        found += [group, *(parent for parent in group.parents if base in (parent, *parent.parents))]
    return found


def get_cache_bytes() -> int:
    """Return the bytes of a core's own second-level cache."""
    folder = Path("/sys/devices/system/cpu/cpu0/cache/index2")
    try:
        size = (folder / "size").read_text().strip()
        return int(size[:-1]) * {"K": 2**10, "M": 2**20}[size[-1]]
    except (OSError, ValueError, KeyError, IndexError):
        return CACHE_BYTES


def has_started() -> bool:
    """Return whether JAX has started, so that the number of its CPU devices is fixed."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def start_devices(devices: int | str, platform: str | None = None) -> int:
    """Make the processor's cores devices of JAX, start JAX, and return how many devices to use.

    For one device nothing is done, and GPUs are only counted.

    Parameters
    ----------
    devices : int or 'all'
        ``'all'`` is all cores that the process may use, or all GPUs; or, where JAX has started already, as many devices
        as JAX has.
    platform : str, optional
        ``'cpu'`` or ``'gpu'``; unless given, that of JAX's default device, or the CPU.

    Raises
    ------
    TypeError, ValueError
        If `devices` is none of these.
    ValueError
        If there are fewer devices. Where JAX has started with fewer, the error says what to do.
    ImportError
        If several devices are asked for and JAX is not installed.
    """
    _check_devices(devices)
    if devices == 1:
        return 1
    reserve_devices(devices)
    available = len(get_devices(platform=platform))
    if devices == ALL:
        return available
    if platform is None:  # A function may be compiled for the CPU where JAX prefers a GPU
        available = max(available, len(get_devices(platform="cpu")))
    if available < int(devices):
        found = get_devices(platform=platform)[0].platform
        message = f"devices is {devices}, but JAX has {available} of the kind {found!r}"
        if found == "cpu":
            message += (
                ". JAX has started already, and that fixes the number. At the top of the program, before anything is "
                f"compiled, call lasagne.devices.start_devices({devices}); or set JAX_NUM_CPU_DEVICES={devices} in the "
                "environment"
            )
        raise ValueError(message)
    return int(devices)


def reserve_devices(devices: int | str) -> None:
    """Set how many devices JAX makes of the CPU when it starts, unless it has started or the user has set a number.

    Parameters
    ----------
    devices : int or 'all'

    Raises
    ------
    TypeError, ValueError
        If `devices` is none of these.
    """
    _check_devices(devices)
    if has_started():
        return
    import jax

    by_flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if by_flag or NUM_CPU_DEVICES.upper() in os.environ:
        return
    set_before = jax.config.values[NUM_CPU_DEVICES]
    if devices == ALL and set_before < 1:
        jax.config.update(NUM_CPU_DEVICES, count_cores())
    elif devices != ALL and set_before < int(devices):
        jax.config.update(NUM_CPU_DEVICES, max(count_cores(), int(devices)))


def _check_devices(devices: Any) -> None:
    if isinstance(devices, str) and devices == ALL:
        return
    if isinstance(devices, bool) or not isinstance(devices, Integral):
        raise TypeError(f"devices must be a positive integer or 'all', not {devices!r}")
    most = max(count_cores(), MOST)
    if not 1 <= int(devices) <= most:
        raise ValueError(f"devices must be from 1 to {most}, or 'all', not {devices}")


def get_devices(count: int | None = None, platform: str | None = None) -> list[Any]:
    """Return the first devices of JAX of a kind: that of its default device, unless given.

    Raises
    ------
    ValueError
        If there are fewer than `count`.
    """
    import jax

    default: Any = jax.config.values["jax_default_device"]
    if platform is None and default is not None:
        platform = default if isinstance(default, str) else default.platform
    # Of several processes that run one program, each has devices of its own
    devices = jax.local_devices(backend=platform)
    if count is not None and len(devices) < count:
        raise ValueError(
            f"{count} devices are asked for, but JAX has {len(devices)} of the kind {devices[0].platform!r}"
        )
    return devices[:count]
