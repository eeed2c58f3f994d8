"""The compilation modes: how PyTensor compiles a graph."""

import gc
import importlib.util
import logging
import shutil
from typing import TYPE_CHECKING, Any

import pytensor
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.rewriting.db import RewriteDatabaseQuery

from lasagne.backends.functions import CMode, JAXMode, LockedMode

if TYPE_CHECKING:
    import jax

    from lasagne.processes import Processes

__all__ = ["BACKENDS", "FLOAT_TYPES", "divide_over", "get_mode", "use_jax"]

BACKENDS = ("jax", "numba", "c")
FLOAT_TYPES = ("float32", "float64")

logger = logging.getLogger(__name__)


def use_jax(float_type: str = "float32", device: str | None = None) -> None:
    """Make JAX the default back end of PyTensor in this process, and float32 the default type.

    Call ``use_jax()`` once at the top of a program. ``pytensor.function(...)`` then compiles for JAX unless it is given
    another mode, and inputs and parameters are float32 (``pytensor.config.floatX``). JAX itself is left as it is.

    Parameters
    ----------
    float_type : {'float32', 'float64'}
        The default type of floating-point numbers. PyTensor's own default is float64, which is slower and seldom
        learns better.
    device : str, optional
        As of :func:`get_mode`.

    Raises
    ------
    ValueError
        If `float_type` is neither of these, or JAX finds no such device. Nothing is changed then.
    ImportError
        If JAX is not installed.

    Notes
    -----
    Two cases are reported through :mod:`logging`, as warnings. The one: ``PYTENSOR_FLAGS`` or ``.pytensorrc`` ask for
    another mode or type; the call takes precedence. The other: variables of the other type were made before the call,
    such as the parameters of a network. They keep their type, and what is computed with float64 is float64. So make
    them after the call.

    Examples
    --------
    >>> import ntm
    >>> ntm.use_jax()
    >>> pytensor.config.floatX
    'float32'
    """
    if float_type not in FLOAT_TYPES:
        raise ValueError(f"use_jax: float_type must be one of {FLOAT_TYPES}, not {float_type!r}")
    (other,) = (each for each in FLOAT_TYPES if each != float_type)
    earlier = _find_variables(other)
    mode = get_mode("jax", device)
    new = {"floatX": float_type, "mode": "JAX", "linker": "jax"}
    old = {name: getattr(pytensor.config, name) for name in new}
    pytensor.config.floatX = float_type
    pytensor.config.mode = mode  # type: ignore[assignment]
    for name, value in old.items():
        is_set = not getattr(type(pytensor.config), name).is_default
        if is_set and value != new[name] and not isinstance(value, Mode):
            logger.warning(
                "use_jax() changes PyTensor's %s to %s. PYTENSOR_FLAGS or .pytensorrc set %s",
                name,
                new[name],
                value,
            )
    if earlier:
        names = ", ".join(earlier[:3]) + (", ..." if len(earlier) > 3 else "")
        logger.warning(
            "use_jax() makes %s the default type. %d variables made before the call stay %s: %s. Call use_jax() before "
            "you build a network",
            float_type,
            len(earlier),
            other,
            names,
        )


def _find_variables(dtype: str) -> list[str]:
    """Return the names of the inputs and shared variables of a type that there are in this process."""
    return [
        each.name or str(each)
        for each in gc.get_objects()
        # Not isinstance: a weak reference whose object is gone raises an error when it is asked
        if issubclass(type(each), Variable)
        and not issubclass(type(each), Constant)
        and each.owner is None
        and getattr(each.type, "dtype", None) == dtype
    ]


def get_mode(backend: str = "jax", device: str | None = None) -> Mode:
    """Return the mode to hand to ``pytensor.function(..., mode=...)``.

    Parameters
    ----------
    backend : {'jax', 'numba', 'c'}
        ``'jax'`` compiles fastest and runs fastest, on CPU, GPU or TPU; it takes inputs of any length and
        batch, each new shape being compiled when it is first seen. ``'numba'`` and ``'c'`` compile once
        for all shapes.
    device : str, optional
        For JAX: ``'cpu'``, ``'gpu'`` or ``'tpu'``, or one of several, as in ``'gpu:1'``. Unless given, JAX chooses: a
        GPU or TPU that it finds and was installed for, else the CPU.

    Returns
    -------
    pytensor.compile.mode.Mode

    Raises
    ------
    ValueError
        If `backend` is none of these, or JAX finds no such device.
    TypeError
        If `device` is not a name.
    ImportError
        If what the back end needs is not installed; the message says what to install.

    Notes
    -----
    **Results.** Functions that JAX runs return before the work is done. Their results are arrays of JAX, which wait
    when they are read. Results of 64 bits (float64, int64) are NumPy arrays instead: JAX would cut them to 32 bits as
    soon as you compute with them.

    **JAX's settings.** Our functions compute in 64 bits where the graph does, and leave ``jax_enable_x64`` as your
    program has set it. One setting of JAX is changed for the process: JAX keeps on disk what XLA compiled, see
    :mod:`lasagne.backends.compilation_cache`.

    **Logarithms.** Few of PyTensor's rewrites run in the mode for JAX. Those that do keep logarithms of sigmoids and
    softmaxes finite that you write by hand, as ``pt.log(1 - pt.sigmoid(x))``, and ``pt.log(pt.exp(x).sum())``,
    ``pt.logsumexp``, ``pt.logaddexp`` and ``pt.log(1 + pt.exp(x))``, with their gradients. They do not see through all
    that a gradient may be made of: where an index or a reshape stands between a probability and its logarithm, the
    gradient is NaN if the probability is 0 in the numbers at hand. The losses of :mod:`lasagne.objectives`,
    ``pt.softplus`` and ``pt.special.log_softmax`` are exact everywhere.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown back end {backend!r}: expected one of {BACKENDS}")
    if device is not None and not isinstance(device, str):
        raise TypeError(
            f"get_mode: device must be a name such as 'cpu', 'gpu' or 'gpu:1', or None, not {device!r}"
        )
    if backend == "jax":
        return _jax_mode(device)
    if device not in (None, "cpu"):
        raise ValueError(f"the {backend} back end runs on the CPU only, not on {device!r}")
    if backend == "numba":
        _require("numba", "the numba back end", "pip install numba")
        importlib.import_module("lasagne.backends.numba_dispatch")  # registers conversions
        return _lock(LockedMode, "NUMBA")
    if not pytensor.config.cxx:
        raise ImportError(
            "the c back end needs a C++ compiler, and PyTensor found none: install g++ (on Debian and "
            "Ubuntu: apt install g++), or set PYTENSOR_FLAGS=cxx=/path/to/compiler"
        )
    if shutil.which(pytensor.config.cxx) is None:
        raise ImportError(f"the c back end: no compiler at {pytensor.config.cxx!r} (config.cxx)")
    return _lock(CMode, "CVM")


def _lock(kind: type[LockedMode], name: str) -> Mode:
    """Return a mode of PyTensor, whose functions run in one thread at a time."""
    mode = pytensor.compile.mode.get_mode(name)
    return kind(mode.linker, mode.provided_optimizer)


def _require(module: str, what: str, install: str) -> None:
    """Raise an error if a package is not installed."""
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"{what} needs the package {module!r}: {install}")


def _jax_mode(name: str | None) -> Mode:
    """Return the mode for JAX on a device."""
    _require("jax", "the jax back end", "pip install jax")
    from lasagne.backends.jax_linker import FlexibleJAXLinker
    from lasagne.backends.jax_rewrites import EXACT_LOGARITHMS

    device = None if name is None else _find_device(name)
    # XLA optimises by itself: few rewrites compile faster and run no slower than PyTensor's full set
    # and PyTensor's rewrite of sums with sparse parts fails, loudly, on sums that broadcast
    query = RewriteDatabaseQuery(
        include=["minimum_compile", "merge", "jax", EXACT_LOGARITHMS],
        exclude=["local_add_of_sparse_write"],
    )
    return JAXMode(FlexibleJAXLinker(device), query)


def divide_over(mode: Mode, processes: "Processes") -> Mode:
    """Return a mode of :func:`get_mode` for JAX, whose functions divide their work over the devices of processes."""
    from lasagne.backends.jax_linker import FlexibleJAXLinker

    linker: Any = mode.linker
    return JAXMode(FlexibleJAXLinker(linker.device, processes), mode.provided_optimizer)


def _find_device(name: str) -> "jax.Device":
    """Return JAX's device for a name such as ``'gpu'`` or ``'gpu:1'``."""
    import jax

    platform, colon, number = name.partition(":")
    try:
        devices = jax.local_devices(backend=platform)
    except RuntimeError as error:
        found = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        raise ValueError(
            f"JAX finds no device {name!r}, only: {found}. For NVIDIA GPUs: pip install 'jax[cuda13]'"
        ) from error
    if not colon:
        return devices[0]
    if not number.isdecimal() or int(number) >= len(devices):
        raise ValueError(
            f"JAX finds no device {name!r}, only {len(devices)} of the kind {platform!r}"
        )
    return devices[int(number)]
