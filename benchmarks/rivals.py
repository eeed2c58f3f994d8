"""Who is compared. Each rival's packages are imported only where it runs."""

OURS, JAX, TORCH, COMPILED = "ours", "jax", "torch", "compiled"
TITLES = {
    OURS: "ours",
    JAX: "JAX by hand",
    TORCH: "PyTorch",
    COMPILED: "PyTorch, compiled",
}


def import_rival(name):
    """The class of a rival.

    Parameters
    ----------
    name : {'ours', 'jax', 'torch', 'compiled'}

    Returns
    -------
    callable
        ``build(network, parameters)`` gives an object with ``train(x, y, mask)``, which returns the loss, and
        ``predict(x)``, which returns an array.
    """
    if name == OURS:
        from ours import Ours

        return Ours
    if name == JAX:
        from jax_ntm import ByHand

        return ByHand
    if name in (TORCH, COMPILED):
        from functools import partial

        from torch_ntm import Torch

        return partial(Torch, compiled=name == COMPILED)
    raise ValueError(f"unknown rival {name!r}: expected one of {list(TITLES)}")
