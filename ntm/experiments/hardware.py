"""The machine that measurements were made on."""

import os
import platform
from pathlib import Path


def get_processor() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_machine() -> str:
    """Return processor, cores and Python version in one line."""
    return f"{get_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
