"""The functions of a network as bytes, and the description of them.

Importing this module imports JAX.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax import export

import ntm
from lasagne.backends.jax_linker import WIDE_TYPES, get_compiler_options
from lasagne.layers import InputLayer, Layer, get_all_layers
from ntm.arguments import shorten
from ntm.exporting.programs import BATCH, RUN, TIME, Entry, Program, Programs, Refusal, as_list
from ntm.typing import Array

__all__ = ["FORMAT", "VERSION", "SerializedNetwork", "serialize_network"]

FORMAT, VERSION = "ntm-lasagne export", 1
#: The arguments that give a size, and the size
_SIZES = {"batch_size": BATCH, "num_steps": TIME}


class SerializedNetwork(NamedTuple):
    """What a file holds of a network.

    Attributes
    ----------
    description : dict
        Plain JSON.
    functions : dict from str to bytes
        The content of each file of a function, by the name of the file.
    parameters : dict from str to array
        The parameter in each file, by the name of the file.
    """

    description: dict[str, Any]
    functions: dict[str, bytes]
    parameters: dict[str, Array]


def serialize_network(
    l_out: Any, sizes: dict[str, int | None], platforms: list[str], gradients: bool
) -> SerializedNetwork:
    """Serialise the functions of a network; the arguments are checked already.

    Raises
    ------
    ValueError
        If the network cannot be exported. The message names the layer.
    """
    programs, functions, outputs = _export(l_out, sizes, platforms, gradients)
    return SerializedNetwork(
        _describe(programs, functions, outputs, platforms, gradients),
        {_name_function(name): content for name, (_, content) in functions.items()},
        {_name_parameter(name): value for name, value in programs.get_values().items()},
    )


def _export(
    l_out: Any, sizes: dict[str, int | None], platforms: list[str], gradients: bool
) -> tuple[Programs, dict[str, tuple[Program, bytes]], Any]:
    """Return the functions of a network, serialised; an error names the layer that cannot be exported."""
    programs = Programs(l_out, sizes["batch_size"], sizes["num_steps"])
    try:
        return _serialize(programs, platforms, gradients)
    except Refusal:
        raise
    except Exception as error:
        layer = _find_culprit(l_out, sizes, platforms, gradients)
        what = "the network" if layer is None else repr(layer)
        message = f"export: {what} cannot be exported"
        reason = shorten(str(error).partition("\n")[0])
        missing = [name for name, size in _SIZES.items() if size in programs.open_sizes]
        filled = {**sizes, **dict.fromkeys(missing, 3)}
        if missing and _works(l_out, filled, platforms, gradients):
            sizes_left = " and ".join(_SIZES[name] for name in missing)
            raise ValueError(
                f"{message} for any {sizes_left}; give {' and '.join(missing)}: {reason}"
            ) from error
        raise ValueError(f"{message}: {reason}") from error


def _serialize(
    programs: Programs, platforms: list[str], gradients: bool
) -> tuple[Programs, dict[str, tuple[Program, bytes]], Any]:
    functions, outputs = {}, None
    for name, program in programs.make().items():
        with jax.enable_x64(True):
            exported = export.export(jax.jit(program.function), platforms=platforms)(
                *program.arguments
            )
            functions[name] = program, bytes(exported.serialize(vjp_order=int(gradients)))
        if name == RUN:
            outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return programs, functions, outputs


def _works(l_out: Any, sizes: dict[str, int | None], platforms: list[str], gradients: bool) -> bool:
    try:
        _serialize(Programs(l_out, sizes["batch_size"], sizes["num_steps"]), platforms, gradients)
    except Exception:
        return False
    return True


def _find_culprit(
    l_out: Any, sizes: dict[str, int | None], platforms: list[str], gradients: bool
) -> Layer | None:
    """Return the first layer of a network that cannot be exported, or None if each of them can."""
    for layer in get_all_layers(l_out):
        if not isinstance(layer, InputLayer) and not _works(layer, sizes, platforms, gradients):
            return layer
    return None


def _describe(
    programs: Programs,
    functions: Mapping[str, tuple[Program, bytes]],
    outputs: Any,
    platforms: list[str],
    gradients: bool,
) -> dict[str, Any]:
    results = [
        Entry(f"output_{k}", each.shape, str(each.dtype)) for k, each in enumerate(as_list(outputs))
    ]
    inputs = [each.entry for each in programs.inputs]
    entries = [*inputs, *results, *programs.states, *programs.parameters]
    single = isinstance(programs.l_out, Layer)
    return {
        "format": FORMAT,
        "version": VERSION,
        "made_with": {"ntm-lasagne": ntm.__version__, "jax": jax.__version__},
        "needs": "pip install jax numpy flatbuffers",
        "float_type": programs.float_type,
        "jax_enable_x64": any(each.dtype in WIDE_TYPES for each in entries),
        "platforms": platforms,
        "gradients": gradients,
        "open_sizes": programs.open_sizes,
        "functions": {
            name: {
                "file": _name_function(name),
                "arguments": list(program.takes),
                "results": list(program.gives),
            }
            for name, (program, _) in functions.items()
        },
        "left_out": programs.left_out,
        "inputs": {
            "given_as": "array" if len(inputs) == 1 else "dictionary",
            "arrays": [
                {**_describe_entry(each.entry), "has_steps": each.has_time, "is_mask": each.is_mask}
                for each in programs.inputs
            ],
        },
        "outputs": {
            "given_as": "array" if single else "list",
            "arrays": [_describe_entry(each) for each in results],
        },
        "states": {
            "given_as": "dictionary",
            "arrays": [_describe_entry(each) for each in programs.states],
        },
        "parameters": {
            "given_as": "dictionary",
            "arrays": [
                {**_describe_entry(each), "file": _name_parameter(each.name)}
                for each in programs.parameters
            ],
        },
        "compiler_options": {"cpu": get_compiler_options("cpu")},
    }


def _describe_entry(entry: Entry) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in entry.shape]
    return {"name": entry.name, "shape": shape, "dtype": entry.dtype}


def _name_function(name: str) -> str:
    return f"functions/{name}.stablehlo"


def _name_parameter(name: str) -> str:
    return f"parameters/{name}.npy"
