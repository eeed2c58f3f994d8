"""How JAX runs a `lasagne.accumulation.Blocks`: blocks one after the other, devices side by side.

Where a function has several devices, each of them runs all of it, on the same arguments
(`lasagne.backends.jax_linker.SeveralDevices`). Only here do they divide the work: each device takes its part of the
batch and runs its blocks in a loop. What is summed over blocks is then summed over devices, once. XLA could divide a
program by itself, but would sum the gradients at each time step.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from pytensor.compile.sharedvalue import SharedVariable

from lasagne.accumulation import AUTO, Blocks, count_bytes, fit_block_size
from lasagne.backends.jax_devices import AXIS
from lasagne.backends.jax_dispatch import convert_graph
from lasagne.backends.jax_registry import Conversion, jax_funcify
from lasagne.devices import get_cache_bytes, get_devices


@jax_funcify.register(Blocks)
def _funcify_blocks(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    run_block = convert_graph(op.fgraph.clone(), kwargs, pair=True)
    are_shared = [
        isinstance(variable, SharedVariable) for variable in op.split_inputs(node.inputs)[0]
    ]

    def run(*inputs: Any) -> list[Any]:
        split, generators, shared = op.split_inputs(inputs)
        count = _check_lengths(op, split)
        # States that are carried from call to call have no axis of time
        sequences = [x for x, is_shared in zip(split, are_shared, strict=True) if not is_shared]
        largest = _choose_size(op, count, sequences)
        devices = _count_devices(op)
        number = max(-(-count // (largest * devices)), 1)
        size = -(-count // (number * devices))
        padding = number * size * devices - count
        split = [_pad(x, padding) for x in split[:-1]] + [jnp.pad(split[-1], (0, padding))]
        keys = [_split_key(generator, number * devices) for generator in generators]
        if devices > 1:
            split, keys = (list(map(_take_part, each)) for each in (split, keys))
        sums, joined = run_part(number, size, split, keys, generators, shared)
        if devices > 1:
            sums = _sum_over_devices(sums)
            if count:
                joined = [jax.lax.all_gather(x, AXIS, tiled=True) for x in joined]
        return [*sums, *(x[:count] for x in joined)]

    first, last = op.num_summed, op.num_summed + op.num_joined

    def run_part(
        number: int, size: int, split: Any, keys: Any, generators: Any, shared: Any
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        """Return the sums and the joined results of the part of one device: so many blocks of one size."""

        def one_block(sums: Any, items: Any) -> tuple[Any, Any]:
            pieces, own_keys = items
            drawn = [_with_key(g, key) for g, key in zip(generators, own_keys, strict=True)]
            results = _run_named(run_block, size, [*pieces, *drawn, *shared])
            if sums is not None:
                results[:first] = [a + b for a, b in zip(sums, results, strict=False)]
            return results[:first], results[first:last]

        if number == 1:
            return one_block(None, (split, [key[0] for key in keys]))
        blocks = [x.reshape(number, size, *x.shape[1:]) for x in split]
        like = [jnp.zeros((), split[-1].dtype), *(shared[k] for k in op.reached)]
        sums, joined = jax.lax.scan(one_block, [jnp.zeros_like(x) for x in like], (blocks, keys))
        return sums, [x.reshape(number * size, *x.shape[2:]) for x in joined]

    return run


def _run_named(run_block: Any, size: int, inputs: Sequence[Any]) -> list[Any]:
    """Return the results of a block. An error about shapes says what may be the reason."""
    try:
        return list(run_block(*inputs))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"accumulate_gradients, in a block of {size} sequences: {error}\nWhat has the batch as its first axis must "
            "be named in batch, and no layer may have a fixed batch size: InputLayer((None, ...)), not (16, ...)"
        ) from error


def _count_devices(op: Blocks) -> int:
    """Return over how many devices the function that is compiled is divided."""
    if op.num_devices == 1:
        return 1
    try:
        return jax.lax.psum(1, AXIS)
    except NameError as error:
        raise RuntimeError(
            f"accumulate_gradients: {op.num_devices} devices need a function compiled with ntm.get_mode('jax')"
        ) from error


def _take_part(x: jax.Array) -> jax.Array:
    """Return this device's part of an array that all devices have."""
    size = len(x) // jax.lax.psum(1, AXIS)
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(AXIS) * size, size)


def _sum_over_devices(arrays: list[jax.Array]) -> list[jax.Array]:
    """Return the sums of arrays over all devices.

    All numbers of a type go as one vector: the devices wait for each other once a vector, and each wait takes time.
    """
    results = list(arrays)
    for dtype in dict.fromkeys(x.dtype for x in arrays):
        chosen = [k for k, x in enumerate(arrays) if x.dtype == dtype]
        vector = jax.lax.psum(jnp.concatenate([arrays[k].ravel() for k in chosen]), AXIS)
        start = 0
        for k in chosen:
            end = start + arrays[k].size
            results[k] = vector[start:end].reshape(arrays[k].shape)
            start = end
    return results


def _check_lengths(op: Blocks, split: Sequence[Any]) -> int:
    """Return how many sequences there are, and raise an error if the variables of the batch disagree."""
    lengths = [len(x) for x in split]
    if len(set(lengths)) > 1:
        names = [variable.name or "a variable" for variable in op.fgraph.inputs]
        given = ", ".join(f"{name} {length}" for name, length in zip(names, lengths, strict=False))
        raise ValueError(f"accumulate_gradients: the sequences of a batch disagree: {given}")
    return lengths[0]


def _choose_size(op: Blocks, count: int, sequences: Sequence[Any]) -> int:
    """Return the largest number of sequences in a block, for so many sequences (B, T, ...)."""
    size = op.block_size
    if size == AUTO:
        num_steps = max((x.shape[1] for x in sequences if x.ndim > 1), default=0)
        is_cpu = get_devices()[0].platform == "cpu"
        needed = count_bytes(op.fgraph.outputs, num_steps)
        size = fit_block_size(needed, get_cache_bytes()) if is_cpu else None
    return size if isinstance(size, int) else max(count, 1)


def _pad(x: jax.Array, count: int) -> jax.Array:
    """Append so many copies of the last row: they are finite where the row is."""
    return jnp.concatenate([x, jnp.broadcast_to(x[-1:], (count, *x.shape[1:]))]) if count else x


def _split_key(generator: dict[str, Any], number: int) -> jax.Array:
    """Return the keys of a generator for so many blocks."""
    _, base = jax.random.split(generator["jax_state"])
    # By the block's number in the whole batch: another number of devices draws the same
    return jax.vmap(lambda k: jax.random.fold_in(base, k))(jnp.arange(number))


def _with_key(generator: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    """Return a copy of a generator with another key: conversions write into a generator."""
    return {**generator, "jax_state": key}
