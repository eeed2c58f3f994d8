# ruff: noqa: F403 - every module lists its public names in __all__
"""Layers, and the functions of networks made of them."""

from . import (
    base,
    dense,
    embedding,
    helper,
    input,
    merge,
    noise,
    normalization,
    recurrent,
    shape,
    special,
)
from .base import *
from .dense import *
from .embedding import *
from .helper import *
from .input import *
from .merge import *
from .noise import *
from .normalization import *
from .recurrent import *
from .shape import *
from .special import *

__all__ = [
    name
    for module in (
        base,
        dense,
        embedding,
        helper,
        input,
        merge,
        noise,
        normalization,
        recurrent,
        shape,
        special,
    )
    for name in module.__all__
]
