"""Networks in files: whole ones, or their parameters only; and parameters in ntm-lasagne's layouts.

A whole network is a safetensors file (see `ntm.files`) of its variables and a description of its layers (see
`ntm.serialization`), which say what each was made from. It is made again from that; no code is stored.
"""

import io
import math
import zipfile
from typing import Any

import numpy as np
import pytensor.tensor as pt

from lasagne.layers import get_all_layers, get_all_params, set_all_param_values
from lasagne.nonlinearities import tanh
from lasagne.utils import check_param_value
from ntm.arguments import describe, shorten
from ntm.controllers import GRUController, LSTMController
from ntm.files import replacing
from ntm.layers.ntm import NTMLayer
from ntm.serialization.arrays import read_arrays, write_arrays
from ntm.serialization.decoding import decode_network
from ntm.serialization.encoding import check_finite, encode_network
from ntm.serialization.registry import register

__all__ = [
    "decode_network",
    "encode_network",
    "load",
    "load_parameters",
    "register",
    "save",
    "save_parameters",
    "set_first_layout_values",
    "set_later_layout_values",
]

# NumPy's own headers are of 128 bytes
_MAX_NPY_HEADER = 10_000


def save(path, layer_or_layers):
    """Write a network to a file, its architecture included; the file is complete or not there.

    Parameters
    ----------
    path : str or path
    layer_or_layers : Layer or list of Layer
        The network's output.

    Raises
    ------
    ValueError
        If a layer's class or a function that is an argument of it is not registered (see :func:`register`), a
        parameter is an expression, or the numbers of one are not finite. It names the layer and the argument, or the
        parameter. The file that was there stays as it was.
    OSError
        If the file cannot be written.

    See Also
    --------
    encode_network : what is stored, and what cannot be
    """
    try:
        description, arrays = encode_network(layer_or_layers)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    write_arrays(path, arrays, description)


def load(path):
    """Make the network again that :func:`save` wrote.

    No code is read from the file: classes and functions are looked up by name among the registered ones. What is
    declared in it is checked against the arrays before there is memory for it, and `ntm.serialization` says the bounds
    of the rest, so that a file costs no more than it holds.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Layer or list of Layer
        As given to :func:`save`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, damaged, or not to be made of the classes that are registered.
    """
    arrays, description = read_arrays(path)
    try:
        return decode_network(description, arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_parameters(path, layer_or_layers):
    """Write all parameters of a network to an ``.npz`` file; the file is complete or not there.

    Parameters
    ----------
    path : str or path
    layer_or_layers : Layer or list of Layer
        The network's output.

    Raises
    ------
    ValueError
        If the numbers of a parameter are not finite; it names the parameter. The file that was there stays as it was.
    OSError
        If the file cannot be written.
    """
    arrays: dict[str, Any] = {}
    for k, param in enumerate(get_all_params(layer_or_layers)):
        array = np.asarray(param.get_value(borrow=True))
        try:
            check_finite(param.name or f"number {k}", array)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        arrays[f"{k:03d} {param.name or ''}".strip()] = array
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_parameters(path, layer_or_layers):
    """Set all parameters of a network from a file of :func:`save_parameters`.

    The arrays' shapes are checked before they are read.

    Parameters
    ----------
    path : str or path
    layer_or_layers : Layer or list of Layer

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, or the parameters' number, names or shapes are not the network's, or a value does not
        fit its parameter (see :func:`lasagne.utils.check_param_value`) or is not finite. No parameter is changed then.
    """
    params = get_all_params(layer_or_layers)
    damaged = f"{path} is not a file of parameters, or is damaged"
    try:
        headers = _read_headers(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{damaged}: {shorten(error)}") from error
    if len(headers) != len(params):
        raise ValueError(
            f"{path} holds {len(headers)} parameters, but the network has {len(params)}"
        )
    for param, (key, shape) in zip(params, headers, strict=True):
        name = key.partition(" ")[2]
        expected = param.get_value(borrow=True).shape
        # Heads that were given as classes had no names once: "key.W" is "write.key.W" now
        is_same = name == (param.name or "") or (param.name or "").endswith(f".{name}")
        if not is_same or shape != expected:
            raise ValueError(
                f"{path} holds {shorten(repr(name), 100)} of shape {shorten(shape, 100)} where the network has "
                f"{param.name!r} of shape {expected}"
            )
    try:
        # Opened here, as NumPy leaves a damaged file open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = [content[key] for key, _ in headers]
    except Exception as error:
        raise ValueError(f"{damaged}: {shorten(error)}") from error
    try:
        values = [check_param_value(*each) for each in zip(params, arrays, strict=True)]
        for k, (param, value) in enumerate(zip(params, values, strict=True)):
            check_finite(param.name or f"number {k}", value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for param, value in zip(params, values, strict=True):
        param.set_value(value)


def _read_headers(path):
    """The name and shape of each array of numbers in an ``.npz`` file, without reading the arrays."""
    headers = []
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as stream:
                start = io.BytesIO(stream.read(_MAX_NPY_HEADER))
            version = np.lib.format.read_magic(start)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(start)
            if dtype.kind not in "biufc":
                raise ValueError(f"{entry.filename!r} is of dtype {dtype}, which are no numbers")
            if entry.file_size != start.tell() + math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{entry.filename!r} is not as long as it says")
            headers.append((entry.filename.removesuffix(".npy"), shape))
    return headers


def set_first_layout_values(layer_or_layers, values):
    """Set all parameters from a list in the layout of ntm-lasagne 0.3's files, which is this library's own order.

    Unlike `lasagne.layers.set_all_param_values`, it makes sure that the controllers compute what ntm-lasagne's do.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
        The network's output.
    values : list of arrays

    Raises
    ------
    ValueError
        If the number of values or the shape of one does not fit the network, or a controller has another equation than
        ntm-lasagne's.
    """
    _check_equations(layer_or_layers)
    set_all_param_values(layer_or_layers, values)


def _check_equations(layer_or_layers):
    """Raise a `ValueError` if a controller of a network computes another thing than ntm-lasagne's of its class."""
    for layer in get_all_layers(layer_or_layers):
        if not isinstance(layer, NTMLayer):
            continue
        controller = layer.controller
        label = describe(type(controller).__name__, controller.name)
        if isinstance(controller, GRUController) and controller.equation != "ntm-lasagne":
            raise ValueError(
                f"{label}: ntm-lasagne's GRU has another equation; make the controller with "
                f"equation='ntm-lasagne', not {controller.equation!r}"
            )
        has_tanh = isinstance(controller, GRUController | LSTMController)
        if has_tanh and controller.nonlinearity not in (tanh, pt.tanh):
            raise ValueError(
                f"{label}: ntm-lasagne's nonlinearity is always tanh; make the controller with "
                f"nonlinearity=tanh, not {controller.nonlinearity!r}"
            )


def set_later_layout_values(layer_or_layers, values):
    """Set all parameters from a list in the layout of ntm-lasagne's later files.

    There each head's weights and biases have a leading axis of one, and its `weights_init` follows gamma instead of
    preceding the key.

    Parameters
    ----------
    layer_or_layers : Layer or list of Layer
        The network's output.
    values : list of arrays

    Raises
    ------
    ValueError
        If the number of values or the shape of one does not fit the network, or a controller has another equation than
        ntm-lasagne's.
    """
    _check_equations(layer_or_layers)
    params = get_all_params(layer_or_layers)
    heads = [
        head
        for layer in get_all_layers(layer_or_layers)
        if isinstance(layer, NTMLayer)
        for head in layer.heads
    ]
    file_order = list(params)
    for head in heads:
        own = [param for param in params if param in head.get_params()]
        if head.weights_init not in own:  # an expression, which no file holds
            continue
        later = [param for param in own if param is not head.weights_init]
        last_of_gamma = max(later.index(p) for p in head.gamma.get_params())
        later.insert(last_of_gamma + 1, head.weights_init)
        start = file_order.index(own[0])
        file_order[start : start + len(own)] = later
    if len(values) != len(params):
        raise ValueError(f"got {len(values)} values, but the network has {len(params)} parameters")
    dense = {param for head in heads for layer in head.layers for param in layer.get_params()}
    by_param = {}
    for param, value in zip(file_order, values, strict=True):
        value = np.asarray(value)
        shape = param.get_value(borrow=True).shape
        if param in dense and value.shape == (1, *shape):
            value = value[0]
        by_param[param] = value
    set_all_param_values(layer_or_layers, [by_param[param] for param in params])
