"""The dynamic N-grams task: predict a random process whose probabilities are new in each sequence."""

import numpy as np
import numpy.typing as npt

from ntm.tasks.base import Batch, Seed, SequenceArrays, Task
from ntm.tasks.measures import bits_per_sequence


class DynamicNGramsTask(Task):
    """Sequences of bits to be predicted. Each bit depends on the last few bits, by a table drawn for each sequence.

    With trigrams, `ngrams` = 3, and a sequence of `length` = 6 bits, then one more that is only predicted::

        step      1   2   3   4   5   6
        input     a   b   c   d   e   f
        target    b   c   d   e   f   g
        mask      .   1   1   1   1   1

    For each context of `ngrams` - 1 bits the table has a probability that a one follows, which is drawn from
    Beta(1/2, 1/2). The first `ngrams` - 1 bits are ones with probability 1/2. They depend on no context, and
    predictions of them do not count.

    The network cannot know the table, so no predictions are always right. The goal is to come near the best possible
    predictions: :meth:`optimal_predictions`.

    Parameters
    ----------
    ngrams : int
        Bits of a context and the bit that follows it.
    min_length, max_length : int
        Steps of a sequence, at least `ngrams` - 1: the range of the size "length".
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer, `min_length` is above `max_length` or below `ngrams` - 1.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.4.
    """

    #: Two per cent of the 130 bits that the best possible predictions take on average, for the 196 bits that count
    solved = ("excess_bits", 3.0)

    def __init__(
        self,
        ngrams: int = 6,
        min_length: int = 200,
        max_length: int = 200,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.ngrams = self.check_integer("ngrams", ngrams)
        sizes = {"length": (min_length, max_length)}
        smallest = {"length": max(self.ngrams - 1, 1)}
        super().__init__(1, 1, sizes, batch_size, seed, smallest)

    def num_steps(self, length: int) -> int:
        """Return the steps of a sequence of `length` bits."""
        return length

    def make(self, rng: np.random.Generator, length: int) -> SequenceArrays:
        """Draw a table, and from it a sequence of `length` bits and one more: see :meth:`Task.make`."""
        bits_of_context = self.ngrams - 1
        table = rng.beta(0.5, 0.5, 2**bits_of_context).tolist()
        bits = rng.integers(0, 2, bits_of_context).tolist()
        last_bits = 2**bits_of_context - 1
        context = 0
        for bit in bits:
            context = context << 1 | bit
        # Plain numbers: the loop cannot be vectorised, and is faster than with arrays
        for chance in rng.random(length + 1 - bits_of_context).tolist():
            bit = 1 if chance < table[context] else 0
            bits.append(bit)
            context = (context << 1 | bit) & last_bits
        sequence = np.array(bits, np.float32)[:, None]
        weights = np.zeros(length, np.float32)
        weights[max(bits_of_context - 1, 0) :] = 1.0
        return sequence[:-1], sequence[1:], weights

    def optimal_predictions(self, inputs: npt.ArrayLike) -> np.ndarray:
        """Return the best predictions without the table: those of the Bayesian estimator of the paper's equation 10.

        After a context c that was followed by N1 ones and N0 zeros so far in the sequence::

            P(1 | N1, N0, c) = (N1 + 1/2) / (N1 + N0 + 1)

        Parameters
        ----------
        inputs : array (B, T, 1)

        Returns
        -------
        array (B, T, 1)
            Probabilities, float64. They are 1/2 for the first bits, which depend on no context.
        """
        bits = np.asarray(inputs)[:, :, 0].astype(np.int64)
        batch_size, steps = bits.shape
        predictions = np.full((batch_size, steps, 1), 0.5)
        rows = np.arange(batch_size)
        ones, seen = (np.zeros((batch_size, 2 ** (self.ngrams - 1))) for _ in range(2))
        contexts = np.zeros(batch_size, np.int64)
        for step in range(steps):
            if step >= self.ngrams - 1:  # there is a context before this bit
                ones[rows, contexts] += bits[:, step]
                seen[rows, contexts] += 1
            contexts = (contexts << 1 | bits[:, step]) & 2 ** (self.ngrams - 1) - 1
            if step >= self.ngrams - 2:  # and one before the next
                estimate = (ones[rows, contexts] + 0.5) / (seen[rows, contexts] + 1)
                predictions[:, step, 0] = estimate
        return predictions

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures that :meth:`measure` gives."""
        return (*super().measures, "excess_bits", "ratio")

    def measure(self, predictions: npt.ArrayLike, batch: Batch) -> dict[str, np.ndarray]:
        """Measure how good predictions are, also compared with the optimal ones.

        Parameters
        ----------
        predictions : array (B, T, 1)
        batch : Batch

        Returns
        -------
        dict from str to array (B,)
            Those of :meth:`Task.measure`; "excess_bits", the bits that the predictions take more than the optimal
            ones; "ratio", how many times as many bits they take. In a single sequence, luck may beat the optimum.
        """
        measures = super().measure(predictions, batch)
        optimum = bits_per_sequence(
            self.optimal_predictions(batch.inputs), batch.targets, batch.mask
        )
        return {
            **measures,
            "excess_bits": measures["bits"] - optimum,
            "ratio": measures["bits"] / optimum,
        }
