"""The memory layers: a controller, heads and a memory, run over a sequence."""

from ntm.layers.base import MemoryLayer
from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.layers.options import LoopOptions
from ntm.layers.sam import SAMLayer
from ntm.layers.sdnc import SDNCLayer
from ntm.layers.shared import SharedMemoryLayer
from ntm.layers.state import (
    DNCState,
    IndexedSAMState,
    IndexedSDNCState,
    MemoryState,
    NTMState,
    SAMState,
    SDNCState,
)
from ntm.layers.stepping import (
    StepFunction,
    get_output_and_states,
    make_carried_states,
    reset_rows,
)

__all__ = [
    "DNCLayer",
    "DNCState",
    "IndexedSAMState",
    "IndexedSDNCState",
    "LoopOptions",
    "MemoryLayer",
    "MemoryState",
    "NTMLayer",
    "NTMState",
    "SAMLayer",
    "SAMState",
    "SDNCLayer",
    "SDNCState",
    "SharedMemoryLayer",
    "StepFunction",
    "get_output_and_states",
    "make_carried_states",
    "reset_rows",
]
