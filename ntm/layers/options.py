"""The options of the loop over time, which all memory layers take by keyword."""

import inspect
from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

from ntm.arguments import check_options, describe, warn_deprecated
from ntm.typing import Incoming


class LoopOptions(TypedDict, total=False):
    """Options of the loop over time. Every memory layer takes them, by keyword.

    Parameters
    ----------
    only_return_final : bool
        Whether to return the output of the last step only, (B, outputs), instead of (B, T, outputs).
    mask_input : Layer or tuple, optional
        Gives (B, T). Where the mask is zero, the step leaves the state as it was. The input there may be NaN or
        infinite: it changes neither output nor gradient of the layer. Layers below do not know the mask.
    backwards : bool
        Whether to run from the last step to the first. The output is in the input's order all the same.
    gradient_steps : int
        How many steps the gradient goes back; -1 for all.
    grad_clipping : float
        If not zero, the gradient that a step hands to the step before is clipped to [-grad_clipping, grad_clipping],
        element by element.
    unroll_scan : bool
        Whether to lay the steps out one after another instead of in a loop; T must be known.
    precompute_input : bool
        Whether to compute the controller's product with the input for all steps at once. Only the built-in controllers
        have such a product.
    checkpoint_every : int
        Gradient checkpointing on the JAX back end: store the state every so many steps and recompute the steps between
        for the gradient. About √T needs the least memory; 1 stores the state of every step. Up to version 0.4 the name
        was `keep_every`.
    name : str, optional
    """

    only_return_final: bool
    mask_input: Incoming | None
    backwards: bool
    gradient_steps: int
    grad_clipping: float
    unroll_scan: bool
    precompute_input: bool
    checkpoint_every: int
    name: str | None


#: What holds where an option is not given
LOOP_DEFAULTS: LoopOptions = {
    "only_return_final": False,
    "mask_input": None,
    "backwards": False,
    "gradient_steps": -1,
    "grad_clipping": 0,
    "unroll_scan": False,
    "precompute_input": True,
    "checkpoint_every": 1,
}
#: Old names of options, which calls and files may still use, and the present ones
RENAMED = {"keep_every": "checkpoint_every"}


def rename_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a memory layer with present names instead of old ones."""
    return {RENAMED.get(name, name): value for name, value in arguments.items()}


_Constructor = TypeVar("_Constructor", bound=Callable[..., None])


def takes_loop_options(constructor: _Constructor) -> _Constructor:
    """Let the signature of a constructor list the options of the loop before its ``**options``.

    `inspect.signature`, and so `help`, completion in a notebook, the hints of error messages and saved files, then know
    every option and its default.
    """
    signature = inspect.signature(constructor)
    *own, rest = signature.parameters.values()
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in LOOP_DEFAULTS.items()
    ]
    signature = signature.replace(parameters=[*own, *options, rest])
    constructor.__signature__ = signature  # type: ignore[attr-defined]
    return constructor


def complete_options(layer_type: type, given: LoopOptions) -> LoopOptions:
    """Return all options of the loop: those given, and the defaults of the others.

    Raises
    ------
    TypeError
        If an option is unknown, or given by its old name and its present one.
    """
    options: LoopOptions = {**LOOP_DEFAULTS, "name": None}
    unknown = {}
    for name, value in given.items():
        new = RENAMED.get(name, name)
        if new != name:
            label = describe(layer_type.__name__, given.get("name"))
            if new in given:
                raise TypeError(
                    f"{label}: {new} and {name}, its old name, were both given; give {new}"
                )
            warn_deprecated(f"{label}: {name} is now called {new}; the old name still works")
        if new in options:
            options[new] = value  # type: ignore[literal-required]
        else:
            unknown[name] = value
    check_options(layer_type, unknown | {"name": options["name"]})
    return options
