"""The names of classes and functions in saved networks.

A file holds names, never code. This library registers its layers, initializers and nonlinearities, and the elementwise
functions of PyTensor, such as ``pytensor.tensor.tanh``. A program registers its own classes and functions by
:func:`register`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import pytensor.tensor as pt
from pytensor.tensor.elemwise import Elemwise

import lasagne.init
import lasagne.layers
import lasagne.nonlinearities
import ntm.addressing.nearest
import ntm.controllers
import ntm.heads.dnc
import ntm.heads.ntm
import ntm.heads.sparse
import ntm.init
import ntm.layers.base
import ntm.layers.dnc
import ntm.layers.ntm
import ntm.layers.sam
import ntm.layers.sdnc
import ntm.layers.shared
import ntm.memory
import ntm.nonlinearities

__all__ = ["find_name", "find_thing", "register"]

Thing = TypeVar("Thing", bound=Callable[..., Any])

_things: dict[str, Any] = {}
_names: dict[Any, str] = {}


def register(thing: Thing, name: str | None = None) -> Thing:
    """Register a class or function of your own, so that networks that use it can be saved and loaded.

    Register it in the program that saves and in the program that loads. A class of layers needs nothing else. An
    object of another class, such as an initializer or a nonlinearity with parameters, is made again from its
    attributes named like the arguments of its constructor, or from the dict that its ``get_arguments()`` returns.

    Parameters
    ----------
    thing : class or callable
    name : str, optional
        The name in files; by default the ``__name__`` of `thing`.

    Returns
    -------
    thing
        The argument itself, so that :func:`register` also serves as a decorator.

    Raises
    ------
    ValueError
        If `thing` has no name, or the name is taken by another class or function. A class or function of the same
        module and name replaces the earlier one, as when a cell of a notebook runs again.
    TypeError
        If `thing` is not callable.

    Examples
    --------
    >>> @register
    ... class Swish:
    ...     def __init__(self, beta=1.0):
    ...         self.beta = beta
    ...
    ...     def __call__(self, x):
    ...         return x * pt.sigmoid(self.beta * x)
    """
    if not callable(thing):
        raise TypeError(f"register() takes classes and functions, not {thing!r}")
    name = getattr(thing, "__name__", "<lambda>") if name is None else name
    if name == "<lambda>":
        raise ValueError(f"{thing!r} has no name; give it one: register(..., name=...)")
    other = _things.get(name, thing)
    if other is not thing and not _is_again(thing, other):
        raise ValueError(
            f"the name {name!r} is taken by {other!r}; give {thing!r} another: register(..., name=...)"
        )
    _things[name] = thing
    _names.setdefault(thing, name)
    return thing


def find_name(thing: object) -> str | None:
    """Return the name of a registered class or function, ``None`` if it is not registered."""
    try:
        return _names.get(thing)
    except TypeError:  # not hashable, so not registered
        return None


def find_thing(name: object) -> Any:
    """Return the class or function of a name.

    Raises
    ------
    ValueError
        If no class or function of this name is registered.
    """
    if not isinstance(name, str) or name not in _things:
        raise ValueError(
            f"{name!r} is not known here; if it is a class or function of your own, register it: "
            "ntm.register(...)"
        )
    return _things[name]


def _is_again(thing: object, other: object) -> bool:
    """Return whether two definitions have the same place in the code."""
    one, two = (
        (getattr(each, "__module__", None), getattr(each, "__qualname__", None))
        for each in (thing, other)
    )
    return one == two and one[1] is not None


def _register_library() -> None:
    kinds = (lasagne.layers.Layer, lasagne.layers.Gate, lasagne.init.Initializer)
    for module in (
        lasagne.layers,
        lasagne.init,
        ntm.memory,
        ntm.controllers,
        ntm.heads.ntm,
        ntm.heads.dnc,
        ntm.heads.sparse,
        ntm.layers.base,
        ntm.layers.ntm,
        ntm.layers.dnc,
        ntm.layers.sam,
        ntm.layers.sdnc,
        ntm.layers.shared,
        ntm.addressing.nearest,
        ntm.init,
    ):
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, kinds):
                register(thing)
    for module in (lasagne.nonlinearities, ntm.nonlinearities):
        for name, thing in vars(module).items():
            # Some nonlinearities are instances of classes
            if callable(thing) and thing.__module__ == module.__name__ and name[0] != "_":
                register(thing, getattr(thing, "__name__", name))
    for name, thing in vars(pt).items():
        if isinstance(thing, Elemwise):
            register(thing, f"pytensor.tensor.{name}")
    for function in (pt.special.softmax, pt.special.log_softmax):
        register(function, f"pytensor.tensor.special.{function.__name__}")


_register_library()
