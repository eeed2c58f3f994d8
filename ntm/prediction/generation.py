"""Sequences that a network goes on with by itself: each output is made the next input.

Notation: B sequences, T steps, F input and O output features.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from pytensor.compile.mode import Mode

from lasagne.layers import Layer
from ntm.arguments import Number
from ntm.layers.stepping import StepFunction
from ntm.prediction.arrays import NetworkInput
from ntm.prediction.predictor import Predictor
from ntm.prediction.rows import Rows
from ntm.typing import Array

__all__ = ["generate"]

#: From the outputs of a step, (B, O), to what is generated, and the next input
Chooser = Callable[[Array], tuple[Array, Array]]


def generate(
    network: Layer | Predictor | StepFunction,
    prefix: Any,
    steps: int,
    sample: str | Callable[..., Any] | None = None,
    temperature: float = 1.0,
    seed: Any = None,
    mode: Mode | None = None,
) -> Array:
    """Let a network go on with sequences, by feeding it its own outputs.

    The network reads the prefix in one call. Its output at the last step of the prefix is the first that is generated;
    made an input, it gives the next one, and so on.

    Parameters
    ----------
    network : Layer, Predictor or StepFunction
        The output layer of a network with one input, (B, T, F) of numbers or (B, T) of symbols, and outputs (B, T, O),
        or (B, O) at the last step. A Predictor is not compiled anew at each call. A StepFunction goes on from its
        present state, takes the prefix step by step, and keeps the state in which the sequences end.
    prefix : array (B, T, F) or (B, T), one sequence (T, F) or (T,), or a list of sequences of several lengths
        At least one step. Where the network takes numbers and symbols are sampled, symbols are given one-hot.
    steps : int
        How many steps are generated.
    sample : {'argmax', 'sample'} or callable, optional
        What the next input is. By default, the outputs themselves, as in a forecast of numbers. ``'argmax'``: the most
        probable symbol. ``'sample'``: a symbol drawn from the softmax of the outputs, or from the outputs themselves
        where the network gives probabilities. A function of the outputs (B, O), or of the outputs and a
        `numpy.random.Generator`, returns the next inputs: (B, F), or symbols (B,).
        A network that looks symbols up in an `EmbeddingLayer` is given the symbols, any other one one-hot vectors.
    temperature : float
        What logits are divided by for ``'sample'``: near zero, the most probable symbol is drawn; large, all alike.
    seed : int or numpy.random.Generator, optional
        Of the draws. The same seed draws the same symbols.
    mode : pytensor Mode, optional
        What an output layer is compiled with, :func:`ntm.get_mode` unless given.

    Returns
    -------
    array (B, steps, ...)
        What was generated: outputs (B, steps, O); symbols (B, steps) with ``'argmax'`` or ``'sample'``; with a
        function, what the function returned. For a prefix of one sequence, without the first axis.

    Raises
    ------
    ValueError
        If the network has several inputs, mixes steps or runs backwards; if its outputs cannot be its inputs, or are
        NaN; if the prefix is not what the network takes; if an option is out of range.
    TypeError
        If `network` is none of these, or the prefix holds no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from lasagne.layers import DenseLayer, InputLayer, LSTMLayer
    >>> from ntm import generate
    >>> l_lstm = LSTMLayer(InputLayer((None, None, 3)), num_units=4)
    >>> l_out = DenseLayer(l_lstm, 3, nonlinearity=None, num_leading_axes=2)
    >>> generate(l_out, np.zeros((2, 10, 3)), steps=5).shape  # a forecast of five steps
    (2, 5, 3)
    >>> generate(l_out, np.eye(3), steps=5, sample="sample", seed=0).shape  # symbols after 0, 1, 2
    (5,)
    """
    steps = Number(int, 1).check("generate: steps", steps)
    temperature = Number(float, above=0).check("generate: temperature", temperature)
    if temperature != 1 and sample != "sample":
        raise ValueError(f"generate: temperature is for sample='sample', not for sample={sample!r}")
    if not callable(sample) and sample not in (None, "argmax", "sample"):
        raise ValueError(
            f"generate: sample must be None, 'argmax', 'sample' or a function, not {sample!r}"
        )
    try:
        rng = np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"generate: seed must be an integer of at least 0 or a Generator, not {seed!r:.100}"
        ) from error
    runner: _Runner | _Stepper
    if isinstance(network, StepFunction):
        if mode is not None:
            raise ValueError("generate: a StepFunction is compiled already; mode is for layers")
        runner = _Stepper(network)
    elif isinstance(network, Predictor):
        if mode is not None:
            raise ValueError("generate: a Predictor has a mode of its own; mode is for layers")
        runner = _Runner(network)
    elif isinstance(network, Layer):
        runner = _Runner(Predictor(network, mode))
    else:
        raise TypeError(
            "generate: network must be the last layer of a network, a Predictor or a StepFunction, not "
            f"{network!r:.100}"
        )
    entry = runner.entry
    is_one = _count_axes(prefix) == len(entry.shape) - 1
    output = runner.start(np.asarray(prefix)[None] if is_one else prefix)
    choose = _make_chooser(sample, temperature, rng, entry, output, runner.gives_probabilities)
    generated = []
    for step in range(steps):
        if np.isnan(output).any():
            row = int(np.argwhere(np.isnan(output))[0, 0])
            raise ValueError(f"generate: the output of sequence {row} at step {step} is NaN")
        chosen, following = choose(output)
        generated.append(chosen)
        if step < steps - 1:
            output = runner.advance(following)
    result = np.stack(generated, axis=1)
    return result[0] if is_one else result


def _count_axes(values: Any) -> int | None:
    """Return the number of axes of an array or of nested lists; None of sequences of several lengths."""
    try:
        return np.ndim(values)
    except ValueError:
        return None


class _Runner:
    """Runs a network by a Predictor: the prefix in one call, then step by step."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.entry = predictor.get_only_input("generate")
        self.gives_probabilities = predictor.gives_probabilities
        predictor.check_pads("generate")
        predictor.check_carries()

    def start(self, prefix: Any) -> Array:
        predictor = self._predictor
        values = predictor.read(prefix)
        counts = predictor.count_steps(values)
        self._number = len(counts)
        self._num_rows = predictor.count_rows(self._number)
        if self._number > self._num_rows:
            raise ValueError(
                f"generate: the network was made for {self._num_rows} sequences, not {self._number}"
            )
        num_steps = max(predictor.count_padded_steps(int(count)) for count in counts)
        rows = predictor.pad(values, counts, np.arange(self._number), num_steps, self._num_rows)
        return self._run(rows, counts, None)

    def advance(self, following: Array) -> Array:
        ones = np.ones(self._number, int)
        rows = self._predictor.pad(
            [following[:, None]],
            ones,
            np.arange(self._number),
            self._predictor.count_padded_steps(1),
            self._num_rows,
        )
        return self._run(rows, ones, self._parts)

    def _run(self, rows: Rows, counts: Array, before: Any) -> Array:
        """Return the output at the last step of each sequence, (B, O)."""
        output, self._parts = self._predictor.run_carrying(rows, before)
        output = np.asarray(output)
        if self._predictor.gives_steps:
            return output[np.arange(self._number), counts - 1]
        return output[: self._number]


class _Stepper:
    """Runs a network by a StepFunction."""

    def __init__(self, step: StepFunction) -> None:
        self._step = step
        # It checks the prefix; nothing is compiled for that
        self._reader = Predictor(step.layer, mode=step.mode)
        self.entry = self._reader.get_only_input("generate")
        self.gives_probabilities = self._reader.gives_probabilities

    def start(self, prefix: Any) -> Array:
        values = self._reader.read(prefix)
        counts = self._reader.count_steps(values)
        if len(set(counts)) > 1 or len(counts) != self._step.batch_size:
            raise ValueError(
                f"generate: a StepFunction of batch_size={self._step.batch_size} takes as many sequences, all of one "
                f"length, not {len(counts)} of {min(counts)} to {max(counts)} steps; a Predictor takes any"
            )
        numbers, num_steps = np.arange(len(counts)), int(counts[0])
        rows = self._reader.pad(values, counts, numbers, num_steps, len(counts))
        for t in range(num_steps):
            output = self._step(rows.arrays[0][:, t])
        return output

    def advance(self, following: Array) -> Array:
        return self._step(following)


def _make_chooser(
    sample: Any,
    temperature: float,
    rng: np.random.Generator,
    entry: NetworkInput,
    output: Array,
    gives_probabilities: bool,
) -> Chooser:
    """Return the function from outputs to what is generated, and the next input."""
    takes_symbols = entry.dtype.kind != "f"
    if callable(sample):
        return _Own(sample, rng, entry)
    if sample is None:
        if takes_symbols or output.shape[1:] != entry.features:
            raise ValueError(
                f"generate: the outputs of a step, {output.shape[1:]} numbers, cannot be the inputs of the next, "
                f"{entry.features} {'symbols' if takes_symbols else 'numbers'}; for symbols, choose sample='argmax' or "
                "'sample', or give a function of the outputs as sample"
            )
        return lambda output: (output, output)
    num_symbols = entry.num_symbols if takes_symbols else entry.features[0]
    if output.ndim != 2 or len(entry.features) != (0 if takes_symbols else 1):
        raise ValueError(
            f"generate: sample={sample!r} needs a number for each symbol, (batch, symbols), and one symbol a step, but "
            f"the network gives {output.shape} and takes {entry.features} a step"
        )
    if num_symbols is not None and output.shape[1] != num_symbols:
        raise ValueError(
            f"generate: the network gives {output.shape[1]} outputs, and takes {num_symbols} symbols"
        )

    def choose(output: Array) -> tuple[Array, Array]:
        if sample == "argmax":
            symbols = output.argmax(axis=1)
        else:
            symbols = _draw(output, temperature, rng, gives_probabilities)
        return symbols, symbols if takes_symbols else np.eye(output.shape[1])[symbols]

    return choose


def _draw(
    output: Array, temperature: float, rng: np.random.Generator, are_probabilities: bool
) -> Array:
    """Draw a symbol for each sequence, (B,), from logits or probabilities (B, O)."""
    logits = output.astype(float)
    if are_probabilities:
        with np.errstate(divide="ignore"):
            logits = np.log(logits)
    largest = logits.max(axis=1, keepdims=True)
    impossible = np.flatnonzero(largest == -np.inf)
    if len(impossible):
        raise ValueError(
            f"generate: no symbol can be drawn for sequence {impossible[0]}: the probability of each is zero"
        )
    # A difference of infinite numbers is NaN: logits that are the largest differ from it by zero
    difference = np.zeros_like(logits)
    np.subtract(logits, largest, out=difference, where=logits != largest)
    with np.errstate(over="ignore"):
        cumulative = np.exp(difference / temperature).cumsum(axis=1)
    drawn = rng.random(len(output)) * cumulative[:, -1]
    return (cumulative <= drawn[:, None]).sum(axis=1)


class _Own:
    """Chooses by a function of the user's.

    Parameters
    ----------
    function : callable
        Of the outputs, or of the outputs and a generator of random numbers.
    rng : numpy.random.Generator
    entry : NetworkInput
        What the function returns must be one of its steps.
    """

    def __init__(
        self, function: Callable[..., Any], rng: np.random.Generator, entry: NetworkInput
    ) -> None:
        self._function, self._entry = function, entry
        self._arguments: tuple[Any, ...] = (rng,) if _needs_two_arguments(function) else ()

    def __call__(self, output: Array) -> tuple[Array, Array]:
        given = self._function(output, *self._arguments)
        expected = (len(output), *self._entry.features)
        try:
            # A copy: the function may fill the same array again
            following = np.array(given)
        except ValueError as error:
            raise ValueError(
                f"generate: the function given as sample must return an array {expected}: {error}"
            ) from error
        fits = len(following.shape) == len(expected) and all(
            b is None or a == b for a, b in zip(following.shape, expected, strict=True)
        )
        allowed = "biuf" if self._entry.dtype.kind == "f" else "biu"
        if not fits or following.dtype.kind not in allowed:
            raise ValueError(
                f"generate: the function given as sample must return the next input, {expected} of "
                f"{self._entry.dtype}, not {following.shape} of {following.dtype}"
            )
        return following, following


def _needs_two_arguments(function: Callable[..., Any]) -> bool:
    """Return whether a function must be called with two arguments: a second one with a default is its own."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # There is no signature, as of some functions in C
        return False
    try:
        signature.bind(None)
    except TypeError:
        return True
    return False
