"""The associative recall task: read a list of items and one of them once more, then give back the one after it."""

import numpy as np

from ntm.tasks.base import Seed, SequenceArrays, Task


class AssociativeRecallTask(Task):
    """Lists of items, each of some vectors of random bits, then a query: which item came after this one?

    With three items of two vectors, a b, c d and e f, of `size` bits, and the second as the query::

        step      1   2   3   4   5   6   7   8   9  10  11  12  13  14  15
        input     .   a   b   .   c   d   .   e   f   .   c   d   .   .   .     channels 0 ... size - 1
        item      1   .   .   1   .   .   1   .   .   .   .   .   .   .   .     channel size
        query     .   .   .   .   .   .   .   .   .   1   .   .   1   .   .     channel size + 1
        target    .   .   .   .   .   .   .   .   .   .   .   .   .   e   f     channels 0 ... size - 1
        mask      .   .   .   .   .   .   .   .   .   .   .   .   .   1   1

    This is ntm-lasagne's encoding, without the two channels of its targets that are always zero.

    The items of a list differ from each other, so that there is one answer; each but the last is the query
    with equal probability.

    Parameters
    ----------
    size : int
        Bits in a vector.
    min_item_length, max_item_length : int
        Vectors in an item: the range of the size "item_length".
    min_items, max_items : int
        Items in a list, two at least: the range of the size "items".
    batch_size, seed :
        See :class:`Task`.

    Raises
    ------
    ValueError
        If a number is no positive integer, the lower end of a range is above the upper one, `min_items` is one
        or there are fewer different items than `max_items`.

    References
    ----------
    Graves et al. 2014, Neural Turing Machines, section 4.3.
    """

    def __init__(
        self,
        size: int = 6,
        min_item_length: int = 3,
        max_item_length: int = 3,
        min_items: int = 2,
        max_items: int = 6,
        batch_size: int = 1,
        seed: Seed = None,
    ) -> None:
        self.size = self.check_integer("size", size)
        sizes = {"item_length": (min_item_length, max_item_length), "items": (min_items, max_items)}
        smallest = {"items": 2}
        super().__init__(self.size + 2, self.size, sizes, batch_size, seed, smallest)
        self._check_items(min_item_length, max_items)

    def num_steps(self, item_length: int, items: int) -> int:
        """Return the steps that a list of so many items of `item_length` vectors takes, and its query and answer."""
        return (item_length + 1) * (items + 2)

    def count_items(self, item_length: int, items: int) -> int:
        """Return how many items the network has to keep: `items`, if each item is written to one slot."""
        return items

    @property
    def input_names(self) -> dict[int, str]:
        """The channels that are no bits of a vector."""
        return {self.size: "item", self.size + 1: "query"}

    def make(self, rng: np.random.Generator, item_length: int, items: int) -> SequenceArrays:
        """Draw a list of `items` items of `item_length` vectors: see :meth:`Task.make`."""
        self._check_items(item_length, items)
        lists = self._draw_items(rng, item_length, items)
        query = rng.integers(items - 1)
        # Each part is a step with a marker and the vectors of an item: the list, the query and the answer
        inputs = np.zeros((items + 2, item_length + 1, self.num_inputs), np.float32)
        targets = np.zeros((items + 2, item_length + 1, self.num_outputs), np.float32)
        weights = np.zeros((items + 2, item_length + 1), np.float32)
        inputs[:items, 0, -2] = 1.0
        inputs[items:, 0, -1] = 1.0
        inputs[:items, 1:, :-2] = lists
        inputs[items, 1:, :-2] = lists[query]
        targets[-1, 1:] = lists[query + 1]
        weights[-1, 1:] = 1.0
        parts = (inputs, targets, weights)
        inputs, targets, weights = (part.reshape(-1, *part.shape[2:]) for part in parts)
        return inputs, targets, weights

    def _draw_items(self, rng: np.random.Generator, item_length: int, items: int) -> np.ndarray:
        """Draw items (items, item_length, size) that are all different."""
        drawn: dict[bytes, None] = {}  # not a set: in the order in which they were drawn
        while len(drawn) < items:
            more = rng.integers(0, 2, (items - len(drawn), item_length * self.size), np.uint8)
            drawn.update(dict.fromkeys(item.tobytes() for item in more))
        return np.frombuffer(b"".join(drawn), np.uint8).reshape(items, item_length, self.size)

    def _check_items(self, item_length: int, items: int) -> None:
        bits = self.size * item_length
        if items > 2**bits:
            self._fail(
                f"there are {2**bits} different items of {item_length} vectors of {self.size} "
                f"bits, fewer than items = {items}"
            )
