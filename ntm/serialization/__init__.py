"""Networks in files that hold names and numbers, never code."""

from ntm.serialization.networks import (
    load,
    load_parameters,
    save,
    save_parameters,
    set_first_layout_values,
    set_later_layout_values,
)
from ntm.serialization.registry import register

__all__ = [
    "load",
    "load_parameters",
    "register",
    "save",
    "save_parameters",
    "set_first_layout_values",
    "set_later_layout_values",
]
