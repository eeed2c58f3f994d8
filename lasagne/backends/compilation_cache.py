"""What XLA compiled is kept on disk, so that the next process need not compile it again.

JAX's persistent compilation cache is used, in the user's cache folder and bounded in size; two processes may share it.
JAX's own settings go before ours: ``JAX_COMPILATION_CACHE_DIR`` for another folder, ``JAX_COMPILATION_CACHE_MAX_SIZE``
for another size in bytes, ``JAX_ENABLE_COMPILATION_CACHE=false`` to keep nothing.
"""

import hashlib
import platform
from pathlib import Path
from typing import Any

import jax
from platformdirs import user_cache_path

MAX_BYTES = 512 * 2**20
# Shorter compilations are not worth a file
MIN_SECONDS = 0.2


def get_cache_dir():
    """The folder for this kind of machine: what was compiled for one processor may not run on another."""
    return user_cache_path("ntm-lasagne") / f"xla-{_describe_processor()}"


def _describe_processor():
    """A short text that differs between processors with other instructions."""
    features = [platform.machine(), platform.processor()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        features += [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return hashlib.sha256("\n".join(sorted(set(features))).encode()).hexdigest()[:12]


def use_compilation_cache():
    """Turn the cache on, unless the user has set it up or turned it off, or its folder cannot be made."""
    config: Any = jax.config
    if not config.jax_enable_compilation_cache or config.jax_compilation_cache_dir is not None:
        return
    path = get_cache_dir()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if config.jax_compilation_cache_max_size == -1:
        config.update("jax_compilation_cache_max_size", MAX_BYTES)
    config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    config.update("jax_compilation_cache_dir", str(path))
