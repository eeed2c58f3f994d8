"""The Lasagne layer API on PyTensor: layers, initializers, objectives, updates, regularization."""

from . import (
    accumulation,
    backends,
    devices,
    init,
    layers,
    nonlinearities,
    objectives,
    random,
    regularization,
    updates,
    utils,
)

__version__ = "0.2.dev1"

__all__ = [
    "accumulation",
    "backends",
    "devices",
    "init",
    "layers",
    "nonlinearities",
    "objectives",
    "random",
    "regularization",
    "updates",
    "utils",
]
