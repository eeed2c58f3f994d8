"""Networks taken out of the library: a file that JAX runs without PyTensor, Lasagne and this package."""

from ntm.exporting.files import export

__all__ = ["export"]
