"""Neural networks with a memory, as Lasagne layers."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lasagne.accumulation import accumulate_gradients
    from lasagne.backends import get_mode, use_jax
    from lasagne.devices import start_devices
    from ntm import updates as updates
    from ntm.addressing.nearest import HyperplaneIndex
    from ntm.controllers import (
        Controller,
        DenseController,
        GRUController,
        LSTMController,
        RecurrentController,
        StackController,
    )
    from ntm.data import Dataset
    from ntm.exporting import export
    from ntm.heads import (
        DNCReadHead,
        DNCWriteHead,
        Head,
        MemoryHead,
        ReadHead,
        SAMReadHead,
        SAMWriteHead,
        SDNCReadHead,
        WriteHead,
    )
    from ntm.layers import (
        DNCLayer,
        DNCState,
        IndexedSAMState,
        IndexedSDNCState,
        MemoryLayer,
        NTMLayer,
        NTMState,
        SAMLayer,
        SAMState,
        SDNCLayer,
        SDNCState,
        SharedMemoryLayer,
        StepFunction,
        get_output_and_states,
    )
    from ntm.memory import Memory
    from ntm.models import load_model
    from ntm.prediction import Predictor, generate, look_inside
    from ntm.serialization import (
        load,
        load_parameters,
        read_notes,
        register,
        save,
        set_first_layout_values,
        set_later_layout_values,
    )
    from ntm.summaries import summary
    from ntm.traces import HeadTrace, Trace
    from ntm.training import Trainer

__version__ = "0.5.0"

__all__ = [
    "Controller",
    "DNCLayer",
    "DNCReadHead",
    "DNCState",
    "DNCWriteHead",
    "Dataset",
    "DenseController",
    "GRUController",
    "Head",
    "HeadTrace",
    "HyperplaneIndex",
    "IndexedSAMState",
    "IndexedSDNCState",
    "LSTMController",
    "Memory",
    "MemoryHead",
    "MemoryLayer",
    "NTMLayer",
    "NTMState",
    "Predictor",
    "ReadHead",
    "RecurrentController",
    "SAMLayer",
    "SAMReadHead",
    "SAMState",
    "SAMWriteHead",
    "SDNCLayer",
    "SDNCReadHead",
    "SDNCState",
    "SharedMemoryLayer",
    "StackController",
    "StepFunction",
    "Trace",
    "Trainer",
    "WriteHead",
    "accumulate_gradients",
    "export",
    "generate",
    "get_mode",
    "get_output_and_states",
    "load",
    "load_model",
    "load_parameters",
    "look_inside",
    "read_notes",
    "register",
    "save",
    "set_first_layout_values",
    "set_later_layout_values",
    "start_devices",
    "summary",
    "use_jax",
]

#: Where each name comes from
_MODULES = {
    "lasagne.accumulation": ("accumulate_gradients",),
    "lasagne.backends": ("get_mode", "use_jax"),
    "lasagne.devices": ("start_devices",),
    "ntm.addressing.nearest": ("HyperplaneIndex",),
    "ntm.controllers": (
        "Controller",
        "DenseController",
        "GRUController",
        "LSTMController",
        "RecurrentController",
        "StackController",
    ),
    "ntm.data": ("Dataset",),
    "ntm.exporting": ("export",),
    "ntm.heads": (
        "DNCReadHead",
        "DNCWriteHead",
        "Head",
        "MemoryHead",
        "ReadHead",
        "SAMReadHead",
        "SAMWriteHead",
        "SDNCReadHead",
        "WriteHead",
    ),
    "ntm.layers": (
        "DNCLayer",
        "DNCState",
        "IndexedSAMState",
        "IndexedSDNCState",
        "MemoryLayer",
        "NTMLayer",
        "NTMState",
        "SAMLayer",
        "SAMState",
        "SDNCLayer",
        "SDNCState",
        "SharedMemoryLayer",
        "StepFunction",
        "get_output_and_states",
    ),
    "ntm.memory": ("Memory",),
    "ntm.models": ("load_model",),
    "ntm.prediction": ("Predictor", "generate", "look_inside"),
    "ntm.serialization": (
        "load",
        "load_parameters",
        "read_notes",
        "register",
        "save",
        "set_first_layout_values",
        "set_later_layout_values",
    ),
    "ntm.summaries": ("summary",),
    "ntm.traces": ("HeadTrace", "Trace"),
    "ntm.training": ("Trainer",),
}


def __getattr__(name: str) -> Any:
    """Import a name, or a module of this package, when a program first uses it.

    So `import ntm` takes no time, and Ctrl-C ends the command line at any time without a traceback.
    """
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(module), name)
            break
    else:
        if name.startswith("_") or find_spec(f"ntm.{name}") is None:
            raise AttributeError(f"module 'ntm' has no attribute {name!r}")
        value = import_module(f"ntm.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
