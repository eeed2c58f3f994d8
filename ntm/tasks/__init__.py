"""The tasks that memory networks are measured on: generators of NumPy arrays."""

from ntm.tasks.copy import CopyTask

__all__ = ["CopyTask"]
