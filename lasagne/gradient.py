"""Functions of tensors with a gradient of their own.

The gradient that differentiation gives is right, but not always the one that takes the least time: what is broadcast in
the function becomes a sum in its gradient, and sums over the rows of large matrices are slow.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter

__all__ = ["OwnGradient", "apply_with_gradient", "expand_own_gradient"]


def apply_with_gradient(
    function: Callable[..., Sequence[Variable]],
    gradient: Callable[..., Sequence[Variable]],
    *inputs: Variable,
) -> list[Any]:
    """Apply a function whose gradient is given as another function.

    Parameters
    ----------
    function : callable
        From floating point tensors to a list of them. It and `gradient` are to be functions of a module, as graphs with
        the same ones are the same.
    gradient : callable
        From three lists, the inputs, the outputs and the gradients with respect to the outputs, to the list of the
        gradients with respect to the inputs.
    *inputs : tensors

    Returns
    -------
    list of tensors
    """
    return OwnGradient(function, gradient).make_node(*map(pt.as_tensor, inputs)).outputs


class OwnGradient(Op):
    """A function with a gradient of its own; see :func:`apply_with_gradient`.

    A back end that differentiates by itself may keep the node; for the others it is expanded.
    """

    __props__ = ("function", "gradient")

    def __init__(
        self,
        function: Callable[..., Sequence[Variable]],
        gradient: Callable[..., Sequence[Variable]],
    ) -> None:
        self.function = function
        self.gradient = gradient

    def make_node(self, *inputs: Variable) -> Apply:
        copies = [variable.type() for variable in inputs]
        outputs = self.function(*copies)
        return Apply(self, list(inputs), [output.type() for output in outputs])

    def make_graphs(self, node: Apply) -> tuple[FunctionGraph, FunctionGraph]:
        """Return the function, and its gradient from inputs, outputs and outputs' gradients, as two graphs."""
        inputs, outputs, grads = (
            [variable.type() for variable in variables]
            for variables in (node.inputs, node.outputs, node.outputs)
        )
        return (
            FunctionGraph(inputs, self.function(*inputs), clone=True),
            FunctionGraph(
                [*inputs, *outputs, *grads],
                self.gradient(inputs, outputs, grads),
                clone=True,
            ),
        )

    def pullback(
        self, inputs: Variable, outputs: Sequence[Any], output_grads: Sequence[Variable]
    ) -> list[Variable]:
        grads = [
            output.zeros_like() if isinstance(grad.type, DisconnectedType) else grad
            for output, grad in zip(outputs, output_grads, strict=True)
        ]
        return list(self.gradient(inputs, outputs, grads))

    def perform(self, node: Apply, inputs: Variable, output_storage: Any) -> None:
        raise NotImplementedError(
            "an OwnGradient must be expanded before it is run: use a mode that rewrites"
        )


@node_rewriter([OwnGradient])
def expand_own_gradient(fgraph: FunctionGraph, node: Apply) -> list[Variable]:
    """Replace the node by the function, once its gradient has been taken."""
    return [
        old.type.filter_variable(new) if new.type != old.type else new
        for old, new in zip(node.outputs, node.op.function(*node.inputs), strict=True)
    ]


# After the loops are expanded, since their gradients take those of what is in them
optdb.register(
    "expand_own_gradients",
    dfs_rewriter(expand_own_gradient),
    "fast_compile",
    "fast_run",
    "minimum_compile",
    position=-0.01,
)
