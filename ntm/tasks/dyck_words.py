"""The Dyck words task: tell at each parenthesis whether all parentheses so far are matched."""

import numpy as np
import numpy.typing as npt

from ntm.tasks.base import Seed, SequenceArrays, Task


class DyckWordsTask(Task):
    """Sequences of parentheses: at each step, are the parentheses so far a Dyck word?

    A Dyck word has as many closing as opening parentheses, and no beginning of the word has more closing ones. The word
    ``(())()`` of semilength 3, 0 for an opening and 1 for a closing one::

        step      1   2   3   4   5   6
        word      (   (   )   )   (   )
        input     .   .   1   1   .   1
        target    .   .   .   1   .   1
        mask      1   1   1   1   1   1

    With probability 1/2 the whole sequence is a Dyck word. Otherwise it has as many closing as opening parentheses but
    is no Dyck word. Either way all such words are equally probable. This is ntm-lasagne's encoding.

    Parameters
    ----------
    min_length, max_length : int
        Semilength, the number of opening parentheses: the range of the size "length".
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer or `min_length` is above `max_length`.

    References
    ----------
    ntm-lasagne, DyckWordsTask; Flajolet & Sedgewick 2009, Analytic Combinatorics, notes I.47 to I.49 (the cycle
    lemma); Deleu & Dureau 2016, Learning operations on a stack with Neural Turing Machines.
    """

    def __init__(
        self, min_length: int = 1, max_length: int = 5, batch_size: int = 1, seed: Seed = None
    ) -> None:
        super().__init__(1, 1, {"length": (min_length, max_length)}, batch_size, seed)

    def num_steps(self, length: int) -> int:
        """Return the steps that a word of semilength `length` takes."""
        return 2 * length

    def spell_inputs(self, inputs: np.ndarray) -> list[str]:
        """Return the parenthesis that each step shows."""
        return [")" if step[0] else "(" for step in inputs]

    def make(self, rng: np.random.Generator, length: int) -> SequenceArrays:
        """Draw a word of semilength `length`: see :meth:`Task.make`."""
        word = draw_dyck_word(rng, length) if rng.random() < 0.5 else draw_other_word(rng, length)
        return word[:, None], find_dyck_prefixes(word)[:, None], np.ones(2 * length)


def find_dyck_prefixes(word: npt.ArrayLike) -> np.ndarray:
    """Find the beginnings of a word that are Dyck words.

    Parameters
    ----------
    word : array (T,)
        Zeros for opening parentheses, ones for closing ones.

    Returns
    -------
    array (T,) of bool
        Whether the word up to and with each step is one.
    """
    heights = _heights(word)
    return (heights == 0) & (np.minimum.accumulate(heights) >= 0)


def draw_dyck_word(rng: np.random.Generator, length: int) -> np.ndarray:
    """Draw one of the Dyck words (2 * length,) of semilength `length`, all equally probable.

    Of a word with one closing parenthesis too many there is exactly one rotation whose beginnings all have none too
    many, but for the whole (the cycle lemma): that which begins after the first place where most are. Each
    Dyck word, with the one too many behind it, is the rotation of equally many words.
    """
    word = _shuffle(rng, length, length + 1)
    start = int(_heights(word).argmin()) + 1
    return np.concatenate([word[start:], word[:start]])[:-1]


def draw_other_word(rng: np.random.Generator, length: int) -> np.ndarray:
    """Draw one of the words (2 * length,) of `length` opening and closing parentheses that are no Dyck word.

    All of them are equally probable: turning around each parenthesis after the first one that closes what was not open
    makes them from the words with one opening parenthesis less and one closing one more, one from each (the
    reflection principle).
    """
    word = _shuffle(rng, length - 1, length + 1)
    first = int((_heights(word) < 0).argmax())
    word[first + 1 :] = 1 - word[first + 1 :]
    return word


def _heights(word: npt.ArrayLike) -> np.ndarray:
    """Count the parentheses that are open after each step; the count is below zero where more have been closed."""
    return np.cumsum(1 - 2 * np.asarray(word, np.int64))


def _shuffle(rng: np.random.Generator, opening: int, closing: int) -> np.ndarray:
    """Draw a word of so many opening and closing parentheses in any order."""
    word = np.zeros(opening + closing, np.int64)
    word[opening:] = 1
    rng.shuffle(word)
    return word
