"""A user's data: arrays, ragged lists, folders, iterables and streams as batches for a trainer. NumPy only."""

from ntm.data.dataset import Dataset
from ntm.data.epochs import Epochs
from ntm.data.files import write_npz
from ntm.data.iterables import Batches
from ntm.data.layout import DataBatch, InputLayout, Layout
from ntm.data.source import Source, SourceExhausted
from ntm.data.sources import make_source
from ntm.data.streams import Stream

__all__ = [
    "Batches",
    "DataBatch",
    "Dataset",
    "Epochs",
    "InputLayout",
    "Layout",
    "Source",
    "SourceExhausted",
    "Stream",
    "make_source",
    "write_npz",
]
