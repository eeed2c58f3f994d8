"""Curricula: how long and how hard the sequences are, from step to step.

A task's sizes, such as ``{"length": (1, 20)}``, become levels. At level 1 every size is at its lowest. Each level adds
one to every size, up to the size's highest value: several sizes grow together.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from ntm.arguments import Number, make_choice
from ntm.typing import Array

__all__ = [
    "CURRICULA",
    "Curriculum",
    "Exponential",
    "Hardest",
    "HardestLast",
    "Linear",
    "LookBack",
    "LookBackAndForward",
    "Naive",
    "PredictionGain",
    "Uniform",
    "make_curriculum",
]

#: The lowest and the highest value of each size of a task
Ranges: TypeAlias = Mapping[str, tuple[int, int]]
#: The sizes of a batch: an int for all sequences, or an array (B,) of one for each; missing sizes are left to the task
Sizes: TypeAlias = dict[str, Any]

#: A curriculum goes on to the next level when the mean loss of so many steps is low
WINDOW = 100


class Curriculum:
    """Base class: decides the sizes of the next batch, and is told its loss.

    Parameters
    ----------
    sizes : dict from str to pair (lowest, highest)
        A task's sizes.
    rng : numpy.random.Generator
        What random choices are drawn from.

    Attributes
    ----------
    level : int
        From 1 to `num_levels`.
    """

    #: Whether :meth:`update` needs to know how much a step lowered the loss, which takes two more forward passes
    needs_gain = False

    def __init__(self, sizes: Ranges, rng: np.random.Generator) -> None:
        self.ranges = dict(sizes)
        self.rng = rng
        self.num_levels = 1 + max((high - low for low, high in self.ranges.values()), default=0)
        self.level = 1

    @property
    def reach(self) -> int:
        """The highest level that the next batch may have."""
        return self.level

    @property
    def stage(self) -> int:
        """A number that changes when losses can no longer be compared with those before."""
        return self.level

    @property
    def at_end(self) -> bool:
        """Whether sequences get no harder any more."""
        return self.stage >= self.num_levels

    def sizes_at(self, level: int) -> dict[str, int]:
        """Return the sizes at a level."""
        return {name: min(low + level - 1, high) for name, (low, high) in self.ranges.items()}

    def draw(self, batch_size: int) -> Sizes:
        """Draw sizes for the next batch: a dict of ints, or of arrays (B,). An empty dict leaves them to the task."""
        raise NotImplementedError

    def draw_up_to(self, level: int, batch_size: int) -> Sizes:
        """Draw sizes uniformly up to those of a level: a dict of arrays (B,)."""
        highest = self.sizes_at(level)
        return {
            name: self.rng.integers(low, highest[name] + 1, batch_size)
            for name, (low, _) in self.ranges.items()
        }

    def update(self, bits: float, gain: float | None = None) -> None:
        """Take note of a step.

        Parameters
        ----------
        bits : float
            The loss of the batch that was drawn last, in bits per sequence.
        gain : float, optional
            How much the step lowered that loss, in bits per time step.
        """

    def get_state(self) -> dict[str, Any]:
        """Return what :meth:`set_state` needs to go on exactly, as JSON takes it. The generator is not part of it."""
        return {"level": self.level}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of :meth:`get_state`."""
        for name, value in state.items():
            setattr(self, name, value)


class Uniform(Curriculum):
    """Draws every size of every sequence uniformly over its whole range, as the papers do."""

    def __init__(self, sizes: Ranges, rng: np.random.Generator) -> None:
        super().__init__(sizes, rng)
        self.level = self.num_levels

    def draw(self, batch_size: int) -> Sizes:
        return {}


class Hardest(Curriculum):
    """Always the largest sizes: no curriculum."""

    def __init__(self, sizes: Ranges, rng: np.random.Generator) -> None:
        super().__init__(sizes, rng)
        self.level = self.num_levels

    def draw(self, batch_size: int) -> Sizes:
        return self.sizes_at(self.num_levels)


class Naive(Curriculum):
    """One level at a time: the next level begins when the mean loss of 100 steps is below `advance_below`.

    Parameters
    ----------
    advance_below : float
        In bits per sequence.

    References
    ----------
    Zaremba & Sutskever 2014, Learning to execute, section 5.
    """

    def __init__(self, sizes: Ranges, rng: np.random.Generator, advance_below: float = 1.0) -> None:
        super().__init__(sizes, rng)
        name = f"{type(self).__name__}: advance_below"
        self.advance_below = Number(float, above=0).check(name, advance_below)
        self.recent: list[float] = []

    def draw(self, batch_size: int) -> Sizes:
        return self.sizes_at(self.level)

    def update(self, bits: float, gain: float | None = None) -> None:
        self.recent = [*self.recent, bits][-WINDOW:]
        if len(self.recent) == WINDOW and np.mean(self.recent) < self.advance_below:
            self.advance()
            self.recent = []

    def advance(self) -> None:
        """Go on to the next level."""
        self.level = min(self.level + 1, self.num_levels)

    def get_state(self) -> dict[str, Any]:
        return {"level": self.level, "recent": self.recent}


class LookBack(Naive):
    """As :class:`Naive`, but a tenth of the batches have sizes of the levels so far, so that these stay learnt."""

    share = 0.1

    def draw(self, batch_size: int) -> Sizes:
        if self.rng.random() >= self.share:
            return self.sizes_at(self.level)
        return self.sizes_at(int(self.rng.integers(1, self.reach + 1)))


class LookBackAndForward(LookBack):
    """As :class:`Naive`, but a fifth of the batches have sizes of any level.

    References
    ----------
    Zaremba & Sutskever 2014, Learning to execute, section 5 ("combined strategy").
    """

    share = 0.2

    @property
    def reach(self) -> int:
        return self.num_levels


class Exponential(Naive):
    """Draws sizes uniformly up to a level, which grows when the mean loss of 100 steps is below `advance_below`.

    Parameters
    ----------
    advance_below : float
        In bits per sequence.
    factor : float
        The level is multiplied by this, and grows by one at least.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 4.3.
    """

    def __init__(
        self,
        sizes: Ranges,
        rng: np.random.Generator,
        advance_below: float = 1.0,
        factor: float = 2.0,
    ) -> None:
        super().__init__(sizes, rng, advance_below)
        self.factor = Number(float, above=1).check("Exponential: factor", factor)

    def draw(self, batch_size: int) -> Sizes:
        return self.draw_up_to(self.level, batch_size)

    def advance(self) -> None:
        self.level = min(max(self.level + 1, int(self.factor * self.level)), self.num_levels)


class HardestLast(Naive):
    """Uniform until the mean loss of 100 steps is below `advance_below`, then half of the batches at the largest sizes.

    The mistakes that a network makes once in a thousand sequences are mostly in the longest sequences. A network that
    learns to get these right generalises to longer ones.

    Parameters
    ----------
    advance_below : float
        In bits per sequence.
    """

    share = 0.5
    #: The curriculum does not end before so many steps with the largest sizes
    least_steps = 1000

    def __init__(self, sizes: Ranges, rng: np.random.Generator, advance_below: float = 1.0) -> None:
        super().__init__(sizes, rng, advance_below)
        self.level = self.num_levels
        self.last_steps: int | None = None

    @property
    def stage(self) -> int:
        return self.level + (self.last_steps is not None)

    @property
    def at_end(self) -> bool:
        return self.last_steps is not None and self.last_steps >= self.least_steps

    def draw(self, batch_size: int) -> Sizes:
        if self.last_steps is None or self.rng.random() >= self.share:
            return {}
        return self.sizes_at(self.level)

    def update(self, bits: float, gain: float | None = None) -> None:
        if self.last_steps is None:
            super().update(bits, gain)
        else:
            self.last_steps += 1

    def advance(self) -> None:
        self.last_steps = 0

    def get_state(self) -> dict[str, Any]:
        return super().get_state() | {"last_steps": self.last_steps}


class Linear(Curriculum):
    """Draws sizes uniformly up to a level, which grows by `add` after every `every` steps.

    Parameters
    ----------
    add : int
        Levels.
    every : int
        Steps.
    """

    def __init__(
        self, sizes: Ranges, rng: np.random.Generator, add: int = 1, every: int = 1000
    ) -> None:
        super().__init__(sizes, rng)
        self.add = Number(int, 1).check("Linear: add", add)
        self.every = Number(int, 1).check("Linear: every", every)
        self.steps = 0

    def draw(self, batch_size: int) -> Sizes:
        return self.draw_up_to(self.level, batch_size)

    def update(self, bits: float, gain: float | None = None) -> None:
        self.steps += 1
        if self.steps % self.every == 0:
            self.level = min(self.level + self.add, self.num_levels)

    def get_state(self) -> dict[str, Any]:
        return {"level": self.level, "steps": self.steps}


class PredictionGain(Curriculum):
    """A bandit (Exp3.S) that draws the levels at which a step lowers the loss most, per time step.

    Parameters
    ----------
    eta : float
        Learning rate of the bandit.
    epsilon : float
        Share of the draws that are uniform over all levels.

    References
    ----------
    Graves et al. 2017, Automated curriculum learning for neural networks, sections 2.2, 2.3 and 3.1.
    """

    needs_gain = True
    #: How many gains the sample holds that rewards are scaled by
    kept = 1_000

    def __init__(
        self,
        sizes: Ranges,
        rng: np.random.Generator,
        eta: float = 1e-3,
        epsilon: float = 0.05,
    ) -> None:
        super().__init__(sizes, rng)
        self.eta = Number(float, above=0).check("PredictionGain: eta", eta)
        self.epsilon = Number(float, above=0, high=1).check("PredictionGain: epsilon", epsilon)
        self.log_weights = [0.0] * self.num_levels
        self.gains: list[float] = []
        self.steps = 0

    @property
    def reach(self) -> int:
        return self.num_levels

    stage = reach  # Levels come and go: losses of all levels are compared with each other

    @property
    def probabilities(self) -> Array:
        """The probability of each level, (num_levels,)."""
        weights = np.exp(np.array(self.log_weights) - max(self.log_weights))
        return (1 - self.epsilon) * weights / weights.sum() + self.epsilon / self.num_levels

    def draw(self, batch_size: int) -> Sizes:
        self.level = 1 + int(self.rng.choice(self.num_levels, p=self.probabilities))
        return self.sizes_at(self.level)

    def update(self, bits: float, gain: float | None = None) -> None:
        if gain is None:
            raise ValueError("PredictionGain: update needs the gain of the step")
        self.steps += 1
        self._remember(gain)
        low, high = np.quantile(self.gains, [0.2, 0.8])
        reward = 0.0 if high <= low else 2.0 * (gain - low) / (high - low) - 1.0
        estimate = np.zeros(self.num_levels)
        estimate[self.level - 1] = np.clip(reward, -1, 1) / self.probabilities[self.level - 1]
        grown = np.array(self.log_weights) + self.eta * estimate
        if self.num_levels > 1:
            # Each level gives a share of its weight to the other levels, so that no level is lost for good
            share = 1.0 / (self.steps + 1)
            weights = np.exp(grown - grown.max())
            others = (weights.sum() - weights) / (self.num_levels - 1)
            grown = np.log((1 - share) * weights + share * others) + grown.max()
        self.log_weights = (grown - grown.max()).tolist()

    def _remember(self, gain: float) -> None:
        """Keep a sample of all gains (reservoir sampling): each gain so far is in it with the same probability."""
        if len(self.gains) < self.kept:
            self.gains = [*self.gains, gain]
        elif (place := int(self.rng.integers(self.steps))) < self.kept:
            self.gains = [*self.gains[:place], gain, *self.gains[place + 1 :]]

    def get_state(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "log_weights": self.log_weights,
            "gains": self.gains,
            "steps": self.steps,
        }


#: The curricula by their names on the command line
CURRICULA: dict[str, type[Curriculum]] = {
    "uniform": Uniform,
    "none": Hardest,
    "naive": Naive,
    "look-back": LookBack,
    "look-back-and-forward": LookBackAndForward,
    "exponential": Exponential,
    "hardest-last": HardestLast,
    "linear": Linear,
    "prediction-gain": PredictionGain,
}


def make_curriculum(
    name: str,
    sizes: Ranges,
    rng: np.random.Generator,
    options: Mapping[str, Any] | None = None,
) -> Curriculum:
    """Make a curriculum by its name.

    Parameters
    ----------
    name : str
        One of `CURRICULA`.
    sizes : dict from str to pair (lowest, highest)
    rng : numpy.random.Generator
    options : dict, optional
        Further arguments of that curriculum.

    Raises
    ------
    ValueError
        If there is no such curriculum, the curriculum has no such option, or a number is out of its range.
    """
    return make_choice("curriculum", name, CURRICULA, sizes, rng, options=options)
