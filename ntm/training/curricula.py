"""Curricula: how long and how hard the sequences are, from step to step.

A task's sizes, such as ``{"length": (1, 20)}``, become levels: at level 1 every size is at its lowest, with each level
it is one larger, up to its highest. Where there are several sizes they grow together.
"""

import numpy as np

from ntm.arguments import Number, is_integer, make_choice

#: Of how many steps a curriculum looks at the loss, before it goes on to the next level
WINDOW = 100


class Curriculum:
    """Base class: decides the sizes of the next batch, and is told how it went.

    Parameters
    ----------
    sizes : dict from name to pair (lowest, highest)
        A task's sizes.
    rng : numpy.random.Generator
        What random choices are drawn from.

    Attributes
    ----------
    level : int
        From 1 to `num_levels`.
    """

    #: Whether :meth:`update` is to be told by how much the step lowered the batch's loss; costs a second forward run
    needs_gain = False

    def __init__(self, sizes, rng):
        self.ranges = dict(sizes)
        self.rng = rng
        self.num_levels = 1 + max((high - low for low, high in self.ranges.values()), default=0)
        self.level = 1

    @property
    def reach(self):
        """The highest level that the next batch may be of."""
        return self.level

    @property
    def stage(self):
        """A number that changes where losses are not to be compared with those before."""
        return self.level

    @property
    def at_end(self):
        """Whether nothing harder is to come."""
        return self.stage >= self.num_levels

    def sizes_at(self, level):
        """The sizes at a level."""
        return {name: min(low + level - 1, high) for name, (low, high) in self.ranges.items()}

    def draw(self, batch_size):
        """Sizes for the next batch: a dict of ints, or of arrays (B,); an empty one leaves them to the task."""
        raise NotImplementedError

    def draw_up_to(self, level, batch_size):
        """Sizes drawn uniformly up to those of a level: a dict of arrays (B,)."""
        highest = self.sizes_at(level)
        return {
            name: self.rng.integers(low, highest[name] + 1, batch_size)
            for name, (low, _) in self.ranges.items()
        }

    def update(self, bits, gain=None):
        """Take note of a step.

        Parameters
        ----------
        bits : float
            The loss of the batch that was drawn last, in bits a sequence.
        gain : float, optional
            By how much the step lowered it, in bits per time step.
        """

    def get_state(self):
        """What :meth:`set_state` needs to go on exactly, as JSON takes it; the generator apart."""
        return {"level": self.level}

    def set_state(self, state):
        """Go on from a state of :meth:`get_state`."""
        for name, value in state.items():
            setattr(self, name, value)


class Uniform(Curriculum):
    """Every size anew for every sequence, uniformly over its whole range: as the papers train."""

    def __init__(self, sizes, rng):
        super().__init__(sizes, rng)
        self.level = self.num_levels

    def draw(self, batch_size):
        return {}


class Hardest(Curriculum):
    """No curriculum: always the largest sizes."""

    def __init__(self, sizes, rng):
        super().__init__(sizes, rng)
        self.level = self.num_levels

    def draw(self, batch_size):
        return self.sizes_at(self.num_levels)


class Naive(Curriculum):
    """One level at a time: the next one once the mean loss of 100 steps is below `advance_below`.

    Parameters
    ----------
    advance_below : float
        In bits a sequence.

    References
    ----------
    Zaremba & Sutskever 2014, Learning to execute, section 5.
    """

    def __init__(self, sizes, rng, advance_below=1.0):
        super().__init__(sizes, rng)
        name = f"{type(self).__name__}: advance_below"
        self.advance_below = Number(float, above=0).check(name, advance_below)
        self.recent = []

    def draw(self, batch_size):
        return self.sizes_at(self.level)

    def update(self, bits, gain=None):
        self.recent = [*self.recent, bits][-WINDOW:]
        if len(self.recent) == WINDOW and np.mean(self.recent) < self.advance_below:
            self.advance()
            self.recent = []

    def advance(self):
        """Go on to what comes next."""
        self.level = min(self.level + 1, self.num_levels)

    def get_state(self):
        return {"level": self.level, "recent": self.recent}


class LookBack(Naive):
    """As :class:`Naive`, but a tenth of the batches are drawn from the levels so far, so that these stay learnt."""

    share = 0.1

    def draw(self, batch_size):
        if self.rng.random() >= self.share:
            return self.sizes_at(self.level)
        return self.sizes_at(int(self.rng.integers(1, self.reach + 1)))


class LookBackAndForward(LookBack):
    """As :class:`Naive`, but a fifth of the batches are drawn from all levels.

    References
    ----------
    Zaremba & Sutskever 2014, Learning to execute, section 5 ("combined strategy").
    """

    share = 0.2

    @property
    def reach(self):
        return self.num_levels


class Exponential(Naive):
    """Sizes drawn uniformly up to a level, which grows once the mean loss of 100 steps is below `advance_below`.

    Parameters
    ----------
    advance_below : float
        In bits a sequence.
    factor : float
        What the level is multiplied by; it grows by one at least.

    References
    ----------
    Rae et al. 2016, Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes, section 4.3.
    """

    def __init__(self, sizes, rng, advance_below=1.0, factor=2.0):
        super().__init__(sizes, rng, advance_below)
        if not 1 < factor < np.inf:
            raise ValueError(f"Exponential: factor must be a number above 1, not {factor!r}")
        self.factor = factor

    def draw(self, batch_size):
        return self.draw_up_to(self.level, batch_size)

    def advance(self):
        self.level = min(max(self.level + 1, int(self.factor * self.level)), self.num_levels)


class HardestLast(Naive):
    """Uniform, until the mean loss of 100 steps is below `advance_below`; then half of the batches are of the largest.

    What a network does wrong once in a thousand sequences it does most often in the longest, and what it has to do
    there to be right holds for still longer ones.

    Parameters
    ----------
    advance_below : float
        In bits a sequence.
    """

    share = 0.5
    #: It is not over before so many steps with the largest sizes
    least_steps = 1000

    def __init__(self, sizes, rng, advance_below=1.0):
        super().__init__(sizes, rng, advance_below)
        self.level = self.num_levels
        self.last_steps: int | None = None

    @property
    def stage(self):
        return self.level + (self.last_steps is not None)

    @property
    def at_end(self):
        return self.last_steps is not None and self.last_steps >= self.least_steps

    def draw(self, batch_size):
        if self.last_steps is None or self.rng.random() >= self.share:
            return {}
        return self.sizes_at(self.level)

    def update(self, bits, gain=None):
        if self.last_steps is None:
            super().update(bits, gain)
        else:
            self.last_steps += 1

    def advance(self):
        self.last_steps = 0

    def get_state(self):
        return super().get_state() | {"last_steps": self.last_steps}


class Linear(Curriculum):
    """Sizes drawn uniformly up to a level that grows by `add` every so many steps.

    Parameters
    ----------
    add, every : int
        Levels, and steps.
    """

    def __init__(self, sizes, rng, add=1, every=1000):
        super().__init__(sizes, rng)
        for name, value in (("add", add), ("every", every)):
            if not is_integer(value) or value < 1:
                raise ValueError(f"Linear: {name} must be a positive integer, not {value!r}")
        self.add, self.every = add, every
        self.steps = 0

    def draw(self, batch_size):
        return self.draw_up_to(self.level, batch_size)

    def update(self, bits, gain=None):
        self.steps += 1
        if self.steps % self.every == 0:
            self.level = min(self.level + self.add, self.num_levels)

    def get_state(self):
        return {"level": self.level, "steps": self.steps}


class PredictionGain(Curriculum):
    """A bandit that draws the levels at which a step lowers the loss most, for their length (Exp3.S).

    Parameters
    ----------
    eta : float
        Learning rate of the bandit.
    epsilon : float
        Share of draws that are uniform over all levels.

    References
    ----------
    Graves et al. 2017, Automated curriculum learning for neural networks, sections 2.2, 2.3 and 3.1.
    """

    needs_gain = True
    kept = 1_000

    def __init__(self, sizes, rng, eta=1e-3, epsilon=0.05):
        super().__init__(sizes, rng)
        self.eta = Number(float, above=0).check("PredictionGain: eta", eta)
        self.epsilon = Number(float, above=0, high=1).check("PredictionGain: epsilon", epsilon)
        self.log_weights = [0.0] * self.num_levels
        self.gains = []
        self.steps = 0

    @property
    def reach(self):
        return self.num_levels

    stage = reach  # Levels come and go; losses are compared over all of them

    @property
    def probabilities(self):
        """Of each level, (num_levels,)."""
        weights = np.exp(np.array(self.log_weights) - max(self.log_weights))
        return (1 - self.epsilon) * weights / weights.sum() + self.epsilon / self.num_levels

    def draw(self, batch_size):
        self.level = 1 + int(self.rng.choice(self.num_levels, p=self.probabilities))
        return self.sizes_at(self.level)

    def update(self, bits, gain=None):
        self.steps += 1
        self._remember(gain)
        low, high = np.quantile(self.gains, [0.2, 0.8])
        reward = 0.0 if high <= low else 2.0 * (gain - low) / (high - low) - 1.0
        estimate = np.zeros(self.num_levels)
        estimate[self.level - 1] = np.clip(reward, -1, 1) / self.probabilities[self.level - 1]
        grown = np.array(self.log_weights) + self.eta * estimate
        if self.num_levels > 1:
            # Each level gives a share of its weight to the others, so that none is lost for good
            share = 1.0 / (self.steps + 1)
            weights = np.exp(grown - grown.max())
            others = (weights.sum() - weights) / (self.num_levels - 1)
            grown = np.log((1 - share) * weights + share * others) + grown.max()
        self.log_weights = (grown - grown.max()).tolist()

    def _remember(self, gain):
        """Keep a sample of all gains, later ones being as likely in it as early ones."""
        if len(self.gains) < self.kept:
            self.gains = [*self.gains, gain]
        elif (place := int(self.rng.integers(self.steps))) < self.kept:
            self.gains = [*self.gains[:place], gain, *self.gains[place + 1 :]]

    def get_state(self):
        return {
            "level": self.level,
            "log_weights": self.log_weights,
            "gains": self.gains,
            "steps": self.steps,
        }


CURRICULA = {
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


def make_curriculum(name, sizes, rng, options=None):
    """A curriculum by its name.

    Parameters
    ----------
    name : str
        One of `CURRICULA`.
    sizes : dict from name to pair (lowest, highest)
    rng : numpy.random.Generator
    options : dict, optional
        Further arguments of that curriculum.

    Raises
    ------
    ValueError
        If there is no such curriculum, or it has no such option.
    """
    return make_choice("curriculum", name, CURRICULA, sizes, rng, options=options)
