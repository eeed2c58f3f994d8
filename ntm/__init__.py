"""Neural networks with a memory, as Lasagne layers."""

__version__ = "0.4.0"
