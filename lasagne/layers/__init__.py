# ruff: noqa: F403 - every module lists its public names in __all__
"""Layers, and the functions of networks made of them."""

from .base import *
from .dense import *
from .helper import *
from .input import *
