"""The names by which files call the classes and functions that networks are made of.

A file holds names, never code. Those of this library are known: layers, initializers and nonlinearities, and
PyTensor's elementwise functions, such as ``pytensor.tensor.tanh``. Others are to be registered.
"""

from typing import Any

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

_things: dict[str, Any] = {}
_names: dict[Any, str] = {}


def register(thing, name=None):
    """Make a class or function of your own known, so that networks with it can be saved and loaded.

    It is to be registered where the network is saved, and where it is loaded. A class of layers needs nothing
    else. An object of another class, such as an initializer or a nonlinearity with parameters, is made again from
    the attributes named like the arguments of its constructor, or from what its ``get_arguments()`` returns.

    Parameters
    ----------
    thing : class or callable
    name : str, optional
        What files call it; by default its ``__name__``.

    Returns
    -------
    `thing`, so that this is a decorator, too

    Raises
    ------
    ValueError
        If `thing` has no name, or something else has this one. What has the same module and name in the code
        replaces what it had before, as when a cell of a notebook runs again.
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


def find_name(thing):
    """The name of a registered class or function, ``None`` if it is not registered."""
    try:
        return _names.get(thing)
    except TypeError:  # not hashable, so it is none of them
        return None


def find_thing(name):
    """The class or function of a name.

    Raises
    ------
    ValueError
        If nothing of this name is registered.
    """
    if not isinstance(name, str) or name not in _things:
        raise ValueError(
            f"{name!r} is not known here; if it is a class or function of your own, register it: "
            "ntm.register(...)"
        )
    return _things[name]


def _is_again(thing, other):
    """Whether a definition replaces another of the same place in the code."""
    one, two = (
        (getattr(each, "__module__", None), getattr(each, "__qualname__", None))
        for each in (thing, other)
    )
    return one == two and one[1] is not None


def _register_library():
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
            # Some are instances of the classes defined there
            if callable(thing) and thing.__module__ == module.__name__ and name[0] != "_":
                register(thing, getattr(thing, "__name__", name))
    for name, thing in vars(pt).items():
        if isinstance(thing, Elemwise):
            register(thing, f"pytensor.tensor.{name}")
    for function in (pt.special.softmax, pt.special.log_softmax):
        register(function, f"pytensor.tensor.special.{function.__name__}")


_register_library()
