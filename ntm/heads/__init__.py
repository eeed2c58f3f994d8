"""The heads of memory networks: dense layers from the controller to the parameters of a read or a write."""

from ntm.heads.base import MemoryHead
from ntm.heads.dnc import DNCReadHead, DNCWriteHead
from ntm.heads.ntm import Head, ReadHead, WriteHead
from ntm.heads.sparse import SAMReadHead, SAMWriteHead, SDNCReadHead

__all__ = [
    "DNCReadHead",
    "DNCWriteHead",
    "Head",
    "MemoryHead",
    "ReadHead",
    "SAMReadHead",
    "SAMWriteHead",
    "SDNCReadHead",
    "WriteHead",
]
