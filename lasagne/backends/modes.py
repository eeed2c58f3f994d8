"""The compilation modes: how PyTensor compiles a graph."""

import importlib.util
import shutil

import pytensor
from pytensor.graph.rewriting.db import RewriteDatabaseQuery

from lasagne.backends.functions import CMode, JAXMode, LockedMode

BACKENDS = ("jax", "numba", "c")


def get_mode(backend="jax", device=None):
    """The mode to hand to ``pytensor.function(..., mode=...)``.

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
    ImportError
        If what the back end needs is not installed; the message says what to install.

    Notes
    -----
    Few of PyTensor's rewrites run in the mode for JAX. Those that do keep logarithms of sigmoids and softmaxes finite
    that you write by hand, as ``pt.log(1 - pt.sigmoid(x))``, and ``pt.log(pt.exp(x).sum())``, ``pt.logsumexp``,
    ``pt.logaddexp`` and ``pt.log(1 + pt.exp(x))``, with their gradients. They do not see through all that a gradient
    may be made of: where an index or a reshape stands between a probability and its logarithm, the gradient is NaN if
    the probability is 0 in the numbers at hand. The losses of :mod:`lasagne.objectives`, ``pt.softplus`` and
    ``pt.special.log_softmax`` are exact everywhere.
    """
    if backend == "jax":
        return _jax_mode(device)
    if device not in (None, "cpu"):
        raise ValueError(f"the {backend} back end runs on the CPU only, not on {device!r}")
    if backend == "numba":
        _require("numba", "the numba back end", "pip install numba")
        importlib.import_module("lasagne.backends.numba_dispatch")  # registers conversions
        return _lock(LockedMode, "NUMBA")
    if backend == "c":
        if not pytensor.config.cxx:
            raise ImportError(
                "the c back end needs a C++ compiler, and PyTensor found none: install g++ (on Debian and "
                "Ubuntu: apt install g++), or set PYTENSOR_FLAGS=cxx=/path/to/compiler"
            )
        if shutil.which(pytensor.config.cxx) is None:
            raise ImportError(
                f"the c back end: no compiler at {pytensor.config.cxx!r} (config.cxx)"
            )
        return _lock(CMode, "CVM")
    raise ValueError(f"unknown back end {backend!r}: expected one of {BACKENDS}")


def _lock(kind, name):
    """A mode of PyTensor, whose functions run in one thread at a time."""
    mode = pytensor.compile.mode.get_mode(name)
    return kind(mode.linker, mode.provided_optimizer)


def _require(module, what, install):
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"{what} needs the package {module!r}: {install}")


def _jax_mode(device):
    _require("jax", "the jax back end", "pip install jax")
    from lasagne.backends.jax_linker import FlexibleJAXLinker
    from lasagne.backends.jax_rewrites import EXACT_LOGARITHMS

    if device is not None:
        device = _find_device(device)

    # XLA optimises by itself: few rewrites compile faster and run no slower than PyTensor's full set
    # and PyTensor's rewrite of sums with sparse parts fails, loudly, on sums that broadcast
    query = RewriteDatabaseQuery(
        include=["minimum_compile", "merge", "jax", EXACT_LOGARITHMS],
        exclude=["local_add_of_sparse_write"],
    )
    return JAXMode(FlexibleJAXLinker(device), query)


def _find_device(name):
    """JAX's device for a name such as ``'gpu'`` or ``'gpu:1'``."""
    import jax

    platform, _, number = name.partition(":")
    try:
        devices = jax.devices(platform)
    except RuntimeError as error:
        found = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise ValueError(
            f"JAX finds no device {name!r}, only: {found}. For NVIDIA GPUs: pip install 'ntm-lasagne[cuda]'"
        ) from error
    if not (number or "0").isdigit() or int(number or 0) >= len(devices):
        raise ValueError(
            f"JAX finds no device {name!r}, only {len(devices)} of the kind {platform!r}"
        )
    return devices[int(number or 0)]
