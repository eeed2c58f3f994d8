"""What a batch of a user's data is, and what a network must have to take it.

Notation: B sequences in a batch, T steps, F input and O output features.
"""

from typing import NamedTuple

from ntm.typing import Array

__all__ = ["KINDS", "SINGLE", "DataBatch", "InputLayout", "Layout"]

#: What targets may be. The loss of ``"own"`` is a function of the user's
KINDS = ("bits", "classes", "numbers", "own")
#: The name of the input where data have one input only
SINGLE = "inputs"


class InputLayout(NamedTuple):
    """The shape of one input of the data.

    Attributes
    ----------
    features : tuple of int
        The shape of a step, or of a sequence without time: ``(F,)``, or ``()`` for one number or symbol.
    is_integer : bool
        Whether the values are integers, such as the symbols of a text.
    has_time : bool
        Whether there is a value for each step, (B, T, ...), or one for each sequence, (B, ...).
    num_symbols : int
        One more than the largest integer; zero where the values are no integers.
    """

    features: tuple[int, ...]
    is_integer: bool = False
    has_time: bool = True
    num_symbols: int = 0


class Layout(NamedTuple):
    """What data look like: what a network must take and give.

    Attributes
    ----------
    inputs : dict from str to InputLayout
        By the name of the input layer; :data:`SINGLE` where there is one input only.
    kind : str
        What the targets are: one of :data:`KINDS`.
    num_outputs : int or None
        O: bits, classes or numbers of a target. None where the loss is the user's own.
    per_step : bool
        Whether there is a target for each step, or one for each sequence.
    targets : InputLayout or None
        For the kind ``"own"``: the shape of a target, and whether it is an integer.
    """

    inputs: dict[str, InputLayout]
    kind: str
    num_outputs: int | None
    per_step: bool
    targets: InputLayout | None = None


class DataBatch(NamedTuple):
    """A batch of a user's sequences, padded at their ends with zeros.

    Attributes
    ----------
    inputs : dict from str to array
        (B, T, ...) or, for an input without time, (B, ...).
    targets : array
        Classes: integers (B, T) or (B,). Bits and numbers: (B, T, O) or (B, O). Zero where a step does not count.
    mask : array (B, T)
        The weight of each step in losses and metrics; zero in the padding.
    step_mask : array (B, T)
        One up to the end of a sequence, zero in its padding.
    weights : array (B,)
        The weight of each sequence in the mean. Zero for a row that only fills the batch.
    resets : array (B,) of bool, or None
        For streams: whether a row begins a new series here. If not, the row goes on where the batch before ended.
    """

    inputs: dict[str, Array]
    targets: Array
    mask: Array
    step_mask: Array
    weights: Array
    resets: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """B and T."""
        return self.mask.shape  # type: ignore[return-value]
