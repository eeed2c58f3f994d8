"""What to do when training falls, or does not get anywhere."""

import numpy as np


def latest_loss(trainer, count):
    """The mean loss of a trainer's latest steps, so many at most, from where it last began.

    Steps that were skipped are left out; infinite if all of them were.
    """
    losses = np.array(trainer.losses[max(trainer.began, len(trainer.losses) - count) :])
    finite = losses[np.isfinite(losses)]
    return float(finite.mean()) if len(finite) else np.inf


class Rewinder:
    """Takes training back to where it was best, with smaller steps, when it falls back or gets no further.

    Memory networks fall: what they learn is sharp, and a few unlucky batches in a row can undo it for good. After every
    `window` steps the mean loss is compared with the best there was in the curriculum's stage, once that is below half
    of where the stage began. If it stays above `tolerance` times the best for `patience` windows, or there is no better
    one for `stale` windows, the state of the best one is put back and the learning rate multiplied by `factor`.

    Parameters
    ----------
    window : int
        Steps.
    patience, stale : int
        Windows.
    tolerance, factor : float
    lowest_rate : float
        Below which the learning rate is not lowered, as a part of what it was.
    """

    def __init__(
        self, window=200, patience=3, stale=20, tolerance=3.0, factor=0.5, lowest_rate=1 / 32
    ):
        self.window, self.patience, self.stale = window, patience, stale
        self.tolerance, self.factor, self.lowest_rate = tolerance, factor, lowest_rate
        #: The steps that training was taken back at, and the steps that it was taken back to
        self.rewound: list[list[int]] = []
        self.reset()

    def reset(self):
        """Forget what was best: training begins anew."""
        #: What the learning rate is multiplied by, from here on
        self.rate = 1.0
        self.stage: int | None = None
        self.first = self.best = np.inf
        self.best_step = 0
        self.bad_windows = self.windows_since_best = 0

    def look(self, trainer):
        """Whether to ``"keep"`` the trainer's state, to go ``"back"`` to the one kept last, or ``None`` of these."""
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
        # A best loss of nearly nothing is not to make three times nothing a fall
        fell = loss > self.tolerance * max(self.best, 0.01 * self.first)
        self.bad_windows = self.bad_windows + 1 if fell else 0
        if self.best > self.first / 2 or (
            self.bad_windows < self.patience and self.windows_since_best < self.stale
        ):
            return None
        self.rewound.append([trainer.step_count, self.best_step])
        self.rate = max(self.rate * self.factor, self.lowest_rate)
        # A best loss that does not come again was luck; without this, luck would take training back forever
        self.best = min(self.best * self.tolerance, self.first / 2)
        self.bad_windows = self.windows_since_best = 0
        return "back"

    def get_state(self):
        """What :meth:`set_state` needs, as JSON takes it; what has not been seen yet is None."""
        return {
            name: None if value == np.inf else value
            for name, value in vars(self).items()
            if name not in ("window", "patience", "stale", "tolerance", "factor", "lowest_rate")
        }

    def set_state(self, state):
        """Go on from a state of :meth:`get_state`."""
        for name, value in state.items():
            setattr(self, name, np.inf if value is None and name in ("first", "best") else value)


class Restarter:
    """Begins training anew, with other parameters, when by some step it has not learnt.

    Whether a memory network finds out how to use its memory depends on its first parameters and sequences. One that has
    not by the time when others have seldom does later. `after` steps from where training began, if the mean loss of
    the last `window` steps is not below `above`, parameters are drawn anew; the update rule's state, the curriculum,
    the learning rate's schedule and the rewinder begin anew too. So it is when steps are no longer finite. The steps
    and sequences before it count.

    Parameters
    ----------
    redraw : callable
        From 1, 2, ... for the first restart, the second, ... to values for all parameters, in the order of
        :func:`lasagne.layers.get_all_params`.
    after : int
        Steps.
    above : float
        Loss: bits a sequence, or squared error.
    max_restarts : int
    window : int
        Steps.

    Attributes
    ----------
    restarts : list of int
        After which steps training began anew.
    """

    def __init__(self, redraw, after, above, max_restarts=10, window=200):
        self.redraw, self.after, self.above = redraw, after, above
        self.max_restarts, self.window = max_restarts, window
        self.restarts: list[int] = []

    @property
    def is_spent(self):
        """Whether training does not begin anew any more."""
        return len(self.restarts) >= self.max_restarts

    def look(self, trainer):
        """Whether the trainer is to begin anew before its next step."""
        if self.is_spent or trainer.step_count - trainer.began != self.after:
            return False
        return latest_loss(trainer, self.window) >= self.above
