"""Gradient accumulation: a batch runs in blocks, and the gradients of the blocks are added up.

What a gradient keeps of the forward pass, its residuals, grows with the batch. A block's residuals fit the processor's
cache, or the memory of a GPU, where those of the whole batch do not. The parts of a batch are independent of each
other, so that blocks may also run on several devices at once.

:func:`accumulate_gradients` stands beside `pytensor.grad`. Its node, :class:`Blocks`, holds the graph of one block. JAX
runs the blocks one after the other, and the devices side by side (`lasagne.backends.jax_accumulation`). Where PyTensor
compiles to C or Numba, the node is expanded into a `pytensor.scan` over the blocks.

Notation: B sequences in a batch, T steps.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.basic import GraphRewriter, dfs_rewriter, node_rewriter
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import TensorType

from .devices import start_devices
from .independence import DependenceError, check_independence
from .loop import Loop, are_equal_graphs, expand_loop, expand_node
from .processes import Processes
from .residuals import count_tensor_bytes
from .typing import Tensor, TensorLike

__all__ = [
    "AUTO",
    "Accumulated",
    "Blocks",
    "Bytes",
    "accumulate_gradients",
    "count_bytes",
    "fit_block_size",
]

#: Choose the size of a block by the bytes of a sequence and the size of the processor's cache
AUTO = "auto"
#: How much of the second-level cache a block takes: the states of a step, and all residuals. By measurement, see
#: docs/speed.md
STEP_SHARE, TOTAL_SHARE = 1 / 4, 6
#: The smallest block that is chosen. With one sequence, products with the weights are slow
SMALLEST = 2


class Accumulated(NamedTuple):
    """What :func:`accumulate_gradients` gives.

    Attributes
    ----------
    loss : scalar tensor
        The weighted mean of the losses of the batch, without the penalty.
    grads : list of tensors
        The gradient of the loss and the penalty with respect to each parameter.
    losses : tensor (B,)
        The loss of each sequence.
    outputs : list of tensors (B, ...)
        What else was asked for.
    """

    loss: Tensor
    grads: list[Any]
    losses: Tensor
    outputs: list[Any]


def accumulate_gradients(
    losses: Tensor,
    params: Sequence[Any],
    batch: Sequence[Any],
    weights: TensorLike | None = None,
    penalty: Tensor | float = 0,
    outputs: Sequence[Any] = (),
    whole: Sequence[Any] = (),
    block_size: int | str | None = AUTO,
    devices: int | str = 1,
    processes: Processes | None = None,
) -> Accumulated:
    """Differentiate the mean loss of a batch, block by block.

    The result is that of ``pytensor.grad((losses * weights).sum() / weights.sum() + penalty, params)``, up to rounding.
    It takes the memory of a block instead of that of the batch, and often less time.

    Parameters
    ----------
    losses : tensor (B,)
        The loss of each sequence. It must depend on this sequence alone, and not on the size of the batch.
    params : list of variables
        What to differentiate with respect to.
    batch : list of tensors (B, ...)
        The variables whose first axis is the batch: inputs, targets, masks, and states that are carried from call to
        call, shared variables among them.
    weights : tensor (B,), optional
        The weight of each sequence in the mean. All alike unless given.
    penalty : scalar expression
        Added to the mean loss before it is differentiated, for example by :mod:`lasagne.regularization`. It counts once
        and not once a block.
    outputs : list of tensors (B, ...)
        What else to compute for each sequence, for example the states after the last step.
    whole : list of variables
        Inputs that each block gets as they are, such as the weights of classes. Shared variables, and inputs without an
        axis, need not be named.
    block_size : int, 'auto' or None
        The largest number of sequences in a block. None for the whole batch. ``'auto'`` chooses by the bytes that the
        loops keep for a sequence and the processor's cache, on JAX and a CPU; elsewhere it is the whole batch.
    devices : int or 'all'
        Over how many CPU cores or GPUs to divide the batch. More than one needs JAX. CPU cores become devices of JAX
        here if JAX has not started yet, see :func:`lasagne.devices.start_devices`.
    processes : Processes, optional
        The processes over all of whose devices to divide the batch, see :mod:`lasagne.processes`.

    Returns
    -------
    Accumulated

    Raises
    ------
    DependenceError
        If the loss of a sequence depends on other sequences, as with batch normalisation. It is a `ValueError`.
    ValueError
        If `losses` is no vector, or depends on an input that is named neither in `batch` nor in `whole`; if there are
        fewer devices.
    TypeError
        If an argument is of another type than expected.

    Notes
    -----
    A batch that does not divide into blocks of one size is padded by copies of its last sequence, whose weight is zero.
    Dropout and other noise are drawn for each block: blocks of another size give other draws. The results have no
    gradient themselves.

    Whether sequences depend on each other is checked as far as the operations of the graph are known. What is behind an
    operation that the check cannot see through is taken on trust.

    Examples
    --------
    >>> x, w = pt.matrix("x"), pytensor.shared(np.zeros(3), "w")
    >>> losses = pt.sqr(x @ w - 1)
    >>> result = accumulate_gradients(losses, [w], [x], block_size=8)
    >>> updates = [(w, w - 0.1 * result.grads[0])]
    >>> train = pytensor.function([x], result.loss, updates=updates, mode="FAST_COMPILE")
    >>> float(train(np.ones((20, 3), x.dtype)))
    1.0
    """
    size = _check_block_size(block_size)
    _check_penalty(penalty)
    params, whole = list(params), [each for each in dict.fromkeys(whole) if each not in params]
    block = _Block(losses, params, list(batch), list(outputs), whole)
    given: Any = pt.ones((block.batch[0].shape[0],)) if weights is None else pt.as_tensor(weights)
    if given.ndim != 1:
        raise ValueError(
            f"accumulate_gradients: weights must be a vector, a weight for each sequence, not of {given.ndim} axes"
        )
    given = given.astype(losses.dtype)
    _check_dependence_on_params([given, *block.batch, *whole], params)
    op = Blocks(
        block.fgraph,
        len(block.split),
        len(block.generators),
        block.reached,
        size,
        start_devices(devices) if processes is None else processes.num_devices,
        block.unseen,
    )
    results: list[Any] = op.make_node(*block.batch, given, *block.generators, *block.whole).outputs
    total, *sums = results[: op.num_summed]
    joined = results[op.num_summed :]
    scale = given.sum()
    found = dict(zip(block.reached, sums, strict=True))
    means = [found[k] / scale if k in found else None for k in range(len(params))]
    grads = _add_penalty(means, penalty, params)
    return Accumulated(total / scale, grads, joined[0], joined[1:])


class _Block:
    """The graph of one block of a batch, and what it is applied to.

    Attributes
    ----------
    fgraph : FunctionGraph
        From a block of each variable of `batch`, the weights, the `generators` and what is `whole` to the weighted sum
        of the losses, its gradients with respect to `reached`, the losses, the other outputs, and new generators.
    batch, generators, whole : list of variables
    reached : list of int
        The parameters that the losses depend on.
    unseen : str
        The operation that the check of independence could not see through; empty if the check has seen all.
    """

    def __init__(
        self,
        losses: Tensor,
        params: list[Any],
        batch: list[Any],
        outputs: list[Any],
        whole: list[Any],
    ) -> None:
        _check_variables(losses, params, batch, outputs, whole)
        self.batch = batch
        results: list[Any] = [losses, *outputs]
        self.generators = _find_generators(results, batch)
        own: dict[Any, Any] = {variable: _of_any_length(variable) for variable in batch}
        own |= {variable: variable.type() for variable in (*params, *self.generators)}
        updated = [variable.default_update for variable in self.generators]
        own |= {variable: variable.type() for variable in whole}
        self.whole = [*params, *whole, *_find_whole([*results, *updated], own)]
        own |= {variable: variable.type() for variable in self.whole if variable not in own}
        # Operations are made anew: the variables of the batch have other types here, of any length
        results = clone_replace([*results, *updated], own, rebuild_strict=False)
        joined, updated = results[: 1 + len(outputs)], results[1 + len(outputs) :]
        try:
            self.unseen = check_independence(joined, [own[variable] for variable in batch])
        except DependenceError as error:
            raise _name_averages(error, [losses, *outputs], batch) from None
        weight = pt.vector("weight", dtype=losses.dtype)
        total = (joined[0] * weight).sum()
        grads: Any = pytensor.grad(
            total,
            [own[param] for param in params],
            disconnected_inputs="ignore",
            return_disconnected="none",
        )
        pairs = [(k, grad) for k, grad in enumerate(grads) if grad is not None]
        self.reached = [k for k, _ in pairs]
        self.split = [*(own[variable] for variable in batch), weight]
        others = [own[variable] for variable in (*self.generators, *self.whole)]
        self.fgraph = FunctionGraph(
            [*self.split, *others],
            [total, *(grad.astype(params[k].dtype) for k, grad in pairs), *joined, *updated],
            clone=True,
        )


def _check_variables(losses: Any, params: Any, batch: Any, outputs: Any, whole: Any) -> None:
    """Raise an error for variables that are none that fit."""
    caller = "accumulate_gradients"
    given = {"params": params, "batch": batch, "outputs": outputs, "whole": whole}
    for name, variables in given.items():
        for each in variables:
            if not isinstance(each, Variable):
                raise TypeError(f"{caller}: {name} must be symbolic variables, not {each!r}")
    if not isinstance(losses, Variable) or getattr(losses.type, "ndim", None) != 1:
        raise ValueError(
            f"{caller}: losses must be a vector, the loss of each sequence of a batch, not {losses!r}"
            + (f" with {losses.type.ndim} axes" if hasattr(losses, "type") else "")
        )
    if not batch:
        raise ValueError(
            f"{caller}: batch must name the variables whose first axis is the batch, such as inputs and targets"
        )
    for name, variables in (("batch", batch), ("outputs", outputs)):
        for each in variables:
            if getattr(each.type, "ndim", 0) < 1 or each.type.shape[0] == 1:
                raise ValueError(
                    f"{caller}: the first axis of {each} in {name} must be the batch, but its type is {each.type}"
                )
    for name, variables in (("params", params), ("batch", batch)):
        if len(set(variables)) < len(variables):
            raise ValueError(f"{caller}: {name} must contain each variable once, not {variables}")
    for name, variables in (("params", params), ("whole", whole)):
        if both := [variable for variable in variables if variable in batch]:
            raise ValueError(
                f"{caller}: {both[0]} is in batch and in {name}: what is divided has no gradient, and no block gets "
                "all of it"
            )


def _check_dependence_on_params(given: Sequence[Any], params: Sequence[Any]) -> None:
    """Raise a `ValueError` if something that gradients do not go through depends on a parameter."""
    for variable in given:
        for param in params:
            if variable is not param and param in set(ancestors([variable])):
                raise ValueError(
                    f"accumulate_gradients: {variable} depends on the parameter {param}, and gradients do not go "
                    "through weights, batch and whole: name the variables that it is computed from instead"
                )


def _check_block_size(block_size: Any) -> int | str | None:
    """Return the size of a block, a number as Python's own."""
    if block_size is None or (isinstance(block_size, str) and block_size == AUTO):
        return block_size
    if isinstance(block_size, bool) or not isinstance(block_size, int | np.integer):
        raise TypeError(
            f"accumulate_gradients: block_size must be a number of sequences, 'auto' or None, not {block_size!r}"
        )
    if block_size < 1:
        raise ValueError(
            f"accumulate_gradients: block_size must be positive, 'auto' or None, not {block_size}"
        )
    return int(block_size)


def _check_penalty(penalty: Any) -> None:
    if isinstance(penalty, Variable):
        if getattr(penalty.type, "ndim", None) != 0:
            raise ValueError(
                f"accumulate_gradients: penalty must be a scalar, not {penalty} of type {penalty.type}"
            )
    elif np.ndim(penalty) or not isinstance(penalty, int | float | np.number | np.ndarray):
        raise TypeError(
            f"accumulate_gradients: penalty must be a scalar expression or a number, not {penalty!r}"
        )


def _find_updated(results: Sequence[Any], batch: Sequence[Any]) -> list[Any]:
    """Return the shared variables that results depend on and that every function with them updates."""
    return [
        variable
        for variable in ancestors(results, blockers=batch)
        if isinstance(variable, SharedVariable)
        and variable.default_update is not None
        and variable not in batch
    ]


def _find_generators(results: Sequence[Any], batch: Sequence[Any]) -> list[Any]:
    """Return the random generators that the results draw from."""
    updated = _find_updated(results, batch)
    return [variable for variable in updated if isinstance(variable.type, RandomType)]


def _name_averages(
    error: DependenceError, results: Sequence[Any], batch: Sequence[Any]
) -> DependenceError:
    """Return the error to raise: one that says what to do where layers with batch normalisation are the reason."""
    updated = _find_updated(results, batch)
    averages = [variable for variable in updated if not isinstance(variable.type, RandomType)]
    if not averages:
        return error
    return DependenceError(
        "accumulate_gradients: the losses depend on averages over the batch, which update "
        f"{', '.join(map(str, averages))}, as layers with batch normalisation do. A block is not the batch: use "
        "batch_norm_use_averages=True, or a normalisation of each sequence"
    )


def _find_whole(results: Sequence[Any], known: Collection[Any]) -> list[Any]:
    """Return what else the results depend on, which each block gets as it is: shared variables, and scalar inputs."""
    found = []
    for variable in ancestors(results, blockers=known):
        if variable.owner is not None or variable in known or isinstance(variable, Constant):
            continue
        if isinstance(variable.type, RandomType):
            raise ValueError(
                f"accumulate_gradients: the losses draw from the random generator {variable}, which has no default "
                "update: every block would draw the same numbers. Draw for the whole batch before, and name the draw "
                "in batch; or use the layers of lasagne.layers, such as DropoutLayer"
            )
        if not isinstance(variable, SharedVariable) and getattr(variable.type, "ndim", 1) > 0:
            raise ValueError(
                f"accumulate_gradients: the losses depend on the input {variable}, of type {variable.type}. Name it in "
                "batch if its first axis is the batch, or in whole if every sequence needs all of it"
            )
        found.append(variable)
    return found


def _of_any_length(variable: Any) -> Any:
    """Return a variable of the same type for a block, whose size is not known."""
    return TensorType(variable.type.dtype, shape=(None, *variable.type.shape[1:]))(variable.name)


def _add_penalty(means: list[Any], penalty: Any, params: Sequence[Any]) -> list[Any]:
    """Return the gradients with those of the penalty added."""
    added: Any = [None] * len(means)
    if isinstance(penalty, Variable):
        added = pytensor.grad(
            penalty,
            list(params),
            disconnected_inputs="ignore",
            return_disconnected="none",
        )
    grads = []
    for param, mean, more in zip(params, means, added, strict=True):
        if mean is None and more is None:
            raise pytensor.gradient.DisconnectedInputError(
                f"accumulate_gradients: neither the losses nor the penalty depend on the parameter {param}"
            )
        grads.append(mean if more is None else more if mean is None else mean + more)
    return grads


class Blocks(Op):
    """A graph that is applied to a batch in blocks.

    Inputs are what is split along the first axis, generators that go from block to block, and what all blocks share.
    The last of what is split is the weight of each sequence, which is zero for sequences that pad the last block.
    Outputs are sums over the blocks, and results (B, ...) that are joined along the first axis. The generators are not
    among them: a function moves them on by their own updates.

    Parameters
    ----------
    fgraph : FunctionGraph
        The graph for one block.
    num_split, num_carried : int
    reached : list of int
        What is shared that the sums after the first one are gradients of. The first sum is a scalar.
    block_size : int, 'auto' or None
    num_devices : int
    unseen : str
        The operation that the check of independence could not see through; empty if the check has seen all.
    """

    jax_conversions = "lasagne.backends.jax_accumulation"

    def __init__(
        self,
        fgraph: FunctionGraph,
        num_split: int,
        num_carried: int,
        reached: Sequence[int],
        block_size: int | str | None,
        num_devices: int = 1,
        unseen: str = "",
    ) -> None:
        self.fgraph = fgraph
        self.num_split = num_split
        self.num_carried = num_carried
        self.reached = reached
        self.num_summed = 1 + len(reached)
        self.num_joined = len(fgraph.outputs) - self.num_summed - num_carried
        self.block_size = block_size
        self.num_devices = num_devices
        self.unseen = unseen
        self._settings = (num_split, num_carried, tuple(reached), block_size, num_devices)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            type(self) is type(other)
            and self._settings == other._settings
            and are_equal_graphs(self.fgraph, other.fgraph)
        )

    def __hash__(self) -> int:
        return hash((type(self), self._settings))

    def __str__(self) -> str:
        return f"Blocks{{of {self.block_size}, on {self.num_devices} devices}}"

    def split_inputs(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Return what is split, what is carried and what is shared."""
        first, second = self.num_split, self.num_split + self.num_carried
        return list(inputs[:first]), list(inputs[first:second]), list(inputs[second:])

    def make_node(self, *inputs: Variable) -> Apply:
        first, last = self.num_summed, self.num_summed + self.num_joined
        sums, joined = self.fgraph.outputs[:first], self.fgraph.outputs[first:last]
        outputs = [*(variable.type() for variable in sums), *map(_of_any_length, joined)]
        return Apply(self, list(inputs), outputs)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True for _ in node.outputs] for _ in node.inputs]

    def pullback(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        output_grads: Sequence[Variable],
    ) -> list[Variable]:
        raise NotImplementedError(
            "results of accumulate_gradients have no gradient: take the gradient of gradients, or of a loss that is "
            "computed from them, with pytensor.grad on the whole batch"
        )

    def check_one_device(self) -> None:
        """Raise a `ValueError` if the node has several devices, for a back end that has none."""
        if self.num_devices > 1:
            raise ValueError(
                f"accumulate_gradients: {self.num_devices} devices need the back end jax: compile with "
                "get_mode('jax'), or set devices=1"
            )

    def expand(self, inputs: Sequence[Variable]) -> list[Any]:
        """Return the outputs of the same node as a `pytensor.scan` over the blocks.

        Raises
        ------
        ValueError
            If the node has several devices, which JAX alone has.
        """
        self.check_one_device()
        fgraph = self.fgraph.clone()
        dfs_rewriter(expand_loop).rewrite(fgraph)  # type: ignore[no-untyped-call]
        if not isinstance(self.block_size, int):
            return _apply(fgraph, inputs)[: self.num_summed + self.num_joined]
        split, carried, shared = self.split_inputs(inputs)
        count: Any = split[0].shape[0]
        number = pt.maximum((count + self.block_size - 1) // self.block_size, 1)
        size = (count + number - 1) // number
        blocks = [_pad(variable, number * size - count) for variable in split[:-1]]
        blocks.append(
            pt.concatenate([split[-1], pt.zeros((number * size - count,), split[-1].dtype)])
        )
        blocks = [
            block.reshape((number, size, *(block.shape[k] for k in range(1, block.ndim))))
            for block in blocks
        ]
        zeros = [pt.zeros_like(each) for each in (split[-1][0], *(shared[k] for k in self.reached))]
        start, end = self.num_summed, self.num_summed + self.num_joined

        def step(*args: Any) -> list[Any]:
            sums = args[len(split) : len(split) + start]
            results = _apply(fgraph, [*args[: len(split)], *args[len(split) + start :]])
            summed = [
                before.type.filter_variable(before + result)
                for before, result in zip(sums, results[:start], strict=True)
            ]
            return [*summed, *results[end:], *results[start:end]]

        traces = pytensor.scan(
            step,
            sequences=blocks,
            outputs_info=[*zeros, *carried, *(None for _ in range(self.num_joined))],
            non_sequences=shared,
            return_list=True,
            return_updates=False,
        )
        sums = [trace[-1] for trace in traces[:start]]
        joined = [
            trace.reshape((number * size, *(trace.shape[k] for k in range(2, trace.ndim))))[:count]
            for trace in traces[start + self.num_carried :]
        ]
        return [*sums, *joined]

    def perform(self, node: Apply, inputs: Sequence[Variable], output_storage: Any) -> None:
        raise NotImplementedError("Blocks must be expanded before they are run")


def _apply(fgraph: FunctionGraph, inputs: Sequence[Any]) -> list[Any]:
    """Return the outputs of a graph for other inputs."""
    given = dict(zip(fgraph.inputs, inputs, strict=True))
    return clone_replace(list(fgraph.outputs), given)


def _pad(variable: Any, count: Any) -> Any:
    """Append so many copies of the last row: they are finite where the row is."""
    return pt.concatenate([variable, pt.repeat(variable[-1:], count, axis=0)])


@node_rewriter([Blocks])
def expand_blocks(fgraph: FunctionGraph, node: Apply) -> list[Variable]:
    """Replace blocks by a `pytensor.scan`."""
    return expand_node(node)


class ExpandBlocks(GraphRewriter):
    """Expands all blocks of a graph.

    PyTensor makes warnings of the errors of a rewrite, but not of those of what it requires.
    """

    def __init__(self) -> None:
        self._rewriter = dfs_rewriter(expand_blocks)

    def add_requirements(self, fgraph: FunctionGraph) -> None:
        for node in fgraph.apply_nodes:
            if isinstance(node.op, Blocks):
                node.op.check_one_device()
        self._rewriter.add_requirements(fgraph)

    def apply(self, fgraph: FunctionGraph, *args: Any, **kwargs: Any) -> Any:
        return self._rewriter.apply(fgraph, *args, **kwargs)


# Before loops are expanded; a back end that knows blocks excludes "expand_blocks"
optdb.register(
    "expand_blocks",
    ExpandBlocks(),
    "fast_compile",
    "fast_run",
    "minimum_compile",
    position=-0.03,
)


# ---- How large a block is


class Bytes(NamedTuple):
    """How many bytes the gradient of a network needs for one sequence.

    Attributes
    ----------
    step : int
        For the states of one step.
    total : int
        For all residuals: the states before each step, and what the loops of sparse memories carry along, twice.
    """

    step: int
    total: int


def count_bytes(results: Sequence[Variable], num_steps: int) -> Bytes:
    """Return how many bytes the gradient of results needs for a sequence of so many steps.

    These are bytes of the loops, as far as the sizes are known when the graph is built.
    """
    steps, carried = [0], 0
    for node in {variable.owner: None for variable in ancestors(results)}:
        if node is None or not isinstance(node.op, Loop):
            continue
        outputs = node.op.fgraph.outputs
        steps.append(sum(map(count_tensor_bytes, outputs[: node.op.num_states])))
        carried += 2 * sum(map(count_tensor_bytes, outputs[node.op.num_states :]))
    return Bytes(max(steps), num_steps * sum(steps) + carried)


def fit_block_size(needed: Bytes, cache_bytes: int) -> int | None:
    """Return how many sequences make a block that suits the cache; None for the whole batch.

    The states of a step shall stay in the cache from step to step, beside what is computed from them. The residuals are
    written and read once: they shall not be many times as large as the cache.

    Parameters
    ----------
    needed : Bytes
    cache_bytes : int
        Of the second-level cache of a core.
    """
    if not needed.total:
        return None
    fits = [TOTAL_SHARE * cache_bytes / needed.total]
    if needed.step:
        fits.append(STEP_SHARE * cache_bytes / needed.step)
    return max(int(min(fits)), SMALLEST)
