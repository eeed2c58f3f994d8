"""Losses of sequences from the outputs of a network.

Notation: B sequences in a batch, T steps, O output features.
"""

import math

import pytensor.tensor as pt

from lasagne.layers import Layer
from lasagne.nonlinearities import rectify
from ntm.prediction.probabilities import PROBABILITIES, find_last_layer, split_digits
from ntm.typing import Tensor

__all__ = ["get_unit", "reduce_losses", "sequence_loss"]


def sequence_loss(kind: str, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the loss of each sequence, summed over the steps and features that count.

    A step whose weight is zero does not count: the loss and its gradient stay finite even if outputs or targets are
    not finite there.

    Parameters
    ----------
    kind : {'bits', 'classes', 'digits', 'numbers'}
        What the targets are (a task's `output`).
    outputs, targets : tensor (B, T, O)
        Before the last nonlinearity: logits of bits, classes or digits, ten for each, or the numbers themselves.
    mask : tensor (B, T)
        Weight of each step.

    Returns
    -------
    tensor (B,)
        Cross-entropy in nats, or the squared error.
    """
    counts = pt.neq(mask, 0)
    # To multiply by the mask at the end is not enough: zero times NaN is NaN, in the gradient too
    outputs, targets = (
        pt.switch(counts.dimshuffle(0, 1, "x"), values, pt.zeros_like(values))
        for values in (outputs, targets)
    )
    if kind == "bits":
        # From logits: where a prediction is surely wrong, a clipped probability has no gradient and is never unlearnt
        errors = (pt.softplus(outputs) - targets * outputs).sum(axis=2)
    elif kind == "classes":
        errors = -(targets * pt.special.log_softmax(outputs, axis=2)).sum(axis=2)
    elif kind == "digits":
        log_probabilities = pt.special.log_softmax(split_digits(outputs), axis=3)
        errors = -(split_digits(targets) * log_probabilities).sum(axis=(2, 3))
    elif kind == "numbers":
        errors = pt.sqr(outputs - targets).sum(axis=2)
    else:
        raise ValueError(
            f"a task's output must be 'bits', 'classes', 'digits' or 'numbers', not {kind!r}"
        )
    return (errors * mask).sum(axis=1)


def reduce_losses(losses: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean loss of sequences: the one place where losses of sequences become a number.

    Parameters
    ----------
    losses : tensor (B,)
        The loss of each sequence.
    weights : tensor (B,), optional
        The weight of each sequence in the mean; all alike unless given.

    Returns
    -------
    scalar tensor
    """
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


def get_unit(kind: str) -> float:
    """Return what a loss is divided by for reports: ln 2 gives bits of nats; numbers have squared errors."""
    return 1.0 if kind == "numbers" else math.log(2)


def check_last_nonlinearity(l_out: Layer, kind: str, caller: str, owner: str) -> None:
    """Raise a `ValueError` if a network gives probabilities, or no negative numbers, where the loss takes logits.

    Parameters
    ----------
    l_out : Layer
    kind : str
        What the targets are.
    caller, owner : str
        For the message: who checks, and whose targets.
    """
    layer = find_last_layer(l_out)
    nonlinearity = getattr(layer, "nonlinearity", None)
    if kind not in ("numbers", "own") and nonlinearity in (*PROBABILITIES, rectify):
        raise ValueError(
            f"{caller}: the network ends in {getattr(nonlinearity, '__name__', nonlinearity)}, of {layer!r}, but the "
            f"targets of {owner} are {kind}, and the loss takes logits: give that layer nonlinearity=None"
        )
