"""Who is compared. Each rival's packages are imported only where it runs."""

OURS, JAX, TUNED, TORCH, COMPILED = "ours", "jax", "tuned", "torch", "compiled"
TITLES = {
    OURS: "ours",
    JAX: "JAX by hand",
    TUNED: "JAX, tuned",
    TORCH: "PyTorch",
    COMPILED: "PyTorch, compiled",
}


def import_rival(name):
    """The class of a rival.

    Parameters
    ----------
    name : {'ours', 'jax', 'tuned', 'torch', 'compiled'}

    Returns
    -------
    callable
        ``build(network, parameters)`` gives an object with ``train(x, y, mask)``, which returns the loss, and
        ``predict(x)``, which returns an array.
    """
    if name == OURS:
        from ours import Ours

        return Ours
    if name in (JAX, TUNED):
        from functools import partial

        from jax_ntm import ByHand

        return partial(ByHand, tuned=name == TUNED)
    if name in (TORCH, COMPILED):
        from functools import partial

        from torch_ntm import Torch

        return partial(Torch, compiled=name == COMPILED)
    raise ValueError(f"unknown rival {name!r}: expected one of {list(TITLES)}")
