"""Networks in files: saving and loading.

A file holds the parameters of a network and a description of its layers (see `ntm.serialization.encoding`), and notes
if there are any. Loading calls the constructors of the layers again. A file holds no code.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from lasagne.layers import Layer, get_all_params
from lasagne.utils import check_param_value
from ntm.arguments import shorten
from ntm.serialization.arrays import read_arrays, write_arrays
from ntm.serialization.decoding import check_description, decode_network
from ntm.serialization.encoding import check_finite, encode_network
from ntm.typing import Array, Layers, PathLike

__all__ = ["load", "load_parameters", "read_notes", "save"]

# In bytes. NumPy writes headers of 128 bytes
_MAX_NPY_HEADER = 10_000
#: The notes in the JSON of a file, beside the description of the network
_NOTES = "notes"


def save(path: PathLike, layer_or_layers: Layers, notes: Mapping[str, Any] | None = None) -> None:
    """Save a network to a file: its architecture and its parameters.

    The file is replaced as a whole. An error leaves the old file as it was.

    Parameters
    ----------
    path : str or path
        The customary ending is ``.safetensors``.
    layer_or_layers : Layer or list of Layer
        The output layer or layers of the network.
    notes : dict, optional
        What else the file shall say, for :func:`read_notes`: anything that JSON can hold.

    Raises
    ------
    ValueError
        If the class of a layer, or a function that a layer was given, is not registered (see :func:`ntm.register`); if
        a parameter is an expression; if a parameter holds NaN or infinity; or if JSON cannot hold the notes. The
        message names the layer and the argument, or the parameter.
    OSError
        If the file cannot be written.

    See Also
    --------
    ntm.serialization.encoding.encode_network : what a file holds, and what it cannot hold
    """
    try:
        description, arrays = encode_network(layer_or_layers)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if notes is not None:
        description[_NOTES] = dict(notes)
    write_arrays(path, arrays, description)


def load(path: PathLike) -> Layer | list[Layer]:
    """Load a network that :func:`save` wrote.

    The file holds no code. Classes and functions are looked up by name among the registered ones. Declared shapes are
    checked against the arrays before memory is allocated, and the description has bounds (see
    `ntm.serialization.encoding`), so that a file from a stranger costs no more than its size.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Layer or list of Layer
        The output layer or layers, as they were given to :func:`save`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged or of another kind, or names a class that is not registered.
    """
    arrays, description = _read(path)
    try:
        return decode_network(description, arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read(path: PathLike) -> tuple[dict[str, Array], Any]:
    """Return the arrays and the description in the file of a network."""
    try:
        return read_arrays(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"there is no file {path}; expected a network that ntm.save wrote, such as a run's network.safetensors"
        ) from error


def read_notes(path: PathLike) -> dict[str, Any]:
    """Read the notes in a file that :func:`save` wrote. The network is not made.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        As given to :func:`save`; empty if there are none. Tuples come back as lists, and keys as strings.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged or of another kind.
    """
    _, description = _read(path)
    try:
        check_description(description)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    notes = description.get(_NOTES, {})
    if not isinstance(notes, dict):
        raise ValueError(f"{path}: the notes are {shorten(repr(notes), 100)}, and not a dict")
    return notes


def load_parameters(path: PathLike, layer_or_layers: Layers) -> None:
    """Set all parameters of a network from a file.

    Parameters
    ----------
    path : str or path
        A network that :func:`save` wrote, or an ``.npz`` file of the parameters alone, which versions before 0.5 wrote.
    layer_or_layers : Layer or list of Layer
        The output layer or layers of the network whose parameters are set.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged or of another kind; if the number of parameters, a name or a shape differs; or if a value
        does not fit its parameter (see :func:`lasagne.utils.check_param_value`) or is not finite. No parameter is
        changed then.
    """
    params = get_all_params(layer_or_layers)
    with open(path, "rb") as file:
        is_npz = file.read(2) == b"PK"
    if is_npz:
        found = _read_npz(path, params)
    else:
        found = [
            (param.name or "", param.get_value(borrow=True)) for param in get_all_params(load(path))
        ]
    _check_alike(path, params, [(name, np.shape(array)) for name, array in found])
    try:
        values = [
            check_param_value(param, array) for param, (_, array) in zip(params, found, strict=True)
        ]
        for k, (param, value) in enumerate(zip(params, values, strict=True)):
            check_finite(param.name or f"number {k}", value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for param, value in zip(params, values, strict=True):
        param.set_value(value)


def _check_alike(path: PathLike, params: list, found: list[tuple[str, tuple[int, ...]]]) -> None:
    """Raise a `ValueError` unless the names and shapes in a file are those of parameters."""
    if len(found) != len(params):
        raise ValueError(f"{path} holds {len(found)} parameters, but the network has {len(params)}")
    for param, (name, shape) in zip(params, found, strict=True):
        expected = param.get_value(borrow=True).shape
        # Before version 0.4, heads that were given as classes had no names: "key.W" is "write.key.W" now
        is_same = name == (param.name or "") or (param.name or "").endswith(f".{name}")
        if not is_same or shape != expected:
            raise ValueError(
                f"{path} holds {shorten(repr(name), 100)} of shape {shorten(shape, 100)} where the network has "
                f"{param.name!r} of shape {expected}"
            )


def _read_npz(path: PathLike, params: list) -> list[tuple[str, Array]]:
    """Read the names and arrays of an ``.npz`` file of parameters; shapes are checked before arrays are read."""
    damaged = f"{path} is not a file of parameters, or is damaged"
    try:
        headers = _read_headers(path)
    except Exception as error:
        raise ValueError(f"{damaged}: {shorten(error)}") from error
    names = [key.partition(" ")[2] for key, _ in headers]
    shapes = [shape for _, shape in headers]
    _check_alike(path, params, list(zip(names, shapes, strict=True)))
    try:
        # Opened here, as NumPy leaves a damaged file open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = [content[key] for key, _ in headers]
    except Exception as error:
        raise ValueError(f"{damaged}: {shorten(error)}") from error
    return list(zip(names, arrays, strict=True))


def _read_headers(path: PathLike) -> list[tuple[str, tuple[int, ...]]]:
    """Read the name and shape of each array in an ``.npz`` file, but not the arrays."""
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
