"""Who is compared. Each rival's packages are imported only where it runs."""

from functools import partial

OURS, BLOCKS, JAX, TUNED, SHARDED, TORCH, COMPILED = (
    "ours",
    "blocks",
    "jax",
    "tuned",
    "sharded",
    "torch",
    "compiled",
)
TITLES = {
    OURS: "ours, one block",
    BLOCKS: "ours, blocks",
    JAX: "JAX by hand",
    TUNED: "JAX, tuned",
    SHARDED: "JAX, tuned, all cores",
    TORCH: "PyTorch",
    COMPILED: "PyTorch, compiled",
}
SPLITTING = (BLOCKS, SHARDED)  # those who split a batch into blocks and over the cores


def import_rival(name, devices=1, **options):
    """Return the class of a rival.

    Parameters
    ----------
    name : str
        One of `TITLES`.
    devices : int
        How many of JAX's devices those who split a batch use; other rivals use one.
    options
        For those who split a batch: ``block_size``.

    Returns
    -------
    callable
        ``build(network, parameters)`` gives an object with ``train(x, y, mask)``, which returns the loss, and, but for
        `BLOCKS`, which only trains, ``predict(x)``, which returns an array.
    """
    if name == OURS:
        from ours import Ours

        return Ours
    if name == BLOCKS:
        from ours import OursInBlocks

        return partial(OursInBlocks, devices=devices, **options)
    if name in (JAX, TUNED):
        from jax_ntm import ByHand

        return partial(ByHand, tuned=name == TUNED)
    if name == SHARDED:
        from jax_sharded import Sharded

        return partial(Sharded, devices=devices, **options)
    if name in (TORCH, COMPILED):
        from torch_ntm import Torch

        return partial(Torch, compiled=name == COMPILED)
    raise ValueError(f"unknown rival {name!r}: expected one of {list(TITLES)}")
