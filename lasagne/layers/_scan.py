"""A loop over time steps, in which layers may draw random numbers and update running averages."""

from collections.abc import Callable
from typing import Any

import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors, truncated_graph_inputs
from pytensor.scan import scan
from pytensor.tensor.random.op import RandomVariable

from ._tensors import sizes, update_by_default


def scan_states(
    step: Callable,
    sequences: list,
    states: list,
    gradient_steps: int = -1,
    backwards: bool = False,
) -> list:
    """Apply a step to every item of sequences, and return the states after each step.

    What does not change from step to step is computed once, outside of the loop. Shared variables
    that a step updates by default, such as running averages, are carried from step to step.

    Parameters
    ----------
    step : callable
        Takes an item of each sequence, then the states; returns the list of the next states, of the
        same types.
    sequences : list of tensors
        At least one, of shape ``(time, ...)``.
    states : list of tensors
        The states before the first step.
    gradient_steps : int
        The number of steps that gradients go back in time; -1 for all.
    backwards : bool
        Whether to go through the sequences from their ends.

    Returns
    -------
    list of tensors
        The states after each step, in the order computed, each of shape ``(time, ...)``.
    """
    slices = [sequence[0].type() for sequence in sequences]
    previous = [state.type() for state in states]
    results = list(step(*slices, *previous))
    first = [*(sequence[0] for sequence in sequences), *states]
    outside = dict(zip([*slices, *previous], first, strict=True))

    drawn = _draw_beforehand(results, outside, sizes(sequences[0])[0])
    numbers = [draw.type() for draw in drawn]
    generators = [draw.owner.inputs[0] for draw in drawn]
    updated = [each for each in _updated_by_default(results) if each not in generators]
    results.extend(each.default_update for each in updated)
    results = clone_replace(results, dict(zip(drawn, numbers, strict=True)))

    varying = [*slices, *numbers, *previous, *updated]
    constant = [
        each
        for each in truncated_graph_inputs(results, varying)
        if each.owner is not None and each not in varying and _is_float(each)
    ]

    def traced_step(*args: Any) -> list:
        return clone_replace(results, dict(zip([*varying, *constant], args, strict=True)))

    outputs = scan(
        traced_step,
        sequences=[*sequences, *drawn.values()],
        outputs_info=[*states, *updated],
        non_sequences=constant,
        truncate_gradient=gradient_steps,
        go_backwards=backwards,
        return_list=True,
        return_updates=False,
    )
    for variable, values in zip(updated, outputs[len(states) :], strict=True):
        # Of a random number generator, the loop keeps the last state only.
        is_tensor = isinstance(variable.type, pt.TensorType)
        update_by_default(variable, values[-1] if is_tensor else values)
    return outputs[: len(states)]


def _draw_beforehand(results: list, outside: dict, time: Any) -> dict:
    """Draw the random numbers of all steps outside of the loop.

    PyTensor has no gradient of a loop that draws, because it does not keep the states of the
    generator. Numbers whose distribution follows from the items or the states stay in the loop.

    Parameters
    ----------
    results : list of variables
        The results of a step.
    outside : dict
        The variables in the step, and outside of the loop variables of the same shapes.
    time : int or scalar
        The number of steps.

    Returns
    -------
    dict
        Draws in the step, and tensors of such draws for all steps.
    """
    drawn = {}
    for generator in _updated_by_default(results):
        node = generator.default_update.owner
        if not _can_be_drawn_beforehand(node, generator, outside):
            continue
        _, size, *parameters = node.inputs
        size, draw = clone_replace(size, outside), node.outputs[1]
        shape = [time, *(size[i] if dim is None else dim for i, dim in enumerate(draw.type.shape))]
        update, numbers = node.op.make_node(generator, pt.as_tensor(shape), *parameters).outputs
        update_by_default(generator, update)
        drawn[draw] = numbers
    return drawn


def _can_be_drawn_beforehand(node: Any, generator: Any, outside: dict) -> bool:
    return (
        node is not None
        and isinstance(node.op, RandomVariable)
        and node.op.ndim_supp == 0
        and node.inputs[0] is generator
        and isinstance(node.inputs[1].type, pt.TensorType)
        and not outside.keys() & set(ancestors(node.inputs[2:]))
    )


def _updated_by_default(results: list) -> list:
    return [
        each
        for each in ancestors(results)
        if isinstance(each, SharedVariable) and each.default_update is not None
    ]


def _is_float(variable: Any) -> bool:
    return isinstance(variable.type, pt.TensorType) and variable.type.dtype.startswith("float")
