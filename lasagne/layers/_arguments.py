"""What a layer was made from, so that an equal one can be made."""

import inspect
from abc import ABCMeta
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from pytensor.graph.basic import Variable

if TYPE_CHECKING:
    from lasagne.layers.base import Layer

# Attributes that are not the constructor's arguments in another form
_APART = ("params", "get_output_kwargs")


class Origin(NamedTuple):
    """What a layer was made from, and what its constructor left."""

    args: tuple
    kwargs: dict[str, Any]
    attributes: dict[str, Any]
    params: tuple

    def __deepcopy__(self, memo: dict) -> "Origin":
        return Origin._make(deepcopy(tuple(self), memo))

    def __reduce__(self) -> tuple:
        """Leave nothing in a pickle, as an argument such as a lambda cannot be in it."""
        return type(None), ()


class LayerType(ABCMeta):
    """The type of layer classes: it notes in every layer what the layer was made from.

    It is derived from `ABCMeta` so that a layer class may be an abstract base class as well.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        # A list that is given may be changed by its owner: layers are appended and it is used again
        given = tuple(_copy_list(value) for value in args)
        named = {name: _copy_list(value) for name, value in kwargs.items()}
        layer = super().__call__(*args, **kwargs)
        attributes = {name: _copy_list(value) for name, value in _public_attributes(layer).items()}
        layer._origin = Origin(given, named, attributes, tuple(getattr(layer, "params", ())))
        return layer

    @property
    def __signature__(cls) -> inspect.Signature:
        """Signature of the constructor, since `inspect.signature` would take that of `__call__`."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=list(signature.parameters.values())[1:])


def get_arguments(layer: "Layer") -> dict[str, Any]:
    """Return the arguments that make a layer as it is now; see `Layer.get_arguments`."""
    origin = layer._origin
    if origin is None:
        raise ValueError(
            f"{layer!r} comes from a pickle, which does not keep what it was made from"
        )
    arguments = _by_name(inspect.signature(type(layer)).bind(*origin.args, **origin.kwargs))
    for name in find_changes(layer):
        before, now = origin.attributes.get(name), vars(layer).get(name)
        given = arguments.get(name)
        was_kept = name in arguments and (given is None or _is_same(before, given))
        was_taken = name in arguments and isinstance(before, Variable) and now is None
        if was_kept or was_taken or name == "name":
            arguments[name] = now
        elif name in arguments or getattr(now, "owner", None) is None:  # not a noted expression
            raise ValueError(
                f"{layer!r}: {name} was changed after the layer was made, so that no arguments of "
                f"{type(layer).__name__} make this layer"
            )
    return arguments


def find_changes(layer: "Layer") -> list[str]:
    """Return the names of the public attributes that are no longer what the constructor left.

    Raises
    ------
    ValueError
        If a parameter was added, replaced or, other than by setting its attribute to ``None``,
        removed.
    """
    origin, now = layer._origin, _public_attributes(layer)
    if origin is None:
        return []
    changes = [
        name
        for name, before in origin.attributes.items()
        if name not in now or not _is_same(before, now[name])
    ]
    taken = [origin.attributes[name] for name in changes if now.get(name) is None]
    kept = [param for param in origin.params if not any(param is each for each in taken)]
    if len(kept) != len(layer.params) or any(
        one is not other for one, other in zip(kept, layer.params, strict=True)
    ):
        raise ValueError(f"{layer!r}: parameters were added or removed after the layer was made")
    return changes


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return arguments by name, defaults included; those that have no name as a list, ``"*"``."""
    bound.apply_defaults()
    kinds = {name: each.kind for name, each in bound.signature.parameters.items()}
    nameless = [
        name
        for name, kind in kinds.items()
        if kind is inspect.Parameter.POSITIONAL_ONLY
        or (kind is inspect.Parameter.VAR_POSITIONAL and bound.arguments[name])
    ]
    if nameless:
        return {"*": list(bound.args), **bound.kwargs}
    arguments: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if kinds[name] is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif kinds[name] is not inspect.Parameter.VAR_POSITIONAL:
            arguments[name] = value
    return arguments


def _public_attributes(layer: "Layer") -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(layer).items()
        if not name.startswith("_") and name not in _APART
    }


def _copy_list(value: Any) -> Any:
    return list(value) if type(value) is list else value


def _is_same(one: object, other: object) -> bool:
    """Tell whether two values are the same object, equal numbers or strings, or lists of such."""
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(_is_same, one, other))
    plain = type(one) is type(other) and isinstance(one, bool | int | float | str)
    return one is other or (plain and one == other)
