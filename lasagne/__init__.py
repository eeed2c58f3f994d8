"""The Lasagne layer API on PyTensor: layers, initializers, objectives, updates, regularization."""

from . import (
    init,
    layers,
    nonlinearities,
    objectives,
    random,
    regularization,
    shared_values,  # noqa: F401  (makes back ends work together)
    updates,
    utils,
)

__version__ = "0.2.dev1"

__all__ = [
    "init",
    "layers",
    "nonlinearities",
    "objectives",
    "random",
    "regularization",
    "updates",
    "utils",
]
