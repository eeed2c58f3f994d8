"""What a sweep varies: the values of each setting, all combinations of them (a grid), or random draws."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ntm.arguments import Number

#: A value of each setting that a sweep varies, as a word of the command line
Configuration: TypeAlias = dict[str, str]

#: What stands between the ends of a range
DOTS = ".."
#: What a range begins with whose draws are uniform in the logarithm
LOG = "log:"
#: Draws in a row that were all drawn before, after which there are taken to be no others
MOST_DRAWS = 100_000


@dataclass(frozen=True)
class Choices:
    """Values of a setting, one after the other.

    Attributes
    ----------
    values : tuple of str
        As words of the command line.
    """

    values: tuple[str, ...]

    def count(self) -> int:
        """Return how many values there are."""
        return len(self.values)

    def draw(self, rng: np.random.Generator) -> str:
        """Draw one of the values, each with the same probability."""
        return self.values[int(rng.integers(len(self.values)))]

    def __str__(self) -> str:
        return ",".join(self.values)


@dataclass(frozen=True)
class Range:
    """All numbers of a range as values of a setting.

    Attributes
    ----------
    low, high : float or int
        The ends, which are in the range. Whole numbers are drawn if both are of type int.
    is_log : bool
        Whether draws are uniform in the logarithm.
    """

    low: float
    high: float
    is_log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def count(self) -> float:
        """Return how many values there are: infinitely many unless whole numbers are drawn."""
        return self.high - self.low + 1 if self.is_whole else math.inf

    def draw(self, rng: np.random.Generator) -> str:
        """Draw a number."""
        if self.is_whole and not self.is_log:
            return str(rng.integers(int(self.low), int(self.high) + 1))
        if self.is_log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        if self.is_whole:
            return str(min(max(round(value), int(self.low)), int(self.high)))
        return self.write(min(max(value, self.low), self.high))

    def write(self, value: float) -> str:
        """Return a number of the range as a word, which is in the range too: with six digits, or with all."""
        word = str(value) if isinstance(value, int) else f"{value:.6g}"
        return word if self.low <= float(word) <= self.high else repr(float(value))

    def __str__(self) -> str:
        return f"{LOG if self.is_log else ''}{self.low}{DOTS}{self.high}"


#: What a sweep varies, by the names of settings
Space: TypeAlias = dict[str, Choices | Range]


def parse_space(words: Sequence[str]) -> Space:
    """Return what words such as ``learning_rate=1e-4,3e-4`` and ``clip_norm=log:0.1..10`` vary.

    Parameters
    ----------
    words : list of str
        Each is ``NAME=VALUE,VALUE,...``, ``NAME=LOW..HIGH`` or ``NAME=log:LOW..HIGH``. A hyphen in a name counts as an
        underscore.

    Raises
    ------
    ValueError
        If a word is none of these, a name or a value stands twice, or a range is empty.
    """
    space: Space = {}
    for word in words:
        name, equals, values = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name.isidentifier() or not values.strip():
            raise ValueError(
                f"{word!r}: expected NAME=VALUE,VALUE,... or NAME=LOW{DOTS}HIGH, such as learning_rate=1e-4,3e-4"
            )
        if name in space:
            raise ValueError(f"{word!r}: {name} is given twice: give all its values at once")
        space[name] = _parse_range(word, values) if DOTS in values else _parse_choices(word, values)
    return space


def _parse_choices(word: str, text: str) -> Choices:
    values = tuple(each.strip() for each in text.split(","))
    if not all(values):
        raise ValueError(f"{word!r}: a value is empty")
    twice = sorted({each for each in values if values.count(each) > 1})
    if twice:
        raise ValueError(f"{word!r}: {', '.join(twice)} is given twice")
    return Choices(values)


def _parse_range(word: str, text: str) -> Range:
    is_log = text.strip().startswith(LOG)
    ends = text.strip().removeprefix(LOG).split(DOTS)
    numbers = [_parse_number(each) for each in ends]
    if len(numbers) != 2 or None in numbers:
        raise ValueError(f"{word!r}: a range is LOW{DOTS}HIGH, two finite numbers")
    low, high = (each for each in numbers if each is not None)
    if isinstance(low, float) or isinstance(high, float):
        low, high = float(low), float(high)
    if low >= high:
        raise ValueError(f"{word!r}: the lower end, {low}, must be below the upper end, {high}")
    if is_log and low <= 0:
        raise ValueError(f"{word!r}: the lower end of a {LOG} range must be above 0, not {low}")
    return Range(low, high, is_log)


def _parse_number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None


def list_configurations(space: Mapping[str, Choices | Range]) -> list[Configuration]:
    """Return all combinations of the values: a grid. The last setting changes fastest.

    Raises
    ------
    ValueError
        If a setting has a range, which has no end of values.
    """
    for name, values in space.items():
        if isinstance(values, Range):
            raise ValueError(
                f"{name}={values} is a range, and a grid needs values, such as {name}={values.low},{values.high}; "
                "random and optuna searches draw from ranges"
            )
    combinations = itertools.product(*(values.values for values in space.values()))  # type: ignore[union-attr]
    return [dict(zip(space, each, strict=True)) for each in combinations]


def draw_configurations(
    space: Mapping[str, Choices | Range], count: int, seed: int
) -> list[Configuration]:
    """Draw configurations at random. The first ones stay the same where `count` grows.

    Parameters
    ----------
    space : dict from str to Choices or Range
    count : int
        How many. Where there are fewer combinations in all, each of these once.
    seed : int
        Of the draws.

    Raises
    ------
    ValueError
        If a range is so narrow that it has fewer numbers of six digits.
    """
    count = Number(int, 1).check("draw_configurations: count", count)
    rng = np.random.default_rng(seed)
    if all(isinstance(values, Choices) for values in space.values()):
        every = list_configurations(space)
        order = rng.permutation(len(every))
        return [every[k] for k in order[:count]]
    count = int(min(count, count_configurations(space)))
    found: dict[tuple[str, ...], Configuration] = {}
    repeats = 0
    while len(found) < count:
        drawn = {name: values.draw(rng) for name, values in space.items()}
        repeats = repeats + 1 if tuple(drawn.values()) in found else 0
        found.setdefault(tuple(drawn.values()), drawn)
        if repeats == MOST_DRAWS:
            words = " ".join(f"{name}={values}" for name, values in space.items())
            raise ValueError(
                f"{words}: expected {count:,} different ones: {len(found):,} were found, so draw fewer, or give wider "
                "ranges"
            )
    return list(found.values())


def count_configurations(space: Mapping[str, Choices | Range]) -> float:
    """Return how many different configurations there are: infinitely many if a range is not of whole numbers."""
    return math.prod(values.count() for values in space.values())


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that a word such as ``0-9`` or ``0,3,100-104`` stands for.

    Raises
    ------
    ValueError
        If the word is no list of seeds and ranges of seeds, or a seed stands twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ValueError(f"{text!r}: expected seeds such as 0-9 or 0,3,7")
        first, last = int(low), int(high or low)
        if last < first:
            raise ValueError(f"{text!r}: {part.strip()} goes down: expected {last}-{first}")
        if last >= 2**32 or last - first >= 100_000:
            raise ValueError(f"{text!r}: seeds are below 2**32, and at most 100,000 at once")
        seeds += range(first, last + 1)
    if len({*seeds}) < len(seeds):
        raise ValueError(f"{text!r}: a seed is given twice")
    return seeds
