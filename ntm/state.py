"""The state of an NTM: what one step hands to the next, and how it enters and leaves a network.

Notation: B batch, N slots, M slot width, H controller units, W write heads, R read heads.
"""

from typing import Any, NamedTuple


class NTMState(NamedTuple):
    """The state after a step. Its parts are tensors, shared variables or arrays.

    Attributes
    ----------
    memory : (B, N, M)
    controller : tuple of (B, units)
        The controller's state; its output h comes first, for an LSTM the cell follows.
    write_weights : (B, W, N)
    read_weights : (B, R, N)
    """

    memory: Any
    controller: tuple
    write_weights: Any
    read_weights: Any

    @property
    def hidden(self):
        """The controller's output, (B, H)."""
        return self.controller[0]

    def flatten(self):
        """The parts in one list: memory, the controller's, write weights, read weights."""
        return [self.memory, *self.controller, self.write_weights, self.read_weights]

    @classmethod
    def unflatten(cls, parts):
        """The state from such a list, for example from what a compiled function returned."""
        memory, *controller, write_weights, read_weights = parts
        return cls(memory, tuple(controller), write_weights, read_weights)

    def map(self, function):
        """The state with `function` applied to every part."""
        return self.unflatten([function(part) for part in self.flatten()])

    def updates_to(self, new):
        """Updates for a compiled function that store `new` in this state's shared variables."""
        return list(zip(self.flatten(), new.flatten(), strict=True))
