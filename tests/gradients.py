"""Gradients in blocks and over devices, beside those that `pytensor.grad` gives of the whole batch."""

import numpy as np
import pytensor
import pytensor.tensor as pt

from lasagne.accumulation import accumulate_gradients
from lasagne.backends.modes import get_mode


def differentiate_whole(losses, params, weights=None, penalty=0, outputs=()):
    """Return what `accumulate_gradients` is to return, as a flat list: loss, gradients, losses, outputs."""
    weights = pt.ones_like(losses) if weights is None else weights
    loss = (losses * weights).sum() / weights.sum()
    grads = pytensor.grad(loss + penalty, params)
    return [loss, *grads, losses, *outputs]


def flatten(result):
    loss, grads, losses, outputs = result
    return [loss, *grads, losses, *outputs]


def make_pair(
    inputs, losses, params, batch, weights=None, penalty=0, outputs=(), mode=None, **division
):
    """Return a function from values to two lists of arrays: of the whole batch, and of the batch divided."""
    whole = differentiate_whole(losses, params, weights, penalty, outputs)
    divided = accumulate_gradients(
        losses, params, batch, weights, penalty, outputs=outputs, **division
    )
    divided = flatten(divided)
    mode = get_mode("jax") if mode is None else mode
    function = pytensor.function(inputs, [*whole, *divided], mode=mode)

    def run(*values):
        results = [np.asarray(result) for result in function(*values)]
        return results[: len(whole)], results[len(whole) :]

    return run


def assert_same(divided, whole, rtol=1e-12):
    """Every array is the same up to rounding, relative to its largest number."""
    assert len(divided) == len(whole)
    for k, (value, expected) in enumerate(zip(divided, whole, strict=True)):
        assert value.shape == expected.shape
        assert value.dtype == expected.dtype
        largest = np.abs(expected).max(initial=0)
        np.testing.assert_allclose(value, expected, rtol=0, atol=rtol * largest, err_msg=str(k))
