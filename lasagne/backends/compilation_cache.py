"""What XLA compiled is kept on disk, so that the next process need not compile it again.

JAX's persistent compilation cache is used, in the user's cache folder and bounded in size. Two processes may share it.
JAX has one such cache for a whole process, so what a program compiles with ``jax.jit`` for itself is kept there too if
that takes longer than :data:`MIN_SECONDS`. What the program, or its environment, has set is left as it is:
``JAX_COMPILATION_CACHE_DIR`` for another folder, ``JAX_COMPILATION_CACHE_MAX_SIZE`` for another size in bytes,
``JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`` for other compilations, ``JAX_ENABLE_COMPILATION_CACHE=false`` to keep
nothing.
"""

import hashlib
import os
import platform
from pathlib import Path

import jax
from platformdirs import user_cache_path

__all__ = ["MAX_BYTES", "MIN_SECONDS", "get_cache_dir", "use_compilation_cache"]

MAX_BYTES = 512 * 2**20
# Shorter compilations are not worth a file
MIN_SECONDS = 0.2
# What JAX takes if nothing is set
_JAX_MIN_SECONDS = 1.0


def get_cache_dir() -> Path:
    """Return the folder for this kind of machine: what was compiled for one processor may not run on another."""
    return user_cache_path("ntm-lasagne") / f"xla-{_describe_processor()}"


def _describe_processor() -> str:
    """Return a short text that differs between processors with other instructions."""
    features = [platform.machine(), platform.processor()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        features += [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return hashlib.sha256("\n".join(sorted(set(features))).encode()).hexdigest()[:12]


def use_compilation_cache() -> None:
    """Turn the cache on, unless the user has set it up or turned it off, or its folder cannot be made."""
    settings = jax.config.values
    if not settings["jax_enable_compilation_cache"]:
        return
    if settings["jax_compilation_cache_dir"] is not None:
        return
    path = get_cache_dir()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if settings["jax_compilation_cache_max_size"] == -1:
        jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    name = "jax_persistent_cache_min_compile_time_secs"
    if settings[name] == _JAX_MIN_SECONDS and name.upper() not in os.environ:
        jax.config.update(name, MIN_SECONDS)
    jax.config.update("jax_compilation_cache_dir", str(path))
