"""Neural networks with a memory, as Lasagne layers."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ntm import updates as updates
    from ntm.backends import get_mode
    from ntm.checkpoints import load, save
    from ntm.controllers import DenseController, GRUController, LSTMController, RecurrentController
    from ntm.dnc import DNCLayer
    from ntm.dnc_heads import DNCReadHead, DNCWriteHead
    from ntm.heads import ReadHead, WriteHead
    from ntm.layers import NTMLayer, StepFunction, get_output_and_states
    from ntm.memory import Memory
    from ntm.nearest import HyperplaneIndex
    from ntm.sdnc import SDNCLayer
    from ntm.shared_memory import SharedMemoryLayer
    from ntm.sparse import SAMLayer
    from ntm.sparse_heads import SAMReadHead, SAMWriteHead, SDNCReadHead

__version__ = "0.4.0"

__all__ = [
    "DNCLayer",
    "DNCReadHead",
    "DNCWriteHead",
    "DenseController",
    "GRUController",
    "HyperplaneIndex",
    "LSTMController",
    "Memory",
    "NTMLayer",
    "ReadHead",
    "RecurrentController",
    "SAMLayer",
    "SAMReadHead",
    "SAMWriteHead",
    "SDNCLayer",
    "SDNCReadHead",
    "SharedMemoryLayer",
    "StepFunction",
    "WriteHead",
    "get_mode",
    "get_output_and_states",
    "load",
    "save",
]

#: The modules that these are defined in
_MODULES = {
    "backends": ("get_mode",),
    "checkpoints": ("load", "save"),
    "controllers": ("DenseController", "GRUController", "LSTMController", "RecurrentController"),
    "dnc": ("DNCLayer",),
    "dnc_heads": ("DNCReadHead", "DNCWriteHead"),
    "heads": ("ReadHead", "WriteHead"),
    "layers": ("NTMLayer", "StepFunction", "get_output_and_states"),
    "memory": ("Memory",),
    "nearest": ("HyperplaneIndex",),
    "sdnc": ("SDNCLayer",),
    "shared_memory": ("SharedMemoryLayer",),
    "sparse": ("SAMLayer",),
    "sparse_heads": ("SAMReadHead", "SAMWriteHead", "SDNCReadHead"),
}


def __getattr__(name):
    """What is defined in a module, or a module, is imported when it is first used.

    So `import ntm` takes no time, and Ctrl-C ends the command line at any time without a traceback.
    """
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"ntm.{module}"), name)
            break
    else:
        if name.startswith("_") or find_spec(f"ntm.{name}") is None:
            raise AttributeError(f"module 'ntm' has no attribute {name!r}")
        value = import_module(f"ntm.{name}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
