"""Functions of whole networks: their layers, outputs, output shapes and parameters."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import numpy as np
from pytensor.graph.basic import Variable

from .. import utils
from ..typing import ArrayLike, Inputs, Layers, Shape
from .base import Layer, MergeLayer, known_shape
from .input import InputLayer

__all__ = [
    "count_params",
    "get_all_layers",
    "get_all_param_values",
    "get_all_params",
    "get_output",
    "get_output_shape",
    "set_all_param_values",
]


def get_all_layers(layer: Layers, treat_as_input: Iterable[Layer] | None = None) -> list[Any]:
    """Collect the layers below (and including) one or several layers of a network.

    Parameters
    ----------
    layer : Layer or list of Layer
        The layer or layers to start from.
    treat_as_input : iterable of Layer, optional
        Layers at which to stop: they are returned, but the layers below them are not, unless there
        is another way to them.

    Returns
    -------
    list of Layer
        Each layer once, in topological order: a layer comes after all layers that feed into it,
        and these in the order of its ``input_layers``.

    Examples
    --------
    >>> from lasagne.layers import DenseLayer, InputLayer, get_all_layers
    >>> l_in = InputLayer((100, 20))
    >>> l1 = DenseLayer(l_in, num_units=50)
    >>> get_all_layers(l1) == [l_in, l1]
    True
    """
    stop = set(treat_as_input or ())
    _check_keys(dict.fromkeys(stop), "get_all_layers()")
    found: dict[Layer, None] = {}  # used as an ordered set
    pending = [(each, False) for each in reversed(_as_list(layer))]
    while pending:
        current, expanded = pending.pop()
        if expanded:
            found[current] = None
        elif current is not None and current not in found:
            pending.append((current, True))
            if current not in stop:
                pending.extend((each, False) for each in reversed(_input_layers(current)))
    return list(found)


def get_output(
    layer_or_layers: Layers | Sequence[Layer | None], inputs: Inputs = None, **kwargs: Any
) -> Any:
    """Build the expression of the output of a network at one or several layers.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
        The layer or layers whose output is wanted.
    inputs : PyTensor expression, array or dict, optional
        If omitted, the variables of the input layers are used. An expression or array takes the
        place of the variable of the one input layer. A dictionary maps layers, not only input
        layers, to the expressions or arrays that take the place of their output; its key ``None``
        stands for the input of layers that were made from a shape.
    **kwargs
        Passed to the ``get_output_for`` of every layer, such as ``deterministic=True``. What a
        layer lists in ``own_kwargs`` or ``result_kwargs`` is passed only to the layers whose output
        is asked for.

    Returns
    -------
    PyTensor expression or list of these
        The output of the given layer, or a list of the outputs of the given layers.

    Raises
    ------
    TypeError
        If a key of the dictionary is neither a layer nor ``None``, or what is asked for is no
        layer. A layer that is not needed may be in the dictionary.
    ValueError
        If there are several input layers for a single expression, or if there is no expression for
        the input of a layer that was made from a shape, or if a keyword argument is one that only
        a layer whose output is asked for gets, and none of these takes it.

    Warns
    -----
    UserWarning
        If no layer takes a keyword argument.
    """
    return build_output(layer_or_layers, inputs, kwargs)


def build_output(
    layer_or_layers: Layers | Sequence[Layer | None],
    inputs: Inputs,
    kwargs: dict[str, Any],
    compute: Callable[[Layer, Any, dict], Any] | None = None,
    caller: str = "get_output()",
) -> Any:
    """Build the output of a network, as :func:`get_output`, by a function of one's own.

    Parameters
    ----------
    layer_or_layers, inputs, kwargs
        As in :func:`get_output`.
    compute : callable, optional
        From a layer, its input or list of inputs, and a dictionary of keyword arguments to the
        output of the layer. By default it calls ``get_output_for``.
    caller : str
        What messages call the function.

    Returns
    -------
    PyTensor expression or list of these
        As of :func:`get_output`.
    """
    if compute is None:
        compute = _call_get_output_for
    asked = _as_list(layer_or_layers)
    if isinstance(inputs, dict):
        _check_keys(inputs, caller)
        inputs = {each: utils.as_theano_expression(value) for each, value in inputs.items()}
    elif inputs is not None:
        inputs = utils.as_theano_expression(inputs)  # type: ignore[arg-type]
    replaced = inputs if isinstance(inputs, dict) else {}
    feeding = {
        below
        for layer in get_all_layers(asked, replaced)
        if layer not in replaced
        for below in _input_layers(layer)
    }
    accepted = {"deterministic"}
    withheld: dict[str, Any] = {}
    results: dict[Layer, Any] = {}

    def output_of(layer: Layer, layer_input: Any) -> Any:
        names = set(layer.get_output_kwargs)
        with suppress(TypeError, ValueError):  # not every callable has a signature
            names.update(utils.inspect_kwargs(layer.get_output_for))
        # The class is asked, as a stand-in for a layer may have any attribute
        own = getattr(type(layer), "own_kwargs", ())
        result = getattr(type(layer), "result_kwargs", ())
        if layer not in asked:
            withheld.update((name, layer) for name in (*own, *result) if name in kwargs)
            accepted.update(names.difference(own, result))
            return compute(layer, layer_input, _without(kwargs, (*own, *result)))
        accepted.update(names)
        output = results[layer] = compute(layer, layer_input, kwargs)
        if layer in feeding and any(kwargs.get(name) for name in result):
            output = compute(layer, layer_input, _without(kwargs, result))
        return output

    values = _propagate(asked, inputs, lambda layer: layer.input_var, output_of, caller)
    for name, layer in withheld.items():
        if name not in accepted and kwargs[name] is not None and kwargs[name] is not False:
            raise ValueError(
                f"{caller}: {name} is for a layer whose output is asked for, and none of {asked} "
                f"takes it, but {layer!r} below does. Please call get_output() with {name} for that "
                "layer; what it returns can take the layer's place in the dictionary of inputs."
            )
    _warn_of_unused(kwargs.keys() - accepted - withheld.keys(), accepted, caller)
    values.update(results)
    return _pick(values, asked, layer_or_layers)


def get_output_shape(
    layer_or_layers: Layers, input_shapes: Shape | Mapping[Layer, Shape] | None = None
) -> Any:
    """Compute the shape of the output of a network at one or several layers.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
        The layer or layers whose output shape is wanted.
    input_shapes : tuple or dict, optional
        If omitted, the shapes of the input layers are used. A tuple takes the place of the shape
        of the one input layer. A dictionary maps layers, not only input layers, to the shapes that
        take the place of their output shape; its key ``None`` stands for the input of layers that
        were made from a shape.

    Returns
    -------
    tuple or list of tuple
        The output shape of the given layer, or a list of those of the given layers. A dimension is
        ``None`` where it is not known, or follows from a symbolic size.

    Raises
    ------
    TypeError
        If a key of the dictionary is neither a layer nor ``None``, or what is asked for is no
        layer. A layer that is not needed may be in the dictionary.
    ValueError
        If there are several input layers for a single shape, or if there is no shape for the input
        of a layer that was made from a shape.
    """
    asked = _as_list(layer_or_layers)
    if input_shapes is None or input_shapes == {}:
        return _pick({layer: layer.output_shape for layer in asked}, asked, layer_or_layers)
    if isinstance(input_shapes, dict):
        _check_keys(input_shapes, "get_output_shape()")
        input_shapes = {each: known_shape(shape) for each, shape in input_shapes.items()}
    else:
        input_shapes = known_shape(input_shapes)
    values = _propagate(
        asked,
        input_shapes,
        lambda layer: layer.output_shape,
        lambda layer, shape: layer.get_output_shape_for(shape),
        "get_output_shape()",
    )
    return _pick(values, asked, layer_or_layers)


def get_all_params(layer: Layers, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
    """Collect the parameters of a network.

    Parameters
    ----------
    layer : Layer or list of Layer
        The layer or layers whose parameters, together with those of all layers below, are wanted.
    unwrap_shared : bool
        Whether a parameter that is an expression is replaced by the shared variables in it.
    **tags : bool
        Only parameters that have all of the tags given as ``True`` and none of those given as
        ``False`` are returned: ``get_all_params(l_out, trainable=True)``.

    Returns
    -------
    list of PyTensor shared variables or expressions
        Each parameter once, in the topological order of the layers.
    """
    return utils.unique(
        param
        for each in get_all_layers(layer)
        for param in each.get_params(unwrap_shared=unwrap_shared, **tags)
    )


def count_params(layer: Layers, **tags: bool) -> int:
    """Count the numbers in the parameters of a network.

    Parameters
    ----------
    layer : Layer or list of Layer
        The layer or layers whose parameters, together with those of all layers below, count.
    **tags : bool
        Filter as in :func:`get_all_params`.

    Returns
    -------
    int
        The total number of learnable values.
    """
    return sum(
        int(np.size(param.get_value(borrow=True))) for param in get_all_params(layer, **tags)
    )


def get_all_param_values(layer: Layers, **tags: bool) -> list[np.ndarray]:
    """Return copies of the values of the parameters of a network.

    Parameters
    ----------
    layer : Layer or list of Layer
        The layer or layers whose parameters, together with those of all layers below, are wanted.
    **tags : bool
        Filter as in :func:`get_all_params`.

    Returns
    -------
    list of numpy array
        The values, in the order of :func:`get_all_params`.

    Examples
    --------
    Save the values to a file, and load them into an equal network:

    >>> np.savez("model.npz", *get_all_param_values(l_out))  # doctest: +SKIP
    >>> with np.load("model.npz") as f:  # doctest: +SKIP
    ...     set_all_param_values(l_out, [f[name] for name in f.files])
    """
    # a function compiled by JAX leaves JAX arrays in the shared variables that it updates
    return [np.array(param.get_value(borrow=True)) for param in get_all_params(layer, **tags)]


def set_all_param_values(layer: Layers, values: Sequence[ArrayLike], **tags: bool) -> None:
    """Set the values of the parameters of a network.

    Parameters
    ----------
    layer : Layer or list of Layer
        The layer or layers whose parameters, together with those of all layers below, are set.
    values : list of numpy array
        The values, in the order of :func:`get_all_params`. Each is cast to the dtype of its
        parameter, such as float64 to float32.
    **tags : bool
        Filter as in :func:`get_all_params`.

    Raises
    ------
    ValueError
        If the number of values is not that of the parameters, or a value does not fit its parameter
        (see :func:`lasagne.utils.check_param_value`). The message names the parameter and its
        layer. No parameter is changed then.
    """
    params = get_all_params(layer, **tags)
    values = list(values)
    if len(params) != len(values):
        raise ValueError(f"mismatch: got {len(values)} values to set {len(params)} parameters")
    checked = []
    for number, (param, value) in enumerate(zip(params, values, strict=True)):
        try:
            checked.append(utils.check_param_value(param, value))
        except ValueError as error:
            owner = next(each for each in get_all_layers(layer) if param in each.get_params())
            raise ValueError(f"{owner!r}: {error} (value number {number})") from error
    for param, value in zip(params, checked, strict=True):
        param.set_value(value)


def _as_list(layer_or_layers: Layers | Sequence[Layer | None]) -> list[Layer]:
    """Return a list of layers, or raise a `TypeError` if something is no layer."""
    several = isinstance(layer_or_layers, Iterable) and not isinstance(layer_or_layers, Variable)
    layers: list = list(layer_or_layers) if several else [layer_or_layers]  # type: ignore[arg-type]
    for each in layers:
        if not _is_layer(each):
            raise TypeError(f"expected a layer or a list of layers, got {_show(each)}")
    return layers


def _is_layer(value: object) -> bool:
    """Tell whether a value is a layer, or something else that has the methods of a layer."""
    return hasattr(value, "get_output_for") and not isinstance(value, type)


def _show(value: object) -> str:
    """Return how a message shows what was given in place of a layer."""
    return f"{value!r:.100} of type {type(value).__name__}"


def _check_keys(given: dict, caller: str) -> None:
    """Raise a `TypeError` unless all keys of a dictionary are layers or ``None``."""
    for key in given:
        if key is not None and not _is_layer(key):
            raise TypeError(
                f"{caller} needs a dictionary whose keys are layers, got the key {_show(key)}. If "
                "this is to replace the variable of an input layer, the key is that layer."
            )


def _call_get_output_for(layer: Layer, layer_input: Any, kwargs: dict[str, Any]) -> Any:
    return layer.get_output_for(layer_input, **kwargs)


def _without(kwargs: dict, names: Iterable[str]) -> dict:
    return {name: value for name, value in kwargs.items() if name not in names}


def _pick(values: dict[Layer, Any], asked: list[Layer], layer_or_layers: object) -> Any:
    """Return the values of the layers asked for: a list, or of a single layer its value."""
    picked = [values[each] for each in asked]
    return picked if isinstance(layer_or_layers, Iterable) else picked[0]


def _input_layers(layer: Layer) -> list:
    """Return the layers feeding into a layer; ``None`` stands for those given as a shape."""
    if hasattr(layer, "input_layers"):
        return layer.input_layers
    return [layer.input_layer] if hasattr(layer, "input_layer") else []


def _propagate(
    asked: list,
    given: Any,
    of_input: Callable[[Any], Any],
    of_layer: Callable[[Any, Any], Any],
    caller: str,
) -> dict:
    """Compute a value of each layer from those of the layers feeding into it.

    `given` replaces the values of the layers in it (a dictionary) or of the one input layer;
    `of_input` gives the value of an input layer, `of_layer` that of any other.
    """
    values = dict(given) if isinstance(given, dict) else {}
    layers = get_all_layers(asked, values)
    sources = [each for each in layers if isinstance(each, InputLayer) and each not in values]
    if given is None or isinstance(given, dict):
        values.update((each, of_input(each)) for each in sources)
    elif len(sources) > 1:
        raise ValueError(
            f"{caller} was called with a single input for a network with {len(sources)} input "
            f"layers: {sources}. Please call it with a dictionary that maps each of them to its "
            "input."
        )
    else:
        values.update(dict.fromkeys(sources, given))

    for layer in layers:
        if layer in values:
            continue
        incoming = layer.input_layers if isinstance(layer, MergeLayer) else [layer.input_layer]
        if any(each not in values for each in incoming):
            raise ValueError(
                f"{caller} was called without giving an input expression for the free-floating "
                f"layer {layer!r}. Please call it with a dictionary mapping this layer to an input "
                "expression."
            )
        inputs = [values[each] for each in incoming]
        values[layer] = of_layer(layer, inputs if isinstance(layer, MergeLayer) else inputs[0])
    return values


def _warn_of_unused(unused: Iterable[str], accepted: Iterable[str], caller: str) -> None:
    hints = []
    for name in sorted(unused):
        similar = get_close_matches(name, accepted)
        hints.append(f"{name} (perhaps you meant {similar[0]})" if similar else name)
    if hints:
        warnings.warn(
            f"{caller} was called with unused kwargs:\n\t" + "\n\t".join(hints), stacklevel=4
        )
