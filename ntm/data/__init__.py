"""A user's data: arrays, ragged lists, folders, iterables and streams as batches for a trainer. NumPy only."""

from ntm.data.dataset import Dataset
from ntm.data.epochs import Epochs
from ntm.data.layout import DataBatch, InputLayout, Layout
from ntm.data.source import Source, SourceExhausted

__all__ = [
    "DataBatch",
    "Dataset",
    "Epochs",
    "InputLayout",
    "Layout",
    "Source",
    "SourceExhausted",
]
