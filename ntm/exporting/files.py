"""Writing a network to a file that JAX runs by itself."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from lasagne.layers import Layer
from ntm.arguments import Number, check_flag
from ntm.files import atomic_write, check_folder_of, to_json
from ntm.typing import Layers, PathLike

__all__ = ["PLATFORMS", "export", "make_members", "write_members"]

#: What JAX compiles for
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_DESCRIPTION = "description.json"
# Each member of a file gets this date, so that the same network makes the same file
_DATE = (1980, 1, 1, 0, 0, 0)


def export(
    l_out: Layers,
    path: PathLike,
    batch_size: int | None = None,
    num_steps: int | None = None,
    platforms: Sequence[str] = ("cpu", "cuda"),
    gradients: bool = False,
) -> dict[str, Any]:
    """Export a network to a file that runs with JAX alone.

    The file is a zip archive of the network's functions (StableHLO, as :mod:`jax.export` writes it), its parameters
    (``.npy``) and a description (JSON). A program that has neither PyTensor nor Lasagne nor this package loads the file
    in a few lines: see the page on exported networks.

    The functions, and what they compute:

    - ``run(parameters, inputs)``: the outputs (B, T, O) for whole sequences, as ``get_output(l_out)``.
    - ``run_from(parameters, inputs, states)``: the same from given states on; outputs, and the states after the last
      step.
    - ``step(parameters, inputs, states)``: one step, inputs (B, F); outputs (B, O), and the states after the step.
    - ``initial_states(parameters, rows)``: the states before the first step, for as many sequences as `rows`, an array
      (B,) of truth values, has items. What the truth values are does not matter.

    A network without a layer that has a state, or whose states cannot be carried on, has only some of these functions;
    ``left_out`` in the description says why. `inputs` is an array, or where the network has several input layers, masks
    among them, a dictionary by their names. `parameters` and `states` are dictionaries of arrays.

    Parameters
    ----------
    l_out : Layer or list of Layer
        The output layer or layers.
    path : str or path
        The file to write; an existing file is replaced. The customary ending is ``.zip``.
    batch_size : int, optional
        B, if the functions are to take batches of this size only. Any size unless given.
    num_steps : int, optional
        T, if ``run`` and ``run_from`` are to take sequences of this length only. Any length unless given.
    platforms : list of {'cpu', 'cuda', 'rocm', 'tpu'}
        What the file runs on.
    gradients : bool
        Whether JAX can differentiate the functions by parameters, inputs and states, once. The file is then larger.

    Returns
    -------
    dict
        The description that the file holds.

    Raises
    ------
    TypeError
        If `l_out` is no layer, or `platforms` is no list of names.
    ValueError
        If a size is no positive integer or not that of the network; if a platform is unknown; if a layer draws random
        numbers when asked for ``deterministic=True``; if a parameter holds NaN or infinity; or if a layer cannot be
        exported. The message names the layer.
    ImportError
        If JAX or flatbuffers is not installed.
    OSError
        If the file cannot be written. An existing file stays as it was.

    Notes
    -----
    Layers are exported with ``deterministic=True``: without dropout and noise, with the averages of batch
    normalisation. Inputs and results have the types of the network, float32 or float64; symbols have 32 bits.

    Examples
    --------
    >>> import ntm
    >>> about = ntm.export(ntm.load_model("copy"), "copy.zip")  # doctest: +SKIP
    >>> list(about["functions"])  # doctest: +SKIP
    ['run', 'run_from', 'initial_states', 'step']
    """
    check_folder_of(path, "export: path")
    about, members = make_members(l_out, batch_size, num_steps, platforms, gradients)
    write_members(path, members)
    return about


def make_members(
    l_out: Layers,
    batch_size: int | None = None,
    num_steps: int | None = None,
    platforms: Sequence[str] = ("cpu", "cuda"),
    gradients: bool = False,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the description of an exported network, and the members of its file by name; as :func:`export`."""
    layers = list(l_out) if isinstance(l_out, list | tuple) else [l_out]
    if not layers or not all(isinstance(each, Layer) for each in layers):
        raise TypeError(
            f"export: l_out must be the last layer of a network or a list of layers, not {l_out!r:.100}"
        )
    sizes = {
        name: None if value is None else Number(int, 1).check(f"export: {name}", value)
        for name, value in (("batch_size", batch_size), ("num_steps", num_steps))
    }
    platforms = _check_platforms(platforms)
    check_flag("export", "gradients", gradients)
    if find_spec("flatbuffers") is None:
        raise ImportError(
            "export needs the package 'flatbuffers', with which JAX writes functions: pip install 'ntm-lasagne[export]'"
        )
    from ntm.exporting.serializing import serialize_network  # imports JAX

    about, functions, parameters = serialize_network(l_out, sizes, platforms, bool(gradients))
    members = {_DESCRIPTION: f"{to_json(about, indent=2)}\n".encode(), **functions}
    for name, value in parameters.items():
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        members[name] = buffer.getvalue()
    return about, members


def write_members(path: PathLike, members: Mapping[str, bytes]) -> None:
    """Write the file of an exported network, all of it or nothing.

    Parameters
    ----------
    path : str or path
    members : dict from name to bytes
        As :func:`make_members` returns them.

    Raises
    ------
    OSError
        If the file cannot be written. An existing file stays as it was.
    """
    with (
        atomic_write(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)


def _check_platforms(platforms: Any) -> list[str]:
    if isinstance(platforms, str) or not isinstance(platforms, Sequence) or not platforms:
        raise TypeError(
            f"export: platforms must be a list of names, such as ['cpu', 'cuda'], not {platforms!r:.100}"
        )
    for each in platforms:
        if each not in PLATFORMS:
            raise ValueError(
                f"export: unknown platform {each!r:.100}: expected some of {', '.join(PLATFORMS)}"
            )
    return list(dict.fromkeys(platforms))
