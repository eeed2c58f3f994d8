from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntm.tasks import DyckWordsTask
from ntm.tasks.dyck_words import draw_dyck_word, draw_other_word, find_dyck_prefixes

from .samples import SEEDS, assert_sequence, bits_of, in_sequences, samples

FOLDER = Path(__file__).parents[2] / "data" / "oracles"


def is_dyck_word(word):
    """By taking out matched pairs until there are none."""
    word = "".join("()"[bit] for bit in word)
    while "()" in word:
        word = word.replace("()", "")
    return word == ""


def all_words(length):
    """The balanced words of a semilength: those that are Dyck words, and those that are none."""
    balanced = [word for word in product((0, 1), repeat=2 * length) if sum(word) == length]
    dyck = {word for word in balanced if is_dyck_word(word)}
    return dyck, set(balanced) - dyck


@given(
    samples(
        DyckWordsTask,
        {},
        {"length": st.integers(1, 9)},
        num_steps=lambda task, length: 2 * length,
    )
)
def test_prefixes_of_balanced_words(sample):
    task, sizes, batch = sample
    assert (task.num_inputs, task.num_outputs) == (1, 1)
    for size, sequence in zip(sizes, in_sequences(batch), strict=True):
        n = size["length"]
        word = [bit for (bit,) in bits_of(sequence[0][: 2 * n])]
        assert word.count(0) == word.count(1) == n
        targets = [[int(is_dyck_word(word[: k + 1]))] for k in range(2 * n)]
        assert_sequence(sequence, [[bit] for bit in word], targets, [1] * (2 * n))


@given(st.lists(st.integers(0, 1), max_size=12))
def test_prefixes_of_any_word(word):
    expected = [is_dyck_word(word[: k + 1]) for k in range(len(word))]
    assert find_dyck_prefixes(word).tolist() == expected


def test_prefixes_of_the_published_words():
    with np.load(FOLDER / "dyck-words.npz") as file:
        for k in range(8):
            word, targets = file[f"input_{k}"][0, :, 0], file[f"target_{k}"][0, :, 0]
            np.testing.assert_array_equal(find_dyck_prefixes(word), targets)


@given(SEEDS, st.integers(1, 40))
def test_words_of_both_kinds(seed, length):
    rng = np.random.default_rng(seed)
    dyck, other = draw_dyck_word(rng, length).tolist(), draw_other_word(rng, length).tolist()
    assert len(dyck) == len(other) == 2 * length
    assert sum(dyck) == sum(other) == length
    assert is_dyck_word(dyck)
    assert not is_dyck_word(other)


@pytest.mark.parametrize(
    ("draw", "kind", "number", "bound"),
    [(draw_dyck_word, 0, 5, 18.5), (draw_other_word, 1, 15, 36.1)],
)
def test_all_words_of_a_kind_are_equally_probable(draw, kind, number, bound):
    """By the chi-square statistic; it is below these bounds with a probability of 99.9 %."""
    rng = np.random.default_rng(0)
    counts = Counter(tuple(draw(rng, 3).tolist()) for _ in range(1000 * number))
    assert set(counts) == all_words(3)[kind]
    assert len(counts) == number
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < bound


@pytest.mark.parametrize("length", [1, 2, 5])
def test_every_other_word_is_a_dyck_word(length):
    batch = DyckWordsTask(seed=0).sample(2000, length=length)
    assert abs(batch.targets[:, -1].mean() - 0.5) < 0.035


def test_example():
    """The drawing of the docstring."""
    assert find_dyck_prefixes([0, 0, 1, 1, 0, 1]).tolist() == [0, 0, 0, 1, 0, 1]


def test_defaults():
    task = DyckWordsTask()
    assert (task.sizes, task.longest) == ({"length": (1, 5)}, 10)
