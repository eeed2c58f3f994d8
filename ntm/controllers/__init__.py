"""The controllers: what reads the input and the read vectors, and drives the heads."""

from ntm.controllers.base import Controller
from ntm.controllers.dense import DenseController
from ntm.controllers.gated import GatedController
from ntm.controllers.recurrent import (
    GRU_EQUATIONS,
    GRUController,
    LSTMController,
    RecurrentController,
)
from ntm.controllers.stack import StackController

__all__ = [
    "GRU_EQUATIONS",
    "Controller",
    "DenseController",
    "GRUController",
    "GatedController",
    "LSTMController",
    "RecurrentController",
    "StackController",
]
