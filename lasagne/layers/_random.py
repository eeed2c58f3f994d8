"""Random numbers for layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.tensor.random.variable import shared_rng

from ..random import get_rng
from ..tensors import update_by_default
from ..typing import Scalar, Tensor

# the seeds that Theano's generators accept, and so the range in which Lasagne draws its seeds
MAX_SEED = 2147462579


class RandomStream:
    """A source of random variables that are drawn anew each time they are computed.

    Every variable has a generator of its own, which PyTensor updates by default
    (``default_update``) in any function that computes the variable.

    Parameters
    ----------
    seed : int, optional
        Two streams of the same seed give the same variables. If omitted, it is drawn from
        :func:`lasagne.random.get_rng`.
    """

    def __init__(self, seed: int | None = None):
        self._seeds = np.random.SeedSequence(
            int(get_rng().randint(1, MAX_SEED)) if seed is None else seed
        )

    def uniform(
        self, size: Sequence[int | Tensor] | Tensor, low: Scalar = 0.0, high: Scalar = 1.0
    ) -> Tensor:
        """Return a tensor of numbers from ``[low, high)``, of the shape `size`."""
        return self._draw("uniform", low, high, size=size)

    def normal(
        self, size: Sequence[int | Tensor] | Tensor, avg: Scalar = 0.0, std: Scalar = 1.0
    ) -> Tensor:
        """Return a tensor of normally distributed numbers, of the shape `size`."""
        return self._draw("normal", avg, std, size=size)

    def binomial(self, size: Sequence[int | Tensor] | Tensor, p: Scalar = 0.5) -> Tensor:
        """Return a tensor of ones with probability `p` and zeros, of the shape `size`."""
        return self._draw("bernoulli", p, size=size)

    def _draw(self, distribution: str, *args: Any, **kwargs: Any) -> Tensor:
        (seed,) = self._seeds.spawn(1)
        generator = shared_rng(seed=seed)
        next_generator, draw = getattr(generator, distribution)(*args, **kwargs)
        update_by_default(generator, next_generator)
        return draw
