"""The compilation modes: how PyTensor compiles a graph."""

import importlib.util
import shutil

import pytensor
from pytensor.compile.mode import Mode
from pytensor.graph.rewriting.db import RewriteDatabaseQuery

BACKENDS = ("jax", "numba", "c")


def get_mode(backend="jax"):
    """The mode to hand to ``pytensor.function(..., mode=...)``.

    Parameters
    ----------
    backend : {'jax', 'numba', 'c'}
        ``'jax'`` compiles fastest and runs fastest, on CPU, GPU or TPU; it takes inputs of any length and
        batch, each new shape being compiled when it is first seen. ``'numba'`` and ``'c'`` compile once
        for all shapes.

    Returns
    -------
    pytensor.compile.mode.Mode

    Raises
    ------
    ValueError
        If `backend` is none of these.
    ImportError
        If what the back end needs is not installed; the message says what to install.
    """
    if backend == "jax":
        return _jax_mode()
    if backend == "numba":
        _require("numba", "the numba back end", "pip install numba")
        return pytensor.compile.mode.get_mode("NUMBA")
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
        return pytensor.compile.mode.get_mode("CVM")
    raise ValueError(f"unknown back end {backend!r}: expected one of {BACKENDS}")


def _require(module, what, install):
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"{what} needs the package {module!r}: {install}")


def _jax_mode():
    _require("jax", "the jax back end", "pip install jax")
    from ntm.jax_linker import FlexibleJAXLinker

    # XLA optimises by itself: few rewrites compile faster and run no slower than PyTensor's full set
    # and PyTensor's rewrite of sums with sparse parts fails, loudly, on sums that broadcast
    query = RewriteDatabaseQuery(
        include=["minimum_compile", "merge", "jax"], exclude=["local_add_of_sparse_write"]
    )
    return Mode(FlexibleJAXLinker(), query)
