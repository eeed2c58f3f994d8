"""How JAX runs a `lasagne.accumulation.Blocks`: blocks one after the other, devices side by side.

Each device gets a part of the batch and runs its blocks in a loop. What is summed over blocks is then summed over
devices, once. XLA could divide a program by itself, but would sum the gradients at each time step.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from lasagne.accumulation import AUTO, Blocks, count_bytes, fit_block_size
from lasagne.backends.jax_devices import AXIS, make_mesh
from lasagne.backends.jax_dispatch import convert_graph
from lasagne.backends.jax_registry import Conversion, jax_funcify
from lasagne.devices import get_cache_bytes, get_devices


@jax_funcify.register(Blocks)
def _funcify_blocks(op: Any, node: Any = None, **kwargs: Any) -> Conversion:
    run_block = convert_graph(op.fgraph.clone(), kwargs, pair=True)

    def run(*inputs: Any) -> list[Any]:
        split, generators, shared = op.split_inputs(inputs)
        count = _check_lengths(op, split)
        largest = _choose_size(op, split)
        number = max(-(-count // (largest * op.num_devices)), 1)
        size = -(-count // (number * op.num_devices))
        padding = number * size * op.num_devices - count
        split = [_pad(x, padding) for x in split[:-1]] + [jnp.pad(split[-1], (0, padding))]
        keys, after = _split_keys(generators, number * op.num_devices)
        run_part = _make_part(op, run_block, number, size)
        if op.num_devices > 1:
            here, everywhere = PartitionSpec(AXIS), PartitionSpec()
            run_part = jax.shard_map(
                run_part,
                mesh=make_mesh(op.num_devices),
                in_specs=(here, here, everywhere, everywhere),
                out_specs=(everywhere, here),
                check_vma=False,
            )
        sums, joined = run_part(split, keys, generators, shared)
        return [*sums, *(x[:count] for x in joined), *after]

    return run


def _make_part(op: Blocks, run_block: Any, number: int, size: int) -> Any:
    """Return the function that runs the part of one device, so many blocks of one size."""
    first, last = op.num_summed, op.num_summed + op.num_joined

    def run_part(split: Any, keys: Any, generators: Any, shared: Any) -> Any:
        def one_block(sums: list[Any], items: Any) -> tuple[Any, Any]:
            pieces, own_keys = items
            drawn = [_with_key(g, key) for g, key in zip(generators, own_keys, strict=True)]
            results = list(run_block(*pieces, *drawn, *shared))
            if sums is not None:
                results[:first] = [a + b for a, b in zip(sums, results, strict=False)]
            return results[:first], results[first:last]

        if number == 1:
            sums, joined = one_block(None, (split, [key[0] for key in keys]))  # type: ignore[arg-type]
        else:
            blocks = [x.reshape(number, size, *x.shape[1:]) for x in split]
            like = [jnp.zeros((), split[-1].dtype), *(shared[k] for k in op.reached)]
            zeros = [jnp.zeros_like(x) for x in like]
            sums, joined = jax.lax.scan(one_block, zeros, (blocks, keys))
            joined = [x.reshape(number * size, *x.shape[2:]) for x in joined]
        if op.num_devices > 1:
            sums = _sum_over_devices(sums)
        return sums, joined

    return run_part


def _sum_over_devices(arrays: list[jax.Array]) -> list[jax.Array]:
    """Return the sums of arrays over all devices.

    All numbers of a type go as one vector: the devices wait for each other once a vector, and each wait takes time.
    """
    results = list(arrays)
    for dtype in {x.dtype for x in arrays}:
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


def _choose_size(op: Blocks, split: Sequence[Any]) -> int:
    """Return the largest number of sequences in a block."""
    size = op.block_size
    if size == AUTO:
        num_steps = max((x.shape[1] for x in split if x.ndim > 1), default=0)
        is_cpu = get_devices()[0].platform == "cpu"
        needed = count_bytes(op.fgraph.outputs, num_steps)
        size = fit_block_size(needed, get_cache_bytes()) if is_cpu else None
    return size if isinstance(size, int) else max(len(split[0]), 1)


def _pad(x: jax.Array, count: int) -> jax.Array:
    """Append so many copies of the last row: they are finite where the row is."""
    return jnp.concatenate([x, jnp.broadcast_to(x[-1:], (count, *x.shape[1:]))]) if count else x


def _split_keys(generators: Sequence[Any], number: int) -> tuple[list[Any], list[Any]]:
    """Return the keys of each generator for so many blocks, and the generators after these."""
    keys, after = [], []
    for generator in generators:
        key, base = jax.random.split(generator["jax_state"])
        # By the block's number in the whole batch: another number of devices draws the same
        keys.append(jax.vmap(lambda k, base=base: jax.random.fold_in(base, k))(jnp.arange(number)))
        after.append(_with_key(generator, key))
    return keys, after


def _with_key(generator: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    """Return a copy of a generator with another key: conversions write into a generator."""
    return {**generator, "jax_state": key}
