"""Networks in files. A file holds names and numbers, never code."""

from ntm.serialization.layouts import set_first_layout_values, set_later_layout_values
from ntm.serialization.networks import load, load_parameters, read_notes, save
from ntm.serialization.registry import register

__all__ = [
    "load",
    "load_parameters",
    "read_notes",
    "register",
    "save",
    "set_first_layout_values",
    "set_later_layout_values",
]
