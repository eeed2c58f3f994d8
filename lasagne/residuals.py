"""How many bytes the gradient of a loop over time keeps of the forward pass, and needs on the way back.

The counts follow how JAX runs loops (`lasagne.backends.jax_loop`): the residuals are the states before each step, and
the gradient computes each step again.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from pytensor.graph.basic import Variable
from pytensor.tensor.math import Dot
from pytensor.tensor.type import TensorType

from .utils import is_float

__all__ = ["LoopBytes", "count_loop_bytes", "count_tensor_bytes"]


class LoopBytes(NamedTuple):
    """How many bytes the gradient of a loop takes.

    Attributes
    ----------
    kept : int
        From the forward pass to the way back: the states before each step (of every so many steps, with gradient
        checkpointing), the rows that a sparse memory overwrote, and the sequences that enter the loop.
    work : int
        On the way back: the gradients of the sequences, and, of each step, those of its products with weights; with
        gradient checkpointing, the states of the steps that run again; the memory of a sparse loop and its gradient.
    """

    kept: int
    work: int


def count_tensor_bytes(variable: Any, batch_size: int = 1) -> int:
    """Return how many bytes a tensor takes.

    Parameters
    ----------
    variable : variable
        One that is no tensor, such as a random generator, takes none.
    batch_size : int
        The first size of the tensor if the size is not known. Other sizes that are not known count as one.
    """
    if not isinstance(variable.type, TensorType):
        return 0
    shape = variable.type.shape
    sizes = [(batch_size if k == 0 else 1) if n is None else n for k, n in enumerate(shape)]
    return int(np.prod(sizes, dtype=np.int64)) * np.dtype(variable.type.dtype).itemsize


def count_loop_bytes(op: Any, num_steps: int, batch_size: int = 1) -> LoopBytes:
    """Return how many bytes the gradient of a loop takes.

    Parameters
    ----------
    op : lasagne.loop.Loop
    num_steps, batch_size : int

    Returns
    -------
    LoopBytes
    """

    def count(variables: Iterable[Variable]) -> int:
        return sum(count_tensor_bytes(variable, batch_size) for variable in variables)

    step = op.fgraph
    each, once = op.list_residuals()
    sequences = step.inputs[: op.num_sequences]
    constants = set(step.inputs[op.num_sequences + op.num_states + op.num_carried :])
    states = {*step.inputs, *step.outputs} - {*sequences, *constants}
    products: list[Variable] = []
    for node in step.apply_nodes if not once else ():
        if isinstance(node.op, Dot) and node.inputs[1] in constants:
            products += [node.outputs[0], *(v for v in node.inputs[:1] if v not in states)]
    every = op.checkpoint_every
    again = min(every, num_steps) if every > 1 else 0
    rounds = -(-num_steps // every)
    return LoopBytes(
        rounds * count(each) + num_steps * count(sequences),
        again * count(each)
        + count(once)
        + num_steps * count(filter(is_float, sequences))
        + (again or num_steps) * count(products),
    )
