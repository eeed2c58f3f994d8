"""What a sweep varies."""

import numpy as np
import pytest

from ntm.sweeps import Choices, Range, draw_configurations, list_configurations, parse_space
from ntm.sweeps.space import parse_seeds


def test_words_are_read():
    space = parse_space(["learning-rate=1e-4, 3e-4", "slots=4..9", "clip=log:0.5..8", "r=0..1.5"])
    assert space == {
        "learning_rate": Choices(("1e-4", "3e-4")),
        "slots": Range(4, 9),
        "clip": Range(0.5, 8.0, True),
        "r": Range(0.0, 1.5),
    }
    assert [type(space["r"].low), space["slots"].is_whole, space["r"].is_whole] == [
        float,
        True,
        False,
    ]
    assert [str(each) for each in space.values()] == [
        "1e-4,3e-4",
        "4..9",
        "log:0.5..8.0",
        "0.0..1.5",
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("slots", "expected NAME=VALUE"),
        ("=3", "expected NAME=VALUE"),
        ("slots=", "expected NAME=VALUE"),
        ("a b=3", "expected NAME=VALUE"),
        ("slots=3,,4", "a value is empty"),
        ("slots=3,4,3", "3 is given twice"),
        ("slots=3..", "two finite numbers"),
        ("slots=3..4..5", "two finite numbers"),
        ("slots=x..y", "two finite numbers"),
        ("slots=1..inf", "two finite numbers"),
        ("slots=9..4", "must be below the upper end"),
        ("slots=4..4", "must be below the upper end"),
        ("rate=log:0..1", "must be above 0"),
    ],
)
def test_wrong_words_are_refused(word, message):
    with pytest.raises(ValueError, match=message):
        parse_space([word])


def test_a_name_stands_once():
    with pytest.raises(ValueError, match="slots is given twice"):
        parse_space(["slots=1", "slots=2"])


def test_a_grid_has_all_combinations_the_last_setting_fastest():
    found = list_configurations(parse_space(["a=1,2", "b=x,y,z"]))
    assert [(each["a"], each["b"]) for each in found] == [
        ("1", "x"), ("1", "y"), ("1", "z"), ("2", "x"), ("2", "y"), ("2", "z"),
    ]  # fmt: skip
    assert list_configurations({}) == [{}]
    with pytest.raises(ValueError, match=r"b=3\.\.4 is a range"):
        list_configurations(parse_space(["a=1,2", "b=3..4"]))


def test_draws_stay_the_same_where_there_are_more_of_them():
    space = parse_space(["a=1,2", "b=0.5..2", "c=log:1..1000"])
    few, many = (draw_configurations(space, count, 3) for count in (5, 12))
    assert many[:5] == few
    assert len({tuple(each.values()) for each in many}) == 12
    assert draw_configurations(space, 5, 4) != few
    assert all(0.5 <= float(each["b"]) <= 2 and 1 <= int(each["c"]) <= 1000 for each in many)


def test_values_are_drawn_without_repetition_until_there_are_no_more():
    space = parse_space(["a=1,2", "b=x,y"])
    found = draw_configurations(space, 10, 0)
    assert sorted(tuple(each.values()) for each in found) == [
        ("1", "x"), ("1", "y"), ("2", "x"), ("2", "y"),
    ]  # fmt: skip
    assert draw_configurations(space, 3, 0) == found[:3]


def test_ranges_of_few_values_give_each_of_them_once():
    found = draw_configurations(parse_space(["a=8..10", "b=log:1..2"]), 20, 0)
    assert sorted(tuple(each.values()) for each in found) == [
        ("10", "1"), ("10", "2"), ("8", "1"), ("8", "2"), ("9", "1"), ("9", "2"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"rate=1\.0\.\.1\.00002: .* 30 different ones: .* fewer"):
        draw_configurations(parse_space(["rate=1..1.00002"]), 30, 0)
    assert len(draw_configurations(parse_space(["rate=log:1..1000"]), 600, 0)) == 600


def test_draws_are_in_the_range_as_they_are_written():
    rng = np.random.default_rng(0)
    drawn = [float(Range(0.12345678, 0.12345679).draw(rng)) for _ in range(20)]
    assert all(0.12345678 <= each <= 0.12345679 for each in drawn)


def test_draws_cover_a_range_evenly_in_its_own_measure():
    rng = np.random.default_rng(0)
    whole = [Range(1, 4).draw(rng) for _ in range(4000)]
    assert {each: whole.count(each) / 4000 for each in "1234"} == pytest.approx(
        dict.fromkeys("1234", 0.25), abs=0.03
    )
    logs = [float(Range(1e-5, 1e-1, True).draw(rng)) for _ in range(4000)]
    assert np.mean(np.array(logs) < 1e-3) == pytest.approx(0.5, abs=0.03)
    plain = [float(Range(1e-5, 1e-1).draw(rng)) for _ in range(4000)]
    assert np.mean(np.array(plain) < 0.05) == pytest.approx(0.5, abs=0.03)


def test_seeds_are_read():
    assert parse_seeds("0-3, 7,100-101") == [0, 1, 2, 3, 7, 100, 101]
    for word, message in [
        ("", "expected seeds"),
        ("a", "expected seeds"),
        ("-3", "expected seeds"),
        ("1-", "expected seeds"),
        ("5-1", "expected 1-5"),
        ("1,1", "given twice"),
        ("0-3,2", "given twice"),
        ("4294967296", "below"),
        ("0-999999999", "at most"),
    ]:
        with pytest.raises(ValueError, match=message):
            parse_seeds(word)
