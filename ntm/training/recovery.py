"""Recovery: back to the best parameters when the loss rises; re-initialisation of a network that does not learn."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ntm.arguments import Number
from ntm.typing import ArrayLike

if TYPE_CHECKING:
    from ntm.training.trainer import Trainer

__all__ = ["Restarter", "Rewinder", "latest_loss"]


def latest_loss(trainer: "Trainer", count: int) -> float:
    """Return the mean loss of a trainer's latest `count` steps, of those since the last restart if they are fewer.

    Skipped steps do not count. The mean is infinite if all steps were skipped.
    """
    losses = np.array(trainer.losses[max(trainer.began, len(trainer.losses) - count) :])
    finite = losses[np.isfinite(losses)]
    return float(finite.mean()) if len(finite) else np.inf


class Rewinder:
    """Goes back to the best parameters, with a lower learning rate, when the loss rises or no longer falls.

    Memory networks fall: what they learn is sharp, and a few unlucky batches in a row can undo it for good. After every
    `window` steps the mean loss is compared with the best mean loss in the curriculum's present stage, once the best is
    below half of the loss at the start of the stage. Training goes back to the best parameters, and the learning rate
    is multiplied by `factor`, if the loss stays above `tolerance` times the best for `patience` windows, or if `stale`
    windows bring no better loss.

    Parameters
    ----------
    window : int
        Steps.
    patience, stale : int
        Windows.
    tolerance : float
        From one.
    factor : float
        At most one.
    lowest_rate : float
        The learning rate is not lowered below this part of what it was.

    Attributes
    ----------
    rewound : list of [int, int]
        The step after which training went back, and the step that it went back to.
    rate : float
        What the learning rate is multiplied by at present.
    """

    def __init__(
        self,
        window: int = 200,
        patience: int = 3,
        stale: int = 20,
        tolerance: float = 3.0,
        factor: float = 0.5,
        lowest_rate: float = 1 / 32,
    ) -> None:
        self.window = Number(int, 1).check("Rewinder: window", window)
        self.patience = Number(int, 1).check("Rewinder: patience", patience)
        self.stale = Number(int, 1).check("Rewinder: stale", stale)
        self.tolerance = Number(float, 1).check("Rewinder: tolerance", tolerance)
        self.factor = Number(float, above=0, high=1).check("Rewinder: factor", factor)
        self.lowest_rate = Number(float, 0, 1).check("Rewinder: lowest_rate", lowest_rate)
        self.rewound: list[list[int]] = []
        self.reset()

    def reset(self) -> None:
        """Forget the best loss: the network has been re-initialised."""
        self.rate = 1.0
        self.stage: int | None = None
        self.first = self.best = np.inf
        self.best_step = 0
        self.bad_windows = self.windows_since_best = 0

    def decide(self, trainer: "Trainer") -> Literal["keep", "back"] | None:
        """Decide after a step: ``"keep"`` the parameters as the best, go ``"back"`` to those kept last, or neither."""
        steps = trainer.step_count - trainer.began
        if steps == 0 or steps % self.window:
            return None
        loss = latest_loss(trainer, self.window)
        stage = trainer.curriculum.stage
        if stage != self.stage:
            self.stage, self.first, self.best = stage, loss, np.inf
        if loss < self.best:
            self.best, self.best_step = loss, trainer.step_count
            self.bad_windows = self.windows_since_best = 0
            return "keep"
        if self.best == np.inf:  # No step has been finite yet, and nothing is kept
            return None
        self.windows_since_best += 1
        # If the best loss is nearly nothing, three times nothing is no fall
        fell = loss > self.tolerance * max(self.best, 0.01 * self.first)
        self.bad_windows = self.bad_windows + 1 if fell else 0
        if self.best > self.first / 2 or (
            self.bad_windows < self.patience and self.windows_since_best < self.stale
        ):
            return None
        self.rewound.append([trainer.step_count, self.best_step])
        self.rate = max(self.rate * self.factor, self.lowest_rate)
        # A best loss that is not reached again was luck. Without this, training would go back to it for ever
        self.best = min(self.best * self.tolerance, self.first / 2)
        self.bad_windows = self.windows_since_best = 0
        return "back"

    def get_state(self) -> dict[str, Any]:
        """Return what :meth:`set_state` needs, as JSON takes it; None stands for a loss that is not known yet."""
        return {
            name: None if value == np.inf else value
            for name, value in vars(self).items()
            if name not in ("window", "patience", "stale", "tolerance", "factor", "lowest_rate")
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`get_state`."""
        for name, value in state.items():
            setattr(self, name, np.inf if value is None and name in ("first", "best") else value)


class Restarter:
    """Re-initialises a network that has not learnt by some step.

    Whether a memory network finds out how to use its memory depends on the initialisation and the first sequences. A
    network that is late seldom learns at all. `after` steps after an initialisation, if the mean loss of the last
    `window` steps is not below `above`, the parameters are drawn anew. The optimiser's state, the curriculum, the
    learning-rate schedule and the rewinder start afresh too. The same happens when steps are no longer finite. Steps
    and sequences before a restart count.

    Parameters
    ----------
    redraw : callable
        From 1, 2, ... for the first restart, the second, ... to values for all parameters, in the order of
        :func:`lasagne.layers.get_all_params`.
    after : int
        Steps.
    above : float
        Loss threshold: bits per sequence, or squared error.
    max_restarts : int
    window : int
        Steps.

    Attributes
    ----------
    restarts : list of int
        The steps after which the network was re-initialised.
    """

    def __init__(
        self,
        redraw: Callable[[int], Sequence[ArrayLike]],
        after: int,
        above: float,
        max_restarts: int = 10,
        window: int = 200,
    ) -> None:
        if not callable(redraw):
            raise TypeError(
                "Restarter: redraw must be a function from the number of the restart to values of all parameters, "
                f"not {redraw!r}"
            )
        self.redraw = redraw
        self.after = Number(int, 1).check("Restarter: after", after)
        self.above = Number(float).check("Restarter: above", above)
        self.max_restarts = Number(int, 0).check("Restarter: max_restarts", max_restarts)
        self.window = Number(int, 1).check("Restarter: window", window)
        self.restarts: list[int] = []

    @property
    def is_spent(self) -> bool:
        """Whether there are no restarts left."""
        return len(self.restarts) >= self.max_restarts

    def must_restart(self, trainer: "Trainer") -> bool:
        """Tell whether the network is to be re-initialised before the next step."""
        if self.is_spent or trainer.step_count - trainer.began != self.after:
            return False
        return latest_loss(trainer, self.window) >= self.above
