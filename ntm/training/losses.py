"""Losses of sequences, and predictions, from the outputs of a network."""

import pytensor.tensor as pt

from lasagne.layers import DimshuffleLayer, FlattenLayer, PadLayer, ReshapeLayer, SliceLayer
from lasagne.nonlinearities import sigmoid, softmax

#: Nonlinearities that give probabilities of logits
PROBABILITIES = (sigmoid, softmax, pt.sigmoid, pt.special.softmax)


#: Layers that change no value
REARRANGING = (ReshapeLayer, FlattenLayer, DimshuffleLayer, SliceLayer, PadLayer)


def sequence_loss(kind, outputs, targets, mask):
    """The loss of each sequence, summed over the steps and features that count.

    At a step whose weight is zero nothing counts, whatever outputs and targets hold there: the loss and its gradient
    stay finite even if they are not.

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
    # Before anything is computed: zero times NaN is NaN, in the gradient too
    outputs, targets = (
        pt.switch(counts.dimshuffle(0, 1, "x"), values, pt.zeros_like(values))
        for values in (outputs, targets)
    )
    if kind == "bits":
        # From logits, a prediction that is surely wrong still has a gradient; a clipped probability has none
        errors = (pt.softplus(outputs) - targets * outputs).sum(axis=2)
    elif kind == "classes":
        errors = -(targets * pt.special.log_softmax(outputs, axis=2)).sum(axis=2)
    elif kind == "digits":
        log_probabilities = pt.special.log_softmax(_split_digits(outputs), axis=3)
        errors = -(_split_digits(targets) * log_probabilities).sum(axis=(2, 3))
    elif kind == "numbers":
        errors = pt.sqr(outputs - targets).sum(axis=2)
    else:
        raise ValueError(
            f"a task's output must be 'bits', 'classes', 'digits' or 'numbers', not {kind!r}"
        )
    return (errors * mask).sum(axis=1)


def reduce_losses(losses, weights=None):
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


def predictions(kind, outputs):
    """Probabilities of ones, classes or digits, or the numbers, from a network's outputs (B, T, O)."""
    if kind == "bits":
        return pt.sigmoid(outputs)
    if kind == "classes":
        return pt.special.softmax(outputs, axis=2)
    if kind == "digits":
        return pt.special.softmax(_split_digits(outputs), axis=3).reshape(outputs.shape)
    return outputs


def _split_digits(outputs):
    """The ten outputs of each digit: (B, T, O / 10, 10) of (B, T, O)."""
    return outputs.reshape((outputs.shape[0], outputs.shape[1], -1, 10))


def check_last_nonlinearity(l_out, task, caller):
    """Raise a `ValueError` if a network gives probabilities where the loss takes logits."""
    layer = l_out
    while isinstance(layer, REARRANGING) and not hasattr(layer, "nonlinearity"):
        layer = layer.input_layer
    nonlinearity = getattr(layer, "nonlinearity", None)
    if task.output != "numbers" and nonlinearity in PROBABILITIES:
        raise ValueError(
            f"{caller}: the network ends in {getattr(nonlinearity, '__name__', nonlinearity)}, of {layer!r}, but the "
            f"targets of {type(task).__name__} are {task.output}, and the loss takes logits: give that layer "
            "nonlinearity=None"
        )
