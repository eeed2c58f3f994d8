"""Neural networks with a memory, as Lasagne layers."""

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
