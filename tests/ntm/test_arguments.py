from argparse import ArgumentTypeError
from fractions import Fraction

import numpy as np
import pytest

from ntm.arguments import Number, make_choice


@pytest.mark.parametrize(
    ("number", "text", "right", "wrong"),
    [
        (Number(int), "an integer", [-3, 0, np.int8(4), 10**400], [1.0, np.nan, "1", None, True]),
        (Number(int, 1), "an integer of at least 1", [1, 2], [0, -1]),
        (Number(int, 1, 2000), "an integer from 1 to 2,000", [1, 2000], [0, 2001]),
        (
            Number(float),
            "a finite number",
            [-3, 0.5, np.float32(2), Fraction(1, 2), 3.4e38],
            [np.nan, np.inf, -np.inf, 3.5e38, -3.5e38, 10**400, "1", 1j, False, np.zeros(1)],
        ),
        (Number(float, above=0), "a finite number above 0", [1e-9, 1], [0, -1, np.nan]),
        (Number(float, low=0), "a finite number of at least 0", [0, 1.5], [-1e-9]),
        (Number(float, above=0, high=1), "a finite number above 0 and at most 1", [1], [0, 1.1]),
    ],
)
def test_numbers(number, text, right, wrong):
    assert str(number) == text
    for value in right:
        checked = number.check("x", value)
        assert checked == value
        assert type(checked) is number.kind
    for value in wrong:
        with pytest.raises(ValueError, match=f"x must be {text}, not "):
            number.check("x", value)


def test_numbers_of_the_command_line():
    assert Number(int, 1)("12") == 12
    assert Number(float)("1e-3") == 1e-3
    for number, word in (
        (Number(int), "1.0"),
        (Number(int), "x"),
        (Number(int, 1), "0"),
        (Number(float), "inf"),
        (Number(float), "nan"),
        (Number(float), "1e39"),
        (Number(float), ""),
        (Number(int), "9" * 5000),
    ):
        with pytest.raises(ArgumentTypeError, match=f"must be {number}, not '{word}'"):
            number(word)


def make_square(side, scale=1):
    return side * side * scale


def test_a_choice_by_name():
    known = {"square": make_square}
    assert make_choice("shape", "square", known, 3) == 9
    assert make_choice("shape", "square", known, 3, options={"scale": 2}) == 18
    with pytest.raises(ValueError, match="unknown shape 'circle': expected one of square"):
        make_choice("shape", "circle", known)
    with pytest.raises(ValueError, match=r"shape 'square': .*'size'"):
        make_choice("shape", "square", known, 3, options={"size": 2})
    with pytest.raises(ValueError, match=r"shape 'square': .*'side'"):
        make_choice("shape", "square", known)


def test_an_error_inside_of_a_choice_is_passed_on():
    with pytest.raises(TypeError, match="can't multiply sequence"):
        make_choice("shape", "square", {"square": make_square}, "three")
